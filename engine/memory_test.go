package engine

import (
	"context"
	"runtime"
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

// passes runs a capture several times over as if it were a long one, with one worker, and counts what that allocates.
func passes(tb testing.TB, l *looped, rounds int) (mallocs, bytes uint64, rows counting) {
	l.left, l.round, l.at = rounds*len(l.frames), 0, 0
	cfg := Default()
	cfg.Checksums, cfg.Workers = "ignore", 1
	rows = counting{}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Run(context.Background(), cfg, l, rows); err != nil {
		tb.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs, after.TotalAlloc - before.TotalAlloc, rows
}

// allocations says what one event costs in allocations, all of its way from packets to detectors. What a run allocates before
// its first packet, and until its tables and buffers have grown, is left out.
func allocations(tb testing.TB, log, file string, rounds int) (mallocs, bytes float64) {
	l := loadLooped(tb, file)
	passes(tb, l, 1) // what is made once in a process
	n, b, few := passes(tb, l, rounds)
	n3, b3, many := passes(tb, l, 3*rounds)
	events := float64(max(many[log]-few[log], 1))
	return (float64(n3) - float64(n)) / events, (float64(b3) - float64(b)) / events
}

// TestAllocations bounds what an event may cost in allocations. All that a capture holds besides counts, too: the dashboard's
// has six gRPC calls and a look-up for each call to Ray's HTTP API.
func TestAllocations(t *testing.T) {
	for _, c := range []struct {
		log, file string
		most      float64
	}{
		{"http", "pcaps/benign-serve.pcap.gz", 10},
		{"ray", "pcaps/benign-dashboard.pcap.gz", 40},
	} {
		rounds := 20
		if got, _ := allocations(t, c.log, c.file, rounds); got > c.most {
			t.Errorf("%s: %.1f allocations for a row of %s.log, want %.0f at most", c.file, got, c.log, c.most)
		} else {
			t.Logf("%s: %.1f allocations for a row of %s.log", c.file, got, c.log)
		}
	}
}

// BenchmarkAllocations reports what an event costs in allocations and in their bytes.
func BenchmarkAllocations(b *testing.B) {
	for _, bb := range eventCaptures {
		b.Run(bb.log+"/"+bb.file[len("pcaps/"):len(bb.file)-len(".pcap.gz")], func(b *testing.B) {
			for b.Loop() {
				n, size := allocations(b, bb.log, bb.file, 20)
				b.ReportMetric(n, "allocs/event")
				b.ReportMetric(size, "bytes/event")
			}
		})
	}
}
