package detectors

import (
	"net/netip"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
)

func TestSuppressor(t *testing.T) {
	var said []*Finding
	s := NewSuppressor(func(f *Finding) { said = append(said, f) })
	at := func(after time.Duration, sev Severity, out Outcome, dst string) *Finding {
		f := &Finding{At: capture.At{Time: capture.Time(1e18).Add(after)}, Rule: "a/b", Severity: sev, Outcome: out,
			Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr(dst)}
		s.Report(f)
		return f
	}
	first := at(0, Medium, Attempted, "10.0.0.2")
	at(time.Minute, Medium, Attempted, "10.0.0.2")
	at(2*time.Minute, Low, Attempted, "10.0.0.2")
	if len(said) != 1 || first.Count != 3 {
		t.Fatalf("said %d, counted %d: the same within the hour is counted", len(said), first.Count)
	}
	at(3*time.Minute, High, Attempted, "10.0.0.2")
	if len(said) != 2 {
		t.Error("more severe than before is said again")
	}
	at(4*time.Minute, High, Succeeded, "10.0.0.2")
	if len(said) != 3 {
		t.Error("a success after an attempt is said again")
	}
	at(5*time.Minute, Low, Attempted, "10.0.0.3")
	if len(said) != 4 {
		t.Error("another destination is another finding")
	}
	at(2*time.Hour, High, Succeeded, "10.0.0.2")
	if len(said) != 5 {
		t.Error("after the hour it is said again")
	}
}
