package ray

import (
	"encoding/base64"
	"strings"

	gojson "encoding/json"

	"github.com/raytap/raytap/decoders/http"
)

const (
	maxPods    = 16 // containers of an object whose commands are kept: head, a few groups, init containers
	maxCommand = 8 << 10
	maxPatch   = 64      // operations of a JSON patch
	maxPointer = 1 << 10 // a place in one
	maxSpecs   = 4       // a RayJob in a RayCronJob is 3
)

// Pod is a container that an object for KubeRay asks for.
type Pod struct {
	Name    string // "head/ray-head"
	Image   string
	Command string // with its arguments, as a shell would read them; "" where the image says
}

// kubeRoutes are the routes under /apis: those of KubeRay's API server (apiserver; its v1alpha2 became v1), and those of the
// Kubernetes API for KubeRay's resources, which KubeRay's second API server (apiserversdk) passes on. What Kubernetes has
// besides (Jobs, Pods, Services) is none of Ray's and has other paths: a group stands before the version.
func kubeRoutes() (out []route) {
	add := func(method, path string, class Class, s Service) {
		out = append(out, route{method, path, class, s, alone, false})
	}
	for _, v := range [...]string{"v1", "v1alpha2"} {
		in := "/apis/" + v + "/namespaces/{namespace}/"
		for _, kind := range [...]string{"jobs", "clusters", "services"} {
			add("POST", in+kind, Exec, KubeRayAPI)
			add("GET", in+kind, Read, KubeRayAPI)
			add("GET", "/apis/"+v+"/"+kind, Read, KubeRayAPI)
			add("GET", in+kind+"/{name}", Read, KubeRayAPI)
			add("DELETE", in+kind+"/{name}", Control, KubeRayAPI)
		}
		add("PUT", in+"services/{name}", Exec, KubeRayAPI)
		add("PATCH", in+"services/{name}/configs", Exec, KubeRayAPI)
		add("POST", in+"jobsubmissions/{cluster}", Exec, KubeRayAPI)
		add("GET", in+"jobsubmissions/{cluster}", Read, KubeRayAPI)
		add("GET", in+"jobsubmissions/{cluster}/{id}", Read, KubeRayAPI)
		add("POST", in+"jobsubmissions/{cluster}/{id}", Control, KubeRayAPI) // stops it
		add("DELETE", in+"jobsubmissions/{cluster}/{id}", Control, KubeRayAPI)
		add("GET", in+"jobsubmissions/{cluster}/log/{id}", Read, KubeRayAPI)
		for _, kind := range [...]string{"serveapplication", "serveapplications"} {
			add("POST", in+kind+"/{cluster}", Exec, KubeRayAPI)
			add("GET", in+kind+"/{cluster}", Read, KubeRayAPI)
			add("DELETE", in+kind+"/{cluster}", Control, KubeRayAPI)
		}
		add("GET", "/apis/"+v+"/compute_templates", Read, KubeRayAPI)
		add("POST", in+"compute_templates", Write, KubeRayAPI)
		add("GET", in+"compute_templates", Read, KubeRayAPI)
		add("GET", in+"compute_templates/{name}", Read, KubeRayAPI)
		add("DELETE", in+"compute_templates/{name}", Control, KubeRayAPI)
	}
	for _, kind := range [...]string{"rayjobs", "rayclusters", "rayservices", "raycronjobs"} {
		in := "/apis/ray.io/{version}/namespaces/{namespace}/" + kind
		add("POST", in, Exec, Kubernetes)
		add("GET", in, Read, Kubernetes)
		add("DELETE", in, Control, Kubernetes)
		add("GET", "/apis/ray.io/{version}/"+kind, Read, Kubernetes)
		add("PUT", in+"/{name}", Exec, Kubernetes)
		add("PATCH", in+"/{name}", Exec, Kubernetes)
		add("GET", in+"/{name}", Read, Kubernetes)
		add("DELETE", in+"/{name}", Control, Kubernetes)
		add("GET", in+"/{name}/{sub}", Read, Kubernetes) // status, scale
		add("PUT", in+"/{name}/{sub}", Control, Kubernetes)
		add("PATCH", in+"/{name}/{sub}", Control, Kubernetes)
	}
	return out
}

// byObject reports whether a service is asked for objects, and others do what they say.
func (s Service) byObject() bool { return s == KubeRayAPI || s == Kubernetes }

// manifest is what an object asks for: a RayJob, RayCluster, RayService or RayCronJob of Kubernetes (ray.io/v1, v1alpha1), or
// what KubeRay's API server makes one of.
type manifest struct {
	jobBody
	any    bool // something of it is Ray's
	kind   string
	name   string
	apps   []App
	pods   []Pod
	starts bool // makes or changes a cluster
}

// readManifest reads the body of a request that creates or changes an object. The Kubernetes API takes YAML if the content
// type says so. It takes no protobuf for resources that, like KubeRay's, are defined in the cluster.
func readManifest(q *http.Request) *manifest {
	m := &manifest{}
	b := q.Body.Data
	if len(b) == 0 || q.Body.Undecoded {
		m.hidden = q.Body.Len > 0 || q.Body.Missing > 0
		return m
	}
	kind := strings.ToLower(q.Header.Get("Content-Type"))
	if strings.Contains(kind, "yaml") && !gojson.Valid(b) {
		if b = fromYAML(b); b == nil {
			m.hidden = true
			return m
		}
	}
	r := &jsonReader{b: b}
	switch r.peek() {
	case '{':
		m.object(r)
	case '[':
		m.patch(r)
	}
	m.hidden = !m.any && (q.Body.Truncated || q.Body.Missing > 0 || !q.Body.Complete)
	return m
}

// object reads the outermost object.
func (m *manifest) object(r *jsonReader) {
	r.object(func(key string, _ text) {
		switch key {
		case "kind":
			m.kind, _ = r.str(maxID)
		case "metadata":
			r.object(func(key string, _ text) {
				switch key {
				case "name", "generateName":
					if s, _ := r.str(maxID); m.name == "" || key == "name" {
						m.name = s
					}
				}
			})
		case "name":
			m.name, _ = r.str(maxID)
		default:
			m.member(r, key, 0)
		}
	})
}

// member reads one of an object's members: of the outermost, of a specification, or of what KubeRay's API server is sent.
func (m *manifest) member(r *jsonReader, key string, depth int) {
	if depth > maxSpecs {
		return
	}
	switch key {
	case "spec", "jobTemplate":
		r.object(func(key string, _ text) { m.member(r, key, depth+1) })
	case "entrypoint":
		if r.peek() != '"' {
			return
		}
		head, tail, t := r.ends(maxEntrypoint/2, maxEntrypoint/2)
		if t.cut && tail != "" {
			head += " \u2026 "
		}
		m.entrypoint, m.cut, m.has, m.any = head+tail, t.cut, true, true
	case "jobId", "job_id", "submissionId", "submission_id":
		if s, _ := r.str(maxID); s != "" {
			m.submission = s
		}
	case "runtimeEnvYAML", "runtimeEnv", "runtime_env":
		m.runtimeEnv(r)
	case "rayClusterSpec", "rayClusterConfig", "clusterSpec", "cluster_spec":
		r.object(func(key string, _ text) { m.member(r, key, depth+1) })
	case "headGroupSpec", "head_group_spec":
		m.group(r, "head")
	case "workerGroupSpecs", "workerGroupSpec", "worker_group_spec":
		r.array(func(int) { m.group(r, "worker") })
	case "submitterPodTemplate":
		m.any = true
		m.template(r, "submitter")
	case "serveConfigV2", "serve_config_V2", "configyaml":
		s, _ := r.str(maxYAML)
		m.serve(textJSON(s))
	case "serveDeploymentGraphConfig", "serveDeploymentGraphSpec", "serve_deployment_graph_spec", "updateService":
		m.graph(r)
	}
}

// textJSON gives as JSON what a member holds as text in YAML.
func textJSON(s string) []byte {
	b := []byte(s)
	if gojson.Valid(b) {
		return b
	}
	return fromYAML(b)
}

// runtimeEnv reads a runtime_env: as text in YAML, base64 of JSON (up to v1alpha1), or an object.
func (m *manifest) runtimeEnv(r *jsonReader) {
	if r.peek() != '"' {
		readEnv(r, &m.env, 0)
		return
	}
	s, _ := r.str(maxYAML)
	if raw, err := base64.StdEncoding.DecodeString(s); err == nil && gojson.Valid(raw) && len(raw) > 2 {
		s = string(raw)
	}
	readEnv(&jsonReader{b: textJSON(s)}, &m.env, 0)
}

// serve reads a Serve configuration.
func (m *manifest) serve(b []byte) {
	if len(b) == 0 {
		return
	}
	m.any = true
	apps, env := serveConfig(&jsonReader{b: b})
	m.apps = append(m.apps, apps...)
	m.env.merge(&env)
}

// graph reads the Serve configuration of KubeRay's first releases.
func (m *manifest) graph(r *jsonReader) {
	var a App
	r.object(func(key string, _ text) {
		switch key {
		case "importPath", "import_path":
			a.Import, _ = r.str(maxItem)
		case "runtimeEnv", "runtime_env":
			m.runtimeEnv(r)
		case "serveDeploymentGraphSpec", "serve_deployment_graph_spec":
			m.graph(r)
		}
	})
	if a.Import != "" && len(m.apps) < maxList {
		m.any = true
		m.apps = append(m.apps, a)
	}
}

// group reads the head's or a group of workers' specification.
func (m *manifest) group(r *jsonReader, name string) {
	m.any, m.starts = true, true
	r.object(func(key string, _ text) {
		switch key {
		case "groupName", "group_name":
			if s, _ := r.str(maxID); s != "" {
				name = s
			}
		case "template":
			m.template(r, name)
		case "image": // of KubeRay's API server
			if s, _ := r.str(maxItem); s != "" {
				m.pod(Pod{Name: name, Image: s})
			}
		case "rayStartParams", "ray_start_params":
			// They become words of a command line that a shell reads.
			var words []string
			r.object(func(key string, _ text) {
				if v, _ := r.str(maxItem); len(words) < maxList {
					words = append(words, "--"+key+"="+v)
				}
			})
			if s := strings.Join(words, " "); strings.ContainsAny(s, ";|&`$<>\n(") {
				m.pod(Pod{Name: name, Command: bound("ray start "+s, maxCommand)})
			}
		case "environment": // of KubeRay's API server: of values, or names and values
			r.object(func(key string, _ text) {
				if key == "values" && r.peek() == '{' {
					r.object(func(key string, _ text) { m.variable(r, key) })
					return
				}
				m.variable(r, key)
			})
		}
	})
}

// variable reads the value of a container's variable.
func (m *manifest) variable(r *jsonReader, name string) {
	v, _ := r.str(maxEnvText)
	m.env.variable(name, v)
}

// template reads a pod's template.
func (m *manifest) template(r *jsonReader, name string) {
	r.object(func(key string, _ text) {
		if key != "spec" {
			return
		}
		r.object(func(key string, _ text) {
			if key == "containers" || key == "initContainers" {
				r.array(func(int) { m.container(r, name) })
			}
		})
	})
}

func (m *manifest) container(r *jsonReader, group string) {
	p := Pod{Name: group}
	var command, args []string
	hook := func(what string) {
		r.object(func(key string, _ text) {
			if key != "exec" {
				return
			}
			r.object(func(key string, _ text) {
				if key == "command" {
					if s := shellWords(m.words(r)); s != "" {
						m.pod(Pod{Name: group + "/" + what, Command: s})
					}
				}
			})
		})
	}
	r.object(func(key string, _ text) {
		switch key {
		case "name":
			if s, _ := r.str(maxID); s != "" {
				p.Name = group + "/" + s
			}
		case "image":
			p.Image, _ = r.str(maxItem)
		case "command":
			command = m.words(r)
		case "args":
			args = m.words(r)
		case "env":
			r.array(func(int) {
				name, value := "", ""
				r.object(func(key string, _ text) {
					switch key {
					case "name":
						name, _ = r.str(maxID)
					case "value":
						value, _ = r.str(maxEnvText)
					}
				})
				m.env.variable(name, value)
			})
		case "lifecycle":
			r.object(func(key string, _ text) { hook(key) })
		case "livenessProbe", "readinessProbe", "startupProbe":
			hook(key)
		}
	})
	p.Command = shellWords(append(command, args...))
	m.pod(p)
}

func (m *manifest) words(r *jsonReader) (out []string) {
	r.array(func(int) {
		if s, _ := r.str(maxCommand); len(out) < maxList {
			out = append(out, s)
		}
	})
	return out
}

// shellWords gives a command as one would type it. What a shell is handed with -c stands as it is, so that it reads like the
// entrypoint of a job.
func shellWords(words []string) string {
	var b strings.Builder
	code := false
	for _, w := range words {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		if !code && (w == "" || strings.ContainsAny(w, " \t\n'\"$;|&<>()`\\")) {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		b.WriteString(w)
		code = len(w) > 1 && w[0] == '-' && w[len(w)-1] == 'c' || code && w == "--"
		if b.Len() > maxCommand {
			break
		}
	}
	return bound(b.String(), maxCommand)
}

func (m *manifest) pod(p Pod) {
	if (p.Image != "" || p.Command != "") && len(m.pods) < maxPods {
		m.pods = append(m.pods, p)
	}
}

// patch reads a JSON patch (RFC 6902): each value is read as the object that has it at its place.
func (m *manifest) patch(r *jsonReader) {
	n := 0
	r.array(func(int) {
		if n++; n > maxPatch {
			return
		}
		op, at, from, to := "", "", 0, 0
		r.object(func(key string, _ text) {
			switch key {
			case "op":
				op, _ = r.str(maxID)
			case "path":
				at, _ = r.str(maxPointer)
			case "value":
				r.peek()
				from = r.i
				r.skip()
				to = min(r.i, len(r.b))
			}
		})
		if from >= to || op != "add" && op != "replace" {
			return
		}
		var b strings.Builder
		var ends []byte
		for i, s := range strings.Split(at, "/") {
			switch {
			case i == 0 || len(ends) > 2*maxDepth+4:
			case s == "-" || s != "" && strings.Trim(s, "0123456789") == "":
				b.WriteByte('[')
				ends = append(ends, ']')
			default:
				s = strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
				name, err := gojson.Marshal(s)
				if err != nil {
					return
				}
				b.WriteByte('{')
				b.Write(name)
				b.WriteByte(':')
				ends = append(ends, '}')
			}
		}
		b.Write(r.b[from:to])
		for i := len(ends) - 1; i >= 0; i-- {
			b.WriteByte(ends[i])
		}
		m.object(&jsonReader{b: []byte(b.String())})
	})
}

// kube reads t as a call to KubeRay's API server or, for its resources, to Kubernetes.
func (c *Call) kube(p place, a answer) bool {
	q := c.Tx.Request
	ct := ""
	if c.Tx.Response != nil {
		ct = strings.ToLower(c.Tx.Response.Header.Get("Content-Type"))
	}
	c.Confirmed = a.seen && a.status/100 == 2 && (strings.Contains(ct, "json") || strings.Contains(ct, "yaml") || strings.Contains(ct, "kubernetes"))
	c.Object = objectOf(p)
	if c.Class != Exec || !p.known {
		if strings.Contains(c.Route, "/jobsubmissions/{cluster}/") {
			c.SubmissionID = bound(p.args[2], maxID)
		}
		return true
	}
	m := readManifest(q)
	if !m.any && !m.hidden && c.Service == KubeRayAPI && q.Body.Len > 0 {
		return false // somebody else's
	}
	if m.name != "" && !strings.Contains(c.Route, "{name}") && !strings.Contains(c.Route, "{cluster}") {
		c.Object += "/" + m.name
	}
	if strings.Contains(p.query, "dryRun=") {
		c.Class = Read // is judged by the server, and not done
		return true
	}
	c.SubmissionID = m.submission
	if a.submission != "" {
		c.SubmissionID = a.submission
	}
	c.starts(m, q.Method == "POST")
	return true
}

// starts takes from a manifest what it starts; created says that it is a new object's, and no change to one.
func (c *Call) starts(m *manifest, created bool) {
	job := strings.Contains(c.Route, "jobs") // rayjobs, raycronjobs, jobs, jobsubmissions
	c.Job = job && (m.has || m.hidden || created)
	c.Entrypoint, c.EntrypointCut = m.entrypoint, m.cut
	c.RuntimeEnv, c.Apps, c.Pods = m.env, m.apps, m.pods
	c.Cluster = !c.Job && len(c.Apps) == 0 && (m.starts || len(m.pods) > 0 || m.hidden || created) && strings.Contains(c.Route, "clusters")
	if !c.Job && !c.Cluster && len(c.Apps) == 0 && len(c.Pods) == 0 && !m.hidden && !created {
		c.Class = Control // a number of replicas, a label
	}
}

// objectOf names the object of a path: "RayJob default/train".
func objectOf(p place) string {
	kind, ns, name := "", p.args[0], p.args[1]
	if p.route.service == Kubernetes {
		ns, name = p.args[1], p.args[2]
	}
	switch path := p.route.path; {
	case strings.Contains(path, "/raycronjobs"):
		kind = "RayCronJob"
	case strings.Contains(path, "/rayjobs"), strings.HasSuffix(path, "/jobs"), strings.HasSuffix(path, "/jobs/{name}"):
		kind = "RayJob"
	case strings.Contains(path, "/rayservices"), strings.Contains(path, "/services"):
		kind = "RayService"
	case strings.Contains(path, "compute_templates"):
		kind = "compute template"
	default:
		kind = "RayCluster"
	}
	if !strings.Contains(p.route.path, "{namespace}") {
		return kind
	}
	out := kind + " " + bound(ns, maxID)
	if name != "" {
		out += "/" + bound(name, maxID)
	}
	return out
}
