package record

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/disk"
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

// hit is a packet that is looked for: its chunk, and where its block begins there.
type hit struct {
	chunk   int
	at      uint32
	ordinal uint64 // 0: nobody asked
}

// matcher is a query in the form in which flows are compared with it.
type matcher struct {
	*Query
	uids        map[uint64][]string // by key
	communities map[[20]byte]bool
	pairs       map[[2]netip.Addr]bool
	hosts       map[netip.Addr]bool
	nets        []netip.Prefix
}

func (q *Query) matcher() *matcher {
	m := &matcher{Query: q, uids: map[uint64][]string{}, communities: map[[20]byte]bool{}, pairs: map[[2]netip.Addr]bool{}, hosts: map[netip.Addr]bool{}}
	for _, uid := range q.UIDs {
		m.uids[uidKey(uid)] = append(m.uids[uidKey(uid)], uid)
	}
	for _, id := range q.Communities {
		m.communities[parseCommunity(id)] = true
	}
	for _, p := range q.Pairs {
		m.pairs[p], m.pairs[[2]netip.Addr{p[1], p[0]}] = true, true
	}
	for _, h := range q.Hosts {
		if h.IsSingleIP() {
			m.hosts[h.Addr()] = true
		} else {
			m.nets = append(m.nets, h)
		}
	}
	return m
}

// may says whether the segment may have anything of what is looked for, but for its ordinals.
func (m *matcher) may(x *index) bool {
	if len(m.nets) > 0 {
		return true
	}
	for key := range m.uids {
		if x.may(key) {
			return true
		}
	}
	for sum := range m.communities {
		if x.may(communityKey(sum)) {
			return true
		}
	}
	for p := range m.pairs {
		if x.may(addrKey(p[0])) && x.may(addrKey(p[1])) {
			return true
		}
	}
	for h := range m.hosts {
		if x.may(addrKey(h)) {
			return true
		}
	}
	return false
}

// takes says whether a flow in a chunk whose last packet is of that time is looked for.
func (m *matcher) takes(n *capture.FlowName, last capture.Time) bool {
	if len(m.uids) > 0 {
		if uids := m.uids[nameKey(n)]; uids != nil && slices.Contains(uids, n.UID()) {
			return true
		}
	}
	if len(m.communities) > 0 && m.communities[n.Community()] {
		return true
	}
	if len(m.pairs)+len(m.hosts)+len(m.nets) == 0 || m.Recent != 0 && last < m.Recent {
		return false
	}
	a, b := n.Ends()
	return m.pairs[[2]netip.Addr{a.Addr(), b.Addr()}] || m.hosts[a.Addr()] || m.hosts[b.Addr()] ||
		slices.ContainsFunc(m.nets, func(n netip.Prefix) bool { return n.Contains(a.Addr()) || n.Contains(b.Addr()) })
}

// find lists the packets of a segment that are looked for, in order.
func (m *matcher) find(s *segment, x *index) (hits []hit, flows []capture.FlowName, err error) {
	may := m.may(x)
	for i := range x.places {
		p := &x.places[i]
		numbered := p.run == m.Run && m.hasBetween(p.from, p.to)
		if !m.within(p) || !may && !numbered {
			continue
		}
		b, _, err := s.raw(p.at)
		if err == nil && !wholeDirectory(b) {
			err = errDirectory
		}
		if err == nil && !numbered && !anyFlow(b, func(n *capture.FlowName) bool { return m.takes(n, p.last) }) {
			continue
		}
		var d *directory
		if err == nil {
			d, err = parseDirectory(b)
		}
		if err != nil {
			if errors.Is(err, errDirectory) || errors.Is(err, io.EOF) {
				return nil, nil, errIndex // it says that there is a chunk
			}
			return nil, nil, err
		}
		d.cut(max(min(int(s.size-p.data), d.length), 0), p.packed > 0)
		n := len(hits)
		if may {
			for j := range d.flows {
				f := &d.flows[j]
				if !m.takes(&f.name, p.last) {
					continue
				}
				flows = append(flows, f.name)
				for _, frame := range f.frames {
					hits = append(hits, hit{chunk: i, at: d.at[frame]})
				}
			}
		}
		if numbered {
			for j, o := range d.ordinals {
				if m.Ordinals[o] {
					hits = append(hits, hit{i, d.at[j], o})
				}
			}
		}
		slices.SortFunc(hits[n:], func(a, b hit) int {
			// Of one packet the hit that knows its number is first.
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(b.ordinal, a.ordinal))
		})
	}
	hits = slices.CompactFunc(hits, func(a, b hit) bool { return a.chunk == b.chunk && a.at == b.at })
	return hits, flows, nil
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
	match *matcher
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

// siftAtOnce is how many indexes are read at once: a disk answers many short reads in the time of a few.
const siftAtOnce = 16

// sift leaves of the segments those that may have something, by their indexes alone.
func (r *Results) sift() {
	if r.match = r.query.matcher(); r.query.everything() || len(r.files) < 2 {
		return
	}
	gone := make([]bool, len(r.files))
	var wg sync.WaitGroup
	var at atomic.Int64
	for range siftAtOnce {
		wg.Go(func() {
			for {
				i := int(at.Add(1)) - 1
				if i >= len(r.files) {
					return
				}
				gone[i] = !r.match.mayBeIn(r.files[i].path)
			}
		})
	}
	wg.Wait()
	left := r.files[:0:0]
	for i, f := range r.files {
		if !gone[i] {
			left = append(left, f)
		}
	}
	r.files = left
}

// mayBeIn says whether a segment may have something; without an index of all of it, it may.
func (m *matcher) mayBeIn(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return true // who reads it says why
	}
	f, err := disk.Read(path + indexTail)
	if err != nil {
		return true
	}
	defer f.Close()
	x, err := openIndex(f)
	if err != nil || x.segment != info.Size() {
		return true
	}
	may := m.may(x)
	for i := range x.places {
		p := &x.places[i]
		if m.within(p) && (may || p.run == m.Run && m.hasBetween(p.from, p.to)) {
			return true
		}
	}
	return false
}

// next goes to the next segment in which something is found, and reports whether there is one.
func (r *Results) next() bool {
	r.end()
	if r.match == nil {
		r.sift()
	}
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
			r.tell("%s is damaged in %d places, which are skipped", path, damaged)
		}
		if r.query.everything() {
			r.s, r.x, r.close, r.chunk = s, x, close, 0
			return true
		}
		hits, flows, err := r.match.find(s, x)
		if errors.Is(err, errIndex) && !made {
			if x, _, damaged, err = s.index(); err == nil {
				if damaged > 0 {
					r.tell("%s is damaged in %d places, which are skipped", path, damaged)
				}
				hits, flows, err = r.match.find(s, x)
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
