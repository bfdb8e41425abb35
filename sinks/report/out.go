package report

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/terminal"
)

// The drawing of bytes over time: a bar for each bin.
const (
	barW, barGap = 9, 1
	chartH       = 44
	chartW       = seriesBins * (barW + barGap)
)

type outView struct {
	Rows       []outRow
	Total      string
	From, To   string
	Bin        string
	W, H       int
	Marks      []int // places of findings of high and critical severity
	MarksCount int
}

type outRow struct {
	Address, Name, Role, Total, Peak string
	Severity                         string
	Bars                             []bar
	Says                             string
}

type bar struct{ X, Y, W, H int }

// outView is the chart of what was sent out, by destination.
func (r *Report) outView(safe *defanger) outView {
	v := outView{W: chartW, H: chartH, Total: terminal.Size(r.out.total)}
	all, rest := r.destinations()
	if len(all) == 0 {
		return v
	}
	width, first, last := r.axis(all)
	n := int(last-first) + 1
	step := chartW / n
	v.From, v.To = stamp(capture.Time(first)*width), stamp(capture.Time(last+1)*width)
	v.Bin = time.Duration(width).String()
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Severity < detectors.High {
			continue
		}
		if at := int64(f.Time/width) - first; at >= 0 && at < int64(n) {
			x := int(float64(f.Time-capture.Time(first)*width) / float64(width) * float64(step))
			if v.MarksCount++; !slices.Contains(v.Marks, x) {
				v.Marks = append(v.Marks, x)
			}
		}
	}
	for _, l := range all {
		v.Rows = append(v.Rows, r.outRow(safe, l, rest, width, first, step))
	}
	v.W = n * step
	return v
}

// line is the traffic to one destination, or without an address that to all others.
type line struct {
	addr netip.Addr
	s    *series
}

// destinations gives the lines of the chart in their order, and how many destinations the last one stands for.
func (r *Report) destinations() (all []line, rest uint64) {
	for a, s := range r.out.to {
		all = append(all, line{a, s})
	}
	if len(all) == 0 {
		return nil, 0
	}
	// Those of which findings speak stand above those that are only large.
	named := func(a netip.Addr) int {
		if h := r.hosts[a]; h != nil && h.named && h.severity >= detectors.Medium {
			return 1
		}
		return 0
	}
	slices.SortFunc(all, func(a, b line) int {
		return cmp.Or(cmp.Compare(named(b.addr), named(a.addr)), cmp.Compare(b.s.total, a.s.total), a.addr.Compare(b.addr))
	})
	others, rest := r.out.others, r.out.count
	others.bins = slices.Clone(others.bins)
	if len(all) > maxDestinations {
		for _, l := range all[maxDestinations:] {
			for i, n := range l.s.bins {
				at := capture.Time(l.s.first+int64(i)) * l.s.width
				others.add(at, at+l.s.width-1, uint64(n))
			}
			rest++
		}
		all = all[:maxDestinations]
	}
	if others.total > 0 {
		all = append(all, line{s: &others})
	}
	return all, rest
}

// axis gives one axis for all: the width of a bin, and the numbers of the first and the last one.
func (r *Report) axis(all []line) (width capture.Time, first, last int64) {
	width = finestBin
	for _, l := range all {
		width = max(width, l.s.width)
	}
	for again := true; again; { // bins wide enough that none needs more than there is room for
		again, first, last = false, int64(r.First/width), int64(r.Last/width)
		for _, l := range all {
			for l.s.width < width {
				l.s.coarsen()
			}
			first, last = min(first, l.s.first), max(last, l.s.first+int64(len(l.s.bins))-1)
		}
		if last-first >= seriesBins {
			width, again = width*2, true
		}
	}
	return width, first, last
}

// outRow draws one line. Its bars are step wide, beginning with bin first.
func (r *Report) outRow(safe *defanger, l line, rest uint64, width capture.Time, first int64, step int) outRow {
	row := outRow{Address: fmt.Sprintf("%s others", terminal.Number(rest)), Total: terminal.Size(l.s.total)}
	if l.addr.IsValid() {
		row.Address = l.addr.String()
		if l.addr.Is4() {
			row.Address = brackets(row.Address)
		}
		if h := r.hosts[l.addr]; h != nil {
			row.Name, row.Role = safe.text(h.name), h.role.String()
			row.Severity = pick(h.severity >= detectors.Medium, h.severity.String(), "")
		}
	}
	peak := slices.Max(l.s.bins)
	row.Peak = terminal.Size(uint64(math.Round(peak)))
	busiest := 0
	for i, b := range l.s.bins {
		if b == peak {
			busiest = i
			break
		}
	}
	row.Says = fmt.Sprintf("%s in all, at most %s in %s, at %s", row.Total, row.Peak, time.Duration(width).String(), clock(capture.Time(l.s.first+int64(busiest))*width))
	for i, b := range l.s.bins {
		if b <= 0 {
			continue
		}
		h := max(int(math.Round(b/peak*float64(chartH-4))), 1)
		row.Bars = append(row.Bars, bar{int(l.s.first+int64(i)-first) * step, chartH - h, max(step-barGap, 1), h})
	}
	return row
}
