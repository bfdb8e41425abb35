package hub

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/store"
)

func notRow(text string) error { return &fleet.Refused{Reason: fleet.RefusedRow, Text: text} }

// name reports whether s may be the name of a rule, the id of a finding, or the like: ASCII that is printed, without blanks.
func name(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || r == '<' || r == '>' || r == '"' || r == '\'' || r == '&'
	})
}

const maxRevision = 1 << 30

// readFinding reads what the store needs of a row of notice.log.
func readFinding(body []byte) (f store.Finding, err error) {
	var x struct {
		TS       float64 `json:"ts"`
		ID       string  `json:"finding_id"`
		Rule     string  `json:"rule"`
		Severity string  `json:"severity"`
		N        float64 `json:"n"`
		Revision float64 `json:"revision"`
		Src      string  `json:"src"`
		Dst      string  `json:"dst"`
		State    string  `json:"state"`
	}
	if err := json.Unmarshal(body, &x); err != nil {
		return f, notRow("columns of another type")
	}
	sev, err := detectors.ParseSeverity(x.Severity)
	if err != nil || !name(x.ID, 64) || !name(x.Rule, 80) || !strings.Contains(x.Rule, "/") || !plausible(x.TS) || !count(x.N) || !count(x.Revision) ||
		!address(x.Src) || !address(x.Dst) || x.State != "" && x.State != "open" && x.State != "closed" {
		return f, notRow("not a finding")
	}
	f = store.Finding{ID: x.ID, Rule: x.Rule, Severity: int(sev), State: "open", TS: x.TS, N: max(1, int(x.N)), Revision: max(1, int(x.Revision)), Src: x.Src, Dst: x.Dst, Body: body}
	if x.State == "closed" {
		f.State = x.State
	}
	return f, nil
}

func count(f float64) bool { return f >= 0 && f <= maxRevision && f == math.Trunc(f) }

// address takes what may be an address, with its zone or without; empty, too.
func address(s string) bool { return s == "" || name(s, 80) }

func readIncident(body []byte) (r store.Incident, err error) {
	var x struct {
		ID       string   `json:"incident_id"`
		Revision float64  `json:"revision"`
		State    string   `json:"state"`
		Severity string   `json:"severity"`
		Score    float64  `json:"score"`
		First    float64  `json:"first"`
		Last     float64  `json:"last"`
		Who      []string `json:"attackers"`
		Whom     []string `json:"victims"`
	}
	if err := json.Unmarshal(body, &x); err != nil {
		return r, notRow("columns of another type")
	}
	sev, err := detectors.ParseSeverity(x.Severity)
	if err != nil || !name(x.ID, 64) || !count(x.Revision) || !count(x.Score) || !plausible(x.First) || !plausible(x.Last) || x.State != "" && !name(x.State, 20) {
		return r, notRow("not an incident")
	}
	for _, a := range append(x.Who, x.Whom...) {
		if !address(a) {
			return r, notRow("not an incident")
		}
	}
	return store.Incident{ID: x.ID, Revision: max(1, int(x.Revision)), State: x.State, Severity: int(sev), Score: int(x.Score), First: x.First, Last: x.Last, Body: body}, nil
}

func readAsset(body []byte) (a store.Asset, changed bool, err error) {
	var x struct {
		TS     float64 `json:"ts"`
		Asset  string  `json:"asset"`
		Kind   string  `json:"kind"`
		Grade  string  `json:"grade"`
		Change string  `json:"change"`
		First  float64 `json:"first_seen"`
		Last   float64 `json:"last_seen"`
	}
	if err := json.Unmarshal(body, &x); err != nil {
		return a, false, notRow("columns of another type")
	}
	if x.Asset == "" || len(x.Asset) > 512 || !name(x.Kind, 64) || len(x.Grade) > 8 || len(x.Change) > 32 || !plausible(x.TS) ||
		x.First != 0 && !plausible(x.First) || x.Last != 0 && !plausible(x.Last) {
		return a, false, notRow("not an asset")
	}
	if x.Last == 0 {
		x.Last = x.TS
	}
	if x.First == 0 {
		x.First = x.TS
	}
	return store.Asset{Name: x.Asset, Kind: x.Kind, Grade: x.Grade, First: x.First, Last: x.Last, Body: body}, x.Change != "seen", nil
}
