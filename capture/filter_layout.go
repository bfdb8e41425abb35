package capture

import "golang.org/x/net/bpf"

// layout says where things are in a frame. vlan, mpls and pppoes move it for everything that is written behind them,
// whether joined by "and" or by "or": that is libpcap's rule, and scripts rely on it.
type layout struct {
	link     uint16
	typeAt   uint32 // where the Ethernet type (behind pppoes: the PPP protocol) is
	payload  uint32 // where the network layer begins
	labels   int    // MPLS labels before it
	typed    bool   // there is a type field: not in raw IP, null and loop
	pppoe    bool
	ethernet bool
}

func layoutOf(link uint16) (layout, bool) {
	l := layout{link: link}
	switch link {
	case linkEthernet:
		l.typed, l.ethernet, l.typeAt, l.payload = true, true, 12, 14
	case linkLinuxSLL:
		l.typed, l.typeAt, l.payload = true, 14, 16
	case linkLinuxSLL2:
		l.typed, l.typeAt, l.payload = true, 0, 20
	case linkDSA, linkDSABrcm:
		l.typed, l.ethernet, l.typeAt, l.payload = true, true, 12+4, 14+4
	case linkEDSA:
		l.typed, l.ethernet, l.typeAt, l.payload = true, true, 12+8, 14+8
	case linkIPoIB:
		l.typed, l.typeAt, l.payload = true, 20, 24
	case linkIPNET:
		l.payload = 24
	case linkENC:
		l.payload = 12
	case linkNull, linkLoop:
		l.payload = 4
	case linkRaw, linkRaw12, linkRaw14, linkIPv4, linkIPv6:
	default:
		return l, false
	}
	return l, true
}

// etherType tests for what the frame carries, by Ethernet type, however the link layer says it.
func (l *layout) etherType(t uint32) *node {
	version := func(b ...bpf.RawInstruction) *node {
		switch t {
		case etherIPv4:
			return test(opJeq, 0x40, append(b, ins(opAnd, 0xf0))...)
		case etherIPv6:
			return test(opJeq, 0x60, append(b, ins(opAnd, 0xf0))...)
		}
		return constant(false)
	}
	switch {
	case l.labels > 0: // behind the last label, and the first four bits say what it is
		return both(test(opJset, 1, ins(opLdB, l.payload-2)), version(ins(opLdB, l.payload)))
	case l.pppoe:
		switch t {
		case etherIPv4:
			t = 0x21
		case etherIPv6:
			t = 0x57
		}
		return test(opJeq, t, ins(opLdH, l.typeAt))
	case l.link == linkIPv4:
		return constant(t == etherIPv4)
	case l.link == linkIPv6:
		return constant(t == etherIPv6)
	case l.link == linkNull || l.link == linkLoop:
		// An address family in the byte order of whoever wrote the file, which a frame does not tell, and IPv6 has
		// another number on every system: Linux, NetBSD and OpenBSD, FreeBSD, macOS.
		var families []uint32
		switch t {
		case etherIPv4:
			families = []uint32{2}
		case etherIPv6:
			families = []uint32{10, 24, 28, 30}
		}
		n := constant(false)
		for _, f := range families {
			n = either(n, either(test(opJeq, f<<24, ins(opLdW, 0)), test(opJeq, f, ins(opLdW, 0))))
		}
		return n
	case !l.typed:
		return version(ins(opLdB, l.payload))
	case t > maxLLCLength:
		return test(opJeq, t, ins(opLdH, l.typeAt))
	case l.ethernet:
		return both(not(test(opJgt, maxLLCLength, ins(opLdH, l.typeAt))), test(opJeq, t, ins(opLdB, l.payload)))
	}
	const cooked8022 = 4
	return both(test(opJeq, cooked8022, ins(opLdH, l.typeAt)), test(opJeq, t, ins(opLdB, l.payload)))
}

// ipProto tests for a protocol over IP; in IPv6 as the next header, or behind a fragment header.
func (l *layout) ipProto(proto uint32, over4, over6 bool) *node {
	n := constant(false)
	if over4 {
		n = both(l.etherType(etherIPv4), test(opJeq, proto, ins(opLdB, l.payload+9)))
	}
	if over6 {
		const fragment = 44
		next := ins(opLdB, l.payload+6)
		n = either(n, both(l.etherType(etherIPv6), either(test(opJeq, proto, next),
			both(test(opJeq, fragment, next), test(opJeq, proto, ins(opLdB, l.payload+40))))))
	}
	return n
}

func (l *layout) firstFragment() *node {
	return not(test(opJset, 0x1fff, ins(opLdH, l.payload+6)))
}
