package zeek

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// unescape reads a value of the tab-separated form.
func unescape(s string) (string, bool) {
	if s == empty {
		return "", true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if strings.HasPrefix(s[i:], `\\`) {
			b.WriteByte('\\')
			i++
			continue
		}
		if len(s) < i+4 || s[i+1] != 'x' {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(n))
		i += 3
	}
	return b.String(), true
}

// checkJSON holds that what was written is JSON and, unless it had to be escaped by bytes, says s.
func checkJSON(t *testing.T, s string, b []byte) {
	t.Helper()
	var got string
	if err := json.Unmarshal(b, &got); err != nil {
		t.Errorf("%q is written %s: %v", s, b, err)
	}
	if printable(s, true) && got != s {
		t.Errorf("%q is written %s, which reads %q", s, b, got)
	}
}

func FuzzStrings(f *testing.F) {
	for _, s := range []string{"", "-", "(empty)", "a\tb,\\", "é\xff\u202e\ue000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, inSet := range []bool{false, true} {
			b := appendText(nil, s, inSet)
			if len(b) == 0 || string(b) == "-" || strings.ContainsAny(string(b), "\t\n\x00\x1b") || inSet && strings.Contains(string(b), ",") {
				t.Errorf("%q is written %q", s, b)
			}
			if got, ok := unescape(string(b)); !ok || got != s {
				t.Errorf("%q is written %q, which reads %q", s, b, got)
			}
		}
		checkJSON(t, s, appendQuoted(nil, s))
	})
}
