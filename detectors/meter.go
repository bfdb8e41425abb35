package detectors

import "github.com/raytap/raytap/capture"

// Meter bounds the work that a detector puts into what strangers hide in encodings: a kilobyte of packed base64 is a
// megabyte of text in which hundreds of words are sought. It counts bytes that were decoded, and packet time, so that what
// is looked into is the same in every run. What is no longer than three times that which hides it is always looked into,
// which base64 four deep is; what is more comes out of what all have in common. The zero value is full.
type Meter struct {
	spent int64
	at    capture.Time
}

const (
	// Ten milliseconds a megabyte where somebody means it, and as much again for each detector that looks.
	meterFull   = 2 << 20
	meterRefill = 512 << 10 // in a second
	meterFirst  = 1 << 10
)

// Grant says how many bytes, want at most, may be decoded out of size bytes, and how many of those are free.
func (m *Meter) Grant(at capture.Time, size, want int) (all, free int) {
	if gone := at - m.at; gone > 0 {
		m.spent -= int64(min(gone, 1e10)) * meterRefill / 1e9
		m.spent, m.at = max(m.spent, 0), at
	}
	free = min(meterFirst+3*size, want)
	return min(free+int(meterFull-m.spent)/2, want), free
}

// Used says how many of those that were granted were used.
func (m *Meter) Used(used, free int) { m.spent += int64(max(used-free, 0)) }
