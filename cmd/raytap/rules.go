package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/raytap/raytap"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

const rulesSynopsis = `rules [--json]

Lists every rule: its name, the severity that it has at most, what it says, the ATLAS and ATT&CK techniques, what it
needs to see, and what is known to set it off by mistake.
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
	rest, err := f.parse(args)
	if err == nil && len(rest) > 0 {
		err = errors.New("takes no arguments")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	var b bytes.Buffer
	if *asJSON {
		err = rulesJSON(&b, raytap.Rules())
	} else {
		rulesText(&b, raytap.Rules())
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
