package command

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Openers that may nest in one shell text. Each level costs the parser and the walk some 3 KB of stack; scripts of
// hundreds of lines have some hundred.
const maxOpeners = 4096

// shared is what code within code shares with what it stands in.
type shared struct {
	vars   map[string]*value
	lists  map[string][]value // arrays
	files  map[string]*value  // contents of files, by the last part of their path
	fifos  map[string]bool
	funcs  map[string]*syntax.Stmt
	called map[string]bool
	fds    map[string]stdio
	base   stdio             // what exec made of the standard streams
	packed *Place            // where an archive that was unpacked came from
	within bool              // and its folder was entered
	alias  map[string]string // programs under another name
	fired  int               // calls of functions under way
	py     *pyShared
}

// stdio is what a command's standard streams are connected to.
type stdio struct {
	in     value
	set    bool   // in was given
	inSock *Place // a connection
	out    *Place // a connection
	fifo   bool   // stdin is a named pipe
}

// walk goes through one text.
type walk struct {
	*shared
	r      *Report
	where  string
	src    string
	pipe   string // the pipeline under way
	nest   int
	depth  int
	scale  int // percent of a fact's points: less where a text was not parsed
	hidden bool
	args   []value
	zero   string // $0, where bash -c was given one
}

func newWalk(r *Report, where string) *walk {
	s := r.judge.spare
	if r.judge.spare = nil; s == nil {
		s = &shared{
			vars: map[string]*value{}, lists: map[string][]value{}, files: map[string]*value{}, fifos: map[string]bool{},
			funcs: map[string]*syntax.Stmt{}, called: map[string]bool{}, fds: map[string]stdio{}, alias: map[string]string{}, py: &pyShared{},
		}
	}
	return &walk{r: r, where: where, scale: 100, shared: s}
}

// spareEntries is how much a text may have left in any of the maps that serve the next: to clear large ones costs more than
// to make small ones.
const spareEntries = 8

// lend leaves what the walk shared, emptied, to the next.
func (w *walk) lend() {
	s := w.shared
	if max(len(s.vars), len(s.lists), len(s.files), len(s.fifos), len(s.funcs), len(s.called), len(s.fds), len(s.alias)) > spareEntries {
		return
	}
	clear(s.vars)
	clear(s.lists)
	clear(s.files)
	clear(s.fifos)
	clear(s.funcs)
	clear(s.called)
	clear(s.fds)
	clear(s.alias)
	*s.py = pyShared{}
	*s = shared{vars: s.vars, lists: s.lists, files: s.files, fifos: s.fifos, funcs: s.funcs, called: s.called, fds: s.fds, alias: s.alias, py: s.py}
	w.r.judge.spare = s
}

func (w *walk) add(name string, points int, says, what string) {
	w.r.Add(name, points*w.scale/100, says, w.where, what)
}

// inner is a walk through code that stands in the code of w; nil if there is too much of it.
func (w *walk) inner(text string) *walk {
	if w.nest >= maxNesting || w.r.read+len(text) > min(minRead+readByte*w.r.given, maxRead) {
		w.r.Cut = true
		return nil
	}
	in := *w
	in.nest, in.depth, in.pipe = w.nest+1, 0, ""
	return &in
}

// script walks a shell text.
func (w *walk) script(text string) {
	if len(text) > maxText {
		w.r.Cut = true
		// What matters stands at either end: what is long is data.
		text = text[:maxText/2] + "\n" + text[len(text)-maxText/2:]
	}
	w.r.read += len(text)
	if !w.r.charge(parseUnits * len(text)) {
		return
	}
	w.src = text
	stmts, rest := w.r.judge.parse(text)
	for range 2 {
		for _, s := range stmts {
			w.stmt(s, w.base)
		}
		if len(w.fifos) == 0 { // what is read from a named pipe is written by a later command
			break
		}
	}
	if rest != "" {
		l := *w
		l.scale = l.scale * 3 / 4
		l.words(rest)
	}
}

// parse gives the statements of a text up to the first that is none, and what is left from there. Panics of the parser
// are its bugs: the text is left as a whole.
func (j *Judge) parse(text string) (stmts []*syntax.Stmt, rest string) {
	defer func() {
		if recover() != nil {
			j.parser, stmts, rest = nil, nil, text
		}
	}()
	if openers(text) > maxOpeners {
		return nil, text
	}
	end := 0
	if j.parser == nil { // it has buffers that are worth more than a short text
		j.parser = syntax.NewParser(syntax.Variant(syntax.LangBash))
	}
	for s, err := range j.parser.StmtsSeq(strings.NewReader(text)) {
		if err != nil {
			return stmts, text[min(end, len(text)):]
		}
		stmts = append(stmts, s)
		end = int(s.End().Offset())
	}
	return stmts, ""
}

// openers counts what may nest, quoted or not.
func openers(text string) (n int) {
	start := 0 // of the word
	for i := 0; i <= len(text); i++ {
		c := byte(' ')
		if i < len(text) {
			c = text[i]
		}
		if c >= 'a' && c <= 'z' {
			continue
		}
		switch text[start:i] {
		case "if", "while", "until", "for", "case", "select", "do", "then", "else", "elif", "time", "coproc", "function":
			n++
		}
		start = i + 1
		switch c {
		case '(', '{', '`', '[', '|', '!', '<', '~':
			n++
		}
	}
	return n
}

// source is the text of a node.
func (w *walk) source(n syntax.Node) string {
	a, b := int(n.Pos().Offset()), int(n.End().Offset())
	if a < 0 || b > len(w.src) || a > b {
		return ""
	}
	return w.src[a:min(b, a+4*maxShown)]
}

func (w *walk) enter() bool {
	if w.depth >= maxDepth || !w.r.charge(0) {
		w.r.Cut = true
		return false
	}
	w.depth++
	return true
}

func (w *walk) leave() { w.depth-- }

// end walks functions that nobody called.
func (w *walk) end() {
	names := make([]string, 0, len(w.funcs))
	for n := range w.funcs {
		if !w.called[n] {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		w.called[n] = true
		w.stmt(w.funcs[n], stdio{})
	}
}

func (w *walk) stmts(list []*syntax.Stmt, io stdio) (out value) {
	for _, s := range list {
		out = w.r.join(out, w.stmt(s, io))
	}
	return out
}

// stmt walks one statement and gives what it writes to its standard output.
func (w *walk) stmt(s *syntax.Stmt, io stdio) (out value) {
	if s == nil || !w.enter() {
		return value{}
	}
	defer w.leave()
	keep := false
	if c, ok := s.Cmd.(*syntax.CallExpr); ok && len(c.Args) == 1 && c.Args[0].Lit() == "exec" {
		keep = true
	}
	to := w.redirects(s.Redirs, &io, keep)
	if keep {
		w.base = io
		return value{}
	}
	if s.Cmd != nil {
		out = w.cmd(s, io)
	} else if len(to) > 0 || io.set {
		out = io.in.with("")
	}
	for _, f := range to {
		w.write(f.name, out, f.add)
	}
	if io.out != nil && out.s != "" {
		w.send(out, io.out, w.source(s), true)
	}
	if len(to) > 0 || io.out != nil {
		return value{}
	}
	return out
}

// cmd walks the command of a statement whose redirections are in io.
func (w *walk) cmd(s *syntax.Stmt, io stdio) (out value) {
	switch c := s.Cmd.(type) {
	case *syntax.CallExpr:
		src := w.source(s)
		if w.pipe != "" {
			src = w.pipe
		}
		out = w.callExpr(c, io, src)
	case *syntax.BinaryCmd:
		if c.Op == syntax.Pipe || c.Op == syntax.PipeAll {
			out = w.pipeline(s, c, io)
		} else {
			out = w.stmt(c.X, io).plus(w.stmt(c.Y, io))
		}
	case *syntax.Subshell:
		out = w.stmts(c.Stmts, io)
	case *syntax.Block:
		out = w.stmts(c.Stmts, io)
	case *syntax.IfClause:
		for i := c; i != nil; i = i.Else {
			out = w.r.join(w.r.join(out, w.stmts(i.Cond, io)), w.stmts(i.Then, io))
		}
	case *syntax.WhileClause:
		out = w.stmts(c.Cond, io).plus(w.stmts(c.Do, io))
	case *syntax.ForClause:
		out = w.loop(c, io)
	case *syntax.CaseClause:
		w.word(c.Word)
		for _, i := range c.Items {
			out = w.r.join(out, w.stmts(i.Stmts, io))
		}
	case *syntax.FuncDecl:
		if c.Name != nil && len(w.funcs) < maxFiles {
			w.funcs[c.Name.Value] = c.Body
			delete(w.called, c.Name.Value)
		}
	case *syntax.DeclClause:
		for _, a := range c.Args {
			w.assign(a)
		}
	case *syntax.TimeClause:
		out = w.stmt(c.Stmt, io)
	case *syntax.CoprocClause:
		out = w.stmt(c.Stmt, io)
	}
	return out
}

// pipeline walks c.X | c.Y. Commands in it are shown as the whole pipeline.
func (w *walk) pipeline(s *syntax.Stmt, c *syntax.BinaryCmd, io stdio) value {
	if w.pipe == "" {
		w.pipe = w.source(s)
		defer func() { w.pipe = "" }()
	}
	left := w.stmt(c.X, io)
	next := io
	next.in, next.set, next.inSock, next.fifo = left, true, nil, false
	if left.from&fromSocket != 0 {
		next.inSock = left.at
	}
	return w.stmt(c.Y, next)
}

func (w *walk) loop(c *syntax.ForClause, io stdio) (out value) {
	it, ok := c.Loop.(*syntax.WordIter)
	if !ok {
		return w.stmts(c.Do, io)
	}
	var items []value
	for _, i := range it.Items {
		items = append(items, w.fields(i)...)
	}
	if len(items) == 0 {
		items = []value{unknown}
	}
	for _, v := range items[:min(len(items), 3)] {
		w.set(it.Name.Value, v)
		out = w.r.join(out, w.stmts(c.Do, io))
	}
	return out
}

func (w *walk) set(name string, v value) {
	if _, ok := w.vars[name]; !ok && len(w.vars) >= maxFiles {
		w.r.Cut = true
		return
	}
	w.vars[name] = &v
}

func (w *walk) assign(a *syntax.Assign) {
	if a == nil || a.Name == nil || a.Naked {
		return
	}
	if a.Array != nil {
		var list []value
		for _, e := range a.Array.Elems {
			if e.Value != nil && len(list) < maxFiles {
				list = append(list, w.fields(e.Value)...)
			}
		}
		if len(w.lists) < maxFiles {
			w.lists[a.Name.Value] = list
		}
		return
	}
	var v value
	if a.Value != nil {
		v = w.word(a.Value)
	}
	if a.Append {
		if old := w.vars[a.Name.Value]; old != nil {
			v = old.plus(v)
		}
	}
	w.set(a.Name.Value, v)
	switch a.Name.Value {
	case "HISTFILE", "HISTSIZE", "HISTFILESIZE":
		if v.s == "/dev/null" || v.s == "0" || v.s == "" {
			w.add("hide", 40, "removes its traces", a.Name.Value+"="+v.s)
		}
	case "PROMPT_COMMAND", "GIT_SSH_COMMAND", "GIT_SSH", "GIT_PAGER", "GIT_EDITOR", "PAGER", "GIT_EXTERNAL_DIFF":
		w.run("shell", v, "runs", a.Name.Value+"="+v.s)
	case "BASH_ENV", "ENV":
		w.runFile("shell", v, &call{name: "bash", src: a.Name.Value + "=" + v.s}, false)
	case "PYTHONSTARTUP":
		w.runFile("python", v, &call{name: "python", src: a.Name.Value + "=" + v.s}, false)
	case "LD_PRELOAD":
		if tempDir(v.s) && strings.HasSuffix(v.s, ".so") {
			w.add("load_temp", 50, "loads a library from a temporary directory", "LD_PRELOAD="+v.s)
		}
		if f := w.files[path.Base(v.s)]; f != nil && f.from&fromNet != 0 && f.at != nil {
			w.add("fetch_run", f.at.kept(false, false), "downloads a library and loads it", f.at.URL+" ... LD_PRELOAD="+v.s)
		}
	}
}

// target is a file that output goes to.
type target struct {
	name string
	add  bool
}

// wiring connects the streams of one statement.
type wiring struct {
	*walk
	io    *stdio
	keep  bool             // the connections stay for the statements that follow, as exec has it
	local map[string]stdio // by number of the descriptor
	to    []target
}

// redirects connects streams. With keep they stay so, as exec does it.
func (w *walk) redirects(list []*syntax.Redirect, io *stdio, keep bool) (to []target) {
	x := wiring{walk: w, io: io, keep: keep}
	for _, r := range list {
		n := ""
		if r.N != nil {
			n = strings.Trim(r.N.Value, "{}")
		}
		var v value
		if r.Hdoc != nil {
			v = w.heredoc(r)
		} else if r.Word != nil {
			v = w.word(r.Word)
		}
		switch r.Op {
		case syntax.Hdoc, syntax.DashHdoc:
			io.in, io.set, io.inSock = v, true, nil
		case syntax.WordHdoc:
			io.in, io.set, io.inSock = v.plus(text("\n")), true, nil
		case syntax.RdrIn, syntax.RdrInOut, syntax.DplIn:
			x.input(r.Op, n, v)
		default:
			x.output(r.Op, n, v)
		}
	}
	return x.to
}

// fd returns what descriptor n is connected to.
func (x *wiring) fd(n string) (stdio, bool) {
	if s, ok := x.local[n]; ok {
		return s, true
	}
	s, ok := x.fds[n]
	return s, ok
}

// open connects descriptor n, one that is not a standard stream.
func (x *wiring) open(n string, s stdio) {
	if len(x.fds) >= 16 {
		return
	}
	if x.keep {
		x.fds[n] = s
	}
	if x.local == nil {
		x.local = map[string]stdio{}
	}
	x.local[n] = s
}

// onSocket is a stream that is connection p in both directions.
func onSocket(p *Place) stdio {
	return stdio{in: value{s: hole, from: fromSocket, at: p}, set: true, inSock: p, out: p}
}

// input connects descriptor n, standard input if it is empty, to read from v.
func (x *wiring) input(op syntax.RedirOperator, n string, v value) {
	var s stdio
	if sock := x.r.judge.device(v.s); sock != nil {
		s = onSocket(sock)
	} else if op == syntax.DplIn {
		s, _ = x.fd(v.s)
	} else {
		s = stdio{in: x.read(v), set: true, fifo: x.fifos[path.Base(v.s)]}
	}
	switch {
	case n == "" || n == "0":
		x.io.in, x.io.set, x.io.inSock, x.io.fifo = s.in, s.set, s.inSock, s.fifo
		if s.in.from&fromSocket != 0 && x.io.inSock == nil {
			x.io.inSock = s.in.at
		}
	case op == syntax.DplIn && (n == "1" || n == "2"):
		x.io.out = s.out
	default:
		x.open(n, s)
	}
}

// output connects descriptor n, standard output if it is empty, to write to v.
func (x *wiring) output(op syntax.RedirOperator, n string, v value) {
	both := op == syntax.RdrAll || op == syntax.AppAll
	p := x.r.judge.device(v.s)
	switch {
	case p != nil:
	case op == syntax.DplOut && v.s != "" && strings.Trim(v.s, "0123456789-") == "":
		var ok bool
		if p, ok = x.copied(n, v.s); !ok {
			return
		}
	case v.file != nil || v.s == "/dev/null" || v.s == "/dev/stdout" || v.s == "/dev/stderr" || v.s == "":
		if v.s == "/dev/null" && n != "2" {
			x.to = append(x.to, target{"/dev/null", false})
		}
		return
	}
	switch {
	case p != nil:
		if n == "" || n == "1" || n == "2" || both {
			x.io.out = p
		} else {
			x.open(n, onSocket(p))
		}
		// cmd >& /dev/tcp/... 0>&1: its input is the connection, too.
		if n == "0" {
			x.io.in, x.io.set, x.io.inSock = value{s: hole, from: fromSocket, at: p}, true, p
		}
	case n == "0" && x.io.out != nil:
		x.io.in, x.io.set, x.io.inSock = value{s: hole, from: fromSocket, at: x.io.out}, true, x.io.out
	case n == "" || n == "1" || n != "2" && both:
		x.to = append(x.to, target{v.s, op == syntax.AppOut || op == syntax.AppAll})
	}
}

// copied returns the connection that n>&from leads to, nil for anything else that from was connected to; false if nothing
// changes.
func (x *wiring) copied(n, from string) (*Place, bool) {
	if s, ok := x.fd(from); ok {
		return s.out, true
	}
	switch {
	case from == "0" && x.io.inSock != nil:
		return x.io.inSock, true
	case (from == "0" || from == "1" || from == "2") && x.io.out != nil && n == "2":
		return x.io.out, true
	}
	return nil, false
}

// heredoc gives the text of a here-document. With quotes around the word that ends it, it stands for itself.
func (w *walk) heredoc(r *syntax.Redirect) (out value) {
	quoted := r.Word != nil && r.Word.Lit() == "" || r.Word != nil && strings.Contains(r.Word.Lit(), `\`)
	for _, p := range r.Hdoc.Parts {
		if l, ok := p.(*syntax.Lit); ok {
			s := l.Value
			if !quoted {
				s = unescapeQuoted(s)
			}
			out = w.r.join(out, text(s))
			continue
		}
		for _, v := range w.expand([]syntax.WordPart{p}, false) {
			out = w.r.join(out, v)
		}
	}
	return out
}

// device reads /dev/tcp/host/port, which Bash opens as a connection; nil if it is none.
func (j *Judge) device(s string) *Place {
	i := strings.Index(s, "/dev/tcp/")
	if i != 0 {
		if i = strings.Index(s, "/dev/udp/"); i != 0 {
			return nil
		}
	}
	host, port, _ := strings.Cut(s[len("/dev/tcp/"):], "/")
	return j.Place(host + ":" + port)
}

// read gives what a file holds.
func (w *walk) read(name value) value {
	if name.file != nil {
		return *name.file
	}
	if f := w.files[path.Base(name.s)]; f != nil && name.s != "" {
		return *f
	}
	if what := w.r.judge.lists.Secret(name.s); what != "" {
		return value{s: hole, from: fromSecret, what: what}
	}
	switch name.s {
	case "/etc/passwd", "/proc/cpuinfo", "/etc/os-release", "/etc/hosts", "/etc/hostname", "/proc/version", "/etc/resolv.conf":
		return value{s: hole, from: fromRecon}
	case "/dev/null", "":
		return value{}
	}
	return value{s: hole, from: fromFile}
}

// write puts a value into a file.
func (w *walk) write(name string, v value, add bool) {
	if name == "" || name == "/dev/null" {
		return
	}
	base := path.Base(name)
	if base == "." || base == "/" {
		return
	}
	if old := w.files[base]; old != nil && (add || w.fifos[base]) {
		v = old.plus(v)
	}
	if _, ok := w.files[base]; ok || len(w.files) < maxFiles {
		c := v
		w.files[base] = &c
	} else {
		w.r.Cut = true
	}
	if tempDir(name) && strings.HasPrefix(base, ".") && len(base) > 1 {
		w.add("hidden_file", 15, "writes a hidden file", name)
	}
	w.persist(name, v, add)
}

// tempDir says that a path leads to where anybody may write.
func tempDir(p string) bool {
	return strings.HasPrefix(p, "/tmp/") || strings.HasPrefix(p, "/var/tmp/") || strings.HasPrefix(p, "/dev/shm/") || strings.HasPrefix(p, "/run/shm/")
}

// callExpr walks a simple command.
func (w *walk) callExpr(c *syntax.CallExpr, io stdio, src string) value {
	var args []value
	for i, a := range c.Args {
		f := w.fields(a)
		if i == 0 {
			w.odd(a, f)
		}
		args = append(args, f...)
		if len(args) > 1024 {
			w.r.Cut = true
			break
		}
	}
	for _, a := range c.Assigns {
		w.assign(a)
	}
	if len(args) == 0 {
		return value{}
	}
	return w.command(args, io, src)
}

// odd notes a command whose name is put together so that nobody reads it.
func (w *walk) odd(a *syntax.Word, f []value) {
	if len(f) == 0 {
		return
	}
	name := programName(f[0].s)
	if !hiding(name) && w.r.judge.lists.Program(name) == "" {
		return
	}
	quotes, plain, ansi := 0, 0, false
	for _, p := range a.Parts {
		switch p := p.(type) {
		case *syntax.SglQuoted:
			quotes++
			ansi = ansi || p.Dollar && strings.Contains(p.Value, `\`)
		case *syntax.DblQuoted:
			quotes++
		case *syntax.Lit:
			plain++
			if strings.Contains(p.Value, `\`) && !strings.HasPrefix(p.Value, `\`) && !strings.Contains(p.Value, "\\\n") {
				quotes, plain = quotes+1, plain+1
			}
			if strings.HasPrefix(p.Value, "{") && strings.Contains(p.Value, ",") {
				ansi = true
			}
		case *syntax.ParamExp:
			if p.Param != nil && (p.Param.Value == "IFS" || strings.Contains("@*123456789!", p.Param.Value) || p.Slice != nil) {
				quotes++
			}
		}
	}
	if quotes > 0 && plain > 0 || ansi || quotes > 1 {
		w.add("split_words", 30, "hides its words with quotes or escapes", w.source(a))
	}
}

// hiding says that a name is one that is worth hiding.
func hiding(name string) bool {
	switch name {
	case "curl", "wget", "base64", "nc", "ncat", "chmod", "eval", "cat", "python", "python3", "perl", "whoami", "id", "uname", "xmrig", "crontab", "socat":
		return true
	}
	return interpreterOf(name) == "shell"
}

// word gives the value of a word that is not split: of an assignment, in double quotes, behind a redirection.
func (w *walk) word(a *syntax.Word) value {
	if a == nil {
		return value{}
	}
	f := w.expand(a.Parts, false)
	out := value{}
	for i, v := range f {
		if i > 0 {
			out = w.r.join(out, text(" "))
		}
		out = w.r.join(out, v)
	}
	return out
}

// fields gives the values that a word expands to.
func (w *walk) fields(a *syntax.Word) []value {
	if a == nil {
		return nil
	}
	if lit := a.Lit(); strings.Contains(lit, "{") && strings.Contains(lit, ",") || len(a.Parts) > 1 && braced(a.Parts) {
		b := *a
		b.Parts = append([]syntax.WordPart(nil), a.Parts...)
		split := func() { // a bug of the library leaves the word as it stands
			defer func() { _ = recover() }()
			syntax.SplitBraces(&b)
		}
		split()
		var out []value
		for _, parts := range braces(b.Parts) {
			out = append(out, w.expand(parts, true)...)
		}
		return out
	}
	return w.expand(a.Parts, true)
}

func braced(parts []syntax.WordPart) bool {
	for _, p := range parts {
		if l, ok := p.(*syntax.Lit); ok && strings.ContainsAny(l.Value, "{,") {
			return true
		}
	}
	return false
}

// braces undoes brace expansion, up to a number of words.
func braces(parts []syntax.WordPart) [][]syntax.WordPart {
	out := [][]syntax.WordPart{nil}
	for _, p := range parts {
		b, ok := p.(*syntax.BraceExp)
		if !ok || b.Sequence || len(b.Elems) == 0 {
			if ok {
				p = &syntax.Lit{Value: hole}
			}
			for i := range out {
				out[i] = append(out[i], p)
			}
			continue
		}
		var next [][]syntax.WordPart
		for _, o := range out {
			for _, e := range b.Elems {
				for _, in := range braces(e.Parts) {
					if len(next) < 64 {
						next = append(next, append(append([]syntax.WordPart(nil), o...), in...))
					}
				}
			}
		}
		out = next
	}
	return out
}

// expand gives the values of a word's parts; with split, what is not quoted is cut at blanks.
func (w *walk) expand(parts []syntax.WordPart, split bool) []value {
	if !w.enter() {
		return nil
	}
	defer w.leave()
	f := fields{w: w, split: split}
	for _, p := range parts {
		if list := f.part(p, len(parts) > 1); !list && len(f.out) > maxFields {
			break
		}
	}
	if f.have {
		f.out = append(f.out, f.cur)
	}
	return f.out
}

// maxFields is how many fields a word is expanded to.
const maxFields = 1024

// fields are what a word is expanded to.
type fields struct {
	w     *walk
	split bool // cut at blanks what is not quoted
	out   []value
	cur   value // the last field, which may go on
	have  bool  // there is one
}

// put adds v to the last field.
func (f *fields) put(v value) { f.cur, f.have = f.w.r.join(f.cur, v), true }

// scatter adds what is not quoted.
func (f *fields) scatter(v value) {
	if !f.split {
		f.put(v)
		return
	}
	ifs := " \t\n"
	if x := f.w.vars["IFS"]; x != nil && x.known() {
		ifs = x.s
	}
	s := v.s
	for first := true; ; first = false {
		i := strings.IndexAny(s, ifs)
		piece := s
		if i >= 0 {
			piece = s[:i]
		}
		if piece != "" || first && i < 0 && v.file != nil {
			f.put(v.with(piece))
		}
		if i < 0 {
			return
		}
		if f.have && len(f.out) < maxFields {
			f.out = append(f.out, f.cur)
		}
		f.cur, f.have = value{}, false
		s = strings.TrimLeft(s[i+1:], ifs)
		if s == "" {
			return
		}
	}
}

// part adds one part of a word; more says that the word has others. It reports whether that were the fields of an array.
func (f *fields) part(p syntax.WordPart, more bool) (list bool) {
	w := f.w
	switch p := p.(type) {
	case *syntax.Lit:
		f.put(text(unescape(p.Value)))
	case *syntax.SglQuoted:
		if p.Dollar {
			f.put(text(ansiC(p.Value)))
		} else {
			f.put(text(p.Value))
		}
	case *syntax.DblQuoted:
		return f.quoted(p)
	case *syntax.ParamExp:
		return f.param(p, more)
	case *syntax.CmdSubst:
		v := w.stmts(p.Stmts, stdio{})
		v.s = strings.TrimRight(v.s, "\n")
		f.scatter(v)
	case *syntax.ArithmExp:
		f.put(text(w.arithm(p.X)))
	case *syntax.ProcSubst:
		if p.Op == syntax.CmdIn || p.Op == syntax.CmdInTemp {
			v := w.stmts(p.Stmts, stdio{})
			f.put(value{s: "/dev/fd/63", file: &v})
		} else {
			w.stmts(p.Stmts, stdio{})
			f.put(value{s: "/dev/fd/63", file: &value{}})
		}
	case *syntax.ExtGlob:
		f.put(text("*"))
	case *syntax.BraceExp:
		f.put(value{s: hole})
	}
	return false
}

// quoted adds what stands in double quotes: one field, but "$@" is a field for each argument.
func (f *fields) quoted(p *syntax.DblQuoted) (list bool) {
	if len(p.Parts) == 1 && f.split {
		if q, ok := p.Parts[0].(*syntax.ParamExp); ok {
			if list, isList := f.w.param(q); isList {
				for i, v := range list {
					if i > 0 {
						f.out = append(f.out, f.cur)
						f.cur = value{}
					}
					f.put(v)
				}
				return true
			}
		}
	}
	f.have = true
	for _, q := range p.Parts {
		if l, ok := q.(*syntax.Lit); ok {
			f.put(text(unescapeQuoted(l.Value)))
			continue
		}
		for i, v := range f.w.expand([]syntax.WordPart{q}, false) {
			if i > 0 {
				f.put(text(" "))
			}
			f.put(v)
		}
	}
	return false
}

// param adds a variable, or the fields of an array.
func (f *fields) param(p *syntax.ParamExp, more bool) (list bool) {
	values, isList := f.w.param(p)
	if !isList {
		if p.Param != nil && p.Param.Value == "IFS" && f.split && f.w.vars["IFS"] == nil && (f.have || more) {
			f.w.add("ifs", 30, "hides blanks in $IFS", f.w.source(p))
		}
		f.scatter(values[0])
		return false
	}
	for i, v := range values {
		switch {
		case i == 0:
		case f.split:
			if f.have {
				f.out = append(f.out, f.cur)
			}
			f.cur, f.have = value{}, false
		default:
			f.put(text(" "))
		}
		f.put(v)
	}
	return true
}

// param gives the value of a variable: a list of one, or with isList the fields of an array.
func (w *walk) param(p *syntax.ParamExp) (list []value, isList bool) {
	if p.Param == nil || p.Length {
		return []value{unknown}, false
	}
	name := p.Param.Value
	if l, ok := w.lists[name]; ok {
		if i, ok := p.Index.(*syntax.Word); ok {
			return element(l, i.Lit())
		}
		if len(l) > 0 {
			return w.modified(p, l[0], true), false
		}
	}
	switch name {
	case "@", "*":
		return w.allArgs(p)
	case "IFS":
		if w.vars[name] == nil {
			return []value{text(" \t\n").with(" ")}, false
		}
	case "0":
		if w.zero != "" {
			return []value{text(w.zero)}, false
		}
		return []value{{s: "$0"}}, false
	}
	if len(name) == 1 && name[0] >= '1' && name[0] <= '9' {
		n := int(name[0] - '1')
		if n < len(w.args) {
			return w.modified(p, w.args[n], true), false
		}
		if w.nest == 0 && w.fired == 0 && p.Exp == nil {
			return []value{{}}, false
		}
		return w.modified(p, value{s: hole, from: fromEnv}, false), false
	}
	v, set := w.lookup(name)
	if p.Excl && set && v.known() {
		v, set = w.lookup(v.s)
	}
	return w.modified(p, v, set), false
}

// element returns the fields of the array l that an index means.
func element(l []value, index string) (list []value, isList bool) {
	if index == "@" || index == "*" {
		return l, true
	}
	if n, err := strconv.Atoi(index); err == nil && n >= 0 && n < len(l) {
		return l[n : n+1], false
	}
	return []value{unknown}, false
}

// allArgs is the value of $@ and $*.
func (w *walk) allArgs(p *syntax.ParamExp) (list []value, isList bool) {
	switch {
	case w.args == nil && (p.Slice != nil || p.Exp != nil):
		return []value{{}}, false
	case w.args == nil && w.nest == 0 && len(w.funcs) == 0: // a job has no arguments: c$@at is cat
		return []value{{}}, false
	case w.args == nil:
		return []value{{s: hole, from: fromEnv}}, false
	case len(w.args) == 0:
		return []value{{}}, false
	}
	return w.args, true
}

// lookup gives a variable. What every shell has set is known.
func (w *walk) lookup(name string) (value, bool) {
	if v := w.vars[name]; v != nil {
		return *v, true
	}
	switch name {
	case "HOME":
		return text("/root"), true
	case "PATH":
		return text("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), true
	case "PWD":
		return text("/root"), true
	case "SHELL", "BASH":
		return text("/bin/bash"), true
	case "TMPDIR":
		return text("/tmp"), false
	}
	return value{s: hole, from: fromEnv}, false
}

// modified applies what ${...} does to a value.
func (w *walk) modified(p *syntax.ParamExp, v value, set bool) []value {
	one := func(v value) []value { return []value{v} }
	if p.Slice != nil {
		off, err := strconv.Atoi(strings.TrimSpace(w.arithm(p.Slice.Offset)))
		if !v.known() || err != nil {
			return one(v.blur())
		}
		if off < 0 {
			off += len(v.s)
		}
		off = max(0, min(off, len(v.s)))
		end := len(v.s)
		if p.Slice.Length != nil {
			n, err := strconv.Atoi(strings.TrimSpace(w.arithm(p.Slice.Length)))
			if err != nil {
				return one(v.blur())
			}
			if n < 0 {
				end += n
			} else {
				end = min(off+n, end)
			}
		}
		return one(v.with(v.s[off:max(end, off)]))
	}
	if p.Repl != nil {
		from, to := w.word(p.Repl.Orig), w.word(p.Repl.With)
		if !v.known() || !from.known() || from.s == "" {
			return one(v.blur())
		}
		n := 1
		if p.Repl.All {
			n = -1
		}
		if len(v.s)/max(len(from.s), 1)*len(to.s) > maxValue {
			return one(v.blur())
		}
		w.r.charge(len(v.s))
		return one(v.with(strings.Replace(v.s, from.s, to.s, n)))
	}
	if p.Exp == nil {
		return one(v)
	}
	switch p.Exp.Op {
	case syntax.DefaultUnset, syntax.DefaultUnsetOrNull, syntax.AssignUnset, syntax.AssignUnsetOrNull:
		if !set || v.s == "" {
			d := w.word(p.Exp.Word)
			if p.Param != nil && (p.Exp.Op == syntax.AssignUnset || p.Exp.Op == syntax.AssignUnsetOrNull) && identifier(p.Param.Value) {
				w.set(p.Param.Value, d)
			}
			return one(d)
		}
	case syntax.AlternateUnset, syntax.AlternateUnsetOrNull:
		return one(w.word(p.Exp.Word))
	case syntax.UpperAll:
		return one(v.with(strings.ToUpper(v.s)))
	case syntax.LowerAll:
		return one(v.with(strings.ToLower(v.s)))
	case syntax.RemSmallPrefix, syntax.RemLargePrefix, syntax.RemSmallSuffix, syntax.RemLargeSuffix:
		pat := w.word(p.Exp.Word)
		if v.known() && pat.known() {
			return one(v.with(w.trim(v.s, pat.s, p.Exp.Op)))
		}
		return one(v.blur())
	}
	return one(v)
}

// trim removes what a pattern matches at an end.
func (w *walk) trim(s, pat string, op syntax.ParExpOperator) string {
	if len(s) > 512 || len(pat) > 64 || !w.r.charge(len(s)*len(pat)) {
		return s
	}
	pat = strings.ReplaceAll(pat, "/", "\x01")
	match := func(t string) bool {
		ok, err := path.Match(pat, strings.ReplaceAll(t, "/", "\x01"))
		return ok && err == nil
	}
	switch op {
	case syntax.RemSmallPrefix:
		for i := 0; i <= len(s); i++ {
			if match(s[:i]) {
				return s[i:]
			}
		}
	case syntax.RemLargePrefix:
		for i := len(s); i >= 0; i-- {
			if match(s[:i]) {
				return s[i:]
			}
		}
	case syntax.RemSmallSuffix:
		for i := len(s); i >= 0; i-- {
			if match(s[i:]) {
				return s[:i]
			}
		}
	case syntax.RemLargeSuffix:
		for i := 0; i <= len(s); i++ {
			if match(s[i:]) {
				return s[:i]
			}
		}
	}
	return s
}

// arithm gives a constant number, or a hole.
func (w *walk) arithm(x syntax.ArithmExpr) string {
	if x == nil || !w.enter() {
		return hole
	}
	defer w.leave()
	switch x := x.(type) {
	case *syntax.Word:
		v := w.word(x)
		if identifier(v.s) {
			v, _ = w.lookup(v.s)
		}
		if v.known() {
			return strings.TrimSpace(v.s)
		}
	case *syntax.ParenArithm:
		return w.arithm(x.X)
	case *syntax.UnaryArithm:
		if n, err := strconv.Atoi(w.arithm(x.X)); err == nil && x.Op == syntax.Minus {
			return strconv.Itoa(-n)
		}
	case *syntax.BinaryArithm:
		a, err := strconv.ParseInt(w.arithm(x.X), 0, 32)
		b, err2 := strconv.ParseInt(w.arithm(x.Y), 0, 32)
		if err != nil || err2 != nil {
			return hole
		}
		switch x.Op {
		case syntax.Add:
			a += b
		case syntax.Sub:
			a -= b
		case syntax.Mul:
			a *= b
		case syntax.Quo:
			if b == 0 {
				return hole
			}
			a /= b
		default:
			return hole
		}
		return strconv.FormatInt(a, 10)
	}
	return hole
}

// unescape undoes backslashes outside of quotes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
			if s[i] == '\n' {
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// unescapeQuoted undoes those that double quotes and here-documents leave.
func unescapeQuoted(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte("$`\"\\\n", s[i+1]) >= 0 {
			i++
			if s[i] == '\n' {
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// ansiC undoes the escapes of $'...', echo -e and printf.
func ansiC(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	digits := func(i, most, base int) (int, int) {
		n, j := 0, i
		for ; j < len(s) && j-i < most; j++ {
			d, err := strconv.ParseUint(s[j:j+1], base, 8)
			if err != nil {
				break
			}
			n = n*base + int(d)
		}
		return n, j
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			b = append(b, s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 'n':
			b = append(b, '\n')
		case 't':
			b = append(b, '\t')
		case 'r':
			b = append(b, '\r')
		case 'a', 'b', 'f', 'v', 'e':
		case 'c':
			return string(b)
		case 'x':
			n, j := digits(i+1, 2, 16)
			if j > i+1 {
				b = append(b, byte(n))
			}
			i = j - 1
		case 'u', 'U':
			n, j := digits(i+1, 4+4*int('u'-c)/('u'-'U'), 16)
			if j > i+1 {
				b = append(b, string(rune(n))...)
			}
			i = j - 1
		case '0', '1', '2', '3', '4', '5', '6', '7':
			most := 3
			if c == '0' {
				most = 4
			}
			n, j := digits(i, most, 8)
			b = append(b, byte(n))
			i = j - 1
		default:
			if c != '\\' && c != '\'' && c != '"' && c != '?' {
				b = append(b, '\\')
			}
			b = append(b, c)
		}
	}
	return string(b)
}
