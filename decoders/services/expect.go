package services

import (
	"net/netip"
	"slices"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
)

// Expected is said by a conversation that arranged another connection.
type Expected struct {
	capture.At
	Flow    *capture.Flow // the conversation
	Orig    netip.Addr    // who will open the connection
	Resp    netip.AddrPort
	Service string // what it is to be called
}

// ExpectFor is how long a data connection may be in coming after it was arranged: Zeek waits as long.
const ExpectFor = 5 * time.Minute

const (
	// A conversation whose beginning was not captured is recognized a little later than it arranges things.
	expectLate = 5 * time.Second
	// Connections that are waited for at once. A busy FTP server opens some tens a second; the oldest gives way.
	maxExpected = 16384
)

type expectation struct {
	orig netip.Addr
	resp netip.AddrPort
}

type span struct {
	from, till capture.Time
	service    string
}

// Expectations gives connections the names that other conversations announced. It must see the events of all flows in
// order, *Expected and *capture.Conn, the latter before they are written. The zero value is ready.
type Expectations struct {
	waiting map[expectation]span
	order   []expectation // by age, from next on, once it is full
	next    int
}

// Event takes the next event.
func (x *Expectations) Event(ev any) {
	switch e := ev.(type) {
	case *Expected:
		x.expect(e)
	case *capture.Conn:
		if len(x.waiting) == 0 || e.Flow == nil || e.Flow.Proto != capture.ProtoTCP {
			return
		}
		if s, ok := x.expected(e.Flow); ok && !slices.Contains(e.Services, s) {
			e.Services = append(e.Services, s)
		}
	}
}

// File gives the file of a flow that was announced, or nil.
func (x *Expectations) File(t *Transfer) *file.File {
	if s, ok := x.expected(t.File.Flow); !ok || s != "ftp-data" {
		return nil
	}
	return t.File
}

// expected says what a flow is, if it was announced.
func (x *Expectations) expected(f *capture.Flow) (service string, ok bool) {
	s, ok := x.waiting[expectation{f.Orig.Addr(), f.Resp}]
	return s.service, ok && f.Start >= s.from && f.Start <= s.till
}

func (x *Expectations) expect(e *Expected) {
	if x.waiting == nil {
		x.waiting = map[expectation]span{}
	}
	k := expectation{e.Orig, e.Resp}
	s, again := x.waiting[k]
	if !again || s.till < e.Time || s.service != e.Service {
		// Rows come when flows end, so an arrangement outlives its time, until the same or too many others follow.
		s = span{from: e.Time.Add(-expectLate), service: e.Service}
	}
	s.till = e.Time.Add(ExpectFor)
	x.waiting[k] = s
	switch {
	case again:
	case len(x.order) < maxExpected:
		x.order = append(x.order, k)
	default:
		delete(x.waiting, x.order[x.next])
		x.order[x.next] = k
		x.next = (x.next + 1) % maxExpected
	}
}
