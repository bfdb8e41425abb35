package join

import (
	"slices"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/assets"
)

// said is a finding that was said.
type said struct {
	f       *detectors.Finding // as it stands
	id      string
	sensors set
	told    []Told
	was     detectors.Severity // with which it was given
	given   bool
	fresh   bool // there is something to give
}

// local is a finding of a sensor that the whole has not said yet.
type local struct {
	s *Sensor
	f *detectors.Finding
}

const maxTold = 64

func detectorOf(rule string) string {
	d, _, _ := strings.Cut(rule, "/")
	return d
}

// say takes what the detectors say.
func (j *Joiner) say(ev any) {
	switch x := ev.(type) {
	case *detectors.Finding:
		j.found(x, false)
	case *detectors.Update:
		j.found(x.Finding, true)
	case *detectors.Incident:
		if x.State == detectors.Open {
			j.open[x.ID] = x.First.Time
		} else {
			delete(j.open, x.ID)
		}
		j.flush() // what it rests on comes first
		if j.cfg.Incident != nil {
			x.Peer = j.rows.Peer
			j.cfg.Incident(&Incident{Incident: x, Sensors: j.names(j.sensorsOf(x)), Place: j.place, Body: j.rows.Row(x)})
		}
	case *assets.Row:
		if j.cfg.Asset != nil {
			j.cfg.Asset(&Asset{Row: x, Place: j.place, Body: j.rows.Row(x)})
		}
	}
}

// found takes a finding or an update of one.
func (j *Joiner) found(f *detectors.Finding, update bool) {
	id := f.ID()
	s := j.of(id)
	if s == nil {
		s = &said{id: id}
		*j.ids.Put(id) = s
	}
	s.f = f
	*j.said.Put(f.Same()) = s
	*j.said.Put(pairOf(f)) = s
	j.sawIt(s)
	j.change(s)
	// What sensors have said of it already.
	kept := j.locals[:0]
	for _, l := range j.locals {
		if !j.tells(s, l) {
			kept = append(kept, l)
		}
	}
	clear(j.locals[len(kept):])
	j.locals = kept
}

// sawIt adds the sensors that saw what a finding rests on.
func (j *Joiner) sawIt(s *said) {
	f := s.f
	switch {
	case f.Rule == detectors.ChainRule: // its incident tells
	case j.at != nil && f.Flow != nil && j.at.uid == f.Flow.UID:
		for _, t := range j.at.taps {
			s.sensors.add(t.s.n)
		}
		if !slices.Contains(j.at.told, s) && len(j.at.told) < maxTold {
			j.at.told = append(j.at.told, s)
		}
	case j.at == nil && j.by != nil: // of a flow that nobody knows
		s.sensors.add(j.by.n)
	}
	if f.Many || f.Flow == nil || len(s.sensors) == 0 {
		s.add(j.sawPair(f))
	}
}

// sawPair is who saw both parties of a finding, or else one of them.
func (j *Joiner) sawPair(f *detectors.Finding) set {
	var a, b set
	if p := j.hosts.Peek(hostKey{f.Src.Unmap()}); p != nil {
		a = *p
	}
	if p := j.hosts.Peek(hostKey{f.Dst.Unmap()}); p != nil {
		b = *p
	}
	if len(a) == 0 {
		return b
	}
	return both(a, b)
}

func (s *said) add(all set) {
	for _, n := range all {
		s.sensors.add(n)
	}
}

// of gives a finding by its id.
func (j *Joiner) of(id string) *said {
	if p := j.ids.Get(id); p != nil {
		return *p
	}
	return nil
}

// pairOf is what a finding of a sensor and one of the whole share, if they are not called the same.
func pairOf(f *detectors.Finding) string {
	return "\x00" + f.Rule + "\x00" + f.Src.String() + "\x00" + f.Dst.String()
}

func (j *Joiner) change(s *said) {
	if !s.fresh {
		s.fresh = true
		j.out = append(j.out, s)
	}
}

// alsoSeen says that a further tap saw an event of a flow.
func (j *Joiner) alsoSeen(f *flow, s *Sensor) {
	for _, t := range f.told {
		if before := len(t.sensors); true {
			if t.sensors.add(s.n); len(t.sensors) > before {
				j.change(t)
			}
		}
	}
}

// local takes a finding that a sensor made by itself.
func (j *Joiner) local(s *Sensor, f *detectors.Finding) {
	l := local{s, f}
	for _, p := range []**said{j.ids.Get(f.ID()), j.said.Get(f.Same())} {
		if p != nil && j.tells(*p, l) {
			return
		}
	}
	if len(j.locals) >= maxLocals {
		j.alone(j.locals[0])
		j.locals = slices.Delete(j.locals, 0, 1)
	}
	j.locals = append(j.locals, l)
}

// tells reports whether a finding of a sensor is one of the whole, and notes it there if it is.
func (j *Joiner) tells(s *said, l local) bool {
	if l.f.ID() != s.id && l.f.Same() != s.f.Same() {
		return false
	}
	j.note(s, l)
	return true
}

// note says that a sensor has said a finding of the whole, too.
func (j *Joiner) note(s *said, l local) {
	before := len(s.sensors)
	s.sensors.add(l.s.n)
	t := Told{Sensor: l.s.Name, ID: l.f.ID()}
	if l.f.Flow != nil {
		t.UID = l.f.Flow.UID
	}
	if !slices.Contains(s.told, t) && len(s.told) < maxTold {
		s.told = append(s.told, t)
		j.change(s)
	} else if len(s.sensors) > before {
		j.change(s)
	}
}

// tellLocals tells of findings of sensors that the whole did not say for a while.
func (j *Joiner) tellLocals(until capture.Time) {
	kept := j.locals[:0]
	for _, l := range j.locals {
		if l.f.Time < until {
			j.alone(l)
		} else {
			kept = append(kept, l)
		}
	}
	clear(j.locals[len(kept):])
	j.locals = kept
}

func (j *Joiner) alone(l local) {
	if p := j.said.Get(pairOf(l.f)); p != nil { // by the same rule of the same two: a part of it
		j.note(*p, l)
		return
	}
	if j.cfg.Local != nil {
		j.cfg.Local(l.s.Name, l.f)
	}
}

// flush gives findings that are new or have changed.
func (j *Joiner) flush() {
	all := j.out
	j.out = nil
	for _, s := range all {
		s.fresh = false
		if j.cfg.Finding != nil {
			told := slices.Clone(s.told)
			slices.SortFunc(told, func(a, b Told) int { return strings.Compare(a.Sensor+"\x00"+a.ID, b.Sensor+"\x00"+b.ID) })
			j.cfg.Finding(&Finding{Finding: s.f, ID: s.id, Sensors: j.names(s.sensors), Told: told, Update: s.given, Was: s.was, Place: j.place, Body: j.rows.Update(s.f, s.given)})
		}
		s.given, s.was = true, s.f.Severity
	}
}

// sensorsOf is who saw a part of an incident.
func (j *Joiner) sensorsOf(x *detectors.Incident) set {
	var all set
	for _, id := range x.FindingIDs {
		if s := j.of(id); s != nil {
			for _, n := range s.sensors {
				all.add(n)
			}
		}
	}
	for i := range x.Steps {
		if uid := x.Steps[i].UID; uid != "" {
			for _, s := range j.list {
				if p := j.byUID.Peek(tapUID{s.n, uid}); p != nil {
					for _, t := range (*p).taps {
						all.add(t.s.n)
					}
					break
				}
			}
		}
	}
	return all
}
