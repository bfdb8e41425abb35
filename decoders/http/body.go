package http

import (
	"bytes"

	"github.com/raytap/raytap/capture"
)

const (
	// A body wanted longer than this is not: two of them per flow are the most memory a flow can cost.
	maxKeep = 4 << 20
	// Chunks no larger than this are tiny: nobody sends them but to hide.
	tinyChunk = 32
	// A chunk-size line with its extensions; aiohttp and llhttp stop at 8 and 16 KiB.
	maxChunkLine = 8 << 10
	// First bytes that a body is named by. Zeek looks at 4 KiB; its signatures but tar end well before 1 KiB.
	sniffLen = 1 << 10
	// Of a body whose coding turns out to be broken, this much is kept as it was sent.
	maxEarly = 64 << 10
	// Zeek inflates in steps of this size.
	zeekInflate = 4 << 10
)

// chunkLine takes lines of the chunked coding (RFC 9112 section 7.1): sizes, the ends of data and trailer fields.
func (d *decoder) chunkLine(dir capture.Dir, h *half, b []byte) int {
	n := bytes.IndexByte(b, '\n') + 1
	if n == 0 || len(h.head) > 0 {
		take := n
		if n == 0 {
			take = len(b)
		}
		limit := maxChunkLine
		if h.state == inTrailer {
			limit = maxHead
		}
		if len(h.head)+take > limit {
			d.weird("HTTP_bad_chunk_size", "line too long")
			h.body.Conflict = true
			d.lose(dir, h)
			h.midline = n == 0
			return take
		}
		h.head = append(h.head, b[:take]...)
		if n == 0 {
			return take
		}
		if h.state != inTrailer {
			d.chunk(dir, h, h.head)
			h.dropHead()
			return take
		}
	} else if h.state != inTrailer {
		d.chunk(dir, h, b[:n])
		return n
	} else {
		h.head = append(h.head, b[:n]...)
	}
	// Trailer: ends with an empty line, like a head.
	last := h.head[bytes.LastIndexByte(h.head[:len(h.head)-1], '\n')+1:]
	if len(last) > 2 || len(last) == 2 && last[0] != '\r' {
		return n
	}
	if len(h.head) > 2 {
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
			d.badChunk(dir, h, "data behind a chunk")
			return
		}
		h.state = inChunkSize
		return
	}
	size, i := int64(0), 0
	for ; i < len(line); i++ {
		v := unhex(line[i])
		if v < 0 {
			break
		}
		if size >= 1<<58 {
			d.badChunk(dir, h, "overflow")
			return
		}
		size = size<<4 | int64(v)
	}
	rest := bytes.TrimLeft(line[i:], " \t")
	switch {
	case i == 0 || i == 1 && size == 0 && len(rest) > 0 && rest[0]|0x20 == 'x':
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

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// sink takes the bytes of one body, transfer coding removed, and keeps of them what is wanted.
type sink struct {
	d       *decoder
	want    int    // bytes to keep, content coding removed
	data    []byte // what is kept; becomes Body.Data
	peek    []byte // the first bytes for a name; reused from body to body
	named   bool
	stages  []stage // content codings to remove, outermost first; the last feeds decoded
	count   bool    // the row counts what comes out of the first stage, not what goes in
	row     int64   // and that is how much
	rowOnly bool    // the stages are there for the row, nobody wants their output
	broken  bool
	early   []byte // raw beginning, until the stages gave something
	decoded int64
	mime    string
	// lines: Zeek counts this body line by line, two bytes for each line end, whatever it was, and for the end of the
	// last line if it has none. The columns of http.log say what Zeek says.
	lines   bool
	extra   int64 // bytes that it counts more
	tail    bool  // the last line has no end yet
	cr      bool  // the last byte was a CR
	holed   bool  // a gap: nothing behind it is kept
	multi   multipart
	coded   int64 // bytes that went into the stages
	expands bool  // the limit of expansion was met
}

func (s *sink) open(d *decoder, body *Body, f *framing, want int, remain int64, resp bool) {
	*s = sink{d: d, want: want, peek: s.peek[:0], stages: s.stages[:0]}
	s.multi.open(f)
	if want > 0 && remain > 0 {
		want = int(min(int64(want), remain, 64<<10))
		s.data = make([]byte, 0, want)
	}
	if f.encoding == "" {
		return
	}
	body.Encoding = f.encoding
	s.plan(f, resp)
	if len(s.stages) > 0 {
		s.data = nil
	}
}

// inflating says that the body's columns in http.log are those of the decoded body.
func (s *sink) inflating() bool { return s.count }

// raw takes bytes of the body; whole says that these are all that is left of it.
func (s *sink) raw(body *Body, b []byte, whole bool) {
	first := body.Len == 0
	body.Len += int64(len(b))
	if s.holed {
		return
	}
	if !s.count {
		s.see(b, first && whole)
	}
	if len(s.stages) == 0 || s.rowOnly {
		s.keep(b)
	}
	if len(s.stages) == 0 || s.broken {
		return
	}
	if limit := min(s.want, maxEarly); s.decoded == 0 && !s.rowOnly && len(s.early) < limit {
		s.early = append(s.early, b[:min(len(b), limit-len(s.early))]...)
	}
	s.coded += int64(len(b))
	if err := s.stages[0].write(b); err != nil {
		s.fail(err)
	}
}

func (s *sink) fail(err error) {
	s.broken = true
	switch err {
	case errExpansion:
		s.expands = true
		s.d.weird("HTTP_expansion_limit", "")
	default:
		s.d.weird("inflate_failed", "")
	}
}

// write implements stage: decoded bytes.
func (s *sink) write(b []byte) error {
	first := s.decoded == 0
	s.decoded += int64(len(b))
	if first {
		s.early = nil
	}
	s.keep(b)
	return s.limit(s.decoded)
}

// rowTap is behind the first stage, where Zeek looks: it removes one coding.
type rowTap struct {
	s    *sink
	next stage // nil: nobody wants more
}

func (t *rowTap) write(b []byte) error {
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

// limit says when enough was decoded.
func (s *sink) limit(n int64) error {
	if n > expandFree && n > s.coded*maxRatio || n > maxDecoded {
		return errExpansion
	}
	return nil
}

func (s *sink) finish() error  { return nil }
func (s *sink) release(*pools) {}
func (s *sink) keep(b []byte) {
	if n := min(s.want-len(s.data), len(b)); n > 0 {
		s.data = append(s.data, b[:n]...)
	}
}

// see shows bytes to what names and counts the body for http.log.
func (s *sink) see(b []byte, whole bool) {
	if s.multi.active() {
		s.multi.write(b)
		return
	}
	if s.lines {
		s.countLines(b)
	}
	if s.named {
		return
	}
	if len(s.peek) == 0 && (whole || len(b) >= sniffLen) {
		s.named, s.mime = true, sniff(b[:min(len(b), sniffLen)])
		return
	}
	s.peek = append(s.peek, b[:min(len(b), sniffLen-len(s.peek))]...)
	if len(s.peek) == sniffLen {
		s.named, s.mime = true, sniff(s.peek)
	}
}

func (s *sink) countLines(b []byte) {
	if len(b) == 0 {
		return
	}
	if s.cr && b[0] == '\n' {
		s.extra-- // the pair was cut: the CR was counted as a line of its own
	}
	lf, cr, pairs := bytes.Count(b, []byte("\n")), bytes.Count(b, []byte("\r")), bytes.Count(b, []byte("\r\n"))
	if s.cr && b[0] == '\n' {
		lf--
	}
	s.extra += int64(lf + cr - 2*pairs)
	last := b[len(b)-1]
	s.cr, s.tail = last == '\r', last != '\n' && last != '\r'
}

// gap says that n bytes of the body are missing.
func (s *sink) gap(body *Body, n int64) {
	body.Len += n
	body.Missing += n
	s.holed = true
	s.multi.hole()
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
	body.Decoded = body.Len
	body.Data = s.data
	if len(s.stages) > 0 && s.rowOnly {
		body.Decoded = s.row
	} else if len(s.stages) > 0 {
		body.Decoded = s.decoded
		if s.decoded == 0 && s.broken && !s.expands {
			body.Undecoded, body.Data, body.Decoded = true, s.early, body.Len
		}
	}
	if (len(s.stages) == 0 || s.rowOnly) && body.Encoding != "" && s.want > 0 && !identity(body.Encoding) {
		body.Undecoded, body.Decoded = true, body.Len
	}
	if s.want > 0 {
		body.Truncated = int64(len(body.Data)) < body.Decoded || s.holed || s.broken
	}
	body.rowLen = body.Len
	if s.count {
		if body.rowLen = s.row + body.Missing; s.broken && !s.expands && s.row <= zeekInflate {
			// Zeek drops what the call gave in which the mistake was found.
			body.rowLen, s.named, s.mime, s.peek = 0, true, "", s.peek[:0]
		}
	}
	switch {
	case s.multi.active():
		body.parts = s.multi.close()
		body.rowLen = s.multi.length()
	case s.lines:
		if body.rowLen += s.extra; s.tail {
			body.rowLen += 2
		}
		fallthrough
	default:
		if !s.named && len(s.peek) > 0 {
			s.mime = sniff(s.peek)
		}
		body.MIME = s.mime
	}
	*s = sink{peek: s.peek[:0], stages: s.stages[:0]}
}

// letGo gives the stages back to the pools.
func (s *sink) letGo(p *pools) {
	for i, st := range s.stages {
		st.release(p)
		s.stages[i] = nil
	}
}
