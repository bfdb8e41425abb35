package zeek

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// What LiveOptions.Compress, LiveOptions.Names and LiveOptions.Fsync take.
const (
	CompressNone = "none"
	CompressGzip = "gzip"
	CompressZstd = "zstd"

	NamesInterval = "interval" // conn.17:00:00-18:00:00.log, as Zeek's zeekctl and zeek-archiver name them, and RITA takes
	NamesBegin    = "begin"    // conn.2026-11-23-17-00-00.log, as Zeek itself does: for file systems without colons in names

	FsyncNever  = "never"  // the system writes when it likes: a power cut costs what it had not written, half a minute on Linux
	FsyncRotate = "rotate" // a rotated file is on the disk before it is compressed
	FsyncFlush  = "flush"  // what a Tick had written is put on the disk with it
)

const (
	// Bytes of formatted rows that wait for the disk: of 20,000 packets of HTTP in a second half a minute.
	maxWaiting = 64 << 20
	// Bytes of findings on top of that.
	maxFindings = 8 << 20
	// Orders that wait. While the disk is away rows come in pieces of flushAt, so that maxWaiting leaves half for findings.
	maxOrders = 1024
	// A piece of text that is smaller is copied, and not handed over with its buffer.
	smallText = 4 << 10
	// A disk that has not answered for so long is said to be away. A spinning one that is written to the full takes a
	// second.
	slowDisk = 5 * time.Second
)

// LiveOptions say how to write logs that live. The zero value writes tab-separated text and never rotates.
type LiveOptions struct {
	Options
	Interval time.Duration // rotate at its multiples, counted from midnight UTC; 0: not by time
	Size     uint64        // rotate a log that has as many bytes; 0: not by size
	Compress string        // rotated files: CompressNone (also ""), CompressGzip, CompressZstd
	Names    string        // of rotated files: NamesInterval (also ""), NamesBegin
	Keep     time.Duration // delete rotated files that are older; 0: never
	// KeepFindings is Keep for notice.log and incidents.log. Findings are few, and asked for a year later.
	KeepFindings time.Duration
	KeepSize     uint64 // delete the oldest rotated files when all have more bytes, findings last; 0: never
	Fsync        string // FsyncNever (also ""), FsyncRotate, FsyncFlush
	Index        bool   // put an index alongside rotated files, which are compressed in blocks then: see package logindex
	Reserve      uint64 // bytes of the disk kept for findings; 0: none
	// Say, if set, is told in a sentence what happened to the files: what the last run left, a full disk and its end, a
	// folder that was removed. It is called on any goroutine.
	Say func(string)
}

// Live writes logs for as long as a sensor runs.
//
//	DIR/current/conn.log                                 being written
//	DIR/2026-11-23/conn.17:00:00-18:00:00.log[.gz|.zst]  rotated, under the interval that it is of (UTC)
//
// The names of rotated files are those of Zeek's zeekctl, in a folder for the day on which they begin: all logs of an
// interval have the same times, those at which it began and ended, whenever their first row came. An interval that is cut
// short by the sensor's start or end, or by a file's size, has the times of that instead. A second file of the same log and
// times gets "-2" behind them. With NamesBegin they are Zeek's own, with the time of the beginning alone. Close rotates everything, so that what stands in current at a start is of a run that was killed:
// it is cut behind its last whole line, archived, and Say is told.
//
// Nothing here ends the run. A log that cannot be written holds what it has, counts what it loses and tries again
// with every Tick; no half line stays behind. Findings have space of their own: blocks behind the end of notice.log
// that only it can use (on Linux, where the file system can preallocate). A file or folder that was removed or moved
// is begun anew within a Tick.
//
// Nothing here waits for the disk but Close: rows are formatted by the caller and written by a goroutine of its own. A
// disk that does not answer, as when a snapshot is taken of it, costs memory for the rows that wait, and beyond a bound
// rows, which are counted; findings have a bound of their own.
//
// Live has no clock: Tick brings the time, once a second. A step of the clock rotates at most once too often, and
// holds up deletion by age for a day. All methods belong to one goroutine.
type Live struct {
	flows   flowTexts
	opt     LiveOptions
	json    bool
	logs    map[string]*liveLog
	byNum   [len(ours)]*liveLog // of logs that rows came for by Formatted
	last    *liveLog            // of the event before: most come in runs
	rules   map[string]*rule
	notice  notice
	closed  bool
	away    bool   // the disk is, and that was said
	wasLost uint64 // when it was

	files   *files // of the goroutine behind orders, but for dir and say
	orders  chan order
	done    chan struct{}
	spare   chan []byte // buffers of text that was written
	waiting atomic.Int64
	ticking atomic.Bool           // a tick waits
	since   atomic.Int64          // when the order at hand was taken, in nanoseconds since begun; 0: there is none
	failing atomic.Pointer[error] // as of the last order
	begun   time.Time
}

// liveLog is what formats the rows of a log.
type liveLog struct {
	name string
	row  row
	text *text
	rows uint64 // in text
	told uint64 // of the log's whole life
	to   *liveFile
}

// order is something to do with files: rows to write, or else do.
type order struct {
	to   *liveFile
	text []byte
	rows uint64
	seen bool
	do   func()
}

// NewLive makes a sink that writes below dir, which is created if need be, and clears up what a run that was killed
// left there. A second sink on the same folder is an error.
func NewLive(dir string, opt LiveOptions, now time.Time) (*Live, error) {
	s := &Live{
		opt: opt, logs: map[string]*liveLog{}, rules: rules(opt.Rules), begun: time.Now(),
		orders: make(chan order, maxOrders), done: make(chan struct{}), spare: make(chan []byte, 8),
	}
	var err error
	if s.json, err = opt.json(); err != nil {
		return nil, err
	}
	switch opt.Compress {
	case "", CompressNone, CompressGzip, CompressZstd:
	default:
		return nil, fmt.Errorf("zeek: unknown compression %q (none, gzip, zstd)", opt.Compress)
	}
	switch opt.Names {
	case "", NamesInterval, NamesBegin:
	default:
		return nil, fmt.Errorf("zeek: unknown names %q (interval, begin)", opt.Names)
	}
	switch opt.Fsync {
	case "", FsyncNever, FsyncRotate, FsyncFlush:
	default:
		return nil, fmt.Errorf("zeek: unknown fsync policy %q (never, rotate, flush)", opt.Fsync)
	}
	if s.files, err = openFiles(dir, opt, s.json, now); err != nil {
		return nil, err
	}
	if opt.Reserve > 0 {
		l := s.log("notice", &notice{f: &detectors.Finding{}, rule: &rule{}}).to
		l.keep = opt.Reserve
		s.files.know(l)
		s.files.open(l)
		if l.err != nil {
			s.files.shut()
			return nil, fmt.Errorf("zeek: cannot write to the log directory: %w", l.err)
		}
	}
	s.files.sweep()
	go s.work()
	return s, nil
}

// work does what is ordered.
func (s *Live) work() {
	defer close(s.done)
	for o := range s.orders {
		s.since.Store(int64(time.Since(s.begun)))
		if o.do != nil {
			o.do()
		} else {
			s.files.take(o.to, o.text, o.rows, o.seen)
			s.waiting.Add(-int64(len(o.text)))
			if cap(o.text) > smallText && cap(o.text) <= keepBuffer {
				select {
				case s.spare <- o.text[:0]:
				default:
				}
			}
		}
		if err := s.files.failing(); err != nil {
			s.failing.Store(&err)
		} else {
			s.failing.Store(nil)
		}
		s.since.Store(0)
	}
}

// Event takes ev if it is a row or a finding. Findings are on their way to the disk when it returns, rows with the
// next Flush or Tick.
func (s *Live) Event(ev any) {
	switch ev := ev.(type) {
	case *detectors.Update:
		s.Event(ev.Finding)
	case *detectors.Finding:
		if !s.opt.wants(s.notice.Log()) {
			return
		}
		s.notice.set(ev, s.rules[ev.Rule])
		s.notice.peer = s.opt.Peer
		s.hand(s.write(&s.notice), true)
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
	if s.room(l) {
		l.row.begin()
		r.Row(l.row)
		l.row.end()
		s.written(l)
	}
	return l
}

// Rows makes a formatter of rows for Formatted.
func (s *Live) Rows() capture.RowFormatter { return &rows{opt: &s.opt.Options, json: s.json} }

// Formatted takes a row that a formatter of Rows has made the text of, as Event does.
func (s *Live) Formatted(r capture.Record, num int, text []byte) {
	l := s.byNum[num]
	if l == nil {
		l = s.log(ours[num], r)
		s.byNum[num] = l
	}
	if s.room(l) {
		l.text.b = append(l.text.b, text...)
		s.written(l)
	}
}

// room counts a row of a log, and reports whether there is room for it.
func (s *Live) room(l *liveLog) bool {
	l.told++
	if s.closed || len(l.text.b) >= heldAt && !s.hand(l, false) {
		l.to.lost.Add(1)
		return false
	}
	return true
}

// written counts the row that was put into the text of a log, and has it written with others once they are many.
func (s *Live) written(l *liveLog) {
	l.rows++
	if len(l.text.b) >= flushAt {
		s.hand(l, false)
	}
}

// log gives the log of that name; r tells its schema if it is new.
func (s *Live) log(name string, r capture.Record) *liveLog {
	l := s.logs[name]
	if l != nil {
		return l
	}
	l = &liveLog{name: name, to: &liveFile{name: name}}
	if l.row, l.text = newRow(name, s.json, &s.flows, s.opt.masks(name)); !s.json {
		r.Row(&l.to.schema)
	}
	s.logs[name] = l
	return l
}

// hand orders the rows of a log to be written, and says whether there was room for them.
func (s *Live) hand(l *liveLog, seen bool) bool {
	n := int64(len(l.text.b))
	if n == 0 {
		return true
	}
	room := int64(maxWaiting)
	if l.name == s.notice.Log() {
		room += maxFindings
	}
	if s.waiting.Load()+n > room || s.full() {
		return false
	}
	s.orders <- s.taken(l, seen)
	return true
}

// full says that an order would have to wait for its place. Nobody else puts orders.
func (s *Live) full() bool { return len(s.orders) == cap(s.orders) }

// taken makes an order of the rows of a log.
func (s *Live) taken(l *liveLog, seen bool) order {
	b, n := l.text.b, len(l.text.b)
	s.waiting.Add(int64(n))
	o := order{to: l.to, rows: l.rows, seen: seen}
	if l.rows = 0; n < smallText {
		o.text, l.text.b = slices.Clone(b), b[:0]
		return o
	}
	o.text = b
	select {
	case l.text.b = <-s.spare:
	default:
		l.text.b = nil
	}
	return o
}

// Flush has rows written that wait for the next Tick.
func (s *Live) Flush() {
	if s.closed || s.waiting.Load() > 0 {
		return // those that wait longer come first
	}
	for _, l := range s.logs {
		s.hand(l, false)
	}
}

// Tick brings the time: what is held is written, what is due is rotated, and files that cannot be written or are not in
// their place are looked after. It is to be called once a second.
func (s *Live) Tick(now time.Time) {
	if s.closed {
		return
	}
	s.look()
	if s.ticking.Load() {
		return // the disk has not come to the last one, and would be given many small pieces
	}
	for _, l := range s.logs {
		s.hand(l, true)
	}
	if !s.full() {
		s.ticking.Store(true)
		s.orders <- order{do: func() {
			s.ticking.Store(false)
			s.files.tick(now)
		}}
	}
}

// look says when the disk goes away and when it is back.
func (s *Live) look() {
	switch slow := s.slow(); {
	case slow > 0 && !s.away:
		s.away, s.wasLost = true, s.Lost()
		s.files.say("the disk of %s has not answered for %v: rows wait in memory", s.files.dir, slow.Round(time.Second))
	case slow == 0 && s.away:
		s.away = false
		s.files.say("the disk of %s answers again; %d rows were lost", s.files.dir, s.Lost()-s.wasLost)
	}
}

// slow is for how long the disk has not answered; 0: no longer than disks do.
func (s *Live) slow() time.Duration {
	since := time.Duration(s.since.Load())
	if since == 0 {
		return 0
	}
	if d := time.Since(s.begun) - since; d >= slowDisk {
		return d
	}
	return 0
}

// Reopen closes the running files and opens them by their names again, for whoever has moved them away; Tick would
// have seen it within a second. Files that are in their place go on.
func (s *Live) Reopen() {
	if !s.closed && !s.full() {
		s.orders <- order{do: s.files.reopen}
	}
}

// Close writes what is held, rotates everything and stops; what is not compressed yet is at the next start. Its
// error has a line for each log that lost rows in the end.
func (s *Live) Close(now time.Time) (err error) {
	if s.closed {
		return nil
	}
	s.closed = true
	for _, l := range s.logs {
		if l.rows > 0 {
			s.orders <- s.taken(l, true)
		}
	}
	s.orders <- order{do: func() { err = s.files.close(now) }}
	close(s.orders)
	<-s.done
	return err
}

// Counts says for each log, by name, how many rows it got so far and how many could not be written.
func (s *Live) Counts() []Count {
	var c []Count
	for _, name := range slices.Sorted(maps.Keys(s.logs)) {
		l := s.logs[name]
		lost := l.to.lost.Load()
		c = append(c, Count{l.name, l.told - lost, lost})
	}
	return c
}

// Lost says how many rows of all logs could not be written.
func (s *Live) Lost() (n uint64) {
	for _, l := range s.logs {
		n += l.to.lost.Load()
	}
	return n
}

// Failing says why logs cannot be written at present: the disk does not answer, or the first log, by name, that has
// an error; nil if all is well.
func (s *Live) Failing() error {
	if slow := s.slow(); slow > 0 {
		return fmt.Errorf("zeek: the disk of %s has not answered for %v", s.files.dir, slow.Round(time.Second))
	}
	if err := s.failing.Load(); err != nil {
		return *err
	}
	return nil
}
