package http

import "github.com/raytap/raytap/capture"

// Unwanted implements decoders.Skipper: of a body of which nothing more is kept, looked into or digested, all but the last
// byte, so that its end is always seen. Where a chunk ends is known as well, and where a body ends only with its stream,
// all of it is body.
func (d *decoder) Unwanted(dir capture.Dir) int64 {
	h := &d.half[dir]
	if d.upgraded != nil || d.old || d.raw != nil || h.ended || h.body == nil || h.body.Len == 0 || !h.sink.indifferent() {
		return 0
	}
	switch h.state {
	case inBody, inChunkData:
		return h.remain - 1
	case inClose:
		return capture.Unending
	}
	return 0
}

// Passed implements decoders.Skipper.
func (d *decoder) Passed(dir capture.Dir, n int64) {
	h := &d.half[dir]
	if h.body == nil {
		return
	}
	h.body.Len += n
	if h.state != inClose {
		h.remain -= n
	}
	if s := &h.sink; !s.shut {
		s.file.Pass(d.ctx.At(), n)
	}
}

// indifferent reports whether more of the body is only counted.
func (s *sink) indifferent() bool {
	return s.d != nil && s.multi == nil && s.exact == nil && s.ranged == nil && s.beyond == nil && s.tx == nil && s.same == nil &&
		len(s.stages) == 0 && (s.want <= len(s.data) || s.yielded || s.holed) && (s.shut || !s.lines && s.file.Indifferent())
}
