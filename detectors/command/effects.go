package command

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"compress/zlib"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// echo gives what echo and printf print.
func (w *walk) echo(c *call) value {
	args := c.args
	if c.name == "echo" {
		escapes := false
		for len(args) > 0 && len(args[0].s) > 1 && args[0].s[0] == '-' && strings.Trim(args[0].s[1:], "neE") == "" {
			escapes = escapes || strings.Contains(args[0].s, "e")
			args = args[1:]
		}
		v := (&call{args: args}).joined()
		if escapes {
			v = w.escapes(v)
		}
		return v.plus(text("\n"))
	}
	if len(args) > 0 && args[0].s == "-v" {
		v := w.printf(args[min(2, len(args)):])
		w.set(c.arg(1).s, v)
		return value{}
	}
	if len(args) > 0 && args[0].s == "--" {
		args = args[1:]
	}
	return w.printf(args)
}

// escapes undoes \x41 and its kin. Letters that are written so are hidden.
func (w *walk) escapes(v value) value {
	s := ansiC(v.s)
	if strings.Contains(v.s, `\x`) || strings.Contains(v.s, `\0`) || strings.Contains(v.s, `\1`) || strings.Contains(v.s, `\u`) {
		v.from |= fromDecode
	}
	return v.with(s)
}

func (w *walk) printf(args []value) (out value) {
	if len(args) == 0 {
		return out
	}
	format := w.escapes(args[0])
	rest := args[1:]
	for rounds := 0; rounds < 64; rounds++ {
		used := false
		s := format.s
		for i := 0; i < len(s); {
			j := strings.IndexByte(s[i:], '%')
			if j < 0 {
				out = w.r.join(out, format.with(s[i:]))
				break
			}
			out = w.r.join(out, format.with(s[i:i+j]))
			i += j + 1
			for i < len(s) && strings.IndexByte("-+ #0123456789.", s[i]) >= 0 {
				i++
			}
			if i >= len(s) {
				break
			}
			verb := s[i]
			i++
			if verb == '%' {
				out = w.r.join(out, text("%"))
				continue
			}
			var v value
			if len(rest) > 0 {
				v, rest, used = rest[0], rest[1:], true
			}
			switch verb {
			case 'b':
				v = w.escapes(v)
			case 'c':
				if v.s != "" {
					v = v.with(v.s[:1])
				}
			}
			out = w.r.join(out, v)
		}
		if len(rest) == 0 || !used {
			break
		}
	}
	return out
}

// decode applies a decoder to a value, if there is work left for it.
func (w *walk) decode(v value, f func(string) (string, bool)) value {
	if !w.r.cost(decodeUnits * len(v.s)) {
		return decode(v, func(string) (string, bool) { return "", false })
	}
	out := decode(v, f)
	w.r.cost(decodeUnits * len(out.s))
	return out
}

// decode applies a decoder to a value.
func decode(v value, f func(string) (string, bool)) value {
	t, ok := f(v.s)
	if v.from&fromOpaque == 0 && strings.TrimSpace(v.plain()) == "" { // nothing of it stands here
		v.from &^= fromText
	}
	v.from |= fromDecode
	if !v.known() || !ok {
		v.from |= fromOpaque
		return v.blur().with(hole)
	}
	return v.with(t)
}

func rawBase64(s string) ([]byte, bool) {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, s)
	s = strings.TrimRight(s, "=")
	if s == "" {
		return nil, false
	}
	enc := base64.RawStdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.RawURLEncoding
	}
	b, err := enc.DecodeString(s)
	if err != nil && len(b) < 8 {
		return nil, false
	}
	return b, len(b) > 0
}

// inflated undoes gzip, zlib and bzip2, if b is one; the output is bounded.
func inflated(b []byte) ([]byte, bool) {
	if len(b) < 4 {
		return b, true
	}
	var r io.Reader
	switch {
	case b[0] == 0x1f && b[1] == 0x8b:
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, false
		}
		r = z
	case b[0] == 0x78 && (int(b[0])<<8|int(b[1]))%31 == 0: // RFC 1950 section 2.2
		z, err := zlib.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, false
		}
		r = z
	case string(b[:3]) == "BZh":
		r = bzip2.NewReader(bytes.NewReader(b))
	default:
		return b, true
	}
	out, err := io.ReadAll(io.LimitReader(r, maxValue))
	return out, err == nil || len(out) > 0
}

// readable gives text as such. Bytes that are compressed stay as they are: a later step may undo it.
func readable(b []byte) (string, bool) {
	if len(b) > 3 && (b[0] == 0x1f && b[1] == 0x8b || string(b[:3]) == "BZh" || b[0] == 0x78 && (int(b[0])<<8|int(b[1]))%31 == 0) || bytes.HasPrefix(b, []byte("\x7fELF")) {
		return string(b), true
	}
	bad := 0
	for _, c := range b {
		if c < 0x20 && c != '\n' && c != '\t' && c != '\r' && c != 0x1b || c == 0x7f {
			bad++
		}
	}
	if !utf8.Valid(b) || bad*20 > len(b) {
		return "", false
	}
	return strings.ReplaceAll(string(b), hole, ""), true
}

func unBase64(s string) (string, bool) {
	b, ok := rawBase64(s)
	if !ok {
		return "", false
	}
	return readable(b)
}

func unBase32(s string) (string, bool) {
	s = strings.TrimRight(strings.ToUpper(strings.Join(strings.Fields(s), "")), "=")
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(s)
	if err != nil {
		return "", false
	}
	return readable(b)
}

func unHex(s string) (string, bool) {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == ' ' || r == ':' || r == '\\' || r == 'x' {
			return -1
		}
		return r
	}, s)
	b, err := hex.DecodeString(s)
	if err != nil || len(b) == 0 {
		return "", false
	}
	return readable(b)
}

func unzip(s string) (string, bool) {
	b, ok := inflated([]byte(s))
	if !ok {
		return "", false
	}
	return readable(b)
}

func reversed(s string) (string, bool) {
	r := []rune(s)
	for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
		r[i], r[j] = r[j], r[i]
	}
	return string(r), true
}

func reverseLines(s string) (string, bool) {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for i := range lines {
		lines[i], _ = reversed(lines[i])
	}
	return strings.Join(lines, "\n") + "\n", true
}

func rot13(s string) (string, bool) {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return 'a' + (r-'a'+13)%26
		case r >= 'A' && r <= 'Z':
			return 'A' + (r-'A'+13)%26
		}
		return r
	}, s), true
}

func fromUTF16(b []byte) string {
	if len(b) > 3 && b[1] == 0 && b[3] == 0 {
		out := make([]byte, 0, len(b)/2)
		for i := 0; i+1 < len(b); i += 2 {
			if b[i+1] == 0 && b[i] != 0 {
				out = append(out, b[i])
			}
		}
		return string(out)
	}
	return strings.ToValidUTF8(string(b), "")
}

// input is what a filter reads: its files, or its standard input.
func (w *walk) input(c *call, skip int) value {
	a := c.plain()
	if skip < len(a) {
		a = a[skip:]
	} else {
		a = nil
	}
	if len(a) == 0 || len(a) == 1 && a[0].s == "-" {
		return c.io.in
	}
	var v value
	for _, f := range a {
		if f.s == "-" || f.s == "/dev/stdin" || strings.HasPrefix(f.s, "/dev/fd/") && f.file == nil || strings.HasPrefix(f.s, "<&") {
			v = w.r.join(v, c.io.in)
			continue
		}
		v = w.r.join(v, w.secret(f, c))
	}
	return v
}

// secret reads a file, and notes when it holds credentials.
func (w *walk) secret(f value, c *call) value {
	v := w.read(f)
	if v.from&fromSecret != 0 && v.what != "" && f.file == nil {
		points := 45
		if strings.Contains(f.s, "/serviceaccount/") { // so pods speak to their own cluster
			points = 30
		}
		w.add("steal", points, "reads "+v.what, c.src)
	}
	return v
}

// keyword says that somebody who searches for a word looks for credentials.
func keyword(s string) bool {
	low := strings.ToLower(s)
	for _, k := range [...]string{"password", "passwd", "secret", "aws_", "api_key", "apikey", "token", "akia", "private key", "credential", "sk-"} {
		if strings.Contains(low, k) {
			return true
		}
	}
	return false
}

// tr applies a constant transliteration.
func (w *walk) tr(c *call) value {
	a := c.plain()
	v := c.io.in
	if len(a) == 0 || !v.known() || !a[0].known() || strings.Contains(c.arg(0).s, "c") && strings.HasPrefix(c.arg(0).s, "-") {
		return v.blur()
	}
	from := trSet(ansiC(a[0].s))
	if c.has("-d", "--delete") {
		out := strings.Map(func(r rune) rune {
			if strings.ContainsRune(from, r) {
				return -1
			}
			return r
		}, v.s)
		if letters(from) {
			v.from |= fromDecode
		}
		return v.with(out)
	}
	if len(a) < 2 {
		return v
	}
	to := trSet(ansiC(a[1].s))
	if to == "" || from == "" {
		return v.blur()
	}
	f, t := []rune(from), []rune(to)
	m := map[rune]rune{}
	for i, r := range f {
		if i < len(t) {
			m[r] = t[i]
		} else {
			m[r] = t[len(t)-1]
		}
	}
	if letters(from) && !strings.EqualFold(from, to) {
		v.from |= fromDecode
	}
	return v.with(strings.Map(func(r rune) rune {
		if x, ok := m[r]; ok {
			return x
		}
		return r
	}, v.s))
}

func letters(s string) bool {
	return strings.ContainsAny(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
}

// trSet writes a set of tr(1) out.
func trSet(s string) string {
	for _, c := range [...][2]string{{"[:lower:]", "abcdefghijklmnopqrstuvwxyz"}, {"[:upper:]", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}, {"[:digit:]", "0123456789"}, {"[:space:]", " \n\t"}} {
		s = strings.ReplaceAll(s, c[0], c[1])
	}
	var b strings.Builder
	r := []rune(s)
	for i := 0; i < len(r) && b.Len() < 1024; i++ {
		if i+2 < len(r) && r[i+1] == '-' && r[i+2] >= r[i] && r[i+2]-r[i] < 256 {
			for x := r[i]; x <= r[i+2]; x++ {
				b.WriteRune(x)
			}
			i += 2
			continue
		}
		if r[i] == '[' || r[i] == ']' {
			continue
		}
		b.WriteRune(r[i])
	}
	return b.String()
}

// sed applies a substitution of constants.
func (w *walk) sed(c *call) value {
	a := c.plain()
	v := c.io.in
	if len(a) == 0 {
		return v.blur()
	}
	e := a[0].s
	if len(a) > 1 {
		v = w.input(c, 1)
		if c.has("-i", "-i.bak", "-ie") {
			for _, f := range a[1:] {
				w.persist(f.s, text(e), true)
			}
			return value{}
		}
	}
	if len(e) > 4 && e[0] == 's' && v.known() {
		f := strings.Split(e[1:], e[1:2])
		if len(f) >= 4 && f[1] != "" && !strings.ContainsAny(f[1], `.*[]^$\`) && !strings.ContainsAny(f[2], `\&`) && len(v.s)/len(f[1])*len(f[2]) < maxValue {
			n := 1
			if strings.Contains(f[3], "g") {
				n = -1
			}
			return v.with(strings.Replace(v.s, f[1], f[2], n))
		}
	}
	if (strings.HasPrefix(e, "1e ") || strings.HasPrefix(e, "1!e") || strings.HasSuffix(e, "/e")) && len(e) > 3 {
		w.add("gtfo", 40, "runs a command through an option", c.src)
		w.run("shell", text(strings.TrimPrefix(e, "1e ")), "runs", c.src)
	}
	if !strings.HasPrefix(e, "s") && !strings.HasPrefix(e, "y") { // lines are chosen
		return v
	}
	return v.blur()
}

// xargs judges a program whose arguments come from a pipe.
func (w *walk) xargs(c *call) value {
	i := 0
	repl := ""
	for ; i < len(c.args); i++ {
		s := c.args[i].s
		if len(s) < 2 || s[0] != '-' {
			break
		}
		if strings.HasPrefix(s, "-I") || strings.HasPrefix(s, "-i") {
			if repl = s[2:]; repl == "" {
				i++
				repl = c.arg(i).s
			}
			continue
		}
		if len(s) == 2 && strings.IndexByte("nLPsdEajS", s[1]) >= 0 {
			i++
		}
	}
	args := append([]value(nil), c.args[min(i, len(c.args)):]...)
	if len(args) == 0 {
		if c.name == "parallel" {
			w.run("shell", c.io.in, "pipes", c.src)
		}
		return c.io.in
	}
	item := c.io.in
	item.s = strings.TrimSpace(item.s)
	if repl == "" && c.name == "parallel" {
		repl = "{}"
	}
	used := false
	if repl != "" {
		for k := range args {
			if strings.Contains(args[k].s, repl) {
				v := item.with(strings.ReplaceAll(args[k].s, repl, item.s))
				v.from |= args[k].from
				args[k], used = v, true
			}
		}
	}
	if !used {
		if item.known() && item.s != "" {
			for _, f := range strings.Fields(item.s)[:min(len(strings.Fields(item.s)), 256)] {
				args = append(args, item.with(f))
			}
		} else if item.s != "" {
			args = append(args, item)
		}
	}
	// xargs sh: what comes in is the name of a script; xargs -I{} sh -c {}: code.
	name := programName(args[0].s)
	if c.io.in.from&(fromNet|fromSocket) != 0 && interpreterOf(name) == "shell" {
		w.run("shell", c.io.in, "pipes", c.src)
		return value{s: hole}
	}
	return w.command(args, stdio{}, c.src)
}

// find judges -exec.
func (w *walk) find(c *call) value {
	secret := false
	found := c.arg(0).s + "/*"
	for i, a := range c.args {
		if a.s == "-name" || a.s == "-iname" {
			found = strings.TrimSuffix(c.arg(0).s, "/") + "/" + c.arg(i+1).s
		}
	}
	for i, a := range c.args {
		switch a.s {
		case "-exec", "-execdir", "-ok":
			var cmd []value
			for _, b := range c.args[i+1:] {
				if b.s == ";" || b.s == "+" || b.s == `\;` {
					break
				}
				cmd = append(cmd, b.with(strings.ReplaceAll(b.s, "{}", found)))
			}
			if len(cmd) > 0 {
				if interpreterOf(programName(cmd[0].s)) == "shell" && len(cmd) == 1 {
					w.add("interactive_shell", 35, "opens an interactive shell", c.src)
				}
				w.command(cmd, stdio{}, c.src)
			}
		case "-name", "-iname", "-path", "-wholename":
			n := c.arg(i + 1).s
			secret = secret || w.r.judge.lists.Secret("/x/"+strings.TrimPrefix(n, "*")) != "" || n == "id_rsa*" || n == "*.pem" || n == "credentials" || n == "id_rsa" || n == ".env" || strings.Contains(n, "wallet")
		case "-perm":
			if strings.Contains(c.arg(i+1).s, "4000") || strings.Contains(c.arg(i+1).s, "u=s") || strings.Contains(c.arg(i+1).s, "6000") {
				w.add("privilege", 45, "looks for a way to become root", c.src)
			}
		}
	}
	if secret && (c.arg(0).s == "/" || strings.HasPrefix(c.arg(0).s, "/root") || strings.HasPrefix(c.arg(0).s, "/home") || strings.HasPrefix(c.arg(0).s, "~")) {
		w.add("steal", 40, "searches the machine for credentials", c.src)
		return value{s: hole, from: fromSecret, what: "credentials"}
	}
	return value{s: hole}
}

// unpack judges tar and unzip.
func (w *walk) unpack(c *call) value {
	create := c.name == "zip"
	if c.name == "tar" || c.name == "bsdtar" {
		create = w.tar(c)
	}
	if create {
		return w.pack(c)
	}
	if c.io.set && c.io.in.from&fromNet != 0 {
		w.packed = worse(w.packed, c.io.in.at)
	}
	for _, a := range c.plain() {
		if a.file != nil && a.file.from&fromNet != 0 {
			w.packed = worse(w.packed, a.file.at)
		}
		if f := w.files[path.Base(a.s)]; f != nil && f.from&fromNet != 0 && f.at != nil {
			w.packed = worse(w.packed, f.at)
		}
	}
	if c.has("-O", "-xzO", "--to-stdout", "-p", "-xO", "-xOzf", "-xzOf") || strings.Contains(c.arg(0).s, "O") && strings.HasPrefix(c.name, "tar") {
		v := w.input(&call{name: "tar", args: nil, io: c.io}, 0)
		if w.packed != nil {
			return value{s: hole, from: fromNet | fromPacked, at: w.packed}
		}
		return v.blur()
	}
	return value{}
}

// tar judges the commands that tar runs through its options, and reports whether it makes an archive.
func (w *walk) tar(c *call) (creates bool) {
	if m := c.arg(0).s; m != "" {
		mode := strings.TrimLeft(m, "-")
		creates = strings.Contains(mode[:min(len(mode), 6)], "c") && !strings.HasPrefix(m, "--") || m == "--create"
	}
	for i, a := range c.args {
		v, ok := strings.CutPrefix(a.s, "--checkpoint-action=")
		if a.s == "--checkpoint-action" {
			v, ok = c.arg(i+1).s, true
		}
		if cmd, isExec := strings.CutPrefix(v, "exec="); ok && isExec {
			w.add("gtfo", 60, "runs a command through an option", c.src)
			w.run("shell", text(cmd), "runs", c.src)
		}
		if cmd, ok := strings.CutPrefix(a.s, "--to-command="); ok {
			w.run("shell", text(cmd), "runs", c.src)
		}
	}
	return creates || c.has("-c", "--create")
}

// pack judges what goes into an archive, and returns the archive.
func (w *walk) pack(c *call) value {
	var v value
	out := ""
	for i, a := range c.plain() {
		if i == 0 && c.name != "zip" && !strings.HasPrefix(c.arg(0).s, "-") {
			continue
		}
		if s := w.read(a); s.from&fromSecret != 0 {
			v = w.r.join(v, s)
		} else if a.s == "~/.ssh" || strings.HasSuffix(a.s, "/.ssh") || strings.HasSuffix(a.s, "/.aws") || strings.HasSuffix(a.s, "/.kube") || a.s == "/etc" {
			v = w.r.join(v, value{s: hole, from: fromSecret, what: "credentials"})
		}
		if out == "" && (strings.HasSuffix(a.s, "gz") || strings.HasSuffix(a.s, ".tar") || strings.HasSuffix(a.s, ".zip")) {
			out = a.s
		}
	}
	if v.from&fromSecret != 0 {
		w.add("steal", 45, "packs "+v.what, c.src)
	}
	if v.s == "" {
		v = value{s: hole, from: fromFile}
	}
	if out != "" {
		w.write(out, v.blur(), false)
	}
	return v.blur()
}

func worse(a, b *Place) *Place {
	if a == nil || b != nil && b.kept(false, true) > a.kept(false, true) {
		return b
	}
	return a
}

// embedded judges programs whose options hold commands.
func (w *walk) embedded(c *call) {
	for i, a := range c.args {
		s := a.s
		if rules, ok := strings.CutPrefix(s, "--eval="); ok && c.name == "make" {
			for line := range strings.Lines(rules) {
				if cmd, ok := strings.CutPrefix(line, "\t"); ok {
					w.run("shell", text(strings.TrimLeft(cmd, "@-+")), "runs", c.src)
				}
			}
		}
		switch {
		case c.name == "gdb" && s == "-ex", (c.name == "vim" || c.name == "vi") && (s == "-c" || s == "--cmd"), c.name == "expect" && s == "-c", c.name == "emacs" && s == "--eval", c.name == "make" && s == "--eval", c.name == "make" && s == "-s":
			v := c.arg(i + 1).s
			for _, p := range [...]string{":!", "!", "python ", ":py ", ":py3 ", "spawn ", "$(shell "} {
				if j := strings.Index(v, p); j >= 0 && j < 4 {
					t := strings.TrimSuffix(v[j+len(p):], ")")
					lang := "shell"
					if strings.Contains(p, "py") {
						lang = "python"
					}
					if f := strings.Fields(t); len(f) > 0 && interpreterOf(programName(f[0])) == "shell" {
						w.add("gtfo", 60, "opens a shell through an option", c.src)
					}
					w.run(lang, text(t), "runs", c.src)
				}
			}
		}
	}
}

// system judges what changes the machine; false if c does not.
func (w *walk) system(c *call) (value, bool) {
	for _, known := range [...]func(*walk, *call) (value, bool){
		(*walk).systemFiles, (*walk).systemShell, (*walk).systemServices, (*walk).systemKernel, (*walk).systemCloud,
	} {
		if v, ok := known(w, c); ok {
			return v, true
		}
	}
	return value{}, false
}

// persistent tells what starts what is written into a file; "" if nothing does.
// It is whole because it is one table of places, each matched in its own way.
func persistent(p string) string {
	base := path.Base(p)
	switch {
	case strings.HasPrefix(p, "/etc/cron") || strings.HasPrefix(p, "/var/spool/cron") || p == "/etc/anacrontab":
		return "cron"
	case strings.HasPrefix(p, "/etc/systemd/") || strings.HasPrefix(p, "/lib/systemd/") || strings.HasPrefix(p, "/usr/lib/systemd/") || strings.Contains(p, "/.config/systemd/") || strings.HasPrefix(p, "/etc/init.d/") || base == "rc.local" || strings.HasPrefix(p, "/etc/init/") || strings.HasPrefix(p, "/etc/rc.d") || strings.Contains(p, "/autostart/") || strings.HasPrefix(p, "/etc/supervisor"):
		return "service"
	case base == ".bashrc" || base == ".profile" || base == ".bash_profile" || base == ".zshrc" || base == ".bash_login" || p == "/etc/profile" || strings.HasPrefix(p, "/etc/profile.d/") || p == "/etc/bash.bashrc" || p == "/etc/environment" || base == "sitecustomize.py" || base == "usercustomize.py":
		return "login"
	case base == "authorized_keys" || base == "authorized_keys2":
		return "keys"
	case p == "/etc/ld.so.preload":
		return "preload"
	case strings.HasPrefix(p, "/etc/sudoers"):
		return "sudo"
	case p == "/etc/passwd" || p == "/etc/shadow":
		return "users"
	case p == "/etc/hosts":
		return "hosts"
	case strings.HasPrefix(p, "/proc/sys/kernel/core_pattern") || strings.HasSuffix(p, "/release_agent"):
		return "escape"
	}
	return ""
}

// persist judges what is written to where it outlives the job.
func (w *walk) persist(name string, v value, add bool) {
	what := name + ": " + v.plain()
	fetched := v.from&(fromNet|fromSocket) != 0
	switch persistent(name) {
	case "cron":
		w.cron(v, what)
	case "service":
		before := w.r.Score()
		for line := range strings.Lines(v.s) {
			if k, cmd, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasPrefix(k, "Exec") {
				w.run("shell", text(strings.TrimLeft(cmd, "-@+!:")), "runs", what)
			}
		}
		if !strings.Contains(v.s, "Exec") {
			w.code("shell", v)
		}
		points := 25
		if fetched || w.r.Score()-before >= 30 {
			points = 50
		}
		w.add("service", points, "installs a service", what)
	case "login":
		before := w.r.Score()
		if strings.HasSuffix(name, ".py") {
			w.code("python", v)
		} else {
			w.code("shell", v)
		}
		points := 5
		if fetched || w.r.Score()-before >= 30 {
			points = 50
		}
		w.add("persist", points, "changes what runs at login", what)
	case "keys":
		points := 15
		if fetched {
			points = 85
		} else if strings.Contains(v.s, "ssh-") || strings.Contains(v.s, "ecdsa-") || v.from&fromDecode != 0 {
			points = 60
		}
		w.add("persist", points, "lets somebody log in by a key", what)
	case "preload":
		w.add("persist", 75, "loads a library into every program", what)
	case "sudo":
		w.add("persist", 30, "changes who may become root", what)
	case "users":
		if !strings.Contains(v.s, ":") && v.known() {
			return
		}
		w.add("account", 65, "makes an account", what)
	case "hosts":
		if entry := w.blocks(v.s); entry {
			w.add("rivals", 30, "blocks mining pools of others", what)
		}
	case "escape":
		w.add("escape", 80, "leaves its container", what)
	}
}

// blocks says that lines for /etc/hosts lead a pool nowhere.
func (w *walk) blocks(s string) bool {
	for _, f := range strings.Fields(s)[:min(len(strings.Fields(s)), 64)] {
		if e, _ := w.r.judge.pools.Name(f); e != "" {
			return true
		}
	}
	return false
}

// cron judges lines of a crontab.
func (w *walk) cron(v value, src string) {
	before := w.r.Score()
	for line := range strings.Lines(v.s) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		n := 5
		if line[0] == '@' {
			n = 1
		}
		rest := line
		for range n {
			rest = strings.TrimLeft(rest, " \t")
			if i := strings.IndexAny(rest, " \t"); i >= 0 {
				rest = rest[i:]
			} else {
				rest = ""
			}
		}
		rest = strings.TrimSpace(rest)
		if u, cmd, ok := strings.Cut(rest, " "); ok && (u == "root" || u == "nobody" || u == "ray") {
			rest = cmd
		}
		w.run("shell", text(rest), "runs", src)
	}
	points := 30
	if v.from&(fromNet|fromSocket|fromDecode) != 0 || w.r.Score()-before >= 30 {
		points = 50
	}
	w.add("cron", points, "installs a cron job", src)
}

// words judges a text that is no shell text: cut into commands and words, with no more than quotes undone.
func (w *walk) words(s string) {
	var in value
	set := false
	n := 0
	for s != "" && n < 512 {
		cmd, sep, rest := nextCommand(s)
		s = rest
		n++
		if len(cmd) > 0 {
			out := w.command(cmd, stdio{in: in, set: set}, clipShown(plainWords(cmd)))
			in, set = out, true
		}
		if sep != '|' {
			in, set = value{}, false
		}
	}
	if n == 512 {
		w.r.Cut = true
	}
}

func clipShown(s string) string { return s[:min(len(s), 4*maxShown)] }

func plainWords(cmd []value) string {
	var b strings.Builder
	for i, v := range cmd {
		if i > 0 {
			b.WriteByte(' ')
		}
		if b.Len() > 4*maxShown {
			break
		}
		b.WriteString(v.s)
	}
	return b.String()
}

// nextCommand cuts the words of the first command off, and says what ends it.
func nextCommand(s string) (cmd []value, sep byte, rest string) {
	var cur []byte
	have := false
	flush := func() {
		if have && len(cmd) < 256 {
			if w := strings.TrimRight(strings.TrimLeft(string(cur), "({"), "`"); !beforeCommand(w) {
				cmd = append(cmd, text(w))
			}
		}
		cur, have = nil, false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '\'', '"':
			j := strings.IndexByte(s[i+1:], c)
			if j < 0 {
				continue // one that is not closed is none
			}
			cur, have = append(cur, s[i+1:i+1+j]...), true
			i += j + 1
		case '\\':
			if i+1 < len(s) {
				i++
				cur, have = append(cur, s[i]), true
			}
		case ' ', '\t', ')':
			flush()
		case ';', '\n', '|', '&', '`':
			flush()
			if c == '`' && len(cmd) == 0 {
				continue
			}
			if i+1 < len(s) && s[i+1] == c && (c == '|' || c == '&') {
				return cmd, ';', s[i+2:]
			}
			return cmd, c, s[i+1:]
		case '$':
			if i+1 < len(s) && s[i+1] == '(' {
				flush()
				if len(cmd) > 0 {
					return cmd, ';', s[i+2:]
				}
				i++
				continue
			}
			cur, have = append(cur, c), true
		case '>', '<':
			flush()
			// The file is no argument; what is written there is not followed.
			for i+1 < len(s) && strings.IndexByte("> &<", s[i+1]) >= 0 {
				i++
			}
			for i+1 < len(s) && strings.IndexByte(" ;|&\n", s[i+1]) < 0 {
				i++
			}
		default:
			cur, have = append(cur, c), true
		}
	}
	flush()
	return cmd, 0, ""
}

// beforeCommand reports whether a word is one that the shell's grammar has before a command.
func beforeCommand(w string) bool {
	return w == "then" || w == "do" || w == "else" || w == "if" || w == "while" || w == "!" || w == ""
}

// number reads a constant of Python or shell.
func number(s string) (int, bool) {
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 0, 64)
	return int(n), err == nil
}
