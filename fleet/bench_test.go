package fleet

import (
	"strings"
	"testing"
	"time"
)

func BenchmarkDecode(b *testing.B) {
	body := `{"ts":1795452146.741831,"uid":"CNZdgJFlsM8b8z1Af7","id.orig_h":"203.0.113.66","id.orig_p":35386,"id.resp_h":"10.20.0.10","id.resp_p":8265,"proto":"tcp","service":"http","duration":0.2,"orig_bytes":512,"resp_bytes":2048,"conn_state":"SF","history":"ShADadFf","orig_pkts":8,"resp_pkts":9,"community_id":"1:` + strings.Repeat("a", 27) + `=","more":"\u00e9\n"}`
	m, err := Row{Sensor: "node-1", Log: "conn", Place: Place{7, 42}, Written: time.Now(), Body: []byte(body)}.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(m.Data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(m); err != nil {
			b.Fatal(err)
		}
	}
}
