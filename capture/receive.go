package capture

import (
	"bytes"
	"encoding/binary"
)

// What the receiver of a segment makes of it. The row of conn.log says what Zeek says of a packet, and Zeek believes much;
// what is read out of a stream must be what the receiver's kernel hands to its program. The rules are those of Linux
// (net/ipv4/tcp_input.c: tcp_validate_incoming, tcp_ack, tcp_data_queue; tcp_ipv4.c: tcp_inbound_hash), which Ray runs on,
// with RFC 9293, RFC 5961 and RFC 7323 behind them.

// doubt is why a receiver should not take a segment.
type doubt uint8

const (
	noDoubt       doubt = iota
	doubtChecksum       // its checksum is wrong
	doubtNoACK          // no ACK, SYN or RST: tcp_rcv_established discards it
	doubtHash           // signed with MD5 or AO in a connection that is not, or not signed in one that is
	doubtStamp          // older than the last in order (PAWS, RFC 7323 section 5)
	doubtSYN            // a SYN within the connection is answered and dropped (RFC 5961 section 4)
	doubtWindow         // beyond what the receiver has offered
	doubtOldACK         // acknowledges what is older than a window (RFC 5961 section 5)
	doubtReset          // a reset that does not name the next byte (RFC 5961 section 3)
	doubtOpening        // data in a SYN counts only as far as the answer takes it (RFC 7413)
)

func (d doubt) String() string {
	return [...]string{
		"", "a wrong checksum", "no ACK flag", "a signature that the connection does not use", "a time stamp of the past",
		"a SYN within the connection", "a place beyond the receiver's window", "an acknowledgement of the distant past",
		"a reset out of sequence", "data in a SYN",
	}[d]
}

// open reports whether the receiver may take such a segment all the same: it may not know of signatures, and what it knows of
// time and windows comes from packets of which we may have seen others.
func (d doubt) open() bool {
	return d == doubtHash || d == doubtStamp || d == doubtWindow || d == doubtOldACK
}

// judge says whether the receiver of p, which side sends, takes it. It looks at the connection as it was before p.
func (f *flow) judge(side uint8, p *Packet) doubt {
	if f.shadow {
		return noDoubt
	}
	n, t := p.PayloadLen(), f.tcp
	e, peer := &t.ep[side], &t.ep[side^1]
	if p.HdrLen > 20 || e.hashed {
		if why := f.options(e, peer, p); why != noDoubt {
			return why
		}
	}
	switch {
	case p.Flags&FlagRST != 0:
		if e.based && p.Seq != e.next && p.Seq != e.edge && !(e.finned && p.Seq == e.fin) {
			return doubtReset
		}
		return noDoubt
	case p.Flags&FlagSYN != 0:
		if e.synced && peer.synced && p.Seq+1 != e.next {
			return doubtSYN
		}
		if n > 0 {
			return doubtOpening
		}
		return noDoubt
	case p.Flags&FlagACK == 0:
		return doubtNoACK
	}
	if e.synced && peer.synced { // the scales of both windows are known
		// By two windows: the packet that moved it on may have been lost before the tap, or comes later.
		if w := min(peer.window, widest); w > 0 && seqDelta(p.Seq, peer.winAck+2*w) >= 0 && seqDelta(p.Seq, e.next) > 0 {
			return doubtWindow
		}
		if peer.based && seqDelta(p.Ack, peer.edge) < -(0xffff<<e.scale) {
			return doubtOldACK
		}
	}
	return noDoubt
}

// pawsWindow is how much older than the last a time stamp may be (TCP_PAWS_WINDOW in Linux's include/net/tcp.h). After one of
// 0 any is taken (tcp_paws_check).
const pawsWindow = 1

// widest is the largest there is (RFC 7323 section 2.3).
const widest = 1<<30 - 1

// TCP options.
const (
	optEnd    = 0
	optNOP    = 1
	optStamps = 8
	optMD5    = 19
	optAO     = 29
)

// options reads the options of p, of e, and judges by them. A time stamp is left in the shard.
func (f *flow) options(e, peer *endpoint, p *Packet) doubt {
	const usual = optNOP<<24 | optNOP<<16 | optStamps<<8 | 10 // of all that Linux sends once it is connected
	o := p.L4[20:p.HdrLen]
	s := f.sh
	s.stamped, s.hashed = false, false
	if len(o) == 12 && binary.BigEndian.Uint32(o) == usual {
		s.stamped, s.stamp = true, binary.BigEndian.Uint32(o[4:])
	} else {
		for len(o) > 0 && o[0] != optEnd {
			if o[0] == optNOP {
				o = o[1:]
				continue
			}
			if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
				break
			}
			switch {
			case o[0] == optStamps && o[1] == 10:
				s.stamped, s.stamp = true, binary.BigEndian.Uint32(o[2:])
			case o[0] == optMD5 && o[1] == 18, o[0] == optAO && o[1] >= 4:
				s.hashed = true
			}
			o = o[o[1]:]
		}
	}
	if s.hashed != e.hashed && e.based {
		return doubtHash
	}
	if s.stamped && e.stamps && peer.stamps && p.Flags&(FlagSYN|FlagRST) == 0 {
		if e.recent != 0 && seqDelta(s.stamp, e.recent) < -pawsWindow {
			return doubtStamp
		}
		// Only what begins where the receiver's last acknowledgement was tells of the time (tcp_replace_ts_recent: rcv_wup).
		if seqDelta(p.Seq, e.edge) <= 0 && seqDelta(s.stamp, e.recent) > 0 {
			e.recent = s.stamp
		}
	}
	return noDoubt
}

// receive takes a segment that side sends, of which judge has said why.
func (f *flow) receive(side uint8, p *Packet, why doubt) {
	t := f.tcp
	e := &t.ep[side]
	n := p.PayloadLen()
	syn, rst := p.Flags&FlagSYN != 0, p.Flags&FlagRST != 0
	seq := p.Seq
	if why > noDoubt && why != doubtOpening {
		f.sh.Counters.Doubted++
		if n > 0 && !rst {
			f.setAside(side, p, why)
		}
		return
	}
	if syn && !rst {
		seq++
		f.opens(side, p)
	}
	if p.Flags&FlagACK != 0 {
		f.acked(side^1, p.Ack)
	}
	if p.Flags&FlagURG != 0 && e.based && !syn && !rst && f.live() {
		f.urge(side, seq, p)
	}
	switch {
	case rst:
		f.reset(side)
		return
	case n == 0:
	case why != noDoubt:
		f.setAside(side, p, why)
	case !e.based && n == 1 && (f.more == nil || !f.more.cut):
		// A keep-alive, of which the byte is one that was there before (RFC 1122 section 4.2.3.6), or a key that somebody
		// pressed.
		f.base(side, seq+1)
	default:
		if !e.based {
			f.base(side, seq)
		}
		f.data(side, seq, p)
	}
	if p.Flags&FlagFIN != 0 {
		if !e.based {
			f.base(side, seq)
		}
		// One that lies before what came is an old segment (tcp_data_queue), unless what came was made up: see gap.
		if end := seq + uint32(n); seqDelta(end, e.next) >= 0 || e.holed && !e.finned {
			e.finned, e.fin = true, end+1
		}
	}
}

// opens takes a SYN, or the answer to one.
func (f *flow) opens(side uint8, p *Packet) {
	e, peer := &f.tcp.ep[side], &f.tcp.ep[side^1]
	first := !e.synced
	if !e.based || !peer.synced || first {
		if !e.based || e.next != p.Seq+1 {
			f.base(side, p.Seq+1)
		}
		e.synced = true
		if p.HdrLen > 20 { // judge has read them
			e.stamps, e.recent, e.hashed = f.sh.stamped, f.sh.stamp, f.sh.hashed
		}
	}
	// The answer says which of several SYNs came, and how much of the data in it was taken.
	if first && p.Flags&FlagACK != 0 && peer.based && p.Ack != peer.next && !(peer.asm != nil && peer.covers(p.Ack)) {
		peer.base(p.Ack)
	}
}

// asideRuns is how many segments of a side may wait for it to turn out that the receiver took them.
const asideRuns = 64

// setAside keeps what the receiver of p should not take, in case that it acknowledges those bytes and there is no other
// copy: then it did take it, or the other was lost on its way to us.
func (f *flow) setAside(side uint8, p *Packet, why doubt) {
	e := &f.tcp.ep[side]
	b := p.Payload()
	if n := p.PayloadLen(); len(b) > n {
		b = b[:n]
	}
	seq := p.Seq
	if p.Flags&FlagSYN != 0 {
		seq++
	}
	if f.shadow || len(b) == 0 || !e.based || p.Flags&FlagRST != 0 || !f.live() {
		return
	}
	end := seq + uint32(len(b))
	if a := e.asm; a != nil && why.open() && seqDelta(end, e.edge) > 0 {
		c, from := b, seq
		if d := seqDelta(e.edge, seq); d > 0 {
			c, from = skipBytes(b, uint32(d)), e.edge
		}
		if unlike(a.sentSeq, a.sent, from, c) {
			first, second := sample(a.sentSeq, a.sent, from, c)
			f.shaped(side, p, why.String(), first, second, f.dispute(side, from, c, p.TTL))
		}
	}
	if seqDelta(end, e.next) <= 0 || seqDelta(seq, e.next) > beyondLimit {
		return
	}
	a := f.assembly(e)
	if len(a.aside) >= asideRuns || a.bytes > aheadLimit || f.sh.buffered > shardBuffered {
		f.sh.Counters.AsideFull++
		return
	}
	f.unhold(a, -len(b))
	a.aside = append(a.aside, aside{block{seq: seq, end: end, data: append([]byte(nil), b...), doubt: why == doubtChecksum, ttl: p.TTL}, f.sh.at, why, p.TTL})
}

// Unfinisher is a Stream that knows whether something has begun and not ended: a request that is not all there, an answer
// that is still owed.
type Unfinisher interface {
	Unfinished(dir Dir) bool
}

// unfinished reports whether the stream is in the middle of what d sends, or owes.
func (f *flow) unfinished(d Dir) bool {
	u, ok := f.stream.(Unfinisher)
	return ok && u.Unfinished(d)
}

// reset takes a reset of side that its receiver believes.
func (f *flow) reset(side uint8) {
	t := f.tcp
	if f.stream == nil || t.ep[side].finned {
		return // it had said that it was done, and the other side may be still speaking
	}
	if f.sh.cfg.Wait > 0 && (f.unfinished(Orig) || f.unfinished(Resp)) {
		// It may not arrive, and what was sent before it may come later.
		if !t.waits {
			f.setWaiting(&waiting{})
		}
		if w := f.waiting(); w.resetAt == 0 {
			w.resetAt, w.resetBy = f.sh.now.Add(f.sh.cfg.Wait), side
			if w.due == 0 {
				f.schedule(w, w.resetAt)
			}
		}
		return
	}
	f.endReset(side)
}

// endReset ends the stream of a connection that was reset by side.
func (f *flow) endReset(side uint8) {
	st := f.stream
	if st == nil {
		return
	}
	if e := &f.tcp.ep[f.openSide]; e.asm != nil && f.unfinished(Orig) {
		f.remember(e)
	}
	if e := &f.tcp.ep[side]; !e.didEOF {
		e.didEOF = true
		st.End(f.streamDir(side))
	}
	f.finish()
}

const (
	// What is kept of a request that was cut short, and of all in a shard: 64 MiB over all shards.
	begunLimit   = 16 << 10
	shardBegun   = 64 << 20 / ShardCount
	begunAtLeast = 256 // what one is taken for, however short
)

// remember keeps the beginning of the request that e is in the middle of: the reset that cut it short may not arrive.
func (f *flow) remember(e *endpoint) {
	b := e.asm.sent
	if f.shadow || len(b) == 0 || e.asm.sentSeq+uint32(len(b)) != e.next {
		return
	}
	if len(b) > begunLimit || f.sh.begun+max(len(b), begunAtLeast) > shardBegun {
		f.sh.Counters.BegunFull++
		f.weird("reset_request_not_kept", "", "")
		return
	}
	f.forgetBegun()
	x := f.extra()
	x.begun, x.begunAt = bytes.Clone(b), e.next
	f.sh.begun += max(len(b), begunAtLeast)
}

func (f *flow) forgetBegun() {
	if x := f.more; x != nil && x.begun != nil {
		f.sh.begun -= max(len(x.begun), begunAtLeast)
		x.begun = nil
	}
}

// resume opens the stream of a request that goes on where a reset had cut it short, if that is what side sends at seq.
func (f *flow) resume(side uint8, seq uint32) {
	x := f.more
	if b := x.begun; b != nil && side == f.openSide {
		if seq == x.begunAt && !f.opened {
			f.opened = true
			if f.stream = f.sh.cfg.Open(f, f.mid); f.stream != nil {
				f.tcp.over = false
				f.tcp.ep[0].didEOF, f.tcp.ep[1].didEOF = false, false
				f.keep(side, seq-uint32(len(b)), b)
				f.stream.Data(f.streamDir(side), b)
			}
		}
		f.forgetBegun()
	}
}
