package tls

import (
	"slices"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

// dtlsHello is a ClientHello of DTLS: it has a cookie.
func dtlsHello(cookie, exts string) string {
	return "\xFE\xFD" + random + vec8("") + vec8(cookie) + vec16(list16(plainRSA)) + vec8("\x00") + vec16(exts)
}

func dtlsServer() string {
	return "\xFE\xFD" + random + vec8("") + u16(plainRSA) + "\x00"
}

func dtlsFull(der string) []decodertest.Step {
	chain := certificates(der)
	n := len(chain)
	return []decodertest.Step{
		c(dtls(22, 0, 0, whole(msgClientHello, 0, dtlsHello("", sni("host.example.org"))))),
		s(dtls(22, 0, 0, whole(msgHelloVerifyRequest, 0, "\xFE\xFF"+vec8("biscuit")))),
		c(dtls(22, 0, 1, whole(msgClientHello, 1, dtlsHello("biscuit", sni("host.example.org"))))),
		// The certificate in three pieces, the last first, one twice.
		s(dtls(22, 0, 1, whole(msgServerHello, 1, dtlsServer())) + dtls(22, 0, 4, part(msgCertificate, 2, chain, 200, n))),
		s(dtls(22, 0, 2, part(msgCertificate, 2, chain, 0, 150)) + dtls(22, 0, 2, part(msgCertificate, 2, chain, 0, 150))),
		s(dtls(22, 0, 3, part(msgCertificate, 2, chain, 100, 210)) + dtls(22, 0, 5, whole(msgServerHelloDone, 3, ""))),
		c(dtls(22, 0, 2, whole(msgClientKeyExchange, 2, "key")) + dtls(20, 0, 3, "\x01") + dtls(22, 1, 0, "encrypted")),
		s(dtls(20, 0, 6, "\x01") + dtls(22, 1, 0, "encrypted")),
	}
}

func TestDTLS(t *testing.T) {
	stun := "\x00\x01\x00\x00\x21\x12\xA4\x42" + random
	steps := append([]decodertest.Step{}, dtlsFull(goodCert().der())...)
	steps = slices.Insert(steps, 3, s(stun), c("\x80media"))
	got, certs, weirds := sorted(t, decodertest.RunDatagrams(t, DatagramSpec(nil), steps...))
	if len(got) != 1 || len(certs) != 1 || len(weirds) != 0 {
		t.Fatalf("%v %v %v", got, certs, weirds)
	}
	r := row(got[0]).set
	for name, want := range map[string]any{"version": "DTLSv12", "ssl_history": "CvCsxnGIi", "established": true, "server_name": "host.example.org", "sni_matches_cert": true} {
		if r[name] != want {
			t.Errorf("%s: %v, want %v", name, r[name], want)
		}
	}
	if got[0].JA4[0] != 'd' || got[0].Transport != DTLS {
		t.Error(got[0].JA4, got[0].Transport)
	}
}

func TestDTLS13(t *testing.T) {
	v := ext(extVersions, vec8(u16(VersionDTLS13)))
	hello := dtlsHello("", v)
	answer := serverHelloBody(random, "", aes13, ext(extVersions, u16(VersionDTLS13))+share)
	unified := "\x2E\x00\x00\x00\x10encrypted record"
	got, _, _ := sorted(t, decodertest.RunDatagrams(t, DatagramSpec(nil),
		c(dtls(22, 0, 0, whole(1, 0, hello))), s(dtls(22, 0, 0, whole(2, 0, answer))+unified), c(unified)))
	if len(got) != 1 || !got[0].Established || got[0].History != "Cs" || VersionName(got[0].Version) != "DTLSv13" {
		t.Errorf("%+v", got)
	}
}

func TestDTLSGivesUpOnStrangers(t *testing.T) {
	steps := []decodertest.Step{c(dtls(22, 0, 0, whole(1, 0, dtlsHello("", ""))))}
	for range maxForeign + 1 {
		steps = append(steps, s("\x90media"))
	}
	steps = append(steps, s(dtls(22, 0, 1, whole(msgServerHello, 1, dtlsServer()))))
	got, _, _ := sorted(t, decodertest.RunDatagrams(t, DatagramSpec(nil), steps...))
	if len(got) != 1 || got[0].History != "C" {
		t.Errorf("%+v", got)
	}
}

func TestDTLSFragmentsAreBounded(t *testing.T) {
	body := dtlsHello("", "")
	for name, frag := range map[string]string{
		"longer than the limit": u8(1) + u24(1<<20) + u16(0) + u24(0) + u24(4) + "data",
		"beyond the end":        u8(1) + u24(len(body)) + u16(0) + u24(len(body)-2) + u24(4) + "data",
		"longer than its data":  u8(1) + u24(len(body)) + u16(0) + u24(0) + u24(99) + "data",
	} {
		ctx := &bare{}
		d := DatagramSpec(nil).New(ctx)
		if _, err := d.Decode(capture.Orig, []byte(dtls(22, 0, 0, whole(1, 0, body)))); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Decode(capture.Orig, []byte(dtls(22, 0, 1, frag))); err == nil || ctx.emitted != 1 {
			t.Errorf("%s: error %v, %d events", name, err, ctx.emitted)
		}
	}
	var f fragments
	for i := range 1000 {
		if f.add(1, 0, 5000, 2*i, []byte("x")) != nil {
			t.Fatal("whole with holes")
		}
	}
	if len(f.parts) > maxParts {
		t.Errorf("%d parts", len(f.parts))
	}
}

func TestProbeDatagram(t *testing.T) {
	hello := dtls(22, 0, 0, whole(1, 0, dtlsHello("", "")))
	for name, tc := range map[string]struct {
		b    string
		want decoders.Verdict
	}{
		"hello":          {hello, decoders.Yes},
		"first fragment": {dtls(22, 0, 0, part(1, 0, dtlsHello("", ""), 0, 20)), decoders.Yes},
		"cut":            {hello[:40], decoders.No},
		"encrypted":      {dtls(22, 1, 0, whole(1, 0, dtlsHello("", ""))), decoders.No},
		"server hello":   {dtls(22, 0, 0, whole(2, 0, dtlsServer())), decoders.No},
		"TLS":            {hello12, decoders.No},
		"empty":          {"", decoders.No},
	} {
		if got := probeDatagram([]byte(tc.b), nil, false); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func FuzzDatagrams(f *testing.F) {
	var all []byte
	for _, st := range dtlsFull(goodCert().der()) {
		all = append(append(all, byte(st.Dir), byte(len(st.Data)>>8), byte(len(st.Data))), st.Data...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := &bare{}
		d := DatagramSpec(nil).New(ctx)
		for len(b) > 3 {
			n := min(int(b[1])<<8|int(b[2]), len(b)-3)
			if n > 0 {
				probeDatagram(b[3:3+n], nil, false)
				if used, err := d.Decode(capture.Dir(b[0]&1), b[3:3+n]); err != nil || used != n {
					return
				}
			}
			b = b[3+n:]
		}
		d.End(capture.Orig)
		d.End(capture.Resp)
	})
}
