package join

import (
	"slices"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/fleet/observe"
	"github.com/raytap/raytap/interpreters/aiservices"
	"github.com/raytap/raytap/interpreters/ray"
)

// Where there are several ways through a network, a connection may come one way and its answers go another, with a tap on each. Each tap
// has requests without answers, or answers without requests. What belongs together is put together here, and read anew as a call to Ray or
// to a product like it.

const (
	// A half waits so long for the other, from what was told of it last. Both ends close within a round trip; a tap tells of the end of a
	// closed connection up to six seconds later, and of requests without answers not before.
	halfWait = capture.Time(15e9)
	maxHalf  = 64 // HTTP messages of one that are kept
	maxHalve = 4096
)

// half is what a tap saw of a connection of which it saw one direction.
type half struct {
	f        *flow
	s        *Sensor
	uid      string
	client   bool // it is the client's direction
	messages []*item
	rest     []*item // what was read from them, by the sensor
	conn     *item
	deadline capture.Time
	done     bool
}

// oneWay reports whether a connection was more than an attempt, and the tap saw one direction of it; and whether that is the client's.
func oneWay(c *capture.Conn) (client, ok bool) {
	if c.Flow.Proto != capture.ProtoTCP || (c.Pkts[0] == 0) == (c.Pkts[1] == 0) || !strings.ContainsAny(c.History, "ADad") {
		return false, false
	}
	switch {
	case strings.ContainsAny(c.History, "Ss"):
		return true, true
	case strings.ContainsAny(c.History, "Hh"):
		return false, true
	}
	return false, false // it was picked up later: nobody knows
}

// side is what a sensor saw of a connection of which it saw one direction.
type side struct {
	client bool
	turned bool // the sensor took the server for who opened it
}

// markHalves finds the connections of a pack of which the sensor saw one direction.
func markHalves(events []observe.Event) map[string]side {
	var all map[string]side
	for i := range events {
		if c, ok := events[i].Event.(*capture.Conn); ok {
			if client, ok := oneWay(c); ok {
				if all == nil {
					all = map[string]side{}
				}
				all[c.Flow.UID] = side{client, client != (c.Pkts[0] > 0)}
			}
		}
	}
	return all
}

// turn puts right who opened the connection that has carried more.
func (s side) turn(x *item) {
	p, ok := x.Event.Event.(*capture.Progress)
	if !ok || !s.turned {
		return
	}
	flow, turned := *p.Flow, *p
	flow.Orig, flow.Resp = flow.Resp, flow.Orig
	turned.Flow, turned.Bytes = &flow, [2]uint64{p.Bytes[1], p.Bytes[0]}
	x.Event.Event, x.Flow = &turned, &flow
}

// isHalf reports whether an event waits for its other half, or goes with one that does.
func isHalf(ev any, client bool) bool {
	switch x := ev.(type) {
	case *http.Transaction:
		return client && x.Response == nil || !client && x.Request == nil
	case *capture.Conn, *ray.Call, *aiservices.Banner, *secrets.Seen:
		return true
	}
	return false
}

// halve keeps an event until the other half is there.
func (j *Joiner) halve(f *flow, x *item) {
	uid := x.uid
	i := slices.IndexFunc(f.halves, func(h *half) bool { return h.s == x.s && h.uid == uid })
	if i < 0 {
		if len(j.halves) >= maxHalve {
			j.single(j.halves[0])
		}
		h := &half{f: f, s: x.s, uid: uid, client: x.client, deadline: x.Time + halfWait}
		f.halves, j.halves = append(f.halves, h), append(j.halves, h)
		i = len(f.halves) - 1
	}
	h := f.halves[i]
	h.deadline = x.Time + halfWait
	if n := slices.IndexFunc(f.taps, func(t tap) bool { return t.s == x.s && t.uid == uid }); n >= 0 {
		f.taps[n].half = true
	}
	switch {
	case x.Kind == "conn":
		h.conn = x
	case x.Kind != "http":
		h.rest = append(h.rest, x)
	case len(h.messages) < maxHalf:
		h.messages = append(h.messages, x)
	}
	if h.conn == nil {
		return
	}
	for _, o := range f.halves {
		if o.client != h.client && o.s != h.s && o.conn != nil && !o.done {
			if h.client {
				j.unite(h, o)
			} else {
				j.unite(o, h)
			}
			return
		}
	}
}

// waitsFor reports whether an event is one of a half, given what is known of its connection by now. An answer without a request waits
// until the sensor tells of the end of the connection, and with it whether it saw both directions.
func (f *flow) waitsFor(x *item) bool {
	if x.half {
		return true
	}
	if slices.ContainsFunc(f.taps, func(t tap) bool { return t.whole && t.s == x.s && t.uid == x.uid }) {
		return false
	}
	switch y := x.Event.Event.(type) {
	case *http.Transaction:
		return y.Request == nil
	case *ray.Call, *aiservices.Banner, *secrets.Seen:
		return slices.ContainsFunc(f.halves, func(h *half) bool { return h.s == x.s && h.uid == x.uid && !h.done && h.conn == nil })
	}
	return false
}

// known lets go what waited to know whether the sensor saw both directions of the connection, when it did.
func (j *Joiner) known(f *flow, x *item) {
	for _, h := range f.halves {
		if h.s == x.s && h.uid == x.uid && !h.done {
			j.single(h)
		}
	}
}

// expire lets halves go whose others did not come until then.
func (j *Joiner) expire(until capture.Time) {
	for len(j.halves) > 0 && (j.halves[0].done || j.halves[0].deadline < until) {
		h := j.halves[0]
		if h.done {
			j.halves = j.halves[1:]
			continue
		}
		j.single(h)
	}
}

// single takes a half as it is. If another tap saw both directions, that has told of it.
func (j *Joiner) single(h *half) {
	h.done = true
	if h.f.wholeBut(h.s) {
		h.s.Twice++
		j.alsoSeen(h.f, h.s)
		return
	}
	all := slices.Concat(h.messages, h.rest)
	if h.conn != nil {
		all = append(all, h.conn)
	}
	slices.SortFunc(all, func(a, b *item) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for _, x := range all {
		j.plain(x)
	}
}

// unite takes two halves as the connection that they are.
func (j *Joiner) unite(c, s *half) {
	c.done, s.done = true, true
	f := c.f
	if f.wholeBut(nil) {
		for _, h := range [2]*half{c, s} {
			h.s.Twice++
			j.alsoSeen(f, h.s)
		}
		return
	}
	for i := range f.taps {
		f.taps[i].whole = true // what else one of them tells is known
	}
	if n := slices.IndexFunc(f.taps, func(t tap) bool { return t.s == c.s && t.uid == c.uid }); n >= 0 {
		f.uid, f.start = c.uid, c.conn.start
	}
	order := func(a, b *item) int {
		return a.Event.Event.(*http.Transaction).Depth - b.Event.Event.(*http.Transaction).Depth
	}
	slices.SortStableFunc(c.messages, order)
	slices.SortStableFunc(s.messages, order)
	j.at, j.by = f, c.s
	for i := range max(len(c.messages), len(s.messages)) {
		var t http.Transaction
		if i < len(c.messages) {
			t = *c.messages[i].Event.Event.(*http.Transaction)
		}
		if i < len(s.messages) {
			a := s.messages[i].Event.Event.(*http.Transaction)
			if t.Request == nil {
				t = *a
			}
			t.Response = a.Response
		}
		f.rename(t.Flow)
		j.guarded(func() {
			j.det.Event(&t, 0)
			for _, ev := range j.interpret.Interpret(&t, nil) {
				j.det.Event(ev, 0)
			}
		})
	}
	conn := united(c.conn.Event.Event.(*capture.Conn), s.conn.Event.Event.(*capture.Conn))
	f.rename(conn.Flow)
	j.guarded(func() { j.det.Event(conn, 0) })
	j.at, j.by = nil, nil
}

// united is the end of a connection of which two taps saw a direction each. Its state is that of Zeek's conn.log.
func united(client, server *capture.Conn) *capture.Conn {
	c := *client
	flow := *client.Flow
	c.Flow = &flow
	side := func(x *capture.Conn) int {
		if x.Pkts[0] == 0 {
			return 1
		}
		return 0
	}
	from, to := side(client), side(server)
	if from == 1 { // the tap took the server for who opened it
		flow.Orig, flow.Resp = flow.Resp, flow.Orig
		c.Local[0], c.Local[1] = c.Local[1], c.Local[0]
	}
	c.Bytes = [2]uint64{client.Bytes[from], server.Bytes[to]}
	c.Pkts = [2]uint64{client.Pkts[from], server.Pkts[to]}
	c.IPBytes = [2]uint64{client.IPBytes[from], server.IPBytes[to]}
	c.Missed = client.Missed + server.Missed
	c.Duration = max(client.Duration, server.Duration)
	c.History = strings.ToUpper(client.History) + strings.ToLower(server.History)
	for _, s := range server.Services {
		if !slices.Contains(c.Services, s) {
			c.Services = append(slices.Clone(c.Services), s)
		}
	}
	fin := func(x *capture.Conn) bool { return strings.ContainsAny(x.History, "Ff") }
	reset := func(x *capture.Conn) bool { return strings.ContainsAny(x.History, "Rr") }
	switch {
	case fin(client) && fin(server):
		c.State = "SF"
	case reset(client):
		c.State = "RSTO"
	case reset(server):
		c.State = "RSTR"
	case fin(client):
		c.State = "S2"
	case fin(server):
		c.State = "S3"
	default:
		c.State = "S1"
	}
	return &c
}
