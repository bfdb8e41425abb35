package jobsubmit

import (
	"net/netip"
	"strings"

	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/interpreters/ray"
)

// page is what speaks for a foreign page behind a browser.
type page struct {
	why        string // empty: nothing does
	page       string // host of the page
	weak       bool   // a portal of one's own could look like this
	confidence int
	evidence   []detectors.Evidence
}

// foreignPage looks for a page that is not Ray's behind a submission. Ray's own pages submit no jobs (they only
// GET), so a browser that does is led by somebody else's page; the question is only whose.
func foreignPage(q *http.Request, c *ray.Call) (p page) {
	ev := func(name string) string {
		v := q.Header.Get(name)
		if v != "" {
			p.evidence = append(p.evidence, detectors.Evidence{Field: strings.ToLower(name), Value: detectors.Clip(v, 200), Packet: c.Packet})
		}
		return v
	}
	origin, referer := ev("Origin"), ev("Referer")
	site, mode := ev("Sec-Fetch-Site"), q.Header.Get("Sec-Fetch-Mode")
	hostHeader := ev("Host")
	ctype := ev("Content-Type")
	mozilla := strings.HasPrefix(c.UserAgent, "Mozilla/") && c.Client == ray.Browser
	browser := mozilla || origin != "" || site != "" || mode != ""
	if !browser {
		return page{}
	}
	names := []string{http.HostOf(hostHeader), http.HostOf(q.Header.Get("X-Forwarded-Host"))} // what the page calls the server
	same := func(h string) bool {
		for _, n := range names {
			if n != "" && strings.EqualFold(n, h) {
				return true
			}
		}
		return false
	}
	from := http.HostOf(afterScheme(origin))
	if from == "" {
		from = http.HostOf(afterScheme(referer))
	}
	p.page, p.confidence = from, 95
	switch {
	case site == "cross-site" || site == "same-site":
		p.why = "Sec-Fetch-Site says " + site
	case origin == "null":
		p.why, p.page, p.confidence = "Origin is null: a sandboxed frame or a local file", "", 80
	case origin != "" && !same(from):
		p.why = "Origin is another host than Host"
	case referer != "" && !same(from):
		p.why = "Referer is another host than Host"
	case publicName(names[0]) && strings.HasPrefix(ctype, "text/plain"):
		// The page and the server go by one name, and the body is what a script sends that must not be asked for
		// permission first: DNS rebinding.
		p.why, p.page, p.confidence = "text/plain under the public name "+names[0]+": DNS rebinding", names[0], 85
	case publicName(names[0]) && !strings.HasPrefix(c.UserAgent, "Mozilla/") && (site != "" || mode != ""):
		p.why, p.page, p.confidence = "a browser that hides its name, under the public name "+names[0]+": DNS rebinding", names[0], 85
	case strings.HasPrefix(ctype, "text/plain"):
		p.why, p.confidence = "a browser sent JSON as text/plain", 75
	case publicName(names[0]):
		p.why, p.page, p.weak, p.confidence = "a browser under the public name "+names[0], names[0], true, 50
	default:
		return page{}
	}
	return p
}

func afterScheme(u string) string {
	if i := strings.Index(u, "://"); i >= 0 {
		u = u[i+3:]
	}
	if i := strings.IndexByte(u, '/'); i >= 0 {
		u = u[:i]
	}
	return u
}

// publicName says that h is a DNS name that anybody may own, rather than an address or a name of the local network.
func publicName(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return false
	}
	return !data.Private(h)
}
