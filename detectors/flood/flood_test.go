package flood

import (
	"net/netip"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
)

func TestFloods(t *testing.T) {
	for _, x := range []struct {
		says  string
		n     int
		gap   time.Duration
		src   string
		dst   string
		state string
		sent  uint64
		got   uint64
		proto uint8
		pkts  [2]uint64
		sev   string
	}{
		{"SYNs", 400, 10 * time.Millisecond, "10.20.0.10", "198.51.100.44", "S0", 0, 0, capture.ProtoTCP, [2]uint64{1, 0}, "medium"},
		{"many SYNs", 3000, time.Millisecond, "10.20.0.10", "198.51.100.44", "S0", 0, 0, capture.ProtoTCP, [2]uint64{1, 0}, "high"},
		{"requests", 400, 10 * time.Millisecond, "10.20.0.10", "198.51.100.44", "SF", 84, 40, capture.ProtoTCP, [2]uint64{5, 4}, "medium"},
		{"idle connections", 400, 10 * time.Millisecond, "10.20.0.10", "198.51.100.44", "S1", 0, 0, capture.ProtoTCP, [2]uint64{2, 1}, "medium"},
		{"datagrams", 1, 0, "10.20.0.10", "198.51.100.44", "S0", 60e6, 0, capture.ProtoUDP, [2]uint64{60000, 0}, "medium"},

		{"a client that polls", 400, time.Second, "10.20.0.10", "198.51.100.44", "SF", 84, 40, capture.ProtoTCP, [2]uint64{5, 4}, ""},
		{"downloads", 400, 10 * time.Millisecond, "10.20.0.10", "198.51.100.44", "SF", 84, 90000, capture.ProtoTCP, [2]uint64{5, 4}, ""},
		{"at home", 400, 10 * time.Millisecond, "10.20.0.10", "10.20.0.11", "S0", 0, 0, capture.ProtoTCP, [2]uint64{1, 0}, ""},
		{"from outside", 400, 10 * time.Millisecond, "198.51.100.44", "10.20.0.11", "S0", 0, 0, capture.ProtoTCP, [2]uint64{1, 0}, ""},
		{"a stream that is answered", 1, 0, "10.20.0.10", "198.51.100.44", "SF", 60e6, 100, capture.ProtoUDP, [2]uint64{60000, 2}, ""},
	} {
		home := detectortest.Home()
		got := ""
		bus := detectors.NewBus(func(f *detectors.Finding) { got = f.Severity.String() })
		Spec().New(&detectors.Env{Home: home}, bus)
		at := capture.Time(1_700_000_000e9)
		for i := range x.n {
			at = at.Add(x.gap)
			bus.Publish(&capture.Conn{At: capture.At{Time: at}, State: x.state, Bytes: [2]uint64{x.sent, x.got}, Pkts: x.pkts, Flow: &capture.Flow{
				Proto: x.proto, Start: at, Orig: netip.AddrPortFrom(netip.MustParseAddr(x.src), uint16(20000+i)), Resp: netip.AddrPortFrom(netip.MustParseAddr(x.dst), 80),
			}})
		}
		if got != x.sev {
			t.Errorf("%s: %q", x.says, got)
		}
	}
}
