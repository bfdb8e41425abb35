// Package engine reads frames from a source, turns them into events on all processors and brings the events, in the order of
// their packets, to detectors and sinks.
//
//	src, err := capture.OpenFile("x.pcap")
//	stats, err := engine.Run(ctx, engine.Default(), src, sink)
//
// One goroutine reads and dissects, Workers goroutines drive the flow tables and decoders, one puts their events in order, lanes of
// detectors look at them beside each other, and one says what they found and writes; with few workers the last three are one
// goroutine. Where a single processor is enough, the first does it all, batch by batch: with one worker, and for a live source as long
// as it keeps up. Output is byte-identical for any number of workers: flows belong to one of a fixed number of shards, events carry the
// place in the capture where they arose, and what a lane says carries its event.
package engine

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/intel"
	"github.com/raytap/raytap/record"
	"github.com/raytap/raytap/registry"
)

// Sink takes what a run says, in order and one at a time: records (capture.Record) for logs, *detectors.Finding, and
// *detectors.Update of what was said. What it does not know it ignores.
type Sink interface {
	Event(ev any)
}

// Flusher is a Sink that holds back what it was told. Of a live source Flush is called a few times in a second, behind
// each batch with a finding in it too, so that what was said can be read at once.
type Flusher interface {
	Sink
	Flush()
}

// Batches on their way. Two for each stage keep all of them busy; more only spreads over the cache.
const batchesPerStage = 2

// keepText is how much memory for formatted rows a batch keeps for the next frames in it.
const keepText = 4 << 20

// event is something a shard said, with its place: position, then shard. Packet n of those that the dissector made,
// counted from 1, has the position 2n; what the clock did before it has 2n-1.
type event struct {
	pos   uint64
	shard uint32
	from  capture.Provenance
	// 1 or 2: of a flow with two readings, see capture.Aside.
	reading uint8
	over    bool // of a flow that makes more than it is worth: it has no row
	decided bool // the worker has decided on the row
	unheard bool // only who keeps files hears of it
	// Of a row that the worker formatted: its log and its place in the worker's text.
	log, worker uint8
	begin, end  uint32
	row         capture.Record // if decided; nil: none
	ev          any
}

// tick is the clock moving on before packet n of the batch.
type tick struct {
	n  int
	at capture.At
}

type batch struct {
	capture.Batch
	pos     uint64 // of the packet before the first
	packets []capture.Packet
	hashes  []uint64
	marks   []record.Mark // by packet: what a recorder keeps of it
	work    [][]int32     // by worker: which packets are its own
	ticks   []tick
	weirds  []event
	out     [][]event    // by worker
	text    [][]byte     // by worker: rows that it formatted
	order   []*event     // all of these, and what arises of them: see orderer
	placed  int          // how many of order have a place
	said    [][]saying   // by lane
	looks   []laneCounts // by lane
	stats   Stats        // of the reader so far
	last    bool
	err     error
	done    sync.WaitGroup // workers
	judged  sync.WaitGroup // lanes
	formats bool           // the workers format rows
	begins  *capture.Seed  // of the flow hash, with the first frames
	expects bool           // connections were announced lately: see decoders.Expect
	// takesBack: no frames, what the kernel counts is taken back
	takesBack bool
	closes    int // no frames: the shard of this number, from 1, ends
	shares    []share
	counted   bool         // the workers bring their counts: once in a second of packet time, and at the end
	counts    []workCounts // by worker

	// Of a live source.
	clock  capture.Time // the latest time that is known
	shed   capture.ShedLevel
	report bool // a span of statsEvery ends here
}

// engine is one run.
type engine struct {
	cfg   Config
	src   capture.Source
	live  bool
	home  *detectors.Networks
	local *detectors.Networks
	// balancers may name those for whom they speak.
	balancers *detectors.Networks
	free      chan *batch
	merge     chan *batch
	workers   []*worker
	order     *orderer
	collect   *collector
	beside    bool             // lanes have goroutines of their own, where stages are apart
	final     chan *batch      // then: to the collector
	rec       *record.Recorder // nil: nothing is recorded
	shunt     capture.Shunt    // nil: the source counts no flows
	outers    *capture.Outers  // with shunt: tunnels in which flows are counted
	recover   bool
	// standAfter is how long workers and collector of a live source may take for one step before that is said.
	standAfter time.Duration
	pulse      pulse
	// apart says whether workers and collector have goroutines of their own for the next batch, or the reader does it all.
	// fill is how full the source is, in percent.
	apart func(fill int) bool
}

// Run reads src to its end, or until ctx is done, and hands everything that is said to the sinks. Rows and findings
// up to an error of the source are all written before it is returned; it does not close src.
func Run(ctx context.Context, cfg Config, src capture.Source, sinks ...Sink) (Stats, error) {
	e, err := newEngine(cfg, src, sinks)
	if err != nil {
		return Stats{}, err
	}
	return e.run(ctx)
}

func newEngine(cfg Config, src capture.Source, sinks []Sink) (*engine, error) {
	home, err := cfg.home()
	if err != nil {
		return nil, err
	}
	if cfg.Indicators == nil {
		set, err := intel.BuiltIn(time.Now())
		if err != nil {
			return nil, err
		}
		cfg.Indicators = intel.NewLive(set)
	}
	if cfg.MaxFlows <= 0 {
		cfg.MaxFlows = capture.DefaultMaxFlows
	}
	n := cfg.Workers
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	n = min(n, capture.ShardCount)
	e := &engine{recover: !cfg.Fragile, standAfter: standAfter, cfg: cfg, src: src, home: home, local: cfg.local(), balancers: home, rec: cfg.Recorder}
	if trust := cfg.ProxyProtocol.Trust; len(trust) > 0 {
		if e.balancers, err = detectors.ParseNetworks(trust); err != nil {
			return nil, err
		}
	}
	if _, e.live = src.(capture.LiveSource); e.live {
		e.apart = (&pace{now: time.Now, cpu: cpuTime}).apart
	} else {
		e.apart = func(int) bool { return n > 1 || cfg.Stages != nil }
	}
	e.beside = n >= sideBySide || cfg.Stages != nil
	batches := batchesPerStage * 3
	if e.beside {
		batches = batchesPerStage * 5
	}
	e.final = make(chan *batch, batches)
	e.free = make(chan *batch, batches)
	e.merge = make(chan *batch, batches)
	for range batches {
		e.free <- &batch{work: make([][]int32, n), out: make([][]event, n), text: make([][]byte, n), counts: make([]workCounts, n),
			said: make([][]saying, registry.Lanes), looks: make([]laneCounts, registry.Lanes)}
	}
	for i := range n {
		e.workers = append(e.workers, newWorker(e, i, n))
	}
	e.order = newOrderer(e)
	e.collect = newCollector(e, sinks)
	if f := e.collect.texts; f != nil {
		for _, w := range e.workers {
			w.rows = f.Rows()
		}
	}
	return e, nil
}

// detectors lists those of the registry and the caller's own.
func (e *engine) detectors() []detectors.Spec { return registry.Detectors(e.cfg.Detectors...) }

// rules lists what they may say.
func (e *engine) rules() []detectors.Rule { return registry.Rules(e.cfg.Detectors...) }

func (e *engine) run(ctx context.Context) (Stats, error) {
	var wg sync.WaitGroup
	if e.beside {
		capture.ReadAhead(e.src)
	}
	if e.live {
		stop := make(chan struct{})
		defer close(stop)
		e.pulse.spent[0].Store(int64(cpuTime()))
		go e.pulse.run(max(e.standAfter/beats, time.Millisecond), stop)
	}
	r, began := newReader(e), cpuTime()
	for _, w := range e.workers {
		wg.Go(func() {
			if e.cfg.Stages != nil {
				w.spent.measure()
			}
			for b := range w.in {
				w.spent.start()
				w.take(b)
				w.spent.stop()
				b.done.Done()
			}
		})
	}
	e.collecting(&wg)
	if e.cfg.Stages != nil {
		r.reads.measure()
		r.dissects.measure()
		defer runtime.UnlockOSThread()
		defer runtime.UnlockOSThread() // of the second stopwatch
	}
	r.run(ctx)
	for _, w := range e.workers {
		close(w.in)
	}
	close(e.merge)
	wg.Wait()
	if s := e.cfg.Stages; s != nil {
		*s = Stages{Read: r.reads.spent, Dissect: r.dissects.spent, Order: e.order.spent.spent, Collect: e.collect.spent.spent}
		s.Lane, s.Detect = longest(e.collect.lanes)
		for _, w := range e.workers {
			s.Work += w.spent.spent
		}
		s.Rest = max(cpuTime()-began-s.Total(), 0)
	}
	return e.collect.end()
}

// collecting starts what comes behind the workers: one goroutine for all, or one for each of its steps.
func (e *engine) collecting(wg *sync.WaitGroup) {
	stage := func(spent *stopwatch, in chan *batch, wait, take, pass func(*batch), end func()) {
		wg.Go(func() {
			if e.cfg.Stages != nil {
				spent.measure()
			}
			for b := range in {
				wait(b)
				spent.start()
				take(b)
				spent.stop()
				pass(b)
			}
			end()
		})
	}
	worked := func(b *batch) { b.done.Wait() }
	free := func(b *batch) { e.free <- b }
	if !e.beside {
		stage(&e.collect.spent, e.merge, worked, e.judge, free, func() {})
		return
	}
	lanes := e.collect.lanes
	stage(&e.order.spent, e.merge, worked, e.order.take, func(b *batch) {
		b.judged.Add(len(lanes))
		for _, l := range lanes {
			l.in <- b
		}
		e.final <- b
	}, func() {
		for _, l := range lanes {
			close(l.in)
		}
		close(e.final)
	})
	for _, l := range lanes {
		stage(&l.spent, l.in, func(*batch) {}, l.take, func(b *batch) { b.judged.Done() }, func() {})
	}
	stage(&e.collect.spent, e.final, func(b *batch) { b.judged.Wait() }, e.collect.take, free, func() {})
}

// judge does all that comes behind the workers.
func (e *engine) judge(b *batch) {
	e.order.take(b)
	for _, l := range e.collect.lanes {
		l.take(b)
	}
	e.collect.take(b)
}

// pass brings a batch to all workers, and then to the collector. If the reader did all that, the batch is its own again: with what
// was made of it, it is still in the cache.
func (e *engine) pass(b *batch, apart bool) (back *batch) {
	b.formats = apart && e.beside // else the collector's processor takes them from there: more work than making them
	if !apart {
		for _, w := range e.workers {
			w.take(b)
		}
		e.judge(b)
		return b
	}
	b.done.Add(len(e.workers))
	for _, w := range e.workers {
		w.in <- b
	}
	e.merge <- b
	return nil
}

// settle waits until all batches but the reader's are done with. Nobody else is in flows and detectors then.
func (e *engine) settle() {
	var idle []*batch
	for range cap(e.free) - 1 {
		idle = append(idle, <-e.free)
	}
	for _, b := range idle {
		e.free <- b
	}
}

func (b *batch) reset() {
	b.packets, b.hashes, b.ticks, b.shares, b.weirds = b.packets[:0], b.hashes[:0], b.ticks[:0], b.shares[:0], b.weirds[:0]
	b.Frames, b.last, b.err, b.report, b.closes, b.takesBack, b.begins = b.Frames[:0], false, nil, false, 0, false, nil
	clear(b.order)
	b.order, b.placed = b.order[:0], 0
	for i := range b.said {
		clear(b.said[i])
		b.said[i], b.looks[i].stood = b.said[i][:0], nil
	}
	for i := range b.work {
		b.work[i] = b.work[i][:0]
		clear(b.out[i])
		b.out[i] = b.out[i][:0]
		if cap(b.text[i]) > keepText {
			b.text[i] = nil // of a batch that was out of the ordinary
		}
		b.text[i] = b.text[i][:0]
	}
}

// deal hashes packet i and notes whose it is.
func (b *batch) deal(i int, seed *capture.Seed) {
	h := seed.Hash(&b.packets[i])
	b.hashes = append(b.hashes, h)
	w := int(h%capture.ShardCount) % len(b.work)
	b.work[w] = append(b.work[w], int32(i))
}

func (b *batch) lastOrdinal() uint64 {
	if n := len(b.Frames); n > 0 {
		return b.Frames[n-1].Ordinal
	}
	return 0
}
