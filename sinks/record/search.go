package record

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"

	"github.com/raytap/raytap/capture"
)

// Query says which packets are looked for: those of any of its flows, between any of its pairs, of any of its hosts and
// with any of its ordinals. With none of these it is all packets.
type Query struct {
	UIDs        []string
	Communities []string // Community IDs
	Pairs       [][2]netip.Addr
	Hosts       []netip.Prefix
	// Ordinals are numbers of packets of one run.
	Ordinals map[uint64]bool
	Run      uint64
	// Chunks of which all packets are earlier or later are left out; what is handed out may be some earlier or later.
	// 0: no bound.
	Since, Until capture.Time
	// Recent is Since for pairs and hosts alone.
	Recent capture.Time
}

func (q *Query) everything() bool {
	return len(q.UIDs)+len(q.Communities)+len(q.Pairs)+len(q.Hosts)+len(q.Ordinals) == 0
}

func (q *Query) within(p *place) bool {
	return (q.Since == 0 || p.last >= q.Since) && (q.Until == 0 || p.first <= q.Until)
}

// hit is a packet that is looked for.
type hit struct {
	where
	ordinal uint64 // 0: nobody asked
}

// find lists the packets of a segment that are looked for, in order, and the flows that they are of.
func (q *Query) find(s *segment, x *index) (hits []hit, flows []capture.FlowName, err error) {
	near := make([]bool, len(x.places))
	any := false
	for i := range x.places {
		near[i] = q.within(&x.places[i])
		any = any || near[i]
	}
	if !any {
		return nil, nil, nil
	}
	taken := map[uint32]bool{}
	recent := capture.Time(0)
	take := func(f *indexed) error {
		all, err := f.blocks(x.places)
		if err != nil {
			return err
		}
		n := len(hits)
		for _, w := range all {
			if near[w.chunk] && (recent == 0 || x.places[w.chunk].last >= recent) {
				hits = append(hits, hit{where: w})
			}
		}
		if len(hits) > n {
			flows = append(flows, f.name)
		}
		return nil
	}
	look := func(which int, key uint64, fits func(*indexed) bool) error {
		list, err := x.look(which, key)
		if err != nil {
			return err
		}
		for _, at := range list {
			if taken[at] {
				continue
			}
			f, err := x.flow(at)
			if err != nil {
				return err
			}
			if fits(f) {
				taken[at] = true
				if err := take(f); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, uid := range q.UIDs {
		if err := look(byUID, uidKey(uid), func(f *indexed) bool { return f.name.UID() == uid }); err != nil {
			return nil, nil, err
		}
	}
	for _, id := range q.Communities {
		if err := look(byCommunity, communityKey(id), func(f *indexed) bool { return f.name.Flow().CommunityID() == id }); err != nil {
			return nil, nil, err
		}
	}
	recent = q.Recent
	for _, p := range q.Pairs {
		if err := look(byAddr, addrKey(p[0]), func(f *indexed) bool {
			a, b := f.name.Ends()
			return a.Addr() == p[0] && b.Addr() == p[1] || a.Addr() == p[1] && b.Addr() == p[0]
		}); err != nil {
			return nil, nil, err
		}
	}
	var nets []netip.Prefix
	for _, h := range q.Hosts {
		if !h.IsSingleIP() {
			nets = append(nets, h)
			continue
		}
		if err := look(byAddr, addrKey(h.Addr()), func(f *indexed) bool {
			a, b := f.name.Ends()
			return a.Addr() == h.Addr() || b.Addr() == h.Addr()
		}); err != nil {
			return nil, nil, err
		}
	}
	if len(nets) > 0 {
		err = x.all(func(f *indexed) {
			a, b := f.name.Ends()
			if slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(a.Addr()) || n.Contains(b.Addr()) }) && err == nil {
				err = take(f)
			}
		})
		if err != nil {
			return nil, nil, err
		}
	}
	if len(q.Ordinals) > 0 {
		if hits, err = q.numbered(s, x, near, hits); err != nil {
			return nil, nil, err
		}
	}
	slices.SortFunc(hits, func(a, b hit) int {
		switch {
		case a.chunk != b.chunk:
			return a.chunk - b.chunk
		case a.at != b.at:
			return int(a.at) - int(b.at)
		case a.ordinal > b.ordinal: // the one that knows its number
			return -1
		case a.ordinal < b.ordinal:
			return 1
		}
		return 0
	})
	hits = slices.CompactFunc(hits, func(a, b hit) bool { return a.where == b.where })
	return hits, flows, nil
}

// numbered adds the packets with the ordinals that are looked for.
func (q *Query) numbered(s *segment, x *index, near []bool, hits []hit) ([]hit, error) {
	for i := range x.places {
		p := &x.places[i]
		if !near[i] || p.run != q.Run || !q.hasBetween(p.from, p.to) {
			continue
		}
		d, _, err := s.directory(p.at)
		if err != nil {
			if errors.Is(err, errDirectory) || errors.Is(err, io.EOF) {
				continue // damaged: its packets are found by their flows
			}
			return nil, err
		}
		for j, o := range d.ordinals {
			if q.Ordinals[o] {
				hits = append(hits, hit{where{i, d.at[j]}, o})
			}
		}
	}
	return hits, nil
}

func (q *Query) hasBetween(from, to uint64) bool {
	for o := range q.Ordinals {
		if o >= from && o <= to {
			return true
		}
	}
	return false
}

// Results is a capture.Source of the packets that a query finds, in the order in which they were recorded. Frames that the
// query asked for by their ordinal have it; others are numbered anew, from 1<<63 on.
type Results struct {
	files []file
	query *Query
	flow  func(capture.FlowName) // is told of each flow that is found; may be nil
	s     *segment
	x     *index
	close func()
	hits  []hit
	at    int // in hits
	chunk int // of everything
	n     uint64
	Told  []string // what could not be read, in words
}

// maxTold bounds what is said of damage.
const maxTold = 20

// unnumbered is where the ordinals of frames begin of which nobody asked the number.
const unnumbered = 1 << 63

func (r *Results) tell(format string, a ...any) {
	if len(r.Told) < maxTold {
		r.Told = append(r.Told, fmt.Sprintf(format, a...))
	}
}

// next goes to the next segment in which something is found, and reports whether there is one.
func (r *Results) next() bool {
	r.end()
	for len(r.files) > 0 {
		path := r.files[0].path
		r.files = r.files[1:]
		s, x, close, made, damaged, err := open(path)
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) { // the ring has moved on
				r.tell("%s: %v", path, err)
			}
			continue
		}
		if damaged > 0 {
			r.tell("%s is damaged at %d places, and what was there is left out", path, damaged)
		}
		if r.query.everything() {
			r.s, r.x, r.close, r.chunk = s, x, close, 0
			return true
		}
		hits, flows, err := r.query.find(s, x)
		if errors.Is(err, errIndex) && !made {
			if x, _, _, err = s.index(); err == nil {
				hits, flows, err = r.query.find(s, x)
			}
		}
		if err != nil {
			r.tell("%s: %v", path, err)
			close()
			continue
		}
		if len(hits) == 0 {
			close()
			continue
		}
		if r.flow != nil {
			for _, f := range flows {
				r.flow(f)
			}
		}
		r.s, r.x, r.close, r.hits, r.at = s, x, close, hits, 0
		return true
	}
	return false
}

func (r *Results) end() {
	if r.s != nil {
		r.close()
		r.s, r.hits = nil, nil
	}
}

const (
	// Bytes of a batch.
	resultBatch = 1 << 20
	// Packets that are no further apart are read at once.
	resultGap = 64 << 10
)

// ReadBatch implements capture.Source.
func (r *Results) ReadBatch(b *capture.Batch) error {
	b.Frames = b.Frames[:0]
	for {
		if r.s == nil && !r.next() {
			return io.EOF
		}
		if r.query.everything() {
			r.whole(b)
		} else {
			r.picked(b)
		}
		if len(b.Frames) > 0 {
			return nil
		}
	}
}

// whole hands out the next chunk.
func (r *Results) whole(b *capture.Batch) {
	if r.chunk >= len(r.x.places) {
		r.end()
		return
	}
	p := &r.x.places[r.chunk]
	r.chunk++
	if !r.query.within(p) {
		return
	}
	blocks, err := r.s.packets(p)
	if err != nil {
		r.tell("%s: offset %d: %v", r.s.name, p.data, err)
		return
	}
	for len(blocks) > 0 {
		f, n, ok := parsePacket(blocks, r.x.links)
		if !ok {
			r.tell("%s: offset %d: damaged", r.s.name, p.data+int64(p.length-len(blocks)))
			return
		}
		blocks = blocks[n:]
		r.n++
		f.Ordinal = unnumbered + r.n
		b.Frames = append(b.Frames, f)
	}
}

// picked hands out the next packets that are looked for.
func (r *Results) picked(b *capture.Batch) {
	for total := 0; total < resultBatch; {
		if r.at >= len(r.hits) {
			r.end()
			return
		}
		first := r.hits[r.at]
		p := &r.x.places[first.chunk]
		from, blocks := int(first.at), []byte(nil)
		upTo := r.at + 1
		var err error
		if p.packed > 0 {
			for upTo < len(r.hits) && r.hits[upTo].chunk == first.chunk {
				upTo++
			}
			if blocks, err = r.s.packets(p); err == nil && from < len(blocks) {
				blocks = blocks[from:]
			}
		} else {
			for upTo < len(r.hits) && r.hits[upTo].chunk == first.chunk && r.hits[upTo].at-r.hits[upTo-1].at < resultGap && int(r.hits[upTo].at)-from < resultBatch {
				upTo++
			}
			// How long the last one is, it says itself.
			end := min(int(r.hits[upTo-1].at)+2048, p.length)
			blocks, err = r.s.read(p.data+int64(from), end-from)
			if last := int(r.hits[upTo-1].at) - from; err == nil && last+8 <= len(blocks) {
				if n := int(le32(blocks[last+4:])); last+n > len(blocks) && n <= p.length-from-last {
					blocks, err = r.s.read(p.data+int64(from), last+n)
				}
			}
		}
		if err != nil {
			r.tell("%s: offset %d: %v", r.s.name, p.data+int64(from), err)
		}
		for _, h := range r.hits[r.at:upTo] {
			at := int(h.at) - from
			if err != nil || at >= len(blocks) {
				break
			}
			f, n, ok := parsePacket(blocks[at:], r.x.links)
			if !ok {
				r.tell("%s: offset %d: a damaged packet is left out", r.s.name, p.data+int64(h.at))
				continue
			}
			r.n++
			if f.Ordinal = h.ordinal; f.Ordinal == 0 {
				f.Ordinal = unnumbered + r.n
			}
			b.Frames = append(b.Frames, f)
			total += n
		}
		r.at = upTo
	}
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// Close implements capture.Source.
func (r *Results) Close() error {
	r.end()
	r.files = nil
	return nil
}
