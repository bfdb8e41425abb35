package shell

import (
	"bytes"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

var c, s = decodertest.C, decodertest.S

// What bash says when its standard input is a socket.
const noTerminal = "bash: cannot set terminal process group (1): Inappropriate ioctl for device\nbash: no job control in this shell\n"

const windowsHello = "Microsoft Windows [Version 10.0.19045.3803]\r\n(c) Microsoft Corporation. All rights reserved.\r\n\r\nC:\\Windows\\system32>"

func sessions(t *testing.T, st []decodertest.Step) (first, last *Session) {
	t.Helper()
	for _, ev := range decodertest.Run(t, Spec(), st...) {
		x, ok := ev.(*Session)
		switch {
		case !ok:
		case !x.Ended && first == nil:
			first = x
		case x.Ended && last == nil:
			last = x
		default:
			t.Fatalf("said twice: %+v", x)
		}
	}
	return first, last
}

func TestShells(t *testing.T) {
	tests := []struct {
		name      string
		st        []decodertest.Step
		commanded capture.Dir
		user      string
		field     string // of the first evidence
	}{
		{"reverse bash -i, with echo", []decodertest.Step{
			c(noTerminal), c("root@ray-worker-0:/# "), s("id\n"), c("id\n"), c("uid=0(root) gid=0(root) groups=0(root)\n"), c("root@ray-worker-0:/# "),
		}, capture.Orig, "root", "banner"},
		{"bind shell, the responder is commanded", []decodertest.Step{
			c("id\n"), s("uid=1000(ray) gid=100(users) groups=100(users)\n"), c("exit\n"),
		}, capture.Resp, "ray", "command"},
		{"no prompt, no echo: two likely answers", []decodertest.Step{
			s("whoami\n"), c("root\n"), s("pwd\n"), c("/home/ray\n"),
		}, capture.Orig, "", "command"},
		{"dash without a terminal", []decodertest.Step{
			c("/bin/sh: 0: can't access tty; job control turned off\n$ "), s("ls\n"), c("a\nb\n$ "),
		}, capture.Orig, "", "banner"},
		{"sh -i: bare prompts, answers without echo", []decodertest.Step{
			c("$ "), s("whoami\n"), c("www-data\n$ "), s("ls -la\n"), c("total 12\ndrwxr-xr-x 2 root root 4096 .\n$ "),
		}, capture.Orig, "", "prompt"},
		{"a web server's reverse shell says who it is first", []decodertest.Step{
			c("Linux web 4.4.0-31-generic #50~14.04.1-Ubuntu SMP x86_64 GNU/Linux\n 13:00:01 up 1 day,  1 user,  load average: 0.00\n" +
				"uid=33(www-data) gid=33(www-data) groups=33(www-data)\n/bin/sh: 0: can't access tty; job control turned off\n$ "),
		}, capture.Orig, "", "banner"},
		{"typed letter by letter on a pty, with colours and titles", []decodertest.Step{
			c("\x1b]0;root@h: /\x07root@h:/# "), s("l"), c("l"), s("s"), c("s"), s("\r"), c("\r\n\x1b[01;34mbin\x1b[0m\r\n\x1b[?2004hroot@h:/# "),
		}, capture.Orig, "root", "prompt"},
		{"a typing error is corrected before it is read", []decodertest.Step{
			c("bash-5.1# "), s("idd\x7f\r"), c("uid=0(root) gid=0(root)\r\nbash-5.1# "),
		}, capture.Orig, "root", "prompt"},
		{"busybox", []decodertest.Step{c("/ # "), s("cat /proc/cpuinfo\n"), c("processor\t: 0\n/ # ")}, capture.Orig, "", "prompt"},
		{"cmd.exe", []decodertest.Step{c(windowsHello), s("dir\r\n"), c(" Directory of C:\\Windows\\system32\r\n")}, capture.Orig, "", "banner"},
		{"PowerShell without a greeting", []decodertest.Step{
			c("PS C:\\Users\\bob> "), s("whoami\n"), c("corp\\bob\r\nPS C:\\Users\\bob> "),
		}, capture.Orig, "", "prompt"},
		{"a prompt glued to its answers", []decodertest.Step{c("shell>"), s("id\n"), c("uid=0(root) gid=0(root)\n"), c("shell>")}, capture.Orig, "root", "command"},
		{"behind a long answer", []decodertest.Step{s("cat /etc/services\n"), c(strings.Repeat("tcpmux\t1/tcp\n", 700)), s("id\n"), c("uid=0(root) gid=0(root)\n")}, capture.Orig, "root", "command"},
		{"Jupyter's terminal", []decodertest.Step{
			c(`["setup", {}]`), c(`["stdout", "root@h:/# "]`), s(`["stdin", "i"]`), s(`["stdin", "d\r"]`), c(`["stdout", "id\r\nuid=0(root) gid=0(root)\r\nroot@h:/# "]`),
		}, capture.Orig, "root", "prompt"},
		{"a shell in JSON", []decodertest.Step{s(`{"cmd":"id"}`), c(`{"output":"uid=0(root) gid=0(root)\n"}`)}, capture.Orig, "root", "command"},
		{"a word that is no command", []decodertest.Step{s("foobar\n"), c("sh: 1: foobar: not found\n")}, capture.Orig, "", "command"},
		{"only the shell's side was captured", []decodertest.Step{c(noTerminal + "[ray@node ~]$ ")}, capture.Orig, "ray", "banner"},
		{"begins in the middle", []decodertest.Step{{Dir: capture.Orig, Gap: 100}, s("uname -a\n"), c("Linux n 5.15.0 #1 SMP x86_64 GNU/Linux\n")}, capture.Orig, "", "command"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, last := sessions(t, tt.st)
			if first == nil || last == nil {
				t.Fatalf("not recognised: %v, %v", first, last)
			}
			if first.Commanded != tt.commanded || first.User != tt.user || len(first.Evidence) == 0 || first.Evidence[0].Field != tt.field {
				t.Errorf("got %s, user %q, %+v", first.Commanded, first.User, first.Evidence)
			}
			decodertest.CutAndPoison(t, Spec(), tt.st...)
		})
	}
}

func TestNearMisses(t *testing.T) {
	tests := []struct {
		name string
		st   []decodertest.Step
	}{
		{"ssh", []decodertest.Step{s("SSH-2.0-OpenSSH_9.6\r\n"), c("SSH-2.0-x\r\nid\n"), s("uid=0(root) gid=0(root)\n")}},
		{"telnet negotiates", []decodertest.Step{s("\xff\xfd\x18\xff\xfd\x20"), c("\xff\xfb\x18"), s("root@box:/# "), c("id\r\n"), s("uid=0(root) gid=0(root)\r\nroot@box:/# ")}},
		{"telnet that only asks for a name", []decodertest.Step{s("box login: "), c("root\r\n"), s("root@box:~# "), c("id\r\n"), s("uid=0(root) gid=0(root)\r\nroot@box:~# ")}},
		{"a router's console", []decodertest.Step{s("Router>"), c("show version\r\n"), s("Cisco IOS Software\r\nRouter>"), c("exit\r\n")}},
		{"smtp with a mail about a shell", []decodertest.Step{s("220 mx ESMTP\r\n"), c("EHLO a\r\n"), s("250 mx\r\n"), c("DATA\r\n"), c("id\r\nuid=0(root) gid=0(root)\r\n.\r\n")}},
		{"ftp in lower case", []decodertest.Step{s("220 ready\r\n"), c("user bob\r\n"), s("331 pass\r\n"), c("pwd\r\n"), s("257 \"/\"\r\n")}},
		{"redis", []decodertest.Step{c("*1\r\n$4\r\nPING\r\n"), s("+PONG\r\n"), c("*2\r\n$3\r\nGET\r\n$1\r\nx\r\n"), s("$-1\r\n")}},
		{"redis inline", []decodertest.Step{c("get x\r\n"), s("$4\r\nroot\r\n"), c("info\r\n"), s("$2\r\nab\r\n")}},
		{"pop3 with such a mail", []decodertest.Step{s("+OK ready\r\n"), c("RETR 1\r\n"), s("+OK\r\nroot@h:/# id\r\nuid=0(root) gid=0(root)\r\nroot@h:/# \r\n.\r\n")}},
		{"irc, people quote each other's shells", []decodertest.Step{c("NICK bob\r\nUSER bob 0 * :b\r\n"), s(":srv 001 bob :hi\r\n"), s(":al PRIVMSG #x :root@h:/# id\r\n:al PRIVMSG #x :uid=0(root) gid=0(root)\r\n")}},
		{"a chat over netcat", []decodertest.Step{c("hi, what does id say?\n"), s("uid=0(root) gid=0(root)\n"), c("ok thanks\n"), s("root@h:/# is my prompt\n"), c("good\n")}},
		{"a MUD", []decodertest.Step{s("Welcome to Dragon's End\r\n> "), c("look\r\n"), s("You are in a cave.\r\n> "), c("who\r\n"), s("Bob the brave\r\n> "), c("kill rat\r\n"), s("You miss.\r\n> ")}},
		{"a database's monitor over a socket", []decodertest.Step{s("mysql> "), c("show tables;\n"), s("Tables\nusers\nmysql> "), c("exit\n")}},
		{"memcached", []decodertest.Step{c("stats\r\n"), s("STAT pid 1\r\nEND\r\n")}},
		{"a shell script in transit", []decodertest.Step{c("#!/bin/bash\nid\nuname -a\nls -la\nwhoami\ncat /etc/passwd\n")}},
		{"a script without its first line", []decodertest.Step{c("set -e\nid\nuname -a\nls\npwd\n"), s("ok\n")}},
		{"a recorded terminal in transit", []decodertest.Step{c("root@h:/# id\nuid=0(root) gid=0(root)\nroot@h:/# ls\na\nroot@h:/# exit\n")}},
		{"logs being shipped", []decodertest.Step{c("<13>Nov 1 host sudo: session opened for user root(uid=0) by bob(uid=1000)\n"), c("<13>Nov 1 host bash: no job control in this shell\n")}},
		{"plain logs being shipped, acknowledged", []decodertest.Step{c("bash: no job control in this shell\nNov 1 12:00:00 job failed\n"), s("ok\n"), c("uid=0(root) gid=0(root)\n")}},
		{"objects in JSON", []decodertest.Step{c(`{"type":"subscribe","channel":"id"}`), s(`{"type":"update","data":"uid 7"}`)}},
		{"a long answer to a word", []decodertest.Step{c("list\n"), s(strings.Repeat("item\n", 2000)), c("id\n"), s("17\n")}},
		{"a configuration with comments", []decodertest.Step{c("ls\n"), s("# first\n# second\nkey = value\n# third\n")}},
		{"prices", []decodertest.Step{c("cat food\n"), s("$ 5 a can\n$ 9 two cans\n")}},
		{"http", []decodertest.Step{c("GET /?c=id HTTP/1.1\r\nHost: x\r\n\r\n"), s("HTTP/1.1 200 OK\r\n\r\nuid=0(root) gid=0(root)\n")}},
		{"finger", []decodertest.Step{c("root\r\n"), s("Login: root\r\nDirectory: /root\r\nShell: /bin/bash\r\n")}},
		{"whois", []decodertest.Step{c("example.com\r\n"), s("% IANA WHOIS server\r\n% for more information\r\ndomain: EXAMPLE\r\n")}},
		{"stratum", []decodertest.Step{c("{\"id\":1,\"method\":\"login\"}\n"), s("{\"id\":1}\n")}},
		{"tls", []decodertest.Step{c("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), s("\x16\x03\x03\x00\x7a\x02")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if first, _ := sessions(t, tt.st); first != nil {
				t.Errorf("taken for a shell: %+v", first)
			}
			decodertest.CutAndPoison(t, Spec(), tt.st...)
		})
	}
}

// What is refused must be refused at once: a probe that waits keeps bytes of every flow.
func TestProbeRefusesEarly(t *testing.T) {
	for _, b := range []string{"\x16\x03\x01", "GET / HTTP/1.1\r\n", "SSH-2.0-", "220 mx", "*1\r\n", "\x00\x00\x00\x20", "\xff\xfb\x01", "{\"a\"", "PRI * HTTP/2.0"} {
		if probe([]byte(b), nil, false) != decoders.No || probe(nil, []byte(b), true) != decoders.No {
			t.Errorf("%q keeps the probe waiting", b)
		}
	}
	if probe(bytes.Repeat([]byte("words "), headLimit), nil, false) != decoders.No {
		t.Error("4 KiB of words keep the probe waiting")
	}
}

func TestCommandsAreKeptBoundedAndMasked(t *testing.T) {
	st := []decodertest.Step{c(noTerminal + "root@h:/# ")}
	for range 3 * maxCommands {
		st = append(st, s("export API_TOKEN=abcdef\n"), c("root@h:/# "))
	}
	st = append(st, s("mysql -phunter2 --password hunter2 "+strings.Repeat("x", 10000)+"\n"))
	_, last := sessions(t, st)
	if last == nil || last.Count != 3*maxCommands+1 || len(last.Commands) != maxCommands {
		t.Fatalf("got %+v", last)
	}
	for _, l := range last.Commands {
		if len(l) > maxLine+len("…") {
			t.Errorf("kept %q", l)
		}
	}
}

func TestExcerpt(t *testing.T) {
	for in, want := range map[string]string{"id": "id", "a\x01b\xff": "a.b."} {
		if got := excerpt(in); got != want {
			t.Errorf("excerpt(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzShell(f *testing.F) {
	f.Add([]byte(noTerminal+"root@h:/# "), []byte("id\n"))
	f.Add([]byte(windowsHello), []byte("dir\r\n"))
	f.Add([]byte("\x1b]0;x\x07$ uid=0(root) gid=0(root)\n$ "), []byte("id\nls\n"))
	f.Fuzz(func(t *testing.T, out, in []byte) {
		if probe(out, in, false) == decoders.Yes {
			// What the probe takes the decoder announces, from the same bytes.
			if first, last := sessions(t, []decodertest.Step{c(string(out)), s(string(in))}); first == nil || last == nil {
				t.Errorf("taken, not told: %q %q", out, in)
			} else if len(first.Evidence) > 4 {
				t.Errorf("%d pieces of evidence", len(first.Evidence))
			}
		}
		decodertest.Run(t, Spec(), s(string(out)), c(string(in)))
	})
}

// Nearly every flow is refused by its first bytes; that must cost nothing.
func TestRefusingAllocatesNothing(t *testing.T) {
	b := []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on")
	h := []byte("HTTP/1.1 200 OK\r\n")
	if n := testing.AllocsPerRun(100, func() { probe(b, h, false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Half of a session counts when it took somebody's time, and not when it comes at once.
func TestHalf(t *testing.T) {
	id, uname := "uid=0(root) gid=0(root) groups=0(root)\n", "Linux vm 6.1.0 #1 SMP PREEMPT_DYNAMIC x86_64 GNU/Linux\n"
	for _, x := range []struct {
		says string
		out  string
		in   string
		half bool
	}{
		{"two answers", id + uname + "bin\nboot\n", "", true},
		{"an answer and usual commands", uname + "bin\n", "ls /\nexit\n", true},
		{"an echo", "root@h:/# id\nuid=0(root) gid=0(root)\nroot@h:/# ", "", true},
		{"one answer", id, "", false},
		{"an answer somewhere in a log", "starting\n" + id + uname, "", false},
		{"an answer and words", uname, "hello there\nwhat is this\n", false},
	} {
		s, ok := certain([]byte(x.out), []byte(x.in), true)
		if ok != x.half || ok && !s.Half {
			t.Errorf("%s: %v %+v", x.says, ok, s)
		}
		if s, ok := certain([]byte(x.out), []byte(x.in), false); ok {
			t.Errorf("%s, while it lasts: %+v", x.says, s)
		}
	}
}

func TestDatagrams(t *testing.T) {
	c, s := decodertest.C, decodertest.S
	for _, x := range []struct {
		says  string
		steps []decodertest.Step
		want  bool
	}{
		{"a shell over UDP", []decodertest.Step{c("sh: 0: "), c("can't access tty; job control turned off"), c("\n"), c("# "), s("id\n"), c("uid=0(root) gid=0(root)\n"), c("# ")}, true},
		{"without a terminal", []decodertest.Step{s("id\n"), c("uid=0(root) gid=0(root)\n")}, true},
		{"syslog", []decodertest.Step{c("<13>Nov 1 host sudo: uid=0(root) gid=0(root)\n"), c("<13>Nov 1 host bash: no job control in this shell\n")}, false},
		{"statsd", []decodertest.Step{c("id:1|c"), c("kill:1|c")}, false},
		{"a game", []decodertest.Step{c("who\n"), s("nobody\n")}, false},
	} {
		if got := decodertest.RunDatagrams(t, Spec(), x.steps...); (len(got) > 0) != x.want {
			t.Errorf("%s: %+v", x.says, got)
		}
	}
}

func TestAnswer(t *testing.T) {
	for in, want := range map[string]string{
		"uid=0(root) gid=0(root) groups=0(root)\n": "id", "out=uid=33(www-data) gid=33(www-data)": "id", "root:x:0:0:root:/root:/bin/bash\n": "cat /etc/passwd",
		"Linux vm 6.1.0 #1 SMP x86_64 GNU/Linux\n": "uname -a", "user uid=7 gid=8 logged in\n": "", "{\"uid\": 5}": "", "": "",
	} {
		if _, cmd := Answer([]byte(in)); cmd != want {
			t.Errorf("%q: %q", in, cmd)
		}
	}
}
