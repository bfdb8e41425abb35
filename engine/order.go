package engine

import (
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/registry"
)

// orderer merges the workers' events by place, and does what takes all events in their order before detectors see them: pieces of
// files are put together over flows, and announced connections get their names. It belongs to one goroutine at a time.
type orderer struct {
	e        *engine
	at       []int // by list of events: how many were taken
	batch    *batch
	place    uint64 // of the event at hand, and its reading
	reading  uint8
	expected capture.Expectations
	joined   *file.Joined
	spent    stopwatch
}

func newOrderer(e *engine) *orderer {
	o := &orderer{e: e, at: make([]int, len(e.workers)+1)}
	o.joined = file.NewJoined(file.NewCache(file.Options{HashLimit: registry.HashLimit, Copies: e.cfg.copies()}), func(ev any, from capture.Provenance) {
		o.event(&event{pos: o.place, reading: o.reading, from: from, ev: ev})
	})
	return o
}

// take puts the batch's events in order.
func (o *orderer) take(b *batch) {
	o.batch = b
	lists := append(b.out[:len(b.out):len(b.out)], b.weirds)
	clear(o.at)
	for {
		best := -1
		for i, l := range lists {
			if o.at[i] < len(l) && (best < 0 || less(&l[o.at[i]], &lists[best][o.at[best]])) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		x := &lists[best][o.at[best]]
		o.place, o.reading = x.pos, x.reading
		o.event(x)
		o.at[best]++
	}
	b.placed, o.place, o.reading = len(b.order), 0, 0
	if o.e.live {
		o.joined.Advance(b.clock)
	}
	if b.last {
		o.joined.End()
	}
}

// event takes the next event.
func (o *orderer) event(x *event) {
	switch ev := x.ev.(type) {
	case *file.Piece:
		o.joined.Take(ev, x.from)
		return
	case *capture.Conn:
		n := len(ev.Services)
		if o.expected.Event(ev); len(ev.Services) != n { // an announced connection has its name, which its row has to say
			x.end = x.begin
		}
	case *capture.Awaited:
		o.expected.Event(ev)
		x.ev, x.unheard = ev.Event, !o.expected.Announced(ev)
	default:
		o.expected.Event(ev)
	}
	if f, ok := x.ev.(*file.File); ok && !x.decided && !x.unheard { // made here, or changed since
		o.e.placed(f)
	}
	o.batch.order = append(o.batch.order, x)
}

func less(a, b *event) bool {
	if a.pos != b.pos {
		return a.pos < b.pos
	}
	return a.shard < b.shard
}
