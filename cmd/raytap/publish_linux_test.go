package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/observe"
	"github.com/raytap/raytap/sinks/logs"
)

// hubFor starts a JetStream with the stream of a hub, and writes credentials for it.
func hubFor(t *testing.T, creds, sensor string) (*server.Server, jetstream.Stream) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(srv.Shutdown)
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(context.Background(), jetstream.StreamConfig{Name: fleet.Stream, Subjects: []string{fleet.Rows}, Duplicates: fleet.Duplicates})
	if err != nil {
		t.Fatal(err)
	}
	credentialsFor(t, creds, sensor, srv.ClientURL())
	return srv, stream
}

// streamed counts the rows of each log in a stream.
func streamed(t *testing.T, s jetstream.Stream) map[string]uint64 {
	t.Helper()
	info, err := s.Info(context.Background(), jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]uint64{}
	for subject, n := range info.State.Subjects {
		if _, log, err := fleet.ParseSubject(subject); err == nil && log != fleet.LogStatus {
			all[log] = n
		}
	}
	return all
}

// rowsIn counts the rows of each log in a folder.
func rowsIn(t *testing.T, dir string, names ...string) map[string]uint64 {
	t.Helper()
	f, err := logs.Open(logs.Options{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]uint64{}
	for _, log := range f.Logs() {
		for _, n := range names {
			if n == log {
				f.Read(log, func(*logs.Row) { all[log]++ })
			}
		}
	}
	return all
}

// observed compares the packs of observations in a stream with those in a folder: each once, and each run's from the first without a gap.
// It returns how many there are, and how many runs said their last.
func observed(t *testing.T, s jetstream.Stream, dir string) (n, ended int) {
	t.Helper()
	info, err := s.Info(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var hub, folder []string
	next := map[string]uint64{}
	for i := info.State.FirstSeq; i <= info.State.LastSeq; i++ {
		m, err := s.GetMsg(context.Background(), i)
		if err != nil {
			t.Fatal(err)
		}
		if _, log, err := fleet.ParseSubject(m.Subject); err != nil || log != observe.Log {
			continue
		}
		p, err := observe.ParseRow(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		events, err := p.Read(0)
		if err != nil || len(events) != p.Count {
			t.Errorf("pack %d of run %s: %d of %d events, %v", p.Number, p.Run, len(events), p.Count, err)
		}
		if next[p.Run]++; p.Number != next[p.Run] {
			t.Errorf("pack %d of run %s comes where %d is due", p.Number, p.Run, next[p.Run])
		}
		if p.Last {
			ended++
		}
		hub = append(hub, fmt.Sprint(p.Run, " ", p.Number, " ", base64.StdEncoding.EncodeToString(p.Data)))
	}
	f, err := logs.Open(logs.Options{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Read(observe.Log, func(r *logs.Row) { folder = append(folder, r.Get("run")+" "+r.Get("number")+" "+r.Get("data")) })
	slices.Sort(hub)
	slices.Sort(folder)
	if !slices.Equal(hub, folder) {
		t.Errorf("observations at the hub\n  %q\nin the logs\n  %q", hub, folder)
	}
	return len(hub), ended
}

// TestPublishFolder publishes what a replay has left, once however often it is asked to.
func TestPublishFolder(t *testing.T) {
	dir := t.TempDir()
	_, stream := hubFor(t, filepath.Join(dir, "a.creds"), "node-1")
	if err := os.WriteFile(filepath.Join(dir, "x.pcap"), attack(1763917200), 0o644); err != nil {
		t.Fatal(err)
	}
	invoke(t, dir, nil, "publish", "logs").expect(t, 2, "", "where to?")
	invoke(t, dir, nil, "publish", "--publish-creds", "a.creds", "gone").expect(t, 1, "", "gone is not a directory")
	if r := invoke(t, dir, nil, "replay", "--quiet", "--out", "logs", "x.pcap"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	invoke(t, dir, nil, "publish", "--status", "logs").expect(t, 1, "", "nothing of logs was published")
	want := rowsIn(t, filepath.Join(dir, "logs"), "notice", "incidents", "assets", "stats")
	n := uint64(0)
	for _, rows := range want {
		n += rows
	}
	says := fmt.Sprintf("nats: %d rows were published\n", n)
	invoke(t, dir, nil, "publish", "--publish-creds", "a.creds", "logs").expect(t, 0, says, "")
	if got := streamed(t, stream); fmt.Sprint(got) != fmt.Sprint(want) || n == 0 {
		t.Errorf("%v, not %v", got, want)
	}
	invoke(t, dir, nil, "publish", "--publish-creds=a.creds", "logs").expect(t, 0, "nats: 0 rows were published\n", "")
	r := invoke(t, dir, nil, "publish", "--publish-creds=a.creds", "--publish-logs=conn,http", "logs")
	r.expect(t, 0, "nats: 2 rows were published\n", "")
	r = invoke(t, dir, nil, "publish", "--status", "logs")
	if r.code != 0 || !strings.Contains(r.stdout, "as sensor node-1") || !strings.Contains(r.stdout, "conn                      0 bytes of 0 files wait") {
		t.Errorf("%+v", r)
	}
	invoke(t, dir, nil, "publish", "--publish-creds=a.creds", "--sensor", "other", "logs").expect(t, 1, "", "the credentials are of sensor node-1")
}

// syncBuffer is what a process has said so far.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// watches gives what starts a sensor over the folder in of dir, with the settings of r.yaml, and what all that it started say.
func watches(t *testing.T, dir string) (errs *syncBuffer, run func() *exec.Cmd) {
	errs = &syncBuffer{}
	return errs, func() *exec.Cmd {
		cmd := exec.Command(program, "watch", "in", "--config", "r.yaml", "--out", "logs", "--quiet")
		cmd.Dir, cmd.Stderr = dir, errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		return cmd
	}
}

// await waits until f is true; why says what there is instead if it never is.
func await(t *testing.T, what string, f func() bool, why func() string) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s: %s", what, why())
		}
	}
}

// TestSensorPublishes runs a sensor in its confinement: what its logs have, observations included, is at the hub once, while it runs,
// after a reload, and after it was killed and started again.
func TestSensorPublishes(t *testing.T) {
	dir := t.TempDir()
	creds := filepath.Join(dir, "keys", "a.creds")
	os.MkdirAll(filepath.Join(dir, "in"), 0o755)
	os.Mkdir(filepath.Dir(creds), 0o755)
	_, stream := hubFor(t, creds, "node-1")
	now := uint32(time.Now().Unix())
	if err := os.WriteFile(filepath.Join(dir, "in", "a.pcap"), attack(now-100), 0o644); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "r.yaml")
	text := "sensor: {name: node-1}\nmetrics: {listen: 127.0.0.1:%d}\npublish:\n  creds: keys/a.creds\n  logs: [%s]\n"
	port := freeTCP(t)
	write := func(logs string) {
		if err := os.WriteFile(conf, fmt.Appendf(nil, text, port, logs), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("http")
	errs, run := watches(t, dir)
	wait := func(what string, f func() bool) {
		t.Helper()
		await(t, what, f, func() string { return fmt.Sprintf("%v; %s", streamed(t, stream), errs) })
	}
	cmd := run()
	wait("finding", func() bool { got := streamed(t, stream); return got["notice"] > 0 && got["http"] > 0 })
	if got := streamed(t, stream); got["conn"] > 0 {
		t.Errorf("conn was not asked for: %v", got)
	}
	write("http, conn")
	cmd.Process.Signal(syscall.SIGHUP)
	wait("reload", func() bool { return strings.Contains(errs.String(), "new publish") })
	if err := os.WriteFile(conf, []byte("publish: {creds: gone.creds}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(syscall.SIGHUP)
	wait("complaint", func() bool { return strings.Contains(errs.String(), "publish.creds: ") })
	// What cannot be opened is found once the old shippers are closed: they go on.
	if err := os.MkdirAll(filepath.Join(dir, "logs", ".raytap.publish.kafka"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("http, conn]\n  kafka: [127.0.0.1:1")
	cmd.Process.Signal(syscall.SIGHUP)
	wait("second complaint", func() bool { return strings.Contains(errs.String(), ".raytap.publish.kafka") })
	write("http, conn")
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.ReadFrom(resp.Body)
	resp.Body.Close()
	if !strings.Contains(b.String(), `raytap_publish_rows_total{to="nats"}`) || !strings.Contains(b.String(), `raytap_publish_up{to="nats"} 1`) {
		t.Errorf("metrics: %s", b.String())
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, errs.String())
	}
	want := rowsIn(t, filepath.Join(dir, "logs"), "notice", "incidents", "assets", "stats", "observations", "http", "conn")
	if got := streamed(t, stream); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the hub has %v, the logs %v; %s", got, want, errs.String())
	}
	if strings.Contains(errs.String(), "permission denied") || strings.Contains(errs.String(), "not permitted") {
		t.Error(errs.String())
	}
	if n, ended := observed(t, stream, filepath.Join(dir, "logs")); n == 0 || ended != 1 {
		t.Errorf("%d packs of observations, %d runs have ended", n, ended)
	}
	// Again, and killed. What was read before is not there again. The second attack closes the pack that has the first.
	os.Remove(filepath.Join(dir, "in", "a.pcap"))
	cmd = run()
	wait("capturing", func() bool { return strings.Count(errs.String(), "reading ") >= 2 })
	before := streamed(t, stream)
	if err := os.WriteFile(filepath.Join(dir, "in", "b.pcap"), append(attack(now-50), attack(now - 40)[24:]...), 0o644); err != nil {
		t.Fatal(err)
	}
	wait("finding", func() bool {
		got := streamed(t, stream)
		return got["notice"] > before["notice"] && got["observations"] > before["observations"]
	})
	cmd.Process.Kill()
	cmd.Wait()
	os.Remove(filepath.Join(dir, "in", "b.pcap"))
	cmd = run()
	wait("capturing", func() bool { return strings.Count(errs.String(), "reading ") >= 3 })
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	want = rowsIn(t, filepath.Join(dir, "logs"), "notice", "incidents", "assets", "stats", "observations", "http", "conn")
	if got := streamed(t, stream); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after a kill the hub has %v, the logs %v; %s", got, want, errs.String())
	}
	if n, ended := observed(t, stream, filepath.Join(dir, "logs")); n < 3 || ended != 2 {
		t.Errorf("after a kill: %d packs of observations, %d runs have ended", n, ended)
	}
}

func freeTCP(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
