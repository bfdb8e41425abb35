package capture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// tagCases are switch tags, and the link types of switches, cards and other systems.
func tagCases() []dissectCase {
	four, six := []string{saysTCP4}, []string{saysTCP6}
	eth := mkEth(0x800, tcp4())
	icv := make([]byte, 16)
	const lost = "truncated_switch_tag"
	return []dissectCase{
		{"cisco ttag", 1, mkEth(0x8988, hx("000111223344 0800"), tcp4()), four, nil},
		{"cisco ttag before a vlan", 1, mkEth(0x8988, hx("000111223344 8100 0001 86dd"), tcp6()), six, nil},
		{"cisco ttag with 802.3", 1, mkEth(0x8988, hx("000111223344"), u16(8+43), snapIPv4, tcp4()), four, nil},
		{"cisco metadata", 1, mkEth(0x8909, hx("01 01 0001 0064 0800"), tcp4()), four, nil},
		{"cisco metadata with two options", 1, mkEth(0x8909, hx("01 02 0001 0064 0002 0001 0800"), tcp4()), four, nil},
		{"cisco metadata behind a vlan", 1, mkEth(0x8100, hx("0001 8909 01 01 0001 0064 86dd"), tcp6()), six, nil},
		{"cisco metadata longer than the frame", 1, mkEth(0x8909, hx("01 ff 0001 0064 0800"), tcp4()), nil, []string{lost}},
		{"e-tag", 1, mkEth(0x893f, hx("0000 1000 0000 0800"), tcp4()), four, nil},
		{"e-tag before a vlan", 1, mkEth(0x893f, hx("0000 1000 0000 8100 0001 0800"), tcp4()), four, nil},
		{"e-tag alone", 1, mkEth(0x893f, hx("0000 1000 0000 0800")), nil, []string{lost}},
		{"r-tag", 1, mkEth(0xf1c1, hx("0000 0001 0800"), tcp4()), four, nil},
		{"hsr", 1, mkEth(0x892f, hx("0031 0001 0800"), tcp4()), four, nil},
		{"hsr of version 0", 1, mkEth(0x88fb, hx("0031 0001 86dd"), tcp6()), six, nil},
		{"prp supervision", 1, mkEth(0x88fb, hx("0001 0001 1406 020000000001 0000"), make([]byte, 32)), nil, nil},
		{"prp trailer", 1, mkEth(0x800, tcp4(), hx("0001 a031 88fb")), four, nil},
		{"vlan of type 9200", 1, mkEth(0x9200, hx("0001 9300 0002 0800"), tcp4()), four, nil},
		{"arista time of 64 bits", 1, mkEth(0xd28b, hx("0001 0010 0000000000000000 0800"), tcp4()), four, nil},
		{"arista time of 64 bits, UTC, another chip", 1, mkEth(0xd28b, hx("0001 0111 0000000000000000 0800"), tcp4()), four, nil},
		{"arista time of 48 bits", 1, mkEth(0xd28b, hx("0001 0020 000000000000 8100 0001 0800"), tcp4()), four, nil},
		{"arista time of 48 bits, UTC", 1, mkEth(0xd28b, hx("0001 0120 000000000000 0800"), tcp4()), four, nil},
		{"arista mirror to gre", 101, mkIP4(47, hx("0000 d28b 0003 0020 000000000000 0800"), tcp4()), []string{saysTCP4 + " in GRE"}, nil},
		{"arista mirror to gre with session", 101, mkIP4(47, hx("0000 d28b 0003 0020 0001 000000000000 0800"), tcp4()), []string{saysTCP4 + " in GRE"}, nil},
		{"arista dzgre", 101, mkIP4(47, hx("0000 d28b 0007 0001 0001 0002 0003 0000"), eth), []string{saysTCP4 + " in GRE"}, nil},
		{"arista dzgre of plan b", 101, mkIP4(47, hx("0000 d28b 0008 0001 0001 0002"), eth), []string{saysTCP4 + " in GRE"}, nil},
		{"arista dzgre with time", 101, mkIP4(47, hx("0000 d28b 0009 0011 0001 0002 0003 0000 0000000000000000"), eth), []string{saysTCP4 + " in GRE"}, nil},
		{"arista of a version to come", 1, mkEth(0xd28b, hx("0001 0040 000000000000 0800"), tcp4()), nil, []string{"unknown_ether_type"}},
		{"macsec of integrity alone", 1, mkEth(0x88e5, hx("00 00 00000001 0800"), tcp4(), icv), four, nil},
		{"macsec with channel", 1, mkEth(0x88e5, hx("20 2e 00000001 0200000000010001 0800"), tcp4(), icv), four, nil},
		{"macsec of an end station with a vlan", 1, mkEth(0x88e5, hx("40 00 00000001 8100 0001 86dd"), tcp6(), icv), six, nil},
		{"macsec encrypted", 1, mkEth(0x88e5, hx("2c 00 00000001 0200000000010001"), make([]byte, 60)), nil, []string{"MACsec_encrypted"}},
		{"macsec changed", 1, mkEth(0x88e5, hx("04 00 00000001 0800"), tcp4()), nil, []string{"MACsec_encrypted"}},
		{"nsh", 1, mkEth(0x894f, hx("0fc6 0101 000001 ff"), make([]byte, 16), tcp4()), four, nil},
		{"nsh without context", 1, mkEth(0x894f, hx("0fc2 0202 000001 ff"), tcp6()), six, nil},
		{"nsh with ethernet", 1, mkEth(0x894f, hx("0fc2 0203 000001 ff"), eth), four, nil},
		{"nsh in nsh with mpls", 1, mkEth(0x894f, hx("0fc2 0204 000001 ff 0fc2 0205 000001 ff 00064140"), tcp4()), four, nil},
		{"nsh without length", 1, mkEth(0x894f, hx("0fc0 0101 000001 ff"), tcp4()), nil, []string{"bad_NSH_header"}},
		{"nsh in nsh without end", 1, mkEth(0x894f, manyTimes("0fc2 0204 000001 ff", 100)), nil, []string{"exceeded_link_headers"}},
		{"trill", 1, mkEth(0x22f3, hx("003f 0001 0002"), eth), four, nil},
		{"trill with options", 1, mkEth(0x22f3, hx("007f 0001 0002 00000000"), eth), four, nil},
		{"ppp", 1, mkEth(0x880b, hx("0021"), tcp4()), four, nil},
		{"edsa by its type", 1, mkEth(0xdada, hx("0000 c0080001 0800"), tcp4()), four, nil},
		{"tag of older broadcom switches", 1, mkEth(0x8874, hx("60000001 0800"), tcp4()), four, nil},
		{"vlan tag of dsa", 1, mkEth(0xdadb, hx("0401 0800"), tcp4()), four, nil},
		{"renesas", 1, mkEth(0xe001, hx("0001 00000000 0800"), tcp4()), four, nil},
		{"realtek, four bytes", 1, mkEth(0x8899, hx("a001 0800"), tcp4()), four, nil},
		{"realtek, eight bytes", 1, mkEth(0x8899, hx("0400 0000 0001 86dd"), tcp6()), six, nil},
		{"realtek, its own", 1, mkEth(0x8899, hx("2300 0000 0001 0800"), tcp4()), nil, nil},
		{"tags in tags", 1, mkEth(0x8988, hx("000111223344 893f 0000 1000 0000 8909 01 01 0001 0064 8100 0001 0800"), tcp4()), four, nil},
		{"tags without end", 1, mkEth(0x892f, manyTimes("0031 0001 892f", 100)), nil, []string{"exceeded_link_headers"}},
		{"unknown type", 1, mkEth(0x88b5, tcp4()), nil, []string{"unknown_ether_type"}},
		{"lldp", 1, mkEth(0x88cc, make([]byte, 40)), nil, nil},
		{"llc snap of a bridge", 1, mkEth(8+43, hx("aaaa03 0000f8 0800"), tcp4()), four, nil},

		{"dsa", 284, join(hx("020000000002 020000000001 c0080001 0800"), tcp4()), four, nil},
		{"dsa with 802.3", 284, join(hx("020000000002 020000000001 c0080001"), u16(8+43), snapIPv4, tcp4()), four, nil},
		{"dsa with a second vlan", 284, join(hx("020000000002 020000000001 e0080001 8100 0002 0800"), tcp4()), four, nil},
		{"edsa", 285, join(hx("020000000002 020000000001 dada 0000 c0080001 86dd"), tcp6()), six, nil},
		{"edsa of another type", 285, join(hx("020000000002 020000000001 9000 0000 c0080001 0800"), tcp4()), four, nil},
		{"broadcom", 281, join(hx("020000000002 020000000001 00000001 0800"), tcp4()), four, nil},
		{"broadcom, prepended", 282, join(hx("00000001"), eth), four, nil},
		{"netanalyzer", 240, join(hx("00000000"), eth, hx("deadbeef")), four, nil},
		{"netanalyzer, transparent", 241, join(hx("00000000 55555555555555d5"), eth), four, nil},
		{"ppp with direction", 204, join(hx("01 ff03 0021"), tcp4()), four, nil},
		{"ppp of pppd", 166, join(hx("0103 0057"), tcp6()), six, nil},
		{"cisco hdlc with direction", 205, join(hx("00 0f00 0800"), tcp4()), four, nil},
		{"frame relay", 107, join(hx("1841 03 cc"), tcp4()), four, nil},
		{"frame relay with direction and snap", 206, join(hx("00 1841 03 00 80 000000 86dd"), tcp6()), six, nil},
		{"frame relay bridged", 107, join(hx("1841 03 00 80 0080c2 0007"), eth), four, nil},
		{"frame relay of cisco", 107, join(hx("1841 0800"), tcp4()), four, nil},
		{"frame relay address without end", 107, make([]byte, 80), nil, []string{"truncated_llc_header"}},
		{"mpls alone", 219, join(hx("00064140"), tcp4()), four, nil},
		{"atm", 100, join(snapIPv4, tcp4()), four, nil},
		{"ip over fibre channel", 122, join(make([]byte, 16), snapIPv4, tcp4()), four, nil},
		{"ip over firewire", 138, join(make([]byte, 16), hx("0800"), tcp4()), four, nil},
		{"ip over infiniband", 242, join(make([]byte, 20), hx("86dd 0000"), tcp6()), six, nil},
		{"solaris", 226, join(hx("02 02 0000"), make([]byte, 20), tcp4()), four, nil},
		{"enc", 109, join(hx("02000000 00000000 00000000"), tcp4()), four, nil},
		{"pflog", 117, join(hx("3d 02 00 00"), make([]byte, 60), tcp4()), four, nil},
		{"pktap", 258, join(hx("10000000 01000000 01000000 00000000"), eth), four, nil},
		{"pktap in pktap without end", 258, manyTimes("0c000000 01000000 02010000", 100), nil, []string{"exceeded_link_headers"}},
		{"erf", 197, join(hx("0000000000000000 02 04 0050 0000 0040 0000"), eth), four, nil},
		{"erf with extensions, coloured", 197, join(hx("0000000000000000 94 04 0050 0000 0040 8400000000000000 0500000000000000 0000"), eth), four, nil},
		{"erf of ip", 197, join(hx("0000000000000000 16 04 0050 0000 0040"), tcp4()), four, nil},
		{"erf of sonet", 176, join(hx("0000000000000000 01 04 0050 0000 0040 ff03 0021"), tcp4()), four, nil},
		{"erf of infiniband", 197, join(hx("0000000000000000 15 04 0050 0000 0040"), tcp4()), nil, nil},
		{"juniper", 178, join([]byte("MGC"), hx("01"), eth), four, nil},
		{"juniper with extensions", 178, join([]byte("MGC"), hx("81 0004 01020304"), eth), four, nil},
		{"juniper without link layer", 178, join([]byte("MGC"), hx("82 0000 02000000"), tcp4()), four, nil},
		{"juniper ppp", 179, join([]byte("MGC"), hx("00 ff03 0021"), tcp4()), four, nil},
		{"juniper hdlc", 181, join([]byte("MGC"), hx("00 0f00 0800"), tcp4()), four, nil},
		{"juniper of old", 178, eth, four, nil},
		{"nflog of a big-endian machine", 239, join(hx("02 00 0000 0008 0001 08000103 002f 0009"), tcp4()), four, nil},
	}
}

func TestSwitchTags(t *testing.T) { runDissect(t, tagCases()) }

// TestCutTagsAreSaid: a tag that is cut off anywhere gives no packet, and never nothing. That of HSR's version 0 cannot
// be told from supervision then.
func TestCutTagsAreSaid(t *testing.T) {
	for _, c := range tagCases() {
		if c.link != 1 || len(c.want) != 1 || c.name == "hsr of version 0" {
			continue
		}
		for n := 17; n < len(c.frame)-43; n++ {
			r := newRig(DissectConfig{})
			if got := r.frame(c.link, c.frame[:n]); len(got) != 0 || len(r.weirds) == 0 {
				t.Errorf("%s cut to %d: %q %q", c.name, n, saysAll(got), r.weirds)
			}
		}
	}
}

// TestUnknownEtherTypesAreCounted against a plain count and sort of them all.
func TestUnknownEtherTypesAreCounted(t *testing.T) {
	r := newRig(DissectConfig{})
	random := rand.New(rand.NewPCG(1, 2))
	counts := map[uint16]uint64{}
	for range 20000 {
		typ := uint16(0xa000 + min(random.IntN(60), random.IntN(60)))
		counts[typ]++
		r.frame(1, mkEth(int(typ), make([]byte, 50)))
	}
	r.frame(1, mkEth(0x806, make([]byte, 50)))
	var want []EtherTypeCount
	for typ, n := range counts {
		want = append(want, EtherTypeCount{typ, n})
	}
	slices.SortFunc(want, func(a, b EtherTypeCount) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	s := r.Stats()
	if got := s.EtherTypes[:]; !slices.Equal(got, want[:ShownEtherTypes]) || s.UnknownType != 20000 || s.NonIP != 20001 {
		t.Errorf("%v, want %v; %d %d", got, want[:ShownEtherTypes], s.UnknownType, s.NonIP)
	}
	if len(r.weirds) != len(counts) {
		t.Errorf("%d weirds for %d types", len(r.weirds), len(counts))
	}
	if got := fmt.Sprint(EtherTypeCount{0x88b5, 12}); got != "0x88b5=12" {
		t.Error(got)
	}
	r.RestartEtherTypes()
	r.frame(1, mkEth(0xa001, make([]byte, 50)))
	if s := r.Stats(); s.EtherTypes[0] != (EtherTypeCount{0xa001, 1}) || s.EtherTypes[1].N != 0 || s.UnknownType != 20001 {
		t.Errorf("again: %v", s.EtherTypes)
	}
	if len(r.weirds) != len(counts) {
		t.Error("a type was told twice")
	}
}

// TestUnknownEtherTypesAreBounded: garbage has all of them.
func TestUnknownEtherTypesAreBounded(t *testing.T) {
	r := newRig(DissectConfig{})
	for typ := 1536; typ < 1<<16; typ++ {
		if !leadsToIP(uint16(typ)) && !neverIP(uint16(typ)) {
			r.frame(1, mkEth(typ, make([]byte, 50)))
		}
	}
	told := 0
	for _, w := range r.weirds {
		if w == "unknown_ether_type" || w == "many_unknown_ether_types" {
			told++
		}
	}
	if told != maxToldTypes+1 || r.weirds[len(r.weirds)-1] == "unknown_ether_type" {
		t.Errorf("%d weirds, the last %s", told, r.weirds[len(r.weirds)-1])
	}
}

// TestEncryptedMACsecIsSaidOnce, and counted.
func TestEncryptedMACsecIsSaidOnce(t *testing.T) {
	r := newRig(DissectConfig{})
	for range 3 {
		r.frame(1, mkEth(0x88e5, hx("2c 00 00000001 0200000000010001"), make([]byte, 60)))
	}
	if s := r.Stats(); s.Encrypted != 3 || s.NonIP != 3 || len(r.weirds) != 1 {
		t.Errorf("%+v %q", s, r.weirds)
	}
}
