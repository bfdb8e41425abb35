package capture

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"strings"
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

// TestVerifiedByTheCard: what the card says goes for the outermost TCP and UDP checksum and for nothing else.
func TestVerifiedByTheCard(t *testing.T) {
	wrong := func(packet []byte) []byte {
		b := bytes.Clone(packet)
		b[len(b)-1] ^= 1
		return b
	}
	vxlan := func(inner []byte) []byte {
		return mkIP4(17, mkUDP(1000, 4789, hx("08000000 00000100"), mkEth(0x800, inner)))
	}
	seg := l4sum(6, addrA4, addrB4, mkTCP(1000, 80, []byte("0123456789ab")))
	for _, c := range []struct {
		name   string
		frames [][]byte
		want   bool // of the last packet
	}{
		{"TCP", [][]byte{wrong(tcp4())}, true},
		{"TCP over IPv6", [][]byte{wrong(tcp6())}, true},
		{"UDP", [][]byte{wrong(mkIP4(17, mkUDP(1000, 53, []byte("abc"))))}, true},
		{"ICMP", [][]byte{wrong(mkIP4(1, hx("0800 0000 0001 0001 6162")))}, false},
		{"ICMPv6", [][]byte{wrong(mkIP6(58, nil, 58, hx("8000 0000 0001 0001 6162")))}, false},
		{"TCP in a tunnel", [][]byte{vxlan(wrong(tcp4()))}, false},
		{"TCP in a tunnel, right", [][]byte{vxlan(tcp4())}, true},
		{"TCP of fragments", [][]byte{mkFrag4(7, 0, true, 6, seg[:24]), mkFrag4(7, 24, false, 6, wrong(seg[24:]))}, false},
		{"TCP of fragments, right", [][]byte{mkFrag4(7, 0, true, 6, seg[:24]), mkFrag4(7, 24, false, 6, seg[24:])}, true},
	} {
		for _, verified := range []bool{true, false} {
			d := NewDissector(DissectConfig{})
			var got []Packet
			for i, b := range c.frames {
				got = d.Dissect(&Frame{Data: b, WireLen: len(b), Link: 101, Ordinal: uint64(i + 1), Verified: verified}, nil)
			}
			if len(got) == 0 {
				t.Errorf("%s: no packet", c.name)
				continue
			}
			right := strings.HasSuffix(c.name, "right")
			if ok := got[len(got)-1].ChecksumOK(); ok != (verified && c.want || right) {
				t.Errorf("%s, verified %v: %v", c.name, verified, ok)
			}
		}
	}
}

// TestOffloadedBeyond64K: the sum that Linux leaves to a card has all of a length that the IP header has no room for
// (__tcp_v4_send_check, tcp4_gro_complete).
func TestOffloadedBeyond64K(t *testing.T) {
	for _, n := range []int{20, 65535, 65536, 69235, 200000} {
		p := &Packet{Proto: ProtoTCP, L4: make([]byte, n), L4Len: n, HdrLen: 20}
		p.Src[12], p.Src[15], p.Dst[12], p.Dst[15] = 203, 5, 10, 5
		sum := uint32(203<<8+5+10<<8+5+ProtoTCP) + uint32(n&0xffff+n>>16)
		for sum>>16 != 0 {
			sum = sum&0xffff + sum>>16
		}
		binary.BigEndian.PutUint16(p.L4[16:], uint16(sum))
		if !p.Offloaded() {
			t.Errorf("%d bytes: %#04x is not taken for the sum of the pseudo header", n, sum)
		}
		p.L4[17] ^= 0x40
		if p.Offloaded() {
			t.Errorf("%d bytes: a wrong sum is taken for it", n)
		}
		// Windows leaves the length out where the card is to cut the segment up.
		binary.BigEndian.PutUint16(p.L4[16:], 203<<8+5+10<<8+5+ProtoTCP)
		if !p.Offloaded() {
			t.Errorf("%d bytes: not taken for the sum without the length", n)
		}
	}
}
