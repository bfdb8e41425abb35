package test

import (
	"bytes"
	"cmp"
	"reflect"
	"strings"
	"testing"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/campaign"
	"github.com/raytap/raytap/detectors/sensor"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
)

const shadowray = "pcaps/shadowray.pcap.gz"

// said counts findings by rule, and gives the highest severity of each.
func said(h *ear) (n map[string]int, most map[string]detectors.Severity) {
	n, most = map[string]int{}, map[string]detectors.Severity{}
	for _, f := range h.findings {
		n[f.Rule]++
		most[f.Rule] = max(most[f.Rule], f.Severity)
	}
	return n, most
}

func TestRulesSection(t *testing.T) {
	plain, before := listen(t, engine.Default(), shadowray)
	had, most := said(plain)
	if had["jobsubmit/external"] == 0 || had["jobsubmit/dropper"] == 0 || had["mining/stratum"] == 0 || most["jobsubmit/external"] != detectors.Critical || before.KeptBack != 0 {
		t.Fatalf("the capture says %v", had)
	}
	src := ""
	for _, f := range plain.findings {
		if f.Rule == "jobsubmit/external" {
			src = f.Src.String()
		}
	}
	load := func(text string) engine.Config {
		t.Helper()
		c, err := config.Load(configFile(t, text))
		if err != nil {
			t.Fatal(err)
		}
		return c.Config
	}
	for _, c := range []struct{ what, rules, quiet string }{
		{"a rule that is off", "  off: [jobsubmit/external]", "jobsubmit/external"},
		{"a detector that is off", "  off: [mining]", "mining/stratum"},
		{"a pattern", `  off: ["*/dropper"]`, "jobsubmit/dropper"},
		{"by source", "  suppress:\n    - rule: jobsubmit/external\n      src: [203.0.113.0/24]\n      why: a test", "jobsubmit/external"},
		{"by destination", "  suppress: [{rule: jobsubmit/external, dst: [10.0.0.0/8]}]", "jobsubmit/external"},
		{"by either", "  suppress: [{rule: jobsubmit/external, networks: [" + src + "]}]", "jobsubmit/external"},
		{"until later", "  suppress: [{rule: jobsubmit/external, src: [" + src + "], until: 2100-01-01}]", "jobsubmit/external"},
		{"of another source", "  suppress: [{rule: jobsubmit/external, src: [192.0.2.1]}]", ""},
		{"from the other side", "  suppress: [{rule: jobsubmit/external, dst: [" + src + "]}]", ""},
		{"until before", "  suppress: [{rule: jobsubmit/external, src: [" + src + "], until: 2001-01-01T00:00:00Z}]", ""},
	} {
		h, stats := listen(t, load("rules:\n"+c.rules+"\n"), shadowray)
		got, _ := said(h)
		for _, r := range []string{"jobsubmit/external", "jobsubmit/dropper", "mining/stratum"} {
			if quiet := got[r] == 0; quiet != (r == c.quiet) {
				t.Errorf("%s: %d of %s", c.what, got[r], r)
			}
		}
		row := h.rows["stats"][0]
		if (stats.KeptBack > 0) != (c.quiet != "") || c.quiet != "" && !strings.Contains(row["kept_back_by"], c.quiet+" ") {
			t.Errorf("%s: %d are counted, %+v, in stats.log %q", c.what, stats.KeptBack, stats.KeptBackBy, row["kept_back_by"])
		}
	}

	h, _ := listen(t, load("rules:\n  severity: {jobsubmit: low, jobsubmit/dropper: info, mining/stratum: critical}\n"), shadowray)
	got, now := said(h)
	if now["jobsubmit/external"] != detectors.Low || now["jobsubmit/dropper"] != detectors.Info || now["mining/stratum"] < most["mining/stratum"] {
		t.Errorf("severities %v", now)
	}
	if !reflect.DeepEqual(got, had) {
		t.Errorf("another severity changed what is said: %v, was %v", got, had)
	}
	if a, b := plain.rows["incidents"][0]["score"], h.rows["incidents"][0]["score"]; a != b {
		t.Errorf("the incident's score is %s, was %s", b, a)
	}
}

// TestUsersOutside: whom campaign.allow names submits jobs as from inside; what nobody inside may do is still told.
func TestUsersOutside(t *testing.T) {
	cfg := engine.Default()
	plain, _ := listen(t, cfg, shadowray)
	for _, f := range plain.findings {
		if f.Rule == "jobsubmit/external" {
			detectors.Change(&cfg.Sections, func(s *campaign.Config) { s.Allow = []string{f.Src.String()} })
		}
	}
	h, _ := listen(t, cfg, shadowray)
	n, most := said(h)
	if n["jobsubmit/external"]+n["rayapi/exposed"] > 0 || most["jobsubmit/dropper"] == detectors.Critical || n["jobsubmit/dropper"] == 0 {
		t.Errorf("%v, %v", n, most)
	}
	detectors.Change(&cfg.Sections, func(s *campaign.Config) { s.Allow = []string{"192.0.2.200"} }) // somebody else
	h, _ = listen(t, cfg, shadowray)
	if again, _ := said(h); again["jobsubmit/external"] == 0 || again["rayapi/exposed"] == 0 {
		t.Errorf("%v", again)
	}
}

func TestRulesSectionMistakes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"rules:\n  off: [jobsubmit/externel]\n", `:2: rules.off: there is no rule "jobsubmit/externel"; did you mean jobsubmit/external?`},
		{"rules:\n  off: [minning]\n", `:2: rules.off: there is no rule "minning"; did you mean mining?`},
		{"rules:\n  off: ['']\n", `:2: rules.off: there is no rule`},
		{"rules:\n  off: [nothing/like/it]\n", `there is no rule "nothing/like/it" (raytap rules lists them)`},
		{"rules:\n  severity: {beacon/regular: bad}\n", `:2: rules.severity: beacon/regular: unknown severity "bad"`},
		{"rules:\n  severity:\n    beacon/reglar: low\n", `:3: rules.severity: there is no rule "beacon/reglar"; did you mean beacon/regular?`},
		{"rules:\n  severity: [low]\n", `:2: rules.severity: must have keys`},
		{"rules:\n  suppress: [{why: all}]\n", `:2: rules.suppress: names neither`},
		{"rules:\n  suppress: [{rule: '*'}]\n", `:2: rules.suppress: names neither`},
		{"rules:\n  suppress:\n    - rule: beacon\n      src: [x]\n", `:4: rules.suppress.src: "x" is neither`},
		{"rules:\n  suppress:\n    - rule: beacon\n      until: tomorrow\n", `:4: rules.suppress.until: "tomorrow" is neither`},
		{"rules:\n  suppress:\n    - rule: beacon\n      source: [10.0.0.1]\n", `:4: rules.suppress.source: unknown key`},
	} {
		if _, err := config.Load(configFile(t, c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
	// What config show prints reads as the same, and is taken up by a reload.
	want := config.Default()
	want.Rules = detectors.RulesConfig{Off: []string{"*/dropper"}, Severity: map[string]string{"mining": "low", "*/regular": "info"},
		Suppress: []detectors.Suppress{{Rule: "scan", Src: []string{"203.0.113.0/24", "2001:db8::1"}, Until: "2027-01-31T18:00:00Z", Why: "a: test, #1"}}}
	if err := want.Check(); err != nil {
		t.Fatal(err)
	}
	text := "rules:\n"
	for _, s := range want.Settings() {
		if key, ok := strings.CutPrefix(s.Key, "rules."); ok {
			text += "  " + key + ": " + s.Text + "\n"
		}
	}
	got, err := config.Load(configFile(t, text))
	if err != nil || !reflect.DeepEqual(got.Rules, want.Rules) {
		t.Errorf("%v\n%s\n%+v", err, text, got.Rules)
	}
	def := config.Default()
	if now, later := def.Changes(&want); !reflect.DeepEqual(now, []string{"rules"}) || later != nil {
		t.Errorf("new %v, later %v", now, later)
	}
}

// TestSensorName: who saw it is in the rows of a run that has a name, and in no other.
func TestSensorName(t *testing.T) {
	for _, name := range []string{"", "node-17"} {
		cfg := engine.Default()
		detectors.Change(&cfg.Sections, func(s *sensor.Config) { s.Name = name })
		h, _ := listen(t, cfg, shadowray)
		peer := cmp.Or(name, "raytap")
		if got := h.rows["stats"][0]["peer"]; got != peer {
			t.Errorf("named %q, stats.log has %q", name, got)
		}
		w := zeek.NewFindings(registry.Rules())
		w.Peer = name
		if got, want := bytes.Contains(w.JSON(h.findings[0]), []byte(`"peer_descr":"node-17"`)), name != ""; got != want {
			t.Errorf("named %q: %s", name, w.JSON(h.findings[0]))
		}
	}
	if _, err := config.Load(configFile(t, "sensor:\n  name: two words\n")); err == nil || !strings.Contains(err.Error(), ":2: sensor.name: ") {
		t.Errorf("%v", err)
	}
}

// TestIncidentOfANotice: what tells of an incident has its id, and incidents.log has the incident.
func TestIncidentOfANotice(t *testing.T) {
	h, _ := listen(t, engine.Default(), shadowray)
	ids := map[string]bool{}
	for _, row := range h.rows["incidents"] {
		ids[row["incident_id"]] = true
	}
	n := 0
	for _, f := range h.findings {
		if (f.Incident != "") != (f.Rule == detectors.ChainRule) || f.Incident != "" && !ids[f.Incident] {
			t.Errorf("%s is of incident %q", f.Rule, f.Incident)
		}
		if f.Incident != "" {
			n++
		}
	}
	if n == 0 {
		t.Error("nothing tells of one")
	}
}
