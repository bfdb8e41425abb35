package secrets

// automaton finds all keywords in one pass, one table look-up a byte (Aho and Corasick 1975, as a complete automaton).
// Case does not matter. The table of sixty rules has 900 states of 64 classes, of which a text visits a few dozen.
type automaton struct {
	class [256]uint8
	next  []uint16 // by state and class: the next state, with the bit hit set where a keyword ends
	ends  [][]word // by state: the keywords that end there, longest first
}

// word is a keyword that ends at a state.
type word struct {
	length int
	rules  []int32
}

const (
	classBits = 6
	maxState  = 1<<15 - 1
	hit       = 1 << 15
)

// newAutomaton builds it; words must be lower case, with at most 63 different bytes and 32,767 states between them.
func newAutomaton(words []string, rules [][]int32) *automaton {
	a := &automaton{}
	classes := uint8(0) // 0: in no word
	for _, w := range words {
		for i := range len(w) {
			if c := w[i]; a.class[c] == 0 {
				if classes++; classes >= 1<<classBits {
					panic("secrets: too many different bytes in keywords")
				}
				a.class[c] = classes
				if c >= 'a' && c <= 'z' {
					a.class[c-'a'+'A'] = classes
				}
			}
		}
	}
	type node struct {
		to   [1 << classBits]uint16
		fail uint16
		ends []word
	}
	nodes := []node{{}}
	for i, w := range words {
		s := uint16(0)
		for j := range len(w) {
			c := a.class[w[j]]
			if nodes[s].to[c] == 0 {
				if len(nodes) > maxState {
					panic("secrets: too many keywords")
				}
				nodes[s].to[c] = uint16(len(nodes))
				nodes = append(nodes, node{})
			}
			s = nodes[s].to[c]
		}
		nodes[s].ends = append(nodes[s].ends, word{len(w), rules[i]})
	}
	// Breadth first, so that a failure state is complete before it is used.
	var queue []uint16
	for _, s := range nodes[0].to {
		if s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		f := nodes[s].fail
		nodes[s].ends = append(nodes[s].ends, nodes[f].ends...)
		for c := range nodes[s].to {
			if t := nodes[s].to[c]; t != 0 {
				nodes[t].fail = nodes[f].to[c]
				queue = append(queue, t)
			} else {
				nodes[s].to[c] = nodes[f].to[c]
			}
		}
	}
	a.next = make([]uint16, len(nodes)<<classBits)
	a.ends = make([][]word, len(nodes))
	for s := range nodes {
		a.ends[s] = nodes[s].ends
		for c, t := range nodes[s].to {
			if len(nodes[t].ends) > 0 {
				t |= hit
			}
			a.next[s<<classBits|c] = t
		}
	}
	return a
}

// find calls f with the end of each keyword in b, until f says to stop.
func (a *automaton) find(b []byte, f func(end int, w word) bool) { find(a, b, f) }

// findString is find.
func (a *automaton) findString(s string, f func(end int, w word) bool) { find(a, s, f) }

func find[T []byte | string](a *automaton, b T, f func(end int, w word) bool) {
	t, next, class := uint16(0), a.next, &a.class
	for i := range len(b) {
		c := b[i]
		t = next[int(t&^hit)<<classBits|int(class[c])]
		if t&hit != 0 {
			for _, w := range a.ends[t&^hit] {
				if !f(i+1, w) {
					return
				}
			}
		}
	}
}
