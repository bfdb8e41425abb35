package zeekview

import (
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/tls"
)

const (
	// maxKnown bounds the certificates that are remembered in each of its two halves. Zeek stops remembering at a
	// million; a large network sees some ten thousand a day.
	maxKnown = 1 << 16
	// A certificate is logged again after a day, as Zeek does it.
	relogAfter = capture.Time(24 * 3600 * 1e9)
)

type certificate struct {
	fingerprint  string
	host, client bool
}

// certificates tells which certificates were logged before. The zero value is ready. When it is full it forgets those that were
// not seen for longest.
type certificates struct{ young, old map[certificate]capture.Time }

// first reports whether c is to be logged: in this role it was not for a day.
func (k *certificates) first(c *tls.Certificate) bool {
	key := certificate{c.Fingerprint, c.Host, c.FromClient}
	at, seen := k.young[key]
	if !seen {
		at, seen = k.old[key]
	}
	first := !seen || c.Time-at >= relogAfter
	if first {
		at = c.Time
	}
	if k.young == nil || len(k.young) >= maxKnown {
		k.old, k.young = k.young, make(map[certificate]capture.Time)
	}
	k.young[key] = at
	return first
}
