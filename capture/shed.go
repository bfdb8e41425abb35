package capture

// ShedLevel says what is left out under overload, before the kernel leaves out whatever comes. Each level includes those
// before it. What is shed is always what tells least, and never what looks like a call to Ray's Job API.
type ShedLevel uint8

// Levels, in the order in which they are reached.
const (
	ShedNothing ShedLevel = iota
	// ShedBodies looks into no body but those that are dear: the business of whoever drives the shard.
	ShedBodies
	// ShedBulk puts the bytes of a direction that has moved bulkBytes no longer in order: they are a gap.
	ShedBulk
	// ShedNewFlows begins no flow for a packet that says nothing: without payload, or a datagram that is no name
	// service's. A TCP connection begins with its first payload then, as one that was picked up midway.
	ShedNewFlows
)

func (l ShedLevel) String() string {
	return [...]string{"nothing", "bodies", "bulk flows", "new flows"}[min(l, ShedNewFlows)]
}

// bulkBytes makes a direction a bulk flow's. A job submission has a few kilobytes, and what is looked for in others
// stands at their beginning.
const bulkBytes = 1 << 20

// bulk says whether the bytes b, which side sends, may be shed.
func (f *flow) bulk(side uint8, b []byte) bool {
	if d := f.sh.cfg.Dear; !f.dear && d != nil && d(b) {
		f.dear = true // both directions: the answer says whether it worked
	}
	return !f.dear && f.payload[side] >= bulkBytes
}

// Keep makes the flow of the packet at hand dear: an event has told what it is. To be called from Emit.
func (s *Shard) Keep() {
	if s.touched != nil {
		s.touched.dear = true
	}
}

// lowValue says whether a packet of a flow that is not known yet may be let go.
func lowValue(p *Packet) bool {
	if p.Proto == ProtoTCP {
		return p.PayloadLen() == 0
	}
	const domain = 53
	return p.Proto != ProtoUDP || p.SrcPort != domain && p.DstPort != domain
}
