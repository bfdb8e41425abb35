package detectors

import (
	"testing"
	"time"
)

func TestClip(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{
		{"all of it", 9, "all of it"},
		{"all of it", 3, "all\u2026"},
		{"two\r\nlines\tand \x1b[31mred\x7f\xff", 99, "two  lines and .[31mred.."},
		{"h\u00e9", 2, "h\u2026"},              // no half of a character
		{"\x80\x80\x80\x80\x80", 4, ".\u2026"}, // nor a search for its beginning through all of it
		{"\u20ac", 0, "\u2026"},
		{"", 0, ""},
	} {
		if got := Clip(tt.in, tt.n); got != tt.want {
			t.Errorf("%q, %d: %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

func TestWhole(t *testing.T) {
	for in, want := range map[string]string{
		"curl http://evil.com":       "curl http://evil.com",
		"curl http://evil.com\u2026": "curl http://",
		"a b\u2026":                  "a ",
		"evil.com\u2026":             "",
	} {
		if got := Whole(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestSpanAndSize(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "1 second", 1400 * time.Millisecond: "1 second", 119 * time.Second: "119 seconds", 2 * time.Minute: "2 minutes", 3 * time.Hour: "3 hours",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[uint64]string{999: "1 kB", 2e6: "2 MB", 1.2e9: "1.2 GB", 12e9: "12 GB"} {
		if got := Size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
