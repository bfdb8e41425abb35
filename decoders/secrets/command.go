package secrets

import "strings"

// Passwords that commands take without a name: mysql -px, curl -u user:x, sshpass -p x, redis-cli -a x. Options mean
// something only behind their command: the -p of ssh is a port, the -u of sudo a user, and both stay.

// programs is what takes an option, as a set.
type programs uint32

const (
	fetcher   programs = 1 << iota // curl and its like: -u user:password
	container                      // docker, and what else has -u UID:GID
	loginer                        // docker login -p
	logsIn                         // the word login behind one
	mysql                          // -ppassword, in one word
	dashP                          // -p password
	dashA                          // -a password
	dashW                          // -w password
	bigP                           // -P password
	packer                         // -ppassword in one word, also -hp
	samba                          // -U user%password
	slashP                         // /p:password
	openssl                        // -k, -K
	putty                          // -pw password
	lftp                           // -u user,password
	snmp                           // -A, -X, -c
	htpasswd                       // the third argument, with -b
	wandb                          // the argument of login
	minio                          // alias set NAME URL KEY SECRET
	feeder                         // reads what echo says before the pipe
	chpasswd                       // likewise, user:password
	talker                         // echo, printf
)

var commands = map[string]programs{
	"curl": fetcher, "wget": fetcher, "http": fetcher, "https": fetcher, "httpie": fetcher, "xh": fetcher, "ab": fetcher, "curlie": fetcher,
	"docker": container | loginer, "podman": container | loginer, "nerdctl": container | loginer, "oc": loginer, "helm": loginer, "az": loginer, "skopeo": loginer,
	"crane": loginer, "buildah": loginer, "oras": loginer, "flyctl": loginer, "cf": loginer, "npm": loginer, "kubectl": container, "chown": container,
	"install": container, "login": logsIn, "mysql": mysql, "mysqldump": mysql, "mysqladmin": mysql, "mariadb": mysql, "mariadb-dump": mysql, "mycli": mysql,
	"mysqlimport": mysql, "mysqlsh": mysql, "mysqlpump": mysql, "mysqlcheck": mysql, "mysqlslap": mysql, "mysqlshow": mysql, "xtrabackup": mysql,
	"sshpass": dashP, "mongo": dashP, "mongosh": dashP, "mongodump": dashP, "mongorestore": dashP, "mongoexport": dashP, "mongoimport": dashP, "cqlsh": dashP,
	"beeline": dashP, "rdesktop": dashP, "crackmapexec": dashP, "cme": dashP, "nxc": dashP, "netexec": dashP, "evil-winrm": dashP, "hydra": dashP,
	"medusa": dashP, "psexec": dashP, "psexec.exe": dashP, "ldapadmin": dashP, "vncpasswd": dashP, "kinit": 0, "bloodhound-python": dashP, "certipy": dashP,
	"redis-cli": dashA, "keydb-cli": dashA, "valkey-cli": dashA, "ldapsearch": dashW, "ldapadd": dashW, "ldapmodify": dashW, "ldapdelete": dashW,
	"ldapwhoami": dashW, "ldappasswd": dashW | dashA, "ldapcompare": dashW, "zip": bigP, "unzip": bigP, "sqlcmd": bigP, "bcp": bigP, "isql": bigP, "osql": bigP,
	"mosquitto_pub": bigP, "mosquitto_sub": bigP, "ipmitool": bigP, "tsql": bigP, "wpa_cli": 0, "7z": packer, "7za": packer, "7zz": packer, "7zr": packer,
	"rar": packer, "unrar": packer, "smbclient": samba, "rpcclient": samba, "winexe": samba, "smbmap": dashP | samba, "smbget": samba, "pth-winexe": samba,
	"wmic": samba, "net": samba, "xfreerdp": slashP, "wfreerdp": slashP, "xfreerdp3": slashP, "cmdkey": slashP, "openssl": openssl, "plink": putty, "pscp": putty,
	"psftp": putty, "putty": putty, "plink.exe": putty, "pscp.exe": putty, "lftp": lftp, "snmpwalk": snmp, "snmpget": snmp, "snmpset": snmp, "snmpbulkwalk": snmp,
	"htpasswd": htpasswd, "wandb": wandb, "vault": wandb, "ngrok": wandb, "huggingface-cli": wandb, "mc": minio, "sudo": feeder, "passwd": feeder,
	"cryptsetup": feeder, "smbpasswd": feeder, "gpg": feeder, "chpasswd": chpasswd, "echo": talker, "printf": talker,
}

// options are those that take a password as their next word, or behind = or right behind themselves.
var options = [...]struct {
	of     programs // all of these
	option string
	joined bool // may be in one word with its value
	alone  bool // is never in the next word
}{
	{mysql, "-p", true, true},
	{packer, "-p", true, true},
	{packer, "-hp", true, true},
	{dashP, "-p", true, false},
	{loginer | logsIn, "-p", true, false},
	{dashA, "-a", true, false},
	{dashW, "-w", true, false},
	{bigP, "-P", true, false},
	{slashP, "/p:", true, true},
	{slashP, "/pass:", true, true},
	{openssl, "-k", false, false},
	{openssl, "-K", false, false},
	{putty, "-pw", false, false},
	{snmp, "-A", false, false},
	{snmp, "-X", false, false},
	{snmp, "-c", false, false},
}

// What a byte is to the words of a command.
const (
	within  = iota
	between // a blank, a quote, a list's comma
	ends    // the command
)

var commandBytes = func() (class [256]uint8) {
	for c := range ' ' + 1 {
		class[c] = between
	}
	for _, c := range []byte(`"',[]{}\`) {
		class[c] = between
	}
	for _, c := range []byte(";&\n|`()") {
		class[c] = ends
	}
	return class
}()

// longestOption bounds a word that is looked at as an option or as a command.
const longestOption = 48

// commands goes through the words of the text with what is known of the command that they belong to.
func (m *masker) commands() {
	s := m.s
	if len(s) < 4 {
		return
	}
	var x commandState
	for i := 0; i < len(s); {
		c := s[i]
		switch class := commandBytes[c]; {
		case class == ends:
			x.ends(c, i > 0 && s[i-1] == '$')
			i++
			continue
		case class == between:
			i++
			continue
		}
		from := i
		for i < len(s) && commandBytes[s[i]] == within {
			i++
		}
		w := s[from:i]
		switch {
		case w[0] == '-' || x.has&slashP != 0 && w[0] == '/':
			i = m.commandOption(&x, from, i)
		case m.commandName(&x, w, i):
		default:
			m.commandArgument(&x, w, from, i)
		}
	}
}

// commandState is what is known of the command at hand.
type commandState struct {
	has, before programs // of this command, and of the one before the pipe
	said        [2]int   // what that one says
	argument    int      // of the words behind the command that are no options
	verb        int      // the argument where login or set stood
	batch       bool
}

// ends takes c, which ends the command. A parenthesis does only where it opens a substitution.
func (x *commandState) ends(c byte, dollar bool) {
	x.before = 0
	if c == '|' {
		x.before = x.has
	}
	if c != '(' && c != ')' || dollar {
		if x.has&talker == 0 || c != '|' {
			x.said = [2]int{}
		}
		x.has, x.argument, x.verb, x.batch = 0, 0, 0, false
	}
}

// commandOption takes the option at [from, i), and returns where what belongs to it ends.
func (m *masker) commandOption(x *commandState, from, i int) int {
	w := m.s[from:i]
	if w == "-b" || len(w) < 8 && strings.HasPrefix(w, "-") && strings.Contains(w, "b") {
		x.batch = true
	}
	if x.has&feeder != 0 && x.before&talker != 0 && (w == "-S" || w == "--stdin" || w == "--password-stdin" || w == "-s" || w == "-" || w == "--passphrase-fd") {
		m.hide(x.said[0], x.said[1])
	}
	if x.has&(loginer|logsIn) == loginer|logsIn && x.before&talker != 0 && w == "--password-stdin" {
		m.hide(x.said[0], x.said[1])
	}
	to, took := m.option(from, i, x.has)
	x.has &^= took
	return max(i, to)
}

// commandName takes the word w, which ends at i, if it names a command, or what a command does; false if it is also an
// argument, or that alone.
func (m *masker) commandName(x *commandState, w string, i int) bool {
	n, ok := commandOf(w)
	if !ok {
		return false
	}
	if n&talker != 0 && x.has == 0 {
		x.said = m.rest(i)
	}
	if n == logsIn {
		x.verb = x.argument
	}
	if n&chpasswd != 0 && x.has&chpasswd == 0 {
		m.userPass(x.said[0], x.said[1])
		m.userPass(i, min(len(m.s), i+256))
	}
	if x.has == 0 || n == logsIn || x.has&feeder != 0 {
		x.has |= n
		x.argument = 0
		return true
	}
	x.has |= n &^ (talker | feeder)
	return false
}

// commandArgument masks the word w at [from, i) if it is the argument that is a password.
func (m *masker) commandArgument(x *commandState, w string, from, i int) {
	x.argument++
	switch {
	case x.has&htpasswd != 0 && x.batch && x.argument == 3,
		x.has&(wandb|logsIn) == wandb|logsIn && x.argument == 1 && len(w) >= 8,
		x.has&minio != 0 && x.verb > 0 && x.argument == x.verb+4:
		if !masked(w) && !variable(w) {
			m.hide(from, i)
		}
	case x.has&minio != 0 && w == "set":
		x.verb = x.argument
	}
}

// commandOf knows a command by the last part of its path.
func commandOf(w string) (programs, bool) {
	if len(w) > 4*longestOption {
		return 0, false
	}
	w = w[strings.LastIndexAny(w, `/\`)+1:]
	if len(w) > longestOption {
		return 0, false
	}
	n, ok := commands[w]
	return n, ok
}

// option looks at the option s[from:to] of what has; it gives the end of what it took for its value, and what
// has taken its password by that: the words behind that of sshpass are another command.
func (m *masker) option(from, to int, has programs) (int, programs) {
	s := m.s
	w := s[from:to]
	if len(w) < 2 {
		return to, 0
	}
	if len(w) > longestOption {
		w = w[:longestOption]
	}
	name, value := w, -1
	if i := strings.IndexByte(w, '='); i > 0 {
		name, value = w[:i], from+i+1
	}
	next := func() int {
		if value >= 0 {
			return value
		}
		return m.operand(to)
	}
	for _, o := range options {
		if has&o.of != o.of || !strings.HasPrefix(w, o.option) {
			continue
		}
		switch {
		case len(w) > len(o.option) && o.joined && w[len(o.option)] != '=':
			if o.of == mysql && w[1] == 'p' && (strings.HasPrefix(w, "-port") || len(w) == len("-p")) {
				continue
			}
			return m.word(from + len(o.option)), o.of & dashP
		case (len(w) == len(o.option) || value >= 0 && name == o.option) && (!o.alone || value >= 0):
			if at := next(); at < len(s) && s[at] != '-' {
				return m.word(at), o.of & dashP
			}
		case len(w) == len(o.option) && o.alone && to < len(s) && (s[to] == '"' || s[to] == '\''): // -p'x y'
			return m.word(to), o.of & dashP
		}
	}
	if end, ok := m.user(w, name, from, has, next); ok {
		return end, 0
	}
	return to, 0
}

// operand gives where the value of an option that ends at to begins, in the next word or in the next string of a list.
func (m *masker) operand(to int) int {
	s := m.s
	i := to
	for n := 0; n < 8 && i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == ',' || s[i] == '"' || s[i] == '\'' || s[i] == '\\'); n++ {
		if (s[i] == '"' || s[i] == '\'' || s[i] == '\\') && i > to && !strings.Contains(s[to:i], ",") && strings.ContainsAny(s[to:i], " \t") {
			return i // its own quote
		}
		if (s[i] == '"' || s[i] == '\'') && strings.Contains(s[to:i], ",") {
			return i
		}
		i++
	}
	return i
}

// user masks the password of an option that holds a user with it; ok says that it is one. next gives where the
// option's value begins.
func (m *masker) user(w, name string, from int, has programs, next func() int) (end int, ok bool) {
	s := m.s
	switch {
	case has&samba != 0 && strings.HasPrefix(w, "-U"), has&samba != 0 && name == "--user":
		at := next()
		if len(w) > 2 && w[2] != '=' && w[1] == 'U' {
			at = from + 2
		}
		return m.behind(at, '%', true), true
	case has&lftp != 0 && w == "-u":
		return m.behind(next(), ',', true), true
	case has&fetcher != 0 && (name == "-b" || name == "--cookie"):
		if at := next(); at < len(s) {
			v, f, _ := m.value(at, false)
			if i := strings.IndexByte(v, '='); i > 0 && !masked(v[i+1:]) {
				m.hide(f+i+1, f+len(v))
			}
		}
	case holdsUser(w, name, has):
		return m.behind(next(), ':', has&fetcher != 0 && has&container == 0), true
	case has&fetcher != 0 && len(w) > 2 && (w[1] == 'u' || w[1] == 'U') && strings.Contains(w, ":"): // -uadmin:x
		return m.behind(from+2, ':', true), true
	case name == "-u" && has == 0:
		return m.behind(next(), ':', false), true
	}
	return 0, false
}

// holdsUser reports whether the value of an option is USER:PASSWORD.
func holdsUser(w, name string, has programs) bool {
	switch name {
	case "--user", "--proxy-user", "--userpass", "--auth", "--login", "--creds", "--preemptive-auth", "-u":
		return true
	case "-U", "-a", "-A", "-E", "--cert", "--proxy-cert":
		if has&fetcher != 0 {
			return true
		}
	}
	return has&fetcher != 0 && len(w) < 10 && w[1] != '-' && w[len(w)-1] == 'u' // -sku
}

// word masks the value at i, in its quotes or up to the next blank.
func (m *masker) word(i int) int {
	v, from, quote := m.value(i, false)
	if masked(v) || v == "" || quote != '\'' && variable(v) || runs(v) {
		return i
	}
	m.hide(from, from+len(v))
	return from + len(v)
}

// behind masks what the value at i has behind a separator. sure says that it is a password: if it is not, UID:GID and
// what is short stay, and so does what a miner has there.
func (m *masker) behind(i int, sep byte, sure bool) int {
	if i >= len(m.s) {
		return i
	}
	v, from, quote := m.value(i, false)
	at := strings.IndexByte(v, sep)
	if sep == ':' && at >= 0 && strings.Contains(v, "://") {
		return i
	}
	const wallet = 26
	if at == len(v)-1 && at >= 16 && sure { // a key alone: the user of an API
		m.hide(from, from+at)
		return from + at
	}
	if at < 0 || at == len(v)-1 || masked(v[at+1:]) || quote != '\'' && variable(v[at+1:]) || runs(v) {
		return i
	}
	pw := v[at+1:]
	if !sure && (strings.Trim(pw, "0123456789") == "" || len(pw) < 4 || at >= wallet || pw == v[:at]) {
		return i
	}
	for _, sub := range [...]string{"$(", "`"} {
		if n := strings.Index(pw, sub); n >= 0 {
			pw = pw[:n]
		}
	}
	m.hide(from+at+1, from+at+1+len(pw))
	return from + at + 1
}

// rest is what echo says: the words behind it but options, up to the end of the command.
func (m *masker) rest(i int) (span [2]int) {
	const look = 256
	s := m.s[:min(len(m.s), i+look)]
	for i < len(s) {
		i = m.blanks(i)
		if i+1 < len(s) && s[i] == '-' && wordByte(s[i+1]) {
			for i < len(s) && s[i] > ' ' {
				i++
			}
			continue
		}
		break
	}
	if i >= len(s) {
		return span
	}
	if s[i] == '"' || s[i] == '\'' {
		v, from, _ := m.value(i, false)
		return [2]int{from, from + len(v)}
	}
	from := i
	for i < len(s) && strings.IndexByte("|;&\n`)<>", s[i]) < 0 {
		i++
	}
	return [2]int{from, from + len(strings.TrimRight(s[from:i], " \t"))}
}

// userPass masks the passwords of user:password in s[from:to].
func (m *masker) userPass(from, to int) {
	for w := range strings.FieldsFuncSeq(m.s[from:to], func(r rune) bool { return r <= ' ' || strings.ContainsRune(`"'<>|;&`, r) }) {
		if u, pw, ok := strings.Cut(w, ":"); ok && u != "" && pw != "" && identifier(strings.ReplaceAll(u, "-", "")) && !variable(pw) {
			at := strings.Index(m.s[from:to], w)
			m.hide(from+at+len(u)+1, from+at+len(w))
		}
	}
}
