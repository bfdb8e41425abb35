package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/registry"
)

const (
	// Flow timers run when packet time has moved on by this much.
	tickEvery = capture.Time(1e9)
	// Of a live source they run more often: what a packet waits for in vain is told soon after the wait is over, though
	// nothing else comes in its shard. All shards together take a few microseconds.
	tickLive = capture.Time(25e6)
)

// reader is the first stage: it fills batches with frames, dissects them, keeps the clock and deals the packets to the
// workers.
type reader struct {
	e               *engine
	filter          map[uint16]*capture.Filter // by link type
	dissect         *capture.Dissector
	batch           *batch // at hand
	spare           *batch // the next one; nil: free has it
	room            sharing
	reads, dissects stopwatch
	pos             uint64 // packets before it
	stats           Stats
	clock           capture.Time // the latest time that is known
	tickAt          capture.Time
	hints           []func(*capture.Packet) bool
	hintAt          capture.Time // when one of them told of an announced connection last
	apart           bool
	seed            capture.Seed // of the flow hash
	seeded          bool

	// Of a live source.
	reportAt capture.Time
	idle     int // batches in a row that were empty and went nowhere
	shed     capture.ShedLevel
}

func newReader(e *engine) *reader {
	r := &reader{e: e, filter: map[uint16]*capture.Filter{}, hintAt: math.MinInt64 / 2, room: sharing{limit: e.cfg.MaxFlows}}
	for _, x := range registry.Expects(nil) {
		r.hints = append(r.hints, x.Hint)
	}
	r.dissect = capture.NewDissector(capture.DissectConfig{
		IgnoreChecksums: e.cfg.checksums() == capture.ChecksumsIgnore,
		Outers:          e.outers,
		Weird:           func(w capture.Weird) { r.weird(&w) },
	})
	return r
}

// weird says something before the next packet.
func (r *reader) weird(w *capture.Weird) {
	b := r.batch
	b.weirds = append(b.weirds, event{pos: 2*(r.pos+uint64(len(b.packets))+1) - 1, ev: w})
}

// fresh gives an empty batch, as soon as there is one.
func (r *reader) fresh() *batch {
	b := r.spare
	if r.spare = nil; b == nil {
		b = <-r.e.free
	}
	b.reset()
	return b
}

// run reads the source to its end, or until ctx is done.
func (r *reader) run(ctx context.Context) {
	e := r.e
	for {
		b := r.fresh()
		r.batch, b.pos = b, r.pos
		r.reads.start()
		err := e.src.ReadBatch(&b.Batch)
		r.reads.stop()
		if err == nil && ctx.Err() != nil {
			err = ctx.Err()
			b.Frames = b.Frames[:0]
		}
		if e.live {
			r.heed(b)
		}
		if apart := e.apart(b.Fill); apart != r.apart {
			if r.apart = apart; !apart {
				e.settle()
			}
		}
		r.dissects.start()
		ferr := r.frames(b)
		r.dissects.stop()
		if ferr != nil {
			err = ferr
		}
		if e.live {
			r.wait(b)
			if err == nil && r.idles(b) {
				r.spare = b
				continue
			}
		}
		b.expects = r.clock.Sub(r.hintAt) <= capture.ExpectFor
		b.clock = r.clock
		r.pos += uint64(len(b.packets))
		r.stats.Dissect = r.dissect.Stats()
		b.stats = r.stats
		if b.report {
			r.dissect.RestartEtherTypes()
		}
		b.counted = b.report || len(b.ticks) > 0
		r.spare = e.pass(b, r.apart)
		if err != nil {
			r.end(err)
			return
		}
	}
}

// frames dissects the batch's frames.
func (r *reader) frames(b *batch) error {
	s := &r.stats
	if !r.seeded && len(b.Frames) > 0 {
		r.seeded = true
		r.seed = r.key(b)
		b.begins = &r.seed
		if o := r.e.outers; o != nil {
			o.Seed(r.seed)
		}
	}
	for i := range b.Frames {
		f := &b.Frames[i]
		s.Packets++
		s.Bytes += uint64(f.WireLen)
		if s.Packets == 1 {
			s.First = f.Time
		}
		s.First = min(s.First, f.Time)
		s.Last = max(s.Last, f.Time)
		if r.e.cfg.Filter != "" {
			match, err := r.match(f)
			if err != nil {
				return err
			}
			if !match {
				s.Filtered++
				if r.e.rec != nil {
					f.Data = nil // nobody records it
				}
				continue
			}
		}
		if r.clock = max(r.clock, s.Last); r.clock >= r.tickAt {
			r.tick(b, f.Ordinal)
		}
		r.room.share(b)
		before := len(b.packets)
		b.packets = r.dissect.Dissect(f, b.packets)
		for i := before; i < len(b.packets); i++ { // while they are in the cache
			b.deal(i, &r.seed)
			for _, hint := range r.hints {
				if hint(&b.packets[i]) {
					r.hintAt = r.clock
				}
			}
		}
	}
	if r.e.rec != nil {
		b.marks = slices.Grow(b.marks[:0], len(b.packets))[:len(b.packets)]
		clear(b.marks)
	}
	return nil
}

// key makes the key of the flow hash. Of a capture it is the same in every run, so that all that the order of flows and
// the room for them decides is, too, and comes from its first frame, which who sends packets does not know beforehand to
// the microsecond. A sensor that takes frames off the wire has a random one.
func (r *reader) key(b *batch) capture.Seed {
	n := b.Frames[0].Seed()
	if r.e.live && !b.Waits && r.e.recover { // tests, in which panics fly, repeat themselves
		var random [8]byte
		_, _ = rand.Read(random[:]) // never fails: crypto/rand
		n ^= binary.LittleEndian.Uint64(random[:])
	}
	return capture.NewSeed(n)
}

// match applies the filter, compiled for the frame's link type when that is first seen.
func (r *reader) match(f *capture.Frame) (bool, error) {
	c, ok := r.filter[f.Link]
	if !ok {
		var err error
		if c, err = capture.CompileFilter(r.e.cfg.Filter, f.Link); err != nil {
			return false, err
		}
		r.filter[f.Link] = c
	}
	return c.Match(f), nil
}

// tick lets the clock move on before the batch's next packet.
func (r *reader) tick(b *batch, ordinal uint64) {
	if n := len(b.ticks); n > 0 && b.ticks[n-1].n == len(b.packets) {
		b.ticks = b.ticks[:n-1] // nothing happened in between
	}
	r.dissect.Refresh()
	b.ticks = append(b.ticks, tick{len(b.packets), capture.At{Time: r.clock, Packet: ordinal}})
	every := tickEvery
	if r.e.live {
		every = tickLive
	}
	r.tickAt = r.clock - r.clock%every + every
}

// end lets the flows end, shard by shard, as they come in the order of events too: what all flows have to say then is
// more than all that is under way otherwise, and in one batch it was most of what the process ever took.
func (r *reader) end(err error) {
	if r.e.shunt != nil { // all of it before any flow ends: what is counted for one may be for a flow of another shard
		b := r.fresh()
		b.pos, b.takesBack, b.clock, b.stats, b.shed = r.pos, true, r.clock, r.stats, r.shed
		r.spare = r.e.pass(b, r.apart)
		r.spare = r.fresh()
		r.e.settle()
	}
	for i := 1; i <= capture.ShardCount; i++ {
		b := r.fresh()
		b.pos, b.closes, b.clock, b.stats, b.shed = r.pos, i, r.clock, r.stats, r.shed
		b.last = i == capture.ShardCount
		b.counted = b.last
		if !errors.Is(err, io.EOF) {
			b.err = err
		}
		r.spare = r.e.pass(b, r.apart)
	}
}
