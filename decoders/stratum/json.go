package stratum

// A small JSON reader over borrowed bytes. It keeps positions instead of values, so that the common line (a job, a
// share, an answer) costs no allocation, and it reads what the pool's or miner's own parser would read: escapes in
// keys and names, keys in any order and any white space (RFC 8259).

import (
	"bytes"
	"unicode/utf8"

	"github.com/raytap/raytap/decoders/chars"
)

const (
	// maxDepth bounds nesting. The deepest real line is the answer to mining.subscribe: object, array, array, array,
	// string.
	maxDepth = 24
	// maxName bounds keys and method names that are compared; the longest known is "version-rolling.min-bit-count".
	maxName = 64
)

type kind uint8

const (
	absent kind = iota
	object
	array
	text // a string
	number
	yes
	no
	null
)

// value is where a JSON value stands in the line; for strings the quotes are not part of it.
type value struct {
	start, end int
	kind       kind
	escaped    bool // a string with a backslash in it
}

func (v value) raw(b []byte) []byte { return b[v.start:v.end] }

// some says that a value is there and is not null.
func (v value) some() bool { return v.kind != absent && v.kind != null }

// framer finds the end of an object that arrives in pieces. It continues where it stopped, so that a line of n bytes
// costs n steps in however many segments it comes.
type framer struct {
	pos    int
	depth  int
	quoted bool
	esc    bool
}

type framing uint8

const (
	partial framing = iota
	whole
	broken
)

// scan looks at b, which begins with the object's '{' and, since the last call, has only grown. With whole or broken
// it returns how many bytes that is and is ready for the next object.
func (f *framer) scan(b []byte) (int, framing) {
	i := f.pos
	for i < len(b) {
		c := b[i]
		i++
		if f.quoted {
			switch {
			case f.esc:
				f.esc = false
			case c == '\\':
				f.esc = true
			case c == '"':
				f.quoted = false
			case c == '\n':
				// Never inside a string (RFC 8259, 7): the line was cut short. What follows is the next one.
				*f = framer{}
				return i, broken
			}
			continue
		}
		switch c {
		case '"':
			if n := plain(b[i:]); n >= 0 {
				i += n + 1
				continue
			}
			f.quoted = true
		case '{', '[':
			if f.depth++; f.depth > maxDepth {
				*f = framer{}
				return i, broken
			}
		case '}', ']':
			if f.depth--; f.depth == 0 {
				*f = framer{}
				return i, whole
			}
		}
	}
	f.pos = i
	return 0, partial
}

// plain gives the length of a string that has no escapes and no line's end and whose closing quote is there; -1 for
// others, which are read byte by byte. Hashes and nonces, most of every line, are such.
func plain(b []byte) int {
	n := bytes.IndexByte(b, '"')
	if n < 0 || bytes.IndexByte(b[:n], '\\') >= 0 || bytes.IndexByte(b[:n], '\n') >= 0 {
		return -1
	}
	return n
}

// cursor walks over one line.
type cursor struct {
	b []byte
	i int
}

func (c *cursor) space() {
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case ' ', '\t', '\r', '\n':
			c.i++
		default:
			return
		}
	}
}

// next takes c over one byte if it is want.
func (c *cursor) next(want byte) bool {
	if c.i < len(c.b) && c.b[c.i] == want {
		c.i++
		return true
	}
	return false
}

// value reads one value of any kind.
func (c *cursor) value(depth int) (value, bool) {
	c.space()
	if c.i >= len(c.b) || depth > maxDepth {
		return value{}, false
	}
	v := value{start: c.i}
	switch c.b[c.i] {
	case '"':
		return c.str()
	case '{':
		v.kind = object
		it := members{cursor: cursor{c.b, c.i + 1}, depth: depth + 1}
		for it.next() {
		}
		if it.bad {
			return value{}, false
		}
		c.i = it.i
	case '[':
		v.kind = array
		it := elements{cursor: cursor{c.b, c.i + 1}, depth: depth + 1}
		for it.next() {
		}
		if it.bad {
			return value{}, false
		}
		c.i = it.i
	case 't':
		v.kind = yes
		return c.word(v, "true")
	case 'f':
		v.kind = no
		return c.word(v, "false")
	case 'n':
		v.kind = null
		return c.word(v, "null")
	default:
		v.kind = number
		for c.i < len(c.b) {
			switch ch := c.b[c.i]; {
			case ch >= '0' && ch <= '9', ch == '-', ch == '+', ch == '.', ch == 'e', ch == 'E':
				c.i++
				continue
			}
			break
		}
		if c.i == v.start {
			return value{}, false
		}
	}
	v.end = c.i
	return v, true
}

func (c *cursor) word(v value, w string) (value, bool) {
	if len(c.b)-c.i < len(w) || string(c.b[c.i:c.i+len(w)]) != w {
		return value{}, false
	}
	c.i += len(w)
	v.end = c.i
	return v, true
}

func (c *cursor) str() (value, bool) {
	if !c.next('"') {
		return value{}, false
	}
	v := value{start: c.i, kind: text}
	if n := plain(c.b[c.i:]); n >= 0 {
		v.end = c.i + n
		c.i = v.end + 1
		return v, true
	}
	for c.i < len(c.b) {
		switch ch := c.b[c.i]; {
		case ch == '"':
			v.end = c.i
			c.i++
			return v, true
		case ch == '\\':
			v.escaped = true
			c.i += 2
		case ch == '\n':
			return value{}, false
		default:
			c.i++
		}
	}
	return value{}, false
}

// members iterates over an object; the cursor begins behind its '{' and ends behind its '}'.
type members struct {
	cursor
	depth    int
	key, val value
	begun    bool
	bad      bool
	done     bool
}

func (m *members) next() bool {
	if m.done || m.bad {
		return false
	}
	m.space()
	if m.cursor.next('}') {
		m.done = true
		return false
	}
	ok := true
	if m.begun {
		if ok = m.cursor.next(','); ok {
			m.space()
		}
	}
	m.begun = true
	if ok {
		m.key, ok = m.str()
	}
	if ok {
		m.space()
		ok = m.cursor.next(':')
	}
	if ok {
		m.val, ok = m.value(m.depth)
	}
	m.bad = !ok
	return ok
}

// elements iterates over an array; the cursor begins behind its '[' and ends behind its ']'.
type elements struct {
	cursor
	depth int
	val   value
	begun bool
	bad   bool
	done  bool
}

func (e *elements) next() bool {
	if e.done || e.bad {
		return false
	}
	e.space()
	if e.cursor.next(']') {
		e.done = true
		return false
	}
	ok := true
	if e.begun {
		ok = e.cursor.next(',')
	}
	e.begun = true
	if ok {
		e.val, ok = e.value(e.depth)
	}
	e.bad = !ok
	return ok
}

// membersOf and elementsOf iterate over v, which was read before and is therefore sound; over anything that is not an
// object or array they iterate zero times.
func membersOf(b []byte, v value) members {
	if v.kind != object {
		return members{done: true}
	}
	return members{cursor: cursor{b[:v.end], v.start + 1}, depth: 1}
}

func elementsOf(b []byte, v value) elements {
	if v.kind != array {
		return elements{done: true}
	}
	return elements{cursor: cursor{b[:v.end], v.start + 1}, depth: 1}
}

// decoded gives the text of a string with its escapes resolved. Without escapes it is the line's own bytes; with, it
// is written into buf, and what does not fit is left off.
func decoded(b []byte, v value, buf []byte) []byte {
	if v.kind != text {
		return nil
	}
	s := v.raw(b)
	if !v.escaped {
		return s
	}
	out := buf[:0]
	for i := 0; i < len(s) && len(out)+utf8.UTFMax <= cap(buf); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'u':
			r, ok := hex4(s[i+1:])
			if !ok {
				out = utf8.AppendRune(out, utf8.RuneError)
				continue
			}
			i += 4
			if r >= 0xd800 && r < 0xdc00 && len(s)-i > 6 && s[i+1] == '\\' && s[i+2] == 'u' {
				if lo, ok := hex4(s[i+3:]); ok && lo >= 0xdc00 && lo < 0xe000 {
					r = (r-0xd800)<<10 + (lo - 0xdc00) + 0x10000
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, s[i])
		}
	}
	return out
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range s[:4] {
		h, ok := chars.Hex(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | rune(h)
	}
	return r, true
}

// name is a key or method name, decoded and in lower case, because pools written in Go read keys without regard to
// case. Longer than any that is known, it is "".
func name(b []byte, v value, buf *[maxName]byte) []byte {
	s := decoded(b, v, buf[:])
	if len(s) >= maxName-utf8.UTFMax {
		return nil
	}
	for i, c := range s {
		if c >= 'A' && c <= 'Z' {
			if !v.escaped {
				s = append(buf[:0], s...)
			}
			for j := i; j < len(s); j++ {
				if s[j] >= 'A' && s[j] <= 'Z' {
					s[j] += 'a' - 'A'
				}
			}
			return s
		}
	}
	return s
}

// isHex reports whether v is a string of lo to hi hexadecimal digits, 0x in front or not. Unlike chars.IsHex it takes both cases,
// because miners write both.
func isHex(b []byte, v value, lo, hi int) bool {
	if v.kind != text || v.escaped {
		return false
	}
	s := v.raw(b)
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		s = s[2:]
	}
	if len(s) < lo || len(s) > hi {
		return false
	}
	for _, c := range s {
		if _, ok := chars.Hex(c); !ok {
			return false
		}
	}
	return true
}
