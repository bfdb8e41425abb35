package capture

import "github.com/cilium/ebpf/asm"

// What the program makes of a tunnel: exactly what the dissector makes of it (udpTunnel, gre), or nothing, so that the packet
// is delivered. It looks through one. What is in it must be plain again, so a tunnel in a tunnel is delivered.
//
// A checksum of the outer UDP header is verified no more than that of TCP: it takes the whole payload.

// outer goes into a packet of UDP or GRE. R7 is where its IP header is and R8 the protocol and version; the addresses are in
// their place, and how long it is.
func (p *shuntProgram) outer(c *code) {
	c.at("outer")
	c.add(
		get(r1, fp, fpIPLen, dword), asm.StoreMem(fp, fpAround, r1, dword), asm.Add.Reg(r1, r7),
		get(r2, fp, fpEnd, dword), asm.JGT.Reg(r1, r2, "pass"), asm.StoreMem(fp, fpEnd, r1, dword),
		get(r7, fp, fpL4, dword), asm.StoreImm(fp, fpOuter+32, 0, word),
		asm.Mov.Reg(r1, r8), asm.And.Imm(r1, 0xff), asm.JEq.Imm(r1, protoGRE, "gre"),
	)
	p.udp(c)
	p.datagram(c)
	p.gre(c)
}

// entered says which kind the tunnel is of.
func entered(c *code, kind int32) {
	// The bytes are protocol, version, kind and 0.
	c.add(
		asm.StoreMem(fp, fpOuter+36, r8, byte1), asm.RSh.Imm(r8, 8), asm.StoreMem(fp, fpOuter+37, r8, byte1),
		asm.StoreImm(fp, fpOuter+38, int64(kind), byte1), asm.StoreImm(fp, fpOuter+39, 0, byte1),
	)
}

// udp goes into VXLAN and Geneve. See viaKind.
func (p *shuntProgram) udp(c *code) {
	c.load(p.xdp, r7, 0, fpHead, 16, "pass")
	c.add(
		get(r1, fp, fpHead, word), asm.StoreMem(fp, fpOuter+32, r1, word),
		// A length that is not the packet's is an oddity to be told.
		get(r1, fp, fpHead+4, half), swap(r1, half), asm.Add.Reg(r1, r7), get(r2, fp, fpEnd, dword), asm.JNE.Reg(r1, r2, "pass"),
		asm.Add.Imm(r7, 16),
		get(r1, fp, fpHead+2, half), swap(r1, half), get(r2, fp, fpHead+8, byte1),
		asm.JEq.Imm(r1, portVXLAN, "vxlan"), asm.JEq.Imm(r1, portGeneve, "geneve"),
		// Elsewhere every bit must be as it is by default.
		get(r4, fp, fpHead+8, word), swap(r4, word), get(r5, fp, fpHead+15, byte1), // R4, R5: of the header
		asm.JNE.Imm(r1, portVXLANLinux, "any"), asm.JNE.Imm(r4, 0x08000000, "pass"), asm.JEq.Imm(r5, 0, "vxlan_known"), asm.Ja.Label("pass"),
	)
	c.at("any")
	c.add(get(r2, fp, fpHead, half), swap(r2, half))
	for _, port := range tunnelPorts {
		c.add(asm.JEq.Imm(r1, int32(port), "pass"), asm.JEq.Imm(r2, int32(port), "pass"))
	}
	c.add(
		asm.JNE.Imm(r4, 0x08000000, "datagram"), asm.JNE.Imm(r5, 0, "datagram"),
		asm.Mov.Reg(r3, r8), asm.RSh.Imm(r3, 8), asm.JNE.Imm(r3, 0, "pass"),
	)
	entered(c, viaVXLANShape)
	c.add(asm.Ja.Label("ether_in"))
	c.at("vxlan")
	c.add(asm.And.Imm(r2, 0x0c), asm.JNE.Imm(r2, 0x08, "pass"))
	c.at("vxlan_known")
	entered(c, viaVXLAN)
	c.add(asm.Ja.Label("ether_in"))
	c.at("geneve")
	c.add(asm.JGE.Imm(r2, 0x40, "pass"), asm.LSh.Imm(r2, 2), asm.Add.Reg(r7, r2)) // version 0, and options
	entered(c, viaGeneve)
	c.add(
		get(r1, fp, fpHead+10, half), swap(r1, half), asm.JEq.Imm(r1, etherTEB, "ether_in"),
		asm.JEq.Imm(r1, etherIPv4, "version_in"), asm.JEq.Imm(r1, etherIPv6, "version_in"), asm.Ja.Label("pass"),
	)
}

// gre goes into GRE without anything but a key and a sequence number, and into ERSPAN. See parseGRE.
func (p *shuntProgram) gre(c *code) {
	const key, sequence = 0x2000, 0x1000
	c.at("gre")
	c.load(p.xdp, r7, 0, fpHead, 4, "pass")
	entered(c, viaGRE)
	c.add(
		asm.Add.Imm(r7, 4),
		get(r1, fp, fpHead, half), swap(r1, half), get(r2, fp, fpHead+2, half), swap(r2, half),
		asm.Mov.Reg(r3, r1), asm.And.Imm(r3, 0xffff&^(key|sequence)), asm.JNE.Imm(r3, 0, "pass"),
		asm.Mov.Reg(r3, r1), asm.And.Imm(r3, key), asm.JEq.Imm(r3, 0, "keyless"), asm.Add.Imm(r7, 4),
	)
	c.at("keyless")
	c.add(asm.And.Imm(r1, sequence), asm.JEq.Imm(r1, 0, "unordered"), asm.Add.Imm(r7, 4))
	c.at("unordered")
	c.add(
		asm.JEq.Imm(r2, etherTEB, "ether_in"), asm.JEq.Imm(r2, etherIPv4, "version_in"), asm.JEq.Imm(r2, etherIPv6, "version_in"),
		asm.JEq.Imm(r2, etherERSPAN3, "erspan3"), asm.JNE.Imm(r2, etherERSPAN, "pass"),
		asm.JEq.Imm(r1, 0, "ether_in"), asm.Add.Imm(r7, 8), asm.Ja.Label("ether_in"), // type I has no header
	)
	c.at("erspan3")
	c.load(p.xdp, r7, 10, fpHead, 2, "pass")
	c.add(
		asm.Add.Imm(r7, 12), get(r1, fp, fpHead+1, byte1), asm.And.Imm(r1, 1), asm.LSh.Imm(r1, 3), asm.Add.Reg(r7, r1),
		get(r1, fp, fpHead, byte1), asm.RSh.Imm(r1, 2), asm.And.Imm(r1, 0x1f), asm.JEq.Imm(r1, 2, "version_in"), asm.Ja.Label("ether_in"),
	)
}
