package record

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/raytap/raytap/capture"
)

// Folder is what a recorder has written, or still writes, for those who read it.
type Folder struct {
	Dir   string
	files []file
}

// OpenFolder opens one. What is recorded later is not in it.
func OpenFolder(dir string) (*Folder, error) {
	files, err := list(dir)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return &Folder{dir, files}, nil
}

// Search finds packets. flow is told of each flow that is found in a segment, perhaps again; it may be nil.
func (f *Folder) Search(q *Query, flow func(capture.FlowName)) *Results {
	return &Results{files: f.files, query: q, flow: flow}
}

// Having calls fn for each segment that has packets of what is looked for, with how many. It returns in words what could
// not be read.
func (f *Folder) Having(q *Query, fn func(name string, packets int)) (told []string) {
	for _, x := range f.files {
		r := &Results{files: []file{x}, query: q}
		n := 0
		var b capture.Batch
		for r.ReadBatch(&b) == nil {
			n += len(b.Frames)
		}
		told = append(told, r.Told...)
		if n > 0 {
			fn(x.path, n)
		}
	}
	return told
}

// Journal calls fn for everything that was found while the folder was written, the oldest first.
func (f *Folder) Journal(fn func(*Entry)) error { return readJournal(f.Dir, fn) }

// Segment is what there is to say of one.
type Segment struct {
	Name        string
	Bytes       int64 // with its index
	First, Last capture.Time
	Counts      Counts
	Indexed     bool // there is an index of all of it
	Damaged     int  // places that were passed over; known where it is not indexed
	Err         error
}

// Segments lists them, the oldest first.
func (f *Folder) Segments() []Segment {
	all := make([]Segment, 0, len(f.files))
	for _, x := range f.files {
		g := Segment{Name: filepath.Base(x.path), Bytes: x.size}
		_, i, close, made, damaged, err := open(x.path)
		if err != nil {
			g.Err = err
			all = append(all, g)
			continue
		}
		g.Counts, g.Indexed, g.Damaged = i.counts, !made, damaged
		for n := range i.places {
			p := &i.places[n]
			if n == 0 {
				g.First, g.Last = p.first, p.last
			}
			g.First, g.Last = min(g.First, p.first), max(g.Last, p.last)
		}
		close()
		all = append(all, g)
	}
	return all
}

// EvidenceFiles counts the files of findings and incidents in the folder, and their bytes.
func (f *Folder) EvidenceFiles() (n int, bytes int64) {
	entries, _ := os.ReadDir(filepath.Join(f.Dir, evidenceDir))
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && evidenceName.MatchString(e.Name()) {
			n++
			bytes += info.Size()
		}
	}
	return n, bytes
}
