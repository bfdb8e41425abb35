package ray

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "ray",
		When: "For each HTTP request to Ray, to KubeRay's API server, or to the Kubernetes API for KubeRay's resources.",
		Row:  &Call{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the request."}}, capture.FlowColumns(), []capture.Column{
			{Name: "service", Doc: "Part of Ray that was called: the head's dashboard, the agent of a node, the Serve proxy's own routes, the runtime env agent, metrics; `kuberay` is KubeRay's API server, `kubernetes` the Kubernetes API.",
				Values: values(Dashboard, Agent, Serve, RuntimeEnv, Metrics, KubeRayAPI, Kubernetes)},
			{Name: "method", Doc: "Method of HTTP, as sent."},
			{Name: "route", Doc: "Route of Ray's with names for what varies: `/api/jobs/{id}`."},
			{Name: "prefix", Doc: "What a proxy has before Ray's path: `/ray`."},
			{Name: "uri", Doc: "Path, percent-decoded, and query."},
			{Name: "class", Doc: "What the call can do: `exec` runs code, `control` stops, deletes, scales or profiles, `write` stores something, `read` tells of state, logs and jobs, which may hold credentials, `info` tells versions and health.",
				Values: values(Info, Read, Write, Exec, Control)},
			{Name: "outcome", Doc: "What the server made of it: `executed` it runs, is stored or stopped; `answered` the reader got it; `blocked_token` no token, or a wrong one; `blocked_browser` Ray refuses browsers; `rejected` refused otherwise; `error` it failed; `not_ray` no answer of Ray's; `unknown` no answer was seen.",
				Values: values(Executed, Answered, BlockedToken, BlockedBrowser, Rejected, Failed, NotRay, Unknown)},
			{Name: "status_code", Doc: "Status of HTTP."},
			{Name: "entrypoint", Doc: "Command of a job, at most 4 KiB of it."},
			{Name: "submission_id", Doc: "Id of a job as its submitter chose it, or Ray for him."},
			{Name: "job_id", Doc: "Ray's own id of a job, in hexadecimal."},
			{Name: "runtime_env", Doc: "Keys of the job's runtime_env: `pip`, `working_dir`, `env_vars`."},
			{Name: "runtime_uris", Doc: "Where the job's code comes from: URIs of working_dir, py_modules and java_jars."},
			{Name: "env_names", Doc: "Names of the environment variables that a job sets; their values are never logged."},
			{Name: "package", Doc: "Name of a package of code that is stored, or asked for."},
			{Name: "package_len", Unit: "bytes", Doc: "Length of a package that is stored."},
			{Name: "ray_version", Doc: "Version of Ray that an answer names."},
			{Name: "ray_commit", Doc: "Commit that it was built from."},
			{Name: "session_name", Doc: "Session of the cluster: `session_2026-11-29_...`, with the time of its start."},
			{Name: "auth", Doc: "How the client authenticated: not at all, with a bearer token, with Ray's own header, with its cookie, with a password, otherwise.",
				Values: []string{"none", "bearer", "x-ray", "cookie", "basic", "other"}},
			{Name: "token_hash", Doc: "First 16 digits of the token's SHA-256, to tell one token from another. The token is never logged."},
			{Name: "client", Doc: "Kind of program that called: Ray's command line and SDK, the KubeRay operator, a browser, Ray itself, a collector of metrics, or a tool such as curl.",
				Values: values(SDK, KubeRay, Browser, Internal, Prometheus, Tool, Other)},
			{Name: "user_agent", Doc: "User-Agent header."},
			{Name: "evasions", Doc: "What of the request's encoding serves no purpose but to hide it, the most telling first: `escaped_key`, `escaped_text`, `duplicate_key`, `charset:...`, `padding`, `content_coding:...`, `unknown_coding:...`, `tiny_chunks`, `framing_conflict`, `path_encoded`, `path_dots`, `path_slashes`."},
			{Name: "object", Doc: "Object of Kubernetes that the call is about, with its namespace: `RayJob default/train`."},
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
