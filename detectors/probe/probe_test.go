package probe

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
)

func TestProbes(t *testing.T) {
	const node, out = "10.20.0.10", "203.0.113.66"
	flow := func(src, dst string, port uint16) *capture.Flow {
		return &capture.Flow{Proto: capture.ProtoTCP, Start: 1_700_000_000e9, Orig: netip.AddrPortFrom(netip.MustParseAddr(src), 40000), Resp: netip.AddrPortFrom(netip.MustParseAddr(dst), port)}
	}
	get := func(b *detectors.Bus, f *capture.Flow, path string, status int, body string) {
		b.Publish(&http.Transaction{Flow: f, Request: &http.Request{At: capture.At{Time: 1_700_000_000e9}, Method: "GET", Target: path}, Response: &http.Response{Status: status, Body: http.Body{Data: []byte(body)}}})
	}
	metrics := "# HELP ray_dashboard_api_requests_duration_seconds Total duration\n"
	for _, x := range []struct {
		says string
		do   func(b *detectors.Bus)
		rule string
	}{
		{"paths of other products", func(b *detectors.Bus) {
			for i := range 20 {
				get(b, flow(out, node, 8265), fmt.Sprintf("/x%d", i), 404, "")
			}
		}, rulePaths},
		{"a page with holes", func(b *detectors.Bus) {
			for i := range 20 {
				get(b, flow(out, node, 8265), fmt.Sprintf("/x%d", i%3), 404, "")
			}
		}, ""},
		{"another's server", func(b *detectors.Bus) {
			for i := range 20 {
				get(b, flow(out, node, 80), fmt.Sprintf("/x%d", i), 404, "")
			}
		}, ""},
		{"metrics", func(b *detectors.Bus) { get(b, flow(out, node, 44217), "/metrics", 200, metrics) }, ruleMetrics},
		{"metrics of something else", func(b *detectors.Bus) { get(b, flow(out, node, 9100), "/metrics", 200, "# HELP go_threads\n") }, ""},
		{"metrics read at home", func(b *detectors.Bus) { get(b, flow("10.20.0.5", node, 44217), "/metrics", 200, metrics) }, ""},
		{"passwords", func(b *detectors.Bus) {
			for range 60 {
				b.Publish(&capture.Conn{Flow: flow(node, "10.20.0.30", 22), Bytes: [2]uint64{1024, 1123}, Duration: time.Second})
			}
		}, ruleLogins},
		{"work", func(b *detectors.Bus) {
			for range 60 {
				b.Publish(&capture.Conn{Flow: flow(node, "10.20.0.30", 22), Bytes: [2]uint64{40000, 11230}, Duration: time.Second})
			}
		}, ""},
	} {
		home := detectortest.Home()
		got := ""
		bus := detectors.NewBus(func(f *detectors.Finding) { got = f.Rule })
		Spec().New(&detectors.Env{Home: home}, bus)
		x.do(bus)
		if got != x.rule {
			t.Errorf("%s: %q", x.says, got)
		}
	}
}
