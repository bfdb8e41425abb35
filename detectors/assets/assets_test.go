package assets

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/http2"
	"github.com/raytap/raytap/decoders/rayredis"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/aiservices"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/interpreters/raygrpc"
)

// The cast.
const (
	dev      = "10.0.0.20:40000"
	attacker = "203.0.113.66:40000"
	head     = "10.1.0.10:8265"
	gcs      = "10.1.0.10:6379"
	worker   = "10.1.0.11:52365"
	sessionA = "session_2026-11-23_16-35-51_313022_7988"
	sessionB = "session_2026-11-24_08-00-00_000001_1234"
	idA      = "fa85023c47f7279dc6800145a50f78732afadaae2683aaa1428778f7"
	own      = "Server: Python/3.11 aiohttp/3.13.3"
)

func when(sec float64) capture.At {
	return capture.At{Time: capture.Time(1e18 + sec*1e9), Packet: uint64(1 + sec*10)}
}

func flow(src, dst string) *capture.Flow {
	return &capture.Flow{UID: "C" + src + dst, Orig: netip.MustParseAddrPort(src), Resp: netip.MustParseAddrPort(dst), Proto: capture.ProtoTCP}
}

// web is a call over HTTP that was answered.
func web(sec float64, src, dst, route string, change ...func(*ray.Call)) *ray.Call {
	c := &ray.Call{
		At: when(sec), Flow: flow(src, dst), Service: ray.Dashboard, Class: ray.Read, Method: "GET", Route: route, Confirmed: true,
		Auth: "none", Outcome: ray.Answered, Status: 200, Client: ray.SDK, Python: "3.11",
		Tx: &http.Transaction{At: when(sec), Request: &http.Request{At: when(sec), Method: "GET"}, Response: &http.Response{At: when(sec + 0.01), Status: 200}},
	}
	answers(own)(c)
	for _, f := range change {
		f(c)
	}
	c.Tx.Response.Status = c.Status
	return c
}

// request is one over HTTP that is nothing of Ray's.
func request(sec float64, src, dst string) *http.Transaction {
	return &http.Transaction{At: when(sec), Flow: flow(src, dst), Request: &http.Request{Method: "POST", Target: "/"}, Response: &http.Response{Status: 200}}
}

func answers(header string) func(*ray.Call) {
	return func(c *ray.Call) {
		c.Tx.Response.Header = nil
		for _, l := range strings.Split(header, "\n") {
			if n, v, ok := strings.Cut(l, ": "); ok {
				c.Tx.Response.Header = append(c.Tx.Response.Header, http.Field{Name: n, Value: v})
			}
		}
	}
}

func version(v, session string) func(*ray.Call) {
	return func(c *ray.Call) { c.RayVersion, c.Session = v, session }
}

func refused(c *ray.Call) {
	c.Outcome, c.Status = ray.BlockedToken, 401
	c.Tx.Response.Body.Data = []byte("Unauthorized: Missing authentication token")
}

func agent(c *ray.Call) { c.Service = ray.Agent }

func prefix(p string) func(*ray.Call) { return func(c *ray.Call) { c.Prefix = p } }

func length(n int64) func(*ray.Call) {
	return func(c *ray.Call) { c.Tx.Response.Body.Len = n }
}

// lasting makes the answer come after so many seconds.
func lasting(sec float64) func(*ray.Call) {
	return func(c *ray.Call) { c.Tx.Response.Time = c.Time.Add(time.Duration(sec * 1e9)) }
}

func nodes(list ...string) func(*ray.Call) {
	return func(c *ray.Call) {
		for i, a := range list {
			c.Nodes = append(c.Nodes, ray.Node{Addr: netip.MustParseAddr(a), Head: i == 0, Other: i > 0, Ports: []ray.Port{{Role: "raylet", Num: 30000}}})
		}
	}
}

// rpc is a call over gRPC that was answered.
func rpc(sec float64, src, dst string, s raygrpc.Service, method string, change ...func(*raygrpc.Call)) *raygrpc.Call {
	c := &raygrpc.Call{At: when(sec), Flow: flow(src, dst), GRPC: &http2.Call{}, Service: s, Method: method, Outcome: raygrpc.Answered, Auth: "none"}
	for _, f := range change {
		f(c)
	}
	return c
}

func id(s string) func(*raygrpc.Call) { return func(c *raygrpc.Call) { c.ClusterID = s } }
func mid(c *raygrpc.Call)             { c.GRPC.Mid, c.Auth = true, "" }
func noToken(c *raygrpc.Call)         { c.Outcome = raygrpc.NoToken }

func banner(sec float64, src, dst, product, v string, change ...func(*aiservices.Banner)) *aiservices.Banner {
	b := &aiservices.Banner{At: when(sec), Flow: flow(src, dst), Product: product, Version: v, Open: true}
	for _, f := range change {
		f(b)
	}
	return b
}

// see publishes events in order and gives the rows.
func see(t *testing.T, cfg Config, events ...any) (rows []*Row) {
	t.Helper()
	home := detectortest.Home()
	bus := detectors.NewBus(func(f *detectors.Finding) { t.Errorf("a finding: %+v", f) })
	bus.Rows = func(r capture.Record) {
		if r, ok := r.(*Row); ok {
			rows = append(rows, r)
		}
	}
	Spec().New(&detectors.Env{Home: home, Settings: map[string]any{"assets": &cfg}}, bus)
	for _, e := range events {
		bus.Publish(e)
	}
	bus.End(when(1e6))
	return rows
}

// sum is a row in one line.
func sum(r *Row) string {
	heads, workers, peers := r.Machines()
	s := []string{r.Grade, r.Asset.Key}
	add := func(name string, v ...string) {
		if len(v) > 0 && v[0] != "" {
			s = append(s, name+" "+strings.Join(v, ","))
		}
	}
	add("v", r.Asset.Version)
	add("head", heads...)
	add("workers", workers...)
	add("peers", peers...)
	add("auth", r.Auth)
	add("tls", r.TLS())
	add("behind", r.Proxies()...)
	add("in", fmt.Sprint(r.Inside))
	add("out", fmt.Sprint(r.Outside))
	return strings.Join(s, "; ")
}

func TestWhatBecomesOneAsset(t *testing.T) {
	for _, x := range []struct {
		name   string
		events []any
		want   []string
	}{
		{"dashboard, then GCS of one machine", []any{
			web(1, dev, head, "/api/version", version("2.60.0", sessionA)),
			rpc(2, "10.1.0.11:50000", gcs, raygrpc.GCS, "WorkerInfoGcsService/AddWorkerInfo", id(idA)),
		}, []string{"C; ray 10.1.0.10; v 2.60.0; head 10.1.0.10; workers 10.1.0.11; auth none; tls no; in 1; out 0"}},
		{"an agent alone, then a list of nodes that names it", []any{
			web(1, dev, worker, "/api/job_agent/jobs/{id}/logs", agent),
			web(2, dev, head, "/nodes", nodes("10.1.0.10", "10.1.0.11")),
		}, []string{"C; ray 10.1.0.10; head 10.1.0.10; workers 10.1.0.11; auth none; in 1; out 0"}},
		{"a list that names the machine of another cluster takes nothing away", []any{
			web(1, dev, "10.2.0.5:8265", "/api/version", version("2.9.3", sessionB)),
			web(2, dev, head, "/nodes", version("", sessionA), nodes("10.1.0.10", "10.2.0.5")),
		}, []string{"D; ray 10.2.0.5; v 2.9.3; head 10.2.0.5; auth none; in 1; out 0", "C; ray 10.1.0.10; head 10.1.0.10; auth none; in 1; out 0"}},
		{"started anew at the same door", []any{
			web(1, dev, head, "/api/version", version("2.9.3", sessionA)),
			web(2, dev, head, "/api/version", version("2.60.0", sessionB)),
		}, []string{"C; ray 10.1.0.10; v 2.60.0; head 10.1.0.10; auth none; in 1; out 0"}},
		{"two clusters on one machine", []any{
			web(1, dev, head, "/api/version", version("2.9.3", sessionA)),
			web(2, dev, "10.1.0.10:8266", "/api/version", version("2.60.0", sessionB)),
			web(3, dev, head, "/api/version", version("2.9.3", sessionA)),
		}, []string{"D; ray 10.1.0.10; v 2.9.3; head 10.1.0.10; auth none; in 1; out 0", "C; ray 10.1.0.10'; v 2.60.0; auth none; in 1; out 0"}},
		{"behind a proxy, tied by the session", []any{
			web(1, dev, head, "/api/version", version("2.60.0", sessionA)),
			web(2, attacker, "10.0.0.30:80", "/api/version", version("2.60.0", sessionA), answers("Server: nginx/1.22.1"), prefix("/ray")),
		}, []string{"F; ray 10.1.0.10; v 2.60.0; head 10.1.0.10; auth none; behind 10.0.0.30:80/ray nginx/1.22.1; in 1; out 1"}},
		{"behind a proxy, tied by the call on its other side", []any{
			web(1.1, "10.0.0.30:50000", head, "/api/jobs/", length(87)),
			web(1, attacker, "10.0.0.30:80", "/api/jobs/", answers("Server: nginx/1.22.1"), length(87), lasting(0.5)),
		}, []string{"F; ray 10.1.0.10; head 10.1.0.10; auth none; behind 10.0.0.30:80 nginx/1.22.1; in 1; out 1"}},
		{"another call at the same time is not the other side", []any{
			web(1.1, "10.0.0.30:50000", head, "/api/jobs/", length(86)),
			web(1, attacker, "10.0.0.30:80", "/api/jobs/", answers("Server: nginx/1.22.1"), length(87), lasting(0.5)),
		}, []string{"C; ray 10.1.0.10; head 10.1.0.10; auth none; in 1; out 0", "F; ray behind 10.0.0.30:80; auth none; behind 10.0.0.30:80 nginx/1.22.1; in 0; out 1"}},
		{"a proxy that leaves the server's name, by what it adds", []any{
			web(1, dev, "10.0.0.30:443", "/api/version", version("2.60.0", sessionA), answers(own+"\nVia: 1.1 google")),
			web(2, dev, head, "/api/version", version("2.60.0", sessionA)),
		}, []string{"C; ray 10.1.0.10; v 2.60.0; head 10.1.0.10; auth none; behind 10.0.0.30:443 Via: 1.1 google; in 1; out 0"}},
		{"somebody outside says the session of ours", []any{
			web(1, dev, head, "/api/version", version("2.60.0", sessionA)),
			web(2, dev, "198.51.100.7:8265", "/api/version", version("2.9.3", sessionA), nodes("10.1.0.10", "198.51.100.7")),
		}, []string{"C; ray 10.1.0.10; v 2.60.0; head 10.1.0.10; auth none; in 1; out 0", "-; ray 198.51.100.7; v 2.9.3; workers 198.51.100.7; auth none; in 1; out 0"}},
		{"an id that the GCS refused", []any{
			rpc(1, dev, gcs, raygrpc.GCS, "NodeInfoGcsService/GetClusterId", id(idA)),
			rpc(2, attacker, "10.2.0.5:6379", raygrpc.GCS, "InternalKVGcsService/InternalKVGet", id(idA), noToken),
		}, []string{"C; ray 10.1.0.10; head 10.1.0.10; auth none; tls no; in 1; out 0", "C; ray 10.2.0.5; head 10.2.0.5; auth token; tls no; in 0; out 1"}},
		{"an id that an outsider says to an old GCS, which does not look", []any{
			rpc(1, dev, gcs, raygrpc.GCS, "NodeInfoGcsService/GetClusterId", id(idA)),
			rpc(2, attacker, "10.2.0.5:6379", raygrpc.GCS, "InternalKVGcsService/InternalKVGet", id(idA)),
			rpc(3, dev, "10.2.0.6:30001", raygrpc.Raylet, "NodeManagerService/GetNodeStats", id(idA)),
		}, []string{"C; ray 10.1.0.10; head 10.1.0.10; auth none; tls no; in 1; out 0", "F; ray 10.2.0.5; head 10.2.0.5; auth none; tls no; in 0; out 1",
			"C; ray 10.2.0.6; workers 10.2.0.6; auth none; tls no; in 1; out 0"}},
		{"raylets talk among themselves", []any{
			rpc(1, "10.1.0.11:50000", gcs, raygrpc.GCS, "WorkerInfoGcsService/AddWorkerInfo", id(idA)),
			rpc(2, "10.1.0.11:50001", "10.1.0.12:30001", raygrpc.Raylet, "NodeManagerService/RequestWorkerLease"),
		}, []string{"C; ray 10.1.0.10; head 10.1.0.10; workers 10.1.0.11,10.1.0.12; auth none; tls no; in 0; out 0"}},
		{"customers of what it serves", []any{
			request(1, attacker, "10.1.0.10:8000"),
			web(2, dev, head, "/api/serve/applications/", func(c *ray.Call) {
				c.Nodes = []ray.Node{{Addr: netip.MustParseAddr("10.1.0.10"), Ports: []ray.Port{{Role: "serve", Num: 8000}}}}
			}),
			request(3, attacker, "10.1.0.10:8000"), request(4, dev, "10.1.0.10:8001"), request(5, "198.51.100.9:4", "10.1.0.12:8000"),
		}, []string{"C; ray 10.1.0.10; head 10.1.0.10; auth none; in 1; out 1"}},
		{"the GCS asks a raylet, from before the capture", []any{
			rpc(1, "10.1.0.10:50000", "10.1.0.11:30001", raygrpc.Raylet, "NodeManagerService/GetResourceLoad", mid),
			rpc(2, "10.1.0.11:50001", gcs, raygrpc.GCS, "", mid, id(idA)),
			rpc(3, "10.1.0.12:50001", gcs, raygrpc.GCS, "", mid, id(idA)),
		}, []string{"?; ray 10.1.0.10; head 10.1.0.10; workers 10.1.0.11; peers 10.1.0.12; tls no; in 0; out 0"}},
		{"the Redis of an old Ray, with the password that everybody knows", []any{
			&rayredis.Call{At: when(1), Flow: flow(dev, "10.1.0.10:6379"), Command: "AUTH", Class: rayredis.Info, Outcome: rayredis.Answered, Auth: "default"},
			&rayredis.Call{At: when(2), Flow: flow(dev, "10.1.0.10:6379"), Command: "GET", Key: "VERSION_INFO", Class: rayredis.State, Outcome: rayredis.Answered, Auth: "default",
				Version: "1.9.2", GCS: netip.MustParseAddrPort("10.1.0.10:43215")},
			&rayredis.Call{At: when(2), Flow: flow("10.1.0.11:40001", "10.1.0.10:6379"), Command: "PUBLISH", Key: "RAY_LOG_CHANNEL", Class: rayredis.Write, Outcome: rayredis.Executed, Auth: "default"},
			web(3, dev, head, "/api/version"),
		}, []string{"D; ray 10.1.0.10; v 1.9.2; head 10.1.0.10; workers 10.1.0.11; auth none; tls no; in 1; out 0"}},
		{"the same with a password of its own", []any{
			&rayredis.Call{At: when(1), Flow: flow(dev, "10.1.0.10:6379"), Command: "AUTH", Class: rayredis.Info, Outcome: rayredis.NoToken, Auth: "default"},
		}, []string{"B; ray 10.1.0.10; head 10.1.0.10; auth token; tls no; in 1; out 0"}},
		{"what is no Ray", []any{
			web(1, dev, head, "/api/jobs/", func(c *ray.Call) { c.Confirmed = false }),
			web(2, dev, head, "/api/jobs/", func(c *ray.Call) { c.Outcome = ray.NotRay }),
			web(3, dev, "10.1.0.10:9090", "/metrics", func(c *ray.Call) { c.Service = ray.Metrics }),
			rpc(4, dev, "10.1.0.10:9000", raygrpc.Serve, "RayServeAPIService/Healthz"),
			rpc(5, dev, gcs, raygrpc.Unknown, ""),
			rpc(6, dev, gcs, raygrpc.GCS, "InternalKVGcsService/InternalKVGet", func(c *raygrpc.Call) { c.Outcome = raygrpc.Unseen }),
			web(7, dev, "255.255.255.255:8265", "/nodes"),
		}, nil},
	} {
		var got []string
		for _, r := range see(t, Config{}, x.events...) {
			got = append(got, sum(r))
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%s:\n got %s\nwant %s", x.name, strings.Join(got, "\n     "), strings.Join(x.want, "\n     "))
		}
	}
}

func TestGrades(t *testing.T) {
	secure := func(dst string) *tls.Session { return &tls.Session{At: when(0.5), Flow: flow(dev, dst)} }
	asks := func(b *aiservices.Banner) { b.Open, b.Asks = false, true }
	for _, x := range []struct {
		events []any
		grade  string
		reason string
		cves   string // the first of them
	}{
		{[]any{secure(gcs), web(1, dev, head, "/api/jobs/", refused), web(2, dev, head, "/api/version", func(c *ray.Call) { c.Auth, c.RayVersion = "bearer", "2.60.0" })},
			"A", "asks for a token, speaks TLS", ""},
		{[]any{web(1, dev, head, "/api/jobs/", refused)}, "B", "asks for a token, which travels in clear", ""},
		{[]any{web(1, dev, head, "/api/authentication_mode", func(c *ray.Call) { c.Free, c.AuthMode = true, "token" })}, "B", "asks for a token", ""},
		{[]any{web(1, dev, head, "/api/jobs/", refused, version("2.53.0", ""))}, "C", "asks for a token; version 2.53.0 has CVE-2026-27482", "CVE-2026-27482"},
		{[]any{web(1, attacker, head, "/api/jobs/", refused)}, "C", "203.0.113.66 reached it from outside; it asks for a token", ""},
		{[]any{web(1, dev, head, "/api/jobs/", version("2.60.0", ""))}, "C", "asks nobody for a token (dashboard); seen from inside only", "CVE-2023-48022"},
		{[]any{web(1, dev, head, "/api/jobs/", version("2.8.0", ""))}, "D", "asks nobody for a token (dashboard); version 2.8.0 has CVE-2023-48023", "CVE-2023-48022"},
		{[]any{web(1, attacker, head, "/api/jobs/", refused, version("2.53.0", ""))}, "E", "203.0.113.66 reached it from outside, and version 2.53.0", "CVE-2026-27482"},
		{[]any{web(1, attacker, head, "/api/jobs/", refused), web(2, dev, worker, "/x", agent), web(3, dev, head, "/nodes", nodes("10.1.0.10", "10.1.0.11"), func(c *ray.Call) { c.Auth = "bearer" })},
			"E", "203.0.113.66 reached it from outside, and job_agent asks for no token", "CVE-2023-48022"},
		{[]any{web(1, attacker, head, "/api/jobs/")}, "F", "answered 203.0.113.66, outside the home networks", "CVE-2023-48022"},
		{[]any{rpc(1, attacker, gcs, raygrpc.GCS, "InternalKVGcsService/InternalKVGet")}, "F", "answered 203.0.113.66", "CVE-2023-48022"},
		{[]any{web(1, attacker, head, "/api/jobs/"), web(2, "198.51.100.9:4", head, "/nodes"), web(3, "198.51.100.8:4", head, "/nodes")}, "F", "198.51.100.8 and 2 others", "CVE-2023-48022"},
		// A page that everybody gets says nothing; who shows a token may need it or not.
		{[]any{web(1, dev, head, "/", func(c *ray.Call) { c.Free = true })}, "?", "nothing seen tells", "CVE-2023-48022"},
		{[]any{web(1, dev, head, "/api/jobs/", func(c *ray.Call) { c.Auth = "bearer" })}, "?", "nothing seen tells", "CVE-2023-48022"},
		{[]any{web(1, attacker, head, "/", func(c *ray.Call) { c.Free = true })}, "?", "203.0.113.66 reached it from outside; nothing", "CVE-2023-48022"},
		// A password of a proxy is not Ray's token.
		{[]any{web(1, dev, "10.0.0.30:80", "/api/jobs/", prefix("/ray"), func(c *ray.Call) { c.Outcome, c.Status = ray.BlockedToken, 401 })}, "?", "nothing seen tells", "CVE-2023-48022"},
		// The token was switched on since.
		{[]any{web(1, dev, head, "/api/jobs/"), web(2, dev, head, "/api/jobs/", refused)}, "B", "asks for a token", ""},
		// Those who use a model from outside do not reach Ray.
		{[]any{web(1, dev, head, "/nodes"), web(2, attacker, "10.1.0.10:8000", "/-/healthz", func(c *ray.Call) { c.Service, c.Free = ray.Serve, true })}, "C", "seen from inside only", "CVE-2023-48022"},
		{[]any{web(1, dev, "198.51.100.7:8265", "/nodes")}, "-", "stands outside", "CVE-2023-48022"},
		// Other services.
		{[]any{banner(1, attacker, "10.0.0.7:11434", "ollama", "0.1.33")}, "F", "answered 203.0.113.66", "CVE-2024-37032"},
		{[]any{banner(1, dev, "10.0.0.7:11434", "ollama", "0.1.33")}, "D", "version 0.1.33 has CVE-2024-37032", "CVE-2024-37032"},
		{[]any{banner(1, dev, "10.0.0.7:11434", "ollama", "0.5.0")}, "C", "asks nobody", ""},
		{[]any{banner(1, dev, "10.0.0.7:8888", "jupyter", "2.14.0", asks)}, "B", "asks for a token", ""},
		{[]any{banner(1, dev, "10.0.0.7:7860", "langflow", "1.2.0", asks)}, "C", "asks for a token; version 1.2.0 has CVE-2025-3248", "CVE-2025-3248"},
	} {
		rows := see(t, Config{}, x.events...)
		if len(rows) != 1 {
			t.Errorf("%s %s: %d rows", x.grade, x.reason, len(rows))
			continue
		}
		r := rows[0]
		first := ""
		if len(r.CVEs) > 0 {
			first = r.CVEs[0]
		}
		if r.Grade != x.grade || !strings.Contains(r.Reason, x.reason) || first != x.cves {
			t.Errorf("got %s (%s) %v, want %s (%s) %s", r.Grade, r.Reason, r.CVEs, x.grade, x.reason, x.cves)
		}
	}
}

func TestServices(t *testing.T) {
	hint := func(b *aiservices.Banner) { b.Hint = true }
	at := "10.0.0.7:8000"
	for _, x := range []struct {
		name   string
		events []any
		want   string
	}{
		{"a hint alone is nothing", []any{banner(1, dev, at, "ollama", "0.1.33", hint)}, ""},
		{"a hint tells the version of what is known", []any{banner(1, dev, at, "ollama", ""), banner(2, dev, at, "ollama", "0.5.7", hint)}, "ollama 0.5.7"},
		{"a hint of another product does not", []any{banner(1, dev, at, "ollama", ""), banner(2, dev, at, "vllm", "0.6.1", hint)}, "ollama "},
		{"what speaks like OpenAI turns out to be vLLM", []any{banner(1, dev, at, "openai-compatible", ""), banner(2, dev, at, "vllm", "")}, "vllm "},
		{"and stays it", []any{banner(1, dev, at, "ollama", "0.5.7"), banner(2, dev, at, "openai-compatible", "")}, "ollama 0.5.7"},
		{"something else runs there now", []any{banner(1, dev, at, "jupyter", "2.14.0"), banner(2, dev, at, "mlflow", "")}, "mlflow "},
	} {
		got := ""
		for _, r := range see(t, Config{}, x.events...) {
			got += r.Asset.Kind + " " + r.Asset.Version
		}
		if got != x.want {
			t.Errorf("%s: got %q, want %q", x.name, got, x.want)
		}
	}
}

// While a run goes on, what is new or has changed is told once a minute, and the rest when it is due.
func TestRowsWhileTheRunGoesOn(t *testing.T) {
	var events []any
	for sec := 0; sec < 3*3600; sec += 20 {
		events = append(events, web(float64(sec), dev, head, "/nodes"))
		if sec == 1800 {
			events = append(events, web(float64(sec), attacker, head, "/nodes"))
		}
	}
	changes := func(rows []*Row) (s []string) {
		for _, r := range rows {
			s = append(s, fmt.Sprintf("%s %s", r.Change, r.Grade))
		}
		return s
	}
	if got := changes(see(t, Config{Refresh: time.Hour}, events...)); !slices.Equal(got, []string{"new C", "changed F", "seen F", "seen F", "seen F"}) {
		t.Errorf("with a refresh of an hour: %v", got)
	}
	if got := changes(see(t, Config{}, events...)); !slices.Equal(got, []string{"new F"}) {
		t.Errorf("at the end only: %v", got)
	}
}

func TestWhatWasKnownIsKnownAgain(t *testing.T) {
	first := see(t, Config{},
		web(1, dev, head, "/api/version", version("2.60.0", sessionA)),
		rpc(2, "10.1.0.11:50000", gcs, raygrpc.GCS, "WorkerInfoGcsService/AddWorkerInfo", id(idA)),
		web(3, dev, "10.0.0.30:80", "/api/version", version("2.60.0", sessionA), answers("Server: nginx"), prefix("/ray")),
		banner(4, dev, "10.0.0.7:11434", "ollama", "0.5.0"))
	var known []*Asset
	for _, r := range first {
		b, err := json.Marshal(r.Asset)
		if err != nil {
			t.Fatal(err)
		}
		var a Asset
		if err := json.Unmarshal(b, &a); err != nil {
			t.Fatal(err)
		}
		known = append(known, &a)
	}
	var got []string
	for _, r := range see(t, Config{Known: known},
		web(10, dev, "10.0.0.30:80", "/nodes", answers("Server: nginx"), prefix("/ray")),                            // the proxy is known
		rpc(11, "10.1.0.11:50001", "10.1.0.10:30000", raygrpc.Raylet, "NodeManagerService/RequestWorkerLease", mid), // so are the machines
		banner(12, dev, "10.0.0.7:11434", "ollama", "0.5.7", func(b *aiservices.Banner) { b.Hint = true })) {
		got = append(got, r.Change+" "+sum(r))
	}
	want := []string{
		"changed C; ray 10.1.0.10; v 2.60.0; head 10.1.0.10; workers 10.1.0.11; auth none; tls no; behind 10.0.0.30:80/ray nginx; in 1; out 0",
		"changed C; ollama 10.0.0.7:11434; v 0.5.7; head 10.0.0.7; auth none; in 1; out 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	// What is known and not seen is not told of; what is seen and the same is "seen".
	if rows := see(t, Config{Known: known}); len(rows) != 0 {
		t.Errorf("told of what was not seen: %v", rows)
	}
	rows := see(t, Config{Known: known}, web(20, dev, head, "/api/version", version("2.60.0", sessionA)))
	if len(rows) != 1 || rows[0].Change != Seen || rows[0].Asset.First != first[0].Asset.First {
		t.Errorf("seen again: %+v", rows)
	}
}

// A cluster that was told of under two names is one later: the row says which name is void.
func TestRowsNameWhatTheyReplace(t *testing.T) {
	rows := see(t, Config{Refresh: time.Hour},
		web(1, dev, head, "/api/version", version("2.60.0", sessionA)),
		web(2, dev, worker, "/x", agent),
		web(100, dev, head, "/nodes"), // both are told of
		web(101, dev, head, "/nodes", nodes("10.1.0.10", "10.1.0.11")))
	if n := len(rows); n != 3 || rows[2].Asset.Key != "ray 10.1.0.10" || !slices.Equal(rows[2].Was, []string{"ray 10.1.0.11"}) || rows[2].Change != Changed {
		for _, r := range rows {
			t.Logf("%s was %v", sum(r), r.Was)
		}
		t.Errorf("%d rows", n)
	}
}

func TestTablesAreBounded(t *testing.T) {
	home := detectortest.Home()
	bus := detectors.NewBus(func(*detectors.Finding) {})
	rows, evicted := 0, ""
	bus.Rows = func(r capture.Record) {
		switch r := r.(type) {
		case *Row:
			rows++
			if len(r.Asset.Nodes) > maxNodes || len(r.Asset.Clients) > maxClients || len(r.Asset.Proxies) > maxProxies {
				t.Errorf("%d nodes, %d clients, %d proxies", len(r.Asset.Nodes), len(r.Asset.Clients), len(r.Asset.Proxies))
			}
		case *capture.Weird:
			evicted = r.Name + " " + r.Addl
		}
	}
	Spec().New(&detectors.Env{Home: home}, bus)
	n := 0
	addr := func() string { n++; return fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255) }
	for i := range 3 * MaxAssets { // clusters
		bus.Publish(web(float64(i), dev, addr()+":8265", "/api/version", version("2.60.0", fmt.Sprintf("session_2026-11-23_16-35-51_%06d_1", i))))
		bus.Publish(banner(float64(i), dev, addr()+":11434", "ollama", "0.5.0"))
	}
	for i := range 3 * maxNodes { // machines, clients and proxies of one
		at := float64(3*MaxAssets + i)
		bus.Publish(web(at, fmt.Sprintf("203.0.%d.%d:99", 100+i>>8, i&255), head, "/nodes", version("", sessionA), nodes("10.1.0.10", addr())))
		bus.Publish(web(at, dev, addr()+":80", "/nodes", version("", sessionA), answers("Server: nginx"), prefix("/ray")))
		bus.Publish(&tls.Session{At: when(at), Flow: flow(dev, addr()+":6379")})
	}
	bus.End(when(1e6))
	if rows != MaxAssets || evicted != fmt.Sprintf("assets_evicted %d", 6*MaxAssets+1-MaxAssets) {
		t.Errorf("%d rows, %q", rows, evicted)
	}
}

// Many large clusters are more machines than there is room for: those that were not heard of for longest go.
func TestMachinesAreBounded(t *testing.T) {
	var events []any
	n := 0
	for i := range 200 {
		var list []string
		for range 240 {
			n++
			list = append(list, fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255))
		}
		events = append(events, web(float64(i), dev, list[0]+":8265", "/nodes", version("", fmt.Sprintf("session_2026-11-23_16-35-51_%06d_2", i)), nodes(list...)))
	}
	machines, rows := 0, see(t, Config{}, events...)
	for _, r := range rows {
		if machines += len(r.Asset.Nodes); len(r.Asset.Nodes) != 240 {
			t.Errorf("%s has %d nodes", r.Asset.Key, len(r.Asset.Nodes))
		}
	}
	if machines > maxMachines || machines < maxMachines-240 || last(rows[len(rows)-1].Asset.Sessions) != "session_2026-11-23_16-35-51_000199_2" {
		t.Errorf("%d machines of %d clusters", machines, len(rows))
	}
}

// A new column is a decision: whoever reads assets.log counts on these.
func TestColumns(t *testing.T) {
	rows := see(t, Config{}, web(1, dev, head, "/api/version", version("2.60.0", sessionA), nodes("10.1.0.10", "fd00::11")),
		rpc(2, dev, "[fd00::11]:20001", raygrpc.Worker, "CoreWorkerService/PushTask", id("")))
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	var full, empty []string
	rows[0].Row(recorder{&full})
	(&Row{}).Row(recorder{&empty})
	want := []string{"ts", "asset=ray 10.1.0.10", "kind=ray", "change=new", "local=true", "grade=C", "reason=asks nobody for a token (dashboard, worker); seen from inside only",
		"version=2.60.0", "commit", "python=3.11", "session_name=" + sessionA, "cluster_id", "heads=10.1.0.10", "workers=fd00::11", "peers",
		"ports=10.1.0.10:8265 dashboard,10.1.0.10:30000 raylet,[fd00::11]:30000 raylet,[fd00::11]:20001 worker", "auth=none", "tls=no", "proxies",
		"clients_inside=1", "clients_outside=0", "client_kinds=grpc 1,sdk 1", "outsiders", "cves=CVE-2023-48022,CVE-2025-34351", "first_seen", "last_seen", "was"}
	if !slices.Equal(full, want) {
		t.Errorf("got  %q\nwant %q", full, want)
	}
	for i := range want {
		if name, _, _ := strings.Cut(want[i], "="); i >= len(empty) || empty[i] != name {
			t.Errorf("an empty row: %q", empty)
			break
		}
	}
}

// recorder keeps names and values of columns; of times only the name.
type recorder struct{ to *[]string }

func (r recorder) put(name, v string, set bool) {
	if set && v != "" {
		name += "=" + v
	}
	*r.to = append(*r.to, name)
}
func (r recorder) Time(n string, _ capture.Time, set bool)      { r.put(n, "", set) }
func (r recorder) Interval(n string, _ time.Duration, set bool) { r.put(n, "", set) }
func (r recorder) String(n, v string, set bool)                 { r.put(n, v, set) }
func (r recorder) Enum(n, v string, set bool)                   { r.put(n, v, set) }
func (r recorder) Count(n string, v uint64, set bool)           { r.put(n, fmt.Sprint(v), set) }
func (r recorder) Bool(n string, v, set bool)                   { r.put(n, fmt.Sprint(v), set) }
func (r recorder) Addr(n string, v netip.Addr, set bool)        { r.put(n, v.String(), set) }
func (r recorder) Port(n string, v uint16, set bool)            { r.put(n, fmt.Sprint(v), set) }
func (r recorder) Double(n string, v float64, set bool)         { r.put(n, fmt.Sprint(v), set) }
func (r recorder) Set(n, _ string, v []string, set bool)        { r.put(n, strings.Join(v, ","), set) }
func (r recorder) Vector(n, _ string, v []string, set bool)     { r.put(n, strings.Join(v, ","), set) }
func (r recorder) Intervals(n string, _ []time.Duration, set bool) {
	r.put(n, "", set)
}
