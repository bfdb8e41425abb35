package dns

import (
	"bytes"
	"testing"

	mdns "github.com/miekg/dns"

	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

// FuzzMessages feeds the bytes, cut where the first one says, as datagrams to a server, to NetBIOS and to a group, and
// as a stream; nothing may panic, alias its input or go over its limit.
func FuzzMessages(f *testing.F) {
	q := ask(7, "www.Example.org.", mdns.TypeA)
	q.SetEdns0(1232, true)
	a := reply(q, "www.example.org. 60 IN CNAME x.example.org.", "x.example.org. 60 IN A 192.0.2.1", `x. 1 IN TXT "a" "b"`,
		"x. 1 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1", "x. 1 IN SOA ns. root. 1 2 3 4 5", `x. 1 IN NAPTR 1 1 "s" "x" "" y.`,
		"x. 1 IN RRSIG A 8 2 3600 20260101000000 20250101000000 1 x. AwEAAaz/", "x. 1 IN NSEC y. A", `x. 1 IN CAA 0 issue "ca"`)
	query, answer := pack(q), pack(a)
	f.Add(append([]byte{byte(len(query))}, append(query, answer...)...))
	f.Add(append([]byte{0}, answer...))
	f.Add(append([]byte{0}, nbns("\x01\x10", "FHEPFCELEHFCEPFFFACACACACACACABL", 0x20)...))
	up := new(mdns.Msg)
	up.SetUpdate("x.")
	up.Response = true
	up.RemoveName([]mdns.RR{a.Answer[0]})
	up.Insert([]mdns.RR{a.Answer[1]})
	f.Add(append([]byte{0}, pack(up)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		cut := min(1+int(b[0]), len(b))
		for _, to := range []string{"10.0.0.53:53", "10.0.0.255:137", "224.0.0.251:5353"} {
			fl := newFlow("10.0.0.1:40000", to).run(t, b[1:cut], b[cut:], b[1:])
			for _, tx := range fl.transactions() {
				if len(tx.Answers) > answerLimit {
					t.Errorf("%d answers", len(tx.Answers))
				}
				row(tx)
				_ = tx.Outcome()
			}
		}
		probeDatagram(b, nil, true)
		decodertest.Run(t, Spec(), decodertest.C(framed(b[1:cut])+framed(b[cut:])), decodertest.S(string(b)))
	})
}

// FuzzNames compares names with what the library reads: what it accepts we must read alike.
func FuzzNames(f *testing.F) {
	f.Add([]byte("\x03www\x07example\x00\xc0\x04"), uint8(13))
	f.Add([]byte("\x01a\x00\xc0\x00\xc0\x03\xc0\x05"), uint8(7))
	f.Fuzz(func(t *testing.T, b []byte, off uint8) {
		var n name
		next, _, ok := n.read(b, int(off), false)
		if ok && next > len(b) {
			t.Fatalf("next is %d of %d", next, len(b))
		}
		if s := skipName(b, int(off)); ok && s != next {
			t.Errorf("read to %d, skipped to %d", next, s)
		}
		want, end, err := mdns.UnpackDomainName(b, int(off))
		if err != nil || !ok {
			return
		}
		if end != next {
			t.Errorf("we end at %d, the library at %d", next, end)
		}
		if bytes.ContainsRune([]byte(want), '\\') {
			return // escaped: not comparable as text
		}
		if got := string(n.bytes()) + "."; got != want {
			t.Errorf("%q, the library says %q", got, want)
		}
	})
}

func FuzzProbe(f *testing.F) {
	query, answer, _ := pair()
	f.Add([]byte(framed(query)), []byte(framed(answer)))
	f.Fuzz(func(t *testing.T, o, r []byte) {
		whole := probeStream(o, r, false)
		// A verdict, once given, must not depend on how much had come.
		for i := range o {
			if v := probeStream(o[:i], nil, false); v != decoders.Maybe && len(r) == 0 && v != whole {
				t.Fatalf("%d after %d bytes, %d after all", v, i, whole)
			}
		}
	})
}
