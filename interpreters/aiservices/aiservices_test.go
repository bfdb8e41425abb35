package aiservices

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
)

// sample is an answer: what was asked with which header lines, status, header lines and body.
type sample struct {
	ask, with string
	status    int
	header    string
	body      string
	want      string // product, version and what is known of its door; "" is nothing
}

func lines(s string) (h http.Header) {
	for _, l := range strings.Split(s, "\n") {
		if n, v, ok := strings.Cut(l, ": "); ok {
			h = append(h, http.Field{Name: n, Value: v})
		}
	}
	return h
}

func (x sample) transaction() *http.Transaction {
	method, target, _ := strings.Cut(x.ask, " ")
	status := x.status
	if status == 0 {
		status = 200
	}
	return &http.Transaction{
		At:      capture.At{Time: 1e18, Packet: 3},
		Flow:    &capture.Flow{UID: "C1", Orig: netip.MustParseAddrPort("10.0.0.1:40000"), Resp: netip.MustParseAddrPort("10.0.0.2:80")},
		Request: &http.Request{Method: method, Target: target, Version: "1.1", Header: lines(x.with)},
		Response: &http.Response{Version: "1.1", Status: status, Header: lines(x.header),
			Body: http.Body{Data: []byte(x.body), Len: int64(len(x.body)), Complete: true}},
	}
}

func said(b *Banner) string {
	if b == nil {
		return ""
	}
	var s []string
	if b.Product != "" {
		s = append(s, b.Product)
	}
	if b.Version != "" {
		s = append(s, b.Version)
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"hint", b.Hint}, {"open", b.Open}, {"asks", b.Asks}} {
		if f.set {
			s = append(s, f.name)
		}
	}
	return strings.Join(s, " ")
}

const (
	json    = "Content-Type: application/json"
	page    = "Content-Type: text/html; charset=utf-8"
	tornado = "Server: TornadoServer/6.4\nContent-Type: application/json"
)

// What the products answer.
var samples = []sample{
	{ask: "GET /api", header: tornado, body: `{"version": "2.14.0"}`, want: "jupyter 2.14.0"},
	{ask: "GET /user/ada/api/kernels", header: tornado, body: `[{"id": "a", "execution_state": "idle"}]`, want: "jupyter open"},
	{ask: "GET /api/kernels?token=abc", header: tornado, body: `[]`, want: "jupyter"},
	{ask: "GET /api/sessions", with: "Cookie: _xsrf=2", header: tornado, body: `[]`, want: "jupyter"},
	{ask: "POST /api/terminals", header: tornado, body: `[{"name": "1"}]`, want: "jupyter open"},
	{ask: "GET /api/terminals", status: 403, header: tornado, body: `{"message": "Forbidden", "reason": null}`, want: "hint asks"},
	{ask: "GET /api/kernelspecs", header: json, body: `{"default": "python3", "kernelspecs": {"python3": {}}}`, want: "jupyter open"},
	{ask: "GET /api/contents", header: json, body: `{"name": "", "path": "", "last_modified": "2026", "created": "2026", "content": null, "format": null, "mimetype": null, "size": null, "writable": true}`, want: "jupyter open"},
	{ask: "GET /tree", status: 302, header: "Server: TornadoServer/6.4\nLocation: /login?next=%2Ftree", want: "jupyter asks"},
	{ask: "GET /lab?", status: 302, header: "Server: TornadoServer/6.4\nLocation: /login?next=%2Flab", want: "jupyter asks"},
	{ask: "GET /lab", header: page, body: `<html><title>Jupyter Notebook</title><script id="jupyter-config-data">{}</script>`, want: "jupyter open"},
	{ask: "GET /lab", header: page, body: `<!doctype html><title>JupyterLab</title>`, want: "jupyter open"},
	{ask: "GET /login?next=%2F", header: page, body: `<title>Jupyter Server</title>`, want: "jupyter"},
	{ask: "GET /hub/login", header: "X-JupyterHub-Version: 4.1.5\n" + page, body: `<title>x`, want: "jupyterhub 4.1.5"},

	{ask: "POST /ajax-api/2.0/mlflow/experiments/search", header: json, body: `{"experiments": []}`, want: "mlflow open"},
	{ask: "GET /", header: page, body: `<title>MLflow</title>`, want: "mlflow open"},
	{ask: "GET /version", header: page, body: "2.9.2", want: "mlflow 2.9.2 hint open"},
	{ask: "GET /", header: page, body: `<title>Kubeflow Central Dashboard</title>`, want: "kubeflow open"},
	{ask: "GET /pipeline/", header: page, body: `<title>Kubeflow Pipelines</title>`, want: "kubeflow open"},
	{ask: "GET /pipeline/apis/v1beta1/healthz", header: json, body: `{"apiServerCommitHash":"x","apiServerTagName":"1.8.5","apiServerReady":true}`, want: "kubeflow 1.8.5"},
	{ask: "GET /apis/v2beta1/healthz", header: json, body: `{"apiServerTagName":"2.0.5","apiServerReady":true}`, want: "kubeflow 2.0.5"},
	{ask: "GET /api/v1/version", header: json, body: "{\n  \"git_version\": \".release:2.7.3\",\n  \"version\": \"2.7.3\"\n}", want: "airflow 2.7.3 open"},
	{ask: "GET /api/v2/version", header: json, body: `{"version":"3.0.1","git_version":null}`, want: "airflow 3.0.1"},
	{ask: "GET /api/v1/health", header: json, body: `{"metadatabase": {"status": "healthy"}, "scheduler": {"latest_scheduler_heartbeat": "x"}}`, want: "airflow"},
	{ask: "GET /health", header: json, body: `{"metadatabase": {"status": "healthy"}, "scheduler": {"latest_scheduler_heartbeat": "x"}}`, want: "airflow"},
	{ask: "GET /api/v1/dags", header: json, body: `{"dags": [], "total_entries": 0}`, want: "airflow open"},
	{ask: "GET /api/experimental/test", header: json, body: `{"status":"OK"}`, want: "airflow open"},
	{ask: "GET /home", header: page, body: `<title>Airflow - DAGs</title>`, want: "airflow open"},
	{ask: "GET /login/", header: page, body: `<title>Sign In - Airflow</title>`, want: "airflow"},

	{ask: "GET /v2", header: json, body: `{"name":"triton","version":"2.34.0","extensions":["classification"]}`, want: "triton 2.34.0 open"},
	{ask: "GET /api-description", header: json, body: `{"openapi":"3.0.1","info":{"title":"TorchServe APIs","version":"0.8.1"}}`, want: "torchserve 0.8.1"},
	{ask: "GET /models", header: json, body: `{"models": [{"modelName": "a", "modelUrl": "a.mar"}]}`, want: "torchserve open"},
	{ask: "GET /", header: "Content-Type: text/plain; charset=utf-8", body: `Ollama is running`, want: "ollama open"},
	{ask: "GET /api/tags", header: json, body: `{"models":[{"name":"llama3","modified_at":"x","digest":"a"}]}`, want: "ollama open"},
	{ask: "GET /api/ps", header: json, body: `{"models":[{"name":"llama3","size_vram":1}]}`, want: "ollama open"},
	{ask: "POST /api/generate", header: "Content-Type: application/x-ndjson", body: `{"model":"llama3","created_at":"x","response":"Hi","done":false}`, want: "ollama open"},
	{ask: "POST /api/chat", header: "Content-Type: application/x-ndjson", body: `{"model":"llama3","created_at":"x","message":{"role":"assistant"},"done":false}`, want: "ollama open"},
	{ask: "GET /api/version", header: json, body: `{"version":"0.1.33"}`, want: "ollama 0.1.33 hint open"},
	{ask: "GET /v1/models", header: json, body: `{"object":"list","data":[{"id":"m","object":"model","owned_by":"vllm"}]}`, want: "vllm open"},
	{ask: "GET /v1/models", with: "Authorization: Bearer sk-x", header: json, body: `{"object":"list","data":[{"id":"m","object":"model","owned_by":"sglang"}]}`, want: "sglang"},
	{ask: "GET /get_server_info", header: json, body: `{"disable_radix_cache":false,"version":"0.4.1"}`, want: "sglang 0.4.1 open"},
	{ask: "GET /props", header: "Server: llama.cpp", body: `{}`, want: "llama.cpp open"},
	{ask: "GET /info", header: json, body: `{"model_id":"m","max_concurrent_requests":128,"version":"2.0.1"}`, want: "tgi 2.0.1 open"},
	{ask: "GET /v1/models", header: json, body: `{"object": "list", "data": [{"id": "m", "owned_by": "library"}]}`, want: "openai-compatible open"},
	{ask: "POST /v1/chat/completions", header: json, body: `{"id":"chatcmpl-1","object":"chat.completion","choices":[]}`, want: "openai-compatible open"},
	{ask: "POST /v1/completions", header: json, body: `{"id":"cmpl-1","object":"text_completion","choices":[]}`, want: "openai-compatible open"},
	{ask: "GET /v1/models", status: 401, header: json, body: `{"error":"Unauthorized"}`, want: "hint asks"},
	{ask: "GET /version", header: json, body: `{"version":"0.6.1"}`, want: "vllm 0.6.1 hint open"},
	{ask: "POST /classify", header: "Server: BentoML Service/iris\n" + json, body: `1`, want: "bentoml"},
	{ask: "POST /classify", header: "X-BentoML-Request-ID: 12\n" + json, body: `1`, want: "bentoml open"},
	{ask: "GET /", header: page, body: `<title>BentoML Prediction Service</title>`, want: "bentoml open"},
	{ask: "GET /", header: page, body: `<script>window.gradio_config = {"version":"4.19.2","mode":"blocks"};</script>`, want: "gradio 4.19.2 open"},
	{ask: "GET /", header: page, body: `<body><gradio-app></gradio-app>`, want: "gradio open"},
	{ask: "GET /config", header: json, body: `{"version":"3.50.2","mode":"blocks","components":[],"dependencies":[]}`, want: "gradio 3.50.2 open"},
	{ask: "GET /3/About", header: json, body: `{"__meta":{"schema_name":"AboutV3"},"entries":[{"name":"Build project version","value":"3.32.0.1"}]}`, want: "h2o 3.32.0.1 open"},
	{ask: "GET /3/Cloud", header: json, body: `{"__meta":{"schema_name":"CloudV3"},"version":"3.32.0.1","cloud_name":"a"}`, want: "h2o 3.32.0.1 open"},
	{ask: "GET /flow/index.html", header: page, body: `<title>H2O Flow</title>`, want: "h2o open"},
	{ask: "GET /system_stats", header: json, body: `{"system": {"os": "posix", "comfyui_version": "0.3.10"}}`, want: "comfyui 0.3.10 open"},

	{ask: "GET /api/v1/version", header: json, body: `{"version":"1.2.0","main_version":"1.2.0","package":"Langflow"}`, want: "langflow 1.2.0"},
	{ask: "POST /api/v1/validate/code", header: json, body: `{"imports":{"errors":[]},"function":{"errors":[]}}`, want: "langflow open"},
	{ask: "GET /flows", header: page, body: `<title>Langflow</title>`, want: "langflow"},
	{ask: "GET /", header: page, body: `<title>AnythingLLM | Your personal LLM</title>`, want: "anythingllm"},
	{ask: "GET /api/config", header: json, body: `{"status":true,"name":"Open WebUI","version":"0.3.8"}`, want: "open-webui 0.3.8"},
	{ask: "GET /", header: json, body: `{"title":"qdrant - vector search engine","version":"1.7.4"}`, want: "qdrant 1.7.4 open"},
	{ask: "GET /api/v1/heartbeat", header: json, body: `{"nanosecond heartbeat":1}`, want: "chroma"},
	{ask: "GET /", header: page, body: `<title>TensorBoard</title>`, want: "tensorboard open"},

	{ask: "POST /v1/submissions/create", header: json, body: `{"action" : "CreateSubmissionResponse","serverSparkVersion" : "3.3.0"}`, want: "spark 3.3.0 open"},
	{ask: "GET /v1/submissions/status/driver-1", header: json, body: `{"action" : "SubmissionStatusResponse","serverSparkVersion" : "3.3.0"}`, want: "spark 3.3.0 open"},
	{ask: "GET /api/v1/version", header: json, body: "{\n  \"spark\" : \"3.5.0\"\n}", want: "spark 3.5.0 open"},
	{ask: "GET /", header: page, body: `<title>Spark Master at spark://10.0.0.2:7077</title>`, want: "spark open"},
	{ask: "GET /", header: page, body: `<title>Spark Worker at 10.0.0.3:35000</title>`, want: "spark open"},
	{ask: "GET /ws/v1/cluster/info", header: json, body: `{"clusterInfo":{"id":1,"resourceManagerVersion":"3.3.4"}}`, want: "yarn 3.3.4 open"},
	{ask: "GET /ws/v1/cluster", header: json, body: `{"clusterInfo":{"id":1,"resourceManagerVersion":"3.3.4"}}`, want: "yarn 3.3.4 open"},
	{ask: "POST /ws/v1/cluster/apps/new-application", header: json, body: `{"application-id":"application_1","maximum-resource-capability":{}}`, want: "yarn open"},
	{ask: "GET /ws/v1/cluster/apps", header: json, body: `{"apps":{"app":[{"amContainerLogs":"x"}]}}`, want: "yarn open"},
	{ask: "GET /_ping", header: "Server: Docker/24.0.7 (linux)\nApi-Version: 1.43", body: "OK", want: "docker 24.0.7 open"},
	{ask: "GET /version", header: json, body: `{"Version":"20.10.7","ApiVersion":"1.41","MinAPIVersion":"1.12","KernelVersion":"5.4"}`, want: "docker 20.10.7 open"},
	{ask: "GET /v1.41/containers/json", header: json, body: `[{"Id":"a","ImageID":"b","HostConfig":{}}]`, want: "docker open"},
	{ask: "GET /pods", header: json, body: `{"kind":"PodList","apiVersion":"v1","items":[]}`, want: "kubelet open"},
	{ask: "GET /status", header: json, body: "{\n \"value\": {\n \"ready\": true,\n \"message\": \"Selenium Grid ready.\",\n \"nodes\": [{\"version\": \"4.8.0 (revision 267030adea)\"}]}}", want: "selenium 4.8.0 open"},
	{ask: "GET /wd/hub/status", header: json, body: `{"value": {"ready": true, "message": "Selenium Grid ready."}}`, want: "selenium open"},
	{ask: "GET /ui", header: page, body: `<title>Selenium Grid</title>`, want: "selenium open"},
	{ask: "GET /status", header: page, body: `<title>Dask: Status</title>`, want: "dask open"},
}

// What others answer where these do.
var nearMisses = []sample{
	{ask: "GET /api", header: "Server: nginx\n" + json, body: `{"version": "2.14.0"}`},
	{ask: "GET /api/kernels", header: "Server: nginx\n" + json, body: `["6.1.0", "6.2.0"]`},
	{ask: "GET /api/contents", header: json, body: `{"contents": [{"name": "a", "last_modified": "x"}]}`},
	{ask: "GET /lab", status: 302, header: "Server: nginx\nLocation: /login?next=%2Flab"},
	{ask: "GET /", header: page, body: `<title>Jupyter notebooks for astronomers</title>`},
	{ask: "GET /api/2.0/clusters/list", header: json, body: `{"clusters": []}`},
	{ask: "GET /", header: page, body: `<title>MLflow tutorial - blog</title>`},
	{ask: "GET /v2", header: json, body: `{"name":"mlserver","version":"1.3.5","extensions":[]}`},
	{ask: "GET /v2/", header: "Docker-Distribution-Api-Version: registry/2.0\n" + json, body: `{}`},
	{ask: "GET /models", header: json, body: `{"models": ["a", "b"]}`},
	{ask: "GET /api-description", header: json, body: `{"info":{"title":"Billing APIs","version":"1.0"}}`},
	{ask: "GET /api/tags", header: json, body: `{"tags":[{"name":"news"}]}`},
	{ask: "GET /", header: page, body: `<title>Ollama</title><p>How to see that Ollama is up`},
	{ask: "GET /api/version", header: json, body: `{"version": "4", "ray_version": "2.9.3", "ray_commit": "x"}`},
	{ask: "GET /v1/models", header: json, body: `{"cars": ["a"], "total": 1}`},
	{ask: "POST /v1/chat/completions", status: 500, header: json, body: `{"object":"chat.completion"}`},
	{ask: "GET /info", header: json, body: `{"app":"shop","version":"2.0.1"}`},
	{ask: "GET /", header: page, body: `<title>Gradio alternatives</title>`},
	{ask: "GET /config", header: json, body: `{"version":"3","mode":"dark"}`},
	{ask: "GET /3/About", header: json, body: `{"about": 3}`},
	{ask: "GET /api/v1/version", header: json, body: `{"version":"1.2.0"}`},
	{ask: "GET /api/v1/dags", header: json, body: `{"dags": []}`},
	{ask: "GET /health", header: json, body: `{"status":"UP","db":{"status":"UP"}}`},
	{ask: "GET /api/config", header: json, body: `{"name":"Shop","version":"1"}`},
	{ask: "POST /v1/submissions/create", header: json, body: `{"id": 7}`},
	{ask: "GET /ws/v1/cluster/info", header: json, body: `{"cluster":"a"}`},
	{ask: "GET /version", header: json, body: `{"major":"1","minor":"27","gitVersion":"v1.27.3"}`},
	{ask: "GET /api/v1/pods", header: json, body: `{"kind":"PodList","apiVersion":"v1","items":[]}`},
	{ask: "GET /status", header: json, body: `{"value":{"ready":true,"message":"ChromeDriver ready for new sessions."}}`},
	{ask: "GET /status", header: page, body: `<title>Status</title>`},
	{ask: "GET /a/b/c/d/e/f/api/tags", header: json, body: `{"models":[{"modified_at":"x","digest":"a"}]}`},
	{ask: "GET /", header: json, body: `{"title":"search engine","version":"1.7.4"}`},
	{ask: "GET /", header: "Server: gunicorn\n" + page, body: `BentoML Prediction Service`},
}

func TestBanners(t *testing.T) {
	for _, x := range append(samples, nearMisses...) {
		if got := said(Interpret(x.transaction())); got != x.want {
			t.Errorf("%s %q: got %q, want %q", x.ask, x.body, got, x.want)
		}
	}
}

// Each fingerprint has a sample that it alone explains, and none fits when one of its words is missing.
func TestEveryFingerprintHasItsSampleAndNeedsAllItsWords(t *testing.T) {
	for i := range prints {
		f := &prints[i]
		name := fmt.Sprintf("%s %s %s %q", f.product, f.path, f.header, f.words)
		if f.source == "" || f.path == "" && f.header == "" && len(f.words) == 0 {
			t.Errorf("%s: no source, or fits everything", name)
		}
		fits := 0
		for _, x := range samples {
			tx := x.transaction()
			path := pathOf(tx.Request.Target)
			inPath := f.path == "" || f.at(path) || strings.HasSuffix(f.path, "/") && len(f.path) > 1 && strings.Contains(path, f.path)
			if !inPath || x.status == 401 || x.status == 403 || f.match(tx, path) == nil || !strings.HasPrefix(x.want, f.product) {
				continue
			}
			fits++
			for _, w := range f.words {
				y := x
				y.body = strings.ReplaceAll(x.body, w, "")
				if f.match(y.transaction(), path) != nil {
					t.Errorf("%s: fits without %q: %q", name, w, y.body)
				}
			}
			if f.header != "" {
				y := x
				y.header = strings.ReplaceAll(x.header, f.value, "Other/")
				if f.value != "" && f.match(y.transaction(), path) != nil {
					t.Errorf("%s: fits with another header", name)
				}
			}
		}
		if fits == 0 {
			t.Errorf("%s: no sample", name)
		}
	}
}

// What Interpret needs of a body, KeepBody asks for; of most answers it asks nothing.
func TestBodiesAreAskedFor(t *testing.T) {
	for _, x := range samples {
		tx := x.transaction()
		if n := KeepBody(tx, true); n == 0 && x.body != "" && strings.HasSuffix(x.want, "open") && !strings.Contains(x.header, "Server: ") && !strings.Contains(x.header, "X-") {
			t.Errorf("%s: its body is not asked for", x.ask)
		}
		if n := KeepBody(tx, false); n != 0 {
			t.Errorf("%s: %d bytes of the request", x.ask, n)
		}
	}
	for _, x := range []sample{{ask: "GET /images/logo.png", header: "Content-Type: image/png"}, {ask: "GET /news/today.html", header: page}, {ask: "DELETE /version"}} {
		if n := KeepBody(x.transaction(), true); n != 0 {
			t.Errorf("%s: %d bytes asked for", x.ask, n)
		}
	}
}

func TestOddTransactions(t *testing.T) {
	for _, tx := range []*http.Transaction{nil, {}, {Request: &http.Request{}}, {Response: &http.Response{Status: 200}},
		{Request: &http.Request{Method: "GET", Target: ""}, Response: &http.Response{Status: 200}},
		{Request: &http.Request{Method: "GET", Target: "http://"}, Response: &http.Response{Status: 200}},
		{Request: &http.Request{Method: "GET", Target: "http://h?x"}, Response: &http.Response{Status: 200}}} {
		if b := Interpret(tx); b != nil {
			t.Errorf("%+v", b)
		}
		KeepBody(tx, true)
	}
	long := samples[31]
	long.body += strings.Repeat(" ", 1<<20)
	if b := Interpret(long.transaction()); b == nil {
		t.Error("a long answer is not read by its beginning")
	}
}

// Nearly all transactions are nobody's of the table, and cost nothing but a look.
func TestOthersAllocateNothing(t *testing.T) {
	for _, x := range []sample{
		{ask: "GET /images/logo.png", header: "Server: nginx\nContent-Type: image/png\nX-Cache: HIT"},
		{ask: "GET /", header: page, body: "<html><title>Welcome</title>" + strings.Repeat("x", 4000)},
		{ask: "GET /api/version", header: json, body: `{"build":"7"}`},
	} {
		tx := x.transaction()
		if n := testing.AllocsPerRun(100, func() { KeepBody(tx, true); Interpret(tx) }); n > 0 {
			t.Errorf("%s: %v allocations", x.ask, n)
		}
	}
}

func FuzzInterpret(f *testing.F) {
	for _, x := range samples {
		f.Add(x.ask, x.header, x.body, x.status)
	}
	f.Fuzz(func(t *testing.T, ask, header, body string, status int) {
		b := Interpret(sample{ask: ask, header: header, body: body, status: status}.transaction())
		if b != nil && (b.Product == "" && !b.Asks || len(b.Version) > maxVersion || len(b.Path) > 256) {
			t.Errorf("%+v", b)
		}
	})
}
