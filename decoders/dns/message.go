package dns

import (
	"encoding/binary"
	"strconv"
)

const (
	// Questions in one message above which Zeek takes it for something else (dns_max_queries). Nobody answers more than
	// one; mDNS hosts ask a dozen at once.
	questionLimit = 25
	// Records kept of one message. Zeek writes the first 100 to its log; a datagram of 64 KiB can name 4,000, each of
	// which would cost us ten times what it cost its sender.
	answerLimit = 256
	// Oddities told of one message: a broken one repeats them for each record.
	weirdLimit = 8
)

// message is one message while it is read. b is borrowed.
type message struct {
	d      *decoder
	b      []byte
	h      header
	off    int
	tx     *Transaction
	update bool   // RFC 2136: sections have other meanings
	zclass uint16 // class of its zone
	last   *Answer
	said   [weirdLimit]string
	nsaid  int

	// Scratch. It is here and not in the decoder because flows are many and live long, and messages lie on the stack.
	owner, target name
	buf           []byte
}

// weird reports an oddity, once a message.
func (m *message) weird(name, addl string) {
	for _, s := range m.said[:m.nsaid] {
		if s == name {
			return
		}
	}
	if m.nsaid < weirdLimit {
		m.said[m.nsaid] = name
		m.nsaid++
		m.d.ctx.Weird(name, addl)
	}
}

// name reads a name at off into n.
func (m *message) name(n *name, off int) (next int, ok bool) {
	next, odd, ok := n.read(m.b, off, m.d.toNetBIOS)
	if odd != "" {
		m.weird(odd, "")
	}
	return next, ok
}

// lowered gives the name in lower case, borrowed until the next read.
func (n *name) lowered() []byte {
	n.toLower()
	return n.b[:n.n]
}

// text makes a string of t, of strings that are there already if it can, and bounded.
func (m *message) text(t []byte) string {
	if len(t) > textLimit {
		t = t[:textLimit]
	}
	if string(t) == m.tx.Query {
		return m.tx.Query
	}
	if m.last != nil {
		if string(t) == m.last.Data {
			return m.last.Data
		}
		if string(t) == m.last.Name {
			return m.last.Name
		}
	}
	return string(t)
}

// read reads the message into m.tx and says whether header, questions and answers were all good.
func (m *message) read() bool {
	m.off = headerLen
	if m.h.qd > questionLimit {
		m.weird(weirdCount, strconv.Itoa(m.h.qd)+" > "+strconv.Itoa(questionLimit))
		m.d.ctx.Skip()
		m.d.ctx.Refute("dns")
		m.d.refuted = true
		return false
	}
	m.update = m.h.opcode() == opUpdate && !m.d.netbios
	if m.update {
		return m.readUpdate()
	}
	for range m.h.qd {
		if !m.question() {
			return false
		}
	}
	for range m.h.an {
		if !m.record(false, false) {
			return false
		}
	}
	m.extra()
	return true
}

func (m *message) question() bool {
	tx := m.tx
	off, ok := m.name(&m.owner, m.off)
	if !ok {
		return false
	}
	if off+4 > len(m.b) {
		m.weird(weirdQuestion, "")
		return false
	}
	qtype, class := binary.BigEndian.Uint16(m.b[off:]), binary.BigEndian.Uint16(m.b[off+2:])
	m.off = off + 4
	if m.h.response() {
		if m.h.an == 0 && m.h.ns == 0 && m.h.ar == 0 {
			tx.Rejected = true
		}
		if tx.asked {
			return true
		}
	} else {
		tx.asked = true
		tx.TC, tx.RD, tx.Z = m.h.tc(), m.h.rd(), m.h.z()
	}
	tx.Type, tx.Class = qtype, class
	tx.Questions++
	tx.Sent = string(m.owner.bytes())
	tx.Query = tx.Sent
	if !m.owner.lower {
		tx.Query = string(m.owner.lowered())
	}
	if m.d.toNetBIOS {
		var buf [16]byte
		if s := netbiosName(buf[:0], m.owner.bytes()); len(s) > 0 {
			tx.Query = string(s)
		}
	}
	return true
}

// record reads one record of the answer section, or of an update's prerequisites (pre) or updates (upd).
func (m *message) record(pre, upd bool) bool {
	b := m.b
	off, ok := m.name(&m.owner, m.off)
	if !ok {
		return false
	}
	if off+10 > len(b) {
		m.weird(weirdAnswer, "")
		return false
	}
	a := Answer{
		Type: binary.BigEndian.Uint16(b[off:]), Class: binary.BigEndian.Uint16(b[off+2:]),
		TTL: binary.BigEndian.Uint32(b[off+4:]), Len: int(binary.BigEndian.Uint16(b[off+8:])),
	}
	off += 10
	end := off + a.Len
	if end > len(b) {
		m.weird(weirdRDLen, "")
		return false
	}
	if !m.h.response() {
		m.off = end // known answers of an mDNS query, a query's own update: nothing that was answered
		return true
	}
	a.Name = m.text(m.owner.lowered())
	switch {
	case pre || upd:
		ok = m.updateRecord(&a, off, end, pre)
	case a.Len == 0 && end < len(b):
		m.weird(weirdZeroLen, "")
		return false
	default:
		ok = m.rdata(&a, off, end)
	}
	m.off = end
	if !ok && a.Data == "" {
		return false
	}
	if len(m.tx.Answers) >= answerLimit {
		m.weird(weirdAnswers, "")
		return ok
	}
	if a.logged {
		m.tx.reported++
	}
	if m.tx.Answers == nil {
		m.tx.Answers = make([]Answer, 0, min(max(m.h.an, 1), 8))
	}
	m.tx.Answers = append(m.tx.Answers, a)
	m.last = &m.tx.Answers[len(m.tx.Answers)-1]
	return ok
}

// extra looks at what stands behind the answers, quietly: an OPT record, and bytes that belong to nothing.
func (m *message) extra() {
	tx, b := m.tx, m.b
	off := m.off
	if off = skipRecords(b, off, m.h.ns); off < 0 {
		return
	}
	for range m.h.ar {
		start := off
		if off = skipRecords(b, off, 1); off < 0 {
			return
		}
		at := skipName(b, start)
		if binary.BigEndian.Uint16(b[at:]) != typeOPT {
			continue
		}
		ext, flags := b[at+4], binary.BigEndian.Uint16(b[at+6:])
		if m.h.response() {
			tx.RCode |= uint16(ext) << 4
		} else {
			tx.EDNS, tx.UDPSize, tx.DNSSEC = true, binary.BigEndian.Uint16(b[at+2:]), flags&0x8000 != 0
		}
	}
	tx.Trailing += len(b) - off
}

// readUpdate reads a dynamic update (RFC 2136): one zone, prerequisites, updates.
func (m *message) readUpdate() bool {
	if m.h.qd != 1 {
		m.weird(weirdZones, strconv.Itoa(m.h.qd))
		return false
	}
	off, ok := m.name(&m.owner, m.off)
	if !ok {
		return false
	}
	if off+4 > len(m.b) {
		m.weird(weirdAnswer, "")
		return false
	}
	if binary.BigEndian.Uint16(m.b[off:]) != typeSOA {
		m.weird(weirdZoneType, "")
		return false
	}
	m.zclass = binary.BigEndian.Uint16(m.b[off+2:])
	m.off = off + 4
	if m.tx.Query == "" && m.tx.Questions == 0 {
		// The zone is what an update is about. Zeek does not log it, so it does not count as a question.
		m.tx.Sent = string(m.owner.bytes())
		m.tx.Query = string(m.owner.lowered())
		m.tx.Type, m.tx.Class = typeSOA, m.zclass
	}
	for range m.h.an {
		if !m.record(true, false) {
			return false
		}
	}
	for range m.h.ns {
		if !m.record(false, true) {
			return false
		}
	}
	return true
}

// updateRecord says what one record of an update asks for, in Zeek's words.
func (m *message) updateRecord(a *Answer, off, end int, pre bool) bool {
	t := m.buf[:0]
	name := typeName(a.Type)
	if pre { // RFC 2136 section 2.4
		switch {
		case a.TTL != 0:
			m.weird(weirdPrereqTTL, strconv.FormatUint(uint64(a.TTL), 10))
			return true
		case (a.Class == classANY || a.Class == classNONE) && a.Len == 0 || a.Class == m.zclass:
		default:
			m.weird(weirdPrereq, "")
			return true
		}
		switch {
		case a.Class == classNONE && a.Type == typeANY:
			t = append(append(t, "pre: NameNotInUse "...), a.Name...)
		case a.Class == classANY && a.Type == typeANY:
			t = append(append(t, "pre: NameInUse "...), a.Name...)
		case a.Class == classNONE:
			t = append(append(append(append(t, "pre: NoRRSet "...), name...), ' '), a.Name...)
		default:
			t = append(append(append(append(t, "pre: RRSetExists "...), name...), ' '), a.Name...)
		}
	} else { // section 2.5
		switch {
		case a.Class == classANY && a.TTL == 0 && a.Len == 0:
			if a.Type == typeANY {
				t = append(append(t, "del: RRSet * "...), a.Name...)
			} else {
				t = append(append(t, "del: RRSet "...), name...)
			}
		case a.Class == classNONE && a.TTL == 0, a.Class == m.zclass:
			if a.Len == 0 {
				return true
			}
			ok := m.rdata(a, off, end)
			if !a.logged {
				return ok
			}
			t = append(m.buf[:0], "add: "...)
			if a.Addr.IsValid() {
				t = append(append(append(append(t, name...), ' '), a.Name...), ' ')
			}
			a.Data = m.text(append(t, a.String()...))
			return ok
		default:
			m.weird(weirdUpdate, "")
			return true
		}
	}
	m.buf = t
	a.Data, a.logged = m.text(t), true
	return true
}
