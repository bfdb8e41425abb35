package engine

import (
	"context"
	"testing"

	"github.com/raytap/raytap/capture"
)

// ended is the flows that ended, in the order in which that was told.
type ended []string

func (e *ended) Event(ev any) {
	if c, ok := ev.(*capture.Conn); ok {
		*e = append(*e, c.Flow.UID)
	}
}

// TestFullTableSameForAnyWorkers lets many more flows begin than there is room for. Which of them make room, and when, does not hang
// on how the capture is cut into batches, nor on who works on them.
func TestFullTableSameForAnyWorkers(t *testing.T) {
	var want ended
	for i, x := range []struct{ workers, room int }{{1, 64 << 10}, {1, 300 << 10}, {2, 512 << 10}, {3, 100 << 10}, {4, 64 << 10}, {7, 512 << 10}} {
		cfg := Default()
		cfg.Checksums, cfg.MaxFlows, cfg.Workers = "ignore", 3000, x.workers
		var have ended
		stats, err := Run(context.Background(), cfg, &manyFlows{left: 40_000, room: x.room}, &have)
		if err != nil {
			t.Fatal(err)
		}
		if stats.Flow.Evicted < 30_000 || len(have) != 40_000 {
			t.Fatalf("%d flows made room, %d ended: the table was not full", stats.Flow.Evicted, len(have))
		}
		if i == 0 {
			want = have
		}
		for n := range want {
			if have[n] != want[n] {
				t.Fatalf("%d workers, batches of %d bytes: flow %d that ended is %s, not %s", x.workers, x.room, n, have[n], want[n])
			}
		}
	}
}
