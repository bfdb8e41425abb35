package campaign

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/detectors"
)

const (
	// Pieces of evidence of a finding, steps in a paragraph, bytes of a command in it: what a person reads at once.
	maxEvidence = 16
	maxTold     = 8
	maxCommand  = 100
)

func itoa(n int) string { return strconv.Itoa(n) }

// say makes the finding of an incident as it stands.
func (d *detector) say(x *incident) {
	x.said, x.saidTactics, x.saidAt = x.severity, x.tactics, d.now
	f := &detectors.Finding{
		At: x.last, Rule: rule, Severity: x.severity, Confidence: min(50+x.score/2, 99), Outcome: detectors.Observed,
		Msg: x.tell(), Sub: fmt.Sprintf("incident %s, score %d: %s", x.id, x.score, strings.Join(x.why, ", ")),
		Src: x.src, Dst: x.dst, Port: x.port, Count: 1, Incident: x.id,
		// What is said again is more than before: it must not be taken for the same.
		Key: fmt.Sprintf("%s %s %x", x.id, x.severity, x.tactics),
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
	d.bus.Report(f)
}

// close writes an incident that is over. What led to nothing is not written: its findings stand for themselves.
func (d *detector) close(x *incident) {
	if x.severity > x.said || x.fresh() {
		d.say(x)
	}
	x.closed = true
	if i := slices.Index(d.open, x); i >= 0 {
		d.open = slices.Delete(d.open, i, i+1)
	}
	sev := x.severity
	if sev == 0 {
		if x.best() != accepted {
			return
		}
		for i := range x.steps {
			sev = max(sev, x.steps[i].sev)
		}
	}
	r := &detectors.Incident{
		Written: d.now, ID: x.id, First: x.first, Last: x.last, Chain: x.said > 0, Severity: sev, Score: x.score, Why: x.why,
		Attackers: x.who(), Victims: x.victims, Others: x.others, MoreSteps: x.more, Findings: x.found.n, FindingIDs: slices.Clone(x.found.ids),
		Summary: x.tell(), Merged: x.merged,
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
	for i, t := range tacticNames {
		if x.tactics&(1<<i) != 0 {
			r.Tactics = append(r.Tactics, t.ID+" "+t.Name)
		}
	}
	d.bus.Emit(r)
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
