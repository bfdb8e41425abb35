package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/logs"
)

// window is the time that somebody asks about.
type window struct{ since, until capture.Time }

// window adds the flags of one.
func (f *flags) window(since, until, of string) *window {
	w := &window{}
	at := func(t *capture.Time) func(string) error {
		return func(s string) (err error) {
			*t, err = parseWhen(s, time.Now())
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

// parseWhen reads a time, or how long ago it was.
func parseWhen(s string, now time.Time) (capture.Time, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.ParseFloat(n, 64); err == nil && days >= 0 && days < 36500 {
			return capture.Time(now.Add(-time.Duration(days * 24 * float64(time.Hour))).UnixNano()), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return capture.Time(now.Add(-d).UnixNano()), nil
	}
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return inRange(t)
		}
	}
	for _, layout := range [...]string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, strings.TrimSuffix(s, " UTC")); err == nil {
			return inRange(t)
		}
	}
	for _, layout := range [...]string{"15:04", time.TimeOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return capture.Time(now.UTC().Truncate(24 * time.Hour).Add(t.Sub(t.Truncate(24 * time.Hour))).UnixNano()), nil
		}
	}
	if t, ok := logs.ParseTime(s); ok && t > 1e17 { // as logs have it; a small number is hardly a time
		return t, nil
	}
	return 0, fmt.Errorf("neither a time (2026-11-29T22:00) nor an age (24h, 7d)")
}

// inRange refuses what nanoseconds since 1970 cannot hold.
func inRange(t time.Time) (capture.Time, error) {
	if y := t.Year(); y < 1970 || y > 2261 {
		return 0, fmt.Errorf("the year %d is not between 1970 and 2261", y)
	}
	return capture.Time(t.UnixNano()), nil
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
