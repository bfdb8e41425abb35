package capture

import (
	"regexp"
	"strconv"
	"time"
)

// The TCP state machine: what each side has done, as conn_state, history and byte counts of Zeek's conn.log tell it.
// A connection in Zeek's log and in ours goes through the same states for the same packets; where the names differ
// from RFC 9293 they are Zeek's.

type tcpState uint8

const (
	tcpInactive   tcpState = iota // nothing seen from this side
	tcpSynSent                    // SYN
	tcpSynAckSent                 // SYN-ACK by the side taken for the originator
	tcpPartial                    // something, but no SYN
	tcpEstablished
	tcpClosed // FIN
	tcpReset  // RST
)

// Bits of flow.histSeen; the responder's are shifted by 16.
const (
	histSYN = 1 << iota
	histFIN
	histRST
	histFINRST
	histData
	histACK
	histMulti
	histSkip // of neither side
)

// A sequence number that jumps further than this in a SYN or RST, or in an ACK of zero, is a forgery or a bug.
const tooLargeSeqDelta = 1 << 20

// endpoint is one side of a connection. Relative sequence numbers count from the SYN: the first byte is 1.
type endpoint struct {
	state, prev tcpState
	didClose    bool // its end was taken into account
	didEOF      bool // its stream was told to be over
	acted       bool
	scale       uint8
	ttl         uint8 // the highest
	fins        uint8
	rsts        uint8
	based       bool // next and edge are known
	synced      bool // they began with a SYN
	finned      bool // its receiver takes a FIN, before fin
	stamps      bool // its SYN had time stamps
	hashed      bool // its SYN, or its first data, was signed (RFC 2385, RFC 5925)
	holed       bool // what lies between flowMore.holes and next was taken for lost, and nothing came behind it
	seqWraps    uint16
	ackWraps    uint16
	startSeq    uint32
	lastSeq     uint32 // one past the highest sequence number sent
	ackSeq      uint32 // highest acknowledged by the peer
	window      uint32 // advertised, scaled
	winAck      uint32 // acknowledgement and sequence number at which window was set
	winSeq      uint32
	lastSYN     uint32 // relative sequence numbers of the last SYN, FIN, RST: a different one is noted again
	lastFIN     uint32
	lastRST     uint32

	// How the receiver puts this side's bytes together: the numbers are those of the wire, and begin where the first byte
	// is, whatever later packets of the flow claim.
	next   uint32 // the next byte to deliver
	edge   uint32 // acknowledged up to here
	fin    uint32
	recent uint32 // time stamp of the last segment in order (TS.Recent of RFC 7323)
	asm    *assembly
	odd    *oddities
}

// oddities are counts that most endpoints never have.
type oddities struct {
	badSums, retrans, zeroWin, gaps uint32
}

func (e *endpoint) oddities() *oddities {
	if e.odd == nil {
		e.odd = &oddities{}
	}
	return e.odd
}

// tcpConn is the TCP part of a flow; ep is indexed by side.
type tcpConn struct {
	ep            [2]endpoint
	firstSeen     uint8 // bit 0 the originator, bit 1 the responder
	partial       bool
	closeDeferred bool
	oneSided      bool // a side does not come, or its SYN does not: nothing waits for that
	over          bool // the stream was told of its end; if more comes another begins
	waits         bool // see flow.waiting
}

func seqDelta(a, b uint32) int32 { return int32(a - b) }

func full(seq uint32, wraps uint16) uint64 { return uint64(wraps)<<32 + uint64(seq) }

func (e *endpoint) initSeq(start, last uint32) { e.startSeq, e.ackSeq, e.lastSeq = start, start, last }

func (e *endpoint) updateLast(seq uint32) {
	if seq < e.lastSeq {
		e.seqWraps++
	}
	e.lastSeq = seq
}

func (e *endpoint) updateAck(seq uint32) {
	if seq < e.ackSeq {
		e.ackWraps++
	}
	e.ackSeq = seq
}

func (e *endpoint) noDataAcked() bool {
	a := full(e.ackSeq, e.ackWraps)
	return a == uint64(e.startSeq) || a == uint64(e.startSeq)+1
}

func (e *endpoint) active() bool { return e.state != tcpInactive && !e.didClose }

// rel is the relative sequence number of seq, given the last one seen and how often it wrapped; under is set when it
// lies before the beginning.
func (e *endpoint) rel(seq, last uint32, wraps uint16) (r uint64, under bool) {
	switch d := seqDelta(seq, last); {
	case d < 0 && wraps > 0 && seq > last:
		wraps--
	case d > 0 && seq < last:
		wraps++
	}
	if wraps == 0 {
		d := seqDelta(seq, e.startSeq)
		return uint64(int64(d)), d < 0
	}
	return full(seq, wraps) - uint64(e.startSeq), false
}

// size is the payload that side sent by its sequence numbers.
func (t *tcpConn) size(side uint8) uint64 {
	e, peer := &t.ep[side], &t.ep[side^1]
	if e.prev == tcpSynSent && e.state == tcpReset && peer.state == tcpInactive && !e.noDataAcked() {
		return 0 // a half-open connection was discovered and aborted: the numbers mean nothing
	}
	n := max(full(e.lastSeq, e.seqWraps), full(e.ackSeq, e.ackWraps)) - uint64(e.startSeq)
	if n != 0 {
		n-- // the SYN
	}
	if e.fins > 0 && n != 0 {
		n--
	}
	return n
}

// unanswered says whether the connection is an attempt that nobody answered.
func (t *tcpConn) unanswered(f *flow) bool {
	o, r := &t.ep[f.origSide], &t.ep[f.origSide^1]
	return (o.state == tcpSynSent || o.state == tcpSynAckSent) && r.state == tcpInactive
}

// halfClosed says that one side is done and the other will hardly come back.
func (t *tcpConn) halfClosed() bool {
	a, b := &t.ep[0], &t.ep[1]
	return (a.didClose || b.didClose) &&
		(a.didClose && b.didClose || a.state == tcpReset || b.state == tcpReset || a.state == tcpInactive || b.state == tcpInactive)
}

// reused says whether p, of an existing connection's tuple, begins a new one.
func (t *tcpConn) reused(f *flow, side uint8, p *Packet) bool {
	if p.Flags&FlagSYN == 0 || p.HdrLen < 20 {
		return false
	}
	if w := f.waiting(); w != nil && w.unbegun {
		if p.Flags&FlagACK != 0 {
			return false // it waits, too
		}
		f.force(w) // what waited is of another connection
	}
	o, r := &t.ep[f.origSide], &t.ep[f.origSide^1]
	first := o
	if p.Flags&FlagACK != 0 {
		if o.state != tcpInactive {
			return false
		}
		first = r
	}
	switch closed := o.didClose && r.didClose || f.dueAt != 0; {
	case !closed:
		if p.Seq == first.startSeq ||
			p.Flags&FlagACK == 0 && first.state == tcpSynAckSent && r.state == tcpInactive && p.Seq == r.startSeq {
			return false // the same SYN again, or the SYN to a SYN-ACK that was seen before it
		}
		if first.state == tcpSynSent {
			f.weird("SYN_seq_jump", "", "TCP")
		} else {
			f.weird("active_connection_reuse", "", "TCP")
		}
	case o.state == tcpReset || r.state == tcpReset:
	case o.active() || r.active():
		f.weird("active_connection_reuse", "", "TCP")
	case p.Time.Sub(f.last) < closeDelay:
		f.weird("premature_connection_reuse", "", "TCP")
	}
	return true
}

// setState moves an endpoint on. A handshake that is through gets the long time-out.
func (f *flow) setState(e *endpoint, to tcpState) {
	if e.state == to {
		return
	}
	if to > tcpSynAckSent && e.state <= tcpSynAckSent {
		if peer := f.tcp.peer(e); peer.state <= tcpSynAckSent && f.idle() == idleShort {
			f.timeout = int32(idleTCP / time.Second)
		}
	}
	e.prev, e.state = e.state, to
}

func (t *tcpConn) peer(e *endpoint) *endpoint {
	if e == &t.ep[0] {
		return &t.ep[1]
	}
	return &t.ep[0]
}

// segment takes a TCP packet sent by side.
// It is whole because it runs once a packet: each step reads and writes most of the same dozen values, which stay in registers.
func (f *flow) segment(side uint8, p *Packet) {
	t := f.tcp
	e, peer := &t.ep[side], &t.ep[side^1]
	if p.HdrLen < 20 {
		f.weird("bad_TCP_header_len", "", "TCP")
		return
	}
	if p.HdrLen > p.L4Len || p.HdrLen > len(p.L4) {
		f.weird("truncated_header", "", "TCP")
		return
	}
	if !f.checked(side, p) {
		if f.more == nil || f.more.strict == nil { // which says so otherwise
			f.weird("bad_TCP_checksum", "", "TCP")
			f.scaled(side, &e.oddities().badSums, 'C')
		}
		f.setAside(side, p, doubtChecksum)
		return
	}
	if x := f.more; x != nil && x.renewal && p.Flags&(FlagSYN|FlagACK|FlagRST) == FlagSYN|FlagACK && p.Ack == x.renewAt {
		f.renewed(side)
	}
	why := noDoubt
	if p.L4Len > p.HdrLen || p.Flags&(FlagSYN|FlagFIN|FlagRST|FlagACK) != FlagACK {
		why = f.judge(side, p)
	}
	e.ttl = max(e.ttl, p.TTL)
	isOrig := f.dir(side) == Orig
	n := p.PayloadLen()
	syn, fin, rst, ack := p.Flags&FlagSYN != 0, p.Flags&FlagFIN != 0, p.Flags&FlagRST != 0, p.Flags&FlagACK != 0

	// A connection is partial when its first packet is no SYN, or the responder's no SYN-ACK.
	if isOrig && t.firstSeen&1 == 0 {
		t.partial = !syn || ack
	} else if !isOrig && t.firstSeen&2 == 0 && !t.partial {
		t.partial = !syn
	}

	segLen := n
	if rst {
		segLen = 0 // data in a RST is a message to people, not part of the stream
	}
	segLen += b2i(syn) + b2i(fin)
	past := p.Seq + uint32(segLen)
	f.initEndpoint(side, e, p.Seq, past, syn)
	rel, under := e.rel(p.Seq, e.lastSeq, e.seqWraps)
	if under && !rst {
		f.weird("TCP_seq_underflow_or_misorder", "", "TCP")
	}
	f.noteFlags(side, e, syn, fin, rst, ack, rel, n)
	f.updateWindow(side, e, peer, p, syn, fin, rst)
	if !t.ep[0].didClose || !t.ep[1].didClose {
		f.last = p.Time
	}
	if syn {
		f.synWeirds(p, n, rst)
		initWindow(f, e, peer, p, ack)
	}
	if fin {
		e.fins += uint8(b2i(e.fins < 0xff))
	}
	if rst {
		e.rsts += uint8(b2i(e.rsts < 0xff))
	}

	if ack {
		if peer.state == tcpInactive {
			if !syn && !fin && !rst && (e.state == tcpSynSent || e.state == tcpSynAckSent || e.state == tcpEstablished) {
				f.weird("possible_split_routing", "", "")
			}
			peer.initSeq(p.Ack-1, p.Ack-1)
		} else if _, low := peer.rel(p.Ack, peer.ackSeq, peer.ackWraps); low {
			f.weird("TCP_ack_underflow_or_misorder", "", "TCP")
		} else if !rst {
			if d := seqDelta(p.Ack, peer.ackSeq); d > 0 && (p.Ack != 0 || d <= tooLargeSeqDelta) {
				peer.updateAck(p.Ack)
			}
		}
	}
	delta := f.updateLast(side, e, past, syn, fin, rst, n)
	if n > 0 && !rst && delta > 0 {
		// By sequence numbers, or what came in another order would not be counted.
		d := int(delta) - b2i(fin) - b2i(syn)
		if delta > tooLargeSeqDelta || why != noDoubt && why != doubtWindow {
			d = min(d, n)
		}
		f.add(side, d)
	}
	e.acted = true
	doClose := f.step(side, e, peer, p, syn, fin, rst, ack, n, delta)
	isOrig = f.dir(side) == Orig // a SYN behind its SYN-ACK flips the roles

	if isOrig {
		t.firstSeen |= 1
	} else {
		t.firstSeen |= 2
	}
	if p.Flags&(FlagSYN|FlagFIN|FlagRST|FlagURG|FlagACK) != FlagACK || why != noDoubt || n > 0 && !e.based {
		f.receive(side, p, why)
	} else if f.acked(side^1, p.Ack); n > 0 {
		f.data(side, p.Seq, p)
	}
	f.checkEOF(side)
	if doClose {
		f.connectionClosed(side)
	}
	f.pkts[side]++
	f.ipBytes[side] += uint64(p.IPLen)
}

// initEndpoint sets the beginning of a side's sequence numbers at its first packet, and again at a SYN that means it.
func (f *flow) initEndpoint(side uint8, e *endpoint, seq, past uint32, syn bool) {
	switch e.state {
	case tcpInactive:
		if syn {
			e.initSeq(seq, past)
		} else {
			// As if there had been a SYN, so that relative numbers begin at 1; last so that this packet is no duplicate.
			e.initSeq(seq-1, seq)
		}
	case tcpSynSent, tcpSynAckSent:
		if syn && seq != e.startSeq {
			f.weird("SYN_seq_jump", "", "")
			e.initSeq(seq, past)
		}
	case tcpEstablished, tcpPartial:
		if syn {
			if f.tcp.size(side) > 0 {
				f.weird("SYN_inside_connection", "", "")
			}
			if seq != e.startSeq {
				f.weird("SYN_seq_jump", "", "")
			}
			e.initSeq(seq, past)
		}
	case tcpReset:
		if syn && e.prev == tcpInactive {
			e.initSeq(seq, past) // the RST that came first may have been forged
		}
	}
}

// noteFlags writes the history.
func (f *flow) noteFlags(side uint8, e *endpoint, syn, fin, rst, ack bool, rel uint64, n int) {
	switch b2i(syn) + b2i(fin) + b2i(rst) {
	case 0:
		if n > 0 {
			f.mark(side, histData, 'D')
		} else if ack {
			f.mark(side, histACK, 'A')
		}
	case 1:
		switch {
		case syn:
			c := byte('S')
			if ack {
				c = 'H'
			}
			f.control(side, histSYN, c, &e.lastSYN, rel)
		case fin:
			f.control(side, histFIN, 'F', &e.lastFIN, rel+uint64(n))
		case rst:
			f.control(side, histRST, 'R', &e.lastRST, rel)
		}
	default:
		if fin && rst {
			f.mark(side, histFINRST, 'I')
		} else {
			f.mark(side, histMulti, 'Q')
		}
	}
}

func (f *flow) control(side uint8, bit uint32, c byte, last *uint32, rel uint64) {
	if f.mark(side, bit, c) && uint32(rel) != *last {
		f.again(side, c)
	}
	*last = uint32(rel)
}

func (f *flow) updateWindow(side uint8, e, peer *endpoint, p *Packet, syn, fin, rst bool) {
	if p.Window == 0 && !rst && peer.state != tcpClosed && e.state != tcpReset {
		f.scaled(side, &e.oddities().zeroWin, 'W')
	}
	if syn || fin || rst || e.state == tcpClosed || e.state == tcpReset {
		return
	}
	if seqDelta(p.Seq, e.winSeq) < 0 || seqDelta(p.Ack, e.winAck) < 0 {
		return
	}
	win := uint32(p.Window) << e.scale
	if advance := seqDelta(p.Ack+win, e.winAck+e.window); advance < 0 && -int64(advance) >= 1<<e.scale {
		f.weird("window_recision", "", "")
	}
	e.window, e.winAck, e.winSeq = win, p.Ack, p.Seq
}

func (f *flow) synWeirds(p *Packet, n int, rst bool) {
	if rst {
		f.weird("TCP_christmas", "", "TCP")
	}
	if p.Flags&FlagURG != 0 {
		f.weird("baroque_SYN", "", "TCP")
	}
	if n > 0 {
		f.weird("SYN_with_data", "", "TCP")
	}
}

// initWindow reads the window scale of a SYN (RFC 7323).
func initWindow(f *flow, e, peer *endpoint, p *Packet, ack bool) {
	scale := windowScale(p.L4[20:p.HdrLen])
	if scale < 0 {
		e.scale = 0
		if ack {
			peer.scale = 0
		}
		return
	}
	if scale > 14 {
		f.weird("TCP_scale_range", strconv.Itoa(scale), "TCP")
		scale = 14
	}
	e.scale = uint8(scale)
	e.winSeq, e.winAck = p.Seq, p.Ack
	peer.winSeq, peer.winAck = p.Ack, p.Seq
}

// windowScale finds the option in a TCP header's options, -1 if it is not there.
func windowScale(o []byte) int {
	scale := -1
	for len(o) > 0 && o[0] != 0 {
		if o[0] == 1 {
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] == 0 || int(o[1]) > len(o) {
			break
		}
		if o[0] == 3 && o[1] >= 3 {
			scale = int(o[2])
		}
		o = o[o[1]:]
	}
	return scale
}

// updateLast advances the highest sequence number seen and returns by how much past lies beyond it.
func (f *flow) updateLast(side uint8, e *endpoint, past uint32, syn, fin, rst bool, n int) int32 {
	d := seqDelta(past, e.lastSeq)
	switch {
	case (syn || rst) && (d > tooLargeSeqDelta || d < -tooLargeSeqDelta):
	case fin && e.lastSeq == e.startSeq+1:
		e.updateLast(past) // more than 2 GB between the SYN and the FIN that we saw
	case e.state == tcpReset:
	case d > 0:
		e.updateLast(past)
	case n > 0:
		f.scaled(side, &e.oddities().retrans, 'T')
	}
	return d
}

// step is the state machine. It says whether the side is closed by this packet.
// It is whole because it is one state machine, a case for each state, as Zeek's is.
func (f *flow) step(side uint8, e, peer *endpoint, p *Packet, syn, fin, rst, ack bool, n int, delta int32) (doClose bool) {
	switch e.state {
	case tcpInactive:
		return f.stepInactive(side, e, peer, p, syn, fin, rst, ack, n)
	case tcpSynSent, tcpSynAckSent:
		if syn {
			if f.dir(side) == Orig {
				if ack && !fin && !rst && e.state != tcpSynAckSent {
					f.weird("repeated_SYN_with_ack", "", "TCP")
				}
			} else if !ack && e.state != tcpSynSent {
				f.weird("repeated_SYN_reply_wo_ack", "", "TCP")
			}
		}
		if fin {
			if peer.state == tcpInactive || peer.state == tcpSynSent {
				f.weird("inappropriate_FIN", "", "TCP")
			}
			f.setState(e, tcpClosed)
			doClose = true
		}
		if rst {
			f.setState(e, tcpReset)
			doClose = true
		} else if n > 0 {
			f.weird("data_before_established", "", "TCP")
		}
	case tcpEstablished, tcpPartial:
		if syn && e.state == tcpPartial && peer.state == tcpInactive && !ack {
			f.weird("SYN_after_partial", "", "TCP")
			f.setState(e, tcpSynSent)
		}
		if fin && !rst {
			f.setState(e, tcpClosed)
			if peer.state == tcpReset && peer.prev == tcpClosed {
				f.setState(peer, tcpClosed) // its FIN came before its RST: a normal end after all
			}
			doClose = true
		}
		if rst {
			f.setState(e, tcpReset)
			doClose = true
		}
	case tcpClosed:
		if syn {
			f.weird("SYN_after_close", "", "TCP")
		}
		if fin && delta > 0 {
			f.weird("FIN_advanced_last_seq", "", "TCP")
		}
		if rst && peer.state != tcpClosed {
			f.setState(e, tcpReset)
			doClose = !e.didClose
			if f.dueAt == 0 {
				f.dueAt = f.sh.now.Add(closeDelay)
				f.sh.arm(f)
			}
		}
	case tcpReset:
		if syn {
			f.weird("SYN_after_reset", "", "TCP")
		}
		if fin {
			f.weird("FIN_after_reset", "", "TCP")
		}
		if n > 0 && !rst {
			f.weird("data_after_reset", "", "TCP")
		}
	}
	return doClose
}

func (f *flow) stepInactive(side uint8, e, peer *endpoint, p *Packet, syn, fin, rst, ack bool, n int) (doClose bool) {
	t, isOrig := f.tcp, f.dir(side) == Orig
	if syn {
		if isOrig {
			if ack {
				f.weird("connection_originator_SYN_ack", "", "TCP")
				f.setState(e, tcpSynAckSent)
			} else {
				f.setState(e, tcpSynSent)
			}
			f.attempt = true
			f.sh.arm(f)
		} else {
			switch {
			case ack:
				if peer.state != tcpInactive && peer.state != tcpPartial && !seqBetween(p.Ack, peer.startSeq, peer.lastSeq) {
					f.weird("bad_SYN_ack", "", "TCP")
				}
			case peer.state == tcpSynAckSent && p.Seq == e.startSeq:
				// The SYN comes behind its SYN-ACK (two taps, interrupt coalescing): this side opened it after all.
				t.partial = false
				f.relabel()
				f.setState(peer, tcpEstablished)
				t.firstSeen |= 1
			default:
				f.weird("simultaneous_open", "", "TCP")
			}
			if peer.state == tcpSynSent {
				f.setState(peer, tcpEstablished)
			} else if peer.state == tcpInactive {
				f.weird("unsolicited_SYN_response", "", "TCP")
			}
			f.setState(e, tcpEstablished)
			f.interactive()
		}
	}
	if fin {
		f.setState(e, tcpClosed)
		doClose = true
		if peer.state != tcpPartial && !syn {
			f.weird("spontaneous_FIN", "", "TCP")
		}
	}
	if rst {
		f.setState(e, tcpReset)
		doClose = true
		reject := isOrig && peer.state == tcpEstablished || !isOrig && (peer.state == tcpSynSent || peer.state == tcpSynAckSent)
		if !reject && peer.state == tcpInactive {
			f.weird("spontaneous_RST", "", "TCP")
		}
	}
	if e.state != tcpInactive {
		return doClose
	}
	switch {
	case !isOrig && n == 0 && t.ep[f.origSide].state == tcpSynSent:
		// An ACK of the SYN before the SYN-ACK: some stacks do that.
	case ack && peer.state == tcpEstablished:
		// We missed the SYN, but saw the SYN-ACK and now its ACK.
		f.setState(e, tcpEstablished)
		t.partial = false
		t.firstSeen |= 1 << f.dir(side)
	default:
		f.setState(e, tcpPartial)
	}
	return doClose
}

// interactive gives sessions at which people sit the time to think.
func (f *flow) interactive() {
	switch f.key.addr(f.origSide ^ 1).Port() {
	case 21, 22, 23, 513:
		f.timeout = int32(idleInteractive / time.Second)
	}
}

// relabel exchanges the roles, even after an event carried the old ones: the SYN decides. Later events carry a new
// identity with the same UID.
func (f *flow) relabel() {
	f.flip()
	if f.id != nil && (f.more == nil || !f.more.cut) {
		id := *f.id
		id.Orig, id.Resp = id.Resp, id.Orig
		f.id = &id
	}
}

func seqBetween(x, lo, hi uint32) bool { return seqDelta(x, lo) >= 0 && seqDelta(hi, x) >= 0 }

// connectionClosed takes a side's end into account, once all of its data was delivered.
func (f *flow) connectionClosed(side uint8) {
	t := f.tcp
	e, peer := &t.ep[side], &t.ep[side^1]
	if f.dataPending(side) {
		t.closeDeferred = true
		return
	}
	t.closeDeferred = false
	if e.didClose {
		return
	}
	e.didClose = true
	if e.state == tcpReset || peer.didClose || peer.state == tcpInactive {
		if f.dueAt == 0 {
			f.dueAt = max(f.sh.now, f.last).Add(closeDelay)
		}
	}
	f.sh.arm(f)
}

// dataPending says whether side sent data that was not delivered yet.
func (f *flow) dataPending(side uint8) bool {
	t := f.tcp
	e, peer := &t.ep[side], &t.ep[side^1]
	if !e.based {
		return false
	}
	switch d := seqDelta(e.lastSeq, e.next); {
	case d < 0:
		return false
	case d > 1: // more than the FIN
		return true
	}
	// Data of the peer that this side did not acknowledge yet: it may still answer.
	return e.state != tcpReset && peer.based && (seqDelta(peer.next, peer.edge) > 0 || peer.asm != nil && len(peer.asm.ahead) > 0)
}

// checkEOF tells the stream once that side is done.
func (f *flow) checkEOF(side uint8) {
	e := &f.tcp.ep[side]
	if f.tcp.closeDeferred && !f.dataPending(side) && (e.fins > 0 || e.state == tcpClosed || e.state == tcpReset) {
		f.tcp.closeDeferred = false
		f.connectionClosed(side)
	}
	if e.didEOF || !e.finned || seqDelta(e.fin-1, e.next) > 0 || f.dataPending(side) {
		return
	}
	if peer := &f.tcp.ep[side^1]; side == f.openSide && peer.acted && seqDelta(e.fin, e.edge) > 0 && f.unfinished(Orig) {
		return // it may not arrive: within a request it counts when it is acknowledged
	}
	e.didEOF = true
	if st := f.stream; st != nil {
		st.End(f.streamDir(side))
		if f.tcp.ep[side^1].didEOF {
			f.finish() // nothing more can come: let go of it now, while it is at hand, not when the flow has lingered
		} else {
			f.letIdle()
		}
	}
}

// finish ends the stream. Should more come after all, it is read in another.
func (f *flow) finish() {
	f.flush()
	f.secondEnds()
	st, t := f.stream, f.tcp
	if st == nil {
		return
	}
	f.stream, f.opened, t.over = nil, false, true
	st.Finish()
	f.letGo()
	f.forget()
}

var resetBeforeAnswer = regexp.MustCompile(`^\^?S[^HAFGIQ]*R`)

// connState is Zeek's summary of both sides' states.
func (t *tcpConn) connState(f *flow) string {
	o, r := t.ep[f.origSide].state, t.ep[f.origSide^1].state
	oQuiet, rQuiet := o == tcpInactive || o == tcpPartial, r == tcpInactive || r == tcpPartial
	switch {
	case r == tcpReset:
		switch {
		case o == tcpSynSent, o == tcpSynAckSent, o == tcpReset && t.size(f.origSide) == 0 && t.size(f.origSide^1) == 0:
			return "REJ"
		case oQuiet:
			return "RSTRH"
		}
		return "RSTR"
	case o == tcpReset:
		switch {
		case !rQuiet:
			return "RSTO"
		case resetBeforeAnswer.MatchString(f.history()):
			return "RSTOS0"
		}
		return "OTH"
	case o == tcpClosed && r == tcpClosed:
		return "SF"
	case o == tcpClosed:
		if rQuiet {
			return "SH"
		}
		return "S2"
	case r == tcpClosed:
		if oQuiet {
			return "SHR"
		}
		return "S3"
	case o == tcpSynSent && r == tcpInactive:
		return "S0"
	case o == tcpEstablished && r == tcpEstablished:
		return "S1"
	}
	return "OTH"
}
