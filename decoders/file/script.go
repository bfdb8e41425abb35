package file

import (
	"bytes"
	"strings"
)

// unmarked tells scripts that do not say so in their first line, by what they do: whatever pipes them into a shell or an
// interpreter needs no such line. The first word must be a script's, and then something must be fetched and run, or a
// shell opened: instructions for people, in which commands stand between sentences, do not begin so. b is the beginning
// of a text.
func unmarked(b []byte) bool {
	t := bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(t) < len(b) && bytes.HasPrefix(t, []byte("#!/")) {
		return true // a blank line before it: a shell that reads it does not mind
	}
	first := significant(t)
	switch {
	case len(first) == 0:
		return false
	case hasAny(first, "import ", "from ") && pythonImport(string(first[:min(len(first), 200)])):
		return containsAny(t, pythonRuns[:])
	case hasAny(first, "use ", "my ") && containsAny(t, []string{"use Socket", "use IO::Socket"}):
		return containsAny(t, []string{"exec(", "exec{", "system(", "fork", "open(STDIN"})
	case hasAny(first, "require(", "var ", "const ", "let ", "(function"):
		return containsAny(t, []string{"child_process"}) && containsAny(t, []string{"exec(", "execSync(", "spawn("})
	case hasAny(first, "$", "IEX", "iex", "Invoke-", "powershell", "[System.", "[Net.", "Set-", "New-Object"):
		if powershell(t) {
			return true
		}
	}
	return shellText(t, first)
}

// significant gives the first line that is neither blank nor a comment.
func significant(t []byte) []byte {
	for range 16 {
		line, rest, more := bytes.Cut(t, []byte("\n"))
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return line
		}
		if !more {
			break
		}
		t = rest
	}
	return nil
}

func hasAny(b []byte, prefixes ...string) bool {
	for _, p := range prefixes {
		if len(b) >= len(p) && string(b[:len(p)]) == p {
			return true
		}
	}
	return false
}

func containsAny(b []byte, words []string) bool {
	for _, w := range words {
		if bytes.Contains(b, []byte(w)) {
			return true
		}
	}
	return false
}

// pythonRuns are calls by which Python runs what it was given, or opens a shell.
var pythonRuns = [...]string{
	"os.system(", "os.popen(", "os.exec", "os.dup2(", "subprocess.", "pty.spawn(", "exec(", "eval(", "__import__(", "marshal.loads(", "ctypes.",
	"urlretrieve(",
}

// pythonImport says that a line is a whole import of Python's, and no sentence that begins like one.
func pythonImport(l string) bool {
	l, _, _ = strings.Cut(l, ";")
	l, _, _ = strings.Cut(l, "#")
	words := strings.FieldsFunc(l, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\r' })
	if len(words) < 2 {
		return false
	}
	if words[0] == "from" {
		return len(words) >= 4 && words[2] == "import" && identifier(words[1])
	}
	for i := 1; i < len(words); i++ {
		if words[i] == "as" && i+1 < len(words) {
			i++
			continue
		}
		if !identifier(words[i]) || i > 1 && !strings.Contains(l, ",") {
			return false
		}
	}
	return true
}

func identifier(s string) bool {
	for _, c := range []byte(s) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' {
			return false
		}
	}
	return s != ""
}

func powershell(t []byte) bool {
	low := bytes.ToLower(t)
	return containsAny(low, []string{"iex", "invoke-expression", "start-process", "[system.reflection.assembly]::load", "-encodedcommand"}) &&
		containsAny(low, []string{"net.webclient", "invoke-webrequest", "downloadstring", "downloadfile", "frombase64string", "net.sockets.tcpclient"})
}

// starters are words that shell scripts begin with.
const starters = " cd wget curl tftp ftpget busybox export set if for while case trap rm mkdir cp mv chmod pkill killall kill nohup sh bash dash ash ulimit " +
	"iptables ufw setenforce service systemctl crontab echo printf test [ [[ ( { function id uname sudo su exec eval source . apt apt-get yum apk dnf pip pip3 python python3 perl " +
	"unset alias local mount umount touch cat base64 ps grep env sleep chattr history sysctl "

const (
	fetchers = " wget curl tftp ftpget lwp-download fetch aria2c axel "
	runners  = " sh bash dash ash zsh python python2 python3 perl nohup setsid exec eval source insmod "
)

// commandLines reports whether a text begins with a command, so that who parses commands may look at it: shellText knows
// but some words.
func commandLines(b []byte) bool {
	line := significant(b[:min(len(b), 512)])
	w := commandWord(string(line[:min(len(line), 64)]))
	return w != "" && len(w) < 16 && strings.Contains(starters, " "+w+" ")
}

// shellText judges a text as a script of a shell, by the words in command position. What begins like a script and is none
// by these is for who parses commands (commandLines).
func shellText(t, first []byte) bool {
	w := commandWord(string(first[:min(len(first), 256)]))
	if w == "" {
		return false
	}
	if !strings.Contains(starters, " "+w+" ") && !strings.Contains(w, "=") {
		return false
	}
	fetches, runs, n := false, false, 0
	for line := range strings.Lines(string(t)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if strings.Contains(line, "/dev/tcp/") && strings.ContainsAny(line, "<>") && strings.Contains(line, "sh") {
			return true
		}
		for part := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ';' || r == '|' || r == '&' }) {
			if n++; n > 512 {
				return false
			}
			c := commandWord(part)
			if c == "" {
				continue
			}
			if i := strings.LastIndexByte(c, '/'); i > 0 && !strings.HasPrefix(c, "./") {
				c = c[i+1:]
			}
			switch {
			case strings.Contains(fetchers, " "+c+" "):
				fetches = true
			case strings.Contains(runners, " "+c+" "), strings.HasPrefix(c, "./"), c == "chmod" && chmodRuns(part):
				runs = true
			}
			if strings.Contains(part, "$(curl ") || strings.Contains(part, "$(wget ") || strings.Contains(part, "<(curl ") || strings.Contains(part, "`curl ") {
				fetches, runs = true, true
			}
			if fetches && runs {
				return true
			}
		}
	}
	return false
}

// chmodRuns says that chmod makes something a program: +x, 777, 755.
func chmodRuns(part string) bool {
	return strings.Contains(part, "+x") || strings.Contains(part, " 7") || strings.Contains(part, " 07") || strings.Contains(part, "+rwx")
}

// commandWord gives the word in command position, behind words that only introduce it.
func commandWord(s string) string {
	for range 8 {
		s = strings.TrimLeft(s, " \t({!")
		w, rest, _ := strings.Cut(s, " ")
		switch w {
		case "then", "do", "else", "elif", "if", "while", "sudo", "nohup", "exec", "busybox", "time", "env", "command":
			if strings.TrimSpace(rest) == "" {
				return w
			}
			s = rest
			continue
		}
		return strings.TrimRight(w, ")}\"'`\r")
	}
	return ""
}

// dangerous are what a pickle calls to run something: module and name, as a pickle has them.
var dangerous = [...][2]string{
	{"posix", "system"}, {"nt", "system"}, {"os", "system"}, {"os", "popen"}, {"posix", "popen"}, {"os", "exec"}, {"subprocess", "Popen"},
	{"subprocess", "call"}, {"subprocess", "run"}, {"subprocess", "check_output"}, {"subprocess", "check_call"}, {"subprocess", "getoutput"},
	{"builtins", "exec"}, {"builtins", "eval"}, {"builtins", "compile"}, {"builtins", "__import__"}, {"__builtin__", "exec"}, {"__builtin__", "eval"},
	{"runpy", "run_path"}, {"runpy", "_run_code"}, {"pty", "spawn"}, {"commands", "getoutput"}, {"webbrowser", "open"}, {"ctypes", "CDLL"}, {"socket", "socket"},
	{"importlib", "import_module"}, {"torch.serialization", "load"}, {"pip", "main"},
}

// Runs names what a pickle of any protocol runs when it is loaded ("posix.system"); "" if nothing that is known. b is its
// beginning. Globals are given by GLOBAL (c, two lines) or by two strings and STACK_GLOBAL (pickletools).
func Runs(b []byte) string {
	b = b[:min(len(b), InsideLen)]
	for _, d := range dangerous {
		for rest := b; ; {
			i := bytes.Index(rest, []byte(d[0]))
			if i < 0 {
				break
			}
			after := rest[i+len(d[0]):]
			before := byte(0)
			if i > 0 {
				before = rest[i-1]
			}
			switch {
			case before == 'c' && bytes.HasPrefix(after, []byte("\n"+d[1])), // GLOBAL
				int(before) == len(d[0]) && stacked(after, d[1]): // SHORT_BINUNICODE has the length before the text
				return d[0] + "." + d[1]
			}
			rest = after
		}
	}
	return ""
}

// stacked says that a string with the name follows: MEMOIZE or BINPUT may stand between.
func stacked(b []byte, name string) bool {
	const near = 8
	i := bytes.Index(b[:min(len(b), near+len(name))], []byte(name))
	return i > 0 && int(b[i-1]) >= len(name)
}
