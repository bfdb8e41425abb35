package test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/registry"
)

var (
	ruleName = regexp.MustCompile(`^[a-z]+/[a-z_]+$`)
	noteName = regexp.MustCompile(`^[A-Z][A-Za-z]+(_[A-Z][A-Za-z]*)+$`)
)

// TestRulesAreComplete: the registry is what `raytap rules` prints; every entry tells all that it promises.
func TestRulesAreComplete(t *testing.T) {
	names, notes := map[string]bool{}, map[string]bool{}
	for _, r := range registry.Rules() {
		if !ruleName.MatchString(r.Name) || !noteName.MatchString(r.Note) || names[r.Name] || notes[r.Note] {
			t.Errorf("rule %q, note %q: malformed or twice", r.Name, r.Note)
		}
		names[r.Name], notes[r.Note] = true, true
		if r.Says == "" || r.Needs == "" || r.FalsePositives == "" || len(r.ATTACK) == 0 {
			t.Errorf("%s: incomplete: %+v", r.Name, r)
		}
		for _, id := range append(append([]string{}, r.ATLAS...), r.ATTACK...) {
			if name, _, ok := data.Technique(id); !ok || name == "" {
				t.Errorf("%s: technique %s is not in the data file", r.Name, id)
			}
		}
		for _, id := range r.ATLAS {
			if !strings.HasPrefix(id, "AML.T") {
				t.Errorf("%s: %s is no ATLAS technique", r.Name, id)
			}
		}
	}
	for _, want := range []string{
		"jobsubmit/external", "jobsubmit/dropper", "jobsubmit/outbound", "jobsubmit/browser", "jobsubmit/evasive",
		"rayapi/recon", "rayapi/exposed", "rayapi/control", "rayapi/serve_deploy", "rayapi/package", "rayapi/exploit",
		"mining/stratum", "mining/pool", "mining/tls", "egress/large", "egress/model", "payload/script", "payload/executable",
	} {
		if !names[want] {
			t.Errorf("no rule %s", want)
		}
	}
}

// TestDetectionsNamesEveryRule keeps the table of rules in step with the registry.
func TestDetectionsNamesEveryRule(t *testing.T) {
	b, err := os.ReadFile("docs/detections.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range registry.Rules() {
		if !strings.Contains(string(b), "`"+r.Name+"`") {
			t.Errorf("docs/detections.md does not name %s", r.Name)
		}
	}
}
