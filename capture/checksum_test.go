package capture

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

func TestSumAgainstNaive(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	swap := func(x uint16) uint16 { return x<<8 | x>>8 }
	for n := range 2000 {
		b := make([]byte, n+n%7)[n%7:] // at every alignment
		for i := range b {
			b[i] = byte(rnd.Uint32())
			if n%3 == 0 {
				b[i] = 0xff // carries everywhere
			}
		}
		want := swap(naiveSum(b))
		for name, sum := range map[string]func(uint64, []byte) uint64{"sum": sum, "sumWords": sumWords} {
			if got := fold(sum(0, b)); got != want {
				t.Fatalf("%s of %d bytes: %#x, want %#x", name, n, got, want)
			}
		}
	}
}

func TestChecksumFindsEveryFlippedBit(t *testing.T) {
	frames := map[string][]byte{
		"tcp4":  tcp4(),
		"tcp6":  tcp6(),
		"udp4":  mkIP4(17, mkUDP(1000, 2000, []byte("hello"))),
		"udp6":  mkIP6(17, nil, 17, mkUDP(1000, 2000, []byte("hello"))),
		"icmp4": mkIP4(1, hx("08 00 0000 0001 0001"), []byte("hello")),
		"icmp6": mkIP6(58, nil, 58, hx("80 00 0000 0001 0001"), []byte("hello")),
	}
	for name, b := range frames {
		ps := newRig(DissectConfig{}).frame(101, b)
		if len(ps) != 1 || !ps[0].ChecksumOK() {
			t.Fatalf("%s: a right checksum is wrong", name)
		}
		p := ps[0]
		for i := range p.L4 {
			for bit := range 8 {
				p.L4[i] ^= 1 << bit
				// The length of UDP decides what is summed, and one bit of it may take padding in or leave it out.
				if p.ChecksumOK() && !(p.Proto == ProtoUDP && (i == 4 || i == 5)) {
					t.Errorf("%s: byte %d bit %d", name, i, bit)
				}
				p.L4[i] ^= 1 << bit
			}
		}
		p.Src[15]++
		if p.ChecksumOK() && p.Proto != ProtoICMP {
			t.Errorf("%s: source address is not summed", name)
		}
	}
}

func TestChecksumExceptions(t *testing.T) {
	vxlan := join(hx("08000000 00000100"), mkEth(0x800, tcp4()))
	zero := func(b []byte, at int) []byte { b[at], b[at+1] = 0, 0; return b }
	tail := mkIP4(17, mkUDP(1000, 2000, []byte("hello")), []byte("tail"))
	// The UDP header leaves the tail out, and so must the sum.
	copy(tail[20:], l4sum(17, addrA4, addrB4, mkUDP(1000, 2000, []byte("hello"))))
	for _, c := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"udp over ipv4 without", zero(mkIP4(17, mkUDP(1000, 2000, []byte("hello"))), 26), true},
		{"udp over ipv6 without", zero(mkIP6(17, nil, 17, mkUDP(1000, 2000, []byte("hello"))), 46), false},
		{"vxlan over ipv6 without", zero(mkIP6(17, nil, 17, mkUDP(1000, 4789, vxlan)), 46), true},
		{"geneve over ipv6 without", zero(mkIP6(17, nil, 17, mkUDP(1000, 6081, vxlan)), 46), true},
		{"tcp without", zero(tcp4(), 36), false},
		{"udp shorter than ip", tail, true},
		{"sctp is not judged", mkIP4(132, make([]byte, 12)), true},
		{"icmp of zeros", mkIP4(1, patched(make([]byte, 8), 0, 8)), true},
	} {
		ps := newRig(DissectConfig{}).frame(101, c.b)
		if len(ps) == 0 || ps[0].ChecksumOK() != c.want {
			t.Errorf("%s: not %v", c.name, c.want)
		}
	}
	p := Packet{Proto: ProtoICMP, L4: make([]byte, 8), L4Len: 8}
	if p.ChecksumOK() {
		t.Error("a message of zeros only has no right checksum")
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{20, 64, 100, 200, 500, 1460} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p := Packet{Proto: ProtoTCP, L4: make([]byte, n), L4Len: n}
			b.SetBytes(int64(n))
			for b.Loop() {
				p.ChecksumOK()
			}
		})
	}
}
