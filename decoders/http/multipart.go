package http

import (
	"bytes"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
)

const (
	// Parts of a body that are noted; Zeek logs 15 files for each direction of a transaction.
	maxParts = 15
	// As much of a line as is needed to see a boundary (RFC 2046 section 5.1.1: 70 characters) or a field with a name.
	maxPartLine = 1 << 10
	maxBoundary = 256
)

// multipart finds the parts of a multipart body (RFC 2046 section 5.1), for the file columns of http.log. It looks at
// lines as they come and holds no more of each than could be a boundary or a field; parts within parts are content.
type multipart struct {
	boundary string // with the two dashes
	state    partState
	line     []byte
	total    int64  // bytes of whole lines up to the closing boundary
	rest     int64  // of the last one
	name     string // of the part
	hasName  bool
	file     file.Reader
	files    *file.Cache
	inLine   bool   // the beginning of the line was content and is told
	eol      []byte // a line end that belongs to the content, unless a boundary follows
	first    bool   // no line of the part has ended yet
	parts    []*file.File

	ranged *ranged // parts with a place are pieces of this
	piece  bool    // the part is one
	from   int64   // and begins here
	whole  int64   // the length of all of the file
}

type partState uint8

const (
	preamble partState = iota
	partHead
	partData
	closed
)

// newMultipart gives what takes the parts of a body apart, nil if it has none.
func newMultipart(f *framing, files *file.Cache) *multipart {
	if len(f.contentType) < len("multipart/x") || !strings.EqualFold(f.contentType[:len("multipart/")], "multipart/") {
		return nil
	}
	for p := range strings.SplitSeq(f.contentType, ";") {
		if p = trim(p); len(p) > 9 && strings.EqualFold(p[:9], "boundary=") && len(p) < maxBoundary {
			if b := strings.Trim(p[9:], `"`); b != "" {
				return &multipart{boundary: "--" + b, files: files}
			}
		}
	}
	return nil
}

func (m *multipart) write(at capture.At, b []byte) {
	for len(b) > 0 && m.state != closed {
		i := bytes.IndexByte(b, '\n')
		n := i + 1
		if i < 0 {
			n = len(b)
		}
		m.rest += int64(n)
		m.hold(at, b[:n])
		b = b[n:]
		if i >= 0 {
			m.total += m.rest
			m.rest = 0
			m.endLine(at)
		}
	}
}

// hold takes bytes of a line. Content that cannot be a boundary is not held.
func (m *multipart) hold(at capture.At, b []byte) {
	if m.inLine {
		// The line end may be content or not, and it may come in two pieces: two bytes stay behind.
		m.line = append(m.line, b...)
		if n := len(m.line) - len(crlf); n > 0 {
			m.out().Write(at, m.line[:n])
			m.line = append(m.line[:0], m.line[n:]...)
		}
		return
	}
	if m.state == partData && len(m.line)+len(b) > maxPartLine {
		m.line = append(m.line, b...)
		if !bytes.HasPrefix(m.line, []byte(m.boundary)) {
			m.inLine = true
			m.content(at, nil)
			m.hold(at, nil)
			return
		}
		m.line = m.line[:maxPartLine]
		return
	}
	m.line = append(m.line, b[:min(len(b), maxPartLine-len(m.line))]...)
}

// endLine takes the line that is complete.
func (m *multipart) endLine(at capture.At) {
	line := bytes.TrimSuffix(bytes.TrimSuffix(m.line, crlf[1:]), crlf[:1])
	eol := crlf[2-min(len(m.line)-len(line), 2):]
	if m.inLine {
		m.out().Write(at, line)
		m.ended(at)
		m.inLine, m.eol, m.line = false, eol, m.line[:0]
		return
	}
	m.line = m.line[:0]
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
			m.openPart()
			return
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok {
			if m.ranged != nil && strings.EqualFold(string(name), "Content-Range") {
				m.from, m.whole, m.piece = contentRange(string(value))
			}
			if v, ok := file.NameOf(string(name), strings.TrimLeft(string(value), " \t")); ok {
				m.name, m.hasName = v, true
			}
		}
	case partData:
		m.content(at, line)
		m.ended(at)
		m.eol = eol
	}
}

// ended sets the clock: Zeek sees a line when it has ended.
func (m *multipart) ended(at capture.At) {
	if m.first {
		m.out().From(at)
	}
	m.first = false
}

func (m *multipart) content(at capture.At, b []byte) {
	m.out().Write(at, m.eol)
	m.eol = nil
	if len(b) > 0 {
		m.out().Write(at, b)
	}
}

// out is what reads the part.
func (m *multipart) out() *file.Reader {
	if m.piece {
		return &m.ranged.file
	}
	return &m.file
}

func (m *multipart) openPart() {
	m.piece = m.piece && m.ranged.at(m.from, m.whole)
	if m.piece {
		m.first = m.ranged.file.Seen() == 0
		m.ranged.before = m.ranged.file.Seen()
		return
	}
	m.file.Open(m.files)
	m.first = true
}

func (m *multipart) endPart() {
	if m.state == partData && m.piece {
		r := m.ranged
		r.next += r.file.Seen() - r.before
	} else if m.state == partData {
		if f := m.file.Close(); f != nil && len(m.parts) < maxParts {
			f[0].Name, f[0].HasName = m.name, m.hasName
			m.parts = append(m.parts, f[0])
		} else if f != nil {
			f[0].Copy.Drop()
		}
	}
	m.name, m.hasName, m.eol, m.piece = "", false, nil, false
}

// hole forgets what cannot be known behind a gap.
func (m *multipart) hole(at capture.At, n int64) {
	if m.state == partData {
		if m.inLine {
			m.out().Write(at, m.line)
		} else if len(m.line) > 0 {
			m.content(at, m.line)
		}
		m.inLine = false
		m.out().Gap(at, n)
		if m.piece {
			m.ranged.next += n
		}
	}
	if m.state != closed {
		m.line = m.line[:0]
	}
}

func (m *multipart) close(at capture.At) []*file.File {
	if m.rest > 0 {
		m.total += m.rest + 2 // Zeek counts a line end whether it is there or not
		m.endLine(at)
		m.rest = 0
	}
	m.endPart()
	if m.ranged != nil {
		return append(m.ranged.file.SoFar(), m.parts...)
	}
	return m.parts
}

// length is the length of the body as Zeek has it, after close: to the end of the closing boundary.
func (m *multipart) length() int64 { return m.total }
