package engine

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/interpreters/raygrpc"
)

const (
	// maxDoubts bounds the networks that are asked about, maxNodes the machines of one that are told apart, maxCounted the
	// networks whose findings are counted, and maxAsked those that people are told of.
	maxDoubts  = 64
	maxNodes   = 64
	maxCounted = 4096
	maxAsked   = 4
)

// Outsider is a network that counts as outside because nobody said what is home, though machines there talk as a Ray
// cluster does: it may well be the user's own, and whoever works there is taken for a stranger.
type Outsider struct {
	Network  netip.Prefix // a /24, or a /64 of IPv6
	Nodes    int          // machines that answered as Ray's
	Findings uint64       // of low severity and above that name an address in it
}

// String says what rests on it, and what to do if it is wrong.
func (o Outsider) String() string {
	nodes := detectors.Plural(o.Nodes, "machine") + " there talk"
	if o.Nodes == 1 {
		nodes = "a machine there talks"
	}
	if o.Findings == 0 {
		return fmt.Sprintf("%s counts as outside, but %s as a Ray cluster does, and attacks on it are not reported: set --home %s (and your other networks) if it is yours",
			o.Network, nodes, o.Network)
	}
	rest := "findings rest"
	if o.Findings == 1 {
		rest = "finding rests"
	}
	return fmt.Sprintf("%d %s on %s being outside, but %s as a Ray cluster does: --home %s (and your other networks) if it is yours",
		o.Findings, rest, o.Network, nodes, o.Network)
}

// homeDoubt asks whether the default home is the right one. It silences nothing.
type homeDoubt struct {
	home     *detectors.Networks
	nodes    detectors.Table[netip.Prefix, []netip.Addr]
	findings detectors.Table[netip.Prefix, uint64]
}

// newHomeDoubt listens if home is the default one; otherwise it returns nil.
func newHomeDoubt(cfg *Config, home *detectors.Networks, bus *detectors.Bus) *homeDoubt {
	if len(cfg.Home) > 0 && !slices.Equal(cfg.Home, detectors.DefaultHome) {
		return nil
	}
	d := &homeDoubt{
		home:     home,
		nodes:    detectors.Table[netip.Prefix, []netip.Addr]{Limit: maxDoubts},
		findings: detectors.Table[netip.Prefix, uint64]{Limit: maxCounted},
	}
	detectors.On(bus, d.grpc)
	detectors.On(bus, d.http)
	return d
}

// grpc takes what a Ray process answered to another. Neither is at home, so that nobody at home is a guest there, or
// has one.
func (d *homeDoubt) grpc(c *raygrpc.Call) {
	if c.Flow == nil || c.Service == raygrpc.Unknown || c.Outcome != raygrpc.Executed && c.Outcome != raygrpc.Answered {
		return
	}
	src, dst := c.Flow.Orig.Addr().Unmap(), c.Flow.Resp.Addr().Unmap()
	if !d.outside(src) || !d.outside(dst) {
		return
	}
	d.node(dst)
	if c.Service != raygrpc.Client && around(src) == around(dst) {
		d.node(src)
	}
}

// http takes what a dashboard answered.
func (d *homeDoubt) http(c *ray.Call) {
	if c.Flow == nil || c.Outcome != ray.Executed && c.Outcome != ray.Answered {
		return
	}
	if src, dst := c.Flow.Orig.Addr().Unmap(), c.Flow.Resp.Addr().Unmap(); d.outside(src) && d.outside(dst) {
		d.node(dst)
	}
}

func (d *homeDoubt) outside(a netip.Addr) bool { return !detectors.Special(a) && !d.home.Contains(a) }

func (d *homeDoubt) node(a netip.Addr) {
	all := d.nodes.Put(around(a))
	if len(*all) < maxNodes && !slices.Contains(*all, a) {
		*all = append(*all, a)
	}
}

// finding counts one for the networks that it names.
func (d *homeDoubt) finding(f *detectors.Finding) {
	if d == nil || f.Severity < detectors.Low {
		return
	}
	var last netip.Prefix
	for _, a := range [2]netip.Addr{f.Src.Unmap(), f.Dst.Unmap()} {
		if p := around(a); a.IsValid() && d.outside(a) && p != last {
			*d.findings.Put(p)++
			last = p
		}
	}
}

// around is the network of an address that an administrator would name.
func around(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// outsiders lists the networks in doubt, those with the most findings and machines first.
func (d *homeDoubt) outsiders() []Outsider {
	if d == nil || d.nodes.Len() == 0 {
		return nil
	}
	var all []Outsider
	for p, nodes := range d.nodes.All() {
		if d.home.Contains(p.Addr()) {
			continue // it was said since
		}
		o := Outsider{Network: p, Nodes: len(*nodes)}
		if n := d.findings.Peek(p); n != nil {
			o.Findings = *n
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b Outsider) int {
		switch {
		case a.Findings != b.Findings:
			return int(min(max(int64(b.Findings)-int64(a.Findings), -1), 1))
		case a.Nodes != b.Nodes:
			return b.Nodes - a.Nodes
		}
		return a.Network.Addr().Compare(b.Network.Addr())
	})
	return all[:min(len(all), maxAsked)]
}
