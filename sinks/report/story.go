package report

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/sinks/terminal"
)

const (
	// Steps told; a story of more is a list, which the findings are.
	maxSteps = 60
	// Findings and packets named in one step.
	maxStepLines, maxStepPackets = 6, 40
	// Sentences of the verdict; paragraphs where there are incidents.
	maxVerdict, maxStories = 5, 2
	// Characters of a sentence in the verdict and of the title of a step: the command of a job can be long.
	verdictText, stepText = 240, 400
	// Findings of one flow this close to each other are one step.
	sameStep = 2 * capture.Time(time.Second)
)

// step is something that happened.
type step struct {
	Time     capture.Time
	Severity detectors.Severity
	Fact     bool   // of a log, not a finding
	Tactic   string // of ATT&CK
	Title    string
	Lines    []string // what else was said of it
	More     int      // lines left out
	Rule     string
	UID      string
	Packets  []uint64
	IDs      []string
	home     netip.Addr
}

func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	r := []rune(s)[:n]
	for i := n - 1; i > n*3/4; i-- {
		if r[i] == ' ' {
			r = r[:i]
			break
		}
	}
	return strings.TrimRight(string(r), " ") + " …"
}

// steps makes findings and facts into an order of events.
func (r *Report) steps() (steps []step, leftOut int) {
	at := map[string]int{} // UID: its last step
	worst := map[int]detectors.Severity{}
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Rule == detectors.ChainRule && len(r.Incidents) > 0 {
			continue // what the steps are together, and no step
		}
		n, ok := at[f.UID]
		if !ok || f.UID == "" || f.Time-steps[n].Time > sameStep {
			n = len(steps)
			at[f.UID] = n
			steps = append(steps, step{Time: f.Time, UID: f.UID, home: pick(r.inside(f.Dst), f.Dst, f.Src)})
			worst[n] = f.Severity
		}
		s := &steps[n]
		line := f.Msg
		if s.Title == "" || f.Severity > worst[n] {
			line, s.Title, s.Rule, s.Tactic = s.Title, f.Msg, f.Rule, tactic(f)
			worst[n] = f.Severity
		}
		s.Severity = max(s.Severity, f.Severity)
		if line != "" {
			if len(s.Lines) < maxStepLines {
				s.Lines = append(s.Lines, shorten(line, verdictText))
			} else {
				s.More++
			}
		}
		if f.ID != "" {
			s.IDs, _ = add(s.IDs, f.ID)
		}
		s.Packets = append(s.Packets, f.Packets()...)
		if strings.HasPrefix(f.Rule, "mining/") {
			if m := r.miners[f.UID]; m != nil && m.submits > 0 && f.Rule == s.Rule {
				s.Lines = append(s.Lines, fmt.Sprintf("Until %s: %s, %s, of which the pool accepted %s.", clock(m.until),
					plural(m.jobs, "job"), plural(m.submits, "share"), terminal.Number(m.accepted)))
			}
		}
	}
	for _, f := range r.fetches {
		if n, ok := at[f.uid]; ok && f.uid != "" {
			if s := &steps[n]; len(s.Lines) < maxStepLines {
				s.Lines = append(s.Lines, fmt.Sprintf("Request: %s, answer %s, %s.", shorten(f.url, verdictText), pick(f.status != "", f.status, "not seen"), terminal.Size(f.size)))
			}
			continue
		}
		title := fmt.Sprintf("%s fetched %s from %s", f.src, f.url, f.dst)
		if h := r.hosts[f.dst]; h == nil || h.role != rolePayload {
			title = fmt.Sprintf("%s called %s at %s", f.src, f.url, f.dst)
		}
		if f.status != "" {
			title += fmt.Sprintf(" (answer %s, %s)", f.status, terminal.Size(f.size))
		}
		steps = append(steps, step{Time: f.time, Fact: true, Tactic: "Command and Control", Title: title, UID: f.uid, home: f.src,
			Lines: []string{"A finding names this place; the request is in http.log."}})
	}
	for i := range steps {
		s := &steps[i]
		s.Title = shorten(s.Title, stepText)
		slices.Sort(s.Packets)
		s.Packets = slices.Compact(s.Packets)
		s.Packets = s.Packets[:min(len(s.Packets), maxStepPackets)]
	}
	if len(steps) > maxSteps {
		slices.SortStableFunc(steps, func(a, b step) int {
			return cmp.Or(cmp.Compare(b.weight(), a.weight()), cmp.Compare(a.Time, b.Time))
		})
		leftOut = len(steps) - maxSteps
		steps = steps[:maxSteps]
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.Time, b.Time) })
	return steps, leftOut
}

// weight orders what is told: a fact is there because findings name it, and stands beside a high one.
func (s *step) weight() detectors.Severity { return pick(s.Fact, detectors.High, s.Severity) }

func tactic(f *Finding) string {
	for _, t := range slices.Concat(f.ATTACK, f.ATLAS) {
		if _, tactic, ok := data.Technique(t.ID); ok && tactic != "" {
			first, _, _ := strings.Cut(tactic, "; ")
			return first
		}
	}
	return ""
}

func clock(t capture.Time) string { return t.Std().Format("15:04:05") }
func day(t capture.Time) string   { return t.Std().Format("2 January 2006") }
func stamp(t capture.Time) string { return t.Std().Format("2006-01-02 15:04:05") }

func plural(n uint64, what string) string {
	if n != 1 {
		what += "s"
	}
	return terminal.Number(n) + " " + what
}

// verdict is the answer to what the reader wants to know first.
type verdict struct {
	Level     string // for the style: hit, tried, signs, clear
	Headline  string
	Sentences []string
	Scope     string
	Caveat    string
	Doubts    []string // of what counts as inside
}

func (r *Report) verdict(steps []step) verdict {
	var hit, tried, signs bool
	for i := range r.Findings {
		f := &r.Findings[i]
		switch {
		case f.Severity >= detectors.High && (f.Outcome == string(detectors.Succeeded) || f.Outcome == string(detectors.Observed)):
			hit = true
		case f.Severity >= detectors.High:
			tried = true
		case f.Severity >= detectors.Medium:
			signs = true
		}
	}
	v := verdict{Caveat: r.caveat(), Doubts: append(r.unread(), r.doubts()...)}
	switch {
	case hit:
		v.Level, v.Headline = "hit", "Yes: we were hit."
	case tried:
		v.Level, v.Headline = "tried", "Attacked, but no success was seen."
	case signs:
		v.Level, v.Headline = "signs", "No attack is proven, but there are signs to follow up."
	case len(r.Findings) > 0:
		v.Level, v.Headline = "clear", "No attack was seen."
		v.Sentences = []string{fmt.Sprintf("The traffic set off %s, none of them above low.", plural(uint64(len(r.Findings)), "finding"))}
	default:
		v.Level, v.Headline = "clear", "No attack was seen."
		v.Sentences = []string{"No rule found anything in this traffic."}
	}
	if v.Level == "clear" && len(r.Unread) > 0 {
		v.Level, v.Headline = "signs", "No attack was seen in what could be read, and not everything could."
	}
	if n := r.storyCount(); n > 0 && v.Level != "clear" {
		for _, x := range r.Incidents[:n] {
			v.Sentences = append(v.Sentences, "On "+day(x.First.Time)+" at "+clock(x.First.Time)+" UTC, "+x.Summary)
		}
		if more := len(r.Incidents) - n; more > 0 {
			v.Sentences = append(v.Sentences, plural(uint64(more), "further incident")+" below.")
		}
		v.Scope = r.scope()
		return v
	}
	told := slices.Clone(steps)
	told = slices.DeleteFunc(told, func(s step) bool { return s.weight() < detectors.Medium })
	slices.SortStableFunc(told, func(a, b step) int { return cmp.Compare(b.weight(), a.weight()) })
	more := max(len(told)-maxVerdict, 0)
	told = told[:len(told)-more]
	slices.SortStableFunc(told, func(a, b step) int { return cmp.Compare(a.Time, b.Time) })
	for i, s := range told {
		at := "At " + clock(s.Time)
		if i == 0 {
			at = "On " + day(s.Time) + " at " + clock(s.Time) + " UTC"
		} else if day(s.Time) != day(told[i-1].Time) {
			at = "On " + day(s.Time) + " at " + clock(s.Time)
		}
		title := shorten(s.Title, verdictText)
		// Sentences of findings begin with an address or an article.
		for _, article := range [...]string{"A ", "An ", "The "} {
			if rest, ok := strings.CutPrefix(title, article); ok {
				title = strings.ToLower(article) + rest
			}
		}
		v.Sentences = append(v.Sentences, at+", "+strings.TrimRight(title, ".")+".")
	}
	if more > 0 {
		v.Sentences = append(v.Sentences, plural(uint64(more), "further step")+" below.")
	}
	v.Scope = r.scope()
	return v
}

// storyCount is how many incidents the verdict tells: those that are chains of cause, or grave.
func (r *Report) storyCount() int {
	n := 0
	for n < len(r.Incidents) && n < maxStories && (r.Incidents[n].Chain || r.Incidents[n].Severity >= detectors.High) {
		n++
	}
	return n
}

// scope counts who is named.
func (r *Report) scope() string {
	inside, outside := 0, 0
	for a, h := range r.hosts {
		if h.named && h.severity >= detectors.Medium {
			if r.inside(a) {
				inside++
			} else {
				outside++
			}
		}
	}
	if inside+outside == 0 {
		return ""
	}
	return fmt.Sprintf("Findings of medium severity and above name %s inside and %s outside the home networks.", addresses(inside), addresses(outside))
}

// Verdict is the answer to whether we were hit, and why, in words.
func (r *Report) Verdict() (headline, text string) {
	steps, _ := r.steps()
	v := r.verdict(steps)
	return v.Headline, strings.Join(append(v.Doubts, v.Sentences...), " ")
}

// unread says what of the logs was not read: what is looked for may be in there.
func (r *Report) unread() []string {
	const most = 5
	if len(r.Unread) == 0 {
		return nil
	}
	all := "Not all logs were read: " + strings.Join(r.Unread[:min(len(r.Unread), most)], "; ")
	if more := len(r.Unread) - most; more > 0 {
		all += fmt.Sprintf("; and %d more, at the end", more)
	}
	return []string{all + "."}
}

// doubts tells of networks that the run took for outside because nobody said what is home, though a Ray cluster talks
// there.
func (r *Report) doubts() (all []string) {
	for _, f := range r.stats {
		if f.Name != "home_in_doubt" {
			continue
		}
		for _, v := range f.Values {
			p, err := netip.ParsePrefix(v)
			if err != nil || r.inside(p.Addr()) {
				continue
			}
			n := uint64(0)
			for i := range r.Findings {
				if x := &r.Findings[i]; x.Severity >= detectors.Low && (p.Contains(x.Src) || p.Contains(x.Dst)) {
					n++
				}
			}
			what := plural(n, "finding") + " rest on " + v + " being outside, but machines"
			switch n {
			case 0:
				what = v + " counts as outside, so attacks on it are not reported, but machines"
			case 1:
				what = "1 finding rests on " + v + " being outside, but machines"
			}
			all = append(all, what+" there talk as a Ray cluster does: run it again with --home "+v+" (and your other networks) if it is yours.")
		}
	}
	return all
}

func addresses(n int) string {
	if n == 1 {
		return "1 address"
	}
	return terminal.Number(uint64(n)) + " addresses"
}

// caveat says what weakens the verdict.
func (r *Report) caveat() string {
	var all []string
	if p := percent(r.flows.encrypted, r.flows.bytes); p >= 1 {
		all = append(all, fmt.Sprintf("%d %% of the bytes are encrypted and were not read", p))
	}
	if p := percent(r.flows.mid, r.flows.tcp); p >= 5 {
		all = append(all, fmt.Sprintf("%d %% of the TCP flows began before the capture or lack their beginning", p))
	}
	lost := uint64(0)
	for _, l := range losses {
		lost += count(r.stats, l.name)
	}
	if lost > 0 || r.flows.missed > 0 {
		all = append(all, "some traffic was lost")
	}
	if len(all) == 0 {
		return ""
	}
	s := strings.Join(all, "; ")
	return strings.ToUpper(s[:1]) + s[1:] + ": see the limits at the end."
}

func percent(n, of uint64) int {
	if of == 0 {
		return 0
	}
	return int(float64(n)/float64(of)*100 + 0.5)
}
