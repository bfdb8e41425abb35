package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/interpreters/raygrpc"
)

// TestHomeInDoubt: a cluster on public addresses is noticed where nobody said what is home, and nothing else is.
func TestHomeInDoubt(t *testing.T) {
	flow := func(src, dst string, port uint16) *capture.Flow {
		return &capture.Flow{Orig: netip.AddrPortFrom(netip.MustParseAddr(src), 40000), Resp: netip.AddrPortFrom(netip.MustParseAddr(dst), port)}
	}
	gcs := func(src, dst string) any {
		return &raygrpc.Call{Flow: flow(src, dst, 6379), Service: raygrpc.GCS, Method: "NodeInfoGcsService/RegisterNode", Outcome: raygrpc.Executed}
	}
	dash := func(src, dst string) any {
		return &ray.Call{Flow: flow(src, dst, 8265), Outcome: ray.Answered}
	}
	for _, tt := range []struct {
		name string
		home []string
		evs  []any
		want string
	}{
		{"nodes on public addresses", nil, []any{gcs("131.159.20.11", "131.159.20.10"), gcs("131.159.20.12", "131.159.20.10")},
			"2 findings rest on 131.159.20.0/24 being outside, but 3 machines there talk as a Ray cluster does: --home 131.159.20.0/24 (and your other networks) if it is yours"},
		{"a dashboard", detectors.DefaultHome, []any{dash("192.0.2.7", "131.159.20.10")}, "2 findings rest on 131.159.20.0/24 being outside, but a machine there talks as a Ray cluster does"},
		{"IPv6", nil, []any{gcs("2a09:80c0::11", "2a09:80c0::10")}, "2a09:80c0::/64 counts as outside, but 2 machines"},
		{"home was said", []string{"10.0.0.0/8"}, []any{gcs("131.159.20.11", "131.159.20.10")}, ""},
		{"an outsider at a cluster at home", nil, []any{gcs("131.159.20.11", "10.20.0.10"), dash("131.159.20.11", "10.20.0.10")}, ""},
		{"a user at home of a cluster in a cloud", nil, []any{gcs("10.20.0.10", "131.159.20.11"), dash("10.20.0.10", "131.159.20.11")}, ""},
		{"refused", nil, []any{&ray.Call{Flow: flow("192.0.2.7", "131.159.20.10", 8265), Outcome: ray.NotRay}}, ""},
	} {
		cfg := Default()
		cfg.Home = tt.home
		home, _ := detectors.ParseNetworks(detectors.DefaultHome)
		bus := detectors.NewBus(func(*detectors.Finding) {})
		d := newHomeDoubt(&cfg, home, bus)
		for range 2 {
			d.finding(&detectors.Finding{Severity: detectors.Medium, Src: netip.MustParseAddr("131.159.20.50"), Dst: netip.MustParseAddr("10.20.0.10")})
		}
		d.finding(&detectors.Finding{Severity: detectors.Info, Src: netip.MustParseAddr("131.159.20.50")})
		for _, ev := range tt.evs {
			switch ev := ev.(type) {
			case *raygrpc.Call:
				bus.Publish(ev)
			case *ray.Call:
				bus.Publish(ev)
			}
		}
		got := ""
		for _, o := range d.outsiders() {
			got += o.String()
		}
		if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestDoubtsAreBounded: whoever makes up networks fills no memory, and people are told of four.
func TestDoubtsAreBounded(t *testing.T) {
	cfg := Default()
	home, _ := detectors.ParseNetworks(detectors.DefaultHome)
	bus := detectors.NewBus(func(*detectors.Finding) {})
	d := newHomeDoubt(&cfg, home, bus)
	for i := range 10_000 {
		a := netip.MustParseAddr(fmt.Sprintf("131.%d.%d.1", i/250, i%250))
		bus.Publish(&ray.Call{Flow: &capture.Flow{Orig: netip.MustParseAddrPort("192.0.2.7:4"), Resp: netip.AddrPortFrom(a, 8265)}, Outcome: ray.Answered})
		d.finding(&detectors.Finding{Severity: detectors.Low, Src: a})
	}
	if d.nodes.Len() > maxDoubts || d.findings.Len() > maxCounted || len(d.outsiders()) != maxAsked {
		t.Errorf("%d networks, %d counted, %d told", d.nodes.Len(), d.findings.Len(), len(d.outsiders()))
	}
}
