package capture

import (
	"fmt"
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
		{"ipv6 in udp that is not teredo", 101, udp(1000, 2000, tcp6()), []string{outer(1000, 2000)}, nil},
		{"teredo bubble", 101, udp(1000, 3544, bubble), []string{outer(1000, 3544)}, nil},
		{"teredo bubble with payload", 101, udp(1000, 3544, bubble, hx("00")), []string{outer(1000, 3544)}, []string{"Teredo_bubble_with_payload"}},
		{"teredo of the wrong length", 101, udp(1000, 3544, tcp6(), hx("00")), []string{outer(1000, 3544)}, nil},
		{"ayiya", 101, udp(1000, 5072, hx("44 52 11 29 00000000"), make([]byte, 16+20), tcp6()), append([]string{outer(1000, 5072)}, in6("AYIYA")...), nil},
		{"ayiya on any port", 101, udp(1000, 2000, hx("44 52 11 29 00000000"), make([]byte, 16+20), tcp6()), append([]string{outer(1000, 2000)}, in6("AYIYA")...), nil},
	}
}

func TestTunnels(t *testing.T) { runDissect(t, tunnelCases()) }

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
