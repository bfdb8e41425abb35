package main

import (
	"cmp"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/logs"
	"github.com/raytap/raytap/sinks/terminal"
)

const tailSynopsis = `tail [flags] DIR...

Follows the findings and incidents in the logs of one or more sensors (tab-separated or JSON), across rotations, and prints
each in words until interrupted. It begins with the latest existing ones, from current, rotated or compressed files. Files
that could not be read are reported on standard error.

Exit status: 0 with --once; 1 a log could not be read; 2 wrong usage; 130 interrupted.
`

// followEvery is how often the log is looked at: soon enough for people, and nothing to the disk.
const followEvery = 200 * time.Millisecond

// maxTold bounds what is held of the past.
const maxTold = 100000

// told is what a log says, and when it was written.
type told struct {
	at capture.Time
	ev any
}

func follow(args []string, stdout, stderr *os.File) int {
	f := newFlags("tail", tailSynopsis)
	last := f.Int("n", 0, "begin with the last `N` findings (default 10; with --since, all)")
	once := f.Bool("once", false, "print existing findings and exit")
	least := f.String("severity", "info", "print only findings of at least `SEVERITY`: info, low, medium, high, critical")
	asked := f.window("since", "until", "what was")
	rest, err := f.parse(args)
	t := teller{stdout: stdout, most: 10, hold: true, known: map[string]*detectors.Finding{}}
	if err == nil {
		t.from, err = detectors.ParseSeverity(*least)
	}
	if asked.since != 0 || asked.until != 0 {
		t.most = maxTold
	}
	f.given(func(name, _ string, _ any) {
		if name == "n" {
			t.most = *last
		}
	})
	if err == nil && (len(rest) == 0 || t.most < 0) {
		err = errors.New("takes folders of logs")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	if t.folder, err = logs.Open(asked.options(), rest...); err != nil {
		complain(stderr, err)
		return exitInput
	}
	defer t.folder.Close()
	t.notices, t.incidents = t.folder.Follow("notice"), t.folder.Follow("incidents")
	for _, w := range slices.Concat(t.notices, t.incidents) {
		defer w.Close()
	}
	t.people = terminal.New(terminalOptions(stdout))
	code := exitOK
	if t.most > 0 {
		t.folder.Rotated("notice", t.finding)
		t.folder.Rotated("incidents", t.incident)
		if tellUnread(t.folder.Unread(), stderr) {
			code = exitInput
		}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		t.read()
		t.tellHeld()
		if t.failed != nil {
			complain(stderr, t.failed)
			return exitInput
		}
		if *once {
			return code
		}
		select {
		case <-tick.C:
		case s := <-signals:
			if n, ok := s.(syscall.Signal); ok {
				return exitSignal + int(n)
			}
			return exitSignal
		}
	}
}

// teller prints findings and incidents as they stand in logs: of the past the last ones, and then each as it comes.
type teller struct {
	folder             *logs.Folder
	notices, incidents []*logs.Follower
	people             *terminal.Sink
	stdout             *os.File
	from               detectors.Severity
	most               int // of the past
	hold               bool
	held               []told                        // the past, while hold
	known              map[string]*detectors.Finding // by ID
	failed             error                         // the first failure
}

// read takes what the logs have more.
func (t *teller) read() {
	var err error
	for _, w := range t.notices {
		err = errors.Join(err, w.Read(t.finding))
	}
	for _, w := range t.incidents {
		err = errors.Join(err, w.Read(t.incident))
	}
	if err != nil && t.failed == nil {
		t.failed = err
	}
}

func (t *teller) finding(r *logs.Row) {
	f := r.Finding()
	if f == nil || f.Severity < t.from {
		return
	}
	if old := t.known[f.ID()]; f.Revision > 1 && old != nil { // news of it is for those who have not read it
		worse := f.Severity > old.Severity
		f.Time = old.Time
		if *old = *f; !worse {
			return
		}
	}
	if len(t.known) >= maxTold {
		clear(t.known)
	}
	t.known[f.ID()] = f
	t.take(r, f)
}

func (t *teller) incident(r *logs.Row) {
	x := r.Incident()
	if x == nil || x.Severity < t.from {
		return
	}
	if t.hold { // of the past the last word is enough
		t.held = slices.DeleteFunc(t.held, func(old told) bool {
			y, ok := old.ev.(*detectors.Incident)
			return ok && y.ID == x.ID && y.Revision < x.Revision
		})
	}
	t.take(r, x)
}

// take prints a row, or holds it if it is of the past.
func (t *teller) take(r *logs.Row, ev any) {
	if !t.hold {
		t.show(ev)
		return
	}
	if !t.folder.Wants(r) {
		return
	}
	if t.held = append(t.held, told{r.Time("ts"), ev}); len(t.held) >= 2*t.most+1000 {
		t.prune()
	}
}

// prune drops what is too old of what is held.
func (t *teller) prune() {
	slices.SortStableFunc(t.held, func(a, b told) int { return cmp.Compare(a.at, b.at) })
	t.held = t.held[max(0, len(t.held)-t.most):]
}

// tellHeld prints the past, once.
func (t *teller) tellHeld() {
	if !t.hold {
		return
	}
	t.prune()
	for _, x := range t.held {
		t.show(x.ev)
	}
	t.held, t.hold = nil, false
}

func (t *teller) show(ev any) {
	if err := t.people.Print(t.stdout, ev); err != nil && t.failed == nil {
		t.failed = err
	}
}

// terminalOptions are for what is printed to w: colour and width for a person, neither for a pipe.
func terminalOptions(w *os.File) terminal.Options {
	opt := terminal.Options{Width: terminal.Width(w)}
	opt.Color = opt.Width > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return opt
}
