// Package secrets finds credentials that leave a home machine in clear text.
//
// In: *secrets.Seen of decoders/secrets. Out: findings of secrets/leak. Src is the home machine that gave them away,
// whether it sent them or was asked; Dst is who got them.
//
//	high    a key, token or password whose shape leaves no doubt left for outside; or an environment with some kind of
//	        key in it; or keys of several providers under their names, even if each alone looks like an example
//	medium  what has the shape of a key; an environment without one, within an hour of a job from outside
//	low     keys where a request authenticates itself, or to their own provider: read on the way, not stolen;
//	        examples; what counts only beside others; an environment without a key, as logs have it. A Host that says so
//	        is believed as data.Claims has it
//
// Credentials between two machines at home, between two outside, those that come in, and those that an answer repeats to
// the one that sent them are no finding. What is low is one finding for a place and what it is, whoever sends it. Evidence has
// the kind, the name, the public prefix and the length of a value. It does not see what decoders/secrets does not.
package secrets

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/interpreters/ray"
)

const rule = "secrets/leak"

const (
	// assigned is how many keys under their names, of at least providers different ones, are an environment or a file
	// of settings and no page that explains one of them.
	assigned  = 3
	providers = 2
	// Kinds that a sentence lists, and matches that evidence does.
	maxKinds    = 4
	maxEvidence = 8
	// Longest name or path that is shown.
	maxShown = 80
	// Machines whose last job from outside is remembered, and for how long what leaves may be its doing.
	maxJobs = 1024
	jobFor  = time.Hour
)

// Config are the settings, the section `secrets` of the configuration file.
type Config struct {
	Allow []string `yaml:"allow"` // destinations that may be sent credentials: networks, addresses, or names with all below
}

// Default is what holds when nothing is said: nobody may.
func Default() Config { return Config{} }

// owners are the domains of providers to whom their own credentials go every day.
var owners = map[string][]string{
	"aws": {"amazonaws.com"}, "google": {"googleapis.com", "google.com", "youtube.com", "youtube-nocookie.com", "firebaseio.com", "gstatic.com"}, "azure": {"windows.net", "azure.com"}, "openai": {"openai.com"},
	"anthropic": {"anthropic.com"}, "huggingface": {"huggingface.co", "hf.co"}, "github": {"github.com", "githubusercontent.com"},
	"gitlab": {"gitlab.com"}, "slack": {"slack.com"}, "discord": {"discord.com"}, "stripe": {"stripe.com"}, "wandb": {"wandb.ai"},
	"npm": {"npmjs.org"}, "pypi": {"pypi.org"}, "docker": {"docker.io", "docker.com"}, "openrouter": {"openrouter.ai"},
}

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "secrets", Settings: settings(),
		Rules: []detectors.Rule{{
			Name: rule, Note: "Secrets_Leak", Severity: detectors.High,
			Says:   "Credentials left a home machine in clear text for a machine outside.",
			ATLAS:  []string{"AML.T0055", "AML.T0025"},
			ATTACK: []string{"T1552.001", "T1041"},
			Needs: "HTTP/1 in clear text (the first 256 KiB of a request's body, 64 KiB of a response's), or a bare text " +
				"stream; a value in a known format, or several values with their names.",
			FalsePositives: "Services outside that legitimately receive credentials over plain HTTP in a body or target (put " +
				"them on the allow-list); documentation that is posted with made-up settings of several providers.",
			// Below medium it is an example, or a request that authenticates itself.
			Story: detectors.Story{Group: detectors.GroupTheft, Least: detectors.Medium, Sure: true, Grave: true,
				Does: "sent credentials to %", Other: "exfiltration host",
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{env: env, bus: bus, owned: map[string]bool{}, jobs: detectors.Table[netip.Addr, capture.Time]{Limit: maxJobs}}
			for _, domains := range owners {
				for _, n := range domains {
					d.owned[n] = true
				}
			}
			d.known = data.NewClaims(&bus.Names, d.trusted)
			detectors.Configure(env, bus, "secrets", Default(), func(c Config) {
				d.allow, d.names = nil, nil
				d.known.Renew()
				for _, a := range c.Allow {
					if n, err := detectors.ParseNetworks([]string{a}); err == nil {
						d.allow = append(d.allow, n)
					} else {
						d.names = append(d.names, strings.ToLower(strings.Trim(a, ".")))
					}
				}
			})
			detectors.On(bus, d.known.Lookup)
			detectors.On(bus, d.call)
			detectors.On(bus, d.seen)
		},
	}
}

type detector struct {
	env   *detectors.Env
	bus   *detectors.Bus
	allow []*detectors.Networks
	names []string
	owned map[string]bool                           // all domains of owners
	known *data.Claims                              // of providers, and of what is allowed by name
	jobs  detectors.Table[netip.Addr, capture.Time] // the last one from outside, by the machine that got it
}

// call notes who got a job from outside.
func (d *detector) call(c *ray.Call) {
	if c.Flow != nil && c.Job && c.Outcome == ray.Executed && !d.env.Inside(c.Flow.Orig.Addr()) {
		d.jobs.Store(c.Flow.Resp.Addr(), c.Time)
	}
}

func (d *detector) seen(s *secrets.Seen) {
	if s.Flow == nil {
		return
	}
	for _, dir := range [2]capture.Dir{capture.Orig, capture.Resp} {
		if d.env.Home.Contains(s.Flow.Src(dir).Addr()) && !d.env.Home.Contains(s.Flow.Dst(dir).Addr()) {
			d.judge(s, dir)
		}
	}
}

// weight is what a message's matches come to.
type weight struct {
	severity   detectors.Severity
	confidence int
	why        string
}

func (d *detector) judge(s *secrets.Seen, dir capture.Dir) {
	src, dst := s.Flow.Src(dir), s.Flow.Dst(dir)
	if detectors.Special(dst.Addr()) || slices.ContainsFunc(d.allow, func(n *detectors.Networks) bool { return n.Contains(dst.Addr()) }) {
		return
	}
	host := ""
	if dir == capture.Orig && s.Tx != nil && s.Tx.Request != nil {
		if host, _ = s.Tx.Request.Place(); !d.known.Hold(dst.Addr()) {
			host = "" // it only says so
		}
		if d.allowed(host) {
			return
		}
	}
	var ms []*secrets.Match
	for i := range s.Matches {
		// The list of a machine's users is worth a word where a server gives it away, as by a path that leads out of its files.
		if s.Matches[i].Dir == dir && (dir == capture.Orig || !sent(s, &s.Matches[i])) && (s.Matches[i].Rule.ID != "passwd" || s.Tx != nil && dir == capture.Resp) {
			ms = append(ms, &s.Matches[i])
		}
	}
	if len(ms) == 0 {
		return
	}
	at, job := d.jobs.Load(src.Addr())
	w := weigh(ms, host, job && s.Time.Sub(at) <= jobFor)
	f := &detectors.Finding{
		At: s.At, Rule: rule, Severity: w.severity, Confidence: w.confidence, Outcome: outcome(s, dir),
		Src: src.Addr(), Dst: dst.Addr(), Port: s.Flow.Resp.Port(), Flow: s.Flow,
	}
	if f.Outcome == detectors.Unknown && f.Severity == detectors.High && w.confidence < 90 {
		f.Severity = detectors.Medium // an example that perhaps nobody took
	}
	packet := s.Packet
	if dir == capture.Resp && s.Tx != nil && s.Tx.Response != nil {
		f.At, packet = s.Tx.Response.At, s.Tx.Response.Packet
	}
	for _, m := range ms[:min(len(ms), maxEvidence)] {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: detectors.Clip(m.Where, maxShown), Value: show(m), Packet: packet})
	}
	what, to := "sent", "to"
	if dir == capture.Resp {
		what, to = "gave", "away to"
	}
	f.Msg = fmt.Sprintf("%s %s %s %s %s in clear text%s", src.Addr(), what, list(ms), to, party(dst, dir), w.why)
	f.Sub = sub(s, ms)
	if f.Severity <= detectors.Low {
		f.Key = rule + "|" + list(ms) + "|" + dst.String()
		if dir == capture.Resp {
			f.Key = rule + "|" + list(ms) + "|from " + src.String()
		}
	}
	d.bus.Report(f)
}

// outcome: what stood in a message that was taken is gone, whatever the answer's status says.
func outcome(s *secrets.Seen, dir capture.Dir) detectors.Outcome {
	if s.Tx == nil || dir == capture.Resp || s.Tx.Response != nil {
		return detectors.Succeeded
	}
	return detectors.Unknown
}

// sent says whether the client itself sent the value that an answer repeats.
func sent(s *secrets.Seen, m *secrets.Match) bool {
	return slices.ContainsFunc(s.Matches, func(o secrets.Match) bool { return o.Dir == capture.Orig && o.Rule == m.Rule && o.Same == m.Same }) &&
		m.Rule.ID != "environment" // which has no value of its own
}

// weigh adds up what there is; after says that the machine got a job from outside before.
func weigh(ms []*secrets.Match, host string, after bool) weight {
	w := weight{severity: detectors.Low, confidence: 40}
	raise := func(s detectors.Severity, c int, why string) {
		if s > w.severity || s == w.severity && c > w.confidence {
			w = weight{s, c, why}
		}
	}
	names, by, environment, some := 0, map[string]bool{}, false, false
	for _, m := range ms {
		own := m.Auth || owned(m.Rule.Provider, host)
		if m.Rule.ID == "environment" {
			environment = true
		} else if m.Rule.Grade > secrets.Weak || m.Rule.Provider == "aws" || m.Rule.Provider == "named" {
			some = true
		}
		if m.Name != "" && !m.Auth && m.Rule.Provider != "jwt" {
			names++
			by[m.Rule.Provider] = true
		}
		switch {
		case own:
			if m.Rule.Grade > secrets.Weak {
				raise(detectors.Low, 60, ", to authenticate a request")
			}
		case m.Example || m.Rule.Grade == secrets.Weak:
		case m.Rule.ID == "environment" && !after:
			raise(detectors.Low, 50, "")
		case m.Rule.Grade == secrets.Strong && m.Verified:
			raise(detectors.High, 97, "")
		case m.Rule.Grade == secrets.Strong:
			raise(detectors.High, 90, "")
		default:
			raise(detectors.Medium, 60, "")
		}
	}
	if names >= assigned && len(by) >= providers {
		raise(detectors.High, 75, ": a list of settings with keys of several kinds")
	}
	if environment && some {
		raise(detectors.High, 90, ": the environment of a process")
	}
	return w
}

// trusted says whether somebody is given credentials under a name.
func (d *detector) trusted(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for rest := name; rest != ""; _, rest, _ = strings.Cut(rest, ".") {
		if d.owned[rest] {
			return true
		}
	}
	return d.allowed(name)
}

func owned(provider, host string) bool { return belowAny(host, owners[provider]) }

func (d *detector) allowed(host string) bool { return belowAny(host, d.names) }

func belowAny(host string, domains []string) bool {
	return slices.ContainsFunc(domains, func(n string) bool { return below(host, n) })
}

// below says that a name is the domain n or in it.
func below(name, n string) bool {
	return name == n || len(name) > len(n) && name[len(name)-len(n)-1] == '.' && strings.HasSuffix(name, n)
}

// list names the kinds, those that weigh most first.
func list(ms []*secrets.Match) string {
	sorted := slices.Clone(ms)
	slices.SortStableFunc(sorted, func(a, b *secrets.Match) int { return int(b.Rule.Grade) - int(a.Rule.Grade) })
	var kinds []string
	for _, m := range sorted {
		if !slices.Contains(kinds, m.Rule.Says) {
			kinds = append(kinds, m.Rule.Says)
		}
	}
	if n := len(kinds); n > maxKinds {
		kinds = append(kinds[:maxKinds], fmt.Sprintf("%d more kinds", n-maxKinds))
	}
	if n := len(kinds); n > 1 {
		return strings.Join(kinds[:n-1], ", ") + " and " + kinds[n-1]
	}
	return kinds[0]
}

// show says of a match what may be said.
func show(m *secrets.Match) string {
	var b strings.Builder
	b.WriteString(m.Rule.ID)
	if m.Name != "" {
		b.WriteString(" " + detectors.Clip(m.Name, maxShown))
	}
	fmt.Fprintf(&b, ": %s***, %d bytes", m.Prefix, m.Length)
	switch {
	case m.Verified:
		b.WriteString(", checked")
	case m.Example:
		b.WriteString(", looks made up")
	}
	if m.Form != "" {
		b.WriteString(", in " + m.Form)
	}
	return b.String()
}

func sub(s *secrets.Seen, ms []*secrets.Match) string {
	n := fmt.Sprintf("%d in all", len(ms)+s.More)
	if s.Over != "" {
		return n + ", over " + s.Over
	}
	if s.Tx == nil || s.Tx.Request == nil {
		return n + ", over a bare connection"
	}
	path, _, _ := strings.Cut(s.Tx.Request.Target, "?")
	if slices.ContainsFunc(ms, func(m *secrets.Match) bool { return m.Where == "target" }) {
		path = "***" // the path itself may be what must not be shown
	}
	return fmt.Sprintf("%s, %s %s", n, detectors.Clip(s.Tx.Request.Method, 16), detectors.Clip(path, maxShown))
}

func party(a netip.AddrPort, dir capture.Dir) string {
	if dir == capture.Resp {
		return a.Addr().String()
	}
	return a.String()
}
