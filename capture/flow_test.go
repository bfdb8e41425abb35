package capture

import (
	"math/rand/v2"
	"testing"

	"github.com/cespare/xxhash/v2"
)

func randomKey(r *rand.Rand) (k flowKey) {
	for i := range k.lo {
		k.lo[i], k.hi[i] = byte(r.Uint32()), byte(r.Uint32())
	}
	k.loPort, k.hiPort, k.proto, k.kind = uint16(r.Uint32()), uint16(r.Uint32()), uint8(r.Uint32()), uint8(r.Uint32()&3)
	return k
}

// TestFlowHash: every bit of a key and of the seed changes half of the bits of the hash, in both halves: the lower ones
// choose the shard, the upper ones the place.
func TestFlowHash(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	seed := NewSeed(7)
	var changed [64]int
	n := 0
	count := func(x uint64) {
		n++
		for i := range changed {
			changed[i] += int(x >> i & 1)
		}
	}
	for range 200 {
		k := randomKey(r)
		k.lo, k.hi = [16]byte{10: 0xff, 0xff, 10, 0, byte(r.Uint32()), byte(r.Uint32())}, [16]byte{10: 0xff, 0xff, 198, 51, 100, 1}
		h := seed.hash(&k)
		for bit := range 32 {
			o := k
			o.lo[12+bit/8] ^= 1 << (bit % 8)
			count(h ^ seed.hash(&o))
			o = k
			o.hiPort ^= 1 << (bit % 16)
			count(h ^ seed.hash(&o))
		}
		other := NewSeed(8)
		count(h ^ other.hash(&k))
	}
	for i, c := range changed {
		if f := float64(c) / float64(n); f < 0.45 || f > 0.55 {
			t.Errorf("bit %d changed in %.2f", i, f)
		}
	}
}

func TestFlowKeyEqual(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	k := randomKey(r)
	o := k
	if !k.equal(&o) {
		t.Fatal("a key differs from itself")
	}
	for _, change := range []func(*flowKey){
		func(k *flowKey) { k.lo[0]++ }, func(k *flowKey) { k.lo[15]++ }, func(k *flowKey) { k.hi[7]++ },
		func(k *flowKey) { k.hi[8]++ }, func(k *flowKey) { k.loPort++ }, func(k *flowKey) { k.hiPort++ },
		func(k *flowKey) { k.proto++ }, func(k *flowKey) { k.kind ^= 1 },
	} {
		o := k
		change(&o)
		if k.equal(&o) || k == o {
			t.Errorf("%x equals %x", k, o)
		}
	}
}

func BenchmarkFlowHash(b *testing.B) {
	k := randomKey(rand.New(rand.NewPCG(5, 6)))
	seed := NewSeed(1)
	b.Run("keyed", func(b *testing.B) {
		for range b.N {
			k.loPort += uint16(seed.hash(&k))
		}
	})
	b.Run("xxhash", func(b *testing.B) {
		for range b.N {
			var buf [40]byte
			k.bytes(&buf)
			k.loPort += uint16(xxhash.Sum64(buf[:]))
		}
	})
}

// BenchmarkTable opens flows in one shard's table, finds each and takes it out again.
func BenchmarkTable(b *testing.B) {
	const flows = 8192
	s, seed := NewShard(FlowConfig{}), NewSeed(1)
	r := rand.New(rand.NewPCG(7, 8))
	keys := make([]flowKey, 0, flows)
	for len(keys) < flows {
		if k := randomKey(r); seed.hash(&k)%ShardCount == 0 {
			keys = append(keys, k)
		}
	}
	for i := range keys {
		f := s.newFlow()
		f.key, f.hash = keys[i], seed.hash(&keys[i])
		s.insert(f.idx, f.hash)
	}
	b.ResetTimer()
	for i := range b.N {
		f := s.find(&keys[i%flows], seed.hash(&keys[i%flows]))
		s.unlink(f.idx, f.hash)
		s.insert(f.idx, f.hash)
	}
}
