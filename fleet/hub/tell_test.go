package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/fleet/hub/hubtest"
)

// told is what several hubs told, in the order in which they did.
type told struct {
	mu  sync.Mutex
	all []Telling
}

func (x *told) tell(t Telling) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all = append(x.all, t)
}

// list is what was told by now. A hub may go on telling.
func (x *told) list() []Telling {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.all)
}

// alarms counts by id what came as new, and reports an update of what never came.
func (x *told) alarms(t *testing.T) (n map[string]int) {
	t.Helper()
	n = map[string]int{}
	for _, e := range x.list() {
		f, known := detectors.Told(e.Event, detectors.Info)
		var row struct {
			ID      string   `json:"finding_id"`
			Update  bool     `json:"update"`
			Sensors []string `json:"_sensors"`
		}
		if err := json.Unmarshal(e.JSON(known), &row); err != nil || row.ID != f.ID() || row.Update != known || !slices.Equal(row.Sensors, e.Sensors) || len(row.Sensors) == 0 {
			t.Errorf("%v: %v of %s", err, row, f.ID())
		}
		if !known {
			n[f.ID()]++
		} else if n[f.ID()] == 0 {
			t.Errorf("an update of %s, which was not told", f.ID())
		}
	}
	return n
}

// TestTells has people told once of what the hub says, with what becomes of it as updates; and not of what a sensor said alone, unless
// they want to be.
func TestTells(t *testing.T) {
	for _, every := range []bool{false, true} {
		var x told
		var safe atomic.Bool // told and kept by whoever takes it
		h := start(t, Options{Tell: x.tell, TellAll: every, Told: func() { safe.Store(true) }})
		a, b := sensor(t, h, "a"), sensor(t, h, "b")
		send(t, a, "notice", hubtest.Notice("R1", "scan/ports", "low", "203.0.113.1", "10.0.0.1", time.Now()))
		send(t, b, "notice", hubtest.Notice("R1", "scan/ports", "high", "203.0.113.1", "10.0.0.1", time.Now()))
		send(t, a, "notice", []byte(`{"ts":"no"}`)) // refused, which the hub says
		until(t, "sensor/refused", func() bool {
			send(t, a, "status", hubtest.Status("v1", time.Now().Add(10*time.Second)))
			return safe.Load() && slices.ContainsFunc(x.list(), func(e Telling) bool { return strings.Contains(string(e.JSON(false)), `"`+RuleRefused+`"`) })
		})
		n := x.alarms(t)
		if want := map[bool]int{true: 2, false: 1}[every]; len(n) != want || every && n["R1"] != 1 {
			t.Errorf("all: %v: %v", every, n)
		}
		for _, e := range x.list() {
			if u, ok := e.Event.(*detectors.Update); ok && u.ID() == "R1" && (u.Was != detectors.Low || u.Severity != detectors.High || fmt.Sprint(e.Sensors) != "[a b]") {
				t.Errorf("%+v %v", u, e.Sensors)
			}
		}
	}
}
