package detectors

import "testing"

func TestMatchRule(t *testing.T) {
	for _, c := range []struct {
		pattern, rule string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a", "a/b", true}, {"a/*", "a/b", true}, {"*/b", "a/b", true}, {"*", "a/b", true}, {"egress/dns*", "egress/dns_tunnel", true},
		{"a/b", "a/bc", false}, {"a", "ab/c", false}, {"*/c", "a/b", false}, {"", "a/b", false}, {"a/", "a/b", false}, {"a/[", "a/b", false},
	} {
		if got := MatchRule(c.pattern, c.rule); got != c.want {
			t.Errorf("%q for %q: %v", c.pattern, c.rule, got)
		}
	}
	c := RulesConfig{Severity: map[string]string{"*": "info", "a": "low", "a/b": "high", "*/b": "medium"}}
	for rule, want := range map[string]string{"a/b": "a/b", "c/b": "*/b", "c/d": "*", "a/d": "a"} {
		if got := c.severityOf(rule); got != want {
			t.Errorf("%s goes by %q, want %q", rule, got, want)
		}
	}
}

func TestRatedFindings(t *testing.T) {
	rules := []Rule{{Name: "a/b", Severity: High}}
	for _, c := range []struct {
		set     string
		of      Severity
		outcome Outcome
		want    Severity
		why     string
	}{
		{"low", High, Succeeded, Low, "at most"},
		{"low", High, Attempted, Info, "an attempt is below a success"},
		{"info", High, Attempted, Info, "and not below everything"},
		{"low", Info, Observed, Info, "what is less stays"},
		{"critical", High, Succeeded, Critical, "lifted"},
		{"critical", Low, Attempted, Medium, "by the difference"},
		{"critical", Critical, Succeeded, Critical, "and not above everything"},
		{"high", Critical, Succeeded, Critical, "its own severity changes nothing"},
	} {
		x := NewTuning(&RulesConfig{Severity: map[string]string{"a": c.set}}, rules)
		n := 0
		var got *Finding
		s := NewSuppressor(func(f *Finding) { n++; got = f })
		s.Rate = x.Rate
		first := &Finding{Rule: "a/b", Severity: c.of, Outcome: c.outcome}
		id := first.ID()
		s.Report(first)
		if first.ID() != id {
			t.Errorf("%s: another severity gave it another id", c.why)
		}
		s.Report(&Finding{Rule: "a/b", Severity: c.of, Outcome: c.outcome}) // the same again
		if n != 1 || got.Severity != c.want || got.Count != 2 {
			t.Errorf("%s: %s set to %s is %s, said %d times, counted %d", c.why, c.of, c.set, got.Severity, n, got.Count)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"home", "workers", "webhook", "rotate"}
	for s, want := range map[string]string{"homes": "home", "hom": "home", "wrokers": "workers", "Webhook": "webhook", "x": "", "completely": ""} {
		if got := Nearest(s, names); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
