package hub

import (
	"sync"
	"time"
)

// limiter lets perMinute messages a minute pass and counts the others.
type limiter struct {
	mu     sync.Mutex
	from   time.Time
	n      int
	passed int
}

const perMinute = 20

// allow reports whether one more may pass, and how many were held back since the last that did.
func (l *limiter) allow(now time.Time) (bool, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.from) >= time.Minute {
		l.from, l.passed = now, 0
	}
	if l.passed >= perMinute {
		l.n++
		return false, 0
	}
	l.passed++
	n := l.n
	l.n = 0
	return true, n
}

type lastText struct {
	mu sync.Mutex
	s  string
}

func (l *lastText) set(s string) { l.mu.Lock(); l.s = s; l.mu.Unlock() }
func (l *lastText) get() string  { l.mu.Lock(); defer l.mu.Unlock(); return l.s }
