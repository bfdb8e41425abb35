package probe

import (
	"net/netip"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
)

func TestRebind(t *testing.T) {
	type answer struct {
		client string
		after  int // seconds
		ttl    uint32
		addrs  []string
	}
	const a, b = "10.20.0.20", "10.20.0.21"
	outside, home := []string{"203.0.113.66"}, []string{"10.20.0.10"}
	for _, x := range []struct {
		says    string
		answers []answer
		want    bool
	}{
		{"first outside, then at home", []answer{{a, 0, 1, outside}, {a, 8, 1, outside}, {a, 16, 1, home}}, true},
		{"then the machine itself", []answer{{a, 0, 0, outside}, {a, 60, 0, []string{"0.0.0.0"}}}, true},
		{"both in one answer", []answer{{a, 0, 1, append(outside[:1:1], "127.0.0.1")}}, true},

		{"another machine asks", []answer{{a, 0, 1, outside}, {b, 16, 1, home}}, false},
		{"a name with a long life", []answer{{a, 0, 3600, outside}, {a, 16, 3600, home}}, false},
		{"a day later", []answer{{a, 0, 60, outside}, {a, 86400, 60, home}}, false},
		{"at home", []answer{{a, 0, 5, home}, {a, 10, 5, []string{"10.20.0.11"}}}, false},
		{"out of the house", []answer{{a, 0, 5, home}, {a, 10, 5, outside}}, false},
		{"addresses outside", []answer{{a, 0, 5, outside}, {a, 10, 5, []string{"198.51.100.7"}}}, false},
	} {
		networks := detectortest.Home()
		n := 0
		bus := detectors.NewBus(func(f *detectors.Finding) {
			if f.Rule == ruleRebind && f.Severity == detectors.Low {
				n++
			}
		})
		Spec().New(&detectors.Env{Home: networks}, bus)
		for _, q := range x.answers {
			tr := &dns.Transaction{At: capture.At{Time: capture.Time(1_700_000_000+q.after) * 1e9}, Query: "x.attacker.example", NameID: 7, Answered: true,
				Flow: &capture.Flow{Proto: capture.ProtoUDP, Orig: netip.AddrPortFrom(netip.MustParseAddr(q.client), 4000), Resp: netip.MustParseAddrPort("10.20.0.53:53")}}
			for _, s := range q.addrs {
				tr.Answers = append(tr.Answers, dns.Answer{Type: 1, TTL: q.ttl, Addr: netip.MustParseAddr(s)})
			}
			bus.Publish(tr)
		}
		if n > 0 != x.want {
			t.Errorf("%s: %d findings", x.says, n)
		}
	}
}
