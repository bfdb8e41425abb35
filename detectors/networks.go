package detectors

import (
	"fmt"
	"net/netip"
	"sync/atomic"
)

// Networks is a set of address ranges. Many goroutines may ask while one replaces it.
type Networks struct {
	prefixes atomic.Pointer[[]netip.Prefix]
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
	var prefixes []netip.Prefix
	for _, s := range cidrs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return nil, fmt.Errorf("detectors: %q is neither a network nor an address", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		prefixes = append(prefixes, p.Masked())
	}
	n := &Networks{}
	n.prefixes.Store(&prefixes)
	return n, nil
}

// Replace makes n the ranges of o, for everyone who holds n.
func (n *Networks) Replace(o *Networks) { n.prefixes.Store(o.prefixes.Load()) }

// Contains says whether a is in one of the ranges. An IPv4 address written as IPv6 counts as IPv4.
func (n *Networks) Contains(a netip.Addr) bool {
	if n == nil {
		return false
	}
	all := n.prefixes.Load()
	if all == nil {
		return false
	}
	a = a.Unmap()
	for _, p := range *all {
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
