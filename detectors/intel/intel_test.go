package intel

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/stratum"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
)

const (
	node   = "10.20.0.10"
	peer   = "10.20.0.30"
	c2     = "203.0.113.1"
	clean  = "198.51.100.1"
	wallet = "45MinZ6ECgTgxn8gbm5gAsK9ATrEN6N95hbH3g4r5N4bKwH8QxuFygw3G7VwHwAusR9L35E4YjWYdTJaWDjbMGDCKYNz5X1"
	ja3    = "c216e752cae6f8755fd27f561d031636"
	feed   = `indicator,type,description,confidence,last_seen,valid_until,source
203.0.113.1,ip,C2,80,2026-11-20,,oligo
203.0.113.2,ip,C2,30,2026-11-20,,oligo
203.0.113.3,ip,C2,10,2026-11-20,,oligo
203.0.113.4,ip,C2,80,2025-01-01,2025-06-01,oligo
evil.example.org,domain,C2,80,2026-11-20,,oligo
http://bad.example.net/x.sh,url,payload,80,,,oligo
oast.fun,domain,,80,,,oligo
c216e752cae6f8755fd27f561d031636,ja3,tool,80,,,oligo
t13d1516h2_8daaf6152771_e5627efa2ab1,ja4,tool,80,,,oligo
libredtail-http,user-agent,RedTail,80,,,oligo
45MinZ6ECgTgxn8gbm5gAsK9ATrEN6N95hbH3g4r5N4bKwH8QxuFygw3G7VwHwAusR9L35E4YjWYdTJaWDjbMGDCKYNz5X1,wallet,ShadowRay,80,,,oligo
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855,sha256,payload,80,,,oligo
`
)

type wire struct {
	t    *testing.T
	bus  *detectors.Bus
	said []*detectors.Finding
	n    uint64
}

func newWire(t *testing.T, text string) *wire {
	w := &wire{t: t}
	s, fs := load(t, text)
	if len(fs[0].Skipped) > 0 {
		t.Fatalf("%+v", fs[0])
	}
	home := detectortest.Home()
	once := detectors.NewSuppressor(func(f *detectors.Finding) { w.said = append(w.said, f) })
	w.bus = detectors.NewBus(once.Report)
	Spec().New(&detectors.Env{Home: home, Settings: map[string]any{"intel": NewLive(s)}}, w.bus)
	return w
}

func (w *wire) at() capture.At {
	w.n++
	return capture.At{Time: at(today) + capture.Time(w.n)*1e9, Packet: w.n}
}

func (w *wire) conn(src, dst, state string) {
	c := &capture.Conn{At: w.at(), Flow: detectortest.Flow(src, dst, 443), State: state, Pkts: [2]uint64{5, 5}, Bytes: [2]uint64{100, 100}}
	w.bus.Publish(c)
}

func (w *wire) dns(src, name, answer string, rcode uint16) {
	t := &dns.Transaction{At: w.at(), Reply: w.at(), Flow: detectortest.Flow(src, "10.20.0.53", 53), Query: name, Type: 1, Class: 1, Asked: true, Answered: true, RCode: rcode}
	if answer != "" {
		t.Answers = []dns.Answer{{Name: name, Type: 1, Addr: netip.MustParseAddr(answer)}}
	}
	w.bus.Publish(t)
}

func (w *wire) get(src, dst, host, target, agent string) {
	at := w.at()
	w.bus.Publish(&http.Transaction{At: at, Flow: detectortest.Flow(src, dst, 80),
		Request:  &http.Request{At: at, Method: "GET", Target: target, Header: http.Header{{Name: "Host", Value: host}, {Name: "User-Agent", Value: agent}}},
		Response: &http.Response{At: w.at(), Status: 200}})
}

func (w *wire) tls(src, dst, sni, ja3, ja4 string) {
	w.bus.Publish(&tls.Session{At: w.at(), Flow: detectortest.Flow(src, dst, 443), Hello: true, Answered: true, ServerName: sni, JA3: ja3, JA4: ja4})
}

func TestMatch(t *testing.T) {
	digest, _ := hex.DecodeString("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	for _, tt := range []struct {
		name string
		do   func(w *wire)
		want string // severity and outcome of each finding
		says string // of the first
	}{
		{"a home machine calls", func(w *wire) { w.conn(node, c2, "SF") }, "high succeeded", node + " connected to 203.0.113.1:443 (ip 203.0.113.1), which oligo lists as C2, last seen 5 days before"},
		{"and nobody answers", func(w *wire) { w.conn(node, c2, "S0") }, "medium attempted", "tried to connect to"},
		{"less sure", func(w *wire) { w.conn(node, "203.0.113.2", "SF") }, "medium succeeded", ""},
		{"hardly sure", func(w *wire) { w.conn(node, "203.0.113.3", "SF") }, "low succeeded", ""},
		{"ended", func(w *wire) { w.conn(node, "203.0.113.4", "SF") }, "info succeeded", "the indicator has ended"},
		{"as soon as bytes move, and once", func(w *wire) {
			w.bus.Publish(&capture.Progress{At: w.at(), Flow: detectortest.Flow(node, c2, 443), Bytes: [2]uint64{10, 10}})
			w.conn(node, c2, "SF")
		}, "high succeeded", ""},
		{"a question over UDP that nobody has answered yet", func(w *wire) {
			f := detectortest.Flow(node, c2, 53)
			f.Proto = capture.ProtoUDP
			w.bus.Publish(&capture.Progress{At: w.at(), Flow: f, Bytes: [2]uint64{10, 0}})
		}, "", ""},
		{"picked up in the middle", func(w *wire) {
			f := detectortest.Flow(c2, node, 443)
			f.Mid = true
			w.bus.Publish(&capture.Conn{At: w.at(), Flow: f, State: "OTH", Pkts: [2]uint64{5, 5}, Bytes: [2]uint64{9, 9}})
		}, "medium succeeded", "who opened the connection was not seen"},
		{"it is served", func(w *wire) { w.conn(c2, node, "SF") }, "medium succeeded", c2 + ", which oligo lists as C2, connected to 10.20.0.10:443"},
		{"it is refused, on three machines", func(w *wire) {
			w.conn(c2, node, "REJ")
			w.conn(c2, peer, "S0")
			w.conn(c2, "10.20.0.31", "S0")
		}, "info attempted", "knocked at"},
		{"somebody else", func(w *wire) { w.conn(node, clean, "SF") }, "", ""},
		{"between two outside", func(w *wire) { w.conn(clean, c2, "SF") }, "", ""},

		{"a look-up", func(w *wire) { w.dns(node, "a.EVIL.example.org", clean, 0) }, "medium succeeded", "looked up a.EVIL.example.org (domain evil.example.org)"},
		{"a look-up that a resolver blocks", func(w *wire) { w.dns(node, "evil.example.org", "0.0.0.0", 0) }, "low attempted", "sinkholed"},
		{"a name that is gone", func(w *wire) { w.dns(node, "evil.example.org", "", 3) }, "low attempted", ""},
		{"an innocent name at a bad address", func(w *wire) { w.dns(node, "www.example.net", c2, 0) }, "low succeeded", "www.example.net, which is 203.0.113.1"},
		{"not at the border of a label", func(w *wire) { w.dns(node, "notevil.example.org", clean, 0) }, "", ""},
		{"a shared service", func(w *wire) { w.dns(node, "x.oast.fun", clean, 0) }, "info succeeded", "says nothing by itself"},

		{"a URL", func(w *wire) { w.get(node, clean, "bad.example.net", "/x.sh?token=abc", "curl/8") }, "high succeeded", "called bad.example.net/x.sh, which"},
		{"another path of the host", func(w *wire) { w.get(node, clean, "bad.example.net", "/", "curl/8") }, "", ""},
		{"a host", func(w *wire) { w.get(node, clean, "evil.example.org:80", "/", "curl/8") }, "high succeeded", "called evil.example.org"},
		{"through a proxy at home", func(w *wire) { w.get(node, peer, "evil.example.org", "http://evil.example.org/a", "curl/8") }, "high succeeded", ""},
		{"somebody's scanner comes by its name", func(w *wire) { w.get(clean, node, node, "/", "libredtail-http") }, "low succeeded", "as libredtail-http"},
		{"a home machine is that scanner", func(w *wire) { w.get(node, clean, "x", "/", "libredtail-http") }, "high succeeded", ""},
		{"a host named by an outsider", func(w *wire) { w.get(clean, node, "evil.example.org", "/x.sh", "curl/8") }, "", ""},

		{"a server name", func(w *wire) { w.tls(node, clean, "evil.example.org", "", "") }, "high succeeded", "opened TLS to evil.example.org"},
		{"a fingerprint", func(w *wire) { w.tls(node, clean, "x.example.com", ja3, "") }, "medium succeeded", "fingerprint " + ja3},
		{"another", func(w *wire) { w.tls(node, clean, "", "", "t13d1516h2_8daaf6152771_e5627efa2ab1") }, "medium succeeded", ""},
		{"a fingerprint between two at home", func(w *wire) { w.tls(node, peer, "", ja3, "") }, "", ""},

		{"a wallet", func(w *wire) {
			w.bus.Publish(&stratum.Start{Session: stratum.Session{At: w.at(), Flow: detectortest.Flow(node, clean, 3333), Login: wallet + ".v2", Address: stratum.Address{Coin: "XMR", Wallet: wallet}, Outcome: stratum.Working}})
		}, "high succeeded", "mines for wallet 45MinZ6E...Nz5X1, which"},
		{"a file", func(w *wire) {
			f := &file.File{At: w.at(), Flow: detectortest.Flow(node, clean, 80), Sender: capture.Resp, Digests: file.Digests{SHA256: hex.EncodeToString(digest)}}
			w.bus.Publish(f)
		}, "high succeeded", node + " got from 198.51.100.1:80 file"},
		{"a proxy is asked", func(w *wire) {
			w.bus.Publish(&socks.Request{At: w.at(), Flow: detectortest.Flow(node, peer, 1080), Host: socks.Address{Name: "evil.example.org"}, OK: true})
		}, "high succeeded", "asked a proxy for"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWire(t, feed)
			tt.do(w)
			var got []string
			for _, f := range w.said {
				got = append(got, f.Severity.String()+" "+string(f.Outcome))
				if f.Msg == "" || f.Packet == 0 || len(f.Evidence) == 0 || !f.Src.IsValid() || strings.Contains(f.Msg, wallet) {
					t.Errorf("%+v", f)
				}
			}
			if strings.Join(got, ", ") != tt.want {
				for _, f := range w.said {
					t.Log(f.Msg)
				}
				t.Fatalf("%s, want %s", got, tt.want)
			}
			if len(got) > 0 && !strings.Contains(w.said[0].Msg, tt.says) {
				t.Errorf("%q, want %q", w.said[0].Msg, tt.says)
			}
		})
	}
}

func TestWithoutASetNothingIsSaid(t *testing.T) {
	bus := detectors.NewBus(func(f *detectors.Finding) { t.Error(f.Msg) })
	Spec().New(&detectors.Env{}, bus)
	bus.Publish(&capture.Conn{Flow: detectortest.Flow(node, c2, 443), State: "SF"})
}
