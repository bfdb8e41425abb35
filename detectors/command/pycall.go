package command

import (
	"slices"
	"strconv"
	"strings"
)

// canonical gives a name of the standard library without its detours.
func canonical(ref string) string {
	for _, p := range [...]string{"builtins.", "__builtins__.", "__builtin__.", "six.moves.", "past.builtins."} {
		ref = strings.TrimPrefix(ref, p)
	}
	if rest, ok := strings.CutPrefix(ref, "posix."); ok {
		return "os." + rest
	}
	if rest, ok := strings.CutPrefix(ref, "nt."); ok {
		return "os." + rest
	}
	if rest, ok := strings.CutPrefix(ref, "asyncio.subprocess."); ok {
		return "asyncio." + rest
	}
	return ref
}

// runs tells how a name runs a command: "shell" takes a line or a list, "list" a program and its arguments, "exec" a
// program and a list behind it; "" if it does not.
func runs(ref string) string {
	mod, fn, _ := cutLast(ref)
	switch mod {
	case "os":
		switch {
		case fn == "system" || fn == "popen" || fn == "popen2" || fn == "popen3" || fn == "startfile":
			return "shell"
		case strings.HasPrefix(fn, "execl"):
			return "list"
		case strings.HasPrefix(fn, "exec") || strings.HasPrefix(fn, "posix_spawn"):
			return "exec"
		case strings.HasPrefix(fn, "spawnl"):
			return "mode list"
		case strings.HasPrefix(fn, "spawn"):
			return "mode exec"
		}
	case "subprocess":
		switch fn {
		case "run", "call", "Popen", "check_output", "check_call", "getoutput", "getstatusoutput":
			return "shell"
		}
	case "commands", "popen2":
		return "shell"
	case "asyncio":
		if fn == "create_subprocess_shell" {
			return "shell"
		}
		if fn == "create_subprocess_exec" {
			return "list"
		}
	case "pty":
		if fn == "spawn" {
			return "shell"
		}
	case "pexpect":
		if fn == "spawn" || fn == "run" || fn == "spawnu" {
			return "shell"
		}
	case "sh", "plumbum.local":
		return "named"
	}
	return ""
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// pycall is a call of a function of a library, or of one that nobody defines.
type pycall struct {
	ref  string // canonical name
	args []pv
	kw   map[string]pv
	from int    // token at which the call begins
	src  string // its source
	all  value  // text and origins of all arguments
}

// call judges a call and gives what it returns.
func (p *py) call(f pv, args []pv, kw map[string]pv, from int) pv {
	w := p.w
	if f.fn != nil {
		if f.fn.called && p.calls >= 4 {
			return pv{value: unknown}
		}
		return p.invoke(f.fn, args, kw)
	}
	if f.self != nil {
		return p.method(*f.self, strings.TrimPrefix(f.ref, "~."), args, kw, from)
	}
	ref := canonical(f.ref)
	src := p.source(from)
	if strings.HasPrefix(ref, "~socket") {
		return p.socket(f, strings.TrimPrefix(strings.TrimPrefix(ref, "~socket"), "."), args, src)
	}
	if strings.HasPrefix(ref, "~file") {
		return p.file(f, strings.TrimPrefix(strings.TrimPrefix(ref, "~file"), "."), args, src)
	}
	if method, ok := strings.CutPrefix(ref, "~http."); ok {
		return p.http(f, method, args, kw, src)
	}
	if how := runs(ref); how != "" {
		return p.process(ref, how, args, kw, src)
	}
	c := pycall{ref: ref, args: args, kw: kw, from: from, src: src, all: joined(args, kw)}
	w.r.cost(len(c.all.s))
	for _, known := range [...]func(*py, pycall) (pv, bool){
		(*py).callText, (*py).callDecode, (*py).callCode, (*py).callName, (*py).callStream, (*py).callSystem, (*py).callNetwork,
	} {
		if v, ok := known(p, c); ok {
			return v
		}
	}
	return p.callOther(c)
}

// callOther judges a call of a function that is not known by its name: what it is given may name servers, hold
// commands or be called by it.
func (p *py) callOther(c pycall) pv {
	if _, fn, _ := cutLast(c.ref); networkCall(fn) && !strings.HasPrefix(c.ref, "os.") {
		if v, ok := p.request(fn, c.args, c.kw, c.src); ok {
			return v
		}
	}
	for k, a := range c.args {
		if runs(canonical(a.ref)) != "" && k+1 < len(c.args) { // submit(os.system, "...")
			return p.call(a, c.args[k+1:], nil, c.from)
		}
		if a.fn != nil { // submit(f, x), map(f, list), remote(f)
			if _, name, _ := cutLast(c.ref); name == "submit" || name == "run_in_executor" || name == "apply" || name == "apply_async" || name == "start_new_thread" || name == "partial" || name == "to_thread" {
				p.invoke(a.fn, c.args[k+1:], nil)
			}
			return pv{fn: a.fn}
		}
		p.argument(a, c.ref, c.src)
	}
	if f, ok := c.kw["target"]; ok && (f.fn != nil || runs(canonical(f.ref)) != "") {
		return p.call(f, c.kw["args"].list, nil, c.from)
	}
	for _, n := range [...]string{"entrypoint", "cmd", "command"} {
		if a, ok := c.kw[n]; ok && n == "entrypoint" && a.known() {
			p.w.run("shell", a.data(), "runs", c.src)
		}
	}
	out := c.all
	out.from &^= fromText
	return pv{value: out.blur()}
}

// argument looks at what any function is given.
func (p *py) argument(a pv, ref, src string) {
	if !a.known() || len(a.s) > 4096 || a.s == "" {
		return
	}
	if p.w.r.judge.stratum(a.s) {
		p.w.add("stratum", 65, "connects to a mining pool", src)
	}
	wallets(a.s, func(x string) { p.w.add("wallet", 65, "names a Monero wallet", x) })
}

func values(v pv) (out []value) {
	if v.seq {
		for _, x := range v.list {
			out = append(out, x.data())
		}
		return out
	}
	return []value{v.data()}
}

// joined has the text and the origins of all arguments.
func joined(args []pv, kw map[string]pv) (v value) {
	add := func(a pv) {
		d := a.data()
		if a.ref == "os.environ" {
			d = value{s: hole, from: fromRecon, what: "the environment"}
		}
		if strings.HasPrefix(a.ref, "~file") && a.self == nil {
			d = value{s: hole}
		}
		v = v.plus(d).plus(text(" "))
		for _, x := range a.list[:min(len(a.list), 64)] {
			v.from |= x.from
		}
	}
	for _, a := range args {
		add(a)
	}
	names := make([]string, 0, len(kw))
	for n := range kw {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		add(kw[n])
	}
	return v
}

func numbers(v pv) pv {
	b := make([]byte, 0, len(v.list))
	for _, x := range v.list {
		n, ok := number(x.s)
		if !ok || n < 0 || n > 255 {
			return pv{value: value{s: hole, from: v.from | fromDecode | fromOpaque | fromText}}
		}
		b = append(b, byte(n))
	}
	s, ok := readable(b)
	if !ok {
		return pv{value: value{s: hole, from: fromDecode | fromOpaque | fromText}}
	}
	return pv{value: value{s: s, from: fromText | fromDecode}}
}

func (p *py) decode(args []pv, f func(string) (string, bool)) pv {
	if len(args) == 0 {
		return pv{value: unknown}
	}
	v := args[0].data()
	p.w.r.charge(len(v.s))
	return pv{value: p.w.decode(v, f)}
}

func (p *py) codec(args []pv, name string) pv {
	switch strings.ToLower(strings.ReplaceAll(name, "-", "_")) {
	case "rot13", "rot_13":
		return p.decode(args, rot13)
	case "hex", "hex_codec":
		return p.decode(args, unHex)
	case "base64", "base64_codec":
		return p.decode(args, unBase64)
	case "zlib", "zip", "bz2", "zlib_codec", "zip_codec":
		return p.decode(args, unzip)
	case "unicode_escape", "string_escape":
		return p.decode(args, func(s string) (string, bool) { return ansiC(s), true })
	}
	if len(args) > 0 {
		return pv{value: args[0].data()}
	}
	return pv{value: unknown}
}

// stdio connects a process's streams.
func (p *py) stdio(args []pv, kw map[string]pv) (io stdio) {
	if p.w.py.dup {
		io.inSock, io.out = p.w.py.sock, p.w.py.sock
	}
	for _, n := range [...]string{"stdin", "stdout", "input"} {
		v, ok := kw[n]
		if !ok {
			continue
		}
		switch {
		case strings.HasPrefix(v.ref, "~socket") || v.from&fromSocket != 0 && n != "input":
			io.inSock = p.w.py.sock
			if io.inSock == nil {
				io.inSock = &Place{Kind: Unclear}
			}
		case n == "input" || n == "stdin" && v.self != nil:
			io.in, io.set = v.data(), true
		}
	}
	return io
}

// process judges a call that starts one.
func (p *py) process(ref, how string, args []pv, kw map[string]pv, src string) pv {
	w := p.w
	io := p.stdio(args, kw)
	if a, ok := kw["args"]; ok && len(args) == 0 {
		args = []pv{a}
	}
	if how == "mode list" || how == "mode exec" {
		args = args[min(1, len(args)):]
		how = how[5:]
	}
	if len(args) == 0 {
		return pv{value: unknown}
	}
	var out value
	switch {
	case how == "named":
		_, fn, _ := cutLast(ref)
		list := []value{text(fn)}
		for _, a := range args {
			list = append(list, a.data())
		}
		out = w.nested(list, io, src)
	case how == "list":
		var list []value
		for i, a := range args {
			if i == 1 && strings.HasPrefix(ref, "os.") { // the name that the program is told
				continue
			}
			list = append(list, a.data())
		}
		out = w.nested(list, io, src)
	case how == "exec":
		list := []value{args[0].data()}
		if len(args) > 1 {
			if l := values(args[1]); args[1].seq && len(l) > 1 {
				list = append(list, l[1:]...)
			}
		}
		out = w.nested(list, io, src)
	case args[0].seq:
		list := values(args[0])
		if v, ok := kw["shell"]; ok && v.ref == "True" && len(list) > 0 {
			list = list[:1]
			out = w.line(list[0], io, src)
			break
		}
		out = w.nested(list, io, src)
	default:
		v := args[0].data()
		if ref == "pty.spawn" && interpreterOf(programName(v.s)) == "shell" {
			if w.py.sock != nil {
				w.add("socket_shell", 85, "opens a shell on a socket", src)
			} else {
				w.add("pty_spawn", 80, "opens an interactive shell", src)
			}
			return pv{value: unknown}
		}
		out = w.line(v, io, src)
	}
	if ref == "pty.spawn" && args[0].seq && len(args[0].list) == 1 && interpreterOf(programName(args[0].list[0].s)) == "shell" {
		w.add("pty_spawn", 80, "opens an interactive shell", src)
	}
	return pv{value: out.blur()}
}

// nested runs a list of words that stands in other code.
func (w *walk) nested(list []value, io stdio, src string) value {
	in := w.inner(src)
	if in == nil {
		return unknown
	}
	return in.command(list, io, src)
}

// line runs a command line that stands in other code, with streams.
func (w *walk) line(v value, io stdio, src string) value {
	back := w.base
	w.base = io
	defer func() { w.base = back }()
	if v.from&(fromNet|fromSocket|fromDecode) != 0 {
		w.run("shell", v, "runs", src)
		return value{s: hole}
	}
	if strings.Trim(v.s, hole+" \n\t") == "" {
		return value{s: hole}
	}
	in := w.inner(v.s)
	if in == nil {
		return unknown
	}
	w.r.read += len(v.s)
	if len(v.s) > maxText || !w.r.charge(parseUnits*len(v.s)) {
		w.r.Cut = true
		return unknown
	}
	in.src = v.s
	in.looks(v.s)
	stmts, rest := w.r.judge.parse(v.s)
	var out value
	for range 2 {
		out = value{}
		for _, s := range stmts {
			out = w.r.join(out, in.stmt(s, io))
		}
		if len(in.fifos) == 0 {
			break
		}
	}
	if rest != "" {
		in.scale = in.scale * 3 / 4
		in.words(rest)
	}
	return out
}

// networkCall says that a function of this name may ask a server for something.
func networkCall(fn string) bool {
	switch fn {
	case "get", "post", "put", "request", "urlopen", "patch", "head", "delete", "urlretrieve", "fetch", "stream", "download_file_from_url", "retrieve", "open", "GET", "url_open", "send":
		return true
	}
	return false
}

// request judges a call that names a URL; false if it names none.
func (p *py) request(fn string, args []pv, kw map[string]pv, src string) (pv, bool) {
	k := 0
	if (fn == "request" || fn == "stream" || fn == "open") && len(args) > 1 && !isURL(args[0].s) {
		k = 1
	}
	u, ok := kw["url"]
	if !ok {
		if k >= len(args) {
			return pv{}, false
		}
		u = args[k]
	} else {
		k = -1
	}
	if !isURL(u.s) && !strings.HasPrefix(u.s, hole) && fn != "urlopen" {
		return pv{}, false
	}
	if strings.HasPrefix(u.s, hole) && fn != "urlopen" && fn != "post" && fn != "put" {
		return pv{}, false
	}
	if u.dict != nil { // a Request
		for n, x := range u.dict {
			if n == "data" || n == "headers" {
				if kw == nil {
					kw = map[string]pv{}
				}
				if _, ok := kw[n]; !ok {
					kw[n] = x
				}
			}
		}
	}
	return pv{value: p.fetch(args, kw, k, src)}, true
}

// fetch judges a request, args[k] being its URL (kw["url"] with k < 0).
func (p *py) fetch(args []pv, kw map[string]pv, k int, src string) value {
	w := p.w
	u := kw["url"]
	if k >= 0 && k < len(args) {
		u = args[k]
	}
	pl := w.r.judge.Place(u.s)
	w.reached(pl, src)
	got := value{s: hole, from: fromNet, at: pl}
	if what := w.r.judge.lists.Metadata(pl.Host, pl.Path); what != "" {
		w.add("metadata", 45, "asks the cloud for "+what, src)
		got = value{s: hole, from: fromSecret, what: what}
	}
	var body value
	sends := false
	for i, a := range args {
		if i > k && k >= 0 {
			body = p.w.r.join(body, joined([]pv{a}, nil))
			sends = true
		}
	}
	for _, n := range [...]string{"data", "json", "files", "body", "content", "headers", "params", "cookies"} {
		if a, ok := kw[n]; ok {
			body = p.w.r.join(body, joined([]pv{a}, nil))
			for _, key := range [...]string{"file", "f", "data", "upload"} {
				if x, ok := a.dict[key]; ok && strings.HasPrefix(x.ref, "~file") {
					body = p.w.r.join(body, w.read(value{s: x.s}))
				}
			}
			if strings.HasPrefix(a.ref, "~file") {
				body = p.w.r.join(body, w.read(value{s: a.s}))
			}
			sends = sends || n != "headers" && n != "params" && n != "cookies"
		}
	}
	if u.from&(fromSecret|fromRecon) != 0 {
		body = p.w.r.join(body, value{from: u.from & (fromSecret | fromRecon), what: u.what})
	}
	if sends || body.from&(fromSecret|fromRecon) != 0 {
		w.send(body, pl, src, sends)
		w.spread(pl, body, src)
	}
	return got
}

// http judges methods of connections of http.client. Their value is the server.
func (p *py) http(f pv, method string, args []pv, kw map[string]pv, src string) pv {
	switch method {
	case "request":
		u := pv{value: f.value}
		if len(args) > 1 {
			u.value = f.value.plus(args[1].data())
		}
		rest := []pv{u}
		rest = append(rest, args[min(2, len(args)):]...)
		p.fetch(rest, kw, 0, src)
		return pv{}
	case "getresponse":
		return pv{value: value{s: hole, from: fromNet, at: p.w.r.judge.Place(f.s)}}
	}
	return pv{}
}

// socket judges methods of sockets.
func (p *py) socket(f pv, method string, args []pv, src string) pv {
	w := p.w
	switch method {
	case "connect", "connect_ex":
		host, port := "", ""
		if len(args) > 0 && args[0].seq && len(args[0].list) > 1 {
			host, port = args[0].list[0].s, args[0].list[1].s
		} else if len(args) > 0 {
			host = args[0].s
		}
		if strings.HasPrefix(host, "/") { // a Unix socket
			return pv{ref: "~socket"}
		}
		w.py.sock = w.r.judge.Place(host + ":" + port)
		if entry, g := w.r.judge.pools.Name(w.py.sock.Host); g == "pool" && entry != "" {
			w.add("pool", 80, "connects to a mining pool", src)
		}
		w.calls(w.py.sock, src)
		return pv{ref: "~socket"}
	case "accept":
		w.py.sock = &Place{Kind: Unclear}
		return pv{seq: true, list: []pv{{ref: "~socket"}, {value: unknown}}}
	case "recv", "recvfrom", "read", "readline", "recv_into", "makefile.read", "makefile.readline":
		return pv{value: value{s: hole, from: fromSocket, at: w.py.sock}}
	case "send", "sendall", "sendto", "write":
		if w.py.sock != nil {
			w.send(joined(args, nil), w.py.sock, src, true)
		}
		return pv{}
	case "fileno":
		return pv{value: value{s: hole, from: fromSocket, at: w.py.sock}}
	case "wrap_socket", "makefile":
		return pv{ref: "~socket"}
	}
	return pv{}
}

// file judges methods of files. Their value is the path.
func (p *py) file(f pv, method string, args []pv, src string) pv {
	w := p.w
	switch method {
	case "write", "write_text", "write_bytes", "writelines":
		v := joined(args, nil)
		v.s = strings.TrimSuffix(v.s, " ")
		w.write(f.s, v, true)
		return pv{}
	case "read", "read_text", "read_bytes", "readlines", "readline", "":
		v := w.read(f.value)
		if v.from&fromSecret != 0 {
			w.add("steal", 45, "reads "+v.what, src)
		}
		return pv{value: v}
	case "expanduser", "resolve", "absolute", "joinpath", "with_suffix":
		for _, a := range args {
			f.s += "/" + a.s
		}
		f.ref = "~file"
		return f
	case "chmod":
		mode := str(args, 0)
		if n, ok := number(mode); ok {
			mode = strconv.FormatInt(int64(n), 8)
		}
		w.program(&call{name: "chmod", args: []value{text(mode), f.value}, src: src})
		return pv{}
	}
	return pv{}
}

// pymethod is a call of a method of data.
type pymethod struct {
	self pv
	v    value // of self
	name string
	args []pv
	kw   map[string]pv
	from int // token at which the call begins
}

// method judges a method of data.
func (p *py) method(self pv, name string, args []pv, kw map[string]pv, from int) pv {
	v := self.data()
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	m := pymethod{self: self, v: v, name: name, args: args, kw: kw, from: from}
	if out, ok := p.methodOfText(m); ok {
		return out
	}
	if out, ok := p.methodOfObject(m); ok {
		return out
	}
	return p.methodOther(m)
}

// methodOther judges a method that is not known by its name: what it is given may hold commands or be called by it.
func (p *py) methodOther(m pymethod) pv {
	all := joined(m.args, m.kw)
	p.w.r.cost(len(all.s))
	all.from &^= fromText
	for k, a := range m.args {
		if runs(canonical(a.ref)) != "" && k+1 < len(m.args) {
			return p.call(a, m.args[k+1:], nil, m.from)
		}
		if a.fn != nil {
			p.invoke(a.fn, m.args[k+1:], nil)
			return pv{value: unknown}
		}
		p.argument(a, m.name, p.source(m.from))
	}
	return pv{value: m.v.plus(all).blur()}
}

// methodOfText follows methods that make text of text.
func (p *py) methodOfText(m pymethod) (pv, bool) {
	switch m.name {
	case "decode", "encode":
		if len(m.args) > 0 {
			return p.codec([]pv{{value: m.v}}, m.args[0].s), true
		}
		return pv{value: m.v}, true
	case "read", "strip", "lstrip", "rstrip", "getvalue", "tobytes", "communicate", "result", "remote", "splitlines", "readlines", "readline", "casefold", "hex_", "decode_", "raise_for_status", "text", "content", "copy", "getbuffer":
		if m.name == "strip" && m.v.known() {
			return pv{value: m.v.with(strings.TrimSpace(m.v.s))}, true
		}
		return pv{value: m.v}, true
	case "lower":
		return pv{value: m.v.with(strings.ToLower(m.v.s))}, true
	case "upper":
		return pv{value: m.v.with(strings.ToUpper(m.v.s))}, true
	case "replace":
		return p.replaced(m), true
	case "join":
		if len(m.args) > 0 && m.args[0].seq {
			out := value{}
			for i, x := range m.args[0].list {
				if i > 0 {
					out = p.w.r.join(out, m.v)
				}
				out = p.w.r.join(out, x.data())
				if !p.w.r.charge(len(out.s)) {
					break
				}
			}
			return pv{value: out}, true
		}
		if len(m.args) > 0 {
			if m.v.s == "" {
				return pv{value: m.args[0].data()}, true
			}
			return pv{value: m.args[0].data().blur()}, true
		}
	case "split":
		return p.parts(m), true
	case "format":
		return p.formatted(m), true
	case "fromhex":
		return p.decode(m.args, unHex), true
	case "decrypt", "update":
		if len(m.args) > 0 {
			return p.decode(m.args, func(string) (string, bool) { return "", false }), true
		}
	}
	return pv{}, false
}

// methodOfObject judges methods of clients, sessions, archives and models.
func (p *py) methodOfObject(m pymethod) (pv, bool) {
	switch m.name {
	case "exec_command", "run_command", "sudo":
		if len(m.args) > 0 {
			p.w.run("shell", m.args[0].data(), "runs", p.source(m.from))
		}
		return pv{value: unknown}, true
	case "submit_job":
		if a, ok := m.kw["entrypoint"]; ok {
			p.w.run("shell", a.data(), "runs", p.source(m.from))
		}
		return pv{value: unknown}, true
	case "append", "extend":
		return pv{}, true
	case "extractall", "extract", "namelist":
		return pv{value: m.v.blur()}, true
	case "get", "post", "put", "request", "fetch", "stream", "patch":
		if m.self.dict != nil && m.name == "get" && len(m.args) > 0 {
			if x, ok := m.self.dict[m.args[0].s]; ok {
				return x, true
			}
		}
		if r, ok := p.request(m.name, m.args, m.kw, p.source(m.from)); ok {
			return r, true
		}
	case "eval", "train", "fit", "empty", "connect":
		return pv{value: m.v.blur()}, true
	}
	return pv{}, false
}

// replaced follows replace as far as all of it is known and the result is not too long.
func (p *py) replaced(m pymethod) pv {
	if len(m.args) > 1 && m.v.known() && m.args[0].known() && m.args[1].known() && m.args[0].s != "" && len(m.v.s)/len(m.args[0].s)*len(m.args[1].s) < maxValue && p.w.r.charge(len(m.v.s)) {
		return pv{value: m.v.with(strings.ReplaceAll(m.v.s, m.args[0].s, m.args[1].s))}
	}
	return pv{value: m.v.blur()}
}

// parts follows split, of text that is known.
func (p *py) parts(m pymethod) pv {
	if m.v.known() && !m.self.seq {
		sep := str(m.args, 0)
		var l []string
		if sep == "" || sep == hole {
			l = strings.Fields(m.v.s)
		} else {
			l = strings.Split(m.v.s, sep)
		}
		out := pv{seq: true}
		for _, s := range l[:min(len(l), 1024)] {
			out.list = append(out.list, pv{value: m.v.with(s)})
		}
		return flat(out)
	}
	return pv{value: m.v.blur()}
}

// formatted follows format with its arguments by place and by name.
func (p *py) formatted(m pymethod) pv {
	s := m.v.s
	out := value{}
	for k := 0; k < 256; k++ {
		i := strings.IndexByte(s, '{')
		j := strings.IndexByte(s, '}')
		if i < 0 || j < i {
			break
		}
		out = p.w.r.join(out, m.v.with(s[:i]))
		key := s[i+1 : j]
		if x, ok := m.kw[key]; ok {
			out = p.w.r.join(out, x.data())
		} else if n, ok := number(key); ok && n >= 0 && n < len(m.args) {
			out = p.w.r.join(out, m.args[n].data())
		} else if key == "" && k < len(m.args) {
			out = p.w.r.join(out, m.args[k].data())
		} else {
			out = p.w.r.join(out, unknown)
		}
		s = s[j+1:]
	}
	return pv{value: out.plus(m.v.with(s))}
}
