// Package egress finds data that leaves in bulk.
//
// In: *capture.Progress of living flows; names from *dns.Transaction and *http.Transaction. Out: findings of
// egress/large: a home machine sent more than a bound to one destination outside within a window of packet time, summed
// over flows, TCP or UDP. Bytes are payload by the packets' headers, retransmissions counted once, so a short snap
// length changes nothing, and they are counted while a flow lives: a flow that never ends is found all the same.
//
// Two roles have two bars. Bytes that a home machine pushes over flows it opened count against Config.Bytes. Bytes
// that it serves to a client outside count against Serving times that, since answering is what servers do; and a
// machine that serves many clients is a public service, for which one client must take PublicServing times the bound.
// So the download of an image from a web page stays quiet, and somebody who pulls a model through a port that he
// opened on a worker, as its only client, does not. Each role is held against its own bar: nobody hides what he pushes
// behind what he pulls. In a flow that was picked up mid-stream the direction is a guess; all of it counts as pushed,
// with lower confidence. A destination that the machine has used regularly for long has LongUsed times the bar.
//
// What is usual is learned (usual.go): the bar of a pair is never lower than the median of what it sent in the windows
// before and Deviations times their MAD, and what is no more than the machine sends to one destination anyway is low. A
// finding says these figures, since when the destination is known, and how many machines at home use it.
//
// Names of destinations are those that DNS answered with them. A Host field is the sender's word: it is shown, but
// allows nothing. A machine that an intruder owns can still ask a name server of his for a name on the allow-list; where
// that matters, allow networks.
//
// What a machine pushes to destinations that are new to it and that nobody else here uses has one bound together
// (spread.go), so that cutting it into pieces hides nothing.
//
// What leaves slowly has a bound of a day, of its own (day.go): for one destination, and for the hosts of one network that
// are new and that nobody else here uses. It is low where many machines send, or to stores and hubs.
//
// It does not see: what the bytes are; data that leaves more slowly than the bound of a day, or slowly to many networks;
// what is sent to a place on the allow-list; who pulls from a machine that serves many.
package egress

import (
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
)

// Config are the settings, the section `egress` of the configuration file.
type Config struct {
	Bytes         uint64        `yaml:"bytes"`          // to one destination within Window
	Window        time.Duration `yaml:"window"`         // of packet time
	Allow         []string      `yaml:"allow"`          // networks, addresses, or names that stand for themselves and all below
	Serving       uint64        `yaml:"serving"`        // times the bound, for answers to a client outside
	PublicServing uint64        `yaml:"public_serving"` // times the bound, for answers of a machine with many clients
	LongUsed      uint64        `yaml:"long_used"`      // times the bar, for destinations that were used on many hours of more than a day
	Day           uint64        `yaml:"day"`            // to one destination, or one network, within a day; 0: that is not looked at
	Deviations    uint64        `yaml:"deviations"`     // MADs above the median of earlier windows that are still usual
}

// Default is what holds when nothing is said: 100 MB in ten minutes is a small model or a large database dump, and
// more than logs, telemetry and package uploads of a node add up to for one destination. A tenth of what a machine may send
// by these windows in a day, 1 GB, is more than a node's logs and telemetry are, too.
func Default() Config {
	return Config{Bytes: 100e6, Window: 10 * time.Minute, Serving: 10, PublicServing: 100, LongUsed: 5, Day: 1e9, Deviations: 6}
}

// isName says whether s can be a domain name: labels of letters, digits, hyphens and underscores, and one that is no
// number.
func isName(s string) bool {
	s = strings.Trim(s, ".")
	letters := false
	for _, c := range []byte(s) {
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			letters = true
		case c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return letters && !strings.Contains(s, "..")
}

const (
	// Parts of the window: the sum forgets in steps of a twentieth of it, and covers at least 19 of them.
	parts = 20
	// Pairs of machine and destination that are remembered: an hour of a busy network of a thousand machines. A pair
	// costs half a kilobyte, and two when many flows are open between the two.
	maxPairs = 1 << 16
	// Addresses whose names are remembered, and machines at home that serve.
	maxNames = 1 << 16
	maxHosts = 1 << 14
	// Clients outside within a day that make a machine's service public.
	publicClients = 20
	// A destination is known when it was first used a day ago and in six different hours since.
	knownFor   = 24 * time.Hour
	knownHours = 6
	// Names of one address, and flows of one window, that are told apart.
	maxAliases = 4
	maxFlows   = 32
	// Longest name that is kept, RFC 1035.
	maxName = 255
	// What is said again: ten times as much.
	muchMore = 10
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "egress", Settings: settings(),
		Rules: []detectors.Rule{{
			Name: "egress/large", Note: "Egress_Large", Severity: detectors.Medium,
			Says: "A home machine sent more than a threshold to one destination outside within a window (high at " +
				"ten times the threshold), or slowly, within a day, to one destination or to the hosts of one network.",
			ATLAS:  []string{"AML.T0025"},
			ATTACK: []string{"T1041", "T1048"},
			Needs: "Packet headers; any snapshot length. Both directions are needed only to know who opened the " +
				"flow.",
			FalsePositives: "Backups, model and image pushes to your own storage, video calls; over a day, logs and metrics " +
				"of a busy machine sent to a collector that only it uses. Put the storage or collector on the allow-list, or " +
				"raise the threshold.",
			Story: detectors.Story{Group: detectors.GroupTheft,
				Does: "sent much data to %", Other: "exfiltration host", Techniques: []string{"AML.T0025", "T1041"},
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{
				home: env.Home, bus: bus,
				pairs:  detectors.Table[pairKey, pair]{Limit: maxPairs},
				names:  detectors.Table[netip.Addr, aliases]{Limit: maxNames},
				hosts:  detectors.Table[netip.Addr, host]{Limit: maxHosts},
				users:  detectors.Table[netip.Addr, users]{Limit: maxNames},
				spread: detectors.Table[netip.Addr, spread]{Limit: maxHosts},
				slow:   detectors.Table[netKey, slow]{Limit: maxHosts},
			}
			detectors.Configure(env, bus, "egress", Default(), d.set)
			detectors.On(bus, d.progress)
			detectors.On(bus, d.lookup)
			detectors.On(bus, d.request)
		},
	}
}

// set takes over settings. Pairs that are known keep their sums; those are in parts of the window that was.
func (d *detector) set(c Config) {
	d.cfg = c
	d.part = max(capture.Time(d.cfg.Window)/parts, 1)
	d.allow, d.domains = nil, nil
	for _, a := range d.cfg.Allow {
		if n, err := detectors.ParseNetworks([]string{a}); err == nil {
			d.allow = append(d.allow, n)
		} else {
			d.domains = append(d.domains, strings.ToLower(strings.Trim(a, ".")))
		}
	}
}

type pairKey struct{ src, dst netip.Addr }

// The two roles of a machine in a flow.
const (
	pushed = iota
	served
	roles
)

// pair is what one machine sent to one destination.
type pair struct {
	sums    [roles][parts]uint64 // by part of the window, a ring
	at      capture.Time         // number of the current part
	first   capture.Time
	hour    capture.Time // last hour in which it was used
	hours   int
	flows   []use        // bounded
	many    capture.Time // part in which flows was full; 0: never
	began   capture.Time // when the first bytes of the window were sent, if it was empty before
	said    [roles]uint64
	guessed bool
	before  habit // of what it pushed
	days    [roles]daily
	told    [roles]uint64 // the most that was said of it, by day; a window's bound counts for a day's
}

// use is a flow between the two.
type use struct {
	uid string
	at  capture.Time // part in which it moved bytes last
}

// aliases are the names of an address.
type aliases struct {
	looked []string // as DNS answered them
	called string   // as a Host field had it
}

// host is a home machine: as a server, and what it pushes to the destination that gets most.
type host struct {
	clients int
	since   capture.Time
	before  habit
}

// users are the home machines that send to a destination.
type users struct {
	first    capture.Time
	machines int
}

type detector struct {
	cfg     Config
	home    *detectors.Networks
	allow   []*detectors.Networks
	domains []string
	bus     *detectors.Bus
	part    capture.Time
	pairs   detectors.Table[pairKey, pair]
	names   detectors.Table[netip.Addr, aliases]
	hosts   detectors.Table[netip.Addr, host]
	users   detectors.Table[netip.Addr, users] // by destination
	spread  detectors.Table[netip.Addr, spread]
	slow    detectors.Table[netKey, slow]
}

func (d *detector) lookup(t *dns.Transaction) {
	if !t.Answered || t.Multicast || t.NetBIOS || t.Query == "" || len(t.Query) > maxName {
		return
	}
	t.Addresses(func(a netip.Addr, _ time.Duration) bool {
		l := &d.names.Put(a).looked
		for _, n := range *l {
			if n == t.Query {
				return true
			}
		}
		if len(*l) >= maxAliases {
			*l = append((*l)[:0], (*l)[1:]...)
		}
		*l = append(*l, t.Query)
		return true
	})
}

func (d *detector) request(t *http.Transaction) {
	if t.Request == nil || t.Flow == nil {
		return
	}
	h := t.Request.Authority() // of a proxy's the name by which it is called
	if len(h) > maxName || !isName(h) {
		return
	}
	d.names.Put(t.Flow.Resp.Addr()).called = h
}

func (d *detector) allowed(a netip.Addr) bool {
	for _, n := range d.allow {
		if n.Contains(a) {
			return true
		}
	}
	if len(d.domains) == 0 {
		return false
	}
	if names := d.names.Get(a); names != nil {
		for _, n := range names.looked {
			for _, suffix := range d.domains {
				if n == suffix || strings.HasSuffix(n, suffix) && n[len(n)-len(suffix)-1] == '.' {
					return true
				}
			}
		}
	}
	return false
}

func (d *detector) progress(p *capture.Progress) {
	for dir := capture.Orig; dir <= capture.Resp; dir++ {
		n := p.Bytes[dir]
		if n == 0 {
			continue
		}
		src, dst := p.Flow.Src(dir).Addr(), p.Flow.Dst(dir).Addr()
		if d.home.Contains(src) && !d.home.Contains(dst) && !detectors.Special(dst) && !d.allowed(dst) {
			d.add(p, dir, pairKey{src, dst}, n)
		}
	}
}

func (d *detector) add(p *capture.Progress, dir capture.Dir, k pairKey, n uint64) {
	e := d.pairs.Get(k)
	serving := dir == capture.Resp && !p.Guessed
	if e == nil {
		e = d.pairs.Put(k)
		*e = pair{first: p.Time, hours: 1, hour: p.Time / 3600e9, at: p.Time / d.part}
		if serving {
			h := d.hosts.Put(k.src)
			if h.clients == 0 || p.Time.Sub(h.since) > knownFor {
				h.clients, h.since = 0, p.Time
			}
			h.clients++
		}
		u := d.users.Put(k.dst)
		if u.machines++; u.machines == 1 {
			u.first = p.Time
		}
	}
	d.turn(e, p.Time)
	if hour := p.Time / 3600e9; hour != e.hour {
		e.hour = hour
		e.hours++
	}
	if e.sum(pushed)+e.sum(served) == 0 {
		e.began, e.flows, e.many, e.said, e.guessed = p.Time, e.flows[:0], 0, [roles]uint64{}, false
	}
	role := pushed
	if serving {
		role = served
	}
	e.sums[role][e.at%parts] += n
	e.days[role].add(p.Time, n)
	e.guessed = e.guessed || p.Guessed
	e.note(p.Flow)
	h := d.hosts.Get(k.src)
	if role == pushed {
		if h == nil {
			h = d.hosts.Put(k.src)
		}
		window, sum := p.Time/capture.Time(d.cfg.Window), e.sum(pushed)
		e.before.most(window, sum)
		h.before.most(window, sum)
	}

	more := uint64(1)
	if role == served {
		more = d.cfg.Serving
		if h != nil && h.clients >= publicClients {
			more = d.cfg.PublicServing
		}
	}
	known := p.Time.Sub(e.first) >= knownFor && e.hours >= knownHours
	if known {
		more = times(more, d.cfg.LongUsed)
	}
	bar := times(d.cfg.Bytes, more)
	sent := e.sum(role)
	if role == pushed && !known && sent < bar {
		d.budget(p, dir, k, e, n)
	}
	if sent < bar {
		d.perDay(p, dir, k, e, role, times(d.cfg.Day, more), known)
		return
	}
	if e.said[role] > 0 && sent < times(e.said[role], muchMore) {
		return
	}
	if role == pushed {
		if u, ok := e.before.usual(d.cfg.Deviations); ok {
			bar = max(bar, u.bar)
		}
	}
	// Said at the bar and at each ten times it.
	if sent < bar {
		return
	}
	for e.said[role] = bar; sent >= times(e.said[role], muchMore) && e.said[role] < math.MaxUint64; {
		e.said[role] = times(e.said[role], muchMore)
	}
	e.told[role] = max(e.told[role], sent, times(d.cfg.Day, more))
	d.report(p, dir, k, e, role, sent, bar, known)
}

// times multiplies, up to what there is; by 0 is by 1.
func times(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, max(b, 1))
	if hi != 0 {
		return math.MaxUint64
	}
	return lo
}

// turn moves the window to now.
func (d *detector) turn(e *pair, now capture.Time) {
	at := now / d.part
	if at-e.at >= parts {
		e.sums = [roles][parts]uint64{}
	} else {
		for i := e.at + 1; i <= at; i++ {
			e.sums[pushed][i%parts], e.sums[served][i%parts] = 0, 0
		}
	}
	e.at = max(e.at, at)
}

func (e *pair) sum(role int) (n uint64) {
	for _, s := range e.sums[role] {
		n += s
	}
	return n
}

// since is when the first bytes of the window were sent, to the part.
func (d *detector) since(e *pair) capture.Time {
	for i := max(e.at-parts+1, 0); i <= e.at; i++ {
		if e.sums[pushed][i%parts]+e.sums[served][i%parts] > 0 {
			return max(e.began, i*d.part)
		}
	}
	return e.began
}

// note counts f to the flows of the window.
func (e *pair) note(f *capture.Flow) {
	oldest := 0
	for i := range e.flows {
		if e.flows[i].uid == f.UID {
			e.flows[i].at = e.at
			return
		}
		if e.flows[i].at < e.flows[oldest].at {
			oldest = i
		}
	}
	switch {
	case len(e.flows) < maxFlows:
		e.flows = append(e.flows, use{f.UID, e.at})
	case e.at-e.flows[oldest].at >= parts:
		e.flows[oldest] = use{f.UID, e.at}
	default:
		e.many = max(e.at, 1)
	}
}

// count says over how many flows the window's bytes went.
func (e *pair) count() string {
	n := 0
	for _, u := range e.flows {
		if e.at-u.at < parts {
			n++
		}
	}
	switch {
	case e.many > 0 && e.at-e.many < parts:
		return fmt.Sprintf("more than %d flows", n)
	case n == 1:
		return "1 flow"
	}
	return fmt.Sprintf("%d flows", n)
}

// called gives an address with its name, if it has one.
func (d *detector) called(a netip.Addr) string {
	to := a.String()
	if names := d.names.Get(a); names != nil && len(names.looked) > 0 {
		to += " (" + names.looked[len(names.looked)-1] + ")"
	} else if names != nil && names.called != "" {
		to += " (called " + names.called + ")"
	}
	return to
}

func (d *detector) report(p *capture.Progress, dir capture.Dir, k pairKey, e *pair, role int, sent, bar uint64, known bool) {
	f := &detectors.Finding{
		At: p.At, Rule: "egress/large", Severity: detectors.Medium, Confidence: 70, Outcome: detectors.Succeeded,
		Src: k.src, Dst: k.dst, Flow: p.Flow, Many: true, Port: p.Flow.Dst(dir).Port(),
	}
	if sent >= times(bar, muchMore) {
		f.Severity = detectors.High
	}
	if e.guessed {
		f.Confidence = 40
	}
	verb := "sent"
	if role == served {
		verb = "served"
	}
	f.Msg = fmt.Sprintf("%s %s %s to %s in %s over %s (bound %s in %s)", k.src, verb, detectors.Size(sent), d.called(k.dst),
		detectors.Span(p.Time.Sub(d.since(e))), e.count(), detectors.Size(bar), detectors.Span(d.cfg.Window))
	var why []string
	if e.guessed {
		why = append(why, "picked up mid-stream: who opened the flow is a guess")
	}
	if known {
		why = append(why, "a destination in regular use")
	}
	if role == pushed {
		if u, ok := e.before.usual(d.cfg.Deviations); ok {
			why = append(why, "usual to this destination are "+u.String())
		}
		if u, ok := d.hosts.Get(k.src).before.usual(d.cfg.Deviations); ok {
			why = append(why, "usual to the destination that gets most are "+u.String())
			if sent <= u.bar {
				f.Severity, f.Confidence = detectors.Low, min(f.Confidence, 50)
			}
		}
	}
	if u := d.users.Get(k.dst); u != nil {
		machines := "1 machine here uses it"
		if u.machines > 1 {
			machines = fmt.Sprintf("%d machines here use it", u.machines)
			f.Confidence = max(f.Confidence-5*min(u.machines-1, 4), 30)
		}
		why = append(why, fmt.Sprintf("the destination was first seen %s before; %s", detectors.Span(p.Time.Sub(u.first)), machines))
	}
	f.Sub = strings.Join(why, "; ")
	f.Evidence = []detectors.Evidence{
		{Field: "bytes", Value: fmt.Sprint(sent), Packet: p.Packet},
		{Field: "flow", Value: p.Flow.UID, Packet: p.Packet},
	}
	d.bus.Report(f)
}
