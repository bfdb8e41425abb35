package webhook

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

func finding(n int) *detectors.Finding {
	return &detectors.Finding{
		At:   capture.At{Time: 1700000000e9, Packet: 52},
		Rule: "jobsubmit/external", Severity: detectors.High, Confidence: 95, Outcome: detectors.Succeeded,
		Msg: fmt.Sprintf("job %d", n), Src: netip.MustParseAddr("203.0.113.66"), Dst: netip.MustParseAddr("10.20.0.10"), Port: 8265,
	}
}

// server answers as it is told and takes down what it got.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(n int, w http.ResponseWriter) // n counts from 1
	got    []string                           // sentences that were answered with 200
	all    []*http.Request
	change chan struct{}
}

func serve(t *testing.T, answer func(n int, w http.ResponseWriter)) *server {
	s := &server{answer: answer, change: make(chan struct{}, 1<<16)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var row struct{ Msg string }
		if err := json.Unmarshal(b, &row); err != nil {
			t.Errorf("%q: %v", b, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, r)
		rec := httptest.NewRecorder()
		if s.answer != nil {
			s.answer(len(s.all), rec)
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		if rec.Code == 200 {
			s.got = append(s.got, row.Msg)
		}
		s.change <- struct{}{}
	}))
	t.Cleanup(s.Close)
	return s
}

// until waits until the server has seen n requests.
func (s *server) until(n int) []string {
	for {
		s.mu.Lock()
		got, seen := s.got, len(s.all)
		s.mu.Unlock()
		if seen >= n {
			return got
		}
		<-s.change
	}
}

func open(t *testing.T, opt Options) *Sink {
	t.Helper()
	s, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		names = append(names, f.Name())
	}
	return names
}

func TestPost(t *testing.T) {
	srv := serve(t, nil)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	spool := filepath.Join(t.TempDir(), "spool")
	s := open(t, Options{URL: srv.URL + "/hook", Spool: spool, Severity: detectors.Medium, TokenFile: token})
	low := finding(0)
	low.Severity = detectors.Low
	s.Event(low)
	s.Event("of no interest")
	for n := 1; n <= 50; n++ {
		s.Event(finding(n))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if c := s.Counts(); c != (Counts{Sent: 50}) {
		t.Errorf("%+v", c)
	}
	got := srv.until(50)
	for i, m := range got {
		if m != fmt.Sprintf("job %d", i+1) {
			t.Fatalf("%d-th is %s", i+1, m)
		}
	}
	r := srv.all[0]
	if r.Method != "POST" || r.URL.Path != "/hook" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Bearer s3cret" || r.Header.Get("Idempotency-Key") == "" {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	if f := files(t, spool); len(f) != 0 {
		t.Errorf("left in the spool: %v", f)
	}
}

// TestServerThatFailsAndRecovers: whatever it answers in between, each finding arrives once and in order.
func TestServerThatFailsAndRecovers(t *testing.T) {
	bad := []int{500, 503, 429, 401, 302, 404, 0}
	srv := serve(t, func(n int, w http.ResponseWriter) {
		if n <= len(bad) && bad[n-1] != 0 {
			w.Header().Set("Location", "http://127.0.0.1:9/")
			w.WriteHeader(bad[n-1])
		}
	})
	var mu sync.Mutex
	var said []string
	s := open(t, Options{URL: srv.URL, Spool: t.TempDir(), Say: func(m string) { mu.Lock(); said = append(said, m); mu.Unlock() }, pause: time.Millisecond})
	for n := 1; n <= 3; n++ {
		s.Event(finding(n))
	}
	got := srv.until(len(bad) + 2)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if strings.Join(got, ",") != "job 1,job 2,job 3" {
		t.Errorf("got %v", got)
	}
	if len(said) != 2 || !strings.Contains(said[0], "status 500") || !strings.Contains(said[1], "is back") {
		t.Errorf("said %q", said)
	}
	if a, b := srv.all[0].Header.Get("Idempotency-Key"), srv.all[1].Header.Get("Idempotency-Key"); a != b || a == srv.all[len(bad)].Header.Get("Idempotency-Key") {
		t.Errorf("keys %s, %s", a, b)
	}
}

func TestFindingThatIsNotTaken(t *testing.T) {
	srv := serve(t, func(n int, w http.ResponseWriter) {
		if n == 2 {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	})
	s := open(t, Options{URL: srv.URL, Spool: t.TempDir()})
	for n := 1; n <= 3; n++ {
		s.Event(finding(n))
	}
	got := srv.until(3)
	s.Close()
	if c := s.Counts(); c != (Counts{Sent: 2, Rejected: 1}) || strings.Join(got, ",") != "job 1,job 3" {
		t.Errorf("%+v, %v", c, got)
	}
}

func TestServerAsksToWait(t *testing.T) {
	srv := serve(t, func(n int, w http.ResponseWriter) {
		if n == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	s := open(t, Options{URL: srv.URL, Spool: t.TempDir(), pause: time.Hour}) // by itself it would not come back
	s.Event(finding(1))
	srv.until(1)
	start := time.Now()
	srv.until(2)
	if d := time.Since(start); d < 500*time.Millisecond {
		t.Errorf("came back after %v", d)
	}
	s.Close()
}

// TestSpoolSurvives: a run that could send nothing leaves everything to the next one; files that are no whole findings
// do not stop it.
func TestSpoolSurvives(t *testing.T) {
	spool := t.TempDir()
	s := open(t, Options{URL: "http://127.0.0.1:1/", Spool: spool})
	for n := 1; n <= 20; n++ {
		s.Event(finding(n))
	}
	for s.Counts().Waiting < 20 {
		time.Sleep(time.Millisecond)
	}
	s.cancel() // instead of waiting for Close's grace
	s.Close()
	if n := len(files(t, spool)); n != 20 {
		t.Fatalf("%d files", n)
	}
	for _, name := range []string{".00000000000000000099-3.json", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(spool, name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	srv := serve(t, nil)
	s = open(t, Options{URL: srv.URL, Spool: spool})
	s.Event(finding(21))
	got := srv.until(21)
	s.Close()
	if len(got) != 21 || got[0] != "job 1" || got[20] != "job 21" {
		t.Errorf("got %v", got)
	}
	if f := files(t, spool); len(f) != 1 || f[0] != "notes.txt" {
		t.Errorf("left in the spool: %v", f)
	}
}

// TestFullSpool: the more severe pushes out the less severe, never the other way round; all is counted.
func TestFullSpool(t *testing.T) {
	spool := t.TempDir()
	s := open(t, Options{URL: "http://127.0.0.1:1/", Spool: spool, MaxFiles: 10})
	put := func(n int, sev detectors.Severity) {
		f := finding(n)
		f.Severity = sev
		s.Event(f)
	}
	settled := func(dropped uint64, waiting int) {
		t.Helper()
		for {
			c := s.Counts()
			if c.Dropped == dropped && c.Waiting == waiting {
				return
			}
			if c.Dropped > dropped {
				t.Fatalf("%+v, want %d dropped", c, dropped)
			}
			time.Sleep(time.Millisecond)
		}
	}
	for n := range 10 {
		put(n, detectors.Medium)
	}
	settled(0, 10)
	put(10, detectors.Low)
	settled(1, 10)
	put(11, detectors.Critical)
	settled(2, 10)
	for n := range 20 {
		put(100+n, detectors.High)
	}
	settled(22, 10)
	s.cancel()
	if err := s.Close(); err == nil {
		t.Error("nothing was said of the loss")
	}
	var critical, high int
	for _, f := range files(t, spool) {
		switch {
		case strings.HasSuffix(f, "-4.json"):
			critical++
		case strings.HasSuffix(f, "-3.json"):
			high++
		}
	}
	if critical != 1 || high != 9 {
		t.Errorf("%d critical and %d high are left", critical, high)
	}
	// Its bound in bytes holds at the next start too.
	s = open(t, Options{URL: "http://127.0.0.1:1/", Spool: spool, MaxBytes: 1500})
	if c := s.Counts(); s.bytes > 1500 || c.Waiting == 0 {
		t.Errorf("%+v, %d bytes", c, s.bytes)
	}
	s.cancel()
	s.Close()
	if f := files(t, spool); len(f) == 0 || !strings.HasSuffix(strings.Join(f, " "), "-3.json") {
		t.Errorf("left: %v", f)
	}
}

// TestSpoolThatCannotBeWritten: memory holds what it may, Event does not wait, and what is lost is counted.
func TestSpoolThatCannotBeWritten(t *testing.T) {
	spool := filepath.Join(t.TempDir(), "spool")
	s := open(t, Options{URL: "http://127.0.0.1:1/", Spool: spool})
	os.RemoveAll(spool)
	if err := os.WriteFile(spool, nil, 0o600); err != nil { // a file where the folder was
		t.Fatal(err)
	}
	const n = maxHeld + 500
	for i := range n {
		s.Event(finding(i))
	}
	for c := s.Counts(); int(c.Dropped)+c.Waiting < n; c = s.Counts() {
		time.Sleep(time.Millisecond)
	}
	if c := s.Counts(); c.Waiting > maxHeld {
		t.Errorf("%+v", c)
	}
	s.cancel()
	s.Close()
	if c := s.Counts(); c.Dropped != n {
		t.Errorf("%+v", c)
	}
}

func TestErrorsKeepTheSecret(t *testing.T) {
	said := make(chan string, 10)
	s := open(t, Options{URL: "http://127.0.0.1:1/hook/s3cret", Spool: t.TempDir(), Say: func(m string) { said <- m }})
	s.Event(finding(1))
	if m := <-said; strings.Contains(m, "s3cret") || !strings.Contains(m, "cannot be reached") {
		t.Errorf("said %q", m)
	}
	s.cancel()
	s.Close()
}

func TestOptionsAreChecked(t *testing.T) {
	for _, u := range []string{"", "example.com/x", "ftp://h/x", "http://", "://"} {
		if _, err := New(Options{URL: u, Spool: t.TempDir()}); err == nil {
			t.Errorf("%q was accepted", u)
		}
	}
	file := filepath.Join(t.TempDir(), "f")
	os.WriteFile(file, nil, 0o600)
	if _, err := New(Options{URL: "http://h/", Spool: file}); err == nil {
		t.Error("a file for a spool was accepted")
	}
}

// TestTokenInClearText: a credential goes over TLS or stays on the machine, unless somebody allows more.
func TestTokenInClearText(t *testing.T) {
	for _, tt := range []struct {
		url            string
		token, allowed bool
		ok             bool
	}{
		{"http://siem.example/x", false, false, true},
		{"http://siem.example/x", true, false, false},
		{"http://siem.example/x", true, true, true},
		{"https://siem.example/x", true, false, true},
		{"HTTP://siem.example/x", true, false, false},
		{"http://127.0.0.1:80/x", true, false, true},
		{"http://127.9.9.9/x", true, false, true},
		{"http://[::1]:80/x", true, false, true},
		{"http://[::ffff:127.0.0.1]/x", true, false, true},
		{"http://LOCALHOST/x", true, false, true},
		{"http://localhost.example/x", true, false, false},
		{"http://10.0.0.1/x", true, false, false},
		{"http://u:p@siem.example/x", false, false, false},
		{"http://siem.example/x?token=abcdef", false, false, false},
	} {
		if err := CheckPlain(tt.url, tt.token, tt.allowed); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	if _, err := New(Options{URL: "http://siem.example/x", TokenFile: "t", Spool: t.TempDir()}); err == nil {
		t.Error("New takes it")
	}
}

// TestUpdate: what becomes of a finding is posted under its name, and as an update to whoever has it.
func TestUpdate(t *testing.T) {
	var bodies []map[string]any
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var row map[string]any
		if err := json.NewDecoder(r.Body).Decode(&row); err != nil {
			t.Error(err)
		}
		bodies = append(bodies, row) // one after the other
	}))
	defer srv.Close()
	s := open(t, Options{URL: srv.URL, Spool: filepath.Join(t.TempDir(), "spool"), Severity: detectors.High})
	f := finding(1)
	f.Count = 1
	s.Event(f)
	again := *f
	again.Count, again.Revision, again.Name = 8000, 2, f.ID()
	s.Event(&detectors.Update{Finding: &again, Was: detectors.High})
	low := again
	low.Severity = detectors.Low
	s.Event(&detectors.Update{Finding: &low, Was: detectors.Low})
	worse := again
	worse.Revision, worse.Name = 3, "Rworse"
	s.Event(&detectors.Update{Finding: &worse, Was: detectors.Medium}) // whose first was not sent
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(bodies) != 3 {
		t.Fatalf("%d were posted", len(bodies))
	}
	for i, want := range []struct {
		id          string
		n, revision float64
		update      bool
	}{{f.ID(), 1, 1, false}, {f.ID(), 8000, 2, true}, {"Rworse", 8000, 3, false}} {
		b := bodies[i]
		if b["finding_id"] != want.id || b["n"] != want.n || b["revision"] != want.revision || b["update"] != want.update || b["severity"] != "high" {
			t.Errorf("%d: %v", i, b)
		}
	}
}
