package secrets

import "testing"

// TestRulesLoad: what the embedded file says is understood, and every rule is found by its own keyword.
func TestRulesLoad(t *testing.T) {
	rules, err := parseRules(rulesTSV)
	if err != nil {
		t.Fatal(err)
	}
	if len(rules) < 50 || Version() == "" {
		t.Errorf("%d rules, version %q", len(rules), Version())
	}
	ids := map[string]bool{}
	for _, r := range rules {
		if ids[r.ID] || r.Says == "" || r.Provider == "" {
			t.Errorf("%s: twice or incomplete", r.ID)
		}
		ids[r.ID] = true
	}
	s := newScanner(rules)
	t.Logf("%d rules, %d states", len(rules), len(s.words.ends))
}
