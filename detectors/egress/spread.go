package egress

import (
	"fmt"
	"net/netip"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

const (
	// Destinations of one machine that are told apart, and in how many networks they must be: a store in a cloud answers
	// from many addresses of a few networks.
	maxSpread   = 256
	minNetworks = 5
	minSpread   = 5
)

// spread is what a machine pushed to destinations that are new, by part of the window.
type spread struct {
	sums [parts]uint64
	at   capture.Time // number of the current part
	to   []netip.Addr // in the order of their first bytes; bounded
	when []capture.Time
	said capture.Time // part in which it was said; 0: never
}

// budget counts n bytes that went to a destination which has its own bar before it.
func (d *detector) budget(p *capture.Progress, dir capture.Dir, k pairKey, e *pair, n uint64) {
	if u := d.users.Peek(k.dst); u != nil && u.machines > 1 || p.Time.Sub(e.first) >= knownFor || e.guessed {
		return
	}
	if d.stores(k.dst) {
		return
	}
	d.network(p, dir, k, n)
	s := d.spread.Put(k.src)
	at := p.Time / d.part
	if at-s.at >= parts {
		*s = spread{at: at}
	}
	for i := s.at + 1; i <= at; i++ {
		s.sums[i%parts] = 0
	}
	s.at = max(s.at, at)
	s.sums[at%parts] += n
	s.note(k.dst, at)
	if s.said > 0 && at-s.said < parts {
		return
	}
	sum := uint64(0)
	for _, b := range s.sums {
		sum += b
	}
	if sum < d.cfg.Bytes {
		return
	}
	hosts, networks := s.count(at)
	if hosts < minSpread || networks < minNetworks {
		return
	}
	s.said = max(at, 1)
	d.bus.Report(&detectors.Finding{
		At: p.At, Rule: "egress/large", Severity: detectors.Medium, Confidence: 60, Outcome: detectors.Succeeded,
		Src: k.src, Dst: k.dst, Flow: p.Flow, Many: true, Port: p.Flow.Dst(dir).Port(),
		Msg: fmt.Sprintf("%s sent %s to %d destinations in %d networks that are new to it, none of which got the bound of %s, within %s", k.src,
			detectors.Size(sum), hosts, networks, detectors.Size(d.cfg.Bytes), detectors.Span(d.cfg.Window)),
		Sub: "no other machine here uses them",
		Evidence: []detectors.Evidence{
			{Field: "bytes", Value: fmt.Sprint(sum), Packet: p.Packet},
			{Field: "flow", Value: p.Flow.UID, Packet: p.Packet},
		},
		Key: "egress/large|" + k.src.String() + "|spread",
	})
}

// note remembers that dst got bytes in a part.
func (s *spread) note(dst netip.Addr, at capture.Time) {
	oldest := 0
	for i, a := range s.to {
		if a == dst {
			s.when[i] = at
			return
		}
		if s.when[i] < s.when[oldest] {
			oldest = i
		}
	}
	if len(s.to) < maxSpread {
		s.to, s.when = append(s.to, dst), append(s.when, at)
		return
	}
	s.to[oldest], s.when[oldest] = dst, at
}

// count says how many destinations got bytes in the window, and in how many networks of 16 bits, or of 32 of IPv6.
func (s *spread) count(at capture.Time) (hosts, networks int) {
	seen := map[netip.Prefix]bool{}
	for i, a := range s.to {
		if at-s.when[i] >= parts {
			continue
		}
		hosts++
		bits := 16
		if a.Is6() && !a.Is4In6() {
			bits = 32
		}
		if n, err := a.Unmap().Prefix(bits); err == nil {
			seen[n] = true
		}
	}
	return hosts, len(seen)
}
