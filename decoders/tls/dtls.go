package tls

import (
	"strconv"

	"github.com/raytap/raytap/capture"
)

const (
	// maxForeign bounds the datagrams that are no DTLS before a session is given up. Media and STUN share the ports of
	// WebRTC, and STUN does not count; Zeek has the same number.
	maxForeign = 10
	// maxParts bounds the pieces of a fragmented message. 64 KiB in pieces of 1,200 octets are 55.
	maxParts = 64
)

// dtlsDecoder reads records off datagrams.
type dtlsDecoder struct {
	hs        Handshake
	encrypted dirs
	ended     [2]bool
	part      [2]fragments
	foreign   int
}

// Decode implements decoders.Decoder.
func (d *dtlsDecoder) Decode(dir capture.Dir, b []byte) (int, error) {
	all := len(b)
	if all > 20 && b[4] == 0x21 && b[5] == 0x12 && b[6] == 0xA4 && b[7] == 0x42 {
		return all, nil // STUN
	}
	for len(b) > 0 {
		n, err := d.record(dir, b)
		if err != nil {
			d.hs.Finish()
			return all, err
		}
		if n == 0 {
			break
		}
		b = b[n:]
	}
	return all, nil
}

// record reads one record and says how long it is; 0 for what is none.
func (d *dtlsDecoder) record(dir capture.Dir, b []byte) (int, error) {
	if b[0]&0xE0 == 0x20 {
		// The short header that DTLS 1.3 has for encrypted records (RFC 9147 section 4). The length is optional, and
		// so the rest of the datagram is taken for it.
		if d.hs.s == nil || d.hs.s.Version != VersionDTLS13 {
			return 0, d.stranger()
		}
		d.encrypted[dir] = true
		return len(b), d.ciphertext()
	}
	// RFC 6347 section 4.1.
	const header = 13
	if len(b) < header || b[1] != 0xFE || b[2] != 0xFF && b[2] != 0xFD {
		return 0, d.stranger()
	}
	typ, epoch, n := b[0], int(b[3])<<8|int(b[4]), int(b[11])<<8|int(b[12])
	if len(b)-header < n {
		return 0, d.stranger()
	}
	d.foreign = 0
	body := b[header : header+n]
	if epoch != 0 {
		return header + n, d.ciphertext()
	}
	d.hs.begin()
	for len(body) > 0 {
		var err error
		switch typ {
		case typeChangeCipherSpec:
			d.hs.changeCipherSpec(dir)
			d.encrypted[dir] = true
			body = body[1:]
		case typeHandshake:
			body, err = d.handshake(dir, body)
		default:
			body, err = d.hs.content(dir, typ, body)
		}
		if err != nil {
			return 0, err
		}
	}
	return header + n, nil
}

func (d *dtlsDecoder) stranger() error {
	if d.foreign++; d.foreign > maxForeign {
		return errNotTLS
	}
	return nil
}

func (d *dtlsDecoder) ciphertext() error {
	if d.encrypted.both() {
		d.hs.established()
		return errDone
	}
	return nil
}

// handshake reads a handshake message or a fragment of one (RFC 6347 section 4.2.2).
func (d *dtlsDecoder) handshake(dir capture.Dir, b []byte) ([]byte, error) {
	r := reader{b: b}
	typ, total, seq, from := r.u8(), r.u24(), r.u16(), r.u24()
	data := r.take(r.u24())
	switch {
	case r.bad:
		return nil, errMalformed
	case total > maxMessage:
		d.hs.weird("tls_handshake_message_too_long", strconv.Itoa(total))
		return nil, errTooLong
	case len(data) == total && from == 0:
		return r.b, d.hs.message(dir, typ, data)
	case from+len(data) > total:
		return nil, errMalformed
	}
	if len(d.part[dir].parts) >= maxParts {
		d.hs.weird("dtls_too_many_fragments", "")
	}
	if whole := d.part[dir].add(typ, seq, total, from, data); whole != nil {
		err := d.hs.message(dir, typ, whole)
		d.part[dir] = fragments{}
		return r.b, err
	}
	return r.b, nil
}

// fragments is one message that comes in pieces, in any order and more than once.
type fragments struct {
	buf   []byte
	parts []span // what is there, in no order
	seq   uint16
	typ   uint8
}

type span struct{ from, to int }

// add takes a piece and gives the message when it is whole. A piece of another message throws away what was there.
func (f *fragments) add(typ uint8, seq uint16, total, from int, data []byte) []byte {
	if f.buf == nil || f.seq != seq || f.typ != typ || len(f.buf) != total {
		*f = fragments{buf: make([]byte, total), seq: seq, typ: typ}
	}
	if len(f.parts) >= maxParts || len(data) == 0 {
		return nil
	}
	copy(f.buf[from:], data)
	f.parts = append(f.parts, span{from, from + len(data)})
	for at := 0; at < total; {
		end := at
		for _, p := range f.parts {
			if p.from <= at {
				end = max(end, p.to)
			}
		}
		if end == at {
			return nil
		}
		at = end
	}
	return f.buf
}

// Gap implements decoders.Decoder; datagrams have none.
func (d *dtlsDecoder) Gap(capture.Dir, int64) bool { return true }

// End implements decoders.Decoder.
func (d *dtlsDecoder) End(dir capture.Dir) {
	d.ended[dir] = true
	if d.ended[dir.Peer()] {
		d.hs.Finish()
	}
}
