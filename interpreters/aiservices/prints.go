package aiservices

import "strings"

// fingerprint is what one answer of a product looks like. All that is set must fit.
type fingerprint struct {
	product string
	path    string   // of the request; "" is any page, one that ends in / is somewhere in the path
	status  int      // 200 if not set
	header  string   // of the answer; a print without a path fits by it alone
	value   string   // what it begins with
	words   []string // in the beginning of the body, all of them
	never   []string // and none of these
	version string   // key whose value is the version, "header NAME", or "body"
	hint    bool     // fits others, too: holds only for a server that is known
	exact   bool     // without a prefix
	free    bool     // is answered to everybody, credentials or not
	asks    bool     // is how it asks for credentials
	source  string   // where the shape was read

	need, bar [][]byte // words and never, as they are compared
	titled    bool     // the first word stands in a title
}

const titleTag = "<title>"

func title(s string) []string { return []string{titleTag + s} }

// prints is the table. The order within a path decides between products of which one is the other and more.
var prints = compile([]fingerprint{
	// Notebooks.
	{product: "jupyter", path: "/api", header: "Server", value: "TornadoServer/", words: []string{`{"version": "`}, version: `"version"`, free: true,
		source: "jupyter_server services/api"},
	{product: "jupyter", path: "/api/kernels", header: "Server", value: "TornadoServer/", words: []string{`[`}, never: []string{`<`}, source: "jupyter_server services/kernels"},
	{product: "jupyter", path: "/api/sessions", header: "Server", value: "TornadoServer/", words: []string{`[`}, never: []string{`<`}, source: "jupyter_server services/sessions"},
	{product: "jupyter", path: "/api/terminals", header: "Server", value: "TornadoServer/", words: []string{`[`}, never: []string{`<`}, source: "jupyter_server_terminals"},
	{product: "jupyter", path: "/api/kernelspecs", words: []string{`"default"`, `"kernelspecs"`}, source: "jupyter_server services/kernelspecs"},
	{product: "jupyter", path: "/api/contents", words: []string{`"last_modified"`, `"mimetype"`, `"writable"`}, source: "jupyter_server services/contents"},
	{product: "jupyter", path: "/tree", status: 302, header: "Server", value: "TornadoServer/", asks: true, source: "jupyter_server auth/login"},
	{product: "jupyter", path: "/lab", status: 302, header: "Server", value: "TornadoServer/", asks: true, source: "jupyter_server auth/login"},
	{product: "jupyter", words: []string{"<title>Jupyter", `id="jupyter-config-data"`}, source: "jupyterlab templates"},
	{product: "jupyter", words: title("JupyterLab</title>"), source: "jupyterlab templates"},
	{product: "jupyter", words: title("Jupyter Server</title>"), free: true, source: "jupyter_server templates/login.html"},
	{product: "jupyterhub", header: "X-JupyterHub-Version", version: "header X-JupyterHub-Version", free: true, source: "jupyterhub handlers/base"},

	// Trackers and pipelines.
	{product: "mlflow", path: "/2.0/mlflow/", header: "Content-Type", value: "application/json", words: []string{`{`},
		never: []string{`"organization_id"`}, source: "ai-exploits mlflow; mlflow REST API"},
	{product: "mlflow", words: title("MLflow</title>"), source: "mlflow server/js/public/index.html"},
	{product: "mlflow", path: "/version", words: []string{"."}, never: []string{"{", "<", `"`}, version: "body", exact: true, hint: true, source: "mlflow server/__init__"},
	{product: "kubeflow", words: title("Kubeflow Central Dashboard"), source: "kubeflow centraldashboard"},
	{product: "kubeflow", words: title("Kubeflow Pipelines"), source: "kubeflow pipelines frontend"},
	{product: "kubeflow", path: "/apis/v1beta1/", words: []string{`"apiServerCommitHash"`}, version: `"apiServerTagName"`, free: true, source: "kubeflow pipelines healthz"},
	{product: "kubeflow", path: "/apis/v2beta1/", words: []string{`"apiServerReady"`}, version: `"apiServerTagName"`, free: true, source: "kubeflow pipelines healthz"},
	{product: "airflow", path: "/api/v1/version", words: []string{`"git_version"`, `"version"`}, version: `"version"`, source: "airflow api_connexion version"},
	{product: "airflow", path: "/api/v2/version", words: []string{`"git_version"`, `"version"`}, version: `"version"`, free: true, source: "airflow api_fastapi version"},
	{product: "airflow", path: "/api/v1/health", words: []string{`"metadatabase"`, `"scheduler"`}, free: true, source: "airflow api_connexion health"},
	{product: "airflow", path: "/health", words: []string{`"metadatabase"`, `"latest_scheduler_heartbeat"`}, free: true, source: "airflow www health"},
	{product: "airflow", path: "/api/v1/dags", words: []string{`"dags"`, `"total_entries"`}, source: "airflow api_connexion dags"},
	{product: "airflow", path: "/api/experimental/test", words: []string{`"status"`, `"OK"`}, source: "Metasploit apache_airflow_dag_rce"},
	{product: "airflow", words: title("Airflow - DAGs"), source: "airflow www templates"},
	{product: "airflow", words: title("Sign In - Airflow"), free: true, source: "airflow www templates"},

	// Model servers.
	{product: "triton", path: "/v2", words: []string{`"name":"triton"`, `"extensions"`}, version: `"version"`, source: "triton docs, server metadata"},
	{product: "torchserve", path: "/api-description", words: []string{`"TorchServe APIs"`}, version: `"version"`, free: true, source: "Metasploit torchserver_cve_2023_43654"},
	{product: "torchserve", path: "/models", words: []string{`"models"`, `"modelName"`, `"modelUrl"`}, source: "torchserve management API"},
	{product: "ollama", path: "/", words: []string{"Ollama is running"}, source: "ollama server/routes"},
	{product: "ollama", path: "/api/tags", words: []string{`"models"`, `"digest"`, `"modified_at"`}, source: "ollama docs/api"},
	{product: "ollama", path: "/api/ps", words: []string{`"models"`, `"size_vram"`}, source: "ollama docs/api"},
	{product: "ollama", path: "/api/generate", words: []string{`"model"`, `"created_at"`, `"response"`, `"done"`}, source: "ollama docs/api"},
	{product: "ollama", path: "/api/chat", words: []string{`"model"`, `"created_at"`, `"message"`, `"done"`}, source: "ollama docs/api"},
	{product: "ollama", path: "/api/version", words: []string{`{"version":"`}, never: []string{"ray_version"}, version: `"version"`, hint: true, source: "ollama server/routes"},
	{product: "vllm", path: "/v1/models", words: []string{`"object":"list"`, `"owned_by":"vllm"`}, source: "vllm entrypoints/openai"},
	{product: "sglang", path: "/v1/models", words: []string{`"object":"list"`, `"owned_by":"sglang"`}, source: "sglang entrypoints/http_server"},
	{product: "sglang", path: "/get_server_info", words: []string{`"disable_radix_cache"`}, version: `"version"`, source: "sglang entrypoints/http_server"},
	{product: "llama.cpp", header: "Server", value: "llama.cpp", source: "llama.cpp tools/server"},
	{product: "tgi", path: "/info", words: []string{`"model_id"`, `"max_concurrent_requests"`, `"version"`}, version: `"version"`, source: "text-generation-inference router"},
	{product: "openai-compatible", path: "/v1/models", words: []string{`"object":`, `"list"`, `"data":`, `"owned_by"`}, source: "OpenAI API reference"},
	{product: "openai-compatible", path: "/v1/chat/completions", words: []string{`"object":`, `"chat.completion`}, source: "OpenAI API reference"},
	{product: "openai-compatible", path: "/v1/completions", words: []string{`"object":`, `"text_completion"`}, source: "OpenAI API reference"},
	{product: "vllm", path: "/version", words: []string{`{"version":"`}, version: `"version"`, exact: true, hint: true, source: "vllm entrypoints/openai"},
	{product: "bentoml", header: "Server", value: "BentoML Service/", free: true, source: "BentoML _bentoml_impl/server/app.py"},
	{product: "bentoml", header: "X-BentoML-Request-ID", source: "BentoML _bentoml_impl/server/app.py"},
	{product: "bentoml", words: title("BentoML Prediction Service"), source: "nuclei bentoml-detect"},
	{product: "gradio", words: []string{"window.gradio_config"}, version: `"version":`, source: "gradio templates"},
	{product: "gradio", words: []string{"<gradio-app"}, source: "nuclei gradio-detect"},
	{product: "gradio", path: "/config", words: []string{`"version"`, `"mode"`, `"components"`, `"dependencies"`}, version: `"version"`, source: "gradio routes"},
	{product: "h2o", path: "/3/About", words: []string{`"AboutV3"`}, version: `"Build project version","value":`, source: "H2O REST API"},
	{product: "h2o", path: "/3/Cloud", words: []string{`"CloudV3"`, `"cloud_name"`}, version: `"version"`, source: "H2O REST API"},
	{product: "h2o", words: title("H2O Flow"), source: "h2o-flow index.html"},
	{product: "comfyui", path: "/system_stats", words: []string{`"system"`, `"comfyui_version"`}, version: `"comfyui_version"`, source: "ComfyUI server.py"},

	// Applications and stores around models.
	{product: "langflow", path: "/api/v1/version", words: []string{`"package":"Langflow"`}, version: `"version"`, free: true, source: "langflow api/v1/endpoints"},
	{product: "langflow", path: "/api/v1/validate/code", words: []string{`"imports"`, `"function"`, `"errors"`}, source: "nuclei CVE-2025-3248"},
	{product: "langflow", words: title("Langflow</title>"), free: true, source: "langflow frontend"},
	{product: "anythingllm", words: title("AnythingLLM"), free: true, source: "nuclei anythingllm-detect"},
	{product: "open-webui", path: "/api/config", words: []string{`"name":"Open WebUI`, `"version"`}, version: `"version"`, free: true, source: "open-webui main.py"},
	{product: "qdrant", path: "/", words: []string{`"title":"qdrant - vector search engine"`}, version: `"version"`, source: "qdrant REST API"},
	{product: "chroma", path: "/heartbeat", words: []string{`"nanosecond heartbeat"`}, free: true, source: "chroma server/fastapi"},
	{product: "tensorboard", words: title("TensorBoard</title>"), source: "tensorboard webapp"},

	// Schedulers and machines that run what they are given.
	{product: "spark", path: "/v1/submissions/create", words: []string{`"serverSparkVersion"`}, version: `"serverSparkVersion"`, source: "Metasploit spark_unauth_rce"},
	{product: "spark", path: "/v1/submissions/status/", words: []string{`"serverSparkVersion"`}, version: `"serverSparkVersion"`, source: "spark RestSubmissionServer"},
	{product: "spark", path: "/api/v1/version", words: []string{`"spark"`}, version: `"spark"`, source: "spark monitoring API"},
	{product: "spark", words: title("Spark Master at spark://"), source: "spark MasterPage"},
	{product: "spark", words: title("Spark Worker at "), source: "spark WorkerPage"},
	{product: "yarn", path: "/ws/v1/cluster/info", words: []string{`"clusterInfo"`, `"resourceManagerVersion"`}, version: `"resourceManagerVersion"`, source: "hadoop ResourceManager REST"},
	{product: "yarn", path: "/ws/v1/cluster", words: []string{`"clusterInfo"`, `"resourceManagerVersion"`}, version: `"resourceManagerVersion"`, source: "hadoop ResourceManager REST"},
	{product: "yarn", path: "/ws/v1/cluster/apps/new-application", words: []string{`"application-id"`, `"maximum-resource-capability"`}, source: "Metasploit hadoop_unauth_exec"},
	{product: "yarn", path: "/ws/v1/cluster/apps", words: []string{`"apps"`, `"amContainerLogs"`}, source: "hadoop ResourceManager REST"},
	{product: "docker", header: "Server", value: "Docker/", version: "header Server", source: "docker engine API"},
	{product: "docker", path: "/version", words: []string{`"ApiVersion"`, `"MinAPIVersion"`, `"KernelVersion"`}, version: `"Version"`, source: "docker engine API"},
	{product: "docker", path: "/containers/json", words: []string{`"ImageID"`, `"HostConfig"`}, source: "docker engine API"},
	{product: "kubelet", path: "/pods", words: []string{`"kind":"PodList"`}, exact: true, source: "Metasploit kubelet; kubelet server"},
	{product: "selenium", path: "/status", words: []string{`"ready"`, `Selenium Grid`}, version: `"version"`, source: "selenium grid status"},
	{product: "selenium", path: "/wd/hub/status", words: []string{`"ready"`, `Selenium Grid`}, version: `"version"`, source: "selenium grid status"},
	{product: "selenium", words: title("Selenium Grid"), source: "selenium grid UI"},
	{product: "dask", words: title("Dask: "), source: "distributed http templates"},
})

func compile(table []fingerprint) []fingerprint {
	for i := range table {
		x := &table[i]
		for _, w := range x.words {
			x.need = append(x.need, []byte(w))
		}
		x.titled = len(x.words) > 0 && strings.HasPrefix(x.words[0], titleTag)
		for _, w := range x.never {
			x.bar = append(x.bar, []byte(w))
		}
	}
	return table
}

// Where to look, by what is cheapest to compare.
var (
	byHeader, segmented, byPage = split()
	byLast                      = lasts()
	bySegment                   = segments()
)

// pages are the last segments of paths where a product shows itself to people.
var pages = map[string]bool{
	"": true, "index.html": true, "login": true, "lab": true, "tree": true, "home": true, "ui": true, "app": true, "flows": true,
	"status": true, "pipeline": true, "cluster": true,
}

func split() (headers, parts, page []int) {
	for i := range prints {
		switch x := &prints[i]; {
		case x.path == "" && len(x.words) == 0:
			headers = append(headers, i)
		case x.path == "":
			page = append(page, i)
		case len(x.path) > 1 && strings.HasSuffix(x.path, "/"):
			parts = append(parts, i)
		}
	}
	return headers, parts, page
}

func lasts() map[string][]int {
	m := map[string][]int{}
	for i := range prints {
		if x := &prints[i]; x.path == "/" || x.path != "" && !strings.HasSuffix(x.path, "/") {
			m[lastOf(x.path)] = append(m[lastOf(x.path)], i)
		}
	}
	return m
}

func segments() (s []string) {
	for _, i := range segmented {
		s = append(s, prints[i].path)
	}
	return s
}
