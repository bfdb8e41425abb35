package capture

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// Builders of frames. Checksums of IPv4 and transport headers are right unless a test breaks them.

// hx reads bytes written in hex, spaces allowed.
func hx(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

func u16(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }

// mkEth is an Ethernet header with a type, and what follows.
func mkEth(t int, b ...[]byte) []byte {
	return join(hx("020000000002 020000000001"), u16(t), join(b...))
}

// fixSum writes the Internet checksum of b, and of the pseudo header before it, to its place.
func fixSum(b []byte, at int, pseudo []byte) {
	b[at], b[at+1] = 0, 0
	binary.BigEndian.PutUint16(b[at:], ^naiveSum(join(pseudo, b)))
}

// naiveSum is the Internet checksum as RFC 1071 section 1 words it: 16-bit words, big-endian, carries brought round.
func naiveSum(b []byte) uint16 {
	var s uint32
	for i, x := range b {
		if i%2 == 0 {
			s += uint32(x) << 8
		} else {
			s += uint32(x)
		}
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

var (
	addrA4, addrB4 = hx("0a000001"), hx("0a000002") // 10.0.0.1, 10.0.0.2
	addrA6, addrB6 = hx("20010db8000000000000000000000001"), hx("20010db8000000000000000000000002")
)

// l4sum puts the transport checksum right.
func l4sum(proto int, src, dst, b []byte) []byte {
	b = slices.Clone(b)
	pseudo := join(src, dst, u16(len(b)>>16), u16(len(b)), hx("0000 00"), []byte{byte(proto)})
	switch {
	case proto == ProtoTCP && len(b) >= 20:
		fixSum(b, 16, pseudo)
	case proto == ProtoUDP && len(b) >= 8:
		fixSum(b, 6, pseudo)
	case proto == ProtoICMPv6 && len(b) >= 4:
		fixSum(b, 2, pseudo)
	case proto == ProtoICMP && len(b) >= 4:
		fixSum(b, 2, nil)
	}
	return b
}

func mkIP4(proto int, l4 ...[]byte) []byte {
	b := l4sum(proto, addrA4, addrB4, join(l4...))
	h := join(hx("45 00"), u16(20+len(b)), hx("1234 0000 40"), []byte{byte(proto)}, hx("0000"), addrA4, addrB4)
	fixSum(h, 10, nil)
	return join(h, b)
}

// mkFrag4 is an IPv4 fragment; off counts bytes.
func mkFrag4(id, off int, more bool, proto int, b []byte) []byte {
	f := off / 8
	if more {
		f |= 0x2000
	}
	h := join(hx("45 00"), u16(20+len(b)), u16(id), u16(f), hx("40"), []byte{byte(proto)}, hx("0000"), addrA4, addrB4)
	fixSum(h, 10, nil)
	return join(h, b)
}

// mkIP6 is an IPv6 packet whose extension headers, if any, stand in ext; next is the type of the first header, proto
// that of l4.
func mkIP6(next int, ext []byte, proto int, l4 ...[]byte) []byte {
	b := l4sum(proto, addrA6, addrB6, join(l4...))
	return join(hx("60000000"), u16(len(ext)+len(b)), []byte{byte(next), 64}, addrA6, addrB6, ext, b)
}

func mkUDP(sport, dport int, b ...[]byte) []byte {
	p := join(b...)
	return join(u16(sport), u16(dport), u16(8+len(p)), hx("0000"), p)
}

func mkTCP(sport, dport int, b ...[]byte) []byte {
	return join(u16(sport), u16(dport), hx("00000001 00000002 50 18 ffff 0000 0000"), join(b...))
}

// plain packets for the inside of everything.
func tcp4() []byte { return mkIP4(6, mkTCP(1000, 80, []byte("GET"))) }
func tcp6() []byte { return mkIP6(6, nil, 6, mkTCP(1000, 80, []byte("GET"))) }

const (
	saysTCP4 = "10.0.0.1:1000>10.0.0.2:80/6 GET"
	saysTCP6 = "[2001:db8::1]:1000>[2001:db8::2]:80/6 GET"
)

// rig is a Dissector with what it said.
type rig struct {
	*Dissector
	weirds []string
	n      uint64
	at     Time
}

func newRig(cfg DissectConfig) *rig {
	r := &rig{at: 1e9}
	cfg.Weird = func(w Weird) { r.weirds = append(r.weirds, w.Name) }
	r.Dissector = NewDissector(cfg)
	return r
}

func (r *rig) frame(link uint16, b []byte) []Packet {
	r.n++
	return r.Dissect(&Frame{Time: r.at, Ordinal: r.n, Data: b, WireLen: len(b), Link: link}, nil)
}

// says describes a packet, its tunnels outermost first.
func says(p *Packet) string {
	s := fmt.Sprintf("%v>%v/%d", netip.AddrPortFrom(p.SrcAddr(), p.SrcPort), netip.AddrPortFrom(p.DstAddr(), p.DstPort), p.Proto)
	if p.OneWay {
		s += "!"
	}
	if b := p.Payload(); len(b) > 0 && len(b) < 24 {
		s += " " + strings.ToValidUTF8(string(b), "?")
	}
	var in string
	for t := p.Tunnel; t != nil; t = t.Outer {
		in = " in " + t.Kind + in
	}
	return s + in
}

func saysAll(ps []Packet) []string {
	var out []string
	for i := range ps {
		out = append(out, says(&ps[i]))
	}
	return out
}

type dissectCase struct {
	name   string
	link   uint16
	frame  []byte
	want   []string // packets
	weirds []string
}

func runDissect(t *testing.T, cases []dissectCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(DissectConfig{})
			got := r.frame(c.link, c.frame)
			if s := saysAll(got); !slices.Equal(s, c.want) {
				t.Errorf("packets %q, want %q", s, c.want)
			}
			if !slices.Equal(r.weirds, c.weirds) {
				t.Errorf("weirds %q, want %q", r.weirds, c.weirds)
			}
			for i := range got {
				if !got[i].ChecksumOK() {
					t.Errorf("packet %d: checksum is wrong", i)
				}
			}
		})
	}
}

// patched gives b with bytes at a place replaced.
func patched(b []byte, at int, with ...byte) []byte {
	b = slices.Clone(b)
	copy(b[at:], with)
	return b
}

func TestIPHeaders(t *testing.T) {
	withOptions := mkIP4(6, hx("0000000000000000"), mkTCP(1000, 80, []byte("GET")))
	withOptions[0] = 0x47 // two words of options in front of TCP
	fixSum(withOptions[:28], 10, nil)
	copy(withOptions[28:], l4sum(6, addrA4, addrB4, mkTCP(1000, 80, []byte("GET"))))
	offloaded := patched(tcp4(), 2, 0, 0)
	runDissect(t, []dissectCase{
		{"ipv4", 101, tcp4(), []string{saysTCP4}, nil},
		{"ipv4 with options", 101, withOptions, []string{saysTCP4}, nil},
		{"ethernet padding is not payload", 1, mkEth(0x800, tcp4(), make([]byte, 20)), []string{saysTCP4}, nil},
		{"ipv6 in ethernet with padding", 1, mkEth(0x86dd, tcp6(), make([]byte, 6)), []string{saysTCP6}, nil},
		{"type says ipv4, packet is ipv6", 1, mkEth(0x800, tcp6()), []string{saysTCP6}, nil},
		{"length 0 by segmentation offload", 101, offloaded, []string{saysTCP4}, []string{"ip_hdr_len_zero"}},
		{"version 5", 101, patched(tcp4(), 0, 0x55), nil, []string{"unknown_ip_version"}},
		{"header of 16 bytes", 101, patched(tcp4(), 0, 0x44), nil, []string{"IPv4_min_header_size"}},
		{"header longer than packet", 101, patched(tcp4()[:43], 0, 0x4f, 0, 0, 43), nil, []string{"invalid_IP_header_size"}},
		{"length beyond the wire", 101, patched(tcp4(), 2, 0x10), nil, []string{"truncated_IP_len"}},
		{"checksum", 101, patched(tcp4(), 8, 1), nil, []string{"bad_IP_checksum"}},
		{"19 bytes", 101, tcp4()[:19], nil, []string{"truncated_IP"}},
		{"ipv6 of 39 bytes", 101, tcp6()[:39], nil, []string{"truncated_IP"}},
		{"ipv6 length beyond the wire", 101, patched(tcp6(), 4, 1), nil, []string{"truncated_IP_len"}},
		{"sctp", 101, mkIP4(132, hx("03e8 0050 00000000 00000000"), []byte("INIT")), []string{"10.0.0.1:1000>10.0.0.2:80/132 INIT"}, nil},
		{"esp", 101, mkIP4(50, []byte("12345678")), []string{"10.0.0.1:0>10.0.0.2:0/50 12345678"}, nil},
		{"esp over ipv6", 101, mkIP6(50, nil, 50, []byte("12345678")), []string{"[2001:db8::1]:0>[2001:db8::2]:0/50 12345678"}, nil},
		{"tcp header of 12 bytes", 101, mkIP4(6, mkTCP(1, 2)[:12]), nil, []string{"truncated_header"}},
		{"udp header of 4 bytes", 101, mkIP4(17, mkUDP(1, 2)[:4]), nil, []string{"truncated_header"}},
		{"no transport header", 101, mkIP4(6), nil, []string{"internally_truncated_header"}},
		{"icmp echo request", 101, mkIP4(1, hx("08 00 0000 0001 0001"), []byte("ping")), []string{"10.0.0.1:8>10.0.0.2:0/1 ping"}, nil},
		{"icmp echo reply", 101, mkIP4(1, hx("00 00 0000 0001 0001"), []byte("ping")), []string{"10.0.0.1:0>10.0.0.2:8/1 ping"}, nil},
		{"icmp unreachable has a code", 101, mkIP4(1, hx("03 0a 0000 0000 0000")), []string{"10.0.0.1:3>10.0.0.2:10/1!"}, nil},
		{"icmpv6 neighbour solicitation", 101, mkIP6(58, nil, 58, hx("87 00 0000 0000 0000")), []string{"[2001:db8::1]:135>[2001:db8::2]:136/58"}, nil},
		{"icmpv6 too big", 101, mkIP6(58, nil, 58, hx("02 00 0000 0000 0500")), []string{"[2001:db8::1]:2>[2001:db8::2]:0/58!"}, nil},
	})
}

func TestIPv6ExtensionHeaders(t *testing.T) {
	l4 := func() []byte { return mkTCP(1000, 80, []byte("GET")) }
	pad6 := "01 04 00000000" // PadN of 6 bytes
	hop := hx("06 00" + pad6)
	final := hx("20010db80000000000000000000000ff")
	// The checksum of a source-routed packet is over its final destination.
	routed := func(kind byte) []byte {
		tcp := l4sum(6, addrA6, final, l4())
		ext := join([]byte{6, 2, kind, 1}, hx("00000000"), final)
		return join(hx("60000000"), u16(len(ext)+len(tcp)), []byte{43, 64}, addrA6, addrB6, ext, tcp)
	}
	home := func() []byte {
		tcp := l4sum(6, final, addrB6, l4())
		ext := join(hx("06 02 01 02 0000 c9 10"), final)
		return join(hx("60000000"), u16(len(ext)+len(tcp)), []byte{60, 64}, addrA6, addrB6, ext, tcp)
	}
	var many []byte
	for range 40 {
		many = append(many, hx("3c 00"+pad6)...)
	}
	jumbogram := func(n int) []byte {
		b := mkIP6(0, hx("06 00 c2 04 00000000"), 6, l4(), make([]byte, n))
		binary.BigEndian.PutUint32(b[44:], uint32(len(b)-40))
		b[4], b[5] = 0, 0
		return b
	}
	runDissect(t, []dissectCase{
		{"hop by hop", 101, mkIP6(0, hop, 6, l4()), []string{saysTCP6}, nil},
		{"three of them", 101, mkIP6(0, join(hx("3c 00"+pad6), hx("33 00"+pad6), hx("06 01 0000 00000001 00000001")), 6, l4()), []string{saysTCP6}, nil},
		{"routing type 0 names the destination", 101, routed(0), []string{"[2001:db8::1]:1000>[2001:db8::ff]:80/6 GET"}, []string{"routing0_hdr"}},
		{"routing type 2 names the destination", 101, routed(2), []string{"[2001:db8::1]:1000>[2001:db8::ff]:80/6 GET"}, nil},
		{"segment routing leaves the checksum alone", 101, routed(4), []string{saysTCP6}, []string{"unknown_routing_type"}},
		{"home address is the source", 101, home(), []string{"[2001:db8::ff]:1000>[2001:db8::2]:80/6 GET"}, nil},
		{"option beyond its header", 101, mkIP6(60, hx("06 00 c9 10 00000000"), 6, l4()), []string{saysTCP6}, []string{"bad_ipv6_dest_opt_len"}},
		{"header beyond the packet", 101, mkIP6(0, hx("06 ff"+pad6), 0), []string{"[2001:db8::1]:0>[2001:db8::2]:0/0 \x06?\x01\x04\x00\x00\x00\x00"}, nil},
		{"header beyond the length, in the padding", 1, mkEth(0x86dd, mkIP6(0, hx("06 01"+pad6), 0), make([]byte, 8)), nil, []string{"invalid_IP_header_size"}},
		{"too many", 101, mkIP6(60, many, 6, l4()), []string{"[2001:db8::1]:0>[2001:db8::2]:0/60"}, []string{"exceeded_ipv6_extension_headers"}},
		{"no next header", 101, mkIP6(59, nil, 59), nil, []string{"ipv6_no_next"}},
		{"mobility", 101, mkIP6(135, nil, 135, hx("3b 00 00 00 0000 0000")), []string{"[2001:db8::1]:0>[2001:db8::2]:0/135 ;\x00\x00\x00\x00\x00\x00\x00"}, nil},
		{"jumbogram", 101, jumbogram(70000), []string{"[2001:db8::1]:1000>[2001:db8::2]:80/6"}, nil},
		{"jumbogram that would fit", 101, jumbogram(7), nil, []string{"invalid_IP_header_size"}},
	})
}

func TestSnapLengthLeavesLengthsToHeaders(t *testing.T) {
	b := mkEth(0x800, mkIP4(6, mkTCP(1000, 80, make([]byte, 1000))))
	for _, link := range []uint16{1, 101} {
		data := b
		if link == 101 {
			data = b[14:]
		}
		wire := len(data)
		d := NewDissector(DissectConfig{})
		got := d.Dissect(&Frame{Data: data[:100], WireLen: wire, Link: link}, nil)
		if len(got) != 1 {
			t.Fatalf("link %d: %d packets", link, len(got))
		}
		p := &got[0]
		if p.IPLen != 1040 || p.L4Len != 1020 || p.PayloadLen() != 1000 || len(p.L4) >= 100 || !p.NoChecksum || !p.ChecksumOK() {
			t.Errorf("link %d: %+v", link, p)
		}
		if d.Stats().CutShort != 1 {
			t.Errorf("stats %+v", d.Stats())
		}
	}
}

func TestTCPHeaderLengthIsAsClaimed(t *testing.T) {
	// The flow table must see what the header claims: Zeek has a row for such a flow and a weird in it.
	for _, c := range []struct {
		off  byte
		want int
	}{{0x40, 16}, {0xf0, 60}, {0x00, 0}} {
		tcp := patched(mkTCP(1000, 80, []byte("GET")), 12, c.off)
		got := newRig(DissectConfig{}).frame(101, mkIP4(6, tcp))
		if len(got) != 1 || got[0].HdrLen != c.want || got[0].L4Len != 23 || got[0].PayloadLen() < 0 {
			t.Errorf("offset %#x: %+v", c.off, got)
		}
	}
}

func TestTCPFields(t *testing.T) {
	got := newRig(DissectConfig{}).frame(101, mkIP4(6, hx("03e8 0050 01020304 05060708 80 13 1234 0000 0000"), hx("0103 0300 ffff ffff ffff ffff")))
	if len(got) != 1 {
		t.Fatal(got)
	}
	// The options are nonsense, which is no reason to lose the packet.
	p := got[0]
	if p.Seq != 0x01020304 || p.Ack != 0x05060708 || p.HdrLen != 32 || p.Flags != FlagACK|FlagFIN|FlagSYN || p.Window != 0x1234 ||
		p.Time != 1e9 || p.Ordinal != 1 || p.IPLen != 52 {
		t.Errorf("%+v", p)
	}
}

func TestIgnoreChecksums(t *testing.T) {
	r := newRig(DissectConfig{IgnoreChecksums: true})
	if got := saysAll(r.frame(101, patched(tcp4(), 8, 1))); !slices.Equal(got, []string{saysTCP4}) {
		t.Errorf("%q %q", got, r.weirds)
	}
}

// everyFrame is one frame of every link type, tag and tunnel that the tests know of.
func everyFrame() []dissectCase {
	return slices.Concat(linkCases(), tagCases(), tunnelCases())
}

// TestEveryHeaderCutEverywhere cuts every frame at every byte, at the end and by the snap length. What may come out is
// packets whose lengths agree with themselves.
func TestEveryHeaderCutEverywhere(t *testing.T) {
	for _, c := range everyFrame() {
		for n := range c.frame {
			for _, wire := range []int{n, len(c.frame)} {
				d := NewDissector(DissectConfig{Weird: func(Weird) {}})
				// The capacity ends with the data, so that reading on is a panic.
				checkPackets(t, d.Dissect(&Frame{Data: slices.Clip(slices.Clone(c.frame[:n])), WireLen: wire, Link: c.link}, nil))
			}
		}
	}
}

// checkPackets checks what the flow table relies on.
func checkPackets(t *testing.T, ps []Packet) {
	t.Helper()
	for i := range ps {
		p := &ps[i]
		if p.L4Len < len(p.L4) || p.IPLen < p.L4Len || p.HdrLen < 0 || p.PayloadLen() < len(p.Payload()) && p.HdrLen <= p.L4Len {
			t.Fatalf("lengths: IP %d L4 %d captured %d header %d", p.IPLen, p.L4Len, len(p.L4), p.HdrLen)
		}
		if len(p.L4) < p.L4Len && !p.NoChecksum {
			t.Fatal("a checksum is to be judged of a packet that is not all there")
		}
		p.ChecksumOK()
	}
}

func TestDissectAllocatesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"tcp", mkEth(0x800, tcp4())},
		{"udp", mkEth(0x800, mkIP4(17, mkUDP(1000, 2000, []byte("hello"))))},
		{"tcp over ipv6 in a vlan", mkEth(0x8100, hx("0001 86dd"), tcp6())},
		{"vxlan", mkEth(0x800, mkIP4(17, mkUDP(1000, 4789, hx("08000000 00000100"), mkEth(0x800, tcp4()))))},
		{"gre", mkEth(0x800, mkIP4(47, hx("0000 0800"), tcp4()))},
	} {
		d := NewDissector(DissectConfig{})
		f := Frame{Time: 1, Data: c.frame, WireLen: len(c.frame), Link: 1}
		out := d.Dissect(&f, make([]Packet, 0, 4))
		if len(out) == 0 {
			t.Fatal(c.name)
		}
		if n := testing.AllocsPerRun(100, func() { out = d.Dissect(&f, out[:0]) }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func BenchmarkDissect(b *testing.B) {
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"tcp", mkEth(0x800, mkIP4(6, mkTCP(1000, 80, make([]byte, 500))))},
		{"udp", mkEth(0x800, mkIP4(17, mkUDP(1000, 2000, bytes.Repeat([]byte("x"), 500))))},
		{"vlan-ipv6-tcp", mkEth(0x8100, hx("0001 86dd"), mkIP6(6, nil, 6, mkTCP(1000, 80, make([]byte, 500))))},
		{"vxlan", mkEth(0x800, mkIP4(17, mkUDP(1000, 4789, hx("08000000 00000100"), mkEth(0x800, tcp4()))))},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := NewDissector(DissectConfig{})
			f := Frame{Time: 1, Data: c.frame, WireLen: len(c.frame), Link: 1}
			var out []Packet
			b.ReportAllocs()
			for b.Loop() {
				out = d.Dissect(&f, out[:0])
			}
			if len(out) == 0 {
				b.Fatal("no packet")
			}
		})
	}
}

// TestICMPCounterparts: who answers is asked, or the two directions of a ping would be two flows.
func TestICMPCounterparts(t *testing.T) {
	for proto, want := range map[uint8][]uint8{
		ProtoICMP:   {0, 8, 9, 10, 13, 14, 15, 16, 17, 18},
		ProtoICMPv6: {128, 129, 130, 131, 133, 134, 135, 136, 139, 140, 144, 145},
	} {
		for i := range 256 {
			a := uint8(i)
			b, ok := icmpCounterpart(proto, a)
			if ok != slices.Contains(want, a) {
				t.Errorf("%d: type %d: %v", proto, a, ok)
			}
			if back, _ := icmpCounterpart(proto, b); ok && (back != a || a == b) {
				t.Errorf("%d: %d is answered by %d, which is answered by %d", proto, a, b, back)
			}
		}
	}
}

func TestRoutingAndHomeAddressesThatMakeNoSense(t *testing.T) {
	final := "20010db80000000000000000000000ff"
	for _, c := range []struct {
		name, ext string
		next      int
		weirds    []string
	}{
		{"odd length", "06 03 00 01 00000000" + final + "0000000000000000", 43, []string{"odd_routing0_len", "routing0_hdr"}},
		{"type 2 of two addresses", "06 04 02 01 00000000" + final + final, 43, []string{"bad_routing2_len"}},
		{"two of them", "2b 02 02 01 00000000" + final + "06 02 02 01 00000000" + final, 43, []string{"multiple_routing_headers"}},
		{"home address of 4 bytes", "06 00 c9 04 00000000", 60, []string{"bad_home_addr_len"}},
		{"two home addresses", "06 04 c9 10" + final + "c9 10" + final + "0000", 60, []string{"multiple_home_addr_opts"}},
	} {
		r := newRig(DissectConfig{})
		got := r.frame(101, mkIP6(c.next, hx(c.ext), 6, mkTCP(1000, 80)))
		if len(got) != 1 || got[0].DstPort != 80 || !slices.Equal(r.weirds, c.weirds) {
			t.Errorf("%s: %q %q", c.name, saysAll(got), r.weirds)
		}
	}
}
