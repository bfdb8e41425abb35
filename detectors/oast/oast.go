// Package oast finds machines that call back to services for out-of-band testing.
//
// Who looks for holes from afar plants the name of such a service (interactsh, Burp Collaborator, dnslog and their like)
// in what a victim might execute, and learns from a look-up or a call that it did. For a scan of the kind that the
// ShadowRay campaigns began with, that look-up is the proof of code execution.
//
// In: look-ups (*dns.Transaction), calls (Host, target and CONNECT of *http.Transaction, *socks.Request, the server name
// of *tls.Session), and what planted the name: entrypoints of *ray.Call, targets and headers of requests from elsewhere.
// Out: findings of oast/callback. Src is the machine that called, Dst the resolver or the service. A name that was seen
// planted a while before is said to be, by whom.
//
//	high    a home machine called a name of somebody's own at a service made for payloads
//	medium  the same at a request bin or a canary token, or a name that is no random draw, or one that was blocked
//	low     the machine answers DNS itself and may have asked for another
//
// The services' own pages are no finding. The list is detectors/data/callbacks.csv. It does not see: private servers of the same
// software that the configuration does not name; names inside an encrypted hello or DNS over HTTPS; calls by address.
package oast

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/ray"
)

const rule = "oast/callback"

// Config are the settings, the section `oast` of the configuration file.
type Config struct {
	Allow   []string `yaml:"allow"`   // networks or addresses of machines that test on purpose
	Domains []string `yaml:"domains"` // further domains of such services, ones that testers run themselves
}

// Default is what holds when nothing is said: the built-in list, and nobody who may.
func Default() Config { return Config{} }

const (
	// maxPlanted bounds the names that were seen planted; a scanner plants one in each request.
	maxPlanted = 4096
	// plantedFor is how long a call-back can follow: jobs may wait, mail gateways may take a day.
	plantedFor = 24 * time.Hour
	// maxRelays bounds the machines known to answer DNS.
	maxRelays = 1024
	// maxScan bounds the text of a job or a header in which names are looked for.
	maxScan = 64 << 10
	// The label of a site that a tester runs for himself has at least this length.
	ownLength = 8
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "oast", Settings: settings(),
		Rules: []detectors.Rule{{
			Name: rule, Note: "OAST_Callback", Severity: detectors.High,
			Says: "A home machine looked up or contacted a service for out-of-band testing: something made it execute an " +
				"attacker's payload.",
			ATLAS:  []string{"AML.T0006", "AML.T0049"},
			ATTACK: []string{"T1190", "T1595.002"},
			Needs:  "DNS, HTTP or SOCKS in clear text, or a TLS hello, with a name on the list of services.",
			FalsePositives: "Security testers at work (put their machines on the allow-list); mail and link scanners that " +
				"resolve the names they find; resolvers whose clients the tap does not see.",
			Story: detectors.Story{Group: detectors.GroupCall, Sure: true, Grave: true, Named: true,
				Does: "looked up or called %, which tells an attacker of callbacks", Techniques: []string{"AML.T0072", "T1071"},
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{
				env: env, bus: bus, quiet: bus.Heads.Memo(), names: bus.Names.Memo(),
				planted: detectors.Table[string, plant]{Limit: maxPlanted},
				relays:  detectors.Table[netip.Addr, struct{}]{Limit: maxRelays},
			}
			detectors.Configure(env, bus, "oast", Default(), d.set)
			detectors.On(bus, d.lookup)
			detectors.On(bus, d.request)
			detectors.On(bus, d.call)
			detectors.On(bus, d.socks)
			detectors.On(bus, d.hello)
		},
	}
}

func (d *detector) set(c Config) {
	d.allow, _ = detectors.ParseNetworks(c.Allow)
	d.services = load()
	d.quiet.Forget()
	d.names.Forget()
	for _, n := range c.Domains {
		n = strings.ToLower(strings.Trim(n, ".*"))
		d.services[n] = service{n, gradeOAST, ownLength}
	}
}

// plant is a name that somebody sent to a machine.
type plant struct {
	at   capture.At
	by   netip.Addr
	to   netip.Addr
	what string // what it stood in
}

type detector struct {
	env      *detectors.Env
	bus      *detectors.Bus
	allow    *detectors.Networks
	services services
	quiet    decoders.Memo                  // fields without a callback's name
	names    decoders.Memo                  // that are none
	planted  detectors.Table[string, plant] // by label and domain
	relays   detectors.Table[netip.Addr, struct{}]
}

// callback is a name that a machine asked for or called.
type callback struct {
	at       capture.At
	flow     *capture.Flow
	name     string
	verb     string
	end      string
	field    string
	blocked  bool
	relay    bool
	outcome  detectors.Outcome
	evidence uint64
}

func (d *detector) lookup(t *dns.Transaction) {
	if t.Flow == nil || t.NetBIOS || t.Multicast {
		return
	}
	if t.Answered {
		d.relays.Put(t.Flow.Resp.Addr())
	}
	name, ok := t.Query, false
	if !d.names.Has(t.NameID) {
		if _, _, ok = d.services.find(name); !ok {
			d.names.Add(t.NameID)
		}
	}
	if !ok {
		// A name of the attacker's own may be an alias.
		for i := range t.Answers {
			a := &t.Answers[i]
			if name = a.Name; a.Type == typeCNAME {
				name = a.Data
			}
			if name == t.Query {
				continue // answers mostly repeat it
			}
			if _, _, ok = d.services.find(name); ok {
				break
			}
		}
		if !ok {
			return
		}
	}
	c := callback{at: t.At, flow: t.Flow, name: name, verb: "looked up", field: "query", outcome: detectors.Succeeded, evidence: t.Packet}
	if t.Reply.Packet != 0 {
		c.at = t.Reply
	}
	switch out := t.Outcome(); out {
	case dns.Unanswered:
		c.outcome, c.end = detectors.Unknown, ", no answer seen"
	case dns.Sinkholed, dns.NXDomain:
		c.outcome, c.blocked, c.end = detectors.Attempted, true, ", blocked: "+out.String()
	case dns.Failed, dns.Empty:
		if t.Type != typeA {
			return // AAAA and HTTPS are asked for beside A, whose answer counts
		}
		c.outcome, c.end = detectors.Unknown, ", without an answer: "+out.String()
	default:
		t.Addresses(func(a netip.Addr, _ time.Duration) bool {
			c.end = ", which is " + a.String()
			return false
		})
	}
	c.relay = d.relays.Get(t.Flow.Orig.Addr()) != nil
	d.judge(c)
}

const (
	typeA     = 1
	typeCNAME = 5
)

func (d *detector) request(t *http.Transaction) {
	r := t.Request
	if r == nil || t.Flow == nil {
		return
	}
	named := r.OriginForm() // by its fields
	if named && d.quiet.Has(r.FieldsID()) {
		d.target(t, r, false)
		return
	}
	host, _ := r.Place()
	field := "host"
	if r.Method == "CONNECT" {
		field = "connect"
	} else if i := strings.Index(r.Target, "://"); i > 0 && i < 8 {
		field = "target"
	}
	_, _, ok := d.services.find(host)
	if ok {
		c := callback{at: r.At, flow: t.Flow, name: host, verb: "called", field: field, outcome: detectors.Unknown, evidence: r.Packet}
		if x := t.Response; x != nil {
			c.at, c.outcome = x.At, detectors.Succeeded
			if field == "connect" && x.Status/100 != 2 {
				c.outcome, c.blocked, c.end = detectors.Attempted, true, fmt.Sprintf(", refused by the proxy (%d)", x.Status)
			}
		}
		d.judge(c)
	}
	// What is planted stands in the target (server-side request forgery) or in any header (log4j and its like).
	if field != "connect" {
		d.target(t, r, field == "target")
	}
	for i := range r.Header {
		if strings.Contains(r.Header[i].Value, "://") {
			ok = true
			d.plant(t.Flow, r.At, r.Header[i].Value, "a request's "+detectors.Clip(r.Header[i].Name, 40))
		}
	}
	if named && !ok {
		d.quiet.Add(r.FieldsID())
	}
}

// target looks for what is planted in a request's target; absolute says that it begins with a scheme and a host.
func (d *detector) target(t *http.Transaction, r *http.Request, absolute bool) {
	if !absolute && strings.Contains(r.Target, "//") || strings.Contains(r.Target, "%2F") || strings.Contains(r.Target, "%2f") {
		d.plant(t.Flow, r.At, strings.NewReplacer("%2f", "/", "%2F", "/", "%2e", ".", "%2E", ".").Replace(detectors.Clip(r.Target, maxScan)), "a request's target")
	}
}

func (d *detector) call(c *ray.Call) {
	if c.Flow == nil || !c.Job && !c.Cluster {
		return
	}
	d.plant(c.Flow, c.At, c.Entrypoint, "a job")
	for _, p := range c.RuntimeEnv.Commands {
		d.plant(c.Flow, c.At, p.Value, "a job's environment")
	}
	for _, p := range c.Pods {
		d.plant(c.Flow, c.At, p.Command, "a container of a cluster")
	}
	for _, u := range c.RuntimeEnv.URIs {
		d.plant(c.Flow, c.At, u, "a job's environment")
	}
}

func (d *detector) socks(r *socks.Request) {
	if r.Flow == nil {
		return
	}
	c := callback{at: r.At, flow: r.Flow, name: r.Host.String(), verb: "called", field: "socks", outcome: detectors.Unknown, evidence: r.Packet}
	switch {
	case r.OK:
		c.outcome = detectors.Succeeded
	case r.Status != "":
		c.outcome, c.blocked, c.end = detectors.Attempted, true, ", refused by the proxy"
	}
	d.judge(c)
}

func (d *detector) hello(s *tls.Session) {
	if s.Flow == nil || s.ServerName == "" {
		return
	}
	c := callback{at: s.At, flow: s.Flow, name: s.ServerName, verb: "called", field: "server name", outcome: detectors.Unknown, evidence: s.Packet}
	if s.Answered {
		c.outcome = detectors.Succeeded
	}
	d.judge(c)
}

// plant remembers whose names a text has.
func (d *detector) plant(f *capture.Flow, at capture.At, text, what string) {
	d.services.names(text[:min(len(text), maxScan)], func(_ string, s service, label string) bool {
		if own, _ := s.whose(label); own {
			if p := d.planted.Put(label + "." + s.domain); p.what == "" || at.Time.Sub(p.at.Time) > plantedFor {
				*p = plant{at, f.Orig.Addr(), f.Resp.Addr(), what}
			}
		}
		return true
	})
}

func (d *detector) judge(c callback) {
	src := c.flow.Orig.Addr()
	s, label, ok := d.services.find(c.name)
	if !ok || !d.env.Home.Contains(src) || d.allow.Contains(src) {
		return
	}
	own, random := s.whose(label)
	if !own {
		return
	}
	f := &detectors.Finding{
		At: c.at, Rule: rule, Severity: detectors.High, Confidence: 90, Outcome: c.outcome,
		Src: src, Dst: c.flow.Resp.Addr(), Port: c.flow.Resp.Port(), Flow: c.flow,
		Evidence: []detectors.Evidence{{Field: c.field, Value: detectors.Clip(c.name, maxName), Packet: c.evidence}},
		Key:      rule + "|" + src.String() + "|" + label + "." + s.domain,
	}
	why := ""
	p := d.planted.Get(label + "." + s.domain)
	if p != nil && (p.by == src || c.at.Time.Sub(p.at.Time) > plantedFor) {
		p = nil
	}
	if !random || s.grade != gradeOAST {
		f.Severity, f.Confidence = detectors.Medium, 70
	}
	if p != nil {
		why = fmt.Sprintf(", as %s from %s to %s told it %s before", p.what, p.by, p.to, detectors.Span(max(c.at.Time.Sub(p.at.Time), 0)))
		f.Confidence = 99
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "planted in " + p.what, Value: label + "." + s.domain, Packet: p.at.Packet})
		if !d.env.Home.Contains(p.by) {
			f.Severity = detectors.High
		}
	}
	if c.blocked {
		f.Severity = min(f.Severity, detectors.Medium)
	}
	if c.relay && p == nil {
		f.Severity, f.Confidence = detectors.Low, 40
		c.end += "; it answers DNS itself and may ask for others"
	}
	f.Msg = fmt.Sprintf("%s %s %s, %s%s%s", src, c.verb, detectors.Clip(c.name, 120), s.grade.says(), why, c.end)
	f.Sub = "listed as " + s.domain
	d.bus.Report(f)
}

func (g grade) says() string {
	switch g {
	case gradeBin:
		return "a bin that records requests"
	case gradeCanary:
		return "a token that tells its owner who touched it"
	}
	return "a service for out-of-band testing"
}
