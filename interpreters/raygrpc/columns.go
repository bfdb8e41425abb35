package raygrpc

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "ray_grpc",
		When: "For each gRPC call to Ray when it ends; for a long-lived call also for each request in it that can do harm.",
		Row:  &Call{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the request; in a stream, of the first message that the row covers."}}, capture.FlowColumns(), []capture.Column{
			{Name: "service", Doc: "Part of Ray: Ray Client, the global control service, a raylet, a worker, an object manager, a node's agent, Serve; `other` is any other Ray service, `unknown` one whose path was not seen.",
				Values: values(Client, GCS, Raylet, Worker, Objects, Agent, Serve, Other, Unknown)},
			{Name: "method", Doc: "Service and method without the package: `InternalKVGcsService/InternalKVPut`."},
			{Name: "operations", Doc: "Request in Ray Client's stream: `init`, `put`, `task` and so on."},
			{Name: "class", Doc: "What the call can do: `exec` runs the caller's code, `write` changes or destroys, `secret` reads data that may hold credentials or code, `state` reads the state of the cluster, `info` only announces presence.",
				Values: values(Exec, Write, Secret, State, Info)},
			{Name: "outcome", Doc: "Result: `executed` it runs, is stored or deleted; `answered` the data was returned; `blocked_token` no token or a wrong one; `rejected` refused otherwise; `error` it failed; `unknown` no conclusive response was seen.",
				Values: values(Executed, Answered, NoToken, Rejected, Failed, Unseen)},
			{Name: "kv_namespace", Doc: "Namespace in the cluster's key-value store."},
			{Name: "kv_key", Doc: "Key in that namespace."},
			{Name: "function", Doc: "Function or class to run: `module.class.name`."},
			{Name: "job_id", Doc: "ID of the job, in hexadecimal."},
			{Name: "node_id", Doc: "ID of the node, in hexadecimal."},
			{Name: "client_id", Doc: "ID that Ray Client chose for itself."},
			{Name: "cluster_id", Doc: "ID of the cluster; each start creates a new one."},
			{Name: "auth", Doc: "How the client authenticated. Unset if that was sent before the capture began.", Values: []string{"none", "bearer", "other"}},
			{Name: "token_hash", Doc: "First 16 hexadecimal digits of the token's SHA-256, to distinguish tokens. The token itself is never logged."},
			{Name: "globals", Doc: "Names in pickles that are dangerous to use: `os.system`."},
			{Name: "code_uses", Doc: "Dangerous names in the code of a pickled function; they are used only if that code runs."},
			{Name: "live", Doc: "The call is still open."},
			{Name: "inferred", Doc: "The path was not seen: the call was identified by its messages."},
			{Name: "mid", Doc: "The connection began before the capture, or part of the request's header was lost."},
			{Name: "ray_version", Doc: "Ray version that was named."},
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
