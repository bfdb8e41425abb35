package capture

// Which flows end when, and which of them make room for others.

// rank says how much is lost with a flow that ends for want of room. Those of the lowest go first, and of one rank that
// whose time-out is nearest: floods push out what floods are made of.
type rank uint8

const (
	rankLone   rank = iota // TCP of which nothing was heard but one side's headers: a SYN, a stray ACK or RST
	rankMute               // nothing was said of it yet, or it is closed
	rankTold               // an event has told of it
	rankAsking             // a request in it is not over
	ranks
)

const (
	// In a crowd a lone flow stays for so long: as a SYN that nobody answers, and as a closed connection.
	loneDelay = attemptDelay
	// A crowd is more than one in so many of the flows in a shard's share of the room, 8,192 in all shards by default,
	loneShare = 128
	// and no less.
	fewLone = 8
	// Flows that make room at once for one that begins. More than one are over the limit only where it was lowered.
	evictAtOnce = 4
)

// wheel is the timer of the flows of one rank.
type wheel struct {
	slots []int32 // by slot, place in the slab + 1 of the first flow
	n     int     // flows in it
	low   int64   // seconds: no flow stands in a slot before it
}

// lone reports whether nothing was heard of the flow, which is TCP, but headers, and those of one side.
func (f *flow) lone() bool {
	return f.payload[0]+f.payload[1] == 0 && (f.pkts[0] == 0 || f.pkts[1] == 0)
}

func (f *flow) rank() rank {
	switch {
	case f.tcp != nil && f.stream != nil && f.unfinished(Orig):
		return rankAsking
	case f.tcp != nil && f.lone():
		return rankLone
	case !f.known || f.tcp != nil && f.dueAt != 0:
		return rankMute
	}
	return rankTold
}

// sweep looks at every flow of a slot: ends it, or moves it to where it is due now.
func (s *Shard) sweep(slot int) {
	for r := range s.wheels {
		if s.wheels[r].n == 0 {
			continue
		}
		for i := s.wheels[r].slots[slot]; i != 0; {
			f := s.flow(i - 1)
			i = f.wnext
			if f.over() {
				s.expire(f)
			} else {
				s.arm(f)
			}
		}
	}
}

// arm puts a flow into the slot of its deadline and rank. A flow that is seen again is not moved: its slot comes, or that
// of flows that are to make room, and then it is put where it belongs, so that a packet costs the timer nothing.
func (s *Shard) arm(f *flow) {
	if f.shadow {
		return
	}
	s.disarm(f)
	due := int64(f.deadline())/1e9 + 1
	now := int64(s.now) / 1e9
	due = min(max(due, now+1, s.swept), now+wheelSlots-2)
	slot := int32(due % wheelSlots)
	f.armed = f.rank()
	w := &s.wheels[f.armed]
	if w.slots == nil {
		w.slots = make([]int32, wheelSlots)
	}
	if w.n++; w.n == 1 || due < w.low {
		w.low = due
	}
	f.slot, f.wprev, f.wnext = slot, 0, w.slots[slot]
	if f.wnext != 0 {
		s.flow(f.wnext - 1).wprev = f.idx + 1
	}
	w.slots[slot] = f.idx + 1
}

func (s *Shard) disarm(f *flow) {
	if f.slot < 0 {
		return
	}
	w := &s.wheels[f.armed]
	w.n--
	if f.wprev != 0 {
		s.flow(f.wprev - 1).wnext = f.wnext
	} else {
		w.slots[f.slot] = f.wnext
	}
	if f.wnext != 0 {
		s.flow(f.wnext - 1).wprev = f.wprev
	}
	f.slot = -1
}

// evict makes room: it ends the flow with which least is lost, and reports whether there was one. A flood of SYNs pushes
// out SYNs, and an unfinished request stays as long as anything else is there.
func (s *Shard) evict() bool {
	for range 2 { // what the first look puts where it belongs may be due before where it looked
		for r := range s.wheels {
			w := &s.wheels[r]
			for second := max(s.swept, w.low); w.n > 0 && second < s.swept+wheelSlots; second++ {
				slot := int32(second % wheelSlots)
				for i := w.slots[slot]; i != 0; {
					f := s.flow(i - 1)
					i = f.wnext
					if s.arm(f); f.armed < rank(r) || f.armed == rank(r) && f.slot == slot {
						s.Counters.Evicted++
						s.end(f)
						return true
					}
				}
				if w.low <= second && w.slots[slot] == 0 {
					w.low = second + 1
				}
			}
		}
	}
	return false
}

// thin ends a crowd. A single packet of a connection that nobody saw says little, and Zeek keeps it for minutes, as we do
// as long as there are few: their rows tell the same then as theirs. Of a flood of them each stays for seconds.
func (s *Shard) thin() {
	w := &s.wheels[rankLone]
	switch few := max(s.cfg.MaxFlows/loneShare, fewLone); {
	case s.crowded:
		s.crowded = w.n > few/2
	case w.n > few:
		s.crowded = true
		for second := max(s.swept, w.low); second < s.swept+wheelSlots; second++ {
			for i := w.slots[second%wheelSlots]; i != 0; {
				f := s.flow(i - 1)
				i = f.wnext
				s.arm(f)
			}
		}
	}
}

// SetLimit says how many flows there is room for from now on. What is over it makes room as others begin.
func (s *Shard) SetLimit(flows int) { s.limit = max(flows, 1) }

// Limits shares the room for limit flows between shards that have used so many of it each, so that all of it is one: a
// shard that wants less than its share leaves the rest to the others, whose flows make room where there are most. come is
// how many flows may have begun since, in whichever. That is all that the sum of limits may be above limit.
func Limits(out *[ShardCount]int32, used *[ShardCount]int32, limit, come int) {
	sum := 0
	for _, n := range used {
		sum += int(n)
	}
	if sum+come <= limit {
		for i := range out {
			out[i] = int32(limit)
		}
		return
	}
	// Each wants what it has and a little more.
	spare := max(limit/ShardCount/limitSpare, 1)
	want := sum + spare*ShardCount
	if want <= limit {
		more := spare + (limit-want)/ShardCount
		for i, n := range used {
			out[i] = n + int32(more)
		}
		return
	}
	// The level up to which the wants fit.
	low, high := 0, limit
	for low < high {
		level := (low + high + 1) / 2
		n := 0
		for _, u := range used {
			n += min(int(u)+spare, level)
		}
		if n <= limit {
			low = level
		} else {
			high = level - 1
		}
	}
	for i, u := range used {
		out[i] = int32(max(min(int(u)+spare, low), 1))
	}
}

// limitSpare is which part of its share a shard may grow by between two looks at all of them.
const limitSpare = 16
