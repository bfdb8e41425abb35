package zeek

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/sinks/logindex"
)

// TestIndexOfTheArchive: each rotated file has an index that fits it, whose blocks can be read alone and are together the
// log; one whose log is gone goes, and a log that goes takes its own along.
func TestIndexOfTheArchive(t *testing.T) {
	for _, compress := range []string{CompressNone, CompressGzip, CompressZstd} {
		t.Run(compress, func(t *testing.T) {
			dir := t.TempDir()
			day := filepath.Join(dir, "2026-11-23")
			if err := os.MkdirAll(day, 0o750); err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			for i := 0; text.Len() < 3*logindex.BlockSize; i++ {
				text.WriteString(`{"ts":1795993200.5,"uid":"C` + strings.Repeat("x", i%3000) + `"}` + "\n")
			}
			long := strings.Repeat("y", 2*logindex.BlockSize+5) // one line, without an end
			files := map[string]string{"conn.10:00:00-11:00:00.log": text.String(), "dns.10:00:00-11:00:00.log": long, "http.10:00:00-11:00:00.log": ""}
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(day, name), []byte(text), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{".gone.09:00:00-10:00:00.log.idx", ".conn.10:00:00-11:00:00.log.idx.new"} {
				if err := os.WriteFile(filepath.Join(day, name), []byte("x"), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			opt := LiveOptions{Compress: compress, Index: true}
			s := live(t, dir, opt, at("2026-11-23 12:00:00"))
			s.idle()
			for name, text := range files {
				path := filepath.Join(day, name)
				switch compress {
				case CompressGzip:
					path += ".gz"
				case CompressZstd:
					path += ".zst"
				}
				if got := string(content(t, path)); got != text {
					t.Fatalf("%s: %d bytes, and were %d", path, len(got), len(text))
				}
				b, err := os.ReadFile(logindex.Path(path))
				if err != nil {
					t.Fatal(err)
				}
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				x, err := logindex.Open(bytes.NewReader(b), int64(len(b)), info.Size())
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				raw, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				all := ""
				for i := range x.Blocks {
					from, to, n := x.Span(i)
					part := filepath.Join(t.TempDir(), filepath.Base(path))
					if err := os.WriteFile(part, raw[from:to], 0o600); err != nil {
						t.Fatal(err)
					}
					one := string(content(t, part))
					if int64(len(one)) != n {
						t.Errorf("%s: block %d has %d bytes, not %d", path, i, len(one), n)
					}
					all += one
				}
				if all != text {
					t.Errorf("%s: the blocks are not the log", path)
				}
				if strings.HasPrefix(name, "conn") && len(x.Blocks) < 3 {
					t.Errorf("%d blocks", len(x.Blocks))
				}
			}
			left, _ := filepath.Glob(filepath.Join(day, ".*"))
			if len(left) != len(files) {
				t.Errorf("%v", left)
			}
			s.Close(at("2026-11-23 12:00:01"))
			opt.Keep = time.Hour
			s = live(t, dir, opt, at("2026-12-23 12:00:00"))
			s.idle()
			if _, err := os.Stat(day); err == nil {
				left, _ := os.ReadDir(day)
				t.Errorf("the day is still there, with %v", left)
			}
			s.Close(at("2026-12-23 12:00:01"))
		})
	}
}
