package capture

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

const (
	// defaultTunnelDepth is how many tunnels may be nested in each other. Clouds stack three (a mirror session over a
	// fabric over an overlay); eight leaves room, and bounds the recursion of a frame that is nothing but headers.
	defaultTunnelDepth = 8

	// maxLinkHeaders bounds what a frame may have in front of IP: tags, labels, link layers in link layers, summed over
	// its tunnels. A label is four bytes, so without a bound a 64 KiB frame would be a walk of 16,000 steps.
	maxLinkHeaders = 64

	// maxExtensions bounds the IPv6 extension headers of one packet. RFC 8200 section 4.1 foresees seven.
	maxExtensions = 32

	// maxJumbo is the largest packet that is believed of a header which does not say: IPv4 packets of length 0 and
	// IPv6 jumbograms are what segmentation offload hands to a capture, up to 512 KiB on Linux (BIG TCP).
	maxJumbo = 1 << 20
)

// DissectConfig configures a Dissector. The zero value works.
type DissectConfig struct {
	// IgnoreChecksums accepts packets with a wrong IPv4 header checksum, and tunnels in UDP packets with a wrong
	// transport checksum.
	IgnoreChecksums bool
	// Weird is told of malformed frames. Its argument owns its memory. nil: nobody is.
	Weird func(Weird)
	// MaxDepth is how many tunnels may be nested. 0: eight.
	MaxDepth int
	// Outers tells of tunnels in which packets pass that are not delivered; nil: none do.
	Outers *Outers
	// UID names the flow of p that began at start; nil: the flow table's own rule.
	UID func(p *Packet, start Time) string
}

// DissectStats counts what a Dissector has seen and what it has lost, by cause.
type DissectStats struct {
	Frames      uint64 // all frames
	Bytes       uint64 // their length on the wire
	Packets     uint64 // packets that came out, those in tunnels included
	NonIP       uint64 // frames and inner frames of other protocols: ARP, LLDP, encrypted 802.11, and the two that follow
	UnknownType uint64 // of an Ethernet type that is not known
	Encrypted   uint64 // encrypted by MACsec
	UnknownLink uint64 // frames of a link type that is not known
	Malformed   uint64 // packets dropped for what their headers say; each has a weird
	BadChecksum uint64 // IPv4 packets dropped for their header checksum
	CutShort    uint64 // packets of which the capture has less than their headers (snap length)

	Fragments        uint64 // IP fragments
	Reassembled      uint64 // packets put together from them
	FragmentsLost    uint64 // fragments that were dropped: cut by the capture, or impossible
	DatagramsExpired uint64 // incomplete packets given up for their age
	DatagramsEvicted uint64 // incomplete packets given up for room
	TunnelsEvicted   uint64 // tunnels forgotten for room; their next packet gets a new UID

	EtherTypes [ShownEtherTypes]EtherTypeCount // of UnknownType since RestartEtherTypes, the most frequent first; the rest is zero
}

// Dissector finds the IP packets in frames: it takes off link layers, tags and tunnels, and puts fragments together.
//
// In: a Frame of any of the link types Ethernet (bare and with the tags of DSA), raw IP, null and loop, PPP, Cisco HDLC,
// Frame Relay, Linux cooked (v1 and v2), 802.11 (bare, radiotap, Prism, AVS, PPI), FDDI, NFLOG, IPoIB, MPLS, PKTAP, and
// the headers of Endace, Juniper and netANALYZER. Out: its Packets. One for a plain packet, none for what is not
// IP or is malformed, and more where a frame carries several: a UDP-carried tunnel (VXLAN, Geneve, GTP-U, Teredo, AYIYA,
// GUE, FOU, MPLS) gives the outer packet and then the inner, an A-MSDU one for each subframe. Of GRE (with NVGRE, ERSPAN,
// PPTP), IP in IP and tags only what is inside is a packet. A packet inside a tunnel has Tunnel set.
//
// It does not see: frames encrypted by 802.11 or MACsec, ESP (a packet of protocol 50), VLAN ids (equal addresses in
// two VLANs are one host, as in Zeek), transport checksums (Packet.ChecksumOK, for the workers) and whether a TCP header
// makes sense: a TCP packet comes out with the header length it claims, which may be under 20 or more than there is.
//
// Everything is by packet time and belongs to one goroutine: the one that reads.
type Dissector struct {
	cfg   DissectConfig
	stats DissectStats

	tunnels lru[flowKey, tunnelEntry]
	frags   defragmenter
	layers  linkLayers
	types   etherTypes

	now Time // the latest time of any frame: captures are not always in order, clocks of ours are

	// The frame that is being taken apart, and where in it we are.
	f       *Frame
	out     []Packet
	tunnel  *Tunnel
	turned  bool // it was entered from its Resp
	depth   int  // tunnels around what is being looked at
	headers int  // link headers taken off so far

	unknownLink uint32 // link type of which a weird was told last, plus one
}

// NewDissector makes a Dissector.
func NewDissector(cfg DissectConfig) *Dissector {
	if cfg.MaxDepth <= 0 {
		cfg.MaxDepth = defaultTunnelDepth
	}
	if cfg.UID == nil {
		cfg.UID = flowUID
	}
	return &Dissector{cfg: cfg, now: clockStart, tunnels: newLRU[flowKey, tunnelEntry](maxTunnels), frags: newDefragmenter()}
}

// Stats gives the counts so far.
func (d *Dissector) Stats() DissectStats { return d.stats }

// Dissect appends the packets of f to out. Their L4 is borrowed from f.Data, but for reassembled fragments, which own
// it. f is not kept.
func (d *Dissector) Dissect(f *Frame, out []Packet) []Packet {
	d.f, d.out, d.tunnel, d.turned, d.depth, d.headers = f, out, nil, false, 0, 0
	d.now = max(d.now, f.Time)
	b, wire := f.Data, max(f.WireLen, len(f.Data))
	d.stats.Frames++
	d.stats.Bytes += uint64(wire)
	if f.Link == linkEthernet && len(b) >= 34 && b[12] == 8 && b[13] == 0 && b[14]>>4 == 4 {
		// By hand and first: this is nearly every frame there is, and the general way costs it 5 ns.
		d.ip4(b[14:], wire-14)
	} else {
		d.link(f.Link, b, wire)
	}
	d.stats.Packets += uint64(len(d.out) - len(out))
	out = d.out
	d.f, d.out, d.tunnel = nil, nil, nil
	return out
}

// weird reports something about the frame; from is Zeek's name of the analyzer.
func (d *Dissector) weird(name, from string) { d.tell(Weird{Name: name, From: from}) }

// drop reports why a packet is dropped.
func (d *Dissector) drop(name, from string) {
	d.stats.Malformed++
	d.weird(name, from)
}

// weirdIP reports something about a packet whose addresses are known.
func (d *Dissector) weirdIP(p *Packet, name, addl, from string) {
	d.tell(Weird{Name: name, Addl: addl, From: from,
		Src: netip.AddrPortFrom(p.SrcAddr(), p.SrcPort), Dst: netip.AddrPortFrom(p.DstAddr(), p.DstPort)})
}

func (d *Dissector) dropIP(p *Packet, name, from string) {
	d.stats.Malformed++
	d.weirdIP(p, name, "", from)
}

func (d *Dissector) tell(w Weird) {
	if d.cfg.Weird != nil {
		w.At = At{Time: d.now, Packet: d.f.Ordinal}
		d.cfg.Weird(w)
	}
}

// ip takes a packet of either version. b is what was captured of it, wire the length of that on the wire, which may
// include a link layer's padding.
func (d *Dissector) ip(b []byte, wire int) {
	if len(b) < 20 {
		d.drop("truncated_IP", "IP")
		return
	}
	switch b[0] >> 4 {
	case 4:
		d.ip4(b, wire)
	case 6:
		d.ip6(b, wire)
	default:
		if d.depth > 0 {
			d.drop("unknown_ip_version_in_tunnel", "IP")
			return
		}
		d.drop("unknown_ip_version", "IP")
	}
}

// next appends an empty packet.
func (d *Dissector) next() *Packet {
	d.out = append(d.out, Packet{})
	return &d.out[len(d.out)-1]
}

// back takes the packet of the last next away again.
func (d *Dissector) back() { d.out = d.out[:len(d.out)-1] }

func put4(a *[16]byte, b []byte) {
	a[10], a[11] = 0xff, 0xff
	copy(a[12:], b[:4])
}

// ip4 takes an IPv4 packet of which at least 20 bytes are there. It is by hand because layers.IPv4 allocates for
// options and refuses packets for them, which would be a way to hide.
func (d *Dissector) ip4(b []byte, wire int) {
	_ = b[19]
	p := d.next()
	p.Time, p.Clock, p.Ordinal, p.Tunnel = d.f.Time, d.now, d.f.Ordinal, d.tunnel
	p.Proto, p.TTL, p.turned = b[9], b[8], d.turned
	put4(&p.Src, b[12:16])
	put4(&p.Dst, b[16:20])
	hdr := int(b[0]&15) << 2
	total := int(binary.BigEndian.Uint16(b[2:]))
	offloaded := total == 0
	if offloaded {
		// Segmentation offload: the capture is of a packet that the card was still to cut up.
		d.weird("ip_hdr_len_zero", "IP")
		total = min(wire, maxJumbo)
	}
	switch {
	case wire < total:
		d.drop("truncated_IP_len", "IP")
		d.back()
		return
	case hdr > total:
		d.drop("invalid_IP_header_size", "IP")
		d.back()
		return
	case hdr > len(b):
		d.drop("internally_truncated_header", "IP")
		d.back()
		return
	case hdr < 20:
		d.drop("IPv4_min_header_size", "IP")
		d.back()
		return
	}
	// The card fills in the checksum of an offloaded packet as well.
	if !d.cfg.IgnoreChecksums && !offloaded && fold(sum(0, b[:hdr])) != 0xffff {
		d.stats.BadChecksum++
		d.weirdIP(p, "bad_IP_checksum", "", "IP")
		d.back()
		return
	}
	if len(b) > total {
		b = b[:total] // what follows is padding
	}
	p.IPLen, p.L4, p.L4Len = total, b[hdr:], total-hdr
	if f := binary.BigEndian.Uint16(b[6:]); f&0x3fff != 0 {
		d.fragment(p, fragment{
			id: uint32(binary.BigEndian.Uint16(b[4:])), off: int(f&0x1fff) << 3, more: f&0x2000 != 0,
			dontFrag: f&0x4000 != 0, hdr: hdr,
		})
		return
	}
	p.Verified = d.f.Verified && p.Tunnel == nil
	d.transport(p)
}

// ip6 takes an IPv6 packet of which at least 20 bytes are there.
func (d *Dissector) ip6(b []byte, wire int) {
	if len(b) < 40 {
		d.drop("truncated_IP", "IP")
		return
	}
	p := d.next()
	p.Time, p.Clock, p.Ordinal, p.Tunnel = d.f.Time, d.now, d.f.Ordinal, d.tunnel
	p.V6, p.TTL, p.turned = true, b[7], d.turned
	p.Src, p.Dst = [16]byte(b[8:24]), [16]byte(b[24:40])
	total := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if total == 40 {
		total = jumbo(b, wire)
	}
	if wire < total {
		d.drop("truncated_IP_len", "IP")
		d.back()
		return
	}
	x := extensions{next: b[6]}
	var hdr int
	if isExtension(b[6]) {
		hdr = d.extensions(p, &x, b[40:])
	}
	hdr += 40
	if hdr > total {
		d.dropIP(p, "invalid_IP_header_size", "IP")
		d.back()
		return
	}
	if len(b) > total {
		b = b[:total]
	}
	p.Proto, p.NoChecksum = x.next, x.noChecksum
	p.IPLen, p.L4, p.L4Len = total, b[hdr:], total-hdr
	if x.frag {
		if x.off == 0 && !x.more {
			// An atomic fragment is whole, and RFC 6946 wants it kept apart from others of its id.
			d.stats.Fragments++
			p.IPLen -= 8
			d.afterFragment(p)
			return
		}
		d.fragment(p, fragment{id: x.id, off: x.off, more: x.more, hdr: hdr})
		return
	}
	p.Verified = d.f.Verified && p.Tunnel == nil
	d.transport(p)
}

// jumbo gives the length of an IPv6 packet whose payload length is zero: a jumbogram (RFC 2675), or one that Linux
// handed to the capture before the card cut it up, which has no jumbo option any more. Everything else is empty.
func jumbo(b []byte, wire int) int {
	switch {
	case b[6] == 0 && len(b) >= 48 && b[42] == 0xc2 && b[43] == 4:
		if n := int64(binary.BigEndian.Uint32(b[44:])) + 40; n > 0xffff+40 && n <= maxJumbo {
			return int(n)
		}
	case b[6] == ProtoTCP && wire > 0xffff+40:
		return min(wire, maxJumbo)
	}
	return 40
}

// extensions is what a walk over IPv6 extension headers found.
type extensions struct {
	next       uint8 // type of the header behind the last
	noChecksum bool  // a routing header of unknown type: the pseudo header's destination is not known
	seen       int
	finalDst   bool
	homeAddr   bool
	frag       bool // the last one is a fragment header, of which the rest is
	more       bool
	off        int
	id         uint32
}

func isExtension(t uint8) bool {
	switch t {
	case 0, 43, 44, 51, 60: // hop-by-hop, routing, fragment, authentication, destination options
		return true
	}
	return false
}

// extensions walks the extension headers at the beginning of b, the first of which has type x.next, and returns their
// length. It stops behind a fragment header, and in front of what is cut off. ESP and mobility are protocols here.
//
// Like Zeek it takes the final destination of a routing header and the home address of Mobile IPv6 for the addresses of
// the packet, so that the flow is that of the endpoints. By hand: layers has no decoder here that neither allocates nor
// refuses.
func (d *Dissector) extensions(p *Packet, x *extensions, b []byte) (used int) {
	x.frag = false
	for isExtension(x.next) && !x.frag {
		rest := b[used:]
		if len(rest) < 2 {
			return used
		}
		if x.seen++; x.seen > maxExtensions {
			d.weirdIP(p, "exceeded_ipv6_extension_headers", "", "IP")
			return used
		}
		n := (int(rest[1]) + 1) * 8
		switch x.next {
		case 44:
			n = 8
		case 51:
			n = (int(rest[1]) + 2) * 4
		}
		if n > len(rest) {
			return used
		}
		rest = rest[:n]
		switch x.next {
		case 43:
			d.routing(p, x, rest)
		case 44:
			f := binary.BigEndian.Uint16(rest[2:])
			x.frag, x.off, x.more = true, int(f&^7), f&1 != 0
			x.id = binary.BigEndian.Uint32(rest[4:])
		case 60:
			d.destinationOptions(p, x, rest[2:])
		}
		x.next = rest[0]
		used += n
	}
	return used
}

// routing takes the final destination from a routing header; h is all of it, at least 8 bytes.
func (d *Dissector) routing(p *Packet, x *extensions, h []byte) {
	if x.finalDst {
		d.weirdIP(p, "multiple_routing_headers", "", "")
		return
	}
	words, kind, left := h[1], h[2], h[3]
	switch kind {
	case 0:
		if left > 0 && words >= 2 {
			if words%2 == 0 {
				copy(p.Dst[:], h[len(h)-16:])
				x.finalDst = true
			} else {
				d.weirdIP(p, "odd_routing0_len", "", "")
			}
		}
		d.weirdIP(p, "routing0_hdr", "", "")
	case 2: // RFC 6275 section 6.4
		if left > 0 {
			if words == 2 {
				copy(p.Dst[:], h[len(h)-16:])
				x.finalDst = true
			} else {
				d.weirdIP(p, "bad_routing2_len", "", "")
			}
		}
	default:
		d.weirdIP(p, "unknown_routing_type", strconv.Itoa(int(kind)), "")
		x.noChecksum = x.noChecksum || left > 0
	}
}

// destinationOptions takes the home address (RFC 6275 section 6.3) from destination options.
func (d *Dissector) destinationOptions(p *Packet, x *extensions, o []byte) {
	for len(o) > 0 {
		if o[0] == 0 {
			o = o[1:]
			continue
		}
		if len(o) < 2 || len(o) < 2+int(o[1]) {
			d.weirdIP(p, "bad_ipv6_dest_opt_len", "", "")
			return
		}
		n := 2 + int(o[1])
		if o[0] == 201 {
			switch {
			case n != 18:
				d.weirdIP(p, "bad_home_addr_len", "", "")
			case x.homeAddr:
				d.weirdIP(p, "multiple_home_addr_opts", "", "")
			default:
				copy(p.Src[:], o[2:18])
				x.homeAddr = true
			}
		}
		o = o[n:]
	}
}

// transport reads the transport header of p, the packet that was appended last, and goes into tunnels.
func (d *Dissector) transport(p *Packet) {
	b := p.L4
	if len(b) < p.L4Len {
		p.NoChecksum = true
		d.stats.CutShort++
	}
	if d.f.NoChecksum {
		p.NoChecksum = true
	}
	switch p.Proto {
	case ProtoTCP:
		// By hand because layers.TCP refuses a packet whose options are wrong; its receiver does not.
		if len(b) < 20 {
			d.short(p, 20, "TCP")
			return
		}
		p.SrcPort = binary.BigEndian.Uint16(b)
		p.DstPort = binary.BigEndian.Uint16(b[2:])
		p.Seq = binary.BigEndian.Uint32(b[4:])
		p.Ack = binary.BigEndian.Uint32(b[8:])
		p.HdrLen = int(b[12]>>4) << 2
		p.Flags = b[13]
		p.Window = binary.BigEndian.Uint16(b[14:])
	case ProtoUDP:
		if len(b) < 8 {
			d.short(p, 8, "UDP")
			return
		}
		p.SrcPort = binary.BigEndian.Uint16(b)
		p.DstPort = binary.BigEndian.Uint16(b[2:])
		p.HdrLen = 8
		if udpTunnelKind(p.DstPort)|udpTunnelKind(p.SrcPort) != 0 || looksTunneled(b[8:], p.L4Len-8) {
			d.udpTunnel(*p)
		}
	case ProtoICMP, ProtoICMPv6:
		if len(b) < 8 {
			d.short(p, 8, "ICMP")
			return
		}
		p.SrcPort = uint16(b[0])
		p.HdrLen = 8
		other, ok := icmpCounterpart(p.Proto, b[0])
		if !ok {
			other, p.OneWay = b[1], true
		}
		p.DstPort = uint16(other)
	case ProtoSCTP:
		if len(b) >= 12 {
			p.SrcPort = binary.BigEndian.Uint16(b)
			p.DstPort = binary.BigEndian.Uint16(b[2:])
			p.HdrLen = 12
		}
	case protoIPv4, protoIPv6:
		outer := *p
		d.back()
		d.ipInIP(&outer)
	case protoGRE:
		outer := *p
		d.back()
		d.gre(&outer, outer.L4, outer.L4Len)
	case protoNone:
		// A Teredo bubble has no payload on purpose.
		if d.tunnel == nil || d.tunnel.Kind != "TEREDO" {
			d.dropIP(p, "ipv6_no_next", "IP")
		}
		d.back()
	}
}

// short drops a packet whose transport header is not all there.
func (d *Dissector) short(p *Packet, need int, from string) {
	name := "internally_truncated_header"
	if p.L4Len > 0 && p.L4Len < need {
		name = "truncated_header"
	}
	d.dropIP(p, name, from)
	d.back()
}

const (
	protoIPv4 = 4
	protoIPv6 = 41
	protoGRE  = 47
	protoNone = 59
)

// icmpCounterpart gives the type that answers, or asks for, a type, where there is one; the pairs are Zeek's.
func icmpCounterpart(proto, t uint8) (uint8, bool) {
	if proto == ProtoICMP {
		switch t {
		case 0, 8: // echo
			return 8 - t, true
		case 9, 10: // router advertisement, solicitation
			return 19 - t, true
		case 13, 14: // timestamp
			return 27 - t, true
		case 15, 16: // information
			return 31 - t, true
		case 17, 18: // address mask
			return 35 - t, true
		}
		return 0, false
	}
	switch t {
	case 128, 129: // echo
		return t ^ 1, true
	case 130, 131: // multicast listener query, report
		return t ^ 1, true
	case 133, 134: // router solicitation, advertisement
		return t ^ 3, true
	case 135, 136: // neighbour solicitation, advertisement
		return t ^ 15, true
	case 139, 140: // node information
		return t ^ 7, true
	case 144, 145: // home agent address discovery
		return t ^ 1, true
	}
	return 0, false
}
