package egress

import (
	"fmt"
	"net/netip"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

const (
	// Parts of the day: its sums forget in steps of two hours, and cover at least 22.
	dayParts = 12
	dayPart  = capture.Time(24*3600e9) / dayParts
	// What goes to several hosts of one network, of 24 bits or 48 of IPv6, is counted together: the smallest that are rented
	// and routed.
	netBits4, netBits6 = 24, 48
	// Hosts of a network that are told apart.
	maxNetHosts = 8
)

// daily is what was sent within the last day. The zero value is ready.
type daily struct {
	sums [dayParts]uint64
	at   capture.Time // number of the current part
}

func (d *daily) add(now capture.Time, n uint64) {
	at := now / dayPart
	if at-d.at >= dayParts {
		d.sums = [dayParts]uint64{}
	} else {
		for i := d.at + 1; i <= at; i++ {
			d.sums[i%dayParts] = 0
		}
	}
	d.at = max(d.at, at)
	d.sums[d.at%dayParts] += n
}

func (d *daily) sum() (n uint64) {
	for _, s := range d.sums {
		n += s
	}
	return n
}

// netKey is a machine, and a network to which it sends.
type netKey struct {
	src netip.Addr
	dst netip.Prefix
}

// slow is what a machine pushed to strange hosts of one network within a day.
type slow struct {
	daily
	hosts []netip.Addr // the first of them
	said  bool
}

// perDay speaks of a destination that got much over a day, though no window had the bound. Where something was said of it
// before, of a window or a day, it speaks of ten times as much only, whenever that is.
func (d *detector) perDay(p *capture.Progress, dir capture.Dir, k pairKey, e *pair, role int, bar uint64, known bool) {
	sum := e.days[role].sum()
	if d.cfg.Day == 0 || sum < bar || e.told[role] > 0 && sum < times(e.told[role], muchMore) {
		return
	}
	e.told[role] = sum
	f := d.slowly(p, dir, k)
	verb := "sent"
	if role == served {
		verb = "served"
	}
	f.Msg = fmt.Sprintf("%s %s %s to %s within a day, little at a time (bound %s in a day)", k.src, verb, detectors.Size(sum), d.called(k.dst), detectors.Size(bar))
	f.Sub = "no other machine here uses the destination"
	switch u := d.users.Peek(k.dst); {
	case u != nil && u.machines > 1: // of what many machines report to, one finding tells
		f.Severity, f.Key = detectors.Low, "egress/large|"+k.dst.String()+"|day"
		f.Sub = fmt.Sprintf("%d machines here use the destination", u.machines)
	case d.stores(k.dst):
		f.Severity = detectors.Low
		f.Sub += "; it is a store, hub or archive of packages that many people use"
	case known:
		f.Severity = detectors.Low
		f.Sub += "; it is in regular use"
	}
	if e.guessed {
		f.Confidence = 40
	}
	f.Evidence[0].Value = fmt.Sprint(sum)
	d.bus.Report(f)
}

// network counts n bytes that went to a strange destination for the network that it is in, over a day.
func (d *detector) network(p *capture.Progress, dir capture.Dir, k pairKey, n uint64) {
	if d.cfg.Day == 0 {
		return
	}
	to := k.dst.Unmap()
	bits := netBits4
	if to.Is6() {
		bits = netBits6
	}
	prefix, err := to.Prefix(bits)
	if err != nil {
		return
	}
	s := d.slow.Put(netKey{k.src, prefix})
	s.add(p.Time, n)
	known := false
	for _, h := range s.hosts {
		known = known || h == to
	}
	if !known && len(s.hosts) < maxNetHosts {
		s.hosts = append(s.hosts, to)
	}
	if s.said || len(s.hosts) < 2 {
		return // of one destination, perDay speaks
	}
	sum := s.sum()
	if sum < d.cfg.Day {
		return
	}
	s.said = true
	f := d.slowly(p, dir, k)
	hosts := fmt.Sprint(len(s.hosts))
	if len(s.hosts) == maxNetHosts {
		hosts += " or more"
	}
	f.Msg = fmt.Sprintf("%s sent %s to %s hosts of %s within a day, none of which got the bound of %s by itself", k.src, detectors.Size(sum), hosts, prefix, detectors.Size(d.cfg.Day))
	f.Sub = "no other machine here uses them"
	f.Evidence[0].Value = fmt.Sprint(sum)
	f.Key = "egress/large|" + k.src.String() + "|" + prefix.String()
	d.bus.Report(f)
}

func (d *detector) slowly(p *capture.Progress, dir capture.Dir, k pairKey) *detectors.Finding {
	return &detectors.Finding{
		At: p.At, Rule: "egress/large", Severity: detectors.Medium, Confidence: 60, Outcome: detectors.Succeeded,
		Src: k.src, Dst: k.dst, Flow: p.Flow, Many: true, Port: p.Flow.Dst(dir).Port(),
		Evidence: []detectors.Evidence{
			{Field: "bytes", Packet: p.Packet},
			{Field: "flow", Value: p.Flow.UID, Packet: p.Packet},
		},
	}
}

// stores reports whether a destination was looked up by the name of a store, hub or archive of packages.
func (d *detector) stores(a netip.Addr) bool {
	if names := d.names.Peek(a); names != nil {
		for _, name := range names.looked {
			if s := data.SiteOf(name); s == data.Store || s == data.Hub || s == data.Packages {
				return true
			}
		}
	}
	return false
}
