package capture

import "testing"

// A data frame of 802.11 to the access point: control, duration, three addresses, sequence, then LLC and SNAP.
var (
	dot11Head = hx("08 01 0000 020000000001 020000000002 020000000003 0000")
	snapIPv4  = hx("aaaa03 000000 0800")
)

func linkCases() []dissectCase {
	four, six := []string{saysTCP4}, []string{saysTCP6}
	llc := func(b ...[]byte) []byte { // an 802.3 frame
		p := join(b...)
		return mkEth(len(p), p)
	}
	// An A-MSDU of two subframes, the first padded to a multiple of four.
	sub := func(b []byte) []byte {
		p := join(snapIPv4, b)
		return join(hx("020000000002 020000000001"), u16(len(p)), p)
	}
	odd := sub(mkIP4(6, mkTCP(1000, 80, []byte("GET")))) // 14+8+43 bytes
	for len(odd)%4 != 0 {
		odd = append(odd, 0)
	}
	qos := join(hx("88 01 0000 020000000001 020000000002 020000000003 0000"), hx("80 00"))
	return []dissectCase{
		{"ethernet", 1, mkEth(0x800, tcp4()), four, nil},
		{"raw", 101, tcp4(), four, nil},
		{"raw of openbsd", 14, tcp6(), six, nil},
		{"raw, number 12", 12, tcp4(), four, nil},
		{"ipv4", 228, tcp4(), four, nil},
		{"ipv6", 229, tcp6(), six, nil},
		{"null little-endian", 0, join(hx("02000000"), tcp4()), four, nil},
		{"null big-endian", 0, join(hx("00000002"), tcp4()), four, nil},
		{"null ipv6 of macOS", 0, join(hx("1e000000"), tcp6()), six, nil},
		{"null ipv6 of FreeBSD", 0, join(hx("1c000000"), tcp6()), six, nil},
		{"null ipv6 of OpenBSD", 0, join(hx("18000000"), tcp6()), six, nil},
		{"loop", 108, join(hx("00000018"), tcp6()), six, nil},
		{"null with another family", 0, join(hx("07000000"), tcp4()), nil, nil},
		{"cooked", 113, join(hx("0000 0001 0006 020000000001 0000 0800"), tcp4()), four, nil},
		{"cooked with an address length that lies", 113, join(hx("0000 0001 ffff 020000000001 0000 0800"), tcp4()), four, nil},
		{"cooked with a tag", 113, join(hx("0000 0001 0006 020000000001 0000 8100 0001 86dd"), tcp6()), six, nil},
		{"cooked netlink", 113, join(hx("0000 0338 0000 000000000000 0000 0800"), tcp4()), nil, nil},
		{"cooked v2", 276, join(hx("86dd 0000 00000001 0001 00 06 020000000001 0000"), tcp6()), six, nil},
		{"ppp", 9, join(hx("ff03 0021"), tcp4()), four, nil},
		{"ppp without address and control", 9, join(hx("0057"), tcp6()), six, nil},
		{"ppp with a protocol of one byte", 9, join(hx("21"), tcp4()), four, nil},
		{"ppp with mpls", 50, join(hx("ff03 0281 00064140"), tcp4()), four, nil},
		{"cisco hdlc in ppp", 50, join(hx("0f00 0800"), tcp4()), four, nil},
		{"cisco hdlc", 104, join(hx("8f00 86dd"), tcp6()), six, nil},
		{"pppoe on its own", 51, join(hx("1100 0001"), u16(2+43), hx("0021"), tcp4()), four, nil},
		{"fddi", 10, join(hx("50 020000000002 020000000001"), snapIPv4, tcp4()), four, nil},
		{"nflog", 239, join(hx("02 00 0000 0800 0100 08000103 0500 0a00 61 000000"), hx("2f00 0900"), tcp4()), four, nil},
		{"nflog attribute without length", 239, join(hx("02 00 0000 0000 0100"), tcp4()), nil, []string{"nflog_bad_tlv_len"}},
		{"802.11", 105, join(dot11Head, snapIPv4, tcp4(), hx("deadbeef")), four, nil},
		{"802.11 four addresses", 105, join(patched(dot11Head, 1, 3), hx("020000000004"), snapIPv4, tcp4()), four, nil},
		{"802.11 qos", 105, join(patched(qos, 24, 0), snapIPv4, tcp4()), four, nil},
		{"802.11 qos and ht control", 105, join(patched(patched(qos, 24, 0), 1, 0x81), hx("00000000"), snapIPv4, tcp4()), four, nil},
		{"802.11 aggregate", 105, join(qos, odd, sub(mkIP4(6, mkTCP(7, 8)))), []string{saysTCP4, "10.0.0.1:7>10.0.0.2:8/6"}, nil},
		{"802.11 protected", 105, join(patched(dot11Head, 1, 0x41), snapIPv4, tcp4()), nil, nil},
		{"802.11 beacon", 105, join(patched(dot11Head, 0, 0x80), snapIPv4, tcp4()), nil, nil},
		{"radiotap", 127, join(hx("00 00 0800 00000000"), dot11Head, snapIPv4, tcp4()), four, nil},
		{"radiotap with two bitmaps, time and padding", 127,
			join(hx("00 00 1900 03000080 00000000 00000000 0000000000000000 20"), patched(qos, 24, 0), hx("0000"), snapIPv4, tcp4()), four, nil},
		{"radiotap bad fcs", 127, join(hx("00 00 0900 02000000 40"), dot11Head, snapIPv4, tcp4()), nil, []string{"bad_802_11_fcs"}},
		{"prism", 119, join(hx("44000000 10000000 0000000000000000"), dot11Head, snapIPv4, tcp4()), four, nil},
		{"avs", 163, join(hx("80211001 00000010 0000000000000000"), dot11Head, snapIPv4, tcp4()), four, nil},
		{"ppi", 192, join(hx("00 00 0800 69000000"), dot11Head, snapIPv4, tcp4()), four, nil},
		{"ppi in ppi without end", 192, manyTimes("00 00 0800 c0000000", 100), nil, []string{"exceeded_link_headers"}},
		{"unknown link type", 250, tcp4(), nil, []string{"unknown_link_type"}},

		{"vlan", 1, mkEth(0x8100, hx("0001 0800"), tcp4()), four, nil},
		{"qinq", 1, mkEth(0x88a8, hx("0001 8100 0002 0800"), tcp4()), four, nil},
		{"qinq of old, three tags", 1, mkEth(0x9100, hx("0001 9100 0002 8100 0003 86dd"), tcp6()), six, nil},
		{"vlan with 802.3", 1, mkEth(0x8100, hx("0001"), u16(8+43), snapIPv4, tcp4(), hx("0000")), four, nil},
		{"tags without end", 1, mkEth(0x8100, manyTimes("0001 8100", 100), hx("0001 0800"), tcp4()), nil, []string{"exceeded_link_headers"}},
		{"llc snap", 1, llc(snapIPv4, tcp4()), four, nil},
		{"llc spanning tree", 1, llc(hx("424203 000000 000000")), nil, nil},
		{"snap of another organization", 1, llc(hx("aaaa03 00000c 0800"), tcp4()), nil, nil},
		{"802.3 length beyond the frame", 1, mkEth(600, snapIPv4, tcp4()), nil, []string{"truncated_ethernet_frame"}},
		{"neither length nor type", 1, mkEth(1501, tcp4()), nil, []string{"undefined_ether_type"}},
		{"arp", 1, mkEth(0x806, make([]byte, 28)), nil, nil},
		{"mpls", 1, mkEth(0x8847, hx("00064040 00064140"), tcp4()), four, nil},
		{"mpls ipv6", 1, mkEth(0x8848, hx("00064140"), tcp6()), six, nil},
		{"mpls pseudowire with control word", 1, mkEth(0x8847, hx("00064140 00000000"), mkEth(0x800, tcp4())), four, nil},
		{"mpls pseudowire without", 1, mkEth(0x8847, hx("00064140"), mkEth(0x800, tcp4())), four, nil},
		{"mpls labels without end", 1, mkEth(0x8847, manyTimes("00064040", 1000)), nil, []string{"exceeded_link_headers"}},
		{"pppoe", 1, mkEth(0x8864, hx("1100 0001"), u16(2+43), hx("0021"), tcp4()), four, nil},
		{"pppoe in a minimal frame", 1, mkEth(0x8864, hx("1100 0001"), u16(2+43), hx("0021"), tcp4(), hx("0000")), four, []string{"pppoe_extra_data_after_payload"}},
		{"vn-tag", 1, mkEth(0x8926, hx("00010002 8100 0001 0800"), tcp4()), four, nil},
		{"provider backbone", 1, mkEth(0x88e7, hx("00000001"), mkEth(0x800, tcp4())), four, nil},
		{"fabricpath", 1, join(hx("020000000002 020000000001 8903 0001"), mkEth(0x800, tcp4())), four, nil},
	}
}

func manyTimes(s string, n int) []byte {
	var b []byte
	for range n {
		b = append(b, hx(s)...)
	}
	return b
}

func TestLinkTypesAndTags(t *testing.T) { runDissect(t, linkCases()) }

func TestUnknownLinkTypeIsToldOnce(t *testing.T) {
	r := newRig(DissectConfig{})
	for range 3 {
		r.frame(250, tcp4())
	}
	r.frame(251, tcp4())
	if len(r.weirds) != 2 || r.Stats().UnknownLink != 4 {
		t.Errorf("%q %+v", r.weirds, r.Stats())
	}
}
