package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/disk"
)

// place is where a chunk stands in its segment.
type place struct {
	at     int64 // of the directory's block
	data   int64 // of the packets
	run    uint64
	first  capture.Time
	last   capture.Time
	from   uint64 // ordinals
	to     uint64
	length int
	packed int
}

// stored is how many bytes the packets take in the file.
func (p *place) stored() int {
	if p.packed > 0 {
		return p.packed
	}
	return p.length
}

func placeOf(at, data int64, d *directory) place {
	p := place{at: at, data: data, run: d.run, first: d.first, last: d.last, length: d.length, packed: d.packed}
	p.from, p.to = bounds(d.ordinals)
	return p
}

func (c *chunk) place(at, data int64, packed int) place {
	p := place{at: at, data: data, run: c.run, first: c.first, last: c.last, length: len(c.buf), packed: packed}
	p.from, p.to = bounds(c.ordinals)
	return p
}

// bounds gives the least and the greatest of ordinals.
func bounds(all []uint64) (from, to uint64) {
	for i, o := range all {
		if i == 0 {
			from, to = o, o
		}
		from, to = min(from, o), max(to, o)
	}
	return from, to
}

// segment is one that is read.
type segment struct {
	name string
	f    *os.File
	size int64
	zstd *zstd.Decoder
}

func openSegment(name string) (*segment, error) {
	f, err := disk.Read(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &segment{name: name, f: f, size: info.Size()}, nil
}

func (s *segment) close() {
	s.f.Close()
	if s.zstd != nil {
		s.zstd.Close()
	}
}

// read gives n bytes from at, or what there is of them.
func (s *segment) read(at int64, n int) ([]byte, error) {
	if rest := s.size - at; int64(n) > rest {
		n = int(max(rest, 0))
	}
	b := make([]byte, n)
	m, err := s.f.ReadAt(b, at)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:m], err
}

// directory reads the one that stands at a place. It returns where the packets begin.
func (s *segment) directory(at int64) (d *directory, data int64, err error) {
	b, data, err := s.raw(at)
	if err != nil {
		return nil, 0, err
	}
	if d, err = parseDirectory(b); err != nil {
		return nil, 0, err
	}
	return d, data, nil
}

// raw reads the bytes of a directory, in whichever wrapping.
func (s *segment) raw(at int64) (b []byte, data int64, err error) {
	head, err := s.read(at, 8)
	if err != nil {
		return nil, 0, err
	}
	if len(head) < 8 {
		return nil, 0, io.EOF
	}
	kind, n := binary.LittleEndian.Uint32(head), int(binary.LittleEndian.Uint32(head[4:]))
	if n > maxDirectory {
		return nil, 0, errDirectory
	}
	switch kind {
	case directoryBlock:
		n -= 12
	case skippable:
	default:
		return nil, 0, errDirectory
	}
	if n < directoryHead {
		return nil, 0, errDirectory
	}
	if b, err = s.read(at+8, n); err != nil {
		return nil, 0, err
	}
	if len(b) < n {
		return nil, 0, io.EOF
	}
	data = at + 8 + int64(n)
	if kind == directoryBlock {
		data += 4
	}
	return b, data, nil
}

// walk calls fn for each chunk, and returns how many times something else than a chunk was passed over: damage. A chunk
// of which the file has less than its directory says is told with those frames that are whole.
func (s *segment) walk(fn func(p place, d *directory) error) (damaged int, err error) {
	at, ok := s.next(0)
	for ok {
		d, data, err := s.directory(at)
		switch {
		case errors.Is(err, io.EOF):
			return damaged, nil
		case errors.Is(err, errDirectory):
			damaged++
			at, ok = s.next(at + 9)
			continue
		case err != nil:
			return damaged, err
		}
		p := placeOf(at, data, d)
		if rest := s.size - data; int64(p.stored()) > rest {
			if p.packed > 0 {
				return damaged, nil
			}
			d.cut(int(rest), false)
			p = placeOf(at, data, d)
		}
		if err := fn(p, d); err != nil {
			return damaged, err
		}
		at = data + int64(p.stored())
		if at >= s.size {
			break
		}
		near, found := s.next(at)
		if found && near != at && !s.between(at, near) {
			damaged++
		}
		at, ok = near, found
	}
	return damaged, nil
}

// between says whether what stands between two chunks is what may: padding and descriptions of interfaces.
func (s *segment) between(at, to int64) bool {
	if s.zipped() {
		return to-at < 1<<17
	}
	if to-at > 1<<16 {
		return false
	}
	b, err := s.read(at, int(to-at))
	if err != nil {
		return false
	}
	for len(b) >= 12 {
		n := binary.LittleEndian.Uint32(b[4:])
		if kind := binary.LittleEndian.Uint32(b); kind != 1 && kind != padBlock || n < 12 || int(n) > len(b) {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0
}

// zipped says whether the segment is compressed.
func (s *segment) zipped() bool { return strings.HasSuffix(s.name, ".zst") }

// next finds the next directory from at on.
func (s *segment) next(at int64) (int64, bool) {
	const window = 256 << 10
	for ; at < s.size; at += window - 15 {
		n := window
		if b, err := s.read(at, 16); err == nil && len(b) == 16 && bytes.Equal(b[8:], directoryMark[:]) {
			return at, true // mostly at once
		}
		b, err := s.read(at, n)
		if err != nil {
			return 0, false
		}
		for i := 0; ; {
			j := bytes.Index(b[i:], directoryMark[:])
			if j < 0 {
				break
			}
			if i += j; i >= 8 {
				if kind := binary.LittleEndian.Uint32(b[i-8:]); kind == directoryBlock || kind == skippable {
					return at + int64(i) - 8, true
				}
			}
			i++
		}
	}
	return 0, false
}

// cut leaves of a directory the frames that are whole in the first n bytes; what is compressed is there or not.
func (d *directory) cut(n int, packed bool) {
	if packed || n >= d.length {
		return
	}
	k := 0
	for k < len(d.at) {
		end := d.length
		if k+1 < len(d.at) {
			end = int(d.at[k+1])
		}
		if end > n {
			break
		}
		k++
	}
	if k < len(d.at) {
		d.length = int(d.at[k])
	}
	d.at, d.ordinals = d.at[:k], d.ordinals[:k]
	for i := range d.flows {
		f := &d.flows[i]
		for j, frame := range f.frames {
			if int(frame) >= k {
				f.frames = f.frames[:j]
				break
			}
		}
	}
}

// packets reads the blocks of a chunk.
func (s *segment) packets(p *place) ([]byte, error) {
	b, err := s.read(p.data, p.stored())
	if err != nil {
		return nil, err
	}
	if len(b) < p.stored() {
		return nil, io.ErrUnexpectedEOF
	}
	if p.packed == 0 {
		return b, nil
	}
	if s.zstd == nil {
		if s.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChunk)); err != nil {
			return nil, err
		}
	}
	if b, err = s.zstd.DecodeAll(b, nil); err != nil {
		return nil, err
	}
	if len(b) != p.length {
		return nil, fmt.Errorf("record: %s: a chunk of %d bytes where %d should be", s.name, len(b), p.length)
	}
	return b, nil
}

// parsePacket reads the block that b begins with as we write them: what is borrowed from b, and its length.
func parsePacket(b []byte, links []uint16) (f capture.Frame, n int, ok bool) {
	le := binary.LittleEndian
	if len(b) < 32 || le.Uint32(b) != 6 {
		return f, 0, false
	}
	n = int(le.Uint32(b[4:]))
	id, caplen := le.Uint32(b[8:]), int(le.Uint32(b[20:]))
	if n < 32 || n%4 != 0 || n > len(b) || caplen > n-32 || int(le.Uint32(b[n-4:])) != n || int(id) >= len(links) {
		return f, 0, false
	}
	f.Time = capture.Time(uint64(le.Uint32(b[12:]))<<32 | uint64(le.Uint32(b[16:])))
	f.WireLen, f.Link = int(le.Uint32(b[24:])), links[id]
	f.Data = b[28 : 28+caplen : 28+caplen]
	return f, n, true
}
