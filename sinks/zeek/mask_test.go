package zeek

import (
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// login has the columns of http.log that may hold a login.
type login struct{ log string }

func (l *login) Log() string { return l.log }

func (l *login) Row(w capture.Fields) {
	w.String("uri", "/a?token=hunter2&b=c", true)
	w.String("username", "alice", true)
	w.String("password", "hunter2", true)
	w.Set("proxied", "string", []string{"X-API-KEY -> hunter2", "password=hunter2"}, true)
}

// TestWhatIsMaskedWhere: Zeek's logs as Zeek has them, unless they are to be masked; ours always.
func TestWhatIsMaskedWhere(t *testing.T) {
	for _, format := range []string{TSV, JSON} {
		for _, tt := range []struct {
			log                string
			mask               bool
			text, user, secret bool // stay
		}{
			{"http", false, true, true, true},
			{"http", true, false, false, false},
			{"ray", false, false, true, true},
			{"weird", false, false, true, true},
			{"notmine", false, false, true, true},
		} {
			dir, _ := write(t, Options{Format: format, Mask: tt.mask}, 0, &login{tt.log})
			got := read(t, dir, tt.log+".log")
			if strings.Contains(got, "token=hunter2") != tt.text || strings.Contains(got, "alice") != tt.user {
				t.Errorf("%s %s mask %v:\n%s", format, tt.log, tt.mask, got)
			}
			if !tt.secret && strings.Contains(got, "hunter2") && !strings.Contains(got, "-> hunter2") {
				t.Errorf("%s %s mask %v:\n%s", format, tt.log, tt.mask, got)
			}
		}
	}
}

// TestJSONForOthersIsReadable: what a webhook gets has no character that reverses or hides text.
func TestJSONForOthersIsReadable(t *testing.T) {
	w := NewFindings(nil)
	got := string(w.JSON(&detectors.Finding{Rule: "x/y", Msg: "a\u202eb\u0085c\u200bd\x1be\xfff", Sub: "\U000e0041", Evidence: []detectors.Evidence{{Field: "f", Value: "\u2066"}}}))
	for _, want := range []string{`a\\u{202e}b\\u{0085}c\\u{200b}d\\x1be\\xfff`, `\\u{e0041}`, `"value":"\\u{2066}"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}
