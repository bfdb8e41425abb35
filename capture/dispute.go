package capture

import "bytes"

// Two copies of the same bytes that differ. The receiver took one of them, and what it took cannot always be told from the
// wire: a packet may have died behind the tap (its TTL, a checksum that a card was to fill in), or it came to a receiver that
// puts overlaps together another way. So both are read, and what the server answers tells them apart: one stream has the
// first copy of every byte, another the last, of those with the highest TTL. (Ptacek and Newsham, Insertion, Evasion, and
// Denial of Service, 1998.)

const (
	// Bytes of a message that a second reading may hold until they are acknowledged.
	disputeLimit = 256 << 10
	// Second readings in a shard at a time.
	shardDisputes = 64
	// What is shown of a copy.
	sampleLimit = 64
)

// dispute is a second reading of one side of a flow.
type dispute struct {
	side   uint8
	ttl    uint8 // of what was put over the first copies
	next   uint32
	buf    []byte // from next on, as the second reading has it; not acknowledged
	over   []block
	held   int // bytes of over
	stream Stream
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
	// Doubted: it was read out of packets whose checksums are wrong and which were believed. It is for detectors, not for
	// the logs that say what Zeek says. Begun says that a SYN with a right checksum was seen.
	Doubted, Begun bool
	// Reading is set in flows with two readings: 1 for what the first copies say, 2 for the last.
	Reading uint8
}

// shaped tells of segments that were made for two readers, once for each reason in a flow.
func (f *flow) shaped(side uint8, p *Packet, why string, first, second []byte, read bool) {
	x := f.extra()
	for _, s := range x.said {
		if s == why {
			return
		}
	}
	if len(x.said) >= serviceLimit {
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

// dispute has b, a second copy of bytes from seq on, read beside the first.
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
		if len(a.sent) > 0 && a.sentSeq+uint32(len(a.sent)) == e.next {
			d.next, d.buf = a.sentSeq, bytes.Clone(a.sent)
		}
		f.sh.disputes++
		f.sh.Counters.Disputes++
		d.stream = f.sh.cfg.Open(second{f}, f.mid || f.tcp.over)
		if len(a.pre) > 0 && d.stream != nil {
			dir := f.streamDir(side)
			d.stream.Data(dir, a.pre)
			if n := seqDelta(d.next, a.preSeq+uint32(len(a.pre))); n > 0 {
				d.stream.Gap(dir, int64(n))
			}
		}
		x.disp = d
	}
	if d.side != side || ttl < d.ttl {
		return true
	}
	d.ttl = ttl
	if n := seqDelta(seq, d.next); n < 0 {
		b, seq = skipBytes(b, uint32(-n)), d.next
	}
	d.lay(seq, b)
	return true
}

// lay puts b over what is there, and keeps it for what is not there yet.
func (d *dispute) lay(seq uint32, b []byte) {
	at := int(seqDelta(seq, d.next))
	if at < len(d.buf) {
		n := copy(d.buf[at:], b)
		b, at = b[n:], at+n
	}
	if len(b) > 0 && at < disputeLimit && d.held+len(b) <= disputeLimit {
		seq = d.next + uint32(at)
		d.over = append(d.over, block{seq: seq, end: seq + uint32(len(b)), data: bytes.Clone(b)})
		d.held += len(b)
	}
}

// follow gives the second reading what the first was given: n bytes, of which b were seen.
func (f *flow) follow(side uint8, b []byte, n uint32) {
	d := f.more.disp
	if d.stream == nil {
		return
	}
	if side != d.side {
		d.stream.Data(f.streamDir(side), b)
		if missing := n - uint32(len(b)); missing > 0 {
			d.stream.Gap(f.streamDir(side), int64(missing))
		}
		return
	}
	old := len(d.buf)
	at := d.next + uint32(old)
	d.buf = append(d.buf, b...)
	for _, o := range d.over {
		if i := int(seqDelta(o.seq, at)); i < len(b) {
			if i >= 0 {
				copy(d.buf[old+i:], o.data)
			} else if -i < len(o.data) {
				copy(d.buf[old:], o.data[-i:])
			}
		}
	}
	missing := n - uint32(len(b))
	if missing > 0 || len(d.buf) > disputeLimit {
		f.secondUpTo(d.next + uint32(len(d.buf)))
	}
	if missing > 0 {
		d.stream.Gap(f.streamDir(side), int64(missing))
		d.next += missing
	}
}

// secondUpTo hands the second reading what it has up to seq: it is acknowledged, so that no other copy counts any more.
func (f *flow) secondUpTo(seq uint32) {
	d := f.more.disp
	n := min(int(seqDelta(seq, d.next)), len(d.buf))
	if n <= 0 || d.stream == nil {
		return
	}
	b := d.buf[:n]
	d.next += uint32(n)
	d.buf = d.buf[n:]
	kept := d.over[:0]
	d.held = 0
	for _, o := range d.over {
		if seqDelta(o.end, d.next) > 0 {
			kept = append(kept, o)
			d.held += len(o.data)
		}
	}
	d.over = kept
	d.stream.Data(f.streamDir(d.side), b)
}

// secondEnds ends the second reading.
func (f *flow) secondEnds() {
	if f.more == nil || f.more.disp == nil {
		return
	}
	d := f.more.disp
	f.secondUpTo(d.next + uint32(len(d.buf)))
	st := d.stream
	d.stream = nil
	f.sh.disputes--
	if st != nil {
		st.Finish()
	}
	f.more.disp = nil
}

// second is the Host of a second reading: what it says goes to detectors, and changes nothing that the row has.
type second struct{ *flow }

func (s second) Emit(ev any) {
	switch ev.(type) {
	case *Weird, *Progress:
		return
	}
	s.flow.sh.cfg.Emit(&Aside{Event: ev, Doubted: true, Reading: 2})
}

func (s second) Service(string) {}
func (s second) Refute(string)  {}
func (s second) Skip()          {}
func (s second) Flip() bool     { return false }
func (s second) Doubted() bool  { return true }
