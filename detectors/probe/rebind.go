package probe

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/detectors"
)

const (
	// Names with an address outside and a short life that are remembered.
	maxOutside = 8192
	// Servers for rebinding (Singularity of Origin, whonow, rbndr) give 0 to 60 s; a browser asks again after a minute at the
	// latest, and a page that waits is left within the hour.
	maxTTL   = 120
	changeIn = time.Hour
)

type asked struct {
	client netip.Addr
	name   string
}

type outside struct {
	addr netip.Addr
	at   capture.At
}

// rebinds is what is known of names that may change.
type rebinds struct {
	met     decoders.Memo // names that were answered with an address outside for a short time
	outside detectors.Table[asked, outside]
}

// lookup looks for names that change from outside to home. Most answers have a name that was met before, or live longer.
func (d *detector) lookup(t *dns.Transaction) {
	if len(t.Answers) == 0 || t.Multicast || t.NetBIOS || t.Flow == nil {
		return
	}
	var in, out netip.Addr
	for i := range t.Answers {
		a := &t.Answers[i]
		switch {
		case !a.Addr.IsValid():
		case a.TTL > maxTTL:
			return
		case d.env.Home.Contains(a.Addr) || a.Addr.IsLoopback() || a.Addr.IsUnspecified() || a.Addr.IsLinkLocalUnicast():
			in = a.Addr
		default:
			out = a.Addr
		}
	}
	met := d.met.Has(t.NameID)
	if !in.IsValid() {
		if out.IsValid() && !met {
			d.met.Add(t.NameID)
			d.outside.Store(asked{t.Flow.Orig.Addr(), strings.Clone(t.Query)}, outside{out, t.At})
		}
		return
	}
	client := t.Flow.Orig.Addr()
	if !d.env.Home.Contains(client) {
		return
	}
	before := outside{out, t.At} // both in one answer
	if !out.IsValid() {
		if d.outside.Len() == 0 || t.NameID != 0 && !met {
			return
		}
		o := d.outside.Peek(asked{client, t.Query})
		if o == nil || t.Time.Sub(o.at.Time) > changeIn {
			return
		}
		before = *o
	}
	name := detectors.Clip(t.Query, 120)
	d.bus.Report(&detectors.Finding{
		At: t.At, Rule: ruleRebind, Severity: detectors.Low, Confidence: 50, Outcome: detectors.Attempted,
		Src: before.addr, Dst: in, Flow: t.Flow,
		Msg: fmt.Sprintf("%s, which %s found at %s, is at %s now: a page of that name may speak with what is there", name, client, before.addr, in),
		Evidence: []detectors.Evidence{
			{Field: "query", Value: name, Packet: before.at.Packet},
			{Field: "answer", Value: in.String(), Packet: t.Packet},
		},
		Key: ruleRebind + "|" + client.String() + "|" + name,
	})
}
