package decoders

import (
	"errors"
	"strings"
	"sync"

	"github.com/raytap/raytap/capture"
)

// Host is the flow that a Mux works for.
type Host interface {
	// Flow is the flow's identity; asking for it fixes it (see Flip).
	Flow() *capture.Flow
	At() capture.At
	Emit(ev any)
	// Service adds a name to the service column of the flow's conn.log row.
	Service(name string)
	// Refute removes a name from it.
	Refute(name string)
	// Skip marks the history of that row.
	Skip()
	// Flip exchanges originator and responder, as long as no event has carried the flow's identity; false if one has.
	Flip() bool
}

const (
	// A probe that cannot say after this many bytes of one direction never will: the longest beginning that any
	// protocol here needs is an HTTP request line, and servers cut those at 8 KiB.
	probeLimit = 8 << 10
	// Bytes a decoder may leave unused in one direction. The largest unit that must be whole is an HTTP head or a
	// stratum line, both bounded at 64 KiB by their decoders; twice that leaves room for what came with it.
	holdLimit = 128 << 10
	// Datagrams that are probed before the flow is left alone. DNS answers its first; eight forgive a few
	// lost or foreign ones.
	probeDatagrams = 8
	// Losses behind each of which a stream that nobody knows is probed anew. A capture that cuts all packets short has one
	// in each, and a bulk flow in it would be probed for ever, in twice the time of all else that is done to a packet.
	probeGaps = 256
	// Streams within streams: WebSocket in CONNECT in SOCKS is three.
	nestLimit = 4
)

type muxState uint8

const (
	probing muxState = iota
	decoding
	idle // nothing here for us, or it ended
)

// Mux finds the decoder of a stream or of datagrams and feeds it. The zero value is not ready: NewMux.
type Mux struct {
	host      Host
	specs     []Spec
	dec       Decoder
	spec      *Spec
	held      [2][]byte // while probing, the beginnings; while decoding, what was not used
	out       uint64    // specs that said No, by index
	depth     uint8
	datagrams uint8
	gaps      uint16 // while probing
	state     muxState
	mid       bool // the next bytes may start inside a message
	swapped   bool // the originator is the server and the host would not flip
	turned    bool // the other direction is being offered in between
	ended     [2]bool
	over      bool // Finish was called
	flipped   *capture.Flow
}

// spare are those at rest.
var spare = sync.Pool{New: func() any { return new(Mux) }}

// NewMux makes a Mux over specs (at most 64) for one flow. mid says that the flow was picked up mid-stream.
func NewMux(host Host, specs []Spec, mid bool) *Mux {
	m := spare.Get().(*Mux)
	m.host, m.specs, m.mid = host, specs, mid
	return m
}

// Idle says that nothing more will come of this stream: its bytes need not be put in order any more.
func (m *Mux) Idle() bool { return m.state == idle }

// Decoder names the Spec that is in charge, "" if none is.
func (m *Mux) Decoder() string {
	if m.spec == nil {
		return ""
	}
	return m.spec.Name
}

// Data takes the next bytes of a direction, borrowed.
func (m *Mux) Data(dir capture.Dir, b []byte) {
	if len(b) == 0 || m.state == idle {
		return
	}
	if m.swapped {
		dir = dir.Peer()
	}
	if m.state == probing && len(m.held[0]) == 0 && len(m.held[1]) == 0 {
		// The first bytes mostly decide, and all of them are of use: they need not be kept to be offered.
		var said [2][]byte
		said[dir] = b
		s, flip, _ := m.ask(said[0], said[1])
		if s != nil {
			m.turn(flip)
			if flip {
				dir = dir.Peer()
			}
			m.spec, m.state = s, decoding
			m.dec = s.New(m)
			m.feed(dir, b)
			m.tellEnded()
			return
		}
	}
	if m.state == probing {
		room := probeLimit + holdLimit - len(m.held[dir])
		m.held[dir] = append(m.held[dir], b[:min(len(b), room)]...)
		m.probe()
		return
	}
	m.feed(dir, b)
}

// feed gives the decoder the next bytes of a direction.
func (m *Mux) feed(dir capture.Dir, b []byte) {
	if len(m.held[dir]) == 0 {
		rest := m.decode(dir, b)
		if m.state == decoding && len(rest) == len(b) {
			m.hold(dir, rest)
			return // no progress: the other direction has nothing to gain
		}
		b = rest
	}
	for len(b) > 0 && m.state != idle {
		b = m.hold(dir, b)
		if m.state != decoding {
			break
		}
		m.offer(dir)
	}
	m.pump(dir.Peer())
}

// pump offers held bytes to the decoder, one direction after the other, until neither gets further.
func (m *Mux) pump(dir capture.Dir) {
	for idleTurns := 0; idleTurns < 2; dir = dir.Peer() {
		if m.state == probing {
			m.probe()
			return
		}
		if m.state == decoding && m.offer(dir) {
			idleTurns = 0
			continue
		}
		idleTurns++
	}
}

// offer offers what is held of dir and says whether any of it was used.
func (m *Mux) offer(dir capture.Dir) bool {
	held := m.held[dir]
	if len(held) == 0 {
		return false
	}
	rest := m.decode(dir, held)
	if m.state == idle {
		return false
	}
	used := len(held) - len(rest)
	if used > 0 {
		m.held[dir] = held[:copy(held, rest)]
	}
	if len(m.held[dir]) == 0 && cap(held) > 4<<10 {
		m.held[dir] = nil // a long hold is rare; do not keep its buffer for the life of the flow
	}
	return used > 0 || m.state != decoding
}

// hold keeps as much of b as there is room for behind what is held already, and returns the rest. A decoder that has
// no use for a full hold is not one for these bytes.
func (m *Mux) hold(dir capture.Dir, b []byte) []byte {
	n := min(len(b), holdLimit-len(m.held[dir]))
	if n == 0 {
		m.Weird("decoder_hold_limit", "")
		if m.state == decoding {
			m.quit()
		}
		m.detach()
		return nil
	}
	m.held[dir] = append(m.held[dir], b[:n]...)
	return b[n:]
}

// quit tells the decoder of the end of what has not ended yet.
func (m *Mux) quit() {
	for d := range m.ended {
		if !m.ended[d] && m.state == decoding {
			m.dec.End(capture.Dir(d))
		}
	}
}

// decode calls the decoder until it takes no more of b, and returns what is left. It may change the state.
func (m *Mux) decode(dir capture.Dir, b []byte) []byte {
	for len(b) > 0 && m.state == decoding {
		used, err := m.dec.Decode(dir, b)
		if used < 0 || used > len(b) {
			panic("decoders: " + m.spec.Name + " used more than it was offered")
		}
		b = b[used:]
		switch {
		case errors.Is(err, ErrSwitch):
			m.dec, m.spec, m.out, m.mid = nil, nil, 0, false
			m.state = probing
			if m.ended[0] && m.ended[1] {
				m.detach()
			}
			return b
		case err != nil:
			m.detach()
			return nil
		case used == 0:
			return b
		}
		if peer := dir.Peer(); len(m.held[peer]) > 0 && !m.turned {
			// What this direction said may be what the other waited for, before this one goes on.
			m.turned = true
			m.offer(peer)
			m.turned = false
		}
	}
	return b
}

func (m *Mux) detach() {
	if r, ok := m.dec.(Releaser); ok {
		r.Release()
	}
	m.dec, m.spec, m.held = nil, nil, [2][]byte{}
	m.state = idle
}

// probe asks the specs about what is held.
func (m *Mux) probe() {
	o, r := m.held[0], m.held[1]
	if len(o) == 0 && len(r) == 0 {
		return
	}
	s, flip, waiting := m.ask(o, r)
	switch {
	case s != nil:
		m.start(s, flip)
	case !waiting || len(o) >= probeLimit || len(r) >= probeLimit:
		m.detach()
	}
}

// ask asks the specs that have not said No, in order; the first Yes wins, but only when no spec before it still says
// Maybe.
func (m *Mux) ask(o, r []byte) (_ *Spec, flip, waiting bool) {
	for i := range m.specs {
		if m.out&(1<<i) != 0 {
			continue
		}
		s := &m.specs[i]
		v := No
		if s.Stream != nil {
			v = s.Stream(o, r, m.mid)
		}
		switch {
		case v == No:
			m.out |= 1 << i
		case v == Maybe:
			waiting = !m.ended[0] || !m.ended[1]
		case !waiting:
			return s, v == Flipped, false
		}
	}
	return nil, false, waiting
}

// start puts s in charge and hands it what is held.
func (m *Mux) start(s *Spec, flip bool) {
	m.turn(flip)
	m.spec, m.state = s, decoding
	m.dec = s.New(m)
	first := capture.Orig
	if len(m.held[first]) == 0 {
		first = capture.Resp
	}
	m.pump(first)
	m.tellEnded()
}

// tellEnded tells a decoder that has begun of directions that had ended before.
func (m *Mux) tellEnded() {
	for d := range m.ended {
		if m.ended[d] && m.state == decoding {
			m.dec.End(capture.Dir(d))
		}
	}
}

func (m *Mux) turn(flip bool) {
	if !flip {
		return
	}
	m.held[0], m.held[1] = m.held[1], m.held[0]
	m.ended[0], m.ended[1] = m.ended[1], m.ended[0]
	if m.depth > 0 || !m.host.Flip() {
		m.swapped = !m.swapped
		m.flipped = nil
	}
}

// Datagram takes one datagram, borrowed.
func (m *Mux) Datagram(dir capture.Dir, b []byte) {
	if m.state == idle || len(b) == 0 {
		return
	}
	if m.state == probing {
		var o, r []byte
		if dir == capture.Orig {
			o = b
		} else {
			r = b
		}
		for i := range m.specs {
			s := &m.specs[i]
			if s.Datagram == nil {
				continue
			}
			if v := s.Datagram(o, r, m.mid); v == Yes || v == Flipped {
				m.turn(v == Flipped)
				m.spec, m.state, m.dec = s, decoding, s.New(m)
				if v == Flipped && !m.swapped {
					dir = dir.Peer()
				}
				break
			}
		}
		if m.state == probing {
			if m.datagrams++; m.datagrams >= probeDatagrams {
				m.detach()
			}
			return
		}
	}
	if m.swapped {
		dir = dir.Peer()
	}
	if _, err := m.dec.Decode(dir, b); err != nil {
		m.detach()
	}
}

// Rest implements capture.Rester. The Mux is not to be used any more then.
func (m *Mux) Rest() bool {
	r, ok := m.dec.(Rester)
	if !ok || m.swapped || !r.Rest() {
		return false
	}
	m.detach()
	*m = Mux{}
	spare.Put(m)
	return true
}

// Gap says that n bytes of dir are missing at this point.
func (m *Mux) Gap(dir capture.Dir, n int64) {
	if m.state == idle || n <= 0 {
		return
	}
	if m.swapped {
		dir = dir.Peer()
	}
	if m.state == probing {
		// Whatever began here cannot be told any more; what comes next may be the middle of something.
		m.mid, m.out = true, 0
		m.held[dir] = m.held[dir][:0]
		if m.gaps++; m.gaps >= probeGaps {
			m.detach()
		}
		return
	}
	m.held[dir] = nil
	if !m.dec.Gap(dir, n) {
		m.detach()
		return
	}
	m.pump(dir.Peer())
}

// End says that dir sends no more.
func (m *Mux) End(dir capture.Dir) {
	if m.swapped {
		dir = dir.Peer()
	}
	if m.ended[dir] {
		return
	}
	m.ended[dir] = true
	if m.state == decoding {
		m.dec.End(dir)
		if m.state == decoding {
			m.pump(dir.Peer())
		}
	}
	if m.ended[0] && m.ended[1] {
		if m.state == probing {
			m.probe() // with no more to come, Maybe is No
		}
		m.detach()
	}
}

// Finish ends both directions, the originator's first.
func (m *Mux) Finish() {
	m.over = true
	m.End(capture.Orig)
	m.End(capture.Resp)
}

// Flow implements Context.
func (m *Mux) Flow() *capture.Flow {
	f := m.host.Flow()
	if !m.swapped {
		return f
	}
	if m.flipped == nil {
		c := *f
		c.Orig, c.Resp = f.Resp, f.Orig
		m.flipped = &c
	}
	return m.flipped
}

// At implements Context.
func (m *Mux) At() capture.At { return m.host.At() }

// Emit implements Context.
func (m *Mux) Emit(ev any) { m.host.Emit(ev) }

// Weird implements Context.
func (m *Mux) Weird(name, addl string) {
	from := ""
	if m.spec != nil {
		from = source(name, m.spec.Name)
	}
	m.host.Emit(&capture.Weird{At: m.host.At(), Flow: m.Flow(), Name: name, Addl: strings.Clone(addl), From: from})
}

// source is what Zeek names as the source of a weird: mostly the protocol, but its scripts have none, and it reads lines
// and inflates elsewhere.
func source(name, spec string) string {
	switch name {
	case "unknown_HTTP_method", "HTTP_response_before_request":
		return ""
	case "line_terminated_with_single_CR":
		return "CONTENTLINE"
	case "inflate_failed":
		return "ZIP"
	}
	return strings.ToUpper(spec)
}

// Confirm implements Context.
func (m *Mux) Confirm(service string) { m.host.Service(service) }

// Refute implements Context.
func (m *Mux) Refute(service string) { m.host.Refute(service) }

// Closed implements Ender.
func (m *Mux) Closed() bool { return !m.over }

// Doubted implements Doubter.
func (m *Mux) Doubted() bool {
	h, ok := m.host.(Doubter)
	return ok && h.Doubted()
}

// Skip implements Context.
func (m *Mux) Skip() { m.host.Skip() }

// Nest implements Context.
func (m *Mux) Nest() Nested {
	if m.depth >= nestLimit {
		m.Weird("decoder_nest_limit", "")
		return &Mux{state: idle}
	}
	return &Mux{host: nest{m}, specs: m.specs, depth: m.depth + 1}
}

// nest is the Host of a stream within a stream.
type nest struct{ outer *Mux }

func (n nest) Flow() *capture.Flow { return n.outer.Flow() }
func (n nest) At() capture.At      { return n.outer.At() }
func (n nest) Emit(ev any)         { n.outer.Emit(ev) }
func (n nest) Service(name string) { n.outer.Confirm(name) }
func (n nest) Refute(name string)  { n.outer.Refute(name) }
func (n nest) Skip()               { n.outer.Skip() }
func (n nest) Flip() bool          { return false }
