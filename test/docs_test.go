package test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
)

var update = flag.Bool("update", false, "write the generated documents anew")

// TestRulesDocument holds docs/rules.md in step with the registry.
func TestRulesDocument(t *testing.T) {
	const name = "docs/rules.md"
	want := rulesDocument(registry.Detectors())
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
		t.Errorf("%s is not what the registry says; write it with: go test ./test -run TestRulesDocument -update", name)
	}
}

func rulesDocument(specs []detectors.Spec) []byte {
	var b bytes.Buffer
	atlas, attack, _ := data.Versions()
	fmt.Fprintf(&b, `# Rules

Everything raytap can report, generated from the registry (`+"`go test ./test -run TestRulesDocument -update`"+`). `+"`raytap rules RULE`"+`
prints the same. The severity is that of a plain success; an attempt is rated at least one step below it, and a rule may
exceed it where its sentence gives the reason. Names of techniques are those of MITRE ATLAS %s and MITRE ATT&CK %s.

| rule | severity | reports |
|---|---|---|
`, atlas, attack)
	for _, d := range specs {
		for _, r := range d.Rules {
			fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s |\n", r.Name, anchor(r.Name), r.Severity, cell(r.Says))
		}
	}
	for _, d := range specs {
		for _, r := range d.Rules {
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", r.Name, r.Says)
			fmt.Fprintf(&b, "- Severity: %s\n- In `notice.log`: `Raytap::%s`\n", r.Severity, r.Note)
			for _, k := range [...]struct {
				name, link string
				ids        []string
			}{{"ATLAS", "https://atlas.mitre.org/techniques/", r.ATLAS}, {"ATT&CK", "https://attack.mitre.org/techniques/", r.ATTACK}} {
				var all []string
				for _, id := range k.ids {
					title, _, _ := data.Technique(id)
					page := id
					if k.name != "ATLAS" {
						page = strings.ReplaceAll(id, ".", "/")
					}
					all = append(all, strings.TrimSpace(fmt.Sprintf("[%s](%s%s) %s", id, k.link, page, title)))
				}
				if len(all) > 0 {
					fmt.Fprintf(&b, "- %s: %s\n", k.name, strings.Join(all, ", "))
				}
			}
			fmt.Fprintf(&b, "- Needs to see: %s\n- Known false positives: %s\n", r.Needs, r.FalsePositives)
		}
	}
	return b.Bytes()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// anchor is what a heading is called in a link.
func anchor(s string) string { return strings.ReplaceAll(s, "/", "") }

// blocks gives the parsed YAML of a document, in order.
func blocks(t *testing.T, name string) (all []map[string]any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range strings.Split(string(b), "```yaml\n")[1:] {
		s, _, _ = strings.Cut(s, "```")
		var v map[string]any
		if err := yaml.UnmarshalWithOptions([]byte(s), &v, yaml.Strict()); err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, s)
		}
		all = append(all, v)
	}
	return all
}

// at walks into maps and lists: at(v, "a", 0, "b") is v["a"][0]["b"].
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok || m[p] == nil {
				t.Fatalf("no %v in %v", p, v)
			}
			v = m[p]
		case int:
			l, ok := v.([]any)
			if !ok || len(l) <= p {
				t.Fatalf("no element %d in %v", p, v)
			}
			v = l[p]
		}
	}
	return v
}

// logsOf writes the logs of a capture to a folder.
func logsOf(t *testing.T, file, format string) string {
	t.Helper()
	src, err := capture.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dir := t.TempDir()
	logs, err := zeek.New(dir, zeek.Options{Format: format, Rules: registry.Rules()})
	if err != nil {
		t.Fatal(err)
	}
	stats, err := engine.Run(context.Background(), engine.Default(), src, logs)
	if err != nil {
		t.Fatal(err)
	}
	if err := logs.Close(stats.Last); err != nil {
		t.Fatal(err)
	}
	return dir
}

// notices writes the findings of a capture as JSON and gives the rows as Filebeat's parser does, and all names in them.
func notices(t *testing.T, file string) (rows []map[string]any, names map[string]bool) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(logsOf(t, file, zeek.JSON), "notice.log"))
	if err != nil {
		t.Fatal(err)
	}
	names = map[string]bool{}
	for line := range bytes.Lines(b) {
		var row map[string]any
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		expanded := map[string]any{}
		for k, v := range row {
			names[k] = true
			plant(expanded, k, v)
		}
		rows = append(rows, expanded)
	}
	return rows, names
}

// plant sets a value at a path with dots.
func plant(m map[string]any, path string, v any) {
	for {
		head, rest, more := strings.Cut(path, ".")
		if !more {
			m[head] = v
			return
		}
		if _, ok := m[head].(map[string]any); !ok {
			m[head] = map[string]any{}
		}
		m, path = m[head].(map[string]any), rest
	}
}

func TestSigmaExample(t *testing.T) {
	rule := blocks(t, "docs/ecs.md")[0]
	rows, names := notices(t, "pcaps/shadowray.pcap.gz")
	for _, f := range at(t, rule, "fields").([]any) {
		if !names[f.(string)] {
			t.Errorf("notice.log has no column %s", f)
		}
	}
	hits := 0
	for _, row := range rows {
		hit := true
		for k, v := range at(t, rule, "detection", "selection").(map[string]any) {
			hit = hit && row[k] == v
		}
		if hit {
			hits++
		}
	}
	if hits != 1 {
		t.Errorf("%d rows match", hits)
	}
}

// TestLogsByTheRulesOfTheirHeader reads every log as zeek-cut and its like do: by #separator and #fields alone, and each
// value by its type.
func TestLogsByTheRulesOfTheirHeader(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(logsOf(t, "pcaps/shadowray.pcap.gz", zeek.TSV), "*.log"))
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	date := regexp.MustCompile(`^\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d$`)
	scalar := map[string]*regexp.Regexp{
		"time": regexp.MustCompile(`^\d+\.\d{6}$`), "interval": regexp.MustCompile(`^-?\d+\.\d{6}$`), "count": regexp.MustCompile(`^\d+$`),
		"port": regexp.MustCompile(`^\d{1,5}$`), "bool": regexp.MustCompile(`^[TF]$`), "double": regexp.MustCompile(`^-?\d+(\.\d+)?$`),
		"string": regexp.MustCompile(`^[^\t\n]*$`), "enum": regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_:-]*$`),
	}
	check := func(file, name, kind, v string) {
		if kind == "addr" {
			if _, err := netip.ParseAddr(v); err != nil {
				t.Errorf("%s: %s is %q, no address", file, name, v)
			}
		} else if re := scalar[kind]; re == nil || !re.MatchString(v) {
			t.Errorf("%s: %s is %q, no %s", file, name, v, kind)
		}
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		for i, want := range []string{"#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", "#path\t" + strings.TrimSuffix(name, ".log")} {
			if lines[i] != want {
				t.Errorf("%s: line %d is %q, want %q", name, i+1, lines[i], want)
			}
		}
		open, ok := strings.CutPrefix(lines[5], "#open\t")
		end, ok2 := strings.CutPrefix(lines[len(lines)-1], "#close\t")
		fields, ok3 := strings.CutPrefix(lines[6], "#fields\t")
		types, ok4 := strings.CutPrefix(lines[7], "#types\t")
		if !ok || !ok2 || !ok3 || !ok4 || !date.MatchString(open) || !date.MatchString(end) {
			t.Fatalf("%s: header %q ... %q", name, lines[5:8], lines[len(lines)-1])
		}
		columns, kinds := strings.Split(fields, "\t"), strings.Split(types, "\t")
		if len(columns) != len(kinds) {
			t.Fatalf("%s: %d columns, %d types", name, len(columns), len(kinds))
		}
		for _, line := range lines[8 : len(lines)-1] {
			cells := strings.Split(line, "\t")
			if len(cells) != len(columns) {
				t.Fatalf("%s: %d cells for %d columns: %q", name, len(cells), len(columns), line)
			}
			for i, v := range cells {
				if v == "-" || v == "(empty)" {
					continue
				}
				kind := kinds[i]
				if _, inner, ok := strings.Cut(strings.TrimSuffix(kind, "]"), "["); ok {
					for _, e := range strings.Split(v, ",") {
						if e != "(empty)" {
							check(name, columns[i], inner, e)
						}
					}
					continue
				}
				check(name, columns[i], kind, v)
			}
		}
	}
}
