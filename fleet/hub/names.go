package hub

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/fleet/store"
)

// The name of an incident, and of its finding, is made of what it began with. A hub that is started again reads what the joiner must know
// again, but no more than join.Config.Longest; of an incident that is open for longer it does not see the beginning, and the joiner
// calls it something else. Such a one goes on under the name that it has in the store.

// quietFor is after how long without news an incident is another one (detectors/campaign), and an hour: news may wait so long for a row.
const quietFor = 7 * time.Hour

// maxNames bounds the names that are remembered; the oldest go.
const maxNames = 1000

// newName says what an incident of the joiner is called in the store.
type newName struct {
	Is              string `json:"is"`  // by the joiner
	To              string `json:"to"`  // in the store
	Revision        int    `json:"rev"` // is added to the joiner's
	Finding         string `json:"f"`   // its finding by the joiner; "": not seen yet, or it keeps its name
	FindingTo       string `json:"fto"`
	FindingRevision int    `json:"frev"`
}

// names are those that differ, and what the joiner has told of since it was made.
type names struct {
	all  []newName
	told map[string]bool // incidents, by their names in the store
	seen map[string]bool // incidents of the joiner that were looked up
}

func newNames() names { return names{told: map[string]bool{}, seen: map[string]bool{}} }

// load takes what was kept.
func (n *names) load(db *store.Store) error {
	v, err := db.Meta("names")
	if err != nil || v == "" {
		return err
	}
	return json.Unmarshal([]byte(v), &n.all)
}

// incidentRow is what is compared of a row of incidents.log.
type incidentRow struct {
	ID        string   `json:"incident_id"`
	First     float64  `json:"first"`
	Last      float64  `json:"last"`
	Revision  int      `json:"revision"`
	State     string   `json:"state"`
	Attackers []string `json:"attackers"`
	Victims   []string `json:"victims"`
	Findings  []string `json:"finding_ids"`
}

func (n *names) of(id string) *newName {
	for i := range n.all {
		if n.all[i].Is == id {
			return &n.all[i]
		}
	}
	return nil
}

// hear notes what the joiner told of that the store has already.
func (n *names) hear(all []joined) {
	for i := range all {
		if all[i].log != "incidents" {
			continue
		}
		var x incidentRow
		if json.Unmarshal(all[i].row, &x) == nil {
			n.told[n.name(x.ID)] = true
		}
	}
}

func (n *names) name(id string) string {
	if x := n.of(id); x != nil {
		return x.To
	}
	return id
}

// rename has rows of the joiner say the names of the store.
func (n *names) rename(tx *store.Tx, all []joined) error {
	changed := false
	for i := range all {
		if all[i].log != "incidents" {
			continue
		}
		var x incidentRow
		if json.Unmarshal(all[i].row, &x) != nil {
			continue
		}
		if n.of(x.ID) == nil && !n.seen[x.ID] {
			n.seen[x.ID] = true
			to, err := n.older(tx, &x)
			if err != nil {
				return err
			}
			if to != nil {
				if len(n.all) >= maxNames {
					n.all = n.all[1:]
				}
				n.all = append(n.all, newName{Is: x.ID, To: to.ID, Revision: to.Revision + 1 - x.Revision})
				changed = true
			}
		}
		n.told[n.name(x.ID)] = true
	}
	if len(n.all) == 0 {
		return nil
	}
	for i := range all {
		c, err := n.row(tx, &all[i])
		if err != nil {
			return err
		}
		changed = changed || c
	}
	if !changed {
		return nil
	}
	b, err := json.Marshal(n.all)
	if err != nil {
		return err
	}
	return tx.SetMeta("names", string(b))
}

// older finds the incident that a new one goes on with: one that is open, that this joiner has not told of, and that has an attacker and
// a victim or a finding in common with it.
func (n *names) older(tx *store.Tx, x *incidentRow) (*incidentRow, error) {
	known, err := tx.HasIncident(x.ID)
	if err != nil || known {
		return nil, err
	}
	bodies, err := tx.OpenIncidents(x.First - quietFor.Seconds())
	if err != nil {
		return nil, err
	}
	common := func(a, b []string) bool {
		return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
	}
	for _, b := range bodies {
		var y incidentRow
		if json.Unmarshal(b, &y) != nil || n.told[y.ID] || y.First > x.First {
			continue
		}
		if common(x.Attackers, y.Attackers) && common(x.Victims, y.Victims) || common(x.Findings, y.Findings) {
			return &y, nil
		}
	}
	return nil, nil
}

// row renames one row, and reports whether there is a further name.
func (n *names) row(tx *store.Tx, said *joined) (changed bool, err error) {
	switch said.log {
	case "incidents":
		var x struct {
			ID   string `json:"incident_id"`
			Into string `json:"merged_into"`
		}
		if json.Unmarshal(said.row, &x) != nil {
			return false, nil
		}
		for _, id := range []string{x.ID, x.Into} {
			if to := n.of(id); to != nil {
				said.row = bytes.ReplaceAll(said.row, []byte(id), []byte(to.To))
				if to.Finding != "" {
					said.row = bytes.ReplaceAll(said.row, []byte(to.Finding), []byte(to.FindingTo))
				}
			}
		}
		if to := n.of(x.ID); to != nil {
			old, err := tx.IncidentBody(to.To)
			if err != nil {
				return false, err
			}
			said.row = goesOn(said.row, old, to.Revision)
		}
	case "notice":
		var x struct {
			Rule     string `json:"rule"`
			ID       string `json:"finding_id"`
			Incident string `json:"incident_id"`
			Revision int    `json:"revision"`
		}
		if json.Unmarshal(said.row, &x) != nil || x.Incident == "" {
			return false, nil
		}
		to := n.of(x.Incident)
		if to == nil {
			return false, nil
		}
		said.row = bytes.ReplaceAll(said.row, []byte(x.Incident), []byte(to.To))
		if x.Rule != detectors.ChainRule {
			return false, nil
		}
		if to.Finding == "" {
			id, revision, err := tx.FindingOf(detectors.ChainRule, to.To)
			if err != nil || id == "" || id == x.ID {
				return false, err
			}
			to.Finding, to.FindingTo, to.FindingRevision = x.ID, id, revision+1-max(x.Revision, 1)
			changed = true
		}
		if x.ID == to.Finding {
			said.row = bytes.ReplaceAll(said.row, []byte(x.ID), []byte(to.FindingTo))
			said.row = members(said.row, func(key string, v json.RawMessage) json.RawMessage {
				switch key {
				case "revision":
					return plus(v, to.FindingRevision)
				case "update":
					return nil
				}
				return v
			}, `"update":true`)
		}
	}
	return changed, nil
}

// goesOn gives a row the beginning and the parties of the one before it.
func goesOn(row, old []byte, revision int) []byte {
	var x, y incidentRow
	if json.Unmarshal(row, &x) != nil || json.Unmarshal(old, &y) != nil {
		return row
	}
	both := func(a, b []string) json.RawMessage {
		for _, s := range b {
			if !slices.Contains(a, s) {
				a = append(a, s)
			}
		}
		text, _ := json.Marshal(a)
		return text
	}
	first := min(x.First, y.First)
	number := func(f float64) json.RawMessage { return strconv.AppendFloat(nil, f, 'f', 6, 64) }
	return members(row, func(key string, v json.RawMessage) json.RawMessage {
		switch key {
		case "first":
			return number(first)
		case "duration":
			return number(x.Last - first)
		case "attackers":
			return both(y.Attackers, x.Attackers)
		case "victims":
			return both(y.Victims, x.Victims)
		case "finding_ids":
			if len(y.Findings) < maxFindingsOf {
				return both(y.Findings, x.Findings)
			}
		case "revision":
			return plus(v, revision)
		}
		return v
	})
}

// maxFindingsOf bounds the findings that a row names.
const maxFindingsOf = 256

func plus(v json.RawMessage, n int) json.RawMessage {
	was, err := strconv.Atoi(string(v))
	if err != nil {
		return v
	}
	return strconv.AppendInt(nil, int64(max(was+n, 1)), 10)
}

// members rewrites the members of an object; nil leaves one out. more are added.
func members(object []byte, f func(key string, value json.RawMessage) json.RawMessage, more ...string) []byte {
	d := json.NewDecoder(bytes.NewReader(object)) // of an object: it was checked
	if _, err := d.Token(); err != nil {
		return object
	}
	b := make([]byte, 0, len(object)+100)
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return object
		}
		if value = f(key.(string), value); value == nil {
			continue
		}
		name, _ := json.Marshal(key)
		b = append(append(append(append(b, ','), name...), ':'), value...)
	}
	for _, m := range more {
		b = append(append(b, ','), m...)
	}
	if len(b) == 0 {
		return []byte("{}")
	}
	b[0] = '{'
	return append(b, '}')
}
