package beacon

import "testing"

const (
	day   = 86400
	start = 1_700_000_000
)

// every makes n calls, one each period, all of the same size.
func every(n int, period int64) (times []int64, sizes []float64) {
	for i := range int64(n) {
		times = append(times, start+i*period)
		sizes = append(sizes, 517)
	}
	return times, sizes
}

// TestScoreVectors holds the formulas to what RITA v5's own functions say of the same series.
func TestScoreVectors(t *testing.T) {
	jitter := func() (times []int64, sizes []float64) {
		x := uint32(1)
		at := int64(start)
		for range 95 {
			times = append(times, at)
			x = x*1664525 + 1013904223
			at += 840 + int64(x>>16)%121
			sizes = append(sizes, float64(500+(x>>20)%40))
		}
		return times, sizes
	}
	tests := []struct {
		name   string
		n      int
		length int64
		want   Score
	}{
		{"cron of a quarter of an hour, for a day", 96, day, Score{1, 1, 1, 1, 1, 24, 24}},
		{"the first ten hours of a day", 40, day, Score{1, 1, 0, 0.834, 0.709, 10, 10}},
		{"the first three hours of a day", 12, day, Score{1, 1, 0, 0, 0.5, 3, 3}},
		{"five calls in a day", 5, day, Score{1, 1, 0, 0, 0.5, 2, 2}},
		{"the same three hours, and nothing else is known", 12, 3 * 3600, Score{1, 1, 1, 0.917, 0.979, 12, 1}},
		{"four calls in an hour", 4, 3600, Score{1, 1, 0, 0, 0.5, 4, 1}},
		{"jitter of a minute, sizes that vary", 0, day, Score{0.967, 0.919, 1, 1, 0.972, 24, 24}},
	}
	for _, tt := range tests {
		times, sizes := every(tt.n, 900)
		if tt.n == 0 {
			times, sizes = jitter()
		}
		if got := Rate(times, sizes, start, start+tt.length); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestTooFewHaveNoScore(t *testing.T) {
	for _, times := range [][]int64{nil, {1}, {1, 2, 3}, {1, 1, 1, 1, 1, 2, 3}} {
		if s := Rate(times, make([]float64, len(times)), 0, 10); s != (Score{}) {
			t.Errorf("%v: %+v", times, s)
		}
	}
}

func TestScoreDoesNotChangeItsArguments(t *testing.T) {
	times, sizes := every(10, 7)
	sizes[0], sizes[9] = 900, 1
	Rate(times, sizes, start, start+63)
	if times[9] != start+63 || sizes[0] != 900 || sizes[9] != 1 {
		t.Error("they were sorted")
	}
}

func FuzzScore(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7}, int64(3), int64(9))
	f.Fuzz(func(t *testing.T, steps []byte, first, length int64) {
		first &= 1<<40 - 1
		var times []int64
		var sizes []float64
		at := first
		for _, s := range steps {
			at += int64(s)
			times = append(times, at)
			sizes = append(sizes, float64(s)*3)
		}
		s := Rate(times, sizes, first, first+length&0xffffffff)
		for _, p := range []float64{s.Time, s.Size, s.Histogram, s.Duration, s.Total} {
			if !(p >= 0 && p <= 1) {
				t.Errorf("%+v", s)
			}
		}
	})
}
