package zeek

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raytap/raytap/detectors"
)

// small mounts a file system of so many bytes.
func small(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullDiskLive fills a disk with connections. Findings still find room, in whole lines; when the disk has room
// again everything goes on, and no row is unaccounted for.
func TestFullDiskLive(t *testing.T) {
	for _, format := range []string{TSV, JSON} {
		dir := small(t, 4<<20)
		var heard said
		s := live(t, dir, LiveOptions{Options: Options{Format: format}, Interval: time.Hour, Compress: CompressGzip, Reserve: 1 << 20, Say: heard.say}, at("2026-11-23 17:00:00"))
		now := at("2026-11-23 17:00:00")
		pad := strings.Repeat("x", 200)
		var n, findings uint64
		second := func(rows int) {
			for range rows {
				s.Event(&numbered{log: "conn", n: n, pad: pad})
				n++
			}
			f := finding()
			f.Msg = fmt.Sprintf("finding %d", findings)
			findings++
			s.Event(f)
			now = now.Add(time.Second)
			s.tick(now)
		}
		for range 100 {
			second(1000)
		}
		counts := func() (conn, notice Count) {
			c := s.Counts()
			return c[0], c[1]
		}
		conn, notice := counts()
		if conn.Lost < n/2 {
			t.Fatalf("%s: the disk was not full: %v of %d", format, conn, n)
		}
		if notice.Lost != 0 || notice.Rows != findings {
			t.Errorf("%s: notice %v of %d", format, notice, findings)
		}
		if s.Failing() == nil {
			t.Errorf("%s: nothing fails", format)
		}
		// A rotation comes due while nothing fits.
		now = at("2026-11-23 18:00:00")
		second(1000)
		cur := read(t, dir, "current/notice.log")
		for i := range findings {
			if strings.Count(cur, fmt.Sprintf("finding %d", i)+map[string]string{TSV: "\t", JSON: `"`}[format]) != 1 {
				t.Fatalf("%s: finding %d is not in notice.log", format, i)
			}
		}
		if !strings.HasSuffix(cur, "\n") {
			t.Errorf("%s: half a line in notice.log", format)
		}
		s.idle()
		// Somebody makes room.
		files, _ := filepath.Glob(filepath.Join(dir, "2026-11-23", "*"))
		for _, f := range append(files, filepath.Join(dir, "current", "conn.log")) {
			if strings.Contains(f, "conn") {
				for _, v := range rowsIn(t, f) {
					if v >= n {
						t.Fatalf("row %d", v)
					}
				}
				os.Remove(f)
			}
		}
		before, _ := counts()
		for range 3 {
			second(10)
		}
		after, notice := counts()
		if err := s.Failing(); err != nil || after.Rows < before.Rows+20 {
			t.Errorf("%s: not recovered: %v, %v then %v", format, err, before, after)
		}
		if notice.Lost != 0 || after.Rows+after.Lost != n {
			t.Errorf("%s: notice %v, conn %v of %d", format, notice, after, n)
		}
		heard.has(t, "conn.log cannot be written: ", 1)
		heard.has(t, "conn.log is written again; ", 1)
		if err := s.Close(now); err != nil {
			t.Error(err)
		}
		all := ""
		for _, f := range tree(t, dir) {
			b := content(t, filepath.Join(dir, f))
			if !bytes.HasSuffix(b, []byte{'\n'}) {
				t.Errorf("%s: %s ends within a line", format, f)
			}
			if strings.Contains(f, "notice") {
				all += string(b)
			}
		}
		if got := strings.Count(all, "finding "); got != int(findings) {
			t.Errorf("%s: %d findings in the archive, want %d", format, got, findings)
		}
	}
}

// rowsIn gives the numbers of the rows of one file, and fails on half a row.
func rowsIn(t *testing.T, path string) []uint64 {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	b := content(t, path)
	if !bytes.HasSuffix(b, []byte{'\n'}) {
		t.Errorf("%s ends within a line", path)
	}
	var all []uint64
	for l := range strings.Lines(string(b)) {
		var n uint64
		if _, err := fmt.Sscanf(l, "1763917200.000000\t%d\t", &n); err == nil {
			all = append(all, n)
		} else if _, err := fmt.Sscanf(l, `{"ts":1763917200.0,"n":%d,`, &n); err == nil {
			all = append(all, n)
		} else if l[0] != '#' {
			t.Errorf("%s: half a row %q", path, l)
		}
	}
	return all
}

// TestReserveIsTaken: the space for findings is off the disk before there are any, and given back at the end.
func TestReserveIsTaken(t *testing.T) {
	dir := small(t, 4<<20)
	used := func() int64 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		return int64(st.Blocks-st.Bfree) * st.Bsize
	}
	none := used()
	s := live(t, dir, LiveOptions{Reserve: 1 << 20}, at("2026-11-23 17:00:00"))
	if got := used() - none; got < 1<<20 {
		t.Errorf("%d bytes are reserved", got)
	}
	for range 2000 {
		s.Event(finding())
	}
	s.wait() // a tick that finds no place among so many is left out
	s.tick(at("2026-11-23 17:00:01"))
	info, err := os.Stat(filepath.Join(dir, "current", "notice.log"))
	if err != nil {
		t.Fatal(err)
	}
	if got := used() - none - info.Size(); got < 1<<19 {
		t.Errorf("%d bytes are reserved behind the findings", got)
	}
	if err := s.Close(at("2026-11-23 17:00:02")); err != nil {
		t.Fatal(err)
	}
	if got := used() - none - info.Size(); got > 64<<10 {
		t.Errorf("%d bytes are still reserved", got)
	}
}

// TestKill kills a process that writes as fast as it can, again and again. At most the last line of a file is cut, and
// the next start takes it off and says so.
func TestKill(t *testing.T) {
	if dir := os.Getenv("RAYTAP_TEST_KILL"); dir != "" {
		s, err := NewLive(dir, LiveOptions{Interval: time.Minute, Size: 1 << 20, Compress: CompressZstd, Reserve: 1 << 16}, time.Now())
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		pad := strings.Repeat("x", 3000)
		for n := uint64(0); ; n++ {
			s.Event(&numbered{log: "conn", n: n, pad: pad})
			if n%500 == 0 {
				s.Event(&detectors.Finding{Rule: "a/b", Msg: "m"})
				s.tick(time.Now())
				fmt.Println(n)
			}
		}
	}
	dir := t.TempDir()
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestKill$")
		cmd.Env = append(os.Environ(), "RAYTAP_TEST_KILL="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed at another place each time, after it has told how far it is.
		buf := make([]byte, 1)
		for lines := 0; lines < 3+2*round; {
			if _, err := out.Read(buf); err != nil {
				t.Fatalf("the child ended: %v", err)
			}
			if buf[0] == '\n' {
				lines++
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		left, _ := filepath.Glob(filepath.Join(dir, "current", "*.log"))
		cut := 0
		for _, f := range left {
			if b := content(t, f); len(b) > 0 && b[len(b)-1] != '\n' {
				cut++
			}
		}
		var heard said
		s := live(t, dir, LiveOptions{Say: heard.say}, time.Now())
		heard.has(t, "cut short in its last line", cut)
		if len(left) > 0 {
			heard.has(t, "notice.log was left open", 1)
		}
		if err := s.Close(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for _, f := range tree(t, dir) {
		if strings.HasPrefix(filepath.Base(f), ".") {
			continue // compression that was killed; swept when it is this run's turn
		}
		if strings.HasPrefix(f, "current/") {
			t.Errorf("%s was not archived", f)
		}
		if strings.Contains(f, "conn") {
			total += len(rowsIn(t, filepath.Join(dir, f)))
		}
	}
	if total < 8*1000 {
		t.Errorf("only %d rows", total)
	}
}
