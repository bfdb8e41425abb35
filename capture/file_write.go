package capture

import (
	"encoding/binary"
	"io"
	"strings"
)

// maxComment is the longest comment of a packet or a file; an option's length has 16 bits.
const maxComment = 60000

// PcapngWriter writes frames as pcapng, with comments that Wireshark shows beside them.
//
// Times have nanoseconds. Each link type gets an interface of its own with its first frame. What w says goes to the
// caller at once; nothing is held.
type PcapngWriter struct {
	w      io.Writer
	links  map[uint16]uint32
	buf    []byte
	frames uint64
}

// NewPcapngWriter begins a file with a comment for the whole of it, which may be empty.
func NewPcapngWriter(w io.Writer, application, comment string) (*PcapngWriter, error) {
	p := &PcapngWriter{w: w, links: map[uint16]uint32{}}
	p.begin(ngSection)
	p.buf = binary.LittleEndian.AppendUint32(p.buf, 0x1a2b3c4d)
	p.buf = append(p.buf, 1, 0, 0, 0)
	p.buf = append(p.buf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // length of the section: not said
	p.option(1, comment)
	p.option(4, application)
	return p, p.end()
}

func (p *PcapngWriter) begin(kind uint32) {
	p.buf = binary.LittleEndian.AppendUint32(p.buf[:0], kind)
	p.buf = append(p.buf, 0, 0, 0, 0) // length, when it is known
}

func (p *PcapngWriter) pad() {
	for len(p.buf)%4 != 0 {
		p.buf = append(p.buf, 0)
	}
}

// option appends one of text, if there is any.
func (p *PcapngWriter) option(code uint16, text string) {
	if text == "" {
		return
	}
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) > maxComment {
		text = strings.ToValidUTF8(text[:maxComment], "")
	}
	p.buf = binary.LittleEndian.AppendUint16(p.buf, code)
	p.buf = binary.LittleEndian.AppendUint16(p.buf, uint16(len(text)))
	p.buf = append(p.buf, text...)
	p.pad()
}

func (p *PcapngWriter) end() error {
	n := uint32(len(p.buf) + 8)
	p.buf = append(p.buf, 0, 0, 0, 0) // end of options
	binary.LittleEndian.PutUint32(p.buf[4:], n)
	p.buf = binary.LittleEndian.AppendUint32(p.buf, n)
	_, err := p.w.Write(p.buf)
	return err
}

// Write appends a frame, with a comment that may be empty.
func (p *PcapngWriter) Write(f *Frame, comment string) error {
	id, ok := p.links[f.Link]
	if !ok {
		id = uint32(len(p.links))
		p.links[f.Link] = id
		p.begin(ngDescription)
		p.buf = binary.LittleEndian.AppendUint16(p.buf, f.Link)
		p.buf = append(p.buf, 0, 0, 0, 0, 0, 0) // no snap length
		p.buf = append(p.buf, 9, 0, 1, 0, 9, 0, 0, 0)
		if err := p.end(); err != nil {
			return err
		}
	}
	p.begin(ngEnhanced)
	p.buf = binary.LittleEndian.AppendUint32(p.buf, id)
	p.buf = binary.LittleEndian.AppendUint32(p.buf, uint32(uint64(f.Time)>>32))
	p.buf = binary.LittleEndian.AppendUint32(p.buf, uint32(f.Time))
	p.buf = binary.LittleEndian.AppendUint32(p.buf, uint32(len(f.Data)))
	p.buf = binary.LittleEndian.AppendUint32(p.buf, uint32(max(f.WireLen, len(f.Data))))
	p.buf = append(p.buf, f.Data...)
	p.pad()
	p.option(1, comment)
	p.frames++
	return p.end()
}

// Frames is how many were written.
func (p *PcapngWriter) Frames() uint64 { return p.frames }
