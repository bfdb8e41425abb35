package data

import (
	"net/netip"

	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/detectors"
)

// maxClaims is how many addresses are remembered: behind the names of hubs and providers stand networks of some hundred.
const maxClaims = 4096

// Claims weighs what a request says of the server it goes to. Whoever sends one may write any Host, so that a name which
// makes things look harmless is believed only of addresses that it, or another of its kind, was looked up as; or of all, where
// no look-up of such a name is seen.
type Claims struct {
	of     func(name string) bool // names of the kind
	others decoders.Memo          // names that are not
	shown  detectors.Table[netip.Addr, struct{}]
}

// NewClaims makes one for the names for which of says yes.
func NewClaims(names *decoders.Memos, of func(name string) bool) *Claims {
	return &Claims{of: of, others: names.Memo(), shown: detectors.Table[netip.Addr, struct{}]{Limit: maxClaims}}
}

// Lookup takes note of what a name was looked up as.
func (c *Claims) Lookup(t *dns.Transaction) {
	if t.NetBIOS || t.Multicast || c.others.Has(t.NameID) {
		return
	}
	if !c.of(t.Query) {
		c.others.Add(t.NameID)
		return
	}
	for i := range t.Answers {
		if a := t.Answers[i].Addr; a.IsValid() {
			c.shown.Put(a.Unmap())
		}
	}
}

// Renew has of asked again for every name: it says something else now.
func (c *Claims) Renew() { c.others.Forget() }

// Hold says whether a claim about the server at a is to be believed.
func (c *Claims) Hold(a netip.Addr) bool { return c.shown.Len() == 0 || c.shown.Get(a.Unmap()) != nil }
