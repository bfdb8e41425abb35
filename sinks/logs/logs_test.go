package logs

import (
	"bytes"
	"compress/gzip"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/zeek"
)

// every has a column of each kind, with values that the forms have to escape.
type every struct{ s string }

func (e *every) Log() string { return "every" }
func (e *every) Row(w capture.Fields) {
	w.Time("ts", 1700000000_123456000, true)
	w.String("s", e.s, true)
	w.String("none", "", false)
	w.String("empty", "", true)
	w.Enum("proto", "tcp", true)
	w.Count("n", 1<<63, true)
	w.Bool("yes", true, true)
	w.Addr("a", netip.MustParseAddr("2001:db8::1"), true)
	w.Port("p", 8265, true)
	w.Double("d", 1.5, true)
	w.Interval("i", 1500*time.Millisecond, true)
	w.Set("set", "string", []string{"a,b", "-", "", "tab\t", `back\slash`, e.s}, true)
	w.Vector("v", "string", nil, true)
	w.Intervals("is", []time.Duration{time.Second}, true)
}

var texts = []string{"plain", "-", "(empty)", "tab\tand\nline", `C:\x41\\`, "comma, é ü", "\x00\x1b[31m", "#fields\tx", `{"a":1}`}

func write(t *testing.T, format string) string {
	t.Helper()
	dir := t.TempDir()
	s, err := zeek.New(dir, zeek.Options{Format: format})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range texts {
		s.Event(&every{x})
	}
	if err := s.Close(0); err != nil {
		t.Fatal(err)
	}
	return dir
}

// open gives a folder of logs, all of which is read.
func open(t *testing.T, opt Options, dirs ...string) *Folder {
	t.Helper()
	f, err := Open(opt, dirs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func rows(t *testing.T, f *Folder, log string) []*Row {
	t.Helper()
	var all []*Row
	f.Read(log, func(r *Row) { all = append(all, r) })
	if f.Damaged != 0 || f.Unread() != nil {
		t.Fatalf("%s: %d damaged, %q", log, f.Damaged, f.Unread())
	}
	return all
}

// TestWhatZeekWritesIsReadBack: both forms give the values that were written, to the letter.
func TestWhatZeekWritesIsReadBack(t *testing.T) {
	for _, format := range []string{zeek.TSV, zeek.JSON} {
		f := open(t, Options{}, write(t, format))
		if names := f.Logs(); !slices.Equal(names, []string{"every"}) {
			t.Fatal(names)
		}
		all := rows(t, f, "every")
		if len(all) != len(texts) {
			t.Fatalf("%s: %d rows", format, len(all))
		}
		for i, r := range all {
			s := texts[i]
			if format == zeek.JSON && strings.ContainsAny(s, "\x00\x1b") {
				continue // escaped bytes and text of that look are one in JSON
			}
			if got := r.Get("s"); got != s {
				t.Errorf("%s: %q was read back as %q", format, s, got)
			}
			want := []string{"a,b", "-", "", "tab\t", `back\slash`, s}
			if got := r.List("set"); !slices.Equal(got, want) {
				t.Errorf("%s: set %q was read back as %q", format, want, got)
			}
			if r.Log != "every" || r.Time("ts") != 1700000000_123456000 || r.Uint("n") != 1<<63 || !r.Bool("yes") ||
				r.Addr("a") != netip.MustParseAddr("2001:db8::1") || r.Uint("p") != 8265 || r.Get("d") != "1.5" ||
				r.Has("none") || r.Has("missing") || !r.Has("empty") || r.Get("empty") != "" || r.Get("none") != "" ||
				len(r.List("v")) != 0 || r.List("s") != nil && len(r.List("s")) != 0 || r.IsList("s") || !r.IsList("set") {
				t.Errorf("%s: row %d is %+v", format, i, r)
			}
			if d, ok := ParseTime(r.Get("i")); !ok || d != 1500000000 {
				t.Errorf("%s: interval %q", format, r.Get("i"))
			}
		}
	}
}

func TestParseTime(t *testing.T) {
	for s, want := range map[string]capture.Time{
		"0.000000": 0, "1700000000": 1700000000e9, "1700000000.5": 1700000000_500000000, "1.123456789123": 1_123456789, "-1.5": -1_500000000, "-0.25": -250000000,
	} {
		if got, ok := ParseTime(s); !ok || got != want {
			t.Errorf("%s is %d, want %d", s, got, want)
		}
	}
	for _, s := range []string{"", "x", "1.x", "1e9", "99999999999999", "1.-5", "2026-11-23T00:00:00Z"} {
		if got, ok := ParseTime(s); ok {
			t.Errorf("%q is %d", s, got)
		}
	}
}

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write([]byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

// tree makes files below a folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// said gives the column n of all rows.
func said(f *Folder, log string) string {
	var all []string
	f.Read(log, func(r *Row) { all = append(all, r.Get("n")) })
	return strings.Join(all, " ")
}

func row(n string) string { return `{"ts":1795993200.5,"n":` + n + "}\n" }

// TestFolderOfASensor: its days, rotated files of either name, compressed or not, and what is being written are one, in
// order of time; a file that is there twice because it is being compressed is read once.
func TestFolderOfASensor(t *testing.T) {
	enc, _ := zstd.NewWriter(nil)
	files := map[string]string{
		"2026-11-22/conn.23:00:00-00:00:00.log.gz":    string(zipped(t, row("1"))),
		"2026-11-23/conn.2026-11-23-17-00-00.log.zst": string(enc.EncodeAll([]byte(row("2")), nil)),
		"2026-11-23/conn.17:20:00-18:00:00.log":       row("3"),
		"2026-11-23/conn.17:20:00-18:00:00.log.gz":    string(zipped(t, row("3"))),
		"2026-11-23/conn.18:00:00-19:00:00.log":       row("4"),
		"2026-11-23/conn.18:00:00-19:00:00-2.log":     row("5"),
		"2026-11-24/conn.00:00:00-00:30:00.log":       row("6"),
		"conn.2026-11-24-01-00-00.log":                row("7"),
		"current/conn.log":                            row("8") + `{"n":`,
		"current/.conn.log.swp":                       "x",
		"readme.txt":                                  "x",
		".raytap.lock":                                "conn.log\t1\n",
	}
	dir := tree(t, files)
	f := open(t, Options{}, dir, dir+"/")
	if got := said(f, "conn"); got != "1 2 3 4 5 6 7 8" || f.Damaged != 0 || f.Unread() != nil || !f.Running() {
		t.Errorf("%s; %d damaged, %q", got, f.Damaged, f.Unread())
	}
	// A day alone, as it was copied.
	if got := said(open(t, Options{}, filepath.Join(dir, "2026-11-23")), "conn"); got != "2 3 4 5" {
		t.Error(got)
	}
	// Two sensors.
	other := tree(t, map[string]string{"2026-11-23/conn.17:30:00-18:00:00.log": row("9")})
	if got := said(open(t, Options{}, other, dir), "conn"); got != "1 2 3 9 4 5 6 7 8" {
		t.Error(got)
	}
	if _, err := Open(Options{}, dir, filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there")
	}
}

// TestUnreadIsSaid: who finds nothing must be able to tell whether there is nothing.
func TestUnreadIsSaid(t *testing.T) {
	whole := zipped(t, strings.Repeat(row("1"), 5000))
	dir := tree(t, map[string]string{
		"2026-11-23/notice.17:00:00-18:00:00.log.xz":  "x",
		"2026-11-23/notice.18:00:00-19:00:00.log.gz":  string(whole[:len(whole)-9]),
		"2026-11-23/notice.19:00:00-20:00:00.log.gz":  "no gzip",
		"2026-11-23/notice.20:00:00-21:00:00.log.zst": "",
		"2026-11-23/notice.21:00:00-22:00:00.log":     row("2") + "{\n{\n",
		"2026-11-24.tar.gz":                           "x",
		"notice.log.1":                                "x",
		"notice.log":                                  row("3"),
	})
	secret := tree(t, map[string]string{"notice.log": row("4"), "current/notice.log": row("5")})
	os.Symlink(filepath.Join(secret, "notice.log"), filepath.Join(dir, "2026-11-23", "notice.22:00:00-23:00:00.log"))
	os.Symlink(secret, filepath.Join(dir, "2026-11-25"))
	os.Symlink(filepath.Join(secret, "current"), filepath.Join(dir, "current"))
	f := open(t, Options{}, dir)
	got := said(f, "notice")
	if first, rest, _ := strings.Cut(got, " 2"); strings.Trim(first, "1 ") != "" || rest != " 3" || f.Damaged != 2 {
		t.Errorf("%s, %d damaged", got, f.Damaged)
	}
	said(f, "notice") // says nothing twice
	all := strings.Join(f.Unread(), "\n")
	for _, want := range []string{
		"17:00:00-18:00:00.log.xz is in a form that raytap does not read", "18:00:00-19:00:00.log.gz is damaged: only its first",
		"19:00:00-20:00:00.log.gz cannot be read: ", "20:00:00-21:00:00.log.zst cannot be read: it is empty",
		"21:00:00-22:00:00.log: 2 lines could not be read", "2026-11-24.tar.gz is in a form", "notice.log.1 is in a form",
		"22:00:00-23:00:00.log cannot be read: path escapes", "2026-11-25 is not a folder, and not read", "current cannot be read: is not a folder",
	} {
		if strings.Count(all, want) != 1 {
			t.Errorf("%q is not said once:\n%s", want, all)
		}
	}
	if n := len(f.Unread()); n != 10 {
		t.Errorf("%d sentences:\n%s", n, all)
	}
}

// TestSinceAndUntil: by what a row tells of; whole files are left out where name and date agree.
func TestSinceAndUntil(t *testing.T) {
	at := func(s string) capture.Time {
		when, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return capture.Time(when.UnixNano())
	}
	sec := func(s string) string { return strconv.FormatInt(int64(at(s)/1e9), 10) }
	dir := tree(t, map[string]string{
		"2026-11-20/conn.17:00:00-18:00:00.log":      `{"ts":` + sec("2026-11-20 17:30") + `,"n":1}` + "\n",
		"2026-11-21/conn.17:00:00-18:00:00.log":      `{"ts":` + sec("2026-11-23 17:45") + `,"n":2}` + "\n", // copied: its date is new
		"2026-11-23/conn.17:00:00-18:00:00.log":      `{"ts":` + sec("2026-11-23 17:30") + `,"n":3,"duration":7200}` + "\n" + `{"ts":` + sec("2026-11-23 17:30") + `,"n":4}` + "\n",
		"current/conn.log":                           `{"ts":` + sec("2026-11-23 18:30") + `,"n":5}` + "\n",
		"2026-11-23/incidents.17:00:00-18:00:00.log": `{"ts":` + sec("2026-11-23 23:30") + `,"first":` + sec("2026-11-23 17:00") + `,"last":` + sec("2026-11-23 17:20") + `,"n":6}` + "\n",
	})
	old := time.Date(2026, 11, 20, 18, 0, 1, 0, time.UTC)
	os.Chtimes(filepath.Join(dir, "2026-11-20/conn.17:00:00-18:00:00.log"), old, old)
	for _, c := range []struct{ since, until, conns, incidents string }{
		{"2026-11-23 18:00", "", "3 5", ""}, {"2026-11-23 17:20", "", "2 3 4 5", "6"}, {"2026-11-23 17:40", "2026-11-23 18:00", "2 3", ""},
		{"2026-11-20 12:00", "2026-11-20 18:00", "1", ""},
	} {
		opt := Options{Since: at(c.since)}
		if c.until != "" {
			opt.Until = at(c.until)
		}
		f := open(t, opt, dir)
		if got := said(f, "conn"); got != c.conns {
			t.Errorf("%v: %s", c, got)
		}
		if got := said(f, "incidents"); got != c.incidents {
			t.Errorf("%v: incidents %s", c, got)
		}
		if want := uint64(1); c.since < "2026-11-21" && f.Before() != 0 || c.since > "2026-11-21" && f.Before() != want {
			t.Errorf("%v: %d files were left out", c, f.Before())
		}
	}
}

// TestRotationWhileReading: what is rotated and compressed between listing and reading is read all the same, once.
func TestRotationWhileReading(t *testing.T) {
	dir := tree(t, map[string]string{"current/notice.log": row("2"), "2026-11-23/notice.16:00:00-17:00:00.log": row("1")})
	f := open(t, Options{}, dir)
	day := filepath.Join(dir, "2026-11-23")
	os.Rename(filepath.Join(dir, "current/notice.log"), filepath.Join(day, "notice.17:00:00-18:00:00.log"))
	os.WriteFile(filepath.Join(day, "notice.16:00:00-17:00:00.log.gz"), zipped(t, row("1")), 0o644)
	os.Remove(filepath.Join(day, "notice.16:00:00-17:00:00.log"))
	if got := said(f, "notice"); got != "1 2" || f.Unread() != nil {
		t.Errorf("%s, %q", got, f.Unread())
	}
	// Who follows gets what is rotated from the folder, and the rest from the file that was running.
	f = open(t, Options{}, dir)
	w := f.Follow("notice")[0]
	defer w.Close()
	got := ""
	f.Rotated("notice", func(r *Row) { got += r.Get("n") })
	os.WriteFile(filepath.Join(dir, "current/notice.log"), []byte(row("3")), 0o644)
	if err := w.Read(func(r *Row) { got += r.Get("n") }); err != nil || got != "123" {
		t.Error(got, err)
	}
}

func TestDamagedLinesAreCounted(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.log")
	text := "row before header\n#separator \\x09\n#path\tx\n#fields\ta\tb\n#types\tstring\tstring\n1\t2\n1\n1\t2\t3\n\n" +
		strings.Repeat("y", maxLine+10) + "\n3\t4\n5\t"
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var got []string
	f := open(t, Options{}, filepath.Dir(name))
	f.Read("x", func(r *Row) { got = append(got, r.Get("a")+r.Get("b")) })
	if f.Damaged != 4 || !slices.Equal(got, []string{"12", "34", "5"}) {
		t.Errorf("%d damaged, rows %q", f.Damaged, got)
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte("#separator \\x09\n#fields\ta\tb\n#types\tset[string]\tstring\n(empty),x\t\\x4"))
	f.Add([]byte(`{"a":[1,"x",{}],"ts":1.5}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := Parser{Log: "x"}
		for line := range bytes.SplitSeq(b, []byte{'\n'}) {
			r, err := p.Line(line)
			if r == nil || err != nil {
				continue
			}
			for _, n := range r.Names() {
				r.Get(n)
				r.List(n)
				r.Time(n)
				r.Addr(n)
			}
		}
	})
}

// TestEvidenceOfEarlierVersions: the notation was another one, with the sign that begins a comment.
func TestEvidenceOfEarlierVersions(t *testing.T) {
	for in, want := range map[string]detectors.Evidence{
		"request=POST /api/jobs/ @10":    {Field: "request", Value: "POST /api/jobs/", Packet: 10},
		"request=POST /api/jobs/ #10":    {Field: "request", Value: "POST /api/jobs/", Packet: 10},
		"entrypoint=echo a #5 @10":       {Field: "entrypoint", Value: "echo a #5", Packet: 10},
		"entrypoint=echo a@b #10":        {Field: "entrypoint", Value: "echo a@b", Packet: 10},
		"entrypoint=mail root@10.0.0.1":  {Field: "entrypoint", Value: "mail root@10.0.0.1"},
		"entrypoint=a=b @ 7":             {Field: "entrypoint", Value: "a=b @ 7"},
		"only a text that has no equals": {Value: "only a text that has no equals"},
	} {
		if got := evidence(in); got != want {
			t.Errorf("%q is %+v", in, got)
		}
	}
}
