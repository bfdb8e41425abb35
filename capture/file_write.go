package capture

import "io"

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
	p := &PcapngWriter{w: w, links: map[uint16]uint32{}, buf: AppendSection(nil, application, comment)}
	_, err := w.Write(p.buf)
	return p, err
}

// Write appends a frame, with a comment that may be empty.
func (p *PcapngWriter) Write(f *Frame, comment string) error {
	p.buf = p.buf[:0]
	id, ok := p.links[f.Link]
	if !ok {
		id = uint32(len(p.links))
		p.links[f.Link] = id
		p.buf = AppendInterface(p.buf, f.Link, "")
	}
	p.buf = AppendPacket(p.buf, id, f, len(f.Data), comment)
	p.frames++
	_, err := p.w.Write(p.buf)
	return err
}

// Frames is how many were written.
func (p *PcapngWriter) Frames() uint64 { return p.frames }
