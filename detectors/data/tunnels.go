package data

import (
	"bufio"
	_ "embed"
	"strings"
	"sync"
)

//go:embed tunnels.csv
var tunnelsCSV string

// Relay is a service that carries connections past a firewall.
type Relay struct {
	Service string
	Grade   string // VPN, Common, Odd
}

// The grades of tunnels.csv.
const (
	VPN    = "vpn"
	Common = "common"
	Odd    = "odd"
)

var relays = sync.OnceValue(func() map[string]Relay {
	m := map[string]Relay{}
	for sc := bufio.NewScanner(strings.NewReader(tunnelsCSV)); sc.Scan(); {
		if f := strings.Split(sc.Text(), ","); len(f) == 4 && !strings.HasPrefix(f[0], "#") {
			m[f[0]] = Relay{f[1], f[2]}
		}
	}
	return m
})

// RelayOf tells which relay a host name, in lower case, belongs to; the zero value if none.
func RelayOf(host string) Relay {
	m := relays()
	for host = strings.TrimSuffix(host, "."); host != ""; {
		if r, ok := m[host]; ok {
			return r
		}
		_, host, _ = strings.Cut(host, ".")
	}
	return Relay{}
}
