package egress

import (
	"fmt"
	"slices"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

const (
	// Windows that are remembered: at ten minutes each, the last five busy hours.
	pastWindows = 32
	// With fewer, nothing is called usual: two hours of uploads, which an intruder would have to keep up in full sight.
	minWindows = 12
)

// habit is the most that was sent within a window's length, by the window in which it was: those in which anything was
// sent. The zero value is ready.
type habit struct {
	window capture.Time // number of the current one
	now    uint64
	past   [pastWindows]float32
	n      int // windows that were put into past, ever
}

// turn moves on to a window.
func (h *habit) turn(window capture.Time) {
	if window == h.window {
		return
	}
	if h.now > 0 {
		h.past[h.n%pastWindows] = float32(h.now)
		h.n++
	}
	h.window, h.now = window, 0
}

// most notes that n bytes were sent up to now, if it was no more before.
func (h *habit) most(window capture.Time, n uint64) {
	h.turn(window)
	h.now = max(h.now, n)
}

// usual is what a habit comes to.
type usual struct {
	median, mad, bar uint64
	windows          int
}

func (u usual) String() string {
	return fmt.Sprintf("%s in a window (median of %d, MAD %s, so up to %s)", detectors.Size(u.median), u.windows, detectors.Size(u.mad), detectors.Size(u.bar))
}

// usual gives the median, the median absolute deviation, and the bar that is k of these above it; not ok when too
// little is known. Uploads of one program are so much alike that a MAD may be nearly nothing; a tenth of the median is
// taken for the least.
func (h *habit) usual(k uint64) (u usual, ok bool) {
	n := min(h.n, pastWindows)
	if n < minWindows {
		return u, false
	}
	x := slices.Clone(h.past[:n])
	m := median(x)
	for i := range x {
		x[i] = max(x[i]-m, m-x[i])
	}
	u = usual{median: uint64(m), mad: uint64(max(median(x), m/10)), windows: n}
	u.bar = u.median + times(u.mad, k)
	return u, true
}

// median sorts x.
func median(x []float32) float32 {
	slices.Sort(x)
	if n := len(x); n%2 == 0 {
		return (x[n/2-1] + x[n/2]) / 2
	}
	return x[len(x)/2]
}
