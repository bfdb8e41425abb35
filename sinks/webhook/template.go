package webhook

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"
)

// What services take other than the finding as it is. A template makes the body of a POST of it:
//
//	slack      an incoming webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
//	teams      a workflow "when a webhook request is received": an Adaptive Card in a message
//	pagerduty  Events API v2, https://events.pagerduty.com/v2/enqueue; the token is the routing key
//	splunk     HTTP Event Collector, /services/collector/event; the token is sent as Authorization: Splunk
//	elastic    a bulk request, /DATA-STREAM/_bulk, in the Elastic Common Schema; the token is an API key
//
// Everything else is the path of a file in the language of text/template.

//go:embed templates/*.tmpl
var builtin embed.FS

const (
	// maxTemplate bounds a template, and maxRendered what it makes: Slack takes 40 kB, Teams 28 kB, PagerDuty 512 kB.
	maxTemplate = 256 << 10
	maxRendered = 1 << 20
)

// kinds are the built-in templates, with what differs in their requests.
var kinds = map[string]kind{
	"slack":     {scheme: "Bearer"},
	"teams":     {scheme: "Bearer"},
	"pagerduty": {once: true},
	"splunk":    {scheme: "Splunk"},
	"elastic":   {scheme: "ApiKey", content: "application/x-ndjson", bulk: true},
}

type kind struct {
	scheme  string // of the token in the field Authorization; "": it is in the body
	content string // Content-Type; "": application/json
	bulk    bool   // the answer has a status for each document
	once    bool   // each body may wake somebody: of what was sent before only what is worse is sent again
}

// Template makes bodies.
type Template struct {
	kind
	t *template.Template
}

// View is what a template has of a finding. Texts are those of notice.log; what is no text for people is shown as escapes.
type View struct {
	ID, Incident string // finding_id, incident_id
	Revision     int    // of what was said under this ID; 1 for the first
	Update       bool   // more of what was sent before: no further alarm
	N            int    // how often it was seen
	Rule, Note   string
	Severity     string // info, low, medium, high, critical
	Confidence   int
	Outcome      string // succeeded, attempted, unknown, observed
	Msg, Sub     string
	Src, Dst     string // addresses, may be empty
	SrcPort      int    // 0: none
	Port         int    // at Dst
	Proto        string
	Time         time.Time // UTC
	UID          string
	CommunityID  string
	Sensor       string
	Evidence     []string
	ATLAS        []string       // "AML.T0049 Exploit Public-Facing Application"
	ATTACK       []string       // "T1190 Exploit Public-Facing Application"
	Row          map[string]any // all of it, as the webhook sends it without a template
	Token        string         // what is in token_file; a template that uses it sends it in no header
}

var functions = template.FuncMap{
	"json":   toJSON,
	"clip":   clip,
	"slack":  strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace,
	"upper":  strings.ToUpper,
	"lower":  strings.ToLower,
	"join":   func(sep string, all []string) string { return strings.Join(all, sep) },
	"threat": threat,
	"unix":   func(t time.Time) string { return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000) },
	"rfc3339": func(t time.Time) string {
		return t.UTC().Format("2006-01-02T15:04:05.000000Z")
	},
	"pick": func(key any, pairs ...any) (any, error) {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == key {
				return pairs[i+1], nil
			}
		}
		if len(pairs)%2 == 1 {
			return pairs[len(pairs)-1], nil
		}
		return nil, fmt.Errorf("pick has nothing for %v", key)
	},
	"only": func(list ...string) []string { // without those that are empty
		all := []string{}
		for _, s := range list {
			if s != "" {
				all = append(all, s)
			}
		}
		return all
	},
}

// toJSON writes a value, a text with its quotes. What HTML would take for a tag stays as it is.
func toJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// clip shortens a text to n characters, with an ellipsis in their number.
func clip(n int, s string) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	r := []rune(s)
	return string(r[:max(n-1, 0)]) + "…"
}

// threat is techniques of ATT&CK as the Elastic Common Schema has them. "T1059.004 Command and Scripting Interpreter: Unix
// Shell" is a technique and a part of it.
func threat(all []string) map[string]any {
	var ids, names, subs, subnames []string
	add := func(list *[]string, s string) {
		if s != "" && !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	for _, t := range all {
		id, name, _ := strings.Cut(t, " ")
		whole, _, sub := strings.Cut(id, ".")
		name, part, _ := strings.Cut(name, ": ")
		add(&ids, whole)
		add(&names, name)
		if sub {
			add(&subs, id)
			add(&subnames, part)
		}
	}
	technique := map[string]any{"id": ids}
	if names != nil {
		technique["name"] = names
	}
	if subs != nil {
		m := map[string]any{"id": subs}
		if subnames != nil {
			m["name"] = subnames
		}
		technique["subtechnique"] = m
	}
	return map[string]any{"framework": "MITRE ATT&CK", "technique": technique}
}

// Templates are the names of those that are built in.
func Templates() []string { return []string{"slack", "teams", "pagerduty", "splunk", "elastic"} }

// LoadTemplate takes one by its name, or reads a file, and tries it on findings that have everything in them. "" is none.
func LoadTemplate(name string) (*Template, error) {
	if name == "" {
		return nil, nil
	}
	k, own := kinds[name]
	var text []byte
	var err error
	if own {
		text, err = builtin.ReadFile("templates/" + name + ".tmpl")
	} else {
		k.scheme = "Bearer"
		text, err = readTemplate(name)
		if err != nil && !strings.ContainsAny(name, "/.") {
			err = fmt.Errorf("%q is neither one of %s nor a file", name, strings.Join(Templates(), ", "))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("webhook: template: %w", err)
	}
	t, err := template.New("template").Funcs(functions).Option("missingkey=zero").Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("webhook: template %s: %s", name, strings.TrimPrefix(err.Error(), "template: "))
	}
	if strings.Contains(string(text), ".Token") {
		k.scheme = ""
	}
	x := &Template{k, t}
	for _, sample := range samples {
		if _, err := x.Render([]byte(sample), "a token"); err != nil {
			return nil, fmt.Errorf("webhook: template %s: with a sample finding: %s", name, strings.TrimPrefix(err.Error(), "template: "))
		}
	}
	return x, nil
}

func readTemplate(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxTemplate+1))
	if err == nil && len(b) > maxTemplate {
		err = fmt.Errorf("%s is longer than %d bytes", name, maxTemplate)
	}
	return b, err
}

// samples are findings with all that may be in one, and with nothing: quotes, lines and marks in every text.
var samples = [...]string{
	`{"ts":1763916157.01,"uid":"CM1bz9rnVNPpvIbUSf","id.orig_h":"203.0.113.66","id.orig_p":40000,"id.resp_h":"10.20.0.10","id.resp_p":8265,"proto":"tcp","note":"Raytap::Job_Submit_External","msg":"a \"job\"\n<!channel> {{x}} \\","sub":"\"","src":"203.0.113.66","dst":"10.20.0.10","p":8265,"n":3,"peer_descr":"node-17","rule":"jobsubmit/external","severity":"critical","confidence":95,"outcome":"succeeded","atlas":[{"id":"AML.T0049","name":"\"x\""}],"attack":[{"id":"T1190","name":"\"x\""},{"id":"T1059.004"}],"evidence":[{"field":"entrypoint","value":"\"\n\\","packet":52}],"community_id":"1:x=","finding_id":"RMEjHHz1xCnyrfXU5a","incident_id":"I12345678901234567","revision":2,"update":true}`,
	`{"ts":0,"note":"Raytap::x","msg":"","rule":"x/y","severity":"info","confidence":0,"finding_id":"R"}`,
}

// Render makes the body for a finding, which is as webhooks without a template send it.
func (t *Template) Render(row []byte, token string) ([]byte, error) {
	v, err := view(row)
	if err != nil {
		return nil, err
	}
	v.Token = token
	var b bounded
	if err := t.t.Execute(&b, v); err != nil {
		return nil, err
	}
	out := bytes.TrimSpace(b.Bytes())
	d := json.NewDecoder(bytes.NewReader(out))
	n := 0
	for {
		var x json.RawMessage
		err := d.Decode(&x)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("its output is not JSON: %w (texts go through json: {{json .Msg}})", err)
		}
		n++
	}
	if n == 0 {
		return nil, errors.New("it makes nothing")
	}
	if t.bulk || n > 1 {
		out = append(out, '\n') // of a bulk request the last line ends, too
	}
	return out, nil
}

// bounded is a buffer that refuses more than a body may have.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxRendered {
		return 0, fmt.Errorf("it makes more than %d bytes", maxRendered)
	}
	return b.Buffer.Write(p)
}

// view reads a finding.
func view(row []byte) (*View, error) {
	d := json.NewDecoder(bytes.NewReader(row))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("a finding that cannot be read: %w", err)
	}
	text := func(key string) string { s, _ := m[key].(string); return s }
	number := func(key string) int {
		n, _ := m[key].(json.Number)
		i, _ := strconv.Atoi(n.String())
		return i
	}
	list := func(key string) (all []string) {
		l, _ := m[key].([]any)
		for _, x := range l {
			switch x := x.(type) {
			case string:
				all = append(all, x)
			case map[string]any:
				all = append(all, line(x))
			}
		}
		return all
	}
	v := &View{
		ID: text("finding_id"), Incident: text("incident_id"), Revision: max(number("revision"), 1), N: max(number("n"), 1), Rule: text("rule"), Note: text("note"),
		Severity: text("severity"), Confidence: number("confidence"), Outcome: text("outcome"), Msg: text("msg"), Sub: text("sub"), Src: text("src"), Dst: text("dst"),
		Port: number("p"), Proto: text("proto"), UID: text("uid"), CommunityID: text("community_id"), Sensor: text("peer_descr"),
		Evidence: list("evidence"), ATLAS: list("atlas"), ATTACK: list("attack"), Row: m,
	}
	v.Update, _ = m["update"].(bool)
	if all := list("_sensors"); len(all) > 0 { // of a hub
		v.Sensor = strings.Join(all, ", ")
	}
	switch v.Src {
	case text("id.orig_h"):
		v.SrcPort = number("id.orig_p")
	case text("id.resp_h"):
		v.SrcPort = number("id.resp_p")
	}
	if v.Src == "" {
		v.SrcPort = 0
	}
	if ts, ok := m["ts"].(json.Number); ok {
		sec, frac, _ := strings.Cut(ts.String(), ".")
		s, _ := strconv.ParseInt(sec, 10, 64)
		ns, _ := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
		v.Time = time.Unix(s, ns).UTC()
	}
	return v, nil
}

// line is a structure of a row as its tab-separated form has it: evidence as field=value @packet, a technique as id and name.
func line(x map[string]any) string {
	if id, ok := x["id"].(string); ok {
		name, _ := x["name"].(string)
		return strings.TrimSuffix(id+" "+name, " ")
	}
	field, _ := x["field"].(string)
	value, _ := x["value"].(string)
	s := field + "=" + value
	if n, ok := x["packet"].(json.Number); ok && n != "0" {
		s += " @" + n.String()
	}
	return s
}

// answered gives the status that counts: of a bulk request each document has its own. One that is there already was sent
// before.
func (t *Template) answered(status int, body []byte) int {
	if !t.bulk || status/100 != 2 {
		return status
	}
	var a struct {
		Errors bool `json:"errors"`
		Items  []map[string]struct {
			Status int `json:"status"`
		} `json:"items"`
	}
	if json.Unmarshal(body, &a) != nil {
		return 502 // no answer of Elasticsearch's
	}
	if !a.Errors {
		return status
	}
	for _, item := range a.Items {
		for _, r := range item {
			if r.Status/100 != 2 && r.Status != 409 {
				return r.Status
			}
		}
	}
	return status
}
