package http

import (
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
)

// rawReply is an answer with a head to a request without a version (RFC 1945 section 4.1), which servers give all the
// same. It is read for what it is; Zeek takes the head for a part of the body, and so do its logs.
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

// rawly adds the answer as Zeek has it to an exchange; the files that it holds are not logged.
func (d *decoder) rawly(ex *exchange) {
	for _, f := range ex.resp.Body.Files {
		f.Resumed = true
	}
	raw := &Response{At: ex.resp.At, Version: "0.9", Resumed: ex.resp.Resumed, Doubted: ex.resp.Doubted}
	raw.Body.rowLen, raw.Body.Files = d.raw.n, d.raw.file.Close()
	d.raw = nil
	ex.resp.Raw = raw
	if meant := ex.resp.Body.Files; len(meant) == 1 && len(raw.Body.Files) == 1 {
		raw.Body.Files[0].Copy, raw.Body.Files[0].Unfinished = meant[0].Copy, meant[0].Unfinished
	}
	for _, f := range raw.Body.Files {
		f.Flow, f.Source, f.Sender, f.Resumed, f.Checked = ex.tx.Flow, "HTTP", capture.Resp, raw.Resumed, true
		f.ID = file.NewID(f.Flow, uint32(ex.tx.Depth), byte(capture.Resp), 'r')
		d.ctx.Emit(f)
	}
}
