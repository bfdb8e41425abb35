// Package beacon finds machines that call somebody outside by the clock.
//
// In: *http.Transaction and, for TCP flows that are not HTTP, *capture.Conn; *capture.Progress of flows; names from *tls.Session and
// *dns.Transaction; jobs from *ray.Call. Out: findings of beacon/regular, of a home machine and one destination outside:
// for HTTP the machine and the Host it asked for, for TLS the machine and the server name (a place with several
// addresses is one), for other flows the machine, address and port.
//
// Two rules speak. A series of at least Config.Calls over at least Config.Span is rated by RITA's formulas (score.go):
// time, size, histogram and duration. The range of the histogram is the series' own, from its first call to its last,
// so that a heartbeat that began an hour ago is not diluted by the day before it. And five calls whose intervals are
// all within a tenth of one period are enough, when the machine was given a job by somebody outside before: a job's
// cron entry is known to call each quarter of an hour, and to wait for a series would take half a day. Without the job
// five calls are only hinted at (low), and only if they are within a twentieth.
//
// Calls within the same second are one. What is asked for in a row from one place and answered with much (streams,
// segments of a film) is no heartbeat. Everything is judged by packet time as calls come, most of all at the end of
// flows; a series that is only complete when the capture ends is judged then, since flows end with it.
//
//	medium  regular, and there is a sign beside it: a job from outside before, or an ill place (named.go): nobody gave it
//	        a name, or one that anybody can have by the hour, or its client disguises itself
//	low     regular alone: agents, trackers, runners and registries call their servers under a name all day, and
//	        programs theirs in protocols that are known; many machines call there (one finding for the place), or a page
//	        in a browser does, or it looks like a health check, a scrape of metrics or a check of certificates; or only
//	        five calls, where twelve would take more than a day
//
// Services that everybody calls by the clock are in quiet.txt. They are left out when the DNS said that the address is
// theirs; a name in a request alone is the client's word, and makes it low.
//
// What was said of a place is said once a day while it changes (half as often, twice as much), and once a week while it
// does not.
//
// Heartbeats inside a connection that stays open, in datagrams and in ICMP are seen from how flows progress (inside.go): a
// dozen, answered, of 15 seconds or more, to a place that has no name or an ill one, are low; medium after a job.
//
// It does not see: heartbeats over DNS, inside the home networks (a proxy at home hides who is called), faster than one in
// two seconds (inside a connection 15) or with much jitter, or that report more than Config.Request each time; destinations
// in quiet.txt; a client that asks for another Host each time.
package beacon

import (
	_ "embed"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/ray"
)

//go:embed quiet.txt
var quietText string

const rule = "beacon/regular"

// Config are the settings, the section `beacon` of the configuration file.
type Config struct {
	Score      float64       `yaml:"score"`       // total, from which a series is regular
	Time       float64       `yaml:"time"`        // and of its intervals alone
	Calls      int           `yaml:"calls"`       // at least, for a score
	Span       time.Duration `yaml:"span"`        // of packet time from first to last, at least
	Answer     uint64        `yaml:"answer"`      // median bytes of an answer, at most
	Request    uint64        `yaml:"request"`     // median bytes of what is sent, at most
	Prevalence int           `yaml:"prevalence"`  // machines that call a place, from which it is everybody's
	AfterJob   time.Duration `yaml:"after_job"`   // how long after a foreign job five calls are enough
	ShortEvery time.Duration `yaml:"short_every"` // shortest period of five calls
	Allow      []string      `yaml:"allow"`       // networks, addresses, or domains that stand for themselves and all below
}

// Default is what holds when nothing is said. RITA calls 0.9 high; of the four parts two are almost given for a series
// that is its own range, so the intervals are asked for on their own too. Twelve calls make eleven intervals, of which
// chance aligns few. An order to a bot has a kilobyte, a segment of a film hundreds of them; a bot
// that has nothing to tell sends less than a page of telemetry. Five of a network's
// machines with the same implant would be found by what brought it.
func Default() Config {
	return Config{
		Score: 0.9, Time: 0.9, Calls: 12, Span: 45 * time.Second, Answer: 64 << 10, Request: 32 << 10, Prevalence: 5,
		AfterJob: 24 * time.Hour, ShortEvery: 20 * time.Second,
	}
}

const (
	// maxPairs bounds the series. One costs 24 bytes a call: 24 kB when it is full, 100 MB for all of them full, which
	// takes four million calls.
	maxPairs = 4096
	// maxCalls bounds a series: ten days of quarters of an hour. A full one loses its older half.
	maxCalls = 1000
	// maxNames bounds the names of addresses, maxHellos the TLS connections that have not ended, maxPlaces the places whose callers are counted, maxCallers these, and
	// maxJobs the machines that got a job from outside.
	maxNames   = 1 << 14
	maxHellos  = 1 << 14
	maxPlaces  = 8192
	maxCallers = 16
	maxJobs    = 1024
	// A series is rated with every call while it is short; later with every sixteenth of what it has.
	rateAll = 64
	// Within this of the one before, a call belongs to it.
	sameBeat = capture.Time(1e9)
	// RITA counts whole seconds, in which anything fast is regular. For periods under fastPeriod this share of the true
	// intervals must be within a fifth of it.
	fastPeriod = 30 * time.Second
	fastShare  = 0.8
	fastNear   = 0.2
	// The short rule: this many calls, within a tenth after a job, else a twentieth.
	shortCalls = 5
	nearJob    = 0.10
	nearAlone  = 0.05
	// What was said is said again after a day if it changed by half, and after a week if it did not.
	sayAgain = 24 * time.Hour
	saySame  = 7 * sayAgain
	changed  = 1.5
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "beacon", Settings: settings(),
		Rules: []detectors.Rule{{
			Name: rule, Note: "Beacon_Regular", Severity: detectors.Medium,
			Says: "A home machine contacts one destination outside at regular intervals with nearly the same message, as " +
				"implants do to fetch commands.",
			ATLAS:  []string{"AML.T0072"},
			ATTACK: []string{"T1071.001", "T1053.003", "T1029"},
			Needs: "HTTP in clear text, or packet headers of flows from their beginning; twelve calls, or five after a job " +
				"from outside.",
			FalsePositives: "Periodic calls in an unknown protocol to a bare address or to a name under a cheap top-level " +
				"domain (put the destination on the allow-list); a web page in a browser that does not identify itself. A " +
				"name is trusted when its lookup was seen, or when no lookups were seen at all. Low: keep-alives of VPNs and " +
				"of connections to destinations without a name.",
			Story: detectors.Story{Group: detectors.GroupBeacon,
				Does: "called % at regular intervals", Other: "command host", Techniques: []string{"AML.T0072", "T1071"},
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := newDetector(env, bus)
			detectors.On(bus, d.lookup)
			detectors.On(bus, d.request)
			detectors.On(bus, d.hello)
			detectors.On(bus, d.conn)
			detectors.On(bus, d.call)
			detectors.On(bus, d.progress)
		},
	}
}

type pairKey struct {
	src   netip.Addr
	host  string // as asked for, by HTTP or TLS
	tls   bool
	place netip.AddrPort // of other flows
}

type beat struct {
	at       capture.Time
	up, down uint32
	soft     uint8 // why it may be nothing, see the flags
}

// Flags of calls that are less suspicious.
const (
	page   = 1 << iota // a page in a browser made it
	watch              // a health check or the like, by its own account
	claim              // it names a service of quiet.txt, and nobody else says so
	named              // it goes under a name that nothing speaks against
	spoken             // in a protocol that is known and has a log of its own

	flags = 5
)

// pair is a series of calls, by time.
type pair struct {
	calls []beat
	next  int // rate when there are so many
	said  detectors.Severity
	at    capture.Time // when it was said
	every time.Duration
	size  uint32
}

// caller is who calls a place.
type callers struct {
	who  []netip.Addr
	said capture.Time // of the place, when many call it
}

// hello is what a client said when it opened a TLS connection.
type hello struct {
	name    string
	browser bool // it has what browsers' have: HTTP/2 and an encrypted inner hello
	bad     bool // the server's certificate has another name
}

type job struct {
	at capture.At
	by netip.Addr
}

type detector struct {
	cfg     Config
	env     *detectors.Env
	bus     *detectors.Bus
	allow   []*detectors.Networks
	quiet   map[string]bool
	strange decoders.Memo // names that are not in quiet
	pairs   detectors.Table[pairKey, pair]
	names   detectors.Table[netip.Addr, string]
	usual   detectors.Table[netip.Addr, struct{}] // addresses that a name of quiet.txt has
	hosts   detectors.Table[string, hello]        // of TLS connections, by flow
	who     detectors.Table[string, callers]      // of a place
	jobs    detectors.Table[netip.Addr, job]
	inside  detectors.Table[insideKey, inside] // heartbeats in flows
}

func newDetector(env *detectors.Env, bus *detectors.Bus) *detector {
	d := &detector{
		env: env, bus: bus,
		pairs:   detectors.Table[pairKey, pair]{Limit: maxPairs},
		names:   detectors.Table[netip.Addr, string]{Limit: maxNames},
		strange: bus.Names.Memo(),
		usual:   detectors.Table[netip.Addr, struct{}]{Limit: maxNames},
		hosts:   detectors.Table[string, hello]{Limit: maxHellos},
		who:     detectors.Table[string, callers]{Limit: maxPlaces},
		jobs:    detectors.Table[netip.Addr, job]{Limit: maxJobs},
		inside:  detectors.Table[insideKey, inside]{Limit: maxInside},
	}
	detectors.Configure(env, bus, "beacon", Default(), d.set)
	return d
}

func (d *detector) set(c Config) {
	d.cfg, d.allow, d.quiet = c, nil, map[string]bool{}
	d.strange.Forget()
	for line := range strings.Lines(quietText) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			d.quiet[line] = true
		}
	}
	for _, a := range d.cfg.Allow {
		if n, err := detectors.ParseNetworks([]string{a}); err == nil {
			d.allow = append(d.allow, n)
		} else {
			d.quiet[strings.ToLower(strings.Trim(a, "."))] = true
		}
	}
}

// call notes who got a job from outside. A head hands its jobs on to agents, so what it calls then is noted too.
func (d *detector) call(c *ray.Call) {
	if !c.Job || c.Flow == nil || c.Outcome != ray.Executed {
		return
	}
	by, to := c.Flow.Orig.Addr(), c.Flow.Resp.Addr()
	if !d.env.Home.Contains(to) {
		return
	}
	if !d.env.Inside(by) {
		*d.jobs.Put(to) = job{c.At, by}
	} else if j := d.jobs.Get(by); j != nil {
		on := *j
		*d.jobs.Put(to) = on
	}
}

func (d *detector) lookup(t *dns.Transaction) {
	known := false
	if !d.strange.Has(t.NameID) {
		if known = d.known(t.Query); !known {
			d.strange.Add(t.NameID)
		}
	}
	t.Addresses(func(a netip.Addr, _ time.Duration) bool {
		if !d.env.Home.Contains(a) {
			d.names.Store(a, t.Query)
			if known {
				d.usual.Put(a)
			}
		}
		return true
	})
}

// hello notes whom a TLS connection is for.
func (d *detector) hello(s *tls.Session) {
	if s.ServerName != "" && len(s.ServerName) <= maxHost && d.foreign(s.Flow) {
		d.hosts.Store(s.Flow.UID, hello{
			name:    strings.ToLower(s.ServerName),
			browser: s.ECH && slices.Contains(s.Offered, "h2"),
			bad:     s.NameChecked && !s.NameMatches,
		})
	}
}

// foreign says whether a flow leads from home to somebody outside who is of interest.
func (d *detector) foreign(f *capture.Flow) bool {
	if f == nil {
		return false
	}
	dst := f.Resp.Addr()
	if !d.env.Home.Contains(f.Orig.Addr()) || d.env.Home.Contains(dst) || detectors.Special(dst) {
		return false
	}
	for _, n := range d.allow {
		if n.Contains(dst) {
			return false
		}
	}
	return true
}

func (d *detector) known(name string) bool {
	for rest := strings.TrimSuffix(name, "."); rest != ""; {
		if d.quiet[rest] {
			return true
		}
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			break
		}
		rest = rest[i+1:]
	}
	return false
}

func (d *detector) request(t *http.Transaction) {
	r := t.Request
	if r == nil || r.Method == "CONNECT" || !d.foreign(t.Flow) {
		return
	}
	host := strings.ToLower(r.Header.Get("Host"))
	name, _ := r.Place()
	if host == "" || len(host) > maxHost {
		host = t.Flow.Resp.String()
	}
	b := beat{at: r.Time, up: clampSize(requestSize(r))}
	if d.known(name) {
		if d.usual.Get(t.Flow.Resp.Addr()) != nil {
			return
		}
		b.soft |= claim
	}
	if t.Response != nil {
		b.down = clampSize(uint64(max(t.Response.Body.Len, 0)))
	}
	if r.Header.Has("Referer") || r.Header.Has("Sec-Fetch-Mode") || r.Header.Has("X-Requested-With") {
		b.soft |= page
	}
	if d.believed(t.Flow.Resp.Addr(), name) && !disguised(r) {
		b.soft |= named
	}
	if watching(r) || strings.HasPrefix(name, "ocsp.") || strings.HasPrefix(name, "crl.") ||
		strings.EqualFold(r.Header.Get("Content-Type"), "application/ocsp-request") {
		b.soft |= watch
	}
	at := r.At
	if t.Response != nil {
		at = t.Response.At
	}
	d.add(pairKey{src: t.Flow.Orig.Addr(), host: host}, host, b, at, t.Flow)
}

// maxHost is what DNS allows a name, with a port.
const maxHost = 261

// requestSize is the length of a request as it was sent, all but exactly.
func requestSize(r *http.Request) uint64 {
	n := len(r.Method) + len(r.Target) + len("  HTTP/1.1\r\n\r\n")
	for i := range r.Header {
		n += len(r.Header[i].Name) + len(r.Header[i].Value) + len(": \r\n")
	}
	return uint64(n) + uint64(max(r.Body.Len, 0))
}

// watching says whether a request is one of those that watch a service.
func watching(r *http.Request) bool {
	ua := r.Header.Get("User-Agent")
	for _, p := range [...]string{"Prometheus/", "kube-probe/", "GoogleHC/", "ELB-HealthChecker/", "Blackbox Exporter", "Grafana", "Datadog"} {
		if strings.HasPrefix(ua, p) {
			return true
		}
	}
	if strings.HasPrefix(ua, "nginx/") || strings.Contains(ua, "health check") || strings.Contains(ua, "HealthCheck") {
		return true // NGINX Plus, Azure, HAProxy and others say what they do
	}
	path, _, _ := strings.Cut(r.Target, "?")
	for _, s := range [...]string{"/metrics", "/healthz", "/livez", "/readyz", "/health", "/ping", "/api/version", "/api/cluster_status"} {
		if strings.HasSuffix(path, s) {
			return true
		}
	}
	return false
}

func (d *detector) conn(c *capture.Conn) {
	f := c.Flow
	if f == nil || f.Proto != capture.ProtoTCP || c.Guessed || slices.Contains(c.Services, "http") || !d.foreign(f) {
		return
	}
	// Only established ones: connections that fail are tried again by the clock of the system.
	switch c.State {
	case "SF", "S1", "S2", "S3", "RSTO", "RSTR":
	default:
		return
	}
	if c.Bytes[capture.Orig] == 0 {
		return
	}
	call := beat{at: f.Start, up: clampSize(c.Bytes[capture.Orig]), down: clampSize(c.Bytes[capture.Resp])}
	if h, ok := d.hosts.Load(f.UID); ok {
		d.hosts.Drop(f.UID)
		if d.known(h.name) {
			if d.usual.Get(f.Resp.Addr()) != nil {
				return
			}
			call.soft |= claim
		}
		if h.browser {
			call.soft |= page
		}
		if !h.bad && d.believed(f.Resp.Addr(), h.name) {
			call.soft |= named
		}
		d.add(pairKey{src: f.Orig.Addr(), host: h.name, tls: true}, h.name, call, c.At, f)
		return
	}
	name, _ := d.names.Load(f.Resp.Addr())
	if d.known(name) {
		return
	}
	if spokenBy(c.Services) {
		call.soft |= spoken
	}
	// What the tap did not see whole (a short snap length) is taken for what its port is for.
	if name != "" && !ill(name) && unread(c) && usualPort(f.Resp.Port()) {
		call.soft |= named
	}
	d.add(pairKey{src: f.Orig.Addr(), place: f.Resp}, f.Resp.String(), call, c.At, f)
}

func clampSize(n uint64) uint32 { return uint32(min(n, 1<<32-1)) }

// add puts a call into its series and judges that.
func (d *detector) add(k pairKey, place string, b beat, at capture.At, f *capture.Flow) {
	who := d.who.Put(place)
	if len(who.who) < maxCallers && !slices.Contains(who.who, k.src) {
		who.who = append(who.who, k.src)
	}
	prevalence := len(who.who)

	p := d.pairs.Get(k)
	if p == nil {
		k.host = strings.Clone(k.host)
		p = d.pairs.Put(k)
	}
	if len(p.calls) >= maxCalls {
		p.calls = append(p.calls[:0], p.calls[maxCalls/2:]...)
		p.next = 0
	}
	// Flows are told of when they end; most are in order all the same.
	i := len(p.calls)
	for i > 0 && p.calls[i-1].at > b.at {
		i--
	}
	p.calls = slices.Insert(p.calls, i, b)
	if n := len(p.calls); n < shortCalls || n < p.next {
		return
	} else if p.next = n + 1; n > rateAll {
		p.next = n + n/16
	}
	if p.said >= detectors.Medium && at.Time.Sub(p.at) < sayAgain {
		return
	}
	v, ok := d.judge(k, p.calls, prevalence)
	if !ok || v.severity <= p.said && at.Time.Sub(p.at) < p.wait(&v) {
		return
	}
	if v.many {
		if who.said != 0 && at.Time.Sub(who.said) < saySame {
			return
		}
		who.said = at.Time
	}
	p.said, p.at, p.every, p.size = v.severity, at.Time, v.period, v.size
	d.report(k, v, at, f)
}

// wait is how long after the last time something no worse is said of a series.
func (p *pair) wait(v *verdict) time.Duration {
	differ := func(a, b float64) bool { return a > changed*b || b > changed*a }
	if v.hint || !differ(float64(v.period), float64(p.every)) && !differ(float64(v.size), float64(p.size)) {
		return saySame
	}
	return sayAgain
}

// verdict is what is made of a series.
type verdict struct {
	severity   detectors.Severity
	confidence int
	beats      int
	period     time.Duration
	span       time.Duration
	size       uint32
	score      Score
	job        *job
	why        string // why it is only low
	many       bool   // because many machines call it
	hint       bool   // five calls
}

func (d *detector) judge(k pairKey, calls []beat, prevalence int) (v verdict, ok bool) {
	beats := merge(calls)
	if len(beats) < shortCalls {
		return v, false
	}
	first, last := beats[0].at, beats[len(beats)-1].at
	v.beats, v.span = len(beats), last.Sub(first)
	gaps := make([]time.Duration, 0, len(beats)-1)
	ups, downs := make([]uint32, 0, len(beats)), make([]uint32, 0, len(beats))
	soft := [flags]int{}
	for i := range beats {
		if i > 0 {
			gaps = append(gaps, beats[i].at.Sub(beats[i-1].at))
		}
		ups, downs = append(ups, beats[i].up), append(downs, beats[i].down)
		for j := range soft {
			if beats[i].soft&(1<<j) != 0 {
				soft[j]++
			}
		}
	}
	sorted := slices.Clone(gaps)
	slices.Sort(sorted)
	slices.Sort(ups)
	slices.Sort(downs)
	v.period, v.size = sorted[len(sorted)/2], ups[len(ups)/2]
	if uint64(downs[len(downs)/2]) > d.cfg.Answer || uint64(v.size) > d.cfg.Request {
		return v, false
	}
	if j := d.jobs.Get(k.src); j != nil && last > j.at.Time && first.Sub(j.at.Time) <= d.cfg.AfterJob {
		given := *j
		v.job = &given
	}
	v.severity, v.confidence = detectors.Medium, 70
	switch {
	case prevalence >= d.cfg.Prevalence:
		v.severity, v.many, v.why = detectors.Low, true, fmt.Sprintf("at least %d machines call it", prevalence)
	case 2*soft[0] > len(beats):
		v.severity, v.why = detectors.Low, "a page in a browser asks"
	case 2*soft[1] > len(beats):
		v.severity, v.why = detectors.Low, "it looks like a health check, a scrape of metrics or a check of certificates"
	case 2*soft[2] > len(beats):
		v.severity, v.why = detectors.Low, "it names a service that is called by the clock, for an address that was not looked up"
	case v.job != nil:
	case 2*soft[3] > len(beats):
		v.severity, v.why = detectors.Low, "it goes by a name, as agents and runners do, and nothing else speaks against it"
	case 2*soft[4] > len(beats):
		v.severity, v.why = detectors.Low, "it speaks a protocol of its own, which has its log"
	}
	if v.beats >= d.cfg.Calls && v.span >= d.cfg.Span && d.regular(beats, gaps, &v) {
		if v.score.Total >= 0.97 {
			v.confidence = 80
		}
		return v, true
	}
	v.hint = true
	// A series that has twelve calls within the day is told of then.
	if v.period < d.cfg.ShortEvery || v.job == nil && time.Duration(d.cfg.Calls)*v.period <= sayAgain {
		return v, false
	}
	near := nearAlone
	if v.job != nil {
		near = nearJob
	}
	recent := gaps[len(gaps)-(shortCalls-1):]
	mid := slices.Clone(recent)
	slices.Sort(mid)
	for _, g := range recent {
		if m := float64(mid[len(mid)/2]); float64(g) < (1-near)*m || float64(g) > (1+near)*m {
			return v, false
		}
	}
	v.score = Score{}
	if v.period = mid[len(mid)/2]; v.job == nil {
		v.severity = detectors.Low
	}
	v.confidence = 50
	return v, true
}

// regular rates a series.
func (d *detector) regular(beats []beat, gaps []time.Duration, v *verdict) bool {
	if v.period < fastPeriod {
		near := 0
		for _, g := range gaps {
			if m := float64(v.period); float64(g) >= (1-fastNear)*m && float64(g) <= (1+fastNear)*m {
				near++
			}
		}
		if float64(near) < fastShare*float64(len(gaps)) {
			return false
		}
	}
	times, sizes := make([]int64, len(beats)), make([]float64, len(beats))
	for i := range beats {
		times[i], sizes[i] = int64(beats[i].at)/1e9, float64(beats[i].up)
	}
	v.score = Rate(times, sizes, times[0], times[len(times)-1])
	return v.score.Total >= d.cfg.Score && v.score.Time >= d.cfg.Time
}

// merge makes calls that come together one.
func merge(calls []beat) []beat {
	out := make([]beat, 0, len(calls))
	var last capture.Time
	for _, c := range calls {
		if n := len(out); n > 0 && c.at-last < sameBeat {
			b := &out[n-1]
			b.up, b.down, b.soft = clampSize(uint64(b.up)+uint64(c.up)), clampSize(uint64(b.down)+uint64(c.down)), b.soft|c.soft
		} else {
			out = append(out, c)
		}
		last = c.at
	}
	return out
}

func (d *detector) report(k pairKey, v verdict, at capture.At, f *capture.Flow) {
	to := k.host
	if to == "" {
		to = k.place.String()
		if n := d.names.Get(k.place.Addr()); n != nil {
			to += " (" + *n + ")"
		}
	}
	to = detectors.Clip(to, 140)
	finding := &detectors.Finding{
		At: at, Rule: rule, Severity: v.severity, Confidence: v.confidence, Outcome: detectors.Observed,
		Src: k.src, Dst: f.Resp.Addr(), Port: f.Resp.Port(), Flow: f, Many: true,
		Msg: fmt.Sprintf("%s calls %s every %s: %d times in %s, with %d bytes each", k.src, to, span(v.period), v.beats, span(v.span), v.size),
		Evidence: []detectors.Evidence{
			{Field: "period", Value: v.period.Round(time.Millisecond).String(), Packet: at.Packet},
			{Field: "calls", Value: fmt.Sprint(v.beats), Packet: at.Packet},
		},
		Key: rule + "|" + k.src.String() + "|" + to,
	}
	if v.many {
		finding.Key = rule + "|" + to
	}
	if v.score.Total > 0 {
		finding.Sub = fmt.Sprintf("regularity %.2f: intervals %.2f, sizes %.2f, evenness %.2f, duration %.2f",
			v.score.Total, v.score.Time, v.score.Size, v.score.Histogram, v.score.Duration)
	} else {
		finding.Sub = fmt.Sprintf("the last %d calls are within a tenth of one period", shortCalls)
	}
	if v.why != "" {
		finding.Sub += "; " + v.why
	}
	if v.job != nil {
		finding.Msg += fmt.Sprintf("; %s gave it a job before", v.job.by)
		finding.Confidence = max(finding.Confidence, 85)
		finding.Evidence = append(finding.Evidence, detectors.Evidence{Field: "job", Value: v.job.by.String(), Packet: v.job.at.Packet})
	}
	d.bus.Report(finding)
}

func span(d time.Duration) string {
	switch {
	case d >= 3*time.Hour:
		return fmt.Sprintf("%.0f hours", d.Hours())
	case d >= 3*time.Minute:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f seconds", d.Seconds())
	}
	return fmt.Sprintf("%.0f seconds", d.Seconds())
}
