package engine

import (
	"bytes"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/record"
)

// What a run over a live source has beyond one over files: time goes on while nothing comes, rows reach the disk, every
// minute tells what was lost in it, under overload what tells least is left out before the source loses anything, and
// settings can be exchanged.

const (
	// Rows wait no longer than this for the disk while frames come,
	flushEvery = capture.Time(250e6)
	// and no longer than so many empty batches, of which a source gives ten a second. Even where no clock moves, a pipe
	// without a writer, they go through the engine: they are its sign of life.
	passIdle = 3
	// A row of stats.log and capture_loss.log.
	statsEvery = capture.Time(60e9)
)

const (
	// Percent of the source's storage in use from which on each level is shed. Half of a ring is what a stop of the
	// scheduler or the collector leaves behind and what is read off at once; the last seventh is for what sheds too late.
	shedBodiesAt = 50
	shedBulkAt   = 70
	shedNewAt    = 85
	// Below this nothing is shed any more; between, it stays as it is, so that it does not go back and forth.
	shedEndAt = 25
)

// shedAt is the level to go on with.
func shedAt(now capture.ShedLevel, fill int) capture.ShedLevel {
	switch {
	case fill < shedEndAt:
		return capture.ShedNothing
	case fill >= shedNewAt:
		return max(now, capture.ShedNewFlows)
	case fill >= shedBulkAt:
		return max(now, capture.ShedBulk)
	case fill >= shedBodiesAt:
		return max(now, capture.ShedBodies)
	}
	return now
}

// heed takes over what a live source says of itself, and new settings, before the batch's packets.
func (r *reader) heed(b *batch) {
	if l := shedAt(r.shed, b.Fill); l != r.shed && !b.Waits {
		r.shed = l
		r.weird(&capture.Weird{At: capture.At{Time: r.clock}, Name: "sensor_sheds", Addl: l.String()})
	}
	b.shed, r.stats.Live = r.shed, b.Live
	select {
	case next := <-r.e.cfg.Reload:
		r.e.settle()
		r.e.collect.reload(next)
	default:
	}
}

// standAfter is a standstill.
const standAfter = time.Second

// pulse is a clock that costs those who look at it the load of a word: a timer for each step of each stage had the runtime wake up
// the thread that waits for packets, several times for every block of them.
type pulse struct {
	beat  atomic.Int64
	spent [1024]atomic.Int64 // CPU time of the process, by beat
}

// beats is how often it beats in the time after which a step is a standstill.
const beats = 8

// run beats until stop is closed.
func (p *pulse) run(every time.Duration, stop <-chan struct{}) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			n := p.beat.Load() + 1
			p.spent[n%int64(len(p.spent))].Store(int64(cpuTime()))
			p.beat.Store(n)
		case <-stop:
			return
		}
	}
}

// watch tells when what it watches does not get on.
type watch struct {
	e     *engine
	beat  int64
	since time.Time
}

// newWatch makes a watch of a live run; nil otherwise, where what is said must not depend on the machine.
func (e *engine) newWatch() *watch {
	if !e.live {
		return nil
	}
	return &watch{e: e}
}

// begin says that the next step begins.
func (w *watch) begin() {
	if w != nil {
		w.since, w.beat = time.Now(), w.e.pulse.beat.Load()
	}
}

// late reports whether the step takes long.
func (w *watch) late() bool { return w != nil && w.e.pulse.beat.Load()-w.beat > beats }

// stood tells, behind a step, whether that took too long; the next one begins then.
func (w *watch) stood() *capture.Standstill {
	if !w.late() {
		return nil
	}
	p := &w.e.pulse
	n := max(w.beat, p.beat.Load()-int64(len(p.spent))+1)
	x := &capture.Standstill{Took: time.Since(w.since), Ran: cpuTime() - time.Duration(p.spent[n%int64(len(p.spent))].Load())}
	w.begin()
	return x
}

// wait lets the source's clock move on behind the batch's packets, and a minute end.
func (r *reader) wait(b *batch) {
	if r.clock = max(r.clock, b.Clock); r.clock >= r.tickAt && r.clock > 0 {
		r.tick(b, r.stats.Packets)
	}
	if r.clock >= r.reportAt {
		b.report = r.reportAt > 0
		r.reportAt = r.clock - r.clock%statsEvery + statsEvery
	}
}

// idles says whether the batch need not go anywhere.
func (r *reader) idles(b *batch) bool {
	r.idle++
	if len(b.Frames)+len(b.ticks)+len(b.weirds) == 0 && !b.report && r.idle < passIdle {
		return true
	}
	r.idle = 0
	return false
}

// shedding says whether a body is shed: any, but those that a call to Ray is read from, and packages of jobs that are kept.
func (w *worker) shedding(t *http.Transaction, resp bool) bool {
	if w.shed < capture.ShedBodies || ray.KeepBody(t, resp) > 0 || w.label != nil && w.label(t, resp) != 0 {
		return false
	}
	w.bodies++
	return true
}

// callsRay says whether a segment begins like a request to Ray's dashboard, whatever the port.
func callsRay(b []byte) bool {
	const line = 256 // the paths of the API are short
	method, rest, ok := bytes.Cut(b[:min(len(b), line)], []byte(" "))
	if !ok {
		return false
	}
	switch string(method) {
	case "GET", "POST", "PUT", "PATCH", "DELETE":
		return bytes.Contains(rest, []byte("/api/"))
	}
	return false
}

// pace decides whether the stages of a live run work apart. Handing batches from one goroutine to another doubles a
// sensor's context switches, and takes 4 % of the CPU time of HTTP and 12 % of that of bulk (measured in replay, where it
// can be told from noise). One goroutine that does all in turn keeps up with half a million packets in a second of short
// connections, and with more of anything else. So they part only when it does not.
type pace struct {
	now   func() time.Time
	cpu   func() time.Duration // of the process
	parts bool
	at    time.Time // since when the process is watched, zero: it is not
	spent time.Duration
}

const (
	// Percent of the source's storage in use from which the run is watched, well before anything is shed,
	partAt = 20
	// for so long: the stages part if it took that much of a processor in that time. If it did not, it waited for one,
	// and more goroutines would only wait as well.
	partAfter = 10 * time.Millisecond
	partFull  = 0.9
	// They are joined when all of them together took less than that of a processor for so long, with nothing waiting.
	joinAfter = time.Second
	joinBelow = 0.6
)

// apart is the answer for the next batch.
func (p *pace) apart(fill int) bool {
	if !p.parts && fill < partAt || p.parts && fill >= partAt {
		p.at = time.Time{}
		return p.parts
	}
	now := p.now()
	after, bound := partAfter, partFull
	if p.parts {
		after, bound = joinAfter, joinBelow
	}
	span := now.Sub(p.at)
	if !p.at.IsZero() && span < after {
		return p.parts
	}
	spent := p.cpu()
	if !p.at.IsZero() && (float64(spent-p.spent) >= bound*float64(span)) != p.parts {
		p.parts = !p.parts
		p.at = time.Time{}
		return p.parts
	}
	p.at, p.spent = now, spent
	return p.parts
}

// reload brings new settings into effect.
func (c *collector) reload(cfg *Config) {
	if next, err := cfg.home(); err == nil { // it was checked
		c.e.home.Replace(next)
	}
	c.e.local.Replace(cfg.local())
	c.env.Users.Replace(cfg.users())
	c.tune.Configure(&cfg.Rules, c.e.rules())
	c.env.Settings = cfg.settings()
	c.bus.Publish(&detectors.Reload{Env: c.env})
	for _, l := range c.lanes {
		l.reload(c.env.Settings)
	}
}

// flush brings what was said to where it can be read.
func (c *collector) flush() {
	c.flushed, c.flushedAt = c.clock, c.told
	for _, s := range c.sinks {
		if f, ok := s.(Flusher); ok {
			f.Flush()
		}
	}
}

// spans cuts a run into the intervals of stats.log.
type spans struct {
	before Stats
	at     capture.Time // where the last one ended
}

// end closes the interval: what the run has counted so far is total.
func (s *spans) end(total Stats, at capture.Time) (*statsRow, *capture.Loss) {
	begin := s.at
	if begin == 0 {
		begin = total.First
	}
	d := total
	subtract(reflect.ValueOf(&d).Elem(), reflect.ValueOf(&s.before).Elem())
	d.First, d.Last = begin, at
	d.KeptBackBy = keptSince(total.KeptBackBy, s.before.KeptBackBy)
	s.before, s.at = total, at
	loss := &capture.Loss{
		At: capture.At{Time: at, Packet: total.Packets}, Span: at.Sub(begin), Live: d.Live, Acks: d.Flow.Acks, Gaps: d.Flow.Gaps,
		AckedBytes: d.Flow.AckedBytes, Unseen: d.Flow.Unseen, Evicted: d.Flow.Evicted, Rows: d.RowsLost,
		Shed: d.ShedBodies + d.Flow.ShedNew, ShedBytes: d.Flow.ShedBytes,
	}
	return &statsRow{ts: at, s: d}, loss
}

// keptSince gives what was kept back beyond before.
func keptSince(now, before []detectors.KeptBack) (all []detectors.KeptBack) {
	had := map[string]uint64{}
	for _, k := range before {
		had[k.Rule] = k.N
	}
	for _, k := range now {
		if k.N -= had[k.Rule]; k.N > 0 {
			all = append(all, k)
		}
	}
	return all
}

// subtract takes the counters of w off those of v.
func subtract(v, w reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Uint64:
			f.SetUint(f.Uint() - w.Field(i).Uint())
		case reflect.Struct:
			subtract(f, w.Field(i))
		case reflect.Array: // of structs that are counters, or of what is none
			for j := range f.Len() {
				if f.Index(j).Type() == reflect.TypeFor[record.Count]() {
					subtract(f.Index(j), w.Field(i).Index(j))
				}
			}
		}
	}
}

// rowsLost sums what sinks could not write.
func rowsLost(sinks []Sink) (n uint64) {
	for _, s := range sinks {
		if l, ok := s.(interface{ Lost() uint64 }); ok {
			n += l.Lost()
		}
	}
	return n
}
