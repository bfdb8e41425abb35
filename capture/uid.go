package capture

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// uidLen is the length that Zeek's identifiers mostly have.
const uidLen = 18

// NewUID makes an identifier in Zeek's shape, a letter and 17 base-62 digits, from what identifies a thing. Equal
// inputs give equal identifiers in every run. Ten digits come of one 64-bit hash and seven of another, which makes an
// accidental collision a matter of 2^50 flows; a digit of a 128-bit number would cost a division each, 300 ns in all.
func NewUID(letter byte, parts ...[]byte) string {
	id := uidOf(letter, parts...)
	return string(id[:])
}

func uidOf(letter byte, parts ...[]byte) (out [uidLen]byte) {
	var d xxhash.Digest
	d.ResetWithSeed(0)
	for _, p := range parts {
		d.Write(p)
	}
	lo := d.Sum64()
	d.ResetWithSeed(0x7261797461705549) // "raytapUI"
	for _, p := range parts {
		d.Write(p)
	}
	hi := d.Sum64()
	out[0] = letter
	for i := range 10 {
		out[1+i] = base62[lo%62]
		lo /= 62
	}
	for i := 11; i < len(out); i++ {
		out[i] = base62[hi%62]
		hi /= 62
	}
	return out
}

// flowUID is the UID of the flow between p's endpoints, in either direction, that began at start.
func flowUID(p *Packet, start Time) string {
	k := keyOf(p)
	b := k.named(start)
	return NewUID('C', b[:])
}

// named is what the UID of a flow rests on: its endpoints, without regard to who began, and the microsecond of its first
// packet. Not the nanosecond: a sensor has those, and tcpdump, Arkime, Suricata and dumpcap, by default, cut them off
// (the kernel does, in tpacket_rcv and skb_get_timestamp; libpcap divides), so that only what both have names the same
// flow in both. Two flows between the same ports cannot begin within a microsecond but by a forged capture.
func (k *flowKey) named(start Time) (b [48]byte) {
	k.bytes((*[40]byte)(b[:40]))
	binary.BigEndian.PutUint64(b[40:], uint64(start.Micros()))
	return b
}

// CommunityID is the Community ID v1 of a flow (https://github.com/corelight/community-id-spec), seed 0. ICMP ports
// are type and counterpart, as the specification wants them. Of a flow without addresses it is "".
func (f *Flow) CommunityID() string {
	var out [communityLen]byte
	if !f.community(&out) {
		return ""
	}
	return string(out[:])
}

// communityLen is how long a Community ID is.
const communityLen = 2 + 28

// community writes f's Community ID to out, and reports whether there is one.
func (f *Flow) community(out *[communityLen]byte) bool {
	f = f.Wire()
	if !f.Orig.IsValid() || !f.Resp.IsValid() {
		return false
	}
	sum := f.communitySum()
	copy(out[:], "1:")
	base64.StdEncoding.Encode(out[2:], sum[:])
	return true
}

// communitySum is what a Community ID writes as text.
func (f *Flow) communitySum() [sha1.Size]byte {
	from, to := f.Orig.Addr().As16(), f.Resp.Addr().As16()
	src, dst, sport, dport := from[:], to[:], f.Orig.Port(), f.Resp.Port()
	if f.Orig.Addr().Is4() {
		src, dst = src[12:], dst[12:]
	}
	if !f.oneWay {
		c := 0
		for i := range src {
			if src[i] != dst[i] {
				c = int(src[i]) - int(dst[i])
				break
			}
		}
		// Between two ports of one host Zeek compares the bytes as a little-endian machine has them, not the numbers
		// that the specification means. Such flows are on no SPAN port, and ours shall join with Zeek's.
		if c > 0 || c == 0 && bits.ReverseBytes16(sport) > bits.ReverseBytes16(dport) {
			src, dst, sport, dport = dst, src, dport, sport
		}
	}
	var b [2 + 16 + 16 + 2 + 4]byte
	n := 2
	n += copy(b[n:], src)
	n += copy(b[n:], dst)
	b[n] = f.Proto
	n += 2
	switch f.Proto {
	case ProtoTCP, ProtoUDP, ProtoICMP, ProtoICMPv6, ProtoSCTP:
		binary.BigEndian.PutUint16(b[n:], sport)
		binary.BigEndian.PutUint16(b[n+2:], dport)
		n += 4
	}
	return sha1.Sum(b[:n])
}
