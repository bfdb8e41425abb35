package campaign

import (
	"crypto/sha256"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

const (
	// Of one incident. A story of more than 48 steps is read in notice.log; what is more is counted.
	maxSteps   = 48
	maxJobs    = 32
	maxParties = 32
	maxMerged  = 16
	// Like steps of one machine that are told apart.
	maxLike = 6
)

// state is what became of an entry, from what proves least.
type state uint8

const (
	insider  state = iota // a job from inside
	tried                 // refused, failed, or an entry that runs nothing
	unseen                // no answer was seen
	accepted              // code ran
)

// entries says what a state adds to the score.
var entries = [...]struct {
	points int
	name   string
}{
	insider:  {15, "suspicious job from inside"},
	tried:    {10, "entry tried"},
	unseen:   {25, "entry without an answer seen"},
	accepted: {35, "entry from outside succeeded"},
}

// Further parts of the score.
const (
	dropperPoints = 10 // the job itself fetches, hides or mines
	victimPoints  = 5  // each machine beyond the first, twice at most
)

// job is an entry: what may cause the rest.
type job struct {
	at       capture.At
	uid      string
	attacker netip.Addr
	victim   netip.Addr
	hosts    []netip.Addr // that may have run it
	state    state
	dropper  bool
	command  string // excerpt, masked
	what     [sha256.Size]byte
	inc      *incident
}

// step is a step and what it proves.
type step struct {
	detectors.Step
	until  capture.Time // when it was done last
	rank   int
	groups uint32 // what it counts as: bits by group
	sev    detectors.Severity
	sure   bool
	grave  bool
	link   bool // a host that the job names
	entry  bool
	look   bool
	state  state
	named  string // how it is tied to the job, for the sentence
	ids    []string
	other  netip.Addr
	name   string // that was looked up or called
	port   uint16
	found  tally // of one that nobody is known to have caused
}

// weaken makes a hint of a step.
func (s *step) weaken() {
	s.link, s.sure, s.grave, s.groups, s.sev = false, false, false, 1<<detectors.GroupHint, min(s.sev, detectors.Low)
}

// add makes a step mean what another kind means, too.
func (s *step) add(k detectors.Story) {
	s.groups |= 1 << k.Group
	s.ids = append(s.ids, k.Techniques...)
}

// stepOf makes a step of a finding.
func (d *detector) stepOf(f *detectors.Finding, k detectors.Story, who, other netip.Addr) step {
	s := step{
		Step: detectors.Step{At: f.At, Who: who, Count: 1}, rank: rankFinding, groups: 1 << k.Group, sev: f.Severity,
		sure: k.Sure, grave: k.Grave, entry: k.Role == detectors.RoleEntry, look: k.Role == detectors.RoleBefore, ids: slices.Clone(k.Techniques), other: other,
		port: f.Port,
	}
	s.Finding = f.SaidAs()
	s.found.add(f)
	if f.Flow != nil {
		s.UID = f.Flow.UID
	}
	if k.Fetches {
		s.rank = rankWeb // what the other rules call the same request is plainer
	}
	to := other.String()
	if !other.IsValid() || detectors.Special(other) {
		to = "the network"
	} else if f.Port != 0 && k.Group != detectors.GroupFetch {
		to = netip.AddrPortFrom(other, f.Port).String()
	}
	switch name := d.nameOf(other); {
	case k.Group == detectors.GroupFetch && len(f.Evidence) > 0 && f.Evidence[0].Field == "request":
		_, url, _ := strings.Cut(f.Evidence[0].Value, " ")
		to = detectors.Clip(url, 120)
	case k.Named && len(f.Evidence) > 0:
		to = detectors.Clip(f.Evidence[0].Value, 120)
		s.name = to
	case name != "":
		to = detectors.Clip(name, 120) + " (" + to + ")"
	}
	does := k.Does
	switch {
	case (s.entry || k.Group == detectors.GroupSpread) && f.Outcome == detectors.Attempted:
		does = "tried to get into %"
	case (s.entry || k.Group == detectors.GroupSpread) && f.Outcome == detectors.Unknown:
		does += " (no answer seen)"
	}
	s.What = strings.Replace(does, "%", to, 1)
	return s
}

// incident is a story as it grows.
type incident struct {
	id          string
	first, last capture.At
	attackers   []netip.Addr // outside
	insiders    []netip.Addr
	victims     []netip.Addr
	others      []detectors.Party
	jobs        []*job
	steps       []step
	more        int
	found       tally
	groups      uint32                // of what is beside the steps
	extraIDs    []string              // techniques of these
	old         map[netip.Addr]uint32 // groups that a machine showed before
	merged      []string

	severity detectors.Severity // 0: none yet
	score    int
	why      []string
	tactics  uint32
	src, dst netip.Addr // whom the finding accuses, and of whom
	port     uint16

	// What was said of it: the finding of campaign/chain, under one name, and rows of incidents.log.
	said        detectors.Severity
	saidTactics uint32
	saidAt      capture.Time
	saidSize    size
	name        string // of the finding
	told        int    // its revision
	revision    int    // of the rows
	owed        bool   // it takes the place of one that was told of

	queued bool
	closed bool
	into   *incident
}

// incidentID is a hash of what it began with, which names itself so that every capture of the same packets agrees.
func incidentID(f *detectors.Finding) string { return capture.NewUID('I', []byte(f.ID())) }

func known(list *[]netip.Addr, a netip.Addr) {
	if a.IsValid() && len(*list) < maxParties && !slices.Contains(*list, a) {
		*list = append(*list, a)
	}
}

func (x *incident) victim(a netip.Addr) { known(&x.victims, a) }

func (x *incident) attacker(a netip.Addr, outside bool) {
	if outside {
		known(&x.attackers, a)
	} else if !slices.Contains(x.victims, a) {
		known(&x.insiders, a)
	}
}

func (x *incident) other(p detectors.Party) {
	if slices.Contains(x.attackers, p.Addr) || slices.Contains(x.victims, p.Addr) {
		return
	}
	for i := range x.others {
		if o := &x.others[i]; o.Addr == p.Addr {
			if o.Role == "named host" {
				o.Role = p.Role
			}
			if o.Name == "" {
				o.Name = p.Name
			}
			return
		}
	}
	if len(x.others) < maxParties {
		x.others = append(x.others, p)
	}
}

// job gives the job of an entry finding, new if it is the first on its request.
func (x *incident) job(f *detectors.Finding, src, dst netip.Addr, st state) *job {
	uid := ""
	if f.Flow != nil {
		uid = f.Flow.UID
	}
	if j := x.jobAt(uid, f.Packet); j != nil && uid != "" {
		j.state = max(j.state, st)
		return j
	}
	j := &job{at: f.At, uid: uid, attacker: src, victim: dst, hosts: []netip.Addr{dst}, state: st, inc: x}
	if len(x.jobs) >= maxJobs {
		x.jobs = slices.Delete(x.jobs, 1, 2) // the first is how it began
	}
	x.jobs = append(x.jobs, j)
	return j
}

func (x *incident) jobAt(uid string, packet uint64) *job {
	for _, j := range x.jobs {
		if j.uid == uid && j.at.Packet == packet {
			return j
		}
	}
	return nil
}

// before gives the job that proves most of those that a machine took before at.
func (x *incident) before(who netip.Addr, at capture.Time) *job {
	var best *job
	for _, j := range x.jobs {
		if j.at.Time <= at && slices.Contains(j.hosts, who) && (best == nil || j.state > best.state) {
			best = j
		}
	}
	return best
}

// taken is the job that proves most of those before at, on any machine.
func (x *incident) taken(at capture.Time) *job {
	var best *job
	for _, j := range x.jobs {
		if j.at.Time <= at && (best == nil || j.state > best.state) {
			best = j
		}
	}
	return best
}

// best is the state of the entry that got furthest.
func (x *incident) best() state {
	best := insider
	for _, j := range x.jobs {
		best = max(best, j.state)
	}
	return best
}

// habit notes what a machine did before.
func (x *incident) habit(who netip.Addr, groups uint32) {
	if x.old == nil {
		x.old = map[netip.Addr]uint32{}
	}
	if _, ok := x.old[who]; ok || len(x.old) < maxParties {
		x.old[who] |= groups
	}
}

func (x *incident) habits(who netip.Addr, groups uint32) bool { return groups&^x.old[who] == 0 }

// extra takes what is no step of its own.
func (x *incident) extra(k detectors.Story) {
	x.groups |= 1 << k.Group
	for _, id := range k.Techniques {
		if !slices.Contains(x.extraIDs, id) {
			x.extraIDs = append(x.extraIDs, id)
		}
	}
}

// add takes a step, and says whether it was news. What is known of the same flow or was done before the same way is one
// step, told by what says most.
func (x *incident) add(s step) bool {
	if s.Time > x.last.Time || s.Time == x.last.Time && s.Packet > x.last.Packet {
		x.last = s.At
	}
	if s.Time < x.first.Time {
		x.first = s.At
	}
	s.until = max(s.until, s.Time)
	like := 0
	at := -1
	for i := range x.steps {
		o := &x.steps[i]
		if o.Who != s.Who || o.entry != s.entry || o.look != s.look {
			continue
		}
		if o.What == s.What || s.UID != "" && o.UID == s.UID || o.same(&s) {
			was := x.before(o.Who, o.until)
			news := o.merge(&s)
			return news || x.before(o.Who, o.until) != was // done again, after another job
		}
		if o.groups == s.groups && o.other == s.other {
			like, at = like+1, i
		}
	}
	if like >= maxLike {
		x.steps[at].Count++
		return false
	}
	if len(x.steps) >= maxSteps {
		x.more++
		return false
	}
	x.steps = append(x.steps, s)
	return true
}

// same says that one of two steps adds nothing to the story: a flow beside what was called in others to that host, or a
// look-up of what is told already.
func (o *step) same(s *step) bool {
	return o.link && s.link && (o.other == s.other && (o.rank == rankFlow) != (s.rank == rankFlow) ||
		o.name != "" && o.name == s.name && s.rank == rankHello)
}

// merge takes what another step of the same flow or kind adds.
func (o *step) merge(s *step) bool {
	groups, sev, link, st := o.groups|s.groups, max(o.sev, s.sev), o.link || s.link, max(o.state, s.state)
	news := groups != o.groups || sev != o.sev || link != o.link || st != o.state
	if s.rank > o.rank || s.rank == o.rank && (s.entry && s.state > o.state || !o.entry && !o.look && s.sev > o.sev) {
		if s.What != o.What {
			o.Count = s.Count
		}
		o.What, o.rank, o.At, o.UID = s.What, s.rank, s.At, s.UID
		if s.Finding != "" {
			o.Finding = s.Finding
		}
	} else if o.What == s.What && s.rank < rankFinding && o.UID != s.UID {
		o.Count++ // findings that repeat themselves are about one thing
	}
	if o.Finding == "" {
		o.Finding = s.Finding
	}
	o.groups, o.sev, o.link, o.state = groups, sev, link, st
	o.until = max(o.until, s.until)
	o.sure, o.grave = o.sure || s.sure, o.grave || s.grave
	if o.named == "" {
		o.named = s.named
	}
	for _, id := range s.ids {
		if !slices.Contains(o.ids, id) {
			o.ids = append(o.ids, id)
		}
	}
	return news
}

// swallow takes over another incident.
func (x *incident) swallow(y *incident) {
	for _, a := range y.attackers {
		x.attacker(a, true)
	}
	for _, a := range y.insiders {
		x.attacker(a, false)
	}
	for _, a := range y.victims {
		x.victim(a)
	}
	for _, p := range y.others {
		x.other(p)
	}
	x.jobs = append(x.jobs, y.jobs...)
	sort.SliceStable(x.jobs, func(i, j int) bool { return x.jobs[i].at.Time < x.jobs[j].at.Time })
	for len(x.jobs) > maxJobs {
		x.jobs = slices.Delete(x.jobs, 1, 2)
	}
	for _, s := range y.steps {
		x.add(s)
	}
	for _, a := range y.victims {
		if g := y.old[a]; g != 0 {
			x.habit(a, g)
		}
	}
	x.more += y.more
	x.found.join(&y.found)
	x.groups |= y.groups
	for _, id := range y.extraIDs {
		if !slices.Contains(x.extraIDs, id) {
			x.extraIDs = append(x.extraIDs, id)
		}
	}
	x.merged = append(append(x.merged, y.id), y.merged...)
	x.merged = x.merged[:min(len(x.merged), maxMerged)]
	if x.name == "" {
		x.name, x.told = y.name, y.told
	}
	x.owed = x.owed || x.revision == 0 && y.revision > 0
	x.said, x.saidTactics, x.saidAt = max(x.said, y.said), x.saidTactics|y.saidTactics, max(x.saidAt, y.saidAt)
	y.into = x
}

// size tells whether an incident has grown.
type size struct{ steps, more, found, victims, attackers, others, score int }

func (x *incident) size() size {
	return size{len(x.steps), x.more, x.found.n, len(x.victims), len(x.attackers) + len(x.insiders), len(x.others), x.score}
}

// fresh says that a tactic was passed that was not told.
func (x *incident) fresh() bool { return x.said > 0 && x.tactics&^x.saidTactics != 0 }

// judge makes severity, score and tactics of what is known.
func (x *incident) judge(d *detector) {
	groups := x.groups
	v := verdict{d: d, x: x}
	sort.SliceStable(x.steps, func(i, j int) bool {
		a, b := &x.steps[i], &x.steps[j]
		return a.Time < b.Time || a.Time == b.Time && a.Packet < b.Packet
	})
	var graves []*step
	for i := range x.steps {
		s := &x.steps[i]
		groups |= s.groups
		if s.entry && s.state == tried {
			v.pass(s.ids, "Initial Access")
		} else {
			v.pass(s.ids)
		}
		if s.look || s.entry && !s.grave {
			continue
		}
		if s.grave && s.sev >= detectors.High {
			graves = append(graves, s)
		}
		if j := x.before(s.Who, s.until); j != nil {
			v.step(s, j)
		}
	}
	if v.best == 0 && len(x.jobs) == 0 && len(graves) > 1 {
		v.best = detectors.Medium
		if x.severity == 0 {
			x.src, x.dst = graves[0].Who, graves[1].other
		}
	}
	v.pass(x.extraIDs)
	x.severity, x.tactics = max(x.severity, v.best), v.tactics
	x.rate(groups)
}

// verdict is what the steps of an incident amount to.
type verdict struct {
	d        *detector
	x        *incident
	best     detectors.Severity
	tactics  uint32
	doubtful [4]uint32 // by state: groups of what may be honest
}

// pass adds the tactics of techniques; with only, those of these names.
func (v *verdict) pass(ids []string, only ...string) {
	for _, id := range ids {
		for _, t := range v.d.tech[id] {
			if len(only) == 0 || slices.Contains(only, tacticNames[t].Name) {
				v.tactics |= 1 << t
			}
		}
	}
}

// accuse raises the severity to that of what followed job j, whose two sides the incident is between then.
func (v *verdict) accuse(sev detectors.Severity, j *job) {
	if sev <= v.best {
		return
	}
	v.best = sev
	if x := v.x; sev > x.severity {
		x.src, x.dst, x.port = j.attacker, j.victim, 0
		if e := x.entryOf(j); e != nil {
			x.port = e.port
		}
	}
}

// step weighs s by the state of the job j that came before it.
func (v *verdict) step(s *step, j *job) {
	began := s.Time
	if began < j.at.Time {
		began = s.until
	}
	near := began.Sub(j.at.Time) <= v.d.cfg.Follow
	medium := s.sev >= detectors.Medium
	switch j.state {
	case accepted:
		if s.link || s.sure && medium {
			v.accuse(detectors.Critical, j)
		} else if medium && near {
			v.doubtful[accepted] |= s.groups
			v.accuse(detectors.High, j)
		}
	case unseen:
		if s.link {
			v.accuse(detectors.Critical, j)
		} else if s.sure && medium {
			v.accuse(detectors.High, j)
		} else if medium && near {
			v.doubtful[unseen] |= s.groups
		}
	case tried:
		if s.link || s.sure && s.grave && s.sev >= detectors.High && near {
			v.accuse(detectors.High, j)
		}
	case insider:
		if s.grave && s.sev >= detectors.High {
			v.accuse(detectors.High, j)
		}
	}
	if n := bits.OnesCount32(v.doubtful[j.state]); n > 1 {
		v.accuse(detectors.High+detectors.Severity(j.state-unseen), j)
	}
}

// rate adds the score up.
func (x *incident) rate(groups uint32) {
	x.score, x.why = 0, x.why[:0]
	add := func(points int, name string) {
		if points > 0 {
			x.score += points
			x.why = append(x.why, name+" "+itoa(points))
		}
	}
	dropper := false
	for _, j := range x.jobs {
		dropper = dropper || j.dropper
	}
	if len(x.jobs) > 0 {
		e := entries[x.best()]
		add(e.points, e.name)
	}
	if dropper {
		add(dropperPoints, "the job fetches or hides code")
	}
	for g := range parts {
		if groups&(1<<g) != 0 {
			add(parts[g].points, parts[g].name)
		}
	}
	if n := min(len(x.victims)-1, 2); n > 0 {
		add(n*victimPoints, "further machines")
	}
	x.score = min(x.score, 100)
}

// entryOf gives the step of a job.
func (x *incident) entryOf(j *job) *step {
	for i := range x.steps {
		if s := &x.steps[i]; s.entry && s.UID == j.uid && s.Who == j.attacker {
			return s
		}
	}
	return nil
}

// tacticNames are the tactics in the order of the matrix; a set of them is bits by place.
var tacticNames = data.Tactics()

// tacticsOf reads the tactics of the techniques that the rules name, and of those of contacts.
func tacticsOf(kinds map[string]detectors.Story) map[string][]int {
	m := map[string][]int{}
	ids := strings.Fields("T1071.004 T1573 T1090 T1095 T1105 T1016 T1041 T1552.005 AML.T0072 AML.T0055 AML.T0025 AML.T0006.002 T1595")
	ids = append(ids, outbound.Techniques...)
	for _, k := range kinds {
		ids = append(ids, k.Techniques...)
	}
	for _, id := range ids {
		if m[id] != nil {
			continue
		}
		_, tactics, _ := data.Technique(id)
		for _, name := range strings.Split(tactics, "; ") {
			for i, t := range tacticNames {
				if t.Name == name {
					m[id] = append(m[id], i)
				}
			}
		}
	}
	return m
}

// lasted is how long the story took.
func (x *incident) lasted() time.Duration { return x.last.Time.Sub(x.first.Time) }
