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

// TestFlowHashIsXXHash: the hash chooses shards and orders flows that end together, so it may never change.
func TestFlowHashIsXXHash(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		k := randomKey(r)
		var b [40]byte
		k.bytes(&b)
		if got, want := k.hash(), xxhash.Sum64(b[:]); got != want {
			t.Fatalf("hash of %x is %x, want %x", b, got, want)
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
	b.Run("written out", func(b *testing.B) {
		for range b.N {
			k.loPort += uint16(k.hash())
		}
	})
	b.Run("library", func(b *testing.B) {
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
	s := NewShard(FlowConfig{})
	r := rand.New(rand.NewPCG(7, 8))
	keys := make([]flowKey, 0, flows)
	for len(keys) < flows {
		if k := randomKey(r); k.hash()%ShardCount == 0 {
			keys = append(keys, k)
		}
	}
	for i := range keys {
		f := s.newFlow()
		f.key, f.hash = keys[i], keys[i].hash()
		s.insert(f.idx, f.hash)
	}
	b.ResetTimer()
	for i := range b.N {
		f := s.find(&keys[i%flows], keys[i%flows].hash())
		s.unlink(f.idx, f.hash)
		s.insert(f.idx, f.hash)
	}
}
