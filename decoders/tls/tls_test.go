package tls

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

var (
	c = decodertest.C
	s = decodertest.S
)

const (
	ecdheRSA = 0xC02F // TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	plainRSA = 0x002F // TLS_RSA_WITH_AES_128_CBC_SHA
	aes13    = 0x1301 // TLS_AES_128_GCM_SHA256
)

var (
	ccs     = rec(typeChangeCipherSpec, "\x01")
	secret  = rec(typeHandshake, "encrypted finished")
	data    = rec(typeApplicationData, strings.Repeat("x", 300))
	hello12 = hs(msgClientHello, clientHelloBody("", []int{ecdheRSA, plainRSA}, sni("host.example.org")+alpnExt("h2", "http/1.1")))
	hello13 = hs(msgClientHello, clientHelloBody("0123456789abcdef0123456789ABCDEF", []int{0x0A0A, aes13, ecdheRSA},
		sni("host.example.org")+ext(extVersions, vec8(list16(0x1A1A, VersionTLS13, VersionTLS12)))+ext(extECH, "hidden")))
	chose13  = ext(extVersions, u16(VersionTLS13))
	share    = ext(extKeyShare, u16(29)+vec16(random))
	answer13 = hs(msgServerHello, serverHelloBody(random, "0123456789abcdef0123456789ABCDEF", aes13, chose13+share))
)

// sessions runs the steps and returns the sessions and certificates, and the names of weirds.
func sessions(t *testing.T, steps ...decodertest.Step) (out []*Session, certs []*Certificate, weirds []string) {
	t.Helper()
	return sorted(t, decodertest.Run(t, Spec(nil), steps...))
}

func sorted(t *testing.T, events []any) (out []*Session, certs []*Certificate, weirds []string) {
	t.Helper()
	for _, ev := range events {
		switch ev := ev.(type) {
		case *Session:
			out = append(out, ev)
		case *Certificate:
			if len(out) > 0 {
				t.Error("a certificate came after its session")
			}
			certs = append(certs, ev)
		case *capture.Weird:
			weirds = append(weirds, ev.Name)
		default:
			t.Errorf("unexpected %T", ev)
		}
	}
	return out, certs, weirds
}

// full12 is a handshake of TLS 1.2 with a certificate, whose messages share records as OpenSSL sends them.
func full12(der string) []decodertest.Step {
	return []decodertest.Step{
		c(hello12),
		s(hs(msgServerHello, serverHelloBody(random, "", ecdheRSA, alpnExt("h2"))) +
			rec(typeHandshake, msg(msgCertificate, certificates(der))+msg(msgServerKeyExchange, ecdhe())+msg(msgServerHelloDone, ""))),
		c(hs(msgClientKeyExchange, "key") + ccs + secret),
		s(hs(msgNewSessionTicket, "\x00\x00\x00\x00"+vec16("ticket")) + ccs + secret),
		c(data), s(data),
	}
}

func TestHandshakes(t *testing.T) {
	der := goodCert().der()
	id := "0123456789abcdef0123456789ABCDEF"
	retry := hs(msgServerHello, serverHelloBody(retryRandom, id, aes13, chose13+ext(extKeyShare, u16(24))))
	ticketHello := hs(msgClientHello, clientHelloBody("", []int{ecdheRSA}, ext(extTicket, "a ticket")))
	for _, tc := range []struct {
		name  string
		steps []decodertest.Step
		want  map[string]any // columns; nil: not set
	}{
		{"TLS 1.2 with everything", full12(der), map[string]any{
			"version": "TLSv12", "cipher": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "curve": "x25519", "server_name": "host.example.org",
			"next_protocol": "h2", "established": true, "resumed": false, "ssl_history": "CsxknGIti", "sni_matches_cert": true,
			"last_alert": nil, "ech": false,
		}},
		{"TLS 1.3, encrypted behind ServerHello", []decodertest.Step{c(hello13), s(answer13 + ccs + data), c(ccs + data)}, map[string]any{
			"version": "TLSv13", "curve": "x25519", "established": true, "resumed": false, "ssl_history": "CsiI", "next_protocol": nil,
			"cert_chain_fps": nil, "sni_matches_cert": nil, "ech": true,
		}},
		{"TLS 1.3 without the ChangeCipherSpec that means nothing", []decodertest.Step{c(hello13), s(answer13 + data), c(data)}, map[string]any{
			"established": true, "ssl_history": "Cs",
		}},
		{"retry, ChangeCipherSpec in between, second hello in the clear",
			[]decodertest.Step{c(hello13), s(retry + ccs), c(ccs + hello13), s(answer13 + data), c(data)}, map[string]any{
				"established": true, "ssl_history": "CjiICs", "curve": "x25519",
			}},
		{"server that never was answered", []decodertest.Step{c(hello13), s(answer13 + ccs + data)}, map[string]any{
			"established": false, "ssl_history": "Csi", "version": "TLSv13",
		}},
		{"pre-shared key accepted", []decodertest.Step{
			c(hs(msgClientHello, clientHelloBody("", []int{aes13}, ext(extVersions, vec8(u16(VersionTLS13)))+ext(extPSK, "offer")))),
			s(hs(msgServerHello, serverHelloBody(random, "", aes13, chose13+share+ext(extPSK, "\x00\x00"))) + data), c(data)},
			map[string]any{"resumed": true, "established": true}},
		{"session id taken up", []decodertest.Step{c(hs(msgClientHello, clientHelloBody(id, []int{plainRSA}, ""))),
			s(hs(msgServerHello, serverHelloBody(random, id, plainRSA, "")) + ccs + secret), c(ccs + secret)},
			map[string]any{"resumed": true, "established": true, "ssl_history": "CsiI"}},
		{"echoed session id means nothing in TLS 1.3", []decodertest.Step{c(hello13), s(answer13 + data), c(data)},
			map[string]any{"resumed": false}},
		{"ticket taken up", []decodertest.Step{c(ticketHello), s(hs(msgServerHello, serverHelloBody(random, "", ecdheRSA, "")) + ccs + secret), c(ccs + secret)},
			map[string]any{"resumed": true, "curve": nil}},
		{"ticket not taken up", append([]decodertest.Step{c(ticketHello)}, full12(der)[1:]...), map[string]any{"resumed": false}},
		{"refused", []decodertest.Step{c(hello12), s(rec(typeAlert, "\x02\x28"))}, map[string]any{
			"last_alert": "handshake_failure", "ssl_history": "Cl", "version": nil, "cipher": nil, "established": false,
		}},
		{"warned of the name and gone on", append([]decodertest.Step{c(hello12), s(rec(typeAlert, "\x01\x70"))}, full12(der)[1:]...), map[string]any{
			"last_alert": "unrecognized_name", "ssl_history": "ClsxknGIti", "established": true,
		}},
		{"two alerts in a record", []decodertest.Step{c(hello12), s(rec(typeAlert, "\x01\x70\x02\x28"))}, map[string]any{
			"last_alert": "handshake_failure", "ssl_history": "Cll",
		}},
		{"only the client was captured", []decodertest.Step{c(hello12), c(hs(msgClientKeyExchange, "key") + ccs + secret + data)}, map[string]any{
			"ssl_history": "CGI", "established": false, "version": nil,
		}},
		{"only the server was captured", full12(der)[1:2], map[string]any{
			"ssl_history": "sxkn", "established": false, "version": "TLSv12", "server_name": nil, "ja3": nil, "ech": nil,
		}},
		{"client certificate", []decodertest.Step{c(hello12),
			s(hs(msgServerHello, serverHelloBody(random, "", plainRSA, "")) + hs(msgCertificate, certificates(der)) + hs(msgCertificateRequest, "x") + hs(msgServerHelloDone, "")),
			c(hs(msgCertificate, certificates(der)) + hs(msgClientKeyExchange, "k") + hs(msgCertificateVerify, "v") + ccs + secret), s(ccs + secret)},
			map[string]any{"ssl_history": "CsxrnXGYIi", "established": true}},
		{"client without a certificate to show", []decodertest.Step{c(hello12), s(hs(msgServerHello, serverHelloBody(random, "", plainRSA, ""))),
			c(hs(msgCertificate, certificates()))}, map[string]any{"ssl_history": "CsX", "cert_chain_fps": nil}},
		{"heartbeat in the clear", []decodertest.Step{c(hello12), s(hs(msgServerHello, serverHelloBody(random, "", plainRSA, ""))),
			c(rec(typeHeartbeat, "\x01\x40\x00"))}, map[string]any{"ssl_history": "CsB", "established": false}},
		{"draft of TLS 1.3 without session id", []decodertest.Step{c(hello13),
			s(hs(msgServerHello, "\x7F\x13"+random+u16(aes13)+vec16(ext(extKeyShareOld, u16(29)+vec16(random)))) + data), c(data)},
			map[string]any{"version": "TLSv13-draft19", "curve": "x25519", "established": true}},
		{"the flow's opener is the server", []decodertest.Step{s(hello12), c(string(full12(der)[1].Data)), s(hs(msgClientKeyExchange, "k") + ccs + secret), c(ccs + secret)},
			map[string]any{"ssl_history": "^CsxknGIi", "established": true, "server_name": "host.example.org", "sni_matches_cert": true}},
		{"chained block ciphers with explicit curves", []decodertest.Step{c(hello12),
			s(hs(msgServerHello, serverHelloBody(random, "", ecdheRSA, "")) + hs(msgServerKeyExchange, "\x01 whatever"))},
			map[string]any{"curve": nil, "ssl_history": "Csk"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _, _ := sessions(t, tc.steps...)
			if len(got) != 1 {
				t.Fatalf("%d sessions, want 1", len(got))
			}
			cols := row(got[0]).set
			for name, want := range tc.want {
				if v, ok := cols[name]; want == nil && ok || want != nil && v != want {
					t.Errorf("%s: %v, want %v", name, v, want)
				}
			}
			decodertest.CutAndPoison(t, Spec(nil), tc.steps...)
		})
	}
}

func TestEmittedAsSoonAsBothEncrypt(t *testing.T) {
	got, _, _ := sessions(t, full12(goodCert().der())...)
	steps := full12(goodCert().der())
	early := decodertest.Run(t, Spec(nil), steps[:4]...) // without the data behind the handshake
	if len(got) != 1 || len(early) != 2 || !early[1].(*Session).Established {
		t.Errorf("not established by the Finished of the server: %v", early)
	}
	if got[0].Packet != 1 {
		t.Errorf("session begins at packet %d", got[0].Packet)
	}
}

func TestEncryptedRecordThatEndsLaterIsJudgedThen(t *testing.T) {
	// The last record of the handshake is cut off by the end of the capture: it was not seen to be one.
	steps := []decodertest.Step{c(hello13), s(answer13 + data), c(data[:100])}
	got, _, _ := sessions(t, steps...)
	if len(got) != 1 || got[0].Established {
		t.Errorf("%+v", got)
	}
}

func TestCertificateEvents(t *testing.T) {
	host, ca := goodCert().der(), goodCert()
	ca.serial = tlv(tagInt, "\x07")
	steps := full12(host)
	steps[1] = s(hs(msgServerHello, serverHelloBody(random, "", ecdheRSA, "")) + hs(msgCertificate, certificates(host, "", "not a certificate", ca.der())))
	got, certs, weirds := sessions(t, steps[:2]...)
	if len(certs) != 2 || !certs[0].Host || certs[1].Host || certs[1].Serial != "07" || certs[0].FromClient {
		t.Fatalf("certificates: %+v", certs)
	}
	if want := []string{"zero_length_certificate", "x509_cert_parse_error"}; !slices.Equal(weirds, want) {
		t.Errorf("weirds %v, want %v", weirds, want)
	}
	r := row(got[0]).set
	if fps, _ := r["cert_chain_fps"].([]string); !slices.Equal(fps, []string{certs[0].Fingerprint, certs[1].Fingerprint}) {
		t.Errorf("cert_chain_fps %v", fps)
	}
	if fps, ok := r["client_cert_chain_fps"].([]string); !ok || len(fps) != 0 {
		t.Errorf("client_cert_chain_fps %v, want set and empty", fps)
	}
	if certs[0].Packet != 2 || certs[0].Flow == nil {
		t.Errorf("certificate at %+v", certs[0].At)
	}
}

func TestChainOfMoreCertificatesThanKept(t *testing.T) {
	ders := make([]string, maxChain+3)
	for i := range ders {
		ders[i] = goodCert().der()
	}
	got, certs, weirds := sessions(t, c(hello12), s(hs(msgServerHello, serverHelloBody(random, "", plainRSA, ""))),
		s(split(msg(msgCertificate, certificates(ders...)), 16000)))
	if len(got) != 1 || len(got[0].Server) != maxChain || len(certs) != maxChain || !slices.Equal(weirds, []string{"tls_certificate_chain_too_long"}) {
		t.Errorf("%d certificates, %d events, weirds %v", len(got[0].Server), len(certs), weirds)
	}
}

// split spreads handshake messages over records of n octets.
func split(m string, n int) (out string) {
	for len(m) > n {
		out, m = out+rec(typeHandshake, m[:n]), m[n:]
	}
	return out + rec(typeHandshake, m)
}

func TestMessagesOverRecords(t *testing.T) {
	big := goodCert()
	var dns []string
	for i := range 900 {
		dns = append(dns, tlv(0x82, fmt.Sprintf("host%d.example.net", i)))
	}
	big.exts = names(dns...)
	m := msg(msgServerHello, serverHelloBody(random, "", plainRSA, "")) + msg(msgCertificate, certificates(big.der())) + msg(msgServerHelloDone, "")
	for _, n := range []int{1, 3, 5, 100, 16384} {
		steps := []decodertest.Step{c(split(hello12[5:], n)), s(split(m, n))}
		got, certs, _ := sessions(t, steps...)
		if len(got) != 1 || got[0].History != "Csxn" || len(certs) != 1 || len(certs[0].DNS) != maxNames {
			t.Fatalf("records of %d: %+v", n, got)
		}
	}
	decodertest.CutAndPoison(t, Spec(nil), c(split(hello12[5:], 7)), s(split(m, 1000)))
}

func TestMessageTooLongIsPassedOver(t *testing.T) {
	m := msg(msgServerHello, serverHelloBody(random, "", ecdheRSA, "")) + msg(msgCertificate, strings.Repeat("x", maxMessage+1)) +
		msg(msgServerKeyExchange, ecdhe()) + msg(msgServerHelloDone, "")
	steps := []decodertest.Step{c(hello12), s(split(m, 16384))}
	got, certs, weirds := sessions(t, steps...)
	if len(got) != 1 || got[0].History != "Csxkn" || got[0].Curve != 29 || len(certs) != 0 || !slices.Equal(weirds, []string{"tls_handshake_message_too_long"}) {
		t.Errorf("%+v, weirds %v", got, weirds)
	}
	decodertest.CutAndPoison(t, Spec(nil), steps...)
}

func TestBrokenHandshakesEndTheSession(t *testing.T) {
	bad := hello12[5:]
	for _, tc := range []struct {
		name  string
		steps []decodertest.Step
		want  string // history
		weird string
	}{
		{"plain text behind the hello", []decodertest.Step{c(hello12), s("HTTP/1.1 400 Bad Request\r\n\r\n")}, "C", ""},
		{"a message that claims 16 MiB", []decodertest.Step{c(hello12), s(rec(typeHandshake, "\x0B\xFF\xFF\xFF"))}, "C", "tls_handshake_message_too_long"},
		{"a clear record over the limit", []decodertest.Step{c(hello12), s("\x16\x03\x03\xFF\xFF")}, "C", "tls_record_overflow"},
		{"message of no known type", []decodertest.Step{c(hello12), s(hs(99, "x"))}, "C", ""},
		{"record of no known type", []decodertest.Step{c(hello12), s(rec(77, "x"))}, "C", ""},
		{"half an alert", []decodertest.Step{c(hello12), s(rec(typeAlert, "\x02"))}, "C", ""},
		{"certificate list that is too short", []decodertest.Step{c(hello12), s(hs(msgCertificate, u24(99)+"short"))}, "C", ""},
		{"key exchange that ends in its point", []decodertest.Step{c(hello12), s(hs(msgServerHello, serverHelloBody(random, "", ecdheRSA, "")) +
			hs(msgServerKeyExchange, "\x03\x00\x1D\xFFshort"))}, "Cs", ""},
		{"extensions that run over", []decodertest.Step{c(rec(typeHandshake, msg(1, bad[4:len(bad)-2])))}, "", ""},
		{"data before the keys", []decodertest.Step{c(hello12), s(hs(msgServerHello, serverHelloBody(random, "", plainRSA, ""))), c(data)}, "Cs", "ssl_early_application_data"},
		{"a gap", []decodertest.Step{c(hello12), {Dir: capture.Resp, Gap: 100}, s(answer13)}, "C", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _, weirds := sessions(t, tc.steps...)
			if len(got) != 1 || got[0].History != tc.want || got[0].Established {
				t.Fatalf("sessions %+v", got)
			}
			if got := strings.Join(weirds, " "); got != tc.weird {
				t.Errorf("weirds %q, want %q", got, tc.weird)
			}
		})
	}
}

func TestWeirdsAreSaidOnce(t *testing.T) {
	steps := []decodertest.Step{c(hello12), s(hs(msgServerHello, serverHelloBody(random, "", plainRSA, "")))}
	for range maxChain {
		steps = append(steps, c(data), s(hs(msgCertificate, certificates("no", "", "certificate"))))
	}
	_, _, weirds := sessions(t, steps...)
	want := []string{"ssl_early_application_data", "x509_cert_parse_error", "zero_length_certificate", "tls_certificate_chain_too_long",
		"SSL_max_ssl_history_length_reached"}
	if !slices.Equal(weirds, want) {
		t.Errorf("weirds %v", weirds)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	got, _, weirds := sessions(t, c(hello12), s(strings.Repeat(rec(typeAlert, "\x01\x70"), 300)))
	if len(got) != 1 || len(got[0].History) != maxHistory || !slices.Equal(weirds, []string{"SSL_max_ssl_history_length_reached"}) {
		t.Errorf("%d letters, weirds %v", len(got[0].History), weirds)
	}
}

func TestServerNames(t *testing.T) {
	two := ext(extServerName, vec16("\x00"+vec16("a.example")+"\x00"+vec16("b.example")))
	odd := ext(extServerName, vec16("\x05"+vec16("x")))
	for name, tc := range map[string]struct{ exts, want, weird string }{
		"two names":      {two, "a.example", "SSL_many_server_names"},
		"unknown type":   {odd, "", "ssl_ext_unknown_server_name_type"},
		"length is wild": {ext(extServerName, "\xFF\xFF\x00\x00\x03abc"), "", ""},
		"very long":      {sni(strings.Repeat("a", 9000)), strings.Repeat("a", maxServerName), "tls_server_name_too_long"},
	} {
		got, _, weirds := sessions(t, c(hs(msgClientHello, clientHelloBody("", []int{aes13}, tc.exts))))
		if len(got) != 1 || got[0].ServerName != tc.want || strings.Join(weirds, " ") != tc.weird {
			t.Errorf("%s: %d octets of name, weirds %v", name, len(got[0].ServerName), weirds)
		}
	}
}

// sslv2 is a record of SSLv2.
func sslv2(body string) string { return u16(0x8000|len(body)) + body }

func TestOldHellos(t *testing.T) {
	hello := func(version string) string {
		return sslv2("\x01" + version + u16(6) + u16(0) + u16(16) + "\x01\x00\x80" + "\x00\x00\x2F" + random[:16])
	}
	server := sslv2("\x04\x00\x01\x00\x02" + u16(len(goodCert().der())) + u16(3) + u16(16) + goodCert().der() + "\x01\x00\x80" + random[:16])
	master := sslv2("\x02\x01\x00\x80" + u16(0) + u16(3) + u16(0) + "key")

	got, certs, _ := sessions(t, c(hello("\x00\x02")), s(server), c(master))
	if len(got) != 1 || len(certs) != 1 {
		t.Fatalf("sessions %v", got)
	}
	r := row(got[0]).set
	if r["version"] != "SSLv2" || r["cipher"] != "SSLv20_CK_RC4_128_WITH_MD5" || r["ssl_history"] != "Cs" || r["established"] != true || r["ja4"] != nil {
		t.Errorf("SSLv2: %v", r)
	}
	// A hello in the old form that asks for TLS.
	steps := append([]decodertest.Step{c(hello("\x03\x01"))}, full12(goodCert().der())[1:]...)
	got, _, _ = sessions(t, steps...)
	if len(got) != 1 || got[0].History != "CsxknGIti" || got[0].Version != VersionTLS12 || !got[0].Established {
		t.Errorf("old hello, new answer: %+v", got)
	}
	decodertest.CutAndPoison(t, Spec(nil), c(hello("\x00\x02")), s(server), c(master))
	decodertest.CutAndPoison(t, Spec(nil), steps...)
}

func TestProbe(t *testing.T) {
	server := string(full12("")[1].Data)
	for _, tc := range []struct {
		name       string
		orig, resp string
		mid        bool
		want       decoders.Verdict
	}{
		{"nothing", "", "", false, decoders.Maybe},
		{"hello", hello12, "", false, decoders.Yes},
		{"hello in a flow that began before", hello12, "", true, decoders.Yes},
		{"two octets", hello12[:2], "", false, decoders.Maybe},
		{"header only", hello12[:5], "", false, decoders.Maybe},
		{"hello in records of one octet", split(hello12[5:], 1)[:40], "", false, decoders.Yes},
		{"server alone", "", server, false, decoders.Yes},
		{"server that warns first", "", rec(typeAlert, "\x01\x70") + server, false, decoders.Yes},
		{"roles exchanged", server, hello12, false, decoders.Yes},
		{"roles exchanged, direction guessed", server, hello12, true, decoders.Flipped},
		{"hello of the responder, who opened last", "", hello12, false, decoders.Yes},
		{"a record that is no hello", rec(typeHandshake, msg(msgFinished, random+random)), "", false, decoders.No},
		{"data of a session that began before", data, "", true, decoders.No},
		{"alert alone", "", rec(typeAlert, "\x02\x28"), false, decoders.Maybe},
		{"DTLS over TCP", dtls(typeHandshake, 0, 0, whole(1, 0, clientHelloBody("", []int{1}, ""))), "", false, decoders.No},
		{"hello that is too short to be one", rec(typeHandshake, msg(1, "\x03\x03")), "", false, decoders.No},
		{"HTTP", "GET / HTTP/1.1\r\n", "", false, decoders.No},
		{"TLS against something else", "QUIT\r\n", server, false, decoders.No},
		{"0x80 and noise", "\x80\x2E\x01\x03\x01\x00\x07\x00\x00\x00\x10abcdefg", "", false, decoders.No},
	} {
		if got := probe([]byte(tc.orig), []byte(tc.resp), tc.mid); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestServiceNeedsAClient(t *testing.T) {
	if got := decodertest.Services(t, Spec(nil), full12(goodCert().der())...); !slices.Equal(got, []string{"ssl"}) {
		t.Errorf("services %v", got)
	}
	if got := decodertest.Services(t, Spec(nil), full12(goodCert().der())[1:2]...); len(got) != 0 {
		t.Errorf("services %v for a server alone: Zeek has none", got)
	}
}

func TestRowsOfZeroValuesHaveAllColumns(t *testing.T) {
	want := "ts uid id.orig_h id.orig_p id.resp_h id.resp_p version cipher curve server_name resumed last_alert next_protocol " +
		"established ssl_history cert_chain_fps client_cert_chain_fps sni_matches_cert ja3 ja3s ja4 ech"
	if got := strings.Join(row(&Session{}).names, " "); got != want {
		t.Errorf("ssl\n got %s\nwant %s", got, want)
	}
	want = "ts fingerprint certificate.version certificate.serial certificate.subject certificate.issuer certificate.not_valid_before " +
		"certificate.not_valid_after certificate.key_alg certificate.sig_alg certificate.key_type certificate.key_length " +
		"certificate.exponent certificate.curve san.dns san.uri san.email san.ip basic_constraints.ca basic_constraints.path_len " +
		"host_cert client_cert"
	if got := strings.Join(row(&Certificate{}).names, " "); got != want {
		t.Errorf("x509\n got %s\nwant %s", got, want)
	}
}

// bare is a context that counts what is emitted and costs nothing.
type bare struct{ emitted int }

func (b *bare) Flow() *capture.Flow   { return nil }
func (b *bare) At() capture.At        { return capture.At{} }
func (b *bare) Emit(any)              { b.emitted++ }
func (b *bare) Weird(string, string)  {}
func (b *bare) Refute(string)         {}
func (b *bare) Skip()                 {}
func (b *bare) Confirm(string)        {}
func (b *bare) Nest() decoders.Nested { return nil }

func TestBulkAllocatesNothing(t *testing.T) {
	// The client was not captured, so that the decoder has to go on for as long as the flow does.
	ctx := &bare{}
	d := Spec(nil).New(ctx)
	for _, b := range []string{answer13, ccs} {
		if n, err := d.Decode(capture.Resp, []byte(b)); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	}
	bulk := []byte(strings.Repeat(rec(typeApplicationData, strings.Repeat("x", 16384+17)), 20))
	at := 0
	if n := testing.AllocsPerRun(1000, func() {
		seg := bulk[at:min(at+1448, len(bulk))]
		used, err := d.Decode(capture.Resp, seg)
		if err != nil {
			t.Fatal(err)
		}
		// A header that is cut is offered again.
		if at += used; at >= len(bulk) {
			at = 0
		}
	}); n != 0 {
		t.Errorf("%v allocations a segment", n)
	}
}

// A client that offers a protocol is not watched, and bulk ends the watch of one that does not.
func TestEndsWhenNothingIsLeftToLearn(t *testing.T) {
	bulk := rec(typeApplicationData, strings.Repeat("x", maxRhythmRecord+1))
	for _, tt := range []struct {
		name, hello, last string
	}{
		{"with ALPN", hs(msgClientHello, clientHelloBody("", []int{0x1301}, alpnExt("h2"))), data},
		{"bulk", hello13, data + bulk},
	} {
		ctx := &bare{}
		d := Spec(nil).New(ctx)
		for _, st := range []decodertest.Step{c(tt.hello), s(answer13 + data)} {
			if _, err := d.Decode(st.Dir, st.Data); err != nil {
				t.Fatal(tt.name, err)
			}
		}
		if _, err := d.Decode(capture.Orig, []byte(tt.last)); err == nil || ctx.emitted != 1 {
			t.Errorf("%s: error %v, emitted %d: bulk data would be put in order for nothing", tt.name, err, ctx.emitted)
		}
		d.End(capture.Orig)
		d.End(capture.Resp)
		if ctx.emitted != 1 {
			t.Errorf("%s: emitted twice", tt.name)
		}
	}
}

func TestRhythm(t *testing.T) {
	app := func(n int) string { return rec(typeApplicationData, strings.Repeat("x", n)) }
	steps := []decodertest.Step{c(hello13), s(answer13 + app(900)), c(app(69))}
	for range 6 {
		steps = append(steps, c(app(233)), s(app(89)))
	}
	end := []decodertest.Step{{Dir: capture.Orig, End: true}, {Dir: capture.Resp, End: true}}
	heard := func(steps []decodertest.Step) (out []*Rhythm) {
		for _, ev := range decodertest.Run(t, Spec(nil), steps...) {
			if r, ok := ev.(*Rhythm); ok {
				out = append(out, r)
			}
		}
		return out
	}
	got := heard(append(steps, end...))
	// The server's flight and the client's Finished are the handshake's.
	if len(got) != 1 || len(got[0].Records) != 12 || got[0].Records[0] != (Record{FromClient: true, Len: 233}) || got[0].Records[1].Len != 89 || got[0].Records[1].FromClient || got[0].Session.JA4 == "" {
		t.Fatalf("%+v", got)
	}
	for range 6 {
		steps = append(steps, c(app(233)), s(app(89)))
	}
	if got = heard(append(steps, c(app(233)))); len(got) != 2 || len(got[0].Records) != rhythmRecords || len(got[1].Records) != rhythmRecords+1 || got[0].Again || !got[1].Again {
		t.Errorf("%d, long session", len(got))
	}
	if got = heard(append(steps[:7:7], end...)); len(got) != 0 {
		t.Error("a few records have no rhythm")
	}
	decodertest.CutAndPoison(t, Spec(nil), append(steps, end...)...)
}

func FuzzStream(f *testing.F) {
	for _, st := range full12(goodCert().der()) {
		f.Add(st.Data, []byte(nil), uint16(7))
	}
	f.Add([]byte(hello13), []byte(answer13+ccs+data), uint16(100))
	f.Add([]byte(hello12+hs(msgClientKeyExchange, "k")+ccs), full12(goodCert().der())[1].Data, uint16(9))
	f.Fuzz(func(t *testing.T, orig, resp []byte, cut uint16) {
		ctx := &bare{}
		d := Spec(nil).New(ctx)
		held := [2][]byte{}
		n := int(cut)%1500 + 1
	feed:
		for len(orig)+len(resp) > 0 {
			for dir, b := range []*[]byte{&orig, &resp} {
				k := min(n, len(*b))
				held[dir] = append(held[dir], (*b)[:k]...)
				*b = (*b)[k:]
				used, err := d.Decode(capture.Dir(dir), held[dir])
				if used < 0 || used > len(held[dir]) {
					t.Fatalf("used %d of %d", used, len(held[dir]))
				}
				if err != nil {
					break feed
				}
				if held[dir] = held[dir][used:]; len(held[dir]) > 5+maxPlain {
					t.Fatalf("leaves %d octets", len(held[dir]))
				}
			}
		}
		d.End(capture.Orig)
		d.End(capture.Resp)
		probe(orig, resp, cut&1 != 0)
	})
}
