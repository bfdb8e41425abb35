package detectors

import (
	"net/netip"
	"testing"

	"github.com/raytap/raytap/capture"
)

func TestFindingsThatDifferHaveDifferentNames(t *testing.T) {
	base := func() *Finding {
		return &Finding{At: capture.At{Time: 1700000000_000000001, Packet: 7}, Rule: "a/b", Severity: High, Outcome: Attempted,
			Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Port: 8265, Flow: &capture.Flow{UID: "Cx"}}
	}
	want := base().ID()
	if len(want) != 18 || want[0] != 'R' {
		t.Errorf("name %q", want)
	}
	for what, change := range map[string]func(*Finding){
		"ordinal": func(f *Finding) { f.Packet = 9 },
		"count":   func(f *Finding) { f.Count = 9 },
		"tick":    func(f *Finding) { f.Time += 1e9 },
		"message": func(f *Finding) { f.Msg = "told in other words" },
	} {
		f := base()
		if change(f); f.ID() != want {
			t.Errorf("the %s is no part of what a finding is", what)
		}
	}
	for what, change := range map[string]func(*Finding){
		"rule":     func(f *Finding) { f.Rule = "a/c" },
		"time":     func(f *Finding) { f.Time += capture.Time(SuppressFor) },
		"severity": func(f *Finding) { f.Severity = Critical },
		"outcome":  func(f *Finding) { f.Outcome = Succeeded },
		"src":      func(f *Finding) { f.Src = f.Dst },
		"dst":      func(f *Finding) { f.Dst = f.Src },
		"port":     func(f *Finding) { f.Port = 1 },
		"flow":     func(f *Finding) { f.Flow = nil },
		"key":      func(f *Finding) { f.Key = "x" },
	} {
		f := base()
		if change(f); f.ID() == want {
			t.Errorf("another %s, but the same name", what)
		}
	}
}

// TestNameOfManyFlows: what many flows show has one name, whichever of them came last.
func TestNameOfManyFlows(t *testing.T) {
	f := &Finding{At: capture.At{Time: 1700000000e9}, Rule: "scan/hosts", Key: "x", Many: true,
		Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Flow: &capture.Flow{UID: "Cx"}}
	want := f.ID()
	f.Dst, f.Port, f.Flow = netip.MustParseAddr("10.0.0.3"), 22, &capture.Flow{UID: "Cy", Start: 1690000000e9}
	if got := f.ID(); got != want {
		t.Errorf("%s, and was %s", got, want)
	}
	if f.Key = "y"; f.ID() == want {
		t.Error("another key, but the same name")
	}
}
