package capture

import (
	"bytes"
	"slices"
)

// Putting the bytes of a TCP direction in order, as the receiver does: what comes in order is taken, whatever waits behind
// it says of the same bytes; of two segments behind a hole that share bytes the one that begins earlier has them, and one
// that another covers is dropped (Linux, tcp_input.c, tcp_data_queue and tcp_data_queue_ofo). Other receivers keep other
// copies, so copies that differ are read both: see dispute.
//
// gopacket's reassembly is not used: on sequence wrap-around it delivers a duplicated byte, its flush order follows
// map iteration, and its defaults are unbounded.

const (
	// Bytes that one direction may hold behind a hole. TCP windows above this are rare, holes in them rarer.
	aheadLimit = 1 << 20
	// Runs of bytes behind holes, joined where they meet. Linux takes no more segments than fit into the receive buffer with
	// some 600 bytes of its own for each: 4,000 in 2.5 MB.
	aheadRuns = 4096
	// Beyond so many, those are joined too that came with different TTLs.
	mixedRuns = 1024
	// Bytes that a shard may hold behind holes: 256 MiB over all shards.
	shardBuffered = 256 << 20 / ShardCount
	// Data behind a hole while the other direction was never seen: no ACK will tell us that the hole stays.
	aheadUnacked = 16 << 10
	// Delivered bytes kept until they are acknowledged, to compare retransmissions with.
	sentLimit = 64 << 10
	// A segment that far ahead of what was delivered is not part of this connection.
	beyondLimit = 64 << 20
	// The beginning of a longer request that is kept for a second reading of its end: its head, and where a body's fields are.
	preLimit = 16 << 10
	// Delivered bytes that are kept of a stream that nobody listens to any more.
	youngLimit = 8 << 10
	spareBufs  = 64
)

// block is a run of bytes. data is shorter than the run when the capture cut it, nil when nobody wants the bytes.
type block struct {
	seq, end uint32
	data     []byte
	doubt    bool // out of a packet with a wrong checksum
	ttl      uint8
	passed   bool // the kernel has counted it, see Shunt: it is not missing
}

// whole reports whether all of the run's bytes are there, or none of them were wanted.
func (b *block) whole() bool { return b.data == nil || len(b.data) == int(b.end-b.seq) }

// aside is a run of bytes that was set aside, with the place of its packet.
type aside struct {
	block
	at  At
	why doubt
	ttl uint8
}

type assembly struct {
	ahead   []block // behind a hole: by seq, and by end; neighbours may share bytes
	aside   []aside // what the receiver should not take, until it acknowledges those bytes: in order of arrival
	bytes   int     // held in ahead and aside
	sent    []byte  // delivered, not acknowledged, or of a request that is not all there
	sentSeq uint32  // sequence number of sent[0]
	pre     []byte  // the beginning of a request that sent has no room for
	preSeq  uint32
	urgent  uint32 // the byte that is out of band, if urged: not delivered yet
	urged   bool
	low     []hops // what came with fewer hops left
}

// Why segments were shaped, beside what judge says.
const (
	CopiesDiffer = "copies that differ"
	UrgentData   = "urgent data"
)

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

// assembly gives the side's, made when it is first needed.
func (f *flow) assembly(e *endpoint) *assembly {
	if e.asm == nil {
		e.asm = f.sh.newAssembly()
	}
	return e.asm
}

func (e *endpoint) held() int {
	if e.asm == nil {
		return 0
	}
	return e.asm.bytes
}

// base begins the side's bytes with seq.
func (e *endpoint) base(seq uint32) { e.based, e.next, e.edge = true, seq, seq }

// data takes the payload of a segment that the receiver takes too, whose first byte has the sequence number seq.
func (f *flow) data(side uint8, seq uint32, p *Packet) {
	s, t := f.sh, f.tcp
	e := &t.ep[side]
	b, n := p.Payload(), p.PayloadLen()
	if len(b) < n {
		s.Counters.Truncated += uint64(n - len(b))
	} else {
		b = b[:n]
	}
	live := f.live()
	if live && s.Shed >= ShedBulk && f.bulk(side, b) {
		s.Counters.ShedBytes += uint64(len(b))
		b = nil
	}
	end := seq + uint32(n)
	if !live && e.asm == nil && seq == e.next && !e.finned {
		// This is all that there is to bulk traffic.
		if e.next, e.holed = end, false; !f.wakes(side, b) {
			return
		}
		e.next = seq
		f.deliver(side, end, b, f.Doubted(), true)
		return
	}
	if e.asm != nil && (live || len(e.asm.sent) > 0) {
		f.compare(side, e, seq, b, p)
	}
	if e.holed && seqDelta(seq, f.more.holes[side]) >= 0 && seqDelta(seq, e.next) < 0 {
		// What was taken for lost comes after all: it waited for longer than anybody waits for it, or the acknowledgement was
		// of bytes that had not been sent.
		e.next = seq
	}
	if seqDelta(end, e.next) <= 0 {
		return
	}
	if d := seqDelta(seq, e.next); d < 0 {
		b, seq = skipBytes(b, uint32(-d)), e.next
	} else if d > beyondLimit {
		f.weird("segment_beyond_window", "", "TCP")
		return
	}
	doubt := f.Doubted()
	if p.TTL < e.ttl && (live || e.asm != nil && len(e.asm.sent) > 0) {
		f.assembly(e).fewer(seq, end, p.TTL)
	}
	if seq == e.next {
		f.deliver(side, end, b, doubt, live)
		if e.asm != nil && len(e.asm.ahead) > 0 {
			f.drain(side)
		}
		return
	}
	// What may be a beginning, and what follows it, waits for its turn even where nobody listens.
	if !live && (e.asm == nil || e.asm.bytes == 0) && !f.wakes(side, b) {
		b = nil
	}
	f.insert(side, block{seq: seq, end: end, data: b, doubt: doubt, ttl: p.TTL})
	f.settle(side)
	f.bound(side)
}

func skipBytes(b []byte, n uint32) []byte { return b[min(int(n), len(b)):] }

// deliver hands out the bytes from e.next to end, of which b were captured. doubt is set for those of a packet with a wrong
// checksum. live says what f.live does, which is a part of what a packet of bulk traffic costs.
func (f *flow) deliver(side uint8, end uint32, b []byte, doubt, live bool) {
	e := &f.tcp.ep[side]
	n := end - e.next
	seq := e.next
	e.next, e.holed = end, false
	if cut := n - uint32(len(b)); cut > 0 && live {
		f.lost(side, uint64(cut)) // the capture's snap length
	}
	if !live && !f.wakes(side, b) {
		if a := e.asm; a != nil && len(a.sent) > 0 && a.sentSeq+uint32(len(a.sent)) == seq && len(a.sent)+len(b) <= youngLimit {
			a.sent = append(a.sent, b...) // what the receiver took may be another copy, see letGo
		}
		return
	}
	if f.more != nil && f.more.begun != nil {
		f.resume(side, seq)
	}
	st := f.open()
	if st == nil {
		return
	}
	x := f.more
	if x != nil || doubt {
		x = f.extra()
		was := x.doubt
		x.doubt, x.aside = doubt, x.aside || doubt
		f.hand(side, st, seq, n, b)
		x.doubt = was
		return
	}
	f.hand(side, st, seq, n, b)
}

// hand gives the stream n bytes from seq on, of which b were captured.
func (f *flow) hand(side uint8, st Stream, seq, n uint32, b []byte) {
	e := &f.tcp.ep[side]
	d := f.streamDir(side)
	if f.more != nil && f.more.disp != nil {
		f.follow(side, b, n)
	}
	missing := n - uint32(len(b))
	if len(b) > 0 {
		f.keep(side, seq, b)
		if a := e.asm; a.urged {
			i := int(seqDelta(a.urgent, seq))
			a.urged = i >= len(b)
			if i >= 0 && !a.urged {
				if i > 0 {
					st.Data(d, b[:i])
				}
				b = b[i+1:]
			}
		}
		if len(b) > 0 {
			st.Data(d, b)
		}
	}
	if missing > 0 && f.stream == st {
		f.tcp.forget(f.sh, e)
		st.Gap(d, int64(missing))
	}
	f.letIdle()
}

// letIdle lets go of what is held for a stream that wants no more.
func (f *flow) letIdle() {
	if f.stream != nil && f.stream.Idle() {
		f.letGo()
	}
}

// keep remembers delivered bytes until they are acknowledged, and those of a request until it is all there: a second copy of
// its end may come when its beginning was acknowledged.
func (f *flow) keep(side uint8, seq uint32, b []byte) {
	a := f.assembly(&f.tcp.ep[side])
	if a.sentSeq+uint32(len(a.sent)) != seq {
		a.sent, a.pre = a.sent[:0], nil
	}
	if len(a.sent)+len(b) > sentLimit {
		if len(a.pre) == 0 && len(a.sent) > 0 && side == f.openSide {
			a.pre, a.preSeq = bytes.Clone(a.sent[:min(len(a.sent), preLimit)]), a.sentSeq
		}
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
		a.sent, a.pre = nil, nil
	}
}

// urge notes the byte that an urgent pointer names, which Linux takes out of the stream (tcp_check_urg, tcp_recvmsg_locked).
func (f *flow) urge(side uint8, seq uint32, p *Packet) {
	e := &f.tcp.ep[side]
	ptr := uint32(p.L4[18])<<8 | uint32(p.L4[19])
	if ptr > 0 {
		ptr-- // it names the byte behind (net.ipv4.tcp_stdurg = 0)
	}
	u := seq + ptr
	if seqDelta(u, e.edge) < 0 {
		return
	}
	// There is one at a time: a byte that was urgent and is not read yet when the pointer moves on stays in the stream.
	if a := f.assembly(e); seqDelta(u, e.next) >= 0 && (!a.urged || seqDelta(u, a.urgent) > 0) {
		a.urgent, a.urged = u, true
	}
	// A program may ask for it in its place (SO_OOBINLINE).
	f.shaped(side, p, UrgentData, nil, nil, f.dispute(side, seq, nil, p.TTL))
	f.more.disp.urge(side, u, p.TTL)
}

// letGo drops all bytes held for a stream that wants no more. The runs stay, so that gaps are still counted.
func (f *flow) letGo() {
	for i := range f.tcp.ep {
		e := &f.tcp.ep[i]
		if e.asm == nil {
			continue
		}
		if len(e.asm.sent) > youngLimit || !f.tcp.ep[i^1].acted || f.stream == nil {
			f.tcp.forget(f.sh, e)
		} // else until it is acknowledged: what made the stream idle may not be what the receiver took
		f.sh.buffered -= e.asm.bytes
		e.asm.bytes, e.asm.aside = 0, nil
		for j := range e.asm.ahead {
			e.asm.ahead[j].data = nil
		}
	}
}

// compare looks for bytes of b, from seq on, that were there before and were different, and have not been acknowledged.
func (f *flow) compare(side uint8, e *endpoint, seq uint32, b []byte, p *Packet) {
	a := e.asm
	if d := seqDelta(e.edge, seq); d > 0 {
		b, seq = skipBytes(b, uint32(d)), e.edge
	}
	if len(b) == 0 {
		return
	}
	for i := range a.aside {
		if o := &a.aside[i]; unlike(o.seq, o.data, seq, b) {
			first, second := sample(o.seq, o.data, seq, b)
			f.shaped(side, p, o.why.String(), first, second, o.why.open() && f.dispute(side, o.seq, o.data, o.ttl))
		}
	}
	first, second, found := []byte(nil), []byte(nil), unlike(a.sentSeq, a.sent, seq, b)
	if found {
		first, second = sample(a.sentSeq, a.sent, seq, b)
	}
	i := 0 // the first that ends behind seq: a comb of runs costs its own segments, and not those that come after it
	if !found && len(a.ahead) > 0 {
		i, _ = slices.BinarySearchFunc(a.ahead, seq, func(b block, seq uint32) int {
			if seqDelta(b.end, seq) <= 0 {
				return -1
			}
			return 1
		})
	}
	for ; i < len(a.ahead) && !found && seqDelta(a.ahead[i].seq, seq+uint32(len(b))) < 0; i++ {
		if found = unlike(a.ahead[i].seq, a.ahead[i].data, seq, b); found {
			first, second = sample(a.ahead[i].seq, a.ahead[i].data, seq, b)
		}
	}
	// One byte that differs is a keep-alive's, unless the peer has spoken.
	if !found || len(b) == 1 && !f.tcp.ep[side^1].acted {
		return
	}
	f.weird("Retransmission_inconsistency", "", "TCP")
	f.shaped(side, p, CopiesDiffer, first, second, f.dispute(side, seq, b, p.TTL))
}

// insert puts a run among those behind holes.
func (f *flow) insert(side uint8, nb block) {
	a := f.assembly(&f.tcp.ep[side])
	i, _ := slices.BinarySearchFunc(a.ahead, nb.seq, func(b block, seq uint32) int {
		if seqDelta(b.seq, seq) < 0 {
			return -1
		}
		return 1
	}) // the first that does not begin before it
	if i < len(a.ahead) && a.ahead[i].seq == nb.seq && seqDelta(nb.end, a.ahead[i].end) <= 0 {
		return
	}
	join := false
	if i > 0 {
		last := &a.ahead[i-1]
		if seqDelta(nb.end, last.end) <= 0 {
			return
		}
		join = last.end == nb.seq && last.doubt == nb.doubt && last.passed == nb.passed && last.whole() && (last.data == nil) == (nb.data == nil) &&
			(last.ttl == nb.ttl || len(a.ahead) > mixedRuns)
	}
	covered := i
	for covered < len(a.ahead) && seqDelta(a.ahead[covered].end, nb.end) <= 0 {
		b := &a.ahead[covered]
		f.gives(side, b.seq, b.data, nb.seq, nb.data, b.ttl)
		f.unhold(a, len(b.data))
		covered++
	}
	f.unhold(a, -len(nb.data))
	if join {
		last := &a.ahead[i-1]
		last.end, last.ttl = nb.end, min(last.ttl, nb.ttl)
		if nb.data != nil {
			last.data = append(last.data, nb.data...)
		}
		a.ahead = slices.Delete(a.ahead, i, covered)
		return
	}
	if nb.data != nil {
		nb.data = bytes.Clone(nb.data)
	}
	if covered > i {
		a.ahead[i] = nb
		a.ahead = slices.Delete(a.ahead, i+1, covered)
		return
	}
	a.ahead = slices.Insert(a.ahead, i, nb)
}

// unhold takes n bytes off what is held.
func (f *flow) unhold(a *assembly, n int) {
	a.bytes -= n
	f.sh.buffered -= n
}

// drain delivers the runs that have become next.
func (f *flow) drain(side uint8) {
	e := &f.tcp.ep[side]
	a := e.asm
	if a == nil {
		return
	}
	n := 0
	for n < len(a.ahead) && seqDelta(a.ahead[n].seq, e.next) <= 0 {
		b := a.ahead[n]
		n++
		f.unhold(a, len(b.data))
		if n := seqDelta(e.next, b.seq); n > 0 && f.more != nil && f.more.disp != nil {
			f.gives(side, b.seq, clip(b.data, uint32(n)), a.sentSeq, a.sent, b.ttl)
		}
		switch {
		case seqDelta(b.end, e.next) <= 0:
		case b.passed:
			f.pass(side, uint64(b.end-e.next))
		default:
			f.deliver(side, b.end, skipBytes(b.data, e.next-b.seq), b.doubt, f.live())
		}
	}
	if n > 0 {
		a.ahead = slices.Delete(a.ahead, 0, n)
	}
}

// settle gives up holes that the other side has acknowledged: what is missing there will not come any more.
func (f *flow) settle(side uint8) {
	e := &f.tcp.ep[side]
	for a := e.asm; a != nil && len(a.ahead) > 0 && seqDelta(e.edge, e.next) > 0; {
		upTo := a.ahead[0].seq
		if seqDelta(upTo, e.edge) > 0 {
			upTo = e.edge
		}
		f.fill(side, upTo)
		f.drain(side)
	}
}

// fill comes to upTo, with what the receiver seems to have taken after all, and with gaps.
func (f *flow) fill(side uint8, upTo uint32) {
	e := &f.tcp.ep[side]
	for seqDelta(upTo, e.next) > 0 {
		to := upTo
		if a := e.asm; a != nil {
			// The last of them counts: what came before it was there already when it was sent, and had not been taken.
			best := -1
			for i := range a.aside {
				b := &a.aside[i]
				if seqDelta(b.end, e.next) <= 0 {
					continue
				}
				if seqDelta(b.seq, e.next) <= 0 {
					best = i
				} else if seqDelta(b.seq, to) < 0 {
					to = b.seq
				}
			}
			if best >= 0 {
				b := a.aside[best]
				end := b.end
				if seqDelta(end, upTo) > 0 {
					end = upTo
				}
				f.sh.Counters.Taken++
				at := f.sh.at
				f.sh.at = b.at
				f.deliver(side, end, clip(skipBytes(b.data, e.next-b.seq), end-e.next), b.doubt, f.live())
				f.sh.at = at
				continue
			}
		}
		f.gap(side, to)
	}
	f.dropAside(e)
}

func clip(b []byte, n uint32) []byte { return b[:min(int(n), len(b))] }

// dropAside drops what was set aside and is of the past now.
func (f *flow) dropAside(e *endpoint) {
	a := e.asm
	if a == nil || len(a.aside) == 0 {
		return
	}
	a.aside = slices.DeleteFunc(a.aside, func(b aside) bool {
		over := seqDelta(b.end, e.next) <= 0
		if over {
			f.unhold(a, len(b.data))
		}
		return over
	})
}

// bound gives up the first hole when too much waits behind it.
func (f *flow) bound(side uint8) {
	e := &f.tcp.ep[side]
	a := e.asm
	for a != nil && len(a.ahead) > 0 {
		switch waiting := seqDelta(a.ahead[len(a.ahead)-1].end, e.next); {
		case !f.tcp.ep[side^1].acted && waiting > aheadUnacked:
			f.weird("above_hole_data_without_any_acks", "", "TCP")
		case a.bytes > aheadLimit || len(a.ahead) > aheadRuns || a.bytes > 0 && f.sh.buffered > shardBuffered:
			f.sh.Counters.Dropped += uint64(a.ahead[0].seq - e.next)
			f.weird("reassembly_buffer_full", "", "TCP")
		default:
			return
		}
		f.fill(side, a.ahead[0].seq)
		f.drain(side)
	}
}

// flush hands out what still waits behind holes of a request that is not all there: the stream ends, and nothing will fill
// them. Nobody has acknowledged it, so that Zeek never reads it and no row counts it.
func (f *flow) flush() {
	side := f.openSide
	e := &f.tcp.ep[side]
	for e.asm != nil && len(e.asm.ahead) > 0 && f.stream != nil && f.unfinished(Orig) {
		upTo := e.asm.ahead[0].seq
		if seqDelta(upTo, e.edge) > 0 {
			e.edge = upTo
		}
		f.fill(side, upTo)
		f.drain(side)
	}
}

// gap skips to upTo: what lies before it was never captured.
func (f *flow) gap(side uint8, upTo uint32) {
	e := &f.tcp.ep[side]
	n := upTo - e.next
	counted := uint32(max(seqDelta(e.edge, e.next), 0)) // before it was filled in part: see data
	if !e.holed {
		e.holed, f.extra().holes[side] = true, e.next
	}
	e.next = upTo
	if n == 0 {
		return
	}
	if n > counted {
		f.lost(side, uint64(n-counted))
	}
	f.tcp.forget(f.sh, e)
	if f.more != nil && f.more.disp != nil {
		f.follow(side, nil, n)
	}
	if f.live() {
		if st := f.open(); st != nil {
			st.Gap(f.streamDir(side), int64(n))
			f.letIdle()
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

// acked takes the acknowledgement of side's bytes up to seq. What was acknowledged and not seen is lost.
func (f *flow) acked(side uint8, seq uint32) {
	t := f.tcp
	e := &t.ep[side]
	if !e.based {
		e.base(seq)
		return
	}
	if seqDelta(seq, e.edge) <= 0 {
		return
	}
	if !e.acted && !e.synced {
		e.base(seq) // nothing of this side ever comes: that is no loss within a stream
		return
	}
	upTo := seq
	if e.finned && seqDelta(seq, e.fin) > 0 && seqDelta(e.next, e.fin) >= 0 {
		e.finned = false // it took what came in the FIN's place
	}
	if e.finned && seqDelta(seq, e.fin) >= 0 {
		upTo = e.fin - 1
	}
	c, established := &f.sh.Counters, clean(e) && clean(&t.ep[side^1])
	if n := seqDelta(upTo, e.edge); established && n > 0 {
		c.Acks++
		c.AckedBytes += uint64(n)
	}
	if seqDelta(upTo, e.next) > 0 {
		before := c.GapBytes
		f.undelivered(side, upTo)
		if c.GapBytes > before && established {
			c.Gaps++
			c.Unseen += c.GapBytes - before
		}
	}
	e.edge = seq
	if f.more != nil && f.more.disp != nil && f.more.disp.side == side {
		f.secondUpTo(seq)
	}
	if a := e.asm; a != nil {
		if len(a.sent) > 0 {
			if n := int(seqDelta(seq, a.sentSeq)); n > 0 && side == f.openSide && f.unfinished(Orig) {
				// its beginning may be needed
			} else if n >= len(a.sent) {
				t.forget(f.sh, e)
			} else if n > 0 {
				a.sent = a.sent[:copy(a.sent, a.sent[n:])]
				a.sentSeq = seq
			}
		}
		f.drain(side)
		if e.asm == a && len(a.ahead)+len(a.aside) == 0 && a.sent == nil {
			f.sh.forgetAssembly(a) // nothing waits: others can have it
			e.asm = nil
		}
	}
	f.checkEOF(side)
}

// undelivered takes the acknowledgement of bytes that were not delivered.
func (f *flow) undelivered(side uint8, upTo uint32) {
	t := f.tcp
	e := &t.ep[side]
	// The beginning of a connection that was picked up mid-stream is made up: the first ACK may seem to say that
	// a byte or two before it are missing.
	if t.partial && seqDelta(upTo, e.startSeq) <= 2 {
		e.next = upTo
		return
	}
	for e.asm != nil && seqDelta(upTo, e.next) > 0 {
		known := upTo
		if len(e.asm.ahead) > 0 && seqDelta(e.asm.ahead[0].seq, upTo) < 0 {
			known = e.asm.ahead[0].seq
		} else if len(e.asm.aside) == 0 {
			break
		}
		if known == upTo && !e.covers(upTo) {
			break
		}
		f.fill(side, known)
		f.drain(side)
	}
	if seqDelta(upTo, e.next) <= 0 {
		return
	}
	f.gap(side, upTo)
}

// covers reports whether anything that was set aside has bytes between next and upTo.
func (e *endpoint) covers(upTo uint32) bool {
	for i := range e.asm.aside {
		if b := &e.asm.aside[i]; seqDelta(b.end, e.next) > 0 && seqDelta(b.seq, upTo) < 0 {
			return true
		}
	}
	return false
}
