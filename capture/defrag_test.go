package capture

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// fragTCP is a TCP packet to cut up, 20+100 bytes.
func fragTCP() []byte {
	data := make([]byte, 100)
	for i := range data {
		data[i] = byte('a' + i%26)
	}
	return l4sum(6, addrA4, addrB4, mkTCP(1000, 80, data))
}

// mkFrag6 is an IPv6 fragment; off counts bytes, next is the type of what was cut up.
func mkFrag6(id, off int, more bool, next int, b []byte) []byte {
	f := off
	if more {
		f |= 1
	}
	return join(hx("60000000"), u16(8+len(b)), hx("2c 40"), addrA6, addrB6, []byte{byte(next), 0}, u16(f), u16(0), u16(id), b)
}

func TestFragmentsInAnyOrder(t *testing.T) {
	b := fragTCP()
	b6 := l4sum(6, addrA6, addrB6, b)
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		r := newRig(DissectConfig{})
		four := [3][]byte{mkFrag4(7, 0, true, 6, b[:48]), mkFrag4(7, 48, true, 6, b[48:96]), mkFrag4(7, 96, false, 6, b[96:])}
		six := [3][]byte{mkFrag6(7, 0, true, 6, b6[:48]), mkFrag6(7, 48, true, 6, b6[48:96]), mkFrag6(7, 96, false, 6, b6[96:])}
		for v, frags := range [][3][]byte{four, six} {
			want, hdr := b, 20
			if v == 1 {
				want, hdr = b6, 40
			}
			for i, n := range order {
				got := r.frame(101, frags[n])
				if i < 2 {
					if len(got) != 0 {
						t.Fatalf("%v: a packet after %d fragments", order, i+1)
					}
					continue
				}
				if len(got) != 1 {
					t.Fatalf("%v: %q %q", order, saysAll(got), r.weirds)
				}
				p := got[0]
				if !bytes.Equal(p.L4, want) || p.L4Len != len(want) || p.IPLen != hdr+len(want) || p.SrcPort != 1000 ||
					p.Ordinal != r.n || p.NoChecksum || !p.ChecksumOK() {
					t.Errorf("%v: %+v", order, p)
				}
			}
		}
		if len(r.weirds) != 0 || r.frags.held != 0 || r.frags.table.len() != 0 || len(r.frags.kin) != 0 {
			t.Errorf("%v: left behind %q %+v", order, r.weirds, r.frags.held)
		}
	}
}

// TestReassembledOwnsItsBytes: the frames are gone when the packet is read.
func TestReassembledOwnsItsBytes(t *testing.T) {
	b := fragTCP()
	r := newRig(DissectConfig{})
	one, two := mkFrag4(7, 0, true, 6, b[:48]), mkFrag4(7, 48, false, 6, b[48:])
	r.frame(101, one)
	clear(one)
	got := r.frame(101, two)
	clear(two)
	if len(got) != 1 || !bytes.Equal(got[0].L4, b) {
		t.Errorf("%q", saysAll(got))
	}
}

func TestFragmentWeirds(t *testing.T) {
	b := fragTCP()
	other := bytes.ToUpper(b)
	first := mkFrag4(7, 0, true, 6, b[:48])
	last := mkFrag4(7, 48, false, 6, b[48:])
	df := slices.Clone(first)
	df[6] |= 0x40
	fixSum(df[:20], 10, nil)
	opts := join(hx("46 00 0054 0007 2000 40 06 0000"), addrA4, addrB4, hx("01010101"), b[:48])
	opts[3] = byte(len(opts))
	fixSum(opts[:24], 10, nil)
	for _, c := range []struct {
		name   string
		frames [][]byte
		l4     []byte // of the one packet that comes out, nil: none does
		weirds []string
	}{
		{"the first copy wins, at the end", [][]byte{first, mkFrag4(7, 40, false, 6, other[40:])}, join(b[:48], other[48:]), []string{"fragment_inconsistency"}},
		{"the first copy wins, at the beginning", [][]byte{last, mkFrag4(7, 0, true, 6, other[:64])}, join(other[:48], b[48:]), []string{"fragment_inconsistency"}},
		{"the first copy wins, in the middle", [][]byte{mkFrag4(7, 48, true, 6, b[48:96]), mkFrag4(7, 0, true, 6, other[:104]), mkFrag4(7, 104, false, 6, b[104:])},
			join(other[:48], b[48:96], other[96:104], b[104:]), []string{"fragment_inconsistency"}},
		{"the same twice", [][]byte{first, first, last}, b, []string{"fragment_overlap"}},
		{"dont fragment", [][]byte{df, last}, b, []string{"fragment_with_DF"}},
		{"small", [][]byte{mkFrag4(7, 0, true, 6, b[:40]), mkFrag4(7, 40, false, 6, b[40:])}, b, []string{"excessively_small_fragment"}},
		{"two ends", [][]byte{last, mkFrag4(7, 40, false, 6, b[40:112]), mkFrag4(7, 0, true, 6, b[:40])}, b,
			[]string{"fragment_size_inconsistency", "fragment_overlap", "excessively_small_fragment"}},
		{"more behind the end", [][]byte{mkFrag4(7, 0, true, 6, b[:48]), mkFrag4(7, 96, true, 6, b[96:]), mkFrag4(7, 48, false, 6, b[48:88])}, b[:88], []string{"excessively_small_fragment", "fragment_size_inconsistency"}},
		{"headers of two lengths", [][]byte{opts, last}, b, []string{"fragment_protocol_inconsistency"}},
		{"two protocols are two packets", [][]byte{mkFrag4(7, 0, true, 17, b[:48]), first, last}, b, []string{"fragment_protocol_inconsistency"}},
		{"ping of death", [][]byte{mkFrag4(7, 65528, false, 6, b[:48])}, nil, []string{"excessively_large_fragment"}},
		{"an end without a beginning", [][]byte{last, last}, nil, []string{"fragment_overlap"}},
		{"nothing in the last one", [][]byte{first, mkFrag4(7, 48, false, 6, nil)}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(DissectConfig{IgnoreChecksums: true})
			var got []Packet
			for _, f := range c.frames {
				got = append(got, r.frame(101, f)...)
			}
			if c.l4 == nil && len(got) != 0 || c.l4 != nil && (len(got) != 1 || !bytes.Equal(got[0].L4, c.l4)) {
				t.Errorf("packets %q", saysAll(got))
			}
			if !slices.Equal(r.weirds, c.weirds) {
				t.Errorf("weirds %q, want %q", r.weirds, c.weirds)
			}
		})
	}
}

func TestFragmentsOfIPv6(t *testing.T) {
	b := l4sum(6, addrA6, addrB6, fragTCP())
	t.Run("atomic, apart from a fragment of its id", func(t *testing.T) {
		r := newRig(DissectConfig{})
		r.frame(101, mkFrag6(7, 48, true, 6, bytes.ToUpper(b[48:96])))
		got := r.frame(101, mkFrag6(7, 0, false, 6, b))
		if len(got) != 1 || !bytes.Equal(got[0].L4, b) || got[0].IPLen != 40+len(b) || len(r.weirds) != 0 {
			t.Errorf("%q %q", saysAll(got), r.weirds)
		}
	})
	t.Run("options behind the fragment header", func(t *testing.T) {
		r := newRig(DissectConfig{})
		whole := join(hx("06 00 01 04 00000000"), b)
		r.frame(101, mkFrag6(7, 0, true, 60, whole[:48]))
		got := r.frame(101, mkFrag6(7, 48, false, 60, whole[48:]))
		if len(got) != 1 || !bytes.Equal(got[0].L4, b) || !got[0].ChecksumOK() || got[0].DstPort != 80 {
			t.Errorf("%q %q", saysAll(got), r.weirds)
		}
	})
	t.Run("the first one tells the protocol", func(t *testing.T) {
		r := newRig(DissectConfig{})
		r.frame(101, mkFrag6(7, 48, false, 17, b[48:]))
		got := r.frame(101, mkFrag6(7, 0, true, 6, b[:48]))
		if len(got) != 1 || got[0].Proto != ProtoTCP || !slices.Equal(r.weirds, []string{"fragment_protocol_inconsistency"}) {
			t.Errorf("%q %q", saysAll(got), r.weirds)
		}
	})
	t.Run("a fragment of a fragment", func(t *testing.T) {
		r := newRig(DissectConfig{})
		in := join(hx("06 00 0001 00000001"), b)
		got := r.frame(101, mkFrag6(7, 0, false, 44, in))
		if len(got) != 0 || !slices.Equal(r.weirds, []string{"nested_fragment"}) {
			t.Errorf("%q %q", saysAll(got), r.weirds)
		}
	})
}

func TestFragmentCutByTheCapture(t *testing.T) {
	b := fragTCP()
	r := newRig(DissectConfig{})
	f := mkFrag4(7, 0, true, 6, b[:96])
	got := r.Dissect(&Frame{Data: f[:60], WireLen: len(f), Link: 101}, nil)
	if len(got) != 1 || got[0].DstPort != 80 || !got[0].NoChecksum || got[0].L4Len != 96 {
		t.Errorf("the first: %q", saysAll(got))
	}
	f = mkFrag4(7, 96, false, 6, b[96:])
	if got = r.Dissect(&Frame{Data: f[:30], WireLen: len(f), Link: 101}, nil); len(got) != 0 {
		t.Errorf("the second: %q", saysAll(got))
	}
	if !slices.Equal(r.weirds, []string{"incompletely_captured_fragment", "incompletely_captured_fragment"}) || r.frags.table.len() != 0 {
		t.Errorf("%q", r.weirds)
	}
}

func TestFragmentsExpire(t *testing.T) {
	b := fragTCP()
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{fragmentTimeout, 1}, {fragmentTimeout + 1, 0}} {
		r := newRig(DissectConfig{})
		r.frame(101, mkFrag4(7, 0, true, 6, b[:48]))
		r.at = r.at.Add(c.after)
		if got := r.frame(101, mkFrag4(7, 48, false, 6, b[48:])); len(got) != c.want || r.Stats().DatagramsExpired != uint64(1-c.want) {
			t.Errorf("after %v: %q %+v", c.after, saysAll(got), r.Stats())
		}
	}
}

func TestFragmentTableIsBounded(t *testing.T) {
	b := fragTCP()
	r := newRig(DissectConfig{})
	for id := range maxDatagrams + 1 {
		r.frame(101, mkFrag4(id, 0, true, 6, b[:48]))
	}
	if r.frags.table.len() != maxDatagrams || !slices.Equal(r.weirds, []string{"fragment_table_full"}) {
		t.Fatalf("%d %q", r.frags.table.len(), r.weirds)
	}
	if got := r.frame(101, mkFrag4(1, 48, false, 6, b[48:])); len(got) != 1 {
		t.Error("the second is lost")
	}
	if got := r.frame(101, mkFrag4(0, 48, false, 6, b[48:])); len(got) != 0 {
		t.Error("the oldest is still there")
	}
}

func TestFragmentBytesAreBounded(t *testing.T) {
	r := newRig(DissectConfig{})
	big := make([]byte, 32000)
	for id := range 2000 { // 61 MiB
		r.frame(101, mkFrag4(id, 8, true, 6, big))
		if r.frags.held > maxFragmentBytes {
			t.Fatalf("%d bytes", r.frags.held)
		}
	}
	if r.frags.held < maxFragmentBytes/2 || !slices.Contains(r.weirds, "fragment_table_full") {
		t.Errorf("%d bytes, %q", r.frags.held, r.weirds)
	}
}

func TestFragmentsOfOnePacketAreBounded(t *testing.T) {
	r := newRig(DissectConfig{})
	for i := range 4000 {
		r.frame(101, mkFrag4(7, 16*i, true, 6, make([]byte, 8)))
		for k := range r.frags.table.index {
			if n := len(r.frags.table.get(k).parts); n > maxFragments {
				t.Fatalf("%d", n)
			}
		}
	}
	if !slices.Contains(r.weirds, "exceeded_fragments_per_packet") {
		t.Errorf("%q", r.weirds[:3])
	}
}

// TestFragmentsAgainstBitmap puts fragments together at random and compares with a reference that knows no pieces: a
// byte that was written is not written again.
//
// TestFragmentsOfTwoTakes has those that overlap.
func TestFragmentsAgainstBitmap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 3000 {
		r := newRig(DissectConfig{IgnoreChecksums: true})
		size := 8 * (4 + rnd.IntN(12))
		have, want := make([]bool, size), make([]byte, size)
		left, again := size, false
		for step := 0; left > 0; step++ {
			off := 8 * rnd.IntN(size/8)
			n := min(8*(1+rnd.IntN(3)), size-off)
			if step == 0 { // without its end a packet is never whole
				off, n = size-8, 8
			}
			b := make([]byte, n)
			shares, own := false, false
			for i := range b {
				shares, own = shares || have[off+i], own || !have[off+i]
			}
			again = again || shares && own
			for i := range b {
				b[i] = byte(rnd.IntN(256))
				if !have[off+i] {
					have[off+i], want[off+i] = true, b[i]
					left--
				}
			}
			got := r.frame(101, mkFrag4(9, off, off+n < size, 50, b))
			// The other is what a receiver has that has thrown the first ones away: see datagram.again.
			if left > 0 && len(got) == 1 && again {
				break
			}
			if left > 0 && len(got) != 0 {
				t.Fatalf("round %d: whole with %d bytes missing", round, left)
			}
			if left == 0 && (len(got) < 1 || len(got) > 1 && !again || !bytes.Equal(got[0].L4, want)) {
				t.Fatalf("round %d: %q, want %x", round, saysAll(got), want)
			}
		}
	}
}

// TestFragmentsOfTwoTakes: what Linux throws away is put together without, whatever it was that came before.
func TestFragmentsOfTwoTakes(t *testing.T) {
	first, last := []byte("aaaaaaaaaaaaaaaabbbbbbbb"), []byte("cccccccc")
	decoy := []byte("DDDDDDDDDDDDDDDD")
	whole := string(first) + string(last)
	holds := func(got []Packet) bool {
		return slices.ContainsFunc(got, func(p Packet) bool { return string(p.L4) == whole })
	}
	t.Run("overlap kills", func(t *testing.T) {
		r := newRig(DissectConfig{IgnoreChecksums: true})
		r.frame(101, mkFrag4(9, 16, true, 50, decoy)) // [16,32)
		r.frame(101, mkFrag4(9, 8, true, 50, decoy))  // [8,24): overlaps, both are gone
		var got []Packet
		got = append(got, r.frame(101, mkFrag4(9, 0, true, 50, first))...)
		got = append(got, r.frame(101, mkFrag4(9, 24, false, 50, last))...)
		if !holds(got) {
			t.Errorf("%q", saysAll(got))
		}
	})
	t.Run("thirty seconds", func(t *testing.T) {
		r := newRig(DissectConfig{IgnoreChecksums: true})
		r.frame(101, mkFrag4(9, 0, true, 50, decoy))
		r.at += Time(31e9)
		var got []Packet
		got = append(got, r.frame(101, mkFrag4(9, 0, true, 50, first))...)
		got = append(got, r.frame(101, mkFrag4(9, 24, false, 50, last))...)
		if !holds(got) {
			t.Errorf("%q", saysAll(got))
		}
	})
}
