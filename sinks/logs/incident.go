package logs

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// Incident makes a row of incidents.log the incident that it was at that time, whose last row is the incident; nil if it has
// no id. Credentials are masked.
func (r *Row) Incident() *detectors.Incident {
	id := r.Get("incident_id")
	if id == "" {
		return nil
	}
	x := &detectors.Incident{
		Written: r.Time("ts"), ID: id, Revision: int(min(r.Uint("revision"), 1<<31-1)), State: r.Get("state"), Into: r.Get("merged_into"),
		First: capture.At{Time: r.Time("first")}, Last: capture.At{Time: r.Time("last")}, Chain: r.Bool("chain"),
		Score: int(min(r.Uint("score"), 100)), Why: r.List("score_parts"), Attackers: addrs(r.List("attackers")), Victims: addrs(r.List("victims")),
		MoreSteps: int(min(r.Uint("more_steps"), 1<<31)), Tactics: r.List("tactics"), Techniques: r.List("techniques"),
		Findings: int(min(r.Uint("findings"), 1<<31)), FindingIDs: r.List("finding_ids"), Summary: r.Get("summary"), Merged: r.List("merged"),
	}
	x.Severity, _ = detectors.ParseSeverity(r.Get("severity"))
	if all := r.objects("others"); all != nil {
		for _, o := range all {
			x.Others = append(x.Others, o.party())
		}
	} else {
		for _, s := range r.List("others") {
			x.Others = append(x.Others, party(s))
		}
	}
	if all := r.objects("steps"); all != nil {
		for _, o := range all {
			x.Steps = append(x.Steps, o.step())
		}
	} else {
		packets, uids, findings := r.List("packets"), r.List("step_uids"), r.List("step_findings")
		for i, s := range r.List("steps") {
			st := step(s)
			if i < len(packets) {
				st.Packet, _ = strconv.ParseUint(packets[i], 10, 64)
			}
			if i < len(uids) && i < len(findings) {
				st.UID, st.Finding = uids[i], findings[i]
			}
			x.Steps = append(x.Steps, st)
		}
	}
	x.Mask()
	return x
}

func addrs(list []string) (all []netip.Addr) {
	for _, s := range list {
		if a, err := netip.ParseAddr(s); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// party takes "pool pool.example 198.51.100.44" apart: a role, a name with a dot if there is one, an address if there is
// one.
func party(s string) (p detectors.Party) {
	w := strings.Fields(s)
	if n := len(w); n > 1 {
		if a, err := netip.ParseAddr(w[n-1]); err == nil {
			p.Addr, w = a, w[:n-1]
		}
	}
	if n := len(w); n > 1 && strings.Contains(w[n-1], ".") {
		p.Name, w = w[n-1], w[:n-1]
	}
	p.Role = strings.Join(w, " ")
	return p
}

// step takes "2026-11-23T16:42:37.105505Z 203.0.113.66 ran a job" apart.
func step(s string) (st detectors.Step) {
	st.What, st.Count = s, 1
	when, rest, _ := strings.Cut(s, " ")
	who, what, _ := strings.Cut(rest, " ")
	t, err := time.Parse(time.RFC3339Nano, when)
	a, aerr := netip.ParseAddr(who)
	if err == nil && aerr == nil {
		st.Time, st.Who, st.What = capture.Time(t.UnixNano()), a, what
		if i := strings.LastIndex(what, ", "); i >= 0 && strings.HasSuffix(what, " times") {
			if n, err := strconv.Atoi(strings.TrimSuffix(what[i+2:], " times")); err == nil && n > 1 {
				st.What, st.Count = what[:i], n
			}
		}
	}
	return st
}
