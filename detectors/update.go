package detectors

import (
	"time"

	"github.com/raytap/raytap/capture"
)

// Update tells anew of a finding that was said, under the same ID and with the next Revision: how often it was seen by now,
// or what the incident that it tells of has come to. It is no further finding, and nobody is to be alarmed by it again, but
// for those whom Was did not reach.
type Update struct {
	*Finding          // as it stands now, a copy
	Was      Severity // with which it was said last
}

// againEvery is how soon a finding is told of again, if it was seen twice as often by then. What a scanner repeats for the
// whole of SuppressFor is told of a dozen times, however often that is.
const againEvery = time.Minute

// repeated takes down that a finding that was said was seen again at a time.
func (s *Suppressor) repeated(f *Finding, at capture.At) {
	if f.last.Time < at.Time {
		f.last = at
	}
	if f.told == 0 || f.waits || s.Again == nil { // it will be said with its count
		return
	}
	if len(s.waits) >= suppressTable {
		s.tell(s.waits[0])
		s.waits = s.waits[1:]
	}
	f.waits = true
	s.waits = append(s.waits, f)
}

// Tick tells of findings that were said and were seen again: when it was twice as often, and when what comes now would be
// said as new.
func (s *Suppressor) Tick(now capture.At) {
	kept := s.waits[:0]
	for _, f := range s.waits {
		over := now.Time.Sub(f.Time) >= SuppressFor
		if over || f.Count >= 2*f.told && now.Time.Sub(f.toldAt) >= againEvery {
			s.tell(f)
			f.toldAt = now.Time
		} else {
			kept = append(kept, f)
		}
	}
	clear(s.waits[len(kept):])
	s.waits = kept
}

// tell says how often a finding was seen by now.
func (s *Suppressor) tell(f *Finding) {
	f.waits, f.told = false, f.Count
	f.Revision = max(f.Revision, 1) + 1
	u := *f
	u.Name, u.At.Time = f.ID(), f.last.Time // the packet is that of the evidence
	s.Again(&Update{&u, f.Severity})
}

// Revise says anew what was said of an incident, with a severity of was at that time. f has the ID and its Revision.
func (s *Suppressor) Revise(f *Finding, was Severity) {
	if s.Again == nil {
		return
	}
	before := *f
	before.Severity = was
	was = s.rate(&before)
	f.own, f.Severity, f.rated = f.Severity, s.rate(f), true
	s.Again(&Update{f, was})
}

// Revise says f as the next revision of a finding that was reported, with its ID as Name; see Update. Nobody who subscribed
// to findings hears of it.
func (b *Bus) Revise(f *Finding, was Severity) {
	if b.Again == nil || b.Drop != nil && b.Drop(f) {
		return
	}
	b.Again(f, was)
}

// Told gives the finding of an event for those who hear of what is at least as severe as a bound, nil if it is none for
// them, and whether they know of it and this is but an update.
func Told(ev any, least Severity) (f *Finding, known bool) {
	switch ev := ev.(type) {
	case *Finding:
		f = ev
	case *Update:
		f, known = ev.Finding, ev.Was >= least
	}
	if f == nil || f.Severity < least {
		return nil, false
	}
	return f, known
}
