package engine

import (
	"sync"

	"github.com/raytap/raytap/capture"
)

// The room for flows is shared between shards again every sharePackets packets that the dissector made, by what was in their tables
// shareBehind such places before. Both are places in the capture: what flows make room for others is the same however the capture is
// cut into batches, and whoever works on them. More of both is less waiting of the reader for workers, and flows above the room.
const (
	sharePackets = 512
	shareBehind  = 24
)

// sharing says how the room is shared, for the reader.
type sharing struct {
	limit int // flows in all
	last  [shareBehind]tables
	n     int    // places so far
	next  uint64 // where the next is
}

// tables is how many flows there were in the tables at one place.
type tables struct {
	used [capture.ShardCount]int32
	pos  uint64         // packets up to there
	done sync.WaitGroup // workers that have to say it
}

// share is a place in a batch where the room is shared again.
type share struct {
	n      int // before this packet of the batch
	limit  [capture.ShardCount]int32
	tables *tables // what workers fill in
}

// share lets the room be shared before the batch's next packet, if that is a place for it.
func (s *sharing) share(b *batch) {
	pos := b.pos + uint64(len(b.packets))
	if pos < s.next {
		return
	}
	s.next = pos - pos%sharePackets + sharePackets
	t := &s.last[s.n%shareBehind]
	if s.n >= shareBehind && t.pos >= b.pos {
		return // not handed to workers yet: a batch of very many packets, which files have none of
	}
	t.done.Wait()
	s.n++
	b.shares = append(b.shares, share{n: len(b.packets), tables: t})
	capture.Limits(&b.shares[len(b.shares)-1].limit, &t.used, s.limit, int(pos-t.pos))
	t.pos = pos
	t.done.Add(len(b.work))
}

// shareTo brings the worker's shards what is shared before packet n of the batch.
func (w *worker) shareTo(n int) {
	for ; w.shares < len(w.batch.shares) && w.batch.shares[w.shares].n <= n; w.shares++ {
		x := &w.batch.shares[w.shares]
		for i, s := range w.shards {
			if s != nil {
				s.SetLimit(int(x.limit[i]))
				x.tables.used[i] = int32(s.Len())
			}
		}
		x.tables.done.Done()
	}
}
