package join_test

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/raytap/raytap/fleet/observe"
)

// FuzzAdd shows a joiner packs with anything in them, from two sensors in turn.
func FuzzAdd(f *testing.F) {
	dir := f.TempDir()
	for _, p := range split(f, shadowray, dir, way{"flows", 3, false}) {
		for _, r := range observed(f, dir, p) {
			p, err := observe.ParseRow(r)
			if err != nil {
				f.Fatal(err)
			}
			b, err := io.ReadAll(flate.NewReader(bytes.NewReader(p.Data)))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var z bytes.Buffer
		w, _ := flate.NewWriter(&z, flate.BestSpeed)
		_, _ = w.Write(b)
		_ = w.Close()
		h := newHub(t, nil)
		for n := 1; n < 3; n++ {
			body, err := json.Marshal(map[string]any{"ts": 2e9, "run": "r", "number": n, "events": 1, "data": z.Bytes()})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []string{"a", "b"} {
				_ = h.Add(s, body, uint64(n), future.Add(time.Duration(n)*time.Minute))
			}
		}
		_ = h.Resume()
		h.End()
	})
}
