package dns

import "encoding/binary"

const (
	headerLen = 12 // RFC 1035 section 4.1.1

	// Longest name that is read, as text. RFC 1035 allows 255 octets on the wire; Zeek reads up to 512 and calls
	// everything from 255 on a weird, and so do we.
	nameLimit = 512
	nameLong  = 255
	labelMax  = 63 // longer ones belong to the NetBIOS name service only
	// Compression pointers followed in one name. They can only point backwards, so that a chain ends by itself; a
	// chain of more than 20 is what Zeek gives up on, and nothing but an attack has it.
	pointerLimit = 20
)

// Weirds by Zeek's names.
const (
	weirdHeader    = "DNS_truncated_len_lt_hdr_len"
	weirdOpcode    = "DNS_unknown_opcode"
	weirdCount     = "DNS_Conn_count_too_large"
	weirdQuestion  = "DNS_truncated_quest_too_short"
	weirdAnswer    = "DNS_truncated_ans_too_short"
	weirdRDLen     = "DNS_truncated_RR_rdlength_lt_len"
	weirdZeroLen   = "DNS_zero_rdlength"
	weirdBadLen    = "DNS_RR_bad_length"
	weirdMismatch  = "DNS_RR_length_mismatch"
	weirdType      = "DNS_RR_unknown_type"
	weirdNameEnd   = "dns_invalid_name"
	weirdForward   = "DNS_label_forward_compress_offset"
	weirdLabelEnd  = "DNS_label_len_gt_pkt"
	weirdLabelLong = "DNS_label_too_long"
	weirdLabelRoom = "DNS_label_len_gt_name_len"
	weirdNameLong  = "DNS_NAME_too_long"
	weirdChain     = "DNS_max_compression_chain_depth_exceeded"
	weirdText      = "DNS_TXT_char_str_past_rdlen"
	weirdNAPTR     = "DNS_NAPTR_RR_too_short"
	weirdZones     = "DNS_DU_invalid_zone_count"
	weirdZoneType  = "DNS_DU_incorrect_zone_type"
	weirdUpdate    = "DNS_dynamic_update_invalid_update"
	weirdPrereq    = "DNS_dynamic_update_invalid_prereq"
	weirdPrereqTTL = "DNS_dynamic_update_prereq_nonzero_ttl"
	weirdLOC       = "dns_invalid_loc_length"
	weirdSVCB      = "DNS_SVCB_wrong_length"
	weirdParam     = "DNS_SVCB_param_value_toobig"
	weirdMandatory = "DNS_SVCB_mandatory_length_invalid"
	weirdALPN      = "DNS_SVCB_alpn_length_invalid"
	weirdNoALPN    = "DNS_SVCB_nodefaultalpn_value"
	weirdPort      = "DNS_SVCB_port_length_invalid"
	weirdHint      = "DNS_SVCB_hint_length_invalid"

	// Ours.
	weirdAnswers = "DNS_answer_limit"  // more records than are kept of one message
	weirdPending = "DNS_pending_limit" // more messages wait for their counterpart than are kept
	weirdLost    = "DNS_stream_lost"   // bytes are missing and the next message cannot be found
)

// header is the fixed part of a message.
type header struct {
	id, flags      uint16
	qd, an, ns, ar int
}

// readHeader reads b[:headerLen]; the caller has checked that it is there.
func readHeader(b []byte) header {
	_ = b[headerLen-1]
	return header{
		id: binary.BigEndian.Uint16(b), flags: binary.BigEndian.Uint16(b[2:]),
		qd: int(binary.BigEndian.Uint16(b[4:])), an: int(binary.BigEndian.Uint16(b[6:])),
		ns: int(binary.BigEndian.Uint16(b[8:])), ar: int(binary.BigEndian.Uint16(b[10:])),
	}
}

func (h header) response() bool { return h.flags&0x8000 != 0 }
func (h header) opcode() uint8  { return uint8(h.flags >> 11 & 15) }
func (h header) aa() bool       { return h.flags&0x0400 != 0 }
func (h header) tc() bool       { return h.flags&0x0200 != 0 }
func (h header) rd() bool       { return h.flags&0x0100 != 0 }
func (h header) ra() bool       { return h.flags&0x0080 != 0 }
func (h header) z() uint8       { return uint8(h.flags >> 4 & 7) }
func (h header) rcode() uint8   { return uint8(h.flags & 15) }

// name is room for one name as text: labels joined by dots, bytes as they are, no last dot.
type name struct {
	b     [nameLimit + 1]byte // one more for the dot behind the last label
	n     int
	lower bool // no upper case in it
}

func (n *name) bytes() []byte { return n.b[:n.n] }

// toLower makes ASCII lower case in place.
func (n *name) toLower() {
	if n.lower {
		return
	}
	for i, c := range n.b[:n.n] {
		if 'A' <= c && c <= 'Z' {
			n.b[i] = c | 0x20
		}
	}
	n.lower = true
}

// read reads the name at msg[off:], following compression (RFC 1035 section 4.1.4), and returns the offset behind it.
// odd is a weird's name or empty; the name is good in spite of it if ok. long allows labels of any length.
func (n *name) read(msg []byte, off int, long bool) (next int, odd string, ok bool) {
	n.n, n.lower = 0, true
	next = -1
	end := len(msg) // where the part ends that labels may come from: a chain never looks beyond its pointer
	for pointers := 0; ; {
		if off >= end {
			return off, weirdNameEnd, false
		}
		l := int(msg[off])
		switch {
		case l == 0:
			if next < 0 {
				next = off + 1
			}
			if n.n >= nameLong {
				odd = weirdNameLong
			}
			if n.n >= 2 && n.b[n.n-1] == '.' {
				n.n--
			}
			return next, odd, true
		case l&0xc0 == 0xc0:
			if off+1 >= end {
				return off, weirdNameEnd, false
			}
			to := l&0x3f<<8 | int(msg[off+1])
			if to >= off {
				return off, weirdForward, false
			}
			if next < 0 {
				next = off + 2
			}
			if pointers++; pointers > pointerLimit {
				if n.n >= 2 && n.b[n.n-1] == '.' {
					n.n--
				}
				return next, weirdChain, true
			}
			off, end = to, off
		case off+1+l > end:
			return off, weirdLabelEnd, false
		case l > labelMax && !long:
			return off, weirdLabelLong, false
		case n.n+l >= nameLimit:
			return off, weirdLabelRoom, false
		default:
			dst := n.b[n.n : n.n+l]
			copy(dst, msg[off+1:])
			if n.lower {
				for _, c := range dst {
					if c-'A' < 26 {
						n.lower = false
						break
					}
				}
			}
			n.b[n.n+l] = '.'
			n.n += l + 1
			off += 1 + l
		}
	}
}

// skipName returns the offset behind the name at msg[off:], or -1.
func skipName(msg []byte, off int) int {
	for off < len(msg) {
		l := int(msg[off])
		switch {
		case l == 0:
			return off + 1
		case l&0xc0 == 0xc0:
			if off+2 > len(msg) {
				return -1
			}
			return off + 2
		}
		off += 1 + l
	}
	return -1
}

// skipRecords returns the offset behind n records, or -1.
func skipRecords(msg []byte, off, n int) int {
	for ; n > 0; n-- {
		if off = skipName(msg, off); off < 0 || off+10 > len(msg) {
			return -1
		}
		if off += 10 + int(binary.BigEndian.Uint16(msg[off+8:])); off > len(msg) {
			return -1
		}
	}
	return off
}
