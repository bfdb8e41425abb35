// Package mining finds machines that mine cryptocurrency.
//
// In: stratum sessions (stratum.Start, stratum.Session, also those read from HTTP transactions), gRPC calls, DNS answers, HTTP
// transactions, SOCKS requests, TLS sessions and their rhythm, and the progress of flows. Out: findings of three rules.
//
// mining/stratum says that a machine speaks a mining protocol. It is said as soon as the decoder can tell what came of
// it, and said again only when it becomes worse or when a session that lasted ends. The outcome decides the severity:
//
//	high    a home machine got work or has shares accepted; another's shares were accepted through our network
//	medium  a home machine tried: no answer, or refused; another got work
//	low     anything less: calls over HTTP that nobody answered, and words of the protocol without a miner's name, a
//	        wallet, work or a pool that is known
//
// mining/pool says that a machine asked for a pool by name, or called one: a look-up, a Host header, a CONNECT or SOCKS
// target, the server name of a TLS session that asks for no web protocol. The names come from the embedded list; what only is an address on that list is a hint (low), because such
// entries outlive the pools behind them. A look-up that was answered with NXDOMAIN or a sinkhole is low, too: somebody
// tries, and somebody else took care of it. Doubtful entries and web browsers on a pool's pages are low. A look-up waits some seconds for what follows: who then
// reads pages wanted these. The names of a pool's pages alone are low, until another port of theirs is called.
//
// mining/tls says that an encrypted session has the shape of one (tls.go): low, or medium if nobody is named in its hello
// or the pool is known. That is a likeness and no more.
//
// Src is the miner, Dst the pool; for look-ups Dst is the resolver.
//
// It does not see what is said inside TLS. It cannot tell wanted mining from planted. A resolver that asks for others is blamed like a miner until it was seen
// answering DNS itself; from then on low.
package mining

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/http2"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/stratum"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

// Rules.
const (
	ruleStratum = "mining/stratum"
	rulePool    = "mining/pool"
	ruleTLS     = "mining/tls"
)

const (
	// maxSessions bounds the sessions that were announced and have not ended. A session costs 200 bytes; a
	// network of 4,000 miners needs other help.
	maxSessions = 4096
	// maxResolved bounds the addresses that pool names resolved to; a pool has tens.
	maxResolved = 8192
	// maxTargets bounds the proxied flows whose target is remembered until stratum is seen in them.
	maxTargets = 4096
	// maxResolvers bounds the machines known to answer DNS.
	maxResolvers = 1024
	// maxHinted bounds the pairs that were hinted at by address.
	maxHinted = 4096
	// maxAsked bounds the pairs of a client and the address of a pool's pages.
	maxAsked = 4096
	// A look-up is held for holdFor, at most maxHeld of them: a browser that was given the address calls at once.
	holdFor = 10 * time.Second
	maxHeld = 256
	// A session that lasted this long is worth a second sentence, with its counts, when it ends.
	longSession = time.Hour
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "mining",
		Rules: []detectors.Rule{{
			Name:     ruleStratum,
			Note:     "Mining_Stratum",
			Severity: detectors.High,
			Says:     "A machine speaks a mining protocol to a pool.",
			ATLAS:    []string{"AML.T0048.000"},
			ATTACK:   []string{"T1496.001"},
			Needs: "One direction of the connection in clear text, from any point on; any port; also inside SOCKS, " +
				"CONNECT and WebSocket.",
			FalsePositives: "Authorized mining; pool operators; miners under test.",
			Story: detectors.Story{Group: detectors.GroupMining, Sure: true, Grave: true,
				Does: "mined at %", Other: "pool",
			},
		}, {
			Name:     rulePool,
			Note:     "Mining_Pool",
			Severity: detectors.Medium,
			Says:     "A machine looked up or contacted a mining pool.",
			ATLAS:    []string{"AML.T0048.000"},
			ATTACK:   []string{"T1496.001"},
			Needs:    "DNS, HTTP or SOCKS in clear text with a name on the list of pools; for hints, the address.",
			FalsePositives: "People who read a pool's website when it has the same name as its mining service and comes over " +
				"QUIC or from a cache; resolvers whose clients the tap does not see; addresses that have changed owners " +
				"since the list was made (low).",
			Story: detectors.Story{Group: detectors.GroupMining, Sure: true, Grave: true, Named: true,
				Does: "looked up or called the mining pool %", Other: "pool",
			},
		}, {
			Name:     ruleTLS,
			Note:     "Mining_TLS",
			Severity: detectors.Medium,
			Says: "An encrypted session has the shape of mining: fixed-length requests with short responses, and " +
				"unsolicited work from the server.",
			ATLAS:  []string{"AML.T0048.000"},
			ATTACK: []string{"T1496.001", "T1573"},
			Needs: "The handshake and the first two dozen records of a TLS session whose client offers no application " +
				"protocol (ALPN).",
			FalsePositives: "Other programs that send fixed-length lines and receive unsolicited messages: telemetry, chat, " +
				"private message brokers. Padding hides the shape; Stratum V2 and miners that offer ALPN are not examined.",
			Story: detectors.Story{Group: detectors.GroupMining,
				Does: "mined at %", Other: "pool", Techniques: []string{"AML.T0048.000", "T1496.001"},
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) { subscribe(env, bus) },
	}
}

type detector struct {
	env       *detectors.Env
	bus       *detectors.Bus
	pools     *data.Pools
	plain     decoders.Memo                            // fields without a pool's name
	names     decoders.Memo                            // that are none
	sessions  detectors.Table[string, said]            // by flow
	resolved  detectors.Table[netip.Addr, string]      // address to the pool's name
	targets   detectors.Table[string, string]          // flow to host:port behind the proxy
	resolvers detectors.Table[netip.Addr, struct{}]    // who answers DNS
	hinted    detectors.Table[[2]netip.Addr, struct{}] // pairs
	asked     detectors.Table[[2]netip.Addr, page]     // clients and addresses of pages
	wait      []held
}

// said is what was said of a session.
type said struct {
	severity detectors.Severity
	at       capture.Time
}

func newDetector(env *detectors.Env, bus *detectors.Bus) *detector {
	return &detector{
		plain: bus.Heads.Memo(), names: bus.Names.Memo(),
		env: env, bus: bus, pools: data.LoadPools(),
		sessions:  detectors.Table[string, said]{Limit: maxSessions},
		resolved:  detectors.Table[netip.Addr, string]{Limit: maxResolved},
		targets:   detectors.Table[string, string]{Limit: maxTargets},
		resolvers: detectors.Table[netip.Addr, struct{}]{Limit: maxResolvers},
		hinted:    detectors.Table[[2]netip.Addr, struct{}]{Limit: maxHinted},
		asked:     detectors.Table[[2]netip.Addr, page]{Limit: maxAsked},
	}
}

func subscribe(env *detectors.Env, bus *detectors.Bus) {
	d := newDetector(env, bus)
	detectors.On(bus, func(s *stratum.Start) { d.session(&s.Session, s.Session.Last, false) })
	detectors.On(bus, func(s *stratum.Session) { d.session(s, s.Last, true) })
	detectors.On(bus, d.lookup)
	detectors.On(bus, d.http)
	detectors.On(bus, d.socks)
	detectors.On(bus, func(p *http2.Part) { d.kaspad(&p.Call) })
	detectors.On(bus, d.kaspad)
	detectors.On(bus, d.hello)
	detectors.On(bus, d.rhythm)
	detectors.On(bus, d.progress)
	bus.OnTick(holdFor/5, d.tick)
	bus.OnEnd(d.end)
}

// session judges what a session said so far.
func (d *detector) session(s *stratum.Session, at capture.At, ended bool) {
	if s.Flow == nil {
		return
	}
	miner, pool := s.Flow.Src(s.Client), s.Flow.Dst(s.Client)
	sev, outcome, confidence := d.judge(s, miner.Addr())
	before, known := d.sessions.Load(s.Flow.UID)
	lasted := s.Last.Time.Sub(s.Time)
	again := ended && known && lasted >= longSession && s.Last.Time.Sub(before.at) >= longSession
	if s.Transport != "http" {
		if ended {
			d.sessions.Drop(s.Flow.UID)
		}
		if known && sev <= before.severity && !again {
			return
		}
		if !ended {
			d.sessions.Store(s.Flow.UID, said{sev, at.Time})
		}
	}
	f := &detectors.Finding{
		At: at, Rule: ruleStratum, Severity: sev, Confidence: confidence, Outcome: outcome,
		Src: miner.Addr(), Dst: pool.Addr(), Port: pool.Port(), Flow: s.Flow,
		Msg: d.sentence(s, miner, pool, again), Sub: detail(s),
	}
	for _, e := range s.Evidence {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: e.Field, Value: e.Line, Packet: e.Packet})
	}
	d.bus.Report(f)
}

// judge rates a session by how far it got and who mines.
func (d *detector) judge(s *stratum.Session, miner netip.Addr) (detectors.Severity, detectors.Outcome, int) {
	sev, outcome := detectors.Medium, detectors.Unknown
	confidence := 90
	switch s.Outcome {
	case stratum.Accepted:
		sev, outcome, confidence = detectors.High, detectors.Succeeded, 99
	case stratum.Working:
		sev, outcome, confidence = detectors.High, detectors.Succeeded, 97
	case stratum.Refused:
		outcome = detectors.Attempted
	}
	if sev == detectors.Medium && !s.Address.Checked && s.Agent == "" && s.Jobs == 0 && s.Accepted == 0 && s.Transport == "tcp" {
		// Words of the protocol alone: others have a login, too.
		if _, pool := d.resolved.Load(s.Flow.Dst(s.Client).Addr()); !pool {
			sev, confidence = detectors.Low, 50
		}
	}
	if s.Transport == "http" && s.Outcome != stratum.Working && s.Outcome != stratum.Accepted {
		sev, confidence = detectors.Low, 60
	}
	if !d.env.Home.Contains(miner) && s.Outcome != stratum.Accepted && sev > detectors.Low {
		sev--
	}
	return sev, outcome, confidence
}

// sentence says who mines where, with what and for whom.
func (d *detector) sentence(s *stratum.Session, miner, pool netip.AddrPort, ended bool) string {
	var b strings.Builder
	b.WriteString(miner.Addr().String())
	switch {
	case ended:
		b.WriteString(" mined for ")
		b.WriteString(s.Last.Time.Sub(s.Time).Round(time.Minute).String())
		b.WriteString(" at pool ")
	case s.Outcome == stratum.Refused:
		b.WriteString(" tried to mine and was refused by pool ")
	case s.Outcome == stratum.Tried:
		b.WriteString(" tries to mine at pool ")
	default:
		b.WriteString(" mines for pool ")
	}
	b.WriteString(d.where(s, pool))
	var about []string
	if s.Agent != "" {
		agent, _, _ := strings.Cut(s.Agent, " (")
		about = append(about, detectors.Clip(agent, 40))
	}
	if l := s.Login; l != "" {
		word := "login "
		if s.Address.Wallet != "" {
			l = s.Address.Wallet
		}
		if s.Address.Checked {
			word = s.Address.Coin + " wallet " // only a checksum that fits makes it a fact
		}
		about = append(about, word+stratum.Short(l))
	}
	if len(about) == 0 {
		about = append(about, string(s.Dialect))
	}
	switch {
	case s.Submits > 0:
		about = append(about, detectors.Plural(s.Submits, "share"))
		if s.Sides[s.Client.Peer()] {
			about = append(about, strconv.FormatUint(s.Accepted, 10)+" accepted")
		}
	case s.Accepted > 0:
		about = append(about, detectors.Plural(s.Accepted, "share")+" accepted")
	case s.Jobs > 0 && s.Login == "":
		about = append(about, detectors.Plural(s.Jobs, "job")+" received")
	}
	b.WriteString(" (")
	b.WriteString(strings.Join(about, ", "))
	b.WriteString(")")
	return b.String()
}

// where names the pool: by what the miner asked a proxy or the DNS for, and by address.
func (d *detector) where(s *stratum.Session, pool netip.AddrPort) string {
	name := s.Pool
	if t, ok := d.targets.Load(s.Flow.UID); ok {
		return detectors.Clip(t, 80) + " behind proxy " + pool.String()
	}
	if name == "" {
		name, _ = d.resolved.Load(pool.Addr())
	}
	if name == "" || strings.HasPrefix(name, pool.Addr().String()) {
		return pool.String()
	}
	if i := strings.LastIndexByte(name, ':'); i > 0 && name[i+1:] == strconv.Itoa(int(pool.Port())) {
		name = name[:i]
	}
	return detectors.Clip(name, 80) + " (" + pool.String() + ")"
}

// detail is one line of facts for the sub-message.
func detail(s *stratum.Session) string {
	out := []string{"dialect " + string(s.Dialect)}
	add := func(k, v string) {
		if v != "" {
			out = append(out, k+" "+detectors.Clip(v, 80))
		}
	}
	if len(s.Algos) <= 4 {
		add("algo", strings.Join(s.Algos, "+"))
	}
	add("agent", s.Agent)
	add("worker", s.Worker)
	if s.Address.Coin != "" {
		add("coin", s.Address.Coin)
	}
	add("pool says", s.Reason)
	if s.Transport != "tcp" {
		add("over", s.Transport)
	}
	add("combined with", s.Veil)
	if s.Mid {
		out = append(out, "began before the capture")
	}
	if !s.Sides[s.Client] || !s.Sides[s.Client.Peer()] {
		out = append(out, "one direction only")
	}
	return strings.Join(out, ", ")
}

// http looks for pools in Host headers and CONNECT targets.
func (d *detector) http(t *http.Transaction) {
	r := t.Request
	if r == nil || t.Flow == nil {
		return
	}
	named := r.OriginForm() // by its fields
	if named && d.plain.Has(r.FieldsID()) {
		return
	}
	connect := r.Method == "CONNECT"
	host, _ := r.Place()
	field, name := "host", host
	if connect {
		field, name = "connect", r.Target
	} else if i := strings.Index(r.Target, "://"); i > 0 && i < 8 {
		field = "target"
	}
	ok := t.Response != nil && t.Response.Status/100 == 2
	if connect && ok {
		d.targets.Store(t.Flow.UID, detectors.Clip(r.Target, 255))
	}
	entry, grade := d.pools.Name(host)
	if entry == "" {
		if named {
			d.plain.Add(r.FieldsID())
		}
		return
	}
	browser := !connect && strings.HasPrefix(r.Header.Get("User-Agent"), "Mozilla/")
	at := r.At
	if t.Response != nil && t.Response.Packet != 0 {
		at = t.Response.At
	}
	call := call{at: at, flow: t.Flow, name: name, entry: entry, grade: grade, verb: "calls mining pool",
		evidence: detectors.Evidence{Field: field, Value: detectors.Clip(name, 255), Packet: r.Packet}}
	switch {
	case connect:
		call.verb = "asks proxy " + t.Flow.Resp.String() + " for mining pool"
	case browser:
		call.verb, call.weak, call.page = "browses the pages of mining pool", true, true
	}
	switch {
	case t.Response == nil:
		call.outcome = detectors.Unknown
	case connect && !ok:
		call.outcome, call.weak = detectors.Attempted, true
	default:
		call.outcome = detectors.Succeeded
	}
	d.call(call)
}

// socks looks for pools in the targets of proxies.
func (d *detector) socks(r *socks.Request) {
	if r.Flow == nil {
		return
	}
	host := r.Host.String()
	if r.OK {
		d.targets.Store(r.Flow.UID, detectors.Clip(host, 255)+":"+strconv.Itoa(int(r.Port)))
	}
	entry, grade := d.pools.Name(host)
	if entry == "" {
		return
	}
	c := call{at: r.At, flow: r.Flow, name: host, entry: entry, grade: grade, outcome: detectors.Unknown,
		verb:     "asks proxy " + r.Flow.Resp.String() + " for mining pool",
		evidence: detectors.Evidence{Field: "socks", Value: host, Packet: r.Packet}}
	switch {
	case r.OK:
		c.outcome = detectors.Succeeded
	case r.Status != "":
		c.outcome, c.weak = detectors.Attempted, true
	}
	d.call(c)
}

// call is a pool that somebody called.
type call struct {
	at       capture.At
	flow     *capture.Flow
	name     string
	entry    string
	grade    data.Grade
	verb     string
	weak     bool // refused, or only read about
	page     bool // its pages are read
	outcome  detectors.Outcome
	evidence detectors.Evidence
}

func (d *detector) call(c call) {
	sev, confidence := detectors.Medium, 85
	if c.page {
		d.read(c.flow.Orig.Addr(), c.entry)
	}
	if c.weak || c.grade != data.Pool {
		sev, confidence = detectors.Low, 50
	}
	if !d.env.Home.Contains(c.flow.Orig.Addr()) {
		sev, confidence = detectors.Low, min(confidence, 50)
	}
	d.bus.Report(&detectors.Finding{
		At: c.at, Rule: rulePool, Severity: sev, Confidence: confidence, Outcome: c.outcome,
		Msg: fmt.Sprintf("%s %s %s", c.flow.Orig.Addr(), c.verb, detectors.Clip(c.name, 120)),
		Sub: "listed as " + c.entry + " (" + string(c.grade) + ")",
		Src: c.flow.Orig.Addr(), Dst: c.flow.Resp.Addr(), Port: c.flow.Resp.Port(), Flow: c.flow,
		Evidence: []detectors.Evidence{c.evidence},
		Key:      rulePool + "|" + c.flow.Orig.Addr().String() + "|" + c.entry,
	})
}

// progress looks for pools by address, in flows that moved bytes.
func (d *detector) progress(p *capture.Progress) {
	f := p.Flow
	if f == nil || f.Proto != capture.ProtoTCP || p.Guessed || p.Bytes[capture.Orig] == 0 ||
		!d.env.Home.Contains(f.Orig.Addr()) || d.env.Home.Contains(f.Resp.Addr()) {
		return
	}
	pair := [2]netip.Addr{f.Orig.Addr(), f.Resp.Addr()}
	if port := f.Resp.Port(); d.asked.Len() > 0 && port != 80 && port != 443 {
		if q := d.asked.Get(pair); q != nil {
			c := call{at: p.At, flow: f, name: q.name + " (" + f.Resp.String() + ")", entry: q.entry, grade: data.Pool, verb: "calls mining pool",
				outcome: detectors.Observed, evidence: detectors.Evidence{Field: "address", Value: f.Resp.String(), Packet: p.Packet}}
			d.asked.Drop(pair)
			d.call(c)
			return
		}
	}
	if !d.pools.Addr(f.Resp) {
		return
	}
	if _, ok := d.hinted.Load(pair); ok {
		return
	}
	d.hinted.Store(pair, struct{}{})
	d.bus.Report(&detectors.Finding{
		At: p.At, Rule: rulePool, Severity: detectors.Low, Confidence: 25, Outcome: detectors.Observed,
		Msg: fmt.Sprintf("%s sends data to %s, an address that was once listed as a mining pool", f.Orig.Addr(), f.Resp),
		Sub: "by address alone; such entries grow old",
		Src: f.Orig.Addr(), Dst: f.Resp.Addr(), Port: f.Resp.Port(), Flow: f,
		Evidence: []detectors.Evidence{{Field: "address", Value: f.Resp.String(), Packet: p.Packet}},
		Key:      rulePool + "|" + pair[0].String() + "|" + pair[1].String(),
	})
}
