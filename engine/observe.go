package engine

import (
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// An Observer sees what the detectors of a run see, in the same order. It belongs to the collector's goroutine, and does not change what
// it sees.
type Observer interface {
	// Begin comes first. say takes rows of logs, as from a detector.
	Begin(say func(capture.Record))
	// Place tells of the events that follow: the time of the packet that made them complete, which never runs backwards, and whether they
	// come because the run is over.
	Place(at capture.Time, end bool)
	// Event is what detectors get, and *detectors.Finding what they say, repetitions too. reading is as in capture.Aside.
	Event(ev any, reading uint8)
	// Clock says that no event that follows is from before. It comes after every batch, also an empty one of a live source.
	Clock(at capture.Time)
	End()
}

// observing brings events to the Observer of a run. A nil one does nothing.
type observing struct {
	o     Observer
	bus   *detectors.Bus
	clock capture.Time
}

func newObserving(o Observer, bus *detectors.Bus, say func(capture.Record)) *observing {
	if o == nil {
		return nil
	}
	x := &observing{o: o, bus: bus}
	o.Begin(say)
	detectors.On(bus, func(f *detectors.Finding) { o.Event(f, 0) })
	return x
}

// place tells where an event of the batch arose.
func (x *observing) place(b *batch, pos uint64) {
	if x == nil {
		return
	}
	at := b.clock
	if n := (pos+1)/2 - b.pos - 1; n < uint64(len(b.packets)) {
		at = b.packets[n].Time
	}
	x.clock = max(x.clock, at)
	x.o.Place(x.clock, b.closes > 0)
}

func (x *observing) event(ev any) {
	if x != nil {
		x.o.Event(ev, x.bus.Reading)
	}
}

// batch says that a batch is over.
func (x *observing) batch(clock capture.Time) {
	if x != nil {
		x.clock = max(x.clock, clock)
		x.o.Clock(x.clock)
	}
}

func (x *observing) end() {
	if x != nil {
		x.o.End()
	}
}
