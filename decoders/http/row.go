package http

import (
	"encoding/base64"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/chars"
	"github.com/raytap/raytap/decoders/file"
)

// Log implements capture.Record.
func (t *Transaction) Log() string { return "http" }

// Row implements capture.Record with the columns of Zeek's http.log.
func (t *Transaction) Row(w capture.Fields) {
	w.Time("ts", t.Time, t.Time != 0)
	t.Flow.ID(w)
	w.Count("trans_depth", uint64(t.Depth), true)
	q, has := t.Request, t.Request != nil
	if !has {
		q = &Request{}
	}
	w.String("method", q.Method, has && (q.Method != "" || q.Version != version2))
	f := q.facts()
	w.String("host", f.host.s, f.host.set)
	target := q.Target
	if q.Version == "0.9" {
		target = oldTarget(target)
	}
	w.String("uri", file.Unescape(target), has && (target != "" || q.Version != version2)) // in HTTP/2 it may be unknown
	w.String("referrer", f.referer.s, f.referer.set)
	p, answered := t.Response, t.Response != nil
	if !answered {
		p = &Response{}
	}
	if version := p.Version; !answered && q.Version == version2 {
		w.String("version", version2, true) // Zeek's is the answer's; of HTTP/2 there is but one
	} else {
		w.String("version", version, answered)
	}
	w.String("user_agent", f.agent.s, f.agent.set)
	w.String("origin", f.origin.s, f.origin.set)
	w.Count("request_body_len", uint64(q.Body.rowLen), true)
	w.Count("response_body_len", uint64(p.Body.rowLen), true)
	w.Count("status_code", uint64(p.Status), answered)
	reason := p.Reason
	if !p.hasReason {
		reason = "<empty>" // as Zeek says it
	}
	w.String("status_msg", reason, answered)
	info, infoMsg := p.Informational, p.InformationalReason
	if p.Status/100 == 1 {
		info, infoMsg = p.Status, reason
	}
	w.Count("info_code", uint64(info), info != 0)
	w.String("info_msg", infoMsg, info != 0)
	w.Set("tags", "enum", nil, true)
	w.String("username", f.user.s, f.user.set)
	w.String("password", "", false) // never
	w.Set("proxied", "string", f.proxied, len(f.proxied) > 0)
	files(w, "orig_fuids", "orig_filenames", "orig_mime_types", &q.Body)
	files(w, "resp_fuids", "resp_filenames", "resp_mime_types", &p.Body)
}

// Unnamed reports whether a file is in t that is part of a larger one, and may be named by other parts (file.Piece) before the
// row is written.
func (t *Transaction) Unnamed() bool {
	return t.Request != nil && t.Request.Body.unnamed() || t.Response != nil && t.Response.Body.unnamed()
}

func (b *Body) unnamed() bool {
	for _, f := range b.Files {
		if f.Unnamed {
			return true
		}
	}
	return false
}

// oldTarget is as much of a target without a version as Zeek logs: where there is a byte that no URI has, it looks for a
// version behind it, up to the last byte or what is blank at the end.
func oldTarget(s string) string {
	for i := range len(s) {
		if c := s[i]; c|0x20 < 'a' || c|0x20 > 'z' {
			if !digit(c) && strings.IndexByte("-_.!~*'();/?:@&=+$,%", c) < 0 {
				if t := strings.TrimRight(s, " \t"); len(t) < len(s) {
					return t
				}
				return s[:len(s)-1]
			}
		}
	}
	return s
}

func files(w capture.Fields, fuids, filenames, mimes string, b *Body) {
	var ids, names, types []string
	if n := len(b.Files); n > 0 && !b.known {
		var buf [3]string // a body is one file, most of the time
		ids, names, types = buf[0:0:1], buf[1:1:2], buf[2:2:3]
		for _, f := range b.Files {
			ids = append(ids, f.ID)
			if f.HasName {
				names = append(names, f.Name)
			}
			if f.MIME != "" && !f.Unnamed {
				types = append(types, f.MIME)
			}
		}
	}
	w.Vector(fuids, "string", ids, ids != nil)
	w.Vector(filenames, "string", names, len(names) > 0)
	w.Vector(mimes, "string", types, len(types) > 0)
}

// describe tells the files of a body what only the message around it knows.
func (t *Transaction) describe(dir capture.Dir, k *block, b *Body, from capture.Provenance) {
	for i, f := range b.Files {
		f.Flow, f.Source, f.Sender = t.Flow, t.source(dir), dir
		f.From = from&^capture.Doubted | capture.Doubted.When(b.From != 0) | capture.AfterGap.When(b.From != 0 && b.Missing > 0)
		f.ID = file.NewID(t.Flow, uint32(t.Depth), byte(dir), byte(i))
		if len(b.Files) == 1 && !f.HasName && k != nil {
			f.Name, f.HasName = k.facts.file.s, k.facts.file.set
		}
	}
}

// source names what the files of a message came over.
func (t *Transaction) source(dir capture.Dir) string {
	if q, p := t.Request, t.Response; dir == capture.Orig && q != nil && q.Version == version2 || dir == capture.Resp && p != nil && p.Version == version2 {
		return "HTTP2"
	}
	return "HTTP"
}

// fileName gives the name that a head gives the body.
func fileName(h Header) (name string, ok bool) {
	for i := range h {
		if v, has := file.NameOf(h[i].Name, h[i].Value); has {
			name, ok = v, true
		}
	}
	return name, ok
}

// last gives the last value of a name: the one that Zeek logs.
func (h Header) last(name string) (string, bool) {
	for i := len(h) - 1; i >= 0; i-- {
		if len(h[i].Name) == len(name) && strings.EqualFold(h[i].Name, name) {
			return h[i].Value, true
		}
	}
	return "", false
}

// proxies lists the fields that proxies add, in Zeek's form.
func proxies(h Header) (out []string) {
	for i := range h {
		switch len(h[i].Name) {
		case 3, 9, 14, 15, 16, 17: // lengths of the names below
		default:
			continue
		}
		switch name := strings.ToUpper(h[i].Name); name {
		case "FORWARDED", "X-FORWARDED-FOR", "X-FORWARDED-FROM", "CLIENT-IP", "VIA", "XROXY-CONNECTION", "PROXY-CONNECTION":
			v := name + " -> " + h[i].Value
			seen := false
			for _, o := range out {
				seen = seen || o == v
			}
			if !seen {
				out = append(out, v)
			}
		}
	}
	return out
}

// basicUser gives the user of Basic authentication (RFC 7617). The password is not looked at.
func basicUser(h Header) (user string, ok bool) {
	for i := range h {
		switch len(h[i].Name) {
		case len("Authorization"), len("Proxy-Authorization"):
		default:
			continue
		}
		if !strings.EqualFold(h[i].Name, "Authorization") && !strings.EqualFold(h[i].Name, "Proxy-Authorization") {
			continue
		}
		v := h[i].Value
		if len(v) < 6 || !strings.EqualFold(v[:6], "basic ") {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(strings.TrimLeft(v[6:], " \t"))
		name, _, colon := strings.Cut(string(raw), ":")
		if err != nil || !colon {
			// Zeek logs the field itself here, and with it perhaps a password.
			name = "<problem-decoding>"
		}
		user, ok = name, true
	}
	return user, ok
}

// targetWeirds names what is odd about the escapes of a target.
func (d *decoder) targetWeirds(s string) {
	for i := strings.IndexByte(s, '%'); i >= 0 && i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		rest, pair := s[i+1:], false
		if len(rest) > 1 {
			_, pair = chars.HexPair(rest[0], rest[1])
		}
		switch {
		case len(rest) == 0:
			d.weird("illegal_%_at_end_of_URI", "")
		case len(rest) == 1:
			d.weird("partial_escape_at_end_of_URI", "")
		case rest[0] == '%':
			d.weird("double_%_in_URI", "")
		case pair:
			i += 2
		case rest[0] == 'u' && len(rest) >= 5:
			i += 5
		default:
			d.weird("unescaped_%_in_URI", "")
			i++
		}
	}
}
