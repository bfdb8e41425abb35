// Package join makes of what several sensors saw what one sensor would have found that saw all of it.
//
// In: rows of observations.log (package observe) of any number of sensors, those of one sensor in their order (Joiner.Add). Out: findings
// and incidents of the whole, the inventory of the whole, and which sensors saw what (Config.Finding, Config.Incident, Config.Asset).
//
// The events of all sensors are put into the order of their packets' times, what two taps saw of the same packets is taken once, and the
// detectors that run in a sensor run over it, behind the same bus. So a campaign, a scan or a beacon is joined over sensors by the code
// that joins it in one. Findings of detectors that look at one flow alone, or at what a sensor alone knows, are taken from the sensors
// as they are (observe.Passed).
//
// Two flows are one if they have the same ends and began within Config.Skew of each other. Of what sensors say of one flow, each thing is
// taken as often as the sensor says it that says it most often; what is counted of a flow (its end, its progress) is taken from the sensor
// that told of it first, as long as that is there.
//
// Events wait until every sensor has told of their time. Who has not been heard of for Config.Wait is not waited for; what it brings later
// is taken as it comes, if it is not older than Config.Late, and counted. All time but that of packets is the time at which rows arrived,
// as the stream has it, so that a hub that reads the same rows again comes to the same results: this is how a hub goes on after a restart
// (Joiner.Resume), and how a second one is ready to take over. The names of findings and incidents do not depend on the run, so that what
// is said again is known again.
//
// It does not see: a connection of which one tap has one direction and another the other, as one; a fragmented packet whose pieces pass
// different taps; what sensors left out because they had too much to tell (Sensor.Lost).
package join

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/assets"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/fleet/observe"
	"github.com/raytap/raytap/interpreters"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
)

// Config says how to join. Default gives the defaults.
type Config struct {
	// Engine has networks that are home, rules, and sections of detectors. They should be those of the sensors.
	Engine engine.Config

	Wait    time.Duration // how long a sensor of which nothing is heard is waited for
	Late    time.Duration // how far behind what was told already an event may be
	Skew    time.Duration // by how much the clocks of two taps may differ
	Memory  time.Duration // how far back Resume goes at least: most detectors remember a job for an hour
	Longest time.Duration // how far back it goes at most, for an incident that is open
	Waiting int           // events that wait at most; the oldest are taken then, whoever has not told of their time

	// They are called by Add, Advance and End, on their goroutine.
	Finding  func(*Finding)
	Incident func(*Incident)
	Asset    func(*Asset)
	// Local is told of findings of a sensor that the joined view does not have: what it knows of a part does not hold of the whole, or
	// the sensor left out what it rests on. nil: nobody is.
	Local func(sensor string, f *detectors.Finding)
}

// Default gives the settings of a Joiner for which nothing is said.
func Default() Config {
	return Config{Engine: engine.Default(), Wait: 30 * time.Second, Late: time.Hour, Skew: 2 * time.Second, Memory: time.Hour, Longest: 24 * time.Hour, Waiting: 1 << 16}
}

// Finding is a finding of the whole.
type Finding struct {
	*detectors.Finding
	ID      string
	Sensors []string           // that saw what it rests on, sorted
	Told    []Told             // what they said of it themselves
	Update  bool               // it was given before; this is a later revision, or other sensors
	Was     detectors.Severity // of an update: with which it was given last
	Place   uint64             // of the last row that was taken when it was said
	Body    []byte             // as a row of notice.log in JSON
}

// Told is what a sensor calls a finding: ID and flow in its own logs, by which it finds the packets.
type Told struct {
	Sensor, ID, UID string
}

// Incident is an incident of the whole.
type Incident struct {
	*detectors.Incident
	Sensors []string // that saw a part of it, sorted
	Place   uint64
	Body    []byte // as a row of incidents.log in JSON
}

// Asset is a row of the inventory of the whole.
type Asset struct {
	*assets.Row
	Place uint64
	Body  []byte // as a row of assets.log in JSON
}

const (
	maxSensors  = 4096
	maxFlows    = 1 << 16
	maxFindings = 1 << 15
	maxLike     = 8 // flows with the same ends
	maxHosts    = 1 << 16
	maxLocals   = 1 << 14
	maxMarks    = 1 << 12
	// Events of one flow that are remembered, in case another tap tells of them too: all of the last seconds as long as there is room, and
	// some in any case.
	minSeen    = 32
	maxSeen    = 4096
	maxAllSeen = 1 << 20
	seenFor    = capture.Time(10 * time.Second)
	// A sensor that is further behind the others than lagging, and does not catch up, is waited for no longer than catchUp.
	lagging = capture.Time(10 * time.Second)
	catchUp = 2 * time.Minute
	// What is older than that when it arrives was captured before, and is published from a folder.
	captured = 10 * time.Minute
	// An incident that has grown is told of again after a minute (detectors/campaign).
	grown = capture.Time(2 * time.Minute)
	// Rows of a sensor that wait for one that was published before them.
	maxHeld = 256
	// What a sensor says alone is told of when the whole had so long to say the same.
	localWait = capture.Time(time.Minute)
)

var (
	// ErrSensors: there are more sensors than can be joined.
	ErrSensors = errors.New("join: too many sensors")
	// ErrOrder: a row came again, or before one that came before it.
	ErrOrder = errors.New("join: a row that came before, or out of order")
)

// Sensor is what is known of a sensor.
type Sensor struct {
	Name      string
	Run       string
	Heard     time.Time    // when a row arrived last
	Seen      capture.Time // up to which packet time it has told
	Behind    bool         // it is not waited for
	Ended     bool         // it said that its run is over
	Lost      observe.Lost // in this run
	Missing   uint64       // rows that never came
	Refused   uint64       // rows that could not be read
	Late      uint64       // events that were taken behind others that happened after them
	TooLate   uint64       // events that were older than Config.Late
	Future    uint64       // events from later than they arrived: its clock is wrong
	Twice     uint64       // events that another sensor had told of
	Events    uint64
	before    string              // the run before this one
	number    uint64              // of the last row that was taken
	held      map[uint64]heldPack // that came before one that was written before them
	n         int                 // in the order in which sensors came
	ahead     time.Duration       // of its clock, see Joiner.SetClock
	forgotten bool
	lag       capture.Time // behind the one that is ahead, at
	lagSince  time.Time
}

// lags notes how far a sensor is behind the one that is ahead, and reports whether it does not catch up: in the time that it is waited for
// it must come half of the way.
func (s *Sensor) lags(ahead capture.Time, now time.Time) bool {
	lag := ahead - s.Seen
	switch {
	case lag < lagging:
		s.lagSince = time.Time{}
		return false
	case s.lagSince.IsZero() || lag < s.lag/2:
		s.lagSince, s.lag = now, lag
	}
	return now.Sub(s.lagSince) > catchUp
}

type heldPack struct {
	p       *observe.Pack
	place   uint64
	arrived time.Time
}

// item is an event that waits.
type item struct {
	observe.Event
	s     *Sensor
	seq   uint64
	place uint64
	// Of a connection of which the sensor saw one direction: see half.go.
	half, client, oneSided bool
	// Of the flow, as the sensor has it: events that share it may have been given another name for it meanwhile.
	uid   string
	start capture.Time
	key   ends
}

func (a *item) before(b *item) bool {
	if a.Time != b.Time {
		return a.Time < b.Time
	}
	if a.s != b.s {
		return a.s.Name < b.s.Name
	}
	return a.seq < b.seq
}

type queue []*item

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].before(q[j]) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(*item)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return x
}

// mark says which row was the first that told of a time.
type mark struct {
	at    capture.Time
	place uint64
}

// Joiner joins. It belongs to one goroutine.
type Joiner struct {
	cfg     Config
	det     *engine.Detection
	sensors map[string]*Sensor
	list    []*Sensor // in the order in which they came
	queue   queue
	tail    []*item // of runs that are over
	tailAt  time.Time
	seq     uint64
	clock   capture.Time // up to which events were taken
	now     time.Time
	place   uint64

	flows    detectors.Table[ends, []*flow]
	byUID    detectors.Table[tapUID, *flow]
	hosts    detectors.Table[hostKey, set]
	said     detectors.Table[string, *said] // by Same
	ids      detectors.Table[string, *said]
	seen     int // events that are remembered of flows
	locals   []local
	localsAt capture.Time            // when they were looked through
	open     map[string]capture.Time // incidents that are open, with their beginning
	marks    []mark

	at             *flow // that the event at hand belongs to
	by             *Sensor
	out            []*said
	rows           *zeek.Findings
	read           observe.Reader
	interpret      *interpreters.Set
	halves         []*half // that wait, in the order in which they came
	forced, panics uint64
}

// New makes a Joiner.
func New(cfg Config) (*Joiner, error) {
	d := Default()
	cfg.Wait, cfg.Late, cfg.Skew = cmp.Or(cfg.Wait, d.Wait), cmp.Or(cfg.Late, d.Late), cmp.Or(cfg.Skew, d.Skew)
	cfg.Memory, cfg.Longest, cfg.Waiting = cmp.Or(cfg.Memory, d.Memory), cmp.Or(cfg.Longest, d.Longest), cmp.Or(cfg.Waiting, d.Waiting)
	j := &Joiner{cfg: cfg, sensors: map[string]*Sensor{}, open: map[string]capture.Time{}}
	j.flows.Limit, j.byUID.Limit, j.hosts.Limit = maxFlows, 2*maxFlows, maxHosts
	j.said.Limit, j.ids.Limit = maxFindings, maxFindings
	j.rows = zeek.NewFindings(registry.Rules(cfg.Engine.Detectors...))
	j.rows.Peer = cfg.Engine.Peer()
	home, err := detectors.ParseNetworks(homes(cfg.Engine.Home))
	if err != nil {
		return nil, err
	}
	j.interpret = interpreters.NewSet(registry.Interpreters(home)...)
	j.det, err = engine.NewDetection(cfg.Engine, engine.Passes{Without: observe.Passed}, j.say)
	return j, err
}

func homes(of []string) []string {
	if len(of) == 0 {
		return detectors.DefaultHome
	}
	return of
}

// Expect says that there is a sensor, so that it is waited for before its first row.
func (j *Joiner) Expect(name string, now time.Time) error {
	s, err := j.sensor(name)
	if err == nil && s.Heard.IsZero() {
		s.Heard = now
	}
	return err
}

// Forget says that a sensor is no more: it is not waited for.
func (j *Joiner) Forget(name string) {
	if s := j.sensors[name]; s != nil {
		s.forgotten = true
	}
}

// SetClock says by how much the clock of a sensor is ahead of the hub's, behind if it is negative. What it tells from then on is put right
// by that.
func (j *Joiner) SetClock(name string, ahead time.Duration) {
	if s, err := j.sensor(name); err == nil {
		s.ahead = ahead
	}
}

func (j *Joiner) sensor(name string) (*Sensor, error) {
	s := j.sensors[name]
	if s == nil {
		if len(j.sensors) >= maxSensors {
			return nil, ErrSensors
		}
		s = &Sensor{Name: name, n: len(j.list)}
		j.sensors[name] = s
		j.list = append(j.list, s)
	}
	return s, nil
}

// Sensors tells of all sensors, by name.
func (j *Joiner) Sensors() []Sensor {
	all := make([]Sensor, 0, len(j.list))
	for _, s := range j.list {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Sensor) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Stats are what a Joiner has counted.
type Stats struct {
	Waiting int          // events that wait
	Clock   capture.Time // up to which events were taken
	Forced  uint64       // events that were taken before every sensor had told of their time, because too many waited
	Panics  uint64       // events over which a detector failed: a bug, or a sensor that lies
}

// Stats gives what was counted so far.
func (j *Joiner) Stats() Stats {
	return Stats{Waiting: len(j.queue) + len(j.tail), Clock: j.clock, Forced: j.forced, Panics: j.panics}
}

// Add takes a row of observations.log in JSON. place numbers the rows of all sensors in the order in which they came (the sequence of the
// stream), arrived is when the stream took it. A row that came before is refused with ErrOrder.
func (j *Joiner) Add(sensor string, row []byte, place uint64, arrived time.Time) error {
	s, err := j.sensor(sensor)
	if err != nil {
		return err
	}
	p, err := observe.ParseRow(row)
	if err != nil {
		s.Refused++
		return fmt.Errorf("join: %s: %w", sensor, err)
	}
	j.now = later(j.now, arrived)
	j.place = max(j.place, place)
	s.Heard, s.forgotten = j.now, false
	x := heldPack{p, place, arrived}
	if p.Run == s.before && p.Run != s.Run { // the last of it, after the first of this one
		err = j.pack(s, x)
		j.take()
		return err
	}
	if p.Run != s.Run {
		err = j.unhold(s, true)
		s.before, s.Run, s.Ended, s.number = s.Run, p.Run, false, 0
		if p.Number > maxHeld { // the hub was not there when the run began
			s.number = p.Number - 1
		}
	}
	if _, ok := s.held[p.Number]; ok || p.Number <= s.number {
		return errors.Join(err, ErrOrder)
	}
	if s.held == nil {
		s.held = map[uint64]heldPack{}
	}
	s.held[p.Number] = x
	err = errors.Join(err, j.unhold(s, len(s.held) > maxHeld))
	j.take()
	return err
}

// unhold takes the rows of a sensor that are next; all that are held if those between them are given up.
func (j *Joiner) unhold(s *Sensor, giveUp bool) (err error) {
	for len(s.held) > 0 {
		x, ok := s.held[s.number+1]
		if !ok {
			if !giveUp {
				return err
			}
			next := slices.Min(slices.Collect(maps.Keys(s.held)))
			if s.number > 0 { // or else the run may have begun before the hub looked
				s.Missing += next - s.number - 1
			}
			s.number, x = next-1, s.held[next]
		}
		s.number++
		delete(s.held, s.number)
		err = errors.Join(err, j.pack(s, x))
	}
	return err
}

// pack takes the events of a row.
func (j *Joiner) pack(s *Sensor, row heldPack) error {
	p := row.p
	events, err := j.read.Read(p, -s.ahead)
	if err != nil { // what was read up to there is good
		s.Refused++
		err = fmt.Errorf("join: %s: %w", s.Name, err)
	}
	if p.Run == s.Run {
		s.Lost, s.Ended = p.Lost, p.Last
	}
	limit := capture.Time(row.arrived.Add(j.cfg.Late).UnixNano())
	seen := min(p.Time-capture.Time(s.ahead), limit)
	s.Seen = max(s.Seen, seen)
	var halves map[string]side
	if len(j.list) > 1 {
		halves = markHalves(events)
	}
	for i := range events {
		x := &item{Event: events[i], s: s, seq: j.seq, place: row.place}
		if x.Flow != nil {
			x.uid, x.start, x.key = x.Flow.UID, x.Flow.Start, endsOf(x.Flow)
		}
		if len(halves) > 0 && x.Flow != nil {
			if seen, ok := halves[x.Flow.UID]; ok {
				x.half, x.client, x.oneSided = isHalf(x.Event.Event, seen.client), seen.client, true
				seen.turn(x)
			}
		}
		j.seq++
		s.Events++
		switch {
		case x.Time > limit:
			s.Future++
			continue
		case x.End:
			j.tail = append(j.tail, x)
			j.tailAt = j.now
			continue
		case x.Time < j.clock-capture.Time(j.cfg.Late):
			s.TooLate++
			continue
		case x.Time < j.clock:
			s.Late++
		}
		heap.Push(&j.queue, x)
	}
	if n := len(j.marks); seen > 0 && (n == 0 || seen >= j.marks[n-1].at+capture.Time(time.Minute)) {
		j.marks = append(j.marks, mark{seen, row.place})
		if len(j.marks) > maxMarks { // every second one is enough
			for i := 0; i < len(j.marks)/2; i++ {
				j.marks[i] = j.marks[2*i]
			}
			j.marks = j.marks[:len(j.marks)/2]
		}
	}
	return err
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Advance says what time it is where rows arrive, when none came for a while.
func (j *Joiner) Advance(now time.Time) {
	j.now = later(j.now, now)
	j.take()
}

// End says that nothing more will come: what waits is taken, and detectors end. A hub that stops for a while does not call it.
func (j *Joiner) End() {
	for _, s := range j.list {
		_ = j.unhold(s, true) // counted
	}
	j.drain(1<<63 - 1)
	j.runsOver()
	j.expire(1<<63 - 1)
	j.guarded(func() { j.det.End(capture.At{Time: j.clock}) })
	j.tellLocals(1<<63 - 1)
	j.flush()
}

// Resume says which row a Joiner must begin with, in the next run of the hub, to know what this one knows.
func (j *Joiner) Resume() uint64 {
	since := j.clock - capture.Time(j.cfg.Memory)
	for _, first := range j.open {
		since = min(since, first)
	}
	since = max(since, j.clock-capture.Time(j.cfg.Longest))
	place := uint64(0)
	for _, m := range j.marks {
		if m.at > since {
			break
		}
		place = m.place
	}
	return place
}

// take takes the events that need not wait any longer.
func (j *Joiner) take() {
	low, waits := capture.Time(0), false
	ahead := capture.Time(0)
	for _, s := range j.list {
		ahead = max(ahead, s.Seen)
	}
	ahead = min(ahead, capture.Time(j.now.UnixNano())) // a clock that is fast makes nobody late
	for _, s := range j.list {
		if len(s.held) > 0 && j.now.Sub(s.oldest()) > j.cfg.Wait {
			_ = j.unhold(s, true) // counted
		}
		s.Behind = s.forgotten || j.now.Sub(s.Heard) > j.cfg.Wait || !s.Ended && s.lags(ahead, j.now)
		if s.Behind || s.Ended {
			continue
		}
		if !waits || s.Seen < low {
			low, waits = s.Seen, true
		}
	}
	if !waits { // nobody is waited for
		low = 1<<63 - 1
	}
	if (!waits || !j.live()) && len(j.queue) > 0 && j.now.Sub(j.heard()) <= j.cfg.Wait {
		low = 0 // captures are published one after the other, and what is older may follow
	}
	j.drain(low)
	for len(j.queue) > j.cfg.Waiting {
		j.forced++
		j.next()
	}
	if len(j.tail) > 0 && j.now.Sub(j.tailAt) > j.cfg.Wait {
		j.runsOver()
	}
	if waits && low < 1<<63-1 {
		j.expire(low)
	}
	if waits && low > j.clock {
		j.clock = low
		j.guarded(func() { j.det.Clock(capture.At{Time: low}) })
	}
	if j.clock-j.localsAt >= capture.Time(time.Second) {
		j.localsAt = j.clock
		j.tellLocals(j.clock - localWait)
	}
	j.flush()
}

// oldest is when the row arrived that is held longest.
func (s *Sensor) oldest() (t time.Time) {
	for _, x := range s.held {
		if t.IsZero() || x.arrived.Before(t) {
			t = x.arrived
		}
	}
	return t
}

// live reports whether a sensor tells of the present. All others publish what was captured some time ago.
func (j *Joiner) live() bool {
	return slices.ContainsFunc(j.list, func(s *Sensor) bool {
		return !s.forgotten && !s.Ended && j.now.Sub(s.Heard) <= j.cfg.Wait && s.Seen >= capture.Time(j.now.Add(-captured).UnixNano())
	})
}

// heard is when a row came last of those that are waited for, or whose runs are over.
func (j *Joiner) heard() (t time.Time) {
	for _, s := range j.list {
		if !s.Behind {
			t = later(t, s.Heard)
		}
	}
	return t
}

func (j *Joiner) drain(until capture.Time) {
	for len(j.queue) > 0 && j.queue[0].Time < until {
		j.next()
	}
}

func (j *Joiner) next() {
	x := heap.Pop(&j.queue).(*item)
	j.clock = max(j.clock, x.Time)
	j.expire(x.Time)
	j.event(x)
}

// runsOver takes what came because runs of sensors were over. One run over the whole would have told of it at its end.
func (j *Joiner) runsOver() {
	all := j.tail
	j.tail = nil
	slices.SortStableFunc(all, func(a, b *item) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for _, x := range all {
		j.clock = max(j.clock, x.Time)
		j.event(x)
	}
	if len(all) > 0 { // nothing follows of those runs
		j.expire(1<<63 - 1)
	}
	if !j.live() { // no clock goes on that would tell what an incident has become
		j.clock += grown
		j.guarded(func() { j.det.Clock(capture.At{Time: j.clock}) })
	}
}

// guarded calls f. What a sensor sends may be anything, and detectors take decoders at their word.
func (j *Joiner) guarded(f func()) {
	defer func() {
		if recover() != nil {
			j.panics++
		}
	}()
	f()
}

// event brings an event to the detectors, if no other sensor has told of it.
func (j *Joiner) event(x *item) {
	own, isFinding := x.Event.Event.(*detectors.Finding)
	passed := isFinding && observe.Passed[detectorOf(own.Rule)]
	if isFinding && !passed {
		j.local(x.s, own)
		return
	}
	if x.Flow != nil && !isFinding && len(j.list) > 1 {
		f, _ := j.flow(x)
		if f.waitsFor(x) {
			j.halve(f, x)
			return
		}
		if x.Kind == "conn" {
			j.known(f, x)
		}
	}
	j.plain(x)
}

// plain takes an event as it is.
func (j *Joiner) plain(x *item) {
	var f *flow
	tap := 0
	own, passed := x.Event.Event.(*detectors.Finding)
	if x.Flow != nil {
		if f, tap = j.flow(x); !f.takes(x, tap, &j.seen) {
			x.s.Twice++
			j.alsoSeen(f, x.s)
			if passed {
				j.local(x.s, own)
			}
			return
		}
		f.rename(x.Flow)
		switch y := x.Event.Event.(type) {
		case *capture.Conn:
			f.taps[tap].whole = f.taps[tap].whole || y.Pkts[0] > 0 && y.Pkts[1] > 0
		case *http.Transaction:
			f.taps[tap].whole = f.taps[tap].whole || y.Request != nil && y.Response != nil
		}
	}
	j.at, j.by = f, x.s
	j.guarded(func() {
		if passed {
			j.det.Finding(own)
		} else {
			j.det.Event(x.Event.Event, x.Reading)
		}
	})
	if passed {
		j.local(x.s, own)
	}
	j.at, j.by = nil, nil
}
