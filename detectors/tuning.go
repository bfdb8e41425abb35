package detectors

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
)

// RulesConfig is what a site says of rules: `rules:` in the configuration. A rule is named by its name
// ("jobsubmit/external"), by its detector alone ("jobsubmit"), or by a pattern in which * stands for any part of the
// detector's name or the claim ("*/external", "egress/*", "*").
type RulesConfig struct {
	Off      []string          `yaml:"off"`      // that say nothing
	Severity map[string]string `yaml:"severity"` // the most that a rule's findings get; above the rule's own, all of them go up
	Suppress []Suppress        `yaml:"suppress"` // that say nothing of some
}

// Suppress keeps back what a rule says of certain addresses. What is not given is any.
type Suppress struct {
	Rule     string   `yaml:"rule"`
	Src      []string `yaml:"src"`      // networks or addresses: who did it
	Dst      []string `yaml:"dst"`      // to whom
	Networks []string `yaml:"networks"` // either of them
	Until    string   `yaml:"until"`    // a day (its end, UTC) or a time (RFC 3339), of the packets; "": for ever
	Why      string   `yaml:"why"`      // for those who read it later
}

// Check refuses what would keep back everything.
func (s *Suppress) Check() error {
	if len(s.Src)+len(s.Dst)+len(s.Networks) == 0 && strings.Trim(s.Rule, "*/") == "" {
		return errors.New("names neither a rule nor an address: it would keep back every finding")
	}
	return nil
}

// ParseUntil reads the end of a Suppress: a time, or a day, at whose end it is.
func ParseUntil(s string) (capture.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return capture.Time(t.UnixNano()), nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a day (2027-01-31) nor a time (2027-01-31T18:00:00Z)", s)
	}
	return capture.Time(t.AddDate(0, 0, 1).UnixNano()), nil
}

// MatchRule reports whether a pattern of RulesConfig is for a rule.
func MatchRule(pattern, rule string) bool {
	detector, claim, ok := strings.Cut(rule, "/")
	d, c, both := strings.Cut(pattern, "/")
	return glob(d, detector) && (!both || ok && glob(c, claim))
}

// glob matches a name with a pattern.
func glob(pattern, s string) bool {
	ok, err := path.Match(pattern, s)
	return ok && err == nil
}

// RuleInForce is what is in force of a rule.
type RuleInForce struct {
	Rule
	Off      string     // the entry that turns it off; "": it is on
	Most     Severity   // that its findings get
	Pattern  string     // the entry that says so; "": its own
	Suppress []Suppress // what is kept back of it
}

// InForce lists for each rule what a configuration that was checked makes of it.
func (c *RulesConfig) InForce(rules []Rule) []RuleInForce {
	all := make([]RuleInForce, 0, len(rules))
	for _, r := range rules {
		x := RuleInForce{Rule: r, Most: r.Severity}
		for _, p := range c.Off {
			if MatchRule(p, r.Name) {
				x.Off = p
				break
			}
		}
		x.Pattern = c.severityOf(r.Name)
		if x.Pattern != "" {
			x.Most, _ = ParseSeverity(c.Severity[x.Pattern])
		}
		for _, s := range c.Suppress {
			if s.Rule == "" || MatchRule(s.Rule, r.Name) {
				x.Suppress = append(x.Suppress, s)
			}
		}
		all = append(all, x)
	}
	return all
}

// severityOf picks the pattern for a rule: the one with the most letters that are no *, a rule's own name above all.
func (c *RulesConfig) severityOf(rule string) string {
	best := ""
	letters := func(p string) int { return len(p) - strings.Count(p, "*") }
	for p := range c.Severity {
		if MatchRule(p, rule) && (best == "" || cmp.Or(cmp.Compare(letters(p), letters(best)), strings.Compare(best, p)) > 0) {
			best = p
		}
	}
	return best
}

// Tuning does to findings what a RulesConfig says, and counts what it keeps back. It belongs to one goroutine.
type Tuning struct {
	rules  map[string]*tuned
	counts map[string]uint64 // kept back, by rule
	total  uint64
}

type tuned struct {
	off      bool
	own, max Severity
	suppress []suppress
}

type suppress struct {
	src, dst, either *Networks // nil: any
	until            capture.Time
}

// NewTuning makes a Tuning for rules, of a configuration that was checked.
func NewTuning(c *RulesConfig, rules []Rule) *Tuning {
	t := &Tuning{counts: map[string]uint64{}}
	t.Configure(c, rules)
	return t
}

// Configure takes another configuration. What was counted stays.
func (t *Tuning) Configure(c *RulesConfig, rules []Rule) {
	nets := func(list []string) *Networks {
		if len(list) == 0 {
			return nil
		}
		n, err := ParseNetworks(list)
		if err != nil { // it was checked; it stands for nobody
			n = &Networks{}
		}
		return n
	}
	t.rules = map[string]*tuned{}
	for _, r := range c.InForce(rules) {
		if r.Off == "" && r.Pattern == "" && r.Suppress == nil {
			continue
		}
		x := &tuned{off: r.Off != "", own: r.Severity, max: r.Most}
		for _, s := range r.Suppress {
			y := suppress{src: nets(s.Src), dst: nets(s.Dst), either: nets(s.Networks)}
			if s.Until != "" {
				y.until, _ = ParseUntil(s.Until)
			}
			x.suppress = append(x.suppress, y)
		}
		t.rules[r.Name] = x
	}
}

// Drop is Bus.Drop: it reports whether a finding is kept back, and counts it then.
func (t *Tuning) Drop(f *Finding) bool {
	x := t.rules[f.Rule]
	if x == nil || !x.off && !slices.ContainsFunc(x.suppress, func(s suppress) bool { return s.takes(f) }) {
		return false
	}
	if f.Revision > 1 { // it was counted
		return true
	}
	t.counts[f.Rule] += uint64(max(f.Count, 1))
	t.total += uint64(max(f.Count, 1))
	return true
}

func (s *suppress) takes(f *Finding) bool {
	return (s.until == 0 || f.Time < s.until) && (s.src == nil || s.src.Contains(f.Src)) && (s.dst == nil || s.dst.Contains(f.Dst)) &&
		(s.either == nil || s.either.Contains(f.Src) || s.either.Contains(f.Dst))
}

// Rate is Suppressor.Rate. Other detectors are told of a finding before, with its own severity, so that an incident is the
// same whatever a site thinks of its parts.
func (t *Tuning) Rate(f *Finding) Severity {
	x := t.rules[f.Rule]
	if x == nil || f.rated {
		return f.Severity
	}
	if x.max > x.own {
		return min(f.Severity+x.max-x.own, Critical)
	}
	if most := x.max; x.max < x.own {
		if f.Outcome == Attempted && most > Info {
			most-- // below a success, as everywhere
		}
		return min(f.Severity, most)
	}
	return f.Severity
}

// KeptBack is how many findings of a rule were kept back.
type KeptBack struct {
	Rule string
	N    uint64
}

// KeptBack lists what was kept back so far, by rule, in the order of names, and how much that is in all.
func (t *Tuning) KeptBack() (by []KeptBack, total uint64) {
	if t.total == 0 {
		return nil, 0
	}
	for rule, n := range t.counts {
		by = append(by, KeptBack{rule, n})
	}
	slices.SortFunc(by, func(a, b KeptBack) int { return strings.Compare(a.Rule, b.Rule) })
	return by, t.total
}

// Nearest gives the one of names that is most like s, for "did you mean"; "" if none is.
func Nearest(s string, names []string) string {
	best, least := "", max(len(s)/3, 1)+1
	for _, n := range names {
		if d := Distance(strings.ToLower(s), n, least); d < least {
			best, least = n, d
		}
	}
	return best
}

// Distance is how many letters must be put in, taken out, exchanged or swapped with their neighbour to make b of a (the
// restricted distance of Damerau and Levenshtein). What would be bound or more may be told as bound.
func Distance(a, b string, bound int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= bound || len(a) > 100 {
		return bound
	}
	var before []int
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			same := 1
			if a[i] == b[j] {
				same = 0
			}
			row[j+1] = min(prev[j]+same, prev[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}
