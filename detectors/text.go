package detectors

import "strings"

// Clip bounds a text from the wire for a sentence, and keeps what is no text out of it.
func Clip(s string, n int) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == 0xfffd {
			return '.'
		}
		return r
	}, s[:min(len(s), n)])
}
