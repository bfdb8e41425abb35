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
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/report"
	"github.com/raytap/raytap/sinks/terminal"
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

type finding struct {
	Time        string          `json:"time"`
	ID          string          `json:"id"`
	Rule        string          `json:"rule"`
	Note        string          `json:"note"`
	Severity    string          `json:"severity"`
	Confidence  int             `json:"confidence"`
	Outcome     string          `json:"outcome,omitempty"`
	Message     string          `json:"message"`
	Detail      string          `json:"detail,omitempty"`
	Src         string          `json:"src,omitempty"`
	SrcPort     uint16          `json:"src_port,omitempty"`
	Dst         string          `json:"dst,omitempty"`
	DstPort     uint16          `json:"dst_port,omitempty"`
	Proto       string          `json:"proto,omitempty"`
	UID         string          `json:"uid,omitempty"`
	CommunityID string          `json:"community_id,omitempty"`
	Count       uint64          `json:"count"`
	ATLAS       []technique     `json:"atlas"`
	ATTACK      []technique     `json:"attack"`
	Evidence    []evidenceValue `json:"evidence"`
}

type technique struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type evidenceValue struct {
	Field  string `json:"field"`
	Value  string `json:"value"`
	Packet uint64 `json:"packet,omitempty"`
}

func lines(w io.Writer, n int, line func(i int) any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range n {
		b.Reset()
		if err := enc.Encode(line(i)); err != nil {
			return err
		}
		if _, err := w.Write(terminal.JSON(b.Bytes())); err != nil {
			return err
		}
	}
	return nil
}

// Findings writes one JSON object a finding, in order of time.
func Findings(r *report.Report, w io.Writer) error {
	return lines(w, len(r.Findings), func(i int) any {
		f := &r.Findings[i]
		x := finding{
			Time: rfc3339(f.Time), ID: f.ID, Rule: f.Rule, Note: f.Note, Severity: f.Severity.String(), Confidence: f.Confidence,
			Outcome: f.Outcome, Message: f.Msg, Detail: f.Sub, SrcPort: f.SrcPort, DstPort: f.Port, Proto: f.Proto, UID: f.UID,
			CommunityID: f.CommunityID, Count: f.Count, ATLAS: techniques(f.ATLAS), ATTACK: techniques(f.ATTACK), Evidence: []evidenceValue{},
		}
		if f.Src.IsValid() {
			x.Src = f.Src.String()
		}
		if f.Dst.IsValid() {
			x.Dst = f.Dst.String()
		}
		for _, e := range f.Evidence {
			x.Evidence = append(x.Evidence, evidenceValue(e))
		}
		return x
	})
}

func techniques(list []report.Technique) []technique {
	all := make([]technique, 0, len(list))
	for _, t := range list {
		all = append(all, technique(t))
	}
	return all
}

// Incidents writes one JSON object for each row of incidents.log, with its columns as they are.
func Incidents(r *report.Report, w io.Writer) error {
	return lines(w, len(r.Incidents), func(i int) any {
		var b bytes.Buffer // a map would do, but for the order
		b.WriteByte('{')
		for j, f := range r.Incidents[i].Fields {
			if j > 0 {
				b.WriteByte(',')
			}
			name, _ := json.Marshal(f.Name)
			var value []byte
			if f.List {
				value, _ = json.Marshal(f.Values)
			} else {
				value, _ = json.Marshal(f.Values[0])
			}
			b.Write(name)
			b.WriteByte(':')
			b.Write(value)
		}
		b.WriteByte('}')
		return json.RawMessage(b.Bytes())
	})
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
