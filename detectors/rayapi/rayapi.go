// Package rayapi watches what is asked of Ray's HTTP interfaces besides running jobs.
//
// In: *ray.Call. Out: findings of six rules.
//
//	rayapi/recon         an outsider reads versions, nodes, jobs, state
//	rayapi/exposed       a Ray without authentication answered an outsider, once an hour and host
//	rayapi/control       an outsider, or a foreign page in a browser, stops, deletes, kills or scales
//	rayapi/serve_deploy  an outsider deploys a Serve configuration, which runs code
//	rayapi/package       an outsider uploads a package of code
//	rayapi/exploit       a request in the shape of a known vulnerability, whoever sent it
//
// Outsiders are addresses that are not in the home networks. What operators, dashboards, collectors and Ray itself do
// from inside is not reported, the exploits excepted: nothing honest asks for ../../etc/passwd.
//
// It does not see gRPC or TLS, and it knows a host's Ray only by answers that it saw.
package rayapi

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/detectors/rayfinding"
	"github.com/raytap/raytap/interpreters/ray"
)

const (
	maxPairs   = 4096 // outsiders that read, by server
	maxSources = 4096 // sources that read from many
	maxHosts   = 4096 // servers
	maxRoutes  = 32   // different routes kept of a pair
	maxTargets = 32   // different servers kept of a source

	window   = 10 * time.Minute // readers rest between steps, but not so long
	again    = time.Hour        // rayapi/exposed of one host
	seqLow   = 2                // routes that make a sequence
	seqBroad = 5                // routes that make an enumeration: a look at the version and the jobs has two
	sweep    = 3                // servers that make a sweep

	maxEvidence = 300
)

// Spec is the detector.
func Spec() detectors.Spec {
	return detectors.Spec{Name: "rayapi", Rules: rules, New: newDetector}
}

var rules = []detectors.Rule{
	{
		Name: "rayapi/recon", Note: "Ray_API_Recon", Severity: detectors.Low,
		Says: "An outsider read the version, nodes, jobs or state of a Ray cluster, or a home machine read those " +
			"of clusters outside.",
		ATLAS:          []string{"AML.T0006", "AML.T0006.002"},
		ATTACK:         []string{"T1595.002", "T1046"},
		Needs:          "HTTP requests in clear text.",
		FalsePositives: "Internet-wide surveys; users who work over the Internet without a VPN.",
		Story: detectors.Story{Role: detectors.RoleBefore, Group: detectors.GroupLook,
			Does: "read the Ray API of %", Techniques: []string{"AML.T0006.002", "T1595.002"},
		},
	},
	{
		Name: "rayapi/exposed", Note: "Ray_API_Exposed", Severity: detectors.Medium,
		Says: "A Ray cluster without authentication answered a host outside the home networks: anyone who can " +
			"reach it can run code on it.",
		ATLAS:          []string{"AML.T0132"},
		ATTACK:         []string{"T1190"},
		Needs:          "Request and response in clear text.",
		FalsePositives: "A proxy in front of the cluster that authenticates by client certificate or address.",
		Story: detectors.Story{Role: detectors.RoleAside, Group: detectors.GroupEntry,
			Techniques: []string{"AML.T0132"},
		},
	},
	{
		Name: "rayapi/control", Note: "Ray_API_Control", Severity: detectors.High,
		Says:           "An outsider stopped, deleted, killed or scaled something in a Ray cluster.",
		ATLAS:          []string{"AML.T0049"},
		ATTACK:         []string{"T1489"},
		Needs:          "HTTP requests in clear text; the response for the outcome.",
		FalsePositives: "Users who work over the Internet on purpose.",
		Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry,
			Does: "stopped or deleted something on %", Techniques: []string{"AML.T0049", "T1190", "T1489"},
		},
	},
	{
		Name: "rayapi/serve_deploy", Note: "Ray_API_Serve_Deploy", Severity: detectors.Critical,
		Says:           "An outsider deployed a Serve configuration: an import path and a runtime_env of its choice run on the cluster.",
		ATLAS:          []string{"AML.T0049", "AML.T0050", "AML.T0132"},
		ATTACK:         []string{"T1190", "T1059.006"},
		Needs:          "The HTTP request in clear text; the response for the outcome.",
		FalsePositives: "Users who deploy over the Internet on purpose.",
		Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry, Runs: true,
			Does: "deployed an application on %", Techniques: []string{"AML.T0049", "AML.T0050", "T1190", "T1059.006"},
		},
	},
	{
		Name: "rayapi/package", Note: "Ray_API_Package", Severity: detectors.High,
		Says:           "An outsider uploaded a code package, which jobs will run.",
		ATLAS:          []string{"AML.T0049"},
		ATTACK:         []string{"T1190", "T1105"},
		Needs:          "The HTTP request in clear text; the response for the outcome.",
		FalsePositives: "Users who submit jobs over the Internet on purpose.",
		Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry,
			Does: "uploaded a package to %", Techniques: []string{"AML.T0049", "T1190"},
		},
	},
	{
		Name: "rayapi/exploit", Note: "Ray_API_Exploit", Severity: detectors.Critical,
		Says: "A request matches a known vulnerability: command injection through a profiling parameter, path " +
			"traversal, server-side request forgery through the dashboard.",
		ATLAS:          []string{"AML.T0049"},
		ATTACK:         []string{"T1190", "T1552.005"},
		Needs:          "HTTP requests in clear text; the response for the outcome.",
		FalsePositives: "Your own security scans.",
		Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry,
			Does: "used a hole of %", Techniques: []string{"AML.T0049", "T1190"},
		},
	},
}

type pair struct{ src, dst netip.Addr }

// reader is an outsider's walk through one server.
type reader struct {
	first, last capture.Time
	routes      []string
	packets     []uint64
	answered    bool
	version     string
}

// source is what one address read from.
type source struct {
	last    capture.Time
	targets []netip.Addr
	said    bool
}

// server is what is known of a Ray.
type server struct {
	exposed capture.Time // when it was last reported
	said    bool
	version string
	session string
}

type detector struct {
	env     *detectors.Env
	bus     *detectors.Bus
	readers detectors.Table[pair, reader]
	sources detectors.Table[netip.Addr, source]
	servers detectors.Table[netip.Addr, server]
	cves    []data.CVE
}

func newDetector(env *detectors.Env, bus *detectors.Bus) {
	d := &detector{env: env, bus: bus, cves: data.LoadCVEs()}
	d.readers.Limit, d.sources.Limit, d.servers.Limit = maxPairs, maxSources, maxHosts
	detectors.On(bus, d.call)
}

func (d *detector) call(c *ray.Call) {
	if c.Flow == nil || c.Tx == nil || c.Tx.Request == nil {
		return
	}
	src, dst := c.Flow.Orig.Addr().Unmap(), c.Flow.Resp.Addr().Unmap()
	if detectors.Special(src) || detectors.Special(dst) {
		return
	}
	outside := !d.env.Inside(src)
	if c.Confirmed {
		s := d.servers.Put(dst)
		if c.RayVersion != "" {
			s.version = c.RayVersion
		}
		if c.Session != "" {
			s.session = c.Session
		}
	}
	exploited := d.exploit(c, outside)
	if outside {
		d.exposed(c, src, dst)
	}
	switch {
	case exploited:
	case c.Class == ray.Control:
		d.control(c, outside)
	case !outside:
		if d.env.Home.Contains(src) && (c.Class == ray.Info || c.Class == ray.Read) {
			d.outward(c, src, dst)
		}
	case c.Cluster: // jobsubmit tells of it
	case len(c.Apps) > 0 || c.Class == ray.Exec && !c.Job && c.Service != ray.RuntimeEnv:
		d.deploy(c)
	case c.Class == ray.Exec && c.Service == ray.RuntimeEnv:
		d.runtimeEnv(c)
	case c.Class == ray.Write && c.Package != "":
		d.upload(c)
	case c.Class == ray.Info || c.Class == ray.Read:
		d.recon(c, src, dst)
	}
}

// rate picks a severity by outcome.
func rate(o ray.Outcome, done, unseen, tried, foreign detectors.Severity) (detectors.Severity, detectors.Outcome) {
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

func (d *detector) exploit(c *ray.Call, outside bool) bool {
	s, ok := exploitOf(c)
	if !ok {
		return false
	}
	if s.broad && !outside {
		return false
	}
	src, dst := c.Flow.Orig.Addr(), c.Flow.Resp.Addr().Unmap()
	sev, out := detectors.High, detectors.Attempted
	conf := 95
	switch {
	case s.worked && c.Outcome != ray.NotRay:
		sev, out = detectors.Critical, detectors.Succeeded
	case c.Outcome == ray.Unknown:
		out = detectors.Unknown
	}
	known := c.Confirmed || d.servers.Get(dst) != nil || c.Tx.Response != nil && strings.Contains(c.Tx.Response.Header.Get("Server"), "aiohttp/")
	if !known && out != detectors.Unknown {
		// A scanner that tries Ray's holes on whatever it finds.
		sev, conf = detectors.Medium, 60
	}
	name := ""
	if s.cve != "" {
		name = " (" + s.cve + ")"
	}
	var msg string
	if out == detectors.Succeeded {
		msg = fmt.Sprintf("%s %s on %s%s", addr(src), s.done, rayfinding.Server(c), name)
	} else {
		msg = fmt.Sprintf("%s tried to %s on %s%s%s", addr(src), s.says, rayfinding.Server(c), name, rayfinding.Refused(c))
	}
	f := d.finding(c, "rayapi/exploit", sev, conf, out, msg, s.cve)
	f.Key = "rayapi/exploit|" + addr(src) + "|" + addr(dst) + "|" + s.id
	f.Evidence = append(f.Evidence, detectors.Evidence{Field: s.field, Value: detectors.Clip(s.value, maxEvidence), Packet: c.Packet})
	if s.id == "log_proxy" && aimsAtCloud(s.value) {
		f.Sub = strings.TrimSpace(f.Sub + " the cloud's credentials")
	}
	d.bus.Report(f)
	return true
}

// exposed says that a Ray without authentication answered an outsider.
func (d *detector) exposed(c *ray.Call, src, dst netip.Addr) {
	if !c.Confirmed || c.Auth != "none" || c.Free || c.Service == ray.Serve || c.Service == ray.Metrics {
		return
	}
	if c.Outcome != ray.Answered && c.Outcome != ray.Executed {
		return
	}
	if !d.env.Home.Contains(dst) {
		return // somebody else's, or the traffic of two strangers
	}
	s := d.servers.Put(dst)
	if s.said && c.Time.Sub(s.exposed) < again {
		return
	}
	s.said, s.exposed = true, c.Time
	version := ""
	if s.version != "" {
		version = " " + detectors.Clip(s.version, 32)
	}
	msg := fmt.Sprintf("Ray%s at %s answers %s, outside the home networks, and asks for no authentication", version, rayfinding.HostPort(c.Flow), src)
	if c.Object != "" {
		msg = fmt.Sprintf("%s, through which Ray clusters are run, answers %s, outside the home networks, and asks for no authentication", upper(rayfinding.Server(c)), src)
	}
	known := ""
	if c.Object == "" { // KubeRay and Kubernetes are not Ray
		known = d.weaknesses(s.version)
	}
	f := d.finding(c, "rayapi/exposed", detectors.Medium, 95, detectors.Observed, msg, known)
	f.Key = "rayapi/exposed|" + dst.String()
	if s.session != "" {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "session_name", Value: detectors.Clip(s.session, 100), Packet: c.Packet})
	}
	d.bus.Report(f)
}

func (d *detector) control(c *ray.Call, outside bool) {
	page := ""
	if !outside {
		// From inside it is somebody's work, unless a foreign page had a browser do it (CVE-2026-27482).
		if page = foreignPage(c); page == "" {
			return
		}
	}
	if c.Route == "/worker/traceback" || c.Route == "/task/traceback" || c.Route == "/worker/cpu_profile" ||
		c.Route == "/task/cpu_profile" || c.Route == "/worker/gpu_profile" || c.Route == "/memory_profile" {
		// A profiler attached to a worker slows it; it changes nothing.
		sev, out := rate(c.Outcome, detectors.Medium, detectors.Low, detectors.Low, detectors.Info)
		d.bus.Report(d.finding(c, "rayapi/control", sev, 80, out, fmt.Sprintf("%s %s on %s%s", addr(c.Flow.Orig.Addr()), tried(out, "attached a profiler to a worker", "tried to attach a profiler to a worker"), rayfinding.Server(c), rayfinding.Refused(c)), page))
		return
	}
	done, try := verbs(c)
	sev, out := rate(c.Outcome, detectors.High, detectors.Medium, detectors.Medium, detectors.Low)
	who := addr(c.Flow.Orig.Addr())
	if page != "" {
		who = "A page of " + detectors.Clip(page, 80) + " in the browser at " + who
	}
	msg := fmt.Sprintf("%s %s on %s%s", who, tried(out, done, try), rayfinding.Server(c), rayfinding.Refused(c))
	f := d.finding(c, "rayapi/control", sev, 90, out, msg, page)
	f.Key = "rayapi/control|" + addr(c.Flow.Orig.Addr()) + "|" + addr(c.Flow.Resp.Addr()) + "|" + c.Method + c.Route
	d.bus.Report(f)
}

func tried(o detectors.Outcome, done, try string) string {
	if o == detectors.Succeeded {
		return done
	}
	return try
}

func verbs(c *ray.Call) (done, try string) {
	id := ""
	if c.SubmissionID != "" {
		id = " " + detectors.Clip(c.SubmissionID, 60)
	}
	switch {
	case c.Object != "" && c.Method == "DELETE" && c.SubmissionID == "":
		return "deleted " + detectors.Clip(c.Object, 100), "tried to delete " + detectors.Clip(c.Object, 100)
	case c.Object != "" && c.Method == "POST", strings.HasSuffix(c.Route, "/stop"):
		return "stopped job" + id, "tried to stop job" + id
	case c.Method == "DELETE" && (strings.Contains(c.Route, "/jobs/") || c.Object != ""):
		return "deleted job" + id, "tried to delete job" + id
	case c.Method == "DELETE":
		return "shut Serve down", "tried to shut Serve down"
	case strings.Contains(c.Route, "kill"):
		return "killed an actor", "tried to kill an actor"
	case strings.HasSuffix(c.Route, "/scale"):
		return "scaled a Serve deployment", "tried to scale a Serve deployment"
	case c.Object != "":
		return "changed " + detectors.Clip(c.Object, 100), "tried to change " + detectors.Clip(c.Object, 100)
	case c.Service == ray.RuntimeEnv:
		return "deleted a runtime environment", "tried to delete a runtime environment"
	}
	return "changed the state of the cluster", "tried to change the state of the cluster"
}

func (d *detector) deploy(c *ray.Call) {
	sev, out := rate(c.Outcome, detectors.Critical, detectors.High, detectors.High, detectors.Low)
	what := "a Serve configuration"
	if len(c.Apps) > 0 && c.Apps[0].Import != "" {
		what = "the Serve application " + detectors.Clip(c.Apps[0].Import, 80)
	}
	if len(c.RuntimeEnv.URIs) > 0 {
		what += " from " + detectors.Clip(c.RuntimeEnv.URIs[0], 120)
	}
	msg := fmt.Sprintf("%s %s %s on %s%s", addr(c.Flow.Orig.Addr()), tried(out, "deployed", "tried to deploy"), what, rayfinding.Server(c), rayfinding.Refused(c))
	f := d.finding(c, "rayapi/serve_deploy", sev, 90, out, msg, "")
	for i, a := range c.Apps {
		if i == 4 {
			break
		}
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "import_path", Value: detectors.Clip(a.Import, maxEvidence), Packet: done(c)})
	}
	d.uris(c, f)
	d.bus.Report(f)
}

// runtimeEnv: the agent is for the raylet of its own host.
func (d *detector) runtimeEnv(c *ray.Call) {
	sev, out := rate(c.Outcome, detectors.Critical, detectors.High, detectors.High, detectors.Low)
	msg := fmt.Sprintf("%s %s a runtime environment on the agent at %s%s", addr(c.Flow.Orig.Addr()), tried(out, "built", "tried to build"), rayfinding.HostPort(c.Flow), rayfinding.Refused(c))
	f := d.finding(c, "rayapi/exploit", sev, 85, out, msg, "")
	f.Key = "rayapi/exploit|" + addr(c.Flow.Orig.Addr()) + "|" + addr(c.Flow.Resp.Addr()) + "|runtime_env"
	d.uris(c, f)
	d.bus.Report(f)
}

func (d *detector) uris(c *ray.Call, f *detectors.Finding) {
	for i, u := range c.RuntimeEnv.URIs {
		if i == 4 {
			break
		}
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "runtime_env", Value: detectors.Clip(u, maxEvidence), Packet: done(c)})
	}
	for i, p := range c.RuntimeEnv.Packages {
		if i == 4 {
			break
		}
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "package", Value: detectors.Clip(p, maxEvidence), Packet: done(c)})
	}
}

func (d *detector) upload(c *ray.Call) {
	sev, out := rate(c.Outcome, detectors.High, detectors.Medium, detectors.Medium, detectors.Low)
	msg := fmt.Sprintf("%s %s the package %s (%d bytes) to %s%s", addr(c.Flow.Orig.Addr()), tried(out, "uploaded", "tried to upload"), detectors.Clip(c.Package, 80), c.PackageLen, rayfinding.Server(c), rayfinding.Refused(c))
	f := d.finding(c, "rayapi/package", sev, 90, out, msg, "")
	f.Evidence = append(f.Evidence, detectors.Evidence{Field: "package", Value: detectors.Clip(c.Package, 100), Packet: c.Packet})
	d.bus.Report(f)
}

// recon follows an outsider's reads.
func (d *detector) recon(c *ray.Call, src, dst netip.Addr) {
	if c.Service == ray.Serve || c.Service == ray.Metrics || c.Outcome == ray.NotRay {
		return // Serve is there to be used by outsiders
	}
	if c.Auth != "none" && c.Auth != "" && c.Outcome == ray.Answered && c.Client == ray.SDK {
		return // somebody with a token at work
	}
	r := d.readers.Put(pair{src, dst})
	if r.last != 0 && c.Time.Sub(r.last) > window {
		*r = reader{}
	}
	if r.first == 0 {
		r.first = c.Time
	}
	r.last = c.Time
	r.answered = r.answered || c.Outcome == ray.Answered
	if c.RayVersion != "" {
		r.version = c.RayVersion
	}
	name := c.Route
	if strings.HasPrefix(c.Route, "/static/") || c.Route == "/favicon.ico" {
		name = "/" // a browser's page is one look
	}
	fresh := true
	for _, x := range r.routes {
		if x == name {
			fresh = false
		}
	}
	if fresh && len(r.routes) < maxRoutes {
		r.routes = append(r.routes, name)
		r.packets = append(r.packets, c.Packet)
	}
	d.sweeping(c, src, dst, true)
	sev := detectors.Info // one look
	switch {
	case len(r.routes) >= seqBroad && c.Client != ray.Browser:
		sev = detectors.Medium
	case len(r.routes) >= seqLow:
		sev = detectors.Low
	}
	if !fresh {
		return
	}
	out := detectors.Attempted
	if r.answered {
		out = detectors.Succeeded
	} else if c.Outcome == ray.Unknown {
		out = detectors.Unknown
	}
	msg := fmt.Sprintf("%s read %s of %s", src, enumerate(r.routes), rayfinding.Server(c))
	if !r.answered {
		msg = fmt.Sprintf("%s tried to read %s of %s%s", src, enumerate(r.routes), rayfinding.Server(c), rayfinding.Refused(c))
	}
	if r.version != "" {
		msg += ", Ray " + detectors.Clip(r.version, 32)
	}
	f := d.finding(c, "rayapi/recon", sev, min(50+10*len(r.routes), 95), out, msg, "")
	for i := range r.routes {
		if i == 8 {
			break
		}
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "route", Value: r.routes[i], Packet: r.packets[i]})
	}
	d.bus.Report(f)
}

// outward watches a home machine that reads from Rays outside.
func (d *detector) outward(c *ray.Call, src, dst netip.Addr) {
	if d.env.Home.Contains(dst) || c.Service == ray.Serve || c.Service == ray.Metrics {
		return
	}
	d.sweeping(c, src, dst, false)
}

// sweeping counts the servers that a source read from.
func (d *detector) sweeping(c *ray.Call, src, dst netip.Addr, outside bool) {
	s := d.sources.Put(src)
	if s.last != 0 && c.Time.Sub(s.last) > window {
		*s = source{}
	}
	s.last = c.Time
	for _, t := range s.targets {
		if t == dst {
			return
		}
	}
	if len(s.targets) < maxTargets {
		s.targets = append(s.targets, dst)
	}
	if s.said || len(s.targets) < sweep {
		return
	}
	s.said = true
	whose := "Ray servers"
	if !outside {
		whose = "Ray servers outside"
	}
	msg := fmt.Sprintf("%s reads from many %s: %d within minutes", src, whose, len(s.targets))
	f := d.finding(c, "rayapi/recon", detectors.Medium, 85, detectors.Observed, msg, "")
	f.Key = "rayapi/recon|sweep|" + src.String()
	for i, t := range s.targets {
		if i == 6 {
			break
		}
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "server", Value: t.String(), Packet: c.Packet})
	}
	d.bus.Report(f)
}

// foreignPage names the page that had a browser send this, if it is not the server's own.
func foreignPage(c *ray.Call) string {
	h := c.Tx.Request.Header
	if s := h.Get("Sec-Fetch-Site"); s == "cross-site" || s == "same-site" {
		if o := authority(h.Get("Origin")); o != "" {
			return o
		}
		return "another site"
	}
	from := authority(h.Get("Origin"))
	if from == "" {
		from = authority(h.Get("Referer"))
	}
	if from == "" || strings.EqualFold(from, h.Get("Host")) || strings.EqualFold(from, h.Get("X-Forwarded-Host")) {
		return ""
	}
	return from
}

func authority(u string) string {
	i := strings.Index(u, "://")
	if i < 0 {
		return ""
	}
	u = u[i+3:]
	if i = strings.IndexByte(u, '/'); i >= 0 {
		u = u[:i]
	}
	return u
}

// weaknesses names the vulnerabilities of a version that somebody who reaches an open cluster may use; of a version that was
// not seen, those of every version.
func (d *detector) weaknesses(version string) string {
	var ids []string
	for i := range d.cves {
		if c := &d.cves[i]; c.Needs != data.NeedsData && c.Affects("ray", version) {
			ids = append(ids, c.ID)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	which := "this version"
	if version == "" {
		which = "every version"
	}
	return which + " is open to " + strings.Join(ids, ", ")
}

func (d *detector) finding(c *ray.Call, rule string, sev detectors.Severity, conf int, out detectors.Outcome, msg, sub string) *detectors.Finding {
	f := &detectors.Finding{
		At: c.At, Rule: rule, Severity: sev, Confidence: conf, Outcome: out, Msg: msg, Sub: sub,
		Src: c.Flow.Orig.Addr().Unmap(), Dst: c.Flow.Resp.Addr().Unmap(), Port: c.Flow.Resp.Port(), Flow: c.Flow, Count: 1,
	}
	target := c.Prefix + strings.TrimPrefix(c.Path, c.Prefix)
	if c.Query != "" {
		target += "?" + c.Query
	}
	f.Evidence = append(f.Evidence, detectors.Evidence{Field: "request", Value: detectors.Clip(c.Method+" "+target, maxEvidence), Packet: c.Packet})
	if c.UserAgent != "" {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "user_agent", Value: detectors.Clip(c.UserAgent, 120), Packet: c.Packet})
	}
	if r := c.Tx.Response; r != nil {
		b := r.Body.Data
		text := strings.ToValidUTF8(string(b[:min(len(b), 200)]), "\ufffd")
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "answer", Value: detectors.Clip(strings.TrimSpace(fmt.Sprintf("%d %s", r.Status, text)), maxEvidence), Packet: r.Packet})
	}
	return f
}

func done(c *ray.Call) uint64 {
	if p := c.Tx.Request.Done.Packet; p != 0 {
		return p
	}
	return c.Packet
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func enumerate(routes []string) string {
	n := len(routes)
	if n > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(routes[:4], ", "), n-4)
	}
	if n > 1 {
		return strings.Join(routes[:n-1], ", ") + " and " + routes[n-1]
	}
	return routes[0]
}
