package terminal

import (
	"io"
	"strings"
	"time"
)

const (
	// Short runs show no progress at all.
	progressAfter = 500 * time.Millisecond
	// Five times a second is as much as an eye follows.
	progressEvery = 200 * time.Millisecond
)

// Progress is a line that is written over and over while a run goes on.
type Progress struct {
	w           io.Writer
	start, next time.Time
	shown       int // columns that stand there
}

// NewProgress makes one for a run that starts now.
func NewProgress(w io.Writer, now time.Time) *Progress {
	return &Progress{w: w, start: now, next: now.Add(progressAfter)}
}

// Show tells how far the run is, if it is time to.
func (p *Progress) Show(now time.Time, packets, bytes uint64) {
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(progressEvery)
	rate := uint64(float64(packets) / max(now.Sub(p.start).Seconds(), 1e-3))
	line := Number(packets) + " packets, " + Size(bytes) + ", " + Number(rate) + " packets/s"
	p.put(line)
}

// Clear takes the line away.
func (p *Progress) Clear() {
	if p.shown > 0 {
		p.put("")
		io.WriteString(p.w, "\r")
	}
}

// put writes line over what stands there. Plain spaces do it on every terminal. That it fails is no matter.
func (p *Progress) put(line string) {
	io.WriteString(p.w, "\r"+line+strings.Repeat(" ", max(p.shown-len(line), 0)))
	p.shown = len(line)
}
