package mining

// recent is a bounded table; when it is full, the entry that was not touched for longest makes room.
type recent[K comparable, V any] struct {
	max   int
	index map[K]int
	slots []slot[K, V]
	head  int // most recently touched
	tail  int
	free  int // chain of dropped slots by next
}

type slot[K comparable, V any] struct {
	key        K
	val        V
	prev, next int
}

const none = -1

func newRecent[K comparable, V any](max int) *recent[K, V] {
	return &recent[K, V]{max: max, index: map[K]int{}, head: none, tail: none, free: none}
}

// get finds an entry and makes it the most recent.
func (r *recent[K, V]) get(k K) (v V, ok bool) {
	i, ok := r.index[k]
	if !ok {
		return v, false
	}
	r.unlink(i)
	r.front(i)
	return r.slots[i].val, true
}

// put sets an entry and makes it the most recent.
func (r *recent[K, V]) put(k K, v V) {
	i, ok := r.index[k]
	switch {
	case ok:
		r.unlink(i)
	case r.free != none:
		i = r.free
		r.free = r.slots[i].next
	case len(r.slots) < r.max:
		i = len(r.slots)
		r.slots = append(r.slots, slot[K, V]{})
	default:
		i = r.tail
		r.unlink(i)
		delete(r.index, r.slots[i].key)
	}
	r.slots[i].key, r.slots[i].val = k, v
	r.index[k] = i
	r.front(i)
}

// drop forgets an entry.
func (r *recent[K, V]) drop(k K) {
	i, ok := r.index[k]
	if !ok {
		return
	}
	delete(r.index, k)
	r.unlink(i)
	r.slots[i] = slot[K, V]{next: r.free}
	r.free = i
}

func (r *recent[K, V]) unlink(i int) {
	s := &r.slots[i]
	if s.prev == none {
		r.head = s.next
	} else {
		r.slots[s.prev].next = s.next
	}
	if s.next == none {
		r.tail = s.prev
	} else {
		r.slots[s.next].prev = s.prev
	}
}

func (r *recent[K, V]) front(i int) {
	s := &r.slots[i]
	s.prev, s.next = none, r.head
	if r.head != none {
		r.slots[r.head].prev = i
	}
	r.head = i
	if r.tail == none {
		r.tail = i
	}
}
