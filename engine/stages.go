package engine

import (
	"runtime"
	"time"
)

// Stages are what the stages of a run took of the processors. Reading and dissecting are one goroutine, putting in order and
// collecting one each, and so is each lane of detectors: the longest of these bounds how many packets a second a run gets through,
// however many workers there are.
type Stages struct {
	Read    time.Duration // frames from the source
	Dissect time.Duration // packets from frames, and dealing them to the workers
	Work    time.Duration // all workers: flows, decoders, formatting of rows
	Order   time.Duration // events of all workers in the order of their packets
	Detect  time.Duration // all lanes of detectors
	Lane    time.Duration // the longest of them
	Collect time.Duration // findings, incidents, writing
	Rest    time.Duration // of the process during the run: garbage collection, hand-over between stages
}

// Serial is the longest of the stages that one goroutine does: no number of processors makes a run shorter.
func (s *Stages) Serial() time.Duration { return max(s.Read+s.Dissect, s.Order, s.Lane, s.Collect) }

// Total is all that the run took.
func (s *Stages) Total() time.Duration {
	return s.Read + s.Dissect + s.Work + s.Order + s.Detect + s.Collect + s.Rest
}

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
