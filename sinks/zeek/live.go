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
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// What LiveOptions.Compress and LiveOptions.Fsync take.
const (
	CompressNone = "none"
	CompressGzip = "gzip"
	CompressZstd = "zstd"

	FsyncNever  = "never"  // the system writes when it likes: a power cut costs what it had not written, half a minute on Linux
	FsyncRotate = "rotate" // a rotated file is on the disk before it is compressed
	FsyncFlush  = "flush"  // what Tick has written is on the disk when it returns; the caller waits for the disk
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

// LiveOptions say how to write logs that live. The zero value writes tab-separated text and never rotates.
type LiveOptions struct {
	Options
	Interval time.Duration // rotate at its multiples, counted from midnight UTC; 0: not by time
	Size     uint64        // rotate a log that has as many bytes; 0: not by size
	Compress string        // rotated files: CompressNone (also ""), CompressGzip, CompressZstd
	Keep     time.Duration // delete rotated files that are older; 0: never
	KeepSize uint64        // delete the oldest rotated files when all have more bytes; 0: never
	Fsync    string        // FsyncNever (also ""), FsyncRotate, FsyncFlush
	Reserve  uint64        // bytes of the disk kept for findings; 0: none
	// Say, if set, is told in a sentence what happened to the files: what the last run left, a full disk and its end, a
	// folder that was removed. It is called on the caller's goroutine and on the one that compresses.
	Say func(string)
}

// Live writes logs for as long as a sensor runs.
//
//	DIR/current/conn.log                                 being written
//	DIR/2026-11-23/conn.2026-11-23-17-00-00.log[.gz|.zst]  rotated, under the time at which it was begun (UTC)
//
// The names of rotated files are Zeek's; a second file of the same log and second gets "-2" behind the time. Zeek
// itself leaves them in one folder; here each day has its own, as with Zeek's zeekctl, or a year would make a folder
// of 100,000 files. Close rotates everything, so that what stands in current at a start is of a run that was killed:
// it is cut behind its last whole line, archived, and Say is told.
//
// Nothing here ends the run. A log that cannot be written holds what it has, counts what it loses and tries again
// with every Tick; no half line stays behind. Findings have space of their own: blocks behind the end of notice.log
// that only it can use (on Linux, where the file system can preallocate). A file or folder that was removed or moved
// is begun anew within a Tick.
//
// Live has no clock: Tick brings the time, once a second. A step of the clock rotates at most once too often, and
// holds up deletion by age for a day. All methods belong to one goroutine; compression and deletion have their own.
type Live struct {
	flows        flowTexts
	dir, current string
	opt          LiveOptions
	json         bool
	logs         map[string]*liveLog
	last         *liveLog // of the event before: most come in runs
	rules        map[string]*rule
	notice       notice
	now          time.Time
	began, until time.Time // the period that is being written
	trust        time.Time // when files' ages count again
	swept        time.Time
	lock         *os.File
	keeper       *keeper
	closed       bool
}

// liveLog is one log and its running file.
type liveLog struct {
	name    string
	path    string
	schema  schema
	row     row
	text    *text
	pending uint64 // rows in text
	rows    uint64 // written, of the log's whole life
	lost    uint64
	file    *os.File
	info    os.FileInfo // of file, to know it again
	size    uint64
	in      uint64    // rows in file
	fresh   uint64    // rows written since file was last seen in its place
	since   time.Time // for its name
	due     bool      // rotation was not possible yet
	keep    uint64    // bytes to have reserved behind the end
	kept    uint64    // where the reserve ends
	err     error     // why it cannot be written
	was     uint64    // lost, when err began
}

// NewLive makes a sink that writes below dir, which is created if need be, and clears up what a run that was killed
// left there. A second sink on the same folder is an error.
func NewLive(dir string, opt LiveOptions, now time.Time) (*Live, error) {
	s := &Live{dir: dir, current: filepath.Join(dir, currentDir), opt: opt, logs: map[string]*liveLog{}, rules: rules(opt.Rules), now: now, swept: now}
	var err error
	if s.json, err = opt.json(); err != nil {
		return nil, err
	}
	switch opt.Compress {
	case "", CompressNone, CompressGzip, CompressZstd:
	default:
		return nil, fmt.Errorf("zeek: unknown compression %q (none, gzip, zstd)", opt.Compress)
	}
	switch opt.Fsync {
	case "", FsyncNever, FsyncRotate, FsyncFlush:
	default:
		return nil, fmt.Errorf("zeek: unknown fsync policy %q (never, rotate, flush)", opt.Fsync)
	}
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
	if opt.Reserve > 0 {
		l := s.log("notice", &notice{f: &detectors.Finding{}, rule: &rule{}})
		l.keep = opt.Reserve
		s.open(l)
		if l.err != nil {
			s.shut()
			return nil, fmt.Errorf("zeek: cannot write to the log directory: %w", l.err)
		}
	}
	s.sweep()
	return s, nil
}

func (s *Live) say(format string, a ...any) {
	if s.opt.Say != nil {
		s.opt.Say(fmt.Sprintf(format, a...))
	}
}

// folders makes the folders and takes the lock.
func (s *Live) folders() error {
	if err := os.MkdirAll(s.current, 0o755); err != nil {
		return err
	}
	name := filepath.Join(s.dir, lockFile)
	if s.lock != nil {
		have, err := s.lock.Stat()
		if there, e := os.Stat(name); err == nil && e == nil && os.SameFile(have, there) {
			return nil
		}
		s.lock.Close()
		s.lock = nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if err := lock(f); err != nil {
		f.Close()
		return fmt.Errorf("%s is in use by another process: %w", s.dir, err)
	}
	s.lock = f
	return nil
}

// period takes down which stretch of time now belongs to.
func (s *Live) period(now time.Time) {
	s.began, s.until = now, time.Time{}
	if s.opt.Interval > 0 {
		s.began = now.UTC().Truncate(s.opt.Interval)
		s.until = s.began.Add(s.opt.Interval)
	}
}

// Event writes ev if it is a row or a finding. Findings are in their file when it returns, rows after the next Tick.
func (s *Live) Event(ev any) {
	switch ev := ev.(type) {
	case *detectors.Finding:
		if !s.opt.wants(s.notice.Log()) {
			return
		}
		s.notice.set(ev, s.rules[ev.Rule])
		if l := s.write(&s.notice); l.err == nil {
			s.place(l)
			s.flush(l)
		}
	case capture.Record:
		if len(s.opt.Logs) == 0 || s.opt.wants(ev.Log()) {
			s.write(ev)
		}
	}
}

func (s *Live) write(r capture.Record) *liveLog {
	l, name := s.last, r.Log()
	if l == nil || l.name != name {
		l = s.log(name, r)
		s.last = l
	}
	if s.closed || l.err != nil && len(l.text.b) >= heldAt {
		l.lost++
		return l
	}
	l.row.begin()
	r.Row(l.row)
	l.row.end()
	l.pending++
	if l.err == nil && len(l.text.b) >= flushAt {
		s.flush(l)
	}
	return l
}

// log gives the log of that name; r tells its schema if it is new.
func (s *Live) log(name string, r capture.Record) *liveLog {
	l := s.logs[name]
	if l != nil {
		return l
	}
	l = &liveLog{name: name, path: filepath.Join(s.current, name+".log"), since: s.began}
	if l.row, l.text = newRow(s.json, &s.flows); !s.json {
		r.Row(&l.schema)
	}
	s.logs[name] = l
	return l
}

// open makes the running file of a log, with its header, or goes on with one that is there.
func (s *Live) open(l *liveLog) {
	if err := s.folders(); err != nil {
		s.down(l, err)
		return
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
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
func (s *Live) reserve(l *liveLog) {
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
func (s *Live) flush(l *liveLog) {
	if len(l.text.b) == 0 {
		return
	}
	if l.file == nil {
		if s.open(l); l.file == nil {
			return
		}
	}
	b := l.text.b
	n, err := l.file.Write(b)
	whole := n
	if err != nil {
		whole = bytes.LastIndexByte(b[:n], '\n') + 1
	}
	rows := l.pending
	if err != nil {
		rows = uint64(bytes.Count(b[:whole], []byte{'\n'}))
	}
	l.rows += rows
	l.in += rows
	l.fresh += rows
	l.pending -= rows
	l.size += uint64(whole)
	if err != nil {
		s.cut(l, int64(n-whole))
		l.text.b = append(b[:0], b[whole:]...)
		s.down(l, err)
		return
	}
	if l.text.b = b[:0]; cap(b) > keepBuffer {
		l.text.b = nil
	}
	s.up(l)
}

// cut takes the last n bytes off a file.
func (s *Live) cut(l *liveLog, n int64) {
	if n == 0 {
		return
	}
	info, err := l.file.Stat()
	if err == nil {
		err = l.file.Truncate(info.Size() - n)
	}
	if l.kept = 0; err != nil { // begin another rather than go on behind half a line
		s.retire(l, false)
	}
}

func (s *Live) down(l *liveLog, err error) {
	if l.err == nil {
		l.was = l.lost
		s.say("%s.log cannot be written: %v", l.name, err)
	}
	l.err = err
	if l.file != nil && !noSpace(err) { // a file that does not come back by itself
		l.file.Close()
		l.file = nil
	}
}

func (s *Live) up(l *liveLog) {
	if l.err != nil {
		l.err = nil
		s.say("%s.log is written again; %d rows were lost", l.name, l.lost-l.was)
	}
}

// Flush writes what is held, for a caller that wants rows to be read before the next Tick.
func (s *Live) Flush() {
	if s.closed {
		return
	}
	for _, l := range s.sorted() {
		if l.err == nil {
			s.flush(l)
		}
	}
}

// Tick brings the time: it writes what is held, rotates what is due, and looks after files that cannot be written or
// are not in their place. It is to be called once a second.
func (s *Live) Tick(now time.Time) {
	if s.closed {
		return
	}
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
	for _, l := range s.sorted() {
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
		if l.file != nil && len(l.text.b) == 0 {
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

func (s *Live) sweep() {
	s.swept = s.now
	s.keeper.wake(job{now: s.now, ages: !s.now.Before(s.trust)})
}

// place looks whether the running file of a log is where it should be. A file that was moved away, as logrotate
// does, gets its end; of one that was removed nobody can read what was written since it was last seen.
func (s *Live) place(l *liveLog) {
	if l.file == nil {
		return
	}
	there, err := os.Stat(l.path)
	if err == nil && os.SameFile(there, l.info) {
		l.size = uint64(there.Size()) // less if somebody emptied it
		return
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if removed(l.file) {
		l.rows -= l.fresh
		l.lost += l.fresh
		s.say("%s was removed: a new one is begun, %d rows were lost", l.path, l.fresh)
	} else {
		s.end(l)
	}
	l.file.Close()
	l.file, l.since = nil, s.now
}

// Reopen closes the running files and opens them by their names again, for whoever has moved them away; Tick would
// have seen it within a second. Files that are in their place go on.
func (s *Live) Reopen() {
	if s.closed {
		return
	}
	for _, l := range s.sorted() {
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
func (s *Live) end(l *liveLog) {
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
func (s *Live) rotate(l *liveLog, at time.Time) bool {
	switch {
	case l.file == nil:
		l.due, l.since = false, at
		return false
	case l.in == 0 && l.keep > 0: // nothing but a header
		l.due = false
		return false
	case l.keep > 0 && s.Failing() != nil:
		return false // it would give its reserve away, and not get another
	}
	if !s.retire(l, true) {
		return false
	}
	l.due, l.since = false, at
	if l.keep > 0 {
		s.open(l)
	}
	return true
}

// retire moves the running file of a log into the archive. Where that is not possible it stays, and due.
func (s *Live) retire(l *liveLog, whole bool) bool {
	to, err := s.free(l.name, l.since)
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

// free gives the path for a rotated file that was begun at that time, and makes its folder.
func (s *Live) free(name string, since time.Time) (string, error) {
	since = since.UTC()
	dir := filepath.Join(s.dir, since.Format(dayForm))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	base := filepath.Join(dir, name+"."+since.Format(stampForm))
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
func (s *Live) salvage() (found []string, err error) {
	files, err := filepath.Glob(filepath.Join(s.current, "*.log"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".log")
		rows, cut, since, err := mend(path)
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
			to, err := s.free(name, since)
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

// Close writes what is held, rotates everything and stops; what is not compressed yet is at the next start. Its
// error has a line for each log that lost rows in the end.
func (s *Live) Close(now time.Time) error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.now = now
	var errs []error
	for _, l := range s.sorted() {
		s.place(l)
		s.flush(l)
		if l.pending > 0 {
			l.lost += l.pending
			errs = append(errs, fmt.Errorf("zeek: the last %d rows of %s.log are lost: %w", l.pending, l.name, l.err))
			l.pending = 0
		}
		switch {
		case l.file == nil:
		case l.in == 0 && l.keep > 0:
			l.file.Close()
			os.Remove(l.path)
		case !s.retire(l, true):
			errs = append(errs, fmt.Errorf("zeek: %s could not be archived; the next start does it", l.path))
			l.file.Close()
		}
	}
	s.shut()
	return errors.Join(errs...)
}

func (s *Live) shut() {
	s.keeper.stop()
	s.lock.Close()
}

// Counts says for each log, by name, how many rows it got so far and how many could not be written.
func (s *Live) Counts() []Count {
	var c []Count
	for _, l := range s.sorted() {
		c = append(c, Count{l.name, l.rows + l.pending, l.lost})
	}
	return c
}

// Lost says how many rows of all logs could not be written.
func (s *Live) Lost() (n uint64) {
	for _, l := range s.logs {
		n += l.lost
	}
	return n
}

// Failing gives the first log, by name, that cannot be written at present, and why; nil if all can.
func (s *Live) Failing() error {
	for _, l := range s.sorted() {
		if l.err != nil {
			return fmt.Errorf("zeek: %s.log: %w", l.name, l.err)
		}
	}
	return nil
}

func (s *Live) sorted() []*liveLog {
	all := make([]*liveLog, 0, len(s.logs))
	for _, l := range s.logs {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *liveLog) int { return strings.Compare(a.name, b.name) })
	return all
}
