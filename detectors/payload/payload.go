// Package payload finds programs and scripts that a home machine fetches from outside.
//
// In: *http.Transaction with the files in its answers, told by their bytes and not by name or Content-Type; *ray.Call
// for the jobs that came before; *dns.Transaction for the addresses of package archives. Out: findings of payload/script and payload/executable. Src is the machine that served
// the file, Dst the one that fetched it.
//
// A script that is fetched is nothing rare. What counts is what comes together, a point each and three for the first:
//
//	3  a job that came from outside within a quarter of an hour names the place
//	2  the machine got a job from outside within that time
//	1  the place is a bare address; it is a paste or file drop or tunnel; the port is none of the web's; the name or the
//	   Content-Type lies about the content; a command line fetched it (curl, wget, no agent at all)
//
// With a point for the file itself, two are low, three medium and four high. What comes from package archives, update
// services and model hubs is quiet, unless a job from outside named it. Whoever fetches may write any Host, so that it is
// believed only if an archive's name was seen to be looked up with that address, or no archive's was. Src on Config.Allow
// is never spoken of. What machines at work fetch without a name (honest.go: servers of packages, installers that do nothing
// else, archives that unpack themselves, settings at boot) is low without a job.
//
// It does not see: what comes over TLS; archives and what is in them; content that only a decoder can tell (a script
// without its first line); what a machine inside fetches from another inside.
package payload

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/ray"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/command"
	"github.com/raytap/raytap/detectors/data"
)

const (
	ruleScript     = "payload/script"
	ruleExecutable = "payload/executable"
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
	rule := func(name, note, what string) detectors.Rule {
		return detectors.Rule{
			Name: name, Note: note, Severity: detectors.High,
			Says:   "A home machine fetched " + what + " from outside, under circumstances that add up: after a job from outside, from a bare address or a file drop, under a false name.",
			ATLAS:  []string{"AML.T0050"},
			ATTACK: []string{"T1105", "T1059.004"},
			Needs:  "HTTP in clear text with the beginning of the answer's body; Ray's HTTP traffic for what a job named.",
			FalsePositives: "Programs and scripts that are fetched by address, by the command line, from an own server outside that is none of the usual " +
				"ones for packages (put it on the allow-list). " +
				"What comes over TLS, inside an archive, or without a script's first line is not seen.",
		}
	}
	return detectors.Spec{
		Name:  "payload",
		Rules: []detectors.Rule{rule(ruleScript, "Payload_Script", "a script"), rule(ruleExecutable, "Payload_Executable", "a program")},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{env: env, bus: bus, commands: command.New(env.Home, nil), archives: data.NewClaims(func(name string) bool { return quiet(data.SiteOf(name)) })}
			detectors.Configure(env, bus, "payload", Default(), func(c Config) {
				d.cfg = c
				d.allow, _ = detectors.ParseNetworks(c.Allow)
			})
			detectors.On(bus, d.call)
			detectors.On(bus, d.archives.Lookup)
			detectors.On(bus, d.fetched)
		},
	}
}

// job is one that came from outside.
type job struct {
	at      capture.At
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
}

// quiet says whether what a site serves is harmless by itself.
func quiet(s data.Site) bool { return s == data.Packages || s == data.Hub }

func (d *detector) call(c *ray.Call) {
	if c.Flow == nil || !c.Job && !c.Cluster || d.env.Home.Contains(c.Flow.Orig.Addr()) || !d.env.Home.Contains(c.Flow.Resp.Addr()) {
		return
	}
	switch c.Outcome {
	case ray.Executed, ray.Unknown:
	default:
		return // refused: what the machine does now is not its doing
	}
	if len(d.jobs) >= maxJobs {
		d.jobs = slices.Delete(d.jobs, 0, maxJobs/4)
	}
	text := append([]string{c.Entrypoint}, c.RuntimeEnv.URIs...)
	for _, p := range c.RuntimeEnv.Commands {
		text = append(text, p.Value)
	}
	for _, p := range c.Pods {
		text = append(text, p.Command)
	}
	all := strings.Join(text, "\n")
	d.jobs = append(d.jobs, job{
		at: c.At, by: c.Flow.Orig.Addr(), to: c.Flow.Resp.Addr(), command: detectors.Clip(c.Entrypoint, 200), text: strings.ToLower(all[:min(len(all), maxText)]),
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
		if j == nil && c.to == victim {
			j = c
		}
	}
	return j, false
}

func (d *detector) fetched(t *http.Transaction) {
	if t.Response == nil || t.Request == nil || t.Flow == nil || t.Response.Status/100 != 2 {
		return
	}
	for _, f := range t.Response.Body.Files {
		if f.Kind == file.Script || f.Kind == file.Executable {
			d.judge(t, f)
		}
	}
}

func (d *detector) judge(t *http.Transaction, f *file.File) {
	victim, server := t.Flow.Orig.Addr(), t.Flow.Resp.Addr()
	if !d.env.Home.Contains(victim) || d.env.Home.Contains(server) || d.allow.Contains(server) {
		return
	}
	host, path := t.Request.Place()
	if host == "" {
		host = server.String()
	}
	job, named := d.cause(f.Time, victim, host)
	site := data.SiteOf(host)
	if !named && quiet(site) && d.archives.Hold(server) {
		return
	}

	points, why := 1, []string(nil)
	add := func(n int, format string, args ...any) {
		points += n
		why = append(why, fmt.Sprintf(format, args...))
	}
	switch {
	case named:
		add(3, "%s had sent %s a job that names the place", job.by, job.to)
	case job != nil:
		add(2, "%s had sent it a job", job.by)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		add(1, "from a bare address")
	}
	if site.Anybodys() {
		add(1, "from a %s", map[data.Site]string{data.Share: "file drop", data.Paste: "paste site", data.Tunnel: "tunnel"}[site])
	}
	if p := t.Flow.Resp.Port(); !slices.Contains(webPorts[:], p) {
		add(1, "at port %d", p)
	}
	if says := lie(t, f, path); says != "" {
		add(1, "%s", says)
	}
	if agent := t.Request.Header.Get("User-Agent"); agent == "" {
		add(1, "without a user agent")
	} else if name, ok := tool(agent); ok {
		add(1, "by %s", name)
	}
	if job == nil && points > lowAt {
		if says := ordinary(d.commands, t, f, path); says != "" {
			points, why = lowAt, append(why, says)
		}
	}
	if points < lowAt {
		return
	}

	out := &detectors.Finding{
		At: t.Response.At, Rule: ruleScript, Severity: detectors.Low, Confidence: min(40+10*points, 95), Outcome: detectors.Succeeded,
		Src: server, Dst: victim, Flow: t.Flow,
		Evidence: []detectors.Evidence{
			{Field: "request", Value: t.Request.Method + " " + detectors.Clip(host+path, 300), Packet: t.Request.Packet},
			{Field: "content", Value: content(f), Packet: f.Packet},
		},
		Sub: strings.Join(why, "; "),
	}
	what := "a script"
	if f.Kind == file.Executable {
		out.Rule, what = ruleExecutable, "a program"
	}
	if !t.Response.Body.Complete {
		out.Outcome = detectors.Unknown // begun, but the end was not seen
	}
	if f.Hashed() {
		out.Evidence = append(out.Evidence, detectors.Evidence{Field: "sha256", Value: f.SHA256, Packet: f.Packet})
	}
	switch {
	case points >= highAt:
		out.Severity = detectors.High
	case points >= mediumAt:
		out.Severity = detectors.Medium
	}
	if job != nil {
		out.Evidence = append(out.Evidence, detectors.Evidence{Field: "job", Value: job.command, Packet: job.at.Packet})
	}
	out.Msg = fmt.Sprintf("%s fetched %s of %d bytes from %s (%s)", victim, what, f.Seen+f.Missing, detectors.Clip(host+path, 120), strings.Join(why, ", "))
	d.bus.Report(out)
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
	if f.Kind == file.Script {
		return detectors.Clip(string(f.Head), 160)
	}
	s := f.MIME
	if s == "" {
		s = "program"
	}
	return fmt.Sprintf("%s, begins %x", s, f.Head[:min(len(f.Head), 16)])
}
