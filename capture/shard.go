package capture

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// ShardCount is how many independent flow tables a run has. A packet's flow hash chooses its shard; flows, limits and
// evictions belong to a shard, and shards to workers, so that the number of workers changes nothing that is said.
const ShardCount = 64

// FlowConfig is what the shards of a run share. Emit and Open are called on the goroutine that drives the shard.
type FlowConfig struct {
	MaxFlows    int // of one shard as long as SetLimit says nothing else; 0 means DefaultMaxFlows / ShardCount
	Checksums   Checksums
	Wait        time.Duration                 // how long a packet of TCP waits for what it acknowledges; 0: not at all, as in Zeek
	WaitPackets int                           // how many of a flow and a direction do
	Open        func(h Host, mid bool) Stream // may return nil: nobody wants the bytes
	Emit        func(ev any)
	// Admits says whether a flow, mid if its beginning was not seen, may have the name of a service. nil: any.
	Admits func(h Host, mid bool, name string) bool
	Local  func(addr [16]byte, v6 bool) bool // for local_orig and local_resp; nil: none
	// Dear says whether the payload b, borrowed, is of what must never be shed. nil: nothing is dear.
	Dear  func(b []byte) bool
	Shunt ShuntConfig // which flows the kernel counts
	// Number is the shard's: it is given the packets whose hash leaves that of ShardCount.
	Number int
}

// DefaultMaxFlows is the cap on concurrent flows of a run: a million, at about half a kilobyte each.
const DefaultMaxFlows = 1 << 20

// Counters are what a shard counted since it began.
type Counters struct {
	Flows        uint64 // flows that began
	Evicted      uint64 // flows that ended because the table was full
	BadChecksum  uint64 // packets set aside for their transport checksum
	Offloaded    uint64 // packets believed though their checksum was left to a network card
	Doubted      uint64 // segments that their receiver should not take
	Taken        uint64 // of those, with no other copy of what they carry and acknowledged
	AsideFull    uint64 // of those, not kept for want of room
	Disputes     uint64 // flows with copies that differ, of which both were read
	DisputesFull uint64 // those of which there was no room to
	GapBytes     uint64 // bytes missing from streams
	Truncated    uint64 // bytes that the capture cut off
	Dropped      uint64 // bytes given up because a reassembly buffer was full
	Waited       uint64 // packets that waited for what they acknowledge, or for their flow's SYN
	WaitTime     uint64 // times that what they waited for did not come in time
	WaitPackets  uint64 // times that too many of a direction waited
	WaitFull     uint64 // packets that found no room to wait
	BegunFull    uint64 // requests that a reset cut short and that were not kept for want of room
	Unfinished   uint64 // flows whose unfinished request was given up
	Work         uint64 // units of work that decoders asked for and did: see Worker
	WorkDenied   uint64 // times that they asked for more than there was
	Overworked   uint64 // flows in which that happened
	RowsCut      uint64 // events without a row: their flow had made more than its bytes are worth
	Repeated     uint64 // of those, not told to anybody, because the last said the same
	Overtold     uint64 // flows in which that happened
	Yielded      uint64 // times that what was kept for a flow was given up, to keep something for another

	// The estimate of what a capture lost, as Zeek's capture_loss makes it: of the acknowledgements seen in established
	// connections, those for bytes that were never seen.
	Acks       uint64
	Gaps       uint64
	AckedBytes uint64
	Unseen     uint64 // bytes acknowledged and not seen

	Shunts       uint64 // times that a flow was left to the kernel to count
	Shunted      uint64 // packets that it counted and did not deliver
	ShuntedBytes uint64 // of frames
	ShuntFull    uint64 // times that it had no room for a flow

	ShedBytes uint64 // of bulk flows, not put in order under overload
	ShedNew   uint64 // packets of no flow, let go under overload
}

// Add sums.
func (c *Counters) Add(o *Counters) {
	c.Flows += o.Flows
	c.Evicted += o.Evicted
	c.BadChecksum += o.BadChecksum
	c.Offloaded += o.Offloaded
	c.GapBytes += o.GapBytes
	c.Truncated += o.Truncated
	c.Dropped += o.Dropped
	c.Doubted += o.Doubted
	c.Taken += o.Taken
	c.AsideFull += o.AsideFull
	c.Disputes += o.Disputes
	c.DisputesFull += o.DisputesFull
	c.Waited += o.Waited
	c.WaitTime += o.WaitTime
	c.WaitPackets += o.WaitPackets
	c.WaitFull += o.WaitFull
	c.BegunFull += o.BegunFull
	c.Unfinished += o.Unfinished
	c.Work += o.Work
	c.WorkDenied += o.WorkDenied
	c.Overworked += o.Overworked
	c.Yielded += o.Yielded
	c.RowsCut += o.RowsCut
	c.Repeated += o.Repeated
	c.Overtold += o.Overtold
	c.Acks += o.Acks
	c.Gaps += o.Gaps
	c.AckedBytes += o.AckedBytes
	c.Unseen += o.Unseen
	c.Shunts += o.Shunts
	c.Shunted += o.Shunted
	c.ShuntedBytes += o.ShuntedBytes
	c.ShuntFull += o.ShuntFull
	c.ShedBytes += o.ShedBytes
	c.ShedNew += o.ShedNew
}

// clockStart is where engine time begins, as Zeek's does: captures whose times are left at zero have the first second.
const clockStart = Time(1e9)

const (
	// Flows, and TCP parts of flows, that are allocated at once: both fill an allocation of 32 KiB, of which larger ones are
	// rounded up to whole pages.
	slabSize = 128
	tcpSlab  = 178
	// Timer slots of one second; a flow due later waits in the last and is looked at again.
	wheelSlots = 4096
)

// slotRef is a place of the open-addressing table: no pointers, so the collector never looks inside. The tag says
// where its home is, so that neither growing nor closing a hole goes to the flows. It is the upper half of the hash
// because the lower bits chose the shard: all flows of a shard have them in common, and a table that began with them
// had one home for 64 places: an operation took eight times as long (BenchmarkTable), 7 % of all under churn.
type slotRef struct {
	tag uint32 // upper half of the hash
	idx int32  // place in the slab + 1; 0: empty
}

// Shard is one flow table. It belongs to one goroutine.
type Shard struct {
	cfg      FlowConfig
	Counters Counters
	Shed     ShedLevel
	touched  *flow // of the packet at hand
	hand     *flow // of the latest packet that was taken: see Facts
	now      Time  // engine time: never runs backwards
	at       At
	table    []slotRef
	used     int
	slabs    [][]flow
	free     []int32
	tcpSlabs [][]tcpConn
	told     []Progress // room for the next ones
	tcpFree  []*tcpConn
	limit    int // flows that there is room for
	wheels   [ranks]wheel
	swept    int64    // seconds: slots before it are empty
	crowded  bool     // more flows are lone than there is room for: they do not stay
	buffered int      // bytes held for reassembly
	bufs     [][]byte // spare buffers of delivered bytes
	spare    []*assembly
	names    map[string]*[]string // of services: see only
	due      dueHeap              // flows in which something waits
	dueN     uint64
	waiting  int // bytes that wait
	disputes int // second readings
	sleepers int
	begun    int // bytes of requests that resets cut short
	common   common
	room     Room
	// Of the options that judge has read last.
	stamp           uint32
	stamped, hashed bool
	eager           bool    // flows are looked at for shunting with each packet
	shunts          []int32 // flows that are shunted
}

// NewShard makes an empty table.
func NewShard(cfg FlowConfig) *Shard {
	if cfg.MaxFlows <= 0 {
		cfg.MaxFlows = DefaultMaxFlows / ShardCount
	}
	s := &Shard{cfg: cfg, limit: cfg.MaxFlows, now: clockStart, table: make([]slotRef, 64)}
	s.room = Room{denied: &s.Counters.Yielded, streams: &Room{denied: &s.Counters.Yielded}}
	s.eager = cfg.Shunt.Shunt != nil && cfg.Shunt.After == 0
	return s
}

// Len is the number of flows in the table.
func (s *Shard) Len() int { return s.used }

func (s *Shard) flow(i int32) *flow { return &s.slabs[i/slabSize][i%slabSize] }

func (s *Shard) find(k *flowKey, h uint64) *flow {
	mask, tag := uint32(len(s.table)-1), uint32(h>>32)
	for i := tag & mask; s.table[i].idx != 0; i = (i + 1) & mask {
		if s.table[i].tag == tag {
			if f := s.flow(s.table[i].idx - 1); f.key.equal(k) {
				return f
			}
		}
	}
	return nil
}

func (s *Shard) insert(idx int32, h uint64) {
	if s.used*4 >= len(s.table)*3 {
		old := s.table
		s.table = make([]slotRef, 2*len(old))
		for _, r := range old {
			if r.idx != 0 {
				s.place(r)
			}
		}
	}
	s.place(slotRef{uint32(h >> 32), idx + 1})
	s.used++
}

func (s *Shard) place(r slotRef) {
	mask := uint32(len(s.table) - 1)
	i := r.tag & mask
	for s.table[i].idx != 0 {
		i = (i + 1) & mask
	}
	s.table[i] = r
}

// unlink takes a flow out of the table and closes the hole, so that no tombstones pile up under churn.
func (s *Shard) unlink(idx int32, h uint64) {
	mask := uint32(len(s.table) - 1)
	i := uint32(h>>32) & mask
	for s.table[i].idx != idx+1 {
		i = (i + 1) & mask
	}
	for j := i; ; {
		j = (j + 1) & mask
		if s.table[j].idx == 0 {
			break
		}
		if home := s.table[j].tag & mask; (j-home)&mask >= (j-i)&mask {
			s.table[i], i = s.table[j], j
		}
	}
	s.table[i] = slotRef{}
	s.used--
}

func (s *Shard) newFlow() *flow {
	if len(s.free) == 0 {
		base := int32(len(s.slabs) * slabSize)
		s.slabs = append(s.slabs, make([]flow, slabSize))
		for i := int32(slabSize) - 1; i >= 0; i-- {
			s.free = append(s.free, base+i)
		}
	}
	idx := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	f := s.flow(idx)
	*f = flow{sh: s, idx: idx, slot: -1}
	return f
}

func (s *Shard) newTCP() *tcpConn {
	if len(s.tcpFree) == 0 {
		slab := make([]tcpConn, tcpSlab)
		s.tcpSlabs = append(s.tcpSlabs, slab)
		for i := range slab {
			s.tcpFree = append(s.tcpFree, &slab[i])
		}
	}
	t := s.tcpFree[len(s.tcpFree)-1]
	s.tcpFree = s.tcpFree[:len(s.tcpFree)-1]
	*t = tcpConn{}
	return t
}

// Advance moves the clock without a packet, and ends flows whose time is up. at is what their events carry.
func (s *Shard) Advance(at At) {
	s.touched = nil
	s.now = max(s.now, at.Time)
	s.at = At{s.now, at.Packet}
	second := int64(s.now) / 1e9
	if s.swept == 0 || second-s.swept > wheelSlots {
		s.swept = max(s.swept, second-wheelSlots)
	}
	s.wake()
	if len(s.shunts) > 0 {
		s.readShunts()
	}
	if o := s.cfg.Shunt.Outers; o != nil && o.has[s.cfg.Number].Load() {
		s.outers()
	}
	for ; s.swept < second; s.swept++ {
		s.sweep(int(s.swept % wheelSlots))
	}
	s.thin()
}

// Packet takes the next packet of this shard. h is its Seed.Hash.
// It is whole because it runs once a packet, and the cases are ordered: which flow it belongs to, whether that ends or forks
// first, whether the packet waits.
func (s *Shard) Packet(p *Packet, h uint64) {
	s.now = max(s.now, p.Time, p.Clock)
	if s.swept == 0 {
		s.swept = int64(s.now) / 1e9
	}
	s.at = At{s.now, p.Ordinal}
	if len(s.due) > 0 && s.due[0].at <= s.now {
		s.wake()
	}
	k, side := orient(p)
	f := s.find(&k, h)
	shunted := f != nil && f.shunted
	if f != nil {
		if shunted {
			s.delivered(f, p)
		}
		switch {
		case f.over():
			if s.expire(f); f.sh == nil {
				f = nil // it is over; others have been counted elsewhere since, or are in the middle of something
			}
		case p.Flags&FlagSYN == 0 || f.tcp == nil:
		case f.unbegun() && p.Flags&(FlagACK|FlagRST) == 0 && f.waiting().follows(side, p):
		case !f.asleep && f.tcp.reused(f, side, p):
			t := f.tcp
			if begun := f.stream != nil || !f.opened && !t.over && t.ep[0].synced && t.ep[1].synced; !begun || !t.ep[side^1].acted {
				s.end(f)
				f = nil
				break
			}
			// It may be answered, or dropped by a receiver for which the connection goes on (RFC 5961 section 4).
			s.split(f, side, p)
			f.more.renewal, f.more.renewAt = true, p.Seq+1
		}
	}
	switch {
	case f == nil:
		if s.Shed >= ShedNewFlows && lowValue(p) {
			s.Counters.ShedNew++
			return
		}
		f = s.begin(&k, h, side, p)
		if f.tcp != nil && s.cfg.Wait > 0 && s.Shed == ShedNothing && p.Flags&(FlagSYN|FlagACK|FlagRST) != FlagSYN {
			f.setWaiting(&waiting{unbegun: true})
		}
	case f.late && f.last.Add(f.idle()) <= s.now:
		f.flushWaiting()
		s.cut(f, side, p)
	case f.asleep:
		s.split(f, side, p)
	}
	s.touched, s.hand = f, f
	if f.tcp != nil {
		if (f.tcp.waits || f.early(side, p)) && f.waits(side, p) {
			s.touched = nil
			return
		}
		s.packet(f, side, p)
		if f.tcp != nil && f.tcp.waits {
			f.release(f.waiting())
		}
		if shunted {
			f.reshunt()
		}
	} else {
		s.packet(f, side, p)
	}
	s.touched = nil
}

// packet takes a packet of a flow, in its turn.
func (s *Shard) packet(f *flow, side uint8, p *Packet) {
	if p.Tunnel != nil {
		if f.more == nil || p.Tunnel != f.more.tunnel {
			f.enter(p.Tunnel)
		}
		f.more.via[side] = via{p.Tunnel, p.turned}
	}
	if p.Carries != "" {
		// One packet that looks like Teredo, on whatever port, is no Teredo yet: both sides must speak it.
		x := f.extra()
		x.carried |= 1 << side
		if p.Carries != "TEREDO" || x.carried == 3 {
			f.Service(strings.ToLower(p.Carries))
		}
	}
	f.seen = s.now
	forked := f.more != nil && f.more.strict != nil
	f.take(side, p)
	if x := f.more; x != nil && x.strict != nil {
		s.strictly(f, side, p, forked)
	}
	f.progress(false)
	if s.eager {
		f.consider()
	}
}

// strictly accounts for a packet as if none with a wrong checksum were believed; before says that this began with an
// earlier packet.
func (s *Shard) strictly(f *flow, side uint8, p *Packet, before bool) {
	x := f.more
	if st := x.strict; before && st.tcp != nil && st.tcp.reused(st, side, p) {
		s.cfg.Emit(s.conn(st, st.identity()))
		n := &flow{sh: s, key: f.key, hash: f.hash, idx: f.idx, slot: -1, shadow: true, opened: true}
		n.begin(side, p)
		x.strict = n
	}
	x.strict.take(side, p)
	if f.tcp == nil && !x.doubt && f.services != nil {
		x.strict.services = f.services // a datagram says what it is by itself
	}
	x.doubt = false
}

func (f *flow) take(side uint8, p *Packet) {
	if f.tcp != nil {
		f.segment(side, p)
	} else {
		f.datagram(side, p)
	}
}

func (s *Shard) begin(k *flowKey, h uint64, side uint8, p *Packet) *flow {
	for range evictAtOnce {
		if s.used < s.limit || !s.evict() {
			break
		}
	}
	f := s.newFlow()
	f.key, f.hash = *k, h
	f.begin(side, p)
	s.insert(f.idx, h)
	s.arm(f)
	return f
}

// begin sets a flow up for its first packet.
func (f *flow) begin(side uint8, p *Packet) {
	s := f.sh
	if !f.shadow {
		s.Counters.Flows++
	}
	f.origSide, f.openSide = side, side
	f.start, f.last, f.seen, f.toldAt = p.Time, p.Time, s.now, s.now
	f.timeout = int32(idleShort / time.Second)
	f.late = p.Time.Add(idleShort) <= s.now
	flip := false
	switch f.key.proto {
	case ProtoTCP:
		f.tcp = s.newTCP()
		if p.Flags&(FlagSYN|FlagACK) != FlagSYN {
			f.mid = p.Flags&FlagSYN == 0
			if likelyServer(ProtoTCP, p.SrcPort) {
				flip = !likelyServer(ProtoTCP, p.DstPort) || p.Flags&FlagSYN == 0 && p.SrcPort < p.DstPort
			}
		}
	case ProtoUDP:
		flip = likelyServer(ProtoUDP, p.SrcPort) && !likelyServer(ProtoUDP, p.DstPort)
	}
	if flip && p.Dst != broadcast4 {
		f.flip()
	}
	if f.key.proto == ProtoUDP {
		switch f.key.addr(f.origSide ^ 1).Port() {
		case 53, 137, 5353, 5355:
			f.dueAt = s.now.Add(nameCheck)
		}
	}
}

// cut ends the row of a flow and begins another with p. The capture's clock has gone back: by the flow's own packets it
// was over long ago, though the last of them came just now. Zeek ends it there, and so does conn.log; what is read in
// the flow goes on, or a file of two captures in the wrong order would hide all that is in the second.
func (s *Shard) cut(f *flow, side uint8, p *Packet) {
	if f.more != nil && f.more.outer != nil {
		f.leaveOuter()
	}
	f.progress(true)
	s.row(f)
	was := *f
	s.disarm(f)
	*f = flow{sh: s, key: was.key, hash: was.hash, idx: was.idx, slot: -1}
	f.opened, f.stream = was.opened, was.stream
	f.begin(side, p)
	if f.stream != nil {
		id := *was.Flow()
		id.Mid = true // for Zeek, nothing of it was seen from its beginning
		x := f.extra()
		f.id, x.cut = &id, true
		if f.openSide = was.openSide; was.tcp != nil {
			for i := range was.tcp.ep {
				x.resume[i] = was.tcp.ep[i].next
			}
		}
	}
	was.forgetBegun()
	s.freeTCP(was.tcp)
	s.arm(f)
}

// base begins the bytes of side with seq. The stream of a flow that was cut is told if it does not go on where it was.
func (f *flow) base(side uint8, seq uint32) {
	if x := f.more; x != nil && x.cut && f.stream != nil {
		if n := seq - x.resume[side]; n != 0 {
			f.stream.Gap(f.streamDir(side), int64(max(int32(n), 1)))
		}
	}
	f.tcp.ep[side].base(seq)
}

var broadcast4 = [16]byte{10: 0xff, 11: 0xff, 12: 0xff, 13: 0xff, 14: 0xff, 15: 0xff}

// enter notes the tunnel that a packet of the flow came through.
func (f *flow) enter(t *Tunnel) {
	x := f.extra()
	x.tunnel = t
	f.Emit(&Entered{f.sh.at, t})
	if !slices.Contains(x.tunnels, t.UID) && len(x.tunnels) < serviceLimit {
		x.tunnels = append(x.tunnels, t.UID)
	}
}

// datagram takes a packet of anything but TCP.
func (f *flow) datagram(side uint8, p *Packet) {
	udp := p.Proto == ProtoUDP
	if !f.checked(side, p) {
		if udp {
			f.scaled(side, &f.extra().bad[side], 'C')
			f.weird("bad_UDP_checksum", "", "UDP")
		} else {
			f.weird("bad_ICMP_checksum", "", "ICMP")
		}
		return
	}
	f.pkts[side]++
	f.ipBytes[side] += uint64(p.IPLen)
	f.last = p.Time
	n := p.PayloadLen()
	switch p.Proto {
	case ProtoUDP:
		f.mark(side, histData, 'D')
		n = f.udpLength(p, n)
	case ProtoICMP, ProtoICMPv6:
	default:
		// Of other protocols packets are counted and bytes are not, as in Zeek; who follows a flow is told of them all the same.
		f.untold[side] += uint32(n)
		return
	}
	f.active[side] = true
	f.add(side, n)
	if udp {
		if b := p.Payload(); len(b) > 0 && f.live() {
			if st := f.open(); st != nil {
				st.Datagram(f.streamDir(side), b)
				if r, ok := st.(Rester); ok && !f.rested && r.Rest() {
					f.stream, f.opened, f.rested = nil, false, true
					f.forget()
				}
			}
		}
	}
}

// udpLength is the payload length that the UDP header claims; it counts, as in Zeek, and a claim that the IP header
// does not bear out is a weird.
func (f *flow) udpLength(p *Packet, n int) int {
	if len(p.L4) < 8 {
		return n
	}
	claim := int(p.L4[4])<<8 | int(p.L4[5])
	if claim == p.L4Len {
		return n
	}
	f.weird("UDP_datagram_length_mismatch", strconv.Itoa(claim)+" != "+strconv.Itoa(p.L4Len), "UDP")
	return max(claim-8, 0)
}

// expire ends a flow whose time is up. What is in the middle of a request is read on: servers wait for the rest of it for
// hours, and what it asks for is done then. Its row is told, as Zeek tells it, and the flow sleeps.
func (s *Shard) expire(f *flow) {
	if f.shunted {
		if f.unshunt(); !f.over() {
			s.arm(f)
			return
		}
	}
	if f.more != nil && f.more.outer != nil {
		if f.takeCounts(); !f.over() {
			s.arm(f)
			return
		}
	}
	if f.tcp != nil {
		f.flushWaiting()
	}
	cut := f.more != nil && f.more.begun != nil
	if f.tcp == nil || f.stream == nil && !cut || f.asleep || !cut && !f.unfinished(Orig) || s.sleepers >= s.cfg.MaxFlows/sleepShare {
		if f.asleep {
			s.Counters.Unfinished++
		}
		s.end(f)
		return
	}
	f.progress(true)
	s.row(f)
	f.asleep = true
	s.sleepers++
	s.arm(f)
}

// split ends the row of a flow and begins another with p; the bytes of both directions are read on as they were.
func (s *Shard) split(f *flow, side uint8, p *Packet) {
	f.flushWaiting()
	if f.asleep {
		s.sleepers--
	} else {
		f.progress(true)
		s.row(f)
	}
	was := *f
	s.disarm(f)
	*f = flow{sh: s, key: was.key, hash: was.hash, idx: was.idx, slot: -1, opened: was.opened, stream: was.stream, dear: was.dear}
	f.begin(side, p)
	id := *was.Flow()
	x := f.extra()
	f.id, x.cut, f.openSide, f.known = &id, true, was.openSide, true
	if was.more != nil {
		x.begun, x.begunAt = was.more.begun, was.more.begunAt
	}
	f.tcp.over = was.tcp.over
	for i := range f.tcp.ep {
		from, to := &was.tcp.ep[i], &f.tcp.ep[i]
		to.based, to.synced, to.finned, to.stamps, to.hashed = from.based, from.synced, from.finned, from.stamps, from.hashed
		to.next, to.edge, to.fin, to.recent, to.asm, to.didEOF = from.next, from.edge, from.fin, from.recent, from.asm, from.didEOF
		to.scale, to.window, to.winAck, to.winSeq = from.scale, from.window, from.winAck, from.winSeq
		from.asm = nil
	}
	s.freeTCP(was.tcp)
	s.arm(f)
}

// renewed takes the answer to a SYN within a connection: it is another now.
func (f *flow) renewed(side uint8) {
	x := f.more
	at := x.renewAt
	x.renewal, x.cut = false, false
	f.forgetBegun()
	f.secondEnds()
	if st := f.stream; st != nil {
		f.stream = nil
		st.Finish()
	}
	f.opened, f.id, f.openSide, f.known, f.tcp.over = false, nil, f.origSide, false, false
	for i := range f.tcp.ep {
		e := &f.tcp.ep[i]
		f.tcp.forget(f.sh, e)
		f.sh.buffered -= e.held()
		f.sh.forgetAssembly(e.asm)
		e.asm, e.based, e.synced, e.finned, e.stamps, e.hashed, e.didEOF = nil, false, false, false, false, false, false
	}
	f.tcp.ep[side^1].base(at)
	f.tcp.ep[side^1].synced = true
}

// end emits the flow's last events and frees it.
func (s *Shard) end(f *flow) {
	if f.shunted {
		f.unshunt()
	}
	if f.more != nil && f.more.outer != nil {
		f.leaveOuter()
	}
	if f.tcp != nil {
		f.flushWaiting()
		f.flush()
		f.secondEnds()
	}
	if st := f.stream; st != nil {
		f.stream = nil // should it panic, the flow can still be ended without it
		st.Finish()
	}
	if f.asleep {
		s.sleepers--
	} else {
		f.progress(true)
		s.row(f)
	}
	f.forgetBegun()
	s.disarm(f)
	s.unlink(f.idx, f.hash)
	s.freeTCP(f.tcp)
	s.free = append(s.free, f.idx)
	*f = flow{}
}

func (s *Shard) freeTCP(t *tcpConn) {
	if t == nil {
		return
	}
	for i := range t.ep {
		t.forget(s, &t.ep[i])
		s.buffered -= t.ep[i].held()
		s.forgetAssembly(t.ep[i].asm)
		t.ep[i].asm = nil
	}
	s.tcpFree = append(s.tcpFree, t)
}

// row emits the flow's row of conn.log.
func (s *Shard) row(f *flow) {
	if f.more != nil && f.more.strict != nil {
		st := f.more.strict
		s.cfg.Emit(s.conn(st, st.identity()))
		return
	}
	s.cfg.Emit(s.conn(f, f.row()))
}

func (s *Shard) conn(f *flow, id *Flow) *Conn {
	o := f.origSide
	// The texts that a flow has of its own are in the same allocation.
	row := &struct {
		Conn
		community [communityLen]byte
		history   [len(f.hist)]byte
	}{}
	c := &row.Conn
	*c = Conn{
		At: s.at, Flow: id, Duration: f.last.Sub(f.start),
		Pkts: [2]uint64{f.pkts[o], f.pkts[o^1]}, IPBytes: [2]uint64{f.ipBytes[o], f.ipBytes[o^1]},
		Bytes:   [2]uint64{f.payload[o], f.payload[o^1]},
		Guessed: f.mid, Services: f.named(),
	}
	if id.community(&row.community) {
		c.CommunityID = unsafe.String(&row.community[0], communityLen)
	}
	if n := copy(row.history[:], f.hist[:f.histLen]); f.more != nil && len(f.more.hist) > 0 {
		c.History = f.history()
	} else if n > 0 {
		c.History = unsafe.String(&row.history[0], n)
	}
	if f.more != nil {
		c.Missed = f.more.missed
	}
	switch {
	case f.tcp != nil:
		c.Bytes = [2]uint64{f.tcp.size(o), f.tcp.size(o ^ 1)}
		c.State = f.tcp.connState(f)
	case f.key.proto == ProtoUDP:
		c.State = [...]string{"OTH", "SHR", "S0", "SF"}[b2i(f.active[o])<<1|b2i(f.active[o^1])]
	default:
		c.State = "OTH"
	}
	if s.cfg.Local != nil {
		v6 := f.key.kind&1 != 0
		local := [2]bool{s.cfg.Local(f.key.lo, v6), s.cfg.Local(f.key.hi, v6)}
		c.Local = [2]bool{local[o], local[o^1]}
	}
	return c
}

// Quarantine takes the decoder away from the flow that p belongs to: it was being fed when a bug of ours was hit.
func (s *Shard) Quarantine(p *Packet, h uint64) {
	k, _ := orient(p)
	if f := s.find(&k, h); f != nil {
		f.opened, f.stream = true, nil
	}
}

// Identify gives the flow that p belongs to.
func (s *Shard) Identify(p *Packet, h uint64) *Flow {
	k, side := orient(p)
	if f := s.find(&k, h); f != nil {
		return f.row()
	}
	f := flow{sh: s, key: k, origSide: side, start: p.Time} // it is over
	return f.identity()
}

// Close ends all flows, in order of their beginning.
func (s *Shard) Close(at At) {
	s.now = max(s.now, at.Time)
	s.at = At{s.now, at.Packet}
	if s.cfg.Shunt.Outers != nil {
		s.outers()
	}
	var all []*flow
	for _, r := range s.table {
		if r.idx != 0 {
			all = append(all, s.flow(r.idx-1))
		}
	}
	slices.SortFunc(all, func(a, b *flow) int {
		switch {
		case a.start != b.start:
			if a.start < b.start {
				return -1
			}
			return 1
		case a.hash < b.hash:
			return -1
		case a.hash > b.hash:
			return 1
		}
		return 0
	})
	for _, f := range all {
		s.end(f)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
