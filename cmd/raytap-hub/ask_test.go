package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/ask"
	"github.com/raytap/raytap/fleet/hub"
	"github.com/raytap/raytap/record"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
)

// cli runs a command, and returns what it printed.
func cli(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	var files [2]*os.File
	for i := range files {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	code = run(args, files[0], files[1])
	out, _ := os.ReadFile(files[0].Name())
	errs, _ := os.ReadFile(files[1].Name())
	return code, string(out), string(errs)
}

// sensorOf replays a capture with a recorder, and returns the folders of its logs and packets.
func sensorOf(t *testing.T, name string) (logs, packets string) {
	t.Helper()
	logs, packets = t.TempDir(), filepath.Join(t.TempDir(), "record")
	src, err := capture.OpenFile("../../pcaps/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	cfg := config.Default()
	cfg.Record.Folder = packets
	rec, err := cfg.OpenRecorder("raytap test", false, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	c := cfg.Config
	c.Recorder = rec
	sink, err := zeek.New(logs, zeek.Options{Rules: registry.Rules()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Run(t.Context(), c, src, sink); err != nil {
		t.Fatal(err)
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(0); err != nil {
		t.Fatal(err)
	}
	return logs, packets
}

// TestAskSensors: through a hub as it runs, with the credentials that it gives, rows and packets come of the sensors that
// answer, settings reach them, and who does not answer is said.
func TestAskSensors(t *testing.T) {
	data := filepath.Join(t.TempDir(), "hub")
	h, err := hub.Start(hub.Options{Data: data, Listen: "127.0.0.1:0", Say: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	logs, packets := sensorOf(t, "shadowray.pcap.gz")
	for _, name := range []string{"node-1", "away"} {
		code, creds, stderr := cli(t, "enroll", name, "--data", data)
		if code != 0 {
			t.Fatal(stderr)
		}
		if name == "away" {
			continue
		}
		c, err := fleet.ParseCredentials([]byte(creds))
		if err != nil {
			t.Fatal(err)
		}
		nc, err := fleet.Connect(c)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		acc, err := ask.OpenAccepted(filepath.Join(t.TempDir(), "fleet"), []string{"home", "intel"})
		if err != nil {
			t.Fatal(err)
		}
		acc.Apply = func(b *ask.Bundle, intel []string) ([]string, error) {
			c := config.Default()
			return c.Overlay([]byte(b.Text), acc.Sections)
		}
		a, err := ask.Answer(nc, ask.Options{Sensor: name, Version: "test", Logs: []string{logs}, Record: packets, Application: "raytap test", Settings: acc})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		for end := time.Now().Add(time.Minute); !nc.IsConnected(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the sensor did not connect")
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := cli(t, "search", "--data", data, "--host", "203.0.113.66", "--log", "conn,notice")
	if code != 1 || strings.Count(stdout, `"_system_name":"node-1"`) < 3 || strings.Count(stdout, "\n") != strings.Count(stdout, `"_system_name":"node-1"`) ||
		stderr != "raytap hub: away: it does not answer\n" {
		t.Errorf("search: %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = cli(t, "search", "--data", data, "--host", "203.0.113.66", "--log", "notice", "--sensor", "node-1", "--columns", "finding_id", "-n", "1")
	id := strings.TrimSpace(stdout)
	if code != 0 || !record.CheckID(id) || !strings.Contains(stderr, "cut at 1 rows") {
		t.Fatalf("search for a finding: %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := cli(t, "search", "--data", data); code != 2 || !strings.Contains(stderr, "nothing to look for") {
		t.Errorf("search for nothing: %d\n%s%s", code, stdout, stderr)
	}

	file := filepath.Join(t.TempDir(), "f.pcapng")
	code, stdout, stderr = cli(t, "packets", "--data", data, "--finding", id, "--sensor", "away,node-1", "-o", file)
	if code != 0 || !strings.Contains(stdout, "from node-1") || !strings.Contains(stderr, "away: it does not answer") {
		t.Errorf("packets: %d\n%s%s", code, stdout, stderr)
	}
	src, err := capture.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	n := 0
	for b := (capture.Batch{}); src.ReadBatch(&b) == nil; {
		n += len(b.Frames)
	}
	if n < 5 {
		t.Errorf("%d packets", n)
	}
	if code, stdout, stderr := cli(t, "packets", "--data", data, "--finding", "R00000000000000000", "--sensor", "node-1", "-o", file+"2"); code != 1 || !strings.Contains(stderr, "it has no packets of that") {
		t.Errorf("packets of nothing: %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(file + "2"); err == nil {
		t.Error("and yet there is a file")
	}

	text := filepath.Join(t.TempDir(), "s.yaml")
	os.WriteFile(text, []byte("home: [10.20.0.0/16]\negress:\n  allow: [example.org]\n"), 0o600)
	code, stdout, stderr = cli(t, "settings", "set", text, "--note", "ours", "--data", data)
	if code != 1 || !strings.Contains(stdout, "version 1 is set") || !strings.Contains(stdout, "in force, without allow") || !strings.Contains(stdout, "it does not answer") {
		t.Errorf("set: %d\n%s%s", code, stdout, stderr)
	}
	os.WriteFile(text, []byte("out: /tmp\nhome: [x]\n"), 0o600)
	if code, stdout, stderr := cli(t, "settings", "set", text, "--data", data); code != 1 || !strings.Contains(stderr, "home") {
		t.Errorf("set of what is wrong: %d\n%s%s", code, stdout, stderr)
	}
	for _, x := range []struct {
		args []string
		says string
	}{
		{[]string{"show"}, "# version 1, set 20"}, {[]string{"history"}, "ours"}, {[]string{"status", "--sensor", "node-1"}, "in force"},
		{[]string{"rollback", "1"}, "version 2 is set"}, {[]string{"show", "2"}, "rollback to version 1"},
	} {
		_, stdout, stderr := cli(t, append(append([]string{"settings"}, x.args...), "--data", data)...)
		if !strings.Contains(stdout, x.says) {
			t.Errorf("settings %v: %s%s", x.args, stdout, stderr)
		}
	}
}
