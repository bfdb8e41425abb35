package hub

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/fleet/hub/hubtest"
	"github.com/raytap/raytap/fleet/join"
	"github.com/raytap/raytap/fleet/observe"
	"github.com/raytap/raytap/fleet/store"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
)

// replayed returns the rows of what a sensor writes of a capture, by log.
func replayed(t *testing.T, name string) map[string][][]byte {
	t.Helper()
	return replayedLater(t, name, "1", 0)
}

// replayedLater has it happen later, in a run of a name.
func replayedLater(t *testing.T, name, run string, by time.Duration) map[string][][]byte {
	t.Helper()
	z, err := os.Open(filepath.Join("..", "..", "pcaps", name+".pcap.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	r, err := gzip.NewReader(z)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < 24 || binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 {
		t.Fatal("not a pcap as it is expected here")
	}
	for at := 24; at+16 <= len(b); at += 16 + int(binary.LittleEndian.Uint32(b[at+8:])) {
		binary.LittleEndian.PutUint32(b[at:], binary.LittleEndian.Uint32(b[at:])+uint32(by/time.Second))
	}
	file := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := engine.Default()
	cfg.Observer = observe.New(run, observe.Config{})
	dir := t.TempDir()
	logs, err := zeek.New(dir, zeek.Options{Format: zeek.JSON, Rules: registry.Rules(), Logs: []string{observe.Log, "notice", "incidents", "assets", "conn"}})
	if err != nil {
		t.Fatal(err)
	}
	src, err := capture.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := engine.Run(context.Background(), cfg, src, logs); err != nil {
		t.Fatal(err)
	}
	if err := logs.Close(0); err != nil {
		t.Fatal(err)
	}
	all := map[string][][]byte{}
	for _, log := range []string{observe.Log, "notice", "incidents", "assets", "conn"} {
		b, err := os.ReadFile(filepath.Join(dir, log+".log"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			all[log] = append(all[log], bytes.Clone(line))
		}
	}
	return all
}

// TestJoins has two taps see the same attack: what they found is one finding each that names both, and one incident. The hub is
// stopped in the middle.
func TestJoins(t *testing.T) {
	all := replayed(t, "attack-job-encoded")
	cfg := join.Default()
	dir, log := t.TempDir(), t.TempDir()
	var said told
	h := start(t, Options{Data: dir, Joining: &cfg, Log: log, Tell: said.tell})
	listen := h.node.addr()
	taps := []*hubtest.Sensor{sensor(t, h, "tap1"), sensor(t, h, "tap2")}
	rows := all[observe.Log]
	for i, row := range rows {
		for _, s := range taps {
			send(t, s, observe.Log, row)
			if i == 0 { // what each of them found
				for _, l := range []string{"notice", "incidents", "assets", "conn"} {
					send(t, s, l, all[l]...)
				}
			}
		}
		if i == len(rows)/2 {
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			h = start(t, Options{Data: dir, Joining: &cfg, Log: log, Tell: said.tell, Listen: listen})
		}
	}
	want := map[string]bool{}
	for _, row := range all["notice"] {
		var x struct {
			ID string `json:"finding_id"`
		}
		if err := json.Unmarshal(row, &x); err != nil {
			t.Fatal(err)
		}
		want[x.ID] = true
	}
	both := []string{"tap1", "tap2"}
	until(t, "joined findings", func() bool {
		for _, s := range taps { // the time of the stream goes on
			send(t, s, "status", hubtest.Status("v1", time.Now()))
		}
		time.Sleep(100 * time.Millisecond)
		found := findings(t, h, store.Query{State: "open"})
		incidents, err := h.db.Incidents(store.Query{})
		return err == nil && len(found) >= len(want) && len(incidents) > 0 && slices.Equal(incidents[0].Sensors, both)
	})
	for _, f := range findings(t, h, store.Query{}) {
		if !want[f.ID] || f.State != "open" || !slices.Equal(f.Sensors, both) {
			t.Errorf("%s %s %v: %.200s", f.ID, f.State, f.Sensors, f.Body)
		}
	}
	incidents, err := h.db.Incidents(store.Query{})
	if err != nil || len(incidents) != 1 || !strings.Contains(string(incidents[0].Body), `"203.0.113.66"`) {
		t.Errorf("%v %d incidents", err, len(incidents))
	}
	assets, err := h.db.Assets(store.Query{})
	if err != nil || len(assets) == 0 {
		t.Errorf("%v %d assets", err, len(assets))
	}
	until(t, "the log", func() bool { return len(ids(t, log)) >= len(want) })
	t.Log(len(want), "findings,", len(ids(t, log)), "rows in the log")
	until(t, "what people are told", func() bool { return len(said.alarms(t)) >= len(want) })
	for id, n := range said.alarms(t) {
		if n != 1 || !want[id] {
			t.Errorf("%s was told %d times", id, n)
		}
	}
	until(t, "what is told last to name both sensors", func() bool {
		all := said.list()
		return slices.Equal(all[len(all)-1].Sensors, both)
	})
}

// TestLongIncident has an incident be open for longer than a hub reads back when it is started again: it goes on under its name, and so
// does what people are told of it.
func TestLongIncident(t *testing.T) {
	const name = "attack-job-encoded"
	cfg := join.Default()
	cfg.Memory, cfg.Longest, cfg.Wait = time.Minute, 2*time.Minute, time.Second
	dir, log := t.TempDir(), t.TempDir()
	var said told
	o := Options{Data: dir, Joining: &cfg, Log: log, Tell: said.tell, keepEvery: time.Millisecond}
	h := start(t, o)
	o.Listen = h.node.addr()
	s := sensor(t, h, "tap")
	// Captures of long ago are joined when nothing has come for a while, by the time of the stream. This one tells of now.
	first := replayed(t, name)
	var p struct {
		TS float64 `json:"ts"`
	}
	if err := json.Unmarshal(first[observe.Log][0], &p); err != nil {
		t.Fatal(err)
	}
	ago := time.Since(time.UnixMicro(int64(p.TS*1e6))) - 8*time.Hour
	incidents := func() []store.Item {
		all, err := h.db.Incidents(store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	step := func(run string, by time.Duration) {
		t.Helper()
		before := len(said.alarms(t))
		was := ""
		if all := incidents(); len(all) > 0 {
			was = string(all[0].Body)
		}
		rows := replayedLater(t, name, run, ago+by)
		send(t, s, observe.Log, rows[observe.Log]...)
		until(t, "the incident", func() bool {
			send(t, s, "status", hubtest.Status("v1", time.Now()))
			time.Sleep(50 * time.Millisecond)
			all := incidents()
			return len(all) > 0 && (string(all[0].Body) != was || len(all) > 1) && len(said.alarms(t)) > before
		})
		// An hour passes, so that a joiner that is made again begins behind it.
		for i, after := range []time.Duration{time.Hour, time.Hour + 3*time.Minute} {
			at := time.UnixMicro(int64(p.TS * 1e6)).Add(ago + by + after)
			send(t, s, observe.Log, fmt.Appendf(nil, `{"ts":%d.0,"run":"idle %s","number":%d,"events":0,"last":false,"texts_cut":0,"bodies_left_out":0,"events_left_out":0,"data":""}`, at.Unix(), run, i+1))
		}
		to := h.Applied()
		until(t, "what is to be read again", func() bool {
			send(t, s, "status", hubtest.Status("v1", time.Now()))
			time.Sleep(20 * time.Millisecond)
			return h.Applied() > to+10
		})
	}
	again := func() {
		t.Helper()
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		h = start(t, o)
	}
	step("1", 0)
	old := incidents()[0]
	for i, run := range []string{"2", "3"} {
		again()
		step(run, time.Duration(i+1)*2*time.Hour)
		all := incidents()
		if len(all) != 1 || all[0].ID != old.ID || all[0].First != old.First || all[0].Last <= old.Last {
			for _, x := range all {
				t.Logf("%s %s %.0f %.0f %.400s", x.ID, x.State, x.First, x.Last, x.Body)
			}
			t.Fatalf("%d incidents after %d restarts", len(all), i+1)
		}
		old = all[0]
	}
	chains := map[string]bool{}
	for _, f := range findings(t, h, store.Query{Rule: detectors.ChainRule}) {
		chains[f.ID] = true
	}
	if n := said.alarms(t); len(chains) > 1 {
		t.Errorf("%v of %v", chains, n)
	}
	history, err := h.db.History(old.ID)
	if err != nil || len(history) < 3 {
		t.Fatalf("%v: %d rows", err, len(history))
	}
	for i := 1; i < len(history); i++ {
		if history[i].Revision <= history[i-1].Revision {
			t.Errorf("revision %d after %d", history[i].Revision, history[i-1].Revision)
		}
	}
}
