package tls

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/raytap/raytap/capture"
)

// Builders of what TLS sends.

func u8(n int) string  { return string([]byte{byte(n)}) }
func u16(n int) string { return string([]byte{byte(n >> 8), byte(n)}) }
func u24(n int) string { return string([]byte{byte(n >> 16), byte(n >> 8), byte(n)}) }

func vec8(s string) string  { return u8(len(s)) + s }
func vec16(s string) string { return u16(len(s)) + s }
func vec24(s string) string { return u24(len(s)) + s }

// rec is a record of TLS 1.2.
func rec(typ int, body string) string { return u8(typ) + "\x03\x03" + vec16(body) }

// msg is a handshake message.
func msg(typ int, body string) string { return u8(typ) + vec24(body) }

// hs is a handshake message in a record of its own.
func hs(typ int, body string) string { return rec(typeHandshake, msg(typ, body)) }

func list16(v ...int) (s string) {
	for _, x := range v {
		s += u16(x)
	}
	return s
}

func ext(typ int, data string) string { return u16(typ) + vec16(data) }
func sni(name string) string          { return ext(extServerName, vec16("\x00"+vec16(name))) }

func alpnExt(names ...string) string {
	var s string
	for _, n := range names {
		s += vec8(n)
	}
	return ext(extALPN, vec16(s))
}

var random = "0123456789abcdef0123456789abcdef"

// clientHelloBody is a ClientHello; legacy version 1.2.
func clientHelloBody(session string, ciphers []int, exts string) string {
	return "\x03\x03" + random + vec8(session) + vec16(list16(ciphers...)) + vec8("\x00") + vec16(exts)
}

func serverHelloBody(rnd, session string, cipher int, exts string) string {
	return "\x03\x03" + rnd + vec8(session) + u16(cipher) + "\x00" + vec16(exts)
}

// ecdhe is a ServerKeyExchange on x25519 with a signature.
func ecdhe() string { return "\x03" + u16(29) + vec8(random) + "\x04\x03" + vec16("signature") }

// Builders of DER.

func tlv(tag int, body ...string) string {
	var s string
	for _, b := range body {
		s += b
	}
	switch n := len(s); {
	case n < 0x80:
		return u8(tag) + u8(n) + s
	case n < 0x100:
		return u8(tag) + "\x81" + u8(n) + s
	default:
		return u8(tag) + "\x82" + u16(n) + s
	}
}

func seq(body ...string) string { return tlv(tagSequence, body...) }
func oid(s string) string       { return tlv(tagOID, s) }

// rdn is one part of a name, in a set of its own.
func rdn(id string, tag int, value string) string {
	return tlv(tagSet, seq(oid(id), tlv(tag, value)))
}

const (
	rsaOID    = "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x01"
	sha256RSA = "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x0B"
	countryID = "\x55\x04\x06"
	orgID     = "\x55\x04\x0A"
	p256      = "\x2A\x86\x48\xCE\x3D\x03\x01\x07"
	ecKey     = "\x2A\x86\x48\xCE\x3D\x02\x01"
)

// cert is a certificate of which a test changes what it is about.
type cert struct {
	version, serial           string
	sigAlg                    string
	issuer, subject           string
	notBefore, notAfter, spki string
	exts                      string
}

func goodCert() cert {
	return cert{
		version: tlv(0xA0, tlv(tagInt, "\x02")), serial: tlv(tagInt, "\x01\x02\xAB"), sigAlg: seq(oid(sha256RSA), "\x05\x00"),
		issuer:    seq(rdn(countryID, 0x13, "US"), rdn(orgID, 0x0C, "Ca, Inc."), rdn(oidCommonName, 0x13, "Root")),
		subject:   seq(rdn(countryID, 0x13, "US"), rdn(oidCommonName, 0x0C, "host.example.org")),
		notBefore: tlv(tagUTCTime, "240102030405Z"), notAfter: tlv(tagGenTime, "20501231235959Z"),
		spki: rsaKey(1024, "\x01\x00\x01"),
	}
}

func rsaKey(bits int, e string) string {
	n := make([]byte, bits/8)
	n[0] = 0x80
	return seq(seq(oid(rsaOID), "\x05\x00"), tlv(tagBits, "\x00", seq(tlv(tagInt, "\x00"+string(n)), tlv(tagInt, e))))
}

func (c cert) der() string {
	exts := c.exts
	if exts != "" {
		exts = tlv(0xA3, seq(exts))
	}
	return seq(seq(c.version, c.serial, c.sigAlg, c.issuer, seq(c.notBefore, c.notAfter), c.subject, c.spki, exts), c.sigAlg, tlv(tagBits, "\x00sig"))
}

// names is a subjectAltName extension.
func names(parts ...string) string { return seq(oid(oidSubjectAltName), tlv(tagOctets, seq(parts...))) }

// certificates is the body of a Certificate message.
func certificates(ders ...string) string {
	var s string
	for _, d := range ders {
		s += vec24(d)
	}
	return vec24(s)
}

// dtls is a record of DTLS 1.2.
func dtls(typ, epoch, seqNo int, body string) string {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(seqNo))
	return u8(typ) + "\xFE\xFD" + u16(epoch) + string(n[2:]) + vec16(body)
}

// part is a fragment of a handshake message of DTLS.
func part(typ, seqNo int, body string, from, to int) string {
	return u8(typ) + u24(len(body)) + u16(seqNo) + u24(from) + u24(to-from) + body[from:to]
}

func whole(typ, seqNo int, body string) string { return part(typ, seqNo, body, 0, len(body)) }

// fields collects the columns of a row: those that are set by name, and all names in order.
type fields struct {
	set   map[string]any
	names []string
}

func row(r capture.Record) *fields {
	f := &fields{set: map[string]any{}}
	r.Row(f)
	return f
}

func (f *fields) put(name string, v any, set bool) {
	f.names = append(f.names, name)
	if set {
		f.set[name] = v
	}
}
func (f *fields) Time(n string, v capture.Time, s bool)         { f.put(n, v, s) }
func (f *fields) Interval(n string, v time.Duration, s bool)    { f.put(n, v, s) }
func (f *fields) String(n, v string, s bool)                    { f.put(n, v, s) }
func (f *fields) Enum(n, v string, s bool)                      { f.put(n, v, s) }
func (f *fields) Count(n string, v uint64, s bool)              { f.put(n, v, s) }
func (f *fields) Bool(n string, v, s bool)                      { f.put(n, v, s) }
func (f *fields) Addr(n string, v netip.Addr, s bool)           { f.put(n, v, s) }
func (f *fields) Port(n string, v uint16, s bool)               { f.put(n, v, s) }
func (f *fields) Double(n string, v float64, s bool)            { f.put(n, v, s) }
func (f *fields) Set(n, _ string, v []string, s bool)           { f.put(n, v, s) }
func (f *fields) Vector(n, _ string, v []string, s bool)        { f.put(n, v, s) }
func (f *fields) Intervals(n string, v []time.Duration, s bool) { f.put(n, v, s) }
