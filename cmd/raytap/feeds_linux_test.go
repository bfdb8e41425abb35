package main

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestSensorAsksServers: confined as it is, a sensor fetches over TLS with a company's CA, finds by what it got, goes on with
// the cache when the server is away, and says both.
func TestSensorAsksServers(t *testing.T) {
	isolated(t)
	dir := t.TempDir()
	var mu sync.Mutex
	status, text := 200, "ip\n203.0.113.66\n"
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			t.Errorf("%v", r.Header)
		}
		w.WriteHeader(status)
		io.WriteString(w, text)
	}))
	defer web.Close()
	secrets := t.TempDir()
	write := func(dir, name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	token := write(secrets, "token", "s3cret\n")
	ca := write(secrets, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})))
	write(dir, "raytap.yaml", "intel:\n  - {url: '"+web.URL+"/feed.csv', name: pools, token_file: "+token+", ca: "+ca+"}\nmetrics: {listen: '127.0.0.1:9477'}\n")
	s := start(t, dir, nil, "-i", "v1", "--config", "raytap.yaml")
	if !strings.Contains(s.said(), "feed pools: nothing of it is in the cache yet") {
		t.Errorf("%s", s.said())
	}
	s.wait(s.errs, "feeds have changed: ")
	w := newWire(t)
	for _, f := range job(t) {
		w.send(f)
	}
	if l := s.wait(s.out, "intel/match"); !strings.Contains(l, "which pools lists") {
		t.Error(l)
	}
	b := request(t, "/metrics")
	for _, want := range []string{`raytap_feed_up{feed="pools"} 1`, `raytap_feed_indicators{feed="pools"} 1`, `raytap_feed_age_seconds{feed="pools"} `} {
		if !strings.Contains(b, want) {
			t.Errorf("no %s", want)
		}
	}
	// A signal asks nobody again who was asked a moment ago, and what is in the cache holds.
	write(dir, "raytap.yaml", read(t, dir, "raytap.yaml")+"egress: {bytes: 7MB}\n")
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.wait(s.errs, "the configuration was read again: new egress; ")
	s.stop()

	mu.Lock()
	status = 500
	mu.Unlock()
	old, err := filepath.Glob(filepath.Join(dir, "logs", "intel-cache", "pools-*.feed"))
	if err != nil || len(old) != 1 {
		t.Fatalf("%v %v", old, err)
	}
	if info, _ := os.Stat(old[0]); info.Mode().Perm() != 0o600 {
		t.Errorf("%v", info.Mode())
	}
	long := info(t, old[0]).ModTime().AddDate(0, 0, -2)
	if err := os.Chtimes(old[0], long, long); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir, nil, "-i", "v1", "--config", "raytap.yaml")
	if !strings.Contains(s.said(), "feed pools: 1 indicators of ") {
		t.Errorf("%s", s.said())
	}
	s.wait(s.errs, "feed pools: answers with status 500; what it had on ")
	s.stop()
}

func info(t *testing.T, name string) os.FileInfo {
	t.Helper()
	i, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}
