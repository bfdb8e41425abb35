package ray

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/raytap/raytap/decoders/http"
)

// tokenCookie is the cookie in which the dashboard keeps a token (Ray 2.52 on).
const tokenCookie = "ray-authentication-token"

// readAuth finds the token where Ray looks for it, in its order. What it returns is the kind, and a hash that lets two
// uses of one token be recognised without telling it.
func readAuth(q *http.Request) (kind, hash string) {
	if v := q.Header.Get("Authorization"); v != "" {
		scheme, tok, _ := strings.Cut(v, " ")
		switch strings.ToLower(scheme) {
		case "bearer":
			return "bearer", tokenHash(tok)
		case "basic":
			return "basic", ""
		}
		return "other", ""
	}
	if v := q.Header.Get("X-Ray-Authorization"); v != "" {
		_, tok, ok := strings.Cut(v, " ")
		if !ok {
			tok = v
		}
		return "x-ray", tokenHash(tok)
	}
	if v := cookie(q, tokenCookie); v != "" {
		return "cookie", tokenHash(v)
	}
	if q.Partial {
		return "", "" // it may be among what is missing
	}
	return "none", ""
}

func cookie(q *http.Request, name string) string {
	rest := q.Header.Get("Cookie")
	for rest != "" {
		var c string
		c, rest, _ = strings.Cut(rest, ";")
		if k, v, ok := strings.Cut(strings.TrimSpace(c), "="); ok && k == name {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

func tokenHash(tok string) string {
	tok = strings.TrimSpace(tok)
	if tok == "" {
		return ""
	}
	h := sha256.Sum256([]byte(tok))
	return hex.EncodeToString(h[:8])
}

// isProxied looks for what a proxy leaves on a request: the headers by which it names the client, or the HTTP/1.0
// that nginx speaks to its upstreams from a client that does not.
func isProxied(q *http.Request) bool {
	for i := range q.Header {
		n := q.Header[i].Name
		switch len(n) {
		case 3, 7, 9, 15, 16, 17, 18, 21, 24, 25:
		default:
			continue
		}
		switch strings.ToLower(n) {
		case "via", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port",
			"x-real-ip", "x-envoy-external-address", "x-forwarded-prefix", "x-forwarded-server",
			"x-envoy-expected-rq-timeout-ms":
			return true
		}
	}
	if q.Version != "1.0" {
		return false
	}
	ua := q.Header.Get("User-Agent")
	for _, p := range [...]string{"curl/", "python-requests/", "Mozilla/", "Go-http-client/1.1", "Python/"} {
		if strings.HasPrefix(ua, p) {
			return true
		}
	}
	return false
}

// clientOf says what kind of program sent the request, and by which sign.
func clientOf(c *Call, q *http.Request) (Client, string) {
	ua := c.UserAgent
	has := func(p string) bool { return strings.HasPrefix(ua, p) }
	switch {
	case has("Prometheus/"), has("VictoriaMetrics"), has("Grafana"), has("OpenTelemetry Collector"):
		return Prometheus, "user agent"
	case has("Boost.Beast/"):
		return Internal, "user agent of the raylet"
	case has("kube-probe/"):
		return KubeRay, "user agent of a kubelet's probe"
	case c.Job && c.AllKeys && strings.Contains(ua, "aiohttp/"):
		return Internal, "all keys of a job, the absent as null, as the head hands it to an agent"
	case c.Route == "/report_events" && strings.Contains(ua, "aiohttp/"):
		return Internal, "an agent's events"
	case has("Mozilla/"):
		for _, n := range [...]string{"Sec-Fetch-Site", "Sec-Fetch-Mode", "Accept-Language", "Origin"} {
			if q.Header.Has(n) {
				return Browser, "user agent and " + n
			}
		}
		return Tool, "user agent of a browser without a browser's headers"
	case q.Header.Has("Sec-Fetch-Site") || q.Header.Has("Sec-Fetch-Mode"):
		return Browser, "Sec-Fetch headers"
	case q.Header.Has("Origin"):
		return Browser, "Origin"
	case has("python-requests/"):
		return SDK, "user agent"
	case has("Python/") && strings.Contains(ua, "aiohttp/"):
		return SDK, "user agent"
	case has("kubectl/"), has("Helm/"), has("OpenAPI-Generator/"), strings.Contains(ua, " kubernetes/"):
		return SDK, "user agent of a client of Kubernetes"
	case has("Go-http-client/"):
		if c.Auth == "x-ray" {
			return KubeRay, "X-Ray-Authorization"
		}
		if len(c.Keys) > 1 && c.Keys[0] == "runtime_env" {
			return KubeRay, "order of the job's keys"
		}
		if strings.Contains(c.Query, "api_type=declarative") {
			return KubeRay, "api_type"
		}
		return Tool, "user agent of a Go program"
	case ua == "":
		return Tool, "no user agent"
	}
	low := strings.ToLower(ua)
	for _, t := range [...]string{"curl", "wget", "zgrab", "nuclei", "python-urllib", "nmap", "masscan", "libredtail",
		"httpx", "okhttp", "java/", "node", "axios", "ruby", "perl", "powershell", "censys", "shodan", "scan", "fuzz",
		"metasploit", "libwww", "aria2", "httpie"} {
		if strings.Contains(low, t) {
			return Tool, "user agent"
		}
	}
	return Other, ""
}

// evasions lists what of a request's encoding serves no purpose but to hide it, most telling first.
func evasions(q *http.Request, p place, j jobBody) (out []string) {
	// No client of Ray's compresses a request; below this there is nothing to gain by it.
	const smallBody = 64 << 10
	// No library sends the body of a small POST in pieces of this size.
	const tinyChunk = 16
	if j.escapedKey {
		out = append(out, "escaped_key")
	}
	if j.escaped {
		out = append(out, "escaped_text")
	}
	if j.duplicate {
		out = append(out, "duplicate_key")
	}
	if j.charset != "" {
		out = append(out, "charset:"+j.charset)
	}
	if j.padding > 16<<10 {
		out = append(out, "padding")
	}
	b := &q.Body
	if p.route.class == Exec {
		if b.Encoding != "" && b.Len < smallBody {
			out = append(out, "content_coding:"+plainName(b.Encoding))
		}
		if b.Undecoded && b.Len > 0 {
			out = append(out, "unknown_coding:"+plainName(q.Header.Get("Content-Encoding")))
		}
		if b.TinyChunk > 0 && b.TinyChunk <= tinyChunk && b.Chunks > 3 {
			out = append(out, "tiny_chunks")
		}
	}
	if b.Conflict {
		out = append(out, "framing_conflict")
	}
	if p.encoded {
		out = append(out, "path_encoded")
	}
	if p.dots {
		out = append(out, "path_dots")
	}
	if p.slashes {
		out = append(out, "path_slashes")
	}
	return out
}
