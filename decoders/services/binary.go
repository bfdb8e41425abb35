package services

import (
	"bytes"
	"encoding/binary"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// begins judges b by the bytes that it must begin with.
func begins(b []byte, with string) decoders.Verdict {
	n := min(len(b), len(with))
	switch {
	case string(b[:n]) != with[:n]:
		return decoders.No
	case n < len(with):
		return decoders.Maybe
	}
	return decoders.Yes
}

// ssh is confirmed when keys are taken into use: SSH_MSG_NEWKEYS, or the session key of SSH 1.
type ssh struct {
	plain
	says   [2]string // banners
	banner [2]bool
	old    bool // SSH 1
}

const (
	// RFC 4253, 4.2: 255 characters.
	maxBanner = 255
	// RFC 4253, 6.1 wants 35,000 bytes; OpenSSH takes 256 KiB.
	maxSSHPacket = 256 << 10
)

// SSH is a conversation of which both sides said that it is SSH: their first lines.
type SSH struct {
	capture.At     // of the second of them
	Flow           *capture.Flow
	Client, Server string
}

func firstSSH(_ capture.Dir, b []byte) decoders.Verdict {
	const magic = "SSH-"
	for i := range min(len(b), len(magic)) {
		if b[i]&^0x20 != magic[i]&^0x20 {
			return decoders.No
		}
	}
	switch {
	case len(b) <= len(magic):
		return decoders.Maybe
	case b[4] != '1' && b[4] != '2':
		return decoders.No
	}
	return decoders.Yes
}

func (r *ssh) read(c *conversation, dir capture.Dir, b []byte) (int, error) {
	if !r.banner[dir] {
		if firstSSH(dir, b) == decoders.No {
			return 0, errDone
		}
		i := bytes.IndexByte(b, '\n')
		if i < 0 || i > maxBanner {
			if len(b) > maxBanner {
				return 0, errDone
			}
			return 0, nil
		}
		r.banner[dir] = true
		// 1.99 is a server that speaks both; then the client's banner decides.
		if v := b[4:]; bytes.HasPrefix(v, []byte("1.")) && !bytes.HasPrefix(v, []byte("1.99")) {
			r.old = true
		}
		if r.says[dir] = string(bytes.TrimRight(b[:i], "\r")); r.banner[dir.Peer()] {
			c.ctx.Emit(&SSH{At: c.ctx.At(), Flow: c.id(), Client: r.says[0], Server: r.says[1]})
		}
		return i + 1, nil
	}
	if !r.banner[dir.Peer()] || len(b) < 6 {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint32(b))
	if n < 1 || n > maxSSHPacket {
		return 0, errDone
	}
	if !r.old {
		const newKeys = 21 // RFC 4253, 12
		if b[5] == newKeys {
			c.say("ssh")
			return 0, errDone
		}
		return 4 + n, nil
	}
	const sessionKey = 3 // SSH_CMSG_SESSION_KEY
	pad := 8 - n%8
	if len(b) < 4+pad+1 {
		return 0, nil
	}
	if b[4+pad] == sessionKey && dir == capture.Orig {
		c.say("ssh")
		return 0, errDone
	}
	return 4 + pad + n, nil
}

// rfb is confirmed by the client's version behind the server's.
type rfb struct {
	plain
	server bool
}

const rfbVersion = len("RFB 003.008\n")

func firstRFB(_ capture.Dir, b []byte) decoders.Verdict { return begins(b, "RFB ") }

func (r *rfb) read(c *conversation, dir capture.Dir, b []byte) (int, error) {
	if dir == capture.Orig && !r.server || len(b) < rfbVersion {
		return 0, nil
	}
	if begins(b, "RFB ") != decoders.Yes || b[7] != '.' {
		return 0, errDone
	}
	if dir == capture.Orig {
		c.say("rfb")
		return 0, errDone
	}
	if r.server {
		return 0, nil // the security types: the client's turn comes first
	}
	r.server = true
	return rfbVersion, nil
}

// mysql is confirmed by the client's answer to the server's handshake. It may ask for TLS there.
type mysql struct {
	plain
	version byte
}

func firstMySQL(dir capture.Dir, b []byte) decoders.Verdict {
	if dir == capture.Orig {
		// Length, and 1 as the number in the sequence.
		switch {
		case len(b) > 3 && b[3] != 1, len(b) > 2 && b[2] != 0:
			return decoders.No
		case len(b) < 4:
			return decoders.Maybe
		}
		return decoders.Maybe // the server's handshake says more
	}
	switch {
	case len(b) > 2 && b[2] != 0, len(b) > 3 && b[3] != 0, len(b) > 4 && b[4] != 9 && b[4] != 10:
		return decoders.No
	}
	// A version number, "5.7.1-x", follows.
	for _, ch := range b[min(len(b), 5):min(len(b), 8)] {
		if ch < 0x20 || ch >= 0x7f {
			return decoders.No
		}
	}
	if len(b) < 8 {
		return decoders.Maybe
	}
	if n := uint24(b); n < 10 || b[5] < '0' || b[5] > '9' {
		return decoders.No
	}
	return decoders.Yes
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

func (r *mysql) read(c *conversation, dir capture.Dir, b []byte) (int, error) {
	if dir == capture.Resp {
		if r.version != 0 {
			return 0, nil
		}
		if len(b) < 5 {
			return 0, nil
		}
		r.version = b[4]
		return 4 + uint24(b), nil
	}
	if r.version == 0 || len(b) < 6 {
		return 0, nil
	}
	n := uint24(b)
	if b[3] != 1 || n < 5 {
		return 0, errDone
	}
	c.say("mysql")
	const clientSSL, client41, sslRequest = 0x0800, 0x0200, 4 + 4 + 1 + 23
	flags := binary.LittleEndian.Uint16(b[4:])
	if r.version != 10 || flags&clientSSL == 0 {
		return 0, errDone
	}
	if flags&client41 == 0 {
		n = min(n, 5)
	} else {
		n = min(n, sslRequest)
	}
	if len(b) < 4+n {
		return 0, nil
	}
	return 4 + n, decoders.ErrSwitch
}

// rdp is confirmed by what the client or the server tells of itself in the connect sequence of T.125. With TLS, which
// the server chooses before that, there is nothing to see of it.
type rdp struct {
	plain
	asked bool
}

const (
	tpktLen = 4
	// What a client says of itself has a few hundred bytes; with monitors and cookies, some thousand.
	maxRDPHead = 4 << 10
)

func firstRDP(dir capture.Dir, b []byte) decoders.Verdict {
	v := begins(b, "\x03\x00")
	if v != decoders.Yes {
		return v
	}
	if len(b) < 7 {
		return decoders.Maybe
	}
	n, code := int(binary.BigEndian.Uint16(b[2:])), b[5]&0xf0
	want := byte(0xe0) // X.224 connection request
	if dir == capture.Resp {
		want = 0xd0 // connection confirm
	}
	if n < 11 || int(b[4]) != n-5 || code != want {
		return decoders.No
	}
	return decoders.Yes
}

func (r *rdp) read(c *conversation, dir capture.Dir, b []byte) (int, error) {
	if len(b) < 6 {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if b[0] != 3 || n < 7 {
		return 0, errDone
	}
	if len(b) < min(n, maxRDPHead) {
		return 0, nil
	}
	body := b[tpktLen:min(n, len(b))]
	switch {
	case body[1]&0xf0 == 0xe0:
		r.asked = true
	case body[1]&0xf0 == 0xd0:
		// MS-RDPBCGR, 2.2.1.2.1: type 2, flags, length 8, the chosen protocol.
		if len(body) >= 15 && body[7] == 2 && binary.LittleEndian.Uint32(body[11:]) != 0 && r.asked {
			return n, decoders.ErrSwitch
		}
	case dir == capture.Orig && bytes.Contains(body, []byte("Duca")), dir == capture.Resp && bytes.Contains(body, []byte("McDn")):
		c.say("rdp")
		return 0, errDone
	}
	return n, nil
}

// mqtt is confirmed by CONNECT.
type mqtt struct{ plain }

func firstMQTT(_ capture.Dir, b []byte) decoders.Verdict {
	if b[0] != 0x10 {
		return decoders.No
	}
	i := 1 // the last byte of the length, which has four at most
	for i < len(b) && b[i] >= 0x80 {
		i++
	}
	switch {
	case i > 4:
		return decoders.No
	case i >= len(b):
		return decoders.Maybe
	}
	return max(begins(b[i+1:], "\x00\x04MQTT"), begins(b[i+1:], "\x00\x06MQIsdp"))
}

func (mqtt) read(c *conversation, dir capture.Dir, b []byte) (int, error) {
	if firstMQTT(dir, b) == decoders.Yes {
		c.say("mqtt")
	}
	return 0, errDone
}

// dnp3 is confirmed by a link header whose check sum is right.
type dnp3 struct{ plain }

const dnp3Header = 10

func firstDNP3(_ capture.Dir, b []byte) decoders.Verdict {
	v := begins(b, "\x05\x64")
	switch {
	case v != decoders.Yes:
		return v
	case len(b) < dnp3Header:
		return decoders.Maybe
	case b[2] < 5 || dnp3Sum(b[:8]) != binary.LittleEndian.Uint16(b[8:]):
		return decoders.No
	}
	return decoders.Yes
}

// dnp3Sum is the CRC of IEEE 1815, 9.2.5: polynomial 0x3D65, reflected, complemented.
func dnp3Sum(b []byte) uint16 {
	var crc uint16
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xA6BC
			} else {
				crc >>= 1
			}
		}
	}
	return ^crc
}

func (dnp3) read(c *conversation, dir capture.Dir, b []byte) (int, error) {
	if firstDNP3(dir, b) == decoders.Yes {
		c.say("dnp3_tcp")
	}
	return 0, errDone
}

// modbus has no mark of its own but a zero, so Zeek looks for it on port 502 alone, where a message is enough.
type modbus struct{ plain }

func firstModbus(_ capture.Dir, b []byte) decoders.Verdict {
	switch {
	case len(b) > 2 && b[2] != 0, len(b) > 3 && b[3] != 0, len(b) > 4 && b[4] > 1:
		return decoders.No
	case len(b) < 8:
		return decoders.Maybe
	case binary.BigEndian.Uint16(b[4:]) < 2 || binary.BigEndian.Uint16(b[4:]) > 260:
		return decoders.No
	}
	return decoders.Yes
}

func (modbus) read(c *conversation, dir capture.Dir, b []byte) (int, error) {
	if firstModbus(dir, b) != decoders.Yes || c.port() != 502 {
		return 0, errDone
	}
	if len(b) < 6+int(binary.BigEndian.Uint16(b[4:])) {
		return 0, nil
	}
	c.say("modbus")
	return 0, errDone
}

// xmpp is confirmed by the client's stream. Elements end at '>', which need not be escaped in attributes, but no client
// leaves it bare there.
type xmpp struct {
	plain
	said     bool
	startTLS bool
}

const maxElement = 4 << 10

func firstXMPP(_ capture.Dir, b []byte) decoders.Verdict {
	return max(begins(b, "<?xml "), begins(b, "<stream:stream "))
}

func (r *xmpp) read(c *conversation, dir capture.Dir, b []byte) (used int, err error) {
	for {
		i := bytes.IndexByte(b[used:], '>')
		if i < 0 {
			if len(b)-used > maxElement {
				return used, errDone
			}
			return used, nil
		}
		el := b[used : used+i+1]
		used += i + 1
		if j := bytes.LastIndexByte(el, '<'); j >= 0 {
			el = el[j+1:]
		}
		name := el[:bytes.IndexAny(el, " \t\r\n/>")]
		if len(name) == 0 {
			continue
		}
		switch string(name) {
		case "stream:stream":
			if dir == capture.Orig && bytes.Contains(el, []byte("jabber:")) {
				r.said = true
				c.say("xmpp")
			}
		case "starttls":
			r.startTLS = r.startTLS || dir == capture.Orig
		case "proceed":
			if dir == capture.Resp && r.startTLS {
				return used, decoders.ErrSwitch
			}
		case "success", "message", "presence", "db:result", "db:verify":
			return used, errDone
		}
	}
}

// kerberosTCP is confirmed by the beginning of a message.
type kerberosTCP struct{ plain }

const (
	// A ticket with a long list of groups has some tens of kilobytes.
	maxKerberos = 1 << 20
	// As much as the beginning of a message takes: two lengths of five bytes at most, version and type.
	kerberosHead = 24
)

func firstKerberosTCP(_ capture.Dir, b []byte) decoders.Verdict {
	if b[0] != 0 || len(b) > 1 && b[1] > 0x10 {
		return decoders.No
	}
	if len(b) < 5 {
		return decoders.Maybe
	}
	n := int(binary.BigEndian.Uint32(b))
	switch {
	case n < 10 || n > maxKerberos || !kerberosTag(b[4]):
		return decoders.No
	case len(b) < 4+min(n, kerberosHead):
		return decoders.Maybe
	case !kerberosMessage(b[4:]):
		return decoders.No
	}
	return decoders.Yes
}

func (kerberosTCP) read(c *conversation, dir capture.Dir, b []byte) (int, error) {
	if firstKerberosTCP(dir, b) == decoders.Yes {
		c.say("krb_tcp")
	}
	return 0, errDone
}

// kerberosTag is the application tag of a message of RFC 4120, 5.10.
func kerberosTag(t byte) bool {
	switch t {
	case 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x74, 0x75, 0x76, 0x7e:
		return true
	}
	return false
}

// kerberosMessage wants the tag, a sequence, version 5 and a message type that repeats the tag. Requests to a KDC
// number their fields from 1, all others from 0.
func kerberosMessage(b []byte) bool {
	if len(b) == 0 || !kerberosTag(b[0]) {
		return false
	}
	typ := b[0] & 0x1f
	_, b, ok := element(b)
	if !ok || len(b) == 0 || b[0] != 0x30 {
		return false
	}
	_, b, ok = element(b)
	field := byte(0xa0)
	if b0 := typ; b0 == 10 || b0 == 12 {
		field = 0xa1
	}
	return ok && len(b) >= 10 && b[0] == field && string(b[1:5]) == "\x03\x02\x01\x05" && b[5] == field+1 &&
		string(b[6:9]) == "\x03\x02\x01" && b[9] == typ
}

// element reads the tag and the length of an ASN.1 element (X.690, 8.1) and returns the length and what is there
// behind it, which may be less, or more.
func element(b []byte) (n int, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, nil, false
	}
	if b[1] < 0x80 {
		return int(b[1]), b[2:], true
	}
	k := int(b[1] & 0x7f)
	if k == 0 || k > 4 || len(b) < 2+k {
		return 0, nil, false
	}
	for _, c := range b[2 : 2+k] {
		n = n<<8 | int(c)
	}
	if n > 1<<24 {
		return 0, nil, false
	}
	return n, b[2+k:], true
}

// field is element for a whole one, cut to its length.
func field(b []byte, tag byte) (inner, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != tag {
		return nil, nil, false
	}
	n, body, ok := element(b)
	if !ok || n > len(body) {
		return nil, nil, false
	}
	return body[:n], body[n:], true
}
