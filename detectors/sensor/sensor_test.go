package sensor

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// say runs the detector over what minutes lost.
func say(settings map[string]any, all ...capture.Loss) (found []*detectors.Finding) {
	bus := detectors.NewBus(func(f *detectors.Finding) { found = append(found, f) })
	Spec().New(&detectors.Env{Settings: settings}, bus)
	for i := range all {
		all[i].Span = time.Minute
		bus.Publish(&all[i])
	}
	return found
}

func frames(received, dropped uint64) capture.Loss {
	return capture.Loss{Live: capture.LiveStats{Received: received, Dropped: dropped}}
}

func TestLossBeyondTheBound(t *testing.T) {
	for _, c := range []struct {
		name string
		loss capture.Loss
		want string
	}{
		{"ring too small", frames(100_000, 1000), "lost 1% of the frames in 60 seconds: 1000 of 100000 found no room in its ring"},
		{"a frame here and there", frames(100_000, 999), ""},
		{"nothing passed", frames(0, 0), ""},
		{"just opened", frames(50, 20), ""},
		{"mirror port too slow", capture.Loss{Live: capture.LiveStats{Received: 1e6}, Acks: 10_000, Gaps: 300}, "3% of the acknowledgements were for bytes that never came by"},
		{"a gap here and there", capture.Loss{Acks: 10_000, Gaps: 99}, ""},
		{"one connection of which we see half", capture.Loss{Acks: 150, Gaps: 150}, ""},
	} {
		got := say(nil, c.loss)
		if (len(got) > 0) != (c.want != "") {
			t.Errorf("%s: %d findings", c.name, len(got))
			continue
		}
		if len(got) > 0 && (!strings.Contains(got[0].Msg, c.want) || got[0].Severity != detectors.Medium || got[0].Rule != rule || len(got[0].Evidence) != 3) {
			t.Errorf("%s: %+v", c.name, got[0])
		}
	}
}

func TestBoundIsASetting(t *testing.T) {
	if got := say(map[string]any{"sensor": &Config{Loss: 0.1}}, frames(100_000, 200)); len(got) != 1 {
		t.Errorf("%d findings below 1%%", len(got))
	}
	if got := say(map[string]any{"sensor": &Config{Loss: 50}}, frames(100_000, 40_000)); len(got) != 0 {
		t.Errorf("%d findings below 50%%", len(got))
	}
	for _, c := range []Config{{Loss: 0}, {Loss: -1}, {Loss: 101}} {
		if settings().Check(&c) == nil {
			t.Errorf("%v%% is taken", c.Loss)
		}
	}
	d := Default()
	if err := settings().Check(&d); err != nil {
		t.Error(err)
	}
}

func TestReloadMovesTheBound(t *testing.T) {
	var found int
	bus := detectors.NewBus(func(*detectors.Finding) { found++ })
	env := &detectors.Env{}
	Spec().New(env, bus)
	l := frames(1000, 30)
	env.Settings = map[string]any{"sensor": &Config{Loss: 5}}
	bus.Publish(&detectors.Reload{Env: env})
	if bus.Publish(&l); found != 0 {
		t.Error("the old bound holds")
	}
}

// TestStandstill: a standstill is told with the flow that was read, once a flow, and one that was the machine's says so.
func TestStandstill(t *testing.T) {
	var found []*detectors.Finding
	bus := detectors.NewBus(func(f *detectors.Finding) { found = append(found, f) })
	Spec().New(&detectors.Env{}, bus)
	flow := &capture.Flow{UID: "C1", Orig: netip.MustParseAddrPort("192.0.2.7:4000"), Resp: netip.MustParseAddrPort("10.0.0.5:8265")}
	bus.Publish(&capture.Standstill{Flow: flow, Stage: "flows and decoders", Took: 70 * time.Second, Ran: 69 * time.Second})
	bus.Publish(&capture.Standstill{Stage: "detectors and outputs", Took: 2 * time.Second, Ran: time.Second / 10})
	if len(found) != 2 {
		t.Fatalf("%d findings", len(found))
	}
	for i, want := range []string{
		"stood still for 70.0 seconds, over a packet between 192.0.2.7:4000 and 10.0.0.5:8265",
		"stood still for 2.0 seconds, most of it without a processor, in detectors and outputs",
	} {
		if !strings.Contains(found[i].Msg, want) || found[i].Rule != standstill {
			t.Errorf("%+v", found[i])
		}
	}
	if found[0].Flow != flow || found[0].Src != flow.Orig.Addr() || found[0].Port != 8265 {
		t.Errorf("%+v", found[0])
	}
}
