package join

import (
	"net/netip"
	"slices"

	"github.com/raytap/raytap/capture"
)

// ends are the two ends of a flow, whoever opened it: taps that came late may not agree on that.
type ends struct {
	a, b  netip.AddrPort
	proto uint8
}

func endsOf(f *capture.Flow) ends {
	f = f.Wire()
	if f.Resp.Compare(f.Orig) < 0 {
		return ends{f.Resp, f.Orig, f.Proto}
	}
	return ends{f.Orig, f.Resp, f.Proto}
}

// tapUID is what a sensor calls a flow.
type tapUID struct {
	sensor int
	uid    string
}

// flow is what is known of a flow, as all sensors together saw it.
type flow struct {
	key   ends
	uid   string // as the first tap calls it
	start capture.Time
	taps  []tap
	seen  []seen // events that came lately
	told  []*said
	// Of connections whose directions go different ways; see half.go.
	halves []*half
}

type tap struct {
	s     *Sensor
	uid   string
	half  bool // it saw one direction
	whole bool // it saw both, or was put together with one that saw the other
}

// seen is an event of a flow, and how often it was told: by whom, and to the detectors.
type seen struct {
	kind string
	sum  uint64
	n    []uint16 // by tap
	most uint16
}

// flow finds the flow that an event tells of, and which of its taps the sensor is.
func (j *Joiner) flow(x *item) (*flow, int) {
	s, name := x.s, tapUID{x.s.n, x.uid}
	if p := j.byUID.Get(name); p != nil {
		f := *p
		return f, slices.IndexFunc(f.taps, func(t tap) bool { return t.s == s && t.uid == x.uid })
	}
	all := j.flows.Put(x.key)
	var best *flow
	for _, f := range *all {
		d := distance(f.start, x.start)
		if d <= capture.Time(j.cfg.Skew) && !slices.ContainsFunc(f.taps, func(t tap) bool { return t.s == s }) && (best == nil || d < distance(best.start, x.start)) {
			best = f
		}
	}
	if best == nil {
		best = &flow{key: x.key, uid: x.uid, start: x.start}
		// What has the same ends and began long before is over, or is known by its name.
		if len(*all) >= 8 {
			*all = slices.Delete(*all, 0, 1)
		}
		*all = append(*all, best)
	}
	best.taps = append(best.taps, tap{s: s, uid: x.uid})
	*j.byUID.Put(name) = best
	for _, a := range [2]netip.Addr{x.Flow.Orig.Addr().Unmap(), x.Flow.Resp.Addr().Unmap()} {
		j.hosts.Put(hostKey{a}).add(s.n)
	}
	return best, len(best.taps) - 1
}

func distance(a, b capture.Time) capture.Time {
	if a > b {
		return a - b
	}
	return b - a
}

// wholeBut reports whether a tap of another sensor saw both directions.
func (f *flow) wholeBut(s *Sensor) bool {
	return slices.ContainsFunc(f.taps, func(t tap) bool { return t.whole && !t.half && t.s != s })
}

// takes reports whether an event of the flow is news: no other tap has told of it as often as this one has by now.
func (f *flow) takes(x *item, n int) bool {
	switch {
	case x.Kind == "progress" && x.oneSided:
		return !f.wholeBut(x.s) // the other tap has the other direction
	case x.Kind == "conn", x.Kind == "progress":
		return n == f.counts()
	}
	var e *seen
	for i := len(f.seen) - 1; i >= 0; i-- {
		if y := &f.seen[i]; y.sum == x.Sum && y.kind == x.Kind {
			e = y
			break
		}
	}
	if e == nil {
		if len(f.seen) >= maxSeen {
			f.seen = f.seen[:copy(f.seen, f.seen[len(f.seen)/2:])]
		}
		f.seen = append(f.seen, seen{kind: x.Kind, sum: x.Sum})
		e = &f.seen[len(f.seen)-1]
	}
	for len(e.n) <= n {
		e.n = append(e.n, 0)
	}
	if e.n[n] == 1<<16-1 {
		return true
	}
	e.n[n]++
	if e.n[n] <= e.most {
		return false
	}
	e.most = e.n[n]
	return true
}

// counts is the tap whose counts are taken: the first that is still there, if there is one that saw both directions.
func (f *flow) counts() int {
	best := -1
	for i, t := range f.taps {
		if t.s.Behind {
			continue
		}
		if !t.half {
			return i
		}
		if best < 0 {
			best = i
		}
	}
	return max(best, 0)
}

// rename gives an event's flow the name that the first tap gave it.
func (f *flow) rename(id *capture.Flow) {
	for ; id != nil; id = via(id) {
		id.UID, id.Start = f.uid, f.start
	}
}

func via(f *capture.Flow) *capture.Flow {
	if f.Via == nil {
		return nil
	}
	return f.Via.Wire
}

// hostKey is an address that somebody was seen with.
type hostKey struct{ addr netip.Addr }

// set is a set of sensors, by their numbers, sorted. It is small.
type set []int

func (s *set) add(n int) {
	if i, ok := slices.BinarySearch(*s, n); !ok {
		*s = slices.Insert(*s, i, n)
	}
}

// both is what two sets share; the first if that is nothing.
func both(a, b set) set {
	var c set
	for _, n := range a {
		if _, ok := slices.BinarySearch(b, n); ok {
			c = append(c, n)
		}
	}
	if len(c) == 0 {
		return a
	}
	return c
}

// names gives the sensors of a set, sorted.
func (j *Joiner) names(s set) []string {
	names := make([]string, 0, len(s))
	for _, n := range s {
		names = append(names, j.list[n].Name)
	}
	slices.Sort(names)
	return names
}
