package capture

import "time"

// Loss says what a live capture lost in a span of time. It is also a row of Zeek's capture_loss.log.
type Loss struct {
	At
	Span time.Duration
	Live LiveStats // in the span; Down and Links as they are now
	// The estimate that takes no word from the kernel: acknowledgements in established TCP connections, and those of
	// them for bytes that nobody saw. What a switch's mirror port drops shows here alone.
	Acks, Gaps         uint64
	AckedBytes, Unseen uint64

	Evicted   uint64 // flows that ended for room
	Rows      uint64 // log rows that could not be written
	Shed      uint64 // bodies and new flows left out under overload
	ShedBytes uint64 // bytes of bulk flows left out
}

// Standstill says that a live run got no further for a while, by the clock of the machine: what passed meanwhile was read
// late, or lost.
type Standstill struct {
	At
	Flow  *Flow         // whose packet was at hand; nil: none was
	Stage string        // what stood still
	Took  time.Duration // for how long
	Ran   time.Duration // processor time that the process had of it
}

// Kernel is the share of the frames that the kernel could not hand over, in percent.
func (l *Loss) Kernel() float64 { return percent(l.Live.Dropped, l.Live.Received) }

// Estimate is the share of acknowledgements for bytes that were not seen, in percent, as Zeek has it.
func (l *Loss) Estimate() float64 { return percent(l.Gaps, l.Acks) }

func percent(part, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(part) / float64(of)
}

// Log implements Record.
func (l *Loss) Log() string { return "capture_loss" }

// Row implements Record.
func (l *Loss) Row(w Fields) {
	w.Time("ts", l.Time, true)
	w.Interval("ts_delta", l.Span, true)
	w.String("peer", "raytap", true)
	w.Count("gaps", l.Gaps, true)
	w.Count("acks", l.Acks, true)
	w.Double("percent_lost", l.Estimate(), true)
}
