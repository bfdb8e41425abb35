package ray

import (
	"fmt"
	"strings"
	"testing"
)

// facts renders what an answer told of the cluster.
func facts(c *Call) string {
	if c == nil {
		return "not Ray"
	}
	var s []string
	for _, n := range c.Nodes {
		t := n.Addr.String()
		if n.Head {
			t += " head"
		}
		if n.Other {
			t += " worker"
		}
		for _, p := range n.Ports {
			t += fmt.Sprintf(" %s:%d", p.Role, p.Num)
		}
		s = append(s, t)
	}
	for _, x := range [...][2]string{{"python", c.Python}, {"auth", c.AuthMode}, {"cluster", c.ClusterID}, {"session", c.Session}} {
		if x[1] != "" {
			s = append(s, x[0]+" "+x[1])
		}
	}
	return strings.Join(s, "; ")
}

func TestAnswersTellTheCluster(t *testing.T) {
	const node = `{"ip": "10.20.0.%d", "hostname": "vm", "cmdline": ["ray", "}"], "raylet": {"nodeId": "fd%d", "isHeadNode": %v, "state": "%s",
		"rayletSocketName": "/tmp/ray/session_2026-11-23_16-35-51_313022_7988/sockets/raylet", "nodeManagerPort": 46281, "metricsExportPort": 0}}`
	two := `{"result": true, "data": {"summary": [` + fmt.Sprintf(node, 10, 1, true, "ALIVE") + ", " + fmt.Sprintf(node, 11, 2, false, "ALIVE") + ", " +
		fmt.Sprintf(node, 12, 3, false, "DEAD") + `], "nodeLogicalResources": {}}}`
	for _, x := range []struct {
		name, target, got, want string
	}{
		{"nodes, the dead one left out", "/nodes?view=summary", two,
			"10.20.0.10 head raylet:46281; 10.20.0.11 worker raylet:46281; python 3.11; session session_2026-11-23_16-35-51_313022_7988"},
		{"an answer that was cut", "/nodes?view=summary", two[:420], "10.20.0.10 head raylet:46281; 10.20.0.11 worker; python 3.11; session session_2026-11-23_16-35-51_313022_7988"},
		{"nodes of the state API", "/api/v0/nodes", `{"result": true, "data": {"result": {"total": 1, "num_after_truncation": 1, "result": [
			{"node_id": "ad", "node_ip": "10.20.0.11", "is_head_node": false, "state": "ALIVE"}]}}}`, "10.20.0.11 worker; python 3.11"},
		{"the agent of a job", "/api/jobs/", `[{"submission_id": "raysubmit_A", "driver_agent_http_address": null}, {"submission_id": "raysubmit_B",
			"driver_agent_http_address": "http://10.20.0.11:52365"}, {"submission_id": "raysubmit_C", "driver_agent_http_address": "http://10.20.0.11:52365"}]`,
			"10.20.0.11 job_agent:52365; python 3.11"},
		{"Serve's proxies", "/api/serve/applications/", `{"proxy_location": "EveryNode", "http_options": {"host": "0.0.0.0", "port": 8000},
			"proxies": {"fd": {"node_ip": "10.20.0.10", "status": "HEALTHY"}}}`, "10.20.0.10 serve:8000; python 3.11"},
		{"how it authenticates", "/api/authentication_mode", `{"authentication_mode": "token"}`, "python 3.11; auth token"},
		{"Python's whole version", "/api/v0/cluster_metadata", `{"result": true, "data": {"rayVersion": "2.9.3", "pythonVersion": "3.11.7", "rayInitCluster": false}}`, "python 3.11.7"},
		{"its id", "/cluster_id", `{"result": true, "data": {"cluster_id": "fa85"}}`, "python 3.11; cluster fa85"},
		{"numbers where names belong", "/nodes?view=summary", `{"result": true, "data": {"summary": [{"ip": 7, "raylet": [1]}, 3, {"ip": "no", "raylet": {"nodeManagerPort": 99999999}}]}}`, "python 3.11"},
	} {
		c := Interpret(tx{method: "GET", target: x.target, status: 200, answer: aiohttp + json, got: x.got, port: 8265}.build())
		if got := facts(c); got != x.want {
			t.Errorf("%s:\n got %s\nwant %s", x.name, got, x.want)
		}
	}
	// Somebody else's service may answer with the same words and is not believed.
	c := Interpret(tx{method: "GET", target: "/nodes?view=summary", status: 200, answer: json, got: `{"data": {"summary": [{"ip": "10.0.0.9"}]}}`}.build())
	if c != nil && len(c.Nodes) > 0 {
		t.Errorf("nodes of a stranger: %s", facts(c))
	}
}
