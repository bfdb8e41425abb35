package record

import (
	"sync"
	"sync/atomic"

	"github.com/raytap/raytap/capture"
)

// maxWanted bounds the flows that are followed beyond their findings at once.
const maxWanted = 4096

// wanted is a flow of a finding: all of it is kept from then on, up to a bound.
type wanted struct {
	left int64        // bytes
	seen capture.Time // its last packet, or when it was asked for
}

// A flow that was quiet for so long is over, if nobody says so before.
const wantedQuiet = capture.Time(10 * 60e9)

// tire ends those that have been quiet.
func (r *Recorder) tire() {
	if r.now-r.tired < 60e9 && r.now >= r.tired {
		return
	}
	r.tired = r.now
	for id, w := range r.wanted {
		if r.now-w.seen > wantedQuiet {
			r.unwant(id)
		}
	}
}

// unwant follows a flow no further.
func (r *Recorder) unwant(id uint64) {
	delete(r.wanted, id)
	r.wants.drop(id)
	r.order(order{ends: id})
}

// wants are the names of flows that are wanted, for other goroutines. There are none mostly, which they see without a lock.
type wants struct {
	n   atomic.Int64
	mu  sync.Mutex
	ids map[uint64]bool
}

func (w *wants) add(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ids == nil {
		w.ids = map[uint64]bool{}
	}
	w.ids[id] = true
	w.n.Store(int64(len(w.ids)))
}

func (w *wants) drop(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.ids, id)
	w.n.Store(int64(len(w.ids)))
}

func (w *wants) has(id uint64) bool {
	if w.n.Load() == 0 {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ids[id]
}

// Passed counts frames of which nobody keeps anything, and which were not delivered for that (capture.Shunt): they lie beyond
// the cutoff of their flows.
func (r *Recorder) Passed(n Count) {
	for _, c := range []*Count{&r.counts.Seen, &r.counts.By[Cutoff]} {
		c.Frames += n.Frames
		c.Bytes += n.Bytes
	}
}

// id stands for a flow within a run.
func (r *Recorder) id(hash uint64, start capture.Time) uint64 { return flowID(hash, start) }

func flowID(hash uint64, start capture.Time) uint64 {
	// Odd constants of splitmix64; the hash is keyed already.
	return hash ^ uint64(start.Micros())*0x9e3779b97f4a7c15
}

// Batch takes frames, and what they were dissected to: packets in order, each with its hash and mark. Frames without data
// were filtered before. What is borrowed is not kept.
func (r *Recorder) Batch(frames []capture.Frame, packets []capture.Packet, hashes []uint64, marks []Mark) {
	n := 0
	for i := range frames {
		f := &frames[i]
		from := n
		for n < len(packets) && packets[n].Ordinal == f.Ordinal {
			n++
		}
		if len(f.Data) == 0 {
			continue
		}
		r.frame(f, packets[from:n], hashes[from:n], marks[from:n])
	}
	if len(r.wanted) > 0 {
		r.tire()
	}
}

func (r *Recorder) frame(f *capture.Frame, packets []capture.Packet, hashes []uint64, marks []Mark) {
	r.now = max(r.now, f.Time)
	size := max(f.WireLen, len(f.Data))
	r.counts.Seen.add(size)
	k, cause := whole, Kept // no IP, or a fragment: nobody knows what of
	if len(marks) > 0 {
		for i := range marks {
			m := &marks[i]
			if m.cause == Excluded {
				k, cause = nothing, Excluded
				break
			}
			if i == 0 || m.keep > k { // of a tunnel's packet and what is in it, who wants more has it
				k, cause = m.keep, m.cause
			}
		}
	}
	if len(r.wanted) > 0 && k != whole && cause != Excluded {
		for i := range marks {
			id := r.id(hashes[i], marks[i].Start)
			if w := r.wanted[id]; w != nil {
				k, cause = whole, Kept
				w.seen = r.now
				if w.left -= int64(len(f.Data)); w.left <= 0 {
					r.unwant(id)
				}
			}
		}
	}
	if cause != Excluded && k == nothing && r.named(f.Ordinal) {
		k, cause = whole, Kept
	}
	if r.judge.Filter != "" && k != nothing && !r.match(f) {
		k, cause = nothing, Filtered
	}
	if k == nothing {
		r.counts.By[cause].add(size)
		return
	}
	keep := len(f.Data)
	if k == headers || r.judge.Headers {
		if h := headerEnd(f, packets); h < keep {
			keep = h
			if k != headers {
				cause = Snapped
			}
		}
	}
	if s := r.judge.Snap; s > 0 && s < keep {
		keep, cause = s, Snapped
	}
	c := r.room()
	if c == nil {
		r.counts.By[QueueFull].add(size)
		return
	}
	r.counts.By[Kept].Frames++
	if keep < len(f.Data) {
		r.counts.By[Kept].Bytes += uint64(keep)
		r.counts.By[cause].Frames++
		r.counts.By[cause].Bytes += uint64(size - keep)
	} else {
		r.counts.By[Kept].Bytes += uint64(size)
	}
	link, ok := r.links[f.Link]
	if !ok {
		link = uint32(len(r.linked))
		r.links[f.Link] = link
		r.linked = append(r.linked, f.Link)
	}
	c.add(link, f, keep)
	for i := range packets {
		id := r.id(hashes[i], marks[i].Start)
		flow, fresh := r.slots.find(id, c.ids)
		if fresh {
			c.ids, c.names = append(c.ids, id), append(c.names, capture.NameOf(&packets[i], marks[i].Start))
		}
		c.belongs(flow)
	}
}

// named says whether a finding that has just been made rests on the packet.
func (r *Recorder) named(ordinal uint64) bool {
	for i := range r.orders {
		if x := r.orders[i].finding; x != nil && x.notes[ordinal] != nil {
			return true
		}
	}
	return false
}

func (r *Recorder) match(f *capture.Frame) bool {
	c, ok := r.filter[f.Link]
	if !ok {
		c, _ = capture.CompileFilter(r.judge.Filter, f.Link) // nil: of this link type it says nothing
		r.filter[f.Link] = c
	}
	return c == nil || c.Match(f)
}

// headerEnd is where in the frame the payload of its innermost packet begins, or its end.
func headerEnd(f *capture.Frame, packets []capture.Packet) int {
	const unknown = 128 // of what is no IP, as of fragments: what tcpdump -s 128 shows
	end := 0
	for i := range packets {
		p := &packets[i]
		// L4 is a part of the frame, unless it was put together of fragments.
		at := cap(f.Data) - cap(p.L4)
		if len(p.L4) == 0 || at < 0 || at >= len(f.Data) || &f.Data[at] != &p.L4[0] {
			continue
		}
		hdr := p.HdrLen
		if p.Proto == capture.ProtoICMP || p.Proto == capture.ProtoICMPv6 {
			hdr = max(hdr, 8)
		}
		end = max(end, at+min(hdr, len(p.L4)))
	}
	if end == 0 {
		end = unknown
	}
	return min(end, len(f.Data))
}

// room gives the chunk at hand, or the next; nil if the disk is so far behind that there is none.
func (r *Recorder) room() *chunk {
	if r.chunk != nil && r.chunk.full() {
		r.cut()
	}
	if r.chunk == nil {
		select {
		case r.chunk = <-r.free:
		default:
			switch {
			case r.made < r.opt.chunks:
				r.made++
				r.chunk = &chunk{}
			case r.opt.Wait:
				r.chunk = <-r.free
			default:
				return nil
			}
		}
		r.chunk.run = r.run
		r.slots.begin()
	}
	return r.chunk
}

// cut sends the chunk at hand to the disk, with what is to be done behind it.
func (r *Recorder) cut() {
	r.cutAt = r.opt.clock()
	if r.chunk == nil && len(r.orders) > 0 && r.room() == nil {
		return // they wait
	}
	c := r.chunk
	if c == nil {
		return
	}
	if len(c.at) == 0 {
		c.first, c.last = r.now, r.now
	}
	c.orders = append(c.orders, r.orders...)
	clear(r.orders)
	r.orders = r.orders[:0]
	c.counts = r.counts
	r.total.Add(&r.counts)
	r.counts = Counts{}
	c.links = append(c.links[:0], r.linked...)
	if c.empty() && c.counts == (Counts{}) {
		return
	}
	r.chunk = nil
	r.queue <- c // as many fit as there are
}

// Flush sends to the disk what has waited for a second, and what findings ask for. It is to be called a few times in a
// second.
func (r *Recorder) Flush() {
	if len(r.orders) > 0 || r.opt.clock().Sub(r.cutAt).Abs() >= writeEvery {
		r.cut()
	}
}
