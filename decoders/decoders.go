// Package decoders is the contract between ordered bytes and typed events, and the machine that finds the decoder
// for a stream (Mux).
//
// In: payload of one flow, direction by direction, in order. Out: events, plain structs that own their memory. Each
// protocol is a folder below this one; it exports a Spec, and one line in the engine's registry turns it on. A
// decoder never imports another; what is spoken over HTTP is read by an interpreter, out of its events (package interpreters).
//
// A protocol is chosen by its bytes: a probe sees the beginning of both directions and no port.
package decoders

import (
	"errors"
	"net/netip"

	"github.com/raytap/raytap/capture"
)

// Decoder reads one flow.
//
// The stream holds the bytes, the decoder holds the state: Decode is offered all bytes of a direction that are
// there and not used yet, returns how many it used, and is offered the rest again with more behind it. (0, nil)
// means "more, please". After Decode made progress the other direction's held bytes are offered again, so a decoder
// that must wait for an answer may leave bytes unused. b is borrowed: valid only during the call.
//
// An error means "this is not my protocol after all" and detaches the decoder; ErrSwitch ends it in good order.
// For datagrams Decode is called once for each, with all of it; what is not used is dropped.
type Decoder interface {
	Decode(dir capture.Dir, b []byte) (used int, err error)
	// Gap says that n bytes of dir, between what was used and what comes next, were never captured. Bytes that were
	// held are gone. With false the decoder gives up and is detached.
	Gap(dir capture.Dir, n int64) (ok bool)
	// End says that dir sends no more: FIN, RST, or the end of the flow. It is called at most once for each direction,
	// and always before the decoder is dropped, unless Decode returned an error. Events that wait are to be emitted now.
	End(dir capture.Dir)
}

// Releaser is a Decoder that can be used again. Release says that it will not be called any more for this flow.
type Releaser interface{ Release() }

// Rester is a Decoder of datagrams that may be done before its flow is: see capture.Rester. It is released then, without
// an End.
type Rester interface{ Rest() bool }

// ErrSwitch ends a decoder at an agreed place: the stream goes on in another protocol (CONNECT, Upgrade, SOCKS). What
// Decode did not use, and everything the other direction holds, is probed afresh.
var ErrSwitch = errors.New("decoders: protocol switch")

// Context is what a decoder knows of its flow and how it speaks.
type Context interface {
	// Flow is the identity that events carry. It may differ between calls until the first Emit, not after.
	Flow() *capture.Flow
	// At is the packet that is being decoded; in End, the last packet of the flow or the moment of its time-out.
	At() capture.At
	// Emit hands an event on. The event owns its memory: nothing in it may alias b.
	Emit(ev any)
	// Weird reports an oddity by Zeek's name where Zeek has one. addl is copied.
	Weird(name, addl string)
	// Confirm says that the bytes are this protocol; service is written into the service column of conn.log.
	Confirm(service string)
	// Refute takes that back: what came later is not this protocol. Late refusals do not count, see capture.Host.
	Refute(service string)
	// Skip marks the flow's history where Zeek stops looking at it.
	Skip()
	// Nest opens a stream inside this one (WebSocket messages, say), which is probed and decoded on its own.
	Nest() Nested
}

// Doubter is a Context that knows whether the packet that is being decoded has a wrong checksum and is believed all the
// same. Zeek reads no such packet.
type Doubter interface{ Doubted() bool }

// Doubtful is a Decoder that may read on in bytes of which it is not sure. As long as it is not, and has confirmed no
// name, a later beginning of another protocol takes the stream from it, with an End of both directions. What one that is
// not sure leaves with an error is as unknown as before.
type Doubtful interface{ Doubtful() bool }

// Later is a Context that knows whether its decoder was begun at a later beginning. What the other direction says may
// start inside a message then, and what came before is not known.
type Later interface{ Later() bool }

// Speaker is a Context that can be told, before the protocol switches, that the originator speaks for somebody else.
// With believed it is the one in what Flow gives from then on: see capture.Via.
type Speaker interface {
	For(client netip.AddrPort, believed bool)
}

// Ender is a Context that knows, in End, whether the stream was closed or only heard no more.
type Ender interface{ Closed() bool }

// Nested is a stream carried inside another protocol.
type Nested interface {
	Data(dir capture.Dir, b []byte)
	Gap(dir capture.Dir, n int64)
	End(dir capture.Dir)
}

// Follower reads a conversation that another decoder recognises and steps through: it is offered, once and borrowed,
// what that decoder has used.
type Follower interface {
	Nested
	// Done says that nothing more will come of it.
	Done() bool
}

// Sated is a Follower that may want no more of one direction.
type Sated interface {
	Follower
	// Sated reports whether what still comes in a direction changes nothing, however much it is.
	Sated(dir capture.Dir) bool
}

// IsSated reports whether f wants no more of a direction.
func IsSated(f Follower, dir capture.Dir) bool {
	s, ok := f.(Sated)
	return f.Done() || ok && s.Sated(dir)
}

// Verdict is a probe's answer.
type Verdict uint8

// The four answers of a probe.
const (
	No      Verdict = iota // cannot be this protocol
	Maybe                  // needs more bytes
	Yes                    // it is, and the originator is the client
	Flipped                // it is, but the flow's originator is the server
)

// Probe looks at the beginning of both directions (either may be empty) and says whether this could be the protocol.
// mid is set when the flow was picked up after its beginning, so that the bytes may start inside a message; a probe
// should then be as strict as it can.
type Probe func(orig, resp []byte, mid bool) Verdict

// Again finds a protocol at a later beginning: in a stream that began as nothing known, that was picked up or lost in
// the middle, or that was left. It is asked where a segment begins, as long as the flow lives, so it must be strict and
// quick: bulk traffic of any kind is offered to it.
type Again struct {
	// First has the two bytes that a beginning may begin with, all there are: no other is looked at. None: it is not
	// looked for.
	First []string
	// Lines says that lines within the first segments are beginnings, too.
	Lines bool
	// Once says that a decoder that has left a stream with an error has seen enough of it.
	Once bool
	// Probe is a Probe of what came from the beginning on. turn says that it was its sender's turn: the peer has spoken
	// since the sender did, or the sender has said next to nothing. Inside of a long transfer what looks like a request
	// is more likely to be a part of what is transferred.
	Probe func(orig, resp []byte, turn bool) Verdict
}

// Spec registers a decoder. The first Spec whose probe says Yes gets the flow, in the order that Order makes of what Specs
// declare: Preface, then those whose bytes are nothing else's, then Any, and within these by After.
type Spec struct {
	Name     string // as the service column has it: http, dns
	Stream   Probe  // for TCP and nested streams; nil: not over streams
	Datagram Probe  // for UDP, resp is always empty when orig is not; nil: not over datagrams
	New      func(ctx Context) Decoder
	Again    Again
	// Preface says that it stands before another protocol in the same stream.
	Preface bool
	// Any says that the probe takes bytes which may be anything else too: text of any kind, a file as it is.
	Any bool
	// After has those that must be asked before, with the reason: bytes that both say Yes to.
	After []After
}

// After is a reason for an order.
type After struct{ Name, Why string }

// Set is a list of Specs, at most 64, made ready for Muxes of any number of flows.
type Set struct {
	specs []Spec
	again uint64       // those with an Again
	lines uint64       // of them, those with Lines
	first *[256]uint64 // by byte, those whose Again may begin with it; nil: none has one
	mark  [4]uint64    // bit by byte: whether there are any
	pairs *[1 << 16 / 64]uint64
	// Admits, if set, says which services that were found at a later beginning a flow's row names.
	Admits func(service string) bool
}

// NewSet makes a Set; it keeps specs, which are asked in their order.
func NewSet(specs []Spec) *Set {
	if len(specs) > maxSpecs {
		panic("decoders: more than 64 Specs")
	}
	s := &Set{specs: specs}
	for i := range specs {
		a := &specs[i].Again
		if len(a.First) == 0 {
			continue
		}
		if s.first == nil {
			s.first, s.pairs = new([256]uint64), new([1 << 16 / 64]uint64)
		}
		s.again |= 1 << i
		if a.Lines {
			s.lines |= 1 << i
		}
		for _, p := range a.First {
			c, n := p[0], uint16(p[0])<<8|uint16(p[1])
			s.first[c] |= 1 << i
			s.mark[c>>6] |= 1 << (c & 63)
			s.pairs[n>>6] |= 1 << (n & 63)
		}
	}
	return s
}

// begins says whether any Again may begin with the bytes of b, of which there is one at least.
func (s *Set) begins(b []byte) bool {
	c := b[0]
	if s.mark[c>>6]>>(c&63)&1 == 0 {
		return false
	}
	if len(b) == 1 {
		return true
	}
	n := uint16(c)<<8 | uint16(b[1])
	return s.pairs[n>>6]>>(n&63)&1 != 0
}
