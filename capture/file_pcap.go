package capture

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// pcap (draft-ietf-opsawg-pcap) and its relatives as libpcap and Wireshark know them:
//
//	a1b2c3d4  microseconds; the records of Red Hat 6.1 and of Nokia firewalls are longer under the same number
//	a1b23c4d  nanoseconds
//	a1b2cd34  Kuznetsov's patches for Linux: device and packet type behind the lengths; SuSE 6.3 has 4 bytes more
//	1c0001ac  Ixia, hardware time stamps in nanoseconds; the length of all records behind the header
//	1c0001ab  Ixia, software time stamps in microseconds; the same
//
// Versions before 2.3, and DG/UX's 543.0, have the two lengths the other way round. AIX writes 2.2 with nanoseconds
// and numbers of its own for link types.
type pcap struct {
	name    string
	big     bool // big-endian
	unit    Time // nanoseconds in a unit of the fraction
	head    int  // length of a record header; 0: not known yet, see guess
	heads   []int
	lengths lengthOrder
	pad     int // bytes before each frame, counted in its lengths
	snaplen uint32
	link    uint16
	skip    int64    // of a long frame's record
	before  int      // length of the file's header
	begin   [16]byte // with which it begins; nothing that a record has begins so: no bytes, in 2055
}

type lengthOrder uint8

const (
	capturedFirst lengthOrder = iota
	originalFirst
	smallerIsCaptured // version 2.3, which was written in either order
)

// Lengths of record headers.
const (
	headPcap  = 16
	headNokia = 20 // four bytes of unknown meaning
	headPatch = 24 // device (4), Ethernet type (2), packet type (1), padding
	headSuSE  = 28 // and two bytes of debugging and three of padding instead of one
)

// newPcap recognises a magic number and says how long the file's header is.
func newPcap(name string, magic []byte) (p *pcap, header int) {
	p = &pcap{name: name, unit: 1000}
	for _, p.big = range []bool{false, true} {
		switch p.u32(magic) {
		case 0xa1b2c3d4:
			p.heads = []int{headPcap, headPatch, headNokia}
			return p, 24
		case 0xa1b23c4d:
			p.unit, p.head = 1, headPcap
			return p, 24
		case 0xa1b2cd34:
			p.heads = []int{headPatch, headSuSE}
			return p, 24
		case 0x1c0001ac:
			p.unit, p.head = 1, headPcap
			return p, 28
		case 0x1c0001ab:
			p.head = headPcap
			return p, 28
		}
	}
	return nil, 0
}

func (p *pcap) u32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if p.big {
		v = bits.ReverseBytes32(v)
	}
	return v
}

// header reads the file's header.
func (p *pcap) header(b []byte) error {
	v := p.u32(b[4:]) // two 16-bit fields
	major, minor := v&0xffff, v>>16
	if p.big {
		major, minor = minor, major
	}
	p.before = len(b)
	copy(p.begin[:], b)
	p.snaplen = p.u32(b[16:])
	// Upper bits tell of frame check sequences.
	p.link = uint16(p.u32(b[20:]))
	switch {
	case major == 543 && minor == 0, major == 2 && minor < 3:
		p.head, p.lengths = headPcap, originalFirst
	case major == 2 && minor == 3:
		p.head, p.lengths = headPcap, smallerIsCaptured
	case major != 2:
		return &InputError{File: p.name, Offset: 4, Reason: fmt.Sprintf("pcap version %d.%d is not known", major, minor)}
	}
	if major == 2 && minor == 2 && p.heads != nil {
		// AIX counts link types as RFC 1573 does; in a file this old they mean nothing else.
		switch p.link {
		case 6:
			p.link, p.unit = linkEthernet, 1
		case 9:
			const tokenRing = 6
			p.link, p.unit = tokenRing, 1
		case 15:
			p.link, p.unit, p.pad = linkFDDI, 1, 3
		case 24:
			p.link, p.unit = linkNull, 1
		}
	}
	return nil
}

func (p *pcap) pending() int64 { return p.skip }

// scan implements records.
func (p *pcap) scan(b []byte, off int64, fs []Frame, ordinal uint64) (_ []Frame, used, need int, err error) {
	if p.head == 0 {
		if len(b) < headSuSE {
			if len(b) >= headPcap && p.heads[0] == headPcap && p.u32(b[8:]) <= uint32(len(b)-headPcap) {
				p.head = headPcap // one short record
			} else {
				return fs, 0, 0, nil
			}
		} else {
			p.guess(b)
		}
	}
	at := 0
	if p.skip > 0 {
		at = int(min(p.skip, int64(len(b))))
		p.skip -= int64(at)
	}
	for {
		r := b[at:]
		if len(r) < p.head || len(r) < headPcap {
			return fs, at, 0, nil
		}
		if [16]byte(r) == p.begin {
			// Another header: files that were joined, or the next writer of a pipe that had not run dry.
			if len(r) < p.before {
				return fs, at, p.before, nil
			}
			p.link = uint16(p.u32(r[20:]))
			at += p.before
			continue
		}
		sec, frac := binary.LittleEndian.Uint32(r), binary.LittleEndian.Uint32(r[4:])
		n, wire := binary.LittleEndian.Uint32(r[8:]), binary.LittleEndian.Uint32(r[12:])
		if p.big {
			sec, frac = bits.ReverseBytes32(sec), bits.ReverseBytes32(frac)
			n, wire = bits.ReverseBytes32(n), bits.ReverseBytes32(wire)
		}
		if p.lengths != capturedFirst && (p.lengths == originalFirst || n > wire) {
			n, wire = wire, n
		}
		held := n
		if n > maxFrame {
			if n > longest(p.link) {
				return fs, at, 0, &InputError{File: p.name, Offset: off + int64(at),
					Reason: fmt.Sprintf("damaged: a record of %s, longer than the %s that a frame can have", size(n), size(longest(p.link)))}
			}
			held = maxFrame
		}
		end := p.head + int(held)
		if len(r) < end {
			return fs, at, end, nil
		}
		data := r[p.head:end:end]
		if p.pad > 0 {
			data = data[min(p.pad, len(data)):]
			wire -= min(uint32(p.pad), wire)
		}
		fs = append(fs, Frame{
			Time:    Time(sec)*1e9 + Time(frac)*p.unit,
			Ordinal: ordinal,
			Data:    data,
			WireLen: int(wire),
			Link:    p.link,
		})
		ordinal++
		at += end
		if n > held {
			p.skip = int64(n - held)
			k := min(p.skip, int64(len(b)-at))
			p.skip -= k
			at += int(k)
		}
	}
}

// longest is the longest frame of a link type.
func longest(link uint16) uint32 {
	const usbLinux, usbLinuxMapped, dbus, usbPcap, ebhscr = 189, 220, 231, 249, 279
	switch link {
	case usbLinux, usbLinuxMapped, dbus, usbPcap, ebhscr:
		return maxLongFrame
	}
	return maxFrame
}

// size writes a number of bytes for people.
func size(n uint32) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// guess finds out which of the record headers that go with the magic number the file has: the one that makes sense for
// the most records, and of equals the one with the fewest faults, or the first. A file that is merely damaged makes
// sense up to the damage.
func (p *pcap) guess(b []byte) {
	best, fewest := -1, 0
	for _, head := range p.heads {
		if good, faults := p.try(b, head); good > best || good == best && faults < fewest {
			p.head, best, fewest = head, good, faults
		}
	}
}

// try reads the first records of b as if their headers had a given length: how many there are before the first with a
// fault, and how many faults in all.
func (p *pcap) try(b []byte, head int) (good, faults int) {
	odd := func(cond bool) {
		if cond {
			faults++
		}
	}
	for range 3 {
		if len(b) < head {
			break
		}
		n, wire := p.u32(b[8:]), p.u32(b[12:])
		odd(p.u32(b[4:]) >= 1e6)
		odd(n > longest(p.link))
		odd(n > p.snaplen)
		odd(wire > maxLongFrame)
		odd(n > wire)
		switch head {
		case headPatch, headSuSE:
			odd(p.u32(b[16:]) > 10000) // devices
			proto := p.u32(b[20:]) & 0xffff
			if p.big {
				proto = p.u32(b[20:]) >> 16
			}
			// An Ethernet type, or one of Linux's own small numbers.
			odd(proto < 0x600 && proto > 0x17 && proto != 0x60 && proto != 0x200 && proto != 0x400)
			odd(b[22] > 4) // to us, broadcast, multicast, to another, from us
		case headNokia:
			odd(p.u32(b[16:])&0x0fff00f0 != 0x0fbf0000)
		}
		if faults == 0 {
			good++
		}
		if n > longest(p.link) || int(n) > len(b)-head {
			break
		}
		b = b[head+int(n):]
	}
	return good, faults
}
