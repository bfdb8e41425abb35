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

// Print writes rows as a table, and below each asset what there is no column for.
func Print(w io.Writer, rows []*assets.Row) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "GRADE\tASSET\tVERSION\tPYTHON\tAUTH\tTLS\tNODES\tCLIENTS\tLAST SEEN")
	for _, r := range rows {
		a := r.Asset
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d inside, %d outside\t%s\n", r.Grade, terminal.Clean(a.Key), dash(a.Version), dash(a.Python),
			dash(r.Auth), dash(r.TLS()), len(a.Nodes), r.Inside, r.Outside, stamp(a.Last))
	}
	t.Flush()
	// The details cannot go through the tabwriter: they would widen its columns.
	lines := strings.SplitAfter(b.String(), "\n")
	b.Reset()
	for i, line := range lines {
		b.WriteString(line)
		if i == 0 || i > len(rows) {
			continue
		}
		details(&b, rows[i-1])
	}
	if len(rows) == 0 {
		b.Reset()
		b.WriteString("no assets seen\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

func details(b *bytes.Buffer, r *assets.Row) {
	a := r.Asset
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(b, "       %-10s %s\n", name, terminal.Clean(text))
		}
	}
	heads, workers, peers := r.Machines()
	line("why", r.Reason)
	if a.Kind == "ray" {
		line("head", strings.Join(heads, ", "))
		line("workers", strings.Join(workers, ", "))
		line("peers", strings.Join(peers, ", "))
		line("ports", strings.Join(r.Ports(), ", "))
		line("session", newest(a.Sessions))
		line("cluster", newest(a.ClusterIDs))
		line("commit", a.Commit)
	}
	line("behind", strings.Join(r.Proxies(), ", "))
	line("clients", strings.Join(r.Kinds, ", "))
	line("outside", strings.Join(r.Outsiders, ", "))
	line("CVEs", strings.Join(r.CVEs, ", "))
	b.WriteByte('\n')
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
