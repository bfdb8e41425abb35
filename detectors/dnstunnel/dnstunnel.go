// Package dnstunnel finds data that leaves, or commands that come, in the names of DNS look-ups.
//
// In: *dns.Transaction. Out: findings of egress/dns_tunnel: a home machine asked for many different long names below one
// registrable domain (by the public suffix list), or below none, within a window of packet time. What is counted are the bytes of the
// names in front of that domain, each name once: a tunnel cannot repeat a name, since a cache would answer. A word that
// many of the names have in common (a service, a cluster, the key of a customer) is no data. Src is the client, Dst the
// resolver it asked.
//
//	high    names as long as encoded data is, and kilobytes of them
//	medium  less of it; or large answers to many names
//	low     the machine answers DNS itself and may ask for others; or the names look like something else (shape.go):
//	        one digest or GUID each, services of RFC 8552, machines of the site's own
//
// Within an hour of a job from outside the looks of a name excuse nothing. What a resolver asks for a client that was
// spoken of is not said again.
//
// Look-ups that are data by design are left out: addresses written backwards (block lists, reverse zones), names of the
// local network, multicast, and the domains in quiet.txt.
//
// It does not see: DNS over TLS, HTTPS or QUIC; a tunnel that is slower than its bounds in every window, such as one
// that only waits for commands; a tunnel spread over many domains; one below a domain in quiet.txt. A tunnel that sends
// one piece of a digest's length in each name, compressed or encrypted, some in a second, is low.
package dnstunnel

import (
	_ "embed"
	"fmt"
	"hash/maphash"
	"math"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/interpreters/ray"
)

//go:embed quiet.txt
var quietText string

const rule = "egress/dns_tunnel"

// Config are the settings, the section `dns_tunnel` of the configuration file.
type Config struct {
	Bytes  uint64        `yaml:"bytes"`  // of names below one domain within Window
	Length int           `yaml:"length"` // mean length of such a name, in front of the domain
	Names  int           `yaml:"names"`  // different ones
	Window time.Duration `yaml:"window"` // of packet time
	Allow  []string      `yaml:"allow"`  // domains that stand for themselves and all below
}

// Default is what holds when nothing is said. Names that people and programs are given rarely have 25 characters in
// front of their domain; encoders use all that a name has room for, some 100 to 200. 1500 bytes are one packet's worth:
// a key, a file of passwords; 20 names are what that needs at least.
func Default() Config {
	return Config{Bytes: 1500, Length: 25, Names: 20, Window: 10 * time.Minute}
}

const (
	// maxPairs bounds the pairs of client and domain. A pair costs 4 KiB when its names are all remembered, 400 bytes
	// with the few of normal use.
	maxPairs = 8192
	// maxNames bounds the names of a pair that are told apart; beyond it a name counts as new.
	maxNames = 256
	// maxRelays bounds the machines known to answer DNS, maxDomains the domains of which it is remembered whether they
	// are the site's own and who was found to tunnel below them, maxJobs the machines that got a job from outside.
	maxRelays  = 1024
	maxDomains = 4096
	maxJobs    = 1024
	// How long after a job from outside the looks of names excuse nothing.
	jobFor = time.Hour
	// high is how many times the bytes make it high: at 6 kB it is no accident of one page.
	high = 4
	// Of names that ask for TXT, NULL and their like (tunnels want large answers) half the bytes are enough.
	rareShare = 0.5
	// Encoded text has at least 3.3 bits in each character: hexadecimal has 4, base32 has 5; a few words repeated
	// with a number have fewer.
	minEntropy = 3.3
	// Answers of this size altogether, to rare types, are a download. Three times what the policies and keys of mail
	// take for the senders of a day.
	downBytes = 48 << 10
	downNames = 50
	// A message with a question is longer than the name by its header, type and class, and the name's first and last byte.
	questionSize = 12 + 4 + 2
	rcodeAbsent  = 3 // NXDOMAIN
	// What is said again: ten times as much.
	muchMore = 10
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "dns_tunnel", Settings: settings(),
		Rules: []detectors.Rule{{
			Name: rule, Note: "Egress_DNS_Tunnel", Severity: detectors.High,
			Says: "A home machine looked up many different long names below one domain within a window: the names carry " +
				"data.",
			ATLAS:  []string{"AML.T0025", "AML.T0072"},
			ATTACK: []string{"T1048.003", "T1071.004", "T1132"},
			Needs:  "DNS in clear text between the machine and its resolver.",
			FalsePositives: "Services that put several digests, or encoded data other than a digest, into a name " +
				"(measurement, tracking, licensing), and content delivery networks with long random names, unless they are " +
				"on the built-in list: put their domain on the allow-list. Resolvers whose clients the tap does not see, " +
				"until one of their answers is seen.",
			Story: detectors.Story{Group: detectors.GroupTheft, Sure: true, Grave: true,
				Does: "sent data in DNS queries through %", Other: "exfiltration host", Techniques: []string{"AML.T0025", "T1048.003"},
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := newDetector(env, bus)
			detectors.On(bus, d.call)
			detectors.On(bus, d.lookup)
		},
	}
}

type pairKey struct {
	client netip.Addr
	domain string
}

// pair is what one client asked below one domain in the window.
type pair struct {
	since   capture.Time
	first   uint64 // packet
	names   map[uint64]struct{}
	unique  int
	bytes   uint64 // of different names, without the words that many have
	words   words
	looks   looks
	queries int
	rare    int // for types that tunnels like
	down    uint64
	chars   [128]uint32
	example string
	said    detectors.Severity
	saidAt  uint64
}

type detector struct {
	cfg    Config
	env    *detectors.Env
	bus    *detectors.Bus
	quiet  map[string]bool
	seed   maphash.Seed // of the names of a pair
	pairs  detectors.Table[pairKey, pair]
	relays detectors.Table[netip.Addr, struct{}]
	slows  detectors.Table[slowKey, slow]
	zones  detectors.Table[string, zone]
	jobs   detectors.Table[netip.Addr, capture.Time] // the last one from outside
}

// zone is what is known of a domain from all its long names.
type zone struct {
	inside, outside int // names with addresses at home, and with others
	said            capture.Time
	by              netip.Addr
}

func newDetector(env *detectors.Env, bus *detectors.Bus) *detector {
	d := &detector{
		env: env, bus: bus, seed: maphash.MakeSeed(),
		pairs:  detectors.Table[pairKey, pair]{Limit: maxPairs},
		relays: detectors.Table[netip.Addr, struct{}]{Limit: maxRelays},
		zones:  detectors.Table[string, zone]{Limit: maxDomains},
		jobs:   detectors.Table[netip.Addr, capture.Time]{Limit: maxJobs},
		slows:  detectors.Table[slowKey, slow]{Limit: maxSlow},
	}
	detectors.Configure(env, bus, "dns_tunnel", Default(), d.set)
	return d
}

func (d *detector) set(c Config) {
	d.cfg, d.quiet = c, map[string]bool{}
	for line := range strings.Lines(quietText) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			d.quiet[line] = true
		}
	}
	for _, a := range d.cfg.Allow {
		d.quiet[strings.ToLower(strings.Trim(a, "."))] = true
	}
}

// call notes who got a job from outside.
func (d *detector) call(c *ray.Call) {
	if c.Flow != nil && c.Job && c.Outcome == ray.Executed && !d.env.Inside(c.Flow.Orig.Addr()) {
		d.jobs.Store(c.Flow.Resp.Addr(), c.Time)
	}
}

func (d *detector) lookup(t *dns.Transaction) {
	if t.Flow == nil || t.NetBIOS || t.Multicast || t.Class > 1 {
		return
	}
	if t.Answered {
		d.relays.Put(t.Flow.Resp.Addr())
	}
	client := t.Flow.Orig.Addr()
	if !d.env.Home.Contains(client) {
		return
	}
	// An answer repeats its question, so one direction is enough.
	// Most names are short, and the list of public suffixes is long.
	if len(t.Query) <= d.cfg.Length && !rareType(t.Type) {
		return
	}
	sub, domain := d.split(t.Query)
	if sub == "" {
		return
	}
	if rareType(t.Type) {
		d.idle(t, client, sub, domain)
	}
	k := pairKey{client, domain}
	p := d.pairs.Get(k)
	if p == nil {
		k.domain = strings.Clone(domain)
		p = d.pairs.Put(k)
		p.since = t.Time
	}
	if p.names == nil || t.Time.Sub(p.since) > d.cfg.Window {
		*p = pair{since: t.Time, first: t.Packet, names: map[uint64]struct{}{}}
	}
	p.queries++
	if rareType(t.Type) {
		p.rare++
		p.down += uint64(max(t.ReplySize-max(t.QuerySize, len(t.Query)+questionSize), 0))
	}
	h := maphash.String(d.seed, sub)
	if _, ok := p.names[h]; ok {
		return
	}
	if len(p.names) < maxNames {
		p.names[h] = struct{}{}
	}
	p.unique++
	p.take(sub, d.verdict(t))
	d.placed(t, k.domain, p)
	p.example = t.Query
	d.judge(t, k, p)
}

// split cuts a name into its registrable domain and what stands before it; "" if the name is of no interest.
func (d *detector) split(name string) (sub, domain string) {
	if data.Private(name) {
		return "", ""
	}
	if suffix, _ := publicsuffix.PublicSuffix(name); noSuffix(suffix) {
		// Some tunnels talk to their server directly and need no domain.
		return name, noDomain
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil || len(domain) >= len(name) {
		return "", ""
	}
	for rest := name; ; {
		if d.quiet[rest] {
			return "", ""
		}
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			break
		}
		rest = rest[i+1:]
	}
	sub = name[:len(name)-len(domain)-1]
	if backwards(sub) {
		return "", ""
	}
	return sub, domain
}

// noDomain stands for the domain of names that have none.
const noDomain = "(no domain)"

// noSuffix says that the last label is one that no top-level domain can be: they have neither digits, unless they are
// encoded (xn--), nor bytes beyond letters, and the longest has 24.
func noSuffix(l string) bool {
	if strings.HasPrefix(l, "xn--") || strings.IndexByte(l, '.') >= 0 {
		return false // of several labels: it is listed
	}
	for i := range len(l) {
		if l[i]|0x20 < 'a' || l[i]|0x20 > 'z' {
			return true
		}
	}
	return len(l) > 24
}

// backwards says whether a name begins with an address written backwards, as block lists are asked: four numbers, or
// sixteen and more single hexadecimal digits.
func backwards(sub string) bool {
	numbers, nibbles := 0, 0
	for l := range strings.SplitSeq(sub, ".") {
		switch {
		case len(l) == 1 && strings.IndexByte("0123456789abcdef", l[0]) >= 0:
			nibbles++
			if l[0] <= '9' {
				numbers++
			}
		case len(l) <= 3 && strings.Trim(l, "0123456789") == "" && nibbles == numbers:
			numbers, nibbles = numbers+1, nibbles+1
		default:
			return numbers >= 4 || nibbles >= 16
		}
	}
	return numbers >= 4 || nibbles >= 16
}

// rareType says whether tunnels like a type: its answers hold more than an address does.
func rareType(t uint16) bool {
	switch t {
	case 5, 10, 15, 16, 24, 25, 33: // CNAME, NULL, MX, TXT, SIG, KEY, SRV
		return true
	}
	return t >= 65280 && t != 65535 // private use
}

func (p *pair) entropy() float64 {
	h := 0.0
	for _, n := range p.chars {
		if n > 0 {
			f := float64(n) / float64(p.bytes)
			h -= f * math.Log2(f)
		}
	}
	return h
}

func (d *detector) judge(t *dns.Transaction, k pairKey, p *pair) {
	if p.unique < d.cfg.Names || p.bytes < d.cfg.Bytes/2 {
		if p.down < downBytes || p.unique < downNames {
			return
		}
	}
	if p.said == detectors.High && p.bytes < muchMore*p.saidAt {
		return
	}
	mean := float64(p.bytes) / float64(p.unique)
	entropy := p.entropy()
	why := d.excuse(t, k, p, mean, entropy)
	sev := d.severity(p, mean, entropy)
	if sev == detectors.Info || sev <= p.said && p.bytes < muchMore*p.saidAt {
		return
	}
	relay := d.relays.Get(k.client) != nil
	z := d.zones.Put(k.domain)
	if relay && z.by.IsValid() && z.by != k.client && t.Time.Sub(z.said) <= d.cfg.Window {
		return // it asks for somebody who was spoken of
	}
	if relay || why != "" {
		sev = detectors.Low
		if p.said >= detectors.Low && p.bytes < muchMore*p.saidAt {
			return
		}
	}
	p.said, p.saidAt = sev, p.bytes
	if !relay {
		z.said, z.by = t.Time, k.client
	}
	at := t.At
	if t.Reply.Packet != 0 {
		at = t.Reply
	}
	f := &detectors.Finding{
		At: at, Rule: rule, Severity: sev, Confidence: 80, Outcome: detectors.Succeeded,
		Src: k.client, Dst: t.Flow.Resp.Addr(), Port: t.Flow.Resp.Port(), Flow: t.Flow,
		Evidence: []detectors.Evidence{
			{Field: "query", Value: detectors.Clip(p.example, 255), Packet: t.Packet},
			{Field: "names", Value: fmt.Sprint(p.unique), Packet: t.Packet},
			{Field: "bytes", Value: fmt.Sprint(p.bytes), Packet: t.Packet},
			{Field: "first", Value: "packet " + fmt.Sprint(p.first), Packet: p.first},
		},
		Key: rule + "|" + k.client.String() + "|" + k.domain,
	}
	if sev == detectors.High {
		f.Confidence = 92
	}
	if !t.Answered {
		f.Outcome = detectors.Unknown
	}
	if relay {
		f.Confidence, f.Sub = 40, "it answers DNS itself and may ask for others; "
	} else if why != "" {
		f.Confidence, f.Sub = 30, why+"; "
	}
	below := "below " + detectors.Clip(k.domain, 120)
	if k.domain == noDomain {
		below = "that have no domain"
	}
	f.Msg = fmt.Sprintf("%s sent %s in the names of %d look-ups %s in %s", k.client, detectors.Size(p.bytes), p.unique, below, detectors.Span(t.Time.Sub(p.since)))
	if p.down >= downBytes {
		f.Msg += ", and got " + detectors.Size(p.down) + " back"
	}
	f.Sub += fmt.Sprintf("%.0f characters in a name, %.1f bits each, %d%% for types that hold data", mean, entropy, 100*p.rare/max(p.queries, 1))
	d.bus.Report(f)
}

// severity is how bad the names of a pair look by themselves, with mean characters each of so much entropy; Info if they say
// nothing.
func (d *detector) severity(p *pair, mean, entropy float64) detectors.Severity {
	need := d.cfg.Bytes
	rare := float64(p.rare) >= rareShare*float64(p.queries)
	if rare {
		need /= 2
	}
	encoded := mean >= float64(d.cfg.Length) && entropy >= minEntropy
	switch {
	case encoded && p.bytes >= high*need && mean >= 1.2*float64(d.cfg.Length):
		return detectors.High
	case encoded && p.bytes >= need:
		return detectors.Medium
	case rare && p.down >= downBytes && p.unique >= downNames && entropy >= minEntropy:
		return detectors.Medium
	}
	return detectors.Info
}
