package dnstunnel

import (
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/detectors"
)

const (
	client   = "10.20.0.11"
	resolver = "10.20.0.53"
)

type net struct {
	bus    *detectors.Bus
	said   []*detectors.Finding
	now    capture.Time
	n      uint64
	random *rand.ChaCha8
}

func newNet(cfg Config) *net {
	home, _ := detectors.ParseNetworks(detectors.DefaultHome)
	w := &net{now: 1_700_000_000e9, random: rand.NewChaCha8([32]byte{1})}
	once := detectors.NewSuppressor(func(f *detectors.Finding) { w.said = append(w.said, f) })
	w.bus = detectors.NewBus(once.Report)
	Spec().New(&detectors.Env{Home: home, Settings: map[string]any{"dns_tunnel": &cfg}}, w.bus)
	return w
}

// ask looks a name up and is told that there is none, a millisecond later than the last.
func (w *net) ask(src, name string, qtype uint16, reply int) {
	w.n++
	w.now = w.now.Add(time.Millisecond)
	w.bus.Publish(&dns.Transaction{
		At: capture.At{Time: w.now, Packet: w.n}, Reply: capture.At{Time: w.now, Packet: w.n + 1},
		Flow: &capture.Flow{
			UID: "C1", Proto: capture.ProtoUDP, Orig: netip.AddrPortFrom(netip.MustParseAddr(src), 40000),
			Resp: netip.AddrPortFrom(netip.MustParseAddr(resolver), 53),
		},
		Query: name, Type: qtype, Class: 1, Asked: true, Answered: true, RCode: 3, QuerySize: len(name) + 18, ReplySize: len(name) + 18 + reply,
	})
}

func (w *net) data(n int) []byte {
	b := make([]byte, n)
	w.random.Read(b)
	return b
}

func (w *net) b32(n int) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(w.data(n)))
}

func TestTunnels(t *testing.T) {
	const typeA, typeNULL, typeTXT, typeCNAME = 1, 10, 16, 5
	tests := []struct {
		name     string
		do       func(w *net)
		severity string
		words    string
	}{
		{"base32 in TXT", func(w *net) {
			for i := range 100 {
				w.ask(client, fmt.Sprintf("%s.%s.%04x.t.tunnel.example", w.b32(30), w.b32(30), i), typeTXT, 0)
			}
		}, "high", "below tunnel.example"},
		{"hexadecimal in CNAME", func(w *net) {
			for range 60 {
				w.ask(client, hex.EncodeToString(w.data(30))+".x.example.co.uk", typeCNAME, 0)
			}
		}, "high", "below example.co.uk"},
		{"hexadecimal in A, a file of passwords", func(w *net) {
			for range 40 {
				w.ask(client, hex.EncodeToString(w.data(20))+".x.example.com", typeA, 0)
			}
		}, "medium", "below example.com"},
		{"straight to its server, without a domain", func(w *net) {
			for range 60 {
				w.ask(client, "dnscat."+hex.EncodeToString(w.data(30))+"."+hex.EncodeToString(w.data(8)), typeTXT, 0)
			}
		}, "high", "that have no domain"},
		{"only the answers were captured", func(w *net) {
			for range 60 {
				w.bus.Publish(&dns.Transaction{
					At: capture.At{Time: w.now, Packet: 1}, Reply: capture.At{Time: w.now, Packet: 1}, Query: w.b32(60) + ".t.example.com", Type: typeTXT, Class: 1,
					Flow:     &capture.Flow{Orig: netip.MustParseAddrPort(client + ":40000"), Resp: netip.MustParseAddrPort(resolver + ":53")},
					Answered: true, ReplySize: 200,
				})
			}
		}, "high", "below example.com"},
		{"commands come down in large answers", func(w *net) {
			for i := range 60 {
				w.ask(client, fmt.Sprintf("%s.cmd%d.example.com", w.b32(4), i), typeNULL, 1200)
			}
		}, "medium", "kB back"},
		{"a resolver that asks for others", func(w *net) {
			w.bus.Publish(&dns.Transaction{Flow: &capture.Flow{Orig: netip.MustParseAddrPort("10.20.0.1:5"), Resp: netip.MustParseAddrPort(client + ":53")}, Query: "x.example", Answered: true})
			for range 60 {
				w.ask(client, w.b32(60)+".t.example.com", typeTXT, 0)
			}
		}, "low", "below example.com"},

		{"block lists are asked for addresses", func(w *net) {
			for i := range 3000 {
				w.ask(client, fmt.Sprintf("%d.%d.51.198.bl.unknown-list.example", i%250, i/250), typeA, 0)
			}
		}, "", ""},
		{"block lists are asked for IPv6 addresses", func(w *net) {
			for range 300 {
				w.ask(client, strings.Join(strings.Split(hex.EncodeToString(w.data(16)), ""), ".")+".bl.unknown-list.example", typeA, 0)
			}
		}, "", ""},
		{"reverse zones", func(w *net) {
			for range 300 {
				w.ask(client, strings.Join(strings.Split(hex.EncodeToString(w.data(16)), ""), ".")+".ip6.arpa", 12, 0)
			}
		}, "", ""},
		{"an antivirus asks for what it found", func(w *net) {
			for range 300 {
				w.ask(client, hex.EncodeToString(w.data(30))+".avqs.mcafee.com", typeA, 0)
			}
		}, "", ""},
		{"customers of a delivery network, each a domain of its own", func(w *net) {
			for range 300 {
				w.ask(client, "d"+w.b32(8)+".cloudfront.net", typeA, 0)
			}
		}, "", ""},
		{"a video portal's machines", func(w *net) {
			for range 300 {
				w.ask(client, "rr3---sn-"+w.b32(7)+".googlevideo.com", typeA, 0)
			}
		}, "", ""},
		{"short random names", func(w *net) { // an attack on the name server, or a search for names
			for range 1000 {
				w.ask(client, w.b32(6)+".example.com", typeA, 0)
			}
		}, "", ""},
		{"one long name, again and again", func(w *net) {
			for range 1000 {
				w.ask(client, "a-very-long-name-of-one-load-balancer-0123456789abcdef.example.com", typeA, 0)
			}
		}, "", ""},
		{"names of a cluster", func(w *net) {
			for i := range 1000 {
				w.ask(client, fmt.Sprintf("raycluster-worker-group-%08d.ray-system.svc.cluster.local", i), typeA, 0)
			}
		}, "", ""},
		{"a handful of one page's long names", func(w *net) {
			for range 12 {
				w.ask(client, hex.EncodeToString(w.data(16))+".frames.example.com", typeA, 0)
			}
		}, "", ""},
		{"slowly", func(w *net) {
			for range 100 {
				w.ask(client, w.b32(60)+".t.example.com", typeTXT, 0)
				w.now = w.now.Add(2 * time.Minute)
			}
		}, "", ""},
		{"from outside", func(w *net) {
			for range 100 {
				w.ask("203.0.113.9", w.b32(60)+".t.example.com", typeTXT, 0)
			}
		}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newNet(Default())
			tt.do(w)
			if tt.severity == "" {
				if len(w.said) > 0 {
					t.Errorf("said %q (%s)", w.said[0].Msg, w.said[0].Sub)
				}
				return
			}
			if len(w.said) == 0 {
				t.Fatal("nothing said")
			}
			f := w.said[len(w.said)-1]
			if f.Severity.String() != tt.severity || !strings.Contains(f.Msg, tt.words) || len(f.Evidence) == 0 || f.Src.String() != client {
				t.Errorf("%s %q (%s)", f.Severity, f.Msg, f.Sub)
			}
		})
	}
}

func TestAllowed(t *testing.T) {
	cfg := Default()
	cfg.Allow = []string{"t.example.com."}
	w := newNet(cfg)
	for range 100 {
		w.ask(client, w.b32(60)+".t.example.com", 16, 0)
	}
	if len(w.said) > 0 {
		t.Errorf("said %q", w.said[0].Msg)
	}
}

func TestTablesAreBounded(t *testing.T) {
	w := newNet(Default())
	for i := range maxPairs + 1000 {
		w.ask(client, fmt.Sprintf("a.domain%d.example", i), 1, 0)
	}
	for range 10 * maxNames {
		w.ask(client, w.b32(60)+".t.example.com", 16, 0)
	}
	if n := len(w.said); n < 2 || w.said[n-1].Severity != detectors.High {
		t.Error("a full table refused the new")
	}
}

func TestBackwards(t *testing.T) {
	for sub, want := range map[string]bool{
		"2.0.0.127.zen":                            true,
		"4.3.2.1":                                  true,
		"100.200.51.198.b.list":                    true,
		"1.2.3.host":                               false,
		"a.b.c.d":                                  false, // four letters are no address
		strings.Repeat("f.", 15) + "0.x":           true,
		strings.Repeat("abcdef0123456789.", 4):     false,
		"0123.4567.89ab.cdef":                      false,
		strings.Repeat("a.", 8) + "long-label.com": false,
	} {
		if got := backwards(sub); got != want {
			t.Errorf("backwards(%q) = %v", sub, got)
		}
	}
}

func TestQuietListIsSound(t *testing.T) {
	n := 0
	for line := range strings.Lines(quietText) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if n++; line != strings.ToLower(line) || !strings.Contains(line, ".") || strings.ContainsAny(line, " ,") {
			t.Errorf("line %q", line)
		}
	}
	if n < 50 {
		t.Errorf("%d domains", n)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("a.b.example.co.uk")
	f.Add("2.0.0.127.zen.spamhaus.org")
	f.Add("..\x00.xn--p1ai")
	home, _ := detectors.ParseNetworks(detectors.DefaultHome)
	d := newDetector(&detectors.Env{Home: home}, detectors.NewBus(func(*detectors.Finding) {}))
	f.Fuzz(func(t *testing.T, name string) {
		sub, domain := d.split(name)
		if sub != "" && domain != noDomain && sub+"."+domain != name {
			t.Errorf("%q: %q and %q", name, sub, domain)
		}
	})
}
