package detectors

import "testing"

func TestTableDropsTheLeastRecentlyTouched(t *testing.T) {
	tb := Table[int, string]{Limit: 3}
	for i := range 3 {
		tb.Store(i, string(rune('a'+i)))
	}
	tb.Get(0)
	*tb.Put(3) = "d"
	for k, want := range map[int]bool{0: true, 1: false, 2: true, 3: true} {
		if _, ok := tb.Load(k); ok != want {
			t.Errorf("%d there: %v, want %v", k, ok, want)
		}
	}
	if tb.Len() != 3 || tb.Evicted != 1 || *tb.Get(3) != "d" {
		t.Errorf("%d entries, %d evicted", tb.Len(), tb.Evicted)
	}
}

func TestTableUsesDroppedRoomAgain(t *testing.T) {
	tb := Table[int, int]{Limit: 3}
	for i := range 100 {
		tb.Store(i, i)
		if i%2 == 0 {
			tb.Drop(i)
			tb.Drop(i)
		}
		if v, ok := tb.Load(i); ok != (i%2 == 1) || ok && v != i {
			t.Fatalf("%d: %d %v", i, v, ok)
		}
	}
	if tb.Len() != 3 || len(tb.slots) > 4 {
		t.Errorf("%d entries in %d slots for 3", tb.Len(), len(tb.slots)-1)
	}
}

// A map and a list, the slow way.
func TestTableAgainstAModel(t *testing.T) {
	tb := Table[int, int]{Limit: 7}
	var order []int
	model := map[int]int{}
	touch := func(k int) {
		for i, o := range order {
			if o == k {
				order = append(order[:i], order[i+1:]...)
				break
			}
		}
		order = append(order, k)
	}
	x := uint32(1)
	for i := range 20000 {
		x = x*1664525 + 1013904223
		k := int(x>>16) % 12
		switch x >> 28 % 4 {
		case 0, 1:
			if _, ok := model[k]; !ok && len(model) == 7 {
				delete(model, order[0])
				order = order[1:]
			}
			model[k] = i
			touch(k)
			tb.Store(k, i)
		case 2:
			v, ok := tb.Load(k)
			w, there := model[k]
			if ok != there || v != w {
				t.Fatalf("step %d: %d %v, want %d %v", i, v, ok, w, there)
			}
			if ok {
				touch(k)
			}
		case 3:
			tb.Drop(k)
			if _, ok := model[k]; ok {
				touch(k)
				order = order[:len(order)-1]
				delete(model, k)
			}
		}
		if tb.Len() != len(model) {
			t.Fatalf("step %d: %d entries, want %d", i, tb.Len(), len(model))
		}
	}
}

func TestTablePeekTouchesNothing(t *testing.T) {
	m := Table[string, int]{Limit: 2}
	if k, v := m.Oldest(); k != "" || v != nil || m.Peek("a") != nil {
		t.Error("an empty table has something")
	}
	*m.Put("a"), *m.Put("b") = 1, 2
	if v := m.Peek("a"); v == nil || *v != 1 {
		t.Error("a is not seen")
	}
	if k, v := m.Oldest(); k != "a" || *v != 1 {
		t.Errorf("the oldest is %s", k)
	}
	m.Put("c")
	if m.Peek("a") != nil || m.Peek("b") == nil {
		t.Error("a peek counted as a touch")
	}
}
