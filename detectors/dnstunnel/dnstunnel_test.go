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
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/ray"
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
	home := detectortest.Home()
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

// told asks like ask, with a pause, and is given addresses or, without any, a text.
func (w *net) told(src, name string, qtype uint16, pause time.Duration, addrs ...string) {
	w.n++
	w.now = w.now.Add(pause)
	t := &dns.Transaction{
		At: capture.At{Time: w.now, Packet: w.n}, Reply: capture.At{Time: w.now, Packet: w.n + 1},
		Flow: &capture.Flow{
			UID: "C1", Proto: capture.ProtoUDP, Orig: netip.AddrPortFrom(netip.MustParseAddr(src), 40000),
			Resp: netip.AddrPortFrom(netip.MustParseAddr(resolver), 53),
		},
		Query: name, Type: qtype, Class: 1, Asked: true, Answered: true, QuerySize: len(name) + 18, ReplySize: len(name) + 60,
	}
	for _, a := range addrs {
		t.Answers = append(t.Answers, dns.Answer{Name: name, Type: 1, Addr: netip.MustParseAddr(a)})
	}
	if len(addrs) == 0 {
		t.Answers = append(t.Answers, dns.Answer{Name: name, Type: qtype, Data: "v=1"})
	}
	w.bus.Publish(t)
}

func (w *net) job(by string) {
	w.bus.Publish(&ray.Call{
		At: capture.At{Time: w.now, Packet: w.n}, Job: true, Outcome: ray.Executed,
		Flow: &capture.Flow{Orig: netip.MustParseAddrPort(by + ":40000"), Resp: netip.MustParseAddrPort(client + ":8265")},
	})
}

// guid is one made of random octets.
func (w *net) guid() string {
	h := hex.EncodeToString(w.data(16))
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// TestHonestNames has what names are made of by those who hide nothing, and beside each what it must not excuse.
func TestHonestNames(t *testing.T) {
	const typeA, typeTXT, typeSRV, typeCNAME = 1, 16, 33, 5
	slow := 3 * time.Second
	text := func(i, n int) string { // of a file of settings, in hexadecimal
		s := strings.Repeat("export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG; db_password=hunter2 user=root host=10.20.0.5\n", 40)
		return hex.EncodeToString([]byte(s[i*n : (i+1)*n]))
	}
	tests := []struct {
		name     string
		do       func(w *net)
		severity string
	}{
		{"a block list of digests, with a customer's key", func(w *net) {
			for range 120 {
				w.told(client, hex.EncodeToString(w.data(20))+".0123456789abcdef0123456789.mail.vendor.org", typeA, slow, "127.0.0.2")
			}
		}, "low"},
		{"keys of mail, in base32", func(w *net) {
			for range 60 {
				w.told(client, w.b32(20)+"._domainkey.sender.org", typeTXT, slow)
			}
		}, "low"},
		{"validation of certificates", func(w *net) {
			for range 60 {
				w.told(client, "_"+hex.EncodeToString(w.data(16))+".apps.customer.org", typeCNAME, slow)
			}
		}, "low"},
		{"domain controllers", func(w *net) {
			for range 100 {
				w.told(client, "_ldap._tcp."+w.guid()+".domains._msdcs.ad.corp.org", typeSRV, slow)
			}
		}, "low"},
		{"pods of a cluster under the site's own domain", func(w *net) {
			for range 300 {
				w.told(client, "raycluster-"+w.b32(3)+"-worker-gpu-group-"+w.b32(3)+".raycluster-headless.ml-team.svc.k8s.corp.org", typeA, time.Second, "10.20.1.7")
			}
		}, ""},
		{"long names of machines at home", func(w *net) {
			for range 100 {
				w.told(client, "vm-"+w.b32(20)+".compute.corp.org", typeA, time.Second, "10.20.1.7")
			}
		}, "low"},
		{"buckets of tenants", func(w *net) {
			for range 100 {
				w.told(client, "tenant-"+hex.EncodeToString(w.data(8))+"-backups.s3.eu-central-1.objects.org", typeA, time.Second, "198.51.100.9")
			}
		}, ""},
		{"addresses and a certificate's digest", func(w *net) {
			id := hex.EncodeToString(w.data(16))
			for i := range 200 {
				w.told(client, fmt.Sprintf("192-168-%d-%d.%s.direct.org", i, 7*i%250, id), typeA, time.Second, "192.168.1.7")
			}
		}, ""},

		{"text of a digest's length", func(w *net) {
			for i := range 60 {
				w.told(client, text(i, 20)+".x.evil.org", typeA, slow, "127.0.0.2")
			}
		}, "medium"},
		{"of a digest's length, after a job from outside", func(w *net) {
			w.job("203.0.113.66")
			for range 120 {
				w.told(client, hex.EncodeToString(w.data(20))+".x.evil.org", typeA, slow, "127.0.0.2")
			}
		}, "medium"},
		{"two digests in a name", func(w *net) {
			for range 100 {
				w.told(client, hex.EncodeToString(w.data(20))+"."+hex.EncodeToString(w.data(20))+".evil.org", typeA, slow, "127.0.0.2")
			}
		}, "high"},
		{"data below the label of a service", func(w *net) {
			for range 60 {
				w.told(client, w.b32(30)+"."+w.b32(30)+"._domainkey.evil.org", typeTXT, slow)
			}
		}, "high"},
		{"a digest's length, and addresses outside", func(w *net) {
			for range 60 {
				w.told(client, hex.EncodeToString(w.data(20))+".x.evil.org", typeA, slow, "198.51.100.77")
			}
		}, "medium"},
		{"with a constant tail", func(w *net) {
			for range 60 {
				w.told(client, w.b32(35)+".session-1.node-a.c2.evil.org", typeTXT, time.Second)
			}
		}, "high"},
		{"in words of a long list", func(w *net) {
			for range 60 {
				var s []string
				for _, b := range w.data(16) {
					s = append(s, fmt.Sprintf("w%c%c%x", 'a'+b%26, 'a'+b/26, b))
				}
				w.told(client, strings.Join(s[:8], "-")+"."+strings.Join(s[8:], "-")+".evil.org", typeTXT, time.Second)
			}
		}, "high"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newNet(Default())
			tt.do(w)
			got := ""
			for _, f := range w.said {
				got = f.Severity.String()
			}
			if got != tt.severity {
				t.Errorf("%q, want %q", got, tt.severity)
				for _, f := range w.said {
					t.Logf("%s %q (%s)", f.Severity, f.Msg, f.Sub)
				}
			}
		})
	}
}

func TestResolversTwinIsNotSaidAgain(t *testing.T) {
	const head = "10.20.0.1"
	w := newNet(Default())
	w.bus.Publish(&dns.Transaction{Flow: &capture.Flow{Orig: netip.MustParseAddrPort("10.20.0.7:5"), Resp: netip.MustParseAddrPort(head + ":53")}, Query: "x.org", Answered: true})
	for range 60 {
		name := w.b32(60) + ".t.evil.org"
		w.told(head, name, 16, time.Millisecond)
		w.told(client, name, 16, time.Millisecond)
	}
	for _, f := range w.said {
		if f.Src.String() == head && f.Severity > detectors.Low {
			t.Errorf("said of the resolver: %s %q", f.Severity, f.Msg)
		}
	}
	if n := len(w.said); n == 0 || w.said[n-1].Src.String() != client || w.said[n-1].Severity != detectors.High {
		t.Errorf("%d findings", n)
	}
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
	home := detectortest.Home()
	d := newDetector(&detectors.Env{Home: home}, detectors.NewBus(func(*detectors.Finding) {}))
	f.Fuzz(func(t *testing.T, name string) {
		sub, domain := d.split(name)
		if sub != "" && domain != noDomain && sub+"."+domain != name {
			t.Errorf("%q: %q and %q", name, sub, domain)
		}
	})
}

// A tunnel that waits asks for each name once, and is answered; hashes are mostly unknown, policies of mail have words.
func TestWaitingForOrders(t *testing.T) {
	home := detectortest.Home()
	flow := &capture.Flow{Orig: netip.MustParseAddrPort("10.20.0.10:40000"), Resp: netip.MustParseAddrPort("10.20.0.53:53")}
	for _, x := range []struct {
		says string
		name func(i int) string
		ok   bool // answered with a record
		gap  time.Duration
		want bool
	}{
		{"orders", func(i int) string { return fmt.Sprintf("%08x.c.evil-host.top", uint32(i)*2654435761) }, true, time.Minute, true},
		{"hashes of files, unknown", func(i int) string { return fmt.Sprintf("%08x.hash.example.net", uint32(i)*2654435761) }, false, time.Minute, false},
		{"keys of mail", func(i int) string { return fmt.Sprintf("s%d._domainkey.example%d.net", i, i%3) }, true, time.Minute, false},
		{"the same names again", func(i int) string { return fmt.Sprintf("%08x.c.evil-host.top", uint32(i%20)*2654435761) }, true, time.Minute, false},
		{"a page", func(i int) string { return fmt.Sprintf("%08x.c.evil-host.top", uint32(i)*2654435761) }, true, time.Second, false},
	} {
		var said []*detectors.Finding
		bus := detectors.NewBus(func(f *detectors.Finding) { said = append(said, f) })
		Spec().New(&detectors.Env{Home: home}, bus)
		for i := range 100 {
			tx := &dns.Transaction{At: capture.At{Time: capture.Time(i+1) * capture.Time(x.gap)}, Flow: flow, Query: x.name(i), Type: 16, Class: 1, Asked: true, Answered: true, QuerySize: 40, ReplySize: 40, RCode: 3}
			if x.ok {
				tx.RCode, tx.ReplySize = 0, 63
			}
			bus.Publish(tx)
		}
		if (len(said) > 0) != x.want {
			t.Errorf("%s: %+v", x.says, said)
		}
	}
}
