package campaign

import "github.com/raytap/raytap/detectors"

// parts of the score: what a group adds, once, and its name. An entry adds by its outcome instead. What proves that the machine
// was taken (a shell, mining, spread, theft) weighs more than what prepares it.
var parts = [detectors.Groups]struct {
	points int
	name   string
}{
	detectors.GroupLink:    {25, "host named in the job contacted"},
	detectors.GroupFetch:   {10, "payload fetched"},
	detectors.GroupCall:    {15, "call-back"},
	detectors.GroupShell:   {20, "shell"},
	detectors.GroupMining:  {20, "mining"},
	detectors.GroupTheft:   {20, "data or credentials leave"},
	detectors.GroupSpread:  {20, "attacks others"},
	detectors.GroupScan:    {10, "scans"},
	detectors.GroupBeacon:  {5, "calls home regularly"},
	detectors.GroupIntel:   {10, "host of bad repute"},
	detectors.GroupHint:    {3, "weak signs"},
	detectors.GroupLook:    {5, "reconnaissance before"},
	detectors.GroupEvasion: {5, "evasion"},
}

// stranger is a rule that says nothing of its story, or that nobody registered.
var stranger = detectors.Story{Does: "was found in connection with %"}

// outbound is an entry that a machine at home makes outside.
var outbound = detectors.Story{Group: detectors.GroupSpread, Sure: true, Grave: true, Does: "ran a job on %", Other: "further target",
	Techniques: []string{"AML.T0122", "T1210", "T1570"}}

// kindsOf has what each rule means.
func kindsOf(rules []detectors.Rule) map[string]detectors.Story {
	kinds := make(map[string]detectors.Story, len(rules))
	for i := range rules {
		r := &rules[i]
		s := r.Story
		if !s.Told() {
			continue
		}
		if s.Techniques == nil && s.Role != detectors.RoleNone {
			s.Techniques = append(append(s.Techniques, r.ATLAS...), r.ATTACK...)
		}
		if s.Does == "" {
			s.Does = stranger.Does
		}
		kinds[r.Name] = s
	}
	return kinds
}

// kindOf looks a rule up.
func (d *detector) kindOf(rule string) detectors.Story {
	if k, ok := d.kinds[rule]; ok {
		return k
	}
	return stranger
}
