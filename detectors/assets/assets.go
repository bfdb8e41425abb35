// Package assets keeps the inventory: which Ray clusters and other AI servers there are, in which version, behind what
// door, and who talks to them. It sends nothing; all of it is seen in passing.
//
// In: *ray.Call, *raygrpc.Call and *rayredis.Call, *http.Transaction for the users of what a cluster serves, *aiservices.Banner, *tls.Session. Out: rows of assets.log (*Row), each with a copy of
// the asset as it stands: all that were seen when the run ends, and with Config.Refresh also while it goes on, when an
// asset is new or has changed, and every so often while it is still there. It finds nothing: it makes no findings.
//
// A cluster is one asset however it was seen. It is known by its id and its session, which it tells on several ways,
// and by its machines: those that answer as a part of Ray, those that others name in lists of nodes, and those that do a
// node's work at the GCS. A dashboard behind a proxy is tied to its cluster by the session, or by the same call seen
// on both sides of the proxy. A cluster that was started anew at the same door is the same asset with a new session.
//
// What hostile machines say is not taken for more than it is: names are believed of servers inside that answered, an
// asset outside the home networks is never joined with one inside, and a list of nodes takes no machine away from a
// cluster that has an identity of its own.
//
// Grades say what was seen: F is a cluster that answered somebody outside without asking for a token. See judge.go.
//
// It does not see what nobody talks to, clusters whose dashboard nobody opens and whose gRPC speaks TLS, and whether a
// token that was asked for is a good one. A machine that was connected to a GCS before the capture began and
// does nothing since is a peer: a node or a driver.
package assets

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/chars"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/rayredis"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/interpreters/aiservices"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/interpreters/raygrpc"
)

const (
	// MaxAssets is how many are kept, here and between runs. The largest operators have some hundred clusters.
	MaxAssets = 2048
	// Machines of all of them. One takes up to 1 KB, ports included.
	maxMachines = 1 << 15
	// Doors and names that lead to assets: several each.
	maxKeys = 8 * MaxAssets
	// Calls by a possible proxy, to be recognised when the answer passes on its other side.
	maxCallers = 1024
	maxRecent  = 8
	maxTLS     = 4096

	// How often assets are looked through while a run goes on.
	lookEvery = time.Minute
)

// Config is what can be set.
type Config struct {
	// Refresh makes rows while the run goes on: at once of what is new or has changed, and again after this time of what
	// was seen since. 0: only when the run ends.
	Refresh time.Duration `yaml:"refresh"`
	// Known is what earlier runs knew.
	Known []*Asset `yaml:"-"`
}

// Spec is the detector.
func Spec() detectors.Spec {
	return detectors.Spec{Name: "assets", Settings: settings(), New: newDetector}
}

// Kinds of clients beside those that decoders tell.
const (
	clientServe = "serve" // uses what Serve serves, and does not reach Ray
	clientProxy = "proxy"
	clientRay   = "ray_client"
	clientGCS   = "gcs_client"
	clientGRPC  = "grpc"
	clientHTTP  = "http"
)

const kindRay = "ray"

// entry is an asset with what this run knows of it.
type entry struct {
	*Asset
	known  bool // before this run
	seen   bool // in this run
	due    bool // since it was last told of
	said   string
	saidAt capture.Time
	n      int              // machines that are counted
	was    []string         // keys under which it was told of before it was joined
	doors  []netip.AddrPort // that lead here
	fronts []front
}

// front is a server in front of dashboards, with the prefix that leads to one of them.
type front struct {
	at     netip.AddrPort
	prefix string
}

// recent is a call that somebody made who may be a proxy.
type recent struct {
	method, route string
	status        int
	length        int64
	from, to      capture.Time
	into          *entry
}

type callers struct {
	calls [maxRecent]recent
	n     int
}

type detector struct {
	cfg  Config
	home *detectors.Networks
	bus  *detectors.Bus
	cves []data.CVE

	all     detectors.Table[string, *entry] // by key; what is not in here is gone
	names   detectors.Table[string, *entry] // ids and sessions
	doors   detectors.Table[netip.AddrPort, *entry]
	hosts   detectors.Table[netip.Addr, *entry]
	fronts  detectors.Table[front, *entry]
	servers detectors.Table[netip.AddrPort, *entry] // of other kinds
	callers detectors.Table[netip.Addr, callers]
	secure  detectors.Table[netip.AddrPort, capture.Time] // TLS on ports of Ray's
	order   []*entry                                      // of all, in the order in which they came

	machines int // of all
	evicted  uint64
}

func newDetector(env *detectors.Env, bus *detectors.Bus) {
	d := &detector{home: env.Home, bus: bus, cves: data.LoadCVEs()}
	detectors.Configure(env, bus, "assets", Config{}, func(c Config) { d.cfg = c })
	d.all.Limit, d.names.Limit, d.doors.Limit, d.hosts.Limit = MaxAssets, maxKeys, maxKeys, maxKeys
	d.fronts.Limit, d.servers.Limit, d.callers.Limit, d.secure.Limit = maxKeys, maxKeys, maxCallers, maxTLS
	for _, a := range d.cfg.Known {
		d.restore(a)
	}
	detectors.On(bus, d.http)
	detectors.On(bus, d.served)
	detectors.On(bus, d.grpc)
	detectors.On(bus, d.redis)
	detectors.On(bus, d.banner)
	detectors.On(bus, d.tls)
	bus.OnTick(lookEvery, d.look)
	bus.OnEnd(d.end)
}

// restore takes an asset of an earlier run.
func (d *detector) restore(a *Asset) {
	if a == nil || a.Key == "" || a.Kind == "" || d.live(d.all.Get(a.Key)) != nil {
		return
	}
	e := d.add(a.clone())
	e.known = true
	r := d.row(e, capture.At{Time: a.Last})
	e.said, e.saidAt = r.state(), a.Last
	if a.Kind != kindRay {
		for _, n := range a.Nodes {
			for _, p := range n.Ports {
				*d.servers.Put(netip.AddrPortFrom(n.Addr, p.Num)) = e
			}
		}
		return
	}
	if a.Local {
		for _, list := range [...][]string{a.ClusterIDs, a.Sessions} {
			for _, s := range list {
				*d.names.Put(s) = e
			}
		}
	}
	for _, n := range a.Nodes {
		*d.hosts.Put(n.Addr) = e
		for _, p := range n.Ports {
			if isDoor(p.Role) {
				d.lead(e, netip.AddrPortFrom(n.Addr, p.Num))
			}
		}
	}
	for _, p := range a.Proxies {
		d.leadFront(e, front{p.Addr, p.Prefix})
	}
}

// live gives the entry that a table has, unless it is gone.
func (d *detector) live(p **entry) *entry {
	if p == nil || !d.alive(*p) {
		return nil
	}
	return *p
}

// alive says that an entry was neither evicted nor joined with another.
func (d *detector) alive(e *entry) bool {
	if e == nil {
		return false
	}
	p := d.all.Peek(e.Key)
	return p != nil && *p == e
}

// add makes an entry of an asset. Those that were not touched for longest make room.
func (d *detector) add(a *Asset) *entry {
	e := &entry{Asset: a}
	for d.all.Len() >= MaxAssets {
		d.evict()
	}
	*d.all.Put(a.Key) = e
	d.recount(e)
	if d.order = append(d.order, e); len(d.order) > 2*MaxAssets {
		d.order = slices.DeleteFunc(d.order, func(o *entry) bool { return !d.alive(o) })
	}
	return e
}

// evict forgets the asset that was not touched for longest.
func (d *detector) evict() {
	if _, p := d.all.Oldest(); p != nil {
		d.drop(*p)
		d.evicted++
	}
}

func (d *detector) drop(e *entry) {
	d.all.Drop(e.Key)
	d.machines -= e.n
	e.n = 0
}

// recount counts the machines of an asset that may have changed. Where there are too many, old assets make room.
func (d *detector) recount(e *entry) {
	d.machines += len(e.Nodes) - e.n
	e.n = len(e.Nodes)
	for d.machines > maxMachines {
		if _, p := d.all.Oldest(); p == nil || *p == e {
			return // one asset cannot have so many
		}
		d.evict()
	}
}

// isDoor says whether a port of this role belongs to one cluster for as long as that runs: workers' ports are reused.
func isDoor(role string) bool {
	switch role {
	case "dashboard", "gcs", "redis", "client", "job_agent":
		return true
	}
	return false
}

func (d *detector) lead(e *entry, at netip.AddrPort) {
	if p := d.doors.Put(at); *p != e {
		*p = e
		if len(e.doors) < maxNodes {
			e.doors = append(e.doors, at)
		}
	}
}

func (d *detector) leadFront(e *entry, f front) {
	if p := d.fronts.Put(f); *p != e {
		*p = e
		if len(e.fronts) < maxProxies {
			e.fronts = append(e.fronts, f)
		}
	}
}

// sight is what one event shows of a cluster.
type sight struct {
	at          capture.At
	server      netip.AddrPort
	id, session string // believed
	front       *front // the server is a proxy's
	inner       *entry // the cluster behind it, by the same call on its other side
}

// find gives the cluster that an event shows, made if there is none. Where two turn out to be one they are joined.
func (d *detector) find(s *sight) *entry {
	local := d.home.Contains(s.server.Addr())
	if !local {
		s.id, s.session = "", "" // anybody outside may say any name
	}
	e := s.inner
	for _, n := range [...]string{s.id, s.session} {
		if n != "" {
			e = d.join(e, d.live(d.names.Get(n)))
		}
	}
	if s.front != nil {
		// Behind one door of a proxy there may be several clusters: it leads to one, but does not make two the same.
		if x := d.live(d.fronts.Get(*s.front)); e == nil && x != nil && !x.contradicts(s) || e != nil && x != nil && x.nameless() {
			e = d.join(e, x)
		}
	} else if x := d.live(d.doors.Get(s.server)); x != nil && x != e {
		switch {
		case e == nil:
			e = x // with a new name, if it has one: it was started anew
		case x.nameless():
			e = d.join(e, x)
		}
	} else if x := d.live(d.hosts.Get(s.server.Addr())); x != nil && x != e {
		if e == nil && !x.contradicts(s) || e != nil && x.nameless() {
			e = d.join(e, x)
		}
	}
	if e == nil {
		key := kindRay + " " + s.server.Addr().String()
		if s.front != nil {
			key = kindRay + " behind " + s.server.String() + s.front.prefix
		}
		for d.all.Peek(key) != nil { // another cluster on the same machine
			key += "'"
		}
		e = d.add(&Asset{Key: key, Kind: kindRay, Local: local, First: s.at.Time, Last: s.at.Time})
	}
	d.touch(e, s.at)
	e.ClusterIDs, e.Sessions = name(e.ClusterIDs, s.id), name(e.Sessions, s.session)
	for _, n := range [...]string{s.id, s.session} {
		if n != "" {
			*d.names.Put(n) = e
		}
	}
	if s.front != nil {
		d.leadFront(e, *s.front)
	}
	return e
}

func (d *detector) touch(e *entry, at capture.At) {
	d.all.Get(e.Key)
	e.seen, e.due = true, true
	e.First, e.Last = min(e.First, at.Time), max(e.Last, at.Time)
}

// nameless says that nothing but machines tells this cluster from another.
func (e *entry) nameless() bool { return len(e.ClusterIDs) == 0 && len(e.Sessions) == 0 }

// contradicts says that the cluster has another name than the event.
func (e *entry) contradicts(s *sight) bool {
	return s.id != "" && len(e.ClusterIDs) > 0 && last(e.ClusterIDs) != s.id ||
		s.session != "" && len(e.Sessions) > 0 && last(e.Sessions) != s.session
}

// join makes one of two: the one that has a name, or was seen first.
func (d *detector) join(e, x *entry) *entry {
	switch {
	case x == nil || e == x:
		return e
	case e == nil:
		return x
	case e.Local != x.Local:
		return e
	}
	if e.nameless() && !x.nameless() || e.nameless() == x.nameless() && (x.First < e.First || x.First == e.First && x.Key < e.Key) {
		e, x = x, e
	}
	e.take(x.Asset)
	e.seen, e.known, e.due = e.seen || x.seen, e.known || x.known, true
	d.drop(x)
	d.recount(e)
	if x.said != "" {
		e.was = append(e.was, x.Key)
	}
	if e.was = append(e.was, x.was...); len(e.was) > maxDoors {
		e.was = e.was[len(e.was)-maxDoors:]
	}
	for _, list := range [...][]string{x.ClusterIDs, x.Sessions} {
		for _, s := range list {
			*d.names.Put(s) = e
		}
	}
	for _, n := range x.Nodes {
		*d.hosts.Put(n.Addr) = e
	}
	for _, a := range x.doors {
		d.lead(e, a)
	}
	for _, f := range x.fronts {
		d.leadFront(e, f)
	}
	return e
}

// machine notes a machine of a cluster, unless another cluster that has a name says it is its own and this is only what
// somebody tells. It gives the cluster, which may have been joined with another one, and the node, or nil.
func (d *detector) machine(e *entry, addr netip.Addr, at capture.Time, told bool) (*entry, *Node) {
	addr = addr.Unmap()
	if detectors.Special(addr) || told && addr.IsLoopback() || d.home.Contains(addr) != e.Local {
		return e, nil
	}
	if x := d.live(d.hosts.Get(addr)); x != nil && x != e {
		switch {
		case x.nameless() && len(x.Nodes) == 1:
			e = d.join(e, x)
		case told:
			return e, nil
		default: // the address has a new owner
			x.Nodes = slices.DeleteFunc(x.Nodes, func(n Node) bool { return n.Addr == addr })
			d.recount(x)
		}
	}
	*d.hosts.Put(addr) = e
	n := e.node(addr, at)
	d.recount(e)
	return e, n
}

// http takes a call to Ray over HTTP.
func (d *detector) http(c *ray.Call) {
	if c.Flow == nil || c.Tx == nil || c.Tx.Response == nil || c.Outcome == ray.Unknown || c.Outcome == ray.NotRay {
		return
	}
	src, dst := c.Flow.Orig.Addr().Unmap(), netip.AddrPortFrom(c.Flow.Resp.Addr().Unmap(), c.Flow.Resp.Port())
	if detectors.Special(src) || detectors.Special(dst.Addr()) {
		return
	}
	s := &sight{at: c.At, server: dst, session: sessionName(c.Session)}
	if chars.IsHex(c.ClusterID, 56) {
		s.id = c.ClusterID
	}
	role := string(c.Service)
	switch c.Service {
	case ray.Agent:
		role = "job_agent"
	case ray.Metrics, ray.Serve:
		// Others have metrics and health checks, too; these say more of a Ray that is known.
		e := d.live(d.hosts.Get(dst.Addr()))
		if e == nil || !e.has(dst.Addr()) {
			return
		}
		d.touch(e, c.At)
		e.node(dst.Addr(), c.Time).port(dst.Port(), role)
		kind := string(c.Client)
		if c.Service == ray.Serve {
			kind = clientServe
		}
		e.client(src, kind, false, c.Time)
		return
	case ray.KubeRayAPI, ray.Kubernetes:
		return // no machine of a cluster
	case ray.RuntimeEnv:
	default:
		if !c.Confirmed {
			return
		}
	}
	s.inner = d.behind(c, dst)
	if server, is := proxied(c, s.inner != nil); is {
		s.front = &front{dst, c.Prefix}
		e := d.find(s)
		e.proxy(Proxy{Addr: dst, Prefix: c.Prefix, Host: hostOf(c, dst), Server: server})
		d.called(e, c, src, "dashboard")
		return
	}
	e, n := d.machine(d.find(s), dst.Addr(), c.Time, false)
	if n == nil {
		return
	}
	n.port(dst.Port(), role)
	n.Member = true
	if c.Service == ray.Dashboard {
		n.Head = true
	}
	if isDoor(role) {
		d.lead(e, dst)
	}
	d.remember(d.called(e, c, src, role), c, src)
}

// served notes who uses what a cluster serves: requests to a port that is known to be a Serve proxy's. Serve's own
// routes are calls to Ray and counted there.
func (d *detector) served(t *http.Transaction) {
	if t.Flow == nil || t.Request == nil || t.Response == nil || strings.HasPrefix(t.Request.Target, "/-/") {
		return
	}
	src, dst := t.Flow.Orig.Addr().Unmap(), t.Flow.Resp.Addr().Unmap()
	p := d.hosts.Peek(dst)
	if p == nil || !d.alive(*p) || detectors.Special(src) {
		return
	}
	if e := *p; e.role(dst, t.Flow.Resp.Port()) == "serve" {
		d.touch(e, t.At)
		e.client(src, clientServe, false, t.Time)
	}
}

// called notes who called and what the answer tells. It gives the cluster, as machine does.
func (d *detector) called(e *entry, c *ray.Call, src netip.Addr, door string) *entry {
	if c.RayVersion != "" && c.RayVersion[0] >= '0' && c.RayVersion[0] <= '9' {
		e.Version = c.RayVersion
	}
	if chars.IsHex(c.RayCommit, 40) {
		e.Commit = c.RayCommit
	}
	e.Python = longer(e.Python, c.Python)
	bad := c.Outcome == ray.BlockedToken
	// A handler that ran says that nobody was asked for a token before: 400 and 500 are its answers, too.
	ran := c.Outcome == ray.Answered || c.Outcome == ray.Executed || c.Status == 400 || c.Status == 500
	open := !c.Free && c.Auth == "none" && ran
	switch {
	case bad && tokenText(c):
		e.door(door, true, c.Time)
	case c.AuthMode == "token":
		e.door(door, true, c.Time)
	case open, c.AuthMode == "disabled":
		e.door(door, false, c.Time)
	}
	kind := string(c.Client)
	if c.Proxied {
		kind = clientProxy
	}
	e.client(src, kind, open && c.AuthMode != "token", c.Time)
	for _, n := range c.Nodes {
		var m *Node
		if e, m = d.machine(e, n.Addr, c.Time, true); m == nil {
			continue
		}
		m.Host, m.Head, m.Member = cmp.Or(n.Host, m.Host), (m.Head || n.Head) && !n.Other, true
		for _, p := range n.Ports {
			m.port(p.Num, p.Role)
		}
	}
	return e
}

// tokenText says that a refusal is Ray's own, and not that of a proxy with passwords of its own.
func tokenText(c *ray.Call) bool {
	b := c.Tx.Response.Body.Data
	return strings.Contains(string(b[:min(len(b), 256)]), "authentication")
}

// proxied says whether what answered is no dashboard itself, and what it calls itself.
func proxied(c *ray.Call, seenBehind bool) (server string, is bool) {
	h := c.Tx.Response.Header
	server = h.Get("Server")
	own := strings.HasPrefix(server, "Python/") && strings.Contains(server, "aiohttp/")
	if via := h.Get("Via"); via != "" {
		is = true
		if own {
			server = "Via: " + via
		}
	}
	if h.Has("X-Envoy-Upstream-Service-Time") {
		is = true
	}
	if c.Prefix != "" || seenBehind || server != "" && !own {
		is = true
	}
	if own && !strings.HasPrefix(server, "Via: ") {
		server = ""
	}
	return clean(server), is
}

// hostOf gives the name by which a proxy was called, if it is one.
func hostOf(c *ray.Call, dst netip.AddrPort) string {
	h := c.Tx.Request.Header.Get("Host")
	name, _, _ := strings.Cut(h, ":")
	if _, err := netip.ParseAddr(name); err == nil || h == "" || strings.HasPrefix(h, "[") {
		return ""
	}
	return clean(h)
}

// clean bounds what somebody wrote and leaves what can be printed.
func clean(s string) string {
	s = s[:min(len(s), 128)]
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
}

// remember notes a call, for the case that who made it is a proxy.
func (d *detector) remember(e *entry, c *ray.Call, src netip.Addr) {
	p := d.callers.Put(src)
	p.calls[p.n%maxRecent] = recent{c.Method, c.Route, c.Status, c.Tx.Response.Body.Len, c.Time, c.Tx.Response.Time, e}
	p.n++
}

// behind gives the cluster that a server handed a call on to: it made the same call itself while it was asked.
func (d *detector) behind(c *ray.Call, dst netip.AddrPort) *entry {
	p := d.callers.Get(dst.Addr())
	if p == nil {
		return nil
	}
	r := c.Tx.Response
	for i := range p.calls {
		x := &p.calls[i]
		if d.alive(x.into) && x.method == c.Method && x.route == c.Route && x.status == c.Status &&
			x.length == r.Body.Len && x.from >= c.Time && x.to <= r.Time {
			return x.into
		}
	}
	return nil
}

// nodeMethods are what raylets, workers and agents call, and clients and tools do not.
var nodeMethods = map[string]bool{
	"WorkerInfoGcsService/AddWorkerInfo": true, "WorkerInfoGcsService/ReportWorkerFailure": true,
	"TaskInfoGcsService/AddTaskEventData": true, "HeartbeatInfoGcsService/ReportHeartbeat": true,
	"NodeResourceInfoGcsService/ReportResourceUsage": true, "RayEventExportGcsService/AddEvents": true,
	"AutoscalerStateService/ReportAutoscalingState": true,
}

// grpc takes a call to Ray over gRPC.
func (d *detector) grpc(c *raygrpc.Call) {
	if c.Flow == nil || c.GRPC == nil || c.Outcome != raygrpc.Executed && c.Outcome != raygrpc.Answered && c.Outcome != raygrpc.NoToken {
		return
	}
	switch c.Service {
	case raygrpc.Unknown, raygrpc.Other, raygrpc.Serve:
		return
	}
	src, dst := c.Flow.Orig.Addr().Unmap(), netip.AddrPortFrom(c.Flow.Resp.Addr().Unmap(), c.Flow.Resp.Port())
	if detectors.Special(src) || detectors.Special(dst.Addr()) {
		return
	}
	good := c.Outcome != raygrpc.NoToken
	s := &sight{at: c.At, server: dst}
	if good {
		d.cluster(s, c, src)
	}
	e, n := d.machine(d.find(s), dst.Addr(), c.Time, false)
	if n == nil {
		return
	}
	role := string(c.Service)
	n.port(dst.Port(), role)
	n.Member = true
	if c.Service == raygrpc.GCS || c.Service == raygrpc.Client {
		n.Head = true
	}
	if isDoor(role) {
		d.lead(e, dst)
	}
	e.Clear = word(e.Clear, role)
	e.Version, e.Commit, e.Python = cmp.Or(c.Version, e.Version), cmp.Or(c.Commit, e.Commit), longer(e.Python, c.Python)
	if !good {
		e.door(role, true, c.Time)
		e.client(src, kindOf(c), false, c.Time)
		return
	}
	open := c.Auth == "none"
	if open {
		e.door(role, false, c.Time)
	}
	e = d.named(e, c)
	e = d.caller(e, c, src)
	if !e.has(src) {
		e.client(src, kindOf(c), open, c.Time)
	}
}

// cluster notes in s what the call of src tells about the cluster that it belongs to.
func (d *detector) cluster(s *sight, c *raygrpc.Call, src netip.Addr) {
	s.session = sessionName(c.Session)
	// Clients name the cluster that they mean. Only the GCS compares it, and not before 2.6, so what an outsider says
	// counts for nothing but where it is the answer.
	asked := c.Method == "NodeInfoGcsService/GetClusterId"
	if c.Service == raygrpc.GCS && chars.IsHex(c.ClusterID, 56) && (asked || d.home.Contains(src)) {
		s.id = c.ClusterID
	}
	// What goes on between raylets and workers goes on inside one cluster.
	inside := c.Service == raygrpc.Raylet || c.Service == raygrpc.Worker || c.Service == raygrpc.Objects
	if x := d.live(d.hosts.Get(src)); inside && x != nil && x.has(src) && x.Local && d.live(d.hosts.Get(s.server.Addr())) == nil {
		s.inner = x
	}
}

// named takes the machines that the call names as the cluster's. The entry that it returns has e's place: two clusters may
// turn out to be one.
func (d *detector) named(e *entry, c *raygrpc.Call) *entry {
	for _, n := range c.Nodes {
		if n.Dead {
			continue
		}
		var m *Node
		if e, m = d.machine(e, n.Addr, c.Time, true); m == nil {
			continue
		}
		m.Host, m.Head, m.Member = cmp.Or(n.Host, m.Host), m.Head || n.Head, true
		for _, p := range n.Ports {
			m.port(p.Num, string(p.Role))
		}
	}
	if c.Dashboard.IsValid() {
		var m *Node
		if e, m = d.machine(e, c.Dashboard.Addr(), c.Time, true); m != nil {
			m.port(c.Dashboard.Port(), "dashboard")
			m.Head = true
		}
	}
	return e
}

// caller takes src, which calls, as a machine of the cluster's, too, if it does what only those do; or perhaps, if it was
// there before. It returns the entry that has e's place.
func (d *detector) caller(e *entry, c *raygrpc.Call, src netip.Addr) *entry {
	asks := c.Method == "NodeManagerService/GetResourceLoad" && c.GRPC.Mid // only the GCS does
	does := c.Service == raygrpc.GCS && nodeMethods[c.Method]
	if does || asks || c.GRPC.Mid && c.Service != raygrpc.Client {
		var m *Node
		if e, m = d.machine(e, src, c.Time, true); m != nil {
			m.Member, m.Head = m.Member || does || asks, m.Head || asks
		}
	}
	return e
}

// redis takes a command to the GCS of a Ray before 1.11.
func (d *detector) redis(c *rayredis.Call) {
	if c.Flow == nil || c.Outcome == rayredis.Unseen {
		return
	}
	src, dst := c.Flow.Orig.Addr().Unmap(), netip.AddrPortFrom(c.Flow.Resp.Addr().Unmap(), c.Flow.Resp.Port())
	if detectors.Special(src) || detectors.Special(dst.Addr()) {
		return
	}
	e, n := d.machine(d.find(&sight{at: c.At, server: dst, session: sessionName(c.Session)}), dst.Addr(), c.Time, false)
	if n == nil {
		return
	}
	n.port(dst.Port(), "redis")
	n.Head, n.Member = true, true
	d.lead(e, dst)
	e.Clear = word(e.Clear, "redis")
	e.Version, e.Python = cmp.Or(c.Version, e.Version), longer(e.Python, c.Python)
	// The password that is in Ray's source keeps nobody out.
	open := (c.Auth == "none" || c.Auth == "default") && c.Outcome != rayredis.NoToken && c.Outcome != rayredis.Rejected
	switch {
	case c.Outcome == rayredis.NoToken && c.Auth == "default", c.Auth == "password" && c.Command == "AUTH" && c.Outcome == rayredis.Answered:
		e.door("redis", true, c.Time)
	case open && c.Command != "AUTH" && c.Class != rayredis.Info || open && c.Command == "AUTH":
		e.door("redis", false, c.Time)
	}
	if c.GCS.IsValid() {
		var m *Node
		if e, m = d.machine(e, c.GCS.Addr(), c.Time, true); m != nil {
			m.port(c.GCS.Port(), "gcs")
			m.Head = true
		}
	}
	if c.Command == "PUBLISH" && c.Key == "RAY_LOG_CHANNEL" { // a node's log monitor
		var m *Node
		if e, m = d.machine(e, src, c.Time, true); m != nil {
			m.Member = true
		}
	}
	if !e.has(src) {
		e.client(src, clientGCS, open, c.Time)
	}
}

func kindOf(c *raygrpc.Call) string {
	switch c.Service {
	case raygrpc.Client:
		return clientRay
	case raygrpc.GCS:
		return clientGCS
	}
	return clientGRPC
}

// banner takes the answer of another AI server.
func (d *detector) banner(b *aiservices.Banner) {
	if b.Flow == nil {
		return
	}
	src, dst := b.Flow.Orig.Addr().Unmap(), netip.AddrPortFrom(b.Flow.Resp.Addr().Unmap(), b.Flow.Resp.Port())
	if detectors.Special(src) || detectors.Special(dst.Addr()) {
		return
	}
	e := d.live(d.servers.Get(dst))
	switch {
	case e == nil && b.Hint:
		return
	case e == nil:
		e = d.add(&Asset{Key: b.Product + " " + dst.String(), Kind: b.Product, Local: d.home.Contains(dst.Addr()), First: b.Time, Last: b.Time})
		n := e.node(dst.Addr(), b.Time)
		n.port(dst.Port(), "http")
		n.Head, n.Member = true, true
		d.recount(e)
		*d.servers.Put(dst) = e
	case b.Hint && b.Product != "" && b.Product != e.Kind:
		return
	case b.Product != "" && b.Product != e.Kind && !generic(b.Product):
		// It is known now what it is; or something else runs there.
		if !generic(e.Kind) {
			e.Version, e.Doors = "", nil
		}
		e.Kind = b.Product
	}
	d.touch(e, b.At)
	e.node(dst.Addr(), b.Time)
	e.Version = cmp.Or(b.Version, e.Version)
	switch {
	case b.Asks:
		e.door(clientHTTP, true, b.Time)
	case b.Open:
		e.door(clientHTTP, false, b.Time)
	}
	e.client(src, clientHTTP, b.Open, b.Time)
}

// generic says that a product is only a way to speak, which others have, too.
func generic(product string) bool { return product == "openai-compatible" }

// tls notes that a port of Ray's speaks TLS. Whose it is may be known only later.
func (d *detector) tls(s *tls.Session) {
	if s.Flow == nil || s.Flow.Proto != capture.ProtoTCP {
		return
	}
	dst := netip.AddrPortFrom(s.Flow.Resp.Addr().Unmap(), s.Flow.Resp.Port())
	if d.home.Contains(dst.Addr()) && (securePort(dst.Port()) != "" || d.live(d.hosts.Get(dst.Addr())) != nil) {
		*d.secure.Put(dst) = s.Time
	}
}

// securePort gives what listens on a port of Ray's that may speak TLS.
func securePort(n uint16) string {
	switch n {
	case 6379:
		return "gcs"
	case 10001:
		return "client"
	}
	return ""
}

// encrypted looks up which of a cluster's services speak TLS.
func (d *detector) encrypted(a *Asset) {
	for i := range a.Nodes {
		n := &a.Nodes[i]
		for _, port := range [...]uint16{6379, 10001} {
			if d.secure.Peek(netip.AddrPortFrom(n.Addr, port)) != nil {
				a.TLS = word(a.TLS, securePort(port))
				n.port(port, securePort(port))
			}
		}
		for _, p := range n.Ports {
			if (p.Role == "raylet" || p.Role == "objects" || p.Role == "worker" || p.Role == "agent") && d.secure.Peek(netip.AddrPortFrom(n.Addr, p.Num)) != nil {
				a.TLS = word(a.TLS, p.Role)
			}
		}
	}
}

// row sums an asset up as it stands.
func (d *detector) row(e *entry, at capture.At) *Row {
	if e.Kind == kindRay {
		d.encrypted(e.Asset)
	}
	v := e.judge(d.home, d.cves)
	return &Row{
		At: at, Asset: e.clone(), Grade: v.grade, Reason: v.reason, CVEs: v.cves, Auth: v.auth,
		Was: slices.Clone(e.was), Inside: v.inside, Outside: v.outside, Outsiders: v.outsiders, Kinds: v.kinds,
	}
}

// say hands out the row of an asset, if it is due.
func (d *detector) say(e *entry, at capture.At, end bool) {
	if !e.seen || !e.due || !d.alive(e) {
		return
	}
	if e.said == "" && !e.known {
		d.rename(e)
	}
	r := d.row(e, at)
	state := r.state()
	switch {
	case e.said == "" && !e.known:
		r.Change = New
	case e.said != state:
		r.Change = Changed
	case end || at.Time.Sub(e.saidAt) >= d.cfg.Refresh:
		r.Change = Seen
	default:
		return
	}
	e.said, e.saidAt, e.due = state, at.Time, false
	d.bus.Emit(r)
}

// rename calls a cluster by its head before it is told of for the first time: who was seen first is chance.
func (d *detector) rename(e *entry) {
	i := slices.IndexFunc(e.Nodes, func(n Node) bool { return n.Head })
	if e.Kind != kindRay || i < 0 {
		return
	}
	key := kindRay + " " + e.Nodes[i].Addr.String()
	if key == e.Key || d.all.Peek(key) != nil {
		return
	}
	d.all.Drop(e.Key)
	e.Key = key
	*d.all.Put(key) = e
}

// look says what is new, has changed or was not told of for long.
func (d *detector) look(at capture.At) {
	if d.cfg.Refresh == 0 {
		return
	}
	for _, e := range d.order {
		d.say(e, at, false)
	}
}

// end says all that was seen, and how many there was no room for.
func (d *detector) end(at capture.At) {
	for _, e := range d.order {
		d.say(e, at, true)
	}
	if d.evicted > 0 {
		d.bus.Emit(&capture.Weird{At: at, Name: "assets_evicted", Addl: strconv.FormatUint(d.evicted, 10)})
	}
}

// sessionName gives s if it is the name of a session.
func sessionName(s string) string {
	if !strings.HasPrefix(s, "session_") || len(s) > 64 || clean(s) != s {
		return ""
	}
	return s
}
