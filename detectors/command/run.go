package command

import (
	"path"
	"strings"

	"github.com/raytap/raytap/detectors"
)

// article names what runs a language.
func article(lang string) string {
	if lang == "shell" {
		return "a shell"
	}
	return "an interpreter"
}

// run judges that a value becomes code of a language.
func (w *walk) run(lang string, v value, how, src string) {
	if lang == "" {
		lang = "shell"
	}
	if v.from&fromNet != 0 && v.at != nil {
		points, says := v.at.piped(), "runs a download in "+article(lang)
		if how == "pipes" {
			says = "pipes a download into " + article(lang)
		}
		if v.from&fromPacked != 0 {
			points = v.at.kept(false, true)
		}
		w.add("pipe_to_shell", points, says, src)
	}
	if v.from&fromSocket != 0 && v.from&fromNet == 0 {
		w.add("socket_shell", 85, "runs what comes over a connection", src)
	}
	if v.from&fromDecode != 0 {
		w.decoded(lang, v, how, src)
		return
	}
	if v.from&fromText != 0 && v.from&(fromNet|fromSocket|fromFile|fromEnv) == 0 && how == "pipes" && strings.Trim(v.s, hole+" \n\t") == "" && v.s != "" {
		w.add("made_up", 40, "runs a text that it puts together", src)
	}
	w.code(lang, v)
}

// code walks a text in its language.
func (w *walk) code(lang string, v value) {
	if strings.Trim(v.s, hole+" \n\t") == "" {
		return
	}
	in := w.inner(v.s)
	if in == nil {
		return
	}
	in.looks(v.s)
	switch lang {
	case "python":
		in.python(v.s)
	case "shell":
		in.script(v.s)
	default:
		in.other(lang, v.s)
	}
}

// looks notes a hidden command that only looks around.
func (w *walk) looks(s string) {
	if w.hidden && whole(s) {
		w.add("look_around", 30, "looks around", s)
	}
}

// decoded judges code that was hidden: by what it does, if it can be read.
func (w *walk) decoded(lang string, v value, how, src string) {
	says := "decodes a text and runs it"
	if how == "pipes" {
		says = "decodes a text and pipes it into " + article(lang)
	}
	t := v.plain()
	if v.from&fromOpaque == 0 && v.known() && strings.TrimSpace(t) != "" {
		if t == w.src {
			return
		}
		before := w.r.Score()
		h := *w
		h.hidden = true
		if !strings.HasPrefix(h.where, "decoded ") {
			h.where = "decoded " + h.where
		}
		h.code(lang, v)
		gained := w.r.Score() - before
		// Encoding a few plain words saves nobody from quoting them.
		short := lang == "shell" && len(t) < 48 && !strings.ContainsAny(strings.TrimSpace(t), "'\"$\\\n")
		if gained >= 30 || short || w.hidden && gained > 0 {
			w.add("decode_run", 80, says, src)
			w.add("hidden_code", 20, "hides commands in an encoding", t)
			w.r.keep(t)
			return
		}
		w.add("decode_run", 15, says, src)
		return
	}
	switch {
	case v.from&fromText != 0: // it stands here and cannot be read
		found := false
		detectors.Hidden(w.src, maxRead, func(t string) bool {
			if t != w.src && w.r.charge(len(t)) {
				h := *w
				h.hidden, h.where = true, "decoded "+strings.TrimPrefix(w.where, "decoded ")
				before := w.r.Score()
				h.code(lang, text(t))
				found = found || w.r.Score() > before
				if w.r.Score() > before {
					w.r.keep(t)
				}
			}
			return true
		})
		w.add("decode_run", 80, says, src)
	case v.from&fromNet != 0:
		w.add("hidden_code", 20, "hides commands in an encoding", src)
	case lang == "shell":
		w.add("decode_run", 35, says, src)
	default:
		w.add("decode_run", 25, says, src)
	}
}

// runFile judges that a file is run: by an interpreter of lang, or directly.
func (w *walk) runFile(lang string, name value, c *call, direct bool) {
	if name.file != nil {
		l := lang
		if l == "" {
			l = "shell"
		}
		w.run(l, *name.file, "runs", c.src)
		return
	}
	if name.s == "/dev/stdin" || name.s == "-" {
		if c.io.set {
			w.run(lang, c.io.in, "pipes", c.src)
		}
		return
	}
	base := path.Base(name.s)
	if (direct || lang == "shell") && tempDir(name.s) && !strings.HasPrefix(name.s, "/tmp/ray/") {
		w.add("temp_exec", 30, "runs a file from a temporary directory", c.src)
		if strings.HasPrefix(base, ".") {
			w.add("hidden_exec", 20, "runs a hidden file", c.src)
		}
	}
	f := w.files[base]
	if f == nil && w.files[base+"\x01"] != nil {
		f = w.files[base+"\x01"]
	}
	if f == nil {
		w.runUnknown(lang, name.s, c)
		return
	}
	if f.from&fromNet != 0 && f.at != nil {
		// A script in Python is what jobs are made of.
		w.r.drop("fetch_chmod")
		w.add("fetch_run", f.at.kept(lang == "python", f.from&fromPacked != 0), "downloads a file and runs it", f.at.URL+" ... "+c.src)
	}
	if f.from&fromSocket != 0 {
		w.add("fetch_run", 75, "runs a file that came over a connection", c.src)
	}
	if f.from&fromDecode != 0 && lang == "" {
		if f.from&fromText != 0 && (!f.known() || f.from&fromOpaque != 0 || strings.HasPrefix(f.s, "\x7fELF")) {
			w.add("decode_run", 80, "decodes a program and runs it", c.src)
			return
		}
	}
	if lang == "" {
		lang = shebang(f.s)
	}
	g := *f
	g.from &^= fromNet | fromSocket
	if strings.Trim(g.s, hole) != "" {
		w.run(lang, g, "runs", c.src)
	}
}

// runUnknown judges that a file is run of which nothing is known: after an archive came, it may be out of that.
func (w *walk) runUnknown(lang, name string, c *call) {
	if w.packed == nil || name == "" || strings.HasPrefix(name, "/usr/") || strings.HasPrefix(name, "/bin/") || strings.HasPrefix(name, "/opt/") {
		return
	}
	points := w.packed.kept(lang != "" && lang != "shell", true)
	if lang == "python" && !w.within { // most likely the job's own
		points = min(points, 20)
	}
	w.add("fetch_run", points, "downloads an archive and runs something of it", w.packed.URL+" ... "+c.src)
}

// shebang tells the language of a script by its first line.
func shebang(s string) string {
	if !strings.HasPrefix(s, "#!") {
		if looksPython(s) {
			return "python"
		}
		return "shell"
	}
	line, _, _ := strings.Cut(s, "\n")
	f := strings.Fields(line[2:])
	if len(f) > 1 && programName(f[0]) == "env" {
		f = f[1:]
	}
	if len(f) > 0 {
		if l := interpreterOf(programName(f[0])); l != "" {
			return l
		}
	}
	return "shell"
}

// interpreter judges a call of one.
func (w *walk) interpreter(c *call, lang string) value {
	switch lang {
	case "shell":
		return w.shell(c)
	case "python":
		return w.pythonCall(c)
	case "awk":
		return w.awk(c)
	}
	// perl -e, ruby -e, node -e, php -r, lua -e
	script := false
	for i := 0; i < len(c.args); i++ {
		s := c.args[i].s
		if len(s) < 2 || s[0] != '-' {
			if s == "-" || s == "" {
				continue
			}
			w.runFile(lang, c.args[i], c, false)
			script = true
			break
		}
		if s == "--eval" || s == "--execute" || s == "-p" && lang == "javascript" || s[1] != '-' && strings.ContainsAny(s[len(s)-1:], "eEr") && !(lang == "ruby" && s[1] == 'r') && !(lang == "perl" && (s[1] == 'M' || s[1] == 'I')) {
			if i+1 < len(c.args) {
				// -MSocket and -rsocket are part of what is run.
				v := c.args[i+1]
				for _, a := range c.args[:i] {
					v = text(a.s + "; ").plus(v)
				}
				w.run(lang, v, "runs", c.src)
				i++
			}
			script = true
			if lang != "perl" {
				break
			}
		}
	}
	if !script && c.io.set {
		w.run(lang, c.io.in, "pipes", c.src)
	}
	if out := w.shown(lang, c); out.s != "" {
		return out
	}
	if lang == "perl" || lang == "ruby" || lang == "other" {
		return c.io.in.blur()
	}
	return value{s: hole}
}

// shown gives what a piece of Perl, Ruby, PHP or JavaScript prints, where that is a constant that it decodes.
func (w *walk) shown(lang string, c *call) value {
	for _, a := range c.args {
		if len(a.s) > maxText || !w.r.charge(len(a.s)) {
			continue
		}
		code, lits := literals(a.s, lang)
		if !hasAny(code, "print", "printf", "puts", "echo", "log", "write", "say") {
			continue
		}
		for _, l := range lits {
			if w.r.judge.Runs(l.s) && strings.Contains(l.s, " ") {
				return text(l.s)
			}
		}
		if !hasAny(code, undoers...) && !strings.Contains(code, "Buffer.from") {
			continue
		}
		for _, l := range lits {
			if t, ok := unBase64(l.s); ok && len(l.s) >= 12 {
				return value{s: t, from: fromText | fromDecode}
			}
			if t, ok := unHex(l.s); ok && len(l.s) >= 12 {
				return value{s: t, from: fromText | fromDecode}
			}
		}
	}
	return value{}
}

// shell judges a call of one.
func (w *walk) shell(c *call) value {
	script, interactive := false, false
	var out value
words:
	for i := 0; i < len(c.args); i++ {
		s := c.args[i].s
		option := len(s) > 1 && (s[0] == '-' || s[0] == '+') && c.args[i].file == nil
		switch {
		case s == "--" || s == "-":
		case !option:
			w.runFile("shell", c.args[i], c, false)
			script = true
			break words
		case s == "--rcfile" || s == "--init-file":
			w.runFile("shell", c.arg(i+1), c, false)
			i++
		case s[1] == '-':
		default:
			if strings.Contains(s, "i") && s[0] == '-' {
				interactive = true
			}
			if strings.Contains(s, "c") && s[0] == '-' {
				i = optionsEnd(c.args, i+1)
				if i < len(c.args) {
					out = w.shellText(c, i)
					script = !namesShell(c.args[i].s)
					interactive = interactive || !script
				}
				break words
			}
			if strings.Contains(s, "s") && s[0] == '-' {
				break words
			}
			if strings.HasSuffix(s, "o") || strings.HasSuffix(s, "O") {
				i++
			}
		}
	}
	if script {
		if out.s == "" {
			out = value{s: hole}
		}
		return out
	}
	switch {
	case c.io.inSock != nil || c.io.out != nil:
		w.add("socket_shell", 85, "opens a shell on a socket", c.src)
		return value{s: hole}
	case c.io.fifo && c.io.in.from&fromSocket == 0 && c.io.in.s == "":
		return value{s: hole}
	case c.io.set:
		w.run("shell", c.io.in, "pipes", c.src)
	}
	if interactive {
		w.add("interactive_shell", 20, "opens an interactive shell", c.src)
	}
	return value{s: hole}
}

// optionsEnd returns the index of the first word from i on that is no option.
func optionsEnd(args []value, i int) int {
	for i < len(args) && strings.HasPrefix(args[i].s, "-") && args[i].file == nil && !strings.ContainsAny(args[i].s, " ;|") {
		i++
	}
	return i
}

// shellText runs the text that follows -c, word i of the call. The words after it are $0, $1 and so on.
func (w *walk) shellText(c *call, i int) value {
	in := *w
	in.zero = c.arg(i + 1).s
	if i+2 <= len(c.args) {
		in.args = c.args[min(i+2, len(c.args)):]
	}
	if in.args == nil {
		in.args = []value{}
	}
	base := w.base
	w.base = c.io
	in.run("shell", c.args[i], "runs", c.src)
	w.base = base
	return value{s: hole, from: c.args[i].from & (fromSecret | fromRecon)}
}

// namesShell reports whether a text does nothing but start a shell.
func namesShell(s string) bool {
	return s == "bash" || s == "sh" || s == "/bin/sh" || s == "/bin/bash"
}

// pythonCall judges a call of Python.
func (w *walk) pythonCall(c *call) value {
	for i := 0; i < len(c.args); i++ {
		s := c.args[i].s
		switch {
		case s == "-":
			if c.io.set {
				w.run("python", c.io.in, "pipes", c.src)
			}
			return value{s: hole}
		case c.args[i].file != nil:
			w.runFile("python", c.args[i], c, false)
			return value{s: hole}
		case len(s) > 1 && s[0] == '-' && s[1] != '-':
			if strings.HasSuffix(s, "m") {
				w.pythonModule(c, i+1)
				return value{s: hole}
			}
			if j := strings.IndexByte(s, 'c'); j > 0 && strings.Trim(s[1:j], "BbdEhiIOqsSuvVx") == "" {
				v := c.arg(i + 1)
				if s[j+1:] != "" {
					v = c.args[i].with(s[j+1:])
				}
				w.py.in, w.py.hasIn, w.py.printed = c.io.in, c.io.set, value{}
				w.run("python", v, "runs", c.src)
				return w.py.printed
			}
			if s == "-W" || s == "-X" {
				i++
			}
		case len(s) > 1 && s[0] == '-':
		case s == "":
		default:
			w.pythonFile(c, i)
			return value{s: hole}
		}
	}
	if c.io.inSock != nil || c.io.out != nil {
		w.add("socket_shell", 85, "runs what comes over a connection", c.src)
	} else if c.io.set {
		w.run("python", c.io.in, "pipes", c.src)
	}
	return value{s: hole}
}

// pythonModule judges python -m with the module that is word i of the call.
func (w *walk) pythonModule(c *call, i int) {
	rest := c.args[min(i+1, len(c.args)):]
	switch c.arg(i).s {
	case "timeit":
		for _, a := range rest {
			if !strings.HasPrefix(a.s, "-") {
				w.run("python", a, "runs", c.src)
			}
		}
	case "pip", "uv":
		w.packages(&call{name: "pip", args: rest, io: c.io, src: c.src})
	case "http.server", "SimpleHTTPServer":
		w.add("serve_files", 15, "serves files", c.src)
	}
}

// pythonFile judges that Python runs the file that is word i of the call, with the words after it.
func (w *walk) pythonFile(c *call, i int) {
	w.runFile("python", c.args[i], c, false)
	for _, a := range c.args[i+1:] {
		if len(a.s) >= 40 && !strings.ContainsAny(a.s, " \n") {
			w.encoded(c, a.s)
		}
		if w.r.judge.stratum(a.s) {
			w.add("stratum", 85, "connects to a mining pool", a.s)
		}
		wallets(a.s, func(x string) { w.add("wallet", 65, "names a Monero wallet", x) })
	}
	w.options(&call{name: c.name, args: c.args[i+1:], src: c.src})
}

// awk judges a call: its programs may run commands and open connections.
func (w *walk) awk(c *call) value {
	for i := 0; i < len(c.args); i++ {
		a := c.args[i]
		if a.s == "-f" {
			w.runFile("awk", c.arg(i+1), c, false)
			return c.io.in.blur()
		}
		if a.s == "-v" || a.s == "-F" {
			i++
			continue
		}
		if strings.HasPrefix(a.s, "-") {
			continue
		}
		if strings.Contains(a.s, "system") || strings.Contains(a.s, "/inet/") || strings.Contains(a.s, "getline") || strings.Contains(a.s, "|") {
			w.code("awk", a)
		}
		for _, f := range c.args[i+1:] {
			if what := w.r.judge.lists.Secret(f.s); what != "" {
				w.add("steal", 45, "reads "+what, c.src)
				return value{s: hole, from: fromSecret, what: what}
			}
		}
		break
	}
	if out := w.shown("awk", c); out.s != "" {
		return out
	}
	return c.io.in.blur()
}
