package engine

import (
	"fmt"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/registry"
)

// Detectors that hear of events alone run in lanes, beside each other where there are processors for it: each lane takes the events
// of a batch in their order, and keeps what its detectors say with its place. The collector says it, in the order in which one
// goroutine would have: by event, the time before the event, and by detector. So a run says the same however it is spread.

// sideBySide is how many workers there are where lanes have goroutines of their own. Fewer need all the processors there are.
const sideBySide = 4

// turn is when a detector is called.
type turn struct {
	event  int  // in the batch's order
	clock  bool // for the time before it
	number int  // of the detector
}

// before reports whether t comes before u.
func (t turn) before(u turn) bool {
	switch {
	case t.event != u.event:
		return t.event < u.event
	case t.clock != u.clock:
		return t.clock
	}
	return t.number < u.number
}

// saying is what a detector of a lane said.
type saying struct {
	turn
	draft detectors.Draft
	row   capture.Record // in place of a finding; may be nil
}

// lane is some of the detectors, with what they share.
type lane struct {
	id    int
	in    chan *batch
	bus   *detectors.Bus
	env   *detectors.Env
	at    turn // of the detector at hand
	said  []saying
	clock capture.Time
	watch *watch
	spent stopwatch
}

// laneCounts are what the detectors of a lane have counted, and what it is to be told that it stood still.
type laneCounts struct {
	cut, work uint64
	stood     []*capture.Standstill
}

// laned reports whether a detector is a lane's. The others are the collector's.
func (e *engine) laned(d *detectors.Spec) bool { return e.beside && !d.Late }

// newLanes deals the detectors that may be to lanes. What is left is the collector's.
func (e *engine) newLanes(env *detectors.Env) []*lane {
	if !e.beside {
		return nil
	}
	all := make([]*lane, registry.Lanes)
	for i := range all {
		l := &lane{id: i, in: make(chan *batch, cap(e.free)), bus: detectors.NewBus(nil), watch: e.newWatch()}
		own := *env
		l.env = &own
		l.bus.Before = func(number int, clock bool) { l.at.number, l.at.clock = number, clock }
		l.bus.Defer = func(d detectors.Draft) { l.say(saying{draft: d}) }
		l.bus.Rows = func(r capture.Record) { l.say(saying{row: r}) }
		all[i] = l
	}
	for i, d := range e.detectors() {
		if e.laned(&d) {
			l := all[registry.Lane(&d)]
			l.bus.Enter(i + 1)
			d.New(l.env, l.bus)
		}
	}
	return all
}

func (l *lane) say(s saying) {
	s.turn = l.at
	l.said = append(l.said, s)
}

// take brings the batch's events to the detectors.
func (l *lane) take(b *batch) {
	l.said = b.said[l.id]
	l.watch.begin()
	var stood []*capture.Standstill
	for i, x := range b.order {
		if x.unheard {
			continue
		}
		l.at.event = i
		l.bus.Reading = x.reading
		l.bus.Publish(x.ev)
		if s := l.watch.stood(); s != nil {
			s.At, s.Stage = capture.At{Time: l.clock}, fmt.Sprintf("detectors, over a %T", x.ev)
			stood = append(stood, s)
		}
	}
	l.bus.Reading = 0
	l.clock = b.clock
	b.said[l.id] = l.said
	b.looks[l.id] = l.counts()
	b.looks[l.id].stood = stood
}

func (l *lane) counts() laneCounts { return laneCounts{cut: l.bus.LooksCut, work: l.bus.LookWork} }

// end lets the detectors say what is left.
func (l *lane) end(at capture.At) []saying {
	l.said, l.at.event = nil, 0
	l.bus.End(at)
	return l.said
}

// reload brings new settings to the detectors.
func (l *lane) reload(settings map[string]any) {
	l.env.Settings = settings
	l.bus.Publish(&detectors.Reload{Env: l.env})
}

// longest is the longest of the times that lanes took, and sum all of them together.
func longest(all []*lane) (most, sum time.Duration) {
	for _, l := range all {
		most, sum = max(most, l.spent.spent), sum+l.spent.spent
	}
	return most, sum
}
