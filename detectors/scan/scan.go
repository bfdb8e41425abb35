// Package scan finds machines that look for others, or for open ports.
//
// In: *capture.Conn of TCP flows. Out: findings of scan/hosts (one machine tries many) and scan/ports (one machine tries
// many ports of another).
//
// Both judge by sequential hypothesis testing (Jung, Paxson, Berger and Balakrishnan, 2004): whoever knows where he goes
// mostly gets there, whoever does not mostly fails. Each first contact multiplies a likelihood by 4 when it failed and by
// 1/4 when it succeeded; at 99 it is a scan. The likelihood cannot fall below the bar for innocence, so that a machine
// with a good name which is broken into is found after some failures more. Each source starts anew after Window.
//
// Beside the test there must be a number of failures that suits the direction: a stranger needs only a few, and fewest on
// the ports of Ray; a home machine needs many on one port, since clusters, load balancers and monitoring talk for a
// while to machines that are gone; towards the outside it needs most of all. A home machine that answered this one
// before and does not now is gone, and no failure. What a rack or a list of targets has is low; a sweep goes on, and is
// medium.
//
// A failure is a SYN that was refused or not answered. A SYN whose answer was reset at once, which is what scanners do,
// counts as one when it comes from outside. Src is the scanner; Dst of scan/hosts is the machine that was tried last.
//
//	scan/hosts  high    a home machine tries machines outside on Ray's ports: a worm
//	            medium  a home machine tries many others (Config.HomeMany), or others outside; a stranger tries Ray's
//	                    ports, or found something
//	            low     a home machine tries some others, which is medium within an hour of a job from outside; it reaches nobody outside at all on the web's ports, or has the
//	                    ports of a peer-to-peer program; a stranger found nothing and does not look for Ray
//	scan/ports  medium  between home machines
//	            low     all else; also a short range in one piece, and ports that workers are given by chance
//
// It does not see: scans over UDP and ICMP; a scan slower than its bounds in every Window; scans of which only one
// direction passes the tap; a scan of hosts that all answer.
package scan

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/ray"
)

// Config are the settings, the section `scan` of the configuration file.
type Config struct {
	Benign       float64       `yaml:"benign"`        // chance that a first contact of an innocent machine succeeds
	Scanner      float64       `yaml:"scanner"`       // the same of a scanner
	Detect       float64       `yaml:"detect"`        // share of scanners to be found
	FalseAlarm   float64       `yaml:"false_alarm"`   // share of innocent machines that may be accused
	Window       time.Duration `yaml:"window"`        // of packet time, after which a source starts anew
	Hosts        int           `yaml:"hosts"`         // failed at, by a stranger
	RayHosts     int           `yaml:"ray_hosts"`     // the same on Ray's ports
	HomeHosts    int           `yaml:"home_hosts"`    // by a home machine at others, on one port; half of it on Ray's
	HomeMany     int           `yaml:"home_many"`     // the same from which on it is no list of machines that are gone
	OutsideHosts int           `yaml:"outside_hosts"` // by a home machine outside, on one port
	Ports        int           `yaml:"ports"`         // of one machine, by a stranger
	HomePorts    int           `yaml:"home_ports"`    // of one machine, by a home machine
	RayPorts     []int         `yaml:"ray_ports"`     // that hardly anything but Ray has
	Allow        []string      `yaml:"allow"`         // networks or addresses that may scan
}

// Default is what holds when nothing is said. The four chances are those of the paper. Three of our hosts on Ray's ports
// are no typing error; who lost a rack, a dozen clusters or the laptops of a team tries all of them on one port, but hardly
// 32, and whoever sweeps a network passes that in its first /26; a
// machine behind a firewall that drops is denied 15 sites on one port only when something sweeps. Fifteen ports of one
// host is what Zeek's scan policy took for a scan, and FTP's passive ports stay under it.
//
// Ray's ports: dashboard and its agent, client server, object manager of old, metrics of the autoscaler and dashboard.
// 6379 and 8000, the store and Serve, are too common elsewhere.
func Default() Config {
	return Config{
		Benign: 0.8, Scanner: 0.2, Detect: 0.99, FalseAlarm: 0.01, Window: 30 * time.Minute,
		Hosts: 4, RayHosts: 3, HomeHosts: 10, HomeMany: 32, OutsideHosts: 15, Ports: 5, HomePorts: 15,
		RayPorts: []int{8265, 52365, 10001, 8076, 44217, 44227},
	}
}

// Check says what is wrong with what the settings have in common.
func (c *Config) Check() error {
	if c.Scanner >= c.Benign {
		return fmt.Errorf("scanner: %v is not less than benign, %v", c.Scanner, c.Benign)
	}
	if c.FalseAlarm >= c.Detect {
		return fmt.Errorf("false_alarm: %v is not less than detect, %v", c.FalseAlarm, c.Detect)
	}
	return nil
}

const (
	ruleHosts = "scan/hosts"
	rulePorts = "scan/ports"

	// maxSources bounds the sources that are judged, and the pairs of source and target. A source costs 150 bytes and
	// 40 for each contact.
	maxSources = 1 << 14
	maxPairs   = 1 << 14
	// maxContacts bounds what is remembered of one: four times what any bar asks for. Beyond it contacts are counted
	// and not told apart.
	maxContacts = 64
	// maxKnown bounds the pairs of home machines of which one answered the other.
	maxKnown = 1 << 15
	// maxJobs bounds the machines that got a job from outside, after which, for jobFor, a few failures are enough.
	maxJobs = 1024
	jobFor  = time.Hour
	// maxOpen bounds the open ports that a sentence names.
	maxOpen = 6
	// A home machine that is refused by others at random hosts and ports: so many pairs, on so many ports of so many
	// hosts. 25 pairs is what the usual scripts ask of strangers.
	randomPairs = 25
	randomHosts = 3
	randomPorts = 3
	// A worm's sweep outside on Ray's ports.
	wormHosts = 5
	// Who finds a fifth of his targets there, and takes a second or more for each, goes through a list that he was given.
	listShare = 5
	// Ports from here on are given by chance: to Ray's workers from 10002 (ray start --min-worker-port), to others by
	// the kernel.
	chancePorts = 10000
	// A range in one piece is one that a program looks through for its peer; beyond this many it is a scan all the same.
	rangePorts = 48
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "scan", Settings: settings(),
		Rules: []detectors.Rule{{
			Name: ruleHosts, Note: "Scan_Hosts", Severity: detectors.Medium,
			Says: "A machine tries to connect to many others and mostly fails: it is scanning, for Ray if the ports are " +
				"Ray's.",
			ATLAS:  []string{"AML.T0006", "AML.T0006.002"},
			ATTACK: []string{"T1595.001", "T1046", "T1018"},
			Needs:  "TCP headers in both directions; see the configuration for thresholds.",
			FalsePositives: "Your own inventory scans, and monitoring of dozens of machines that had gone before the capture " +
				"began (put them on the allow-list); peer-to-peer programs on unusual ports.",
			Story: detectors.Story{Group: detectors.GroupScan, Sure: true,
				Does: "scanned for hosts, % among them", Other: "further target", Techniques: []string{"T1018", "T1046"},
			},
		}, {
			Name: rulePorts, Note: "Scan_Ports", Severity: detectors.Low,
			Says:   "A machine tries many ports of another and mostly fails.",
			ATLAS:  []string{"AML.T0006"},
			ATTACK: []string{"T1595.001", "T1046"},
			Needs:  "TCP headers in both directions.",
			FalsePositives: "Your own inventory scans; programs that probe a long range of ports, or scattered ones, for a " +
				"free or open one.",
			Story: detectors.Story{Group: detectors.GroupScan, Sure: true,
				Does: "scanned %", Other: "further target", Techniques: []string{"T1046"},
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{
				env: env, home: env.Home, bus: bus,
				sources: detectors.Table[sourceKey, source]{Limit: maxSources},
				pairs:   detectors.Table[pairKey, source]{Limit: maxPairs},
				known:   detectors.Table[pairKey, struct{}]{Limit: maxKnown},
				jobs:    detectors.Table[netip.Addr, capture.Time]{Limit: maxJobs},
				out:     detectors.Table[netip.Addr, struct{}]{Limit: maxSources},
			}
			detectors.Configure(env, bus, "scan", Default(), d.set)
			detectors.On(bus, d.call)
			detectors.On(bus, d.conn)
		},
	}
}

// set takes over settings. Walks that have begun go on from where they are.
func (d *detector) set(c Config) {
	d.cfg = c
	d.up = math.Log((1 - c.Scanner) / (1 - c.Benign))
	d.down = math.Log(c.Scanner / c.Benign)
	d.guilty = math.Log(c.Detect / c.FalseAlarm)
	d.clean = math.Log((1 - c.Detect) / (1 - c.FalseAlarm))
	d.allow, _ = detectors.ParseNetworks(c.Allow)
}

// fate is how a contact went.
type fate uint8

const (
	refused fate = iota
	silent       // no answer
	probed       // answered, and reset at once
	served
)

func (f fate) failed() bool { return f <= silent }

// fateOf judges a flow; false if it says nothing.
func fateOf(c *capture.Conn) (fate, bool) {
	if c.Flow == nil || c.Flow.Proto != capture.ProtoTCP || c.Guessed {
		return 0, false
	}
	switch c.State {
	case "REJ":
		return refused, true
	case "S0":
		// Whoever sends more than a SYN has been answered on a way that the tap does not see.
		return silent, !strings.ContainsAny(c.History, "AD")
	case "RSTO":
		if !strings.ContainsAny(c.History, "ADad") {
			return probed, true
		}
		return served, true
	case "S1", "S2", "S3", "SF", "RSTR":
		return served, true
	}
	return 0, false
}

type sourceKey struct {
	src  netip.Addr
	port uint16 // of a home machine's sweep; 0: all
	out  bool   // of a home machine: towards the outside
}

type pairKey struct{ src, dst netip.Addr }

// contact is the first contact with a port of a host.
type contact struct {
	dst  netip.AddrPort
	fate fate
}

// source is what is known of a scanner, or of a pair of scanner and target.
type source struct {
	since    capture.Time
	walk     float64 // logarithm of the likelihood
	contacts []contact
	more     int // contacts beyond
	said     detectors.Severity
	told     bool
	open     bool // that it found Ray was said
}

type detector struct {
	env                     *detectors.Env
	cfg                     Config
	home, allow             *detectors.Networks
	bus                     *detectors.Bus
	up, down, guilty, clean float64
	sources                 detectors.Table[sourceKey, source]
	pairs                   detectors.Table[pairKey, source]
	known                   detectors.Table[pairKey, struct{}]        // home machines of which the second answered the first
	out                     detectors.Table[netip.Addr, struct{}]     // home machines that somebody outside answered
	jobs                    detectors.Table[netip.Addr, capture.Time] // those that got a job from outside, the last one
}

// call notes who got a job from outside.
func (d *detector) call(c *ray.Call) {
	if c.Flow != nil && c.Job && c.Outcome == ray.Executed && !d.env.Inside(c.Flow.Orig.Addr()) {
		d.jobs.Store(c.Flow.Resp.Addr(), c.Time)
	}
}

func (d *detector) ray(port uint16) bool { return slices.Contains(d.cfg.RayPorts, int(port)) }

func (d *detector) conn(c *capture.Conn) {
	how, ok := fateOf(c)
	if !ok {
		return
	}
	src, dst := c.Flow.Orig.Addr(), c.Flow.Resp
	from, to := d.home.Contains(src), d.home.Contains(dst.Addr())
	if !from && !to || src == dst.Addr() || detectors.Special(dst.Addr()) || d.allow.Contains(src) {
		return
	}
	d.hosts(c, how, from, to)
	d.ports(c, how, from, to)
}

// of gives the entry of a source for a contact, nil if none is needed: a home machine that only ever succeeds, which is
// nearly every one, has none. Its first failure then finds it without a good name, for which its bars are high.
func of[K comparable](t *detectors.Table[K, source], k K, how fate, stranger bool) *source {
	if how >= probed && !stranger {
		return t.Get(k)
	}
	return t.Put(k)
}

// add notes a contact and moves the walk when it is the first with its host (or its port, for pairs).
func (d *detector) add(s *source, c *capture.Conn, how fate, perPort, stranger bool) (fresh bool) {
	if s == nil {
		return false
	}
	at := c.Flow.Start
	if s.since == 0 || at.Sub(s.since) > d.cfg.Window {
		*s = source{since: at, contacts: s.contacts[:0]}
	}
	s.since = min(s.since, at) // flows end in another order than they began
	first := true
	for i := range s.contacts {
		k := &s.contacts[i]
		if k.dst == c.Flow.Resp {
			k.fate = max(k.fate, how)
			return false
		}
		if !perPort && k.dst.Addr() == c.Flow.Resp.Addr() {
			first = false
		}
	}
	if len(s.contacts) < maxContacts {
		s.contacts = append(s.contacts, contact{c.Flow.Resp, how})
	} else {
		s.more++
		// A good name must not be a place to hide: what failed counts more than what did not.
		if i := slices.IndexFunc(s.contacts, func(k contact) bool { return k.fate == served }); i >= 0 && how.failed() {
			s.contacts[i] = contact{c.Flow.Resp, how}
		}
	}
	if !first {
		return true
	}
	switch {
	case how.failed() || how == probed && stranger:
		s.walk += d.up
	case how == served:
		s.walk = max(s.walk+d.down, d.clean)
	}
	return true
}

// tally counts what a source's contacts add up to.
type tally struct {
	pairs, failedPairs    int
	hosts, failedHosts    int
	ports, failedPorts    int
	rayHosts              int    // failed at on one of Ray's ports
	service               int    // ports that failed and are not given by chance
	low, high             uint16 // of the ports that failed
	ray                   bool
	open, openRay         []netip.AddrPort
	lastFailed, lastTried netip.AddrPort
}

func (d *detector) count(s *source, stranger bool) (t tally) {
	var hosts, ports, badHosts, badPorts, rayHosts [maxContacts]int
	t.pairs = len(s.contacts) + s.more
	id := func(i int, same func(a, b *contact) bool) int {
		for j := range i {
			if same(&s.contacts[j], &s.contacts[i]) {
				return j
			}
		}
		return i
	}
	sameHost := func(a, b *contact) bool { return a.dst.Addr() == b.dst.Addr() }
	samePort := func(a, b *contact) bool { return a.dst.Port() == b.dst.Port() }
	bump := func(n *int, mark *int) {
		if *mark == 0 {
			*n++
		}
		*mark = 1
	}
	for i := range s.contacts {
		k := &s.contacts[i]
		h, p := id(i, sameHost), id(i, samePort)
		bump(&t.hosts, &hosts[h])
		bump(&t.ports, &ports[p])
		ray := d.ray(k.dst.Port())
		t.ray = t.ray || ray
		if k.fate.failed() || k.fate == probed && stranger {
			t.failedPairs++
			bump(&t.failedHosts, &badHosts[h])
			if port := k.dst.Port(); badPorts[p] == 0 {
				if port < chancePorts && !ray {
					t.service++
				}
				if t.low == 0 || port < t.low {
					t.low = port
				}
				t.high = max(t.high, port)
			}
			bump(&t.failedPorts, &badPorts[p])
			if ray {
				bump(&t.rayHosts, &rayHosts[h])
			}
			t.lastFailed = k.dst
		}
		if k.fate >= probed {
			t.open = append(t.open, k.dst)
			if ray {
				t.openRay = append(t.openRay, k.dst)
			}
		}
		t.lastTried = k.dst
	}
	return t
}

func (d *detector) hosts(c *capture.Conn, how fate, from, to bool) {
	src, dst := c.Flow.Orig.Addr(), c.Flow.Resp
	if !from {
		s := d.sources.Put(sourceKey{src: src})
		if !d.add(s, c, how, false, true) {
			return
		}
		d.strange(c, s, how)
		return
	}
	if d.gone(src, dst.Addr(), how, to) {
		return
	}
	s := of(&d.sources, sourceKey{src, dst.Port(), !to}, how, false)
	if d.add(s, c, how, false, false) && how.failed() && s.walk >= d.guilty && s.said < detectors.Medium {
		t := d.count(s, false)
		if sev := d.sweep(s, t, c, to); sev > s.said {
			d.say(c, s, t, ruleHosts, sev, 80)
		}
	}
	if to {
		s := of(&d.sources, sourceKey{src: src}, how, false)
		if d.add(s, c, how, false, false) && how.failed() && !s.told && len(s.contacts) >= randomPairs {
			t := d.count(s, false)
			if t.failedPairs >= randomPairs && t.failedHosts >= randomHosts && t.service >= randomPorts &&
				5*t.failedPairs >= 4*len(s.contacts) {
				d.say(c, s, t, ruleHosts, detectors.Medium, 75)
			}
		}
	}
}

// gone notes who answered whom, and says whether a failure is that of a home machine that once did.
func (d *detector) gone(src, dst netip.Addr, how fate, home bool) bool {
	switch {
	case how == served && home:
		d.known.Put(pairKey{src, dst})
	case how == served:
		d.out.Put(src)
	case how.failed() && home:
		return d.known.Get(pairKey{src, dst}) != nil
	}
	return false
}

// sweep weighs what a home machine tried on one port.
func (d *detector) sweep(s *source, t tally, c *capture.Conn, to bool) detectors.Severity {
	port := c.Flow.Resp.Port()
	few, many, top := d.cfg.HomeHosts, d.cfg.HomeMany, detectors.Medium
	switch {
	case !to && t.ray:
		few, many, top = wormHosts, wormHosts, detectors.High
	case !to:
		few, many = d.cfg.OutsideHosts, d.cfg.OutsideHosts
		if web(port) && d.out.Get(c.Flow.Orig.Addr()) == nil || peers(port) {
			top = detectors.Low // nothing gets out, or a program that asks a list of strangers
		}
	case t.ray:
		few, many = max(few/2, 1), max(many/2, 1)
		fallthrough
	default:
		if listShare*len(t.open) >= t.hosts && c.Flow.Start.Sub(s.since).Seconds() >= float64(t.hosts) {
			top = detectors.Low
		}
	}
	if at, ok := d.jobs.Load(c.Flow.Orig.Addr()); ok && s.since.Sub(at) <= jobFor && c.Flow.Start >= at {
		many, top = few, max(top, detectors.Medium)
	}
	switch {
	case t.failedHosts >= many:
		return top
	case t.failedHosts >= few:
		return min(top, detectors.Low)
	}
	return detectors.Info
}

func web(p uint16) bool { return p == 80 || p == 443 }

// peers says whether a port is a peer-to-peer program's own: BitTorrent's, IPFS's, and those of the large currencies.
func peers(p uint16) bool {
	switch p {
	case 51413, 4001, 8333, 18080, 30303:
		return true
	}
	return p >= 6881 && p <= 6889
}

// strange judges a source outside.
func (d *detector) strange(c *capture.Conn, s *source, how fate) {
	if ray := d.ray(c.Flow.Resp.Port()); s.told && (how < probed && !ray || s.said >= detectors.Medium && (s.open || how < probed || !ray)) {
		return
	}
	t := d.count(s, true)
	scan := s.walk >= d.guilty && t.failedHosts >= d.cfg.Hosts || t.rayHosts >= d.cfg.RayHosts
	if !scan && !s.told {
		return
	}
	sev := detectors.Low
	if t.ray || len(t.open) > 0 {
		sev = detectors.Medium
	}
	if !s.told || sev > s.said {
		d.say(c, s, t, ruleHosts, sev, 85)
	}
	if len(t.openRay) > 0 && !s.open {
		s.open = true
		at := t.openRay[0]
		d.bus.Report(&detectors.Finding{
			At: c.At, Rule: ruleHosts, Severity: detectors.Medium, Confidence: 85, Outcome: detectors.Succeeded,
			Msg: fmt.Sprintf("%s, which scans, found port %d (Ray) of %s open", c.Flow.Orig.Addr(), at.Port(), at.Addr()),
			Sub: t.sentence(),
			Src: c.Flow.Orig.Addr(), Dst: at.Addr(), Port: at.Port(), Flow: c.Flow, Many: true,
			Evidence: []detectors.Evidence{{Field: "flow", Value: c.Flow.UID, Packet: c.Packet}},
			Key:      ruleHosts + "|" + c.Flow.Orig.Addr().String() + "|open",
		})
	}
}

func (d *detector) ports(c *capture.Conn, how fate, from, to bool) {
	src, dst := c.Flow.Orig.Addr(), c.Flow.Resp
	s := of(&d.pairs, pairKey{src, dst.Addr()}, how, !from && how == probed)
	if !d.add(s, c, how, true, !from) || s.said >= detectors.Medium || s.told && (!from || !to) || s.walk < d.guilty {
		return
	}
	bar, sev := d.cfg.Ports, detectors.Low
	if from {
		bar = d.cfg.HomePorts
		if to {
			sev = detectors.Medium
		}
	}
	if len(s.contacts) < bar {
		return
	}
	if t := d.count(s, !from); t.failedPorts >= bar {
		if from && to && (t.service == 0 || t.low >= 1024 && int(t.high-t.low) < 2*t.failedPorts && t.failedPorts < rangePorts) {
			sev = detectors.Low
		}
		d.say(c, s, t, rulePorts, sev, 80)
	}
}

func (d *detector) say(c *capture.Conn, s *source, t tally, rule string, sev detectors.Severity, confidence int) {
	if s.told && sev <= s.said {
		return
	}
	s.told, s.said = true, sev
	src := c.Flow.Orig.Addr()
	f := &detectors.Finding{
		At: c.At, Rule: rule, Severity: sev, Confidence: confidence, Outcome: detectors.Attempted,
		Src: src, Dst: c.Flow.Resp.Addr(), Flow: c.Flow, Many: true,
		Key: rule + "|" + src.String(),
	}
	if len(t.open) > 0 {
		f.Outcome = detectors.Succeeded
		if rule == rulePorts { // told apart from that of a target where nothing answered, in whatever order they end
			f.Key += "|open"
		}
	}
	over := detectors.Span(c.Flow.Start.Sub(s.since))
	if rule == rulePorts {
		f.Msg = fmt.Sprintf("%s tried %d ports of %s in %s: %s", src, t.ports, f.Dst, over, t.result())
	} else {
		f.Port = c.Flow.Resp.Port()
		f.Msg = fmt.Sprintf("%s tried %s on %s in %s: %s", src, detectors.Plural(t.hosts, "host"), t.onPorts(c.Flow.Resp.Port()), over, t.result())
	}
	f.Sub = fmt.Sprintf("likelihood of a scan %.0f (bar %.0f)", math.Exp(min(s.walk, 20)), math.Exp(d.guilty))
	if t.ray {
		f.Sub = "looks for Ray; " + f.Sub
	}
	f.Evidence = []detectors.Evidence{
		{Field: "flow", Value: c.Flow.UID, Packet: c.Packet},
		{Field: "failed", Value: t.lastFailed.String(), Packet: c.Packet},
	}
	for i, o := range t.open {
		if i == maxOpen {
			break
		}
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "open", Value: o.String(), Packet: c.Packet})
	}
	d.bus.Report(f)
}

func (t *tally) onPorts(port uint16) string {
	if t.ports == 1 {
		return fmt.Sprintf("port %d", port)
	}
	return detectors.Plural(t.ports, "port")
}

func (t *tally) sentence() string {
	return fmt.Sprintf("%s, %s: %s", detectors.Plural(t.hosts, "host"), detectors.Plural(t.ports, "port"), t.result())
}

// result says how many failed, and what answered; Ray's ports first.
func (t *tally) result() string {
	out := fmt.Sprintf("%d of %d failed", t.pairs-len(t.open), t.pairs)
	if len(t.open) == 0 {
		return out
	}
	open := t.openRay
	what := "Ray's ports answered: "
	if len(open) == 0 {
		open, what = t.open, "answered: "
	}
	names := make([]string, 0, maxOpen)
	for _, o := range open[:min(len(open), maxOpen)] {
		names = append(names, o.String())
	}
	if n := len(t.open) - len(names); n > 0 {
		names = append(names, fmt.Sprintf("and %d more", n))
	}
	return out + "; " + what + strings.Join(names, ", ")
}
