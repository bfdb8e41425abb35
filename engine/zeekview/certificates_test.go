package zeekview

import (
	"strconv"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/tls"
)

func TestCertificatesAreLoggedOnceADay(t *testing.T) {
	var k certificates
	at := func(h int, c tls.Certificate) bool {
		c.Time = capture.Time(h) * 3600e9
		c.X509 = &tls.X509{Fingerprint: "aa"}
		return k.first(&c)
	}
	host := tls.Certificate{Host: true}
	for i, got := range []bool{at(0, host), !at(1, host), at(1, tls.Certificate{}), !at(23, host), at(24, host), !at(47, host), at(48, host)} {
		if !got {
			t.Errorf("answer %d is wrong", i)
		}
	}
	for i := range 3 * maxKnown {
		if !k.first(&tls.Certificate{X509: &tls.X509{Fingerprint: strconv.Itoa(i)}}) {
			t.Fatal("a new one is not new")
		}
	}
	if len(k.young) > maxKnown || len(k.old) > maxKnown {
		t.Errorf("holds %d and %d", len(k.young), len(k.old))
	}
	if k.first(&tls.Certificate{X509: &tls.X509{Fingerprint: strconv.Itoa(3*maxKnown - 1)}}) {
		t.Error("the latest was forgotten")
	}
}
