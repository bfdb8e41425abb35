package shell

import (
	"bytes"
	"strings"
)

const (
	// What a binary protocol says first has control bytes here; a shell's text has none.
	textHead = 64
	// Bytes beyond ASCII that a greeting in another language or code page may have there.
	maxHigh = 24
	// Where a console asks who is there, it does so in the first lines.
	loginHead    = 256
	passwordHead = 32
	// A client's tag before an IMAP command is a letter and a number.
	maxTag = 12
)

// starts are first bytes of text protocols, of either side. A 0 stands for any digit.
var starts = [...]string{
	"GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "CONNECT ", "DELETE ", "PATCH ", "TRACE ", "PRI * ", "HTTP/",
	"SSH-", "CAP ", "JOIN ", "+OK", "-ERR", "* OK", "* PREAUTH", "* BYE", "* CAPABILITY", "NOTICE ", "PRIVMSG ", "PING", "+PONG", ":", "ERROR ",
	"@RSYNCD", "<", "RFB ", "SIP/2.0", "RTSP/", "REGISTER ", "INVITE ", "{", "[{", "[\"", "#!", "000 ", "000-", "*0", "$0",
	"DATA\r", "STAT", "LIST", "NLST", "TYPE ", "PORT ", "CWD ", "PWD",
}

// greetings are first words of clients of mail, file and chat servers, in any case.
var greetings = [...]string{
	"EHLO ", "HELO ", "LHLO ", "MAIL FROM", "RCPT TO", "USER ", "PASS ", "NICK ", "AUTH ", "PASV", "EPSV", "FEAT", "SYST", "NOOP", "RSET", "RETR ",
	"QUIT", "CAPA", "STLS", "STARTTLS", "APOP ",
}

// imap are the commands that follow a client's tag first.
var imap = [...]string{"CAPABILITY", "LOGIN ", "AUTHENTICATE ", "STARTTLS", "NOOP", "ID (", "ID NIL", "LOGOUT", "SELECT "}

// foreign says that the beginning of a direction cannot be a shell's or its master's. What is foreign once stays so.
func foreign(b []byte) bool {
	if inJSON(b) {
		return false
	}
	if binary(b) {
		return true
	}
next:
	for _, s := range starts {
		if len(b) < len(s) {
			continue
		}
		for i := range len(s) {
			if b[i] != s[i] && (s[i] != '0' || b[i] < '0' || b[i] > '9') {
				continue next
			}
		}
		return true
	}
	for _, s := range greetings {
		if len(b) >= len(s) && bytes.EqualFold(b[:len(s)], []byte(s)) {
			return true
		}
	}
	if i := bytes.IndexByte(b[:min(len(b), maxTag)], ' '); i > 0 {
		for _, s := range imap {
			if r := b[i+1:]; len(r) >= len(s) && bytes.EqualFold(r[:len(s)], []byte(s)) {
				return true
			}
		}
	}
	head := b[:min(len(b), loginHead)]
	for _, s := range [...]string{"ogin:", "sername:", "User Access Verification"} {
		if bytes.Contains(head, []byte(s)) {
			return true
		}
	}
	// Later it may be su that asks.
	return bytes.Contains(head[:min(len(head), passwordHead)], []byte("assword:"))
}

// binary reports whether the beginning has bytes that a terminal's text does not have, or too many that are not of ASCII.
func binary(b []byte) bool {
	high := 0
	for i, c := range b[:min(len(b), textHead)] {
		switch {
		case c >= 0x80:
			if high++; high > maxHigh || c == 0xff && i+1 < len(b) && b[i+1] >= 0xf0 {
				return true // telnet's negotiation begins with 0xff
			}
		case c < 0x20 && c != '\t' && c != '\r' && c != '\n' && c != 0x1b && c != 0x07 && c != 0x08 && c != 0x03 && c != 0x04:
			return true
		}
	}
	return false
}

// certain judges what one side, out, would have answered as a shell to the other's lines. With final nothing more comes, and
// half of a session counts. It goes through the answers line by line and stops where they suffice, so that it says the same
// however the bytes were cut.
func certain(out, in []byte, final bool) (Session, bool) {
	if len(out) == 0 {
		return Session{}, false
	}
	var j judgement
	j.commands(in)
	text := clean(out)
	for len(text) > 0 {
		line, rest, whole := strings.Cut(text, "\n")
		text = rest
		line = strings.TrimRight(line, "\r")
		if line == "" {
			continue
		}
		line, done := j.prompted(line, whole)
		if done {
			return j.s, true
		}
		if line == "" {
			continue
		}
		if !whole {
			break // an answer counts when its line is complete
		}
		if isBanner(line) {
			j.banner, j.since = line, 0
			j.s.Windows = j.s.Windows || strings.HasPrefix(line, "Microsoft")
			continue
		}
		j.since++
		if j.answered(line) {
			return j.s, true
		}
	}
	return j.s, j.ended(out, in, final)
}

// judgement is what certain knows after some lines of answers. Its methods that return a bool report whether that
// suffices, and then have put the reasons into s.
type judgement struct {
	s          Session
	cmds       []string // that the other side sent
	known      int      // those of them that are usual
	firstKnown string

	banner                   string
	since                    int // lines since the banner
	strong, bare             int // prompts
	strongPrompt, barePrompt string
	echoed                   []string // commands that a terminal repeated
	echo, echoOf             string   // a sure answer to one of them, and to which

	pairs         int    // answers that are likely
	likely        string // the first
	likelyOf      uint32 // the kinds of command that there were some to
	alone, second string // answers that one command alone gives, to nothing that was seen
}

// commands takes the lines of the side that would type.
func (j *judgement) commands(in []byte) {
	var typed liner
	typed.write(in, func(l []byte) {
		if t := strings.TrimSpace(string(l)); t != "" && len(j.cmds) < maxCommands {
			j.cmds = append(j.cmds, t)
		}
	})
	for _, c := range j.cmds {
		if usual(c) {
			if j.known++; j.known == 1 {
				j.firstKnown = c
			}
		}
	}
}

// done notes the reasons that there are.
func (j *judgement) done(ev ...Evidence) bool {
	j.s.Echo = len(j.echoed) > 0
	for _, e := range ev {
		if e.Value != "" {
			e.Value = excerpt(strings.TrimSpace(e.Value))
			j.s.Evidence = append(j.s.Evidence, e)
		}
	}
	return true
}

// prompted takes the prompt off a line and gives what stands behind it; "" if that is no answer.
func (j *judgement) prompted(line string, whole bool) (rest string, done bool) {
	n, kind := prompt(line)
	if kind == noPrompt {
		return line, false
	}
	j.s.Windows = j.s.Windows || kind == windowsPrompt
	if u := promptUser(line[:n]); u != "" && j.s.User == "" {
		j.s.User = u
	}
	if j.banner != "" && j.since <= bannerLines {
		return "", j.done(Evidence{"banner", j.banner}, Evidence{"prompt", line[:n]})
	}
	if kind == plainPrompt {
		if j.bare++; j.bare == 1 {
			j.barePrompt = line[:n]
		}
	} else if j.strong++; j.strong == 1 {
		j.strongPrompt = line[:n]
	}
	if j.strong >= 2 && j.known >= 1 {
		return "", j.done(Evidence{"prompt", j.strongPrompt}, Evidence{"command", j.firstKnown})
	}
	line = strings.TrimSpace(line[n:])
	// A terminal repeats what was typed behind its prompt: then one direction shows both.
	if line != "" && whole && kind != plainPrompt && usual(line) && len(j.echoed) < maxCommands {
		j.echoed = append(j.echoed, line)
		return "", false
	}
	return line, false
}

// answered weighs a line of output.
func (j *judgement) answered(line string) bool {
	cmd, bit, sure := answers(line, j.cmds)
	if cmd == "" {
		if l := unglued(line); l != "" {
			line = l
			cmd, bit, sure = answers(l, j.cmds)
		}
	}
	if cmd == "" {
		j.unasked(line)
		return false
	}
	if u := idUser(line); u != "" {
		j.s.User = u
	}
	if sure {
		return j.done(Evidence{"prompt", j.strongPrompt}, Evidence{"command", cmd}, Evidence{"answer", line})
	}
	if j.likelyOf&bit != 0 {
		return false
	}
	j.likelyOf |= bit
	if j.pairs++; j.pairs == 1 {
		j.likely = line
	}
	if j.pairs >= 2 || j.strong >= 1 || j.plain() {
		return j.done(Evidence{"prompt", j.strongPrompt}, Evidence{"prompt", j.barePrompt}, Evidence{"command", cmd}, Evidence{"answer", j.likely})
	}
	return false
}

// unasked notes a line that answers nothing the other side sent: it may answer what a terminal repeated, or be telling
// by itself.
func (j *judgement) unasked(line string) {
	if len(j.echoed) > 0 {
		if cmd, _, sure := answers(line, j.echoed); sure && j.echo == "" {
			j.echo, j.echoOf = line, cmd
			if u := idUser(line); u != "" {
				j.s.User = u
			}
		}
	}
	if telltale(line) && j.alone == "" {
		j.alone = line
	} else if telltale(line) && j.second == "" && line != j.alone {
		j.second = line
	}
}

// plain reports whether bare prompts and usual commands are many enough to support an answer that is only likely.
func (j *judgement) plain() bool {
	return j.bare >= 2 && j.known >= 2 && 2*j.known >= len(j.cmds)
}

// ended weighs all of what there was.
func (j *judgement) ended(out, in []byte, final bool) bool {
	// The last prompt, behind the last answer, has no end of line: it was seen above. Bare prompts count with it.
	if j.pairs >= 1 && j.plain() {
		return j.done(Evidence{"prompt", j.barePrompt}, Evidence{"command", j.firstKnown}, Evidence{"answer", j.likely})
	}
	if final && j.echo != "" && j.strong >= 2 && len(j.cmds) == 0 {
		j.s.Half = true
		return j.done(Evidence{"prompt", j.strongPrompt}, Evidence{"command", j.echoOf}, Evidence{"answer", j.echo})
	}
	// Half of a session: answers that nothing but a command gives, in the first lines, with commands that are usual, or two of
	// them where the other direction shows nothing at all.
	if final && j.alone != "" && first(out, j.alone) && (j.known >= 2 && j.known == len(j.cmds) || len(in) == 0 && j.second != "") {
		j.s.Half, j.s.User = true, idUser(j.alone)
		return j.done(Evidence{"command", j.firstKnown}, Evidence{"answer", j.alone}, Evidence{"answer", j.second})
	}
	return false
}

// unglued takes a prompt off that stands before an answer without a space: what reads commands with a program's prompt
// ("shell>") prints both in one line. "" if there is none.
func unglued(l string) string {
	const longest = 24
	i := strings.IndexAny(l[:min(len(l), longest)], ">#$%")
	if i <= 0 || i+1 >= len(l) || strings.ContainsAny(l[:i], " \t<=(\"'/") {
		return ""
	}
	return strings.TrimLeft(l[i+1:], " ")
}

// telltale says that a whole line is what one command alone prints: id, or uname -a.
func telltale(l string) bool {
	l = strings.TrimSpace(l)
	return isID(l) || strings.HasPrefix(l, "Linux ") && strings.HasSuffix(l, "GNU/Linux") && strings.Contains(l, " SMP ")
}

// half says that a beginning may be that of half a session: a prompt, or an answer.
func half(b []byte) bool {
	l, _, whole := strings.Cut(clean(b[:min(len(b), maxPrompt)]), "\n")
	_, kind := prompt(l)
	return kind == unixPrompt || whole && telltale(l)
}

// first says that a line is the first of a text.
func first(out []byte, l string) bool {
	return strings.HasPrefix(strings.TrimLeft(clean(out[:min(len(out), maxPrompt)]), "\r\n \t"), l[:min(len(l), 20)])
}

// Answer finds, in what a machine sends, a line that only a command's answer is: of id, of uname -a, of cat /etc/passwd.
// It gives the line and the command; "" if there is none. b is looked at as far as the first 4 KiB.
func Answer(b []byte) (line, command string) {
	b = b[:min(len(b), headLimit)]
	for l := range bytes.Lines(b) {
		t := strings.TrimSpace(string(l[:min(len(l), 2*maxLine)]))
		if i := strings.Index(t, "uid="); i > 0 && i <= 64 && isID(t[i:]) && named(t[i:]) {
			t = t[i:] // behind the name of a field
		}
		switch {
		case isID(t) && named(t):
			return excerpt(t), "id"
		case telltale(t):
			return excerpt(t), "uname -a"
		case strings.HasPrefix(t, "root:x:0:0:") || strings.HasPrefix(t, "root:$6$") || strings.HasPrefix(t, "root:$y$"):
			return excerpt(t), "cat /etc/passwd"
		}
	}
	return "", ""
}

// named says that an id has a name behind its number.
func named(l string) bool {
	return strings.HasPrefix(strings.TrimLeft(l[len("uid="):], "0123456789"), "(")
}

// bannerLines is how many lines may stand between a greeting and the first prompt: Windows has one with its owner.
const bannerLines = 2

func isBanner(l string) bool {
	switch {
	case strings.HasPrefix(l, "Microsoft Windows"):
		return strings.Contains(l, "[") && strings.HasSuffix(l, "]")
	case l == "Windows PowerShell":
		return true
	}
	// The name of the shell stands first: bash, -bash, /bin/sh.
	name, rest, ok := strings.Cut(l, ": ")
	if !ok || len(name) > 24 || strings.ContainsAny(name, " \t") || !strings.HasSuffix(name, "sh") {
		return false
	}
	if i := strings.Index(rest, ": "); i > 0 && i <= 4 && strings.Trim(rest[:i], "0123456789") == "" {
		rest = rest[i+2:] // dash counts lines
	}
	return strings.HasPrefix(rest, "no job control in this shell") || strings.HasPrefix(rest, "cannot set terminal process group") ||
		strings.HasPrefix(rest, "can't access tty; job control turned off")
}

type promptKind uint8

const (
	noPrompt promptKind = iota
	plainPrompt
	unixPrompt
	windowsPrompt
)

// A prompt with a long path is still a line.
const maxPrompt = 160

// prompt says whether a line begins with a shell's prompt, and how long that is.
func prompt(l string) (int, promptKind) {
	head := l[:min(len(l), maxPrompt)]
	if n := windows(head); n > 0 {
		return n, windowsPrompt
	}
	if n, ok := strings.CutPrefix(head, "└─"); ok && len(n) > 1 && (n[0] == '#' || n[0] == '$') && n[1] == ' ' {
		return len("└─# "), unixPrompt // Kali's second line
	}
	i := strings.IndexAny(head, "#$%")
	if i < 0 || i+1 >= len(head) || head[i+1] != ' ' {
		return 0, noPrompt
	}
	p, n := head[:i], i+2
	switch {
	case p == "" && head[i] != '%':
		return n, plainPrompt
	case p == "~ " || p == "/ " || strings.HasPrefix(p, "/") && strings.HasSuffix(p, " ") && !strings.ContainsAny(p[:len(p)-1], " \t"):
		return n, unixPrompt // busybox: its directory
	case shellVersion(p), userAtHost(p):
		return n, unixPrompt
	}
	return 0, noPrompt
}

// windows reads C:\path> and PS C:\path>.
func windows(l string) int {
	p, n := l, 0
	if strings.HasPrefix(p, "PS ") {
		p, n = p[3:], 3
	}
	if len(p) < 4 || p[0]|0x20 < 'a' || p[0]|0x20 > 'z' || p[1] != ':' || p[2] != '\\' {
		return 0
	}
	i := strings.IndexByte(p, '>')
	if i < 0 || strings.ContainsAny(p[3:i], "<:\"|?*\t") {
		return 0
	}
	if n += i + 1; n < len(l) && l[n] == ' ' {
		n++
	}
	return n
}

// shellVersion reads bash-5.1.
func shellVersion(p string) bool {
	name, version, ok := strings.Cut(p, "-")
	return ok && len(name) <= 5 && strings.HasSuffix(name, "sh") && len(version) >= 3 && len(version) <= 6 &&
		version[0] >= '0' && version[0] <= '9' && strings.Contains(version, ".") && strings.Trim(version, "0123456789.abcdefgh") == ""
}

// userAtHost reads root@host:/path, [root@host path] and what virtual environments put before them.
func userAtHost(p string) bool {
	if strings.HasPrefix(p, "(") {
		if i := strings.Index(p, ") "); i > 0 && i < 40 {
			p = p[i+2:]
		}
	}
	p = strings.TrimRight(p, " ")
	bracket := strings.HasPrefix(p, "[") && strings.HasSuffix(p, "]")
	if bracket {
		p = p[1 : len(p)-1]
	}
	user, host, ok := strings.Cut(p, "@")
	if !ok || !word(user) {
		return false
	}
	end := strings.IndexAny(host, ": ")
	if end < 0 {
		return false
	}
	path := strings.TrimLeft(host[end:], ": ")
	return word(host[:end]) && path != "" && (bracket || path[0] == '~' || path[0] == '/')
}

func word(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func promptUser(p string) string {
	i := strings.IndexByte(p, '@')
	if i < 0 {
		return ""
	}
	u := p[:i]
	if j := strings.LastIndexAny(u, "[ ("); j >= 0 {
		u = u[j+1:]
	}
	if !word(u) {
		return ""
	}
	return u
}

// idUser reads the name out of uid=0(root) gid=0(root).
func idUser(l string) string {
	i := strings.Index(l, "uid=")
	if i < 0 || !isID(l[i:]) {
		return ""
	}
	_, u, _ := strings.Cut(l[i:], "(")
	u, _, _ = strings.Cut(u, ")")
	if !word(u) {
		return ""
	}
	return u
}

// isID reads the answer of id: uid=N(name) gid=N(name).
func isID(l string) bool {
	for _, k := range [...]string{"uid=", " gid="} {
		if !strings.HasPrefix(l, k) {
			return false
		}
		l = l[len(k):]
		digits := len(l) - len(strings.TrimLeft(l, "0123456789"))
		l = l[digits:]
		if digits == 0 {
			return false
		}
		if strings.HasPrefix(l, "(") {
			end := strings.IndexByte(l, ')')
			if end < 0 || !word(l[1:end]) {
				return false
			}
			l = l[end+1:]
		}
	}
	return true
}

// usualCommands are the first words that people and their tools type into a shell that is not theirs.
var usualCommands = " id whoami uname ls cat pwd cd ps ip ifconfig env export printenv wget curl python python3 perl hostname w who " +
	"echo exit sudo su netstat ss crontab uptime df mount find grep head tail touch chmod chown mkdir rm cp mv kill pkill ping nc ncat " +
	"bash sh history date last lscpu lsblk nvidia-smi docker kubectl systemctl service ssh scp tar gzip base64 nohup which type file " +
	"stty script getent groups free top dmesg lsof apt yum apk awk sed " +
	"dir ipconfig net systeminfo tasklist ver powershell cmd reg certutil wmic arp route nltest del copy move attrib schtasks " +
	"get-process get-childitem invoke-webrequest iex "

// usual says whether a line begins with such a command.
func usual(c string) bool {
	w, _, _ := strings.Cut(c, " ")
	w, _, _ = strings.Cut(w, ";")
	if i := strings.LastIndexByte(w, '/'); i >= 0 {
		w = w[i+1:]
	}
	return w != "" && len(w) <= 20 && !strings.ContainsAny(w, " ") && strings.Contains(usualCommands, " "+w+" ")
}

// has says whether a command stands in the line, by itself or in a list or pipe.
func has(line string, cmd string) bool {
	for part := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ';' || r == '&' || r == '|' }) {
		if p := strings.TrimSpace(part); p == cmd || strings.HasPrefix(p, cmd+" ") {
			return true
		}
	}
	return false
}

func command(cmds []string, names ...string) string {
	for _, c := range cmds {
		for _, n := range names {
			if has(c, n) {
				return c
			}
		}
	}
	return ""
}

// answers finds the command that a line answers. bit tells kinds of answers apart; sure ones need no second.
// It is whole because it is one table of lines and the commands that print them.
func answers(l string, cmds []string) (cmd string, bit uint32, sure bool) {
	if len(cmds) == 0 {
		return "", 0, false
	}
	t := strings.TrimSpace(l)
	try := func(b uint, s, matches bool, names ...string) bool {
		if !matches {
			return false
		}
		cmd = command(cmds, names...)
		bit, sure = 1<<b, s
		return cmd != ""
	}
	switch {
	case try(0, true, isID(t), "id"):
	case try(1, true, strings.HasPrefix(t, "Linux ") && (strings.Contains(t, "GNU/Linux") || strings.Contains(t, " SMP ")), "uname -a"):
	case try(2, true, strings.HasPrefix(t, "root:x:0:0:") || strings.HasPrefix(t, "root:$") || strings.HasPrefix(t, "root:*:"),
		"cat /etc/passwd", "cat /etc/shadow", "head /etc/passwd"):
	case try(3, true, strings.HasPrefix(t, "Directory of ") && strings.Contains(t, ":\\"), "dir"):
	case try(4, true, t == "Windows IP Configuration", "ipconfig"):
	case try(5, true, strings.HasPrefix(t, "User accounts for \\\\"), "net user"):
	case try(6, true, notFound(t) != "" && missing(t, cmds), notFound(t)):
	case try(7, false, strings.HasPrefix(t, "Linux") || strings.HasPrefix(t, "Darwin"), "uname"):
	case try(8, false, strings.HasPrefix(t, "total ") && strings.Trim(t[6:], "0123456789.KMG") == "", "ls -l", "ls -la", "ls -al", "ls -lah", "ll"):
	case try(9, false, strings.HasPrefix(t, "PID ") || strings.HasPrefix(t, "UID ") && strings.Contains(t, " PID ") || strings.HasPrefix(t, "USER ") && strings.Contains(t, " PID "), "ps"):
	case try(10, false, strings.HasPrefix(t, "1: lo: <LOOPBACK"), "ip"):
	case try(11, false, strings.HasPrefix(t, "Active Internet connections"), "netstat"):
	case try(12, false, strings.Contains(t, " load average: "), "w", "uptime", "top"):
	case try(13, false, strings.HasPrefix(t, "/") && !strings.ContainsAny(t, " \t"), "pwd"):
	case try(14, false, t == "root" || t == "www-data" || t == "ray" || strings.HasPrefix(t, "nt authority\\"), "whoami"):
	case try(15, false, strings.HasPrefix(t, "eth0") || strings.HasPrefix(t, "lo: flags="), "ifconfig"):
	default:
		return "", 0, false
	}
	return cmd, bit, sure
}

// notFound reads the word out of a shell's complaint that there is no such command.
func notFound(l string) string {
	if w, ok := strings.CutSuffix(l, ": command not found"); ok {
		return lastWord(w)
	}
	if w, ok := strings.CutSuffix(l, ": not found"); ok && strings.Contains(w, "sh: ") {
		return lastWord(w)
	}
	if strings.HasPrefix(l, "'") {
		if w, _, ok := strings.Cut(l[1:], "' is not recognized as an internal or external command"); ok {
			return w
		}
	}
	return ""
}

func lastWord(l string) string {
	if i := strings.LastIndex(l, ": "); i >= 0 {
		return l[i+2:]
	}
	return ""
}

// missing says that the word was indeed commanded.
func missing(l string, cmds []string) bool {
	w := notFound(l)
	return word(w) && command(cmds, w) != ""
}

// clean takes escape sequences, bells and backspaces out of a terminal's text: CSI (ESC [ ... letter) and OSC (ESC ]
// ... BEL or ESC \), ECMA-48 sections 5.4 and 5.6.
func clean(b []byte) string {
	if bytes.IndexByte(b, 0x1b) < 0 && bytes.IndexByte(b, 0x07) < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == 0x07:
		case b[i] != 0x1b:
			out = append(out, b[i])
		case i+1 < len(b) && b[i+1] == '[':
			for i += 2; i < len(b) && (b[i] < 0x40 || b[i] > 0x7e); i++ {
			}
		case i+1 < len(b) && b[i+1] == ']':
			for i += 2; i < len(b) && b[i] != 0x07 && b[i] != 0x1b && b[i] != '\n'; i++ {
			}
			if i < len(b) && b[i] == 0x1b {
				i++
			}
		default:
			i++
		}
	}
	return string(out)
}

// excerpt bounds a line for evidence. Credentials stay in it: whoever shows it masks them.
func excerpt(l string) string {
	l = l[:min(len(l), 2*maxLine)]
	l = strings.ToValidUTF8(l, ".")
	if len(l) > maxLine {
		l = strings.ToValidUTF8(l[:maxLine], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return '.'
		}
		return r
	}, l)
}
