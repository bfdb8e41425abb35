package http

import (
	"hash/maphash"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
)

const (
	// Files that a flow fetches by ranges: players alternate between two or three.
	maxRanges = 16
	// Files up to this long are put together over all connections of a client, as Zeek does, for which their bytes have
	// to be copied to where all flows come together, and digested there. Longer ones are one for each connection.
	maxJoined = 16 << 20
	// Bytes that are collected before they go there.
	joinStep = 32 << 10
)

// ranged is a file that comes in pieces, each the answer to a request of its own (RFC 9110 section 14). For Zeek, and
// so in the logs, the pieces of one client are one file.
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
	holes  bool  // a piece did not follow the one before
	// of a file that is put together elsewhere
	joined  bool
	key     string
	part    *file.Piece // that is being read
	off     int64       // where it goes on
	first   int64       // where it began
	message uint32
}

// seed is the program's own, so that nobody can make a place that is taken for another. Hashes are compared and never told, so that
// what is said is the same with any.
var seed = maphash.MakeSeed()

// rangeOf finds the file that a request with a Range field asks for, nil if there is no such field or too many files.
func (d *decoder) rangeOf(ex *exchange) *ranged {
	if !ex.req.Header.Has("Range") {
		return nil
	}
	sum := maphash.String(seed, ex.req.facts().host.s) ^ maphash.String(seed, ex.req.Target)*3
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
	r := d.rangeOf(ex)
	if r == nil {
		return nil
	}
	if d.joins(ex, r, total) {
		r.at(first, total)
		r.off, r.first, r.message = first, first, uint32(ex.tx.Depth)
		return r
	}
	if !r.joined && d.begin(ex, r) && r.at(first, total) {
		return r
	}
	return nil
}

// joins says whether a piece of a file of that length goes to where files are put together over connections; not if
// Zeek does not see it, or it is not to be looked into.
func (d *decoder) joins(ex *exchange, r *ranged, total int64) bool {
	f := d.ctx.Flow()
	if total == 0 || total > maxJoined || r.open && !r.joined || ex.resp.From.Has(apart) || f == nil || f.Mid || !d.half[capture.Resp].sink.file.Digests() {
		return false
	}
	if !r.open {
		asked := ex.req.facts().host
		if !asked.set {
			asked.s = f.Resp.Addr().String()
		}
		client, port := f.Orig.Addr().AsSlice(), []byte{byte(f.Resp.Port() >> 8), byte(f.Resp.Port())}
		r.key = string(client) + string(port) + asked.s + " " + ex.req.Target
		r.id = capture.NewUID('F', []byte(r.key))
		r.file.Open(d.opt.Files)
		r.file.NoDigest()
		r.file.NoCopy() // Joined has the whole
		r.open, r.joined = true, true
	}
	if name, ok := fileName(ex.resp.Header); ok {
		r.name.Name, r.name.HasName = name, true
	}
	return true
}

// take reads the next bytes of a piece.
func (r *ranged) take(d *decoder, b []byte) {
	at := d.ctx.At()
	r.file.Write(at, b)
	for r.joined && len(b) > 0 {
		if r.part != nil && len(r.part.Data) >= joinStep {
			r.give(d)
		}
		if r.part == nil {
			r.part = &file.Piece{At: at, Key: r.key, Off: r.off}
		}
		p := r.part
		n := min(len(b), joinStep-len(p.Data))
		p.Data, p.Last = append(p.Data, b[:n]...), at.Time
		r.off += int64(n)
		b = b[n:]
	}
}

// gap says that n bytes of a piece are missing.
func (r *ranged) gap(d *decoder, n int64) {
	at := d.ctx.At()
	r.file.Gap(at, n)
	if r.joined {
		if r.part == nil {
			r.part = &file.Piece{At: at, Key: r.key, Off: r.off}
		}
		r.part.Last, r.part.Missing, r.part.LostAt = at.Time, n, r.off-r.first
		r.off += n
		r.give(d)
	}
}

// give hands on what came of a piece so far.
func (r *ranged) give(d *decoder) {
	p := r.part
	if r.part = nil; p == nil {
		return
	}
	p.Message = r.message
	p.Of = file.File{Flow: d.ctx.Flow(), ID: r.id, Source: "HTTP", Sender: capture.Resp, Total: r.total, Name: r.name.Name, HasName: r.name.HasName}
	d.ctx.Emit(p)
}

// openRanges gives the file whose pieces are the parts of a 206 answer's body (RFC 9110 section 15.3.7.2).
func (d *decoder) openRanges(ex *exchange) *ranged {
	if ex.resp.Status != 206 {
		return nil
	}
	if r := d.rangeOf(ex); r != nil && !r.joined && d.begin(ex, r) {
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
		r.next, r.holes = first, true
	}
	return true
}

// piece ends a piece, and gives the file as it is so far.
func (r *ranged) piece(d *decoder, body *Body) []*file.File {
	r.next += body.Len
	list := r.file.SoFar()
	if list == nil {
		return nil
	}
	f := list[0]
	f.Flow, f.ID, f.Source, f.Sender, f.From = d.ctx.Flow(), r.id, "HTTP", capture.Resp, capture.Doubted.When(body.From != 0)
	f.Name, f.HasName = r.name.Name, r.name.HasName
	// The row of a message that is cut off comes late enough.
	f.Unnamed = body.Complete && (r.joined || f.Seen < file.Beginning && (r.holes || r.next < r.total || r.total == 0))
	if r.part != nil {
		r.part.Row = f
	}
	r.give(d)
	return list
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
			if ex.resp.Status == 206 && (f.Total == 0 || f.Seen+f.Missing < f.Total) {
				f.TimedOut = true // Zeek does not end a file with a message that has a part of it
				f.Unfinished = true
				f.Unnamed = f.Seen < file.Beginning && ex.resp.Body.Complete
			}
			d.ctx.Emit(f)
		}
	default:
		for _, f := range files {
			f.Copy.Drop()
		}
	}
}

// tell emits a file that is whole, or at the end of the flow whatever came of it.
func (d *decoder) tell(r *ranged, end bool) {
	if r.joined || !r.open || !end && (r.next < r.total || r.total == 0) {
		return
	}
	r.open = false
	for _, f := range r.file.Close() {
		f.Flow, f.ID, f.Source, f.Sender, f.Total = d.ctx.Flow(), r.id, "HTTP", capture.Resp, r.total
		f.Name, f.HasName = r.name.Name, r.name.HasName
		f.TimedOut = r.next < r.total || r.total == 0 || r.holes // Zeek waits for what is missing before a piece
		f.Unfinished = f.TimedOut
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
