package tls

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
)

func TestCertificateFields(t *testing.T) {
	good := goodCert()
	x := new(store).get([]byte(good.der()))
	if x == nil {
		t.Fatal("a plain certificate was refused")
	}
	sum := sha256.Sum256([]byte(good.der()))
	if x.Fingerprint != hex.EncodeToString(sum[:]) {
		t.Error("fingerprint", x.Fingerprint)
	}
	f := row(&Certificate{X509: x}).set
	for name, want := range map[string]any{
		"certificate.version": uint64(3), "certificate.serial": "0102AB",
		"certificate.subject": "CN=host.example.org,C=US", "certificate.issuer": "CN=Root,O=Ca\\, Inc.,C=US",
		"certificate.not_valid_before": capture.Time(1704164645e9), "certificate.not_valid_after": capture.Time(2556143999e9),
		"certificate.key_alg": "rsaEncryption", "certificate.sig_alg": "sha256WithRSAEncryption",
		"certificate.key_type": "rsa", "certificate.key_length": uint64(1024), "certificate.exponent": "65537",
	} {
		if f[name] != want {
			t.Errorf("%s: %v, want %v", name, f[name], want)
		}
	}
	for _, name := range []string{"certificate.curve", "san.dns", "basic_constraints.ca", "basic_constraints.path_len"} {
		if v, ok := f[name]; ok {
			t.Errorf("%s is set: %v", name, v)
		}
	}
}

// Every case is something that a server sent and that stricter readers refuse, or a form that is printed in its own way.
func TestCertificatesAsTheyAre(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*cert)
		got  func(*X509) string
		want string
	}{
		{"version 1 has no version", func(c *cert) { c.version = "" }, func(x *X509) string { return string(rune('0' + x.Version)) }, "1"},
		{"negative serial", func(c *cert) { c.serial = tlv(tagInt, "\xFF\x01") }, func(x *X509) string { return x.Serial }, "-FF"},
		{"serial with a zero before the sign bit", func(c *cert) { c.serial = tlv(tagInt, "\x00\x80") }, func(x *X509) string { return x.Serial }, "80"},
		{"serial zero", func(c *cert) { c.serial = tlv(tagInt, "\x00") }, func(x *X509) string { return x.Serial }, "00"},
		{"serial longer than a line", func(c *cert) { c.serial = tlv(tagInt, strings.Repeat("\x11", 36)) },
			func(x *X509) string { return x.Serial }, strings.Repeat("11", 35) + "\\\n11"},
		{"length in more octets than needed", func(c *cert) { c.serial = "\x02\x82\x00\x01\x05" }, func(x *X509) string { return x.Serial }, "05"},
		{"several values in one set, in reverse", func(c *cert) {
			c.subject = seq(tlv(tagSet, seq(oid(oidCommonName), tlv(0x13, "A")), seq(oid("\x55\x04\x07"), tlv(0x13, "B"))), rdn(countryID, 0x13, "DE"))
		}, func(x *X509) string { return x.Subject }, "C=DE,L=B+CN=A"},
		{"UTF-16 and Latin-1", func(c *cert) {
			c.subject = seq(rdn(orgID, 0x1E, "\x00Z\x00\xFC\x20\xAC"), rdn(oidCommonName, 0x14, "\xE9"))
		}, func(x *X509) string { return x.Subject }, `CN=\C3\A9,O=Z\C3\BC\E2\82\AC`},
		{"UTF-16 that is cut", func(c *cert) { c.subject = seq(rdn(orgID, 0x1E, "\x00Z\x00")) }, func(x *X509) string { return x.Subject }, "O=#1E03005A00"},
		{"what must be escaped", func(c *cert) { c.subject = seq(rdn(oidCommonName, 0x0C, "# a,+\"\\<>;=\x00\x7F ")) },
			func(x *X509) string { return x.Subject }, `CN=\# a\,\+\"\\\<\>\;=\00\7F\ `},
		{"attribute without a name", func(c *cert) { c.subject = seq(rdn("\x2A\x03\x04", 0x13, "hi")) }, func(x *X509) string { return x.Subject }, "1.2.3.4=#13026869"},
		{"empty subject", func(c *cert) { c.subject = seq() }, func(x *X509) string { return x.Subject }, ""},
		{"last of several common names", func(c *cert) { c.subject = seq(rdn(oidCommonName, 0x13, "a"), rdn(oidCommonName, 0x13, "b")) },
			func(x *X509) string { return x.CommonName }, "b"},
		{"name as long as a book", func(c *cert) { c.subject = seq(rdn(orgID, 0x13, strings.Repeat("x", 5000))) },
			func(x *X509) string { return x.Subject }, "O=" + strings.Repeat("x", maxDN-2)},
		{"date without seconds", func(c *cert) { c.notBefore = tlv(tagUTCTime, "9912312359Z") }, func(x *X509) string { return x.NotBefore.Format(time.DateTime) }, "1999-12-31 23:59:00"},
		{"date with a zone", func(c *cert) { c.notAfter = tlv(tagGenTime, "20240101000000+0130") },
			func(x *X509) string { return x.NotAfter.UTC().Format(time.DateTime) }, "2023-12-31 22:30:00"},
		{"date that is none", func(c *cert) { c.notBefore = tlv(tagUTCTime, "never") }, func(x *X509) string { return x.NotBefore.Format(time.DateOnly) }, "0001-01-01"},
		{"key called by a signature, as terminal servers do", func(c *cert) { c.spki = strings.Replace(c.spki, rsaOID, rsaOID[:8]+"\x04", 1) },
			func(x *X509) string { return x.KeyAlg + " " + x.KeyType }, "md5WithRSAEncryption rsa"},
		{"exponent 3", func(c *cert) { c.spki = rsaKey(2048, "\x03") }, func(x *X509) string { return x.Exponent }, "3"},
		{"exponent that would take minutes to print", func(c *cert) { c.spki = rsaKey(2048, strings.Repeat("\x7F", 20000)) }, func(x *X509) string { return x.Exponent }, ""},
		{"curve", func(c *cert) { c.spki = seq(seq(oid(ecKey), oid(p256)), tlv(tagBits, "\x00\x04point")) },
			func(x *X509) string { return x.KeyType + " " + x.Curve }, "ecdsa prime256v1"},
		{"curve without a name", func(c *cert) { c.spki = seq(seq(oid(ecKey), seq()), tlv(tagBits, "\x00\x04point")) }, func(x *X509) string { return x.KeyType }, ""},
		{"key of a kind unknown", func(c *cert) { c.spki = seq(seq(oid("\x2A\x03\x05")), tlv(tagBits, "\x00key")) }, func(x *X509) string { return x.KeyAlg }, "1.2.3.5"},
		{"key that is garbage", func(c *cert) { c.spki = seq(seq(oid(rsaOID)), tlv(tagBits, "\x00garbage")) }, func(x *X509) string { return x.KeyAlg + x.KeyType }, "rsaEncryption"},
		{"constraints", func(c *cert) {
			c.exts = seq(oid(oidBasicConstraints), tlv(tagBool, "\xFF"), tlv(tagOctets, seq(tlv(tagBool, "\xFF"), tlv(tagInt, "\x03"))))
		}, func(x *X509) string { return string(rune('0' + x.PathLen)) }, "3"},
		{"names of every kind", func(c *cert) {
			c.exts = names(tlv(0x82, "a.b"), tlv(0x81, "m@b"), tlv(0x86, "urn:x"), tlv(0x87, "\x01\x02\x03\x04"), tlv(0x87, strings.Repeat("\x00", 15)+"\x01"), tlv(0x87, "bad"), tlv(0xA0, "other"))
		}, func(x *X509) string { return strings.Join(slices.Concat(x.DNS, x.Email, x.URI, x.IP), " ") }, "a.b m@b urn:x 1.2.3.4 ::1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := goodCert()
			tc.edit(&c)
			x := new(store).get([]byte(c.der()))
			if x == nil {
				t.Fatal("refused")
			}
			if got := tc.got(x); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestNoCertificates(t *testing.T) {
	good := goodCert().der()
	for name, der := range map[string]string{
		"nothing":           "",
		"cut":               good[:len(good)-1],
		"another tag":       "\x31" + good[1:],
		"indefinite length": "\x30\x80" + good + "\x00\x00",
		"length of 4 GiB":   "\x30\x84\xFF\xFF\xFF\xFF" + good,
		"no contents":       seq(),
		"contents inside":   seq(seq(), seq(oid(rsaOID)), tlv(tagBits, "\x00")),
	} {
		if x := new(store).get([]byte(der)); x != nil {
			t.Errorf("%s: taken for %+v", name, x)
		}
	}
}

func TestTrailingOctetsAreNotPartOfTheFingerprint(t *testing.T) {
	s := new(store)
	a, b := s.get([]byte(goodCert().der())), s.get([]byte(goodCert().der()+"trailer"))
	if a == nil || b == nil || a.Fingerprint != b.Fingerprint {
		t.Error(a, b)
	}
}

func TestStoreIsBounded(t *testing.T) {
	s := new(store)
	for i := range 3 * maxStored {
		c := goodCert()
		c.serial = tlv(tagInt, "\x01"+u24(i))
		if x := s.get([]byte(c.der())); x.Serial != strings.ToUpper(hex.EncodeToString([]byte("\x01"+u24(i)))) {
			t.Fatal(x.Serial)
		}
		if len(s.m) > maxStored {
			t.Fatalf("holds %d", len(s.m))
		}
	}
	big := goodCert()
	big.exts = names(tlv(0x82, strings.Repeat("x", maxStoredSize)))
	before := len(s.m)
	if s.get([]byte(big.der())) == nil || len(s.m) != before {
		t.Error("a big certificate is kept")
	}
}

func TestEternalDatesAreClamped(t *testing.T) {
	c := goodCert()
	c.notAfter = tlv(tagGenTime, "99991231235959Z")
	x := new(store).get([]byte(c.der()))
	got := row(&Certificate{X509: x}).set["certificate.not_valid_after"].(capture.Time)
	if x.NotAfter.Year() != 9999 || got.Std().Year() != 2262 {
		t.Errorf("%v, logged as %v", x.NotAfter, got.Std())
	}
}

func TestNameMatching(t *testing.T) {
	for _, tc := range []struct {
		host, name string
		want       bool
	}{
		{"a.example.org", "a.example.org", true},
		{"a.example.org", "*.example.org", true},
		{"a.b.example.org", "*.example.org", false},
		{"example.org", "*.example.org", false},
		{"example.org", "*.org", false},
		{"fox.example.org", "f*.example.org", true},
		{"box.example.org", "f*.example.org", false},
		{"fox.example.org", "*x.example.org", false},
		{"a.example.org", "a.*.org", false},
		{"A.example.org", "a.example.org", false}, // as Zeek has it
		{"", "", true},
		{"localhost", "*", false},
	} {
		if got := matchName(tc.host, tc.name); got != tc.want {
			t.Errorf("%q against %q: %v", tc.host, tc.name, got)
		}
	}
	withSAN := &X509{HasNames: true, CommonName: "a.example.org"}
	if withSAN.Matches("a.example.org") {
		t.Error("the common name counts although there are other names")
	}
}

func FuzzCertificate(f *testing.F) {
	c := goodCert()
	f.Add([]byte(c.der()))
	c.exts = names(tlv(0x82, "a.b"), tlv(0x87, "\x01\x02\x03\x04")) + seq(oid(oidBasicConstraints), tlv(tagOctets, seq(tlv(tagBool, "\xFF"), tlv(tagInt, "\x03"))))
	c.spki = seq(seq(oid(ecKey), oid(p256)), tlv(tagBits, "\x00\x04point"))
	f.Add([]byte(c.der()))
	c.subject = seq(rdn(orgID, 0x1C, "\x00\x01\xF6\x00"), rdn("\x2A\x03\x04", 0x04, "hi"))
	f.Add([]byte(c.der()))
	f.Fuzz(func(t *testing.T, der []byte) {
		x := new(store).get(der)
		if x == nil {
			return
		}
		if len(x.Subject) > maxDN || len(x.Issuer) > maxDN || len(x.Serial) > 2*maxDN || len(x.DNS) > maxNames {
			t.Error("a bound does not hold")
		}
		row(&Certificate{X509: x})
		x.Matches("host.example.org")
	})
}
