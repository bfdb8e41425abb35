package capture

import (
	"fmt"
	"testing"
)

// owing is a stream that owes the rest of a request.
type owing struct{ tape }

func (owing) Unfinished(dir Dir) bool { return dir == Orig }

// TestUnfinishedRequestsStayLongest: in a full table, floods of stray segments, of SYNs, of single datagrams and of
// connections with data push out what they are made of, and no request that is being sent.
func TestUnfinishedRequestsStayLongest(t *testing.T) {
	const room = 64
	floods := map[string]func(w *wire, src string, i int){
		"ACK":  func(w *wire, src string, i int) { w.tcp(src, server, "A", 7, 7, "") },
		"RST":  func(w *wire, src string, i int) { w.tcp(src, server, "R", 7, 0, "") },
		"SYN":  func(w *wire, src string, i int) { w.tcp(src, server, "S", 7, 0, "") },
		"UDP":  func(w *wire, src string, i int) { w.send(packet(src, server, ProtoUDP, "x")) },
		"data": func(w *wire, src string, i int) { w.tcp(src, server, "PA", 7, 7, "x") },
	}
	for name, flood := range floods {
		w := newWire(room)
		w.cfg.Open = func(h Host, _ bool) Stream {
			if h.Flow().Orig.String() == client {
				return owing{tape{w}}
			}
			return nil
		}
		w.open(0, 0).c("PA", 1, 1, "POST")
		w.at += 3e9
		for i := range 20 * room {
			flood(w, fmt.Sprintf("192.0.2.%d:%d", i%250, 1000+i), i)
			if w.Len() > room {
				t.Fatalf("%s: %d flows in a table for %d", name, w.Len(), room)
			}
		}
		w.c("PA", 5, 1, " /")
		if got := w.got[0].String(); got != "POST /" || w.Counters.Evicted < 19*room-1 {
			t.Errorf("%s: got %q, evicted %d", name, got, w.Counters.Evicted)
		}
	}
}

// TestStraySegmentsInACrowd: few of them stay for minutes, as in Zeek, and of many each for seconds. Their rows are the
// same.
func TestStraySegmentsInACrowd(t *testing.T) {
	const room = 4096
	for _, tt := range []struct{ flows, left int }{{room/loneShare - 2, room/loneShare - 2}, {room / 2, 0}} {
		w := newWire(room)
		for i := range tt.flows {
			w.tcp(fmt.Sprintf("192.0.2.%d:%d", i%250, 1000+i), server, "A", 7, 7, "")
		}
		begun := w.at
		for range 8 {
			w.at += 1e9
			w.Advance(At{Time: w.at})
		}
		if w.Len() != tt.left {
			t.Errorf("%d of %d flows are there after %d ns, want %d", w.Len(), tt.flows, w.at-begun, tt.left)
		}
		w.done()
		for _, c := range w.conns {
			if c.State != "OTH" || c.Pkts[0]+c.Pkts[1] != 1 || c.Duration != 0 {
				t.Fatalf("row %+v", c)
			}
		}
		if len(w.conns) != tt.flows {
			t.Errorf("%d rows for %d flows", len(w.conns), tt.flows)
		}
	}
}

// TestRoomIsOne: whatever shards hold, together they get what there is, none less than an equal share if it wants it, and
// one in which all flows are gets all.
func TestRoomIsOne(t *testing.T) {
	const limit = 64 << 10
	sum := func(l *[ShardCount]int32) (n int) {
		for _, x := range l {
			n += int(x)
		}
		return n
	}
	var used, out [ShardCount]int32
	used[5] = limit / 2
	Limits(&out, &used, limit, 1000)
	if out[5] != limit || out[6] != limit {
		t.Errorf("with room for all, limits of %d and %d", out[5], out[6])
	}
	used[5] = limit - limit/8
	Limits(&out, &used, limit, limit/4)
	if out[5] < limit-limit/8 || sum(&out) > limit {
		t.Errorf("a shard with %d of %d may have %d; sum %d", used[5], limit, out[5], sum(&out))
	}
	// All are full: one takes from others no more than its share.
	for i := range used {
		used[i] = 900
	}
	used[5] = limit - 63*900
	Limits(&out, &used, limit, limit)
	if sum(&out) > limit || out[6] <= 900 || out[5] >= used[5] {
		t.Errorf("limits %d and %d, sum %d", out[5], out[6], sum(&out))
	}
	for i := range used {
		used[i] = limit / 32 // over: limits were higher for a while
	}
	if Limits(&out, &used, limit, 0); sum(&out) > limit || out[0] != limit/ShardCount {
		t.Errorf("limit %d, sum %d", out[0], sum(&out))
	}
}
