package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/hub/hubtest"
)

// TestHealth walks sensors through what can be wrong with them; the clock is that of the stream.
func TestHealth(t *testing.T) {
	h := health{silent: 3 * time.Minute, skew: 10 * time.Second, version: 10 * time.Minute}
	const t0 = 1.8e9
	all := map[string]*Sensor{}
	for _, name := range []string{"a", "b", "c", fleet.HubSensor} {
		all[name] = newSensor(name, t0)
	}
	skew := map[string]time.Duration{}
	version := map[string]string{"a": "v1", "b": "v1", "c": "v1"}
	dead := map[string]bool{}
	now := float64(t0)
	run := func(seconds int) (said []string) {
		for range seconds / 5 {
			now += 5
			for _, name := range []string{"a", "b", "c"} {
				if s := all[name]; !dead[name] {
					s.hear(now)
					if err := s.status(hubtest.Status(version[name], time.UnixMicro(int64(now*1e6)).Add(-skew[name])), now); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, n := range h.check(all, now) {
				said = append(said, fmt.Sprint(n.Rule, " ", n.Sensor, " ", n.State, " ", n.Revision))
			}
		}
		return said
	}
	expect := func(what string, got []string, want ...string) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	expect("all is well", run(3600))
	dead["b"] = true
	expect("b is dead for two minutes", run(120))
	dead["b"] = false
	expect("and back", run(60))
	dead["b"] = true
	expect("b is dead", run(600), "sensor/silent b open 1")
	dead["b"] = false
	expect("b is back", run(60), "sensor/silent b closed 2")
	dead["b"] = true
	run(100)
	now += 3600 // nobody could publish
	for _, s := range all {
		s.Excused += 3600
	}
	expect("b is still dead after a pause of all, but not for long", run(60))
	expect("until it is long", run(60), "sensor/silent b open 1")
	dead["b"] = false
	expect("b is back again", run(5), "sensor/silent b closed 2")
	skew["a"] = time.Hour
	expect("an hour late", run(60), "sensor/clock a open 1")
	skew["a"] = 0
	expect("right again", run(60), "sensor/clock a closed 2")
	skew["a"] = -time.Hour
	expect("an hour early", run(60), "sensor/clock a open 1")
	skew["a"] = -2 * time.Second
	expect("right again", run(60), "sensor/clock a closed 2")
	skew["a"] = time.Minute
	run(5)
	skew["a"] = 0
	expect("one late message", run(60))
	version["c"] = "v2"
	expect("an upgrade begins", run(300))
	version["a"], version["b"] = "v2", "v2"
	expect("and ends", run(3600))
	version["b"] = "v1"
	expect("b stays behind", run(3600), "sensor/version b open 1")
	version["b"] = "v2"
	expect("b follows", run(60), "sensor/version b closed 2")
	all["a"].LostFiles, all["a"].LostBytes = 2, 100
	said := h.check(all, now)
	if len(said) != 1 || said[0].Rule != RuleUnsent {
		t.Errorf("%+v", said)
	}
	all["c"].refuse("conn", &fleet.Refused{Reason: fleet.RefusedJSON}, now)
	said = h.check(all, now+1)
	if len(said) != 1 || said[0].Rule != RuleRefused {
		t.Errorf("%+v", said)
	}
	if said = h.check(all, now+3700); len(said) != 3 { // all are silent; of those nothing else is said
		t.Errorf("%+v", said)
	}
}

// TestClockNotSet: a sensor whose clock is not set after a start is one with a wrong clock, and not one that sends what is no status.
func TestClockNotSet(t *testing.T) {
	h := start(t, Options{})
	s := sensor(t, h, "a")
	for range 4 {
		now := time.Unix(100, 0)
		m, err := fleet.Row{Sensor: "a", Log: fleet.LogStatus, Place: fleet.Place{Generation: 1, Offset: uint64(time.Now().UnixNano())}, Written: now, Body: hubtest.Status("v1", now)}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Publish(t.Context(), []*nats.Msg{m}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the status", func() bool { return state(t, h, "a").Rows == 4 })
	if x := state(t, h, "a"); x.Refusals != 0 || x.Skew < 1e9 {
		t.Errorf("%+v", x)
	}
	send(t, s, "notice", []byte(`{"ts":"no"}`))
	until(t, "what was refused", func() bool { return strings.HasPrefix(state(t, h, "a").LastWhy, "notice: ") })
}
