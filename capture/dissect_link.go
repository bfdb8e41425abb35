package capture

import (
	"encoding/binary"
	"strconv"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Link types as capture files number them (https://www.tcpdump.org/linktypes.html).
const (
	linkNull      = 0
	linkEthernet  = 1
	linkPPP       = 9
	linkFDDI      = 10
	linkRaw12     = 12 // LINKTYPE_RAW as the BSDs and Linux number their DLT_RAW
	linkRaw14     = 14 // the same on OpenBSD
	linkPPPHDLC   = 50
	linkPPPoE     = 51
	linkRaw       = 101
	linkATM1483   = 100
	linkCHDLC     = 104
	link80211     = 105
	linkATMCLIP   = 106
	linkFRelay    = 107
	linkLoop      = 108
	linkENC       = 109
	linkLinuxSLL  = 113
	linkPFLog     = 117
	linkPrism     = 119
	linkIPoverFC  = 122
	linkRadiotap  = 127
	linkIEEE1394  = 138
	linkAVS       = 163
	linkPPPD      = 166
	linkERFEth    = 175
	linkERFPOS    = 176
	linkJuniper   = 178 // Ethernet behind Juniper's header; the three that follow: PPP, Frame Relay, Cisco HDLC
	linkJuniperP  = 179
	linkJuniperF  = 180
	linkJuniperC  = 181
	linkPPI       = 192
	linkERF       = 197
	linkPPPDir    = 204
	linkCHDLCDir  = 205
	linkFRelayDir = 206
	linkMPLS      = 219
	linkIPNET     = 226
	linkIPv4      = 228
	linkIPv6      = 229
	linkNFLOG     = 239
	linkNetana    = 240 // Hilscher netANALYZER
	linkNetanaT   = 241
	linkIPoIB     = 242
	linkPKTAP     = 258
	linkLinuxSLL2 = 276
	linkDSABrcm   = 281 // tags of the switches that Linux drives, Broadcom's and Marvell's
	linkDSABrcmP  = 282
	linkDSA       = 284
	linkEDSA      = 285
)

// Ethernet types that lead to IP. Below 1536 an Ethernet type is a length.
const (
	etherIPv4     = 0x0800
	etherTEB      = 0x6558 // Ethernet again, in GRE and Geneve
	etherERSPAN   = 0x88be
	etherERSPAN3  = 0x22eb
	etherVLAN     = 0x8100
	etherIPv6     = 0x86dd
	etherMPLS     = 0x8847
	etherMPLSMult = 0x8848
	etherPPPoE    = 0x8864
	etherQinQ     = 0x88a8
	etherPBB      = 0x88e7
	etherFabric   = 0x8903
	etherVNTag    = 0x8926
	etherQinQOld  = 0x9100
	minEtherType  = 1536
	maxLLCLength  = 1500
)

// linkLayers are gopacket's decoders where they are right and safe for bytes of any kind. In v1.1.19 they are not for:
// GRE, radiotap (index out of range on a short header), Linux cooked (slices by a length from the wire), Geneve
// (version of one bit, an eight-bit offset that wraps, allocates), GTP (16-bit lengths that wrap, prints), 802.11 (cuts
// four bytes off in case they are a checksum, allocates); MPLS, PPPoE and IPv6 extension headers cannot be decoded
// without building a packet. Those are by hand.
type linkLayers struct {
	tag  layers.Dot1Q
	llc  layers.LLC
	snap layers.SNAP
	loop layers.Loopback
}

// enough counts a header of a link layer and says whether there are not too many yet.
func (d *Dissector) enough() bool {
	if d.headers++; d.headers <= maxLinkHeaders {
		return true
	}
	d.drop("exceeded_link_headers", "")
	return false
}

// link goes into a frame by its link type.
func (d *Dissector) link(link uint16, b []byte, wire int) {
	if !d.enough() {
		return
	}
	switch link {
	case linkEthernet:
		d.ethernet(b, wire)
	case linkRaw, linkRaw12, linkRaw14, linkIPv4, linkIPv6:
		d.ip(b, wire)
	case linkNull, linkLoop:
		d.loopback(b, wire)
	case linkPPP, linkPPPHDLC:
		d.ppp(b, wire)
	case linkFDDI: // a control byte and two addresses, then 802.2
		if len(b) < 13 {
			d.drop("truncated_FDDI_header", "FDDI")
			return
		}
		d.llc(b[13:], wire-13)
	case linkCHDLC:
		d.hdlc(b, wire)
	case linkPPPoE:
		d.pppoe(b, wire)
	case linkLinuxSLL:
		d.cooked(b, wire, 16, 14, 2, "truncated_Linux_SLL_header", "LINUXSLL")
	case linkLinuxSLL2:
		d.cooked(b, wire, 20, 0, 8, "truncated_Linux_SLL2_header", "LINUXSLL2")
	case link80211:
		d.dot11(b, wire, false)
	case linkRadiotap:
		d.radiotap(b, wire)
	case linkPrism, linkAVS:
		d.prism(b, wire)
	case linkPPI:
		d.ppi(b, wire)
	case linkNFLOG:
		d.nflog(b, wire)
	case linkDSA, linkDSABrcm:
		d.typeAt(b, wire, 12+4, "DSA")
	case linkEDSA:
		d.typeAt(b, wire, 12+8, "DSA")
	case linkDSABrcmP, linkNetana:
		d.behind(b, wire, 4, linkEthernet)
	case linkNetanaT: // and the preamble
		d.behind(b, wire, 4+8, linkEthernet)
	default:
		d.rareLink(link, b, wire)
	}
}

// rareLink takes the link types of other systems, of wide area networks and of capture cards.
func (d *Dissector) rareLink(link uint16, b []byte, wire int) {
	switch link {
	case linkPPPDir:
		d.behind(b, wire, 1, linkPPP)
	case linkPPPD: // address and control, of which one byte is the direction
		d.behind(b, wire, 2, linkPPP)
	case linkCHDLCDir:
		d.behind(b, wire, 1, linkCHDLC)
	case linkFRelayDir:
		d.behind(b, wire, 1, linkFRelay)
	case linkFRelay:
		d.frameRelay(b, wire)
	case linkMPLS:
		if len(b) <= 4 {
			d.drop("truncated_link_header", "MPLS")
			return
		}
		d.mpls(b, wire)
	case linkATM1483, linkATMCLIP:
		d.llc(b, wire)
	case linkIPoverFC: // RFC 2625: addresses of 8 bytes
		if len(b) <= 16 {
			d.drop("truncated_link_header", "")
			return
		}
		d.llc(b[16:], wire-16)
	case linkIEEE1394: // addresses of 8 bytes, type
		d.typeAt(b, wire, 16, "")
	case linkIPoIB: // RFC 4391: address of 20 bytes, type, reserved
		d.typed(b, wire, 20, 24, "IPOIB")
	case linkIPNET:
		d.behind(b, wire, 24, linkRaw)
	case linkENC: // family, index and flags of an IPsec association
		d.behind(b, wire, 12, linkRaw)
	case linkPFLog: // its length does not count padding to four bytes
		n := 0
		if len(b) > 0 {
			n = (int(b[0]) + 3) &^ 3
		}
		d.behind(b, wire, max(n, 4), linkRaw)
	case linkPKTAP: // length, type of the record, link type
		if len(b) < 12 {
			d.drop("truncated_link_header", "PKTAP")
			return
		}
		n := binary.LittleEndian.Uint32(b)
		d.behind(b, wire, int(min(max(n, 12), 1<<16)), uint16(min(binary.LittleEndian.Uint32(b[8:]), 1<<16-1)))
	case linkERF, linkERFEth, linkERFPOS:
		d.erf(b, wire)
	case linkJuniper:
		d.juniper(b, wire, linkEthernet)
	case linkJuniperP:
		d.juniper(b, wire, linkPPP)
	case linkJuniperF:
		d.juniper(b, wire, linkFRelay)
	case linkJuniperC:
		d.juniper(b, wire, linkCHDLC)
	default:
		d.stats.UnknownLink++
		if d.unknownLink != uint32(link)+1 {
			d.unknownLink = uint32(link) + 1
			d.tell(Weird{Name: "unknown_link_type", Addl: strconv.Itoa(int(link))})
		}
	}
}

// behind takes a frame of another link type after a header of n bytes.
func (d *Dissector) behind(b []byte, wire, n int, link uint16) {
	if len(b) <= n {
		d.drop("truncated_link_header", "")
		return
	}
	d.link(link, b[n:], wire-n)
}

// typeAt takes a frame whose Ethernet type, or 802.3 length, is at a place and is followed by what it announces.
func (d *Dissector) typeAt(b []byte, wire, at int, from string) { d.typed(b, wire, at, at+2, from) }

// typed takes a frame whose Ethernet type, or 802.3 length, is at one place and what it announces at another.
func (d *Dissector) typed(b []byte, wire, at, payload int, from string) {
	if len(b) <= payload {
		d.drop("truncated_link_header", from)
		return
	}
	d.etherPayload(binary.BigEndian.Uint16(b[at:]), b[payload:], wire-payload, "undefined_ether_type", from)
}

// frameRelay takes a Frame Relay frame (RFC 2427): an address of two to four bytes, then control and protocol, or what
// Cisco puts in their place, an Ethernet type.
func (d *Dissector) frameRelay(b []byte, wire int) {
	const from = "FRELAY"
	n := 1
	for n < 4 && n <= len(b) && b[n-1]&1 == 0 {
		n++
	}
	if len(b) <= n+2 {
		d.drop("truncated_link_header", from)
		return
	}
	if b[n] != 3 {
		d.etherPayload(binary.BigEndian.Uint16(b[n:]), b[n+2:], wire-n-2, "undefined_ether_type", from)
		return
	}
	n++
	if b[n] == 0 { // padding
		n++
	}
	switch protocol := b[n]; {
	case protocol == 0xcc || protocol == 0x8e:
		d.behind(b, wire, n+1, linkRaw)
	case protocol == 0x80 && len(b) >= n+6 && b[n+1]|b[n+2]|b[n+3] == 0: // SNAP
		d.typeAt(b, wire, n+4, from)
	case protocol == 0x80 && len(b) >= n+6 && string(b[n+1:n+4]) == "\x00\x80\xc2" && b[n+4] == 0 && (b[n+5] == 1 || b[n+5] == 7): // bridged Ethernet
		d.behind(b, wire, n+6, linkEthernet)
	default:
		d.stats.NonIP++
	}
}

// erf takes a record of an Endace card (Endace Extensible Record Format): time stamp, type, flags, lengths, extension
// headers of 8 bytes.
func (d *Dissector) erf(b []byte, wire int) {
	const from = "ERF"
	if len(b) <= 16 {
		d.drop("truncated_link_header", from)
		return
	}
	n := 16
	for more := b[8]&0x80 != 0; more; n += 8 {
		if !d.enough() {
			return
		}
		if len(b) <= n+8 {
			d.drop("truncated_link_header", from)
			return
		}
		more = b[n]&0x80 != 0
	}
	switch b[8] & 0x7f {
	case 2, 11, 16, 20: // Ethernet, after an offset and a byte of padding
		d.behind(b, wire, n+2, linkEthernet)
	case 1, 10, 15, 19: // packet over SONET
		d.behind(b, wire, n, linkPPPHDLC)
	case 22, 23:
		d.behind(b, wire, n, linkRaw)
	default:
		d.stats.NonIP++
	}
}

// juniper takes the header that JUNOS puts before what it captures: a magic number, flags, and if they say so
// extensions, and a protocol in place of the link layer.
func (d *Dissector) juniper(b []byte, wire int, link uint16) {
	const (
		noLink, extended = 0x02, 0x80

		from = "JUNIPER"
	)
	if len(b) < 6 {
		d.drop("truncated_link_header", from)
		return
	}
	if string(b[:3]) != "MGC" { // old releases write no header
		d.link(link, b, wire)
		return
	}
	n := 4
	if b[3]&extended != 0 {
		n = 6 + int(binary.BigEndian.Uint16(b[4:]))
	}
	if b[3]&noLink == 0 {
		d.behind(b, wire, n, link)
		return
	}
	if len(b) < n+4 {
		d.drop("truncated_link_header", from)
		return
	}
	switch binary.LittleEndian.Uint32(b[n:]) {
	case 2, 6:
		d.behind(b, wire, n+4, linkRaw)
	default:
		d.stats.NonIP++
	}
}

// ethernet takes an Ethernet frame, by hand because it is nearly every frame and layers.Ethernet takes the length of an
// 802.3 frame for a type if the frame is short.
func (d *Dissector) ethernet(b []byte, wire int) {
	const header = 14
	if len(b) <= header+2 {
		d.drop("truncated_ethernet_frame", "ETHERNET")
		return
	}
	t := binary.BigEndian.Uint16(b[12:])
	if t == etherFabric { // 16 bytes, and then the Ethernet header of the frame
		if len(b) <= 16+header {
			d.drop("truncated_link_header_cfp", "ETHERNET")
			return
		}
		b, wire = b[16:], wire-16
		t = binary.BigEndian.Uint16(b[12:])
	}
	d.etherPayload(t, b[header:], wire-header, "undefined_ether_type", "ETHERNET")
}

// etherPayload takes what follows a type or length field.
func (d *Dissector) etherPayload(t uint16, b []byte, wire int, undefined, from string) {
	switch {
	case t >= minEtherType:
		d.etherType(t, b, wire)
	case t <= maxLLCLength:
		if wire < int(t) {
			d.drop("truncated_ethernet_frame", from)
			return
		}
		d.llc(b[:min(len(b), int(t))], int(t))
	default:
		d.drop(undefined, from)
	}
}

// etherType takes what an Ethernet type announces.
func (d *Dissector) etherType(t uint16, b []byte, wire int) {
	if !d.enough() {
		return
	}
	switch t {
	case etherIPv4, etherIPv6:
		d.ip(b, wire)
	case etherVLAN, etherQinQ, etherQinQOld, etherQinQ92, etherQinQ93:
		if len(b) <= 4 || d.layers.tag.DecodeFromBytes(b, gopacket.NilDecodeFeedback) != nil {
			d.drop("truncated_VLAN_header", "VLAN")
			return
		}
		d.etherPayload(uint16(d.layers.tag.Type), b[4:], wire-4, "undefined_vlan_protocol", "VLAN")
	case etherMPLS, etherMPLSMult:
		d.mpls(b, wire)
	case etherPPPoE:
		d.pppoe(b, wire)
	case etherVNTag:
		if len(b) <= 6 {
			d.drop("truncated_vntag_header", "VNTAG")
			return
		}
		d.etherPayload(binary.BigEndian.Uint16(b[4:]), b[6:], wire-6, "undefined_vntag_protocol", "VNTAG")
	case etherPBB: // a service tag of 4 bytes, then the customer's frame
		if len(b) <= 18 {
			d.drop("truncated_PBB_header", "PBB")
			return
		}
		d.ethernet(b[4:], wire-4)
	case etherTEB:
		d.ethernet(b, wire)
	default:
		if !d.switchTag(t, b, wire) {
			d.unknownType(t)
		}
	}
}

// llc takes an 802.2 frame; IP is only in those with a SNAP header and the organization of Ethernet types.
func (d *Dissector) llc(b []byte, wire int) {
	l := &d.layers.llc
	if l.DecodeFromBytes(b, gopacket.NilDecodeFeedback) != nil {
		d.drop("truncated_llc_header", "LLC")
		return
	}
	if l.DSAP != 0xaa || l.SSAP != 0xaa {
		d.stats.NonIP++
		return
	}
	n := len(l.Contents)
	s := &d.layers.snap
	if s.DecodeFromBytes(b[n:], gopacket.NilDecodeFeedback) != nil {
		d.drop("truncated_snap_header", "SNAP")
		return
	}
	// That of 802.1H means the same: bridges put it before what came to them with an Ethernet type.
	if o := s.OrganizationalCode; o[0]|o[1] != 0 || o[2] != 0 && o[2] != 0xf8 {
		d.stats.NonIP++
		return
	}
	d.etherType(uint16(s.Type), b[n+5:], wire-n-5)
}

// mpls takes a label stack, whose bottom does not say what is below. IP begins with its version. A pseudowire with a
// control word begins with 0 (RFC 4385 section 3), but one without, whose first byte is that of an address, may do so
// as well: the place where a type that leads to IP stands decides.
func (d *Dissector) mpls(b []byte, wire int) {
	for bottom := false; !bottom; {
		if len(b) <= 4 {
			d.drop("truncated_link_header", "MPLS")
			return
		}
		bottom = b[2]&1 != 0
		b, wire = b[4:], wire-4
		if !bottom && !d.enough() {
			return
		}
	}
	typeAt := func(i int) bool { return len(b) >= i+2 && leadsToIP(binary.BigEndian.Uint16(b[i:])) }
	switch v := b[0] >> 4; {
	case v == 4 || v == 6:
		d.ip(b, wire)
	case typeAt(12) && !(v == 0 && typeAt(16)):
		d.ethernet(b, wire)
	case v == 0 && len(b) > 4:
		d.ethernet(b[4:], wire-4)
	default:
		d.drop("unknown_ip_version", "IP")
	}
}

// leadsToIP says whether an Ethernet type is one that etherType goes into.
func leadsToIP(t uint16) bool {
	switch t {
	case etherIPv4, etherIPv6, etherVLAN, etherQinQ, etherQinQOld, etherQinQ92, etherQinQ93, etherMPLS, etherMPLSMult,
		etherPPPoE, etherVNTag, etherPBB, etherTTag, etherCMD, etherETag, etherHSR, etherRTag, etherEDSA, etherBrcm,
		etherDSA8021, etherA5PSW, etherArista, etherMACsec, etherNSH, etherTRILL, etherPPP:
		return true
	}
	return false
}

// pppoe takes a PPPoE session packet (RFC 2516 section 4).
func (d *Dissector) pppoe(b []byte, wire int) {
	if len(b) <= 8 {
		d.drop("truncated_pppoe_header", "PPPOE")
		return
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	b, wire = b[6:], wire-6
	switch {
	case n < wire:
		// Access concentrators pad short packets and count wrongly; the IP header knows better where it ends.
		d.weird("pppoe_extra_data_after_payload", "PPPOE")
	case n > wire:
		d.weird("pppoe_truncated_payload", "PPPOE")
	}
	d.ppp(b, wire)
}

// ppp takes a PPP frame, with or without address and control field, its protocol of one byte or two (RFC 1661 sections
// 2 and 6.5), or what Cisco puts in its place on a serial line.
func (d *Dissector) ppp(b []byte, wire int) {
	if len(b) >= 2 && (b[0] == 0x0f || b[0] == 0x8f) && b[1] == 0 {
		d.hdlc(b, wire)
		return
	}
	if len(b) >= 2 && b[0] == 0xff && b[1] == 3 {
		b, wire = b[2:], wire-2
	}
	if len(b) < 2 {
		d.drop("truncated_ppp_header", "PPP")
		return
	}
	proto, n := int(b[0]), 1
	if proto&1 == 0 {
		proto, n = proto<<8|int(b[1]), 2
	}
	b, wire = b[n:], wire-n
	switch proto {
	case 0x0021, 0x0057:
		d.ip(b, wire)
	case 0x0281, 0x0283:
		if d.enough() {
			d.mpls(b, wire)
		}
	default:
		d.stats.NonIP++
	}
}

// hdlc takes a frame of Cisco's HDLC: address, zero, Ethernet type.
func (d *Dissector) hdlc(b []byte, wire int) {
	if len(b) <= 4 {
		d.drop("truncated_hdlc_header", "")
		return
	}
	d.etherType(binary.BigEndian.Uint16(b[2:]), b[4:], wire-4)
}

// loopback takes the header of a BSD loopback interface: an address family in the byte order of whoever captured. The
// families of IPv6 differ between systems, so only the packet's version counts.
func (d *Dissector) loopback(b []byte, wire int) {
	if len(b) <= 4 {
		d.drop("null_analyzer_failed", "NULL")
		return
	}
	if d.layers.loop.DecodeFromBytes(b, gopacket.NilDecodeFeedback) != nil {
		d.stats.NonIP++
		return
	}
	switch d.layers.loop.Family {
	case 2, 10, 23, 24, 28, 30: // IPv4; IPv6 on Linux, Windows, NetBSD and OpenBSD, FreeBSD, macOS
		d.ip(b[4:], wire-4)
	default:
		d.stats.NonIP++
	}
}

// cooked takes a Linux cooked header of n bytes with the Ethernet type at one place and the kind of device at another.
func (d *Dissector) cooked(b []byte, wire, n, typeAt, deviceAt int, short, from string) {
	if len(b) <= n {
		d.drop(short, from)
		return
	}
	t := binary.BigEndian.Uint16(b[typeAt:])
	device := binary.BigEndian.Uint16(b[deviceAt:])
	b, wire = b[n:], wire-n
	switch {
	case device == 824: // netlink: the type is a netlink family
		d.stats.NonIP++
	case t == 4: // 802.2 follows
		d.llc(b, wire)
	default:
		d.etherType(t, b, wire)
	}
}

// nflog takes a packet from Linux's netfilter log: attributes, one of which is the packet. They are in the byte order
// of the machine that captured, which the first one's type shows: all are below 256.
func (d *Dissector) nflog(b []byte, wire int) {
	if len(b) <= 4 {
		d.drop("truncated_nflog_header", "NFLOG")
		return
	}
	if b[1] != 0 {
		d.drop("unknown_nflog_version", "NFLOG")
		return
	}
	family := b[0]
	order := binary.ByteOrder(binary.LittleEndian)
	if len(b) >= 8 && b[6] == 0 && b[7] != 0 {
		order = binary.BigEndian
	}
	for b, wire = b[4:], wire-4; len(b) > 4; {
		n, t := int(order.Uint16(b)), order.Uint16(b[2:])
		if n < 4 {
			d.drop("nflog_bad_tlv_len", "NFLOG")
			return
		}
		if t == 9 {
			if family != 2 && family != 10 {
				d.stats.NonIP++
				return
			}
			d.ip(b[4:], wire-4)
			return
		}
		n = min((n+3)&^3, len(b))
		b, wire = b[n:], wire-n
	}
	d.drop("nflog_no_pcap_payload", "NFLOG")
}

// ppi takes a Per-Packet Information header, which names the link type of the frame behind it.
func (d *Dissector) ppi(b []byte, wire int) {
	if len(b) < 8 || len(b) < int(binary.LittleEndian.Uint16(b[2:])) {
		d.drop("truncated_ppi_header", "")
		return
	}
	n := max(int(binary.LittleEndian.Uint16(b[2:])), 8)
	d.link(uint16(binary.LittleEndian.Uint32(b[4:])), b[n:], wire-n)
}

// prism takes a Prism or AVS header: a magic number, then its length, in the byte order of whoever wrote it.
func (d *Dissector) prism(b []byte, wire int) {
	if len(b) < 8 {
		d.drop("truncated_prism_header", "")
		return
	}
	n := binary.BigEndian.Uint32(b[4:])
	if binary.BigEndian.Uint32(b) != 0x80211001 && n > 0xffff {
		n = binary.LittleEndian.Uint32(b[4:])
	}
	if n < 8 || n >= uint32(len(b)) {
		d.drop("truncated_prism_header", "")
		return
	}
	d.dot11(b[n:], wire-int(n), false)
}

// radiotap takes a radiotap header (https://www.radiotap.org). Of its fields only the flags matter: whether the radio
// found the frame damaged, and whether the 802.11 header is padded.
func (d *Dissector) radiotap(b []byte, wire int) {
	if len(b) < 8 {
		d.drop("truncated_radiotap_header", "IEEE802_11_RADIO")
		return
	}
	n := int(binary.LittleEndian.Uint16(b[2:]))
	if n < 8 || n >= len(b) {
		d.drop("truncated_radiotap_header", "IEEE802_11_RADIO")
		return
	}
	present := binary.LittleEndian.Uint32(b[4:])
	at, more := 8, present
	for more&(1<<31) != 0 && at+4 <= n {
		more = binary.LittleEndian.Uint32(b[at:])
		at += 4
	}
	var flags byte
	if present&1 != 0 { // a timestamp of 8 bytes, aligned
		at = (at+7)&^7 + 8
	}
	if present&2 != 0 && at < n {
		flags = b[at]
	}
	if flags&0x40 != 0 {
		// Nobody received this frame, so nobody must hear of what was in it.
		d.drop("bad_802_11_fcs", "IEEE802_11_RADIO")
		return
	}
	d.dot11(b[n:], wire-n, flags&0x20 != 0)
}

// dot11 takes an 802.11 frame. Only data frames that are not encrypted have IP to see. A checksum at the end does no
// harm: the IP length leaves it out.
func (d *Dissector) dot11(b []byte, wire int, padded bool) {
	const from = "IEEE802_11"
	n := 24
	if len(b) <= n {
		d.drop("truncated_802_11_header", from)
		return
	}
	control, flags := b[0], b[1]
	if control&0x0c != 0x08 || control&0x40 != 0 || flags&0x40 != 0 {
		d.stats.NonIP++ // management, control, data frames without data, encrypted
		return
	}
	if flags&3 == 3 { // a fourth address
		n += 6
	}
	aggregate := false
	if control&0x80 != 0 { // QoS
		if len(b) <= n+2 {
			d.drop("truncated_802_11_header", from)
			return
		}
		aggregate = b[n]&0x80 != 0
		n += 2
		if flags&0x80 != 0 { // HT control
			n += 4
		}
	}
	if padded {
		n = (n + 3) &^ 3
	}
	if len(b) <= n {
		d.drop("truncated_802_11_header", from)
		return
	}
	b, wire = b[n:], wire-n
	if !aggregate {
		d.dot11Payload(b, wire)
		return
	}
	// An A-MSDU: subframes with addresses and a length, each padded to four bytes but the last (IEEE 802.11-2016
	// section 9.3.2.2). Every step takes 14 bytes, and what they hold is checked as IP, so bytes bound the loop.
	const subframe = 14
	for len(b) > subframe {
		size := int(binary.BigEndian.Uint16(b[12:]))
		if subframe+size > wire {
			d.drop("truncated_802_11_amsdu_packet", from)
			return
		}
		d.dot11Payload(b[subframe:min(len(b), subframe+size)], size)
		size = min((subframe+size+3)&^3, len(b))
		b, wire = b[size:], wire-size
	}
}

// dot11Payload takes what a data frame carries.
func (d *Dissector) dot11Payload(b []byte, wire int) {
	if len(b) < 8 {
		d.drop("truncated_802_11_llc_header", "IEEE802_11")
		return
	}
	d.llc(b, wire)
}
