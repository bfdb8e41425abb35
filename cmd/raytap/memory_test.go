package main

import "testing"

// TestGrowth: a small heap may grow fast, a large one by a part of it, and never the other way round.
func TestGrowth(t *testing.T) {
	last := growth(0, 0)
	if last != collectAt {
		t.Errorf("an empty heap: %d %%", last)
	}
	for live := uint64(1 << 20); live < 1<<36; live += live / 8 {
		p := growth(live, 0)
		if p > last+1 || p < 9 { // rounded
			t.Fatalf("%d MiB: %d %% after %d %%", live>>20, p, last)
		}
		if room := live * uint64(p) / 100; live > 64<<20 && room > max(roomFor, live/10) {
			t.Fatalf("%d MiB has room for %d MiB more", live>>20, room>>20)
		}
		last = p
	}
}

// TestGrowthOfHeld: what is held makes a heap larger by itself and not by its room, and the collector does not run all the time for it.
func TestGrowthOfHeld(t *testing.T) {
	peak := func(live, held uint64) uint64 { return live + live*uint64(growth(live, held))/100 }
	for live := uint64(4 << 20); live < 1<<36; live += live / 8 {
		const holds = 12 << 20
		most := max(peak(live, 0), 2*(live+holds))
		if with := peak(live+holds, holds); with > most+holds+most/10 {
			t.Fatalf("%d MiB: %d MiB, without what is held %d MiB", live>>20, with>>20, peak(live, 0)>>20)
		}
		if p := growth(live, holds); p < min(99, growth(live, 0)) {
			t.Fatalf("%d MiB: %d %%", live>>20, p)
		}
	}
}
