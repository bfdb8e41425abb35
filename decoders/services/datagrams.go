package services

import (
	"bytes"
	"encoding/binary"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// datagramProbe is a protocol over datagrams.
type datagramProbe struct {
	name  string
	looks func(b []byte) bool
	// sure looks at a datagram, the first or a later one, of a flow whose first looked right. nil: that was enough.
	sure func(c *conversation, dir capture.Dir, b []byte) bool
}

// A flow that looked right and is not confirmed by so many datagrams never will be: requests without an answer.
const maxUnsure = 64

// datagrams is the table.
var datagrams = [...]datagramProbe{
	{"dhcp", looksDHCP, nil},                // RFC 2131, 2 and 3
	{"snmp", looksSNMP, answeredSNMP},       // RFC 1157, 4; RFC 3412, 6: an answer
	{"sip", looksSIP, repliedSIP},           // RFC 3261, 7: a reply
	{"krb", kerberosMessage, nil},           // RFC 4120, 7.2.1
	{"rdpeudp", looksRDPEUDP, ackedRDPEUDP}, // MS-RDPEUDP, 3.1.5.1.1: SYN and its answer
	{"dnp3_udp", looksDNP3, nil},            // IEEE 1815, 9.2
	{"ntp", looksNTP, onPort(123)},          // RFC 5905, 7.3; RFC 9327; mode 7: ntpd's ntp_request.h
	{"radius", looksRADIUS, onPort(1812)},   // RFC 2865, 3
}

func probeDatagram(orig, resp []byte, _ bool) decoders.Verdict {
	b := orig
	if len(b) == 0 {
		b = resp
	}
	if which(b) != nil {
		return decoders.Yes
	}
	return decoders.No
}

func which(b []byte) *datagramProbe {
	for i := range datagrams {
		if datagrams[i].looks(b) {
			return &datagrams[i]
		}
	}
	return nil
}

func (d *decoder) datagram(dir capture.Dir, b []byte) error {
	if d.dgram == nil {
		if d.dgram = which(b); d.dgram == nil {
			return errDone
		}
	}
	p := d.dgram
	if p.sure == nil || p.sure(&d.c, dir, b) {
		d.c.say(p.name)
		return errDone
	}
	if d.seen++; d.seen >= maxUnsure {
		return errDone
	}
	return nil
}

func answeredSNMP(_ *conversation, dir capture.Dir, b []byte) bool {
	return dir == capture.Resp && looksSNMP(b)
}

func onPort(port uint16) func(*conversation, capture.Dir, []byte) bool {
	return func(c *conversation, _ capture.Dir, _ []byte) bool { return c.port() == port }
}

// looksDHCP wants an operation and the cookie that tells DHCP from BOOTP.
func looksDHCP(b []byte) bool {
	return len(b) >= 240 && (b[0] == 1 || b[0] == 2) && string(b[236:240]) == "\x63\x82\x53\x63"
}

func looksSNMP(b []byte) bool {
	if len(b) == 0 || b[0] != 0x30 {
		return false
	}
	_, b, ok := element(b)
	if !ok || len(b) < 5 || string(b[:2]) != "\x02\x01" {
		return false
	}
	switch version := b[2]; version {
	case 0, 1: // a community, and one of nine PDUs
		n, rest, ok := element(b[3:])
		return ok && b[3] == 0x04 && n < len(rest) && rest[n] >= 0xa0 && rest[n] <= 0xa8
	case 3: // global data: a number, a size, a byte of flags, a security model
		head, _, ok := field(b[3:], 0x30)
		if !ok {
			return false
		}
		for _, tag := range "\x02\x02\x04\x02" {
			if _, head, ok = field(head, byte(tag)); !ok {
				return false
			}
		}
		return true
	}
	return false
}

func looksSIP(b []byte) bool {
	if len(b) < 12 {
		return false
	}
	l := b[:min(len(b), maxLine)]
	i := bytes.IndexByte(l, '\n')
	if i < 0 {
		return false
	}
	return repliedSIP(nil, 0, b) || bytes.HasSuffix(bytes.TrimRight(l[:i], "\r"), []byte(" SIP/2.0"))
}

func repliedSIP(_ *conversation, _ capture.Dir, b []byte) bool {
	if bytes.HasPrefix(b, []byte(" ")) { // Zeek forgives one
		b = b[1:]
	}
	if !bytes.HasPrefix(b, []byte("SIP/2.0 ")) || len(b) < 12 {
		return false
	}
	_, _, ok := reply(b[8:])
	return ok
}

// looksRDPEUDP wants a SYN, which is padded to the size of a datagram (MS-RDPEUDP, 2.2.2.1 and 3.1.5.1.1).
func looksRDPEUDP(b []byte) bool {
	return len(b) >= 1132 && len(b) <= 1232 && string(b[:4]) == "\xff\xff\xff\xff" && b[7]&1 != 0
}

// ackedRDPEUDP wants the answer: SYN and ACK.
func ackedRDPEUDP(_ *conversation, dir capture.Dir, b []byte) bool {
	return dir == capture.Resp && len(b) >= 8 && b[7]&5 == 5
}

func looksDNP3(b []byte) bool {
	return len(b) > 0 && firstDNP3(capture.Orig, b) == decoders.Yes
}

// looksNTP wants version and mode, and what the mode says of length and stratum, so that most of what is not NTP is
// refused before the port is asked.
func looksNTP(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	version, mode := b[0]>>3&7, b[0]&7
	if version < 1 || version > 4 {
		return false
	}
	switch mode {
	case 6: // control
		return len(b) >= 12 && len(b) >= 12+int(binary.BigEndian.Uint16(b[10:]))
	case 7: // private: sequence, implementation, code; errors and items in 4 bytes
		return b[2] <= 3 || b[2] >= 100
	case 0:
		return false
	}
	// Keys and extensions come in words.
	return len(b) >= 48 && len(b)%4 == 0 && b[1] <= 16
}

// looksRADIUS wants a code and attributes that fill the length exactly.
func looksRADIUS(b []byte) bool {
	const header = 20
	if len(b) < header {
		return false
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if b[0] == 0 || b[0] > 52 || n < header || n > len(b) {
		return false
	}
	for b = b[header:n]; len(b) > 0; {
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return false
		}
		b = b[b[1]:]
	}
	return true
}
