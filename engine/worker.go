package engine

import (
	"fmt"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/engine/zeekview"
	"github.com/raytap/raytap/interpreters"
	"github.com/raytap/raytap/record"
	"github.com/raytap/raytap/registry"
)

// worker drives every n-th shard: flow tables, reassembly, decoders and interpreters.
type worker struct {
	e      *engine
	id     int
	in     chan *batch
	shards []*capture.Shard // by shard number, nil where it is another's
	interp *interpreters.Set
	made   []any // by them, of the event at hand
	batch  *batch
	shard  uint32
	pos    uint64
	shares int // of the batch's, those that the shards have
	panics uint64
	shed   capture.ShedLevel
	bodies uint64 // that were not looked into
	end    capture.At
	watch  *watch
	spent  stopwatch
	label  func(t *http.Transaction, resp bool) file.Class // of files that are kept by their place; may be nil
	judge  *record.Judge                                   // of what is recorded; nil: nothing is
	view   zeekview.Options
	rows   capture.RowFormatter // nil: no sink wants rows formatted
}

// newWorker makes worker id of n.
func newWorker(e *engine, id, n int) *worker {
	w := &worker{e: e, id: id, in: make(chan *batch, cap(e.free)), shards: make([]*capture.Shard, capture.ShardCount), watch: e.newWatch(), view: zeekview.Options{More: e.cfg.LogMore}}
	fc := capture.FlowConfig{
		MaxFlows: e.cfg.MaxFlows / capture.ShardCount, Checksums: e.cfg.checksums(), Emit: w.emit,
		Wait: e.cfg.Order.Wait, WaitPackets: e.cfg.Order.Packets,
		Local: func(addr [16]byte, v6 bool) bool {
			p := capture.Packet{Src: addr, V6: v6}
			return e.local.Contains(p.SrcAddr())
		},
		Dear: callsRay,
	}
	w.label = registry.Labels(e.cfg.copies())
	kit := registry.NewKit(registry.Options{Home: e.home, Balancers: e.balancers, Shed: w.shedding, Copies: e.cfg.copies()})
	w.interp = kit.Interpreters
	if e.rec != nil {
		w.judge = e.rec.Judge()
	}
	streams := zeekview.NewStreams(kit.Decoders, kit.HTTP, zeekview.Options{More: e.cfg.LogMore})
	fc.Admits = streams.Admits()
	fc.Shunt = e.shunting(id, streams.Set(), w.judge)
	expects := registry.Expects(kit.Files)
	for s := id; s < capture.ShardCount; s += n {
		watchers := make([]decoders.Watcher, len(expects))
		for i := range expects {
			watchers[i] = expects[i].Open()
		}
		fc.Open = func(h capture.Host, mid bool) capture.Stream {
			mux, stream := streams.Open(h, mid)
			for i := 0; i < len(watchers) && stream == nil; i++ {
				stream = watchers[i](h, mux, mid, w.batch.expects)
			}
			if stream == nil {
				return mux
			}
			return stream
		}
		fc.Number = s
		w.shards[s] = capture.NewShard(fc)
	}
	return w
}

// take drives the worker's shards with the batch.
func (w *worker) take(b *batch) {
	w.batch = b
	w.watch.begin()
	if w.shed != b.shed {
		w.shed = b.shed
		for _, s := range w.shards {
			if s != nil {
				s.Shed = b.shed
			}
		}
	}
	w.shares = 0
	for i, t := 0, 0; i <= len(b.work[w.id]); {
		i, t = w.run(i, t)
	}
	w.end = capture.At{Time: max(w.end.Time, b.clock), Packet: max(w.end.Packet, b.lastOrdinal())}
	if b.takesBack {
		w.pos = 2 * (b.pos + 1)
		w.eachShard(func(s *capture.Shard) { s.TakeBack() })
	}
	if n := b.closes - 1; n >= 0 && w.shards[n] != nil {
		w.pos = 2 * (b.pos + 1)
		w.guarded(uint32(n), func(s *capture.Shard) { s.Close(w.end) })
	}
	if b.counted {
		b.counts[w.id] = w.count()
	}
}

// workCounts are what a worker has counted.
type workCounts struct {
	flow   capture.Counters
	active int    // flows in its tables
	bodies uint64 // that were not looked into
	panics uint64
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
			w.stood(nil, 0, at)
		}
		w.shareTo(n)
		if i >= len(mine) {
			return i + 1, t
		}
		w.shard = uint32(b.hashes[n] % capture.ShardCount)
		w.pos = 2 * (b.pos + uint64(n) + 1)
		p := &b.packets[n]
		w.shards[w.shard].Packet(p, b.hashes[n])
		if w.judge != nil {
			facts := w.shards[w.shard].Facts(p)
			b.marks[n] = w.judge.Mark(p, &facts)
		}
		if w.watch.late() {
			w.stood(p, b.hashes[n], capture.At{Time: p.Time, Packet: p.Ordinal})
		}
	}
}

// stood says that the worker stood still, if it did, over packet p or, with nil, over flows that ended.
func (w *worker) stood(p *capture.Packet, h uint64, at capture.At) {
	x := w.watch.stood()
	if x == nil {
		return
	}
	x.At, x.Stage = at, "flows and decoders"
	if p != nil {
		x.Flow = w.shards[w.shard].Identify(p, h)
	}
	w.emit(x)
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
	first := len(*out)
	at := event{pos: w.pos, shard: w.shard}
	if x, ok := ev.(*capture.Aside); ok {
		ev = x.Event
		at.from, at.reading, at.over = x.From, x.Reading, x.Over
	}
	at.ev = ev
	*out = append(*out, at)
	if w.judge != nil && w.judge.Treasures(ev) {
		w.shards[w.shard].Whole()
	}
	w.made = w.interp.Interpret(ev, w.made[:0])
	for _, made := range w.made {
		*out = append(*out, event{pos: w.pos, shard: w.shard, reading: at.reading, ev: made})
		w.shards[w.shard].Keep()
	}
	if w.batch.formats {
		for i := first; i < len(*out); i++ { // after interpreters, which may add to an event
			w.row(&(*out)[i])
		}
	}
}
