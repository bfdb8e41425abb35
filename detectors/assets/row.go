package assets

import (
	"cmp"
	"fmt"
	"slices"
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

// Ports lists what listens where: "10.20.0.10:6379 gcs". Workers of one machine are one range.
func (r *Row) Ports() (list []string) {
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
			list = append(list, fmt.Sprintf("%s:%d %s", bracket(n), p.Num, p.Role))
		}
		switch {
		case workers == 1:
			list = append(list, fmt.Sprintf("%s:%d worker", bracket(n), low))
		case workers > 1:
			list = append(list, fmt.Sprintf("%s:%d-%d worker (%d)", bracket(n), low, high, workers))
		}
	}
	return list
}

func bracket(n Node) string {
	if n.Addr.Is6() {
		return "[" + n.Addr.String() + "]"
	}
	return n.Addr.String()
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
	vector("ports", r.Ports())
	w.Enum("auth", r.Auth, r.Auth != "")
	w.Enum("tls", r.TLS(), r.TLS() != "")
	vector("proxies", r.Proxies())
	w.Count("clients_inside", uint64(r.Inside), a.Key != "")
	w.Count("clients_outside", uint64(r.Outside), a.Key != "")
	vector("client_kinds", r.Kinds)
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
