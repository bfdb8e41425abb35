package metrics

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/raytap/raytap/detectors"
)

// clock is a time that the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func get(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + s.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func listen(t *testing.T, m *Metrics) *Server {
	t.Helper()
	s, err := m.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestScrape(t *testing.T) {
	m := New(Options{Version: "v1.2.3", Rules: []detectors.Rule{{Name: "a/b", Severity: detectors.High}, {Name: "c/d", Severity: detectors.Low}},
		Interfaces: func() []Interface { return []Interface{{"eth1", 600, 7, 2, true}, {"eth2", 400, 0, 0, false}} }})
	s := listen(t, m)
	for range 3 {
		m.Event(&detectors.Finding{Rule: "a/b", Severity: detectors.High})
	}
	m.Event(&detectors.Finding{Rule: "a/b", Severity: detectors.Medium})
	m.Event("of no interest")
	m.Update(Values{
		Packets: 1000, Bytes: 1 << 40, Filtered: 5, Flows: 70, ActiveFlows: 12, Weirds: 3, Panics: 1,
		LastPacket: time.Unix(1700000000, 500e6),
		Losses:     []Loss{{"gap_bytes", "bytes", 99}},
		Notes:      []Note{{"packets_waited", "packets", 12}},
		Logs:       []Log{{"conn", 70, 4}, {"notice", 4, 0}},
		Outputs:    []Output{{"webhook", 3, 1, 2}},
		KeptBack:   []detectors.KeptBack{{Rule: "jobsubmit/external", N: 4}},
	})
	code, text := get(t, s, "/metrics")
	if code != 200 {
		t.Fatalf("status %d", code)
	}
	for _, want := range []string{
		`raytap_build_info{version="v1.2.3"} 1`,
		`raytap_packets_total 1000`, `raytap_bytes_total 1.099511627776e+12`, `raytap_packets_filtered_total 5`,
		`raytap_flows_total 70`, `raytap_flows_active 12`, `raytap_weirds_total 3`, `raytap_decoder_panics_total 1`,
		`raytap_last_packet_timestamp_seconds 1.7000000005e+09`,
		`raytap_interface_packets_total{interface="eth1"} 600`, `raytap_kernel_drops_total{interface="eth1"} 7`,
		`raytap_kernel_drops_total{interface="eth2"} 0`, `raytap_ring_freezes_total{interface="eth1"} 2`,
		`raytap_interface_up{interface="eth1"} 1`, `raytap_interface_up{interface="eth2"} 0`,
		`raytap_lost_total{cause="gap_bytes",unit="bytes"} 99`, `raytap_wire_total{kind="packets_waited",unit="packets"} 12`,
		`raytap_log_rows_total{log="conn"} 70`, `raytap_log_rows_lost_total{log="conn"} 4`, `raytap_log_rows_lost_total{log="notice"} 0`,
		`raytap_output_sent_total{output="webhook"} 3`, `raytap_output_dropped_total{output="webhook"} 1`, `raytap_output_waiting{output="webhook"} 2`,
		`raytap_findings_kept_back_total{rule="jobsubmit/external"} 4`,
		`raytap_findings_total{rule="a/b",severity="high"} 3`, `raytap_findings_total{rule="a/b",severity="medium"} 1`,
		`raytap_findings_total{rule="c/d",severity="low"} 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	for _, want := range []string{"process_resident_memory_bytes ", "go_goroutines ", "go_memstats_heap_alloc_bytes "} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "raytap_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	if code, _ := get(t, s, "/other"); code != 404 {
		t.Errorf("/other: %d", code)
	}
}

// TestReady: silence counts only while the link is up, and health goes by the engine alone.
func TestReady(t *testing.T) {
	c := &clock{t: time.Unix(1700000000, 0)}
	var mu sync.Mutex
	up, trouble := true, error(nil)
	m := New(Options{
		Quiet: time.Minute, Now: c.now,
		Up:    func() bool { mu.Lock(); defer mu.Unlock(); return up },
		Ready: func() error { mu.Lock(); defer mu.Unlock(); return trouble },
	})
	s := listen(t, m)
	want := func(when string, health, ready int, says string) {
		t.Helper()
		if code, text := get(t, s, "/healthz"); code != health {
			t.Errorf("%s: health is %d %s", when, code, text)
		}
		if code, text := get(t, s, "/readyz"); code != ready || !strings.Contains(text, says) {
			t.Errorf("%s: ready is %d %s", when, code, text)
		}
	}
	packets := uint64(0)
	run := func(seconds int, more uint64) {
		for range seconds {
			c.add(time.Second)
			packets += more
			m.Update(Values{Packets: packets})
		}
	}
	want("at the start", 200, 200, "ok")
	run(300, 10)
	want("with traffic", 200, 200, "ok")
	run(59, 0)
	want("in a pause", 200, 200, "ok")
	run(2, 0)
	want("in silence", 200, 503, "no packet has come for 1m1s")
	mu.Lock()
	up = false
	mu.Unlock()
	want("with the link down", 200, 200, "ok")
	mu.Lock()
	up = true
	mu.Unlock()
	run(1, 1)
	want("after the first packet", 200, 200, "ok")
	mu.Lock()
	trouble = errors.New("conn.log: no space left")
	mu.Unlock()
	want("with a full disk", 200, 503, "no space left")
	c.add(31 * time.Second)
	want("when the engine stands", 503, 503, "not moved for 31s")
}

func TestAddressThatIsTaken(t *testing.T) {
	m := New(Options{})
	s := listen(t, m)
	if _, err := m.Listen(s.Addr().String()); err == nil {
		t.Error("the same address twice")
	}
}

// TestUpdateBesideScrapes is for the race detector.
func TestUpdateBesideScrapes(t *testing.T) {
	m := New(Options{Quiet: time.Second})
	s := listen(t, m)
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range uint64(2000) {
			m.Update(Values{Packets: n, Logs: []Log{{"conn", n, 0}}})
			m.Event(&detectors.Finding{Rule: "a/b"})
		}
	})
	for range 20 {
		get(t, s, "/metrics")
		get(t, s, "/readyz")
	}
	wg.Wait()
}

// TestToken: /metrics is for those who show the token, which may be exchanged; the checks of health are for everybody.
func TestToken(t *testing.T) {
	name := filepath.Join(t.TempDir(), "token")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := New(Options{TokenFile: name})
	if _, err := m.Listen("127.0.0.1:0"); err == nil {
		t.Error("it listens without the token that it is to ask for")
	}
	write(" \n")
	if _, err := m.Listen("127.0.0.1:0"); err == nil {
		t.Error("an empty token is none")
	}
	write("s3cret\n")
	s := listen(t, m)
	ask := func(path, authorization string) (int, string) {
		t.Helper()
		req, err := http.NewRequest("GET", "http://"+s.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode == http.StatusUnauthorized && resp.Header.Get("WWW-Authenticate") == "" {
			t.Error("nobody is told what is asked for")
		}
		return resp.StatusCode, string(b)
	}
	for authorization, want := range map[string]int{
		"": 401, "Bearer": 401, "Bearer ": 401, "Bearer s3cre": 401, "Bearer s3crets": 401, "Basic s3cret": 401, "s3cret": 401,
		"Bearer s3cret": 200, "bearer s3cret": 200, "Bearer  s3cret": 200,
	} {
		code, body := ask("/metrics", authorization)
		if code != want || (code == 200) != strings.Contains(body, "raytap_packets_total") {
			t.Errorf("%q: %d", authorization, code)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, _ := ask(path, ""); code != 200 {
			t.Errorf("%s: %d", path, code)
		}
	}
	write("another")
	if code, _ := ask("/metrics", "Bearer s3cret"); code != 401 {
		t.Errorf("the old token: %d", code)
	}
	if code, _ := ask("/metrics", "Bearer another"); code != 200 {
		t.Errorf("the new token: %d", code)
	}
	for _, broken := range []string{"", strings.Repeat("x", 5000)} { // nobody gets in by an empty one
		write(broken)
		if code, body := ask("/metrics", "Bearer "+broken); code != 500 || strings.Contains(body, name) {
			t.Errorf("a token of %d bytes: %d %s", len(broken), code, body)
		}
	}
}
