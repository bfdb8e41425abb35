package data

import (
	_ "embed"
	"strings"
)

//go:embed cves.csv
var cvesCSV string

// What a vulnerability needs besides a way to the server.
const (
	NeedsOpen    = "open"    // that no token is asked for
	NeedsNothing = "any"     // nothing
	NeedsBrowser = "browser" // that somebody inside opens a page
	NeedsData    = "data"    // that the cluster reads a file
)

// CVE is one known vulnerability.
type CVE struct {
	ID, Product, Affected string
	Fixed                 string // first version without it, "" if there is none
	Needs, Title, Source  string
}

// LoadCVEs reads the list.
func LoadCVEs() (all []CVE) {
	for line := range strings.Lines(cvesCSV) {
		f := strings.SplitN(strings.TrimSpace(line), ",", 7)
		if line[0] == '#' || len(f) < 7 {
			continue
		}
		all = append(all, CVE{f[0], f[1], f[2], f[3], f[4], f[5], f[6]})
	}
	return all
}

// Affects says whether a version is affected. Of a version that is not known only what affects all of them is said.
func (c *CVE) Affects(product, version string) bool {
	if c.Product != product {
		return false
	}
	if c.Affected == "*" {
		return true
	}
	if version == "" {
		return false
	}
	for _, part := range strings.Fields(c.Affected) {
		op := part[:len(part)-len(strings.TrimLeft(part, "<>="))]
		d, ok := CompareVersions(version, part[len(op):])
		if !ok {
			return false
		}
		holds := false
		switch op {
		case "<":
			holds = d < 0
		case "<=":
			holds = d <= 0
		case ">":
			holds = d > 0
		case ">=":
			holds = d >= 0
		}
		if !holds {
			return false
		}
	}
	return true
}

// CompareVersions orders two versions by their numbers, -1, 0 or 1; what stands behind a number (rc1, .dev0) makes it
// earlier than the same version without, a build (+cu121) says nothing. ok is false if one of them is no version.
func CompareVersions(a, b string) (order int, ok bool) {
	na, prea, oka := numbers(a)
	nb, preb, okb := numbers(b)
	if !oka || !okb {
		return 0, false
	}
	for i := range na {
		if na[i] != nb[i] {
			if na[i] < nb[i] {
				return -1, true
			}
			return 1, true
		}
	}
	switch {
	case prea == preb:
		return 0, true
	case prea:
		return -1, true
	}
	return 1, true
}

// numbers reads up to four of them.
func numbers(v string) (n [4]int, pre, ok bool) {
	v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "+")
	for i := range n {
		digits := 0
		for digits < len(v) && v[digits] >= '0' && v[digits] <= '9' {
			if digits < 9 {
				n[i] = n[i]*10 + int(v[digits]-'0')
			}
			digits++
		}
		if digits == 0 {
			return n, true, i > 0 // "2.0.dev0"
		}
		v = v[digits:]
		if v == "" {
			return n, false, true
		}
		if v[0] != '.' {
			return n, true, true // "3.0.0rc1", "1.0-beta"
		}
		v = v[1:]
	}
	return n, false, true
}
