package detectors

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
)

// ChainRule is the rule that says that findings are one intrusion. What it says of one is told whole by its Incident.
const ChainRule = "campaign/chain"

// States of an Incident.
const (
	Open   = "open"   // there may be more of it
	Closed = "closed" // there will be no more: nothing was heard of it for a while, or the run has ended
	Merged = "merged" // it has turned out to be a part of another
)

// Incident is the story of one intrusion: what several findings, and steps that are no finding, are together. It is
// emitted when it begins, again as it grows, and when it is over, each time as a whole, and each time a row of
// incidents.log.
type Incident struct {
	Written     capture.Time
	ID          string // I and 17 digits, a hash of how it began: equal in every run
	Revision    int    // counts what is said of it, from 1
	State       string
	Into        string // id of the incident that it is part of, if it is Merged
	Peer        string // name of the sensor that saw it; "": none has one
	First, Last capture.At
	Chain       bool // there is a chain of cause: ChainRule said so
	Severity    Severity
	Score       int      // 0..100
	Why         []string // the parts of the score, "job accepted from outside 35"
	Attackers   []netip.Addr
	Victims     []netip.Addr
	Others      []Party
	Steps       []Step   // in order of time, bounded
	MoreSteps   int      // that were counted only
	Tactics     []string // ids and names, "AML.TA0011 Impact"
	Techniques  []string // likewise
	Findings    int      // that are part of it, each once
	FindingIDs  []string // of these, in the order in which they came, bounded
	Summary     string   // a paragraph
	Merged      []string // ids of incidents that turned out to be this one
}

// Party is somebody who is neither attacker nor victim.
type Party struct {
	Role string // "payload host", "pool"
	Addr netip.Addr
	Name string // by which it was looked up or called, may be empty
}

func (p Party) String() string {
	s := p.Role
	if p.Name != "" {
		s += " " + p.Name
	}
	if p.Addr.IsValid() {
		s += " " + p.Addr.String()
	}
	return s
}

// Step is one thing that somebody did.
type Step struct {
	capture.At
	Who  netip.Addr
	What string // "ran a job on 10.20.0.10:8265", secrets masked
	UID  string // of the flow, if it was in one
	// Finding is the id of the finding that says so, of several the one that says most; "": none does.
	Finding string
	Count   int
}

// String is the step as a line: who did what, and how often.
func (s *Step) String() string {
	t := s.Who.String() + " " + s.What
	if s.Count > 1 {
		t += ", " + strconv.Itoa(s.Count) + " times"
	}
	return t
}

// Log implements capture.Record.
func (*Incident) Log() string { return "incidents" }

// Row implements capture.Record.
func (x *Incident) Row(w capture.Fields) {
	var steps, uids, packets, others, stepUIDs, findings []string
	seen := map[string]bool{}
	for i := range x.Steps {
		s := &x.Steps[i]
		steps = append(steps, s.Time.Std().Format("2006-01-02T15:04:05.000000Z")+" "+s.String())
		packets = append(packets, strconv.FormatUint(s.Packet, 10))
		stepUIDs, findings = append(stepUIDs, s.UID), append(findings, s.Finding)
		if s.UID != "" && !seen[s.UID] {
			seen[s.UID] = true
			uids = append(uids, s.UID)
		}
	}
	for _, p := range x.Others {
		others = append(others, p.String())
	}
	named := func(column string, all []string) { // "T1105 Ingress Tool Transfer"
		capture.Objects(w, column, all, func(w capture.Fields, i int) {
			id, name, _ := strings.Cut(all[i], " ")
			w.String("id", id, true)
			w.String("name", name, name != "")
		}, true)
	}
	w.Time("ts", x.Written, true)
	w.String("incident_id", x.ID, true)
	w.Time("first", x.First.Time, true)
	w.Time("last", x.Last.Time, true)
	w.Interval("duration", time.Duration(x.Last.Time-x.First.Time), true)
	w.Bool("chain", x.Chain, true)
	w.String("severity", x.Severity.String(), true)
	w.Count("score", uint64(max(x.Score, 0)), true)
	capture.Objects(w, "score_parts", x.Why, func(w capture.Fields, i int) {
		what, points := x.Why[i], uint64(0)
		if at := strings.LastIndexByte(what, ' '); at >= 0 {
			if n, err := strconv.ParseUint(what[at+1:], 10, 32); err == nil {
				what, points = what[:at], n
			}
		}
		w.String("what", what, true)
		w.Count("points", points, true)
	}, true)
	w.Vector("attackers", "string", texts(x.Attackers), true)
	w.Vector("victims", "string", texts(x.Victims), true)
	capture.Objects(w, "others", others, func(w capture.Fields, i int) {
		p := &x.Others[i]
		w.String("role", p.Role, true)
		w.String("name", p.Name, p.Name != "")
		w.Addr("addr", p.Addr, p.Addr.IsValid())
	}, true)
	capture.Objects(w, "steps", steps, func(w capture.Fields, i int) {
		s := &x.Steps[i]
		w.Time("ts", s.Time, true)
		w.Addr("actor", s.Who, s.Who.IsValid())
		w.String("what", s.What, true)
		w.Count("n", uint64(max(s.Count, 1)), true)
		w.String("uid", s.UID, s.UID != "")
		w.String("finding_id", s.Finding, s.Finding != "")
		w.Count("packet", s.Packet, s.Packet != 0)
	}, true)
	w.Count("more_steps", uint64(max(x.MoreSteps, 0)), true)
	named("tactics", x.Tactics)
	named("techniques", x.Techniques)
	w.Count("findings", uint64(max(x.Findings, 0)), true)
	w.String("summary", x.Summary, true)
	w.Vector("merged", "string", x.Merged, len(x.Merged) > 0)
	w.Vector("uids", "string", uids, true)
	w.Vector("packets", "count", packets, true)
	w.Vector("finding_ids", "string", x.FindingIDs, true)
	w.Count("revision", uint64(max(x.Revision, 1)), true)
	w.Enum("state", x.State, x.State != "")
	w.String("merged_into", x.Into, x.Into != "")
	w.Vector("step_uids", "string", stepUIDs, true) // as packets: what the steps have as structures
	w.Vector("step_findings", "string", findings, true)
	w.String("peer_descr", x.Peer, x.Peer != "")
}

func texts(all []netip.Addr) []string {
	var s []string
	for _, a := range all {
		s = append(s, a.String())
	}
	return s
}
