package detectors

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// cut ends a text that goes on.
const cut = "\u2026"

// Clip puts n bytes at most of a text from the wire on one line of a sentence, shows where it was cut, and keeps what is
// no text out of it.
func Clip(s string, n int) string {
	end := ""
	if len(s) > n {
		for range utf8.UTFMax - 1 {
			if n > 0 && !utf8.RuneStart(s[n]) {
				n--
			}
		}
		s, end = s[:n], cut
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case r < 0x20, r == 0x7f, r == utf8.RuneError:
			return '.'
		}
		return r
	}, s) + end
}

// Whole gives a text that may have been cut without its last word, which may be half of one: of evil.community the
// excerpt may have evil.com.
func Whole(s string) string {
	if s, ok := strings.CutSuffix(s, cut); ok {
		return s[:strings.LastIndexAny(s, " \n\t'\"/|;")+1]
	}
	return s
}

// Plural counts things: 1 flow, 2 flows.
func Plural[N int | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.FormatUint(uint64(n), 10) + " " + what + "s"
}

// Size prints bytes in the units of powers of 1000 that storage is sold in.
func Size(n uint64) string {
	switch {
	case n >= 10e9:
		return fmt.Sprintf("%.0f GB", float64(n)/1e9)
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.0f kB", float64(n)/1e3)
}

// Span prints how long something took, for people: in whole hours, minutes or seconds, two at least of the larger ones.
func Span(d time.Duration) string {
	unit, n := "second", max(int(d.Seconds()+0.5), 1)
	switch {
	case d >= 2*time.Hour:
		unit, n = "hour", int(d.Hours()+0.5)
	case d >= 2*time.Minute:
		unit, n = "minute", int(d.Minutes()+0.5)
	}
	return Plural(n, unit)
}
