package record

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/terminal"
)

// order is what the writer is to do behind a chunk.
type order struct {
	finding  *evidenceCase
	incident *story
	ends     uint64 // a flow that is over; 0: none
}

// evidenceCase is a finding, as far as its evidence goes.
type evidenceCase struct {
	entry Entry
	file  string // that it gets; "": none
	about string
	query Query
	ids   []uint64            // of flows that go on
	notes map[uint64][]string // comments by ordinal
}

// aroundPairs is how far back packets between two machines are looked for, where a finding is of many flows or none.
const aroundPairs = capture.Time(3600e9)

// newCase describes f. Nothing of f is kept that its detector may change.
func newCase(f *detectors.Finding, r *Recorder) *evidenceCase {
	told := *f
	told.Name = f.ID()
	told.Evidence = slices.Clone(f.Evidence)
	told.Flow = nil
	x := &evidenceCase{
		entry: Entry{Run: r.run, ID: told.Name, Finding: &told},
		about: fmt.Sprintf("finding %s: %s", told.Name, f.Msg),
		notes: map[uint64][]string{},
		query: Query{Run: r.run, Ordinals: map[uint64]bool{}},
	}
	if f.Flow != nil {
		n := f.Flow.Name()
		x.entry.UID = n.UID()
		x.query.UIDs = []string{x.entry.UID}
		x.ids = []uint64{r.id(r.seed.FlowHash(f.Flow), f.Flow.Wire().Start)}
	}
	if f.Flow == nil || f.Many {
		x.query.between(f.Src, f.Dst)
		x.query.Recent = f.Time - aroundPairs
	}
	for ordinal, text := range Comments(f) {
		x.notes[ordinal] = text
		x.query.Ordinals[ordinal] = true
	}
	if r.opt.Evidence.On && f.Severity >= r.opt.Evidence.Severity {
		x.file = r.opt.Evidence.name(told.Name)
		x.entry.File = x.file
	}
	return x
}

// between looks for what passed between two machines, or where there is but one, what it sent and got.
func (q *Query) between(a, b netip.Addr) {
	switch {
	case a.IsValid() && b.IsValid():
		q.Pairs = append(q.Pairs, [2]netip.Addr{a, b})
	case a.IsValid():
		q.Hosts = append(q.Hosts, netip.PrefixFrom(a, a.BitLen()))
	case b.IsValid():
		q.Hosts = append(q.Hosts, netip.PrefixFrom(b, b.BitLen()))
	}
}

// Comments gives the comments of the packets that a finding rests on, by ordinal.
func Comments(f *detectors.Finding) map[uint64][]string {
	notes := map[uint64][]string{}
	for _, e := range f.Evidence {
		if e.Packet == 0 {
			continue
		}
		if notes[e.Packet] == nil {
			notes[e.Packet] = []string{terminal.Clean(fmt.Sprintf("raytap %s (%s): %s", f.Rule, f.Severity, f.Msg))}
		}
		notes[e.Packet] = append(notes[e.Packet], terminal.Clean(fmt.Sprintf("  %s = %s", e.Field, e.Value)))
	}
	return notes
}

// story is an incident, as far as its evidence goes.
type story struct {
	entry Entry
	file  string // "": none
	about string
	query Query
	notes map[uint64][]string
}

func newStory(x *detectors.Incident, r *Recorder) *story {
	told := *x
	told.Steps = slices.Clone(x.Steps)
	s := &story{
		entry: Entry{Run: r.run, ID: x.ID, Incident: &told},
		about: fmt.Sprintf("incident %s: %s", x.ID, x.Summary),
		notes: map[uint64][]string{},
		query: Query{Run: r.run, Ordinals: map[uint64]bool{}},
	}
	for i := range x.Steps {
		st := &x.Steps[i]
		if st.UID != "" && !slices.Contains(s.query.UIDs, st.UID) {
			s.query.UIDs = append(s.query.UIDs, st.UID)
		}
		if st.Packet != 0 {
			s.query.Ordinals[st.Packet] = true
			s.notes[st.Packet] = append(s.notes[st.Packet], terminal.Clean("raytap incident "+x.ID+": "+st.String()))
		}
	}
	if r.opt.Evidence.On && x.Severity >= r.opt.Evidence.Severity {
		s.file = r.opt.Evidence.name(x.ID)
		s.entry.File = s.file
	}
	return s
}
