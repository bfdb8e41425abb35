package webhook

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/zeek"
)

// nasty is what an attacker may have in a job's entry point: all that any of the services reads as something other than text.
const nasty = "\"},{\"x\":\"\n<!channel> <@U1> <https://evil.example|ok> @everyone @here *b* _i_ ~s~ `c` [ok](https://evil.example) <at>all</at> {{.Token}} &amp; \\ \x1b[31m \u202e"

// rowOf is a finding as the sink has it.
func rowOf(t *testing.T, f *detectors.Finding) []byte {
	t.Helper()
	w := zeek.NewFindings([]detectors.Rule{{Name: "jobsubmit/external", Note: "Job_Submit_External", Severity: detectors.Critical, ATLAS: []string{"AML.T0049"}, ATTACK: []string{"T1190", "T1059.004"}}})
	w.Peer = "node-17"
	return w.JSON(f)
}

func samplesOf(t *testing.T) map[string][]byte {
	long := finding(1)
	long.Msg, long.Sub, long.Evidence = strings.Repeat("ü<&", 20_000), nasty, nil
	for range 40 {
		long.Evidence = append(long.Evidence, detectors.Evidence{Field: "request", Value: strings.Repeat("x", 1000) + nasty, Packet: 7})
	}
	bad := finding(2)
	bad.Msg, bad.Sub, bad.Severity, bad.Incident = "203.0.113.66 ran "+nasty, nasty, detectors.Critical, "I12345678901234567"
	bad.Evidence = []detectors.Evidence{{Field: "entrypoint", Value: nasty, Packet: 52}}
	bad.Flow = &capture.Flow{UID: "CM1bz9rnVNPpvIbUSf", Proto: capture.ProtoTCP, Orig: netip.MustParseAddrPort("203.0.113.66:40000"), Resp: netip.MustParseAddrPort("10.20.0.10:8265")}
	six := finding(3)
	six.Src, six.Dst = netip.MustParseAddr("2001:db8::1"), netip.Addr{}
	bare := &detectors.Finding{Rule: "x/y"}
	all := map[string][]byte{"long": rowOf(t, long), "hostile": rowOf(t, bad), "IPv6": rowOf(t, six), "bare": rowOf(t, bare)}
	// What is said anew.
	all["structured"] = []byte(`{"ts":1700000000.000001,"msg":"m","rule":"a/b","severity":"high","confidence":5,"finding_id":"R1","n":8000,"revision":4,"update":true,"peer_descr":"p","evidence":[{"field":"f","value":"v\"","packet":3}]}`)
	return all
}

type object = map[string]any

// dig goes down by keys and indexes.
func dig(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(object)
			if !ok {
				t.Fatalf("no object with %q in %v", p, v)
			}
			v = m[p]
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				t.Fatalf("no list with %d in %v", p, v)
			}
			v = l[p]
		}
	}
	return v
}

func str(t *testing.T, v any, path ...any) string {
	t.Helper()
	s, ok := dig(t, v, path...).(string)
	if !ok {
		t.Errorf("%v is no text", path)
	}
	return s
}

// keys reports what an object has that it may not have, or lacks.
func keys(t *testing.T, v any, must, may string) object {
	t.Helper()
	m, ok := v.(object)
	if !ok {
		t.Fatalf("%v is no object", v)
	}
	for _, k := range strings.Fields(must) {
		if _, ok := m[k]; !ok {
			t.Errorf("no %q in %v", k, m)
		}
	}
	for k := range m {
		if !strings.Contains(" "+must+" "+may+" ", " "+k+" ") {
			t.Errorf("%q is none of its keys", k)
		}
	}
	return m
}

func length(t *testing.T, s string, least, most int) {
	t.Helper()
	if n := utf8.RuneCountInString(s); n < least || n > most {
		t.Errorf("%d characters, not %d to %d: %.60q", n, least, most, s)
	}
}

// slackText holds a text object: https://docs.slack.dev/reference/block-kit/composition-objects/text-object
func slackText(t *testing.T, v any, most int) string {
	t.Helper()
	m := keys(t, v, "type text", "emoji")
	if m["type"] != "plain_text" {
		t.Errorf("%v: marks would be read", m["type"])
	}
	s := str(t, m, "text")
	length(t, s, 1, most)
	return s
}

// services hold a body against what each service takes, by its public documentation.
var services = map[string]func(t *testing.T, name string, body []byte, row object){
	// https://docs.slack.dev/reference/block-kit/blocks
	"slack": func(t *testing.T, name string, body []byte, row object) {
		m := keys(t, decode(t, body), "text blocks", "mrkdwn unfurl_links unfurl_media")
		if text := str(t, m, "text"); strings.ContainsAny(text, "<>") || len(text) > 40_000 {
			t.Errorf("%d bytes: %.200q", len(text), text)
		}
		blocks := m["blocks"].([]any)
		if len(blocks) > 50 {
			t.Errorf("%d blocks", len(blocks))
		}
		for _, b := range blocks {
			b := keys(t, b, "type", "text fields elements")
			switch b["type"] {
			case "header":
				slackText(t, b["text"], 150)
			case "section":
				if b["text"] != nil {
					slackText(t, b["text"], 3000)
				}
				if f, ok := b["fields"].([]any); ok {
					for _, x := range f {
						slackText(t, x, 2000)
					}
					if len(f) > 10 {
						t.Errorf("%d fields", len(f))
					}
				}
			case "context":
				for _, x := range b["elements"].([]any) {
					slackText(t, x, 2000)
				}
			default:
				t.Errorf("a block %v", b["type"])
			}
		}
		if name == "hostile" && !strings.Contains(slackText(t, dig(t, blocks, 1, "text"), 3000), "<!channel>") {
			t.Error("plain text is not to be changed")
		}
		if name == "structured" && !strings.HasPrefix(str(t, blocks, 0, "text", "text"), "Update, high: a/b") {
			t.Errorf("%v", blocks[0])
		}
	},
	// https://learn.microsoft.com/en-us/adaptive-cards/schema-explorer/text-run: "Markdown is not supported"
	"teams": func(t *testing.T, name string, body []byte, row object) {
		if len(body) > 28<<10 {
			t.Errorf("%d bytes", len(body))
		}
		m := keys(t, decode(t, body), "type attachments", "")
		a := keys(t, dig(t, m, "attachments", 0), "contentType contentUrl content", "")
		card := keys(t, a["content"], "$schema type version body", "msteams")
		if m["type"] != "message" || a["contentType"] != "application/vnd.microsoft.card.adaptive" || card["type"] != "AdaptiveCard" || card["version"] != "1.4" {
			t.Errorf("%v", m)
		}
		for _, b := range card["body"].([]any) {
			b := keys(t, b, "type inlines", "")
			if b["type"] != "RichTextBlock" {
				t.Errorf("%v reads marks", b["type"])
			}
			for _, r := range b["inlines"].([]any) {
				r := keys(t, r, "type text", "size weight color fontType isSubtle")
				if r["type"] != "TextRun" {
					t.Errorf("%v", r)
				}
				length(t, r["text"].(string), 1, 4000)
				if c, ok := r["color"].(string); ok && !strings.Contains("default dark light accent good warning attention", c) {
					t.Errorf("colour %s", c)
				}
			}
		}
	},
	// https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
	"pagerduty": func(t *testing.T, name string, body []byte, row object) {
		if len(body) > 512<<10 {
			t.Errorf("%d bytes", len(body))
		}
		m := keys(t, decode(t, body), "routing_key event_action dedup_key payload", "client")
		p := keys(t, m["payload"], "summary source severity", "timestamp component group class custom_details")
		length(t, str(t, p, "summary"), 1, 1024)
		length(t, str(t, m, "dedup_key"), 1, 255)
		length(t, str(t, p, "source"), 1, 1024)
		if m["event_action"] != "trigger" || m["routing_key"] != "tok\"en" || !regexp.MustCompile(`^(critical|error|warning|info)$`).MatchString(str(t, p, "severity")) {
			t.Errorf("%v", m)
		}
		want := row["finding_id"]
		if row["incident_id"] != nil {
			want = row["incident_id"]
		}
		if m["dedup_key"] != want {
			t.Errorf("dedup_key %v, want %v", m["dedup_key"], want)
		}
		if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`).MatchString(str(t, p, "timestamp")) {
			t.Errorf("%v", p["timestamp"])
		}
	},
	// https://docs.splunk.com/Documentation/Splunk/latest/Data/FormateventsforHTTPEventCollector
	"splunk": func(t *testing.T, name string, body []byte, row object) {
		m := keys(t, decode(t, body), "time host source sourcetype event", "")
		if _, ok := m["time"].(float64); !ok {
			t.Errorf("time %v", m["time"])
		}
		got, _ := json.Marshal(m["event"])
		want, _ := json.Marshal(row)
		if !bytes.Equal(got, want) {
			t.Errorf("%s\n%s", got, want)
		}
	},
	// https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk, https://www.elastic.co/docs/reference/ecs
	"elastic": func(t *testing.T, name string, body []byte, row object) {
		lines := strings.Split(string(body), "\n")
		if len(lines) != 3 || lines[2] != "" {
			t.Fatalf("%d lines", len(lines))
		}
		action := keys(t, keys(t, decode(t, []byte(lines[0])), "create", "")["create"], "_id", "")
		length(t, str(t, action, "_id"), 3, 512)
		if name == "structured" && action["_id"] != "R1-4" {
			t.Errorf("%v", action)
		}
		d := keys(t, decode(t, []byte(lines[1])), "@timestamp message event rule observer raytap", "source destination network threat")
		e := keys(t, d["event"], "kind category type action module dataset id reason severity outcome", "")
		want := map[bool]any{false: "finding-created", true: "finding-updated"}[row["update"] == true]
		if e["kind"] != "alert" || e["action"] != want || !regexp.MustCompile(`^(success|failure|unknown)$`).MatchString(str(t, e, "outcome")) {
			t.Errorf("%v", e)
		}
		if s, ok := d["source"].(object); ok {
			if _, err := netip.ParseAddr(str(t, s, "ip")); err != nil {
				t.Error(err)
			}
		}
		if name == "hostile" {
			if dig(t, d, "source", "port") != 40000.0 || dig(t, d, "destination", "port") != 8265.0 || dig(t, d, "raytap", "attack", 0, "id") != "T1190" || dig(t, d, "network", "transport") != "tcp" || e["severity"] != 9.0 {
				t.Errorf("%v", d)
			}
			got, _ := json.Marshal(d["threat"])
			if want := `{"framework":"MITRE ATT\u0026CK","technique":{"id":["T1190","T1059"],"name":["Exploit Public-Facing Application","Command and Scripting Interpreter"],"subtechnique":{"id":["T1059.004"],"name":["Unix Shell"]}}}`; string(got) != want {
				t.Errorf("%s", got)
			}
		}
	},
}

func decode(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %.300s", err, b)
	}
	return v
}

// TestTemplatesMakeWhatServicesTake: each over findings with hostile, long and missing texts.
func TestTemplatesMakeWhatServicesTake(t *testing.T) {
	if len(services) != len(Templates()) {
		t.Error("not every template is held against its service")
	}
	for _, service := range Templates() {
		x, err := LoadTemplate(service)
		if err != nil {
			t.Fatal(err)
		}
		for name, row := range samplesOf(t) {
			t.Run(service+" "+name, func(t *testing.T) {
				body, err := x.Render(row, "tok\"en")
				if err != nil {
					t.Fatal(err)
				}
				if bytes.ContainsAny(body, "\x1b\u202e") {
					t.Error("what is no text for people is in it")
				}
				services[service](t, name, body, decode(t, row).(object))
			})
		}
	}
}

// TestTemplatesAreSent: with the fields that each service wants, the token where it belongs and nowhere else.
func TestTemplatesAreSent(t *testing.T) {
	type got struct {
		header http.Header
		body   string
	}
	came := make(chan got, 10)
	answers := map[string]string{"elastic": `{"errors":false,"items":[{"create":{"status":201}}]}`, "splunk": `{"text":"Success","code":0}`}
	answer := ""
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		came <- got{r.Header, string(b)}
		io.WriteString(w, answer)
	}))
	defer web.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for service, want := range map[string]string{"slack": "Bearer s3cret", "teams": "Bearer s3cret", "pagerduty": "", "splunk": "Splunk s3cret", "elastic": "ApiKey s3cret"} {
		answer = answers[service]
		spool := t.TempDir()
		s := open(t, Options{URL: web.URL, Spool: spool, Template: service, TokenFile: token})
		s.Event(finding(1))
		g := <-came
		if g.header.Get("Authorization") != want || strings.Contains(g.body, "s3cret") != (service == "pagerduty") {
			t.Errorf("%s: %v %s", service, g.header, g.body)
		}
		if c := g.header.Get("Content-Type"); c != "application/json" && (service != "elastic" || c != "application/x-ndjson") {
			t.Errorf("%s: %s", service, c)
		}
		if err := s.Close(); err != nil || s.Counts().Sent != 1 {
			t.Errorf("%s: %v %+v", service, err, s.Counts())
		}
	}
}

// TestUpdatesPageNobody: PagerDuty opens a new alert for a dedup_key whose alert was resolved, so that it gets of a finding only
// what is worse than what it has. Others get all.
func TestUpdatesPageNobody(t *testing.T) {
	first := finding(1)
	first.Severity = detectors.Medium
	id := first.ID()
	update := func(revision int, was, is detectors.Severity) *detectors.Update {
		f := finding(1)
		f.Name, f.Revision, f.Severity = id, revision, is
		return &detectors.Update{Finding: f, Was: was}
	}
	for service, want := range map[string]int{"pagerduty": 3, "splunk": 5, "slack": 5} {
		var mu sync.Mutex
		var bodies []string
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			bodies = append(bodies, string(b))
		}))
		s := open(t, Options{URL: web.URL, Spool: t.TempDir(), Template: service, Severity: detectors.Medium})
		s.Event(first)
		s.Event(update(2, detectors.Medium, detectors.Medium)) // again
		s.Event(update(3, detectors.Medium, detectors.High))   // worse
		s.Event(update(4, detectors.High, detectors.High))     // again
		s.Event(update(2, detectors.Low, detectors.Medium))    // what came before was not severe enough to be sent
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
		if len(bodies) != want {
			t.Errorf("%s: %d bodies, want %d", service, len(bodies), want)
		}
		if service == "pagerduty" {
			for i, b := range bodies {
				m := decode(t, []byte(b)).(object)
				if m["dedup_key"] != id || m["event_action"] != "trigger" || str(t, m, "payload", "severity") != []string{"warning", "error", "warning"}[i] {
					t.Errorf("%s", b)
				}
			}
		}
	}
}

func TestElasticAnswersForEachDocument(t *testing.T) {
	x, err := LoadTemplate("elastic")
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{
		`{"errors":false,"items":[{"create":{"status":201}}]}`: 200,
		`{"errors":true,"items":[{"create":{"status":409}}]}`:  200, // it was sent before
		`{"errors":true,"items":[{"create":{"status":429}}]}`:  429,
		`{"errors":true,"items":[{"create":{"status":400}}]}`:  400,
		`<html>`: 502,
	} {
		if got := x.answered(200, []byte(body)); got != want {
			t.Errorf("%s: %d", body, got)
		}
	}
	if x.answered(503, nil) != 503 {
		t.Error("503")
	}
}

func TestOwnTemplates(t *testing.T) {
	dir := t.TempDir()
	load := func(text string) (*Template, error) {
		name := filepath.Join(dir, "own.tmpl")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadTemplate(name)
	}
	x, err := load(`{"alert": {{json .Msg}}, "key": {{json .Token}}, "at": {{unix .Time}}, "n": {{.N}}}`)
	if err != nil || x.scheme != "" {
		t.Fatalf("%v %+v", err, x)
	}
	if b, err := x.Render([]byte(`{"ts":1700000000.5,"msg":"a\"<b"}`), "k"); err != nil || string(b) != `{"alert": "a\"<b", "key": "k", "at": 1700000000.500000, "n": 1}` {
		t.Errorf("%s %v", b, err)
	}
	for text, want := range map[string]string{
		`{"m": "{{.Msg}}"}`:     "its output is not JSON",
		`{"m": {{json .Msgs}}}`: "can't evaluate field Msgs",
		`{"m": {{js .Msg}}`:     "",
		`{{if}}`:                "missing value for if",
		``:                      "it makes nothing",
		`{"m": {{jsn .Msg}}}`:   `function "jsn" not defined`,
		`[{{range $i, $x := .Row}}{{range $j, $y := $.Row}}{{range $k, $z := $.Row}}{{range $.Row}}{{range $.Row}}{{json $.Row}},{{end}}{{end}}{{end}}{{end}}{{end}}]`: "it makes more than",
		`{"m": 1` + strings.Repeat(" ", maxTemplate): "is longer than",
	} {
		_, err := load(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
	if _, err := LoadTemplate("slak"); err == nil || !strings.Contains(err.Error(), `"slak" is neither one of slack, teams,`) {
		t.Error(err)
	}
	if _, err := New(Options{URL: "https://x.example/", Spool: t.TempDir(), Template: filepath.Join(dir, "none.tmpl")}); err == nil {
		t.Error("a template that is not there")
	}
	if got := clip(3, "äöüß"); got != "äö…" {
		t.Error(got)
	}
}
