package detectors

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
)

// row is a row of a detector's own log.
type row struct{ n int }

func (row) Log() string        { return "row" }
func (row) Row(capture.Fields) {}

// happened is an event; its time may be of its beginning, behind that of events before it.
type happened struct{ capture.At }

func second(n int) capture.At { return capture.At{Time: capture.Time(n) * 1e9, Packet: uint64(n)} }

func TestTicksFallBetweenEvents(t *testing.T) {
	b := NewBus(func(*Finding) {})
	var got []string
	b.OnTick(time.Minute, func(at capture.At) { got = append(got, fmt.Sprint("tick ", at.Time/1e9)) })
	On(b, func(h *happened) { got = append(got, fmt.Sprint("event ", h.Time/1e9)) })
	for _, s := range []int{6005, 6001, 6010, 6060, 6030, 6061, 6500} {
		b.Publish(&happened{second(s)})
	}
	// The first event passes nothing; an hour's silence is one tick, not sixty; a late event turns nothing back.
	want := []string{
		"event 6005", "event 6001", "event 6010", "tick 6060", "event 6060", "event 6030", "event 6061",
		"tick 6480", "event 6500",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestEndIsStillHeard(t *testing.T) {
	var rows []capture.Record
	var found []*Finding
	b := NewBus(func(f *Finding) { found = append(found, f) })
	b.Emit(row{0}) // nobody listens yet
	b.Rows = func(r capture.Record) { rows = append(rows, r) }
	b.OnEnd(func(at capture.At) {
		b.Emit(row{1})
		b.Report(&Finding{At: at, Rule: "x/y", Src: netip.MustParseAddr("10.0.0.1")})
	})
	b.End(second(9))
	if !slices.Equal(rows, []capture.Record{row{1}}) || len(found) != 1 || found[0].Packet != 9 {
		t.Errorf("rows %v, findings %v", rows, found)
	}
}

func TestSharedIsMadeOnce(t *testing.T) {
	env, made := &Env{}, 0
	one := func() *int { made++; return new(int) }
	if a, b := Shared(env, one), Shared(env, one); a != b || made != 1 {
		t.Errorf("made %d times", made)
	}
	if Shared(&Env{}, one); made != 2 {
		t.Error("two runs share")
	}
}
