package tunnel

import (
	"net/netip"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/relay"
	"github.com/raytap/raytap/decoders/services"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
)

const (
	node = "10.20.0.10"
	out  = "198.51.100.77"
)

type net struct {
	bus  *detectors.Bus
	said []*detectors.Finding
	now  capture.Time
}

func newNet(cfg Config) *net {
	home := detectortest.Home()
	w := &net{now: 1_700_000_000e9}
	w.bus = detectors.NewBus(func(f *detectors.Finding) { w.said = append(w.said, f) })
	Spec().New(&detectors.Env{Home: home, Settings: map[string]any{"tunnel": &cfg}}, w.bus)
	return w
}

func (w *net) at() capture.At {
	w.now = w.now.Add(time.Minute)
	return capture.At{Time: w.now, Packet: 1}
}

func (w *net) job() {
	w.bus.Publish(&detectors.Finding{At: w.at(), Rule: "jobsubmit/external", Severity: detectors.Critical, Outcome: detectors.Succeeded,
		Src: netip.MustParseAddr("203.0.113.66"), Dst: netip.MustParseAddr(node)})
}

func TestTunnels(t *testing.T) {
	lookup := func(name string) func(w *net) {
		return func(w *net) {
			w.bus.Publish(&dns.Transaction{At: w.at(), Flow: detectortest.Flow(node, "10.20.0.53", 53), Query: name})
		}
	}
	program := func(p string) func(w *net) {
		return func(w *net) {
			w.bus.Publish(&relay.Session{At: w.at(), Flow: detectortest.Flow(node, out, 443), Program: p})
		}
	}
	upgrade := func(sub, path string) func(w *net) {
		return func(w *net) {
			w.bus.Publish(&http.Transaction{At: w.at(), Flow: detectortest.Flow(node, out, 80),
				Request:  &http.Request{At: w.at(), Method: "GET", Target: path, Header: http.Header{{Name: "Sec-WebSocket-Protocol", Value: sub}}},
				Response: &http.Response{Status: 101}})
		}
	}
	ssh := func(src, dst string, port uint16, banner string) func(w *net) {
		return func(w *net) {
			w.bus.Publish(&services.SSH{At: w.at(), Flow: detectortest.Flow(src, dst, port), Client: "SSH-2.0-OpenSSH_9.2", Server: banner})
		}
	}
	conn := func(services []string, sent, got uint64) func(w *net) {
		return func(w *net) {
			w.bus.Publish(&capture.Conn{At: w.at(), Flow: detectortest.Flow(node, out, 53), Bytes: [2]uint64{sent, got}, Pkts: [2]uint64{9, 9}, Services: services})
		}
	}
	after := func(f func(w *net)) func(w *net) { return func(w *net) { w.job(); f(w) } }
	for _, x := range []struct {
		says string
		do   func(w *net)
		rule string // "": nothing
		sev  detectors.Severity
	}{
		{"a look-up of a common service", lookup("a.pinggy.io"), ruleRelay, detectors.Low},
		{"of an odd one", lookup("bore.pub"), ruleRelay, detectors.Medium},
		{"after a job", after(lookup("region1.v2.argotunnel.com")), ruleRelay, detectors.High},
		{"a company's network after a job", after(lookup("controlplane.tailscale.com")), ruleRelay, detectors.Medium},
		{"known before the job", func(w *net) { f := lookup("a.pinggy.io"); f(w); w.said = nil; w.job(); f(w) }, ruleRelay, detectors.Low},
		{"two hours after the job", func(w *net) { w.job(); w.now = w.now.Add(2 * time.Hour); lookup("a.pinggy.io")(w) }, ruleRelay, detectors.Low},
		{"a hello", func(w *net) {
			w.bus.Publish(&tls.Session{At: w.at(), Flow: detectortest.Flow(node, out, 443), ServerName: "connect.NGROK-agent.com"})
		}, ruleRelay, detectors.Low},
		{"gsocket", program("gsocket"), ruleRelay, detectors.Medium},
		{"WireGuard", program("WireGuard"), ruleRelay, detectors.Low},
		{"chisel", upgrade("chisel-v3", "/"), ruleRelay, detectors.Medium},
		{"SSH on 443", ssh(node, out, 443, "SSH-2.0-OpenSSH_9.2"), ruleSSH, detectors.Low},
		{"SSH on 443 after a job", after(ssh(node, out, 443, "SSH-2.0-dropbear")), ruleSSH, detectors.High},
		{"no DNS on 53", conn(nil, 5000, 9000), ruleProtocol, detectors.Medium},
		{"a proxy for an outsider", func(w *net) {
			w.bus.Publish(&socks.Request{At: w.at(), Flow: detectortest.Flow(out, node, 40000), Host: socks.Address{Name: "10.20.0.5"}, Port: 8265, Replied: true, OK: true})
		}, ruleProxy, detectors.Medium},
		{"GRE", func(w *net) {
			w.bus.Publish(&capture.Entered{At: w.at(), Tunnel: &capture.Tunnel{Kind: "GRE", Orig: netip.AddrPortFrom(netip.MustParseAddr(node), 0), Resp: netip.AddrPortFrom(netip.MustParseAddr(out), 0)}})
		}, ruleProtocol, detectors.Low},

		{"the makers' pages", lookup("ngrok.com"), "", 0},
		{"a label that ends alike", lookup("mybore.pub"), "", 0},
		{"a plain WebSocket", upgrade("chat", "/"), "", 0},
		{"SSH where it belongs", ssh(node, out, 22, "SSH-2.0-OpenSSH_9.2"), "", 0},
		{"git over SSH on 443", ssh(node, out, 443, "SSH-2.0-babeld-8405cd12"), "", 0},
		{"SSH at home", ssh(node, "10.20.0.11", 443, "SSH-2.0-OpenSSH_9.2"), "", 0},
		{"DNS over TCP", conn([]string{"dns"}, 5000, 9000), "", 0},
		{"a client that calls in by WireGuard", func(w *net) {
			w.bus.Publish(&relay.Session{At: w.at(), Flow: detectortest.Flow(out, node, 51820), Program: "WireGuard"})
		}, "", 0},
		{"GRE between two at home", func(w *net) {
			w.bus.Publish(&capture.Entered{At: w.at(), Tunnel: &capture.Tunnel{Kind: "GRE", Orig: netip.AddrPortFrom(netip.MustParseAddr(node), 0), Resp: netip.AddrPortFrom(netip.MustParseAddr("10.1.1.1"), 0)}})
		}, "", 0},
	} {
		w := newNet(Default())
		x.do(w)
		switch {
		case x.rule == "" && len(w.said) == 0:
		case len(w.said) != 1 || w.said[0].Rule != x.rule || w.said[0].Severity != x.sev:
			t.Errorf("%s: %+v", x.says, w.said)
		}
	}
	w := newNet(Config{Allow: []string{"Tailscale", "198.51.100.0/24"}, JobFor: time.Hour})
	lookup("controlplane.tailscale.com")(w)
	program("gsocket")(w)
	if len(w.said) != 0 {
		t.Errorf("allowed: %+v", w.said)
	}
}
