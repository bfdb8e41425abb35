package zeek

import (
	"bytes"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// every is a row with a column of each kind.
type every struct {
	log  string
	ts   capture.Time
	s    string
	list []string
	set  bool
}

func (r *every) Log() string { return r.log }
func (r *every) Row(w capture.Fields) {
	w.Time("ts", r.ts, true)
	w.String("s", r.s, r.set)
	w.Enum("e", "tcp", r.set)
	w.Count("c", math.MaxUint64, r.set)
	w.Bool("t", true, r.set)
	w.Bool("f", false, r.set)
	w.Addr("id.orig_h", netip.MustParseAddr("::ffff:10.0.0.1"), r.set)
	w.Port("id.orig_p", 65535, r.set)
	w.Double("d", 0.1, r.set)
	w.Interval("i", 1500*time.Millisecond, r.set)
	w.Set("set", "enum", r.list, r.set)
	w.Vector("vec", "string", r.list, r.set)
	w.Intervals("ttls", []time.Duration{300 * time.Second, 0}, r.set)
}

func write(t *testing.T, opt Options, end capture.Time, events ...any) (dir string, s *Sink) {
	t.Helper()
	dir = t.TempDir()
	s, err := New(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range events {
		s.Event(ev)
	}
	if err := s.Close(end); err != nil {
		t.Fatal(err)
	}
	return dir, s
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTextIsZeeks(t *testing.T) {
	// 2023-11-14 22:13:20.123456789, the last digits of a nanosecond capture
	ts := capture.Time(1700000000_123456789)
	dir, s := write(t, Options{}, ts+61e9,
		&every{log: "x", ts: ts, s: "a\tb", list: []string{"a,b", "-", ""}, set: true},
		"of no interest",
		&every{log: "x", ts: ts, set: false},
		&every{log: "x", ts: ts, s: "", set: true},
	)
	want := "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tx\n#open\t2023-11-14-22-13-20\n" +
		"#fields\tts\ts\te\tc\tt\tf\tid.orig_h\tid.orig_p\td\ti\tset\tvec\tttls\n" +
		"#types\ttime\tstring\tenum\tcount\tbool\tbool\taddr\tport\tdouble\tinterval\tset[enum]\tvector[string]\tvector[interval]\n" +
		"1700000000.123456\ta\\x09b\ttcp\t18446744073709551615\tT\tF\t10.0.0.1\t65535\t0.1\t1.500000\ta\\x2cb,\\x2d,(empty)\ta\\x2cb,\\x2d,(empty)\t300.000000,0.000000\n" +
		"1700000000.123456\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\n" +
		"1700000000.123456\t(empty)\ttcp\t18446744073709551615\tT\tF\t10.0.0.1\t65535\t0.1\t1.500000\t(empty)\t(empty)\t300.000000,0.000000\n" +
		"#close\t2023-11-14-22-14-21\n"
	if got := read(t, dir, "x.log"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if c := s.Counts(); len(c) != 1 || c[0] != (Count{"x", 3, 0}) {
		t.Errorf("counts %v", c)
	}
}

func TestJSONIsZeeks(t *testing.T) {
	ts := capture.Time(1700000000_127160000)
	dir, _ := write(t, Options{Format: JSON}, ts,
		&every{log: "x", ts: ts, s: "a\"\tb", list: []string{"a,b", "-", ""}, set: true},
		&every{log: "x", ts: 0, set: false},
		&every{log: "x", ts: 5e9, s: "", set: true},
	)
	want := `{"ts":1700000000.12716,"s":"a\"\tb","e":"tcp","c":18446744073709551615,"t":true,"f":false,"id.orig_h":"10.0.0.1","id.orig_p":65535,"d":0.1,"i":1.5,"set":["a,b","-",""],"vec":["a,b","-",""],"ttls":[300.0,0.0]}
{"ts":0.0}
{"ts":5.0,"s":"","e":"tcp","c":18446744073709551615,"t":true,"f":false,"id.orig_h":"10.0.0.1","id.orig_p":65535,"d":0.1,"i":1.5,"set":[],"vec":[],"ttls":[300.0,0.0]}
`
	if got := read(t, dir, "x.log"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestStrings holds what Zeek 9.1 itself wrote for these values, as a string and inside a vector.
func TestStrings(t *testing.T) {
	for _, c := range []struct{ trap, in, tsv, vector, json string }{
		{"empty", "", "(empty)", "(empty)", ``},
		{"reads as unset", "-", `\x2d`, `\x2d`, `-`},
		{"begins as unset", "-x", `-x`, `-x`, `-x`},
		{"reads as empty", "(empty)", `\x28empty)`, `\x28empty)`, `(empty)`},
		{"comma", "a,b", `a,b`, `a\x2cb`, `a,b`},
		{"comma alone", ",", `,`, `\x2c`, `,`},
		{"hash", "#x", `#x`, `#x`, `#x`},
		{"tab", "a\tb", `a\x09b`, `a\x09b`, `a\tb`},
		{"newline", "a\nb", `a\x0ab`, `a\x0ab`, `a\nb`},
		{"backslash", `a\b`, `a\\b`, `a\\b`, `a\\b`},
		{"looks escaped", `a\x41b`, `a\\x41b`, `a\\x41b`, `a\\x41b`},
		{"quotes and markup", `"q" /s<&>`, `"q" /s<&>`, `"q" /s<&>`, `\"q\" /s<&>`},
		{"two, three and four bytes", "é漢🙂", `é漢🙂`, `é漢🙂`, `é漢🙂`},
		{"invalid bytes", "\xff\xfe x \xc3", `\xff\xfe x \xc3`, `\xff\xfe x \xc3`, `\\xff\\xfe x \\xc3`},
		{"terminal escape", "\x01\x1b[31m\x7f", `\x01\x1b[31m\x7f`, `\x01\x1b[31m\x7f`, `\\x01\\x1b[31m\\x7f`},
		{"NUL", "a\x00b", `a\x00b`, `a\x00b`, `a\\x00b`},
		{"C1 control", "\u0080", `\xc2\x80`, `\xc2\x80`, `\\xc2\\x80`},
		{"above C1", "\u00a0", "\u00a0", "\u00a0", "\u00a0"},
		{"surrogate", "\xed\xa0\x80", `\xed\xa0\x80`, `\xed\xa0\x80`, `\\xed\\xa0\\x80`},
		{"beyond Unicode", "\xf4\x90\x80\x80", `\xf4\x90\x80\x80`, `\xf4\x90\x80\x80`, `\\xf4\\x90\\x80\\x80`},
		{"overlong", "\xc0\xaf", `\xc0\xaf`, `\xc0\xaf`, `\\xc0\\xaf`},
		{"private use", "\ue000", `\xee\x80\x80`, `\xee\x80\x80`, `\\xee\\x80\\x80`},
		{"behind private use", "\uf900", "\uf900", "\uf900", "\uf900"},
		{"specials", "\ufff0", `\xef\xbf\xb0`, `\xef\xbf\xb0`, `\\xef\\xbf\\xb0`},
		{"replacement character", "\ufffd", `\xef\xbf\xbd`, `\xef\xbf\xbd`, `\\xef\\xbf\\xbd`},
		{"private use planes stay", "\U00100000", "\U00100000", "\U00100000", "\U00100000"},
		{"bidi override stays", "\u202e rtl", "\u202e rtl", "\u202e rtl", "\u202e rtl"},
		{"one bad byte spoils its string", "é\xffé", `\xc3\xa9\xff\xc3\xa9`, `\xc3\xa9\xff\xc3\xa9`, `\\xc3\\xa9\\xff\\xc3\\xa9`},
		{"a control character does too", "a\x01é", `a\x01\xc3\xa9`, `a\x01\xc3\xa9`, `a\\x01\\xc3\\xa9`},
		{"a newline only in text", "\né", `\x0a\xc3\xa9`, `\x0a\xc3\xa9`, `\né`},
		{"text is judged between tabs", "é\t\xff", `é\x09\xff`, `é\x09\xff`, `\\xc3\\xa9\t\\xff`},
		{"and between backslashes", "\xff\\é", `\xff\\é`, `\xff\\é`, `\\xff\\\\xc3\\xa9`},
		{"and in vectors between commas", "é,\xff", `\xc3\xa9,\xff`, `é\x2c\xff`, `\\xc3\\xa9,\\xff`},
		{"character split by a tab", "\xc3\t\xa9", `\xc3\x09\xa9`, `\xc3\x09\xa9`, `\\xc3\t\\xa9`},
		{"many parts", "é\t\té\\é\x01", `é\x09\x09é\\\xc3\xa9\x01`, `é\x09\x09é\\\xc3\xa9\x01`, `\\xc3\\xa9\t\t\\xc3\\xa9\\\\xc3\\xa9\\x01`},
		{"control with a letter", "é\b", `\xc3\xa9\x08`, `\xc3\xa9\x08`, `é\b`},
		{"control without", "é\v", `\xc3\xa9\x0b`, `\xc3\xa9\x0b`, `\\xc3\\xa9\\x0b`},
	} {
		if got := string(appendText(nil, c.in, false)); got != c.tsv {
			t.Errorf("%s: text %s, Zeek writes %s", c.trap, got, c.tsv)
		}
		if got := string(appendText(nil, c.in, true)); got != c.vector {
			t.Errorf("%s: in a vector %s, Zeek writes %s", c.trap, got, c.vector)
		}
		if got := string(appendQuoted(nil, c.in)); got != `"`+c.json+`"` {
			t.Errorf("%s: JSON %s, Zeek writes \"%s\"", c.trap, got, c.json)
		}
	}
}

// TestNumbers holds what Zeek 9.1 itself wrote for these values.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		in        float64
		tsv, json string
	}{
		{0, "0.0", "0.0"},
		{1, "1.0", "1.0"},
		{100, "100.0", "100.0"},
		{0.1, "0.1", "0.1"},
		{-1.5, "-1.5", "-1.5"},
		{1e-5, "0.00001", "0.00001"},
		{1e-6, "0.000001", "0.000001"},
		{1e-7, "0", "1e-7"},
		{-1e-7, "-0", "-1e-7"},
		{0.00000051, "0.000001", "5.1e-7"},
		{0.9999999, "1", "0.9999999"},
		{1. / 3, "0.333333", "0.3333333333333333"},
		{123456789.123456789, "123456789.123457", "123456789.12345679"},
		{2147483648.5, "2147483648.5", "2147483648.5"},
		{1e16, "10000000000000000.0", "10000000000000000.0"},
		{1e21, "1000000000000000000000.0", "1e21"},
		{1e22, "10000000000000000000000.0", "1e22"},
	} {
		if got := string(appendDouble(nil, c.in)); got != c.tsv {
			t.Errorf("%v: text %s, Zeek writes %s", c.in, got, c.tsv)
		}
		if got := string(appendNumber(nil, c.in)); got != c.json {
			t.Errorf("%v: JSON %s, Zeek writes %s", c.in, got, c.json)
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got := string(appendNumber(nil, v)); got != "null" {
			t.Errorf("%v: JSON %s", v, got)
		}
		appendDouble(nil, v)
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		ns        capture.Time
		tsv, json string
	}{
		{1700000000_439505941, "1700000000.439505", "1700000000.439505"}, // cut, not rounded
		{0, "0.000000", "0.0"},
		{8008000, "0.008008", "0.008008"},
		{999, "0.000000", "0.0"},
		{-1, "-0.000001", "-0.000001"},
		{-1500000000, "-1.500000", "-1.5"},
		{4000000000_100000000, "4000000000.100000", "4000000000.1"},
		{math.MaxInt64, "9223372036.854775", "9223372036.854775"},
		{math.MinInt64, "-9223372036.854776", "-9223372036.854776"},
	} {
		if got := string(appendFixed(nil, c.ns.Micros())); got != c.tsv {
			t.Errorf("%d ns: text %s, want %s", c.ns, got, c.tsv)
		}
		if got := string(appendTrimmed(nil, c.ns.Micros())); got != c.json {
			t.Errorf("%d ns: JSON %s, want %s", c.ns, got, c.json)
		}
	}
	if got := string(appendFixed(nil, rounded(7407903*time.Nanosecond))); got != "0.007408" {
		t.Errorf("interval %s is not rounded", got)
	}
}

// TestAddresses holds what Zeek 9.1 itself wrote for these values.
func TestAddresses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"10.0.0.1", "10.0.0.1"},
		{"::ffff:1.2.3.4", "1.2.3.4"},
		{"::1.2.3.4", "::1.2.3.4"},
		{"::1:0", "::0.1.0.0"},
		{"::", "::"},
		{"::1", "::1"},
		{"::2", "::2"},
		{"::1:0:0", "::1:0:0"},
		{"::ffff:0:1.2.3.4", "::ffff:0:1.2.3.4"},
		{"64:ff9b::1.2.3.4", "64:ff9b::102:304"},
		{"1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"},
		{"1:0:0:2:3:0:0:7", "1::2:3:0:0:7"},
		{"fe80::ABCD%eth0", "fe80::abcd"},
	} {
		if got := string(appendAddr(nil, netip.MustParseAddr(c.in))); got != c.want {
			t.Errorf("%s: %s, Zeek writes %s", c.in, got, c.want)
		}
	}
}

func finding() *detectors.Finding {
	return &detectors.Finding{
		At:   capture.At{Time: 1700000000e9, Packet: 52},
		Rule: "jobsubmit/external", Severity: detectors.Critical, Confidence: 95, Outcome: detectors.Succeeded,
		Msg: "203.0.113.66 submitted a job", Src: netip.MustParseAddr("203.0.113.66"), Dst: netip.MustParseAddr("10.20.0.10"), Port: 8265,
		Flow: &capture.Flow{UID: "CabcDEF", Proto: capture.ProtoTCP,
			Orig: netip.MustParseAddrPort("203.0.113.66:40000"), Resp: netip.MustParseAddrPort("10.20.0.10:8265")},
		Evidence: []detectors.Evidence{{Field: "entrypoint", Value: "curl x | sh, then", Packet: 52}, {Field: "agent", Value: "é"}},
		Count:    1,
	}
}

func TestFindingIsANotice(t *testing.T) {
	rules := []detectors.Rule{{Name: "jobsubmit/external", Note: "Job_Submit_External", ATTACK: []string{"T0000"}}}
	dir, _ := write(t, Options{Rules: rules}, 1700000000e9, finding(), &detectors.Finding{Rule: "new/one", Msg: "m"})
	lines := strings.Split(read(t, dir, "notice.log"), "\n")
	for i, want := range map[int]string{
		6: "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tfuid\tfile_mime_type\tfile_desc\tproto\tnote\tmsg\tsub\tsrc\tdst\tp\tn\tpeer_descr\tactions\temail_dest\tsuppress_for" +
			"\trule\tseverity\tconfidence\toutcome\tatlas\tattack\tevidence\tcommunity_id\tfinding_id\tincident_id\trevision\tupdate\tevidence_file",
		7: "#types\ttime\tstring\taddr\tport\taddr\tport\tstring\tstring\tstring\tenum\tenum\tstring\tstring\taddr\taddr\tport\tcount\tstring\tset[enum]\tset[string]\tinterval" +
			"\tstring\tstring\tcount\tstring\tvector[string]\tvector[string]\tvector[string]\tstring\tstring\tstring\tcount\tbool\tstring",
		8: "1700000000.000000\tCabcDEF\t203.0.113.66\t40000\t10.20.0.10\t8265\t-\t-\t-\ttcp\tRaytap::Job_Submit_External\t203.0.113.66 submitted a job\t-\t203.0.113.66\t10.20.0.10\t8265\t1\t-\tNotice::ACTION_LOG\t(empty)\t3600.000000" +
			"\tjobsubmit/external\tcritical\t95\tsucceeded\t(empty)\tT0000\tentrypoint=curl x | sh\\x2c then @52,agent=é\t1:LvmFRF4AQoIlK+PcqFLJxDnd8/w=\tRNzFHanebaMQWAagHg\t-\t1\tF\t-",
		9: "0.000000\t-\t-\t-\t-\t-\t-\t-\t-\t-\tRaytap::new_one\tm\t-\t-\t-\t-\t1\t-\tNotice::ACTION_LOG\t(empty)\t3600.000000\tnew/one\tinfo\t0\t-\t(empty)\t(empty)\t(empty)\t-\tR23c7icZhMlISR4HQF\t-\t1\tF\t-",
	} {
		if lines[i] != want {
			t.Errorf("line %d is\n%q, want\n%q", i, lines[i], want)
		}
	}
}

func TestTechniquesHaveNames(t *testing.T) {
	got := techniques([]string{"T1496"})
	if len(got) != 1 || !strings.HasPrefix(got[0], "T1496 ") {
		t.Errorf("%q", got)
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	f := finding()
	for range 100 {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "x", Value: strings.Repeat("é", 1<<20), Packet: 7})
	}
	var n notice
	n.set(f, nil)
	if len(n.evidence) != maxEvidence {
		t.Errorf("%d pieces", len(n.evidence))
	}
	if last := n.evidence[maxEvidence-1]; len(last) > maxEvidenceText+10 || !strings.HasSuffix(last, "é... @7") {
		t.Errorf("%d bytes, ends in %q", len(last), last[len(last)-10:])
	}
}

func TestFilesAreLazyAndReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"notice.log", "conn.log", "smtp.log", "conn.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("from another run\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(dir, Options{}); err == nil || !strings.Contains(err.Error(), "conn.log, notice.log in "+dir) {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "conn.log")); err != nil || string(b) != "from another run\n" {
		t.Errorf("conn.log has %q, %v", b, err)
	}
	s, err := New(dir, Options{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(dir, Options{Force: true}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Error("a second one at the same time: ", err)
	}
	s.Event(&capture.Conn{Flow: &capture.Flow{}})
	if err := s.Close(0); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(0); err != nil {
		t.Errorf("second Close: %v", err)
	}
	for range 2 { // its own it replaces
		if s, err = New(dir, Options{}); err != nil {
			t.Fatal(err)
		}
		s.Event(&capture.Conn{Flow: &capture.Flow{}})
		if err := s.Close(0); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "conn.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("a note of somebody\n")
	f.Close()
	if _, err := New(dir, Options{}); err == nil || !strings.Contains(err.Error(), "has changed since") {
		t.Error(err)
	}
	var have []string
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		have = append(have, f.Name())
	}
	if got := strings.Join(have, " "); got != ".raytap.lock conn.log conn.txt smtp.log" {
		t.Errorf("files: %s", got)
	}
	if got := read(t, dir, "conn.log"); strings.Contains(got, "another") {
		t.Error("conn.log was not replaced")
	}
	if got := read(t, dir, "smtp.log"); got != "from another run\n" {
		t.Error("smtp.log was touched")
	}
}

func TestDirectoryThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := New(filepath.Join(file, "dir"), Options{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v does not name the path", err)
	}
	if _, err := New(t.TempDir(), Options{Format: "xml"}); err == nil || !strings.Contains(err.Error(), "xml") {
		t.Errorf("format: %v", err)
	}
}

// TestFullDisk writes to the device that is always full: the first rows fit the buffer, the error comes late.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	s, err := New(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", filepath.Join(dir, "full.log")); err != nil {
		t.Fatal(err)
	}
	const rows = 5000
	for range rows {
		s.Event(&every{log: "full", s: strings.Repeat("x", 100), set: true})
		s.Event(&every{log: "fine", set: true})
	}
	err = s.Close(0)
	if err == nil || !strings.Contains(err.Error(), "full.log") || !strings.Contains(err.Error(), "5000 rows") {
		t.Errorf("error %v", err)
	}
	if strings.Contains(err.Error(), "fine.log") {
		t.Errorf("error %v blames a good file", err)
	}
	want := []Count{{"fine", rows, 0}, {"full", 0, rows}}
	if c := s.Counts(); len(c) != 2 || c[0] != want[0] || c[1] != want[1] {
		t.Errorf("counts %v, want %v", c, want)
	}
}

func TestLogThatCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	s, err := New(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "x.log"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Event(&every{log: "x"})
	s.Event(&every{log: "x"})
	if err := s.Close(0); err == nil || !strings.Contains(err.Error(), "x.log") || !strings.Contains(err.Error(), "2 rows") {
		t.Errorf("error %v", err)
	}
}

func TestRowLargerThanTheBuffer(t *testing.T) {
	big := strings.Repeat("y", keepBuffer+flushAt)
	dir, s := write(t, Options{}, 0, &every{log: "http", s: big, set: true}, &every{log: "http", s: "z", set: true}) // a log in which nothing is masked
	if got := read(t, dir, "http.log"); !strings.Contains(got, "\t"+big+"\t") || strings.Count(got, "\n") != 11 {
		t.Error("rows are missing")
	}
	if c := cap(s.logs["http"].text.b); c > keepBuffer {
		t.Errorf("a buffer of %d bytes was kept", c)
	}
}

func conn() *capture.Conn {
	return &capture.Conn{
		Flow: &capture.Flow{UID: "CXDsw44Q6dJKd9gkhg", Start: 1700000000_123464000,
			Orig: netip.MustParseAddrPort("10.0.0.1:40001"), Resp: netip.MustParseAddrPort("10.0.0.2:80"), Proto: capture.ProtoTCP},
		Duration: 6 * time.Microsecond, Services: []string{"http"}, State: "SF", History: "ShADdFf", CommunityID: "1:kO0sj5IvmHyTr62l9OBOFqKIbrs=",
	}
}

func TestNoAllocationForARow(t *testing.T) {
	for _, format := range []string{TSV, JSON} {
		s, err := New(t.TempDir(), Options{Format: format})
		if err != nil {
			t.Fatal(err)
		}
		var ev any = conn()
		for range 2000 { // over the first flush: the buffer has grown
			s.Event(ev)
		}
		if n := testing.AllocsPerRun(2000, func() { s.Event(ev) }); n != 0 {
			t.Errorf("%s: %v allocations a row", format, n)
		}
		if err := s.Close(0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPlain: every byte at every place of a word says what it says alone.
func TestPlain(t *testing.T) {
	for n := 1; n <= 17; n++ {
		for at := range n {
			for c := range 256 {
				b := bytes.Repeat([]byte{'a'}, n)
				b[at] = byte(c)
				if got, want := plain(string(b)), c >= 0x20 && c < 0x7f && c != '\\'; got != want {
					t.Fatalf("%q: %v", b, got)
				}
			}
		}
	}
}

// TestOnlyTheseLogs: a log that nobody wants has no file and no row, and the others are as they were.
func TestOnlyTheseLogs(t *testing.T) {
	rows := []capture.Record{&capture.Conn{Flow: &capture.Flow{UID: "C1", Start: 1}}, &capture.Weird{Name: "a"}, &capture.Conn{Flow: &capture.Flow{UID: "C2", Start: 2}}}
	read := func(logs ...string) (names []string, conn string) {
		dir := t.TempDir()
		s, err := New(dir, Options{Logs: logs})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			s.Event(r)
		}
		if err := s.Close(3); err != nil {
			t.Fatal(err)
		}
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			if f.Name() != lockFile {
				names = append(names, f.Name())
			}
		}
		b, _ := os.ReadFile(filepath.Join(dir, "conn.log"))
		return names, string(b)
	}
	all, conn := read()
	some, same := read("conn", "notice")
	if len(all) != 2 || len(some) != 1 || some[0] != "conn.log" || same != conn || conn == "" {
		t.Errorf("%v, %v\n%s\n%s", all, some, conn, same)
	}
}
