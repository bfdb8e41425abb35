package capture

import "net/netip"

// Frame is one captured link-layer frame. Data is borrowed from the batch it came in.
type Frame struct {
	Time    Time
	Ordinal uint64 // from 1, over all inputs of a run
	Data    []byte // as many bytes as were captured
	WireLen int    // length on the wire
	Link    uint16 // pcap link type (LINKTYPE_*), 1 is Ethernet
	// NoChecksum says that the transport checksum was not filled in where the frame was taken: what a machine sends to
	// itself, and what its network card has merged of several packets.
	NoChecksum bool
	// Verified says that the network card found the outermost TCP or UDP checksum right.
	Verified bool
}

// Batch is a block of frames that travels through the engine as one. Frames point into storage that the batch
// owns; both are reused, so nothing may keep a Frame or its Data after the batch was handed back.
type Batch struct {
	Frames []Frame
	Buf    []byte // storage for frame data, at the disposal of the Source that fills the batch

	// What only a LiveSource sets.

	// Clock is a time before which no frame is to come any more, so that time-outs go on while nothing happens; 0:
	// unknown, the frames' times are all there is.
	Clock Time
	Live  LiveStats
	Fill  int // percent of the source's own storage that waits to be read or given back
	// Waits says that what finds no room there waits at its writer: nothing is lost when it is full.
	Waits bool

	held []*lease // of rings, to which the frames point
}

// Release gives back what the source lent for the frames. It may be called from any goroutine, once the batch is done
// with, and more than once.
func (b *Batch) Release() {
	for i, k := range b.held {
		k.release()
		b.held[i] = nil
	}
	b.held = b.held[:0]
}

// Source delivers frames.
type Source interface {
	// ReadBatch replaces the contents of b by the next frames, in order of time as the capture has them. It returns
	// io.EOF, alone, after the last one. Any other error is final and says file, offset and reason; frames read
	// before it are in b all the same.
	ReadBatch(b *Batch) error
	Close() error
}

// TCP header flags as they stand in the header's 14th byte.
const (
	FlagFIN = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
)

// Packet is one IP packet as the flow table takes it: addresses, ports and lengths decoded, bytes borrowed from the
// frame (or, for reassembled fragments, on their own). Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d, so that a
// packet has no pointers but its payload.
type Packet struct {
	Time    Time
	Clock   Time // the latest time of any packet so far, this one's or later: captures are not always in order
	Ordinal uint64
	Src     [16]byte
	Dst     [16]byte
	SrcPort uint16 // ICMP: type
	DstPort uint16 // ICMP: counterpart type, or code for messages without one
	Proto   uint8
	V6      bool
	OneWay  bool  // ICMP message without a counterpart
	Flags   uint8 // TCP
	TTL     uint8 // of IPv6 the hop limit
	// NoChecksum is set when the transport checksum cannot be judged: fragments that were cut, truncated frames.
	NoChecksum bool
	Verified   bool // the network card found the checksum of TCP or UDP right
	turned     bool // of a packet in a tunnel: it came from Tunnel.Resp
	Window     uint16
	Seq, Ack   uint32
	IPLen      int    // IP total length from the header, header included; for jumbo and offloaded frames what was on the wire
	L4         []byte // captured transport header and payload, trimmed to the IP length
	L4Len      int    // its length by the IP header
	HdrLen     int    // transport header length: where the payload begins in L4
	Tunnel     *Tunnel
	Carries    string // kind of the tunnel, one of those that Zeek reads too, that this UDP packet is the outside of, or ""
}

// Payload is what of the transport payload was captured.
func (p *Packet) Payload() []byte {
	if p.HdrLen >= len(p.L4) {
		return nil
	}
	return p.L4[p.HdrLen:]
}

// PayloadLen is the length of the transport payload by the headers, captured or not.
func (p *Packet) PayloadLen() int { return max(p.L4Len-p.HdrLen, 0) }

// SrcAddr and DstAddr give the addresses in the library's form.
func (p *Packet) SrcAddr() netip.Addr { return unpackAddr(p.Src, p.V6) }

// DstAddr gives the destination.
func (p *Packet) DstAddr() netip.Addr { return unpackAddr(p.Dst, p.V6) }

func unpackAddr(a [16]byte, v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte(a[12:]))
}

// Tunnel is one encapsulation that a packet was found in. Values are shared and immutable.
type Tunnel struct {
	Kind       string // as Zeek names it (GRE, IP, VXLAN, GENEVE, TEREDO, GTPv1, AYIYA), or FOU, GUE, MPLS, TZSP
	UID        string // of the outer flow
	Orig, Resp netip.AddrPort
	Outer      *Tunnel // the tunnel around this one, or nil
}

// Entered says that a flow began in a tunnel, or came to run in another.
type Entered struct {
	At
	Tunnel *Tunnel
}
