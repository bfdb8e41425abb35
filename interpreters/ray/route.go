package ray

import (
	"strings"

	"github.com/raytap/raytap/decoders/chars"
)

// Service is the part of Ray that a request is for.
type Service string

// Services.
const (
	Dashboard  Service = "dashboard"   // the head's HTTP server, port 8265 by default
	Agent      Service = "agent"       // the HTTP server of every node, 52365
	Serve      Service = "serve"       // the Serve proxy's own routes, 8000
	RuntimeEnv Service = "runtime_env" // the runtime env agent, for the raylet of its host only
	Metrics    Service = "metrics"     // Prometheus text
	KubeRayAPI Service = "kuberay"     // KubeRay's API server, 8888 and 31888 by default
	Kubernetes Service = "kubernetes"  // the Kubernetes API, for KubeRay's resources
)

// Class says what a request does.
type Class string

// Classes.
const (
	Info    Class = "info"    // versions, health, pages
	Read    Class = "read"    // state, logs, jobs: may carry credentials
	Write   Class = "write"   // stores something
	Exec    Class = "exec"    // runs code
	Control Class = "control" // stops, deletes, kills, scales, profiles
)

// How much must speak for Ray besides the path.
const (
	alone  = iota // nobody else has this path
	likely        // one sign: Ray's server, Ray's port, a word of Ray's in the answer
	common        // two of them, or a decisive one
)

type route struct {
	method  string
	path    string // {x} is one segment, {x...} the rest
	class   Class
	service Service
	need    uint8
	free    bool // answered without a token even in token mode: says nothing about authentication
}

// indexed is a route with its second segment, "" if it has none or takes any. Most of those with the same first one are
// told apart by that.
type indexed struct {
	route
	second string
}

// routes are the routes of Ray 1.0 to 2.60 by their first segment. The order within a list decides between equals.
var routes = bySegments(map[string][]route{
	"": {
		{"GET", "/", Info, Dashboard, common, true},
	},
	"favicon.ico": {
		{"GET", "/favicon.ico", Info, Dashboard, common, true},
	},
	"static": {
		{"GET", "/static/{path...}", Info, Dashboard, common, true},
	},
	"api": {
		{"GET", "/api/version", Info, Dashboard, likely, false},
		{"POST", "/api/jobs/", Exec, Dashboard, likely, false},
		{"GET", "/api/jobs/", Read, Dashboard, likely, false},
		{"GET", "/api/jobs/{id}", Read, Dashboard, likely, false},
		{"DELETE", "/api/jobs/{id}", Control, Dashboard, likely, false},
		{"GET", "/api/jobs/{id}/logs", Read, Dashboard, likely, false},
		{"GET", "/api/jobs/{id}/logs/tail", Read, Dashboard, likely, false},
		{"POST", "/api/jobs/{id}/stop", Control, Dashboard, likely, false},
		{"POST", "/api/job_agent/jobs/", Exec, Agent, alone, false},
		{"DELETE", "/api/job_agent/jobs/{id}", Control, Agent, alone, false},
		{"GET", "/api/job_agent/jobs/{id}/logs", Read, Agent, alone, false},
		{"GET", "/api/job_agent/jobs/{id}/logs/tail", Read, Agent, alone, false},
		{"POST", "/api/job_agent/jobs/{id}/stop", Control, Agent, alone, false},
		{"GET", "/api/packages/{protocol}/{package}", Info, Dashboard, likely, false},
		{"PUT", "/api/packages/{protocol}/{package}", Write, Dashboard, likely, false},
		{"GET", "/api/serve/applications/", Read, Dashboard, alone, false},
		{"PUT", "/api/serve/applications/", Exec, Dashboard, alone, false},
		{"DELETE", "/api/serve/applications/", Control, Dashboard, alone, false},
		{"GET", "/api/serve/deployments/", Read, Agent, alone, false},
		{"PUT", "/api/serve/deployments/", Exec, Agent, alone, false},
		{"DELETE", "/api/serve/deployments/", Control, Agent, alone, false},
		{"GET", "/api/serve/deployments/status", Read, Agent, alone, false},
		{"GET", "/api/serve_head/applications/", Read, Dashboard, alone, false},
		{"POST", "/api/v1/applications/{app}/deployments/{deployment}/scale", Control, Dashboard, likely, false},
		{"GET", "/api/ray/version", Info, Dashboard, alone, false},
		{"GET", "/api/v0/actors/summarize", Read, Dashboard, likely, false},
		{"GET", "/api/v0/tasks/summarize", Read, Dashboard, likely, false},
		{"GET", "/api/v0/objects/summarize", Read, Dashboard, likely, false},
		{"GET", "/api/v0/tasks/timeline", Read, Dashboard, likely, false},
		{"GET", "/api/v0/actors", Read, Dashboard, likely, false},
		{"GET", "/api/v0/jobs", Read, Dashboard, likely, false},
		{"GET", "/api/v0/nodes", Read, Dashboard, likely, false},
		{"GET", "/api/v0/placement_groups", Read, Dashboard, likely, false},
		{"GET", "/api/v0/workers", Read, Dashboard, likely, false},
		{"GET", "/api/v0/tasks", Read, Dashboard, likely, false},
		{"GET", "/api/v0/objects", Read, Dashboard, likely, false},
		{"GET", "/api/v0/runtime_envs", Read, Dashboard, likely, false},
		{"GET", "/api/v0/cluster_events", Read, Dashboard, likely, false},
		{"GET", "/api/v0/platform_events", Read, Dashboard, likely, false},
		{"GET", "/api/v0/cluster_metadata", Info, Dashboard, likely, false},
		{"GET", "/api/v0/runtime_env_redaction", Info, Dashboard, alone, false},
		{"GET", "/api/v0/delay/{seconds}", Control, Dashboard, likely, false},
		{"GET", "/api/v0/logs", Read, Dashboard, likely, false},
		{"GET", "/api/v0/logs/{media}", Read, Dashboard, likely, false},
		{"GET", "/api/experimental/logs/list", Read, Dashboard, likely, false},
		{"GET", "/api/actors/kill", Control, Dashboard, alone, false},
		{"POST", "/api/authenticate", Info, Dashboard, likely, true},
		{"GET", "/api/authentication_mode", Info, Dashboard, alone, true},
		{"GET", "/api/cluster_status", Read, Dashboard, likely, false},
		{"GET", "/api/component_activities", Read, Dashboard, alone, false},
		{"GET", "/api/data/datasets/{id}", Read, Dashboard, likely, false},
		{"GET", "/api/train/runs", Read, Dashboard, likely, false},
		{"GET", "/api/train/v2/runs", Read, Dashboard, likely, false},
		{"GET", "/api/train/v2/runs/v1", Read, Dashboard, likely, false},
		{"GET", "/api/gcs_healthz", Info, Dashboard, alone, true},
		{"GET", "/api/healthz", Info, Dashboard, common, true},
		{"GET", "/api/local_raylet_healthz", Info, Agent, alone, true},
		{"GET", "/api/grafana_health", Info, Dashboard, likely, false},
		{"GET", "/api/prometheus_health", Info, Dashboard, likely, false},
		{"GET", "/api/prometheus/sd", Info, Dashboard, likely, false},
		{"GET", "/api/profiling_enabled", Info, Dashboard, likely, false},
		{"GET", "/api/launch_profiling", Control, Dashboard, likely, false},
		{"GET", "/api/progress", Read, Dashboard, common, false},
		{"GET", "/api/progress_by_task_name", Read, Dashboard, likely, false},
		{"GET", "/api/ray_config", Read, Dashboard, alone, false},
		{"GET", "/api/snapshot", Read, Dashboard, likely, false},
	},
	"nodes": {
		{"GET", "/nodes", Read, Dashboard, likely, false},
		{"GET", "/nodes/{id}", Read, Dashboard, common, false},
	},
	"logical": {
		{"GET", "/logical/actors", Read, Dashboard, alone, false},
		{"GET", "/logical/actors/{id}", Read, Dashboard, alone, false},
		{"GET", "/logical/actor_groups", Read, Dashboard, alone, false},
		{"GET", "/logical/kill_actor", Control, Dashboard, alone, false},
	},
	"worker": {
		{"GET", "/worker/cpu_profile", Control, Dashboard, alone, false},
		{"GET", "/worker/gpu_profile", Control, Dashboard, alone, false},
		{"GET", "/worker/traceback", Control, Dashboard, alone, false},
	},
	"task": {
		{"GET", "/task/cpu_profile", Control, Dashboard, alone, false},
		{"GET", "/task/traceback", Control, Dashboard, alone, false},
	},
	"memory_profile": {
		{"GET", "/memory_profile", Control, Dashboard, likely, false},
	},
	"memory": {
		{"GET", "/memory/memory_table", Read, Dashboard, likely, false},
		{"GET", "/memory/set_fetch", Read, Dashboard, likely, false},
	},
	"log_proxy": {
		{"GET", "/log_proxy", Read, Dashboard, alone, false},
	},
	"log_index": {
		{"GET", "/log_index", Read, Dashboard, likely, false},
	},
	"logs": {
		{"GET", "/logs", Read, Agent, common, false},
		{"GET", "/logs/{path...}", Read, Agent, common, false},
	},
	"events": {
		{"GET", "/events", Read, Dashboard, common, false},
	},
	"report_events": {
		{"POST", "/report_events", Write, Dashboard, likely, false},
	},
	"internal": {
		{"GET", "/internal/node_module", Read, Dashboard, alone, false},
	},
	"test": {
		{"GET", "/test/dump", Read, Dashboard, likely, false},
	},
	"cluster_id": {
		{"GET", "/cluster_id", Info, Dashboard, common, false},
	},
	"timezone": {
		{"GET", "/timezone", Info, Dashboard, common, false},
	},
	"usage_stats_enabled": {
		{"GET", "/usage_stats_enabled", Info, Dashboard, alone, false},
	},
	"node_logs": {
		{"GET", "/node_logs", Read, Dashboard, likely, false},
	},
	"node_errors": {
		{"GET", "/node_errors", Read, Dashboard, likely, false},
	},
	"tune": {
		{"GET", "/tune/availability", Read, Dashboard, likely, false},
		{"GET", "/tune/info", Read, Dashboard, likely, false},
	},
	"jobs": { // Ray 1.2 to 1.8
		{"POST", "/jobs", Exec, Dashboard, common, false},
		{"GET", "/jobs", Read, Dashboard, common, false},
		{"GET", "/jobs/{id}", Read, Dashboard, common, false},
	},
	"-": {
		{"GET", "/-/healthz", Info, Serve, common, true},
		{"GET", "/-/routes", Info, Serve, common, true},
	},
	"metrics": {
		{"GET", "/metrics", Info, Metrics, common, true},
	},
	"apis": kubeRoutes(),
	"get_or_create_runtime_env": {
		{"POST", "/get_or_create_runtime_env", Exec, RuntimeEnv, alone, false},
	},
	"delete_runtime_env_if_possible": {
		{"POST", "/delete_runtime_env_if_possible", Control, RuntimeEnv, alone, false},
	},
	"get_runtime_envs_info": {
		{"POST", "/get_runtime_envs_info", Read, RuntimeEnv, alone, false},
	},
})

func bySegments(m map[string][]route) map[string][]indexed {
	out := make(map[string][]indexed, len(m))
	for first, list := range m {
		for _, r := range list {
			x := indexed{route: r}
			_, rest := segment(r.path[1:])
			if s, _ := segment(strings.TrimPrefix(rest, "/")); !strings.HasPrefix(s, "{") {
				x.second = s
			}
			out[first] = append(out[first], x)
		}
	}
	return out
}

// place is a target that was found to be one of Ray's routes.
type place struct {
	route   route
	prefix  string // "" or "/ray"
	args    [4]string
	known   bool // the method is one that the route has
	path    string
	query   string
	encoded bool // letters or digits of the path were percent-encoded
	dots    bool // the path has dot segments, and only without them it is this route
	slashes bool // likewise with empty segments
}

// locate finds Ray's route in a request target. Both readings of a path with dot or empty segments are tried: a proxy
// in front removes them, Ray does not. Code execution wins over anything else that the path could be.
func locate(method, target string) (p place, ok bool) {
	path, query := splitTarget(target)
	if method == "HEAD" { // aiohttp answers HEAD wherever it answers GET
		method = "GET"
	}
	encoded := false
	if strings.IndexByte(path, '%') >= 0 {
		path, encoded = decodePath(path)
	}
	p, ok = match(method, path)
	if strings.Contains(path, "//") || strings.Contains(path, "/.") {
		clean, dots, slashes := cleanPath(path)
		if q, found := match(method, clean); found &&
			(!ok || q.route.class == Exec && (p.route.class != Exec || q.route.need < p.route.need)) {
			p, ok = q, true
			p.dots, p.slashes = dots, slashes
		}
	}
	p.path, p.query, p.encoded = path, query, encoded
	return p, ok
}

// splitTarget takes scheme and authority off a target in absolute form, and cuts at the query.
func splitTarget(t string) (path, query string) {
	if len(t) > maxTarget {
		t = t[:maxTarget]
	}
	if len(t) > 0 && t[0] != '/' {
		i := strings.Index(t, "://")
		if i < 0 {
			return "", ""
		}
		t = t[i+3:]
		if i = strings.IndexAny(t, "/?"); i < 0 {
			return "/", ""
		}
		t = t[i:]
	}
	if i := strings.IndexByte(t, '#'); i >= 0 {
		t = t[:i]
	}
	path, query, _ = strings.Cut(t, "?")
	return path, query
}

func match(method, path string) (best place, ok bool) {
	if path == "" || path[0] != '/' {
		return place{}, false
	}
	// A route may begin at any segment: what is before it is a proxy's prefix. Of a path with very many segments
	// only the last ones are tried, and the first.
	slashes := strings.Count(path, "/")
	for i, n := 0, 0; i >= 0 && i < len(path); n++ {
		rest := path[i+1:]
		seg := rest
		if j := strings.IndexByte(rest, '/'); j >= 0 {
			seg = rest[:j]
		}
		if n == 0 || seg != "" && slashes-n <= maxSegments { // "/x/" is no front page of Ray's
			list := routes[seg]
			second, _ := segment(strings.TrimPrefix(rest[len(seg):], "/"))
			for k := range list {
				if list[k].second != "" && list[k].second != second {
					continue
				}
				r := &list[k].route
				args, fits := fit(r.path, path[i:])
				if !fits {
					continue
				}
				known := r.method == method
				better := !ok || known && !best.known ||
					known == best.known && r.class == Exec && best.route.class != Exec && known
				if better {
					best = place{route: *r, prefix: path[:i], args: args, known: known}
					if !known {
						best.route.class = Info // OPTIONS, or a method that Ray refuses
					}
					ok = true
				}
			}
		}
		j := strings.IndexByte(rest, '/')
		if j < 0 {
			break
		}
		i += 1 + j
	}
	return best, ok
}

// fit compares a path with a template. A slash at the end is not insisted on, either way: Ray does, and its answer
// says so, but what stands in front of it may not.
func fit(tmpl, path string) (args [4]string, ok bool) {
	n := 0
	for {
		tmpl, path = strings.TrimPrefix(tmpl, "/"), strings.TrimPrefix(path, "/")
		if tmpl == "" || path == "" {
			return args, tmpl == path
		}
		var t, s string
		t, tmpl = segment(tmpl)
		if strings.HasSuffix(t, "...}") {
			args[min(n, len(args)-1)] = path
			return args, true
		}
		s, path = segment(path)
		switch {
		case t[0] == '{':
			if s == "" {
				return args, false
			}
			args[min(n, len(args)-1)] = s
			n++
		case t != s:
			return args, false
		}
	}
}

func segment(s string) (first, rest string) {
	if i := strings.IndexByte(s, '/'); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// decodePath removes percent-encoding but for %2F and %25, as aiohttp does from 3.11 on. letters says that something
// was encoded that never needs to be (RFC 3986 section 2.3).
func decodePath(s string) (out string, letters bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c, ok := byte(0), false
		if s[i] == '%' {
			c, ok = hexByte(s, i+1)
		}
		if !ok || c == '/' || c == '%' {
			b = append(b, s[i])
			continue
		}
		letters = letters || alnum(c) || c == '_' || c == '-' || c == '.'
		b = append(b, c)
		i += 2
	}
	return string(b), letters
}

func hexByte(s string, i int) (byte, bool) {
	if i+2 > len(s) {
		return 0, false
	}
	return chars.HexPair(s[i], s[i+1])
}

// cleanPath merges slashes and resolves dot segments (RFC 3986 section 5.2.4).
func cleanPath(p string) (out string, dots, slashes bool) {
	b := make([]byte, 0, len(p))
	for p != "" {
		var s string
		s, p = segment(p[1:])
		switch s {
		case "":
			slashes = slashes || p != ""
			if p == "" {
				b = append(b, '/')
			}
		case ".":
			dots = true
			if p == "" {
				b = append(b, '/')
			}
		case "..":
			dots = true
			i := len(b) - 1
			for i >= 0 && b[i] != '/' {
				i--
			}
			b = b[:max(i, 0)]
			if p == "" {
				b = append(b, '/')
			}
		default:
			b = append(append(b, '/'), s...)
		}
	}
	return string(b), dots, slashes
}

// Param is a query parameter, decoded.
type Param struct{ Name, Value string }

// parseQuery reads a query as aiohttp does: '+' is a space, names may repeat.
func parseQuery(q string) []Param {
	if q == "" {
		return nil
	}
	var out []Param
	for q != "" && len(out) < maxParams {
		var p string
		p, q, _ = strings.Cut(q, "&")
		if p == "" {
			continue
		}
		k, v, _ := strings.Cut(p, "=")
		out = append(out, Param{unplus(k), unplus(v)})
	}
	return out
}

func unplus(s string) string {
	s = bound(s, maxParam)
	if strings.IndexByte(s, '+') >= 0 {
		s = strings.ReplaceAll(s, "+", " ")
	}
	return chars.Unpercent(s)
}

// bound cuts s to n bytes, at a character's beginning. Unlike chars.Bound it neither copies s nor makes valid UTF-8
// of it.
func bound(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
