// Package chars has what decoders and detectors do to short texts from the wire, and that is the same wherever it is done.
package chars

import "strings"

// Hex gives the value of a hexadecimal digit of either case.
func Hex(c byte) (v byte, ok bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// HexPair gives the byte that two hexadecimal digits of either case write.
func HexPair(high, low byte) (v byte, ok bool) {
	h, ok1 := Hex(high)
	l, ok2 := Hex(low)
	return h<<4 | l, ok1 && ok2
}

// IsHex reports whether s is n hexadecimal digits in lower case, as programs write ids and digests.
func IsHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range n {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Unpercent removes percent-encoding (RFC 3986 section 2.1), once. What is malformed stays, and so does a plus.
func Unpercent(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, ok := HexPair(s[i+1], s[i+2]); ok {
				b = append(b, c)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// Bound gives at most the first n bytes of s as valid UTF-8, in memory of its own. A character that is cut, as any byte
// that is no text, becomes U+FFFD, so that the result may be longer than n.
func Bound(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.Clone(strings.ToValidUTF8(s, "\ufffd"))
}
