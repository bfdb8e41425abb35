package ship

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/zeek"
)

const (
	currentDir = "current"
	dayForm    = "2006-01-02"
	stampForm  = "2006-01-02-15-04-05"
	clockForm  = "15:04:05"

	// The longest line that is read. What is longer than a row of the fleet may be is refused anyway.
	maxLine = 4 << 20
	// Bytes of a file that tell it apart from others, at most.
	maxHead = 64 << 10
	// What is read at a time, and memory that decompression takes: the files are our own, and written with less.
	readSize  = 64 << 10
	maxWindow = 8 << 20
)

// rotatedName matches conn.17:00:00-18:00:00.log and conn.2026-11-23-17-00-00.log, with -2 and so on, compressed or not.
var rotatedName = regexp.MustCompile(`^([a-z][a-z0-9_]*)\.(?:(\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d)|(\d\d:\d\d:\d\d)-(\d\d:\d\d:\d\d))(?:-(\d+))?\.log(?:\.gz|\.zst)?$`)

// file is one of the archive.
type file struct {
	log   string
	name  string // "2026-11-23/conn.17:00:00-18:00:00.log", whatever it is compressed with
	path  string // without what compression adds
	began time.Time
	until time.Time // zero: the name does not say
	n     int       // of several with these times
	size  int64     // on the disk, when it was looked at
}

// archive lists the rotated files of a folder, by log and in order of their names. done tells those that are not looked
// at any further.
func archive(dir string, wanted func(log string) bool, done func(name string) bool) (files map[string][]*file, there map[string]bool, err error) {
	files, there = map[string][]*file{}, map[string]bool{}
	take := func(folder, day string) error {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil {
			return err
		}
		for _, e := range entries {
			m := rotatedName.FindStringSubmatch(e.Name())
			if m == nil || !e.Type().IsRegular() || !wanted(m[1]) {
				continue
			}
			base := strings.TrimSuffix(strings.TrimSuffix(e.Name(), ".gz"), ".zst")
			f := &file{log: m[1], name: filepath.Join(folder, base), path: filepath.Join(dir, folder, base)}
			if there[f.name] {
				continue // it was compressed a moment ago, and the plain one goes now
			}
			switch {
			case m[2] != "":
				f.began, err = time.Parse(stampForm, m[2])
			case day == "":
				continue
			default:
				f.began, err = time.Parse(dayForm+clockForm, day+m[3])
				if u, e := time.Parse(dayForm+clockForm, day+m[4]); e == nil {
					if f.until = u; !u.After(f.began) {
						f.until = u.AddDate(0, 0, 1)
					}
				}
			}
			if err != nil {
				continue
			}
			fmt.Sscan(m[5], &f.n)
			there[f.name] = true
			if done(f.name) {
				continue
			}
			if info, err := e.Info(); err == nil {
				f.size = info.Size()
			}
			files[f.log] = append(files[f.log], f)
		}
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if _, err := time.Parse(dayForm, e.Name()); err != nil || !e.IsDir() {
			continue
		}
		if err := take(e.Name(), e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	// A folder of a day may be what is published.
	day := ""
	if abs, err := filepath.Abs(dir); err == nil {
		if _, err := time.Parse(dayForm, filepath.Base(abs)); err == nil {
			day = filepath.Base(abs)
		}
	}
	if err := take("", day); err != nil {
		return nil, nil, err
	}
	for _, all := range files {
		slices.SortStableFunc(all, func(a, b *file) int {
			return cmp.Or(a.began.Compare(b.began), a.until.Compare(b.until), cmp.Compare(a.n, b.n), cmp.Compare(a.name, b.name))
		})
	}
	return files, there, nil
}

// open opens it, in whatever form it is by now.
func (f *file) open() (*os.File, string, error) {
	for range 2 { // compression may take away a name between two looks
		for _, ext := range [...]string{"", ".gz", ".zst"} {
			h, err := disk.Read(f.path + ext)
			if err == nil {
				return h, ext, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, "", err
			}
		}
	}
	return nil, "", fs.ErrNotExist
}

// reader reads whole lines of one file, from a place on.
type reader struct {
	f      *os.File
	info   fs.FileInfo // of f when it was opened
	z      io.Reader   // decompresses it; nil: it is plain
	closer func()
	mem    []byte  // what buf is a part of
	spare  *[]byte // where mem goes while there is nothing to be read, for other readers
	buf    []byte  // bytes that were read and not taken, of which the first is at base
	base   int64
	skip   bool // the rest of a line that is too long
	end    error
	conv   zeek.Converter
}

func newReader(f *os.File, ext string) (*reader, error) {
	r := &reader{f: f, spare: new([]byte)}
	var err error
	if r.info, err = f.Stat(); err != nil {
		f.Close()
		return nil, err
	}
	switch ext {
	case ".gz":
		z, err := gzip.NewReader(bufio.NewReaderSize(f, readSize))
		if err != nil {
			f.Close()
			return nil, err
		}
		r.z = z
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			f.Close()
			return nil, err
		}
		r.z, r.closer = z, z.Close
	}
	return r, nil
}

func (r *reader) close() {
	if r.closer != nil {
		r.closer()
	}
	r.f.Close()
}

// again has it read from its beginning.
func (r *reader) again() error {
	r.base, r.buf, r.end, r.skip = 0, r.buf[:0:0], nil, false
	if r.z == nil {
		return nil
	}
	if _, err := r.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if z, ok := r.z.(*zstd.Decoder); ok {
		return z.Reset(r.f)
	}
	return r.z.(*gzip.Reader).Reset(bufio.NewReaderSize(r.f, readSize))
}

// fill reads more behind what is there. It returns io.EOF at the end, which of a plain file may be one for now.
func (r *reader) fill() error {
	if cap(r.buf)-len(r.buf) < readSize/4 {
		if cap(r.mem) < len(r.buf)+readSize/2 {
			if r.mem, *r.spare = *r.spare, nil; len(r.mem) < max(readSize, 2*len(r.buf)) {
				r.mem = make([]byte, max(readSize, 2*len(r.buf)))
			}
		}
		r.buf = r.mem[:copy(r.mem[:cap(r.mem)], r.buf)]
	}
	room := r.buf[len(r.buf):cap(r.buf)]
	var n int
	var err error
	if r.z != nil {
		if r.end != nil {
			return r.end
		}
		n, err = r.z.Read(room)
		r.end = err
	} else {
		n, err = r.f.ReadAt(room, r.base+int64(len(r.buf)))
	}
	r.buf = r.buf[:len(r.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// wait forgets what was read and not taken of a plain file, and lends its memory out.
func (r *reader) wait() {
	if len(r.mem) == readSize { // what a long line took is not kept
		*r.spare = r.mem
	}
	r.buf, r.mem = nil, nil
}

// line returns the next whole line without its end, and where it begins; nil with io.EOF: there is none, at present. It is
// valid until the next call. tooLong: a line was skipped that nobody could take.
func (r *reader) line() (line []byte, at int64, tooLong bool, err error) {
	seen := 0
	for {
		if i := bytes.IndexByte(r.buf[seen:], '\n'); i >= 0 {
			i += seen
			line, at = r.buf[:i], r.base
			r.base += int64(i) + 1
			r.buf = r.buf[i+1:]
			if r.skip {
				r.skip = false
				return nil, at, true, nil
			}
			return line, at, false, nil
		}
		if seen = len(r.buf); seen > maxLine {
			r.base += int64(seen)
			r.buf, r.skip, seen = nil, true, 0
		}
		if err := r.fill(); err != nil {
			if r.z == nil {
				// A line whose end is not there yet is read again: a run that is killed leaves half of one, which is cut off.
				r.wait()
			}
			return nil, r.base, false, err
		}
	}
}

// rest is how many bytes are left of a file that ends in half a line.
func (r *reader) rest() int64 {
	if r.z != nil {
		return int64(len(r.buf))
	}
	if info, err := r.f.Stat(); err == nil {
		return max(info.Size()-r.base, 0)
	}
	return 0
}

// head returns a sum over the file's bytes up to the end of its first row, and how many these are; 0: there is no row yet. The
// columns are known afterwards. It is called first.
func (r *reader) head() (sum uint64, n int64, err error) {
	seen := 0
	for {
		i := bytes.IndexByte(r.buf[seen:], '\n')
		if i < 0 && len(r.buf) < maxHead {
			if err := r.fill(); err != nil {
				if r.z == nil {
					r.wait()
				}
				if errors.Is(err, io.EOF) {
					err = nil
				}
				return 0, 0, err
			}
			continue
		}
		if i < 0 || seen+i >= maxHead {
			return xxhash.Sum64(r.buf[:maxHead]), maxHead, nil
		}
		line := r.buf[seen : seen+i]
		seen += i + 1
		if len(line) > 0 && line[0] == '#' {
			r.conv.Line(line)
			continue
		}
		return xxhash.Sum64(r.buf[:seen]), int64(seen), nil
	}
}

// seek goes to a place, and reports whether the line with that sum ends there.
func (r *reader) seek(g *generation) (bool, error) {
	if g.Offset == 0 {
		return true, nil
	}
	from := g.Offset - g.LastN
	if r.z == nil {
		b := make([]byte, g.LastN)
		if _, err := r.f.ReadAt(b, from); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return false, err
		}
		r.buf, r.base = r.buf[:0:0], g.Offset
		return xxhash.Sum64(b) == g.Last, nil
	}
	for r.base+int64(len(r.buf)) < g.Offset {
		if gone := min(from-r.base, int64(len(r.buf))); gone > 0 {
			r.buf, r.base = r.buf[gone:], r.base+gone
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return false, err
		}
	}
	b := r.buf[from-r.base : g.Offset-r.base]
	ok := xxhash.Sum64(b) == g.Last
	r.buf, r.base = r.buf[g.Offset-r.base:], g.Offset
	return ok, nil
}
