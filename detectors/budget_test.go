package detectors

import (
	"net/netip"
	"testing"

	"github.com/raytap/raytap/capture"
)

// TestBudget: one takes half at most, another half of the rest, time gives it back, and time that runs backwards does not.
func TestBudget(t *testing.T) {
	b := Budget{Full: 1000, Refill: 100}
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	take := func(second int, who netip.Addr, units int64) (n int64) {
		for b.Take(capture.Time(second)*1e9, who, units) {
			n += units
		}
		return n
	}
	for _, step := range []struct {
		second int
		who    netip.Addr
		want   int64
	}{{10, one, 500}, {10, one, 0}, {10, two, 250}, {9, one, 0}, {15, two, 380}, {60, one, 500}} {
		if got := take(step.second, step.who, 10); got != step.want {
			t.Errorf("second %d, %s: %d, want %d", step.second, step.who, got, step.want)
		}
	}
	if b.Denied != 6 {
		t.Errorf("%d denied", b.Denied)
	}
}
