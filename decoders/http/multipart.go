package http

import (
	"bytes"
	"strings"
)

const (
	// Parts of a body that are noted; Zeek logs 15 files for each direction of a transaction.
	maxParts = 15
	// As much of a line as is needed to see a boundary (RFC 2046 section 5.1.1: 70 characters) or a field with a name.
	maxPartLine = 1 << 10
	maxBoundary = 256
)

// part is one file within a body.
type part struct {
	name    string
	hasName bool
	mime    string
}

// multipart finds the parts of a multipart body (RFC 2046 section 5.1), for the file columns of http.log. It looks at
// lines as they come and keeps the beginning of each; parts within parts are content.
type multipart struct {
	boundary string // with the two dashes; "" if the body is not of this kind
	state    partState
	line     []byte
	total    int64 // bytes of whole lines up to the closing boundary
	rest     int64 // of the last one
	cur      part
	peek     []byte
	any      bool // the part holds something
	crlf     bool // a line end that belongs to the content, unless a boundary follows
	parts    []part
}

type partState uint8

const (
	preamble partState = iota
	partHead
	partData
	closed
)

func (m *multipart) active() bool { return m.boundary != "" }

func (m *multipart) open(f *framing) {
	if len(f.contentType) < len("multipart/x") || !strings.EqualFold(f.contentType[:len("multipart/")], "multipart/") {
		return
	}
	for p := range strings.SplitSeq(f.contentType, ";") {
		if p = trim(p); len(p) > 9 && strings.EqualFold(p[:9], "boundary=") && len(p) < maxBoundary {
			if b := strings.Trim(p[9:], `"`); b != "" {
				m.boundary = "--" + b
			}
		}
	}
}

func (m *multipart) write(b []byte) {
	for len(b) > 0 && m.state != closed {
		i := bytes.IndexByte(b, '\n')
		n := i + 1
		if i < 0 {
			n = len(b)
		}
		m.line = append(m.line, b[:min(n, maxPartLine-len(m.line))]...)
		m.rest += int64(n)
		b = b[n:]
		if i >= 0 {
			m.total += m.rest
			whole := m.rest == int64(len(m.line))
			m.rest = 0
			m.endLine(whole)
			m.line = m.line[:0]
		}
	}
}

// endLine takes the line that is complete; whole is false if it was too long to be kept whole.
func (m *multipart) endLine(whole bool) {
	line := m.line
	if whole {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	}
	if bytes.HasPrefix(line, []byte(m.boundary)) {
		m.endPart()
		if m.state = partHead; bytes.HasPrefix(line[len(m.boundary):], []byte("--")) {
			m.state = closed
		}
		return
	}
	switch m.state {
	case partHead:
		if len(line) == 0 {
			m.state = partData
			return
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok {
			if v, ok := fileName(string(name), strings.TrimLeft(string(value), " \t")); ok {
				m.cur.name, m.cur.hasName = v, true
			}
		}
	case partData:
		m.content(line)
		m.crlf = true
	}
}

func (m *multipart) content(b []byte) {
	if m.crlf {
		m.any = true
		if len(m.peek) < sniffLen-1 {
			m.peek = append(m.peek, '\r', '\n')
		}
	}
	m.any = m.any || len(b) > 0
	m.peek = append(m.peek, b[:min(len(b), sniffLen-len(m.peek))]...)
}

func (m *multipart) endPart() {
	if m.state == partData && m.any && len(m.parts) < maxParts {
		m.cur.mime = sniff(m.peek)
		m.parts = append(m.parts, m.cur)
	}
	m.cur, m.peek, m.any, m.crlf = part{}, m.peek[:0], false, false
}

// hole forgets what cannot be known behind a gap.
func (m *multipart) hole() {
	if m.state != closed {
		m.line = m.line[:0]
	}
}

func (m *multipart) close() []part {
	if m.rest > 0 {
		m.total += m.rest + 2 // Zeek counts a line end whether it is there or not
		m.endLine(m.rest == int64(len(m.line)))
		m.line, m.rest = m.line[:0], 0
	}
	m.endPart()
	return m.parts
}

// length is the length of the body as Zeek has it, after close: to the end of the closing boundary.
func (m *multipart) length() int64 { return m.total }
