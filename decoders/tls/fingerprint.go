package tls

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
)

// ja3 is the MD5 of version, ciphers, extensions, groups and point formats in decimal, without GREASE (the method of
// Althouse, Atkinson and Atkins, 2017).
func (h *clientHello) ja3() string {
	b := make([]byte, 0, 512)
	b = strconv.AppendUint(b, uint64(h.version), 10)
	b = appendDashed(append(b, ','), h.ciphers)
	b = appendDashed(append(b, ','), h.extensions)
	b = appendDashed(append(b, ','), h.groups)
	b = append(b, ',')
	for i, f := range h.pointFormats {
		if i > 0 {
			b = append(b, '-')
		}
		b = strconv.AppendUint(b, uint64(f), 10)
	}
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// ja3s is the same for the server: version, cipher, extensions.
func (h *serverHello) ja3s() string {
	b := make([]byte, 0, 64)
	b = strconv.AppendUint(b, uint64(h.version), 10)
	b = append(b, ',')
	b = strconv.AppendUint(b, uint64(h.cipher), 10)
	b = appendDashed(append(b, ','), h.extensions)
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

func appendDashed(b []byte, v []uint16) []byte {
	first := true
	for _, x := range v {
		if isGREASE(x) {
			continue
		}
		if !first {
			b = append(b, '-')
		}
		first = false
		b = strconv.AppendUint(b, uint64(x), 10)
	}
	return b
}

// ja4 is the client fingerprint of FoxIO's public specification (BSD 3-Clause; the other methods of the JA4+ family
// are under another licence and are not here).
func (h *clientHello) ja4(t Transport) string {
	b := make([]byte, 0, 36)
	b = append(b, t.letter())
	b = append(b, h.ja4Version(t)...)
	if h.hasName {
		b = append(b, 'd')
	} else {
		b = append(b, 'i')
	}
	ciphers := withoutGREASE(h.ciphers)
	ext := withoutGREASE(h.extensions)
	b = appendCount(b, len(ciphers))
	b = appendCount(b, len(ext))
	b = h.appendALPN(b)

	slices.Sort(ciphers)
	b = appendHash(append(b, '_'), appendHex(nil, ciphers))

	ext = slices.DeleteFunc(ext, func(x uint16) bool { return x == extServerName || x == extALPN })
	slices.Sort(ext)
	text := appendHex(nil, ext)
	if algs := withoutGREASE(h.sigAlgs); len(text) > 0 && len(algs) > 0 {
		text = appendHex(append(text, '_'), algs)
	}
	return string(appendHash(append(b, '_'), text))
}

func withoutGREASE(v []uint16) []uint16 {
	out := make([]uint16, 0, len(v))
	for _, x := range v {
		if !isGREASE(x) {
			out = append(out, x)
		}
	}
	return out
}

func (h *clientHello) ja4Version(t Transport) string {
	v, found := h.version, false
	for _, x := range h.versions {
		// DTLS counts downwards: the newest has the lowest number.
		if !isGREASE(x) && (!found || (x > v) != (t == DTLS)) {
			v, found = x, true
		}
	}
	switch v {
	case VersionSSL2:
		return "s2"
	case VersionSSL3:
		return "s3"
	case VersionTLS10:
		return "10"
	case VersionTLS11:
		return "11"
	case VersionTLS12:
		return "12"
	case VersionTLS13:
		return "13"
	case VersionDTLS10:
		return "d1"
	case VersionDTLS12:
		return "d2"
	case VersionDTLS13:
		return "d3"
	}
	return "00"
}

func appendCount(b []byte, n int) []byte {
	n = min(n, 99)
	return append(b, '0'+byte(n/10), '0'+byte(n%10))
}

// appendALPN appends the first and last character of the first protocol offered, of its hexadecimal form if either is
// neither letter nor digit.
func (h *clientHello) appendALPN(b []byte) []byte {
	if len(h.offered) == 0 || h.offered[0] == "" {
		return append(b, "00"...)
	}
	p := h.offered[0]
	first, last := p[0], p[len(p)-1]
	if isAlnum(first) && isAlnum(last) {
		return append(b, first, last)
	}
	const digits = "0123456789abcdef"
	return append(b, digits[first>>4], digits[last&15])
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func appendHex(b []byte, v []uint16) []byte {
	const digits = "0123456789abcdef"
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, digits[x>>12], digits[x>>8&15], digits[x>>4&15], digits[x&15])
	}
	return b
}

// appendHash appends the first twelve digits of a hash, zeros for a list that is empty.
func appendHash(b, text []byte) []byte {
	if len(text) == 0 {
		return append(b, "000000000000"...)
	}
	sum := sha256.Sum256(text)
	return hex.AppendEncode(b, sum[:6])
}
