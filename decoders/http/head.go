package http

import (
	"bytes"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// certainty says whether bytes start a message.
type certainty uint8

const (
	impossible certainty = iota
	possible             // more bytes are needed
	certain
)

const (
	// The longest method that anyone registered is BASELINE-CONTROL (16) or UPDATEREDIRECTREF (17).
	maxMethod = 32
	// A known method and this much of a target is a request, whatever its line ends with: the Mux probes with no more
	// than 8 KiB, and targets may be longer.
	longTarget = 2 << 10
	// As many empty lines are those that servers ignore before a first request: the Mux probes no longer than that.
	manyEmpty = 4 << 10
)

// tokens marks the characters of a token, RFC 9110 section 5.6.2.
var tokens = func() (t [256]bool) {
	for c := '!'; c <= '~'; c++ {
		t[c] = !strings.ContainsRune(`()<>@,;:\"/[]?={}`, c)
	}
	return
}()

// methods that Zeek does not call unknown.
var methods = [...]string{
	"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "CONNECT", "PROPFIND", "PROPPATCH", "MKCOL", "COPY",
	"MOVE", "LOCK", "UNLOCK", "POLL", "REPORT", "SUBSCRIBE", "BMOVE", "SEARCH", "QUERY",
}

// extensions are methods that Zeek does not know but recognises HTTP by, on ports that are not for HTTP: any word that
// begins like one of them, or of those it knows.
var extensions = [...]string{
	"ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "LABEL", "LINK", "MERGE", "MKACTIVITY", "MKCALENDAR",
	"MKREDIRECTREF", "ORDERPATCH", "PATCH", "REBIND", "UNBIND", "UNLINK", "UPDATE", "VERSION-CONTROL", "BCOPY", "BDELETE",
	"BPROPFIND", "BPROPPATCH", "NOTIFY", "UNSUBSCRIBE", "X-MS-ENUMATTS", "MKWORKSPACE", "RPC_IN_DATA", "RPC_OUT_DATA",
}

// recognised says whether a method that is not known makes Zeek read HTTP.
func recognised(method string) bool {
	for _, list := range [][]string{methods[:], extensions[:]} {
		for _, m := range list {
			if strings.HasPrefix(method, m) {
				return true
			}
		}
	}
	return false
}

// knownMethod gives the constant for a known method, "" for others.
func knownMethod(b []byte) string {
	for _, m := range methods {
		if string(b) == m {
			return m
		}
	}
	return ""
}

// probe implements decoders.Probe. Either direction may say it.
func probe(orig, resp []byte, mid bool) decoders.Verdict {
	q, p := sideOf(orig, mid), sideOf(resp, mid)
	switch {
	case q == sideRequest, (q == sideEmpty || q == sideOther) && p == sideResponse && len(resp) > 0:
		return decoders.Yes
	case p == sideRequest, q == sideResponse:
		return decoders.Flipped
	case q == sideMaybe || p == sideMaybe:
		return decoders.Maybe
	case q == sideEmpty && p == sideEmpty:
		return decoders.Maybe
	}
	return decoders.No
}

type side uint8

const (
	sideEmpty side = iota
	sideOther
	sideMaybe
	sideRequest
	sideResponse
)

// sideOf says what the beginning of one direction looks like.
func sideOf(b []byte, mid bool) side {
	if mid && len(b) > 0 && startsWithProbe(b) {
		b = b[1:]
		if len(b) == 0 {
			return sideMaybe
		}
	}
	many := !mid && len(b) >= manyEmpty && emptyLines(b) == len(b)
	if !mid {
		// Zeek too takes white space before a first request; mid-stream it is the middle of something.
		b = bytes.TrimLeft(b, " \t\r\n")
	}
	if len(b) == 0 {
		if many {
			return sideRequest
		}
		return sideEmpty
	}
	q, p := requestAt(b), responseAt(b)
	switch {
	case q == certain && mid && methodOf(b) == "" && methodOf(b[1:]) == "":
		return sideOther // the end of a line of something may look like this
	case q == certain:
		return sideRequest
	case p == certain:
		return sideResponse
	case q == possible && !mid && (len(b) >= longTarget && (methodOf(b) != "" || originForm(b)) || methodOf(b) != "" && inVersion(b)):
		return sideRequest
	case q == possible || p == possible:
		return sideMaybe
	}
	if i := bytes.IndexByte(b, '\n'); i > 0 && !mid && oldRequest(b[:i]) && bytes.HasPrefix(b, []byte("GET /")) {
		return sideRequest
	}
	return sideOther
}

// originForm says whether the second word of b begins like a path.
func originForm(b []byte) bool {
	i := bytes.IndexByte(b[:min(len(b), maxMethod+1)], ' ')
	return i > 0 && i+1 < len(b) && b[i+1] == '/'
}

// inVersion says whether b ends within the version of a request line: what a short snap length leaves of one.
func inVersion(b []byte) bool {
	_, b, _ = bytes.Cut(b, []byte(" "))
	target, v, _ := bytes.Cut(b, []byte(" "))
	return len(v) > 0 && len(target) > 0 && target[0] == '/' && bytes.HasPrefix([]byte("HTTP/1.1"), v)
}

// startsWithProbe says whether b, where a capture began inside a connection, begins with the one byte of a keep-alive probe:
// see decoder.keepAlive.
func startsWithProbe(b []byte) bool {
	if len(b) == 1 {
		return !tokens[b[0]]
	}
	return requestAt(b) == impossible && responseAt(b) == impossible && (requestAt(b[1:]) == certain || responseAt(b[1:]) == certain)
}

// methodOf gives the known method that b begins with.
func methodOf(b []byte) string {
	i := bytes.IndexByte(b[:min(len(b), maxMethod)], ' ')
	if i < 0 {
		return ""
	}
	return knownMethod(b[:i])
}

// requestAt says whether a request with a version starts at b. Only a whole line is certain.
func requestAt(b []byte) certainty {
	i := 0
	for i < len(b) && i <= maxMethod && tokens[b[i]] {
		i++
	}
	if i == len(b) && i <= maxMethod {
		return possible
	}
	if i == 0 || i > maxMethod || b[i] != ' ' && b[i] != '\t' {
		return impossible
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		if len(b) > maxHead {
			return impossible
		}
		return possible
	}
	if r, ok := parseRequestLine(bytes.TrimSuffix(b[:end], []byte("\r"))); !ok || r.http09 || r.major > '2' || r.preface() {
		return impossible
	}
	return certain
}

// startAt says whether a message of a direction starts at b.
func startAt(dir capture.Dir, b []byte) certainty {
	if dir == capture.Orig {
		return requestAt(b)
	}
	return responseAt(b)
}

// responseAt says whether a response starts at b.
func responseAt(b []byte) certainty {
	const form = "HTTP/1.1 200"
	for i := range len(form) {
		if i == len(b) {
			return possible
		}
		switch form[i] {
		case '1', '2', '0':
			if b[i] < '0' || b[i] > '9' || i == len("HTTP/") && b[i] > '2' { // aiohttp answers in the version of the request
				return impossible
			}
		default:
			if b[i] != form[i] {
				return impossible
			}
		}
	}
	return certain
}

// plausible says whether b, which has no line end yet, may begin a message.
func plausible(dir capture.Dir, b []byte) bool {
	if dir == capture.Orig {
		return requestAt(b) != impossible
	}
	n := min(len(b), len("HTTP/"))
	return bytes.EqualFold(b[:n], []byte("HTTP/")[:n])
}

// goodLine says whether a line is the first of a message.
func goodLine(dir capture.Dir, line []byte) (ok bool) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	if dir == capture.Orig {
		_, ok = parseRequestLine(line)
	} else {
		_, ok = parseStatusLine(line)
	}
	return ok
}

// goodStart says whether a head begins like a message for those who end a line at a CR, too.
func goodStart(dir capture.Dir, head []byte) bool {
	n := lineEnd(head)
	return goodLine(dir, bytes.TrimRight(head[:n], "\r\n"))
}

// requestLine is a request line taken apart; the slices alias it.
type requestLine struct {
	method, target []byte
	targetAt       int
	major, minor   byte // digits; '0', '9' without a version
	http09         bool
	lower          bool // "http/" for "HTTP/"
	rtsp           bool // "RTSP/" for it
}

// preface says that this is the line with which a client of HTTP/2 begins. Any other with that version llhttp takes for
// HTTP/1.
func (r *requestLine) preface() bool { return r.major == '2' && string(r.method) == "PRI" }

// parseRequestLine is lenient, as servers are (RFC 9112 section 3): any number of blanks, blanks in the target. It
// wants a token, then something, and takes what has no version for HTTP/0.9, as Zeek does.
func parseRequestLine(line []byte) (r requestLine, ok bool) {
	i := 0
	for i < len(line) && tokens[line[i]] {
		i++
	}
	if i == 0 || i == len(line) || i > maxMethod || line[i] != ' ' && line[i] != '\t' {
		return r, false
	}
	r.method = line[:i]
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	r.targetAt = i
	v := len(line) - len("HTTP/1.1")
	if (v < i || !isVersion(line[v:])) && !isRTSP(r.method, line) {
		// Blanks or more behind the version, or "http/": look for it.
		if v = findVersion(line, i); v >= 0 {
			r.lower = line[v] != 'H'
		}
	} else if v > i && line[v-1] != ' ' && line[v-1] != '\t' {
		v = -1
	}
	if v < i {
		return withoutVersion(r, line)
	}
	for end := v; ; end-- {
		if end == i || line[end-1] != ' ' && line[end-1] != '\t' {
			r.target = line[i:end]
			break
		}
	}
	r.major, r.minor = line[v+5], line[v+7]
	r.rtsp = line[v] == 'R'
	return r, true
}

// findVersion finds the last version in a request line whose target begins at i; -1 if there is none.
func findVersion(line []byte, i int) int {
	for j := len(line) - len("HTTP/1.1"); j >= i; j-- {
		if (j == i || line[j-1] == ' ' || line[j-1] == '\t') && line[j+6] == '.' && bytes.EqualFold(line[j:j+5], []byte("HTTP/")) &&
			digit(line[j+5]) && digit(line[j+7]) {
			return j
		}
	}
	return -1
}

// withoutVersion reads the rest of a request line that has no version, of which r has the method.
func withoutVersion(r requestLine, line []byte) (requestLine, bool) {
	i := r.targetAt
	// What says that it is a version and is none counts as one: servers refuse it.
	for j := i + 1; j+len("HTTP/") <= len(line); j++ {
		if line[j] == 'H' && (line[j-1] == ' ' || line[j-1] == '\t') && string(line[j:j+5]) == "HTTP/" && !bytes.ContainsAny(bytes.TrimRight(line[j:], " \t"), " \t") {
			r.target, r.major, r.minor = bytes.TrimRight(line[i:j], " \t"), '1', '0'
			return r, true
		}
	}
	r.target = line[i:]
	r.major, r.minor, r.http09 = '0', '9', true
	// Zeek: three letters of method and a target, or it is something else.
	return r, len(r.method) >= 3 && len(r.target) > 0
}

func isVersion(b []byte) bool {
	return len(b) == 8 && string(b[:5]) == "HTTP/" && digit(b[5]) && b[6] == '.' && digit(b[7])
}

// isRTSP says whether a line is one of RTSP that llhttp, and with it aiohttp, takes for HTTP: RTSP itself has no POST, and
// nobody who speaks it sends a GET.
func isRTSP(method, line []byte) bool {
	v := len(line) - len("RTSP/1.0")
	return v > len(method) && (line[v-1] == ' ' || line[v-1] == '\t') && string(line[v:v+5]) == "RTSP/" && line[v+6] == '.' && digit(line[v+5]) && digit(line[v+7]) &&
		(string(method) == "POST" || string(method) == "GET")
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// oldRequest says whether a line is a request without a version: nothing but a line.
func oldRequest(line []byte) bool {
	line = bytes.TrimSuffix(line, []byte("\r"))
	if v := len(line) - len("HTTP/1.1"); v >= 0 && isVersion(line[v:]) {
		return false
	}
	r, ok := parseRequestLine(line)
	return ok && r.http09
}

// statusLine is a status line taken apart.
type statusLine struct {
	major, minor byte
	status       int // 0 if it is no number
	reasonAt     int // 0: nothing behind the number, not even a blank
}

// parseStatusLine takes what clients take: "http/1.1", and more digits behind the version than two.
func parseStatusLine(line []byte) (r statusLine, ok bool) {
	const prefix = "HTTP/1.1"
	if len(line) < len(prefix)+1 || !bytes.EqualFold(line[:5], []byte("HTTP/")) || !digit(line[5]) || line[6] != '.' || !digit(line[7]) {
		return r, false
	}
	r.major, r.minor = line[5], line[7]
	i := len(prefix)
	for i < len(line) && line[i] != ' ' && line[i] != '\t' {
		i++
	}
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	if i+3 > len(line) {
		return r, false
	}
	if c := line[i : i+3]; digit(c[0]) && digit(c[1]) && digit(c[2]) {
		r.status = int(c[0]-'0')*100 + int(c[1]-'0')*10 + int(c[2]-'0')
	}
	for i += 3; i < len(line) && line[i] != ' ' && line[i] != '\t'; {
		i++
	}
	if i < len(line) {
		for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
			i++
		}
		r.reasonAt = i
	}
	return r, true
}

// version gives a version as text without allocating for those that occur.
func version(major, minor byte) string {
	switch {
	case major == '1' && minor == '1':
		return "1.1"
	case major == '1' && minor == '0':
		return "1.0"
	}
	return string([]byte{major, '.', minor})
}

// oddLines says whether lines of a head may end where ours do not: at a CR without LF, or in a NUL.
func oddLines(b []byte) bool {
	return bytes.Count(b, []byte{'\r'}) != bytes.Count(b, []byte("\r\n")) || bytes.IndexByte(b, 0) >= 0
}

// splitOdd gives such a head as Zeek reads it: a lone CR ends a line, and a line that begins with a NUL ends the head,
// as an empty one does. No server that matters here takes such a message at all, so that its reading is as good as any.
func (d *decoder) splitOdd(b []byte) []byte {
	b = bytes.Clone(b)
	lone := -1
	for i, c := range b {
		if c == '\r' && (i+1 == len(b) || b[i+1] != '\n') {
			b[i] = '\n'
			if lone < 0 {
				lone = i
			}
		}
	}
	end := len(b)
	for at := bytes.IndexByte(b, '\n') + 1; at > 0 && at < len(b); {
		n := bytes.IndexByte(b[at:], '\n') + 1
		if n == 0 {
			break
		}
		if c := b[at]; c == '\n' || c == 0 || c == '\r' && n == 2 {
			end = at + n
			break
		}
		at += n
	}
	d.split = lone >= 0 && lone < end
	if lone >= 0 && lone < end-1 {
		d.weird("line_terminated_with_single_CR", "")
	}
	return b[:end]
}

// cutLine splits after the first line end. line is without it.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	return bytes.TrimSuffix(b[:i], []byte("\r")), b[i+1:]
}

// framing is what the fields of a head say about the body and the connection.
type framing struct {
	length      int64
	below       bool // Zeek's reading of the length, which is in 64 bits, is below 0, and it takes that for 0
	hasLength   bool
	te          bool // Transfer-Encoding occurs
	chunked     bool // and ends in chunked
	loose       bool // a lenient reader finds chunked somewhere
	conflict    bool
	close       bool
	keepAlive   bool
	expect      bool
	upgrade     string
	encoding    string // Content-Encoding, several of them joined
	lastCoding  string // the last of them
	inflate     bool   // Zeek would inflate the body: it looks at the first word of each such field
	contentType string
	disposition string
}

// fields takes the field lines of a head apart. s is the text behind the first line; b the whole head as it came. The
// fields are parts of s.
func (d *decoder) fields(s string, b []byte, f *framing) Header {
	if bytes.IndexByte(b, 0) >= 0 {
		f.conflict = true
		d.weird("HTTP_NUL_in_head", "")
	}
	crs := 0 // in line ends; the rest stand alone
	if i := len(b) - len(s); i >= 2 && b[i-2] == '\r' {
		crs = 1
	}
	n := min(strings.Count(s, "\n"), maxFields)
	h := make(Header, 0, max(n-1, 0)) // the last is the empty one
	over := false
	for len(s) > 0 {
		line, folded := s, false
		line, s = nextLine(s, &crs)
		if line == "" {
			break
		}
		for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
			// Obsolete line folding, RFC 9112 section 5.2. aiohttp's parser joins the lines, as Zeek does.
			name, _, _ := strings.Cut(line, ":")
			d.weird("HTTP_obsolete_line_folding", name)
			var more string
			more, s = nextLine(s, &crs)
			if folded = true; len(line)+len(more) <= maxLine {
				line += more
			}
		}
		if len(line) > maxLine {
			d.weird("HTTP_line_too_long", "")
		}
		colon := strings.IndexByte(line, ':')
		if colon <= 0 {
			f.conflict = true
			d.weird("HTTP_bad_header_line", "")
			continue
		}
		name := line[:colon]
		if t := trim(name); t != name {
			// RFC 9112 section 5.1: to be refused. Proxies that strip it and servers that do not see different messages.
			name = t
			f.conflict = true
			d.weird("HTTP_space_before_colon", name)
		}
		if folded && (strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding")) {
			f.conflict = true
		}
		x := Field{name, trim(line[colon+1:])}
		d.field(&x, f)
		if len(h) < maxFields || len(h) < maxFields+maxNeeded && needed(x.Name) {
			h = append(h, x)
		} else if !over {
			over = true
			d.weird("HTTP_too_many_headers", "")
		}
	}
	if d.split || bytes.Count(b, []byte{'\r'}) != crs {
		// Some readers end lines at a lone CR, others not. llhttp, which aiohttp has, refuses.
		d.split, f.conflict = false, true
	}
	if len(h) == 0 {
		return nil
	}
	return h
}

// needed says whether a field says how the body is read, by us or by whoever interprets it.
func needed(name string) bool {
	switch len(name) {
	case len("content-type"), len("content-length"), len("content-encoding"), len("transfer-encoding"), len("expect"), len("upgrade"), len("connection"):
		for _, n := range [...]string{"content-type", "content-length", "content-encoding", "transfer-encoding", "expect", "upgrade", "connection"} {
			if strings.EqualFold(name, n) {
				return true
			}
		}
	}
	return false
}

// nextLine cuts the first line off s and counts the CR of its end.
func nextLine(s string, crs *int) (line, rest string) {
	i := strings.IndexByte(s, '\n')
	if line = s; i >= 0 {
		line, rest = s[:i], s[i+1:]
	}
	if n := len(line) - 1; n >= 0 && line[n] == '\r' {
		*crs++
		line = line[:n]
	}
	return line, rest
}

// firstToken gives the first token within s, whatever stands around it: how lenient readers, Zeek among them, find
// the one word they look for.
func firstToken(s string) string {
	for len(s) > 0 && !tokens[s[0]] {
		s = s[1:]
	}
	i := 0
	for i < len(s) && tokens[s[i]] {
		i++
	}
	return s[:i]
}

// trim removes blanks on both sides: optional white space, RFC 9110 section 5.6.3.
func trim(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// field notes what a finished field says.
func (d *decoder) field(x *Field, f *framing) {
	switch len(x.Name) {
	case len("expect"):
		f.expect = f.expect || strings.EqualFold(x.Name, "Expect")
	case len("upgrade"):
		if strings.EqualFold(x.Name, "Upgrade") && x.Value != "" {
			f.upgrade = x.Value
		}
	case len("connection"):
		if strings.EqualFold(x.Name, "Connection") {
			for v := range strings.SplitSeq(x.Value, ",") {
				switch v = firstToken(v); {
				case strings.EqualFold(v, "close"):
					f.close = true
				case strings.EqualFold(v, "keep-alive"):
					f.keepAlive = true
				}
			}
		}
	case len("content-type"):
		if strings.EqualFold(x.Name, "Content-Type") {
			f.contentType = x.Value
		}
	case len("content-length"):
		if strings.EqualFold(x.Name, "Content-Length") {
			d.contentLength(x.Value, f)
		}
	case len("content-encoding"):
		if !strings.EqualFold(x.Name, "Content-Encoding") {
			return
		}
		if f.lastCoding = x.Value; x.Value != "" {
			if f.encoding != "" {
				f.encoding += ", " + x.Value
			} else {
				f.encoding = x.Value
			}
			if t := firstToken(x.Value); inflates(t) {
				f.inflate = true
			}
		}
	case len("transfer-encoding"):
		if strings.EqualFold(x.Name, "Transfer-Encoding") {
			d.transferEncoding(x.Value, f)
		}
	case len("content-disposition"):
		if strings.EqualFold(x.Name, "Content-Disposition") {
			f.disposition = x.Value
		}
	}
}

// contentLength reads a Content-Length. Digits only are unambiguous. Of several the last counts, and of other text
// the first digits, as for Zeek: aiohttp refuses every such message.
func (d *decoder) contentLength(v string, f *framing) {
	n, wrapped, ok, i := int64(0), uint64(0), true, 0
	for i < len(v) && !digit(v[i]) && v[i] != '-' {
		i++
		ok = false
	}
	start := i
	for ; i < len(v) && digit(v[i]); i++ {
		wrapped = wrapped*10 + uint64(v[i]-'0')
		if n > (1<<62)/10 {
			n, ok = 1<<62, false
			continue
		}
		n = n*10 + int64(v[i]-'0')
	}
	if !ok || i == start || i < len(v) {
		f.conflict = true
		d.weird("HTTP_bad_content_length", v)
	}
	if f.hasLength && f.length != n {
		f.conflict = true
		d.weird("HTTP_content_length_conflict", v)
	}
	f.length, f.hasLength, f.below = n, true, wrapped >= 1<<63
}

// transferEncoding reads a Transfer-Encoding: what comes last decides.
func (d *decoder) transferEncoding(v string, f *framing) {
	if f.te {
		f.conflict = true
	}
	f.te, f.chunked = true, false
	f.loose = f.loose || strings.EqualFold(firstToken(v), "chunked")
	rest := ""
	for c := range strings.SplitSeq(v, ",") {
		if f.chunked {
			rest = c // something after chunked: RFC 9112 section 6.1 forbids it
		}
		f.chunked = strings.EqualFold(trim(c), "chunked")
	}
	if rest != "" {
		f.conflict = true
		d.weird("HTTP_chunked_multi", rest)
	}
}
