package join_test

import (
	"encoding/json"
	"fmt"
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"
	"time"

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

// BenchmarkSensors joins 100 sensors with 50 connections and 50 look-ups a second each, half of which a second sensor sees as well.
func BenchmarkSensors(b *testing.B) {
	const sensors, each = 100, 50
	taps, rows := make([]*observe.Tap, sensors), make([][]byte, sensors)
	bytes := 0
	for i := range taps {
		taps[i] = observe.New("run", observe.Config{Burst: 1 << 30})
		taps[i].Begin(func(r capture.Record) {
			p := r.(*observe.Pack)
			rows[i], _ = json.Marshal(map[string]any{"ts": p.Time.Seconds(), "run": p.Run, "number": p.Number, "events": p.Count, "data": p.Data})
			bytes += len(rows[i])
		})
	}
	h := newHub(b, nil)
	place, events := uint64(0), 0
	b.StopTimer()
	b.ResetTimer()
	for n := range b.N {
		at := capture.Time(1e18 + int64(n)*1e9)
		for i, t := range taps {
			t.Place(at, false)
			for k := range each {
				who := i // sees it alone
				if k%2 == 0 {
					who = i &^ 1
				}
				src := netip.AddrFrom4([4]byte{10, byte(who), byte(k), byte(n)})
				f := &capture.Flow{UID: fmt.Sprintf("C%d-%d-%d", who, k, n), Start: at - 5e8, Proto: capture.ProtoTCP,
					Orig: netip.AddrPortFrom(src, uint16(n)), Resp: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(k)}), 443)}
				t.Event(&dns.Transaction{At: capture.At{Time: at}, Flow: f, Query: fmt.Sprintf("host%d.example.com", k), Asked: true, Answered: true,
					Answers: []dns.Answer{{Name: "host.example.com", Type: 1, Addr: f.Resp.Addr(), TTL: 60}}}, 0)
				t.Event(&capture.Conn{At: capture.At{Time: at}, Flow: f, State: "SF", History: "ShADadFf", Pkts: [2]uint64{5, 5}, Bytes: [2]uint64{100, 1000}}, 0)
			}
			t.Clock(at + 1e9)
		}
		b.StartTimer()
		for i, r := range rows {
			place++
			if err := h.Add(fmt.Sprint("sensor-", i), r, place, at.Std().Add(time.Second)); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		events += sensors * 2 * each
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(bytes)/float64(events), "B/event")
	b.ReportMetric(float64(m.HeapInuse)/1e6, "MB")
	b.ReportMetric(float64(h.Stats().Waiting), "waiting")
}
