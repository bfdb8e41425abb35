package zeekview

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
)

func TestTunnelRows(t *testing.T) {
	var got []string
	l := newTunnelLog(func(row capture.Record) {
		r := row.(*tunnelRow)
		got = append(got, fmt.Sprintf("%s %s %d", r.action, r.kind, r.at/1e9))
	})
	ip := netip.MustParseAddrPort
	gre := &capture.Tunnel{Kind: "GRE", UID: "Cg", Orig: ip("10.0.0.1:0"), Resp: ip("10.0.0.2:0")}
	vxlan := &capture.Tunnel{Kind: "VXLAN", UID: "Cv", Orig: ip("10.1.0.1:5000"), Resp: ip("10.1.0.2:4789"), Outer: gre}
	at := func(s int) capture.At { return capture.At{Time: capture.Time(s) * 1e9} }
	flow := func(uid string) *capture.Flow {
		return &capture.Flow{UID: uid, Orig: ip("10.0.0.9:40000"), Resp: ip("10.0.0.8:8080")}
	}
	connect := func(s int, status int) *http.Transaction {
		return &http.Transaction{Flow: flow("Ch"), Request: &http.Request{Method: "CONNECT"}, Response: &http.Response{At: at(s), Status: status}}
	}
	for _, ev := range []any{
		&capture.Entered{At: at(1), Tunnel: vxlan}, // two tunnels
		&capture.Entered{At: at(2), Tunnel: vxlan}, // known
		connect(3, 200), connect(4, 200), connect(5, 403),
		&capture.Conn{At: at(6), Flow: flow("Cx")},
		&capture.Conn{At: at(7), Flow: &capture.Flow{UID: "Cv"}},
		&capture.Conn{At: at(8), Flow: &capture.Flow{UID: "Cv"}},
		&capture.Entered{At: at(3601), Tunnel: gre}, // an hour but a second since it was used
		&capture.Entered{At: at(7300), Tunnel: gre},
	} {
		l.event(ev)
	}
	want := []string{
		"DISCOVER GRE 1", "DISCOVER VXLAN 1", "DISCOVER HTTP 3", "CLOSE VXLAN 7", "EXPIRE GRE 7300", "DISCOVER GRE 7300",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestTunnelsAreBounded(t *testing.T) {
	rows := 0
	l := newTunnelLog(func(capture.Record) { rows++ })
	for i := range maxTunnelRows + 100 {
		p := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 4789)
		l.event(&capture.Entered{Tunnel: &capture.Tunnel{Kind: "VXLAN", UID: fmt.Sprint(i), Orig: p, Resp: p}})
	}
	if len(l.active) != maxTunnelRows || len(l.order) != maxTunnelRows || len(l.byFlow) != maxTunnelRows || rows != maxTunnelRows+200 {
		t.Errorf("%d active, %d in order, %d by flow, %d rows", len(l.active), len(l.order), len(l.byFlow), rows)
	}
}
