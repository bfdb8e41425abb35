package capture

import (
	"encoding/binary"
	"math/bits"
)

// Builders of capture files.

// pcapWriter makes a pcap file of any variant. Times are split into seconds and units.
type pcapWriter struct {
	magic        uint32
	big          bool
	major, minor uint16 // 2.4 if zero
	more         []byte // behind the file header
	link         uint32
	snaplen      uint32 // 262144 if zero
	extra        []byte // behind each record header
	swapped      bool   // the original length first
	frames       []Frame
}

func (w *pcapWriter) u32(b []byte, v uint32) []byte {
	if w.big {
		v = bits.ReverseBytes32(v)
	}
	return binary.LittleEndian.AppendUint32(b, v)
}

func (w *pcapWriter) bytes() []byte {
	if w.major == 0 {
		w.major, w.minor = 2, 4
	}
	if w.snaplen == 0 {
		w.snaplen = 262144
	}
	version := uint32(w.minor)<<16 | uint32(w.major)
	if w.big {
		version = uint32(w.major)<<16 | uint32(w.minor)
	}
	unit := Time(1000)
	if w.magic == 0xa1b23c4d || w.magic == 0x1c0001ac || w.minor == 2 {
		unit = 1
	}
	b := w.u32(nil, w.magic)
	b = w.u32(b, version)
	b = append(b, make([]byte, 8)...)
	b = w.u32(b, w.snaplen)
	b = w.u32(b, w.link)
	b = append(b, w.more...)
	for _, f := range w.frames {
		b = w.u32(b, uint32(f.Time/1e9))
		b = w.u32(b, uint32(f.Time%1e9/unit))
		n, wire := uint32(len(f.Data)), uint32(f.WireLen)
		if w.swapped {
			n, wire = wire, n
		}
		b = w.u32(b, n)
		b = w.u32(b, wire)
		b = append(b, w.extra...)
		b = append(b, f.Data...)
	}
	return b
}

// ngWriter makes pcapng blocks in one byte order.
type ngWriter struct {
	big bool
	b   []byte
}

func (w *ngWriter) u16(v int) []byte {
	if w.big {
		return binary.BigEndian.AppendUint16(nil, uint16(v))
	}
	return binary.LittleEndian.AppendUint16(nil, uint16(v))
}

func (w *ngWriter) u32(v int) []byte {
	if w.big {
		return binary.BigEndian.AppendUint32(nil, uint32(v))
	}
	return binary.LittleEndian.AppendUint32(nil, uint32(v))
}

func (w *ngWriter) u64(v int64) []byte {
	if w.big {
		return binary.BigEndian.AppendUint64(nil, uint64(v))
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(v))
}

func pad4(b []byte) []byte { return append(b, make([]byte, (4-len(b)%4)%4)...) }

func (w *ngWriter) block(kind int, body ...[]byte) *ngWriter {
	b := pad4(join(body...))
	n := w.u32(12 + len(b))
	w.b = join(w.b, w.u32(kind), n, b, n)
	return w
}

func (w *ngWriter) section() *ngWriter {
	return w.block(ngSection, w.u32(0x1a2b3c4d), w.u16(1), w.u16(0), w.u64(-1))
}

func (w *ngWriter) option(code int, v []byte) []byte {
	return join(w.u16(code), w.u16(len(v)), pad4(v))
}

// iface describes an interface; resol is if_tsresol, offset if_tsoffset.
func (w *ngWriter) iface(link, snaplen int, resol byte, offset int64) *ngWriter {
	return w.block(ngDescription, w.u16(link), w.u16(0), w.u32(snaplen),
		w.option(2, []byte("eth0")), w.option(9, []byte{resol}), w.option(14, w.u64(offset)), w.option(0, nil))
}

func (w *ngWriter) enhanced(id int, ts uint64, wire int, data []byte, options ...[]byte) *ngWriter {
	return w.block(ngEnhanced, w.u32(id), w.u32(int(ts>>32)), w.u32(int(uint32(ts))), w.u32(len(data)), w.u32(wire), pad4(join(data)), join(options...))
}

func (w *ngWriter) obsolete(id int, ts uint64, wire int, data []byte) *ngWriter {
	return w.block(ngPacket, w.u16(id), w.u16(3), w.u32(int(ts>>32)), w.u32(int(uint32(ts))), w.u32(len(data)), w.u32(wire), data)
}

func (w *ngWriter) simple(wire int, data []byte) *ngWriter {
	return w.block(ngSimple, w.u32(wire), data)
}
