package capture

import (
	"net/netip"
	"slices"
	"time"
)

// Expected announces a connection that a conversation has arranged, such as a data connection of FTP.
type Expected struct {
	At
	Flow    *Flow      // the conversation
	Orig    netip.Addr // who will open the connection
	Resp    netip.AddrPort
	Service string // what it is to be called
}

// Awaited is an event of a flow that counts only if the flow was announced as Service: see Expectations. A flow and the
// conversation that announces it may be in different shards, so whoever reads the flow cannot know.
type Awaited struct {
	At
	Flow    *Flow
	Service string
	Event   any
}

// ExpectFor is how long a connection may be in coming after it was arranged: Zeek waits as long.
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
	from, till Time
	service    string
}

// Expectations is the table of announced connections of a run. It stands where the events of all shards are in the order of
// their packets, so that it says the same for any number of workers: what is announced counts for flows that began in its time,
// whichever shard they are in. It must see *Expected and *Conn, the latter before they are written, and gives those the names
// that were announced. The zero value is ready.
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
	case *Conn:
		if len(x.waiting) == 0 || e.Flow == nil || e.Flow.Proto != ProtoTCP {
			return
		}
		if s, ok := x.expected(e.Flow); ok && !slices.Contains(e.Services, s) {
			e.Services = append(e.Services, s)
		}
	}
}

// Announced reports whether the flow of an event was announced as the event wants it.
func (x *Expectations) Announced(a *Awaited) bool {
	s, ok := x.expected(a.Flow)
	return ok && s == a.Service
}

// expected says what a flow is, if it was announced.
func (x *Expectations) expected(f *Flow) (service string, ok bool) {
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
