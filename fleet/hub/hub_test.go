package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/hub/hubtest"
	"github.com/raytap/raytap/fleet/store"
)

// hang ends a test that waits in vain.
const hang = time.Minute

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hang); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func start(t *testing.T, o Options) *Hub {
	t.Helper()
	if o.Data == "" {
		o.Data = t.TempDir()
	}
	if o.Listen == "" && len(o.NATS) == 0 {
		o.Listen = "127.0.0.1:0"
	}
	o.StreamSize = max(o.StreamSize, 64<<20)
	o.Version = "v1"
	if o.Say == nil {
		o.Say = func(s string) { t.Log("hub: " + s) }
	}
	h, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return h
}

func credentials(t *testing.T, dir, name string) fleet.Credentials {
	t.Helper()
	d, err := OpenDir(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b, err := d.Enroll(name, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := fleet.ParseCredentials(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sensor(t *testing.T, h *Hub, name string) *hubtest.Sensor {
	t.Helper()
	s, err := hubtest.Connect(credentials(t, h.o.Data, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Conn.Close)
	return s
}

func send(t *testing.T, s *hubtest.Sensor, log string, rows ...[]byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	if err := s.Send(ctx, log, rows...); err != nil {
		t.Fatal(err)
	}
}

func state(t *testing.T, h *Hub, name string) SensorState {
	t.Helper()
	d, err := OpenDir(h.o.Data, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all, err := d.Sensors()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	return SensorState{}
}

func findings(t *testing.T, h *Hub, q store.Query) []store.Item {
	t.Helper()
	all, err := h.db.Findings(q)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestRows is the plain way: two sensors, what they found, who saw it, and what is counted.
func TestRows(t *testing.T) {
	log := t.TempDir()
	h := start(t, Options{Log: log})
	a, b := sensor(t, h, "a"), sensor(t, h, "node.2")
	now := time.Now()
	both := hubtest.Notice("Rboth", "jobsubmit/external", "critical", "203.0.113.66", "10.20.0.10", now)
	send(t, a, "notice", both, hubtest.Notice("Ra", "scan/ports", "low", "203.0.113.67", "10.20.0.10", now))
	send(t, b, "notice", both)
	send(t, a, "incidents", []byte(fmt.Sprintf(`{"ts":%d,"incident_id":"I1","first":%[1]d,"last":%[1]d,"severity":"high","score":60,"attackers":["203.0.113.66"],"victims":["10.20.0.10"],"state":"open","revision":1,"summary":"x"}`, now.Unix())))
	send(t, a, "assets", []byte(fmt.Sprintf(`{"ts":%d,"asset":"ray 10.20.0.10","kind":"ray","change":"new","grade":"F","first_seen":%[1]d,"last_seen":%[1]d}`, now.Unix())))
	send(t, b, "stats", []byte(fmt.Sprintf(`{"ts":%d,"peer":"node.2","pkts_proc":90,"dropped_by_kernel":10}`, now.Unix())))
	send(t, b, "status", hubtest.Status("v1", now))
	until(t, "rows", func() bool { return state(t, h, "node.2").Rows == 3 && state(t, h, "a").Rows == 4 })
	all := findings(t, h, store.Query{ID: "Rboth"})
	if len(all) != 1 || !slices.Equal(all[0].Sensors, []string{"a", "node.2"}) {
		t.Errorf("%+v", all)
	}
	if all := findings(t, h, store.Query{Host: "203.0.113.66", Sensor: "node.2"}); len(all) != 1 {
		t.Errorf("%+v", all)
	}
	if all := findings(t, h, store.Query{Severity: 2}); len(all) != 1 {
		t.Errorf("%+v", all)
	}
	if all, err := h.db.Incidents(store.Query{Host: "10.20.0.10"}); err != nil || len(all) != 1 {
		t.Errorf("%+v %v", all, err)
	}
	if all, err := h.db.Assets(store.Query{}); err != nil || len(all) != 1 {
		t.Errorf("%+v %v", all, err)
	}
	s := state(t, h, "node.2")
	if s.Loss != 10 || s.Frames != 90 || s.Version != "v1" || s.Skew < -1 || s.Skew > 5 || s.LastPacket == 0 {
		t.Errorf("%+v", s)
	}
	until(t, "log", func() bool {
		b, _ := os.ReadFile(filepath.Join(log, "notice.log"))
		return bytes.Count(b, []byte("\n")) == 3 && bytes.Contains(b, []byte(`"_sensors":["a","node.2"]`))
	})
}

// TestRepetitions sends rows again after JetStream has forgotten their ids, in order and out of it, over restarts of the hub.
func TestRepetitions(t *testing.T) {
	dir := t.TempDir()
	h := start(t, Options{Data: dir})
	c := credentials(t, dir, "a")
	s, err := hubtest.Connect(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Conn.Close()
	var all []*nats.Msg
	for i := range 5000 {
		m, err := fleet.Row{Sensor: "a", Log: "conn", Place: fleet.Place{Generation: 1, Offset: uint64(i * 100)}, Written: time.Now(), Body: hubtest.Conn(i, time.Now())}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// The window of ids is not waited for: without it every repetition reaches the hub.
	cfg := mustStream(t, h)
	cfg.Duplicates = 100 * time.Millisecond
	_, err = h.js.UpdateStream(ctx, cfg)
	must(err)
	again := func(from, to int) { time.Sleep(200 * time.Millisecond); must(s.Publish(ctx, all[from:to])) }
	must(s.Publish(ctx, all[:1000]))
	must(s.Publish(ctx, all[1001:1500])) // 1000 is late
	again(500, 1500)
	until(t, "1500", func() bool { x := state(t, h, "a"); return x.Rows == 1500 && x.Repeated == 999 })
	must(h.Close())
	h = start(t, Options{Data: dir, Listen: strings.TrimPrefix(c.URLs[0], "nats://")})
	cfg = mustStream(t, h)
	cfg.Duplicates = 100 * time.Millisecond
	_, err = h.js.UpdateStream(ctx, cfg)
	must(err)
	again(0, 1500)
	for i := 1500; i < 5000; i += 500 {
		must(s.Publish(ctx, all[i:i+500]))
	}
	again(0, 1000) // before the window
	until(t, "5000", func() bool { x := state(t, h, "a"); return x.Rows == 5000 && x.Repeated == 999+1500+1000 })
}

// TestHostile is a sensor whose credentials are in other hands.
func TestHostile(t *testing.T) {
	h := start(t, Options{})
	a, b := sensor(t, h, "a"), sensor(t, h, "b")
	good := hubtest.Notice("Rgood", "scan/ports", "low", "203.0.113.1", "10.0.0.1", time.Now())
	refusedBy := make(chan error, 10)
	a.Conn.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case refusedBy <- err:
		default:
		}
	})
	denied := func(what string, f func() error) {
		t.Helper()
		if err := f(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := a.Conn.FlushTimeout(hang); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refusedBy:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(hang):
			t.Errorf("%s is not refused", what)
		}
	}
	for _, subject := range []string{"raytap.b.notice", "raytap.a.b.c", "raytap." + fleet.HubSensor + ".notice", "ask.b.search", "ask.a.search", "raytaphub.x.control",
		"_INBOX.b.x", "$JS.API.STREAM.INFO.RAYTAP", "$JS.API.STREAM.DELETE.RAYTAP", "$JS.API.CONSUMER.CREATE.RAYTAP", "$JS.API.DIRECT.GET.RAYTAP", "$KV.raytap-lease.speaker",
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.CLAIMS.UPDATE"} {
		denied("publish to "+subject, func() error { return a.Conn.Publish(subject, good) })
	}
	for _, subject := range []string{">", "raytap.>", "raytap.b.notice", "raytap.a.*", "ask.b.*", "ask.*.search", "_INBOX.>", "_INBOX.b.>", "$KV.>", "$JS.>", "$SYS.>"} {
		denied("subscribe to "+subject, func() error { _, err := a.Conn.SubscribeSync(subject); return err })
	}

	// Rows under its own subject.
	raw := func(log, id, body string) {
		t.Helper()
		m := nats.NewMsg("raytap.a." + log)
		if id != "" {
			m.Header.Set(nats.MsgIdHdr, id)
		}
		m.Data = []byte(body)
		if err := a.Publish(context.Background(), []*nats.Msg{m}); err != nil {
			t.Fatal(err)
		}
	}
	envelope := func(row string) string {
		return string(fleet.AppendEnvelope(nil, "a", "notice", time.Now())) + "," + row[1:]
	}
	notice := func(id string, change ...string) string {
		return envelope(strings.NewReplacer(change...).Replace(string(hubtest.Notice(id, "scan/ports", "low", "203.0.113.1", "10.0.0.1", time.Now()))))
	}
	n := 0
	bad := func(id, body string) {
		n++
		if id == "" {
			id = fmt.Sprintf("a/notice/1-%d", n)
		}
		raw("notice", id, body)
	}
	bad("b/notice/1-1", notice("R1"))
	raw("notice", "", notice("R2")) // no id
	n++
	bad("", "nonsense")
	bad("", notice("R3")+notice("R4"))
	bad("", strings.Replace(notice("R5"), `"_system_name":"a"`, `"_system_name":"b"`, 1))
	bad("", strings.Replace(notice("R6"), `"_path":"notice"`, `"_path":"conn"`, 1))
	bad("", notice("R7", "did something", `did \u001b[2J\u0007something`))
	bad("", notice("R8<script>"))
	bad("", notice("R9", "scan/ports", "<b>/x"))
	bad("", notice("R10", `"low"`, `"dire"`))
	bad("", notice("R11", `"src":"203.0.113.1"`, `"src":"<img src=x>"`))
	bad("", notice("R12", `"n":1`, `"n":-1`))
	bad("", notice("R13", `"n":1`, `"n":1e300`))
	bad("", notice("R14", `"rule"`, `"rule":1,"rules"`))
	bad("", notice("R15", `"low"`, `["low"]`))
	bad("", envelope(`{"x":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`}`))
	huge := nats.NewMsg("raytap.a.notice")
	huge.Header.Set(nats.MsgIdHdr, "a/notice/1-999")
	huge.Data = bytes.Repeat([]byte("x"), fleet.MaxRow+1)
	if err := a.Publish(context.Background(), []*nats.Msg{huge}); err != nil {
		t.Fatal(err)
	}
	n++
	raw("nonsense", "a/nonsense/1-1", strings.Replace(envelope(`{"x":1}`), "notice", "nonsense", 1)) // of no known log: counted, no more
	// An answer that would go somewhere else: acknowledgements are published by the server.
	for _, reply := range []string{"raytap.b.notice", "$JS.API.STREAM.DELETE.RAYTAP", "$JS.API.STREAM.PURGE.RAYTAP", "raytaphub." + h.id + ".control", "$KV.raytap-hubs.spoken"} {
		if err := a.Conn.PublishRequest("raytap.a.conn", reply, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(reply, "$JS") { // which the server does not take at all
			n++
		}
	}
	send(t, b, "notice", good)
	until(t, "the rows of b", func() bool { return len(findings(t, h, store.Query{})) > 0 })
	defer func() { t.Log(n, "refused:", state(t, h, "a").Refused, state(t, h, "b").Refused) }()
	until(t, "refusals", func() bool { return state(t, h, "a").Refusals == uint64(n) })
	s := state(t, h, "a")
	if s.Rows != 1 {
		t.Errorf("%+v", s)
	}
	all := findings(t, h, store.Query{})
	for _, x := range all {
		if x.ID != "Rgood" && !strings.Contains(string(x.Body), RuleRefused) {
			t.Errorf("taken: %s", x.Body)
		}
	}
	if s := state(t, h, "b"); s.Rows != 1 || s.Refusals != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := h.js.Stream(context.Background(), fleet.Stream); err != nil {
		t.Error("the stream is gone:", err)
	}
	if mustInfo(t, h).Msgs == 0 {
		t.Error("the stream was purged")
	}
}

func TestRevoke(t *testing.T) {
	h := start(t, Options{})
	s, other := sensor(t, h, "a"), sensor(t, h, "b")
	row := hubtest.Notice("R1", "scan/ports", "low", "203.0.113.1", "10.0.0.1", time.Now())
	send(t, s, "notice", row)
	send(t, other, "notice", row)
	d, err := OpenDir(h.o.Data, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Enroll("a", nil, false); err == nil {
		t.Error("enrolled twice")
	}
	if err := d.Revoke("a"); err != nil {
		t.Fatal(err)
	}
	until(t, "the connection to be closed", func() bool { return !s.Conn.IsConnected() })
	if !other.Conn.IsConnected() {
		t.Error("another sensor lost its connection")
	}
	time.Sleep(500 * time.Millisecond) // it goes on trying
	if s.Conn.IsConnected() {
		t.Error("a revoked sensor is connected")
	}
	if got := state(t, h, "a"); got.State != "revoked" {
		t.Errorf("%+v", got)
	}
	if err := d.Revoke("a"); err == nil {
		t.Error("revoked twice")
	}
	// The same name again.
	s = sensor(t, h, "a")
	send(t, s, "notice", hubtest.Notice("R2", "scan/ports", "low", "203.0.113.1", "10.0.0.1", time.Now()))
	until(t, "rows", func() bool { return state(t, h, "a").Rows == 2 })
	if err := d.Revoke("nobody"); err == nil {
		t.Error("nobody was revoked")
	}
}

// TestNoListenerWithoutTLS starts hubs off loopback: what listens there speaks TLS, and asks for credentials.
func TestNoListenerWithoutTLS(t *testing.T) {
	h := start(t, Options{Listen: "0.0.0.0:0", URLs: nil})
	urls, err := h.URLs()
	if err != nil || !strings.HasPrefix(urls[0], "tls://") {
		t.Fatal(urls, err)
	}
	d, err := OpenDir(h.o.Data, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(urls[0], "tls://"), ":")
	b, err := d.Enroll("a", []string{"tls://127.0.0.1:" + port}, false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := fleet.ParseCredentials(b)
	if err != nil || len(c.CA) == 0 {
		t.Fatal(err)
	}
	s, err := hubtest.Connect(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Conn.Close()
	until(t, "a connection over TLS", s.Conn.IsConnected)
	if nc, err := nats.Connect("nats://127.0.0.1:" + port); err == nil {
		nc.Close()
		t.Error("connected without credentials")
	}
	if nc, err := nats.Connect("tls://127.0.0.1:"+port, nats.UserInfo("admin", "admin"), nats.Secure(nil)); err == nil {
		nc.Close()
		t.Error("connected with a password")
	}
	nc, err := Dial(h.o.Data) // as commands do
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if _, err := d.Enroll("b", []string{"nats://192.0.2.1:4222"}, false); err == nil {
		t.Error("enrolled without TLS")
	}
	if _, err := serverOptions(Options{Listen: "0.0.0.0:1", Data: h.o.Data}, h.keys, nil); err == nil {
		t.Error("a listener off loopback without TLS")
	}
	if _, err := h.serveMetrics("0.0.0.0:0", "", nil); err == nil {
		t.Error("metrics off loopback without TLS")
	}
}

// TestSecondHub has two hubs at one stream: both store the same, one speaks, and the other takes over.
func TestSecondHub(t *testing.T) {
	dir := t.TempDir()
	log1, log2 := t.TempDir(), t.TempDir()
	var said told // by both
	h1 := start(t, Options{Data: dir, Log: log1, Tell: said.tell, TellAll: true})
	url := "nats://" + h1.node.addr()
	// The second is at the server of the first, which goes on when the first hub's lease is dropped.
	h2 := start(t, Options{NATS: []string{url}, Creds: filepath.Join(dir, keysDir, hubCreds), Log: log2, Tell: said.tell, TellAll: true})
	s := sensor(t, h1, "a")
	put := func(from, to int) {
		for i := from; i < to; i++ {
			send(t, s, "notice", hubtest.Notice(fmt.Sprintf("R%d", i), "scan/ports", "low", "203.0.113.1", "10.0.0.1", time.Now()))
		}
	}
	until(t, "one to speak", h1.Speaks)
	put(0, 50)
	until(t, "both", func() bool {
		return len(findings(t, h1, store.Query{})) == 50 && len(findings(t, h2, store.Query{})) == 50
	})
	if h2.Speaks() {
		t.Fatal("both speak")
	}
	until(t, "the first log", func() bool { return len(ids(t, log1)) == 50 })
	if n := len(ids(t, log2)); n != 0 {
		t.Fatalf("the second wrote %d rows", n)
	}
	// The first hub stops as if its process stood still: it renews no lease.
	h1.lease.mu.Lock()
	h1.lease.cut = true
	h1.lease.mu.Unlock()
	from := time.Now()
	put(50, 100)
	until(t, "the second to speak", h2.Speaks)
	t.Logf("it took over after %s", time.Since(from).Round(time.Millisecond))
	if leaseLife+2*leaseLook+callTime > 10*time.Second {
		t.Error("the lease lives too long for a takeover within ten seconds")
	}
	put(100, 150)
	until(t, "all", func() bool { return len(findings(t, h2, store.Query{})) == 150 })
	until(t, "the logs", func() bool { return len(ids(t, log1))+len(ids(t, log2)) >= 150 })
	seen := map[string]bool{}
	all := append(ids(t, log1), ids(t, log2)...)
	for _, id := range all {
		if seen[id] {
			t.Errorf("%s twice", id)
		}
		seen[id] = true
	}
	if len(seen) != 150 {
		t.Errorf("%d findings in both logs", len(seen))
	}
	until(t, "what people are told", func() bool { return len(said.alarms(t)) == 150 })
	for id, n := range said.alarms(t) {
		if n != 1 {
			t.Errorf("%s was told %d times", id, n)
		}
	}
	// The same in both stores, when both have applied the same.
	until(t, "both", func() bool { return h1.Applied() >= h2.Applied() && len(findings(t, h1, store.Query{})) == 150 })
	f1, f2 := findings(t, h1, store.Query{}), findings(t, h2, store.Query{})
	b1, _ := json.Marshal(f1)
	b2, _ := json.Marshal(f2)
	if !bytes.Equal(b1, b2) {
		t.Error("the stores differ")
	}
}

func ids(t *testing.T, dir string) (all []string) {
	b, err := os.ReadFile(filepath.Join(dir, "notice.log"))
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(b) {
		var x struct {
			ID string `json:"finding_id"`
		}
		if err := json.Unmarshal(line, &x); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		all = append(all, x.ID)
	}
	return all
}

// TestBackup copies a hub that works, and starts another from the copy.
func TestBackup(t *testing.T) {
	h := start(t, Options{})
	s := sensor(t, h, "a")
	for i := range 20 {
		send(t, s, "notice", hubtest.Notice(fmt.Sprintf("R%d", i), "scan/ports", "low", "203.0.113.1", "10.0.0.1", time.Now()))
	}
	until(t, "rows", func() bool { return state(t, h, "a").Rows == 20 })
	d, err := OpenDir(h.o.Data, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	file := filepath.Join(t.TempDir(), "backup")
	if err := d.Backup(file); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatal(st, err)
	}
	if err := d.Backup(file); err == nil {
		t.Error("a backup was overwritten")
	}
	dir := filepath.Join(t.TempDir(), "new")
	if err := Restore(file, dir, false); err != nil {
		t.Fatal(err)
	}
	if err := Restore(file, dir, false); err == nil {
		t.Error("a folder with something in it was restored into")
	}
	listen := h.node.addr()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	// At the same address with the same keys, and a stream that begins anew: the sensor goes on.
	h2 := start(t, Options{Data: dir, Listen: listen})
	if n := len(findings(t, h2, store.Query{})); n != 20 {
		t.Errorf("%d findings", n)
	}
	send(t, s, "notice", hubtest.Notice("Rnew", "scan/ports", "low", "203.0.113.1", "10.0.0.1", time.Now()))
	until(t, "a row of the new stream", func() bool { return len(findings(t, h2, store.Query{ID: "Rnew"})) == 1 })
}
