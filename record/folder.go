package record

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/disk"
)

const (
	lockName  = "raytap-record.lock" // also what tells such a folder from others
	indexTail = ".idx"
	stampForm = "20060102T150405Z"
	// evidenceDir is where evidence is kept unless somebody says otherwise.
	evidenceDir = "evidence"
)

// Segments are numbered, so that their order does not hang on clocks, and named by the time of their first packet.
var segmentName = regexp.MustCompile(`^raytap-(\d{8,})-\d{8}T\d{6}Z\.pcapng(\.zst)?$`)

func nameSegment(seq uint64, t capture.Time, packed bool) string {
	name := fmt.Sprintf("raytap-%08d-%s.pcapng", seq, t.Std().Format(stampForm))
	if packed {
		name += ".zst"
	}
	return name
}

// file is a segment in the folder.
type file struct {
	path string
	seq  uint64
	size int64 // with its index
}

// list gives the segments of a folder, the oldest first.
func list(dir string) (all []file, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		sizes[e.Name()] = info.Size()
	}
	for name, size := range sizes {
		m := segmentName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		seq, err := strconv.ParseUint(m[1], 10, 64)
		if err != nil {
			continue
		}
		all = append(all, file{filepath.Join(dir, name), seq, size + sizes[name+indexTail]})
	}
	slices.SortFunc(all, func(a, b file) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.path, b.path))
	})
	return all, nil
}

// IsFolder says whether a recorder has written to dir.
func IsFolder(dir string) bool {
	if info, err := os.Stat(filepath.Join(dir, lockName)); err == nil && info.Mode().IsRegular() {
		return true
	}
	all, err := list(dir)
	return err == nil && len(all) > 0
}

// IsOurs says whether a file of such a folder, by its name, is one that only raytap reads.
func IsOurs(name string) bool {
	return name == lockName || name == journalName || name == journalName+oldTail || filepath.Ext(name) == indexTail
}

// lockFolder makes the folder, and takes it for this process until the file is closed.
func lockFolder(dir string) (*os.File, error) {
	if err := disk.Private().Folder(dir); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	f, err := disk.Private().Open(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if err := disk.Lock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("record: %s: another raytap records into this folder", dir)
	}
	return f, nil
}

// open reads a segment's index, or makes it of the segment where it is missing, damaged, or not of all of it, as that of
// the segment which is being written. made says which.
func open(path string) (s *segment, x *index, close func(), made bool, damaged int, err error) {
	if s, err = openSegment(path); err != nil {
		return nil, nil, nil, false, 0, err
	}
	close = s.close
	if f, e := disk.Read(path + indexTail); e == nil {
		if x, e = openIndex(f); e == nil && x.segment == s.size {
			return s, x, func() { f.Close(); s.close() }, false, 0, nil
		}
		f.Close()
	}
	x, _, damaged, err = s.index()
	if err != nil {
		s.close()
		return nil, nil, nil, false, damaged, err
	}
	return s, x, close, true, damaged, nil
}

// index makes the index of a segment.
func (s *segment) index() (x *index, b []byte, damaged int, err error) {
	var places []place
	var keys []uint64
	var counts Counts
	var links []uint16
	damaged, err = s.walk(func(p place, d *directory) error {
		places = append(places, p)
		for i := range d.flows {
			keys = appendKeys(keys, &d.flows[i].name)
		}
		counts.Add(&d.counts)
		if len(d.links) > len(links) {
			links = d.links
		}
		return nil
	})
	if err != nil {
		return nil, nil, damaged, err
	}
	b = buildIndex(s.size, places, keys, counts, links)
	x, err = openIndex(memory(b))
	return x, b, damaged, err
}

// memory is a ReaderAt over bytes.
type memory []byte

func (m memory) ReadAt(b []byte, at int64) (int, error) {
	if at < 0 || at >= int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(b, m[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// mendIndex writes the index of a segment that has none.
func mendIndex(path string) (size int64, err error) {
	s, err := openSegment(path)
	if err != nil {
		return 0, err
	}
	defer s.close()
	_, b, _, err := s.index()
	if err != nil {
		return 0, err
	}
	return int64(len(b)), writeIndex(path, b)
}

func writeIndex(path string, b []byte) error {
	return disk.Private().Replace(path+indexTail, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// remove deletes a segment and its index.
func remove(path string) error {
	os.Remove(path + indexTail)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
