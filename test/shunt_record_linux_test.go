package test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/record"
)

// recorded runs a sensor with a recorder.
func recorded(t *testing.T, shunting *capture.ShuntConfig) (*listener, *record.Recorder, string) {
	t.Helper()
	dir := t.TempDir()
	rec, err := record.New(record.Options{
		Folder: dir, Size: 1 << 30, Policy: record.Policy{Cutoff: 16 << 10},
		Evidence: record.Evidence{On: true, Severity: detectors.Low, Size: 1 << 30, Bound: 8 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := engine.Default()
	cfg.Recorder = rec
	return listenLive(t, cfg, capture.LiveConfig{}, shunting), rec, dir
}

// kept reads the files of findings: their frames, each by its time and bytes.
func kept(t *testing.T, dir string) (all map[string][]string, bytesIn int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "evidence", "*.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	all = map[string][]string{}
	for _, file := range files {
		src, err := capture.OpenFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var b capture.Batch
		for src.ReadBatch(&b) == nil {
			for _, f := range b.Frames {
				bytesIn += len(f.Data)
				all[filepath.Base(file)] = append(all[filepath.Base(file)], fmt.Sprintf("%d %d %x", f.Time, f.WireLen, f.Data[:min(len(f.Data), 80)]))
			}
		}
		src.Close()
	}
	return all, bytesIn
}

// TestShuntAndRecord: the packets of findings are kept as without shunting, and what was not delivered is counted.
func TestShuntAndRecord(t *testing.T) {
	send := cable(t)
	shunting := &capture.ShuntConfig{After: capture.ShuntAfter, Least: capture.ShuntLeast, Tail: capture.ShuntTail}
	plain, a, plainDir := recorded(t, nil)
	shunt, b, shuntDir := recorded(t, shunting)
	wait := func(d *dialog) func() {
		return func() {
			for d.n > int(plain.seen.Load())+200 {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Millisecond)
		}
	}
	n := 0
	// The acknowledgements of a flow are kept up to the cutoff, too: it takes many before it is shunted.
	talk := func(port uint16, wrap func([]byte) []byte) {
		d := &dialog{t: t, send: send, port: port}
		if wrap != nil {
			d.send = func(b []byte) error { return send(wrap(b)) }
		}
		d.n = n
		d.wait = wait(d)
		d.open([2]uint32{1, 1})
		d.say(0, "\x85\x01\x02\x03hello")
		d.bulk(0, 60<<20)
		for range 4 {
			shunt.has(d.n)
			time.Sleep(60 * time.Millisecond) // what was found is known to the recorder
			d.bulk(1, 2<<20)
		}
		shunt.has(d.n)
		d.bulk(1, 20<<20)
		d.job() // all is kept behind it, up to the bound
		time.Sleep(300 * time.Millisecond)
		d.bulk(1, 4<<20)
		d.bulk(0, 20<<20)
		d.close()
		n = d.n
	}
	talk(43000, nil)
	talk(43001, arounds[1].wrap)
	plain.end()
	shunt.end()
	for _, r := range []*record.Recorder{a, b} {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f := &shunt.stats.Flow
	t.Logf("%d of %d packets shunted, %d times", f.Shunted, shunt.stats.Packets, f.Shunts)
	if f.Shunted == 0 {
		tooFew(t, "nothing was shunted")
	}
	sameConns(t, plain, shunt, false)
	sameFindings(t, plain, shunt)
	sameCounts(t, plain, shunt)
	want, wantBytes := kept(t, plainDir)
	got, gotBytes := kept(t, shuntDir)
	t.Logf("%d files with %d bytes, %d with %d when shunted", len(want), wantBytes, len(got), gotBytes)
	if len(want) == 0 || wantBytes < 4<<20 {
		t.Error("nothing was kept")
	}
	for name, frames := range want {
		if !slices.Equal(frames, got[name]) {
			t.Errorf("%s: %d frames, %d when shunted", name, len(frames), len(got[name]))
		}
	}
	x, y := plain.stats.Record, shunt.stats.Record
	if x.Seen != y.Seen || !bytes.Equal(fmt.Append(nil, x.By), fmt.Append(nil, y.By)) {
		t.Errorf("of packets\n%+v\nwhen shunted\n%+v", x, y)
	}
}
