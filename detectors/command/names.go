package command

import (
	"strings"

	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/detectors"
)

// maxNames bounds the names at home that are remembered; a site has some hundred that anybody fetches from.
const maxNames = 4096

// Names learns which names are at home: those that are looked up as addresses at home and were not seen as others.
type Names struct {
	home    *detectors.Networks
	inside  detectors.Table[string, struct{}]
	outside decoders.Memo // names last seen outside
}

// NamesOf gives the one of env, which listens to bus.
func NamesOf(env *detectors.Env, bus *detectors.Bus) *Names {
	return detectors.Shared(env, func() *Names {
		n := &Names{home: env.Home, inside: detectors.Table[string, struct{}]{Limit: maxNames}, outside: bus.Names.Memo()}
		detectors.On(bus, n.lookup)
		return n
	})
}

// lookup takes note of an answer.
func (n *Names) lookup(t *dns.Transaction) {
	if len(t.Answers) == 0 || t.NetBIOS || t.Multicast || n.outside.Has(t.NameID) {
		return
	}
	home, any := true, false
	for i := range t.Answers {
		if a := t.Answers[i].Addr; a.IsValid() {
			any = true
			home = home && n.home.Contains(a.Unmap()) && !a.IsLoopback()
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
	n.inside.Put(t.Query)
}

// Inside says whether a name is at home.
func (n *Names) Inside(name string) bool {
	return n.inside.Get(strings.ToLower(strings.TrimSuffix(name, "."))) != nil
}
