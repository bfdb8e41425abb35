package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raytap/raytap/fleet/hub/hubtest"
)

// TestTells has a hub that is killed tell a web server and a syslog server of findings, each once, with the sensors that saw it.
func TestTells(t *testing.T) {
	var mu sync.Mutex
	var posts, lines []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		posts = append(posts, string(b))
	}))
	defer server.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	go func() {
		b := make([]byte, 65536)
		for {
			n, _, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			mu.Lock()
			lines = append(lines, string(b[:n]))
			mu.Unlock()
		}
	}()
	count := func(all *[]string, text string) (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, s := range *all {
			if strings.Contains(s, text) {
				n++
			}
		}
		return n
	}
	dir, addr := filepath.Join(t.TempDir(), "hub"), freeAddr(t)
	conf := filepath.Join(t.TempDir(), "raytap.yaml")
	text := "webhook: {url: '" + server.URL + "', severity: high}\nsyslog: {address: 'udp://" + udp.LocalAddr().String() + "'}\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all := fleetOf(t, dir, addr, 2)
	args := []string{"--data", dir, "--listen", addr, "--stream-size", "100MB", "--config", conf, "--tell", "all"}
	p := begin(t, args...)
	p.ready(t)
	send := func(s *hubtest.Sensor, id, severity string) {
		t.Helper()
		if err := s.Send(context.Background(), "notice", hubtest.Notice(id, "scan/ports", severity, "203.0.113.1", "10.0.0.1", time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	send(all[0], "R1", "medium")
	send(all[1], "R1", "high") // above the bound of the webhook: new to it, and an update for syslog
	send(all[0], "R2", "critical")
	until(t, "both", func() bool { return count(&posts, `"R2"`) == 1 && count(&lines, `finding_id="R2"`) == 1 })
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p = begin(t, args...)
	p.ready(t)
	send(all[1], "R2", "critical")
	send(all[1], "R3", "high")
	until(t, "the third", func() bool { return count(&posts, `"R3"`) == 1 && count(&lines, `finding_id="R3"`) == 1 })
	if p, l := count(&posts, `"R1"`), count(&lines, `finding_id="R1"`); p != 1 || l != 2 {
		t.Errorf("R1 was posted %d times, and sent %d times", p, l)
	}
	mu.Lock()
	defer mu.Unlock()
	told := map[string]int{}
	for _, s := range posts {
		var row struct {
			ID      string   `json:"finding_id"`
			Update  bool     `json:"update"`
			Sensors []string `json:"_sensors"`
		}
		if err := json.Unmarshal([]byte(s), &row); err != nil || len(row.Sensors) == 0 {
			t.Errorf("%v: %s", err, s)
		}
		if !row.Update {
			told[row.ID]++
		}
	}
	for _, id := range []string{"R1", "R2", "R3"} {
		if told[id] != 1 {
			t.Errorf("%s came %d times as new: %q", id, told[id], posts)
		}
	}
	if !strings.Contains(strings.Join(lines, "\n"), `sensors="node-000,node-001"`) {
		t.Errorf("%q", lines)
	}
}
