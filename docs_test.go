package raytap

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

var update = flag.Bool("update", false, "write docs/rules.md anew")

// TestRulesDocument holds docs/rules.md in step with the registry.
func TestRulesDocument(t *testing.T) {
	const name = "docs/rules.md"
	want := rulesDocument(Detectors())
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
		t.Errorf("%s is not what the registry says; write it with: go test -run TestRulesDocument -update .", name)
	}
}

func rulesDocument(specs []detectors.Spec) []byte {
	var b bytes.Buffer
	atlas, attack, _ := data.Versions()
	fmt.Fprintf(&b, `# Rules

What raytap can say, written from the registry (`+"`go test -run TestRulesDocument -update .`"+`). `+"`raytap rules --explain RULE`"+`
tells the same. The severity is that of a plain success; an attempt is rated at least one step below it, and a rule may
go higher where its sentence says why. Names of techniques are those of MITRE ATLAS %s and MITRE ATT&CK %s.

| rule | severity | says |
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
			fmt.Fprintf(&b, "- Needs to see: %s\n- Known to speak by mistake: %s\n", r.Needs, r.FalsePositives)
		}
	}
	return b.Bytes()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// anchor is what a heading is called in a link.
func anchor(s string) string { return strings.ReplaceAll(s, "/", "") }
