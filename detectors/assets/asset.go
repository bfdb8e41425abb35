package assets

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/raytap/raytap/capture"
)

// Asset is one Ray cluster, or one server of another kind. It is what a Row carries and what is kept between runs; all
// of it is plain data.
type Asset struct {
	Key        string   `json:"key"`  // stable: kind and where it was first seen
	Kind       string   `json:"kind"` // "ray", or the product
	Local      bool     `json:"local"`
	Version    string   `json:"version,omitempty"`
	Commit     string   `json:"commit,omitempty"`
	Python     string   `json:"python,omitempty"`
	ClusterIDs []string `json:"cluster_ids,omitempty"` // the newest last: Ray makes a new one each time it starts
	Sessions   []string `json:"sessions,omitempty"`
	Nodes      []Node   `json:"nodes,omitempty"`   // by address
	Doors      []Door   `json:"doors,omitempty"`   // by service
	Proxies    []Proxy  `json:"proxies,omitempty"` // in front of it, by address
	Clients    []Client `json:"clients,omitempty"` // by address and kind
	Forgotten  uint64   `json:"clients_forgotten,omitempty"`
	TLS        []string `json:"tls,omitempty"`   // services that speak TLS
	Clear      []string `json:"clear,omitempty"` // services that speak in clear

	First capture.Time `json:"first_seen"`
	Last  capture.Time `json:"last_seen"`
}

// Node is a machine of an asset.
type Node struct {
	Addr   netip.Addr   `json:"addr"`
	Host   string       `json:"host,omitempty"`
	Head   bool         `json:"head,omitempty"`
	Member bool         `json:"member,omitempty"` // it does a node's work; else it was only connected when the capture began
	Ports  []Port       `json:"ports,omitempty"`  // by number
	Last   capture.Time `json:"last_seen"`
}

// Port is a port and what listens there.
type Port struct {
	Num  uint16 `json:"port"`
	Role string `json:"role"`
}

// Door is what a service asks of those who come: what was last seen of it.
type Door struct {
	Service string       `json:"service"`
	Token   bool         `json:"token"` // it asked for one; else it answered somebody who had none
	At      capture.Time `json:"at"`
}

// Proxy is a server in front of a dashboard.
type Proxy struct {
	Addr   netip.AddrPort `json:"addr"`
	Prefix string         `json:"prefix,omitempty"`
	Host   string         `json:"host,omitempty"`   // as clients call it
	Server string         `json:"server,omitempty"` // its software, or what it adds to an answer
}

// Client is somebody who talked to an asset and is no part of it.
type Client struct {
	Addr  netip.Addr   `json:"addr"`
	Kind  string       `json:"kind"`
	Calls uint64       `json:"calls"`          // that were answered
	Open  uint64       `json:"open,omitempty"` // of them without credentials, where those are asked for if anywhere
	First capture.Time `json:"first_seen"`
	Last  capture.Time `json:"last_seen"`
}

const (
	maxNames   = 4    // ids and sessions kept of an asset: the present one and some before
	maxNodes   = 1024 // Ray's own limit is 2,000; most have under 50
	maxPorts   = 32   // of a node; workers come and go
	maxDoors   = 16
	maxProxies = 16
	maxClients = 128
)

// name puts s at the end of a list of names.
func name(list []string, s string) []string {
	if s == "" || len(list) > 0 && list[len(list)-1] == s {
		return list
	}
	if i := slices.Index(list, s); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if list = append(list, s); len(list) > maxNames {
		list = list[1:]
	}
	return list
}

func last(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

// node gives the node of an address, made if there is none. The pointer holds until the next call.
func (a *Asset) node(addr netip.Addr, at capture.Time) *Node {
	i, ok := slices.BinarySearchFunc(a.Nodes, addr, func(n Node, x netip.Addr) int { return n.Addr.Compare(x) })
	if !ok {
		if len(a.Nodes) >= maxNodes {
			oldest := 0
			for j := range a.Nodes {
				if a.Nodes[j].Last < a.Nodes[oldest].Last {
					oldest = j
				}
			}
			a.Nodes = slices.Delete(a.Nodes, oldest, oldest+1)
			if oldest < i {
				i--
			}
		}
		a.Nodes = slices.Insert(a.Nodes, i, Node{Addr: addr})
	}
	n := &a.Nodes[i]
	n.Last = max(n.Last, at)
	return n
}

// has says whether an address is one of the asset's machines.
func (a *Asset) has(addr netip.Addr) bool {
	_, ok := slices.BinarySearchFunc(a.Nodes, addr, func(n Node, x netip.Addr) int { return n.Addr.Compare(x) })
	return ok
}

// role gives what listens on a port, as far as it is known.
func (a *Asset) role(addr netip.Addr, num uint16) string {
	i, ok := slices.BinarySearchFunc(a.Nodes, addr, func(n Node, x netip.Addr) int { return n.Addr.Compare(x) })
	if !ok {
		return ""
	}
	ports := a.Nodes[i].Ports
	if i, ok = slices.BinarySearchFunc(ports, num, func(p Port, x uint16) int { return cmp.Compare(p.Num, x) }); !ok {
		return ""
	}
	return ports[i].Role
}

// port notes what listens on a port. What is said of a port later is truer: workers come and go.
func (n *Node) port(num uint16, role string) {
	if num == 0 {
		return
	}
	i, ok := slices.BinarySearchFunc(n.Ports, num, func(p Port, x uint16) int { return cmp.Compare(p.Num, x) })
	switch {
	case ok:
		n.Ports[i].Role = role
	case len(n.Ports) < maxPorts:
		n.Ports = slices.Insert(n.Ports, i, Port{num, role})
	case role != "worker": // one of the workers makes room
		if j := slices.IndexFunc(n.Ports, func(p Port) bool { return p.Role == "worker" }); j >= 0 {
			n.Ports = slices.Delete(n.Ports, j, j+1)
			n.port(num, role)
		}
	}
}

// door notes that a service asked for a token, or did without.
func (a *Asset) door(service string, token bool, at capture.Time) {
	i, ok := slices.BinarySearchFunc(a.Doors, service, func(d Door, x string) int { return cmp.Compare(d.Service, x) })
	switch {
	case ok && at >= a.Doors[i].At:
		a.Doors[i].Token, a.Doors[i].At = token, at
	case !ok && len(a.Doors) < maxDoors:
		a.Doors = slices.Insert(a.Doors, i, Door{service, token, at})
	}
}

// proxy notes a server in front.
func (a *Asset) proxy(p Proxy) {
	i, ok := slices.BinarySearchFunc(a.Proxies, p, func(q, x Proxy) int {
		return cmp.Or(q.Addr.Compare(x.Addr), cmp.Compare(q.Prefix, x.Prefix))
	})
	if ok {
		q := &a.Proxies[i]
		q.Host, q.Server = cmp.Or(p.Host, q.Host), cmp.Or(p.Server, q.Server)
	} else if len(a.Proxies) < maxProxies {
		a.Proxies = slices.Insert(a.Proxies, i, p)
	}
}

// client notes a call that was answered.
func (a *Asset) client(addr netip.Addr, kind string, open bool, at capture.Time) {
	a.add(Client{Addr: addr, Kind: kind, Calls: 1, Open: count(open), First: at, Last: at})
}

// add counts a client's calls in; of too many the one that was silent for longest is forgotten.
func (a *Asset) add(c Client) {
	i, ok := slices.BinarySearchFunc(a.Clients, c, func(x, y Client) int {
		return cmp.Or(x.Addr.Compare(y.Addr), cmp.Compare(x.Kind, y.Kind))
	})
	if ok {
		x := &a.Clients[i]
		x.Calls, x.Open = x.Calls+c.Calls, x.Open+c.Open
		x.First, x.Last = min(x.First, c.First), max(x.Last, c.Last)
		return
	}
	if len(a.Clients) >= maxClients {
		oldest := 0
		for j := range a.Clients {
			if a.Clients[j].Last < a.Clients[oldest].Last {
				oldest = j
			}
		}
		a.Clients = slices.Delete(a.Clients, oldest, oldest+1)
		a.Forgotten++
		if oldest < i {
			i--
		}
	}
	a.Clients = slices.Insert(a.Clients, i, c)
}

func count(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// word puts s into a sorted list once.
func word(list []string, s string) []string {
	i, ok := slices.BinarySearch(list, s)
	if ok || len(list) >= maxDoors {
		return list
	}
	return slices.Insert(list, i, s)
}

// take moves into a what b knows; b is the same asset, seen elsewhere.
func (a *Asset) take(b *Asset) {
	newer := b.Last > a.Last
	pick := func(x, y string) string {
		if newer {
			return cmp.Or(y, x)
		}
		return cmp.Or(x, y)
	}
	a.Version, a.Commit, a.Python = pick(a.Version, b.Version), pick(a.Commit, b.Commit), longer(a.Python, b.Python)
	a.ClusterIDs, a.Sessions = names(a.ClusterIDs, b.ClusterIDs, newer), names(a.Sessions, b.Sessions, newer)
	a.Local = a.Local || b.Local
	for _, n := range b.Nodes {
		m := a.node(n.Addr, n.Last)
		m.Host, m.Head, m.Member = cmp.Or(m.Host, n.Host), m.Head || n.Head, m.Member || n.Member
		for _, p := range n.Ports {
			m.port(p.Num, p.Role)
		}
	}
	for _, d := range b.Doors {
		a.door(d.Service, d.Token, d.At)
	}
	for _, p := range b.Proxies {
		a.proxy(p)
	}
	for _, c := range b.Clients {
		a.add(c)
	}
	for _, s := range b.TLS {
		a.TLS = word(a.TLS, s)
	}
	for _, s := range b.Clear {
		a.Clear = word(a.Clear, s)
	}
	a.Forgotten += b.Forgotten
	a.First, a.Last = min(a.First, b.First), max(a.Last, b.Last)
}

// names joins two lists of names, the newer behind.
func names(a, b []string, bNewer bool) []string {
	if !bNewer {
		a, b = b, a
	}
	a = slices.Clone(a)
	for _, s := range b {
		a = name(a, s)
	}
	return a
}

// longer gives the more exact of two versions, 3.11.7 rather than 3.11, or the newer one.
func longer(old, new string) string {
	if len(new) < len(old) && old[:len(new)] == new {
		return old
	}
	return cmp.Or(new, old)
}

// clone copies a whole asset.
func (a *Asset) clone() *Asset {
	b := *a
	b.ClusterIDs, b.Sessions = slices.Clone(a.ClusterIDs), slices.Clone(a.Sessions)
	b.Nodes, b.Doors, b.Proxies, b.Clients = slices.Clone(a.Nodes), slices.Clone(a.Doors), slices.Clone(a.Proxies), slices.Clone(a.Clients)
	b.TLS, b.Clear = slices.Clone(a.TLS), slices.Clone(a.Clear)
	for i := range b.Nodes {
		b.Nodes[i].Ports = slices.Clone(b.Nodes[i].Ports)
	}
	return &b
}
