package secrets

import (
	"bytes"
	"encoding/base64"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/raytap/raytap/decoders/chars"
)

const (
	// A text shorter than this has no dump in base64: two keys with their names are longer.
	minBase64 = 80
	// maxInflated bounds what is inflated; an environment is a hundredth of it.
	maxInflated = 1 << 20
	// looked is how much of a text says whether it is text.
	looked = 512
)

// forms gives b as it is and unwrapped once: gzip, base64, percent encoding, JSON's escapes. Each is bounded by b but
// the inflated one, which has a bound of its own. What base64 or gzip held is told to f like b itself.
func forms(b []byte, f func(form string, b []byte)) {
	plain(b, "", f)
	if d := unbase64(b); d != nil {
		if z := inflate(d); z != nil {
			plain(z, "base64 and gzip", f)
			return
		}
		plain(d, "base64", f)
	}
	if z := inflate(b); z != nil {
		plain(z, "gzip", f)
	}
}

func plain(b []byte, form string, f func(form string, b []byte)) {
	if !texty(b) {
		return
	}
	f(form, b)
	if form != "" {
		return
	}
	if p := unpercent(b); p != nil {
		f("percent", p)
		if d := unbase64(p); d != nil {
			f("base64", d)
		}
	}
	if j := unescape(b); j != nil {
		f("json", j)
	}
}

// texty says that b begins like text in ASCII or UTF-8, or as an archive of text does (a tar's head has zeros).
func texty(b []byte) bool {
	for _, c := range b[:min(len(b), looked)] {
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != 0 && c != 0x1b || c >= 0xf8 || c == 0x7f {
			return false
		}
	}
	return true
}

// unbase64 decodes the run of base64 that is most of b, line ends allowed; nil if there is none. Such a run covers the
// middle, so that is where it is looked for.
func unbase64(b []byte) []byte {
	in64 := func(c byte) bool { return base64Byte(c) || c == '\n' || c == '\r' }
	from := len(b) / 2
	to := from
	for from > 0 && in64(b[from-1]) {
		from--
	}
	for to < len(b) && in64(b[to]) {
		to++
	}
	best := bytes.TrimLeft(b[from:to], "\r\n")
	if len(best) < minBase64 || len(best) < len(b)/2 {
		return nil
	}
	// A line end inside is no part of it; '-' and '_' are the alphabet for URLs. The padding stands outside of the run, or
	// was left out.
	in := make([]byte, 0, len(best))
	for _, c := range best {
		switch c {
		case '\n', '\r':
		case '-':
			in = append(in, '+')
		case '_':
			in = append(in, '/')
		default:
			in = append(in, c)
		}
	}
	if len(in)%4 == 1 {
		in = in[:len(in)-1] // six bits are no byte: the text was cut
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(in)))
	n, err := base64.RawStdEncoding.Decode(out, in)
	if err != nil {
		return nil
	}
	return out[:n]
}

func base64Byte(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_'
}

func inflate(b []byte) []byte {
	if len(b) < 18 || b[0] != 0x1f || b[1] != 0x8b {
		return nil
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	out, _ := io.ReadAll(io.LimitReader(r, maxInflated)) // a body that was cut still has its beginning
	return out
}

// unpercent decodes percent encoding as chars.Unpercent does, and the plus of forms; nil if there is none.
func unpercent(b []byte) []byte {
	if bytes.IndexByte(b, '%') < 0 {
		return nil
	}
	out, changed := make([]byte, 0, len(b)), false
	for i := 0; i < len(b); i++ {
		if b[i] == '%' && i+2 < len(b) {
			if c, ok := chars.HexPair(b[i+1], b[i+2]); ok {
				out, changed = append(out, c), true
				i += 2
				continue
			}
		}
		out = append(out, b[i])
	}
	if !changed {
		return nil
	}
	return out
}

// unescape removes the escapes of a JSON string; nil if there are none. Of \u it decodes one byte (\u00XX) and leaves the rest as
// it is: what is looked for is ASCII. decoders/shell, which reads what a terminal typed, decodes \u001b alone.
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return nil
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 >= len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		switch c := b[i]; c {
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			if i+4 < len(b) && b[i+1] == '0' && b[i+2] == '0' {
				if v, ok := chars.HexPair(b[i+3], b[i+4]); ok {
					out = append(out, v)
					i += 4
					continue
				}
			}
			out = append(out, '\\', 'u')
		default:
			out = append(out, c)
		}
	}
	return out
}

// unpickle writes the strings of a pickle as name=value lines: a dict has its names and values one behind the
// other (pickletools: SHORT_BINUNICODE, BINUNICODE, MEMOIZE and BINPUT between them). nil if there are fewer than four.
func unpickle(b []byte) []byte {
	var out []byte
	n := 0
	for i := 0; i+2 < len(b); {
		var s []byte
		switch b[i] {
		case 0x8c:
			if size := int(b[i+1]); i+2+size <= len(b) && (i+2+size == len(b) || pickleOp(b[i+2+size])) {
				s = b[i+2 : i+2+size]
				i += 2 + size
			}
		case 'X':
			if i+5 <= len(b) && b[i+3] == 0 && b[i+4] == 0 {
				if size := int(b[i+1]) | int(b[i+2])<<8; i+5+size <= len(b) {
					s = b[i+5 : i+5+size]
					i += 5 + size
				}
			}
		}
		if s == nil || !texty(s) {
			if s == nil {
				i++
			}
			continue
		}
		// Where names stand is not known: each string is a name of the next one.
		if n > 0 {
			out = append(append(out, s...), '\n')
		}
		out = append(append(out, s...), '=')
		n++
	}
	if n < 4 {
		return nil
	}
	return append(out, '\n')
}

// pickleOp says that a byte may follow a string in a pickle: it is memoized, or another thing begins.
func pickleOp(c byte) bool {
	switch c {
	case 0x94, 'q', 'r', 0x8c, 'X', 'u', 's', 'e', 'a', '.', 'N', 'K', 'M', 'J', 'G', '}', ']', '(', 't', 0x85, 0x86, 0x87, 0x93, 'h':
		return true
	}
	return false
}
