package capture

import (
	"fmt"
	"strings"
	"testing"
)

// chatter makes an event of every n bytes.
type chatter struct {
	tape
	h    Host
	n    int
	name func(i int) string
	i    *int
}

type said struct{ what string }

func (s *said) Repeats(earlier any) bool { o, ok := earlier.(*said); return ok && o.what == s.what }

func (c chatter) Data(_ Dir, b []byte) {
	for range len(b) / c.n {
		c.h.Emit(&said{c.name(*c.i)})
		*c.i++
	}
}

// TestEventsHaveABudget: what a flow says is bounded by what it sends; beyond that it has no rows, what differs goes on to
// detectors and what repeats does not; another flow of the shard has its rows. Events are counted, not time.
func TestEventsHaveABudget(t *testing.T) {
	const kilobytes = 4 << 10
	for _, tt := range []struct {
		trap       string
		every      int // bytes an event
		same       bool
		cut, heard bool
	}{
		{"an event for each 16 bytes", 16, false, true, true},
		{"the same for each 16 bytes", 16, true, true, false},
		{"one for each 32 bytes", 32, false, false, true},
		{"the same for each 32 bytes", 32, true, false, true},
	} {
		rows, events, limits := map[string]int{}, 0, 0
		n := 0
		w := &wire{at: 1000e9}
		w.Shard = NewShard(FlowConfig{
			MaxFlows: 100, Checksums: ChecksumsIgnore,
			Open: func(h Host, _ bool) Stream {
				return chatter{tape{w}, h, tt.every, func(i int) string {
					if tt.same {
						return "same"
					}
					return fmt.Sprint(i)
				}, &n}
			},
			Emit: func(ev any) {
				over := false
				if x, ok := ev.(*Aside); ok {
					over, ev = x.Over, x.Event
				}
				switch x := ev.(type) {
				case *said:
					events++
					if !over {
						rows["all"]++
					}
				case *Weird:
					if x.Name == "flow_row_limit" {
						limits++
					}
				}
			},
		})
		w.open(0, 0)
		payload := strings.Repeat("x", 1024)
		for i := range uint32(kilobytes) {
			w.c("A", 1+1024*i, 1, payload)
		}
		all := kilobytes * 1024 / tt.every
		most := freeEvents + kilobytes*1024*workRate/eventUnits + (workCommon+workRefill*6)/eventUnits
		c := &w.Counters
		if rows["all"] > most || (rows["all"] < all) != tt.cut || (limits == 1) != tt.cut || (c.Overtold == 1) != tt.cut ||
			int(c.RowsCut) != all-rows["all"] {
			t.Errorf("%s: %d rows of %d, want %d at most; said %d times, counted %d", tt.trap, rows["all"], all, most, limits, c.RowsCut)
		}
		if (events == all) != tt.heard || events+int(c.Repeated) != all {
			t.Errorf("%s: %d events of %d were heard, %d counted as the same", tt.trap, events, all, c.Repeated)
		}
		before := rows["all"]
		w.tcp("10.0.0.3:1", server, "S", 0, 0, "").tcp(server, "10.0.0.3:1", "SA", 0, 1, "").tcp("10.0.0.3:1", server, "A", 1, 1, payload)
		if got := rows["all"] - before; got != 1024/tt.every {
			t.Errorf("%s: another flow has %d rows", tt.trap, got)
		}
	}
}

// TestBegunIsCounted: a reset request for which there is no room is counted and said.
func TestBegunIsCounted(t *testing.T) {
	for _, tt := range []struct {
		trap string
		size int
		want uint64
	}{{"short", 1000, 0}, {"longer than is kept", begunLimit + 1000, 1}} {
		w := newWire(100)
		w.unfinished = true
		w.open(0, 0)
		at := uint32(1)
		for n := tt.size; n > 0; n -= 1000 {
			w.c("A", at, 1, strings.Repeat("x", min(n, 1000)))
			at += uint32(min(n, 1000))
		}
		w.c("R", at, 0, "")
		if c := w.Counters.BegunFull; c != tt.want || (strings.Contains(strings.Join(w.weirds, " "), "reset_request_not_kept")) != (tt.want > 0) {
			t.Errorf("%s: %d counted, weirds %v", tt.trap, c, w.weirds)
		}
	}
}
