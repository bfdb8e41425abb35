package zeek

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/disk"
)

const (
	// Where the running files stand, below the log directory.
	currentDir = "current"
	// Taken by the process that writes here: a second one would archive the first one's files under its hands.
	lockFile = ".raytap.lock"
	// Formatted rows of a log that wait while it cannot be written: a short fault costs nothing, a long one a megabyte
	// of memory a log. What is beyond is counted as lost.
	heldAt = 1 << 20
	// The clock of the machine moved if two ticks, which come every second, are further apart than this, or if it
	// went back by more than a slew does.
	stepAhead = 10 * time.Minute
	stepBack  = time.Second
	// After such a step the age of files is not trusted for this long: a clock that somebody set to next year would
	// otherwise delete every log. Whoever keeps clocks right has put it back by then.
	distrust = 24 * time.Hour
	// Retention also runs without rotation, or a quiet sensor would keep its files for ever.
	sweepEvery = time.Hour
)

// files is the side of a Live that waits for the disk. All of it belongs to one goroutine.
type files struct {
	dir, current string
	opt          LiveOptions
	json         bool
	all          []*liveFile // by name
	now          time.Time
	began, until time.Time // the period that is being written
	trust        time.Time // when files' ages count again
	swept        time.Time
	lock         *os.File
	keeper       *keeper
}

// liveFile is the running file of a log.
type liveFile struct {
	name    string
	path    string
	schema  schema
	text    []byte        // rows that could not be written yet
	pending uint64        // how many
	lost    atomic.Uint64 // also those that did not come so far
	file    *os.File
	info    os.FileInfo // of file, to know it again
	size    uint64
	in      uint64    // rows in file
	fresh   uint64    // rows written since file was last seen in its place
	since   time.Time // for its name; zero: nothing came yet
	due     bool      // rotation was not possible yet
	keep    uint64    // bytes to have reserved behind the end
	kept    uint64    // where the reserve ends
	err     error     // why it cannot be written
	was     uint64    // lost, when err began
}

// openFiles takes dir, which is made if need be, and clears up what a run that was killed left there.
func openFiles(dir string, opt LiveOptions, json bool, now time.Time) (*files, error) {
	s := &files{dir: dir, current: filepath.Join(dir, currentDir), opt: opt, json: json, now: now, swept: now}
	if err := s.folders(); err != nil {
		return nil, fmt.Errorf("zeek: cannot use the log directory: %w", err)
	}
	s.period(now)
	s.began = now // of the first files, which do not begin with the hour
	left, err := s.salvage()
	if err != nil {
		s.lock.Close()
		return nil, fmt.Errorf("zeek: cannot archive what the last run left: %w", err)
	}
	for _, l := range left {
		s.say("%s", l)
	}
	s.keeper = newKeeper(dir, opt)
	return s, nil
}

func (s *files) say(format string, a ...any) {
	if s.opt.Say != nil {
		s.opt.Say(fmt.Sprintf(format, a...))
	}
}

// folders makes the folders and takes the lock.
func (s *files) folders() error {
	if err := s.opt.Modes.Within(s.dir, currentDir); err != nil {
		return err
	}
	name := filepath.Join(s.dir, lockFile)
	if s.lock != nil {
		have, err := s.lock.Stat()
		if there, e := os.Lstat(name); err == nil && e == nil && os.SameFile(have, there) {
			return nil
		}
		s.lock.Close()
		s.lock = nil
	}
	f, err := takeFolder(s.dir, s.opt.Modes)
	if err != nil {
		return err
	}
	s.lock = f
	return nil
}

// period takes down which stretch of time now belongs to.
func (s *files) period(now time.Time) {
	s.began, s.until = now, time.Time{}
	if s.opt.Interval > 0 {
		s.began = now.UTC().Truncate(s.opt.Interval)
		s.until = s.began.Add(s.opt.Interval)
	}
}

// take writes rows; seen says that the file is to be where it should be, and not removed a moment ago.
func (s *files) take(l *liveFile, text []byte, rows uint64, seen bool) {
	s.know(l)
	if l.err != nil && len(l.text) >= heldAt {
		l.lost.Add(rows)
		return
	}
	l.text = append(l.text, text...)
	if l.pending += rows; l.err != nil {
		return // with the next tick
	}
	if seen {
		s.place(l)
	}
	s.flush(l)
}

// know puts a log into its place among the others.
func (s *files) know(l *liveFile) {
	if !l.since.IsZero() {
		return
	}
	l.path, l.since = filepath.Join(s.current, l.name+".log"), s.began
	i, _ := slices.BinarySearchFunc(s.all, l.name, func(l *liveFile, name string) int { return strings.Compare(l.name, name) })
	s.all = slices.Insert(s.all, i, l)
}

// open makes the running file of a log, with its header, or goes on with one that is there.
func (s *files) open(l *liveFile) {
	if err := s.folders(); err != nil {
		s.down(l, err)
		return
	}
	f, err := s.opt.Modes.Open(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND)
	var foreign *disk.Foreign
	if errors.As(err, &foreign) { // the name goes, and what it named stays
		s.say("%v, and is taken away", err)
		if err = os.Remove(l.path); err == nil {
			f, err = s.opt.Modes.Create(l.path)
		}
	}
	if err != nil {
		s.down(l, err)
		return
	}
	info, err := f.Stat()
	old := err == nil && info.Size() > 0
	if err == nil && !old && !s.json {
		_, err = f.Write(l.schema.header(nil, l.name, capture.Time(l.since.UnixNano())))
		if err != nil {
			f.Truncate(0)
		} else {
			info, err = f.Stat()
		}
	}
	if err != nil {
		f.Close()
		s.down(l, err)
		return
	}
	l.file, l.info, l.size, l.fresh, l.kept = f, info, uint64(info.Size()), 0, 0
	if l.in = 0; old {
		l.in = 1 // at least
	}
	s.reserve(l)
}

// reserve takes space for what is to come behind the end of a file, again when half of it is used.
func (s *files) reserve(l *liveFile) {
	if l.keep == 0 || l.file == nil || l.kept > l.size+l.keep/2 {
		return
	}
	switch err := preallocate(l.file, int64(l.size), int64(l.keep)); {
	case err == nil:
		l.kept = l.size + l.keep
	case errors.Is(err, errors.ErrUnsupported):
		s.say("the file system of %s cannot reserve space for findings", s.dir)
		l.keep = 0
	}
}

// flush writes what is held. What was written of a row that did not fit is taken back.
func (s *files) flush(l *liveFile) {
	if len(l.text) == 0 {
		return
	}
	if l.file == nil {
		if s.open(l); l.file == nil {
			return
		}
	}
	b := l.text
	n, err := l.file.Write(b)
	whole := n
	if err != nil {
		whole = bytes.LastIndexByte(b[:n], '\n') + 1
	}
	rows := l.pending
	if err != nil {
		rows = uint64(bytes.Count(b[:whole], []byte{'\n'}))
	}
	l.in += rows
	l.fresh += rows
	l.pending -= rows
	l.size += uint64(whole)
	if err != nil {
		s.cut(l, int64(n-whole))
		l.text = append(b[:0], b[whole:]...)
		s.down(l, err)
		return
	}
	if l.text = b[:0]; cap(b) > keepBuffer {
		l.text = nil
	}
	s.up(l)
}

// cut takes the last n bytes off a file.
func (s *files) cut(l *liveFile, n int64) {
	if n == 0 {
		return
	}
	info, err := l.file.Stat()
	if err == nil {
		err = l.file.Truncate(info.Size() - n)
	}
	if l.kept = 0; err != nil { // begin another rather than go on behind half a line
		s.retire(l, s.now, false)
	}
}

func (s *files) down(l *liveFile, err error) {
	if l.err == nil {
		l.was = l.lost.Load()
		s.say("%s.log cannot be written: %v", l.name, err)
	}
	l.err = err
	if l.file != nil && !disk.NoSpace(err) { // a file that does not come back by itself
		l.file.Close()
		l.file = nil
	}
}

func (s *files) up(l *liveFile) {
	if l.err != nil {
		l.err = nil
		s.say("%s.log is written again; %d rows were lost", l.name, l.lost.Load()-l.was)
	}
}

// tick is Live.Tick.
func (s *files) tick(now time.Time) {
	if d := now.Round(0).Sub(s.now.Round(0)); d > stepAhead || d < -stepBack {
		s.trust = now.Add(distrust)
		s.say("the clock was set from %s to %s; no log is deleted for its age until %s",
			s.now.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), s.trust.UTC().Format(time.RFC3339))
	}
	s.now = now
	rotate := s.opt.Interval > 0 && (!now.Before(s.until) || now.Before(s.until.Add(-s.opt.Interval)))
	if rotate {
		s.period(now)
	}
	rotated := false
	for _, l := range s.all {
		s.place(l)
		s.flush(l)
		if rotate || s.opt.Size > 0 && l.size >= s.opt.Size {
			l.due = true
		}
		if l.due {
			at := now
			if rotate {
				at = s.began
			}
			rotated = s.rotate(l, at) || rotated
		}
		if l.file == nil && l.keep > 0 {
			s.open(l)
		}
		if l.file != nil && len(l.text) == 0 {
			s.up(l)
		}
		s.reserve(l)
		if s.opt.Fsync == FsyncFlush && l.file != nil && l.fresh > 0 {
			if err := l.file.Sync(); err != nil {
				s.down(l, err)
			}
		}
		l.fresh = 0
	}
	if rotated || now.Sub(s.swept) >= sweepEvery || now.Before(s.swept) {
		s.sweep()
	}
}

func (s *files) sweep() {
	s.swept = s.now
	s.keeper.wake(job{now: s.now, ages: !s.now.Before(s.trust)})
}

// place looks whether the running file of a log is where it should be. A file that was moved away, as logrotate
// does, gets its end; of one that was removed nobody can read what was written since it was last seen.
func (s *files) place(l *liveFile) {
	if l.file == nil {
		return
	}
	there, err := os.Lstat(l.path)
	if err == nil && os.SameFile(there, l.info) {
		l.size = uint64(there.Size()) // less if somebody emptied it
		return
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if removed(l.file) {
		l.lost.Add(l.fresh)
		s.say("%s was removed: a new one is begun, %d rows were lost", l.path, l.fresh)
	} else {
		s.end(l)
	}
	l.file.Close()
	l.file, l.since = nil, s.now
}

// reopen is Live.Reopen.
func (s *files) reopen() {
	for _, l := range s.all {
		if l.file == nil {
			continue
		}
		s.place(l)
		if l.file != nil {
			s.flush(l)
		}
		in := l.in
		if l.file != nil {
			l.file.Close()
			l.file = nil
			s.open(l)
			l.in = in
		} else if l.keep > 0 {
			s.open(l)
		}
	}
}

// end writes the last line of a file. That it does not fit is no loss.
func (s *files) end(l *liveFile) {
	if s.json {
		return
	}
	b := append(stamp([]byte("#close\t"), capture.Time(s.now.UnixNano())), '\n')
	if n, err := l.file.Write(b); err != nil && n > 0 {
		if info, err := l.file.Stat(); err == nil {
			l.file.Truncate(info.Size() - int64(n))
		}
	}
}

// rotate puts the running file of a log into the archive and says whether it did; at is when the next one begins.
func (s *files) rotate(l *liveFile, at time.Time) bool {
	switch {
	case l.file == nil:
		l.due, l.since = false, at
		return false
	case l.in == 0 && l.keep > 0: // nothing but a header
		l.due, l.since = false, at
		s.begin(l)
		return false
	case l.keep > 0 && s.failing() != nil:
		return false // it would give its reserve away, and not get another
	}
	if !s.retire(l, at, true) {
		return false
	}
	l.due, l.since = false, at
	if l.keep > 0 {
		s.open(l)
	}
	return true
}

// begin gives a file that has no row yet the header of the interval that begins now.
func (s *files) begin(l *liveFile) {
	if s.json {
		return
	}
	b := l.schema.header(nil, l.name, capture.Time(l.since.UnixNano()))
	err := l.file.Truncate(0)
	if err == nil {
		_, err = l.file.Write(b)
	}
	if l.kept = 0; err != nil {
		l.file.Truncate(0)
		s.down(l, err)
		return
	}
	l.size = uint64(len(b))
}

// retire moves the running file of a log, which ends at until, into the archive. Where that is not possible it stays, and due.
func (s *files) retire(l *liveFile, until time.Time, whole bool) bool {
	to, err := s.free(l.name, l.since, until)
	if err == nil {
		if whole {
			s.end(l)
		}
		if l.keep > 0 { // gives back what was reserved
			if info, err := l.file.Stat(); err == nil {
				l.file.Truncate(info.Size())
			}
		}
		err = os.Rename(l.path, to)
	}
	if err != nil {
		if !l.due {
			s.say("%s cannot be rotated: %v", l.path, err)
		}
		l.due = true
		return false
	}
	s.keeper.close(l.file, filepath.Dir(to))
	l.file, l.size, l.in, l.fresh = nil, 0, 0, 0
	return true
}

// free gives the path for a rotated file of that time, and makes its folder.
func (s *files) free(name string, since, until time.Time) (string, error) {
	since, until = since.UTC(), until.UTC()
	dir := filepath.Join(s.dir, since.Format(dayForm))
	if err := s.opt.Modes.Within(s.dir, since.Format(dayForm)); err != nil {
		return "", err
	}
	span := since.Format(clockForm) + "-" + until.Format(clockForm)
	if s.opt.Names == NamesBegin {
		span = since.Format(stampForm)
	}
	base := filepath.Join(dir, name+"."+span)
	for n := 1; ; n++ {
		path := base
		if n > 1 {
			path += "-" + strconv.Itoa(n)
		}
		path += ".log"
		taken := false
		for _, ext := range [...]string{"", ".gz", ".zst"} {
			_, err := os.Lstat(path + ext)
			taken = taken || err == nil
		}
		if !taken {
			return path, nil
		}
	}
}

// salvage archives what a run that was killed left in current, and says what it found.
func (s *files) salvage() (found []string, err error) {
	files, err := filepath.Glob(filepath.Join(s.current, "*.log"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".log")
		rows, cut, since, until, err := mend(path)
		var foreign *disk.Foreign
		if errors.As(err, &foreign) {
			if err := os.Remove(path); err != nil {
				return nil, err
			}
			found = append(found, foreign.Error()+", and was taken away")
			continue
		}
		if err != nil {
			return nil, err
		}
		if !rows {
			if err := os.Remove(path); err != nil {
				return nil, err
			}
			if cut == 0 {
				continue // nothing was in it
			}
		} else {
			// All logs of the interval have its times, if they are its.
			if end := since.Truncate(s.opt.Interval).Add(s.opt.Interval); end.After(until) {
				until = end
			}
			to, err := s.free(name, since, until)
			if err != nil {
				return nil, err
			}
			if err := os.Rename(path, to); err != nil {
				return nil, err
			}
		}
		m := "the last run did not end properly: " + name + ".log was left open"
		if cut > 0 {
			m += fmt.Sprintf(", and cut short in its last line, of which %d bytes were removed", cut)
		}
		found = append(found, m)
	}
	return found, nil
}

// close is Live.Close.
func (s *files) close(now time.Time) error {
	s.now = now
	var errs []error
	for _, l := range s.all {
		s.place(l)
		s.flush(l)
		if l.pending > 0 {
			l.lost.Add(l.pending)
			errs = append(errs, fmt.Errorf("zeek: the last %d rows of %s.log are lost: %w", l.pending, l.name, l.err))
			l.pending = 0
		}
		switch {
		case l.file == nil:
		case l.in == 0 && l.keep > 0:
			l.file.Close()
			os.Remove(l.path)
		case !s.retire(l, now, true):
			errs = append(errs, fmt.Errorf("zeek: %s could not be archived; the next start does it", l.path))
			l.file.Close()
		}
	}
	s.shut()
	return errors.Join(errs...)
}

func (s *files) shut() {
	s.keeper.stop()
	s.lock.Close()
}

// failing gives the first log, by name, that cannot be written at present, and why; nil if all can.
func (s *files) failing() error {
	for _, l := range s.all {
		if l.err != nil {
			return fmt.Errorf("zeek: %s.log: %w", l.name, l.err)
		}
	}
	return nil
}
