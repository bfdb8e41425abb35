// Package ship sends the rows of a folder of logs to others: to a hub over NATS JetStream, or to Kafka.
//
// In: the folder of a sensor, whose running files, days and rotated files are one, or of a replay; in either form,
// compressed or not. Out: each row as its JSON log has it, with _path, _system_name and _write_ts in front, to a Transport.
//
// The files are the spool. A journal in the folder, one for each kind of transport, says how far each log was sent, and is
// on the disk before anything relies on it. Rows are sent in order, in batches; the place moves when a batch has arrived. So
// what is on the disk when a hub, a network or this process comes back is sent then, and once: each row has an id by its
// place (fleet.Place), which stays the same through rotation and compression, and by which the other side knows a row that
// comes again after a crash. A file is known by what it begins with, whatever its name is by now.
//
// What retention deletes before it was sent is lost, counted, and told. Nothing here is on the path of packets: it reads
// files that others write, on a goroutine of its own.
//
// It does not see rows that were never written, and of a deleted file not how many rows it had.
package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/sinks/disk"
)

// Always are the logs that are published whatever Options.Logs names: what was found, what there is, and what findings of
// several sensors are made of. That comes first: a hub then knows that what a sensor found is joined.
func Always() []string { return []string{"observations", "notice", "incidents", "assets", "stats"} }

// All stands for every log in Options.Logs.
const All = "all"

const (
	// A batch that is sent before the next is read. Many sensors send to one hub, and each waits for its answer. Larger ones are
	// not faster but with answers that take long, and a row on its way takes a kilobyte more than itself: the collector lets
	// the heap grow to four times what lives in it.
	maxRows  = 500
	maxBytes = 256 << 10
	// How often files are looked at for more: rows are written once a second.
	pollEvery = 250 * time.Millisecond
	// How often the archive is listed without need, to see what retention took.
	listEvery = time.Minute
	// How long a file that is read may be away from its place before the archive is looked through for others.
	listSoon = 2 * time.Second
	// Pauses after which sending is tried again, at first and at most.
	retryFirst = 250 * time.Millisecond
	retryMost  = 15 * time.Second
)

// Row is one row on its way.
type Row struct {
	Log   string
	Place fleet.Place
	Data  []byte // JSON, with the envelope
}

// Result is what became of a batch.
type Result struct {
	Refused  int    // rows that the other side does not take, and never will
	Why      string // it does not take the last of them
	Repeated int    // rows that it had already
}

// Transport takes rows to where they go. Its methods belong to one goroutine.
type Transport interface {
	// Kind is its name: "nats", "kafka". It names the journal.
	Kind() string
	// Send returns without an error when each row has arrived, or was refused for good. After an error the same rows are sent
	// again. A transport that commits a batch as a whole calls prepare before it does, with a text by which Arrived can find
	// out whether it did; what prepare returns ends it.
	Send(ctx context.Context, rows []Row, prepare func(mark string) error) (Result, error)
	// Arrived reports whether a batch was committed of which that is not known.
	Arrived(ctx context.Context, mark string) (bool, error)
	// Beat sends what the sensor says of itself, if it can be sent now.
	Beat(status fleet.Status)
	Close()
}

// Options say what to send.
type Options struct {
	Dir       string
	Sensor    string
	Logs      []string // beside Always
	Transport Transport
	Modes     disk.Modes
	Follow    bool // go on when all is sent
	// Say, if set, is told in a sentence what happens. It is called from the shipper's goroutine.
	Say func(string)
	// Beat, if set, fills in what a shipper does not know of the sensor.
	Beat func(*fleet.Status)
}

// Status is how it goes.
type Status struct {
	Sent, Refused, Repeated uint64 // rows
	Damaged                 uint64 // lines that are no rows
	Lost                    Lost   // since the journal was begun
	Behind                  time.Duration
	Waiting                 uint64 // bytes of files that are not sent yet, as they are on the disk
	Error                   string // why nothing is sent at present; "": all is well
}

// Shipper sends the rows of a folder.
type Shipper struct {
	opt      Options
	places   *places
	tails    []*tail
	names    map[string]*tail
	isOver   map[string]bool // files of the archive that are read, and not yet known to have arrived
	listed   time.Time
	began    time.Time
	beaten   time.Time
	unkept   bool // the journal cannot be written
	batch    batch
	spare    []byte // of readers that wait for more: only one of them reads at a time
	draining chan struct{}
	drain    sync.Once
	ended    chan struct{}
	cancel   context.CancelFunc
	result   error

	retryFirst, retryMost time.Duration // pauses between tries
	listSoon              time.Duration
	listNow               atomic.Bool // of tests

	mu     sync.Mutex
	status Status
	caught time.Time // when all was sent last; zero: not yet
	oldest time.Time // when the oldest row that is not sent was written, at the latest; zero: there is none
}

// tail is one log.
type tail struct {
	log   string
	cur   *current
	live  *reader // of the running file, while the archive is read
	queue []*file
	heads map[string][2]uint64 // what files of the archive begin with, as far as it was needed
	told  map[string]bool      // files of which was said that they cannot be read
}

// current is the file of a log that is being read.
type current struct {
	r     *reader
	g     *generation
	f     *file     // nil: the running file
	name  string    // of the running file in the archive, once it is there
	last  bool      // another stands in its place: what there is now is all
	until time.Time // when the last of what was read was written
	bad   uint64
	away  time.Time // since when it is not in its place; zero: it is
}

// batch is what is sent at a time. Data of its rows is in one piece of memory.
type batch struct {
	rows    []Row
	bytes   int
	mem     []byte
	touched map[*generation]string
	over    []string
}

func (b *batch) full() bool { return len(b.rows) >= maxRows || b.bytes >= maxBytes }

func (b *batch) reset() {
	b.rows, b.bytes, b.over = b.rows[:0], 0, b.over[:0]
	if b.mem = b.mem[:0]; cap(b.mem) > 2*maxBytes { // of a row that was huge
		b.mem = nil
	}
	if b.touched == nil {
		b.touched = map[*generation]string{}
	}
	clear(b.touched)
}

// Open takes the folder's journal, and looks at what is there; Start begins to send. Between the two a sensor may begin to
// write, and to delete what is too old.
func Open(opt Options) (*Shipper, error) {
	if err := fleet.CheckSensor(opt.Sensor); err != nil {
		return nil, err
	}
	now := time.Now()
	s := &Shipper{opt: opt, names: map[string]*tail{}, isOver: map[string]bool{}, began: now, draining: make(chan struct{}), ended: make(chan struct{}), retryFirst: retryFirst, retryMost: retryMost, listSoon: listSoon}
	var fresh bool
	var err error
	if s.places, fresh, err = openPlaces(opt.Dir, opt.Transport.Kind(), opt.Sensor, opt.Modes, now); err != nil {
		return nil, err
	}
	for _, log := range append(Always(), opt.Logs...) {
		if log != All {
			s.tail(log)
		}
	}
	if err := s.list(); err != nil {
		s.places.close()
		return nil, fmt.Errorf("ship: %w", err)
	}
	s.status.Lost = s.places.lost
	if fresh && s.waiting() > 0 {
		s.say("no place of what was sent is in %s: all that is there is sent", opt.Dir)
	}
	return s, nil
}

func (s *Shipper) reader(f *os.File, ext string) (*reader, error) {
	r, err := newReader(f, ext)
	if err == nil {
		r.spare = &s.spare
	}
	return r, err
}

// tail returns the log of that name.
func (s *Shipper) tail(log string) *tail {
	t := s.names[log]
	if t == nil {
		t = &tail{log: log, told: map[string]bool{}, heads: map[string][2]uint64{}}
		s.names[log] = t
		s.tails = append(s.tails, t)
	}
	return t
}

func (s *Shipper) wants(log string) bool {
	return s.names[log] != nil || slices.Contains(s.opt.Logs, All) && fleet.CheckLog(log) == nil
}

func (s *Shipper) say(format string, a ...any) {
	if s.opt.Say != nil {
		s.opt.Say(fmt.Sprintf(format, a...))
	}
}

// Start sends, on a goroutine, until Close or Wait.
func (s *Shipper) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.ended)
		s.result = s.run(ctx)
		s.opt.Transport.Close()
		for _, t := range s.tails {
			t.close()
		}
		s.places.close()
	}()
}

// Wait returns when all is sent, of a shipper that does not follow.
func (s *Shipper) Wait() error {
	<-s.ended
	return s.result
}

// Close sends what is in the files by now, for at most as long as that, and ends. Without an error all was sent.
func (s *Shipper) Close(wait time.Duration) error {
	if s.cancel == nil { // it was not started
		s.opt.Transport.Close()
		s.places.close()
		return nil
	}
	s.drain.Do(func() { close(s.draining) })
	if wait > 0 {
		select {
		case <-s.ended:
		case <-time.After(wait):
		}
	}
	s.cancel()
	<-s.ended
	if errors.Is(s.result, context.Canceled) {
		st := s.Status()
		why := st.Error
		if why != "" {
			why = ": " + why
		}
		return fmt.Errorf("ship: %d bytes of logs are not published yet%s", st.Waiting, why)
	}
	return s.result
}

// Status may be called from any goroutine.
func (s *Shipper) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	if !s.oldest.IsZero() {
		st.Behind = max(time.Since(s.oldest), 0)
	}
	return st
}

// isDraining reports whether it is to end when all is sent.
func (s *Shipper) isDraining() bool {
	if !s.opt.Follow {
		return true
	}
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

func (s *Shipper) run(ctx context.Context) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	last := false
	for {
		s.beat()
		draining := s.isDraining()
		if draining && !last { // what was rotated in the end
			if err := s.list(); err != nil {
				s.trouble(err)
			}
			last = true
		}
		s.batch.reset()
		more, err := s.collect()
		if err != nil {
			s.trouble(err)
		}
		s.look(false)
		if len(s.batch.rows) > 0 {
			if err := s.deliver(ctx); err != nil {
				return err
			}
		}
		s.commit()
		if more {
			continue
		}
		if err == nil {
			s.mu.Lock()
			s.oldest = time.Time{}
			s.status.Waiting = 0
			s.mu.Unlock()
			if draining {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.draining:
			if draining { // files that cannot be read are looked at again, not at once
				if err := pause(ctx, pollEvery); err != nil {
					return err
				}
			}
		case <-time.After(pollEvery):
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// settle finds out about a batch whose end was not seen.
func (s *Shipper) settle(ctx context.Context) error {
	for d := s.retryFirst; s.places.prepared != ""; d = min(2*d, s.retryMost) {
		arrived, err := s.opt.Transport.Arrived(ctx, s.places.prepared)
		if err == nil {
			var all []entry
			if arrived {
				all = s.places.batch
			}
			s.kept(s.places.write(append(slices.Clone(all), entry{Settled: true})...))
			return nil
		}
		s.trouble(err)
		s.beat()
		if err := pause(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// trouble says what goes wrong, once, and that it goes well again.
func (s *Shipper) trouble(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	s.mu.Lock()
	was := s.status.Error
	s.status.Error = text
	behind, waiting := s.oldest, s.status.Waiting
	s.mu.Unlock()
	switch {
	case was == "" && text != "":
		s.say("publishing to %s waits: %s", s.opt.Transport.Kind(), text)
	case was != "" && text == "":
		says := ""
		if !behind.IsZero() && waiting > 0 {
			says = fmt.Sprintf("; %v and %d bytes of logs behind", max(time.Since(behind), 0).Round(time.Second), waiting)
		}
		s.say("publishing to %s goes on%s", s.opt.Transport.Kind(), says)
	}
}

// deliver sends the batch until it has arrived.
func (s *Shipper) deliver(ctx context.Context) error {
	prepare := func(mark string) error {
		return s.places.write(entry{Prepared: mark, Batch: s.entries()})
	}
	for d := s.retryFirst; ; d = min(2*d, s.retryMost) {
		res, err := s.opt.Transport.Send(ctx, s.batch.rows, prepare)
		if err != nil && ctx.Err() == nil && s.places.prepared != "" {
			// Whether it was committed is not known, and sending it again might be once too often.
			s.trouble(err)
			arrived, e := s.unsure(ctx)
			if e != nil {
				return e
			}
			if arrived {
				err = nil
			}
		}
		if err == nil {
			s.mu.Lock()
			s.status.Sent += uint64(len(s.batch.rows) - res.Refused - res.Repeated)
			s.status.Refused += uint64(res.Refused)
			s.status.Repeated += uint64(res.Repeated)
			s.mu.Unlock()
			if res.Refused > 0 {
				s.say("%d rows were refused: %s", res.Refused, res.Why)
			}
			s.trouble(nil)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.trouble(err)
		s.beat()
		s.look(true)
		back, err := s.rest(ctx, d)
		if err != nil {
			return err
		}
		if back {
			d = s.retryFirst / 2
		}
	}
}

// rest waits before a batch is sent again, and at most until a transport that knows says that it can be sent now.
func (s *Shipper) rest(ctx context.Context, d time.Duration) (back bool, err error) {
	var now <-chan struct{}
	if t, ok := s.opt.Transport.(interface{ Back() <-chan struct{} }); ok {
		now = t.Back()
	}
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-now:
		return true, nil
	case <-time.After(d):
		return false, nil
	}
}

// unsure asks until it is known whether the prepared batch has arrived. If not, the next one that is prepared replaces it.
func (s *Shipper) unsure(ctx context.Context) (arrived bool, err error) {
	for d := s.retryFirst; ; d = min(2*d, s.retryMost) {
		arrived, err := s.opt.Transport.Arrived(ctx, s.places.prepared)
		if err == nil {
			return arrived, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		s.trouble(err)
		s.beat()
		s.look(true)
		if err := pause(ctx, d); err != nil {
			return false, err
		}
	}
}

// entries are what the journal has of the batch once it has arrived.
func (s *Shipper) entries() (all []entry) {
	for g, log := range s.batch.touched {
		all = append(all, entry{Log: log, At: g.arrived()})
	}
	slices.SortFunc(all, func(a, b entry) int {
		if a.Log != b.Log {
			return slices.Compare([]byte(a.Log), []byte(b.Log))
		}
		return int(int64(a.At.Gen - b.At.Gen))
	})
	for _, name := range s.batch.over {
		all = append(all, entry{Done: name})
	}
	return all
}

// commit takes down what has arrived.
func (s *Shipper) commit() {
	all := s.entries()
	if len(all) == 0 {
		return
	}
	if s.places.prepared != "" {
		all = append(all, entry{Settled: true})
	}
	s.kept(s.places.write(all...))
	for _, name := range s.batch.over {
		delete(s.isOver, name)
	}
}

// kept says when the journal cannot be written, and when it can again. Rows go on meanwhile: their ids tell those that come
// again after a crash.
func (s *Shipper) kept(err error) {
	switch {
	case err != nil && !s.unkept:
		s.say("%v", err)
	case err == nil && s.unkept:
		s.say("the place of what was sent is kept again")
	}
	s.unkept = err != nil
}

// collect reads what is there into the batch, those logs first that matter most. more says that there is more.
func (s *Shipper) collect() (more bool, err error) {
	for i := 0; i < len(s.tails); i++ { // more may come while it looks
		t := s.tails[i]
		e := s.read(t, &s.batch)
		if e != nil && err == nil {
			err = e
		}
		if s.batch.full() {
			return true, err
		}
	}
	return false, err
}

// look lists the archive if it is time, and takes down how far behind it is; away says that nothing is sent meanwhile.
func (s *Shipper) look(away bool) {
	if now := s.listNow.Load(); now || time.Since(s.listed) >= listEvery {
		if err := s.list(); err != nil {
			s.trouble(err)
		}
		if now {
			s.listNow.Store(false)
		}
	}
	n := s.waiting()
	var oldest time.Time
	older := func(t time.Time) {
		if !t.IsZero() && (oldest.IsZero() || t.Before(oldest)) {
			oldest = t
		}
	}
	for _, t := range s.tails {
		if c := t.cur; c != nil && c.f != nil {
			older(c.until)
		}
		if len(t.queue) > 0 {
			older(t.queue[0].written())
		}
	}
	if len(s.batch.rows) > 0 {
		n += uint64(s.batch.bytes)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Waiting = n
	if oldest.IsZero() && (away || n > 0) { // within the running files
		if oldest = s.caught; oldest.IsZero() {
			oldest = s.began
		}
	} else if n == 0 && !away {
		s.caught = time.Now()
	}
	s.oldest = oldest
}

// written is when its last row was written, as far as its name says.
func (f *file) written() time.Time {
	if !f.until.IsZero() {
		return f.until
	}
	return f.began
}

// waiting is how many bytes there are to be read.
func (s *Shipper) waiting() (n uint64) {
	for _, t := range s.tails {
		for _, f := range t.queue {
			n += uint64(f.size)
		}
		for _, r := range []*reader{t.live, t.reader()} {
			if r == nil || r.z != nil {
				continue
			}
			n += uint64(r.rest())
		}
	}
	return n
}

func (t *tail) reader() *reader {
	if t.cur == nil {
		return nil
	}
	return t.cur.r
}

func (t *tail) close() {
	if t.cur != nil {
		t.cur.r.close()
	}
	if t.live != nil {
		t.live.close()
	}
	t.cur, t.live = nil, nil
}

// list looks what the archive has, and what it no longer has.
func (s *Shipper) list() error {
	done := func(name string) bool { return s.places.done[name] || s.isOver[name] }
	files, there, err := archive(s.opt.Dir, s.wants, done)
	if err != nil {
		return err
	}
	s.listed = time.Now()
	tops, err := filepath.Glob(filepath.Join(s.opt.Dir, "*.log"))
	if err != nil {
		return err
	}
	for log := range files {
		s.tail(log)
	}
	if slices.Contains(s.opt.Logs, All) {
		running, _ := filepath.Glob(filepath.Join(s.opt.Dir, currentDir, "*.log"))
		for _, path := range append(running, tops...) {
			if log := logOf(path); filepath.Base(path) == log+".log" && s.wants(log) {
				s.tail(log)
			}
		}
	}
	slices.SortStableFunc(s.tails, func(a, b *tail) int { return s.rank(a.log) - s.rank(b.log) })
	for _, t := range s.tails {
		var queue []*file
		for _, f := range files[t.log] {
			if c := t.cur; c != nil && (c.f != nil && c.f.name == f.name || c.f == nil && c.is(f, t.queue)) {
				continue
			}
			queue = append(queue, f)
		}
		for _, f := range t.queue {
			if !there[f.name] {
				s.gone(f)
			}
		}
		maps.DeleteFunc(t.heads, func(name string, _ [2]uint64) bool { return !there[name] })
		s.begunFirst(t, queue)
		t.queue = queue
		s.places.forget(t.log, there)
	}
	return nil
}

// begunFirst puts files of which something may have been sent before all others, in the order of their generations, so that
// places grow whatever the names are: those of what a killed run left are made of its first row.
func (s *Shipper) begunFirst(t *tail, queue []*file) {
	open := map[[2]uint64]*generation{}
	for _, g := range s.places.logs[t.log] {
		if !g.over && (t.cur == nil || t.cur.g != g) {
			open[[2]uint64{g.Head, uint64(g.HeadN)}] = g
		}
	}
	if len(open) == 0 {
		return
	}
	gens := map[*file]uint64{}
	for _, f := range queue {
		head, ok := t.heads[f.name]
		if !ok {
			h, ext, err := f.open()
			if err != nil {
				continue
			}
			r, err := s.reader(h, ext)
			if err != nil {
				continue
			}
			sum, n, err := r.head()
			r.close()
			if err != nil {
				continue
			}
			head = [2]uint64{sum, uint64(n)}
			t.heads[f.name] = head
		}
		if g := open[head]; g != nil {
			gens[f] = g.Gen
		}
	}
	slices.SortStableFunc(queue, func(a, b *file) int {
		x, y := gens[a], gens[b]
		switch {
		case x == y:
			return 0
		case y == 0 || x != 0 && x < y:
			return -1
		}
		return 1
	})
}

// is reports whether a file of the archive is the running file that is read, which was rotated meanwhile and is held. before
// are those of which that is known.
func (c *current) is(f *file, before []*file) bool {
	if c.name != "" || slices.ContainsFunc(before, func(b *file) bool { return b.name == f.name }) {
		return c.name == f.name
	}
	h, ext, err := f.open()
	if err != nil {
		return false
	}
	r, err := newReader(h, ext)
	if err != nil {
		return false
	}
	defer r.close()
	if sum, n, err := r.head(); err == nil && n == c.g.HeadN && sum == c.g.Head {
		c.name = f.name
	}
	return c.name != ""
}

// rank orders logs: Always first.
func (s *Shipper) rank(log string) int {
	if i := slices.Index(Always(), log); i >= 0 {
		return i
	}
	return len(Always())
}

// gone takes down that a file was deleted before it was sent.
func (s *Shipper) gone(f *file) { s.lose(f.name, uint64(f.size)) }

func (s *Shipper) lose(what string, bytes uint64) {
	s.say("%s was deleted before it was published: what it had is lost (%d bytes on the disk)", what, bytes)
	lost := s.places.lost
	lost.Files++
	lost.Bytes += bytes
	s.kept(s.places.write(entry{Lost: &lost}))
	s.mu.Lock()
	s.status.Lost = lost
	s.mu.Unlock()
}

// read takes rows of a log into a batch, until it is full or there are no more at present.
func (s *Shipper) read(t *tail, b *batch) error {
	if c := t.cur; c != nil && c.f == nil {
		c.written()
	}
	for !b.full() {
		if t.cur == nil {
			ok, err := s.next(t)
			if err != nil || !ok {
				return err
			}
		}
		c := t.cur
		line, at, tooLong, err := c.r.line()
		switch {
		case errors.Is(err, io.EOF):
			if c.f == nil && !c.last {
				if c.last = s.replaced(t); c.last {
					continue // what came between reading and the rotation
				}
				if !c.g.whole {
					c.g.whole = true
					if c.g.read > c.g.Offset || b.touched[c.g] != "" {
						b.touched[c.g] = t.log
					}
				}
				return nil
			}
			if n := c.r.rest(); n > 0 {
				c.bad++
			}
			s.finish(t, b)
			continue
		case err != nil && c.r.z == nil:
			return fmt.Errorf("ship: %w", err)
		case err != nil:
			s.say("%s is damaged: what is in it behind byte %d cannot be published (%v)", c.f.name, at, err)
			c.bad++
			s.finish(t, b)
			continue
		case tooLong:
			c.bad++
		default:
			body, err := c.r.conv.Line(line)
			if err == nil && body == nil {
				continue // of a header, or the last line, which a file that goes on does not have
			}
			if err != nil {
				c.bad++
			} else {
				s.add(b, t, c, at, body)
			}
		}
		g := c.g
		g.read, g.readLastN, g.readLast, g.whole, g.over = c.r.base, 0, 0, false, false
		if !tooLong {
			g.readLastN, g.readLast = c.r.base-at, xxhash.Sum64(line[:len(line)+1])
		}
		b.touched[g] = t.log
	}
	return nil
}

// add puts a row into a batch.
func (s *Shipper) add(b *batch, t *tail, c *current, at int64, body []byte) {
	from := len(b.mem)
	mem := fleet.AppendEnvelope(b.mem, s.opt.Sensor, t.log, c.until)
	if body = bytes.TrimSpace(body[1:]); body[0] != '}' {
		mem = append(mem, ',')
	}
	mem = append(mem, body...)
	n := len(mem) - from
	if n > fleet.MaxRow {
		s.refuse(t.log, n)
		return
	}
	b.mem = mem
	b.bytes += n
	b.rows = append(b.rows, Row{t.log, fleet.Place{Generation: c.g.Gen, Offset: uint64(at)}, mem[from:len(mem):len(mem)]})
}

func (s *Shipper) refuse(log string, n int) {
	s.mu.Lock()
	s.status.Refused++
	first := s.status.Refused == 1
	s.mu.Unlock()
	if first {
		s.say("a row of %s.log has %d bytes and is not published; more than %d are not taken", log, n, fleet.MaxRow)
	}
}

// finish ends the file of a log that is being read.
func (s *Shipper) finish(t *tail, b *batch) {
	c := t.cur
	c.g.over, c.g.whole = true, true
	b.touched[c.g] = t.log
	if c.f != nil {
		s.finished(c.f, b)
	} else if c.name != "" {
		s.finished(&file{name: c.name}, b)
	}
	s.damaged(t, c)
	c.r.close()
	t.cur = nil
}

// damaged counts lines that were no rows.
func (s *Shipper) damaged(t *tail, c *current) {
	if c.bad == 0 {
		return
	}
	s.mu.Lock()
	s.status.Damaged += c.bad
	s.mu.Unlock()
	name := t.log + ".log"
	if c.f != nil {
		name = c.f.name
	}
	s.say("%s: lines that are damaged and were not published: %d", name, c.bad)
}

// finished takes down that a file of the archive is read.
func (s *Shipper) finished(f *file, b *batch) {
	s.isOver[f.name] = true
	b.over = append(b.over, f.name)
}

// next opens the file of a log that comes next. It returns false where there is none with a row in it.
func (s *Shipper) next(t *tail) (bool, error) {
	for {
		for len(t.queue) > 0 {
			f := t.queue[0]
			c, err := s.begin(t, f)
			if err != nil {
				if !t.told[f.name] {
					t.told[f.name] = true
					s.say("%s cannot be read, and what comes after it waits: %v", f.name, err)
				}
				return false, fmt.Errorf("ship: %w", err)
			}
			t.queue = t.queue[1:]
			if c != nil {
				t.cur = c
				return true, nil
			}
		}
		if t.live == nil {
			f, err := s.running(t.log)
			if errors.Is(err, fs.ErrNotExist) {
				// Between two files, or of a log without rows so far. One that came and went meanwhile is in the archive.
				if time.Since(s.listed) < 5*s.listSoon {
					return false, nil
				}
				if n, err := s.again(t); err != nil || n == 0 {
					return false, err
				}
				continue
			}
			if err != nil {
				return false, fmt.Errorf("ship: %w", err)
			}
			if t.live, err = s.reader(f, ""); err != nil {
				return false, fmt.Errorf("ship: %w", err)
			}
			// The running file is held from now on; what was before it is in the archive.
			if n, err := s.again(t); err != nil {
				return false, err
			} else if n > 0 {
				continue
			}
		}
		r := t.live
		sum, n, err := r.head()
		if err != nil {
			return false, fmt.Errorf("ship: %w", err)
		}
		if n == 0 {
			if s.isMoved(r, t.log) {
				r.close()
				t.live = nil
				continue
			}
			return false, nil
		}
		g, err := s.place(t.log, r, sum, n, false)
		if err != nil {
			return false, err
		}
		s.vanished(t, g)
		t.live = nil
		t.cur = &current{r: r, g: g}
		t.cur.written()
		return true, nil
	}
}

// again lists the archive, and says how many files of a log it has to be read.
func (s *Shipper) again(t *tail) (int, error) {
	if err := s.list(); err != nil {
		return 0, fmt.Errorf("ship: %w", err)
	}
	if t.live != nil { // rotated since it was opened
		t.queue = slices.DeleteFunc(t.queue, func(f *file) bool {
			info, err := os.Lstat(f.path)
			return err == nil && os.SameFile(info, t.live.info)
		})
	}
	return len(t.queue), nil
}

// running opens the running file of a log.
func (s *Shipper) running(log string) (*os.File, error) {
	f, err := disk.Read(s.path(log))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = disk.Read(filepath.Join(s.opt.Dir, log+".log"))
	}
	return f, err
}

func (s *Shipper) path(log string) string {
	return filepath.Join(s.opt.Dir, currentDir, log+".log")
}

// isMoved reports whether another file stands where the running one stood, or none, or it was emptied.
func (s *Shipper) isMoved(r *reader, log string) bool {
	if mine, err := r.f.Stat(); err == nil && mine.Size() < r.base {
		return true
	}
	for _, path := range []string{s.path(log), filepath.Join(s.opt.Dir, log+".log")} {
		if there, err := os.Lstat(path); err == nil {
			return !os.SameFile(there, r.info)
		}
	}
	return true
}

// written takes down when the running file was written to last.
func (c *current) written() {
	if info, err := c.r.f.Stat(); err == nil {
		c.until = info.ModTime()
	}
}

// replaced reports whether nothing more will be written to the running file that is read: another one stands in its
// place, or it is in the archive. One that was moved elsewhere may still be written to until then.
func (s *Shipper) replaced(t *tail) bool {
	c := t.cur
	if mine, err := c.r.f.Stat(); err == nil && mine.Size() < c.r.base { // somebody emptied it
		return true
	}
	there, err := os.Lstat(s.path(t.log))
	if errors.Is(err, fs.ErrNotExist) {
		there, err = os.Lstat(filepath.Join(s.opt.Dir, t.log+".log"))
	}
	if err == nil {
		c.away = time.Time{}
		return !os.SameFile(there, c.r.info)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if s.isDraining() {
		return true
	}
	// It was rotated, and no row came since; or somebody has moved or removed it, which who writes to it sees within a second.
	if c.away.IsZero() {
		c.away = time.Now()
	}
	if time.Since(c.away) < s.listSoon {
		return false
	}
	c.away = time.Now()
	if err := s.list(); err != nil {
		return false
	}
	return len(t.queue) > 0
}

// begin opens a file of the archive; nil: nothing of it is to be read.
func (s *Shipper) begin(t *tail, f *file) (*current, error) {
	skip := func() (*current, error) {
		s.finished(f, &s.batch)
		return nil, nil
	}
	h, ext, err := f.open()
	if errors.Is(err, fs.ErrNotExist) {
		s.gone(f)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	written := f.until
	if info, err := h.Stat(); err == nil && (written.IsZero() || info.ModTime().Before(written)) {
		written = info.ModTime()
	}
	r, err := s.reader(h, ext)
	damaged := func(err error) (*current, error) {
		s.say("%s is damaged, and not published: %v", f.name, err)
		s.mu.Lock()
		s.status.Damaged++
		s.mu.Unlock()
		return skip()
	}
	if err != nil {
		return damaged(err)
	}
	sum, n, err := r.head()
	if err != nil {
		r.close()
		if ext == "" {
			return nil, err
		}
		return damaged(err)
	}
	if n == 0 { // no row is in it
		r.close()
		return skip()
	}
	g, err := s.place(t.log, r, sum, n, true)
	if err != nil {
		r.close()
		if ext != "" {
			return damaged(err)
		}
		return nil, err
	}
	return &current{r: r, g: g, f: f, until: written}, nil
}

// place returns the generation of a file, and has it read from where it was sent to. A file that begins like one that is
// known, and has all that was sent of it, is the same: what comes after that is new, whatever its name. So a capture that is
// read again, whose rows are the same, is not published again.
func (s *Shipper) place(log string, r *reader, sum uint64, n int64, archived bool) (*generation, error) {
	if g := s.places.find(log, sum, n); g != nil {
		at := *g
		at.Offset, at.Last, at.LastN = g.read, g.readLast, g.readLastN
		ok, err := r.seek(&at)
		if err != nil || ok {
			return g, err
		}
		if archived && r.z == nil && g.Inode == disk.Inode(r.info) && g.Inode != 0 && r.info.Size() < g.read {
			s.say("a file of %s.log is shorter than what was published of it, as after a power cut", log)
			r.base, r.buf = r.info.Size(), r.buf[:0:0]
			return g, nil
		}
		if err := r.again(); err != nil {
			return nil, err
		}
	}
	g, err := s.places.begin(log, sum, n, disk.Inode(r.info))
	s.kept(err)
	return g, nil
}

// vanished tells of files that were being sent and are not there any more, once all that is there is known.
func (s *Shipper) vanished(t *tail, now *generation) {
	for _, g := range s.places.logs[t.log] {
		if g == now || g.over {
			continue
		}
		g.over = true
		s.batch.touched[g] = t.log
		if !g.whole {
			s.lose(fmt.Sprintf("a file of %s.log that was published up to byte %d", t.log, g.read), 0)
		}
	}
}

// beat sends what the sensor says of itself, when it is time.
func (s *Shipper) beat() {
	now := time.Now()
	if !s.beaten.IsZero() && now.Sub(s.beaten) < fleet.StatusEvery {
		return
	}
	s.beaten = now
	st := s.Status()
	out := fleet.Status{Time: seconds(now), Started: seconds(s.began), Behind: st.Behind.Seconds(), LostFiles: st.Lost.Files, LostBytes: st.Lost.Bytes}
	if s.opt.Beat != nil {
		s.opt.Beat(&out)
	}
	s.opt.Transport.Beat(out)
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
