package file

import (
	"strings"

	"github.com/raytap/raytap/decoders/chars"
)

// NameOf gives the name that a Content-Disposition or Content-Type field gives its body, as Zeek reads it: the last
// name= or filename=, quotes, language and percent escapes removed.
func NameOf(field, value string) (string, bool) {
	switch {
	case strings.IndexByte(value, '=') < 0:
		return "", false // nearly all: without a parameter there is no name, and finding that out is 2 % of HTTP traffic
	case strings.EqualFold(field, "Content-Disposition"):
		if !hasParameter(value, "filename") {
			return "", false
		}
	case strings.EqualFold(field, "Content-Type"):
		if !hasParameter(value, "name") {
			return "", false
		}
	default:
		return "", false
	}
	low := asciiLower(value)
	at := -1
	for i := 0; ; {
		n := strings.Index(low[i:], "name")
		if n < 0 {
			break
		}
		i += n + 4
		if j := parameterValue(low, i); j >= 0 {
			at = j
		}
	}
	if at < 0 {
		return "", false
	}
	name := strings.TrimLeft(value[at:], " \t")
	if strings.HasPrefix(name, `"`) {
		name, _, _ = strings.Cut(name[1:], `"`)
	}
	// RFC 5987: charset'language'value.
	if a := strings.IndexByte(name, '\''); a > 0 {
		if b := strings.LastIndexByte(name, '\''); b > a {
			name = name[b+1:]
		}
	}
	return Unescape(name), true
}

// parameterValue gives where the value of the parameter begins whose name ends at i, -1 if there is none.
func parameterValue(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
		i++
	}
	if i < len(s) && s[i] == '*' {
		i++
	}
	if i < len(s) && s[i] == '=' {
		return i + 1
	}
	return -1
}

func hasParameter(value, name string) bool {
	low := asciiLower(value)
	for i := 0; ; {
		n := strings.Index(low[i:], name)
		if n < 0 {
			return false
		}
		i += n + len(name)
		if parameterValue(low, i) >= 0 {
			return true
		}
	}
}

// asciiLower keeps the length, so that places in the result are places in s.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// Unescape removes percent escapes as Zeek does for its uri column: %XX, %uXXXX, and what is no escape stays. chars.Unpercent
// knows neither %u nor the doubled sign, of which Zeek drops one.
func Unescape(s string) string {
	i := strings.IndexByte(s, '%')
	if i < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	out = append(out, s[:i]...)
	for ; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		switch rest := s[i+1:]; {
		case len(rest) < 2:
			out = append(out, s[i:]...)
			return string(out)
		case rest[0] == '%':
			// A doubled sign: the first is dropped.
		default:
			if c, ok := chars.HexPair(rest[0], rest[1]); ok {
				out = append(out, c)
				i += 2
				continue
			}
			if rest[0] == 'u' && len(rest) >= 5 {
				high, ok1 := chars.HexPair(rest[1], rest[2])
				low, ok2 := chars.HexPair(rest[3], rest[4])
				if ok1 && ok2 {
					if high != 0 {
						out = append(out, high)
					}
					out = append(out, low)
					i += 5
					continue
				}
			}
			out = append(out, '%', rest[0])
			i++
		}
	}
	return string(out)
}
