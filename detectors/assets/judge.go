package assets

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

// Grades of exposure, the worst last. What is graded is what was seen, not what could be.
const (
	GradeNone    = "-" // not ours
	GradeUnknown = "?" // nothing seen that tells whether a token is asked for
	GradeA       = "A" // asks for a token, inside only, over TLS
	GradeB       = "B" // asks for a token, inside only, in clear
	GradeC       = "C" // open to everybody inside; or asks for a token and is seen by outsiders
	GradeD       = "D" // open inside, and its version has holes that outsiders get through
	GradeE       = "E" // outsiders reach it, and something about it is open
	GradeF       = "F" // answered outsiders without asking for a token
)

// verdict is what an asset comes to.
type verdict struct {
	grade, reason    string
	cves             []string
	inside, outside  int      // addresses of clients
	outsiders, kinds []string // addresses, bounded; "sdk 5"
	auth             string   // none, token, mixed, ""
}

const maxOutsiders = 16

// generalCVEs say only that nobody is asked for a token, which the grade says anyway.
var generalCVEs = map[string]bool{"CVE-2023-48022": true, "CVE-2025-34351": true}

// judge sums an asset up.
func (a *Asset) judge(home *detectors.Networks, cves []data.CVE) verdict {
	var v verdict
	var open, token []string
	for _, d := range a.Doors {
		if d.Token {
			token = append(token, d.Service)
		} else {
			open = append(open, d.Service)
		}
	}
	switch {
	case len(open) > 0 && len(token) > 0:
		v.auth = "mixed"
	case len(open) > 0:
		v.auth = "none"
	case len(token) > 0:
		v.auth = "token"
	}

	// Clients: addresses, then calls by kind. Clients are sorted by address.
	calls := map[string]uint64{}
	var order []string
	var reached, answered []netip.Addr // from outside
	for i := 0; i < len(a.Clients); {
		c := a.Clients[i]
		used, free, all := false, false, true
		for ; i < len(a.Clients) && a.Clients[i].Addr == c.Addr; i++ {
			x := a.Clients[i]
			if a.has(x.Addr) {
				continue // a node among nodes
			}
			if _, ok := calls[x.Kind]; !ok {
				order = append(order, x.Kind)
			}
			calls[x.Kind] += x.Calls
			used, free, all = true, free || x.Open > 0, all && x.Kind == clientServe
		}
		switch {
		case !used:
		case home.Contains(c.Addr):
			v.inside++
		default:
			v.outside++
			if len(v.outsiders) < maxOutsiders {
				v.outsiders = append(v.outsiders, c.Addr.String())
			}
			if !all { // users of a model that is served come from anywhere
				reached = append(reached, c.Addr)
			}
			if free {
				answered = append(answered, c.Addr)
			}
		}
	}
	sortByCalls(order, calls)
	for _, k := range order {
		v.kinds = append(v.kinds, fmt.Sprintf("%s %d", k, calls[k]))
	}

	var holes []*data.CVE
	for i := range cves {
		c := &cves[i]
		if !c.Affects(a.Kind, a.Version) || c.Needs == data.NeedsOpen && v.auth == "token" {
			continue
		}
		v.cves = append(v.cves, c.ID)
		if !generalCVEs[c.ID] && c.Needs != data.NeedsData {
			holes = append(holes, c)
		}
	}
	v.grade, v.reason = a.grade(v.auth, open, reached, answered, holes)
	return v
}

// grade gives the grade and its reason in words.
func (a *Asset) grade(auth string, open []string, reached, answered []netip.Addr, holes []*data.CVE) (grade, reason string) {
	hole := ""
	if len(holes) > 0 {
		hole = fmt.Sprintf("version %s has %s: %s", a.Version, holes[0].ID, holes[0].Title)
		if n := len(holes) - 1; n > 0 {
			hole += fmt.Sprintf(" (and %d more)", n)
		}
	}
	switch {
	case !a.Local:
		return GradeNone, "stands outside the home networks"
	case len(answered) > 0:
		return GradeF, fmt.Sprintf("answered %s, outside the home networks, without asking for a token", some(answered))
	case len(reached) > 0 && len(open) > 0:
		return GradeE, fmt.Sprintf("%s reached it from outside, and %s asks for no token", some(reached), strings.Join(open, ", "))
	case len(reached) > 0 && hole != "":
		return GradeE, fmt.Sprintf("%s reached it from outside, and %s", some(reached), hole)
	case len(reached) > 0 && auth == "token":
		return GradeC, fmt.Sprintf("%s reached it from outside; it asks for a token, which travels in clear", some(reached))
	case len(reached) > 0:
		return GradeUnknown, fmt.Sprintf("%s reached it from outside; nothing seen tells whether it asks for a token", some(reached))
	case len(open) > 0 && hole != "":
		return GradeD, fmt.Sprintf("asks nobody for a token (%s); %s", strings.Join(open, ", "), hole)
	case len(open) > 0:
		return GradeC, fmt.Sprintf("asks nobody for a token (%s); seen from inside only", strings.Join(open, ", "))
	case auth == "token" && hole != "":
		return GradeC, "asks for a token; " + hole
	case auth == "token" && len(a.TLS) > 0 && len(a.Clear) == 0:
		return GradeA, "asks for a token, speaks TLS, seen from inside only"
	case auth == "token":
		return GradeB, "asks for a token, which travels in clear; seen from inside only"
	}
	return GradeUnknown, "nothing seen tells whether it asks for a token"
}

// some names one address and counts the rest.
func some(list []netip.Addr) string {
	switch n := len(list); n {
	case 1:
		return list[0].String()
	case 2:
		return fmt.Sprintf("%s and another", list[0])
	default:
		return fmt.Sprintf("%s and %d others", list[0], n-1)
	}
}
