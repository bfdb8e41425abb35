package capture

import (
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	// maxTunnels is how many tunnels are remembered, so that all their packets have the same UID. A VXLAN fabric opens a
	// UDP flow for each flow that it carries, and a busy mirror port sees tens of thousands in a minute.
	maxTunnels = 65536
	// udpTunnelIdle is after how much silence the outer UDP flow is a new one: what the flow table takes. Tunnels on IP
	// itself have no flow and stay as long as Zeek keeps them.
	udpTunnelIdle = idleShort
	ipTunnelIdle  = 24 * time.Hour
)

// Kinds of UDP-carried tunnels, by port.
const (
	tunNone = iota
	tunVXLAN
	tunVXLANLinux
	tunGeneve
	tunGTP
	tunTeredo
	tunAYIYA
	tunGRE
)

// udpTunnelKind says what a UDP port may carry. The ports are Zeek's, and 8472, where Linux had VXLAN before it had
// a number and where flannel and Cilium, so most Kubernetes clusters, still have it.
func udpTunnelKind(port uint16) uint8 {
	switch port {
	case 4789:
		return tunVXLAN
	case 8472:
		return tunVXLANLinux
	case 6081:
		return tunGeneve
	case 2152, 2123:
		return tunGTP
	case 3544:
		return tunTeredo
	case 5072:
		return tunAYIYA
	case 4754:
		return tunGRE
	}
	return tunNone
}

// tunnelEntry is an outer flow.
type tunnelEntry struct {
	first, last Time
	orig, resp  netip.AddrPort
	tunnel      *Tunnel // as it was last entered; nil: not yet
}

// newTunnelEntry is the outer flow that begins with p. Who opened it is the flow table's guess.
func newTunnelEntry(p *Packet) tunnelEntry {
	e := tunnelEntry{
		first: p.Time, orig: netip.AddrPortFrom(p.SrcAddr(), p.SrcPort), resp: netip.AddrPortFrom(p.DstAddr(), p.DstPort),
	}
	if p.Proto == ProtoUDP && p.SrcPort != 0 && likelyServer(ProtoUDP, p.SrcPort) && !likelyServer(ProtoUDP, p.DstPort) {
		e.orig, e.resp = e.resp, e.orig
	}
	return e
}

// outerFlow finds the flow of p, or begins it, and marks it as seen now.
func (d *Dissector) outerFlow(p *Packet, idle time.Duration) *tunnelEntry {
	k := keyOf(p)
	e := d.tunnels.get(k)
	if e == nil {
		if d.tunnels.full() {
			d.evictTunnel()
		}
		e = d.tunnels.put(k)
		*e = newTunnelEntry(p)
	} else if d.now.Sub(e.last) >= idle {
		*e = newTunnelEntry(p)
	}
	e.last = d.now
	return e
}

// evictTunnel forgets the tunnel that was silent the longest. It is told of once for every maxTunnels.
func (d *Dissector) evictTunnel() {
	if k, _, ok := d.tunnels.oldest(); ok {
		if d.stats.TunnelsEvicted%maxTunnels == 0 {
			d.weird("tunnel_table_full", "")
		}
		d.stats.TunnelsEvicted++
		d.tunnels.drop(k)
	}
}

// enter goes one tunnel deeper; leave must be called with what it returns. ok is false if that is too deep.
func (d *Dissector) enter(kind string, p *Packet, e *tunnelEntry, from string) (outer *Tunnel, ok bool) {
	if d.depth >= d.cfg.MaxDepth {
		d.dropIP(p, "exceeded_tunnel_max_depth", from)
		return nil, false
	}
	outer = d.tunnel
	if e.tunnel == nil || e.tunnel.Kind != kind || e.tunnel.Outer != outer {
		q := *p // a copy, so that p stays on the stack of the packets that find their tunnel known
		e.tunnel = &Tunnel{Kind: kind, UID: d.cfg.UID(&q, e.first), Orig: e.orig, Resp: e.resp, Outer: outer}
	}
	d.tunnel = e.tunnel
	d.depth++
	return outer, true
}

func (d *Dissector) leave(outer *Tunnel) {
	d.tunnel = outer
	d.depth--
}

// enterIP goes into a tunnel between the addresses of outer, which has been taken out of d.out.
func (d *Dissector) enterIP(kind string, outer *Packet, from string) (*Tunnel, bool) {
	p := *outer
	p.SrcPort, p.DstPort = 0, 0
	return d.enter(kind, &p, d.outerFlow(&p, ipTunnelIdle), from)
}

// ipInIP takes the payload of protocol 4 or 41.
func (d *Dissector) ipInIP(outer *Packet) {
	const from = "IPTUNNEL"
	b, wire := outer.L4, outer.L4Len
	total, ok := innerLength(b)
	switch {
	case !ok && len(b) < wire:
		d.dropIP(outer, "truncated_inner_IP", from)
		return
	case !ok || (b[0]>>4 == 4) != (outer.Proto == protoIPv4):
		d.dropIP(outer, "invalid_inner_IP_version", from)
		return
	case total > wire:
		d.dropIP(outer, "truncated_inner_IP", from)
		return
	case total < wire:
		// Zeek leaves it at that; the other end of the tunnel does not.
		d.weirdIP(outer, "inner_IP_payload_length_mismatch", "", from)
	}
	if t, ok := d.enterIP("IP", outer, from); ok {
		d.ip(b, wire)
		d.leave(t)
	}
}

// innerLength gives the length that an inner packet claims; ok is false if it is not IP or not enough of it is there.
func innerLength(b []byte) (n int, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return int(binary.BigEndian.Uint16(b[2:])), true
	case len(b) >= 40 && b[0]>>4 == 6:
		return 40 + int(binary.BigEndian.Uint16(b[4:])), true
	}
	return 0, false
}

// gre takes a GRE header (RFC 2784, RFC 2890; version 1: RFC 2637) and what follows. Checksums of GRE are not judged.
func (d *Dissector) gre(outer *Packet, b []byte, wire int) {
	const from = "GRE"
	if len(b) < 4 {
		d.dropIP(outer, "truncated_GRE", from)
		return
	}
	flags, proto := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	version := flags & 7
	switch {
	case version > 1:
		d.dropIP(outer, "unknown_gre_version", from)
		return
	case version == 1 && proto != 0x880b:
		d.dropIP(outer, "egre_protocol_type", from)
		return
	case flags&0x4000 != 0: // source routes, which RFC 2784 took back
		d.dropIP(outer, "gre_routing", from)
		return
	case flags&0x0078 != 0:
		d.dropIP(outer, "unknown_gre_flags", from)
		return
	}
	n := 4
	for _, f := range [...]uint16{0x8000, 0x2000, 0x1000, 0x0080} { // checksum, key, sequence, acknowledgement
		if flags&f != 0 {
			n += 4
		}
	}
	ethernet := false
	if version == 0 {
		switch proto {
		case etherTEB:
			ethernet = true
		case 0x88be: // ERSPAN type I has no header, type II is known by GRE's sequence number
			ethernet = true
			if flags&0x1000 != 0 {
				n += 8
			}
		case 0x22eb: // ERSPAN type III: 12 bytes, whose last bit says that 8 more follow
			ethernet = true
			n += 12
			if len(b) >= n && b[n-1]&1 != 0 {
				n += 8
			}
		}
	}
	if len(b) < n {
		d.dropIP(outer, "truncated_GRE", from)
		return
	}
	b, wire = b[n:], wire-n
	if version == 1 && len(b) == 0 {
		return // a bare acknowledgement
	}
	t, ok := d.enterIP("GRE", outer, from)
	if !ok {
		return
	}
	defer d.leave(t)
	switch {
	case version == 1:
		before, nonIP := len(d.out), d.stats.NonIP
		d.ppp(b, wire)
		if len(d.out) == before && d.stats.NonIP > nonIP {
			d.weirdIP(outer, "non_ip_packet_in_encap", "", from)
		}
	case ethernet:
		d.ethernet(b, wire)
	case arubaType(proto):
		d.dot11(b, wire, false)
	case leadsToIP(proto):
		d.etherType(proto, b, wire)
	case proto == 0x883e: // WCCP: a redirect header of 4 bytes in version 2, none in version 1
		if len(b) > 4 && b[0]>>4 != 4 {
			b, wire = b[4:], wire-4
		}
		d.ip(b, wire)
	default:
		d.ip(b, wire)
	}
}

// arubaType says whether a GRE protocol is one that Aruba's access points send 802.11 frames with.
func arubaType(t uint16) bool {
	return t >= 0x8200 && t <= 0x8370 && t&0xf == 0 || t == 0x9000
}

// looksTunneled says whether a UDP payload on any port is worth a look: AYIYA, or the beginnings of Teredo.
func looksTunneled(b []byte) bool {
	if len(b) < 40 {
		return false
	}
	return b[0]>>4 == 6 || b[0] == 0 && b[1] <= 1 || b[1] == 0x52 && b[2] == 0x11
}

// udpTunnel goes into what p, the packet appended last, may carry. p stays a packet of its own.
//
// Ports say where to look; the payload decides. On the ports of a tunnel its flow is remembered from the first packet
// on, so that the tunnel has the UID of the flow; elsewhere (Teredo, AYIYA) from the first packet that is one.
func (d *Dissector) udpTunnel(p Packet) {
	kind := udpTunnelKind(p.DstPort)
	if kind == tunNone {
		kind = udpTunnelKind(p.SrcPort)
	}
	flow := newTunnelEntry(&p)
	if kind != tunNone && kind != tunGRE {
		flow = *d.outerFlow(&p, udpTunnelIdle)
	}
	b, wire := p.L4[8:], p.L4Len-8
	if n := int(binary.BigEndian.Uint16(p.L4[4:])) - 8; n >= 0 && n < wire {
		b, wire = b[:min(len(b), n)], n
	}
	if len(b) == 0 {
		return
	}
	var in inner
	switch kind {
	case tunVXLAN, tunVXLANLinux:
		in = vxlan(b, kind == tunVXLANLinux)
	case tunGeneve:
		in = geneve(b)
	case tunGTP:
		in = gtp(b, wire)
	case tunGRE:
		in = inner{kind: "GRE", from: "GRE"}
	case tunTeredo:
		in = teredo(b, wire, true)
	case tunAYIYA:
		in = ayiya(b, wire, false)
	default:
		if in = teredo(b, wire, false); in.kind == "" {
			in = ayiya(b, wire, true)
		}
	}
	if in.weird != "" {
		d.tell(Weird{Name: in.weird, From: in.from, Src: flow.orig, Dst: flow.resp})
	}
	if in.kind == "" || !d.cfg.IgnoreChecksums && !p.ChecksumOK() {
		return
	}
	if kind == tunGRE {
		d.gre(&p, b, wire)
		return
	}
	d.out[len(d.out)-1].Carries = in.kind
	t, ok := d.enter(in.kind, &p, d.outerFlow(&p, udpTunnelIdle), in.from)
	if !ok {
		return
	}
	b, wire = b[in.skip:], wire-in.skip
	if in.trim > 0 {
		b, wire = b[:min(len(b), in.trim)], in.trim
	}
	if in.ether != 0 {
		d.etherType(in.ether, b, wire)
	} else {
		d.ip(b, wire)
	}
	d.leave(t)
}

// inner is what a UDP payload was found to carry.
type inner struct {
	kind  string // Zeek's name of the tunnel; "": nothing
	from  string
	weird string
	skip  int    // length of the tunnel's header
	trim  int    // length of what follows, if the header says; 0: the rest
	ether uint16 // Ethernet type of what follows; 0: IP
}

// vxlan reads a VXLAN header (RFC 7348 section 5). strict asks for more, where the port alone does not say enough.
func vxlan(b []byte, strict bool) inner {
	in := inner{from: "VXLAN", skip: 8, ether: etherTEB}
	if len(b) < 8 || b[0]&0x08 == 0 {
		return inner{}
	}
	if strict && (b[0] != 0x08 || b[1]|b[2]|b[3]|b[7] != 0 || len(b) < 8+14) {
		return inner{}
	}
	if len(b) == 8 {
		in.weird = "vxlan_empty_packet"
		return in
	}
	in.kind = "VXLAN"
	return in
}

// geneve reads a Geneve header (RFC 8926 section 3.4).
func geneve(b []byte) inner {
	in := inner{from: "GENEVE"}
	if len(b) < 8 {
		return inner{}
	}
	if b[0]>>6 != 0 {
		in.weird = "geneve_invalid_version"
		return in
	}
	in.skip = 8 + int(b[0]&0x3f)*4
	in.ether = binary.BigEndian.Uint16(b[2:])
	switch {
	case len(b) < in.skip:
		return inner{}
	case len(b) == in.skip:
		in.weird = "geneve_empty_packet"
	case in.ether >= minEtherType:
		in.kind = "GENEVE"
	}
	return in
}

// gtp reads the header of a GTP-U G-PDU (3GPP TS 29.281 section 5): flags, 255, length, tunnel id, options, extensions.
func gtp(b []byte, wire int) inner {
	if len(b) < 8 || b[0]>>4 != 3 || b[1] != 255 {
		return inner{}
	}
	end := 8 + int(binary.BigEndian.Uint16(b[2:]))
	n := 8
	if b[0]&7 != 0 {
		n = 12
		if len(b) < n {
			return inner{}
		}
		next := b[11]
		for next != 0 && b[0]&4 != 0 {
			if len(b) <= n || b[n] == 0 {
				return inner{}
			}
			n += int(b[n]) * 4
			if len(b) < n {
				return inner{}
			}
			next = b[n-1]
		}
	}
	if end > wire || n >= end {
		return inner{}
	}
	if total, ok := innerLength(b[n:]); !ok || total > end-n {
		return inner{}
	}
	return inner{kind: "GTPv1", from: "GTPV1", skip: n, trim: end - n}
}

// teredo reads Teredo encapsulation (RFC 4380 section 5.1.1): an authentication header, an origin indication, either
// or none, and an IPv6 packet of the length that is left. Off its port there must be one of the headers, or an address
// of Teredo's.
func teredo(b []byte, wire int, onPort bool) inner {
	in := inner{from: "TEREDO"}
	n := 0
	if len(b) >= 4 && b[0] == 0 && b[1] == 1 {
		n = 4 + int(b[2]) + int(b[3]) + 8 + 1
	}
	if len(b) >= n+8 && b[n] == 0 && b[n+1] == 0 {
		n += 8
	}
	if len(b) < n+40 || b[n]>>4 != 6 {
		return inner{}
	}
	ip := b[n:]
	if !onPort && n == 0 && !teredoAddr(ip[8:]) && !teredoAddr(ip[24:]) {
		return inner{}
	}
	size := 40 + int(binary.BigEndian.Uint16(ip[4:]))
	if size != wire-n {
		// A bubble (RFC 4380 section 2.8) is an empty packet; what follows it is nothing that anybody reads.
		if size != 40 || ip[6] != protoNone || wire-n < size {
			return inner{}
		}
		in.weird = "Teredo_bubble_with_payload"
	}
	in.kind, in.skip, in.trim = "TEREDO", n, size
	return in
}

func teredoAddr(a []byte) bool { return a[0] == 0x20 && a[1] == 1 && a[2]|a[3] == 0 }

// ayiya reads an AYIYA header (draft-massar-v6ops-ayiya): lengths of identity and signature, operation, next header.
func ayiya(b []byte, wire int, strict bool) inner {
	if len(b) < 8 || strict && (b[1] != 0x52 || b[2] != 0x11) || b[2]&0xf != 1 {
		return inner{}
	}
	n := 8 + 1<<(b[0]>>4) + int(b[1]>>4)*4
	if next := b[3]; next != protoIPv4 && next != protoIPv6 || len(b) < n {
		return inner{}
	}
	in := inner{from: "AYIYA", skip: n}
	if len(b) == n {
		in.weird = "ayiya_empty_packet"
		return in
	}
	if total, ok := innerLength(b[n:]); !ok || total > wire-n {
		return inner{}
	}
	in.kind = "AYIYA"
	return in
}
