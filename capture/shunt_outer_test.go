package capture

import (
	"net/netip"
	"strings"
	"testing"
)

// counting is a kernel that counts one flow, as the test says.
type counting struct {
	put, taken int
	sides      [2]shuntSide
	c          [2]shuntCounts
	at         Time   // what Put says
	out        uint32 // what Out says
}

func (k *counting) Begin(*Beginnings) error { return nil }

func (k *counting) Put(_ *flowKey, sides *[2]shuntSide) (uint32, Time, bool) {
	k.put++
	k.sides, k.c = *sides, [2]shuntCounts{}
	return 0, k.at, true
}

func (k *counting) Out(uint32) uint32                            { return k.out }
func (k *counting) Read(_ uint32, c *[2]shuntCounts)             { *c = k.c }
func (k *counting) Take(_ *flowKey, _ uint32, c *[2]shuntCounts) { k.taken++; *c = k.c }

// pass counts segments of side, through a tunnel whose headers take 50 bytes each.
func (k *counting) pass(side int, packets, size uint64, at Time) {
	c := &k.c[side]
	if !c.ready {
		c.ready, c.first = true, k.sides[side].next
		c.ack = k.sides[side].ack
	}
	c.packets += packets
	c.payload += packets * size
	c.bytes += packets * (40 + size)
	c.wire += packets * (104 + size)
	c.outer += packets * (90 + size)
	c.last = at
}

// fabric is a connection in VXLAN between two machines: its flow, and those of the tunnel in each direction.
type fabric struct {
	t      *testing.T
	kernel *counting
	outers *Outers
	inner  *Shard
	outer  [2]*Shard
	conns  []*Conn
	now    Time
	tunnel [2]*Tunnel
	seq    [2]uint32
}

func newFabric(t *testing.T, keeps func(*Facts) bool) *fabric {
	x := &fabric{t: t, kernel: &counting{}, outers: NewOuters(), now: 1000e9, seq: [2]uint32{1, 1}}
	x.outers.Seed(known)
	shard := func(h uint64, shunt Shunt) *Shard {
		return NewShard(FlowConfig{
			MaxFlows: 100, Checksums: ChecksumsIgnore, Number: int(h % ShardCount),
			Open: func(Host, bool) Stream { return nil },
			Emit: func(ev any) {
				if c, ok := ev.(*Conn); ok {
					x.conns = append(x.conns, c)
				}
			},
			Shunt: ShuntConfig{Shunt: shunt, Outers: x.outers, Least: 1, Keeps: keeps},
		})
	}
	x.inner = shard(0, x.kernel)
	for i := range x.outer {
		p := x.around(i, 0)
		x.outer[i] = shard(FlowHash(p), x.kernel)
		x.tunnel[i] = &Tunnel{
			Kind: "VXLAN", UID: "C", Orig: netip.AddrPortFrom(p.SrcAddr(), p.SrcPort), Resp: netip.AddrPortFrom(p.DstAddr(), p.DstPort),
		}
	}
	return x
}

func (x *fabric) around(side int, size int) *Packet {
	ends := [2]string{"192.0.2.1", "192.0.2.2"}
	p := packet(ends[side]+":50001", ends[1-side]+":4789", ProtoUDP, string(make([]byte, 90-28+size)))
	p.Time, p.Clock = x.now, x.now
	return p
}

// send sends a segment of side through its tunnel.
func (x *fabric) send(side int, flags uint8, payload string) {
	x.now += 1e6
	ends := [2]string{client, server}
	p := packet(ends[side], ends[1-side], ProtoTCP, payload)
	p.Time, p.Clock, p.Flags, p.Tunnel = x.now, x.now, flags, x.tunnel[side]
	p.Seq, p.Ack = x.seq[side], x.seq[1-side]
	x.seq[side] += uint32(len(payload)) + uint32(flags&FlagSYN>>1) + uint32(flags&FlagFIN)
	o := x.around(side, len(payload))
	x.outer[side].Packet(o, FlowHash(o))
	x.inner.Packet(p, FlowHash(p))
}

// tick lets time pass, in both shards.
func (x *fabric) tick(span Time) {
	for end := x.now + span; x.now < end; {
		x.now = min(x.now+250e6, end)
		x.inner.Advance(At{Time: x.now})
		for _, s := range x.outer {
			s.Advance(At{Time: x.now})
		}
	}
}

// shunt opens the connection and has it shunted.
func (x *fabric) shunt() {
	x.t.Helper()
	x.send(0, FlagSYN, "")
	x.send(1, FlagSYN|FlagACK, "")
	x.send(0, FlagACK, "")
	for x.kernel.put == 0 && x.now < 1010e9 {
		for side := range 2 {
			x.send(side, FlagACK, "hello")
		}
		x.tick(250e6)
	}
	if x.kernel.put != 1 {
		x.t.Fatalf("shunted %d times", x.kernel.put)
	}
}

// rows gives the rows of the flow and of its tunnel's, by the port of who opened it and by host.
func (x *fabric) rows() (inner *Conn, outer [2][]*Conn) {
	for _, c := range x.conns {
		switch {
		case c.Flow.Proto == ProtoTCP:
			inner = c
		case c.Flow.Orig.Addr().String() == "192.0.2.1":
			outer[0] = append(outer[0], c)
		default:
			outer[1] = append(outer[1], c)
		}
	}
	return inner, outer
}

func (x *fabric) end() {
	x.inner.TakeBack()
	for _, s := range []*Shard{x.outer[0], x.inner, x.outer[1]} {
		s.Close(At{Time: x.now})
	}
}

// TestTunnelIsCounted: what the kernel counts of a flow is in the rows of its tunnel's flows, which go on as long as it does.
func TestTunnelIsCounted(t *testing.T) {
	x := newFabric(t, nil)
	x.shunt()
	if v := x.kernel.sides[0].via; v[36] != ProtoUDP || v[38] != viaVXLAN {
		t.Errorf("the kernel is told of the tunnel %x", v)
	}
	for range 100 { // longer than a flow of UDP may be quiet
		x.kernel.pass(0, 10, 1000, x.now)
		x.kernel.pass(1, 5, 0, x.now)
		x.tick(2e9)
	}
	x.end()
	inner, outer := x.rows()
	if inner == nil || len(outer[0]) != 1 || len(outer[1]) != 1 {
		t.Fatalf("%v; %d and %d rows of the tunnel", inner, len(outer[0]), len(outer[1]))
	}
	if inner.Pkts[0] < 1002 || inner.Pkts[1] < 501 {
		t.Errorf("packets %v", inner.Pkts)
	}
	for i, c := range []*Conn{outer[0][0], outer[1][0]} {
		if c.Pkts != [2]uint64{inner.Pkts[i], 0} || c.IPBytes[0] != inner.IPBytes[i]+50*c.Pkts[0] || c.Bytes[0] != c.IPBytes[0]-28*c.Pkts[0] || c.State != "S0" {
			t.Errorf("packets %v, bytes %v of IP, %v, state %s; in it %v, %v", c.Pkts, c.IPBytes, c.Bytes, c.State, inner.Pkts, inner.IPBytes)
		}
		if c.Duration < 197e9 {
			t.Errorf("it lasted %v", c.Duration)
		}
	}
	if n := len(x.outers.flows); n != 0 {
		t.Errorf("%d tunnels are remembered", n)
	}
}

// TestTunnelMakesRoom: the flow of a tunnel that has to make room goes on in another row, and nothing is counted for it
// without being delivered until that flow has been asked.
func TestTunnelMakesRoom(t *testing.T) {
	x := newFabric(t, nil)
	x.shunt()
	x.kernel.pass(0, 10, 1000, x.now)
	x.tick(1e9)
	if !x.outer[0].evict() {
		t.Fatal("no room is made")
	}
	x.kernel.pass(0, 10, 1000, x.now)
	x.tick(1e9)
	if x.kernel.taken != 1 {
		t.Errorf("taken back %d times", x.kernel.taken)
	}
	x.end()
	inner, outer := x.rows()
	if len(outer[0]) != 2 || outer[0][0].Pkts[0]+outer[0][1].Pkts[0] != inner.Pkts[0] || outer[0][1].Pkts[0] != 10 {
		t.Errorf("%d rows", len(outer[0]))
	}
}

// TestTunnelEndsWithoutItsFlow: what is counted right before the end for a tunnel whose flow had to make room has a row.
func TestTunnelEndsWithoutItsFlow(t *testing.T) {
	x := newFabric(t, nil)
	x.shunt()
	x.kernel.pass(0, 10, 1000, x.now)
	if !x.outer[0].evict() {
		t.Fatal("no room is made")
	}
	x.end()
	if inner, outer := x.rows(); len(outer[0]) != 2 || outer[0][0].Pkts[0]+outer[0][1].Pkts[0] != inner.Pkts[0] {
		t.Errorf("%d rows", len(outer[0]))
	}
	if n := len(x.outers.flows); n != 0 {
		t.Errorf("%d tunnels are remembered", n)
	}
}

// TestTunnelIsKept: a flow in a tunnel whose packets are recorded is not shunted, nor any longer once they are.
func TestTunnelIsKept(t *testing.T) {
	var kept uint64
	x := newFabric(t, func(f *Facts) bool { return f.Hash == kept })
	x.shunt()
	kept = FlowHash(x.around(1, 0))
	x.kernel.pass(1, 1, 0, x.now)
	x.tick(1e9)
	if x.kernel.taken != 1 {
		t.Errorf("taken back %d times", x.kernel.taken)
	}
	for range 5 {
		x.send(0, FlagACK, "hello")
		x.tick(250e6)
	}
	if x.kernel.put != 1 {
		t.Errorf("shunted %d times", x.kernel.put)
	}
}

// TestTunnelIsRemembered: the dissector gives a tunnel the same name behind packets that it has not seen.
func TestTunnelIsRemembered(t *testing.T) {
	o := NewOuters()
	r := newRig(DissectConfig{Outers: o})
	frame := mkIP4(17, mkUDP(1000, 4789, hx("08000000 00000100"), mkEth(0x800, tcp4())))
	uid := func(at Time) string {
		ps := r.Dissect(&Frame{Time: at, Data: frame, WireLen: len(frame), Link: linkRaw}, nil)
		return ps[len(ps)-1].Tunnel.UID
	}
	first := uid(1000e9)
	p := r.Dissect(&Frame{Time: 1001e9, Data: frame, WireLen: len(frame), Link: linkRaw}, nil)[0]
	k, side := orient(&p)
	o.ask(&k, side)
	x := o.flows[k]
	o.add(x, side, 5, 5000, 1100e9)
	r.now = 1100e9
	r.Refresh()
	if got := uid(1150e9); got != first {
		t.Errorf("%s, then %s", first, got)
	}
	if got := uid(1211e9); got == first {
		t.Error("a tunnel that was quiet is the same")
	}
}

// TestTunnelsAreBounded: no more are asked about than there is room for.
func TestTunnelsAreBounded(t *testing.T) {
	o := NewOuters()
	for i := range maxOuters + 10 {
		k := flowKey{loPort: uint16(i), hiPort: uint16(i >> 16), proto: ProtoUDP}
		o.ask(&k, 0)
	}
	if n := len(o.flows); n != maxOuters {
		t.Errorf("%d", n)
	}
	// Those without a flow are forgotten.
	for i := range ShardCount {
		s := NewShard(FlowConfig{Number: i, Emit: func(any) {}, Shunt: ShuntConfig{Outers: o}})
		s.Advance(At{Time: 1e9})
	}
	if n := len(o.flows); n != 0 {
		t.Errorf("%d are remembered", n)
	}
}

// TestShuntedCopy: copies of segments are told from others where counting begins. A packet has its time before the program sees it, so
// that what has ended the counting may seem to have been on its way when that began; and of what was on its way the kernel does not know.
func TestShuntedCopy(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    func(x *fabric)
		taken int
		again bool
		bytes uint64 // that are new
	}{
		{"a copy of the first that is counted", func(x *fabric) {
			x.kernel.pass(0, 1, 5, x.now)
			x.kernel.out = outOrder
			x.send(0, FlagACK, "hello")
		}, 1, true, 5},
		{"a segment that was on its way", func(x *fabric) {
			x.kernel.sides[0].next += 5
			x.kernel.pass(0, 1, 5, x.now)
			x.kernel.out = outOrder
			x.send(0, FlagACK, "hello")
		}, 0, false, 10},
	} {
		x := newFabric(t, nil)
		x.kernel.at = x.now + 60e9
		x.shunt()
		sent := uint64(x.seq[0] - 2)
		c.do(x)
		if c.taken != x.kernel.taken {
			t.Errorf("%s: taken back %d times", c.name, x.kernel.taken)
		}
		x.end()
		inner, _ := x.rows()
		if inner == nil || strings.Contains(inner.History, "T") != c.again || inner.Bytes[0] != sent+c.bytes {
			t.Errorf("%s: %+v", c.name, inner)
		}
	}
}
