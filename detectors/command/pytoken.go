package command

import "strings"

// token is one of Python (Lexical analysis, docs.python.org/3/reference/lexical_analysis.html).
type token struct {
	kind   byte   // n name, d number, s string, o operator, l end of a logical line
	s      string // a string's text with its escapes undone
	form   bool   // a string with {expressions}
	indent int    // of the logical line
}

const maxTokens = 40_000

// pyTokens cuts a text into tokens. Comments are left out; a string that does not end goes to the end of its line, or of
// the text with three quotes.
func pyTokens(s string) (out []token, cut bool) {
	depth, indent, start := 0, 0, true
	for i := 0; i < len(s); {
		if len(out) >= maxTokens {
			return out, true
		}
		if start && depth == 0 {
			indent, i = pyIndent(s, i)
			start = false
			continue
		}
		c := s[i]
		switch {
		case c == '\n':
			if depth == 0 {
				if n := len(out); n > 0 && out[n-1].kind != 'l' {
					out = append(out, token{kind: 'l', indent: indent})
				}
				start = true
			}
			i++
		case c == ' ' || c == '\t' || c == '\r' || c == '\f':
			i++
		case c == '\\' && i+1 < len(s) && (s[i+1] == '\n' || s[i+1] == '\r'):
			i += 2
		case c == '#':
			j := strings.IndexByte(s[i:], '\n')
			if j < 0 {
				j = len(s) - i
			}
			i += j
		case c == '"' || c == '\'':
			t, n := pyString(s[i:], "")
			t.indent = indent
			out = append(out, t)
			i += n
		case pyNameByte(c) && !isDigit(c):
			t, n := pyName(s[i:])
			t.indent = indent
			out = append(out, t)
			i += n
		case isDigit(c):
			j := pyWord(s, i, func(c byte) bool { return alphanumeric(c) || c == '_' || c == '.' })
			out = append(out, token{kind: 'd', s: s[i:j], indent: indent})
			i = j
		default:
			switch c {
			case '(', '[', '{':
				depth++
			case ')', ']', '}':
				depth = max(depth-1, 0)
			}
			j := i + pyOperator(s[i:])
			out = append(out, token{kind: 'o', s: s[i:j], indent: indent})
			i = j
		}
	}
	return append(out, token{kind: 'l', indent: indent}), false
}

// pyIndent measures the indentation of the line at i, and returns where its text begins.
func pyIndent(s string, i int) (indent, begin int) {
	for ; i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\f'); i++ {
		if s[i] == '\t' {
			indent += 8
		} else {
			indent++
		}
	}
	return indent, i
}

// pyWord returns where the bytes that belong to a token of its kind end.
func pyWord(s string, i int, belongs func(c byte) bool) int {
	for i < len(s) && belongs(s[i]) {
		i++
	}
	return i
}

func pyNameByte(c byte) bool { return c == '_' || alphanumeric(c) || c >= 0x80 }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// pyName reads a name, or a string with a prefix, n bytes.
func pyName(s string) (t token, n int) {
	n = pyWord(s, 0, pyNameByte)
	if n < len(s) && (s[n] == '"' || s[n] == '\'') && pyPrefix(s[:n]) {
		t, text := pyString(s[n:], strings.ToLower(s[:n]))
		return t, n + text
	}
	return token{kind: 'n', s: s[:n]}, n
}

// pyPrefix reports whether a word before a quote is a prefix of the string.
func pyPrefix(w string) bool { return len(w) <= 2 && strings.Trim(strings.ToLower(w), "rbuft") == "" }

// pyOperator returns the length of the operator that s begins with.
func pyOperator(s string) int {
	if len(s) > 1 {
		switch s[:2] {
		case "**", "//", "<<", ">>", "==", "!=", "<=", ">=", "->", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", ":=", "@=":
			return 2
		}
	}
	return 1
}

// pyString reads a literal that begins with its quotes, and gives its length.
func pyString(s, prefix string) (t token, n int) {
	t = token{kind: 's', form: strings.Contains(prefix, "f")}
	raw := strings.Contains(prefix, "r")
	q := s[:1]
	if strings.HasPrefix(s, q+q+q) {
		q = s[:3]
	}
	i := len(q)
	for i < len(s) {
		if s[i] == '\\' && i+1 < len(s) {
			i += 2
			continue
		}
		if strings.HasPrefix(s[i:], q) {
			body := s[len(q):i]
			if !raw {
				body = pyUnescape(body)
			}
			t.s = body
			return t, i + len(q)
		}
		if len(q) == 1 && s[i] == '\n' {
			break
		}
		i++
	}
	i = min(i, len(s))
	t.s = s[min(len(q), i):i]
	return t, max(i, 1)
}

func pyUnescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	s = strings.ReplaceAll(s, "\\\n", "")
	// \c ends the text in echo and stands for itself here.
	return ansiC(strings.ReplaceAll(strings.ReplaceAll(s, `\\`, `\x5c`), `\c`, `\x5cc`))
}

// looksPython says whether a text begins as Python does.
func looksPython(s string) bool {
	s = strings.TrimSpace(s)
	for range 8 { // comments and blank lines
		if !strings.HasPrefix(s, "#") {
			break
		}
		if strings.HasPrefix(s, "#!") {
			line, _, _ := strings.Cut(s, "\n")
			return strings.Contains(line, "python")
		}
		_, s, _ = strings.Cut(s, "\n")
		s = strings.TrimSpace(s)
	}
	line, _, _ := strings.Cut(s, "\n")
	f := strings.Fields(line)
	if len(f) == 0 {
		return false
	}
	switch f[0] {
	case "import":
		return len(f) > 1 && !strings.Contains(f[1], "-")
	case "from":
		return len(f) > 3 && f[2] == "import"
	case "def", "class", "async", "@ray.remote", "with", "try:", "lambda", "print":
		return len(f) > 1 || f[0] == "try:" || f[0] == "@ray.remote"
	}
	return strings.HasPrefix(s, "__import__(") || strings.HasPrefix(s, "exec(") || strings.HasPrefix(s, "eval(") || strings.HasPrefix(s, "print(") || strings.HasPrefix(s, "os.system(") || strings.HasPrefix(s, "subprocess.") || strings.HasPrefix(s, `"""`)
}
