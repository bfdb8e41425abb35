package search

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/logs"
)

// ParseTime reads a time as people give it, in UTC or with a zone, or how long ago it was: 2026-11-29T22:00, 22:00, 90m, 7d.
func ParseTime(s string, now time.Time) (capture.Time, error) {
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
