package test

import (
	"context"
	"strings"
	"testing"

	"github.com/raytap/raytap"
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
)

// stories keeps the last row of each incident.
type stories map[string]*detectors.Incident

func (s stories) Event(ev any) {
	if x, ok := ev.(*detectors.Incident); ok {
		s[x.ID] = x
	}
}

// TestOwnRuleIsAStep: what a caller's own detector says of its rule reaches the one that makes incidents.
func TestOwnRuleIsAStep(t *testing.T) {
	own := detectors.Spec{
		Name: "own",
		Rules: []detectors.Rule{{
			Name: "own/wget", Note: "Own_Wget", Severity: detectors.High, Says: "A machine at home used wget.", ATTACK: []string{"T1041"},
			Story: detectors.Story{Group: detectors.GroupTheft, Does: "took its loot to %"},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			detectors.On(bus, func(x *http.Transaction) {
				if x.Request != nil && env.Home.Contains(x.Flow.Orig.Addr()) && strings.HasPrefix(x.Request.Header.Get("User-Agent"), "Wget") {
					bus.Report(&detectors.Finding{
						At: x.At, Rule: "own/wget", Severity: detectors.High, Confidence: 90, Outcome: detectors.Observed, Msg: "wget",
						Src: x.Flow.Orig.Addr(), Dst: x.Flow.Resp.Addr(), // of no flow: what is known of one is one step
					})
				}
			})
		},
	}
	run := func(more ...detectors.Spec) (told int) {
		src, err := capture.OpenFile("pcaps/shadowray.pcap.gz")
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		cfg := raytap.DefaultConfig()
		cfg.Detectors = more
		all := stories{}
		if _, err := raytap.Run(context.Background(), cfg, src, all); err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			for _, s := range x.Steps {
				if strings.HasPrefix(s.What, "took its loot to ") {
					told++
				}
			}
		}
		return told
	}
	if told := run(); told != 0 {
		t.Fatalf("%d steps of a rule that nobody has", told)
	}
	if told := run(own); told != 1 {
		t.Errorf("%d steps", told)
	}
}
