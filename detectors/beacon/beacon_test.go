package beacon

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/ray"
)

const (
	node     = "10.20.0.11"
	c2       = "198.51.100.77"
	attacker = "203.0.113.66"
)

type net struct {
	bus  *detectors.Bus
	said []*detectors.Finding
	now  capture.Time
	n    uint64
	rand *rand.Rand
}

func newNet(cfg Config) *net {
	home := detectortest.Home()
	w := &net{now: 1_700_000_000e9, rand: rand.New(rand.NewPCG(1, 2))}
	once := detectors.NewSuppressor(func(f *detectors.Finding) { w.said = append(w.said, f) })
	w.bus = detectors.NewBus(once.Report)
	Spec().New(&detectors.Env{Home: home, Settings: map[string]any{"beacon": &cfg}}, w.bus)
	return w
}

func (w *net) at() capture.At {
	w.n++
	return capture.At{Time: w.now, Packet: w.n}
}

// get asks dst for a target; h are pairs of header names and values.
func (w *net) get(src, dst, target string, down int, h ...string) {
	at := w.at()
	r := &http.Request{At: at, Method: "GET", Target: target}
	for i := 0; i < len(h); i += 2 {
		r.Header = append(r.Header, http.Field{Name: h[i], Value: h[i+1]})
	}
	w.bus.Publish(&http.Transaction{At: at, Flow: detectortest.Flow(src, dst, 8080), Request: r,
		Response: &http.Response{At: at, Status: 200, Body: http.Body{Len: int64(down)}}})
}

func (w *net) conn(src, dst string, port uint16, state string, up, down uint64) *capture.Conn {
	f := detectortest.Flow(src, dst, port)
	f.Start = w.now
	return &capture.Conn{At: w.at(), Flow: f, State: state, Bytes: [2]uint64{up, down}, Duration: time.Second}
}

// every does something n times, a period apart, give or take.
func (w *net) every(n int, period, jitter time.Duration, do func()) {
	for range n {
		do()
		w.now = w.now.Add(period)
		if jitter > 0 {
			w.now = w.now.Add(time.Duration(w.rand.Int64N(int64(2*jitter))) - jitter)
		}
	}
}

func (w *net) job(by, to string) {
	w.bus.Publish(&ray.Call{At: w.at(), Flow: detectortest.Flow(by, to, 8265), Job: true, Outcome: ray.Executed})
}

func (w *net) named(name, addr string) {
	w.bus.Publish(&dns.Transaction{Query: name, Answered: true, Answers: []dns.Answer{{Name: name, Type: 1, Addr: netip.MustParseAddr(addr)}}})
}

// tls is a connection for a server name.
func (w *net) tls(dst, name string) {
	c := w.conn(node, dst, 443, "SF", 700, 4000)
	w.bus.Publish(&tls.Session{At: c.At, Flow: c.Flow, ServerName: name})
	w.bus.Publish(c)
}

func TestBeacons(t *testing.T) {
	gate := func(w *net) func() { return func() { w.get(node, c2, "/gate?id=7", 20, "Host", c2+":8080") } }
	raw := func(w *net, port uint16, state string, up uint64) func() {
		return func() { w.bus.Publish(w.conn(node, c2, port, state, up, 300)) }
	}
	tests := []struct {
		name     string
		do       func(w *net)
		severity string
		words    string
	}{
		{"over HTTP, each two seconds", func(w *net) { w.every(30, 2100*time.Millisecond, 150*time.Millisecond, gate(w)) }, "medium", "every 2.1 seconds"},
		{"a minute with a tenth of jitter", func(w *net) { w.every(40, time.Minute, 6*time.Second, gate(w)) }, "medium", c2},
		{"cron over TLS", func(w *net) { w.every(20, 15*time.Minute, time.Second, raw(w, 443, "SF", 517)) }, "medium", "every 15 minutes"},
		{"two connections at a time", func(w *net) {
			w.every(20, time.Minute, time.Second, func() { raw(w, 443, "SF", 517)(); raw(w, 443, "SF", 900)() })
		}, "medium", "every 60 seconds"},
		{"flows told of in another order than they began", func(w *net) {
			var all []*capture.Conn
			w.every(30, time.Minute, 0, func() { all = append(all, w.conn(node, c2, 4444, "S1", 64, 64)) })
			for i := range all {
				w.bus.Publish(all[(i*7)%len(all)])
			}
		}, "medium", c2 + ":4444"},
		{"five calls after a foreign job", func(w *net) {
			w.job(attacker, node)
			w.now = w.now.Add(time.Hour)
			w.every(5, 15*time.Minute, 20*time.Second, raw(w, 443, "SF", 517))
		}, "medium", "203.0.113.66 gave it a job before"},
		{"five calls of a node to which the head handed it on", func(w *net) {
			w.job(attacker, "10.20.0.10")
			w.job("10.20.0.10", node)
			w.every(5, 15*time.Minute, 0, raw(w, 443, "SF", 517))
		}, "medium", "gave it a job"},
		{"five calls alone are a hint", func(w *net) { w.every(5, 4*time.Hour, 10*time.Second, raw(w, 443, "SF", 517)) }, "low", "5 times"},
		{"five calls of a series that is told of the same day", func(w *net) { w.every(5, 15*time.Minute, 10*time.Second, raw(w, 443, "SF", 517)) }, "", ""},
		{"a tracker, by its name", func(w *net) {
			w.named("tracker.vendor.example", c2)
			w.every(30, 10*time.Second, 0, func() { w.tls(c2, "tracker.vendor.example") })
		}, "low", "tracker.vendor.example"},
		{"a runner that nobody was seen to look up", func(w *net) {
			w.every(30, 50*time.Second, 0, func() { w.tls(c2, "runner.vendor.example") })
		}, "low", "runner.vendor.example"},
		{"a package manager", func(w *net) {
			w.named("mirror.vendor.example", c2)
			w.every(30, 30*time.Minute, 0, func() {
				w.get(node, c2, "/dists/x/InRelease", 500, "Host", "mirror.vendor.example", "User-Agent", "Debian APT-HTTP/1.3 (2.6.1)")
			})
		}, "low", "mirror.vendor.example"},
		{"a health check of a balancer, by address", func(w *net) {
			w.every(30, 5*time.Second, 0, func() { w.get(node, c2, "/status", 2, "Host", c2, "User-Agent", "nginx/1.24.0 (health check)") })
		}, "low", c2},
		{"a repository over SSH", func(w *net) {
			w.named("git.vendor.example", c2)
			w.every(30, time.Minute, 0, func() {
				c := w.conn(node, c2, 22, "SF", 3500, 3100)
				c.Services = []string{"ssh"}
				w.bus.Publish(c)
			})
		}, "low", "git.vendor.example"},
		{"a broker, with a short snap length", func(w *net) {
			w.named("broker.vendor.example", c2)
			w.every(30, time.Minute, 0, func() {
				c := w.conn(node, c2, 8883, "SF", 500, 300)
				c.Missed = 200
				w.bus.Publish(c)
			})
		}, "low", "broker.vendor.example"},
		{"telemetry of a rack, by the minute", func(w *net) { w.every(30, time.Minute, 0, raw(w, 4317, "SF", 200_000)) }, "", ""},

		{"a tracker's name, after a job from outside", func(w *net) {
			w.named("tracker.vendor.example", c2)
			w.job(attacker, node)
			w.every(30, time.Minute, 0, func() { w.tls(c2, "tracker.vendor.example") })
		}, "medium", "gave it a job before"},
		{"a name below a cheap top-level domain", func(w *net) {
			w.named("api.update-host.top", c2)
			w.every(30, 15*time.Minute, 0, func() { w.tls(c2, "api.update-host.top") })
		}, "medium", "update-host.top"},
		{"a tunnel's name", func(w *net) {
			w.named("a1b2.ngrok-free.app", c2)
			w.every(30, 15*time.Minute, 0, func() { w.tls(c2, "a1b2.ngrok-free.app") })
		}, "medium", "ngrok"},
		{"a name of somebody else's, for an address that was looked up as ill", func(w *net) {
			w.named("x.update-host.top", c2)
			w.every(30, time.Minute, 0, func() { w.tls(c2, "www.vendor.example") })
		}, "medium", "www.vendor.example"},
		{"a name that nobody looked up, where others were", func(w *net) {
			w.named("other.example", "198.51.100.5")
			w.every(30, time.Minute, 0, func() { w.tls(c2, "www.vendor.example") })
		}, "medium", "www.vendor.example"},
		{"a browser that is none", func(w *net) {
			w.named("cdn.vendor.example", c2)
			w.every(30, time.Minute, 0, func() {
				w.get(node, c2, "/pixel.gif", 1, "Host", "cdn.vendor.example", "User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64)")
			})
		}, "medium", "cdn.vendor.example"},
		{"a named place, in a protocol that is not known", func(w *net) {
			w.named("srv.vendor.example", c2)
			w.every(30, time.Minute, 0, raw(w, 4444, "SF", 64))
		}, "medium", "srv.vendor.example"},
		{"a name is told", func(w *net) {
			w.named("evil.example", c2)
			w.every(20, time.Minute, 0, raw(w, 443, "SF", 517))
		}, "medium", "198.51.100.77:443 (evil.example)"},
		{"a page that polls", func(w *net) {
			w.every(30, 10*time.Second, 0, func() { w.get(node, c2, "/poll", 20, "Host", "app.example", "Referer", "http://app.example/") })
		}, "low", "app.example"},
		{"metrics of a service outside", func(w *net) {
			w.every(30, 15*time.Second, 0, func() { w.get(node, c2, "/metrics", 3000, "Host", "m.example", "User-Agent", "Prometheus/2.50") })
		}, "low", "m.example"},
		{"many machines call it", func(w *net) {
			w.every(30, time.Minute, 0, func() {
				for i := range 8 {
					w.get(fmt.Sprint("10.20.0.", i+20), c2, "/alive", 20, "Host", "telemetry.example")
				}
			})
		}, "low", "telemetry.example"},

		{"revocation of certificates", func(w *net) {
			w.every(60, time.Minute, 0, func() { w.get(node, c2, "/", 400, "Host", "ocsp.ca.example") })
		}, "low", "ocsp.ca.example"},
		{"an implant that says it fetches updates", func(w *net) {
			w.every(60, time.Minute, 0, func() { w.get(node, c2, "/ubuntu/dists/x", 400, "Host", "archive.ubuntu.com") })
		}, "low", "archive.ubuntu.com"},
		{"a place with several addresses, by its server name", func(w *net) {
			w.every(20, 15*time.Minute, time.Second, func() { w.tls(fmt.Sprint("198.51.100.", w.rand.IntN(200)), "raw.githubusercontent.com") })
		}, "medium", "raw.githubusercontent.com"},

		{"between home machines", func(w *net) {
			w.every(60, 10*time.Second, 0, func() { w.get(node, "10.20.0.10", "/api/jobs/", 20, "Host", "h") })
		}, "", ""},
		{"from outside", func(w *net) {
			w.every(60, 10*time.Second, 0, func() { w.get(attacker, node, "/", 20, "Host", "h") })
		}, "", ""},
		{"connections that fail", func(w *net) { w.every(60, time.Second, 0, raw(w, 443, "S0", 0)) }, "", ""},
		{"connections that are refused", func(w *net) { w.every(60, time.Minute, 0, raw(w, 443, "REJ", 0)) }, "", ""},
		{"http connections are counted by their requests", func(w *net) {
			w.every(60, time.Minute, 0, func() {
				c := w.conn(node, c2, 80, "SF", 100, 100)
				c.Services = []string{"http"}
				w.bus.Publish(c)
			})
		}, "", ""},
		{"updates, by name", func(w *net) {
			w.named("archive.ubuntu.com", c2)
			w.every(60, time.Minute, 0, func() { w.get(node, c2, "/ubuntu/dists/x", 400, "Host", "archive.ubuntu.com") })
		}, "", ""},
		{"updates over TLS, by name", func(w *net) {
			w.named("api.snapcraft.io", c2)
			w.every(60, time.Minute, 0, raw(w, 443, "SF", 517))
			w.every(60, time.Minute, 0, func() { w.tls(c2, "api.snapcraft.io") })
		}, "", ""},
		{"segments of a film", func(w *net) {
			w.every(100, 4*time.Second, 100*time.Millisecond, func() { w.get(node, c2, "/seg.ts", 800_000, "Host", "cdn.example") })
		}, "", ""},
		{"somebody reads a site", func(w *net) {
			for range 60 {
				for range w.rand.IntN(8) {
					w.get(node, c2, "/x", 2000+w.rand.IntN(9000), "Host", "news.example")
					w.now = w.now.Add(time.Duration(w.rand.Int64N(int64(2 * time.Second))))
				}
				w.now = w.now.Add(time.Duration(w.rand.ExpFloat64() * float64(40*time.Second)))
			}
		}, "", ""},
		{"one page loads for half a minute", func(w *net) {
			for range 60 {
				w.get(node, c2, "/x", 2000, "Host", "slow.example")
				w.now = w.now.Add(time.Duration(w.rand.Int64N(int64(2 * time.Second))))
			}
		}, "", ""},
		{"four calls", func(w *net) { w.every(4, 15*time.Minute, 0, raw(w, 443, "SF", 517)) }, "", ""},
		{"a dozen calls in half a minute", func(w *net) { w.every(12, 2*time.Second, 0, gate(w)) }, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newNet(Default())
			tt.do(w)
			if tt.severity == "" {
				for _, f := range w.said {
					t.Errorf("said %s %q (%s)", f.Severity, f.Msg, f.Sub)
				}
				return
			}
			if len(w.said) == 0 {
				t.Fatal("nothing said")
			}
			f := w.said[len(w.said)-1]
			if f.Severity.String() != tt.severity || !strings.Contains(f.Msg, tt.words) || len(f.Evidence) == 0 || f.Flow == nil {
				t.Errorf("%s %q (%s)", f.Severity, f.Msg, f.Sub)
			}
		})
	}
}

// TestOneFindingADay holds that what goes on for weeks is said once while it stays the same, and again when it changes.
func TestOneFindingADay(t *testing.T) {
	w := newNet(Default())
	get := func() { w.get(node, c2, "/gate", 20, "Host", c2) }
	w.every(6*24*6, 10*time.Minute, 20*time.Second, get)
	if n := len(w.said); n != 1 {
		t.Errorf("%d findings in six days of the same", n)
	}
	w.every(3*24*60, time.Minute, time.Second, get)
	if n := len(w.said); n < 2 || n > 4 {
		t.Errorf("%d findings after its period changed", n)
	}
}

func TestManyCallersAreOneFinding(t *testing.T) {
	w := newNet(Default())
	w.every(30, time.Minute, 0, func() {
		for i := range 40 {
			w.get(fmt.Sprint("10.20.0.", i+20), c2, "/alive", 20, "Host", "telemetry.example")
		}
	})
	if n := len(w.said); n != 1 {
		t.Errorf("%d findings", n)
	}
}

func TestAllowed(t *testing.T) {
	cfg := Default()
	cfg.Allow = []string{"198.51.100.0/24", "api.example"}
	w := newNet(cfg)
	w.named("eu.api.example", "203.0.113.7")
	w.every(60, time.Minute, 0, func() {
		w.get(node, c2, "/", 20, "Host", "h.example")
		w.get(node, "203.0.113.7", "/", 20, "Host", "eu.api.example:8080")
	})
	if len(w.said) > 0 {
		t.Errorf("said %q", w.said[0].Msg)
	}
}

func TestTablesAreBounded(t *testing.T) {
	w := newNet(Default())
	for i := range maxPairs + 1000 {
		w.get(node, c2, "/", 20, "Host", fmt.Sprintf("h%d.example", i))
	}
	w.every(3*maxCalls, time.Minute, 20*time.Second, func() { w.get(node, c2, "/", 20, "Host", "noise.example") })
	w.every(40, time.Minute, 0, func() { w.get(node, c2, "/", 20, "Host", "evil.example") })
	if n := len(w.said); n == 0 || !strings.Contains(w.said[n-1].Msg, "evil.example") {
		t.Error("a full table refused the new")
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
	if n < 30 {
		t.Errorf("%d domains", n)
	}
	home := detectortest.Home()
	d := newDetector(&detectors.Env{Home: home}, detectors.NewBus(func(*detectors.Finding) {}))
	for _, name := range []string{"raw.githubusercontent.com", "gitlab.com", "s3.amazonaws.com", "storage.googleapis.com", "pastebin.com", "huggingface.co"} {
		if d.known(name) {
			t.Errorf("%s is quiet, and anybody can put an order there", name)
		}
	}
}
