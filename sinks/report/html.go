package report

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/sinks/logs"
	"github.com/raytap/raytap/sinks/terminal"
)

//go:embed page.tmpl
var pageText string

//go:embed style.css
var styleText string

//go:embed script.js
var scriptText string

const (
	// Findings shown: as many as fit into this much text, the most severe first. With all else the file stays below
	// 5 MB, which a mail takes and a browser opens at once.
	findingsBudget = 2 << 20
	maxShown       = 1000
	maxShownIocs   = 500
	maxShownPorts  = 200
	// Destinations with a line of their own.
	maxDestinations = 8
)

// losses are the counters of stats.log that say that something was not seen.
var losses = [...]struct{ name, says string }{
	{"malformed", "packets were malformed"},
	{"unknown_link", "packets are of a link type that is not known"},
	{"unknown_ethertype", "packets are of an Ethernet type that is not known (unknown_ethertypes in stats.log)"},
	{"encrypted_link", "packets are encrypted by MACsec"},
	{"bad_checksum", "packets had a wrong checksum"},
	{"fragments_lost", "fragments were lost"},
	{"datagrams_incomplete", "packets in fragments never became whole"},
	{"tunnels_evicted", "tunnels were forgotten for room"},
	{"truncated_bytes", "bytes were cut off by the capture (snap length)"},
	{"gap_bytes", "bytes are missing in TCP streams"},
	{"buffer_full_bytes", "bytes were dropped for room"},
	{"flows_evicted", "flows were ended for room"},
	{"waits_cut_short", "times a flow had too many packets that waited for what they answer"},
	{"no_room_to_wait", "packets found no room to wait for what they answer"},
	{"doubted_no_room", "segments that a receiver should reject were not kept because the buffer was full"},
	{"copies_no_room", "flows have copies of the same bytes that differ, of which one was read"},
	{"unfinished_requests", "flows were given up in the middle of a request"},
	{"decoder_panics", "flows lost their decoder to a fault of raytap"},
	{"pkts_dropped", "packets were dropped by the kernel"},
}

type view struct {
	CSP            string
	Style          template.CSS
	Script         template.JS
	Title, Period  string
	Figures        []figure
	Verdict        verdict
	Steps          []step
	StepsLeftOut   int
	Incidents      []incidentView
	IncidentsMore  uint64
	Graph          graph
	Out            outView
	Endpoints      []endpointView
	EndpointsMore  int
	Assets         []assetView
	AssetsMore     uint64
	Findings       []findingView
	FindingsMore   uint64
	Severities     []severityView
	Rules          []string
	Indicators     []indicatorView
	IndicatorsMore int
	Matrices       []matrix
	Limits         []limit
	Weirds         []figure
}

type figure struct{ Name, Value string }

type severityView struct {
	Name  string
	Count uint64
}

type incidentView struct {
	Headline, Summary string // no summary if the verdict has it
	Severity          string
	Parts             []Field
	Steps             []incidentStep
	More              int
}

type incidentStep struct {
	Time   capture.Time
	Text   string
	Packet uint64
}

type assetView struct {
	Name, Grade, Level, Reason string
	Fields                     []Field
}

type findingView struct {
	*Finding
	Ordinal    int // severity, for sorting
	When       string
	Sentence   string
	Detail     string
	Who        string
	Packets    []uint64
	Display    string // Wireshark's filter
	Techniques []Technique
}

type indicatorView struct {
	Indicator
	Shown, When string
}

type endpointView struct {
	At, Services, Versions, Auth, Session string
	Calls                                 string
	Inside, Outside                       string
	Grade, Level                          string
}

type limit struct {
	Text  string
	Plain bool // nothing was lost
}

// HTML writes the page. The same logs give the same bytes.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"clock": clock, "stamp": stamp, "number": terminal.Number, "join": strings.Join, "human": human,
		"plural": func(n int, s string) string { return plural(uint64(n), s) },
		"frames": func(p []uint64) string { return list(p) },
	}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, r.view()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	// Markup is text already; here what reverses or hides text becomes visible, wherever it stands. The style and the
	// script, whose hashes the policy has, are ASCII.
	_, err = io.WriteString(w, terminal.CleanLines(b.String()))
	return err
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func (r *Report) view() *view {
	iocs := r.Indicators()
	safe := r.defanger(iocs)
	steps, stepsLeft := r.steps()
	v := &view{
		// Nothing may be loaded, sent or framed; the only style and script are those that stand in the file.
		CSP:   "default-src 'none'; style-src " + hash(styleText) + "; script-src " + hash(scriptText) + "; base-uri 'none'; form-action 'none'",
		Style: template.CSS(styleText), Script: template.JS(scriptText),
		Title: pick(r.Source != "", r.Source, "network traffic"), Verdict: r.verdict(steps), StepsLeftOut: stepsLeft,
		Graph: r.graph(safe), IncidentsMore: r.incidentsLeftOut, AssetsMore: r.assetsLeftOut,
		Matrices: []matrix{
			r.matrix("ATLAS", func(f *Finding) []Technique { return f.ATLAS }),
			r.matrix("ATT&CK", func(f *Finding) []Technique { return f.ATTACK }),
		},
		Limits: r.limits(),
	}
	v.Out = r.outView(safe)
	for i, s := range v.Verdict.Sentences {
		v.Verdict.Sentences[i] = safe.text(s)
	}
	for i := range steps {
		steps[i].Title = safe.text(steps[i].Title)
		for j, l := range steps[i].Lines {
			steps[i].Lines[j] = safe.text(l)
		}
	}
	v.Steps = steps
	v.Period = "no traffic"
	if r.First != 0 {
		until := stamp(r.Last)
		if day(r.First) == day(r.Last) {
			until = clock(r.Last)
		}
		v.Period = stamp(r.First) + " to " + until + " UTC"
	}
	v.Figures = r.figures()
	told := r.storyCount()
	for i := range r.Incidents {
		v.Incidents = append(v.Incidents, r.incidentView(&r.Incidents[i], i < told, safe))
	}
	for _, a := range r.Assets {
		v.Assets = append(v.Assets, assetOf(a, safe))
	}
	v.Endpoints, v.EndpointsMore = r.endpointViews()
	v.Findings, v.FindingsMore = r.findingViews(safe)
	for s := severities - 1; s >= 0; s-- {
		if r.bySeverity[s] > 0 {
			v.Severities = append(v.Severities, severityView{detectors.Severity(s).String(), r.bySeverity[s]})
		}
	}
	for i := range v.Findings {
		if !slices.Contains(v.Rules, v.Findings[i].Rule) {
			v.Rules = append(v.Rules, v.Findings[i].Rule)
		}
	}
	slices.Sort(v.Rules)
	if len(iocs) > maxShownIocs {
		v.IndicatorsMore = len(iocs) - maxShownIocs
		iocs = iocs[:maxShownIocs]
	}
	for _, i := range iocs {
		v.Indicators = append(v.Indicators, indicatorView{i, i.Defang(), stamp(i.First)})
	}
	for name, n := range r.weirds {
		v.Weirds = append(v.Weirds, figure{name, strconv.FormatUint(n, 10)})
	}
	slices.SortFunc(v.Weirds, func(a, b figure) int {
		return cmp.Or(cmp.Compare(r.weirds[b.Name], r.weirds[a.Name]), cmp.Compare(a.Name, b.Name))
	})
	v.Weirds = v.Weirds[:min(len(v.Weirds), maxList)]
	return v
}

func (r *Report) figures() []figure {
	var all []figure
	if len(r.stats) > 0 {
		all = append(all, figure{"packets", terminal.Number(count(r.stats, "pkts_proc"))}, figure{"volume", terminal.Size(count(r.stats, "bytes_recv"))})
	}
	total := uint64(0)
	for _, n := range r.bySeverity {
		total += n
	}
	return append(all, figure{"flows", terminal.Number(r.flows.flows)}, figure{"findings", terminal.Number(total)})
}

func (r *Report) incidentView(x *Incident, told bool, safe *defanger) incidentView {
	v := incidentView{Severity: x.Severity.String(), More: x.MoreSteps}
	names := func(list []netip.Addr) (all []string) {
		for _, a := range list {
			all = append(all, safe.text(a.String()))
		}
		return all
	}
	from, to := names(x.Attackers), names(x.Victims)
	v.Headline = pick(x.Chain, "A chain of cause", "Related findings")
	if len(from) > 0 && len(to) > 0 {
		v.Headline += ": " + strings.Join(from, ", ") + " → " + strings.Join(to, ", ")
	} else if len(to) > 0 {
		v.Headline += " at " + strings.Join(to, ", ")
	}
	if !told {
		v.Summary = safe.text(x.Summary)
	}
	var others []string
	for _, p := range x.Others {
		others = append(others, safe.text(p.String()))
	}
	var tactics []string
	for _, t := range x.Tactics {
		if id, name, ok := strings.Cut(t, " "); ok && strings.HasPrefix(id, "AML.") {
			t = name
		}
		tactics = append(tactics, t)
	}
	for _, p := range []Field{
		{Name: "score", Values: []string{strconv.Itoa(x.Score) + " of 100: " + strings.Join(x.Why, ", ")}},
		{Name: "tactics", Values: []string{strings.Join(tactics, " → ")}},
		{Name: "others", Values: others},
		{Name: "time", Values: []string{stamp(x.First.Time) + " to " + stamp(x.Last.Time) + " UTC"}},
		{Name: "findings", Values: []string{strconv.Itoa(x.Findings)}},
		{Name: "id", Values: []string{x.ID}},
	} {
		if len(p.Values) > 0 && p.Values[0] != "" {
			v.Parts = append(v.Parts, p)
		}
	}
	for i := range x.Steps {
		s := &x.Steps[i]
		v.Steps = append(v.Steps, incidentStep{s.Time, safe.text(s.String()), s.Packet})
	}
	return v
}

// The grades of exposure in assets.log, A to F.
var gradeLevels = map[string]string{"A": "clear", "B": "clear", "C": "medium", "D": "medium", "E": "critical", "F": "critical"}

func assetOf(row []Field, safe *defanger) assetView {
	v := assetView{Reason: safe.text(get(row, "reason"))}
	v.Name = strings.TrimSpace(cmp.Or(get(row, "asset"), get(row, "kind")) + " " + get(row, "version"))
	if g := get(row, "grade"); gradeLevels[g] != "" {
		v.Grade, v.Level = "exposure "+g, gradeLevels[g]
	}
	for _, f := range row {
		switch f.Name {
		case "ts", "asset", "grade", "reason", "kind", "version", "change", "local":
			continue
		}
		f.Values = slices.Clone(f.Values)
		for i, s := range f.Values {
			if t, ok := seconds(f.Name, s); ok {
				s = t
			}
			f.Values[i] = safe.text(s)
		}
		v.Fields = append(v.Fields, f)
	}
	slices.SortStableFunc(v.Fields, func(a, b Field) int { return cmp.Compare(assetPlace(a.Name), assetPlace(b.Name)) })
	return v
}

// What people ask of an asset first; other columns follow by name.
var assetOrder = []string{"heads", "workers", "ports", "auth", "tls", "proxies", "outsiders", "clients_outside", "clients_inside", "client_kinds", "cves"}

func assetPlace(name string) int {
	if i := slices.Index(assetOrder, name); i >= 0 {
		return i
	}
	return len(assetOrder)
}

// human is a column's name for people.
func human(s string) string {
	if s == "ts" {
		return "time"
	}
	return strings.ReplaceAll(s, "_", " ")
}

func list(p []uint64) string {
	all := make([]string, len(p))
	for i, n := range p {
		all[i] = strconv.FormatUint(n, 10)
	}
	return strings.Join(all, ", ")
}

func (r *Report) endpointViews() (all []endpointView, more int) {
	ats := make([]netip.AddrPort, 0, len(r.endpoints))
	for a := range r.endpoints {
		ats = append(ats, a)
	}
	slices.SortFunc(ats, func(a, b netip.AddrPort) int {
		x, y := r.endpoints[a], r.endpoints[b]
		return cmp.Or(cmp.Compare(btoi(y.open > 0), btoi(x.open > 0)), cmp.Compare(btoi(r.inside(b.Addr())), btoi(r.inside(a.Addr()))), a.Compare(b))
	})
	if len(ats) > maxShownPorts {
		more = len(ats) - maxShownPorts
		ats = ats[:maxShownPorts]
	}
	for _, at := range ats {
		e := r.endpoints[at]
		v := endpointView{
			At: at.String(), Services: strings.Join(e.services, ", "), Versions: strings.Join(e.versions, ", "),
			Auth: strings.Join(e.auth, ", "), Session: shorten(strings.Join(e.sessions, ", "), 60),
			Calls: terminal.Number(e.calls), Inside: clients(e.inside, e.insideMore), Outside: clients(e.outside, e.outsideMore),
		}
		switch {
		case !r.inside(at.Addr()):
			v.Grade, v.Level = "not ours: outside the home networks", "info"
		case e.open > 0:
			v.Grade, v.Level = fmt.Sprintf("open: answered %s from outside without a credential", plural(e.open, "call")), "critical"
		case len(e.outside) > 0 && e.refused > 0:
			v.Grade, v.Level = "reachable from outside, asks for a token", "medium"
		case e.failed > 0:
			v.Grade, v.Level = "reachable from outside: what was asked failed, but not for want of a token", "medium"
		case len(e.outside) > 0:
			v.Grade, v.Level = "called from outside, no answer to it seen", "medium"
		default:
			v.Grade, v.Level = "called from inside only", "clear"
		}
		all = append(all, v)
	}
	return all, more
}

func clients(list []netip.Addr, more uint64) string {
	slices.SortFunc(list, netip.Addr.Compare)
	var s []string
	for _, a := range list {
		s = append(s, a.String())
	}
	if more > 0 {
		s = append(s, plural(more, "call")+" of others")
	}
	return strings.Join(s, ", ")
}

func (r *Report) findingViews(safe *defanger) (all []findingView, more uint64) {
	var order []int
	for i := range r.Findings {
		f := &r.Findings[i]
		// What only tells of an incident stands with the incident.
		if f.Rule != detectors.ChainRule || !slices.ContainsFunc(r.Incidents, func(x Incident) bool { return x.ID == f.Incident }) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(r.Findings[b].Severity, r.Findings[a].Severity) })
	size := 0
	for i, n := range order {
		f := &r.Findings[n]
		size += 1500 + escaped(f.Msg) + escaped(f.Sub)
		for _, e := range f.Evidence {
			size += 100 + escaped(e.Value)
		}
		if i >= maxShown || size > findingsBudget {
			more = uint64(len(order) - i)
			break
		}
		v := findingView{
			Finding: f, Ordinal: int(f.Severity), When: stamp(f.Time), Sentence: safe.text(f.Msg), Detail: safe.text(f.Sub), Packets: f.Packets(),
			Who: r.who(f), Techniques: slices.Concat(f.ATLAS, f.ATTACK),
		}
		if len(v.Packets) > 0 {
			v.Display = "frame.number in {" + list(v.Packets) + "}"
		}
		all = append(all, v)
	}
	return all, more + r.leftOut
}

// escaped is the length of a text as HTML, at most.
func escaped(s string) int {
	n := len(s)
	for i := range len(s) {
		switch s[i] {
		case '<', '>', '&', '"', '\'', '+', 0:
			n += len("&#34;") - 1
		}
	}
	return n
}

func (r *Report) who(f *Finding) string {
	var s []string
	for _, a := range [...]netip.Addr{f.Src, f.Dst} {
		if !a.IsValid() {
			continue
		}
		text := a.String()
		if !r.inside(a) && a.Is4() {
			text = brackets(text)
		}
		s = append(s, text)
	}
	who := strings.Join(s, " → ")
	if f.Port != 0 && f.Dst.IsValid() {
		who += " port " + strconv.Itoa(int(f.Port))
	}
	return who
}

// matrix is what was seen of a knowledge base, by tactic.
type matrix struct {
	Name    string
	Version string
	Tactics []tacticView
}

type tacticView struct {
	Name       string
	Techniques []techniqueView
}

type techniqueView struct {
	Technique
	Count    uint64
	Severity string
	worst    detectors.Severity
}

// The order in which an attack goes through them; ATLAS has ATT&CK's and its own.
var tacticOrder = []string{"Reconnaissance", "Resource Development", "Initial Access", "AI Model Access", "Execution", "Persistence",
	"Privilege Escalation", "Defense Evasion", "Credential Access", "Discovery", "Lateral Movement", "Collection", "AI Attack Staging",
	"Command and Control", "Exfiltration", "Impact", ""}

func (r *Report) matrix(name string, of func(*Finding) []Technique) matrix {
	m := matrix{Name: name}
	atlas, attack, _ := data.Versions()
	m.Version = pick(name == "ATLAS", atlas, attack)
	byTactic := map[string]map[string]*techniqueView{}
	for i := range r.Findings {
		f := &r.Findings[i]
		for _, t := range of(f) {
			known, tactics, _ := data.Technique(t.ID)
			if t.Name == "" {
				t.Name = known
			}
			for tactic := range strings.SplitSeq(tactics, "; ") {
				if byTactic[tactic] == nil {
					byTactic[tactic] = map[string]*techniqueView{}
				}
				v := byTactic[tactic][t.ID]
				if v == nil {
					v = &techniqueView{Technique: t}
					byTactic[tactic][t.ID] = v
				}
				if f.Rule != detectors.ChainRule { // it tells of others
					v.Count++
				}
				v.worst = max(v.worst, f.Severity)
				v.Severity = v.worst.String()
			}
		}
	}
	place := func(t string) int {
		if i := slices.Index(tacticOrder, t); i >= 0 {
			return i
		}
		return len(tacticOrder)
	}
	for name, techniques := range byTactic {
		t := tacticView{Name: pick(name == "", "No tactic", name)}
		for _, v := range techniques {
			t.Techniques = append(t.Techniques, *v)
		}
		slices.SortFunc(t.Techniques, func(a, b techniqueView) int {
			return cmp.Or(cmp.Compare(b.worst, a.worst), cmp.Compare(a.ID, b.ID))
		})
		m.Tactics = append(m.Tactics, t)
	}
	slices.SortFunc(m.Tactics, func(a, b tacticView) int {
		return cmp.Or(cmp.Compare(place(a.Name), place(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return m
}

// limits says what the report cannot know.
func (r *Report) limits() []limit {
	var all []limit
	say := func(format string, a ...any) { all = append(all, limit{Text: fmt.Sprintf(format, a...)}) }
	if len(r.stats) == 0 {
		say("There is no stats.log, so losses are not known.")
	} else {
		any := false
		for _, l := range losses {
			if n := count(r.stats, l.name); n > 0 {
				any = true
				say("%s %s.", terminal.Number(n), l.says)
			}
		}
		if n := count(r.stats, "checksums_offloaded"); n > 0 {
			all = append(all, limit{terminal.Number(n) + " packets have a checksum that was left to a network card, as where a host captures its own traffic.", true})
		}
		if !any {
			all = append(all, limit{"Nothing was lost between the capture and the decoders.", true})
		}
	}
	t := &r.flows
	if t.missed > 0 {
		say("%s are missing in connections: the capture does not have them.", terminal.Size(t.missed))
	}
	if t.mid > 0 {
		say("%s of %s TCP flows lack their beginning: who opened them is a guess.", terminal.Number(t.mid), terminal.Number(t.tcp))
	}
	if t.bytes > 0 {
		say("%d %% of the bytes (%s) are encrypted: of those, names, certificates and fingerprints are read, and no more.",
			percent(t.encrypted, t.bytes), terminal.Size(t.encrypted))
		say("%d %% of the bytes (%s) are of a protocol that was not recognised.", percent(t.unknown, t.bytes), terminal.Size(t.unknown))
	}
	if !r.seen["conn"] {
		say("There is no conn.log, so connections and outgoing data are not known.")
	}
	if r.Damaged > 0 {
		say("%s of the logs could not be read.", plural(r.Damaged, "line"))
	}
	const most = 100
	for _, u := range r.Unread[:min(len(r.Unread), most)] {
		say("%s.", u)
	}
	if more := len(r.Unread) - most; more > 0 {
		say("%d more files were not read.", more)
	}
	if r.Running {
		all = append(all, limit{"The sensor was still writing when this was made, or was killed: the rows of its last second may be missing.", true})
	}
	if r.again > 0 {
		all = append(all, limit{plural(r.again, "finding") + " of one sensor were another's, too, and are shown once.", true})
	}
	if r.pairsLeftOut > 0 {
		say("%s between hosts that no finding names were not counted by pair.", plural(r.pairsLeftOut, "flow"))
	}
	say("Bytes over time are spread evenly over the life of each flow.")
	say("A network sees what passes its tap. What a machine did inside, and what passed elsewhere, it does not.")
	return all
}

// Times of packets lie in this century; smaller numbers are none.
const century = capture.Time(1e18)

func seconds(name, s string) (string, bool) {
	if name != "first_seen" && name != "last_seen" {
		return "", false
	}
	t, ok := logs.ParseTime(s)
	if !ok || t < century {
		return "", false
	}
	return stamp(t) + " UTC", true
}
