package mail

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/chars"
	"github.com/raytap/raytap/decoders/file"
)

const (
	// Parts within parts; Zeek's MIME::max_depth.
	maxDepth = 100
	// As much of a field with its continuations as is read. Zeek reads 1,000 bytes a line more or less.
	maxField = 16 << 10
	// RFC 2046, 5.1.1 allows 70 characters.
	maxBoundary = 256
)

type kind uint8

const (
	single kind = iota
	multipart
	wrapped // message/rfc822 and its relatives: the body is a message
)

type coding uint8

const (
	plain coding = iota
	quoted
	base64Coded
)

// message is one message, with the one file of it that is being read.
type message struct {
	c      *conversation
	sender capture.Dir
	top    *part
	file   file.Reader
	depth  int // of the part that began last
	named  bool
	name   string
	opened bool
	early  bool // of the file there is only a line so far, whose end is to come
}

// part is an entity of RFC 2045: fields, and a body that may be parts again.
type part struct {
	m        *message
	parent   *part
	child    *part
	level    int
	kind     kind
	coding   coding
	boundary []byte
	field    []byte // with its continuations
	inBody   bool
	done     bool
	late     bool // the end of the last line is content if more follows
	group    [4]byte
	n        int // of group
	padded   bool
}

func newMessage(c *conversation, sender capture.Dir) *message {
	m := &message{c: c, sender: sender}
	m.top = m.begin(nil)
	return m
}

// begin begins a part.
func (m *message) begin(parent *part) *part {
	m.shut()
	m.c.parts++
	m.depth, m.named, m.name = m.c.parts, false, ""
	p := &part{m: m, parent: parent}
	if parent != nil {
		p.level, p.coding = parent.level+1, parent.coding
	}
	return p
}

// shut ends the file that is being read.
func (m *message) shut() {
	if m.opened {
		m.opened = false
		m.c.emit(m.file.Close(), m.sender, m.depth, m.name, m.named)
	}
}

// write takes content of the part that began last.
func (m *message) write(b []byte) {
	if len(b) == 0 {
		return
	}
	if !m.opened {
		m.opened, m.early = true, true
		m.file.Open(m.c.cache)
	}
	m.file.Write(m.c.ctx.At(), b)
}

// line takes a line of the message; whole says that its end was seen and belongs to it.
func (m *message) line(l []byte, whole bool) {
	m.top.line(l, whole)
	if whole && m.early {
		m.early = false
		if m.opened {
			m.file.From(m.c.ctx.At()) // Zeek sees a line when it has ended
		}
	}
}

// gap says that n bytes are missing; the message ends behind them.
func (m *message) gap(n int64) {
	if m.opened {
		m.file.Gap(m.c.ctx.At(), n)
	}
}

func (m *message) end() { m.top.end() }

func (p *part) line(l []byte, whole bool) {
	switch {
	case p.inBody:
		p.bodyLine(l, whole)
	case len(l) == 0 || l[0] == 0:
		p.endField()
		p.inBody = true
		if p.kind == wrapped {
			p.nest()
		}
	case l[0] == ' ' || l[0] == '\t':
		if len(p.field) > 0 {
			p.field = append(p.field, l[:min(len(l), max(maxField-len(p.field), 0))]...)
		}
	default:
		p.endField()
		p.field = append(p.field[:0], l[:min(len(l), maxField)]...)
	}
}

// endField reads the field that has ended.
func (p *part) endField() {
	name, value, ok := bytes.Cut(p.field, []byte(":"))
	if ok {
		name = bytes.TrimRight(name, " \t")
		v := strings.TrimLeft(string(value), " \t\r\n\v\f")
		switch {
		case bytes.EqualFold(name, []byte("content-type")):
			p.contentType(v)
		case bytes.EqualFold(name, []byte("content-transfer-encoding")):
			switch strings.ToLower(token(skip(v))) {
			case "base64":
				p.coding = base64Coded
			case "quoted-printable":
				p.coding = quoted
			default:
				p.coding = plain
			}
		}
		if n, ok := file.NameOf(string(name), v); ok {
			p.m.name, p.m.named = n, true
		}
	}
	p.field = p.field[:0]
}

// contentType reads RFC 2045, 5.1.
func (p *part) contentType(v string) {
	v = skip(v)
	typ := token(v)
	rest := skip(v[len(typ):])
	if typ == "" || !strings.HasPrefix(rest, "/") {
		return
	}
	rest = skip(rest[1:])
	rest = rest[len(token(rest)):]
	switch {
	case strings.EqualFold(typ, "message"):
		p.kind = wrapped
	case strings.EqualFold(typ, "multipart"):
		p.kind = single
		if b := boundary(rest); b != "" && len(b) <= maxBoundary {
			p.kind, p.boundary = multipart, []byte("--"+b)
		}
	default:
		p.kind = single
	}
}

// boundary gives the value of that parameter.
func boundary(s string) string {
	for {
		s = skip(s)
		if !strings.HasPrefix(s, ";") {
			return ""
		}
		s = skip(s[1:])
		name := token(s)
		if s = skip(s[len(name):]); !strings.HasPrefix(s, "=") {
			return ""
		}
		s = s[1:]
		wanted := strings.EqualFold(name, "boundary")
		var value string
		if t := skip(s); strings.HasPrefix(t, `"`) {
			value, s = unquote(t)
		} else if wanted { // lenient, as Zeek is
			s = t
			n := 0
			for n < len(s) && s[n] > ' ' && s[n] < 0x7f && s[n] != '"' {
				n++
			}
			value, s = strings.TrimSuffix(s[:n], ";"), s[n:]
		} else {
			value = token(t)
			s = t[len(value):]
		}
		if wanted {
			return value
		}
	}
}

// unquote reads a quoted string and gives what follows.
func unquote(s string) (value, rest string) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", ""
}

// skip skips white space and comments (RFC 5322, 3.2.2).
func skip(s string) string {
	depth, i := 0, 0
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case c == ' ' || c == '\t' || depth > 0:
		default:
			return s[i:]
		}
	}
	return ""
}

// token reads one of RFC 2045, 5.1.
func token(s string) string {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte("()<>@,;:\\\"/[]?=", s[i]) >= 0 {
			return s[:i]
		}
	}
	return s
}

// nest begins a part within p.
func (p *part) nest() {
	if p.level >= maxDepth {
		p.m.c.ctx.Weird("exceeded_mime_max_depth", "")
		return
	}
	p.child = p.m.begin(p)
}

func (p *part) endChild() {
	if c := p.child; c != nil {
		p.child = nil
		c.end()
	}
}

// end ends the part, with all that is in it.
func (p *part) end() {
	if p.done {
		return
	}
	p.done = true
	if !p.inBody {
		p.endField()
		p.inBody = true
	}
	p.endChild()
	if p.n > 0 { // a group that is not whole
		n := p.n
		for p.n < 4 {
			p.group[p.n] = 'A'
			p.n++
		}
		p.m.write(p.decodeGroup(n))
	}
	p.m.shut()
}

func (p *part) bodyLine(l []byte, whole bool) {
	if p.kind == multipart && bytes.HasPrefix(l, p.boundary) {
		p.endChild()
		if bytes.HasPrefix(l[len(p.boundary):], []byte("--")) {
			p.end()
		} else if !p.done {
			p.nest()
		}
		return
	}
	if p.kind != single {
		if p.child != nil {
			p.child.line(l, whole)
		}
		return
	}
	switch p.coding {
	case quoted:
		p.quotedLine(l, whole)
	case base64Coded:
		p.base64Line(l)
	default:
		if p.late {
			p.late = false
			p.m.write(crlf)
		}
		p.m.write(l)
		if p.late = whole && p.parent != nil && p.parent.kind == multipart; whole && !p.late {
			p.m.write(crlf)
		}
	}
}

var crlf = []byte("\r\n")

// quotedLine decodes RFC 2045, 6.7.
func (p *part) quotedLine(l []byte, whole bool) {
	if whole {
		l = bytes.TrimRight(l, " \t")
	}
	soft := false
	for len(l) > 0 {
		i := bytes.IndexByte(l, '=')
		if i < 0 {
			p.m.write(l)
			break
		}
		p.m.write(l[:i])
		switch l = l[i:]; {
		case len(l) == 1:
			soft = true
			l = nil
		default:
			if len(l) >= 3 {
				if c, ok := chars.HexPair(l[1], l[2]); ok {
					p.m.write([]byte{c})
					l = l[3:]
					continue
				}
			}
			p.m.write(l[:1])
			l = l[1:]
		}
	}
	if whole && !soft {
		p.m.write(crlf)
	}
}

// base64Line decodes RFC 2045, 6.8: what is not of the alphabet is passed over, and what follows the padding.
func (p *part) base64Line(l []byte) {
	var out [3 * 64]byte
	n := 0
	for _, c := range l {
		if p.padded && p.n == 0 {
			break
		}
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/':
			if p.padded {
				continue
			}
		case c == '=' && p.n >= 2:
			p.padded = true
		default:
			continue
		}
		p.group[p.n] = c
		if p.n++; p.n < 4 {
			continue
		}
		used := 4
		for used > 0 && p.group[used-1] == '=' {
			p.group[used-1] = 'A'
			used--
		}
		n += copy(out[n:], p.decodeGroup(used))
		if n > len(out)-3 {
			p.m.write(out[:n])
			n = 0
		}
	}
	p.m.write(out[:n])
}

// decodeGroup decodes a group of which used characters are content.
func (p *part) decodeGroup(used int) []byte {
	p.n = 0
	b := make([]byte, 3)
	if used < 2 {
		return nil
	}
	if _, err := base64.StdEncoding.Decode(b, p.group[:]); err != nil {
		return nil
	}
	return b[:used-1]
}
