package command

import "strings"

// piece is a string literal of a language, with the code before it.
type piece struct {
	s      string
	before string // the name that it is an argument of, with its receiver
	quote  byte
}

// literals cuts the strings out of a text in a language of the kind of Perl, Ruby, PHP, Lua, awk or JavaScript, and
// gives the rest as code.
func literals(s, lang string) (code string, out []piece) {
	var b strings.Builder
	take := func(text string, quote byte) {
		if len(out) < 512 {
			head := b.String()
			out = append(out, piece{text, head[max(0, len(head)-48):], quote})
		}
	}
	for i := 0; i < len(s); {
		c := s[i]
		if beginsComment(s, i, lang) {
			j := strings.IndexByte(s[i:], '\n')
			if j < 0 {
				break
			}
			i += j
			continue
		}
		if c == '\'' || c == '"' || c == '`' {
			j := i + 1
			for j < len(s) && s[j] != c {
				if s[j] == '\\' {
					j++
				}
				j++
			}
			end := min(j, len(s))
			t := s[i+1 : max(end, i+1)]
			if c != '\'' && len(out) < 512 {
				t = ansiC(t)
			}
			take(t, c)
			b.WriteString("\x02")
			i = end + 1
			continue
		}
		if c == 'q' && (lang == "perl" || lang == "ruby") && (i == 0 || !alphanumeric(s[i-1])) && len(out) < 512 {
			if text, quote, n := quoteLike(s[i:]); n > 0 {
				take(text, quote)
				b.WriteString("\x02")
				i += n
				continue
			}
		}
		b.WriteByte(c)
		i++
	}
	return b.String(), out
}

// beginsComment reports whether a comment goes from s[i] to the end of its line. In a URL // begins none.
func beginsComment(s string, i int, lang string) bool {
	switch {
	case s[i] == '#' && lang != "javascript":
		return (i == 0 || s[i-1] == '\n' || s[i-1] == ' ') && (i+1 >= len(s) || s[i+1] == ' ' || s[i+1] == '!')
	case s[i] == '/' && i+1 < len(s) && s[i+1] == '/':
		return (lang == "javascript" || lang == "php") && (i == 0 || s[i-1] != ':')
	}
	return false
}

// quoteLike reads q{...}, qq{...} or qx{...} of Perl and Ruby, n bytes; n is 0 if s does not begin with one.
func quoteLike(s string) (text string, quote byte, n int) {
	j := 1
	for j < len(s) && j < 3 && (s[j] == 'q' || s[j] == 'x' || s[j] == 'w') {
		j++
	}
	if len(s) < 3 || j >= len(s) {
		return "", 0, 0
	}
	k := strings.IndexByte("{([/|", s[j])
	if k < 0 {
		return "", 0, 0
	}
	end := strings.IndexByte(s[j+1:], "})]/|"[k])
	if end <= 0 {
		return "", 0, 0
	}
	quote = '"'
	if strings.Contains(s[:j], "x") {
		quote = '`'
	}
	return s[j+1 : j+1+end], quote, j + end + 2
}

// word says whether a word stands in a text with borders on both sides.
func hasWord(s, word string) bool {
	for from := 0; ; {
		i := strings.Index(s[from:], word)
		if i < 0 {
			return false
		}
		i += from
		end := i + len(word)
		edge := func(k int) bool {
			return k < 0 || k >= len(s) || !(alphanumeric(s[k]) || s[k] == '_')
		}
		if edge(i-1) && edge(end) {
			return true
		}
		from = i + 1
	}
}

func hasAny(s string, words ...string) bool {
	for _, x := range words {
		if hasWord(s, x) {
			return true
		}
	}
	return false
}

// callOf gives the name of the function that a literal is an argument of.
func callOf(before string) string {
	t := strings.TrimRight(before, " \t\n([{,\x02")
	if !strings.ContainsAny(before[min(len(t), len(before)):], "( \x02") && !strings.HasSuffix(before, "{") {
		return ""
	}
	i := len(t)
	for i > 0 && (alphanumeric(t[i-1]) || t[i-1] == '_' || t[i-1] == '.' || t[i-1] == ':') {
		i--
	}
	return t[i:]
}

// shellPath says that a literal is a shell, with its options.
func shellPath(s string) bool {
	var f []string
	for x := range strings.FieldsSeq(s) {
		if !strings.ContainsAny(x, "<>") {
			f = append(f, x)
		}
		if len(f) > 3 {
			return false
		}
	}
	if len(f) == 0 {
		return false
	}
	if len(f) > 1 && f[1] == "-c" {
		return false
	}
	return interpreterOf(programName(f[0])) == "shell" || f[0] == "cmd.exe" || f[0] == "cmd"
}

// undoers are functions that undo an encoding, of several languages.
var undoers = []string{"base64_decode", "decode_base64", "unpack", "atob", "decode64", "gzinflate", "gzuncompress", "str_rot13", "urlsafe_decode64", "hex2bin", "strict_decode64", "convert_uudecode"}

// other judges a text in a language that is not parsed.
func (w *walk) other(lang, s string) {
	if len(s) > maxText {
		w.r.Cut = true
		s = s[:maxText]
	}
	w.r.read += len(s)
	if !w.r.charge(2 * len(s)) {
		return
	}
	w.src = s
	f := foreign{w: w, lang: lang, src: s, excerpt: s[:min(len(s), 4*maxShown)]}
	f.code, f.lits = literals(s, lang)
	f.low = strings.ToLower(f.code)
	f.sockets()
	f.loaders()
	f.commands()
	f.constants()
}

// foreign is a text in a language that is not parsed: its literals, and the words between them.
type foreign struct {
	w         *walk
	lang, src string
	excerpt   string // for findings
	code, low string // without the literals; in small letters
	lits      []piece
	connects  bool // it opens a connection
	shell     bool // it names a shell
}

// sockets looks for connections whose other end gets a shell or sends what is run.
func (f *foreign) sockets() {
	sockLit := false
	for _, l := range f.lits {
		f.shell = f.shell || shellPath(l.s)
		sockLit = sockLit || strings.Contains(l.s, "/inet/tcp/") || strings.Contains(l.s, "/inet/udp/") || l.s == "net" || l.s == "socket" || l.s == "node:net" || l.s == "tls"
	}
	f.connects = f.opensSocket(sockLit)
	starts := hasAny(f.low, "exec", "spawn", "popen", "system", "passthru", "proc_open", "shell_exec", "processbuilder", "fork", "execute", "getline", "open", "child_process", "port_open", "open_port") || strings.ContainsRune(f.code, '|') && f.lang == "awk"
	if f.connects && f.shell && starts || f.lang == "awk" && sockLit && strings.Contains(f.low, "getline") {
		f.w.add("socket_shell", 85, "opens a shell on a socket", f.excerpt)
	}
	reads := strings.Contains(f.low, "<$") || strings.Contains(f.low, "<>") || hasAny(f.low, "gets", "fgets", "readline", "receive", "recv")
	loops := strings.Contains(f.src, "while") || strings.Contains(f.src, "loop")
	if f.connects && hasAny(f.low, "exec", "system", "popen", "eval", "shell_exec") && reads && loops && !f.shell {
		f.w.add("socket_shell", 85, "runs what comes over a connection", f.excerpt)
	}
}

// opensSocket reports whether the code makes a connection. sockLit says that a string of it names sockets.
func (f *foreign) opensSocket(sockLit bool) bool {
	return hasAny(f.code, "Socket", "TCPSocket", "UNIXSocket", "fsockopen", "pfsockopen", "socket_create", "stream_socket_client", "PeerAddr", "IO::Socket::INET", "java.net.Socket", "make.socket", "TcpStream") ||
		sockLit && (hasAny(f.low, "connect", "socket", "tcp", "createconnection", "getline") || f.lang == "awk") ||
		hasWord(f.low, "gen_tcp") ||
		hasAny(f.low, "socketpair") && hasWord(f.low, "connect") ||
		f.lang == "other" && hasWord(f.low, "socket")
}

// loaders looks for what decodes or fetches a text and runs it.
func (f *foreign) loaders() {
	evals := hasAny(f.code, "eval", "assert", "instance_eval", "Function", "load", "loadstring", "runInThisContext", "create_function", "exec")
	decodes := hasAny(f.code, undoers...) || strings.Contains(f.code, "Buffer.from")
	fetches := hasAny(f.code, "file_get_contents", "open-uri", "URI.open", "LWP::Simple", "LWP::UserAgent", "http.get", "https.get", "fetch", "Net::HTTP", "curl_exec", "HTTP::Tiny", "URI", "socket.http", "LWP")
	for _, l := range f.lits {
		fetches = fetches || (l.s == "http" || l.s == "https" || l.s == "node:http" || l.s == "node:https" || l.s == "axios") && hasAny(f.code, "get", "request")
	}
	urlAt := (*Place)(nil)
	for _, l := range f.lits {
		if isURL(l.s) {
			p := f.w.r.judge.Place(l.s)
			f.w.reached(p, f.excerpt)
			if urlAt == nil || p.piped() > urlAt.piped() {
				urlAt = p
			}
		}
	}
	if evals && fetches && urlAt != nil && hasAny(f.code, "eval", "instance_eval", "loadstring", "assert", "Function") {
		f.w.add("pipe_to_shell", urlAt.piped(), "runs a download in an interpreter", f.excerpt)
	}
	if evals && decodes && hasAny(f.code, "eval", "instance_eval", "loadstring", "assert", "Function", "system", "exec", "shell_exec") || decodes && hasAny(f.code, "system", "exec", "shell_exec", "popen", "execSync") {
		for _, l := range f.lits {
			f.undo(l.s)
		}
		f.w.add("decode_run", 80, "decodes a text and runs it", f.excerpt)
	}
}

// undo judges a literal that may be an encoded text, which is run.
func (f *foreign) undo(s string) {
	if len(s) < 12 {
		return
	}
	t, ok := unBase64(s)
	if !ok {
		t, ok = unHex(s)
	}
	if !ok || f.w.hidden && f.w.nest > 4 {
		return
	}
	before := f.w.r.Score()
	h := *f.w
	h.hidden, h.where = true, "decoded "+strings.TrimPrefix(f.w.where, "decoded ")
	h.nest++
	if h.nest < maxNesting {
		h.code("shell", text(t))
		h.code(f.lang, text(t))
	}
	if f.w.r.Score() > before {
		f.w.r.keep(t)
	}
}

// commands judges literals that are run as commands.
func (f *foreign) commands() {
	for _, l := range f.lits {
		if !f.runs(l) || strings.TrimSpace(l.s) == "" {
			continue
		}
		t := strings.Trim(l.s, "|")
		if shellPath(t) {
			if !f.connects {
				f.w.add("interactive_shell", 35, "opens an interactive shell", f.excerpt)
			}
			continue
		}
		f.w.code("shell", text(t))
	}
	// A command may stand in a variable.
	if hasAny(f.low, "system", "exec", "shell_exec", "passthru", "popen", "execsync", "os.execute", "proc_open") {
		for _, l := range f.lits {
			if t := strings.TrimSpace(l.s); strings.Contains(t, " ") && f.w.r.judge.Runs(t) && !shellPath(t) {
				f.w.code("shell", text(t))
			}
		}
	}
}

// runs reports whether a literal is a command, by what stands before it or by its quotes.
func (f *foreign) runs(l piece) bool {
	name := callOf(l.before)
	_, fn, _ := cutLast(name)
	runs := l.quote == '`' && (f.lang == "perl" || f.lang == "ruby" || f.lang == "php")
	switch fn {
	case "system", "exec", "shell_exec", "passthru", "popen", "proc_open", "execSync", "spawn", "spawnSync", "execFile", "execFileSync", "execute", "capture2", "capture3", "sh", "cmd", "run", "qx", "os:cmd", "execl", "execvp":
		runs = true
	case "open":
		runs = f.lang == "perl" && strings.Contains(l.s, "|")
	}
	if f.lang == "awk" && strings.Contains(l.s, " ") && (strings.HasSuffix(strings.TrimRight(l.before, " "), "|") || strings.Contains(f.low, "getline")) {
		runs = true
	}
	return runs
}

// constants looks at literals that tell by themselves.
func (f *foreign) constants() {
	for _, l := range f.lits {
		if f.w.r.judge.stratum(l.s) {
			f.w.add("stratum", 65, "connects to a mining pool", l.s)
		}
		if what := f.w.r.judge.lists.Secret(l.s); what != "" && hasAny(f.low, "open", "read", "file_get_contents", "readfile", "readfilesync") {
			f.w.add("steal", 45, "reads "+what, f.excerpt)
		}
	}
}
