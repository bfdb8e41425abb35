// Package intel finds traffic with what threat intelligence lists: addresses, networks, names, URLs, fingerprints of
// TLS clients, digests of files and certificates, wallets, user agents.
//
// In: a Set of indicators (Builder reads feeds; Live exchanges a set under a running detector), and from the wire
// *capture.Conn, *capture.Progress (what a connection is, as soon as it moves bytes), *dns.Transaction,
// *http.Transaction, *socks.Request, *tls.Session, *tls.Certificate, *stratum.Start and *file.File. Out: findings of
// intel/match. Src is the home machine, or who called it; Dst the other.
//
// Feeds are Zeek intel files, CSV with a header (ThreatFox, URLhaus, Feodo Tracker, SSLBL, MISP and others), MISP and
// STIX 2.1 JSON, ThreatFox's JSON, and lists of one indicator a line (also hosts files, Maltrail's trails, Suricata's
// reputation lists), plain or with gzip. What they are is told by their content. Defanged forms are understood, names
// folded (case, dot at the end, international ones), private and reserved addresses and suffixes of registries refused.
//
// How much a match weighs goes by confidence: the feed's, 60 if it says none; five more for each further source that
// has the same; less with age, by half in 180 days for an address and in 540 for a name, to no less than two fifths.
//
//	high    a home machine used an indicator of 50 or more, and was answered
//	medium  the same of 25 or more; a look-up of 50 or more that was answered; an attempt that failed; a machine
//	        outside of 50 or more that a home machine serves
//	low     what is below; blocked look-ups; TLS fingerprints of 50 or more at most medium
//	info    services that anybody uses; indicators that have ended; machines outside that were refused
//
// It does not see: Suricata's datasets in base64; STIX patterns other than = and IN, or that need two observations;
// paths, wallets and user agents inside TLS; certificates by SHA-1, which is not computed.
package intel

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/stratum"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
)

const rule = "intel/match"

const (
	// trusted and fair divide confidences; a feed that says nothing of its own is trusted while it is fresh.
	trusted = 50
	fair    = 25
	// maxAnswers is how many addresses of a DNS answer are looked up.
	maxAnswers = 16
)

// Spec registers the detector. Its setting is a *Live.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "intel",
		Rules: []detectors.Rule{{
			Name: rule, Note: "Intel_Match", Severity: detectors.High,
			Says: "A machine was seen with an indicator from threat intelligence: an address, name, URL, fingerprint, file " +
				"or wallet.",
			ATLAS:  []string{"AML.T0072"},
			ATTACK: []string{"T1071", "T1105", "T1568"},
			Needs: "An indicator in a feed (--intel, or the built-in list) and its match on the wire: packet headers for " +
				"addresses, clear text for all others.",
			FalsePositives: "Addresses that have changed owners since; shared hosting; feeds that list everyday services " +
				"(those on the built-in list of shared services are rated info).",
			Story: detectors.Story{Group: detectors.GroupIntel,
				Does: "was in touch with %, which is on a list", Other: "listed host", Techniques: []string{"T1071"},
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			live, ok := env.Settings["intel"].(*Live)
			if !ok || live == nil {
				return
			}
			d := &detector{env: env, bus: bus, live: live, names: bus.Names.Memo()}
			detectors.On(bus, d.conn)
			detectors.On(bus, d.progress)
			detectors.On(bus, d.lookup)
			detectors.On(bus, d.request)
			detectors.On(bus, d.socks)
			detectors.On(bus, d.hello)
			detectors.On(bus, d.certificate)
			detectors.On(bus, func(s *stratum.Start) { d.mining(&s.Session) })
			detectors.On(bus, d.file)
		},
	}
}

type detector struct {
	clean   [256]string   // digests that are none of cleanOf
	names   decoders.Memo // that are none of cleanOf
	cleanOf *Set
	env     *detectors.Env
	bus     *detectors.Bus
	live    *Live
}

// use is what a machine did with an indicator.
type use struct {
	at       capture.At
	flow     *capture.Flow
	src, dst netip.AddrPort
	verb     string // "connected to", "looked up"
	what     string // the thing, as it was on the wire
	field    string
	outcome  detectors.Outcome
	end      string
	key      string             // in place of the other side, to tell findings apart
	caller   bool               // what was listed is the source: it is named first
	most     detectors.Severity // a bound
}

// report judges a use.
func (d *detector) report(h Hit, u use) {
	f := &detectors.Finding{
		At: u.at, Rule: rule, Confidence: h.Confidence, Outcome: u.outcome, Src: u.src.Addr(), Dst: u.dst.Addr(), Port: u.flow.Resp.Port(), Flow: u.flow,
	}
	if u.key == "" {
		u.key = u.dst.Addr().String()
	}
	f.Key = u.src.Addr().String() + " " + u.key + " " + h.Kind.String() + " " + h.Indicator
	switch {
	case h.Confidence >= trusted:
		f.Severity = detectors.High
	case h.Confidence >= fair:
		f.Severity = detectors.Medium
	default:
		f.Severity = detectors.Low
	}
	if u.outcome != detectors.Succeeded && u.outcome != detectors.Observed {
		f.Severity = max(f.Severity, 1) - 1
	}
	f.Severity = min(f.Severity, u.most)
	why := ""
	switch {
	case h.Shared != "":
		f.Severity, why = detectors.Info, "; many use "+h.Shared+", so that it says nothing by itself"
	case h.Expired:
		f.Severity, why = detectors.Info, "; the indicator has ended"
	case h.Age >= 2*24*time.Hour:
		why = fmt.Sprintf(", last seen %.0f days before", h.Age.Hours()/24)
	}
	what, listed := detectors.Clip(u.what, 300), strings.Join(h.Sources, ", ")
	if !strings.EqualFold(what, h.Indicator) {
		what += " (" + h.Kind.String() + " " + detectors.Clip(h.Indicator, 200) + ")"
	}
	if listed += " lists"; h.Desc != "" {
		listed += " as " + h.Desc
	}
	if u.caller {
		f.Msg = fmt.Sprintf("%s, which %s, %s%s%s", what, listed, u.verb, u.end, why)
	} else {
		f.Msg = fmt.Sprintf("%s %s %s, which %s%s%s", u.src.Addr(), u.verb, what, listed, u.end, why)
	}
	f.Sub = fmt.Sprintf("%s %s, confidence %d", h.Kind, detectors.Clip(h.Indicator, 200), h.Confidence)
	f.Evidence = []detectors.Evidence{
		{Field: u.field, Value: detectors.Clip(u.what, 500), Packet: u.at.Packet},
		{Field: "indicator", Value: detectors.Clip(h.Kind.String()+" "+h.Indicator+" of "+strings.Join(h.Sources, ", "), 500), Packet: u.at.Packet},
	}
	d.bus.Report(f)
}

// sides gives the home machine's direction in a flow that leads outside or comes from there; ok is false for others.
func (d *detector) sides(f *capture.Flow) (home capture.Dir, ok bool) {
	o, r := d.env.Home.Contains(f.Orig.Addr()), d.env.Home.Contains(f.Resp.Addr())
	if r {
		home = capture.Resp
	}
	return home, o != r
}

func (d *detector) conn(c *capture.Conn) {
	if c.Flow == nil {
		return
	}
	d.flow(c.At, c.Flow, c.Pkts[0] > 0 && c.Pkts[1] > 0 && (c.Flow.Proto != capture.ProtoTCP || answered(c.State)), c.Bytes)
}

// answered says that a state of conn.log has a connection in it.
func answered(state string) bool {
	switch state {
	case "S0", "REJ", "SH", "SHR", "RSTOS0", "RSTRH", "":
		return false
	}
	return true
}

// progress speaks of connections that live on; what never came to be is told at its end.
func (d *detector) progress(p *capture.Progress) {
	if p.Flow == nil {
		return
	}
	home, ok := d.sides(p.Flow)
	if !ok || home == capture.Resp && p.Bytes[home] == 0 || p.Flow.Proto != capture.ProtoTCP && (p.Bytes[0] == 0 || p.Bytes[1] == 0) {
		return
	}
	d.flow(p.At, p.Flow, true, p.Bytes)
}

// flow judges a connection by its addresses.
func (d *detector) flow(at capture.At, f *capture.Flow, lives bool, bytes [2]uint64) {
	home, ok := d.sides(f)
	if !ok {
		return
	}
	other := f.Dst(home)
	if home == capture.Resp {
		other = netip.AddrPortFrom(other.Addr(), 0) // whoever calls does so from whatever port
	}
	h, ok := d.live.Set().Addr(other, at.Time)
	if !ok {
		return
	}
	u := use{at: at, flow: f, src: f.Src(home), dst: other, what: other.String(), field: "address", outcome: detectors.Succeeded, most: detectors.High}
	if home == capture.Orig {
		u.verb = "connected to"
		if f.Proto == capture.ProtoICMP || f.Proto == capture.ProtoICMPv6 {
			u.verb, u.what, u.most = "sent ICMP to", other.Addr().String(), detectors.Medium
		}
		if !lives {
			u.verb, u.outcome, u.end = "tried to connect to", detectors.Attempted, ", without success"
		}
		d.report(h, u)
		return
	}
	u.src, u.dst, u.what, u.caller, u.most = other, f.Src(home), other.Addr().String(), true, detectors.Medium
	if f.Mid {
		u.verb = "exchanged data with " + f.Src(home).String() + "; who opened the connection was not seen"
		d.report(h, u)
		return
	}
	// The Internet's scanners are in every feed: that one knocked says little, that one is served says more.
	u.verb = "connected to " + f.Src(home).String()
	if h.Confidence < trusted {
		u.most = detectors.Low
	}
	if !lives || bytes[home] == 0 {
		u.verb, u.outcome, u.most = "knocked at "+f.Src(home).String(), detectors.Attempted, detectors.Info
		u.key = "knocks" // one finding, however many machines it tried
	}
	d.report(h, u)
}

func (d *detector) lookup(t *dns.Transaction) {
	if t.Flow == nil || t.NetBIOS || t.Multicast || !d.env.Home.Contains(t.Flow.Orig.Addr()) {
		return
	}
	set := d.live.Set()
	d.renew(set)
	var h Hit
	ok := false
	if !d.names.Has(t.NameID) {
		if h, ok = set.Name(t.Query, 0, t.Time); !ok {
			d.names.Add(t.NameID)
		}
	}
	out := t.Outcome()
	var shown netip.Addr // what the name stands for
	if !ok {
		if out != dns.Resolved {
			return
		}
		if h, shown = d.answer(set, t); !shown.IsValid() {
			return
		}
	}
	u := use{at: t.At, flow: t.Flow, src: t.Flow.Orig, dst: t.Flow.Resp, verb: "looked up", what: t.Query, field: "query", outcome: detectors.Succeeded, most: detectors.Medium}
	if t.Reply.Packet != 0 {
		u.at = t.Reply
	}
	switch out {
	case dns.Resolved:
	case dns.NXDomain, dns.Sinkholed:
		u.outcome, u.end, u.most = detectors.Attempted, ", blocked or gone: "+out.String(), detectors.Low
	case dns.Unanswered:
		u.outcome, u.end = detectors.Unknown, ", no answer seen"
	default:
		u.outcome, u.end, u.most = detectors.Attempted, ", without an address", detectors.Low
	}
	if shown.IsValid() {
		u.what, u.field, u.most = t.Query+", which is "+shown.String(), "answer", detectors.Low // names move, and share addresses
	}
	d.report(h, u)
}

// renew forgets what was no indicator when there are others.
func (d *detector) renew(set *Set) {
	if set != d.cleanOf {
		d.clean, d.cleanOf = [len(d.clean)]string{}, set
		d.names.Forget()
	}
}

// answer looks for an address that is an indicator among the first of an answer.
func (d *detector) answer(set *Set, t *dns.Transaction) (hit Hit, shown netip.Addr) {
	n := 0
	t.Addresses(func(a netip.Addr, _ time.Duration) bool {
		n++
		if h, ok := set.Addr(netip.AddrPortFrom(a, 0), t.Time); ok && h.Kind != IPPort && !d.env.Home.Contains(a) {
			hit, shown = h, a
			return false
		}
		return n < maxAnswers
	})
	return hit, shown
}

func (d *detector) request(t *http.Transaction) {
	r := t.Request
	if t.Flow == nil || r == nil {
		return
	}
	home, ok := d.sides(t.Flow)
	if !ok {
		// Between two at home what counts is what a proxy is asked for.
		if !d.env.Home.Contains(t.Flow.Orig.Addr()) || r.Method != "CONNECT" && !strings.Contains(r.Target, "://") {
			return
		}
		home = capture.Orig
	}
	set := d.live.Set()
	u := use{at: r.At, flow: t.Flow, src: t.Flow.Orig, dst: t.Flow.Resp, outcome: detectors.Unknown, end: ", no answer seen", most: detectors.High}
	if x := t.Response; x != nil {
		if u.outcome, u.end = detectors.Succeeded, ""; r.Method == "CONNECT" && x.Status/100 != 2 {
			u.outcome, u.end = detectors.Attempted, fmt.Sprintf(", refused by the proxy (%d)", x.Status)
		}
	}
	if home == capture.Orig {
		host, port, target := r.Header.Get("Host"), t.Flow.Resp.Port(), r.Target
		if r.Method == "CONNECT" {
			host, target = r.Target, ""
		} else if i := strings.Index(target, "://"); i > 0 && i < 8 {
			rest := target[i+3:]
			j := strings.IndexByte(rest, '/')
			if j < 0 {
				j = len(rest)
			}
			host, target, port = rest[:j], rest[j:], 80
		}
		host, p := hostPort(host)
		if p != 0 {
			port = p
		}
		path, _, _ := strings.Cut(target, "?") // what is asked for there may be secret
		u.verb, u.field, u.what = "called", "url", host+path
		if h, ok := set.URL(host, port, target, t.Time); ok {
			d.report(h, u)
		}
		u.field, u.what = "host", host
		if h, ok := set.Name(host, port, t.Time); ok {
			d.report(h, u)
		} else if a, err := netip.ParseAddr(host); err == nil && a != t.Flow.Resp.Addr() { // otherwise the connection told it
			if h, ok := set.Addr(netip.AddrPortFrom(a, port), t.Time); ok {
				d.report(h, u)
			}
		}
	}
	if h, ok := set.Text(UserAgent, r.Header.Get("User-Agent"), t.Time); ok {
		u.verb, u.field, u.what = "called "+t.Flow.Resp.String()+" as", "user agent", r.Header.Get("User-Agent")
		if home == capture.Resp {
			u.most = detectors.Low // an attempt like thousands; what comes of it others tell
		}
		d.report(h, u)
	}
}

func (d *detector) socks(r *socks.Request) {
	if r.Flow == nil || !d.env.Home.Contains(r.Flow.Orig.Addr()) {
		return
	}
	u := use{at: r.At, flow: r.Flow, src: r.Flow.Orig, dst: r.Flow.Resp, verb: "asked a proxy for", what: r.Host.String(), field: "socks", outcome: detectors.Unknown, most: detectors.High}
	if r.OK {
		u.outcome = detectors.Succeeded
	} else if r.Status != "" {
		u.outcome, u.end = detectors.Attempted, ", which refused"
	}
	host, _ := hostPort(r.Host.String())
	set := d.live.Set()
	if h, ok := set.Name(host, 0, r.Time); ok {
		d.report(h, u)
	} else if a, err := netip.ParseAddr(host); err == nil {
		if h, ok := set.Addr(netip.AddrPortFrom(a, 0), r.Time); ok {
			d.report(h, u)
		}
	}
}

func (d *detector) hello(s *tls.Session) {
	if s.Flow == nil {
		return
	}
	home, ok := d.sides(s.Flow)
	if !ok {
		return
	}
	set := d.live.Set()
	u := use{at: s.At, flow: s.Flow, src: s.Flow.Orig, dst: s.Flow.Resp, outcome: detectors.Unknown, end: ", no answer seen", most: detectors.High}
	if s.Answered {
		u.outcome, u.end = detectors.Succeeded, ""
	}
	if home == capture.Orig && s.ServerName != "" {
		u.verb, u.what, u.field = "opened TLS to", s.ServerName, "server name"
		if h, ok := set.Name(s.ServerName, s.Flow.Resp.Port(), s.Time); ok {
			d.report(h, u)
		}
	}
	// A library's fingerprint is that of all programs built on it.
	if u.most = detectors.Medium; home == capture.Resp {
		u.most = detectors.Low
	}
	u.verb = "opened TLS to " + s.Flow.Resp.String() + " with fingerprint"
	for _, p := range [...]struct {
		kind  Kind
		value string
	}{{JA3, s.JA3}, {JA4, s.JA4}} {
		if h, ok := set.Text(p.kind, p.value, s.Time); ok {
			u.what, u.field = p.value, p.kind.String()
			d.report(h, u)
		}
	}
}

func (d *detector) certificate(c *tls.Certificate) {
	if c.Flow == nil {
		return
	}
	if home, ok := d.sides(c.Flow); !ok || home != capture.Orig || c.X509 == nil || c.FromClient {
		return
	}
	if h, ok := d.live.Set().Text(Cert, c.Fingerprint, c.Time); ok {
		d.report(h, use{at: c.At, flow: c.Flow, src: c.Flow.Orig, dst: c.Flow.Resp, verb: "was shown by " + c.Flow.Resp.String() + " certificate", what: h.Indicator,
			field: "certificate", outcome: detectors.Succeeded, most: detectors.High})
	}
}

func (d *detector) mining(s *stratum.Session) {
	if s.Flow == nil || s.Login == "" {
		return
	}
	miner := s.Flow.Src(s.Client)
	u := use{at: s.At, flow: s.Flow, src: miner, dst: s.Flow.Dst(s.Client), verb: "mines for wallet", field: "login", outcome: detectors.Unknown, most: detectors.High}
	switch s.Outcome {
	case stratum.Working, stratum.Accepted:
		u.outcome = detectors.Succeeded
	case stratum.Refused:
		u.outcome, u.end = detectors.Attempted, ", which the pool refused"
	}
	if !d.env.Home.Contains(miner.Addr()) {
		return
	}
	set := d.live.Set()
	for _, v := range [...]string{s.Address.Wallet, s.Login} {
		if h, ok := set.Text(Wallet, v, s.Time); ok {
			h.Indicator = short(h.Indicator)
			u.what = short(v)
			d.report(h, u)
			return
		}
	}
}

// short shows of a wallet what tells it from others.
func short(w string) string {
	if len(w) < 20 {
		return w
	}
	return w[:8] + "..." + w[len(w)-5:]
}

func (d *detector) file(f *file.File) {
	if f.Flow == nil || !f.Hashed() {
		return
	}
	set := d.live.Set()
	if set.Count(Hash) == 0 {
		return
	}
	d.renew(set)
	clean := &d.clean[f.SHA256[0]]
	if *clean == f.SHA256 {
		return // servers send the same few files most of the time
	}
	for _, v := range [...]string{f.SHA256, f.SHA1, f.MD5} {
		h, ok := set.Text(Hash, v, f.Time)
		if !ok {
			continue
		}
		sender, taker := f.Flow.Src(f.Sender), f.Flow.Dst(f.Sender)
		u := use{at: f.At, flow: f.Flow, what: v, field: "file", outcome: detectors.Succeeded, most: detectors.High}
		switch {
		case d.env.Home.Contains(taker.Addr()):
			u.src, u.dst, u.verb = taker, sender, "got from "+sender.String()+" file"
		case d.env.Home.Contains(sender.Addr()):
			u.src, u.dst, u.verb = sender, taker, "sent to "+taker.String()+" file"
		default:
			return
		}
		d.report(h, u)
		return
	}
	*clean = f.SHA256
}

// hostPort splits a host from its port, and takes the brackets off.
func hostPort(s string) (host string, port uint16) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.IndexByte(s, ']') < i && strings.IndexByte(s, ':') >= strings.LastIndexByte(s, ']') {
		if n, err := strconv.ParseUint(s[i+1:], 10, 16); err == nil {
			s, port = s[:i], uint16(n)
		}
	}
	return strings.Trim(s, "[]"), port
}
