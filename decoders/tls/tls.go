// Package tls reads the handshakes of TLS 1.0 to 1.3, SSLv3, SSLv2 and DTLS 1.0 to 1.3.
//
// In: the ordered bytes of a flow or nested stream (Spec), or datagrams (DatagramSpec); on any port. Out: one
// *Session for a handshake, which is the row of ssl.log, and before it one *Certificate for each certificate that went
// by, which is the row of x509.log. Package quic brings the handshakes of QUIC here (Handshake).
//
// A flow is taken when it begins with a ClientHello, or when what is there of it begins with a ServerHello. The session
// is emitted when both sides have begun to encrypt and a record shows that they did; after that there is nothing to
// learn, and the decoder ends. When that point is not reached, it is emitted at the error, the gap, or the end of the
// flow. As long as it lasts, encrypted records cost their five octets of header and nothing else.
//
// The columns say what Zeek's say, letter for letter, with JA3, JA3S, JA4 and the presence of an encrypted ClientHello
// behind them. Certificates are read by a reader of DER of our own: crypto/x509 refuses much that servers send and
// OpenSSL, and so Zeek, takes (negative serials, odd names, unknown keys), and does not print names as OpenSSL does.
// Nothing is verified: no signature, no chain, no date.
//
// It does not see: what is encrypted, which in TLS 1.3 is everything behind the ServerHello: certificates, the protocol
// chosen, alerts; renegotiations; a handshake that begins after something else on the same stream (STARTTLS), unless
// the decoder of that something ends with decoders.ErrSwitch; stapled OCSP answers; messages behind a lost segment.
package tls

import (
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
)

// Spec registers the decoder for streams.
func Spec(files *file.Cache) decoders.Spec {
	certs := new(store)
	return decoders.Spec{Name: "ssl", Stream: probe, New: func(ctx decoders.Context) decoders.Decoder {
		d := &streamDecoder{hs: Handshake{ctx: ctx, certs: certs, files: files}}
		d.hs.doubter, _ = ctx.(decoders.Doubter)
		return d
	}, Again: decoders.Again{First: []string{"\x16\x03"}, Probe: probeAgain}}
}

// probeAgain wants a client's hello: a server's, behind a loss, begins nothing.
func probeAgain(orig, resp []byte, _ bool) decoders.Verdict {
	v := decoders.No
	for d, b := range [2][]byte{orig, resp} {
		if len(b) == 0 || b[0] != typeHandshake {
			continue
		}
		switch k := handshakeAt(b); {
		case k == unsure:
			v = decoders.Maybe
		case k == fromClient && d == 0:
			return decoders.Yes
		case k == fromClient:
			return decoders.Flipped
		}
	}
	return v
}

// DatagramSpec registers the decoder for datagrams.
func DatagramSpec(files *file.Cache) decoders.Spec {
	certs := new(store)
	return decoders.Spec{Name: "dtls", Datagram: probeDatagram, New: func(ctx decoders.Context) decoders.Decoder {
		return &dtlsDecoder{hs: Handshake{ctx: ctx, certs: certs, files: files, transport: DTLS}}
	}}
}

// probe wants a hello at the beginning of either direction: of the client, or of the server if the client was not
// captured.
func probe(orig, resp []byte, mid bool) decoders.Verdict {
	o, r := helloAt(orig), helloAt(resp)
	verdict := decoders.Yes
	if mid {
		verdict = decoders.Flipped // who sent first in such a flow is a guess; who sends which hello is not
	}
	switch {
	case o == fromClient:
		return decoders.Yes
	case o == fromServer && (len(resp) == 0 || r == fromClient), r == fromClient && len(orig) == 0:
		return verdict
	case r == fromServer && len(orig) == 0:
		return decoders.Yes
	case o == unsure && r != noHello, r == unsure && len(orig) == 0:
		return decoders.Maybe
	case o == fromServer && r == unsure:
		return decoders.Maybe
	}
	return decoders.No
}

type helloKind uint8

const (
	noHello helloKind = iota
	unsure            // too few bytes, or none
	fromClient
	fromServer
)

// helloAt says what b begins with.
func helloAt(b []byte) helloKind {
	if len(b) == 0 {
		return unsure
	}
	if b[0]&0x80 != 0 {
		return oldHelloAt(b)
	}
	// A server may refuse the name it was asked for, in a warning, and go on (RFC 6066 section 3).
	if b[0] == typeAlert {
		if k := headerAt(b, typeAlert); k != fromClient {
			return k
		}
		if b[3] != 0 || b[4] != 2 {
			return noHello
		}
		if len(b) <= 7 {
			return unsure
		}
		b = b[7:]
		if k := handshakeAt(b); k != fromClient {
			return k
		}
		return noHello
	}
	return handshakeAt(b)
}

// headerAt says whether b begins with the header of a record: fromClient stands for yes.
func headerAt(b []byte, typ byte) helloKind {
	if b[0] != typ || len(b) > 1 && b[1] != 3 || len(b) > 2 && b[2] > 4 {
		return noHello
	}
	if len(b) < 5 {
		return unsure
	}
	return fromClient
}

func handshakeAt(b []byte) helloKind {
	if k := headerAt(b, typeHandshake); k != fromClient {
		return k
	}
	n := int(b[3])<<8 | int(b[4])
	if n == 0 || n > maxPlain {
		return noHello
	}
	// The message's header, out of as many records as it takes: there are clients that send one octet in each.
	var head [6]byte
	have := 0
	for len(b) > 5 && have < len(head) {
		n := int(b[3])<<8 | int(b[4])
		have += copy(head[have:], b[5:min(len(b), 5+n)])
		if len(b) < 5+n {
			break
		}
		if b = b[5+n:]; len(b) > 0 && headerAt(b, typeHandshake) == noHello {
			if have < len(head) {
				return noHello
			}
			break
		}
	}
	kind := fromClient
	if have > 0 {
		switch head[0] {
		case msgClientHello:
		case msgServerHello:
			kind = fromServer
		default:
			return noHello
		}
	}
	if have < len(head) {
		return unsure
	}
	n = int(head[1])<<16 | int(head[2])<<8 | int(head[3])
	if n < 36 || n > maxMessage || !(head[4] == 3 && head[5] <= 4 || head[4] == 0x7F) {
		return noHello
	}
	return kind
}

// oldHelloAt tells the hellos of SSLv2, whose lengths must add up.
func oldHelloAt(b []byte) helloKind {
	if len(b) < 3 {
		return unsure
	}
	n := int(b[0]&0x7F)<<8 | int(b[1])
	switch b[2] {
	case 1:
		if len(b) < 11 {
			return unsure
		}
		ciphers, id, challenge := int(b[5])<<8|int(b[6]), int(b[7])<<8|int(b[8]), int(b[9])<<8|int(b[10])
		if !oldVersion(b[3], b[4]) || ciphers == 0 || ciphers%3 != 0 || id != 0 && id != 16 ||
			challenge < 16 || challenge > 32 || n != 9+ciphers+id+challenge {
			return noHello
		}
		return fromClient
	case 4:
		if len(b) < 13 {
			return unsure
		}
		cert, ciphers, id := int(b[7])<<8|int(b[8]), int(b[9])<<8|int(b[10]), int(b[11])<<8|int(b[12])
		if b[3] > 1 || b[4] > 1 || b[5] != 0 || b[6] != 2 || ciphers%3 != 0 || n != 11+cert+ciphers+id {
			return noHello
		}
		return fromServer
	}
	return noHello
}

func oldVersion(major, minor byte) bool {
	return major == 0 && minor == 2 || major == 3 && minor <= 3
}

// probeDatagram wants a ClientHello of DTLS, or the beginning of one.
func probeDatagram(orig, resp []byte, mid bool) decoders.Verdict {
	b, verdict := orig, decoders.Yes
	if len(b) == 0 {
		b = resp
	}
	// RFC 6347 section 4.1: type, version, epoch 0, sequence number, length; then the message's type, length,
	// sequence, fragment.
	const header = 13
	if len(b) < header+12 || b[0] != typeHandshake || b[1] != 0xFE || b[2] != 0xFF && b[2] != 0xFD || b[3] != 0 || b[4] != 0 ||
		b[header] != msgClientHello {
		return decoders.No
	}
	if n := int(b[11])<<8 | int(b[12]); n < 12 || header+n > len(b) {
		return decoders.No
	}
	total := int(b[header+1])<<16 | int(b[header+2])<<8 | int(b[header+3])
	from := int(b[header+6])<<16 | int(b[header+7])<<8 | int(b[header+8])
	part := int(b[header+9])<<16 | int(b[header+10])<<8 | int(b[header+11])
	if total < 36 || total > maxMessage || from+part > total {
		return decoders.No
	}
	if from == 0 && part >= 2 && len(b) >= header+14 && (b[header+12] != 0xFE || b[header+13] < 0xFC) {
		return decoders.No
	}
	return verdict
}

// Content types of records (RFC 8446 section 5.1).
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeApplicationData  = 23
	typeHeartbeat        = 24
)

// maxPlain bounds a record that is read: 2^14, and 2048 that a cipher or compression may add (RFC 5246 section 6.2.3).
// What is encrypted is counted and may claim anything.
const maxPlain = 16<<10 + 2048

// dirs are the two directions' encryption as the records show it.
type dirs [2]bool

func (e *dirs) both() bool { return e[capture.Orig] && e[capture.Resp] }
