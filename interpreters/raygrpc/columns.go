package raygrpc

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "ray_grpc",
		When: "For each gRPC call to Ray when it ends, and before that for what a call that lives on asks for, if it can do harm.",
		Row:  &Call{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the request; in a stream, of the first message that the row is about."}}, capture.FlowColumns(), []capture.Column{
			{Name: "service", Doc: "Part of Ray: Ray Client, the global control service, a raylet, a worker, an object manager, the agent of a node, Serve; `other` is a service of Ray's beyond these, `unknown` one whose path was not seen.",
				Values: values(Client, GCS, Raylet, Worker, Objects, Agent, Serve, Other, Unknown)},
			{Name: "method", Doc: "Service and method without the package: `InternalKVGcsService/InternalKVPut`."},
			{Name: "operations", Doc: "What Ray Client's stream asked for: `init`, `put`, `task` and so on."},
			{Name: "class", Doc: "What the call can do: `exec` runs code of the caller's, `write` changes or destroys, `secret` reads what may hold credentials or code, `state` reads the state of the cluster, `info` says that somebody is there.",
				Values: values(Exec, Write, Secret, State, Info)},
			{Name: "outcome", Doc: "What the server made of it: `executed` it runs, is stored or gone; `answered` the reader got it; `blocked_token` no token, or a wrong one; `rejected` refused otherwise; `error` it failed; `unknown` no answer was seen, or none that tells.",
				Values: values(Executed, Answered, NoToken, Rejected, Failed, Unseen)},
			{Name: "kv_namespace", Doc: "Namespace in the cluster's key-value store."},
			{Name: "kv_key", Doc: "Key in it."},
			{Name: "function", Doc: "Function or class that is run: `module.class.name`."},
			{Name: "job_id", Doc: "Id of the job, in hexadecimal."},
			{Name: "node_id", Doc: "Id of the node, in hexadecimal."},
			{Name: "client_id", Doc: "Id that Ray Client gives itself."},
			{Name: "cluster_id", Doc: "Id of the cluster, a new one with each of its starts."},
			{Name: "auth", Doc: "How the client authenticated. Unset where that was said before the capture began.", Values: []string{"none", "bearer", "other"}},
			{Name: "token_hash", Doc: "First 16 digits of the token's SHA-256, to tell one token from another. The token is never logged."},
			{Name: "globals", Doc: "Names in pickles whose use is dangerous: `os.system`."},
			{Name: "code_uses", Doc: "Names of the same kind that the code of a pickled function has; they are used only if it gets there."},
			{Name: "live", Doc: "The call goes on."},
			{Name: "inferred", Doc: "The path was not seen: the call is told by what its messages look like."},
			{Name: "mid", Doc: "The connection began before the capture did, or a part of the request's header was lost."},
			{Name: "ray_version", Doc: "Version of Ray that was named."},
			{Name: "session_name", Doc: "Session of the cluster."},
		}),
	}}
}

func values[T ~string](all ...T) []string {
	s := make([]string, len(all))
	for i, v := range all {
		s[i] = string(v)
	}
	return s
}
