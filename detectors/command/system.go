package command

import (
	"path"
	"strings"
)

// systemFiles judges what changes files.
func (w *walk) systemFiles(c *call) (value, bool) {
	switch c.name {
	case "chmod":
		return w.chmod(c), true
	case "chattr":
		if c.has("+i", "+ia", "+ai", "+a") {
			w.add("hide", 45, "makes its files hard to remove", c.src)
		} else {
			for _, a := range c.plain() {
				if persistent(a.s) != "" {
					w.add("hide", 35, "makes files of the system writable", c.src)
				}
			}
		}
		return value{}, true
	case "rm", "unlink", "shred", "srm", "wipe":
		return w.removes(c), true
	case "cp", "mv", "install", "ln":
		return w.copies(c), true
	case "mkfifo":
		for _, a := range c.plain() {
			if len(w.fifos) < 16 {
				w.fifos[path.Base(a.s)] = true
			}
		}
		return value{}, true
	case "mknod":
		if c.has("p") && len(w.fifos) < 16 {
			w.fifos[path.Base(c.arg(0).s)] = true
		}
		return value{}, true
	case "gcc", "cc", "g++", "clang", "tcc", "go", "rustc":
		if c.io.set && c.io.in.from&fromNet != 0 && c.io.in.at != nil {
			w.run("c", c.io.in, "pipes", c.src)
		}
		for _, a := range c.plain() {
			f := w.files[path.Base(a.s)]
			if f == nil || f.from&fromNet == 0 || f.at == nil {
				continue
			}
			for i, o := range c.args {
				if o.s == "-o" {
					w.write(c.arg(i+1).s, *f, false)
				}
			}
		}
		return value{}, true
	case "mysqldump", "pg_dump", "pg_dumpall", "mongodump":
		return value{s: hole, from: fromFile}, true
	}
	return value{}, false
}

// systemShell follows what a shell keeps of itself: variables, arguments, descriptors, history.
func (w *walk) systemShell(c *call) (value, bool) {
	switch c.name {
	case "unset":
		if c.has("HISTFILE", "HISTFILESIZE", "PROMPT_COMMAND") {
			w.add("hide", 40, "removes its traces", c.src)
		}
		return value{}, true
	case "export", "declare", "typeset", "readonly":
		for _, a := range c.args {
			if n, v, ok := strings.Cut(a.s, "="); ok && identifier(n) {
				w.set(n, a.with(v))
			}
		}
		return value{}, true
	case "ztcp": // zsh's module net/tcp: the descriptor is in REPLY
		if p := w.r.judge.Place(c.arg(0).s); c.arg(0).s != "" && len(w.fds) < 16 {
			w.fds["9"] = stdio{in: value{s: hole, from: fromSocket, at: p}, set: true, inSock: p, out: p}
			w.set("REPLY", text("9"))
		}
		return value{}, true
	case "set":
		if c.arg(0).s == "--" {
			w.args = append([]value{}, c.args[1:]...)
		}
		if c.arg(0).s == "+o" && c.arg(1).s == "history" {
			w.add("hide", 40, "removes its traces", c.src)
		}
		return value{}, true
	}
	return value{}, false
}

// systemServices judges what runs on its own, and accounts.
func (w *walk) systemServices(c *call) (value, bool) {
	switch c.name {
	case "crontab":
		return w.crontab(c), true
	case "systemctl", "service", "update-rc.d", "chkconfig", "rc-update":
		return w.services(c), true
	case "useradd", "adduser":
		points := 10
		if c.has("-o", "-ou") || c.has("0") && c.has("-u", "-uid") || c.has("-ou0") {
			points = 65
		} else if c.has("sudo", "wheel", "root") {
			points = 40
		}
		w.add("account", points, "makes an account", c.src)
		return value{}, true
	case "usermod", "gpasswd":
		if c.has("sudo", "wheel", "root") {
			w.add("account", 25, "makes an account powerful", c.src)
		}
		return value{}, true
	case "chpasswd", "passwd":
		if c.io.set && c.io.in.known() && strings.HasPrefix(c.io.in.s, "root:") {
			w.add("account", 40, "sets the password of root", c.src)
		}
		return value{}, true
	case "ssh-keygen", "ssh-copy-id":
		return value{s: hole}, true
	}
	return value{}, false
}

// systemKernel judges filters, settings, modules, processes and mounts.
func (w *walk) systemKernel(c *call) (value, bool) {
	switch c.name {
	case "iptables", "ip6tables", "nft":
		if c.has("-F", "-X", "flush") {
			w.add("disarm", 25, "switches defences off", c.src)
		}
		return value{}, true
	case "ufw", "setenforce":
		if c.has("disable", "0", "Permissive", "stop") {
			w.add("disarm", 25, "switches defences off", c.src)
		}
		return value{}, true
	case "sysctl":
		if c.has("vm.nr_hugepages=128", "vm.nr_hugepages=1280", "vm.nr_hugepages=1168280") || strings.Contains(c.src, "vm.nr_hugepages=$(") || strings.Contains(c.src, "nmi_watchdog=0") {
			w.add("hugepages", 20, "prepares the machine as miners do", c.src)
		}
		return value{}, true
	case "modprobe":
		if c.has("msr") {
			w.add("hugepages", 20, "prepares the machine as miners do", c.src)
		}
		return value{}, true
	case "insmod":
		w.add("rootkit", 40, "loads a module into the kernel", c.src)
		return value{}, true
	case "kill", "pkill", "killall":
		rivals := 0
		for _, a := range c.plain() {
			for n := range strings.FieldsFuncSeq(a.s, func(r rune) bool { return r == '|' || r == ',' || r == '\\' }) {
				if p := w.r.judge.lists.Program(programName(n)); p == "miner" || p == "attack" {
					rivals++
				}
			}
		}
		if rivals > 0 {
			w.add("rivals", 20, "ends other miners", c.src)
		}
		return value{}, true
	case "mount":
		return w.mounts(c), true
	}
	return value{}, false
}

// systemCloud follows keys and files of clouds.
func (w *walk) systemCloud(c *call) (value, bool) {
	switch c.name {
	case "aws", "gcloud", "az", "gsutil", "vault":
		if c.name == "aws" && (c.has("get-session-token", "create-access-key", "get-secret-value", "get-credentials") || c.has("export-credentials")) {
			return value{s: hole, from: fromSecret, what: "keys of AWS"}, true
		}
		if c.name == "gcloud" && c.has("print-access-token") {
			return value{s: hole, from: fromSecret, what: "a token of Google Cloud"}, true
		}
		if c.name == "aws" && c.has("s3") && c.has("cp") || c.name == "gsutil" && c.has("cp") {
			a := c.plain()
			if n := len(a); n > 0 && a[n-1].s == "-" {
				return value{s: hole, from: fromFile}, true
			}
		}
		return value{s: hole}, true
	}
	return value{}, false
}

// chmod judges a change of a mode: a download that may run, a program that makes root.
func (w *walk) chmod(c *call) value {
	mode := ""
	for _, a := range c.args {
		s := a.s
		if mode == "" && (!strings.HasPrefix(s, "-") || strings.HasPrefix(s, "-x") || s == "-rwx") {
			mode = s
			continue
		}
		exec := strings.Contains(mode, "x") || len(mode) >= 3 && strings.Trim(mode, "01234567") == "" && strings.ContainsAny(mode[len(mode)-3:], "1357")
		if f := w.files[path.Base(s)]; f != nil && exec && f.from&fromNet != 0 && f.at != nil {
			w.add("fetch_chmod", f.at.kept(false, f.from&fromPacked != 0)-25, "makes a download executable", f.at.URL+" ... "+c.src)
		}
		if exec && tempDir(s) && strings.HasPrefix(path.Base(s), ".") {
			w.add("chmod", 15, "makes a hidden file executable", c.src)
		}
		if (strings.Contains(mode, "s") && strings.HasPrefix(mode, "u+") || len(mode) == 4 && mode[0] >= '4' && mode[0] <= '7' && strings.Trim(mode, "01234567") == "") && (interpreterOf(path.Base(s)) != "" || strings.HasPrefix(s, "/tmp") || s == "/usr/bin/find") {
			w.add("privilege", 65, "lets anybody become root", c.src)
		}
	}
	return value{}
}

// removes judges what is removed: the script itself, logs, what preloads a defence.
func (w *walk) removes(c *call) value {
	for _, a := range c.plain() {
		switch {
		case a.s == "$0" || a.s == `./$0`:
			w.add("hide", 40, "removes its traces", c.src)
		case strings.HasSuffix(a.s, ".bash_history") || strings.HasPrefix(a.s, "/var/log") && (strings.HasSuffix(a.s, "/auth.log") || strings.HasSuffix(a.s, "/wtmp") || strings.HasSuffix(a.s, "/secure") || a.s == "/var/log/*" || a.s == "/var/log/syslog" || a.s == "/var/log/btmp" || a.s == "/var/log/lastlog"):
			w.add("hide", 45, "removes its traces", c.src)
		case strings.HasPrefix(a.s, "/etc/ld.so.preload"):
			w.add("disarm", 30, "switches defences off", c.src)
		}
	}
	return value{}
}

// copies follows contents and names of programs to where they are put.
func (w *walk) copies(c *call) value {
	a := c.plain()
	if len(a) >= 2 {
		to := a[len(a)-1]
		for _, f := range a[:len(a)-1] {
			src := w.files[path.Base(f.s)]
			name := to.s
			if strings.HasSuffix(name, "/") || !strings.Contains(path.Base(name), ".") && src != nil && len(a) > 2 {
				name = path.Join(name, path.Base(f.s))
			}
			if src != nil {
				w.write(name, *src, false)
				if strings.HasSuffix(to.s, "bin") || strings.HasSuffix(to.s, "bin/") {
					w.write(path.Join(to.s, path.Base(f.s)), *src, false)
				}
				continue
			}
			if n := programName(f.s); (programs[n] || interpreterOf(n) != "") && path.Base(name) != n && len(w.alias) < maxFiles {
				w.alias[path.Base(name)] = n
			}
			if v := w.read(f); v.from&fromSecret != 0 {
				w.write(name, v, false)
			} else if persistent(name) != "" {
				w.persist(name, value{s: hole, from: fromFile}, false)
			}
		}
	}
	return value{}
}

// crontab judges a table of jobs that is read or written.
func (w *walk) crontab(c *call) value {
	if c.has("-l") {
		return value{s: hole}
	}
	if c.has("-r") {
		w.add("cron", 15, "removes cron jobs", c.src)
		return value{}
	}
	v := c.io.in
	for i, a := range c.args {
		if a.s == "-u" {
			continue
		}
		if (i == 0 || c.args[i-1].s != "-u") && !strings.HasPrefix(a.s, "-") {
			v = w.read(a)
		}
	}
	w.cron(v, c.src)
	return value{}
}

// services judges defences that are stopped and services that are started.
func (w *walk) services(c *call) value {
	stop := c.has("stop", "disable", "mask", "off")
	for _, a := range c.args {
		n := strings.TrimSuffix(a.s, ".service")
		switch n {
		case "falco", "auditd", "osqueryd", "wazuh-agent", "crowdstrike", "falcon-sensor", "sysmon", "aliyun", "aegis", "qcloud", "clamav-daemon", "sentinelone", "apparmor", "firewalld", "tetragon", "ossec":
			if stop {
				points := 50
				if n == "firewalld" || n == "apparmor" || n == "auditd" {
					points = 25
				}
				w.add("disarm", points, "switches defences off", c.src)
			}
		}
		if !stop && c.has("enable", "start", "restart") {
			if f := w.files[n+".service"]; f != nil {
				w.add("service", 35, "installs a service", c.src)
			}
		}
	}
	return value{s: hole}
}

// mounts judges disks of the machine, hidden processes and the way out of a container.
func (w *walk) mounts(c *call) value {
	for _, a := range c.plain() {
		if strings.HasPrefix(a.s, "/dev/sd") || strings.HasPrefix(a.s, "/dev/nvme") || strings.HasPrefix(a.s, "/dev/vda") || strings.HasPrefix(a.s, "/dev/xvda") {
			w.add("mount", 25, "mounts a disk of the machine", c.src)
		}
		if strings.HasPrefix(a.s, "/proc/") {
			w.add("hide", 40, "hides a process", c.src)
		}
	}
	if c.has("cgroup") {
		w.add("escape", 45, "leaves its container", c.src)
	}
	return value{}
}
