package detectors

import "iter"

// Table is a bounded map for a detector's state: when it is full, the entry that was not touched for longest makes
// room. The zero value with a Limit is ready.
type Table[K comparable, V any] struct {
	Limit   int
	Evicted uint64 // entries that made room
	index   map[K]int32
	slots   []tableSlot[K, V] // slot 0 is the ring's anchor: next of it was touched last, prev of it longest ago
	free    int32             // chain of dropped slots by next, 0: none
}

type tableSlot[K comparable, V any] struct {
	key        K
	val        V
	prev, next int32
}

// Get gives the entry of k and touches it; nil if there is none. The pointer holds until the next Put.
func (t *Table[K, V]) Get(k K) *V {
	if len(t.slots) > 0 {
		// What was touched last is often what is asked for next: the resolver of all look-ups, the server of a burst.
		if i := t.slots[0].next; i != 0 && t.slots[i].key == k {
			return &t.slots[i].val
		}
	}
	i, ok := t.index[k]
	if !ok {
		return nil
	}
	t.unlink(i)
	t.front(i)
	return &t.slots[i].val
}

// Peek gives the entry of k without touching it; nil if there is none. The pointer holds until the next Put.
func (t *Table[K, V]) Peek(k K) *V {
	if i, ok := t.index[k]; ok {
		return &t.slots[i].val
	}
	return nil
}

// All goes through the entries, the one that was touched last first, and touches none. The table must not be changed
// meanwhile.
func (t *Table[K, V]) All() iter.Seq2[K, *V] {
	return func(yield func(K, *V) bool) {
		if len(t.slots) == 0 {
			return
		}
		for i := t.slots[0].next; i != 0; i = t.slots[i].next {
			if !yield(t.slots[i].key, &t.slots[i].val) {
				return
			}
		}
	}
}

// Oldest gives the key and the value of the entry that was not touched for longest; nil if there is none.
func (t *Table[K, V]) Oldest() (k K, v *V) {
	if len(t.index) == 0 {
		return k, nil
	}
	s := &t.slots[t.slots[0].prev]
	return s.key, &s.val
}

// Put gives the entry of k, made if there is none, and touches it. The pointer holds until the next Put.
func (t *Table[K, V]) Put(k K) *V {
	if v := t.Get(k); v != nil {
		return v
	}
	if t.index == nil {
		t.index, t.slots = map[K]int32{}, make([]tableSlot[K, V], 1, 16)
	}
	var i int32
	switch {
	case len(t.index) >= max(t.Limit, 1):
		i = t.slots[0].prev
		t.unlink(i)
		delete(t.index, t.slots[i].key)
		t.Evicted++
	case t.free != 0:
		i = t.free
		t.free = t.slots[i].next
	default:
		i = int32(len(t.slots))
		t.slots = append(t.slots, tableSlot[K, V]{})
	}
	t.slots[i] = tableSlot[K, V]{key: k}
	t.index[k] = i
	t.front(i)
	return &t.slots[i].val
}

// Load gives the value of k and touches it.
func (t *Table[K, V]) Load(k K) (v V, ok bool) {
	if p := t.Get(k); p != nil {
		return *p, true
	}
	return v, false
}

// Store sets the value of k and touches it.
func (t *Table[K, V]) Store(k K, v V) { *t.Put(k) = v }

// Drop forgets k.
func (t *Table[K, V]) Drop(k K) {
	i, ok := t.index[k]
	if !ok {
		return
	}
	delete(t.index, k)
	t.unlink(i)
	t.slots[i] = tableSlot[K, V]{next: t.free}
	t.free = i
}

// Len is the number of entries.
func (t *Table[K, V]) Len() int { return len(t.index) }

func (t *Table[K, V]) unlink(i int32) {
	s := &t.slots[i]
	t.slots[s.prev].next, t.slots[s.next].prev = s.next, s.prev
}

func (t *Table[K, V]) front(i int32) {
	s, first := &t.slots[i], t.slots[0].next
	s.prev, s.next = 0, first
	t.slots[0].next, t.slots[first].prev = i, i
}
