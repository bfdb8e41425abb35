package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/metrics"
	"github.com/raytap/raytap/test/logspec"
)

// units of metrics; of lost and wire a label says it.
var units = map[string]string{
	"raytap_build_info":                    "",
	"raytap_bytes_total":                   "bytes",
	"raytap_decoder_panics_total":          "flows",
	"raytap_feed_age_seconds":              "seconds",
	"raytap_feed_indicators":               "indicators",
	"raytap_feed_up":                       "",
	"raytap_finding_delay_seconds":         "seconds",
	"raytap_findings_total":                "findings",
	"raytap_flows_active":                  "flows",
	"raytap_flows_total":                   "flows",
	"raytap_interface_packets_total":       "packets",
	"raytap_interface_up":                  "",
	"raytap_kernel_drops_total":            "packets",
	"raytap_last_packet_timestamp_seconds": "seconds since 1970",
	"raytap_log_rows_lost_total":           "rows",
	"raytap_log_rows_total":                "rows",
	"raytap_lost_total":                    "as `unit` says",
	"raytap_output_dropped_total":          "findings",
	"raytap_output_sent_total":             "findings",
	"raytap_output_waiting":                "findings",
	"raytap_packets_filtered_total":        "packets",
	"raytap_packets_total":                 "packets",
	"raytap_publish_behind_seconds":        "seconds",
	"raytap_publish_lost_files_total":      "files",
	"raytap_publish_rows_refused_total":    "rows",
	"raytap_publish_rows_repeated_total":   "rows",
	"raytap_publish_rows_total":            "rows",
	"raytap_publish_up":                    "0 or 1",
	"raytap_publish_waiting_bytes":         "bytes",
	"raytap_ring_freezes_total":            "times",
	"raytap_weirds_total":                  "weirds",
	"raytap_wire_total":                    "as `unit` says",
}

// metric is what a scrape says of one.
type metric struct {
	name, kind, help string
	labels           []string
	values           map[string][]string // of each label, in order
}

var (
	sample = regexp.MustCompile(`^([a-z_]+?)(_bucket|_sum|_count)?(?:\{(.*)\})? `)
	label  = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
)

// scrape gives the metrics of a sensor that has all of them.
func scrape(t *testing.T) []*metric {
	t.Helper()
	m := metrics.New(metrics.Options{Version: "v1", Rules: registry.Rules(),
		Interfaces: func() []metrics.Interface { return []metrics.Interface{{Name: "eth0", Up: true}} },
		Feeds:      func() []metrics.Feed { return []metrics.Feed{{Name: "pools", Up: true, At: time.Unix(1700000000, 0)}} }})
	v := metrics.Values{LastPacket: time.Unix(1700000000, 0), Logs: []metrics.Log{{Name: "conn"}}, Outputs: []metrics.Output{{Name: "webhook"}}, Published: []metrics.Published{{To: "nats"}}}
	var s engine.Stats
	for _, l := range s.Losses() {
		v.Losses = append(v.Losses, metrics.Loss{Cause: l.Name, Unit: l.Unit})
	}
	for _, n := range s.Notes() {
		v.Notes = append(v.Notes, metrics.Note{What: n.Name, Unit: n.Unit})
	}
	m.Update(v)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var all []*metric
	byName := map[string]*metric{}
	for line := range strings.Lines(w.Body.String()) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			x := &metric{name: name, help: help, values: map[string][]string{}}
			byName[name] = x
			if strings.HasPrefix(name, "raytap_") {
				all = append(all, x)
			}
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			byName[name].kind = kind
			continue
		}
		if p := sample.FindStringSubmatch(line); p != nil {
			x := byName[p[1]]
			if x == nil {
				x = byName[p[1]+p[2]]
			}
			if x == nil {
				continue
			}
			for _, l := range label.FindAllStringSubmatch(p[3], -1) {
				if l[1] != "le" && !slices.Contains(x.labels, l[1]) {
					x.labels = append(x.labels, l[1])
				}
				if !slices.Contains(x.values[l[1]], l[2]) {
					x.values[l[1]] = append(x.values[l[1]], l[2])
				}
			}
		}
	}
	return all
}

// exits gives the paragraph about exit statuses of each command's help.
func exits(t *testing.T, name string) [][2]string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "help"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if code := run([]string{"help", name}, f, f); code != exitOK {
		t.Fatalf("help %s: %d", name, code)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "\nExit status: ")
	if !ok {
		t.Errorf("help %s says nothing of exit statuses", name)
	}
	text, _, _ = strings.Cut(text, "\n\n")
	var all [][2]string
	for _, s := range strings.Split(strings.TrimSuffix(strings.Join(strings.Fields(text), " "), "."), "; ") {
		code, says, _ := strings.Cut(s, " ")
		all = append(all, [2]string{code, says})
	}
	return all
}

// TestReferenceDocument holds docs/reference.md in step with a scrape and with what the commands say.
func TestReferenceDocument(t *testing.T) {
	const name = "../../docs/reference.md"
	var b bytes.Buffer
	b.WriteString(`# Reference

- [logs.md](logs.md): every log and column; [schema/](schema): the same as JSON Schema
- [rules.md](rules.md): every rule
- [weirds.md](weirds.md): every name of ` + "`weird.log`" + `
- [raytap.yaml](../config/raytap.yaml): every key of the configuration, with its default
- [integrations/](integrations): configurations for Filebeat, Vector, Elasticsearch, Kibana, Prometheus and Grafana

This page is written from the code (` + "`go test ./cmd/raytap -run TestReferenceDocument -update`" + `).

## Metrics

A sensor with ` + "`metrics.listen`" + ` answers ` + "`/metrics`" + ` in Prometheus' text form. Those of the Go runtime (` + "`go_`" + `) and of the process
(` + "`process_`" + `) are there too. A counter begins at 0 with each start.

| metric | type | labels | unit | meaning |
|---|---|---|---|---|
`)
	all := scrape(t)
	if len(all) != len(units) {
		t.Errorf("%d metrics, %d with a unit", len(all), len(units))
	}
	for _, m := range all {
		unit, ok := units[m.name]
		if !ok {
			t.Errorf("%s has no unit", m.name)
		}
		var labels []string
		for _, l := range m.labels {
			labels = append(labels, "`"+l+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.name, m.kind, strings.Join(labels, " "), unit, m.help)
	}
	b.WriteString("\n`cause` of `raytap_lost_total` and `kind` of `raytap_wire_total` are columns of `stats.log`:\n\n| label | unit | meaning |\n|---|---|---|\n")
	logs := logspec.All()
	stats := logs[slices.IndexFunc(logs, func(l capture.LogSpec) bool { return l.Name == "stats" })]
	for _, m := range all {
		for _, l := range [...]string{"cause", "kind"} {
			for _, v := range m.values[l] {
				i := slices.IndexFunc(stats.Columns, func(c capture.Column) bool { return c.Name == v })
				if i < 0 {
					t.Errorf("%s: stats.log has no column %s", m.name, v)
					continue
				}
				fmt.Fprintf(&b, "| %s `%s` | %s | %s |\n", l, v, stats.Columns[i].Unit, stats.Columns[i].Doc)
			}
		}
	}
	b.WriteString(`
` + "`/healthz`" + ` answers 200 while the engine moves and 503 when it has not for half a minute; ` + "`/readyz`" + ` answers 503 also when no packet
comes for ` + "`metrics.quiet`" + ` although the link is up, and when logs cannot be written.

## Exit statuses

A command that a signal ends has 128 and the signal's number; a sensor that TERM or INT stops ends as in the table.

| command | status | meaning |
|---|---|---|
`)
	for _, c := range commands() {
		for _, e := range exits(t, c.name) {
			if !regexp.MustCompile(`^\d+$`).MatchString(e[0]) || e[1] == "" {
				t.Errorf("%s: %q is no status", c.name, e)
			}
			fmt.Fprintf(&b, "| `raytap %s` | %s | %s |\n", c.name, e[0], e[1])
		}
	}
	if *update {
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%s is not what the code says; write it with: go test ./cmd/raytap -run TestReferenceDocument -update", name)
	}
}

// query is a name that stands where metrics and functions stand in PromQL, with the labels that are asked of it.
var query = regexp.MustCompile(`\b((?:raytap|process|go)_[a-z_]+)(?:\{([^}]*)\})?`)

// checkQuery holds the names in a query against a scrape.
func checkQuery(t *testing.T, from, expr string, all []*metric) {
	t.Helper()
	found := query.FindAllStringSubmatch(expr, -1)
	if len(found) == 0 && !strings.HasPrefix(expr, "up{") {
		t.Errorf("%s: no metric in %s", from, expr)
	}
	for _, q := range found {
		name := q[1]
		i := slices.IndexFunc(all, func(m *metric) bool {
			return m.name == name || m.kind == "histogram" && (name == m.name+"_bucket" || name == m.name+"_sum" || name == m.name+"_count")
		})
		if i < 0 {
			t.Errorf("%s: there is no metric %s", from, name)
			continue
		}
		for _, l := range label.FindAllStringSubmatch(strings.ReplaceAll(q[2], "=~", "="), -1) {
			values := all[i].values[l[1]]
			if l[1] == "instance" || l[1] == "job" { // of the scrape
				continue
			}
			for _, v := range strings.Split(l[2], "|") {
				if !slices.Contains(values, v) {
					t.Errorf("%s: %s has no %s %q", from, name, l[1], v)
				}
			}
		}
	}
	for _, by := range regexp.MustCompile(`\b(?:by|on) \(([a-z, ]+)\)`).FindAllStringSubmatch(expr, -1) {
		for _, l := range strings.Split(by[1], ", ") {
			if l != "instance" && l != "le" && !slices.ContainsFunc(all, func(m *metric) bool { return strings.Contains(expr, m.name) && slices.Contains(m.labels, l) }) {
				t.Errorf("%s: no metric of %s has a label %s", from, expr, l)
			}
		}
	}
}

// TestPrometheusRules: each rule asks for what a sensor tells, and promtool takes the file, where there is one.
func TestPrometheusRules(t *testing.T) {
	const name = "../../docs/integrations/prometheus-rules.yml"
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.UnmarshalWithOptions(b, &rules, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	all := append(scrape(t), &metric{name: "up"})
	seen := map[string]bool{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if seen[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: twice, or without severity or words", r.Alert)
			}
			seen[r.Alert] = true
			checkQuery(t, r.Alert, r.Expr, all)
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d alerts", len(seen))
	}
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool, so that nothing parses the expressions:", err)
	}
	for _, args := range [][]string{{"check", "rules", name}, {"test", "rules", "../../testdata/integrations/prometheus-test.yml"}} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// TestGrafanaDashboard: each panel asks for what a sensor tells.
func TestGrafanaDashboard(t *testing.T) {
	b, err := os.ReadFile("../../docs/integrations/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title      string
		Templating struct{ List []struct{ Name string } }
		Panels     []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &board); err != nil {
		t.Fatal(err)
	}
	// What the Go runtime and the process tell is as everywhere.
	all := append(scrape(t), &metric{name: "process_resident_memory_bytes"}, &metric{name: "process_cpu_seconds_total"})
	var variables []string
	for _, v := range board.Templating.List {
		variables = append(variables, v.Name)
	}
	ids := map[int]bool{}
	for i, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q is twice, empty or out of place", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, q := range board.Panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%q lies over %q", p.Title, q.Title)
			}
		}
		for _, q := range p.Targets {
			for _, v := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(q.Expr, -1) {
				if !strings.HasPrefix(v[1], "__") && !slices.Contains(variables, v[1]) {
					t.Errorf("%q: no variable %s", p.Title, v[1])
				}
			}
			checkQuery(t, p.Title, q.Expr, all)
		}
	}
	if len(board.Panels) < 10 {
		t.Errorf("%d panels", len(board.Panels))
	}
}
