package detectors

import "container/list"

// Table is a bounded map for a detector's state: when it is full, the entry that was not touched for longest makes
// room. The zero value with a Limit is ready.
type Table[K comparable, V any] struct {
	Limit   int
	Evicted uint64 // entries that made room
	m       map[K]*list.Element
	order   list.List
}

type tableItem[K comparable, V any] struct {
	key K
	val V
}

// Get gives the entry of k and touches it; nil if there is none.
func (t *Table[K, V]) Get(k K) *V {
	e := t.m[k]
	if e == nil {
		return nil
	}
	t.order.MoveToFront(e)
	return &e.Value.(*tableItem[K, V]).val
}

// Put gives the entry of k, made if there is none, and touches it. The pointer holds until the next Put.
func (t *Table[K, V]) Put(k K) *V {
	if v := t.Get(k); v != nil {
		return v
	}
	if t.m == nil {
		t.m = map[K]*list.Element{}
	}
	if len(t.m) >= t.Limit {
		old := t.order.Back()
		delete(t.m, old.Value.(*tableItem[K, V]).key)
		t.order.Remove(old)
		t.Evicted++
	}
	it := &tableItem[K, V]{key: k}
	t.m[k] = t.order.PushFront(it)
	return &it.val
}

// Drop forgets k.
func (t *Table[K, V]) Drop(k K) {
	if e := t.m[k]; e != nil {
		delete(t.m, k)
		t.order.Remove(e)
	}
}

// Len is the number of entries.
func (t *Table[K, V]) Len() int { return len(t.m) }
