package detectors

import "testing"

func TestTableDropsTheLeastRecentlyTouched(t *testing.T) {
	tb := Table[int, string]{Limit: 3}
	for i := range 3 {
		*tb.Put(i) = string(rune('a' + i))
	}
	tb.Get(0)
	*tb.Put(3) = "d"
	if tb.Get(1) != nil || tb.Get(0) == nil || tb.Get(2) == nil || *tb.Get(3) != "d" || tb.Len() != 3 || tb.Evicted != 1 {
		t.Errorf("1 should have gone: %v %v %v %v", tb.Get(0), tb.Get(1), tb.Get(2), tb.Get(3))
	}
	tb.Drop(0)
	if tb.Get(0) != nil || tb.Len() != 2 {
		t.Error("0 is still there")
	}
}
