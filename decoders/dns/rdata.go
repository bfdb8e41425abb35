package dns

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"

	mdns "github.com/miekg/dns"
)

const (
	// Bytes of text kept of one record: where Zeek cuts a string of a log (Log::default_max_field_string_bytes).
	textLimit = 4096
	// Data longer than this is not turned into the presentation format: the library builds some of it by repeated
	// concatenation, which is quadratic. Real CAA, HTTPS and TLSA records have under 200 bytes.
	presentLimit = 512
	// Addresses kept of the hints of one record; large providers publish two of each kind.
	hintLimit = 16
)

// rdata reads the data of one record, msg[off:end], into a, and says whether the rest of the message can be trusted.
// It is whole because it is one table of the types.
func (m *message) rdata(a *Answer, off, end int) bool {
	b := m.b
	size := end - off
	a.logged = true
	switch a.Type {
	case typeA:
		if size != 4 {
			m.weird(weirdBadLen, "")
			return false
		}
		a.Addr = netip.AddrFrom4([4]byte(b[off:end]))
	case typeAAAA, typeA6:
		// Zeek reads an A6 record (RFC 2874, historic) as if it were an AAAA one.
		if size < 16 || size != 16 && a.Type == typeAAAA {
			m.weird(weirdBadLen, "")
			return false
		}
		addr := netip.AddrFrom16([16]byte(b[off : off+16])).Unmap()
		if a.Type == typeA6 {
			a.Data = addr.String()
		} else {
			a.Addr = addr
		}
	case typeNS, typeCNAME, typePTR:
		return m.named(a, off, end)
	case typeMX:
		return m.named(a, off+2, end)
	case typeSRV:
		if m.d.toNetBIOS {
			a.logged = false // NBSTAT: a table of names, which is not read
			return true
		}
		return m.named(a, off+6, end)
	case typeSOA:
		next, ok := m.name(&m.target, off)
		if !ok {
			return false
		}
		a.Data = m.text(m.target.lowered())
		if next, ok = m.name(&m.target, next); !ok || next+20 > end {
			a.Data = ""
			return false
		}
		if next+20 != end {
			m.weird(weirdMismatch, "")
		}
	case typeTXT:
		return m.strings(a, "TXT ", off, end)
	case typeSPF:
		return m.strings(a, "SPF ", off, end)
	case typeNAPTR:
		return m.naptr(a, off, end)
	case typeNSEC:
		next, ok := m.name(&m.target, off)
		if !ok || next > end {
			return false
		}
		m.buf = append(m.buf[:0], "NSEC "...)
		m.buf = append(m.buf, a.Name...)
		m.buf = append(m.buf, ' ')
		a.Data = m.text(append(m.buf, m.target.lowered()...))
	case typeWKS:
		a.logged = false
		m.tx.reported++ // Zeek counts it and prints nothing
	case typeBINDS:
		if size < 5 {
			return false
		}
		a.Data = "BIND9 signing signal"
	case typeLOC:
		if size != 16 {
			m.weird(weirdLOC, "")
			return false
		}
		m.decode(a, off, end)
	case typeDS, typeSSHFP, typeRRSIG, typeDNSKEY, typeNSEC3, typeNSEC3PARAM:
		m.decode(a, off, end)
	case typeHINFO, typeCAA, typeSVCB, typeHTTPS:
		a.logged = false
		m.decode(a, off, end)
	case typeNBS, typeOPT, typeTKEY, typeTSIG:
		a.logged = false
	default:
		m.weird(weirdType, strconv.Itoa(int(a.Type)))
		m.buf = append(m.buf[:0], "<unknown type="...)
		m.buf = strconv.AppendUint(m.buf, uint64(a.Type), 10)
		a.Data = m.text(append(m.buf, '>'))
	}
	return true
}

// named reads the name that is, or ends, a record's data.
func (m *message) named(a *Answer, off, end int) bool {
	if off > end {
		m.weird(weirdBadLen, "")
		return false
	}
	next, ok := m.name(&m.target, off)
	if !ok {
		return false
	}
	if next != end {
		m.weird(weirdMismatch, "")
	}
	a.Data = m.text(m.target.lowered())
	return true
}

// strings reads text as Zeek prints it: each string with a word and its length before it.
func (m *message) strings(a *Answer, word string, off, end int) bool {
	b := m.b
	m.buf = m.buf[:0]
	for off < end {
		n := int(b[off])
		off++
		if n > end-off {
			m.weird(weirdText, "")
			a.Data = m.text(m.buf)
			return false
		}
		if len(m.buf) <= textLimit { // beyond it nothing is kept
			if len(m.buf) > 0 {
				m.buf = append(m.buf, ' ')
			}
			m.buf = append(m.buf, word...)
			m.buf = strconv.AppendUint(m.buf, uint64(n), 10)
			m.buf = append(m.buf, ' ')
			m.buf = append(m.buf, b[off:off+n]...)
		}
		off += n
	}
	a.Data = m.text(m.buf)
	return true
}

// naptr reads a NAPTR record (RFC 3403 section 4.1).
func (m *message) naptr(a *Answer, off, end int) bool {
	b := m.b
	if end-off < 5 {
		m.weird(weirdNAPTR, "")
		return false
	}
	m.buf = append(m.buf[:0], "NAPTR "...)
	m.buf = strconv.AppendUint(m.buf, uint64(binary.BigEndian.Uint16(b[off:])), 10)
	m.buf = append(m.buf, ' ')
	m.buf = strconv.AppendUint(m.buf, uint64(binary.BigEndian.Uint16(b[off+2:])), 10)
	off += 4
	var n int
	for range 3 { // flags, service, regexp
		if off >= end || int(b[off]) > end-off-1 {
			m.weird(weirdNAPTR, "")
			return false
		}
		n = int(b[off])
		m.buf = append(m.buf, ' ')
		m.buf = append(m.buf, b[off+1:off+1+n]...)
		off += 1 + n
	}
	if next, ok := m.name(&m.target, off); !ok || next > end {
		m.weird(weirdNAPTR, "")
		return false
	}
	if n > 0 && m.target.n > 0 {
		m.buf = append(m.buf, ' ')
	}
	a.Data = m.text(append(m.buf, m.target.bytes()...))
	return true
}

// decode reads what is left to the library. Data that it refuses is a weird and leaves a without text.
func (m *message) decode(a *Answer, off, end int) {
	h := mdns.RR_Header{Name: ".", Rrtype: a.Type, Class: a.Class, Ttl: a.TTL, Rdlength: uint16(end - off)}
	rr, _, err := mdns.UnpackRRWithHeader(h, m.b[:end], off)
	if err != nil {
		a.logged = false
		if a.Type == typeSVCB || a.Type == typeHTTPS {
			m.weird(m.brokenParam(off, end), "")
		} else {
			m.weird(weirdBadLen, "")
		}
		return
	}
	t := m.buf[:0]
	switch r := rr.(type) {
	case *mdns.RRSIG:
		t = append(t, "RRSIG "...)
		t = strconv.AppendUint(t, uint64(r.TypeCovered), 10)
		t = append(t, ' ')
		// The signer's name stands behind 18 bytes (RFC 4034 section 3.1).
		if _, ok := m.name(&m.target, off+18); !ok {
			a.logged = false
			return
		}
		if m.target.n == 0 {
			t = append(t, "<Root>"...)
		}
		t = append(t, m.target.lowered()...)
	case *mdns.DNSKEY:
		t = strconv.AppendUint(append(t, "DNSKEY "...), uint64(r.Algorithm), 10)
	case *mdns.DS:
		t = strconv.AppendUint(append(t, "DS "...), uint64(r.Algorithm), 10)
		t = strconv.AppendUint(append(t, ' '), uint64(r.DigestType), 10)
	case *mdns.NSEC3:
		t = append(t, "NSEC3"...)
	case *mdns.NSEC3PARAM:
		t = append(t, "NSEC3PARAM"...)
	case *mdns.SSHFP:
		t = append(append(t, "SSHFP: "...), r.FingerPrint...)
	case *mdns.LOC:
		t = strconv.AppendUint(append(t, "LOC:  "...), uint64(r.Size), 10)
		t = strconv.AppendUint(append(t, ' '), uint64(r.HorizPre), 10)
		t = strconv.AppendUint(append(t, ' '), uint64(r.VertPre), 10)
	case *mdns.SVCB:
		a.Hints = hints(r.Value)
		t = m.present(t, rr, end-off)
	case *mdns.HTTPS:
		a.Hints = hints(r.Value)
		t = m.present(t, rr, end-off)
	default:
		t = m.present(t, rr, end-off)
	}
	m.buf = t
	a.Data = m.text(t)
}

// present appends the presentation format of a record, without its owner, class and TTL.
func (m *message) present(t []byte, rr mdns.RR, size int) []byte {
	if size > presentLimit {
		return t
	}
	s, h := rr.String(), rr.Header().String()
	if len(s) < len(h) {
		return t
	}
	return append(append(append(t, typeName(rr.Header().Rrtype)...), ' '), s[len(h):]...)
}

// brokenParam says what is wrong with the data of an SVCB or HTTPS record (RFC 9460 section 2.2).
func (m *message) brokenParam(off, end int) string {
	off = skipName(m.b[:end], off+2)
	if off < 0 {
		return weirdSVCB
	}
	for off+4 <= end {
		key, n := binary.BigEndian.Uint16(m.b[off:]), int(binary.BigEndian.Uint16(m.b[off+2:]))
		if off += 4; n > end-off {
			return weirdParam
		}
		v := m.b[off : off+n]
		off += n
		switch {
		case key == 0 && (n == 0 || n%2 != 0):
			return weirdMandatory
		case key == 1:
			for len(v) > 0 {
				if v[0] == 0 || int(v[0]) >= len(v) {
					return weirdALPN
				}
				v = v[1+int(v[0]):]
			}
		case key == 2 && n > 0:
			return weirdNoALPN
		case key == 3 && n != 2:
			return weirdPort
		case key == 4 && n%4 != 0, key == 6 && n%16 != 0:
			return weirdHint
		}
	}
	return weirdSVCB
}

func hints(kv []mdns.SVCBKeyValue) []netip.Addr {
	var out []netip.Addr
	add := func(ips []net.IP) {
		for _, ip := range ips {
			if a, ok := netip.AddrFromSlice(ip); ok && len(out) < hintLimit {
				out = append(out, a.Unmap())
			}
		}
	}
	for _, v := range kv {
		switch v := v.(type) {
		case *mdns.SVCBIPv4Hint:
			add(v.Hint)
		case *mdns.SVCBIPv6Hint:
			add(v.Hint)
		}
	}
	return out
}
