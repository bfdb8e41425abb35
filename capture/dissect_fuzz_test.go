package capture

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

// FuzzDissect takes bytes apart as a run of frames: a link type, then the frame twice, once cut by a snap length, with
// time going on in between so that fragments and tunnels meet their time-outs. The same input must give the same
// packets and weirds, and nothing but the reassembled may stand outside the frame.
func FuzzDissect(f *testing.F) {
	for _, c := range everyFrame() {
		f.Add(c.link, c.frame, uint16(64), uint32(1))
	}
	b := fragTCP()
	f.Add(uint16(101), mkFrag4(7, 0, true, 6, b[:48]), uint16(60), uint32(200))
	f.Add(uint16(101), mkFrag6(7, 0, true, 60, b[:48]), uint16(60), uint32(1))
	for _, l := range []uint16{0, 1, 9, 10, 12, 14, 50, 51, 101, 104, 105, 108, 113, 119, 127, 163, 192, 228, 229, 239, 276, 100, 106, 107, 109, 117, 122, 138, 166,
		175, 176, 178, 179, 180, 181, 197, 204, 205, 206, 219, 226, 240, 241, 242, 258, 281, 282, 284, 285} {
		f.Add(l, make([]byte, 80), uint16(70), uint32(0))
	}
	f.Fuzz(func(t *testing.T, link uint16, data []byte, snap uint16, seconds uint32) {
		run := func() (out []Packet, weirds []Weird, stats DissectStats) {
			d := NewDissector(DissectConfig{Weird: func(w Weird) { weirds = append(weirds, w) }})
			now := Time(1e18)
			for i, cut := range []int{len(data), int(snap), len(data)} {
				b := slices.Clip(slices.Clone(data[:min(cut, len(data))]))
				ps := d.Dissect(&Frame{Time: now, Ordinal: uint64(i + 1), Data: b, WireLen: len(data), Link: link}, nil)
				checkPackets(t, ps)
				for j := range ps {
					ps[j].L4 = slices.Clone(ps[j].L4)
				}
				out = append(out, ps...)
				now = now.Add(time.Duration(seconds%3600) * time.Second)
			}
			if d.frags.held > maxFragmentBytes || d.frags.held < 0 || len(d.frags.kin) > d.frags.table.len() {
				t.Fatalf("fragments: %d bytes, %d packets, %d kin", d.frags.held, d.frags.table.len(), len(d.frags.kin))
			}
			return out, weirds, d.Stats()
		}
		a, wa, sa := run()
		b, wb, sb := run()
		if !reflect.DeepEqual(a, b) || !reflect.DeepEqual(wa, wb) || sa != sb {
			t.Fatal("two runs differ")
		}
	})
}
