// Package jobsubmit judges jobs that are submitted to Ray: by whom, with what in them, and in which disguise.
//
// In: *ray.Call, those to KubeRay's API server and to the Kubernetes API among them, where a RayJob or RayCluster is a job as
// well: whoever may create one runs a command or an image of his choice. Out: findings of five rules.
//
//	jobsubmit/external  somebody outside the home networks submits a job
//	jobsubmit/dropper   the job fetches and runs, decodes and runs, opens a shell or mines
//	jobsubmit/outbound  a home machine submits a job to a Ray outside, as a worm does
//	jobsubmit/browser   a browser submits it on behalf of a foreign page (CSRF, DNS rebinding)
//	jobsubmit/evasive   the request is encoded in a way that only hides
//
// Severity follows the outcome: what a server refused is at least one step below what it took. A job whose command was not
// seen, because the request or its body was lost, is a step lower too; that there was one, the answer says. A job that passes a
// proxy, or that the head hands to an agent, is seen more than once; it is reported for the pair that it came from,
// and the inner hop says nothing by itself.
//
// The dropper rule adds up what the command and the runtime_env would do, as package command reads them. It does not
// see what a script that comes from elsewhere does.
//
// It does not see jobs over gRPC (Ray Client, GCS) or TLS.
package jobsubmit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/command"
	"github.com/raytap/raytap/detectors/rayfinding"
	"github.com/raytap/raytap/interpreters/ray"
)

const (
	// Hosts that took a job, and jobs that may come by again: far more than a network has clusters. Entries are small.
	maxHosts = 4096
	maxJobs  = 4096
	// Submissions from inside that wait for an outer hop. Only those wait that would be reported.
	maxHeld = 64
	// A proxy answers after its upstream did, so the outer hop is complete a moment after the inner one. A job's
	// submission takes at most a few seconds.
	holdFor = 5 * time.Second
	linkFor = 30 * time.Second
	// How long ago a host may have taken a job to be called infected when it submits one itself.
	wormFor = 24 * time.Hour

	maxEvidence = 400 // of one piece of text
	maxSentence = 160 // of the command in a sentence
)

// Spec is the detector.
func Spec() detectors.Spec {
	return detectors.Spec{Name: "jobsubmit", Rules: rules, New: newDetector}
}

var rules = []detectors.Rule{
	{
		Name: "jobsubmit/external", Note: "Job_Submit_External", Severity: detectors.Critical,
		Says: "A host outside the home networks submitted a job to a Ray cluster, which runs any command it " +
			"receives, or created a job or cluster through KubeRay or Kubernetes.",
		ATLAS:  []string{"AML.T0049", "AML.T0050", "AML.T0132"},
		ATTACK: []string{"T1190", "T1059.004", "T1059.006"},
		Needs: "The cleartext HTTP request to the dashboard (8265), an agent (52365), KubeRay's API server, the " +
			"Kubernetes API or a proxy; the response for the outcome. If the request was lost, a response that names the job " +
			"is enough, at one severity lower.",
		FalsePositives: "Users who submit jobs over the Internet on purpose; home networks missing from the configuration.",
		Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry, Runs: true,
			Does: "ran a job on %", Techniques: []string{"AML.T0049", "AML.T0050", "AML.T0132", "T1190", "T1059.004"},
		},
	},
	{
		Name: "jobsubmit/dropper", Note: "Job_Submit_Dropper", Severity: detectors.High,
		Says:   "A job's command or runtime_env fetches and runs code, decodes and runs it, opens a shell or mines.",
		ATLAS:  []string{"AML.T0050", "AML.T0049"},
		ATTACK: []string{"T1059.004", "T1059.006", "T1105", "T1027.013"},
		Needs:  "The submission's body in clear text.",
		FalsePositives: "Low: scripts run over TLS from a personal repository, a bucket or a name that is not on the list of " +
			"vendors; cron jobs; jobs that read keys. Medium: a program from such a place that runs from /tmp. High: the " +
			"same without TLS, from a name for which no lookup was seen or from one of your own public addresses that is not " +
			"in the home networks; security tests and exercises.",
		Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry, Runs: true, Fetches: true,
			Does: "ran a job that fetches or hides code on %", Techniques: []string{"AML.T0049", "AML.T0050", "T1190", "T1059.004"},
		},
	},
	{
		Name: "jobsubmit/outbound", Note: "Job_Submit_Outbound", Severity: detectors.Critical,
		Says: "A home machine submitted a job to a Ray cluster outside. If it had itself received a job before, " +
			"this is how a worm spreads.",
		ATLAS:          []string{"AML.T0122", "AML.T0049"},
		ATTACK:         []string{"T1210", "T1570"},
		Needs:          "The HTTP request in clear text.",
		FalsePositives: "Users of a cluster at a public address that is not in the home networks.",
		Story: detectors.Story{Group: detectors.GroupSpread, Sure: true, Grave: true,
			Does: "ran a job on %", Other: "further target", Techniques: []string{"AML.T0122", "T1210", "T1570"},
		},
	},
	{
		Name: "jobsubmit/browser", Note: "Job_Submit_Browser", Severity: detectors.Critical,
		Says: "A browser submitted a job for a page that is not part of Ray: cross-site request forgery or DNS " +
			"rebinding.",
		ATLAS:          []string{"AML.T0049"},
		ATTACK:         []string{"T1189", "T1190"},
		Needs:          "The request's headers in clear text.",
		FalsePositives: "An internal portal that submits jobs from its pages.",
		Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry, Runs: true, Page: true,
			Does: "was made by a foreign page to run a job on %", Techniques: []string{"AML.T0049", "AML.T0050", "T1189", "T1190"},
		},
	},
	{
		Name: "jobsubmit/evasive", Note: "Job_Submit_Evasive", Severity: detectors.Medium,
		Says:           "A job submission is encoded in a way that no Ray client uses and that hides it from inspection.",
		ATLAS:          []string{"AML.T0049"},
		ATTACK:         []string{"T1027", "T1190"},
		Needs:          "The request in clear text.",
		FalsePositives: "Hand-written clients that compress or chunk small requests.",
		Story: detectors.Story{Role: detectors.RoleAside, Group: detectors.GroupEvasion,
			Techniques: []string{"T1027"},
		},
	},
}

type jobKey [sha256.Size]byte

// received is what is known of a host that took a job.
type received struct {
	at   capture.At
	from netip.Addr
	what jobKey
}

// sent is a submission that may come by again as an inner hop.
type sent struct {
	at  capture.Time
	dst netip.Addr
	id  string     // bounded by the decoder
	via netip.Addr // the balancer that named the sender; not valid: none did
}

type held struct {
	c   *ray.Call
	v   *command.Report
	key jobKey
}

type detector struct {
	env   *detectors.Env
	bus   *detectors.Bus
	judge *command.Judge
	names *command.Names
	took  detectors.Table[netip.Addr, received]
	jobs  detectors.Table[jobKey, sent]
	wait  []held
	now   capture.Time
}

func newDetector(env *detectors.Env, bus *detectors.Bus) {
	d := &detector{env: env, bus: bus}
	d.took.Limit, d.jobs.Limit = maxHosts, maxJobs
	d.names = command.NamesOf(env, bus)
	d.judge = command.New(env.Home, d.names.Inside)
	detectors.On(bus, d.call)
	// Anything that moves on in time lets waiting hops go.
	detectors.On(bus, func(t *http.Transaction) { d.clock(latest(t)) })
	detectors.On(bus, func(p *capture.Progress) { d.clock(p.Time) })
	detectors.On(bus, d.ended)
}

// latest is the time of the last packet of a transaction: its own time is that of its beginning.
func latest(t *http.Transaction) capture.Time {
	now := t.Time
	if t.Response != nil {
		now = max(now, t.Response.Time, t.Response.Done.Time)
	}
	return now
}

func (d *detector) clock(now capture.Time) {
	d.now = max(d.now, now)
	for len(d.wait) > 0 && d.now.Sub(d.wait[0].c.Time) > holdFor {
		h := d.wait[0]
		d.wait = d.wait[1:]
		d.report(h.c, h.v, h.key)
	}
}

// ended lets go what waited in a flow that is over: flows linger for longer than a proxy takes to answer, and the end
// of the capture ends all of them.
func (d *detector) ended(c *capture.Conn) {
	d.clock(c.Time)
	for i := 0; i < len(d.wait); i++ {
		if h := d.wait[i]; c.Flow != nil && h.c.Flow.UID == c.Flow.UID {
			d.wait = append(d.wait[:i:i], d.wait[i+1:]...)
			d.report(h.c, h.v, h.key)
			i--
		}
	}
}

func (d *detector) call(c *ray.Call) {
	if c.Tx != nil {
		d.clock(latest(c.Tx))
	}
	if c.Flow == nil || !c.Job && !c.Cluster && len(c.Apps) == 0 && len(c.Pods) == 0 {
		return
	}
	src, dst := c.Flow.Orig.Addr().Unmap(), c.Flow.Resp.Addr().Unmap()
	inside := d.env.Home.Contains(src) && d.env.Home.Contains(dst)
	key := jobKey(sha256.Sum256([]byte(c.Entrypoint)))
	job := c.Job && c.Entrypoint != ""
	// What a balancer is sent, it sends on, and says for whom (PROXY protocol).
	var balancer netip.Addr
	if via := c.Flow.Via; via != nil && via.Believed {
		balancer = c.Flow.Wire().Orig.Addr().Unmap()
	}
	if s := d.jobs.Get(key); job && s != nil && (inside && sentOn(c, s, src) || balanced(c, s, dst, balancer)) {
		d.remember(c, key, src, dst) // what was said already
		return
	}
	v := assess(d.judge, c)
	d.bus.LookWork += uint64(v.Work())
	if v.Short {
		d.bus.LooksCut++
	}
	if job {
		d.dropInner(c, key, dst)
		*d.jobs.Put(key) = sent{c.Time, dst, c.SubmissionID, balancer}
	}
	if c.Job && inside && (v.Score() >= lowest || len(c.Evasions) > 0) {
		// Whoever sent this may be a proxy of ours: wait a moment before it is accused.
		d.remember(c, key, src, dst)
		if len(d.wait) >= maxHeld {
			h := d.wait[0]
			d.wait = d.wait[1:]
			d.report(h.c, h.v, h.key)
		}
		d.wait = append(d.wait, held{c, v, key})
		return
	}
	d.report(c, v, key)
	d.remember(c, key, src, dst)
}

// sentOn reports whether src sends on the job s that it was sent. A worm does, too; an inner hop bears the marks of one, or
// the same id.
func sentOn(c *ray.Call, s *sent, src netip.Addr) bool {
	return s.dst == src && c.Time.Sub(s.at) < linkFor &&
		(c.Proxied || c.Client == ray.Internal || c.SubmissionID != "" && c.SubmissionID == s.id)
}

// balanced reports whether the call is the job s on the other one of a balancer's two connections, of which either may be
// complete first.
func balanced(c *ray.Call, s *sent, dst, balancer netip.Addr) bool {
	return max(c.Time.Sub(s.at), s.at.Sub(c.Time)) < linkFor &&
		(balancer.IsValid() && s.dst == balancer || s.via.IsValid() && s.via == dst)
}

// dropInner drops the inner hop of the job that was sent to dst, where it waits: it begins later than the outer one and is
// complete before it.
func (d *detector) dropInner(c *ray.Call, key jobKey, dst netip.Addr) {
	for i := range d.wait {
		if w := d.wait[i]; w.key == key && w.c.Flow.Orig.Addr().Unmap() == dst && w.c.Time >= c.Time && w.c.Time.Sub(c.Time) < linkFor {
			d.wait = append(d.wait[:i:i], d.wait[i+1:]...)
			return
		}
	}
}

// remember notes that dst took a job.
func (d *detector) remember(c *ray.Call, key jobKey, src, dst netip.Addr) {
	if !c.Job || c.Outcome != ray.Executed && c.Outcome != ray.Unknown {
		return
	}
	*d.took.Put(dst) = received{c.At, src, key}
}

func (d *detector) report(c *ray.Call, v *command.Report, key jobKey) {
	j := &submission{Call: c, v: v, hash: key}
	if c.Job || c.Cluster {
		d.external(j)
		d.outbound(j)
		d.browser(j)
		d.evasive(j)
	}
	d.dropper(j)
}

// submission is a call that is reported, with what its findings share.
type submission struct {
	*ray.Call
	v    *command.Report
	hash jobKey // of the entrypoint
	key  string
	told string // the entrypoint, as evidence has it
}

// severity picks by outcome. What is not Ray at all cannot have taken anything.
func severity(o ray.Outcome, done, unseen, tried, foreign detectors.Severity) (detectors.Severity, detectors.Outcome) {
	switch o {
	case ray.Executed, ray.Answered:
		return done, detectors.Succeeded
	case ray.Unknown:
		return unseen, detectors.Unknown
	case ray.NotRay:
		return foreign, detectors.Attempted
	}
	return tried, detectors.Attempted
}

func (d *detector) external(j *submission) {
	c, v := j.Call, j.v
	src := c.Flow.Orig.Addr()
	if d.env.Inside(src) || detectors.Special(src) {
		return
	}
	if c.Outcome == ray.NotRay && v.Score() < threshold && c.Status < 400 {
		return // somebody else's endpoint took what looks like a job, and answered in its own words
	}
	sev, out := severity(c.Outcome, detectors.Critical, detectors.High, detectors.Medium, detectors.Low)
	if c.Unread != "" && c.Entrypoint == "" && out != detectors.Attempted {
		// The command was not seen: a step lower. That it is a job, the answer says, or nothing but a path and that it was
		// taken.
		if sev--; c.SubmissionID == "" && c.JobID == "" || c.Path == "" {
			sev = min(sev, detectors.Medium)
		}
	}
	conf := 95
	switch {
	case c.Outcome == ray.NotRay:
		conf = 40
	case c.Auth != "none" && c.Auth != "":
		conf = 75 // whoever it is may have been given a token
	case !c.Confirmed:
		conf = 70
	}
	d.say(j, "jobsubmit/external", sev, conf, out, func(f *detectors.Finding) {
		f.Msg = tell(c)
		j.evidence(f, v)
	})
}

func (d *detector) outbound(j *submission) {
	c, v := j.Call, j.v
	src, dst := c.Flow.Orig.Addr().Unmap(), c.Flow.Resp.Addr().Unmap()
	if !d.env.Home.Contains(src) || d.env.Home.Contains(dst) || detectors.Special(dst) {
		return
	}
	took := d.took.Get(src)
	worm := took != nil && c.Time.Sub(took.at.Time) < wormFor
	if c.Outcome == ray.NotRay && !worm && v.Score() < threshold {
		return
	}
	sev, out := severity(c.Outcome, detectors.Critical, detectors.High, detectors.High, detectors.Medium)
	conf := 85
	if worm {
		conf = 95
	} else if (c.Client == ray.SDK || c.Client == ray.KubeRay) && v.Score() < threshold {
		// Somebody's cluster in a cloud, reached by its public address, looks like this.
		sev, conf = sev-1, 60
		if c.Auth != "none" {
			sev, conf = sev-1, 40
		}
	}
	d.say(j, "jobsubmit/outbound", sev, conf, out, func(f *detectors.Finding) {
		f.Msg = tell(c)
		if worm {
			f.Sub = fmt.Sprintf("%s was given a job itself by %s in packet %d", src, took.from, took.at.Packet)
			if took.what == j.hash {
				f.Sub += ", with the same command"
			}
		}
		j.evidence(f, v)
		if worm {
			f.Evidence = append(f.Evidence, detectors.Evidence{Field: "earlier job", Value: "from " + took.from.String(), Packet: took.at.Packet})
		}
	})
}

func (d *detector) dropper(j *submission) {
	c, v := j.Call, j.v
	score := v.Score()
	src, dst := c.Flow.Orig.Addr().Unmap(), c.Flow.Resp.Addr().Unmap()
	foreign := !d.env.Inside(src)
	outside := foreign || !d.env.Home.Contains(dst)
	if score < lowest {
		return
	}
	var sev detectors.Severity
	var out detectors.Outcome
	switch {
	case foreign, outside && score >= threshold:
		sev, out = severity(c.Outcome, detectors.Critical, detectors.High, detectors.High, detectors.Medium)
	case score >= command.Certain:
		sev, out = severity(c.Outcome, detectors.High, detectors.High, detectors.Medium, detectors.Low)
	case score < threshold: // what users do, too: for the record
		sev, out = severity(c.Outcome, detectors.Low, detectors.Low, detectors.Low, detectors.Low)
	default: // a script of somebody's, run by somebody of ours
		sev, out = severity(c.Outcome, detectors.Medium, detectors.Medium, detectors.Low, detectors.Low)
	}
	d.say(j, "jobsubmit/dropper", sev, min(50+score/3, 98), out, func(f *detectors.Finding) {
		b := v.Best()
		what := "job"
		switch {
		case c.Cluster:
			what = "Ray cluster"
		case !c.Job:
			what = "Serve application"
		}
		f.Msg = fmt.Sprintf("A %s that %s submitted to %s %s", what, src, rayfinding.Server(c), b.Says)
		if c.Entrypoint != "" {
			f.Msg += ": " + entrypoint(c)
		} else if b.What != "" {
			f.Msg += ": " + detectors.Clip(b.What, maxSentence)
		}
		f.Msg += refused(c)
		facts := v.Sorted()
		names := make([]string, 0, len(facts))
		for _, x := range facts {
			names = append(names, fmt.Sprintf("%s %d", x.Name, x.Points))
		}
		f.Sub = "score " + fmt.Sprint(score) + ": " + strings.Join(names, ", ") + partly(v)
		j.evidence(f, v)
		for _, x := range facts[:min(len(facts), 6)] {
			f.Evidence = append(f.Evidence, detectors.Evidence{Field: x.Where + " (" + x.Name + ")", Value: detectors.Clip(x.What, maxEvidence), Packet: body(c)})
		}
		for _, t := range v.Decoded[:min(len(v.Decoded), 3)] {
			f.Evidence = append(f.Evidence, detectors.Evidence{Field: "decoded", Value: detectors.Clip(first(t, 4*maxEvidence), maxEvidence), Packet: body(c)})
		}
	})
}

func (d *detector) browser(j *submission) {
	c := j.Call
	q := c.Tx.Request
	b := foreignPage(q, c)
	if b.why == "" || b.weak && d.names.Inside(b.page) {
		return // a name that only ever was an address at home: a portal of one's own, and no page of anybody else's
	}
	sev, out := severity(c.Outcome, detectors.Critical, detectors.High, detectors.High, detectors.Low)
	if b.weak {
		sev = max(sev, detectors.Medium) - 1
	}
	d.say(j, "jobsubmit/browser", sev, b.confidence, out, func(f *detectors.Finding) {
		page := "a foreign page"
		if b.page != "" {
			page = "a page of " + detectors.Clip(b.page, 80)
		}
		switch out {
		case detectors.Succeeded:
			f.Msg = fmt.Sprintf("%s made the browser at %s run a job on %s: %s", upper(page), f.Src, rayfinding.Server(c), entrypoint(c))
		case detectors.Unknown:
			f.Msg = fmt.Sprintf("%s made the browser at %s submit a job to %s: %s (no answer seen)", upper(page), f.Src, rayfinding.Server(c), entrypoint(c))
		default:
			f.Msg = fmt.Sprintf("%s made the browser at %s submit a job to %s: %s%s", upper(page), f.Src, rayfinding.Server(c), entrypoint(c), refused(c))
		}
		f.Sub = b.why
		j.evidence(f, nil)
		f.Evidence = append(f.Evidence, b.evidence...)
	})
}

func (d *detector) evasive(j *submission) {
	c := j.Call
	if len(c.Evasions) == 0 {
		return
	}
	sev, out := severity(c.Outcome, detectors.Medium, detectors.Medium, detectors.Low, detectors.Low)
	d.say(j, "jobsubmit/evasive", sev, min(60+15*len(c.Evasions), 95), out, func(f *detectors.Finding) {
		f.Msg = fmt.Sprintf("%s hid a job for %s behind %s: %s%s", f.Src, rayfinding.Server(c), describe(c.Evasions), entrypoint(c), refused(c))
		f.Sub = strings.Join(c.Evasions, ", ")
		j.evidence(f, nil)
		for _, e := range c.Evasions {
			f.Evidence = append(f.Evidence, detectors.Evidence{Field: "encoding", Value: e, Packet: body(c)})
		}
	})
}

func describe(ev []string) string {
	var out []string
	for _, e := range ev {
		name, arg, _ := strings.Cut(e, ":")
		switch name {
		case "escaped_key":
			name = "escapes in the keys of its JSON"
		case "escaped_text":
			name = "escapes of plain letters"
		case "duplicate_key":
			name = "keys that come twice"
		case "charset":
			name = "the charset " + arg
		case "padding":
			name = "padding"
		case "content_coding":
			name = "compression (" + arg + ")"
		case "unknown_coding":
			name = "an unknown content coding (" + arg + ")"
		case "tiny_chunks":
			name = "chunks of a few bytes"
		case "framing_conflict":
			name = "conflicting lengths"
		case "path_encoded":
			name = "an encoded path"
		case "path_dots":
			name = "dots in the path"
		case "path_slashes":
			name = "double slashes in the path"
		}
		out = append(out, name)
		if len(out) == 4 {
			break
		}
	}
	if n := len(out); n > 1 {
		return strings.Join(out[:n-1], ", ") + " and " + out[n-1]
	}
	return out[0]
}

// say says a finding of the job, and has it written where it stands alone.
func (d *detector) say(j *submission, rule string, sev detectors.Severity, conf int, out detectors.Outcome, write func(*detectors.Finding)) {
	x := detectors.Draft{
		Finding: &detectors.Finding{
			At: j.At, Rule: rule, Severity: sev, Confidence: conf, Outcome: out, Key: j.same(), Flow: j.Flow, Count: 1,
			Src: j.Flow.Orig.Addr().Unmap(), Dst: j.Flow.Resp.Addr().Unmap(), Port: j.Flow.Resp.Port(),
		},
		Write: write,
	}
	if strings.TrimSpace(j.Entrypoint) != "" {
		x.Tells = j.tells
	}
	d.bus.Draft(x)
}

// same is by what jobs are told apart: another command is another finding, however many came before it.
func (j *submission) same() string {
	if j.key != "" {
		return j.key
	}
	hash := j.hash
	if len(j.Apps) > 0 {
		what := sha256.New()
		_, _ = what.Write([]byte(j.Entrypoint))
		for _, a := range j.Apps {
			_, _ = what.Write([]byte("\x00" + a.Import))
		}
		what.Sum(hash[:0])
	}
	b := make([]byte, 0, 96)
	b = append(j.Flow.Orig.Addr().Unmap().AppendTo(b), ' ')
	b = append(j.Flow.Resp.Addr().Unmap().AppendTo(b), ' ')
	j.key = string(hex.AppendEncode(b, hash[:8]))
	return j.key
}

// command is the entrypoint as evidence has it, "" if it was not seen.
func (j *submission) command() string {
	if j.told == "" {
		j.told = detectors.Clip(j.Entrypoint, maxEvidence)
	}
	return j.told
}

// tells is what tells a job's finding from others of its kind.
func (j *submission) tells() detectors.Evidence {
	return detectors.Evidence{Field: "entrypoint", Value: j.command(), Packet: body(j.Call)}
}

// evidence fills what all rules share: the job and the answer.
func (j *submission) evidence(f *detectors.Finding, v *command.Report) {
	c := j.Call
	if f.Sub == "" && v != nil && v.Score() >= threshold {
		f.Sub = "the job " + v.Best().Says
	}
	ev := func(field, value string, packet uint64) {
		if strings.TrimSpace(value) != "" {
			f.Evidence = append(f.Evidence, detectors.Evidence{Field: field, Value: detectors.Clip(value, maxEvidence), Packet: packet})
		}
	}
	ev("request", detectors.Clip(c.Method+" "+c.Prefix+c.Path, 200), c.Packet)
	if strings.TrimSpace(c.Entrypoint) != "" {
		f.Evidence = append(f.Evidence, j.tells())
	}
	for i, u := range c.RuntimeEnv.URIs {
		if i < 3 {
			ev("runtime_env", u, body(c))
		}
	}
	for i, a := range c.Apps {
		if i < 3 {
			ev("import_path", a.Import, body(c))
		}
	}
	ev("object", c.Object, c.Packet)
	for i, p := range c.Pods {
		if i < 3 {
			ev("image", p.Image, body(c))
			ev("command of "+detectors.Clip(p.Name, 60), first(p.Command, 4*maxEvidence), body(c))
		}
	}
	ev("user_agent", c.UserAgent, c.Packet)
	if c.Unread != "" && c.Entrypoint != "" {
		ev("not seen", c.Unread+": what Ray took for the entrypoint may stand behind it", body(c))
	}
	if r := c.Tx.Response; r != nil {
		b := r.Body.Data
		b = b[:min(len(b), 200)]
		ev("answer", strings.TrimSpace(fmt.Sprintf("%d %s", r.Status, strings.ToValidUTF8(string(b), "\ufffd"))), r.Packet)
	}
}

// partly says that a job was too long or too deep to be read as a whole.
func partly(v *command.Report) string {
	if v.Cut {
		return "; not all of it was read"
	}
	return ""
}

// body is the packet in which the request's body was complete.
func body(c *ray.Call) uint64 {
	if p := c.Tx.Request.Done.Packet; p != 0 {
		return p
	}
	return c.Packet
}

// tell says in a sentence who ran what where.
func tell(c *ray.Call) string {
	src := c.Flow.Orig.Addr().Unmap()
	if c.Object != "" {
		what, how := "a job", c.Entrypoint == "" && !c.EntrypointCut
		if c.Cluster {
			what = "a Ray cluster"
		}
		said := detectors.Clip(c.Object, 100) + ": " + entrypoint(c)
		if how && len(c.Pods) > 0 {
			said = detectors.Clip(c.Object, 100) + ": " + pods(c)
		}
		switch c.Outcome {
		case ray.Executed:
			return fmt.Sprintf("%s had %s run by %s as %s", src, what, rayfinding.Server(c), said)
		case ray.Unknown:
			return fmt.Sprintf("%s asked %s for %s, %s (no answer seen)", src, rayfinding.Server(c), what, said)
		}
		return fmt.Sprintf("%s tried to have %s run by %s as %s%s", src, what, rayfinding.Server(c), said, refused(c))
	}
	switch c.Outcome {
	case ray.Executed:
		return fmt.Sprintf("%s ran a job on %s: %s", src, rayfinding.Server(c), entrypoint(c))
	case ray.Unknown:
		return fmt.Sprintf("%s submitted a job to %s: %s (no answer seen)", src, rayfinding.Server(c), entrypoint(c))
	case ray.NotRay:
		return fmt.Sprintf("%s sent a job for Ray to %s, which does not answer as Ray does: %s", src, c.Flow.Resp, entrypoint(c))
	}
	return fmt.Sprintf("%s tried to run a job on %s: %s%s", src, rayfinding.Server(c), entrypoint(c), refused(c))
}

// pods says what containers run.
func pods(c *ray.Call) string {
	for _, p := range c.Pods {
		if p.Command != "" {
			return detectors.Clip(first(p.Command, 4*maxSentence), maxSentence)
		}
	}
	return "image " + detectors.Clip(c.Pods[0].Image, maxSentence)
}

func entrypoint(c *ray.Call) string {
	if c.Entrypoint == "" {
		if c.Unread != "" {
			return "(command not seen: " + c.Unread + ")"
		}
		return "(command not seen)"
	}
	return detectors.Clip(first(c.Entrypoint, 4*maxSentence), maxSentence)
}

// first gives the first n bytes: masking all of a long text costs more than it shows.
func first(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "") }

// refused says why nothing came of a job, or nothing. An answer that Ray gives to a job that it does not take is a rejection
// rather than a refusal, and what is no Ray is told otherwise.
func refused(c *ray.Call) string {
	switch c.Outcome {
	case ray.Rejected:
		return fmt.Sprintf(" (rejected, %d)", c.Status)
	case ray.NotRay:
		return ""
	}
	return rayfinding.Refused(c)
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
