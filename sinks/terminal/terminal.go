// Package terminal tells a person what a run found.
//
// In: incidents (*detectors.Incident) and findings (*detectors.Finding), of any number, in any order, while the run goes
// on; at its end, its totals. Out: each incident as a paragraph and its steps in order of time; then one line for each
// finding, the most severe first and then in order of time; and one line of totals. Times are UTC, which is said once, above
// the first. Nothing is printed as it comes, but of a live
// capture (Options.Live): what matters stands at the top, and a finding that was said again says how often. The findings
// that say that there is an incident are told by it.
//
// Everything that may come from the wire is made harmless before it is printed: control characters, terminal
// escapes, characters that reverse or hide text, and bytes that are no text are shown as escapes.
//
// It does not see log rows; other events are ignored. Nothing is read from the environment or the clock: colour and
// width are told (see Width), and so is the time.
package terminal

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// Options say how to print. The zero value is for files and pipes: no colour, one line a finding.
type Options struct {
	Color bool
	Width int // columns to wrap at; 0: do not wrap
	// Live, if set, gets every finding as it comes, in one write; none is kept then, and Report prints the totals alone.
	Live io.Writer
}

// Findings kept for the end, a few kilobytes each at the very most. Of more than that nobody reads the last; the
// least severe go first, and notice.log has them all.
const maxKept = 8192

const (
	// Incidents kept for the end, and steps of one that are printed. incidents.log has them all.
	maxIncidents = 512
	maxStories   = 1 << 16 // that are counted
	maxSteps     = 16
)

const severities = int(detectors.Critical) + 1

// Sink collects findings. It belongs to one goroutine.
type Sink struct {
	opt       Options
	kept      []*detectors.Finding
	incidents []*detectors.Incident
	stories   map[string]bool    // ids of incidents that there were
	counts    [severities]uint64 // of findings
	chains    [severities]uint64 // of those, what an incident tells
	dropped   uint64
	dated     bool // it was said what the times are
}

// New makes a sink.
func New(opt Options) *Sink { return &Sink{opt: opt, stories: map[string]bool{}} }

// Event takes findings and incidents. They are kept, not copied: who counts repetitions in Count does so until Report.
func (s *Sink) Event(ev any) {
	if x, ok := ev.(*detectors.Incident); ok {
		s.incident(x)
	}
	if u, ok := ev.(*detectors.Update); ok && u.Severity > u.Was { // how often it was seen is in what is kept
		s.worse(u)
	}
	f, ok := ev.(*detectors.Finding)
	if !ok {
		return
	}
	s.counts[min(int(f.Severity), severities-1)]++
	if s.opt.Live != nil {
		var b bytes.Buffer
		s.finding(&b, f)
		s.opt.Live.Write(b.Bytes()) // whether anybody reads is no matter of ours
		return
	}
	if f.Rule == detectors.ChainRule {
		s.chains[min(int(f.Severity), severities-1)]++
		return
	}
	s.kept = append(s.kept, f)
	if len(s.kept) > maxKept {
		s.sort()
		s.dropped += uint64(len(s.kept) - maxKept/2)
		clear(s.kept[maxKept/2:])
		s.kept = s.kept[:maxKept/2]
	}
}

// worse takes a finding that has become more severe since it was said.
func (s *Sink) worse(u *detectors.Update) {
	from, to := min(int(u.Was), severities-1), min(int(u.Severity), severities-1)
	for _, n := range [...]*[severities]uint64{&s.counts, &s.chains} {
		if (n == &s.counts || u.Rule == detectors.ChainRule) && n[from] > 0 {
			n[from]--
			n[to]++
		}
	}
	if s.opt.Live != nil {
		var b bytes.Buffer
		s.finding(&b, u.Finding)
		s.opt.Live.Write(b.Bytes())
	}
}

// incident keeps the last that was said of one with a chain of cause; another is told by its findings.
func (s *Sink) incident(x *detectors.Incident) {
	i := slices.IndexFunc(s.incidents, func(y *detectors.Incident) bool { return y.ID == x.ID })
	switch {
	case x.State == detectors.Merged: // the other tells of it
		delete(s.stories, x.ID)
		if i >= 0 {
			s.incidents = slices.Delete(s.incidents, i, i+1)
		}
		return
	case !x.Chain:
		return
	case i >= 0:
		s.incidents[i] = x
		return
	}
	if len(s.stories) < maxStories {
		s.stories[x.ID] = true
	}
	s.incidents = append(s.incidents, x)
	if len(s.incidents) > 2*maxIncidents {
		s.worst()
		clear(s.incidents[maxIncidents:])
		s.incidents = s.incidents[:maxIncidents]
	}
}

// worst puts the most severe incidents first, then those of the highest score, then by time.
func (s *Sink) worst() {
	sort.SliceStable(s.incidents, func(i, j int) bool {
		a, b := s.incidents[i], s.incidents[j]
		if a.Severity != b.Severity {
			return a.Severity > b.Severity
		}
		if a.Score != b.Score {
			return a.Score > b.Score
		}
		return a.First.Time < b.First.Time
	})
}

// Reached says whether a finding of at least this severity was said.
func (s *Sink) Reached(at detectors.Severity) bool {
	for i := int(at); i < severities; i++ {
		if s.counts[i] > 0 {
			return true
		}
	}
	return false
}

func (s *Sink) sort() {
	sort.SliceStable(s.kept, func(i, j int) bool {
		a, b := s.kept[i], s.kept[j]
		if a.Severity != b.Severity {
			return a.Severity > b.Severity
		}
		return a.Time < b.Time
	})
}

// Paragraph prints text as it is, made harmless, wrapped under its first words.
func (s *Sink) Paragraph(w io.Writer, head, text string) error {
	var b bytes.Buffer
	s.line(&b, []span{{fmt.Sprintf("%-*s", len(hang), head), bold}}, Clean(text), "")
	_, err := w.Write(b.Bytes())
	return err
}

// Totals are what the last line tells.
type Totals struct {
	Doubts                []string // of what the findings rest on; printed before them
	Packets, Bytes, Flows uint64
	First, Last           capture.Time
	Losses                []Loss        // those of none are left out
	Offloaded             uint64        // packets whose checksum was left to a network card
	OffloadedAside        bool          // rows leave those out
	KeptBack              []string      // what the site's own rules kept back, by rule: "jobsubmit/external 2"
	Elapsed               time.Duration // that the run took, 0 if it is not to be told
}

// Loss is something that was not seen, and why.
type Loss struct {
	Name string // "bad_checksum"
	N    uint64
	Unit string // "packets"
}

// Report prints the findings and the totals.
func (s *Sink) Report(w io.Writer, t Totals) error {
	s.sort()
	s.worst()
	var b bytes.Buffer
	for _, d := range t.Doubts {
		s.line(&b, []span{{"note", bold}, {"  ", ""}}, Clean(d), "")
	}
	if len(t.Doubts) > 0 {
		b.WriteByte('\n')
	}
	for _, x := range s.incidents[:min(len(s.incidents), maxIncidents)] {
		s.story(&b, x, "")
	}
	for _, f := range s.kept {
		s.finding(&b, f)
	}
	if s.dropped > 0 {
		s.line(&b, nil, fmt.Sprintf("and %s more, which notice.log has", Number(s.dropped)), "")
	}
	if len(s.kept)+len(s.incidents) > 0 {
		b.WriteByte('\n')
	}
	s.line(&b, nil, s.totals(t), "")
	_, err := w.Write(b.Bytes())
	return err
}

// story prints an incident: severity, time, paragraph, and its steps below. what says which row of it this is.
func (s *Sink) story(b *bytes.Buffer, x *detectors.Incident, what string) {
	s.zone(b)
	s.line(b, []span{
		{fmt.Sprintf("%-8s", x.Severity), color(x.Severity)},
		{"  " + x.First.Time.Std().Format("2006-01-02 15:04:05") + "  ", ""},
		{"INCIDENT", bold},
		{what + "  ", ""},
	}, Clean(x.Summary), Clean(fmt.Sprintf("[%s, score %d, %s]", x.ID, x.Score, count(uint64(x.Findings), "finding"))))
	layout := "15:04:05"
	if x.First.Time.Std().Format(time.DateOnly) != x.Last.Time.Std().Format(time.DateOnly) {
		layout = "2006-01-02 15:04:05"
	}
	more := x.MoreSteps
	for i := range x.Steps {
		st := &x.Steps[i]
		if i >= maxSteps {
			more += len(x.Steps) - i
			break
		}
		s.line(b, []span{{hang + st.Time.Std().Format(layout) + "  ", ""}}, Clean(st.String()), "[packet "+strconv.FormatUint(st.Packet, 10)+"]")
	}
	if more > 0 {
		s.line(b, []span{{hang, ""}}, "and "+count(uint64(more), "more step")+", which incidents.log has", "")
	}
	b.WriteByte('\n')
}

// zone says what the times are, before the first one.
func (s *Sink) zone(b *bytes.Buffer) {
	if !s.dated {
		s.dated = true
		b.WriteString("times are UTC\n\n")
	}
}

// Print prints a finding or an incident at once, for those who follow a log.
func (s *Sink) Print(w io.Writer, ev any) error {
	var b bytes.Buffer
	switch ev := ev.(type) {
	case *detectors.Finding:
		s.finding(&b, ev)
	case *detectors.Incident:
		what := ""
		switch {
		case ev.State == detectors.Merged:
			s.zone(&b)
			s.line(&b, []span{{fmt.Sprintf("%-8s", ev.Severity), color(ev.Severity)}, {"  " + ev.Written.Std().Format("2006-01-02 15:04:05") + "  ", ""}, {"INCIDENT", bold}},
				Clean("  "+ev.ID+" has turned out to be part of "+ev.Into), "")
			_, err := w.Write(b.Bytes())
			return err
		case ev.State == detectors.Closed:
			what = ", closed"
		case ev.Revision > 1:
			what = ", more of it"
		}
		s.story(&b, ev, what)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// finding prints one: severity, time, sentence, and where to look.
func (s *Sink) finding(b *bytes.Buffer, f *detectors.Finding) {
	s.zone(b)
	head := []span{
		{fmt.Sprintf("%-8s", f.Severity), color(f.Severity)},
		{"  " + f.Time.Std().Format("2006-01-02 15:04:05") + "  ", ""},
	}
	where := []string{f.Rule, f.ID()} // the id is what extract takes
	if f.Flow != nil {
		where = append(where, f.Flow.UID)
	}
	if f.Packet != 0 {
		where = append(where, "packet "+strconv.FormatUint(f.Packet, 10))
	}
	if f.Count > 1 {
		where = append(where, Number(uint64(f.Count))+" times")
	}
	if f.File != "" {
		where = append(where, "packets in "+f.File)
	}
	s.line(b, head, Clean(f.Msg), Clean("["+strings.Join(where, ", ")+"]"))
}

const (
	bold, dim, reset = "\x1b[1m", "\x1b[2m", "\x1b[0m"
	red, yellow      = "\x1b[31m", "\x1b[33m"
	cyan             = "\x1b[36m"
)

func color(s detectors.Severity) string {
	switch s {
	case detectors.Critical:
		return bold + red
	case detectors.High:
		return red
	case detectors.Medium:
		return yellow
	case detectors.Low:
		return cyan
	}
	return dim
}

func (s *Sink) totals(t Totals) string {
	p := []string{count(t.Packets, "packet"), Size(t.Bytes), count(t.Flows, "flow")}
	if t.Packets > 0 {
		first, last := t.First.Std(), t.Last.Std()
		day := "2006-01-02 15:04:05"
		until := "15:04:05"
		if first.Format(time.DateOnly) != last.Format(time.DateOnly) {
			until = day
		}
		p = append(p, fmt.Sprintf("%s (%s to %s UTC)", period(t.Last.Sub(t.First)), first.Format(day), last.Format(until)))
	}
	var all uint64
	var by []string
	for i := severities - 1; i >= 0; i-- {
		if n := s.counts[i] - s.chains[i]; n > 0 {
			all += n
			by = append(by, Number(n)+" "+detectors.Severity(i).String())
		}
	}
	said := "no findings"
	if all > 0 {
		said = count(all, "finding") + " (" + strings.Join(by, ", ") + ")"
	}
	if n := len(s.stories); n > 0 {
		p = append(p, count(uint64(n), "incident"))
	}
	p = append(p, said)
	var lost []string
	for _, l := range t.Losses {
		if l.N > 0 {
			n := Number(l.N) + " " + l.Unit
			if l.Unit == "bytes" {
				n = Size(l.N)
			}
			lost = append(lost, n+" "+strings.ReplaceAll(strings.TrimPrefix(strings.TrimSuffix(l.Name, "_bytes"), l.Unit+"_"), "_", " "))
		}
	}
	if lost == nil {
		p = append(p, "nothing lost")
	} else {
		p = append(p, "lost: "+strings.Join(lost, ", "))
	}
	if t.Offloaded > 0 {
		is, are := "checksum was", "it is"
		if t.Offloaded != 1 {
			is, are = "checksums were", "they are"
		}
		meaning := "as on a host that captures its own traffic: " + are + " taken for right"
		if t.OffloadedAside {
			meaning = "as on a host that captures its own traffic: detection reads them, conn.log is counted without them"
		}
		p = append(p, count(t.Offloaded, "packet")+" whose "+is+" left to a network card ("+meaning+")")
	}
	if t.KeptBack != nil {
		p = append(p, "kept back by your rules: "+Clean(strings.Join(t.KeptBack, ", ")))
	}
	if t.Elapsed > 0 {
		p = append(p, Number(uint64(float64(t.Packets)/t.Elapsed.Seconds()))+" packets/s")
	}
	return strings.Join(p, "; ")
}

// period prints a duration with no more digits than it deserves.
func period(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%s days %d hours", Number(uint64(d/(24*time.Hour))), d%(24*time.Hour)/time.Hour)
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Microsecond).String()
}

func count(n uint64, what string) string {
	if n != 1 {
		what += "s"
	}
	return Number(n) + " " + what
}

// Number prints n with commas between thousands.
func Number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Size prints a number of bytes in powers of 1000.
func Size(n uint64) string {
	if n < 1000 {
		return count(n, "byte")
	}
	f := float64(n)
	for _, u := range [...]string{"kB", "MB", "GB", "TB", "PB", "EB"} {
		if f /= 1000; f < 999.5 {
			if f < 99.95 {
				return fmt.Sprintf("%.1f %s", f, u)
			}
			return fmt.Sprintf("%.0f %s", f, u)
		}
	}
	return fmt.Sprintf("%.0f EB", f)
}
