package capture

import (
	"net/netip"
	"slices"
	"testing"
)

func TestExpectations(t *testing.T) {
	orig, resp := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddrPort("10.0.0.2:1234")
	at := func(sec Time) At { return At{Time: sec * 1e9} }
	conn := func(start Time, to netip.AddrPort) *Conn {
		return &Conn{Flow: &Flow{Start: start * 1e9, Orig: netip.AddrPortFrom(orig, 999), Resp: to, Proto: ProtoTCP}}
	}
	for _, tc := range []struct {
		name string
		conn *Conn
		want bool
	}{
		{"arranged", conn(101, resp), true},
		{"at the last moment", conn(400, resp), true},
		{"too late", conn(401, resp), false},
		{"long before", conn(90, resp), false},
		{"another port", conn(101, netip.MustParseAddrPort("10.0.0.2:1235")), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var x Expectations
			x.Event(conn(1, resp)) // before anything was arranged
			x.Event(&Expected{At: at(100), Orig: orig, Resp: resp, Service: "ftp-data"})
			x.Event(tc.conn)
			x.Event(tc.conn)
			if got := slices.Equal(tc.conn.Services, []string{"ftp-data"}); got != tc.want {
				t.Error(tc.conn.Services)
			}
		})
	}
	t.Run("arranged twice, told of late", func(t *testing.T) {
		var x Expectations
		for _, sec := range []Time{100, 300} {
			x.Event(&Expected{At: at(sec), Orig: orig, Resp: resp, Service: "ftp-data"})
		}
		first := conn(101, resp)
		x.Event(first)
		if len(first.Services) != 1 {
			t.Error("the second arrangement took the first one's place")
		}
	})
	t.Run("the oldest gives way", func(t *testing.T) {
		var x Expectations
		for i := range maxExpected + 10 {
			to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
			x.Event(&Expected{At: at(100), Orig: orig, Resp: to, Service: "ftp-data"})
		}
		if len(x.waiting) != maxExpected || len(x.order) != maxExpected {
			t.Errorf("%d waiting, %d in order", len(x.waiting), len(x.order))
		}
		if _, ok := x.waiting[expectation{orig, netip.MustParseAddrPort("10.0.0.9:1")}]; ok {
			t.Error("the oldest is still there")
		}
	})
}

// TestOnlyWhatWasAnnounced: what waits counts when it was announced, in time, for these ends.
func TestOnlyWhatWasAnnounced(t *testing.T) {
	flow := Flow{Start: 100e9, Proto: ProtoTCP, Orig: netip.MustParseAddrPort("10.0.0.2:20"), Resp: netip.MustParseAddrPort("10.0.0.1:1234")}
	later, other := flow, flow
	later.Start += Time(ExpectFor) + 2e9
	other.Resp = netip.MustParseAddrPort("10.0.0.1:1235")
	var x Expectations
	if x.Announced(&Awaited{Flow: &flow, Service: "ftp-data"}) {
		t.Error("nothing was announced")
	}
	x.Event(&Expected{At: At{Time: 99e9}, Orig: flow.Orig.Addr(), Resp: flow.Resp, Service: "ftp-data"})
	for _, tc := range []struct {
		f    *Flow
		want bool
	}{{&flow, true}, {&later, false}, {&other, false}} {
		if got := x.Announced(&Awaited{Flow: tc.f, Service: "ftp-data"}); got != tc.want {
			t.Errorf("%v at %v: %v", tc.f.Resp, tc.f.Start, got)
		}
	}
	if x.Announced(&Awaited{Flow: &flow, Service: "another"}) {
		t.Error("it was announced as something else")
	}
}
