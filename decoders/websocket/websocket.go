// Package websocket reads the frames of RFC 6455 that follow an upgrade.
//
// In: the ordered bytes of both directions behind the 101 answer (package http ends there; the probe here recognises
// the frames by themselves, since it is not told). Out: no events of its own; the payload of text and binary messages,
// unmasked, joined and inflated, is handed on as a nested stream, in which every text message ends in a line feed, so
// that a protocol of lines (stratum, JSON) is found in it as it would be in a plain stream.
//
// Control frames (close, ping, pong) are checked and dropped. permessage-deflate (RFC 7692) is removed with the
// context kept from message to message, whatever was negotiated: a peer that resets its context does not refer to it.
//
// It does not see: the handshake (that is in the http transaction), other extensions, and HTTP/2 or HTTP/3 sessions.
// A lost segment inside a frame leaves a gap in the nested stream; one that hides a frame header ends its direction.
package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

const (
	// A frame header: two bytes, eight of length, four of mask.
	maxHeader = 14
	// A compressed message is inflated when it is complete. Browsers and pools send kilobytes; Zeek and most servers
	// stop at 1 MiB.
	maxCompressed = 1 << 20
	// What a compressed message may become: DEFLATE makes up to 1032 bytes of one, text 3 to 20.
	maxInflated = 4 << 20
	// The window of DEFLATE, which permessage-deflate carries over from one message to the next.
	window = 32 << 10
	// Payload is unmasked into a buffer of this size: borrowed bytes are not written to.
	scratch = 4 << 10
	// Payload of the first frame that the probe looks at.
	probeText = 1 << 10
)

var errFrame = errors.New("websocket: not a frame")

// Opcodes, RFC 6455 section 11.8.
const (
	opContinue = 0
	opText     = 1
	opBinary   = 2
	opClose    = 8
	opPong     = 10
)

// Spec is the registration of the decoder.
func Spec() decoders.Spec {
	return decoders.Spec{
		Name:   "websocket",
		Stream: probe,
		New:    func(ctx decoders.Context) decoders.Decoder { return &decoder{ctx: ctx} },
	}
}

// header is a frame's header.
type header struct {
	fin, rsv1, masked bool
	op                byte
	key               [4]byte
	size              int // of the header itself
	length            int64
}

// parse reads a frame header. Zero size without error: more bytes are needed.
func parse(b []byte) (h header, err error) {
	if len(b) < 2 {
		if len(b) == 1 && !goodFirst(b[0]) {
			return h, errFrame
		}
		return h, nil
	}
	if !goodFirst(b[0]) {
		return h, errFrame
	}
	h.fin, h.rsv1, h.op = b[0]&0x80 != 0, b[0]&0x40 != 0, b[0]&0x0f
	h.masked, h.length = b[1]&0x80 != 0, int64(b[1]&0x7f)
	if h.op >= opClose && h.length > 125 {
		return h, errFrame
	}
	size := 2
	switch h.length {
	case 126:
		if size += 2; len(b) < size {
			return header{}, nil
		}
		if h.length = int64(binary.BigEndian.Uint16(b[2:])); h.length < 126 {
			return h, errFrame // section 5.2: the shortest form that fits
		}
	case 127:
		if size += 8; len(b) < size {
			return header{}, nil
		}
		n := binary.BigEndian.Uint64(b[2:])
		if n < 1<<16 || n > 1<<62 {
			return h, errFrame
		}
		h.length = int64(n)
	}
	if h.masked {
		if len(b) < size+4 {
			return header{}, nil
		}
		copy(h.key[:], b[size:])
		size += 4
	}
	h.size = size
	return h, nil
}

// goodFirst checks FIN, the reserved bits and the opcode: RSV1 only begins a data message (RFC 7692 section 6).
func goodFirst(c byte) bool {
	op := c & 0x0f
	switch {
	case c&0x30 != 0:
		return false
	case op <= opBinary:
		return op != opContinue || c&0x40 == 0
	case op >= opClose && op <= opPong:
		return c&0x80 != 0 && c&0x40 == 0
	}
	return false
}

// half is one direction.
type half struct {
	head    []byte // a header in pieces
	h       header
	remain  int64 // payload bytes of the frame still to come
	off     int   // of the mask
	inFrame bool
	dead    bool
	open    bool // a message is being read
	text    bool
	packed  bool // it is compressed
	skip    bool // it is too long, or has a hole: nothing of it is inflated
	last    byte // last byte that was handed on
	body    []byte
	dict    []byte // the last 32 KiB that were inflated
	inflate io.ReadCloser
	frames  int
}

type decoder struct {
	ctx    decoders.Context
	nest   decoders.Nested
	half   [2]half
	buf    []byte
	lf     [1]byte // the line feed behind a text message
	told   uint8
	closed [2]bool
}

// Weirds, each said once a flow.
const (
	toldLong = 1 << iota
	toldInflate
	toldMask
	toldFrame
)

func (d *decoder) weird(bit uint8, name string) {
	if d.told&bit == 0 {
		d.told |= bit
		d.ctx.Weird(name, "")
	}
}

// Decode implements decoders.Decoder. All bytes are used at once.
func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	h := &d.half[dir]
	used := 0
	for used < len(b) && !h.dead {
		if h.inFrame {
			n := int(min(h.remain, int64(len(b)-used)))
			d.payload(dir, h, b[used:used+n])
			used += n
			if h.remain -= int64(n); h.remain == 0 {
				d.endFrame(dir, h)
			}
			continue
		}
		n := min(maxHeader-len(h.head), len(b)-used)
		old := len(h.head)
		h.head = append(h.head, b[used:used+n]...)
		f, err := parse(h.head)
		if err != nil || f.size > 0 && !h.follows(f) {
			d.weird(toldFrame, "websocket_bad_frame")
			if h.dead = true; d.half[dir.Peer()].dead || h.frames == 0 {
				d.end()
				return used, errFrame
			}
			break
		}
		if f.size == 0 {
			used += n
			continue
		}
		used += f.size - old
		h.head = h.head[:0]
		d.begin(dir, h, f)
	}
	if h.dead {
		return len(b), nil
	}
	return used, nil
}

// Doubtful implements decoders.Doubtful: a byte and a letter before a text may be the head of a frame; two are not.
func (d *decoder) Doubtful() bool { return d.half[0].frames < 2 && d.half[1].frames < 2 }

// follows says whether a frame may come where it does: section 5.4.
func (h *half) follows(f header) bool {
	switch {
	case f.op >= opClose:
		return true
	case f.op == opContinue:
		return h.open
	}
	return !h.open
}

func (d *decoder) begin(dir capture.Dir, h *half, f header) {
	if d.nest == nil {
		d.nest = d.ctx.Nest()
		d.ctx.Confirm("websocket")
	}
	if f.masked != (dir == capture.Orig) {
		d.weird(toldMask, "websocket_wrong_mask") // section 5.1: clients mask, servers do not
	}
	h.frames++
	h.h, h.remain, h.off, h.inFrame = f, f.length, 0, true
	if f.op == opText || f.op == opBinary {
		h.open, h.text, h.packed, h.skip, h.last = true, f.op == opText, f.rsv1, false, '\n'
		h.body = h.body[:0]
	}
	if h.remain == 0 {
		d.endFrame(dir, h)
	}
}

// payload takes bytes of the frame's payload.
func (d *decoder) payload(dir capture.Dir, h *half, b []byte) {
	if h.h.op >= opClose {
		return
	}
	for len(b) > 0 {
		p := b
		if h.h.masked {
			if d.buf == nil {
				d.buf = make([]byte, scratch)
			}
			p = d.buf[:min(len(b), scratch)]
			for i := range p {
				p[i] = b[i] ^ h.h.key[(h.off+i)&3]
			}
			h.off = (h.off + len(p)) & 3
		}
		b = b[len(p):]
		switch {
		case !h.packed:
			d.nest.Data(dir, p)
			h.last = p[len(p)-1]
		case h.skip:
		case len(h.body)+len(p) > maxCompressed:
			h.skip = true
			d.weird(toldLong, "websocket_message_limit")
		default:
			h.body = append(h.body, p...)
		}
	}
}

func (d *decoder) endFrame(dir capture.Dir, h *half) {
	h.inFrame = false
	if h.h.op >= opClose || !h.h.fin {
		return
	}
	h.open = false
	if h.packed {
		if h.skip {
			d.nest.Gap(dir, int64(max(len(h.body), 1)))
			h.dict = h.dict[:0]
			h.last = '\n'
		} else {
			d.inflateMessage(dir, h)
		}
		if cap(h.body) > 64<<10 {
			h.body = nil
		}
	}
	if h.text && h.last != '\n' {
		d.lf[0] = '\n'
		d.nest.Data(dir, d.lf[:])
	}
}

// inflateMessage removes permessage-deflate, RFC 7692 section 7.2.2.
func (d *decoder) inflateMessage(dir capture.Dir, h *half) {
	// The sync marker's end that the sender cut off, and an empty last block so that the reader ends in order.
	h.body = append(h.body, 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)
	src := bytes.NewReader(h.body)
	if h.inflate == nil {
		h.inflate = flate.NewReaderDict(src, h.dict)
	} else if err := h.inflate.(flate.Resetter).Reset(src, h.dict); err != nil {
		return
	}
	if d.buf == nil {
		d.buf = make([]byte, scratch)
	}
	total := 0
	for {
		n, err := h.inflate.Read(d.buf)
		if n > 0 {
			p := d.buf[:n]
			d.nest.Data(dir, p)
			h.last = p[n-1]
			h.remember(p)
			total += n
		}
		if err == io.EOF {
			return
		}
		if err != nil || total > maxInflated {
			d.weird(toldInflate, "websocket_inflate_failed")
			d.nest.Gap(dir, 1)
			h.last = '\n'
			return
		}
	}
}

// remember keeps the last window of what was inflated.
func (h *half) remember(p []byte) {
	if over := len(h.dict) + len(p) - window; over > 0 {
		h.dict = h.dict[:copy(h.dict, h.dict[min(over, len(h.dict)):])]
	}
	h.dict = append(h.dict, p[max(len(p)-window, 0):]...)
}

// Gap implements decoders.Decoder.
func (d *decoder) Gap(dir capture.Dir, n int64) bool {
	h := &d.half[dir]
	if !h.dead && h.inFrame && n <= h.remain {
		if h.h.op < opClose {
			if h.packed {
				h.skip = true
			} else {
				d.nest.Gap(dir, n)
				h.last = 0
			}
		}
		h.off = int((int64(h.off) + n) & 3)
		if h.remain -= n; h.remain == 0 {
			d.endFrame(dir, h)
		}
		return true
	}
	h.dead = true
	if d.half[dir.Peer()].dead {
		d.end()
		return false
	}
	return true
}

// End implements decoders.Decoder.
func (d *decoder) End(dir capture.Dir) {
	h := &d.half[dir]
	h.dead = true
	if d.nest != nil && !d.closed[dir] {
		d.closed[dir] = true
		d.nest.End(dir)
	}
}

func (d *decoder) end() {
	d.End(capture.Orig)
	d.End(capture.Resp)
}
