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
			{Name: "service", Doc: "Part of Ray that was called: the head's dashboard, a node's agent, the Serve proxy's own routes, the runtime env agent, metrics; `kuberay` is KubeRay's API server, `kubernetes` the Kubernetes API.",
				Values: values(Dashboard, Agent, Serve, RuntimeEnv, Metrics, KubeRayAPI, Kubernetes)},
			{Name: "method", Doc: "HTTP method as sent."},
			{Name: "route", Doc: "Ray route with placeholders: `/api/jobs/{id}`."},
			{Name: "prefix", Doc: "Prefix that a proxy adds before Ray's path: `/ray`."},
			{Name: "uri", Doc: "Path, percent-decoded, and query."},
			{Name: "class", Doc: "What the call can do: `exec` runs code, `control` stops, deletes, scales or profiles, `write` stores something, `read` returns state, logs and jobs, which may hold credentials, `info` returns versions and health.",
				Values: values(Info, Read, Write, Exec, Control)},
			{Name: "outcome", Doc: "Result: `executed` it runs, is stored or stopped; `answered` the data was returned; `blocked_token` no token or a wrong one; `blocked_browser` Ray refuses browsers; `rejected` refused otherwise; `error` it failed; `not_ray` the response is not from Ray; `unknown` no response was seen.",
				Values: values(Executed, Answered, BlockedToken, BlockedBrowser, Rejected, Failed, NotRay, Unknown)},
			{Name: "status_code", Doc: "HTTP status."},
			{Name: "entrypoint", Doc: "Command of a job, at most 4 KiB of it."},
			{Name: "submission_id", Doc: "Submission ID of a job, chosen by the submitter or by Ray."},
			{Name: "job_id", Doc: "Ray's internal job ID, in hexadecimal."},
			{Name: "runtime_env", Doc: "Keys of the job's runtime_env: `pip`, `working_dir`, `env_vars`."},
			{Name: "runtime_uris", Doc: "Sources of the job's code: URIs of working_dir, py_modules and java_jars."},
			{Name: "env_names", Doc: "Names of the environment variables that a job sets; values are never logged."},
			{Name: "package", Doc: "Name of a code package that is stored or requested."},
			{Name: "package_len", Unit: "bytes", Doc: "Length of a package that was stored."},
			{Name: "ray_version", Doc: "Ray version that a response names."},
			{Name: "ray_commit", Doc: "Commit of the build."},
			{Name: "session_name", Doc: "Session of the cluster: `session_2026-11-29_...`, with its start time."},
			{Name: "auth", Doc: "How the client authenticated: not at all, with a bearer token, Ray's own header, Ray's cookie, a password, or otherwise.",
				Values: []string{"none", "bearer", "x-ray", "cookie", "basic", "other"}},
			{Name: "token_hash", Doc: "First 16 hexadecimal digits of the token's SHA-256, to distinguish tokens. The token itself is never logged."},
			{Name: "client", Doc: "Kind of client: Ray's command line and SDK, the KubeRay operator, a browser, Ray itself, a metrics collector, or a tool such as curl.",
				Values: values(SDK, KubeRay, Browser, Internal, Prometheus, Tool, Other)},
			{Name: "user_agent", Doc: "User-Agent header."},
			{Name: "evasions", Doc: "Encodings of the request that only serve to hide it, the most significant first: `escaped_key`, `escaped_text`, `duplicate_key`, `charset:...`, `padding`, `content_coding:...`, `unknown_coding:...`, `tiny_chunks`, `framing_conflict`, `path_encoded`, `path_dots`, `path_slashes`."},
			{Name: "object", Doc: "Kubernetes object of the call, with its namespace: `RayJob default/train`."},
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
