package capture

import (
	"bytes"
	"container/heap"
	"slices"
	"time"
)

// Putting the packets of a TCP flow into the order in which they happened. A mirror port with a queue a direction, a tap
// with a buffer a cable and a card with several queues deliver an acknowledgement before the bytes that it is for, an
// answer before its request and a SYN behind all of them. That is told from a loss by nothing but waiting: a packet that
// acknowledges bytes which were not seen yet, and all of a flow whose SYN was not, are held until what is missing came, or
// for FlowConfig.Wait. Nothing waits in a flow in which nothing is missing.
//
// Segments of one direction that change places need none of this: they are put in order behind their holes, which stay
// open until the other side acknowledges them in a packet that has waited long enough.

const (
	// DefaultWait is how long a packet waits. The directions of a tap or of a mirror with several queues are apart by the
	// time that a buffer takes to drain: 10 ms are 12 MB at 10 Gbit/s, more than the packet buffer of a switch or a card
	// holds for a port. Ten times that leaves room for captures whose halves were taken by two processes, and is still less
	// than the second that a host takes to send a SYN again.
	DefaultWait = 100 * time.Millisecond
	// DefaultWaitPackets is how many packets of a flow wait at most: 2 ms of one flow at two million packets in a second.
	DefaultWaitPackets = 4096
	// Bytes that wait in a shard at most, with what Go needs for them: 64 MiB over all shards.
	shardWaiting = 64 << 20 / ShardCount
	heldCost     = 256
	// Packets among which one is looked for that comes before another, so that giving up costs the same however many wait.
	behindLooks = 64
)

// held is a packet that waits.
type held struct {
	Packet
	side uint8
	at   At // of its events, as if it had not waited
	due  Time
}

func (h *held) size() int { return heldCost + len(h.L4) }

// waiting is what a flow has of packets that came too early. Most flows never have one.
type waiting struct {
	q       [2][]*held // by the side that sent them, in the order of their acknowledgement numbers and then of arrival
	unbegun bool       // no SYN was seen: everything waits for it
	due     Time       // 0: in no heap
	resetAt Time       // when a reset is believed that cut something short; 0: none waits
	resetBy uint8      // the side that sent it
}

func (w *waiting) empty() bool { return len(w.q[0])+len(w.q[1]) == 0 }

// dueRef is a place in the heap of what is due.
type dueRef struct {
	at Time
	n  uint64 // in the order in which they were made
	f  *flow
	w  *waiting
}

type dueHeap []dueRef

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].n < h[j].n
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)   { *h = append(*h, x.(dueRef)) }
func (h *dueHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = dueRef{}
	*h = old[:len(old)-1]
	return x
}

// early reports whether p, which side sends, acknowledges what was not seen yet.
func (f *flow) early(side uint8, p *Packet) bool {
	if p.Flags&(FlagACK|FlagRST) != FlagACK || f.more != nil && f.more.renewal && p.Flags&FlagSYN != 0 {
		return false
	}
	t := f.tcp
	peer := &t.ep[side^1]
	if peer.synced && !t.ep[side].based && !t.oneSided && p.Flags&FlagSYN == 0 {
		return true // before the answer to the SYN, which says where the bytes of this side begin
	}
	if !peer.based { // nothing of the other side yet: of a connection whose SYN was seen its answer must come first
		return t.ep[side].synced && !t.oneSided && p.Flags&FlagSYN == 0
	}
	if seqDelta(p.Ack, peer.next) <= 0 || seqDelta(p.Ack, peer.edge) <= 0 {
		return false
	}
	return !(peer.finned && p.Ack == peer.fin && peer.next == peer.fin-1)
}

// waiting gives what waits of a flow of TCP, nil if nothing does.
func (f *flow) waiting() *waiting {
	if !f.tcp.waits {
		return nil
	}
	return f.more.wait
}

func (f *flow) setWaiting(w *waiting) {
	if f.tcp.waits = w != nil; w != nil || f.more != nil {
		f.extra().wait = w
	}
}

// waits takes p, which side sends, if it has to wait.
func (f *flow) waits(side uint8, p *Packet) bool {
	s := f.sh
	if s.cfg.Wait == 0 || s.Shed > ShedNothing {
		return false
	}
	w := f.waiting()
	if w != nil && w.unbegun {
		if p.Flags&(FlagSYN|FlagACK|FlagRST) == FlagSYN {
			f.rebegin(side, p)
			return false
		}
	} else if !f.early(side, p) && !(w != nil && p.Flags&FlagRST != 0 && len(w.q[side]) > 0) {
		return false // a reset stays behind what was sent before it
	}
	if s.waiting >= shardWaiting {
		s.Counters.WaitFull++
		if w != nil {
			f.force(w)
		}
		return false
	}
	if w == nil {
		w = &waiting{}
		f.setWaiting(w)
	}
	if len(w.q[side]) >= max(s.cfg.WaitPackets, 1) {
		s.Counters.WaitPackets++
		f.force(w)
		if f.waiting() != w || !f.early(side, p) {
			return false
		}
	}
	h := &held{Packet: *p, side: side, at: s.at, due: s.now.Add(s.cfg.Wait)}
	h.L4 = bytes.Clone(p.L4)
	q := w.q[side]
	i := len(q)
	for i > 0 && seqDelta(q[i-1].Ack, p.Ack) > 0 && p.Flags&FlagACK != 0 && q[i-1].Flags&FlagACK != 0 {
		i--
	}
	w.q[side] = slices.Insert(q, i, h)
	s.waiting += h.size()
	s.Counters.Waited++
	f.seen = s.now
	if w.due == 0 {
		f.schedule(w, h.due)
	}
	return true
}

// schedule wakes the flow at a time.
func (f *flow) schedule(w *waiting, at Time) {
	s := f.sh
	s.dueN++
	w.due = at
	heap.Push(&s.due, dueRef{at, s.dueN, f, w})
}

// release takes what need not wait any more, in the order of arrival.
func (f *flow) release(w *waiting) {
	for f.tcp != nil && f.waiting() == w && !w.unbegun {
		next := -1
		for side, q := range w.q {
			if len(q) > 0 && !f.early(uint8(side), &q[0].Packet) && (next < 0 || q[0].Ordinal < w.q[next][0].Ordinal) {
				next = side
			}
		}
		if next < 0 {
			break
		}
		f.takeHeld(w, uint8(next))
	}
	f.relieve(w)
}

// relieve drops w when there is nothing in it.
func (f *flow) relieve(w *waiting) {
	if f.tcp != nil && f.waiting() == w && w.empty() && !w.unbegun && w.resetAt == 0 {
		f.setWaiting(nil) // its place in the heap says nothing any more
	}
}

// takeHeld takes the first packet that waits of side.
func (f *flow) takeHeld(w *waiting, side uint8) {
	h := w.q[side][0]
	w.q[side][0] = nil
	if w.q[side] = w.q[side][1:]; len(w.q[side]) == 0 {
		w.q[side] = nil
	}
	f.sh.waiting -= h.size()
	s := f.sh
	at, now := s.at, s.now
	s.at, s.now = h.at, h.at.Time
	s.packet(f, side, &h.Packet)
	s.at, s.now = at, now
}

// force takes what came first, whatever it waits for, and then what waited for that alone.
func (f *flow) force(w *waiting) {
	if w.unbegun {
		f.begun(w)
		f.release(w)
		return
	}
	first := -1
	for side, q := range w.q {
		switch {
		case len(q) == 0:
		case first < 0:
			first = side
		default: // what the other acknowledges comes before it; where each does, or neither, that which came first
			a, b := f.behind(uint8(first), w), f.behind(uint8(side), w)
			if a != b && a || a == b && q[0].Ordinal < w.q[first][0].Ordinal {
				first = side
			}
		}
	}
	if first >= 0 {
		if !f.tcp.ep[first^1].based || !f.tcp.ep[first].based {
			f.tcp.oneSided = true
		}
		f.takeHeld(w, uint8(first))
	}
	f.release(w)
}

// behind reports whether the first packet that waits of side acknowledges bytes of another that waits.
func (f *flow) behind(side uint8, w *waiting) bool {
	ack := w.q[side][0].Ack
	e := &f.tcp.ep[side^1]
	for _, h := range w.q[side^1][:min(len(w.q[side^1]), behindLooks)] {
		end := h.Seq + uint32(h.PayloadLen())
		if h.PayloadLen() > 0 && seqDelta(h.Seq, ack) < 0 && (!e.based || seqDelta(end, e.next) > 0) {
			return true
		}
	}
	return false
}

// begun gives up to wait for the beginning: each side begins with the first of its bytes that was seen.
func (f *flow) begun(w *waiting) {
	w.unbegun = false
	t := f.tcp
	for side := range w.q {
		e := &t.ep[side]
		for _, h := range w.q[side] {
			seq := h.Seq
			if h.Flags&FlagSYN != 0 {
				seq++
			} else if h.PayloadLen() == 0 && h.Flags&FlagFIN == 0 {
				continue
			}
			if d := seqDelta(seq, e.next); !e.based || d < 0 && d > -beyondLimit {
				e.base(seq)
			}
		}
	}
}

// wake does what is due by now.
func (s *Shard) wake() {
	for len(s.due) > 0 && s.due[0].at <= s.now {
		x := heap.Pop(&s.due).(dueRef)
		f, w := x.f, x.w
		if f.tcp == nil || f.waiting() != w {
			continue
		}
		w.due = 0
		s.touched = f
		f.overdue(w)
		s.touched = nil
	}
}

// overdue takes what has waited long enough.
func (f *flow) overdue(w *waiting) {
	s := f.sh
	for f.tcp != nil && f.waiting() == w && !w.empty() && w.oldest() <= s.now {
		s.Counters.WaitTime++
		f.force(w)
	}
	if f.tcp == nil || f.waiting() != w {
		return
	}
	if w.resetAt != 0 && w.resetAt <= s.now {
		w.resetAt = 0
		f.endReset(w.resetBy)
	}
	f.relieve(w)
	if f.tcp != nil && f.waiting() == w {
		at := w.oldest()
		if w.resetAt != 0 && (w.empty() || w.resetAt < at) {
			at = w.resetAt
		}
		f.schedule(w, at)
	}
}

// oldest is when the first packet of either side is due; what stands behind it is due about then.
func (w *waiting) oldest() Time {
	var at Time
	for side := range w.q {
		if q := w.q[side]; len(q) > 0 && (at == 0 || q[0].due < at) {
			at = q[0].due
		}
	}
	return at
}

// flushWaiting takes all that waits: the flow ends.
func (f *flow) flushWaiting() {
	for f.tcp != nil && f.waiting() != nil && !f.waiting().empty() {
		f.force(f.waiting())
	}
}

// unbegun reports whether all of the flow waits for its SYN.
func (f *flow) unbegun() bool { return f.waiting() != nil && f.waiting().unbegun }

// follows reports whether all that waits belongs to the connection that p, a SYN of side, opens.
func (w *waiting) follows(side uint8, p *Packet) bool {
	for from, q := range w.q {
		for _, h := range q {
			d := seqDelta(h.Seq, p.Seq)
			if uint8(from) != side {
				d = seqDelta(h.Ack, p.Seq)
			}
			if d <= 0 || d > beyondLimit {
				return false
			}
		}
	}
	return true
}

// rebegin lets a flow of which everything has waited so far begin with p, its SYN.
func (f *flow) rebegin(side uint8, p *Packet) {
	s, w := f.sh, f.waiting()
	f.setWaiting(nil)
	w.unbegun = false
	s.freeTCP(f.tcp)
	f.mid, f.id, f.histLen, f.histSeen = false, nil, 0, 0
	if f.more != nil {
		f.more.hist = nil
	}
	s.Counters.Flows--
	f.begin(side, p)
	f.setWaiting(w)
	s.arm(f)
}
