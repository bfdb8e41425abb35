package capture

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
)

// TestTunnelPorts: the program knows every port on which the dissector looks for tunnels.
func TestTunnelPorts(t *testing.T) {
	for port := range 1 << 16 {
		if is := udpTunnelKind(uint16(port)) != tunNone; is != slices.Contains(tunnelPorts[:], uint16(port)) {
			t.Errorf("port %d: %v", port, is)
		}
	}
}

// tunnelFrames are frames that the program is to look through.
func tunnelFrames() map[string][]byte {
	bare := func(b []byte) []byte { // without a checksum of UDP, so that no other byte makes it wrong
		at := 14
		for b[at-2] == 0x81 {
			at += 4
		}
		if b[at]>>4 == 4 {
			at += 20
		} else {
			at += 40
		}
		b[at+6], b[at+7] = 0, 0
		return b
	}
	seg4, seg6 := mkIP4(6, mkTCP(1000, 80, []byte("12345678901"))), mkIP6(6, nil, 6, mkTCP(1000, 80, []byte("12345678901")))
	eth4, eth6 := mkEth(0x800, seg4), mkEth(0x8100, hx("0005 86dd"), seg6)
	vxlan, policy := hx("08000000 00000100"), hx("88080001 00000100")
	return map[string][]byte{
		"plain":                  mkEth(0x800, seg4),
		"plain IPv6 with tags":   mkEth(0x88a8, hx("0005 8100 0007 86dd"), seg6),
		"vxlan":                  bare(mkEth(0x800, mkIP4(17, mkUDP(1000, 4789, vxlan, eth4)))),
		"vxlan with a policy":    bare(mkEth(0x8100, hx("0005 0800"), mkIP4(17, mkUDP(4789, 4789, policy, eth6)))),
		"vxlan over IPv6":        bare(mkEth(0x86dd, mkIP6(17, nil, 17, mkUDP(1000, 8472, vxlan, eth6)))),
		"vxlan by shape":         bare(mkEth(0x800, mkIP4(17, mkUDP(1000, 7799, vxlan, eth4)))),
		"geneve":                 bare(mkEth(0x800, mkIP4(17, mkUDP(1000, 6081, hx("0200 6558 00000100 0102 80 01 00000000"), eth6)))),
		"geneve of packets":      bare(mkEth(0x86dd, mkIP6(17, nil, 17, mkUDP(1000, 6081, hx("0000 0800 00000100"), seg4)))),
		"geneve of IPv6 packets": bare(mkEth(0x800, mkIP4(17, mkUDP(6081, 6081, hx("0000 86dd 00000100"), seg6)))),
		"gre":                    mkEth(0x800, mkIP4(47, hx("0000 0800"), seg4)),
		"gre with a key":         mkEth(0x800, mkIP4(47, hx("3000 86dd 00000001 00000002"), seg6)),
		"nvgre":                  mkEth(0x86dd, mkIP6(47, nil, 47, hx("2000 6558 00000100"), eth4)),
		"erspan I":               mkEth(0x800, mkIP4(47, hx("0000 88be"), eth6)),
		"erspan II":              mkEth(0x800, mkIP4(47, hx("1000 88be 00000001 1000000000000000"), eth4)),
		"erspan III":             mkEth(0x800, mkIP4(47, hx("1000 22eb 00000001 200000000000000000000000"), eth4)),
		"erspan III, subheader":  mkEth(0x86dd, mkIP6(47, nil, 47, hx("1000 22eb 00000001 200000000000000000000001 0000000000000000"), eth4)),
		"wireguard":              mkEth(0x800, mkIP4(17, mkUDP(51820, 51820, hx("04000000 01020304 0500000000000000"), make([]byte, 48)))),
		"quic":                   mkEth(0x8100, hx("0005 86dd"), mkIP6(17, nil, 17, mkUDP(40000, 443, hx("4a 01 02 03 04 05 06 07 08"), []byte("nobody can read this, of all things"), seg4))),
		"unknown, like vxlan":    bare(mkEth(0x800, mkIP4(17, mkUDP(40000, 7799, hx("08000000 00000101"), eth4)))),
		"unknown, little":        mkEth(0x800, mkIP4(17, mkUDP(40000, 7799, hx("450000 21 0506070809")))),
		"erspan III of packets":  mkEth(0x800, mkIP4(47, hx("1000 22eb 00000001 200000000000000000000800"), seg4)),
	}
}

// shuntCase is a flow in the kernel's table, of which the next segment is that of a frame.
type shuntCase struct {
	s     *shunt
	p     *Packet // the segment
	outer int     // bytes of IP of the packet around it that is counted
	key   flowKey
	side  uint8
	slot  uint32
	sides [2]shuntSide
}

func newShuntCase(t *testing.T, s *shunt, frame []byte) *shuntCase {
	t.Helper()
	d := NewDissector(DissectConfig{})
	ps := d.Dissect(&Frame{Time: clockStart, Data: frame, WireLen: len(frame), Link: linkEthernet}, nil)
	p := &ps[len(ps)-1]
	c := &shuntCase{s: s, p: p}
	c.key, c.side = orient(p)
	if v := (via{p.Tunnel, p.turned}); v.tunnel != nil {
		b, k, side, ok := v.wire()
		if !ok {
			t.Fatal("no such tunnel")
		}
		if len(ps) > 1 {
			c.outer = ps[0].IPLen
			if outerKey, outerSide := orient(&ps[0]); k != outerKey || side != outerSide {
				t.Fatalf("the tunnel is %v, side %d; its packet is of %v, side %d", k, side, outerKey, outerSide)
			}
		}
		c.sides[c.side].via = b
	}
	for i := range c.sides {
		c.sides[i].left, c.sides[i].unit, c.sides[i].next, c.sides[i].ack = Unending, 1, p.Ack, p.Seq
	}
	c.sides[c.side].next, c.sides[c.side].ack = p.Seq, p.Ack
	return c
}

// counts runs the program on a frame and says whether it counted and dropped it.
func (c *shuntCase) counts(t *testing.T, prog *ebpf.Program, frame []byte, x *[2]shuntCounts) bool {
	t.Helper()
	var ok bool
	c.s.mu.Lock()
	for _, r := range c.s.rests { // no program is at them here
		c.s.free = append(c.s.free, r.slot)
	}
	c.s.rests = c.s.rests[:0]
	c.s.mu.Unlock()
	if c.slot, _, ok = c.s.Put(&c.key, &c.sides); !ok {
		t.Fatal("no room")
	}
	ret, err := prog.Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		t.Skip("no BPF here: ", err)
	}
	c.s.Take(&c.key, c.slot, x)
	return ret == 1
}

// TestProgramSeesWhatTheDissectorSees: what the program counts is what the dissector finds in the frame, and what is looked
// through is looked through.
func TestProgramSeesWhatTheDissectorSees(t *testing.T) {
	s := newTestShunt(t)
	prog, err := s.load(linkEthernet, false, true, nil, 0)
	if err != nil {
		t.Skip("no XDP here: ", err)
	}
	defer prog.Close()
	tries := 5000
	switch {
	case os.Getenv("RAYTAP_SHUNT_FRAMES") != "":
		tries = 200000
	case testing.Short():
		tries = 200
	}
	counted := 0
	rng := rand.New(rand.NewPCG(1, 2))
	frames := tunnelFrames()
	for _, name := range slices.Sorted(maps.Keys(frames)) {
		frame := frames[name]
		c := newShuntCase(t, s, frame)
		check := func(frame []byte) bool {
			var x [2]shuntCounts
			if !c.counts(t, prog, frame, &x) {
				return false
			}
			counted++
			var weirds []string
			d := NewDissector(DissectConfig{Weird: func(w Weird) {
				if w.Name != "ip_hdr_len_zero" { // what a card was still to cut up is counted, too
					weirds = append(weirds, w.Name)
				}
			}})
			ps := d.Dissect(&Frame{Time: clockStart, Data: frame, WireLen: len(frame), Link: linkEthernet}, nil)
			if len(ps) == 0 || len(weirds) > 0 {
				t.Errorf("%s: %x: counted, of which the dissector finds %d packets, and says %v", name, frame, len(ps), weirds)
				return false
			}
			p, outer := &ps[len(ps)-1], 0
			if len(ps) > 1 {
				outer = ps[0].IPLen
			}
			k, side := orient(p)
			n := &x[side]
			same := k == c.key && side == c.side && p.Seq == n.first && (p.Tunnel == nil) == (c.p.Tunnel == nil) && (len(ps) > 1) == (c.outer > 0)
			if v := (via{p.Tunnel, p.turned}); same && v.tunnel != nil {
				b, _, _, ok := v.wire()
				same = ok && b == c.sides[side].via
			}
			if wantOuter := uint64(outer); !same || n.packets != 1 || n.bytes != uint64(p.IPLen) || n.payload != uint64(p.PayloadLen()) || n.wire != uint64(len(frame)) || len(ps) > 1 && n.outer != wantOuter {
				t.Errorf("%s: %x: counted %+v, is %+v in %+v, with %d around it", name, frame, *n, *p, p.Tunnel, outer)
				return false
			}
			return true
		}
		if !check(frame) {
			t.Errorf("%s: not counted", name)
			continue
		}
		head := len(frame) - 20 - 11 // up to where TCP begins
		if c.p.Proto == ProtoUDP {
			head = min(len(frame), 14+4+40+8+20)
		}
		for range tries {
			b := slices.Clone(frame)
			switch rng.IntN(8) {
			case 0: // behind the packet
				b = append(b, make([]byte, rng.IntN(20))...)
			case 1:
				b = b[:max(len(b)-rng.IntN(len(b)), 14)]
			case 2: // a header more, or less
				at := 12 + rng.IntN(head-12)
				b = slices.Insert(b, at, b[at:min(at+1+rng.IntN(20), len(b))]...)
			case 3:
				at := 12 + rng.IntN(head-12)
				b = slices.Delete(b, at, min(at+1+rng.IntN(20), len(b)))
			default:
				for range 1 + rng.IntN(2) {
					b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
				}
				if at := 14 + rng.IntN(head-14); rng.IntN(2) == 0 {
					b[at] = byte(rng.IntN(256))
				}
				refresh(b)
			}
			if c.p.Proto == ProtoUDP || noUDPSum(b) {
				check(b)
			}
		}
	}
	t.Logf("%d frames counted", counted)
}

// outerAt is where the outermost IP header of a frame begins, or -1.
func outerAt(b []byte) int {
	at := 14
	for len(b) > at+24 && (b[at-2] == 0x81 && b[at-1] == 0 || b[at-2] == 0x88 && b[at-1] == 0xa8) {
		at += 4
	}
	if len(b) < at+20 {
		return -1
	}
	return at
}

// refresh makes the checksum of the outermost IPv4 header right again, or most changes would be no more than wrong ones.
func refresh(b []byte) {
	if at := outerAt(b); at > 0 && b[at] == 0x45 {
		fixSum(b[at:at+20], 10, nil)
	}
}

// noUDPSum reports whether the outermost packet is no UDP with a checksum, which the program does not verify.
func noUDPSum(b []byte) bool {
	at := outerAt(b)
	switch {
	case at < 0:
		return true
	case b[at]>>4 == 4 && b[at+9] == ProtoUDP:
		at += 20
	case b[at]>>4 == 6 && b[at+6] == ProtoUDP:
		at += 40
	default:
		return true
	}
	return len(b) < at+8 || b[at+6]|b[at+7] == 0
}
