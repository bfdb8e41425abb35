package capture

import (
	"encoding/binary"
	"fmt"
)

// Ethernet types of what switches and mirror ports put between the addresses of a frame and its own type.
const (
	etherTRILL   = 0x22f3
	etherPPP     = 0x880b
	etherBrcm    = 0x8874 // tag of older Broadcom switches, as Linux's tag_brcm.c has it
	etherMACsec  = 0x88e5
	etherPRP     = 0x88fb // PRP and HSR supervision; tag of HSR version 0
	etherCMD     = 0x8909 // Cisco MetaData (security group tag)
	etherHSR     = 0x892f
	etherETag    = 0x893f // IEEE 802.1BR
	etherNSH     = 0x894f
	etherTTag    = 0x8988 // Cisco time stamp of SPAN and ERSPAN
	etherQinQ92  = 0x9200
	etherQinQ93  = 0x9300
	etherArista  = 0xd28b
	etherEDSA    = 0xdada // Marvell tag with an Ethernet type
	etherDSA8021 = 0xdadb // VLAN tag of switches that have no other (Linux's tag_8021q.c)
	etherA5PSW   = 0xe001 // Renesas (tag_rzn1_a5psw.c)
	etherRealtek = 0x8899
	etherRTag    = 0xf1c1 // IEEE 802.1CB
)

const (
	// ShownEtherTypes is how many unknown Ethernet types DissectStats names.
	ShownEtherTypes = 16
	// maxToldTypes bounds the weirds for unknown Ethernet types: garbage has all 64,000 of them.
	maxToldTypes = 256
)

// EtherTypeCount is how many frames and inner frames had an Ethernet type.
type EtherTypeCount struct {
	Type uint16
	N    uint64
}

func (c EtherTypeCount) String() string { return fmt.Sprintf("0x%04x=%d", c.Type, c.N) }

// before reports whether c is listed before o: the more frequent first, then the lower type.
func (c EtherTypeCount) before(o EtherTypeCount) bool {
	return c.N > o.N || c.N == o.N && c.Type < o.Type
}

// etherTypes counts frames by Ethernet type, exactly: there are no more than 65536 types. The table is made for the
// first frame, because most captures have none to count.
type etherTypes struct {
	n    []uint64
	told map[uint16]struct{}
}

// add counts a frame of type t. top is kept as the most frequent types in the order of before.
func (e *etherTypes) add(t uint16, top *[ShownEtherTypes]EtherTypeCount) {
	if e.n == nil {
		e.n = make([]uint64, 1<<16)
		e.told = map[uint16]struct{}{}
	}
	e.n[t]++
	c := EtherTypeCount{t, e.n[t]}
	// Counts only grow, so that t is all that can move: up from its place, or into the last one.
	i := 0
	for i < len(top)-1 && top[i].Type != t && top[i].N > 0 {
		i++
	}
	if top[i].Type == t || c.before(top[i]) {
		top[i] = c
		for ; i > 0 && top[i].before(top[i-1]); i-- {
			top[i], top[i-1] = top[i-1], top[i]
		}
	}
}

// RestartEtherTypes begins the counts of DissectStats.EtherTypes again.
func (d *Dissector) RestartEtherTypes() {
	clear(d.types.n)
	d.stats.EtherTypes = [ShownEtherTypes]EtherTypeCount{}
}

// unknownType counts a frame of an Ethernet type that leads nowhere.
func (d *Dissector) unknownType(t uint16) {
	d.stats.NonIP++
	if t < minEtherType || neverIP(t) {
		return
	}
	d.stats.UnknownType++
	d.types.add(t, &d.stats.EtherTypes)
	if _, ok := d.types.told[t]; ok || len(d.types.told) > maxToldTypes {
		return
	}
	d.types.told[t] = struct{}{}
	if len(d.types.told) > maxToldTypes {
		d.tell(Weird{Name: "many_unknown_ether_types"})
		return
	}
	d.tell(Weird{Name: "unknown_ether_type", Addl: fmt.Sprintf("0x%04x", t)})
}

// neverIP reports whether an Ethernet type is one of a protocol that never carries IP, so that nothing is missed where
// its frames are passed over.
func neverIP(t uint16) bool {
	switch t {
	case 0x0806, 0x8035, 0x80f3, // ARP, RARP, AppleTalk ARP
		0x809b, 0x8137, 0x6002, 0x6003, 0x6004, // AppleTalk, IPX, DECnet
		0x0842, 0x8863, 0x888e, 0x88c7, // Wake-on-LAN, PPPoE discovery, 802.1X and its pre-authentication
		0x8808, 0x8809, 0x88cc, 0x8902, // MAC control, slow protocols (LACP), LLDP, connectivity fault management
		0x88f5, 0x88f6, 0x22ea, 0x8929, 0x8940, // registration protocols of 802.1Q, edge control
		0x88e3, 0x88f7, 0x2000, 0x22f4, // media redundancy, PTP, Cisco's CDP, TRILL IS-IS
		0x9000, 0x893a, 0x88d9, // loopback test, IEEE 1905, LLTD
		0x8892, 0x88a4, 0x88ab, 0x88b8, 0x88b9, 0x88ba, 0x88cd, // PROFINET, EtherCAT, POWERLINK, GOOSE, GSE, SV, SERCOS
		0x887b, 0x88e1, 0x8912, 0x88a2, 0x8906, 0x8914, 0x8915, // HomePlug, ATA over Ethernet, FCoE, FIP, RoCE
		etherPRP:
		return true
	}
	return false
}

// tag takes a tag that ends in the Ethernet type, or 802.3 length, of what follows it; at is the place of that type.
func (d *Dissector) tag(b []byte, wire, at int, from string) {
	if len(b) <= at+2 {
		d.drop("truncated_switch_tag", from)
		return
	}
	d.etherPayload(binary.BigEndian.Uint16(b[at:]), b[at+2:], wire-at-2, "undefined_ether_type", from)
}

// switchTag takes what a switch has put in front of a frame's own Ethernet type, or reports that t announces no such
// thing. Where a format has no document of its own, it is as Wireshark and tcpdump have it.
//
// Time stamps and other trailers behind a packet (Arista 7150, Metamako, VSS, ExaNIC, the six bytes of PRP, the check
// value of MACsec) need no care: the length of the IP header ends before them.
func (d *Dissector) switchTag(t uint16, b []byte, wire int) bool {
	switch t {
	case etherTTag: // 48 bits of nanoseconds
		d.tag(b, wire, 6, "TTAG")
	case etherCMD: // version, length of the options in words, options
		n := 1
		if len(b) > 1 {
			n = max(int(b[1]), 1)
		}
		d.tag(b, wire, 2+4*n, "CMD")
	case etherETag: // IEEE 802.1BR-2012 section 7.5
		d.tag(b, wire, 6, "ETAG")
	case etherHSR: // path and size, sequence number (IEC 62439-3)
		d.tag(b, wire, 4, "HSR")
	case etherPRP: // HSR version 0 has the number that supervision frames have as well
		if len(b) <= 6 || !leadsToIP(binary.BigEndian.Uint16(b[4:])) {
			return false
		}
		d.tag(b, wire, 4, "HSR")
	case etherRTag: // reserved, sequence number
		d.tag(b, wire, 4, "RTAG")
	case etherEDSA: // reserved, tag of four bytes, into which the outermost VLAN tag went
		d.tag(b, wire, 6, "DSA")
	case etherBrcm:
		d.tag(b, wire, 4, "BRCM")
	case etherDSA8021:
		d.tag(b, wire, 2, "DSA")
	case etherA5PSW:
		d.tag(b, wire, 6, "DSA")
	case etherRealtek: // two of its protocols are tags (tag_rtl4_a.c, tag_rtl8_4.c); others are of the switch itself
		switch {
		case len(b) > 0 && b[0]>>4 == 0xa:
			d.tag(b, wire, 2, "RTL")
		case len(b) > 0 && b[0] == 4:
			d.tag(b, wire, 6, "RTL")
		default:
			d.stats.NonIP++
		}
	case etherArista:
		d.arista(b, wire)
	case etherMACsec:
		d.macsec(b, wire)
	case etherNSH:
		d.nsh(b, wire)
	case etherTRILL: // RFC 6325 section 3: six bytes, options, then the frame
		n := 6
		if len(b) > 1 {
			n += int(binary.BigEndian.Uint16(b)>>6&0x1f) * 4
		}
		if len(b) <= n {
			d.drop("truncated_switch_tag", "TRILL")
			return true
		}
		d.ethernet(b[n:], wire-n)
	case etherPPP:
		d.ppp(b, wire)
	default:
		return false
	}
	return true
}

// arista takes the tag of Arista's switches: subtype, version, and by them what follows.
func (d *Dissector) arista(b []byte, wire int) {
	const from = "ARISTA"
	if len(b) < 4 {
		d.drop("truncated_switch_tag", from)
		return
	}
	subtype, version := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	frame := 0
	switch subtype {
	case 1: // time stamp, of 64 bits (0x0010, TAI) or 48 (0x0020); 0x0100 says UTC, 0x0001 another chip
		switch version &^ 0x0101 {
		case 0x0010:
			d.tag(b, wire, 4+8, from)
			return
		case 0x0020:
			d.tag(b, wire, 4+6, from)
			return
		}
	case 3: // mirrored to GRE, with time stamp; some releases have a session number before it
		at := 4 + 6
		if len(b) >= at+4 && !leadsToIP(binary.BigEndian.Uint16(b[at:])) && leadsToIP(binary.BigEndian.Uint16(b[at+2:])) {
			at += 2
		}
		d.tag(b, wire, at, from)
		return
	case 7: // mirrored to GRE: switch, port, policy; 8: port, policy; 9: as 7, and a time stamp
		frame = 12
	case 8:
		frame = 8
	case 9:
		frame = 20
	}
	switch {
	case frame == 0: // postcards with samples of a packet's head, generated traffic, what is to come
		d.unknownType(etherArista)
	case len(b) <= frame:
		d.drop("truncated_switch_tag", from)
	default:
		d.ethernet(b[frame:], wire-frame)
	}
}

// macsec takes a SecTAG (IEEE 802.1AE-2018 section 9) of a frame whose integrity alone is protected: what follows is
// the frame's own Ethernet type.
func (d *Dissector) macsec(b []byte, wire int) {
	const (
		version, sci, encrypted, changed = 0x80, 0x20, 0x08, 0x04

		from = "MACSEC"
	)
	if len(b) < 6 {
		d.drop("truncated_switch_tag", from)
		return
	}
	if b[0]&version != 0 {
		d.unknownType(etherMACsec)
		return
	}
	if b[0]&(encrypted|changed) != 0 {
		d.stats.NonIP++
		if d.stats.Encrypted++; d.stats.Encrypted == 1 {
			d.weird("MACsec_encrypted", from)
		}
		return
	}
	at := 6
	if b[0]&sci != 0 {
		at += 8
	}
	d.tag(b, wire, at, from)
}

// nsh takes a Network Service Header (RFC 8300 section 2), whose length is in words.
func (d *Dissector) nsh(b []byte, wire int) {
	const from = "NSH"
	if len(b) < 8 {
		d.drop("truncated_switch_tag", from)
		return
	}
	n := int(b[1]&0x3f) * 4
	if b[0]>>6 != 0 || n < 8 {
		d.drop("bad_NSH_header", from)
		return
	}
	if len(b) <= n {
		d.drop("truncated_switch_tag", from)
		return
	}
	d.nextProtocol(b[3], b[n:], wire-n)
}

// nextProtocol takes what a next protocol of VXLAN-GPE and NSH announces: the numbers are the same.
func (d *Dissector) nextProtocol(next uint8, b []byte, wire int) {
	if t := nextEtherType(next); t != 0 {
		d.etherType(t, b, wire)
		return
	}
	d.stats.NonIP++
}

// nextEtherType gives the Ethernet type for a next protocol of VXLAN-GPE and NSH, 0 if there is none.
func nextEtherType(next uint8) uint16 {
	switch next {
	case 1:
		return etherIPv4
	case 2:
		return etherIPv6
	case 3:
		return etherTEB
	case 4:
		return etherNSH
	case 5:
		return etherMPLS
	}
	return 0
}
