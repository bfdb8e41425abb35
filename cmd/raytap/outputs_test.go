package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/sinks/metrics"
)

// TestOutputs runs the engine over an attack with everything on: what notice.log has arrives at the syslog server, the
// web server and the metrics.
func TestOutputs(t *testing.T) {
	dir := t.TempDir()
	posts := make(chan []byte, 100)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		posts <- b
	}))
	defer web.Close()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	cfg := config.Default()
	cfg.Out, cfg.Format = filepath.Join(dir, "logs"), "json"
	cfg.Rotate.Compress = "none"
	cfg.Syslog.Address, cfg.Syslog.Message = "udp://"+server.LocalAddr().String(), "json"
	cfg.Webhook.URL = web.URL
	cfg.Metrics.Listen = "127.0.0.1:0"
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)
	o, err := openOutputs(&cfg, health{interfaces: func() []metrics.Interface {
		return []metrics.Interface{{Name: "eth1", Packets: 8, Drops: 2}}
	}}, func(m string) { t.Error(m) }, now)
	if err != nil {
		t.Fatal(err)
	}
	pcap := filepath.Join(dir, "attack.pcap")
	if err := os.WriteFile(pcap, attack(1763917200), 0o644); err != nil {
		t.Fatal(err)
	}
	src, err := capture.OpenFile(pcap)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	cfg.Progress = func(s engine.Stats) { o.tick(now, &s) }
	stats, err := engine.Run(context.Background(), cfg.Config, src, o)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Findings == 0 {
		t.Fatal("no findings")
	}
	now = now.Add(time.Second)
	o.reopenLogs()
	o.tick(now, &stats)

	var lines [][]byte
	for try := 0; try < 1000 && len(lines) != int(stats.Findings); try++ { // they are written by another goroutine
		notices, err := os.ReadFile(filepath.Join(cfg.Out, "current", "notice.log"))
		if lines = nil; err == nil && bytes.HasSuffix(notices, []byte("\n")) {
			lines = bytes.Split(bytes.TrimSpace(notices), []byte("\n"))
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(lines) != int(stats.Findings) {
		t.Fatalf("%d rows of notice.log, %d findings", len(lines), stats.Findings)
	}
	b := make([]byte, 1<<16)
	for i, l := range lines {
		var row struct{ Severity string }
		if err := json.Unmarshal(l, &row); err != nil {
			t.Fatal(err)
		}
		if row.Severity != "info" { // the default of syslog is low
			n, _, err := server.ReadFrom(b)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasSuffix(b[:n], l) {
				t.Errorf("%d: syslog got\n%s\nnotice.log has\n%s", i, b[:n], l)
			}
		}
		if row.Severity == "info" || row.Severity == "low" {
			continue
		}
		if got := <-posts; !bytes.Equal(got, l) {
			t.Errorf("%d: the web server got\n%s\nnotice.log has\n%s", i, got, l)
		}
	}
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + o.server.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	_, text := get("/metrics")
	for _, want := range []string{
		"raytap_packets_total 8", "raytap_flows_total 1", `raytap_kernel_drops_total{interface="eth1"} 2`, `raytap_log_rows_total{log="conn"} 1`,
		`raytap_findings_total{rule="jobsubmit/external",severity="critical"} 1`, `raytap_lost_total{cause="gap_bytes",unit="bytes"} 0`,
		`raytap_output_dropped_total{output="webhook"} 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if code, text := get("/readyz"); code != 200 {
		t.Errorf("not ready: %s", text)
	}
	if err := o.close(now); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(cfg.Out, "current", "*")); len(left) != 0 {
		t.Errorf("left in current: %v", left)
	}
	if n, _ := filepath.Glob(filepath.Join(cfg.Out, "2026-11-23", "*.17:00:00-*.log")); len(n) < 4 {
		t.Errorf("archive: %v", n)
	}
}

// TestOutputsThatCannotBe: the error names what is wrong, and nothing stays open.
func TestOutputsThatCannotBe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := config.Default()
	cfg.Out, cfg.Metrics.Listen = t.TempDir(), l.Addr().String()
	say := func(m string) { t.Error(m) }
	if _, err := openOutputs(&cfg, health{}, say, time.Now()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("%v", err)
	}
	cfg.Metrics.Listen = ""
	o, err := openOutputs(&cfg, health{}, say, time.Now()) // the folder is free again
	if err != nil {
		t.Fatal(err)
	}
	if err := o.close(time.Now()); err != nil {
		t.Error(err)
	}
}
