// Package zeekview says what Zeek's logs tell of what was on the wire.
//
// raytap reads more than Zeek does: HTTP, TLS and mail out of connections whose beginning was not captured, bytes in
// packets whose checksum is wrong and which the receiver acknowledged, messages after a loss or after a line that is none of
// HTTP, DNS on any port. Decoders emit all of it and detectors get all of it. The rows of Zeek's logs stay as their readers
// know them: this package leaves out what Zeek would not have read, unless Options.More is set. Rows that Zeek does not
// have (HTTP/2, Ray, mining) pass as they are.
//
// Its other files hold the rest of Zeek's bookkeeping: which services Zeek looks for where and which ports it trusts (streams.go), a row a day for a
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

// Row gives what the logs tell of an event: itself, a part of it, or nil for nothing. from is what is known of the flow that it
// was read out of. The event stays as it is.
func (v *View) Row(ev any, from capture.Provenance) capture.Record {
	if x, ok := ev.(*tls.Certificate); ok && !doubted(x.From) && !v.certs.first(x) {
		return nil
	}
	return Options{More: v.more}.row(ev, from)
}

// Alone is View.Row for a caller that sees only some of the events, in any order. ok is false where the row depends on other
// events: of certificates and oddities on those before, and what a piece of a file looks like on the other pieces.
func (o Options) Alone(ev any, from capture.Provenance) (row capture.Record, ok bool) {
	switch ev.(type) {
	case *tls.Certificate, *capture.Weird:
		return nil, false
	}
	row = o.row(ev, from)
	if t, ok := row.(*http.Transaction); ok && t.Unnamed() {
		return nil, false
	}
	return row, true
}

func (o Options) row(ev any, from capture.Provenance) capture.Record {
	if x, ok := ev.(*http.Late); ok {
		ev = lateRow{x}
	}
	r, ok := ev.(capture.Record)
	if !ok || o.More {
		return r
	}
	return row(r, from)
}

// row is Row for one who wants what Zeek has. A case here, and its function, is all that a new decoder with a log of Zeek's needs.
func row(r capture.Record, from capture.Provenance) capture.Record {
	switch x := r.(type) {
	case *http.Switched:
		return row(&x.Transaction, from)
	case *http.Transaction:
		if x.HTTP2() {
			return x
		}
		return httpRow(x, from)
	case lateRow:
		if x.Flow.Mid || doubted(from) {
			return nil
		}
	case *file.File:
		return fileRow(x, from)
	case *tls.Session:
		return sessionRow(x, from)
	case *tls.Certificate:
		if x.Flow.Mid || doubted(x.From) || unseen(from) {
			return nil
		}
	case *dns.Transaction:
		return dnsRow(x, from)
	case *socks.Request:
		if doubted(from) {
			return nil
		}
	}
	return r
}

// doubted reports whether there were packets that Zeek drops.
func doubted(from capture.Provenance) bool { return from.Has(capture.Doubted) }

// unseen reports whether Zeek does not see the flow begin, and so reads nothing of it. It is for events that know
// themselves which of their halves were checked.
func unseen(from capture.Provenance) bool { return doubted(from) && !from.Has(capture.HandshakeSeen) }

// unread reports whether Zeek does not read a message of HTTP, or a file, though it may read others of the flow: after a loss it
// stops, and on ports that are not HTTP's it wants a method that it knows, or an answer.
func unread(from capture.Provenance, f *capture.Flow) bool {
	return from.Has(capture.AfterGap|capture.OtherProtocol) || from.Has(capture.Unconfirmed) && !httpPort(f.Resp.Port())
}

// httpRow leaves out the half that Zeek did not read, and the bodies that began in bytes which it did not see.
func httpRow(x *http.Transaction, from capture.Provenance) capture.Record {
	q, a := x.Request, x.Response
	if q != nil && (doubted(q.From) || unread(q.From, x.Flow)) {
		q = nil
	}
	if a != nil && (doubted(a.From) || unread(a.From, x.Flow)) {
		a = nil
	}
	if x.Flow.Mid || unseen(from) || q == nil && a == nil {
		return nil
	}
	if a != nil && a.Simple != nil {
		a = a.Simple
	}
	if q != nil && q.Body.From != 0 {
		head := *q
		head.Body = http.Body{}
		q = &head
	}
	if a != nil && a.Body.From != 0 {
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

// lateRow is the row of a request whose answer was complete before. Zeek has written the transaction then, with a request that
// has no body, and what is left counts as a transaction of its own.
type lateRow struct{ *http.Late }

// Log implements capture.Record.
func (lateRow) Log() string { return "http" }

// Row implements capture.Record with the columns of Zeek's http.log.
func (l lateRow) Row(w capture.Fields) {
	(&http.Transaction{At: l.At, Flow: l.Flow, Depth: l.Depth}).Row(lateFields{w, uint64(l.Len)})
}

// lateFields are those of a transaction of which only the length is known.
type lateFields struct {
	capture.Fields
	len uint64
}

// Count implements capture.Fields.
func (f lateFields) Count(name string, n uint64, set bool) {
	if name == "request_body_len" {
		n = f.len
	}
	f.Fields.Count(name, n, set)
}

// fileRow is for files.log. Zeek follows SMB from the middle of a connection.
func fileRow(x *file.File, from capture.Provenance) capture.Record {
	own := x.Source == "HTTP" || x.Source == "FTP_DATA" // they say of each file which packets it was in
	switch {
	case x.Source == "HTTP2" || x.Source == "GRPC":
		return x
	case unseen(from), x.Flow.Mid && x.Source != "SMB", x.Inner, unread(x.From, x.Flow), doubted(from) && !(own && !doubted(x.From)):
		return nil
	}
	return x
}

// sessionRow gives what of a handshake was in packets with right checksums.
func sessionRow(x *tls.Session, from capture.Provenance) capture.Record {
	if x.Flow.Mid || unseen(from) {
		return nil
	}
	if c := x.Checked(); c != nil {
		return c
	}
	return nil
}

// dnsRow is for dns.log. A datagram stands alone, so that of UDP a transaction knows which half Zeek has; of TCP it has the
// stream or nothing.
func dnsRow(x *dns.Transaction, from capture.Provenance) capture.Record {
	if doubted(from) {
		if x.Flow.Proto != capture.ProtoUDP {
			return nil
		}
		if x = x.Checked(); x == nil {
			return nil
		}
	}
	if x.From.Has(capture.OtherProtocol) || !dnsPort(x.Flow.Proto, x.Flow.Resp.Port()) {
		return nil
	}
	return x
}

// admits reports whether Zeek would look for a service in a flow; with mid, in one that was picked up in the middle or at a
// later beginning, whose host may be nil.
func admits(h capture.Host, mid bool, service string) bool {
	switch service {
	case "http", "ssl", "websocket":
		return !mid
	case "dns":
		f := h.Flow()
		return dnsPort(f.Proto, f.Resp.Port())
	}
	return true
}
