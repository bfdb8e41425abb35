package main

import (
	"slices"
	"strings"

	"github.com/raytap/raytap/detectors"
)

// didYouMean is the end of an error about a name that is none, or nothing where no other is near.
func didYouMean(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(names, " or ") + "?"
}

// nearest gives those of names, at most three, that name may have been meant to be: those it takes the fewest changes to
// get to, of a letter in three at most, or else those that it begins.
func nearest(name string, names []string) (near []string) {
	name = strings.ToLower(name)
	if len(name) < 2 || len(name) > 64 {
		return nil
	}
	best := min((len(name)+1)/3, 2)
	for _, n := range names {
		if len(n) < 2 {
			continue
		}
		switch d := detectors.Distance(name, n, best+1); {
		case d > best:
		case d < best:
			best, near = d, []string{n}
		default:
			near = append(near, n)
		}
	}
	if len(near) == 0 {
		for _, n := range names {
			if strings.HasPrefix(n, name) {
				near = append(near, n)
			}
		}
	}
	slices.Sort(near)
	if len(near) > 3 {
		return nil // near to everything is near to nothing
	}
	return near
}
