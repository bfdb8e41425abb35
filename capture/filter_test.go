package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

// filterFrames are one frame of each kind that expressions tell apart. Goldens name them by their place here.
func filterFrames() [][]byte {
	eth := func(t int, b ...[]byte) []byte { return mkEth(t, b...) }
	addr := func(b []byte, src, dst string) []byte { // an IPv4 packet between other addresses
		copy(b[12:], hx(src))
		copy(b[16:], hx(dst))
		fixSum(b[:20], 10, nil)
		return b
	}
	syn := mkTCP(40000, 443)
	syn[13] = FlagSYN
	frag := mkFrag4(7, 24, false, ProtoTCP, mkTCP(1000, 80))
	opts := join(hx("46 00 002c 1234 0000 40 06 0000"), addrA4, addrB4, hx("01010101"), mkTCP(1000, 80)) // with IP options
	arp := hx("0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002")
	return [][]byte{
		0:  eth(0x800, tcp4()), // 10.0.0.1:1000 > 10.0.0.2:80
		1:  eth(0x86dd, tcp6()),
		2:  eth(0x800, mkIP4(ProtoUDP, mkUDP(5000, 53, []byte("query")))),
		3:  eth(0x86dd, mkIP6(ProtoUDP, nil, ProtoUDP, mkUDP(53, 5000, []byte("answer")))),
		4:  eth(0x800, mkIP4(ProtoICMP, hx("08 00 0000 0001 0001"))),
		5:  eth(0x86dd, mkIP6(ProtoICMPv6, nil, ProtoICMPv6, hx("87 00 0000 00000000"), addrB6)),
		6:  join(hx("ffffffffffff 020000000001 0806"), arp, make([]byte, 18)),
		7:  eth(0x8100, hx("0064 0800"), tcp4()),           // VLAN 100
		8:  eth(0x88a8, hx("00c8 8100 0064 86dd"), tcp6()), // VLAN 100 in 200
		9:  eth(0x8847, hx("00064140"), tcp4()),            // MPLS label 100
		10: eth(0x8847, hx("00064040 000c8140"), tcp6()),   // label 200 behind label 100
		11: eth(0x8864, hx("1100 0027 002d 0021"), tcp4()), // PPPoE session 39
		12: eth(0x8863, hx("1109 0000 0004 01010000")),     // PPPoE discovery
		13: eth(0x800, addr(mkIP4(ProtoTCP, syn), "c0a80101", "08080808")),
		14: eth(0x800, frag),
		15: eth(0x800, opts),
		16: eth(0x800, mkIP4(ProtoSCTP, u16(2905), u16(80), make([]byte, 8))),
		17: eth(0x86dd, mkIP6(44, hx("06 00 0000 00000001"), ProtoTCP, mkTCP(1000, 80))), // first fragment
		18: join(hx("01005e0000fb 020000000001 0800"), addr(mkIP4(ProtoUDP, mkUDP(5353, 5353)), "0a000001", "e00000fb")),
		19: join(hx("ffffffffffff 020000000001 0800"), addr(mkIP4(ProtoUDP, mkUDP(68, 67)), "00000000", "ffffffff")),
		20: join(hx("0180c2000000 020000000001 0026 424203"), make([]byte, 35)), // 802.2: spanning tree
		21: eth(0x800, mkIP4(ProtoTCP, mkTCP(80, 40000, make([]byte, 1200)))),
		22: eth(0x800, tcp4()[:22]), // cut between the ports
		23: eth(0x800),              // cut behind the type
		24: eth(0x8035, arp),        // RARP
		25: eth(0x800, mkIP4(47, hx("0000 0800"), tcp4())),
	}
}

// filterGolden says which frames match, as tcpdump 4.99.3 has it.
var filterGolden = []struct{ expr, want string }{
	{`tcp`, "0 1 13 14 15 17 21 22"},
	{`udp`, "2 3 18 19"},
	{`icmp`, "4"},
	{`icmp6`, "5"},
	{`ip`, "0 2 4 13 14 15 16 18 19 21 22 23 25"},
	{`ip6`, "1 3 5 17"},
	{`arp`, "6"},
	{`rarp`, "24"},
	{`sctp`, "16"},
	{`igmp or pim or vrrp or esp or ah`, ""},
	{`not tcp`, "2 3 4 5 6 7 8 9 10 11 12 16 18 19 20 24 25"},
	{`! udp && ! tcp`, "4 5 6 7 8 9 10 11 12 16 20 24 25"},
	{`ip and not (tcp or udp or icmp)`, "16 25"},
	{`host 10.0.0.1`, "0 2 4 6 14 15 16 18 21 22 24 25"},
	{`src host 192.168.1.1`, "13"},
	{`dst 8.8.8.8`, "13"},
	{`src or dst 8.8.8.8`, "13"},
	{`src and dst 10.0.0.1`, ""},
	{`net 10`, "0 2 4 6 14 15 16 18 21 22 24 25"},
	{`net 192.168`, "13"},
	{`net 10.0.0.0/8`, "0 2 4 6 14 15 16 18 21 22 24 25"},
	{`src net 192.168.1.0/24`, "13"},
	{`dst net 224.0.0.0/4`, "18"},
	{`net 192.168.1.0 mask 255.255.255.0`, "13"},
	{`net 0.0.0.0/0`, "0 2 4 6 13 14 15 16 18 19 21 22 23 24 25"},
	{`host 2001:db8::1`, "1 3 5 17"},
	{`dst host 2001:db8::2`, "1 3 5 17"},
	{`net 2001:db8::/32`, "1 3 5 17"},
	{`net 2001:db8:0:0:0:0:0:0/36`, "1 3 5 17"},
	{`ip6 host 2001:db8::1 and not tcp`, "3 5"},
	{`ip host 10.0.0.1`, "0 2 4 14 15 16 18 21 22 25"},
	{`arp host 10.0.0.1`, "6"},
	{`rarp src host 10.0.0.1`, "24"},
	{`port 80`, "0 1 15 16 21"},
	{`port 80 or 443`, "0 1 13 15 16 21"},
	{`port (80 or 53)`, "0 1 2 3 15 16 21"},
	{`tcp port 80`, "0 1 15 21"},
	{`tcp src port 80`, "21"},
	{`udp dst port 53`, "2"},
	{`sctp port 80`, "16"},
	{`src port 53 or dst port 53`, "2 3"},
	{`src and dst port 5353`, "18"},
	{`portrange 1-100`, "0 1 2 3 15 16 19 21"},
	{`portrange 100-1`, "0 1 2 3 15 16 19 21"},
	{`tcp portrange 400-500`, "13"},
	{`udp src portrange 5000-6000`, "2 18"},
	{`port http`, "0 1 15 21"},
	{`port domain`, "2 3"},
	{`tcp port https`, "13"},
	{`portrange 20-80`, "0 1 2 3 15 16 19 21"},
	{`not port 80`, "2 3 4 5 6 7 8 9 10 11 12 13 14 17 18 19 20 24 25"},
	{`not host 10.0.0.1 and not port 53`, "1 5 7 8 9 10 11 12 13 17 19 20"},
	{`tcp and not (port 80 or port 443)`, "14 17"},
	{`host 192.168.1.1 and (8.8.8.8 or 9.9.9.9)`, "13"},
	{`proto 17`, "2 3 18 19"},
	{`proto \tcp`, "0 1 13 14 15 17 21 22"},
	{`ip proto \udp`, "2 18 19"},
	{`ip6 proto 58`, "5"},
	{`ip proto gre`, "25"},
	{`ether proto 0x800`, "0 2 4 13 14 15 16 18 19 21 22 23 25"},
	{`ether proto \arp`, "6"},
	{`ether proto 0x8863`, "12"},
	{`ether proto \stp`, "20"},
	{`ether host 02:00:00:00:00:01`, "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25"},
	{`ether dst 0200.0000.0002`, "0 1 2 3 4 5 7 8 9 10 11 12 13 14 15 16 17 21 22 23 24 25"},
	{`ether src 02-00-00-00-00-01`, "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25"},
	{`ether dst ff:ff:ff:ff:ff:ff`, "6 19"},
	{`ether broadcast`, "6 19"},
	{`broadcast`, "6 19"},
	{`multicast`, "6 18 19 20"},
	{`ip multicast`, "18 19"},
	{`ip broadcast`, "19"},
	{`ip6 multicast`, ""},
	{`vlan`, "7 8"},
	{`vlan 100`, "7"},
	{`vlan 200`, "8"},
	{`vlan and ip`, "7"},
	{`vlan and tcp port 80`, "7"},
	{`vlan 200 and vlan 100 and ip6`, "8"},
	{`tcp or vlan`, "0 1 7 8 13 14 15 17 21 22"},
	{`vlan or tcp`, "7 8"},
	{`not vlan`, "0 1 2 3 4 5 6 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25"},
	{`mpls`, "9 10"},
	{`mpls 100`, "9 10"},
	{`mpls and ip`, "9"},
	{`mpls 100 and mpls 200 and ip6`, "10"},
	{`mpls and tcp port 80`, "9"},
	{`pppoed`, "12"},
	{`pppoes`, "11"},
	{`pppoes 0x27 and tcp port 80`, "11"},
	{`pppoes 40`, ""},
	{`less 60`, "0 2 4 6 12 13 14 15 16 18 19 20 22 23 24"},
	{`greater 1000`, "21"},
	{`len = 60`, "6"},
	{`len > 100 and len <= 1254`, "21"},
	{`tcp[13] & 2 != 0`, "13"},
	{`tcp[tcpflags] & (tcp-syn|tcp-ack) = tcp-syn`, "13"},
	{`tcp[tcpflags] & (tcp-push|tcp-ack) == tcp-push|tcp-ack`, "0 15 21"},
	{`tcp[0:2] = 1000 and tcp[2:2] = 80`, "0 15"},
	{`ip[0] & 0xf != 5`, "15"},
	{`ip[6:2] & 0x1fff != 0`, "14"},
	{`ip[2:2] > 576`, "21"},
	{`ip[12:4] < ip[16:4]`, "0 2 4 14 15 16 18 19 21 22 25"},
	{`ip[2:2] + 14 = len`, "0 2 4 13 14 15 16 18 19 21 25"},
	{`ip[8] * 2 / 4 - 1 << 1 >> 1 | 1 & 3 = 31`, "0 2 4 13 14 15 16 18 19 21 22 25"},
	{`ip[9] ^ 6 = 0`, "0 13 14 15 21 22"},
	{`ip[8] % 60 = 4`, "0 2 4 13 14 15 16 18 19 21 22 25"},
	{`udp[4:2] > 8`, "2"},
	{`udp[8:4] = 0x71756572`, "2"},
	{`icmp[icmptype] = icmp-echo`, "4"},
	{`icmp6[icmp6type] = icmp6-neighborsolicit`, "5"},
	{`ip6[6] = 44`, "17"},
	{`ether[0] & 1 = 0 and ip[16] >= 224`, ""},
	{`ether[12:2] = 0x86dd`, "1 3 5 17"},
	{`ip[-2:2] = 0x800`, "0 2 4 13 14 15 16 18 19 21 22 23 25"},
	{`tcp[(tcp[12] & 0xf0) >> 2:2] = 0x4745`, "0"},
	{`tcp[ip[0] - 0x45] = 3`, "0 22"},
	{`tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)`, "0 21"},
	{`100 < len`, "21"},
	{`(len - 14) / 2 = 20`, "13 14"},
	{`arp[6:2] = 1`, "6"},
	{`len = -1`, ""},
	{`1 = 2 or udp`, "2 3 18 19"},
	{`udp and 1 = 1`, "2 3 18 19"},
}

func matching(t testing.TB, expr string, frames []Frame) []int {
	t.Helper()
	f, err := CompileFilter(expr, frames[0].Link)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for i := range frames {
		if f.Match(&frames[i]) {
			got = append(got, i)
		}
	}
	return got
}

func asFrames(link uint16, data [][]byte) []Frame {
	var fs []Frame
	for i, b := range data {
		fs = append(fs, Frame{Ordinal: uint64(i + 1), Data: b, WireLen: len(b), Link: link})
	}
	return fs
}

func TestFilterGolden(t *testing.T) {
	frames := asFrames(linkEthernet, filterFrames())
	seen := map[int]bool{}
	for _, c := range filterGolden {
		got := matching(t, c.expr, frames)
		if s := strings.Trim(fmt.Sprint(got), "[]"); s != c.want {
			t.Errorf("%s: %s, want %s", c.expr, s, c.want)
		}
		if len(got) < len(frames) {
			for _, i := range got {
				seen[i] = true
			}
		}
	}
	for i := range frames {
		if !seen[i] && i != 23 {
			t.Errorf("no expression tells frame %d from others", i)
		}
	}
}

// TestFilterOtherLinks: the same IP packets say the same in every link layer.
func TestFilterOtherLinks(t *testing.T) {
	packets := [][]byte{tcp4(), tcp6(), mkIP4(ProtoUDP, mkUDP(5000, 53)), mkIP6(ProtoICMPv6, nil, ProtoICMPv6, hx("87 00 0000 00000000"), addrB6)}
	cooked1 := func(p []byte) []byte {
		return join(hx("0004 0001 0006 020000000001 0000"), map[byte][]byte{4: hx("0800"), 6: hx("86dd")}[p[0]>>4], p)
	}
	cooked2 := func(p []byte) []byte {
		return join(map[byte][]byte{4: hx("0800"), 6: hx("86dd")}[p[0]>>4], hx("0000 00000002 0001 04 06 020000000001 0000"), p)
	}
	family := func(four, six string) func([]byte) []byte {
		return func(p []byte) []byte { return join(map[byte][]byte{4: hx(four), 6: hx(six)}[p[0]>>4], p) }
	}
	after := func(head, tail string) func([]byte) []byte { // what stands before and behind the Ethernet type
		return func(p []byte) []byte {
			return join(hx(head), map[byte][]byte{4: hx("0800"), 6: hx("86dd")}[p[0]>>4], hx(tail), p)
		}
	}
	raw := func(p []byte) []byte { return p }
	links := []struct {
		name  string
		link  uint16
		frame func([]byte) []byte
	}{
		{"raw", linkRaw, raw},
		{"raw on BSD", linkRaw12, raw},
		{"raw on OpenBSD", linkRaw14, raw},
		{"null, little-endian, Linux", linkNull, family("02000000", "0a000000")},
		{"null, big-endian, macOS", linkNull, family("00000002", "0000001e")},
		{"loop, OpenBSD", linkLoop, family("00000002", "00000018")},
		{"null, FreeBSD", linkNull, family("02000000", "1c000000")},
		{"cooked v1", linkLinuxSLL, cooked1},
		{"cooked v2", linkLinuxSLL2, cooked2},
		{"dsa", linkDSA, after("020000000002 020000000001 c0080001", "")},
		{"edsa", linkEDSA, after("020000000002 020000000001 dada 0000 c0080001", "")},
		{"broadcom", linkDSABrcm, after("020000000002 020000000001 00000001", "")},
		{"infiniband", linkIPoIB, after("0000000000000000000000000000000000000000", "0000")},
		{"solaris", linkIPNET, func(p []byte) []byte { return join(make([]byte, 24), p) }},
		{"enc", linkENC, func(p []byte) []byte { return join(make([]byte, 12), p) }},
	}
	exprs := []struct{ expr, want string }{
		{"tcp", "[0 1]"},
		{"ip", "[0 2]"},
		{"ip6", "[1 3]"},
		{"arp", "[]"},
		{"port 80 or 53", "[0 1 2]"},
		{"tcp dst port 80 and src host 10.0.0.1", "[0]"},
		{"host 2001:db8::1", "[1 3]"},
		{"net 2001:db8::/32 and not tcp", "[3]"},
		{"ip[9] = 17 or icmp6[0] = 135", "[2 3]"},
		{"tcp[13] & tcp-ack != 0", "[0]"},
		{"not ip", "[1 3]"},
	}
	for _, l := range links {
		var data [][]byte
		for _, p := range packets {
			data = append(data, l.frame(p))
		}
		frames := asFrames(l.link, data)
		for _, e := range exprs {
			if got := fmt.Sprint(matching(t, e.expr, frames)); got != e.want {
				t.Errorf("%s: %s: %s, want %s", l.name, e.expr, got, e.want)
			}
		}
	}
	for _, e := range []struct {
		link uint16
		expr string
		data []byte
	}{
		{linkIPv4, "ip and tcp and not ip6", tcp4()},
		{linkIPv6, "ip6 and tcp and not ip", tcp6()},
		{linkLinuxSLL, "outbound and not inbound", cooked1(tcp4())},
		{linkLinuxSLL2, "outbound and not inbound", cooked2(tcp4())},
		{linkLinuxSLL, "vlan 100 and tcp", join(hx("0000 0001 0006 020000000001 0000 8100 0064 0800"), tcp4())},
	} {
		if len(matching(t, e.expr, asFrames(e.link, [][]byte{e.data}))) != 1 {
			t.Errorf("link type %d: %s does not match", e.link, e.expr)
		}
	}
}

// TestFilterLengthIsThatOnTheWire: less, greater and len ask for the packet, not for what of it was captured.
func TestFilterLengthIsThatOnTheWire(t *testing.T) {
	fs := asFrames(linkEthernet, [][]byte{mkEth(0x800, tcp4())})
	fs[0].WireLen = 1000
	for expr, want := range map[string]int{"greater 1000": 1, "less 999": 0, "len = 1000": 1} {
		if got := matching(t, expr, fs); len(got) != want {
			t.Errorf("%s: %v", expr, got)
		}
	}
}

func TestFilterErrorsSayWhere(t *testing.T) {
	for _, c := range []struct {
		expr   string
		column int
		reason string
	}{
		{"host", 5, "missing"},
		{"tcp port", 9, "missing"},
		{"not", 4, "expected an expression"},
		{"tcp and", 8, "expected an expression"},
		{"tcp udp", 5, "too much"},
		{"foo", 1, "before it"},
		{"10.0.0.1", 1, "before it"},
		{"tcp and 10.0.0.1", 9, "before it"},
		{"port 80 or foo", 12, "not known"},
		{"host example.com", 6, "not looked up"},
		{"host 1.2.3.400", 6, "not an address"},
		{"host 1.2.3.4.5", 6, "not an address"},
		{"host 1.2.3.4/32", 13, "only a net"},
		{"net 10.1.0.0/8", 5, "outside of the mask"},
		{"net 10.0.0.0/33", 14, "up to 32"},
		{"net 2001:db8::1/32", 5, "outside of the mask"},
		{"net 2001:db8::/129", 16, "up to 128"},
		{"net 10.1.0.0 mask 255.0.0.0", 5, "outside of the mask"},
		{"net 10.0.0.0 mask x", 19, "network mask"},
		{"ip host ::1", 9, "no IPv6"},
		{"ip6 host 1.2.3.4", 10, "not an IPv6"},
		{"tcp host 1.2.3.4", 10, "no addresses"},
		{"tcp src 1.2.3.4", 9, "no addresses"},
		{"port 65536", 6, "65535"},
		{"portrange 1-70000", 11, "65535"},
		{"icmp port 5", 11, "no ports"},
		{"ip port 80", 9, "no ports"},
		{"udp port http", 10, "not of udp"},
		{"src tcp port 80", 5, "no"},
		{"dst proto 5", 5, "no direction"},
		{"ip proto 256", 10, "no protocol"},
		{"proto foo", 7, "not known"},
		{"tcp proto 6", 11, "no meaning"},
		{"ether", 1, "needs"},
		{"ether host 1:2:3", 12, "not an Ethernet address"},
		{"ether host 00:11:22:33:44:555", 12, "not an Ethernet address"},
		{"ether net 1.2.3.4", 11, "no networks"},
		{"vlan 4096", 1, "4095"},
		{"mpls 1048576", 1, "1048575"},
		{"mpls and vlan", 10, "after mpls"},
		{"inbound", 1, "direction"},
		{"tcp broadcast", 5, "no broadcasts"},
		{"gateway 1.2.3.4", 1, "not supported"},
		{"ip6 protochain 6", 5, "not supported"},
		{"geneve", 1, "not supported"},
		{"wlan type mgt", 1, "needs"},
		{"tcp[13", 7, "expected ]"},
		{"tcp[13] 2", 9, "comparison"},
		{"tcp[0:3] = 1", 7, "only 1, 2 and 4"},
		{"tcp[] = 1", 5, "expected a number"},
		{"tcp[99999999] = 1", 1, "beyond"},
		{"len / 0 = 1", 5, "division by zero"},
		{"len << 32 = 1", 5, "31 bits"},
		{"len % 4 * 3 = 1", 5, "parentheses"},
		{"2 * len ^ 3 = 1", 9, "parentheses"},
		{"len = 4294967296", 7, "expected a number"},
		{"len = 08", 7, "expected a number"},
		{"(tcp", 1, "not closed"},
		{"tcp)", 4, "too many"},
		{"tcp]", 4, "too many"},
		{"tcp $ udp", 5, "no meaning"},
		{"tcp and \\", 9, "backslash"},
		{"less foo", 6, "a length"},
		{strings.Repeat("(", 300) + "tcp" + strings.Repeat(")", 300), 0, "nested"},
		{"len = " + strings.Repeat("-", 300) + "1", 0, "nested"},
		{strings.Repeat("host 1.2.3.4 or ", 3000) + "tcp", 1, "instructions"},
		{strings.Repeat("x", maxFilterText+1), maxFilterText + 1, "longer"},
	} {
		_, err := CompileFilter(c.expr, linkEthernet)
		var e *FilterError
		if !errors.As(err, &e) {
			t.Errorf("%s: %v, want an error", c.expr, err)
			continue
		}
		if c.column > 0 && e.Column != c.column || !strings.Contains(e.Reason, c.reason) {
			t.Errorf("%s: column %d: %s", c.expr, e.Column, e.Reason)
		}
	}
	for _, link := range []uint16{linkRadiotap, linkPPP, 147} {
		if _, err := CompileFilter("tcp", link); err == nil || !strings.Contains(err.Error(), "link type") {
			t.Errorf("link type %d: %v", link, err)
		}
	}
	for _, expr := range []string{"broadcast", "multicast", "ether host 00:11:22:33:44:55", "vlan"} {
		if _, err := CompileFilter(expr, linkRaw); err == nil {
			t.Errorf("%s: compiles for raw IP", expr)
		}
	}
}

// TestFilterJumpsFarther than the 255 instructions that a conditional jump reaches.
func TestFilterJumpsFarther(t *testing.T) {
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf("host 10.1.0.%d", i))
	}
	frames := asFrames(linkEthernet, filterFrames())
	for _, c := range []struct{ expr, same string }{
		{strings.Join(list, " or ") + " or tcp port 80", "tcp port 80"},
		{"tcp and not (" + strings.Join(list, " or ") + ")", "tcp"},
		{"tcp port 443 or (" + strings.Join(list, " or ") + ")", "tcp port 443"},
	} {
		if got, want := matching(t, c.expr, frames), matching(t, c.same, frames); !slices.Equal(got, want) {
			t.Errorf("... %s: %v, want %v", c.same, got, want)
		}
		f, _ := CompileFilter(c.expr, linkEthernet)
		agreeWithVM(t, f, frames)
	}
}

// agreeWithVM runs a filter in the other implementation of the machine, which also checks that the program is sound.
func agreeWithVM(t testing.TB, f *Filter, frames []Frame) {
	t.Helper()
	prog, ok := bpf.Disassemble(f.Program())
	if !ok {
		t.Fatal("the program has instructions that package bpf does not know")
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	for i := range frames {
		fr := frames[i]
		fr.WireLen = len(fr.Data) // the other one knows no other length
		n, err := vm.Run(fr.Data)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Match(&fr); got != (n != 0) {
			t.Errorf("frame %d: %v, bpf.VM %d", i, got, n)
		}
	}
}

func TestFilterProgramsAreThoseOfBPF(t *testing.T) {
	frames := asFrames(linkEthernet, filterFrames())
	for _, c := range filterGolden {
		f, err := CompileFilter(c.expr, linkEthernet)
		if err != nil {
			t.Fatal(err)
		}
		agreeWithVM(t, f, frames)
	}
}

func TestFilterMatchAllocatesNothing(t *testing.T) {
	f, err := CompileFilter("tcp port 80 and tcp[13] & 2 = 0", linkEthernet)
	if err != nil {
		t.Fatal(err)
	}
	fr := asFrames(linkEthernet, filterFrames())[0]
	if n := testing.AllocsPerRun(100, func() {
		if !f.Match(&fr) {
			t.Fatal("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestFilterAgainstTcpdump compares the golden expressions, on the frames here and on the captures of the project, with
// a real libpcap.
func TestFilterAgainstTcpdump(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of tcpdump runs")
	}
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("no tcpdump: ", err)
	}
	captures := map[string][]Frame{"built": asFrames(linkEthernet, filterFrames())}
	names, _ := filepath.Glob("../pcaps/*.pcap*")
	for i, name := range names {
		if i%8 != 0 {
			continue
		}
		src, err := OpenFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var b Batch
		if err := src.ReadBatch(&b); err != nil { // a block of it is enough
			t.Fatal(err)
		}
		src.Close()
		captures[filepath.Base(name)] = b.Frames[:min(len(b.Frames), 2000)]
	}
	for name, frames := range captures {
		file := filepath.Join(t.TempDir(), "x.pcap")
		w := pcapWriter{magic: 0xa1b2c3d4, link: uint32(frames[0].Link)}
		w.frames = append(w.frames, frames...)
		if err := os.WriteFile(file, w.bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range filterGolden {
			want, err := tcpdump(file, c.expr)
			if err != nil && cannotFilter(err) {
				continue // of a link type that tcpdump reads and cannot filter by this
			}
			if err != nil {
				t.Errorf("%s: %s: %v", name, c.expr, err)
				continue
			}
			got := append([]int{}, matching(t, c.expr, frames)...)
			if len(got) != len(want) {
				t.Errorf("%s: %s: %d frames, tcpdump has %d", name, c.expr, len(got), len(want))
				continue
			}
			for n, i := range got {
				if !bytes.Equal(frames[i].Data, want[n]) {
					t.Errorf("%s: %s: frame %d is not what tcpdump has there", name, c.expr, i)
					break
				}
			}
		}
	}
}

// tcpdump gives the frames of a file that an expression matches.
func tcpdump(file, expr string) (frames [][]byte, err error) {
	c := exec.Command("tcpdump", "-r", file, "-w", "-", expr)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if strings.Contains(stderr.String(), "rejects all packets") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	src, err := NewFile("tcpdump", bytes.NewReader(out))
	if err != nil {
		return nil, err
	}
	for {
		var b Batch
		if err := src.ReadBatch(&b); errors.Is(err, io.EOF) {
			return frames, nil
		} else if err != nil {
			return nil, err
		}
		for _, f := range b.Frames {
			frames = append(frames, f.Data)
		}
	}
}

// FuzzFilter: any expression gives a program that Linux would take, or an error with a place in it; and any program
// agrees with package bpf on any frame.
func FuzzFilter(f *testing.F) {
	for i, c := range filterGolden {
		f.Add(c.expr, filterFrames()[i%26])
	}
	f.Add("(((1))) & -len[ip[0:2]] != tcp-syn", []byte("x"))
	f.Fuzz(func(t *testing.T, expr string, data []byte) {
		for _, link := range []uint16{linkEthernet, linkRaw, linkNull, linkLinuxSLL, linkLinuxSLL2} {
			p, err := CompileFilter(expr, link)
			var e *FilterError
			switch {
			case err == nil:
				agreeWithVM(t, p, asFrames(link, [][]byte{data}))
			case !errors.As(err, &e) || e.Column < 1 || e.Column > len(expr)+1:
				t.Fatalf("%q: %v", expr, err)
			}
		}
	})
}

func BenchmarkFilter(b *testing.B) {
	for _, expr := range []string{"tcp", "port 80 or 443", "host 192.168.1.1", "not (port 22 or 53) and not net 192.168.0.0/16"} {
		b.Run(strings.ReplaceAll(expr, " ", "_"), func(b *testing.B) {
			f, err := CompileFilter(expr, linkEthernet)
			if err != nil {
				b.Fatal(err)
			}
			fr := asFrames(linkEthernet, filterFrames())[21]
			for b.Loop() {
				f.Match(&fr)
			}
		})
	}
}

// cannotFilter reports whether tcpdump's error says that it knows no such filter for the link type of the file.
func cannotFilter(err error) bool {
	for _, s := range [...]string{"filtering not implemented", "supported only on", "not a broadcast link", "no VLAN support for", "no MPLS support for"} {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}
