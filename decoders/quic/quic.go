// Package quic reads the handshake of QUIC: versions 1 (RFC 9000, 9001) and 2 (RFC 9369), and the drafts 23 to 34.
//
// In: datagrams, on any port. Out: one *tls.Session for a connection, the row of ssl.log: what it says is in the
// ClientHello and the ServerHello, and both travel in Initial packets, which are encrypted with keys that follow from
// the first packet's connection id. The pieces of a hello may be spread over several packets in any order; a Retry or
// a HelloRetryRequest starts over. The session is emitted when the ServerHello was read, or at the end of the flow.
//
// A flow is taken when its first datagram begins with an Initial packet of a version that is known here; it is QUIC
// (Confirm) when that packet can be decrypted, which an accident cannot be.
//
// It does not see: anything behind the ServerHello; gQUIC and other versions; connections whose first packets were not
// captured; a second connection on the same ports once the first one's hello was read.
package quic

import (
	"errors"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/tls"
)

const (
	// maxHello bounds the CRYPTO stream of a direction that is kept. A ClientHello with a post-quantum key has 1.8 KiB; RFC
	// 9001 section 4.3 lets endpoints stop at far less than this.
	maxHello = 16 << 10
	// maxSpans bounds the pieces that do not touch. Chrome sends a hello in about ten, shuffled.
	maxSpans = 64
	// maxIdle bounds the datagrams that come while nothing new is learnt; a server's hello is among its first two.
	maxIdle = 64
	// maxID bounds a connection id (RFC 9000 section 17.2).
	maxID = 20
)

var (
	errDone    = errors.New("quic: nothing more to learn")
	errDecrypt = errors.New("quic: not an Initial packet, or of another connection")
)

// Spec registers the decoder.
func Spec() decoders.Spec {
	return decoders.Spec{Name: "quic", Datagram: probe, New: func(ctx decoders.Context) decoders.Decoder {
		return &decoder{ctx: ctx, hs: tls.NewHandshake(ctx, tls.QUIC)}
	}}
}

// probe wants an Initial packet of the client. RFC 9000 section 14.1 makes its datagram 1,200 octets long; a captured
// one may have been cut, and then cannot be decrypted either.
func probe(orig, _ []byte, _ bool) decoders.Verdict {
	const smallest = 1200
	if len(orig) < smallest {
		return decoders.No
	}
	if p, ok := parseHeader(orig); !ok || p.kind != initial || len(p.dcid) < 8 {
		return decoders.No
	}
	return decoders.Yes
}

type decoder struct {
	ctx       decoders.Context
	hs        *tls.Handshake
	keys      [2]keys // of each direction, for Initial packets
	version   uint32  // of the keys; 0: none yet
	dcid      []byte  // that they come from
	stream    [2]crypto
	ended     [2]bool
	confirmed bool
	told      bool // that a stream had more than is kept
	idle      int
	plain     []byte // scratch
}

// Decode implements decoders.Decoder.
func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	all := len(b)
	news := false
	if dir == capture.Resp && all > 4 && b[0]&0x80 != 0 && b[1]|b[2]|b[3]|b[4] == 0 {
		d.startOver() // a Version Negotiation packet (RFC 9000 section 17.2.1)
	}
	for len(b) > 0 {
		p, ok := parseHeader(b)
		if !ok {
			break // short header, padding, or no QUIC
		}
		switch p.kind {
		case initial:
			ok, done := d.initial(dir, &p, b)
			switch {
			case done:
				d.hs.Finish()
				return all, errDone
			case !ok && !d.confirmed:
				return all, errDecrypt
			}
			news = news || ok
		case retry:
			// RFC 9001 section 5.2: the client starts over, with keys from the connection id that the Retry gave it.
			if dir == capture.Resp {
				d.startOver()
			}
		}
		b = b[p.size:]
	}
	if news {
		d.idle = 0
	} else if d.idle++; d.idle > maxIdle {
		d.hs.Finish()
		return all, errDone
	}
	return all, nil
}

// initial reads an Initial packet; ok says that it could be decrypted, done that no more is to be learnt.
func (d *decoder) initial(dir capture.Dir, p *packet, b []byte) (ok, done bool) {
	frames, ok := d.open(dir, p, b)
	if !ok {
		return false, false
	}
	if !d.confirmed {
		d.confirmed = true
		d.ctx.Confirm("quic")
	}
	s := &d.stream[dir]
	news := s.frames(frames)
	if s.over && !d.told {
		d.told = true
		d.ctx.Weird("quic_crypto_stream_over_limit", "")
	}
	if !news {
		return true, false
	}
	for {
		msg := s.message()
		if msg == nil {
			return true, false
		}
		if err := d.hs.Data(dir, msg); err != nil || d.hs.Settled() {
			return true, true
		}
	}
}

// open decrypts with the keys that the connection has. If they are of another version, the server has moved on to that
// (RFC 9368 section 2.3). If they do not fit and the packet is the client's, its own connection id is tried: it is the
// first one that was captured, or the client has started over.
func (d *decoder) open(dir capture.Dir, p *packet, b []byte) ([]byte, bool) {
	if d.version != 0 {
		k := d.keys
		if p.version != d.version {
			k = deriveKeys(p.version, d.dcid)
		}
		if frames, ok := k[dir].open(d.plain[:0], b, p); ok {
			d.keys, d.version, d.plain = k, p.version, frames
			return frames, true
		}
	}
	if dir != capture.Orig || d.stream[capture.Orig].next > 0 {
		return nil, false
	}
	k := deriveKeys(p.version, p.dcid)
	frames, ok := k[dir].open(d.plain[:0], b, p)
	if ok {
		d.keys, d.version, d.plain = k, p.version, frames
		d.dcid = append(d.dcid[:0], p.dcid...)
		d.stream = [2]crypto{}
	}
	return frames, ok
}

// startOver forgets what followed from the client's connection id.
func (d *decoder) startOver() {
	d.version = 0
	d.stream = [2]crypto{}
}

// Gap implements decoders.Decoder; datagrams have none.
func (d *decoder) Gap(capture.Dir, int64) bool { return true }

// End implements decoders.Decoder.
func (d *decoder) End(dir capture.Dir) {
	d.ended[dir] = true
	if d.ended[dir.Peer()] {
		d.hs.Finish()
	}
}
