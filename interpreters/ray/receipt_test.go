package ray

import (
	"testing"

	"github.com/raytap/raytap/decoders/http"
)

// TestAnswerProvesAJob: the two ids alone are the answer to a submission, whatever was lost of it.
func TestAnswerProvesAJob(t *testing.T) {
	lost := func(t *http.Transaction) { t.Request = nil }
	details := `{"type": "SUBMISSION", "job_id": "01000000", "submission_id": "raysubmit_A", "status": "RUNNING", "entrypoint": "id"}`
	cut := func(t *http.Transaction) {
		t.Request.Body = http.Body{}
		t.Response.Body = http.Body{}
	}
	for _, c := range []struct {
		name string
		tx   tx
		job  bool
	}{
		{"request lost", tx{status: 200, answer: aiohttp + json, got: okJob, change: lost}, true},
		{"on Ray's port, another id", tx{status: 200, answer: json, got: `{"job_id": "x", "submission_id": "x"}`, port: 8265, change: lost}, true},
		{"Ray 2.0", tx{status: 200, answer: json, got: `{"job_id": "raysubmit_A"}`, change: lost}, true},
		{"somebody else's ids", tx{status: 200, answer: json, got: `{"job_id": "x", "submission_id": "x"}`, change: lost}, false},
		{"a number", tx{status: 200, answer: aiohttp + json, got: `{"job_id": "x", "submission_id": 7}`, change: lost}, false},
		{"a job described", tx{status: 200, answer: aiohttp + json, got: details, port: 8265, change: lost}, false},
		{"a list", tx{status: 200, answer: aiohttp + json, got: "[" + details + "]", port: 8265, change: lost}, false},
		{"a list of one, and cut", tx{status: 200, answer: aiohttp + json, got: `[{"job_id": "raysubmit_A", "submission_id": "raysubmit_A"`, port: 8265, change: lost}, false},
		{"refused", tx{status: 400, answer: aiohttp + json, got: okJob, change: lost}, false},
		{"stopped", tx{status: 200, answer: aiohttp + json, got: `{"stopped": true}`, port: 8265, change: lost}, false},
		{"bodies not captured", tx{method: "POST", target: "/api/jobs/", status: 200, answer: json, port: 8265, change: cut}, true},
		{"bodies not captured, elsewhere", tx{method: "POST", target: "/api/jobs/", status: 200, answer: json, change: cut}, false},
		{"a list asked for, bodies not captured", tx{method: "GET", target: "/api/jobs/", status: 200, answer: json, port: 8265, change: cut}, false},
	} {
		call := Interpret(c.tx.build())
		if got := call != nil && call.Job && call.Outcome == Executed && call.Unread != ""; got != c.job {
			t.Errorf("%s: %+v", c.name, call)
		}
	}
	whole := tx{status: 200, answer: aiohttp + json, got: okJob, change: lost}.build()
	if n := KeepBody(whole, true); n < len(okJob) {
		t.Errorf("%d bytes of the answer are kept", n)
	}
}
