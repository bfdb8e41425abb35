// Package secrets finds credentials that pass in clear text: keys of clouds and of LLM providers, tokens of code hosts
// and chat services, private keys, URLs of databases with their password, kubeconfigs, answers of a cloud's metadata
// service, whole environments.
//
// In: *http.Transaction, with as much of the bodies as KeepBody asked for (bodies of both directions, the target, the
// request's headers), and streams of text that nobody has a name for (an environment piped into netcat): lines by Text, others by Spec. Out:
// *Seen, which has kinds, names, public prefixes and lengths, and never a value.
//
// The shapes are rules.tsv. One pass over the text finds the keywords of all rules at once; a rule's regular
// expression is tried where one of its keywords stands, anchored there. What formats have beyond their shape is
// computed: the CRC-32 of GitHub's, npm's and Grafana's tokens, the structure of JSON web tokens and private keys,
// entropy. A value that somebody made up (EXAMPLE, abcdefgh) is marked, not dropped: who judges sees the company it
// keeps. Text is looked at as it is and unwrapped once: gzip, base64, percent encoding, JSON's escapes.
//
// Of Ray Client it reads what objects hold (Reader.Messages), and along with mail what is sent (Text).
//
// It does not see: anything encrypted; bodies beyond the bound; other gRPC; streams that another decoder reads (what is
// printed in a shell session, FTP's commands); archives other than tar, gzip and both; two wrappings but base64 over gzip;
// keys without a shape, such as bare 40-character AWS secrets without their name.
package secrets

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/http"
)

const (
	// maxSent is how much of a request's body is looked at. An environment has 10 KiB, a home directory's credentials
	// less, and who sends more sends an archive.
	maxSent = 256 << 10
	// maxAnswered is the same for an answer: job logs with an environment in them, files that a server gives away.
	maxAnswered = 64 << 10
	// maxUntyped is the same for an answer that does not say it is text.
	maxUntyped = 16 << 10
	// maxHeader bounds the value of a header.
	maxHeader = 8 << 10
	// maxTarget bounds the request-target.
	maxTarget = 16 << 10
)

// Seen is one message, or the two of a transaction, with credentials in it.
type Seen struct {
	capture.At // of the message's first byte
	Flow       *capture.Flow
	Tx         *http.Transaction // nil: a bare stream
	Over       string            // what carried it, if that is neither HTTP nor a bare stream
	Matches    []Match
	More       int // matches beyond those that are listed
}

// Reader reads transactions for what leaves. It belongs to one goroutine.
type Reader struct {
	leaves func(from, to netip.Addr) bool
	clean  decoders.Memo // of requests: fields without a secret
	opaque decoders.Memo // of answers: a content type that is not read
	short  decoders.Memo // of answers: of no type, and not long
}

// NewReader makes a Reader that looks at what goes from a machine to one for which leaves says yes: looking at all that
// machines at home tell each other would cost more than everything else. If leaves is nil, it looks at everything.
func NewReader(leaves func(from, to netip.Addr) bool) *Reader {
	if leaves == nil {
		leaves = func(_, _ netip.Addr) bool { return true }
	}
	heads := new(decoders.Memos)
	return &Reader{leaves: leaves, clean: heads.Memo(), opaque: heads.Memo(), short: heads.Memo()}
}

func (r *Reader) wants(f *capture.Flow, dir capture.Dir) bool {
	return f == nil || r.leaves(f.Src(dir).Addr(), f.Dst(dir).Addr())
}

// KeepBody says how many bytes of a body are wanted: of the response if resp, else of the request.
func (r *Reader) KeepBody(t *http.Transaction, resp bool) int {
	if t == nil || t.Request == nil {
		return 0
	}
	if !resp {
		if kind(t.Request.Header.Get("Content-Type")) == media || !r.wants(t.Flow, capture.Orig) {
			return 0
		}
		return maxSent
	}
	x := t.Response
	if x == nil || x.Status >= 300 || x.Status < 200 {
		return 0
	}
	n := 0
	switch id := x.FieldsID(); {
	case r.opaque.Has(id):
		return 0
	case r.short.Has(id):
		n = maxUntyped
	default:
		if n = answered(x.Header); n == 0 {
			r.opaque.Add(id)
		} else if n == maxUntyped {
			r.short.Add(id)
		}
	}
	if n == 0 || !r.wants(t.Flow, capture.Resp) {
		return 0
	}
	return n
}

// answered gives how much of an answer with these fields is looked at, wherever it goes.
func answered(h http.Header) int {
	switch kind(h.Get("Content-Type")) {
	case text:
		return maxAnswered
	case other: // a short file of no type: a key, what a server gives away that it does not know
		if n, err := strconv.ParseUint(h.Get("Content-Length"), 10, 32); err == nil && n <= maxUntyped && !h.Has("Content-Encoding") {
			return maxUntyped
		}
	}
	return 0
}

type content uint8

const (
	other content = iota
	media         // pictures, sound, fonts
	page          // what browsers show and run
	text
)

func kind(ct string) content {
	ct, _, _ = strings.Cut(strings.ToLower(ct), ";")
	ct = strings.TrimSpace(ct)
	top, sub, _ := strings.Cut(ct, "/")
	switch {
	case top == "image" && sub != "svg+xml" || top == "audio" || top == "video" || top == "font":
		return media
	case sub == "html" || sub == "css" || strings.HasSuffix(sub, "javascript"):
		return page
	case top == "text" || strings.HasSuffix(sub, "json") || strings.HasSuffix(sub, "xml") || strings.HasSuffix(sub, "yaml") || ct == "":
		return text
	}
	return other
}

// headers that are part of every request and hold nothing, and cookies, which are sessions with the site itself.
func skipHeader(name string) bool {
	switch strings.ToLower(name) {
	case "host", "accept", "accept-encoding", "accept-language", "connection", "content-length", "content-type", "cookie", "cache-control",
		"pragma", "upgrade-insecure-requests", "if-none-match", "if-modified-since", "date", "te", "origin", "expect", "transfer-encoding":
		return true
	}
	return false
}

// authHeader names the places where a request authenticates itself.
func authHeader(name string) bool {
	switch low := strings.ToLower(name); low {
	case "authorization", "proxy-authorization", "x-api-key", "api-key", "apikey", "x-goog-api-key", "x-auth-token", "private-token", "job-token",
		"x-vault-token", "x-amz-security-token", "x-access-token":
		return true
	default:
		return strings.HasSuffix(low, "-token") || strings.HasSuffix(low, "-api-key")
	}
}

// Interpret reads t; it returns *Seen, a *capture.Weird if a message had more candidates than are tried and none was
// one, or nil.
func (r *Reader) Interpret(t *http.Transaction) any {
	if t == nil {
		return nil
	}
	s := scan{scanner: builtin()}
	if t.Request != nil && r.wants(t.Flow, capture.Orig) {
		clean := &r.clean
		r := t.Request
		if strings.IndexByte(r.Target, '?') >= 0 || len(r.Target) > minBase64 {
			target := []byte(r.Target[:min(len(r.Target), maxTarget)])
			s.text(target, Match{Where: "target"})
			if p := unpercent(target); p != nil {
				s.text(p, Match{Where: "target", Form: "percent"})
			}
		}
		if id := r.FieldsID(); !clean.Has(id) {
			before := len(s.matches)
			for i := range r.Header {
				h := &r.Header[i]
				if len(h.Value) < 20 {
					continue
				}
				cookie := strings.EqualFold(h.Name, "Cookie")
				v := []byte(h.Value[:min(len(h.Value), maxHeader)])
				if !skipHeader(h.Name) {
					s.text(v, Match{Where: "header " + h.Name, Auth: authHeader(h.Name)})
				}
				// A cookie is a session with the site itself; what is wrapped in it is something else.
				if len(v) >= minBase64 && (cookie || !skipHeader(h.Name)) {
					if _, value, ok := bytes.Cut(v, []byte("=")); cookie && ok {
						v = value
					}
					if d := unbase64(v); d != nil && texty(d) {
						s.text(d, Match{Where: "header " + h.Name, Form: "base64"})
					}
				}
			}
			if len(s.matches) == before && !s.capped {
				clean.Add(id)
			}
		}
		s.body(r.Body.Data, maxSent, capture.Orig)
	}
	if t.Response != nil && len(t.Response.Body.Data) > 0 && r.KeepBody(t, true) > 0 {
		s.body(t.Response.Body.Data, maxAnswered, capture.Resp)
	}
	if len(s.matches) > 0 {
		return &Seen{At: t.At, Flow: t.Flow, Tx: t, Matches: s.matches, More: s.more}
	}
	if s.capped {
		return &capture.Weird{At: t.At, Flow: t.Flow, Name: "secrets_scan_limit"}
	}
	return nil
}

// Message is one of those that an answer is made of.
type Message struct {
	capture.At
	Data []byte // its beginning
}

// Gives says whether what the server of a flow answers is to be read.
func (r *Reader) Gives(f *capture.Flow) bool { return r.wants(f, capture.Resp) }

// Messages reads what the server of a flow answered, in messages that hold pickles: what ray.get() gave away over Ray
// Client. They are looked at as they are, for their strings stand in them whole, and with names and values side by side.
// over names what carried them. It returns nil if there is nothing.
func (r *Reader) Messages(at capture.At, f *capture.Flow, over string, list []Message) *Seen {
	s := scan{scanner: builtin()}
	for i := range list {
		b := list[i].Data[:min(len(list[i].Data), maxAnswered)]
		before := len(s.matches)
		s.text(b, Match{Dir: capture.Resp, Where: "message"})
		if p := unpickle(b); p != nil {
			s.text(p, Match{Dir: capture.Resp, Where: "message", Form: "pickle"})
		}
		if len(s.matches) > before && before == 0 {
			at = list[i].At
		}
	}
	if len(s.matches) == 0 {
		return nil
	}
	return &Seen{At: at, Flow: f, Over: over, Matches: s.matches, More: s.more}
}

func (s *scan) body(b []byte, limit int, dir capture.Dir) {
	if b = b[:min(len(b), limit)]; len(b) > 0 {
		forms(b, func(form string, b []byte) { s.text(b, Match{Dir: dir, Where: "body", Form: form}) })
	}
}

const (
	// headLimit is how much of a stream may pass before it shows what it is: the first variables of an environment, a
	// key's first line.
	headLimit = 4 << 10
	// maxStream is how much of each direction of such a stream is looked at.
	maxStream = 64 << 10
)

// Text makes what reads along in a conversation of text that no decoder has a name for, and keeps reading where a
// credential that counts by itself, or an environment, is in the first 4 KiB of a direction.
func Text() func(decoders.Context) decoders.Follower {
	return func(ctx decoders.Context) decoders.Follower { return &follower{decoder: decoder{ctx: ctx}} }
}

type follower struct {
	decoder
	sure [2]bool // there is something in this direction
	done [2]bool // nothing, or enough was read
}

// Data implements decoders.Follower.
func (f *follower) Data(dir capture.Dir, b []byte) {
	for len(b) > 0 && !f.done[dir] {
		n := len(b)
		if !f.sure[dir] {
			n = min(n, headLimit-len(f.text[dir]))
		}
		if _, err := f.Decode(dir, b[:n]); err != nil {
			f.done = [2]bool{true, true} // it is told
		}
		if b = b[n:]; len(f.text[dir]) >= headLimit {
			f.judge(dir)
		}
	}
}

// judge drops what shows nothing.
func (f *follower) judge(dir capture.Dir) {
	if t := f.text[dir]; !f.sure[dir] {
		if f.sure[dir] = texty(t) && telling(t); !f.sure[dir] {
			f.text[dir], f.done[dir] = nil, true
		}
	}
}

// Gap implements decoders.Follower.
func (f *follower) Gap(dir capture.Dir, n int64) { f.decoder.Gap(dir, n) }

// End implements decoders.Follower.
func (f *follower) End(dir capture.Dir) {
	f.judge(dir)
	f.decoder.End(dir)
}

// Done implements decoders.Follower.
func (f *follower) Done() bool { return f.done[0] && f.done[1] }

// Sated implements decoders.Sated.
func (f *follower) Sated(dir capture.Dir) bool { return f.done[dir] }

// telling says that the beginning of a text has a credential that counts by itself, or an environment.
func telling(b []byte) bool {
	s := scan{scanner: builtin()}
	s.text(b[:min(len(b), headLimit)], Match{})
	for i := range s.matches {
		if s.matches[i].Rule.Grade > Weak {
			return true
		}
	}
	return false
}

// Spec registers the decoder of bare streams that begin like no line: with a byte order mark, with an archive's zeros. It
// belongs behind all others, services with Text as its follower included.
func Spec() decoders.Spec {
	after := []decoders.After{{Name: "services", Why: "lines of a protocol that has a name may hold the names of variables"}}
	return decoders.Spec{Name: "secrets", Any: true, After: after, Stream: probe, New: func(ctx decoders.Context) decoders.Decoder {
		return &decoder{ctx: ctx}
	}}
}

// probe wants text, and in it a credential that counts by itself, or an environment.
func probe(orig, resp []byte, mid bool) decoders.Verdict {
	for _, b := range [2][]byte{orig, resp} {
		if !texty(b) {
			return decoders.No
		}
	}
	for _, b := range [2][]byte{orig, resp} {
		if telling(b) {
			return decoders.Yes
		}
		if len(b) >= headLimit {
			return decoders.No
		}
	}
	return decoders.Maybe
}

type decoder struct {
	ctx   decoders.Context
	begun [2]capture.At
	text  [2][]byte
	ended [2]bool
}

var errDone = errors.New("secrets: enough was read")

func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	if d.begun[dir].Packet == 0 {
		d.begun[dir] = d.ctx.At()
	}
	d.text[dir] = append(d.text[dir], b[:min(len(b), maxStream-len(d.text[dir]))]...)
	if len(d.text[dir]) == maxStream {
		d.emit()
		return len(b), errDone
	}
	return len(b), nil
}

// Doubtful implements decoders.Doubtful: a text with a secret in it may come before anything.
func (d *decoder) Doubtful() bool { return true }

func (d *decoder) Gap(capture.Dir, int64) bool { return true }

func (d *decoder) End(dir capture.Dir) {
	if d.ended[dir] = true; d.ended[dir.Peer()] {
		d.emit()
	}
}

func (d *decoder) emit() {
	s := scan{scanner: builtin()}
	at := capture.At{}
	for dir, b := range d.text {
		n := len(s.matches)
		s.text(b, Match{Dir: capture.Dir(dir), Where: "stream"})
		if len(s.matches) > n && at.Packet == 0 {
			at = d.begun[dir]
		}
	}
	d.text = [2][]byte{}
	if len(s.matches) > 0 {
		d.ctx.Emit(&Seen{At: at, Flow: d.ctx.Flow(), Matches: s.matches, More: s.more})
	}
}
