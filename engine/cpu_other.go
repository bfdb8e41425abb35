//go:build !linux

package engine

import "time"

// cpuTime would be what the process has taken of the processors. Where it is not asked for, a run counts as busy.
func cpuTime() time.Duration { return time.Duration(time.Now().UnixNano()) }

// threadTime is the time of the clock, where that of a thread is not asked for.
func threadTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
