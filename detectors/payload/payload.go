// Package payload finds programs and scripts that a home machine fetches from outside.
//
// In: *http.Transaction with the files in its answers, told by their bytes and not by name or Content-Type; *bare.Transfer
// for what comes without any protocol; *ray.Call for the jobs that came before, and what else let somebody in
// (detectors.Entries); *dns.Transaction for the addresses of package archives. Out: findings of payload/script,
// payload/executable and payload/archive: an archive or package with a program or script in it, a pickle that runs
// something, a repository or an image of a bare address. Src is the machine that served the file, Dst the one that fetched
// it.
//
// A script that is fetched is nothing rare. What counts is what comes together, a point each and three for the first:
//
//	3  a job, or another request, that came from outside within a quarter of an hour names the place
//	2  somebody got into the machine within that time: a job, Ray Client, the control store, a hole of Ray's or Redis
//	1  it came over a bare connection; the place is a bare address; it is a paste or file drop or tunnel; the port is none of the web's; the name or the
//	   Content-Type lies about the content; a command line fetched it (curl, wget, no agent at all)
//
// With a point for the file itself, two are low, three medium and four high. What comes from package archives, update
// services and model hubs is quiet, unless a job from outside named it. Whoever fetches may write any Host, so that it is
// believed only if an archive's name was seen to be looked up with that address, or no archive's was. Src on Config.Allow
// is never spoken of. What machines at work fetch without a name (honest.go: servers of packages, installers that do nothing
// else, archives that unpack themselves, settings at boot) is low without a job.
// What package managers fetch, clone and pull is low unless somebody got in before.
//
// It does not see: what comes over TLS; what stands deeper in an archive than file.Inside looks, or is encrypted there;
// what a machine inside fetches from another inside.
package payload

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/bare"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/command"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/interpreters/ray"
)

const (
	ruleScript     = "payload/script"
	ruleExecutable = "payload/executable"
	ruleArchive    = "payload/archive"
)

// Config are the settings, the section `payload` of the configuration file.
type Config struct {
	Allow  []string      `yaml:"allow"`   // networks or addresses that programs may be fetched from
	JobFor time.Duration `yaml:"job_for"` // how long after a job from outside what is fetched counts as its doing
}

// Default is what holds when nothing is said. Ray starts a job within seconds, and installs its environment within
// minutes.
func Default() Config { return Config{JobFor: 15 * time.Minute} }

const (
	// Jobs from outside that are remembered, the last ones first to be looked at. A cluster gets some a minute.
	maxJobs = 256
	// Of a job's text this much is searched for the place: the limit of ray.Call.Entrypoint.
	maxText = 64 << 10
	// Shorter host names stand in too many texts by chance ("a.io" has four).
	minHost = 4

	lowAt, mediumAt, highAt = 2, 3, 4
)

// Spec registers the detector.
func Spec() detectors.Spec {
	rule := func(name, note, what, does string) detectors.Rule {
		return detectors.Rule{
			Name: name, Note: note, Severity: detectors.High,
			Says:   "A home machine fetched " + what + " from outside in suspicious circumstances: after a job from outside, from a bare address or a file-sharing site, or under a misleading name.",
			ATLAS:  []string{"AML.T0050"},
			ATTACK: []string{"T1105", "T1059.004"},
			Needs: "HTTP in clear text with the beginning of the response's body, or a connection that carries only the " +
				"file; Ray's HTTP traffic to know what a job named.",
			FalsePositives: "Files fetched by address or by a command-line tool from your own server outside, unless it is " +
				"one of the usual package hosts (put it on the allow-list). Low: installers fetched from the command line, " +
				"package managers that use a bare address, boot-time configuration. Files over TLS, or deep inside an " +
				"archive, are not seen.",
			Story: detectors.Story{Group: detectors.GroupFetch, Sure: true,
				Does: "fetched " + does + " from %", Other: "payload host", Techniques: []string{"T1105"},
			},
		}
	}
	return detectors.Spec{
		Name: "payload", Settings: settings(), Late: true,
		Rules: []detectors.Rule{rule(ruleScript, "Payload_Script", "a script", "a script"), rule(ruleExecutable, "Payload_Executable", "a program", "a program"),
			rule(ruleArchive, "Payload_Archive", "an archive with a program or script in it, a pickle that runs something, a repository or an image", "code in an archive")},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{env: env, bus: bus, entries: detectors.NewEntries(env, bus), commands: command.New(env.Home, nil), archives: data.NewClaims(&bus.Names, func(name string) bool { return quiet(data.SiteOf(name)) })}
			detectors.Configure(env, bus, "payload", Default(), func(c Config) {
				d.cfg = c
				d.allow, _ = detectors.ParseNetworks(c.Allow)
			})
			detectors.On(bus, d.call)
			detectors.On(bus, d.archives.Lookup)
			detectors.On(bus, d.fetched)
			detectors.On(bus, d.transfer)
		},
	}
}

// job is one that came from outside, or another request that names a place.
type job struct {
	at      capture.At
	other   bool // no job: it counts where it names the place alone
	by      netip.Addr
	to      netip.Addr
	command string // excerpt
	text    string // all that it says, in lower case
}

type detector struct {
	env   *detectors.Env
	bus   *detectors.Bus
	cfg   Config
	allow *detectors.Networks
	jobs  []job // in order of time

	archives *data.Claims // of package archives and hubs
	commands *command.Judge
	entries  *detectors.Entries
}

// quiet says whether what a site serves is harmless by itself.
func quiet(s data.Site) bool { return s == data.Packages || s == data.Hub }

func (d *detector) call(c *ray.Call) {
	if c.Flow == nil || !c.Job && !c.Cluster || d.env.Inside(c.Flow.Orig.Addr()) || !d.env.Home.Contains(c.Flow.Resp.Addr()) {
		return
	}
	switch c.Outcome {
	case ray.Executed, ray.Unknown:
	default:
		return // refused: what the machine does now is not its doing
	}
	text := append([]string{c.Entrypoint}, c.RuntimeEnv.URIs...)
	for _, p := range c.RuntimeEnv.Commands {
		text = append(text, p.Value)
	}
	for _, p := range c.Pods {
		text = append(text, p.Command)
	}
	all := strings.Join(text, "\n")
	d.remember(job{
		at: c.At, by: c.Flow.Orig.Addr(), to: c.Flow.Resp.Addr(), command: detectors.Clip(c.Entrypoint, 200), text: strings.ToLower(all[:min(len(all), maxText)]),
	})
}

func (d *detector) remember(j job) {
	if len(d.jobs) >= maxJobs {
		d.jobs = slices.Delete(d.jobs, 0, maxJobs/4)
	}
	d.jobs = append(d.jobs, j)
}

// maxNaming is how much of a request's body is searched for the URL that it names.
const maxNaming = 4 << 10

// names remembers a request from outside that has a URL in it: services beside Ray fetch what they are told to
// (TorchServe's models, Ollama's manifests, a page that is to be read).
func (d *detector) names(t *http.Transaction) {
	q := t.Request
	target, body := q.Target, q.Body.Data[:min(len(q.Body.Data), maxNaming)]
	if strings.HasPrefix(target, "http") { // to a proxy
		target = ""
	}
	in := strings.Contains(target, "://") || strings.Contains(target, "%2F%2F") || strings.Contains(target, "%2f%2f")
	if !in && !bytes.Contains(body, []byte("://")) {
		return
	}
	text := strings.ToLower(detectors.Clip(target, maxNaming) + "\n" + string(body))
	d.remember(job{
		at: q.At, other: true, by: t.Flow.Orig.Addr(), to: t.Flow.Resp.Addr(), command: detectors.Clip(q.Method+" "+q.Target, 200), text: text,
	})
}

// cause finds the job that made the machine fetch from host: the last one that names it, or else the last one that
// the machine got. What was sent when the fetch had begun made nobody do it.
func (d *detector) cause(at capture.Time, victim netip.Addr, host string) (j *job, named bool) {
	for i := len(d.jobs) - 1; i >= 0; i-- {
		c := &d.jobs[i]
		if at.Sub(c.at.Time) > d.cfg.JobFor {
			break
		}
		if at < c.at.Time {
			continue
		}
		if len(host) >= minHost && strings.Contains(c.text, host) {
			return c, true
		}
		if j == nil && c.to == victim && !c.other {
			j = c
		}
	}
	return j, false
}

func (d *detector) fetched(t *http.Transaction) {
	if t.Request == nil || t.Flow == nil {
		return
	}
	victim, server := t.Flow.Orig.Addr(), t.Flow.Resp.Addr()
	if !d.env.Home.Contains(victim) {
		if d.env.Home.Contains(server) {
			d.names(t)
		}
		return
	}
	if t.Response == nil || t.Response.Status/100 != 2 || d.env.Home.Contains(server) {
		return
	}
	if what := pulled(t); what != "" {
		d.judge(&fetch{t: t, flow: t.Flow, at: t.Response.At, done: t.Response.Body.Complete, what: what, rule: ruleArchive, managed: true})
		return
	}
	for _, f := range t.Response.Body.Files {
		x := fetch{t: t, flow: t.Flow, f: f, at: t.Response.At, done: t.Response.Body.Complete}
		if x.is(f) || f.Lines && d.commanding(&x, server) {
			d.judge(&x)
		}
	}
}

// transfer takes what came over a connection without a protocol.
func (d *detector) transfer(b *bare.Transfer) {
	f := b.File
	if f == nil || f.Flow == nil {
		return
	}
	from, to := f.Flow.Src(f.Sender).Addr(), f.Flow.Dst(f.Sender).Addr()
	if !d.env.Home.Contains(to) || d.env.Home.Contains(from) {
		return
	}
	x := fetch{flow: f.Flow, f: f, at: b.At, done: f.Missing == 0}
	if x.is(f) {
		d.judge(&x)
	}
}

// fetch is something that a machine fetched.
type fetch struct {
	t       *http.Transaction // nil: a bare connection
	flow    *capture.Flow
	f       *file.File // nil: a repository, or an image
	at      capture.At
	done    bool
	rule    string
	what    string // "a script"
	managed bool   // by a package manager, as it does all day
	unknown bool   // nothing is known of what is in it
}

// is says what a file is to this detector; false if nothing.
func (x *fetch) is(f *file.File) bool {
	switch in := f.Inside; {
	case f.Kind == file.Script:
		x.rule, x.what = ruleScript, "a script"
	case f.Kind == file.Executable:
		x.rule, x.what = ruleExecutable, "a program"
	case in != nil && (in.Kind == file.Script || in.Kind == file.Executable || in.Kind == file.Pickle):
		x.rule = ruleArchive
		noun := map[file.Kind]string{file.Script: "a script", file.Executable: "a program", file.Pickle: "a pickle that runs " + file.Runs(in.Head)}[in.Kind]
		switch {
		case strings.HasSuffix(in.Form, "package"):
			x.what = "a " + in.Form
			if strings.HasPrefix(in.Form, "R") {
				x.what = "an " + in.Form
			}
		case strings.HasPrefix(in.Form, "base64"):
			x.what = noun + " in " + in.Form
			x.rule = ruleScript
			if in.Kind == file.Executable {
				x.rule = ruleExecutable
			}
		default:
			x.what = "a " + in.Form + " with " + noun
		}
		if in.Name != "" {
			x.what += " (" + detectors.Clip(in.Name, 60) + ")"
		}
	case f.Kind == file.Pickle && file.Runs(f.Head) != "":
		x.rule, x.what = ruleArchive, "a pickle that runs "+file.Runs(f.Head)
	case f.Kind == file.Archive:
		x.rule, x.what, x.unknown = ruleArchive, "an archive", true // of which only that somebody named it may tell
	default:
		return false
	}
	return true
}

// commanding parses a text that begins with a command, and takes it for a script if what it does is suspicious.
func (d *detector) commanding(x *fetch, server netip.Addr) bool {
	r := d.commands.Metered(x.f.Time, server.Unmap())
	r.Code("script", string(x.f.Head))
	if r.Score() < command.Suspicious {
		return false
	}
	x.rule, x.what = ruleScript, "a script"
	return true
}

// pulled says what a package manager got that is code by nature: a clone of a repository (gitprotocol-http), an image's or a
// model's manifest (OCI distribution specification).
func pulled(t *http.Transaction) string {
	target := t.Request.Target
	switch {
	case t.Request.Method == "POST" && strings.HasSuffix(target, "/git-upload-pack"):
		return "a repository"
	case t.Request.Method == "GET" && strings.HasPrefix(target, "/v2/") && strings.Contains(target, "/manifests/"):
		return "an image"
	}
	return ""
}

// judge weighs a fetch, and reports it where that suffices.
func (d *detector) judge(x *fetch) {
	victim, server := x.flow.Orig.Addr(), x.flow.Resp.Addr()
	if x.t == nil {
		victim, server = x.flow.Dst(x.f.Sender).Addr(), x.flow.Src(x.f.Sender).Addr()
	}
	if d.allow.Contains(server) {
		return
	}
	host, path := server.String(), ""
	if x.t != nil {
		if host, path = x.t.Request.Place(); host == "" {
			host = server.String()
		}
	}
	began := x.at.Time
	if x.f != nil {
		began = x.f.Time
	}
	job, named := d.cause(began, victim, host)
	entry := d.entries.Last(victim, began, d.cfg.JobFor)
	site := data.SiteOf(host)
	if !named && (x.unknown || quiet(site) && d.archives.Hold(server)) {
		return
	}

	g := grounds{points: 1}
	g.cause(job, named, entry)
	if _, err := netip.ParseAddr(host); err == nil {
		g.add(1, "from a bare address")
	}
	if site.Anybodys() {
		g.add(1, "from a %s", map[data.Site]string{data.Share: "file drop", data.Paste: "paste site", data.Tunnel: "tunnel"}[site])
	}
	g.way(x, path)
	if job == nil && entry == nil && g.points > lowAt && x.t != nil && x.f != nil {
		if says := ordinary(d.commands, x.t, x.f, path); says != "" {
			g.points, g.why = lowAt, append(g.why, says)
		}
	}
	if g.points < lowAt {
		return
	}

	out := &detectors.Finding{
		At: x.at, Rule: x.rule, Severity: detectors.Low, Confidence: min(40+10*g.points, 95), Outcome: detectors.Succeeded,
		Src: server, Dst: victim, Flow: x.flow,
		Sub: strings.Join(g.why, "; "),
	}
	size := x.prove(out, host, path)
	switch {
	case x.managed && job == nil && entry == nil:
	case g.points >= highAt && !x.unknown && !x.managed:
		out.Severity = detectors.High
	case g.points >= mediumAt:
		out.Severity = detectors.Medium
	}
	if job != nil {
		out.Evidence = append(out.Evidence, detectors.Evidence{Field: "job", Value: job.command, Packet: job.at.Packet})
	} else if entry != nil {
		out.Evidence = append(out.Evidence, detectors.Evidence{Field: "entry", Value: entry.Rule + " by " + entry.By.String(), Packet: entry.At.Packet})
	}
	out.Msg = fmt.Sprintf("%s fetched %s%s from %s (%s)", victim, x.what, size, detectors.Clip(host+path, 120), strings.Join(g.why, ", "))
	d.bus.Report(out)
}

// prove gives a finding the request and the file as evidence. It returns the size for the sentence; "" without a file.
func (x *fetch) prove(out *detectors.Finding, host, path string) (size string) {
	if x.t != nil {
		out.Evidence = append(out.Evidence, detectors.Evidence{Field: "request", Value: x.t.Request.Method + " " + detectors.Clip(host+path, 300), Packet: x.t.Request.Packet})
	} else {
		out.Port = x.flow.Resp.Port()
	}
	if !x.done {
		out.Outcome = detectors.Unknown // begun, but the end was not seen
	}
	if f := x.f; f != nil {
		out.Evidence = append(out.Evidence, detectors.Evidence{Field: "content", Value: content(f), Packet: f.Packet})
		if f.Hashed() {
			out.Evidence = append(out.Evidence, detectors.Evidence{Field: "sha256", Value: f.SHA256, Packet: f.Packet})
		}
		size = fmt.Sprintf(" of %d bytes", f.Seen+f.Missing)
	}
	return size
}

// grounds are what speaks for a fetch being an attack's.
type grounds struct {
	points int
	why    []string
}

// add adds n points for a reason.
func (g *grounds) add(n int, format string, args ...any) {
	g.points += n
	g.why = append(g.why, fmt.Sprintf(format, args...))
}

// cause weighs what had been sent to the machine before.
func (g *grounds) cause(job *job, named bool, entry *detectors.Entry) {
	switch {
	case named && job.other:
		g.add(3, "%s had sent %s a request that names the place", job.by, job.to)
	case named:
		g.add(3, "%s had sent %s a job that names the place", job.by, job.to)
	case job != nil:
		g.add(2, "%s had sent it a job", job.by)
	case entry != nil:
		g.add(2, "%s", entry.How())
	}
}

// way weighs how it was fetched, and notes in x if a package manager did.
func (g *grounds) way(x *fetch, path string) {
	if x.t == nil {
		g.add(1, "over a bare connection")
		return
	}
	if p := x.flow.Resp.Port(); !slices.Contains(webPorts[:], p) && !x.managed {
		g.add(1, "at port %d", p)
	}
	if x.f != nil {
		if says := lie(x.t, x.f, path); says != "" {
			g.add(1, "%s", says)
		}
	}
	if agent := x.t.Request.Header.Get("User-Agent"); agent == "" {
		g.add(1, "without a user agent")
	} else if name, ok := tool(agent); ok {
		g.add(1, "by %s", name)
	} else if name := manager(agent); name != "" {
		x.managed = true
	}
}

// managers are programs that fetch code for a living, by the beginning of their agent.
var managers = [...]string{"pip/", "git/", "docker/", "containerd/", "ollama/", "debian apt", "apt-http", "libdnf", "conda/", "uv/", "npm/", "yarn/", "helm/", "skopeo/", "buildkit/"}

func manager(agent string) string {
	low := strings.ToLower(agent[:min(len(agent), 40)])
	for _, m := range managers {
		if strings.HasPrefix(low, m) {
			return strings.TrimSuffix(m, "/")
		}
	}
	return ""
}

// webPorts are where plain HTTP is at home: the web's own, and those of proxies and second servers.
var webPorts = [...]uint16{80, 443, 8080, 3128}

// harmless are endings that promise something that is not run.
var harmless = [...]string{
	".jpg", ".jpeg", ".png", ".gif", ".ico", ".svg", ".webp", ".bmp", ".css", ".txt", ".log", ".pdf", ".mp3", ".mp4", ".woff", ".woff2",
	".json", ".xml", ".html", ".htm", ".csv", ".doc", ".docx", ".xls", ".tar.gz", ".tgz", ".gz", ".zip", ".bz2", ".xz", ".rar", ".7z",
}

// lie says what promised something else than the content is.
func lie(t *http.Transaction, f *file.File, path string) string {
	if f.Kind != file.Script && f.Kind != file.Executable {
		return "" // an archive is what its name says
	}
	path, _, _ = strings.Cut(path, "?")
	path = strings.ToLower(path)
	for _, end := range harmless {
		if strings.HasSuffix(path, end) && !(f.Kind == file.Script && (end == ".txt" || end == ".html" || end == ".htm")) {
			return "under the name of a " + end[1:] + " file"
		}
	}
	ct, _, _ := strings.Cut(strings.ToLower(t.Response.Header.Get("Content-Type")), ";")
	switch major, _, _ := strings.Cut(ct, "/"); {
	case major == "image", major == "audio", major == "video", major == "font", f.Kind == file.Executable && (major == "text" && ct != "text/plain" || ct == "application/json"):
		return "declared as " + detectors.Clip(ct, 40)
	}
	return ""
}

// tools are programs of the command line and libraries of scripts, by the beginning of their agent.
var tools = [...]string{"curl/", "wget", "python-urllib", "python-requests", "python/", "aiohttp", "go-http-client", "libwww-perl", "fetch", "aria2", "httpie", "powershell", "certutil", "busybox"}

func tool(agent string) (string, bool) {
	low := strings.ToLower(agent[:min(len(agent), 40)])
	for _, t := range tools {
		if strings.HasPrefix(low, t) || t == "powershell" && strings.Contains(strings.ToLower(agent[:min(len(agent), 200)]), t) {
			return strings.TrimSuffix(t, "/"), true
		}
	}
	return "", false
}

// content names the file and shows a script's beginning.
func content(f *file.File) string {
	if f.Kind == file.Script || f.Lines {
		return detectors.Clip(string(f.Head), 160)
	}
	if in := f.Inside; in != nil {
		if in.Kind == file.Script {
			return detectors.Clip(in.Form+" "+in.Name+": "+string(in.Head), 160)
		}
		return detectors.Clip(fmt.Sprintf("%s %s: begins %x", in.Form, in.Name, in.Head[:min(len(in.Head), 16)]), 160)
	}
	s := f.MIME
	if s == "" {
		s = f.Kind.String()
	}
	if s == "" {
		s = "program"
	}
	return fmt.Sprintf("%s, begins %x", s, f.Head[:min(len(f.Head), 16)])
}
