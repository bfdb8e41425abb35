package capture

import "slices"

// Shunting: of a flow whose bytes nobody wants any more the kernel counts the packets, and delivers none but those that
// may matter. Nine parts of a Ray cluster's traffic are objects on their way, and what they cost is the first look at
// memory that another processor wrote.
//
// A flow is shunted while everything in it is in order: both sides known, nothing waiting, nothing doubtful, no byte in
// dispute, and what decides how long the unwanted bytes go on acknowledged by its receiver, so that no other copy of it can
// count. From then on the kernel counts what is plainly the next segment of either side. The first packet that is not ends
// that: see shunt_prog_linux.go. The flow table takes over the counts before it takes that packet, and at each tick, so
// that rows and detectors say what they say without it.

// Shunt is where a live source counts flows. Its methods may be called from any goroutine, those of one slot from one at a
// time.
type Shunt interface {
	// Begin says which segments are to be delivered of flows that are watched, before the first Put.
	Begin(b *Beginnings) error
	// Put begins to count a flow. Frames with a time from at on were not delivered because of that, or ended it; 0: that
	// cannot be told by time. It is not ok if there is no room.
	Put(k *flowKey, sides *[2]shuntSide) (slot uint32, at Time, ok bool)
	// Out says whether a packet has ended the counting: 0 if none has.
	Out(slot uint32) uint32
	// Read reads the counts so far, by the sides of the key.
	Read(slot uint32, c *[2]shuntCounts)
	// Take ends the counting, and reads the counts.
	Take(k *flowKey, slot uint32, c *[2]shuntCounts)
}

// Shunter is a LiveSource that can count flows. Shunt gives nil if it cannot, after all.
type Shunter interface{ Shunt() Shunt }

// shuntSide is what the kernel is told of a side.
type shuntSide struct {
	left uint64 // payload that may pass
	next uint32 // sequence number of the next byte
	ack  uint32 // what the side has acknowledged
	unit uint32 // of its window
	bits uint32
	via  [viaSize]byte // the tunnel that its packets come through; of zeros: none
}

// Bits of shuntSide.
const (
	bitWatch  = 1 << iota // segments that begin like a protocol are to be delivered
	bitNoACK              // packets without payload are
	bitWindow             // what lies beyond the other side's window is
)

// shuntCounts is what the kernel has counted of a side, since Put.
type shuntCounts struct {
	packets, bytes, wire, payload uint64
	outer                         uint64 // bytes of IP of the tunnel's packets
	acked                         uint64 // by how much ack has moved
	run                           uint64 // payload since the other side had any
	last                          Time
	first                         uint32 // sequence number of the first packet
	ack, right                    uint32
	acks                          uint32 // packets that moved ack
	ready                         bool   // there was a packet
}

// Skipper is a Stream that can tell which bytes it does not want, and counts them when they have passed.
type Skipper interface {
	Stream
	// Unwanted says how many of the next bytes of dir are only counted, Unending for all. With watch those at whose
	// beginning a protocol may begin (Beginnings) are wanted all the same. Both directions are asked, and what the answers
	// rest on does not change as long as neither brings bytes that are wanted.
	Unwanted(dir Dir) (n int64, watch bool)
	// Passed says that n unwanted bytes of each direction have passed, and how many since the other direction had any.
	Passed(n, run [2]uint64)
}

// Unending is more than any stream has.
const Unending = 1 << 62

// ShuntConfig says which flows are shunted.
type ShuntConfig struct {
	Shunt Shunt // nil: none are
	// After is how many bytes of payload a flow has had before it is.
	After uint64
	// Least is how many bytes must be unwanted for it to be worth while, and Tail how many before those that are wanted
	// again are delivered, so that what ends with them ends at its time.
	Least, Tail uint64
	// Keeps, if set, says whether a recorder keeps the next packet of a flow, which is not shunted then.
	Keeps func(f *Facts) bool
	// Outers brings what is counted to the tunnels that it came through. Without, flows in tunnels are not shunted.
	Outers *Outers
}

// Defaults of ShuntConfig.
const (
	ShuntAfter = 1 << 20
	ShuntLeast = 1 << 20
	ShuntTail  = 128 << 10
)

const (
	// Counts are read this often,
	shuntRead = Time(250e6)
	// and a flow that had no packet for so long is not counted in the kernel any more: it costs nothing there or here, and
	// its place is for those that have some.
	shuntQuiet = Time(10e9)
	// What is found in the bytes before those that nobody wants is found after so long, and whether a recorder keeps the flow
	// for that is known then.
	shuntSettles = Time(100e6)
	// A flow whose shunting ended before the kernel had counted so many packets, or so many bytes in large ones, is shunted again
	// after twice as many bytes each time.
	shuntWorth      = 64
	shuntWorthBytes = 512 << 10
	maxBackoff      = 20
)

// shunted is what a flow has that is shunted, was, or is about to be.
type shunted struct {
	asked      [2]bool // from is set
	from       [2]uint32
	slot       uint32
	backoff    uint8
	place      int    // in Shard.shunts
	settles    Time   // when it may be, where there is a recorder; 0: its bytes are wanted
	next       uint64 // payload of the flow from which on it may be shunted again
	at         Time
	read       Time // when its counts were read
	moved      Time // when they had changed
	was        [2]shuntCounts
	seq        [2]uint64 // where the counts begin: by the side's sequence numbers, with their wraps
	ack        [2]uint64 // and what the side had acknowledged
	based      [2]bool   // seq is known
	outers     [2]*outer // tunnels that the sides' packets came through; nil: none
	outerSides [2]uint8  // sides of those from which they came
}

// consider shunts the flow if nobody wants its bytes. It is called where Progress is told, so that it costs bulk one look
// in 64 KiB and all else nothing.
func (f *flow) consider() {
	c, t := &f.sh.cfg.Shunt, f.tcp
	switch {
	case f.shadow || f.shunted:
		return
	case t == nil:
		f.considerDatagrams()
		return
	}
	sum := f.payload[0] + f.payload[1]
	if sum < c.After || !f.plain() {
		return
	}
	var x *shunted
	if f.more != nil {
		if x = f.more.shunt; x != nil && sum < x.next {
			return
		}
	}
	n, watch, ok := f.unwanted()
	if !ok || max(n[0], n[1]) < c.Least+c.Tail {
		if x != nil {
			x.asked, x.settles = [2]bool{}, 0
		}
		return
	}
	if f.kept() {
		return
	}
	if x == nil {
		x = &shunted{}
		f.extra().shunt = x
	}
	if !f.settled(x) {
		return
	}
	// What the answer rests on must have arrived: another copy that comes before that could be the one that counts.
	for side := range t.ep {
		e := &t.ep[side]
		if !x.asked[side] {
			x.asked[side], x.from[side] = true, e.next
		}
		if seqDelta(x.from[side], e.edge) > 0 {
			return
		}
	}
	f.leave(x, f.told(n, watch))
}

// told is what the kernel is told of both sides, of which so much is unwanted.
func (f *flow) told(n [2]uint64, watch [2]bool) (sides [2]shuntSide) {
	t := f.tcp
	for i := range sides {
		side := uint8(i)
		e, peer, to := &t.ep[side], &t.ep[side^1], &sides[i]
		to.next, to.ack, to.unit = e.next, peer.edge, 1<<e.scale
		switch {
		case !f.marked(side, histData):
		case n[i] >= Unending:
			to.left = Unending
		default:
			to.left = n[i] - min(n[i], f.sh.cfg.Shunt.Tail)
		}
		if watch[i] {
			to.bits |= bitWatch
		}
		if !f.marked(side, histACK) {
			to.bits |= bitNoACK
		}
		if e.synced && peer.synced {
			to.bits |= bitWindow
		}
	}
	return sides
}

// leave leaves the flow to the kernel, if its tunnels agree and there is room.
func (f *flow) leave(x *shunted, sides [2]shuntSide) {
	s := f.sh
	c := &s.cfg.Shunt
	var outers [2]*outer
	var outerSides [2]uint8
	if !s.through(f.more, &sides, &outers, &outerSides) {
		return
	}
	var put bool
	if x.slot, x.at, put = c.Shunt.Put(&f.key, &sides); !put {
		s.Counters.ShuntFull++
		x.next = f.payload[0] + f.payload[1] + c.Least
		return
	}
	s.Counters.Shunts++
	x.read, x.moved, x.was, x.based = s.now, s.now, [2]shuntCounts{}, [2]bool{}
	if t := f.tcp; t != nil {
		for side := range t.ep {
			e := &t.ep[side]
			x.ack[side^1] = full(e.ackSeq, e.ackWraps)
		}
	}
	x.outers, x.outerSides = outers, outerSides
	for _, o := range outers {
		if o != nil {
			c.Outers.begin(o)
		}
	}
	f.shunted = true
	x.place = len(s.shunts)
	s.shunts = append(s.shunts, f.idx)
}

// settled reports whether what was found before the bytes that nobody wants is known to a recorder, if there is one.
func (f *flow) settled(x *shunted) bool {
	now := f.sh.now
	if x.settles == 0 {
		x.settles = now + shuntSettles
	}
	return f.sh.cfg.Shunt.Keeps == nil || now >= x.settles
}

// kept reports whether a recorder keeps more of the flow.
func (f *flow) kept() bool {
	keeps := f.sh.cfg.Shunt.Keeps
	if keeps == nil {
		return false
	}
	for side := range f.pkts {
		if facts := f.facts(uint8(side)); keeps(&facts) && (f.tcp != nil || f.pkts[side] > 0) {
			return true
		}
	}
	return false
}

// marked says whether a letter of the history is there for side.
func (f *flow) marked(side uint8, bit uint32) bool {
	if f.dir(side) == Resp {
		bit <<= 16
	}
	return f.histSeen&bit != 0
}

// plain reports whether everything in the flow is as it is in an established connection in which nothing goes wrong.
func (f *flow) plain() bool {
	t := f.tcp
	if f.late || f.asleep || f.dueAt != 0 || t.waits || t.oneSided || t.over || t.closeDeferred || t.firstSeen != 3 {
		return false
	}
	if f.more != nil && !f.more.plain() {
		return false
	}
	return t.ep[0].plain() && t.ep[1].plain()
}

// plain reports whether nothing is in doubt or in dispute, and nothing waits.
func (x *flowMore) plain() bool {
	return x.strict == nil && x.disp == nil && x.begun == nil && !x.renewal && !x.doubt && !x.aside && x.wait == nil
}

// plain reports whether the side is in the middle of its stream, and all that it sent is delivered.
func (e *endpoint) plain() bool {
	if e.state != tcpEstablished && e.state != tcpPartial || e.finned || e.didEOF || e.fins > 0 || e.rsts > 0 {
		return false
	}
	if !e.based || !e.acted || e.holed || e.hashed || e.lastSeq != e.next {
		return false
	}
	a := e.asm
	return a == nil || len(a.ahead)+len(a.aside) == 0 && !a.urged
}

// unwanted asks the stream, by side.
func (f *flow) unwanted() (n [2]uint64, watch [2]bool, ok bool) {
	if !f.opened {
		return n, watch, false
	}
	if f.stream == nil {
		return [2]uint64{Unending, Unending}, watch, true
	}
	st, is := f.stream.(Skipper)
	if !is {
		return n, watch, false
	}
	idle := st.Idle()
	for i := range n {
		m, w := st.Unwanted(f.streamDir(uint8(i)))
		n[i], watch[i] = uint64(max(m, 0)), w
		if a := f.tcp.ep[i].asm; idle && a != nil && len(a.sent) > 0 {
			return n, watch, false // what made it idle is not what the receiver took, perhaps
		}
	}
	return n, watch, true
}

// delivered takes note of a packet of a flow that is shunted: those that were on their way when that began are taken as
// ever, and any other has ended it.
func (s *Shard) delivered(f *flow, p *Packet) {
	x := f.more.shunt
	if f.tcp == nil {
		if _, side := orient(p); !f.active[side] || f.over() {
			f.unshunt()
		}
		return
	}
	if x.at != 0 && p.Time < x.at || x.at == 0 && s.cfg.Shunt.Shunt.Out(x.slot) == 0 {
		if p.Flags&(FlagSYN|FlagFIN|FlagRST|FlagURG|FlagACK) == FlagACK && !f.over() && !f.copied(x, p) {
			return
		}
	}
	f.unshunt()
}

// copied reports whether p repeats bytes that the kernel has counted: it came behind them, and has ended that. A packet has its time
// before the program sees it, so that one from right before counting began may be the first that is counted, and so may its copy.
func (f *flow) copied(x *shunted, p *Packet) bool {
	n, kernel := p.PayloadLen(), f.sh.cfg.Shunt.Shunt
	if n == 0 || kernel.Out(x.slot) == 0 {
		return false
	}
	var c [2]shuntCounts
	kernel.Read(x.slot, &c)
	_, side := orient(p)
	was := &c[side]
	from := seqDelta(p.Seq, was.first)
	return was.ready && from >= 0 && uint64(from)+uint64(n) <= was.payload
}

// unshunt takes the flow back, with what was counted.
func (f *flow) unshunt() {
	s := f.sh
	x := f.more.shunt
	last := len(s.shunts) - 1
	moved := s.flow(s.shunts[last])
	s.shunts[x.place] = s.shunts[last]
	moved.more.shunt.place = x.place
	s.shunts = s.shunts[:last]
	var c [2]shuntCounts
	s.cfg.Shunt.Shunt.Take(&f.key, x.slot, &c)
	n, bytes := c[0].packets+c[1].packets, c[0].payload+c[1].payload
	f.absorb(x, &c)
	for i, o := range x.outers {
		if o != nil {
			s.cfg.Shunt.Outers.end(o)
			x.outers[i] = nil
		}
	}
	f.shunted, x.next, x.settles = false, 0, 0
	if n >= shuntWorth || bytes >= shuntWorthBytes {
		x.backoff = 0
		return
	}
	if x.backoff < maxBackoff {
		x.backoff++
	}
	x.next = f.payload[0] + f.payload[1] + s.cfg.Shunt.Least>>2<<x.backoff
}

// reshunt shunts the flow at once, behind the packet that has ended that, if the packet changes nothing: in an endless stream of
// bytes that nobody knows some look like a beginning.
func (f *flow) reshunt() {
	if f.tcp == nil || f.shunted || f.more == nil || f.more.shunt == nil {
		return // it is over
	}
	if f.consider(); !f.shunted {
		f.more.shunt.asked = [2]bool{}
	}
}

// TakeBack ends the shunting of all flows, and brings what was counted to the flows of their tunnels: those of other shards
// have it when their shard ends.
func (s *Shard) TakeBack() {
	for len(s.shunts) > 0 {
		s.flow(s.shunts[len(s.shunts)-1]).unshunt()
	}
}

// readShunts reads what was counted of all flows that are shunted, if it is time to.
func (s *Shard) readShunts() {
	for i := 0; i < len(s.shunts); i++ {
		f := s.flow(s.shunts[i])
		x := f.more.shunt
		// What was on its way when it began has come by then.
		if s.now < x.read+shuntRead || s.now < x.at {
			continue
		}
		x.read = s.now
		if s.now > x.moved+shuntQuiet {
			f.unshunt()
			i--
			continue
		}
		var c [2]shuntCounts
		s.cfg.Shunt.Shunt.Read(x.slot, &c)
		f.absorb(x, &c)
		if f.kept() || f.detained(x) { // there is a finding about it meanwhile
			f.unshunt()
			i--
		}
	}
}

// absorb takes over what was counted since the last time.
func (f *flow) absorb(x *shunted, c *[2]shuntCounts) {
	if f.tcp == nil {
		f.absorbDatagrams(x, c)
		return
	}
	s, t := f.sh, f.tcp
	var passed, run [2]uint64
	some := false
	for i := range c {
		now, was := &c[i], &x.was[i]
		if now.packets == was.packets {
			continue
		}
		some = true
		side := uint8(i)
		f.pkts[i] += now.packets - was.packets
		f.ipBytes[i] += now.bytes - was.bytes
		s.Counters.Shunted += now.packets - was.packets
		s.Counters.ShuntedBytes += now.wire - was.wire
		f.last = max(f.last, now.last)
		f.seen = max(f.seen, min(now.last, s.now))
		e := &t.ep[i]
		at := full(e.lastSeq, e.seqWraps)
		if !x.based[i] {
			x.based[i] = true
			d := seqDelta(now.first, e.lastSeq)
			x.seq[i] = uint64(int64(at) + int64(d))
		}
		if end := x.seq[i] + now.payload; end > at {
			n := end - at
			e.lastSeq, e.seqWraps = uint32(end), uint16(end>>32)
			for ; n > 0; n -= min(n, 1<<30) {
				f.add(side, int(min(n, 1<<30)))
				f.progress(f.untold[side] >= 1<<30)
			}
		}
		if n := now.payload - was.payload; n > 0 {
			from := now.first + uint32(was.payload)
			if d := seqDelta(from, e.next); d > 0 { // what lies before it comes yet, or is lost
				f.insert(side, block{seq: from, end: from + uint32(n), ttl: e.ttl, passed: true})
			} else if n -= min(n, uint64(-int64(d))); n > 0 {
				e.next += uint32(n)
				t.forget(s, e)
				passed[f.streamDir(side)] = n
			}
		}
		run[f.streamDir(side)] = now.run
		f.throughTunnel(x, i, now.packets-was.packets, now.outer-was.outer, now.last)
	}
	if !some {
		return
	}
	x.moved = s.now
	if st, ok := f.stream.(Skipper); ok && passed[0]+passed[1] > 0 {
		st.Passed(passed, run)
	}
	for i := range c { // acknowledgements, of what is known now
		now, was := &c[i], &x.was[i]
		if now.packets == was.packets {
			continue
		}
		side := uint8(i)
		e, peer := &t.ep[i], &t.ep[i^1]
		e.window, e.winAck, e.winSeq = now.right-now.ack, now.ack, e.next
		acks := s.Counters.Acks
		for d := seqDelta(now.ack, peer.edge); ; d = seqDelta(now.ack, peer.edge) {
			left := now.acked - was.acked
			if left < 1<<30 {
				if d > 0 {
					f.acked(side^1, now.ack)
				}
				break
			}
			was.acked += 1 << 30
			f.acked(side^1, peer.edge+1<<30)
		}
		if n := uint64(now.acks - was.acks); s.Counters.Acks > acks {
			s.Counters.Acks = acks + max(n, 1)
		}
		// By what is counted and what came before it was, to within what was on its way; the number says where exactly.
		is := full(peer.ackSeq, peer.ackWraps)
		a := max(is, x.ack[i]+now.acked)
		if a = uint64(int64(a) + int64(seqDelta(now.ack, uint32(a)))); a > is {
			peer.ackSeq, peer.ackWraps = uint32(a), uint16(a>>32)
		}
	}
	x.was = *c
	f.progress(false)
}

// pass goes on behind n bytes of side that the kernel has counted, and that waited for others.
func (f *flow) pass(side uint8, n uint64) {
	e := &f.tcp.ep[side]
	e.next, e.holed = e.next+uint32(n), false
	f.tcp.forget(f.sh, e)
	if st, ok := f.stream.(Skipper); ok {
		var passed [2]uint64
		passed[f.streamDir(side)] = n
		st.Passed(passed, passed)
	}
}

// Beginnings are the first four bytes that what is to be delivered of a watched flow may begin with.
type Beginnings struct {
	pairs []uint16                 // in ascending order: what the first two bytes may be
	after map[uint16]*[2][256]bool // by pair: what the third and the fourth may be
}

// maxBeginPairs is how many pairs a table takes.
const maxBeginPairs = 255

// Add adds the beginnings that begin with a and b. third and fourth say what may follow.
func (t *Beginnings) Add(a, b byte, third, fourth func(c byte) bool) {
	k := uint16(a)<<8 | uint16(b)
	if t.after == nil {
		t.after = map[uint16]*[2][256]bool{}
	}
	x := t.after[k]
	if x == nil {
		x = &[2][256]bool{}
		t.after[k] = x
		i, _ := slices.BinarySearch(t.pairs, k)
		t.pairs = slices.Insert(t.pairs, i, k)
	}
	for c := range 256 {
		x[0][c] = x[0][c] || third(byte(c))
		x[1][c] = x[1][c] || fourth(byte(c))
	}
}

// Full says that there are more than a table takes: nothing may be watched then.
func (t *Beginnings) Full() bool { return len(t.pairs) > maxBeginPairs }
