package http

import (
	"bytes"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/chars"
	"github.com/raytap/raytap/decoders/file"
)

const (
	// A body wanted longer than this is not: two of them per flow are the most memory a flow can cost.
	maxKeep = 4 << 20
	// Chunks no larger than this are tiny: nobody sends them but to hide.
	tinyChunk = 32
	// A chunk-size line with its extensions; aiohttp and llhttp stop at 8 and 16 KiB.
	maxChunkLine = 8 << 10
	// Of a body whose coding turns out to be broken, this much is kept as it was sent.
	maxEarly = 64 << 10
	// Zeek inflates in steps of this size.
	zeekInflate = 4 << 10
)

// chunkLine takes lines of the chunked coding (RFC 9112 section 7.1): sizes, the ends of data and trailer fields.
func (d *decoder) chunkLine(dir capture.Dir, h *half, b []byte) int {
	n := bytes.IndexByte(b, '\n') + 1
	if n > 0 && len(h.head) == 0 && h.state != inTrailer {
		if n > maxChunkLine && n-max(zeros(b)-1, 0) > maxChunkLine {
			d.longChunkLine(h)
		}
		d.chunk(dir, h, b[:n])
		return n
	}
	take := n
	if n == 0 {
		take = len(b)
	}
	if h.state == inChunkSize && (len(h.head) == 0 || len(h.head) == 1 && h.head[0] == '0') {
		// Servers take any number of zeros before a size: of those only one is kept.
		if z := zeros(b[:take]) - 1 + len(h.head); z > 0 {
			return z
		}
	}
	limit := maxChunkLine
	if h.state == inTrailer {
		limit = maxHead
	}
	if len(h.head)+take <= limit {
		h.head = append(h.head, b[:take]...)
	} else {
		// llhttp, which aiohttp has, reads extensions and trailers of any length: what they say is of no matter.
		d.longChunkLine(h)
		if h.state == inTrailer {
			h.long = true
			h.head = h.head[:copy(h.head, h.head[bytes.LastIndexByte(h.head, '\n')+1:])]
		}
		if len(h.head)+take <= limit {
			h.head = append(h.head, b[:take]...)
		} else {
			h.crowd(b[:take], limit)
		}
	}
	if n == 0 {
		return take
	}
	if h.state != inTrailer {
		d.chunk(dir, h, h.head)
		h.dropHead()
		return take
	}
	// Trailer: ends with an empty line, like a head.
	last := h.head[bytes.LastIndexByte(h.head[:len(h.head)-1], '\n')+1:]
	if len(last) > 2 || len(last) == 2 && last[0] != '\r' {
		return n
	}
	if h.long {
		h.long = false // and what of it is here begins anywhere
	} else if len(h.head) > 2 {
		s := string(h.head)
		var f framing
		t := d.fields(s, h.head, &f)
		switch {
		case dir == capture.Resp:
			h.ex.resp.Trailer = t
		case h.ex.req.Version == "0.9":
			h.ex.req.Header = t
		default:
			h.ex.req.Trailer = t
		}
	}
	h.dropHead()
	d.finish(dir, h, h.body.Missing == 0)
	return n
}

// crowd adds b to what there is of a line, within a limit: the middle of it is left out, the last two bytes are those of
// the line.
func (h *half) crowd(b []byte, limit int) {
	last := [2]byte{0, b[len(b)-1]}
	if len(b) > 1 {
		last[0] = b[len(b)-2]
	} else if len(h.head) > 0 {
		last[0] = h.head[len(h.head)-1]
	}
	h.head = h.head[:min(len(h.head), limit-2)]
	h.head = append(h.head, b[:min(len(b), limit-2-len(h.head))]...)
	h.head = append(h.head, last[:]...)
}

func (d *decoder) longChunkLine(h *half) {
	d.weird("HTTP_bad_chunk_size", "line too long")
	h.body.Conflict = true
}

// zeros counts the zeros that b begins with.
func zeros(b []byte) (n int) {
	for n < len(b) && b[n] == '0' {
		n++
	}
	return n
}

// chunk takes one line of the chunked coding that is not of the trailer.
func (d *decoder) chunk(dir capture.Dir, h *half, line []byte) {
	if len(line) < 2 || line[len(line)-2] != '\r' {
		// A bare LF: some proxies take it for a line end, some do not; aiohttp's parser refuses it.
		h.body.Conflict = true
		d.weird("HTTP_chunk_line_without_CR", "")
		line = line[:len(line)-1]
	} else {
		line = line[:len(line)-2]
	}
	if h.state == inChunkEnd {
		if len(line) > 0 {
			d.badChunk(dir, h, "data after a chunk")
			return
		}
		h.state = inChunkSize
		return
	}
	size, i := int64(0), 0
	for ; i < len(line); i++ {
		v, ok := chars.Hex(line[i])
		if !ok {
			break
		}
		if size >= 1<<58 {
			if dir == capture.Resp {
				d.badChunk(dir, h, "overflow")
				return
			}
			// Servers refuse it; for Zeek it is the last chunk, and the next request follows.
			d.weird("HTTP_bad_chunk_size", "overflow")
			h.body.Conflict = true
			h.state = inTrailer
			return
		}
		size = size<<4 | int64(v)
	}
	rest := bytes.TrimLeft(line[i:], " \t")
	switch {
	case i == 0 || size == 0 && len(rest) > 0 && rest[0]|0x20 == 'x':
		// A number nobody agrees on: 0x10 is 0, 16 or a mistake.
		d.badChunk(dir, h, string(line[:min(len(line), maxAddl)]))
		return
	case len(rest) > 0 && rest[0] != ';':
		// aiohttp refuses; browsers and Zeek take the digits.
		d.weird("HTTP_bad_chunk_size", string(line[:min(len(line), maxAddl)]))
		h.body.Conflict = true
	}
	if bytes.IndexByte(rest, '\r') >= 0 {
		h.body.Conflict = true
		d.weird("HTTP_chunk_extension_with_CR", "")
	}
	if size == 0 {
		h.state = inTrailer
		return
	}
	if h.body.Chunks++; h.body.Chunks == 1 {
		h.firstChunk = size
	} else if h.lastChunk != h.firstChunk {
		h.uneven = true
	}
	h.lastChunk = size
	h.state, h.remain = inChunkData, size
}

func (d *decoder) badChunk(dir capture.Dir, h *half, why string) {
	d.weird("HTTP_bad_chunk_size", why)
	h.body.Conflict = true
	d.lose(dir, h)
}

// sink takes the bytes of one body, transfer coding removed, and keeps of them what is wanted.
type sink struct {
	file   file.Reader
	stages []stage // content codings to remove, outermost first; the last feeds decoded
	body
}

// body is what is known of the one at hand.
type body struct {
	d       *decoder
	want    int        // bytes to keep, content coding removed
	resp    bool       // of an answer
	multi   *multipart // nil: the body is not of this kind
	data    []byte     // what is kept; becomes Body.Data
	same    []byte     // instead: all there is so far, of a content that is kept elsewhere
	first   int        // bytes to make room for
	ranged  *ranged    // the body is a piece of this, and goes there
	total   int64      // length as announced, where Zeek believes it
	count   bool       // the row counts what comes out of the first stage, not what goes in
	row     int64      // and that is how much
	rowOnly bool       // the stages are there for the row, nobody wants their output
	broken  bool
	early   []byte // raw beginning, until the stages gave something
	decoded int64
	// lines: Zeek reads this body line by line, with CR LF for each line end, whatever it was, and for the end of the
	// last line if it has none. The columns of http.log and files.log say what Zeek says.
	lines   bool
	exact   *file.Reader // where a copy may be made: of the body as it is
	tail    bool         // the last line has no end yet
	cr      bool         // the last byte was a CR
	holed   bool         // a gap: nothing behind it is kept
	step    []byte       // of what is inflated behind it
	shut    bool         // Zeek reads no further, and has
	cut     int64        // this length
	coded   int64        // bytes that went into the stages
	expands bool         // the limit of expansion, of work or of room was met
	short   bool         // what was held for a coding was cut
	asked   bool         // a request that somebody wants to see
	tx      *Transaction // of such a one
	beyond  Follower
	yielded bool // nothing more is kept: others needed the room
	tenant  capture.Tenant
}

// empty makes s ready for the next body.
func (s *sink) empty() {
	s.tenant.Leave()
	s.stages = s.stages[:0]
	if s.exact != nil {
		s.exact.Drop()
	}
	s.body = body{}
}

func (s *sink) open(d *decoder, body *Body, f *framing, want int, remain int64, resp bool) {
	s.empty()
	s.d, s.want, s.resp = d, want, resp
	s.file.Open(d.opt.Files)
	s.multi = newMultipart(f, d.opt.Files)
	if !f.inflate {
		s.total = remain
		s.file.Expect(remain)
	}
	if want > 0 {
		s.first = int(min(int64(want), remain, 64<<10))
	}
	if f.encoding == "" {
		return
	}
	body.Encoding = f.encoding
	s.plan(f, resp)
	if len(s.stages) > 0 {
		s.first = 0
	}
}

// inflating says that the body's columns in http.log are those of the decoded body.
func (s *sink) inflating() bool { return s.count }

// raw takes bytes of the body; whole says that these are all that is left of it.
func (s *sink) raw(body *Body, b []byte, whole bool) {
	first := body.Len == 0
	if first {
		body.From = capture.Doubted.When(s.d.doubted())
	}
	body.Len += int64(len(b))
	if s.holed {
		if s.beyond != nil && len(s.stages) == 0 {
			s.beyond.Write(b)
		}
		switch {
		case len(s.stages) > 0:
			s.inflateOn(b)
		case s.multi != nil:
			s.multi.write(s.d.ctx.At(), b)
		default:
			s.take(b)
		}
		return
	}
	if !s.count {
		s.see(b, first && whole)
	}
	if s.want > 0 && (len(s.stages) == 0 || s.rowOnly) && !s.alike() {
		s.keep(b)
	}
	if len(s.stages) == 0 {
		s.account()
		return
	}
	limit := min(s.want, maxEarly)
	if !s.resp {
		limit = s.want // aiohttp reads what has another coding than it knows as it is
	}
	if (s.decoded == 0 || s.asked) && !s.rowOnly && len(s.early) < limit {
		s.early = append(s.early, b[:min(len(b), limit-len(s.early))]...)
	}
	if s.broken {
		return
	}
	s.coded += int64(len(b))
	if err := s.stages[0].write(b); err != nil {
		s.fail(err)
	}
	s.account()
}

// inflateOn goes on behind a loss as Zeek does: as if nothing were missing, until that cannot be, but without what the
// step gave in which that shows. What comes out only counts for the logs.
func (s *sink) inflateOn(b []byte) {
	if !s.count || s.broken {
		return
	}
	s.coded += int64(len(b))
	err := s.stages[0].write(b)
	if err != nil {
		s.fail(err)
	} else if len(s.step) > 0 {
		s.row += int64(len(s.step))
		s.see(s.step, false)
	}
	s.step = s.step[:0]
}

// stepped takes what comes out behind a loss, in steps.
func (s *sink) stepped(b []byte) {
	for len(b) > 0 {
		n := min(len(b), zeekInflate-len(s.step))
		s.step = append(s.step, b[:n]...)
		if b = b[n:]; len(s.step) == zeekInflate {
			s.row += zeekInflate
			s.see(s.step, false)
			s.step = s.step[:0]
		}
	}
}

func (s *sink) fail(err error) {
	s.broken = true
	s.file.EndCopy()
	switch err {
	case errExpansion:
		s.expands = true
		s.d.weird("HTTP_expansion_limit", "")
	case errWork: // the flow says so
		s.expands = true
	default:
		s.d.weird("inflate_failed", "")
	}
}

// write implements stage: decoded bytes.
func (s *sink) write(b []byte) error {
	first := s.decoded == 0
	s.decoded += int64(len(b))
	if first && !s.asked {
		s.early = nil
	}
	s.keep(b)
	return s.limit(s.decoded)
}

// rowTap is behind the first stage, where Zeek looks: it removes one coding.
type rowTap struct {
	s    *sink
	next stage // nil: nobody wants more
	from *inflateStage
}

func (t *rowTap) write(b []byte) error {
	if t.from.later() { // Zeek looks at the first stream alone
		if t.next != nil {
			return t.next.write(b)
		}
		return nil
	}
	if t.s.holed {
		t.s.stepped(b)
		return t.s.limit(t.s.row)
	}
	t.s.row += int64(len(b))
	t.s.see(b, false)
	if t.next != nil {
		return t.next.write(b)
	}
	return t.s.limit(t.s.row)
}

func (t *rowTap) finish() error {
	if t.next != nil {
		return t.next.finish()
	}
	return nil
}

func (t *rowTap) release(*pools) {}

func (t *rowTap) held() int { return 0 }

// limit says when enough was decoded.
func (s *sink) limit(n int64) error {
	free := int64(expandFree)
	if s.asked {
		free = expandWanted - s.d.expanded
	}
	if n > free && n > s.coded*maxRatio || n > maxDecoded {
		return errExpansion
	}
	return nil
}

func (s *sink) finish() error  { return nil }
func (s *sink) release(*pools) {}
func (s *sink) held() int      { return 0 }

// keep keeps what is wanted of b.
func (s *sink) keep(b []byte) {
	if s.holed || s.yielded {
		return
	}
	n := min(s.want-len(s.data), len(b))
	if n > 0 {
		if s.data == nil && s.first > 0 {
			// As much as was announced, once a quarter of it is there.
			s.data = make([]byte, 0, min(s.first, max(4*len(b), 2<<10)))
		}
		s.data = append(s.data, b[:n]...)
	}
	if n < len(b) && s.tx != nil {
		s.follow(b[max(n, 0):])
	}
}

// follow gives what is not kept of a request to whoever follows it.
func (s *sink) follow(b []byte) {
	if s.beyond == nil {
		if s.d.opt.Follow != nil {
			s.beyond = s.d.opt.Follow(s.tx)
		}
		if s.beyond == nil {
			s.tx = nil
			return
		}
		s.beyond.Write(s.data)
	}
	s.beyond.Write(b)
}

// alike says whether the file is one that came before, as far as it is there: then there is a copy of what is wanted.
func (s *sink) alike() bool {
	if all := s.file.Like(); all != nil {
		s.same = all[:s.file.Seen()]
		return true
	}
	if s.same != nil {
		s.keep(s.same)
		s.same = nil
	}
	return false
}

// see shows bytes to what names and counts the body for http.log.
func (s *sink) see(b []byte, whole bool) {
	switch {
	case s.shut:
	case s.multi != nil:
		s.multi.write(s.d.ctx.At(), b)
	case s.lines:
		if s.exact != nil {
			s.exact.Write(s.d.ctx.At(), b)
		}
		s.seeLines(s.d.ctx.At(), b)
	case whole && s.ranged == nil:
		s.file.Whole(s.d.ctx.At(), b)
	default:
		s.take(b)
	}
}

// take gives bytes to what reads the file.
func (s *sink) take(b []byte) {
	if s.shut {
		return
	}
	if s.ranged != nil {
		s.ranged.take(s.d, b)
		return
	}
	s.file.Write(s.d.ctx.At(), b)
}

var crlf = []byte("\r\n")

func (s *sink) seeLines(at capture.At, b []byte) {
	for len(b) > 0 {
		if s.cr {
			if s.cr = false; b[0] == '\n' {
				b = b[1:]
				continue
			}
		}
		i := bytes.IndexAny(b, "\r\n")
		if s.tail = i < 0; s.tail {
			s.file.Write(at, b)
			return
		}
		s.file.Write(at, b[:i])
		s.file.Write(at, crlf)
		s.cr = b[i] == '\r'
		b = b[i+1:]
	}
}

// gap says that n bytes of the body are missing.
func (s *sink) gap(body *Body, n int64) {
	body.From |= capture.AfterGap.When(body.Len == 0)
	body.Len += n
	body.Missing += n
	if s.tx != nil && (len(s.stages) == 0 || s.rowOnly) {
		if s.alike(); s.same != nil {
			s.keep(s.same)
			s.same = nil
		}
		if s.beyond == nil {
			s.follow(nil)
		}
		if s.beyond != nil {
			s.beyond.Gap()
		}
	}
	s.holed = true
	switch {
	case s.shut:
	case s.multi != nil:
		s.multi.hole(s.d.ctx.At(), n)
	case s.ranged != nil:
		s.ranged.gap(s.d, n)
	default:
		s.file.Gap(s.d.ctx.At(), n)
		if len(s.stages) > 0 {
			s.file.EndCopy()
		}
	}
	if s.exact != nil {
		s.exact.Gap(s.d.ctx.At(), n)
	}
}

// copyExactly has a body that is read by lines copied as it is.
func (s *sink) copyExactly() {
	s.file.NoCopy()
	s.exact = &file.Reader{}
	s.exact.Open(s.d.opt.Files)
	s.exact.NoDigest()
}

// shutAt says that Zeek reads no further than here, where n bytes are missing: they are more than what is left of the
// body or chunk, or nobody knows where it ends. Its length is that so far, its file has the loss.
func (s *sink) shutAt(body *Body, n int64) {
	if s.shut || s.multi != nil {
		return
	}
	switch s.cut = body.Len; {
	case s.count:
		s.cut = s.row + body.Missing
	case s.lines:
		s.cut = s.file.Seen() + body.Missing
	}
	if s.ranged != nil {
		s.ranged.gap(s.d, n)
	} else {
		s.file.Gap(s.d.ctx.At(), n)
	}
	s.shut = true
}

// close writes what is known of the body into it.
func (s *sink) close(d *decoder, body *Body) {
	if s.d == nil {
		return // a message without body
	}
	if len(s.stages) > 0 && !s.broken && !s.holed && body.Len > 0 {
		if err := s.stages[0].finish(); err != nil {
			s.fail(err)
		}
	}
	s.letGo(d.pools)
	s.settle(body)
	if s.asked && s.decoded > expandFree && s.decoded > s.coded*maxRatio {
		d.expanded += s.decoded
	}
	body.rowLen = body.Len
	if s.count {
		if body.rowLen = s.row + body.Missing; s.broken && !s.holed && !s.expands && s.row <= zeekInflate {
			// Zeek drops what the call gave in which the mistake was found.
			body.rowLen = 0
			s.file.Drop()
		}
	}
	if s.tail && !s.shut {
		s.file.Write(d.ctx.At(), crlf)
	}
	s.closeFiles(d, body)
	if s.shut {
		body.rowLen = s.cut
	}
	s.empty()
}

// settle gives the body the bytes that were kept, and says what they are of the whole.
func (s *sink) settle(body *Body) {
	body.Decoded = body.Len
	switch {
	case s.same != nil:
		n := min(len(s.same), s.want)
		if s.data = s.same[:n:n]; n < len(s.same) && s.tx != nil {
			s.follow(s.same[n:])
		}
	case s.data == nil && s.first > 0:
		s.data = []byte{}
	}
	body.Data = s.data
	if s.beyond != nil {
		s.tx.Request.Beyond = s.beyond
	}
	body.Cut = s.want > 0 && (s.expands || s.short)
	if len(s.stages) > 0 && s.rowOnly {
		body.Decoded = s.row
	} else if len(s.stages) > 0 {
		body.Decoded = s.decoded
		if s.broken && !s.expands && (s.decoded == 0 || s.asked && object(s.early)) {
			body.Undecoded, body.Data, body.Decoded = true, s.early, body.Len
		}
	}
	if (len(s.stages) == 0 || s.rowOnly) && body.Encoding != "" && s.want > 0 && !identity(body.Encoding) {
		body.Undecoded, body.Decoded = true, body.Len
	}
	if s.want > 0 {
		body.Truncated = int64(len(body.Data)) < body.Decoded || s.holed || s.broken || s.yielded
	}
}

// closeFiles ends the file in the body, or those of its parts.
func (s *sink) closeFiles(d *decoder, body *Body) {
	switch {
	case s.multi != nil:
		body.Files = s.multi.close(d.ctx.At())
		if n := len(body.Files); n > 0 && !body.Complete {
			body.Files[n-1].Unfinished = true
		}
		body.rowLen = s.multi.length()
	case s.ranged != nil:
		body.Files = s.ranged.piece(d, body)
	default:
		if s.lines {
			body.rowLen = s.file.Seen() + body.Missing
		}
		if body.Files = s.file.Close(); body.Files != nil {
			f := body.Files[0]
			f.Total, f.TimedOut = s.total, file.Stale(f.Time, f.Last, d.ctx.At().Time)
			f.Unfinished = !body.Complete
			if s.exact != nil {
				if same := s.exact.Close(); same != nil {
					f.Copy = same[0].Copy
				}
				s.exact = nil
			}
		}
	}
}

// object says whether b begins like JSON's, which no coding does.
func object(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && b[0] == '{'
}

// letGo gives the stages back to the pools.
func (s *sink) letGo(p *pools) {
	s.tenant.Leave()
	for i, st := range s.stages {
		if st != nil {
			st.release(p)
			s.stages[i] = nil
		}
	}
}
