// Package raygrpc reads gRPC calls as what they ask of Ray.
//
// In: *http2.Call, and the calls inside *http2.Part, which are under way. Out: *Call: the part of Ray, the method, its
// class (exec, write, secret, state, info) and outcome, keys and namespaces of the internal KV, functions, ids of jobs,
// nodes, clients and clusters, how it authenticated, what its pickles name. It is the row of ray_grpc.log. A call that
// is not Ray's gives nil, as do parts in which nothing happens but reading.
//
// Ray Client (RayletDriver, and RayletDataStreamer, whose one stream carries all that a client does), the GCS, raylets,
// workers, object managers and agents are recognised by path. Where the path was said before the capture began, the
// metadata (client_id, ray_cluster_id) and the shapes of messages that nothing else has are used, and the call is
// marked Inferred; what is left stays unknown.
//
// Pickles are read opcode by opcode, bounded, and nothing of them is executed. Globals are what a pickle names, Calls
// what loading it calls: os.system as a call is an attack, since no pickler writes it. What functions do when they run is
// told by the names and constants of their code, which is a hint and no proof.
//
// Tokens are never kept: TokenHash has the first digits of a SHA-256.
//
// Where copies of files are wanted, Packages follows the packages of jobs (working_dir, py_modules) through the GCS.
//
// It does not see: what is inside arguments that are not pickled, serialised runtime environments beyond their
// URIs, messages behind the bound (64 KiB, http2.MaxMessage), Ray over TLS, the Redis of Ray before 1.11 (rayredis).
package raygrpc

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/chars"
	"github.com/raytap/raytap/decoders/http2"
)

const (
	maxValue = 256 // keys, functions, names
	maxCmd   = 1 << 10
	maxCmds  = 16
	maxOpsOf = 16 // operations of one part
	maxList  = 32
	maxNodes = 256 // what fits into a message as it is kept
)

// Outcome says what came of a call, in the words of ray.log.
type Outcome string

// Outcomes.
const (
	Executed Outcome = "executed"      // accepted: it runs, is stored, is gone
	Answered Outcome = "answered"      // the reader got what it asked for
	NoToken  Outcome = "blocked_token" // no token, or a wrong one
	Rejected Outcome = "rejected"      // refused for another reason
	Failed   Outcome = "error"         // an answer that says it failed
	Unseen   Outcome = "unknown"       // no answer was seen, or none that tells
)

// Call is one call to Ray.
type Call struct {
	capture.At // of the request; in a stream, of the first message that this is about
	Flow       *capture.Flow
	GRPC       *http2.Call

	Service    Service
	Method     string   // "InternalKVGcsService/InternalKVPut"
	Operations []string // of a Datapath: init, put, task, ...
	Class      Class
	Outcome    Outcome
	Status     string // what a refusal says, bounded
	Live       bool   // of a part: the call goes on
	Inferred   bool   // the path is unknown; this is what the messages look like

	Namespace string // of the internal KV
	Key       string
	Prefix    bool // a deletion of all keys that begin so
	ValueLen  int
	Keys      int // keys that were listed

	Function   string // module.class.name of a task or actor
	JobID      string
	NodeID     string
	ClientID   string
	ClusterID  string
	Node       netip.Addr // address that a node registers with
	Host       string
	Head       bool       // it registers as the head
	Driver     netip.Addr // of a job that is added
	Entrypoint string
	URIs       []string // of runtime environments
	Version    string   // Ray's
	Commit     string
	Python     string
	Session    string
	Nodes      []Node // that the GCS knows, or the one that registers
	Dashboard  netip.AddrPort

	Auth      string // none, bearer, other; "" if unknown
	TokenHash string

	Globals  []string // names in pickles whose use is dangerous
	Calls    []string // those that loading a pickle calls
	Uses     []string // what the code of a pickled function uses, of the same kind
	Commands []string // constants of code and arguments that look like shell commands
	Pickles  int
}

// Node is a node as Ray describes it.
type Node struct {
	ID    string
	Addr  netip.Addr
	Host  string
	Head  bool
	Dead  bool
	Ports []Port
}

// Port is a port of a node with what listens there.
type Port struct {
	Role Service
	Num  uint16
}

// Metrics and RuntimeEnv are roles of ports that no gRPC call goes to.
const (
	Metrics    Service = "metrics"
	RuntimeEnv Service = "runtime_env"
	JobAgent   Service = "job_agent"
)

// Keep says how much of each message of a call Interpret wants: it is http2's Options.Keep.
func Keep(c *http2.Call) int {
	if c.Path == "" {
		return 16 << 10
	}
	s, method, _ := route(c)
	switch {
	case s == "", s == Serve, strings.HasPrefix(method, "RaySyncer/"), strings.HasPrefix(method, "ReporterService/Report"):
		return 0
	case s == Objects:
		return 512
	case strings.Contains(method, "Subscriber"), strings.Contains(method, "Publish"), strings.Contains(method, "PubSub"),
		strings.HasPrefix(method, "TaskInfo"), method == "RayletLogStreamer/Logstream":
		return 2 << 10
	}
	return http2.MaxMessage
}

// Interpret reads c as a call to Ray; nil if it is none, or if it is a part that does nothing. The Call keeps c and
// copies what it takes from its messages.
func Interpret(c *http2.Call) *Call {
	if c == nil || !c.GRPC {
		return nil
	}
	r := &Call{At: c.At, Flow: c.Flow, GRPC: c, Outcome: Unseen, Live: c.Live}
	r.Service, r.Method, r.Class = route(c)
	if c.Path == "" {
		r.infer()
	}
	if r.Service == "" {
		return nil
	}
	// A stream may have begun days ago: what it says now is said now.
	switch {
	case !c.Live && r.Method != "RayletDataStreamer/Datapath":
	case len(c.RequestMessages) > 0:
		r.At = c.RequestMessages[0].At
	case len(c.ResponseMessages) > 0:
		r.At = c.ResponseMessages[0].At
	}
	r.auth()
	if id := c.Meta("client_id"); id != "" {
		r.ClientID = chars.Bound(id, 64)
	}
	if id := c.Meta("ray_cluster_id"); id != "" {
		r.ClusterID = chars.Bound(id, 64)
	}
	r.fields()
	if r.Live && r.Class.rank() < Secret.rank() {
		return nil
	}
	r.judge()
	return r
}

// auth reads the token, and forgets it.
func (r *Call) auth() {
	a := r.GRPC.Meta("authorization")
	switch {
	case a == "":
		if r.GRPC.Unknown == 0 && !r.GRPC.Mid {
			r.Auth = "none"
		}
	case len(a) > 7 && strings.EqualFold(a[:7], "bearer "):
		r.Auth = "bearer"
		sum := sha256.Sum256([]byte(strings.TrimSpace(a[7:])))
		r.TokenHash = hex.EncodeToString(sum[:8])
	default:
		r.Auth = "other"
	}
}

// Log implements capture.Record.
func (*Call) Log() string { return "ray_grpc" }

// Row implements capture.Record.
func (c *Call) Row(f capture.Fields) {
	f.Time("ts", c.Time, c.Time != 0)
	c.Flow.ID(f)
	f.Enum("service", string(c.Service), c.Service != "")
	f.String("method", c.Method, c.Method != "")
	f.Vector("operations", "string", c.Operations, len(c.Operations) > 0)
	f.Enum("class", string(c.Class), c.Class != "")
	f.Enum("outcome", string(c.Outcome), c.Outcome != "")
	f.String("kv_namespace", c.Namespace, c.Namespace != "")
	f.String("kv_key", c.Key, c.Key != "")
	f.String("function", c.Function, c.Function != "")
	f.String("job_id", c.JobID, c.JobID != "")
	f.String("node_id", c.NodeID, c.NodeID != "")
	f.String("client_id", c.ClientID, c.ClientID != "")
	f.String("cluster_id", c.ClusterID, c.ClusterID != "")
	f.Enum("auth", c.Auth, c.Auth != "")
	f.String("token_hash", c.TokenHash, c.TokenHash != "")
	f.Vector("globals", "string", c.Globals, len(c.Globals) > 0)
	f.Vector("code_uses", "string", c.Uses, len(c.Uses) > 0)
	f.Bool("live", c.Live, c.Service != "")
	f.Bool("inferred", c.Inferred, c.Service != "")
	f.Bool("mid", c.GRPC != nil && c.GRPC.Mid, c.Service != "")
	f.String("ray_version", c.Version, c.Version != "")
	f.String("session_name", c.Session, c.Session != "")
}

// judge finds out what came of the call.
func (r *Call) judge() {
	c := r.GRPC
	ok := Answered
	if r.Class == Exec || r.Class == Write {
		ok = Executed
	}
	switch {
	case c.GRPCStatus == 16:
		r.Status = chars.Bound(c.GRPCMessage, maxValue)
		if r.Outcome = NoToken; strings.Contains(c.GRPCMessage, "ClusterID") {
			r.Outcome = Rejected
		}
		return
	case c.GRPCStatus == 7 || c.GRPCStatus == 12:
		r.Outcome, r.Status = Rejected, chars.Bound(c.GRPCMessage, maxValue)
		return
	case c.GRPCStatus > 0:
		r.Outcome, r.Status = Failed, chars.Bound(c.GRPCMessage, maxValue)
		return
	case c.HTTPStatus >= 400:
		r.Outcome = Rejected
		return
	}
	if r.Outcome != Unseen {
		return // a message said so
	}
	if c.GRPCStatus == 0 || len(c.ResponseMessages) > 0 || c.ResponseCount > 0 && !c.Live {
		r.Outcome = ok
	}
	if r.Service == GCS && len(c.ResponseMessages) > 0 {
		// Every reply of the GCS begins with a status of its own: code 1, message 2.
		if code := numAt(c.ResponseMessages[0].Data, 1, 1); code != 0 && r.Method != "NodeInfoGcsService/CheckAlive" {
			r.Status = chars.Bound(string(bytesAt(c.ResponseMessages[0].Data, 1, 2)), maxValue)
			if r.Class == Exec || r.Class == Write {
				r.Outcome = Failed
			}
		}
	}
}

// shown gives bytes of a key as text: what is no text, as hex behind the last colon is in Ray's keys, is written in hex.
func shown(b []byte) string {
	b = b[:min(len(b), maxValue)]
	for _, c := range b {
		if c < 0x20 || c >= 0x7f {
			var s strings.Builder
			for _, c := range b {
				if c < 0x20 || c >= 0x7f {
					s.WriteString(`\x`)
					s.WriteString(hex.EncodeToString([]byte{c}))
				} else {
					s.WriteByte(c)
				}
			}
			return chars.Bound(s.String(), maxValue)
		}
	}
	return string(b)
}

// id gives an id in hex, as Ray prints it, if it has its length: 4 bytes for jobs, 16 for actors, 24 for tasks, 28 for
// nodes, workers, clusters.
func id(b []byte, n int) string {
	if len(b) != n {
		return ""
	}
	return hex.EncodeToString(b)
}

func addr(b []byte) netip.Addr {
	if len(b) > 64 {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(string(b))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}

func add(list []string, s string, limit int) []string {
	if s == "" || len(list) >= limit || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
