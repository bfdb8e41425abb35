package test

import (
	"bytes"
	"context"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/capture/capturetest"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/record"
)

// told keeps findings and the ends of flows.
type told struct {
	findings []*detectors.Finding
	ends     map[string]capture.Time
}

func (s *told) Event(ev any) {
	switch ev := ev.(type) {
	case *detectors.Finding:
		s.findings = append(s.findings, ev)
	case *capture.Conn:
		s.ends[ev.Flow.UID] = ev.Time
	}
}

func sameFrame(a, b *capture.Frame) bool {
	return a.Time == b.Time && a.WireLen == b.WireLen && a.Link == b.Link && bytes.Equal(a.Data, b.Data)
}

// TestEvidenceHasThePacketsOfFindings: for each finding of the labelled captures the packets that it rests on, and all of
// a flow that is not beyond the cutoff, are in its file, byte for byte and in order, and nothing that is not in the
// capture.
func TestEvidenceHasThePacketsOfFindings(t *testing.T) {
	names, err := filepath.Glob("pcaps/*.pcap.gz")
	if err != nil || len(names) == 0 {
		t.Fatal(err, len(names))
	}
	findings, packets, whole := 0, 0, 0
	for _, name := range names {
		dir := t.TempDir()
		cfg := config.Default()
		cfg.Record.Folder = dir
		cfg.Evidence.Severity = "info"
		rec, err := cfg.OpenRecorder("test", false, func(s string) { t.Errorf("%s: %s", name, s) })
		if err != nil {
			t.Fatal(err)
		}
		cfg.Recorder = rec
		src, err := capture.OpenFile(name)
		if err != nil {
			t.Fatal(err)
		}
		said := &told{ends: map[string]capture.Time{}}
		_, _ = engine.Run(context.Background(), cfg.Config, src, said)
		src.Close()
		if cerr := rec.Close(); cerr != nil {
			t.Errorf("%s: %v", name, cerr)
		}
		if len(said.findings) == 0 {
			continue // some captures are damaged on purpose, and Run says so
		}
		all := capturetest.Frames(t, name)
		for _, f := range said.findings {
			findings++
			if f.File == "" {
				t.Errorf("%s: %s has no file", name, f.Rule)
				continue
			}
			got := capturetest.Frames(t, f.File)
			at := map[uint64]bool{} // ordinals that are there
			n := 0
			for i := range got {
				for n < len(all) && !sameFrame(&got[i], &all[n]) {
					n++
				}
				if n == len(all) {
					t.Errorf("%s: %s: packet %d of the file is not in the capture behind the one before", name, f.Rule, i+1)
					break
				}
				at[all[n].Ordinal] = true
				n++
			}
			packets += len(got)
			for _, e := range f.Evidence {
				if e.Packet != 0 && !at[e.Packet] {
					t.Errorf("%s: %s rests on packet %d, which is not in its file (%d packets)", name, f.Rule, e.Packet, len(got))
				}
			}
			if f.Flow == nil {
				continue
			}
			// What is the flow's, and whether it is short enough to be kept whole.
			var mine []uint64
			sent := map[netip.Addr]int{}
			d := capture.NewDissector(capture.DissectConfig{})
			var ps []capture.Packet
			for i := range all {
				ps = d.Dissect(&all[i], ps[:0])
				for j := range ps {
					p := &ps[j]
					if end, ok := said.ends[f.Flow.UID]; f.Flow.Between(p) && p.Time >= f.Flow.Start && (!ok || p.Time <= end) {
						mine = append(mine, all[i].Ordinal)
						sent[p.SrcAddr()] += p.IPLen
					}
				}
			}
			short := true
			for _, n := range sent {
				short = short && n <= int(cfg.Record.Encrypted)
			}
			if !short {
				continue
			}
			whole++
			for _, o := range mine {
				if !at[o] {
					t.Errorf("%s: %s: packet %d of flow %s is not in its file", name, f.Rule, o, f.Flow.UID)
					break
				}
			}
		}
	}
	t.Logf("%d findings, %d packets, %d flows whole", findings, packets, whole)
	if findings < 100 || whole < 80 {
		t.Errorf("%d findings and %d whole flows are too few to show anything", findings, whole)
	}
}

// TestRecordingChangesNothing: what is said is the same with a recorder and without, whatever the number of workers, and
// so is what is recorded.
func TestRecordingChangesNothing(t *testing.T) {
	for _, name := range []string{"pcaps/shadowray.pcap.gz", "pcaps/egress.pcap.gz"} {
		if m, _ := filepath.Glob(name); len(m) == 0 {
			continue
		}
		var before []byte
		for _, workers := range []int{1, 3} {
			cfg := config.Default()
			cfg.Workers, cfg.Record.Folder = workers, t.TempDir()
			rec, err := cfg.OpenRecorder("test", false, nil)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Recorder = rec
			src, err := capture.OpenFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := engine.Run(context.Background(), cfg.Config, src); err != nil {
				t.Fatal(err)
			}
			src.Close()
			if err := rec.Close(); err != nil {
				t.Fatal(err)
			}
			folder, err := record.OpenFolder(cfg.Record.Folder)
			if err != nil {
				t.Fatal(err)
			}
			var all bytes.Buffer
			r := folder.Search(&record.Query{}, nil)
			var b capture.Batch
			for r.ReadBatch(&b) == nil {
				for _, f := range b.Frames {
					all.Write(f.Data)
				}
			}
			if all.Len() == 0 || before != nil && !bytes.Equal(before, all.Bytes()) {
				t.Errorf("%s: with %d workers %d bytes are recorded, with one %d", name, workers, all.Len(), len(before))
			}
			before = bytes.Clone(all.Bytes())
		}
	}
}
