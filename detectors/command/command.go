// Package command judges what a command line, a shell script or a piece of Python would do: not by words that occur in
// it, but by what stands in the place of a command and by where what is run comes from.
//
// In: texts, and who is at home. Out: facts, each with points, a sentence and the excerpt that it rests on; detectors add
// the points up.
//
// Shell text is parsed as Bash (mvdan.cc/sh) and walked as a shell would walk it, with values in place of data: a value
// knows its constant text, as far as there is one, and whether it was fetched, decoded, read from a file that holds
// credentials or from a socket. Variables, here-documents, pipes, substitutions, files that one command writes and
// another runs, and text that becomes code (sh -c, eval, python -c, cron lines) are followed. Both branches of a
// condition are taken, and a loop once. Python is read by its tokens in the same way; Perl, Ruby, PHP, Lua, awk and
// JavaScript by their words and strings. What is no shell text is cut into words, and what is found so has fewer points.
//
// It does not see what a script does that comes from elsewhere, values that only a run would compute, and programs whose
// effect it does not know: those read as harmless.
package command

import (
	"net/netip"
	"sort"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

const (
	// Suspicious is the score of something that a site should look at, Certain of what has no honest use.
	Suspicious = 60
	Certain    = 80

	// Bounds of one report, whatever its texts are made of. Steps and bytes are granted by the length of the texts, so that
	// a short one costs little; a report that reaches all of them takes some 50 ms.
	maxText    = 64 << 10 // of one text; the decoder of jobs keeps as much of an entrypoint
	minRead    = 32 << 10
	readByte   = 8
	maxRead    = 256 << 10 // of all of a report, with what was decoded and run
	maxValue   = 64 << 10  // of the text of a value
	minSteps   = 4_000
	stepsByte  = 16
	minBytes   = 1 << 20
	bytesByte  = 256
	maxSteps   = 200_000  // commands, words and expressions
	maxBytes   = 16 << 20 // that values were made of
	maxNesting = 8        // code within code: published droppers have three
	maxDepth   = 100      // of Go calls within one text, where the grammar nests
	maxFiles   = 256      // files and variables that are followed
	maxFound   = 24       // facts kept
	maxDecoded = 16
	maxShown   = 300 // of an excerpt

	// Work of reports that are metered, in the units of capture.Worker, 4 ns. Each gets reportFirst and reportByte for each
	// byte of its texts, 65 us a kilobyte; what is more comes out of what all have in common: a short text with loops,
	// powers of a variable and decoders in a row takes milliseconds once, and not each time that another is sent.
	stepUnits    = 64
	parseUnits   = 16 // of a byte that is parsed
	decodeUnits  = 4  // of a byte that is decoded, before and behind
	reportFirst  = 2 << 10
	reportByte   = 16
	reportTakes  = 4 << 10 // at once of what all have
	reportCommon = 16 << 20
	reportRefill = 2 << 20
)

// Fact is one thing that a text does.
type Fact struct {
	Name   string
	Points int
	Says   string // completes "the job ..."
	Where  string // where the text stood: entrypoint, decoded entrypoint, ...
	What   string // the excerpt, secrets masked
}

// Judge knows who is at home and what the data files list. It belongs to one goroutine.
type Judge struct {
	parser    *syntax.Parser // of shell text, used again and again
	budget    detectors.Budget
	spare     *shared // for the next text
	home      *detectors.Networks
	inside    func(name string) bool // names that were looked up as addresses at home; may be nil
	lists     *data.Commands
	pools     *data.Pools
	callbacks map[string]string
}

// New makes a judge.
func New(home *detectors.Networks, inside func(name string) bool) *Judge {
	j := &Judge{home: home, inside: inside, lists: data.LoadCommands(), pools: data.LoadPools(), callbacks: map[string]string{}}
	j.budget.Full, j.budget.Refill = reportCommon, reportRefill
	for _, c := range data.LoadCallbacks() {
		j.callbacks[c.Domain] = c.Grade
	}
	return j
}

// Report collects what the texts of one job or function do.
type Report struct {
	Facts   []Fact
	Decoded []string // texts that were hidden in an encoding and have something to say
	Cut     bool     // a bound was reached: there is more than was read
	Short   bool     // and it was that of the work that all may ask for

	judge *Judge
	read  int
	steps int
	bytes int
	given int // bytes of texts that were handed in

	metered bool
	at      capture.Time
	who     netip.Addr
	taken   int // units of what all have
}

// Begin starts a report whose work only its own bounds limit.
func (j *Judge) Begin() *Report { return &Report{judge: j} }

// Metered starts a report on what who sent, whose work is limited by what all may ask for, too.
func (j *Judge) Metered(at capture.Time, who netip.Addr) *Report {
	return &Report{judge: j, metered: true, at: at, who: who}
}

// Work is what the report took so far, in units of capture.Worker.
func (r *Report) Work() int { return r.steps*stepUnits + r.bytes }

// Score is the sum over different facts.
func (r *Report) Score() int {
	n := 0
	for i := range r.Facts {
		n += r.Facts[i].Points
	}
	return n
}

// Best gives the most telling fact.
func (r *Report) Best() Fact {
	var b Fact
	for _, f := range r.Facts {
		if f.Points > b.Points {
			b = f
		}
	}
	return b
}

// Sorted gives the facts, the most telling first.
func (r *Report) Sorted() []Fact {
	out := append([]Fact(nil), r.Facts...)
	sort.SliceStable(out, func(i, j int) bool { return out[i].Points > out[j].Points })
	return out
}

// Add keeps a fact once, with the highest points that it had.
func (r *Report) Add(name string, points int, says, where, what string) {
	if points <= 0 {
		return
	}
	for i := range r.Facts {
		if f := &r.Facts[i]; f.Name == name {
			if points > f.Points {
				*f = Fact{name, points, says, where, excerpt(what)}
			}
			return
		}
	}
	if len(r.Facts) < maxFound {
		r.Facts = append(r.Facts, Fact{name, points, says, where, excerpt(what)})
	}
}

// drop removes a fact that another one contains.
func (r *Report) drop(name string) {
	for i := range r.Facts {
		if r.Facts[i].Name == name {
			r.Facts = append(r.Facts[:i:i], r.Facts[i+1:]...)
			return
		}
	}
}

// Shell judges a text that a shell runs, with variables of its environment that are known (may be nil).
func (r *Report) Shell(where, text string, env map[string]string) {
	r.given += len(text)
	w := newWalk(r, where)
	for name, v := range env {
		w.vars[name] = &value{s: clipValue(v), from: fromText}
	}
	w.script(text)
	w.end()
	w.lend()
	if whole(text) {
		r.Add("look_around", 20, "looks around", where, text)
	}
}

// Python judges a piece of Python.
func (r *Report) Python(where, text string) {
	r.given += len(text)
	w := newWalk(r, where)
	w.python(text)
	w.end()
	w.lend()
}

// Joined judges a command whose words were joined by blanks, where what an interpreter is handed with -c stands without
// quotes.
func (r *Report) Joined(where, line string) {
	lang, rest := "", line
	for n := 0; n < 16; n++ {
		rest = strings.TrimLeft(rest, " \t\n")
		word, tail, more := strings.Cut(rest, " ")
		if !more {
			break
		}
		switch {
		case len(word) > 1 && word[0] == '-' && word[len(word)-1] == 'c' && (lang == "shell" || lang == "python"):
			tail = strings.TrimPrefix(strings.TrimLeft(tail, " "), "-- ")
			if lang == "python" {
				r.Python(where, tail)
			} else {
				r.Shell(where, tail, nil)
			}
			return
		case word[0] != '-':
			lang = interpreterOf(programName(word))
		}
		rest = tail
	}
	r.Shell(where, line, nil)
}

// Code judges a text of which nobody says what it is: Python if it begins as such, shell otherwise.
func (r *Report) Code(where, text string) {
	if looksPython(text) {
		r.Python(where, text)
		return
	}
	r.Shell(where, text, nil)
}

// Runs says whether a text begins as a command line does: with a program that is known, a path, an assignment or a
// word of the shell. Constants of code are commands, messages and documentation alike.
func (j *Judge) Runs(text string) bool {
	f := strings.Fields(text)
	if len(f) == 0 {
		return false
	}
	w := strings.Trim(f[0], `"'({`+"`")
	if w == "" || strings.ContainsAny(w[:1], "./~$") {
		return true
	}
	if name, _, ok := strings.Cut(w, "="); ok && identifier(name) {
		return true
	}
	if j.lists.Program(programName(w)) != "" {
		return true
	}
	_, known := programs[programName(w)]
	_, wraps := wrappers[programName(w)]
	switch w {
	case "if", "for", "while", "until", "case", "function", "!", "[[", "[", "(", "{":
		return true
	}
	return known || wraps || interpreterOf(programName(w)) != ""
}

// charge counts work; false if there was enough of it.
func (r *Report) charge(bytes int) bool {
	r.steps++
	r.bytes += bytes
	if r.steps > min(minSteps+stepsByte*r.given, maxSteps) {
		r.Cut = true
		return false
	}
	return r.within()
}

// within reports whether there may be more.
func (r *Report) within() bool {
	if r.Short || r.bytes > r.mayMake() {
		r.Cut = true
		return false
	}
	if more := r.Work() - reportFirst - reportByte*r.given - r.taken; r.metered && more > 0 {
		more = max(more, reportTakes)
		if !r.judge.budget.Take(r.at, r.who, int64(more)) {
			r.Cut, r.Short = true, true
			return false
		}
		r.taken += more
	}
	return true
}

// join appends, as long as there is not too much of it.
func (r *Report) join(a, b value) value {
	if len(a.s)+len(b.s) > 256 && !r.cost(len(a.s)+len(b.s)) {
		return a
	}
	return a.plus(b)
}

func (r *Report) mayMake() int { return min(minBytes+bytesByte*r.given, maxBytes) }

// cost counts bytes that are made; false if there were enough.
func (r *Report) cost(n int) bool {
	r.bytes += n
	return r.within()
}

// whole says that a text does nothing but look who and where it is, as scanners do to prove execution.
func whole(text string) bool {
	parts := strings.FieldsFunc(text, func(c rune) bool { return c == ';' || c == '&' || c == '\n' || c == '|' })
	if len(parts) == 0 || len(parts) > 6 {
		return false
	}
	for _, p := range parts {
		f := strings.Fields(p)
		if len(f) == 0 {
			continue
		}
		switch f[0] {
		case "id", "whoami", "uname", "hostname", "ls", "pwd", "ifconfig", "ip", "env", "nproc", "ps", "w", "printenv", "curl", "wget":
			if len(f) > 2 {
				return false
			}
		case "cat":
			if len(f) != 2 || f[1] != "/etc/passwd" && f[1] != "/proc/cpuinfo" && f[1] != "/etc/os-release" {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func excerpt(s string) string {
	s = s[:min(len(s), 4*maxShown)]
	s = secrets.Mask(strings.ToValidUTF8(strings.ReplaceAll(s, hole, "\u2026"), "\ufffd"))
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "\u2026"
}

func identifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || i > 0 && c >= '0' && c <= '9' {
			continue
		}
		return false
	}
	return s != ""
}
