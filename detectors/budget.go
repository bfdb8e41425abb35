package detectors

import (
	"net/netip"

	"github.com/raytap/raytap/capture"
)

// Budget is what detectors do for strangers beyond what their bytes are worth: all that is asked for comes out of what
// all have in common, which fills with time. As with the work of flows (capture.Worker), who has taken nothing yet may
// take all that is there, and who took much takes no more than he leaves to others. It is counted in units and packet
// time, so that what is refused is the same in every run. It belongs to one goroutine.
type Budget struct {
	Full   int64  // units there are at most
	Refill int64  // units more in a second
	Denied uint64 // times that somebody got nothing
	spent  int64
	at     capture.Time
	by     Table[netip.Addr, share]
}

// share is what one has taken; time makes it less.
type share struct {
	spent int64
	at    capture.Time
}

// Those that are known to have taken something. Who is not among them any more begins anew.
const maxShares = 4096

// Take reports whether who may have units more.
func (b *Budget) Take(at capture.Time, who netip.Addr, units int64) bool {
	if b.by.Limit == 0 {
		b.by.Limit = maxShares
	}
	now := max(at, b.at) // time never runs backwards
	b.spent = b.refilled(b.spent, now-b.at)
	b.at = now
	s := b.by.Put(who)
	s.spent = b.refilled(s.spent, now-s.at)
	s.at = now
	if units+s.spent > b.Full-b.spent {
		b.Denied++
		return false
	}
	s.spent += units
	b.spent += units
	return true
}

// refilled is what is left of spent when so much time is gone.
func (b *Budget) refilled(spent int64, gone capture.Time) int64 {
	if gone >= capture.Time(b.Full/b.Refill+1)*1e9 {
		return 0
	}
	return max(spent-int64(gone)*b.Refill/1e9, 0)
}
