package campaign

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

const (
	// Pieces of evidence of a finding, steps in a paragraph, bytes of a command in it: what a person reads at once.
	maxEvidence = 16
	maxTold     = 8
	maxCommand  = 100
)

func itoa(n int) string { return strconv.Itoa(n) }

// due reports whether it is time to say what has become of an open incident.
func (d *detector) due(x *incident) bool {
	if x.revision == 0 { // a chain is said at once
		return x.severity == 0 && x.best() == accepted
	}
	wait := min(updateEvery<<min(x.revision-1, 10), updateMost)
	since := d.now.Sub(x.saidAt)
	return x.fresh() && since >= updateEvery || x.size() != x.saidSize && since >= wait
}

// say tells of an incident as it stands: in a row of incidents.log, and if there is a chain of cause, in a finding, which is
// one and the same for all that is said of it.
func (d *detector) say(x *incident, state string) {
	if x.severity > x.said || x.said > 0 && (x.fresh() || x.owed || x.size() != x.saidSize) {
		d.find(x)
	}
	x.saidTactics, x.saidAt, x.saidSize, x.owed = x.tactics, d.now, x.size(), false
	x.revision++
	d.emit(x, state)
}

// find makes the finding of an incident, or its next revision.
func (d *detector) find(x *incident) {
	x.told++
	f := &detectors.Finding{
		At: x.last, Rule: rule, Severity: x.severity, Confidence: min(50+x.score/2, 99), Outcome: detectors.Observed,
		Msg: x.tell(), Sub: fmt.Sprintf("incident %s, score %d: %s", x.id, x.score, strings.Join(x.why, ", ")),
		Src: x.src, Dst: x.dst, Port: x.port, Count: 1, Revision: x.told, Incident: x.id, Key: x.id,
	}
	switch {
	case len(x.jobs) > 0 && x.best() == accepted || x.severity == detectors.Critical:
		f.Outcome = detectors.Succeeded
	case len(x.jobs) > 0:
		f.Outcome = detectors.Unknown
	}
	steps := x.steps
	for i := range steps {
		if s := &steps[i]; len(f.Evidence) < maxEvidence && s.Packet != 0 {
			f.Evidence = append(f.Evidence, detectors.Evidence{Field: "step", Value: detectors.Clip(s.Time.Std().Format("15:04:05")+" "+x.line(s), 400), Packet: s.Packet})
		}
	}
	was := x.said
	x.said = x.severity
	if x.told == 1 {
		x.name = f.ID()
		d.bus.Report(f)
		return
	}
	f.Name = x.name
	d.bus.Revise(f, was)
}

// close ends an incident. One that led to nothing is not told of: its findings stand for themselves.
func (d *detector) close(x *incident) {
	x.closed = true
	if i := slices.Index(d.open, x); i >= 0 {
		d.open = slices.Delete(d.open, i, i+1)
	}
	if x.severity > 0 || x.best() == accepted {
		d.say(x, detectors.Closed)
	}
}

// merged says of an incident that was told of that there will be no more of it under its name.
func (d *detector) merged(y *incident) {
	y.closed = true
	if y.revision == 0 {
		return
	}
	y.revision++
	d.emit(y, detectors.Merged)
}

// emit writes an incident as it stands. What it writes is its own: the incident goes on.
func (d *detector) emit(x *incident, state string) {
	sev := x.severity
	if sev == 0 {
		for i := range x.steps {
			sev = max(sev, x.steps[i].sev)
		}
	}
	r := &detectors.Incident{
		Written: d.now, ID: x.id, Revision: x.revision, State: state, First: x.first, Last: x.last, Chain: x.said > 0, Severity: sev, Score: x.score,
		Why: slices.Clone(x.why), Attackers: slices.Clone(x.who()), Victims: slices.Clone(x.victims), Others: slices.Clone(x.others),
		MoreSteps: x.more, Findings: x.found.n, FindingIDs: slices.Clone(x.found.ids), Summary: x.tell(), Merged: slices.Clone(x.merged),
	}
	if state == detectors.Merged {
		into := x.into
		for into.into != nil {
			into = into.into
		}
		r.Into = into.id
	}
	for i := range x.steps {
		s := x.steps[i].Step
		s.What += x.steps[i].named
		r.Steps = append(r.Steps, s)
		for _, id := range x.steps[i].ids {
			if !slices.Contains(r.Techniques, id) {
				r.Techniques = append(r.Techniques, id)
			}
		}
	}
	for _, id := range x.extraIDs {
		if !slices.Contains(r.Techniques, id) {
			r.Techniques = append(r.Techniques, id)
		}
	}
	slices.Sort(r.Techniques)
	for i, id := range r.Techniques {
		r.Techniques[i] = d.technique(id)
	}
	for i, t := range tacticNames {
		if x.tactics&(1<<i) != 0 {
			r.Tactics = append(r.Tactics, t.ID+" "+t.Name)
		}
	}
	d.bus.Emit(r)
}

// technique gives the id of a technique with its name.
func (d *detector) technique(id string) string {
	s, ok := d.called[id]
	if !ok {
		s = id
		if name, _, ok := data.Technique(id); ok {
			s += " " + name
		}
		d.called[id] = s
	}
	return s
}

// who gives the attackers: those outside, or else those inside.
func (x *incident) who() []netip.Addr {
	if len(x.attackers) > 0 {
		return x.attackers
	}
	return x.insiders
}

// line is a step in a list.
func (x *incident) line(s *step) string {
	t := s.Step
	t.What += s.named
	return t.String()
}

// tell is the story in a paragraph: who came first, what he did, what came of it.
func (x *incident) tell() string {
	var b strings.Builder
	who := x.who()
	looked, entered := 0, 0
	for i := range x.steps {
		switch s := &x.steps[i]; {
		case s.look:
			looked++
		case s.entry:
			entered++
		}
	}
	var prev *step
	tied := ""
	told, left := 0, 0
	for i := range x.steps {
		s := &x.steps[i]
		if told >= maxTold || prev != nil && (s.look && looked > 2 && prev.look || s.entry && entered > 2 && prev.entry) {
			left++
			continue
		}
		told++
		switch {
		case prev == nil:
			fmt.Fprintf(&b, "%s %s", s.Who, s.What)
		case s.Who == prev.Who:
			fmt.Fprintf(&b, ", %sthen %s", after(s, prev), s.What)
		default:
			fmt.Fprintf(&b, ". %s %s %s", then(s, prev), s.Who, s.What)
		}
		if s.named != tied { // it holds for those that follow, too
			b.WriteString(s.named)
			tied = s.named
		}
		if s.entry {
			if j := x.jobOf(s); j != nil && j.command != "" {
				b.WriteString(" (" + detectors.Clip(j.command, maxCommand) + ")")
			}
		}
		prev = s
	}
	if left+x.more > 0 {
		fmt.Fprintf(&b, ", and %d more steps", left+x.more)
	}
	b.WriteByte('.')
	switch {
	case len(x.jobs) == 0:
		b.WriteString(" How somebody got in was not seen.")
	case x.severity == 0:
		b.WriteString(" Nothing that follows from it was seen.")
	case x.best() == tried:
		b.WriteString(" No attempt was seen to succeed.")
	}
	if len(who) > 1 || len(x.victims) > 1 {
		fmt.Fprintf(&b, " %s and %s are involved.", detectors.Plural(len(who), "attacker"), detectors.Plural(len(x.victims), "machine"))
	}
	var names []string
	for i, t := range tacticNames {
		if x.tactics&(1<<i) != 0 {
			names = append(names, t.Name)
		}
	}
	if len(names) > 0 {
		fmt.Fprintf(&b, " Tactics passed%s: %s.", within(x.lasted()), strings.Join(names, ", "))
	}
	return b.String()
}

func (x *incident) jobOf(s *step) *job {
	for _, j := range x.jobs {
		if j.uid == s.UID && j.attacker == s.Who {
			return j
		}
	}
	return nil
}

func after(s, prev *step) string {
	if d := s.Time.Sub(prev.Time); d >= 2*time.Second {
		return detectors.Span(d) + " later, "
	}
	return ""
}

func then(s, prev *step) string {
	if d := s.Time.Sub(prev.Time); d >= 2*time.Second {
		return strings.ToUpper(detectors.Span(d)[:1]) + detectors.Span(d)[1:] + " later"
	}
	return "Then"
}

func within(d time.Duration) string {
	if d < time.Second {
		return ""
	}
	return " within " + detectors.Span(d)
}
