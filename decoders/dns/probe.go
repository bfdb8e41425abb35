package dns

import (
	"encoding/binary"

	"github.com/raytap/raytap/decoders"
)

// Records that a section may announce to be believed. The largest real answers are zone transfers of some thousand
// records a message; queries carry a few known answers or updates.
const (
	probeAnswers = 4096
	probeRecords = 512
)

// probeDatagram wants a header and a first question (or, in an answer without one, a first record) that are well
// formed: of random bytes one in 2^40 is.
func probeDatagram(orig, resp []byte, _ bool) decoders.Verdict {
	if len(orig) == 0 {
		return probeMessage(resp, false)
	}
	v := probeMessage(orig, false)
	if v == decoders.Yes && response(orig) {
		return decoders.Flipped
	}
	return v
}

// probeStream wants the same behind a length that holds it.
func probeStream(orig, resp []byte, mid bool) decoders.Verdict {
	o, r := probeMessage(orig, true), probeMessage(resp, true)
	switch {
	case o == decoders.Yes && response(orig[2:]):
		return decoders.Flipped
	case o == decoders.Yes:
		return decoders.Yes
	case r == decoders.Yes && (len(orig) == 0 || o == decoders.Maybe || mid):
		if response(resp[2:]) {
			return decoders.Yes
		}
		return decoders.Flipped
	case o == decoders.No && !mid, o == decoders.No && r == decoders.No:
		return decoders.No
	}
	return decoders.Maybe
}

// response says whether b is an answer.
func response(b []byte) bool { return len(b) > 2 && b[2]&0x80 != 0 }

// probeMessage looks at the beginning of a message, behind a length if prefixed. It answers Maybe only to a prefixed
// one of which more may come.
func probeMessage(b []byte, prefixed bool) decoders.Verdict {
	short := decoders.No
	size := len(b)
	if prefixed {
		if short = decoders.Maybe; len(b) < 2 {
			return short
		}
		size = int(binary.BigEndian.Uint16(b))
		if size < headerLen {
			return decoders.No
		}
		if b = b[2:]; len(b) >= size {
			b, short = b[:size], decoders.No
		}
	}
	// Refuse by the first bytes already: other protocols wait for our verdict.
	if len(b) >= 4 {
		switch op := b[2] >> 3 & 15; {
		case op == opQuery || op == opNotify:
		case op >= opUpdate && op <= opNBLast:
		default:
			return decoders.No
		}
	}
	if len(b) < headerLen {
		return short
	}
	h := readHeader(b)
	if !h.plausible(size) {
		return decoders.No
	}
	off, netbios, ok := probeName(b, size)
	if !ok {
		return decoders.No
	}
	if off+4 > len(b) {
		return short
	}
	if op := h.opcode(); op > opUpdate && !netbios {
		return decoders.No
	}
	class := binary.BigEndian.Uint16(b[off+2:])
	switch class &^ classMDNS {
	case classIN, 2, 3, 4, classNONE, classANY:
	default:
		// A class that nobody uses, but nothing else out of order: the question is the message.
		if h.qd != 1 || h.an+h.ns+h.ar != 0 || off+4 != size || size > headerLen+nameLong+4 {
			return decoders.No
		}
	}
	off += 4
	if h.qd > 0 {
		return decoders.Yes
	}
	if off+6 > len(b) {
		return short
	}
	if off+6+int(binary.BigEndian.Uint16(b[off+4:])) > size {
		return decoders.No
	}
	return decoders.Yes
}

// plausible reports whether the counts of a header are those of a message of size bytes.
func (h header) plausible(size int) bool {
	if h.qd > questionLimit || h.ns > probeRecords || h.ar > probeRecords {
		return false
	}
	if h.an > probeRecords && (!h.response() || h.an > probeAnswers) {
		return false
	}
	if h.qd == 0 && (!h.response() || h.an+h.ns+h.ar == 0) {
		return false
	}
	// Each question takes 5 bytes at least, each record 11 (RFC 1035 sections 4.1.2 and 4.1.3). An answer that was
	// cut to fit keeps its counts in some servers.
	if !h.tc() && headerLen+5*h.qd+11*(h.an+h.ns+h.ar) > size {
		return false
	}
	return true
}

// probeName passes the name behind the header, as far as it is there, and says whether it is one of NetBIOS. end is where
// what follows it would begin.
func probeName(b []byte, size int) (end int, netbios, ok bool) {
	off, first, all := headerLen, true, true
	for off < len(b) {
		l := int(b[off])
		if l == 0 {
			break
		}
		if l&0xc0 == 0xc0 {
			// The first name has nothing behind it to point to, but there are resolvers that follow a pointer forwards:
			// a way to ask past whoever listens.
			if off+1 < len(b) && (l&0x3f<<8|int(b[off+1])) >= size {
				return 0, false, false
			}
			first, off = false, off+1
			break
		}
		if l > labelMax {
			return 0, false, false
		}
		if first {
			all = l == 32 // as names of NetBIOS are
		}
		for i := off + 1; i <= off+l && i < len(b) && first && all; i++ {
			all = b[i] >= 'A' && b[i] <= 'P'
		}
		first = false
		off += 1 + l
		if off-headerLen > nameLong {
			return 0, false, false
		}
	}
	return off + 1, all && !first && b[headerLen] == 32, true
}
