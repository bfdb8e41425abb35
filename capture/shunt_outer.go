package capture

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// Tunnels around flows that are shunted. A packet that the kernel counts is one of the tunnel as well: of the flow of UDP on
// its outside, if there is one, which is in another shard, and for the dissector, which forgets tunnels that are quiet. So
// what is counted of the inner flow is counted for the outer, and Outers brings it there.
//
// A flow in a tunnel is shunted only when its tunnel's flow agrees, for the direction that is asked for: nobody wants the
// bytes of that either, no recorder keeps its packets, and nothing is in doubt.

// maxOuters bounds the tunnels that are asked about at once: one for each direction of all flows that may be shunted.
const maxOuters = 32 << 10

// Outers brings what is counted of tunnels to their flows. It may be used from any goroutine.
type Outers struct {
	mu    sync.Mutex
	seed  Seed
	flows map[flowKey]*outer
	mail  [ShardCount][]*outer // for flows of the shard
	has   [ShardCount]atomic.Bool
	fresh []*outer // of which packets were counted since the dissector looked
	some  atomic.Bool
}

// outer is a flow on the outside of a tunnel, or the tunnel itself if it has no flow. All is under Outers.mu.
type outer struct {
	key     flowKey
	hash    uint64
	shunted int     // directions of flows that are shunted in it
	owned   bool    // the flow is in its table and knows of this
	may     [2]bool // by side of the key: its packets may be counted
	posted  bool    // it is in the shard's mail
	told    bool    // it is in fresh
	last    Time
	counts  [2]outerCounts
}

// outerCounts is what was counted of a side and is not in its flow yet.
type outerCounts struct {
	packets, bytes, payload uint64
	first, last             Time
}

// NewOuters makes one.
func NewOuters() *Outers { return &Outers{flows: map[flowKey]*outer{}} }

// Seed says which hash deals flows to shards. It comes before any packet.
func (o *Outers) Seed(s Seed) {
	o.mu.Lock()
	o.seed = s
	o.mu.Unlock()
}

// ask asks whether packets from a side of a tunnel may be counted, and gives the tunnel if so. The answer comes later.
func (o *Outers) ask(k *flowKey, side uint8) *outer {
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.flows[*k]
	if x == nil {
		if len(o.flows) >= maxOuters {
			return nil
		}
		x = &outer{key: *k, hash: o.seed.hash(k)}
		o.flows[*k] = x
	}
	if k.proto != ProtoUDP || x.may[side] {
		return x
	}
	o.post(x)
	return nil
}

func (o *Outers) post(x *outer) {
	if !x.posted {
		n := x.hash % ShardCount
		x.posted = true
		o.mail[n] = append(o.mail[n], x)
		o.has[n].Store(true)
	}
}

// allows reports whether packets from a side may still be counted.
func (o *Outers) allows(x *outer, side uint8) bool {
	if x.key.proto != ProtoUDP {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return x.may[side]
}

// begin says that a direction of a flow in the tunnel is shunted, end that it is not any more.
func (o *Outers) begin(x *outer) {
	o.mu.Lock()
	o.flows[x.key] = x // it may have been forgotten since it was asked
	x.shunted++
	o.mu.Unlock()
}

func (o *Outers) end(x *outer) {
	o.mu.Lock()
	x.shunted--
	o.forget(x)
	o.mu.Unlock()
}

// forget gives a tunnel up that nobody has to do with.
func (o *Outers) forget(x *outer) {
	if x.shunted == 0 && !x.owned && !x.posted && o.flows[x.key] == x {
		delete(o.flows, x.key)
	}
}

// add counts packets from a side.
func (o *Outers) add(x *outer, side uint8, packets, bytes uint64, last Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	x.last = max(x.last, last)
	if !x.told {
		x.told = true
		o.fresh = append(o.fresh, x)
		o.some.Store(true)
	}
	if x.key.proto != ProtoUDP {
		return
	}
	c := &x.counts[side]
	if c.packets == 0 {
		c.first = last
	}
	c.packets += packets
	c.bytes += bytes
	headers := uint64(20 + 8)
	if x.key.kind&1 != 0 {
		headers = 40 + 8
	}
	c.payload += bytes - min(bytes, packets*headers)
	c.last = max(c.last, last)
	o.post(x)
}

// Refresh notes which tunnels had packets that the dissector did not see.
func (d *Dissector) Refresh() {
	o := d.cfg.Outers
	if o == nil || !o.some.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.fresh {
		if e := d.tunnels.get(x.key); e != nil {
			e.last = max(e.last, min(x.last, d.now))
		}
		x.told = false
	}
	clear(o.fresh)
	o.fresh = o.fresh[:0]
	o.some.Store(false)
}

// outers answers what tunnels of the shard were asked, and takes over what was counted of them.
func (s *Shard) outers() {
	o := s.cfg.Shunt.Outers
	o.mu.Lock()
	list := o.mail[s.cfg.Number]
	o.mail[s.cfg.Number] = nil
	o.has[s.cfg.Number].Store(false)
	o.mu.Unlock()
	for _, x := range list {
		f := s.find(&x.key, x.hash)
		o.mu.Lock()
		x.posted = false
		counts := x.counts
		x.counts = [2]outerCounts{}
		o.mu.Unlock()
		if counts[0].packets+counts[1].packets > 0 {
			if f == nil { // it had to make room, and goes on
				f = s.beginOuter(x, &counts)
			}
			f.counted(&counts)
		}
		o.mu.Lock()
		if f == nil {
			o.forget(x)
		} else if x.owned || o.flows[x.key] == x {
			x.owned = true
			f.extra().outer = x
			for i := range x.may {
				x.may[i] = f.mayCount(uint8(i))
			}
		}
		o.mu.Unlock()
	}
}

// beginOuter begins the flow of a tunnel by what was counted of it.
func (s *Shard) beginOuter(x *outer, counts *[2]outerCounts) *flow {
	side := uint8(0)
	if counts[0].packets == 0 {
		side = 1
	}
	p := Packet{
		Time: counts[side].first, Clock: s.now, Src: x.key.lo, Dst: x.key.hi, SrcPort: x.key.loPort, DstPort: x.key.hiPort,
		Proto: x.key.proto, V6: x.key.kind&1 != 0,
	}
	if side == 1 {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	}
	f := s.begin(&x.key, x.hash, side, &p)
	f.opened = true // what it is was seen before
	return f
}

// counted takes over what was counted of the outside of a tunnel.
func (f *flow) counted(counts *[2]outerCounts) {
	both := [2]*flow{f}
	if f.more != nil {
		both[1] = f.more.strict // they are packets like others
	}
	for _, f := range both {
		if f == nil {
			continue
		}
		for i := range counts {
			c, side := &counts[i], uint8(i)
			if c.packets == 0 {
				continue
			}
			f.pkts[i] += c.packets
			f.ipBytes[i] += c.bytes
			f.active[i] = true
			f.mark(side, histData, 'D')
			f.last = max(f.last, c.last)
			f.seen = max(f.seen, min(c.last, f.sh.now))
			for n := c.payload; n > 0; n -= min(n, 1<<30) {
				f.add(side, int(min(n, 1<<30)))
				if !f.shadow {
					f.progress(f.untold[side] >= 1<<30)
				}
			}
		}
	}
}

// mayCount reports whether packets of side may be counted without being delivered.
func (f *flow) mayCount(side uint8) bool {
	if f.tcp != nil || !f.opened || f.live() || f.late || f.more != nil && (f.more.strict != nil || f.more.aside) {
		return false
	}
	if keeps := f.sh.cfg.Shunt.Keeps; keeps != nil {
		facts := f.facts(side)
		return !keeps(&facts)
	}
	return true
}

// takeCounts takes over what was counted of the flow, which is the outside of a tunnel.
func (f *flow) takeCounts() {
	x, o := f.more.outer, f.sh.cfg.Shunt.Outers
	o.mu.Lock()
	counts := x.counts
	x.counts = [2]outerCounts{}
	o.mu.Unlock()
	f.counted(&counts)
}

// leaveOuter says that the flow is no more the one on the outside of a tunnel, for it ends.
func (f *flow) leaveOuter() {
	f.takeCounts()
	x, o := f.more.outer, f.sh.cfg.Shunt.Outers
	o.mu.Lock()
	x.owned, x.may = false, [2]bool{}
	o.forget(x)
	o.mu.Unlock()
	f.more.outer = nil
}

// via is a tunnel that packets of a side came through.
type via struct {
	tunnel *Tunnel
	turned bool // from its Resp
}

// Kinds of tunnels that the kernel looks through: see shuntProgram.outer.
const (
	viaVXLAN = 1 + iota
	viaVXLANShape
	viaGeneve
	viaGRE
)

// tunnelPorts are those of which udpTunnelKind knows what they may carry.
var tunnelPorts = [...]uint16{portVXLAN, portVXLANLinux, portGeneve, 4790, 2152, 2123, 3544, 5072, 4754, 6080, 6635, 37008}

// viaSize is the size of what the kernel knows a tunnel by: source and destination, ports, protocol, version and kind.
const viaSize = 40

// wire gives what the kernel tells the tunnel by, and its key with the side that sends. ok is false if it looks through no
// such tunnel.
func (v via) wire() (b [viaSize]byte, k flowKey, side uint8, ok bool) {
	t := v.tunnel
	if t.Outer != nil {
		return b, k, 0, false
	}
	src, dst := t.Orig, t.Resp
	if v.turned {
		src, dst = dst, src
	}
	p := Packet{
		Src: src.Addr().As16(), Dst: dst.Addr().As16(), SrcPort: src.Port(), DstPort: dst.Port(), Proto: ProtoUDP, V6: src.Addr().Is6(),
	}
	switch kind := viaKind(p.SrcPort, p.DstPort, p.V6); {
	case t.Kind == "GRE" && p.SrcPort|p.DstPort == 0:
		p.Proto, b[38] = protoGRE, viaGRE
	case t.Kind == "GENEVE" && kind == viaGeneve, t.Kind == "VXLAN" && (kind == viaVXLAN || kind == viaVXLANShape):
		b[38] = kind
	default:
		return b, k, 0, false
	}
	if p.V6 {
		copy(b[0:], p.Src[:])
		copy(b[16:], p.Dst[:])
		b[37] = 1
	} else {
		copy(b[0:], p.Src[12:])
		copy(b[16:], p.Dst[12:])
	}
	binary.BigEndian.PutUint16(b[32:], p.SrcPort)
	binary.BigEndian.PutUint16(b[34:], p.DstPort)
	b[36] = p.Proto
	k, side = orient(&p)
	return b, k, side, true
}

// viaKind is how the kernel reads what UDP carries between two ports, as udpTunnel does; 0: not at all.
func viaKind(src, dst uint16, v6 bool) uint8 {
	switch udpTunnelKind(dst) {
	case tunVXLAN, tunVXLANLinux:
		return viaVXLAN
	case tunGeneve:
		return viaGeneve
	case tunNone:
		if udpTunnelKind(src) == tunNone && !v6 {
			return viaVXLANShape
		}
	}
	return 0
}

// through asks the tunnels of both sides, and writes for the kernel what they are.
func (s *Shard) through(x *flowMore, sides *[2]shuntSide, outers *[2]*outer, outerSide *[2]uint8) bool {
	all := true
	for i, v := range x.via {
		if v.tunnel == nil {
			continue
		}
		b, k, side, ok := v.wire()
		if !ok || s.cfg.Shunt.Outers == nil {
			return false
		}
		outers[i] = s.cfg.Shunt.Outers.ask(&k, side)
		all = all && outers[i] != nil
		sides[i].via, outerSide[i] = b, side
	}
	return all
}

// throughTunnel counts packets of side for the tunnel that they came through.
func (f *flow) throughTunnel(x *shunted, side int, packets, bytes uint64, last Time) {
	o := x.outers[side]
	if o == nil {
		return
	}
	if v := f.more.via; v[0].tunnel != v[1].tunnel {
		f.enter(v[side].tunnel) // as with each packet that comes through another than the one before it
	}
	f.sh.cfg.Shunt.Outers.add(o, x.outerSides[side], packets, bytes, last)
}

// detained reports whether a tunnel that packets of the flow come through is to be delivered now.
func (f *flow) detained(x *shunted) bool {
	for i, o := range x.outers {
		if o != nil && !f.sh.cfg.Shunt.Outers.allows(o, x.outerSides[i]) {
			return true
		}
	}
	return false
}
