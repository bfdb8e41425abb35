// Package aiservices recognises the servers of AI infrastructure beside Ray by what they answer over HTTP: notebooks,
// model servers, trackers, schedulers and their like, which run code or models for anybody when nobody shut the door.
//
// In: *http.Transaction, with as much of the answer as KeepBody asked for. Out: *Banner, or nil: which product, its
// version where the answer has it, and whether it answered somebody who showed no credentials what those should see
// who have some, or asked for them.
//
// A path alone proves nothing: every print wants words or a header in the answer that its product says and its likes
// do not; the table names where each was read. Some answers fit several products ({"version": "1.2.3"}): these are
// marked Hint, and hold only for a server that is known already.
//
// It does not see TLS, services whose paths a proxy renames, and products that are not in the table. Whether a token was
// right is told by the answer only.
package aiservices

import (
	"bytes"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/chars"
	"github.com/raytap/raytap/decoders/http"
)

const (
	// Of an answer the beginning is enough: titles stand in the first KiB of a page, keys in the first of a JSON text.
	keep = 4 << 10
	// A path that has more segments before the one that is looked for is somebody else's.
	maxPrefix  = 3
	maxPath    = 1 << 10
	maxVersion = 32
)

// Banner is one answer that says what the server is.
type Banner struct {
	capture.At // of the request
	Flow       *capture.Flow
	Product    string // "jupyter"; "" is whatever the server is known as
	Version    string
	Hint       bool // holds only if the server is known as Product
	Open       bool // answered without credentials what credentials guard where they are asked for
	Asks       bool // asked for credentials
	Server     string
	Path       string // bounded, without the query
	Sign       string // what in the answer says so
}

// KeepBody says how many bytes of an answer Interpret wants to see; it looks at heads only.
func KeepBody(t *http.Transaction, resp bool) int {
	if !resp || t == nil || t.Request == nil || t.Response == nil || t.Request.Method != "GET" && t.Request.Method != "POST" {
		return 0
	}
	path := pathOf(t.Request.Target)
	last := lastOf(path)
	if _, ok := byLast[last]; ok || has(path, bySegment) {
		return keep
	}
	if pages[last] && isPage(t.Response) {
		return keep
	}
	return 0
}

// Routed says whether a print fits requests for this target, whatever else it wants.
func Routed(target string) bool {
	path := pathOf(target)
	last := lastOf(path)
	_, ok := byLast[last]
	return ok || pages[last] || has(path, bySegment)
}

// ByFields is Interpret for a target that is not Routed: what the fields of the answer tell alone.
func ByFields(t *http.Transaction) *Banner {
	if t == nil || t.Request == nil || t.Response == nil || t.Response.Status == 0 {
		return nil
	}
	for _, i := range byHeader {
		if x := &prints[i]; x.answers(t.Response) {
			return x.banner(t, pathOf(t.Request.Target))
		}
	}
	return nil
}

// Interpret reads t as the answer of one of the products; nil if it is none. What it returns owns its memory.
func Interpret(t *http.Transaction) *Banner {
	if b := ByFields(t); b != nil {
		return b
	}
	if t == nil || t.Request == nil || t.Response == nil || t.Response.Status == 0 {
		return nil
	}
	q, p := t.Request, t.Response
	path := pathOf(q.Target)
	last := lastOf(path)
	var hint *Banner
	for _, i := range byLast[last] {
		if x := &prints[i]; x.at(path) {
			b := x.match(t, path)
			if b != nil && !b.Hint {
				return b
			}
			if hint == nil {
				hint = b
			}
		}
	}
	if hint != nil {
		return hint
	}
	if has(path, bySegment) {
		for _, i := range segmented {
			if x := &prints[i]; strings.Contains(path, x.path) {
				if b := x.match(t, path); b != nil {
					return b
				}
			}
		}
	}
	if pages[last] && isPage(p) {
		title := bytes.Contains(p.Body.Data[:min(len(p.Body.Data), keep)], []byte(titleTag))
		for _, i := range byPage {
			if prints[i].titled && !title {
				continue
			}
			if b := prints[i].match(t, path); b != nil {
				return b
			}
		}
	}
	return nil
}

// match compares the answer with a print whose path fits.
func (x *fingerprint) match(t *http.Transaction, path string) *Banner {
	p := t.Response
	if !x.free && (p.Status == 401 || p.Status == 403) && x.path != "" {
		b := x.banner(t, path)
		b.Product, b.Hint, b.Open, b.Asks, b.Version = "", true, false, true, ""
		return b
	}
	want := x.status
	if want == 0 {
		want = 200
	}
	if p.Status != want || !x.answers(p) {
		return nil
	}
	body := p.Body.Data[:min(len(p.Body.Data), keep)]
	for _, w := range x.need {
		if !bytes.Contains(body, w) {
			return nil
		}
	}
	for _, w := range x.bar {
		if bytes.Contains(body, w) {
			return nil
		}
	}
	return x.banner(t, path)
}

// banner says what a print that fits stands for.
func (x *fingerprint) banner(t *http.Transaction, path string) *Banner {
	q, p := t.Request, t.Response
	b := &Banner{
		At: t.At, Flow: t.Flow, Product: x.product, Hint: x.hint,
		Server: chars.Bound(p.Header.Get("Server"), 64), Path: chars.Bound(path, 128), Sign: x.sign(),
	}
	switch {
	case p.Status == 401 || x.asks:
		b.Asks = true
	case !x.free && p.Status == 200 && !credentials(q):
		b.Open = true
	}
	if x.version != "" {
		b.Version = x.versionOf(p)
	}
	return b
}

// sign names what was looked for, for people.
func (x *fingerprint) sign() string {
	switch {
	case len(x.words) > 0:
		return x.words[0]
	case x.header != "":
		return x.header + ": " + x.value
	}
	return x.path
}

// answers says whether the answer has the header that the print wants.
func (x *fingerprint) answers(p *http.Response) bool {
	if x.header == "" {
		return true
	}
	v := p.Header.Get(x.header)
	return v != "" && strings.HasPrefix(v, x.value)
}

// at says whether a path is the print's, perhaps behind a prefix that a proxy has.
func (x *fingerprint) at(path string) bool {
	rest, ok := strings.CutSuffix(path, x.path)
	return ok && (rest == "" || !x.exact && strings.Count(rest, "/") <= maxPrefix)
}

// versionOf takes the version out of an answer: out of the header that the print names, or out of the key.
func (x *fingerprint) versionOf(p *http.Response) string {
	if name, ok := strings.CutPrefix(x.version, "header "); ok {
		v := p.Header.Get(name)
		if name == x.header {
			v = strings.TrimPrefix(v, x.value)
		}
		v, _, _ = strings.Cut(v, " ")
		return version(v)
	}
	b := p.Body.Data
	s := string(b[:min(len(b), keep)])
	if x.version == "body" {
		return version(strings.TrimSpace(s[:min(len(s), 2*maxVersion)]))
	}
	for {
		i := strings.Index(s, x.version)
		if i < 0 {
			return ""
		}
		s = s[i+len(x.version):]
		v := strings.TrimLeft(s, ": \t\r\n")
		v = strings.TrimPrefix(strings.TrimPrefix(v, `"`), "v")
		if end := strings.IndexAny(v[:min(len(v), maxVersion+1)], "\" <,\n"); end > 0 {
			if v = version(v[:end]); v != "" {
				return v
			}
		}
	}
}

// version gives s if it looks like one.
func version(s string) string {
	if s == "" || len(s) > maxVersion || s[0] < '0' || s[0] > '9' {
		return ""
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '.' && c != '-' && c != '+' && c != '_' {
			return ""
		}
	}
	return strings.Clone(s)
}

// credentials says whether a request shows any. A cookie may be a session or an advertiser's: it is no proof that a
// door stands open.
func credentials(q *http.Request) bool {
	for i := range q.Header {
		switch n := q.Header[i].Name; len(n) {
		case 6, 7, 9, 13, 20:
			if strings.EqualFold(n, "Cookie") || strings.EqualFold(n, "Authorization") || strings.EqualFold(n, "X-Api-Key") ||
				strings.EqualFold(n, "Api-Key") || strings.EqualFold(n, "X-Ray-Authorization") {
				return true
			}
		}
	}
	_, query, _ := strings.Cut(q.Target, "?")
	return strings.Contains(query, "token=") || strings.Contains(query, "api_key=")
}

func isPage(p *http.Response) bool {
	return strings.HasPrefix(p.Header.Get("Content-Type"), "text/html")
}

func has(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// pathOf gives the path of a request's target, without scheme and query.
func pathOf(target string) string {
	if !strings.HasPrefix(target, "/") {
		if _, rest, ok := strings.Cut(target, "://"); ok {
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				target = rest[i:]
			} else {
				target = "/"
			}
		}
	}
	if i := strings.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	return target[:min(len(target), maxPath)]
}

// lastOf gives the last segment of a path, "" if it ends in a slash.
func lastOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
