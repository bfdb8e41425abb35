package data

import (
	_ "embed"
	"net/netip"
	"strings"
)

//go:embed pools.csv
var poolsCSV string

// Grade says how much an entry of the pool list is worth.
type Grade string

// Grades, as the data file explains them.
const (
	Pool     Grade = "pool"
	Doubtful Grade = "doubtful"
	Hint     Grade = "address"
)

// Pools is the list of mining pools, ready for look-ups.
type Pools struct {
	Version string
	names   map[string]Grade
	addrs   map[netip.Addr]struct{}
	ports   map[netip.AddrPort]struct{}
}

// LoadPools reads the embedded list: a millisecond, once per run.
func LoadPools() *Pools {
	p := &Pools{names: map[string]Grade{}, addrs: map[netip.Addr]struct{}{}, ports: map[netip.AddrPort]struct{}{}}
	p.Version = header(poolsCSV, "version ")
	for line := range strings.Lines(poolsCSV) {
		if line[0] == '#' {
			continue
		}
		ind, rest, _ := strings.Cut(strings.TrimSpace(line), ",")
		grade, _, _ := strings.Cut(rest, ",")
		if grade != string(Hint) {
			p.names[ind] = Grade(grade)
		} else if a, err := netip.ParseAddr(ind); err == nil {
			p.addrs[a] = struct{}{}
		} else if ap, err := netip.ParseAddrPort(ind); err == nil {
			p.ports[ap] = struct{}{}
		}
	}
	return p
}

// Name looks a host name up: it is listed if it is an entry or ends with one at the border of a label. It returns the
// entry. Case and a trailing dot do not matter.
func (p *Pools) Name(host string) (entry string, g Grade) {
	host = strings.TrimSuffix(host, ".")
	if len(host) > 255 {
		return "", ""
	}
	for i := range len(host) {
		if host[i] >= 'A' && host[i] <= 'Z' {
			host = strings.ToLower(host)
			break
		}
	}
	for s := host; s != ""; {
		if g, ok := p.names[s]; ok {
			return s, g
		}
		i := strings.IndexByte(s, '.')
		if i < 0 {
			break
		}
		s = s[i+1:]
	}
	return "", ""
}

// Addr says whether an address, or the address with this port, is listed. Such entries grow old fast.
func (p *Pools) Addr(a netip.AddrPort) bool {
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	if _, ok := p.ports[a]; ok {
		return true
	}
	_, ok := p.addrs[a.Addr()]
	return ok
}

// Len counts the entries.
func (p *Pools) Len() (names, addrs int) { return len(p.names), len(p.addrs) + len(p.ports) }

// header finds what follows a word in the comments at the top of a data file, up to the end of the line.
func header(file, word string) string {
	for line := range strings.Lines(file) {
		if line[0] != '#' {
			break
		}
		if _, v, ok := strings.Cut(line, word); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
