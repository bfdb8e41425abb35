package hub

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/raytap/raytap/fleet/hub/hubtest"
	"github.com/raytap/raytap/fleet/store"
)

var long = os.Getenv("RAYTAP_FLEET_LOAD") != ""

// writing sends n findings at a time, as from a spool: each time to its end. sent is how many were acknowledged; stop ends it and
// waits.
func writing(s *hubtest.Sensor, n int) (sent func() int, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	done := 0
	var work sync.WaitGroup
	work.Go(func() {
		for k := 0; ctx.Err() == nil; k++ {
			var rows [][]byte
			for i := range n {
				rows = append(rows, hubtest.Notice(fmt.Sprintf("R%d-%d", k, i), "scan/ports", "low", "203.0.113.1", "10.0.0.1", time.Now()))
			}
			if s.Send(context.Background(), "notice", rows...) == nil {
				mu.Lock()
				done += n
				mu.Unlock()
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	sent = func() int { mu.Lock(); defer mu.Unlock(); return done }
	return sent, func() { cancel(); work.Wait() }
}

// TestDiskFull lets the disk of a hub fill while a sensor sends, and makes room again: what was acknowledged is there once, the rest
// was not acknowledged.
func TestDiskFull(t *testing.T) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("a small file system cannot be mounted here: it takes root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("a small file system cannot be mounted here: %s", out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	h := start(t, Options{Data: filepath.Join(dir, "hub"), StreamSize: 1 << 30})
	s := sensor(t, h, "a")
	ballast := filepath.Join(dir, "ballast")
	fill := func() {
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, 1<<20)
		for n := len(b); n > 0; { // to the last byte
			if _, err := f.Write(b[:n]); err != nil {
				n /= 2
			}
		}
	}
	sent, stop := writing(s, 50)
	until(t, "rows", func() bool { return sent() > 1000 })
	rounds := 1
	if long {
		rounds = 5
	}
	for range rounds {
		fill()
		time.Sleep(3 * time.Second)
		stuck := sent()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		until(t, "rows after there is room", func() bool { return sent() > stuck+1000 })
	}
	stop()
	n := sent()
	until(t, "all rows", func() bool { return len(findings(t, h, store.Query{Rule: "scan/ports"})) >= n })
	if got := len(findings(t, h, store.Query{Rule: "scan/ports"})); got != n {
		t.Errorf("%d findings of %d", got, n)
	}
	x := state(t, h, "a")
	if x.Rows != uint64(n) || x.Refusals != 0 {
		t.Errorf("%d rows of %d, %v refused", x.Rows, n, x.Refused)
	}
	t.Logf("%d rows; %d batches were sent again, %d repetitions came to the hub", n, s.Again, x.Repeated)
}

// TestThreeServers has a hub at three servers of NATS with a stream of three copies, and kills one after the other while a sensor
// sends.
func TestThreeServers(t *testing.T) {
	dir := t.TempDir()
	k, err := openKeys(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := k.hubCredentials()
	if err != nil {
		t.Fatal(err)
	}
	port := func() int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}
	var routes []string
	var all []*server.Options
	for i := range 3 {
		o, err := serverOptions(Options{Data: t.TempDir(), Listen: "127.0.0.1:" + strconv.Itoa(port()), MaxConnections: 100, StreamSize: 256 << 20}, k, nil)
		if err != nil {
			t.Fatal(err)
		}
		o.ServerName = fmt.Sprintf("n%d", i)
		o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port(), NoAdvertise: true}
		routes = append(routes, "nats://127.0.0.1:"+strconv.Itoa(o.Cluster.Port))
		all = append(all, o)
	}
	nodes := make([]*server.Server, 3)
	run := func(i int) {
		o := all[i].Clone()
		o.Routes = server.RoutesFromStr(routes[0] + "," + routes[1] + "," + routes[2])
		// Each has a resolver of its own, as three machines have.
		var r server.MemAccResolver
		for _, pub := range []string{public(k.account), public(k.system)} {
			token, err := all[i].AccountResolver.Fetch(pub)
			if err != nil {
				t.Fatal(err)
			}
			r.Store(pub, token)
		}
		o.AccountResolver = &r
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		nodes[i] = s
	}
	var urls []string
	for i := range 3 {
		run(i)
		urls = append(urls, "nats://127.0.0.1:"+strconv.Itoa(all[i].Port))
	}
	t.Cleanup(func() {
		for _, s := range nodes {
			s.Shutdown()
		}
	})
	until(t, "a cluster", func() bool {
		n := 0
		for _, s := range nodes {
			if s.JetStreamIsCurrent() && s.NumRoutes() > 0 {
				n++
			}
		}
		return n == 3
	})
	b, err := creds.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "creds")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	h := start(t, Options{NATS: urls, Creds: file, StreamSize: 128 << 20})
	if cfg := mustStream(t, h); cfg.Replicas != 3 {
		t.Fatalf("%d copies", cfg.Replicas)
	}
	user, key, err := k.sensorCredentials("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwt.DecodeUserClaims(user.JWT); err != nil || key == "" {
		t.Fatal(err)
	}
	user.URLs = urls
	s, err := hubtest.Connect(user)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Conn.Close()
	sent, stop := writing(s, 20)
	until(t, "rows", func() bool { return sent() > 500 })
	kills := 1
	if long {
		kills = 3
	}
	for i := range kills {
		nodes[i].Shutdown()
		at := sent()
		until(t, "rows with two servers", func() bool { return sent() > at+500 })
		run(i)
		until(t, "the third to be back", func() bool { return nodes[i].JetStreamIsCurrent() })
	}
	stop()
	n := sent()
	until(t, "all rows", func() bool { return len(findings(t, h, store.Query{Rule: "scan/ports"})) >= n })
	if got := len(findings(t, h, store.Query{Rule: "scan/ports"})); got != n {
		t.Errorf("%d findings of %d", got, n)
	}
	d, err := OpenDir(h.o.Data, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	list, err := d.Sensors()
	if err != nil || len(list) != 1 || list[0].Rows != uint64(n) {
		t.Errorf("%+v %v; %d were sent", list, err, n)
	}
	t.Logf("%d rows; %d batches were sent again, %d repetitions came to the hub", n, s.Again, list[0].Repeated)
}
