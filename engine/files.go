package engine

import (
	"slices"
	"strings"

	"github.com/raytap/raytap/decoders/bare"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/ray"
)

// Files says which files are kept out of the traffic, and within which bounds.
type Files struct {
	Extract   []string `yaml:"extract"`    // executable, script, archive, pickle, ray_package, model, notebook, all; none: no files are kept
	Folder    string   `yaml:"folder"`     // "": files in the log folder
	Rules     []string `yaml:"rules"`      // only files of flows of which these rules spoke; none: all
	MaxFile   uint64   `yaml:"max_file"`   // of one file; what is longer is cut
	MaxMemory uint64   `yaml:"max_memory"` // of what waits for the disk
	Size      uint64   `yaml:"size"`       // of all files; 0: without bound
	Free      uint64   `yaml:"free"`       // of the disk, left free
}

// FileStore is where copies of files are kept.
type FileStore interface {
	// Spool gives what a new copy is written to.
	Spool() file.Spool
	// Keep keeps a copy, of a file of which only a part is there or of all of it, and gives its name, "" if it cannot be kept.
	Keep(c *file.Copy, part bool) string
	// Counts says what became of copies so far.
	Counts() file.Counts
}

// classes gives what Extract names.
func (f *Files) classes() (all file.Class) {
	for _, name := range f.Extract {
		all |= file.ParseClass(name)
	}
	return all
}

// copies says what readers of files have to copy, nil if nothing.
func (c *Config) copies() *file.Copies {
	if c.Store == nil || c.Files.classes() == 0 {
		return nil
	}
	return &file.Copies{Classes: c.Files.classes(), Max: int64(c.Files.MaxFile), New: c.Store.Spool}
}

const (
	// Flows that are remembered because a rule spoke of them, and files that are because a finding may.
	maxSpoken = 1 << 14
	maxTold   = 1 << 10 // flows
	maxOfFlow = 16
)

// keeping decides which copies are kept, in the order of events.
type keeping struct {
	store  FileStore
	rules  []string
	spoken detectors.Table[string, struct{}]   // flows, by UID, that findings of these rules are of
	kept   detectors.Table[string, []keptFile] // by flow
	wait   []waitingFile                       // until all that their packet says was said
	at     uint64                              // place of that packet

	packages detectors.Table[string, string] // names of kept packages of jobs, by their own
	uploads  detectors.Table[string, upload] // the last one of a flow
}

// upload is a package that was sent to a dashboard.
type upload struct {
	name string
	at   uint64
}

// keptFile is one that findings are told of.
type keptFile struct {
	sum, whole string // of what is kept, and of the file as files.log has it, if it has
	name       string
	at         uint64
}

// waitingFile is one whose row waits for its name.
type waitingFile struct {
	f   *file.File
	say bool // it has a row
}

func newKeeping(c *Config) *keeping {
	if c.copies() == nil {
		return nil
	}
	k := &keeping{store: c.Store, rules: c.Files.Rules}
	k.spoken.Limit, k.kept.Limit, k.packages.Limit, k.uploads.Limit = maxSpoken, maxTold, maxTold, maxTold
	return k
}

// fileOf gives the file that an event is about.
func fileOf(ev any) *file.File {
	switch ev := ev.(type) {
	case *file.File:
		return ev
	case *bare.Transfer:
		return ev.File
	}
	return nil
}

// drop forgets the copy of a file that nobody hears of.
func (k *keeping) drop(f *file.File) {
	if k != nil && f.Kept() == "" {
		f.Copy.Drop()
	}
}

// take sees a file before anybody else does, and reports whether its row has to wait until more is known.
func (k *keeping) take(f *file.File) bool {
	if f == nil || f.Copy == nil {
		return false
	}
	if len(k.rules) == 0 {
		k.keep(f)
		return false
	}
	k.wait = append(k.wait, waitingFile{f: f})
	return true
}

func (k *keeping) keep(f *file.File) {
	c := f.Copy
	if c.Kept == "" && !c.Dropped() {
		c.Kept = k.store.Keep(c, f.Partial())
	}
	if c.Kept != "" && f.Flow != nil {
		list := k.kept.Put(f.Flow.UID)
		*list = append((*list)[max(0, len(*list)-maxOfFlow+1):], keptFile{c.SHA256(), f.SHA256, c.Kept, k.at})
		if u := k.uploads.Get(f.Flow.UID); u != nil && u.at == k.at {
			*k.packages.Put(u.name) = c.Kept
		}
	}
	if c.Kept != "" && f.Source == "GRPC" {
		*k.packages.Put(f.Name) = c.Kept
	}
}

// call sees what names the file that came with the same packet, a package of a job.
func (k *keeping) call(ev any) {
	c, ok := ev.(*ray.Call)
	if !ok || c.Package == "" || c.PackageLen == 0 || c.Flow == nil {
		return
	}
	if list := k.kept.Get(c.Flow.UID); list != nil {
		if x := (*list)[len(*list)-1]; x.at == k.at {
			*k.packages.Put(c.Package) = x.name
			return
		}
	}
	*k.uploads.Put(c.Flow.UID) = upload{c.Package, k.at}
}

// row says that the file which waits as the last has a row.
func (k *keeping) row() { k.wait[len(k.wait)-1].say = true }

// finding sees a finding before anybody else does.
func (k *keeping) finding(f *detectors.Finding) {
	if k == nil || f.Flow == nil {
		return
	}
	if slices.ContainsFunc(k.rules, func(p string) bool { return detectors.MatchRule(p, f.Rule) }) {
		k.spoken.Put(f.Flow.UID)
		for i := range k.wait {
			if w := &k.wait[i]; w.f.Flow == f.Flow && w.f.Kept() == "" {
				k.keep(w.f)
			}
		}
	}
}

// tell adds to a finding where the file is that it is about.
func (k *keeping) tell(f *detectors.Finding) {
	if f.Flow == nil {
		return
	}
	told := 0
	for _, e := range f.Evidence {
		if name, ok := strings.CutPrefix(e.Value, "gcs://"); ok && told < maxOfFlow { // a job that brings it along
			if x := k.packages.Get(name); x != nil {
				f.Evidence = append(f.Evidence, detectors.Evidence{Field: "file_kept", Value: *x, Packet: e.Packet})
				told++
			}
		}
	}
	list := k.kept.Get(f.Flow.UID)
	if list == nil || told > 0 {
		return
	}
	// One with a digest is about that file, another about what came with the same packet.
	i := slices.IndexFunc(f.Evidence, func(e detectors.Evidence) bool { return e.Field == "sha256" })
	for _, x := range slices.Backward(*list) {
		if i >= 0 && (f.Evidence[i].Value == x.sum || f.Evidence[i].Value == x.whole) || i < 0 && x.at == k.at {
			f.Evidence = append(f.Evidence, detectors.Evidence{Field: "file_kept", Value: x.name, Packet: f.Packet})
			return
		}
	}
}

// settle gives the files that wait to say, each with its name or none: what their packet says was said. at is the place
// of the next one, 0 if it is not known.
func (k *keeping) settle(at uint64, say func(any)) {
	if k == nil || k.at == at && at != 0 {
		return
	}
	k.at = at
	wait := k.wait
	k.wait = nil
	for i := range wait {
		if f := wait[i].f; f.Kept() == "" && f.Flow != nil && k.spoken.Get(f.Flow.UID) != nil {
			k.keep(f)
		}
	}
	for i := range wait {
		k.drop(wait[i].f)
		if wait[i].say {
			say(wait[i].f)
		}
	}
}

func (k *keeping) stats() (s file.Counts) {
	if k != nil {
		s = k.store.Counts()
	}
	return s
}

// fileNotes and fileLosses are what became of files that were to be kept.
func fileNotes(s *file.Counts) []Note {
	return []Note{
		{"files_kept", s.Kept, "files"},
		{"files_kept_bytes", s.Bytes, "bytes"},
		{"files_kept_again", s.Again, "files"},
		{"files_kept_partial", s.Partial, "files"},
		{"files_removed", s.Removed, "files"},
	}
}

func fileLosses(s *file.Counts) []Loss {
	return []Loss{
		{"files_slow", s.Slow, "files"},
		{"files_full", s.Full, "files"},
		{"files_failed", s.Failed, "files"},
	}
}
