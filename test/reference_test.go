package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/assets"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/fleet/observe"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
	"github.com/raytap/raytap/test/logspec"
)

// link is one of Markdown's.
var link = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// column is a column as a row writes it: its name, and its type in the words of Zeek's header.
type column struct{ name, kind string }

// asWritten takes down what a row writes.
type asWritten struct{ all []column }

func (w *asWritten) put(name, kind string)                         { w.all = append(w.all, column{name, kind}) }
func (w *asWritten) Time(n string, _ capture.Time, _ bool)         { w.put(n, "time") }
func (w *asWritten) Interval(n string, _ time.Duration, _ bool)    { w.put(n, "interval") }
func (w *asWritten) String(n, _ string, _ bool)                    { w.put(n, "string") }
func (w *asWritten) Enum(n, _ string, _ bool)                      { w.put(n, "enum") }
func (w *asWritten) Count(n string, _ uint64, _ bool)              { w.put(n, "count") }
func (w *asWritten) Bool(n string, _, _ bool)                      { w.put(n, "bool") }
func (w *asWritten) Addr(n string, _ netip.Addr, _ bool)           { w.put(n, "addr") }
func (w *asWritten) Port(n string, _ uint16, _ bool)               { w.put(n, "port") }
func (w *asWritten) Double(n string, _ float64, _ bool)            { w.put(n, "double") }
func (w *asWritten) Set(n, kind string, _ []string, _ bool)        { w.put(n, "set["+kind+"]") }
func (w *asWritten) Vector(n, kind string, _ []string, _ bool)     { w.put(n, "vector["+kind+"]") }
func (w *asWritten) Intervals(n string, _ []time.Duration, _ bool) { w.put(n, "vector[interval]") }

// Objects implements capture.ObjectFields. A row of the zero value has none, and does not tell what is in them.
func (w *asWritten) Objects(n string, _ int, _ func(capture.Fields, int), _ bool) { w.put(n, objects) }

// objects is the type of a column that is a list of objects in JSON, and of texts elsewhere.
const objects = "objects"

func columnsOf(r capture.Record) []column {
	w := &asWritten{}
	r.Row(w)
	return w.all
}

// kindsOf gives the types of columns by name.
func kindsOf(r capture.Record) map[string]string {
	kinds := map[string]string{}
	for _, c := range columnsOf(r) {
		kinds[c.name] = c.kind
	}
	return kinds
}

// TestEachColumnHasAMeaning: what a row writes is what its readers are told of, in the same order.
func TestEachColumnHasAMeaning(t *testing.T) {
	var names []string
	for _, l := range logspec.All() {
		names = append(names, l.Name)
		if l.When == "" || l.Row.Log() != l.Name {
			t.Errorf("%s: when is it written? Its row is one of %s", l.Name, l.Row.Log())
		}
		written := columnsOf(l.Row)
		for i, c := range written {
			if i >= len(l.Columns) || l.Columns[i].Name != c.name {
				t.Errorf("%s: column %s has no meaning, or stands elsewhere in its table", l.Name, c.name)
				break
			}
			switch m := l.Columns[i]; {
			case !strings.HasSuffix(m.Doc, "."):
				t.Errorf("%s: %s: no sentence: %q", l.Name, c.name, m.Doc)
			case m.Unit != "" && c.kind != "count" && c.kind != "double":
				t.Errorf("%s: %s: a %s has no unit", l.Name, c.name, c.kind)
			case (m.Fields != nil) != (c.kind == objects):
				t.Errorf("%s: %s: a %s with fields %v", l.Name, c.name, c.kind, m.Fields)
			}
			for _, f := range l.Columns[i].Fields {
				if !strings.HasSuffix(f.Doc, ".") || f.Unit != "" && f.Type != "count" && f.Type != "double" {
					t.Errorf("%s: %s: field %s: no sentence, or a unit of a %s: %q", l.Name, c.name, f.Name, f.Type, f.Doc)
				}
			}
		}
		if len(l.Columns) > len(written) {
			t.Errorf("%s: %s is not written", l.Name, l.Columns[len(written)].Name)
		}
	}
	if !slices.Equal(names, zeek.Logs()) {
		t.Errorf("told of %v, written are %v", names, zeek.Logs())
	}
}

// document holds a file in step with what it is made of.
func document(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code says; write it with: go test -run '^%s$' -update .", name, t.Name())
	}
}

// TestLogsDocument holds docs/logs.md in step with the rows.
func TestLogsDocument(t *testing.T) { document(t, "docs/logs.md", logsDocument(logspec.All())) }

func logsDocument(logs []capture.LogSpec) []byte {
	var b bytes.Buffer
	b.WriteString(`# Logs

Every log, when it gets a row, and the meaning of its columns. Generated from the code (` + "`go test ./test -run TestLogsDocument -update`" + `).
[schema/](schema) has the same as JSON Schema, one file for each log.

Types are those of the tab-separated format. With ` + "`format: json`" + ` each row is one object on its own line; unset columns are
omitted:

| type | tab-separated | JSON |
|---|---|---|
| time | seconds since 1970 UTC with six decimals, ` + "`1700000000.123456`" + ` | a number, the same seconds |
| interval | seconds with six decimals | a number, seconds |
| count, port | digits | a whole number |
| double | decimal | a number |
| string, enum, addr | text; a tab, a line break or a byte that is not UTF-8 as ` + "`\\x09`" + ` | a string |
| bool | ` + "`T` `F`" + ` | ` + "`true` `false`" + ` |
| set[...], vector[...] | elements separated by commas; ` + "`(empty)`" + ` if there are none | an array |
| objects | ` + "`vector[string]`" + `: one text for each, in the form shown in its meaning | an array of objects; their fields are in a separate table |
| unset | ` + "`-`" + ` | omitted |

| log | a row is written |
|---|---|
`)
	for _, l := range logs {
		fmt.Fprintf(&b, "| [`%s.log`](#%slog) | %s |\n", l.Name, l.Name, cell(l.When))
	}
	for _, l := range logs {
		fmt.Fprintf(&b, "\n## %s.log\n\n%s\n\n| column | type | unit | meaning |\n|---|---|---|---|\n", l.Name, l.When)
		kinds := kindsOf(l.Row)
		for _, c := range l.Columns {
			unit := c.Unit
			if k := kinds[c.Name]; k == "time" || strings.Contains(k, "interval") {
				unit = "seconds"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Name, kinds[c.Name], unit, cell(meaning(c)))
		}
		fields := "\nObjects in JSON; a field with a question mark is optional:\n\n| column | field | type | unit | meaning |\n|---|---|---|---|---|\n"
		for _, c := range l.Columns {
			for _, f := range c.Fields {
				name, unit := "`"+f.Name+"`", f.Unit
				if f.Optional {
					name += " ?"
				}
				if f.Type == "time" || f.Type == "interval" {
					unit = "seconds"
				}
				fmt.Fprintf(&b, "%s| `%s` | %s | %s | %s | %s |\n", fields, c.Name, name, f.Type, unit, cell(f.Doc))
				fields = ""
			}
		}
	}
	return b.Bytes()
}

// meaning is what a column says, with its values where the sentences do not name them.
func meaning(c capture.Column) string {
	for _, v := range c.Values {
		if !strings.Contains(c.Doc, v) {
			return c.Doc + " One of `" + strings.Join(c.Values, "`, `") + "`."
		}
	}
	return c.Doc
}

// TestSchemas holds docs/schema in step with the rows.
func TestSchemas(t *testing.T) {
	var want []string
	for _, l := range logspec.All() {
		name := filepath.Join("docs/schema", l.Name+".json")
		want = append(want, name)
		document(t, name, schema(t, l))
	}
	if got, err := filepath.Glob("docs/schema/*"); err != nil || !slices.Equal(got, want) {
		t.Errorf("docs/schema has %v (%v)", got, err)
	}
}

// node is a JSON Schema; its fields stand in the order in which they are read.
type node struct {
	Schema      string   `json:"$schema,omitempty"`
	ID          string   `json:"$id,omitempty"`
	Title       string   `json:"title,omitempty"`
	Description string   `json:"description,omitempty"`
	Type        string   `json:"type,omitempty"`
	Format      string   `json:"format,omitempty"`
	AnyOf       []node   `json:"anyOf,omitempty"`
	Minimum     *int     `json:"minimum,omitempty"`
	Maximum     *int     `json:"maximum,omitempty"`
	Enum        []string `json:"enum,omitempty"`
	Items       *node    `json:"items,omitempty"`
	Properties  members  `json:"properties,omitempty"`
	Additional  *bool    `json:"additionalProperties,omitempty"`
	Required    []string `json:"required,omitempty"`

	kind string // of a field of an object, as a Field has it
}

// members are properties in the order of the columns.
type members []member

type member struct {
	name string
	node node
}

func (m members) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, p := range m {
		b.WriteByte("{,"[min(i, 1)])
		for j, v := range []any{p.name, p.node} {
			text, err := marshal(v)
			if err != nil {
				return nil, err
			}
			b.WriteString([...]string{"", ":"}[j])
			b.Write(text)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// marshal is json.Marshal without the escapes for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

func schema(t *testing.T, l capture.LogSpec) []byte {
	t.Helper()
	no := false
	s := node{
		Schema: "https://json-schema.org/draft/2020-12/schema", ID: "urn:raytap:log:" + l.Name, Title: l.Name + ".log",
		Description: "A row of " + l.Name + ".log with format: json. " + link.ReplaceAllString(l.When, "$1"), Type: "object", Additional: &no, Required: []string{"ts"},
	}
	kinds := kindsOf(l.Row)
	for _, c := range l.Columns {
		n := typed(t, kinds[c.Name], c)
		n.Description = described(c.Doc, kinds[c.Name], c.Unit)
		s.Properties = append(s.Properties, member{c.Name, n})
	}
	text, err := marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

// described is what a column or field says, with its unit.
func described(doc, kind, unit string) string {
	doc = link.ReplaceAllString(doc, "$1")
	switch {
	case kind == "time":
		doc += " Seconds since 1970 UTC."
	case strings.Contains(kind, "interval"):
		doc += " Seconds."
	case unit != "":
		doc += " Unit: " + unit + "."
	}
	return doc
}

// typed gives the schema of a type of a column.
func typed(t *testing.T, kind string, c capture.Column) node {
	t.Helper()
	zero, port, no := 0, 65535, false
	if _, inner, ok := strings.Cut(strings.TrimSuffix(kind, "]"), "["); ok {
		n := typed(t, inner, c)
		return node{Type: "array", Items: &n}
	}
	if kind == objects {
		o := node{Type: "object", Additional: &no}
		for _, f := range c.Fields {
			n := typed(t, f.Type, capture.Column{})
			n.kind = f.Type
			n.Description = described(f.Doc, f.Type, f.Unit)
			o.Properties = append(o.Properties, member{f.Name, n})
			if !f.Optional {
				o.Required = append(o.Required, f.Name)
			}
		}
		return node{Type: "array", Items: &o}
	}
	switch kind {
	case "time", "interval", "double":
		return node{Type: "number"}
	case "count":
		return node{Type: "integer", Minimum: &zero}
	case "port":
		return node{Type: "integer", Minimum: &zero, Maximum: &port}
	case "bool":
		return node{Type: "boolean"}
	case "addr":
		return node{Type: "string", AnyOf: []node{{Format: "ipv4"}, {Format: "ipv6"}}}
	case "string", "enum":
		return node{Type: "string", Enum: c.Values}
	}
	t.Fatalf("a type %s that has no schema", kind)
	return node{}
}

// schemas compiles the files of docs/schema.
func schemas(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	all := map[string]*jsonschema.Schema{}
	for _, l := range logspec.All() {
		s, err := c.Compile(filepath.Join("docs/schema", l.Name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		all[l.Name] = s
	}
	return all
}

// TestRowsKeepToTheirSchema writes the labelled captures as JSON and holds each row against the schema of its log.
func TestRowsKeepToTheirSchema(t *testing.T) {
	all := schemas(t)
	files, err := filepath.Glob("pcaps/*.pcap.gz")
	if err != nil || len(files) < 50 {
		t.Fatal(files, err)
	}
	seen, fields := map[string]int{}, map[string]bool{}
	keep := func(dir, from string) {
		logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range logs {
			name := strings.TrimSuffix(filepath.Base(path), ".log")
			if all[name] == nil {
				t.Errorf("%s: no schema", name)
				continue
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for line := range bytes.Lines(b) {
				row, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
				if err == nil {
					err = all[name].Validate(row)
				}
				if err != nil {
					t.Errorf("%s, %s.log: %v\n%s", from, name, err, line)
				}
				seen[name]++
				if row, ok := row.(map[string]any); ok {
					for column, v := range row {
						list, _ := v.([]any)
						for _, v := range list {
							o, _ := v.(map[string]any)
							for field := range o {
								fields[name+" "+column+" "+field] = true
							}
						}
					}
				}
			}
		}
	}
	for _, file := range files {
		keep(logsOf(t, file, zeek.JSON), filepath.Base(file))
	}
	keep(rareRows(t), "no capture")
	for name := range all {
		if seen[name] == 0 {
			t.Errorf("no row of %s", name)
		}
	}
	for _, l := range logspec.All() {
		for _, c := range l.Columns {
			for _, f := range c.Fields {
				if !fields[l.Name+" "+c.Name+" "+f.Name] {
					t.Errorf("%s: no object of %s has a %s", l.Name, c.Name, f.Name)
				}
			}
		}
	}
}

// rareRows writes, as JSON, rows of what is in no labelled capture.
func rareRows(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sink, err := zeek.New(dir, zeek.Options{Format: zeek.JSON, Rules: registry.Rules()})
	if err != nil {
		t.Fatal(err)
	}
	flow := &capture.Flow{UID: "CTestTestTestTest01", Orig: netip.MustParseAddrPort("10.0.0.1:40000"), Resp: netip.MustParseAddrPort("[2001:db8::1]:1080")}
	at := capture.At{Time: 1700000000123456789, Packet: 1}
	finding := &detectors.Finding{At: at, Rule: "jobsubmit/external", Severity: detectors.High, Outcome: detectors.Succeeded, Src: flow.Orig.Addr(), Name: "RTestTestTestTest01", Revision: 2, Count: 2}
	for _, r := range []any{
		&detectors.Update{Finding: finding, Was: detectors.High},
		&detectors.Incident{Written: at.Time, ID: "I00000000000000001", Revision: 2, State: detectors.Open, First: at, Last: at,
			Techniques: []string{"AML.T0049 Exploit Public-Facing Application", "T1059.004 Command and Scripting Interpreter: Unix Shell", "T1059.006 Command and Scripting Interpreter: Python"}},
		&detectors.Incident{Written: at.Time, ID: "I00000000000000001", Revision: 3, State: detectors.Merged, Into: "I00000000000000002", First: at, Last: at},
		&assets.Row{At: at, Change: assets.Seen, Asset: &assets.Asset{Key: "ray a", Proxies: []assets.Proxy{{Addr: flow.Resp, Prefix: "/ray", Host: "ray.example.org", Server: "nginx"}}}},
		&capture.Loss{At: at, Span: time.Minute, Acks: 3, Gaps: 1},
		&socks.Request{At: at, Flow: flow, Version: 5, Command: socks.Connect, User: "a", Host: socks.Address{Addr: flow.Resp.Addr(), Name: "pool.example"}, Port: 443,
			Replied: true, Status: "succeeded", Bound: socks.Address{Addr: flow.Orig.Addr(), Name: "b"}, BoundPort: 9},
		&tls.Certificate{At: at, Flow: flow, Host: true, X509: &tls.X509{Fingerprint: "0a", Version: 3, Serial: "0B", Subject: "CN=a", Issuer: "CN=b", NotBefore: at.Time.Std(), NotAfter: at.Time.Std(),
			KeyAlg: "rsaEncryption", SigAlg: "sha256WithRSAEncryption", KeyType: "rsa", KeyBits: 2048, Exponent: "65537", Curve: "prime256v1", DNS: []string{"a"}, URI: []string{"urn:a"},
			Email: []string{"a@example.org"}, IP: []string{"192.0.2.1", "2001:db8::1"}, Constrained: true, PathLen: 1}},
	} {
		sink.Event(r)
	}
	src, err := capture.OpenFile("pcaps/attack-job-agent.pcap.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	cfg := engine.Default()
	cfg.Rules.Off = []string{"jobsubmit", "egress"} // for kept_back_by
	cfg.Observer = observe.New("r1", observe.Config{})
	stats, err := engine.Run(context.Background(), cfg, src, sink)
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(stats.Last); err != nil {
		t.Fatal(err)
	}
	return dir
}
