package logs

import (
	"bytes"
	"compress/gzip"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
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

func rows(t *testing.T, f File) []*Row {
	t.Helper()
	var all []*Row
	damaged, err := Read(f, func(r *Row) { all = append(all, r) })
	if err != nil || damaged != 0 {
		t.Fatalf("%s: %d damaged, %v", f.Path, damaged, err)
	}
	return all
}

// TestWhatZeekWritesIsReadBack: both forms give the values that were written, to the letter.
func TestWhatZeekWritesIsReadBack(t *testing.T) {
	for _, format := range []string{zeek.TSV, zeek.JSON} {
		files, err := Files(write(t, format))
		if err != nil || len(files) != 1 || files[0].Log != "every" {
			t.Fatal(files, err)
		}
		all := rows(t, files[0])
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

// TestFilesOfASensor: rotated and compressed logs come in order of time, the living one last.
func TestFilesOfASensor(t *testing.T) {
	dir := t.TempDir()
	row := func(n string) string { return `{"n":` + n + "}\n" }
	put := func(name string, b []byte) {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write([]byte(row("1")))
	w.Close()
	enc, _ := zstd.NewWriter(nil)
	put("conn.2026-11-23-17-00-00.log.gz", z.Bytes())
	put("conn.2026-11-23-18-00-00.log.zst", enc.EncodeAll([]byte(row("2")), nil))
	put("conn.2026-11-23-19-00-00.log", []byte(row("3")))
	put("current/conn.log", []byte(row("4")))
	put("readme.txt", nil)
	put("Conn.log.bak", nil)
	files, err := Files(dir)
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	for i, f := range files {
		if r := rows(t, f); f.Log != "conn" || len(r) != 1 || r[0].Uint("n") != uint64(i+1) {
			t.Errorf("%d: %v, %v", i, f, r)
		}
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
	damaged, err := Read(File{"x", name}, func(r *Row) { got = append(got, r.Get("a")+r.Get("b")) })
	if err != nil || damaged != 4 || !slices.Equal(got, []string{"12", "34", "5"}) {
		t.Errorf("%d damaged, rows %q, %v", damaged, got, err)
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
