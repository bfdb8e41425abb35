package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
)

// looped is a capture that is fed again and again, with times that go on and new addresses each time.
type looped struct {
	frames []capture.Frame
	left   int
	round  uint64
	at     int
	span   capture.Time
}

func loadLooped(b testing.TB, names ...string) *looped {
	l := &looped{}
	var srcs []capture.Source
	for _, n := range names {
		s, err := capture.OpenFile(n)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		srcs = append(srcs, s)
	}
	m := capture.Merge(srcs...)
	var batch capture.Batch
	for m.ReadBatch(&batch) == nil {
		for _, f := range batch.Frames {
			f.Data = append([]byte(nil), f.Data...)
			l.frames = append(l.frames, f)
		}
	}
	l.span = l.frames[len(l.frames)-1].Time - l.frames[0].Time + 1e9
	return l
}

func (l *looped) ReadBatch(b *capture.Batch) error {
	b.Frames = b.Frames[:0]
	if cap(b.Buf) < 256<<10 {
		b.Buf = make([]byte, 256<<10)
	}
	buf := b.Buf[:0]
	for l.left > 0 {
		f := l.frames[l.at]
		if len(buf)+len(f.Data) > cap(buf) {
			break
		}
		at := len(buf)
		buf = append(buf, f.Data...)
		f.Data = buf[at:]
		f.Time += capture.Time(l.round) * l.span
		f.Ordinal = l.round*uint64(len(l.frames)) + uint64(l.at) + 1
		b.Frames = append(b.Frames, f)
		l.left--
		if l.at++; l.at == len(l.frames) {
			l.at, l.round = 0, l.round+1
		}
	}
	if len(b.Frames) == 0 {
		return io.EOF
	}
	return nil
}

func (l *looped) Close() error { return nil }

// BenchmarkReplay runs captures of a Ray cluster through everything, logs written, and reports CPU time a packet.
func BenchmarkReplay(b *testing.B) {
	for _, bb := range []struct {
		name  string
		files []string
	}{
		{"dashboard", []string{"pcaps/benign-dashboard.pcap.gz"}},
		{"serve", []string{"pcaps/benign-serve.pcap.gz"}},
		{"attack", []string{"pcaps/shadowray.pcap.gz"}},
		{"bulk", []string{"pcaps/egress-tcp.pcap.gz"}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			l := loadLooped(b, bb.files...)
			l.left = b.N
			sink, err := zeek.New(b.TempDir(), zeek.Options{Rules: registry.Rules()})
			if err != nil {
				b.Fatal(err)
			}
			cfg := Default()
			cfg.Workers, cfg.Checksums = 1, "ignore"
			b.ReportAllocs()
			b.ResetTimer()
			start := cpuTime()
			stats, err := Run(context.Background(), cfg, l, sink)
			used := cpuTime() - start
			b.StopTimer()
			if err != nil {
				b.Fatal(err)
			}
			if err := sink.Close(stats.Last); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(used.Nanoseconds())/float64(stats.Packets), "cpu-ns/packet")
			b.ReportMetric(float64(stats.Packets)/used.Seconds(), "packets/cpu-s")
		})
	}
}

// manyFlows opens one TCP connection after the other and closes none.
type manyFlows struct {
	left int
	n    uint64
	heap uint64 // in use when all are open
	room int    // of a batch, in bytes; 0: a megabyte
}

func (m *manyFlows) ReadBatch(b *capture.Batch) error {
	b.Frames = b.Frames[:0]
	if n := cmp.Or(m.room, 1<<20); cap(b.Buf) < n {
		b.Buf = make([]byte, n)
	}
	buf := b.Buf[:0]
	for m.left > 0 && len(buf)+3*54 <= cap(buf) {
		m.left--
		m.n++
		for i, flags := range []byte{0x02, 0x12, 0x10} {
			at := len(buf)
			buf = append(buf, make([]byte, 54)...)
			f := buf[at:]
			f[12], f[14], f[17], f[22], f[23] = 8, 0x45, 40, 64, 6
			src, dst := f[26:30], f[30:34]
			sport, dport := f[34:36], f[36:38]
			if i == 1 {
				src, dst, sport, dport = dst, src, dport, sport
			}
			binary.BigEndian.PutUint32(src, 10<<24|uint32(m.n>>15))
			binary.BigEndian.PutUint16(sport, uint16(m.n&0x7fff)|0x8000)
			binary.BigEndian.PutUint32(dst, 192<<24|168<<16|1)
			binary.BigEndian.PutUint16(dport, 9999)
			f[46], f[47] = 5<<4, flags
			f[41], f[45] = byte(b2i(i == 2)), byte(b2i(i > 0))
			b.Frames = append(b.Frames, capture.Frame{Time: capture.Time(1e18 + m.n*1000), Ordinal: m.n*3 + uint64(i), Data: f, WireLen: 54, Link: 1})
		}
	}
	if len(b.Frames) == 0 {
		m.heap = heapInUse()
		return io.EOF
	}
	return nil
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (m *manyFlows) Close() error { return nil }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// BenchmarkFlowMemory holds b.N established connections at once and reports the heap that one takes.
func BenchmarkFlowMemory(b *testing.B) {
	before := heapInUse()
	cfg := Default()
	cfg.Checksums, cfg.MaxFlows = "ignore", 1<<21
	src := &manyFlows{left: b.N}
	if _, err := Run(context.Background(), cfg, src, nullSink{}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(src.heap-before)/float64(b.N), "bytes/flow")
}

type nullSink struct{}

func (nullSink) Event(any) {}
