package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// How much the heap may grow, in percent, before it is collected. The default of 100 has the collector running all the
	// time over a live heap that is small; 300 takes a tenth off the CPU time of short flows and of HTTP, for 40 MB in
	// the one and 35 in the other.
	collectAt = 300
	// What a large heap has above what lives in it: at a million flows the growth that is good for a small one would be
	// another million's memory.
	roomFor = 144 << 20
	// What lives in a sensor because it publishes, at most: rows that are read, on their way, and not acknowledged yet, with what
	// else is made of them while the collector runs. It does not grow with the flows, and gets no room: otherwise each of its
	// bytes would cost four.
	publishHolds = 12 << 20
)

// paceMemory sets the collector's pace, and again after each of its cycles. held, which is called then, is how much of what lives
// gets no room. GOGC in the environment goes above it. It is called once.
func paceMemory(held func() uint64) {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(collectAt)
	now := collectAt
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	type cycle struct{ _ [16]byte }
	var next func(*cycle)
	next = func(c *cycle) {
		metrics.Read(live)
		if p := growth(live[0].Value.Uint64(), held()); p < now*9/10 || p > now*11/10 {
			now = p
			debug.SetGCPercent(p)
		}
		runtime.SetFinalizer(c, next)
	}
	runtime.SetFinalizer(&cycle{}, next)
}

// growth is how much a heap in which so many bytes live may grow, in percent: with what lives the room shrinks, to a
// tenth of it. Of what lives, held gets no room, as long as the rest is a third.
func growth(live, held uint64) int {
	live = max(live, 1)
	counts := max(live-min(held, live), live/3)
	room := live / 10
	if roomFor > live/5+room {
		room = roomFor - live/5
	}
	return int(min(room*100/live, collectAt*counts/live))
}
