package capture

import (
	"errors"
	"io"
	"reflect"
	"sync"

	"github.com/google/gopacket"
)

// gopacket in and out: what reads packets for gopacket can be the source of a run (FromGopacket), and what reads packets here
// can be read by a program that uses gopacket (Packets). Neither is on the way of a capture file or of an interface that
// raytap opens itself.

// FromGopacket makes a Source of src, which may be a reader of package pcapgo, a handle of package pcap or anything else that
// delivers packets of the link type link (LINKTYPE_*, 1 is Ethernet). A packet whose ancillary data has a LinkType, as a
// pcapgo.NgReader with WantMixedLinkType gives it, is of that type. name is what errors call the source.
//
// Packets are handed on as they come, so src may be live: it is read on a goroutine of its own, ahead by a block at most.
// io.EOF of src is the end; any other error is final, a time-out too, and comes as an *InputError after the packets before
// it. Packets of more than 256 KiB are cut to that. Close does not close src, and the goroutine ends when src next returns.
func FromGopacket(name string, src gopacket.PacketDataSource, link uint16) Source {
	g := &fromGopacket{name: name, link: link}
	g.cond.L = &g.mu
	g.read = src.ReadPacketData
	if z, ok := src.(gopacket.ZeroCopyPacketDataSource); ok {
		g.read = z.ZeroCopyReadPacketData // its bytes are copied into the block at once
	}
	return g
}

type fromGopacket struct {
	name  string
	link  uint16
	read  func() ([]byte, gopacket.CaptureInfo, error)
	begin sync.Once

	mu     sync.Mutex
	cond   sync.Cond
	frames []Frame // Data is set when the block is handed over: the block may move until then
	ends   []int   // in buf, of the frames
	buf    []byte
	off    int64 // bytes of packets so far
	count  uint64
	err    error
	closed bool
}

// ReadBatch implements Source.
func (g *fromGopacket) ReadBatch(b *Batch) error {
	g.begin.Do(func() { go g.fill() })
	b.Frames = b.Frames[:0]
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.frames) == 0 && g.err == nil && !g.closed {
		g.cond.Wait()
	}
	if len(g.frames) == 0 {
		if g.closed {
			return io.EOF
		}
		return g.err
	}
	b.Frames, g.frames = g.frames, b.Frames
	b.Buf, g.buf = g.buf, b.Buf[:0]
	begin := 0
	for i, end := range g.ends {
		b.Frames[i].Data = b.Buf[begin:end:end]
		begin = end
	}
	g.ends = g.ends[:0]
	g.cond.Broadcast()
	return nil
}

// fill reads ahead.
func (g *fromGopacket) fill() {
	for {
		data, ci, err := g.read()
		g.mu.Lock()
		for len(g.buf) >= readBlock && !g.closed {
			g.cond.Wait()
		}
		if g.closed {
			g.mu.Unlock()
			return
		}
		if err != nil {
			if g.err = io.EOF; !errors.Is(err, io.EOF) {
				g.err = &InputError{File: g.name, Offset: g.off, Reason: "cannot be read", Cut: errors.Is(err, io.ErrUnexpectedEOF), Err: err}
			}
			g.cond.Broadcast()
			g.mu.Unlock()
			return
		}
		g.count++
		g.off += int64(len(data))
		g.buf = append(g.buf, data[:min(len(data), maxFrame)]...)
		g.ends = append(g.ends, len(g.buf))
		g.frames = append(g.frames, Frame{
			Time: Time(ci.Timestamp.UnixNano()), Ordinal: g.count, WireLen: max(ci.Length, len(data)), Link: linkTypeOf(&ci, g.link),
		})
		g.cond.Broadcast()
		g.mu.Unlock()
	}
}

// linkTypeOf finds a gopacket/layers.LinkType in what comes with a packet. That package has two hundred protocols and is not linked
// for the sake of a number, so that its type is told by its name.
func linkTypeOf(ci *gopacket.CaptureInfo, link uint16) uint16 {
	for _, x := range ci.AncillaryData {
		if v := reflect.ValueOf(x); v.Kind() == reflect.Uint8 && v.Type().Name() == "LinkType" {
			return uint16(v.Uint())
		}
	}
	return link
}

// Close implements Source.
func (g *fromGopacket) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.frames = g.frames[:0]
	g.cond.Broadcast()
	return nil
}

// Packets reads a Source packet by packet. It is a gopacket.PacketDataSource and a gopacket.ZeroCopyPacketDataSource, for
// gopacket.NewPacketSource and the like, and belongs to one goroutine.
type Packets struct {
	src   Source
	batch Batch
	next  int
	link  uint16
	err   error // after what the batch has
}

var (
	_ gopacket.PacketDataSource         = (*Packets)(nil)
	_ gopacket.ZeroCopyPacketDataSource = (*Packets)(nil)
)

// NewPackets reads src, which it does not close.
func NewPackets(src Source) *Packets { return &Packets{src: src} }

// ZeroCopyReadPacketData implements gopacket.ZeroCopyPacketDataSource: data holds until the next call. Errors are those of
// Source.ReadBatch.
func (p *Packets) ZeroCopyReadPacketData() (data []byte, ci gopacket.CaptureInfo, err error) {
	for p.next >= len(p.batch.Frames) {
		if p.err != nil {
			return nil, ci, p.err
		}
		p.batch.Release()
		p.next = 0
		p.err = p.src.ReadBatch(&p.batch)
	}
	f := &p.batch.Frames[p.next]
	p.next++
	p.link = f.Link
	return f.Data, gopacket.CaptureInfo{Timestamp: f.Time.Std(), CaptureLength: len(f.Data), Length: max(f.WireLen, len(f.Data))}, nil
}

// ReadPacketData implements gopacket.PacketDataSource: data is the caller's.
func (p *Packets) ReadPacketData() (data []byte, ci gopacket.CaptureInfo, err error) {
	if data, ci, err = p.ZeroCopyReadPacketData(); err == nil {
		data = append([]byte(nil), data...)
	}
	return data, ci, err
}

// Link gives the link type (LINKTYPE_*) of the packet that was read last; 0 before the first.
func (p *Packets) Link() uint16 { return p.link }
