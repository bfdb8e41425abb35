// Package probe finds who tries things at services: paths that no dashboard has, metrics that tell of a cluster, passwords
// of SSH, names that change from an address outside to one at home under a browser's page (rebind.go).
//
// In: *http.Transaction and *ray.Call, to know what is Ray; *capture.Conn of SSH; *dns.Transaction. Out: findings of
// probe/paths, probe/metrics, probe/logins and probe/rebind, all low: each is somebody's first look, or one of many on the Internet. Src is who tries.
//
// It does not see: a scanner that asks for what Ray has, which is rayapi's; who guesses over TLS; slow guessing.
package probe

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/ray"
)

const (
	rulePaths   = "probe/paths"
	ruleMetrics = "probe/metrics"
	ruleLogins  = "probe/logins"
	ruleRebind  = "probe/rebind"
)

const (
	window = 5 * time.Minute
	// Pairs that are counted at once, and services known to be Ray's.
	maxPairs = 8192
	// Different paths that a dashboard does not have: a person who mistypes gives up, a page has two or three.
	minPaths  = 12
	keepPaths = 64
	// Connections of SSH that end before anybody could work: a list of passwords.
	minLogins    = 30
	maxLogin     = 10 * time.Second
	maxLoginSize = 8 << 10
	share        = 0.9
)

// Spec registers the detector.
// seed is the program's own, so that nobody can make a path that is taken for another. Hashes are compared and never told, so that
// what is said is the same with any.
var seed = maphash.MakeSeed()

func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "probe",
		Rules: []detectors.Rule{{
			Name: rulePaths, Note: "Probe_Paths", Severity: detectors.Low,
			Says: "A machine outside requested many paths that a Ray service does not have, as vulnerability " +
				"scanners do.",
			ATLAS:          []string{"AML.T0006"},
			ATTACK:         []string{"T1595.002"},
			Needs:          "HTTP in clear text with the status of the responses.",
			FalsePositives: "Commissioned vulnerability scans; pages of another product at the same address.",
			Story: detectors.Story{Role: detectors.RoleBefore, Group: detectors.GroupLook,
				Does: "tried things at %",
			},
		}, {
			Name: ruleMetrics, Note: "Probe_Metrics", Severity: detectors.Low,
			Says:           "A machine outside read Ray's metrics, which reveal its nodes, sessions and load.",
			ATLAS:          []string{"AML.T0006"},
			ATTACK:         []string{"T1595.002"},
			Needs:          "HTTP in clear text with the beginning of the response's body.",
			FalsePositives: "Your own monitoring from an address that is not in the home networks.",
			Story: detectors.Story{Role: detectors.RoleBefore, Group: detectors.GroupLook,
				Does: "tried things at %",
			},
		}, {
			Name: ruleLogins, Note: "Probe_Logins", Severity: detectors.Low,
			Says:           "A machine opens many short SSH connections to another, as password guessing does.",
			ATTACK:         []string{"T1110"},
			Needs:          "Packet headers on port 22, or on a port where SSH was recognized.",
			FalsePositives: "Tools that open a connection for each command; monitoring that checks one machine in many ways.",
			Story: detectors.Story{Group: detectors.GroupScan,
				Does: "guesses passwords of %", Other: "further target",
			},
		}, {
			Name: ruleRebind, Note: "Probe_Rebind", Severity: detectors.Low,
			Says: "A name that resolved to an address outside resolved shortly afterwards, for the same machine, to an " +
				"address at home or its own: DNS rebinding, by which a web page reaches services inside the firewall.",
			ATLAS:  []string{"AML.T0049"},
			ATTACK: []string{"T1189", "T1190"},
			Needs:  "The answers to both lookups, each with a TTL of at most two minutes.",
			FalsePositives: "A machine that joins a VPN, after which its company's names resolve to internal addresses; a " +
				"DNS filter that starts to answer a name with a sinkhole address; a service that moves in-house.",
			Story: detectors.Story{Role: detectors.RoleBefore, Group: detectors.GroupLook,
				Does: "had a name that moved to %", Techniques: []string{"AML.T0049", "T1189"},
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{
				env: env, bus: bus, rays: detectors.Table[netip.AddrPort, bool]{Limit: maxPairs},
				paths: detectors.Table[pair, paths]{Limit: maxPairs}, logins: detectors.Table[pair, logins]{Limit: maxPairs},
				rebinds: rebinds{met: bus.Names.Memo(), outside: detectors.Table[asked, outside]{Limit: maxOutside}},
			}
			detectors.On(bus, d.call)
			detectors.On(bus, d.request)
			detectors.On(bus, d.conn)
			detectors.On(bus, d.lookup)
		},
	}
}

type pair struct {
	src netip.Addr
	dst netip.AddrPort
}

type paths struct {
	since capture.Time
	seen  []uint64 // of those that are not there
	all   int
	gone  int
	said  bool
}

type logins struct {
	since capture.Time
	all   int
	short int
	said  bool
}

type detector struct {
	env    *detectors.Env
	bus    *detectors.Bus
	rays   detectors.Table[netip.AddrPort, bool]
	paths  detectors.Table[pair, paths]
	logins detectors.Table[pair, logins]
	rebinds
}

func (d *detector) call(c *ray.Call) {
	if c.Flow != nil && d.rays.Get(c.Flow.Resp) == nil {
		d.rays.Store(c.Flow.Resp, true)
	}
}

// rayPorts hardly anything but Ray's HTTP servers has.
var rayPorts = [...]uint16{8265, 52365}

func (d *detector) request(t *http.Transaction) {
	q, r := t.Request, t.Response
	if q == nil || r == nil || t.Flow == nil {
		return
	}
	src, dst := t.Flow.Orig.Addr(), t.Flow.Resp
	if d.env.Home.Contains(src) || !d.env.Home.Contains(dst.Addr()) {
		return
	}
	path, _, _ := strings.Cut(q.Target, "?")
	if path == "/metrics" && r.Status == 200 {
		d.metrics(t)
		return
	}
	if !slices.Contains(rayPorts[:], dst.Port()) && d.rays.Peek(dst) == nil {
		return
	}
	k := pair{src, dst}
	n := d.paths.Get(k)
	if n == nil {
		n = d.paths.Put(k)
	}
	if n.since == 0 || q.Time.Sub(n.since) > window {
		*n = paths{since: q.Time}
	}
	n.all++
	if r.Status != 404 && r.Status != 405 || n.said {
		return
	}
	n.gone++
	if h := maphash.String(seed, path); len(n.seen) < keepPaths && !slices.Contains(n.seen, h) {
		n.seen = append(n.seen, h)
	}
	if len(n.seen) < minPaths || 2*n.gone < n.all {
		return
	}
	n.said = true
	d.bus.Report(&detectors.Finding{
		At: r.At, Rule: rulePaths, Severity: detectors.Low, Confidence: 80, Outcome: detectors.Attempted,
		Src: src, Dst: dst.Addr(), Port: dst.Port(), Flow: t.Flow,
		Evidence: []detectors.Evidence{{Field: "path", Value: detectors.Clip(path, 120), Packet: q.Packet}},
		Msg:      fmt.Sprintf("%s asked the Ray service at %s for %d paths that it does not have, %s the last of them", src, dst, len(n.seen), detectors.Clip(path, 80)),
	})
}

// marks stand in the metrics of Ray's exporters.
var marks = [...]string{`SessionName="session_`, "# HELP ray_", "# HELP autoscaler_"}

func (d *detector) metrics(t *http.Transaction) {
	b := t.Response.Body.Data
	b = b[:min(len(b), 4<<10)]
	if !slices.ContainsFunc(marks[:], func(m string) bool { return bytes.Contains(b, []byte(m)) }) {
		return
	}
	src, dst := t.Flow.Orig.Addr(), t.Flow.Resp
	d.bus.Report(&detectors.Finding{
		At: t.Response.At, Rule: ruleMetrics, Severity: detectors.Low, Confidence: 90, Outcome: detectors.Succeeded,
		Src: src, Dst: dst.Addr(), Port: dst.Port(), Flow: t.Flow,
		Evidence: []detectors.Evidence{{Field: "metrics", Value: detectors.Clip(string(b), 120), Packet: t.Response.Packet}},
		Msg:      fmt.Sprintf("%s, outside the home networks, read the metrics of Ray at %s", src, dst),
	})
}

const sshPort = 22

func (d *detector) conn(c *capture.Conn) {
	if c.Flow == nil || c.Flow.Proto != capture.ProtoTCP || c.Guessed || c.Flow.Resp.Port() != sshPort && !slices.Contains(c.Services, "ssh") {
		return
	}
	src, dst := c.Flow.Orig.Addr(), c.Flow.Resp
	if !d.env.Home.Contains(src) && !d.env.Home.Contains(dst.Addr()) {
		return
	}
	k := pair{src, dst}
	n := d.logins.Get(k)
	if n == nil {
		n = d.logins.Put(k)
	}
	if n.since == 0 || c.Flow.Start.Sub(n.since) > window {
		*n = logins{since: c.Flow.Start, said: n.said}
	}
	n.all++
	if c.Bytes[0] > 0 && c.Bytes[1] > 0 && c.Bytes[0]+c.Bytes[1] <= maxLoginSize && c.Duration <= maxLogin {
		n.short++
	}
	if n.said || n.short < minLogins || float64(n.short) < share*float64(n.all) {
		return
	}
	n.said = true
	d.bus.Report(&detectors.Finding{
		At: c.At, Rule: ruleLogins, Severity: detectors.Low, Confidence: 60, Outcome: detectors.Unknown,
		Src: src, Dst: dst.Addr(), Port: dst.Port(), Flow: c.Flow, Many: true,
		Evidence: []detectors.Evidence{{Field: "connections", Value: fmt.Sprint(n.short), Packet: c.Packet}},
		Msg:      fmt.Sprintf("%s opened %d short connections of SSH to %s within %s, as who guesses passwords does", src, n.short, dst, detectors.Span(c.Time.Sub(n.since))),
	})
}
