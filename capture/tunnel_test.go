package capture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func tunnelCases() []dissectCase {
	in := func(kind string) []string { return []string{saysTCP4 + " in " + kind} }
	in6 := func(kind string) []string { return []string{saysTCP6 + " in " + kind} }
	udp := func(sport, dport int, payload ...[]byte) []byte { return mkIP4(17, mkUDP(sport, dport, payload...)) }
	outer := func(sport, dport int) string { return fmt.Sprintf("10.0.0.1:%d>10.0.0.2:%d/17", sport, dport) }
	eth := mkEth(0x800, tcp4())
	gtp := func(flags string, opt string, b []byte) []byte {
		o := hx(opt)
		return join(hx(flags+"ff"), u16(len(o)+len(b)), hx("00000001"), o, b)
	}
	teredo6 := func() []byte { // from a Teredo address, which is what tells it off its port
		b := slices.Clone(tcp6())
		copy(b[8:], hx("20010000"))
		copy(b[40:], l4sum(6, b[8:24], b[24:40], b[40:]))
		return b
	}
	saysTeredo := "[2001::1]:1000>[2001:db8::2]:80/6 GET in TEREDO"
	bubble := mkIP6(59, nil, 59)
	return []dissectCase{
		{"gre", 101, mkIP4(47, hx("0000 0800"), tcp4()), in("GRE"), nil},
		{"gre over ipv6", 101, mkIP6(47, nil, 47, hx("0000 86dd"), tcp6()), in6("GRE"), nil},
		{"gre with checksum, key and sequence", 101, mkIP4(47, hx("b000 0800 00000000 00000001 00000002"), tcp4()), in("GRE"), nil},
		{"gre of version 1 is pptp", 101, mkIP4(47, hx("3081 880b 00000000 00000001 00000002 ff03 0021"), tcp4()), in("GRE"), nil},
		{"pptp without address and control", 101, mkIP4(47, hx("3001 880b 00000000 00000001 0057"), tcp6()), in6("GRE"), nil},
		{"pptp acknowledgement", 101, mkIP4(47, hx("2081 880b 00000000 00000001")), nil, nil},
		{"pptp compressed", 101, mkIP4(47, hx("3001 880b 00000000 00000001 00fd 1234")), nil, []string{"non_ip_packet_in_encap"}},
		{"nvgre", 101, mkIP4(47, hx("2000 6558 00000100"), eth), in("GRE"), nil},
		{"erspan type I", 101, mkIP4(47, hx("0000 88be"), eth), in("GRE"), nil},
		{"erspan type II", 101, mkIP4(47, hx("1000 88be 00000001 1000000000000000"), eth), in("GRE"), nil},
		{"erspan type III", 101, mkIP4(47, hx("1000 22eb 00000001 200000000000000000000000"), eth), in("GRE"), nil},
		{"erspan type III with subheader", 101, mkIP4(47, hx("1000 22eb 00000001 200000000000000000000001 0000000000000000"), eth), in("GRE"), nil},
		{"gre with mpls", 101, mkIP4(47, hx("0000 8847 00064140"), tcp4()), in("GRE"), nil},
		{"gre with wccp", 101, mkIP4(47, hx("0000 883e 00000000"), tcp4()), in("GRE"), nil},
		{"gre with 802.11", 101, mkIP4(47, hx("0000 8200"), dot11Head, snapIPv4, tcp4()), in("GRE"), nil},
		{"erspan type III of ip", 101, mkIP4(47, hx("1000 22eb 00000001 200000000000000000000800"), tcp4()), in("GRE"), nil},
		{"erspan type II with ttag", 101, mkIP4(47, hx("1000 88be 00000001 1000000000000000"), mkEth(0x8988, hx("000111223344 0800"), tcp4())), in("GRE"), nil},
		{"erspan type I with metadata in a vlan", 101, mkIP4(47, hx("0000 88be"), mkEth(0x8100, hx("0001 8909 01 01 0001 0064 0800"), tcp4())), in("GRE"), nil},
		{"gre with metadata", 101, mkIP4(47, hx("0000 8909 0800 01 01 0001 0064"), tcp4()), in("GRE"), nil},
		{"gre with nsh", 101, mkIP4(47, hx("0000 894f 0fc2 0203 000001 ff"), eth), in("GRE"), nil},
		{"vxlan in erspan", 101, mkIP4(47, hx("1000 88be 00000001 1000000000000000"), mkEth(0x800, udp(1000, 8472, hx("08000000 00000100"), eth))),
			[]string{outer(1000, 8472) + " in GRE", saysTCP4 + " in GRE in VXLAN"}, nil},
		{"gre with source routes", 101, mkIP4(47, hx("4000 0800 00000000"), tcp4()), nil, []string{"gre_routing"}},
		{"gre of version 2", 101, mkIP4(47, hx("0002 0800"), tcp4()), nil, []string{"unknown_gre_version"}},
		{"gre with reserved flags", 101, mkIP4(47, hx("0010 0800"), tcp4()), nil, []string{"unknown_gre_flags"}},
		{"gre with something else", 101, mkIP4(47, hx("0000 2000"), make([]byte, 40)), nil, []string{"unknown_ip_version_in_tunnel"}},
		{"gre over udp", 101, udp(1000, 4754, hx("0000 0800"), tcp4()), append([]string{outer(1000, 4754)}, in("GRE")...), nil},
		{"ip in ip", 101, mkIP4(4, tcp4()), in("IP"), nil},
		{"6in4", 101, mkIP4(41, tcp6()), in6("IP"), nil},
		{"4in6", 101, mkIP6(4, nil, 4, tcp4()), in("IP"), nil},
		{"protocol 4 with ipv6", 101, mkIP4(4, tcp6()), nil, []string{"invalid_inner_IP_version"}},
		{"ip in ip cut short", 101, mkIP4(4, tcp4()[:40]), nil, []string{"truncated_inner_IP"}},
		{"ip in ip with a tail", 101, mkIP4(4, tcp4(), hx("00")), in("IP"), []string{"inner_IP_payload_length_mismatch"}},
		{"vxlan", 101, udp(1000, 4789, hx("08000000 00000100"), eth), append([]string{outer(1000, 4789)}, in("VXLAN")...), nil},
		{"vxlan answered from its port", 101, udp(4789, 1000, hx("08000000 00000100"), eth), append([]string{outer(4789, 1000)}, in("VXLAN")...), nil},
		{"vxlan on the port of linux", 101, udp(1000, 8472, hx("08000000 00000100"), eth), append([]string{outer(1000, 8472)}, in("VXLAN")...), nil},
		{"vxlan with a group policy", 101, udp(1000, 8472, hx("88080001 00000100"), eth), append([]string{outer(1000, 8472)}, in("VXLAN")...), nil},
		{"vxlan on any port", 101, udp(1000, 2000, hx("08000000 00000100"), eth), append([]string{outer(1000, 2000)}, in("VXLAN")...), nil},
		{"vxlan with a vlan on any port", 101, udp(1000, 250, hx("08000000 00000100"), mkEth(0x8100, hx("0001 86dd"), tcp6())), append([]string{outer(1000, 250)}, in6("VXLAN")...), nil},
		{"vxlan with padding on any port", 101, udp(1000, 2000, hx("08000000 00000100"), eth, hx("0000")), append([]string{outer(1000, 2000)}, in("VXLAN")...), nil},
		{"vxlan with a group policy on any port", 101, udp(1000, 2000, hx("88000001 00000100"), eth), append([]string{outer(1000, 2000)}, in("VXLAN")...), nil},
		{"vxlan in vxlan", 101, udp(1000, 4789, hx("08000000 00000100"), mkEth(0x800, udp(1000, 8472, hx("08000000 00000200"), eth))),
			[]string{outer(1000, 4789), outer(1000, 8472) + " in VXLAN", saysTCP4 + " in VXLAN in VXLAN"}, nil},
		{"vxlan-gpe", 101, udp(1000, 4790, hx("0c000001 00000100"), tcp4()), append([]string{outer(1000, 4790)}, in("VXLAN")...), nil},
		{"vxlan-gpe with ipv6", 101, udp(1000, 4790, hx("0c000002 00000100"), tcp6()), append([]string{outer(1000, 4790)}, in6("VXLAN")...), nil},
		{"vxlan-gpe with ethernet", 101, udp(1000, 4790, hx("0c000003 00000100"), eth), append([]string{outer(1000, 4790)}, in("VXLAN")...), nil},
		{"vxlan-gpe with nsh", 101, udp(1000, 4790, hx("0c000004 00000100 0fc2 0201 000001 ff"), tcp4()), append([]string{outer(1000, 4790)}, in("VXLAN")...), nil},
		{"vxlan-gpe with mpls", 101, udp(1000, 4790, hx("0c000005 00000100 00064140"), tcp4()), append([]string{outer(1000, 4790)}, in("VXLAN")...), nil},
		{"vxlan-gpe without protocol", 101, udp(1000, 4790, hx("08000000 00000100"), eth), append([]string{outer(1000, 4790)}, in("VXLAN")...), nil},
		{"vxlan-gpe for operation", 101, udp(1000, 4790, hx("0d000001 00000100"), tcp4()), []string{outer(1000, 4790)}, nil},
		{"vxlan-gpe of a version to come", 101, udp(1000, 4790, hx("1c000001 00000100"), tcp4()), []string{outer(1000, 4790)}, nil},
		{"vxlan-gpe of a protocol to come", 101, udp(1000, 4790, hx("0c000009 00000100"), tcp4()), []string{outer(1000, 4790)}, nil},
		{"vxlan-gpe on the port of vxlan", 101, udp(1000, 4789, hx("0c000001 00000100"), tcp4()), append([]string{outer(1000, 4789)}, in("VXLAN")...), nil},
		{"vxlan-gpe on any port", 101, udp(1000, 2000, hx("0c000001 00000100"), tcp4()), append([]string{outer(1000, 2000)}, in("VXLAN")...), nil},
		{"gue", 101, udp(1000, 6080, hx("00040000"), tcp4()), append([]string{outer(1000, 6080)}, in("GUE")...), nil},
		{"gue with options", 101, udp(1000, 6080, hx("02290001 80000000 00000000"), tcp6()), append([]string{outer(1000, 6080)}, in6("GUE")...), nil},
		{"gue of variant 1", 101, udp(1000, 6080, tcp4()), append([]string{outer(1000, 6080)}, in("GUE")...), nil},
		{"gue of variant 1 with ipv6", 101, udp(1000, 6080, tcp6()), append([]string{outer(1000, 6080)}, in6("GUE")...), nil},
		{"gue with gre", 101, udp(1000, 6080, hx("002f0000 2000 6558 00000100"), eth), append([]string{outer(1000, 6080)}, in("GRE")...), nil},
		{"gue control", 101, udp(1000, 6080, hx("20040000"), tcp4()), []string{outer(1000, 6080)}, nil},
		{"gue on any port", 101, udp(1000, 19523, hx("05040000"), make([]byte, 20), tcp4()), append([]string{outer(1000, 19523)}, in("GUE")...), nil},
		{"gue with eight options on any port", 101, udp(1000, 2000, hx("08040000"), make([]byte, 32), tcp4()), append([]string{outer(1000, 2000)}, in("GUE")...), nil},
		{"fou", 101, udp(1000, 5555, tcp4()), append([]string{outer(1000, 5555)}, in("FOU")...), nil},
		{"fou with an ipv6 fragment", 101, udp(1000, 5555, mkIP6(44, hx("06 00 0000 00000001"), 6, mkTCP(1000, 80, []byte("GET")))), append([]string{outer(1000, 5555)}, in6("FOU")...), nil},
		{"fou with gre", 101, udp(1000, 5555, hx("2000 0800 00000001"), tcp4()), append([]string{outer(1000, 5555)}, in("GRE")...), nil},
		{"fou with gre and ipv6", 101, udp(1000, 5555, hx("0000 86dd"), tcp6()), append([]string{outer(1000, 5555)}, in6("GRE")...), nil},
		{"fou with nvgre", 101, udp(1000, 5555, hx("3000 6558 00000001 00000002"), eth), append([]string{outer(1000, 5555)}, in("GRE")...), nil},
		{"tzsp", 101, udp(1000, 37008, hx("01 00 0001 01"), eth), append([]string{outer(1000, 37008)}, in("TZSP")...), nil},
		{"tzsp with fields", 101, udp(1000, 37008, hx("01 00 0001 00 0a 01 c0 28 04 00000001 01"), eth), append([]string{outer(1000, 37008)}, in("TZSP")...), nil},
		{"tzsp with fields without end", 101, udp(1000, 37008, hx("01 00 0001 0a ff"), eth), []string{outer(1000, 37008)}, nil},
		{"tzsp of a keepalive", 101, udp(1000, 37008, hx("01 04 0000 01"), eth), []string{outer(1000, 37008)}, nil},
		{"mpls over udp", 101, udp(1000, 6635, hx("00064040 00065140"), tcp4()), append([]string{outer(1000, 6635)}, in("MPLS")...), nil},
		{"mpls pseudowire over udp", 101, udp(1000, 6635, hx("00064140 00000000"), eth), append([]string{outer(1000, 6635)}, in("MPLS")...), nil},
		{"vxlan without the bit", 101, udp(1000, 4789, hx("00000000 00000100"), eth), []string{outer(1000, 4789)}, nil},
		{"vxlan with nothing in it", 101, udp(1000, 4789, hx("08000000 00000100")), []string{outer(1000, 4789) + " \x08\x00\x00\x00\x00\x00\x01\x00"}, []string{"vxlan_empty_packet"}},
		{"geneve", 101, udp(1000, 6081, hx("0000 6558 00000100"), eth), append([]string{outer(1000, 6081)}, in("GENEVE")...), nil},
		{"geneve with options and ip", 101, udp(1000, 6081, hx("0200 0800 00000100 0102 80 01 00000000"), tcp4()), append([]string{outer(1000, 6081)}, in("GENEVE")...), nil},
		{"geneve of version 1", 101, udp(1000, 6081, hx("4000 6558 00000100"), eth), []string{outer(1000, 6081)}, []string{"geneve_invalid_version"}},
		{"geneve options beyond the packet", 101, udp(1000, 6081, hx("3f00 6558 00000100"), eth), []string{outer(1000, 6081)}, nil},
		{"gtp", 101, udp(2152, 2152, gtp("30", "", tcp4())), append([]string{outer(2152, 2152)}, in("GTPv1")...), nil},
		{"gtp with sequence and extension", 101, udp(2152, 2152, gtp("36", "0001 00 85 01 0000 00", tcp6())), append([]string{outer(2152, 2152)}, in6("GTPv1")...), nil},
		{"gtp extension of length 0", 101, udp(2152, 2152, gtp("34", "0001 00 85 00 0000 00", tcp6())), []string{outer(2152, 2152)}, nil},
		{"gtp echo", 101, udp(2152, 2152, hx("32 01 0004 00000000 00000000")), []string{outer(2152, 2152) + " 2\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00"}, nil},
		{"teredo", 101, udp(1000, 3544, tcp6()), append([]string{outer(1000, 3544)}, in6("TEREDO")...), nil},
		{"teredo with authentication and origin", 101, udp(3544, 1000, hx("0001 01 02 aa bbcc 0000000000000001 00"), hx("0000 fc17 f5fffffe"), tcp6()),
			append([]string{outer(3544, 1000)}, in6("TEREDO")...), nil},
		{"teredo on any port", 101, udp(1000, 2000, teredo6()), []string{outer(1000, 2000), saysTeredo}, nil},
		{"ipv6 in udp that is not teredo", 101, udp(1000, 2000, tcp6()), append([]string{outer(1000, 2000)}, in6("FOU")...), nil},
		{"teredo bubble", 101, udp(1000, 3544, bubble), []string{outer(1000, 3544)}, nil},
		{"teredo bubble with payload", 101, udp(1000, 3544, bubble, hx("00")), []string{outer(1000, 3544)}, []string{"Teredo_bubble_with_payload"}},
		{"teredo of the wrong length", 101, udp(1000, 3544, tcp6(), hx("00")), []string{outer(1000, 3544)}, nil},
		{"ayiya", 101, udp(1000, 5072, hx("44 52 11 29 00000000"), make([]byte, 16+20), tcp6()), append([]string{outer(1000, 5072)}, in6("AYIYA")...), nil},
		{"ayiya on any port", 101, udp(1000, 2000, hx("44 52 11 29 00000000"), make([]byte, 16+20), tcp6()), append([]string{outer(1000, 2000)}, in6("AYIYA")...), nil},
	}
}

func TestTunnels(t *testing.T) { runDissect(t, tunnelCases()) }

// TestUDPThatIsNoTunnel: the beginnings fit, what follows does not.
func TestUDPThatIsNoTunnel(t *testing.T) {
	eth, ip := mkEth(0x800, tcp4()), tcp4()
	query := hx("0100 0001 0000 0000 0000 03777777 076578616d706c65 03636f6d 00 0001 0001")
	for _, c := range []struct {
		name    string
		port    int
		payload []byte
	}{
		{"dns whose number is 0800", 53, join(hx("0800"), query)},
		{"dns whose number is 0800, no recursion", 53, patched(join(hx("0800"), query), 2, 0)},
		{"dns whose number is 0004", 53, join(hx("0004"), query)},
		{"dns whose number is its length", 53, join(hx("4500"), u16(2+len(query)), query)},
		{"dns whose number is 0000", 53, join(hx("0000"), query)},
		{"quic short header", 443, join([]byte{0x45}, slices.Repeat([]byte{0xa7}, 60))},
		{"quic short header like ipv4 of its length", 443, join(hx("45a7"), u16(64), slices.Repeat([]byte{0xa7}, 60))},
		{"quic short header like ipv6 of its length", 443, join(hx("60a7a7a7"), u16(24), hx("06"), slices.Repeat([]byte{0xa7}, 57))},
		{"rtp", 5004, join(hx("8000 0800 00000000 00000000"), slices.Repeat([]byte{0xd5}, 160))},
		{"rtp with ipv4's beginning", 5004, join(hx("8000 0800 00000000"), hx("45000014"), slices.Repeat([]byte{0xd5}, 160))},
		{"rtp with sources", 5004, join(hx("8800 0001 00000000"), slices.Repeat([]byte{0}, 160))},
		{"vxlan, reserved bits set", 2000, join(hx("08000001 00000100"), eth)},
		{"vxlan, last byte set", 2000, join(hx("08000000 00000101"), eth)},
		{"vxlan with arp", 2000, join(hx("08000000 00000100"), mkEth(0x806, make([]byte, 28)))},
		{"vxlan, inner checksum wrong", 2000, join(hx("08000000 00000100"), patched(eth, 24, 9, 9))},
		{"vxlan, inner longer than there is", 2000, join(hx("08000000 00000100"), eth[:len(eth)-1])},
		{"vxlan, type and version differ", 2000, join(hx("08000000 00000100"), mkEth(0x86dd, ip))},
		{"ipv4, one byte more", 2000, join(ip, hx("00"))},
		{"ipv4, checksum wrong", 2000, patched(ip, 10, 9, 9)},
		{"ipv4 of a header of 4 bytes", 2000, patched(ip, 0, 0x41)},
		{"ipv6, one byte more", 2000, join(tcp6(), hx("00"))},
		{"ipv6 of an unknown protocol", 2000, patched(tcp6(), 6, 200)},
		{"ipv6 from nowhere", 2000, patched(tcp6(), 8, 0x99)},
		{"gue with a wrong checksum inside", 6080, join(hx("00040000"), patched(ip, 10, 9, 9))},
		{"gue with another version inside", 6080, join(hx("00290000"), ip)},
		{"gre with a wrong checksum inside", 2000, join(hx("0000 0800"), patched(ip, 10, 9, 9))},
		{"mpls without bottom", 6635, manyTimes("00064040", 40)},
		{"text on the port of mpls", 6635, []byte("hello, this is nothing but a line of some text")},
		{"text on the port of vxlan-gpe", 4790, []byte("hello, this is nothing but a line of some text")},
	} {
		r := newRig(DissectConfig{})
		if got := r.frame(101, mkIP4(17, mkUDP(1000, c.port, c.payload))); len(got) != 1 || len(r.weirds) != 0 || got[0].Carries != "" {
			t.Errorf("%s: %q %q", c.name, saysAll(got), r.weirds)
		}
	}
}

// TestRandomUDPIsNoTunnel: traffic whose first bytes are arbitrary, on the ports where there is most of it.
func TestRandomUDPIsNoTunnel(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 1200)
	for n := range 300000 {
		p := b[:40+random.IntN(200)]
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		switch n % 4 {
		case 0: // QUIC with a short header
			p[0] = p[0]&0x3f | 0x40
		case 1: // DNS: a query of one question
			copy(p[2:], "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00")
		case 2: // RTP
			p[0] = 0x80
		default: // what fits most beginnings
			p[0] = []byte{0x08, 0x0c, 0x88, 0x00, 0x45, 0x60}[random.IntN(6)]
			p[1], p[7] = 0, 0
			copy(p[2:], u16([]int{0, 0x800, 0x86dd, len(p)}[random.IntN(4)]))
		}
		if in := byShape(p, len(p)); in.kind != "" {
			t.Fatalf("%s: % x", in.kind, p)
		}
	}
}

// TestOuterServiceIsThatOfZeek: a tunnel that Zeek does not look into does not name the service of its outer flow.
func TestOuterServiceIsThatOfZeek(t *testing.T) {
	for port, want := range map[int]string{4789: "VXLAN", 8472: "", 4790: "", 2000: ""} {
		for _, head := range []string{"08000000 00000100", "0c000003 00000100"} {
			got := newRig(DissectConfig{}).frame(101, mkIP4(17, mkUDP(1000, port, hx(head), mkEth(0x800, tcp4()))))
			if len(got) != 2 || got[0].Carries != want {
				t.Errorf("%d: %q", port, got[0].Carries)
			}
		}
	}
}

// TestTunnelWithoutChecksumOverIPv6: RFC 6935 allows it, whatever the port.
func TestTunnelWithoutChecksumOverIPv6(t *testing.T) {
	eth := mkEth(0x800, tcp4())
	for _, port := range []int{8472, 4790, 2000} {
		b := mkIP6(17, nil, 0, u16(1000), u16(port), u16(8+8+len(eth)), hx("0000 08000000 00000100"), eth)
		if got := newRig(DissectConfig{}).frame(101, b); len(got) != 2 || says(&got[1]) != saysTCP4+" in VXLAN" {
			t.Errorf("%d: %q", port, saysAll(got))
		}
	}
}

// TestTunnelWithUnfinishedChecksum: taken on the machine that sent it, whose card has the checksum still to finish.
func TestTunnelWithUnfinishedChecksum(t *testing.T) {
	b := mkIP4(17, mkUDP(1000, 8472, hx("08000000 00000100"), mkEth(0x800, tcp4())))
	n := len(b) - 20
	copy(b[26:], u16(int(naiveSum(join(addrA4, addrB4, hx("0011"), u16(n))))))
	if got := newRig(DissectConfig{}).frame(101, b); len(got) != 2 {
		t.Errorf("%q", saysAll(got))
	}
}

func TestNestedTunnelsUpToTheLimit(t *testing.T) {
	b := tcp4()
	for range defaultTunnelDepth {
		b = mkIP4(47, hx("0000 0800"), b)
	}
	r := newRig(DissectConfig{})
	got := r.frame(101, b)
	if len(got) != 1 || len(r.weirds) != 0 {
		t.Fatalf("%q %q", saysAll(got), r.weirds)
	}
	depth := 0
	for tun := got[0].Tunnel; tun != nil; tun = tun.Outer {
		depth++
	}
	if depth != defaultTunnelDepth {
		t.Errorf("depth %d", depth)
	}
	if got := r.frame(101, mkIP4(47, hx("0000 0800"), b)); len(got) != 0 || !slices.Equal(r.weirds, []string{"exceeded_tunnel_max_depth"}) {
		t.Errorf("one more: %q %q", saysAll(got), r.weirds)
	}
	// What is outside stays: the UDP packets around the one that is too deep.
	b = tcp4()
	for range 3 {
		b = mkIP4(17, mkUDP(1000, 4789, hx("08000000 00000100"), mkEth(0x800, b)))
	}
	r = newRig(DissectConfig{MaxDepth: 2})
	if got := r.frame(101, b); len(got) != 3 || !slices.Equal(r.weirds, []string{"exceeded_tunnel_max_depth"}) {
		t.Errorf("vxlan: %q %q", saysAll(got), r.weirds)
	}
}

// TestTunnelUIDIsThatOfTheOuterFlow: the flow table names the flow of the outer UDP packets by its first packet, which
// need not have carried anything, and in whichever direction that one went.
func TestTunnelUIDIsThatOfTheOuterFlow(t *testing.T) {
	r := newRig(DissectConfig{})
	gtp := join(hx("30ff"), u16(len(tcp4())), hx("00000001"), tcp4())
	first := r.frame(101, mkIP4(17, mkUDP(2152, 3000, hx("32 01 0004 00000000 00000000"))))
	start := r.at
	want := flowUID(&first[0], start)
	uid := func(b []byte) string {
		t.Helper()
		got := r.frame(101, b)
		if len(got) != 2 || got[1].Tunnel == nil {
			t.Fatalf("%q", saysAll(got))
		}
		return got[1].Tunnel.UID
	}
	there := mkIP4(17, mkUDP(2152, 3000, gtp))
	r.at = start.Add(time.Second)
	if got := uid(there); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	back := slices.Clone(mkIP4(17, mkUDP(3000, 2152, gtp)))
	copy(back[12:], addrB4)
	copy(back[16:], addrA4)
	r.at = start.Add(60 * time.Second)
	if got := uid(back); got != want {
		t.Errorf("other direction: %s, want %s", got, want)
	}
	r.at = start.Add(120 * time.Second) // a minute of silence ends a UDP flow
	if got := uid(there); got == want || got != flowUID(&first[0], r.at) {
		t.Errorf("after silence: %s", got)
	}
}

func TestIPTunnelUIDHasNoPortsAndLastsADay(t *testing.T) {
	r := newRig(DissectConfig{})
	one := r.frame(101, mkIP4(47, hx("0000 0800"), tcp4()))
	r.at = r.at.Add(23 * time.Hour)
	two := r.frame(101, mkIP4(47, hx("0000 86dd"), tcp6()))
	if one[0].Tunnel != two[0].Tunnel || one[0].Tunnel.UID == "" {
		t.Errorf("%+v %+v", one[0].Tunnel, two[0].Tunnel)
	}
}

// TestTunnelWithBadChecksum: nobody decapsulates a packet that its receiver drops.
func TestTunnelWithBadChecksum(t *testing.T) {
	b := mkIP4(17, mkUDP(1000, 4789, hx("08000000 00000100"), mkEth(0x800, tcp4())))
	b[26] ^= 1
	if got := newRig(DissectConfig{}).frame(101, b); len(got) != 1 {
		t.Errorf("%q", saysAll(got))
	}
	if got := newRig(DissectConfig{IgnoreChecksums: true}).frame(101, b); len(got) != 2 {
		t.Errorf("checksums ignored: %q", saysAll(got))
	}
}

// TestTunnelInTruncatedFrame: the inner packet's lengths are those of its headers.
func TestTunnelInTruncatedFrame(t *testing.T) {
	b := mkIP4(17, mkUDP(1000, 4789, hx("08000000 00000100"), mkEth(0x800, mkIP4(6, mkTCP(1000, 80, make([]byte, 500))))))
	d := NewDissector(DissectConfig{})
	got := d.Dissect(&Frame{Data: b[:120], WireLen: len(b), Link: 101}, nil)
	if len(got) != 2 || got[1].PayloadLen() != 500 || len(got[1].Payload()) >= 120 {
		t.Errorf("%q", saysAll(got))
	}
}

func TestTunnelTableForgetsTheLeastRecentlySeen(t *testing.T) {
	r := newRig(DissectConfig{})
	send := func(n int) *Tunnel {
		b := slices.Clone(mkIP4(47, hx("0000 0800"), tcp4()))
		b[13], b[14], b[15] = byte(n>>16), byte(n>>8), byte(n)
		fixSum(b[:20], 10, nil)
		got := r.frame(101, b)
		if len(got) != 1 {
			t.Fatalf("%d: %q %q", n, saysAll(got), r.weirds)
		}
		return got[0].Tunnel
	}
	zero, one := send(0), send(1)
	for n := 2; n < maxTunnels; n++ {
		send(n)
	}
	if send(0) != zero || len(r.weirds) > 0 {
		t.Fatalf("full, but nothing is to be lost yet: %q", r.weirds)
	}
	send(maxTunnels) // one goes, not zero
	if !slices.Equal(r.weirds, []string{"tunnel_table_full"}) || r.Stats().TunnelsEvicted != 1 || r.tunnels.len() != maxTunnels {
		t.Errorf("%q %+v", r.weirds, r.Stats())
	}
	if send(0) != zero {
		t.Error("the one just seen was lost")
	}
	if send(1) == one {
		t.Error("the least recently seen is still there")
	}
}
