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

const (
	portVXLAN      = 4789
	portVXLANLinux = 8472
	portGeneve     = 6081
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
	tunVXLANGPE
	tunGUE
	tunMPLS
	tunTZSP
)

// udpTunnelKind says what a UDP port may carry. The ports are Zeek's, those of tunnels that Zeek does not read, and
// 8472, where Linux had VXLAN before it had a number and where flannel and Cilium, so most Kubernetes clusters, still
// have it.
func udpTunnelKind(port uint16) uint8 {
	switch port {
	case portVXLAN:
		return tunVXLAN
	case portVXLANLinux:
		return tunVXLANLinux
	case 4790:
		return tunVXLANGPE
	case portGeneve:
		return tunGeneve
	case 2152, 2123:
		return tunGTP
	case 3544:
		return tunTeredo
	case 5072:
		return tunAYIYA
	case 4754:
		return tunGRE
	case 6080:
		return tunGUE
	case 6635: // RFC 7510
		return tunMPLS
	case 37008:
		return tunTZSP
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
	d.turned = p.SrcPort != e.orig.Port() || p.SrcAddr() != e.orig.Addr()
	d.depth++
	return outer, true
}

func (d *Dissector) leave(outer *Tunnel) {
	d.tunnel = outer
	d.turned = false // of tunnels in tunnels nobody asks
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

// unreadGRE is the length from which a GRE packet that cannot be read inside is a packet of its own.
const unreadGRE = 256

// gre takes a GRE header (RFC 2784, RFC 2890; version 1: RFC 2637) and what follows. Checksums of GRE are not judged.
func (d *Dissector) gre(outer *Packet, b []byte, wire int) {
	const from = "GRE"
	h, wrong := parseGRE(b)
	if wrong != "" {
		d.dropIP(outer, wrong, from)
		return
	}
	b, wire = b[h.size:], wire-h.size
	if h.version == 1 && len(b) == 0 {
		return // a bare acknowledgement
	}
	t, ok := d.enterIP("GRE", outer, from)
	if !ok {
		return
	}
	defer d.leave(t)
	had, unread := len(d.out), d.stats.NonIP+d.stats.Malformed
	defer func() {
		// What cannot be read inside is payload like any other protocol's. Short frames are a switch's own: ARP, LLDP, STP.
		if wire >= unreadGRE && len(d.out) == had && d.stats.NonIP+d.stats.Malformed > unread {
			*d.next() = *outer
		}
	}()
	switch {
	case h.version == 1:
		before, nonIP := len(d.out), d.stats.NonIP
		d.ppp(b, wire)
		if len(d.out) == before && d.stats.NonIP > nonIP {
			d.weirdIP(outer, "non_ip_packet_in_encap", "", from)
		}
	case h.plain:
		d.ip(b, wire)
	case h.ethernet:
		d.ethernet(b, wire)
	case h.proto == etherCMD: // here the type of what follows comes first
		if len(b) < 4 || len(b) <= 4+4*int(b[3]) {
			d.dropIP(outer, "truncated_GRE", from)
			return
		}
		n := 4 + 4*int(b[3])
		d.etherPayload(binary.BigEndian.Uint16(b), b[n:], wire-n, "undefined_ether_type", "CMD")
	case arubaType(h.proto):
		d.dot11(b, wire, false)
	case leadsToIP(h.proto):
		d.etherType(h.proto, b, wire)
	case h.proto == 0x883e: // WCCP: a redirect header of 4 bytes in version 2, none in version 1
		if len(b) > 4 && b[0]>>4 != 4 {
			b, wire = b[4:], wire-4
		}
		d.ip(b, wire)
	default:
		d.ip(b, wire)
	}
}

// greHeader is a header of GRE, with that of ERSPAN if one follows.
type greHeader struct {
	version  uint16
	proto    uint16
	size     int
	ethernet bool // an Ethernet frame follows,
	plain    bool // or an IP packet, though it is ERSPAN
}

// parseGRE reads the header of GRE at b. wrong is the weird why it cannot be read.
func parseGRE(b []byte) (h greHeader, wrong string) {
	if len(b) < 4 {
		return h, "truncated_GRE"
	}
	flags := binary.BigEndian.Uint16(b)
	h.version, h.proto = flags&7, binary.BigEndian.Uint16(b[2:])
	switch {
	case h.version > 1:
		return h, "unknown_gre_version"
	case h.version == 1 && h.proto != 0x880b:
		return h, "egre_protocol_type"
	case flags&0x4000 != 0: // source routes, which RFC 2784 took back
		return h, "gre_routing"
	case flags&0x0078 != 0:
		return h, "unknown_gre_flags"
	}
	h.size = 4
	for _, f := range [...]uint16{0x8000, 0x2000, 0x1000, 0x0080} { // checksum, key, sequence, acknowledgement
		if flags&f != 0 {
			h.size += 4
		}
	}
	if h.version == 0 {
		switch h.proto {
		case etherTEB:
			h.ethernet = true
		case etherERSPAN: // ERSPAN type I has no header, type II is known by GRE's sequence number
			h.ethernet = true
			if flags&0x1000 != 0 {
				h.size += 8
			}
		case etherERSPAN3: // ERSPAN type III: 12 bytes, whose last bit says that 8 more follow
			h.ethernet = true
			h.size += 12
			if len(b) >= h.size {
				h.plain = b[h.size-2]>>2&0x1f == 2 // its frame type: an IP packet
				if b[h.size-1]&1 != 0 {
					h.size += 8
				}
			}
		}
	}
	if len(b) < h.size {
		return h, "truncated_GRE"
	}
	return h, ""
}

// arubaType says whether a GRE protocol is one that Aruba's access points send 802.11 frames with.
func arubaType(t uint16) bool {
	return t >= 0x8200 && t <= 0x8370 && t&0xf == 0 || t == 0x9000
}

// looksTunneled reports whether a UDP payload of wire bytes on any port is worth a look: AYIYA, the beginnings of
// Teredo, and what byShape finds. Every UDP packet comes here, so that it compares a few bytes and no more.
func looksTunneled(b []byte, wire int) bool {
	if len(b) < 4+20 {
		return false
	}
	c, word := b[0], binary.BigEndian.Uint16(b[2:])
	switch {
	case b[1] == 0x52 && b[2] == 0x11: // AYIYA
		return true
	case c>>4 == 4: // IPv4
		return int(word) == wire
	case c>>4 == 6: // IPv6; Teredo's bubbles have a tail
		n := binary.BigEndian.Uint16(b[4:])
		return n == 0 || 40+int(n) == wire
	case (c == 0x08 || c == 0x0c) && b[1]|b[2]|b[7] == 0, c == 0x88 && b[1]&^0x48|b[7] == 0: // VXLAN
		return true
	case c == 0 && b[1] <= 1: // Teredo's headers, GRE
		return true
	case c < 0x20 && (b[1] == protoIPv4 || b[1] == protoIPv6 || b[1] == protoGRE): // GUE
		return true
	case c&^0xb0 == 0 && b[1] == 0: // GRE
		return word == etherIPv4 || word == etherIPv6 || word == etherTEB
	}
	return false
}

// byShape finds tunnels of Linux on ports that somebody chose: VXLAN, with a group policy or of another protocol (GPE)
// as well, GUE, and IP and GRE in UDP (FOU). What is inside must be a packet whose header is right, so that DNS, QUIC
// or RTP whose first bytes happen to fit is none.
func byShape(b []byte, wire int) inner {
	if len(b) < 4+20 {
		return inner{}
	}
	switch c := b[0]; {
	case c>>4 == 4 || c>>4 == 6: // GUE of variant 1 is the same
		if plausibleIP(b, wire, true) {
			return inner{kind: "FOU", from: "FOU"}
		}
	case c == 0x08 || c == 0x0c || c == 0x88:
		if in := vxlanShape(b, wire); in.kind != "" {
			return in
		}
		fallthrough // GUE with options
	case c < 0x20 && b[1] != 0:
		return gue(b, wire)
	case plausibleGRE(b, wire):
		return inner{kind: "GRE", from: "GRE", gre: true}
	}
	return inner{}
}

// plausibleIP reports whether b begins with an IP packet of wire bytes, or if exact is false of no more than that: the
// checksum of IPv4 is right; IPv6, which has none, has addresses in use and what its next header asks for.
func plausibleIP(b []byte, wire int, exact bool) bool {
	total, ok := innerLength(b)
	if !ok || total > wire || exact && total != wire {
		return false
	}
	if b[0]>>4 == 4 {
		hdr := int(b[0]&15) << 2
		return hdr >= 20 && hdr <= len(b) && hdr <= total && fold(sum(0, b[:hdr])) == 0xffff
	}
	if !plausibleAddr(b[8:], false) || !plausibleAddr(b[24:], true) {
		return false
	}
	rest, n := b[40:], total-40
	if len(rest) < 8 || n < 8 {
		return false
	}
	switch b[6] {
	case ProtoTCP:
		hdr := 0
		if len(rest) > 12 {
			hdr = int(rest[12]>>4) << 2
		}
		return hdr >= 20 && hdr <= n
	case ProtoUDP:
		return int(binary.BigEndian.Uint16(rest[4:])) == n
	case ProtoICMPv6:
		return rest[0] >= 1 && rest[0] <= 4 || rest[0] >= 128 && rest[0] <= 161
	case 44:
		return rest[1] == 0
	case protoIPv4:
		return rest[0]>>4 == 4
	case protoIPv6:
		return rest[0]>>4 == 6
	}
	return false
}

// plausibleAddr reports whether an IPv6 address is one that is in use: global, unique local, link-local, or for a
// destination multicast.
func plausibleAddr(a []byte, dst bool) bool {
	return a[0]>>5 == 1 || a[0]&0xfe == 0xfc || a[0] == 0xfe && a[1]&0xc0 == 0x80 || dst && a[0] == 0xff
}

// plausibleEther reports whether b is an Ethernet frame, with up to two tags, that carries an IP packet.
func plausibleEther(b []byte, wire int) bool {
	const header = 14
	if len(b) < header+20 {
		return false
	}
	t := binary.BigEndian.Uint16(b[12:])
	b, wire = b[header:], wire-header
	for range 2 {
		if t == etherVLAN || t == etherQinQ {
			t = binary.BigEndian.Uint16(b[2:])
			b, wire = b[4:], wire-4
		}
	}
	return isIP(t, b) && plausibleIP(b, wire, false)
}

// isIP reports whether t is the Ethernet type of the IP version that b begins with.
func isIP(t uint16, b []byte) bool {
	return len(b) > 0 && (t == etherIPv4 && b[0]>>4 == 4 || t == etherIPv6 && b[0]>>4 == 6)
}

// plausibleGRE reports whether b is a GRE header without anything unusual and a packet.
func plausibleGRE(b []byte, wire int) bool {
	if b[0]&^0xb0 != 0 || b[1] != 0 {
		return false
	}
	n := 4
	for _, f := range [...]byte{0x80, 0x20, 0x10} {
		if b[0]&f != 0 {
			n += 4
		}
	}
	if len(b) < n {
		return false
	}
	t := binary.BigEndian.Uint16(b[2:])
	b, wire = b[n:], wire-n
	return t == etherTEB && plausibleEther(b, wire) || isIP(t, b) && plausibleIP(b, wire, true)
}

// believed reports whether a receiver takes p. What its sender's network card has yet to give a checksum it will take.
func (d *Dissector) believed(p *Packet) bool {
	return d.cfg.IgnoreChecksums || p.ChecksumOK() || p.Offloaded()
}

// udpTunnel goes into what p, the packet appended last, may carry. p stays a packet of its own.
//
// Ports say where to look; the payload decides. On the ports of a tunnel its flow is remembered from the first packet
// on, so that the tunnel has the UID of the flow; elsewhere from the first packet that is one.
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
		in = vxlan(b, wire, kind == tunVXLANLinux)
	case tunVXLANGPE:
		in = vxlanGPE(b)
	case tunGUE:
		in = gue(b, wire)
	case tunMPLS:
		in = mplsInUDP(b, wire)
	case tunTZSP:
		in = tzsp(b)
	case tunGeneve:
		in = geneve(b)
	case tunGTP:
		in = gtp(b, wire)
	case tunGRE:
		in = inner{kind: "GRE", from: "GRE", gre: true}
	case tunTeredo:
		in = teredo(b, wire, true)
	case tunAYIYA:
		in = ayiya(b, wire, false)
	default:
		if in = teredo(b, wire, false); in.kind == "" {
			in = ayiya(b, wire, true)
		}
	}
	if in.kind == "" && in.weird == "" {
		in = byShape(b, wire)
	}
	if in.weird != "" {
		d.tell(Weird{Name: in.weird, From: in.from, Src: flow.orig, Dst: flow.resp})
	}
	if in.kind == "" || !d.believed(&p) {
		return
	}
	if in.gre {
		d.gre(&p, b[in.skip:], wire-in.skip)
		return
	}
	if in.zeek {
		d.out[len(d.out)-1].Carries = in.kind
	}
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
	gre   bool   // a GRE header follows
	zeek  bool   // Zeek reads it too, and names it as the outer flow's service
}

// vxlan reads a VXLAN header (RFC 7348 section 5). strict asks for more, where the port alone does not say enough.
func vxlan(b []byte, wire int, strict bool) inner {
	in := inner{from: "VXLAN", skip: 8, ether: etherTEB, zeek: !strict}
	if len(b) < 8 || b[0]&0x08 == 0 {
		return inner{}
	}
	if strict && (b[0] != 0x08 || b[1]|b[2]|b[3]|b[7] != 0 || len(b) < 8+14) || b[0]&0x04 != 0 {
		if shape := vxlanShape(b, wire); shape.kind != "" || strict {
			shape.zeek = in.zeek
			return shape
		}
	}
	if len(b) == 8 {
		in.weird = "vxlan_empty_packet"
		return in
	}
	in.kind = "VXLAN"
	return in
}

// vxlanShape reads a header that may be one of VXLAN, by what follows it. Linux knows three kinds: the plain one, that
// with a group policy (draft-smith-vxlan-group-policy) and VXLAN-GPE.
func vxlanShape(b []byte, wire int) inner {
	if len(b) < 8 || b[7] != 0 {
		return inner{}
	}
	in := inner{kind: "VXLAN", from: "VXLAN", skip: 8, ether: etherTEB}
	switch rest := b[8:]; {
	case b[0] == 0x0c && b[1]|b[2] == 0:
		in = vxlanGPE(b)
		if isIP(in.ether, rest) && plausibleIP(rest, wire-8, false) || in.ether == etherTEB && plausibleEther(rest, wire-8) {
			return in
		}
	case b[0] == 0x08 && b[1]|b[2]|b[3] == 0, b[0] == 0x88 && b[1]&^0x48 == 0:
		if plausibleEther(rest, wire-8) {
			return in
		}
	}
	return inner{}
}

// vxlanGPE reads a header of VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe section 3.1): flags, reserved, next protocol. Without
// the flag that there is one, an Ethernet frame follows as in VXLAN.
func vxlanGPE(b []byte) inner {
	const version, instance, next, oam = 0x30, 0x08, 0x04, 0x01
	if len(b) <= 8 || b[0]&(version|oam) != 0 || b[0]&(instance|next) == 0 {
		return inner{}
	}
	in := inner{kind: "VXLAN", from: "VXLAN", skip: 8, ether: etherTEB}
	if b[0]&next != 0 {
		in.ether = nextEtherType(b[3])
		if in.ether == 0 || (in.ether == etherIPv4 || in.ether == etherIPv6) && !isIP(in.ether, b[8:]) {
			return inner{}
		}
	}
	return in
}

// gue reads a header of Generic UDP Encapsulation as Linux has it (draft-ietf-intarea-gue, include/net/gue.h): in
// variant 0 version, control flag and length of the options in words, then an IP protocol; in variant 1 an IP packet.
func gue(b []byte, wire int) inner {
	in := inner{kind: "GUE", from: "GUE"}
	if len(b) < 4 {
		return inner{}
	}
	switch b[0] >> 5 {
	case 0:
		in.skip = 4 + int(b[0]&0x1f)*4
	case 2, 3: // variant 1
		if plausibleIP(b, wire, true) {
			return in
		}
		return inner{}
	default: // control messages, variants to come
		return inner{}
	}
	if len(b) < in.skip+4 {
		return inner{}
	}
	rest, left := b[in.skip:], wire-in.skip
	switch proto := b[1]; {
	case proto == protoIPv4 && rest[0]>>4 == 4, proto == protoIPv6 && rest[0]>>4 == 6:
		if plausibleIP(rest, left, true) {
			return in
		}
	case proto == protoGRE && plausibleGRE(rest, left):
		in.gre = true
		return in
	}
	return inner{}
}

// mplsInUDP looks at a label stack in UDP (RFC 7510), below whose bottom must be a packet or a frame.
func mplsInUDP(b []byte, wire int) inner {
	const maxLabels = 16
	rest, left := b, wire
	for range maxLabels {
		if len(rest) <= 8 {
			break
		}
		bottom := rest[2]&1 != 0
		rest, left = rest[4:], left-4
		if bottom {
			if plausibleIP(rest, left, false) || plausibleEther(rest, left) || rest[0]>>4 == 0 && plausibleEther(rest[4:], left-4) {
				return inner{kind: "MPLS", from: "MPLS", ether: etherMPLS}
			}
			break
		}
	}
	return inner{}
}

// tzsp reads a header of the TaZmen Sniffer Protocol, in which MikroTik's routers mirror packets: version, kind, what is
// inside (1: Ethernet), then fields up to one of type 1.
func tzsp(b []byte) inner {
	if len(b) < 5 || b[0] != 1 || b[1] > 1 || binary.BigEndian.Uint16(b[2:]) != 1 {
		return inner{}
	}
	n := 4
	for n < len(b) && b[n] != 1 {
		switch {
		case b[n] == 0: // padding
			n++
		case n+1 < len(b):
			n += 2 + int(b[n+1])
		default:
			return inner{}
		}
	}
	if n+1 >= len(b) {
		return inner{}
	}
	return inner{kind: "TZSP", from: "TZSP", skip: n + 1, ether: etherTEB}
}

// geneve reads a Geneve header (RFC 8926 section 3.4).
func geneve(b []byte) inner {
	in := inner{from: "GENEVE", zeek: true}
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
	return inner{kind: "GTPv1", from: "GTPV1", skip: n, trim: end - n, zeek: true}
}

// teredo reads Teredo encapsulation (RFC 4380 section 5.1.1): an authentication header, an origin indication, either
// or none, and an IPv6 packet of the length that is left. Off its port there must be one of the headers, or an address
// of Teredo's.
func teredo(b []byte, wire int, onPort bool) inner {
	in := inner{from: "TEREDO", zeek: true}
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
	in := inner{from: "AYIYA", skip: n, zeek: true}
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
