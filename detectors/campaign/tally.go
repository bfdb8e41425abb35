package campaign

import (
	"slices"

	"github.com/raytap/raytap/detectors"
)

// maxNames is how many findings of an incident are known by name; more are counted.
const maxNames = 64

// tally counts findings, each once however often it is repeated, and knows the names of the first.
type tally struct {
	n   int
	ids []string
}

func (t *tally) add(f *detectors.Finding) { t.name(f.SaidAs(), f.Repeats()) }

// name counts a finding. A repetition of one that there is no room for is taken to be counted.
func (t *tally) name(id string, again bool) {
	room := len(t.ids) < maxNames
	if slices.Contains(t.ids, id) || again && !room {
		return
	}
	t.n++
	if room {
		t.ids = append(t.ids, id)
	}
}

// join takes over what another tally has.
func (t *tally) join(o *tally) {
	more := o.n - len(o.ids)
	for _, id := range o.ids {
		t.name(id, false)
	}
	t.n += more
}
