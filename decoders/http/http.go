// Package http reads HTTP/1.x (and 0.9) in both directions of a flow.
//
// In: the ordered bytes of a TCP flow or of a nested stream. Out: one *Transaction for each request with its answer,
// emitted when both are complete or cannot become so any more; it is also the row of http.log. Requests without
// answer and answers without request are transactions too.
//
// Heads are kept whole (up to 64 KiB and 200 fields; of longer ones the beginning, and what says how the body is read),
// bodies are not: they are counted, named by their first bytes and digested (Body.Files, and *file.File on its own), and as
// much of them is kept as Options.KeepBody asks for once it has seen the head. What of a request is longer than that, or has
// a hole, is shown to whoever Options.Follow names. Transfer coding is always removed, content codings (gzip, deflate, br,
// zstd; of answers three deep) from bodies that are kept; gzip and deflate are also removed to count what is behind them, as
// Zeek does, up to a limit of expansion.
//
// Where a message can be read in two ways (Content-Length against Transfer-Encoding, folded or spaced names, odd
// numbers), Body.Conflict is set, a weird says so, and the reading is that of the server that matters here: aiohttp,
// which is what Ray answers with, where it would accept the message at all, and RFC 9112 section 6.3 where not.
//
// After a 101 answer with an Upgrade field, and after a 2xx answer to CONNECT, the decoder ends and the bytes that
// follow are probed afresh: WebSocket, TLS, stratum or whatever it is.
//
// Behind a 101 that agrees to h2c, Options.Upgrade reads on, and the transaction of the request that asked for it has its
// answer from there. Exchanges makes transactions of what HTTP/2 carries.
//
// It does not see: the frames of HTTP/2 (the prior-knowledge preface is refused), pushes, what is in a
// tunnel, and the structure of a URL or body. After a lost segment inside a head it looks for the next message start
// of that direction, for as long as the flow lives; answers that were lost shift the pairing by at most what was in flight.
package http

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
)

const (
	// Servers stop at 8 to 32 KiB of head (aiohttp 32 KiB, nginx 32 KiB, Apache 16 KiB a line); four times that is
	// an attack on somebody's memory.
	maxHead = 64 << 10
	// aiohttp and Apache take 100 to 200 fields.
	maxFields = 200
	// Beyond those, as many of the fields by which a body is read.
	maxNeeded = 16
	// A field line that no server would read: aiohttp and nginx stop at 8 KiB.
	maxLine = 16 << 10
	// Requests without an answer that are remembered; Zeek has the same number.
	maxPending = 100
	// Runs of requests that were handed out without their answers, alike in whether those have a body. Where there are more,
	// some answers are read as if they had one, or none.
	maxGone = 128
	// Bytes searched for the next message after a loss, line by line. A missed chunk or length may hide a long body; behind
	// this many a message is looked for only where a segment begins, for as long as the flow lives.
	maxLost = 4 << 20
	// A flow that had nothing of HTTP in as many bytes of both directions is none.
	maxStrange = 64 << 10
	// A line longer than this is not the start of a message, while searching for one.
	maxLostLine = 8 << 10
	// Bytes that a client may send behind CONNECT or Upgrade before the answer: a TLS hello is 2 KiB at most. One that
	// sends more has its answer, and we do not see it: the capture has one direction only.
	maxWait = 16 << 10
)

var (
	errNotHTTP = errors.New("http: not a request or a response")
	errHTTP2   = errors.New("http: version 2 preface")
)

// Options of the decoder. The zero value counts bodies and keeps none.
type Options struct {
	// KeepBody says how many bytes of a body, content coding removed, are wanted in Body.Data. It is asked once for
	// each body when its head was read: tx.Request is set, and tx.Response too when resp is true. It must not keep tx.
	// Less than 0: do not look into it at all; it is counted as it comes, not decoded and not digested.
	KeepBody func(tx *Transaction, resp bool) int
	// Follow gives what reads the body of a request that somebody wants to see where it is longer than is kept, or has a
	// hole; nil if nobody does. It is asked when that shows, and must not keep tx.
	Follow func(tx *Transaction) Follower
	// SkipCodings leaves gzip and deflate alone in bodies that nobody wants: http.log then has their coded length.
	SkipCodings bool
	// Files is what the readers of files share; it binds the Spec to one goroutine. Without it files are named, but
	// not digested.
	Files *file.Cache
	// Label, if set, says what a body is to who wants copies of files, by where it goes or comes from; 0: nothing special.
	// It is asked where KeepBody is, and must not keep tx.
	Label func(tx *Transaction, resp bool) file.Class
	// Upgrade gives what reads a connection that client and server agreed to go on with in h2c (RFC 7540 section 3.2).
	// The request that asked for it is first, and its answer is still to come there, on stream 1; who is given first
	// tells of it. c is for the exchanges behind it. nil: the request is told of with the 101 answer, and what follows
	// is probed.
	Upgrade func(ctx decoders.Context, c *Connection, first *Exchange) decoders.Decoder
}

func (o Options) complete() Options {
	if o.Files == nil {
		o.Files = file.NewCache(file.Options{})
	}
	return o
}

// Spec is the registration of the decoder.
func Spec(opt Options) decoders.Spec {
	p := &pools{blocks: newBlocks()}
	opt = opt.complete()
	return decoders.Spec{
		Name:   "http",
		Stream: probe,
		New: func(ctx decoders.Context) decoders.Decoder {
			d, _ := p.http.Get().(*decoder)
			if d == nil {
				d = &decoder{opt: &opt, pools: p}
			}
			d.ctx = ctx
			d.doubter, _ = ctx.(decoders.Doubter)
			if l, ok := ctx.(decoders.Later); ok && l.Later() {
				// Either side may be inside a message that began before.
				d.lose(capture.Orig, &d.half[capture.Orig])
				d.lose(capture.Resp, &d.half[capture.Resp])
			}
			return d
		},
		Again: again(),
	}
}

// state is what a direction expects next.
type state uint8

const (
	inHead state = iota
	inBody       // remain bytes
	inChunkSize
	inChunkData // remain bytes
	inChunkEnd  // the line end behind chunk data
	inTrailer
	inClose // body until the end of the stream
	lost    // looking for the next message
	passed  // upgraded reads on
	dead    // not listening any more
)

// exchange is a transaction in the making; one allocation for all of it.
type exchange struct {
	tx       Transaction
	req      Request
	resp     Response
	answered bool // a final response has begun
	reqDone  bool // no more of the request will come
	respDone bool
	rtsp     bool    // it was asked in the name of RTSP
	ranged   *ranged // the answer is a piece of this
}

// slot is a place in the order of requests: of one that waits for its answer, or of some that do and were handed out
// without it.
type slot struct {
	ex   *exchange
	gone int
	head bool // those ask for heads
}

// half is one direction.
type half struct {
	state   state
	begun   bool // at is that of the message being read
	entered bool // something was read
	midline bool // lost: the bytes before were not a line end
	ended   bool
	at      capture.At
	head    []byte // a head, chunk line or trailer that came in pieces
	long    bool   // a trailer of which not all was kept
	block   *block // field block of the last message, if that may come again
	target  string // of the last request
	remain  int64
	ex      *exchange
	body    *Body
	sink    sink
	// of a chunked body
	firstChunk, lastChunk int64
	uneven                bool
	lostBytes             int
	partial               bool // the head had no end
	dropped               bool // messages of this direction were lost since the last one that was read
	resumed               bool // the next message was searched for
	refutes               bool // the line that is skipped, once it is whole, says that this is no HTTP
	garbled               bool // and is worth a weird
	strange               bool // nothing was HTTP so far

	tail [len(" HTTP/1.1")]byte // what ends the line that is skipped
}

type decoder struct {
	ctx     decoders.Context
	doubter decoders.Doubter // nil: there is nothing to doubt
	opt     *Options
	pools   *pools
	half    [2]half
	queue   []slot // in order of requests, those not emitted yet
	kept    int    // of those, how many were left when it was last shortened
	depth   int
	told    []string // weirds said already: each once a flow
	seen    bool     // a message was read
	known   bool     // confirmed
	// The client asked to leave HTTP: what it sends next is not read before the answer came.
	connecting bool // CONNECT
	upgrading  bool // Upgrade
	refused    bool // bytes of the client wait for that
	old        bool // the last request was HTTP/0.9: its answer is a body without a head
	orphaned   bool // a response came without its request
	persists   bool // the client may send several requests
	closing    bool // the server said Connection: close
	refuted    bool // a line was none of HTTP
	raw        *rawReply
	teeing     bool // raw has what is decoded
	foreign    bool // nothing of it is what Zeek recognises HTTP by
	split      bool // lines of the head that is read were ended by a lone CR
	odd        bool // something was weird since this was last cleared
	version    [2]string
	expanded   int64     // bytes of requests that codings made of next to nothing
	ranges     []*ranged // files that came in pieces
	upgraded   *upgraded // nil: this is HTTP/1
}

func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	if (d.old || d.raw != nil) && dir == capture.Resp && !d.teeing {
		return d.tee(b)
	}
	h := &d.half[dir]
	used, fresh, was := 0, d.fresh(), d.upgraded
	for used < len(b) {
		n, err := d.step(dir, h, b[used:])
		used += n
		if err != nil {
			if err != decoders.ErrSwitch {
				d.flush(true)
			}
			d.close()
			return used, err
		}
		if n == 0 || fresh && !d.fresh() || d.upgraded != was {
			break // in the other cases it is the turn of what waits in readHead
		}
	}
	return used, nil
}

// fresh says that it is open whether what the client sends begins with a request.
func (d *decoder) fresh() bool {
	h := &d.half[capture.Orig]
	return !d.seen && h.state == inHead && !h.ended
}

func (d *decoder) step(dir capture.Dir, h *half, b []byte) (int, error) {
	switch h.state {
	case inHead:
		return d.readHead(dir, h, b)
	case inBody, inChunkData:
		n := int(min(h.remain, int64(len(b))))
		h.sink.raw(h.body, b[:n], int64(n) == h.remain && h.state == inBody)
		if h.remain -= int64(n); h.remain == 0 {
			if h.state == inChunkData {
				h.state = inChunkEnd
			} else {
				d.finish(dir, h, h.body.Missing == 0)
			}
		}
		return n, nil
	case inClose:
		h.sink.raw(h.body, b, false)
		return len(b), nil
	case inChunkSize, inChunkEnd, inTrailer:
		return d.chunkLine(dir, h, b), nil
	case lost:
		n := d.resync(dir, h, b)
		if h.strange {
			d.loneCR(b[:min(n+1, len(b))])
		}
		if d.hopeless() {
			return n, errNotHTTP
		}
		if n == 0 && h.state == inHead {
			return d.readHead(dir, h, b)
		}
		return n, nil
	case passed:
		return d.upgraded.decode(dir, b)
	}
	return len(b), nil // dead
}

// readHead takes the head of a message, whole or in pieces. It takes nothing while it waits for more of b or for the
// other side: waits says when.
func (d *decoder) readHead(dir capture.Dir, h *half, b []byte) (int, error) {
	if n, stop, err := d.waits(dir, h, b); stop {
		return n, err
	}
	if !h.begun {
		if n := d.beginHead(dir, h, b); !h.begun {
			return n, nil
		}
	}
	if len(h.head) > 0 {
		return d.headPiece(dir, h, b)
	}
	if dir == capture.Resp && d.old {
		switch responseAt(b) {
		case possible:
			return 0, nil
		case impossible:
			d.oldResponse(h)
			return d.step(dir, h, b)
		}
		if d.raw == nil {
			d.raw = &rawReply{}
			d.raw.file.Open(d.opt.Files)
			d.raw.file.NoCopy() // that of what the server meant is there
			d.raw.write(d.ctx.At(), b)
		}
	}
	if n, done, err := d.wholeHead(dir, h, b); done {
		return n, err
	}
	return d.headPiece(dir, h, b)
}

// waits reports whether b is not to be read as a head now: the client's bytes behind CONNECT or an upgrade, which may
// belong to a tunnel, and answers to what is not known to be a request yet.
func (d *decoder) waits(dir capture.Dir, h *half, b []byte) (n int, stop bool, err error) {
	if dir == capture.Orig && len(h.head) == 0 {
		if d.connecting || d.upgrading && requestAt(b) != certain {
			n := emptyLines(b)
			switch {
			case n > 0: // no protocol that is spoken in a tunnel begins like this
				return n, true, nil
			case len(b) <= maxWait:
				d.refused = true
				return 0, true, nil
			case requestAt(b) != certain:
				d.flush(true)
				return 0, true, decoders.ErrSwitch
			}
			d.connecting, d.upgrading = false, false // whoever goes on with requests was refused
		}
		d.refused = false
	}
	if dir == capture.Resp && d.refused && !d.connecting && !d.upgrading {
		return 0, true, nil // the answer came; now it is the client's turn, so that requests are known before their answers
	}
	if dir == capture.Resp && d.fresh() && d.half[capture.Orig].begun && len(h.head) == 0 && len(b) <= maxWait &&
		responseAt(b) != certain {
		return 0, true, nil // whether this is a bad answer hangs on whether that becomes a request
	}
	return 0, false, nil
}

// beginHead begins a message at b, unless it passes bytes that stand before it.
func (d *decoder) beginHead(dir capture.Dir, h *half, b []byte) int {
	// RFC 9112 section 2.2: empty lines before a message are ignored.
	if n := emptyLines(b); n > 0 {
		d.loneCR(b[:min(n+1, len(b))])
		if n == len(b) && b[n-1] == '\r' {
			n-- // what follows it says whether it stands alone
		}
		return n
	}
	if !h.entered {
		h.entered = true
		if d.keepAlive(dir, b) {
			return 1
		}
	}
	h.begun, h.at = true, d.ctx.At()
	return 0
}

// wholeHead takes a head of which all is in b; done says that it was one, or rubbish.
func (d *decoder) wholeHead(dir capture.Dir, h *half, b []byte) (n int, done bool, err error) {
	if n := h.repeats(b); n > 0 {
		if ok, err := d.parseHead(dir, h, b[:n], h.block); ok {
			return n, true, err
		}
	}
	if end := headEnd(dir, b, 0); end > 0 && end <= maxHead {
		head := b[:end]
		if oddLines(head) {
			if !goodStart(dir, head) {
				return bytes.IndexByte(b, '\n') + 1, true, d.garbage(dir, h, b)
			}
			head = d.splitOdd(head)
		}
		ok, err := d.parseHead(dir, h, head, nil)
		if !ok {
			return bytes.IndexByte(b, '\n') + 1, true, d.garbage(dir, h, b)
		}
		return len(head), true, err
	}
	return 0, false, nil
}

// headPiece takes a head in pieces.
func (d *decoder) headPiece(dir capture.Dir, h *half, b []byte) (int, error) {
	old := len(h.head)
	n := min(len(b), maxHead-old)
	h.head = append(h.head, b[:n]...)
	// What cannot become a message is told by its first line, wherever the pieces end.
	first := bytes.IndexByte(h.head, '\n')
	if first >= 0 && first >= old && !goodLine(dir, h.head[:first]) {
		err := d.garbage(dir, h, h.head)
		h.dropHead()
		return first + 1 - old, err
	}
	if first < 0 && !plausible(dir, h.head) {
		err := d.garbage(dir, h, h.head)
		h.dropHead()
		h.midline = true
		if n > 0 && b[n-1] == '\r' {
			n-- // what follows it says whether it stands alone
		}
		return n, err
	}
	if end := headEnd(dir, h.head, old); end > 0 {
		head := h.head[:end]
		if oddLines(head) {
			return end - old, d.oddHead(dir, h, head)
		}
		_, err := d.parseHead(dir, h, head, nil)
		h.dropHead()
		return end - old, err
	}
	if len(h.head) >= maxHead {
		return n, d.longHead(dir, h)
	}
	return n, nil
}

// longHead makes room in a head that is longer than is kept, or reads what is there of it.
func (d *decoder) longHead(dir capture.Dir, h *half) error {
	d.weird("HTTP_head_too_long", "")
	h.shorten()
	if len(h.head) <= maxHead/2 {
		return nil
	}
	_, err := d.parseHead(dir, h, h.head, nil)
	h.dropHead()
	if err == nil && h.state != lost {
		d.lose(dir, h)
	}
	return err
}

// shorten makes room in a head that is longer than is kept: aiohttp bounds its lines and not their number. It keeps the
// first line, the fields that came first, those by which the body is read, and the line that has no end yet.
func (h *half) shorten() {
	b := oneBlank(h.head)
	h.head = b
	to := bytes.IndexByte(b, '\n') + 1
	if to == 0 {
		return // a line as long as this is none of a message
	}
	kept, needs := false, 0
	for at := to; at < len(b); {
		n := bytes.IndexByte(b[at:], '\n') + 1
		line := b[at:]
		if n > 0 {
			line = b[at : at+n]
		} else if n = len(line); n > maxLine {
			line = line[:maxLine] // the rest of it is read as if it had begun here
		}
		if folded := line[0] == ' ' || line[0] == '\t'; !folded {
			name, _, ok := bytes.Cut(line, []byte(":"))
			kept = to < maxHead/8
			if !kept && ok && needs < maxNeeded && needed(string(bytes.TrimRight(name, " \t"))) {
				kept = true
				needs++
			}
		}
		if kept && to+len(line) <= maxHead/4 || at+n == len(b) {
			to += copy(b[to:], line)
		}
		at += n
	}
	h.head = b[:to]
}

// keepAlive says whether a capture that began inside a connection has one byte before the first message that is none of
// it: the keep-alive probe of an idle connection repeats the byte before the next, or sends any (RFC 9293 section 3.8.4).
func (d *decoder) keepAlive(dir capture.Dir, b []byte) bool {
	if !d.ctx.Flow().Mid {
		return false
	}
	return startAt(dir, b) == impossible && (len(b) == 1 || startAt(dir, b[1:]) == certain)
}

// oneBlank leaves one of many blanks, in place: servers take any number before a value, or between the words of a request
// line.
func oneBlank(b []byte) []byte {
	to := 0
	for i, c := range b {
		if (c == ' ' || c == '\t') && i > 0 && (b[i-1] == ' ' || b[i-1] == '\t') {
			continue
		}
		b[to] = c
		to++
	}
	return b[:to]
}

// oddHead reads a head that came in pieces and has odd lines. What stands behind its end was taken with it.
func (d *decoder) oddHead(dir capture.Dir, h *half, b []byte) error {
	var n int
	var ok bool
	var err error
	if goodStart(dir, b) {
		head := d.splitOdd(b)
		n = len(head)
		ok, err = d.parseHead(dir, h, head, nil)
	}
	if !ok {
		n, err = bytes.IndexByte(b, '\n')+1, d.garbage(dir, h, b)
	}
	rest := bytes.Clone(b[n:])
	h.dropHead()
	for len(rest) > 0 && err == nil {
		n, err = d.step(dir, h, rest)
		if rest = rest[n:]; n == 0 {
			break
		}
	}
	return err
}

// dropHead empties the buffer of pieces; a big one is not kept for the life of the flow.
func (h *half) dropHead() {
	if cap(h.head) > 4<<10 {
		h.head = nil
	}
	h.head = h.head[:0]
}

// emptyLines counts the CR and LF at the start of b.
func emptyLines(b []byte) (n int) {
	for n < len(b) && (b[n] == '\r' || b[n] == '\n') {
		n++
	}
	return n
}

// headEnd gives the length of the head at the start of b, 0 if it is not complete. b[:from] was looked at before.
func headEnd(dir capture.Dir, b []byte, from int) int {
	i := max(from-2, 0)
	if dir == capture.Orig {
		// A request line without a version is a whole head: HTTP/0.9.
		if first := bytes.IndexByte(b, '\n'); first >= from && oldRequest(b[:first]) {
			return first + 1
		}
	}
	for {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return 0
		}
		i += n + 1
		if i < len(b) && b[i] == '\n' {
			return i + 1
		}
		if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
			return i + 2
		}
	}
}

// garbage is bytes where a message should begin: b, and what came with them.
func (d *decoder) garbage(dir capture.Dir, h *half, b []byte) error {
	// Zeek looks at whole lines, and at those of a client only if it may have more to ask.
	h.garbled, h.strange, h.tail = true, !d.seen, [len(h.tail)]byte{}
	h.refutes = !h.resumed && (dir == capture.Resp || d.depth == 0 || d.persists)
	d.lose(dir, h)
	if n := lineEnd(b); n > 0 {
		d.refute(dir, h, b[:n])
		d.loneCR(b[:min(n+1, len(b))])
	} else {
		h.skip(b)
	}
	if d.hopeless() {
		return errNotHTTP
	}
	return nil
}

// hopeless says that both directions began with a line that is none of HTTP, or that nothing of it came in as many bytes
// as are looked at.
func (d *decoder) hopeless() bool {
	if d.seen {
		return false
	}
	o, r := &d.half[capture.Orig], &d.half[capture.Resp]
	return o.state == lost && r.state == lost && !o.garbled && !r.garbled || o.strangeTo(r) || r.strangeTo(o)
}

// strangeTo says that h had nothing but what is none of HTTP for long, and that nothing of it is to be expected of the
// other direction.
func (h *half) strangeTo(peer *half) bool {
	return h.state == lost && h.lostBytes > maxStrange && (peer.state == dead || peer.state == lost && peer.lostBytes > maxStrange)
}

// refute tells that a line that is whole is none of a message, and takes the name of the flow back for it. b is what
// the line ends with, behind what was skipped of it.
func (d *decoder) refute(dir capture.Dir, h *half, b []byte) {
	if h.garbled {
		h.garbled = false
		h.skip(b)
		switch {
		case dir == capture.Orig && bytes.HasPrefix(h.tail[:], []byte(" HTTP/")):
			d.weird("bad_HTTP_request_with_version", "")
		case dir == capture.Orig:
			d.weird("bad_HTTP_request", "")
		case dir == capture.Resp && d.seen:
			d.weird("bad_HTTP_reply", "")
		}
	}
	if h.refutes {
		h.refutes, d.refuted = false, d.known // Zeek turns away for good only from what it knew for HTTP
		d.ctx.Refute("http")
	}
}

// skip notes the end of what is skipped of a line.
func (h *half) skip(b []byte) {
	b = bytes.TrimRight(b, "\r\n")
	n := copy(h.tail[:], h.tail[min(len(b), len(h.tail)):])
	copy(h.tail[n:], b[len(b)-min(len(b), len(h.tail)):])
}

// lineEnd gives the length of the line at the start of b with its end, which for Zeek is LF or a CR without one.
func lineEnd(b []byte) int {
	n := bytes.IndexByte(b, '\n') + 1
	if i := bytes.IndexByte(b, '\r'); i >= 0 && i+1 < len(b) && b[i+1] != '\n' && (n == 0 || i < n) {
		return i + 1
	}
	return n
}

// loneCR says so when a CR in b stands before something else than LF.
func (d *decoder) loneCR(b []byte) {
	for {
		i := bytes.IndexByte(b, '\r')
		if i < 0 || i+1 == len(b) {
			return
		}
		if b[i+1] != '\n' {
			d.weird("line_terminated_with_single_CR", "")
			return
		}
		b = b[i+2:]
	}
}

// lose gives up on the message being read and looks for the next one.
func (d *decoder) lose(dir capture.Dir, h *half) {
	if h.ex != nil {
		d.finish(dir, h, false)
	}
	h.state, h.dropped, h.begun, h.midline, h.lostBytes = lost, true, false, false, 0
	h.dropHead()
	if d.upgraded != nil {
		h.state = passed // the next message is none of HTTP/1
	}
}

// resync looks for a line that starts a message.
func (d *decoder) resync(dir capture.Dir, h *half, b []byte) int {
	limit := maxLost
	if !d.seen {
		limit = maxStrange
	}
	if h.lostBytes > limit && !h.garbled && !h.refutes {
		// Whoever sends a message mostly begins a segment with it.
		if startAt(dir, b) != impossible && (len(b) < maxLostLine || startAt(dir, b) == certain) {
			h.midline = false
		} else {
			return len(b)
		}
	}
	used := 0
	for used < len(b) {
		line := b[used:]
		if !h.midline {
			c := startAt(dir, line)
			if c == certain {
				h.state, h.resumed = inHead, true
				return used
			}
			if c == possible && len(line) < maxLostLine {
				h.lostBytes += used
				return used
			}
		}
		if n := lineEnd(line); (h.garbled || h.refutes) && n > 0 {
			d.refute(dir, h, line[:n])
			d.loneCR(line[:min(n+1, len(line))])
			if d.hopeless() {
				return used + n
			}
		} else if h.garbled {
			h.skip(line)
		}
		n := bytes.IndexByte(line, '\n') + 1
		if h.midline = n == 0; n == 0 {
			if n = len(line); line[n-1] == '\r' {
				used += n - 1 // as above
				break
			}
		}
		used += n
	}
	if h.lostBytes += used; d.seen && h.lostBytes > maxLost {
		d.weird("HTTP_resync_failed", "")
	}
	return used
}

// parseHead reads a head; not ok means that its first line is none of a message. same is its field block if that is
// known already.
func (d *decoder) parseHead(dir capture.Dir, h *half, b []byte, same *block) (ok bool, err error) {
	if dir == capture.Orig {
		return d.request(h, b, same)
	}
	return d.response(h, b, same)
}

func (d *decoder) newExchange(at capture.At) *exchange {
	d.depth++
	ex := &exchange{}
	ex.tx.At, ex.tx.Depth = at, d.depth
	if len(d.queue) > maxPending+d.kept {
		d.shorten()
	}
	d.queue = append(d.queue, slot{ex: ex})
	return ex
}

// shorten lets go of requests that wait for their answers: as many as Zeek remembers are kept. Of the others it is known
// that they will be answered, so that the answers behind them are read as such and those to what somebody wants to see
// find it.
func (d *decoder) shorten() {
	d.weird("HTTP_excessive_pipelining", "")
	kept, wanted, runs := d.queue[:0], 0, 0
	for _, s := range d.queue {
		ex := s.ex
		if ex != nil && (!ex.reqDone || ex.answered || ex == d.half[0].ex || ex == d.half[1].ex || ex.req.Body.Data != nil && wanted < maxPending) {
			wanted++
			kept = append(kept, s)
			continue
		}
		if ex != nil {
			s = slot{gone: 1, head: ex.req.Method == "HEAD"}
			d.hand(ex)
		}
		if n := len(kept) - 1; n >= 0 && kept[n].ex == nil && (kept[n].head == s.head || runs >= maxGone) {
			kept[n].gone += s.gone
			continue
		}
		runs++
		kept = append(kept, s)
	}
	clear(d.queue[len(kept):])
	d.queue = kept
	d.kept = len(kept)
}

func (d *decoder) request(h *half, b []byte, same *block) (ok bool, err error) {
	line, rest := cutLine(b)
	r, ok := parseRequestLine(line)
	if !ok || r.http09 && same != nil {
		return false, nil // without a version the line is all there is of the head
	}
	if r.preface() {
		return true, errHTTP2
	}
	if !d.known {
		d.known = true
		d.ctx.Confirm("http")
	}
	if d.orphaned {
		d.orphaned = false
		d.weird("HTTP_response_before_request", "")
	}
	d.seen = true
	ex := d.newExchange(h.at)
	q := &ex.req
	ex.tx.Request, ex.rtsp = q, r.rtsp
	q.At, q.From = h.at, d.from(h, r.rtsp)|capture.Doubted.When(d.doubted())
	if r.http09 {
		q.Method, q.Target, q.Version = string(r.method), string(r.target), "0.9"
		if q.Method != "GET" {
			d.weird("invalid_http_09_request_method", q.Method)
		}
		// That is all of it, but fields may follow all the same; they are read like a trailer.
		d.old = true
		if len(rest) > 0 { // "/HTTP/1.1"
			var f framing
			q.Header = d.fields(string(rest), b, &f)
		} else {
			h.ex, h.body, h.state = ex, &q.Body, inTrailer
		}
	} else {
		q.Method, q.Version = knownMethod(r.method), version(r.major, r.minor)
		if q.Method == "" && d.depth == 1 && d.ctx.Flow().Mid {
			q.Method = knownMethod(r.method[1:]) // behind a keep-alive probe that looks like a letter
		}
		if q.Method == "" {
			q.Method = string(r.method)
			d.foreign = d.foreign || d.depth == 1 && !recognised(q.Method)
			d.weird("unknown_HTTP_method", q.Method)
		}
		if last := h.target; string(r.target) == last {
			q.Target = last
		} else {
			q.Target = string(r.target)
			h.target = q.Target
		}
		if r.lower {
			d.weird("lowercase_HTTP_keyword", "")
		}
		if len(r.target) == 0 {
			d.weird("missing_HTTP_uri", "")
		}
		k := d.block(h, b, rest, same)
		q.Header, q.block = k.header, k
		d.requestFraming(h, ex, &k.framing)
	}
	d.targetWeirds(q.Target)
	if v := d.version[0]; v != "" && v != q.Version {
		d.weird("HTTP_version_mismatch", "")
	}
	d.version[0] = q.Version
	if d.depth > 1 && !d.persists {
		d.weird("unexpected_multiple_HTTP_requests", "")
	}
	d.persists = d.persists || q.Version > "1.0"
	h.begun = false
	if h.state == inHead {
		h.ex, h.body = ex, &q.Body
		d.finish(capture.Orig, h, true)
	}
	return true, nil
}

// requestFraming says how the body of a request ends (RFC 9112 section 6.3).
func (d *decoder) requestFraming(h *half, ex *exchange, f *framing) {
	q := &ex.req
	d.persists = d.persists || f.keepAlive
	conflict := f.conflict
	if f.te && q.Version < "1.1" {
		conflict = true // RFC 9112 section 6.1: Transfer-Encoding in a 1.0 message is faulty framing
	}
	if f.te && f.hasLength {
		conflict = true
		d.weird("HTTP_content_length_and_chunked", "")
	}
	if f.te && !f.chunked {
		conflict = true
		d.weird("HTTP_transfer_encoding_not_chunked", "")
	}
	if f.expect && f.hasLength && f.length == 0 {
		d.weird("HTTP_content_length_0_and_expect_100_cont", "")
	}
	q.Body.Conflict = conflict
	switch {
	case q.Method == "CONNECT":
		// No body; what follows belongs to the tunnel, if there will be one.
		d.connecting = true
		return
	case f.chunked || f.loose:
		h.state, q.Body.Chunked = inChunkSize, true
	case f.below: // no server reads such a body to its end
	case f.length > 0:
		h.state, h.remain = inBody, f.length
	}
	d.upgrading = f.upgrade != ""
	if h.state != inHead {
		d.openBody(h, ex, &q.Body, f, false)
	}
}

func (d *decoder) openBody(h *half, ex *exchange, body *Body, f *framing, resp bool) {
	want := 0
	if d.opt.KeepBody != nil {
		if want = min(d.opt.KeepBody(&ex.tx, resp), maxKeep); want < 0 {
			body.Encoding = f.encoding
			shut := *f
			shut.encoding = ""
			f = &shut
		}
	}
	h.ex, h.body = ex, body
	h.firstChunk, h.lastChunk, h.uneven = 0, 0, false
	h.sink.open(d, body, f, max(want, 0), h.remain, resp)
	if !resp && want > 0 {
		h.sink.asked, h.sink.tx = true, &ex.tx
	}
	if want < 0 {
		h.sink.file.NoDigest()
		h.sink.file.NoCopy()
	} else if d.opt.Label != nil {
		h.sink.file.Label(d.opt.Label(&ex.tx, resp))
	}
}

// response reads the head of a response.
func (d *decoder) response(h *half, b []byte, same *block) (ok bool, err error) {
	line, rest := cutLine(b)
	r, ok := parseStatusLine(line)
	if !ok {
		return false, nil
	}
	d.seen, d.foreign = true, false
	ex := d.answers(h.at)
	p := &ex.resp
	interim, interimReason := p.Status, p.Reason
	*p = Response{At: h.at, Version: version(r.major, r.minor), Status: r.status, From: d.from(h, ex.rtsp) | capture.Doubted.When(d.doubted())}
	if interim >= 100 {
		p.Informational, p.InformationalReason = interim, interimReason
	}
	if r.reasonAt > 0 {
		p.Reason = reason(line[r.reasonAt:])
		p.hasReason = true
	}
	if v := d.version[1]; v != "" && v != p.Version {
		d.weird("HTTP_version_mismatch", "")
	}
	d.version[1] = p.Version
	d.persists = d.persists || p.Version > "1.0"
	k := d.block(h, b, rest, same)
	f := &k.framing
	p.Header, p.block = k.header, k
	h.begun = false
	d.closing = d.closing || f.close

	if r.status/100 == 1 && !(r.status == 101 && f.upgrade != "") {
		return true, nil // the answer itself is still to come
	}
	ex.answered = true
	ex.tx.Response = p
	p.Body.Conflict = f.conflict
	h.ex, h.body = ex, &p.Body
	if r.status == 101 || ex.req.Method == "CONNECT" && r.status/100 == 2 {
		return true, d.switches(h, ex, f)
	}
	d.connecting, d.upgrading = false, false
	d.delimit(h, ex, f)
	if h.state == inHead {
		d.finish(capture.Resp, h, true)
		return true, nil
	}
	d.openBody(h, ex, &p.Body, f, true)
	switch {
	case len(h.sink.stages) > 0:
	case h.sink.multi == nil:
		ex.ranged = d.openRange(ex)
		h.sink.ranged = ex.ranged
	case strings.HasPrefix(strings.ToLower(f.contentType), "multipart/byteranges"):
		ex.ranged = d.openRanges(ex)
		h.sink.multi.ranged = ex.ranged
	}
	// Zeek reads a body without length and without Connection: close line by line.
	h.sink.lines = h.state == inClose && !d.closing && !h.sink.inflating()
	if h.sink.lines && d.opt.Files.Copying(file.All) {
		h.sink.copyExactly()
	}
	return true, nil
}

// switches ends HTTP after a response that leads to another protocol: 101, or success of CONNECT.
func (d *decoder) switches(h *half, ex *exchange, f *framing) error {
	if ex.resp.Status == 101 && strings.EqualFold(f.upgrade, "websocket") {
		d.ctx.Confirm("websocket") // agreed on, whatever follows
	}
	if ex.resp.Status == 101 && d.opt.Upgrade != nil && ex.tx.Request != nil && strings.EqualFold(firstToken(f.upgrade), "h2c") {
		d.passOn(h, ex)
		return nil
	}
	d.finish(capture.Resp, h, true)
	d.flush(true)
	return decoders.ErrSwitch
}

// delimit decides how the body of a response ends, and that there is none, where h stays inHead (RFC 9112 section 6.3).
func (d *decoder) delimit(h *half, ex *exchange, f *framing) {
	p := &ex.resp
	if f.te && f.hasLength {
		p.Body.Conflict = true
		d.weird("HTTP_content_length_and_chunked", "")
	}
	if f.te && !f.chunked {
		d.weird("HTTP_transfer_encoding_not_chunked", "")
	}
	h.remain = 0
	// Clients do not take chunks from a server that does not speak 1.1; servers do not care (RFC 9112 section 6.1).
	chunked := (f.chunked || f.loose) && p.Version == "1.1"
	p.Body.Conflict = p.Body.Conflict || f.te && !(chunked && f.chunked)
	switch {
	case ex.req.Method == "HEAD" || p.Status == 204 || p.Status == 304:
	case chunked:
		h.state, p.Body.Chunked = inChunkSize, true
	case f.hasLength:
		if f.length > 0 {
			h.state, h.remain = inBody, f.length
		}
	default:
		h.state = inClose
	}
}

// oldResponse begins an HTTP/0.9 answer: a body and nothing else.
func (d *decoder) oldResponse(h *half) {
	d.old, d.seen = false, true
	ex := d.answers(h.at)
	ex.resp = Response{At: h.at, Version: "0.9", From: d.from(h, false)}
	ex.answered, ex.tx.Response = true, &ex.resp
	h.state = inClose
	d.openBody(h, ex, &ex.resp.Body, &framing{}, true)
}

// answers finds the request that a response belongs to: the first one without an answer.
func (d *decoder) answers(at capture.At) *exchange {
	if d.half[capture.Resp].dropped {
		// Answers were lost. Few clients pipeline, so this is the answer to what was asked last.
		d.half[capture.Resp].dropped = false
		for len(d.queue) > 1 && (d.queue[0].ex == nil || d.queue[0].ex.reqDone) {
			if ex := d.queue[0].ex; ex != nil {
				d.emit(ex)
			} else {
				d.queue = slices.Delete(d.queue, 0, 1)
			}
		}
	}
	for i := range d.queue {
		s := &d.queue[i]
		if s.ex != nil {
			if !s.ex.answered {
				return s.ex
			}
			continue
		}
		d.depth++
		ex := &exchange{reqDone: true}
		ex.tx.At, ex.tx.Depth = at, d.depth
		if s.head {
			ex.req.Method = "HEAD"
		}
		if s.gone--; s.gone == 0 {
			s.ex = ex
		} else {
			d.queue = slices.Insert(d.queue, i, slot{ex: ex})
		}
		return ex
	}
	ex := d.newExchange(at)
	ex.reqDone = true
	d.orphaned = true
	return ex
}

// finish ends the message that is being read.
func (d *decoder) finish(dir capture.Dir, h *half, complete bool) {
	ex, body := h.ex, h.body
	h.ex, h.body = nil, nil
	if body.Chunked {
		if !h.uneven && body.Chunks > 1 && h.firstChunk <= tinyChunk && h.lastChunk <= h.firstChunk {
			body.TinyChunk = int(h.firstChunk)
		}
	}
	complete = complete && !h.partial
	h.partial = false
	body.Complete = complete
	h.sink.close(d, body)
	h.state, h.begun = inHead, false
	if dir == capture.Orig {
		if complete {
			ex.req.Done = d.ctx.At()
		}
		ex.reqDone = true
		if d.upgraded != nil {
			d.upgraded.asked(h)
			return
		}
	} else {
		if complete {
			ex.resp.Done = d.ctx.At()
		}
		ex.respDone = true
	}
	if ex.reqDone && (ex.respDone || !ex.answered && d.half[capture.Resp].ended) {
		late := dir == capture.Orig && ex.respDone && !(ex.req.From | ex.resp.From).Has(apart) && !(body.From != 0 && body.Missing > 0)
		n := ex.req.Body.rowLen
		if late {
			ex.req.Body.rowLen = 0
		}
		d.emit(ex)
		if late {
			d.depth++
			d.ctx.Emit(&Late{At: d.ctx.At(), Flow: d.ctx.Flow(), Depth: d.depth, Len: n})
		}
	}
}

// emit hands out ex and takes it off the queue.
func (d *decoder) emit(ex *exchange) {
	for i := range d.queue {
		if d.queue[i].ex == ex {
			copy(d.queue[i:], d.queue[i+1:])
			d.queue[len(d.queue)-1] = slot{}
			d.queue = d.queue[:len(d.queue)-1]
			break
		}
	}
	d.hand(ex)
}

// hand hands out ex.
func (d *decoder) hand(ex *exchange) {
	if ex.tx.Response == nil && ex.resp.Status != 0 {
		// Nothing came after the informational answer.
		ex.resp.Informational, ex.resp.InformationalReason = ex.resp.Status, ex.resp.Reason
		ex.tx.Response = &ex.resp
	}
	ex.tx.Flow = d.ctx.Flow()
	ex.req.From |= capture.Unconfirmed.When(d.foreign)
	ex.tx.describe(capture.Orig, ex.req.block, &ex.req.Body, ex.req.From)
	ex.tx.describe(capture.Resp, ex.resp.block, &ex.resp.Body, ex.resp.From)
	if d.raw != nil && ex.answered && ex.req.Version == "0.9" {
		d.rawly(ex)
	}
	for _, f := range ex.req.Body.Files {
		d.ctx.Emit(f)
	}
	d.answered(ex)
	d.ctx.Emit(&ex.tx)
}

// flush emits what waits. Without all, messages that are still being read are left alone.
func (d *decoder) flush(all bool) {
	for i := 0; i < len(d.queue); {
		ex := d.queue[i].ex
		if ex == nil {
			if i++; all {
				i--
				d.queue = slices.Delete(d.queue, i, i+1)
			}
			continue
		}
		if !all && (!ex.reqDone || ex == d.half[0].ex || ex == d.half[1].ex) {
			i++
			continue
		}
		for dir := range d.half {
			if h := &d.half[dir]; h.ex == ex {
				h.sink.close(d, h.body)
				h.ex, h.body = nil, nil
			}
		}
		d.emit(ex)
	}
}

// close gives back what was borrowed from the pools, and tells what was waiting for more.
func (d *decoder) close() {
	for _, r := range d.ranges {
		d.tell(r, true)
	}
	d.ranges = nil
	if d.raw != nil {
		d.raw.file.Drop()
		d.raw = nil
	}
	for dir := range d.half {
		d.half[dir].sink.letGo(d.pools)
		d.half[dir].sink = sink{}
		d.half[dir].state = dead
	}
}

// Release implements decoders.Releaser: a decoder is more than a kilobyte, a quarter of what short connections
// allocated in all.
func (d *decoder) Release() {
	clear(d.queue)
	opt, pools, queue, told := d.opt, d.pools, d.queue[:0], d.told[:0]
	var heads [2][]byte
	for i := range d.half {
		h := &d.half[i]
		h.sink.letGo(pools)
		h.dropHead()
		heads[i] = h.head
	}
	*d = decoder{} // in place: a literal with the rest in it would be made elsewhere and copied
	d.opt, d.pools, d.queue, d.told = opt, pools, queue, told
	for i := range d.half {
		d.half[i].head = heads[i]
	}
	pools.http.Put(d)
}

// Gap implements decoders.Decoder. A gap within a body of known length only leaves a hole; elsewhere the next message
// start is searched for.
func (d *decoder) Gap(dir capture.Dir, n int64) bool {
	h := &d.half[dir]
	if dir == capture.Orig {
		d.refused = false
	}
	switch h.state {
	case passed:
		return d.upgraded.next.Gap(dir, n)
	case inBody, inChunkData:
		if h.body.Len == 0 {
			h.resumed = true // Zeek reads no further in this direction; what the other says it logs
		}
		if n <= h.remain {
			h.sink.gap(h.body, n)
			if h.remain -= n; h.remain == 0 {
				if h.state == inChunkData {
					h.state = inChunkEnd
				} else {
					d.finish(dir, h, false)
				}
			}
			return true
		}
		h.sink.shutAt(h.body, n)
		h.sink.gap(h.body, h.remain)
	case inClose:
		h.sink.shutAt(h.body, n)
		h.sink.gap(h.body, n)
		return true
	case inHead:
		d.partialHead(dir, h)
	case dead:
		return d.half[dir.Peer()].state != dead
	}
	h.garbled, h.strange = false, false // Zeek reads no lines behind a loss
	d.lose(dir, h)
	return true
}

// partialHead reads a head whose end will not come, for what is there.
func (d *decoder) partialHead(dir capture.Dir, h *half) {
	if len(h.head) == 0 {
		return
	}
	head := h.head
	if bytes.IndexByte(head, '\n') < 0 && dir == capture.Orig {
		// Of a line that is cut the method and the target may be whole. Zeek reads whole lines alone.
		method, rest, _ := bytes.Cut(head, []byte(" "))
		if target, _, ok := bytes.Cut(rest, []byte(" ")); ok && len(target) > 0 && knownMethod(method) != "" {
			head = append(head[:len(method)+1+len(target)], " HTTP/1.1\r\n"...)
			h.resumed = true
		}
	}
	if i := bytes.LastIndexByte(head, '\n'); i >= 0 {
		h.partial = true
		_, err := d.parseHead(dir, h, head[:i+1], nil)
		if err != nil {
			d.flush(true)
			d.close()
		}
	}
	h.dropHead()
}

// End implements decoders.Decoder.
func (d *decoder) End(dir capture.Dir) {
	h := &d.half[dir]
	if h.ended {
		return
	}
	if h.state == inHead {
		d.partialHead(dir, h)
	}
	if dir == capture.Orig {
		d.refused = false
	}
	h.ended = true
	if d.upgraded != nil {
		d.upgraded.end(dir, h)
		return
	}
	if e, ok := d.ctx.(decoders.Ender); ok && e.Closed() {
		d.refute(dir, h, nil) // the end of the stream is that of its last line too
	}
	if h.ex != nil {
		whole := (h.state == inClose || h.state == inTrailer && h.ex.req.Version == "0.9") && h.body.Missing == 0
		d.finish(dir, h, whole)
	}
	h.state = dead
	if dir == capture.Resp {
		d.flush(false)
	}
	if d.half[0].ended && d.half[1].ended {
		d.flush(true)
		d.close()
	}
}

// apart is what sets a message apart from those before it in the flow.
const apart = capture.AfterGap | capture.OtherProtocol

// from tells of a message that begins in h; rtsp: in the name of RTSP.
func (d *decoder) from(h *half, rtsp bool) capture.Provenance {
	return capture.AfterGap.When(h.resumed) | capture.OtherProtocol.When(d.refuted || rtsp)
}

func (d *decoder) doubted() bool { return d.doubter != nil && d.doubter.Doubted() }

// weird reports an oddity once a flow.
func (d *decoder) weird(name, addl string) {
	d.odd = true
	for _, n := range d.told {
		if n == name {
			return
		}
	}
	d.told = append(d.told, name)
	if len(addl) > maxAddl {
		addl = addl[:maxAddl]
	}
	d.ctx.Weird(name, addl)
}

// Detail of a weird: enough to recognise it by.
const maxAddl = 100
