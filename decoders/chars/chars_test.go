package chars

import (
	"strings"
	"testing"
)

func TestHex(t *testing.T) {
	for c := range 256 {
		v, ok := Hex(byte(c))
		if want := strings.IndexByte("0123456789abcdef", byte(c)|0x20); ok != (want >= 0 && (c >= '0' && c <= '9' || c >= 'A')) || ok && int(v) != want {
			t.Errorf("%q: %d, %t", byte(c), v, ok)
		}
	}
	for s, want := range map[string]int{"4a": 0x4a, "Ff": 0xff, "00": 0, "g0": -1, "0g": -1} {
		if v, ok := HexPair(s[0], s[1]); ok != (want >= 0) || ok && int(v) != want {
			t.Errorf("%s: %d, %t", s, v, ok)
		}
	}
	for s, want := range map[string]bool{"0af9": true, "0AF9": false, "0af": false, "0af9a": false, "0a 9": false, "": false} {
		if IsHex(s, 4) != want {
			t.Errorf("IsHex(%q)", s)
		}
	}
}

func TestUnpercent(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "plain+": "plain+", "%41": "A", "a%2fb%2Fc": "a/b/c", "%": "%", "%4": "%4", "%4g": "%4g", "%%41": "%A", "%2541": "%41", "x%00": "x\x00",
	} {
		if got := Unpercent(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestBound(t *testing.T) {
	for _, x := range []struct {
		s    string
		n    int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"", 3, ""}, {"aé", 2, "a\ufffd"}, {"a\xff\xfeb", 9, "a\ufffdb"}} {
		if got := Bound(x.s, x.n); got != x.want {
			t.Errorf("%q: %q, want %q", x.s, got, x.want)
		}
	}
}
