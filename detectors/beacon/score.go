package beacon

import (
	"math"
	"slices"
)

// Score is how much a series of calls looks like a machine's heartbeat, by the formulas of RITA (version 5), which this
// is written after. Each part is between 0 and 1 and rounded to thousandths.
type Score struct {
	Time      float64 // regularity of the intervals
	Size      float64 // regularity of what is sent
	Histogram float64 // evenness over the range
	Duration  float64 // how much of the range it covers
	Total     float64 // the mean of the four

	Bars int // of the histogram's bins, how many hold a call
	Run  int // longest row of such bins; it may go round the end
}

const (
	// bins of the histogram: the hours of a day when the range is a day.
	bins = 24
	// minCalls and minIntervals: fewer calls at different seconds, or intervals, have no score.
	minCalls     = 4
	minIntervals = 3
	// A skewness between quartiles that are closer than this says nothing.
	minSpread = 10
	// With fewer bars there is no duration score; with fewer than minModes no second look at the histogram.
	minBars  = 6
	minModes = 11
	// A run this long is consistent.
	fullRun = 12
)

// Rate scores calls at times (seconds, ascending) that sent sizes (bytes), over the range from first to last second of
// the data. It is pure; the arguments are not changed. The zero Score means that there were too few.
func Rate(times []int64, sizes []float64, first, last int64) Score {
	var s Score
	intervals := make([]float64, 0, len(times))
	unique := min(len(times), 1)
	for i := 1; i < len(times); i++ {
		if d := times[i] - times[i-1]; d > 0 {
			intervals = append(intervals, float64(d))
			unique++
		}
	}
	if unique < minCalls || len(intervals) < minIntervals {
		return s
	}
	s.Time = regularity(intervals, 1)
	s.Size = regularity(slices.Clone(sizes), 0)
	s.histogram(times, first, last)
	s.Total = round3((s.Time + s.Size + s.Histogram + s.Duration) / 4)
	return s
}

// regularity is the mean of symmetry (one minus Bowley's skewness) and tightness (median absolute deviation in relation
// to the median; whenZero if the median is none). x is sorted in place.
func regularity(x []float64, whenZero float64) float64 {
	slices.Sort(x)
	n := len(x)
	low, high := x[:n/2], x[(n+1)/2:]
	q1, q2, q3 := median(low), median(x), median(high)
	skew := 0.0
	if q3-q1 >= minSpread && q2 != q1 && q2 != q3 {
		skew = (q1 + q3 - 2*q2) / (q3 - q1)
	}
	tight := whenZero
	if q2 >= 1 {
		away := make([]float64, n)
		for i := range x {
			away[i] = math.Abs(x[i] - q2)
		}
		slices.Sort(away)
		if tight = (q2 - median(away)) / q2; tight < 0 || math.IsNaN(tight) {
			tight = 0
		}
	}
	return round3((1 - math.Abs(skew) + tight) / 2)
}

// median of a sorted list.
func median(x []float64) float64 {
	n := len(x)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return x[n/2]
	}
	return (x[n/2-1] + x[n/2]) / 2
}

func (s *Score) histogram(times []int64, first, last int64) {
	width := float64(last-first) / bins
	if width <= 0 {
		return
	}
	var count [bins]int
	for _, t := range times {
		count[max(min(int(float64(t-first)/width), bins-1), 0)]++
	}
	most, sum := 0, 0
	for _, c := range count {
		if c > 0 {
			s.Bars++
		}
		most, sum = max(most, c), sum+c
	}
	s.Histogram = max(evenness(&count, sum), s.modes(&count, most))

	run := 0
	for i := range 2 * bins {
		if run++; count[i%bins] == 0 {
			run = 0
		}
		s.Run = max(s.Run, min(run, bins))
	}
	if s.Bars >= minBars {
		coverage := ceil3(float64(times[len(times)-1]-times[0]) / float64(last-first))
		consistency := ceil3(float64(s.Run) / fullRun)
		s.Duration = min(max(coverage, consistency), 1)
	}
}

// evenness is one minus the coefficient of variation over all bins, the empty ones too.
func evenness(count *[bins]int, sum int) float64 {
	mean, dev := float64(sum)/bins, 0.0
	for _, c := range count {
		dev += (float64(c) - mean) * (float64(c) - mean)
	}
	if cv := math.Sqrt(dev/bins) / mean; cv <= 1 {
		return round3(1 - cv)
	}
	return 0
}

// modes sees a heartbeat that changes between two rates: it sorts the bars into classes of a twentieth of the highest,
// and asks how many of them the two fullest classes have.
func (s *Score) modes(count *[bins]int, most int) float64 {
	if s.Bars < minModes {
		return 0
	}
	step := (most + 19) / 20
	var class, size [bins]int
	n := 0
	for _, c := range count {
		if c == 0 {
			continue
		}
		k := c / step * step
		i := slices.Index(class[:n], k)
		if i < 0 {
			i, n = n, n+1
			class[i] = k
		}
		size[i]++
	}
	slices.Sort(size[:n])
	two := size[n-1]
	if n > 1 {
		two += size[n-2]
	}
	return min(round3(float64(two)/float64(max(s.Bars-1, 1))), 1)
}

func round3(x float64) float64 { return math.Round(x*1000) / 1000 }

func ceil3(x float64) float64 { return math.Ceil(x*1000) / 1000 }
