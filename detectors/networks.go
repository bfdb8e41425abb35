package detectors

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync/atomic"
)

// Networks is a set of address ranges. Many goroutines may ask while one replaces it.
type Networks struct {
	ranges atomic.Pointer[ranges]
}

// ranges are addresses under masks: what most detectors ask of most events, in a quarter of the time that
// netip.Prefix.Contains takes for the default home (BenchmarkContains).
type ranges struct {
	first [256]answer // of IPv4, by the first byte: that alone mostly decides
	v4    []range4
	v6    []netip.Prefix
}

// answer is what the first byte of an address says.
type answer uint8

const (
	outside answer = iota
	inside
	unsaid
)

type range4 struct{ addr, mask uint32 }

func (r *ranges) add(p netip.Prefix) {
	p = p.Masked()
	if !p.Addr().Is4() {
		r.v6 = append(r.v6, p)
		return
	}
	a := p.Addr().As4()
	for i := range 1 << max(8-p.Bits(), 0) {
		if at := &r.first[int(a[0])+i]; p.Bits() <= 8 {
			*at = inside
		} else if *at == outside {
			*at = unsaid
		}
	}
	r.v4 = append(r.v4, range4{binary.BigEndian.Uint32(a[:]), ^uint32(0) << (32 - p.Bits())})
}

// DefaultHome is what counts as home when nobody says otherwise: private, loopback, link-local, CGNAT and ULA.
var DefaultHome = []string{
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
	"100.64.0.0/10",                 // RFC 6598, CGNAT
	"127.0.0.0/8", "169.254.0.0/16", // loopback, link-local
	"::1/128", "fe80::/10", "fc00::/7",
}

// ParseNetworks reads CIDR ranges or single addresses.
func ParseNetworks(cidrs []string) (*Networks, error) {
	r := &ranges{}
	for _, s := range cidrs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return nil, fmt.Errorf("detectors: %q is neither a network nor an address", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		r.add(p)
	}
	n := &Networks{}
	n.ranges.Store(r)
	return n, nil
}

// Replace makes n the ranges of o, for everyone who holds n.
func (n *Networks) Replace(o *Networks) { n.ranges.Store(o.ranges.Load()) }

// Contains says whether a is in one of the ranges. An IPv4 address written as IPv6 counts as IPv4.
func (n *Networks) Contains(a netip.Addr) bool {
	if n == nil {
		return false
	}
	all := n.ranges.Load()
	if all == nil {
		return false
	}
	if a.Is4In6() {
		a = a.Unmap()
	}
	if a.Is4() {
		b := a.As4()
		v := binary.BigEndian.Uint32(b[:])
		switch all.first[v>>24] {
		case outside:
			return false
		case inside:
			return true
		}
		for _, r := range all.v4 {
			if v&r.mask == r.addr {
				return true
			}
		}
		return false
	}
	for _, p := range all.v6 {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Special says whether a can be no single remote host: unspecified, broadcast, multicast.
func Special(a netip.Addr) bool {
	return !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
