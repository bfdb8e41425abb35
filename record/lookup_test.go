package record

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
)

// TestLookUpInMuch looks for one flow among as many gigabytes of segments as RAYTAP_LOOKUP_GB says, 1 without it. They are
// those of short connections, the worst there is: 1,300 flows a chunk. Indexes are whole; packets are holes in sparse
// files but for those of the flow, and directories are there where an index says that a segment may have it, since no
// others are read. For 100 GB it takes 1 GB of disk. With RAYTAP_LOOKUP_COLD the system's cache is dropped before (root).
func TestLookUpInMuch(t *testing.T) {
	gb, _ := strconv.ParseFloat(os.Getenv("RAYTAP_LOOKUP_GB"), 64)
	if gb == 0 {
		gb = 1
	}
	const chunks, flows, packetsOfChunk = maxSegment / (chunkSize + 64<<10), 1300, 9000
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	name := func() (n capture.FlowName) {
		for i := 0; i < 40; i += 8 {
			v := rng.Uint64()
			for j := range 8 {
				n[i+j] = byte(v >> (8 * j))
			}
		}
		copy(n[:12], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
		copy(n[16:28], n[:12])
		n[36], n[37], n[38], n[39] = 6, 0, 0, 0
		v := rng.Uint64() >> 14
		for j := range 8 {
			n[47-j] = byte(v >> (8 * j))
		}
		return n
	}
	target := name()
	segments := int(gb * 1e9 / maxSegment)
	looked := 0
	block := capture.AppendPacket(nil, 0, &capture.Frame{Time: 5, Data: make([]byte, 64), WireLen: 64}, 64, "")
	for s := range segments {
		var c chunk
		c.links = []uint16{1}
		c.buf = make([]byte, chunkSize)
		names := make([][]capture.FlowName, chunks)
		var keys []uint64
		for i := range names {
			for range flows {
				n := name()
				names[i] = append(names[i], n)
				keys = appendKeys(keys, &n)
			}
			if s == segments/2 && i%40 == 7 {
				names[i][flows/2] = target
				keys = appendKeys(keys, &target)
			}
		}
		for i := range packetsOfChunk {
			c.at, c.ordinals = append(c.at, uint32(i*len(block))), append(c.ordinals, uint64(i+1))
			c.refs = append(c.refs, ref{uint32(i % flows), uint32(i)})
		}
		c.names = names[0]
		long := len(directoryBlockOf(nil, c.directory(nil, 0, &scratch{})))
		var places []place
		for i := range names {
			at := int64(page + i*(chunkSize+64<<10))
			places = append(places, c.place(at, at+int64(long), 0))
		}
		x := buildIndex(maxSegment, places, keys, Counts{}, c.links)
		path := filepath.Join(dir, nameSegment(uint64(s+1), 1700000000e9, false))
		if err := os.WriteFile(path+indexTail, x, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(maxSegment); err != nil {
			t.Fatal(err)
		}
		if i, err := openIndex(memory(x)); err != nil {
			t.Fatal(err)
		} else if i.may(nameKey(&target)) {
			looked++
			for i := range names {
				c.names = names[i]
				d := directoryBlockOf(nil, c.directory(nil, 0, &scratch{}))
				if len(d) != long {
					t.Fatal("directories differ in length")
				}
				f.WriteAt(d, places[i].at)
				for p := flows / 2; p < packetsOfChunk; p += flows {
					f.WriteAt(block, places[i].data+int64(p*len(block)))
				}
			}
		}
		f.Close()
	}
	if os.Getenv("RAYTAP_LOOKUP_COLD") != "" {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		begin := time.Now()
		got, told := find(t, dir, Query{UIDs: []string{target.UID()}})
		took := time.Since(begin)
		t.Logf("%.0f GB in %d segments, %d of them looked into: %d packets in %v", gb, segments, looked, len(got), took)
		if len(got) < 7 || len(told) > 0 {
			t.Errorf("%d packets, %v", len(got), told)
		}
	}
}
