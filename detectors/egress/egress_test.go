package egress

import (
	"net/netip"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
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
	home, err := detectors.ParseNetworks(detectors.DefaultHome)
	if err != nil {
		t.Fatal(err)
	}
	w := &net{now: 1_700_000_000e9}
	w.bus = detectors.NewBus(func(f *detectors.Finding) { w.said = append(w.said, f) })
	Spec().New(&detectors.Env{Home: home, Settings: map[string]any{"egress": &cfg}}, w.bus)
	return w
}

// send moves mb megabytes up and down over one flow, evenly over d, in a hundred steps.
func (w *net) send(orig, resp string, up, down uint64, d time.Duration, guessed bool) {
	w.n++
	f := &capture.Flow{UID: "C" + string(rune('a'+w.n%26)), Orig: netip.MustParseAddrPort(orig), Resp: netip.MustParseAddrPort(resp), Proto: capture.ProtoTCP, Start: w.now}
	for range 100 {
		w.n++
		w.bus.Publish(&capture.Progress{At: capture.At{Time: w.now, Packet: w.n}, Flow: f, Bytes: [2]uint64{up * 1e4, down * 1e4}, Guessed: guessed})
		w.now = w.now.Add(d / 100)
	}
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

func TestSentence(t *testing.T) {
	w := newNet(t, Default())
	w.send("10.20.0.11:40000", "198.51.100.77:9001", 120, 0, 3*time.Minute, false)
	const want = "10.20.0.11 sent 101 MB to 198.51.100.77 in 2 minutes over 1 flow (bound 100 MB in 10 minutes)"
	if len(w.said) != 1 || w.said[0].Msg != want {
		t.Errorf("said %q, want %q", w.said[0].Msg, want)
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
