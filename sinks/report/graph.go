package report

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/terminal"
)

// The picture of who talked to whom: three columns, who came from outside, the machines inside, where they went. Places
// follow from the hosts alone, in a fixed order, so that a report looks the same every time.
const (
	nodeW, nodeH     = 236, 58
	rowGap, colGap   = 26, 216
	graphTop         = 40
	sideMargin       = 18
	maxNodesLeft     = 6
	maxNodesInside   = 8
	maxNodesRight    = 8
	maxGraphEdges    = 60
	maxAddressLetter = 27
)

type node struct {
	X, Y, W, H   int
	Role         string
	Label, Title string
	Name         string
	Severity     string // class, "" if nothing was found
	addr         netip.Addr
	column       int
}

// Text positions, for the template.
func (n node) TextX() int { return n.X + 14 }
func (n node) RoleY() int { return n.Y + 17 }
func (n node) MainY() int { return n.Y + pick(n.Name == "", 40, 34) }
func (n node) NameY() int { return n.Y + 50 }

type edge struct {
	Path             string
	Label            string
	X, Y             int
	From, To         string
	Flows            uint64
	Services         string
	Out, Back        string // bytes
	Severity         string
	Width            string
	Reverse, Labeled bool
}

type graph struct {
	W, H, HomeX, HomeY, HomeW, HomeH int
	Nodes                            []node
	Edges                            []edge
	LeftOut                          int
	Describe                         string
}

// graph draws the hosts that there is something to tell of, and the connections between them.
func (r *Report) graph(safe *defanger) graph {
	var g graph
	all, opened := r.candidates()
	columns, leftOut := r.columns(safe, all, opened)
	g.LeftOut = leftOut
	at := g.place(columns)
	g.Edges = r.edges(at)
	g.Describe = fmt.Sprintf("%d hosts and %d connections between them. The table below has the same data.", len(g.Nodes), len(g.Edges))
	return g
}

// candidate is a host that the graph may show.
type candidate struct {
	addr netip.Addr
	host host
}

// candidates gives what the graph may show, the most important first, and how many connections each address opened.
func (r *Report) candidates() (all []candidate, opened map[netip.Addr]uint64) {
	traffic := map[netip.Addr]uint64{}
	opened = map[netip.Addr]uint64{}
	serves := map[netip.Addr]bool{} // names
	for k, p := range r.pairs {
		if slices.Contains(p.ports, 53) {
			serves[k[0]], serves[k[1]] = true, true
		}
		for i, a := range k {
			traffic[a] += p.bytes[0] + p.bytes[1]
			opened[a] += p.opened[i]
		}
	}
	for a, h := range r.hosts {
		if h.named || h.role == roleHead || h.role == roleNode {
			all = append(all, candidate{a, *h})
		}
	}
	if len(all) == 0 { // nothing to tell: who moved most
		for a := range traffic {
			if !detectors.Special(a) {
				all = append(all, candidate{a, host{role: pick(r.inside(a), roleInside, roleOutsider)}})
			}
		}
	}
	for i := range all {
		// A name service is none of the attackers' or the cluster's.
		if c := &all[i]; (c.host.role == roleInside || c.host.role == roleTarget) && serves[c.addr] && opened[c.addr] == 0 {
			c.host.role = roleResolver
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.host.severity, a.host.severity), cmp.Compare(b.host.role, a.host.role),
			cmp.Compare(traffic[b.addr], traffic[a.addr]), a.addr.Compare(b.addr))
	})
	return all, opened
}

// columns sorts hosts into what comes from outside, the machines inside and what they go to.
func (r *Report) columns(safe *defanger, all []candidate, opened map[netip.Addr]uint64) (columns [3][]node, leftOut int) {
	limits := [3]int{maxNodesLeft, maxNodesInside, maxNodesRight}
	for _, c := range all {
		col := 1
		if !r.inside(c.addr) {
			col = 2
			if c.host.role == roleAttacker || c.host.role == roleOutsider && opened[c.addr] > 0 {
				col = 0
			}
		}
		if len(columns[col]) >= limits[col] {
			leftOut++
			continue
		}
		label := c.addr.String()
		if len(label) > maxAddressLetter {
			label = label[:12] + "…" + label[len(label)-13:]
		}
		if c.addr.Is4() && !r.inside(c.addr) {
			label = brackets(label)
		}
		as := c.host.role.String()
		if c.host.role == roleInside && c.host.severity >= detectors.Medium {
			as = "machine inside"
		}
		columns[col] = append(columns[col], node{
			W: nodeW, H: nodeH, Role: as, Label: label, Title: c.addr.String(), Name: shorten(safe.text(c.host.name), 32),
			Severity: pick(c.host.severity >= detectors.Medium, c.host.severity.String(), ""), addr: c.addr, column: col,
		})
	}
	// Inside, the head stands above its nodes and those above the rest, whatever was found.
	slices.SortStableFunc(columns[1], func(a, b node) int { return cmp.Compare(r.rank(b.addr), r.rank(a.addr)) })
	return columns, leftOut
}

// place puts the nodes where they are drawn, and gives them by address.
func (g *graph) place(columns [3][]node) map[netip.Addr]node {
	rows := max(len(columns[0]), len(columns[1]), len(columns[2]), 1)
	g.H = graphTop + rows*(nodeH+rowGap) + 14
	x := sideMargin
	at := map[netip.Addr]node{}
	for c := range columns {
		if len(columns[c]) == 0 {
			continue
		}
		free := (rows - len(columns[c])) * (nodeH + rowGap) / 2
		for i := range columns[c] {
			n := &columns[c][i]
			n.X, n.Y = x, graphTop+free+i*(nodeH+rowGap)
			at[n.addr] = *n
			g.Nodes = append(g.Nodes, *n)
		}
		if c == 1 {
			first, last := columns[c][0], columns[c][len(columns[c])-1]
			g.HomeX, g.HomeY, g.HomeW, g.HomeH = x-14, first.Y-30, nodeW+28, last.Y+nodeH+14-(first.Y-30)
		}
		x += nodeW + colGap
	}
	g.W = max(x-colGap+sideMargin, 420)
	if len(columns[2]) == 0 {
		g.W += bulge(g.H) // for what passes between the machines inside, round the side
	}
	return at
}

func (r *Report) rank(a netip.Addr) int {
	switch h := r.hosts[a]; {
	case h == nil:
		return 0
	case h.role == roleHead:
		return 2
	case h.role == roleNode:
		return 1
	}
	return 0
}

// edges draws what passed between the hosts shown.
func (r *Report) edges(at map[netip.Addr]node) []edge {
	found := map[[2]netip.Addr]detectors.Severity{}
	for i := range r.Findings {
		f := &r.Findings[i]
		key := [2]netip.Addr{f.Src, f.Dst}
		if f.Dst.Less(f.Src) {
			key = [2]netip.Addr{f.Dst, f.Src}
		}
		found[key] = max(found[key], f.Severity)
	}
	keys := make([][2]netip.Addr, 0, len(at))
	for k := range r.pairs {
		_, a := at[k[0]]
		_, b := at[k[1]]
		if a && b && k[0] != k[1] {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b [2]netip.Addr) int {
		return cmp.Or(cmp.Compare(found[b], found[a]), cmp.Compare(r.pairs[b].bytes[0]+r.pairs[b].bytes[1], r.pairs[a].bytes[0]+r.pairs[a].bytes[1]),
			a[0].Compare(b[0]), a[1].Compare(b[1]))
	})
	keys = keys[:min(len(keys), maxGraphEdges)]
	var all []edge
	for _, k := range keys {
		p := r.pairs[k]
		from := btoi(p.opened[1] > p.opened[0])
		a, b := at[k[from]], at[k[1-from]]
		sev := found[k]
		services := strings.Join(p.services, ", ")
		if services == "" {
			var ports []string
			for _, n := range p.ports[:min(len(p.ports), 3)] {
				ports = append(ports, strconv.Itoa(int(n)))
			}
			services = "port " + strings.Join(ports, ", ") + pick(len(p.ports) > 3, ", …", "")
		}
		total := p.bytes[0] + p.bytes[1]
		e := edge{
			From: a.Title, To: b.Title, Flows: p.flows, Services: services, Out: terminal.Size(p.bytes[from]), Back: terminal.Size(p.bytes[1-from]),
			Label: shorten(services, 22) + " · " + terminal.Size(total), Severity: pick(sev >= detectors.Medium, sev.String(), ""),
			Width: strconv.FormatFloat(1.2+math.Min(math.Log10(float64(total)+1), 9)/3, 'f', 2, 64), Labeled: a.column != b.column,
		}
		e.Path, e.X, e.Y = curve(a, b)
		all = append(all, e)
	}
	return all
}

// curve leads from a to b: across between columns, round the side within one. The label stands near the outer end,
// where neighbours are furthest apart.
func curve(a, b node) (path string, x, y int) {
	ay, by := a.Y+a.H/2, b.Y+b.H/2
	if a.column == b.column {
		x1 := a.X + a.W
		out := x1 + bulge(abs(by-ay))
		return fmt.Sprintf("M%d %d C%d %d %d %d %d %d", x1, ay, out, ay, out, by, x1+3, by), out, (ay + by) / 2
	}
	x1, x2 := a.X+a.W, b.X-5
	if b.X < a.X {
		x1, x2 = a.X, b.X+b.W+5
	}
	mid := (x1 + x2) / 2
	path = fmt.Sprintf("M%d %d C%d %d %d %d %d %d", x1, ay, mid, ay, mid, by, x2, by)
	t := 0.5
	switch {
	case a.column == 0 && b.column == 1, a.column == 2 && b.column == 1:
		t = 0.34
	case b.column == 0 || b.column == 2:
		t = 0.66
	}
	u := 1 - t
	bez := func(p0, p1, p2, p3 int) int {
		return int(u*u*u*float64(p0) + 3*u*u*t*float64(p1) + 3*u*t*t*float64(p2) + t*t*t*float64(p3))
	}
	return path, bez(x1, mid, mid, x2), bez(ay, ay, by, by) - 6
}

// bulge is how far a curve goes round the side between places that stand this far apart.
func bulge(d int) int { return 26 + d/6 }

func abs(n int) int { return max(n, -n) }
