// Package ray reads HTTP transactions as calls to Ray.
//
// Beside Ray's own interfaces there are those that have a Ray run something: KubeRay's API server, and the Kubernetes API for
// KubeRay's resources (kube.go).
//
// In: *http.Transaction, one at a time, with as much of the bodies as KeepBody asked for. Out: *Call, or nil when the
// transaction is not Ray's: which of Ray's HTTP interfaces was called (dashboard, agent, Serve, runtime env agent,
// metrics), on any port and under any proxy's prefix; what was asked (route, class, entrypoint, runtime_env, ids);
// by what kind of client, with which authentication; what came of it; and which of the request's encodings serve no
// purpose but to hide it.
//
// What a Ray server would accept is what is read (testdata/evade has what one did): Python's JSON (the last duplicate key
// wins, escapes in keys, NaN), any Content-Type, any charset that Python has a codec for and in which JSON differs from
// ASCII, bodies that the HTTP decoder inflated, and of bodies longer than is kept the last of each key, wherever it stands.
// The answer to a submission is a job whose command was not seen, also where nothing of the request was. A path is compared
// percent-decoded, with and without its dot and empty segments.
//
// Many services have a path like /api/jobs/ or /metrics. A path alone decides only where nobody else has it;
// otherwise something else must speak for Ray: its server (aiohttp), its words in the answer, its port, and for jobs
// a JSON object with a string "entrypoint" and no key that Ray does not know. Call.Confirmed says that the peer is
// proven to be Ray by what it answered.
//
// It does not see: TLS; KubeRay's API server over gRPC; objects in CBOR, which Kubernetes takes if a feature gate is opened; Ray's gRPC (Ray Client, GCS, workers); what a job does; output in logs/tail (WebSocket);
// whether a token was right, other than by the answer. It keeps no state: each transaction stands alone, and to
// link them (a proxy's inner hop, a session of a client) is for detectors.
package ray

import (
	"net/netip"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
)

const (
	// Bodies that may carry a job or a Serve configuration. Ray takes 100 MiB, real ones have 1 KiB; a mebibyte is
	// room for padding that hides, and what is cut is marked.
	maxBody = 1 << 20
	// The answer to a submission is two ids.
	maxReceipt = 512
	// Answers that tell version, ids and outcome; a list of jobs may be longer, its beginning is enough.
	maxAnswer = 64 << 10
	// A list of nodes has 15 KB for each; there are clusters with thousands, most have under twenty.
	maxNodeList = 256 << 10
	maxNodes    = 256
	// Beginning of an answer in which words are looked for.
	maxSigns = 8 << 10
	// Of a page or a metrics text only the title or the first names matter.
	maxPage = 4 << 10

	maxTarget      = 8 << 10   // a request line is bounded at this by every server
	maxSegments    = 24        // deepest known proxy prefix has 9
	maxContentType = 8 << 10   // aiohttp bounds a field at this; a charset needs 40
	maxParams      = 32        // the state API's filters repeat; Ray itself uses at most 12
	maxParam       = 1 << 10   // file names and URLs
	maxKey         = 64        // longest key of Ray's JSON has 26 bytes
	maxEntrypoint  = 128 << 10 // a command: Ray hands it to sh -c, and Linux bounds one argument at this
	maxID          = 128       // ids that a client chose
	maxList        = 64        // URIs, packages, names of variables, applications
	maxItem        = 512       // one of them
	maxEnvText     = 4 << 10   // a variable that is itself a command
	maxDepth       = 6         // runtime_env inside deployments inside applications is 5
	maxEntryLog    = 4 << 10   // entrypoint in ray.log
)

// Outcome says what the server made of a call.
type Outcome string

// Outcomes.
const (
	Executed       Outcome = "executed"        // accepted: the job runs, the thing is stored or stopped
	Answered       Outcome = "answered"        // the reader got what it asked for
	BlockedToken   Outcome = "blocked_token"   // no token, or a wrong one
	BlockedBrowser Outcome = "blocked_browser" // Ray refuses browsers
	Rejected       Outcome = "rejected"        // any other refusal: 3xx, 4xx
	Failed         Outcome = "error"           // 5xx, or an answer that says it failed
	NotRay         Outcome = "not_ray"         // an answer that Ray does not give
	Unknown        Outcome = "unknown"         // no answer was seen
)

// Client is the kind of program that called.
type Client string

// Clients.
const (
	SDK        Client = "sdk"        // ray job, ray list, serve deploy, JobSubmissionClient
	KubeRay    Client = "kuberay"    // the Kubernetes operator
	Browser    Client = "browser"    // with a person, or a foreign page, behind it
	Internal   Client = "internal"   // Ray itself, from node to node
	Prometheus Client = "prometheus" // a metrics collector
	Tool       Client = "tool"       // curl, a scanner, a script
	Other      Client = "unknown"
)

// Call is one request to Ray with its answer.
type Call struct {
	capture.At // of the request
	Flow       *capture.Flow
	Tx         *http.Transaction

	Service   Service
	Method    string // as sent, bounded
	Route     string // template: "/api/jobs/{id}"
	Prefix    string // what a proxy has before it: "/ray"
	Path      string // decoded, bounded
	Query     string // raw, bounded
	Params    []Param
	Class     Class
	Free      bool // the route needs no token even where others do
	Confirmed bool // the answer proves that the peer is Ray
	Proxied   bool // the request bears the marks of a proxy between client and server

	Job           bool // asks to run a job
	Entrypoint    string
	EntrypointCut bool // longer than was kept; beginning and end are there
	// Unread says why the command of a job, or one behind it that would count, was not seen: "a part of its body was lost".
	Unread       string
	SubmissionID string
	JobID        string
	Keys         []string // keys of the job's JSON in their order, of those that Ray knows
	AllKeys      bool     // all of them, the absent as null: how the head hands a job to an agent
	RuntimeEnv   Env
	Apps         []App  // PUT of a Serve configuration
	Object       string // of Kubernetes that is asked for: "RayJob default/train"
	Pods         []Pod  // containers that it brings with it
	Cluster      bool   // creates or changes a RayCluster, which runs an image and commands
	Package      string
	PackageLen   int64

	RayVersion string
	RayCommit  string
	Session    string
	Python     string // of the server
	AuthMode   string // what the server says it asks for: disabled, token
	ClusterID  string
	Nodes      []Node // of the cluster, as an answer lists them

	Auth      string // none, bearer, x-ray, cookie, basic, other
	TokenHash string // first 16 digits of the token's SHA-256, never the token

	Client    Client
	ClientWhy string // what says so
	UserAgent string

	Outcome  Outcome
	Status   int
	Evasions []string // encodings that only hide, see evasions.go
}

// Env is what of a runtime_env can run code or fetch it. It has names of variables, and values only of those few
// that say where code is loaded from or that are commands themselves; these never reach a log.
type Env struct {
	Keys      []string // in their order
	URIs      []string // working_dir, py_modules, java_jars
	Packages  []string // pip, conda, uv: requirements, as written
	EnvNames  []string
	Loads     []Param // variables that make a process load code: LD_PRELOAD, PYTHONPATH, PIP_INDEX_URL, ...
	Commands  []Param // variables whose value is shell or Python
	PyExec    string  // py_executable
	Image     string  // image_uri, container.image
	SetupHook string  // worker_process_setup_hook
}

// App is one application of a Serve configuration.
type App struct {
	Name, Import, Prefix string
}

// Node is a node of a cluster, as an answer describes it.
type Node struct {
	ID    string
	Addr  netip.Addr
	Host  string
	Head  bool // only where the answer says so
	Other bool // it says that this is not the head
	Ports []Port
}

// Port is a port of a node with what listens there.
type Port struct {
	Role string // raylet, objects, metrics, runtime_env, agent (gRPC), job_agent, serve
	Num  uint16
}

// Routed says whether a route of Ray's fits the target, whatever the method.
func Routed(target string) bool {
	_, ok := locate("GET", target)
	return ok
}

// KeepBody says how many bytes of a body Interpret wants to see, after content coding was removed: of the response if
// resp, else of the request. It looks at heads only; 0 is the answer for nearly all traffic.
func KeepBody(t *http.Transaction, resp bool) int {
	if t == nil || t.Request == nil {
		if resp && mayBeReceipt(t) {
			return maxReceipt
		}
		return 0
	}
	q := t.Request
	p, ok := locate(q.Method, q.Target)
	if !ok && unnamed(q) {
		if resp {
			return maxAnswer
		}
		return maxBody
	}
	if !ok {
		return 0
	}
	if !resp {
		if q.Method != "POST" && q.Method != "PUT" && q.Method != "PATCH" || p.route.path == "/api/packages/{protocol}/{package}" {
			return 0
		}
		if p.route.class == Exec && p.known {
			return maxBody
		}
		return 0
	}
	switch p.route.path {
	case "/":
		if t.Response == nil || !isAiohttp(t.Response) && !OnPort(t.Flow) {
			return 0
		}
		return maxPage
	case "/metrics", "/-/healthz", "/-/routes", "/static/{path...}", "/logs/{path...}", "/favicon.ico":
		return maxPage
	}
	if r := t.Response; r != nil {
		ct := strings.ToLower(r.Header.Get("Content-Type"))
		if ct != "" && !strings.Contains(ct, "json") && !strings.HasPrefix(ct, "text/") && ct != "application/text" &&
			p.route.path != "/log_proxy" {
			return 0
		}
	}
	if p.route.path == "/nodes" || p.route.path == "/api/v0/nodes" {
		return maxNodeList
	}
	return maxAnswer
}

// unnamed reports whether the path of a request that may have a body is unknown.
func unnamed(q *http.Request) bool {
	return q.Partial && q.Target == "" && (q.Method == "" || q.Method == "POST")
}

// Interpret reads t as a call to Ray; nil if it is none. The Call keeps t and copies what it takes from its bodies.
func Interpret(t *http.Transaction) *Call {
	if t == nil {
		return nil
	}
	if t.Request == nil {
		return receiptAlone(t) // what was asked decides; but for one answer, an answer alone is anybody's
	}
	q := t.Request
	p, ok := locate(q.Method, q.Target)
	if !ok && unnamed(q) {
		// Where it goes was said before the capture began. A body that is nothing but a job's is one all the same.
		if j := readJob(q); !j.has || j.foreign > 0 {
			return nil
		}
		p, ok = place{route: route{class: Exec, service: Dashboard, need: common}, known: true}, true
	}
	if !ok || p.route.path == "/" && !OnPort(t.Flow) && !mayBeFront(t.Response) {
		return nil
	}
	a := readAnswer(t.Response)
	if p.route.service.byObject() {
		c := begin(t, p)
		if !c.kube(p, a) {
			return nil
		}
		c.common(p, a)
		c.Outcome = c.judge(a)
		c.Client, c.ClientWhy = clientOf(c, q)
		return c
	}
	submits := p.route.class == Exec && (q.Method == "POST" || p.route.path == "") && p.route.service != RuntimeEnv
	var job jobBody
	if submits {
		job = readJob(q)
	}
	if !believed(t, p, a, &job, submits) {
		return nil
	}

	c := begin(t, p)
	c.common(p, a)
	c.Confirmed = a.decisive || a.aiohttp && (p.route.need == alone || OnPort(t.Flow)) && (a.status < 500 && a.status != 404)
	if c.Confirmed {
		c.readCluster(t.Response)
	}
	c.describe(p, a, &job, submits)
	c.Outcome = c.judge(a)
	if p.known && (p.route.class == Exec || p.route.class == Write || p.route.class == Control) || p.encoded {
		c.Evasions = evasions(q, p, job)
	}
	c.Client, c.ClientWhy = clientOf(c, q)
	return c
}

// believed weighs what speaks for Ray in a request for p and its answer against what the route needs: its names may be
// anybody's.
func believed(t *http.Transaction, p place, a answer, job *jobBody, submits bool) bool {
	evidence := a.weight
	if OnPort(t.Flow) {
		evidence++
	}
	if strings.Contains(p.path, "/..") { // a traversal wants a server, and says which
		evidence++
	}
	if submits {
		switch {
		case !job.has && !job.hidden:
			// Without an entrypoint it is Ray's only by its answer, or by a path that is nobody else's.
			if p.route.need != alone && a.weight == 0 {
				return false
			}
		case job.foreign > 0:
			// Ray refuses keys that it does not know, so somebody else's endpoint takes this.
			if p.route.need != alone && a.weight == 0 {
				return false
			}
		case !job.has:
			// Nothing of it was seen.
		default:
			evidence++
			if job.known > 1 {
				evidence++
			}
		}
	}
	switch p.route.service {
	case Metrics:
		if !a.metrics {
			return false
		}
		evidence += int(common)
	case Serve:
		if !a.serve {
			return false
		}
		evidence += int(common)
	}
	if p.route.need == common && p.prefix != "" && a.weight == 0 {
		return false // a word at the end of somebody's path
	}
	if need := int(p.route.need); evidence < need && !(need == likely && strings.HasPrefix(p.pkg(), "gcs/")) {
		return false
	}
	return true
}

// describe takes what the call is about from its path, its body and its answer.
func (c *Call) describe(p place, a answer, job *jobBody, submits bool) {
	q := c.Tx.Request
	switch p.route.path {
	case "/api/packages/{protocol}/{package}":
		c.Package = bound(p.args[1], maxID)
		if q.Method == "PUT" {
			c.PackageLen = q.Body.Len
		}
	case "/api/jobs/{id}", "/api/jobs/{id}/logs", "/api/jobs/{id}/logs/tail", "/api/jobs/{id}/stop",
		"/api/job_agent/jobs/{id}", "/api/job_agent/jobs/{id}/logs", "/api/job_agent/jobs/{id}/logs/tail",
		"/api/job_agent/jobs/{id}/stop", "/jobs/{id}":
		c.SubmissionID = bound(p.args[0], maxID)
	}
	if submits {
		c.Job = true
		c.Entrypoint, c.EntrypointCut, c.Unread = job.entrypoint, job.cut, job.unread
		c.SubmissionID, c.JobID = job.submission, job.job
		c.Keys, c.AllKeys, c.RuntimeEnv = job.keys, job.all, job.env
		if a.submission != "" {
			c.SubmissionID = a.submission
		}
		if a.job != "" && a.job != a.submission {
			c.JobID = a.job
		}
	} else if p.route.class == Exec && p.known {
		switch p.route.service {
		case RuntimeEnv:
			c.RuntimeEnv = readEnvRequest(q)
		default:
			c.Apps, c.RuntimeEnv = readServe(q)
		}
	}
}

// begin makes the call of t, which p was asked for.
func begin(t *http.Transaction, p place) *Call {
	q := t.Request
	c := &Call{
		At: t.At, Flow: t.Flow, Tx: t,
		Service: p.route.service, Method: bound(q.Method, 16), Route: p.route.path, Prefix: bound(p.prefix, maxItem),
		Class: p.route.class, Free: p.route.free,
		UserAgent: bound(q.Header.Get("User-Agent"), maxItem),
		Outcome:   Unknown,
	}
	if strings.HasPrefix(c.Route, "/logs") && t.Flow != nil && t.Flow.Resp.Port() != 52365 && OnPort(t.Flow) {
		c.Service = Dashboard // the head had this too, up to 2.8
	}
	return c
}

// common fills in what every call has.
func (c *Call) common(p place, a answer) {
	q := c.Tx.Request
	c.Path, c.Query, c.Params = bound(p.path, maxParam*2), bound(p.query, maxParam*2), parseQuery(p.query)
	c.Status = a.status
	c.RayVersion, c.RayCommit, c.Session = a.version, a.commit, a.session
	c.Auth, c.TokenHash = readAuth(q)
	c.Proxied = isProxied(q)
}

// pkg is the package that is asked for, with its protocol.
func (p *place) pkg() string {
	if p.route.path != "/api/packages/{protocol}/{package}" {
		return ""
	}
	return p.args[0] + "/" + p.args[1]
}

// OnPort says that the server's port is one that Ray uses by itself: the dashboard takes the next free one when
// several clusters share a host. It is a hint among others, never a condition.
func OnPort(f *capture.Flow) bool {
	if f == nil {
		return false
	}
	p := f.Resp.Port()
	return p >= 8265 && p <= 8275 || p == 52365
}

// Log names the log.
func (*Call) Log() string { return "ray" }

// Row writes the columns of ray.log, with what a client wrote as it is: whoever shows them masks them.
func (c *Call) Row(w capture.Fields) {
	w.Time("ts", c.Time, true)
	c.Flow.ID(w)
	w.Enum("service", string(c.Service), c.Service != "")
	w.String("method", c.Method, c.Method != "")
	w.String("route", c.Route, c.Route != "")
	w.String("prefix", c.Prefix, c.Prefix != "")
	uri := c.Path
	if c.Query != "" {
		uri += "?" + c.Query
	}
	w.String("uri", uri, uri != "")
	w.Enum("class", string(c.Class), c.Class != "")
	w.Enum("outcome", string(c.Outcome), c.Outcome != "")
	w.Count("status_code", uint64(max(c.Status, 0)), c.Status > 0)
	w.String("entrypoint", bound(c.Entrypoint, maxEntryLog), c.Entrypoint != "")
	w.String("submission_id", c.SubmissionID, c.SubmissionID != "")
	w.String("job_id", c.JobID, c.JobID != "")
	e := &c.RuntimeEnv
	w.Vector("runtime_env", "string", e.Keys, len(e.Keys) > 0)
	w.Vector("runtime_uris", "string", e.URIs, len(e.URIs) > 0)
	w.Vector("env_names", "string", e.EnvNames, len(e.EnvNames) > 0)
	w.String("package", c.Package, c.Package != "")
	w.Count("package_len", uint64(max(c.PackageLen, 0)), c.PackageLen > 0)
	w.String("ray_version", c.RayVersion, c.RayVersion != "")
	w.String("ray_commit", c.RayCommit, c.RayCommit != "")
	w.String("session_name", c.Session, c.Session != "")
	w.Enum("auth", c.Auth, c.Auth != "")
	w.String("token_hash", c.TokenHash, c.TokenHash != "")
	w.Enum("client", string(c.Client), c.Client != "")
	w.String("user_agent", c.UserAgent, c.UserAgent != "")
	w.Vector("evasions", "string", c.Evasions, len(c.Evasions) > 0)
	w.String("object", c.Object, c.Object != "")
}
