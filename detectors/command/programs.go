package command

import (
	"path"
	"strings"

	"github.com/raytap/raytap/detectors/data"
)

// call is a command with its arguments expanded.
type call struct {
	name string // of the program, without folders
	prog value  // the word it is named by
	args []value
	io   stdio
	src  string
}

// programName is the name of a program's file.
func programName(s string) string {
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		s = s[i+1:]
	}
	return s
}

// wrappers are programs that run another one, which their arguments name: with how many words of their own before it,
// and which of their options take one.
var wrappers = map[string]struct {
	words int
	opts  string
}{
	"sudo": {0, "ugpCDThrt"}, "doas": {0, "uC"}, "nohup": {}, "setsid": {}, "exec": {0, "a"}, "command": {}, "builtin": {},
	"time": {0, "fo"}, "nice": {0, "n"}, "ionice": {0, "cnp"}, "stdbuf": {0, "ioe"}, "timeout": {1, "sk"}, "busybox": {}, "toybox": {},
	"unbuffer": {}, "chrt": {1, "TPD"}, "taskset": {1, ""}, "numactl": {0, "iNmCpP"}, "chroot": {1, ""}, "unshare": {0, "RSGw"},
	"nsenter": {0, "tSGr"}, "setpriv": {}, "catchsegv": {}, "prlimit": {}, "dumb-init": {}, "tini": {0, "pe"}, "flock": {1, "wE"},
	"watch": {0, "n"}, "srun": {0, "nNcpJtAw"}, "mpirun": {0, "n"}, "mpiexec": {0, "n"}, "gosu": {1, ""}, "su-exec": {1, ""},
	"pixi": {1, "e"}, "poetry": {1, ""}, "uv": {1, "p"}, "pdm": {1, ""}, "hatch": {1, ""}, "pipenv": {1, ""}, "conda": {1, "np"}, "mamba": {1, "np"}, "micromamba": {1, "np"},
	"nsys": {1, "toscfw"}, "ncu": {0, "ok"}, "strace": {0, "eop"}, "ltrace": {0, "eop"}, "perf": {1, "oeF"}, "systemd-run": {0, "pu"}, "start-stop-daemon": {0, ""},
	"coreutils": {}, "proxychains": {0, "f"}, "proxychains4": {0, "f"}, "torsocks": {}, "torify": {}, "fakeroot": {}, "proot": {0, "rbw"}, "caffeinate": {}, "firejail": {}, "daemonize": {0, "ceolpu"},
	"rlwrap": {}, "script": {}, "sem": {}, "mpiexec.hydra": {0, "n"}, "jsrun": {0, "nacgr"}, "aprun": {0, "nNd"}, "singularity": {2, "B"}, "apptainer": {2, "B"}, "env": {0, "uCS"}, "then": {}, "do": {}, "else": {},
}

// programs are those whose effect or output is known, beside the wrappers and interpreters.
var programs = func() map[string]bool {
	m := map[string]bool{}
	for _, n := range strings.Fields(`curl wget aria2c axel fetch lynx links lwp-download lwp-request lwp-dump http https ftpget tftp ftp git pip pip3 apt apt-get yum dnf apk zypper
		nc ncat netcat nc.traditional nc.openbsd socat telnet openssl ssh scp sftp rsync rclone sshpass ssh-keygen ssh-copy-id
		echo printf cat tac tee head tail cut sed awk gawk mawk nawk tr rev sort uniq base64 base32 basenc xxd od hexdump uudecode gunzip gzip zcat bzip2 bunzip2 bzcat xz unxz xzcat zstd lz4 tar unzip 7z dd
		eval source . trap read mapfile readarray export declare unset set alias cd mkdir rm cp mv ln touch install chmod chown chattr mkfifo mknod mount umount find xargs parallel
		id whoami uname hostname ifconfig ip ps w who env printenv nproc lscpu lspci free df ls pwd history getent netstat ss arp route last
		crontab at batch systemctl service update-rc.d chkconfig launchctl useradd adduser usermod chpasswd passwd visudo groupadd
		iptables ip6tables nft ufw firewall-cmd setenforce sysctl modprobe insmod kill pkill killall pgrep shred srm wipe
		screen tmux docker podman nerdctl ctr kubectl ray su runuser make cmake gcc cc g++ go cargo npm npx yarn node gdb vim vi expect jq grep egrep zgrep test [ [[ true false sleep wait date
		nslookup dig host ping ping6 traceroute drill aws gcloud az gsutil mysql psql redis-cli mongo powershell pwsh cmd certutil bitsadmin memfd_create dpkg rpm alien torchrun accelerate deepspeed jupyter tensorboard nvidia-smi rocm-smi`) {
		m[n] = true
	}
	return m
}()

// interpreterOf tells what language a program runs; "" if it is no interpreter.
func interpreterOf(name string) string {
	name = strings.TrimSuffix(name, ".exe")
	switch name {
	case "sh", "bash", "zsh", "dash", "ksh", "ksh93", "mksh", "ash", "csh", "tcsh", "fish", "rbash", "lksh", "yash", "bash-static", "elvish":
		return "shell"
	case "ipython", "ipython3", "jython", "micropython":
		return "python"
	case "ruby", "irb", "jruby":
		return "ruby"
	case "node", "nodejs", "bun", "deno", "js", "jjs":
		return "javascript"
	case "php", "php-cgi":
		return "php"
	case "lua", "luajit", "tclsh", "wish", "groovy", "jrunscript", "Rscript", "R", "julia", "osascript", "scala", "guile", "racket", "raku", "erl", "elixir", "nim", "octave", "gawk-net":
		return "other"
	case "awk", "gawk", "mawk", "nawk":
		return "awk"
	}
	for _, p := range [...]struct{ name, lang string }{{"python", "python"}, {"pypy", "python"}, {"perl", "perl"}, {"php", "php"}, {"ruby", "ruby"}, {"lua", "other"}} {
		if rest, ok := strings.CutPrefix(name, p.name); ok && strings.Trim(rest, "0123456789.w") == "" {
			return p.lang
		}
	}
	return ""
}

// textTools work on words that are no commands, addresses or wallets of theirs.
func textTool(name string) bool {
	switch name {
	case "echo", "printf", "grep", "egrep", "fgrep", "zgrep", "rg", "ag", "pgrep", "pkill", "killall", "sed", "test", "[", "[[", "read", "export", "set", "true", "false", ":", "jq", "yq", "expr", "alias", "find", "ls", "tr", "cut", "sort", "logger", "cowsay", "wall", "notify-send":
		return true
	}
	return false
}

// unglob finds what a name with ?, * or [ in it stands for among the programs that are worth hiding.
func unglob(s string) (string, bool) {
	if !strings.ContainsAny(s, "?*[") || len(s) > 128 {
		return s, false
	}
	base := programName(s)
	if base == "*" || !strings.ContainsAny(base, "?*[") && !strings.ContainsAny(s, "?*[") {
		return s, false
	}
	for _, n := range [...]string{"curl", "wget", "cat", "bash", "sh", "nc", "base64", "python3", "python", "perl", "chmod", "ncat", "id", "whoami", "uname", "nc.traditional"} {
		if ok, err := path.Match(base, n); ok && err == nil {
			return s[:len(s)-len(base)] + n, true
		}
	}
	return s, false
}

// command runs what a list of words names.
func (w *walk) command(args []value, io stdio, src string) value {
	if !w.enter() {
		return value{}
	}
	defer w.leave()
	for range 8 {
		if len(args) == 0 {
			return value{}
		}
		if args[0].from&fromNet != 0 && args[0].at != nil && args[0].plain() == "" || args[0].from&(fromSocket|fromDecode) != 0 {
			// $(curl ...): what it prints is run, word for word.
			v := args[0]
			for _, a := range args[1:] {
				v = v.plus(text(" ")).plus(a)
			}
			w.run("shell", v, "runs", src)
			if v.from&fromDecode == 0 {
				return value{s: hole, from: v.from}
			}
			return value{s: hole}
		}
		if g, ok := unglob(args[0].s); ok {
			args = append([]value{args[0].with(g)}, args[1:]...)
			w.add("split_words", 30, "hides its words with quotes or escapes", src)
		}
		name := programName(args[0].s)
		if strings.Contains(name, hole) { // cur${x}l, with x empty
			if n := strings.ReplaceAll(name, hole, ""); hiding(n) {
				args, name = append([]value{args[0].with(n)}, args[1:]...), n
				w.add("split_words", 30, "hides its words with quotes or escapes", src)
			}
		}
		if n, ok := w.alias[name]; ok {
			args, name = append([]value{text(n)}, args[1:]...), n
		}
		wr, ok := wrappers[name]
		if !ok {
			break
		}
		rest := w.unwrap(name, wr.words, wr.opts, args[1:], io, src)
		if rest == nil {
			return value{}
		}
		args = rest
	}
	c := &call{name: programName(args[0].s), prog: args[0], args: args[1:], io: io, src: src}
	if c.name == "" {
		return value{s: hole}
	}
	if w.funcs[c.name] != nil {
		return w.function(c)
	}
	return w.program(c)
}

// unwrap removes a wrapper's own words; nil if nothing is left to run.
func (w *walk) unwrap(name string, words int, opts string, args []value, io stdio, src string) []value {
	switch name {
	case "nsenter", "chroot":
		w.leaves(name, args, src)
	case "script":
		w.typescript(args, io, src)
		return nil
	case "uv", "poetry", "pdm", "hatch", "pipenv", "conda", "mamba", "micromamba", "pixi", "singularity", "apptainer":
		i := 0
		for i < len(args) && args[i].s != "run" && args[i].s != "exec" {
			i++
		}
		if i >= len(args) {
			w.packages(&call{name: name, args: args, src: src})
			return nil
		}
		args, words = args[i+1:], 0
		if name == "singularity" || name == "apptainer" {
			words = 1
		}
	case "start-stop-daemon", "daemonize":
		for i, a := range args {
			if (a.s == "--exec" || a.s == "-x" || a.s == "--startas" || a.s == "-a") && i+1 < len(args) {
				return args[i+1:]
			}
		}
	case "watch":
		for i := range args {
			if !strings.HasPrefix(args[i].s, "-") && strings.ContainsAny(args[i].s, " ;|") {
				w.run("shell", args[i], "runs", src)
				return nil
			}
		}
	case "exec":
		if len(args) == 0 {
			return nil
		}
	}
	return w.wrapped(name, words, opts, args, src)
}

// leaves judges the words of nsenter and chroot, which may lead out of a container.
func (w *walk) leaves(name string, args []value, src string) {
	for i, a := range args {
		if name == "chroot" {
			if strings.HasPrefix(a.s, "/host") || strings.HasPrefix(a.s, "/mnt") || strings.HasPrefix(a.s, "/proc/1/root") {
				w.add("escape", 60, "leaves its container", src)
			}
			continue
		}
		if a.s == "--target" || a.s == "-t" || strings.HasPrefix(a.s, "-t1") || a.s == "--target=1" {
			if i+1 < len(args) && args[i+1].s == "1" || strings.HasSuffix(a.s, "1") {
				w.add("escape", 70, "leaves its container", src)
			}
		}
	}
}

// typescript judges script(1): it runs the command after -c, or else a shell.
func (w *walk) typescript(args []value, io stdio, src string) {
	for i, a := range args {
		if (a.s == "-c" || strings.HasPrefix(a.s, "-") && !strings.HasPrefix(a.s, "--") && strings.HasSuffix(a.s, "c")) && i+1 < len(args) {
			w.run("shell", args[i+1], "runs", src)
			return
		}
	}
	if io.inSock != nil || io.out != nil {
		w.add("socket_shell", 85, "opens a shell on a socket", src)
	}
}

// wrapped skips a wrapper's options and as many words as it takes itself, and returns the command that it runs.
func (w *walk) wrapped(name string, words int, opts string, args []value, src string) []value {
	for len(args) > 0 {
		s := args[0].s
		switch {
		case s == "--":
			args = args[1:]
			if words == 0 {
				return args
			}
		case name == "env" && (s == "-S" || s == "--split-string") && len(args) > 1:
			var list []value
			for f := range strings.FieldsSeq(args[1].s) {
				list = append(list, args[1].with(f))
			}
			return append(list, args[2:]...)
		case w.locked(name, args, src):
			return nil
		case len(s) > 1 && s[0] == '-':
			args = skipOption(name, opts, args)
			if name == "command" && (s == "-v" || s == "-V") {
				return nil
			}
		case setsVariables(name) && strings.Contains(s, "=") && identifier(s[:strings.IndexByte(s, '=')]):
			n, v, _ := strings.Cut(s, "=")
			w.set(n, args[0].with(v))
			args = args[1:]
		case words > 0:
			words--
			args = args[1:]
			if w.locked(name, args, src) {
				return nil
			}
		default:
			return args
		}
	}
	if name == "env" {
		return []value{text("printenv")}
	}
	return nil
}

// locked runs the command of flock -c, and reports whether it was one.
func (w *walk) locked(name string, args []value, src string) bool {
	if name != "flock" || len(args) < 2 || args[0].s != "-c" {
		return false
	}
	w.run("shell", args[1], "runs", src)
	return true
}

// skipOption removes the option that args begin with, and its value if that is a word of its own.
func skipOption(name, opts string, args []value) []value {
	s := args[0].s
	args = args[1:]
	if len(s) == 2 && strings.IndexByte(opts, s[1]) >= 0 && len(args) > 0 {
		return args[1:]
	}
	if strings.HasPrefix(s, "--") && !strings.Contains(s, "=") && len(args) > 1 && valued(name, s) {
		return args[1:]
	}
	return args
}

// setsVariables reports whether a wrapper takes NAME=value before the command.
func setsVariables(name string) bool {
	return name == "env" || name == "sudo" || name == "doas" || name == "srun"
}

// valued says that a long option of a wrapper takes the next word.
func valued(name, opt string) bool {
	switch opt {
	case "--user", "--group", "--chdir":
		return name != "systemd-run"
	case "--signal", "--kill-after", "--name", "--prefix", "--env-file", "--bind", "--nv-config", "--with", "--python", "--directory", "--project", "--adjustment", "--interval", "--format", "--output", "--map-by", "--bind-to", "--hostfile", "--host", "--cpunodebind", "--membind", "--physcpubind", "--ntasks", "--nodes", "--partition", "--gres", "--job-name", "--trace", "--sample", "--extra", "--no-capture", "--unset", "--property", "--unit":
		return opt != "--no-capture"
	}
	return false
}

// function calls one of the text's own.
func (w *walk) function(c *call) value {
	w.called[c.name] = true
	if w.fired >= 8 {
		return value{s: hole}
	}
	w.fired++
	defer func() { w.fired-- }()
	in := *w
	in.args = c.args
	if in.args == nil {
		in.args = []value{}
	}
	return in.stmt(w.funcs[c.name], c.io)
}

func (c *call) arg(i int) value {
	if i < len(c.args) {
		return c.args[i]
	}
	return value{}
}

// has says whether one of the words is an argument.
func (c *call) has(words ...string) bool {
	for _, a := range c.args {
		for _, s := range words {
			if a.s == s {
				return true
			}
		}
	}
	return false
}

// plain gives the arguments that are no options.
func (c *call) plain() (out []value) {
	for _, a := range c.args {
		if !strings.HasPrefix(a.s, "-") || a.s == "-" {
			out = append(out, a)
		}
	}
	return out
}

// joined puts the arguments together as echo does.
func (c *call) joined() (v value) {
	for i, a := range c.args {
		if i > 0 {
			v = v.plus(text(" "))
		}
		v = v.plus(a)
	}
	return v
}

// program runs a program that is no wrapper and no function.
func (w *walk) program(c *call) value {
	if strings.Contains(c.prog.s, "/") && !systemPath(c.prog.s) {
		w.runFile("", c.prog, c, true)
	}
	if lang := interpreterOf(c.name); lang != "" && w.files[c.name] == nil {
		return w.interpreter(c, lang)
	}
	if !textTool(c.name) {
		w.operands(c)
	}
	for _, known := range [...]func(*walk, *call) (value, bool){
		(*walk).runsNetwork, (*walk).runsCode, (*walk).runsTool, (*walk).filter, (*walk).system,
	} {
		if out, ok := known(w, c); ok {
			return out
		}
	}
	return w.unknown(c)
}

// runsNetwork judges what speaks over the network.
func (w *walk) runsNetwork(c *call) (value, bool) {
	switch c.name {
	case "curl", "wget", "aria2c", "axel", "fetch", "lynx", "links", "lwp-download", "lwp-request", "lwp-dump", "http", "https", "ftpget", "tftp", "GET", "wget2", "curlie", "w3m", "elinks", "snarf", "puf", "bitsadmin", "certutil":
		return w.fetch(c), true
	case "nc", "ncat", "netcat", "nc.traditional", "nc.openbsd":
		return w.netcat(c), true
	case "socat":
		return w.socat(c), true
	case "telnet":
		return w.telnet(c), true
	case "openssl":
		return w.openssl(c), true
	case "ssh", "sshpass", "rsh", "autossh", "pdsh", "clush", "pssh", "parallel-ssh":
		return w.ssh(c), true
	case "scp", "sftp", "rsync":
		return w.copyOut(c), true
	case "git":
		return w.git(c), true
	}
	return value{}, false
}

// runsCode judges what runs a text that it is given: of the shell, of schedulers, of other users.
func (w *walk) runsCode(c *call) (value, bool) {
	switch c.name {
	case "eval":
		w.run("shell", c.joined(), "runs", c.src)
		return value{s: hole}, true
	case "source", ".":
		w.runFile("shell", c.arg(0), c, false)
		return value{}, true
	case "trap":
		if a := c.arg(0); a.s != "" && a.s != "-" {
			w.run("shell", a, "runs", c.src)
		}
		return value{}, true
	case "alias":
		for _, a := range c.args {
			if _, v, ok := strings.Cut(a.s, "="); ok {
				w.run("shell", a.with(v), "runs", c.src)
			}
		}
		return value{}, true
	case "su", "runuser":
		return w.asUser(c), true
	case "sbatch", "qsub", "bsub":
		return w.submits(c), true
	case "at", "batch":
		return w.later(c), true
	case "powershell", "pwsh", "cmd", "mshta", "wscript", "cscript", "rundll32", "regsvr32":
		return w.windows(c), true
	case "gdb", "vim", "vi", "make", "expect", "emacs", "ed", "ex":
		w.embedded(c)
		return value{s: hole}, true
	}
	return value{}, false
}

// runsTool judges what makes text, takes files apart, and manages packages, containers and terminals.
func (w *walk) runsTool(c *call) (value, bool) {
	switch c.name {
	case "echo", "printf":
		return w.echo(c), true
	case "read", "mapfile", "readarray":
		return w.reads(c), true
	case "xargs", "parallel":
		return w.xargs(c), true
	case "find":
		return w.find(c), true
	case "tar", "zip", "unzip", "7z", "7za", "bsdtar", "jar", "cpio":
		return w.unpack(c), true
	case "pip", "pip3", "apt", "apt-get", "yum", "dnf", "apk", "zypper", "npm", "npx", "yarn", "dpkg", "rpm", "gem", "cargo", "go", "pipx":
		w.packages(c)
		return value{}, true
	case "docker", "podman", "nerdctl", "ctr", "crictl":
		return w.container(c), true
	case "kubectl", "oc":
		return w.kubectl(c), true
	case "ray":
		return w.ray(c), true
	case "screen", "tmux":
		return w.terminal(c), true
	}
	return value{}, false
}

// asUser runs what su does.
func (w *walk) asUser(c *call) value {
	for i, a := range c.args {
		if (a.s == "-c" || a.s == "--command") && i+1 < len(c.args) {
			w.run("shell", c.args[i+1], "runs", c.src)
		}
	}
	if c.io.set {
		w.run("shell", c.io.in, "pipes", c.src)
	}
	return value{}
}

// submits runs what is handed to a scheduler of jobs.
func (w *walk) submits(c *call) value {
	for i, a := range c.args {
		if v, ok := strings.CutPrefix(a.s, "--wrap="); ok {
			w.run("shell", a.with(v), "runs", c.src)
		} else if a.s == "--wrap" {
			w.run("shell", c.arg(i+1), "runs", c.src)
		}
	}
	if a := c.plain(); len(a) > 0 && !c.has("--wrap") {
		w.runFile("shell", a[0], c, false)
	} else if c.io.set {
		w.run("shell", c.io.in, "pipes", c.src)
	}
	return value{s: hole}
}

// later runs what is put off.
func (w *walk) later(c *call) value {
	for i, a := range c.args {
		if a.s == "-f" {
			w.runFile("shell", c.arg(i+1), c, false)
		}
	}
	if c.io.set {
		w.run("shell", c.io.in, "pipes", c.src)
	}
	return value{}
}

// reads sets variables from what comes in.
func (w *walk) reads(c *call) value {
	for _, a := range c.plain() {
		if identifier(a.s) {
			v := c.io.in
			if !c.io.set {
				v = value{s: hole, from: fromEnv}
			}
			v.s = strings.TrimRight(v.s, "\n")
			w.set(a.s, v)
		}
	}
	return value{}
}

// systemPath says that a program lies where programs are installed.
func systemPath(p string) bool {
	dir := p[:strings.LastIndexByte(p, '/')+1]
	return !tempDir(p) && (strings.HasSuffix(dir, "/bin/") || strings.HasSuffix(dir, "/sbin/"))
}

// unknown is a program of which nothing is known: what it is called, where it lies and where it came from may say
// something.
func (w *walk) unknown(c *call) value {
	switch w.r.judge.lists.Program(strings.TrimSuffix(c.name, ".exe")) {
	case data.Miner:
		w.add("miner", 85, "starts a miner", c.src)
	case data.Attack:
		w.add("attack_tool", 65, "starts an attack tool", c.src)
		for _, a := range c.plain() {
			if p := w.r.judge.Place(a.s); p.Kind == Bare || strings.HasPrefix(a.s, "0.0.0.0/") {
				w.add("scan", 25, "attacks networks outside", c.src)
				break
			}
		}
	case data.Scanner:
		w.scanner(c)
	case data.Tunnels:
		points := 20
		for _, a := range c.args {
			if p := w.r.judge.Place(a.s); strings.ContainsAny(a.s, ".:/") && (p.Kind == Bare || p.Kind == Anybodys) {
				points = 60
			}
		}
		w.add("tunnel", points, "makes something inside reachable from outside", c.src)
	}
	w.options(c)
	// Launchers: the program that they run stands among their arguments.
	for i, a := range c.args {
		if interpreterOf(programName(a.s)) == "shell" && !strings.Contains(a.s, " ") && strings.HasPrefix(c.arg(i+1).s, "-") && strings.Contains(c.arg(i+1).s, "c") {
			w.command(c.args[i:], stdio{}, c.src)
			break
		}
	}
	if strings.Contains(c.prog.s, "/") || w.files[c.name] != nil {
		w.runFile("", c.prog, c, true)
	}
	for _, a := range c.args {
		if a.file != nil && a.file.from&fromSecret != 0 {
			w.add("steal", 45, "reads "+a.file.what, c.src)
		}
	}
	return value{s: hole}
}

func (w *walk) scanner(c *call) {
	for _, a := range c.plain() {
		if p := w.r.judge.Place(a.s); strings.Contains(a.s, ".") && p.Kind == Bare {
			w.add("scan", 50, "scans networks outside", c.src)
			return
		}
	}
}

// minerFlags are options that only miners have, beside those that name an algorithm or a coin.
func minerFlag(s string) bool {
	name, v, _ := strings.Cut(s, "=")
	switch name {
	case "--donate-level", "--donate-over-proxy", "--cpu-max-threads-hint", "--randomx-1gb-pages", "--randomx-mode", "--randomx-wrmsr", "--randomx-no-numa", "--nicehash", "--rig-id", "--cuda-bfactor-hint", "--cpu-no-yield", "--cpu-memory-pool", "--ethstratum", "--no-huge-pages", "--pool-password", "--rig-password", "--donate_level", "--daemon-poll-interval", "--lhr-tune":
		return true
	}
	return name == "--coin" && coin(v)
}

func coin(s string) bool {
	switch strings.ToLower(s) {
	case "monero", "xmr", "arq", "arqma", "dero", "ravencoin", "rvn", "zephyr", "zano", "kaspa", "salvium", "raptoreum", "etc", "ergo", "alph", "quai", "qubic":
		return true
	}
	return false
}

// algorithm says that s is a proof of work that is mined today.
func algorithm(s string) bool {
	s = strings.ToLower(s)
	for _, p := range [...]string{"rx/", "cn/", "cn-", "argon2/", "gr/"} {
		if rest, ok := strings.CutPrefix(s, p); ok && len(rest) < 16 {
			return true
		}
	}
	switch s {
	case "randomx", "kawpow", "progpow", "progpowz", "progpow-z", "ethash", "etchash", "kheavyhash", "karlsenhash", "pyrinhash", "cryptonight", "autolykos2", "octopus", "verushash", "astrobwt", "ghostrider", "xelishash", "nexapow", "zelhash", "dynexsolve", "randomhash", "sha256d", "yescryptr32", "yespower", "minotaurx", "argon2id_chukwa", "panthera", "fishhash", "blake3_alephium", "cuckatoo32", "equihash125_4", "equihash144_5", "x16rv2", "firopow", "meowpow", "evrprogpow", "ton", "iron", "radiant", "neoxa", "abelian", "xehash":
		return true
	}
	return false
}

// options looks for a miner by how it is called: a pool, somebody to pay, an algorithm.
func (w *walk) options(c *call) {
	flags, algo, pool, user := 0, false, false, false
	for i, a := range c.args {
		if minerFlag(a.s) || a.s == "--coin" && coin(c.arg(i+1).s) {
			flags++
		}
		switch a.s {
		case "-a", "--algo", "--algorithm":
			algo = algo || algorithm(c.arg(i+1).s)
		case "-o", "--url", "--pool", "--server", "-P", "--proxy", "-r", "--daemon-address":
			n := c.arg(i + 1).s
			p := w.r.judge.Place(n)
			pool = pool || p.Port != "" && (p.outside() || p.Kind == Unclear) && strings.Trim(p.Port, "0123456789") == "" && (!strings.Contains(n, "://") || strings.Contains(n, "stratum"))
		case "-u", "--user", "-w", "--wallet", "-wal", "--address":
			user = user || len(c.arg(i+1).s) > 20 || strings.HasPrefix(c.arg(i+1).s, hole)
		}
		if v, ok := strings.CutPrefix(a.s, "--algo="); ok && algorithm(v) {
			algo = true
		}
	}
	n := 45 * min(flags, 2)
	if algo && pool {
		n += 50
	}
	if pool && user {
		n += 35
	}
	w.add("miner_options", min(n, 85), "has a miner's options", c.src)
}

// operands looks at what programs of every kind are given.
func (w *walk) operands(c *call) {
	j := w.r.judge
	web := c.name == "curl" || c.name == "wget" || c.name == "http"
	total := 0
	for i, a := range c.args {
		s := strings.ReplaceAll(a.s, hole, "x")
		if total += len(s); total > maxText || len(s) > 4096 {
			continue
		}
		if v, ok := strings.CutPrefix(s, "-"); ok {
			if _, after, ok := strings.Cut(v, "="); ok {
				s = after
			}
		}
		if j.stratum(s) {
			w.add("stratum", 85, "connects to a mining pool", s)
		}
		wallets(s, func(x string) { w.add("wallet", 65, "names a Monero wallet", x) })
		if !strings.Contains(s, ".") || strings.ContainsAny(s, " \n") && !isURL(s) {
			if len(s) >= 40 && !strings.ContainsAny(s, " \n") {
				w.encoded(c, s)
			}
			continue
		}
		p := j.Place(strings.TrimPrefix(s, "ssl://"))
		if !hostName(p.Host) {
			continue
		}
		w.pool(c, i, s, p, web)
		if web || resolves(c.name) || isURL(s) {
			w.calls(p, s)
		}
	}
}

// pool judges operand i of c, the place p written as s, where it is a mining pool.
func (w *walk) pool(c *call, i int, s string, p *Place, web bool) {
	before := opt(c, i)
	if entry, g := w.r.judge.pools.Name(p.Host); g == data.Pool && entry != "" {
		switch {
		case web && isURL(s): // its page: prices, statistics
			w.add("pool_page", 20, "reads the page of a mining pool", s)
		case p.Port != "" || before == "-o" || before == "--url" || before == "--pool" || before == "-P" || before == "--server":
			w.add("pool", 80, "connects to a mining pool", s)
		case !isURL(s) && p.Path == "" && resolves(c.name):
			w.add("pool_page", 30, "asks for a mining pool", s)
		}
		return
	}
	if p.Port != "" && strings.HasPrefix(p.Host, "pool.") && (before == "-o" || before == "--url") {
		w.add("pool_like", 25, "connects to something called a pool", s)
	}
}

func opt(c *call, i int) string {
	if i > 0 {
		return c.args[i-1].s
	}
	return ""
}

// calls notes services that tell somebody that they were called.
func (w *walk) calls(p *Place, s string) {
	switch w.r.judge.callback(p.Host) {
	case "oast":
		w.add("oast", 80, "calls a service that tells an attacker of callbacks", s)
	case "bin", "canary":
		w.add("callback", 50, "calls a service that records requests", s)
	}
}

// resolves says that a program asks for a name and does little else.
func resolves(name string) bool {
	switch name {
	case "nslookup", "dig", "host", "ping", "ping6", "drill", "traceroute", "getent", "resolvectl", "telnet", "nc", "ncat", "netcat", "curl", "wget":
		return true
	}
	return false
}

func hostName(h string) bool {
	if len(h) < 4 || len(h) > 255 || !strings.Contains(h, ".") {
		return false
	}
	for i := range len(h) {
		if c := h[i]; !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return true
}

// stratum says that s is a URL of a mining protocol with a host in it.
func (j *Judge) stratum(s string) bool {
	i := strings.Index(s, "://")
	if i < 0 || i > 20 {
		return false
	}
	scheme := strings.ToLower(s[:i])
	switch {
	case strings.HasPrefix(scheme, "stratum"), strings.HasPrefix(scheme, "daemon+"), scheme == "ethproxy", scheme == "zilstratum":
		h := j.Place(s).Host
		return hostName(h) || h != "" && !strings.Contains(h, hole) && strings.ContainsAny(h, ".:")
	}
	return false
}

// encoded looks into an argument that is a command in base64: a program that is not known may run it.
func (w *walk) encoded(c *call, s string) {
	if w.hidden || strings.HasPrefix(s, "/") {
		return
	}
	t, ok := unBase64(s)
	if !ok || !w.r.judge.Runs(t) {
		return
	}
	sub := *w.r
	sub.Facts, sub.Decoded, sub.given = nil, nil, w.r.given-len(t)
	sub.Code("decoded "+w.where, t)
	w.r.read, w.r.steps, w.r.bytes, w.r.taken, w.r.Short = sub.read, sub.steps, sub.bytes, sub.taken, sub.Short
	if sub.Score() >= Certain {
		b := sub.Best()
		w.r.Add("hidden_code", 65*w.scale/100, "hides a command that "+b.Says+" in an argument", w.where, s)
		w.r.keep(t)
	}
}

func (r *Report) keep(t string) {
	for _, d := range r.Decoded {
		if d == t {
			return
		}
	}
	if len(r.Decoded) < maxDecoded {
		r.Decoded = append(r.Decoded, t)
	}
}

// wallets calls f with main network addresses of Monero in s, by their shape: 95 digits of base 58, the first two of a
// small set.
func wallets(s string, f func(string)) {
	for i := 0; i+95 <= len(s); {
		j := i
		for j < len(s) && alphanumeric(s[j]) {
			j++
		}
		if moneroAddress(s[i:j]) {
			f(s[i:j])
		}
		i = j + 1
	}
}

func alphanumeric(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

func moneroAddress(s string) bool {
	if len(s) != 95 && len(s) != 106 || s[0] != '4' && s[0] != '8' || !(s[1] >= '0' && s[1] <= '9' || s[1] == 'A' || s[1] == 'B' || len(s) == 106) {
		return false
	}
	letters := 0
	for i := 1; i < len(s); i++ {
		if s[i] == '0' || s[i] == 'O' || s[i] == 'I' || s[i] == 'l' || !alphanumeric(s[i]) {
			return false
		}
		if s[i] > '9' {
			letters++
		}
	}
	return letters > 40
}
