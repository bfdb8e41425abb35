// Package terminal tells a person what a run found.
//
// In: findings (*detectors.Finding), of any number, in any order, while the run goes on; at its end, its totals.
// Out: one line for each finding, the most severe first and then in order of time, and one line of totals. Findings are
// not printed as they come: what matters stands at the top, and a finding that was said again says how often.
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
}

// Findings kept for the end, a few kilobytes each at the very most. Of more than that nobody reads the last; the
// least severe go first, and notice.log has them all.
const maxKept = 8192

const severities = int(detectors.Critical) + 1

// Sink collects findings. It belongs to one goroutine.
type Sink struct {
	opt     Options
	kept    []*detectors.Finding
	counts  [severities]uint64
	dropped uint64
}

// New makes a sink.
func New(opt Options) *Sink { return &Sink{opt: opt} }

// Event takes findings. They are kept, not copied: who counts repetitions in Count does so until Report.
func (s *Sink) Event(ev any) {
	f, ok := ev.(*detectors.Finding)
	if !ok {
		return
	}
	s.counts[min(int(f.Severity), severities-1)]++
	s.kept = append(s.kept, f)
	if len(s.kept) > maxKept {
		s.sort()
		s.dropped += uint64(len(s.kept) - maxKept/2)
		clear(s.kept[maxKept/2:])
		s.kept = s.kept[:maxKept/2]
	}
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

// Totals are what the last line tells.
type Totals struct {
	Packets, Bytes, Flows uint64
	First, Last           capture.Time
	Losses                []Loss        // those of none are left out
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
	var b bytes.Buffer
	for _, f := range s.kept {
		s.finding(&b, f)
	}
	if s.dropped > 0 {
		s.line(&b, nil, fmt.Sprintf("and %s more, which notice.log has", Number(s.dropped)), "")
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	s.line(&b, nil, s.totals(t), "")
	_, err := w.Write(b.Bytes())
	return err
}

// finding prints one: severity, time, sentence, and where to look.
func (s *Sink) finding(b *bytes.Buffer, f *detectors.Finding) {
	head := []span{
		{fmt.Sprintf("%-8s", f.Severity), color(f.Severity)},
		{"  " + f.Time.Std().Format("2006-01-02 15:04:05") + "  ", ""},
	}
	where := []string{f.Rule}
	if f.Flow != nil {
		where = append(where, f.Flow.UID)
	}
	if f.Packet != 0 {
		where = append(where, "packet "+strconv.FormatUint(f.Packet, 10))
	}
	if f.Count > 1 {
		where = append(where, Number(uint64(f.Count))+" times")
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
		if n := s.counts[i]; n > 0 {
			all += n
			by = append(by, Number(n)+" "+detectors.Severity(i).String())
		}
	}
	said := "no findings"
	if all > 0 {
		said = count(all, "finding") + " (" + strings.Join(by, ", ") + ")"
	}
	p = append(p, said)
	var lost []string
	for _, l := range t.Losses {
		if l.N > 0 {
			n := Number(l.N) + " " + l.Unit
			if l.Unit == "bytes" {
				n = Size(l.N)
			}
			lost = append(lost, n+" "+strings.ReplaceAll(strings.TrimSuffix(l.Name, "_bytes"), "_", " "))
		}
	}
	if lost == nil {
		p = append(p, "nothing lost")
	} else {
		p = append(p, "lost: "+strings.Join(lost, ", "))
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
