package raytap

import (
	"fmt"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/services"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/record"
)

// collector merges the workers' events by place and brings them to detectors and sinks. Whoever calls it, it is never
// called twice at the same time.
type collector struct {
	e        *engine
	sinks    []Sink
	bus      *detectors.Bus
	env      *detectors.Env
	repeat   *detectors.Suppressor
	tune     *detectors.Tuning
	odd      *weirdFilter
	certs    tls.Known
	arranged services.Expectations
	tunnels  *tunnelLog
	joined   *file.Joined
	span     spans
	over     bool  // the event at hand has no row
	at       []int // by list of events: how many were taken
	stats    Stats // as told last
	sums     Stats // what the workers had counted last
	err      error

	watch    *watch
	recorded record.Counts

	findings, weirds, rows uint64
	doubt                  *homeDoubt // nil: home was said

	clock, flushed capture.Time
	flushedAt      uint64 // findings, when that was
}

func newCollector(e *engine, sinks []Sink) *collector {
	c := &collector{e: e, sinks: sinks, at: make([]int, len(e.workers)+1), odd: newWeirdFilter(), watch: e.newWatch()}
	c.repeat = detectors.NewSuppressor(func(f *detectors.Finding) {
		c.findings++
		f.Mask()
		c.doubt.finding(f)
		switch {
		case e.rec != nil:
			f.File = e.rec.Finding(f)
		case e.cfg.SavedAs != nil:
			f.File = e.cfg.SavedAs(f)
		}
		c.say(f)
	})
	c.tune = detectors.NewTuning(&e.cfg.Rules, Rules())
	c.repeat.Rate = c.tune.Rate
	c.bus = detectors.NewBus(c.repeat.Report)
	c.bus.Drop = c.tune.Drop
	c.bus.Gather(c.repeat.Fold)
	c.bus.Rows = func(r capture.Record) {
		if x, ok := r.(*detectors.Incident); ok {
			x.Mask()
			if e.rec != nil {
				e.rec.Incident(x)
			}
		}
		c.say(r)
	}
	c.env = &detectors.Env{Home: e.home, Users: e.cfg.users(), Settings: e.cfg.settings()}
	for _, d := range Detectors() {
		d.New(c.env, c.bus)
	}
	c.doubt = newHomeDoubt(&e.cfg, e.home, c.bus)
	c.tunnels = newTunnelLog(c.say)
	c.joined = file.NewJoined(file.NewCache(file.Options{HashLimit: hashLimit}), c.event)
	return c
}

// say hands something to the sinks.
func (c *collector) say(ev any) {
	if _, ok := ev.(capture.Record); ok {
		c.rows++
	}
	for _, s := range c.sinks {
		s.Event(ev)
	}
}

// event brings one event to detectors and logs.
func (c *collector) event(ev any, aside, begun bool) {
	if p, ok := ev.(*file.Piece); ok {
		c.joined.Take(p, aside, begun)
		return
	}
	c.arranged.Event(ev) // names the data connections that FTP has announced
	if t, ok := ev.(*services.Transfer); ok {
		f := c.arranged.File(t)
		if f == nil {
			return
		}
		ev = f
	}
	c.tunnels.event(ev)
	if x, ok := ev.(*capture.Weird); ok {
		c.weirds++
		c.bus.Publish(ev)
		if c.odd.pass(x) {
			c.say(ev)
		}
		return
	}
	if f, ok := ev.(*file.File); ok && f.Flow != nil {
		f.Local = c.e.local.Contains(f.Flow.Src(f.Sender).Addr())
	}
	c.bus.Publish(ev)
	if x, ok := ev.(*capture.Conn); ok && c.e.rec != nil {
		c.e.rec.Conn(x)
	}
	if x, ok := ev.(*tls.Certificate); ok && !x.Doubted && !c.certs.First(x) {
		return // each has one row a day, as in Zeek
	}
	if _, ok := ev.(capture.Record); ok && !c.over {
		if !c.e.cfg.LogMore {
			ev = logged(ev, aside, begun)
		}
		if ev != nil {
			c.say(ev)
		}
	}
}

// take brings what the workers have put into the batch to detectors and sinks, and the batch's frames back to the source.
func (c *collector) take(b *batch) {
	e := c.e
	c.watch.begin()
	if e.rec != nil && b.begins != nil {
		e.rec.Begin(*b.begins)
	}
	c.merge(b)
	if e.rec != nil { // behind what was found in these packets: it keeps them
		e.rec.Batch(b.Frames, b.packets, b.hashes, b.marks)
		e.rec.Flush()
		c.recorded = e.rec.Counts()
	}
	c.watch.end()
	if e.live {
		c.joined.Advance(b.clock)
	}
	if b.last {
		c.joined.End()
	}
	if b.counted {
		c.sums.sum(b.counts)
	}
	c.stats = b.stats
	c.stats.Record = c.recorded
	c.stats.Flow, c.stats.ActiveFlows, c.stats.ShedBodies, c.stats.Panics = c.sums.Flow, c.sums.ActiveFlows, c.sums.ShedBodies, c.sums.Panics
	c.stats.Findings, c.stats.Weirds, c.stats.Rows, c.stats.RowsLost = c.findings, c.weirds, c.rows, rowsLost(c.sinks)
	c.stats.Bundled, c.stats.LooksCut = c.bus.Bundled(), c.bus.LooksCut
	c.stats.Outsiders = c.doubt.outsiders()
	c.stats.KeptBackBy, c.stats.KeptBack = c.tune.KeptBack()
	if e.cfg.Progress != nil {
		e.cfg.Progress(c.stats)
	}
	c.err = b.err
	if b.report {
		row, loss := c.span.end(c.stats, b.clock)
		row.peer = e.cfg.Sensor.Name
		c.say(row)
		c.bus.Publish(loss)
		c.say(loss)
	}
	c.clock = b.clock
	b.Release()
	if e.live && !b.last && (c.findings > c.flushedAt || c.clock-c.flushed >= flushEvery) {
		c.flush()
	}
}

// merge goes through the batch's events in the order of their places.
func (c *collector) merge(b *batch) {
	lists := append(b.out[:len(b.out):len(b.out)], b.weirds)
	clear(c.at)
	for {
		best := -1
		for i, l := range lists {
			if c.at[i] < len(l) && (best < 0 || less(&l[c.at[i]], &lists[best][c.at[best]])) {
				best = i
			}
		}
		if best < 0 {
			c.bus.Reading, c.over = 0, false
			return
		}
		x := &lists[best][c.at[best]]
		c.bus.Reading, c.over = x.reading, x.over
		c.event(x.ev, x.aside, x.begun)
		c.stood(x)
		c.at[best]++
	}
}

// stood says that detectors and outputs stood still, if they did, over an event.
func (c *collector) stood(x *event) {
	s := c.watch.stood()
	if s == nil {
		return
	}
	s.At, s.Stage = capture.At{Time: c.clock}, fmt.Sprintf("detectors and outputs, over a %T", x.ev)
	c.event(s, false, false)
}

// end says what is left to say.
func (c *collector) end() (Stats, error) {
	c.bus.End(capture.At{Time: c.stats.Last, Packet: c.stats.Packets})
	c.repeat.Flush()
	c.stats.Findings, c.stats.Weirds, c.stats.RowsLost = c.findings, c.weirds, rowsLost(c.sinks)
	c.stats.Bundled, c.stats.LooksCut = c.bus.Bundled(), c.bus.LooksCut
	c.stats.Outsiders = c.doubt.outsiders()
	c.stats.KeptBackBy, c.stats.KeptBack = c.tune.KeptBack()
	rest := &statsRow{ts: c.stats.Last, s: c.stats}
	if c.e.live {
		rest, _ = c.span.end(c.stats, c.clock)
	}
	rest.peer = c.e.cfg.Sensor.Name
	c.say(rest)
	c.stats.Rows = c.rows
	return c.stats, c.err
}

func less(a, b *event) bool {
	if a.pos != b.pos {
		return a.pos < b.pos
	}
	return a.shard < b.shard
}

// Zeek reads no HTTP, TLS and mail out of TCP whose beginning it did not see, no HTTP behind a loss between messages or
// behind a line that is none of HTTP, and no DNS on ports that are not its own. We do: interpreters and detectors get
// it all, but Zeek's logs stay as Zeek's readers know them, unless log_more is set.

// logged gives what the logs tell of a record: itself, a part of it, or nothing. aside says that its flow has packets
// with wrong checksums that were believed; begun, that Zeek sees the flow begin all the same.
func logged(ev any, aside, begun bool) any {
	if q, ok := ev.(*dns.Transaction); ok && aside && q.Flow.Proto == capture.ProtoUDP {
		if ev, aside = q.Checked(), false; q.Checked() == nil {
			return nil
		}
	}
	switch ev := ev.(type) { // Zeek has no rows of HTTP/2 that these could differ from
	case *http.Transaction:
		if ev.HTTP2() {
			return ev
		}
	case *http.Switched:
		return logged(&ev.Transaction, aside, begun)
	case *file.File:
		if ev.Source == "HTTP2" {
			return ev
		}
	}
	if aside && ofZeek(ev) && !(begun && byHalves(ev)) {
		return nil
	}
	switch ev := ev.(type) {
	case *http.Transaction:
		q, p := ev.Request, ev.Response
		if q != nil && (q.Resumed || q.Doubted) {
			q = nil
		}
		if p != nil && (p.Resumed || p.Doubted) {
			p = nil
		}
		if ev.Flow.Mid || q == nil && p == nil {
			return nil
		}
		if p != nil && p.Raw != nil {
			p = p.Raw
		}
		if q != nil && q.Body.Unseen {
			head := *q
			head.Body = http.Body{}
			q = &head
		}
		if p != nil && p.Body.Unseen {
			head := *p
			head.Body = http.Body{}
			p = &head
		}
		if q != ev.Request || p != ev.Response {
			part := *ev
			part.Request, part.Response = q, p
			if q == nil && ev.Request != nil {
				part.At = p.At
			}
			return &part
		}
	case *http.Late:
		if ev.Flow.Mid || aside {
			return nil
		}
	case *file.File:
		if ev.Flow.Mid && ev.Source != "SMB" || ev.Resumed || aside && !ev.Checked {
			return nil
		}
	case *tls.Session:
		if ev.Flow.Mid || ev.Checked() == nil {
			return nil
		}
		return ev.Checked()
	case *tls.Certificate:
		if ev.Flow.Mid || ev.Doubted {
			return nil
		}
	case *dns.Transaction:
		if ev.Unlogged || !dns.Port(ev.Flow.Proto, ev.Flow.Resp.Port()) {
			return nil
		}
	}
	return ev
}

// byHalves says whether a record knows what of it was in packets with right checksums.
func byHalves(ev any) bool {
	switch ev.(type) {
	case *http.Transaction, *file.File, *tls.Session, *tls.Certificate:
		return true
	}
	return false
}

// ofZeek says whether a record's log is one of Zeek's.
func ofZeek(ev any) bool {
	switch ev.(type) {
	case *http.Transaction, *dns.Transaction, *tls.Session, *tls.Certificate, *file.File, *socks.Request:
		return true
	}
	return false
}

// asZeek says whether Zeek would look for a service in a flow, or with mid, in one that was picked up in the middle or at
// a later beginning.
func asZeek(h capture.Host, mid bool, name string) bool {
	switch name {
	case "http", "ssl", "websocket":
		return !mid
	case "dns":
		f := h.Flow()
		return dns.Port(f.Proto, f.Resp.Port())
	}
	return true
}
