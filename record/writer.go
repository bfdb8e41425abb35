package record

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/disk"
)

// output is a file that is written to.
type output interface {
	WriteAt(b []byte, at int64) (int, error)
	Truncate(size int64) error
	Close() error
}

// createFile makes a file that is written to past the system's cache, where its file system can do that: nothing reads
// a segment soon, and to fill the cache with it costs as much as all else that is done with a packet.
func createFile(name string) (output, error) {
	f, err := disk.Private().CreateDirect(name)
	if err != nil {
		return nil, err // an interface that holds nil is not nil
	}
	return f, nil
}

func createCached(name string) (output, error) {
	f, err := disk.Private().Create(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// writer is what of a recorder belongs to the goroutine that writes.
type writer struct {
	r     *Recorder
	opt   *Options
	ring  []file // closed segments, the oldest first
	total int64  // bytes of all segments and their indexes
	seq   uint64 // of the next

	out    output // of the segment that is written; nil: none is
	cached bool   // the disk takes no writes past the cache
	path   string
	size   int64
	begun  time.Time
	places []place
	keys   []uint64 // of its flows
	counts Counts
	links  []uint16
	linked int // interfaces that it has
	zstd   *zstd.Encoder
	buf    []byte
	dir    []byte
	packed []byte
	tmp    scratch

	failed  time.Time    // when the disk failed last
	lostAt  capture.Time // when packets were lost last, by theirs
	swept   time.Time    // when ages were looked at last
	looked  time.Time    // whether the segment still has its name
	wall    stepWatch
	start   time.Time
	saves   *evidence
	journal *journal
}

const (
	// After an error the disk is left alone for so long: what comes is lost, but not slowly.
	retryAfter = time.Second
	sweepEvery = time.Minute
	// A segment is closed after so long, however small it is: its index makes it quick to search, and by its age it goes.
	segmentFor = time.Hour
)

func newWriter(r *Recorder) (*writer, error) {
	w := &writer{r: r, opt: &r.opt, seq: 1, start: time.Now(), journal: newJournal(r.opt.Folder)}
	all, err := list(r.opt.Folder)
	if err != nil {
		return nil, err
	}
	w.ring = all
	for _, f := range all {
		w.total += f.size
		w.seq = max(w.seq, f.seq+1)
	}
	if r.opt.Compress {
		if w.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest)); err != nil {
			return nil, err
		}
	}
	if r.opt.Evidence.On {
		if w.saves, err = newEvidence(w); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *writer) loop() {
	w.mend()
	for c := range w.r.queue {
		w.take(c)
		c.reset()
		w.r.free <- c
	}
	w.close()
	if w.saves != nil {
		w.saves.close()
	}
	w.journal.close()
	if w.zstd != nil {
		w.zstd.Close()
	}
}

// mend makes the indexes that are missing: of the segment that an earlier run was killed over. What is missing further
// back is made for each look-up.
func (w *writer) mend() {
	for i := max(len(w.ring)-2, 0); i < len(w.ring); i++ {
		f := &w.ring[i]
		if s, _, close, made, _, err := open(f.path); err == nil {
			size := s.size
			close()
			if made {
				if n, err := mendIndex(f.path); err == nil {
					w.total += size + n - f.size
					f.size = size + n
				}
			}
		}
	}
}

func (w *writer) take(c *chunk) {
	now := w.opt.clock()
	w.wall.see(now, time.Since(w.start))
	err := w.write(c, now)
	if err != nil {
		if !errors.Is(err, errResting) { // or it would never be over
			w.failed = now
		}
		w.r.broken.add(c.counts.By[Kept])
		w.r.fail(err)
	}
	if lost := c.counts.By[QueueFull].Frames > 0; lost || err != nil {
		w.lostAt = max(w.lostAt, c.last)
		if w.saves != nil {
			w.saves.hole(lost)
		}
	}
	if now.Sub(w.swept).Abs() >= sweepEvery {
		w.swept = now
		w.age(now)
	}
	if w.saves != nil {
		w.saves.follow(c)
	}
	for i := range c.orders {
		w.obey(&c.orders[i])
	}
}

var errResting = errors.New("the disk failed a moment ago")

// write appends the chunk to the segment.
func (w *writer) write(c *chunk, now time.Time) error {
	if !w.failed.IsZero() && now.Sub(w.failed).Abs() < retryAfter {
		return errResting
	}
	if w.out != nil && now.Sub(w.looked).Abs() >= time.Second {
		w.looked = now
		if f, ok := w.out.(*os.File); ok && removed(f) { // somebody has taken away the folder
			w.out.Close()
			w.out = nil
			w.reread()
		}
	}
	long := int64(len(c.buf)) + int64(len(c.buf))/8 + 4096
	if w.out != nil && (w.size+long > w.opt.segment && w.size > 0 || now.Sub(w.begun).Abs() >= segmentFor) {
		w.close()
	}
	w.shrink(long)
	err := w.append(c, now)
	if err != nil && noDirect(err) && !w.cached { // it opens files so, but takes no writes
		w.cached, w.opt.create = true, createCached
		w.close()
		err = w.append(c, now)
	}
	for tries := 0; err != nil && disk.NoSpace(err) && len(w.ring) > 0 && tries < 8; tries++ {
		w.drop() // others have filled the disk: what is oldest goes
		err = w.append(c, now)
	}
	if err == nil && !w.failed.IsZero() {
		w.failed = time.Time{}
		w.r.fail(nil)
	}
	return err
}

// append writes the chunk, all of it or nothing.
func (w *writer) append(c *chunk, now time.Time) (err error) {
	if w.out == nil {
		if err := w.begin(c.first, now); err != nil {
			return err
		}
	}
	packed := 0
	data := c.buf
	if w.zstd != nil && len(data) > 0 {
		w.packed = w.zstd.EncodeAll(data, w.packed[:0])
		data, packed = w.packed, len(w.packed)
	}
	w.dir = c.directory(w.dir[:0], packed, &w.tmp)
	if n := len(w.dir) + len(data) + 64<<10; cap(w.buf) < n || cap(w.buf) > 4*(n+chunkSize) {
		w.buf = paged(max(n, 2*chunkSize))
	}
	b := w.buf[:0]
	if w.linked < len(c.links) {
		var more []byte
		for _, l := range c.links[w.linked:] {
			more = capture.AppendInterface(more, l, w.opt.Interface)
		}
		if w.zstd != nil {
			more = w.zstd.EncodeAll(more, nil)
		}
		b = append(b, more...)
	}
	at := w.size + int64(len(b))
	if w.zstd != nil {
		b = binary.LittleEndian.AppendUint32(b, skippable)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(w.dir)))
		b = append(b, w.dir...)
	} else {
		b = directoryBlockOf(b, w.dir)
	}
	begin, packets := w.size, w.size+int64(len(b))
	b = pad(append(b, data...), w.zstd != nil)
	if _, err = w.out.WriteAt(b, begin); err != nil {
		if e := w.out.Truncate(begin); e != nil { // half a chunk is left, which readers know
			w.out.Close()
			w.out = nil
			w.reread()
		}
		return err
	}
	w.linked, w.links = len(c.links), append(w.links[:0], c.links...)
	w.size += int64(len(b))
	w.total += int64(len(b))
	w.places = append(w.places, c.place(at, packets, packed))
	for i := range c.names {
		w.keys = appendKeys(w.keys, &c.names[i])
	}
	w.counts.Add(&c.counts)
	return nil
}

// begin begins a segment.
func (w *writer) begin(first capture.Time, now time.Time) error {
	if err := disk.Private().Folder(w.opt.Folder); err != nil {
		return err
	}
	if w.r.lock != nil && removed(w.r.lock) { // with the folder
		lock, err := lockFolder(w.opt.Folder)
		if err != nil {
			return err
		}
		w.r.lock.Close()
		w.r.lock = lock
	}
	path := filepath.Join(w.opt.Folder, nameSegment(w.seq, first, w.zstd != nil))
	out, err := w.opt.create(path)
	if err != nil {
		return err
	}
	w.seq++
	head := capture.AppendSection(nil, w.opt.Application, "recorded by raytap; raytap extract finds the packets of a flow or a finding in the folder")
	if w.zstd != nil {
		head = w.zstd.EncodeAll(head, nil)
	}
	head = append(paged(page), pad(head, w.zstd != nil)...)
	if _, err := out.WriteAt(head, 0); err != nil {
		out.Close()
		os.Remove(path)
		return err
	}
	w.out, w.path, w.size, w.begun, w.looked = out, path, int64(len(head)), now, now
	w.total += w.size
	w.linked, w.places, w.keys, w.counts, w.links = 0, w.places[:0], w.keys[:0], Counts{}, nil
	return nil
}

// close ends the segment that is written, and makes its index.
func (w *writer) close() {
	if w.out == nil {
		return
	}
	err := w.out.Close()
	w.out = nil
	b := buildIndex(w.size, w.places, w.keys, w.counts, w.links)
	size := w.size
	if e := writeIndex(w.path, b); e == nil {
		size += int64(len(b))
		w.total += int64(len(b))
	} else if err == nil {
		err = e
	}
	if _, e := os.Stat(w.path); e == nil {
		w.ring = append(w.ring, file{w.path, w.seq - 1, size})
	} else {
		w.reread()
	}
	if err != nil {
		w.r.fail(err)
		w.failed = w.opt.clock().Add(-retryAfter) // the next write tries again
	}
}

// reread looks at what the folder has.
func (w *writer) reread() {
	w.ring, w.total = nil, 0
	all, err := list(w.opt.Folder)
	if err != nil {
		return
	}
	for _, f := range all {
		if w.out != nil && f.path == w.path {
			continue
		}
		w.ring = append(w.ring, f)
		w.total += f.size
		w.seq = max(w.seq, f.seq+1)
	}
}

// shrink makes room for n bytes within the budget.
func (w *writer) shrink(n int64) {
	for len(w.ring) > 0 && w.total+n > int64(w.opt.Size) {
		w.drop()
	}
}

// drop deletes the oldest segment.
func (w *writer) drop() {
	f := w.ring[0]
	w.ring = w.ring[1:]
	w.total -= f.size
	if err := remove(f.path); err != nil {
		w.r.fail(err)
	}
}

// age deletes what is too old, by when it was last written to. While clocks are not to be trusted nothing is.
func (w *writer) age(now time.Time) {
	if w.saves != nil {
		w.saves.age(now, !w.wall.stepped())
	}
	if w.opt.Keep == 0 || w.wall.stepped() {
		return
	}
	for len(w.ring) > 0 {
		info, err := os.Stat(w.ring[0].path)
		if err == nil && now.Sub(info.ModTime()) <= w.opt.Keep {
			return
		}
		w.drop()
	}
}

// stepWatch knows when a clock was set: what is old by a clock that was just set forward may be young.
type stepWatch struct {
	last   time.Time
	before time.Duration // what had passed then, by a clock that nobody sets
	at     time.Duration // of the last step, by that
	ever   bool
}

const (
	stepSize  = time.Minute
	stepQuiet = time.Hour
)

// see takes the time, and what has passed by a clock that nobody sets.
func (s *stepWatch) see(now time.Time, passed time.Duration) {
	now = now.Round(0)
	if !s.last.IsZero() && (now.Sub(s.last)-(passed-s.before)).Abs() > stepSize {
		s.at, s.ever = passed, true
	}
	s.last, s.before = now, passed
}

// stepped says whether it was set lately.
func (s *stepWatch) stepped() bool { return s.ever && s.before-s.at < stepQuiet }
