package file

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

const (
	// Bytes of one file that wait for what comes before them: Files::reassembly_buffer_size of Zeek.
	maxScattered = 512 << 10
	// And of all files of one flow: four clients that read ahead as far as they can.
	maxAllScattered = 4 * maxScattered
	// Pieces that wait, of one file. Clients read ahead by a few dozen.
	maxPieces = 256
)

// Assembler is a Reader for files that come in pieces of known places. It puts them in order; what comes twice counts
// once, and the first is believed.
type Assembler struct {
	Reader
	flow     *Scattered
	next     int64   // the place of the next byte in order
	pieces   []piece // by place, behind next, without overlaps
	waiting  int
	overflow int64
	apart    bool // a piece did not come in order
}

// Scattered counts the bytes that wait in the files of one flow. The bound is a flow's and not a worker's: what is known
// of a file must not depend on how many workers there are.
type Scattered struct {
	bytes int
	limit int // maxAllScattered if 0
}

func (s *Scattered) full() bool { return s.bytes > max(s.limit, maxAllScattered) }

type piece struct {
	off int64
	b   []byte
}

func (p *piece) end() int64 { return p.off + int64(len(p.b)) }

// Open begins a file.
func (a *Assembler) Open(c *Cache, flow *Scattered) {
	a.Reader.Open(c)
	a.flow, a.next, a.pieces, a.waiting, a.overflow, a.apart = flow, 0, nil, 0, 0, false
}

// Next is the place of the first byte that did not come in order.
func (a *Assembler) Next() int64 { return a.next }

// WriteAt takes b, borrowed, which belongs at off.
func (a *Assembler) WriteAt(at capture.At, off int64, b []byte) {
	if off < 0 || off+int64(len(b)) < off {
		return
	}
	if a.waiting > maxScattered || len(a.pieces) > maxPieces || a.flow.full() {
		missing := a.f.Missing
		a.flush(at)
		a.overflow += a.f.Missing - missing
	}
	if off < a.next {
		if off+int64(len(b)) <= a.next {
			a.touch(at)
			return
		}
		b, off = b[a.next-off:], a.next
	}
	a.touch(at)
	if off > a.next {
		a.apart = true
		a.put(off, b)
		return
	}
	a.take(at, b)
	a.advance(at)
}

func (a *Assembler) take(at capture.At, b []byte) {
	a.Write(at, b)
	a.next += int64(len(b))
}

// advance takes the pieces whose turn it is.
func (a *Assembler) advance(at capture.At) {
	n := 0
	for ; n < len(a.pieces) && a.pieces[n].off <= a.next; n++ {
		p := &a.pieces[n]
		if p.end() > a.next {
			a.take(at, p.b[a.next-p.off:])
		}
		a.forget(len(p.b))
	}
	a.pieces = slices.Delete(a.pieces, 0, n)
}

func (a *Assembler) forget(n int) {
	a.waiting -= n
	a.flow.bytes -= n
}

// put keeps of b what is not there yet.
func (a *Assembler) put(off int64, b []byte) {
	i, _ := slices.BinarySearchFunc(a.pieces, off, func(p piece, off int64) int {
		if p.end() < off {
			return -1
		}
		return 1
	})
	for len(b) > 0 {
		if i < len(a.pieces) && a.pieces[i].off <= off {
			p := &a.pieces[i]
			if n := p.end() - off; n >= int64(len(b)) {
				return
			} else if n >= 0 {
				b, off = b[n:], p.end()
			}
			room := int64(len(b))
			if i+1 < len(a.pieces) {
				room = min(room, a.pieces[i+1].off-off)
			}
			if off == p.end() {
				p.b = append(p.b, b[:room]...)
				a.forget(-int(room))
				b, off = b[room:], off+room
			}
			i++
			continue
		}
		room := int64(len(b))
		if i < len(a.pieces) {
			room = min(room, a.pieces[i].off-off)
		}
		if room > 0 {
			a.pieces = slices.Insert(a.pieces, i, piece{off, slices.Clone(b[:room])})
			a.forget(-int(room))
			b, off = b[room:], off+room
		}
	}
}

// GapAt says that n bytes from off on are missing, and will not come. Like Zeek it waits for nothing before them either,
// and takes their place for the next one as long as everything came in order.
func (a *Assembler) GapAt(at capture.At, off, n int64) {
	if off < 0 || off+n < off {
		return
	}
	if !a.apart {
		a.skip(at, n)
		return
	}
	for len(a.pieces) > 0 && a.pieces[0].off < off+n {
		a.skip(at, a.pieces[0].off-a.next)
		a.advance(at)
	}
	a.skip(at, off+n-a.next)
	a.advance(at)
}

func (a *Assembler) skip(at capture.At, n int64) {
	if n > 0 {
		a.Gap(at, n)
		a.next += n
	}
}

// flush gives up on what is missing between the pieces.
func (a *Assembler) flush(at capture.At) {
	for len(a.pieces) > 0 {
		n := a.pieces[0].off - a.next
		a.Gap(at, n)
		a.next += n
		a.advance(at)
	}
}

// Close ends the file as Reader.Close does; what is missing between its pieces is missing for good.
func (a *Assembler) Close(at capture.At) []*File {
	a.flush(at)
	f := a.Reader.Close()
	if f != nil {
		f[0].Overflow = a.overflow
	}
	return f
}

// Drop forgets the file and gives back what it holds.
func (a *Assembler) Drop() {
	a.forget(a.waiting)
	a.pieces = nil
	a.Reader.Drop()
}
