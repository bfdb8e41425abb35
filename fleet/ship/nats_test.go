package ship

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/sinks/logs"
)

// keys are those of a hub. Their seeds go from one process of a test to another.
type keys struct {
	Operator, Account, System []byte
}

func pair(t testing.TB, seed []byte) (nkeys.KeyPair, string) {
	t.Helper()
	k, err := nkeys.FromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return k, pub
}

func newKeys(t testing.TB) (all keys) {
	t.Helper()
	seed := func(k nkeys.KeyPair, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		b, err := k.Seed()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return keys{seed(nkeys.CreateOperator()), seed(nkeys.CreateAccount()), seed(nkeys.CreateAccount())}
}

// credentials are those of a user with these claims.
func (k keys) credentials(t testing.TB, url string, claims func(pub string) *jwt.UserClaims) fleet.Credentials {
	t.Helper()
	account, _ := pair(t, k.Account)
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub, _ := user.PublicKey()
	seed, _ := user.Seed()
	token, err := claims(pub).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	return fleet.Credentials{URLs: []string{url}, JWT: token, Seed: seed}
}

// server starts a NATS server with JetStream, as a hub does, and makes the stream.
func (k keys) server(t testing.TB, dir string, port int) *server.Server {
	t.Helper()
	operator, operatorPub := pair(t, k.Operator)
	_, accountPub := pair(t, k.Account)
	_, systemPub := pair(t, k.System)
	oc := jwt.NewOperatorClaims(operatorPub)
	oc.SystemAccount = systemPub
	resolver := &server.MemAccResolver{}
	for _, pub := range []string{accountPub, systemPub} {
		ac := jwt.NewAccountClaims(pub)
		if pub == accountPub {
			ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
		}
		token, err := ac.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		resolver.Store(pub, token)
	}
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true, ServerName: "test",
		TrustedOperators: []*jwt.OperatorClaims{oc}, SystemAccount: systemPub, AccountResolver: resolver,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	js := k.js(t, srv.ClientURL())
	_, err = js.CreateOrUpdateStream(context.Background(), jetstream.StreamConfig{Name: fleet.Stream, Subjects: []string{fleet.Rows}, Duplicates: fleet.Duplicates})
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// js connects as the hub.
func (k keys) js(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	nc, err := fleet.Connect(k.credentials(t, url, jwt.NewUserClaims))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	until(t, "a connection", nc.IsConnected)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// sensor returns a transport of sensor node-1.
func (k keys) sensor(t testing.TB, url string) Transport {
	t.Helper()
	tr, err := NewNATS(k.credentials(t, url, func(pub string) *jwt.UserClaims { return fleet.SensorClaims("node-1", pub) }), "node-1")
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// stored reads what the stream has, as a hub does: rows by log and number, each of which may be there once.
func (k keys) stored(t testing.TB, url string) (rows map[string]map[uint64]bool, beats int) {
	t.Helper()
	js := k.js(t, url)
	c, err := js.OrderedConsumer(context.Background(), fleet.Stream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	rows = map[string]map[uint64]bool{}
	last := map[string][]fleet.Place{}
	msgs, err := c.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer msgs.Stop()
	for left := info.NumPending; left > 0; left-- {
		m, err := msgs.Next()
		if err != nil {
			t.Fatal(err)
		}
		row, err := fleet.Decode(&nats.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
		if err != nil {
			t.Fatalf("a hub does not take %s: %v", m.Data(), err)
		}
		if row.Log == fleet.LogStatus {
			beats++
			continue
		}
		// As a hub does: what is below its last rows it would drop.
		window := append(last[row.Log], row.Place)
		if len(window) > fleet.Window {
			window = window[1:]
			if row.Place.Less(window[0]) {
				t.Errorf("place %v of %s comes long behind %v", row.Place, row.Log, window[0])
			}
		}
		last[row.Log] = window
		var body struct {
			N uint64 `json:"number"`
		}
		if err := json.Unmarshal(row.Body, &body); err != nil {
			t.Fatal(err)
		}
		if rows[row.Log] == nil {
			rows[row.Log] = map[uint64]bool{}
		}
		if rows[row.Log][body.N] {
			t.Errorf("row %d of %s came twice", body.N, row.Log)
		}
		rows[row.Log][body.N] = true
	}
	return rows, beats
}

// written reads what is in a folder's logs.
func written(t testing.TB, dir, log string) map[uint64]bool {
	t.Helper()
	f, err := logs.Open(logs.Options{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[uint64]bool{}
	f.Read(log, func(r *logs.Row) { all[r.Uint("number")] = true })
	if f.Damaged > 0 || len(f.Unread()) > 0 {
		t.Fatalf("%d lines are damaged, %v", f.Damaged, f.Unread())
	}
	return all
}

func same(t testing.TB, what string, got, want map[uint64]bool) {
	t.Helper()
	missing, more := 0, 0
	for n := range want {
		if !got[n] {
			missing++
		}
	}
	for n := range got {
		if !want[n] {
			more++
		}
	}
	if missing > 0 || more > 0 || len(want) == 0 {
		t.Errorf("%s: of %d rows %d are missing, and %d came that are not in the files", what, len(want), missing, more)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// wire is a connection that can be cut: what is behind it stays, and hears nothing of it.
type wire struct {
	l     net.Listener
	to    string
	mu    sync.Mutex
	cut   bool // nothing passes
	conns []net.Conn
}

func newWire(t testing.TB, to string) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, to: to}
	t.Cleanup(func() { l.Close(); w.set(true, true) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.join(c)
		}
	}()
	return w
}

func (w *wire) url() string { return "nats://" + w.l.Addr().String() }

func (w *wire) join(c net.Conn) {
	d, err := net.Dial("tcp", w.to)
	if err != nil {
		c.Close()
		return
	}
	w.mu.Lock()
	w.conns = append(w.conns, c, d)
	w.mu.Unlock()
	pass := func(to, from net.Conn) {
		defer to.Close()
		b := make([]byte, 16<<10)
		for {
			n, err := from.Read(b)
			for w.isCut() {
				time.Sleep(10 * time.Millisecond)
			}
			if err != nil {
				return
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
	}
	go pass(c, d)
	pass(d, c)
}

func (w *wire) isCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

// set cuts the wire, silently or with all connections reset.
func (w *wire) set(cut, reset bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut && !reset
	if reset {
		for _, c := range w.conns {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
		w.conns = nil
	}
}

// TestNATS publishes with a sensor's own permissions, while connections are reset and silent and the server restarts.
func TestNATS(t *testing.T) {
	k := newKeys(t)
	store, port := t.TempDir(), freePort(t)
	srv := k.server(t, store, port)
	wire := newWire(t, "127.0.0.1:"+strconv.Itoa(port))
	dir := t.TempDir()
	w := newSensor(t, dir, formats[0])
	s := open(t, dir, k.sensor(t, wire.url()), true, "conn")
	s.Start()
	write := func() {
		for range 5 {
			w.rows(300, "conn", "notice")
			w.pass(time.Second)
		}
		w.pass(time.Hour)
	}
	sent := func() bool {
		w.live.Tick(w.now) // one may have been left out
		st := s.Status()
		return st.Sent+st.Repeated >= w.n["conn"]+w.n["notice"]
	}
	write()
	until(t, "rows", func() bool { return s.Status().Sent > 0 })
	for range 3 {
		wire.set(false, true)
		write()
	}
	until(t, "all rows after resets", sent)
	wire.set(true, false)
	write()
	until(t, "that it waits", func() bool { return s.Status().Behind > 0 })
	time.Sleep(200 * time.Millisecond)
	wire.set(false, false)
	until(t, "all rows after a silence", sent)
	srv.Shutdown()
	srv.WaitForShutdown()
	write()
	until(t, "that it waits", func() bool { return s.Status().Error != "" })
	srv = k.server(t, store, port)
	defer srv.Shutdown()
	write()
	w.stop()
	if err := s.Close(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	rows, beats := k.stored(t, srv.ClientURL())
	same(t, "conn", rows["conn"], written(t, dir, "conn"))
	same(t, "notice", rows["notice"], written(t, dir, "notice"))
	if uint64(len(rows["conn"])) != w.n["conn"] || uint64(len(rows["notice"])) != w.n["notice"] {
		t.Errorf("%d, %d rows of %v", len(rows["conn"]), len(rows["notice"]), w.n)
	}
	if beats == 0 {
		t.Error("the sensor never said how it is")
	}
}

// TestNATSRefuses has credentials that are of another sensor, and of one that was not enrolled here.
func TestNATSRefuses(t *testing.T) {
	k := newKeys(t)
	srv := k.server(t, t.TempDir(), -1)
	defer srv.Shutdown()
	c := k.credentials(t, srv.ClientURL(), func(pub string) *jwt.UserClaims { return fleet.SensorClaims("node-2", pub) })
	c.Sensor = "node-2"
	if _, err := NewNATS(c, "node-1"); err == nil {
		t.Error("another's credentials are taken")
	}
	c.Sensor = "" // as if somebody had cut its name off
	for what, c := range map[string]fleet.Credentials{
		"another's":    c,
		"nobody knows": newKeys(t).credentials(t, srv.ClientURL(), func(pub string) *jwt.UserClaims { return fleet.SensorClaims("node-1", pub) }),
	} {
		tr, err := NewNATS(c, "node-1")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		w := newSensor(t, dir, formats[0])
		w.rows(10, "conn")
		w.stop()
		s := open(t, dir, tr, true, "conn")
		s.Start()
		until(t, "a reason", func() bool {
			text := strings.ToLower(s.Status().Error)
			return strings.Contains(text, "authorization") || strings.Contains(text, "permissions violation")
		})
		if err := s.Close(0); err == nil {
			t.Errorf("%s: nothing is told of rows that were not sent", what)
		}
	}
	if rows, _ := k.stored(t, srv.ClientURL()); len(rows) > 0 {
		t.Error(rows)
	}
}

// The processes that TestKilled kills are this test itself, with these in the environment.
const (
	childRole  = "RAYTAP_SHIP_CHILD" // sensor, hub, last
	childDir   = "RAYTAP_SHIP_DIR"
	childPort  = "RAYTAP_SHIP_PORT"
	childKeys  = "RAYTAP_SHIP_KEYS"
	childFirst = "RAYTAP_SHIP_FIRST"
)

// TestChild is a process of TestKilled.
func TestChild(t *testing.T) {
	role := os.Getenv(childRole)
	if role == "" {
		t.Skip("is a process of TestKilled")
	}
	var k keys
	if err := json.Unmarshal([]byte(os.Getenv(childKeys)), &k); err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(os.Getenv(childPort))
	dir := os.Getenv(childDir)
	if role == "hub" {
		k.server(t, dir, port)
		os.Stdout.WriteString("ready\n")
		io.Copy(io.Discard, os.Stdin) // until the parent is gone
		return
	}
	w := &sensor{t: t, dir: dir, opt: formats[1], now: time.Now(), n: map[string]uint64{}}
	w.opt.Size = 64 << 10 // rotates all the time
	w.start()
	s := open(t, dir, k.sensor(t, "nats://127.0.0.1:"+strconv.Itoa(port)), true, "conn")
	s.Start()
	first, _ := strconv.ParseUint(os.Getenv(childFirst), 10, 64)
	w.n["conn"], w.n["notice"] = first, first
	os.Stdout.WriteString("ready\n")
	if role == "last" {
		w.rows(100, "conn", "notice")
		w.stop()
		if err := s.Close(5 * time.Minute); err != nil {
			t.Fatal(err)
		}
		return
	}
	for {
		w.rows(100, "conn", "notice")
		w.live.Flush()
		w.now = time.Now()
		w.live.Tick(w.now)
		time.Sleep(20 * time.Millisecond)
	}
}

// child starts one, and returns when it is at work.
func child(t *testing.T, role, dir string, port int, k keys, first int) *exec.Cmd {
	t.Helper()
	text, _ := json.Marshal(k)
	c := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	c.Env = append(os.Environ(), childRole+"="+role, childDir+"="+dir, childPort+"="+strconv.Itoa(port), childKeys+"="+string(text), childFirst+"="+strconv.Itoa(first))
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = c.Stdout
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); c.Process.Kill(); c.Wait() })
	ready := make(chan bool, 1)
	var said strings.Builder
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := out.Read(b)
			if said.Len() < 64<<10 {
				said.Write(b[:n])
			}
			if err != nil {
				ready <- false
				return
			}
			if strings.Contains(said.String(), "ready\n") {
				ready <- true
				io.Copy(io.Discard, out)
				return
			}
		}
	}()
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("%s: %s", role, said.String())
		}
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s does not start: %s", role, said.String())
	}
	return c
}

// TestKilled kills sensor and hub under load, in turns, and holds that in the end the hub has what is in the files, once.
func TestKilled(t *testing.T) {
	kills := 20
	if testing.Short() {
		kills = 4
	}
	k := newKeys(t)
	dir, store, port := filepath.Join(t.TempDir(), "logs"), t.TempDir(), freePort(t)
	hub := child(t, "hub", store, port, k, 0)
	for i := range kills {
		s := child(t, "sensor", dir, port, k, i*1_000_000)
		time.Sleep(time.Duration(300+i*37%200) * time.Millisecond)
		if i%2 == 1 {
			hub.Process.Signal(syscall.SIGKILL)
			hub.Wait()
			time.Sleep(100 * time.Millisecond)
			hub = child(t, "hub", store, port, k, 0)
			time.Sleep(300 * time.Millisecond)
		}
		s.Process.Signal(syscall.SIGKILL)
		s.Wait()
	}
	if err := child(t, "last", dir, port, k, kills*1_000_000).Wait(); err != nil {
		t.Fatal(err)
	}
	rows, _ := k.stored(t, "nats://127.0.0.1:"+strconv.Itoa(port))
	for _, log := range []string{"conn", "notice"} {
		want := written(t, dir, log)
		same(t, log, rows[log], want)
		t.Logf("%s: %d rows after %d kills of the sensor and %d of the hub", log, len(want), kills, kills/2)
	}
}
