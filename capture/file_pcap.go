package capture

import (
	"encoding/binary"
	"fmt"
	"io"
)

// pcap (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap) and the variants that Wireshark's wiretap knows and
// that can be told by their magic number.
type pcap struct {
	file  *file
	order binary.ByteOrder
	unit  Time // nanoseconds in a unit of the fraction
	head  int  // length of a record header
	link  uint16
}

func openPcap(f *file, magic []byte) (func([]byte, *Frame) (int, bool, error), error) {
	p := &pcap{file: f, unit: 1000, head: 16}
	more := 0
	known := func(m uint32) bool {
		switch m {
		case 0xa1b2c3d4:
		case 0xa1b23c4d:
			p.unit = 1
		case 0xa1b2cd34: // Kuznetzov's Linux patch: interface, protocol and packet type behind the lengths
			p.head = 24
		case 0x1c0001ac: // IXIA, hardware stamps; the length of all records follows the header
			p.unit, more = 1, 4
		case 0x1c0001ab: // IXIA, software stamps
			p.unit, more = 1, 4
		default:
			return false
		}
		return true
	}
	switch {
	case known(binary.LittleEndian.Uint32(magic)):
		p.order = binary.LittleEndian
	case known(binary.BigEndian.Uint32(magic)):
		p.order = binary.BigEndian
	default:
		return nil, f.fail(0, fmt.Sprintf("not a capture: begins with % x", magic)+guess(magic), nil)
	}
	hdr := make([]byte, 24+more)
	if n, err := io.ReadFull(f.r, hdr); err != nil {
		return nil, f.short(0, hdr[:n], io.EOF)
	}
	f.off = int64(len(hdr))
	if major := p.order.Uint16(hdr[4:]); major != 2 {
		return nil, f.fail(4, fmt.Sprintf("pcap version %d.%d is not known", major, p.order.Uint16(hdr[6:])), nil)
	}
	// The upper bits tell of frame check sequences; the lower sixteen are the link type.
	p.link = uint16(p.order.Uint32(hdr[20:]))
	return p.next, nil
}

// guess names what people mistake for captures.
func guess(m []byte) string {
	switch {
	case m[0] == 'P' && m[1] == 'K':
		return " (a ZIP archive)"
	case string(m) == "\x7fELF":
		return " (a program)"
	case string(m[:3]) == "BZh":
		return " (bzip2: unpack it first)"
	case string(m) == "\xfd7zX":
		return " (xz: unpack it first)"
	case string(m) == "snoo":
		return " (snoop: convert it with editcap)"
	case m[0] == '{' || m[0] == '#':
		return " (a text file)"
	}
	return ""
}

func (p *pcap) next(b []byte, fr *Frame) (int, bool, error) {
	if len(b) < p.head {
		return 0, false, nil
	}
	n, wire := p.order.Uint32(b[8:]), p.order.Uint32(b[12:])
	if n > maxFrame {
		return 0, false, p.file.fail(p.file.off, fmt.Sprintf("damaged record: a frame of %d bytes, more than the %d there can be", n, maxFrame), nil)
	}
	size := p.head + int(n)
	if len(b) < size {
		p.file.need = size
		return 0, false, nil
	}
	fr.Time = Time(p.order.Uint32(b))*1e9 + Time(p.order.Uint32(b[4:]))*p.unit
	fr.Data, fr.WireLen, fr.Link = b[p.head:size:size], int(wire), p.link
	return size, true, nil
}
