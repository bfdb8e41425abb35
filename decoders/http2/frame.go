package http2

import (
	"encoding/binary"

	"github.com/raytap/raytap/capture"
)

// Frame types, RFC 9113 section 6.
const (
	frameData = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePush
	framePing
	frameGoAway
	frameWindow
	frameContinuation
	frameKnown // the first type that RFC 9113 does not define
)

// Flags.
const (
	flagEndStream  = 0x1 // of DATA and HEADERS
	flagAck        = 0x1 // of SETTINGS and PING
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

type header struct {
	length int
	kind   byte
	flags  byte
	sid    uint32
	r      bool // the reserved bit
}

// parseHeader reads the nine bytes at the start of b.
func parseHeader(b []byte) header {
	s := binary.BigEndian.Uint32(b[5:9])
	return header{int(b[0])<<16 | int(b[1])<<8 | int(b[2]), b[3], b[4], s &^ (1 << 31), s>>31 != 0}
}

// fits says whether length and stream agree with the type: what a receiver would close the connection for.
func (f header) fits() bool {
	switch f.kind {
	case frameData, frameContinuation:
		return f.sid != 0
	case frameHeaders:
		n := 0
		if f.flags&flagPadded != 0 {
			n++
		}
		if f.flags&flagPriority != 0 {
			n += 5
		}
		return f.sid != 0 && f.length >= n
	case framePriority:
		return f.sid != 0 && f.length == 5
	case frameReset:
		return f.sid != 0 && f.length == 4
	case frameSettings:
		return f.sid == 0 && f.length%6 == 0 && (f.flags&flagAck == 0 || f.length == 0)
	case framePush:
		return f.sid != 0 && f.length >= 4
	case framePing:
		return f.sid == 0 && f.length == 8
	case frameGoAway:
		return f.sid == 0 && f.length >= 8
	case frameWindow:
		return f.length == 4
	}
	return true
}

type chainState uint8

const (
	moreChain chainState = iota
	yesChain
	noChain
)

type role uint8

const (
	isUnknown role = iota
	isClient
	isServer
)

// enough is the weight of a chain of frames that is believed. It takes two frames: SMB, DCE RPC and Modbus are full of
// small numbers between zeros, and have each of the fixed headers once in a while. PING, WINDOW_UPDATE and SETTINGS with
// known identifiers have seven to nine bytes that can hardly be otherwise; a header block must decode; DATA counts by
// the agreement of its length with the gRPC prefix in it.
const (
	enough  = 6
	strong  = 3
	middle  = 2
	weak    = 1
	headers = 4 // a header block with a pseudo-header of the static table
)

// chain judges whether frames begin at b, strictly, and which side sends them if a header block says so. What it says
// does not change with more bytes behind b, "more" excepted.
func chain(b []byte) (chainState, role) {
	who := isUnknown
	var last uint32 // stream of the header block before
	for weight := 0; ; {
		if noFrame(b) {
			return noChain, who
		}
		if len(b) < frameHeader {
			return moreChain, who
		}
		f := parseHeader(b)
		if !f.likely() {
			return noChain, who
		}
		rest := b[frameHeader:]
		body := rest[:min(len(rest), f.length)]
		if f.kind != frameData && len(body) < f.length {
			return moreChain, who
		}
		switch f.kind {
		case frameHeaders:
			w, r := headersWeight(f, body)
			if w == 0 {
				return noChain, who
			}
			weight += w
			if last = f.sid; r != isUnknown {
				who = r
			}
		case frameData:
			if f.sid == last {
				weight += middle // the body behind its header
			}
			w, ok := dataWeight(f, body)
			if !ok {
				return moreChain, who
			}
			if weight += w; weight == 0 {
				return noChain, who // any three bytes and a zero look like this: not a place to begin
			}
		case framePush, frameContinuation:
			return noChain, who // not a place to begin
		default:
			w := controlWeight(f, body)
			if w == 0 {
				return noChain, who
			}
			weight += w
		}
		if weight >= enough {
			if who != isUnknown || f.kind == frameHeaders {
				return yesChain, who
			}
			return yesChain, peek(b)
		}
		if f.length > maxCandidate {
			return noChain, who
		}
		if len(body) < f.length {
			return moreChain, who
		}
		b = rest[f.length:]
	}
}

// noFrame reports whether the fixed bytes of a frame's header, as far as they are there, say that b begins with none: noise is passed
// over by it.
func noFrame(b []byte) bool { return len(b) > 3 && b[3] >= frameKnown || len(b) > 5 && b[5]&0x80 != 0 }

// likely reports whether a header is one that frames of a connection in the middle have.
func (f header) likely() bool {
	if !f.fits() || f.flags&^flagsOf(f.kind) != 0 || f.sid > 1<<28 {
		return false
	}
	return f.kind == frameData || f.length <= maxCandidate
}

// headersWeight weighs the body of a HEADERS frame, and says which side sends it; 0 is none.
func headersWeight(f header, body []byte) (int, role) {
	block, ok := unpad(body, f.flags, frameHeaders)
	if !ok || len(block) == 0 || f.flags&flagEndHeaders == 0 || f.sid&1 == 0 {
		return 0, isUnknown
	}
	return looksHPACK(block)
}

// controlWeight gives the weight of a whole frame without a header block and without data; 0 if its body is not as an
// endpoint writes it.
func controlWeight(f header, body []byte) int {
	switch f.kind {
	case framePing:
		return strong
	case frameSettings:
		if f.length > 32*6 {
			return 0
		}
		for i := 0; i < f.length; i += 6 {
			// Identifiers in use: RFC 9113 has 1 to 6, later ones 8 and 9, gRPC 0xfe03 and 0xfe04, and GREASE.
			id := binary.BigEndian.Uint16(body[i:])
			if id == 0 || id > 16 && id>>8 != 0xfe && id&0x0f0f != 0x0a0a {
				return 0
			}
		}
		if f.length > 0 {
			return strong
		}
		return weak
	case frameWindow:
		if inc := binary.BigEndian.Uint32(body); inc != 0 && inc>>31 == 0 {
			return strong
		}
	case frameReset:
		if binary.BigEndian.Uint32(body) <= 0xd {
			return middle
		}
	case frameGoAway:
		if body[0]&0x80 == 0 && binary.BigEndian.Uint32(body[4:]) <= 0xd {
			return middle
		}
	case framePriority:
		return weak
	}
	return 0
}

// dataWeight gives the weight of a frame of data, of which body is there, by the gRPC message that fills it; ok says
// that enough of it is there.
func dataWeight(f header, body []byte) (weight int, ok bool) {
	if f.flags&flagPadded != 0 || f.length < 5 {
		return 0, true
	}
	if len(body) < 5 {
		return 0, false
	}
	if n := binary.BigEndian.Uint32(body[1:5]); body[0] > 1 || int64(n)+5 != int64(f.length) {
		return 0, true
	}
	if f.length > maxCandidate/4 {
		return 2 * strong, true // lengths of two bytes and more agree
	}
	return strong, true
}

// peek reads on along a chain that is believed, for a header block that tells the roles.
func peek(b []byte) role {
	for range 32 {
		if len(b) < frameHeader {
			break
		}
		f := parseHeader(b)
		if !f.fits() || f.kind >= frameKnown || f.length > len(b)-frameHeader {
			break
		}
		body := b[frameHeader : frameHeader+f.length]
		if f.kind == frameHeaders {
			if block, ok := unpad(body, f.flags, frameHeaders); ok {
				if w, r := looksHPACK(block); w > 0 && r != isUnknown {
					return r
				}
			}
		}
		b = b[frameHeader+f.length:]
	}
	return isUnknown
}

func flagsOf(kind byte) byte {
	switch kind {
	case frameData:
		return flagEndStream | flagPadded
	case frameHeaders:
		return flagEndStream | flagEndHeaders | flagPadded | flagPriority
	case frameSettings, framePing:
		return flagAck
	case framePush:
		return flagEndHeaders | flagPadded
	case frameContinuation:
		return flagEndHeaders
	}
	return 0
}

// unpad takes padding, priority and the promised stream off a frame that holds a piece of a header block.
func unpad(b []byte, flags byte, kind byte) ([]byte, bool) {
	pad := 0
	if flags&flagPadded != 0 {
		if len(b) < 1 {
			return nil, false
		}
		pad, b = int(b[0]), b[1:]
	}
	skip := 0
	if kind == frameHeaders && flags&flagPriority != 0 {
		skip = 5
	} else if kind == framePush {
		skip = 4
	}
	if len(b) < skip+pad {
		return nil, false
	}
	return b[skip : len(b)-pad], true
}

type state uint8

const (
	atStart state = iota // nothing was read of this direction
	atFrame
	inData
	inSkip
	isLost
)

// half is one direction.
type half struct {
	state  state
	flags  byte
	sid    uint32
	remain int // of the frame's payload, padding included
	pad    int
	ended  bool
	read   bool // a frame was read since the last loss
	lost   bool // bytes of it were lost, or its beginning was not seen
	wasted int  // bytes since the last frame, while lost
	table  table

	block   []byte // a header block that is not complete
	inBlock bool
	drop    bool // the block is over its bound: read past it
	pushed  bool
	bflags  byte
	bsid    uint32
	conts   int
}

func (d *decoder) step(dir capture.Dir, h *half, b []byte) (int, error) {
	switch h.state {
	case atStart:
		switch startsPreface(b) {
		case whole:
			h.state = atFrame
			h.table.whole = true
			d.roles(dir)
			d.fresh = true
			return len(preface), nil
		case part:
			return 0, nil
		}
		if d.agreed && dir == d.client {
			return 0, errNotHTTP2 // RFC 7540 section 3.2: it has to come
		}
		h.state = atFrame
		return d.step(dir, h, b)
	case inData:
		n := min(len(b), h.remain)
		if k := min(n, h.remain-h.pad); k > 0 {
			d.data(dir, h.sid, b[:k])
		}
		if h.remain -= n; h.remain == 0 {
			d.endFrame(dir, h)
		}
		return n, nil
	case inSkip:
		n := min(len(b), h.remain)
		if h.remain -= n; h.remain == 0 {
			h.state = atFrame
		}
		return n, nil
	case isLost:
		return d.resync(dir, h, b)
	}
	return d.frame(dir, h, b)
}

// frame reads a frame's header, and the payload too if it must be read whole.
func (d *decoder) frame(dir capture.Dir, h *half, b []byte) (int, error) {
	if len(b) < frameHeader {
		return 0, nil
	}
	f := parseHeader(b)
	first := !h.read
	switch state, err := d.credible(dir, first, f, b); {
	case err != nil:
		return 0, err
	case state == moreChain:
		return 0, nil
	case state == noChain:
		if !first {
			d.say(badFrame)
		}
		d.lose(dir, h)
		return d.resync(dir, h, b)
	}
	if first && d.fresh && h.state == atFrame && !h.lost && f.kind == frameSettings {
		h.table.whole = true
	}
	h.read = true
	if f.r {
		d.say(reservedBit)
	}
	if dir != d.client || f.kind == frameHeaders || !d.fresh {
		d.confirm(toldHTTP2, "http2")
	}
	if h.inBlock && (f.kind != frameContinuation || f.sid != h.bsid) || !h.inBlock && f.kind == frameContinuation {
		// RFC 9113 section 6.10: nothing may come in between. What the rest of the block would have put into the table
		// is unknown now.
		d.say(badFrame)
		h.forget()
		h.table.forget()
	}
	switch f.kind {
	case frameData:
		return d.beginData(dir, h, f, b)
	case frameHeaders, framePush, frameContinuation:
		return d.headerFrame(dir, h, f, b)
	case frameReset:
		if len(b) < frameHeader+4 {
			return 0, nil
		}
		d.reset(dir, f.sid, binary.BigEndian.Uint32(b[frameHeader:]))
		return frameHeader + 4, nil
	}
	d.passed(f.kind)
	if h.remain = f.length; h.remain > 0 {
		h.state = inSkip
	}
	return frameHeader, nil
}

// credible judges whether f, the header that b begins with, is that of a frame; first says that it is the direction's first.
// It returns an error if the server answers in something else.
func (d *decoder) credible(dir capture.Dir, first bool, f header, b []byte) (chainState, error) {
	switch {
	case d.fresh && first && dir != d.client && f.kind != frameSettings:
		return noChain, errNotHTTP2 // RFC 9113 section 3.4: the server's first frame
	case !f.fits():
		return noChain, nil
	case d.fresh:
	case f.r || f.kind >= frameKnown:
		return noChain, nil
	case first:
		// The direction's first bytes may be the middle of a frame: believe a chain only.
		s, _ := chain(b)
		return s, nil
	}
	return yesChain, nil
}

// passed counts a frame whose payload is not read.
func (d *decoder) passed(kind uint8) {
	switch {
	case kind == frameSettings:
		if d.setting++; d.setting > maxSettings {
			d.say(settingsFlood)
		}
	case kind == framePing:
		if d.pings++; d.pings > maxPings {
			d.say(pingFlood)
		}
	case kind >= frameKnown:
		d.say(unknownFrame) // RFC 9113 section 4.1: to be ignored
	}
}

func (d *decoder) beginData(dir capture.Dir, h *half, f header, b []byte) (int, error) {
	used := frameHeader
	h.pad = 0
	h.remain = f.length
	if f.flags&flagPadded != 0 {
		if f.length == 0 {
			d.say(badFrame)
			return used, nil
		}
		if len(b) < frameHeader+1 {
			return 0, nil
		}
		h.pad = int(b[frameHeader])
		h.remain--
		used++
		if h.pad > h.remain {
			d.say(badFrame)
			h.pad = h.remain
		}
	}
	if h.remain == h.pad && f.flags&flagEndStream == 0 {
		if d.empty++; d.empty > maxEmpty {
			d.say(emptyFrames)
		}
	}
	h.flags, h.sid = f.flags, f.sid
	h.state = inData
	d.openData(dir, f.sid, h.remain-h.pad)
	if h.remain == 0 {
		d.endFrame(dir, h)
	}
	return used, nil
}

// endFrame is the end of a DATA frame's payload, or of what was skipped.
func (d *decoder) endFrame(dir capture.Dir, h *half) {
	was := h.state
	h.state = atFrame
	if was == inData && h.flags&flagEndStream != 0 {
		d.endStream(dir, h.sid)
	}
}

func (d *decoder) headerFrame(dir capture.Dir, h *half, f header, b []byte) (int, error) {
	if f.length > maxBlock {
		d.say(frameTooLarge)
		h.forget()
		h.table.forget()
		h.remain, h.state = f.length, inSkip
		return frameHeader, nil
	}
	if len(b) < frameHeader+f.length {
		return 0, nil
	}
	used := frameHeader + f.length
	body := b[frameHeader:used]
	if f.kind == frameContinuation {
		if !h.inBlock {
			h.table.forget()
			return used, nil
		}
		if h.conts++; h.conts > maxContinuations {
			d.say(continuationFlood)
		}
	} else {
		var ok bool
		if body, ok = unpad(body, f.flags, f.kind); !ok {
			d.say(badFrame)
			h.table.forget()
			return used, nil
		}
		h.inBlock, h.drop, h.conts = true, false, 0
		h.pushed, h.bflags, h.bsid = f.kind == framePush, f.flags, f.sid
	}
	if len(body) == 0 && f.flags&flagEndHeaders == 0 {
		if d.empty++; d.empty > maxEmpty {
			d.say(emptyFrames)
		}
	}
	if len(h.block)+len(body) > maxBlock {
		d.say(blockTooLarge)
		h.drop = true
	}
	if f.flags&flagEndHeaders == 0 {
		if h.drop {
			h.block = nil
		} else {
			h.block = append(h.block, body...)
		}
		return used, nil
	}
	if len(h.block) > 0 {
		body = append(h.block, body...)
	}
	drop, pushed, flags, sid := h.drop, h.pushed, h.bflags, h.bsid
	h.forget()
	if drop {
		h.table.forget()
		body = nil
	}
	d.headers(dir, h, sid, flags, body, pushed, drop)
	return used, nil
}

// forget drops a header block that is under way.
func (h *half) forget() {
	h.block, h.inBlock, h.drop, h.conts = nil, false, false, 0
}

// lose says that the place in dir is not known any more.
func (d *decoder) lose(dir capture.Dir, h *half) {
	if h.read {
		d.say(lostFrames)
	}
	h.forget()
	h.table.forget()
	h.state, h.lost, h.read, h.remain, h.pad, h.wasted = isLost, true, false, 0, 0, 0
	d.few(nil) // each loss looks through all
	for s := d.first; s != nil; s = s.next {
		d.missing(s, dir, 0)
	}
}

// resync looks for the next chain of frames.
func (d *decoder) resync(dir capture.Dir, h *half, b []byte) (int, error) {
	for i := range b {
		if noFrame(b[i:]) {
			continue
		}
		switch s, _ := chain(b[i:]); s {
		case yesChain:
			h.state, h.read, h.wasted = atFrame, true, 0
			if i == 0 {
				return d.frame(dir, h, b)
			}
			return i, nil
		case moreChain:
			h.wasted += i
			return i, d.wasted(h)
		}
	}
	h.wasted += len(b)
	return len(b), d.wasted(h)
}

func (d *decoder) wasted(h *half) error {
	if h.wasted > maxLost {
		return errLost
	}
	return nil
}
