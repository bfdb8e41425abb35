package http2

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// stream is a call in the making.
type stream struct {
	prev, next *stream // by last use
	call       Call
	side       [2]side
	grpc       belief
	keep       int
	asked      bool         // Options.Keep was
	request    bool         // the request's header was seen
	kept       int          // bytes of messages that were not told of
	meta       int          // bytes of the header's fields
	waiting    capture.Time // since when a complete request message was not told of; 0 if there is none
	owed       bool         // a request was told of without its answer
	x          Exchange     // of what is no gRPC
	held       int          // bytes that x holds
	plain      bool         // it counts among those that are no calls
	nest       decoders.Nested
	follow     Follower
}

type belief uint8

const (
	perhaps belief = iota
	yesGRPC
	noGRPC
)

// side is one direction of a stream.
type side struct {
	ended  bool
	header bool   // a header block was seen: the next is the trailer
	kind   string // content type
	coding string
	msgs   []Message
	count  uint64
	bytes  uint64

	// The message being read.
	aligned bool // where messages begin is known
	guess   bool // it became known from a frame's beginning
	prefix  [5]byte
	got     int // of the prefix
	remain  int // of the message
	cur     Message
	open    bool
	left    int // of the frame
}

// lose says that bytes of this side were lost, nobody knows how many.
func (s *side) lose() {
	s.aligned, s.got, s.remain, s.open = false, 0, 0, false
	s.cur = Message{}
}

// gap says that n bytes within a frame were lost.
func (s *side) gap(n int) {
	s.bytes += uint64(n)
	s.left -= n
	if s.open && n <= s.remain {
		s.remain -= n
		s.cur.Cut = true
		return
	}
	s.lose()
}

// touch makes s the most recently used.
func (d *decoder) touch(s *stream) {
	if d.last == s {
		return
	}
	d.unlink(s)
	s.prev = d.last
	if d.last != nil {
		d.last.next = s
	} else {
		d.first = s
	}
	d.last = s
}

func (d *decoder) unlink(s *stream) {
	if s.prev != nil {
		s.prev.next = s.next
	} else if d.first == s {
		d.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else if d.last == s {
		d.last = s.prev
	}
	s.prev, s.next = nil, nil
}

// open makes a stream. The least recently used makes room for it.
func (d *decoder) open(sid uint32) *stream {
	if d.held()+streamSize > maxKept {
		d.relieve(nil)
	}
	s := d.spare
	if d.spare = nil; s == nil {
		s = &stream{}
	}
	*s = stream{} // who dropped it may have written to it since
	s.call = Call{At: d.now, StreamID: sid, GRPCStatus: -1, Mid: !d.fresh}
	s.side[asker].aligned, s.side[answerer].aligned = true, true
	d.streams[sid] = s
	d.touch(s)
	d.limit(s)
	return s
}

// limit has few streams under way, of which s is one, where not all are calls: some of what is done looks through all of them.
func (d *decoder) limit(s *stream) {
	if d.plains > 0 {
		d.few(s)
	}
}

// few has no more than maxStreams streams under way; s stays.
func (d *decoder) few(s *stream) {
	for len(d.streams) > maxStreams && d.first != s {
		d.say(streamLimit)
		d.finish(d.first)
	}
}

// held is how many bytes the connection holds on to.
func (d *decoder) held() int { return d.kept + len(d.streams)*streamSize }

func (d *decoder) drop(s *stream) {
	if s == d.upgrade {
		d.upgrade = nil
	}
	if s.x != nil {
		d.bodies -= s.held
		s.x.Drop()
	}
	if s.nest != nil {
		d.tunnels--
		s.nest.End(capture.Orig)
		s.nest.End(capture.Resp)
	}
	if s.follow != nil {
		s.follow.Close()
	}
	d.unlink(s)
	d.kept -= s.kept + s.meta
	if s.plain {
		d.plains--
	}
	delete(d.streams, s.call.StreamID)
	d.closed[d.nclosed%maxClosed] = s.call.StreamID
	d.nclosed++
	*s = stream{}
	d.spare = s
}

func (d *decoder) isClosed(sid uint32) bool {
	for _, c := range d.closed {
		if c == sid {
			return true
		}
	}
	// In a connection that was followed from its beginning, a stream that was opened and is not here was told of.
	return d.fresh && sid <= d.highest
}

// find gives the stream that a frame belongs to; nil if it is over, or if none can begin like this.
func (d *decoder) find(dir capture.Dir, sid uint32, headers bool) *stream {
	if s := d.streams[sid]; s != nil {
		d.touch(s)
		return s
	}
	if sid&1 == 0 || d.isClosed(sid) {
		return nil
	}
	if d.who(dir) == asker && headers {
		d.highest = max(d.highest, sid)
		s := d.open(sid)
		return s
	}
	if d.fresh && !(sid == 1 && d.highest == 0) && !d.half[d.client].lost {
		return nil // an answer to nothing; stream 1 is what an upgrade to h2c is answered on
	}
	s := d.open(sid)
	s.call.Mid = true
	s.side[asker].aligned, s.side[answerer].aligned = false, d.who(dir) == answerer && headers
	return s
}

// headers takes a complete header block.
func (d *decoder) headers(dir capture.Dir, h *half, sid uint32, flags byte, block []byte, pushed, dropped bool) {
	whole := h.table.whole
	fields, unknown, more, err := h.table.read(block, d.fields[:0])
	if d.fields = fields; cap(d.fields) > keptFields {
		d.fields = nil
	}
	defer clear(fields) // strings of blocks are not to be held on to
	if err != nil || whole && unknown > 0 {
		d.say(badHPACK)
	}
	if more {
		d.say(listTruncated)
	}
	if fields = d.worth(fields, len(block)); pushed {
		return
	}
	if !d.sure {
		for _, f := range fields {
			switch f.Name {
			case ":method", ":path", ":scheme", ":authority":
				d.roles(dir)
			case ":status":
				d.roles(dir.Peer())
			}
			if d.sure {
				break
			}
		}
	}
	s := d.find(dir, sid, true)
	if s == nil {
		return
	}
	w := d.who(dir)
	x := &s.side[w]
	if s.nest != nil {
		return // a trailer of a tunnel
	}
	if s.x == nil {
		s.classify(w, fields, unknown == 0 && !dropped && err == nil)
		if s.grpc == noGRPC {
			d.plain(s)
			d.limit(s)
		}
	}
	if s.x == nil && s.grpc == noGRPC {
		// Nobody asked for it.
	} else if s.x != nil {
		if w == asker {
			s.request = true
		} else {
			s.call.Answered = true
		}
		if s.x.Head(capture.Dir(w), all(fields), unknown > 0 || dropped || err != nil, flags&flagEndStream != 0) {
			d.tunnel(s)
		} else {
			d.settle(s)
		}
	} else {
		d.grpcHead(s, w, fields, unknown, dropped || err != nil)
	}
	x.header = true
	if flags&flagEndStream != 0 {
		d.endStream(dir, sid)
	}
}

// grpcHead takes a header block of a stream that is a gRPC call, or may be one.
func (d *decoder) grpcHead(s *stream, w int, fields []Field, unknown int, broken bool) {
	x := &s.side[w]
	if w == asker {
		if !x.header {
			s.request = true
			s.call.request(fields)
			s.call.Unknown = unknown
			s.call.Mid = s.call.Mid || unknown > 0 || broken
		}
	} else {
		s.call.Answered = true
		s.call.response(fields)
	}
	if meta := s.call.size(); d.charge(s, meta-s.meta) {
		s.meta = meta
	}
	d.ask(s)
	if s.grpc == yesGRPC {
		d.confirm(toldGRPC, "grpc")
	}
}

// classify finds out from a header block of side w whether s is a gRPC call. known says that nothing is missing of the
// block. A content type counts for more than what else has the name of gRPC in it: servers that are none of gRPC do not
// look at the rest.
func (s *stream) classify(w int, fields []Field, known bool) {
	x := &s.side[w]
	kind, verb, path, words := "", "", "", false
	for _, f := range fields {
		switch f.Name {
		case "grpc-encoding":
			x.coding = bound(f.Value, 32)
		case "content-type":
			kind = f.Value
		case "grpc-status", "grpc-timeout", "grpc-accept-encoding":
			words = true
		case ":method":
			verb = f.Value
		case ":path":
			path = f.Value
		}
	}
	if kind != "" {
		x.kind = bound(kind, maxName)
	}
	first := w == asker && !x.header
	switch {
	case first && (verb != "" && verb != "POST" || path != "" && !isCall(path)):
		s.grpc = noGRPC
	case isGRPC(kind):
		s.grpc = yesGRPC
	case s.grpc == yesGRPC:
	case first && (kind != "" || known):
		s.grpc = noGRPC
	case words:
		s.grpc = yesGRPC
	case w == answerer && kind != "" && s.side[asker].count == 0:
		s.grpc = noGRPC
	}
}

// isCall reports whether a path may be that of a gRPC call: a service and a method. In front of a proxy there may be more
// segments before them, but then only a service with its package is believed to be one.
func isCall(path string) bool {
	i := strings.LastIndexByte(path, '/')
	if i < 1 || i == len(path)-1 || path[0] != '/' || strings.IndexByte(path, '?') >= 0 {
		return false
	}
	j := strings.LastIndexByte(path[:i], '/')
	return i > j+1 && (j == 0 || strings.IndexByte(path[j:i], '.') > 0)
}

// all gives the fields of a block.
func all(fields []Field) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range fields {
			if !yield(fields[i].Name, fields[i].Value) {
				return
			}
		}
	}
}

// fields gives what is known of the header blocks of side w, for who has not read them.
func (s *stream) fields(w int) []Field {
	c := &s.call
	var out []Field
	add := func(name, value string) {
		if value != "" {
			out = append(out, Field{name, value})
		}
	}
	if w == asker {
		add(":method", c.Verb)
		add(":path", c.Path)
		add(":authority", c.Authority)
		add("user-agent", c.UserAgent)
		add("content-type", s.side[w].kind)
		return append(out, c.Metadata...)
	}
	if c.HTTPStatus > 0 {
		add(":status", strconv.Itoa(c.HTTPStatus))
	}
	add("content-type", s.side[w].kind)
	return append(out, c.Answer...)
}

// view is the Context of exchanges: the client is the flow's originator.
type view struct {
	decoders.Context
	d *decoder
}

// Flow implements decoders.Context.
func (v view) Flow() *capture.Flow { return v.d.flow() }

// Doubted implements decoders.Doubter.
func (v view) Doubted() bool {
	x, ok := v.Context.(decoders.Doubter)
	return ok && x.Doubted()
}

// Spend implements capture.Worker.
func (v view) Spend(units int) bool {
	w, ok := v.Context.(capture.Worker)
	return !ok || w.Spend(units)
}

// Room implements capture.Worker.
func (v view) Room() *capture.Room {
	if w, ok := v.Context.(capture.Worker); ok {
		return w.Room()
	}
	return nil
}

// worth drops fields that are longer than what said them is worth: a byte repeats four kilobytes of the table. What a
// request is for stays, as do short fields.
func (d *decoder) worth(fields []Field, block int) []Field {
	// Fields are looked through in a few places, at a thirtieth of the time that a unit is.
	const perUnit, long = 32, 256
	n := 0
	for i := range fields {
		n += len(fields[i].Name) + len(fields[i].Value)
	}
	w, ok := d.ctx.(capture.Worker)
	if n <= 4*block+long || !ok || w.Spend(n/perUnit) {
		return fields
	}
	d.say(listTruncated)
	out := fields[:0]
	for _, f := range fields {
		if strings.HasPrefix(f.Name, ":") || len(f.Value) <= long {
			out = append(out, f)
		}
	}
	return out
}

// plain makes an exchange of s: it is no gRPC. What was read of it before that was known comes first.
func (d *decoder) plain(s *stream) {
	s.grpc = noGRPC
	if d.make == nil {
		if d.opt.HTTP == nil {
			return
		}
		d.make = d.opt.HTTP(view{d.ctx, d})
	}
	s.x = d.make()
	s.plain = true
	d.plains++
	for w := range s.side {
		x, dir := &s.side[w], capture.Dir(w)
		if x.header {
			s.x.Head(dir, all(s.fields(w)), s.call.Unknown > 0 || s.call.Mid, false)
		}
		if n := int64(x.bytes) - int64(x.got); n > 0 {
			s.x.Gap(dir, n) // taken for messages
		}
		s.x.Data(dir, x.prefix[:x.got])
		if x.ended {
			s.x.End(dir)
		}
		x.msgs, x.cur, x.open, x.got = nil, Message{}, false, 0
	}
	d.kept -= s.kept + s.meta
	s.kept, s.meta, s.waiting = 0, 0, 0
	d.settle(s)
}

// settle counts what the exchange of s holds. Those that were not used for long make room.
func (d *decoder) settle(s *stream) {
	n := s.x.Held()
	d.bodies += n - s.held
	s.held = n
	for t := d.first; t != nil && d.bodies > maxBodies; {
		old := t
		if t = t.next; old != s && old.x != nil {
			d.say(bodyBudget)
			d.finish(old)
		}
	}
}

// tunnel tells of the request that opened one, and reads on in it.
func (d *decoder) tunnel(s *stream) {
	d.bodies -= s.held
	x := s.x
	s.x, s.held = nil, 0
	x.Tell()
	if d.tunnels >= maxTunnels {
		d.say(tunnelLimit)
		for t := d.first; t != nil; t = t.next {
			if t.nest != nil {
				d.drop(t)
				break
			}
		}
	}
	d.tunnels++
	s.nest = d.ctx.Nest()
}

// missing says that n bytes of DATA in dir are, 0: nobody knows how many.
func (d *decoder) missing(s *stream, dir capture.Dir, n int) {
	w := d.who(dir)
	switch x := &s.side[w]; {
	case s.nest != nil && n == 0:
		s.nest.Gap(dir, 1<<30) // more than is left of whatever was under way
	case s.nest != nil:
		s.nest.Gap(dir, int64(n))
	case s.x != nil:
		s.x.Gap(capture.Dir(w), int64(n))
	case n == 0:
		x.lose()
	default:
		x.gap(n)
	}
	if s.follow != nil {
		s.follow.Gap(d.now, w == answerer, n)
	}
}

// ask finds out how much of the messages is wanted.
func (d *decoder) ask(s *stream) {
	if s.asked || d.opt.Keep == nil || s.grpc == noGRPC {
		return
	}
	s.asked = true
	s.call.Flow = d.flow()
	s.keep = max(0, min(d.opt.Keep(&s.call), MaxMessage))
	if d.opt.Follow != nil {
		s.follow = d.opt.Follow(d.ctx, &s.call)
	}
}

// openData is the beginning of a DATA frame of n bytes.
func (d *decoder) openData(dir capture.Dir, sid uint32, n int) {
	s := d.find(dir, sid, false)
	if s == nil || s.x != nil || s.nest != nil {
		return
	}
	d.ask(s)
	x := &s.side[d.who(dir)]
	x.left = n
	if !x.aligned {
		x.got, x.guess = 0, true
	}
}

// data takes bytes of a DATA frame.
func (d *decoder) data(dir capture.Dir, sid uint32, b []byte) {
	s := d.streams[sid]
	if s == nil {
		return
	}
	w := d.who(dir)
	x := &s.side[w]
	x.bytes += uint64(len(b))
	if w == answerer {
		s.call.Answered = true
	}
	switch {
	case s.nest != nil:
		s.nest.Data(dir, b)
		return
	case s.x != nil:
		s.x.Data(capture.Dir(w), b)
		d.settle(s)
		return
	case s.grpc == noGRPC:
		return
	}
	for len(b) > 0 {
		if x.open {
			n := min(len(b), x.remain)
			d.store(s, x, b[:n])
			if s.follow != nil {
				s.follow.Data(d.now, w == answerer, b[:n])
			}
			b = b[n:]
			x.left -= n
			if x.remain -= n; x.remain == 0 {
				d.message(s, w)
			}
			continue
		}
		if !x.aligned && !x.guess {
			x.left -= len(b)
			return // up to the next frame
		}
		n := copy(x.prefix[x.got:], b)
		x.got += n
		x.left -= n
		b = b[n:]
		if x.got < len(x.prefix) {
			return
		}
		x.got = 0
		length := binary.BigEndian.Uint32(x.prefix[1:])
		// gRPC's limit is 4 MiB by default, Ray's 500 MiB.
		bad := x.prefix[0] > 1 || length > 1<<30
		if !x.aligned && (bad || int64(length) > int64(x.left)) {
			x.guess = false // not the beginning of a message; perhaps the next frame is
			continue
		}
		if bad {
			if s.grpc == perhaps || w == asker && x.count == 0 && s.request {
				// No messages at all. Who is none of gRPC does not look at the content type.
				x.got = len(x.prefix)
				x.bytes -= uint64(len(b))
				d.plain(s)
				d.limit(s)
				d.data(dir, sid, b)
				return
			}
			x.lose()
			x.guess = false
			s.call.Missing = true
			continue
		}
		if !x.aligned && x.left == int(length) {
			x.aligned, x.guess = true, false
		}
		x.open, x.remain = true, int(length)
		x.cur = Message{Len: int(length), Compressed: x.prefix[0] == 1}
		if s.follow != nil {
			s.follow.Message(w == answerer, x.remain, x.cur.Compressed)
		}
		if x.remain == 0 {
			d.message(s, w)
		}
	}
}

// store keeps the beginning of the message being read.
func (d *decoder) store(s *stream, x *side, b []byte) {
	n := min(len(b), s.keep-len(x.cur.Data))
	if len(x.msgs) >= maxMessages || x.cur.Cut {
		n = 0 // those before were not told of yet; or bytes in between are missing
	}
	if n < len(b) {
		x.cur.Cut = true
	}
	if n <= 0 {
		return
	}
	if !d.charge(s, n) {
		x.cur.Cut = true
		return
	}
	s.kept += n
	if x.cur.Data == nil {
		x.cur.Data = make([]byte, 0, min(x.cur.Len, s.keep, 4*n))
	}
	x.cur.Data = append(x.cur.Data, b[:n]...)
}

// charge counts n bytes more for s. Other streams make room; false says that s alone has too much, and nothing was counted.
func (d *decoder) charge(s *stream, n int) bool {
	if n <= 0 {
		d.kept += n
		return true
	}
	d.touch(s)
	if d.held()+n > maxKept {
		d.relieve(s)
	}
	if d.held()+n > maxKept {
		d.say(messageBudget)
		return false
	}
	d.kept += n
	return true
}

// relieve makes room, but not by s: it tells of what all calls have said, and of the least recently used streams as they stand until a
// sixteenth of the room is free, so that streams need not be looked through again for the next few messages.
func (d *decoder) relieve(s *stream) {
	for t := d.first; t != nil; t = t.next {
		if len(t.side[asker].msgs)+len(t.side[answerer].msgs) > 0 {
			t.owed = t.owed || len(t.side[asker].msgs) > 0
			d.part(t)
		}
	}
	for d.held() > maxKept-maxKept/16 && d.first != d.last {
		if d.first == s {
			d.touch(s)
		}
		d.say(messageBudget)
		d.finish(d.first)
	}
}

// message is the end of a message of side w.
func (d *decoder) message(s *stream, w int) {
	x := &s.side[w]
	m := x.cur
	x.cur, x.open = Message{}, false
	x.count++
	m.At = d.now
	if s.keep == 0 {
		return
	}
	if m.Compressed && len(m.Data) > 0 {
		raw := m
		m.inflate(x.coding, s.keep)
		if n := len(m.Data) - len(raw.Data); d.charge(s, n) {
			s.kept += n
		} else {
			m, m.Undecoded = raw, true
		}
	}
	if len(x.msgs) < maxMessages {
		x.msgs = append(x.msgs, m)
	}
	switch {
	case w == asker:
		if s.waiting == 0 {
			s.waiting = d.now.Time
			if d.pending == 0 || d.pending > s.waiting {
				d.pending = s.waiting
			}
		}
		if len(x.msgs) == maxMessages {
			d.part(s)
		}
	case !s.side[asker].ended && (len(s.side[asker].msgs) > 0 || s.owed || len(x.msgs) == maxMessages):
		d.part(s) // a conversation: this is what was answered
		s.owed = false
	}
}

// inflate undoes gzip or deflate, as far as limit.
func (m *Message) inflate(coding string, limit int) {
	var r io.Reader
	switch {
	case coding == "gzip" || coding == "" && len(m.Data) > 2 && m.Data[0] == 0x1f && m.Data[1] == 0x8b:
		z, err := gzip.NewReader(bytes.NewReader(m.Data))
		if err == nil {
			r = z
		}
	case coding == "deflate" || coding == "" && len(m.Data) > 2 && m.Data[0] == 0x78:
		z, err := zlib.NewReader(bytes.NewReader(m.Data))
		if err == nil {
			r = z
		} else {
			r = flate.NewReader(bytes.NewReader(m.Data))
		}
	}
	if r == nil {
		m.Undecoded = true
		return
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if len(out) == 0 && err != nil {
		m.Undecoded = true
		return
	}
	if len(out) > limit {
		out, m.Cut = out[:limit:limit], true
	}
	if err != nil {
		m.Cut = true
	}
	m.Data = out
}

// part tells what s has said since it was last told of.
func (d *decoder) part(s *stream) {
	s.waiting = 0
	if s.grpc == noGRPC || s.keep == 0 {
		return
	}
	p := &Part{Call: d.take(s)}
	p.Call.Live = true
	d.ctx.Emit(p)
}

// take takes what s has said out of it.
func (d *decoder) take(s *stream) Call {
	c := s.call
	c.Flow = d.flow()
	c.GRPC = s.grpc != noGRPC
	c.RequestMessages, c.ResponseMessages = s.side[asker].msgs, s.side[answerer].msgs
	c.RequestCount, c.ResponseCount = s.side[asker].count, s.side[answerer].count
	c.RequestBytes, c.ResponseBytes = s.side[asker].bytes, s.side[answerer].bytes
	// The fields are read only from here on, but the trailer may still be appended to.
	c.Answer = append([]Field(nil), c.Answer...)
	s.side[asker].msgs, s.side[answerer].msgs = nil, nil
	// What is open stays counted.
	open := len(s.side[asker].cur.Data) + len(s.side[answerer].cur.Data)
	d.kept -= s.kept - open
	s.kept = open
	return c
}

// overdue tells of requests that wait for an answer for long.
func (d *decoder) overdue() {
	if d.pending == 0 || d.now.Time-d.pending < partAfter {
		return
	}
	d.pending = 0
	for s := d.first; s != nil; s = s.next {
		if s.waiting != 0 && d.now.Time-s.waiting >= partAfter {
			d.part(s)
			s.owed = true
		}
		if s.waiting != 0 && (d.pending == 0 || s.waiting < d.pending) {
			d.pending = s.waiting
		}
	}
	if d.pending != 0 {
		d.pending = max(d.pending, d.now.Time-partAfter+partEvery)
	}
}

// endStream is END_STREAM of dir.
func (d *decoder) endStream(dir capture.Dir, sid uint32) {
	s := d.streams[sid]
	if s == nil {
		return
	}
	w := d.who(dir)
	s.side[w].ended = true
	switch {
	case s.nest != nil:
		if s.nest.End(dir); s.side[w^1].ended {
			d.drop(s)
		}
	case s.x != nil:
		if s.x.End(capture.Dir(w)); s.x.Over() {
			d.finish(s)
		}
	case w == answerer:
		s.call.Done = true
		d.finish(s)
	}
}

// reset is RST_STREAM.
func (d *decoder) reset(dir capture.Dir, sid, code uint32) {
	s := d.streams[sid]
	if d.who(dir) == asker && (s == nil || !s.call.Answered) {
		if d.resets++; d.resets > maxResets {
			d.say(rapidReset)
		}
	}
	if s == nil {
		return
	}
	// NO_ERROR from the server says that it needs no more of the request.
	s.call.Reset = code != 0 || d.who(dir) == asker
	d.finish(s)
}

// finish tells of a stream and forgets it.
func (d *decoder) finish(s *stream) {
	if s.x == nil && s.nest == nil && (s.request || s.call.HTTPStatus > 0) && (s.grpc == noGRPC ||
		s.grpc == perhaps && (s.side[asker].count+s.side[answerer].count == 0 || s.call.Verb == "GET")) {
		d.plain(s)
	}
	if x := s.x; x != nil {
		d.bodies -= s.held
		s.x = nil
		d.drop(s)
		x.Tell()
		return
	}
	if s.nest != nil || s.grpc == noGRPC {
		d.drop(s)
		return
	}
	for w := range s.side {
		x := &s.side[w]
		if x.open && len(x.cur.Data) > 0 && s.keep > 0 && len(x.msgs) < maxMessages {
			x.cur.Cut, x.cur.At = true, d.now // never completed; what it began with counts
			if x.cur.Compressed {
				x.cur.inflate(x.coding, s.keep)
			}
			x.msgs = append(x.msgs, x.cur)
			x.cur, x.open = Message{}, false
		}
	}
	c := d.take(s)
	c.GRPC = s.grpc == yesGRPC || c.RequestCount+c.ResponseCount > 0
	d.drop(s)
	if c.GRPC {
		d.confirm(toldGRPC, "grpc")
		d.ctx.Emit(&c)
	}
}
