package capture

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// folderPoll is how often a folder is looked at while nothing comes: soon enough for people, and nothing to the disk.
const folderPoll = 200 * time.Millisecond

// following goes through the captures of a folder as they come. One goroutine uses it.
type following struct {
	dir  string
	quit chan struct{}
	done map[string]read // by name without what says that it is compressed
}

// read is how far a file was read.
type read struct {
	info os.FileInfo
	size int64
}

// plain is a name without the ending that compressing it later gives: tcpdump -z gzip has a file that was read come again.
func plain(name string) string {
	for _, end := range [...]string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, end)
	}
	return name
}

// find gives the file that is to be read next: of those that were not, the one that was written to last the longest ago, by
// name where that is the same. Empty files and hidden ones are none. A file that is shorter than what was read of it, or
// another of the same name, is a new one.
func (w *following) find() (name string, info os.FileInfo, err error) {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return "", nil, err
	}
	for _, e := range entries {
		if e.Name()[0] == '.' {
			continue
		}
		is, err := os.Stat(filepath.Join(w.dir, e.Name()))
		if err != nil || !is.Mode().IsRegular() || is.Size() == 0 {
			continue
		}
		if was, ok := w.done[plain(e.Name())]; ok {
			compressed := e.Name() != plain(e.Name()) && was.info.Name() == plain(e.Name())
			if compressed || os.SameFile(was.info, is) && is.Size() >= was.size {
				continue
			}
		}
		if info == nil || is.ModTime().Before(info.ModTime()) {
			name, info = e.Name(), is
		}
	}
	return name, info, nil
}

// next waits for a file that was not read yet, and opens it.
func (w *following) next() (*os.File, error) {
	for {
		name, info, err := w.find()
		if err != nil {
			return nil, w.later(err)
		}
		if info != nil {
			f, err := os.Open(filepath.Join(w.dir, name))
			w.done[plain(name)] = read{info, info.Size()}
			return f, err
		}
		if w.later(nil) != nil {
			return nil, io.EOF
		}
	}
}

// later waits a little; it gives io.EOF when that is cut short, or else err.
func (w *following) later(err error) error {
	select {
	case <-time.After(folderPoll):
		return err
	case <-w.quit:
		return io.EOF
	}
}

// growing reads a file that is being written: its end is the end when there is a newer one.
type growing struct {
	f *os.File
	w *following
}

func (g *growing) Read(b []byte) (int, error) {
	for last := false; ; {
		n, err := g.f.Read(b)
		if n > 0 || err != nil && err != io.EOF || last {
			if n == 0 && err == io.EOF {
				if at, serr := g.f.Seek(0, io.SeekCurrent); serr == nil {
					name := plain(filepath.Base(g.f.Name()))
					g.w.done[name] = read{g.w.done[name].info, at}
				}
			}
			return n, err
		}
		if name, _, err := g.w.find(); err == nil && name != "" {
			last = true // what came before the newer file is there now
			continue
		}
		if g.w.later(nil) != nil {
			return 0, io.EOF
		}
	}
}
