package quic

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/tls"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// What appendix A of RFC 9001 and of RFC 9369 have in common: connection id, and the CRYPTO frames of both hellos.
var (
	rfcID     = unhex("8394c8f03e515708")
	rfcClient = unhex(`060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302
		010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500
		050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304
		000d0010000e0403050306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000
		ffff0801100104800075300901100f088394c8f03e51570806048000ffff`)
	rfcServer = unhex(`02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a045a120013
		0100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00020304`)
	// Their Initial packets: A.3 of either.
	rfcServerV1 = unhex(`cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb3
		8cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795
		d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee`)
	rfcServerV2 = unhex(`dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d9b89237bbf872630
		17915358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2c984c707f0a0812d
		8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140`)
)

// seal makes an Initial packet as the client (dir Orig) or server would, padded to 1,200 octets for the client.
func seal(version uint32, keyID, dcid, scid, token, frames []byte, dir capture.Dir, number uint32) []byte {
	typ := byte(0xC3) // packet number of four octets
	if version == version2 {
		typ = 0xD3
	}
	head := []byte{typ, byte(version >> 24), byte(version >> 16), byte(version >> 8), byte(version), byte(len(dcid))}
	head = append(append(head, dcid...), byte(len(scid)))
	head = append(head, scid...)
	if len(token) == 0 {
		head = append(head, 0)
	} else {
		head = append(head, 0x40|byte(len(token)>>8), byte(len(token)))
		head = append(head, token...)
	}
	if dir == capture.Orig {
		for len(head)+2+4+len(frames)+16 < 1200 {
			frames = append(frames[:len(frames):len(frames)], make([]byte, 1200-(len(head)+2+4+len(frames)+16))...)
		}
	}
	n := 4 + len(frames) + 16
	head = append(head, 0x40|byte(n>>8), byte(n), byte(number>>24), byte(number>>16), byte(number>>8), byte(number))
	k := deriveKeys(version, keyID)[dir]
	nonce := k.iv
	for i := range 4 {
		nonce[8+i] ^= byte(number >> (24 - 8*i))
	}
	out := k.aead.Seal(bytes.Clone(head), nonce[:], frames, head)
	var mask [aes.BlockSize]byte
	k.header.Encrypt(mask[:], out[len(head):len(head)+16])
	out[0] ^= mask[0] & 0x0F
	for i := range 4 {
		out[len(head)-4+i] ^= mask[1+i]
	}
	return out
}

func TestKeysOfTheRFC(t *testing.T) {
	// RFC 9001 appendix A.1: the header protection of the client turns its sample (A.2) into this mask.
	var mask [16]byte
	deriveKeys(version1, rfcID)[capture.Orig].header.Encrypt(mask[:], unhex("d1b1c98dd7689fb8ec11d242b123dc9b"))
	if got := hex.EncodeToString(mask[:5]); got != "437b9aec36" {
		t.Errorf("version 1: mask %s", got)
	}
	deriveKeys(version2, rfcID)[capture.Orig].header.Encrypt(mask[:], unhex("ffe67b6abcdb4298b485dd04de806071"))
	if got := hex.EncodeToString(mask[:5]); got != "94a0c95e80" {
		t.Errorf("version 2: mask %s", got)
	}
	k := deriveKeys(version1, rfcID)
	if iv := hex.EncodeToString(k[capture.Orig].iv[:]); iv != "fa044b2f42a3fd3b46fb255c" {
		t.Errorf("version 1: iv %s", iv)
	}
}

func TestPacketsOfTheRFC(t *testing.T) {
	for name, tc := range map[string]struct {
		version uint32
		packet  []byte
	}{"version 1": {version1, rfcServerV1}, "version 2": {version2, rfcServerV2}} {
		p, ok := parseHeader(tc.packet)
		if !ok || p.kind != initial || p.version != tc.version || p.size != len(tc.packet) || len(p.dcid) != 0 || len(p.scid) != 8 {
			t.Fatalf("%s: header %+v", name, p)
		}
		before := bytes.Clone(tc.packet)
		k := deriveKeys(tc.version, rfcID)
		frames, ok := k[capture.Resp].open(nil, tc.packet, &p)
		if !ok || !bytes.Equal(frames, rfcServer) {
			t.Errorf("%s: %x", name, frames)
		}
		if !bytes.Equal(before, tc.packet) {
			t.Errorf("%s: the packet was changed in place", name)
		}
		if _, ok := k[capture.Orig].open(nil, tc.packet, &p); ok {
			t.Errorf("%s: opens with the client's keys", name)
		}
	}
	// The client's packet of A.2, sealed by this test, begins and ends as the RFC prints it.
	for version, want := range map[uint32][2]string{
		version1: {"c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11", "e221af44860018ab0856972e194cd934"},
		version2: {"d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485", "a18b2faa745b6fe189cf772a9f84cbfc"},
	} {
		got := hex.EncodeToString(seal(version, rfcID, rfcID, nil, nil, rfcClient, capture.Orig, 2))
		if len(got) != 2400 || !strings.HasPrefix(got, want[0]) || !strings.HasSuffix(got, want[1]) {
			t.Errorf("%08x: %d octets, %s", version, len(got)/2, got[:64])
		}
	}
}

func one(t *testing.T, events []any) *tls.Session {
	t.Helper()
	if len(events) != 1 {
		t.Fatalf("%d events: %v", len(events), events)
	}
	s, ok := events[0].(*tls.Session)
	if !ok {
		t.Fatalf("%T", events[0])
	}
	return s
}

func run(t *testing.T, steps ...decodertest.Step) []any {
	t.Helper()
	return decodertest.RunDatagrams(t, Spec(), steps...)
}

func c(b ...[]byte) decodertest.Step { return decodertest.C(string(slices.Concat(b...))) }
func s(b ...[]byte) decodertest.Step { return decodertest.S(string(slices.Concat(b...))) }

var short = append([]byte{0x41}, make([]byte, 40)...)

func TestConversationOfTheRFC(t *testing.T) {
	for name, tc := range map[string]struct {
		version uint32
		server  []byte
	}{"version 1": {version1, rfcServerV1}, "version 2": {version2, rfcServerV2}} {
		steps := []decodertest.Step{c(seal(tc.version, rfcID, rfcID, nil, nil, rfcClient, capture.Orig, 2)), s(tc.server, short), c(short)}
		got := one(t, run(t, steps...))
		if got.ServerName != "example.com" || got.Version != tls.VersionTLS13 || got.Cipher != 0x1301 || got.History != "Cs" ||
			got.Established || got.Transport != tls.QUIC || !slices.Equal(got.Offered, []string{"alpn"}) || !strings.HasPrefix(got.JA4, "q13d0211an_") {
			t.Errorf("%s: %+v", name, got)
		}
		if sv := decodertest.Services(t, decoders.Spec{Name: "quic", Stream: func([]byte, []byte, bool) decoders.Verdict { return decoders.Yes }, New: Spec().New}, steps[0]); !slices.Equal(sv, []string{"quic", "ssl"}) {
			t.Errorf("%s: services %v", name, sv)
		}
	}
}

// cryptoFrame is a piece of the client's hello.
func cryptoFrame(hello []byte, from, to int) []byte {
	f := []byte{frameCrypto, 0x40 | byte(from>>8), byte(from), 0x40 | byte((to-from)>>8), byte(to - from)}
	return append(f, hello[from:to]...)
}

func TestHelloInPiecesOverPackets(t *testing.T) {
	hello := rfcClient[4:]
	n := len(hello)
	pieces := [][]byte{cryptoFrame(hello, 100, 150), {framePing}, cryptoFrame(hello, 0, 40), cryptoFrame(hello, 0, 60), cryptoFrame(hello, 140, n), cryptoFrame(hello, 40, 101)}
	ack := []byte{frameAck, 2, 0x40, 9, 1, 0, 0, 0}
	first := slices.Concat(pieces[0], pieces[1], ack, pieces[2])
	second := slices.Concat(ack, pieces[3], pieces[4])
	third := pieces[5]
	steps := []decodertest.Step{
		c(seal(version1, rfcID, rfcID, nil, nil, first, capture.Orig, 0)),
		c(seal(version1, rfcID, rfcID, nil, nil, second, capture.Orig, 1)),
		c(seal(version1, rfcID, rfcID, nil, nil, third, capture.Orig, 2)),
		s(rfcServerV1),
	}
	if got := one(t, run(t, steps...)); got.ServerName != "example.com" || got.Packet != 3 || got.History != "Cs" {
		t.Errorf("%+v", got)
	}
	// Two Initial packets and one that is protected with later keys in one datagram.
	later := append([]byte{0xE1, 0, 0, 0, 1, 8}, rfcID...)
	later = append(later, 0, 0x40, 20)
	later = append(later, make([]byte, 20)...)
	a, b := seal(version1, rfcID, rfcID, nil, nil, first, capture.Orig, 0), seal(version1, rfcID, rfcID, nil, nil, slices.Concat(second, third), capture.Orig, 1)
	if got := one(t, run(t, c(a, later, b), s(later, rfcServerV1))); got.History != "Cs" {
		t.Errorf("%+v", got)
	}
}

func TestRetryStartsOver(t *testing.T) {
	newID := []byte("server-chose-this")
	token := []byte(strings.Repeat("token", 20))
	retryPacket := append([]byte{0xF0, 0, 0, 0, 1, 0, byte(len(newID))}, newID...)
	retryPacket = append(retryPacket, "token and integrity tag of 16 octets"...)
	server := seal(version1, newID, nil, newID, nil, rfcServer, capture.Resp, 0)
	got := one(t, run(t,
		c(seal(version1, rfcID, rfcID, nil, nil, rfcClient, capture.Orig, 0)), s(retryPacket),
		c(seal(version1, newID, newID, nil, token, rfcClient, capture.Orig, 1)), s(server)))
	if got.History != "CCs" || got.ServerName != "example.com" {
		t.Errorf("%+v", got)
	}
}

func TestVersionIsNegotiated(t *testing.T) {
	negotiation := append([]byte{0x80, 0, 0, 0, 0, 0, 8}, rfcID...)
	negotiation = append(negotiation, 0x6B, 0x33, 0x43, 0xCF)
	got := one(t, run(t, c(seal(version1, rfcID, rfcID, nil, nil, rfcClient, capture.Orig, 0)), s(negotiation),
		c(seal(version2, rfcID, rfcID, nil, nil, rfcClient, capture.Orig, 0)), s(rfcServerV2)))
	if got.History != "CCs" {
		t.Errorf("by a packet: %+v", got)
	}
	got = one(t, run(t, c(seal(version1, rfcID, rfcID, nil, nil, rfcClient, capture.Orig, 0)), s(rfcServerV2)))
	if got.History != "Cs" {
		t.Errorf("by the server's answer: %+v", got)
	}
}

func TestFirstPacketWasLost(t *testing.T) {
	// What is left is encrypted with keys from an id that was not seen.
	if got := run(t, c(seal(version1, []byte("not this"), rfcID, nil, nil, rfcClient, capture.Orig, 1)), s(rfcServerV1)); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestClientAlone(t *testing.T) {
	steps := []decodertest.Step{c(seal(version1, rfcID, rfcID, nil, nil, rfcClient, capture.Orig, 0))}
	for range 3 * maxIdle {
		steps = append(steps, c(short))
	}
	got := one(t, run(t, steps...))
	if got.History != "C" || got.ServerName != "example.com" || got.Version != 0 {
		t.Errorf("%+v", got)
	}
}

func TestProbe(t *testing.T) {
	good := seal(version1, rfcID, rfcID, nil, nil, rfcClient, capture.Orig, 0)
	edit := func(at int, b byte) []byte {
		e := bytes.Clone(good)
		e[at] = b
		return e
	}
	for name, tc := range map[string]struct {
		b    []byte
		want decoders.Verdict
	}{
		"client":               {good, decoders.Yes},
		"server":               {rfcServerV1, decoders.No},
		"cut":                  {good[:1199], decoders.No},
		"short header":         {append(bytes.Clone(short), make([]byte, 1200)...), decoders.No},
		"unknown version":      {edit(4, 9), decoders.No},
		"handshake packet":     {edit(0, 0xE0), decoders.No},
		"id of 255 octets":     {edit(5, 255), decoders.No},
		"fixed bit not set":    {edit(0, 0x83), decoders.No},
		"token that runs over": {edit(15, 0x7F), decoders.No},
		"DNS":                  {[]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"), decoders.No},
	} {
		if got := probe(tc.b, nil, false); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestCryptoStreamIsBounded(t *testing.T) {
	var cs crypto
	for i := range 10000 {
		cs.add((3*i)%maxHello, []byte("x"))
	}
	if len(cs.spans) > maxSpans || len(cs.buf) > maxHello {
		t.Errorf("%d spans, %d octets", len(cs.spans), len(cs.buf))
	}
	far := append([]byte{frameCrypto, 0x80, 0, 0x40, 0, 4}, "data"...)
	var fresh crypto
	if fresh.frames(far) || len(fresh.buf) != 0 {
		t.Error("a piece beyond the limit is kept")
	}
}

func TestFirstCopyStays(t *testing.T) {
	var cs crypto
	cs.add(2, []byte("cd"))
	cs.add(8, []byte("ij"))
	if !cs.add(0, []byte("XXXXXXXXXXXX")) || cs.add(1, []byte("YYY")) {
		t.Error("wrong about what is new")
	}
	if got := string(cs.buf); got != "XXcdXXXXijXX" {
		t.Error(got)
	}
	if len(cs.spans) != 1 || cs.spans[0] != (span{0, 12}) {
		t.Error(cs.spans)
	}
}

// silent is a context for fuzzing.
type silent struct{ sessions int }

func (s *silent) Flow() *capture.Flow   { return nil }
func (s *silent) At() capture.At        { return capture.At{} }
func (s *silent) Emit(any)              { s.sessions++ }
func (s *silent) Weird(string, string)  {}
func (s *silent) Refute(string)         {}
func (s *silent) Skip()                 {}
func (s *silent) Confirm(string)        {}
func (s *silent) Nest() decoders.Nested { return nil }

func FuzzPackets(f *testing.F) {
	f.Add(seal(version1, rfcID, rfcID, nil, nil, rfcClient, capture.Orig, 2), rfcServerV1)
	f.Add(seal(version2, rfcID, rfcID, nil, nil, rfcClient, capture.Orig, 2), rfcServerV2)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		probe(a, nil, false)
		ctx := &silent{}
		d := Spec().New(ctx)
		for i, x := range [][]byte{a, b, a, b} {
			if len(x) == 0 {
				continue
			}
			if used, err := d.Decode(capture.Dir(i&1), x); err != nil || used != len(x) {
				return
			}
		}
		d.End(capture.Orig)
		d.End(capture.Resp)
		if ctx.sessions > 1 {
			t.Error("more than one session")
		}
	})
}

// FuzzFrames fuzzes what is behind the encryption, which FuzzPackets cannot reach.
func FuzzFrames(f *testing.F) {
	f.Add(rfcClient, rfcServer)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		hs := tls.NewHandshake(&silent{}, tls.QUIC)
		var cs [2]crypto
		for i, x := range [][]byte{a, b, a} {
			cs[i&1].frames(x)
			for m := cs[i&1].message(); m != nil; m = cs[i&1].message() {
				if hs.Data(capture.Dir(i&1), m) != nil {
					return
				}
			}
			if len(cs[i&1].buf) > maxHello || len(cs[i&1].spans) > maxSpans {
				t.Error("a bound does not hold")
			}
		}
		hs.Finish()
	})
}
