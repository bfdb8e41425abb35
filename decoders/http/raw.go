package http

import (
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
)

// rawReply is an answer with a head to a request without a version (RFC 1945 section 4.1), which servers give all the
// same. It is read for what it is, and as what the protocol makes of it: then the head is a part of the body.
type rawReply struct {
	file file.Reader
	n    int64
	left int // bytes that are here and were not used
}

func (r *rawReply) write(at capture.At, b []byte) {
	r.n += int64(len(b))
	r.file.Write(at, b)
}

// tee decodes what a server says to such a request.
func (d *decoder) tee(b []byte) (int, error) {
	if d.raw != nil {
		d.raw.write(d.ctx.At(), b[min(d.raw.left, len(b)):])
	}
	d.teeing = true
	used, err := d.Decode(capture.Resp, b)
	d.teeing = false
	if d.raw != nil {
		d.raw.left = len(b) - used
	}
	return used, err
}

// rawly adds the answer as HTTP/0.9 has it to an exchange; the files that it holds are parts of that.
func (d *decoder) rawly(ex *exchange) {
	for _, f := range ex.resp.Body.Files {
		f.Inner = true
	}
	raw := &Response{At: ex.resp.At, Version: "0.9", From: ex.resp.From}
	raw.Body.rowLen, raw.Body.Files = d.raw.n, d.raw.file.Close()
	d.raw = nil
	ex.resp.Simple = raw
	if meant := ex.resp.Body.Files; len(meant) == 1 && len(raw.Body.Files) == 1 {
		raw.Body.Files[0].Copy, raw.Body.Files[0].Unfinished = meant[0].Copy, meant[0].Unfinished
	}
	for _, f := range raw.Body.Files {
		f.Flow, f.Source, f.Sender, f.From = ex.tx.Flow, "HTTP", capture.Resp, raw.From&apart
		f.ID = file.NewID(f.Flow, uint32(ex.tx.Depth), byte(capture.Resp), 'r')
		d.ctx.Emit(f)
	}
}
