package quic

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

// Versions.
const (
	version1 = 0x00000001
	version2 = 0x6B3343CF
	draft    = 0xFF000000
)

// kind of a packet with a long header.
type kind uint8

const (
	initial kind = iota
	zeroRTT
	handshake
	retry
)

// packet is what a long header says (RFC 9000 section 17.2). Slices are borrowed.
type packet struct {
	version    uint32
	kind       kind
	dcid, scid []byte
	number     int // where the packet number begins, in the packet
	size       int // of the whole packet
}

// parseHeader reads the long header at the front of b. Not ok says that there is none of a version that is known, or
// that the packet is longer than b.
func parseHeader(b []byte) (p packet, ok bool) {
	// Form and fixed bit, version, two lengths.
	if len(b) < 7 || b[0]&0xC0 != 0xC0 {
		return p, false
	}
	p.version = binary.BigEndian.Uint32(b[1:5])
	if _, _, ok := secrets(p.version); !ok {
		return p, false
	}
	p.kind = kind(b[0] >> 4 & 3)
	if p.version == version2 {
		p.kind = (p.kind - 1) & 3 // RFC 9369 section 3.2: all moved on by one
	}
	at := 5
	for _, id := range []*[]byte{&p.dcid, &p.scid} {
		if at >= len(b) {
			return p, false
		}
		n := int(b[at])
		if at++; n > maxID || n > len(b)-at {
			return p, false
		}
		*id = b[at : at+n]
		at += n
	}
	if p.kind == retry {
		p.size = len(b)
		return p, true
	}
	if p.kind == initial {
		token, n := varint(b[at:])
		if n == 0 || token > uint64(len(b)-at-n) {
			return p, false
		}
		at += n + int(token)
	}
	length, n := varint(b[at:])
	if n == 0 || length > uint64(len(b)-at-n) {
		return p, false
	}
	p.number = at + n
	p.size = p.number + int(length)
	return p, true
}

// varint reads a variable-length integer (RFC 9000 section 16) and says how long it is, 0 if it is not all there.
func varint(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	n = 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, 0
	}
	v = uint64(b[0] & 0x3F)
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, n
}

// secrets gives a version's salt and what its labels begin with (RFC 9001 section 5.2, RFC 9369 section 3.3, and the
// drafts).
func secrets(version uint32) (salt, prefix string, ok bool) {
	switch {
	case version == version1, version == draft|33, version == draft|34:
		return "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a", "quic ", true
	case version == version2:
		return "\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9", "quicv2 ", true
	case version >= draft|29 && version <= draft|32:
		return "\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99", "quic ", true
	case version >= draft|23 && version <= draft|28:
		return "\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02", "quic ", true
	}
	return "", "", false
}

// keys protect the Initial packets of one direction.
type keys struct {
	aead   cipher.AEAD
	iv     [12]byte
	header cipher.Block
}

// deriveKeys makes the keys of both directions from the connection id that the client chose for the server (RFC 9001
// section 5.2).
func deriveKeys(version uint32, dcid []byte) (k [2]keys) {
	salt, prefix, ok := secrets(version)
	if !ok {
		return k
	}
	secret, err := hkdf.Extract(sha256.New, dcid, []byte(salt))
	if err != nil {
		return k
	}
	for i, label := range []string{"client in", "server in"} {
		s := expand(secret, label, sha256.Size)
		key, iv, hp := expand(s, prefix+"key", 16), expand(s, prefix+"iv", 12), expand(s, prefix+"hp", 16)
		block, err1 := aes.NewCipher(key)
		header, err2 := aes.NewCipher(hp)
		if err1 != nil || err2 != nil {
			return [2]keys{}
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return [2]keys{}
		}
		k[i] = keys{aead: aead, header: header}
		copy(k[i].iv[:], iv)
	}
	return k
}

// expand is HKDF-Expand-Label (RFC 8446 section 7.1) without context.
func expand(secret []byte, label string, n int) []byte {
	info := make([]byte, 0, 32)
	info = append(info, byte(n>>8), byte(n), byte(len("tls13 ")+len(label)))
	info = append(append(append(info, "tls13 "...), label...), 0)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		return make([]byte, n)
	}
	return out
}

// open removes the protection of the packet at the front of b (RFC 9001 sections 5.3 and 5.4) and appends its frames
// to out. b is not changed.
func (k *keys) open(out, b []byte, p *packet) ([]byte, bool) {
	const sample = 16
	// The sample begins where the payload would with a packet number of four octets.
	if k.aead == nil || p.size < p.number+4+sample || p.size > len(b) {
		return out, false
	}
	var mask [aes.BlockSize]byte
	k.header.Encrypt(mask[:], b[p.number+4:p.number+4+sample])
	first := b[0] ^ mask[0]&0x0F
	n := int(first&3) + 1
	// Associated data is the header as it was before protection. A token may make it long.
	head := append(make([]byte, 0, 128), b[:p.number+n]...)
	head[0] = first
	nonce := k.iv
	for i := range n {
		c := b[p.number+i] ^ mask[1+i]
		head[p.number+i] = c
		nonce[len(nonce)-n+i] ^= c
	}
	// Packet numbers of Initial packets start at zero and are few: what was sent is all of it.
	out, err := k.aead.Open(out, nonce[:], b[p.number+n:p.size], head)
	return out, err == nil
}
