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
	for i := 0; i < len(s); {
		c := s[i]
		if c == '#' && lang != "javascript" && (i == 0 || s[i-1] == '\n' || s[i-1] == ' ') && (i+1 >= len(s) || s[i+1] == ' ' || s[i+1] == '!') || c == '/' && i+1 < len(s) && s[i+1] == '/' && (lang == "javascript" || lang == "php") && (i == 0 || s[i-1] != ':') {
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
			if len(out) < 512 {
				t := s[i+1 : max(end, i+1)]
				if c != '\'' {
					t = ansiC(t)
				}
				head := b.String()
				out = append(out, piece{t, head[max(0, len(head)-48):], c})
			}
			b.WriteString("\x02")
			i = end + 1
			continue
		}
		if c == 'q' && (lang == "perl" || lang == "ruby") && i+2 < len(s) && (i == 0 || !alphanumeric(s[i-1])) {
			// q{...}, qq{...}, qx{...}
			j := i + 1
			for j < len(s) && j < i+3 && (s[j] == 'q' || s[j] == 'x' || s[j] == 'w') {
				j++
			}
			if j < len(s) {
				if k := strings.IndexByte("{([/|", s[j]); k >= 0 {
					end := strings.IndexByte(s[j+1:], "})]/|"[k])
					if end > 0 && len(out) < 512 {
						quote := byte('"')
						if strings.Contains(s[i:j], "x") {
							quote = '`'
						}
						head := b.String()
						out = append(out, piece{s[j+1 : j+1+end], head[max(0, len(head)-48):], quote})
						b.WriteString("\x02")
						i = j + end + 2
						continue
					}
				}
			}
		}
		b.WriteByte(c)
		i++
	}
	return b.String(), out
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
	code, lits := literals(s, lang)
	low := strings.ToLower(code)
	shell, sockLit := false, false
	for _, l := range lits {
		shell = shell || shellPath(l.s)
		sockLit = sockLit || strings.Contains(l.s, "/inet/tcp/") || strings.Contains(l.s, "/inet/udp/") || l.s == "net" || l.s == "socket" || l.s == "node:net" || l.s == "tls"
	}
	connects := hasAny(code, "Socket", "TCPSocket", "UNIXSocket", "fsockopen", "pfsockopen", "socket_create", "stream_socket_client", "PeerAddr", "IO::Socket::INET", "java.net.Socket", "make.socket", "TcpStream") ||
		sockLit && (hasAny(low, "connect", "socket", "tcp", "createconnection", "getline") || lang == "awk") || hasWord(low, "gen_tcp") || hasAny(low, "socketpair") && hasWord(low, "connect") || lang == "other" && hasWord(low, "socket")
	starts := hasAny(low, "exec", "spawn", "popen", "system", "passthru", "proc_open", "shell_exec", "processbuilder", "fork", "execute", "getline", "open", "child_process", "port_open", "open_port") || strings.ContainsRune(code, '|') && lang == "awk"
	excerpt := s[:min(len(s), 4*maxShown)]
	if connects && shell && starts || lang == "awk" && sockLit && strings.Contains(low, "getline") {
		w.add("socket_shell", 85, "opens a shell on a socket", excerpt)
	}
	if connects && hasAny(low, "exec", "system", "popen", "eval", "shell_exec") && (strings.Contains(low, "<$") || strings.Contains(low, "<>") || hasAny(low, "gets", "fgets", "readline", "receive", "recv")) && (strings.Contains(s, "while") || strings.Contains(s, "loop")) && !shell {
		w.add("socket_shell", 85, "runs what comes over a connection", excerpt)
	}
	// What decodes or fetches, and runs.
	evals := hasAny(code, "eval", "assert", "instance_eval", "Function", "load", "loadstring", "runInThisContext", "create_function", "exec")
	decodes := hasAny(code, undoers...) || strings.Contains(code, "Buffer.from")
	fetches := hasAny(code, "file_get_contents", "open-uri", "URI.open", "LWP::Simple", "LWP::UserAgent", "http.get", "https.get", "fetch", "Net::HTTP", "curl_exec", "HTTP::Tiny", "URI", "socket.http", "LWP")
	for _, l := range lits {
		fetches = fetches || (l.s == "http" || l.s == "https" || l.s == "node:http" || l.s == "node:https" || l.s == "axios") && hasAny(code, "get", "request")
	}
	urlAt := (*Place)(nil)
	for _, l := range lits {
		if isURL(l.s) {
			p := w.r.judge.Place(l.s)
			w.reached(p, excerpt)
			if urlAt == nil || p.piped() > urlAt.piped() {
				urlAt = p
			}
		}
	}
	if evals && fetches && urlAt != nil && hasAny(code, "eval", "instance_eval", "loadstring", "assert", "Function") {
		w.add("pipe_to_shell", urlAt.piped(), "runs a download in an interpreter", excerpt)
	}
	if evals && decodes && hasAny(code, "eval", "instance_eval", "loadstring", "assert", "Function", "system", "exec", "shell_exec") || decodes && hasAny(code, "system", "exec", "shell_exec", "popen", "execSync") {
		for _, l := range lits {
			if len(l.s) < 12 {
				continue
			}
			t, ok := unBase64(l.s)
			if !ok {
				t, ok = unHex(l.s)
			}
			if !ok || w.hidden && w.nest > 4 {
				continue
			}
			before := w.r.Score()
			h := *w
			h.hidden, h.where = true, "decoded "+strings.TrimPrefix(w.where, "decoded ")
			h.nest++
			if h.nest < maxNesting {
				h.code("shell", text(t))
				h.code(lang, text(t))
			}
			if w.r.Score() > before {
				w.r.keep(t)
			}
		}
		w.add("decode_run", 80, "decodes a text and runs it", excerpt)
	}
	// Commands.
	for _, l := range lits {
		name := callOf(l.before)
		_, fn, _ := cutLast(name)
		runs := l.quote == '`' && (lang == "perl" || lang == "ruby" || lang == "php")
		switch fn {
		case "system", "exec", "shell_exec", "passthru", "popen", "proc_open", "execSync", "spawn", "spawnSync", "execFile", "execFileSync", "execute", "capture2", "capture3", "sh", "cmd", "run", "qx", "os:cmd", "execl", "execvp":
			runs = true
		case "open":
			runs = lang == "perl" && strings.Contains(l.s, "|")
		}
		if lang == "awk" && strings.Contains(l.s, " ") && (strings.HasSuffix(strings.TrimRight(l.before, " "), "|") || strings.Contains(low, "getline")) {
			runs = true
		}
		if !runs || strings.TrimSpace(l.s) == "" {
			continue
		}
		t := strings.Trim(l.s, "|")
		if shellPath(t) {
			if !connects {
				w.add("interactive_shell", 35, "opens an interactive shell", excerpt)
			}
			continue
		}
		w.code("shell", text(t))
	}
	// A command may stand in a variable.
	if hasAny(low, "system", "exec", "shell_exec", "passthru", "popen", "execsync", "os.execute", "proc_open") {
		for _, l := range lits {
			if t := strings.TrimSpace(l.s); strings.Contains(t, " ") && w.r.judge.Runs(t) && !shellPath(t) {
				w.code("shell", text(t))
			}
		}
	}
	for _, l := range lits {
		if w.r.judge.stratum(l.s) {
			w.add("stratum", 65, "connects to a mining pool", l.s)
		}
		if what := w.r.judge.lists.Secret(l.s); what != "" && hasAny(low, "open", "read", "file_get_contents", "readfile", "readfilesync") {
			w.add("steal", 45, "reads "+what, excerpt)
		}
	}
}
