package capture

import (
	"encoding/binary"
	"net/netip"
)

// What a recorder asks of the flow table: to which flow a packet belongs, and how far that is.

// Facts are what the flow table knows of the flow of a packet that it has just taken.
type Facts struct {
	Start Time   // of the flow, as its UID has it
	Hash  uint64 // of the flow; 0: see Shard.Facts
	Sent  uint64 // bytes of IP that the packet's sender has sent in the flow, with this packet
	Dear  bool   // an event has told that it is Ray's, or a miner's, or a product's like Ray
	Whole bool   // Shard.Whole was called for it
	// Services are the names of conn.log so far; nil: none. A list never changes, and flows share it.
	Services *[]string
}

// Facts describes the flow of p, which must be the last packet that s took. Of a packet that was let go, or whose flow is
// over, it knows the packet alone, and not its hash.
func (s *Shard) Facts(p *Packet) Facts {
	k, side := orient(p)
	f := s.hand
	if f == nil || !f.key.equal(&k) {
		return Facts{Start: p.Time, Sent: uint64(max(p.IPLen, 0))}
	}
	return f.facts(side)
}

// facts describes the flow behind a packet of side.
func (f *flow) facts(side uint8) Facts {
	start := f.start
	if f.id != nil {
		start = f.id.Start // of a flow that was cut, events go on with the name that it had
	}
	return Facts{Start: start, Hash: f.hash, Sent: f.ipBytes[side], Dear: f.dear, Whole: f.whole, Services: f.services}
}

// Whole notes that a recorder is to keep all of the flow of the packet at hand. To be called from Emit.
func (s *Shard) Whole() {
	if s.touched != nil {
		s.touched.whole = true
	}
}

// FlowName is what the UID of a flow rests on: the two ends, the smaller first, the protocol, and the microsecond of the
// first packet.
type FlowName [48]byte

// NameOf gives the name of the flow of p that began at start.
func NameOf(p *Packet, start Time) FlowName {
	k := keyOf(p)
	return k.named(start)
}

// Name gives the name of f as it is on the wire.
func (f *Flow) Name() FlowName {
	p := f.packet()
	return NameOf(&p, f.Wire().Start)
}

// packet is one of f, as far as a key takes it.
func (f *Flow) packet() Packet {
	f = f.Wire()
	return Packet{
		Src: f.Orig.Addr().As16(), Dst: f.Resp.Addr().As16(), SrcPort: f.Orig.Port(), DstPort: f.Resp.Port(),
		Proto: f.Proto, V6: f.Orig.Addr().Is6(), OneWay: f.oneWay,
	}
}

// FlowHash is Hash for the packets of f.
func (s *Seed) FlowHash(f *Flow) uint64 {
	p := f.packet()
	return s.Hash(&p)
}

// UID gives the flow's UID.
func (n *FlowName) UID() string { return NewUID('C', n[:]) }

// Flow gives a flow of that name. Which of its ends opened it the name does not say; Start has microseconds.
func (n *FlowName) Flow() *Flow {
	a, b := n.Ends()
	return &Flow{UID: n.UID(), Start: n.Start(), Orig: a, Resp: b, Proto: n[36], oneWay: n[37]&2 != 0}
}

// Community is what the flow's Community ID writes as text.
func (n *FlowName) Community() [20]byte {
	a, b := n.Ends()
	f := Flow{Orig: a, Resp: b, Proto: n[36], oneWay: n[37]&2 != 0}
	return f.communitySum()
}

// Ends gives the two ends.
func (n *FlowName) Ends() (a, b netip.AddrPort) {
	v6 := n[37]&1 != 0
	a = netip.AddrPortFrom(unpackAddr([16]byte(n[0:16]), v6), binary.BigEndian.Uint16(n[32:]))
	b = netip.AddrPortFrom(unpackAddr([16]byte(n[16:32]), v6), binary.BigEndian.Uint16(n[34:]))
	return a, b
}

// Start is when the flow began, in whole microseconds.
func (n *FlowName) Start() Time { return Time(int64(binary.BigEndian.Uint64(n[40:])) * 1000) }
