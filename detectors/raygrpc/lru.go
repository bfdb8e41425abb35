package raygrpc

import "container/list"

// lru is a bounded table; the least recently touched makes room for the new.
type lru[K comparable, V any] struct {
	limit int
	m     map[K]*list.Element
	order list.List
}

type lruItem[K comparable, V any] struct {
	key K
	val V
}

// get gives the entry of k and touches it; nil if there is none.
func (l *lru[K, V]) get(k K) *V {
	e := l.m[k]
	if e == nil {
		return nil
	}
	l.order.MoveToFront(e)
	return &e.Value.(*lruItem[K, V]).val
}

// put makes an entry for k if there is none, and touches it.
func (l *lru[K, V]) put(k K) *V {
	if v := l.get(k); v != nil {
		return v
	}
	if l.m == nil {
		l.m = map[K]*list.Element{}
	}
	if len(l.m) >= l.limit {
		old := l.order.Back()
		delete(l.m, old.Value.(*lruItem[K, V]).key)
		l.order.Remove(old)
	}
	it := &lruItem[K, V]{key: k}
	l.m[k] = l.order.PushFront(it)
	return &it.val
}
