package observe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/registry"
)

// rows has what a tap says, as JSON.
func rows(t testing.TB, cfg Config, see func(tap *Tap)) (all [][]byte) {
	t.Helper()
	tap := New("run", cfg)
	tap.Begin(func(r capture.Record) {
		p := r.(*Pack)
		b, err := json.Marshal(map[string]any{"ts": p.Time.Seconds(), "run": p.Run, "number": p.Number, "events": p.Count, "last": p.Last,
			"texts_cut": p.Lost.Cut, "bodies_left_out": p.Lost.Bodies, "events_left_out": p.Lost.Events, "data": p.Data})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	})
	see(tap)
	tap.End()
	return all
}

func read(t testing.TB, rows [][]byte) (all []Event, last *Pack) {
	t.Helper()
	for i, r := range rows {
		p, err := ParseRow(r)
		if err != nil {
			t.Fatal(err)
		}
		if p.Number != uint64(i+1) {
			t.Errorf("number %d of row %d", p.Number, i+1)
		}
		evs, err := p.Read(0)
		if err != nil {
			t.Fatal(err)
		}
		if len(evs) != p.Count {
			t.Errorf("%d events, %d are told", len(evs), p.Count)
		}
		all, last = append(all, evs...), p
	}
	return all, last
}

func aFlow(n int) *capture.Flow {
	return &capture.Flow{UID: fmt.Sprintf("C%017d", n), Start: capture.Time(1e18), Proto: capture.ProtoTCP, Tunnels: []string{"CT"},
		Orig: netip.AddrPortFrom(netip.MustParseAddr("203.0.113.5"), uint16(n)), Resp: netip.MustParseAddrPort("10.0.0.5:8265")}
}

// TestRoundTrip: what is read is what was written, with bytes that are no text, and with what is shared shared.
func TestRoundTrip(t *testing.T) {
	f := aFlow(1)
	f.Via = &capture.Via{Wire: aFlow(2), Client: f.Orig, Believed: true, Packet: 7}
	tx := &http.Transaction{At: capture.At{Time: 1e18 + 5, Packet: 9}, Flow: f, Depth: 1,
		Request:  &http.Request{Method: "POST", Target: "/api/jobs/\xff\x00", Header: http.Header{{Name: "A", Value: "b"}}, Body: http.Body{Len: 3, Data: []byte("\x80{}")}},
		Response: &http.Response{Status: 200}}
	call := &ray.Call{At: tx.At, Flow: f, Tx: tx, Job: true, Entrypoint: "id", Nodes: []ray.Node{{ID: "x", Addr: netip.MustParseAddr("10.0.0.1"), Ports: []ray.Port{{Role: "agent", Num: 1}}}}}
	look := &dns.Transaction{Flow: aFlow(3), Query: "a.\xfe", RTT: time.Second, Answers: []dns.Answer{{Addr: netip.MustParseAddr("2001:db8::1"), TTL: 3}}}
	conn := &capture.Conn{Flow: f, Bytes: [2]uint64{1, 2}, Duration: -time.Second, Local: [2]bool{false, true}, Services: []string{"http"}}
	leak := &secrets.Seen{Flow: f, Tx: tx, Matches: []secrets.Match{{Rule: secrets.RuleOf("aws_access_key"), Dir: capture.Resp}}}
	if leak.Matches[0].Rule == nil {
		leak.Matches[0].Rule = secrets.RuleOf(someRule(t))
	}
	in := []any{tx, call, look, conn, leak}
	out, last := read(t, rows(t, Config{}, func(tap *Tap) {
		tap.Place(1e18+10, false)
		for _, ev := range in {
			tap.Event(ev, 2)
		}
	}))
	if len(out) != len(in) || !last.Last {
		t.Fatalf("%d events, last %v", len(out), last.Last)
	}
	for i, e := range out {
		if e.Time != 1e18+10 || e.Reading != 2 || e.End {
			t.Errorf("%+v", e)
		}
		if !reflect.DeepEqual(e.Event, in[i]) {
			t.Errorf("got  %+v\nwant %+v", e.Event, in[i])
		}
	}
	if out[1].Event.(*ray.Call).Tx != out[0].Event.(*http.Transaction) || out[0].Flow != out[3].Flow {
		t.Error("what events share is not shared")
	}
}

func someRule(t *testing.T) string {
	for _, id := range []string{"aws", "github", "passwd", "env"} {
		if secrets.RuleOf(id) != nil {
			return id
		}
	}
	t.Skip("no rule of these names")
	return ""
}

// TestEveryEventOfDetectorsIsObserved: a detector that a hub runs gets what it subscribes to.
func TestEveryEventOfDetectorsIsObserved(t *testing.T) {
	home, err := detectors.ParseNetworks(detectors.DefaultHome)
	if err != nil {
		t.Fatal(err)
	}
	bus := detectors.NewBus(func(*detectors.Finding) {})
	env := &detectors.Env{Home: home, Users: &detectors.Networks{}, Rules: registry.Rules()}
	for _, d := range registry.Detectors() {
		if !Passed[d.Name] {
			d.New(env, bus)
		}
	}
	for _, typ := range bus.Topics() {
		if _, ok := kinds[typ]; !ok && typ != reflect.TypeFor[*detectors.Reload]() {
			t.Errorf("%v is not observed", typ)
		}
	}
}

// TestCredentialsStay: what is in fields for credentials does not leave the sensor.
func TestCredentialsStay(t *testing.T) {
	tx := &http.Transaction{Flow: aFlow(1), Request: &http.Request{Method: "GET", Header: http.Header{
		{Name: "Authorization", Value: "Bearer hunter22"}, {Name: "cookie", Value: "sid=hunter22"}, {Name: "X-Other", Value: "kept"}}}}
	out, _ := read(t, rows(t, Config{}, func(tap *Tap) { tap.Event(tx, 0) }))
	got := fmt.Sprint(out[0].Event.(*http.Transaction).Request.Header)
	if strings.Contains(got, "hunter22") || !strings.Contains(got, "Bearer") || !strings.Contains(got, "kept") {
		t.Error(got)
	}
}

// TestBudget: beyond the rate bodies go first, then all but findings, and what went is counted.
func TestBudget(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 256)
	n := 0
	out, last := read(t, rows(t, Config{Rate: 1 << 10, Burst: 64 << 10}, func(tap *Tap) {
		for i := range 400 {
			tap.Place(capture.Time(1e18+i*1e6), false)
			tap.Event(&http.Transaction{Flow: aFlow(i + 1), Request: &http.Request{Method: "POST", Target: "/" + strings.Repeat("x", 400), Body: http.Body{Data: body}}}, 0)
			tap.Event(&detectors.Finding{Rule: "a/b", Src: netip.MustParseAddr("10.0.0.1")}, 0)
			n++
		}
	}))
	with, without, findings := 0, 0, 0
	for _, e := range out {
		switch x := e.Event.(type) {
		case *http.Transaction:
			if len(x.Request.Body.Data) > 0 {
				with++
			} else {
				without++
			}
		case *detectors.Finding:
			findings++
		}
	}
	if with == 0 || without == 0 || findings != n || last.Lost.Bodies != uint64(without) || last.Lost.Events != uint64(n-with-without) || last.Lost.Events == 0 {
		t.Errorf("with %d, without %d, findings %d of %d, lost %+v", with, without, findings, n, last.Lost)
	}
}

// TestLongTextsAreCut: one text is bounded, and that is counted.
func TestLongTextsAreCut(t *testing.T) {
	tx := &http.Transaction{Flow: aFlow(1), Request: &http.Request{Method: "POST", Body: http.Body{Data: make([]byte, 1<<20)}}}
	out, last := read(t, rows(t, Config{}, func(tap *Tap) { tap.Event(tx, 0) }))
	if n := len(out[0].Event.(*http.Transaction).Request.Body.Data); n != maxString || last.Lost.Cut != 1 {
		t.Errorf("%d bytes, lost %+v", n, last.Lost)
	}
}

// TestAnotherVersion: fields that one side does not know are passed over.
func TestAnotherVersion(t *testing.T) {
	type inner struct{ Some []string }
	type newer struct {
		capture.At
		Flow  *capture.Flow
		New   inner
		More  []inner
		Bytes [2]uint64
	}
	e := encoder{names: map[string]uint64{}, refs: map[any]uint64{}}
	p := planOf(reflect.TypeFor[*newer]())
	e.value(p, reflect.ValueOf(&newer{Flow: aFlow(1), New: inner{[]string{"a"}}, More: []inner{{}, {[]string{"b", ""}}}, Bytes: [2]uint64{3, 4}}), 0)
	d := decoder{b: e.b, room: maxRoom}
	var c *capture.Conn
	if err := d.value(planOf(reflect.TypeFor[*capture.Conn]()), reflect.ValueOf(&c).Elem(), 0); err != nil || len(d.b) > 0 {
		t.Fatal(err, len(d.b))
	}
	if c.Bytes != [2]uint64{3, 4} || c.Flow.UID != aFlow(1).UID {
		t.Errorf("%+v", c)
	}
}

// FuzzRead: a row may be anything.
func FuzzRead(f *testing.F) {
	for _, r := range rows(f, Config{}, func(tap *Tap) {
		tap.Event(&capture.Conn{Flow: aFlow(1)}, 0)
		tap.Event(&http.Transaction{Flow: aFlow(1), Request: &http.Request{Header: http.Header{{Name: "a"}}}}, 0)
		tap.Event(&dns.Transaction{Flow: aFlow(1), Answers: []dns.Answer{{TTL: 1}}}, 0)
	}) {
		f.Add(r)
		if p, err := ParseRow(r); err == nil {
			f.Add(p.Data)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParseRow(b); err == nil {
			_, _ = p.Read(time.Hour)
		}
		_, _ = (&Pack{Count: 1, Data: b}).Read(0)
		d := decoder{b: b, room: 1 << 20}
		for _, k := range []string{"http", "ray", "finding"} {
			d.b = b
			_ = d.value(byName[k].plan, reflect.New(byName[k].plan.typ).Elem(), 0)
		}
	})
}

// TestHostileRows: what is no row is refused and costs little.
func TestHostileRows(t *testing.T) {
	good := rows(t, Config{}, func(tap *Tap) { tap.Event(&capture.Conn{Flow: aFlow(1)}, 0) })[0]
	p, err := ParseRow(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "no JSON": []byte("x"), "another row": []byte(`{"ts":1,"uid":"C"}`), "a time that is none": []byte(`{"ts":1e300,"run":"a","number":1}`),
		"a long run": []byte(`{"ts":1,"number":1,"run":"` + strings.Repeat("a", 100) + `"}`), "no base64": []byte(`{"ts":1,"number":1,"run":"a","data":"*"}`),
	} {
		if _, err := ParseRow(b); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := (&Pack{Count: 1, Data: p.Data[:len(p.Data)/2]}).Read(0); err == nil {
		t.Error("half a pack is taken")
	}
	var bomb struct{ Data []byte }
	big := rows(t, Config{}, func(tap *Tap) {
		tap.Event(&capture.Conn{Flow: aFlow(1)}, 0)
		tap.e.b = append(tap.e.b, make([]byte, 2*maxPack)...) // zeros
	})
	_ = json.Unmarshal(big[0], &bomb)
	if evs, err := (&Pack{Count: 1, Data: bomb.Data}).Read(0); err == nil && len(evs) > 1 {
		t.Error("a bomb is taken")
	}
}
