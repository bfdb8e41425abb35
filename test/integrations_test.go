package test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/raytap/raytap/fleet/observe"
	"github.com/raytap/raytap/test/logspec"
)

// ecsTypes are the types of Elasticsearch that ECS 8 gives the fields of docs/ecs.md; what is not here is a keyword.
var ecsTypes = map[string]string{
	"@timestamp":                "date",
	"destination.bytes":         "long",
	"destination.ip":            "ip",
	"destination.packets":       "long",
	"destination.port":          "long",
	"event.duration":            "long",
	"event.end":                 "date",
	"event.risk_score":          "float",
	"event.severity":            "long",
	"event.start":               "date",
	"file.size":                 "long",
	"http.request.body.bytes":   "long",
	"http.response.body.bytes":  "long",
	"http.response.status_code": "long",
	"message":                   "match_only_text",
	"process.command_line":      "wildcard",
	"source.bytes":              "long",
	"source.ip":                 "ip",
	"source.packets":            "long",
	"source.port":               "long",
	"tls.established":           "boolean",
	"tls.resumed":               "boolean",
	"url.original":              "wildcard",
}

// elastic gives the mapping of a field of a log by its schema.
func elastic(t *testing.T, kind string, n node) map[string]any {
	t.Helper()
	for n.Type == "array" {
		n = *n.Items
		kind = strings.TrimSuffix(kind[strings.IndexByte(kind, '[')+1:], "]") // of objects it stays
	}
	switch {
	case n.Type == "object" && len(n.Properties) > 0:
		members := map[string]any{}
		for _, p := range n.Properties {
			members[p.name] = elastic(t, p.node.kind, p.node)
		}
		return map[string]any{"properties": members}
	case kind == "time":
		return map[string]any{"type": "date", "format": "epoch_second||strict_date_optional_time"}
	case n.Type == "number":
		return map[string]any{"type": "double"}
	case n.Type == "integer":
		return map[string]any{"type": "long"}
	case n.Type == "boolean":
		return map[string]any{"type": "boolean"}
	case len(n.AnyOf) > 0:
		return map[string]any{"type": "ip"}
	case n.Type == "string":
		return map[string]any{"type": "keyword", "ignore_above": 8191}
	}
	t.Fatalf("%s has no mapping: %+v", kind, n)
	return nil
}

// mapped sets the mapping of a path.
func mapped(t *testing.T, properties map[string]any, path string, m map[string]any) {
	t.Helper()
	for {
		head, rest, more := strings.Cut(path, ".")
		if !more {
			if properties[head] == nil {
				properties[head] = m
			}
			return
		}
		if properties[head] == nil {
			properties[head] = map[string]any{"properties": map[string]any{}}
		}
		inner, ok := properties[head].(map[string]any)["properties"].(map[string]any)
		if !ok {
			t.Fatalf("%s stands below a field", path)
		}
		properties, path = inner, rest
	}
}

// TestElasticsearchTemplate holds docs/integrations/elasticsearch-template.json in step with docs/ecs.md and the logs: each
// field that Filebeat and Vector write has a type there, and no other is made up.
func TestElasticsearchTemplate(t *testing.T) {
	properties := map[string]any{}
	field := func(path string) {
		m := map[string]any{"type": ecsTypes[path]}
		switch {
		case ecsTypes[path] == "":
			m = map[string]any{"type": "keyword", "ignore_above": 1024}
		case strings.HasPrefix(path, "event.") && ecsTypes[path] == "date" || path == "@timestamp":
		}
		mapped(t, properties, path, m)
	}
	ecs := readECS(t)
	moved := map[string]bool{}
	for _, m := range ecs.moves {
		field(m[2])
		if strings.HasPrefix(m[3], "moved") {
			moved[m[0]+" "+m[1]] = true
		}
	}
	for _, f := range []string{"event.kind", "event.category", "event.type", "event.module", "event.dataset", "network.protocol", "observer.vendor",
		"observer.product", "observer.type", "data_stream.type", "data_stream.dataset", "data_stream.namespace"} {
		field(f)
	}
	for f := range ecsTypes {
		at := map[string]any{"properties": properties}
		for _, k := range strings.Split(f, ".") {
			if at, _ = at["properties"].(map[string]any)[k].(map[string]any); at == nil {
				t.Fatalf("%s is in no table", f)
			}
		}
	}
	for _, l := range logspec.All() {
		if l.Name == observe.Log { // for hubs alone: neither Filebeat nor Vector ships it
			continue
		}
		kinds := kindsOf(l.Row)
		for _, c := range l.Columns {
			if moved["all "+c.Name] || moved[l.Name+" "+c.Name] || l.Name != "notice" && moved["all but notice "+c.Name] {
				continue
			}
			mapped(t, properties, "zeek."+l.Name+"."+c.Name, elastic(t, kinds[c.Name], typed(t, kinds[c.Name], c)))
		}
	}
	text, err := marshal(map[string]any{
		"index_patterns": []string{"logs-raytap.*-*"},
		"priority":       250, // over Elasticsearch's own for logs-*-*
		"data_stream":    map[string]any{},
		"_meta":          map[string]any{"description": "The logs of raytap as Filebeat and Vector ship them"},
		"template": map[string]any{
			"settings": map[string]any{"index.mapping.total_fields.limit": 2000},
			"mappings": map[string]any{"date_detection": false, "properties": properties,
				"dynamic_templates": []any{map[string]any{"strings": map[string]any{
					"match_mapping_type": "string", "mapping": map[string]any{"type": "keyword", "ignore_above": 1024}}}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	document(t, "docs/integrations/elasticsearch-template.json", b.Bytes())

	// What is shipped has a type.
	types := map[string]string{}
	var walk func(path string, v map[string]any)
	walk = func(path string, v map[string]any) {
		for k, e := range v {
			m := e.(map[string]any)
			if inner, ok := m["properties"].(map[string]any); ok {
				walk(path+k+".", inner)
			} else {
				types[path+k] = m["type"].(string)
			}
		}
	}
	walk("", properties)
	for _, r := range sampleRows(t) {
		for f, v := range ecs.of(t, r) {
			switch {
			case v == nil || empty(v):
			case objectsIn(v) != nil:
				for _, o := range objectsIn(v) {
					for k, v := range o {
						if !fits(types[f+"."+k], v) {
							t.Fatalf("%s.%s of %s is %#v, which is no %q", f, k, r.log, v, types[f+"."+k])
						}
					}
				}
			case types[f] == "":
				t.Fatalf("%s of %s has no type", f, r.log)
			case !fits(types[f], v):
				t.Fatalf("%s of %s is %#v, which is no %s", f, r.log, v, types[f])
			}
		}
	}
}

func empty(v any) bool {
	list, ok := v.([]any)
	return ok && len(list) == 0
}

// objectsIn gives the objects of a list, nil if it is no list of these.
func objectsIn(v any) (all []map[string]any) {
	list, _ := v.([]any)
	for _, e := range list {
		o, ok := e.(map[string]any)
		if !ok {
			return nil
		}
		all = append(all, o)
	}
	return all
}

// fits reports whether a value can be indexed as a type.
func fits(kind string, v any) bool {
	if list, ok := v.([]any); ok {
		for _, e := range list {
			if !fits(kind, e) {
				return false
			}
		}
		return true
	}
	switch v.(type) {
	case bool:
		return kind == "boolean"
	case float64:
		return kind == "long" || kind == "double" || kind == "float" || kind == "date"
	case string:
		return kind == "keyword" || kind == "ip" || kind == "wildcard" || kind == "match_only_text"
	}
	return v == nil
}

// TestKibana: the saved objects refer to each other, and to fields that there are.
func TestKibana(t *testing.T) {
	b, err := os.ReadFile("docs/integrations/kibana.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	template := map[string]any{}
	text, err := os.ReadFile("docs/integrations/elasticsearch-template.json")
	if err == nil {
		err = json.Unmarshal(text, &template)
	}
	if err != nil {
		t.Fatal(err)
	}
	known := func(field string) bool {
		at := template["template"].(map[string]any)["mappings"].(map[string]any)
		for _, k := range strings.Split(field, ".") {
			inner, _ := at["properties"].(map[string]any)
			if at, _ = inner[k].(map[string]any); at == nil {
				return false
			}
		}
		return at["type"] != nil
	}
	type object struct {
		ID, Type   string
		Attributes struct {
			Title         string
			TimeFieldName string
			Columns       []string
			Sort          [][]string
			PanelsJSON    string
			VisState      string
			SearchSource  struct{ SearchSourceJSON string } `json:"kibanaSavedObjectMeta"`
		}
		References []struct{ ID, Name, Type string }
	}
	objects := map[string]object{}
	var all []object
	for line := range bytes.Lines(b) {
		var o object
		if err := json.Unmarshal(line, &o); err != nil {
			t.Fatal(err)
		}
		if o.ID == "" || o.Attributes.Title == "" || objects[o.Type+" "+o.ID].ID != "" {
			t.Errorf("%s %q is twice, or has no name", o.Type, o.ID)
		}
		objects[o.Type+" "+o.ID] = o
		all = append(all, o)
	}
	for _, o := range all {
		names := map[string]bool{}
		for _, r := range o.References {
			names[r.Name] = true
			if objects[r.Type+" "+r.ID].ID == "" {
				t.Errorf("%s refers to %s %s, which is not there", o.ID, r.Type, r.ID)
			}
		}
		fields := o.Attributes.Columns
		for _, s := range o.Attributes.Sort {
			fields = append(fields, s[0])
		}
		if o.Attributes.TimeFieldName != "" {
			fields = append(fields, o.Attributes.TimeFieldName)
		}
		if s := o.Attributes.VisState; s != "" {
			var v struct {
				Aggs []struct{ Params struct{ Field string } }
			}
			if err := json.Unmarshal([]byte(s), &v); err != nil {
				t.Fatalf("%s: %v", o.ID, err)
			}
			for _, a := range v.Aggs {
				if a.Params.Field != "" {
					fields = append(fields, a.Params.Field)
				}
			}
		}
		if s := o.Attributes.SearchSource.SearchSourceJSON; s != "" {
			var v struct {
				Query struct{ Query string }
				Index string `json:"indexRefName"`
			}
			if err := json.Unmarshal([]byte(s), &v); err != nil {
				t.Fatalf("%s: %v", o.ID, err)
			}
			if v.Index != "" && !names[v.Index] {
				t.Errorf("%s: no reference %s", o.ID, v.Index)
			}
			for _, term := range strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(v.Query.Query)) {
				if f, _, ok := strings.Cut(term, ":"); ok && f != "" {
					fields = append(fields, f)
				}
			}
		}
		if s := o.Attributes.PanelsJSON; s != "" {
			var panels []struct{ PanelRefName string }
			if err := json.Unmarshal([]byte(s), &panels); err != nil {
				t.Fatalf("%s: %v", o.ID, err)
			}
			for _, p := range panels {
				if !names[p.PanelRefName] {
					t.Errorf("%s: no reference %s", o.ID, p.PanelRefName)
				}
			}
		}
		for _, f := range fields {
			if !known(f) {
				t.Errorf("%s: there is no field %s", o.ID, f)
			}
		}
	}
	for _, kind := range []string{"index-pattern raytap", "search raytap-findings", "dashboard raytap"} {
		if objects[kind].ID == "" {
			t.Errorf("no %s", kind)
		}
	}
}
