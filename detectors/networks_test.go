package detectors

import (
	"net/netip"
	"testing"
)

// TestContainsIsNetip: the masks say what netip says, at the edges of every length.
func TestContainsIsNetip(t *testing.T) {
	for bits := 0; bits <= 32; bits++ {
		p := netip.PrefixFrom(netip.MustParseAddr("172.20.77.129"), bits)
		n, err := ParseNetworks([]string{p.String(), "fd00::/9"})
		if err != nil {
			t.Fatal(err)
		}
		first := p.Masked().Addr()
		last := first.As4()
		for i := bits; i < 32; i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		for _, a := range []netip.Addr{first, first.Prev(), netip.AddrFrom4(last), netip.AddrFrom4(last).Next(), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fe00::1")} {
			if !a.IsValid() {
				continue
			}
			want := a.Is4() && p.Contains(a) || a == netip.MustParseAddr("fd00::1")
			if got := n.Contains(a); got != want {
				t.Errorf("%v in %v: %v", a, p, got)
			}
			if a.Is4() && n.Contains(netip.AddrFrom16(a.As16())) != want {
				t.Errorf("%v as IPv6 in %v: %v", a, p, !want)
			}
		}
	}
}

func BenchmarkContains(b *testing.B) {
	n, _ := ParseNetworks(DefaultHome)
	a := netip.MustParseAddr("198.51.100.7")
	for b.Loop() {
		n.Contains(a)
	}
}
