package shell

import (
	"bytes"
	"strings"
)

// openings are how messages of terminals in a browser begin that say in JSON what a terminal says: Jupyter's
// (jupyter-server/terminado websocket.py), and the shells that people write for themselves.
var openings = [...]string{
	`["stdin"`, `["stdout"`, `["setup"`, `["set_size"`, `{"cmd"`, `{"command"`, `{"output"`, `{"stdout"`, `{"stdin"`, `{"result"`, `{"type"`,
	`{"action"`, `{"data"`,
}

// inJSON says that a direction speaks as a terminal in JSON does, as far as it has begun.
func inJSON(b []byte) bool {
	if len(b) == 0 || b[0] != '{' && b[0] != '[' {
		return false
	}
	b = b[:min(len(b), 24)]
	if i := bytes.IndexByte(b, ' '); i > 0 {
		b = append(b[:i:i], b[i+1:]...) // a space behind the bracket or the colon
	}
	for _, s := range openings {
		if n := min(len(b), len(s)); string(b[:n]) == s[:n] {
			return true
		}
	}
	return false
}

// unwrapped gives the texts in a stream of JSON: its strings that are no names of fields, one behind the other. What a
// terminal typed or printed is cut anywhere, so that they are joined as they are, but for those of objects, which are whole.
func unwrapped(b []byte) []byte {
	if !inJSON(b) {
		return b
	}
	array := b[0] == '['
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '"' {
			continue
		}
		from := i + 1
		for i = from; i < len(b) && b[i] != '"'; i++ {
			if b[i] == '\\' {
				i++
			}
		}
		if i >= len(b) {
			break // not whole yet
		}
		rest := bytes.TrimLeft(b[i+1:min(i+4, len(b))], " ")
		s := b[from:i]
		if len(rest) > 0 && rest[0] == ':' {
			continue
		}
		if array && (string(s) == "stdin" || string(s) == "stdout" || string(s) == "setup" || string(s) == "set_size") {
			continue
		}
		out = unescape(out, s)
		if !array && !bytes.HasSuffix(out, []byte("\n")) {
			out = append(out, '\n')
		}
	}
	return out
}

// unescape appends a JSON string without its escapes. A return that a terminal typed ends a line. Of \u only the escape
// character is kept, which the reader of terminals wants, unlike decoders/secrets.
func unescape(out, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			if i+4 < len(s) {
				if strings.EqualFold(string(s[i+1:i+5]), "001b") {
					out = append(out, 0x1b)
				}
				i += 4
			}
		default:
			out = append(out, c)
		}
	}
	return out
}
