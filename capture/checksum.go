package capture

import (
	"encoding/binary"
	"math/bits"
)

// ChecksumOK says whether the transport checksum is right. It is true as well for what cannot be judged (NoChecksum),
// for protocols without an Internet checksum (SCTP has a CRC, which nobody here checks) and for UDP without one.
//
// It reads all of L4 and belongs in the workers, not on the reader's goroutine. What the network card has found right is
// not read again: of bulk traffic, which another processor has put there and nobody reads otherwise, that is a fifth of
// a sensor's time. For IPv6 the destination in the pseudo header is Packet.Dst, which is the final destination if there
// was a routing header, as RFC 8200 section 8.1 wants it.
func (p *Packet) ChecksumOK() bool {
	if p.NoChecksum {
		return true
	}
	b := p.L4
	switch p.Proto {
	case ProtoTCP, ProtoICMPv6:
	case ProtoUDP:
		if len(b) < 8 {
			return true
		}
		if b[6]|b[7] == 0 {
			return !p.V6 || p.zeroChecksum()
		}
		// The receiver sums as many bytes as the UDP header says (RFC 768), whatever follows them in the IP packet.
		if n := int(binary.BigEndian.Uint16(b[4:])); n >= 8 && n <= len(b) {
			b = b[:n]
		}
	case ProtoICMP:
		return fold(sum(0, b)) == 0xffff
	default:
		return true
	}
	if p.Verified && p.Proto != ProtoICMPv6 {
		return true
	}
	// Everything is summed in the machine's own little-endian order: a one's complement sum is the same in either
	// order but for a swap of its bytes (RFC 1071 section 2B), and 0xffff swapped is itself.
	s := uint64(bits.ReverseBytes16(uint16(p.Proto))) +
		uint64(bits.ReverseBytes16(uint16(len(b)))) + uint64(bits.ReverseBytes16(uint16(len(b)>>16)))
	if p.V6 {
		s = sum(sum(s, p.Src[:]), p.Dst[:])
	} else {
		s += uint64(binary.LittleEndian.Uint32(p.Src[12:])) + uint64(binary.LittleEndian.Uint32(p.Dst[12:]))
	}
	return fold(sum(s, b)) == 0xffff
}

// Offloaded says whether a wrong checksum looks like one that the sender's network card was to fill in: it is zero, or
// the sum of the pseudo header alone, which is what operating systems leave there. Captures taken on the sending
// machine are full of them.
func (p *Packet) Offloaded() bool {
	at := 16
	switch p.Proto {
	case ProtoTCP:
	case ProtoUDP:
		at = 6
	default:
		return false
	}
	if len(p.L4) < at+2 {
		return false
	}
	have := binary.LittleEndian.Uint16(p.L4[at:])
	s := uint64(bits.ReverseBytes16(uint16(p.Proto)))
	if p.V6 {
		s = sum(sum(s, p.Src[:]), p.Dst[:])
	} else {
		s += uint64(binary.LittleEndian.Uint32(p.Src[12:])) + uint64(binary.LittleEndian.Uint32(p.Dst[12:]))
	}
	if have == 0 || p.Proto == ProtoTCP && have == fold(s) {
		return true // without the length: what Windows hands to a card that cuts the segment up (NDIS, large send offload)
	}
	// Linux sums the length as 32 bits, whatever of it fits the IP header (csum_tcpudp_magic).
	return have == fold(s+uint64(bits.ReverseBytes16(uint16(p.L4Len)))+uint64(bits.ReverseBytes16(uint16(p.L4Len>>16))))
}

// zeroChecksum says whether a UDP packet over IPv6 may do without its checksum. RFC 6935 lets tunnels do so, and VXLAN
// (RFC 7348 section 5) and Geneve (RFC 8926 section 3.3) ask for it.
func (p *Packet) zeroChecksum() bool {
	kind := udpTunnelKind(p.DstPort)
	return kind == tunVXLAN || kind == tunVXLANLinux || kind == tunGeneve
}

// sum adds b to the one's complement sum s; fold makes 16 bits of it.
func sum(s uint64, b []byte) uint64 {
	blocks, b := sumBlocks(b)
	s, c := bits.Add64(s, blocks, 0)
	return sumWords(s+c, b)
}

// sumWords is sum by little-endian 64-bit words, with the carry brought round.
func sumWords(s uint64, b []byte) uint64 {
	var c uint64
	for len(b) >= 64 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[8:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[16:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[24:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[32:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[40:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[48:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[56:]), c)
		b = b[64:]
	}
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), c)
		b = b[8:]
	}
	var tail uint64
	shift := 0
	if len(b) >= 4 {
		tail = uint64(binary.LittleEndian.Uint32(b))
		b, shift = b[4:], 32
	}
	for _, x := range b {
		tail |= uint64(x) << shift
		shift += 8
	}
	s, c = bits.Add64(s, tail, c)
	s, c = bits.Add64(s, 0, c)
	return s + c
}

// fold brings a sum down to 16 bits; 0xffff means that what was summed includes a right checksum.
func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s)
}
