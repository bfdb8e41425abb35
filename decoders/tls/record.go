package tls

import (
	"errors"
	"strconv"

	"github.com/raytap/raytap/capture"
)

var (
	errNotTLS   = errors.New("tls: not a record")
	errOverflow = errors.New("tls: clear record over 18 KiB")
	errType     = errors.New("tls: unknown record type")
)

// streamDecoder reads records off a stream.
type streamDecoder struct {
	hs        Handshake
	encrypted dirs
	ended     [2]bool
	skip      [2]int // by direction: octets still to come of a record that nobody reads
	layer     uint16 // version of the first record; VersionSSL2 stays that
	rhythm    rhythm
	left      [2]int  // by direction: octets that were not used
	some      [2]bool // by direction: a packet with a right checksum was read
	// checked reads the packets with right checksums alone, from the first one on that has a wrong one.
	checked *checked
}

// Decode implements decoders.Decoder.
func (d *streamDecoder) Decode(dir capture.Dir, b []byte) (used int, err error) {
	if d.hs.doubter != nil && !d.rhythm.on {
		doubted := d.hs.doubter.Doubted()
		if d.checked != nil || doubted {
			d.check(dir, b, doubted)
		}
		d.some[dir] = d.some[dir] || !doubted
	}
	used, err = d.decode(dir, b)
	d.left[dir] = len(b) - used
	return used, err
}

func (d *streamDecoder) decode(dir capture.Dir, b []byte) (used int, err error) {
	skip := &d.skip[dir]
	for {
		if *skip > 0 {
			n := min(*skip, len(b)-used)
			used += n
			if *skip -= n; *skip > 0 {
				return used, nil
			}
			if err := d.skipped(dir); err != nil {
				return used, err
			}
		}
		if len(b)-used < 5 {
			return used, nil
		}
		n, err := d.record(dir, b[used:])
		used += n
		if err != nil {
			d.hs.Finish()
			return used, err
		}
		if n == 0 {
			return used, nil
		}
	}
}

// record reads the record at the front of b, at least five octets, or no more than its header if it is to be skipped.
// 0 asks for more.
func (d *streamDecoder) record(dir capture.Dir, b []byte) (int, error) {
	version := uint16(b[1])<<8 | uint16(b[2])
	if d.layer == VersionSSL2 || d.layer == 0 && b[0]&0x80 != 0 {
		return d.oldRecord(dir, b)
	}
	if version < VersionSSL3 || version > VersionTLS12 {
		return 0, errNotTLS
	}
	if d.layer == 0 {
		if b[0] < typeChangeCipherSpec || b[0] > 30 {
			return 0, errNotTLS
		}
		d.layer = version
	}
	typ, n := b[0], int(b[3])<<8|int(b[4])
	if n == 0 {
		return 5, nil
	}
	// Application data in the clear is encrypted all the same, in TLS 1.3; which it is, is known when it has come.
	if d.encrypted[dir] || typ == typeApplicationData {
		if d.rhythm.on && !d.note(dir, typ, n) {
			d.tell()
			return 5, errDone
		}
		d.skip[dir] = n
		return 5, nil
	}
	if n > maxPlain {
		d.hs.weird("tls_record_overflow", strconv.Itoa(n))
		return 0, errOverflow
	}
	if len(b) < 5+n {
		return 0, nil
	}
	return 5 + n, d.clear(dir, typ, b[5:5+n])
}

// skipped is called when the end of a record that nobody reads was seen.
func (d *streamDecoder) skipped(dir capture.Dir) error {
	if !d.encrypted[dir] {
		// No version before TLS 1.3 has application data before ChangeCipherSpec. Without a ServerHello there is no
		// version; then it is taken for what is common.
		if s := d.hs.s; s != nil && s.Version != 0 && !d.hs.modern() {
			d.hs.weird("ssl_early_application_data", "")
			return nil
		}
		d.encrypted[dir] = true
	}
	return d.ciphertext()
}

func (d *streamDecoder) ciphertext() error {
	if d.encrypted.both() && !d.rhythm.on {
		d.hs.established()
		if !d.watch() {
			return errDone
		}
	}
	return nil
}

// clear reads the contents of a record that is not encrypted.
func (d *streamDecoder) clear(dir capture.Dir, typ byte, b []byte) error {
	d.hs.begin()
	for len(b) > 0 {
		switch {
		case d.encrypted[dir]: // what stands behind a ChangeCipherSpec in its record
			return d.ciphertext()
		case typ == typeChangeCipherSpec:
			d.hs.changeCipherSpec(dir)
			// In TLS 1.3 it is sent for the sake of boxes in between and means nothing (RFC 8446 appendix D.4); behind a
			// HelloRetryRequest another ClientHello follows it.
			d.encrypted[dir] = !d.hs.modern()
			b = b[1:]
			continue
		}
		rest, err := d.hs.content(dir, typ, b)
		if err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// content reads what is alike in streams and datagrams, and returns what is left: several alerts may share a record.
func (h *Handshake) content(dir capture.Dir, typ byte, b []byte) ([]byte, error) {
	switch typ {
	case typeHandshake:
		return nil, h.Data(dir, b)
	case typeAlert:
		if len(b) < 2 {
			return nil, errMalformed
		}
		h.alert(dir, b[1])
		return b[2:], nil
	case typeHeartbeat:
		if len(b) < 3 {
			return nil, errMalformed
		}
		h.mark(h.client(dir), 'B')
		return nil, nil
	case typeApplicationData:
		return nil, nil
	}
	return nil, errType
}

// oldRecord reads a record of SSLv2: the hello that clients once began with even to ask for SSLv3 or TLS, and what a
// server that speaks nothing newer answers.
func (d *streamDecoder) oldRecord(dir capture.Dir, b []byte) (int, error) {
	n := int(b[0]&0x7F)<<8 | int(b[1])
	if d.layer == VersionSSL2 && b[0]&0x80 == 0 {
		// Encrypted records may have padding, and a longer header that says how much.
		n = int(b[0]&0x3F)<<8 | int(b[1]) + 1
	}
	if n < 3 {
		return 0, errNotTLS
	}
	if d.encrypted[dir] {
		d.skip[dir] = n - 3
		return 5, nil
	}
	if d.layer == 0 && !(b[2] == 1 && d.hs.client(dir) && oldVersion(b[3], b[4])) && !(b[2] == 4 && !d.hs.client(dir) && b[4] < 2) {
		return 0, errNotTLS
	}
	if n > maxPlain {
		return 0, errOverflow
	}
	if len(b) < 2+n {
		return 0, nil
	}
	return 2 + n, d.oldMessage(dir, b[2], reader{b: b[3 : 2+n]})
}

// oldMessage reads a message of SSLv2 (draft-hickman-netscape-ssl, sections 2.5 to 2.7).
func (d *streamDecoder) oldMessage(dir capture.Dir, typ byte, r reader) error {
	h := &d.hs
	h.begin()
	switch typ {
	case 0: // error
		h.alert(dir, uint8(r.u16()))
	case 1: // client hello
		r.u16()
		ciphers, id, challenge := int(r.u16()), int(r.u16()), int(r.u16())
		r.take(ciphers)
		session := r.take(id)
		r.take(challenge)
		if r.bad {
			return errMalformed
		}
		if id := padID(session); id != "" {
			h.sessionID = id
		}
		h.confirm()
		h.mark(true, 'C')
	case 2: // client master key: what follows is encrypted
		d.encrypted = dirs{true, true}
		h.established()
		return errDone
	case 4: // server hello
		d.layer = VersionSSL2
		r.u16() // session hit, certificate type
		version := r.u16()
		cert, ciphers, id := int(r.u16()), int(r.u16()), int(r.u16())
		der := r.take(cert)
		list := reader{b: r.take(ciphers)}
		r.take(id)
		if r.bad || version != VersionSSL2 {
			return errMalformed
		}
		h.s.Version, h.s.Answered = VersionSSL2, true
		h.s.Cipher = uint32(list.u24())
		h.mark(false, 'S')
		if len(der) > 0 {
			h.certificate(false, true, der)
		}
	default:
		return errType
	}
	return nil
}

// Gap implements decoders.Decoder. Zeek, too, stops here: where the next record begins is not known.
func (d *streamDecoder) Gap(capture.Dir, int64) bool {
	d.hs.Finish()
	d.tell()
	return false
}

// End implements decoders.Decoder.
func (d *streamDecoder) End(dir capture.Dir) {
	d.ended[dir] = true
	if d.ended[dir.Peer()] {
		d.hs.Finish()
		d.tell()
	}
}
