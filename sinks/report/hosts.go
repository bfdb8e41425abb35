package report

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/logs"
)

// role is what a host is in the story. Of several, the highest is told.
type role uint8

const (
	roleNone role = iota
	roleOutsider
	roleResolver
	roleInside
	roleClient
	roleTarget
	roleDestination
	roleNode
	roleHead
	roleProbe
	rolePayload
	roleControl
	rolePool
	roleAttacker
)

var roleNames = [...]string{"", "outside", "resolver", "inside", "client", "target", "data destination", "Ray node", "Ray head",
	"probe service", "payload host", "command and control", "mining pool", "attacker"}

func (r role) String() string { return roleNames[r] }

// farRole is what the address outside is to a machine inside, by the detector that says so, whoever of them is the
// finding's source; roleNone where the source is who did it.
func farRole(rule string) role {
	detector, _, _ := strings.Cut(rule, "/")
	switch detector {
	case "mining":
		return rolePool
	case "egress", "secrets":
		return roleDestination
	case "oast":
		return roleProbe
	case "beacon", "shell":
		return roleControl
	case "payload":
		return rolePayload
	}
	return roleNone
}

type host struct {
	role     role
	severity detectors.Severity // of the worst finding that names it
	named    bool               // a finding or a fact of the story does
	name     string             // that DNS or a request gave it
}

func (r *Report) inside(a netip.Addr) bool { return r.home.Contains(a) }

// host gives the entry of an address. Only addresses that findings, Ray's logs or facts of the story name get one, and
// those are bounded.
func (r *Report) host(a netip.Addr, as role) *host {
	h := r.hosts[a]
	if h == nil {
		h = &host{}
		r.hosts[a] = h
	}
	h.role = max(h.role, as)
	return h
}

// learn gives the hosts of findings their roles.
func (r *Report) learn() {
	for i := range r.Findings {
		f := &r.Findings[i]
		in, out := r.inside(f.Src), r.inside(f.Dst)
		from, to := farRole(f.Rule), farRole(f.Rule)
		if from == roleNone {
			from, to = pick(f.Severity >= detectors.Medium, roleAttacker, roleOutsider), roleTarget
		}
		for _, end := range [...]struct {
			addr netip.Addr
			as   role
		}{{f.Src, pick(in, roleInside, from)}, {f.Dst, pick(out, roleInside, to)}} {
			if !end.addr.IsValid() || detectors.Special(end.addr) {
				continue
			}
			h := r.host(end.addr, end.as)
			h.named, h.severity = true, max(h.severity, f.Severity)
		}
	}
	r.known.learn(r)
}

func pick[T any](c bool, yes, no T) T {
	if c {
		return yes
	}
	return no
}

// endpoint is an address and port at which Ray was spoken.
type endpoint struct {
	services, versions, auth, sessions []string
	calls, executed                    uint64
	inside, outside                    []netip.Addr // clients, bounded
	insideMore, outsideMore            uint64       // calls of clients beyond that
	open                               uint64       // calls of outsiders that were answered without a credential
	refused, failed                    uint64       // of outsiders: for want of a token, for another reason
	first, last                        capture.Time
}

// Clients and values listed of one endpoint.
const maxList = 12

func add[T comparable](list []T, v T) ([]T, bool) {
	if slices.Contains(list, v) {
		return list, true
	}
	if len(list) >= maxList {
		return list, false
	}
	return append(list, v), true
}

func addText(list []string, v string) []string {
	if v != "" {
		list, _ = add(list, v)
	}
	return list
}

func (r *Report) endpoint(w *logs.Row) *endpoint {
	at := netip.AddrPortFrom(w.Addr("id.resp_h"), uint16(w.Uint("id.resp_p")))
	e := r.endpoints[at]
	if e == nil {
		if len(r.endpoints) >= maxEndpoints || !at.IsValid() {
			return nil
		}
		e = &endpoint{first: w.Time("ts")}
		r.endpoints[at] = e
	}
	ts := w.Time("ts")
	e.first, e.last = min(e.first, ts), max(e.last, ts)
	r.span(ts, ts)
	e.calls++
	e.services = addText(e.services, w.Get("service"))
	e.auth = addText(e.auth, w.Get("auth"))
	client := w.Addr("id.orig_h")
	outcome := w.Get("outcome")
	if outcome == "executed" {
		e.executed++
	}
	var ok bool
	if r.inside(client) {
		if e.inside, ok = add(e.inside, client); !ok {
			e.insideMore++
		}
	} else {
		if e.outside, ok = add(e.outside, client); !ok {
			e.outsideMore++
		}
		switch {
		case strings.HasPrefix(outcome, "blocked"):
			e.refused++
		case outcome == "rejected" || outcome == "error":
			e.failed++
		}
		if (outcome == "executed" || outcome == "answered") && (w.Get("auth") == "none" || !w.Has("auth")) {
			e.open++
		}
	}
	return e
}

func (r *Report) ray(w *logs.Row) {
	e := r.endpoint(w)
	if e == nil {
		return
	}
	e.versions = addText(e.versions, w.Get("ray_version"))
	e.sessions = addText(e.sessions, w.Get("session_name"))
	if a := w.Addr("id.resp_h"); r.inside(a) {
		r.host(a, pick(w.Get("service") == "dashboard", roleHead, roleNode))
	}
}

func (r *Report) rayGRPC(w *logs.Row) {
	e := r.endpoint(w)
	if e == nil {
		return
	}
	e.sessions = addText(e.sessions, w.Get("cluster_id"))
	resp, orig := w.Addr("id.resp_h"), w.Addr("id.orig_h")
	switch w.Get("service") {
	case "gcs":
		if r.inside(resp) {
			r.host(resp, roleHead)
			if r.inside(orig) {
				r.host(orig, roleNode)
			}
		}
	case "client":
		if r.inside(resp) {
			r.host(resp, roleHead)
		}
	case "":
	default:
		if r.inside(resp) {
			r.host(resp, roleNode)
		}
	}
}

// miner is a mining session's totals.
type miner struct {
	src, dst                       netip.Addr
	time, until                    capture.Time
	uid, agent, wallet, coin, pool string
	jobs, submits, accepted        uint64
}

func (r *Report) stratum(w *logs.Row) {
	uid := w.Get("uid")
	m := r.miners[uid]
	if m == nil {
		if len(r.miners) >= maxFacts {
			return
		}
		m = &miner{src: w.Addr("id.orig_h"), dst: w.Addr("id.resp_h"), time: w.Time("ts"), uid: uid}
		if w.Get("client") == "resp" {
			m.src, m.dst = m.dst, m.src
		}
		r.miners[uid] = m
		for _, a := range [...]netip.Addr{m.src, m.dst} {
			if a.IsValid() {
				r.host(a, pick(r.inside(a), roleInside, rolePool)).named = true
			}
		}
	}
	m.agent, m.wallet = w.Get("agent"), w.Get("wallet")
	m.coin, m.pool = w.Get("coin"), w.Get("pool")
	m.jobs, m.submits, m.accepted = w.Uint("jobs"), w.Uint("submits"), w.Uint("accepted")
	m.until = w.Time("ts") + interval(w, "duration")
	r.span(m.time, m.until)
}

func interval(w *logs.Row, name string) capture.Time {
	t, _ := logs.ParseTime(w.Get(name))
	return max(t, 0)
}

// fetch is a download that a machine inside made from a place that a finding names.
type fetch struct {
	time     capture.Time
	src, dst netip.Addr
	uid, url string
	size     uint64
	status   string
}

func (r *Report) http(w *logs.Row) {
	src, dst := w.Addr("id.orig_h"), w.Addr("id.resp_h")
	name := http.HostOf(w.Get("host"))
	if !r.inside(src) || r.inside(dst) || !r.known.host(name) && !r.known.host(dst.String()) {
		return
	}
	h := r.host(dst, roleNone)
	if h.role < roleTarget { // findings and incidents know better
		h.role = rolePayload
	}
	h.named = true
	if h.name == "" && name != dst.String() {
		h.name = name
	}
	r.host(src, roleInside).named = true
	if len(r.fetches) >= maxFacts {
		return
	}
	url := secrets.Mask("http://" + pick(w.Get("host") != "", w.Get("host"), dst.String()) + w.Get("uri"))
	r.fetches = append(r.fetches, fetch{w.Time("ts"), src, dst, w.Get("uid"), url, w.Uint("response_body_len"), w.Get("status_code")})
}

func (r *Report) dns(w *logs.Row) {
	query := strings.ToLower(w.Get("query"))
	for _, s := range w.List("answers") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			continue
		}
		h := r.hosts[a]
		if h == nil && r.known.host(query) && !r.inside(a) {
			h = r.host(a, roleTarget)
			h.named = true
		}
		if h != nil && h.name == "" {
			h.name = query
		}
	}
}

// pair is what passed between two hosts; index 0 is the one that stands first in the key.
type pair struct {
	flows    uint64
	opened   [2]uint64
	bytes    [2]uint64
	services []string
	ports    []uint16
}

type flowTotals struct {
	flows, bytes, mid, encrypted, unknown, missed, tcp uint64
}

// encryptedServices are those whose payload nobody reads on the wire.
var encryptedServices = []string{"ssl", "quic", "ssh", "dtls", "wireguard", "openvpn", "ipsec", "spicy_openvpn"}

func (r *Report) conn(w *logs.Row) {
	start := w.Time("ts")
	end := start + interval(w, "duration")
	r.span(start, end)
	orig, resp := w.Addr("id.orig_h"), w.Addr("id.resp_h")
	sent := [2]uint64{w.Uint("orig_bytes"), w.Uint("resp_bytes")}
	var service []string // one string, as Zeek has it: "gssapi,smb"
	if s := w.Get("service"); s != "" {
		service = strings.Split(s, ",")
	}
	t := &r.flows
	t.flows++
	t.bytes += sent[0] + sent[1]
	t.missed += w.Uint("missed_bytes")
	if w.Get("proto") == "tcp" {
		t.tcp++
		if !strings.ContainsAny(w.Get("history"), "SsHh") {
			t.mid++
		}
	}
	switch {
	case slices.ContainsFunc(service, func(s string) bool { return slices.Contains(encryptedServices, s) }):
		t.encrypted += sent[0] + sent[1]
	case len(service) == 0:
		t.unknown += sent[0] + sent[1]
	}
	if !orig.IsValid() || !resp.IsValid() {
		return
	}
	if in, out := r.inside(orig), r.inside(resp); in && !out {
		r.out.add(r, resp, start, end, sent[0])
	} else if !in && out {
		r.out.add(r, orig, start, end, sent[1])
	}

	key, first := [2]netip.Addr{orig, resp}, 0
	if resp.Less(orig) {
		key, first = [2]netip.Addr{resp, orig}, 1
	}
	p := r.pairs[key]
	if p == nil {
		if len(r.pairs) >= maxPairs && (r.hosts[orig] == nil || r.hosts[resp] == nil) {
			r.pairsLeftOut++
			return
		}
		p = &pair{}
		r.pairs[key] = p
	}
	p.flows++
	p.opened[first]++
	p.bytes[first] += sent[0]
	p.bytes[1-first] += sent[1]
	for _, s := range service {
		p.services = addText(p.services, s)
	}
	if len(p.ports) < maxList && !slices.Contains(p.ports, uint16(w.Uint("id.resp_p"))) {
		p.ports = append(p.ports, uint16(w.Uint("id.resp_p")))
	}
}

// egress is what left for destinations outside, over time.
type egress struct {
	to     map[netip.Addr]*series
	others series // of destinations beyond maxSeries
	count  uint64 // destinations in others, at least
	total  uint64
}

func (e *egress) add(r *Report, to netip.Addr, start, end capture.Time, n uint64) {
	if n == 0 || detectors.Special(to) {
		return
	}
	e.total += n
	if e.to == nil {
		e.to = map[netip.Addr]*series{}
	}
	s := e.to[to]
	if s == nil {
		if len(e.to) >= maxSeries && r.hosts[to] == nil {
			e.count++
			e.others.add(start, end, n)
			return
		}
		s = &series{}
		e.to[to] = s
	}
	s.add(start, end, n)
}

// seriesBins is how fine bytes over time are drawn: a bar of ten pixels at the width of a page.
const seriesBins = 64

// finestBin is finer than a capture of a few seconds can be drawn.
const finestBin = capture.Time(100 * time.Millisecond)

// series sums bytes in bins of a width that grows with the time that they cover, from finestBin on.
type series struct {
	total uint64
	width capture.Time
	first int64 // number of bins[0], counted from the epoch
	bins  []float64
}

func (s *series) add(start, end capture.Time, n uint64) {
	s.total += n
	if s.width == 0 {
		s.width = finestBin
	}
	end = max(end, start)
	lo, hi := int64(start/s.width), int64(end/s.width)
	if len(s.bins) == 0 {
		s.first = lo
	}
	for {
		first, last := min(s.first, lo), max(s.first+int64(len(s.bins))-1, hi)
		if last-first < seriesBins {
			s.cover(first, last)
			break
		}
		s.coarsen()
		lo, hi = int64(start/s.width), int64(end/s.width)
	}
	for b := lo; b <= hi; b++ { // at most seriesBins
		from, to := max(start, capture.Time(b)*s.width), min(end, capture.Time(b+1)*s.width)
		share := 1.0
		if end > start {
			share = float64(to-from) / float64(end-start)
		}
		s.bins[b-s.first] += float64(n) * share
	}
}

func (s *series) cover(first, last int64) {
	if first == s.first && last == s.first+int64(len(s.bins))-1 {
		return
	}
	bins := make([]float64, last-first+1)
	copy(bins[s.first-first:], s.bins)
	s.first, s.bins = first, bins
}

// coarsen doubles the width of the bins.
func (s *series) coarsen() {
	first := s.first >> 1
	bins := make([]float64, (s.first+int64(len(s.bins))-1)>>1-first+1)
	for i, v := range s.bins {
		bins[(s.first+int64(i))>>1-first] += v
	}
	s.width, s.first, s.bins = s.width*2, first, bins
}
