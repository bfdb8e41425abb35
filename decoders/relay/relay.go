// Package relay recognises programs that carry connections past a firewall by what they say first.
//
// In: the first bytes of streams and datagrams. Out: *Session as soon as the program is known. Nothing else is read of the
// conversation; where another protocol follows in the clear (the connections that bore accepts, the TLS of frp) the stream
// is given back for it.
//
//	bore      JSON that ends in a zero byte, ekzhang/bore src/shared.rs
//	frp       a byte before TLS, fatedier/frp pkg/util/net/tls.go; or a login, pkg/msg, behind yamux's frames or without
//	gsocket   packets of 128 bytes with a version, hackerschoice/gsocket lib/gsocket-engine.h
//	WireGuard the first message of a handshake, wireguard.com/protocol; Tailscale's discovery, disco/disco.go
//	OpenVPN   a client's reset over datagrams, openvpn.net security overview
package relay

import (
	"bytes"
	"encoding/binary"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// Session is a relay's connection. Program is bore, frp, gsocket, WireGuard, Tailscale, OpenVPN.
type Session struct {
	capture.At
	Flow    *capture.Flow
	Program string
	Says    string // what it was known by, for people
}

// Spec registers the decoder, before those of TLS and of JSON.
func Spec() decoders.Spec {
	return decoders.Spec{Name: "relay", Stream: probe, Datagram: probeDatagram, New: func(ctx decoders.Context) decoders.Decoder {
		return &decoder{ctx: ctx}
	}}
}

const (
	// maxHello is a message of bore's: a UUID and its frame.
	maxHello = 128
	// gsLen is the length of gsocket's first packet, gsAnswer of all others.
	gsLen, gsAnswer = 128, 32
	// maxLogin is how much of a login of frp is looked at.
	maxLogin = 2 << 10
)

func probe(orig, resp []byte, mid bool) decoders.Verdict {
	if mid || len(orig) == 0 {
		return decoders.No // all of these are begun by the client
	}
	switch orig[0] {
	case '{':
		_, v := hello(orig)
		return v
	case 1, 2:
		return gsocket(orig, resp)
	case 0x17:
		return early(orig)
	case 0, 'o':
		return login(orig)
	}
	return decoders.No
}

// hello judges the first message of bore's client: {"Hello":0}, {"Accept":"uuid"}, or {"Authenticate":"..."}, behind the
// server's challenge.
func hello(b []byte) (accept bool, v decoders.Verdict) {
	for _, s := range [...]string{`{"Hello":`, `{"Accept":"`, `{"Authenticate":"`} {
		n := min(len(b), len(s))
		if string(b[:n]) != s[:n] {
			continue
		}
		i := bytes.IndexByte(b[:min(len(b), maxHello)], 0)
		switch {
		case i < 0 && len(b) >= maxHello:
			return false, decoders.No
		case i < 0:
			return false, decoders.Maybe
		case b[i-1] != '}':
			return false, decoders.No
		}
		return s[2] == 'A' && s[3] == 'c', decoders.Yes
	}
	return false, decoders.No
}

// gsocket: type (listen, connect), version 1.x, flags, and 28 bytes that are zero in what its own client sends; a packet of
// another type and zeros from the server makes up for others. See struct _gs_listen.
func gsocket(orig, resp []byte) decoders.Verdict {
	switch {
	case len(orig) > 1 && orig[1] != 1, len(orig) > 2 && orig[2] > 9, len(orig) > gsLen && len(resp) == 0 && len(orig) != gsLen+gsAnswer:
		return decoders.No
	case len(orig) < gsLen:
		return decoders.Maybe
	}
	if zero(orig[4:gsAnswer]) && !zero(orig[gsAnswer:gsLen]) {
		return decoders.Yes
	}
	switch {
	case len(resp) == 0:
		return decoders.Maybe
	case resp[0] == 0 || resp[0] > 8:
		return decoders.No
	case len(resp) < gsAnswer:
		return decoders.Maybe
	case zero(resp[4:gsAnswer]):
		return decoders.Yes
	}
	return decoders.No
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// early judges TLS behind one byte: application data is no such record.
func early(b []byte) decoders.Verdict {
	const hello = "\x16\x03"
	n := min(len(b)-1, len(hello))
	switch {
	case string(b[1:1+n]) != hello[:n], len(b) > 3 && b[3] > 4, len(b) > 6 && b[6] != 1:
		return decoders.No
	case len(b) < 7:
		return decoders.Maybe
	}
	return decoders.Yes
}

// login judges a login of frp: 'o', a length of eight bytes, JSON with a key that no other has. Behind frames of yamux
// (version 0, type, flags, stream, length) if those come first.
func login(b []byte) decoders.Verdict {
	const frame = 12
	for range 4 {
		if b[0] != 0 {
			break
		}
		if len(b) < 2 || b[1] > 3 {
			return verdict(len(b) < 2)
		}
		if len(b) < frame {
			return verdict(b[1] <= 1 && zero(b[2:min(len(b), 3)]))
		}
		if binary.BigEndian.Uint32(b[4:]) > 1<<10 || b[2] != 0 {
			return decoders.No
		}
		if b = b[frame:]; len(b) == 0 {
			return decoders.Maybe
		}
	}
	const head = 9
	if b[0] != 'o' {
		return decoders.No
	}
	if len(b) < head+1 {
		return verdict(zero(b[1:min(len(b), 7)]))
	}
	if n := binary.BigEndian.Uint64(b[1:]); n < 20 || n > 64<<10 || b[head] != '{' {
		return decoders.No
	}
	js := b[:min(len(b), maxLogin)]
	if bytes.Contains(js, []byte(`"privilege_key"`)) || bytes.Contains(js, []byte(`"run_id"`)) && bytes.Contains(js, []byte(`"pool_count"`)) {
		return decoders.Yes
	}
	return verdict(len(b) < maxLogin)
}

func verdict(maybe bool) decoders.Verdict {
	if maybe {
		return decoders.Maybe
	}
	return decoders.No
}

const (
	// Lengths of WireGuard's messages 1 and 2, and how Tailscale's discovery begins.
	wgInitiation, wgResponse = 148, 92
	disco                    = "TS\xf0\x9f\x92\xac"
)

func probeDatagram(orig, resp []byte, _ bool) decoders.Verdict {
	if p, _ := datagram(orig); p != "" {
		return decoders.Yes
	}
	if p, _ := datagram(resp); p != "" && len(orig) == 0 {
		return decoders.Yes
	}
	return decoders.No
}

func datagram(b []byte) (program, says string) {
	switch {
	case len(b) == wgInitiation && string(b[:4]) == "\x01\x00\x00\x00":
		return "WireGuard", "a handshake's first message of 148 bytes"
	case len(b) == wgResponse && string(b[:4]) == "\x02\x00\x00\x00":
		return "WireGuard", "a handshake's second message of 92 bytes"
	case len(b) > 62 && string(b[:len(disco)]) == disco:
		return "Tailscale", "a discovery message"
	case len(b) == 14 && b[0] == 0x38 && b[9] == 0 && zero(b[10:14]):
		return "OpenVPN", "a client's reset"
	}
	return "", ""
}

type decoder struct {
	ctx  decoders.Context
	said bool
}

func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	if p, says := datagram(b); p != "" && !d.said {
		d.say(p, says)
		return len(b), nil
	}
	if d.said || len(b) == 0 {
		return len(b), nil
	}
	if dir == capture.Resp {
		return 0, nil
	}
	switch b[0] {
	case '{':
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return 0, nil
		}
		accept, _ := hello(b)
		d.say("bore", string(b[:min(i, 64)]))
		if accept {
			return i + 1, decoders.ErrSwitch // a connection from the other end follows
		}
		return len(b), nil
	case 0x17:
		d.say("frp", "a byte before TLS")
		return 1, decoders.ErrSwitch
	case 0, 'o':
		d.say("frp", "a login")
	default:
		if len(b) < gsLen {
			return 0, nil
		}
		d.say("gsocket", "a packet of 128 bytes to listen or connect")
	}
	return len(b), nil
}

func (d *decoder) say(program, says string) {
	d.said = true
	d.ctx.Emit(&Session{At: d.ctx.At(), Flow: d.ctx.Flow(), Program: program, Says: says})
}

func (d *decoder) Gap(capture.Dir, int64) bool { return true }
func (d *decoder) End(capture.Dir)             {}
