package test

import (
	"context"
	"encoding/binary"
	"io"
	"path/filepath"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
)

// frames is a source made of bytes: each frame is two bytes of length, a byte that says by how much time moves on,
// and as many bytes as are there.
type frames struct {
	b    []byte
	link uint16
	now  capture.Time
	n    uint64
}

func (f *frames) ReadBatch(b *capture.Batch) error {
	b.Frames = b.Frames[:0]
	for len(f.b) >= 3 && len(b.Frames) < 64 {
		n := min(int(binary.BigEndian.Uint16(f.b)), len(f.b)-3)
		f.now += 1e6 << (f.b[2] % 20) // from a millisecond to nine minutes
		f.n++
		b.Frames = append(b.Frames, capture.Frame{Time: f.now, Ordinal: f.n, Data: f.b[3 : 3+n], WireLen: n, Link: f.link})
		f.b = f.b[3+n:]
	}
	if len(b.Frames) == 0 {
		return io.EOF
	}
	return nil
}

func (f *frames) Close() error { return nil }

// nobody checks that records can be written, and drops them.
type nobody struct{ rows int }

func (s *nobody) Event(ev any) {
	if r, ok := ev.(capture.Record); ok {
		r.Row(columns{})
		s.rows++
	}
}

// FuzzFrames drives the whole path from frame to finding. Panics are not recovered.
func FuzzFrames(f *testing.F) {
	files, _ := filepath.Glob("pcaps/*.pcap.gz")
	for _, name := range files {
		src, err := capture.OpenFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var b capture.Batch
		var seed []byte
		for src.ReadBatch(&b) == nil && len(seed) < 64<<10 {
			for _, fr := range b.Frames {
				seed = append(binary.BigEndian.AppendUint16(seed, uint16(len(fr.Data))), 0)
				seed = append(seed, fr.Data...)
			}
		}
		src.Close()
		f.Add(seed[:min(len(seed), 64<<10)], uint8(1))
	}
	links := []uint16{1, 101, 0, 108, 113, 276, 9, 105, 127, 228, 229}
	f.Fuzz(func(t *testing.T, b []byte, link uint8) {
		cfg := engine.Default()
		cfg.Workers, cfg.MaxFlows = 2, 64*capture.ShardCount
		if link&0x80 == 0 {
			cfg.Checksums = "ignore"
		}
		if _, err := run(context.Background(), cfg, &frames{b: b, link: links[int(link&0x7f)%len(links)]}, &nobody{}); err != nil {
			t.Fatal(err)
		}
	})
}
