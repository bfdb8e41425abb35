// Package report tells the story of a run to somebody who was not there.
//
// In: folders of logs that package zeek wrote, of one run or of sensors, in either form. Out: one HTML file that
// stands alone (no network, no script but its own, a Content-Security-Policy that says so), and, for exports, the
// findings and indicators as values. It is made of logs and not of events, so that what a replay reports at once and
// what is reported of its logs a year later are the same.
//
// Everything is bounded: logs are read as streams into tables with a limit, what is shown has a limit of its own, and
// what was left out is counted and said. Everything that comes from the wire is text to it, never markup.
//
// It does not see packets: the ordinals it names are those that detectors gave. How bytes spread over the life of a
// flow it does not know either: it spreads them evenly.
package report

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/logs"
)

const (
	// Findings kept, the most severe first. Each takes a few kilobytes at most.
	maxFindings = 10000
	// Rows of incidents.log and assets.log kept.
	maxIncidents, maxAssets = 100, 500
	// Pairs of hosts, destinations outside, endpoints that speak Ray: at 100 to 700 bytes each.
	maxPairs, maxSeries, maxEndpoints = 1 << 17, 1 << 14, 4096
	// Fetches and mining sessions kept; the story names a handful.
	maxFacts = 500
)

// Options say what is read.
type Options struct {
	Source       string              // names it: "shadowray.pcap.gz"
	Home         *detectors.Networks // what counts as inside
	Since, Until capture.Time        // only what is of this time; 0: no bound
}

// Technique is one of ATLAS or ATT&CK.
type Technique struct{ ID, Name string }

// Finding is a row of notice.log.
type Finding struct {
	ID, Rule, Note   string
	Severity         detectors.Severity
	Confidence       int
	Outcome          string
	Time             capture.Time
	Msg, Sub         string
	Src, Dst         netip.Addr
	Port             uint16 // at Dst
	SrcPort          uint16 // where the flow has it
	Proto            string
	UID, CommunityID string
	File             string // with its packets; may be empty
	ATLAS, ATTACK    []Technique
	Evidence         []detectors.Evidence
	Count            uint64
	Incident         string             // that it tells of, may be empty
	Row              *detectors.Finding // the last of its rows
	Peer             string             // who saw it, may be empty
}

// Packets lists the ordinals of the evidence, ascending, each once.
func (f *Finding) Packets() []uint64 {
	var all []uint64
	for _, e := range f.Evidence {
		if e.Packet != 0 {
			all = append(all, e.Packet)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Field is a column of a row whose meaning is its reader's.
type Field struct {
	Name   string
	Values []string
	List   bool // of a set or vector
}

// Incident is a row of incidents.log, the last of its id.
type Incident struct {
	*detectors.Incident
}

// Report is what was made of the logs.
type Report struct {
	Source    string
	First     capture.Time // of the flows, findings and calls
	Last      capture.Time
	Findings  []Finding  // in order of time
	Incidents []Incident // the worst first
	Assets    [][]Field
	Damaged   uint64   // lines of logs that could not be read
	Unread    []string // what else of the folders was not read, in sentences
	Running   bool     // a sensor was still writing

	home             *detectors.Networks
	bySeverity       [severities]uint64
	leftOut          uint64 // findings beyond maxFindings
	incidentsLeftOut uint64
	assetsLeftOut    uint64
	seen             map[string]bool // logs that were there
	known            knowledge
	hosts            map[netip.Addr]*host
	pairs            map[[2]netip.Addr]*pair
	pairsLeftOut     uint64
	out              egress
	endpoints        map[netip.AddrPort]*endpoint
	fetches          []fetch
	miners           map[string]*miner
	flows            flowTotals
	weirds           map[string]uint64
	stats            []Field
	runs             map[string][]Field // the last row of stats.log by folder
	ids              map[string]string  // folders of findings
	at               map[string]int     // places of findings, of which there may be news
	again            uint64             // findings that another sensor made, too
}

const severities = int(detectors.Critical) + 1

// Read makes a report of the logs in folders, as one.
func Read(opt Options, dirs ...string) (*Report, error) {
	folder, err := logs.Open(logs.Options{Since: opt.Since, Until: opt.Until}, dirs...)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	defer folder.Close()
	names := folder.Logs()
	if len(names) == 0 {
		errs := []error{fmt.Errorf("report: no logs in %s", strings.Join(dirs, ", "))}
		for _, u := range folder.Unread() {
			errs = append(errs, errors.New("report: "+u))
		}
		return nil, errors.Join(errs...)
	}
	r := &Report{
		Source: opt.Source, home: opt.Home, seen: map[string]bool{}, hosts: map[netip.Addr]*host{}, pairs: map[[2]netip.Addr]*pair{},
		endpoints: map[netip.AddrPort]*endpoint{}, miners: map[string]*miner{}, weirds: map[string]uint64{},
		runs: map[string][]Field{}, ids: map[string]string{}, at: map[string]int{}, Running: folder.Running(),
	}
	for _, n := range names {
		r.seen[n] = true
	}
	// What findings name decides what is kept of the rest, so they are read first; dns.log gives names to addresses
	// that the logs before it have brought.
	for _, l := range []struct {
		log  string
		take func(*logs.Row)
		then func()
	}{
		{"notice", r.notice, r.afterFindings},
		{"incidents", r.incident, r.afterIncidents},
		{"assets", r.asset, nil},
		{"ray", r.ray, nil},
		{"ray_grpc", r.rayGRPC, nil},
		{"stratum", r.stratum, nil},
		{"http", r.http, nil},
		{"dns", r.dns, nil},
		{"conn", r.conn, nil},
		{"weird", func(w *logs.Row) { r.weirds[w.Get("name")]++ }, nil},
		{"stats", r.stat, r.afterStats},
	} {
		folder.Read(l.log, l.take)
		if l.then != nil {
			l.then()
		}
	}
	r.Damaged, r.Unread = folder.Damaged, folder.Unread()
	if n := count(r.stats, "findings"); n > 0 && len(r.Findings) == 0 && opt.Since == 0 && opt.Until == 0 {
		r.Unread = append(r.Unread, fmt.Sprintf("stats.log counts %s, and no notice.log has them", plural(n, "finding")))
	}
	return r, nil
}

// span widens what the report is about.
func (r *Report) span(from, to capture.Time) {
	if from == 0 {
		return
	}
	if r.First == 0 || from < r.First {
		r.First = from
	}
	r.Last = max(r.Last, from, to)
}

func (r *Report) notice(w *logs.Row) {
	d := w.Finding()
	if d == nil {
		return
	}
	f := Finding{
		ID: w.Get("finding_id"), Rule: d.Rule, Note: w.Get("note"), Severity: d.Severity, Confidence: d.Confidence, Outcome: string(d.Outcome),
		Time: d.Time, Msg: d.Msg, Sub: d.Sub, Src: d.Src, Dst: d.Dst, Port: d.Port, Proto: w.Get("proto"), Count: uint64(d.Count),
		ATLAS: techniques(w.List("atlas")), ATTACK: techniques(w.List("attack")), Evidence: d.Evidence, Incident: d.Incident, Row: d, Peer: w.Get("peer_descr"),
	}
	f.File = d.File
	if d.Flow != nil {
		f.UID, f.CommunityID = d.Flow.UID, w.Get("community_id")
		switch f.Src {
		case d.Flow.Orig.Addr():
			f.SrcPort = d.Flow.Orig.Port()
		case d.Flow.Resp.Addr():
			f.SrcPort = d.Flow.Resp.Port()
		}
	}
	from, ok := r.ids[f.ID]
	switch {
	case ok && from != w.Dir:
		if d.Revision <= 1 {
			r.again++ // the same packets passed two sensors
		}
		return
	case ok && d.Revision > 1:
		if i, kept := r.at[f.ID]; kept { // it keeps its time
			old := &r.Findings[i]
			f.Time = old.Time
			*old = f
		}
		return
	case !ok && f.ID != "" && len(r.ids) < 10*maxFindings:
		r.ids[f.ID] = w.Dir
		r.at[f.ID] = len(r.Findings)
	}
	if f.Rule != detectors.ChainRule { // it tells of others, as an incident
		r.bySeverity[f.Severity]++
	}
	r.span(f.Time, f.Time)
	r.Findings = append(r.Findings, f)
	if len(r.Findings) >= 2*maxFindings {
		r.prune()
	}
}

// prune keeps the most severe findings.
func (r *Report) prune() {
	if len(r.Findings) > maxFindings {
		slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
		r.leftOut += uint64(len(r.Findings) - maxFindings)
		clear(r.Findings[maxFindings:])
		r.Findings = r.Findings[:maxFindings]
		clear(r.at)
		for i := range r.Findings {
			r.at[r.Findings[i].ID] = i
		}
	}
}

func techniques(list []string) []Technique {
	var all []Technique
	for _, s := range list {
		id, name, _ := strings.Cut(s, " ")
		all = append(all, Technique{id, name})
	}
	return all
}

func (r *Report) afterFindings() {
	r.prune()
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(b.Severity, a.Severity))
	})
	r.learn()
}

// fields takes a row as it is but for credentials, time first and the rest by name: the columns of JSON have no order.
func fields(w *logs.Row) []Field {
	var all []Field
	for _, n := range w.Names() {
		if v := w.List(n); len(v) > 0 {
			all = append(all, Field{n, secrets.MaskAll(v), true})
		} else if s := w.Get(n); s != "" {
			all = append(all, Field{n, []string{secrets.Mask(s)}, false})
		}
	}
	slices.SortStableFunc(all, func(a, b Field) int {
		if a.Name == "ts" || b.Name == "ts" {
			return cmp.Compare(btoi(b.Name == "ts"), btoi(a.Name == "ts"))
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return all
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (r *Report) incident(w *logs.Row) {
	x := w.Incident()
	if x == nil {
		return
	}
	r.span(x.First.Time, x.Last.Time)
	row := Incident{x}
	for i := range r.Incidents {
		if r.Incidents[i].ID == x.ID { // what it has come to since
			if x.Revision >= r.Incidents[i].Revision {
				r.Incidents[i] = row
			}
			return
		}
	}
	if len(r.Incidents) >= maxIncidents {
		if x.Revision <= 1 || x.State == "" {
			r.incidentsLeftOut++
		}
		return
	}
	r.Incidents = append(r.Incidents, row)
}

// afterIncidents drops those that turned out to be others, and learns who was who.
func (r *Report) afterIncidents() {
	merged := map[string]bool{}
	for _, x := range r.Incidents {
		for _, id := range x.Merged {
			merged[id] = true
		}
	}
	r.Incidents = slices.DeleteFunc(r.Incidents, func(x Incident) bool { return merged[x.ID] || x.State == detectors.Merged })
	slices.SortStableFunc(r.Incidents, func(a, b Incident) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(b.Score, a.Score), cmp.Compare(a.First.Time, b.First.Time))
	})
	for _, x := range r.Incidents {
		for _, a := range x.Attackers {
			if !r.inside(a) {
				r.host(a, roleAttacker).named = true
			}
		}
		for _, p := range x.Others {
			if as := partyRoles[p.Role]; as != roleNone && p.Addr.IsValid() && !r.inside(p.Addr) {
				h := r.host(p.Addr, as)
				h.named = true
				if h.name == "" {
					h.name = p.Name
				}
			}
		}
	}
}

// partyRoles are the roles that incidents give.
var partyRoles = map[string]role{
	"payload host": rolePayload, "pool": rolePool, "command host": roleControl, "exfiltration host": roleDestination, "further target": roleTarget,
}

// asset keeps the last row of each asset.
func (r *Report) asset(w *logs.Row) {
	row, key := fields(w), w.Get("asset")
	for i, old := range r.Assets {
		if key != "" && get(old, "asset") == key {
			r.Assets[i] = row
			return
		}
	}
	if len(r.Assets) >= maxAssets {
		r.assetsLeftOut++
		return
	}
	r.Assets = append(r.Assets, row)
}

// stat keeps the last row of each run: a sensor's counters grow, and begin anew when it does.
func (r *Report) stat(w *logs.Row) {
	row := fields(w)
	if last := r.runs[w.Dir]; last != nil && count(row, "pkts_proc") < count(last, "pkts_proc") {
		r.sum(last)
	}
	r.runs[w.Dir] = row
}

// afterStats sums up the runs.
func (r *Report) afterStats() {
	for _, dir := range slices.Sorted(maps.Keys(r.runs)) {
		r.sum(r.runs[dir])
	}
}

// sum adds the counters of a run to those of the others; of what is no counter all values are kept.
func (r *Report) sum(run []Field) {
	if r.stats == nil {
		r.stats = run
		return
	}
	for _, f := range run {
		i := slices.IndexFunc(r.stats, func(x Field) bool { return x.Name == f.Name })
		if i < 0 {
			r.stats = append(r.stats, f)
			continue
		}
		old := &r.stats[i]
		a, aerr := strconv.ParseUint(strings.Join(old.Values, ","), 10, 64)
		b, berr := strconv.ParseUint(strings.Join(f.Values, ","), 10, 64)
		switch {
		case !f.List && aerr == nil && berr == nil && a+b >= a:
			old.Values = []string{strconv.FormatUint(a+b, 10)}
		case f.List:
			for _, v := range f.Values {
				if !slices.Contains(old.Values, v) {
					old.Values = append(old.Values, v)
				}
			}
		default:
			old.Values = f.Values
		}
	}
}

func get(fields []Field, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return strings.Join(f.Values, ", ")
		}
	}
	return ""
}

func count(fields []Field, name string) uint64 {
	n, _ := strconv.ParseUint(get(fields, name), 10, 64)
	return n
}
