package rayredis

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "ray_redis",
		When: "For the first command of each kind on a connection to the Redis of Ray before 1.11.",
		Row:  &Call{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the command."}}, capture.FlowColumns(), []capture.Column{
			{Name: "command", Doc: "Command in upper case."},
			{Name: "key", Doc: "Key that the call refers to; bytes that are not text are escaped."},
			{Name: "class", Doc: "What the command can do: `exec` runs code or stores what workers load, `write` changes or destroys, `state` reads, `info` announces presence or logs in.",
				Values: []string{string(Exec), string(Write), string(State), string(Info)}},
			{Name: "outcome", Doc: "Result: `executed`, `answered`, `blocked_token` no password or a wrong one, `rejected` refused otherwise, `unknown` no response was seen.",
				Values: []string{string(Executed), string(Answered), string(NoToken), string(Rejected), string(Unseen)}},
			{Name: "auth", Doc: "Credential the client had sent before: none, the default password from Ray's source, another one.", Values: []string{"none", "default", "password"}},
			{Name: "gcs_address", Doc: "Host and port of the global control service, as named in a reply."},
			{Name: "ray_version", Doc: "Ray version that a response names."},
			{Name: "session_name", Doc: "Session of the cluster."},
			{Name: "mid", Doc: "The connection began before the capture."},
		}),
	}}
}
