// Package export writes what a report knows in forms that other programs read.
//
// In: a report. Out: findings and incidents as JSON lines, indicators as CSV, and a STIX 2.1 bundle of indicators, the
// techniques that they indicate, and what was observed. The same report gives the same bytes; identifiers are hashes of
// what they name (UUID version 5), so that a platform that gets a bundle twice has its objects once.
//
// It does not see what package report left out, which is counted there. Wallets are in the CSV alone: STIX has no
// object for them.
package export

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/report"
	"github.com/raytap/raytap/sinks/terminal"
	"github.com/raytap/raytap/sinks/zeek"
)

// Files are what a folder of exports has.
var Files = [...]struct {
	Name  string
	Write func(*report.Report, io.Writer) error
}{
	{"findings.jsonl", Findings},
	{"incidents.jsonl", Incidents},
	{"indicators.csv", Indicators},
	{"stix.json", STIX},
}

func rfc3339(t capture.Time) string { return t.Std().Format(time.RFC3339Nano) }

func lines(w io.Writer, n int, line func(i int) []byte) error {
	for i := range n {
		if _, err := w.Write(append(line(i), '\n')); err != nil {
			return err
		}
	}
	return nil
}

// Findings writes one JSON object a finding, in order of time: what notice.log has of it in its JSON form, of several rows
// the last.
func Findings(r *report.Report, w io.Writer) error {
	rows := zeek.NewFindings(nil)
	return lines(w, len(r.Findings), func(i int) []byte {
		f := &r.Findings[i]
		return rows.Stored(f.Row, f.Note, texts(f.ATLAS), texts(f.ATTACK), f.Peer)
	})
}

func texts(list []report.Technique) []string {
	all := make([]string, 0, len(list))
	for _, t := range list {
		all = append(all, strings.TrimSpace(t.ID+" "+t.Name))
	}
	return all
}

// Incidents writes one JSON object an incident, the worst first: the last of its rows in incidents.log, in the JSON form.
func Incidents(r *report.Report, w io.Writer) error {
	rows := zeek.NewFindings(nil)
	return lines(w, len(r.Incidents), func(i int) []byte { return rows.Row(r.Incidents[i].Incident) })
}

// Indicators writes what to look for as CSV (RFC 4180, with a header).
func Indicators(r *report.Report, w io.Writer) error {
	c := csv.NewWriter(w)
	c.Write([]string{"indicator", "type", "defanged", "role", "severity", "confidence", "outcome", "first_seen", "techniques", "findings"})
	for _, i := range r.Indicators() {
		var ids []string
		for _, t := range i.Techniques {
			ids = append(ids, t.ID)
		}
		c.Write([]string{terminal.Clean(i.Value), i.Kind, terminal.Clean(i.Defang()), i.Role, i.Severity.String(), strconv.Itoa(i.Confidence), i.Outcome, rfc3339(i.First),
			strings.Join(ids, " "), strings.Join(i.Findings, " ")})
	}
	c.Flush()
	return c.Error()
}
