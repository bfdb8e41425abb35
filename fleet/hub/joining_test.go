package hub

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
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
	file := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := engine.Default()
	cfg.Observer = observe.New("1", observe.Config{})
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
	for i := range said.all {
		if !slices.Equal(said.all[i].Sensors, both) && i == len(said.all)-1 {
			t.Errorf("%s", said.all[i].JSON(false))
		}
	}
}
