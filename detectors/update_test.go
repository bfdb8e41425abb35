package detectors

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
)

// repeats has a Suppressor hear the same finding n times, each after a pause, and tick every ten seconds.
func repeats(n int, pause time.Duration) (said []*Finding, again []Update) {
	s := NewSuppressor(func(f *Finding) { said = append(said, f) })
	s.Again = func(u *Update) { again = append(again, *u) }
	begin := capture.Time(1e18)
	ticked := begin
	for i := range n {
		at := begin.Add(time.Duration(i) * pause)
		for ; ticked < at; ticked = ticked.Add(10 * time.Second) {
			s.Tick(capture.At{Time: ticked})
		}
		s.Report(&Finding{At: capture.At{Time: at, Packet: uint64(i)}, Rule: "a/b", Severity: Medium, Outcome: Attempted,
			Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")})
	}
	s.Flush()
	return said, again
}

// TestRepeatsAreTold: a finding that is seen again is told of with its number, under its name, at a cost that does not grow
// with it.
func TestRepeatsAreTold(t *testing.T) {
	said, again := repeats(1, 0)
	if len(said) != 1 || len(again) != 0 {
		t.Fatalf("once: said %d, told again %d", len(said), len(again))
	}
	said, again = repeats(2, time.Second)
	if len(said) != 1 || len(again) != 1 || again[0].Count != 2 || again[0].Revision != 2 || again[0].ID() != said[0].ID() || again[0].Was != Medium {
		t.Fatalf("twice: %+v", again)
	}
	if again[0].Time != said[0].Time.Add(time.Second) {
		t.Error("the time is not that of the repetition")
	}
	said, again = repeats(8000, 400*time.Millisecond) // within the hour
	if len(said) != 1 || len(again) < 3 || len(again) > 14 {
		t.Fatalf("8000 times: said %d, told again %d", len(said), len(again))
	}
	for i, u := range again {
		if u.Revision != i+2 || u.ID() != said[0].ID() || i > 0 && u.Count <= again[i-1].Count {
			t.Errorf("%d: revision %d of %s, %d times", i, u.Revision, u.ID(), u.Count)
		}
	}
	if last := again[len(again)-1]; last.Count != 8000 {
		t.Errorf("%d times in the end", last.Count)
	}
	// What goes on is said anew each hour, and the sum of the last words is right.
	said, again = repeats(10000, time.Second)
	last := map[string]int{}
	for _, f := range said {
		last[f.ID()] = 1
	}
	for _, u := range again {
		last[u.ID()] = u.Count
	}
	sum := 0
	for _, n := range last {
		sum += n
	}
	if len(said) != 3 || len(last) != 3 || sum != 10000 {
		t.Errorf("over hours: said %d, %d in all: %v", len(said), sum, last)
	}
}

// TestRepeatsAreBounded: findings that wait to be told of again are bounded, and none is forgotten.
func TestRepeatsAreBounded(t *testing.T) {
	last := map[string]int{}
	s := NewSuppressor(func(f *Finding) {})
	s.Again = func(u *Update) { last[u.Key] = u.Count }
	const n = suppressTable + 1000
	for i := range n {
		for range 2 {
			s.Report(&Finding{At: capture.At{Time: 1e18}, Rule: "a/b", Key: fmt.Sprint(i)})
		}
		if len(s.waits) > suppressTable {
			t.Fatalf("%d wait", len(s.waits))
		}
	}
	s.Flush()
	if len(last) != n {
		t.Errorf("%d of %d were told of again", len(last), n)
	}
	for k, c := range last {
		if c != 2 {
			t.Fatalf("%s was seen %d times", k, c)
		}
	}
}

// TestRepeatsInABundle: what repeats a finding that shares a line counts for that line.
func TestRepeatsInABundle(t *testing.T) {
	total := func(n int) int {
		last := map[string]int{}
		s := NewSuppressor(func(f *Finding) { last[f.ID()] = f.Count })
		s.Again = func(u *Update) { last[u.ID()] = u.Count }
		b := NewBus(s.Report)
		b.Said = s.Said
		b.Gather(s.Fold)
		for i := range n {
			b.Report(&Finding{At: capture.At{Time: 1e18}, Rule: "a/b", Key: fmt.Sprint(i % (n / 2)), Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")})
		}
		b.End(capture.At{Time: 1e18})
		s.Flush()
		sum := 0
		for _, c := range last {
			sum += c
		}
		if n > 2*tellCommon && len(last) > n/2 {
			t.Errorf("%d lines for %d", len(last), n)
		}
		return sum
	}
	for _, n := range []int{100, 3 * tellCommon} {
		if got := total(n); got != n {
			t.Errorf("%d of %d were counted", got, n)
		}
	}
}

// TestReviseSaysMore: what was said of an incident is said anew under its name, as severe as the site has it.
func TestReviseSaysMore(t *testing.T) {
	var got []Update
	s := NewSuppressor(func(*Finding) {})
	s.Again = func(u *Update) { got = append(got, *u) }
	tune := NewTuning(&RulesConfig{Severity: map[string]string{"a/b": "medium"}, Suppress: []Suppress{{Rule: "a/c"}}}, []Rule{{Name: "a/b", Severity: Critical}, {Name: "a/c"}})
	s.Rate = tune.Rate
	b := NewBus(s.Report)
	b.Drop, b.Again = tune.Drop, s.Revise
	b.Revise(&Finding{Rule: "a/b", Severity: Critical, Name: "Rx", Revision: 2}, High)
	b.Revise(&Finding{Rule: "a/c", Severity: Critical, Name: "Ry", Revision: 2}, High)
	if len(got) != 1 || got[0].Severity != Medium || got[0].Was != Medium || got[0].ID() != "Rx" {
		t.Errorf("%+v", got)
	}
	if _, n := tune.KeptBack(); n != 0 {
		t.Errorf("%d kept back, and it was counted before", n)
	}
}

func TestTold(t *testing.T) {
	f := &Finding{Severity: High}
	for _, c := range []struct {
		ev    any
		least Severity
		told  bool
		known bool
	}{
		{f, Medium, true, false}, {f, Critical, false, false}, {&Update{f, High}, Medium, true, true}, {&Update{f, Low}, Medium, true, false},
		{&Update{f, High}, Critical, false, false}, {&Incident{}, Info, false, false},
	} {
		if got, known := Told(c.ev, c.least); (got != nil) != c.told || known != c.known {
			t.Errorf("%T from %s: %v %v", c.ev, c.least, got, known)
		}
	}
}
