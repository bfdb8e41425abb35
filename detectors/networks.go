package detectors

import (
	"fmt"
	"net/netip"
)

// Networks is a set of address ranges.
type Networks struct{ prefixes []netip.Prefix }

// DefaultHome is what counts as home when nobody says otherwise: private, loopback, link-local, CGNAT and ULA.
var DefaultHome = []string{
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
	"100.64.0.0/10",                 // RFC 6598, CGNAT
	"127.0.0.0/8", "169.254.0.0/16", // loopback, link-local
	"::1/128", "fe80::/10", "fc00::/7",
}

// ParseNetworks reads CIDR ranges or single addresses.
func ParseNetworks(cidrs []string) (*Networks, error) {
	n := &Networks{}
	for _, s := range cidrs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return nil, fmt.Errorf("detectors: %q is neither a network nor an address", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		n.prefixes = append(n.prefixes, p.Masked())
	}
	return n, nil
}

// Contains says whether a is in one of the ranges. An IPv4 address written as IPv6 counts as IPv4.
func (n *Networks) Contains(a netip.Addr) bool {
	if n == nil {
		return false
	}
	a = a.Unmap()
	for _, p := range n.prefixes {
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
