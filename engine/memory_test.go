package engine

import (
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/raytap/raytap/capture"
)

// sampled is a source that asks for the heap in use when a part of it was read.
type sampled struct {
	capture.Source
	frames, at, every uint64
	heap              []uint64
}

func (p *sampled) ReadBatch(b *capture.Batch) error {
	if p.frames >= p.at {
		p.at += p.every
		p.heap = append(p.heap, heapInUse())
	}
	err := p.Source.ReadBatch(b)
	p.frames += uint64(len(b.Frames))
	return err
}

// growth says by how much of itself the heap grew from three samples to three others. A sample falls anywhere between
// batches, and batches on their way are a twentieth of it; what leaks a flow or a row doubles it.
func (p *sampled) growth(from, to int) float64 {
	sum := func(x []uint64) (n float64) {
		for _, v := range x {
			n += float64(v)
		}
		return n
	}
	return sum(p.heap[to-2:to+1])/sum(p.heap[from:from+3]) - 1
}

// TestFullTableDoesNotGrow churns ten times as many flows as the table has room for. None of them ends by itself, so
// each new one pushes an old one out.
func TestFullTableDoesNotGrow(t *testing.T) {
	table := 1 << 17
	if testing.Short() {
		table = 1 << 14
	}
	cfg := Default()
	cfg.Checksums, cfg.MaxFlows = "ignore", table
	p := &sampled{Source: &manyFlows{left: 10 * table}, every: uint64(table) * 3} // three packets each
	stats, err := Run(context.Background(), cfg, p, nullSink{})
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(9 * table); stats.Flow.Evicted < want {
		t.Fatalf("%d flows were evicted of %d, want %d: the table was not full", stats.Flow.Evicted, stats.Flow.Flows, want)
	}
	// Detectors remember machines, within bounds of their own: what is compared begins when these are met.
	if g := p.growth(3, 9); g > 0.15 {
		t.Errorf("the heap grew by %.0f %% from three tables of flows to nine: %v", 100*g, p.heap)
	}
}

// TestLongCaptureDoesNotGrow reads the same hour again and again as if it were a long capture.
func TestLongCaptureDoesNotGrow(t *testing.T) {
	rounds := 400
	if testing.Short() {
		rounds = 40
	}
	l := loadLooped(t, "pcaps/benign-dashboard.pcap.gz", "pcaps/benign-serve.pcap.gz", "pcaps/benign-operations.pcap.gz")
	n := uint64(len(l.frames))
	l.left = rounds * len(l.frames)
	p := &sampled{Source: l, every: n * uint64(rounds) / 10}
	stats, err := Run(context.Background(), Default(), p, nullSink{})
	if err != nil {
		t.Fatal(err)
	}
	if stats.Packets != n*uint64(rounds) {
		t.Fatalf("%d packets, want %d", stats.Packets, n*uint64(rounds))
	}
	if g := p.growth(3, 9); g > 0.15 {
		t.Errorf("the heap grew by %.0f %% from the third tenth to the last: %v", 100*g, p.heap)
	}
}

// counting counts events by their row's log.
type counting map[string]int

func (c counting) Event(ev any) {
	if r, ok := ev.(capture.Record); ok {
		c[r.Log()]++
	}
}

// eventCaptures are captures in which one kind of event, by its row's log, is most of what happens.
var eventCaptures = []struct{ log, file string }{
	{"conn", "pcaps/attack-scan.pcap.gz"},
	{"http", "pcaps/benign-serve.pcap.gz"},
	{"dns", "pcaps/egress-dns.pcap.gz"},
	{"ray", "pcaps/benign-dashboard.pcap.gz"},
	{"ray_grpc", "pcaps/benign-ray-client.pcap.gz"},
	{"stratum", "pcaps/mining-xmrig.pcap.gz"},
	{"conn", "pcaps/egress-tcp.pcap.gz"},
}

// keptAlive is a browser's connection that is kept alive: one request after the other, each with a small answer.
type keptAlive struct {
	left int
	seq  [2]uint32
	n    uint64
	text [20]byte
}

func (k *keptAlive) Close() error { return nil }

func (k *keptAlive) ReadBatch(b *capture.Batch) error {
	b.Frames = b.Frames[:0]
	if k.left == 0 {
		return io.EOF
	}
	b.Buf = slices.Grow(b.Buf[:0], 256<<10)
	if k.n == 0 {
		k.frame(b, 0, 0x02)
		k.frame(b, 1, 0x12)
	}
	for range min(k.left, 200) {
		k.left--
		n := strconv.AppendUint(k.text[:0], 1e9+k.n, 10)
		k.frame(b, 0, 0x18, "GET /api/items/", string(n[7:]), " HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n")
		k.frame(b, 1, 0x18, "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\nbody ", string(n), "\n")
	}
	return nil
}

// frame adds a frame of the client (0) or the server.
func (k *keptAlive) frame(b *capture.Batch, from int, flags byte, payload ...string) {
	at := len(b.Buf)
	b.Buf = append(b.Buf, make([]byte, 54)...)
	for _, p := range payload {
		b.Buf = append(b.Buf, p...)
	}
	f := b.Buf[at:]
	f[12], f[14], f[22], f[23], f[46], f[47], f[48] = 8, 0x45, 64, 6, 5<<4, flags, 0xff
	binary.BigEndian.PutUint16(f[16:], uint16(len(f)-14))
	hosts, ports := [2][4]byte{{10, 0, 0, 1}, {10, 0, 0, 2}}, [2]uint16{40000, 80}
	copy(f[26:], hosts[from][:])
	copy(f[30:], hosts[1-from][:])
	binary.BigEndian.PutUint16(f[34:], ports[from])
	binary.BigEndian.PutUint16(f[36:], ports[1-from])
	binary.BigEndian.PutUint32(f[38:], k.seq[from])
	if flags&0x10 != 0 {
		binary.BigEndian.PutUint32(f[42:], k.seq[1-from])
	}
	k.seq[from] += uint32(len(f)-54) + uint32(flags>>1&1)
	k.n++
	b.Frames = append(b.Frames, capture.Frame{Time: capture.Time(1.7e18 + float64(k.n)*1e5), Ordinal: k.n, Data: f, WireLen: len(f), Link: 1})
}

// mallocs runs src with one worker and counts what that allocates.
func mallocs(tb testing.TB, src capture.Source) (n, bytes float64, rows counting) {
	cfg := Default()
	cfg.Checksums, cfg.Workers = "ignore", 1
	rows = counting{}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Run(context.Background(), cfg, src, rows); err != nil {
		tb.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs - before.Mallocs), float64(after.TotalAlloc - before.TotalAlloc), rows
}

// allocations says what one event costs in allocations and their bytes, all of its way from packets to detectors. source makes
// a source of so many rounds. What a run allocates before its first packet, and until its tables and buffers have grown, is
// left out.
func allocations(tb testing.TB, log string, rounds int, source func(rounds int) capture.Source) (n, bytes float64) {
	mallocs(tb, source(1)) // what is made once in a process
	n1, b1, few := mallocs(tb, source(rounds))
	n3, b3, many := mallocs(tb, source(3*rounds))
	events := float64(max(many[log]-few[log], 1))
	return (n3 - n1) / events, (b3 - b1) / events
}

// again is a source that goes through a capture so many times.
func again(tb testing.TB, file string) func(rounds int) capture.Source {
	l := loadLooped(tb, file)
	return func(rounds int) capture.Source {
		l.left, l.round, l.at = rounds*len(l.frames), 0, 0
		return l
	}
}

// TestAllocations bounds what an event may cost in allocations. All else that a capture holds counts, too: in
// benign-serve each transaction has a connection, and in benign-dashboard a call to Ray's HTTP API has six gRPC calls and a
// look-up alongside it.
func TestAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("short: under the race detector pools forget what they have")
	}
	kept := func(rounds int) capture.Source { return &keptAlive{left: rounds} }
	for _, c := range []struct {
		what, log string
		rounds    int
		source    func(int) capture.Source
		most      float64
	}{
		{"a transaction of a connection that is kept alive", "http", 2000, kept, 10},
		{"a transaction with its connection", "http", 20, again(t, "pcaps/benign-serve.pcap.gz"), 20},
		{"a call to Ray's HTTP API", "ray", 20, again(t, "pcaps/benign-dashboard.pcap.gz"), 40},
	} {
		n, size := allocations(t, c.log, c.rounds, c.source)
		if t.Logf("%s: %.1f allocations, %.0f bytes", c.what, n, size); n > c.most {
			t.Errorf("%s costs %.1f allocations, want %.0f at most", c.what, n, c.most)
		}
	}
}

// BenchmarkAllocations reports what an event costs in allocations and in their bytes.
func BenchmarkAllocations(b *testing.B) {
	for _, bb := range eventCaptures {
		b.Run(bb.log+"/"+bb.file[len("pcaps/"):len(bb.file)-len(".pcap.gz")], func(b *testing.B) {
			src := again(b, bb.file)
			for b.Loop() {
				n, size := allocations(b, bb.log, 20, src)
				b.ReportMetric(n, "allocs/event")
				b.ReportMetric(size, "bytes/event")
			}
		})
	}
}
