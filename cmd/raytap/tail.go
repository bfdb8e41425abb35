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

Follows the findings in the logs of a sensor (DIR/notice.log, or DIR/current/notice.log; tab-separated or JSON) and prints
each as a sentence, through rotations, until it is interrupted. Before that, the last that are there.

Exit status: 0 with --once; 1 the log could not be read; 2 wrong usage; 130 interrupted.
`

// followEvery is how often the log is looked at: soon enough for people, and nothing to the disk.
const followEvery = 200 * time.Millisecond

func follow(args []string, stdout, stderr *os.File) int {
	f := newFlags("tail", tailSynopsis)
	last := f.Int("n", 10, "begin with the last `N` findings that are there")
	once := f.Bool("once", false, "print those and end")
	least := f.String("severity", "info", "only findings of at least `SEVERITY`: info, low, medium, high, critical")
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

	log := logs.Follow("notice", filepath.Join(rest[0], "current", "notice.log"), filepath.Join(rest[0], "notice.log"))
	defer log.Close()
	people := terminal.New(terminalOptions(stdout))
	var held []*detectors.Finding
	var failed error
	show := func(f *detectors.Finding) {
		if err := people.Print(stdout, f); err != nil && failed == nil {
			failed = err
		}
	}
	hold := true
	take := func(r *logs.Row) {
		f := r.Finding()
		switch {
		case f == nil || f.Severity < from:
		case !hold:
			show(f)
		default:
			if held = append(held, f); len(held) > *last {
				held = held[1:]
			}
		}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		if err := log.Read(take); err != nil && failed == nil {
			failed = err
		}
		if hold {
			for _, f := range held {
				show(f)
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
