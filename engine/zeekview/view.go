// Package zeekview says what Zeek's logs tell of what was on the wire.
//
// raytap reads more than Zeek does: HTTP, TLS and mail out of connections whose beginning was not captured, bytes in
// packets whose checksum is wrong and which the receiver acknowledged, messages after a loss or after a line that is none of
// HTTP, DNS on any port. Decoders emit all of it and detectors get all of it. The rows of Zeek's logs stay as their readers
// know them: this package leaves out what Zeek would not have read, unless Options.More is set. Rows that Zeek does not
// have (HTTP/2, Ray, mining) pass as they are.
//
// Its other files hold the rest of Zeek's bookkeeping: which services Zeek looks for where (Admits), a row a day for a
// certificate (certificates.go), the rows of tunnel.log (tunnels.go) and how often a weird is written (weirds.go). A new decoder
// whose log Zeek has too gets a function here, and a case in View.row.
package zeekview

import (
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/tls"
)

// Options of a View.
type Options struct {
	// More gives rows also of what Zeek would not have read.
	More bool
}

// Provenance says what is known of the packets that an event was read out of.
type Provenance struct {
	// Doubted: there were wrong checksums among them that were believed; Zeek drops such packets.
	Doubted bool
	// Begun, if Doubted: the SYN of the flow had a right checksum, so that Zeek sees the flow begin.
	Begun bool
}

// View gives events their rows. It belongs to one goroutine, which sees events in the order of their packets.
type View struct {
	more    bool
	certs   certificates
	weirds  *weirdFilter
	tunnels *tunnelLog
}

// New makes a View; say takes the rows of tunnel.log, which no single event has.
func New(opt Options, say func(row capture.Record)) *View {
	return &View{more: opt.More, weirds: newWeirdFilter(), tunnels: newTunnelLog(say)}
}

// Tunnels takes the next event of any kind, and says the rows that it makes in tunnel.log.
func (v *View) Tunnels(ev any) { v.tunnels.event(ev) }

// Weird reports whether an oddity is to be written: not one that Zeek ignores, nor the same again within its time.
func (v *View) Weird(x *capture.Weird) bool { return v.weirds.pass(x) }

// Row gives what the logs tell of an event: itself, a part of it, or nil for nothing. The event stays as it is.
func (v *View) Row(ev any, p Provenance) capture.Record {
	if x, ok := ev.(*tls.Certificate); ok && !x.Doubted && !v.certs.first(x) {
		return nil
	}
	return Options{More: v.more}.row(ev, p)
}

// Alone is View.Row for a caller that sees only some of the events, in any order. ok is false where the row depends on other
// events: of certificates and oddities on those before, and what a piece of a file looks like on the other pieces.
func (o Options) Alone(ev any, p Provenance) (row capture.Record, ok bool) {
	switch ev.(type) {
	case *tls.Certificate, *capture.Weird:
		return nil, false
	}
	row = o.row(ev, p)
	if t, ok := row.(*http.Transaction); ok && t.Unnamed() {
		return nil, false
	}
	return row, true
}

func (o Options) row(ev any, p Provenance) capture.Record {
	r, ok := ev.(capture.Record)
	if !ok || o.More {
		return r
	}
	return row(r, p)
}

// row is Row for one who wants what Zeek has.
func row(r capture.Record, p Provenance) capture.Record {
	switch x := r.(type) {
	case *http.Switched:
		return row(&x.Transaction, p)
	case *http.Transaction:
		if x.HTTP2() {
			return x
		}
		return httpRow(x, p)
	case *http.Late:
		if x.Flow.Mid || p.Doubted {
			return nil
		}
	case *file.File:
		return fileRow(x, p)
	case *tls.Session:
		return sessionRow(x, p)
	case *tls.Certificate:
		if x.Flow.Mid || x.Doubted || p.unseen() {
			return nil
		}
	case *dns.Transaction:
		return dnsRow(x, p)
	case *socks.Request:
		if p.Doubted {
			return nil
		}
	}
	return r
}

// unseen reports whether Zeek does not see the flow begin, and so reads nothing of it. It is for events that know
// themselves which of their halves were checked.
func (p Provenance) unseen() bool { return p.Doubted && !p.Begun }

// httpRow leaves out the half that Zeek did not read, and the bodies that began in bytes which it did not see.
func httpRow(x *http.Transaction, p Provenance) capture.Record {
	q, a := x.Request, x.Response
	if q != nil && (q.Resumed || q.Doubted) {
		q = nil
	}
	if a != nil && (a.Resumed || a.Doubted) {
		a = nil
	}
	if x.Flow.Mid || p.unseen() || q == nil && a == nil {
		return nil
	}
	if a != nil && a.Raw != nil {
		a = a.Raw
	}
	if q != nil && q.Body.Unseen {
		head := *q
		head.Body = http.Body{}
		q = &head
	}
	if a != nil && a.Body.Unseen {
		head := *a
		head.Body = http.Body{}
		a = &head
	}
	if q == x.Request && a == x.Response {
		return x
	}
	part := *x
	part.Request, part.Response = q, a
	if q == nil && x.Request != nil {
		part.At = a.At
	}
	return &part
}

// fileRow is for files.log. Zeek follows SMB from the middle of a connection.
func fileRow(x *file.File, p Provenance) capture.Record {
	switch {
	case x.Source == "HTTP2" || x.Source == "GRPC":
		return x
	case p.unseen(), x.Flow.Mid && x.Source != "SMB", x.Resumed, p.Doubted && !x.Checked:
		return nil
	}
	return x
}

// sessionRow gives what of a handshake was in packets with right checksums.
func sessionRow(x *tls.Session, p Provenance) capture.Record {
	if x.Flow.Mid || p.unseen() {
		return nil
	}
	if c := x.Checked(); c != nil {
		return c
	}
	return nil
}

// dnsRow is for dns.log. A datagram stands alone, so that of UDP a transaction knows which half Zeek has; of TCP it has the
// stream or nothing.
func dnsRow(x *dns.Transaction, p Provenance) capture.Record {
	if p.Doubted {
		if x.Flow.Proto != capture.ProtoUDP {
			return nil
		}
		if x = x.Checked(); x == nil {
			return nil
		}
	}
	if x.Unlogged || !dns.Port(x.Flow.Proto, x.Flow.Resp.Port()) {
		return nil
	}
	return x
}

// Admits reports whether Zeek would look for a service in a flow; with mid, in one that was picked up in the middle or at a
// later beginning, whose host may be nil.
func Admits(h capture.Host, mid bool, service string) bool {
	switch service {
	case "http", "ssl", "websocket":
		return !mid
	case "dns":
		f := h.Flow()
		return dns.Port(f.Proto, f.Resp.Port())
	}
	return true
}
