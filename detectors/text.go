package detectors

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/raytap/raytap/decoders/secrets"
)

// cut ends a text that goes on.
const cut = "\u2026"

// clipMargin is how much behind the end Clip looks at: a secret that is cut in two must be known by its whole.
const clipMargin = 4 << 10

// Clip puts n bytes at most of a text from the wire on one line of a sentence, with the credentials in it masked, shows
// where it was cut, and keeps what is no text out of it.
func Clip(s string, n int) string {
	end := ""
	if len(s) > n+clipMargin {
		s, end = s[:n+clipMargin], cut
	}
	if s = secrets.Mask(s); len(s) > n {
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

// Mask masks the credentials in all that f says. Whoever hands findings on calls it once, and whoever reads them back.
func (f *Finding) Mask() {
	f.Msg, f.Sub = secrets.Mask(f.Msg), secrets.Mask(f.Sub)
	for i := range f.Evidence {
		f.Evidence[i].Value = secrets.Mask(f.Evidence[i].Value)
	}
}

// Mask masks the credentials in all that x tells.
func (x *Incident) Mask() {
	x.Summary = secrets.Mask(x.Summary)
	for i := range x.Steps {
		x.Steps[i].What = secrets.Mask(x.Steps[i].What)
	}
	for i := range x.Others {
		x.Others[i].Name = secrets.Mask(x.Others[i].Name)
	}
	x.Why = secrets.MaskAll(x.Why)
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
