package proxy

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

var c, s = decodertest.C, decodertest.S

// said is what a decoder of lines tells: the line, and in whose name.
type said struct{ Line, By string }

// lines takes any stream that begins with a '!': it stands for whatever follows a header.
type lines struct{ ctx decoders.Context }

func (l *lines) Decode(dir capture.Dir, b []byte) (int, error) {
	i := strings.IndexByte(string(b), '\n')
	if i < 0 {
		return 0, nil
	}
	f := l.ctx.Flow()
	by := f.Src(dir).String()
	for ; f.Via != nil; f = f.Via.Wire {
		by += " via " + f.Via.Wire.Orig.String()
		if !f.Via.Believed {
			by += " claims " + f.Via.Client.String()
		}
	}
	l.ctx.Emit(&said{string(b[:i]), by})
	return i + 1, nil
}
func (l *lines) Gap(capture.Dir, int64) bool { return true }
func (l *lines) End(capture.Dir)             {}

func specs() []decoders.Spec {
	home := netip.MustParsePrefix("10.0.0.0/8")
	return []decoders.Spec{
		Spec(Options{Trusts: func(from, to netip.Addr) bool { return home.Contains(from) && home.Contains(to) }}),
		{Name: "lines", Stream: func(o, r []byte, _ bool) decoders.Verdict {
			for _, b := range [2][]byte{o, r} {
				if len(b) > 0 {
					if b[0] == '!' {
						return decoders.Yes
					}
					return decoders.No
				}
			}
			return decoders.No
		}, New: func(ctx decoders.Context) decoders.Decoder { return &lines{ctx} }},
	}
}

// v2 makes a header of version 2.
func v2(cmd, fam byte, body string) string {
	return signature + string([]byte{cmd, fam, byte(len(body) >> 8), byte(len(body))}) + body
}

func tlv(typ byte, v string) string {
	return string([]byte{typ, byte(len(v) >> 8), byte(len(v))}) + v
}

// checked puts the checksum into a header whose last TLV has four zeros for it.
func checked(h string) string {
	return h[:len(h)-4] + string(binary.BigEndian.AppendUint32(nil, crc32.Checksum([]byte(h), castagnoli)))
}

const (
	inet  = "\xcb\x00\x71\x05\x0a\x00\x00\x02\x9c\x40\x20\x49" // 203.0.113.5:40000 to 10.0.0.2:8265
	inner = "\x0a\x00\x00\x07\x0a\x00\x00\x02\x9c\x40\x20\x49" // 10.0.0.7:40000
)

func TestHeaders(t *testing.T) {
	inet6 := "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x05" + strings.Repeat("\x00", 16) + "\x9c\x40\x20\x49"
	const sender = "10.0.0.1:40000"
	for _, tt := range []struct{ name, header, by, weird string }{
		{"v1", "PROXY TCP4 203.0.113.5 10.0.0.2 40000 8265\r\n", "203.0.113.5:40000 via " + sender, ""},
		{"v1, IPv6", "PROXY TCP6 2001:DB8::5 ::1 40000 8265\r\n", "[2001:db8::5]:40000 via " + sender, ""},
		{"v1, the longest", "PROXY TCP6 " + strings.Repeat("2001:", 7) + "2001 " + strings.Repeat("ffff:", 7) + "ffff 65535 65535\r\n", "[" + strings.Repeat("2001:", 7) + "2001]:65535 via " + sender, ""},
		{"v1, port 0", "PROXY TCP4 203.0.113.5 10.0.0.2 0 0\r\n", "203.0.113.5:0 via " + sender, ""},
		{"v1 unknown", "PROXY UNKNOWN\r\n", sender, ""},
		{"v1 unknown, with the rest of the line", "PROXY UNKNOWN ffff::1 what ever\r\n", sender, ""},
		{"v2", v2(0x21, 0x11, inet), "203.0.113.5:40000 via " + sender, ""},
		{"v2, IPv6", v2(0x21, 0x21, inet6), "[2001:db8::5]:40000 via " + sender, ""},
		{"v2, IPv4 written as IPv6", v2(0x21, 0x21, strings.Repeat("\x00", 10)+"\xff\xff\xcb\x00\x71\x05"+strings.Repeat("\x00", 16)+"\x9c\x40\x20\x49"), "203.0.113.5:40000 via " + sender, ""},
		{"v2 with TLVs", v2(0x21, 0x11, inet+tlv(1, "h2")+tlv(5, strings.Repeat("u", 128))+tlv(0x20, "\x01\x00\x00\x00\x00"+tlv(0x21, "TLSv1.3"))), "203.0.113.5:40000 via " + sender, ""},
		{"v2 with a checksum", checked(v2(0x21, 0x11, inet+tlv(4, "pad")+tlv(typeCRC32C, "\x00\x00\x00\x00"))), "203.0.113.5:40000 via " + sender, ""},
		{"v2 with a wrong one", v2(0x21, 0x11, inet+tlv(typeCRC32C, "\x00\x00\x00\x01")), sender + " via " + sender + " claims 203.0.113.5:40000", "proxy_protocol_bad_checksum"},
		{"v2, the longest", v2(0x21, 0x11, inet+tlv(4, strings.Repeat("x", 65535-15))), "203.0.113.5:40000 via " + sender, ""},
		{"v2, TLV that runs over", v2(0x21, 0x11, inet+"\x01\xff\xff"), "203.0.113.5:40000 via " + sender, ""},
		{"v2 local", v2(0x20, 0, ""), sender, ""},
		{"v2 local with addresses", v2(0x20, 0x11, inet), sender, ""},
		{"v2 local, any family", v2(0x20, 0xff, "x"), sender, ""},
		{"v2 unspecified", v2(0x21, 0, ""), sender, ""},
		{"v2 socket of a file system", v2(0x21, 0x31, strings.Repeat("/", 216)), sender, ""},
		{"v2 datagrams", v2(0x21, 0x12, inet), sender, ""},
		{"the sender itself", "PROXY TCP4 10.0.0.1 10.0.0.2 40000 8265\r\n", sender, ""},
		{"no address", "PROXY TCP4 0.0.0.0 10.0.0.2 40000 8265\r\n", sender, ""},
		{"two, both of balancers", v2(0x21, 0x11, inner) + "PROXY TCP4 203.0.113.5 10.0.0.2 40000 8265\r\n", "203.0.113.5:40000 via 10.0.0.7:40000 via " + sender, ""},
		{"two, the second of the client", v2(0x21, 0x11, inet) + "PROXY TCP4 10.0.0.7 10.0.0.2 40000 8265\r\n", "203.0.113.5:40000 via 203.0.113.5:40000 claims 10.0.0.7:40000 via " + sender, "proxy_protocol_not_trusted"},
	} {
		steps := []decodertest.Step{c(tt.header + "!job\n"), s("ok\n")}
		got, weird := hear(decodertest.RunAll(t, specs(), steps...))
		server := strings.Replace(tt.by, tt.by[:strings.IndexByte(tt.by+" ", ' ')], "10.0.0.2:8265", 1)
		if want := "!job by " + tt.by + "|ok by " + server; got != want || weird != tt.weird {
			t.Errorf("%s:\ngot  %s %q\nwant %s", tt.name, got, weird, want)
		}
		decodertest.CutAndPoisonAll(t, specs(), steps...)
		// The server may speak before the header has come.
		if got, _ := hear(decodertest.RunAll(t, specs(), c(tt.header[:3]), s("ok\n"), c(tt.header[3:]+"!job\n"))); got != "!job by "+tt.by+"|ok by "+server {
			t.Errorf("%s, the server first: %s", tt.name, got)
		}
	}
}

func hear(evs []any) (got, weird string) {
	for _, ev := range evs {
		switch ev := ev.(type) {
		case *said:
			got += "|" + ev.Line + " by " + ev.By
		case *capture.Weird:
			weird = ev.Name
		}
	}
	return strings.TrimPrefix(got, "|"), weird
}

// TestNoHeader: what is none is left to others, from its first byte.
func TestNoHeader(t *testing.T) {
	for name, b := range map[string]string{
		"v1, another family":           "PROXY TCP5 203.0.113.5 10.0.0.2 40000 8265\r\n",
		"v1, two blanks":               "PROXY TCP4  203.0.113.5 10.0.0.2 40000 8265\r\n",
		"v1, LF alone":                 "PROXY TCP4 203.0.113.5 10.0.0.2 40000 8265\n",
		"v1, leading zero":             "PROXY TCP4 203.0.113.05 10.0.0.2 40000 8265\r\n",
		"v1, leading zero in a port":   "PROXY TCP4 203.0.113.5 10.0.0.2 040000 8265\r\n",
		"v1, port over 65535":          "PROXY TCP4 203.0.113.5 10.0.0.2 65536 8265\r\n",
		"v1, IPv6 for IPv4":            "PROXY TCP4 ::1 10.0.0.2 40000 8265\r\n",
		"v1, a zone":                   "PROXY TCP6 fe80::1%eth0 ::1 40000 8265\r\n",
		"v1, too long":                 "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n",
		"v1, too much":                 "PROXY TCP4 203.0.113.5 10.0.0.2 40000 8265 x\r\n",
		"v1, unknown with a tail":      "PROXY UNKNOWNX\r\n",
		"v1, lower case":               "proxy TCP4 203.0.113.5 10.0.0.2 40000 8265\r\n",
		"a request for PROXY":          "PROXY / HTTP/1.1\r\n",
		"v2, another version":          v2(0x11, 0x11, inet),
		"v2, another command":          v2(0x22, 0x11, inet),
		"v2, a family that is none":    v2(0x21, 0x41, inet),
		"v2, a transport that is none": v2(0x21, 0x13, inet),
		"v2, too short":                v2(0x21, 0x11, inet[:11]),
		"v2, half a signature":         signature[:7] + "!",
	} {
		if v := probe([]byte(b), nil, false); v != decoders.No {
			t.Errorf("%s: %v", name, v)
		}
	}
	h := []byte(v2(0x21, 0x11, inet))
	if probe(nil, h, false) != decoders.No || probe([]byte("x"), h, true) != decoders.No {
		t.Error("a header of the responder")
	}
	if probe(nil, h, true) != decoders.Flipped {
		t.Error("who opened a flow that was picked up in the middle is not known")
	}
}

func FuzzProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.5 10.0.0.2 40000 8265\r\n!job\n"))
	f.Add([]byte(v2(0x21, 0x11, inet+tlv(3, "\x00\x00\x00\x00")) + v2(0x20, 0, "") + "!job\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		decodertest.RunAll(t, specs(), c(string(b)), s(string(b)))
		if _, n, s := read(b); s == whole && (n < len(begin1) || n > len(b)) {
			t.Errorf("%d of %d bytes", n, len(b))
		}
	})
}
