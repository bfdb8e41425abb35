// Package spark finds who submits work to a Spark cluster at home from outside.
//
// In: *http.Transaction. Out: findings of spark/submission. Src is who submits, Dst the master.
//
// The REST server of a standalone master (port 6066, spark.master.rest.enabled) runs a jar from any place on a worker for
// whoever asks, and takes no password (core/.../deploy/rest/RestSubmissionServer.scala; Metasploit spark_unauth_rce). Spark
// stands beside Ray in many clusters, and what runs on its workers is in the same network.
//
//	high    the master took the submission
//	medium  no answer was seen
//	low     it was refused
//
// It does not see: submissions over Spark's own protocol (port 7077) or TLS; what was submitted from home.
package spark

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
)

const (
	rule = "spark/submission"
	// create is the path of a submission, behind the version of the protocol, of which there is one.
	create = "/v1/submissions/create"
	// maxParsed is how much of a submission is read.
	maxParsed = 64 << 10
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "spark",
		Rules: []detectors.Rule{{
			Name: rule, Note: "Spark_Submission", Severity: detectors.High,
			Says: "A machine outside submitted a program to a Spark master at home through its REST server, which " +
				"runs it on a worker without authentication.",
			ATLAS:          []string{"AML.T0049"},
			ATTACK:         []string{"T1190"},
			Needs:          "HTTP in clear text, with the response.",
			FalsePositives: "Users who submit to their own cluster from an address that is not in the home networks.",
			Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry, Runs: true,
				Does: "submitted a program to the Spark of %",
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{env: env, bus: bus}
			detectors.On(bus, d.request)
		},
	}
}

type detector struct {
	env *detectors.Env
	bus *detectors.Bus
}

// submission is what counts of a CreateSubmissionRequest.
type submission struct {
	Action      string   `json:"action"`
	AppResource string   `json:"appResource"`
	MainClass   string   `json:"mainClass"`
	AppArgs     []string `json:"appArgs"`
}

func (d *detector) request(t *http.Transaction) {
	q := t.Request
	if q == nil || len(q.Target) < len(create) || q.Method != "POST" || t.Flow == nil {
		return
	}
	_, path := q.Place()
	if path, _, _ = strings.Cut(path, "?"); strings.TrimSuffix(path, "/") != create {
		return
	}
	src, dst := t.Flow.Orig.Addr(), t.Flow.Resp.Addr()
	if d.env.Inside(src) || !d.env.Home.Contains(dst) {
		return
	}
	body := q.Body.Data[:min(len(q.Body.Data), maxParsed)]
	if !bytes.Contains(body, []byte("CreateSubmissionRequest")) {
		return // a look whether there is anything
	}
	var s submission
	_ = json.Unmarshal(body, &s) // what was cut off, or lies in another type, stays empty
	what := strings.TrimSpace(s.MainClass + " of " + s.AppResource)
	if s.AppResource == "" {
		what = string(body)
	}
	f := &detectors.Finding{
		At: q.At, Rule: rule, Severity: detectors.High, Confidence: 90, Outcome: detectors.Succeeded,
		Src: src, Dst: dst, Port: t.Flow.Resp.Port(), Flow: t.Flow,
		Evidence: []detectors.Evidence{
			{Field: "request", Value: q.Method + " " + detectors.Clip(q.Target, 160), Packet: q.Packet},
			{Field: "program", Value: detectors.Clip(strings.Join(append([]string{what}, s.AppArgs...), " "), 300), Packet: q.Packet},
		},
		Msg: fmt.Sprintf("%s submitted %s to the Spark master at %s", src, detectors.Clip(what, 120), t.Flow.Resp),
	}
	switch r := t.Response; {
	case r == nil:
		f.Severity, f.Outcome = detectors.Medium, detectors.Unknown
		f.Msg += "; no answer was seen"
	case r.Status/100 != 2 || refused(r.Body.Data):
		f.Severity, f.Outcome = detectors.Low, detectors.Attempted
		f.Msg += ", which refused"
	}
	d.bus.Report(f)
}

// refused reports whether the answer says that nothing was taken: a CreateSubmissionResponse without success, or an
// ErrorResponse.
func refused(b []byte) bool {
	var a struct {
		Action  string `json:"action"`
		Success *bool  `json:"success"`
	}
	if json.Unmarshal(b[:min(len(b), maxParsed)], &a) != nil {
		return false
	}
	return a.Action == "ErrorResponse" || a.Success != nil && !*a.Success
}
