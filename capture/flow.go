package capture

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// Time-outs by packet time. They are Zeek's defaults, so that a quiet flow ends in our conn.log where it ends in Zeek's.
const (
	idleShort       = time.Minute     // UDP, ICMP, other protocols, and TCP before its handshake is through
	idleTCP         = 5 * time.Minute // established TCP
	idleInteractive = time.Hour       // TCP to the ports of FTP, SSH, Telnet, rlogin
	attemptDelay    = 5 * time.Second // a SYN that nobody answered
	closeDelay      = 5 * time.Second // a closed connection lingers for its last packets
	// A flow on a name service's port is looked at this often, and ends when it was quiet for almost as long: each
	// exchange is a flow of its own, so that a resolver's port reused within the minute does not merge them.
	nameCheck = 10 * time.Second
	nameQuiet = 9 * time.Second
)

const (
	// A flow within whose request nobody spoke for so long is over, whoever waits. Servers have no such bound of their own, but
	// a day is more than anybody needs to sneak past a sensor.
	sleepFor = 24 * time.Hour
	// One flow in so many may sleep.
	sleepShare = 8
)

const (
	// Progress is told after this many bytes, or when some are untold for progressEvery: fine enough that 1,000
	// parallel flows hide at most 64 MB from a sum, coarse enough to cost a bulk flow one event in 45 packets.
	progressBytes = 64 << 10
	progressEvery = 10 * time.Second
	// History longer than this tells nothing more; Zeek's grows without bound.
	historyLimit = 64
	// Services of one flow: Kerberos in GSSAPI beside NTLM in SMB with DCE/RPC are five.
	serviceLimit = 6
	// What a flow was before something went wrong in it, it stays once both sides sent so much; Zeek's number
	// (DPD::ignore_violations_after).
	refuteLimit = 10 << 10
)

// flowKey identifies a flow in either direction: the smaller endpoint stands first. ICMP messages without a
// counterpart keep their direction.
type flowKey struct {
	lo, hi         [16]byte
	loPort, hiPort uint16
	proto          uint8
	kind           uint8 // bit 0: IPv6, bit 1: one way
}

func keyOf(p *Packet) flowKey {
	k, _ := orient(p)
	return k
}

// orient makes the key and says on which side of it the packet's source stands.
func orient(p *Packet) (k flowKey, side uint8) {
	k.proto, k.kind = p.Proto, p.kind()
	if !p.OneWay && backwards(p) {
		k.lo, k.hi, k.loPort, k.hiPort = p.Dst, p.Src, p.DstPort, p.SrcPort
		return k, 1
	}
	k.lo, k.hi, k.loPort, k.hiPort = p.Src, p.Dst, p.SrcPort, p.DstPort
	return k, 0
}

// backwards reports whether p goes from what is hi in the key to what is lo.
func backwards(p *Packet) bool {
	be := binary.BigEndian
	if a, b := be.Uint64(p.Src[:8]), be.Uint64(p.Dst[:8]); a != b {
		return a > b
	}
	if a, b := be.Uint64(p.Src[8:]), be.Uint64(p.Dst[8:]); a != b {
		return a > b
	}
	return p.SrcPort > p.DstPort
}

// kind is that of the key.
func (p *Packet) kind() (k uint8) {
	if p.V6 {
		k = 1
	}
	if p.OneWay {
		k |= 2
	}
	return k
}

func (k *flowKey) bytes(b *[40]byte) {
	copy(b[0:], k.lo[:])
	copy(b[16:], k.hi[:])
	binary.BigEndian.PutUint16(b[32:], k.loPort)
	binary.BigEndian.PutUint16(b[34:], k.hiPort)
	b[36], b[37], b[38], b[39] = k.proto, k.kind, 0, 0
}

// Seed keys the hash of flows. What a flow table's places and shards go by must not be foreseen by who chooses addresses
// and ports: in 16,000 places of one chain, or all in one shard, flows cost what a thousand times as many do. The zero
// value is a key too, which everybody knows.
type Seed [6]uint64

// NewSeed makes a key of n, by splitmix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014).
func NewSeed(n uint64) (s Seed) {
	for i := range s {
		n += 0x9e3779b97f4a7c15
		z := (n ^ n>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		s[i] = z ^ z>>31
	}
	return s
}

// Seed is a number for NewSeed that a frame gives, so that the same capture has the same each time, and none that was known before it was taken.
func (f *Frame) Seed() uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(uint64(f.Time))
	_, _ = d.Write(f.Data)
	return d.Sum64()
}

// hash places a flow. Products of 128 bits, folded, are what wyhash mixes with: for this length a third of the
// multiplications of xxhash64, and unlike in it nothing can be said of two keys without the seed.
func (s *Seed) hash(k *flowKey) uint64 {
	return s.mix(&k.lo, &k.hi, k.loPort, k.hiPort, k.proto, k.kind)
}

func (s *Seed) mix(lo, hi *[16]byte, loPort, hiPort uint16, proto, kind uint8) uint64 {
	le := binary.LittleEndian
	a := mum(le.Uint64(lo[:])^s[0], le.Uint64(lo[8:])^s[1])
	b := mum(le.Uint64(hi[:])^s[2], le.Uint64(hi[8:])^s[3])
	last := uint64(loPort) | uint64(hiPort)<<16 | uint64(proto)<<32 | uint64(kind)<<40
	return mum(mum(last^s[4], a^bits.RotateLeft64(b, 32))^s[5], s[0]|1)
}

func mum(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// equal is ==, which the compiler leaves to a call.
func (k *flowKey) equal(o *flowKey) bool {
	le := binary.LittleEndian
	return le.Uint64(k.lo[8:]) == le.Uint64(o.lo[8:]) && le.Uint64(k.hi[8:]) == le.Uint64(o.hi[8:]) &&
		k.loPort == o.loPort && k.hiPort == o.hiPort && k.proto == o.proto && k.kind == o.kind &&
		le.Uint64(k.lo[:]) == le.Uint64(o.lo[:]) && le.Uint64(k.hi[:]) == le.Uint64(o.hi[:])
}

// Hash is the hash that places a packet: equal for both directions of a flow.
func (s *Seed) Hash(p *Packet) uint64 {
	if !p.OneWay && backwards(p) {
		return s.mix(&p.Dst, &p.Src, p.DstPort, p.SrcPort, p.Proto, p.kind())
	}
	return s.mix(&p.Src, &p.Dst, p.SrcPort, p.DstPort, p.Proto, p.kind())
}

// known is the key that everybody knows. One of zeros would not do: it takes half of the address for nothing.
var known = NewSeed(0)

// FlowHash is Hash with the key that everybody knows.
func FlowHash(p *Packet) uint64 { return known.Hash(p) }

func (k *flowKey) addr(side uint8) netip.AddrPort {
	a, port := k.lo, k.loPort
	if side == 1 {
		a, port = k.hi, k.hiPort
	}
	return netip.AddrPortFrom(unpackAddr(a, k.kind&1 != 0), port)
}

// Between says whether p passed between the ends of f, in either direction. Whether it was in f's lifetime is for the
// caller to say.
func (f *Flow) Between(p *Packet) bool {
	if p.Proto != f.Proto {
		return false
	}
	f = f.Wire()
	src, dst := netip.AddrPortFrom(p.SrcAddr(), p.SrcPort), netip.AddrPortFrom(p.DstAddr(), p.DstPort)
	return src == f.Orig && dst == f.Resp || src == f.Resp && dst == f.Orig
}

// Host is a flow as its Stream knows it.
type Host interface {
	Flow() *Flow
	At() At
	Emit(ev any)
	Service(name string)
	// Refute removes a service, for good: more came, and it is not that protocol. Behind refuteLimit bytes a name stays.
	Refute(name string)
	// Skip notes in the history that Zeek looks at the flow no further.
	Skip()
	// Ports gives the ports by the roles that stand so far.
	Ports() (orig, resp uint16)
	Flip() bool
	// Doubted says that the packet at hand has a wrong checksum and is believed all the same: see Aside.
	Doubted() bool
}

// Stream takes the bytes of one flow. Slices are borrowed. Once it is Idle, bytes are counted but no longer put in
// order for it, and it is only asked to Watch.
type Stream interface {
	Data(dir Dir, b []byte)
	Datagram(dir Dir, b []byte)
	Gap(dir Dir, n int64)
	End(dir Dir)
	Finish()
	Idle() bool
	// Watch shows an idle Stream the payload of a segment, in order but perhaps behind a hole, and asks whether it wants
	// it, and what follows, after all: then it gets it by Data.
	Watch(dir Dir, b []byte) bool
}

// Rester is a Stream that may be done before its flow is. Rest, asked behind a datagram, says that all that was begun is
// told: the stream is given up then, and what else comes in the flow opens another, which stays. Most flows of UDP are one
// question and its answer, and are in the table for ten seconds or sixty; those that are more are many.
type Rester interface{ Rest() bool }

// Conn is the end of a flow: the row of conn.log. Indices are Orig and Resp.
type Conn struct {
	At
	Flow     *Flow
	Duration time.Duration // first to last packet that meant something, see Zeek's conn.log
	Bytes    [2]uint64     // payload; TCP: from sequence numbers
	Pkts     [2]uint64
	IPBytes  [2]uint64
	State    string // S0, S1, SF, ...
	History  string
	Missed   uint64 // bytes in gaps of an established connection
	Services []string
	Local    [2]bool // in the local networks
	Guessed  bool    // picked up mid-stream: who opened it is a guess
	// CommunityID is the flow's: it is made in the workers and takes as long as a row does.
	CommunityID string
}

// flow is what the table knows of a flow. Sides are those of the key; which of them is the originator is origSide.
type flow struct {
	key      flowKey
	hash     uint64
	idx      int32 // own place in the slab
	slot     int32 // timer slot, -1: none
	wnext    int32 // neighbours in the timer slot
	wprev    int32
	origSide uint8
	openSide uint8 // origSide for the stream: they differ in what is left of a flow that was cut
	shadow   bool  // it is another's strict
	late     bool  // it began so far behind the clock that it was over at once: see Shard.cut
	mid      bool  // picked up after its beginning
	opened   bool  // stream was asked for
	dear     bool  // never shed
	known    bool  // an event has carried the identity
	rested   bool  // a stream was given up, as a Rester
	shunted  bool  // the kernel counts it: see Shard.delivered
	asleep   bool  // its row is told, but a request in it is not over: see Shard.expire
	attempt  bool  // the 5 s timer of a SYN is running
	armed    rank  // by which it stands in the wheels
	active   [2]bool
	whole    bool // a recorder keeps all of it: see Shard.Whole
	histSeen uint32
	timeout  int32 // seconds
	start    Time  // raw packet times: what the log says
	last     Time
	seen     Time // engine time of the last packet: what the timers go by
	dueAt    Time // TCP: a closed connection's end; others: the next look at a flow of a name service; 0: it is neither
	pkts     [2]uint64
	ipBytes  [2]uint64
	payload  [2]uint64 // new payload bytes by headers, retransmissions not counted twice
	untold   [2]uint32 // of those, what Progress did not say yet
	toldAt   Time
	offloads [2]bool  // sides whose checksums were left to a network card, and that was said
	hist     [12]byte // its first letters; the rest is in more
	histLen  uint8
	events   uint8 // that its stream made, up to freeEvents
	// All pointers in one line of the cache: it is the only one that the garbage collector reads (3 % under churn).
	sh       *Shard
	tcp      *tcpConn
	id       *Flow
	stream   Stream
	services *[]string // nil: none; never changed, many flows share it
	more     *flowMore
}

// flowMore is what most flows of a flood never have: kept apart, a million of them take 50 MB less.
type flowMore struct {
	refuted []string
	tunnels []string // UIDs
	tunnel  *Tunnel  // of the last packet
	via     [2]via   // by side, of its last packet in a tunnel
	hist    []byte   // history beyond flow.hist
	carried uint8    // sides that sent a tunnel's packets
	cut     bool     // the stream, and f.id, are those of an earlier row: see Shard.cut
	resume  [2]uint32
	missed  uint64
	bad     [2]uint32 // checksum errors of datagrams
	strict  *flow     // the flow without packets that were believed though their checksum is wrong: what conn.log says
	doubt   bool      // the packet at hand is one of those
	aside   bool      // something was read out of one
	said    []string  // why segments were shaped, as far as it was told
	disp    *dispute
	begun   []byte // of a request that a reset cut short, up to begunAt: it goes on if the reset did not arrive
	begunAt uint32
	account account
	renewal bool // a SYN came within the connection, of which the answer would acknowledge renewAt
	renewAt uint32
	holes   [2]uint32 // by side, where what was taken for lost begins
	wait    *waiting  // of tcpConn.waits
	shunt   *shunted  // nil: it never was
	outer   *outer    // it is the outside of a tunnel in which flows are shunted; nil: it is not
}

// extra gives the flow its flowMore.
func (f *flow) extra() *flowMore {
	if f.more == nil {
		f.more = &flowMore{}
	}
	return f.more
}

// Checksums says what is made of packets whose transport checksum is not right.
type Checksums uint8

const (
	// ChecksumsAuto takes the sum of the pseudo header alone, and none at all, for a right one: it is what is there where the
	// capturing host's card was to fill it in, or has merged several packets (TSO, GSO, GRO, LRO). A sum that is simply wrong
	// keeps a packet out of the rows.
	ChecksumsAuto Checksums = iota
	// ChecksumsStrict keeps both out of the rows, as Zeek does.
	ChecksumsStrict
	// ChecksumsIgnore takes every sum for right, as Zeek's -C does.
	ChecksumsIgnore
)

// checked says whether a packet of side is taken as it is. What is set aside counts for detection only, as long as no
// other copy comes: see setAside.
func (f *flow) checked(side uint8, p *Packet) bool {
	s := f.sh
	if s.cfg.Checksums == ChecksumsIgnore || p.ChecksumOK() {
		return true
	}
	partial := p.Offloaded()
	switch {
	case f.shadow: // it says what Zeek says
	case partial && s.cfg.Checksums == ChecksumsAuto:
		s.Counters.Offloaded++
		return true
	case partial:
		if !f.offloads[side] {
			f.offloads[side] = true
			f.weird("checksums_offloaded", "", "")
		}
		s.Counters.Offloaded++
		f.aside(true)
		return true
	default:
		s.Counters.BadChecksum++
		if p.PayloadLen() > 0 && f.live() {
			f.aside(false)
		}
	}
	return false
}

// aside has the row of conn.log accounted for without packets such as the one at hand. believed says that what is read
// comes out of it.
func (f *flow) aside(believed bool) {
	if f.shunted {
		f.unshunt()
	}
	x := f.extra()
	if x.doubt = believed; x.strict == nil {
		x.strict = f.fork()
	}
	x.aside = x.aside || believed
}

// fork copies what the row of conn.log is made of. Zeek sets every packet with a wrong checksum aside, and conn.log is to
// say what Zeek says; so a flow with packets that we believe all the same is accounted for twice.
func (f *flow) fork() *flow {
	s := *f
	s.shadow, s.slot, s.stream, s.opened, s.id = true, -1, nil, true, nil
	s.more = nil
	if x := f.more; x != nil {
		c := *x
		c.hist, c.strict, c.disp, c.begun, c.wait, c.shunt, c.outer = slices.Clone(x.hist), nil, nil, nil, nil, nil, nil
		s.more = &c
	}
	if f.tcp != nil {
		t := *f.tcp
		for i := range t.ep {
			if o := t.ep[i].odd; o != nil {
				c := *o
				t.ep[i].odd = &c
			}
			if a := t.ep[i].asm; a != nil {
				t.ep[i].asm = &assembly{ahead: slices.Clone(a.ahead)} // nothing aside: it is not believed here
				for j := range a.ahead {
					t.ep[i].asm.ahead[j].data = nil
				}
			}
		}
		t.waits = false
		s.tcp = &t
	}
	return &s
}

// dir is the direction of bytes sent by side.
func (f *flow) dir(side uint8) Dir { return Dir(side ^ f.origSide) }

// streamDir is dir for the stream.
func (f *flow) streamDir(side uint8) Dir { return Dir(side ^ f.openSide) }

// Flow implements Host.
func (f *flow) Flow() *Flow {
	if f.id == nil {
		f.id, f.known = f.identity(), true
	}
	return f.id
}

// row is the identity that the row of conn.log has.
func (f *flow) row() *Flow {
	if f.more != nil && f.more.cut {
		return f.identity()
	}
	return f.Flow()
}

// forget lets go of the identity of a flow that has nothing more to tell until it ends: for its row it is made again.
// Lingering flows were most of what the garbage collector had to go through, an eighth of all CPU time under churn.
func (f *flow) forget() {
	if f.more == nil {
		f.id = nil
	}
}

func (f *flow) identity() *Flow {
	ub := f.key.named(f.start)
	// The text of the UID is in the same allocation: most of what a lingering flow holds is this, and the collector goes
	// through one object where it went through three.
	id := &Flow{
		Start: f.start, Orig: f.key.addr(f.origSide), Resp: f.key.addr(f.origSide ^ 1), Proto: f.key.proto, Mid: f.mid,
		oneWay: f.key.kind&2 != 0, uid: uidOf('C', ub[:]),
	}
	id.UID = unsafe.String(&id.uid[0], len(id.uid)) // never written to again
	if f.more != nil {
		id.Tunnels = f.more.tunnels
	}
	return id
}

// At implements Host.
func (f *flow) At() At { return f.sh.at }

// Emit implements Host.
func (f *flow) Emit(ev any) {
	switch x := ev.(type) {
	case *Weird:
		if f.shadow && x.Name != "active_connection_reuse" && x.Name != "bad_TCP_checksum" && x.Name != "bad_UDP_checksum" {
			return
		}
	case *Progress, *Entered, *Shaped:
	default:
		over := f.overtold()
		if over && f.repeats(ev) {
			return
		}
		if x := f.more; x != nil && (over || x.aside || x.disp != nil) {
			made := &Aside{Event: ev, From: Doubted.When(x.aside), Over: over}
			if x.aside {
				made.From |= HandshakeSeen.When(strings.ContainsAny(x.strict.history(), "SsHh"))
			}
			if x.disp != nil {
				made.Reading = 1
			}
			ev = made
		}
	}
	f.sh.cfg.Emit(ev)
}

// Service implements Host.
func (f *flow) Service(name string) {
	x, admits, names := f.more, f.sh.cfg.Admits, f.named()
	if len(names) >= serviceLimit || slices.Contains(names, name) || x != nil && slices.Contains(x.refuted, name) ||
		admits != nil && !admits(f, f.mid, name) {
		return
	}
	if len(names) == 0 {
		f.services = f.sh.only(name)
	} else {
		list := append(slices.Clip(names), name)
		f.services = &list
	}
	if x != nil && x.strict != nil && !x.doubt {
		x.strict.Service(name)
	}
}

// named gives the services of the flow.
func (f *flow) named() []string {
	if f.services == nil {
		return nil
	}
	return *f.services
}

// only gives the list that has one name. Most flows have one or none, and share it.
func (s *Shard) only(name string) *[]string {
	list := s.names[name]
	if list == nil {
		if s.names == nil {
			s.names = map[string]*[]string{}
		}
		list = &[]string{name}
		s.names[name] = list // protocols are known by their few names
	}
	return list
}

// Refute implements Host.
func (f *flow) Refute(name string) {
	size := f.payload[0] + f.payload[1]
	if f.tcp != nil {
		size = f.tcp.size(0) + f.tcp.size(1)
	}
	x := f.extra()
	if size > refuteLimit || len(x.refuted) >= serviceLimit || slices.Contains(x.refuted, name) {
		return
	}
	x.refuted = append(x.refuted, name)
	if i := slices.Index(f.named(), name); i >= 0 {
		names := slices.Delete(slices.Clone(*f.services), i, i+1)
		f.services = &names
	}
	if name == "dns" && f.tcp == nil {
		f.dueAt = 0 // the timer was the analyzer's
	}
}

// Skip implements Host.
func (f *flow) Skip() {
	if f.histSeen&histSkip == 0 {
		f.histSeen |= histSkip
		f.addHist('X')
	}
}

// Ports implements Host.
func (f *flow) Ports() (orig, resp uint16) {
	return f.key.addr(f.origSide).Port(), f.key.addr(f.origSide ^ 1).Port()
}

// Doubted implements Host.
func (f *flow) Doubted() bool { return f.more != nil && f.more.doubt }

// Flip implements Host.
func (f *flow) Flip() bool {
	if f.known {
		return false
	}
	if f.key.addr(f.origSide ^ 1).Addr().IsMulticast() {
		return true // nobody there could have opened it
	}
	f.flip()
	if f.key.proto == ProtoUDP && f.pkts[0]+f.pkts[1] == 1 {
		// Zeek counts the packet by the roles before, and exchanges the roles alone.
		f.pkts[0], f.pkts[1] = f.pkts[1], f.pkts[0]
		f.ipBytes[0], f.ipBytes[1] = f.ipBytes[1], f.ipBytes[0]
		f.payload[0], f.payload[1] = f.payload[1], f.payload[0]
		f.untold[0], f.untold[1] = f.untold[1], f.untold[0]
		f.active[0], f.active[1] = f.active[1], f.active[0]
	}
	return true
}

func (f *flow) flip() {
	f.origSide ^= 1
	if f.more == nil || !f.more.cut {
		f.openSide ^= 1
	}
	f.addHist('^')
	if f.tcp != nil {
		f.tcp.firstSeen = f.tcp.firstSeen>>1&1 | f.tcp.firstSeen<<1&2
		f.tcp.partial = false
	}
}

func (f *flow) addHist(c byte) {
	if n := int(f.histLen); n < len(f.hist) {
		f.hist[n] = c
		f.histLen++
	} else if x := f.extra(); n+len(x.hist) < historyLimit {
		x.hist = append(x.hist, c)
	}
}

func (f *flow) history() string {
	h := string(f.hist[:f.histLen])
	if f.more != nil {
		h += string(f.more.hist)
	}
	return h
}

// mark adds an upper-case history letter, in the case of side's role, unless its bit says that it is there already.
// It returns whether it was.
func (f *flow) mark(side uint8, bit uint32, c byte) bool {
	if f.dir(side) == Resp {
		bit <<= 16
	}
	if f.histSeen&bit != 0 {
		return true
	}
	f.histSeen |= bit
	f.again(side, c)
	return false
}

func (f *flow) again(side uint8, c byte) {
	if f.dir(side) == Resp {
		c |= 0x20
	}
	f.addHist(c)
}

// scaled counts an occurrence and adds its letter at the 1st, 10th, 100th, ...
func (f *flow) scaled(side uint8, n *uint32, c byte) {
	if *n == math.MaxUint32 {
		return
	}
	*n++
	for t := uint64(1); t <= uint64(*n); t *= 10 {
		if t == uint64(*n) {
			f.again(side, c)
		}
	}
}

func (f *flow) weird(name, addl, from string) {
	f.Emit(&Weird{At: f.sh.at, Flow: f.Flow(), Name: name, Addl: addl, From: from})
}

// over says whether the flow's time is up.
func (f *flow) over() bool {
	now := f.sh.now
	if f.tcp == nil && f.dueAt != 0 && f.dueAt <= now {
		at := f.dueAt // or at the next packet of any flow, which the clock tells to a second
		if now.Sub(at) > time.Second {
			at = now
		}
		if at.Sub(f.last) >= nameQuiet {
			return true
		}
		f.dueAt = at.Add(nameCheck)
	}
	return f.deadline() <= now
}

// idle is how long the flow may be quiet.
func (f *flow) idle() time.Duration { return time.Duration(f.timeout) * time.Second }

// add counts payload by the headers of a packet.
func (f *flow) add(side uint8, n int) {
	f.payload[side] += uint64(n)
	f.untold[side] += uint32(n) // of one packet or two: what is untold is told from progressBytes on
}

// deadline is when the flow is to be looked at, and mostly ends, if nothing more is seen of it.
func (f *flow) deadline() Time {
	if f.asleep {
		return f.seen.Add(sleepFor)
	}
	if f.tcp != nil && f.dueAt != 0 {
		return f.dueAt
	}
	d := f.seen.Add(f.idle())
	if f.dueAt != 0 {
		d = min(d, f.dueAt)
	}
	if f.tcp != nil {
		if f.attempt && f.tcp.unanswered(f) {
			d = min(d, f.start.Add(attemptDelay))
		}
		if f.tcp.halfClosed() {
			d = min(d, f.seen.Add(closeDelay))
		}
		if f.sh.crowded && f.lone() {
			d = min(d, f.seen.Add(loneDelay))
		}
	}
	return d
}

// newProgress gives room for one. They are most of what is allocated for a flow that goes on, and nobody keeps them, so they
// are made many at once.
func (s *Shard) newProgress() *Progress {
	if len(s.told) == 0 {
		s.told = make([]Progress, 16)
	}
	p := &s.told[0]
	s.told = s.told[1:]
	return p
}

// progress tells of new bytes, if there are enough of them or they waited long enough.
func (f *flow) progress(force bool) {
	n := [2]uint64{uint64(f.untold[0]), uint64(f.untold[1])}
	sum := n[0] + n[1]
	if sum == 0 || !force && sum < progressBytes && f.sh.now.Sub(f.toldAt) < progressEvery {
		return
	}
	f.untold, f.toldAt = [2]uint32{}, f.sh.now
	o := f.origSide
	p := f.sh.newProgress()
	*p = Progress{At: f.sh.at, Flow: f.Flow(), Bytes: [2]uint64{n[o], n[o^1]}, Guessed: f.mid}
	f.Emit(p)
	if f.sh.cfg.Shunt.Shunt != nil && !force {
		f.consider()
	}
}

// open makes the flow's stream at its first payload.
func (f *flow) open() Stream {
	if !f.opened {
		f.opened = true
		f.stream = f.sh.cfg.Open(f, f.mid || f.tcp != nil && f.tcp.over)
	}
	return f.stream
}

// live says whether anybody wants the flow's bytes in order.
func (f *flow) live() bool { return !f.opened || f.stream != nil && !f.stream.Idle() }

// wakes asks the stream of a flow that is not live whether it wants b, which side sent, after all.
func (f *flow) wakes(side uint8, b []byte) bool {
	return f.stream != nil && len(b) > 0 && f.stream.Watch(f.streamDir(side), b)
}
