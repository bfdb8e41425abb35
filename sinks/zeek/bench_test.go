package zeek

import (
	"testing"

	"github.com/raytap/raytap/capture"
)

// httpRow has the columns of http.log and the lengths that its values usually have.
type httpRow struct{ flow *capture.Flow }

func (r *httpRow) Log() string { return "http" }
func (r *httpRow) Row(w capture.Fields) {
	w.Time("ts", r.flow.Start, true)
	r.flow.ID(w)
	w.Count("trans_depth", 1, true)
	w.String("method", "GET", true)
	w.String("host", "10.20.0.10:8265", true)
	w.String("uri", "/api/jobs/raysubmit_1234567890abcdef/logs/tail", true)
	w.String("referrer", "", false)
	w.String("version", "1.1", true)
	w.String("user_agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36", true)
	w.String("origin", "", false)
	w.Count("request_body_len", 0, true)
	w.Count("response_body_len", 15321, true)
	w.Count("status_code", 200, true)
	w.String("status_msg", "OK", true)
	w.Count("info_code", 0, false)
	w.String("info_msg", "", false)
	w.Set("tags", "enum", nil, true)
	w.String("username", "", false)
	w.String("password", "", false)
	w.Set("proxied", "string", nil, false)
	for _, name := range [...]string{"orig_fuids", "orig_filenames", "orig_mime_types", "resp_fuids", "resp_filenames", "resp_mime_types"} {
		w.Vector(name, "string", nil, false)
	}
}

func BenchmarkRow(b *testing.B) {
	for _, bench := range []struct {
		name, format string
		row          capture.Record
	}{
		{"conn/zeek", TSV, conn()},
		{"conn/json", JSON, conn()},
		{"http/zeek", TSV, &httpRow{conn().Flow}},
		{"http/json", JSON, &httpRow{conn().Flow}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s, err := New(b.TempDir(), Options{Format: bench.format})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.Event(bench.row)
			}
			if err := s.Close(0); err != nil {
				b.Fatal(err)
			}
		})
	}
}
