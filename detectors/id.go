package detectors

import (
	"strconv"

	"github.com/raytap/raytap/capture"
)

// SaidAs is the ID of the finding that this one counts for: the one that it repeats, and if there is none, itself. The
// number of findings, wherever one is given, is how many of these names there are, but for those of ChainRule: what tells of
// findings is none more of them.
func (f *Finding) SaidAs() string {
	if f.of != nil {
		return f.of.ID()
	}
	return f.ID()
}

// Repeats reports whether f counts for one that was said before.
func (f *Finding) Repeats() bool { return f.of != nil }

// ID names the finding: R and 17 base-62 digits, a hash of what it rests on: rule, what it is told apart from others by
// (Key), severity, in which hour; and who and whom, port, flow and what came of it, unless it is of many flows, where these
// hang on which of them came last.
//
// The hour is that of the flow's life, or without a flow of the day: as long as a repetition is counted and not told, so
// that of two findings that are alike in all else each has its name. It is not the time itself, which a sensor and a capture
// of the same packets do not agree on. A sensor has nanoseconds, and tcpdump cuts them to microseconds; and what a time-out
// shows (a scan, by those who do not answer) is found with the next packet in a file, and of a sensor with a tick of its
// clock. Ordinals of packets, evidence, count and words are no part of the name either: a finding keeps it when the
// capture is cut or joined with others.
//
// A capture that began too late for the first packet of the finding's flow has another flow, and one that began an hour
// before and saw the same then has a repetition. For those there are the logs, which know flow and time.
func (f *Finding) ID() string {
	if f.Name != "" {
		return f.Name
	}
	sev := f.Severity
	if f.rated {
		sev = f.own // what a site thinks of a rule names nothing anew
	}
	since, what := capture.Time(0), ""
	if !f.Many {
		what = f.Src.String() + "\x00" + f.Dst.String() + "\x00" + strconv.Itoa(int(f.Port)) + "\x00" + string(f.Outcome)
		if f.Flow != nil {
			since = f.Flow.Start
			what += "\x00" + f.Flow.UID
		}
	}
	hour := strconv.FormatInt(int64(f.Time.Sub(since)/SuppressFor), 10)
	return capture.NewUID('R', []byte(f.same()+"\x00"+what+"\x00"+sev.String()+"\x00"+hour))
}
