package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dop251/goja"
	"github.com/goccy/go-yaml"

	"github.com/raytap/raytap/fleet/observe"
	"github.com/raytap/raytap/sinks/zeek"
	"github.com/raytap/raytap/test/logspec"
)

// tableOf gives the cells of the table of a document whose first heading is called so, without the marks of code.
func tableOf(t *testing.T, name string, headings ...string) (rows [][]string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	in := false
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "`", "")
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			in = false
		case slices.Equal(cells, headings):
			in = true
		case in && !strings.HasPrefix(line, "|---"):
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("%s: no table %q", name, headings)
	}
	return rows
}

// logRow is a row of a log as its file has it.
type logRow struct {
	log, line string
}

// sampleRows gives rows of all logs: of each labelled capture the first few of each, and those that are in none.
func sampleRows(t *testing.T) (rows []logRow) {
	t.Helper()
	files, err := filepath.Glob("pcaps/*.pcap.gz")
	if err != nil || len(files) < 50 {
		t.Fatal(files, err)
	}
	dirs := []string{rareRows(t)}
	for _, file := range files {
		dirs = append(dirs, logsOf(t, file, zeek.JSON))
	}
	for _, dir := range dirs {
		logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range logs {
			if strings.HasPrefix(filepath.Base(path), observe.Log+".") { // for hubs alone
				continue
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for line := range strings.Lines(string(b)) {
				if n++; n > 6 {
					break
				}
				rows = append(rows, logRow{strings.TrimSuffix(filepath.Base(path), ".log"), strings.TrimSpace(line)})
			}
		}
	}
	return rows
}

// numbers turns those of a decoded JSON value into int64 and float64, as Filebeat does.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

func decoded(t *testing.T, line string) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(line))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return numbers(m).(map[string]any)
}

// flat gives a document as one map from paths to values, numbers as float64, times as microseconds.
func flat(v any) map[string]any {
	out := map[string]any{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch x := v.(type) {
		case map[string]any:
			for k, e := range x {
				walk(strings.TrimPrefix(path+"."+k, "."), e)
			}
			return
		case int64:
			v = float64(x)
		case time.Time:
			v = float64(x.Round(time.Microsecond).UnixMicro())
		case []string:
			all := make([]any, len(x))
			for i := range x {
				all[i] = x[i]
			}
			v = all
		case []any:
			all := make([]any, len(x))
			for i := range x {
				if all[i] = x[i]; reflect.TypeOf(x[i]) == reflect.TypeFor[int64]() {
					all[i] = float64(x[i].(int64))
				} else if m, ok := x[i].(map[string]any); ok {
					all[i] = flat(m)
				}
			}
			v = all
		}
		if v != nil {
			out[path] = v
		}
	}
	walk("", v)
	return out
}

// schemaOf is what docs/ecs.md says.
type schemaOf struct {
	moves     [][]string // log, column, field, how
	constants map[string][]string
	words     map[string]any // of severities and outcomes
}

func readECS(t *testing.T) *schemaOf {
	t.Helper()
	s := &schemaOf{moves: tableOf(t, "docs/ecs.md", "log", "column", "ECS", "how"), constants: map[string][]string{}, words: map[string]any{}}
	for _, r := range tableOf(t, "docs/ecs.md", "log", "event.kind", "event.category", "event.type", "network.protocol") {
		s.constants[r[0]] = r[1:]
	}
	for _, m := range s.moves {
		switch m[2] {
		case "event.severity":
			for _, w := range strings.Split(m[3][strings.Index(m[3], ": ")+2:], ", ") {
				name, n := "", 0.0
				if _, err := fmt.Sscanf(w, "%s %g", &name, &n); err != nil {
					t.Fatal(err)
				}
				s.words[name] = n
			}
		case "event.outcome":
			for _, part := range strings.Split(strings.TrimPrefix(m[3], "copied: "), "; ") {
				names, is, ok := strings.Cut(part, " are ")
				if !ok {
					continue
				}
				for _, n := range strings.Split(names, ", ") {
					s.words[n] = is
				}
			}
		}
	}
	for _, l := range logspec.All() {
		if l.Name == observe.Log { // for hubs alone: neither Filebeat nor Vector ships it
			continue
		}
		if s.constants[l.Name] == nil {
			t.Errorf("docs/ecs.md: nothing of %s", l.Name)
		}
	}
	return s
}

// of gives what shall become of a row.
func (s *schemaOf) of(t *testing.T, r logRow) map[string]any {
	t.Helper()
	row := decoded(t, r.line)
	out := map[string]any{"event.module": "raytap", "event.dataset": "raytap." + r.log, "observer.vendor": "raytap", "observer.product": "raytap", "observer.type": "ids"}
	for i, f := range [...]string{"event.kind", "event.category", "event.type", "network.protocol"} {
		switch v := s.constants[r.log][i]; {
		case v == "":
		case i == 0 || i == 3:
			out[f] = v
		default:
			var all []any
			for _, e := range strings.Split(v, ", ") {
				all = append(all, e)
			}
			out[f] = all
		}
	}
	var gone []string
	for _, m := range s.moves {
		if m[0] != "all" && m[0] != r.log && (m[0] != "all but notice" || r.log == "notice") {
			continue
		}
		v := row[m[1]]
		if v == nil {
			continue
		}
		if strings.HasPrefix(m[3], "moved") {
			gone = append(gone, m[1])
		}
		switch f := m[2]; f {
		case "@timestamp", "event.start", "event.end":
			out[f] = math.Round(flat(v)[""].(float64) * 1e6)
		case "event.severity":
			out[f] = s.words[v.(string)]
		case "event.outcome":
			if out[f] = s.words[v.(string)]; out[f] == nil {
				out[f] = "unknown"
			}
		case "event.duration":
			out[f] = math.Round(flat(v)[""].(float64) * 1e9)
		case "dns.id":
			out[f] = fmt.Sprint(v)
		case "url.domain":
			out[f] = regexp.MustCompile(`:\d+$`).ReplaceAllString(v.(string), "")
		case "event.action":
			out[f] = flat(v)[""]
			switch {
			case m[1] == "update" && v == true:
				out[f] = "finding-updated"
			case m[1] == "update":
				out[f] = "finding-created"
			case m[1] == "state" && v == "open" && row["revision"] == int64(1):
				out[f] = "incident-opened"
			case m[1] == "state" && v == "open":
				out[f] = "incident-updated"
			case m[1] == "state":
				out[f] = "incident-" + v.(string)
			}
		case "threat.technique.id", "threat.technique.name", "threat.technique.subtechnique.id", "threat.technique.subtechnique.name", "threat.framework":
			var all []any
			for _, e := range v.([]any) {
				id := e.(map[string]any)["id"].(string)
				whole, _, sub := strings.Cut(id, ".")
				name, part, _ := strings.Cut(e.(map[string]any)["name"].(string), ": ")
				x := map[string]string{"threat.technique.id": whole, "threat.technique.name": name, "threat.framework": "MITRE ATT&CK",
					"threat.technique.subtechnique.id": id, "threat.technique.subtechnique.name": part}[f]
				if strings.HasPrefix(id, "T") && (sub || !strings.Contains(f, "subtechnique")) && !slices.Contains(all, any(x)) {
					all = append(all, x)
				}
			}
			switch {
			case all == nil:
			case f == "threat.framework":
				out[f] = all[0]
			default:
				out[f] = all
			}
		default:
			out[f] = flat(v)[""]
		}
	}
	for k, v := range row {
		if !slices.Contains(gone, k) {
			for path, e := range flat(v) {
				out[strings.TrimSuffix("zeek."+r.log+"."+k+"."+path, ".")] = e
			}
		}
	}
	return out
}

// documentID is the id of the document that a row becomes, nil if that is for Elasticsearch to find.
func documentID(t *testing.T, r logRow) any {
	row := decoded(t, r.line)
	switch r.log {
	case "notice":
		return fmt.Sprintf("%s-%d", row["finding_id"], row["revision"])
	case "incidents":
		return fmt.Sprintf("%s-%d", row["incident_id"], row["revision"])
	}
	return nil
}

// TestECSTable: the columns of docs/ecs.md are some, and its words all that there are.
func TestECSTable(t *testing.T) {
	s := readECS(t)
	for _, m := range s.moves {
		found := false
		for _, l := range logspec.All() {
			if m[0] == l.Name || strings.HasPrefix(m[0], "all") {
				for _, c := range l.Columns {
					found = found || c.Name == m[1]
				}
			}
		}
		if !found {
			t.Errorf("docs/ecs.md: %s has no column %s", m[0], m[1])
		}
	}
	for _, l := range logspec.All() {
		for _, c := range l.Columns {
			if c.Name == "severity" || c.Name == "outcome" {
				for _, v := range c.Values {
					if s.words[v] == nil && v != "unknown" && v != "not_ray" && v != "observed" && v != "tried" {
						t.Errorf("docs/ecs.md: %s of %s is %q, which has no word there", c.Name, l.Name, v)
					}
				}
			}
		}
	}
}

// same compares what came out with what shall.
func same(t *testing.T, what string, r logRow, got, want map[string]any) {
	t.Helper()
	for _, v := range []map[string]any{got, want} {
		for k, e := range v {
			if e == nil {
				delete(v, k)
			}
		}
	}
	if reflect.DeepEqual(got, want) {
		return
	}
	for k := range want {
		if !reflect.DeepEqual(got[k], want[k]) {
			t.Errorf("%s: %s: %s is %#v, want %#v in %s", what, r.log, k, got[k], want[k], r.line)
			return
		}
	}
	for k := range got {
		if want[k] == nil {
			t.Errorf("%s: %s: %s is %#v, want nothing, in %s", what, r.log, k, got[k], r.line)
			return
		}
	}
}

func parseYAML(t *testing.T, name string) (v map[string]any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(b, &v, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// beat is an event as the processors of a Beat have it: paths with dots go into maps (libbeat's mapstr).
type beat map[string]any

func (e beat) get(path string) any {
	var v any = map[string]any(e)
	for _, k := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

func (e beat) remove(path string) bool {
	dir, name := "", path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	m := map[string]any(e)
	if dir != "" {
		m, _ = e.get(dir).(map[string]any)
	}
	_, ok := m[name]
	delete(m, name)
	return ok
}

// TestFilebeat runs the configuration for Filebeat: what its parser and its timestamp processor do is done here, its script
// runs in the interpreter that Filebeat has.
func TestFilebeat(t *testing.T) {
	cfg := parseYAML(t, "docs/integrations/filebeat.yml")
	parser := at(t, cfg, "filebeat.inputs", 0, "parsers", 0, "ndjson")
	if at(t, cfg, "filebeat.inputs", 0, "type") != "filestream" || at(t, parser, "target") != "row" || at(t, parser, "expand_keys") != true {
		t.Fatal("another input than expected")
	}
	ecs := readECS(t)
	vm := goja.New()
	var event beat
	object := vm.NewObject()
	for name, f := range map[string]any{
		"Get": func(path string) any { return event.get(path) },
		"Put": func(path string, v any) any { old := event.get(path); plant(event, path, v); return old },
		"Delete": func(path string) bool {
			return event.remove(path)
		},
		"Rename": func(from, to string) bool {
			v := event.get(from)
			if v == nil || event.get(to) != nil {
				return false
			}
			event.remove(from)
			plant(event, to, v)
			return true
		},
	} {
		if err := object.Set(name, f); err != nil {
			t.Fatal(err)
		}
	}
	processors := at(t, cfg, "processors").([]any)
	var run goja.Callable
	for _, p := range processors {
		if s, ok := p.(map[string]any)["script"]; ok {
			if _, err := vm.RunString(at(t, s, "source").(string)); err != nil {
				t.Fatal(err)
			}
			run, _ = goja.AssertFunction(vm.Get("process"))
		}
	}
	if run == nil {
		t.Fatal("no script")
	}
	for _, r := range sampleRows(t) {
		row := map[string]any{}
		for k, v := range decoded(t, r.line) {
			plant(row, k, v)
		}
		event = beat{"row": row, "log": map[string]any{"file": map[string]any{"path": "/var/log/raytap/current/" + r.log + ".log"}}}
		for _, p := range processors {
			for kind, arg := range p.(map[string]any) {
				switch kind {
				case "timestamp":
					to, _ := arg.(map[string]any)["target_field"].(string)
					if to == "" {
						to = "@timestamp"
					}
					if at(t, arg, "layouts", 0) != "UNIX" {
						t.Fatal("a layout that this test does not know")
					}
					switch v := event.get(at(t, arg, "field").(string)).(type) {
					case float64:
						plant(event, to, time.Unix(0, int64(v*float64(time.Second))).UTC())
					case int64:
						plant(event, to, time.Unix(v, 0).UTC())
					default:
						if arg.(map[string]any)["ignore_missing"] != true {
							t.Errorf("%s: no %s", r.log, at(t, arg, "field"))
						}
					}
				case "script":
					if _, err := run(goja.Undefined(), object); err != nil {
						t.Fatalf("%s: %v", r.log, err)
					}
				default:
					t.Fatalf("a processor %s that this test does not know", kind)
				}
			}
		}
		delete(event, "log")
		if got, want := event.get("@metadata._id"), documentID(t, r); got != want {
			t.Errorf("%s: the document is %v, want %v", r.log, got, want)
		}
		delete(event, "@metadata")
		same(t, "Filebeat", r, flat(map[string]any(event)), ecs.of(t, r))
	}
}

// TestVector runs the program of the configuration for Vector in Vector's own implementation of its language, where node
// finds that (npm install @bpinternal/verel, NODE_PATH).
func TestVector(t *testing.T) {
	cfg := parseYAML(t, "docs/integrations/vector.yaml")
	if at(t, cfg, "transforms", "ecs", "inputs", 0) != "raytap" || at(t, cfg, "sources", "raytap", "type") != "file" || at(t, cfg, "sinks", "elastic", "inputs", 0) != "ecs" ||
		at(t, cfg, "sinks", "elastic", "id_key") != "_id" {
		t.Error("the pieces do not fit together")
	}
	source := at(t, cfg, "transforms", "ecs", "source").(string)
	// What the table moves stands in the program, whether that can be run or not.
	ecs := readECS(t)
	for _, m := range ecs.moves {
		if strings.HasPrefix(m[3], "moved") && m[1] != "ts" && !strings.Contains(source, fmt.Sprintf("%q: %q", m[1], m[2])) {
			t.Errorf("%s of %s does not become %s", m[1], m[0], m[2])
		}
	}
	if err := exec.Command("node", "-e", "require('@bpinternal/verel')").Run(); err != nil {
		t.Skip("no @bpinternal/verel (npm) that node finds:", err)
	}
	program := filepath.Join(t.TempDir(), "ecs.vrl")
	if err := os.WriteFile(program, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	// It is compiled anew for each row: those are run that have a column, or a severity or outcome, that none before had.
	var rows []logRow
	had := map[string]bool{}
	for _, r := range sampleRows(t) {
		fresh := false
		for k, v := range decoded(t, r.line) {
			key := r.log + " " + k
			switch k {
			case "severity", "outcome", "update", "state", "revision":
				key += fmt.Sprint(" ", v)
			case "attack", "techniques":
				key += fmt.Sprint(" ", strings.Contains(fmt.Sprint(v), "T1059.004"), len(v.([]any)) > 0)
			}
			fresh = fresh || !had[key]
			had[key] = true
		}
		if fresh {
			rows = append(rows, r)
		}
	}
	var in bytes.Buffer
	for _, r := range rows {
		b, err := json.Marshal(map[string]string{"message": r.line, "file": "/var/log/raytap/" + r.log + ".log"})
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(b, '\n'))
	}
	var complaints bytes.Buffer
	cmd := exec.Command("node", "testdata/integrations/vrl.js", program)
	cmd.Stdin, cmd.Stderr = &in, &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("%v\n%s", err, complaints.Bytes())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(rows) {
		t.Fatalf("%d rows became %d", len(rows), len(lines))
	}
	for i, line := range lines {
		got := flat(decoded(t, line))
		for _, f := range [...]string{"@timestamp", "event.start", "event.end"} {
			if s, ok := got[f].(string); ok {
				at, err := time.Parse(time.RFC3339Nano, s)
				if err != nil {
					t.Fatal(err)
				}
				got[f] = float64(at.UnixMicro())
			}
		}
		if got, want := got["_id"], documentID(t, rows[i]); got != want {
			t.Errorf("%s: the document is %v, want %v", rows[i].log, got, want)
		}
		delete(got, "_id")
		same(t, "Vector", rows[i], got, ecs.of(t, rows[i]))
	}
}
