// Package campaign makes one story of the steps of an intrusion.
//
// In: the findings of all other detectors (*detectors.Finding, each of which means what its rule says in detectors.Story), and
// steps that are no finding but belong to a story once a job has come: look-ups (*dns.Transaction), calls (*http.Transaction,
// *socks.Request, the server name of *tls.Session) and flows (*capture.Conn, *capture.Progress) to hosts that the job
// names, or to the attacker himself. Out: findings of campaign/chain, and *detectors.Incident, a row of incidents.log, when
// nothing was heard of an incident for a while and at the end of the run.
//
// Findings are one incident if they share a victim, an attacker outside, or a host that a job names; a finding on a machine
// that took a job is one with it, and so is one on another machine if its other side is a payload, command or
// exfiltration host of the incident. Several victims of one attacker are one incident; what two incidents have in common
// only later joins them, and the older name stays. Pools, and services that everybody uses (shared.txt), join nothing.
//
//	critical  a job from outside was taken, and then: a host that it names was contacted, or something that has no place
//	          on an honest machine, or two things that rarely have. A contact is proof also if no answer was seen
//	high      one thing that may be honest, soon after; or only attempts were seen, and then such a contact, or something
//	          grave; or a job from inside that fetches or hides code, and then something grave
//	medium    two grave things on one machine, and the way in was not seen
//
// What a machine did before the job is no consequence of it. A job from inside that fetches from hosts that it names is
// none either: that is what continuous integration does.
//
// An incident is said when it reaches one of these, or when a job from outside was taken and nothing came of it yet; again
// when its severity rises, after a minute at the earliest when it has passed a further tactic of ATLAS, and for whatever else
// it has grown by at intervals that double, up to an hour; and when it is over. Each is a row of incidents.log, which has
// the whole, and but for the last, if there is nothing new, a further revision of its one finding.
//
// It does not see: hosts that only a fetched script names (they count by their own findings); jobs whose text was not seen;
// names that are looked up over encrypted DNS and called over TLS with an encrypted hello; what follows after an incident
// was quiet for so long that it was closed; two attackers behind one address as two.
package campaign

import (
	"crypto/sha256"
	"net/netip"
	"slices"
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

const rule = detectors.ChainRule

// Config are the settings, the section `campaign` of the configuration file.
type Config struct {
	Quiet  time.Duration `yaml:"quiet"`  // an incident without news for so long is over, and written
	Follow time.Duration `yaml:"follow"` // how long after a job something that may be honest is taken for its consequence
	Allow  []string      `yaml:"allow"`  // networks outside whose jobs count as jobs from inside
}

// Default is what holds when nothing is said. What was installed comes back by cron every 15 minutes, and a job may wait
// for resources over a night shift: six hours keep these together. Transfers and regular calls begin on honest machines all
// the time, so that only those within the hour are believed to have a cause.
func Default() Config { return Config{Quiet: 6 * time.Hour, Follow: time.Hour} }

const (
	// Incidents that are open at once. A network has a few; scanners that try the same on everybody make more.
	maxIncidents = 1024
	// Machines, names and addresses that lead to an incident, and what is remembered of those that do not yet.
	maxHosts      = 8192
	maxNamed      = 16384
	maxRemembered = 4096
	// Jobs that name the same host, signs of one machine, first steps of one attacker.
	maxSharing = 8
	maxSigns   = 16
	// A machine that is not known to have run the job proves it by contacting what the job names within this: the bound
	// of threat reports for the call-back of a probe. Shared services prove it no longer than this at all.
	soon = 10 * time.Minute
	// A job comes by again within this, as in jobsubmit: a proxy hands it on, or the head to an agent.
	linkFor = 30 * time.Second
	// A further tactic is said not before this has passed since the last word: an attack passes five in a minute. What else
	// is new waits twice as long each time, up to the second: an incident of a day has two dozen rows.
	updateEvery, updateMost = time.Minute, time.Hour
	tickEvery               = 10 * time.Second
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "campaign", Settings: settings(), Late: true,
		Rules: []detectors.Rule{{
			Name: rule, Note: "Campaign_Chain", Severity: detectors.Critical,
			Says: "Several steps, each the cause of the next, form one intrusion: an attacker got in, and the machine then " +
				"acted for the attacker.",
			ATLAS:  []string{"AML.T0049", "AML.T0050", "AML.T0112"},
			ATTACK: []string{"T1190", "T1059", "T1105"},
			Needs: "The job in clear text, and its consequences: DNS, HTTP, a TLS hello or a flow to a host that the job " +
				"names, or findings on the same machine. Hosts named only in a fetched script, and steps that the tap does " +
				"not see, are missing from the account.",
			FalsePositives: "Users who submit jobs over the Internet on purpose and whose jobs fetch from their own hosts " +
				"(put their networks on the allow-list); security tests.",
			Story: detectors.Story{Role: detectors.RoleNone},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := newDetector(env, bus)
			detectors.On(bus, d.finding)
			detectors.On(bus, d.call)
			detectors.On(bus, d.lookup)
			detectors.On(bus, d.request)
			detectors.On(bus, d.hello)
			detectors.On(bus, d.socks)
			detectors.On(bus, d.ended)
			detectors.On(bus, d.progress)
			bus.OnTick(tickEvery, d.tick)
			bus.OnEnd(d.end)
		},
	}
}

// host is what a job can name.
type host struct {
	name string
	addr netip.Addr
}

// ref leads from a host to a job that names it.
type ref struct {
	job    *job
	shared bool
}

// bound is an address that a named host was resolved to.
type bound struct {
	to host
	at capture.Time
}

// hop is a job that went from machine to machine inside.
type hop struct {
	at       capture.Time
	src, dst netip.Addr
}

// memory is what is known of somebody without an incident.
type memory struct {
	steps []step
	found tally
	last  capture.Time
}

type detector struct {
	cfg    Config
	env    *detectors.Env
	bus    *detectors.Bus
	allow  *detectors.Networks
	kinds  map[string]detectors.Story // by rule
	shared map[string]bool
	meter  detectors.Meter   // for what texts hide
	tech   map[string][]int  // tactics of a technique, by their place in the matrix
	called map[string]string // techniques, by their ids
	plain  decoders.Memo     // fields of requests that hint at nothing by themselves

	open    []*incident // in the order they began
	victims detectors.Table[netip.Addr, *incident]
	guilty  detectors.Table[netip.Addr, *incident] // attackers outside
	helpers detectors.Table[netip.Addr, *incident] // payload, command and exfiltration hosts
	named   detectors.Table[host, []ref]
	bounds  detectors.Table[netip.Addr, bound]
	hops    detectors.Table[[sha256.Size]byte, []hop]
	looks   detectors.Table[netip.Addr, memory]   // what somebody outside did before he got in
	signs   detectors.Table[netip.Addr, memory]   // what a machine did that nobody is known to have got into
	relays  detectors.Table[netip.Addr, struct{}] // machines that ask or call for others
	habits  detectors.Table[habit, struct{}]      // weak signs that a machine showed before

	now   capture.Time
	dirty []*incident
}

// habit is something that a machine does anyway.
type habit struct {
	who  netip.Addr
	what string
}

func newDetector(env *detectors.Env, bus *detectors.Bus) *detector {
	d := &detector{env: env, bus: bus, kinds: kindsOf(env.Rules), shared: sharedHosts(), called: map[string]string{}, plain: bus.Heads.Memo()}
	d.tech = tacticsOf(d.kinds)
	detectors.Configure(env, bus, "campaign", Default(), func(c Config) {
		d.cfg, d.allow = c, nil
		if len(c.Allow) > 0 {
			d.allow, _ = detectors.ParseNetworks(c.Allow)
		}
	})
	d.victims.Limit, d.guilty.Limit, d.helpers.Limit = maxHosts, maxHosts, maxHosts
	d.named.Limit, d.bounds.Limit = maxNamed, maxNamed
	d.hops.Limit, d.looks.Limit, d.signs.Limit, d.relays.Limit = maxRemembered, maxRemembered, maxRemembered, maxRemembered
	d.habits.Limit = maxRemembered
	return d
}

func (d *detector) tick(at capture.At) {
	d.now = max(d.now, at.Time)
	d.flush()
	for i := 0; i < len(d.open); i++ {
		x := d.open[i]
		if d.due(x) {
			d.say(x, detectors.Open)
		}
		if d.now.Sub(x.last.Time) > d.cfg.Quiet {
			d.close(x)
			i--
		}
	}
}

func (d *detector) end(at capture.At) {
	d.now = max(d.now, at.Time)
	d.flush()
	for len(d.open) > 0 {
		d.close(d.open[0])
	}
}

// flush says what has become of incidents. A finding is handed to detectors before it is handed out, so that what rests
// on it has to wait for the next event to come behind it.
func (d *detector) flush() {
	for len(d.dirty) > 0 {
		x := d.dirty[0]
		d.dirty = d.dirty[1:]
		x.queued = false
		switch {
		case x.closed:
		case x.into != nil:
			d.merged(x)
		case x.severity > x.said || x.owed:
			d.say(x, detectors.Open)
		}
	}
}

// live gives the open incident that x became, or nil.
func live(x **incident) *incident {
	if x == nil {
		return nil
	}
	for (*x).into != nil {
		*x = (*x).into
	}
	if (*x).closed {
		return nil
	}
	return *x
}

func (d *detector) home(a netip.Addr) bool { return d.env.Home.Contains(a) }

// finding takes what any detector says.
func (d *detector) finding(f *detectors.Finding) {
	if f.Rule == rule || !f.Src.IsValid() {
		return
	}
	d.flush()
	d.now = max(d.now, f.Time)
	k := d.kindOf(f.Rule)
	src, dst := f.Src.Unmap(), f.Dst.Unmap()
	srcHome, dstHome := d.home(src), d.home(dst)
	switch {
	case k.Role == detectors.RoleLater && !srcHome && (k.Group == detectors.GroupScan || k.Group == detectors.GroupIntel):
		// The same rule from the other side: somebody looks at us, or comes from a host on a list.
		k.Role, k.Does, k.Techniques = detectors.RoleBefore, "scanned %", []string{"AML.T0006.002", "T1595"}
		if k.Group == detectors.GroupIntel {
			k.Does, k.Techniques = "is on a list of hosts of bad repute", nil
		}
		k.Group = detectors.GroupLook
	case k.Role == detectors.RoleEntry && srcHome && !dstHome:
		fetches := k.Fetches
		k = outbound
		k.Fetches = fetches
	}
	if f.Severity < k.Least {
		return
	}
	switch k.Role {
	case detectors.RoleEntry:
		d.entered(f, k, src, dst, srcHome)
	case detectors.RoleLater:
		if srcHome || dstHome {
			d.followed(f, k, src, dst, srcHome)
		}
	case detectors.RoleBefore, detectors.RoleAside:
		d.looked(f, k, src, dst)
	}
}

// looked takes what comes before an entry, or beside it.
func (d *detector) looked(f *detectors.Finding, k detectors.Story, src, dst netip.Addr) {
	who := src
	if d.home(src) && !d.home(dst) && dst.IsValid() {
		who = dst
	}
	x := live(d.guilty.Get(who))
	if x == nil {
		x = live(d.victims.Get(dst))
		if x != nil && !slices.Contains(x.attackers, who) {
			x = nil
		}
	}
	if x != nil {
		x.found.add(f)
		if k.Role == detectors.RoleBefore {
			x.add(d.stepOf(f, k, src, dst))
			d.changed(x)
		} else if k.Group == detectors.GroupEvasion {
			x.extra(k)
			d.changed(x)
		}
		return
	}
	if d.home(who) {
		return
	}
	m := d.looks.Put(who)
	d.expire(m)
	m.found.add(f)
	m.last = max(m.last, f.Time)
	if k.Role == detectors.RoleBefore && len(m.steps) < maxSharing {
		m.steps = append(m.steps, d.stepOf(f, k, src, dst))
	}
}

// expire forgets what is too old to belong to anything new.
func (d *detector) expire(m *memory) {
	if d.now.Sub(m.last) > d.cfg.Quiet {
		*m = memory{}
	}
}

// entered takes an entry or an attempt at one.
func (d *detector) entered(f *detectors.Finding, k detectors.Story, src, dst netip.Addr, srcHome bool) {
	if f.Severity < detectors.Medium {
		d.looked(f, detectors.Story{Role: detectors.RoleAside}, src, dst)
		return
	}
	st := tried
	switch {
	case f.Outcome == detectors.Succeeded && (k.Runs || f.Severity == detectors.Critical):
		st = accepted
	case f.Outcome == detectors.Unknown:
		st = unseen
	}
	// Behind a browser stands a page from outside, whose address is not known.
	page := k.Page
	spread := false
	if srcHome && !page || d.allow.Contains(src) {
		if y := live(d.victims.Get(src)); y != nil && y.before(src, f.Time) != nil {
			spread = true
		} else {
			if f.Severity < detectors.High || st == tried {
				return
			}
			st = insider
		}
	}
	var x *incident
	outside := !srcHome && st != insider
	for _, y := range []*incident{live(d.victims.Get(dst)), d.of(outside, &d.guilty, src), d.of(spread, &d.victims, src)} {
		x = d.join(x, y)
	}
	if x == nil {
		x = d.begin(f)
	}
	j := x.job(f, src, dst, st)
	j.dropper = j.dropper || k.Fetches
	x.found.add(f)
	x.attacker(src, outside || page)
	x.victim(dst)
	s := d.stepOf(f, k, src, dst)
	s.state, s.port = st, f.Port
	if spread {
		s.add(outbound)
		s.sure, s.grave = true, true
	}
	for _, e := range f.Evidence {
		if e.Field == "entrypoint" {
			j.command = e.Value
		}
	}
	x.add(s)
	*d.victims.Put(dst) = x
	if outside {
		*d.guilty.Put(src) = x
	}
	if (outside || spread || page) && !k.Peer {
		var texts []string
		for _, e := range f.Evidence {
			if !headers[strings.ToLower(e.Field)] {
				texts = append(texts, e.Value)
			}
		}
		c := d.collect(f.At, texts)
		x = d.register(x, j, c.all)
		if outside {
			x = d.name(x, j, host{addr: src}, false, true)
		}
	}
	d.recall(x, src, dst)
	d.changed(x)
}

// collect takes the hosts out of texts.
func (d *detector) collect(at capture.At, texts []string) *collector {
	size := 0
	for _, s := range texts {
		size += len(s)
	}
	all, free := d.meter.Grant(at.Time, size, maxBudget)
	c := &collector{budget: all}
	for _, s := range texts {
		c.text(s, 0)
	}
	d.meter.Used(all-max(c.budget, 0), free)
	return c
}

// headers are evidence that names whoever asked and the server, and not what is to be run.
var headers = map[string]bool{
	"user_agent": true, "user-agent": true, "origin": true, "referer": true, "host": true, "page": true, "answer": true, "dns": true,
	"session_name": true, "route": true,
}

// of looks up only if it is to.
func (d *detector) of(really bool, t *detectors.Table[netip.Addr, *incident], a netip.Addr) *incident {
	if !really {
		return nil
	}
	return live(t.Get(a))
}

// register notes what hosts a job names.
func (d *detector) register(x *incident, j *job, all []indicator) *incident {
	for _, i := range all {
		if i.addr.IsValid() && (d.home(i.addr) && i.addr != metadata || detectors.Special(i.addr)) {
			continue // ours, and what every machine asks anyway
		}
		x = d.name(x, j, host{i.name, i.addr}, i.name != "" && shared(d.shared, i.name), i.url)
	}
	return x
}

// name notes one host. Another incident whose job names it is the same if it is sure to be a host: what is only a word
// may be a file, and joins when it is contacted.
func (d *detector) name(x *incident, j *job, h host, common, sure bool) *incident {
	refs := d.named.Put(h)
	kept := (*refs)[:0]
	for _, r := range *refs {
		y := live(&r.job.inc)
		if y == nil || r.job == j {
			continue
		}
		kept = append(kept, r)
		if sure && !common && h.addr != metadata {
			x = d.join(x, y)
		}
	}
	if len(kept) >= maxSharing {
		kept = kept[1:]
	}
	*refs = append(kept, ref{j, common})
	return x
}

// recall takes into the incident what attacker and victim did that is remembered.
func (d *detector) recall(x *incident, src, dst netip.Addr) {
	if m := d.looks.Get(src); m != nil {
		if d.expire(m); m.found.n > 0 {
			x.found.join(&m.found)
			for _, s := range m.steps {
				x.add(s)
			}
		}
		d.looks.Drop(src)
	}
	if m := d.signs.Get(dst); m != nil {
		d.expire(m)
		kept := *m
		d.signs.Drop(dst)
		for _, s := range kept.steps {
			if x.before(dst, s.Time) != nil {
				x.found.join(&s.found)
				x.add(s)
			} else {
				x.habit(dst, s.groups)
			}
		}
	}
}

// followed takes what may be the consequence of an entry.
func (d *detector) followed(f *detectors.Finding, k detectors.Story, src, dst netip.Addr, srcHome bool) {
	who, other := src, dst
	if !srcHome || k.Group == detectors.GroupFetch && d.home(dst) {
		who, other = dst, src
	}
	s := d.stepOf(f, k, who, other)
	if s.sev < detectors.Medium || k.Group == detectors.GroupOther {
		s.weaken()
	}
	x := live(d.victims.Get(who))
	if x != nil {
		if j := x.before(who, s.Time); j == nil && len(x.jobs) > 0 {
			x = nil
		} else if k.Group != detectors.GroupOther && d.tied(who, s.Time, f, other) != nil {
			s.link, s.named = true, " (named in the job)"
			s.groups |= 1 << detectors.GroupLink
		}
	} else if s.sev >= detectors.Medium && k.Group != detectors.GroupOther {
		if x = live(d.helpers.Get(other)); x != nil {
			x.victim(who)
			*d.victims.Put(who) = x
			if j := x.taken(s.Time); j != nil && len(j.hosts) < maxSharing {
				j.hosts = append(j.hosts, who)
			}
		}
	}
	if x == nil {
		d.sign(s, who)
		return
	}
	x.found.add(f)
	if !s.link && x.habits(who, s.groups) {
		return // it did so before
	}
	d.took(x, s, other, k.Other, k.Group)
}

// took adds a step with its other side.
func (d *detector) took(x *incident, s step, other netip.Addr, role string, g detectors.Group) {
	if role != "" && other.IsValid() && !d.home(other) {
		x.other(detectors.Party{Role: role, Addr: other, Name: d.nameOf(other)})
		switch g {
		case detectors.GroupFetch, detectors.GroupTheft, detectors.GroupShell, detectors.GroupLink:
			*d.helpers.Put(other) = x
		}
	}
	if x.add(s) {
		d.changed(x)
	}
}

// sign remembers what a machine did. Two grave ones are an incident whose beginning was not seen.
func (d *detector) sign(s step, who netip.Addr) {
	m := d.signs.Put(who)
	d.expire(m)
	m.last = max(m.last, s.Time)
	for i := range m.steps {
		if m.steps[i].What == s.What {
			m.steps[i].Count++
			m.steps[i].found.join(&s.found)
			return
		}
	}
	if len(m.steps) >= maxSigns {
		m.steps = m.steps[1:]
	}
	m.steps = append(m.steps, s)
	if !s.grave || s.sev < detectors.High || live(d.victims.Get(who)) != nil {
		return
	}
	for _, o := range m.steps {
		if o.grave && o.sev >= detectors.High && o.groups&s.groups == 0 && s.Time.Sub(o.Time).Abs() <= d.cfg.Follow {
			x := d.begin(&detectors.Finding{At: m.steps[0].At, Src: who, Dst: o.other})
			x.victim(who)
			*d.victims.Put(who) = x
			steps := m.steps
			d.signs.Drop(who)
			for _, t := range steps {
				x.found.join(&t.found)
				x.add(t)
			}
			d.changed(x)
			return
		}
	}
}

// changed judges an incident anew, and sees to it that it is said.
func (d *detector) changed(x *incident) {
	x.judge(d)
	if x.severity > x.said || x.owed {
		d.queue(x)
	}
}

// queue has flush look at an incident.
func (d *detector) queue(x *incident) {
	if !x.queued {
		x.queued = true
		d.dirty = append(d.dirty, x)
	}
}

// begin opens an incident. If there are too many, the one that is quiet for longest is written, one without a job that
// was taken before all others.
func (d *detector) begin(f *detectors.Finding) *incident {
	if len(d.open) >= maxIncidents {
		old := d.open[0]
		for _, x := range d.open[1:] {
			if a, b := x.best() >= unseen, old.best() >= unseen; a != b && !a || a == b && x.last.Time < old.last.Time {
				old = x
			}
		}
		d.close(old)
	}
	x := &incident{id: incidentID(f), first: f.At, last: f.At}
	d.open = append(d.open, x)
	return x
}

// join makes one of two incidents, either of which may be nil.
func (d *detector) join(x, y *incident) *incident {
	switch {
	case x == nil || x == y:
		return y
	case y == nil:
		return x
	}
	if y.first.Time < x.first.Time || y.first.Time == x.first.Time && y.id < x.id {
		x, y = y, x
	}
	x.swallow(y)
	if i := slices.Index(d.open, y); i >= 0 {
		d.open = slices.Delete(d.open, i, i+1)
	}
	d.queue(y)
	d.changed(x)
	return x
}

// call learns which machines ran a job, and reads the text that the finding only had an excerpt of. The findings on a call
// come before it: detectors see an event in their order.
func (d *detector) call(c *ray.Call) {
	d.flush()
	if c.Flow == nil || !c.Job && !c.Cluster && len(c.Apps) == 0 {
		return
	}
	d.now = max(d.now, c.Time)
	src, dst := c.Flow.Orig.Addr().Unmap(), c.Flow.Resp.Addr().Unmap()
	what := sha256.Sum256([]byte(c.Entrypoint))
	if c.Entrypoint != "" && d.home(src) && d.home(dst) {
		h := d.hops.Put(what)
		if *h = append(*h, hop{c.Time, src, dst}); len(*h) > maxSharing {
			*h = (*h)[1:]
		}
	}
	var j *job
	x := live(d.victims.Get(dst))
	if x != nil {
		j = x.jobAt(c.Flow.UID, c.Packet)
	}
	if j == nil || j.state == insider {
		if x = live(d.victims.Get(src)); x != nil && c.Entrypoint != "" { // an inner hop that comes after the outer one
			for _, j := range x.jobs {
				if j.what == what && slices.Contains(j.hosts, src) && c.Time.Sub(j.at.Time).Abs() < linkFor && d.home(dst) {
					d.handed(x, j)
					return
				}
			}
		}
		return
	}
	if c.Entrypoint != "" {
		j.what = what
		d.handed(x, j)
	}
	e := &c.RuntimeEnv
	texts := slices.Concat([]string{c.Entrypoint}, e.URIs, e.Packages, []string{e.PyExec, e.SetupHook, e.Image})
	for _, p := range c.Pods {
		texts = append(texts, p.Command, p.Image)
	}
	for _, t := range [][]ray.Param{e.Loads, e.Commands} {
		for _, p := range t {
			texts = append(texts, p.Value)
		}
	}
	col := d.collect(c.At, texts)
	d.changed(d.register(x, j, col.all))
}

// handed follows a job to the machines that it was handed on to.
func (d *detector) handed(x *incident, j *job) {
	hops := d.hops.Get(j.what)
	if hops == nil {
		return
	}
	for again := true; again; {
		again = false
		for _, h := range *hops {
			if slices.Contains(j.hosts, h.src) && !slices.Contains(j.hosts, h.dst) && h.at.Sub(j.at.Time).Abs() < linkFor && len(j.hosts) < maxSharing {
				j.hosts = append(j.hosts, h.dst)
				x.victim(h.dst)
				*d.victims.Put(h.dst) = x
				again = true
			}
		}
	}
}

// request, lookup, hello, socks, ended and progress see machines contact what jobs name.

func (d *detector) request(t *http.Transaction) {
	q := t.Request
	if q == nil || t.Flow == nil {
		return
	}
	d.flush()
	if len(d.open) == 0 && q.OriginForm() && d.plain.Has(q.FieldsID()) && t.Flow.Resp.Addr().Unmap() != metadata {
		return
	}
	d.web(t, q)
}

func (d *detector) lookup(t *dns.Transaction) {
	d.flush()
	if t.Flow == nil || t.NetBIOS || t.Multicast {
		return
	}
	if t.Answered {
		d.relays.Put(t.Flow.Resp.Addr().Unmap())
	}
	if len(d.open) == 0 || t.Query == "" {
		return
	}
	h := host{name: t.Query}
	if !d.isNamed(h) {
		return
	}
	t.Addresses(func(a netip.Addr, _ time.Duration) bool {
		if !d.home(a) && !detectors.Special(a) {
			*d.bounds.Put(a.Unmap()) = bound{h, t.Time}
		}
		return true
	})
	d.contact(contact{at: t.At, flow: t.Flow, to: h, does: "looked up ", rank: rankHello, lookup: true, ids: "T1071.004"})
}

func (d *detector) hello(s *tls.Session) {
	d.flush()
	if s.Flow == nil || len(d.open) == 0 {
		return
	}
	c := contact{at: s.At, flow: s.Flow, to: host{name: http.HostOf(s.ServerName)}, does: "opened TLS to ", rank: rankHello, ids: "AML.T0072 T1573"}
	if s.ServerName == "" || !d.isNamed(c.to) {
		c.to = host{addr: s.Flow.Resp.Addr().Unmap()}
	}
	d.contact(c)
}

func (d *detector) socks(r *socks.Request) {
	d.flush()
	if r.Flow == nil || len(d.open) == 0 {
		return
	}
	h := host{name: http.HostOf(r.Host.Name)}
	if h.name == "" {
		h.addr = r.Host.Addr.Unmap()
	}
	d.contact(contact{at: r.At, flow: r.Flow, to: h, does: "called through a proxy ", rank: rankHello, ids: "AML.T0072 T1090"})
}

func (d *detector) ended(c *capture.Conn) {
	d.flush()
	if c.Flow == nil || len(d.open) == 0 || c.Guessed || c.Flow.Mid {
		return
	}
	does := "connected to "
	switch c.Flow.Proto {
	case capture.ProtoTCP:
		if c.History == "" || c.History[0] != 'S' {
			return // no one knows who opened it
		}
		if c.Pkts[capture.Resp] == 0 || c.State == "REJ" {
			does = "tried to reach "
		}
	case capture.ProtoICMP:
		if c.Flow.Orig.Port() != 8 {
			return // an answer or an error
		}
		does = "pinged "
	case capture.ProtoICMPv6:
		if c.Flow.Orig.Port() != 128 {
			return
		}
		does = "pinged "
	}
	d.raw(c.Flow, c.At, does, c.Services)
}

func (d *detector) progress(p *capture.Progress) {
	d.flush()
	if p.Flow == nil || len(d.open) == 0 || p.Guessed || p.Flow.Mid || p.Flow.Proto != capture.ProtoTCP {
		return
	}
	d.raw(p.Flow, p.At, "connected to ", nil)
}

// raw is a flow to an address. What HTTP or TLS call by name is not judged by an address that many names have.
func (d *detector) raw(f *capture.Flow, at capture.At, does string, services []string) {
	a := f.Resp.Addr().Unmap()
	c := contact{at: capture.At{Time: f.Start, Packet: at.Packet}, flow: f, to: host{addr: a}, does: does, rank: rankFlow, ids: "AML.T0072 T1095"}
	if !d.isNamed(c.to) {
		b := d.bounds.Get(a)
		if b == nil || f.Start < b.at || slices.Contains(services, "http") || slices.Contains(services, "ssl") || slices.Contains(services, "quic") {
			return
		}
		c.to = b.to
	}
	d.contact(c)
}
