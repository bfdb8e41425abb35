package ray

import (
	"bytes"
	"strings"
	"unsafe"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
)

// answer is what a response says of the server behind it.
type answer struct {
	seen     bool
	status   int
	aiohttp  bool // Ray's HTTP server, which others use too
	decisive bool // words that only Ray says
	weight   int  // what speaks for Ray: aiohttp 1, decisive 2
	metrics  bool // Prometheus text with Ray's names
	serve    bool // a Serve proxy
	foreign  bool // HTML, or a content type that Ray does not answer with
	failed   bool // 2xx, but the body says that it did not work
	guard    bool // the refusal of browsers
	token    bool // the refusal for want of a token
	head     []byte

	version, commit, session string
	submission, job          string
}

// Words in the beginning of an answer that no other product is known to say: keys of its JSON, file names in its
// errors, texts of its refusals.
var decisiveWords = [...]string{
	`"ray_version"`, `"rayVersion"`, `"submission_id"`, `"driver_agent_http_address"`, `"driver_node_id"`,
	`raysubmit_`, `"rayletSocketName"`, `"nodeManagerAddress"`, `"nodeLogicalResources"`, `"num_after_truncation"`,
	`"autoscalingStatus"`, `"clusterStatus"`, `"proxy_location"`, `"authentication_mode"`,
	`<title>Ray Dashboard</title>`, `/tmp/ray/session_`, `ray/dashboard/`, `ray/_private/`, `JobSubmitRequest`,
	`ServeDeploySchema`, `for browser traffic.`, `Browser requests not allowed`,
	`Unauthorized: Missing authentication token`, `Forbidden: Invalid authentication token`,
	`Profiling is disabled by default for security reasons`, `must be [flamegraph, raw, speedscope]`,
	`Agent for node id: `, `"rayInitCluster"`, `Package gcs://`, `raylet: success`,
}

func readAnswer(p *http.Response) (a answer) {
	if p == nil || p.Status == 0 {
		return a
	}
	a.seen, a.status = true, p.Status
	a.head = p.Body.Data
	if len(a.head) > maxSigns {
		a.head = a.head[:maxSigns]
	}
	a.aiohttp = isAiohttp(p)
	for _, w := range decisiveWords {
		if contains(a.head, w) {
			a.decisive = true
			break
		}
	}
	for _, f := range p.Header {
		if len(f.Name) == len("Set-Cookie") && strings.EqualFold(f.Name, "Set-Cookie") &&
			strings.HasPrefix(f.Value, tokenCookie+"=") {
			a.decisive = true
		}
	}
	a.guard = contains(a.head, "browser traffic") || contains(a.head, "Browser requests not allowed")
	a.token = contains(a.head, "authentication token") || contains(a.head, "Token authentication")
	a.metrics = contains(a.head, "# HELP ray_") || contains(a.head, "# TYPE ray_") || contains(a.head, `SessionName="session_`)
	server := p.Header.Get("Server")
	a.serve = server == "uvicorn" && (contains(a.head, "success") || contains(a.head, "{") || p.Status != 200)
	ct := strings.ToLower(p.Header.Get("Content-Type"))
	a.foreign = strings.HasPrefix(ct, "text/html") && !contains(a.head, "Ray Dashboard")
	if a.aiohttp {
		a.weight = 1
	}
	if a.decisive {
		a.weight = 2
	}
	if !strings.Contains(ct, "json") {
		// Up to 2.32 a log stream begins with a status byte, and 0 is an error.
		a.failed = bytes.HasPrefix(a.head, []byte("0Closing HTTP stream")) ||
			contains(a.head, "Closing HTTP stream due to internal server error")
		return a
	}
	r := &jsonReader{b: p.Body.Data}
	r.object(func(key string, _ text) {
		switch key {
		case "ray_version", "rayVersion":
			a.version, _ = r.str(maxKey)
		case "ray_commit", "rayCommit":
			a.commit, _ = r.str(maxKey)
		case "session_name", "sessionName":
			a.session, _ = r.str(maxID)
		case "submission_id", "submissionId": // the second is KubeRay's
			a.submission, _ = r.str(maxID)
		case "job_id":
			a.job, _ = r.str(maxID)
		case "result", "stopped", "deleted":
			a.failed = a.failed || r.peek() == 'f'
		case "data", "snapshot":
			readVersions(r, &a, 0)
		}
	})
	return a
}

// readVersions looks for the names that older releases wrap: {"data": {"snapshot": {"rayVersion": ...}}}.
func readVersions(r *jsonReader, a *answer, depth int) {
	if depth > 2 {
		return
	}
	r.object(func(key string, _ text) {
		switch key {
		case "rayVersion", "ray_version":
			a.version, _ = r.str(maxKey)
		case "rayCommit", "ray_commit", "gitCommit":
			a.commit, _ = r.str(maxKey)
		case "sessionName", "session_name":
			a.session, _ = r.str(maxID)
		case "snapshot", "data":
			readVersions(r, a, depth+1)
		}
	})
}

// mayBeFront says whether p may be the dashboard's front page, or its refusal. Every web server has a page at /, and to look
// for all that only Ray says takes longer than anything else that is done to it.
func mayBeFront(p *http.Response) bool {
	if p == nil || isAiohttp(p) {
		return true
	}
	b := p.Body.Data[:min(len(p.Body.Data), maxSigns)]
	return contains(b, "ay Dashboard") || contains(b, "authentication token") || contains(b, "Token authentication") ||
		strings.HasPrefix(p.Header.Get("Set-Cookie"), tokenCookie+"=")
}

func contains(b []byte, w string) bool {
	// Not bytes.Contains, which copies a w of more than 32 bytes.
	return len(b) > 0 && strings.Contains(unsafe.String(&b[0], len(b)), w)
}

// isAiohttp recognises aiohttp by its Server header, and behind a proxy that replaced it by the text of its errors:
// "404: Not Found" and nothing else.
func isAiohttp(p *http.Response) bool {
	if p == nil {
		return false
	}
	if strings.Contains(p.Header.Get("Server"), "aiohttp/") {
		return true
	}
	b := p.Body.Data
	if len(b) < 5 || len(b) > 64 || p.Status < 400 {
		return false
	}
	return int(b[0]-'0')*100+int(b[1]-'0')*10+int(b[2]-'0') == p.Status && b[3] == ':' && b[4] == ' '
}

// judge says what came of the call.
func (c *Call) judge(a answer) Outcome {
	s := a.status
	switch {
	case !a.seen:
		return Unknown
	case s == 401, s == 403 && a.token, s == 403 && c.Service == Kubernetes && contains(a.head, "system:anonymous"):
		return BlockedToken
	case (s == 403 || s == 405) && a.guard, s == 405 && len(a.head) == 0 && strings.HasPrefix(c.UserAgent, "Mozilla"):
		return BlockedBrowser
	case s >= 500:
		return Failed
	case s == 304:
		return Answered
	case s >= 300:
		if a.foreign && !a.decisive && !a.aiohttp {
			return NotRay
		}
		return Rejected
	case s < 200 && s != 101:
		return Unknown
	case a.failed:
		return Failed
	}
	return c.judgeSuccess(a)
}

// judgeSuccess says what came of a call that was answered with success, by Ray or by somebody else.
func (c *Call) judgeSuccess(a answer) Outcome {
	changes := c.Class == Exec || c.Class == Write || c.Class == Control
	switch {
	case c.Service.byObject() && a.foreign:
		return NotRay
	case c.Service.byObject() && changes:
		return Executed // what is asked for is written down, and done
	case c.Service.byObject():
		return Answered
	case c.Class == Exec && c.Job:
		if c.ranJob(a) {
			return Executed
		}
		return NotRay
	case changes && a.foreign:
		return NotRay
	case changes:
		return Executed
	case a.foreign && !a.decisive && !a.aiohttp:
		return NotRay
	}
	return Answered
}

// ranJob reports whether the answer of success to a job is one of Ray's.
func (c *Call) ranJob(a answer) bool {
	switch {
	case a.submission != "" || a.job != "" || a.decisive:
		return true
	// The answer's body may be lost or not kept; what there is of it must not speak against Ray.
	case len(a.head) == 0 && (a.aiohttp || c.Tx.Response.Body.Missing > 0 || !c.Tx.Response.Body.Complete):
		return true
	case a.aiohttp && !a.foreign && c.Service == Agent:
		return true
	}
	return contains(a.head, "Job submitted.") // 1.4 to 1.8
}

// mayBeReceipt says whether the head of an answer may be that of the answer to a submission.
func mayBeReceipt(t *http.Transaction) bool {
	return t != nil && t.Response != nil && t.Response.Status == 200 && strings.Contains(strings.ToLower(t.Response.Header.Get("Content-Type")), "json")
}

// receiptOf reads the answer to a submission (JobSubmitResponse in Ray's job API): an object of the two ids, up to 2.0 of
// job_id alone. Lists and descriptions of jobs have both among much else.
func receiptOf(p *http.Response) (submission, job string, ok bool) {
	if len(p.Body.Data) == 0 || p.Body.Len > maxReceipt || p.Body.Missing > 0 || p.Body.Undecoded {
		return "", "", false
	}
	r, others := &jsonReader{b: p.Body.Data}, 0
	r.object(func(key string, _ text) {
		switch {
		case r.peek() != '"':
			others++
		case key == "submission_id":
			submission, _ = r.str(maxID)
		case key == "job_id":
			job, _ = r.str(maxID)
		default:
			others++
		}
	})
	given := strings.HasPrefix(submission, "raysubmit_") || strings.HasPrefix(job, "raysubmit_")
	return submission, job, others == 0 && job != "" && (given || submission != "") && !r.cut
}

// receiptAlone reads an answer whose request was lost: that to a submission proves that a job runs.
func receiptAlone(t *http.Transaction) *Call {
	if !mayBeReceipt(t) {
		return nil
	}
	submission, job, ok := receiptOf(t.Response)
	if !ok {
		return nil
	}
	a := readAnswer(t.Response)
	if !a.aiohttp && !OnPort(t.Flow) && !strings.HasPrefix(submission, "raysubmit_") && !strings.HasPrefix(job, "raysubmit_") {
		return nil
	}
	lost := *t
	lost.Request = &http.Request{At: t.At, From: capture.AfterGap}
	c := &Call{
		At: t.At, Flow: t.Flow, Tx: &lost, Service: Dashboard, Route: "/api/jobs/", Class: Exec, Confirmed: true,
		Job: true, Unread: "the request was lost", SubmissionID: submission, Status: a.status, Outcome: Executed, Client: Other,
	}
	if job != submission {
		c.JobID = job
	}
	return c
}
