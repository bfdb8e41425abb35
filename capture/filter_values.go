package capture

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
)

func (p *filterParser) value(q qualifiers) *node {
	t := p.next()
	if t.kind != tokenWord {
		return p.fail(t, "expected an address, a name or a number, not %s", p.show(t))
	}
	num, isNum := t.number()
	switch q.kind {
	case kindProto:
		return p.protoValue(q, t, num, isNum)
	case kindPort:
		from, tcp, udp := p.portValue(q, t, t.text)
		return p.ports(q, t, from, from, tcp, udp)
	case kindPortRange:
		return p.portRange(q, t)
	}
	if q.proto == protoLink {
		if q.kind == kindNet {
			return p.fail(t, "link layers have no networks")
		}
		mac, ok := parseMAC(t.text)
		if !ok {
			return p.fail(t, "%s is not an Ethernet address", p.show(t))
		}
		if !p.lay.ethernet {
			return p.fail(t, "no Ethernet addresses in link type %d", p.lay.link)
		}
		return q.dirs(func(src bool) *node {
			at := uint32(0)
			if src {
				at = 6
			}
			return both(test(opJeq, mac[1], ins(opLdW, at+2)), test(opJeq, mac[0], ins(opLdH, at)))
		})
	}
	if q.proto == protoTransport || q.proto == protoOther {
		return p.fail(t, "%s has no addresses: write \"%s and host %s\"", q.word, q.word, t.text)
	}
	if strings.Contains(t.text, ":") {
		return p.address6(q, t)
	}
	return p.address4(q, t, num, isNum)
}

// parseMAC reads six groups of up to two hex digits, three of four, or one of twelve.
func parseMAC(s string) (mac [2]uint32, ok bool) {
	groups := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '-' || r == '.' })
	if strings.Count(s, ":")+strings.Count(s, "-")+strings.Count(s, ".") != len(groups)-1 {
		return mac, false // an empty one
	}
	var v uint64
	for _, g := range groups {
		n, err := strconv.ParseUint(g, 16, 48)
		digits := map[int]int{6: 2, 3: 4, 1: 12}[len(groups)]
		if err != nil || len(g) > digits || digits > 2 && len(g) != digits {
			return mac, false
		}
		v = v<<(4*digits) | n
	}
	return [2]uint32{uint32(v >> 32), uint32(v)}, true
}

// address4 takes an IPv4 address or network: dotted with one to four parts, and a mask.
func (p *filterParser) address4(q qualifiers, t *token, num uint32, isNum bool) *node {
	addr, parts := num, 0
	if !isNum {
		var ok bool
		if addr, parts, ok = parseDotted(t.text); !ok {
			return p.fail(t, "%s is not an address (names are not looked up)", p.show(t))
		}
	} else if addr <= 255 {
		parts = 1
	}
	bits := uint(parts) * 8
	mask := ^uint32(0)
	switch {
	case p.peek().is("/", "mask"):
		sep := p.next()
		if q.kind != kindNet && q.kind != kindNone {
			return p.fail(sep, "only a net has a mask")
		}
		if parts == 0 {
			return p.fail(t, "%s is not a network", p.show(t))
		}
		addr <<= 32 - bits
		if m := p.next(); sep.text == "/" {
			n, ok := m.number()
			if !ok || n > 32 {
				return p.fail(m, "expected a prefix length up to 32, not %s", p.show(m))
			}
			mask = uint32(uint64(1<<32-1) << (32 - n))
		} else {
			v, n, ok := parseDotted(m.text)
			if !ok || m.kind != tokenWord {
				return p.fail(m, "expected a network mask, not %s", p.show(m))
			}
			mask = v << (32 - 8*uint(n))
		}
		if addr&^mask != 0 {
			return p.fail(t, "%s has bits set outside of the mask", p.show(t))
		}
	case isNum && q.kind == kindNet: // net 10 is 10.0.0.0/8
		for addr != 0 && addr>>24 == 0 {
			addr, mask = addr<<8, mask<<8
		}
	case !isNum: // 10.1 is a network of 16 bits, even for host
		addr, mask = addr<<(32-bits), mask<<(32-bits)
	}
	n := constant(false)
	type place struct {
		proto    filterProto
		ether    uint32
		src, dst uint32
	}
	for _, at := range []place{{protoIP, etherIPv4, 12, 16}, {protoARP, 0x806, 14, 24}, {protoRARP, 0x8035, 14, 24}} {
		if q.proto != anyProto && q.proto != at.proto || q.proto == anyProto && at.proto != protoIP && (p.lay.labels > 0 || p.lay.pppoe) {
			continue
		}
		n = either(n, both(p.lay.etherType(at.ether), q.dirs(func(src bool) *node {
			off := at.dst
			if src {
				off = at.src
			}
			return equals(addr, mask, p.lay.payload+off)
		})))
	}
	if q.proto == protoIP6 {
		return p.fail(t, "%s is not an IPv6 address", p.show(t))
	}
	return n
}

// equals compares the bits of a word that are in mask.
func equals(v, mask, at uint32) *node {
	switch mask {
	case 0:
		return constant(true)
	case ^uint32(0):
		return test(opJeq, v, ins(opLdW, at))
	}
	return test(opJeq, v, ins(opLdW, at), ins(opAnd, mask))
}

func parseDotted(s string) (addr uint32, parts int, ok bool) {
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || parts == 4 {
			return 0, 0, false
		}
		addr = addr<<8 | uint32(n)
		parts++
	}
	return addr, parts, true
}

func (p *filterParser) address6(q qualifiers, t *token) *node {
	a, err := netip.ParseAddr(t.text)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return p.fail(t, "%s is not an address", p.show(t))
	}
	if q.proto != anyProto && q.proto != protoIP6 {
		return p.fail(t, "%s has no IPv6 addresses", q.word)
	}
	bits := 128
	if p.accept("/") {
		m := p.next()
		n, ok := m.number()
		if !ok || n > 128 {
			return p.fail(m, "expected a prefix length up to 128, not %s", p.show(m))
		}
		if q.kind != kindNet && n != 128 {
			return p.fail(m, "only a net has a mask")
		}
		bits = int(n)
		if netip.PrefixFrom(a, bits).Masked().Addr() != a {
			return p.fail(t, "%s has bits set outside of the mask", p.show(t))
		}
	}
	b := a.As16()
	return both(p.lay.etherType(etherIPv6), q.dirs(func(src bool) *node {
		off := p.lay.payload + 24
		if src {
			off = p.lay.payload + 8
		}
		n := constant(true)
		for i := range uint32(4) {
			word := uint32(b[4*i])<<24 | uint32(b[4*i+1])<<16 | uint32(b[4*i+2])<<8 | uint32(b[4*i+3])
			left := min(max(bits-32*int(i), 0), 32)
			n = both(n, equals(word, uint32(uint64(1<<32-1)<<(32-left)), off+4*i))
		}
		return n
	}))
}

// dirs joins the tests of source and destination as the direction says.
func (q *qualifiers) dirs(f func(src bool) *node) *node {
	switch q.dir {
	case dirSrc:
		return f(true)
	case dirDst:
		return f(false)
	case dirBoth:
		return both(f(true), f(false))
	}
	return either(f(true), f(false))
}

func (p *filterParser) protoValue(q qualifiers, t *token, num uint32, isNum bool) *node {
	if !isNum {
		var ok bool
		if q.proto == protoLink {
			num, ok = etherTypeOf(t.text)
		} else {
			num, ok = ipProtoOf(t.text)
		}
		if !ok {
			return p.fail(t, "protocol %s is not known: write its number", p.show(t))
		}
	}
	switch {
	case q.proto == protoLink && num > 0xffff || q.proto != protoLink && num > 0xff:
		return p.fail(t, "there is no protocol %d", num)
	case q.proto == protoLink:
		return p.lay.etherType(num)
	case q.proto == anyProto:
		return p.lay.ipProto(num, true, true)
	case q.proto == protoIP:
		return p.lay.ipProto(num, true, false)
	case q.proto == protoIP6:
		return p.lay.ipProto(num, false, true)
	}
	return p.fail(t, "%s proto has no meaning: only ether, ip and ip6 have it", q.word)
}

// portValue reads the number or name of a port.
func (p *filterParser) portValue(q qualifiers, t *token, s string) (port uint32, tcp, udp bool) {
	if n, ok := (&token{kind: tokenWord, text: s}).number(); ok && s[0] >= '0' && s[0] <= '9' {
		if n > 65535 {
			p.fail(t, "port %d is more than 65535", n)
		}
		return n, true, true
	}
	port, tcp, udp = service(s)
	switch {
	case port == 0:
		p.fail(t, "port %q is not known: write its number", s)
	case q.num == ProtoTCP && !tcp, q.num == ProtoUDP && !udp:
		p.fail(t, "port %q is not of %s", s, q.word)
	}
	return port, tcp, udp
}

func (p *filterParser) portRange(q qualifiers, t *token) *node {
	for i := range t.text { // names have a minus, too
		if t.text[i] == '-' && i > 0 && i < len(t.text)-1 {
			lo, hi := t.text[:i], t.text[i+1:]
			_, isNum := (&token{kind: tokenWord, text: lo}).number()
			if known, _, _ := service(lo); isNum || known > 0 {
				from, tcp, udp := p.portValue(q, t, lo)
				to, tcp2, udp2 := p.portValue(q, t, hi)
				if tcp != tcp2 || udp != udp2 {
					tcp, udp = true, true
				}
				return p.ports(q, t, min(from, to), max(from, to), tcp, udp)
			}
		}
	}
	from, tcp, udp := p.portValue(q, t, t.text)
	return p.ports(q, t, from, from, tcp, udp)
}

// ports tests the ports of TCP, UDP and SCTP over IPv4, where a fragment other than the first has none, and IPv6.
func (p *filterParser) ports(q qualifiers, t *token, from, to uint32, tcp, udp bool) *node {
	l := &p.lay
	protos := []uint32{q.num}
	switch {
	case q.proto == anyProto:
		protos = protos[:0]
		if tcp {
			protos = append(protos, ProtoTCP)
		}
		if udp {
			protos = append(protos, ProtoUDP)
		}
		if tcp && udp {
			protos = append(protos, ProtoSCTP)
		}
	case q.proto != protoTransport || q.num != ProtoTCP && q.num != ProtoUDP && q.num != ProtoSCTP:
		return p.fail(t, "%s has no ports", q.word)
	}
	in := func(load ...bpf.RawInstruction) *node {
		if from == to {
			return test(opJeq, from, load...)
		}
		return both(test(opJge, from, load...), not(test(opJgt, to, load...)))
	}
	four, six := constant(false), constant(false)
	for _, proto := range protos {
		four = either(four, test(opJeq, proto, ins(opLdB, l.payload+9)))
		six = either(six, test(opJeq, proto, ins(opLdB, l.payload+6)))
	}
	four = both(four, both(l.firstFragment(), q.dirs(func(src bool) *node {
		at := l.payload + 2
		if src {
			at = l.payload
		}
		return in(ins(opLdxMsh, l.payload), ins(opLdIndH, at))
	})))
	six = both(six, q.dirs(func(src bool) *node {
		at := l.payload + 42
		if src {
			at = l.payload + 40
		}
		return in(ins(opLdH, at))
	}))
	return either(both(l.etherType(etherIPv4), four), both(l.etherType(etherIPv6), six))
}
