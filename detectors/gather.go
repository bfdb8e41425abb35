package detectors

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/raytap/raytap/capture"
)

// What findings may cost. A job of 60 bytes makes two findings that differ from all before, and each is read by others,
// masked and written: 20 us and a kilobyte on the disk. As long as there are few, each is said by itself. Who makes more
// of a kind than that is told of in bundles: nothing that differs is left out, neither its command nor its packet, but
// sixty share one line. The first of each kind (rule, pair of hosts, severity, outcome) always stands alone, so that
// nothing can be hidden in a bundle of something else. Of those in a bundle only the first is written (see Draft): what is
// left of another is a line of evidence.

const (
	// Findings that are said by themselves beyond the first of their kind, for all, and as many more in a second. Half of
	// them for one source at most, see Budget.
	tellCommon = 4096
	tellRefill = 64
	// Of a bundle, and how long it waits to be full.
	bundleSize = 64
	bundleWait = 10 * time.Second
	maxBundles = 256
	maxKinds   = 8192
)

// kind is what findings of a bundle have in common.
type kind struct {
	rule     string
	src, dst netip.Addr
	sev      Severity
	outcome  Outcome
}

// bundle is findings of one kind that wait to be said together.
type bundle struct {
	f *Finding // the first
	n int      // that differ
}

// gatherer says findings one by one as long as they are few, and in bundles otherwise.
type gatherer struct {
	bundled uint64 // findings that were said in a bundle
	fold    func(*Finding) bool
	say     func(*Finding)
	budget  Budget
	kinds   Table[kind, struct{}]
	open    Table[kind, bundle]
}

func newGatherer(fold func(*Finding) bool, say func(*Finding)) *gatherer {
	g := &gatherer{fold: fold, say: say, budget: Budget{Full: tellCommon, Refill: tellRefill}}
	g.kinds.Limit, g.open.Limit = maxKinds, maxBundles
	return g
}

// take takes d over, and reports whether it did: otherwise it is to be said now, by whoever asks. write makes its texts.
func (g *gatherer) take(d Draft, write func(Draft)) bool {
	f := d.Finding
	k := kind{f.Rule, f.Src, f.Dst, f.Severity, f.Outcome}
	if g.kinds.Get(k) == nil {
		g.kinds.Put(k)
		return false
	}
	if g.budget.Take(f.Time, f.Src, 1) {
		return false
	}
	if g.fold(f) {
		return true // it was counted
	}
	b := g.open.Get(k)
	if b == nil && g.open.Len() >= maxBundles {
		old, _ := g.open.Oldest()
		g.flush(old)
	}
	b = g.open.Put(k)
	g.bundled++
	if b.n++; b.f == nil {
		write(d)
		b.f = f
	} else {
		b.f.Count += f.Count
		f.of = b.f
		b.f.Evidence = append(b.f.Evidence, d.tells())
	}
	if b.n >= bundleSize {
		g.flush(k)
	}
	return true
}

// telling is what tells a finding from others of its kind.
func telling(f *Finding) Evidence {
	for _, e := range f.Evidence {
		if e.Field == "entrypoint" {
			return e
		}
	}
	return Evidence{Field: "also", Value: f.Msg, Packet: f.Packet}
}

// flushAll says what waits.
func (g *gatherer) flushAll(capture.At) {
	for g.open.Len() > 0 {
		k, _ := g.open.Oldest()
		g.flush(k)
	}
}

func (g *gatherer) flush(k kind) {
	b := *g.open.Get(k)
	g.open.Drop(k)
	if b.n > 1 {
		b.f.Msg += fmt.Sprintf(" (and %d more like it, which the evidence lists)", b.n-1)
	}
	g.say(b.f)
}
