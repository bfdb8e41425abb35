package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// manager is systemd, where it started us (sd_notify(3)); otherwise nobody listens.
type manager struct {
	conn  net.Conn
	every time.Duration // between signs of life; 0: none are wanted
	last  time.Time
}

func newManager() *manager {
	m := &manager{}
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return m
	}
	conn, err := net.Dial("unixgram", socket) // @ before the name is understood
	if err != nil {
		return m
	}
	m.conn = conn
	if pid := os.Getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
			m.every = time.Duration(us) * time.Microsecond / 3 // one may come late
		}
	}
	return m
}

func (m *manager) say(state string) {
	if m.conn != nil {
		fmt.Fprint(m.conn, state)
	}
}

// alive is called as long as the engine gets on: from its own goroutine, so that one that hangs is restarted.
func (m *manager) alive(now time.Time) {
	if m.every > 0 && now.Sub(m.last) >= m.every {
		m.last = now
		m.say("WATCHDOG=1")
	}
}

// reloading begins a reload that READY=1 ends (Type=notify-reload).
func (m *manager) reloading() { m.say("RELOADING=1\nMONOTONIC_USEC=" + monotonic()) }
