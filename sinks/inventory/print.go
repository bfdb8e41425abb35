package inventory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors/assets"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/sinks/terminal"
)

// summary is an asset as Print shows it.
type summary struct {
	grade, key, version, python, auth, tls string
	nodes                                  int
	inside, outside                        uint64
	last                                   capture.Time
	details                                [][2]string // what there is no column for
}

// Print writes rows as a table, and below each asset what there is no column for.
func Print(w io.Writer, rows []*assets.Row) error {
	all := make([]summary, 0, len(rows))
	for _, r := range rows {
		a := r.Asset
		heads, workers, peers := r.Machines()
		s := summary{
			grade: r.Grade, key: a.Key, version: a.Version, python: a.Python, auth: r.Auth, tls: r.TLS(),
			nodes: len(a.Nodes), inside: uint64(r.Inside), outside: uint64(r.Outside), last: a.Last,
			details: [][2]string{{"why", r.Reason}},
		}
		if a.Kind == "ray" {
			s.details = append(s.details, [][2]string{
				{"head", strings.Join(heads, ", ")}, {"workers", strings.Join(workers, ", ")}, {"peers", strings.Join(peers, ", ")},
				{"ports", strings.Join(r.Ports(), ", ")}, {"session", newest(a.Sessions)}, {"cluster", newest(a.ClusterIDs)}, {"commit", a.Commit},
			}...)
		}
		s.details = append(s.details, [][2]string{
			{"behind", strings.Join(r.Proxies(), ", ")}, {"clients", strings.Join(r.Kinds, ", ")}, {"outside", strings.Join(r.Outsiders, ", ")},
			{"CVEs", strings.Join(r.CVEs, ", ")},
		}...)
		all = append(all, s)
	}
	return printAll(w, all)
}

func printAll(w io.Writer, all []summary) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "GRADE\tASSET\tVERSION\tPYTHON\tAUTH\tTLS\tNODES\tCLIENTS\tLAST SEEN (UTC)")
	for i := range all {
		s := &all[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d inside, %d outside\t%s\n", terminal.Clean(s.grade), terminal.Clean(s.key), dash(s.version),
			dash(s.python), dash(s.auth), dash(s.tls), s.nodes, s.inside, s.outside, stamp(s.last))
	}
	t.Flush()
	// The details cannot go through the tabwriter: they would widen its columns.
	lines := strings.SplitAfter(b.String(), "\n")
	b.Reset()
	for i, line := range lines {
		b.WriteString(line)
		if i == 0 || i > len(all) {
			continue
		}
		for _, d := range all[i-1].details {
			if d[1] != "" {
				fmt.Fprintf(&b, "       %-10s %s\n", d[0], terminal.Clean(d[1]))
			}
		}
		b.WriteByte('\n')
	}
	if len(all) == 0 {
		b.Reset()
		b.WriteString("no assets seen\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// newest gives the last of several names, and how many there were before it.
func newest(names []string) string {
	switch n := len(names); n {
	case 0:
		return ""
	case 1:
		return names[0]
	default:
		return fmt.Sprintf("%s (%d before it)", names[n-1], n-1)
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return terminal.Clean(s)
}

func stamp(t capture.Time) string { return t.Std().Format("2006-01-02 15:04:05") }

// view is an asset as PrintJSON writes it; scripts read the names.
type view struct {
	Asset      string    `json:"asset"`
	Kind       string    `json:"kind"`
	Local      bool      `json:"local"`
	Grade      string    `json:"grade"`
	Reason     string    `json:"reason"`
	Version    string    `json:"version,omitempty"`
	Commit     string    `json:"commit,omitempty"`
	Python     string    `json:"python,omitempty"`
	Sessions   []string  `json:"sessions,omitempty"`    // the present one last
	ClusterIDs []string  `json:"cluster_ids,omitempty"` // likewise
	Nodes      []node    `json:"nodes,omitempty"`
	Auth       string    `json:"auth,omitempty"`
	Doors      []door    `json:"doors,omitempty"`
	TLS        string    `json:"tls,omitempty"`
	Proxies    []proxy   `json:"proxies,omitempty"`
	Inside     int       `json:"clients_inside"`
	Outside    int       `json:"clients_outside"`
	Clients    []client  `json:"clients,omitempty"`
	Forgotten  uint64    `json:"clients_forgotten,omitempty"`
	CVEs       []cve     `json:"cves,omitempty"`
	FirstSeen  time.Time `json:"first_seen"`
	LastSeen   time.Time `json:"last_seen"`
}

type node struct {
	Addr  string        `json:"addr"`
	Host  string        `json:"host,omitempty"`
	Part  string        `json:"part"` // head, worker, peer
	Ports []assets.Port `json:"ports,omitempty"`
}

type door struct {
	Service string `json:"service"`
	Token   bool   `json:"token"`
}

type proxy struct {
	Addr   string `json:"addr"`
	Prefix string `json:"prefix,omitempty"`
	Host   string `json:"host,omitempty"`
	Server string `json:"server,omitempty"`
}

type client struct {
	Addr      string    `json:"addr"`
	Kind      string    `json:"kind"`
	Calls     uint64    `json:"calls"`
	Open      uint64    `json:"calls_without_token,omitempty"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
}

type cve struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Needs  string `json:"needs"`
	Fixed  string `json:"fixed,omitempty"`
	Source string `json:"source"`
}

// PrintJSON writes rows as a list in JSON.
func PrintJSON(w io.Writer, rows []*assets.Row) error {
	known := map[string]data.CVE{}
	for _, c := range data.LoadCVEs() {
		known[c.ID] = c
	}
	all := make([]view, 0, len(rows))
	for _, r := range rows {
		a := r.Asset
		v := view{
			Asset: a.Key, Kind: a.Kind, Local: a.Local, Grade: r.Grade, Reason: r.Reason, Version: a.Version, Commit: a.Commit, Python: a.Python,
			Sessions: a.Sessions, ClusterIDs: a.ClusterIDs, Auth: r.Auth, TLS: r.TLS(), Inside: r.Inside, Outside: r.Outside,
			Forgotten: a.Forgotten, FirstSeen: a.First.Std(), LastSeen: a.Last.Std(),
		}
		for _, n := range a.Nodes {
			part := "peer"
			if n.Head {
				part = "head"
			} else if n.Member {
				part = "worker"
			}
			v.Nodes = append(v.Nodes, node{n.Addr.String(), n.Host, part, n.Ports})
		}
		for _, d := range a.Doors {
			v.Doors = append(v.Doors, door{d.Service, d.Token})
		}
		for _, p := range a.Proxies {
			v.Proxies = append(v.Proxies, proxy{p.Addr.String(), p.Prefix, p.Host, p.Server})
		}
		for _, c := range a.Clients {
			v.Clients = append(v.Clients, client{c.Addr.String(), c.Kind, c.Calls, c.Open, c.First.Std(), c.Last.Std()})
		}
		for _, id := range r.CVEs {
			c := known[id]
			v.CVEs = append(v.CVEs, cve{id, c.Title, c.Needs, c.Fixed, c.Source})
		}
		all = append(all, v)
	}
	return printJSON(w, all)
}

func printJSON(w io.Writer, all []view) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := w.Write(terminal.JSON(b.Bytes()))
	return err
}
