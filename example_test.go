package raytap_test

import (
	"context"
	"fmt"

	"github.com/raytap/raytap"
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
)

// findings is a sink that prints what was found, from a severity on.
type findings struct{ least detectors.Severity }

func (s findings) Event(ev any) {
	if f, ok := ev.(*detectors.Finding); ok && f.Severity >= s.least && f.Rule != detectors.ChainRule {
		fmt.Println(f.Severity, f.Rule, f.Src, f.Dst)
	}
}

// Reading a capture and printing what is critical in it.
func ExampleRun() {
	src, err := capture.OpenFile("pcaps/shadowray.pcap.gz")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	stats, err := raytap.Run(context.Background(), raytap.DefaultConfig(), src, findings{detectors.Critical})
	fmt.Println(stats.Packets, "packets", err)
	// Output:
	// critical jobsubmit/external 203.0.113.66 10.20.0.10
	// critical jobsubmit/dropper 203.0.113.66 10.20.0.10
	// 724 packets <nil>
}

// wgetAtNight is a detector of one's own: it names machines at home that fetch something by wget.
func wgetAtNight() detectors.Spec {
	return detectors.Spec{
		Name: "site",
		Rules: []detectors.Rule{{
			Name: "site/wget", Note: "Site_Wget", Severity: detectors.Low,
			Says:           "A machine at home fetched something by wget.",
			ATTACK:         []string{"T1105"},
			Needs:          "HTTP in clear text.",
			FalsePositives: "Whoever works with wget.",
			// What it means in an incident: a step after somebody got in.
			Story: detectors.Story{Group: detectors.GroupFetch, Does: "fetched something by wget from %", Other: "payload host"},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			detectors.On(bus, func(t *http.Transaction) {
				if t.Request == nil || !env.Home.Contains(t.Flow.Orig.Addr()) || len(t.Request.Header.Get("User-Agent")) < 4 || t.Request.Header.Get("User-Agent")[:4] != "Wget" {
					return
				}
				bus.Report(&detectors.Finding{
					At: t.At, Rule: "site/wget", Severity: detectors.Low, Confidence: 90, Outcome: detectors.Observed,
					Msg: t.Flow.Orig.Addr().String() + " fetched " + t.Request.Target + " by wget",
					Src: t.Flow.Orig.Addr(), Dst: t.Flow.Resp.Addr(), Port: t.Flow.Resp.Port(), Flow: t.Flow,
				})
			})
		},
	}
}

// site prints what the rules of one's own say.
type site struct{}

func (site) Event(ev any) {
	if f, ok := ev.(*detectors.Finding); ok && f.Rule == "site/wget" {
		fmt.Println(f.Msg)
	}
}

// A detector and a sink of one's own, added from outside the tree.
func ExampleConfig_Detectors() {
	src, err := capture.OpenFile("pcaps/shadowray.pcap.gz")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	cfg := raytap.DefaultConfig()
	cfg.Detectors = append(cfg.Detectors, wgetAtNight())
	if _, err := raytap.Run(context.Background(), cfg, src, site{}); err != nil {
		fmt.Println(err)
	}
	// Output: 10.20.0.10 fetched /xmrig-6.21.0-linux-static-x64.tar.gz by wget
}
