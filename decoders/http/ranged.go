package http

import (
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
)

// Files that a flow fetches by ranges: players alternate between two or three.
const maxRanges = 16

// ranged is a file that comes in pieces, each the answer to a request of its own (RFC 9110 section 14). For Zeek, and
// so in the logs, the pieces of one flow are one file.
type ranged struct {
	sum    uint64 // of what was asked for
	file   file.Reader
	id     string
	name   file.File // what the first piece's message says
	next   int64     // where the next piece begins if none is missing
	total  int64
	pieces int   // answers, whether they say that they are pieces or not
	open   bool  // file was begun and not told yet
	before int64 // bytes that came before the part that is being read
}

// rangeOf finds the file that a request with a Range field asks for, nil if there is no such field or too many files.
func (d *decoder) rangeOf(ex *exchange) *ranged {
	if !ex.req.Header.Has("Range") {
		return nil
	}
	host, _ := ex.req.Header.last("Host")
	sum := xxhash.Sum64String(host) ^ xxhash.Sum64String(ex.req.Target)*3
	for _, r := range d.ranges {
		if r.sum == sum {
			return r
		}
	}
	if len(d.ranges) >= maxRanges {
		return nil
	}
	r := &ranged{sum: sum}
	d.ranges = append(d.ranges, r)
	return r
}

// openRange gives the file that the body of a 206 answer continues; nil if it stands alone.
func (d *decoder) openRange(ex *exchange) *ranged {
	v, ok := ex.resp.Header.last("Content-Range")
	if ex.resp.Status != 206 || !ok {
		return nil
	}
	first, total, ok := contentRange(v)
	if !ok {
		return nil
	}
	if r := d.rangeOf(ex); r != nil && d.begin(ex, r) && r.at(first, total) {
		return r
	}
	return nil
}

// openRanges gives the file whose pieces are the parts of a 206 answer's body (RFC 9110 section 15.3.7.2).
func (d *decoder) openRanges(ex *exchange) *ranged {
	if ex.resp.Status != 206 {
		return nil
	}
	if r := d.rangeOf(ex); r != nil && d.begin(ex, r) {
		return r
	}
	return nil
}

// begin says whether r takes pieces, from now on if this is its first answer.
func (d *decoder) begin(ex *exchange, r *ranged) bool {
	if r.pieces == 0 && !r.open {
		r.file.Open(d.opt.Files)
		r.id, r.open = file.NewID(d.ctx.Flow(), uint32(ex.tx.Depth), byte(capture.Resp), 0), true
	}
	return r.open
}

// at says whether the next bytes are those from first on of a file of that length; not if they came before.
func (r *ranged) at(first, total int64) bool {
	if first < r.next || r.total > 0 && total != r.total {
		return false
	}
	r.total = total
	if first > r.next {
		r.file.Skip(first - r.next)
		r.next = first
	}
	return true
}

// piece ends a piece of n bytes, and gives the file as it is so far.
func (r *ranged) piece(n int64) []*file.File {
	r.next += n
	return r.file.SoFar()
}

// answered emits the files of an answer's body, but of a file that comes in pieces only the whole; the pieces behind
// the first have no name of their own in http.log.
func (d *decoder) answered(ex *exchange) {
	files := ex.resp.Body.Files
	if len(files) == 0 {
		return
	}
	r := d.rangeOf(ex)
	if r != nil {
		r.pieces++
		ex.resp.Body.known = r.pieces > 1
	}
	switch {
	case ex.ranged != nil && r.file.Seen() > 0:
		files[0].ID = r.id
		if r.pieces == 1 {
			r.name = *files[0]
		}
		d.tell(r, false)
		for _, f := range files[1:] { // parts that are no pieces of it
			d.ctx.Emit(f)
		}
	case !ex.resp.Body.known:
		for _, f := range files {
			d.ctx.Emit(f)
		}
	}
}

// tell emits a file that is whole, or at the end of the flow whatever came of it.
func (d *decoder) tell(r *ranged, end bool) {
	if !r.open || !end && (r.next < r.total || r.total == 0) {
		return
	}
	r.open = false
	for _, f := range r.file.Close() {
		f.Flow, f.ID, f.Source, f.Sender, f.Total = d.ctx.Flow(), r.id, "HTTP", capture.Resp, r.total
		f.Name, f.HasName = r.name.Name, r.name.HasName
		f.TimedOut = r.next < r.total || r.total == 0
		d.ctx.Emit(f)
	}
}

// contentRange reads "bytes FIRST-LAST/TOTAL"; total is 0 for a star.
func contentRange(v string) (first, total int64, ok bool) {
	v, ok = strings.CutPrefix(strings.ToLower(trim(v)), "bytes")
	if !ok {
		return 0, 0, false
	}
	span, size, ok := strings.Cut(strings.TrimLeft(v, " ="), "/")
	from, to, ok2 := strings.Cut(span, "-")
	if !ok || !ok2 {
		return 0, 0, false
	}
	first, ok = number(trim(from))
	last, ok2 := number(trim(to))
	if total, _ = number(trim(size)); !ok || !ok2 || last < first || total > 0 && last >= total {
		return 0, 0, false
	}
	return first, total, true
}

// number reads decimal digits, few enough not to overflow.
func number(s string) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		if !digit(s[i]) {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}
