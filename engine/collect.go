package engine

import (
	"fmt"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine/zeekview"
	"github.com/raytap/raytap/record"
)

// collector says what the detectors of lanes found, brings events to those that hear of findings, and writes. Whoever calls it, it
// is never called twice at the same time.
type collector struct {
	e     *engine
	sinks []Sink
	texts Formatter // one of sinks; may be nil
	judging
	env   *detectors.Env
	lanes []*lane
	said  [][]saying // by lane: what is not said yet of the batch at hand
	next  int        // no lane says anything about an event before this one
	zeek  *zeekview.View
	kept  *keeping // nil: no files are
	span  spans
	text  [][]byte // by worker: formatted rows of the batch at hand
	stats Stats    // as told last
	sums  Stats    // what the workers had counted last
	err   error

	watch    *watch
	spent    stopwatch
	recorded record.Counts

	findings, weirds, rows uint64
	told                   uint64     // findings, and what tells of them
	doubt                  *homeDoubt // nil: home was said
	seen                   *observing // nil: nobody observes

	clock, flushed capture.Time
	flushedAt      uint64 // told, when that was
}

func newCollector(e *engine, sinks []Sink) *collector {
	c := &collector{e: e, sinks: sinks, watch: e.newWatch(), next: noEvent}
	for _, s := range sinks {
		if f, ok := s.(Formatter); ok {
			c.texts = f
			break
		}
	}
	c.judging = newJudging(&e.cfg, e.rules(), c.found, func(u *detectors.Update) {
		c.told++
		c.say(u)
	}, c.made)
	if c.kept = newKeeping(&e.cfg); c.kept != nil {
		c.bus.Drop = func(f *detectors.Finding) bool {
			if c.tune.Drop(f) {
				return true
			}
			c.kept.finding(f)
			return false
		}
		c.bus.Add = c.kept.tell
	}
	c.env = &detectors.Env{Home: e.home, Users: e.cfg.users(), Settings: e.cfg.settings(), Rules: e.rules()}
	c.lanes = e.newLanes(c.env)
	for i, d := range e.detectors() {
		if !e.laned(&d) {
			c.bus.Enter(i + 1)
			d.New(c.env, c.bus)
		}
	}
	c.bus.Enter(detectors.After)
	c.doubt = newHomeDoubt(&e.cfg, e.home, c.bus)
	c.seen = newObserving(e.cfg.Observer, c.bus, func(r capture.Record) { c.say(r) })
	c.zeek = zeekview.New(zeekview.Options{More: e.cfg.LogMore}, func(r capture.Record) { c.say(r) })
	return c
}

// found says a finding.
func (c *collector) found(f *detectors.Finding) {
	c.told++
	if f.Rule != detectors.ChainRule { // which tells of others
		c.findings++
	}
	c.doubt.finding(f)
	switch {
	case c.e.rec != nil:
		f.File = c.e.rec.Finding(f)
	case c.e.cfg.SavedAs != nil:
		f.File = c.e.cfg.SavedAs(f)
	}
	c.say(f)
}

// made says a row that a detector has made.
func (c *collector) made(r capture.Record) {
	if x, ok := r.(*detectors.Incident); ok {
		x.Peer = c.e.cfg.Peer()
		if c.e.rec != nil {
			c.e.rec.Incident(x)
		}
	}
	c.say(r)
}

// tellEvery is how often it is looked whether findings that were said are to be told of again.
const tellEvery = 10 * time.Second

// say hands something to the sinks.
func (c *collector) say(ev any) {
	if _, ok := ev.(capture.Record); ok {
		c.rows++
	}
	for _, s := range c.sinks {
		s.Event(ev)
	}
}

// show hands a row to the sinks, formatted where the worker did that.
func (c *collector) show(x *event, r capture.Record) {
	if x.end == x.begin {
		c.say(r)
		return
	}
	c.rows++
	for _, s := range c.sinks {
		if s == Sink(c.texts) {
			c.texts.Formatted(r, int(x.log), c.text[x.worker][x.begin:x.end])
		} else {
			s.Event(r)
		}
	}
}

// event brings one event to detectors and logs: number n of the batch's order.
func (c *collector) event(n int, x *event) {
	ev := x.ev
	if x.unheard {
		c.kept.drop(fileOf(ev))
		return
	}
	c.zeek.Tunnels(ev)
	if weird, ok := ev.(*capture.Weird); ok {
		c.weirds++
		c.publish(n, ev)
		if c.zeek.Weird(weird) {
			c.say(ev)
		}
		return
	}
	waits := false
	if c.kept != nil {
		waits = c.kept.take(fileOf(ev))
		c.kept.call(ev)
	}
	c.seen.event(ev)
	c.publish(n, ev)
	if conn, ok := ev.(*capture.Conn); ok && c.e.rec != nil {
		c.e.rec.Conn(conn)
	}
	r := x.row
	if !x.decided {
		if r = c.zeek.Row(ev, x.from); x.over {
			r = nil
		}
	}
	switch {
	case r == nil:
	case waits:
		c.kept.row()
	default:
		c.show(x, r)
	}
}

// noEvent is a number beyond those of all events of a batch.
const noEvent = 1 << 30

// publish brings an event to the detectors of the collector, and says what those of lanes said of it, each in its turn.
func (c *collector) publish(n int, ev any) {
	if n < c.next {
		c.bus.Publish(ev)
		return
	}
	c.bus.Before = func(number int, clock bool) { c.saying(turn{n, clock, number}) }
	c.bus.Publish(ev)
	c.bus.Before = nil
}

// hear takes what lanes said of a batch.
func (c *collector) hear(said [][]saying) {
	c.said, c.next = append(c.said[:0], said...), noEvent
	for _, l := range c.said {
		if len(l) > 0 {
			c.next = min(c.next, l[0].event)
		}
	}
}

// saying says what lanes said before the turn of a detector.
func (c *collector) saying(until turn) {
	for until.event >= c.next {
		best := -1
		c.next = noEvent
		for i, l := range c.said {
			if len(l) == 0 {
				continue
			}
			c.next = min(c.next, l[0].event)
			if best < 0 || l[0].before(c.said[best][0].turn) {
				best = i
			}
		}
		if best < 0 || !c.said[best][0].before(until) {
			return
		}
		x := &c.said[best][0]
		c.said[best] = c.said[best][1:]
		if x.row != nil {
			c.bus.Rows(x.row)
		} else {
			c.bus.Draft(x.draft)
		}
	}
}

// take brings the events of a batch, and what the lanes say of them, to detectors and sinks, and the batch's frames back to the
// source.
func (c *collector) take(b *batch) {
	e := c.e
	c.watch.begin()
	if e.rec != nil && b.begins != nil {
		e.rec.Begin(*b.begins)
	}
	c.text = b.text
	c.hear(b.said)
	for n, x := range b.order[:b.placed] {
		c.kept.settle(x.pos, c.say)
		c.bus.Reading = x.reading
		c.seen.place(b, x.pos)
		c.event(n, x)
		c.stood(x)
	}
	c.bus.Reading = 0
	if e.rec != nil { // behind what was found in these packets: it keeps them
		e.rec.Batch(b.Frames, b.packets, b.hashes, b.marks)
		e.rec.Flush()
		c.recorded = e.rec.Counts()
	}
	for n, x := range b.order[b.placed:] {
		c.event(b.placed+n, x)
	}
	for i := range b.looks {
		for _, s := range b.looks[i].stood {
			c.event(-1, &event{ev: s})
		}
	}
	c.kept.settle(0, c.say)
	c.seen.batch(b.clock)
	if b.counted {
		before := c.sums.Flow
		c.sums.sum(b.counts)
		if e.rec != nil {
			e.rec.Passed(record.Count{Frames: c.sums.Flow.Shunted - before.Shunted, Bytes: c.sums.Flow.ShuntedBytes - before.ShuntedBytes})
			c.recorded = e.rec.Counts()
		}
	}
	c.stats = b.stats
	c.stats.Record = c.recorded
	c.stats.Flow, c.stats.ActiveFlows, c.stats.ShedBodies, c.stats.Panics = c.sums.Flow, c.sums.ActiveFlows, c.sums.ShedBodies, c.sums.Panics
	c.stats.Packets += c.sums.Flow.Shunted // they are counted as if they had been delivered
	c.stats.Bytes += c.sums.Flow.ShuntedBytes
	c.stats.Live.Received += c.sums.Flow.Shunted
	c.tally(b.looks)
	if e.cfg.Progress != nil {
		e.cfg.Progress(c.stats)
	}
	c.err = b.err
	if b.report {
		row, loss := c.span.end(c.stats, b.clock)
		row.peer = e.cfg.Peer()
		c.say(row)
		c.bus.Publish(loss)
		c.say(loss)
	}
	c.clock = b.clock
	b.Release()
	if e.live && !b.last && (c.told > c.flushedAt || c.clock-c.flushed >= flushEvery) {
		c.flush()
	}
}

// tally puts into the stats what the collector has counted, and the lanes.
func (c *collector) tally(looks []laneCounts) {
	s := &c.stats
	s.Findings, s.Weirds, s.Rows, s.RowsLost = c.findings, c.weirds, c.rows, rowsLost(c.sinks)
	s.Bundled, s.Written, s.LooksCut, s.LookWork = c.bus.Bundled(), c.bus.Written, c.bus.LooksCut, c.bus.LookWork
	for i := range looks {
		s.LooksCut += looks[i].cut
		s.LookWork += looks[i].work
	}
	s.Outsiders = c.doubt.outsiders()
	s.KeptBackBy, s.KeptBack = c.tune.KeptBack()
	s.Files = c.kept.stats()
}

// stood says that detectors and outputs stood still, if they did, over an event.
func (c *collector) stood(x *event) {
	s := c.watch.stood()
	if s == nil {
		return
	}
	s.At, s.Stage = capture.At{Time: c.clock}, fmt.Sprintf("detectors and outputs, over a %T", x.ev)
	c.event(-1, &event{ev: s})
}

// end says what is left to say.
func (c *collector) end() (Stats, error) {
	at := capture.At{Time: c.stats.Last, Packet: c.stats.Packets}
	var last [][]saying
	var looks []laneCounts
	for _, l := range c.lanes {
		last, looks = append(last, l.end(at)), append(looks, l.counts())
	}
	c.hear(last)
	c.bus.Before = func(number int, clock bool) { c.saying(turn{0, clock, number}) }
	c.bus.End(at)
	c.bus.Before = nil
	c.repeat.Flush()
	c.seen.end()
	c.tally(looks)
	rest := &statsRow{ts: c.stats.Last, s: c.stats}
	if c.e.live {
		rest, _ = c.span.end(c.stats, c.clock)
	}
	rest.peer = c.e.cfg.Peer()
	c.say(rest)
	c.stats.Rows = c.rows
	return c.stats, c.err
}
