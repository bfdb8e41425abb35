package websocket

import (
	"bytes"
	"io"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"

	"github.com/raytap/raytap/decoders"
)

// belief is how much the beginning of one direction looks like frames.
type belief uint8

const (
	never belief = iota
	empty
	maybe // nothing against it yet
	sure
)

// probe implements decoders.Probe. Frames have no magic number, so it wants a whole first frame whose payload is what
// its opcode says (text that is text, a close code that exists, deflated data that inflates), the mask of that
// direction, and nothing against it from the other one.
func probe(orig, resp []byte, mid bool) decoders.Verdict {
	v := decoders.No
	for _, try := range []struct {
		client, server []byte
		yes            decoders.Verdict
	}{{orig, resp, decoders.Yes}, {resp, orig, decoders.Flipped}} {
		c, s := look(try.client, true), look(try.server, false)
		switch {
		case c == never || s == never:
		case c == sure && s >= empty && (!mid || s != maybe), s == sure && c >= empty && (!mid || c != maybe):
			return try.yes
		default:
			v = decoders.Maybe
		}
	}
	return v
}

// look judges the beginning of a direction.
func look(b []byte, client bool) belief {
	if len(b) == 0 {
		return empty
	}
	h, err := parse(b)
	if err != nil || b[0]&0x0f == opContinue || len(b) > 1 && (b[1]&0x80 != 0) != client {
		return never
	}
	if !h.fin && h.rsv1 {
		return never
	}
	if h.size == 0 {
		return maybe
	}
	if is := lookInside(&h, b[h.size:]); is != sure {
		return is
	}
	// What follows must be a frame too.
	if rest := b[h.size:]; int64(len(rest)) > h.length {
		rest = rest[h.length:]
		if _, err := parse(rest); err != nil || len(rest) > 1 && (rest[1]&0x80 != 0) != client {
			return never
		}
		return sure
	}
	if h.op != opText && !h.rsv1 && !client {
		return maybe // an unmasked binary frame alone is two bytes of evidence
	}
	return sure
}

// lookInside judges what there is of a frame's payload, which b begins with, by the frame's kind. It is sure if nothing speaks
// against it.
func lookInside(h *header, b []byte) belief {
	n := int(min(int64(len(b)), h.length, probeText))
	p := append(make([]byte, 0, probeText), b[:n]...)
	if h.masked {
		for i := range p {
			p[i] ^= h.key[i&3]
		}
	}
	whole := int64(n) == h.length
	switch {
	case h.op == opClose && whole:
		if n == 0 {
			return maybe
		}
		if n < 2 || !goodClose(int(p[0])<<8|int(p[1])) || !utf8.Valid(p[2:]) {
			return never
		}
	case h.op >= opClose:
		if !whole || n == 0 {
			return maybe
		}
	case h.rsv1:
		if !whole {
			return maybe // too long, or not all there
		}
		if !inflatable(p) {
			return never
		}
	case h.op == opText:
		if !isText(p) {
			return never
		}
		if n < 4 && !whole || n == 0 {
			return maybe
		}
	default:
		if !whole && n < probeText {
			return maybe
		}
	}
	return sure
}

// goodClose says whether a close code may be sent, RFC 6455 section 7.4.
func goodClose(c int) bool {
	return c >= 1000 && c <= 1014 && c != 1005 && c != 1006 || c >= 3000 && c <= 4999
}

// isText says whether p, which may end within a character, is text without control characters.
func isText(p []byte) bool {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			return !utf8.FullRune(p)
		}
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
		p = p[n:]
	}
	return true
}

// inflatable says whether p is the start of a permessage-deflate context.
func inflatable(p []byte) bool {
	if len(p) == 0 {
		return false
	}
	p = append(p[:len(p):len(p)], 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)
	n, err := io.CopyN(io.Discard, flate.NewReader(bytes.NewReader(p)), maxInflated)
	return n > 0 && (err == io.EOF || err == nil)
}
