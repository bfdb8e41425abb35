package raygrpc

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"

	"github.com/raytap/raytap/decoders/chars"
	"github.com/raytap/raytap/decoders/http2"
)

// fields reads the messages. Numbers are those of Ray's .proto files, which have been stable since 1.11.
// It is whole because it is one table of the methods.
func (r *Call) fields() {
	c := r.GRPC
	var req, resp []byte
	if len(c.RequestMessages) > 0 {
		req = c.RequestMessages[0].Data
	}
	if len(c.ResponseMessages) > 0 {
		resp = c.ResponseMessages[0].Data
	}
	switch r.Method {
	case "RayletDataStreamer/Datapath":
		r.datapath(c.RequestMessages, c.ResponseMessages)
	case "RayletDriver/Init":
		r.initRequest(req)
		r.accepted(resp, has(resp, 1) && numAt(resp, 1) == 1, len(c.ResponseMessages) > 0)
	case "RayletDriver/Schedule":
		r.clientTask(req)
		r.accepted(resp, numAt(resp, 1) == 1, len(c.ResponseMessages) > 0)
	case "RayletDriver/PutObject":
		r.pickle(bytesAt(req, 1))
	case "RayletDriver/KVPut", "InternalKVGcsService/InternalKVPut":
		r.kv(req, 4)
		r.ValueLen = len(bytesAt(req, 2))
		if codeKey(r.Namespace, r.Key) {
			r.Class = Exec // workers load what stands there
			r.pickle(bytesAt(req, 2))
		}
	case "RayletDriver/KVGet", "InternalKVGcsService/InternalKVGet", "RayletDriver/KVExists", "InternalKVGcsService/InternalKVExists":
		r.kv(req, 2)
		if codeKey(r.Namespace, r.Key) && strings.HasSuffix(r.Method, "Get") {
			r.Class = Secret
		}
		r.clusterMetadata(resp)
	case "RayletDriver/KVDel", "InternalKVGcsService/InternalKVDel":
		r.kv(req, 2)
		r.Prefix = numAt(req, 3) == 1
	case "RayletDriver/KVList", "InternalKVGcsService/InternalKVKeys":
		r.kv(req, 2)
		r.Prefix = true
		all(resp, 2, 1<<16, func([]byte) { r.Keys++ })
	case "InternalKVGcsService/InternalKVMultiGet":
		r.Key = shown(bytesAt(req, 1))
		r.Namespace = shown(bytesAt(req, 2))
		if codeKey(r.Namespace, r.Key) {
			r.Class = Secret
		}
	case "NodeInfoGcsService/RegisterNode":
		n := r.node(bytesAt(req, 1))
		r.NodeID, r.Node, r.Host, r.Head = n.ID, n.Addr, n.Host, n.Head
	case "NodeInfoGcsService/GetAllNodeInfo":
		all(resp, 2, maxNodes, func(b []byte) { r.node(b) })
	case "ObservabilityPubSubService/GcsPublish", "InternalPubSubGcsService/GcsPublish":
		all(req, 1, maxList, func(b []byte) { r.reported(b) })
	case "NodeInfoGcsService/UnregisterNode", "NodeInfoGcsService/DrainNode":
		r.NodeID = id(bytesAt(req, 1), 28)
	case "NodeInfoGcsService/GetClusterId":
		if s := id(bytesAt(resp, 2), 28); s != "" {
			r.ClusterID = s
		}
	case "NodeInfoGcsService/CheckAlive":
		r.Version = version(bytesAt(resp, 2))
	case "MonitorGcsService/GetRayVersion":
		r.Version = version(bytesAt(resp, 1))
	case "JobInfoGcsService/AddJob":
		r.job(bytesAt(req, 1))
	case "ActorInfoGcsService/RegisterActor", "ActorInfoGcsService/CreateActor":
		r.taskSpec(bytesAt(req, 1))
	case "NodeManagerService/RequestWorkerLease":
		r.taskSpec(bytesAt(req, 1))
	case "CoreWorkerService/PushTask":
		r.taskSpec(bytesAt(req, 2))
	case "ReporterService/CpuProfiling":
		// Up to 2.6.3 the format was put into a shell command (CVE-2023-6019).
		if f := string(bytesAt(req, 2)); strings.ContainsAny(f, "`$;|&<>(){}\n\\\"'") {
			r.Class = Exec
			r.Commands = add(r.Commands, chars.Bound(f, maxCmd), maxCmds)
		}
	case "LogService/StreamLog", "LogService/ListLogs":
		r.Key = shown(bytesAt(req, 1))
	case "RuntimeEnvService/GetOrCreateRuntimeEnv", "RuntimeEnvService/CreateRuntimeEnv":
		r.runtimeEnv(bytesAt(req, 1))
	case "RayletDriver/ClusterInfo":
		if v := bytesAt(resp, 4, 1); v != nil {
			r.JobID = id(v, 4)
		}
		r.Session = session(bytesAt(resp, 4, 7))
		var m struct {
			URL string `json:"dashboard_url"`
		}
		if b := bytesAt(resp, 2); len(b) < maxValue && json.Unmarshal(b, &m) == nil {
			r.Dashboard, _ = netip.ParseAddrPort(m.URL)
		}
	}
}

// node reads a GcsNodeInfo and adds it to the list.
func (r *Call) node(b []byte) Node {
	n := Node{
		ID: id(bytesAt(b, 1), 28), Addr: addr(bytesAt(b, 2)), Host: chars.Bound(string(bytesAt(b, 8)), 128),
		Dead: numAt(b, 7) == 1, Head: numAt(b, 25) == 1,
	}
	for _, p := range [...]struct {
		id   int
		role Service
	}{{5, Raylet}, {6, Objects}, {9, Metrics}, {27, RuntimeEnv}, {30, Agent}, {31, JobAgent}} {
		if v := numAt(b, p.id); v > 0 && v < 1<<16 {
			n.Ports = append(n.Ports, Port{p.role, uint16(v)})
		}
	}
	if s := session(bytesAt(b, 3)); s != "" && !n.Dead { // the socket's path is in the session's directory
		r.Session = s
	}
	if n.ID != "" && n.Addr.IsValid() {
		r.Nodes = append(r.Nodes, n)
	}
	return n
}

var reSession = regexp.MustCompile(`session_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_\d{6}_\d{1,10}`)

// session finds the name of a session in a text.
func session(b []byte) string {
	return string(reSession.Find(b[:min(len(b), maxValue)]))
}

// clusterMetadata takes versions out of the cluster's metadata, which clients read first, and the session's name.
func (r *Call) clusterMetadata(resp []byte) {
	switch r.Key {
	case "session_name", "session_dir":
		r.Session = session(bytesAt(resp, 2))
	case "CLUSTER_METADATA":
		var m struct {
			Version string `json:"ray_version"`
			Python  string `json:"python_version"`
			Commit  string `json:"git_commit"`
		}
		if json.Unmarshal(bytesAt(resp, 2), &m) == nil {
			r.Version, r.Python = version([]byte(m.Version)), version([]byte(m.Python))
			if chars.IsHex(m.Commit, 40) {
				r.Commit = m.Commit
			}
		}
	}
}

// accepted notes what a message with a flag says.
func (r *Call) accepted(resp []byte, ok, seen bool) {
	switch {
	case !seen:
	case ok:
		r.Outcome = Executed
	default:
		r.Outcome = Rejected
		r.Status = chars.Bound(string(bytesAt(resp, 2)), maxValue)
	}
}

func (r *Call) kv(req []byte, ns int) {
	r.Key, r.Namespace = shown(bytesAt(req, 1)), shown(bytesAt(req, ns))
}

// codeKey says that workers load or run what stands under a key: exported functions and actor classes, packages,
// the module of a tracing hook; or that a job's command and environment stand there.
func codeKey(ns, key string) bool {
	return ns == "fun" || ns == "tracing" || strings.Contains(key, "_ray_pkg_") ||
		strings.HasPrefix(key, "RemoteFunction:") || strings.HasPrefix(key, "ActorClass:") ||
		strings.HasPrefix(key, "_ray_internal_job_info_")
}

// operations of a Datapath, by the field of DataRequest that is set.
var operations = [...]struct {
	name  string
	class Class
}{
	2: {"get", State}, 3: {"put", Exec}, 4: {"release", Info}, 5: {"connection_info", Info}, 6: {"init", Exec},
	7: {"prep_runtime_env", Write}, 8: {"connection_cleanup", Info}, 9: {"acknowledge", Info}, 10: {"task", Exec},
	11: {"terminate", Write}, 12: {"list_named_actors", State},
}

func (r *Call) datapath(req, resp []http2.Message) {
	worst := Info
	answers := 0
	for i := range req {
		w := wire{b: req[i].Data}
		for {
			f, ok := w.next()
			if !ok {
				break
			}
			if f.kind != lenDel || f.id >= len(operations) || operations[f.id].name == "" {
				continue
			}
			op := operations[f.id]
			r.Operations = add(r.Operations, op.name, maxOpsOf)
			if op.class.rank() > worst.rank() {
				worst = op.class
			}
			switch op.name {
			case "init":
				r.initRequest(f.data)
			case "put":
				r.pickle(bytesAt(f.data, 1))
			case "task":
				r.clientTask(f.data)
			case "get", "release", "connection_info", "connection_cleanup", "acknowledge":
				continue
			}
			answers++
		}
	}
	if len(req) == 0 {
		// Answers to what was told of before.
		for i := range resp {
			for id, op := range operations {
				if id > 1 && op.class.rank() >= Write.rank() && has(resp[i].Data, id) {
					r.Operations = add(r.Operations, op.name, maxOpsOf)
					if answers++; op.class.rank() > worst.rank() {
						worst = op.class
					}
				}
			}
		}
	}
	r.Class = worst
	for i := range resp {
		b := resp[i].Data
		if v := version(bytesAt(b, 5, 2)); v != "" {
			r.Version, r.Python = v, version(bytesAt(b, 5, 4))
			if c := string(bytesAt(b, 5, 3)); chars.IsHex(c, 40) {
				r.Commit = c
			}
		}
	}
	if answers == 0 {
		return
	}
	for i := range resp {
		b := resp[i].Data
		switch {
		case has(b, 6):
			r.accepted(bytesAt(b, 6), numAt(b, 6, 1) == 1, true)
		case has(b, 10):
			if r.Outcome = Rejected; numAt(b, 10, 1) == 1 {
				r.Outcome = Executed
			}
		case has(b, 3):
			if r.Outcome == Unseen {
				r.Outcome = Executed
			}
		}
	}
}

// reported reads what a node's agent tells the dashboard of itself every few seconds: a JSON text with the node's id in
// the key of the message.
func (r *Call) reported(msg []byte) bool {
	key, ok := strings.CutPrefix(string(bytesAt(msg, 2)), reporterKey)
	if !ok || !chars.IsHex(key, 56) {
		return false
	}
	text := bytesAt(msg, 12, 1)
	if text == nil {
		text = bytesAt(msg, 15, 1) // its number up to 2.9 at least
	}
	n := Node{ID: strings.Clone(key)}
	if m := reReporterIP.FindSubmatch(text[:min(len(text), maxCmd)]); m != nil {
		n.Addr = addr(m[1])
	}
	if m := reReporterHost.FindSubmatch(text[:min(len(text), maxCmd)]); m != nil {
		n.Host = string(m[1])
	}
	if r.NodeID = n.ID; n.Addr.IsValid() {
		r.Nodes = append(r.Nodes, n)
	}
	if s := reSession.Find(text); s != nil { // in the arguments of its processes
		r.Session = string(s)
	}
	return true
}

const reporterKey = "RAY_REPORTER:"

var (
	reReporterIP   = regexp.MustCompile(`"ip": ?"([0-9a-fA-F.:]{2,45})"`)
	reReporterHost = regexp.MustCompile(`"hostname": ?"([A-Za-z0-9._-]{1,128})"`)
)

func (r *Call) initRequest(b []byte) {
	r.pickle(bytesAt(b, 1))
	r.runtimeEnv(bytesAt(b, 2))
}

func (r *Call) clientTask(b []byte) {
	if s := string(bytesAt(b, 2)); s != "" {
		r.Function = chars.Bound(s, maxValue)
	}
	if s := string(bytesAt(b, 6)); len(s) == 32 && r.ClientID == "" {
		r.ClientID = chars.Bound(s, 32)
	}
	r.pickle(bytesAt(b, 10))
	r.pickle(bytesAt(b, 7, 1))
	r.pickle(bytesAt(b, 8, 1))
	all(b, 4, maxList, func(a []byte) { r.pickle(bytesAt(a, 3)) })
}

// taskSpec reads a task or actor that is handed out.
func (r *Call) taskSpec(b []byte) {
	if d := bytesAt(b, 4, 2); d != nil {
		var parts []string
		for i := 1; i <= 3; i++ {
			if s := string(bytesAt(d, i)); s != "" {
				parts = append(parts, s)
			}
		}
		r.Function = chars.Bound(strings.Join(parts, "."), maxValue)
	}
	if name := bytesAt(b, 2); r.Function == "" && plain(name) {
		r.Function = chars.Bound(string(name), maxValue)
	}
	if r.JobID = id(bytesAt(b, 5), 4); r.JobID == "" {
		r.JobID = id(bytesAt(b, 2), 4) // of a lease, since 2.50
	}
	r.runtimeEnv(bytesAt(b, 23, 1))
	all(b, 11, maxList, func(a []byte) { r.pickle(bytesAt(a, 2)) })
}

func (r *Call) job(b []byte) {
	r.JobID = id(bytesAt(b, 1), 4)
	r.Driver = addr(bytesAt(b, 4))
	r.Entrypoint = chars.Bound(string(bytesAt(b, 9)), maxCmd)
	r.command(r.Entrypoint)
	r.runtimeEnv(bytesAt(b, 6, 4, 1))
}

// runtimeEnv takes the places that code is fetched from out of a serialised runtime environment, or out of the keyword
// arguments of ray.init.
func (r *Call) runtimeEnv(b []byte) {
	if len(b) < 3 || len(b) > 64<<10 {
		return
	}
	var outer struct {
		RuntimeEnv json.RawMessage `json:"runtime_env"`
	}
	if json.Unmarshal(b, &outer) != nil {
		return
	}
	if len(outer.RuntimeEnv) > 0 {
		b = outer.RuntimeEnv
	}
	var env struct {
		WorkingDir string   `json:"working_dir"`
		PyModules  []string `json:"py_modules"`
		PyExec     string   `json:"py_executable"`
	}
	if json.Unmarshal(b, &env) != nil {
		return
	}
	r.URIs = add(r.URIs, chars.Bound(env.WorkingDir, maxValue), maxList)
	for _, m := range env.PyModules {
		r.URIs = add(r.URIs, chars.Bound(m, maxValue), maxList)
	}
	r.command(env.PyExec)
}

// pickle reads one, if it is one.
func (r *Call) pickle(b []byte) {
	if !isPickle(b) {
		return
	}
	r.Pickles++
	p := readPickle(b)
	for _, g := range p.Globals {
		if danger(g) != "" {
			r.Globals = add(r.Globals, g, maxList)
		}
	}
	for _, g := range p.Calls {
		if danger(g) != "" {
			r.Calls = add(r.Calls, g, maxList)
		}
	}
	for _, g := range p.inCode() {
		r.Uses = add(r.Uses, g, maxList)
	}
	for _, s := range p.Strings {
		r.command(s)
	}
}

// reCommand is what shell commands and droppers have and names, messages and documentation have not.
var reCommand = regexp.MustCompile(`(?i)(?:^|[;&|(\s` + "`" + `])(?:curl|wget|nc|ncat|socat|bash|sh|python3?|perl|chmod|nohup|crontab|base64|id|whoami|uname|hostname|cat|nslookup|ping|kill|pkill|xmrig|rm|sudo|ssh|scp|apt|apt-get|yum|pip3?)(?:\s+[-/~'"$\w.]|\s*[;&|])|/dev/tcp/|stratum\+(?:tcp|ssl)://|/etc/(?:passwd|shadow)|169\.254\.169\.254|https?://\d{1,3}(?:\.\d{1,3}){3}\b`)

// command keeps s if it looks like a shell command. Documentation has lines and sentences; commands of attackers may
// have lines, too, but begin as commands do.
func (r *Call) command(s string) {
	if len(s) < 2 || len(r.Commands) >= maxCmds || !reCommand.MatchString(s) {
		return
	}
	r.Commands = add(r.Commands, chars.Bound(s, maxCmd), maxCmds)
}

// plain says that b is a name.
func plain(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c >= 0x7f {
			return false
		}
	}
	return true
}

func version(b []byte) string {
	if len(b) == 0 || len(b) > 32 || b[0] < '0' || b[0] > '9' {
		return ""
	}
	for _, c := range b {
		if c != '.' && c != '+' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return ""
		}
	}
	return string(b)
}
