package tls

import (
	"strings"
	"testing"
)

// The vectors of the method's authors.
func TestJA3(t *testing.T) {
	full := clientHello{version: 769, ciphers: []uint16{47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4},
		extensions: []uint16{0, 10, 11}, groups: []uint16{23, 24, 25}, pointFormats: []byte{0}}
	if got := full.ja3(); got != "ada70206e40642a3e4461f35503241d5" {
		t.Error(got)
	}
	greased := full
	greased.ciphers = append([]uint16{0x0A0A}, full.ciphers...)
	greased.extensions = append([]uint16{0xFAFA}, append(full.extensions, 0x1A1A)...)
	greased.groups = append([]uint16{0x2A2A}, full.groups...)
	if got := greased.ja3(); got != "ada70206e40642a3e4461f35503241d5" {
		t.Error("with GREASE", got)
	}
	bare := clientHello{version: 769, ciphers: []uint16{4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99}}
	if got := bare.ja3(); got != "de350869b8c85de67a350c8d186f11e6" {
		t.Error("without extensions", got)
	}
	// The hash that the authors print for this one has a line feed hashed along with it; this one is what their code and
	// Wireshark give.
	server := serverHello{version: 769, cipher: 47, extensions: []uint16{65281, 0, 11, 35, 5, 16}}
	if got := server.ja3s(); got != "836ce314215654b5b1f85f97c73e506f" {
		t.Error("JA3S", got)
	}
}

// The example of the specification.
func example() clientHello {
	return clientHello{
		version:    VersionTLS12,
		versions:   []uint16{0x7A7A, VersionTLS13, VersionTLS12},
		ciphers:    []uint16{0x3A3A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035},
		extensions: []uint16{0xEAEA, 0x001B, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002D, 0x000D, 0x0005, 0x0023, 0x0012, 0x002B, 0xFF01, 0x000B, 0x000A, 0x0015},
		sigAlgs:    []uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601},
		offered:    []string{"h2", "http/1.1"},
		hasName:    true,
	}
}

func TestJA4(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*clientHello)
		over Transport
		want string
	}{
		{"the example", func(*clientHello) {}, TCP, "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"no signature algorithms", func(h *clientHello) { h.sigAlgs = nil }, TCP, "t13d1516h2_8daaf6152771_6d807ffa2a79"},
		{"GREASE among them", func(h *clientHello) { h.sigAlgs = append(h.sigAlgs, 0x5A5A) }, TCP, "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"QUIC, no name, no protocol", func(h *clientHello) { h.hasName, h.offered = false, nil }, QUIC, "q13i151600_8daaf6152771_e5627efa2ab1"},
		{"nothing", func(h *clientHello) { *h = clientHello{version: VersionTLS10} }, TCP, "t10i000000_000000000000_000000000000"},
		{"only name and protocol", func(h *clientHello) {
			*h = clientHello{version: VersionSSL3, extensions: []uint16{0, 16}, hasName: true}
		}, TCP,
			"ts3d000200_000000000000_000000000000"},
		{"more than two digits", func(h *clientHello) {
			*h = clientHello{version: 0x0999, ciphers: make([]uint16, 120)}
		}, TCP, "t00i990000_" + hashOf(strings.Repeat("0000,", 119)+"0000") + "_000000000000"},
		{"DTLS counts downwards", func(h *clientHello) {
			*h = clientHello{version: VersionDTLS12, versions: []uint16{VersionDTLS12, VersionDTLS13}}
		}, DTLS,
			"dd3i000000_000000000000_000000000000"},
	} {
		h := example()
		tc.edit(&h)
		if got := h.ja4(tc.over); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func hashOf(s string) string { return string(appendHash(nil, []byte(s))) }

func TestJA4Protocols(t *testing.T) {
	for in, want := range map[string]string{
		"": "00", "h2": "h2", "http/1.1": "h1", "x": "xx",
		"\xAB": "ab", "\xAB\xCD": "ad", "0\xAB": "3b", "01\xAB\xCD": "3d", "0\xAB\xCD1": "01", "-h": "28",
	} {
		if got := string((&clientHello{offered: []string{in}}).appendALPN(nil)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		VersionName(VersionTLS12): "TLSv12", VersionName(VersionDTLS13): "DTLSv13", VersionName(0x7F1C): "TLSv13-draft28",
		VersionName(0xFB1A): "unknown-64282", VersionName(0x7E01): "unknown-32257",
		CipherName(0x1301): "TLS_AES_128_GCM_SHA256", CipherName(0x010080): "SSLv20_CK_RC4_128_WITH_MD5", CipherName(0xEEEE): "unknown-61166",
		CipherName(0x4A4A): "grease_0x4A4A", GroupName(29): "x25519", GroupName(1): "sect163k1", GroupName(41): "curveSM2",
		GroupName(4588): "X25519MLKEM768", GroupName(42): "unknown-42", GroupName(0x0A0A): "grease_0x0A0A",
		AlertName(0): "close_notify", AlertName(255): "unknown-255",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for i := 1; i < len(ciphers); i++ {
		if ciphers[i].id <= ciphers[i-1].id {
			t.Errorf("ciphers are out of order at %04X", ciphers[i].id)
		}
	}
}

func FuzzHellos(f *testing.F) {
	f.Add([]byte(hello12[9:]))
	f.Add([]byte(hello13[9:]))
	f.Add([]byte(answer13[9:]))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h clientHello
		h.parse(b)
		if len(h.offered) > maxOffered || len(h.names) > 2 {
			t.Error("a bound does not hold")
		}
		h.ja3()
		if got := h.ja4(QUIC); len(got) != len("q13d0310h3_55b375c5d22e_cd85d2d88918") {
			t.Errorf("JA4 %q", got)
		}
		var s serverHello
		s.parse(b)
		s.ja3s()
	})
}
