// Package capture turns frames into packets, packets into flows and flows into ordered bytes.
//
// In: capture files and interfaces (Source). Out: flow records (Conn), progress of living flows (Progress),
// oddities (Weird) and, per flow, the payload of each direction in order (Stream). It is the only package that
// imports gopacket.
//
// It does not see what the bytes mean: that is the business of package decoders.
package capture

import (
	"net/netip"
	"time"
)

// Time is packet time in nanoseconds since the Unix epoch: the only clock of everything behind a Source.
type Time int64

// Seconds gives t as seconds since the epoch, as Zeek's logs print it.
func (t Time) Seconds() float64 { return float64(t) / 1e9 }

// Micros gives whole microseconds since the epoch, cut towards the past: what a capture in microseconds, and Zeek, have of t.
func (t Time) Micros() int64 {
	us := int64(t) / 1000
	if int64(t)%1000 < 0 {
		us--
	}
	return us
}

// Std converts to the standard library's type, in UTC.
func (t Time) Std() time.Time { return time.Unix(0, int64(t)).UTC() }

// Sub gives the duration t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Add gives t+d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Dir is the direction of bytes in a flow.
type Dir uint8

// The two directions. The originator opened the flow, or is believed to have done so.
const (
	Orig Dir = 0
	Resp Dir = 1
)

// Peer is the other direction.
func (d Dir) Peer() Dir { return d ^ 1 }

func (d Dir) String() string {
	if d == Orig {
		return "orig"
	}
	return "resp"
}

// At says when something was seen: the packet's time and its ordinal, the frame number of the capture counted
// from 1, which is what Wireshark shows and `go to packet` takes.
type At struct {
	Time   Time
	Packet uint64
}

// When is the place itself, for those who hold an event as any.
func (a At) When() At { return a }

// Flow is the identity of a flow, as every event carries it. It is immutable once an event has it.
type Flow struct {
	UID        string         // Zeek style, C + 17 characters; a hash of tuple and start, equal in every run
	Start      Time           // time of the first packet
	Orig, Resp netip.AddrPort // for ICMP the ports are type and counterpart type or code, as Zeek has them
	Tunnels    []string       // UIDs of the tunnels it ran in, outermost first; mostly nil
	Proto      uint8          // IP protocol number
	Mid        bool           // TCP that was picked up after its beginning: who opened it is a guess
	oneWay     bool           // of ICMP: there is no counterpart
	uid        [uidLen]byte   // what UID is made of: one allocation for both
	Via        *Via           // a proxy opened it for somebody else; mostly nil
}

// Via is a flow whose sender names another, for whom it speaks, as load balancers do (PROXY protocol). Where that is
// believed the Flow's Orig is that other: detectors take it for the client. Rows keep what the wire says.
type Via struct {
	Wire     *Flow          // as its packets have it, or as an outer header had it
	Client   netip.AddrPort // who was named
	Packet   uint64         // that said so
	Believed bool
}

// Wire is the flow as its packets have it.
func (f *Flow) Wire() *Flow {
	for f != nil && f.Via != nil {
		f = f.Via.Wire
	}
	return f
}

// For gives the flow as one in which the originator speaks for v.Client, whoever it spoke for before.
func (f *Flow) For(v Via) *Flow {
	c := *f
	v.Wire = f
	if c.Via = &v; v.Believed {
		c.Orig = v.Client
	}
	return &c
}

// IP protocol numbers that the engine knows by name.
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
	ProtoSCTP   = 132
)

// ProtoName is Zeek's transport name: tcp, udp, icmp or unknown_transport.
func ProtoName(p uint8) string {
	switch p {
	case ProtoTCP:
		return "tcp"
	case ProtoUDP:
		return "udp"
	case ProtoICMP, ProtoICMPv6:
		return "icmp"
	}
	return "unknown_transport"
}

// Src is the address that sends in direction d.
func (f *Flow) Src(d Dir) netip.AddrPort {
	if d == Orig {
		return f.Orig
	}
	return f.Resp
}

// Dst is the address that receives in direction d.
func (f *Flow) Dst(d Dir) netip.AddrPort { return f.Src(d.Peer()) }

// Weird is something that a well-behaved network does not do, by Zeek's name where Zeek has one.
type Weird struct {
	At
	Flow *Flow          // nil when the packet belongs to no flow
	Src  netip.AddrPort // used when Flow is nil; may be invalid
	Dst  netip.AddrPort
	Name string
	Addl string // detail, bounded, may be empty
	From string // what noticed it, upper case as Zeek writes its analyzers: TCP, HTTP, DNS, IP; may be empty
}

// Progress says that a living flow has moved bytes since it was last told of. Sums of the deltas over the life of
// a flow equal its totals exactly.
type Progress struct {
	At
	Flow *Flow
	// Payload bytes since the last Progress of this flow, by direction; from headers, gaps included.
	Bytes [2]uint64
	// Guessed is set when the flow was picked up mid-stream and its direction is a guess.
	Guessed bool
}
