package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/logs"
)

// TestLastRevisionIsTheIncident: incidents.log has an incident from when it began; report, tail and extract take its last
// row for it, and none of them tells of its finding twice.
func TestLastRevisionIsTheIncident(t *testing.T) {
	for _, format := range []string{"zeek", "json"} {
		dir := t.TempDir()
		pcap, err := filepath.Abs("../../pcaps/shadowray.pcap.gz")
		if err != nil {
			t.Fatal(err)
		}
		invoke(t, dir, nil, "replay", "--quiet", "--format", format, "--out", "logs", "--report", "r.html", pcap).expect(t, 0, "", "")
		folder, err := logs.Open(logs.Options{}, filepath.Join(dir, "logs"))
		if err != nil {
			t.Fatal(err)
		}
		var rows []*detectors.Incident
		folder.Read("incidents", func(r *logs.Row) { rows = append(rows, r.Incident()) })
		var told []*detectors.Finding
		folder.Read("notice", func(r *logs.Row) {
			if f := r.Finding(); f.Rule == detectors.ChainRule {
				told = append(told, f)
			}
		})
		folder.Close()
		if len(rows) != 2 || rows[0].State != detectors.Open || rows[1].State != detectors.Closed || rows[0].ID != rows[1].ID || rows[0].Revision != 1 || rows[1].Revision != 2 {
			t.Fatalf("%s: %d rows", format, len(rows))
		}
		if len(rows[0].Steps) >= len(rows[1].Steps) || rows[0].Last.Time >= rows[1].Last.Time || rows[0].Written >= rows[1].Written {
			t.Errorf("%s: it does not grow: %d steps, then %d", format, len(rows[0].Steps), len(rows[1].Steps))
		}
		if len(told) != 2 || told[0].ID() != told[1].ID() || told[0].Incident != rows[0].ID || told[1].Incident != rows[0].ID || told[1].Revision != 2 || told[1].Severity != told[0].Severity {
			t.Errorf("%s: %d rows of %s", format, len(told), detectors.ChainRule)
		}
		if page := read(t, dir, "r.html"); strings.Count(page, "</span> A chain of cause: ") != 1 || !strings.Contains(page, "100 of 100") {
			t.Errorf("%s: the report does not have the incident as it is", format)
		}
		r := invoke(t, dir, nil, "tail", "--once", "-n", "100", "logs")
		if strings.Count(r.stdout, "INCIDENT") != 1 || strings.Count(r.stdout, "[campaign/chain, ") != 1 || strings.Count(r.stdout, "[intel/match, ") != 1 || !strings.Contains(r.stdout, ", 2 times]") {
			t.Errorf("%s: tail says\n%s", format, r.stdout)
		}
		for _, args := range [][]string{{"--incident", rows[0].ID}, {"--incident", rows[0].ID, "--logs", "logs"}, {"--finding", told[0].ID()}} {
			r := invoke(t, dir, nil, append(append([]string{"extract", "-o", "x.pcapng"}, args...), pcap)...)
			r.expect(t, 0, "x.pcapng", "")
			if b := read(t, dir, "x.pcapng"); len(args) == 2 && !bytes.Contains([]byte(b), []byte("mined at")) {
				t.Errorf("%s: %v does not have the last step", format, args)
			}
		}
	}
}
