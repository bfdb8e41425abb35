package engine

import (
	"runtime"
	"time"
)

// Stages are what the stages of a run took of the processors. Reading and dissecting are one goroutine and the collector is
// another, so that each of the two bounds how many packets a second a run gets through, however many workers there are.
type Stages struct {
	Read    time.Duration // frames from the source
	Dissect time.Duration // packets from frames, and dealing them to the workers
	Work    time.Duration // all workers: flows, decoders, formatting of rows
	Collect time.Duration // order, detectors, writing
	Rest    time.Duration // of the process during the run: garbage collection, hand-over between stages
}

// Serial is the longer of the stages that one goroutine does: no number of processors makes a run shorter.
func (s *Stages) Serial() time.Duration { return max(s.Read+s.Dissect, s.Collect) }

// Total is all that the run took.
func (s *Stages) Total() time.Duration { return s.Read + s.Dissect + s.Work + s.Collect + s.Rest }

// stopwatch adds up the CPU time of a stage. Whoever starts it is locked to its thread. The zero value measures nothing.
type stopwatch struct {
	on          bool
	from, spent time.Duration
}

// measure makes s measure, on this goroutine.
func (s *stopwatch) measure() {
	runtime.LockOSThread()
	s.on = true
}

func (s *stopwatch) start() {
	if s.on {
		s.from = threadTime()
	}
}

func (s *stopwatch) stop() {
	if s.on {
		s.spent += threadTime() - s.from
	}
}
