// Package raytap is the engine: it reads frames from a source, turns them into events on all processors and brings
// the events, in the order of their packets, to detectors and sinks.
//
//	src, err := capture.OpenFile("x.pcap")
//	stats, err := raytap.Run(ctx, raytap.DefaultConfig(), src, sink)
//
// One goroutine reads and dissects, Workers goroutines drive the flow tables and decoders, and one merges, detects and
// writes. Where a single processor is enough, the first does it all, batch by batch: with one worker, and of a live
// source as long as it keeps up. Output is byte-identical for any number of workers: flows belong to one of a fixed
// number of shards, and events carry the place in the capture where they arose.
package raytap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/services"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/intel"
)

// Sink takes what a run says, in order and one at a time: records (capture.Record) for logs and *detectors.Finding. What
// it does not know it ignores.
type Sink interface {
	Event(ev any)
}

// Flusher is a Sink that holds back what it was told. Of a live source Flush is called a few times in a second, behind
// each batch with a finding in it too, so that what was said can be read at once.
type Flusher interface {
	Sink
	Flush()
}

const (
	// Batches on their way. Two for each stage keep all of them busy; more only spreads over the cache.
	batchesPerStage = 2
	// Flow timers run when packet time has moved on by this much.
	tickEvery = capture.Time(1e9)
)

// event is something a shard said, with its place: position, then shard. Packet n of those that the dissector made,
// counted from 1, has the position 2n; what the clock did before it has 2n-1.
type event struct {
	pos   uint64
	shard uint32
	aside bool // read out of packets that Zeek does not read
	begun bool // aside: Zeek sees the flow begin
	ev    any
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
	work    [][]int32 // by worker: which packets are its own
	ticks   []tick
	weirds  []event
	out     [][]event // by worker
	stats   Stats     // of the reader so far
	last    bool
	err     error
	done    sync.WaitGroup
	ftp     bool         // data connections were arranged lately
	closes  int          // no frames: the shard of this number, from 1, ends
	counted bool         // the workers bring their counts: once in a second of packet time, and at the end
	counts  []workCounts // by worker

	// Of a live source.
	clock  capture.Time // the latest time that is known
	shed   capture.ShedLevel
	report bool // a span of statsEvery ends here
}

// workCounts are what a worker has counted.
type workCounts struct {
	flow   capture.Counters
	active int    // flows in its tables
	bodies uint64 // that were not looked into
	panics uint64
}

// engine is one run.
type engine struct {
	cfg     Config
	src     capture.Source
	filter  map[uint16]*capture.Filter
	live    bool
	home    *detectors.Networks
	local   *detectors.Networks
	free    chan *batch
	merge   chan *batch
	workers []*worker
	collect *collector
	recover bool
	// apart says whether workers and collector have goroutines of their own for the next batch, or the reader does it all.
	// fill is how full the source is, in percent.
	apart func(fill int) bool
}

type worker struct {
	e      *engine
	id     int
	in     chan *batch
	shards []*capture.Shard // by shard number, nil where it is another's
	interp []func(any) any
	batch  *batch
	shard  uint32
	pos    uint64
	panics uint64
	shed   capture.ShedLevel
	bodies uint64 // that were not looked into
	end    capture.At
}

// Run reads src to its end, or until ctx is done, and hands everything that is said to the sinks. Rows and findings
// up to an error of the source are all written before it is returned; it does not close src.
func Run(ctx context.Context, cfg Config, src capture.Source, sinks ...Sink) (Stats, error) {
	return run(ctx, cfg, src, true, sinks)
}

func run(ctx context.Context, cfg Config, src capture.Source, recoverPanics bool, sinks []Sink) (Stats, error) {
	e, err := newEngine(cfg, src, sinks)
	if err != nil {
		return Stats{}, err
	}
	e.recover = recoverPanics
	return e.run(ctx)
}

func newEngine(cfg Config, src capture.Source, sinks []Sink) (*engine, error) {
	home, err := cfg.home()
	if err != nil {
		return nil, err
	}
	if cfg.Indicators == nil {
		set, _, err := LoadIntel(cfg.Intel)
		if err != nil {
			return nil, err
		}
		cfg.Indicators = intel.NewLive(set)
	}
	n := cfg.Workers
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	n = min(n, capture.ShardCount)
	e := &engine{cfg: cfg, src: src, filter: map[uint16]*capture.Filter{}, home: home, local: cfg.local()}
	if _, e.live = src.(capture.LiveSource); e.live {
		e.apart = (&pace{now: time.Now, cpu: cpuTime}).apart
	} else {
		e.apart = func(int) bool { return n > 1 }
	}
	batches := batchesPerStage * 3
	e.free = make(chan *batch, batches)
	e.merge = make(chan *batch, batches)
	for range batches {
		e.free <- &batch{work: make([][]int32, n), out: make([][]event, n), counts: make([]workCounts, n)}
	}
	for i := range n {
		w := &worker{e: e, id: i, in: make(chan *batch, batches), shards: make([]*capture.Shard, capture.ShardCount), interp: Interpreters(home)}
		specs := decodersFor(home, w.shedding) // HTTP first
		nameSpecs := append(specs[:len(specs):len(specs)], dns.AnySpec())
		fc := capture.FlowConfig{
			MaxFlows: cfg.MaxFlows / capture.ShardCount, IgnoreChecksums: cfg.IgnoreChecksums, Emit: w.emit,
			Local: func(addr [16]byte, v6 bool) bool {
				p := capture.Packet{Src: addr, V6: v6}
				return e.local.Contains(p.SrcAddr())
			},
			Dear: callsRay,
		}
		if !cfg.LogMore {
			fc.Admits = asZeek
		}
		open := func(transfers *services.Transfers) func(capture.Host, bool) capture.Stream {
			return func(h capture.Host, mid bool) capture.Stream {
				_, port := h.Ports()
				list := specs
				if dns.Port(0, port) || dns.Port(capture.ProtoUDP, port) {
					list = nameSpecs
				}
				mux := decoders.NewMux(h, list, mid)
				if http.Port(port) && !mid {
					return http.Beside(h, mux, specs[0])
				}
				return transfers.Watch(h, mux, mid, w.batch.ftp)
			}
		}
		carried := file.NewCache(file.Options{HashLimit: hashLimit})
		for s := i; s < capture.ShardCount; s += n {
			fc.Open = open(services.NewTransfers(carried))
			w.shards[s] = capture.NewShard(fc)
		}
		e.workers = append(e.workers, w)
	}

	e.collect = newCollector(e, sinks)
	return e, nil
}

func (e *engine) run(ctx context.Context) (Stats, error) {
	var wg sync.WaitGroup
	for _, w := range e.workers {
		wg.Go(func() {
			for b := range w.in {
				w.take(b)
				b.done.Done()
			}
		})
	}
	wg.Go(func() {
		for b := range e.merge {
			b.done.Wait()
			e.collect.take(b)
			e.free <- b
		}
	})
	e.read(ctx)
	wg.Wait()
	return e.collect.end()
}

// read fills batches with frames, dissects them and deals the packets to the workers.
func (e *engine) read(ctx context.Context) {
	var stats Stats
	var pos uint64
	var next, report, clock capture.Time
	ftp := capture.Time(math.MinInt64 / 2) // when data connections were arranged last
	var idle int                           // batches in a row that were empty and went nowhere
	var shed capture.ShedLevel
	var apart bool
	var cur *batch
	dissect := capture.NewDissector(capture.DissectConfig{
		IgnoreChecksums: e.cfg.IgnoreChecksums,
		Weird: func(w capture.Weird) {
			cur.weirds = append(cur.weirds, event{pos: 2*(pos+uint64(len(cur.packets))+1) - 1, ev: &w})
		},
	})
	for {
		b := <-e.free
		cur = b
		b.reset()
		b.pos = pos
		err := e.src.ReadBatch(&b.Batch)
		if err == nil && ctx.Err() != nil {
			err = ctx.Err()
			b.Frames = b.Frames[:0]
		}
		if e.live {
			if l := shedAt(shed, b.Fill); l != shed {
				shed = l
				b.weirds = append(b.weirds, event{pos: 2*(pos+1) - 1, ev: &capture.Weird{
					At: capture.At{Time: clock}, Name: "sensor_sheds", Addl: l.String()}})
			}
			b.shed, stats.Live = shed, b.Live
			select {
			case next := <-e.cfg.Reload:
				e.settle()
				e.collect.reload(next)
			default:
			}
		}
		if a := e.apart(b.Fill); a != apart {
			if apart = a; !apart {
				e.settle()
			}
		}
		for i := range b.Frames {
			f := &b.Frames[i]
			stats.Packets++
			stats.Bytes += uint64(f.WireLen)
			if stats.Packets == 1 {
				stats.First = f.Time
			}
			stats.First = min(stats.First, f.Time)
			stats.Last = max(stats.Last, f.Time)
			if e.cfg.Filter != "" {
				match, ferr := e.match(f)
				if ferr != nil {
					err = ferr
					break
				}
				if !match {
					stats.Filtered++
					continue
				}
			}
			if clock = max(clock, stats.Last); clock >= next {
				if n := len(b.ticks); n > 0 && b.ticks[n-1].n == len(b.packets) {
					b.ticks = b.ticks[:n-1] // nothing happened in between
				}
				b.ticks = append(b.ticks, tick{len(b.packets), capture.At{Time: clock, Packet: f.Ordinal}})
				next = clock - clock%tickEvery + tickEvery
			}
			before := len(b.packets)
			b.packets = dissect.Dissect(f, b.packets)
			for i := before; i < len(b.packets); i++ {
				if services.Arranges(&b.packets[i]) {
					ftp = clock
				}
			}
		}
		b.ftp = clock.Sub(ftp) <= services.ExpectFor
		if e.live {
			if clock = max(clock, b.Clock); clock >= next && clock > 0 {
				b.ticks = append(b.ticks, tick{len(b.packets), capture.At{Time: clock, Packet: stats.Packets}})
				next = clock - clock%tickEvery + tickEvery
			}
			if clock >= report {
				b.report = report > 0
				report = clock - clock%statsEvery + statsEvery
			}
			if idle++; len(b.Frames) == 0 && err == nil && !b.report && len(b.ticks)+len(b.weirds) == 0 && idle < passIdle {
				e.free <- b
				continue
			}
			idle = 0
		}
		b.clock = clock
		b.deal(len(e.workers))
		pos += uint64(len(b.packets))
		stats.Dissect = dissect.Stats()
		b.stats = stats
		b.counted = b.report || len(b.ticks) > 0
		e.pass(b, apart)
		if err == nil {
			continue
		}
		// Shard by shard, as they come in the order of events too: what all flows have to say at their end is more than all
		// that is under way otherwise, and in one batch it was most of what the process ever took.
		for i := 1; i <= capture.ShardCount; i++ {
			b := <-e.free
			b.reset()
			b.pos, b.closes, b.clock, b.stats, b.shed = pos, i, clock, stats, shed
			b.last = i == capture.ShardCount
			b.counted = b.last
			if !errors.Is(err, io.EOF) {
				b.err = err
			}
			e.pass(b, apart)
		}
		for _, w := range e.workers {
			close(w.in)
		}
		close(e.merge)
		return
	}
}

// pass brings a batch to all workers, and then to the collector.
func (e *engine) pass(b *batch, apart bool) {
	if !apart {
		for _, w := range e.workers {
			w.take(b)
		}
		e.collect.take(b)
		e.free <- b
		return
	}
	b.done.Add(len(e.workers))
	for _, w := range e.workers {
		w.in <- b
	}
	e.merge <- b
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
	b.packets, b.hashes, b.ticks, b.weirds = b.packets[:0], b.hashes[:0], b.ticks[:0], b.weirds[:0]
	b.Frames, b.last, b.err, b.report, b.closes = b.Frames[:0], false, nil, false, 0
	for i := range b.work {
		b.work[i] = b.work[i][:0]
		clear(b.out[i])
		b.out[i] = b.out[i][:0]
	}
}

// deal hashes the packets and notes whose they are.
func (b *batch) deal(workers int) {
	for i := range b.packets {
		h := capture.FlowHash(&b.packets[i])
		b.hashes = append(b.hashes, h)
		w := int(h%capture.ShardCount) % workers
		b.work[w] = append(b.work[w], int32(i))
	}
}

// match applies the filter, compiled for the frame's link type when that is first seen.
func (e *engine) match(f *capture.Frame) (bool, error) {
	c, ok := e.filter[f.Link]
	if !ok {
		var err error
		if c, err = capture.CompileFilter(e.cfg.Filter, f.Link); err != nil {
			return false, err
		}
		e.filter[f.Link] = c
	}
	return c.Match(f), nil
}

// take drives the worker's shards with the batch.
func (w *worker) take(b *batch) {
	w.batch = b
	if w.shed != b.shed {
		w.shed = b.shed
		for _, s := range w.shards {
			if s != nil {
				s.Shed = b.shed
			}
		}
	}
	for i, t := 0, 0; i <= len(b.work[w.id]); {
		i, t = w.run(i, t)
	}
	w.end = capture.At{Time: max(w.end.Time, b.clock), Packet: max(w.end.Packet, b.lastOrdinal())}
	if n := b.closes - 1; n >= 0 && w.shards[n] != nil {
		w.pos = 2 * (b.pos + 1)
		w.guarded(uint32(n), func(s *capture.Shard) { s.Close(w.end) })
	}
	if b.counted {
		b.counts[w.id] = w.count()
	}
}

// count sums what the worker and its shards have counted.
func (w *worker) count() workCounts {
	t := workCounts{bodies: w.bodies, panics: w.panics}
	for _, s := range w.shards {
		if s != nil {
			t.flow.Add(&s.Counters)
			t.active += s.Len()
		}
	}
	return t
}

// sum takes over what the workers had counted at the end of the batch.
func (s *Stats) sum(all []workCounts) {
	s.Flow, s.ActiveFlows, s.ShedBodies, s.Panics = capture.Counters{}, 0, 0, 0
	for i := range all {
		s.Flow.Add(&all[i].flow)
		s.ActiveFlows += all[i].active
		s.ShedBodies += all[i].bodies
		s.Panics += all[i].panics
	}
}

func (b *batch) lastOrdinal() uint64 {
	if n := len(b.Frames); n > 0 {
		return b.Frames[n-1].Ordinal
	}
	return 0
}

// run drives the worker's packets from the i-th on, and the clock from tick t on. It returns where to go on: behind
// the packet whose flow was quarantined if a bug of ours was hit, beyond the end otherwise.
func (w *worker) run(i, t int) (nextI, nextT int) {
	b := w.batch
	mine := b.work[w.id]
	if w.e.recover {
		defer func() {
			if r := recover(); r != nil {
				w.panicked(r)
				n := mine[i]
				w.shards[b.hashes[n]%capture.ShardCount].Quarantine(&b.packets[n], b.hashes[n])
				nextI, nextT = i+1, t
			}
		}()
	}
	for ; ; i++ {
		n := len(b.packets)
		if i < len(mine) {
			n = int(mine[i])
		}
		for ; t < len(b.ticks) && b.ticks[t].n <= n; t++ {
			at := b.ticks[t].at
			w.pos = 2*(b.pos+uint64(b.ticks[t].n)+1) - 1
			w.eachShard(func(s *capture.Shard) { s.Advance(at) })
		}
		if i >= len(mine) {
			return i + 1, t
		}
		w.shard = uint32(b.hashes[n] % capture.ShardCount)
		w.pos = 2 * (b.pos + uint64(n) + 1)
		w.shards[w.shard].Packet(&b.packets[n], b.hashes[n])
	}
}

// eachShard calls f for the worker's shards.
func (w *worker) eachShard(f func(*capture.Shard)) {
	for i, s := range w.shards {
		if s != nil {
			w.guarded(uint32(i), f)
		}
	}
}

// guarded calls f for a shard. A shard takes the decoder off a flow before it ends it, so calling f again after a panic
// gets further each time.
func (w *worker) guarded(i uint32, f func(*capture.Shard)) {
	w.shard = i
	if !w.e.recover {
		f(w.shards[i])
		return
	}
	for done := false; !done; {
		func() {
			defer func() {
				if r := recover(); r != nil {
					w.panicked(r)
				}
			}()
			f(w.shards[i])
			done = true
		}()
	}
}

func (w *worker) panicked(r any) {
	w.panics++
	w.emit(&capture.Weird{At: capture.At{Time: w.batch.stats.Last}, Name: "decoder_panic", Addl: fmt.Sprint(r)})
}

// emit takes an event of one of the worker's shards, and what the interpreters make of it.
func (w *worker) emit(ev any) {
	out := &w.batch.out[w.id]
	x, aside := ev.(*capture.Aside)
	if aside {
		ev = x.Event
	}
	*out = append(*out, event{w.pos, w.shard, aside, aside && x.Begun, ev})
	for _, f := range w.interp {
		if made := f(ev); made != nil {
			*out = append(*out, event{w.pos, w.shard, false, false, made})
			w.shards[w.shard].Keep()
		}
	}
}
