package record

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/terminal"
)

// Evidence says of which findings the packets are saved for themselves, and for how long.
type Evidence struct {
	On       bool
	Severity detectors.Severity // the least
	Folder   string             // "": evidence in the recorder's
	Size     uint64             // of all files, bytes; the oldest goes first
	Keep     time.Duration      // 0: without bound
	Bound    uint64             // of one file, bytes
}

func (e *Evidence) name(id string) string { return filepath.Join(e.Folder, id+".pcapng") }

// evidenceName matches files of findings and incidents.
var evidenceName = regexp.MustCompile(`^[RI][0-9A-Za-z]{17}\.pcapng$`)

const (
	// Files that are written to at once, each of a finding whose flow goes on.
	maxOpen = 256
	// Flows of which it is remembered in which files they are, for incidents.
	maxKnown = 1 << 14
	// The comment of a file ends with a line of that length, which is written again when the file is whole.
	statusLong = 100
)

// What the comment says of a file.
const (
	statusOpen = "CUT OFF, or still being written: raytap has not come to the flow's end"
	statusEnd  = "complete: to the end of the flow, or of the run"
	statusHole = "INCOMPLETE: the disk did not keep up, and some packets were not recorded"
)

// saved is a file that is written to.
type saved struct {
	path  string
	f     *os.File
	about string
	notes map[uint64][]string
	links []uint16 // interfaces that it has
	flows map[uint64]bool
	size  int64
	holes bool // packets of that time were lost
	buf   []byte
	err   error
}

// evidence writes the files of findings. It belongs to the writer.
type evidence struct {
	w     *writer
	opt   *Evidence
	files []file // closed ones, the oldest first
	total int64
	open  []*saved
	known map[string][]string // files by UID
}

func newEvidence(w *writer) (*evidence, error) {
	e := &evidence{w: w, opt: &w.opt.Evidence, known: map[string][]string{}}
	if err := disk.Private().Folder(e.opt.Folder); err != nil {
		return nil, err
	}
	e.reread()
	return e, nil
}

// reread looks at what is there.
func (e *evidence) reread() {
	entries, _ := os.ReadDir(e.opt.Folder)
	type aged struct {
		file
		at time.Time
	}
	var all []aged
	e.total = 0
	for _, x := range entries {
		info, err := x.Info()
		if err != nil || !info.Mode().IsRegular() || !evidenceName.MatchString(x.Name()) {
			continue
		}
		path := filepath.Join(e.opt.Folder, x.Name())
		if slices.ContainsFunc(e.open, func(s *saved) bool { return s.path == path }) {
			e.total += info.Size()
			continue
		}
		all = append(all, aged{file{path: path, size: info.Size()}, info.ModTime()})
		e.total += info.Size()
	}
	slices.SortFunc(all, func(a, b aged) int { return a.at.Compare(b.at) })
	e.files = e.files[:0]
	for _, a := range all {
		e.files = append(e.files, a.file)
	}
}

// shrink makes room for n bytes.
func (e *evidence) shrink(n int64) {
	for len(e.files) > 0 && e.total+n > int64(e.opt.Size) {
		os.Remove(e.files[0].path)
		e.total -= e.files[0].size
		e.files = e.files[1:]
	}
}

// age deletes what is too old.
func (e *evidence) age(now time.Time, sure bool) {
	e.reread()
	for e.opt.Keep > 0 && sure && len(e.files) > 0 {
		info, err := os.Stat(e.files[0].path)
		if err == nil && now.Sub(info.ModTime()) <= e.opt.Keep {
			return
		}
		os.Remove(e.files[0].path)
		e.total -= e.files[0].size
		e.files = e.files[1:]
	}
}

func (w *writer) obey(o *order) {
	var err error
	switch {
	case o.finding != nil:
		err = w.journal.add(&o.finding.entry)
		if o.finding.file != "" && w.saves != nil {
			err = errors.Join(err, w.saves.begin(o.finding))
		}
	case o.incident != nil:
		err = w.journal.add(&o.incident.entry)
		if o.incident.file != "" && w.saves != nil {
			err = errors.Join(err, w.saves.tell(o.incident))
		}
	case w.saves != nil:
		w.saves.ends(o.ends)
	}
	if err != nil {
		w.r.fail(err)
		w.failed = w.opt.clock().Add(-retryAfter) // the next chunk shows whether it is over
	}
}

// search reads the ring, with the segment that is being written.
func (w *writer) search(q *Query) *Results {
	files := slices.Clone(w.ring)
	if w.out != nil {
		files = append(files, file{path: w.path})
	}
	return &Results{files: files, query: q}
}

// create begins a file.
func (e *evidence) create(path, about string, notes map[uint64][]string) (*saved, error) {
	e.shrink(int64(min(e.opt.Bound, e.opt.Size/4)))
	if err := disk.Private().Folder(e.opt.Folder); err != nil {
		return nil, err
	}
	e.files = slices.DeleteFunc(e.files, func(f file) bool { // of an earlier run that found the same
		if f.path == path {
			e.total -= f.size
		}
		return f.path == path
	})
	f, err := disk.Private().Renew(path)
	if err != nil {
		return nil, err
	}
	s := &saved{path: path, f: f, notes: notes, about: terminal.Clean(about), flows: map[uint64]bool{}}
	s.write(capture.AppendSection(nil, e.w.opt.Application, s.comment(statusOpen)))
	e.total += s.size
	return s, s.err
}

// comment is that of the whole file.
func (s *saved) comment(status string) string {
	if n := statusLong - len(status); n > 0 {
		status += strings.Repeat(" ", n)
	}
	return s.about + "\n" + status[:statusLong]
}

func (s *saved) write(b []byte) {
	if s.err != nil {
		return
	}
	if _, s.err = s.f.Write(b); s.err != nil {
		s.f.Truncate(s.size)
		return
	}
	s.size += int64(len(b))
}

// frame appends one, with its comment.
func (s *saved) frame(f *capture.Frame) {
	id := slices.Index(s.links, f.Link)
	s.buf = s.buf[:0]
	if id < 0 {
		id = len(s.links)
		s.links = append(s.links, f.Link)
		s.buf = capture.AppendInterface(s.buf, f.Link, "")
	}
	comment := ""
	if notes := s.notes[f.Ordinal]; notes != nil {
		comment = strings.Join(notes, "\n") + fmt.Sprintf("\npacket %d of the capture", f.Ordinal)
	}
	s.buf = capture.AppendPacket(s.buf, uint32(id), f, len(f.Data), comment)
	s.write(s.buf)
}

// end closes the file, which says what it is.
func (e *evidence) end(s *saved, status string) {
	if s.holes && status == statusEnd {
		status = statusHole
	}
	if s.err != nil {
		status = "CUT OFF: the disk failed while it was written"
	}
	const at = 28 // where the text of the first option of a section begins
	s.f.WriteAt([]byte(s.comment(status)), at)
	if err := s.f.Close(); s.err == nil {
		s.err = err
	}
	e.open = slices.DeleteFunc(e.open, func(o *saved) bool { return o == s })
	e.files = append(e.files, file{path: s.path, size: s.size})
	if s.err != nil {
		e.w.r.fail(s.err)
		e.w.failed = e.w.opt.clock().Add(-retryAfter)
	}
	e.shrink(0)
}

// begin saves what there is of a finding, and goes on with its flow.
func (e *evidence) begin(x *evidenceCase) error {
	if i := slices.IndexFunc(e.open, func(s *saved) bool { return s.path == x.file }); i >= 0 {
		e.end(e.open[i], statusEnd) // said again, as more severe: it is another file then, but for a hash
	}
	s, err := e.create(x.file, x.about, x.notes)
	if err != nil {
		return err
	}
	for _, uid := range x.query.UIDs {
		if len(e.known) >= maxKnown {
			clear(e.known)
		}
		if !slices.Contains(e.known[uid], x.file) {
			e.known[uid] = append(e.known[uid], x.file)
		}
	}
	s.holes = e.w.lostAt != 0 && e.w.lostAt >= x.since
	full := e.gather(s, &x.query)
	for _, id := range x.ids {
		s.flows[id] = true
	}
	switch {
	case full:
		e.end(s, e.bounded())
	case len(s.flows) == 0 || s.err != nil:
		e.end(s, statusEnd)
	default:
		if len(e.open) >= maxOpen {
			e.end(e.open[0], "CUT OFF: too many findings at once")
		}
		e.open = append(e.open, s)
	}
	return nil
}

func (e *evidence) bounded() string {
	return fmt.Sprintf("CUT OFF at the bound of %d bytes (evidence.bound)", e.opt.Bound)
}

// gather writes what the ring has, and reports whether the bound was reached.
func (e *evidence) gather(s *saved, q *Query) (full bool) {
	r := e.w.search(q)
	defer r.Close()
	var b capture.Batch
	before := s.size
	defer func() { e.total += s.size - before }()
	for r.ReadBatch(&b) == nil {
		for i := range b.Frames {
			if s.size >= int64(e.opt.Bound) {
				return true
			}
			s.frame(&b.Frames[i])
		}
	}
	return false
}

// hole says that packets were lost, of what is saved, too, if they came nowhere.
func (e *evidence) hole(nowhere bool) {
	for _, s := range e.open {
		s.holes = s.holes || nowhere
	}
}

// follow goes on with the flows of findings.
func (e *evidence) follow(c *chunk) {
	if len(e.open) == 0 {
		return
	}
	numbers := map[uint64]uint32{}
	for i, id := range c.ids {
		numbers[id] = uint32(i)
	}
	for _, s := range slices.Clone(e.open) {
		var flows map[uint32]bool
		for id := range s.flows {
			if i, ok := numbers[id]; ok {
				if flows == nil {
					flows = map[uint32]bool{}
				}
				flows[i] = true
			}
		}
		if flows == nil {
			continue
		}
		before := s.size
		for _, i := range c.framesOf(flows) {
			if f, _, ok := parsePacket(c.block(i), c.links); ok {
				f.Ordinal = c.ordinals[i]
				s.frame(&f)
			}
			if s.size >= int64(e.opt.Bound) || s.err != nil {
				break
			}
		}
		e.total += s.size - before
		switch {
		case s.err != nil:
			e.end(s, statusOpen)
		case s.size >= int64(e.opt.Bound):
			e.end(s, e.bounded())
		}
		e.shrink(0)
	}
}

// ends says that a flow is over, or far enough.
func (e *evidence) ends(id uint64) {
	for _, s := range slices.Clone(e.open) {
		if s.flows[id] {
			delete(s.flows, id)
			if len(s.flows) == 0 {
				e.end(s, statusEnd)
			}
		}
	}
}

func (e *evidence) close() {
	for len(e.open) > 0 {
		e.end(e.open[0], statusEnd)
	}
}

// tell saves the flows of an incident: what the ring has of them, and what the files of its findings have, which may be
// more. They are in order of time, and what is in several of these is there once.
func (e *evidence) tell(x *story) error {
	var all []capture.Frame
	size, full := 0, false
	take := func(src capture.Source) {
		var b capture.Batch
		for {
			err := src.ReadBatch(&b)
			for i := range b.Frames {
				f := b.Frames[i]
				if size += len(f.Data) + 64; size > int(e.opt.Bound) {
					full = true
					return
				}
				f.Data = bytes.Clone(f.Data)
				all = append(all, f)
			}
			if err != nil {
				return
			}
		}
	}
	r := e.w.search(&x.query)
	take(r)
	r.Close()
	read := map[string]bool{}
	for _, uid := range x.query.UIDs {
		for _, path := range e.known[uid] {
			if read[path] {
				continue
			}
			read[path] = true
			f, err := disk.Read(path)
			if err != nil {
				continue // its time was over
			}
			if src, err := capture.NewFile(path, f); err == nil {
				n := len(all)
				take(src)
				for i := n; i < len(all); i++ {
					all[i].Ordinal = unnumbered
				}
				src.Close()
			}
			f.Close()
		}
	}
	slices.SortStableFunc(all, func(a, b capture.Frame) int { return cmp.Compare(a.Time, b.Time) })
	s, err := e.create(x.file, x.about, x.notes)
	if err != nil {
		return err
	}
	before := s.size
	for i := range all {
		twice := false
		for j := i - 1; j >= 0 && all[j].Time == all[i].Time && !twice; j-- {
			// The same packet twice in one capture is two packets.
			twice = all[i].Ordinal == unnumbered && all[j].WireLen == all[i].WireLen && bytes.Equal(all[j].Data, all[i].Data)
		}
		if !twice {
			s.frame(&all[i])
		}
	}
	e.total += s.size - before
	status := "complete: what there is of its flows"
	if full {
		status = e.bounded()
	}
	e.end(s, status)
	return nil
}
