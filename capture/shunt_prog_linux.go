package capture

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The program that counts in the kernel. It is written instruction by instruction, so that building raytap needs no
// compiler for BPF. The same code runs at a socket, behind the user's filter, and at a mirror's driver (XDP): it reads the
// frame by a helper that both have.
//
// It counts the plain next segment of a connection, and nothing else. Whatever differs in the least from that ends the
// shunting of the flow: that packet and all that follow are delivered, until the flow table shunts it again. So what the
// flow table makes of an odd packet it makes of it in the state in which it would have been without shunting, and the
// program need not know TCP.
//
// What it does not look at is the TCP checksum, which takes the whole payload, and TCP options. A segment with a wrong
// checksum in the place of the next one is counted; when the right one comes it is in the wrong place and ends the shunting.

// Where things are in a slot, which the kernel and the flow table share. Each side has cache lines of its own: the two
// directions of a connection are mostly received by two processors.
const (
	slotState  = 0 // not 0: the flow is not counted any more, and why
	slotSide   = 64
	slotStride = 192
	slotSize   = slotSide + 2*slotStride

	sidePackets = 0   // u64
	sideBytes   = 8   // u64: of IP
	sideWire    = 16  // u64: of frames
	sidePayload = 24  // u64
	sideLeft    = 32  // u64: payload that may still pass
	sideLast    = 40  // u64: CLOCK_MONOTONIC of the last packet
	sideAcked   = 48  // u64: by how much ack has moved
	sideRun     = 56  // u64: payload since the other side had any
	sideNext    = 64  // u32: sequence number of the next byte
	sideAck     = 68  // u32: what it has acknowledged
	sideRight   = 72  // u32: up to where the other side may send
	sideAcks    = 76  // u32: packets that moved ack
	sideFirst   = 80  // u32: sequence number of the first packet that was counted
	sideReady   = 84  // u32: there was one
	sideBits    = 88  // u32
	sideUnit    = 92  // u32: bytes that a unit of its window field stands for
	sideOuter   = 96  // u64: bytes of IP of the tunnel's packets
	sideVia     = 128 // viaSize bytes: the tunnel that its packets come through, as at fpOuter
)

// Reasons in slotState. The program writes all but the first.
const (
	outTaken    = 1 + iota // the flow table took it back
	outFlags               // SYN, FIN, RST, URG or no ACK
	outOrder               // not the next segment
	outLength              // more payload than may pass
	outWindow              // a window that is closed or went back, or a segment beyond one
	outACK                 // an acknowledgement of the past, or of what was not seen
	outBegins              // what may be the beginning of a protocol
	outMisshape            // lengths that contradict each other
	outTunnel              // another tunnel
)

// The table of beginnings: which pairs of bytes there are, the number of each, and by that number which third and fourth
// bytes there are.
const (
	beginPairs  = 0
	beginIDs    = beginPairs + 1<<16/8
	beginThird  = beginIDs + 1<<16
	beginFourth = beginThird + 256*32
	beginSize   = beginFourth + 256*32
)

// inFlight is how far the first packet that is counted may be from what the flow table knew: that much is on its way.
const inFlight = 1 << 26

// shuntProgram is what there is to know to make the program.
type shuntProgram struct {
	flows, slots, begins, control *ebpf.Map
	link                          uint16
	loopback                      bool                 // what is sent is seen twice
	filter                        []bpf.RawInstruction // nil: all passes
	snap                          uint32
	xdp                           bool
}

// Places on the stack.
const (
	fpHead   = -64  // of the layer that is looked at
	fpKey    = -104 // 40 bytes
	fpSlot   = -108
	fpIPLen  = -120
	fpL4     = -128 // offset of the transport header
	fpLen    = -136 // of the frame
	fpTCP    = -160 // 20 bytes
	fpData   = -168 // offset of the payload
	fpRight  = -172 // word: the right edge of the sender's window
	fpMem    = -240 // scratch memory of the filter: 16 words
	fpOuter  = -280 // viaSize bytes: addresses and ports as on the wire, protocol, version, kind; the last word is 0: no tunnel
	fpEnd    = -288 // where in the frame what is looked at ends
	fpAround = -296 // bytes of IP of the tunnel's packet

	// Where the key was, once the flow is found.
	fpACK     = fpKey      // word
	fpMoved   = fpKey + 8  // by how much it moves on
	fpPayload = fpKey + 16 // length
	fpAhead   = fpKey + 24 // by how much the segment is ahead of what the flow table knew
)

// Places in struct __sk_buff (linux/bpf.h).
const (
	skbLen    = 0
	skbType   = 4
	skbTagged = 20
)

// code collects instructions.
type code struct {
	asm.Instructions
	label string // of the next
	n     int
}

func (c *code) add(list ...asm.Instruction) {
	for _, i := range list {
		if c.label != "" {
			i, c.label = i.WithSymbol(c.label), ""
		}
		c.Instructions = append(c.Instructions, i)
	}
}

// at puts a label before the next instruction.
func (c *code) at(label string) {
	if c.label != "" { // two labels at one place
		c.add(asm.Ja.Label(label))
	}
	c.label = label
}

func (c *code) fresh(name string) string {
	c.n++
	return fmt.Sprintf("%s_%d", name, c.n)
}

const (
	r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, fp = asm.R0, asm.R1, asm.R2, asm.R3, asm.R4, asm.R5, asm.R6, asm.R7, asm.R8, asm.R9, asm.R10

	byte1, half, word, dword = asm.Byte, asm.Half, asm.Word, asm.DWord
)

// load reads n bytes of the frame from the offset in off (which must not be R1, R3, R4) plus add onto the stack.
func (c *code) load(xdp bool, off asm.Register, add int32, to int32, n int32, fail string) {
	c.add(asm.Mov.Reg(r2, off))
	if add != 0 {
		c.add(asm.Add.Imm(r2, add))
	}
	fn := asm.FnSkbLoadBytes
	if xdp {
		fn = asm.FnXdpLoadBytes
	}
	c.add(asm.Mov.Reg(r1, r6), asm.Mov.Reg(r3, fp), asm.Add.Imm(r3, to), asm.Mov.Imm(r4, n), fn.Call(), asm.JNE.Imm(r0, 0, fail))
}

// get loads from memory.
func get(dst, from asm.Register, off int16, size asm.Size) asm.Instruction {
	return asm.LoadMem(dst, from, off, size)
}

// swap makes a number in network order one in the machine's.
func swap(r asm.Register, size asm.Size) asm.Instruction { return asm.HostTo(asm.BE, r, size) }

// instructions makes the program.
func (p *shuntProgram) instructions() (asm.Instructions, error) {
	c := &code{}
	c.add(asm.Mov.Reg(r6, r1))
	if p.filter != nil {
		if err := c.classic(p.filter, p.link == linkEthernet); err != nil {
			return nil, err
		}
		c.at("passed")
	}
	// Nothing is shunted: that is all there is to a packet then.
	c.add(asm.LoadMapValue(r1, p.control.FD(), 0), get(r1, r1, 0, word), asm.JEq.Imm(r1, 0, "pass"))
	if p.loopback {
		c.add(get(r1, r6, skbType, word), asm.JEq.Imm(r1, unix.PACKET_OUTGOING, "pass"))
	}
	if p.xdp {
		c.add(asm.Mov.Reg(r1, r6), asm.FnXdpGetBuffLen.Call(), asm.StoreMem(fp, fpLen, r0, dword))
	} else {
		c.add(get(r1, r6, skbLen, word), asm.StoreMem(fp, fpLen, r1, dword))
	}
	c.add(
		get(r1, fp, fpLen, dword), asm.StoreMem(fp, fpEnd, r1, dword),
		asm.Mov.Imm(r7, 0), asm.StoreMem(fp, fpAround, r7, dword),
	)
	for i := int16(0); i < viaSize; i += 8 { // no tunnel
		c.add(asm.StoreMem(fp, fpOuter+i, r7, dword))
	}
	if p.link == linkEthernet {
		p.ethernet(c, bare)
	} else {
		p.version(c, bare)
	}
	p.ip4(c, bare)
	p.ip6(c, bare)
	p.outer(c)
	p.ethernet(c, inside)
	p.version(c, inside)
	p.ip4(c, inside)
	p.ip6(c, inside)
	p.find(c)
	p.tcp(c)
	p.datagrams(c)
	drop, pass := int32(0), int64(p.snap)
	if p.xdp {
		drop, pass = 1, 2
	}
	c.at("out") // with the reason in R1
	c.add(asm.StoreMem(r9, slotState, r1, word))
	c.at("pass")
	c.add(asm.LoadImm(r0, pass, dword), asm.Return())
	c.at("drop")
	c.add(asm.Mov.Imm(r0, drop), asm.Return())
	return c.Instructions, nil
}

// layer says where in a frame headers are: they are read by the same code, at the frame's beginning and in a tunnel.
type layer string

const (
	bare   layer = ""
	inside layer = "_in"
)

// ethernet reads an Ethernet header at R7, with tags that the card has left where they were.
func (p *shuntProgram) ethernet(c *code, in layer) {
	c.at("ether" + string(in))
	c.load(p.xdp, r7, 12, fpHead, 2, "pass")
	c.add(get(r1, fp, fpHead, half), swap(r1, half), asm.Add.Imm(r7, 14))
	for range 2 {
		tag, next := c.fresh("tag"), c.fresh("untagged")
		c.add(asm.JEq.Imm(r1, etherVLAN, tag), asm.JNE.Imm(r1, etherQinQ, next))
		c.at(tag)
		c.load(p.xdp, r7, 2, fpHead, 2, "pass")
		c.add(get(r1, fp, fpHead, half), swap(r1, half), asm.Add.Imm(r7, 4))
		c.at(next)
	}
	c.add(asm.JEq.Imm(r1, etherIPv4, "ip4"+string(in)), asm.JEq.Imm(r1, etherIPv6, "ip6"+string(in)), asm.Ja.Label("pass"))
}

// version finds out which IP begins at R7.
func (p *shuntProgram) version(c *code, in layer) {
	c.at("version" + string(in))
	c.load(p.xdp, r7, 0, fpHead, 1, "pass")
	c.add(
		get(r1, fp, fpHead, byte1), asm.RSh.Imm(r1, 4), asm.JEq.Imm(r1, 4, "ip4"+string(in)), asm.JEq.Imm(r1, 6, "ip6"+string(in)),
		asm.Ja.Label("pass"),
	)
}

// ip4 reads an IPv4 header at R7. It leaves the length by the header, the place of the TCP header and that header, the key,
// and in R8 the side. What is a fragment, has options or a wrong checksum is not looked at further. What may be a tunnel
// goes on at outer.
func (p *shuntProgram) ip4(c *code, in layer) {
	l := func(name string) string { return name + string(in) }
	c.at(l("ip4"))
	c.load(p.xdp, r7, 0, fpHead, 20, "pass")
	c.add(
		get(r1, fp, fpHead, byte1), asm.JNE.Imm(r1, 0x45, "pass"),
		get(r1, fp, fpHead+6, half), swap(r1, half), asm.And.Imm(r1, 0x3fff), asm.JNE.Imm(r1, 0, "pass"),
		get(r8, fp, fpHead+9, byte1), asm.JEq.Imm(r8, ProtoTCP, l("sum4")),
	)
	if in == bare {
		c.add(asm.JEq.Imm(r8, ProtoUDP, "sum4"), asm.JEq.Imm(r8, protoGRE, "sum4"))
	}
	c.add(asm.Ja.Label("pass"))
	c.at(l("sum4"))
	c.add(asm.Mov.Imm(r2, 0))
	for i := int16(0); i < 20; i += 4 {
		c.add(get(r1, fp, fpHead+i, word), asm.Add.Reg(r2, r1))
	}
	for _, bits := range []int32{32, 16, 16} {
		c.add(asm.Mov.Reg(r1, r2), asm.RSh.Imm(r1, bits))
		if bits == 32 {
			c.add(asm.Mov.Reg32(r2, r2))
		} else {
			c.add(asm.And.Imm(r2, 0xffff))
		}
		c.add(asm.Add.Reg(r2, r1))
	}
	c.add(asm.Mov.Reg(r1, r2), asm.RSh.Imm(r1, 16), asm.And.Imm(r2, 0xffff), asm.Add.Reg(r2, r1))
	// Of a packet that the card was still to cut up the length is 0 where 16 bits do not hold it, and so is the checksum.
	big := "pass"
	if in == bare {
		big = "big4"
	}
	c.add(
		get(r1, fp, fpHead+2, half), swap(r1, half), asm.JEq.Imm(r1, 0, big),
		asm.JNE.Imm(r2, 0xffff, "pass"), asm.Ja.Label(l("len4")),
	)
	if in == bare {
		c.at("big4")
		c.add(asm.JNE.Imm(r8, ProtoTCP, "pass"), get(r1, fp, fpLen, dword), asm.Sub.Reg(r1, r7))
	}
	c.at(l("len4"))
	c.add(
		asm.StoreMem(fp, fpIPLen, r1, dword), asm.Mov.Reg(r5, r7), asm.Add.Imm(r5, 20), asm.StoreMem(fp, fpL4, r5, dword),
	)
	if in == bare {
		c.add(asm.JEq.Imm(r8, ProtoTCP, "tcp4"))
		c.add(
			asm.Mov.Imm(r0, 0), asm.StoreMem(fp, fpOuter+8, r0, dword), asm.StoreMem(fp, fpOuter+24, r0, dword),
			get(r2, fp, fpHead+12, word), asm.StoreMem(fp, fpOuter, r2, dword), get(r2, fp, fpHead+16, word), asm.StoreMem(fp, fpOuter+16, r2, dword),
			asm.Ja.Label("outer"),
		)
		c.at("tcp4")
	}
	c.load(p.xdp, r5, 0, fpTCP, 20, "pass")
	high, low := l("high4"), l("low4")
	c.add(
		asm.Mov.Imm(r0, 0), asm.StoreMem(fp, fpKey+8, r0, dword), asm.StoreMem(fp, fpKey+16, r0, dword), asm.StoreMem(fp, fpKey+24, r0, dword),
		asm.StoreImm(fp, fpKey+4, 0, word), asm.StoreImm(fp, fpKey+36, ProtoTCP, word),
		get(r1, fp, fpHead+12, word), get(r2, fp, fpHead+16, word), get(r3, fp, fpTCP, half), get(r4, fp, fpTCP+2, half),
		asm.Mov.Reg(r0, r1), swap(r0, word), asm.Mov.Reg(r5, r2), swap(r5, word),
		asm.JGT.Reg(r0, r5, high), asm.JLT.Reg(r0, r5, low),
		asm.Mov.Reg(r0, r3), swap(r0, half), asm.Mov.Reg(r5, r4), swap(r5, half), asm.JGT.Reg(r0, r5, high),
	)
	c.at(low)
	c.add(
		asm.StoreMem(fp, fpKey, r1, word), asm.StoreMem(fp, fpKey+16, r2, word),
		asm.StoreMem(fp, fpKey+32, r3, half), asm.StoreMem(fp, fpKey+34, r4, half), asm.Mov.Imm(r8, 0), asm.Ja.Label("keyed"),
	)
	c.at(high)
	c.add(
		asm.StoreMem(fp, fpKey, r2, word), asm.StoreMem(fp, fpKey+16, r1, word),
		asm.StoreMem(fp, fpKey+32, r4, half), asm.StoreMem(fp, fpKey+34, r3, half), asm.Mov.Imm(r8, 1), asm.Ja.Label("keyed"),
	)
}

// ip6 does the same for an IPv6 header with TCP, or what may be a tunnel, right behind it.
func (p *shuntProgram) ip6(c *code, in layer) {
	l := func(name string) string { return name + string(in) }
	c.at(l("ip6"))
	c.load(p.xdp, r7, 0, fpHead, 40, "pass")
	c.add(
		get(r1, fp, fpHead, byte1), asm.RSh.Imm(r1, 4), asm.JNE.Imm(r1, 6, "pass"),
		get(r8, fp, fpHead+6, byte1), asm.JEq.Imm(r8, ProtoTCP, l("size6")),
	)
	if in == bare {
		c.add(asm.JEq.Imm(r8, ProtoUDP, "size6"), asm.JEq.Imm(r8, protoGRE, "size6"))
	}
	c.add(asm.Ja.Label("pass"))
	c.at(l("size6"))
	big := "pass"
	if in == bare {
		big = "big6"
	} else { // by what follows a VXLAN header on any port only IPv4 is told: see plausibleIP
		c.add(get(r1, fp, fpOuter+38, byte1), asm.JEq.Imm(r1, viaVXLANShape, "pass"))
	}
	c.add(get(r1, fp, fpHead+4, half), swap(r1, half), asm.JEq.Imm(r1, 0, big), asm.Add.Imm(r1, 40), asm.Ja.Label(l("len6")))
	if in == bare {
		c.at("big6")
		c.add(asm.JNE.Imm(r8, ProtoTCP, "pass"), get(r1, fp, fpLen, dword), asm.Sub.Reg(r1, r7), asm.JLE.Imm(r1, 0xffff+40, "pass"))
	}
	c.at(l("len6"))
	c.add(
		asm.StoreMem(fp, fpIPLen, r1, dword), asm.Mov.Reg(r5, r7), asm.Add.Imm(r5, 40), asm.StoreMem(fp, fpL4, r5, dword),
	)
	if in == bare {
		c.add(asm.JEq.Imm(r8, ProtoTCP, "tcp6"))
		for i := int16(0); i < 32; i += 8 {
			c.add(get(r2, fp, fpHead+8+i, dword), asm.StoreMem(fp, fpOuter+i, r2, dword))
		}
		c.add(asm.Or.Imm(r8, 1<<8), asm.Ja.Label("outer"))
		c.at("tcp6")
	}
	c.load(p.xdp, r5, 0, fpTCP, 20, "pass")
	high, low := l("high6"), l("low6")
	c.add(
		asm.StoreImm(fp, fpKey+36, 1<<8|ProtoTCP, word),
		get(r1, fp, fpHead+8, dword), get(r2, fp, fpHead+24, dword),
		asm.Mov.Reg(r0, r1), swap(r0, dword), asm.Mov.Reg(r5, r2), swap(r5, dword),
		asm.JGT.Reg(r0, r5, high), asm.JLT.Reg(r0, r5, low),
		get(r0, fp, fpHead+16, dword), swap(r0, dword), get(r5, fp, fpHead+32, dword), swap(r5, dword),
		asm.JGT.Reg(r0, r5, high), asm.JLT.Reg(r0, r5, low),
		get(r0, fp, fpTCP, half), swap(r0, half), get(r5, fp, fpTCP+2, half), swap(r5, half), asm.JGT.Reg(r0, r5, high),
	)
	c.at(low)
	c.add(
		asm.StoreMem(fp, fpKey, r1, dword), get(r0, fp, fpHead+16, dword), asm.StoreMem(fp, fpKey+8, r0, dword),
		asm.StoreMem(fp, fpKey+16, r2, dword), get(r0, fp, fpHead+32, dword), asm.StoreMem(fp, fpKey+24, r0, dword),
		get(r3, fp, fpTCP, half), get(r4, fp, fpTCP+2, half),
		asm.StoreMem(fp, fpKey+32, r3, half), asm.StoreMem(fp, fpKey+34, r4, half), asm.Mov.Imm(r8, 0), asm.Ja.Label("keyed"),
	)
	c.at(high)
	c.add(
		asm.StoreMem(fp, fpKey, r2, dword), get(r0, fp, fpHead+32, dword), asm.StoreMem(fp, fpKey+8, r0, dword),
		asm.StoreMem(fp, fpKey+16, r1, dword), get(r0, fp, fpHead+16, dword), asm.StoreMem(fp, fpKey+24, r0, dword),
		get(r3, fp, fpTCP, half), get(r4, fp, fpTCP+2, half),
		asm.StoreMem(fp, fpKey+32, r4, half), asm.StoreMem(fp, fpKey+34, r3, half), asm.Mov.Imm(r8, 1), asm.Ja.Label("keyed"),
	)
}

// find looks the flow up. R9 is its slot then, R7 the sender's side of it and R8 the other.
func (p *shuntProgram) find(c *code) {
	c.at("keyed")
	c.add(
		asm.LoadMapPtr(r1, p.flows.FD()), asm.Mov.Reg(r2, fp), asm.Add.Imm(r2, fpKey), asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(r0, 0, "pass"), get(r1, r0, 0, word), asm.StoreMem(fp, fpSlot, r1, word),
		asm.LoadMapPtr(r1, p.slots.FD()), asm.Mov.Reg(r2, fp), asm.Add.Imm(r2, fpSlot), asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(r0, 0, "pass"), asm.Mov.Reg(r9, r0),
		get(r1, r9, slotState, word), asm.JNE.Imm(r1, 0, "pass"),
		asm.Mov.Reg(r7, r9), asm.JNE.Imm(r8, 0, "other"),
		asm.Add.Imm(r7, slotSide), asm.Mov.Reg(r8, r9), asm.Add.Imm(r8, slotSide+slotStride), asm.Ja.Label("sides"),
	)
	c.at("other")
	c.add(asm.Add.Imm(r7, slotSide+slotStride), asm.Mov.Reg(r8, r9), asm.Add.Imm(r8, slotSide))
	c.at("sides")
}

// out ends the shunting for a reason, unless the code that is added before jumps over it.
func (c *code) out(reason int32, after string) {
	c.add(asm.Mov.Imm(r1, reason), asm.Ja.Label("out"))
	c.at(after)
}

// tcp judges the segment and counts it. A step that finds it to be anything but the plain next one ends the shunting. What
// steps leave in R2, R3 and R4 holds until beginnings.
func (p *shuntProgram) tcp(c *code) {
	c.add(get(r1, fp, fpKey+36, byte1), asm.JEq.Imm(r1, ProtoUDP, "datagrams"))
	c.shape()
	c.tunnel()
	c.flags()
	c.order()
	c.allowance()
	c.window()
	c.acknowledgement()
	p.beginnings(c)
	p.count(c)
}

// shape is for packets that are all there, by their headers. It leaves the length of the payload in R2, and its place.
func (c *code) shape() {
	ok := c.fresh("ok")
	c.add(
		get(r2, fp, fpIPLen, dword), get(r3, fp, fpL4, dword), get(r4, fp, fpEnd, dword),
		get(r5, fp, fpTCP+12, byte1), asm.RSh.Imm(r5, 4), asm.LSh.Imm(r5, 2), // length of the TCP header
		get(r0, fp, fpKey+37, byte1), asm.Mov.Imm(r1, 20), asm.JEq.Imm(r0, 0, "hdr"), asm.Mov.Imm(r1, 40),
	)
	c.at("hdr") // R1: length of the IP header
	c.add(
		asm.Mov.Reg(r0, r3), asm.Sub.Reg(r0, r1), asm.Add.Reg(r0, r2), // end of the packet
		asm.JGT.Reg(r0, r4, "bent"), asm.JLT.Imm(r5, 20, "bent"),
		asm.Sub.Reg(r2, r1), asm.JSLT.Reg(r2, r5, "bent"), asm.Sub.Reg(r2, r5), // R2: payload
		asm.Add.Reg(r3, r5), asm.StoreMem(fp, fpData, r3, dword), asm.Ja.Label(ok),
	)
	c.at("bent")
	c.out(outMisshape, ok)
}

// tunnel is for packets that come through the same tunnel as those before.
func (c *code) tunnel() {
	ok, bad := c.fresh("ok"), c.fresh("bad")
	c.add(
		get(r0, fp, fpOuter+36, word), get(r1, r7, sideVia+36, word), asm.JNE.Reg(r0, r1, bad), asm.JEq.Imm(r0, 0, ok),
		get(r0, fp, fpOuter+32, word), get(r1, r7, sideVia+32, word), asm.JNE.Reg(r0, r1, bad),
	)
	for i := int16(0); i < 32; i += 8 {
		c.add(get(r0, fp, fpOuter+i, dword), get(r1, r7, sideVia+i, dword), asm.JNE.Reg(r0, r1, bad))
	}
	c.add(asm.Ja.Label(ok))
	c.at(bad)
	c.out(outTunnel, ok)
}

// flags is for ACK, perhaps PSH and what ECN has, and nothing else.
func (c *code) flags() {
	ok, bad := c.fresh("ok"), c.fresh("bad")
	c.add(
		get(r1, fp, fpTCP+13, byte1), asm.Mov.Reg(r3, r1), asm.And.Imm(r3, FlagFIN|FlagSYN|FlagRST|FlagURG), asm.JNE.Imm(r3, 0, bad),
		asm.And.Imm(r1, FlagACK), asm.JNE.Imm(r1, 0, ok),
	)
	c.at(bad)
	c.out(outFlags, ok)
}

// order is for the next segment. R3 is by how much it is not, as the first one need not be, and R4 its sequence number.
func (c *code) order() {
	ok, bad, first := c.fresh("ok"), c.fresh("bad"), c.fresh("first")
	c.add(
		get(r4, fp, fpTCP+4, word), swap(r4, word), get(r3, r7, sideNext, word),
		asm.Mov.Reg32(r1, r4), asm.Sub.Reg32(r1, r3), asm.Mov.Reg32(r3, r1),
		get(r0, r7, sideReady, word), asm.JEq.Imm(r0, 0, first), asm.JEq.Imm(r3, 0, ok),
	)
	c.at(bad)
	c.out(outOrder, first)
	c.add(asm.JGE.Imm(r3, inFlight, bad))
	c.at(ok)
}

// allowance is for no more payload than may pass. A side from which nothing may pass can acknowledge.
func (c *code) allowance() {
	ok, bad, pure := c.fresh("ok"), c.fresh("bad"), c.fresh("pure")
	c.add(
		get(r1, r7, sideLeft, dword), asm.Mov.Reg(r5, r3), asm.Add.Reg(r5, r2), // R5: what passes with it
		asm.JEq.Imm(r2, 0, pure), asm.JLE.Reg(r5, r1, ok),
	)
	c.at(bad)
	c.out(outLength, pure)
	c.add(asm.JGT.Reg(r3, r1, bad), get(r1, r7, sideBits, word), asm.And.Imm(r1, bitNoACK), asm.JNE.Imm(r1, 0, bad))
	c.at(ok)
}

// window is for what lies within the window of the receiver, and has a window of its own that is open and does not go back.
func (c *code) window() {
	ok, bad, own := c.fresh("ok"), c.fresh("bad"), c.fresh("own")
	c.add(
		get(r1, r7, sideBits, word), asm.And.Imm(r1, bitWindow), asm.JEq.Imm(r1, 0, own),
		get(r1, r8, sideReady, word), asm.JEq.Imm(r1, 0, own),
		get(r1, r8, sideRight, word), asm.Mov.Reg32(r0, r4), asm.Add.Reg32(r0, r2), asm.Sub.Reg32(r0, r1), asm.JSLE.Imm32(r0, 0, own),
	)
	c.at(bad)
	c.out(outWindow, own)
	c.add(
		get(r1, fp, fpTCP+14, half), swap(r1, half), asm.JEq.Imm(r1, 0, bad),
		get(r0, r7, sideUnit, word), asm.Mul.Reg32(r1, r0), get(r0, fp, fpTCP+8, word), swap(r0, word), asm.Add.Reg32(r1, r0),
		asm.StoreMem(fp, fpRight, r1, word),
		get(r0, r7, sideReady, word), asm.JEq.Imm(r0, 0, ok),
		get(r0, r7, sideRight, word), asm.Sub.Reg32(r0, r1), get(r1, r7, sideUnit, word), asm.JSGE.Reg32(r0, r1, bad),
	)
	c.at(ok)
}

// acknowledgement is for one that does not go back, of what was seen. It puts what is counted where the key was.
func (c *code) acknowledgement() {
	bad, peer, seen, acked := c.fresh("bad"), c.fresh("peer"), c.fresh("seen"), c.fresh("acked")
	c.add(
		get(r1, fp, fpTCP+8, word), swap(r1, word), get(r0, r7, sideAck, word),
		asm.StoreMem(fp, fpACK, r1, word),
		asm.Sub.Reg32(r1, r0), asm.Mov.Reg32(r0, r1), asm.JSGE.Imm32(r0, 0, peer), // R0: by how much it moves
	)
	c.at(bad)
	c.out(outACK, peer)
	c.add(
		get(r1, fp, fpACK, word), get(r5, r8, sideNext, word), asm.Sub.Reg32(r1, r5),
		get(r5, r8, sideReady, word), asm.JEq.Imm(r5, 0, seen),
		asm.JSGT.Imm32(r1, 0, bad), asm.Ja.Label(acked),
	)
	c.at(seen)
	c.add(asm.JSGT.Imm32(r1, inFlight, bad))
	c.at(acked)
	c.add(
		asm.StoreMem(fp, fpMoved, r0, dword), asm.StoreMem(fp, fpPayload, r2, dword), asm.StoreMem(fp, fpAhead, r3, dword),
	)
}

// beginnings delivers a segment that may be the beginning of a protocol. R2 is the length of the payload.
func (p *shuntProgram) beginnings(c *code) {
	no, yes, look, go1 := c.fresh("no"), c.fresh("yes"), c.fresh("look"), c.fresh("go")
	c.add(
		get(r1, r7, sideBits, word), asm.And.Imm(r1, bitWatch), asm.JEq.Imm(r1, 0, no),
		asm.JEq.Imm(r2, 0, no), asm.JGE.Imm(r2, 9, look),
	)
	c.at(yes)
	c.out(outBegins, look)
	c.add(get(r5, fp, fpData, dword))
	c.load(p.xdp, r5, 0, fpHead, 9, yes)
	c.add(
		// Nothing but zeros is the header of no frame of HTTP/2, though they begin like one.
		get(r1, fp, fpHead, dword), asm.JNE.Imm(r1, 0, go1), get(r1, fp, fpHead+8, byte1), asm.JEq.Imm(r1, 0, no),
	)
	c.at(go1)
	bit := func(base asm.Register, off int32, index asm.Register) { // tests bit index of the table at base+off: R0
		c.add(
			asm.Mov.Reg(r0, index), asm.RSh.Imm(r0, 3), asm.Add.Reg(r0, base), asm.Add.Imm(r0, off), get(r0, r0, 0, byte1),
			asm.Mov.Reg(r4, index), asm.And.Imm(r4, 7), asm.RSh.Reg(r0, r4), asm.And.Imm(r0, 1), asm.JEq.Imm(r0, 0, no),
		)
	}
	c.add(get(r1, fp, fpHead, half), swap(r1, half), asm.And.Imm(r1, 0xffff), asm.LoadMapValue(r5, p.begins.FD(), 0))
	bit(r5, beginPairs, r1)
	c.add(asm.Mov.Reg(r3, r5), asm.Add.Reg(r3, r1), asm.Add.Imm(r3, beginIDs), get(r3, r3, 0, byte1), asm.LSh.Imm(r3, 8))
	for i, off := range []int32{beginThird, beginFourth} {
		c.add(get(r1, fp, int16(fpHead+2+i), byte1), asm.Add.Reg(r1, r3), asm.And.Imm(r1, 0xffff))
		bit(r5, off, r1)
	}
	c.add(asm.Ja.Label(yes))
	c.at(no)
}

// count counts the segment. Counters are added to atomically, since two processors may receive packets of one side; what
// depends on the order of segments is right because another order would have ended it.
func (p *shuntProgram) count(c *code) {
	bare := c.fresh("bare")
	c.add(
		asm.FnKtimeGetNs.Call(), asm.StoreMem(r7, sideLast, r0, dword),
		get(r3, fp, fpAhead, dword),
		asm.Mov.Imm(r1, 1), asm.AddAtomic.Mem(r7, r1, dword, sidePackets),
		get(r1, fp, fpIPLen, dword), asm.AddAtomic.Mem(r7, r1, dword, sideBytes),
	)
	p.wire(c)
	c.add(
		asm.AddAtomic.Mem(r7, r1, dword, sideWire), get(r2, fp, fpPayload, dword),
		get(r1, fp, fpRight, word), asm.StoreMem(r7, sideRight, r1, word),
		get(r1, fp, fpOuter+36, word), asm.JEq.Imm(r1, 0, bare), get(r1, fp, fpAround, dword), asm.AddAtomic.Mem(r7, r1, dword, sideOuter),
	)
	c.at(bare)
	c.add(
		get(r4, fp, fpTCP+4, word), swap(r4, word),
	)
	counted, moved, kept, still := c.fresh("counted"), c.fresh("moved"), c.fresh("kept"), c.fresh("still")
	c.add(
		get(r0, r7, sideReady, word), asm.JNE.Imm(r0, 0, counted),
		asm.StoreMem(r7, sideFirst, r4, word), get(r1, fp, fpACK, word), asm.StoreMem(r7, sideAck, r1, word),
		get(r1, r7, sideLeft, dword), asm.Sub.Reg(r1, r3), asm.StoreMem(r7, sideLeft, r1, dword),
		asm.StoreMem(r7, sideNext, r4, word),
		asm.Mov.Imm(r1, 1), asm.StoreMem(r7, sideReady, r1, word), asm.Ja.Label(kept),
	)
	c.at(counted)
	c.add(get(r0, fp, fpMoved, dword), asm.JNE.Imm(r0, 0, moved), asm.Ja.Label(kept))
	c.at(moved)
	c.add(
		asm.AddAtomic.Mem(r7, r0, dword, sideAcked), asm.Mov.Imm(r1, 1), asm.AddAtomic.Mem(r7, r1, word, sideAcks),
		get(r1, fp, fpACK, word), asm.StoreMem(r7, sideAck, r1, word),
	)
	c.at(kept)
	c.add(
		asm.JEq.Imm(r2, 0, still),
		get(r1, r7, sideLeft, dword), asm.Sub.Reg(r1, r2), asm.StoreMem(r7, sideLeft, r1, dword),
		asm.Mov.Imm(r1, 0), asm.StoreMem(r8, sideRun, r1, dword), asm.AddAtomic.Mem(r7, r2, dword, sideRun),
		asm.Add.Reg32(r4, r2), asm.StoreMem(r7, sideNext, r4, word), asm.AddAtomic.Mem(r7, r2, dword, sidePayload),
	)
	c.at(still)
	c.add(asm.Ja.Label("drop"))
}

// wire leaves the length of the frame in R1, with the tag that the card took off.
func (p *shuntProgram) wire(c *code) {
	c.add(get(r1, fp, fpLen, dword))
	if !p.xdp && p.link == linkEthernet {
		c.add(get(r2, r6, skbTagged, word), asm.LSh.Imm(r2, 2), asm.Add.Reg(r1, r2))
	}
}

// classic translates the user's filter. A is R7, X is R8. As in classic BPF a load beyond the frame ends the program, and
// the frame does not match. tagged says that a frame whose tag stands beside it is not judged here: see kernelFilter.
func (c *code) classic(list []bpf.RawInstruction, tagged bool) error {
	if tagged {
		c.add(get(r1, r6, skbTagged, word), asm.JNE.Imm(r1, 0, "pass"))
	}
	c.add(asm.Mov.Imm(r7, 0), asm.Mov.Imm(r8, 0), asm.Mov.Imm(r0, 0))
	for i := int32(fpMem); i < fpMem+4*maxFilterWords; i += 8 {
		c.add(asm.StoreMem(fp, int16(i), r0, dword))
	}
	label := func(i int) string { return fmt.Sprintf("classic_%d", i) }
	sizes := map[uint16]asm.Size{opLdW: word, opLdH: half, opLdB: byte1, opLdIndW: word, opLdIndH: half, opLdIndB: byte1}
	ops := map[uint16]asm.ALUOp{
		opAdd: asm.Add, opSub: asm.Sub, opMul: asm.Mul, opDiv: asm.Div, opOr: asm.Or, opAnd: asm.And, opLsh: asm.LSh, opRsh: asm.RSh,
		opMod: asm.Mod, opXor: asm.Xor,
	}
	jumps := map[uint16]asm.JumpOp{opJeq: asm.JEq, opJgt: asm.JGT, opJge: asm.JGE, opJset: asm.JSet}
	for i, in := range list {
		c.at(label(i))
		k := int32(in.K)
		switch in.Op {
		case opLdImm:
			c.add(asm.Mov.Imm32(r7, k))
		case opLdLen:
			c.add(get(r7, r6, skbLen, word))
		case opLdMem:
			c.add(get(r7, fp, int16(fpMem+4*int(in.K%maxFilterWords)), word))
		case opSt:
			c.add(asm.StoreMem(fp, int16(fpMem+4*int(in.K%maxFilterWords)), r7, word))
		case opTax:
			c.add(asm.Mov.Reg32(r8, r7))
		case opLdW, opLdH, opLdB:
			if k < 0 {
				return fmt.Errorf("capture: a filter that reads at %d", k)
			}
			c.add(asm.LoadAbs(k, sizes[in.Op]), asm.Mov.Reg32(r7, r0))
		case opLdIndW, opLdIndH, opLdIndB:
			// What is added up beyond 2 GB would be taken for one of the kernel's own places.
			c.add(asm.Mov.Reg(r1, r8), asm.Add.Imm(r1, k), asm.JSGT.Imm(r1, 1<<30, "reject"), asm.JSLT.Imm(r1, 0, "reject"))
			c.add(asm.LoadInd(r0, r8, k, sizes[in.Op]), asm.Mov.Reg32(r7, r0))
		case opLdxMsh:
			c.add(asm.LoadAbs(k, byte1), asm.And.Imm32(r0, 0xf), asm.LSh.Imm32(r0, 2), asm.Mov.Reg32(r8, r0))
		case opJa:
			c.add(asm.Ja.Label(label(i + 1 + int(in.K))))
		case opRet:
			if in.K == 0 {
				c.add(asm.Ja.Label("reject"))
			} else {
				c.add(asm.Ja.Label("passed"))
			}
		default:
			if j, ok := jumps[in.Op&^opX]; ok {
				if in.Op&opX != 0 {
					c.add(j.Reg32(r7, r8, label(i+1+int(in.Jt))))
				} else {
					c.add(j.Imm32(r7, k, label(i+1+int(in.Jt))))
				}
				if in.Jf != 0 {
					c.add(asm.Ja.Label(label(i + 1 + int(in.Jf))))
				}
				continue
			}
			op, ok := ops[in.Op&^opX]
			if !ok {
				return fmt.Errorf("capture: a filter with the instruction %#x", in.Op)
			}
			if in.Op&opX == 0 {
				if (op == asm.LSh || op == asm.RSh) && in.K > 31 {
					c.add(asm.Mov.Imm32(r7, 0))
				} else {
					c.add(op.Imm32(r7, k))
				}
				continue
			}
			switch op {
			case asm.Div, asm.Mod:
				c.add(asm.JEq.Imm(r8, 0, "reject"), op.Reg32(r7, r8))
			case asm.LSh, asm.RSh: // by 32 and more is 0, unlike in the machine
				small, done := c.fresh("small"), c.fresh("shifted")
				c.add(asm.JLT.Imm(r8, 32, small), asm.Mov.Imm32(r7, 0), asm.Ja.Label(done))
				c.at(small)
				c.add(op.Reg32(r7, r8))
				c.at(done)
			default:
				c.add(op.Reg32(r7, r8))
			}
		}
	}
	c.at("reject")
	c.add(asm.Mov.Imm(r0, 0), asm.Return())
	return nil
}

// table writes the beginnings as the program reads them.
func (t *Beginnings) table() []byte {
	b := make([]byte, beginSize)
	for id, k := range t.pairs {
		b[beginPairs+int(k)>>3] |= 1 << (k & 7)
		b[beginIDs+int(k)] = byte(id)
		for c := range 256 {
			for i, off := range []int{beginThird, beginFourth} {
				if t.after[k][i][c] {
					b[off+id*32+c>>3] |= 1 << (c & 7)
				}
			}
		}
	}
	return b
}
