package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/fleet/search"
	"github.com/raytap/raytap/sinks/logs"
)

// window is the time that somebody asks about.
type window struct{ since, until capture.Time }

// window adds the flags of one.
func (f *flags) window(since, until, of string) *window {
	w := &window{}
	at := func(t *capture.Time) func(string) error {
		return func(s string) (err error) {
			*t, err = search.ParseTime(s, time.Now())
			return err
		}
	}
	f.Func(since, "only "+of+" since `TIME`: 2026-11-29T22:00, 22:00 (today), in UTC or with a zone, or an age: 90m, 24h, 7d", at(&w.since))
	f.Func(until, "only "+of+" until `TIME`, in the same form", at(&w.until))
	return w
}

func (w *window) options() logs.Options { return logs.Options{Since: w.since, Until: w.until} }

// String says what was asked for: "", or " since ...".
func (w *window) String() (s string) {
	if w.since != 0 {
		s = " since " + w.since.Std().Format("2006-01-02 15:04:05") + " UTC"
	}
	if w.until != 0 {
		s += " until " + w.until.Std().Format("2006-01-02 15:04:05") + " UTC"
	}
	return s
}

// tellUnread says on stderr what was not read of logs, and reports whether there was such.
func tellUnread(unread []string, stderr *os.File) bool {
	const most = 20
	for i, u := range unread {
		if i == most {
			complain(stderr, fmt.Errorf("%d more could not be read", len(unread)-most))
			break
		}
		complain(stderr, fmt.Errorf("%s", u))
	}
	return len(unread) > 0
}

// nameOf names folders of logs, without those above them.
func nameOf(dirs []string) string {
	names := make([]string, len(dirs))
	for i, d := range dirs {
		abs, err := filepath.Abs(d)
		if err != nil {
			abs = d
		}
		names[i] = filepath.Base(abs)
	}
	return strings.Join(names, ", ")
}
