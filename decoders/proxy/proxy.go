// Package proxy reads the PROXY protocol, versions 1 and 2 (haproxy's doc/proxy-protocol.txt): the header that a load
// balancer sends before everything else, in which it names the client for whom it opened the connection.
//
// In: the first bytes of the originator of a TCP stream, whatever follows them. Out: no event of its own; the stream
// goes on as what it is, in a Flow that knows the client (capture.Via), and is probed afresh behind the header. Several
// headers may stand one behind the other: each is that of who the one before it named.
//
// Who may name another is for Options.Trusts to say. A header of anybody else is stepped over all the same, and what it
// claims goes into the evidence of findings: whoever wants to seem to be somebody else is still who its packets say.
//
// Weirds: proxy_protocol_not_trusted, proxy_protocol_bad_checksum (the CRC-32C of a version 2 header is wrong: a receiver
// that checks refuses the connection, and the client in it is not believed).
//
// It does not see: headers of the responder, which there are none of; headers behind the beginning of a stream; the
// version 2 header in datagrams; what its TLVs say beyond the checksum.
package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

const (
	// The longest line of version 1, CRLF included (section 2.1).
	maxLine = 107
	// Version 2: signature, version and command, family and transport, length (section 2.2).
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	fixed     = len(signature) + 4
	begin1    = "PROXY "

	typeCRC32C = 0x03 // of a TLV, section 2.2.3
)

// Options say whom to believe.
type Options struct {
	// Trusts says whether from may name another client when it connects to to. nil: nobody may.
	Trusts func(from, to netip.Addr) bool
}

// Spec registers the decoder. It belongs before all others: anything may follow.
func Spec(opt Options) decoders.Spec {
	return decoders.Spec{Name: "proxy", Preface: true, Stream: probe, New: func(ctx decoders.Context) decoders.Decoder {
		return &decoder{ctx: ctx, opt: opt}
	}}
}

// probe wants a header of the originator. Who that is, is a guess in the middle of a flow.
func probe(orig, resp []byte, mid bool) decoders.Verdict {
	b, yes := orig, decoders.Yes
	if len(orig) == 0 {
		if !mid {
			return decoders.No
		}
		b, yes = resp, decoders.Flipped
	}
	_, _, s := read(b)
	switch {
	case s == whole, s == more && len(b) >= fixed && b[0] == signature[0]:
		return yes
	case s == more:
		return decoders.Maybe
	}
	return decoders.No
}

type state uint8

const (
	bad state = iota
	more
	whole
)

// header is what a header says.
type header struct {
	client  netip.AddrPort // not valid: nobody is named
	corrupt bool           // its checksum is wrong
}

// read reads the header at the start of b and gives its length.
func read(b []byte) (h header, n int, s state) {
	if len(b) > 0 && b[0] == signature[0] {
		return read2(b)
	}
	return read1(b)
}

// read1 reads version 1: PROXY, family, addresses and ports, each behind exactly one blank, and CRLF.
func read1(b []byte) (h header, n int, s state) {
	if k := min(len(b), len(begin1)); string(b[:k]) != begin1[:k] {
		return h, 0, bad
	}
	i := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	if i < 0 {
		if len(b) >= maxLine || !plausible(b) {
			return h, 0, bad
		}
		return h, 0, more
	}
	if i < 1 || b[i-1] != '\r' {
		return h, 0, bad
	}
	line := string(b[:i-1])
	if rest, ok := strings.CutPrefix(line, begin1+"UNKNOWN"); ok && (rest == "" || rest[0] == ' ') {
		return h, i + 1, whole
	}
	f := strings.Split(line, " ")
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return h, 0, bad
	}
	src, dst, ok := address(f[2], f[1] == "TCP4"), address(f[3], f[1] == "TCP4"), true
	sport := port(f[4], &ok)
	if port(f[5], &ok); !src.IsValid() || !dst.IsValid() || !ok {
		return h, 0, bad
	}
	h.client = netip.AddrPortFrom(src, sport)
	return h, i + 1, whole
}

// plausible says whether a line of version 1 may begin like b: text, and a family behind the first word.
func plausible(b []byte) bool {
	if b = b[min(len(b), len(begin1)):]; len(b) == 0 {
		return true
	}
	for _, f := range [...]string{"TCP4 ", "TCP6 ", "UNKNOWN"} {
		if k := min(len(b), len(f)); string(b[:k]) == f[:k] {
			return true
		}
	}
	return false
}

func address(s string, v4 bool) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Is4() != v4 || a.Zone() != "" {
		return netip.Addr{}
	}
	return a
}

// port reads a decimal number without leading zeros.
func port(s string, ok *bool) uint16 {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || len(s) > 1 && s[0] == '0' {
		*ok = false
	}
	return uint16(n)
}

// read2 reads version 2. Only TCP over IPv4 and IPv6 names a client here, as in haproxy; a socket of a file system, a
// transport that is not said, and a connection of the proxy's own (LOCAL) leave the sender what it is.
func read2(b []byte) (h header, n int, s state) {
	if k := min(len(b), len(signature)); string(b[:k]) != signature[:k] {
		return h, 0, bad
	}
	if len(b) > len(signature) && b[12]&^1 != 0x20 || len(b) > len(signature)+1 && b[12] == 0x21 && (b[13]>>4 > 3 || b[13]&0xf > 2) {
		return h, 0, bad
	}
	if len(b) < fixed {
		return h, 0, more
	}
	size := int(binary.BigEndian.Uint16(b[14:]))
	addrs, local := 0, b[12] == 0x20
	switch b[13] {
	case 0x11:
		addrs = 12
	case 0x21:
		addrs = 36
	}
	if !local && size < addrs {
		return h, 0, bad
	}
	if len(b) < fixed+size {
		return h, 0, more
	}
	b = b[:fixed+size]
	at := b[fixed:]
	switch {
	case local:
		return h, len(b), whole
	case b[13] == 0x11:
		h.client = netip.AddrPortFrom(netip.AddrFrom4([4]byte(at[:4])), binary.BigEndian.Uint16(at[8:]))
	case b[13] == 0x21:
		h.client = netip.AddrPortFrom(netip.AddrFrom16([16]byte(at[:16])).Unmap(), binary.BigEndian.Uint16(at[32:]))
	case b[13]>>4 == 1:
		addrs = 12
	case b[13]>>4 == 2:
		addrs = 36
	case b[13]>>4 == 3:
		addrs = 216
	}
	h.corrupt = !intact(b, fixed+min(addrs, size))
	return h, len(b), whole
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// intact says whether the checksum among the TLVs from i on, if there is one, is that of the header with zeros in its
// place.
func intact(b []byte, i int) bool {
	for i+3 <= len(b) {
		n := int(binary.BigEndian.Uint16(b[i+1:]))
		v := i + 3
		if n > len(b)-v {
			return true // no TLVs, or none that anybody reads
		}
		if b[i] == typeCRC32C && n == 4 {
			sum := crc32.Update(0, castagnoli, b[:v])
			sum = crc32.Update(sum, castagnoli, make([]byte, 4))
			return crc32.Update(sum, castagnoli, b[v+4:]) == binary.BigEndian.Uint32(b[v:])
		}
		i = v + n
	}
	return true
}

// Headers one behind the other whose names are kept: two balancers in a row are the most in sight.
const maxNames = 8

type decoder struct {
	ctx   decoders.Context
	opt   Options
	names int
	weird string // said last
}

var errBad = errors.New("proxy: no header")

// Decode implements decoders.Decoder.
func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	if dir == capture.Resp {
		return 0, nil // whatever it is an answer to stands behind the header
	}
	used := 0
	for used < len(b) {
		h, n, s := read(b[used:])
		if s != whole {
			if used == 0 && s == bad {
				return 0, errBad
			} else if used == 0 {
				return 0, nil
			}
			break
		}
		d.take(h)
		used += n
	}
	return used, decoders.ErrSwitch
}

// take brings what a header says to the flow.
func (d *decoder) take(h header) {
	if d.names++; d.names > maxNames {
		return
	}
	f := d.ctx.Flow()
	if a := h.client.Addr(); h.client == f.Orig || a.IsUnspecified() || a.IsMulticast() {
		h.client = netip.AddrPort{} // nobody, or nobody else
	}
	believed := false
	switch {
	case h.corrupt:
		d.say("proxy_protocol_bad_checksum", "")
	case h.client.IsValid():
		// Behind a header that was not believed nobody is: it is all of one sender.
		believed = (f.Via == nil || f.Via.Believed) && d.opt.Trusts != nil && d.opt.Trusts(f.Orig.Addr(), f.Resp.Addr())
		if !believed {
			d.say("proxy_protocol_not_trusted", h.client.String())
		}
	}
	if c, ok := d.ctx.(decoders.Speaker); ok {
		c.For(h.client, believed)
	}
}

func (d *decoder) say(weird, addl string) {
	if d.weird != weird {
		d.weird = weird
		d.ctx.Weird(weird, addl)
	}
}

// Gap implements decoders.Decoder.
func (d *decoder) Gap(capture.Dir, int64) bool { return false }

// End implements decoders.Decoder.
func (d *decoder) End(capture.Dir) {}
