package services

import (
	"bytes"
	"encoding/binary"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// smb reads the messages of SMB 1, 2 and 3 behind NetBIOS session framing (RFC 1002, 4.3.1): who logs on how, and
// remote procedure calls in named pipes.
type smb struct {
	plain
	told dceTold
}

const (
	nbLen = 4
	// As much of a message as is looked at: a log-on token and the first of compounded requests begin in it.
	smbHead = 4 << 10
	// NetBIOS lengths of SMB over port 445 have 24 bits; servers offer 8 MiB at most.
	maxSMB = 16 << 20
	// Compounded requests in one message; Windows sends three or four.
	maxCompound = 16
)

func firstSMB(_ capture.Dir, b []byte) decoders.Verdict {
	switch b[0] {
	case 0:
	case 0x81: // a session request names both ends in 34 bytes each
		if len(b) > 4 {
			if b[1] != 0 || b[2] != 0 || b[3] != 68 || b[4] != 32 {
				return decoders.No
			}
			return decoders.Yes
		}
		return begins(b, "\x81\x00\x00\x44")
	case 0x82:
		return begins(b, "\x82\x00\x00\x00")
	default:
		return decoders.No
	}
	if len(b) < 5 {
		return decoders.Maybe
	}
	return max(begins(b[4:], "\xffSMB"), begins(b[4:], "\xfeSMB"), begins(b[4:], "\xfdSMB"))
}

func (r *smb) read(c *conversation, dir capture.Dir, b []byte) (int, error) {
	if len(b) < nbLen {
		return 0, nil
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	if b[0] != 0 {
		if b[0] < 0x81 || b[0] > 0x85 || n > 256 {
			return 0, errDone
		}
		return nbLen + n, nil
	}
	if n > maxSMB {
		return 0, errDone
	}
	if len(b) < nbLen+min(n, smbHead) {
		return 0, nil
	}
	m := b[nbLen:min(nbLen+n, len(b))]
	switch {
	case bytes.HasPrefix(m, []byte("\xffSMB")):
		r.one(c, dir, m)
	case bytes.HasPrefix(m, []byte("\xfeSMB")):
		r.two(c, dir, m)
	case bytes.HasPrefix(m, []byte("\xfdSMB")): // MS-SMB2, 2.2.41: encrypted from here on
		c.say("smb")
		return 0, errDone
	default:
		return 0, errDone
	}
	return nbLen + n, nil
}

// one looks at a message of SMB 1 (MS-CIFS, 2.2.3; MS-SMB, 2.2.4).
func (r *smb) one(c *conversation, dir capture.Dir, m []byte) {
	const header = 32
	if len(m) < header+3 {
		return
	}
	c.say("smb")
	cmd, words := m[4], int(m[header])
	p := m[header+1:]
	if len(p) < 2*words+2 {
		return
	}
	p, data := p[:2*words], p[2*words+2:]
	w := func(i int) int { return int(binary.LittleEndian.Uint16(p[2*i:])) }
	answer := m[9]&0x80 != 0
	switch cmd {
	case 0x72: // negotiate: the answer with extended security has a GUID and a token
		if answer && words == 17 && len(data) > 16 {
			gss(c, data[16:])
		}
	case 0x73: // session setup
		switch {
		case !answer && words == 12:
			token(c, data, w(7))
		case answer && words == 4:
			token(c, data, w(3))
		}
	case 0x25: // transaction: in a pipe
		switch {
		case !answer && words >= 14:
			r.told.pipe(c, dir, at(m, w(12), w(11)))
		case answer && words >= 10:
			r.told.pipe(c, dir, at(m, w(7), w(6)))
		}
	case 0x2f: // write
		if !answer && words >= 12 {
			r.told.pipe(c, dir, at(m, w(11), w(10)))
		}
	case 0x2e: // read
		if answer && words == 12 {
			r.told.pipe(c, dir, at(m, w(6), w(5)))
		}
	}
}

// two looks at a message of SMB 2 or 3 (MS-SMB2, 2.2.1), which may be several.
func (r *smb) two(c *conversation, dir capture.Dir, m []byte) {
	const header = 64
	for range maxCompound {
		if len(m) < header+8 || !bytes.HasPrefix(m, []byte("\xfeSMB")) {
			return
		}
		c.say("smb")
		cmd, next := binary.LittleEndian.Uint16(m[12:]), int(binary.LittleEndian.Uint32(m[20:]))
		answer := m[16]&1 != 0
		one := m
		if next > 0 && next < len(m) {
			one = m[:next]
		}
		p := one[min(header, len(one)):]
		u16 := func(i int) int {
			if len(p) < i+2 {
				return 0
			}
			return int(binary.LittleEndian.Uint16(p[i:]))
		}
		u32 := func(i int) int { return u16(i) | u16(i+2)<<16 }
		switch cmd {
		case 0: // negotiate
			if answer {
				gss(c, at(one, u16(56), u16(58)))
			}
		case 1: // session setup
			if answer {
				gss(c, at(one, u16(4), u16(6)))
			} else {
				gss(c, at(one, u16(12), u16(14)))
			}
		case 8: // read
			if answer && len(p) > 2 {
				r.told.pipe(c, dir, at(one, int(p[2]), u32(4)))
			}
		case 9: // write
			if !answer {
				r.told.pipe(c, dir, at(one, u16(2), u32(4)))
			}
		case 11: // ioctl: a transaction in a pipe
			if u32(4) == 0x11c017 {
				if answer {
					r.told.pipe(c, dir, at(one, u32(32), u32(36)))
				} else {
					r.told.pipe(c, dir, at(one, u32(24), u32(28)))
				}
			}
		}
		if next < header || next >= len(m) {
			return
		}
		m = m[next:]
	}
}

// at cuts n bytes at offset off, or what is there of them.
func at(m []byte, off, n int) []byte {
	if off <= 0 || n <= 0 || off >= len(m) {
		return nil
	}
	return m[off:min(len(m), off+n)]
}

func token(c *conversation, data []byte, n int) { gss(c, data[:min(n, len(data))]) }

// gss names what negotiates a log-on: NTLM on its own (MS-NLMP), or SPNEGO (RFC 4178) and what it carries, NTLM or
// Kerberos (RFC 4121). Tokens may be cut.
func gss(c *conversation, b []byte) {
	if ntlm(c, b) {
		return
	}
	if len(b) < 2 {
		return
	}
	switch b[0] {
	case 0x60: // RFC 2743, 3.1: a mechanism's name, and its first token
		_, rest, ok := element(b)
		const spnego = "\x06\x06\x2b\x06\x01\x05\x05\x02"
		if !ok || !bytes.HasPrefix(rest, []byte(spnego)) {
			return
		}
		b = rest[len(spnego):]
		if len(b) == 0 || b[0] != 0xa0 {
			return
		}
	case 0xa1: // NegTokenResp
	default:
		return
	}
	_, b, ok := element(b)
	if !ok || len(b) == 0 || b[0] != 0x30 {
		return
	}
	_, b, ok = element(b)
	for ok && len(b) > 0 {
		tag := b[0]
		n, body, good := element(b)
		if !good {
			return
		}
		if tag == 0xa0 || tag == 0xa2 {
			c.say("gssapi")
		}
		if tag == 0xa2 { // the mechanism's token, in an octet string
			if _, tok, good := element(body); good && len(body) > 0 && body[0] == 0x04 && !ntlm(c, tok) {
				kerberosToken(c, tok)
			}
			return
		}
		if n > len(body) {
			return
		}
		b = body[n:]
	}
}

func ntlm(c *conversation, b []byte) bool {
	if !bytes.HasPrefix(b, []byte("NTLMSSP\x00")) {
		return false
	}
	if len(b) >= 12 && b[8] >= 1 && b[8] <= 3 {
		c.say("ntlm")
	}
	return true
}

// kerberosToken is a message behind the mechanism's name and a token identifier (RFC 4121, 4.1), or bare, as DCE/RPC
// has it (MS-KILE, 3.4.5.4.1).
func kerberosToken(c *conversation, b []byte) {
	if kerberosMessage(b) {
		c.say("krb")
		return
	}
	if len(b) == 0 || b[0] != 0x60 {
		return
	}
	_, b, ok := element(b)
	if !ok || len(b) < 2 || b[0] != 0x06 || len(b) < 4+int(b[1]) {
		return
	}
	if b = b[4+int(b[1]):]; len(b) > 0 && kerberosMessage(b) {
		c.say("krb")
	}
}

// dceRPC reads PDUs of DCE/RPC over TCP.
type dceRPC struct {
	plain
	told dceTold
}

const (
	dceHeader = 16
	// A fragment's length has 16 bits. Authentication stands at the end of it, so all of it is held; Windows sends
	// 5,840 bytes.
)

func firstDCERPC(_ capture.Dir, b []byte) decoders.Verdict {
	if b[0] != 5 {
		return decoders.No
	}
	if len(b) < 3 {
		if len(b) == 2 && b[1] > 1 {
			return decoders.No
		}
		return decoders.Maybe
	}
	switch {
	case b[1] > 1 || b[2] > 0x13, len(b) > 4 && b[4]&0xef != 0, len(b) > 5 && b[5] > 3:
		return decoders.No
	case len(b) < dceHeader:
		return decoders.Maybe
	case dceLen(b) < dceHeader:
		return decoders.No
	}
	return decoders.Yes
}

// dceLen is the length of a fragment, in the sender's order of bytes.
func dceLen(b []byte) int { return dceU16(b, 8) }

func dceU16(b []byte, i int) int {
	if b[4]&0x10 != 0 {
		return int(binary.LittleEndian.Uint16(b[i:]))
	}
	return int(binary.BigEndian.Uint16(b[i:]))
}

func (r *dceRPC) read(c *conversation, dir capture.Dir, b []byte) (int, error) {
	switch firstDCERPC(dir, b) {
	case decoders.No:
		return 0, errDone
	case decoders.Maybe:
		return 0, nil
	}
	n := dceLen(b)
	if len(b) < n {
		return 0, nil
	}
	r.told.pdu(c, b[:n])
	if r.told.done {
		return 0, errDone
	}
	return n, nil
}

// dceTold follows the PDUs of a connection, over TCP or in pipes.
type dceTold struct {
	calls int
	done  bool
}

// Who authenticates does so before the first call, but connections that were picked up late bind again.
const maxCalls = 64

// pdu looks at a whole fragment.
func (t *dceTold) pdu(c *conversation, b []byte) {
	c.say("dce_rpc")
	const request, response, trailer = 0, 2, 8
	if b[2] == request || b[2] == response {
		t.calls++
		t.done = t.calls >= maxCalls
	}
	n := dceU16(b, 10)
	if n == 0 || n+trailer > len(b)-dceHeader {
		return
	}
	switch auth := b[len(b)-n-trailer:]; auth[0] {
	case 9:
		gss(c, auth[trailer:])
	case 10: // NTLM, or the signature of a call that it protects (MS-NLMP, 2.2.2.9)
		if n >= 12 {
			c.say("ntlm")
		}
	}
}

// pipe takes what was written into or read from a file or a pipe: only a whole bind or its answer is believed, for
// files may hold anything.
func (t *dceTold) pipe(c *conversation, dir capture.Dir, b []byte) {
	const bind, alter = 11, 15
	if len(b) < dceHeader || t.done || firstDCERPC(dir, b) != decoders.Yes {
		return
	}
	if n := dceLen(b); n <= len(b) && b[2] >= bind && b[2] <= alter {
		t.pdu(c, b[:n])
	}
}
