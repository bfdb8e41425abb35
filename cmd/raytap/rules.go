package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/terminal"
)

const rulesSynopsis = `rules [--json] [RULE...]
       raytap rules --in-force [--config FILE]

Lists every rule: name, highest severity, what it reports, ATLAS and ATT&CK techniques, what it needs to see, and known
false positives. With RULE, describes one rule (mining/stratum) or the rules of one detector (mining). With --in-force,
prints one line per rule with the effect of the configuration: off, changed severity, what is suppressed, until when and
why. stats.log counts suppressed findings.

Exit status: 0 printed; 1 it could not be printed; 2 wrong usage, an unknown rule, or a mistake in the configuration.
`

// ruleJSON is a rule as --json prints it; scripts read the names.
type ruleJSON struct {
	Name           string          `json:"name"`
	Note           string          `json:"note"`
	Severity       string          `json:"severity"`
	Says           string          `json:"says"`
	ATLAS          []techniqueJSON `json:"atlas"`
	ATTACK         []techniqueJSON `json:"attack"`
	Needs          string          `json:"needs"`
	FalsePositives string          `json:"false_positives"`
}

type techniqueJSON struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Tactic string `json:"tactic"`
}

func techniques(ids []string) []techniqueJSON {
	all := make([]techniqueJSON, 0, len(ids))
	for _, id := range ids {
		name, tactic, _ := data.Technique(id)
		all = append(all, techniqueJSON{id, name, tactic})
	}
	return all
}

func listRules(args []string, stdout, stderr *os.File) int {
	f := newFlags("rules", rulesSynopsis)
	asJSON := f.Bool("json", false, "as JSON, for scripts")
	explain := f.String("explain", "", "the same as an argument `RULE`")
	inForce := f.Bool("in-force", false, "show the effect of the configuration on each rule")
	configFile := f.String("config", "", "with --in-force: read settings from `FILE` (YAML)")
	asked, err := f.parse(args)
	if *explain != "" {
		asked = append(asked, *explain)
	}
	if err == nil && *inForce && (*asJSON || len(asked) > 0) {
		err = errors.New("--in-force stands alone")
	}
	if err == nil && *configFile != "" && !*inForce {
		err = errors.New("--config goes with --in-force")
	}
	rules := registry.Rules()
	if err == nil {
		rules, err = rulesOf(rules, asked)
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	var b bytes.Buffer
	switch {
	case *inForce:
		cfg := config.Default()
		if *configFile != "" {
			if cfg, err = config.Load(*configFile); err != nil {
				complain(stderr, err)
				return exitUsage
			}
		}
		rulesInForce(&b, cfg.Rules.InForce(rules), time.Now())
	case *asJSON:
		err = rulesJSON(&b, rules)
	case len(asked) > 0:
		explainRules(&b, terminal.New(terminalOptions(stdout)), rules)
	default:
		rulesText(&b, rules)
	}
	if err == nil {
		_, err = stdout.Write(b.Bytes())
	}
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	return exitOK
}

// rulesOf gives those of rules that are asked for, by name, by name in notice.log or by detector, in the order asked for;
// all of them if none is.
func rulesOf(rules []detectors.Rule, asked []string) (all []detectors.Rule, err error) {
	if len(asked) == 0 {
		return rules, nil
	}
	for _, name := range asked {
		before := len(all)
		for _, r := range rules {
			if r.Name == name || r.Note == name || "Raytap::"+r.Note == name || strings.HasPrefix(r.Name, name+"/") {
				all = append(all, r)
			}
		}
		if len(all) == before {
			var names []string
			for _, r := range rules {
				detector, _, _ := strings.Cut(r.Name, "/")
				if names = append(names, r.Name, r.Note); !slices.Contains(names, detector) {
					names = append(names, detector)
				}
			}
			return nil, fmt.Errorf("no rule %q%s (raytap rules lists them)", name, didYouMean(nearest(name, names)))
		}
	}
	return all, nil
}

func rulesJSON(b *bytes.Buffer, rules []detectors.Rule) error {
	all := make([]ruleJSON, 0, len(rules))
	for _, r := range rules {
		all = append(all, ruleJSON{
			r.Name, "Raytap::" + r.Note, r.Severity.String(), r.Says, techniques(r.ATLAS), techniques(r.ATTACK), r.Needs, r.FalsePositives,
		})
	}
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(all)
}

func rulesText(b *bytes.Buffer, rules []detectors.Rule) {
	for i, r := range rules {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "%-24s %s\n", r.Name, r.Severity)
		detail(b, "says", r.Says)
		detail(b, "ATLAS", named(r.ATLAS))
		detail(b, "ATT&CK", named(r.ATTACK))
		detail(b, "needs to see", r.Needs)
		detail(b, "false positives", r.FalsePositives)
	}
	atlas, attack, _ := data.Versions()
	fmt.Fprintf(b, "\n%d rules; names of techniques from ATLAS %s and ATT&CK %s\n", len(rules), atlas, attack)
}

// rulesInForce tells what the configuration makes of each rule. What is over by now is said to be.
func rulesInForce(b *bytes.Buffer, rules []detectors.RuleInForce, now time.Time) {
	off, changed := 0, 0
	for _, r := range rules {
		is := r.Most.String()
		switch {
		case r.Off != "":
			is = "off (" + r.Off + ")"
			off++
		case r.Pattern != "":
			is += fmt.Sprintf(" (%s; of its own %s)", r.Pattern, r.Severity)
		}
		fmt.Fprintf(b, "%-24s %s\n", r.Name, is)
		if r.Off == "" && (r.Pattern != "" || r.Suppress != nil) {
			changed++
		}
		for _, s := range r.Suppress {
			var who []string
			for _, x := range [...]struct {
				name string
				list []string
			}{{"from", s.Src}, {"to", s.Dst}, {"from or to", s.Networks}} {
				if x.list != nil {
					who = append(who, x.name+" "+strings.Join(x.list, ", "))
				}
			}
			text := strings.TrimSpace("all " + strings.Join(who, ", "))
			if len(who) > 0 {
				text = strings.TrimPrefix(text, "all ")
			}
			if s.Until != "" {
				text += ", until " + s.Until
				if at, err := detectors.ParseUntil(s.Until); err == nil && !now.Before(at.Std()) {
					text += " (over)"
				}
			}
			if s.Why != "" {
				text += ": " + s.Why
			}
			detail(b, "kept back", text)
		}
	}
	fmt.Fprintf(b, "\n%d rules: %d off, %d changed otherwise\n", len(rules), off, changed)
}

// explainRules tells rules in words, for somebody who has a finding before him and asks what it means.
func explainRules(b *bytes.Buffer, people *terminal.Sink, rules []detectors.Rule) {
	for i, r := range rules {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "%s (%s; in notice.log Raytap::%s)\n\n", r.Name, r.Severity, r.Note)
		people.Paragraph(b, "says", r.Says)
		people.Paragraph(b, "needs", r.Needs)
		people.Paragraph(b, "wrong", "Known false positives: "+r.FalsePositives)
		for _, t := range techniques(slices.Concat(r.ATLAS, r.ATTACK)) {
			tactic := ""
			if t.Tactic != "" {
				tactic = " (" + t.Tactic + ")"
			}
			people.Paragraph(b, "technique", t.ID+" "+t.Name+tactic)
		}
	}
}

func detail(b *bytes.Buffer, what, text string) {
	if text != "" {
		fmt.Fprintf(b, "  %-15s  %s\n", what, text)
	}
}

func named(ids []string) string {
	var all []string
	for _, t := range techniques(ids) {
		all = append(all, strings.TrimSpace(t.ID+" "+t.Name))
	}
	return strings.Join(all, ", ")
}
