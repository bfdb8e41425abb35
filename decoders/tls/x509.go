package tls

import (
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// maxNames bounds the subjectAltNames that are kept, by kind. Zeek logs as many; large content networks put a
	// hundred into one certificate.
	maxNames = 500
	// maxDN bounds a name as text. Zeek prints into a buffer of this size.
	maxDN = 2047
	// maxExponent bounds the octets of an RSA exponent that is printed; 65537 has three. Longer ones cost time that
	// grows with the square of their length.
	maxExponent = 64
	// What is remembered of certificates that were read: a busy network sees a few thousand different ones, mostly the
	// same hundred. Longer certificates are read each time, so that the store has a bound in bytes.
	maxStored     = 2048
	maxStoredSize = 4 << 10
)

// store remembers certificates by their hash. What it gives never depends on what it remembers.
type store struct {
	mu sync.Mutex
	m  map[[32]byte]*X509
}

// get reads a certificate; nil if it is none.
func (s *store) get(der []byte) *X509 {
	e, _, ok := next(der)
	if !ok || e.tag != tagSequence {
		return nil
	}
	sum := sha256.Sum256(e.all) // what stands behind the certificate is not hashed, as OpenSSL does not read it
	if len(e.all) > maxStoredSize {
		return parseX509(e.body, sum)
	}
	s.mu.Lock()
	x, found := s.m[sum]
	s.mu.Unlock()
	if found {
		return x
	}
	x = parseX509(e.body, sum)
	s.mu.Lock()
	if s.m == nil || len(s.m) >= maxStored {
		s.m = make(map[[32]byte]*X509)
	}
	s.m[sum] = x
	s.mu.Unlock()
	return x
}

// parseX509 reads the contents of a Certificate (RFC 5280 section 4.1). Nil says that it does not have that form.
// Dates, keys and extensions that cannot be read are left out.
func parseX509(b []byte, sum [32]byte) *X509 {
	tbs, ok := want(&b, tagSequence)
	if !ok {
		return nil
	}
	sigAlg, ok := want(&b, tagSequence)
	if !ok {
		return nil
	}
	if _, ok = want(&b, tagBits); !ok {
		return nil
	}
	x := &X509{Fingerprint: hex.EncodeToString(sum[:]), Version: 1, PathLen: -1}
	if v, ok := optional(&tbs, 0xA0); ok {
		if v, ok = want(&v, tagInt); !ok {
			return nil
		}
		if n, ok := smallInt(v); ok {
			x.Version = n + 1
		}
	}
	serial, ok := want(&tbs, tagInt)
	if !ok || len(serial) == 0 {
		return nil
	}
	if _, ok = want(&tbs, tagSequence); !ok { // the algorithm once more
		return nil
	}
	issuer, ok1 := want(&tbs, tagSequence)
	validity, ok2 := want(&tbs, tagSequence)
	subject, ok3 := want(&tbs, tagSequence)
	spki, ok4 := want(&tbs, tagSequence)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return nil
	}
	x.Serial = serialText(serial)
	sigOID, ok := want(&sigAlg, tagOID)
	if !ok {
		return nil
	}
	x.SigAlg = algorithmName(sigOID)
	if x.SigAlg == "" {
		x.SigAlg = dotted(sigOID)
	}
	var okI, okS bool
	x.Issuer, _, okI = nameText(issuer)
	x.Subject, x.CommonName, okS = nameText(subject)
	if !okI || !okS {
		return nil
	}
	for _, t := range []*time.Time{&x.NotBefore, &x.NotAfter} {
		e, rest, ok := next(validity)
		if !ok || e.tag != tagUTCTime && e.tag != tagGenTime {
			return nil
		}
		*t, validity = parseTime(e.tag, e.body), rest
	}
	if !x.key(spki) {
		return nil
	}
	optional(&tbs, 0x81) // issuerUniqueID, subjectUniqueID
	optional(&tbs, 0x82)
	if ext, ok := optional(&tbs, 0xA3); ok {
		list, ok := want(&ext, tagSequence)
		if !ok || !x.extensions(list) {
			return nil
		}
	}
	return x
}

// serialText prints an INTEGER as OpenSSL's i2a_ASN1_INTEGER: octets in upper case hexadecimal, a minus before it if
// it is negative, a line break after each 35.
func serialText(b []byte) string {
	var out []byte
	if b[0] >= 0x80 {
		out = append(out, '-')
		b = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))), new(big.Int).SetBytes(b)).Bytes()
	} else if b[0] == 0 && len(b) > 1 {
		b = b[1:]
	}
	const digits = "0123456789ABCDEF"
	for i, c := range b[:min(len(b), maxDN/2)] {
		if i > 0 && i%35 == 0 {
			out = append(out, '\\', '\n')
		}
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}

// parseTime reads a UTCTime or GeneralizedTime. Zero if it cannot be read.
func parseTime(tag byte, b []byte) time.Time {
	s := string(b[:min(len(b), 32)])
	if tag == tagUTCTime {
		if len(s) < 11 || len(s) > 17 || s[len(s)-1] != 'Z' {
			return time.Time{}
		}
		// RFC 5280 section 4.1.2.5.1: two digits are of the years 1950 to 2049.
		if s[0] < '5' {
			s = "20" + s
		} else {
			s = "19" + s
		}
	}
	if len(s) < 12 {
		return time.Time{}
	}
	head, tail := s[:12], s[12:]
	seconds := "00"
	if len(tail) >= 2 && tail[0] >= '0' && tail[0] <= '9' {
		seconds, tail = tail[:2], tail[2:]
	}
	t, err := time.Parse("20060102150405", head+seconds)
	if err != nil {
		return time.Time{}
	}
	if strings.HasPrefix(tail, ".") {
		tail = strings.TrimLeft(tail[1:], "0123456789")
	}
	if len(tail) == 5 && (tail[0] == '+' || tail[0] == '-') {
		z, err := time.Parse("-0700", tail)
		if err != nil {
			return time.Time{}
		}
		_, off := z.Zone()
		t = t.Add(-time.Duration(off) * time.Second)
	}
	return t
}

// nameText prints a Name as X509_NAME_print_ex with XN_FLAG_RFC2253 (RFC 2253, last part first; what is not ASCII as
// escaped UTF-8) and gives the last common name in it. Not ok says that it is no Name.
func nameText(b []byte) (text, cn string, ok bool) {
	type part struct {
		first bool // of its set
		oid   []byte
		value element
	}
	var parts []part
	for len(b) > 0 {
		set, ok := want(&b, tagSet)
		if !ok {
			return "", "", false
		}
		for first := true; len(set) > 0; first = false {
			pair, ok := want(&set, tagSequence)
			if !ok {
				return "", "", false
			}
			oid, ok := want(&pair, tagOID)
			if !ok {
				return "", "", false
			}
			value, _, ok := next(pair)
			if !ok {
				return "", "", false
			}
			parts = append(parts, part{first, oid, value})
			if string(oid) == oidCommonName {
				cn = printable(value)
			}
		}
	}
	out := make([]byte, 0, 128)
	for i := len(parts) - 1; i >= 0 && len(out) <= maxDN; i-- {
		p := parts[i]
		if name := attributeName(p.oid); name != "" {
			out = append(append(out, name...), '=')
			out = appendValue(out, p.value)
		} else {
			out = append(append(out, dotted(p.oid)...), '=')
			out = appendDump(out, p.value)
		}
		if i > 0 {
			if p.first {
				out = append(out, ',')
			} else {
				out = append(out, '+')
			}
		}
	}
	return string(out[:min(len(out), maxDN)]), cn, true
}

// width is how many octets a character of a string type has, 0 for UTF-8, -1 for what is no string.
func width(tag byte) int {
	switch tag {
	case tagUTF8:
		return 0
	case 0x12, 0x13, 0x14, tagIA5, tagUTCTime, tagGenTime, 0x1A: // Numeric, Printable, Teletex, Visible
		return 1
	case 0x1C: // Universal
		return 4
	case 0x1E: // BMP
		return 2
	}
	return -1
}

// inUTF8 gives a string as UTF-8; T61 is read as Latin-1, as everybody does.
func inUTF8(e element) ([]byte, bool) {
	var out []byte
	switch width(e.tag) {
	case 0:
		return e.body, true
	case 1:
		for _, c := range e.body {
			out = utf8.AppendRune(out, rune(c))
		}
	case 2:
		if len(e.body)%2 != 0 {
			return nil, false
		}
		for _, r := range utf16.Decode(u16s(e.body)) {
			out = utf8.AppendRune(out, r)
		}
	case 4:
		if len(e.body)%4 != 0 {
			return nil, false
		}
		for b := e.body; len(b) > 0; b = b[4:] {
			out = utf8.AppendRune(out, rune(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3])))
		}
	default:
		return nil, false
	}
	return out, true
}

// printable gives a string of a certificate as UTF-8, whatever ASN.1 type it has, and at most maxDN bytes of it.
func printable(e element) string {
	b, _ := inUTF8(e)
	return string(b[:min(len(b), maxDN)])
}

func appendValue(out []byte, e element) []byte {
	b, ok := inUTF8(e)
	if !ok {
		return appendDump(out, e)
	}
	const digits = "0123456789ABCDEF"
	for i, c := range b[:min(len(b), maxDN)] {
		switch {
		case c == ',' || c == '+' || c == '"' || c == '\\' || c == '<' || c == '>' || c == ';',
			i == 0 && (c == '#' || c == ' '), i == len(b)-1 && c == ' ':
			out = append(out, '\\', c)
		case c < ' ' || c >= 0x7F:
			out = append(out, '\\', digits[c>>4], digits[c&15])
		default:
			out = append(out, c)
		}
	}
	return out
}

// appendDump prints a value that has no textual form: # and its DER in hexadecimal.
func appendDump(out []byte, e element) []byte {
	out = append(out, '#')
	const digits = "0123456789ABCDEF"
	for _, c := range e.all[:min(len(e.all), maxDN)] {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return out
}

// key reads a SubjectPublicKeyInfo. Not ok says that it does not have that form; a key of another kind is no fault.
func (x *X509) key(b []byte) bool {
	alg, ok := want(&b, tagSequence)
	if !ok {
		return false
	}
	oid, ok := want(&alg, tagOID)
	if !ok {
		return false
	}
	bits, ok := want(&b, tagBits)
	if !ok {
		return false
	}
	if x.KeyAlg = algorithmName(oid); x.KeyAlg == "" {
		x.KeyAlg = dotted(oid)
	}
	if len(bits) < 2 {
		return true
	}
	key := bits[1:] // after the count of unused bits
	switch x.KeyAlg {
	case "rsaEncryption", "md5WithRSAEncryption", "rsassaPss":
		// Microsoft's terminal servers call the key md5WithRSAEncryption.
		seq, ok := want(&key, tagSequence)
		if !ok {
			return true
		}
		n, ok1 := want(&seq, tagInt)
		e, ok2 := want(&seq, tagInt)
		if !ok1 || !ok2 {
			return true
		}
		if x.KeyAlg == "rsassaPss" {
			return true
		}
		x.KeyType, x.KeyBits = "rsa", bitLen(n)
		if len(e) <= maxExponent {
			x.Exponent = new(big.Int).SetBytes(e).String()
		}
	case "id-ecPublicKey":
		if curve, ok := want(&alg, tagOID); ok {
			if name, bits := curveName(curve); name != "" {
				x.KeyType, x.Curve, x.KeyBits = "ecdsa", name, bits
			}
		}
	case "dsaEncryption":
		params, ok := want(&alg, tagSequence)
		if !ok {
			return true
		}
		if p, ok := want(&params, tagInt); ok {
			x.KeyType, x.KeyBits = "dsa", bitLen(p)
		}
	}
	return true
}

func bitLen(b []byte) int {
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	if len(b) == 0 {
		return 0
	}
	n := 8 * (len(b) - 1)
	for c := b[0]; c != 0; c >>= 1 {
		n++
	}
	return n
}

func (x *X509) extensions(b []byte) bool {
	for len(b) > 0 {
		ext, ok := want(&b, tagSequence)
		if !ok {
			return false
		}
		oid, ok := want(&ext, tagOID)
		if !ok {
			return false
		}
		optional(&ext, tagBool)
		value, ok := want(&ext, tagOctets)
		if !ok {
			return false
		}
		switch string(oid) {
		case oidBasicConstraints:
			x.constraints(value)
		case oidSubjectAltName:
			x.altNames(value)
		}
	}
	return true
}

// constraints reads basicConstraints (RFC 5280 section 4.2.1.9).
func (x *X509) constraints(b []byte) {
	seq, ok := want(&b, tagSequence)
	if !ok {
		return
	}
	x.Constrained = true
	if ca, ok := optional(&seq, tagBool); ok && len(ca) == 1 {
		x.CA = ca[0] != 0
	}
	if n, ok := optional(&seq, tagInt); ok {
		if n, ok := smallInt(n); ok {
			x.PathLen = n
		}
	}
}

// altNames reads subjectAltName (RFC 5280 section 4.2.1.6).
func (x *X509) altNames(b []byte) {
	x.HasNames = true
	seq, ok := want(&b, tagSequence)
	if !ok {
		return
	}
	add := func(list *[]string, s string) {
		if len(*list) < maxNames {
			*list = append(*list, s)
		}
	}
	for len(seq) > 0 {
		e, rest, ok := next(seq)
		if !ok {
			return
		}
		seq = rest
		switch e.tag {
		case 0x81:
			add(&x.Email, string(e.body))
		case 0x82:
			add(&x.DNS, string(e.body))
		case 0x86:
			add(&x.URI, string(e.body))
		case 0x87:
			if a, ok := netip.AddrFromSlice(e.body); ok {
				add(&x.IP, a.Unmap().String())
			}
		}
	}
}

// Matches says whether a host name is one that the certificate was made for: one of its subjectAltNames, or, if it has
// none of those, its common name. A wildcard stands for the end of the first of at least three labels, as in RFC 6125
// section 6.4.3. Letters are compared as they are, as Zeek does it.
func (x *X509) Matches(host string) bool {
	if !x.HasNames {
		return matchName(host, x.CommonName)
	}
	for _, n := range x.DNS {
		if matchName(host, n) {
			return true
		}
	}
	return false
}

func matchName(host, name string) bool {
	if host == name {
		return true
	}
	star := strings.IndexByte(name, '*')
	dot := strings.IndexByte(name, '.')
	if star < 0 || dot != star+1 || strings.IndexByte(name[dot+1:], '.') < 0 {
		return false
	}
	hostDot := strings.IndexByte(host, '.')
	return hostDot >= 0 && host[hostDot:] == name[dot:] && strings.HasPrefix(host, name[:star])
}
