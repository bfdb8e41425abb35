package egress

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
)

const day = 24 * time.Hour

// net is a detector with a clock and a list of what it said.
type net struct {
	bus  *detectors.Bus
	said []*detectors.Finding
	now  capture.Time
	n    uint64
}

func newNet(t *testing.T, cfg Config) *net {
	home := detectortest.Home()
	w := &net{now: 1_700_000_000e9}
	w.bus = detectors.NewBus(func(f *detectors.Finding) { w.said = append(w.said, f) })
	Spec().New(&detectors.Env{Home: home, Settings: map[string]any{"egress": &cfg}}, w.bus)
	return w
}

// send moves mb megabytes up and down over one flow, evenly over d, in a hundred steps.
func (w *net) send(orig, resp string, up, down uint64, d time.Duration, guessed bool) {
	w.n++
	f := &capture.Flow{UID: fmt.Sprint("C", w.n), Orig: netip.MustParseAddrPort(orig), Resp: netip.MustParseAddrPort(resp), Proto: capture.ProtoTCP, Start: w.now}
	for range 100 {
		w.n++
		w.bus.Publish(&capture.Progress{At: capture.At{Time: w.now, Packet: w.n}, Flow: f, Bytes: [2]uint64{up * 1e4, down * 1e4}, Guessed: guessed})
		w.now = w.now.Add(d / 100)
	}
}

// looked publishes a look-up.
func (w *net) looked(name, addr string) {
	w.bus.Publish(&dns.Transaction{Query: name, Answered: true, Answers: []dns.Answer{{Name: name, Type: 1, Addr: netip.MustParseAddr(addr)}}})
}

// progress moves n bytes up at once.
func (w *net) progress(orig, resp string, n uint64) {
	w.n++
	f := &capture.Flow{UID: "Cp", Orig: netip.MustParseAddrPort(orig), Resp: netip.MustParseAddrPort(resp), Proto: capture.ProtoUDP}
	w.bus.Publish(&capture.Progress{At: capture.At{Time: w.now, Packet: w.n}, Flow: f, Bytes: [2]uint64{n, 0}})
}

func TestLarge(t *testing.T) {
	const in, out = "10.1.2.3:40000", "198.51.100.77:443"
	tests := []struct {
		name     string
		cfg      func(c *Config)
		do       func(w *net)
		severity detectors.Severity
		said     int
	}{
		{"120 MB over one flow", nil, func(w *net) { w.send(in, out, 120, 0, time.Minute, false) }, detectors.Medium, 1},
		{"over three flows", nil, func(w *net) {
			for range 3 {
				w.send(in, out, 40, 0, time.Minute, false)
			}
		}, detectors.Medium, 1},
		{"ten times the bound is said again, and high", nil, func(w *net) { w.send(in, out, 1200, 0, time.Minute, false) }, detectors.High, 2},
		{"picked up mid-stream", nil, func(w *net) { w.send(in, out, 120, 0, time.Minute, true) }, detectors.Medium, 1},
		{"mid-stream, the flow taken for the other way round", nil, func(w *net) { w.send(out, in, 0, 120, time.Minute, true) }, detectors.Medium, 1},
		{"a client outside takes ten times the bound from a machine that serves nobody else", nil,
			func(w *net) { w.send("203.0.113.9:5000", "10.1.2.3:8000", 0, 1100, time.Minute, false) }, detectors.Medium, 1},
		{"99 MB", nil, func(w *net) { w.send(in, out, 99, 0, time.Minute, false) }, 0, 0},
		{"120 MB over twenty minutes", nil, func(w *net) { w.send(in, out, 120, 0, 20*time.Minute, false) }, 0, 0},
		{"a download", nil, func(w *net) { w.send(in, out, 1, 5000, time.Minute, false) }, 0, 0},
		{"inside", nil, func(w *net) { w.send(in, "10.1.2.4:9000", 5000, 0, time.Minute, false) }, 0, 0},
		{"from outside", nil, func(w *net) { w.send(out, in, 5000, 0, time.Minute, false) }, 0, 0},
		{"multicast", nil, func(w *net) { w.send(in, "239.1.1.1:5000", 5000, 0, time.Minute, false) }, 0, 0},
		{"an answer to a client, under the bar for serving", nil,
			func(w *net) { w.send("203.0.113.9:5000", "10.1.2.3:8000", 0, 900, time.Minute, false) }, 0, 0},
		{"a public web server", nil, func(w *net) {
			for i := range 30 {
				w.send(netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 5000).String(), "10.1.2.3:443", 0, 1, time.Second, false)
			}
			w.send("203.0.113.5:5001", "10.1.2.3:443", 0, 5000, 5*time.Minute, false)
		}, 0, 0},
		{"allowed by network", func(c *Config) { c.Allow = []string{"198.51.100.0/24"} },
			func(w *net) { w.send(in, out, 5000, 0, time.Minute, false) }, 0, 0},
		{"allowed by a name that was looked up", func(c *Config) { c.Allow = []string{"models.example"} }, func(w *net) {
			w.bus.Publish(&dns.Transaction{Query: "eu.models.example", Answered: true, Answers: []dns.Answer{{Name: "eu.models.example", Type: 1, Addr: netip.MustParseAddr("198.51.100.77")}}})
			w.send(in, out, 5000, 0, time.Minute, false)
		}, 0, 0},
		{"a Host field alone allows nothing: it is the sender's word", func(c *Config) { c.Allow = []string{"models.example"} }, func(w *net) {
			w.bus.Publish(&http.Transaction{Flow: &capture.Flow{Resp: netip.MustParseAddrPort(out)}, Request: &http.Request{Header: http.Header{{Name: "Host", Value: "models.example"}}}})
			w.send(in, out, 120, 0, time.Minute, false)
		}, detectors.Medium, 1},
		{"nor does it for an address that has a name", func(c *Config) { c.Allow = []string{"models.example"} }, func(w *net) {
			w.looked("evil.example", "198.51.100.77")
			w.bus.Publish(&http.Transaction{Flow: &capture.Flow{Resp: netip.MustParseAddrPort(out)}, Request: &http.Request{Header: http.Header{{Name: "Host", Value: "models.example"}}}})
			w.send(in, out, 120, 0, time.Minute, false)
		}, detectors.Medium, 1},
		{"what is pulled hides nothing that is pushed", nil, func(w *net) {
			w.send(out, in, 0, 500, time.Minute, false)
			w.send(in, out, 120, 0, time.Minute, false)
		}, detectors.Medium, 1},
		{"ten times the bound at once", nil, func(w *net) { w.progress(in, out, 1200e6) }, detectors.High, 1},
		{"ten times the bound, having been said at twelve tenths of it", nil, func(w *net) {
			w.progress(in, out, 120e6)
			w.progress(in, out, 900e6)
		}, detectors.High, 2},
		{"nine times the bound is said once", nil, func(w *net) { w.send(in, out, 900, 0, time.Minute, false) }, detectors.Medium, 1},
		{"exactly the window", nil, func(w *net) { w.send(in, out, 105, 0, 10*time.Minute, false) }, detectors.Medium, 1},
		{"100 MB over eleven minutes", nil, func(w *net) { w.send(in, out, 100, 0, 11*time.Minute, false) }, 0, 0},
		{"IPv6", nil, func(w *net) { w.send("[fd00::1]:5000", "[2001:db8::1]:443", 120, 0, time.Minute, false) }, detectors.Medium, 1},
		{"a multiple of nothing is the bound", func(c *Config) { c.Serving = 0 },
			func(w *net) { w.send("203.0.113.9:5000", "10.1.2.3:8000", 0, 90, time.Minute, false) }, 0, 0},
		{"a bound beyond all numbers", func(c *Config) { c.Bytes, c.Serving = 1<<63, 1<<63 },
			func(w *net) { w.send("203.0.113.9:5000", "10.1.2.3:8000", 0, 5000, time.Minute, false) }, 0, 0},
		{"a name that only ends alike", func(c *Config) { c.Allow = []string{"models.example"} }, func(w *net) {
			w.bus.Publish(&dns.Transaction{Query: "evilmodels.example", Answered: true, Answers: []dns.Answer{{Name: "evilmodels.example", Type: 1, Addr: netip.MustParseAddr("198.51.100.77")}}})
			w.send(in, out, 120, 0, time.Minute, false)
		}, detectors.Medium, 1},
		{"a destination in use for days has a higher bar", nil, func(w *net) {
			for range 8 {
				w.send(in, out, 1, 0, time.Minute, false)
				w.now = w.now.Add(5 * time.Hour)
			}
			w.send(in, out, 300, 0, time.Minute, false)
		}, 0, 0},
		{"and over that bar it is found", nil, func(w *net) {
			for range 8 {
				w.send(in, out, 1, 0, time.Minute, false)
				w.now = w.now.Add(5 * time.Hour)
			}
			w.send(in, out, 600, 0, time.Minute, false)
		}, detectors.Medium, 1},
		{"no more than was sent to it in each window before", func(c *Config) { c.Day = 0 }, func(w *net) {
			for range 14 {
				w.send(in, out, 95, 0, 5*time.Minute, false)
				w.now = w.now.Add(5 * time.Minute)
			}
			w.now = w.now.Add(10 * time.Minute)
			w.send(in, out, 140, 0, time.Minute, false)
		}, 0, 0},
		{"more than was ever usual", func(c *Config) { c.Day = 0 }, func(w *net) {
			for range 14 {
				w.send(in, out, 95, 0, 5*time.Minute, false)
				w.now = w.now.Add(5 * time.Minute)
			}
			w.send(in, out, 250, 0, time.Minute, false)
		}, detectors.Medium, 1},
		{"a new destination gets what others get all the time", nil, func(w *net) {
			for i := range 14 {
				w.send(in, fmt.Sprintf("203.0.%d.7:443", i+1), 95, 0, 5*time.Minute, false)
				w.now = w.now.Add(5 * time.Minute)
			}
			w.send(in, out, 120, 0, time.Minute, false)
		}, detectors.Low, 1},
		{"a few windows teach nothing", nil, func(w *net) {
			for range minWindows - 2 {
				w.send(in, out, 95, 0, 5*time.Minute, false)
				w.now = w.now.Add(5 * time.Minute)
			}
			w.send(in, out, 140, 0, time.Minute, false)
		}, detectors.Medium, 1},
		{"much that was served teaches nothing about what is pushed", nil, func(w *net) {
			for range 14 {
				w.send(out, in, 0, 500, 5*time.Minute, false)
				w.now = w.now.Add(5 * time.Minute)
			}
			w.send(in, out, 600, 0, time.Minute, false)
		}, detectors.Medium, 1},
		{"the next day it is said again", nil, func(w *net) {
			w.send(in, out, 120, 0, time.Minute, false)
			w.now = w.now.Add(day)
			w.send(in, out, 120, 0, time.Minute, false)
		}, detectors.Medium, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Default()
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			w := newNet(t, cfg)
			tt.do(w)
			if len(w.said) != tt.said {
				t.Fatalf("said %d times, want %d", len(w.said), tt.said)
			}
			for _, f := range w.said {
				if f.Msg == "" || len(f.Evidence) == 0 || f.Packet == 0 {
					t.Errorf("incomplete: %+v", f)
				}
			}
			if tt.said > 0 && w.said[tt.said-1].Severity != tt.severity {
				t.Errorf("severity %s, want %s", w.said[tt.said-1].Severity, tt.severity)
			}
		})
	}
}

// TestSentences: figures must be those of the window, also for a pair that has been trickling for hours.
func TestSentences(t *testing.T) {
	const in, out = "10.20.0.11:40000", "198.51.100.77:9001"
	for _, tt := range []struct {
		name string
		do   func(w *net)
		want string
	}{
		{"one flow", func(w *net) { w.send(in, out, 120, 0, 3*time.Minute, false) },
			"10.20.0.11 sent 101 MB to 198.51.100.77 in 2 minutes over 1 flow (bound 100 MB in 10 minutes)"},
		{"three flows", func(w *net) {
			for range 3 {
				w.send(in, out, 38, 0, 3*time.Minute, false)
			}
		}, "10.20.0.11 sent 100 MB to 198.51.100.77 in 8 minutes over 3 flows (bound 100 MB in 10 minutes)"},
		{"after hours of a little over many flows", func(w *net) {
			for range 60 {
				w.send(in, out, 1, 0, 3*time.Minute, false)
			}
			w.send(in, out, 400, 0, time.Minute, false)
		}, "10.20.0.11 sent 103 MB to 198.51.100.77 in 10 minutes over 5 flows (bound 100 MB in 10 minutes)"},
		{"many flows", func(w *net) {
			for range 120 {
				w.send(in, out, 1, 0, time.Second, false)
			}
		}, "10.20.0.11 sent 100 MB to 198.51.100.77 in 100 seconds over more than 32 flows (bound 100 MB in 10 minutes)"},
		{"at once", func(w *net) { w.progress(in, out, 2e9) },
			"10.20.0.11 sent 2.0 GB to 198.51.100.77 in 1 second over 1 flow (bound 100 MB in 10 minutes)"},
		{"served", func(w *net) { w.send("203.0.113.9:5000", "10.1.2.3:8000", 0, 1100, time.Minute, false) },
			"10.1.2.3 served 1.0 GB to 203.0.113.9 in 54 seconds over 1 flow (bound 1.0 GB in 10 minutes)"},
		{"a name from DNS", func(w *net) { w.looked("drop.example", "198.51.100.77"); w.progress(in, out, 1e8) },
			"10.20.0.11 sent 100 MB to 198.51.100.77 (drop.example) in 1 second over 1 flow (bound 100 MB in 10 minutes)"},
		{"a name by its own word", func(w *net) {
			w.bus.Publish(&http.Transaction{Flow: &capture.Flow{Resp: netip.MustParseAddrPort(out)}, Request: &http.Request{Header: http.Header{{Name: "Host", Value: "Drop.example:9001"}}}})
			w.progress(in, out, 1e8)
		}, "10.20.0.11 sent 100 MB to 198.51.100.77 (called drop.example) in 1 second over 1 flow (bound 100 MB in 10 minutes)"},
	} {
		w := newNet(t, Default())
		tt.do(w)
		if len(w.said) != 1 || w.said[0].Msg != tt.want {
			t.Errorf("%s: said %d times, %q, want %q", tt.name, len(w.said), w.said[0].Msg, tt.want)
		}
	}
}

func TestGuessedDirectionLowersConfidence(t *testing.T) {
	sure, guessed := newNet(t, Default()), newNet(t, Default())
	sure.send("10.1.2.3:40000", "198.51.100.77:443", 120, 0, time.Minute, false)
	guessed.send("10.1.2.3:40000", "198.51.100.77:443", 120, 0, time.Minute, true)
	if s, g := sure.said[0].Confidence, guessed.said[0].Confidence; g >= s {
		t.Errorf("confidence %d guessed, %d sure", g, s)
	}
}

func TestSettingsThatMakeNoSense(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(c *Config)
		ok   bool
	}{
		{"defaults", func(*Config) {}, true},
		{"networks and names", func(c *Config) { c.Allow = []string{"10.0.0.0/8", "2001:db8::1", "models.example", ".s3.example."} }, true},
		{"no bound", func(c *Config) { c.Bytes = 0 }, false},
		{"no window", func(c *Config) { c.Window = 0 }, false},
		{"network with a typing error", func(c *Config) { c.Allow = []string{"10.0.0.0/33"} }, false},
		{"address with a typing error", func(c *Config) { c.Allow = []string{"10.0.0.256"} }, false},
		{"everything", func(c *Config) { c.Allow = []string{"."} }, false},
		{"URL", func(c *Config) { c.Allow = []string{"https://models.example"} }, false},
	} {
		c := Default()
		tt.set(&c)
		if err := settings().Check(&c); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestTablesAreBounded(t *testing.T) {
	w := newNet(t, Default())
	for i := range maxPairs + 1000 {
		a := netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
		w.bus.Publish(&capture.Progress{At: capture.At{Time: w.now, Packet: 1}, Bytes: [2]uint64{1, 0},
			Flow: &capture.Flow{Orig: netip.MustParseAddrPort("10.0.0.1:1"), Resp: netip.AddrPortFrom(a, 1)}})
	}
	w.send("10.20.0.11:40000", "198.51.100.77:9001", 120, 0, time.Minute, false)
	if len(w.said) != 1 {
		t.Error("a full table refused the new")
	}
}

// What leaves slowly has the bound of a day: for one destination, and for one network.
func TestPerDay(t *testing.T) {
	const in, out = "10.1.2.3:40000", "198.51.100.77:443"
	trickle := func(w *net, from, to string, mb uint64, times int, every time.Duration) {
		for range times {
			w.send(from, to, mb, 0, time.Minute, false)
			w.now = w.now.Add(every - time.Minute)
		}
	}
	for _, x := range []struct {
		says  string
		cfg   func(c *Config)
		do    func(w *net)
		sev   detectors.Severity
		said  int
		words string
	}{
		{"60 MB an hour", nil, func(w *net) { trickle(w, in, out, 60, 20, time.Hour) }, detectors.Medium, 1, "10.1.2.3 sent 1.0 GB to 198.51.100.77 within a day, little at a time (bound 1.0 GB in a day)"},
		{"for days, said once", nil, func(w *net) { trickle(w, in, out, 60, 90, time.Hour) }, detectors.Medium, 1, "within a day"},
		{"30 MB an hour", nil, func(w *net) { trickle(w, in, out, 30, 60, time.Hour) }, 0, 0, ""},
		{"a gigabyte over two days", nil, func(w *net) { trickle(w, in, out, 50, 22, 2*time.Hour) }, 0, 0, ""},
		{"not looked at", func(c *Config) { c.Day = 0 }, func(w *net) { trickle(w, in, out, 60, 20, time.Hour) }, 0, 0, ""},
		{"said of a window before, and no ten times as much", nil, func(w *net) {
			w.send(in, out, 120, 0, time.Minute, false)
			w.now = w.now.Add(time.Hour)
			trickle(w, in, out, 60, 16, time.Hour)
		}, detectors.Medium, 1, "bound 100 MB in 10 minutes"},
		{"a collector that three machines report to", nil, func(w *net) {
			w.send("10.1.2.4:40000", out, 1, 0, time.Minute, false)
			w.send("10.1.2.5:40000", out, 1, 0, time.Minute, false)
			trickle(w, in, out, 60, 20, time.Hour)
		}, detectors.Low, 1, "within a day"},
		{"a store", nil, func(w *net) {
			w.looked("bucket.s3.amazonaws.com", "198.51.100.77")
			trickle(w, in, out, 60, 20, time.Hour)
		}, detectors.Low, 1, "s3.amazonaws.com"},
		{"served to an only client, slowly", nil, func(w *net) {
			for range 20 {
				w.send("203.0.113.9:5000", "10.1.2.3:8000", 0, 600, time.Minute, false)
				w.now = w.now.Add(time.Hour)
			}
		}, detectors.Medium, 1, "served 10 GB"},
		{"a network of rented hosts", nil, func(w *net) {
			for i := range 20 {
				trickle(w, in, fmt.Sprintf("198.51.100.%d:443", 10+i), 60, 1, time.Hour)
			}
		}, detectors.Medium, 1, "8 or more hosts of 198.51.100.0/24 within a day"},
		{"IPv6", nil, func(w *net) {
			for i := range 20 {
				trickle(w, "[fd00::1]:4000", fmt.Sprintf("[2001:db8:1:%x::9]:443", i), 60, 1, time.Hour)
			}
		}, detectors.Medium, 1, "2001:db8:1::/48"},
		{"twenty networks", nil, func(w *net) {
			for i := range 20 {
				trickle(w, in, fmt.Sprintf("198.51.%d.7:443", 10+i), 60, 1, time.Hour)
			}
		}, 0, 0, ""},
		{"a network that others use", nil, func(w *net) {
			for i := range 20 {
				to := fmt.Sprintf("198.51.100.%d:443", 10+i)
				w.send("10.1.2.4:40000", to, 1, 0, time.Second, false)
				trickle(w, in, to, 60, 1, time.Hour)
			}
		}, 0, 0, ""},
	} {
		cfg := Default()
		if x.cfg != nil {
			x.cfg(&cfg)
		}
		w := newNet(t, cfg)
		x.do(w)
		if len(w.said) != x.said {
			t.Errorf("%s: said %d times", x.says, len(w.said))
			for _, f := range w.said {
				t.Log(f.Severity, f.Msg)
			}
			continue
		}
		if x.said > 0 {
			if f := w.said[0]; f.Severity != x.sev || !strings.Contains(f.Msg, x.words) {
				t.Errorf("%s: %s %q", x.says, f.Severity, f.Msg)
			}
		}
	}
}

func TestUsual(t *testing.T) {
	var h habit
	for i, n := range []uint64{10, 10, 12, 9, 11, 10, 200, 10, 8, 10, 12} {
		h.most(capture.Time(i), n*1e6)
	}
	if _, ok := h.usual(6); ok {
		t.Error("ten windows and a current one are too few")
	}
	h.most(50, 10e6)
	h.most(51, 1)
	h.turn(52)
	u, ok := h.usual(6)
	// 13 windows: median 10 MB, deviations 0 0 0 0 0 0 1 1 2 2 2 10 190: MAD 1 MB.
	if !ok || u.median != 10e6 || u.mad != 1e6 || u.bar != 16e6 || u.windows != 13 {
		t.Errorf("%+v", u)
	}
	for i := range 3 * pastWindows {
		h.most(capture.Time(100+i), 50e6)
	}
	if u, _ = h.usual(6); u.median != 50e6 || u.mad != 5e6 || u.windows != pastWindows {
		t.Errorf("%+v after many equal windows", u)
	}
}

// What is cut over many new destinations has one bound; a cloud's store with many addresses in few networks has not.
func TestSpread(t *testing.T) {
	for _, x := range []struct {
		says string
		addr func(i int) string
		want bool
	}{
		{"twelve networks", func(i int) string { return fmt.Sprintf("%d.40.113.7", 23+i) }, true},
		{"two networks", func(i int) string { return fmt.Sprintf("52.%d.1.%d", 216+i%2, i) }, false},
	} {
		home := detectortest.Home()
		found := 0
		bus := detectors.NewBus(func(*detectors.Finding) { found++ })
		Spec().New(&detectors.Env{Home: home}, bus)
		for i := range 12 {
			f := &capture.Flow{UID: fmt.Sprint(i), Orig: netip.MustParseAddrPort("10.20.0.10:40000"), Resp: netip.AddrPortFrom(netip.MustParseAddr(x.addr(i)), 443)}
			bus.Publish(&capture.Progress{At: capture.At{Time: capture.Time(i+1) * 10e9}, Flow: f, Bytes: [2]uint64{9_960_000, 0}})
		}
		if (found > 0) != x.want {
			t.Errorf("%s: %d findings", x.says, found)
		}
	}
}
