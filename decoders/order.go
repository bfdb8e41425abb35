package decoders

import "fmt"

// maxSpecs is how many a Set takes: it has a bit for each.
const maxSpecs = 64

// Order returns specs in the order in which they are to be asked; see Spec. Where nothing is declared it keeps theirs, which then
// decides nothing but who is asked first. An error is a mistake in what is declared: names that stand twice or nowhere,
// reasons that contradict each other, too many Specs.
func Order(specs []Spec) ([]Spec, error) {
	if len(specs) > maxSpecs {
		return nil, fmt.Errorf("decoders: %d of at most %d", len(specs), maxSpecs)
	}
	at := map[string]int{}
	for i := range specs {
		if _, ok := at[specs[i].Name]; ok {
			return nil, fmt.Errorf("decoders: %s stands there twice", specs[i].Name)
		}
		at[specs[i].Name] = i
	}
	for i := range specs {
		for _, a := range specs[i].After {
			if j, ok := at[a.Name]; !ok {
				return nil, fmt.Errorf("decoders: %s comes after %s, which is none", specs[i].Name, a.Name)
			} else if specs[j].class() > specs[i].class() {
				return nil, fmt.Errorf("decoders: %s cannot come after %s", specs[i].Name, a.Name)
			}
		}
	}
	var out []Spec
	done := make([]bool, len(specs))
	for len(out) < len(specs) {
		next := -1
		for i := range specs {
			if !done[i] && (next < 0 || specs[i].class() < specs[next].class()) && specs[i].ready(at, done) {
				next = i
			}
		}
		if next < 0 {
			return nil, fmt.Errorf("decoders: each of those that are left comes after another; %d have a place", len(out))
		}
		done[next] = true
		out = append(out, specs[next])
	}
	return out, nil
}

// class orders Specs before anything else does.
func (s *Spec) class() int {
	switch {
	case s.Preface:
		return 0
	case s.Any:
		return 2
	}
	return 1
}

// ready reports whether all that must be asked before are.
func (s *Spec) ready(at map[string]int, done []bool) bool {
	for _, a := range s.After {
		if !done[at[a.Name]] {
			return false
		}
	}
	return true
}
