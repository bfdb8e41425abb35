package hub

import (
	"math/rand/v2"
	"testing"

	"github.com/raytap/raytap/fleet"
)

// TestPlaces compares with a set that forgets nothing, over batches that come again and out of order.
func TestPlaces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := &places{}
	seen := map[fleet.Place]bool{}
	var all []fleet.Place
	p := fleet.Place{Generation: 7}
	add := func(p fleet.Place) {
		t.Helper()
		if got := s.add(p); got == seen[p] {
			t.Fatalf("%v: new %v", p, got)
		}
		seen[p] = true
	}
	for range 200 {
		var batch []fleet.Place
		for range 1 + r.IntN(fleet.Window/2) {
			if r.IntN(3000) == 0 {
				p = fleet.Place{Generation: p.Generation + 1 + r.Uint64N(1<<40)}
			}
			p.Offset += 1 + r.Uint64N(1000)
			batch = append(batch, p)
		}
		all = append(all, batch...)
		hole := r.IntN(len(batch)) // fails at first; the whole batch comes again
		for i, p := range batch {
			if i != hole {
				add(p)
			}
		}
		if r.IntN(2) == 0 { // the hub is killed in between
			b, err := s.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			s = &places{}
			if err := s.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range batch {
			add(p)
		}
		for range 10 { // anything from before
			add(all[r.IntN(len(all))])
		}
	}
	if len(s.all) != fleet.Window || cap(s.all) > fleet.Window {
		t.Errorf("%d places, room for %d", len(s.all), cap(s.all))
	}
	b, _ := s.MarshalBinary()
	t.Logf("%d bytes for %d places", len(b), len(s.all))
	for i := range b {
		(&places{}).UnmarshalBinary(b[:i]) // does not panic
	}
}
