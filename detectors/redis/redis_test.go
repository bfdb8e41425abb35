package redis

import (
	"net/netip"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/rayredis"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
)

func TestTakeover(t *testing.T) {
	const node, other, out = "10.20.0.10:6379", "10.20.0.11:6379", "198.51.100.77:8886"
	for _, x := range []struct {
		says, src, dst, command string
		outcome                 rayredis.Outcome
		sev                     string
	}{
		{"a copy from elsewhere", out, node, "SLAVEOF 198.51.100.77 8886", rayredis.Executed, "high"},
		{"a module", out, node, "MODULE LOAD ./exp.so", rayredis.Executed, "high"},
		{"refused", out, node, "CONFIG SET dir", rayredis.Rejected, "medium"},
		{"it copies itself", node, out, "PSYNC", rayredis.Unseen, "high"},
		{"a replica at home", node, other, "PSYNC", rayredis.Unseen, ""},
		{"replication at home", other, node, "REPLICAOF 10.20.0.11 6379", rayredis.Executed, ""},
		{"an outsider replicates from home", out, node, "PSYNC", rayredis.Unseen, ""},
	} {
		home := detectortest.Home()
		got := ""
		bus := detectors.NewBus(func(f *detectors.Finding) { got = f.Severity.String() })
		Spec().New(&detectors.Env{Home: home}, bus)
		bus.Publish(&rayredis.Takeover{Flow: &capture.Flow{Orig: netip.MustParseAddrPort(x.src), Resp: netip.MustParseAddrPort(x.dst)}, Command: x.command, Outcome: x.outcome})
		if got != x.sev {
			t.Errorf("%s: %q", x.says, got)
		}
	}
}
