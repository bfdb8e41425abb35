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
// A destination that the machine has used regularly for long has LongUsed times the bar.
//
// It does not see: what the bytes are; data that leaves slowly, under the bound in every window; data that leaves over
// many destinations; what is sent to a place on the allow-list.
package egress

import (
	"fmt"
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
}

// Default is what holds when nothing is said: 100 MB in ten minutes is a small model or a large database dump, and
// more than logs, telemetry and package uploads of a node add up to for one destination.
func Default() Config {
	return Config{Bytes: 100e6, Window: 10 * time.Minute, Serving: 10, PublicServing: 100, LongUsed: 5}
}

const (
	// Parts of the window: the sum forgets in steps of a tenth of it.
	parts = 10
	// Pairs of machine and destination, and names of addresses, that are remembered.
	maxPairs = 1 << 16
	maxNames = 1 << 16
	maxHosts = 1 << 14
	// Clients outside within a day that make a machine's service public.
	publicClients = 20
	// A destination is known when it was first used a day ago and in six different hours since.
	knownFor   = 24 * time.Hour
	knownHours = 6
	// Names of one address, and flows of one window, that are told apart.
	maxAliases = 4
	maxFlows   = 64
	// What is said again: ten times as much.
	muchMore = 10
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "egress",
		Rules: []detectors.Rule{{
			Name: "egress/large", Note: "Egress_Large", Severity: detectors.Medium,
			Says:           "A home machine sent more than a bound to one destination outside within a window; high at ten times the bound.",
			ATLAS:          []string{"AML.T0025"},
			ATTACK:         []string{"T1041", "T1048"},
			Needs:          "The packets' headers; any snap length. Both directions only to know who opened the flow.",
			FalsePositives: "Backups, model and image pushes to a store of one's own, video calls: put the store on the allow-list, or raise the bound.",
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			cfg := Default()
			if c, ok := env.Settings["egress"].(*Config); ok {
				cfg = *c
			}
			d := &detector{
				cfg: cfg, home: env.Home, bus: bus, part: max(capture.Time(cfg.Window)/parts, 1),
				pairs: detectors.Table[pairKey, pair]{Limit: maxPairs},
				names: detectors.Table[netip.Addr, []string]{Limit: maxNames},
				hosts: detectors.Table[netip.Addr, host]{Limit: maxHosts},
			}
			for _, a := range cfg.Allow {
				if n, err := detectors.ParseNetworks([]string{a}); err == nil {
					d.allow = append(d.allow, n)
				} else {
					d.domains = append(d.domains, strings.ToLower(strings.Trim(a, ".")))
				}
			}
			detectors.On(bus, d.progress)
			if len(d.domains) > 0 {
				detectors.On(bus, d.lookup)
				detectors.On(bus, d.request)
			}
		},
	}
}

type pairKey struct{ src, dst netip.Addr }

// pair is what one machine sent to one destination.
type pair struct {
	sums    [2][parts]uint64 // pushed, served; by part of the window
	at      capture.Time     // number of the current part
	first   capture.Time
	hour    capture.Time // last hour in which it was used
	hours   int
	flows   []*capture.Flow // of the window so far, bounded
	more    int             // flows beyond them
	began   capture.Time    // when the window's first bytes were sent
	said    uint64          // bytes when it was said last, 0: not said
	guessed bool
}

// host is a home machine as a server.
type host struct {
	clients int
	since   capture.Time
}

type detector struct {
	cfg     Config
	home    *detectors.Networks
	allow   []*detectors.Networks
	domains []string
	bus     *detectors.Bus
	part    capture.Time
	pairs   detectors.Table[pairKey, pair]
	names   detectors.Table[netip.Addr, []string]
	hosts   detectors.Table[netip.Addr, host]
}

func (d *detector) lookup(t *dns.Transaction) {
	t.Addresses(func(a netip.Addr, _ time.Duration) bool {
		d.name(a, t.Query)
		return true
	})
}

func (d *detector) request(t *http.Transaction) {
	if t.Request == nil {
		return
	}
	h := t.Request.Header.Get("Host")
	if i := strings.LastIndexByte(h, ':'); i > 0 && !strings.HasSuffix(h, "]") {
		h = h[:i]
	}
	// A Host field is the client's word: it may only name what it is sent to, never an address that a look-up named
	// otherwise, or an intruder would write himself onto the allow-list.
	if a := t.Flow.Resp.Addr(); d.names.Get(a) == nil {
		return
	} else if h != "" {
		d.name(a, strings.ToLower(h))
	}
}

func (d *detector) name(a netip.Addr, name string) {
	l := d.names.Put(a)
	for _, n := range *l {
		if n == name {
			return
		}
	}
	if len(*l) >= maxAliases {
		*l = append((*l)[:0], (*l)[1:]...)
	}
	*l = append(*l, name)
}

func (d *detector) allowed(a netip.Addr) bool {
	for _, n := range d.allow {
		if n.Contains(a) {
			return true
		}
	}
	if names := d.names.Get(a); names != nil {
		for _, n := range *names {
			for _, suffix := range d.domains {
				if n == suffix || strings.HasSuffix(n, "."+suffix) {
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
				*h = host{since: p.Time}
			}
			h.clients++
		}
	}
	d.turn(e, p.Time)
	if hour := p.Time / 3600e9; hour != e.hour {
		e.hour = hour
		e.hours++
	}
	if e.total() == 0 {
		e.began, e.flows, e.more, e.said, e.guessed = p.Time, e.flows[:0], 0, 0, false
	}
	role := 0
	if serving {
		role = 1
	}
	e.sums[role][e.at%parts] += n
	e.guessed = e.guessed || p.Guessed
	e.note(p.Flow)

	bar := d.cfg.Bytes
	sent := e.sum(0)
	if served := e.sum(1); served > sent {
		sent = served
		bar *= d.cfg.Serving
		if h := d.hosts.Get(k.src); h != nil && h.clients >= publicClients {
			bar = d.cfg.Bytes * d.cfg.PublicServing
		}
	}
	known := p.Time.Sub(e.first) >= knownFor && e.hours >= knownHours
	if known {
		bar *= max(d.cfg.LongUsed, 1)
	}
	if sent < bar || e.said > 0 && sent < muchMore*e.said {
		return
	}
	e.said = sent
	d.report(p, dir, k, e, sent, bar, known)
}

// turn moves the window to now.
func (d *detector) turn(e *pair, now capture.Time) {
	at := now / d.part
	if at-e.at >= parts {
		e.sums = [2][parts]uint64{}
	} else {
		for i := e.at + 1; i <= at; i++ {
			e.sums[0][i%parts], e.sums[1][i%parts] = 0, 0
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

func (e *pair) total() uint64 { return e.sum(0) + e.sum(1) }

func (e *pair) note(f *capture.Flow) {
	for _, g := range e.flows {
		if g == f {
			return
		}
	}
	if len(e.flows) < maxFlows {
		e.flows = append(e.flows, f)
	} else {
		e.more++
	}
}

func (d *detector) report(p *capture.Progress, dir capture.Dir, k pairKey, e *pair, sent, bar uint64, known bool) {
	f := &detectors.Finding{
		At: p.At, Rule: "egress/large", Severity: detectors.Medium, Confidence: 70, Outcome: detectors.Succeeded,
		Src: k.src, Dst: k.dst, Flow: p.Flow, Port: p.Flow.Dst(dir).Port(),
	}
	if sent >= muchMore*bar {
		f.Severity = detectors.High
	}
	if e.guessed {
		f.Confidence = 40
	}
	flows := fmt.Sprintf("%d flows", len(e.flows))
	switch {
	case e.more > 0:
		flows = fmt.Sprintf("more than %d flows", len(e.flows))
	case len(e.flows) == 1:
		flows = "1 flow"
	}
	verb := "sent"
	if e.sum(1) > e.sum(0) {
		verb = "served"
	}
	to := k.dst.String()
	if names := d.names.Get(k.dst); names != nil && len(*names) > 0 {
		to += " (" + (*names)[len(*names)-1] + ")"
	}
	f.Msg = fmt.Sprintf("%s %s %s to %s in %s over %s (bound %s in %s)", k.src, verb, size(sent), to,
		span(p.Time.Sub(e.began)), flows, size(bar), span(d.cfg.Window))
	if e.guessed {
		f.Sub = "picked up mid-stream: who opened the flow is a guess"
	} else if known {
		f.Sub = "a destination in regular use"
	}
	f.Evidence = []detectors.Evidence{
		{Field: "bytes", Value: fmt.Sprint(sent), Packet: p.Packet},
		{Field: "flow", Value: p.Flow.UID, Packet: p.Packet},
	}
	d.bus.Report(f)
}

// size prints bytes in the units of powers of 1000 that storage is sold in.
func size(n uint64) string {
	switch {
	case n >= 10e9:
		return fmt.Sprintf("%.0f GB", float64(n)/1e9)
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.0f kB", float64(n)/1e3)
}

func span(d time.Duration) string {
	switch {
	case d >= 2*time.Hour:
		return fmt.Sprintf("%.0f hours", d.Hours())
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	}
	return fmt.Sprintf("%.0f seconds", max(d.Seconds(), 1))
}
