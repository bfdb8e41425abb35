// Package flood finds home machines that flood others: ShadowRay 2.0 made clusters do it (Oligo Security, 2025-11-18).
//
// In: *capture.Conn of flows, in the order of their ends. Out: findings of flood/outbound, one for a target. Src is the
// home machine, Dst the target.
//
//	medium  so many connections to one port of one machine outside within a window that no client makes: of SYNs that
//	        nobody answers, of short requests, of connections that are opened and left idle; or a flood of datagrams that are
//	        not answered
//	high    ten times as many
//
// A client that opens connections in great number is answered, sends something, and does not begin each anew with the same
// few bytes: benchmarks of one's own servers outside do, and are to be allowed. Rates are counted in windows of a minute.
//
// It does not see: floods through amplifiers, with others' addresses; requests over few connections that stay.
package flood

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

const rule = "flood/outbound"

// Config are the settings, the section `flood` of the configuration file.
type Config struct {
	Connections int      `yaml:"connections"` // to one port of one machine outside within a minute
	Datagrams   uint64   `yaml:"datagrams"`   // to one machine outside within a minute that it does not answer
	Allow       []string `yaml:"allow"`       // networks or addresses that may be tested under load
}

// Default is what holds when nothing is said: four connections a second, to one place, each anew. A pool of clients keeps
// its connections.
func Default() Config { return Config{Connections: 250, Datagrams: 50_000} }

const (
	window = time.Minute
	// Targets that are counted at once.
	maxTargets = 8192
	// A connection with less, in both directions, is a request and its answer, or nothing.
	maxShort = 2 << 10
	// So many times the bound make it high.
	muchMore = 10
	// Of all that were counted, those that look like a flood's.
	share = 0.9
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "flood", Settings: settings(),
		Rules: []detectors.Rule{{
			Name: rule, Note: "Flood_Outbound", Severity: detectors.High,
			Says: "A home machine opens so many connections to one machine outside, or sends it so many datagrams, " +
				"that only a denial of service explains it.",
			ATTACK: []string{"T1498", "T1499"},
			Needs:  "Packet headers.",
			FalsePositives: "Load tests of your own servers outside, crawlers without limits, clients that reconnect in a " +
				"loop (put the target on the allow-list).",
			Story: detectors.Story{Group: detectors.GroupSpread, Sure: true, Grave: true,
				Does: "floods %", Other: "further target",
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{env: env, bus: bus, targets: detectors.Table[target, count]{Limit: maxTargets}}
			detectors.Configure(env, bus, "flood", Default(), func(c Config) {
				d.cfg = c
				d.allow, _ = detectors.ParseNetworks(c.Allow)
			})
			detectors.On(bus, d.conn)
		},
	}
}

type target struct {
	src, dst netip.Addr
	port     uint16
	proto    uint8
}

// count is what went to a target in a window.
type count struct {
	since     capture.Time
	all       int
	silent    int // nobody answered the SYN, or it was refused
	short     int // a few bytes, and over
	idle      int // opened, and nothing sent
	datagrams uint64
	said      detectors.Severity
}

type detector struct {
	env     *detectors.Env
	bus     *detectors.Bus
	cfg     Config
	allow   *detectors.Networks
	targets detectors.Table[target, count]
}

func (d *detector) conn(c *capture.Conn) {
	if c.Flow == nil || c.Guessed {
		return
	}
	src, dst := c.Flow.Orig.Addr(), c.Flow.Resp.Addr()
	if !d.env.Home.Contains(src) || d.env.Home.Contains(dst) || detectors.Special(dst) {
		return
	}
	tcp := c.Flow.Proto == capture.ProtoTCP
	if !tcp && (c.Pkts[1] > 0 || c.Pkts[0] == 0) || c.Flow.Resp.Port() == 53 || d.allow.Contains(dst) {
		return
	}
	k := target{src, dst, c.Flow.Resp.Port(), c.Flow.Proto}
	if !tcp {
		k.port = 0 // floods of datagrams take all ports
	}
	n := d.targets.Get(k)
	if n == nil {
		n = d.targets.Put(k)
		n.since = c.Flow.Start
	}
	if begun := c.Flow.Start.Sub(n.since); begun > window || begun < -window {
		*n = count{since: c.Flow.Start, said: n.said}
	}
	n.all++
	if tcp {
		switch {
		case c.Bytes[1] == 0 && (c.State == "S0" || c.State == "REJ" || c.State == "RSTOS0" || c.State == "SH"):
			n.silent++
		case c.Bytes[0]+c.Bytes[1] == 0:
			n.idle++
		case c.Bytes[0]+c.Bytes[1] <= maxShort:
			n.short++
		}
	} else {
		n.datagrams += c.Pkts[0]
	}
	d.judge(c, k, n)
}

func (d *detector) judge(c *capture.Conn, k target, n *count) {
	times := uint64(0)
	like := n.silent + n.idle + n.short
	if k.proto == capture.ProtoTCP {
		if float64(like) >= share*float64(n.all) {
			times = uint64(like / max(d.cfg.Connections, 1))
		}
	} else {
		times = n.datagrams / max(d.cfg.Datagrams, 1)
	}
	sev := detectors.Medium
	switch {
	case times == 0:
		return
	case times >= muchMore:
		sev = detectors.High
	}
	if n.said >= sev {
		return
	}
	n.said = sev
	f := &detectors.Finding{
		At: c.At, Rule: rule, Severity: sev, Confidence: 80, Outcome: detectors.Observed,
		Src: k.src, Dst: k.dst, Port: k.port, Flow: c.Flow, Many: true,
		Evidence: []detectors.Evidence{{Field: "connections", Value: fmt.Sprintf("%d within a minute: %d not answered, %d left idle, %d short", n.all, n.silent, n.idle, n.short), Packet: c.Packet}},
	}
	if k.proto != capture.ProtoTCP {
		f.Evidence[0] = detectors.Evidence{Field: "datagrams", Value: fmt.Sprint(n.datagrams), Packet: c.Packet}
		f.Msg = fmt.Sprintf("%s floods %s: %s within a minute that are not answered", k.src, k.dst, detectors.Plural(n.datagrams, "datagram"))
	} else {
		what := "short requests"
		switch most := max(n.silent, n.idle, n.short); most {
		case n.silent:
			what = "SYNs that nobody answers"
		case n.idle:
			what = "connections that it leaves idle"
		}
		f.Msg = fmt.Sprintf("%s floods %s port %d: %d within a minute, of %s", k.src, k.dst, k.port, n.all, what)
	}
	d.bus.Report(f)
}
