package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/search"
	"github.com/raytap/raytap/record"
)

const hubUser = "hub"

// fleetServer runs a server on which the sensors have the permissions that hubs give them, and dial connects as one of
// them, or as the hub.
func fleetServer(t *testing.T, sensors ...string) (dial func(name string) *nats.Conn) {
	t.Helper()
	users := []*server.User{{Username: hubUser, Password: hubUser}}
	for _, s := range sensors {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		key, _ := pair.PublicKey()
		claims := fleet.SensorClaims(s, key)
		users = append(users, &server.User{Username: s, Password: s, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: claims.Pub.Allow},
			Subscribe: &server.SubjectPermission{Allow: claims.Sub.Allow},
			Response:  &server.ResponsePermission{MaxMsgs: claims.Resp.MaxMsgs, Expires: claims.Resp.Expires},
		}})
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, Users: users, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server did not start")
	}
	return func(name string) *nats.Conn {
		opts := []nats.Option{nats.UserInfo(name, name), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			t.Errorf("%s: %v", name, err)
		})}
		if name != hubUser {
			opts = append(opts, nats.CustomInboxPrefix(fleet.InboxPrefix(name)))
		}
		nc, err := nats.Connect(s.ClientURL(), opts...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
}

// rowsOf makes a folder of logs with n connections, of which every tenth is of host.
func rowsOf(t *testing.T, n int, host string) string {
	t.Helper()
	dir := t.TempDir()
	var b bytes.Buffer
	for i := range n {
		h := fmt.Sprintf("10.0.%d.%d", i/250%250, i%250+1)
		if i%10 == 0 {
			h = host
		}
		fmt.Fprintf(&b, `{"ts":%d.5,"uid":"C%017d","id.orig_h":"%s","id.orig_p":%d,"id.resp_h":"10.20.0.10","id.resp_p":8265,"proto":"tcp","service":"http"}`+"\n", 1795993200+i, i, h, 1024+i%60000)
	}
	if err := os.WriteFile(filepath.Join(dir, "conn.log"), b.Bytes(), 0o640); err != nil {
		t.Fatal(err)
	}
	return dir
}

func answer(t *testing.T, nc *nats.Conn, opt Options) *Answerer {
	t.Helper()
	a, err := Answer(nc, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

var host = search.Query{Hosts: []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32")}}

// TestSearchOfSeveral: all rows of all sensors come, with the names of these; who is cut, refuses or does not answer is said.
func TestSearchOfSeveral(t *testing.T) {
	names := []string{"node-1", "node.2", "cut", "refuses", "silent"}
	dial := fleetServer(t, names...)
	for _, n := range names[:3] {
		lim := search.Limits{Time: time.Minute}
		if n == "cut" {
			lim.Rows = 7
		}
		answer(t, dial(n), Options{Sensor: n, Logs: []string{rowsOf(t, 20000, "203.0.113.7")}, Limits: lim})
	}
	answer(t, dial("refuses"), Options{Sensor: "refuses", Logs: []string{filepath.Join(t.TempDir(), "none")}})
	asker := &Asker{Conn: dial(hubUser)}
	counts := map[string]int{}
	out, err := asker.Search(t.Context(), names, &host, search.Limits{}, func(row []byte) error {
		var r struct {
			Path   string `json:"_path"`
			System string `json:"_system_name"`
			Orig   string `json:"id.orig_h"`
		}
		if err := json.Unmarshal(row, &r); err != nil || r.Path != "conn" || r.Orig != "203.0.113.7" {
			t.Errorf("%s: %v", row, err)
		}
		counts[r.System]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if counts["node-1"] != 2000 || counts["node.2"] != 2000 || counts["cut"] != 7 || len(counts) != 3 {
		t.Errorf("%v", counts)
	}
	for i, o := range out {
		ok := o.Sensor == names[i]
		switch o.Sensor {
		case "silent":
			ok = ok && errors.Is(o.Err, ErrSilent)
		case "refuses":
			ok = ok && o.Err != nil && strings.Contains(o.Err.Error(), "none")
		case "cut":
			ok = ok && o.Err == nil && o.Result.Cut == "cut at 7 rows"
		default:
			ok = ok && o.Err == nil && o.Result.Cut == "" && o.Result.Rows == 2000 && o.First > 0
		}
		if !ok {
			t.Errorf("%+v", o)
		}
	}
	// Of all sensors together.
	n := 0
	out, err = asker.Search(t.Context(), names[:2], &host, search.Limits{Rows: 2500}, func([]byte) error { n++; return nil })
	if err != nil || n != 2500 || out[0].Result.Cut == "" && out[1].Result.Cut == "" {
		t.Errorf("%d rows, %+v, %v", n, out, err)
	}
}

// TestAskerGone: an answer that nobody waits for ends, and another one can be given; too many at once are refused.
func TestAskerGone(t *testing.T) {
	dial := fleetServer(t, "a")
	dir := rowsOf(t, 50000, "203.0.113.7")
	a := answer(t, dial("a"), Options{Sensor: "a", Logs: []string{dir}, Concurrent: 1})
	hub := dial(hubUser)
	asker := &Asker{Conn: hub}
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan bool, 1)
	hold := make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		asker.Search(ctx, []string{"a"}, &host, search.Limits{}, func([]byte) error {
			select {
			case started <- true:
			default:
			}
			<-hold
			return nil
		})
	})
	<-started
	out, err := asker.Search(t.Context(), []string{"a"}, &host, search.Limits{}, func([]byte) error { return nil })
	if err != nil || out[0].Err == nil || !strings.Contains(out[0].Err.Error(), "busy") {
		t.Errorf("a second one at once: %+v, %v", out, err)
	}
	cancel()
	close(hold)
	wg.Wait()
	until(t, func() bool { return len(a.slots) == 0 })
	out, err = asker.Search(t.Context(), []string{"a"}, &host, search.Limits{}, func([]byte) error { return nil })
	if err != nil || out[0].Err != nil || out[0].Result.Rows != 5000 {
		t.Errorf("after it: %+v, %v", out, err)
	}
}

func until(t *testing.T, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come")
		}
	}
}

// TestClosedAnswers: a sensor that ends, or reads its configuration again, ends its answers with a word, and nobody waits.
func TestClosedAnswers(t *testing.T) {
	dial := fleetServer(t, "node-1")
	a := answer(t, dial("node-1"), Options{Sensor: "node-1", Logs: []string{rowsOf(t, 20000, "203.0.113.7")}, Limits: search.Limits{Time: time.Minute}})
	asker := &Asker{Conn: dial(hubUser), Within: time.Hour}
	out, err := asker.Search(t.Context(), []string{"node-1"}, &host, search.Limits{}, func([]byte) error {
		a.Close()
		return nil
	})
	if err != nil || out[0].Err == nil || out[0].Err.Error() != errClosed.Error() {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestHostileRequests: what is no request is refused, and costs nothing.
func TestHostileRequests(t *testing.T) {
	dial := fleetServer(t, "a")
	answer(t, dial("a"), Options{Sensor: "a", Logs: []string{rowsOf(t, 10, "203.0.113.7")}, Record: t.TempDir()})
	hub := dial(hubUser)
	for _, x := range [][2]string{
		{"search", ""}, {"search", "nonsense"}, {"search", `{"query":{"hosts":["x"]}}`}, {"search", `{"path":"/etc"}`},
		{"search", `{"query":{"uids":["` + strings.Repeat("x", 2000) + `"]}}`}, {"search", `{"query":{"since":9,"until":3}}`},
		{"search", `{"query":{"fields":[` + strings.TrimSuffix(strings.Repeat(`{"name":"a","value":"b"},`, 100), ",") + `]}}`},
		{"packets", "{}"}, {"packets", `{"asked":{"ID":"../../../etc/passwd"}}`}, {"packets", `{"asked":{"ID":"R0123456789abcdef0/../x"}}`},
		{"packets", `{"asked":{"UID":"` + strings.Repeat("x", 300) + `"}}`}, {"settings", "x"}, {"settings", ""}, {"unheard", "x"},
	} {
		inbox := hub.NewInbox()
		sub, err := hub.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		hub.PublishRequest("ask.a."+x[0], inbox, []byte(x[1]))
		for {
			m, err := sub.NextMsg(time.Minute)
			if err != nil {
				t.Fatalf("%v: %v", x, err)
			}
			if _, end := m.Header[fleet.HeaderDone]; !end {
				m.Respond(nil)
				continue
			}
			var d done
			if err := decode(m.Data, &d); err != nil || d.Error == "" || strings.Contains(d.Error, os.TempDir()) {
				t.Errorf("%.80v: %s", x, m.Data)
			}
			break
		}
		sub.Unsubscribe()
	}
	if err := hub.Publish("ask.a.search", []byte("{}")); err != nil { // nobody to answer
		t.Fatal(err)
	}
}

// TestHostileAnswers: rows of a sensor that are none, or claim to be another's, and answers without end, change nothing.
func TestHostileAnswers(t *testing.T) {
	dial := fleetServer(t, "evil")
	nc := dial("evil")
	var say func(m *nats.Msg, n int) *nats.Msg
	nc.Subscribe("ask.evil.*", func(m *nats.Msg) {
		for n := 0; ; n++ {
			out := say(m, n)
			if out == nil {
				return
			}
			out.Subject = m.Reply
			if _, end := out.Header[fleet.HeaderDone]; end {
				nc.PublishMsg(out)
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			ack, err := nc.RequestMsgWithContext(ctx, out)
			cancel()
			if err != nil || string(ack.Data) == ackStop {
				return
			}
		}
	})
	nc.Flush()
	part := func(n int, text string) *nats.Msg {
		m := nats.NewMsg("")
		m.Header.Set(headerPart, fmt.Sprint(n))
		m.Data = []byte(text)
		return m
	}
	end := func(text string) *nats.Msg {
		m := nats.NewMsg("")
		m.Header.Set(fleet.HeaderDone, "")
		m.Data = []byte(text)
		return m
	}
	asker := &Asker{Conn: dial(hubUser)}
	ask := func(lim search.Limits) (rows []string, o Outcome) {
		out, err := asker.Search(t.Context(), []string{"evil"}, &host, lim, func(row []byte) error {
			rows = append(rows, string(row))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return rows, out[0]
	}
	say = func(_ *nats.Msg, n int) *nats.Msg {
		if n == 0 {
			return part(0, `{"_path":"conn","_system_name":"node-1","a":1}`+"\n"+`{"_path":"../x","a":"`+"\x1b"+`"}`+"\nno row\n[1]\n#fields\tx\n\n"+`{"_path":"a\u001b","_system_name":"b"} {"x":1}`)
		}
		return end("{}")
	}
	rows, o := ask(search.Limits{})
	want := []string{`{"_path":"conn","_system_name":"evil","a":1}`, `{"_path":"unknown","_system_name":"evil"}`}
	if !slices.Equal(rows, want) || o.Bad != 5 || o.Err != nil {
		t.Errorf("%q, %+v", rows, o)
	}
	say = func(_ *nats.Msg, n int) *nats.Msg { return part(n, strings.Repeat(`{"a":1}`+"\n", 1000)) }
	if rows, o := ask(search.Limits{Rows: 4500}); len(rows) != 4500 || o.Result.Cut == "" {
		t.Errorf("an answer without end: %d rows, %+v", len(rows), o)
	}
	say = func(_ *nats.Msg, n int) *nats.Msg { return part(n*2, "") }
	if _, o := ask(search.Limits{}); o.Err == nil || !strings.Contains(o.Err.Error(), "part 1 of its answer is missing") {
		t.Errorf("a part is missing: %+v", o)
	}
	say = func(_ *nats.Msg, n int) *nats.Msg { return end("nonsense") }
	if _, o := ask(search.Limits{}); o.Err == nil {
		t.Errorf("an end that is none: %+v", o)
	}
	say = func(_ *nats.Msg, n int) *nats.Msg {
		if n == 0 {
			return part(0, "not what was sent")
		}
		return end(`{"packets":{"bytes":17,"sha256":"00"}}`)
	}
	var b bytes.Buffer
	if _, err := asker.Packets(t.Context(), "evil", record.Asked{UID: "x"}, 0, &b); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("packets with another checksum: %v", err)
	}
}

// TestSettings: versions reach the sensors that are seen, are in force after a restart, and a bad one changes nothing.
func TestSettings(t *testing.T) {
	dial := fleetServer(t, "a", "none")
	hub := dial(hubUser)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	v, err := OpenVersions(ctx, hub)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Current(ctx); !errors.Is(err, ErrNoSettings) {
		t.Errorf("%v", err)
	}
	if _, err := v.Set(ctx, "out: /tmp\n", nil, ""); err == nil {
		t.Error("a key that no hub may set was taken")
	}
	dir := filepath.Join(t.TempDir(), "fleet")
	var mu sync.Mutex
	var applied []string
	open := func() *Accepted {
		acc, err := OpenAccepted(dir, []string{"home"})
		if err != nil {
			t.Fatal(err)
		}
		acc.Apply = func(b *Bundle, intel []string) ([]string, error) {
			if strings.Contains(b.Text, "10.66.") {
				return nil, errors.New("raytap: two\nlines")
			}
			for _, f := range intel {
				if _, err := os.ReadFile(f); err != nil {
					return nil, err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			applied = append(applied, b.Text)
			return []string{"intel"}, nil
		}
		return acc
	}
	acc := open()
	sensor := dial("a")
	ans := answer(t, sensor, Options{Sensor: "a", Settings: acc, Concurrent: 4})
	answer(t, dial("none"), Options{Sensor: "none"})
	told := make(chan Told, 100)
	p := &Pusher{Asker: &Asker{Conn: hub}, Versions: v, Told: func(t Told) { told <- t }}
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	get := func(sensor string) Told {
		t.Helper()
		for {
			select {
			case x := <-told:
				if x.Sensor == sensor {
					return x
				}
			case <-time.After(time.Minute):
				t.Fatal("no settings came")
			}
		}
	}
	one, err := v.Set(ctx, "home: [10.1.0.0/16]\n", []File{{"iocs.csv", []byte("x")}}, "first")
	if err != nil {
		t.Fatal(err)
	}
	p.Seen("a", 0)
	p.Seen("none", 0)
	if x := get("a"); x.Err != nil || x.Running != 1 || x.Refused != "" || !slices.Equal(x.Ignored, []string{"intel"}) || !slices.Equal(x.Accept, []string{"home"}) {
		t.Errorf("%+v", x)
	}
	if _, err := v.Set(ctx, "home: [10.66.0.0/16]\n", nil, "bad"); err != nil {
		t.Fatal(err)
	}
	if x := get("a"); x.Running != 1 || x.Refused != "two; lines" || x.RefusedVersion != 2 {
		t.Errorf("%+v", x)
	}
	if _, err := os.Stat(filepath.Join(dir, "intel-1", "iocs.csv")); err != nil {
		t.Error(err)
	}
	// After a restart the version is in force that was.
	ans.Close()
	acc = open()
	if b, intel := acc.Current(); b == nil || b.Version != 1 || len(intel) != 1 || b.Text != one.Text {
		t.Errorf("%+v, %v", b, intel)
	}
	acc.Began(nil, nil)
	answer(t, sensor, Options{Sensor: "a", Settings: acc, Concurrent: 4})
	back, err := v.Rollback(ctx, 1)
	if err != nil || back.Version != 3 || back.Text != one.Text || back.Note != "rollback to version 1" {
		t.Fatalf("%+v, %v", back, err)
	}
	if x := get("a"); x.Running != 3 || x.Refused != "" {
		t.Errorf("%+v", x)
	}
	if x, err := (&Asker{Conn: hub}).Settings(ctx, []string{"a", "none"}, nil); err != nil || x[0].Running != 3 || x[1].Err == nil || !strings.Contains(x[1].Err.Error(), "accepts no settings") {
		t.Errorf("%+v, %v", x, err)
	}
	p.Seen("a", 0) // it lost them
	if x := get("a"); x.Running != 3 {
		t.Errorf("%+v", x)
	}
	all, err := v.History(ctx)
	if err != nil || len(all) != 3 || all[1].Note != "bad" {
		t.Errorf("%d versions, %v", len(all), err)
	}
	if _, err := v.Rollback(ctx, 9); err == nil || !strings.Contains(err.Error(), "1 to 3 are") {
		t.Errorf("%v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(applied, []string{one.Text, one.Text}) {
		t.Errorf("%q", applied)
	}
}

// TestBundlesAreChecked: names of files lead nowhere, and damage is seen.
func TestBundlesAreChecked(t *testing.T) {
	for _, name := range []string{"", ".x", "../x", "a/b", "-x", "a b", strings.Repeat("x", 101), "a\x00"} {
		if _, err := (&Bundle{Version: 1, Intel: []File{{Name: name}}}).Encode(); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	data, err := (&Bundle{Version: 1, Text: "home: [10.0.0.0/8]\n", Intel: []File{{"a.csv", bytes.Repeat([]byte("x"), 5<<20)}}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := DecodeBundle(data); err != nil || len(b.Intel[0].Data) != 5<<20 {
		t.Error(err)
	}
	if data, err = (&Bundle{Version: 1, Text: "home: [10.0.0.0/8]\n", Intel: []File{{"a.csv", []byte("1.2.3.4\n")}}}).Encode(); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x55
		DecodeBundle(bad) // it may be the time in the header, and else is an error, no panic
		if _, err := DecodeBundle(data[:i]); err == nil {
			t.Errorf("%d bytes of %d were taken", i, len(data))
		}
	}
	if _, err := DecodeBundle(nil); err == nil {
		t.Error("nothing was taken")
	}
}
