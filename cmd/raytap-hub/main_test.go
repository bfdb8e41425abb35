package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/hub"
	"github.com/raytap/raytap/fleet/hub/hubtest"
	"github.com/raytap/raytap/fleet/store"
)

// asHub has the test's binary be the program.
const asHub = "RAYTAP_TEST_AS_HUB"

// RAYTAP_FLEET_LOAD=1 has the tests take minutes, as `make fleet-load` does.
var long = os.Getenv("RAYTAP_FLEET_LOAD") != ""

func TestMain(m *testing.M) {
	if os.Getenv(asHub) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const hang = 3 * time.Minute

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hang); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// process is a hub that runs.
type process struct {
	cmd *exec.Cmd
	out *bytes.Buffer
	mu  sync.Mutex
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}
func (p *process) text() string { p.mu.Lock(); defer p.mu.Unlock(); return p.out.String() }

func raytapHub(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asHub+"=1")
	return cmd
}

// mustRun runs a command to its end.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := raytapHub(args...).Output()
	if err != nil {
		var text []byte
		if x, ok := err.(*exec.ExitError); ok {
			text = x.Stderr
		}
		t.Fatalf("%v: %v\n%s", args, err, text)
	}
	return string(out)
}

func begin(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: raytapHub(args...), out: &bytes.Buffer{}}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && p.cmd.ProcessState == nil {
			p.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines
			time.Sleep(time.Second)
		}
		p.cmd.Process.Kill()
		p.cmd.Wait()
		if s := p.text(); t.Failed() {
			t.Logf("%.20000s", s)
		}
	})
	return p
}

func (p *process) ready(t *testing.T) {
	t.Helper()
	until(t, "the hub to start", func() bool {
		if p.cmd.ProcessState != nil {
			t.Fatal(p.text())
		}
		return strings.Contains(p.text(), "sensors connect to")
	})
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// peak is the most memory that a process had, in bytes.
func peak(pid int) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// cpu is the processor time that a process has had.
func cpu(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // of USER_HZ, which is 100 on Linux
}

// fleetOf makes a folder with enrolled sensors.
func fleetOf(t *testing.T, dir, addr string, n int) (all []*hubtest.Sensor) {
	t.Helper()
	d, err := hub.OpenDir(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i := range n {
		b, err := d.Enroll(fmt.Sprintf("node-%03d", i), []string{"nats://" + addr}, false)
		if err != nil {
			t.Fatal(err)
		}
		c, err := fleet.ParseCredentials(b)
		if err != nil {
			t.Fatal(err)
		}
		s, err := hubtest.Connect(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Conn.Close)
		all = append(all, s)
	}
	return all
}

func rows(t *testing.T, dir string) (rows, refused uint64, all []hub.SensorState) {
	t.Helper()
	d, err := hub.OpenDir(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if all, err = d.Sensors(); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		rows += s.Rows
		refused += s.Refusals
	}
	return rows, refused, all
}

// compare looks up each finding that was acknowledged, once, and nothing else.
func compare(t *testing.T, dir string, sent map[string]bool) {
	t.Helper()
	d, err := hub.OpenDir(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all, err := d.Store().Findings(store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, x := range all {
		if strings.Contains(string(x.Body), `"sensor/`) {
			continue
		}
		n++
		if !sent[x.ID] || x.N != 1 || len(x.Sensors) != 1 {
			t.Errorf("%s is not as it was sent: %d times, %v", x.ID, x.N, x.Sensors)
		}
	}
	if n != len(sent) {
		t.Errorf("%d findings, %d were sent", n, len(sent))
	}
}

// TestKill kills the hub again and again while sensors send, and compares what they sent with what it has: no finding is missing,
// none is counted twice, and its log has each once.
func TestKill(t *testing.T) {
	kills, sensors := 4, 5
	if long {
		kills, sensors = 20, 20
	}
	dir, logs, addr := t.TempDir(), t.TempDir(), freeAddr(t)
	all := fleetOf(t, dir, addr, sensors)
	args := []string{"--data", dir, "--listen", addr, "--log", logs, "--stream-size", "500MB"}
	p := begin(t, args...)
	p.ready(t)
	ctx, stop := context.WithCancel(context.Background())
	var mu sync.Mutex
	sent := map[string]bool{}
	var conns atomic.Uint64
	var work sync.WaitGroup
	for i, s := range all {
		work.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				var findings, other [][]byte
				var ids []string
				for j := range 20 {
					id := fmt.Sprintf("R%d-%d-%d", i, k, j)
					ids, findings = append(ids, id), append(findings, hubtest.Notice(id, "scan/ports", "low", "203.0.113.1", "10.0.0.1", time.Now()))
				}
				for j := range 80 {
					other = append(other, hubtest.Conn(k*100+j, time.Now()))
				}
				// A batch that was begun is sent to its end, as from a spool.
				if s.Send(context.Background(), "notice", findings...) == nil && s.Send(context.Background(), "conn", other...) == nil {
					mu.Lock()
					for _, id := range ids {
						sent[id] = true
					}
					mu.Unlock()
					conns.Add(uint64(len(other)))
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range kills {
		time.Sleep(time.Duration(200+r.IntN(1300)) * time.Millisecond)
		p.cmd.Process.Kill()
		p.cmd.Wait()
		p = begin(t, args...)
		p.ready(t)
	}
	time.Sleep(time.Second)
	stop()
	work.Wait()
	want := uint64(len(sent)) + conns.Load()
	until(t, fmt.Sprintf("%d rows", want), func() bool { n, _, _ := rows(t, dir); return n >= want })
	n, refused, state := rows(t, dir)
	again, repeated := 0, uint64(0)
	for i := range state {
		repeated += state[i].Repeated
	}
	for _, s := range all {
		again += s.Again
	}
	if n != want || refused != 0 {
		t.Errorf("%d rows, %d refused; %d were sent", n, refused, want)
	}
	compare(t, dir, sent)
	found := func() int {
		b, _ := os.ReadFile(filepath.Join(logs, "notice.log"))
		return bytes.Count(b, []byte("scan/ports"))
	}
	until(t, "the log", func() bool { return found() >= len(sent) })
	if n := found(); n != len(sent) {
		t.Errorf("the log has %d findings of %d", n, len(sent))
	}
	t.Logf("%d kills, %d sensors: %d rows, %d of them findings; %d batches were sent again, %d repetitions came to the hub", kills, sensors, n, len(sent), again, repeated)
}

// TestLoad sends 100 rows a second from each of 100 sensors, then a burst.
func TestLoad(t *testing.T) {
	sensors, seconds, burst := 20, 3, 20000
	if long {
		sensors, seconds, burst = 100, 600, 300000
		if s := os.Getenv("RAYTAP_FLEET_SECONDS"); s != "" {
			seconds, _ = strconv.Atoi(s)
		}
	}
	dir, addr := t.TempDir(), freeAddr(t)
	all := fleetOf(t, dir, addr, sensors)
	p := begin(t, "--data", dir, "--listen", addr, "--stream-size", "4GiB")
	p.ready(t)
	var mu sync.Mutex
	sent := map[string]bool{}
	var total atomic.Uint64
	begun := time.Now()
	var work sync.WaitGroup
	used := cpu(p.cmd.Process.Pid)
	for i, s := range all {
		work.Go(func() {
			for k := range seconds * 5 { // 20 rows five times a second; one of a hundred is a finding
				time.Sleep(time.Until(begun.Add(time.Duration(k)*200*time.Millisecond + time.Duration(i)*2*time.Millisecond)))
				var other [][]byte
				n := 20
				if k%5 == 0 {
					id := fmt.Sprintf("R%d-%d", i, k)
					if err := s.Send(context.Background(), "notice", hubtest.Notice(id, "scan/ports", "low", "203.0.113.1", "10.0.0.1", time.Now())); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					sent[id] = true
					mu.Unlock()
					n--
					total.Add(1)
				}
				if k%50 == 1 {
					if err := s.Send(context.Background(), "status", hubtest.Status("v1", time.Now())); err != nil {
						t.Error(err)
						return
					}
					n--
					total.Add(1)
				}
				for j := range n {
					other = append(other, hubtest.Conn(k*100+j, time.Now()))
				}
				if err := s.Send(context.Background(), "conn", other...); err != nil {
					t.Error(err)
					return
				}
				total.Add(uint64(len(other)))
			}
		})
	}
	work.Wait()
	took := time.Since(begun)
	lag := time.Now()
	until(t, "all rows", func() bool { n, _, _ := rows(t, dir); return n >= total.Load() })
	t.Logf("%d sensors, %d rows in %s: %.0f a second; applied %s after the last; %.0f MiB, %s of a processor a row", sensors, total.Load(), took.Round(time.Millisecond), float64(total.Load())/took.Seconds(),
		time.Since(lag).Round(time.Millisecond), float64(peak(p.cmd.Process.Pid))/(1<<20), (cpu(p.cmd.Process.Pid)-used)/time.Duration(max(1, total.Load())))
	n, refused, _ := rows(t, dir)
	if n != total.Load() || refused != 0 {
		t.Errorf("%d rows, %d refused; %d were sent", n, refused, total.Load())
	}
	compare(t, dir, sent)

	// The burst: as fast as acknowledgements come.
	begun, used = time.Now(), cpu(p.cmd.Process.Pid)
	each := burst / sensors
	for i, s := range all {
		work.Go(func() {
			for k := 0; k < each; k += 500 {
				var other [][]byte
				for j := range min(500, each-k) {
					other = append(other, hubtest.Conn(i*each+k+j, time.Now()))
				}
				if err := s.Send(context.Background(), "conn", other...); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	took = time.Since(begun)
	until(t, "the burst", func() bool { m, _, _ := rows(t, dir); return m >= n+uint64(each*sensors) })
	t.Logf("burst: %d rows acknowledged in %s: %.0f a second; applied at %.0f a second; %.0f MiB, %s of a processor a row", each*sensors, took.Round(time.Millisecond), float64(each*sensors)/took.Seconds(),
		float64(each*sensors)/time.Since(begun).Seconds(), float64(peak(p.cmd.Process.Pid))/(1<<20), (cpu(p.cmd.Process.Pid)-used)/time.Duration(each*sensors))
	if m, _, _ := rows(t, dir); m != n+uint64(each*sensors) {
		t.Errorf("%d rows of %d", m, n+uint64(each*sensors))
	}
	if rss := peak(p.cmd.Process.Pid); rss > 500<<20 {
		t.Errorf("%d MiB", rss>>20)
	}
}

// TestStrangers opens thousands of connections without credentials while a sensor sends: none of its rows is lost or late.
func TestStrangers(t *testing.T) {
	strangers := 1000
	if long {
		strangers = 10000
	}
	dir, addr := t.TempDir(), freeAddr(t)
	s := fleetOf(t, dir, addr, 1)[0]
	p := begin(t, "--data", dir, "--listen", addr, "--stream-size", "500MB", "--max-connections", "2000")
	p.ready(t)
	until(t, "the sensor", s.Conn.IsConnected)
	var gate = make(chan bool, 500)
	var opened, answered atomic.Int64
	var work sync.WaitGroup
	done := make(chan bool)
	go func() {
		for i := range strangers {
			gate <- true
			work.Go(func() {
				defer func() { <-gate }()
				c, err := net.DialTimeout("tcp", addr, 10*time.Second)
				if err != nil {
					return
				}
				defer c.Close()
				opened.Add(1)
				c.SetDeadline(time.Now().Add(15 * time.Second))
				switch i % 3 {
				case 0: // says nothing
				case 1:
					fmt.Fprintf(c, "CONNECT {\"verbose\":true}\r\nPUB raytap.node-000.notice 2\r\n{}\r\nSUB > 1\r\n")
				case 2:
					c.Write(bytes.Repeat([]byte("A"), 10000))
				}
				b := make([]byte, 4096)
				for {
					n, err := c.Read(b)
					if bytes.Contains(b[:n], []byte("MSG ")) || bytes.Contains(b[:n], []byte("+OK")) {
						answered.Add(1)
					}
					if err != nil {
						return
					}
				}
			})
		}
		work.Wait()
		close(done)
	}()
	sent, worst := map[string]bool{}, time.Duration(0)
	for i, over := 0, false; !over || i < 100; i++ {
		select {
		case <-done:
			over = true
		default:
		}
		id := fmt.Sprintf("R%d", i)
		from := time.Now()
		if err := s.Send(context.Background(), "notice", hubtest.Notice(id, "scan/ports", "low", "203.0.113.1", "10.0.0.1", time.Now())); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(from))
		sent[id] = true
		time.Sleep(5 * time.Millisecond)
	}
	until(t, "rows", func() bool { n, _, _ := rows(t, dir); return n >= uint64(len(sent)) })
	compare(t, dir, sent)
	if _, refused, _ := rows(t, dir); refused != 0 || answered.Load() != 0 {
		t.Errorf("%d rows refused, %d strangers were answered", refused, answered.Load())
	}
	if !s.Conn.IsConnected() || s.Again != 0 {
		t.Errorf("the sensor lost its connection, or sent %d batches again", s.Again)
	}
	t.Logf("%d strangers; %d rows, the slowest was acknowledged after %s; %d MiB", opened.Load(), len(sent), worst.Round(time.Millisecond), peak(p.cmd.Process.Pid)>>20)
}

// TestManifests compares the flags of the unit and of the manifest with those that there are.
func TestManifests(t *testing.T) {
	for _, name := range []string{"raytap-hub.service", "kubernetes/hub/statefulset.yaml"} {
		b, err := os.ReadFile(filepath.Join("..", "raytap", "packaging", name))
		if err != nil {
			t.Fatal(err)
		}
		var args []string
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "- "))
			switch {
			case strings.HasPrefix(line, "ExecStart=/usr/bin/raytap-hub "):
				args = strings.Fields(line)[1:]
			case strings.HasPrefix(line, "--"):
				args = append(args, line)
			}
		}
		if out, err := raytapHub(append(args, "--help")...).CombinedOutput(); err != nil || len(args) < 5 {
			t.Errorf("%s: %q: %v\n%s", name, args, err, out)
		}
	}
}

// TestCommands runs the commands as people do, with the hub running and not.
func TestCommands(t *testing.T) {
	dir, addr := filepath.Join(t.TempDir(), "data"), freeAddr(t)
	if out := mustRun(t, "enroll", "early", "--data", dir, "--url", "nats://"+addr); !strings.HasPrefix(out, "sensor: early\nurl: nats://"+addr) {
		t.Fatal(out)
	}
	p := begin(t, "--data", dir, "--listen", addr, "--stream-size", "100MB")
	p.ready(t)
	file := filepath.Join(t.TempDir(), "creds")
	mustRun(t, "enroll", "late", "--data", dir, "-o", file)
	c, err := fleet.ReadCredentials(file)
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(file); st.Mode().Perm() != 0o600 {
		t.Error(st.Mode())
	}
	s, err := hubtest.Connect(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Conn.Close()
	now := time.Now()
	if err := s.Send(context.Background(), "notice", hubtest.Notice("R1", "scan/ports", "high", "203.0.113.1", "10.0.0.1", now),
		bytes.Replace(hubtest.Notice("R2", "scan/ports", "low", "203.0.113.1", "10.0.0.1", now), []byte("did something"), []byte("\u202edid <b>some\\nthing</b>"), 1)); err != nil {
		t.Fatal(err)
	}
	until(t, "rows", func() bool { n, _, _ := rows(t, dir); return n == 2 })
	out := mustRun(t, "findings", "--data", dir)
	if n := strings.Count(out, "\n"); n != 3 || strings.Contains(out, "\u202e") {
		t.Errorf("%q", out)
	}
	var item store.Item
	if err := json.Unmarshal([]byte(mustRun(t, "findings", "--json", "--severity", "high", "--data", dir)), &item); err != nil || item.ID != "R1" || !slices.Equal(item.Sensors, []string{"late"}) {
		t.Errorf("%+v %v", item, err)
	}
	if out := mustRun(t, "sensors", "--data", dir); !strings.Contains(out, "early") || !strings.Contains(out, "never") || !strings.Contains(out, "late") {
		t.Error(out)
	}
	for _, list := range []string{"incidents", "assets"} {
		if out := mustRun(t, list, "--data", dir); strings.Count(out, "\n") != 1 {
			t.Error(out)
		}
	}
	if out := mustRun(t, "history", "R1", "--data", dir); strings.Count(out, "\n") != 2 {
		t.Error(out)
	}
	copied := filepath.Join(t.TempDir(), "backup")
	mustRun(t, "backup", copied, "--data", dir)
	mustRun(t, "revoke", "late", "--data", dir)
	until(t, "the connection to end", func() bool { return !s.Conn.IsConnected() })
	again := filepath.Join(t.TempDir(), "again")
	mustRun(t, "restore", copied, "--data", again)
	if out := mustRun(t, "findings", "--data", again); strings.Count(out, "\n") != 3 {
		t.Error(out)
	}
	for _, args := range [][]string{{"nonsense"}, {"enroll"}, {"enroll", "a", "b"}, {"sensors", "--nonsense"}, {"findings", "--severity", "dire"}} {
		cmd := raytapHub(append(args, "--data", dir)...)
		if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != exitUsage {
			t.Errorf("%v: %v", args, err)
		}
	}
	for _, args := range [][]string{{"enroll", "early"}, {"enroll", "a b"}, {"enroll", "raytap-hub"}, {"revoke", "nobody"}, {"backup", copied}, {"restore", copied}} {
		cmd := raytapHub(append(args, "--data", dir)...)
		if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != exitInput {
			t.Errorf("%v: %v", args, err)
		}
	}
	if err := raytapHub("--data", dir, "--listen", freeAddr(t)).Run(); err == nil {
		t.Error("two hubs work in one folder")
	}
	p.cmd.Process.Signal(os.Interrupt)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, p.text())
	}
}
