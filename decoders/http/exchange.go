package http

import (
	"iter"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// Exchanges makes transactions of requests and answers that another framing than HTTP/1's carries, that of HTTP/2: who
// reads the frames hands over fields and bodies, and everything behind that (what is kept of a body, its coding, its
// files, the row) is the same as for HTTP/1. Like the Spec made with the same Options it belongs to one goroutine.
type Exchanges struct {
	opt   *Options
	pools *pools
}

// NewExchanges makes them for the bodies that opt wants.
func NewExchanges(opt Options) *Exchanges {
	opt = opt.complete()
	return &Exchanges{opt: &opt, pools: &pools{blocks: newBlocks()}}
}

// Connection is what carries exchanges.
type Connection struct {
	d     decoder   // is never fed: it lends what reads bodies
	spare *Exchange // that is over, for the next
	half  *half     // of a body that is
}

// Connection begins one. ctx says which flow, and when.
func (e *Exchanges) Connection(ctx decoders.Context) *Connection {
	c := &Connection{}
	c.d.opt, c.d.pools, c.d.ctx = e.opt, e.pools, ctx
	c.d.doubter, _ = ctx.(decoders.Doubter)
	return c
}

// Exchange is one request with its answer. What it holds is let go of by Tell or Drop, one of which has to be called.
type Exchange struct {
	d     *decoder
	of    *Connection
	ex    *exchange
	side  [2]*half // those with a body
	lost  [2]bool  // bytes of the side were lost
	ended [2]bool
	// What is declared of the bodies, -1: nothing.
	length [2]int64
	fields [3]int // bytes of the request's fields, the answer's, and the last trailer's or informational answer's
	tunnel bool
	asked  *upgraded // reads the request, which came over HTTP/1
}

// Version of what comes in streams.
const version2 = "2"

// HTTP2 reports whether the request or its answer came in a stream of HTTP/2.
func (t *Transaction) HTTP2() bool {
	return t.Request != nil && t.Request.Version == version2 || t.Response != nil && t.Response.Version == version2
}

// Lengths in Held of what is opened for a body.
const (
	heldBody = 4 << 10 // what names a file
)

// Open begins an exchange.
func (c *Connection) Open() *Exchange {
	c.d.depth++
	x := c.spare
	if c.spare = nil; x == nil {
		x = &Exchange{}
	}
	*x = Exchange{d: &c.d, of: c, ex: &exchange{}, length: [2]int64{-1, -1}}
	x.ex.tx.At, x.ex.tx.Depth = c.d.ctx.At(), c.d.depth
	return x
}

// Head takes the fields of a header block of dir, those that begin with a colon among them (RFC 9113 section 8.3): a
// request's, an informational answer's, an answer's, or those of a trailer. partial says that some are missing, because what
// they are was said before the capture began; end that no body follows. It returns whether the answer opens a tunnel: DATA
// from here on is none of the exchange's.
func (x *Exchange) Head(dir capture.Dir, fields iter.Seq2[string, string], partial, end bool) (tunnel bool) {
	d, ex := x.d, x.ex
	h, p, f, size := x.read(fields)
	part := 2
	switch {
	case dir == capture.Orig && ex.tx.Request == nil && !ex.answered:
		ex.req.Partial, part = partial, 0
		x.request(h, p, &f, end)
	case dir == capture.Orig:
		ex.req.Trailer = h
	case ex.answered:
		ex.resp.Trailer = h
	case p.status/100 == 1 && !end:
		// The answer itself is still to come; the request may have waited for this one.
		ex.resp = Response{At: d.ctx.At(), Version: version2, Status: p.status, Header: h}
	default:
		part = 1
		x.response(h, p, &f, end)
	}
	x.fields[part] = size
	if end {
		x.End(dir)
	}
	d.odd = false
	return part == 1 && x.tunnel
}

// pseudo are the fields in which HTTP/2 has the first line.
type pseudo struct {
	method, scheme, authority, path, protocol string
	status                                    int
}

// read takes a header block apart.
func (x *Exchange) read(fields iter.Seq2[string, string]) (h Header, p pseudo, f framing, size int) {
	d := x.d
	cookie, regular := -1, false
	var told uint8
	var crumbs []string
	for name, value := range fields {
		if size += len(name) + len(value); size > maxHead {
			d.weird("HTTP_head_too_long", "")
			break
		}
		if strings.HasPrefix(name, ":") {
			var at *string
			var bit uint8
			status := ""
			switch name {
			case ":method":
				at, bit = &p.method, 1
			case ":scheme":
				at, bit = &p.scheme, 2
			case ":authority":
				at, bit = &p.authority, 4
			case ":path":
				at, bit = &p.path, 8
			case ":protocol": // RFC 8441
				at, bit = &p.protocol, 16
			case ":status":
				at, bit = &status, 32
			}
			switch {
			case at == nil:
				d.weird("HTTP2_malformed_head", name)
				continue
			case told&bit != 0 || regular: // section 8.3: once, and before all others
				d.weird("HTTP2_malformed_head", name+" out of place")
			}
			if told&bit == 0 {
				*at = value
				if told |= bit; bit == 32 {
					p.status = statusOf(value)
				}
			}
			continue
		}
		regular = true
		y := Field{name, trim(value)}
		switch {
		case hasUpper(name): // section 8.2.1
			d.weird("HTTP2_malformed_head", "upper case in "+clip(name))
		case connectionField(name): // section 8.2.2: says nothing of the body
			d.weird("HTTP2_malformed_head", name)
			f.conflict = f.conflict || name == "transfer-encoding"
			h = x.add(h, y)
			continue
		}
		if strings.EqualFold(name, "cookie") { // section 8.2.3: may come in crumbs
			if crumbs = append(crumbs, y.Value); cookie >= 0 {
				continue
			}
			cookie = len(h)
		}
		d.field(&y, &f)
		h = x.add(h, y)
	}
	if len(crumbs) > 1 && cookie < len(h) {
		h[cookie].Value = strings.Join(crumbs, "; ")
	}
	return h, p, f, size
}

func (x *Exchange) add(h Header, f Field) Header {
	if len(h) >= maxFields {
		x.d.weird("HTTP_too_many_headers", "")
		return h
	}
	return append(h, f)
}

// statusOf reads three digits, 0 if it is something else.
func statusOf(s string) int {
	if len(s) != 3 || !digit(s[0]) || !digit(s[1]) || !digit(s[2]) {
		return 0
	}
	return int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
}

func hasUpper(s string) bool {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			return true
		}
	}
	return false
}

// connectionField says that a field speaks of HTTP/1's connection and has no place in a stream.
func connectionField(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

func clip(s string) string { return s[:min(len(s), maxAddl)] }

// request takes a request's header block.
func (x *Exchange) request(h Header, p pseudo, f *framing, end bool) {
	d, q := x.d, &x.ex.req
	x.ex.tx.Request = q
	q.At, q.Version, q.From = d.ctx.At(), version2, capture.Doubted.When(d.doubted())
	if q.Method = knownMethod([]byte(p.method)); q.Method == "" {
		if q.Method = p.method; q.Method != "" {
			d.weird("unknown_HTTP_method", q.Method)
		}
	}
	if q.Target = p.path; q.Method == "CONNECT" && p.path == "" { // section 8.5
		q.Target = p.authority
	}
	if p.authority != "" {
		// Section 8.3.1: it is what a Host field is in HTTP/1, and stands above one.
		kept := h[:0:0]
		kept = append(kept, Field{"host", p.authority})
		for _, y := range h {
			if strings.EqualFold(y.Name, "host") {
				if !strings.EqualFold(y.Value, p.authority) {
					d.weird("HTTP2_malformed_head", "host is "+clip(y.Value))
				}
				continue
			}
			kept = append(kept, y)
		}
		h = kept
	}
	q.Header = h
	q.block = &block{header: h, facts: h.facts()}
	q.Body.Conflict = f.conflict
	if f.hasLength {
		x.length[capture.Orig] = f.length
	}
	if q.Method == "CONNECT" {
		x.End(capture.Orig) // what follows is none of its body
		return
	}
	if end {
		x.End(capture.Orig)
		return
	}
	x.open(capture.Orig, &q.Body, f)
}

// response takes the header block of a final answer.
func (x *Exchange) response(h Header, p pseudo, f *framing, end bool) {
	d, a := x.d, &x.ex.resp
	interim, interimReason := a.Status, a.Reason
	*a = Response{At: d.ctx.At(), Version: version2, Status: p.status, Header: h, From: capture.Doubted.When(d.doubted())}
	if interim >= 100 {
		a.Informational, a.InformationalReason = interim, interimReason
	}
	a.block = &block{header: h, facts: h.facts()}
	x.ex.answered, x.ex.tx.Response = true, a
	if x.ex.tx.Request == nil && len(h) > 0 && x.ex.tx.Time == 0 {
		x.ex.tx.At = a.At
	}
	a.Body.Conflict = f.conflict
	if f.hasLength {
		x.length[capture.Resp] = f.length
	}
	method := x.ex.req.Method
	switch {
	case method == "CONNECT" && p.status/100 == 2 && !end:
		x.tunnel = true
		x.End(capture.Resp)
	case end, method == "HEAD", p.status == 204, p.status == 304:
		x.length[capture.Resp] = -1
		x.End(capture.Resp)
	default:
		x.open(capture.Resp, &a.Body, f)
	}
}

func (x *Exchange) open(dir capture.Dir, body *Body, f *framing) {
	var h *half
	if c := x.of; c != nil && c.half != nil {
		h, c.half = c.half, nil
	} else {
		h = &half{}
	}
	if f.hasLength {
		h.remain = f.length
	}
	x.side[dir] = h
	x.d.openBody(h, x.ex, body, f, dir == capture.Resp)
}

// Data takes the next bytes of a body, borrowed.
func (x *Exchange) Data(dir capture.Dir, b []byte) {
	if h := x.side[dir]; h != nil && len(b) > 0 {
		h.sink.raw(h.body, b, false)
	}
}

// Gap says that n bytes of a side are missing, 0: nobody knows how many.
func (x *Exchange) Gap(dir capture.Dir, n int64) {
	if x.ended[dir] {
		return
	}
	x.lost[dir] = true
	if h := x.side[dir]; h != nil {
		h.sink.gap(h.body, n)
	}
}

// End says that a side is complete.
func (x *Exchange) End(dir capture.Dir) {
	if x.ended[dir] {
		return
	}
	x.ended[dir] = true
	body, done, at := &x.ex.req.Body, &x.ex.req.Done, x.d.ctx.At()
	if dir == capture.Resp {
		body, done = &x.ex.resp.Body, &x.ex.resp.Done
	}
	if n := x.length[dir] - body.Len; x.length[dir] >= 0 && n != 0 {
		switch {
		case n > 0 && x.lost[dir] && x.side[dir] != nil:
			x.side[dir].sink.gap(body, n)
		case !x.lost[dir]:
			// Section 8.1.1: such a message is malformed. A proxy that hands it on as HTTP/1 smuggles (CVE-2021-21295).
			body.Conflict = true
			x.d.weird("HTTP_content_length_conflict", "")
		}
	}
	if body.Complete = !x.lost[dir]; body.Complete {
		*done = at
	}
	x.close(dir)
}

func (x *Exchange) close(dir capture.Dir) {
	if h := x.side[dir]; h != nil {
		h.sink.close(x.d, h.body)
		x.side[dir] = nil
		if c := x.of; c != nil {
			*h = half{}
			c.half = h
		}
	}
}

// Over says that nothing more of the exchange will come.
func (x *Exchange) Over() bool { return x.ended[0] && x.ended[1] }

// Held is how many bytes the exchange holds on to, about: fields and what is kept of bodies.
func (x *Exchange) Held() int {
	n := x.fields[0] + x.fields[1] + x.fields[2] + len(x.ex.req.Body.Data) + len(x.ex.resp.Body.Data)
	for _, h := range x.side {
		if h == nil {
			continue
		}
		n += heldBody + cap(h.sink.data) + cap(h.sink.early)
		for _, s := range h.sink.stages {
			if s != nil {
				n += s.held()
			}
		}
	}
	return n
}

// Tell emits the transaction as it is.
func (x *Exchange) Tell() {
	if x.asked != nil {
		x.asked.cutOff()
	}
	for dir := range x.side {
		x.close(capture.Dir(dir))
	}
	x.d.emit(x.ex)
	x.leave()
}

// leave lends x to the next.
func (x *Exchange) leave() {
	if c := x.of; c != nil {
		*x = Exchange{}
		c.spare = x
	}
}

// Drop forgets it.
func (x *Exchange) Drop() {
	for dir, h := range x.side {
		if h != nil {
			h.sink.letGo(x.d.pools)
			h.sink.file.Drop()
			x.side[dir] = nil
		}
	}
	x.leave()
}

// upgraded is a connection that goes on in h2c. Each direction does so when it is done with HTTP/1: the server's behind its
// 101, the client's behind the body of the request.
type upgraded struct {
	d     *decoder
	first *Exchange
	next  decoders.Decoder
	row   *Switched // as long as it was not told
}

// Switched is a request with the 101 answer behind which its connection goes on in h2c: the row that Zeek writes of it. The
// request is a Transaction with the answer that it gets there.
type Switched struct{ Transaction Transaction }

// Log implements capture.Record.
func (s *Switched) Log() string { return "http" }

// Row implements capture.Record.
func (s *Switched) Row(w capture.Fields) { s.Transaction.Row(w) }

// passOn takes ex, whose answer will come in a stream, out of the decoder; h has read the 101.
func (d *decoder) passOn(h *half, ex *exchange) {
	said := ex.resp
	ex.resp, ex.answered, ex.tx.Response = Response{}, false, nil
	h.ex, h.body, h.state, h.begun = nil, nil, passed, false
	for i := range d.queue {
		if d.queue[i].ex == ex {
			d.queue = append(d.queue[:i], d.queue[i+1:]...)
			break
		}
	}
	asking := &d.half[capture.Orig]
	if asking.ex != ex {
		d.flush(true) // requests behind it, which nobody answers
	}
	e := Exchanges{opt: d.opt, pools: d.pools}
	c := e.Connection(d.ctx)
	row := &Switched{ex.tx}
	row.Transaction.Flow, row.Transaction.Response = d.ctx.Flow(), &said
	d.depth++
	ex.tx.Depth = d.depth // in the other version it is another one
	c.d.depth, c.d.told = d.depth, append([]string(nil), d.told...)
	u := &upgraded{row: row, d: d, first: &Exchange{d: &c.d, ex: ex, length: [2]int64{-1, -1}}}
	u.first.asked, d.upgraded = u, u
	u.next = d.opt.Upgrade(d.ctx, c, u.first)
	if asking.ex != ex {
		u.asked(asking)
	}
}

// asked says that the request which asked for the upgrade is over.
func (u *upgraded) asked(h *half) {
	u.tellRow()
	h.dropHead()
	h.state = passed
	u.first.ended[capture.Orig] = true
	_, _ = u.next.Decode(capture.Orig, nil) // the answer may have waited for it
}

// tellRow emits the row of the upgrade, once the request is over.
func (u *upgraded) tellRow() {
	if u.row == nil {
		return
	}
	q := *u.row.Transaction.Request
	q.Body.Files = nil // they are those of the transaction
	u.row.Transaction.Request = &q
	u.d.ctx.Emit(u.row)
	u.row = nil
}

// cutOff ends the body of that request where it is.
func (u *upgraded) cutOff() {
	if h := &u.d.half[capture.Orig]; h.ex == u.first.ex {
		h.sink.close(u.d, h.body)
		h.dropHead()
		h.ex, h.body, h.state = nil, nil, passed
		u.tellRow()
	}
}

// decode reads on. What turns out to be something else is told of as far as it came, and probed.
func (u *upgraded) decode(dir capture.Dir, b []byte) (int, error) {
	n, err := u.next.Decode(dir, b)
	if err != nil {
		u.next.End(capture.Orig)
		u.next.End(capture.Resp)
		return n, decoders.ErrSwitch
	}
	return n, nil
}

// end is the end of a direction, whose half is h.
func (u *upgraded) end(dir capture.Dir, h *half) {
	if h.ex != nil {
		u.d.finish(dir, h, false)
	}
	u.next.End(dir)
	h.state = dead
	if u.d.half[0].ended && u.d.half[1].ended {
		u.d.close()
	}
}
