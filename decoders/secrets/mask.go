package secrets

import (
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// maxMask bounds what Mask looks at; what lies behind is cut off, not shown unmasked.
	maxMask = 1 << 20
	// maxValue bounds a value in quotes: a line's worth of password.
	maxValue = 4 << 10
	// maxUserinfo bounds name and password in a URL.
	maxUserinfo = 1 << 10
	// maskTries and maskTryBytes bound the regular expressions that one text costs: so many, and one more for so many
	// bytes of it. Beyond them what stands around the keyword is masked without a closer look.
	maskTries    = 64
	maskTryBytes = 64
	// Of a value this long the length is told, which helps to recognise it. Of a shorter one it would help to guess it.
	tellLength = 16
	// hidden is what stands in a value's place.
	hidden = "***"
)

// publicPrefixes are beginnings that all keys of a kind share; they stay. What follows one of them is masked even where
// it has not the length or the checksum of a key: it may be cut off, or of a form that is newer than the rules.
var publicPrefixes = [...]string{
	"AKIA", "ASIA", "ABIA", "ACCA", "LTAI", "hf_", "api_org_", "sk-proj-", "sk-svcacct-", "sk-admin-", "sk-ant-", "sk-or-v1-", "sk-live_", "sk-", "sk_live_",
	"sk_test_", "rk_live_", "rk_test_", "whsec_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "gldt-", "glrt-", "glcbt-", "xoxa-",
	"xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-", "xapp-", "AIza", "ya29.", "GOCSPX-", "npm_", "pypi-", "dckr_pat_", "nvapi-", "gsk_", "r8_", "wandb_v1_",
	"xai-", "pplx-", "lsv2_pt_", "lsv2_sk_", "pcsk_", "dapi", "dop_v1_", "doo_v1_", "SG.", "hvs.", "hvb.", "glsa_", "tskey-", "AGE-SECRET-KEY-1", "eyJ",
}

// Words that Mask stops at, beside the keywords of the rules and publicPrefixes.
var (
	nameWords = [...]string{"token", "secret", "passw", "passphrase", "passcode", "pass", "pwd", "pw", "key", "credential", "creds", "signature", "sig", "jwt",
		"sessid", "sessionid", "bearer", "auth", "cookie"}
	schemeWords = [...]string{"bearer ", "basic "}
)

// What a word of the automaton is for, below the numbers of rules.
const (
	wordName int32 = -1 - iota
	wordScheme
	wordURL
	wordAt
	wordPrefix // publicPrefixes[wordPrefix-n]
)

// words is the automaton of Mask with the rules.
type maskWords struct {
	rules []Rule
	words *automaton
}

var masking = sync.OnceValue(func() *maskWords {
	rules := builtin().rules
	by := map[string][]int32{}
	var words []string
	add := func(w string, what int32) {
		w = strings.ToLower(w)
		if by[w] == nil {
			words = append(words, w)
		}
		if !slices.Contains(by[w], what) {
			by[w] = append(by[w], what)
		}
	}
	for i, p := range publicPrefixes {
		add(p, wordPrefix-int32(i))
	}
	for _, w := range nameWords {
		add(w, wordName)
	}
	for _, w := range schemeWords {
		add(w, wordScheme)
	}
	add("://", wordURL)
	add("@", wordAt)
	for i := range rules {
		switch rules[i].check {
		case "named", "environment": // by names
		default:
			for _, k := range rules[i].keywords {
				add(k, int32(i))
			}
		}
	}
	lists := make([][]int32, len(words))
	for i, w := range words {
		lists[i] = by[w]
	}
	return &maskWords{rules, newAutomaton(words, lists)}
})

// Mask replaces the credentials in a text that is to be shown: what the rules know, values of names such as TOKEN,
// password or X-Api-Key however they are assigned (environment, JSON, YAML, options, query strings, headers, XML),
// passwords in URLs, what Authorization headers have behind their scheme, and what commands take as a password (-u of
// curl, -p of mysql and its like, see command.go). It is the one place that decides this for everything that leaves the
// program.
//
// What is left tells what it was: the name, the public beginning of a key, and the length of a long value. Nothing but
// the value goes: commands in it (a substitution, a URL) stay. Masking twice is masking once. It takes linear time.
func Mask(s string) string {
	m := masker{s: s[:min(len(s), maxMask)]}
	m.scan()
	m.commands()
	if len(m.spans) == 0 && len(s) <= maxMask {
		return s
	}
	return m.text(len(s) > maxMask)
}

// MaskAll masks each of a list, which stays as it is.
func MaskAll(list []string) []string {
	var out []string
	for i, s := range list {
		if t := Mask(s); t != s {
			if out == nil {
				out = slices.Clone(list)
			}
			out[i] = t
		}
	}
	if out == nil {
		return list
	}
	return out
}

// masker is the look at one text.
type masker struct {
	s     string
	spans [][2]int // what is to be masked, in any order
	named int      // the end of the last name that was looked at, or of its value if that is masked
	run   int      // the end of the last key that was found by its beginning
	plain [2]int   // the last value without quotes
	tries int
}

func (m *masker) hide(from, to int) {
	if from < to && !masked(m.s[from:]) {
		m.spans = append(m.spans, [2]int{from, to})
	}
}

// hideValue is hide, for what a name has; there are no names in it.
func (m *masker) hideValue(from, to int) {
	m.hide(from, to)
	m.named = max(m.named, to)
}

// masked says whether s begins with what Mask leaves of a value.
func masked(s string) bool {
	if strings.HasPrefix(s, hidden) {
		return true
	}
	i := strings.Index(s[:min(len(s), 24)], hidden)
	return i > 0 && slices.Contains(publicPrefixes[:], s[:i])
}

// text gives what is left.
func (m *masker) text(cut bool) string {
	slices.SortFunc(m.spans, func(a, b [2]int) int {
		if a[0] != b[0] {
			return a[0] - b[0]
		}
		return b[1] - a[1]
	})
	var b strings.Builder
	at := 0
	for i := 0; i < len(m.spans); {
		from, to := m.spans[i][0], m.spans[i][1]
		for i++; i < len(m.spans) && m.spans[i][0] < to; i++ {
			to = max(to, m.spans[i][1])
		}
		b.WriteString(m.s[at:from])
		v := m.s[from:to]
		b.WriteString(public(v))
		b.WriteString(hidden)
		if len(v) >= tellLength {
			b.WriteString("(" + strconv.Itoa(len(v)) + ")")
		}
		at = to
	}
	b.WriteString(m.s[at:])
	if cut {
		b.WriteString("\u2026")
	}
	return b.String()
}

// public is the longest beginning of a value that all keys of its kind share.
func public(v string) string {
	best := ""
	for _, p := range publicPrefixes {
		if len(p) > len(best) && len(v) > 2*len(p) && strings.HasPrefix(v, p) {
			best = p
		}
	}
	return best
}

func (m *masker) scan() {
	w := masking()
	w.words.findString(m.s, func(end int, x word) bool {
		start := end - x.length
		for _, what := range x.rules {
			switch {
			case what >= 0:
				m.rule(&w.rules[what], start, end)
			case what == wordName:
				m.name(start, end)
			case what == wordScheme:
				m.scheme(start, end)
			case what == wordURL:
				m.url(start, end)
			case what == wordAt:
				m.at(start)
			default:
				m.prefix(publicPrefixes[wordPrefix-what], start, end)
			}
		}
		return true
	})
}

// begins says that a word may begin at i.
func (m *masker) begins(i int) bool {
	if i == 0 || !wordByte(m.s[i-1]) || m.s[i-1] == '_' {
		return true
	}
	return i > 1 && m.s[i-2] == '\\' && (m.s[i-1] == 'n' || m.s[i-1] == 't' || m.s[i-1] == 'r') || percent(m.s[:i])
}

// percent says that s ends with a percent escape.
func percent(s string) bool {
	n := len(s)
	return n >= 3 && s[n-3] == '%' && hexByte(s[n-2]) && hexByte(s[n-1])
}

func hexByte(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func letterOrDigit(c byte) bool { return wordByte(c) && c != '_' }

// keyByte is what keys of services consist of.
func keyByte(c byte) bool {
	return wordByte(c) || c == '-' || c == '.' || c == '~' || c == '+' || c == '/'
}

// rule masks what a rule finds.
func (m *masker) rule(r *Rule, start, end int) {
	if start < m.run || !r.inner && !m.begins(start) {
		return
	}
	switch r.check {
	case "pem":
		m.pem(start)
		return
	case "jwt", "jwt-kubernetes", "url":
		return // by its beginning; by its scheme
	}
	if r.ID == "putty-key" {
		m.putty(end)
		return
	}
	from := start - r.lead
	if from < 0 {
		return
	}
	if m.tries++; m.tries > maskTries+len(m.s)/maskTryBytes {
		to := end
		for to < len(m.s) && keyByte(m.s[to]) {
			to++
		}
		m.hide(start, to)
		m.run = to
		return
	}
	loc := r.regex.FindStringSubmatchIndex(m.s[from:min(from+r.max, len(m.s))])
	if loc == nil {
		return
	}
	if len(loc) > 2 && loc[2] >= 0 {
		loc = loc[2:]
	}
	m.hide(from+loc[0], from+loc[1])
}

// pem masks a private key from the line behind its first on, to its last or the end of the text.
func (m *masker) pem(start int) {
	line, rest, ok := strings.Cut(m.s[start+len("-----BEGIN "):], "-----")
	if !ok || len(line) > 40 || !strings.HasSuffix(line, "PRIVATE KEY") && !strings.HasSuffix(line, "PRIVATE KEY BLOCK") {
		return
	}
	from := len(m.s) - len(rest)
	to := len(m.s)
	if i := strings.Index(rest, "-----END "); i >= 0 {
		to = from + i
	}
	for from < to && (m.s[from] == '\n' || m.s[from] == '\r') {
		from++
	}
	m.hide(from, to)
	m.run = max(m.run, to)
}

func (m *masker) putty(end int) {
	i := strings.Index(m.s[end:min(len(m.s), end+maxValue)], "Private-Lines:")
	if i < 0 {
		return
	}
	from := end + i + len("Private-Lines:")
	to := len(m.s)
	if j := strings.Index(m.s[from:], "Private-MAC"); j >= 0 {
		to = from + j
	}
	m.hide(from, to)
	m.run = max(m.run, to)
}

// prefix masks a key that is known by its beginning.
func (m *masker) prefix(p string, start, end int) {
	const least = 10
	if start < m.run || m.s[start:end] != p || !m.begins(start) {
		return
	}
	var k keyKinds
	to := end
	dots := p == "eyJ" || strings.HasSuffix(p, ".")
	likely := func() bool {
		return k.upper && k.lower || k.digits && (k.upper || k.lower) && (!k.joints || to-end >= 2*least) || p == "AKIA" || p == "ASIA"
	}
	for ; to < len(m.s); to++ {
		if to-end == defaultMax && !likely() {
			return
		}
		if c := m.s[to]; !k.take(c) && (c != '.' || !dots) {
			break
		}
	}
	if to-end < least || !likely() {
		return
	}
	if p == "eyJ" && !strings.Contains(m.s[end:to], ".") && to-end < 2*least {
		return
	}
	m.hide(start, to)
	m.run = to
}

// keyKinds is which kinds of bytes a key has.
type keyKinds struct{ digits, upper, lower, joints bool }

// take notes c, and reports whether keys consist of such.
func (k *keyKinds) take(c byte) bool {
	switch {
	case c >= '0' && c <= '9':
		k.digits = true
	case c >= 'A' && c <= 'Z':
		k.upper = true
	case c >= 'a' && c <= 'z':
		k.lower = true
	case c == '_' || c == '-':
		k.joints = true
	default:
		return false
	}
	return true
}

// scheme masks what stands behind Bearer and Basic, wherever that is.
func (m *masker) scheme(start, end int) {
	if !m.begins(start) {
		return
	}
	for end < len(m.s) && m.s[end] == ' ' {
		end++
	}
	to, digits, upper := end, false, false
	for ; to < len(m.s) && (keyByte(m.s[to]) || m.s[to] == '='); to++ {
		digits = digits || m.s[to] >= '0' && m.s[to] <= '9'
		upper = upper || to > end && m.s[to] >= 'A' && m.s[to] <= 'Z'
	}
	const least, sure = 8, 20
	v := strings.TrimRight(m.s[end:to], ".")
	basic := m.s[start]|0x20 == 'b' && m.s[start+1]|0x20 == 'a'
	switch {
	case len(v) < least:
	case basic && (!digits && !upper && !strings.HasSuffix(v, "=") || strings.ContainsAny(v, "-_.~")):
	case !basic && !digits && !upper && len(v) < sure && strings.Trim(v, "abcdefghijklm") != "" && !strings.Contains(strings.ToLower(m.s[max(0, start-20):start]), "authorization"):
	default:
		m.hide(end, end+len(v))
	}
}

// url masks the user part of the URL whose :// is at [start, end).
func (m *masker) url(start, end int) {
	to, at := end, -1
	for ; to < len(m.s) && to-end < maxUserinfo; to++ {
		c := m.s[to]
		if c == '@' {
			at = to
		}
		if c <= ' ' || strings.IndexByte("/?#\"'<>`\\|", c) >= 0 {
			break
		}
	}
	if at < 0 {
		return
	}
	from := start
	for from > 0 && start-from < 20 && (letterOrDigit(m.s[from-1]) || m.s[from-1] == '+' || m.s[from-1] == '.' || m.s[from-1] == '-') {
		from--
	}
	if strings.HasPrefix(strings.ToLower(m.s[from:start]), "stratum") {
		return // the user is a wallet, and the password a worker's name
	}
	const isToken = 16 // a name alone is rarely as long
	user, pw, ok := strings.Cut(m.s[end:at], ":")
	switch {
	case !ok:
		if len(user) >= isToken || public(user) != "" {
			m.hide(end, at)
		}
	case pw == "" || pw == "x-oauth-basic":
		if len(user) >= isToken/2 {
			m.hide(end, end+len(user))
		}
	case variable(pw):
	default:
		m.hide(end+len(user)+1, at)
		if len(user) > isToken && !strings.ContainsAny(user, ".@%") {
			m.hide(end, end+len(user))
		}
	}
}

// at masks the password of user:password@host without a scheme.
func (m *masker) at(at int) {
	const maxUser = 64
	if at+1 >= len(m.s) || !letterOrDigit(m.s[at+1]) && m.s[at+1] != '[' && m.s[at+1] != '$' || strings.HasPrefix(m.s[at+1:], "sha256:") || strings.HasPrefix(m.s[at+1:], "sha512:") {
		return
	}
	i := at
	for i > 0 && at-i < 256 && m.s[i-1] > ' ' && !strings.ContainsRune(`:/@"'<>,;|&()=`+"`", rune(m.s[i-1])) {
		i--
	}
	if i == 0 || m.s[i-1] != ':' || at-i < 3 {
		return
	}
	colon := i - 1
	u := colon
	letter := false
	for u > 0 && colon-u < maxUser && (wordByte(m.s[u-1]) || m.s[u-1] == '.' || m.s[u-1] == '-' || m.s[u-1] == '%' || m.s[u-1] == '+') {
		u--
		letter = letter || m.s[u]|0x20 >= 'a' && m.s[u]|0x20 <= 'z'
	}
	if !letter || u >= 3 && m.s[u-3:u] == "://" || variable(m.s[i:at]) {
		return
	}
	switch strings.ToLower(m.s[u:colon]) {
	case "mailto", "sip", "sips", "acct", "xmpp", "to", "cc", "bcc", "from", "by", "email", "mail", "reply-to":
		return
	}
	m.hide(i, at)
}

// nameOf is what a name says of its value.
type nameOf uint8

const (
	nothing  nameOf = iota
	queried         // a secret in a query string: key, auth
	keyed           // of something: API_KEY
	secret          // TOKEN, password
	header          // Authorization: its scheme stays
	biscuits        // Cookie
)

// Last parts of names that are about a secret, and have none.
var about = map[string]bool{
	"file": true, "files": true, "filename": true, "path": true, "dir": true, "url": true, "uri": true, "name": true, "names": true, "type": true, "length": true,
	"len": true, "count": true, "size": true, "limit": true, "expiry": true, "expires": true, "expiration": true, "ttl": true, "version": true, "policy": true,
	"mode": true, "method": true, "field": true, "endpoint": true, "host": true, "port": true, "arn": true, "ref": true, "store": true, "provider": true,
	"class": true, "required": true, "enabled": true, "prefix": true, "suffix": true, "format": true, "algorithm": true, "algo": true, "hint": true,
	"stdin": true, "fd": true, "env": true, "command": true, "cmd": true, "audience": true, "issuer": true, "scope": true, "index": true, "usage": true,
}

// Keys that open nothing.
var plainKeys = map[string]bool{
	"public": true, "pub": true, "sort": true, "primary": true, "foreign": true, "partition": true, "cache": true, "group": true, "routing": true, "row": true,
	"hash": true, "lookup": true, "dict": true, "map": true, "object": true, "config": true, "order": true, "column": true, "unique": true, "host": true,
	"known": true, "idempotency": true, "registry": true, "resource": true, "prefix": true, "hot": true, "any": true, "press": true, "shard": true,
	"label": true, "annotation": true, "metadata": true, "json": true, "internal_kv": true, "kv": true, "node": true, "worker": true, "job": true, "actor": true,
}

var (
	secretEnds = [...]string{"token", "secret", "password", "passwd", "passphrase", "passcode", "passwort", "apikey", "accesskey", "secretkey", "privatekey",
		"authkey", "masterkey", "credential", "credentials", "sessid", "sessionid"}
	passOf = " db my user root admin ssh ftp smtp mail imap redis pg mysql sql ldap sudo http proxy keystore truststore login "
)

// nameKind judges a name by its parts: DB_PASSWORD, apiKey, x-auth-token, client.secret.
func nameKind(name string) nameOf {
	parts, n := partsOf(name)
	if n == 0 {
		return nothing
	}
	all := parts[:n]
	last := all[n-1]
	if last == "id" && n > 1 && (all[n-2] == "secret" || all[n-2] == "key") {
		all = all[:n-1]
		last = all[len(all)-1]
	}
	switch {
	case last == "authorization":
		return header
	case last == "cookie":
		return biscuits
	case about[last] || last == "id":
		return nothing
	}
	best := nothing
	for i, p := range all {
		switch p {
		case "pass", "pwd", "pw", "creds", "jwt", "signature", "sig", "bearer":
			return secret
		case "key":
			if i == 0 {
				best = max(best, queried)
			} else if !plainKeys[all[i-1]] {
				best = max(best, keyed)
			}
			continue
		case "auth":
			if n == 1 {
				best = max(best, queried)
			}
			continue
		}
		for _, w := range secretEnds {
			if strings.HasSuffix(p, w) {
				return secret
			}
		}
		if w, ok := strings.CutSuffix(p, "pass"); ok && strings.Contains(passOf, " "+w+" ") {
			return secret
		}
	}
	return best
}

// partsOf cuts a name into its words, in lower case and without digits at their ends; n of them, the first eight.
func partsOf(name string) (parts [8]string, n int) {
	low := strings.ToLower(name)
	begin := 0
	put := func(to int) {
		if to > begin {
			p := strings.TrimRight(low[begin:to], "0123456789")
			if p != "" && n < len(parts) {
				parts[n] = p
				n++
			}
		}
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_' || c == '-' || c == '.':
			put(i)
			begin = i + 1
		case c >= 'A' && c <= 'Z' && i > begin && name[i-1] >= 'a' && name[i-1] <= 'z':
			put(i)
			begin = i
		}
	}
	put(len(name))
	return parts, n
}

func nameByte(c byte) bool { return wordByte(c) || c == '-' || c == '.' }

// name looks at the name around the word at [start, end), and at what is assigned to it.
func (m *masker) name(start, end int) {
	if start < m.named {
		return
	}
	s := m.s
	i, j := start, end
	for i > 0 && start-i < maxName && nameByte(s[i-1]) && !(i > 1 && escapedString(s, i-1)) {
		if percent(s[:i]) {
			break
		}
		i--
	}
	for j < len(s) && j-end < maxName && nameByte(s[j]) {
		j++
	}
	m.named = j
	option := s[i] == '-'
	for i < j && (s[i] == '-' || s[i] == '.') {
		i++
	}
	k := nameKind(s[i:j])
	if k == nothing {
		return
	}
	query := i > 0 && (s[i-1] == '?' || s[i-1] == '&' || s[i-1] == ';') || percent(s[:i])
	m.assigned(j, k, option, query, i > 0 && s[i-1] == '<')
}

func escapedString(s string, i int) bool {
	return i > 0 && s[i-1] == '\\' && (s[i] == 'n' || s[i] == 't' || s[i] == 'r')
}

// assigned masks the value of a name that ends at j.
func (m *masker) assigned(j int, k nameOf, option, query, tag bool) {
	s := m.s
	i, quoted := m.closing(j)
	blank := i
	i = m.blanks(i)
	spaces := i - blank
	if i >= len(s) {
		return
	}
	switch {
	case s[i] == '=' || s[i] == ':':
		m.separated(i, k, spaces, quoted, option, query)
	case strings.HasPrefix(s[i:], "%3D"), strings.HasPrefix(s[i:], "%3d"), strings.HasPrefix(s[i:], "%3A"), strings.HasPrefix(s[i:], "%3a"):
		if spaces == 0 {
			m.valueOf(i+3, k, true, true, true, false)
		}
	case tag && s[i] == '>':
		if to := strings.IndexByte(s[i:min(len(s), i+maxValue)], '<'); to > 1 {
			m.hide(i+1, i+to)
		}
	case k < secret && k != keyed || k > secret:
	case quoted && option && s[i] == ',': // ["--password", "x"]
		if at := m.blanks(i + 1); at < len(s) && (s[at] == '"' || s[at] == '\'' || s[at] == '\\') {
			m.valueOf(at, k, false, false, true, true)
		}
	case s[i] == '(' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\''): // setPassword("x")
		m.valueOf(i+1, k, false, false, true, false)
	case spaces > 0 && option && s[i] != '-' && !quoted:
		m.valueOf(i, k, false, false, true, true)
	case spaces > 0 && !option && !quoted: // aws configure set aws_secret_access_key x
		m.spaced(i)
	}
}

// closing passes the quotes and the bracket that may end a name at j, and reports whether there are any.
func (m *masker) closing(j int) (i int, quoted bool) {
	s := m.s
	i = j
	for n := 0; n < 6 && i < len(s) && (s[i] == '\\' || s[i] == '"' || s[i] == '\'' || quoted && s[i] == ']'); n++ {
		if s[i] == '\\' && !(i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\'' || s[i+1] == '\\')) {
			break
		}
		quoted = quoted || s[i] != '\\'
		i++
	}
	return i, quoted
}

// separated masks what stands behind the = or : at i, which may be == or =>.
func (m *masker) separated(i int, k nameOf, spaces int, quoted, option, query bool) {
	s := m.s
	sep := s[i]
	if spaces > 0 && !quoted && sep == ':' && spaces > 1 {
		return
	}
	i++
	if i < len(s) && (s[i] == '=' || s[i] == '>' && sep == '=') {
		i++
	}
	at := m.blanks(i)
	if k == queried && !query {
		switch {
		case sep == '=' && strings.HasPrefix(s[at:], "(") && !query: // auth=("user", "password")
			m.pair(at + 1)
		case quoted && sep == ':': // the auth of a registry
			if v, from, _ := m.value(at, false); len(v) >= tellLength && base64Text(v) {
				m.hide(from, from+len(v))
			}
		}
		return
	}
	switch k {
	case header:
		m.authorization(at)
	case biscuits:
		if sep == ':' {
			m.line(at)
		}
	default:
		m.valueOf(at, k, query, false, sep == '=' || quoted || option || query, option)
	}
}

// spaced masks the word at i, behind a name and a blank, if it looks like a key.
func (m *masker) spaced(i int) {
	v, from, _ := m.value(i, false)
	letters, digits := false, false
	for n := range len(v) {
		letters = letters || v[n]|0x20 >= 'a' && v[n]|0x20 <= 'z'
		digits = digits || v[n] >= '0' && v[n] <= '9'
		if !keyByte(v[n]) && v[n] != '=' {
			return
		}
	}
	if len(v) >= tellLength && letters && digits && !strings.HasPrefix(v, "/") && !strings.HasPrefix(v, ".") && !strings.Contains(v, "//") {
		m.hide(from, from+len(v))
	}
}

func base64Text(s string) bool {
	return strings.Trim(s, base62+"+/=") == ""
}

// blanks skips a few spaces.
func (m *masker) blanks(i int) int {
	for n := 0; n < 8 && i < len(m.s) && (m.s[i] == ' ' || m.s[i] == '\t'); n++ {
		i++
	}
	return i
}

// value gives the value that begins at i, in its quotes or without, and where it is.
func (m *masker) value(i int, encoded bool) (v string, from int, quote byte) {
	s := m.s
	slashes := 0
	for i+slashes < len(s) && slashes < 4 && s[i+slashes] == '\\' {
		slashes++
	}
	from = i
	if q := i + slashes; q < len(s) && (s[q] == '"' || s[q] == '\'') {
		from, quote = q+1, s[q]
		part := s[from:min(len(s), from+maxValue)]
		if n := quotedLen(part, quote, slashes); n >= 0 {
			return part[:n], from, quote
		} // no end: up to the next blank
	}
	if !encoded && from >= m.plain[0] && from < m.plain[1] {
		return s[from:m.plain[1]], from, quote
	}
	for i = from; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c == 0x7f || strings.IndexByte("\"'`&;,|}<>)]", c) >= 0 {
			break
		}
		if c == '\\' && i+1 < len(s) && strings.IndexByte("nrtu0\"'\\", s[i+1]) >= 0 {
			break
		}
		if c == '$' && i+1 < len(s) && (s[i+1] == '(' || s[i+1] == '{') {
			break
		}
		if encoded && c == '%' && i+2 < len(s) {
			switch strings.ToUpper(s[i+1 : i+3]) {
			case "26", "3B", "20", "0A", "0D", "22", "27", "2C", "7D", "3C", "5C":
				return s[from:i], from, quote
			}
		}
	}
	if !encoded {
		m.plain = [2]int{from, i}
	}
	return s[from:i], from, quote
}

// quotedLen returns the length of the value at the beginning of s that ends with a quote like the one before it, which had
// so many backslashes; -1 if none does.
func quotedLen(s string, quote byte, slashes int) int {
	for at := 0; at < len(s); at++ {
		if s[at] != quote {
			continue
		}
		back := 0
		for back < at && s[at-1-back] == '\\' {
			back++
		}
		if quote == '\'' && slashes == 0 || back <= slashes && (back == slashes || slashes == 0 && back%2 == 0) {
			return at - min(back, slashes)
		}
	}
	return -1
}

// variable says that a value is one of the shell, which is no secret.
func variable(v string) bool {
	return len(v) > 1 && v[0] == '$' && (wordByte(v[1]) || v[1] == '{' || v[1] == '(') || strings.HasPrefix(v, "`")
}

// Values that say nothing.
var empties = map[string]bool{
	"true": true, "false": true, "null": true, "none": true, "nil": true, "undefined": true, "required": true, "optional": true, "yes": true, "no": true,
}

// valueOf masks the value at i of a name of kind k. strict: it is surely assigned, however short. option: by an option.
func (m *masker) valueOf(i int, k nameOf, query, encoded, strict, option bool) {
	if i >= len(m.s) || masked(m.s[i:]) {
		return
	}
	v, from, quote := m.value(i, encoded)
	if masked(v) || v == "" || len(v) < 12 && empties[strings.ToLower(v)] {
		return
	}
	if option {
		n, elsewhere := passSource(v)
		from, v = from+n, v[n:]
		if elsewhere || n > 0 && (v == "" || masked(v)) {
			return
		}
	}
	if len(v) < shortest(k, strict) {
		return
	}
	if quote != '\'' && !query && variable(v) || strings.HasPrefix(v, "$(") || strings.HasPrefix(v, "${") || v[0] == '`' {
		return
	}
	if quote == 0 && !query && m.isCode(i, k, v) {
		return
	}
	// A URL has its own rules, and what runs is for the analyst.
	if n := strings.Index(v[:min(len(v), maxName)], "://"); n > 0 && identifier(strings.NewReplacer("+", "", "-", "").Replace(v[:n])) {
		return
	}
	if runs(v) {
		return
	}
	for _, sub := range [...]string{"$(", "`", "${"} {
		if n := strings.Index(v, sub); n >= 0 {
			v = v[:n]
		}
	}
	m.hideValue(from, from+len(v))
}

// shortest is how long the value of a name of kind k must be to be masked.
func shortest(k nameOf, strict bool) int {
	switch {
	case k == keyed:
		return 6
	case k == queried:
		return 4
	case !strict:
		return 3
	}
	return 1
}

// passSource reads the value of an option that says where the password is, as openssl's do: pass:x, env:NAME, file:NAME.
// With pass it is what follows, from n on.
func passSource(v string) (n int, elsewhere bool) {
	source, rest, ok := strings.Cut(v[:min(len(v), 8)], ":")
	switch {
	case !ok:
	case source == "pass":
		return len("pass:"), false
	case (source == "env" || source == "file" || source == "fd") && rest != "":
		return 0, true
	}
	return 0, false
}

// isCode reports whether the value v, which stands without quotes at i, is a path, an expression or a reference and no secret.
func (m *masker) isCode(i int, k nameOf, v string) bool {
	if v[0] == '/' && (k == keyed || strings.HasSuffix(strings.ToLower(m.s[max(0, i-4):i]), "pwd=")) || v[0] == '(' || v[0] == '{' || v[0] == '[' || v[0] == '%' && len(v) <= 3 {
		return true
	}
	short := v[:min(len(v), 2*maxName)]
	if n := strings.IndexAny(short, "(["); n > 0 && identifier(v[:n]) { // get_token(), os.environ["TOKEN"]
		return true
	}
	if n := strings.LastIndexByte(short, '.'); n > 0 && len(v) < 2*maxName && identifier(v) && nameKind(v[n+1:]) != nothing { // args.password
		return true
	}
	return k != secret && len(v) < 6 && strings.Trim(v, "0123456789") == ""
}

// runs says that a value of several words is a command rather than a phrase to remember.
func runs(v string) bool {
	return strings.ContainsAny(v, " \t\n") && (strings.ContainsAny(v, "|;/`<>$\n") || strings.Contains(v, " -") || strings.Contains(v, "&&"))
}

func identifier(s string) bool {
	for i := range len(s) {
		if c := s[i]; !wordByte(c) && c != '.' {
			return false
		}
	}
	return s != "" && (s[0] < '0' || s[0] > '9')
}

// authorization masks what an Authorization header has behind its scheme, or all of it.
func (m *masker) authorization(i int) {
	s := m.s
	for n := 0; n < 6 && i < len(s) && (s[i] == '"' || s[i] == '\'' || s[i] == '\\'); n++ {
		i++
	}
	word := func(i int) int {
		for i < len(s) && s[i] > ' ' && s[i] != '"' && s[i] != '\'' && s[i] != ',' && s[i] != '\\' && s[i] != '`' {
			i++
		}
		return i
	}
	to := word(i)
	scheme := strings.ToLower(s[i:to])
	from := to
	for from < len(s) && s[from] == ' ' {
		from++
	}
	if end := word(from); from > to && end > from && alphabetic(scheme) {
		switch {
		case scheme == "digest":
			m.line(from)
		case strings.HasPrefix(scheme, "aws4"), variable(s[from:end]): // its signature has a name
		default:
			m.hide(from, end)
		}
		return
	}
	if to-i >= 3 && !variable(s[i:to]) {
		m.hide(i, to)
	}
}

func alphabetic(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && s[i] != '-' && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// line masks up to the end of a header's line: a quote or a control character.
func (m *masker) line(i int) {
	to := i
	for to < len(m.s) && to-i < maxValue && m.s[to] >= ' ' && m.s[to] != '"' && m.s[to] != '\'' && m.s[to] != '\\' && m.s[to] != '`' {
		to++
	}
	if to > i && !variable(m.s[i:to]) {
		m.hideValue(i, to)
	}
}

// pair masks the second of two strings: ("user", "password").
func (m *masker) pair(i int) {
	if i = m.blanks(i); i >= len(m.s) || m.s[i] != '"' && m.s[i] != '\'' {
		return
	}
	v, from, _ := m.value(i, false)
	i = m.blanks(min(from+len(v)+1, len(m.s)))
	if i >= len(m.s) || m.s[i] != ',' {
		return
	}
	if i = m.blanks(i + 1); i < len(m.s) && (m.s[i] == '"' || m.s[i] == '\'') {
		v, from, _ = m.value(i, false)
		m.hide(from, from+len(v))
	}
}
