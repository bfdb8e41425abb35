package campaign

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

// metadata is where clouds answer their machines, credentials included.
var metadata = netip.AddrFrom4([4]byte{169, 254, 169, 254})

// What is known of a step in a flow, from least to most telling.
const (
	rankFlow = iota + 1
	rankHello
	rankWeb
	rankFinding
)

// contact is a machine that contacts a host.
type contact struct {
	at     capture.At
	flow   *capture.Flow
	to     host
	does   string // "looked up ", followed by what
	what   string // "" for the host itself
	rank   int
	lookup bool
	sends  bool // data went out
	ids    string
}

// isNamed says whether an open incident's job names h.
func (d *detector) isNamed(h host) bool {
	for _, r := range d.refs(h) {
		if live(&r.job.inc) != nil {
			return true
		}
	}
	return false
}

func (d *detector) refs(h host) []ref {
	if p := d.named.Get(h); p != nil {
		return *p
	}
	return nil
}

// nameOf gives the name that an address was looked up by, of those that jobs name.
func (d *detector) nameOf(a netip.Addr) string {
	if b := d.bounds.Get(a); b != nil {
		return b.to.name
	}
	return ""
}

// tied gives the job that names the other side of a finding.
func (d *detector) tied(who netip.Addr, at capture.Time, f *detectors.Finding, other netip.Addr) *job {
	hosts := []host{{addr: other}}
	if n := d.nameOf(other); n != "" {
		hosts = append(hosts, host{name: n})
	}
	for i, e := range f.Evidence {
		if i < 3 && len(e.Value) <= maxName {
			hosts = append(hosts, host{name: strings.ToLower(e.Value)})
		}
	}
	for _, h := range hosts {
		for _, r := range d.refs(h) {
			if live(&r.job.inc) != nil && at >= r.job.at.Time && !r.shared && slices.Contains(r.job.hosts, who) && other != r.job.attacker {
				return r.job
			}
		}
	}
	return nil
}

// contact makes a step of a contact, if a job that came before names the host.
func (d *detector) contact(c contact) {
	who := c.flow.Orig.Addr().Unmap()
	if !d.home(who) {
		return
	}
	d.now = max(d.now, c.at.Time)
	refs := d.refs(c.to)
	r := d.namer(&c, who, refs)
	if r == nil {
		return
	}
	j, common := r.job, r.shared
	weak := r.shared && (!r.job.dropper || c.at.Time.Sub(r.job.at.Time) > soon)
	x := live(&j.inc)
	if !common && c.to.addr != metadata {
		for _, r := range refs {
			if c.at.Time >= r.job.at.Time {
				x = d.join(x, live(&r.job.inc))
			}
		}
	}
	s := step{
		Step: detectors.Step{At: c.at, Who: who, What: c.does + c.host(), UID: c.flow.UID, Count: 1},
		rank: c.rank, link: !weak, groups: 1 << detectors.GroupLink, port: c.flow.Resp.Port(),
		named: " (named in the job)", ids: strings.Fields(c.ids), other: c.flow.Resp.Addr().Unmap(),
		name: c.to.name,
	}
	if weak {
		s.weaken()
	}
	if c.to.addr == j.attacker {
		s.named = " (the attacker's own address)"
	}
	role, g := "named host", detectors.GroupLink
	if common {
		role, g = "shared service", detectors.GroupHint // joins nothing
	}
	if c.sends && !common {
		s.groups |= 1 << detectors.GroupTheft
		role, g = "exfiltration host", detectors.GroupTheft
	}
	if c.lookup || weak || d.home(s.other) {
		role = ""
	} else if !slices.Contains(x.victims, who) {
		x.victim(who)
		*d.victims.Put(who) = x
		if len(j.hosts) < maxSharing {
			j.hosts = append(j.hosts, who)
		}
	}
	if s.other == j.attacker {
		role = ""
	}
	d.took(x, s, s.other, role, g)
}

// namer returns the last of refs, the jobs that name the host, whose job who ran; nil if there is none.
func (d *detector) namer(c *contact, who netip.Addr, refs []ref) *ref {
	for i := len(refs) - 1; i >= 0; i-- {
		r := &refs[i]
		if live(&r.job.inc) == nil || c.at.Time < r.job.at.Time || c.flow.UID == r.job.uid || who == r.job.attacker {
			continue
		}
		after := c.at.Time.Sub(r.job.at.Time)
		own := slices.Contains(r.job.hosts, who)
		// Another machine may have run it, a worker; but not one that asks for others, as resolvers and proxies do.
		if !own && (r.shared || c.lookup || after > soon || c.to.addr == metadata || d.relays.Get(who) != nil) {
			continue
		}
		if c.to.addr == r.job.attacker && c.flow.Proto != capture.ProtoTCP {
			continue // it may answer
		}
		return r
	}
	return nil
}

// host is what the step calls the host.
func (c *contact) host() string {
	if c.what != "" {
		return c.what
	}
	what := ""
	if c.to.name == "" {
		what = c.to.addr.String()
	} else {
		what = detectors.Clip(c.to.name, 120)
	}
	if c.rank == rankFlow && c.flow.Proto != capture.ProtoICMP && c.flow.Proto != capture.ProtoICMPv6 {
		what += fmt.Sprintf(":%d", c.flow.Resp.Port())
	}
	return what
}

// geo reports whether machines ask h for the address that they are seen with, and its country: ShadowRay chooses its payload
// by that.
func geo(h string) bool { return data.SiteOf(h) == data.WhoAmI }

// Programs that install packages, by how their user agents begin.
var installers = [...]string{"Debian APT", "apt/", "pip/", "libdnf", "urlgrabber", "yum/", "apk-tools", "conda/", "npm/"}

// web takes an HTTP request: a contact, a proxy at work, or something that means little alone.
func (d *detector) web(t *http.Transaction, q *http.Request) {
	addr := t.Flow.Resp.Addr().Unmap()
	h, sent := q.Place()
	d.hint(t, q, h, addr)
	if len(d.open) == 0 {
		return
	}
	to := host{name: h}
	if a, ok := address(h); ok {
		to = host{addr: a}
	}
	if !d.isNamed(to) {
		if to = (host{addr: addr}); !d.isNamed(to) {
			return
		}
	}
	if d.home(addr) && addr != metadata && to.addr != addr {
		d.relays.Put(addr)
	}
	u := "http://" + detectors.Clip(q.Header.Get("Host"), 120) + sent
	c := contact{at: q.At, flow: t.Flow, to: to, does: "fetched ", what: detectors.Clip(u, 160), rank: rankWeb, ids: "AML.T0072 T1105"}
	switch {
	case to.addr == metadata:
		c.does, c.ids = "asked the cloud for ", "AML.T0055 T1552.005"
	case q.Method == "CONNECT":
		c.does, c.what, c.ids = "called through a proxy ", detectors.Clip(q.Target, 160), "AML.T0072 T1090"
	case q.Body.Len > 0 && (q.Method == "POST" || q.Method == "PUT"):
		c.does, c.sends, c.ids = fmt.Sprintf("sent %d bytes to ", q.Body.Len), true, "AML.T0025 T1041"
	case t.Response == nil || t.Response.Status >= 400:
		c.does = "called "
	}
	d.contact(c)
}

// hint notes what is weak alone, if the machine does it for the first time after a job.
func (d *detector) hint(t *http.Transaction, q *http.Request, h string, addr netip.Addr) {
	what, does, ids := "", "", ""
	switch {
	case addr == metadata:
		what, does, ids = "metadata", "asked the cloud's metadata service", "AML.T0055 T1552.005"
	case geo(h):
		what, does, ids = "geo", "asked "+h+" where it is", "T1016"
	case len(d.open) == 0:
		if q.OriginForm() { // by its fields
			d.plain.Add(q.FieldsID())
		}
		return // packages are installed all the time
	default:
		ua := q.Header.Get("User-Agent")
		if ua == "" || ua[0] == 'M' {
			return
		}
		for _, i := range installers {
			if strings.HasPrefix(ua, i) {
				what, does = "packages", "installed packages from "+detectors.Clip(h, 80)
				break
			}
		}
		if what == "" {
			return
		}
	}
	who := t.Flow.Orig.Addr().Unmap()
	if !d.home(who) {
		return
	}
	k := habit{who, what}
	if d.habits.Get(k) != nil {
		return
	}
	x := live(d.victims.Get(who))
	if x == nil || x.before(who, q.Time) == nil {
		d.habits.Put(k)
		return
	}
	if d.now.Sub(x.before(who, q.Time).at.Time) > d.cfg.Follow {
		return
	}
	s := step{
		Step: detectors.Step{At: q.At, Who: who, What: does, UID: t.Flow.UID, Count: 1},
		rank: rankWeb, groups: 1 << detectors.GroupHint, ids: strings.Fields(ids), other: addr,
	}
	d.took(x, s, addr, "", detectors.GroupHint)
}
