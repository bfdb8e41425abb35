package command

import (
	"strings"

	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/detectors"
)

// maxNames bounds the names at home that are remembered; a site has some hundred that anybody fetches from.
const maxNames = 4096

// Names learns which names are at home: those that are looked up as addresses at home and were not seen as others. The zero value
// with Home set is ready.
type Names struct {
	Home    *detectors.Networks
	inside  detectors.Table[string, struct{}]
	outside decoders.Memo // names last seen outside
}

// Lookup takes note of an answer.
func (n *Names) Lookup(t *dns.Transaction) {
	if len(t.Answers) == 0 || t.NetBIOS || t.Multicast || n.outside.Has(t.NameID) {
		return
	}
	home, any := true, false
	for i := range t.Answers {
		if a := t.Answers[i].Addr; a.IsValid() {
			any = true
			home = home && n.Home.Contains(a.Unmap()) && !a.IsLoopback()
		}
	}
	if !any {
		return
	}
	if !home {
		n.outside.Add(t.NameID)
		n.inside.Drop(t.Query)
		return
	}
	n.inside.Limit = maxNames
	n.inside.Put(t.Query)
}

// Inside says whether a name is at home.
func (n *Names) Inside(name string) bool {
	return n.inside.Limit > 0 && n.inside.Get(strings.ToLower(strings.TrimSuffix(name, "."))) != nil
}
