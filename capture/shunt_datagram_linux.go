package capture

import "github.com/cilium/ebpf/asm"

// datagram goes on with a packet of UDP that is no tunnel by its ports. Its header is there with eight bytes of what follows,
// behind which R7 is; R8 is protocol and version. What looksTunneled would look at is delivered, and a little more.
func (p *shuntProgram) datagram(c *code) {
	c.at("datagram")
	c.add(
		get(r3, fp, fpEnd, dword), asm.Sub.Reg(r3, r7), asm.Add.Imm(r3, 8), asm.JSLT.Imm(r3, 1, "pass"), // R3: payload
		get(r1, fp, fpHead+6, half), asm.JNE.Imm(r1, 0, "summed"), // over IPv6 there must be a checksum
		asm.Mov.Reg(r2, r8), asm.RSh.Imm(r2, 8), asm.JNE.Imm(r2, 0, "pass"),
	)
	c.at("summed")
	const first = fpHead + 8
	c.add(
		asm.JLT.Imm(r3, 4+20, "untunneled"),
		get(r1, fp, first, byte1), get(r2, fp, first+1, byte1),
		asm.JNE.Imm(r2, 0x52, "no_ayiya"), get(r4, fp, first+2, byte1), asm.JEq.Imm(r4, 0x11, "pass"),
	)
	c.at("no_ayiya")
	c.add(
		asm.Mov.Reg(r0, r1), asm.RSh.Imm(r0, 4), asm.JEq.Imm(r0, 4, "like4"), asm.JEq.Imm(r0, 6, "like6"),
		get(r4, fp, first+7, byte1), asm.JNE.Imm(r4, 0, "no_vxlan"),
		asm.JEq.Imm(r1, 0x08, "pass"), asm.JEq.Imm(r1, 0x0c, "pass"), asm.JEq.Imm(r1, 0x88, "pass"),
	)
	c.at("no_vxlan")
	c.add(
		asm.JNE.Imm(r1, 0, "no_teredo"), asm.JLE.Imm(r2, 1, "pass"),
	)
	c.at("no_teredo")
	c.add(
		asm.JGE.Imm(r1, 0x20, "no_gue"), asm.JEq.Imm(r2, protoIPv4, "pass"), asm.JEq.Imm(r2, protoIPv6, "pass"), asm.JEq.Imm(r2, protoGRE, "pass"),
	)
	c.at("no_gue")
	c.add(
		asm.JNE.Imm(r2, 0, "untunneled"), asm.And.Imm(r1, 0xff&^0xb0), asm.JEq.Imm(r1, 0, "pass"), asm.Ja.Label("untunneled"),
	)
	c.at("like4")
	c.add(get(r1, fp, first+2, half), swap(r1, half), asm.JEq.Reg(r1, r3, "pass"), asm.Ja.Label("untunneled"))
	c.at("like6")
	c.add(
		get(r1, fp, first+4, half), swap(r1, half), asm.JEq.Imm(r1, 0, "pass"), asm.Add.Imm(r1, 40), asm.JEq.Reg(r1, r3, "pass"),
	)
	c.at("untunneled")
	for i := int16(0); i < 16; i += 8 {
		c.add(
			get(r0, fp, fpOuter+i, dword), swap(r0, dword), get(r5, fp, fpOuter+16+i, dword), swap(r5, dword),
			asm.JGT.Reg(r0, r5, "high17"), asm.JLT.Reg(r0, r5, "low17"),
		)
	}
	c.add(
		get(r0, fp, fpOuter+32, half), swap(r0, half), get(r5, fp, fpOuter+34, half), swap(r5, half), asm.JGT.Reg(r0, r5, "high17"),
	)
	for side, l := range []string{"low17", "high17"} {
		lo, hi := int16(fpOuter+16*side), int16(fpOuter+16-16*side)
		c.at(l)
		for i := int16(0); i < 16; i += 8 {
			c.add(get(r0, fp, lo+i, dword), asm.StoreMem(fp, fpKey+i, r0, dword), get(r0, fp, hi+i, dword), asm.StoreMem(fp, fpKey+16+i, r0, dword))
		}
		c.add(
			get(r0, fp, int16(fpOuter+32+2*side), half), asm.StoreMem(fp, fpKey+32, r0, half),
			get(r0, fp, int16(fpOuter+34-2*side), half), asm.StoreMem(fp, fpKey+34, r0, half),
			asm.StoreMem(fp, fpKey+36, r8, word), asm.Mov.Imm(r8, int32(side)), asm.Ja.Label("keyed"),
		)
	}
}

// datagrams counts one of a side that is known to send some.
func (p *shuntProgram) datagrams(c *code) {
	c.at("datagrams")
	c.add(
		get(r1, r7, sideLeft, dword), asm.JEq.Imm(r1, 0, "pass"),
		asm.FnKtimeGetNs.Call(), asm.StoreMem(r7, sideLast, r0, dword),
		asm.Mov.Imm(r1, 1), asm.AddAtomic.Mem(r7, r1, dword, sidePackets),
		get(r1, fp, fpIPLen, dword), asm.AddAtomic.Mem(r7, r1, dword, sideBytes),
		get(r1, fp, fpHead+4, half), swap(r1, half), asm.Sub.Imm(r1, 8), asm.AddAtomic.Mem(r7, r1, dword, sidePayload),
	)
	p.wire(c)
	c.add(asm.AddAtomic.Mem(r7, r1, dword, sideWire), asm.Ja.Label("drop"))
}
