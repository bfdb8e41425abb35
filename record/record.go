// Package record is the flight recorder: it keeps the packets of the last days as far as they are worth it, and hands out
// those of a flow, a host or a finding.
//
// In: frames, with what the flow table and the decoders know of them. Out: a folder of segments, which are plain pcapng
// files (compressed with zstd if asked for), each with an index beside it; and for each finding of some severity a file of
// its flow's packets, which is no part of the ring that the segments are. Folder and files belong to their owner alone.
//
// The path of packets never waits for the disk: between them are some 32 MiB, and what finds no room there is counted and
// gone. (A capture that is replayed waits.) A run that is killed leaves each segment readable up to its last whole block.
//
// It does not see what the bytes mean: which flows are kept whole is said by others.
package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// Options say where and how much.
type Options struct {
	Folder      string
	Size        uint64        // of all segments with their indexes, bytes
	Keep        time.Duration // how old a segment gets; 0: without bound
	Compress    bool
	Policy      Policy
	Evidence    Evidence
	Interface   string // named in the files; may be empty
	Application string // that wrote them
	// Wait has the packets wait for the disk: of a capture, which does.
	Wait bool
	// Say is told in a sentence when the disk fails and when it works again; from a goroutine. nil: nobody is.
	Say func(string)

	segment int64 // bytes of one; 0: a 64th of Size, within bounds
	chunks  int   // on their way; 0: maxChunks
	clock   func() time.Time
	create  func(name string) (output, error) // nil: a file of the disk; tests have others
}

const (
	// Memory between the packets and the disk, in chunks.
	maxChunks = 32
	// A look-up opens every index, so that segments are large; one at a time goes, so that they are not too large.
	minSegment, maxSegment = 1 << 20, 128 << 20
	segmentsOfSize         = 64
	// A chunk that is not full is written after so long, so that it can be found.
	writeEvery = time.Second
	// Closing waits for so long for a disk that stands.
	closeFor = 10 * time.Second
	// Orders that wait for a chunk: more findings than that in a second have no evidence of their own.
	maxOrders = 4096
)

// MinSize is the least budget: some segments of the smallest size.
const MinSize = 8 << 20

// Recorder records. Its methods belong to one goroutine, that of the events, if nothing else is said.
type Recorder struct {
	opt    Options
	judge  *Policy
	seed   capture.Seed
	run    uint64
	chunk  *chunk // at hand; nil: none was free
	slots  *slots // its flows
	made   int
	free   chan *chunk
	queue  chan *chunk
	links  map[uint16]uint32
	linked []uint16
	filter map[uint16]*capture.Filter
	counts Counts // since the last chunk was begun
	total  Counts
	orders []order
	wanted map[uint64]*wanted
	wants  wants // their names, for the workers
	cutAt  time.Time
	now    capture.Time
	tired  capture.Time
	closed bool

	lock    *os.File
	w       *writer
	done    chan struct{}
	broken  counter // what the disk did not take, of what was counted as kept
	failing atomic.Pointer[string]
}

// counter is a Count for two goroutines.
type counter struct{ frames, bytes atomic.Uint64 }

func (c *counter) add(n Count) { c.frames.Add(n.Frames); c.bytes.Add(n.Bytes) }

func (c *counter) get() Count { return Count{c.frames.Load(), c.bytes.Load()} }

// New begins to record.
func New(opt Options) (*Recorder, error) {
	if opt.segment == 0 {
		opt.segment = int64(min(max(opt.Size/segmentsOfSize, minSegment), maxSegment))
	}
	if opt.chunks == 0 {
		opt.chunks = maxChunks
	}
	if opt.clock == nil {
		opt.clock = time.Now
	}
	if opt.Say == nil {
		opt.Say = func(string) {}
	}
	if opt.create == nil {
		opt.create = createFile
	}
	if opt.Evidence.Folder == "" {
		opt.Evidence.Folder = filepath.Join(opt.Folder, evidenceDir)
	}
	r := &Recorder{
		opt: opt, judge: &opt.Policy, slots: &slots{}, links: map[uint16]uint32{}, filter: map[uint16]*capture.Filter{}, wanted: map[uint64]*wanted{},
		free: make(chan *chunk, opt.chunks), queue: make(chan *chunk, opt.chunks), done: make(chan struct{}), cutAt: opt.clock(),
	}
	var err error
	if r.lock, err = lockFolder(opt.Folder); err != nil {
		return nil, err
	}
	if r.w, err = newWriter(r); err != nil {
		r.lock.Close()
		return nil, fmt.Errorf("record: %w", err)
	}
	go func() {
		defer close(r.done)
		r.w.loop()
	}()
	return r, nil
}

// Policy says what is kept.
func (r *Recorder) Policy() *Policy { return r.judge }

// Begin begins a run, in which packets are numbered from 1 and flows hashed with seed.
func (r *Recorder) Begin(seed capture.Seed) {
	r.forget()
	r.cut()
	r.seed, r.run = seed, uint64(r.opt.clock().UnixNano())
}

// Counts says what became of all that was seen so far.
func (r *Recorder) Counts() Counts {
	c := r.total
	c.Add(&r.counts)
	if n := r.broken.get(); n.Frames > 0 {
		c.By[DiskError].Frames += n.Frames
		c.By[DiskError].Bytes += n.Bytes
		c.By[Kept].Frames -= min(c.By[Kept].Frames, n.Frames)
		c.By[Kept].Bytes -= min(c.By[Kept].Bytes, n.Bytes)
	}
	return c
}

// Left is something that was left out, for people and counters.
type Left struct {
	Cause string
	Count
}

// Left lists what was left out, by cause.
func (c *Counts) Left() []Left {
	var all []Left
	for i := Kept + 1; i < causes; i++ {
		all = append(all, Left{i.String(), c.By[i]})
	}
	return all
}

// Failing says why nothing can be recorded; nil while it can. Any goroutine may call it.
func (r *Recorder) Failing() error {
	if why := r.failing.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

// fail says so, and with nil that it is over.
func (r *Recorder) fail(err error) {
	if err == nil {
		if r.failing.Swap(nil) != nil {
			r.opt.Say("the recorder works again")
		}
		return
	}
	if errors.Is(err, errResting) {
		return
	}
	why := "the recorder: " + strings.TrimPrefix(err.Error(), "record: ")
	if r.failing.Swap(&why) == nil {
		r.opt.Say(why)
	}
}

// Close writes what is under way, and ends. It waits some seconds for a disk that stands, and then leaves it.
func (r *Recorder) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.forget()
	r.cut()
	close(r.queue)
	select {
	case <-r.done:
	case <-time.After(closeFor):
		return fmt.Errorf("record: %s: the disk does not respond; unwritten packets are lost", r.opt.Folder)
	}
	err := r.lock.Close()
	if why := r.failing.Load(); why != nil {
		err = errors.Join(err, errors.New("record: "+*why))
	}
	return err
}

// Events that a recorder wants to hear of.

// Conn tells of a flow that is over.
func (r *Recorder) Conn(c *capture.Conn) {
	if len(r.wanted) == 0 {
		return
	}
	id := r.id(r.seed.FlowHash(c.Flow), c.Flow.Start)
	if r.wanted[id] != nil {
		r.unwant(id)
	}
}

// Finding gives the name of the file that will have the packets of f, or "".
func (r *Recorder) Finding(f *detectors.Finding) string {
	x := newCase(f, r)
	r.order(order{finding: x})
	if x.file == "" {
		return ""
	}
	for _, id := range x.ids {
		if w := r.wanted[id]; w != nil {
			w.left = max(w.left, int64(r.opt.Evidence.Bound))
			w.seen = max(w.seen, r.now)
		} else if len(r.wanted) < maxWanted {
			r.wanted[id] = &wanted{int64(r.opt.Evidence.Bound), r.now}
			r.wants.add(id)
		}
	}
	return x.file
}

// Incident tells of one, perhaps again.
func (r *Recorder) Incident(x *detectors.Incident) { r.order(order{incident: newStory(x, r)}) }

// order has the writer do something behind the chunk at hand.
func (r *Recorder) order(o order) {
	if len(r.orders) < maxOrders {
		r.orders = append(r.orders, o)
	}
}

// forget ends all that goes on beyond a finding.
func (r *Recorder) forget() {
	for id := range r.wanted {
		r.unwant(id)
	}
}
