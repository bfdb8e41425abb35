package main

import "testing"

// TestGrowth: a small heap may grow fast, a large one by a part of it, and never the other way round.
func TestGrowth(t *testing.T) {
	last := growth(0)
	if last != collectAt {
		t.Errorf("an empty heap: %d %%", last)
	}
	for live := uint64(1 << 20); live < 1<<36; live += live / 8 {
		p := growth(live)
		if p > last+1 || p < 9 { // rounded
			t.Fatalf("%d MiB: %d %% after %d %%", live>>20, p, last)
		}
		if room := live * uint64(p) / 100; live > 64<<20 && room > max(roomFor, live/10) {
			t.Fatalf("%d MiB has room for %d MiB more", live>>20, room>>20)
		}
		last = p
	}
}
