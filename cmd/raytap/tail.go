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
	var from detectors.Severity
	if err == nil {
		from, err = detectors.ParseSeverity(*least)
	}
	most := 10
	if asked.since != 0 || asked.until != 0 {
		most = maxTold
	}
	f.given(func(name, _ string, _ any) {
		if name == "n" {
			most = *last
		}
	})
	if err == nil && (len(rest) == 0 || most < 0) {
		err = errors.New("takes folders of logs")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	folder, err := logs.Open(asked.options(), rest...)
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	defer folder.Close()
	notices, incidents := folder.Follow("notice"), folder.Follow("incidents")
	for _, w := range append(slices.Clone(notices), incidents...) {
		defer w.Close()
	}
	people := terminal.New(terminalOptions(stdout))
	var held []told
	var failed error
	show := func(ev any) {
		if err := people.Print(stdout, ev); err != nil && failed == nil {
			failed = err
		}
	}
	hold := true
	prune := func() {
		slices.SortStableFunc(held, func(a, b told) int { return cmp.Compare(a.at, b.at) })
		held = held[max(0, len(held)-most):]
	}
	take := func(r *logs.Row, ev any) {
		if !hold {
			show(ev)
			return
		}
		if !folder.Wants(r) {
			return
		}
		if held = append(held, told{r.Time("ts"), ev}); len(held) >= 2*most+1000 {
			prune()
		}
	}
	known := map[string]*detectors.Finding{}
	finding := func(r *logs.Row) {
		f := r.Finding()
		if f == nil || f.Severity < from {
			return
		}
		if old := known[f.ID()]; f.Revision > 1 && old != nil { // news of it is for those who have not read it
			worse := f.Severity > old.Severity
			f.Time = old.Time
			if *old = *f; !worse {
				return
			}
		}
		if len(known) >= maxTold {
			clear(known)
		}
		known[f.ID()] = f
		take(r, f)
	}
	incident := func(r *logs.Row) {
		x := r.Incident()
		if x == nil || x.Severity < from {
			return
		}
		if hold { // of the past the last word is enough
			held = slices.DeleteFunc(held, func(t told) bool {
				y, ok := t.ev.(*detectors.Incident)
				return ok && y.ID == x.ID && y.Revision < x.Revision
			})
		}
		take(r, x)
	}
	read := func() (err error) {
		for _, w := range notices {
			err = errors.Join(err, w.Read(finding))
		}
		for _, w := range incidents {
			err = errors.Join(err, w.Read(incident))
		}
		return err
	}
	code := exitOK
	if most > 0 {
		folder.Rotated("notice", finding)
		folder.Rotated("incidents", incident)
		if tellUnread(folder.Unread(), stderr) {
			code = exitInput
		}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		if err := read(); err != nil && failed == nil {
			failed = err
		}
		if hold {
			prune()
			for _, t := range held {
				show(t.ev)
			}
			held, hold = nil, false
		}
		if failed != nil {
			complain(stderr, failed)
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

// terminalOptions are for what is printed to w: colour and width for a person, neither for a pipe.
func terminalOptions(w *os.File) terminal.Options {
	opt := terminal.Options{Width: terminal.Width(w)}
	opt.Color = opt.Width > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return opt
}
