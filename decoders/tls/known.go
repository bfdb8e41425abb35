package tls

import "github.com/raytap/raytap/capture"

const (
	// maxKnown bounds the certificates that a Known remembers in each of its two halves. Zeek stops remembering at a
	// million; a large network sees some ten thousand a day.
	maxKnown = 1 << 16
	// A certificate is logged again after a day, as Zeek does it.
	relogAfter = capture.Time(24 * 3600 * 1e9)
)

type knownKey struct {
	fingerprint  string
	host, client bool
}

// Known says which certificates were logged before. It belongs to one goroutine, which sees certificates in order. The
// zero value is ready. When it is full it forgets those that were not seen for longest.
type Known struct{ young, old map[knownKey]capture.Time }

// First says whether c is to be logged: it was not, in this role, for a day.
func (k *Known) First(c *Certificate) bool {
	key := knownKey{c.Fingerprint, c.Host, c.FromClient}
	at, seen := k.young[key]
	if !seen {
		at, seen = k.old[key]
	}
	first := !seen || c.Time-at >= relogAfter
	if first {
		at = c.Time
	}
	if k.young == nil || len(k.young) >= maxKnown {
		k.old, k.young = k.young, make(map[knownKey]capture.Time)
	}
	k.young[key] = at
	return first
}
