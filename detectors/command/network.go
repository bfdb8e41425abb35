package command

import (
	"path"
	"strings"

	"github.com/raytap/raytap/detectors/data"
)

// Options of curl(1) and wget(1) that take the next word.
const (
	curlShort = "AbcCdDeEFHhKmoPQrtTuUwxXyYz"
	wgetShort = "oaeiBtOTwQPUlARDIX"
)

var fetchLong = func() map[string]bool {
	m := map[string]bool{}
	for _, s := range strings.Fields(`output data data-ascii data-binary data-raw data-urlencode form form-string upload-file request header url user proxy max-time connect-timeout retry retry-delay retry-max-time
		user-agent referer cookie cookie-jar cacert cert key capath resolve interface json output-dir limit-rate range write-out unix-socket proto socks5 socks5-hostname preproxy noproxy doh-url continue-at aws-sigv4 oauth2-bearer
		output-document directory-prefix post-data post-file body-data body-file method tries timeout wait input-file base http-user http-password load-cookies save-cookies ca-certificate certificate private-key append-output output-file level accept reject domains execute
		dir out max-connection-per-server split`) {
		m[s] = true
	}
	return m
}()

// fetched is what a downloader was told.
type fetched struct {
	urls    []value
	output  string // "" for the name in the URL, "-" for standard output
	dir     string
	named   bool // -O of curl
	send    value
	sends   bool
	headers value
	post    bool
}

// fetchWords reads the words of a downloader.
func (w *walk) fetchWords(c *call) (f fetched) {
	short := fetchShort(c.name)
	for i := 0; i < len(c.args); i++ {
		a := c.args[i]
		s := a.s
		switch {
		case strings.HasPrefix(s, "--"):
			n, v, eq := strings.Cut(s[2:], "=")
			if eq {
				w.fetchOption(c, &f, n, a.with(v))
			} else if n == "remote-name" || n == "remote-name-all" {
				f.named = true
			} else if fetchLong[n] {
				i++
				w.fetchOption(c, &f, n, c.arg(i))
			}
		case len(s) > 1 && s[0] == '-':
			i = w.fetchCluster(c, &f, i, short)
		case s == "":
			if a.at != nil || a.from != 0 {
				f.urls = append(f.urls, a)
			}
		case httpie(c.name) && strings.Contains(s, "=") && !isURL(s):
			f.sends, f.post = true, true
			f.send = f.send.plus(a).plus(text(" "))
		case httpie(c.name) && (s == "POST" || s == "GET" || s == "PUT"):
		case len(f.urls) < 16:
			f.urls = append(f.urls, a)
		}
	}
	return f
}

// fetchShort returns the short options of a downloader that take a value.
func fetchShort(name string) string {
	switch name {
	case "curl", "curlie":
		return curlShort
	case "aria2c", "axel":
		return "doxsjkinU"
	case "http", "https":
		return "doaAp"
	}
	return wgetShort
}

// likeWget reports whether a downloader's options mean what they mean to wget and not what they mean to curl.
func likeWget(name string) bool { return name != "curl" && name != "curlie" }

// httpie reports whether a downloader is HTTPie, which takes a method and the body's fields as words.
func httpie(name string) bool { return name == "http" || name == "https" }

// fetchCluster reads the short options in word i, and returns the index of the last word that they take.
func (w *walk) fetchCluster(c *call, f *fetched, i int, short string) int {
	a := c.args[i]
	s := a.s
	for k := 1; k < len(s); k++ {
		ch := s[k : k+1]
		if ch == "O" && !likeWget(c.name) {
			f.named = true
		}
		if ch == "L" && !likeWget(c.name) || strings.IndexByte(short, s[k]) < 0 {
			continue
		}
		if k+1 < len(s) {
			w.fetchOption(c, f, ch, a.with(s[k+1:]))
			return i
		}
		w.fetchOption(c, f, ch, c.arg(i+1))
		return i + 1
	}
	return i
}

// fetchOption takes an option, by its short or long name, with its value.
func (w *walk) fetchOption(c *call, f *fetched, name string, v value) {
	wget := likeWget(c.name)
	switch name {
	case "o", "output", "out":
		if !wget || c.name == "aria2c" || c.name == "axel" || httpie(c.name) || c.name == "fetch" {
			f.output = v.s
		}
	case "O", "output-document":
		if wget {
			f.output = v.s
		}
	case "d", "data", "data-ascii", "data-binary", "data-raw", "data-urlencode", "form", "F", "json", "post-data", "body-data", "form-string":
		if name == "d" && wget {
			f.dir = v.s
			return
		}
		f.sends, f.post = true, true
		f.send = f.send.plus(w.posted(v, c.io)).plus(text(" "))
	case "T", "upload-file", "post-file", "body-file":
		if name == "T" && wget {
			return
		}
		f.sends, f.post = true, true
		if v.s == "-" {
			f.send = w.r.join(f.send, c.io.in)
		} else {
			f.send = w.r.join(f.send, w.read(v))
		}
	case "H", "header", "user-agent", "A", "U", "cookie", "b", "referer", "e", "u", "user":
		f.headers = f.headers.plus(v).plus(text("\n"))
	case "url":
		f.urls = append(f.urls, v)
	case "X", "request", "method":
		f.post = f.post || strings.EqualFold(v.s, "POST") || strings.EqualFold(v.s, "PUT")
	case "P", "directory-prefix", "output-dir", "dir":
		f.dir = v.s
	}
}

// posted is what an argument of -d or -F sends: text, a file behind @, standard input behind @-.
func (w *walk) posted(v value, io stdio) value {
	s := v.s
	if i := strings.IndexByte(s, '@'); i >= 0 && (i == 0 || s[i-1] == '=') {
		name := s[i+1:]
		if j := strings.IndexByte(name, ';'); j >= 0 {
			name = name[:j]
		}
		if name == "-" || name == "/dev/stdin" {
			return text(s[:i]).plus(io.in)
		}
		return text(s[:i]).plus(w.read(value{s: name, file: v.file}))
	}
	return v
}

// fetch judges a downloader.
func (w *walk) fetch(c *call) value {
	f := w.fetchWords(c)
	out := value{}
	if c.name == "tftp" || c.name == "ftpget" {
		f = trivialFetch(c)
	}
	if c.name == "certutil" || c.name == "bitsadmin" || c.name == "lwp-download" {
		f.urlAndFile(c.name == "lwp-download")
	}
	for _, u := range f.urls {
		if u.s == "" || strings.HasPrefix(u.s, "file:") {
			continue
		}
		p := w.r.judge.Place(u.s)
		got := value{s: hole, from: fromNet, at: p}
		w.reached(p, c.src)
		if what := w.r.judge.lists.Metadata(p.Host, p.Path); what != "" {
			got.from, got.at, got.what = got.from&^fromNet|fromSecret, nil, what
			w.add("metadata", 45, "asks the cloud for "+what, c.src)
		}
		w.fetchSends(c, &f, u, p)
		name := f.output
		if name == "" && (f.named || !toStdout(c.name)) {
			if name = path.Base(p.Path); p.Path == "" || name == "/" || strings.HasSuffix(p.Path, "/") {
				name = "index.html"
			}
		}
		if name == "" || name == "-" || name == "/dev/stdout" {
			out = w.r.join(out, got)
			continue
		}
		if f.dir != "" {
			name = path.Join(f.dir, name)
		}
		w.write(name, got, false)
	}
	return out
}

// urlAndFile is for programs that take one URL, and after it the name of the file. The first word of all may be a URL
// without a scheme.
func (f *fetched) urlAndFile(first bool) {
	for i, u := range f.urls {
		if isURL(u.s) || i == 0 && first {
			if i+1 < len(f.urls) {
				f.output = f.urls[len(f.urls)-1].s
			}
			f.urls = []value{u}
			return
		}
	}
}

// fetchSends judges what the request for u, at p, takes along.
func (w *walk) fetchSends(c *call, f *fetched, u value, p *Place) {
	body := f.send
	if f.headers.from&fromSecret != 0 && body.from&fromSecret == 0 {
		w.presents(f.headers, p, c.src)
	} else {
		body = w.r.join(body, f.headers)
	}
	if u.from&(fromSecret|fromRecon) != 0 {
		body = w.r.join(body, value{from: u.from & (fromSecret | fromRecon), what: u.what})
	}
	if f.sends || body.from&(fromSecret|fromRecon) != 0 {
		w.send(body, p, c.src, f.sends)
	}
	if f.post || f.sends {
		w.spread(p, f.send, c.src)
	}
}

// toStdout reports whether a downloader writes to its standard output if it is not told otherwise.
func toStdout(name string) bool {
	switch name {
	case "curl", "curlie", "lynx", "links", "lwp-request", "lwp-dump", "http", "https", "GET", "w3m", "elinks":
		return true
	}
	return false
}

// trivialFetch reads the words of Busybox's tftp (-g -r FILE [-l FILE] HOST) and ftpget (HOST LOCAL [REMOTE]).
func trivialFetch(c *call) (f fetched) {
	var plain []value
	remote := ""
	for i := 0; i < len(c.args); i++ {
		s := c.args[i].s
		switch {
		case s == "-r":
			i++
			remote = c.arg(i).s
		case s == "-l":
			i++
			f.output = c.arg(i).s
		case s == "-u" || s == "-p" || s == "-P" || s == "-b" || s == "-m":
			i++
		case s == "-c" && c.name == "tftp": // tftp HOST -c get FILE
			remote = c.arg(i + 2).s
			i += 2
		case strings.HasPrefix(s, "-"):
		default:
			plain = append(plain, c.args[i])
		}
	}
	if len(plain) == 0 {
		return f
	}
	if f.output == "" {
		f.output = remote
	}
	if c.name == "ftpget" && len(plain) > 1 {
		f.output = plain[1].s
	}
	f.urls = []value{plain[0].with(plain[0].s + "/" + remote)}
	return f
}

// reached notes what a place that is called says by itself.
func (w *walk) reached(p *Place, src string) {
	switch p.Kind {
	case Bare:
		w.add("fetch_ip", 20, "fetches from an address without a name", src)
	case Anybodys:
		w.add("fetch_paste", 10, "fetches from a place where anybody can leave a file", src)
	case Hostile:
		w.add("fetch_hostile", 45, "fetches from a place that reports of attacks name", src)
	}
	if p.Odd && p.Kind == Bare {
		w.add("odd_address", 40, "writes an address so that nobody reads it", src)
	}
	base := path.Base(p.Path)
	for _, end := range [...]string{".gz", ".tgz", ".tar", ".zip", ".xz", ".exe", ".sh", ".bz2"} {
		base = strings.TrimSuffix(base, end)
	}
	switch w.r.judge.lists.Program(base) {
	case data.Miner:
		w.add("fetch_miner", 65, "fetches a miner", src)
	case data.Attack:
		w.add("fetch_tool", 45, "fetches an attack tool", src)
	}
	w.calls(p, src)
	if data.SiteOf(p.Host) == data.WhoAmI {
		w.add("geo_check", 10, "asks where it is", src)
	}
}

// send judges that a value leaves for a place. whole: a program's output or a file as such, not one field of many.
func (w *walk) send(v value, p *Place, src string, whole bool) {
	if p == nil || p.Kind == Inside {
		return
	}
	bad := p.Kind == Bare || p.Kind == Anybodys || p.Kind == Hostile || w.r.judge.callback(p.Host) != ""
	switch {
	case v.from&fromSecret != 0:
		points := 60
		switch {
		case bad || p.Kind == Clear:
			points = 90
		case p.Kind == Unclear:
			points = 40
		case p.Kind == Vendor || p.Kind == Hosted:
			points = 20
		}
		w.add("exfil", points, "sends "+v.what+" to somebody", src)
	case v.from&fromRecon != 0:
		if bad || p.Kind == Clear && whole {
			points := 65
			if p.Kind == Clear {
				points = 40
			}
			w.add("send_out", points, "sends what the machine is to somebody", src)
		} else if p.Kind == Named && whole {
			w.add("send_out", 25, "sends what the machine is to somebody", src)
		}
	case whole && bad && v.from&(fromFile|fromEnv|fromSecret|fromNet) == v.from&^fromText && v.s != "":
		if v.s != "" && !v.known() {
			w.add("send_out", 35, "sends what it printed to somebody", src)
		}
	}
}

// presents judges a secret in a header: so tokens are used.
func (w *walk) presents(v value, p *Place, src string) {
	if p.TLS && p.Kind != Bare && p.Kind != Anybodys && p.Kind != Hostile {
		w.add("exfil", 5, "sends "+v.what+" to somebody", src)
		return
	}
	w.send(v, p, src, false)
}

// spread judges a request that submits a job.
func (w *walk) spread(p *Place, body value, src string) {
	if !strings.Contains(p.Path, "/api/jobs") && !strings.Contains(p.Path, "/api/job_agent/jobs") {
		return
	}
	if !strings.Contains(body.s, "entrypoint") && body.known() && body.s != "" {
		return
	}
	if i := strings.Index(body.s, "entrypoint"); i >= 0 {
		t := strings.TrimLeft(body.s[i+len("entrypoint"):], `"': `+"\\")
		if j := strings.IndexByte(t, '"'); j >= 0 {
			t = strings.TrimSuffix(t[:j], `\`)
		}
		w.code("shell", text(t))
	}
	switch {
	case p.outside():
		w.add("spread", 85, "submits jobs to other clusters", src)
	case p.Kind == Unclear:
		w.add("spread", 40, "submits jobs to other clusters", src)
	}
}

// netcat judges nc in its kinds.
func (w *walk) netcat(c *call) value {
	o := netcatWords(c)
	if o.run != "" {
		w.netcatRuns(c, &o)
		return value{}
	}
	if o.zero {
		return value{}
	}
	if o.listen {
		return value{s: hole, from: fromSocket, at: &Place{Kind: Unclear}}
	}
	p := w.r.judge.Place(o.host + ":" + o.port)
	if o.host == "" {
		p.Kind = Unclear
	}
	if c.io.set {
		w.connected(c, p)
	}
	return value{s: hole, from: fromSocket, at: p}
}

// netcatOptions is what netcat was told.
type netcatOptions struct {
	host, port string
	run        string // the program on the connection
	sh         bool   // run is for a shell
	listen     bool
	zero       bool // it only looks whether the port is open
}

// netcatWords reads the words of nc, ncat and the like.
func netcatWords(c *call) (o netcatOptions) {
	for i := 0; i < len(c.args); i++ {
		s := c.args[i].s
		switch {
		case s == "--exec" || s == "--sh-exec" || s == "--lua-exec":
			o.run, o.sh = c.arg(i+1).s, s == "--sh-exec"
			i++
		case strings.HasPrefix(s, "--exec=") || strings.HasPrefix(s, "--sh-exec="):
			_, o.run, _ = strings.Cut(s, "=")
		case strings.HasPrefix(s, "--"):
			if s == "--listen" {
				o.listen = true
			}
		case len(s) > 1 && s[0] == '-':
			i = o.cluster(c, i)
		case o.host == "":
			o.host = s
		case o.port == "":
			o.port = s
		}
	}
	return o
}

// cluster reads the short options in word i, and returns the index of the last word that they take.
func (o *netcatOptions) cluster(c *call, i int) int {
	s := c.args[i].s
	for k := 1; k < len(s); k++ {
		switch s[k] {
		case 'z':
			o.zero = true
		case 'l':
			o.listen = true
		case 'e', 'c':
			if k+1 < len(s) && (s[k+1] == '/' || s[k] == 'e' && strings.HasPrefix(s[k+1:], "sh")) {
				o.run = s[k+1:]
				return i
			}
			if k+1 == len(s) && i+1 < len(c.args) {
				i++
				o.run = c.args[i].s
			}
		case 'p', 'w', 'q', 's', 'i', 'x', 'X', 'g', 'G', 'o', 'T', 'I', 'O', 'm':
			if k+1 < len(s) { // the rest is its value
				return i
			}
			i++
			if s[k] == 'p' {
				o.port = c.arg(i).s
			}
		}
	}
	return i
}

// netcatRuns judges the program that netcat starts on the connection.
func (w *walk) netcatRuns(c *call, o *netcatOptions) {
	name := ""
	if f := strings.Fields(o.run); len(f) > 0 {
		name = programName(f[0])
	}
	if o.sh || interpreterOf(name) != "" || name == "cmd.exe" || name == "cmd" || name == "busybox" || name == "powershell.exe" {
		w.add("netcat_exec", 85, "opens a shell with netcat", c.src)
	} else {
		w.add("netcat_exec", 45, "lets netcat run a program", c.src)
	}
}

// connected judges what goes into a connection.
func (w *walk) connected(c *call, p *Place) {
	if c.io.in.from&fromSocket == 0 {
		w.send(c.io.in, p, c.src, true)
	}
}

// socat judges a relay: with a program at one end it is a shell.
func (w *walk) socat(c *call) value {
	var at *Place
	for _, a := range c.plain() {
		kind, rest, _ := strings.Cut(a.s, ":")
		switch strings.ToLower(kind) {
		case "exec", "system", "shell":
			cmd, _, _ := strings.Cut(rest, ",")
			cmd = strings.Trim(cmd, `'"`)
			f := strings.Fields(cmd)
			if len(f) > 0 && (interpreterOf(programName(f[0])) == "shell" || interpreterOf(programName(f[0])) != "" && len(f) == 1) {
				w.add("socat_exec", 85, "opens a shell with socat", c.src)
			} else if len(f) > 0 {
				w.add("socat_exec", 30, "lets socat run a program", c.src)
				w.run("shell", text(cmd), "runs", c.src)
			}
		case "tcp", "tcp4", "tcp6", "openssl", "ssl", "udp", "udp4", "tcp-connect", "tcp4-connect", "openssl-connect", "udp-connect", "sctp", "socks4a":
			at = w.r.judge.Place(rest)
		case "tcp-listen", "tcp4-listen", "openssl-listen":
			if at == nil {
				at = &Place{Kind: Unclear}
			}
		}
	}
	if at != nil && c.io.set && c.has("-", "stdin", "STDIN", "STDIO", "-u") {
		w.connected(c, at)
	}
	if at != nil && c.has("-", "STDOUT", "stdout", "STDIO") {
		return value{s: hole, from: fromSocket, at: at}
	}
	return value{}
}

func (w *walk) telnet(c *call) value {
	a := c.plain()
	if len(a) == 0 {
		return value{}
	}
	p := w.r.judge.Place(a[0].s)
	if c.io.set {
		w.connected(c, p)
	}
	return value{s: hole, from: fromSocket, at: p}
}

// openssl judges s_client, which is a connection, and enc and base64, which decode.
func (w *walk) openssl(c *call) value {
	switch c.arg(0).s {
	case "s_client":
		p := &Place{Kind: Unclear}
		for i, a := range c.args {
			if a.s == "-connect" || a.s == "-host" {
				p = w.r.judge.Place(c.arg(i + 1).s)
			}
		}
		if c.io.set && c.has("-quiet") {
			w.connected(c, p)
		}
		if !c.has("-quiet", "-ign_eof") && c.io.in.s == "" {
			return value{s: hole, from: fromFile} // looks at a certificate
		}
		return value{s: hole, from: fromSocket, at: p}
	case "enc", "base64", "aes-256-cbc", "des3", "aes-128-cbc", "bf":
		in := c.io.in
		out := ""
		for i, a := range c.args {
			switch a.s {
			case "-in":
				in = w.read(c.arg(i + 1))
			case "-out":
				out = c.arg(i + 1).s
			}
		}
		v := in
		switch {
		case !c.has("-d", "-D"):
			v = in.blur()
		case c.arg(0).s == "base64" || c.has("-base64", "-a") && !c.has("-aes-256-cbc", "-k", "-pass", "-aes-128-cbc", "-des3", "-K", "-pbkdf2"):
			v = w.decode(in, unBase64)
		default:
			v = in.blur()
			v.from |= fromDecode | fromOpaque
		}
		if out != "" {
			w.write(out, v, false)
			return value{}
		}
		return v
	}
	return value{s: hole, from: fromFile}
}

// ssh judges what is run on another machine, and tunnels.
func (w *walk) ssh(c *call) value {
	args := c.args
	if c.name == "sshpass" {
		i := 0
		for i < len(args) && programName(args[i].s) != "ssh" && programName(args[i].s) != "scp" {
			i++
		}
		if i < len(args) {
			w.add("ssh_password", 10, "logs in with a password in the command", c.src)
			return w.command(args[i:], c.io, c.src)
		}
		return value{}
	}
	o := w.sshWords(c)
	name := o.host.s
	if j := strings.LastIndexByte(name, '@'); j >= 0 {
		name = name[j+1:]
	}
	p := w.r.judge.Place(strings.TrimPrefix(name, "ssh://"))
	if o.reverse && p.outside() {
		points := 45
		if p.Kind == Bare || data.SiteOf(p.Host) == data.Tunnel {
			points = 60
		}
		w.add("tunnel", points, "makes something inside reachable from outside", c.src)
	}
	if i := o.command; i < len(args) {
		v := (&call{args: args[i:]}).joined()
		before := w.r.Score()
		w.run("shell", v, "runs", c.src)
		if w.r.Score()-before >= 60 && (o.loose || !o.host.known()) {
			w.add("ssh_spread", 25, "runs it on other machines over SSH", c.src)
		}
		if c.io.set && interpreterOf(programName(args[i].s)) == "shell" && len(args) == i+1 {
			w.run("shell", c.io.in, "pipes", c.src)
		}
	}
	if c.io.set && p.outside() {
		w.send(c.io.in, p, c.src, false)
	}
	return value{s: hole, from: fromFile}
}

// sshOptions is what ssh was told.
type sshOptions struct {
	host    value
	command int  // the index of the command's first word
	reverse bool // -R: a port there leads here
	loose   bool // any host key will do
}

// sshWords reads the words of ssh up to the command, and judges options that run one here.
func (w *walk) sshWords(c *call) (o sshOptions) {
	for ; o.command < len(c.args); o.command++ {
		a := c.args[o.command]
		s := a.s
		if len(s) < 2 || s[0] != '-' {
			if o.host.s != "" {
				break
			}
			if o.host = a; s == "" {
				break
			}
			continue
		}
		if strings.Contains(s, "R") && !strings.HasPrefix(s, "-o") {
			o.reverse = true
		}
		set := ""
		if s == "-o" {
			set = c.arg(o.command + 1).s
		} else {
			set, _ = strings.CutPrefix(s, "-o")
		}
		if cmd, ok := cutFold(set, "ProxyCommand="); ok {
			if strings.HasPrefix(strings.TrimSpace(cmd), ";") {
				w.add("gtfo", 60, "runs a command through an option", c.src)
			}
			w.run("shell", text(cmd), "runs", c.src)
		}
		o.loose = o.loose || strings.EqualFold(set, "StrictHostKeyChecking=no")
		if len(s) == 2 && strings.IndexByte("bcDEeFIiJLlmOopQRSWw", s[1]) >= 0 {
			o.command++
		}
	}
	return o
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// copyOut judges scp and rsync.
func (w *walk) copyOut(c *call) value {
	a := c.plain()
	for i, x := range c.args {
		if (x.s == "-e" || x.s == "--rsh" || x.s == "-S") && i+1 < len(c.args) {
			cmd := c.args[i+1].s
			if f := strings.Fields(cmd); len(f) > 0 && interpreterOf(programName(f[0])) != "" {
				w.add("gtfo", 60, "runs a command through an option", c.src)
				w.run("shell", text(cmd), "runs", c.src)
			}
		}
	}
	if len(a) < 2 {
		return value{}
	}
	place := func(s string) *Place {
		i := strings.IndexByte(s, ':')
		if i <= 0 || strings.Contains(s[:i], "/") {
			if isURL(s) || strings.HasPrefix(s, "rsync://") {
				return w.r.judge.Place(s)
			}
			return nil
		}
		return w.r.judge.Place(s[strings.IndexByte(s[:i], '@')+1 : i])
	}
	to := a[len(a)-1]
	if p := place(to.s); p != nil {
		for _, f := range a[:len(a)-1] {
			w.send(w.read(f), p, c.src, false)
		}
		return value{}
	}
	for _, f := range a[:len(a)-1] {
		if p := place(f.s); p != nil {
			name := path.Base(f.s)
			if !strings.HasSuffix(to.s, "/") && path.Base(to.s) != "." && strings.Contains(path.Base(to.s), path.Ext(f.s)) {
				name = path.Base(to.s)
			}
			w.write(name, value{s: hole, from: fromNet, at: p}, false)
		}
	}
	return value{}
}

// git judges a clone: what lies in it may be run.
func (w *walk) git(c *call) value {
	for i, a := range c.args {
		if a.s == "-c" {
			if k, v, ok := strings.Cut(c.arg(i+1).s, "="); ok && (strings.HasSuffix(k, "pager") || strings.HasSuffix(k, "editor") || k == "core.sshCommand" || strings.HasPrefix(k, "alias.")) {
				w.run("shell", text(strings.TrimPrefix(v, "!")), "runs", c.src)
			}
		}
	}
	if !c.has("clone", "pull", "fetch") {
		return value{}
	}
	for _, a := range c.plain() {
		if isURL(a.s) || strings.HasPrefix(a.s, "git@") || strings.HasPrefix(a.s, "git://") {
			u := a.s
			if rest, ok := strings.CutPrefix(u, "git@"); ok {
				u = "ssh://" + strings.Replace(rest, ":", "/", 1)
			}
			p := w.r.judge.Place(u)
			w.reached(p, c.src)
			if p.Kind == Bare || p.Kind == Anybodys || p.Kind == Hostile {
				w.packed = p
			}
		}
	}
	return value{}
}

// packages judges installers: what they fetch from a URL is run.
func (w *walk) packages(c *call) {
	for i, a := range c.args {
		s := a.s
		if _, v, ok := strings.Cut(s, "="); ok && strings.HasPrefix(s, "-") {
			s = v
		}
		s = strings.TrimPrefix(s, "git+")
		if j := strings.Index(s, "@ "); j >= 0 {
			s = strings.TrimPrefix(strings.TrimSpace(s[j+1:]), "git+")
		}
		if j := strings.Index(s, "://"); j > 0 && !isURL(s) || !isURL(s) {
			if f := w.files[path.Base(s)]; f != nil && i > 0 && f.from&fromNet != 0 && f.at != nil && strings.Contains(s, ".") {
				w.add("fetch_run", f.at.kept(true, true), "downloads a package and installs it", f.at.URL+" ... "+c.src)
			}
			continue
		}
		w.pkg(w.r.judge.Place(s), w.where, c.src)
	}
}

// pkg rates a package, or an index of packages, by where it lies.
func (w *walk) pkg(p *Place, where, src string) {
	points, says := p.Package()
	w.r.Add("remote_package", points*w.scale/100, says, where, src)
}

// Package rates what is installed from a place.
func (p *Place) Package() (points int, says string) {
	switch p.Kind {
	case Bare:
		return 65, "installs a package from an address without a name"
	case Hostile:
		return 80, "installs a package from a place that reports of attacks name"
	case Anybodys:
		return 60, "installs a package from a place where anybody can leave a file"
	case Raw:
		return 35, "installs a package from somebody's repository"
	case Clear:
		return 35, "installs a package over plain HTTP"
	}
	return 0, ""
}

// ray judges jobs that a job submits.
func (w *walk) ray(c *call) value {
	for i, a := range c.args {
		if a.s == "--" && i+1 < len(c.args) {
			w.run("shell", (&call{args: c.args[i+1:]}).joined(), "runs", c.src)
		}
		addr := ""
		if a.s == "--address" {
			addr = c.arg(i + 1).s
		} else if v, ok := strings.CutPrefix(a.s, "--address="); ok {
			addr = v
		}
		if addr != "" && c.has("submit") {
			if p := w.r.judge.Place(addr); p.Kind == Bare {
				w.add("spread", 45, "submits jobs to other clusters", c.src)
			}
		}
	}
	return value{s: hole}
}

// container judges docker and its kin: images are judged elsewhere; what leads out of a container is not.
func (w *walk) container(c *call) value {
	privileged, root := false, false
	img := -1
	run := c.has("run", "exec", "create")
	for i := 0; i < len(c.args) && run && img < 0; i++ {
		s := c.args[i].s
		switch {
		case s == "--privileged" || s == "--pid=host" || s == "--cap-add=ALL":
			privileged = true
		case s == "-v" || s == "--volume" || s == "--mount":
			v := c.arg(i + 1).s
			root = root || strings.HasPrefix(v, "/:") || strings.Contains(v, "source=/,") || strings.Contains(v, "src=/,")
			i++
		case strings.HasPrefix(s, "-v/:"):
			root = true
		case containerValued(s):
			i++
		case strings.HasPrefix(s, "-"):
		case s == "run" || s == "exec" || s == "create" || s == "container":
		default:
			img = i
		}
	}
	if root {
		points := 45
		if privileged || c.has("chroot") {
			points = 75
		}
		w.add("escape", points, "leaves its container", c.src)
	}
	if img >= 0 && img+1 < len(c.args) {
		return w.command(c.args[img+1:], c.io, c.src)
	}
	return value{s: hole}
}

// containerValued reports whether an option of docker run takes the next word.
func containerValued(s string) bool {
	switch s {
	case "-e", "--env", "-p", "--name", "-w", "--network", "--net", "--entrypoint", "-u", "--gpus", "--shm-size", "--ipc", "--user", "--env-file",
		"-m", "--cpus", "--memory", "-H", "--pid", "--ulimit", "--platform", "--runtime":
		return true
	}
	return false
}

func (w *walk) kubectl(c *call) value {
	for i, a := range c.args {
		if a.s == "--" && i+1 < len(c.args) {
			return w.command(c.args[i+1:], c.io, c.src)
		}
	}
	if c.has("get") && c.has("secret", "secrets") && c.has("-A", "--all-namespaces") {
		w.add("steal", 45, "reads the secrets of Kubernetes", c.src)
		return value{s: hole, from: fromSecret, what: "the secrets of Kubernetes"}
	}
	if c.has("apply", "create") {
		for i, a := range c.args {
			if (a.s == "-f" || a.s == "--filename") && isURL(c.arg(i+1).s) {
				if p := w.r.judge.Place(c.arg(i + 1).s); p.Kind == Bare || p.Kind == Hostile || p.Kind == Anybodys {
					w.add("remote_package", 65, "applies a manifest from an address without a name", c.src)
				}
			}
		}
	}
	return value{s: hole}
}

// terminal judges screen and tmux.
func (w *walk) terminal(c *call) value {
	for i := 0; i < len(c.args); i++ {
		s := c.args[i].s
		if strings.HasPrefix(s, "-") {
			if strings.HasSuffix(s, "S") || s == "-s" || s == "-n" || s == "-c" || s == "-t" || s == "-X" || strings.HasSuffix(s, "S") && strings.HasPrefix(s, "-d") {
				i++
			}
			continue
		}
		switch s {
		case "new-session", "new", "new-window", "neww", "split-window", "run-shell", "send-keys", "send", "stuff":
			continue
		}
		if strings.ContainsAny(s, " ;|") {
			w.run("shell", c.args[i], "runs", c.src)
			return value{}
		}
		// screen -dmS name cmd: the name went with -S.
		w.command(c.args[i:], stdio{}, c.src)
		return value{}
	}
	return value{}
}

// windows judges PowerShell and its neighbours by their words: Ray runs there, too.
func (w *walk) windows(c *call) value {
	t := c.joined().s
	for i, a := range c.args {
		low := strings.ToLower(a.s)
		if len(low) > 1 && low[0] == '-' && strings.HasPrefix("-encodedcommand", low) && low[1] == 'e' {
			if b, ok := rawBase64(c.arg(i + 1).s); ok {
				t = fromUTF16(b)
				w.add("decode_run", 60, "decodes a text and runs it", c.src)
				w.r.keep(t)
			}
		}
	}
	low := strings.ToLower(t)
	net := strings.Contains(low, "downloadstring") || strings.Contains(low, "invoke-webrequest") || strings.Contains(low, "iwr ") || strings.Contains(low, "downloadfile") || strings.Contains(low, "net.webclient") || strings.Contains(low, "invoke-restmethod")
	runs := strings.Contains(low, "iex") || strings.Contains(low, "invoke-expression") || strings.Contains(low, "start-process")
	if strings.Contains(low, "net.sockets.tcpclient") && (runs || strings.Contains(low, "getstream")) {
		w.add("socket_shell", 85, "opens a shell on a socket", c.src)
	}
	if (net && runs) || (c.name == "mshta" || c.name == "regsvr32" || c.name == "rundll32") && strings.Contains(low, "http") {
		if p := w.firstURL(t); p != nil {
			w.add("pipe_to_shell", p.piped(), "runs a download in a shell", c.src)
		}
	}
	if c.name == "cmd" {
		w.run("shell", text(t[max(0, strings.Index(t, "/c ")+3)%max(len(t), 1):]), "runs", c.src)
	}
	return value{s: hole}
}

// firstURL finds a URL in a text.
func (w *walk) firstURL(s string) *Place {
	for _, scheme := range [...]string{"http://", "https://", "ftp://"} {
		if i := strings.Index(strings.ToLower(s), scheme); i >= 0 {
			u := s[i:]
			if j := strings.IndexAny(u, " '\"`)(;|<>\n\t,"); j > 0 {
				u = u[:j]
			}
			return w.r.judge.Place(u)
		}
	}
	return nil
}
