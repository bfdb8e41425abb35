package capture

// lru is a bounded table that forgets the least recently used entry to make room for a new one. Order comes from use
// alone, never from map iteration. The zero value is not ready: newLRU.
type lru[K comparable, V any] struct {
	index map[K]int32
	slots []lruSlot[K, V] // slot 0 is the ring's anchor: its next is the newest, its prev the oldest
	free  []int32
	limit int
}

type lruSlot[K comparable, V any] struct {
	key        K
	val        V
	prev, next int32
}

func newLRU[K comparable, V any](limit int) lru[K, V] {
	return lru[K, V]{index: map[K]int32{}, slots: make([]lruSlot[K, V], 1), limit: limit}
}

func (t *lru[K, V]) len() int { return len(t.index) }

// get finds k and makes it the newest. The pointer is good until the next put.
func (t *lru[K, V]) get(k K) *V {
	i, ok := t.index[k]
	if !ok {
		return nil
	}
	if t.slots[0].next != i {
		t.unlink(i)
		t.link(i)
	}
	return &t.slots[i].val
}

// full says that a put must be preceded by a drop.
func (t *lru[K, V]) full() bool { return len(t.index) >= t.limit }

// put adds a new k, which must not be in the table, with a zero value.
func (t *lru[K, V]) put(k K) *V {
	var i int32
	if n := len(t.free); n > 0 {
		i = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		i = int32(len(t.slots))
		t.slots = append(t.slots, lruSlot[K, V]{})
	}
	t.slots[i].key = k
	t.index[k] = i
	t.link(i)
	return &t.slots[i].val
}

// oldest gives the entry that was used the longest ago; ok is false for an empty table.
func (t *lru[K, V]) oldest() (k K, v *V, ok bool) {
	i := t.slots[0].prev
	if i == 0 {
		return k, nil, false
	}
	return t.slots[i].key, &t.slots[i].val, true
}

func (t *lru[K, V]) drop(k K) {
	i, ok := t.index[k]
	if !ok {
		return
	}
	delete(t.index, k)
	t.unlink(i)
	t.slots[i] = lruSlot[K, V]{}
	t.free = append(t.free, i)
}

func (t *lru[K, V]) link(i int32) {
	first := t.slots[0].next
	t.slots[i].prev, t.slots[i].next = 0, first
	t.slots[first].prev = i
	t.slots[0].next = i
}

func (t *lru[K, V]) unlink(i int32) {
	s := &t.slots[i]
	t.slots[s.prev].next = s.next
	t.slots[s.next].prev = s.prev
}
