package capture

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// newTestShunt makes the maps, or skips the test where they may not be made.
func newTestShunt(t *testing.T) *shunt {
	t.Helper()
	s, err := newShunt(func(f string, a ...any) { t.Errorf(f, a...) })
	if err != nil {
		t.Skip("no BPF here: ", err)
	}
	t.Cleanup(s.close)
	return s
}

// TestShuntPrograms: the kernel takes the program for every kind of interface and filter.
func TestShuntPrograms(t *testing.T) {
	s := newTestShunt(t)
	for _, link := range []uint16{linkEthernet, linkRaw} {
		for _, xdp := range []bool{false, true} {
			for _, expr := range []string{"", "tcp", "host 10.0.0.1 and not port 22", "ip[ip[0]&0xf*4] > 3 or ip6 or vlan 3 and tcp[2]/ip[3] = 2", "less 100 or ip[2:2] - (ip[0] & 15)*4 > 5"} {
				f, err := CompileFilter(expr, link)
				if err != nil {
					if strings.Contains(expr, "vlan") && link != linkEthernet {
						continue
					}
					t.Fatal(err)
				}
				code := f.Program()
				if expr == "" || xdp {
					code = nil
				}
				p, err := s.load(link, false, xdp, code, 65535)
				if err != nil {
					t.Errorf("link %d, XDP %v, filter %q: %+v", link, xdp, expr, err)
					if v, ok := err.(*ebpf.VerifierError); ok {
						n := max(len(v.Log)-30, 0)
						t.Log(strings.Join(v.Log[n:], "\n"))
					}
					return
				}
				p.Close()
			}
		}
	}
}
