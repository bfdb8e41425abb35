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
	since capture.Time        // when what is looked for began
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
		notes: Comments(f),
	}
	if f.Flow != nil {
		n := f.Flow.Name()
		x.entry.UID = n.UID()
		x.since = f.Flow.Wire().Start
		x.ids = []uint64{r.id(r.seed.FlowHash(f.Flow), f.Flow.Wire().Start)}
	}
	x.query = x.entry.Query()
	if f.Flow == nil || f.Many {
		x.since = x.query.Recent
	}
	if r.opt.Evidence.On && f.Severity >= r.opt.Evidence.Severity {
		x.file = r.opt.Evidence.name(told.Name)
		x.entry.File = x.file
	}
	return x
}

// Query looks for the packets of what was found: of its flow, those that it rests on, and where it is of many flows or of
// none, what passed between its two ends in the hour before. Of an incident these are the flows of its steps.
func (e *Entry) Query() Query {
	q := Query{Run: e.Run, Ordinals: map[uint64]bool{}}
	if e.UID != "" {
		q.UIDs = []string{e.UID}
	}
	if f := e.Finding; f != nil {
		if e.UID == "" || f.Many {
			q.between(f.Src, f.Dst)
			q.Recent = f.Time - aroundPairs
		}
		for _, x := range f.Evidence {
			if x.Packet != 0 {
				q.Ordinals[x.Packet] = true
			}
		}
	}
	if x := e.Incident; x != nil {
		for i := range x.Steps {
			st := &x.Steps[i]
			if st.UID != "" && !slices.Contains(q.UIDs, st.UID) {
				q.UIDs = append(q.UIDs, st.UID)
			}
			if st.Packet != 0 {
				q.Ordinals[st.Packet] = true
			}
		}
	}
	return q
}

// Comments gives those of its packets, by ordinal.
func (e *Entry) Comments() map[uint64][]string {
	if e.Finding != nil {
		return Comments(e.Finding)
	}
	notes := map[uint64][]string{}
	if x := e.Incident; x != nil {
		for i := range x.Steps {
			if st := &x.Steps[i]; st.Packet != 0 {
				notes[st.Packet] = append(notes[st.Packet], terminal.Clean("raytap incident "+x.ID+": "+st.String()))
			}
		}
	}
	return notes
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
	}
	s.query, s.notes = s.entry.Query(), s.entry.Comments()
	if r.opt.Evidence.On && x.Severity >= r.opt.Evidence.Severity {
		s.file = r.opt.Evidence.name(x.ID)
		s.entry.File = s.file
	}
	return s
}
