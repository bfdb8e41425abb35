package capture_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
)

// unpacked opens a labelled capture.
func unpacked(t testing.TB, name string) *bytes.Reader {
	f, err := os.Open(filepath.Join("..", "pcaps", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b)
}

// framesOf reads a source to its end.
func framesOf(t *testing.T, src capture.Source) (all []capture.Frame, err error) {
	var b capture.Batch
	for err == nil {
		err = src.ReadBatch(&b)
		for _, f := range b.Frames {
			f.Data = bytes.Clone(f.Data)
			all = append(all, f)
		}
	}
	return all, err
}

func same(t *testing.T, name string, got, want []capture.Frame) {
	if len(got) != len(want) {
		t.Fatalf("%s: %d frames, want %d", name, len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		if g.Time != w.Time || g.Ordinal != w.Ordinal || g.WireLen != w.WireLen || g.Link != w.Link || !bytes.Equal(g.Data, w.Data) {
			t.Fatalf("%s, frame %d: %+v, want %+v", name, i+1, g, w)
		}
	}
}

// TestGopacketsReadersAreSources: what pcapgo reads is, through FromGopacket, what our own readers read.
func TestGopacketsReadersAreSources(t *testing.T) {
	names, _ := filepath.Glob(filepath.Join("..", "pcaps", "*.gz"))
	tried := 0
	for _, path := range names {
		name := filepath.Base(path)
		r := unpacked(t, name)
		var src gopacket.PacketDataSource
		link := uint16(0)
		if filepath.Ext(name[:len(name)-len(".gz")]) == ".pcapng" {
			ng, err := pcapgo.NewNgReader(r, pcapgo.NgReaderOptions{WantMixedLinkType: true})
			if err != nil {
				continue
			}
			src = ng
		} else {
			p, err := pcapgo.NewReader(r)
			if err != nil {
				continue
			}
			src, link = p, uint16(p.LinkType())
		}
		ours, err := capture.NewFile(name, unpacked(t, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := framesOf(t, ours)
		if err != io.EOF {
			continue // cut on purpose
		}
		g := capture.FromGopacket(name, src, link)
		got, err := framesOf(t, g)
		if err != io.EOF { // pcapgo refuses a frame that is longer than the file's header says; we take it
			want = want[:len(got)]
		}
		if link > 255 || len(want) > 0 && want[0].Link > 255 {
			continue // gopacket has eight bits for it
		}
		same(t, name, got, want)
		g.Close()
		tried++
	}
	if tried < 50 {
		t.Errorf("only %d captures", tried)
	}
}

// TestSourcesAreForGopacket: through Packets a capture is written by pcapgo as it was.
func TestSourcesAreForGopacket(t *testing.T) {
	ours, err := capture.NewFile("shadowray", unpacked(t, "shadowray.pcap.gz"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := pcapgo.NewWriterNanos(&out)
	if err := w.WriteFileHeader(262144, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	p := capture.NewPackets(ours)
	for {
		data, ci, err := p.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WritePacket(ci, data); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := p.ReadPacketData(); !errors.Is(err, io.EOF) || p.Link() != 1 {
		t.Errorf("after the end: %v, link type %d", err, p.Link())
	}
	again, err := capture.NewFile("again", &out)
	if err != nil {
		t.Fatal(err)
	}
	ours, _ = capture.NewFile("shadowray", unpacked(t, "shadowray.pcap.gz"))
	want, _ := framesOf(t, ours)
	got, _ := framesOf(t, again)
	same(t, "written by pcapgo", got, want)
}

// slow gives packets one by one, when it is told to.
type slow struct {
	next chan error
	n    int
}

func (s *slow) ReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	if err := <-s.next; err != nil {
		return nil, gopacket.CaptureInfo{}, err
	}
	s.n++
	return make([]byte, 60+s.n), gopacket.CaptureInfo{Timestamp: time.Unix(int64(s.n), 0), CaptureLength: 60 + s.n, Length: 1500}, nil
}

// TestGopacketSourceMayBeLive: a packet is handed on when it is there, and an error behind the packets before it.
func TestGopacketSourceMayBeLive(t *testing.T) {
	s := &slow{next: make(chan error, 1)}
	src := capture.FromGopacket("slow", s, 1)
	var b capture.Batch
	for i := range 3 {
		s.next <- nil
		if err := src.ReadBatch(&b); err != nil || len(b.Frames) != 1 || b.Frames[0].Ordinal != uint64(i+1) || len(b.Frames[0].Data) != 61+i || b.Frames[0].WireLen != 1500 {
			t.Fatalf("packet %d: %v, %+v", i+1, err, b.Frames)
		}
	}
	broken := errors.New("the cable is cut")
	s.next <- broken
	var in *capture.InputError
	if err := src.ReadBatch(&b); !errors.As(err, &in) || !errors.Is(err, broken) || in.File != "slow" || len(b.Frames) != 0 {
		t.Errorf("%v", err)
	}
	s = &slow{next: make(chan error, 1)}
	src = capture.FromGopacket("slow", s, 1)
	done := make(chan error)
	go func() { done <- src.ReadBatch(&capture.Batch{}) }()
	src.Close()
	if err := <-done; err != io.EOF {
		t.Errorf("closed: %v", err)
	}
}

// A reader of package pcapgo as the source of a run.
func ExampleFromGopacket() {
	f, _ := os.Open("../pcaps/shadowray.pcap.gz")
	defer f.Close()
	z, _ := gzip.NewReader(f)
	r, err := pcapgo.NewReader(z)
	if err != nil {
		fmt.Println(err)
		return
	}
	src := capture.FromGopacket("shadowray", r, uint16(r.LinkType()))
	defer src.Close()
	stats, err := engine.Run(context.Background(), engine.Default(), src)
	fmt.Println(stats.Packets, "packets,", stats.Flow.Flows, "flows,", err)
	// Output: 724 packets, 12 flows, <nil>
}

// A capture that raytap opens, whatever its format and compression, read by gopacket.
func ExamplePackets() {
	src, err := capture.OpenFile("../pcaps/shadowray.pcap.gz")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	ports := map[layers.TCPPort]int{}
	for p := range gopacket.NewPacketSource(capture.NewPackets(src), layers.LinkTypeEthernet).Packets() {
		if tcp, ok := p.TransportLayer().(*layers.TCP); ok && tcp.SYN && !tcp.ACK {
			ports[tcp.DstPort]++
		}
	}
	fmt.Println(ports[8265], "connection to the dashboard")
	// Output: 1 connection to the dashboard
}
