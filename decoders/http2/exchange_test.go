package http2

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/http"
)

// both are HTTP/1 and HTTP/2 as the registry puts them together, keeping up to 64 KiB of each body.
func both() []decoders.Spec {
	one := http.Options{KeepBody: func(*http.Transaction, bool) int { return 64 << 10 }}
	made := http.NewExchanges(one)
	of := func(c *http.Connection) func() Exchange { return func() Exchange { return c.Open() } }
	two := Options{Keep: keepAll, HTTP: func(ctx decoders.Context) func() Exchange { return of(made.Connection(ctx)) }}
	one.Upgrade = func(ctx decoders.Context, c *http.Connection, first *http.Exchange) decoders.Decoder {
		return Upgraded(ctx, two, of(c), first)
	}
	return []decoders.Spec{http.Spec(one), Spec(two)}
}

// midway are those of a flow that was picked up in the middle.
func midway() []decoders.Spec {
	specs := both()
	for i := range specs {
		p := specs[i].Stream
		specs[i].Stream = func(o, r []byte, _ bool) decoders.Verdict { return p(o, r, true) }
	}
	return specs
}

// transactions are those that come of the steps, wherever they are cut, with the weirds.
func transactions(t *testing.T, specs []decoders.Spec, steps ...decodertest.Step) (out []*http.Transaction, odd []string) {
	t.Helper()
	decodertest.CutAndPoisonAll(t, specs, steps...)
	evs := decodertest.RunAll(t, specs, steps...)
	for _, e := range evs {
		if x, ok := e.(*http.Transaction); ok {
			out = append(out, x)
		}
	}
	return out, weirds(evs)
}

const (
	job    = `{"entrypoint": "echo hello"}`
	jobID  = `{"submission_id": "raysubmit_1"}`
	padded = flagPadded
)

func (p *peer) post(path string, more ...string) string {
	return p.block(append([]string{":method: POST", ":scheme: http", ":path: " + path, ":authority: ray:8265",
		"content-type: application/json"}, more...)...)
}

func (p *peer) ok(more ...string) string {
	return p.block(append([]string{":status: 200", "content-type: application/json"}, more...)...)
}

// pad makes the payload of a padded frame.
func pad(n int, s string) string { return string(rune(n)) + s + strings.Repeat("\x00", n) }

// posted is a job and its answer on stream sid.
func posted(c, s *peer, sid uint32) []decodertest.Step {
	return []decodertest.Step{
		decodertest.C(frame(frameHeaders, flagEndHeaders, sid, c.post("/api/jobs/")) + frame(frameData, flagEndStream, sid, job)),
		decodertest.S(frame(frameHeaders, flagEndHeaders, sid, s.ok()) + frame(frameData, flagEndStream, sid, jobID)),
	}
}

// isJob checks a transaction of posted.
func isJob(t *testing.T, x *http.Transaction) {
	t.Helper()
	q, p := x.Request, x.Response
	if q == nil || q.Method != "POST" || q.Target != "/api/jobs/" || q.Version != "2" || string(q.Body.Data) != job || !q.Body.Complete ||
		q.Authority() != "ray" || q.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("request %+v", q)
	}
	if p == nil || p.Status != 200 || p.Version != "2" || string(p.Body.Data) != jobID || !p.Body.Complete {
		t.Fatalf("answer %+v", p)
	}
}

func TestRequestIsATransaction(t *testing.T) {
	c, s := newPeer(), newPeer()
	head := c.post("/api/jobs/", "x-long: "+strings.Repeat("v", 300))
	pri := "\x00\x00\x00\x00\x10"
	steps := append(begin(),
		decodertest.C(frame(frameHeaders, padded|flagPriority, 1, pad(7, "")[:1]+pri+head[:3]+strings.Repeat("\x00", 7))),
		decodertest.C(frame(frameContinuation, 0, 1, head[3:40])+frame(frameContinuation, 0, 1, "")+frame(frameContinuation, flagEndHeaders, 1, head[40:])),
		decodertest.C(frame(frameData, padded, 1, pad(20, job[:5]))+windowUpd+frame(frameData, 0, 1, job[5:6])+frame(frameData, padded|flagEndStream, 1, pad(0, job[6:]))),
		decodertest.S(frame(frameHeaders, flagEndHeaders, 1, s.ok())+ping+frame(frameData, padded, 1, pad(3, jobID[:9]))+frame(frameData, 0, 1, jobID[9:])),
		decodertest.S(frame(frameHeaders, flagEndHeaders|flagEndStream, 1, s.block("x-checksum: 1"))))
	got, odd := transactions(t, both(), steps...)
	if len(got) != 1 || len(odd) != 0 {
		t.Fatalf("%v %v", got, odd)
	}
	isJob(t, got[0])
	if got[0].Response.Trailer.Get("x-checksum") != "1" || got[0].Depth != 1 || len(got[0].Request.Body.Files) != 1 {
		t.Errorf("%+v", got[0])
	}
}

func TestStreamsBesideEachOther(t *testing.T) {
	c, s := newPeer(), newPeer()
	steps := append(begin(),
		decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.post("/api/jobs/"))+frame(frameHeaders, flagEndHeaders, 3, c.request(getPath))+
			frame(frameHeaders, flagEndHeaders|flagEndStream, 5, c.block(":method: GET", ":scheme: http", ":path: /b", ":authority: ray:8265"))),
		decodertest.C(frame(frameData, 0, 1, job[:4])+frame(frameData, flagEndStream, 3, message("k"))+frame(frameData, flagEndStream, 1, job[4:])),
		decodertest.S(frame(frameHeaders, flagEndHeaders|flagEndStream, 5, s.block(":status: 404"))+frame(frameHeaders, flagEndHeaders, 3, s.answer())+
			frame(frameHeaders, flagEndHeaders, 1, s.ok())+frame(frameData, 0, 3, message("v"))+frame(frameData, flagEndStream, 1, jobID)+
			frame(frameHeaders, flagEndHeaders|flagEndStream, 3, s.trailer(0))))
	got, odd := transactions(t, both(), steps...)
	if len(got) != 2 || len(odd) != 0 || got[0].Request.Target != "/b" || got[0].Response.Status != 404 || got[0].Depth != 2 {
		t.Fatalf("%v %v", got, odd)
	}
	isJob(t, got[1])
	if n := calls(decodertest.RunAll(t, both(), steps...)); len(n) != 1 || n[0].Path != getPath {
		t.Errorf("calls %v", n)
	}
}

func TestAnswersThatAreNotThere(t *testing.T) {
	for name, x := range map[string]struct {
		more   []decodertest.Step
		status int
		info   int
		body   string
	}{
		"none":         {nil, 0, 0, job},
		"reset":        {[]decodertest.Step{decodertest.C(frame(frameReset, 0, 1, "\x00\x00\x00\x08"))}, 0, 0, job},
		"going away":   {[]decodertest.Step{decodertest.S(frame(frameGoAway, 0, 0, "\x00\x00\x00\x01\x00\x00\x00\x00"))}, 0, 0, job},
		"only 103":     {[]decodertest.Step{decodertest.S(frame(frameHeaders, flagEndHeaders, 1, newPeer().block(":status: 103", "link: x")))}, 103, 103, job},
		"no end of it": {[]decodertest.Step{decodertest.S(frame(frameHeaders, flagEndHeaders, 1, newPeer().ok()))}, 200, 0, job},
	} {
		c := newPeer()
		steps := append(begin(), decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.post("/api/jobs/"))+frame(frameData, flagEndStream, 1, job)))
		got, _ := transactions(t, both(), append(steps, x.more...)...)
		if len(got) != 1 || string(got[0].Request.Body.Data) != x.body || (got[0].Response != nil) != (x.status != 0) {
			t.Fatalf("%s: %v", name, got)
		}
		if p := got[0].Response; p != nil && (p.Body.Complete || p.Informational != x.info || x.info == 0 && p.Status != x.status) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestClientThatWaitsFor100(t *testing.T) {
	c, s := newPeer(), newPeer()
	got, odd := transactions(t, both(), append(begin(),
		decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.post("/api/jobs/", "expect: 100-continue", "content-length: 28"))),
		decodertest.S(frame(frameHeaders, flagEndHeaders, 1, s.block(":status: 100"))),
		decodertest.C(frame(frameData, flagEndStream, 1, job)),
		decodertest.S(frame(frameHeaders, flagEndHeaders, 1, s.ok())+frame(frameData, flagEndStream, 1, jobID)))...)
	if len(got) != 1 || len(odd) != 0 || got[0].Response.Informational != 100 {
		t.Fatalf("%v %v", got, odd)
	}
	isJob(t, got[0])
}

// An answer may be complete before its request.
func TestAnswerBeforeTheRequestIsOver(t *testing.T) {
	c, s := newPeer(), newPeer()
	got, _ := transactions(t, both(), append(begin(),
		decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.post("/api/jobs/"))+frame(frameData, 0, 1, job[:9])),
		decodertest.S(frame(frameHeaders, flagEndHeaders, 1, s.ok())+frame(frameData, flagEndStream, 1, jobID)),
		decodertest.C(frame(frameData, flagEndStream, 1, job[9:])))...)
	if len(got) != 1 {
		t.Fatalf("%v", got)
	}
	isJob(t, got[0])
}

func TestOddFields(t *testing.T) {
	for name, x := range map[string]struct {
		more []string
		odd  bool
		want func(q *http.Request) bool
	}{
		"cookies":   {[]string{"cookie: a=1", "x: y", "cookie: b=2"}, false, func(q *http.Request) bool { return q.Header.Get("Cookie") == "a=1; b=2" }},
		"same host": {[]string{"host: ray:8265"}, false, func(q *http.Request) bool { return q.Authority() == "ray" }},
		"other host": {[]string{"host: example.org"}, true, func(q *http.Request) bool {
			return q.Authority() == "ray" && q.Header.Get("Host") == "ray:8265"
		}},
		"upper case":    {[]string{"X-Ray: 1"}, true, func(q *http.Request) bool { return q.Header.Get("x-ray") == "1" }},
		"twice":         {[]string{":path: /other"}, true, func(q *http.Request) bool { return q.Target == "/api/jobs/" }},
		"unknown":       {[]string{":color: red"}, true, func(q *http.Request) bool { return !q.Header.Has(":color") }},
		"chunked":       {[]string{"transfer-encoding: chunked"}, true, func(q *http.Request) bool { return q.Body.Conflict }},
		"length":        {[]string{"content-length: 28"}, false, func(q *http.Request) bool { return !q.Body.Conflict }},
		"wrong length":  {[]string{"content-length: 7"}, true, func(q *http.Request) bool { return q.Body.Conflict && string(q.Body.Data) == job }},
		"gRPC's words":  {[]string{"grpc-timeout: 1S", "te: trailers"}, false, func(q *http.Request) bool { return string(q.Body.Data) == job }},
		"many, then it": {append(strings.Split(strings.Repeat("a: b|", 150), "|")[:150], "authorization: Bearer x"), false, func(q *http.Request) bool { return q.Header.Has("authorization") }},
	} {
		c, s := newPeer(), newPeer()
		got, odd := transactions(t, both(), append(begin(),
			decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.post("/api/jobs/", x.more...))+frame(frameData, flagEndStream, 1, job)),
			decodertest.S(frame(frameHeaders, flagEndHeaders|flagEndStream, 1, s.ok())))...)
		if len(got) != 1 || !x.want(got[0].Request) || (len(odd) > 0) != x.odd {
			t.Errorf("%s: %v %v", name, got, odd)
		}
	}
}

// Who is none of gRPC takes a job whatever its content type is called.
func TestJobThatCallsItselfGRPC(t *testing.T) {
	for _, kind := range []string{"application/grpc", "application/grpc+json", "application/grpc; charset=utf-32-be"} {
		for _, path := range []string{"/api/jobs/", "/api/jobs", "/proxy/api/jobs"} {
			c, s := newPeer(), newPeer()
			got, _ := transactions(t, both(), append(begin(),
				decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.block(":method: POST", ":scheme: http", ":path: "+path, ":authority: ray", "content-type: "+kind, "x-a: b"))+
					frame(frameData, 0, 1, job[:3])+frame(frameData, flagEndStream, 1, job[3:])),
				decodertest.S(frame(frameHeaders, flagEndHeaders, 1, s.ok())+frame(frameData, flagEndStream, 1, jobID)))...)
			if len(got) != 1 || got[0].Request.Target != path || string(got[0].Request.Body.Data) != job || got[0].Request.Header.Get("x-a") != "b" ||
				string(got[0].Response.Body.Data) != jobID {
				t.Errorf("%s %s: %v", kind, path, got)
			}
		}
	}
}

func TestCompressedBody(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write([]byte(job))
	_ = w.Close()
	c, s := newPeer(), newPeer()
	body := z.String()
	got, _ := transactions(t, both(), append(begin(),
		decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.post("/api/jobs/", "content-encoding: gzip"))+frame(frameData, 0, 1, body[:11])+frame(frameData, flagEndStream, 1, body[11:])),
		decodertest.S(frame(frameHeaders, flagEndHeaders, 1, s.ok())+frame(frameData, flagEndStream, 1, jobID)))...)
	if len(got) != 1 || string(got[0].Request.Body.Data) != job || got[0].Request.Body.Encoding != "gzip" || got[0].Request.Body.Undecoded {
		t.Errorf("%+v", got[0].Request.Body)
	}
}

// The table of a connection that began earlier is unknown: names are missing, but never wrong.
func TestMidwayNamesAreNeverWrong(t *testing.T) {
	c, s := newPeer(), newPeer()
	posted(c, s, 1) // before the capture
	got, _ := transactions(t, midway(), append([]decodertest.Step{decodertest.C(ping + windowUpd), decodertest.S(ping + windowUpd)}, posted(c, s, 3)...)...)
	if len(got) != 1 {
		t.Fatalf("%v", got)
	}
	q := got[0].Request
	if q == nil || !q.Partial || q.Method != "POST" || q.Target != "" || len(q.Header) != 0 || string(q.Body.Data) != job || string(got[0].Response.Body.Data) != jobID {
		t.Errorf("%+v", q)
	}
	// A request and its answer are enough to know the connection by.
	one := posted(c, s, 9)
	if got, _ = transactions(t, midway(), one...); len(got) != 1 || string(got[0].Request.Body.Data) != job || got[0].Response == nil {
		t.Errorf("%v", got)
	}
	// Entries that are inserted from here on are known.
	more := append([]decodertest.Step{decodertest.C(ping + windowUpd), decodertest.S(ping + windowUpd)},
		decodertest.C(frame(frameHeaders, flagEndHeaders, 5, c.post("/api/jobs/other", "x-new: 1"))+frame(frameData, flagEndStream, 5, job)),
		decodertest.C(frame(frameHeaders, flagEndHeaders, 7, c.post("/api/jobs/other", "x-new: 1"))+frame(frameData, flagEndStream, 7, job)))
	got, _ = transactions(t, midway(), more...)
	if len(got) != 2 || got[1].Request.Target != "/api/jobs/other" || got[1].Request.Header.Get("x-new") != "1" || string(got[1].Request.Body.Data) != job {
		t.Errorf("%v", got)
	}
}

func TestLossWithinABody(t *testing.T) {
	c, s := newPeer(), newPeer()
	body := frame(frameData, flagEndStream, 1, job)
	got, odd := transactions(t, both(), append(begin(),
		decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.post("/api/jobs/"))+body[:len(body)-8]),
		decodertest.Step{Dir: capture.Orig, Gap: 5},
		decodertest.C(body[len(body)-3:]),
		decodertest.S(frame(frameHeaders, flagEndHeaders, 1, s.ok())+frame(frameData, flagEndStream, 1, jobID)))...)
	if len(got) != 1 || len(odd) != 0 {
		t.Fatalf("%v %v", got, odd)
	}
	if b := got[0].Request.Body; b.Missing != 5 || b.Complete || b.Len != int64(len(job)) || string(b.Data) != job[:len(job)-8] || !b.Truncated {
		t.Errorf("%+v", b)
	}
}

// What was lost is unknown; the jobs behind it are read.
func TestJobBehindLostFrames(t *testing.T) {
	c, s := newPeer(), newPeer()
	steps := append(begin(),
		decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.post("/api/jobs/", "content-length: 28"))+frame(frameData, 0, 1, job[:9])),
		decodertest.Step{Dir: capture.Orig, Gap: 28 - 9 + 9 + 60},
		decodertest.C(ping))
	fresh := &peer{}
	fresh.enc = hpack.NewEncoder(&fresh.buf)
	fresh.enc.SetMaxDynamicTableSize(0)
	got, odd := transactions(t, both(), append(steps, posted(fresh, s, 5)...)...)
	if len(got) != 2 || !reflect.DeepEqual(odd, []string{"http2_lost_frames"}) {
		t.Fatalf("%v %v", got, odd)
	}
	isJob(t, got[0])
	if b := got[1].Request.Body; b.Complete || string(b.Data) != job[:9] || !b.Truncated {
		t.Errorf("%+v", b)
	}
}

func TestTunnels(t *testing.T) {
	inner := "POST /api/jobs/ HTTP/1.1\r\nHost: ray\r\nContent-Length: 28\r\n\r\n" + job
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for name, head := range map[string][]string{
		"plain":    {":method: CONNECT", ":authority: 10.0.0.9:8265"},
		"extended": {":method: CONNECT", ":protocol: x", ":scheme: http", ":path: /t", ":authority: 10.0.0.9"},
	} {
		c, s := newPeer(), newPeer()
		got, odd := transactions(t, both(), append(begin(),
			decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.block(head...))),
			decodertest.S(frame(frameHeaders, flagEndHeaders, 1, s.block(":status: 200"))),
			decodertest.C(frame(frameData, 0, 1, inner[:30])+frame(frameData, flagEndStream, 1, inner[30:])),
			decodertest.S(frame(frameData, flagEndStream, 1, answer)))...)
		if len(got) != 2 || len(odd) != 0 {
			t.Fatalf("%s: %v %v", name, got, odd)
		}
		if q := got[0].Request; q.Method != "CONNECT" || got[0].Response.Status != 200 || q.Target != map[string]string{"plain": "10.0.0.9:8265", "extended": "/t"}[name] {
			t.Errorf("%s: %+v", name, q)
		}
		if q := got[1].Request; q.Target != "/api/jobs/" || string(q.Body.Data) != job || got[1].Response.Status != 200 {
			t.Errorf("%s: %+v", name, q)
		}
	}
	// A refusal is an answer like any other.
	c, s := newPeer(), newPeer()
	got, _ := transactions(t, both(), append(begin(),
		decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.block(":method: CONNECT", ":authority: a:1"))),
		decodertest.S(frame(frameHeaders, flagEndHeaders, 1, s.block(":status: 403"))+frame(frameData, flagEndStream, 1, "no")))...)
	if len(got) != 1 || string(got[0].Response.Body.Data) != "no" {
		t.Errorf("%v", got)
	}
}

// Behind many streams that nobody answers the newest is still read, and so is what comes behind many tunnels.
func TestNewestStreamIsSeen(t *testing.T) {
	for _, kind := range []string{"streams", "bodies", "tunnels"} {
		c, s := newPeer(), newPeer()
		var b, a strings.Builder
		n := uint32(maxStreams + 20)
		if kind == "tunnels" {
			n = maxTunnels + 20
		}
		for i := range n {
			sid := 2*i + 1
			switch kind {
			case "streams":
				b.WriteString(frame(frameHeaders, flagEndHeaders, sid, c.post("/x")))
			case "bodies":
				b.WriteString(frame(frameHeaders, flagEndHeaders, sid, c.post("/x")) + frame(frameData, 0, sid, strings.Repeat("b", 60_000)))
			case "tunnels":
				b.WriteString(frame(frameHeaders, flagEndHeaders, sid, c.block(":method: CONNECT", ":authority: a:1")))
				a.WriteString(frame(frameHeaders, flagEndHeaders, sid, s.block(":status: 200")))
			}
		}
		evs := decodertest.RunAll(t, both(), append(append(begin(), decodertest.C(b.String()), decodertest.S(a.String())), posted(c, s, 2*n+1)...)...)
		want := map[string]string{"streams": "http2_stream_limit", "bodies": "http2_body_budget", "tunnels": "http2_tunnel_limit"}[kind]
		if odd := weirds(evs); len(odd) == 0 || odd[0] != want {
			t.Errorf("%s: %v", kind, odd)
		}
		found, all := false, 0
		for _, e := range evs {
			if x, ok := e.(*http.Transaction); ok {
				all++
				if x.Request.Target == "/api/jobs/" {
					isJob(t, x)
					found = true
				}
			}
		}
		if !found || all != int(n)+1 {
			t.Errorf("%s: %d, found %v", kind, all, found)
		}
	}
}

// What the exchanges of one connection may hold, whatever is sent.
func TestMemoryOfBodiesIsBounded(t *testing.T) {
	ctx := &sink{}
	one := http.Options{KeepBody: func(*http.Transaction, bool) int { return 1 << 20 }}
	made := http.NewExchanges(one)
	d := newDecoder(ctx, Options{Keep: keepAll, HTTP: func(ctx decoders.Context) func() Exchange {
		c := made.Connection(ctx)
		return func() Exchange { return c.Open() }
	}})
	feed := func(dir capture.Dir, s string) {
		b := []byte(s)
		for len(b) > 0 {
			n, err := d.Decode(dir, b)
			if err != nil || n == 0 {
				t.Fatalf("%d used, %v", n, err)
			}
			b = b[n:]
		}
	}
	feed(capture.Orig, preface+settings)
	feed(capture.Resp, settings)
	c := newPeer()
	worst := 0
	for i := range uint32(400) {
		sid := 2*i + 1
		coding := []string{"x: y", "content-encoding: gzip", "content-encoding: br", "content-encoding: gzip, br, gzip"}[i%4]
		feed(capture.Orig, frame(frameHeaders, flagEndHeaders, sid, c.post("/x", coding, fmt.Sprintf("x-%d: %s", i, strings.Repeat("v", 9000)))))
		for range 4 {
			feed(capture.Orig, frame(frameData, 0, sid, strings.Repeat("m", 60_000)))
		}
		held := 0
		for s := d.first; s != nil; s = s.next {
			held += s.x.Held()
		}
		if held != d.bodies {
			t.Fatalf("stream %d: %d bytes are held, %d counted", sid, held, d.bodies)
		}
		worst = max(worst, held)
	}
	if worst > maxBodies || worst < maxBodies/2 {
		t.Errorf("%d bytes were held at most; the test should come near the bound of %d, and not over it", worst, maxBodies)
	}
	if d.flush(); d.bodies != 0 || d.kept != 0 || len(d.streams) != 0 {
		t.Errorf("%d bytes and %d streams are left", d.bodies, len(d.streams))
	}
}

const (
	wantsH2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
	agreed   = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
)

func TestUpgrade(t *testing.T) {
	get := "GET / HTTP/1.1\r\nHost: ray:8265\r\n" + wantsH2C + "\r\n"
	post := fmt.Sprintf("POST /api/jobs/ HTTP/1.1\r\nHost: ray:8265\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n", wantsH2C, len(job))
	answer := func(s *peer) string {
		return frame(frameHeaders, flagEndHeaders, 1, s.ok()) + frame(frameData, flagEndStream, 1, jobID)
	}
	jobless := func(x *http.Transaction) bool { return x.Request.Target == "/" && x.Response.Status == 200 }
	first := func(x *http.Transaction) bool {
		q, p := x.Request, x.Response
		return q.Target == "/api/jobs/" && q.Version == "1.1" && string(q.Body.Data) == job && q.Body.Complete && p != nil && p.Version == "2" &&
			p.Status == 200 && p.Informational == 0 && string(p.Body.Data) == jobID
	}
	for name, x := range map[string]struct {
		steps func(c, s *peer) []decodertest.Step
		first func(x *http.Transaction) bool
		more  int
	}{
		"a GET, then a job": {func(c, s *peer) []decodertest.Step {
			return append([]decodertest.Step{decodertest.C(get), decodertest.S(agreed + settings + answer(s)), decodertest.C(preface + settings)}, posted(c, s, 3)...)
		}, jobless, 1},
		"the job itself": {func(c, s *peer) []decodertest.Step {
			return append([]decodertest.Step{decodertest.C(post + job), decodertest.S(agreed), decodertest.C(preface + settings), decodertest.S(settings + answer(s))}, posted(c, s, 3)...)
		}, first, 1},
		"its body behind the 101": {func(c, s *peer) []decodertest.Step {
			return append([]decodertest.Step{decodertest.C(post), decodertest.S(agreed + settings), decodertest.C(job[:7]), decodertest.C(job[7:] + preface + settings), decodertest.S(answer(s))}, posted(c, s, 3)...)
		}, first, 1},
		"its answer before its body": {func(c, s *peer) []decodertest.Step {
			return append([]decodertest.Step{decodertest.C(post), decodertest.S(agreed + settings + answer(s)), decodertest.C(job + preface + settings)}, posted(c, s, 3)...)
		}, first, 1},
		"no answer": {func(c, s *peer) []decodertest.Step {
			return []decodertest.Step{decodertest.C(post + job), decodertest.S(agreed + settings), decodertest.C(preface + settings)}
		}, func(x *http.Transaction) bool {
			return string(x.Request.Body.Data) == job && x.Response == nil
		}, 0},
		"refused": {func(c, s *peer) []decodertest.Step {
			return []decodertest.Step{decodertest.C(post + job), decodertest.S("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), decodertest.C("GET /b HTTP/1.1\r\n\r\n")}
		}, func(x *http.Transaction) bool { return x.Response.Status == 200 && string(x.Request.Body.Data) == job }, 1},
	} {
		got, odd := transactions(t, both(), x.steps(newPeer(), newPeer())...)
		if len(got) != 1+x.more || len(odd) > 0 {
			t.Errorf("%s: %v %v", name, got, odd)
			continue
		}
		depth := 2 // behind the row of the upgrade
		if name == "refused" {
			depth = 1
		}
		if !x.first(got[0]) || got[0].Depth != depth {
			t.Errorf("%s: %s", name, decodertest.Snapshot(got[0]))
		}
		if x.more > 0 && name != "refused" {
			isJob(t, got[1])
			if got[1].Depth != 3 {
				t.Errorf("%s: depth %d", name, got[1].Depth)
			}
		}
	}
	rows := 0
	for _, e := range decodertest.RunAll(t, both(), decodertest.C(post+job), decodertest.S(agreed)) {
		if _, ok := e.(*http.Switched); ok {
			rows++
		}
	}
	if rows != 1 {
		t.Errorf("%d rows of the upgrade", rows)
	}
	// What is no HTTP/2 after all is told of as far as it came.
	got, _ := transactions(t, both(), decodertest.C(post+job), decodertest.S(agreed+"SSH-2.0-x\r\n"))
	if len(got) != 1 || string(got[0].Request.Body.Data) != job {
		t.Errorf("%v", got)
	}
}

// What a connection says does not depend on where its bytes are cut, whatever stands behind its beginning.
func FuzzExchanges(f *testing.F) {
	const asks = "POST / HTTP/1.1\r\nContent-Length: 2\r\n" + wantsH2C + "\r\n"
	c, s := newPeer(), newPeer()
	p := posted(c, s, 1)
	f.Add(p[0].Data, p[1].Data, uint16(7), false)
	f.Add([]byte("hi"+preface+settings), []byte(frame(frameHeaders, 5, 1, newPeer().ok())), uint16(30), true)
	f.Add([]byte(frame(frameHeaders, 4, 1, newPeer().block(":method: CONNECT", ":authority: a"))+frame(frameData, 0, 1, "GET / HTTP/1.1\r\n\r\n")),
		[]byte(frame(frameHeaders, 4, 1, newPeer().block(":status: 200"))), uint16(200), false)
	f.Fuzz(func(t *testing.T, orig, resp []byte, lost uint16, upgrade bool) {
		o, r := preface+settings+string(orig), settings+string(resp)
		if upgrade {
			o, r = asks+string(orig), agreed+r
		}
		// What is asked is there before it is answered; some of it is lost.
		n := min(int(lost), len(o))
		decodertest.CutAndPoisonAll(t, both(), decodertest.C(o), decodertest.S(r))
		decodertest.RunAll(t, both(), decodertest.C(o[:n]), decodertest.S(r), decodertest.Step{Dir: capture.Orig, Gap: 3}, decodertest.C(o[n:]))
	})
}
