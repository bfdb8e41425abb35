package registry

import (
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/intel"
)

// TestLateDetectors: who asks for what only the collector has is Late, since nobody would tell it otherwise.
func TestLateDetectors(t *testing.T) {
	home, err := detectors.ParseNetworks(detectors.DefaultHome)
	if err != nil {
		t.Fatal(err)
	}
	set, err := intel.BuiltIn(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	late, names := 0, map[string]bool{}
	for _, d := range Detectors() {
		bus := detectors.NewBus(func(*detectors.Finding) {})
		d.New(&detectors.Env{Home: home, Users: &detectors.Networks{}, Rules: Rules(), Settings: map[string]any{"intel": intel.NewLive(set)}}, bus)
		hears := bus.Wants(&detectors.Finding{}) || bus.Wants(&capture.Loss{}) || bus.Wants(&capture.Standstill{})
		if hears && !d.Late {
			t.Errorf("%s hears of findings or of the run, and is not Late", d.Name)
		}
		if d.Late {
			late++
		} else if n := Lane(&d); n < 0 || n >= Lanes {
			t.Errorf("%s is in lane %d of %d", d.Name, n, Lanes)
		}
		names[d.Name] = true
	}
	for name := range lanes {
		if !names[name] {
			t.Errorf("%s has a lane and is no detector", name)
		}
	}
	if late == 0 {
		t.Error("nobody hears of findings")
	}
}
