package engine

import (
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/registry"
)

// judging is what detectors run on, and what thins out what they say.
type judging struct {
	bus    *detectors.Bus
	repeat *detectors.Suppressor
	tune   *detectors.Tuning
}

// newJudging makes one that has no detectors yet. What it says is masked.
func newJudging(cfg *Config, rules []detectors.Rule, found func(*detectors.Finding), again func(*detectors.Update), row func(capture.Record)) judging {
	repeat := detectors.NewSuppressor(func(f *detectors.Finding) {
		f.Mask()
		found(f)
	})
	repeat.Again = func(u *detectors.Update) {
		u.Mask()
		again(u)
	}
	tune := detectors.NewTuning(&cfg.Rules, rules)
	repeat.Rate = tune.Rate
	bus := detectors.NewBus(repeat.Report)
	bus.Said, bus.Again, bus.Drop = repeat.Said, repeat.Revise, tune.Drop
	bus.Gather(repeat.Fold)
	bus.OnTick(tellEvery, repeat.Tick)
	bus.Rows = func(r capture.Record) {
		if x, ok := r.(*detectors.Incident); ok {
			x.Mask()
		}
		row(r)
	}
	return judging{bus, repeat, tune}
}

// Detection runs detectors over events that other runs have seen: those that Observers of sensors wrote down. It is what a collector does
// with events, without logs of protocols, files and packets. It belongs to one goroutine.
type Detection struct{ judging }

// Passes is what a Detection is told of those findings that it does not make itself.
type Passes struct {
	// Without are the detectors, by name, whose findings come from elsewhere, by Detection.Finding.
	Without map[string]bool
	// Heard, if set, is told of each finding before repetitions are taken out of them.
	Heard func(*detectors.Finding)
}

// NewDetection makes one by the networks, rules and detectors' sections of cfg. say takes *detectors.Finding and *detectors.Update as Sinks
// do, and the rows that detectors make: *detectors.Incident, *assets.Row.
func NewDetection(cfg Config, p Passes, say func(ev any)) (*Detection, error) {
	home, err := cfg.home()
	if err != nil {
		return nil, err
	}
	rules := registry.Rules(cfg.Detectors...)
	d := &Detection{newJudging(&cfg, rules,
		func(f *detectors.Finding) { say(f) }, func(u *detectors.Update) { say(u) }, func(r capture.Record) { say(r) })}
	if p.Heard != nil {
		detectors.On(d.bus, p.Heard)
	}
	env := &detectors.Env{Home: home, Users: cfg.users(), Settings: cfg.settings(), Rules: rules}
	for _, s := range registry.Detectors(cfg.Detectors...) {
		if !p.Without[s.Name] {
			s.New(env, d.bus)
		}
	}
	return d, nil
}

// Event hands an event to the detectors. reading is as in capture.Aside.
func (d *Detection) Event(ev any, reading uint8) {
	d.bus.Reading = reading
	d.bus.Publish(ev)
	d.bus.Reading = 0
}

// Finding says a finding that another run has made, with all that it was made with.
func (d *Detection) Finding(f *detectors.Finding) {
	if f.Flow != nil && f.Flow.Via != nil { // whom it speaks for was said
		flow := *f.Flow
		flow.Via = nil
		c := *f
		c.Flow, f = &flow, &c
	}
	d.bus.Report(f)
}

// Clock says that no event that follows is from before.
func (d *Detection) Clock(at capture.At) { d.bus.Publish(at) }

// End says that there will be no more.
func (d *Detection) End(at capture.At) {
	d.bus.End(at)
	d.repeat.Flush()
}
