package secrets

import (
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

//go:embed rules.tsv
var rulesTSV string

// Grade says how much a match is worth by itself.
type Grade uint8

// Grades, ascending.
const (
	Weak   Grade = iota // counts only beside others
	Likely              // may be something else of the same shape
	Strong              // can hardly be anything else
)

var grades = map[string]Grade{"weak": Weak, "likely": Likely, "strong": Strong}

// Rule is one shape of credential.
type Rule struct {
	ID, Provider, Says string
	Grade              Grade

	check    string
	entropy  float64
	lead     int
	max      int
	keywords []string
	regex    *regexp.Regexp
	inner    bool // keywords may follow a letter or digit
}

// RuleOf returns the rule with an ID, nil if there is none.
func RuleOf(id string) *Rule {
	rules := builtin().rules
	for i := range rules {
		if rules[i].ID == id {
			return &rules[i]
		}
	}
	return nil
}

// Version is that of the data file.
func Version() string {
	_, v, _ := strings.Cut(rulesTSV, "version ")
	v, _, _ = strings.Cut(v, "\n")
	return v
}

const (
	// What a regular expression may look at if its line does not say: twice the longest key that has no line break.
	defaultMax = 256
	ruleFields = 10
)

// builtin is the scanner of the embedded rules. Compiling takes two milliseconds and all workers share it.
var builtin = sync.OnceValue(func() *scanner {
	rules, err := parseRules(rulesTSV)
	if err != nil {
		panic(err) // a test reads the same bytes
	}
	return newScanner(rules)
})

func parseRules(file string) ([]Rule, error) {
	var rules []Rule
	n := 0
	for line := range strings.Lines(file) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != ruleFields {
			return nil, fmt.Errorf("secrets: line %d: %d fields, not %d", n, len(f), ruleFields)
		}
		for i := range f {
			if f[i] == "-" {
				f[i] = ""
			}
		}
		r := Rule{ID: f[0], Provider: f[1], check: f[3], keywords: strings.Split(f[7], ","), Says: f[9], max: defaultMax}
		var ok bool
		if r.Grade, ok = grades[f[2]]; !ok {
			return nil, fmt.Errorf("secrets: line %d: grade %q", n, f[2])
		}
		if _, ok := checks[r.check]; !ok && r.check != "" {
			return nil, fmt.Errorf("secrets: line %d: check %q", n, r.check)
		}
		var err error
		if f[4] != "" {
			r.entropy, err = strconv.ParseFloat(f[4], 64)
		}
		if f[5] != "" && err == nil {
			r.lead, err = strconv.Atoi(f[5])
		}
		if f[6] != "" && err == nil {
			r.max, err = strconv.Atoi(f[6])
		}
		if err == nil {
			r.regex, err = regexp.Compile(`\A(?:` + f[8] + `)`)
		}
		if err != nil {
			return nil, fmt.Errorf("secrets: line %d: %v", n, err)
		}
		for _, k := range r.keywords {
			if len(k) < 2 || k != strings.ToLower(k) {
				return nil, fmt.Errorf("secrets: line %d: keyword %q", n, k)
			}
		}
		r.inner = !wordByte(r.keywords[0][0]) || r.keywords[0][0] == '_' || r.lead > 0
		rules = append(rules, r)
	}
	return rules, nil
}

func wordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_'
}
