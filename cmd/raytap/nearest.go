package main

import (
	"slices"
	"strings"
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
		switch d := changes(name, n); {
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

// changes counts the letters to insert, remove, replace or swap with the next that make b of a (the restricted distance
// of Damerau and Levenshtein).
func changes(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
