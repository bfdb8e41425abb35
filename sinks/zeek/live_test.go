package zeek

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// said collects what Say is told.
type said struct {
	sync.Mutex
	lines []string
}

func (s *said) say(m string) {
	s.Lock()
	defer s.Unlock()
	s.lines = append(s.lines, m)
}

func (s *said) has(t *testing.T, part string, n int) {
	t.Helper()
	s.Lock()
	defer s.Unlock()
	got := 0
	for _, l := range s.lines {
		if strings.Contains(l, part) {
			got++
		}
	}
	if got != n {
		t.Errorf("%q was said %d times, want %d; said:\n%s", part, got, n, strings.Join(s.lines, "\n"))
	}
}

func at(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		panic(err)
	}
	return t
}

func live(t *testing.T, dir string, opt LiveOptions, now time.Time) *Live {
	t.Helper()
	s, err := NewLive(dir, opt, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(now) })
	return s
}

// wait waits until all is done that was ordered.
func (s *Live) wait() {
	ack := make(chan struct{})
	s.orders <- order{do: func() { close(ack) }}
	<-ack
}

func (s *Live) tick(now time.Time) {
	s.Tick(now)
	s.wait()
}

// idle waits until the keeper has done what it was told so far.
func (s *Live) idle() {
	s.wait()
	ack := make(chan struct{})
	f := s.files
	f.keeper.in <- job{now: f.now, ages: !f.now.Before(f.trust), ack: ack}
	<-ack
}

// tree lists the files below dir, the lock excepted.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != lockFile {
			rel, _ := filepath.Rel(dir, path)
			all = append(all, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("files:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// numbered is a row that can be told from others.
type numbered struct {
	log string
	n   uint64
	pad string
}

func (r *numbered) Log() string { return r.log }
func (r *numbered) Row(w capture.Fields) {
	w.Time("ts", 1763917200e9, true)
	w.Count("n", r.n, true)
	w.String("pad", r.pad, r.pad != "")
}

// content gives the text of a file, whatever it is compressed with.
func content(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	switch filepath.Ext(path) {
	case ".gz":
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	case ".zst":
		d, err := zstd.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		r = d
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}

// rowsOf gives the numbers of a log's rows in all its files, and holds that every file of text is whole: header,
// rows, end.
func rowsOf(t *testing.T, dir, log string, asJSON bool) (all []uint64) {
	t.Helper()
	for _, name := range tree(t, dir) {
		if base := filepath.Base(name); !strings.HasPrefix(base, log+".") {
			continue
		}
		b := content(t, filepath.Join(dir, name))
		lines := bytes.Split(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\n'})
		if !bytes.HasSuffix(b, []byte{'\n'}) {
			t.Errorf("%s ends within a line: %q", name, lines[len(lines)-1])
		}
		if !asJSON {
			if !bytes.HasPrefix(lines[0], []byte("#separator ")) || !bytes.HasPrefix(lines[len(lines)-1], []byte("#close\t")) && !strings.HasPrefix(name, currentDir) {
				t.Errorf("%s lacks header or end", name)
			}
		}
		for _, l := range lines {
			var n uint64
			var err error
			if asJSON {
				var row struct{ N uint64 }
				err = json.Unmarshal(l, &row)
				n = row.N
			} else {
				if l[0] == '#' {
					continue
				}
				cols := strings.Split(string(l), "\t")
				if len(cols) != 3 {
					t.Fatalf("%s: row %q", name, l)
				}
				n, err = strconv.ParseUint(cols[1], 10, 64)
			}
			if err != nil {
				t.Fatalf("%s: row %q: %v", name, l, err)
			}
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

func TestRotationByTime(t *testing.T) {
	dir := t.TempDir()
	var heard said
	s := live(t, dir, LiveOptions{Interval: time.Hour, Say: heard.say}, at("2026-11-23 16:42:36"))
	s.Event(&numbered{log: "conn", n: 1})
	same(t, tree(t, dir)) // nothing is written before the first Tick
	s.tick(at("2026-11-23 16:42:37"))
	same(t, tree(t, dir), "current/conn.log")
	if got := read(t, dir, "current/conn.log"); !strings.HasSuffix(got, "\t1\t-\n") || !strings.Contains(got, "#open\t2026-11-23-16-42-36\n") {
		t.Errorf("conn.log is\n%s", got)
	}
	for now := at("2026-11-23 16:43:00"); now.Before(at("2026-11-23 17:00:00")); now = now.Add(9 * time.Minute) {
		s.tick(now)
	}
	same(t, tree(t, dir), "current/conn.log")
	s.Event(&numbered{log: "conn", n: 2}) // came before the hour was over
	s.tick(at("2026-11-23 17:00:00"))
	same(t, tree(t, dir), "2026-11-23/conn.16:42:36-17:00:00.log")
	s.Event(&numbered{log: "conn", n: 3})
	s.Event(&numbered{log: "dns", n: 1})
	s.tick(at("2026-11-23 17:00:09"))
	s.tick(at("2026-11-23 17:09:59"))
	if err := s.Close(at("2026-11-23 17:10:00")); err != nil {
		t.Fatal(err)
	}
	same(t, tree(t, dir), "2026-11-23/conn.16:42:36-17:00:00.log", "2026-11-23/conn.17:00:00-17:10:00.log", "2026-11-23/dns.17:00:00-17:10:00.log")
	if got := read(t, dir, "2026-11-23/conn.17:00:00-17:10:00.log"); !strings.HasPrefix(got, "#separator") || !strings.HasSuffix(got, "\t3\t-\n#close\t2026-11-23-17-10-00\n") {
		t.Errorf("the second conn.log is\n%s", got)
	}
	if got := rowsOf(t, dir, "conn", false); !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("rows %v", got)
	}
	heard.has(t, "", 0)
}

// TestLiveRowsAreTheSame holds that a sensor writes the bytes that replay writes, #open and #close aside.
func TestLiveRowsAreTheSame(t *testing.T) {
	for _, format := range []string{TSV, JSON} {
		opt := Options{Format: format, Rules: []detectors.Rule{{Name: "jobsubmit/external", Note: "Job_Submit_External"}}}
		events := []any{conn(), finding(), conn(), &every{log: "x", s: "a\tb", set: true}}
		want, _ := write(t, opt, 0, events...)
		dir := t.TempDir()
		s := live(t, dir, LiveOptions{Options: opt, Reserve: 1 << 16}, at("2026-11-23 17:00:00"))
		for _, ev := range events {
			s.Event(ev)
		}
		s.Close(at("2026-11-23 17:00:01"))
		for _, log := range []string{"conn", "notice", "x"} {
			strip := func(s string) string {
				var keep []string
				for _, l := range strings.SplitAfter(s, "\n") {
					if !strings.HasPrefix(l, "#open") && !strings.HasPrefix(l, "#close") {
						keep = append(keep, l)
					}
				}
				return strings.Join(keep, "")
			}
			a, b := strip(read(t, want, log+".log")), strip(read(t, dir, "2026-11-23/"+log+".17:00:00-17:00:01.log"))
			if a != b {
				t.Errorf("%s %s: replay wrote\n%s\nthe sensor\n%s", format, log, a, b)
			}
		}
	}
}

// TestRotationUnderLoad: no row is lost or cut over hundreds of rotations by size and time, with compression behind.
func TestRotationUnderLoad(t *testing.T) {
	for _, c := range []struct{ format, compress string }{{TSV, CompressNone}, {TSV, CompressGzip}, {JSON, CompressZstd}} {
		dir := t.TempDir()
		s := live(t, dir, LiveOptions{Options: Options{Format: c.format}, Interval: time.Minute, Size: 512 << 10, Compress: c.compress, Fsync: FsyncRotate}, at("2026-11-23 23:58:00"))
		const rows = 200_000
		now := at("2026-11-23 23:58:00")
		for n := range uint64(rows) {
			s.Event(&numbered{log: "conn", n: n, pad: "0123456789012345678901234567890123456789"})
			if n%7 == 0 {
				s.Event(&numbered{log: "dns", n: n})
			}
			if n%1000 == 0 {
				now = now.Add(time.Second)
				s.tick(now)
			}
		}
		if err := s.Close(now); err != nil {
			t.Fatal(err)
		}
		files := tree(t, dir)
		if len(files) < 24 {
			t.Errorf("%v: only %d files", c, len(files))
		}
		got := rowsOf(t, dir, "conn", c.format == JSON)
		if len(got) != rows || got[0] != 0 || got[rows-1] != rows-1 || len(slices.Compact(got)) != rows {
			t.Errorf("%v: %d rows of conn, want each of %d once", c, len(got), rows)
		}
		if got := rowsOf(t, dir, "dns", c.format == JSON); len(got) != (rows+6)/7 {
			t.Errorf("%v: %d rows of dns", c, len(got))
		}
		for _, n := range s.Counts() {
			if n.Lost != 0 {
				t.Errorf("%v: %v", c, n)
			}
		}
		if !slices.ContainsFunc(files, func(f string) bool { return strings.HasPrefix(f, "2026-11-24/") }) {
			t.Errorf("%v: no folder of the second day", c)
		}
	}
}

func TestTwoFilesOfASecond(t *testing.T) {
	dir := t.TempDir()
	s := live(t, dir, LiveOptions{Size: 1, Compress: CompressGzip}, at("2026-11-23 17:00:00"))
	for n := range uint64(3) {
		s.Event(&numbered{log: "conn", n: n})
		s.tick(at("2026-11-23 17:00:00"))
		s.idle() // the first has another ending when the second comes
	}
	same(t, tree(t, dir), "2026-11-23/conn.17:00:00-17:00:00-2.log.gz", "2026-11-23/conn.17:00:00-17:00:00-3.log.gz", "2026-11-23/conn.17:00:00-17:00:00.log.gz")
}

// TestNamesOfAnInterval: all logs of an interval have the same times in their names, whenever their first row came.
func TestNamesOfAnInterval(t *testing.T) {
	for names, want := range map[string][]string{
		NamesInterval: {
			"2026-11-23/conn.16:42:36-17:00:00.log", "2026-11-23/conn.17:00:00-18:00:00.log", "2026-11-23/conn.23:00:00-00:00:00.log",
			"2026-11-23/dns.17:00:00-18:00:00.log", "2026-11-23/notice.17:00:00-18:00:00.log",
			"2026-11-24/conn.00:00:00-00:10:00.log", "2026-11-24/notice.00:00:00-00:10:00.log",
		},
		NamesBegin: {
			"2026-11-23/conn.2026-11-23-16-42-36.log", "2026-11-23/conn.2026-11-23-17-00-00.log", "2026-11-23/conn.2026-11-23-23-00-00.log",
			"2026-11-23/dns.2026-11-23-17-00-00.log", "2026-11-23/notice.2026-11-23-17-00-00.log",
			"2026-11-24/conn.2026-11-24-00-00-00.log", "2026-11-24/notice.2026-11-24-00-00-00.log",
		},
	} {
		dir := t.TempDir()
		s := live(t, dir, LiveOptions{Interval: time.Hour, Reserve: 1 << 16, Names: names}, at("2026-11-23 16:42:36"))
		for now := at("2026-11-23 16:42:40"); now.Before(at("2026-11-24 00:10:00")); now = now.Add(5 * time.Minute) {
			switch now.Format("15:04") {
			case "16:47", "17:07", "23:07", "00:07":
				s.Event(&numbered{log: "conn", n: 1})
			case "17:37":
				s.Event(&numbered{log: "dns", n: 1})
				s.Event(finding())
			}
			if now.Format("15:04") == "00:07" {
				s.Event(finding())
			}
			s.tick(now)
			if got := read(t, dir, "current/notice.log"); now.Format("15:04") == "22:02" && !strings.Contains(got, "#open\t2026-11-23-22-00-00\n") {
				t.Errorf("the header of a log without a row:\n%s", got)
			}
		}
		s.Close(at("2026-11-24 00:10:00"))
		same(t, tree(t, dir), want...)
	}
}

func TestRetention(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, size int) {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, bytes.Repeat([]byte{'x'}, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("2026-11-01/conn.2026-11-01-10-00-00.log.gz", 100)
	put("2026-11-21/conn.2026-11-21-10-00-00.log.gz", 100)
	put("2026-11-21/notice.2026-11-21-10-00-00.log.gz", 100)
	put("2026-11-22/conn.2026-11-22-10-00-00.log", 100)
	put("2026-11-22/dns.2026-11-22-11-00-00.log", 100)
	put("2026-11-10/notice.10:00:00-11:00:00.log.gz", 10)
	put("2026-11-10/incidents.10:00:00-11:00:00-2.log.gz", 10)
	put("2026-11-10/http.10:00:00-11:00:00.log.gz", 10)
	put("2026-11-02/notice.10:00:00-11:00:00.log.gz", 10)
	put("2026-11-22/.conn.10:00:00-11:00:00.log.zst", 100)          // likewise
	put("2026-11-22/mine.txt", 100)                                 // somebody else's
	put("old/conn.2026-11-01-10-00-00.log", 100)                    // not a day's folder
	put("2026-11-22/.conn.2026-11-22-09-00-00.log.gz", 100)         // compression that was killed
	put("2026-11-01/conn.2026-11-01-10-00-00.log.d/deep.log", 1000) // a folder with such a name
	s := live(t, dir, LiveOptions{Keep: 7 * 24 * time.Hour, KeepFindings: 20 * 24 * time.Hour, KeepSize: 250}, at("2026-11-23 17:00:00"))
	s.idle()
	same(t, tree(t, dir),
		"2026-11-01/conn.2026-11-01-10-00-00.log.d/deep.log",
		"2026-11-10/incidents.10:00:00-11:00:00-2.log.gz", // findings have an age of their own
		"2026-11-10/notice.10:00:00-11:00:00.log.gz",
		"2026-11-21/notice.2026-11-21-10-00-00.log.gz", // older than what went for the total
		"2026-11-22/dns.2026-11-22-11-00-00.log",
		"2026-11-22/mine.txt",
		"old/conn.2026-11-01-10-00-00.log")
}

func TestQuietSensorDeletes(t *testing.T) {
	dir := t.TempDir()
	s := live(t, dir, LiveOptions{Interval: time.Hour, Keep: 2 * time.Hour}, at("2026-11-23 17:00:00"))
	s.Event(&numbered{log: "conn"})
	for m := range 6 * 60 {
		s.tick(at("2026-11-23 17:00:00").Add(time.Duration(m) * time.Minute))
	}
	s.idle()
	same(t, tree(t, dir))
	if _, err := os.Stat(filepath.Join(dir, "2026-11-23")); err == nil {
		t.Error("the empty folder of the day stayed")
	}
}

// TestClockStep: to next year and back, in the middle of an hour. Nothing is deleted for it, nothing overwritten.
func TestClockStep(t *testing.T) {
	dir := t.TempDir()
	var heard said
	s := live(t, dir, LiveOptions{Interval: time.Hour, Keep: 24 * time.Hour, Say: heard.say}, at("2026-11-23 17:10:00"))
	n := uint64(0)
	for _, now := range []string{
		"2026-11-23 17:10:01",
		"2027-12-01 08:30:00", "2027-12-01 08:30:01", // somebody set it
		"2026-11-23 17:10:04", "2026-11-23 17:10:05", // and back
		"2026-11-23 15:59:59", // an hour too far
		"2026-11-23 15:59:58", // a slew is none
		"2026-11-23 17:10:10",
	} {
		s.Event(&numbered{log: "conn", n: n})
		n++
		s.tick(at(now))
		s.idle()
	}
	heard.has(t, "the clock was set", 4)
	s.Close(at("2026-11-23 17:10:11"))
	got := rowsOf(t, dir, "conn", false)
	if len(got) != int(n) || len(slices.Compact(got)) != int(n) {
		t.Errorf("rows %v", got)
	}
	files := tree(t, dir)
	if len(files) != 4 {
		t.Errorf("files:\n%s", strings.Join(files, "\n"))
	}
}

func TestAgeCountsAgainADayAfterTheStep(t *testing.T) {
	dir := t.TempDir()
	s := live(t, dir, LiveOptions{Interval: time.Hour, Keep: 24 * time.Hour}, at("2026-11-23 17:00:00"))
	s.Event(&numbered{log: "conn"})
	s.tick(at("2026-11-23 17:00:01"))
	now := at("2027-11-23 17:00:00")
	for m := range 26 * 60 {
		s.tick(now.Add(time.Duration(m) * time.Minute))
		if m == 23*60 {
			s.idle()
			same(t, tree(t, dir), "2026-11-23/conn.17:00:00-17:00:00.log")
		}
	}
	s.idle()
	same(t, tree(t, dir))
}

func TestFolderRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	var heard said
	s := live(t, dir, LiveOptions{Reserve: 1 << 16, Say: heard.say}, at("2026-11-23 17:00:00"))
	s.Event(&numbered{log: "conn", n: 1})
	s.tick(at("2026-11-23 17:00:01"))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s.Event(finding()) // may not go into a file that nobody can read
	s.wait()
	if got := read(t, dir, "current/notice.log"); strings.Count(got, "203.0.113.66 submitted a job") != 1 {
		t.Errorf("notice.log is\n%s", got)
	}
	pad := strings.Repeat("x", 1000)
	for n := range uint64(300) { // beyond the buffer: some go to the file that is gone
		s.Event(&numbered{log: "conn", n: n, pad: pad})
	}
	s.tick(at("2026-11-23 17:00:02"))
	s.Event(&numbered{log: "conn", n: 1000})
	s.tick(at("2026-11-23 17:00:03"))
	heard.has(t, "was removed: a new one is begun", 2)
	got := rowsOf(t, dir, "conn", false)
	counts := s.Counts()
	if counts[0].Log != "conn" || counts[0].Lost == 0 || counts[0].Rows+counts[0].Lost != 302 {
		t.Errorf("counts %v", counts)
	}
	if len(got) != 301-int(counts[0].Lost) || got[len(got)-1] != 1000 {
		t.Errorf("%d rows in the new file, %v", len(got), counts)
	}
	if _, err := NewLive(dir, LiveOptions{}, at("2026-11-23 17:00:03")); err == nil {
		t.Error("the new folder is not locked")
	}
}

// TestLogrotate: a file is moved away and another is begun, with or without the signal, and with copytruncate.
func TestLogrotate(t *testing.T) {
	for _, how := range []string{"tick", "reopen", "create"} {
		dir := t.TempDir()
		s := live(t, dir, LiveOptions{}, at("2026-11-23 17:00:00"))
		s.Event(&numbered{log: "conn", n: 1})
		s.tick(at("2026-11-23 17:00:01"))
		cur := filepath.Join(dir, "current", "conn.log")
		if err := os.Rename(cur, cur+".1"); err != nil {
			t.Fatal(err)
		}
		if how == "create" {
			if err := os.WriteFile(cur, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s.Event(&numbered{log: "conn", n: 2})
		if how != "tick" {
			s.Reopen()
			s.Reopen() // nothing more to do
			s.wait()
		}
		s.tick(at("2026-11-23 17:00:02"))
		if got := read(t, dir, "current/conn.log.1"); !strings.HasSuffix(got, "\t1\t-\n#close\t2026-11-23-17-00-01\n") {
			t.Errorf("%s: the old file is\n%s", how, got)
		}
		if got := read(t, dir, "current/conn.log"); strings.Count(got, "#separator") != 1 || !strings.HasSuffix(got, "\t2\t-\n") {
			t.Errorf("%s: the new file is\n%s", how, got)
		}
		if err := os.Truncate(cur, 0); err != nil { // copytruncate
			t.Fatal(err)
		}
		s.Event(&numbered{log: "conn", n: 3})
		s.tick(at("2026-11-23 17:00:03"))
		if got := read(t, dir, "current/conn.log"); got != "1763917200.000000\t3\t-\n" {
			t.Errorf("%s: behind truncation %q", how, got)
		}
	}
}

func TestOneProcessAFolder(t *testing.T) {
	dir := t.TempDir()
	s := live(t, dir, LiveOptions{}, at("2026-11-23 17:00:00"))
	if _, err := NewLive(dir, LiveOptions{}, at("2026-11-23 17:00:00")); err == nil || !strings.Contains(err.Error(), "in use by ") {
		t.Errorf("a second sink: %v", err)
	}
	if _, err := New(dir, Options{Force: true}); err == nil || !strings.Contains(err.Error(), "in use by ") {
		t.Errorf("a replay into the folder of a sensor that runs: %v", err)
	}
	s.Close(at("2026-11-23 17:00:00"))
	if _, err := New(dir, Options{}); err == nil || !strings.Contains(err.Error(), "is the folder of a sensor") {
		t.Errorf("a replay into the folder of a sensor that has ended: %v", err)
	}
	live(t, dir, LiveOptions{}, at("2026-11-23 17:00:00"))
}

func TestWhatAKilledRunLeft(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		os.MkdirAll(filepath.Join(dir, currentDir), 0o755)
		if err := os.WriteFile(filepath.Join(dir, currentDir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		written := at("2026-11-20 10:20:30")
		os.Chtimes(filepath.Join(dir, currentDir, name), written, written)
	}
	head := "#separator \\x09\n#open\t2026-11-20-10-00-00\n#fields\tts\tn\tpad\n"
	put("conn.log", head+"1\t1\t-\n1\t2\t-\n1\t3")
	put("dns.log", head+"1\t1\t-\n")
	put("http.log", head[:20]) // killed in the header
	put("ssl.log", head)
	put("notice.log", "")
	put("x509.log", `{"ts":1763917200.5,"n":1}`+"\n"+`{"ts":17`+strings.Repeat("9", 200<<10)) // longer than the piece that is searched
	put("readme.txt", "stays")
	var heard said
	s := live(t, dir, LiveOptions{Interval: time.Hour, Say: heard.say}, at("2026-11-23 17:00:00"))
	same(t, tree(t, dir), "2025-11-23/x509.17:00:00-10:20:30.log", "2026-11-20/conn.10:00:00-11:00:00.log", "2026-11-20/dns.10:00:00-11:00:00.log", "current/readme.txt")
	if got := read(t, dir, "2026-11-20/conn.10:00:00-11:00:00.log"); got != head+"1\t1\t-\n1\t2\t-\n" {
		t.Errorf("conn.log is %q", got)
	}
	if got := read(t, dir, "2025-11-23/x509.17:00:00-10:20:30.log"); got != `{"ts":1763917200.5,"n":1}`+"\n" {
		t.Errorf("x509.log has %d bytes", len(got))
	}
	heard.has(t, "did not end properly", 4)
	heard.has(t, "cut short in its last line", 3)
	heard.has(t, "conn.log was left open, and cut short in its last line, of which 3 bytes were removed", 1)
	s.Close(at("2026-11-23 17:00:00"))
	live(t, dir, LiveOptions{Say: heard.say}, at("2026-11-23 17:00:00"))
	heard.has(t, "did not end properly", 4) // a proper end leaves nothing to say
}

func TestLiveOptionsAreChecked(t *testing.T) {
	for _, opt := range []LiveOptions{{Options: Options{Format: "xml"}}, {Compress: "rar"}, {Fsync: "always"}} {
		if _, err := NewLive(t.TempDir(), opt, at("2026-11-23 17:00:00")); err == nil {
			t.Errorf("%+v was accepted", opt)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := NewLive(file, LiveOptions{}, at("2026-11-23 17:00:00")); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file for a folder: %v", err)
	}
}

// TestUnwritableLog: what cannot be written is held up to a bound, counted beyond it, and written when it can be.
func TestUnwritableLog(t *testing.T) {
	dir := t.TempDir()
	var heard said
	s := live(t, dir, LiveOptions{Options: Options{Format: JSON}, Say: heard.say}, at("2026-11-23 17:00:00"))
	cur := filepath.Join(dir, "current", "conn.log")
	if err := os.MkdirAll(filepath.Join(cur, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	const rows = 20_000
	pad := strings.Repeat("x", 100)
	for n := range uint64(rows) {
		s.Event(&numbered{log: "conn", n: n, pad: pad})
	}
	s.tick(at("2026-11-23 17:00:01"))
	if s.Failing() == nil {
		t.Error("nothing fails")
	}
	c := s.Counts()[0]
	if held := s.logs["conn"].to.text; len(held) < heldAt || len(held) > heldAt+flushAt+1000 || c.Lost == 0 || c.Rows+c.Lost != rows {
		t.Errorf("%d bytes held, %v", len(held), c)
	}
	os.RemoveAll(cur)
	s.tick(at("2026-11-23 17:00:02"))
	if got := rowsOf(t, dir, "conn", true); len(got) != int(c.Rows) || got[0] != 0 || got[len(got)-1] != c.Rows-1 {
		t.Errorf("%d rows, want %d", len(got), c.Rows)
	}
	heard.has(t, "conn.log cannot be written", 1)
	heard.has(t, fmt.Sprintf("conn.log is written again; %d rows were lost", c.Lost), 1)
	if err := s.Failing(); err != nil {
		t.Error(err)
	}
	if n := cap(s.logs["conn"].to.text); n > keepBuffer {
		t.Errorf("a buffer of %d bytes was kept", n)
	}
}

// TestLinksAreNotFollowed: what stands in a log's place and is another file is left alone, before a start and while it
// runs, and the log is written all the same. Files and folders are for owner and group.
func TestLinksAreNotFollowed(t *testing.T) {
	dir, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	cur := filepath.Join(dir, "current")
	if err := os.Mkdir(cur, 0o755); err != nil {
		t.Fatal(err)
	}
	os.Symlink(victim, filepath.Join(cur, "conn.log"))
	os.Link(victim, filepath.Join(cur, "dns.log"))
	var heard said
	s := live(t, dir, LiveOptions{Say: heard.say}, at("2026-11-23 17:00:00"))
	heard.has(t, "conn.log is a link, and was taken away", 1)
	heard.has(t, "dns.log is a file with another name, too, and was taken away", 1)
	s.Event(&numbered{log: "conn", n: 0})
	s.tick(at("2026-11-23 17:00:01"))
	os.Remove(filepath.Join(cur, "conn.log"))
	os.Symlink(victim, filepath.Join(cur, "conn.log"))
	os.Symlink(victim, filepath.Join(cur, "dns.log"))
	for n := range uint64(3) {
		s.Event(&numbered{log: "conn", n: n})
		s.Event(&numbered{log: "dns", n: n})
		s.tick(at("2026-11-23 17:00:02").Add(time.Duration(n) * time.Second))
	}
	if got := rowsOf(t, dir, "dns", false); len(got) != 3 {
		t.Errorf("%d rows of dns", len(got))
	}
	if err := s.Failing(); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"current/conn.log", "current/dns.log", "current", ".raytap.lock"} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want := os.FileMode(0o640)
		if info.IsDir() {
			want = 0o755 // it was there
		}
		if info.Mode().Perm() != want || info.Mode()&os.ModeSymlink != 0 {
			t.Errorf("%s is %v", name, info.Mode())
		}
	}
	if b, _ := os.ReadFile(victim); string(b) != "mine" {
		t.Errorf("the victim has %q", b)
	}
	if err := s.Close(at("2026-11-23 17:00:09")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "2026-11-23")); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestFolderThatIsALink: a folder of ours that leads elsewhere is not used.
func TestFolderThatIsALink(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	if err := os.Symlink(other, filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	if _, err := NewLive(dir, LiveOptions{}, at("2026-11-23 17:00:00")); err == nil || !strings.Contains(err.Error(), "is a link") {
		t.Error(err)
	}
}

// TestDiskAway: a disk that does not answer costs nobody his time. What fits waits for it and is written when it is back,
// findings also when there is no room for rows any more; the rest is counted.
func TestDiskAway(t *testing.T) {
	dir := t.TempDir()
	var heard said
	s := live(t, dir, LiveOptions{Interval: time.Hour, Say: heard.say}, at("2026-11-23 17:00:00"))
	s.Event(&numbered{log: "conn", n: 0})
	s.tick(at("2026-11-23 17:00:01"))
	free := make(chan struct{})
	s.orders <- order{do: func() { <-free }}
	for s.since.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	const rows = 200_000
	pad := strings.Repeat("x", 1000)
	for n := uint64(1); n < rows; n++ {
		s.Event(&numbered{log: "conn", n: n, pad: pad})
		if n%1000 == 0 {
			s.Event(finding())
			s.Flush()
			s.Tick(at("2026-11-23 17:00:02").Add(time.Duration(n/1000) * time.Second))
		}
	}
	if n := s.waiting.Load(); n > maxWaiting+maxFindings {
		t.Errorf("%d bytes wait", n)
	}
	if err := s.Failing(); err != nil {
		t.Errorf("after no time: %v", err)
	}
	heard.has(t, "", 0)
	s.since.Add(int64(-2 * slowDisk)) // as if that had taken longer
	s.Tick(at("2026-11-23 17:04:00"))
	s.Tick(at("2026-11-23 17:04:01"))
	heard.has(t, "has not answered for 1", 1)
	if err := s.Failing(); err == nil || !strings.Contains(err.Error(), "has not answered for 1") {
		t.Errorf("failing: %v", err)
	}
	close(free)
	s.wait()
	s.tick(at("2026-11-23 17:04:02"))
	heard.has(t, "answers again; ", 1)
	if err := s.Failing(); err != nil {
		t.Error(err)
	}
	if err := s.Close(at("2026-11-23 17:04:03")); err != nil {
		t.Error(err)
	}
	c := s.Counts()
	if c[0].Rows+c[0].Lost != rows || c[0].Rows < maxWaiting/1100 || c[0].Lost == 0 || c[1].Lost != 0 || c[1].Rows != (rows-1)/1000 {
		t.Errorf("counts %v", c)
	}
	got := rowsOf(t, dir, "conn", false)
	if len(got) != int(c[0].Rows) || !slices.Equal(got, slices.Compact(slices.Clone(got))) {
		t.Errorf("%d rows, %v", len(got), c)
	}
	if n := strings.Count(string(content(t, filepath.Join(dir, "2026-11-23", "notice.17:00:00-17:04:03.log"))), "submitted a job"); n != (rows-1)/1000 {
		t.Errorf("%d findings", n)
	}
}

func TestNoAllocationForALiveRow(t *testing.T) {
	s := live(t, t.TempDir(), LiveOptions{}, at("2026-11-23 17:00:00"))
	var ev any = conn()
	for range 2000 {
		s.Event(ev)
	}
	if n := testing.AllocsPerRun(2000, func() { s.Event(ev) }); n != 0 {
		t.Errorf("%v allocations a row", n)
	}
}
