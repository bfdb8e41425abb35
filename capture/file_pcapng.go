package capture

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// pcapng (draft-ietf-opsawg-pcapng). Sections, each in its own byte order, their interfaces and the three kinds of
// packet blocks are read; statistics, names, secrets, comments and blocks of unknown kind are passed over, without
// being held in memory.
type pcapng struct {
	name  string
	big   bool // the section is big-endian
	begun bool // there was a section
	ifs   []ngInterface
	last  Time // of the packet before: simple packet blocks have no time

	skip    int64  // bytes of a block that nobody wants
	trailer uint32 // then comes the block's length again; 0: no
	begin   int64  // where that block began
}

// ngInterface is what packets need of their interface.
type ngInterface struct {
	link    uint16
	resol   byte // if_tsresol: units of 10^-n s, or of 2^-n s if the highest bit is set
	snaplen uint32
	offset  int64 // if_tsoffset: seconds to add
}

// Interfaces of a section: those of a machine, or of all files that were merged into one. Each takes 24 bytes.
const maxInterfaces = 1 << 16

// The longest block of a known kind that is held as a whole: a frame with ample options. What is longer is read as it
// comes if it has a frame, and refused if it describes an interface.
const maxHeldBlock = readBlock

// Kinds of blocks.
const (
	ngSection     = 0x0a0d0d0a // the same in either byte order
	ngDescription = 1
	ngPacket      = 2 // obsolete
	ngSimple      = 3
	ngEnhanced    = 6
)

func (p *pcapng) u16(b []byte) uint16 {
	v := binary.LittleEndian.Uint16(b)
	if p.big {
		v = bits.ReverseBytes16(v)
	}
	return v
}

func (p *pcapng) u32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if p.big {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (p *pcapng) pending() int64 {
	if p.trailer != 0 {
		return p.skip + 4
	}
	return p.skip
}

// scan implements records.
func (p *pcapng) scan(b []byte, off int64, fs []Frame, ordinal uint64) (_ []Frame, used, need int, err error) {
	at := 0
	for {
		if p.skip > 0 {
			n := int(min(p.skip, int64(len(b)-at)))
			p.skip -= int64(n)
			at += n
		}
		r := b[at:]
		if p.trailer != 0 {
			if len(r) < 4 || p.skip > 0 {
				return fs, at, 0, nil
			}
			if n := p.u32(r); n != p.trailer {
				return fs, at, 0, p.damaged(p.begin, "a block that has length %d at its beginning and %d at its end", p.trailer, n)
			}
			p.trailer = 0
			at += 4
			r = b[at:]
		}
		if len(r) < 12 {
			return fs, at, 0, nil
		}
		here := off + int64(at)
		kind, long, whole, err := p.block(r, here)
		if err != nil {
			return fs, at, 0, err
		}
		body, take := r[8:], 8
		if whole {
			body, take = r[8:long-4], int(long)
		}
		var reason string
		switch kind {
		case ngSection:
			if len(r) < 16 {
				return fs, at, 16, nil
			}
			if major := p.u16(r[12:]); major != 1 {
				return fs, at, 0, p.damaged(here, "pcapng version %d.%d is not known", major, p.u16(r[14:]))
			}
			p.begun, p.ifs = true, p.ifs[:0]
		case ngDescription:
			if !whole {
				if long > maxHeldBlock {
					return fs, at, 0, p.damaged(here, "an interface description of %s", size(long))
				}
				return fs, at, int(long), nil
			}
			reason = p.describe(body)
		case ngPacket, ngSimple, ngEnhanced:
			if !whole && long <= maxHeldBlock {
				return fs, at, int(long), nil
			}
			var fr Frame
			var n int
			if fr, n, reason = p.packet(kind, body, long-12); reason != "" {
				break
			}
			if n > len(body) { // never so if it is whole
				return fs, at, 8 + n, nil
			}
			if !whole {
				take = 8 + n
			}
			fr.Ordinal = ordinal
			ordinal++
			fs = append(fs, fr)
		}
		if !p.begun {
			return fs, at, 0, p.damaged(here, "a block of type %#x before the first section", kind)
		}
		if reason != "" {
			return fs, at, 0, p.damaged(here, "%s", reason)
		}
		at += take
		if !whole {
			p.skip, p.trailer, p.begin = int64(long)-int64(take)-4, long, here
		}
	}
}

// damaged says what is wrong with the file at an offset.
func (p *pcapng) damaged(where int64, format string, a ...any) error {
	return &InputError{File: p.name, Offset: where, Reason: "damaged: " + fmt.Sprintf(format, a...)}
}

// block reads the type and the length of the block at r, which has 12 bytes at least. A section tells its byte order.
// whole says that all of the block is in r.
func (p *pcapng) block(r []byte, here int64) (kind, long uint32, whole bool, err error) {
	section := binary.LittleEndian.Uint32(r) == ngSection
	if section {
		switch binary.LittleEndian.Uint32(r[8:]) {
		case 0x1a2b3c4d:
			p.big = false
		case 0x4d3c2b1a:
			p.big = true
		default:
			return 0, 0, false, p.damaged(here, "a section whose byte order is % x", r[8:12])
		}
	}
	kind, long = p.u32(r), p.u32(r[4:])
	switch {
	case long < 12 || long%4 != 0:
		return 0, 0, false, p.damaged(here, "a block of type %#x with length %d", kind, long)
	case section && long < 28:
		return 0, 0, false, p.damaged(here, "a section header of %d bytes", long)
	}
	whole = uint64(long) <= uint64(len(r))
	if whole {
		if n := p.u32(r[long-4:]); n != long {
			return 0, 0, false, p.damaged(here, "a block that has length %d at its beginning and %d at its end", long, n)
		}
	}
	return kind, long, whole, nil
}

// describe takes an interface description.
func (p *pcapng) describe(b []byte) (reason string) {
	if len(b) < 8 {
		return fmt.Sprintf("an interface description of %d bytes", len(b))
	}
	if len(p.ifs) == maxInterfaces {
		return fmt.Sprintf("more than %d interfaces", maxInterfaces)
	}
	i := ngInterface{link: p.u16(b), snaplen: p.u32(b[4:]), resol: 6}
	for o := b[8:]; len(o) >= 4; {
		code, n := p.u16(o), int(p.u16(o[2:]))
		if code == 0 {
			break
		}
		if 4+n > len(o) {
			return "an interface option that is longer than its block"
		}
		switch v := o[4 : 4+n]; {
		case code == 9 && n == 1:
			i.resol = v[0]
		case code == 14 && n == 8:
			hi, lo := p.u32(v), p.u32(v[4:])
			if !p.big {
				hi, lo = lo, hi
			}
			i.offset = int64(uint64(hi)<<32 | uint64(lo))
		}
		o = o[min(4+(n+3)&^3, len(o)):]
	}
	p.ifs = append(p.ifs, i)
	return ""
}

// packet reads a packet block of which b is the body, or its beginning if room, the length of the whole, is more. n is
// how much of b it takes; if b is shorter than that there is no frame yet.
func (p *pcapng) packet(kind uint32, b []byte, room uint32) (fr Frame, n int, reason string) {
	head := 20
	if kind == ngSimple {
		head = 4
	}
	if int(min(room, 1<<20)) < head {
		return fr, 0, fmt.Sprintf("a packet block with %d bytes of content", room)
	}
	if len(b) < head {
		return fr, head, ""
	}
	room -= uint32(head)
	var id, captured, wire uint32
	switch kind {
	case ngSimple:
		wire = p.u32(b)
		captured = min(wire, room)
	case ngPacket:
		id = uint32(p.u16(b)) // the other half counts drops
		captured, wire = p.u32(b[12:]), p.u32(b[16:])
	default:
		id = p.u32(b)
		captured, wire = p.u32(b[12:]), p.u32(b[16:])
	}
	if uint64(id) >= uint64(len(p.ifs)) {
		return fr, 0, fmt.Sprintf("a packet from interface %d of %d", id, len(p.ifs))
	}
	i := &p.ifs[id]
	if kind == ngSimple {
		if i.snaplen > 0 {
			captured = min(captured, i.snaplen)
		}
	} else {
		p.last = i.time(uint64(p.u32(b[4:]))<<32 | uint64(p.u32(b[8:])))
	}
	switch {
	case captured > longest(i.link):
		return fr, 0, fmt.Sprintf("a frame of %s, longer than the %s that it can have", size(captured), size(longest(i.link)))
	case captured > room:
		return fr, 0, fmt.Sprintf("a frame of %s in a block with room for %s", size(captured), size(room))
	}
	n = head + int(min(captured, maxFrame))
	if len(b) >= n {
		fr = Frame{Time: p.last, Data: b[head:n:n], WireLen: int(wire), Link: i.link}
	}
	return fr, n, ""
}

// time converts a time stamp in units of the interface. What does not fit is the end of time.
func (i *ngInterface) time(ts uint64) Time {
	if i.offset == 0 {
		switch { // nearly all
		case i.resol == 6 && ts <= math.MaxInt64/1000:
			return Time(ts * 1000)
		case i.resol == 9 && ts <= math.MaxInt64:
			return Time(ts)
		}
	}
	n := uint(i.resol &^ 0x80)
	var sec, ns uint64
	switch {
	case i.resol&0x80 != 0 && n < 64:
		sec = ts >> n
		hi, lo := bits.Mul64(ts&(1<<n-1), 1e9)
		if ns = lo >> n; n > 0 {
			ns |= hi << (64 - n)
		}
	case i.resol&0x80 != 0: // a unit is less than 2^-64 s, and there are less than 2^64
		if n < 128 {
			hi, _ := bits.Mul64(ts, 1e9)
			ns = hi >> (n - 64)
		}
	case n <= 19:
		unit := uint64(1)
		for range n {
			unit *= 10
		}
		sec = ts / unit
		hi, lo := bits.Mul64(ts%unit, 1e9)
		ns, _ = bits.Div64(hi, lo, unit)
	default:
		for ; n > 9 && ts > 0; n-- {
			ts /= 10
		}
		ns = ts
	}
	// 292 years on either side of 1970.
	const most = math.MaxInt64/1_000_000_000 - 1
	if sec > most {
		return math.MaxInt64
	}
	s := int64(sec)
	switch {
	case i.offset > most-s:
		return math.MaxInt64
	case i.offset < -most:
		return math.MinInt64
	}
	return Time(s+i.offset)*1e9 + Time(ns)
}
