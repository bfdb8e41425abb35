// Package tunnel finds home machines that carry connections past the firewall: relays, tunnels, networks of one's own.
//
// In: *relay.Session for programs that are known by their bytes; *dns.Transaction, *tls.Session and *http.Transaction for
// services that are known by their names (data/tunnels.csv) and for chisel and wstunnel; *services.SSH; *socks.Request from
// outside; *capture.Conn for what is no DNS on its port; *capture.Entered for packets in packets; *detectors.Finding for who
// got in. Out: findings of tunnel/relay, tunnel/ssh, tunnel/protocol and tunnel/proxy. Src is the home machine.
//
//	low     what developers and companies use: ngrok, Cloudflare, Gradio's share, Tailscale, WireGuard, GRE; SSH on another
//	        port
//	medium  what has no place on a cluster's machines: bore, gsocket, tmate, sshx; no DNS on port 53; a proxy for outsiders
//	high    any of these that began within an hour after somebody got in; of the networks that companies use: medium then
//
// What the machine used before somebody got in is not their doing, and stays what it was.
//
// It does not see: a relay by its own name or behind TLS to a bare address; what runs inside an encrypted one; SSH on port
// 22 that forwards ports.
package tunnel

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/relay"
	"github.com/raytap/raytap/decoders/services"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

const (
	ruleRelay    = "tunnel/relay"
	ruleSSH      = "tunnel/ssh"
	ruleProtocol = "tunnel/protocol"
	ruleProxy    = "tunnel/proxy"
)

// Config are the settings, the section `tunnel` of the configuration file.
type Config struct {
	// Allow has networks and addresses that may be tunnelled to, and services by the names that findings have for them.
	Allow []string `yaml:"allow"`
	// JobFor is how long after somebody got in a new tunnel counts as their doing.
	JobFor time.Duration `yaml:"job_for"`
}

// Default is what holds when nothing is said.
func Default() Config { return Config{JobFor: time.Hour} }

const (
	// Tunnels that are remembered, by machine: a service for each of some thousand machines.
	maxKnown = 16384
	// Addresses of forges that take SSH on the port of HTTPS.
	maxForges = 1024
	// Less than this on port 53 is a probe, or a query that went wrong.
	minForeign = 2 << 10
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "tunnel", Settings: settings(), Late: true,
		Rules: []detectors.Rule{{
			Name: ruleRelay, Note: "Tunnel_Relay", Severity: detectors.High,
			Says:   "A home machine uses a service or program that gives outsiders access through the firewall.",
			ATLAS:  []string{"AML.T0072"},
			ATTACK: []string{"T1572", "T1090"},
			Needs: "A lookup or TLS hello that names the service, or the first bytes of bore, frp, gsocket, chisel, " +
				"wstunnel, WireGuard, OpenVPN or Tailscale.",
			FalsePositives: "Low: developers who share a demo through ngrok or Gradio; machines managed over Tailscale or " +
				"WireGuard (put them on the allow-list). High: any of these that happens to begin within an hour of an " +
				"intrusion.",
			Story: detectors.Story{Group: detectors.GroupBeacon,
				Does: "opened a tunnel to %", Other: "command host", Techniques: []string{"AML.T0072", "T1572"},
			},
		}, {
			Name: ruleSSH, Note: "Tunnel_SSH", Severity: detectors.High,
			Says:           "A home machine speaks SSH to a machine outside on a port that belongs to another service.",
			ATLAS:          []string{"AML.T0072"},
			ATTACK:         []string{"T1572", "T1571"},
			Needs:          "The first line from each side.",
			FalsePositives: "Your own machines that accept SSH on another port; SFTP servers of partners.",
			Story: detectors.Story{Group: detectors.GroupBeacon,
				Does: "opened a tunnel to %", Other: "command host", Techniques: []string{"AML.T0072", "T1572"},
			},
		}, {
			Name: ruleProtocol, Note: "Tunnel_Protocol", Severity: detectors.High,
			Says: "A home machine sends encapsulated packets to a machine outside, or uses the DNS port for " +
				"something other than DNS.",
			ATLAS:  []string{"AML.T0072"},
			ATTACK: []string{"T1572", "T1095"},
			Needs:  "GRE, IP-in-IP or UDP tunnels from home to outside; both directions of port 53.",
			FalsePositives: "Your own site-to-site tunnels when the other site is not in the home networks (put it on the " +
				"allow-list).",
			Story: detectors.Story{Group: detectors.GroupBeacon,
				Does: "opened a tunnel to %", Other: "command host", Techniques: []string{"AML.T0072", "T1572"},
			},
		}, {
			Name: ruleProxy, Note: "Tunnel_Proxy", Severity: detectors.High,
			Says:           "A home machine acts as a SOCKS proxy for a machine outside.",
			ATLAS:          []string{"AML.T0072"},
			ATTACK:         []string{"T1090"},
			Needs:          "SOCKS in clear text, in either direction.",
			FalsePositives: "A proxy offered to outsiders on purpose.",
			Story: detectors.Story{Group: detectors.GroupBeacon,
				Does: "opened a tunnel to %", Other: "command host", Techniques: []string{"AML.T0072", "T1572"},
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{
				plain: bus.Names.Memo(),
				env:   env, bus: bus, entries: detectors.NewEntries(env, bus),
				since: detectors.Table[known, capture.Time]{Limit: maxKnown}, forges: detectors.Table[netip.Addr, bool]{Limit: maxForges},
			}
			detectors.Configure(env, bus, "tunnel", Default(), func(c Config) {
				d.cfg, d.allow, d.services = c, nil, nil
				for _, a := range c.Allow {
					if n, err := detectors.ParseNetworks([]string{a}); err == nil {
						d.allow = append(d.allow, n)
					} else {
						d.services = append(d.services, strings.ToLower(a))
					}
				}
			})
			detectors.On(bus, d.lookup)
			detectors.On(bus, d.hello)
			detectors.On(bus, d.request)
			detectors.On(bus, d.session)
			detectors.On(bus, d.ssh)
			detectors.On(bus, d.proxy)
			detectors.On(bus, d.conn)
			detectors.On(bus, d.entered)
		},
	}
}

// known is a machine and what it uses.
type known struct {
	src  netip.Addr
	what string
}

type detector struct {
	env      *detectors.Env
	bus      *detectors.Bus
	cfg      Config
	allow    []*detectors.Networks
	services []string
	entries  *detectors.Entries
	since    detectors.Table[known, capture.Time] // when it was seen first
	forges   detectors.Table[netip.Addr, bool]
	plain    decoders.Memo // names that are nobody's
	host     string        // of the last request that is nobody's
}

// use is what was seen of a tunnel.
type use struct {
	at         capture.At
	flow       *capture.Flow
	src, dst   netip.Addr
	port       uint16
	rule       string
	what       string // service, program or protocol
	grade      string
	says       string // after the machine's address
	evidence   detectors.Evidence
	confidence int
}

func (d *detector) outward(src, dst netip.Addr) bool {
	return d.env.Home.Contains(src) && !d.env.Home.Contains(dst)
}

func (d *detector) report(u *use) {
	if !d.env.Home.Contains(u.src) || u.rule != ruleRelay && detectors.Special(u.dst) || slices.Contains(d.services, strings.ToLower(u.what)) ||
		slices.ContainsFunc(d.allow, func(n *detectors.Networks) bool { return n.Contains(u.dst) }) {
		return
	}
	k := known{u.src, u.rule + u.what}
	first, ok := d.since.Load(k)
	if !ok {
		first = u.at.Time
		d.since.Store(k, first)
	}
	f := &detectors.Finding{
		At: u.at, Rule: u.rule, Severity: detectors.Low, Confidence: u.confidence, Outcome: detectors.Observed,
		Src: u.src, Dst: u.dst, Port: u.port, Flow: u.flow, Evidence: []detectors.Evidence{u.evidence},
		Msg: u.src.String() + " " + u.says,
		Key: u.rule + "|" + u.src.String() + "|" + u.what,
	}
	if u.grade == data.Odd {
		f.Severity = detectors.Medium
	}
	if e := d.entries.Last(u.src, u.at.Time, d.cfg.JobFor); e != nil && first >= e.At.Time {
		f.Severity = detectors.High
		if u.grade == data.VPN {
			f.Severity = detectors.Medium
		}
		f.Msg += fmt.Sprintf(", %s after %s", detectors.Span(u.at.Time.Sub(e.At.Time)), e.How())
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "entry", Value: e.Rule + " by " + e.By.String(), Packet: e.At.Packet})
	}
	d.bus.Report(f)
}

// forges take SSH on the port of HTTPS, by documented names.
var forgeNames = [...]string{"ssh.github.com", "altssh.gitlab.com", "altssh.bitbucket.org", "ssh.dev.azure.com"}

func (d *detector) lookup(t *dns.Transaction) {
	if t.Flow == nil || t.Query == "" || t.Multicast || t.NetBIOS || d.plain.Has(t.NameID) {
		return
	}
	if slices.Contains(forgeNames[:], t.Query) {
		t.Addresses(func(a netip.Addr, _ time.Duration) bool {
			d.forges.Store(a, true)
			return true
		})
		return
	}
	r := data.RelayOf(t.Query)
	if r.Service == "" {
		d.plain.Add(t.NameID)
		return
	}
	src := t.Flow.Orig.Addr()
	if !d.env.Home.Contains(src) {
		return
	}
	dst := t.Flow.Resp.Addr()
	t.Addresses(func(a netip.Addr, _ time.Duration) bool {
		dst = a
		return false
	})
	d.report(&use{
		at: t.At, flow: t.Flow, src: src, dst: dst, rule: ruleRelay, what: r.Service, grade: r.Grade, confidence: 80,
		says:     fmt.Sprintf("looked up %s, a name of %s", detectors.Clip(t.Query, 120), r.Service),
		evidence: detectors.Evidence{Field: "query", Value: detectors.Clip(t.Query, 120), Packet: t.Packet},
	})
}

func (d *detector) hello(s *tls.Session) {
	if s.Flow == nil || s.ServerName == "" || !d.outward(s.Flow.Orig.Addr(), s.Flow.Resp.Addr()) {
		return
	}
	if r := data.RelayOf(strings.ToLower(s.ServerName)); r.Service != "" {
		d.report(&use{
			at: s.At, flow: s.Flow, src: s.Flow.Orig.Addr(), dst: s.Flow.Resp.Addr(), port: s.Flow.Resp.Port(),
			rule: ruleRelay, what: r.Service, grade: r.Grade, confidence: 90,
			says:     fmt.Sprintf("connected to %s, a name of %s", detectors.Clip(s.ServerName, 120), r.Service),
			evidence: detectors.Evidence{Field: "server_name", Value: detectors.Clip(s.ServerName, 120), Packet: s.Packet},
		})
	}
}

// switching is 101 Switching Protocols.
const switching = 101

func (d *detector) request(t *http.Transaction) {
	if t.Request == nil || t.Flow == nil {
		return
	}
	src, dst := t.Flow.Orig.Addr(), t.Flow.Resp.Addr()
	if !d.outward(src, dst) {
		return
	}
	u := use{at: t.Request.At, flow: t.Flow, src: src, dst: dst, port: t.Flow.Resp.Port(), rule: ruleRelay, confidence: 95}
	if t.Response != nil && t.Response.Status == switching {
		path, _, _ := strings.Cut(t.Request.Target, "?")
		sub := t.Request.Header.Get("Sec-WebSocket-Protocol")
		switch {
		case strings.HasPrefix(sub, "chisel-v"): // jpillora/chisel share/version.go
			u.what = "chisel"
		case path == "/v1/events" && strings.HasPrefix(sub, "v1") && strings.Contains(sub, "authorization.bearer."), // erebe/wstunnel
			strings.HasPrefix(sub, "WSTUNNEL"):
			u.what = "wstunnel"
		case path == "/~!frp": // fatedier/frp pkg/util/net/websocket.go
			u.what = "frp"
		}
		if u.what != "" {
			if u.grade = data.Odd; u.what == "frp" {
				u.grade = data.Common
			}
			u.says = fmt.Sprintf("opened a tunnel of %s to %s", u.what, t.Flow.Resp)
			u.evidence = detectors.Evidence{Field: "request", Value: detectors.Clip(path+" "+sub, 120), Packet: t.Request.Packet}
			d.report(&u)
			return
		}
	}
	host, _ := t.Request.Place()
	if host == "" || host == d.host {
		return
	}
	r := data.RelayOf(host)
	if r.Service == "" {
		d.host = host
		return
	}
	u.what, u.grade = r.Service, r.Grade
	u.says = fmt.Sprintf("sent a request to %s, a name of %s", detectors.Clip(host, 120), r.Service)
	u.evidence = detectors.Evidence{Field: "host", Value: detectors.Clip(host, 120), Packet: t.Request.Packet}
	d.report(&u)
}

// grades of programs that relay.Session names.
var grades = map[string]string{
	"WireGuard": data.VPN, "Tailscale": data.VPN, "OpenVPN": data.VPN, "frp": data.Common, "bore": data.Odd, "gsocket": data.Odd,
}

func (d *detector) session(s *relay.Session) {
	if s.Flow == nil || !d.outward(s.Flow.Orig.Addr(), s.Flow.Resp.Addr()) {
		return // who calls in from outside is a client of the site's own
	}
	d.report(&use{
		at: s.At, flow: s.Flow, src: s.Flow.Orig.Addr(), dst: s.Flow.Resp.Addr(), port: s.Flow.Resp.Port(),
		rule: ruleRelay, what: s.Program, grade: grades[s.Program], confidence: 90,
		says:     fmt.Sprintf("opened a tunnel of %s to %s", s.Program, s.Flow.Resp),
		evidence: detectors.Evidence{Field: "begins", Value: detectors.Clip(s.Says, 120), Packet: s.Packet},
	})
}

// sshPorts are where SSH is at home: its own, and those of Gerrit and of who moves it to be scanned less.
var sshPorts = [...]uint16{22, 222, 2022, 2222, 22222, 29418}

// forgeBanners begin the first lines of servers of code.
var forgeBanners = [...]string{"SSH-2.0-babeld", "SSH-2.0-GitLab", "SSH-2.0-conker", "SSH-2.0-GerritCodeReview", "SSH-2.0-SSHBlackbox", "SSH-2.0-AWS_SFTP"}

func (d *detector) ssh(s *services.SSH) {
	src, dst, port := s.Flow.Orig.Addr(), s.Flow.Resp.Addr(), s.Flow.Resp.Port()
	if !d.outward(src, dst) || slices.Contains(sshPorts[:], port) || d.forges.Peek(dst) != nil ||
		slices.ContainsFunc(forgeBanners[:], func(b string) bool { return strings.HasPrefix(s.Server, b) }) {
		return
	}
	d.report(&use{
		at: s.At, flow: s.Flow, src: src, dst: dst, port: port, rule: ruleSSH, what: dst.String(), grade: data.Common, confidence: 80,
		says:     fmt.Sprintf("speaks SSH with %s", s.Flow.Resp),
		evidence: detectors.Evidence{Field: "banner", Value: detectors.Clip(s.Server, 120), Packet: s.Packet},
	})
}

func (d *detector) proxy(r *socks.Request) {
	if r.Flow == nil || !d.outward(r.Flow.Resp.Addr(), r.Flow.Orig.Addr()) || r.Replied && !r.OK {
		return
	}
	to := r.Host.Name
	if r.Host.Addr.IsValid() {
		to = r.Host.Addr.String()
	}
	u := use{
		at: r.At, flow: r.Flow, src: r.Flow.Resp.Addr(), dst: r.Flow.Orig.Addr(), rule: ruleProxy, what: "SOCKS", grade: data.Odd, confidence: 90,
		says:     fmt.Sprintf("connected to %s port %d for %s, as a SOCKS proxy", detectors.Clip(to, 120), r.Port, r.Flow.Orig.Addr()),
		evidence: detectors.Evidence{Field: "connect", Value: fmt.Sprintf("%s %d", detectors.Clip(to, 120), r.Port), Packet: r.Packet},
	}
	d.report(&u)
}

const dnsPort = 53

func (d *detector) conn(c *capture.Conn) {
	if c.Flow == nil {
		return
	}
	src, dst := c.Flow.Orig.Addr(), c.Flow.Resp.Addr()
	if c.Flow.Resp.Port() == dnsPort && c.Flow.Proto != capture.ProtoICMP {
		if c.Guessed || c.Missed > 0 || c.Bytes[0]+c.Bytes[1] < minForeign || c.Bytes[0] == 0 || c.Bytes[1] == 0 || c.Pkts[0] < 3 || c.Pkts[1] < 3 ||
			slices.Contains(c.Services, "dns") || !d.outward(src, dst) {
			return
		}
		d.report(&use{
			at: c.At, flow: c.Flow, src: src, dst: dst, port: dnsPort, rule: ruleProtocol, what: "port 53", grade: data.Odd, confidence: 80,
			says:     fmt.Sprintf("exchanged %s with %s that are no DNS", detectors.Size(c.Bytes[0]+c.Bytes[1]), c.Flow.Resp),
			evidence: detectors.Evidence{Field: "service", Value: strings.Join(c.Services, ","), Packet: c.Packet},
		})
	}
}

// entered takes a flow that began inside of a tunnel.
func (d *detector) entered(e *capture.Entered) {
	t := e.Tunnel
	if t == nil {
		return
	}
	src, dst := t.Orig.Addr(), t.Resp.Addr()
	if d.outward(dst, src) {
		src, dst = dst, src
	}
	if !d.outward(src, dst) {
		return
	}
	d.report(&use{
		at: e.At, src: src, dst: dst, port: t.Resp.Port(), rule: ruleProtocol, what: t.Kind + " to " + dst.String(), grade: data.VPN, confidence: 80,
		says:     fmt.Sprintf("has a %s tunnel with %s", t.Kind, dst),
		evidence: detectors.Evidence{Field: "tunnel", Value: t.Kind, Packet: e.Packet},
	})
}
