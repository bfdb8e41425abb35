package capture

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// pcapng (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng). Sections, interfaces and the three packet blocks
// are read; all other blocks are passed over.
type pcapng struct {
	file  *file
	order binary.ByteOrder // of the section; nil before the first
	ifs   []ngInterface
	last  Time // simple packet blocks have no time of their own
}

type ngInterface struct {
	link    uint16
	snaplen uint32
	resol   byte  // if_tsresol: 10^-n s, or 2^-n s with the upper bit
	offset  int64 // if_tsoffset: seconds
}

// A capture has as many interfaces as its machine; merged files have a few hundred.
const maxInterfaces = 1 << 16

const (
	ngSection   = 0x0a0d0d0a
	ngInterfDsc = 1
	ngPacket    = 2 // obsolete
	ngSimple    = 3
	ngEnhanced  = 6
)

func (p *pcapng) bad(format string, a ...any) error {
	return p.file.fail(p.file.off, "damaged block: "+fmt.Sprintf(format, a...), nil)
}

func (p *pcapng) next(b []byte, fr *Frame) (int, bool, error) {
	if len(b) < 12 {
		return 0, false, nil
	}
	if binary.LittleEndian.Uint32(b) == ngSection { // a palindrome: the same in both byte orders
		switch binary.LittleEndian.Uint32(b[8:]) {
		case 0x1a2b3c4d:
			p.order = binary.LittleEndian
		case 0x4d3c2b1a:
			p.order = binary.BigEndian
		default:
			return 0, false, p.bad("byte-order magic % x", b[8:12])
		}
		p.ifs = p.ifs[:0]
	}
	if p.order == nil {
		return 0, false, p.bad("no section header")
	}
	kind, size := p.order.Uint32(b), p.order.Uint32(b[4:])
	if size < 12 || size%4 != 0 {
		return 0, false, p.bad("length %d of a block of type %d", size, kind)
	}
	switch kind {
	case ngSection, ngInterfDsc, ngPacket, ngSimple, ngEnhanced:
	default:
		p.file.skip = int64(size) - 12
		return 12, false, nil
	}
	if size > maxBlock {
		return 0, false, p.bad("a block of %d bytes, more than the %d there can be", size, maxBlock)
	}
	if len(b) < int(size) {
		p.file.need = int(size)
		return 0, false, nil
	}
	if tail := p.order.Uint32(b[size-4:]); tail != size {
		return 0, false, p.bad("length %d at its beginning, %d at its end", size, tail)
	}
	body := b[8 : size-4]
	var err error
	got := false
	switch kind {
	case ngInterfDsc:
		err = p.interf(body)
	case ngPacket, ngEnhanced:
		got, err = true, p.packet(kind, body, fr)
	case ngSimple:
		got, err = true, p.simple(body, fr)
	}
	return int(size), got && err == nil, err
}

func (p *pcapng) interf(b []byte) error {
	if len(b) < 8 {
		return p.bad("interface description of %d bytes", len(b))
	}
	if len(p.ifs) >= maxInterfaces {
		return p.bad("more than %d interfaces", maxInterfaces)
	}
	i := ngInterface{link: p.order.Uint16(b), snaplen: p.order.Uint32(b[4:]), resol: 6}
	for o := b[8:]; len(o) >= 4; {
		code, n := p.order.Uint16(o), int(p.order.Uint16(o[2:]))
		if code == 0 || 4+n > len(o) {
			break
		}
		switch v := o[4 : 4+n]; {
		case code == 9 && n >= 1:
			i.resol = v[0]
		case code == 14 && n >= 8:
			i.offset = int64(p.order.Uint64(v))
		}
		o = o[min(4+(n+3)&^3, len(o)):]
	}
	p.ifs = append(p.ifs, i)
	return nil
}

func (p *pcapng) packet(kind uint32, b []byte, fr *Frame) error {
	if len(b) < 20 {
		return p.bad("packet block of %d bytes", len(b))
	}
	id := p.order.Uint32(b)
	if kind == ngPacket {
		id = uint32(p.order.Uint16(b)) // the other half counts drops
	}
	if id >= uint32(len(p.ifs)) {
		return p.bad("a packet of interface %d, of which nothing was said", id)
	}
	n := p.order.Uint32(b[12:])
	if n > maxFrame || int(n) > len(b)-20 {
		return p.bad("a frame of %d bytes in a block with room for %d", n, len(b)-20)
	}
	i := &p.ifs[id]
	fr.Time = i.time(uint64(p.order.Uint32(b[4:]))<<32 | uint64(p.order.Uint32(b[8:])))
	fr.Data, fr.WireLen, fr.Link = b[20:20+n:20+n], int(p.order.Uint32(b[16:])), i.link
	p.last = fr.Time
	return nil
}

func (p *pcapng) simple(b []byte, fr *Frame) error {
	if len(b) < 4 || len(p.ifs) == 0 {
		return p.bad("simple packet block of %d bytes with %d interfaces", len(b), len(p.ifs))
	}
	i := &p.ifs[0]
	wire := p.order.Uint32(b)
	n := min(wire, uint32(len(b)-4))
	if i.snaplen > 0 {
		n = min(n, i.snaplen)
	}
	fr.Data, fr.WireLen, fr.Link, fr.Time = b[4:4+n:4+n], int(wire), i.link, p.last
	return nil
}

// time converts a time stamp in the interface's units. What does not fit 64 bits of nanoseconds is cut to the limit.
func (i *ngInterface) time(ts uint64) Time {
	var ns uint64
	n := uint(i.resol & 0x7f)
	if i.resol&0x80 != 0 {
		n = min(n, 63)
		sec, frac := ts>>n, ts&(1<<n-1)
		hi, lo := bits.Mul64(frac, 1e9)
		if sec > math.MaxInt64/1_000_000_000 {
			return math.MaxInt64
		}
		ns = sec*1e9 + (hi<<(64-n) | lo>>n)
		if n == 0 {
			ns = sec * 1e9
		}
	} else {
		scale := uint64(1)
		for range min(max(int(n)-9, 9-int(n)), 19) {
			scale *= 10
		}
		if n > 9 {
			ns = ts / scale
		} else {
			hi, lo := bits.Mul64(ts, scale)
			if hi > 0 {
				return math.MaxInt64
			}
			ns = lo
		}
	}
	if ns > math.MaxInt64 {
		return math.MaxInt64
	}
	if i.offset > math.MaxInt64/2_000_000_000 || i.offset < -math.MaxInt64/2_000_000_000 {
		return Time(ns)
	}
	return Time(ns) + Time(i.offset)*1e9
}
