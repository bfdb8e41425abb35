package ray

import (
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/raytap/raytap/decoders/chars"
)

// jsonReader walks JSON the way that Python's json module does, where that differs from Go's: the last of two equal
// keys wins (the caller overwrites), NaN and Infinity are values, keys may be written with escapes, numbers may be of
// any length. It is lenient where Python is strict (control characters in strings, a missing end): what Ray refused,
// its answer says, and what was cut by a bound must still be read.
//
// It keeps nothing of b, does not recurse when it skips, and advances with every step.
type jsonReader struct {
	b []byte
	i int
	// cut is set when the text ended inside a value.
	cut bool
}

// text says what was noticed while a string was read.
type text struct {
	cut     bool // the text ended, or the bound was reached, before the closing quote
	escaped bool // a letter or digit was written as \uXXXX: no serialiser does that
}

func (r *jsonReader) space() {
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

// peek gives the first byte of the value that comes next, 0 at the end.
func (r *jsonReader) peek() byte {
	r.space()
	if r.i >= len(r.b) {
		r.cut = true
		return 0
	}
	return r.b[r.i]
}

// object calls f for each member with the reader at its value. The key is valid during the call: what keeps it clones it. A
// value that f does not read is skipped. It gives false when there is no object here.
func (r *jsonReader) object(f func(key string, kt text)) bool {
	if r.peek() != '{' {
		return false
	}
	r.i++
	for {
		switch c := r.peek(); c {
		case 0, '}':
			r.i++
			return true
		case ',':
			r.i++
			continue
		case '"':
		default:
			// Not JSON any more. Python would have refused all of it.
			r.i = len(r.b)
			return true
		}
		key, kt := r.key()
		if r.peek() == ':' {
			r.i++
		}
		if r.peek() == 0 {
			f(key, kt) // the end came before the value: the key counts
			return true
		}
		at := r.i
		f(key, kt)
		if r.i == at {
			r.skip()
		}
		if r.i == at { // a stray closing bracket
			r.i++
		}
	}
}

// key reads the name of a member. Where it stands in the text as it is meant, which is nearly always, it is not copied: a
// name is compared and forgotten, and an answer has hundreds.
func (r *jsonReader) key() (string, text) {
	for j := r.i + 1; j < len(r.b) && j-r.i <= maxKey; j++ {
		if c := r.b[j]; c == '"' {
			if k := r.b[r.i+1 : j]; len(k) > 0 && utf8.Valid(k) {
				r.i = j + 1
				return unsafe.String(&k[0], len(k)), text{}
			}
			break
		} else if c == '\\' {
			break
		}
	}
	return r.str(maxKey)
}

// array calls f with the reader at each element, as object does.
func (r *jsonReader) array(f func(n int)) bool {
	if r.peek() != '[' {
		return false
	}
	r.i++
	for n := 0; ; {
		switch r.peek() {
		case 0, ']':
			r.i++
			return true
		case ',':
			r.i++
			continue
		}
		at := r.i
		f(n)
		n++
		if r.i == at {
			r.skip()
		}
		if r.i == at {
			r.i++
		}
	}
}

// skip passes over one value of any depth without recursion.
func (r *jsonReader) skip() {
	depth := 0
	for {
		switch c := r.peek(); c {
		case 0:
			r.i = len(r.b)
			return
		case '{', '[':
			depth++
			r.i++
		case '}', ']':
			if depth == 0 {
				return
			}
			depth--
			r.i++
		case '"':
			r.skipString()
		case ',', ':':
			if depth == 0 {
				return
			}
			r.i++
			continue
		default: // number, true, NaN, ...
			for r.i < len(r.b) && !delimiter(r.b[r.i]) {
				r.i++
			}
		}
		if depth == 0 {
			return
		}
	}
}

func delimiter(c byte) bool {
	switch c {
	case ' ', '\t', '\n', '\r', ',', ':', '{', '}', '[', ']', '"':
		return true
	}
	return false
}

func (r *jsonReader) skipString() {
	r.i++
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case '\\':
			r.i += 2
			continue
		case '"':
			r.i++
			return
		}
		r.i++
	}
	r.i = len(r.b)
	r.cut = true
}

// str reads the string here, of which it keeps the first limit bytes.
func (r *jsonReader) str(limit int) (string, text) {
	s, _, t := r.ends(limit, 0)
	return s, t
}

// ends reads the string here and keeps its first head bytes and, of what comes behind them, the last tail.
func (r *jsonReader) ends(head, tail int) (first, last string, t text) {
	if r.peek() != '"' {
		return "", "", t
	}
	// The common string has no escapes and fits: no copy but the last.
	for j := r.i + 1; j < len(r.b) && j-r.i <= head; j++ {
		if c := r.b[j]; c == '"' {
			first = validUTF8(r.b[r.i+1 : j])
			r.i = j + 1
			return first, "", t
		} else if c == '\\' {
			break
		}
	}
	r.i++
	k := keptEnds{head: head, tail: tail}
	for {
		if r.i >= len(r.b) {
			r.cut, t.cut = true, true
			break
		}
		c := r.b[r.i]
		if c == '"' {
			r.i++
			break
		}
		if c != '\\' {
			k.add(c)
			r.i++
			continue
		}
		if r.i+1 >= len(r.b) {
			r.i = len(r.b)
			continue
		}
		c = r.b[r.i+1]
		r.i += 2
		switch c {
		case 'n':
			k.add('\n')
		case 't':
			k.add('\t')
		case 'r':
			k.add('\r')
		case 'b':
			k.add('\b')
		case 'f':
			k.add('\f')
		case 'u':
			u, ok := r.unicode()
			if !ok {
				continue
			}
			if u < 0x80 && alnum(byte(u)) {
				t.escaped = true
			}
			var e [4]byte
			k.add(e[:utf8.EncodeRune(e[:], u)]...)
		default:
			k.add(c)
		}
	}
	if len(k.back) > tail {
		k.dropped = true
		k.back = k.back[len(k.back)-tail:]
	}
	t.cut = t.cut || k.dropped
	return validUTF8(k.front), validUTF8(k.back), t
}

// unicode reads the digits after \u and, of a surrogate, the one that belongs to it.
func (r *jsonReader) unicode() (rune, bool) {
	u, ok := hex4(r.b, r.i)
	if !ok {
		return 0, false
	}
	r.i += 4
	if utf16.IsSurrogate(u) && r.i+1 < len(r.b) && r.b[r.i] == '\\' && r.b[r.i+1] == 'u' {
		if lo, ok := hex4(r.b, r.i+2); ok {
			if full := utf16.DecodeRune(u, lo); full != utf8.RuneError {
				u = full
				r.i += 6
			}
		}
	}
	return u, true
}

// keptEnds keeps the first head bytes of a text and at least the last tail.
type keptEnds struct {
	head, tail  int
	front, back []byte
	dropped     bool
}

func (k *keptEnds) add(p ...byte) {
	for _, c := range p {
		if len(k.front) < k.head {
			k.front = append(k.front, c)
			continue
		}
		if len(k.back) >= 2*k.tail {
			k.dropped = true
			if k.tail == 0 {
				continue
			}
			k.back = k.back[:copy(k.back, k.back[len(k.back)-k.tail:])]
		}
		k.back = append(k.back, c)
	}
}

func alnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func hex4(b []byte, i int) (rune, bool) {
	if i < 0 || i+4 > len(b) {
		return 0, false
	}
	var u rune
	for _, c := range b[i : i+4] {
		d, ok := chars.Hex(c)
		if !ok {
			return 0, false
		}
		u = u<<4 | rune(d)
	}
	return u, true
}

// validUTF8 copies b into a string that is valid UTF-8.
func validUTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		ru, n := utf8.DecodeRune(b)
		out = utf8.AppendRune(out, ru)
		b = b[n:]
	}
	return string(out)
}
