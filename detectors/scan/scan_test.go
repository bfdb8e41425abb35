package scan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/ray"
)

// net is a detector with a clock and a list of what it said, without what an hour suppresses.
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
	Spec().New(&detectors.Env{Home: home, Settings: map[string]any{"scan": &cfg}}, w.bus)
	return w
}

// History by state, as the flow table writes it.
var history = map[string]string{"S0": "S", "REJ": "Sr", "SF": "ShADadFf", "half": "ShR", "RSTO": "ShADadR", "oneway": "SAD", "OTH": "DdA"}

func (w *net) conn(src, dst string, port int, state string) {
	w.n++
	w.now = w.now.Add(100 * time.Millisecond)
	c := &capture.Conn{
		At: capture.At{Time: w.now, Packet: w.n}, State: state, History: history[state],
		Flow: &capture.Flow{
			UID: fmt.Sprint("C", w.n), Start: w.now, Proto: capture.ProtoTCP,
			Orig: netip.AddrPortFrom(netip.MustParseAddr(src), 40000),
			Resp: netip.AddrPortFrom(netip.MustParseAddr(dst), uint16(port)),
		},
	}
	switch state {
	case "half":
		c.State = "RSTO"
	case "oneway":
		c.State = "S0"
	}
	w.bus.Publish(c)
}

// job has a stranger give a machine one.
func (w *net) job(to string) {
	w.bus.Publish(&ray.Call{At: capture.At{Time: w.now, Packet: w.n}, Job: true, Outcome: ray.Executed, Flow: &capture.Flow{
		Orig: netip.AddrPortFrom(netip.MustParseAddr(stranger), 40000), Resp: netip.AddrPortFrom(netip.MustParseAddr(to), 8265),
	}})
}

func ip(prefix string, i int) string { return fmt.Sprint(prefix, ".", i+1) }

const (
	stranger = "203.0.113.90"
	node     = "10.20.0.11"
	inside   = "10.20.0"
	outside  = "198.51.100"
)

func TestScans(t *testing.T) {
	tests := []struct {
		name  string
		do    func(w *net)
		hosts string // severity of scan/hosts, "" if it must be silent
		ports string
	}{
		{"a stranger fails at three hosts on Ray's ports", func(w *net) {
			for i := range 3 {
				w.conn(stranger, ip(inside, i), 8265, "REJ")
			}
		}, "medium", ""},
		{"a stranger's half-open sweep finds only open ports", func(w *net) {
			for i := range 4 {
				w.conn(stranger, ip(inside, i), 52365, "half")
			}
		}, "medium", ""},
		{"a stranger fails at four hosts on other ports", func(w *net) {
			for i := range 4 {
				w.conn(stranger, ip(inside, i), 445, "S0")
			}
		}, "low", ""},
		{"and it is worse when something answered", func(w *net) {
			for i := range 5 {
				w.conn(stranger, ip(inside, i), 445, "S0")
			}
			w.conn(stranger, ip(inside, 7), 445, "SF")
		}, "medium", ""},
		{"a stranger tries five ports of one host", func(w *net) {
			for i := range 5 {
				w.conn(stranger, node, 20+i, "REJ")
			}
		}, "", "low"},
		{"a worm looks for Ray outside", func(w *net) {
			for i := range 5 {
				w.conn(node, ip(outside, i), 8265, "S0")
			}
		}, "high", ""},
		{"a home machine sweeps outside on another port", func(w *net) {
			for i := range 15 {
				w.conn(node, ip(outside, i), 22, "S0")
			}
		}, "medium", ""},
		{"a home machine sweeps its own network", func(w *net) {
			for i := range 40 {
				w.conn(node, ip(inside, i+20), 22, "REJ")
			}
		}, "medium", ""},
		{"a home machine looks for Ray at home", func(w *net) {
			for i := range 20 {
				w.conn(node, ip(inside, i+20), 8265, "REJ")
			}
		}, "medium", ""},
		{"a few machines, after a job from outside", func(w *net) {
			w.job(node)
			for i := range 12 {
				w.conn(node, ip(inside, i+20), 22, "REJ")
			}
		}, "medium", ""},
		{"a machine whose neighbours answer sweeps others", func(w *net) {
			for i := range 12 {
				w.conn(node, ip(inside, i+20), 22, "SF")
			}
			for i := range 40 {
				w.conn(node, ip("10.20.9", i), 22, "S0")
			}
		}, "medium", ""},
		{"nothing gets out, and SSH is tried", func(w *net) {
			for i := range 20 {
				w.conn(node, ip(outside, i), 22, "S0")
			}
		}, "medium", ""},
		{"services of one machine, those of a list", func(w *net) {
			for _, p := range []int{21, 22, 23, 25, 80, 110, 111, 135, 139, 143, 443, 445, 993, 995, 1723, 3306, 3389, 5900, 8080} {
				w.conn(node, "10.20.0.99", p, "REJ")
			}
		}, "", "medium"},
		{"many ports of one machine in a row", func(w *net) {
			for i := range 60 {
				w.conn(node, "10.20.0.99", 2000+i, "REJ")
			}
		}, "", "medium"},

		{"printers that sleep", func(w *net) {
			for range 2 {
				for i := range 12 {
					w.conn(node, ip("10.20.5", i+10), 9100, "S0")
				}
			}
		}, "low", ""},
		{"laptops, of which most are off", func(w *net) {
			for i := range 50 {
				state := "S0"
				if i%4 == 0 {
					state = "SF"
				}
				w.conn(node, ip("10.20.4", i+10), 10050, state)
				w.now = w.now.Add(5 * time.Second)
			}
		}, "low", ""},
		{"clusters that are suspended", func(w *net) {
			for range 10 {
				for i := range 8 {
					w.conn(node, ip("10.20.2", i+10), 8265, "REJ")
				}
			}
		}, "low", ""},
		{"nodes that answered and were taken away", func(w *net) {
			for i := range 60 {
				w.conn(node, ip(inside, i+20), 52365, "SF")
			}
			for range 5 {
				for i := range 60 {
					w.conn(node, ip(inside, i+20), 52365, "S0")
					w.conn(node, ip(inside, i+20), 10002+i*13, "REJ")
				}
			}
		}, "", ""},
		{"workers of nodes that were gone before", func(w *net) {
			for i := range 40 {
				w.conn(node, ip(inside, i%12+20), 10002+i*31, "REJ")
			}
		}, "", ""},
		{"a dead node's workers", func(w *net) {
			for i := range 40 {
				w.conn(node, "10.20.0.99", 10002+i*31, "REJ")
			}
		}, "", "low"},
		{"a range that is looked through for a free port", func(w *net) {
			for i := range 31 {
				w.conn(node, "10.20.0.99", 9000+i, "REJ")
			}
		}, "", "low"},
		{"a node without a way out", func(w *net) {
			for i := range 60 {
				w.conn(node, ip(outside, i), 443, "S0")
			}
		}, "low", ""},
		{"a file-sharing program on its own port", func(w *net) {
			w.conn(node, ip(outside, 200), 443, "SF")
			for i := range 60 {
				w.conn(node, ip(outside, i), 6881, "S0")
			}
		}, "low", ""},
		{"a machine of good name is broken into", func(w *net) {
			for i := range 40 {
				w.conn(node, ip(inside, i+20), 22, "SF")
			}
			for i := range 60 {
				w.conn(node, ip(inside, i+100), 22, "S0")
			}
		}, "medium", ""},
		{"random hosts and ports at home", func(w *net) {
			for i := range 30 {
				w.conn(node, ip(inside, i%5+20), 1000+i, "REJ")
			}
		}, "medium", ""},
		{"a home machine tries the ports of another", func(w *net) {
			for i := range 15 {
				w.conn(node, "10.20.0.99", 1000+i, "REJ")
			}
		}, "", "medium"},
		{"an outsider at the ports of Ray, of which it only has one wrong", func(w *net) {
			for i := range 20 {
				w.conn(stranger, ip(inside, i), 8265, "SF")
			}
			w.conn(stranger, ip(inside, 30), 8265, "S0")
		}, "", ""},

		{"a load balancer's half-open health checks", func(w *net) {
			for i := range 50 {
				w.conn("10.20.0.5", ip(inside, i+20), 8000, "half")
			}
		}, "", ""},
		{"Prometheus, with some targets gone", func(w *net) {
			for i := range 100 {
				state := "SF"
				if i%10 == 0 {
					state = "S0"
				}
				w.conn("10.20.0.6", ip(inside, i+20), 8080, state)
			}
		}, "", ""},
		{"a head that talks to nodes that are gone", func(w *net) {
			for i := range 9 {
				w.conn("10.20.0.10", ip(inside, i+20), 10002+i*7, "S0")
				w.conn("10.20.0.10", ip(inside, i+20), 10002+i*7, "S0")
			}
		}, "", ""},
		{"a proxy with many users, some sites are down", func(w *net) {
			for i := range 200 {
				state := "SF"
				if i%6 == 0 {
					state = "S0"
				}
				w.conn("10.20.0.30", ip(outside, i), 443, state)
			}
		}, "", ""},
		{"peers of a file-sharing program, each on its port", func(w *net) {
			for i := range 200 {
				w.conn(node, ip(outside, i), 20000+i*11, "S0")
			}
		}, "", ""},
		{"one dead server, tried again and again", func(w *net) {
			for range 500 {
				w.conn(node, ip(outside, 1), 443, "S0")
			}
		}, "", ""},
		{"only one direction passes the tap", func(w *net) {
			for i := range 50 {
				w.conn(stranger, ip(inside, i), 443, "oneway")
			}
		}, "", ""},
		{"picked up mid-stream", func(w *net) {
			for i := range 50 {
				w.conn(stranger, ip(inside, i), 8265, "OTH")
			}
		}, "", ""},
		{"slower than the window", func(w *net) {
			for i := range 50 {
				w.conn(stranger, ip(inside, i), 8265, "S0")
				w.now = w.now.Add(20 * time.Minute)
			}
		}, "", ""},
		{"between strangers", func(w *net) {
			for i := range 50 {
				w.conn(stranger, ip(outside, i), 8265, "S0")
			}
		}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newNet(Default())
			tt.do(w)
			got := map[string]string{}
			for _, f := range w.said {
				got[f.Rule] = f.Severity.String()
				if f.Msg == "" || len(f.Evidence) == 0 || f.Flow == nil || f.Packet == 0 {
					t.Errorf("incomplete: %+v", f)
				}
			}
			if got[ruleHosts] != tt.hosts || got[rulePorts] != tt.ports {
				for _, f := range w.said {
					t.Log(f.Severity, f.Msg)
				}
				t.Errorf("hosts %q, want %q; ports %q, want %q", got[ruleHosts], tt.hosts, got[rulePorts], tt.ports)
			}
		})
	}
}

func TestAllowed(t *testing.T) {
	cfg := Default()
	cfg.Allow = []string{"203.0.113.0/24"}
	w := newNet(cfg)
	for i := range 50 {
		w.conn(stranger, ip(inside, i), 8265, "S0")
	}
	if len(w.said) > 0 {
		t.Errorf("said %q", w.said[0].Msg)
	}
}

func TestSentenceNamesWhatAnswered(t *testing.T) {
	w := newNet(Default())
	w.conn(stranger, ip(inside, 0), 8265, "half")
	w.conn(stranger, ip(inside, 1), 22, "REJ")
	w.conn(stranger, ip(inside, 2), 22, "REJ")
	w.conn(stranger, ip(inside, 3), 22, "REJ")
	if len(w.said) == 0 {
		t.Fatal("nothing said")
	}
	const want = "203.0.113.90 tried 4 hosts on 2 ports in 1 second: 3 of 4 failed; Ray's ports answered: 10.20.0.1:8265"
	if w.said[0].Msg != want || w.said[0].Outcome != detectors.Succeeded {
		t.Errorf("said %q", w.said[0].Msg)
	}
}

func TestOpenRayIsSaidOnceMore(t *testing.T) {
	w := newNet(Default())
	for i := range 10 {
		w.conn(stranger, ip(inside, i), 8265, "REJ")
	}
	for range 3 {
		w.conn(stranger, node, 52365, "SF")
		w.conn(stranger, "10.20.0.77", 52365, "SF")
	}
	if len(w.said) != 2 || !strings.Contains(w.said[1].Msg, "found port 52365 (Ray) of 10.20.0.11 open") {
		for _, f := range w.said {
			t.Log(f.Msg)
		}
		t.Errorf("said %d times", len(w.said))
	}
}

func TestTablesAreBounded(t *testing.T) {
	w := newNet(Default())
	for i := range maxSources + 1000 {
		w.conn(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}).String(), node, 443, "S0")
	}
	for i := range 10 * maxContacts {
		w.conn(stranger, ip("10.20."+fmt.Sprint(i/200), i%200), 8265, "S0")
	}
	if len(w.said) != 1 {
		t.Error("a full table refused the new")
	}
}

func TestConfigCheck(t *testing.T) {
	c := Default()
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	c.Scanner = 0.9
	if c.Check() == nil {
		t.Error("a scanner that succeeds more often than others was accepted")
	}
}
