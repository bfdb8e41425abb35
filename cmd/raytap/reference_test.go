package main

import (
	"bytes"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap"
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/metrics"
)

var update = flag.Bool("update", false, "write docs/reference.md anew")

// units of metrics; of lost and wire a label says it.
var units = map[string]string{
	"raytap_build_info":                    "",
	"raytap_bytes_total":                   "bytes",
	"raytap_decoder_panics_total":          "flows",
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
	m := metrics.New(metrics.Options{Version: "v1", Rules: raytap.Rules(),
		Interfaces: func() []metrics.Interface { return []metrics.Interface{{Name: "eth0", Up: true}} }})
	v := metrics.Values{LastPacket: time.Unix(1700000000, 0), Logs: []metrics.Log{{Name: "conn"}}, Outputs: []metrics.Output{{Name: "webhook"}}}
	var s raytap.Stats
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
- [raytap.yaml](../raytap.yaml): every key of the configuration, with its default
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
	logs := raytap.Logs()
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
