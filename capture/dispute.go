package capture

import (
	"bytes"
	"slices"
)

// Two copies of the same bytes that differ. The receiver took one of them, and what it took cannot always be told from the
// wire: a packet may have died behind the tap (its TTL, a checksum that a card was to fill in), or it came to a receiver that
// puts overlaps together another way. So all are read, and what the server answers tells them apart: the flow's own stream
// has the first copy of every byte, a second the last, of those with the highest TTL. What comes after the copy that was
// taken is of the past for the receiver, so that where there are three the one in the middle counts: a third stream has the
// second copy, without the byte that is urgent, a fourth the first of those that have more hops left than what came before. They are made when they differ
// from those before. (Ptacek and Newsham, Insertion, Evasion, and Denial of Service, 1998.)

const (
	// Bytes of a message that a second reading may hold until they are acknowledged.
	disputeLimit = 256 << 10
	// Second readings in a shard at a time.
	shardDisputes = 64
	// What is shown of a copy.
	sampleLimit = 64
)

// The copies of a byte that are read beside the first.
const (
	lastCopy   = iota
	secondCopy // that of the first segment that differs from the first
	higherCopy // the first of those that have the most hops left
	otherCopies
)

// dispute is what is read of one side of a flow beside its own stream.
type dispute struct {
	side     uint8
	ttl      uint8  // of what was put over the first copies, for lastCopy
	next     uint32 // all have the bytes before it; not acknowledged from there on
	readings [otherCopies]reading
	over     []copied // of what the first reading does not have yet
	held     int      // bytes of over
	full     bool     // there was more than over takes
	urgent   uint32   // the byte that secondCopy leaves out, if urged
	urgeTTL  uint8    // of the packet that named it
	urged    bool
}

// reading is one choice among copies.
type reading struct {
	buf     []byte  // from dispute.next on
	mark    []uint8 // for each byte of buf: secondCopy: 1 if it is of the second; higherCopy: its TTL
	apart   uint8   // bits: the readings before it from which it differs
	given   []byte  // what it had before it differed from all of them,
	skipped int     // and how much came then that was not kept
	stream  Stream  // nil until it differs
}

// copied is another copy of bytes.
type copied struct {
	seq  uint32
	data []byte
	ttl  uint8
}

// Shaped says that side sent segments of which two readers can read different bytes: what came when, and why one of them
// should not count.
type Shaped struct {
	At
	Flow *Flow
	Dir  Dir
	Why  string // "copies that differ", or what is wrong with the first of them
	// What both copies have at the first byte that differs, cut to 64 bytes. Nil where nothing was compared.
	First, Second []byte
	TTL           [2]uint8 // the highest that the side used, and that of the odd packet
	// Read says that both copies go on to be read.
	Read bool
}

// Aside is an event that not everybody reads out of the flow.
type Aside struct {
	Event any
	From  Provenance // of the flow up to here
	// Reading is set in flows with several readings: 1 for what the first copies say, 2 for the last, 3 for another.
	Reading uint8
	// Over: the flow has made more events than its bytes are worth. This one is for detectors, and has no row.
	Over bool
}

// shapedLimit is how often each reason is told in a flow: the first may be a fault, and hide an intent.
const shapedLimit = 16

// shaped tells of segments that were made for two readers.
func (f *flow) shaped(side uint8, p *Packet, why string, first, second []byte, read bool) {
	x, n := f.extra(), 0
	for _, s := range x.said {
		n += b2i(s == why)
	}
	if n >= shapedLimit || len(x.said) >= serviceLimit*shapedLimit {
		return
	}
	x.said = append(x.said, why)
	f.Emit(&Shaped{
		At: At{f.sh.at.Time, p.Ordinal}, Flow: f.Flow(), Dir: f.dir(side), Why: why, First: bytes.Clone(first), Second: bytes.Clone(second),
		TTL: [2]uint8{f.tcp.ep[side].ttl, p.TTL}, Read: read,
	})
}

// sample gives what both have from the first byte on in which they differ.
func sample(aSeq uint32, a []byte, bSeq uint32, b []byte) (first, second []byte) {
	a, b = overlap(aSeq, a, bSeq, b)
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return a[i:min(len(a), i+sampleLimit)], b[i:min(len(b), i+sampleLimit)]
}

// overlap gives what of both has the same sequence numbers.
func overlap(aSeq uint32, a []byte, bSeq uint32, b []byte) (x, y []byte) {
	if d := int(seqDelta(bSeq, aSeq)); d >= 0 {
		a = a[min(d, len(a)):]
	} else {
		b = b[min(-d, len(b)):]
	}
	n := min(len(a), len(b))
	return a[:n], b[:n]
}

// unlike reports whether a, from aSeq on, and b, from bSeq on, share bytes that differ.
func unlike(aSeq uint32, a []byte, bSeq uint32, b []byte) bool {
	a, b = overlap(aSeq, a, bSeq, b)
	return !bytes.Equal(a, b)
}

// dispute has b, another copy of bytes from seq on, read beside the first.
func (f *flow) dispute(side uint8, seq uint32, b []byte, ttl uint8) bool {
	x, e := f.extra(), &f.tcp.ep[side]
	d := x.disp
	if d == nil {
		a := e.asm
		if f.shadow || a == nil || f.sh.disputes >= shardDisputes {
			f.sh.Counters.DisputesFull++
			return false
		}
		d = &dispute{side: side, next: e.next, ttl: ttl}
		var sent []byte
		if len(a.sent) > 0 && a.sentSeq+uint32(len(a.sent)) == e.next {
			d.next, sent = a.sentSeq, a.sent
		}
		d.extend(e, sent)
		f.sh.disputes++
		f.sh.Counters.Disputes++
		if len(a.pre) > 0 {
			for i := range d.readings {
				d.readings[i].given = bytes.Clone(a.pre)
				d.readings[i].skipped = int(max(seqDelta(d.next, a.preSeq+uint32(len(a.pre))), 0))
			}
		}
		x.disp = d
		if f.stream != nil {
			f.stream = disputed{f.stream, d}
		}
		f.secondOpens(lastCopy)
	}
	if d.side != side {
		return true
	}
	if n := seqDelta(seq, d.next); n < 0 {
		b, seq = skipBytes(b, uint32(-n)), d.next
	}
	if len(b) == 0 {
		return true
	}
	c := copied{seq, b, ttl}
	d.lay(c, 0)
	if end, have := seq+uint32(len(b)), d.next+uint32(len(d.readings[lastCopy].buf)); seqDelta(end, have) > 0 {
		if n := seqDelta(have, seq); n > 0 {
			c.seq, c.data = have, b[n:]
		}
		if seqDelta(c.seq, d.next) >= disputeLimit || d.held+len(c.data) > disputeLimit || len(d.over) >= aheadRuns {
			if !d.full {
				d.full = true
				f.sh.Counters.DisputesFull++
			}
			return true
		}
		c.data = bytes.Clone(c.data)
		d.over = append(d.over, c)
		d.held += len(c.data)
	}
	return true
}

// gives notes that the first reading gives up b, which waited behind a hole, for other, if they differ: another copy, though it
// came before.
func (f *flow) gives(side uint8, seq uint32, b []byte, otherSeq uint32, other []byte, ttl uint8) {
	if f.more != nil && f.more.disp != nil && f.more.disp.side == side && unlike(seq, b, otherSeq, other) {
		f.dispute(side, seq, b, ttl)
	}
}

// extend adds what the first reading has next to all.
func (d *dispute) extend(e *endpoint, b []byte) {
	for i := range d.readings {
		r := &d.readings[i]
		at := len(r.buf)
		r.buf = append(r.buf, b...)
		switch i {
		case secondCopy:
			r.mark = append(r.mark, make([]uint8, len(b))...)
		case higherCopy:
			for k := range b {
				r.mark = append(r.mark, e.hops(d.next+uint32(at+k)))
			}
		}
	}
}

// lay puts c over what is there from the offset from on.
func (d *dispute) lay(c copied, from int) {
	at, b := int(seqDelta(c.seq, d.next)), c.data
	if at < from {
		b, at = b[min(from-at, len(b)):], from
	}
	have := len(d.readings[lastCopy].buf)
	if at >= have {
		return
	}
	b = b[:min(len(b), have-at)]
	if c.ttl >= d.ttl {
		d.ttl = c.ttl
		copy(d.readings[lastCopy].buf[at:], b)
	}
	second, higher := &d.readings[secondCopy], &d.readings[higherCopy]
	for i, x := range b {
		if k := at + i; second.mark[k] == 0 {
			second.buf[k], second.mark[k] = x, 1
		}
	}
	for i, x := range b {
		if k := at + i; higher.mark[k] < c.ttl {
			higher.buf[k], higher.mark[k] = x, c.ttl
		}
	}
}

// follow gives the other readings what the first was given: n bytes, of which b were seen.
func (f *flow) follow(side uint8, b []byte, n uint32) {
	d := f.more.disp
	missing := n - uint32(len(b))
	if side != d.side {
		d.each(func(st Stream) {
			st.Data(f.streamDir(side), b)
			if missing > 0 {
				st.Gap(f.streamDir(side), int64(missing))
			}
		})
		return
	}
	old := len(d.readings[lastCopy].buf)
	d.extend(&f.tcp.ep[side], b)
	for _, o := range d.over {
		d.lay(o, old)
	}
	if missing > 0 || len(d.readings[lastCopy].buf) > disputeLimit {
		f.secondUpTo(d.next + uint32(len(d.readings[lastCopy].buf)))
	}
	if missing > 0 {
		d.each(func(st Stream) { st.Gap(f.streamDir(side), int64(missing)) })
		for i := range d.readings {
			d.readings[i].skipped += int(missing)
		}
		d.next += missing
	}
}

// each calls do with every stream that is there.
func (d *dispute) each(do func(Stream)) {
	for i := range d.readings {
		if st := d.readings[i].stream; st != nil {
			do(st)
		}
	}
}

// secondOpens makes the stream of a reading, and hands it what it had before.
func (f *flow) secondOpens(i int) {
	d := f.more.disp
	r := &d.readings[i]
	st := f.sh.cfg.Open(second{f, uint8(2 + min(i, 1))}, f.mid || f.tcp.over)
	r.stream = st
	if st != nil && len(r.given) > 0 {
		st.Data(f.streamDir(d.side), r.given)
	}
	if st != nil && r.skipped > 0 {
		st.Gap(f.streamDir(d.side), int64(r.skipped))
	}
	r.given, r.skipped = nil, 0
}

// disputed is the flow's own stream while there are other readings: bytes are put in order as long as one of them wants any.
// A first copy of which nobody makes anything is no reason not to read the second.
type disputed struct {
	Stream
	d *dispute
}

func (s disputed) Idle() bool { return s.Stream.Idle() && s.d.idle() }

func (s disputed) Data(dir Dir, b []byte) {
	if !s.Stream.Idle() || s.Stream.Watch(dir, b) {
		s.Stream.Data(dir, b)
	}
}

func (s disputed) Gap(dir Dir, n int64) {
	if !s.Stream.Idle() {
		s.Stream.Gap(dir, n)
	}
}

// Unfinished implements Unfinisher.
func (s disputed) Unfinished(dir Dir) bool {
	u, ok := s.Stream.(Unfinisher)
	return ok && u.Unfinished(dir)
}

// idle reports whether no other reading wants anything.
func (d *dispute) idle() bool {
	for i := range d.readings {
		if st := d.readings[i].stream; st != nil && !st.Idle() {
			return false
		}
	}
	return true
}

// secondUpTo hands the other readings what they have up to seq: it is acknowledged, so that no other copy counts any more.
func (f *flow) secondUpTo(seq uint32) {
	d := f.more.disp
	last := &d.readings[lastCopy]
	n := min(int(seqDelta(seq, d.next)), len(last.buf))
	if n <= 0 {
		return
	}
	d.next += uint32(n)
	d.held = 0
	kept := d.over[:0]
	for _, o := range d.over {
		if seqDelta(o.seq+uint32(len(o.data)), d.next) > 0 {
			kept = append(kept, o)
			d.held += len(o.data)
		}
	}
	clear(d.over[len(kept):])
	d.over = kept
	var now [otherCopies][]byte
	for i := range d.readings {
		r := &d.readings[i]
		now[i], r.buf = r.buf[:n], r.buf[n:]
		if r.mark != nil {
			r.mark = r.mark[n:]
		}
	}
	if at := int(seqDelta(d.urgent, d.next-uint32(n))); d.urged && at < n {
		if d.urged = false; at >= 0 {
			now[secondCopy] = slices.Concat(now[secondCopy][:at], now[secondCopy][at+1:])
		}
	}
	for i, b := range now {
		r := &d.readings[i]
		for k := range i {
			if r.apart&(1<<k) == 0 && !bytes.Equal(b, now[k]) {
				if r.apart |= 1 << k; r.apart == 1<<i-1 {
					f.secondOpens(i)
				}
			}
		}
		switch {
		case r.stream != nil:
			r.stream.Data(f.streamDir(d.side), b)
		case r.apart == 1<<i-1: // nobody wants it
		case r.skipped == 0 && len(r.given)+len(b) <= sentLimit:
			r.given = append(r.given, b...)
		default:
			r.skipped += len(b)
		}
	}
}

// urge notes an urgent byte for the reading that leaves it out.
func (d *dispute) urge(side uint8, at uint32, ttl uint8) {
	if d != nil && d.side == side && ttl >= d.urgeTTL {
		d.urgent, d.urgeTTL, d.urged = at, ttl, true
	}
}

// secondEnds ends the other readings.
func (f *flow) secondEnds() {
	if f.more == nil || f.more.disp == nil {
		return
	}
	d := f.more.disp
	f.secondUpTo(d.next + uint32(len(d.readings[lastCopy].buf)))
	f.sh.disputes--
	for i := range d.readings {
		st := d.readings[i].stream
		d.readings[i].stream = nil
		if st != nil {
			st.Finish()
		}
	}
	f.more.disp = nil
}

// hopsLimit is how many runs with fewer hops left than others are remembered of a side.
const hopsLimit = 64

// fewer notes that the bytes from seq to end came with fewer hops left than the side has elsewhere.
func (a *assembly) fewer(seq, end uint32, ttl uint8) {
	if len(a.low) >= hopsLimit {
		a.low = append(a.low[:0], a.low[hopsLimit/2:]...)
	}
	a.low = append(a.low, hops{seq, end, ttl})
}

// hops is a run of bytes with the TTL that it came with.
type hops struct {
	seq, end uint32
	ttl      uint8
}

// hops gives the TTL of the byte seq as it came first.
func (e *endpoint) hops(seq uint32) uint8 {
	if e.asm == nil {
		return e.ttl
	}
	for i := range e.asm.low {
		if h := &e.asm.low[i]; seqDelta(seq, h.seq) >= 0 && seqDelta(seq, h.end) < 0 {
			return h.ttl
		}
	}
	return e.ttl
}

// second is the Host of another reading: what it says goes to detectors, and changes nothing that the row has.
type second struct {
	*flow
	reading uint8 // as Aside has it
}

func (s second) Emit(ev any) {
	switch ev.(type) {
	case *Weird, *Progress:
		return
	}
	s.flow.sh.cfg.Emit(&Aside{Event: ev, From: Doubted, Reading: s.reading})
}

func (s second) Service(string) {}
func (s second) Refute(string)  {}
func (s second) Skip()          {}
func (s second) Flip() bool     { return false }
func (s second) Doubted() bool  { return true }
