package capture

import (
	"bytes"
	"slices"
)

// Putting the bytes of a TCP direction in order. The first copy of a byte wins: it is what was delivered. A second
// copy that differs, while the first is not acknowledged, is a weird (Retransmission_inconsistency): somebody shows
// us other bytes than the receiver.
//
// gopacket's reassembly is not used: on sequence wrap-around it delivers a duplicated byte, its flush order follows
// map iteration, and its defaults are unbounded.

const (
	// Bytes that one direction may hold behind a hole. TCP windows above this are rare, holes in them rarer.
	aheadLimit = 1 << 20
	// Segments behind a hole: 1 MiB in full-sized segments, and few enough that inserting in order stays cheap.
	aheadSegments = 768
	// Bytes that a shard may hold behind holes: 256 MiB over all shards.
	shardBuffered = 256 << 20 / ShardCount
	// Data behind a hole while nothing was ever acknowledged: we do not see the other direction, so no ACK will
	// tell us that the hole stays.
	aheadUnacked = 16 << 10
	// Delivered bytes kept until they are acknowledged, to compare retransmissions with.
	sentLimit = 64 << 10
	// A segment that far ahead of what was delivered is not part of this connection.
	beyondLimit = 64 << 20
	spareBufs   = 64
)

// block is a run of bytes behind a hole. data is shorter than the run when the capture cut it, nil when nobody wants
// the bytes.
type block struct {
	seq, end uint64
	data     []byte
}

type assembly struct {
	ahead   []block // by seq, disjoint
	bytes   int     // held in ahead
	sent    []byte  // delivered, not acknowledged
	sentSeq uint64  // relative sequence number of sent[0]
}

func (s *Shard) newAssembly() *assembly {
	n := len(s.spare)
	if n == 0 {
		return &assembly{}
	}
	a := s.spare[n-1]
	s.spare = s.spare[:n-1]
	return a
}

// forgetAssembly takes one back; its buffer of delivered bytes is gone already.
func (s *Shard) forgetAssembly(a *assembly) {
	if a == nil || len(s.spare) >= spareBufs {
		return
	}
	clear(a.ahead)
	*a = assembly{ahead: a.ahead[:0]}
	if cap(a.ahead) > 16 {
		a.ahead = nil
	}
	s.spare = append(s.spare, a)
}

func (e *endpoint) held() int {
	if e.asm == nil {
		return 0
	}
	return e.asm.bytes
}

// data takes the payload of a segment, whose first byte has the relative sequence number seq.
func (f *flow) data(side uint8, seq uint64, p *Packet) {
	s, t := f.sh, f.tcp
	e := &t.ep[side]
	b, n := p.Payload(), p.PayloadLen()
	if len(b) < n {
		s.Counters.Truncated += uint64(n - len(b))
	} else {
		b = b[:n]
	}
	live := f.live()
	if t.skip[side] {
		return
	}
	if live && s.Shed >= ShedBulk && f.bulk(side, b) {
		s.Counters.ShedBytes += uint64(len(b))
		b = nil
	}
	end := seq + uint64(n)
	low := max(full(e.ackSeq, e.ackWraps)-uint64(e.startSeq), e.trim)
	if seq < low {
		if end <= low {
			return
		}
		b, seq = skipBytes(b, low-seq), low
	}
	if e.asm != nil && live {
		f.compare(side, e.asm, seq, b)
	}
	if end <= e.next {
		return
	}
	if seq < e.next {
		b, seq = skipBytes(b, e.next-seq), e.next
	}
	if seq == e.next && (e.asm == nil || len(e.asm.ahead) == 0) {
		f.deliver(side, end, b)
		return
	}
	if seq-e.next > beyondLimit {
		f.weird("segment_beyond_window", "", "TCP")
		return
	}
	// What may be a beginning, and what follows it, waits for its turn even where nobody listens.
	if !live && (e.asm == nil || e.asm.bytes == 0) && !f.wakes(side, b) {
		b = nil
	}
	f.insert(side, block{seq, end, b})
	f.drain(side)
	f.bound(side)
}

func skipBytes(b []byte, n uint64) []byte { return b[min(n, uint64(len(b))):] }

// deliver hands out the bytes from e.next to end, of which b were captured.
func (f *flow) deliver(side uint8, end uint64, b []byte) {
	e := &f.tcp.ep[side]
	n := end - e.next
	e.next = end
	if cut := n - uint64(len(b)); cut > 0 && f.live() {
		f.lost(side, cut) // the capture's snap length
	}
	if !f.live() && !f.wakes(side, b) {
		return
	}
	st := f.open()
	if st == nil {
		return
	}
	d := f.streamDir(side)
	if len(b) > 0 {
		f.keep(e, end-n, b)
		st.Data(d, b)
	}
	if missing := n - uint64(len(b)); missing > 0 {
		f.tcp.forget(f.sh, e)
		st.Gap(d, int64(missing))
	}
	f.letIdle()
}

// letIdle lets go of what is held for a stream that wants no more.
func (f *flow) letIdle() {
	if f.stream.Idle() {
		f.release()
	}
}

// keep remembers delivered bytes until they are acknowledged.
func (f *flow) keep(e *endpoint, seq uint64, b []byte) {
	if e.asm == nil {
		e.asm = f.sh.newAssembly()
	}
	a := e.asm
	if a.sentSeq+uint64(len(a.sent)) != seq || len(a.sent)+len(b) > sentLimit {
		a.sent = a.sent[:0]
	}
	if len(b) > sentLimit {
		return
	}
	if a.sent == nil {
		if n := len(f.sh.bufs); n > 0 {
			a.sent, f.sh.bufs = f.sh.bufs[n-1], f.sh.bufs[:n-1]
		}
	}
	if len(a.sent) == 0 {
		a.sentSeq = seq
	}
	a.sent = append(a.sent, b...)
}

// forget gives the buffer of delivered bytes back.
func (t *tcpConn) forget(s *Shard, e *endpoint) {
	if a := e.asm; a != nil && a.sent != nil {
		if len(s.bufs) < spareBufs {
			s.bufs = append(s.bufs, a.sent[:0])
		}
		a.sent = nil
	}
}

// release drops all bytes held for a stream that wants no more. The runs stay, so that gaps are still counted.
func (f *flow) release() {
	for i := range f.tcp.ep {
		e := &f.tcp.ep[i]
		if e.asm == nil {
			continue
		}
		f.tcp.forget(f.sh, e)
		f.sh.buffered -= e.asm.bytes
		e.asm.bytes = 0
		for j := range e.asm.ahead {
			e.asm.ahead[j].data = nil
		}
	}
}

// compare looks for bytes of [seq, seq+len(b)) that were there before and were different.
func (f *flow) compare(side uint8, a *assembly, seq uint64, b []byte) {
	differs := unlike(a.sentSeq, a.sent, seq, b)
	for i := 0; i < len(a.ahead) && !differs && a.ahead[i].seq < seq+uint64(len(b)); i++ {
		differs = unlike(a.ahead[i].seq, a.ahead[i].data, seq, b)
	}
	// One byte that differs is a keep-alive's, unless the peer has spoken.
	if differs && (len(b) > 1 || f.tcp.ep[side^1].acted) {
		f.weird("Retransmission_inconsistency", "", "TCP")
	}
}

func unlike(aSeq uint64, a []byte, bSeq uint64, b []byte) bool {
	lo, hi := max(aSeq, bSeq), min(aSeq+uint64(len(a)), bSeq+uint64(len(b)))
	return lo < hi && !bytes.Equal(a[lo-aSeq:hi-aSeq], b[lo-bSeq:hi-bSeq])
}

// insert puts what is new of nb among the runs ahead.
func (f *flow) insert(side uint8, nb block) {
	e := &f.tcp.ep[side]
	if e.asm == nil {
		e.asm = f.sh.newAssembly()
	}
	a := e.asm
	i, _ := slices.BinarySearchFunc(a.ahead, nb.seq, func(b block, seq uint64) int {
		if b.end <= seq {
			return -1
		}
		return 1
	})
	for nb.seq < nb.end {
		if i == len(a.ahead) || nb.end <= a.ahead[i].seq {
			f.insertAt(a, i, nb)
			return
		}
		if old := a.ahead[i]; nb.seq < old.seq {
			head := nb
			head.end = old.seq
			head.data = nb.data[:min(uint64(len(nb.data)), old.seq-nb.seq)]
			f.insertAt(a, i, head)
			i++
		}
		old := a.ahead[i]
		if nb.end <= old.end {
			return
		}
		nb.data = skipBytes(nb.data, old.end-nb.seq)
		nb.seq = old.end
		i++
	}
}

func (f *flow) insertAt(a *assembly, i int, b block) {
	if len(b.data) > 0 {
		b.data = bytes.Clone(b.data)
		a.bytes += len(b.data)
		f.sh.buffered += len(b.data)
	}
	a.ahead = slices.Insert(a.ahead, i, b)
}

// drain delivers the runs that have become next.
func (f *flow) drain(side uint8) {
	e := &f.tcp.ep[side]
	a := e.asm
	if a == nil {
		return
	}
	n := 0
	for n < len(a.ahead) && a.ahead[n].seq <= e.next {
		b := a.ahead[n]
		n++
		a.bytes -= len(b.data)
		f.sh.buffered -= len(b.data)
		if b.end > e.next {
			f.deliver(side, b.end, skipBytes(b.data, e.next-b.seq))
		}
	}
	if n > 0 {
		a.ahead = slices.Delete(a.ahead, 0, n)
	}
}

// bound gives up the first hole when too much waits behind it.
func (f *flow) bound(side uint8) {
	e := &f.tcp.ep[side]
	a := e.asm
	for len(a.ahead) > 0 {
		switch waiting := a.ahead[len(a.ahead)-1].end - e.next; {
		case e.noDataAcked() && waiting > aheadUnacked:
			f.weird("above_hole_data_without_any_acks", "", "TCP")
		case a.bytes > aheadLimit || len(a.ahead) > aheadSegments || a.bytes > 0 && f.sh.buffered > shardBuffered:
			f.sh.Counters.Dropped += a.ahead[0].seq - e.next
			f.weird("reassembly_buffer_full", "", "TCP")
		default:
			return
		}
		f.gap(side, a.ahead[0].seq)
		f.drain(side)
	}
}

// gap skips to upTo: what lies before it was never captured.
func (f *flow) gap(side uint8, upTo uint64) {
	e := &f.tcp.ep[side]
	n := upTo - e.next
	e.next = upTo
	if n == 0 {
		return
	}
	f.lost(side, n)
	f.tcp.forget(f.sh, e)
	if f.live() {
		if st := f.open(); st != nil {
			st.Gap(f.streamDir(side), int64(min(n, 1<<62)))
		}
	}
}

// lost accounts for n bytes of side that nobody will see.
func (f *flow) lost(side uint8, n uint64) {
	e := &f.tcp.ep[side]
	// In other states gaps are mostly numbers that were never right.
	if clean(e) && clean(&f.tcp.ep[side^1]) {
		f.scaled(side, &e.oddities().gaps, 'G')
		f.extra().missed += n
		if !f.shadow {
			f.sh.Counters.GapBytes += n
		}
	}
}

func clean(e *endpoint) bool {
	return e.state == tcpEstablished || e.state == tcpClosed && e.prev == tcpEstablished
}

// acked takes the acknowledgement of side's bytes up to seq. What was acknowledged and not seen will not come.
func (f *flow) acked(side uint8, seq uint64) {
	e := &f.tcp.ep[side]
	if e.fins > 0 && seq >= e.finSeq {
		seq = e.finSeq - 1
	}
	if seq <= e.trim {
		return
	}
	c, established := &f.sh.Counters, clean(e) && clean(&f.tcp.ep[side^1])
	if established {
		c.Acks++
		c.AckedBytes += seq - e.trim
	}
	if seq > e.next {
		before := c.GapBytes
		f.undelivered(side, seq)
		if c.GapBytes > before && established {
			c.Gaps++
			c.Unseen += c.GapBytes - before
		}
	}
	e.trim = seq
	if a := e.asm; a != nil {
		if len(a.sent) > 0 && seq > a.sentSeq {
			if n := seq - a.sentSeq; n >= uint64(len(a.sent)) {
				f.tcp.forget(f.sh, e)
			} else {
				a.sent = a.sent[:copy(a.sent, a.sent[n:])]
				a.sentSeq = seq
			}
		}
		f.drain(side)
		if len(a.ahead) == 0 && a.sent == nil {
			f.sh.forgetAssembly(a) // nothing waits: others can have it
			e.asm = nil
		}
	}
	f.checkEOF(side)
}

func (f *flow) undelivered(side uint8, upTo uint64) {
	t := f.tcp
	e := &t.ep[side]
	// The beginning of a connection that was picked up mid-stream is made up: the first ACK may seem to say that
	// a byte or two before it are missing.
	if upTo <= 2 && t.partial {
		return
	}
	if !t.skip[side] {
		for e.asm != nil && len(e.asm.ahead) > 0 && e.asm.ahead[0].seq < upTo {
			f.gap(side, e.asm.ahead[0].seq)
			f.drain(side)
		}
		if upTo > e.next {
			f.gap(side, upTo)
		}
	}
	e.next = max(e.next, upTo)
}
