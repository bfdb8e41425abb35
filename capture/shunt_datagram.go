package capture

// Flows of UDP that nobody reads: WireGuard between the nodes of a cluster, QUIC behind its handshake, and whatever else no
// decoder knew. A decoder that is through with a flow of datagrams never wants one again, and they have no order, so there is
// less to tell the kernel than of TCP: it counts what cannot be the outside of a tunnel, and delivers the rest, which ends
// nothing.

// considerDatagrams shunts a flow of UDP if nobody wants its bytes.
func (f *flow) considerDatagrams() {
	c := &f.sh.cfg.Shunt
	k := &f.key
	if k.proto != ProtoUDP || !f.opened || f.live() || f.late || f.dueAt != 0 || udpTunnelKind(k.loPort)|udpTunnelKind(k.hiPort) != tunNone {
		return
	}
	sum := f.payload[0] + f.payload[1]
	if sum < c.After {
		return
	}
	x := f.extra()
	if x.strict != nil || x.aside || x.carried != 0 || x.outer != nil || x.via != [2]via{} || f.kept() {
		return
	}
	if x.shunt == nil {
		x.shunt = &shunted{}
	}
	if sum < x.shunt.next || !f.settled(x.shunt) {
		return
	}
	var sides [2]shuntSide
	for i := range sides {
		if f.active[i] { // the first packet of a side is told
			sides[i].left = Unending
		}
	}
	f.leave(x.shunt, sides)
}

// absorbDatagrams takes over what was counted of a flow of UDP since the last time.
func (f *flow) absorbDatagrams(x *shunted, c *[2]shuntCounts) {
	s := f.sh
	var counts [2]outerCounts
	for i := range c {
		now, was := &c[i], &x.was[i]
		counts[i] = outerCounts{packets: now.packets - was.packets, bytes: now.bytes - was.bytes, payload: now.payload - was.payload, last: now.last}
		if counts[i].packets > 0 {
			s.Counters.Shunted += counts[i].packets
			s.Counters.ShuntedBytes += now.wire - was.wire
			x.moved = s.now
		}
	}
	x.was = *c
	f.counted(&counts)
}
