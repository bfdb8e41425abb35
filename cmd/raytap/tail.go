package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/logs"
	"github.com/raytap/raytap/sinks/terminal"
)

const tailSynopsis = `tail [flags] DIR

Follows the findings and incidents in the logs of a sensor (notice.log and incidents.log in DIR or DIR/current,
tab-separated or JSON) and prints each in words, through rotations, until it is interrupted. Before that, the last that
are there.

Exit status: 0 with --once; 1 the log could not be read; 2 wrong usage; 130 interrupted.
`

// followEvery is how often the log is looked at: soon enough for people, and nothing to the disk.
const followEvery = 200 * time.Millisecond

func follow(args []string, stdout, stderr *os.File) int {
	f := newFlags("tail", tailSynopsis)
	last := f.Int("n", 10, "begin with the last `N` that are there")
	once := f.Bool("once", false, "print those and end")
	least := f.String("severity", "info", "only what is of at least `SEVERITY`: info, low, medium, high, critical")
	rest, err := f.parse(args)
	var from detectors.Severity
	if err == nil {
		from, err = detectors.ParseSeverity(*least)
	}
	if err == nil && (len(rest) != 1 || *last < 0) {
		err = errors.New("takes one folder of logs")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	if info, err := os.Stat(rest[0]); err != nil || !info.IsDir() {
		if err == nil {
			err = fmt.Errorf("%s is no folder", rest[0])
		}
		complain(stderr, err)
		return exitInput
	}

	open := func(log string) *logs.Follower {
		return logs.Follow(log, filepath.Join(rest[0], "current", log+".log"), filepath.Join(rest[0], log+".log"))
	}
	notices, incidents := open("notice"), open("incidents")
	defer notices.Close()
	defer incidents.Close()
	people := terminal.New(terminalOptions(stdout))
	var held []any
	var failed error
	show := func(ev any) {
		if err := people.Print(stdout, ev); err != nil && failed == nil {
			failed = err
		}
	}
	hold := true
	take := func(ev any) {
		if !hold {
			show(ev)
		} else if held = append(held, ev); len(held) > *last {
			held = held[1:]
		}
	}
	read := func() error {
		return errors.Join(
			notices.Read(func(r *logs.Row) {
				if f := r.Finding(); f != nil && f.Severity >= from {
					take(f)
				}
			}),
			incidents.Read(func(r *logs.Row) {
				if x := r.Incident(); x != nil && x.Severity >= from {
					take(x)
				}
			}))
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
			for _, ev := range held {
				show(ev)
			}
			held, hold = nil, false
		}
		if failed != nil {
			complain(stderr, failed)
			return exitInput
		}
		if *once {
			return exitOK
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
