package http2

import "github.com/raytap/raytap/capture"

// Unwanted implements decoders.Skipper: of a gRPC message of which nothing more is kept, or of a stream that is over, all that lies in
// the frame at hand but the last byte, so that the ends of both are always seen. What stands behind the frame is the other
// side's business too: a reset, an answer.
func (d *decoder) Unwanted(dir capture.Dir) int64 {
	h := &d.half[dir]
	n := h.remain - 1
	switch {
	case h.ended || h.state != inData:
		return 0
	case d.streams[h.sid] != nil:
		s := d.streams[h.sid]
		x := &s.side[d.who(dir)]
		if s.grpc == noGRPC || s.follow != nil || !x.open || !x.cur.Cut {
			return 0
		}
		n = min(n-h.pad, x.remain-1)
	}
	return int64(max(n, 0))
}

// Passed implements decoders.Skipper. What nobody keeps leaves behind what lost bytes do, the count.
func (d *decoder) Passed(dir capture.Dir, n int64) {
	d.tick()
	d.Gap(dir, n)
}
