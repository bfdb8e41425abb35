package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

func said(sev detectors.Severity, seconds int, msg string) *detectors.Finding {
	return &detectors.Finding{
		At: capture.At{Time: capture.Time(1700000000+seconds) * 1e9, Packet: uint64(seconds)}, Rule: "mining/stratum", Name: "Rx",
		Severity: sev, Msg: msg, Src: netip.MustParseAddr("10.0.0.1"), Count: 1,
	}
}

func report(t *testing.T, opt Options, totals Totals, findings ...*detectors.Finding) string {
	t.Helper()
	s := New(opt)
	for _, f := range findings {
		s.Event(f)
	}
	var b bytes.Buffer
	if err := s.Report(&b, totals); err != nil {
		t.Fatal(err)
	}
	return undated(t, b.String(), len(findings) > 0)
}

// undated takes off the line that says what the times are, which stands once and first if there are some.
func undated(t *testing.T, s string, times bool) string {
	t.Helper()
	const line = "times are UTC\n\n"
	if strings.HasPrefix(s, line) != times || strings.Count(s, line) > 1 {
		t.Errorf("the zone is not said once, at the head:\n%s", s)
	}
	return strings.TrimPrefix(s, line)
}

func TestMostSevereFirstThenByTime(t *testing.T) {
	again := said(detectors.High, 4, "B again")
	again.Count = 1200
	again.Flow = &capture.Flow{UID: "CabcDEF"}
	got := report(t, Options{}, Totals{
		Packets: 1234567, Bytes: 8_100_000, Flows: 1, First: 1700000000e9, Last: 1700000061e9,
		Losses:  []Loss{{"bad_checksum", 3, "packets"}, {"flows_evicted", 0, "flows"}, {"gap_bytes", 1500, "bytes"}},
		Elapsed: 2 * time.Second,
	}, said(detectors.Info, 1, "D"), said(detectors.Critical, 9, "A"), again, said(detectors.High, 5, "C"))
	want := `critical  2023-11-14 22:13:29  A [mining/stratum, Rx, packet 9]
high      2023-11-14 22:13:24  B again [mining/stratum, Rx, CabcDEF, packet 4, 1,200 times]
high      2023-11-14 22:13:25  C [mining/stratum, Rx, packet 5]
info      2023-11-14 22:13:21  D [mining/stratum, Rx, packet 1]

1,234,567 packets; 8.1 MB; 1 flow; 1m1s (2023-11-14 22:13:20 to 22:14:21 UTC); 4 findings (1 critical, 2 high, 1 info); lost: 3 packets bad checksum, 1.5 kB gap; 617,283 packets/s
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestOffloadedIsNoLoss: what a network card was to fill in is said for what it is.
func TestOffloadedIsNoLoss(t *testing.T) {
	for _, c := range []struct {
		totals Totals
		want   string
	}{
		{Totals{Packets: 3000, Flows: 2, Offloaded: 1200}, "; nothing lost; 1,200 packets whose checksums were left to a network card (as on a host that captures its own traffic: they are taken for right)\n"},
		{Totals{Packets: 3000, Flows: 2, Offloaded: 1}, "; nothing lost; 1 packet whose checksum was left to a network card (as on a host that captures its own traffic: it is taken for right)\n"},
		{Totals{Packets: 3000, Flows: 2, Offloaded: 2, OffloadedAside: true}, "; nothing lost; 2 packets whose checksums were left to a network card (as on a host that captures its own traffic: detection reads them, conn.log is counted without them)\n"},
	} {
		if got := report(t, Options{}, c.totals); !strings.HasSuffix(got, c.want) {
			t.Errorf("%q, want at the end %q", got, c.want)
		}
	}
}

func TestNothingFound(t *testing.T) {
	want := "0 packets; 0 bytes; 0 flows; no findings; nothing lost\n"
	if got := report(t, Options{}, Totals{}); got != want {
		t.Errorf("got %q", got)
	}
}

func TestOtherEventsAreIgnored(t *testing.T) {
	s := New(Options{})
	s.Event(&capture.Weird{})
	s.Event(nil)
	if s.Reached(detectors.Info) {
		t.Error("something was counted")
	}
}

func TestReached(t *testing.T) {
	s := New(Options{})
	s.Event(said(detectors.Medium, 0, ""))
	for sev, want := range map[detectors.Severity]bool{detectors.Info: true, detectors.Medium: true, detectors.High: false, detectors.Critical: false} {
		if s.Reached(sev) != want {
			t.Errorf("%s: %v", sev, !want)
		}
	}
}

func TestColorOnlyWhenAsked(t *testing.T) {
	f := said(detectors.Critical, 0, "x")
	if got := report(t, Options{}, Totals{}, f); strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
	if got := report(t, Options{Color: true}, Totals{}, f); !strings.HasPrefix(got, "\x1b[1m\x1b[31mcritical\x1b[0m") {
		t.Errorf("%q", got)
	}
}

// TestNothingFromTheWireReachesTheTerminal: whatever the sentence holds, what is printed cannot steer a terminal.
func TestNothingFromTheWireReachesTheTerminal(t *testing.T) {
	for _, c := range []struct{ trap, in, want string }{
		{"plain", "job 'x' on 10.0.0.1", "job 'x' on 10.0.0.1"},
		{"title escape", "a\x1b]0;owned\x07b", `a\x1b]0;owned\x07b`},
		{"colour", "\x1b[31mred", `\x1b[31mred`},
		{"carriage return over the line", "evil\rgood", `evil\x0dgood`},
		{"forged line", "x\ncritical  forged", `x\x0acritical  forged`},
		{"C1 control sequence introducer", "\u009b31m", `\u{009b}31m`},
		{"the same as a byte", "\x9b31m", `\x9b31m`},
		{"bidi override", "exe.\u202egpj", `exe.\u{202e}gpj`},
		{"bidi isolate", "\u2066x\u2069", `\u{2066}x\u{2069}`},
		{"zero width", "pool\u200b.com\ufeff", `pool\u{200b}.com\u{feff}`},
		{"line separators", "a\u2028b\u2029c\u0085d", `a\u{2028}b\u{2029}c\u{0085}d`},
		{"tags", "\U000e0041", `\u{e0041}`},
		{"private use", "\ue000", `\u{e000}`},
		{"no text", "\xff\xc3(", `\xff\xc3(`},
		{"delete", "a\x7f\x08", `a\x7f\x08`},
		{"living scripts", "Привет 漢字 🙂 é", "Привет 漢字 🙂 é"},
		{"pile of marks", "e" + strings.Repeat("\u0301", 5), "e\u0301\u0301\u0301" + `\u{0301}\u{0301}`},
	} {
		if got := Clean(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", c.trap, got, c.want)
		}
		f := said(detectors.High, 0, c.in)
		f.Rule = c.in
		f.Flow = &capture.Flow{UID: c.in}
		got := report(t, Options{}, Totals{}, f)
		if strings.Count(got, "\n") != 3 || strings.ContainsAny(got, "\x1b\r\x7f\u202e\u009b") {
			t.Errorf("%s: report %q", c.trap, got)
		}
	}
	if got := Clean(strings.Repeat("é", 1<<20)); len(got) > maxText+3 || !strings.HasSuffix(got, "é...") {
		t.Errorf("%d bytes, ends in %q", len(got), got[len(got)-8:])
	}
}

func TestWrapAtTheWidth(t *testing.T) {
	long := "203.0.113.66 submitted " + strings.Repeat("z", 100) + " to 10.20.0.10 漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字 and it ran"
	for width := 1; width < 200; width++ {
		got := report(t, Options{Width: width}, Totals{}, said(detectors.High, 1, long))
		body, _, _ := strings.Cut(got, "\n\n")
		lines := strings.Split(body, "\n")
		if width < 2*len(hang) {
			if len(lines) != 1 {
				t.Errorf("width %d: wrapped", width)
			}
			continue
		}
		for i, l := range lines {
			// the severity and the time are never broken
			if n := columns(l); n > width && n > 31 {
				t.Errorf("width %d: line %q has %d columns", width, l, n)
			}
			if i > 0 && !strings.HasPrefix(l, hang) {
				t.Errorf("width %d: line %q is not indented", width, l)
			}
		}
		all := strings.Join(strings.Fields(body), "")
		if want := strings.ReplaceAll("high2023-11-1422:13:21"+long+"[mining/stratum,Rx,packet1]", " ", ""); all != want {
			t.Errorf("width %d: text was lost: %s", width, all)
		}
	}
}

func TestFloodKeepsTheMostSevere(t *testing.T) {
	s := New(Options{})
	for i := range 3 * maxKept {
		s.Event(said(detectors.Low, i, "low"))
		if i == 10 {
			s.Event(said(detectors.Critical, i, "the one"))
		}
	}
	if len(s.kept) > maxKept || cap(s.kept) > 4*maxKept {
		t.Errorf("%d kept", len(s.kept))
	}
	var b bytes.Buffer
	if err := s.Report(&b, Totals{}); err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(undated(t, b.String(), true), "\n")
	if !strings.Contains(first, "the one") {
		t.Errorf("first line: %s", first)
	}
	shown := strings.Count(b.String(), "2023-11-1")
	if want := fmt.Sprintf("and %s more", Number(uint64(3*maxKept+1-shown))); !strings.Contains(b.String(), want) {
		t.Errorf("no %q with %d shown", want, shown)
	}
	if !strings.Contains(b.String(), Number(3*maxKept+1)+" findings") {
		t.Error("the totals do not have all")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestBrokenPipeIsSaid(t *testing.T) {
	if err := New(Options{}).Report(broken{}, Totals{}); err == nil {
		t.Error("no error")
	}
}

func TestProgress(t *testing.T) {
	var b bytes.Buffer
	start := time.Unix(1700000000, 0)
	p := NewProgress(&b, start)
	p.Show(start.Add(100*time.Millisecond), 1, 1)
	p.Clear()
	if b.Len() > 0 {
		t.Errorf("a short run shows %q", b.String())
	}
	for ms := range 2000 {
		p.Show(start.Add(time.Duration(ms)*time.Millisecond), uint64(1e6-ms*400), 5e6)
	}
	if n := strings.Count(b.String(), "\r"); n < 5 || n > 9 {
		t.Errorf("shown %d times in two seconds", n)
	}
	p.Clear()
	// What a terminal shows is what stands when every carriage return has been obeyed.
	screen := make([]byte, 80)
	col := 0
	for _, c := range b.Bytes() {
		if c == '\r' {
			col = 0
			continue
		}
		screen[col] = c
		col++
	}
	if left := strings.Trim(string(screen), " \x00"); left != "" || col != 0 {
		t.Errorf("left on the screen: %q, cursor at %d", left, col)
	}
}

func TestAFileIsNoTerminal(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if w := Width(f); w != 0 {
		t.Errorf("width %d", w)
	}
}

func TestNumbersAndSizes(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", 1<<64 - 1: "18,446,744,073,709,551,615"} {
		if got := Number(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	for n, want := range map[uint64]string{0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1.0 kB", 99_949: "99.9 kB", 99_950: "100 kB",
		999_499: "999 kB", 999_500: "1.0 MB", 412e6: "412 MB", 1<<64 - 1: "18.4 EB"} {
		if got := Size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestPeriods(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 1234567: "1.235ms", 1234567890: "1.23s", 61 * time.Second: "1m1s", 47 * time.Hour: "47h0m0s", 50 * time.Hour: "2 days 2 hours",
		1<<63 - 1: "106,751 days 23 hours",
	} {
		if got := period(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[0m\u202e\xff\u0301\u0301\u0301\u0301")
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q becomes %q: no text", s, got)
		}
		for _, r := range got {
			if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Errorf("%q becomes %q", s, got)
			}
		}
		if again := Clean(got); len(got) <= maxText && again != got {
			t.Errorf("%q becomes %q and then %q", s, got, again)
		}
	})
}

func intrusion(sev detectors.Severity, score int, steps int) *detectors.Incident {
	x := &detectors.Incident{
		ID: "Iabc", Chain: true, Severity: sev, Score: score, Findings: 3, Summary: "203.0.113.66 ran a job. Then 10.0.0.1 mined.",
		First: capture.At{Time: 1700000000e9, Packet: 1}, Last: capture.At{Time: 1700000060e9, Packet: 9},
	}
	for i := range steps {
		x.Steps = append(x.Steps, detectors.Step{
			At:  capture.At{Time: capture.Time(1700000000+i) * 1e9, Packet: uint64(i + 1)},
			Who: netip.MustParseAddr("10.0.0.1"), What: "mined at 198.51.100.44:3333", Count: i + 1,
		})
	}
	return x
}

func TestIncidentsBeforeFindings(t *testing.T) {
	s := New(Options{})
	chain := said(detectors.Critical, 3, "told by the incident")
	chain.Rule = detectors.ChainRule
	s.Event(said(detectors.Critical, 1, "A"))
	s.Event(chain)
	less := intrusion(detectors.High, 60, 1)
	less.ID = "Idef"
	s.Event(less)
	s.Event(intrusion(detectors.Critical, 80, 2))
	lone := intrusion(detectors.Critical, 90, 1)
	lone.ID = "Ighi"
	lone.Chain = false // told by its findings
	s.Event(lone)
	var b bytes.Buffer
	if err := s.Report(&b, Totals{}); err != nil {
		t.Fatal(err)
	}
	want := `critical  2023-11-14 22:13:20  INCIDENT  203.0.113.66 ran a job. Then 10.0.0.1 mined. [Iabc, score 80, 3 findings]
          22:13:20  10.0.0.1 mined at 198.51.100.44:3333 [packet 1]
          22:13:21  10.0.0.1 mined at 198.51.100.44:3333, 2 times [packet 2]

high      2023-11-14 22:13:20  INCIDENT  203.0.113.66 ran a job. Then 10.0.0.1 mined. [Idef, score 60, 3 findings]
          22:13:20  10.0.0.1 mined at 198.51.100.44:3333 [packet 1]

critical  2023-11-14 22:13:21  A [mining/stratum, Rx, packet 1]

0 packets; 0 bytes; 0 flows; 2 incidents; 1 finding (1 critical); nothing lost
`
	if got := undated(t, b.String(), true); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestStoriesAreBoundedCleanAndWrapped(t *testing.T) {
	s := New(Options{Width: 80})
	for i := range 3 * maxIncidents {
		x := intrusion(detectors.Severity(i%5), i%100, 40)
		x.ID = fmt.Sprint("I", i)
		s.Event(x)
	}
	bad := intrusion(detectors.Critical, 100, 1)
	bad.Summary, bad.Steps[0].What = "a\x1b[31m\nb", "c\rd\u202e"
	s.Event(bad)
	var b bytes.Buffer
	if err := s.Report(&b, Totals{}); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	if n := strings.Count(got, "INCIDENT"); n != maxIncidents {
		t.Errorf("%d incidents told", n)
	}
	if !strings.Contains(got, "and 24 more steps, which incidents.log has") || !strings.Contains(got, "1,537 incidents") {
		t.Error("what is left out is not counted")
	}
	if strings.ContainsAny(got, "\x1b\r\u202e") {
		t.Error("something from the wire reached the terminal")
	}
	for _, l := range strings.Split(got, "\n") {
		if columns(l) > 80 {
			t.Errorf("%q", l)
		}
	}
}

// hostile are characters that change what is around them, or are not seen.
var hostile = []string{
	"\x1b", "\x00", "\x07", "\x7f", "\r", "\u0080", "\u0085", "\u009b", "\u00a0", "\u00ad", "\u034f", "\u061c", "\u115f", "\u180e", "\u200b", "\u200c", "\u200d", "\u200e",
	"\u200f", "\u2028", "\u2029", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2060", "\u2066", "\u2067", "\u2068", "\u2069", "\u206a", "\u2800", "\u3164",
	"\ufe0f", "\ufeff", "\uffa0", "\ufff9", "\U000e0001", "\U000e0041", "\U000e0100", "\ue000", "\U0010ffff", "\xff", "\xc2", "\xed\xa0\x80", "\xc0\xaf",
}

// TestHostileText: what hides or reverses text is shown as an escape, in a sentence of any length, in a file, in JSON.
func TestHostileText(t *testing.T) {
	for _, h := range hostile {
		for name, s := range map[string]string{
			"Clean": Clean("a" + h + "b"), "long": Clean(h + strings.Repeat("x", 2*maxText)), "CleanLines": CleanLines("a" + h + "b"),
		} {
			if strings.Contains(s, h) || !strings.Contains(s, `\`) {
				t.Errorf("%s of %q gives %q", name, h, s)
			}
		}
		b, _ := json.Marshal("a" + h + "b")
		var was, is string
		json.Unmarshal(b, &was)
		out := JSON(b)
		if err := json.Unmarshal(out, &is); err != nil || is != was || h != "\r" && utf8.ValidString(h) && bytes.Contains(out, []byte(h)) {
			t.Errorf("%q: %s is %q, was %q, %v", h, out, is, was, err)
		}
	}
	const fine = "Grüße, 日本語, עברית, é, 😀 – “quoted”"
	if got := Clean(fine); got != fine {
		t.Errorf("%q became %q", fine, got)
	}
	if got := CleanLines("a\n\tb"); got != "a\n\tb" {
		t.Errorf("%q", got)
	}
}

// TestLastWordOfAnIncident: of what is said of an incident again and again the last counts, and what turned out to be part
// of another is not told.
func TestLastWordOfAnIncident(t *testing.T) {
	s := New(Options{})
	for i, text := range []string{"it began", "it grew", "it is over"} {
		x := intrusion(detectors.Critical, 50, 1)
		x.ID, x.Revision, x.Summary, x.State = "I1", i+1, text, detectors.Open
		s.Event(x)
		y := intrusion(detectors.High, 40, 1)
		y.ID, y.Revision, y.Summary, y.State = "I2", i+1, "another one", detectors.Open
		if i == 2 {
			y.State, y.Into = detectors.Merged, "I1"
		}
		s.Event(y)
	}
	chain := said(detectors.High, 1, "chain")
	chain.Rule = detectors.ChainRule
	s.Event(chain)
	worse := *chain
	worse.Severity, worse.Revision = detectors.Critical, 2
	s.Event(&detectors.Update{Finding: &worse, Was: detectors.High})
	var b bytes.Buffer
	if err := s.Report(&b, Totals{}); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	if strings.Count(got, "INCIDENT") != 1 || !strings.Contains(got, "it is over") || !strings.Contains(got, "; 1 incident; no findings") {
		t.Errorf("%s", got)
	}
	if !s.Reached(detectors.Critical) {
		t.Error("what has become critical was not")
	}
	b.Reset()
	y := intrusion(detectors.High, 40, 1)
	y.ID, y.State, y.Into = "I2", detectors.Merged, "I1"
	if err := s.Print(&b, y); err != nil || !strings.Contains(b.String(), "I2 has turned out to be part of I1") {
		t.Errorf("%s", b.String())
	}
}

// TestLiveIsNotAlarmedTwice: what is seen again is not printed again, unless it is worse.
func TestLiveIsNotAlarmedTwice(t *testing.T) {
	var b bytes.Buffer
	s := New(Options{Live: &b})
	f := said(detectors.High, 1, "first")
	s.Event(f)
	again := *f
	again.Revision, again.Count, again.Msg = 2, 8000, "again"
	s.Event(&detectors.Update{Finding: &again, Was: detectors.High})
	if got := b.String(); strings.Count(got, "[mining/stratum") != 1 {
		t.Errorf("%s", got)
	}
	again.Severity, again.Msg = detectors.Critical, "worse"
	s.Event(&detectors.Update{Finding: &again, Was: detectors.High})
	if got := b.String(); !strings.Contains(got, "worse") || strings.Contains(got, "again") {
		t.Errorf("%s", got)
	}
}
