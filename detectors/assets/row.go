package assets

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

// Changes that a row may tell of.
const (
	New     = "new"     // never seen before, in this run or one before it
	Changed = "changed" // what it is, where, or who reaches it
	Seen    = "seen"    // still there
)

// Row is one line of assets.log: an asset as it stands.
type Row struct {
	capture.At
	Change string
	Asset  *Asset   // a copy
	Was    []string // other keys that rows before it had, before they turned out to be this one

	Grade, Reason    string
	CVEs             []string
	Auth             string
	Inside, Outside  int // addresses of clients
	Outsiders, Kinds []string
}

// sortByCalls puts the busiest kind first.
func sortByCalls(kinds []string, calls map[string]uint64) {
	slices.SortFunc(kinds, func(a, b string) int { return cmp.Or(cmp.Compare(calls[b], calls[a]), cmp.Compare(a, b)) })
}

// Machines gives the machines by their part; what is no head and does no node's work is a peer.
func (r *Row) Machines() (heads, workers, peers []string) {
	for _, n := range r.Asset.Nodes {
		s := n.Addr.String()
		switch {
		case n.Head:
			heads = append(heads, s)
		case n.Member:
			workers = append(workers, s)
		default:
			peers = append(peers, s)
		}
	}
	return heads, workers, peers
}

// listening is what listens at an address: on one port, or workers from the first port to the last.
type listening struct {
	addr        netip.Addr
	first, last uint16
	role        string
	n           int // how many
}

func (l *listening) String() string {
	at := netip.AddrPortFrom(l.addr, l.first).String()
	if l.n > 1 {
		return fmt.Sprintf("%s-%d %s (%d)", at, l.last, l.role, l.n)
	}
	return at + " " + l.role
}

// Ports lists what listens where: "10.20.0.10:6379 gcs". Workers of one machine are one range.
func (r *Row) Ports() (list []string) {
	for _, l := range r.listening() {
		list = append(list, l.String())
	}
	return list
}

func (r *Row) listening() (list []listening) {
	for _, n := range r.Asset.Nodes {
		var low, high uint16
		workers := 0
		for _, p := range n.Ports {
			if p.Role == "worker" {
				if workers++; workers == 1 {
					low = p.Num
				}
				high = p.Num
				continue
			}
			list = append(list, listening{n.Addr, p.Num, p.Num, p.Role, 1})
		}
		if workers > 0 {
			list = append(list, listening{n.Addr, low, high, "worker", workers})
		}
	}
	return list
}

// Proxies describes what stands in front: "10.20.0.30:80/ray nginx/1.22.1 (ray.example.org)".
func (r *Row) Proxies() (list []string) {
	for _, p := range r.Asset.Proxies {
		s := p.Addr.String() + p.Prefix
		if p.Server != "" {
			s += " " + p.Server
		}
		if p.Host != "" {
			s += " (" + p.Host + ")"
		}
		list = append(list, s)
	}
	return list
}

// TLS says whether the gRPC of a cluster, or a server, is encrypted: yes, no, mixed, or "".
func (r *Row) TLS() string {
	switch tls, clear := len(r.Asset.TLS) > 0, len(r.Asset.Clear) > 0; {
	case tls && clear:
		return "mixed"
	case tls:
		return "yes"
	case clear:
		return "no"
	}
	return ""
}

// Log implements capture.Record.
func (*Row) Log() string { return "assets" }

// Row implements capture.Record.
func (r *Row) Row(w capture.Fields) {
	a := r.Asset
	if a == nil {
		a = &Asset{}
		r = &Row{Asset: a}
	}
	heads, workers, peers := r.Machines()
	vector := func(name string, v []string) { w.Vector(name, "string", v, len(v) > 0) }
	w.Time("ts", r.Time, r.Time != 0)
	w.String("asset", a.Key, a.Key != "")
	w.Enum("kind", a.Kind, a.Kind != "")
	w.Enum("change", r.Change, r.Change != "")
	w.Bool("local", a.Local, a.Key != "")
	w.String("grade", r.Grade, r.Grade != "")
	w.String("reason", r.Reason, r.Reason != "")
	w.String("version", a.Version, a.Version != "")
	w.String("commit", a.Commit, a.Commit != "")
	w.String("python", a.Python, a.Python != "")
	w.String("session_name", last(a.Sessions), len(a.Sessions) > 0)
	w.String("cluster_id", last(a.ClusterIDs), len(a.ClusterIDs) > 0)
	vector("heads", heads)
	vector("workers", workers)
	vector("peers", peers)
	ports := r.listening()
	capture.Objects(w, "ports", r.Ports(), func(w capture.Fields, i int) {
		l := &ports[i]
		w.Addr("addr", l.addr, true)
		w.Port("port", l.first, true)
		w.Port("last", l.last, l.n > 1)
		w.String("role", l.role, true)
		w.Count("n", uint64(l.n), l.n > 1)
	}, len(ports) > 0)
	w.Enum("auth", r.Auth, r.Auth != "")
	w.Enum("tls", r.TLS(), r.TLS() != "")
	capture.Objects(w, "proxies", r.Proxies(), func(w capture.Fields, i int) {
		p := &a.Proxies[i]
		w.Addr("addr", p.Addr.Addr(), true)
		w.Port("port", p.Addr.Port(), true)
		w.String("prefix", p.Prefix, p.Prefix != "")
		w.String("server", p.Server, p.Server != "")
		w.String("host", p.Host, p.Host != "")
	}, len(a.Proxies) > 0)
	w.Count("clients_inside", uint64(r.Inside), a.Key != "")
	w.Count("clients_outside", uint64(r.Outside), a.Key != "")
	capture.Objects(w, "client_kinds", r.Kinds, func(w capture.Fields, i int) {
		kind, calls := r.Kinds[i], uint64(0)
		if at := strings.LastIndexByte(kind, ' '); at >= 0 {
			calls, _ = strconv.ParseUint(kind[at+1:], 10, 64)
			kind = kind[:at]
		}
		w.String("kind", kind, true)
		w.Count("n", calls, true)
	}, len(r.Kinds) > 0)
	vector("outsiders", r.Outsiders)
	vector("cves", r.CVEs)
	w.Time("first_seen", a.First, a.First != 0)
	w.Time("last_seen", a.Last, a.Last != 0)
	vector("was", r.Was)
}

// state is what makes a row a change: what the asset is and who reaches it, not how often; workers come and go.
func (r *Row) state() string {
	a := r.Asset
	heads, workers, peers := r.Machines()
	ports := slices.DeleteFunc(r.Ports(), func(s string) bool { return strings.Contains(s, " worker") })
	return fmt.Sprintf("%q", []any{
		r.Grade, r.Reason, a.Version, a.Commit, a.Python, a.ClusterIDs, a.Sessions, heads, workers, peers, ports, r.Auth, r.TLS(),
		r.Proxies(), r.Outsiders, r.CVEs,
	})
}

// Judge sums up assets as they stand, without a run: of what an earlier one knew.
func Judge(known []*Asset, home *detectors.Networks) (rows []*Row) {
	cves := data.LoadCVEs()
	for _, a := range known {
		v := a.judge(home, cves)
		rows = append(rows, &Row{
			At: capture.At{Time: a.Last}, Asset: a.clone(), Grade: v.grade, Reason: v.reason, CVEs: v.cves, Auth: v.auth,
			Inside: v.inside, Outside: v.outside, Outsiders: v.outsiders, Kinds: v.kinds,
		})
	}
	return rows
}
