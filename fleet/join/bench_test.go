package join_test

import (
	"path/filepath"
	"testing"

	"github.com/raytap/raytap/fleet/observe"
)

// BenchmarkJoin joins what three sensors see of all labelled captures, one after another: events a second, and bytes of a row and of an event.
func BenchmarkJoin(b *testing.B) {
	files, err := filepath.Glob("../../pcaps/*.pcap.gz")
	if err != nil {
		b.Fatal(err)
	}
	var all []row
	bytes, events := 0, 0
	for i := 0; i < len(files); i += 4 {
		dir := b.TempDir()
		rows := map[string][][]byte{}
		for _, p := range split(b, files[i], dir, way{"flows", 3, false}) {
			rows[filepath.Base(files[i])+p] = observed(b, dir, p)
		}
		all = append(all, stream(rows)...)
	}
	for i := range all {
		p, err := observe.ParseRow(all[i].body)
		if err != nil {
			b.Fatal(err)
		}
		bytes += len(all[i].body)
		events += p.Count
		all[i].place = uint64(i + 1)
	}
	b.ResetTimer()
	for range b.N {
		h := newHub(b, nil)
		for _, r := range all {
			_ = h.Add(r.sensor, r.body, r.place, r.at)
		}
		h.End()
	}
	b.ReportMetric(float64(bytes)/float64(events), "B/event")
	b.ReportMetric(float64(events)/float64(len(all)), "events/row")
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
