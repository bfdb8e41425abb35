package shell

import (
	"encoding/base64"
	"net/netip"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
)

func newBus() (*detectors.Bus, *[]*detectors.Finding) {
	home := detectortest.Home()
	said := new([]*detectors.Finding)
	bus := detectors.NewBus(func(f *detectors.Finding) { *said = append(*said, f) })
	cfg := Default()
	Spec().New(&detectors.Env{Home: home, Settings: map[string]any{"shell": &cfg}}, bus)
	return bus, said
}

func between(src, dst string, port uint16) *capture.Flow {
	return &capture.Flow{UID: "C1", Orig: netip.AddrPortFrom(netip.MustParseAddr(src), 40000), Resp: netip.AddrPortFrom(netip.MustParseAddr(dst), port)}
}

func TestPolling(t *testing.T) {
	const node, out = "10.20.0.10", "198.51.100.77"
	id := "uid=0(root) gid=0(root) groups=0(root)"
	for _, x := range []struct {
		says  string
		polls int
		dst   string
		body  string
		sev   string
	}{
		{"commands over HTTP", 5, out, id, "high"},
		{"in a form", 5, out, "o=uid%3D0%28root%29+gid%3D0%28root%29", "high"},
		{"in JSON", 5, out, `{"output":"` + id + `\n"}`, "high"},
		{"in base64", 5, out, "d=" + base64.StdEncoding.EncodeToString([]byte(id+"\n")), "high"},
		{"without a poll", 0, out, "root:x:0:0:root:/root:/bin/bash\n", "medium"},
		{"telemetry", 5, out, `{"uid":0,"user":"root","os":"Linux"}`, ""},
		{"at home", 5, "10.20.0.30", id, ""},
	} {
		bus, said := newBus()
		for i := range x.polls {
			bus.Publish(&http.Transaction{Flow: between(node, x.dst, 8080), Request: &http.Request{At: capture.At{Time: capture.Time(i)}, Method: "GET", Target: "/cmd"}, Response: &http.Response{Status: 200}})
		}
		bus.Publish(&http.Transaction{Flow: between(node, x.dst, 8080), Request: &http.Request{Method: "POST", Target: "/out", Body: http.Body{Data: []byte(x.body)}}})
		got := ""
		if len(*said) > 0 {
			got = (*said)[0].Severity.String()
		}
		if got != x.sev {
			t.Errorf("%s: %q, %+v", x.says, got, *said)
		}
	}
}

func TestKeyboardBehindTLS(t *testing.T) {
	rec := func(client bool, n, ms int) tls.Record {
		return tls.Record{FromClient: client, Len: n, After: time.Duration(ms) * time.Millisecond}
	}
	typed := []tls.Record{rec(true, 72, 0), rec(false, 250, 1), rec(false, 250, 1), rec(false, 20, 1260), rec(true, 56, 1260), rec(true, 19, 1261),
		rec(false, 26, 2260), rec(true, 85, 2265), rec(false, 22, 3900), rec(true, 400, 3905)}
	client := []tls.Record{rec(true, 72, 0), rec(false, 250, 1), rec(true, 100, 1500), rec(false, 60, 1550), rec(true, 100, 3000), rec(false, 60, 3050), rec(true, 100, 4500), rec(false, 60, 4550)}
	for _, x := range []struct {
		says, name string
		looked     bool
		records    []tls.Record
		want       bool
	}{
		{"a keyboard", "", false, typed, true},
		{"a place with a name", "vpn.example", false, typed, false},
		{"an address that was looked up", "", true, typed, false},
		{"a client", "", false, client, false},
	} {
		bus, said := newBus()
		if x.looked {
			bus.Publish(&dns.Transaction{Query: "x.example", Answered: true, Answers: []dns.Answer{{Addr: netip.MustParseAddr("198.51.100.77")}}})
		}
		bus.Publish(&tls.Rhythm{Session: &tls.Session{Flow: between("10.20.0.10", "198.51.100.77", 4433), ServerName: x.name}, Records: x.records})
		if (len(*said) > 0) != x.want {
			t.Errorf("%s: %+v", x.says, *said)
		}
	}
}
