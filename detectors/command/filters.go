package command

import (
	"path"
	"strings"
)

// filter gives the output of a program that turns text into text; false if c is none.
func (w *walk) filter(c *call) (value, bool) {
	w.r.cost(len(c.io.in.s)) // for what is not decoded, but looked at
	switch c.name {
	case "cat", "tee", "head", "tail", "sort", "uniq", "tac", "nl", "less", "more", "strings", "fold", "fmt", "column", "pv", "mbuffer", "sponge", "iconv", "dos2unix", "cut", "paste", "wc", "zless", "bat", "rot13", "od", "hexdump", "ts":
		return w.passes(c), true
	case "base64", "base32", "basenc", "gbase64":
		return w.base64(c), true
	case "xxd":
		return w.hexes(c), true
	case "rev":
		return w.decode(w.input(c, 0), reverseLines), true
	case "tr":
		return w.tr(c), true
	case "sed":
		return w.sed(c), true
	case "gunzip", "zcat", "gzip", "bzip2", "bunzip2", "bzcat", "xz", "unxz", "xzcat", "zstd", "unzstd", "zstdcat", "lz4", "uncompress", "pigz", "lzma", "unlzma", "brotli", "uudecode", "gpg", "age", "ccdecrypt", "ccat", "mcrypt":
		return w.unpacks(c), true
	case "dd":
		return w.dd(c), true
	case "grep", "egrep", "fgrep", "zgrep", "rg", "jq", "yq", "ag":
		return w.searches(c), true
	case "id", "whoami", "uname", "hostname", "ifconfig", "ip", "ps", "w", "who", "env", "printenv", "set", "lscpu", "netstat", "ss", "arp", "last", "lsb_release", "dmidecode", "getent":
		return w.told(c)
	case "history":
		if c.has("-c", "-cw", "-wc") {
			w.add("hide", 40, "removes its traces", c.src)
		}
		return value{s: hole, from: fromRecon}, true
	case "nproc", "free", "df", "ls", "pwd", "date", "lspci", "uptime", "nvidia-smi", "cd", "mkdir", "touch", "sleep", "true", "false", ":", "wait", "test", "[", "export", "set_", "hash", "ulimit", "umask", "shift", "local", "return", "exit", "break", "continue", "pushd", "popd", "seq", "expr", "bc", "basename", "dirname", "readlink", "realpath", "mktemp", "yes", "clear", "which", "type", "stat", "du", "file", "md5sum", "sha256sum", "sha1sum", "diff", "cmp", "logger", "sync", "getopt", "getopts":
		return w.harmless(c), true
	}
	return value{}, false
}

// passes gives the output of what passes lines on, all or some of them.
func (w *walk) passes(c *call) value {
	switch c.name {
	case "tee":
		for _, f := range c.plain() {
			w.write(f.s, c.io.in, c.has("-a"))
		}
		return c.io.in
	case "cat", "pv", "mbuffer", "sponge", "less", "more", "dos2unix", "bat":
		return w.input(c, 0)
	case "rot13":
		return w.decode(w.input(c, 0), rot13)
	case "wc":
		return value{s: hole}
	case "tac", "head", "tail", "sort", "uniq", "fold", "fmt", "strings", "iconv", "nl":
		v := w.input(c, 0)
		for i, a := range c.args {
			if (a.s == "-n" || a.s == "-c") && i+1 < len(c.args) { // the number is no file
				v = w.input(&call{name: c.name, args: append(append([]value{}, c.args[:i]...), c.args[i+2:]...), io: c.io, src: c.src}, 0)
			}
		}
		if c.name == "tac" || (c.name == "tail" || c.name == "head") && strings.Count(v.s, "\n") > 1 {
			if c.name == "tac" {
				l := strings.Split(strings.TrimSuffix(v.s, "\n"), "\n")
				for i, j := 0, len(l)-1; i < j; i, j = i+1, j-1 {
					l[i], l[j] = l[j], l[i]
				}
				return v.with(strings.Join(l, "\n") + "\n")
			}
		}
		return v
	}
	if c.name == "cut" && len(c.args) == 1 && c.io.set {
		from, _, ok := strings.Cut(strings.TrimPrefix(c.args[0].s, "-c"), "-")
		if n, isNum := number(from); ok && isNum && strings.HasPrefix(c.args[0].s, "-c") && strings.HasSuffix(c.args[0].s, "-") && n > 0 && c.io.in.known() {
			lines := strings.Split(strings.TrimSuffix(c.io.in.s, "\n"), "\n")
			for i, l := range lines {
				lines[i] = l[min(n-1, len(l)):]
			}
			return c.io.in.with(strings.Join(lines, "\n"))
		}
	}
	return w.input(c, 0).blur()
}

// base64 gives the output of base64 and its like.
func (w *walk) base64(c *call) value {
	var args []value
	dec := false
	for i := 0; i < len(c.args); i++ {
		s := c.args[i].s
		if s == "-w" || s == "--wrap" {
			i++
			continue
		}
		if len(s) > 1 && s[0] == '-' {
			dec = dec || s == "--decode" || s[1] != '-' && strings.ContainsAny(s, "dD")
			continue
		}
		args = append(args, c.args[i])
	}
	v := w.input(&call{name: c.name, args: args, io: c.io, src: c.src}, 0)
	if !dec {
		return v.blur()
	}
	if c.name == "base32" || c.has("--base32") {
		return w.decode(v, unBase32)
	}
	return w.decode(v, unBase64)
}

// hexes gives the output of xxd.
func (w *walk) hexes(c *call) value {
	rev := false
	var args []value
	for i := 0; i < len(c.args); i++ {
		s := c.args[i].s
		if s == "-c" || s == "-s" || s == "-l" || s == "-o" {
			i++
			continue
		}
		if len(s) > 1 && s[0] == '-' {
			rev = rev || strings.Contains(s, "r")
			continue
		}
		args = append(args, c.args[i])
	}
	v := w.input(&call{name: c.name, args: args, io: c.io, src: c.src}, 0)
	if !rev {
		return v.blur()
	}
	return w.decode(v, unHex)
}

// unpacks gives the output of packers and of what encrypts, both ways.
func (w *walk) unpacks(c *call) value {
	v := w.input(c, 0)
	dec := strings.Contains(c.name, "un") || strings.Contains(c.name, "cat") || c.name == "uudecode" || c.name == "ccdecrypt"
	for _, a := range c.args {
		dec = dec || strings.HasPrefix(a.s, "-") && (strings.HasPrefix(a.s, "--de") || a.s[1:] != "" && a.s[1] != '-' && strings.Contains(a.s, "d"))
	}
	if !dec {
		return v.blur()
	}
	if v.from&fromNet != 0 || v.from&(fromFile|fromText) == fromFile { // what was packed for the way
		return v.blur()
	}
	return w.decode(v, unzip)
}

// dd gives what is read, or writes what comes in.
func (w *walk) dd(c *call) value {
	for _, a := range c.args {
		if n, ok := strings.CutPrefix(a.s, "if="); ok {
			return w.secret(text(n), c)
		}
		if n, ok := strings.CutPrefix(a.s, "of="); ok {
			w.write(n, c.io.in, false)
			return value{}
		}
	}
	return c.io.in
}

// searches gives the output of what searches text, and judges a search for credentials.
func (w *walk) searches(c *call) value {
	a := c.plain()
	if c.has("-r", "-R", "-rn", "-rl", "-ri", "-rE", "-rnE", "-rI", "-rin", "-rhoE", "-rEo") {
		for _, f := range a[min(1, len(a)):] {
			if (f.s == "/" || strings.HasPrefix(f.s, "/home") || strings.HasPrefix(f.s, "/root") || strings.HasPrefix(f.s, "/etc") || strings.HasPrefix(f.s, "~")) && len(a) > 0 && keyword(a[0].s) {
				w.add("steal", 40, "searches the machine for credentials", c.src)
				return value{s: hole, from: fromSecret, what: "credentials"}
			}
		}
	}
	if len(a) > 1 {
		v := w.input(c, 1)
		return v.blur()
	}
	v := c.io.in.blur()
	if v.from&fromRecon != 0 && len(a) > 0 && keyword(a[0].s) {
		w.add("steal", 30, "searches its environment for credentials", c.src)
		v.from, v.what = v.from|fromSecret, "credentials"
	}
	return v
}

// told gives the output of what tells of the machine; false for a "set" that sets.
func (w *walk) told(c *call) (value, bool) {
	if c.name == "set" && len(c.args) > 0 {
		return value{}, false
	}
	if c.name == "ip" && c.has("link", "route") && c.has("add", "del", "set") {
		return value{}, true
	}
	v := value{s: hole, from: fromRecon}
	if (c.name == "env" || c.name == "printenv") && len(c.args) == 0 || c.name == "getent" && c.has("shadow") {
		v.what = "the environment"
	}
	return v, true
}

// harmless gives the output of what neither reads nor changes anything that matters here.
func (w *walk) harmless(c *call) value {
	switch c.name {
	case "cd", "pushd":
		w.within = w.within || w.packed != nil
	case "pwd":
		return text("/root\n")
	case "mktemp":
		return text("/tmp/tmp.x\n")
	case "basename":
		return c.arg(0).with(path.Base(c.arg(0).s))
	}
	return value{s: hole}
}
