package http

import "github.com/raytap/raytap/capture"

// Unfinished implements capture.Unfinisher: reports whether dir is within a message, or owes an answer.
func (d *decoder) Unfinished(dir capture.Dir) bool {
	switch h := &d.half[dir]; h.state {
	case inHead:
		if h.begun {
			return true
		}
	case inBody, inChunkSize, inChunkData, inChunkEnd, inTrailer:
		return true
	}
	return dir == capture.Resp && len(d.queue) > 0
}
