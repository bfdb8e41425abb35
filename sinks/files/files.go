// Package files keeps copies of files that came over the network, in a folder.
//
// In: copies that decoders/file made (file.Copy), with the decision that one is to be kept. Out: one plain file for each
// content, ab/abcdef….: the SHA-256 of what is in it, in a folder that is named by its first two digits. A copy that is not
// the whole file, since bytes were lost or the file is longer than the bound, has .partial behind its name. The same
// content is written once. Nothing of a name comes from the wire.
//
// Files have mode 0600 and folders 0700. A file is written under another name and renamed when it is whole. No link is
// followed, neither in the folder nor in its place.
//
// Writing has a goroutine of its own, which is the only one that touches the disk. What waits for it is bounded: whoever
// reads a capture waits for the disk then, and a sensor drops the copy and counts it.
//
// The folder belongs to one process at a time. When it has more than Options.Size the oldest files go first.
package files

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/sinks/disk"
)

const (
	// Partial is what the name of a copy ends with that is not the whole file.
	Partial  = ".partial"
	lockName = ".raytap.lock"
	tempName = ".tmp-"
	// Files that are remembered, and so the most that the folder has. Each takes 150 bytes.
	maxFiles = 1 << 18
	// How long Close waits for the disk.
	closeFor = 10 * time.Second
)

// named is what a kept file is called.
var named = regexp.MustCompile(`^[0-9a-f]{64}(\.partial)?$`)

// Options say how to keep files.
type Options struct {
	Dir     string
	Size    uint64 // bytes of all files in the folder; 0: without bound
	Waiting uint64 // bytes that may wait for the disk
	Free    uint64 // bytes of the disk that are left free
	Wait    bool   // wait for the disk rather than drop a copy, and until a file is there or not
	Say     func(string)
}

// Store is such a folder.
type Store struct {
	opt  Options
	root *os.Root
	lock *os.File

	mu      sync.Mutex
	room    sync.Cond // waiting became less
	work    sync.Cond // queue has something
	queue   []job
	waiting uint64
	closed  bool
	done    chan struct{}

	// Of the writer.
	have  map[string]uint64 // sizes by name
	order []string          // oldest first
	size  uint64
	temp  uint64 // bytes of copies under way
	ill   bool   // the last write failed, and that was said

	kept, bytes, again, partial, removed atomic.Uint64
	lost                                 [failed + 1]atomic.Uint64 // by cause
}

// spool is a copy under way. The writer alone touches what is behind mu.
type spool struct {
	s    *Store
	name string // of the file, "" if there is none yet
	size uint64
	bad  bool         // something of it was not written
	lost atomic.Int32 // a cause for which it was given up, or 0
	over atomic.Bool  // it was dropped or kept
}

// Causes for which a copy is given up.
const (
	slow int32 = 1 + iota
	full
	failed
)

// handle is what makers of copies hold. When the last one is gone the spool is dropped.
type handle struct{ sp *spool }

type job struct {
	sp   *spool // nil: the copy is all in data
	data []byte
	kind jobKind
	name string
	part bool
	ack  chan bool // told whether the file is there
}

type jobKind uint8

const (
	put jobKind = iota
	drop
	keep
)

// IsFolder reports whether files are kept in a folder.
func IsFolder(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, lockName))
	return err == nil && info.Mode().IsRegular()
}

// Open opens a folder, which it makes if need be.
func Open(opt Options) (*Store, error) {
	s := &Store{opt: opt, have: map[string]uint64{}, done: make(chan struct{})}
	s.room.L, s.work.L = &s.mu, &s.mu
	if err := s.open(); err != nil {
		if s.lock != nil {
			s.lock.Close()
		}
		if s.root != nil {
			s.root.Close()
		}
		return nil, fmt.Errorf("files: %w", err)
	}
	go s.write()
	return s, nil
}

func (s *Store) open() error {
	dir, err := filepath.Abs(s.opt.Dir)
	if err != nil {
		return err
	}
	if err := disk.Default().Folder(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := disk.Private().Within(filepath.Dir(dir), filepath.Base(dir)); err != nil {
		return err
	}
	if s.root, err = os.OpenRoot(dir); err != nil {
		return err
	}
	info, err := s.root.Stat(".")
	if err != nil {
		return err
	}
	if at, err := os.Lstat(dir); err != nil || !os.SameFile(at, info) {
		return fmt.Errorf("%s is a link, or was replaced", dir)
	}
	if m := info.Mode().Perm(); m&0o022 != 0 {
		return fmt.Errorf("others may write to %s (mode %04o)", dir, m)
	}
	if err := disk.Owned(info); err != nil {
		return fmt.Errorf("%s %w", dir, err)
	}
	if s.lock, err = s.root.OpenFile(lockName, os.O_CREATE|os.O_RDWR|disk.NoFollow, 0o600); err != nil {
		return err
	}
	if err := disk.Lock(s.lock); err != nil {
		return fmt.Errorf("%s is in use by another process", dir)
	}
	return s.scan()
}

// scan finds what is there: files of ours, and what a run that was killed left.
func (s *Store) scan() error {
	type found struct {
		name string
		size uint64
		at   time.Time
	}
	var all []found
	top, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range top {
		name := e.Name()
		if strings.HasPrefix(name, tempName) && e.Type().IsRegular() {
			if err := s.root.Remove(name); err != nil {
				return err
			}
		}
		if b, err := hex.DecodeString(name); !e.IsDir() || err != nil || len(b) != 1 || name != strings.ToLower(name) {
			continue
		}
		list, err := fs.ReadDir(s.root.FS(), name)
		if err != nil {
			return err
		}
		for _, e := range list {
			if !named.MatchString(e.Name()) || e.Name()[:2] != name || !e.Type().IsRegular() {
				continue
			}
			if info, err := e.Info(); err == nil {
				all = append(all, found{name + "/" + e.Name(), uint64(info.Size()), info.ModTime()})
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.name, b.name)) })
	for _, f := range all {
		s.have[f.name], s.order = f.size, append(s.order, f.name)
		s.size += f.size
	}
	s.makeRoom(0)
	return nil
}

// Spool begins a copy. It may be called from any goroutine.
func (s *Store) Spool() file.Spool {
	h := &handle{sp: &spool{s: s}}
	// Whoever reads a file that never ends, since a bug stops its decoder, neither keeps nor drops it.
	runtime.AddCleanup(h, func(sp *spool) { sp.drop() }, h.sp)
	return h
}

// Put implements file.Spool.
func (h *handle) Put(b []byte) bool {
	if h.sp.lost.Load() != 0 {
		return false
	}
	if h.sp.s.add(job{sp: h.sp, data: b, kind: put}) {
		return true
	}
	h.sp.lost.CompareAndSwap(0, slow)
	return false
}

// Drop implements file.Spool.
func (h *handle) Drop() { h.sp.drop() }

func (sp *spool) drop() {
	if !sp.over.Swap(true) {
		sp.s.add(job{sp: sp, kind: drop})
	}
}

// add has the writer do something, and reports whether it will. It always will where there is nothing to write.
func (s *Store) add(j job) bool {
	n := uint64(len(j.data))
	s.mu.Lock()
	defer s.mu.Unlock()
	for n > 0 && s.waiting > 0 && s.waiting+n > s.opt.Waiting && s.opt.Wait && !s.closed {
		s.room.Wait()
	}
	if s.closed || n > 0 && s.waiting > 0 && s.waiting+n > s.opt.Waiting {
		return false
	}
	s.waiting += n
	s.queue = append(s.queue, j)
	s.work.Signal()
	return true
}

// Keep keeps a copy, which nobody else may use any more, and gives its name in the folder; "" if it was given up. part
// says that it is not the whole file. Copies are kept in the order of the calls, which come from one goroutine.
func (s *Store) Keep(c *file.Copy, part bool) string {
	j := job{data: c.Rest(), kind: keep, part: part}
	h, _ := c.Spool().(*handle)
	if h != nil {
		j.sp = h.sp
	}
	if h != nil {
		if why := h.sp.lost.Load(); why != 0 {
			s.lost[why].Add(1)
			c.Drop()
			return ""
		}
	}
	sum := c.SHA256()
	j.name = sum[:2] + "/" + sum
	if part {
		j.name += Partial
	}
	if s.opt.Wait {
		j.ack = make(chan bool, 1)
	}
	if !s.add(j) {
		s.lost[slow].Add(1)
		c.Drop()
		return ""
	}
	if h != nil {
		h.sp.over.Store(true)
	}
	c.Taken()
	if j.ack != nil && !<-j.ack {
		c.Drop()
		return ""
	}
	return j.name
}

// Counts gives what was counted so far.
func (s *Store) Counts() file.Counts {
	return file.Counts{
		Kept: s.kept.Load(), Bytes: s.bytes.Load(), Again: s.again.Load(), Partial: s.partial.Load(), Removed: s.removed.Load(),
		Slow: s.lost[slow].Load(), Full: s.lost[full].Load(), Failed: s.lost[failed].Load(),
	}
}

// Dir is the folder.
func (s *Store) Dir() string { return s.opt.Dir }

// Close writes what waits, for a few seconds at most, and drops copies that were not kept.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.work.Broadcast()
	s.room.Broadcast()
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-time.After(closeFor):
		return errors.New("files: the disk does not answer; some files are not written")
	}
	return errors.Join(s.lock.Close(), s.root.Close())
}

// write is the writer.
func (s *Store) write() {
	defer close(s.done)
	temps := map[*spool]bool{}
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.closed {
			s.work.Wait()
		}
		if len(s.queue) == 0 {
			s.mu.Unlock()
			break
		}
		j := s.queue[0]
		s.queue[0] = job{}
		if s.queue = s.queue[1:]; len(s.queue) == 0 {
			s.queue = nil
		}
		s.mu.Unlock()

		switch j.kind {
		case put:
			if !j.sp.bad {
				if err := s.append(j.sp, j.data, false); err != nil {
					s.fail(j.sp, err)
				}
				temps[j.sp] = true
			}
		case drop:
			s.remove(j.sp)
			delete(temps, j.sp)
		case keep:
			ok := s.keep(&j)
			delete(temps, j.sp)
			if j.ack != nil {
				j.ack <- ok
			}
		}

		s.mu.Lock()
		s.waiting -= uint64(len(j.data))
		s.room.Broadcast()
		s.mu.Unlock()
	}
	for sp := range temps { // in any order: none of them stays
		s.remove(sp)
	}
}

// fail gives up a copy that cannot be written. It is counted when somebody wants to keep it.
func (s *Store) fail(sp *spool, err error) {
	why := failed
	if disk.NoSpace(err) || errors.Is(err, errNoRoom) {
		why = full
	}
	sp.bad = true
	sp.lost.CompareAndSwap(0, why)
	s.remove(sp)
	if !s.ill && s.opt.Say != nil {
		s.opt.Say(fmt.Sprintf("files are not kept: %v", err))
	}
	s.ill = true
}

var errNoRoom = errors.New("no room")

// append writes the next bytes of a copy; last says that no more come.
func (s *Store) append(sp *spool, b []byte, last bool) error {
	if err := s.space(s.temp + uint64(len(b))); err != nil {
		return err
	}
	f, err := s.begun(sp)
	if err != nil {
		return err
	}
	n, err := f.Write(b)
	sp.size += uint64(n)
	s.temp += uint64(n)
	if err == nil && last && !s.opt.Wait { // a sensor's files outlive the machine
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// begun opens the file of a copy that is under way.
func (s *Store) begun(sp *spool) (*os.File, error) {
	if sp.name != "" {
		return s.root.OpenFile(sp.name, os.O_WRONLY|os.O_APPEND|disk.NoFollow, 0)
	}
	for {
		name := fmt.Sprintf("%s%016x", tempName, rand.Uint64())
		f, err := s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND|disk.NoFollow, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			sp.name = name
		}
		return f, err
	}
}

// space refuses to write more when n bytes are under way, which the folder or the disk has no room for.
func (s *Store) space(n uint64) error {
	if s.opt.Size > 0 && n > s.opt.Size {
		return fmt.Errorf("%w: the files being written exceed the limit for all files (%d bytes)", errNoRoom, s.opt.Size)
	}
	if s.opt.Free > 0 {
		if free, ok := disk.Free(s.lock); ok && free < s.opt.Free {
			return fmt.Errorf("%w: less than %d bytes of the disk are free", errNoRoom, s.opt.Free)
		}
	}
	return nil
}

// keep gives a copy its name, and reports whether there is a file of that name.
func (s *Store) keep(j *job) bool {
	sp := j.sp
	if sp == nil {
		sp = &spool{s: s}
	}
	if sp.bad {
		s.lost[sp.lost.Load()].Add(1)
		return false
	}
	n := sp.size + uint64(len(j.data))
	if s.there(j.name, n) {
		s.again.Add(1)
		s.remove(sp)
		return true
	}
	if err := s.place(sp, j, n); err != nil {
		s.fail(sp, err)
		s.lost[sp.lost.Load()].Add(1)
		return false
	}
	if s.ill && s.opt.Say != nil {
		s.opt.Say("files are kept again")
	}
	s.ill = false
	s.kept.Add(1)
	s.bytes.Add(n)
	if j.part {
		s.partial.Add(1)
	}
	return true
}

func (s *Store) place(sp *spool, j *job, n uint64) error {
	if err := s.append(sp, j.data, true); err != nil {
		return err
	}
	s.makeRoom(n)
	sub := j.name[:2]
	if err := s.root.Mkdir(sub, 0o700); err != nil {
		if info, e := s.root.Lstat(sub); e != nil || !info.IsDir() {
			return fmt.Errorf("%s is in the way of a folder: %w", sub, err)
		}
	}
	if err := s.root.Rename(sp.name, j.name); err != nil {
		return err
	}
	sp.name = ""
	s.temp -= sp.size
	s.have[j.name] = n
	s.order = append(s.order, j.name)
	s.size += n
	return nil
}

// there reports whether a file is kept already, and is still what it was.
func (s *Store) there(name string, n uint64) bool {
	if size, ok := s.have[name]; !ok || size != n {
		s.forget(name)
		return false
	}
	info, err := s.root.Lstat(name)
	if err == nil && info.Mode().IsRegular() && uint64(info.Size()) == n {
		return true
	}
	s.forget(name)
	return false
}

func (s *Store) forget(name string) {
	if n, ok := s.have[name]; ok {
		s.size -= n
		delete(s.have, name)
		if i := slices.Index(s.order, name); i >= 0 {
			s.order = slices.Delete(s.order, i, i+1)
		}
	}
}

// makeRoom removes the oldest files until n bytes more are within bounds.
func (s *Store) makeRoom(n uint64) {
	for len(s.order) > 0 && (s.opt.Size > 0 && s.size+n > s.opt.Size || len(s.order) >= maxFiles) {
		name := s.order[0]
		s.order = s.order[1:]
		s.size -= s.have[name]
		delete(s.have, name)
		if err := s.root.Remove(name); err == nil {
			s.removed.Add(1)
		} else if !errors.Is(err, fs.ErrNotExist) && !s.ill && s.opt.Say != nil {
			s.opt.Say(fmt.Sprintf("a file cannot be removed: %v", err))
		}
	}
}

// remove forgets a copy that is under way.
func (s *Store) remove(sp *spool) {
	if sp == nil || sp.name == "" {
		return
	}
	_ = s.root.Remove(sp.name) // the next run tries again
	s.temp -= sp.size
	sp.name, sp.size = "", 0
}
