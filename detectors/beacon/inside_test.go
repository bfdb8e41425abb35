package beacon

import (
	"net/netip"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/detectors/detectortest"
)

func TestInside(t *testing.T) {
	for _, x := range []struct {
		says           string
		proto          uint8
		port           uint16
		n              int
		period, jitter time.Duration
		up, down       uint64
		name           string
		job            bool
		sev            string
	}{
		{"datagrams", capture.ProtoUDP, 4500, 40, 30 * time.Second, 0, 64, 32, "", false, "low"},
		{"datagrams after a job", capture.ProtoUDP, 4500, 40, 30 * time.Second, 0, 64, 32, "", true, "medium"},
		{"one connection with jitter", capture.ProtoTCP, 443, 40, 30 * time.Second, 4 * time.Second, 3000, 2500, "", false, "low"},
		{"echoes that carry data", capture.ProtoICMP, 0, 40, time.Minute, 0, 200, 200, "", false, "low"},
		{"below an ill name", capture.ProtoTCP, 443, 40, 30 * time.Second, 0, 300, 300, "cdn.update.top", false, "low"},

		{"an agent under its name", capture.ProtoTCP, 443, 40, 30 * time.Second, 0, 300, 300, "agent.vendor.example", false, ""},
		{"ping", capture.ProtoICMP, 0, 40, time.Minute, 0, 56, 56, "", false, ""},
		{"nobody answers", capture.ProtoUDP, 4500, 40, 30 * time.Second, 0, 64, 0, "", false, ""},
		{"the clock", capture.ProtoUDP, 123, 40, 64 * time.Second, 0, 48, 48, "", false, ""},
		{"a terminal", capture.ProtoTCP, 22, 40, 60 * time.Second, 0, 48, 48, "", false, ""},
		{"a conversation", capture.ProtoTCP, 8443, 60, 30 * time.Second, 20 * time.Second, 400, 900, "", false, ""},
		{"a steady stream", capture.ProtoTCP, 8443, 90, 10 * time.Second, 0, 4000, 900, "", false, ""},
		{"uploads", capture.ProtoTCP, 8443, 40, 30 * time.Second, 0, 60000, 900, "", false, ""},
		{"too few", capture.ProtoUDP, 4500, 11, 30 * time.Second, 0, 64, 32, "", false, ""},
	} {
		w := newNet(Default())
		if x.job {
			w.job(attacker, node)
			w.now = w.now.Add(time.Minute)
		}
		if x.name != "" {
			w.bus.Publish(&dns.Transaction{At: w.at(), Query: x.name, Answers: []dns.Answer{{Type: 1, Addr: netip.MustParseAddr(c2)}}})
		}
		f := detectortest.Flow(node, c2, x.port)
		f.Proto = x.proto
		w.every(x.n, x.period, x.jitter, func() {
			w.bus.Publish(&capture.Progress{At: w.at(), Flow: f, Bytes: [2]uint64{x.up, x.down}})
		})
		sev := ""
		if len(w.said) > 0 {
			sev = w.said[0].Severity.String()
		}
		if sev != x.sev || len(w.said) > 1 {
			t.Errorf("%s: %q, want %q: %+v", x.says, sev, x.sev, w.said)
		}
	}
}
