package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raytap/raytap/fleet/ask"
	"github.com/raytap/raytap/fleet/search"
	"github.com/raytap/raytap/record"
)

// TestSensorAnswers runs a sensor in its confinement, with a recorder: a hub gets its rows and packets while it runs,
// sets what it accepts, and a bad version changes nothing; what was in force is so after a restart, and after a SIGHUP.
func TestSensorAnswers(t *testing.T) {
	dir := t.TempDir()
	srv, _ := hubFor(t, filepath.Join(dir, "a.creds"), "node-1")
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "in", "a.pcap"), attack(uint32(time.Now().Unix()-100)), 0o644); err != nil {
		t.Fatal(err)
	}
	conf := "sensor: {name: node-1}\nscan: {benign: 0.6}\nrecord: {folder: rec}\npublish:\n  creds: a.creds\n  accept: [home, detectors, intel]\n"
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	errs, run := watches(t, dir)
	wait := func(what string, f func() bool) { t.Helper(); await(t, what, f, errs.String) }
	a := &ask.Asker{Conn: nc, Within: time.Minute}
	sensors := []string{"node-1"}
	id := ""
	find := func() (rows int) {
		out, err := a.Search(t.Context(), sensors, &search.Query{Hosts: []netip.Prefix{netip.MustParsePrefix("203.0.113.66/32")}}, search.Limits{}, func(row []byte) error {
			rows++
			if _, rest, ok := bytes.Cut(row, []byte(`"finding_id":"`)); ok {
				id = string(rest[:18])
			}
			return nil
		})
		// One that is asked while it reads its configuration again does not answer, or not to the end.
		if err != nil || out[0].Err != nil && out[0].Err != ask.ErrSilent && !strings.Contains(out[0].Err.Error(), "ask again") || len(out[0].Result.Unread) > 0 {
			t.Fatalf("%+v, %v; %s", out, err, errs.String())
		}
		return rows
	}
	cmd := run()
	wait("rows", func() bool { return find() > 0 && id != "" })
	var packets bytes.Buffer
	wait("packets", func() bool {
		packets.Reset()
		res, err := a.Packets(t.Context(), "node-1", record.Asked{ID: id}, 0, &packets)
		return err == nil && res.Bytes == uint64(packets.Len()) && res.Bytes > 500
	})
	if b := packets.Bytes(); !bytes.HasPrefix(b, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		t.Errorf("%x is no pcapng", b[:min(len(b), 16)])
	}
	version := uint64(0)
	set := func(text string, files ...ask.File) ask.Told {
		t.Helper()
		version++
		told, err := a.Settings(t.Context(), sensors, &ask.Bundle{Version: version, At: time.Unix(int64(version), 0), Text: text, Intel: files})
		if err != nil || told[0].Err != nil {
			t.Fatalf("%+v, %v; %s", told, err, errs.String())
		}
		return told[0]
	}
	if x := set("home: [10.0.0.0/8]\negress:\n  allow: [example.org]\n", ask.File{Name: "a.txt", Data: []byte("203.0.113.99\n")}); x.Running != 1 || fmt.Sprint(x.Ignored) != "[allow]" || x.Refused != "" {
		t.Errorf("%+v", x)
	}
	wait("word of it", func() bool {
		return strings.Contains(errs.String(), "the configuration was read again: new home, intel")
	})
	for _, text := range []string{"scan: {scanner: 0.7}\n", "out: /tmp\n", "home: [x]\n"} {
		if x := set(text); x.Running != 1 || x.Refused == "" || x.RefusedVersion != version {
			t.Errorf("%q: %+v", text, x)
		}
	}
	cmd.Process.Signal(syscall.SIGHUP) // the connection is another then
	wait("reload", func() bool { return strings.Contains(errs.String(), "the configuration has not changed") })
	wait("answer", func() bool { return find() > 0 })
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, errs.String())
	}
	cmd = run()
	wait("settings after a restart", func() bool { return strings.Contains(errs.String(), "version 1 of the hub's settings is in force") })
	wait("answer", func() bool { return find() > 0 })
	told, err := a.Settings(t.Context(), sensors, nil)
	if err != nil || told[0].Err != nil || told[0].Running != 1 {
		t.Errorf("%+v, %v", told, err)
	}
	if x := set("home: [10.0.0.0/8]\n"); x.Running != version || x.Refused != "" {
		t.Errorf("%+v", x)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if s := errs.String(); strings.Contains(s, "permission denied") || strings.Contains(s, "not permitted") {
		t.Error(s)
	}
}
