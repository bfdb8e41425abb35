package detectors

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// Texts that are taken out of one: published droppers have one or two.
	maxHidden = 16
	// Of one decoded text. Gzip makes a thousand bytes of one.
	maxOutput = 64 << 10
	// Shorter pieces decode to something by chance.
	minBlob = 16
)

var (
	reHexEsc = regexp.MustCompile(`(?:\\+x[0-9A-Fa-f]{2}){4,}`)
	reOctal  = regexp.MustCompile(`(?:\\+0?[0-7]{3}){4,}`)
	reBrace  = regexp.MustCompile(`\{((?:curl|wget|bash|sh|nc|cat|echo|chmod|python3?),[^{}\s]{1,300})\}`)
	reANSI   = regexp.MustCompile(`\$'((?:[^'\\]|\\.){1,1000})'`)
)

// Hidden calls f with the texts that a command hides in base64, hexadecimal, escapes, reversal or rot13, unpacked if
// they are gzip or zlib, until f returns false: one layer, in the order of their places. What decodes to no text is
// left out. The caller bounds s and how deep it looks; limit bounds what comes out, in bytes.
func Hidden(s string, limit int, f func(t string) bool) {
	n, more := 0, true
	try := func(b []byte) {
		if len(b) == 0 || n >= maxHidden || !more || limit <= 0 {
			return
		}
		b = inflate(b, min(maxOutput, limit))
		if limit -= len(b); printable(b) {
			n++
			more = f(string(b))
		}
	}
	for i, tries := 0, 0; i < len(s) && tries < 4*maxHidden; {
		if !base64Char(s[i]) {
			i++
			continue
		}
		j := i
		for j < len(s) && base64Char(s[j]) {
			j++
		}
		if run := s[i:j]; len(run) >= minBlob {
			tries++
			if b := fromHex(run); b != nil {
				try(b)
			} else {
				try(fromBase64(run))
			}
		}
		i = j
	}
	if strings.IndexByte(s, '\\') >= 0 {
		for _, m := range reHexEsc.FindAllString(s, maxHidden) {
			try(fromHexEscapes(m))
		}
		for _, m := range reOctal.FindAllString(s, maxHidden) {
			try(fromOctal(m))
		}
	}
	low := strings.ToLower(s)
	if strings.Contains(low, "rev") || strings.Contains(low, "[::-1]") || strings.Contains(low, "reversed(") {
		try(reverse(s))
	}
	if strings.Contains(low, "rot13") || strings.Contains(low, "rot_13") || strings.Contains(low, "n-za-m") {
		try(rot13(s))
	}
}

// PlainShell undoes what a shell undoes before it runs a word: $IFS, empty quotes, backslashes before letters, ANSI
// quotes, braces.
func PlainShell(s string) string {
	if !strings.ContainsAny(s, `$'"\{`) {
		return s
	}
	out := s
	if strings.Contains(out, "IFS") {
		for _, f := range [...]string{"${IFS%??}", "${IFS}$9", "$IFS$9", "${IFS}", "$IFS"} {
			out = strings.ReplaceAll(out, f, " ")
		}
	}
	if strings.Contains(out, "$'") {
		out = reANSI.ReplaceAllStringFunc(out, func(m string) string { return unescapeANSI(m[2 : len(m)-1]) })
	}
	if strings.IndexByte(out, '{') >= 0 && strings.IndexByte(out, ',') >= 0 {
		out = reBrace.ReplaceAllStringFunc(out, func(m string) string {
			return strings.ReplaceAll(m[1:len(m)-1], ",", " ")
		})
	}
	b := make([]byte, 0, len(out))
	for i := 0; i < len(out); {
		n := idle(out, i)
		if n == 0 {
			b = append(b, out[i])
			n = 1
		}
		i += n
	}
	return string(b)
}

// idle returns how many bytes at s[i] a shell removes from the middle of a word: quotes and backslashes that change nothing.
func idle(s string, i int) int {
	letterAt := func(i int) bool { return i >= 0 && i < len(s) && letter(s[i]) }
	switch c := s[i]; c {
	case '\'', '"':
		switch {
		case i+2 < len(s) && s[i+1] == c && (i == 0 || letterAt(i-1)) && letterAt(i+2):
			return 2 // cu''rl
		case letterAt(i-1) && letterAt(i+1) && i+2 < len(s) && s[i+2] == c:
			return 1 // c"u"rl, the opening; the closing falls to the next case
		case letterAt(i-1) && letterAt(i+1) && letterAt(i-3) && s[i-2] == c:
			return 1
		}
	case '\\':
		switch {
		case letterAt(i-1) && letterAt(i+1) && s[i+1] != 'n' && s[i+1] != 't' && s[i+1] != 'x':
			return 1 // cu\rl
		case i+1 < len(s) && s[i+1] == '\n':
			return 2
		}
	}
	return 0
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func unescapeANSI(s string) string {
	s = reHexEsc.ReplaceAllStringFunc(s, func(m string) string { return string(fromHexEscapes(m)) })
	return reOctal.ReplaceAllStringFunc(s, func(m string) string { return string(fromOctal(m)) })
}

func base64Char(c byte) bool {
	return letter(c) || c == '+' || c == '/' || c == '_' || c == '-'
}

// fromHex decodes s if it is hexadecimal all through.
func fromHex(s string) []byte {
	if len(s) < 2*minBlob-8 || len(s)%2 != 0 {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

func fromBase64(s string) []byte {
	s = strings.TrimRight(s, "=")
	if len(s) < minBlob || len(s)%4 == 1 {
		return nil
	}
	enc := base64.RawStdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.RawURLEncoding
	}
	b, err := enc.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

func fromHexEscapes(m string) []byte {
	out := make([]byte, 0, len(m)/4)
	for i := 0; i+2 < len(m); i++ {
		if m[i] != 'x' {
			continue
		}
		if n, err := strconv.ParseUint(m[i+1:i+3], 16, 8); err == nil {
			out = append(out, byte(n))
		}
		i += 2
	}
	return out
}

func fromOctal(m string) []byte {
	var out []byte
	for _, p := range strings.Split(m, `\`) {
		if n, err := strconv.ParseUint(p, 8, 16); err == nil && p != "" {
			out = append(out, byte(n))
		}
	}
	return out
}

// inflate undoes gzip and zlib, which droppers put under base64; the output is bounded.
func inflate(b []byte, limit int) []byte {
	if len(b) < 8 {
		return b
	}
	var r io.Reader
	switch {
	case b[0] == 0x1f && b[1] == 0x8b:
		if z, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			r = z
		}
	case b[0] == 0x78 && (int(b[0])<<8|int(b[1]))%31 == 0: // RFC 1950 section 2.2
		if z, err := zlib.NewReader(bytes.NewReader(b)); err == nil {
			r = z
		}
	}
	if r == nil {
		return b
	}
	out, _ := io.ReadAll(io.LimitReader(r, int64(limit))) // what came before a damage counts
	if len(out) == 0 {
		return b
	}
	return out
}

// printable reports whether b is text: UTF-8, or UTF-16 as PowerShell has it, with few control characters.
func printable(b []byte) bool {
	if len(b) < 6 || !utf8.Valid(b) {
		return false
	}
	bad := 0
	for _, c := range b {
		if c < 0x20 && c != '\n' && c != '\t' && c != '\r' || c == 0x7f {
			bad++
		}
	}
	return bad*20 <= len(b)
}

func reverse(s string) []byte {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return b
}

func rot13(s string) []byte {
	b := []byte(s)
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z':
			b[i] = 'a' + (c-'a'+13)%26
		case c >= 'A' && c <= 'Z':
			b[i] = 'A' + (c-'A'+13)%26
		}
	}
	return b
}
