// Package http2 reads HTTP/2 (RFC 9113) and the gRPC messages in it.
//
// In: the ordered bytes of a TCP flow or of a nested stream, in clear: with prior knowledge (the preface), behind an
// upgrade to h2c, or from any point of a connection that began before the capture did. Out, for each stream:
//
//	*Call   a gRPC call that is over, with its path, metadata, status, counts and the messages that no Part told of;
//	        it is also the row of grpc.log
//	*Part   what a gRPC call that is not over yet has said since the last Part: so that a stream that lives for days,
//	        or an answer that takes hours, is judged when it happens; made only of calls that Options.Keep wants
//
// What is no gRPC call goes, fields and bodies, to an Exchange that Options.HTTP makes, which says what it is in HTTP: so
// that a request over HTTP/2 is the same event as one over HTTP/1, read by the same code. A stream is gRPC if its
// content type says so. It is not if the header was read whole and does not, or names what gRPC never has: another
// method than POST, another path than /service/method. Of a header whose names are partly unknown the first bytes of the
// body decide. What CONNECT opens is a stream in a stream, and probed as such.
//
// Messages are cut out of DATA by their length prefix. As much of each is kept as Options.Keep asks for; the rest is
// counted. Compressed ones (gzip, deflate) are inflated, as far as the bound.
//
// A connection that began earlier is the rule with Ray. Its frames are recognised by a chain of strict headers, from
// either side; its HPACK tables are unknown. An index that refers to an entry from before resolves to nothing (it is
// counted in Call.Unknown), one that refers to an entry that was seen to be inserted resolves to that: indices count
// from the newest, so the old part of a table need not be known. No header is ever guessed. After lost bytes the
// direction's table is forgotten and the next chain of frames is looked for, unless the loss lies within one DATA frame,
// which is stepped over exactly.
//
// Weirds, each once a connection: http2_bad_frame, http2_frame_too_large, http2_unknown_frame, http2_reserved_bit,
// http2_bad_hpack, http2_header_block_too_large, http2_header_list_truncated, http2_continuation_flood,
// http2_empty_frames, http2_rapid_reset, http2_settings_flood, http2_ping_flood, http2_stream_limit,
// http2_message_budget, http2_body_budget, http2_tunnel_limit, http2_lost_frames.
//
// It does not see: HTTP/2 inside TLS; server push (its header blocks are read for the table's sake); flow control,
// priorities and settings, which change nothing of what was said.
package http2

import (
	"bytes"
	"errors"
	"iter"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// Options of the decoder. The zero value counts messages and keeps none.
type Options struct {
	// Keep says how many bytes of each message of a call are wanted, at most MaxMessage, and whether its parts are told
	// while it lives (anything but 0). It is asked when the request's header was read, or when a call that began before
	// the capture is first seen: Path is "" if it is unknown. It must not keep c.
	Keep func(c *Call) int
	// Follow, if set, gives what reads the messages of a call as they come, however long they are; nil if nobody does. It is
	// asked when Keep is, and must not keep c.
	Follow func(ctx decoders.Context, c *Call) Follower
	// HTTP gives what makes exchanges of the streams of one connection that are no gRPC. nil: they are not told of.
	HTTP func(ctx decoders.Context) func() Exchange
}

// Follower reads the messages of one call as they come. resp says that bytes are of the answer.
type Follower interface {
	// Message begins a message of n bytes.
	Message(resp bool, n int, compressed bool)
	// Data takes the next bytes of it, borrowed.
	Data(at capture.At, resp bool, b []byte)
	// Gap says that n bytes of it are missing; 0: nobody knows how many, and where the next message begins.
	Gap(at capture.At, resp bool, n int)
	// Close says that the call is over. The Call is told of behind it.
	Close()
}

// Exchange is a request and its answer in the making. Originator is the client. What it holds is let go of by Tell or
// Drop, one of which is called last.
type Exchange interface {
	// Head takes the fields of a header block in their order, those that begin with a colon among them: of the request,
	// of informational answers, of the answer, of a trailer. partial says that some are missing, end that no body follows.
	// It returns whether DATA from here on is that of a tunnel.
	Head(dir capture.Dir, fields iter.Seq2[string, string], partial, end bool) (tunnel bool)
	// Data takes the next bytes of a body, borrowed.
	Data(dir capture.Dir, b []byte)
	// Gap says that n bytes of a body are missing; 0: nobody knows how many.
	Gap(dir capture.Dir, n int64)
	// End says that a side is complete.
	End(dir capture.Dir)
	// Over reports whether both are.
	Over() bool
	// Held is how many bytes it holds on to.
	Held() int
	// Tell emits it as it is.
	Tell()
	// Drop forgets it.
	Drop()
}

const (
	preface     = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // RFC 9113 section 3.4
	frameHeader = 9

	// A header block: gRPC's core stops at 16 KiB of metadata, Go's at 16 MiB, nginx and Envoy near 64 KiB.
	maxBlock = 64 << 10
	// CONTINUATION frames of one block that nothing is said of. At 16 KiB a frame, four make the largest block that is
	// read; nghttp2 closes the connection at 8, others at 64 or never, so a block in more of them is read all the same.
	maxContinuations = 16
	// Bytes without a chain of frames before a connection is left alone: no frame is longer (RFC 9113 section 4.2). gRPC's C++
	// core takes 4 MiB in one, and asks for more as the connection turns out to be fast, so that Ray sends each piece of an
	// object, of 5 MiB, in one frame.
	maxLost = 1<<24 + maxCandidate
	// A candidate for the next frame waits for its whole length at most up to the default frame size.
	maxCandidate = 16 << 10

	// Streams under way in a connection where not all are calls, and behind a loss; beyond it the least recently used is told of as it
	// stands. Servers of HTTP allow 100 to 250.
	maxStreams = 256
	// Bytes of messages and header fields kept in one connection, over all streams, of which each counts for streamSize. gRPC's core
	// allows any number of calls, and who calls an actor of Ray in a loop has thousands under way. Beyond it what calls have said is
	// told of, and then the least recently used streams as they stand.
	maxKept    = 2 << 20
	streamSize = 1 << 10
	// The same for exchanges: what a connection of HTTP/1 may hold of the two bodies that it can have under way.
	maxBodies = 8 << 20
	// Tunnels under way in one connection: each may hold what a flow of its own may while it is probed.
	maxTunnels = 16
	// MaxMessage bounds what is kept of one message. Ray sends objects in pieces of 5 MiB; what names, functions and
	// commands a message has stands at its beginning.
	MaxMessage = 64 << 10
	// Messages kept of a direction until they are told of.
	maxMessages = 8
	// Streams that ended lately: what still comes of them is no new call.
	maxClosed = 64
	// A request that has waited this long for its answer is told of without it. PushTask answers when the task is done.
	partAfter = 2_000_000_000
	// Streams are looked through for those no more often than this.
	partEvery = 100_000_000

	// Abuse, per window of packet time. Rapid reset (CVE-2023-44487) did thousands a second; a gRPC client that shuts
	// down cancels its polls, tens. gRPC sends one ping for each round trip with data.
	abuseWindow = 10_000_000_000
	maxResets   = 200
	maxEmpty    = 1000
	maxSettings = 100
	maxPings    = 20000
)

var (
	errNotHTTP2 = errors.New("http2: no frames")
	errLost     = errors.New("http2: no frame for longer than one can be")
)

// Spec registers the decoder.
func Spec(opt Options) decoders.Spec {
	return decoders.Spec{Name: "http2", Stream: probe, New: func(ctx decoders.Context) decoders.Decoder {
		return newDecoder(ctx, opt)
	}, Again: decoders.Again{First: first(), Probe: probeAgain}}
}

// first is the preface, or the length of a frame of up to 16 KiB, which is what a peer takes that was not asked for more.
func first() []string {
	list := []string{"PR"}
	for c := range maxCandidate>>8 + 1 {
		list = append(list, string([]byte{0, byte(c)}))
	}
	return list
}

// probeAgain wants the preface, or a chain of frames that begins where the segment does.
func probeAgain(orig, resp []byte, _ bool) decoders.Verdict {
	v := decoders.No
	for _, side := range [...]struct {
		b                []byte
		client, answerer decoders.Verdict
	}{{orig, decoders.Yes, decoders.Flipped}, {resp, decoders.Flipped, decoders.Yes}} {
		if len(side.b) == 0 {
			continue
		}
		switch startsPreface(side.b) {
		case whole:
			return side.client
		case part:
			v = decoders.Maybe
			continue
		}
		s, r := chain(side.b)
		switch {
		case s == yesChain && r == isClient:
			return side.client
		case s == yesChain && r == isServer:
			return side.answerer
		case s == yesChain && len(side.b) >= probeRoles:
			return decoders.Yes
		case s == yesChain, s == moreChain && len(side.b) < probeRoles:
			v = decoders.Maybe
		}
	}
	return v
}

const (
	// With this many bytes of both directions together and no chain of frames in them it is something else. It leaves
	// others a chance before the engine gives up on the stream (8 KiB of one direction).
	probeEnough = 6 << 10
	// A chain whose roles cannot be told is held back this long for a header block that tells them.
	probeRoles = 512
)

// probe wants the preface, a server's SETTINGS, or in the middle of a connection a chain of frames.
func probe(orig, resp []byte, mid bool) decoders.Verdict {
	switch o, r := startsPreface(orig), startsPreface(resp); {
	case o == whole:
		return decoders.Yes
	case r == whole:
		return decoders.Flipped
	case !mid && (o == part && len(orig) > 0 || r == part && len(resp) > 0):
		return decoders.Maybe
	}
	if !mid {
		// The server may speak first (behind an upgrade it does), and the client's side may not be captured.
		if len(orig) == 0 {
			return firstSettings(resp, decoders.Yes)
		}
		if len(resp) == 0 {
			return firstSettings(orig, decoders.Flipped)
		}
		return decoders.No
	}
	o, or := search(orig)
	r, rr := search(resp)
	switch {
	case o < 0 && r < 0:
		if len(orig)+len(resp) >= probeEnough || otherwise(orig) || otherwise(resp) {
			return decoders.No
		}
		return decoders.Maybe
	case or == isClient || rr == isServer:
		return decoders.Yes
	case or == isServer || rr == isClient:
		return decoders.Flipped
	case len(orig)+len(resp) < probeRoles:
		return decoders.Maybe
	}
	return decoders.Yes
}

// otherwise says that b begins as other protocols do whose streams are picked up in the middle: JSON in lines, TLS
// records, messages of SMB.
func otherwise(b []byte) bool {
	return len(b) >= 2 && b[0] == '{' && (b[1] == '"' || b[1] == ' ') ||
		len(b) >= 3 && b[0] >= 0x14 && b[0] <= 0x17 && b[1] == 3 && b[2] <= 4 ||
		len(b) >= 8 && b[0] == 0 && b[4] >= 0xfd && string(b[5:8]) == "SMB"
}

type extent uint8

const (
	none extent = iota
	part
	whole
)

// startsPreface says how much of the client's preface b is; nothing at all is a part.
func startsPreface(b []byte) extent {
	n := min(len(b), len(preface))
	if string(b[:n]) != preface[:n] {
		return none
	}
	if n == len(preface) {
		return whole
	}
	return part
}

// firstSettings judges the beginning of a server's side: a SETTINGS frame that is no acknowledgement, and behind it
// whatever may follow.
func firstSettings(b []byte, yes decoders.Verdict) decoders.Verdict {
	want := [...]byte{3: frameSettings, 4: 0, 5: 0, 6: 0, 7: 0, 8: 0}
	if len(b) == 0 {
		return decoders.No
	}
	if b[0] != 0 || len(b) > 1 && b[1] != 0 {
		return decoders.No
	}
	for i := 3; i < min(len(b), frameHeader); i++ {
		if b[i] != want[i] {
			return decoders.No
		}
	}
	if len(b) < frameHeader {
		return decoders.Maybe
	}
	switch s, _ := chain(b); s {
	case yesChain:
		return yes
	case noChain:
		return decoders.No
	}
	return decoders.Maybe
}

// search looks for the first chain of frames in b.
func search(b []byte) (int, role) {
	for i := 0; i+frameHeader <= len(b); i++ {
		if s, r := chain(b[i:]); s == yesChain {
			return i, r
		}
	}
	return -1, isUnknown
}

type decoder struct {
	ctx     decoders.Context
	opt     Options
	half    [2]half
	client  capture.Dir // the side that asks: by the preface, by a header block, else the flow's originator
	sure    bool        // client is known
	fresh   bool        // seen from the preface on
	agreed  bool        // in HTTP/1
	streams map[uint32]*stream
	first   *stream // least recently used
	last    *stream
	spare   *stream // that is over, for the next
	kept    int
	closed  [maxClosed]uint32
	nclosed int
	highest uint32 // of the client's streams
	pending capture.Time
	now     capture.At
	said    uint32 // weirds, by bit
	told    uint8  // services confirmed
	window  capture.Time
	resets  int
	empty   int
	setting int
	pings   int
	swapped *capture.Flow
	fields  []Field // scratch of a header block
	make    func() Exchange
	upgrade *stream // the request that asked for h2c, as long as it is not over
	bodies  int     // bytes that exchanges hold
	tunnels int
	plains  int // streams that are no calls
	tenant  capture.Tenant
	yielded bool // calls were dropped, and that was not said
}

const (
	toldHTTP2 = 1 << iota
	toldGRPC
)

func newDecoder(ctx decoders.Context, opt Options) *decoder {
	d := &decoder{ctx: ctx, opt: opt, streams: map[uint32]*stream{}}
	d.half[0].table.max, d.half[1].table.max = defaultTable, defaultTable
	return d
}

// Upgraded reads a connection that went on from HTTP/1 in h2c (RFC 7540 section 3.2). first is the request that asked
// for it, which is stream 1; others are made by more.
func Upgraded(ctx decoders.Context, opt Options, more func() Exchange, first Exchange) decoders.Decoder {
	d := newDecoder(ctx, opt)
	d.make, d.sure, d.fresh, d.agreed, d.highest = more, true, true, true, 1
	d.half[0].table.whole, d.half[1].table.whole = true, true
	s := d.open(1)
	s.grpc, s.request, s.x = noGRPC, true, first
	s.side[asker].header = true
	d.upgrade = s
	return d
}

// Decode implements decoders.Decoder. No bytes at all of the client's side say that first of Upgraded may be over.
func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	if d.upgrade != nil && d.upgrade.x.Over() {
		d.finish(d.upgrade)
	}
	d.tick()
	used := 0
	var err error
	for used < len(b) && err == nil {
		var n int
		n, err = d.step(dir, &d.half[dir], b[used:])
		if used += n; n == 0 {
			break
		}
	}
	if err != nil {
		d.flush()
	}
	d.account()
	return used, err
}

// account says how much is held of streams, so that there is room for those of all connections.
func (d *decoder) account() {
	if d.yielded {
		d.yielded = false
		d.say(messageBudget)
	}
	const unit = 4 << 10 // what a connection may hold all the same
	n := d.held() / unit * unit
	if n == 0 {
		d.tenant.Leave()
		return
	}
	if w, ok := d.ctx.(capture.Worker); ok {
		if r := w.Room(); r != nil {
			r.Streams().Keep(&d.tenant, d, n)
		}
	}
}

// Yield implements capture.Keeper: the calls of other connections, which were served since, need the room. They are dropped untold, as
// nothing can be said while another flow is at work.
func (d *decoder) Yield() {
	for s := d.first; s != nil; {
		t := s
		if s = s.next; t.x == nil && t.nest == nil && t.follow == nil {
			d.drop(t)
			d.yielded = true
		}
	}
}

// Release implements decoders.Releaser.
func (d *decoder) Release() { d.tenant.Leave() }

// tick lets what waits for time to pass notice that it has.
func (d *decoder) tick() {
	at := d.ctx.At()
	if at == d.now {
		return
	}
	d.now = at
	d.overdue()
	if at.Time-d.window > abuseWindow {
		d.window, d.resets, d.empty, d.setting, d.pings = at.Time, 0, 0, 0, 0
	}
}

// Gap implements decoders.Decoder.
func (d *decoder) Gap(dir capture.Dir, n int64) bool {
	h := &d.half[dir]
	if h.state == inData || h.state == inSkip {
		if n <= int64(h.remain) {
			// The loss lies within one frame: step over it.
			k := int(n)
			if h.state == inData {
				if s := d.streams[h.sid]; s != nil {
					d.missing(s, dir, min(k, h.remain-h.pad))
				}
			}
			if h.remain -= k; h.remain == 0 {
				d.endFrame(dir, h)
			}
			return true
		}
	}
	d.lose(dir, h)
	return true
}

// End implements decoders.Decoder.
func (d *decoder) End(dir capture.Dir) {
	d.half[dir].ended = true
	if d.half[0].ended && d.half[1].ended {
		d.flush()
		d.account()
	}
}

// flush tells of all streams, in the order in which they were last used.
func (d *decoder) flush() {
	for d.first != nil {
		d.finish(d.first)
	}
}

// who is the part that dir plays.
func (d *decoder) who(dir capture.Dir) int {
	if dir == d.client {
		return asker
	}
	return answerer
}

const (
	asker    = 0
	answerer = 1
)

// flow is the identity of the connection with the client as its originator.
func (d *decoder) flow() *capture.Flow {
	f := d.ctx.Flow()
	if d.client == capture.Orig {
		return f
	}
	if d.swapped == nil {
		c := *f
		c.Orig, c.Resp = f.Resp, f.Orig
		d.swapped = &c
	}
	return d.swapped
}

// roles notes which side is the client. What is under way and was read with the roles exchanged is dropped.
func (d *decoder) roles(client capture.Dir) {
	if d.sure {
		return
	}
	d.sure = true
	if d.client == client {
		return
	}
	d.client = client
	for d.first != nil {
		d.drop(d.first)
	}
}

type weird uint8

const (
	badFrame weird = iota
	frameTooLarge
	unknownFrame
	reservedBit
	badHPACK
	blockTooLarge
	listTruncated
	continuationFlood
	emptyFrames
	rapidReset
	settingsFlood
	pingFlood
	streamLimit
	messageBudget
	bodyBudget
	tunnelLimit
	lostFrames
)

func (w weird) name() string {
	return [...]string{
		"http2_bad_frame", "http2_frame_too_large", "http2_unknown_frame", "http2_reserved_bit", "http2_bad_hpack",
		"http2_header_block_too_large", "http2_header_list_truncated", "http2_continuation_flood", "http2_empty_frames",
		"http2_rapid_reset", "http2_settings_flood", "http2_ping_flood", "http2_stream_limit", "http2_message_budget",
		"http2_body_budget", "http2_tunnel_limit", "http2_lost_frames",
	}[w]
}

func (d *decoder) say(w weird) {
	if d.said&(1<<w) == 0 {
		d.said |= 1 << w
		d.ctx.Weird(w.name(), "")
	}
}

func (d *decoder) confirm(bit uint8, name string) {
	if d.told&bit == 0 {
		d.told |= bit
		d.ctx.Confirm(name)
	}
}

// isGRPC says that a content type is gRPC's: application/grpc, with a suffix or parameters or without.
func isGRPC(contentType string) bool {
	const want = "application/grpc"
	if len(contentType) < len(want) || !bytes.EqualFold([]byte(contentType[:len(want)]), []byte(want)) {
		return false
	}
	return len(contentType) == len(want) || contentType[len(want)] == '+' || contentType[len(want)] == ';'
}
