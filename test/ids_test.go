package test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
)

// retimed is a capture of the same packets by another clock.
type retimed struct {
	capture.Source
	time func(capture.Time) capture.Time
}

func (r *retimed) ReadBatch(b *capture.Batch) error {
	err := r.Source.ReadBatch(b)
	for i := range b.Frames {
		b.Frames[i].Time = r.time(b.Frames[i].Time)
	}
	return err
}

// ticking hands out a capture as an interface does: a few frames at a time, and while none come its clock, as often as
// twice in a second for the first minute.
type ticking struct {
	capture.Source
	held capture.Batch
	at   int
	now  capture.Time
	err  error
}

func (s *ticking) ReadBatch(b *capture.Batch) error {
	b.Frames, b.Clock, b.Fill = b.Frames[:0], 0, 0
	if s.at == len(s.held.Frames) {
		if s.err != nil {
			return s.err
		}
		s.held.Frames, s.at = s.held.Frames[:0], 0
		s.err = s.Source.ReadBatch(&s.held)
		if len(s.held.Frames) == 0 {
			return s.err
		}
	}
	const tick, most = capture.Time(5e8), capture.Time(60e9)
	next := s.held.Frames[s.at].Time
	if s.now != 0 && next > s.now+tick {
		if next > s.now+most {
			s.now = next - most
		}
		s.now += tick
		b.Clock = s.now
		return nil
	}
	n := min(s.at+5, len(s.held.Frames))
	for _, f := range s.held.Frames[s.at:n] {
		f.Data = slices.Clone(f.Data)
		b.Frames = append(b.Frames, f)
		s.now = max(s.now, f.Time)
	}
	s.at = n
	return nil
}

// namesSaid are the identifiers of what a run said: flows, findings, incidents, files.
type namesSaid map[string]int

func (n namesSaid) Event(ev any) {
	switch ev := ev.(type) {
	case *detectors.Finding:
		n["finding "+ev.ID()+" "+ev.Rule]++
	case *detectors.Incident:
		n["incident "+ev.ID]++
	case capture.Record:
		row := columns{}
		ev.Row(row)
		for _, column := range [...]string{"uid", "fuid", "tunnel_parents", "incident_id"} {
			if row[column] != "" {
				n[ev.Log()+" "+column+" "+row[column]]++
			}
		}
	}
}

// TestIDsOfTwoClocks: a sensor has nanoseconds, and tcpdump beside it, by default, microseconds. Flows, findings,
// incidents and files of the same packets have the same names in both, or none of a sensor's could be looked up in a
// capture.
func TestIDsOfTwoClocks(t *testing.T) {
	files, err := filepath.Glob("pcaps/*.pcap*")
	if err != nil || len(files) == 0 {
		t.Fatal("no captures in pcaps/")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			said := func(clock func(capture.Time) capture.Time, live bool) namesSaid {
				src, err := capture.OpenFile(file)
				if err != nil {
					t.Fatal(err)
				}
				defer src.Close()
				cfg := engine.Default()
				cfg.Checksums, cfg.Workers = "ignore", 1
				all := namesSaid{}
				var from capture.Source = &retimed{src, clock}
				if live {
					from = &ticking{Source: from}
				}
				if _, err := run(context.Background(), cfg, from, all); err != nil {
					t.Log(err)
				}
				return all
			}
			var last, fraction capture.Time
			nanos := func(at capture.Time) capture.Time {
				us := at - at%1000
				if us != last { // what came within a microsecond keeps its order
					fraction = 0
				}
				last = us
				fraction = min(999, fraction+1+us/1000%331)
				return us + fraction
			}
			micros := func(at capture.Time) capture.Time { return at - at%1000 }
			a, b := said(nanos, true), said(micros, false)
			if len(a) == 0 {
				t.Skip("nothing has a name there")
			}
			for n, times := range b {
				if times > 1 && strings.HasPrefix(n, "finding") {
					t.Errorf("%d findings have the name %s", times, n)
				}
			}
			if maps.Equal(a, b) {
				return
			}
			only := func(a, b namesSaid) string {
				var all []string
				for n := range a {
					if a[n] != b[n] {
						all = append(all, n)
					}
				}
				slices.Sort(all)
				return strings.Join(all[:min(len(all), 10)], "\n  ")
			}
			t.Errorf("of a sensor only:\n  %s\nof a capture in microseconds only:\n  %s", only(a, b), only(b, a))
		})
	}
}
