package file

import (
	"crypto/md5"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/raytap/raytap/capture"
)

// TestAssemblerInAnyOrder gives overlapping pieces in random order, some of them twice.
func TestAssemblerInAnyOrder(t *testing.T) {
	data := make([]byte, 100_000)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 5))
		c := NewCache(Options{HashLimit: 1 << 20})
		var a Assembler
		var flow Scattered
		a.Open(c, &flow)
		var cuts [][2]int
		for at := 0; at < len(data); {
			n := min(1+rng.IntN(9000), len(data)-at)
			cuts = append(cuts, [2]int{max(at-rng.IntN(500), 0), at + n})
			if rng.IntN(4) == 0 {
				cuts = append(cuts, cuts[rng.IntN(len(cuts))])
			}
			at += n
		}
		rng.Shuffle(len(cuts), func(i, j int) { cuts[i], cuts[j] = cuts[j], cuts[i] })
		for i, cut := range cuts {
			piece := append([]byte(nil), data[cut[0]:cut[1]]...)
			a.WriteAt(capture.At{Time: capture.Time(i)}, int64(cut[0]), piece)
			clear(piece)
		}
		f := a.Close(capture.At{Time: 1000})[0]
		if f.Seen != int64(len(data)) || f.Missing != 0 || f.MD5 != fmt.Sprintf("%x", md5.Sum(data)) || f.Time != 0 {
			t.Fatalf("seed %d: %+v", seed, f)
		}
		if flow.bytes != 0 || c.holding != 0 {
			t.Fatalf("seed %d: %d bytes wait, %d buffers are out", seed, flow.bytes, c.holding)
		}
	}
}

// TestAssemblerGivesUp: what never comes is not waited for without end.
func TestAssemblerGivesUp(t *testing.T) {
	c := NewCache(Options{HashLimit: 1 << 30})
	var a, b Assembler
	var flow Scattered
	a.Open(c, &flow)
	piece := make([]byte, 1000)
	for i := range 5000 {
		a.WriteAt(capture.At{}, int64(1000+i*1500), piece)
		if a.waiting > maxScattered+len(piece) || len(a.pieces) > maxPieces+1 {
			t.Fatalf("%d bytes in %d pieces wait", a.waiting, len(a.pieces))
		}
	}
	f := a.Close(capture.At{})[0]
	if f.Seen != 5_000_000 || f.Missing != 1000+4999*500 || f.Overflow == 0 || f.Overflow > f.Missing || f.Hashed() {
		t.Errorf("%+v", f)
	}
	b.Open(c, &flow)
	b.WriteAt(capture.At{}, -1, piece)
	b.WriteAt(capture.At{}, 1<<63-10, piece)
	if b.Close(capture.At{}) != nil || flow.bytes != 0 {
		t.Errorf("places that do not exist; %d bytes wait", flow.bytes)
	}
	b.Open(c, &flow)
	b.WriteAt(capture.At{}, 10, piece)
	b.Drop()
	if flow.bytes != 0 {
		t.Errorf("%d bytes wait", flow.bytes)
	}
}
