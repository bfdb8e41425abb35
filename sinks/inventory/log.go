package inventory

import (
	"cmp"
	"io"
	"slices"
	"strings"

	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/sinks/logs"
)

// Log is the inventory as assets.log tells it: of each asset its last row.
type Log struct{ rows map[string]*logs.Row }

// Add takes the next row.
func (l *Log) Add(r *logs.Row) {
	key := r.Get("asset")
	if key == "" {
		return
	}
	if l.rows == nil {
		l.rows = map[string]*logs.Row{}
	}
	for _, was := range r.List("was") {
		delete(l.rows, was)
	}
	// Of several sensors' folders the rows of one may come behind later ones of another.
	if old := l.rows[key]; old == nil || old.Time("ts") <= r.Time("ts") {
		l.rows[key] = r
	}
}

// sorted gives the worst grade first.
func (l *Log) sorted() []*logs.Row {
	all := make([]*logs.Row, 0, len(l.rows))
	for _, r := range l.rows {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *logs.Row) int {
		return cmp.Or(cmp.Compare(b.Get("grade"), a.Get("grade")), cmp.Compare(a.Get("asset"), b.Get("asset")))
	})
	return all
}

// Print is Print for rows of a log.
func (l *Log) Print(w io.Writer) error {
	var all []summary
	for _, r := range l.sorted() {
		s := summary{
			grade: r.Get("grade"), key: r.Get("asset"), version: r.Get("version"), python: r.Get("python"), auth: r.Get("auth"), tls: r.Get("tls"),
			nodes:  len(r.List("heads")) + len(r.List("workers")) + len(r.List("peers")),
			inside: r.Uint("clients_inside"), outside: r.Uint("clients_outside"), last: r.Time("last_seen"),
		}
		for _, d := range [...][2]string{
			{"why", "reason"}, {"head", "heads"}, {"workers", "workers"}, {"peers", "peers"}, {"ports", "ports"}, {"session", "session_name"},
			{"cluster", "cluster_id"}, {"commit", "commit"}, {"behind", "proxies"}, {"clients", "client_kinds"}, {"outside", "outsiders"}, {"CVEs", "cves"},
		} {
			if s.nodes == 0 && d[0] == "ports" {
				continue
			}
			s.details = append(s.details, [2]string{d[0], r.Get(d[1])})
		}
		all = append(all, s)
	}
	return printAll(w, all)
}

// PrintJSON is PrintJSON for rows of a log, with what these have.
func (l *Log) PrintJSON(w io.Writer) error {
	known := map[string]data.CVE{}
	for _, c := range data.LoadCVEs() {
		known[c.ID] = c
	}
	one := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	all := []view{}
	for _, r := range l.sorted() {
		v := view{
			Asset: r.Get("asset"), Kind: r.Get("kind"), Local: r.Bool("local"), Grade: r.Get("grade"), Reason: r.Get("reason"),
			Version: r.Get("version"), Commit: r.Get("commit"), Python: r.Get("python"), Sessions: one(r.Get("session_name")),
			ClusterIDs: one(r.Get("cluster_id")), Auth: r.Get("auth"), TLS: r.Get("tls"), Inside: int(min(r.Uint("clients_inside"), 1<<31-1)),
			Outside: int(min(r.Uint("clients_outside"), 1<<31-1)), FirstSeen: r.Time("first_seen").Std(), LastSeen: r.Time("last_seen").Std(),
		}
		for _, part := range [...]string{"head", "worker", "peer"} {
			for _, addr := range r.List(part + "s") {
				v.Nodes = append(v.Nodes, node{Addr: addr, Part: part})
			}
		}
		for _, id := range r.List("cves") {
			id, _, _ = strings.Cut(id, " ")
			c := known[id]
			v.CVEs = append(v.CVEs, cve{id, c.Title, c.Needs, c.Fixed, c.Source})
		}
		all = append(all, v)
	}
	return printJSON(w, all)
}
