package hub

import (
	"encoding/json"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/store"
	"github.com/raytap/raytap/sinks/logs"
)

// Telling is a finding that people are told of.
type Telling struct {
	// Event is a *detectors.Finding, or a *detectors.Update of one that was told before.
	Event   any
	Sensors []string // that saw it
	row     []byte
}

// JSON is its row of notice.log, with _sensors, as one that was told before or not.
func (t *Telling) JSON(update bool) []byte {
	names, _ := json.Marshal(t.Sensors)
	more := []string{`"_sensors":` + string(names)}
	if update {
		more = append(more, `"update":true`)
	}
	return members(t.row, func(key string, value json.RawMessage) json.RawMessage {
		if key == "update" || key == "_sensors" {
			return nil
		}
		return value
	}, more...)
}

// tell passes on what people are told of in changes, as far as it goes at a time: what it returns is to be taken as spoken before more
// is told, so that a hub that takes over repeats at most the last of it. Whether a finding was told before is in the history, whichever
// hub told it.
func (h *Hub) tell(all []store.Change) ([]store.Change, error) {
	if h.o.Tell == nil {
		return all, nil
	}
	for i := range all {
		if !h.tells(&all[i]) {
			continue
		}
		end := i + 1 // of one sequence all go together
		for end < len(all) && all[end].Seq == all[i].Seq {
			end++
		}
		for k := i; k < end; k++ {
			c := &all[k]
			if !h.tells(c) {
				continue
			}
			t, err := h.telling(c)
			if err != nil {
				return nil, err
			}
			if t.Event != nil {
				h.o.Tell(t)
			}
		}
		if h.o.Told != nil {
			h.o.Told()
		}
		return all[:end], nil
	}
	return all, nil
}

func (h *Hub) tells(c *store.Change) bool {
	return c.Kind == "notice" && (h.o.TellAll || c.Sensor == fleet.HubSensor)
}

func (h *Hub) telling(c *store.Change) (t Telling, err error) {
	parser := logs.Parser{Log: "notice"}
	r, err := parser.Line(c.Body)
	if err != nil || r == nil {
		return t, nil // it was checked when it was stored
	}
	f := r.Finding()
	if f == nil {
		return t, nil
	}
	before, err := h.db.History(c.ID)
	if err != nil {
		return t, err
	}
	known, was := false, detectors.Info
	for i := range before {
		b := &before[i]
		if b.Pos >= c.Pos || !h.tells(b) {
			continue
		}
		var x struct {
			Severity string `json:"severity"`
		}
		if json.Unmarshal(b.Body, &x) == nil {
			if sev, err := detectors.ParseSeverity(x.Severity); err == nil {
				known, was = true, max(was, sev)
			}
		}
	}
	t.Event = f
	if known {
		t.Event = &detectors.Update{Finding: f, Was: was}
	}
	t.row = c.Body
	return t, json.Unmarshal(c.Sensors, &t.Sensors)
}
