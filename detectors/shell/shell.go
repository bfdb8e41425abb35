// Package shell finds machines that are commanded through a shell over a bare connection.
//
// In: *shell.Session of decoders/shell, and *shell.OneWay, of which two may be one session (double.go); *http.Transaction, to know the consoles of containers, and for commands that are
// fetched and whose answers are posted; *tls.Rhythm and *dns.Transaction for a keyboard behind TLS. Out: findings of
// shell/interactive, one for a session as soon as it is certain, and of shell/encrypted, low.
// Src is the commanded machine, Dst the one that commands, whoever opened the connection.
//
//	high    a home machine is commanded
//	medium  a home machine commands a machine outside; or it is the console of a container, which Docker's and other
//	        interfaces give out after an upgrade of HTTP: commanded in the clear all the same
//	low     neither is at home
//
// It does not see what decoders/shell does not: shells inside TLS or SSH, web shells, telnet and consoles with a login.
// It cannot tell a debugging aid of the machine's owner from an intruder's.
package shell

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/shell"
	"github.com/raytap/raytap/detectors"
)

const (
	rule          = "shell/interactive"
	ruleEncrypted = "shell/encrypted"
)

// maxUpgraded bounds the connections known to have left HTTP for something else; they live seconds to days.
const maxUpgraded = 4096

// Config are the settings, the section `shell` of the configuration file.
type Config struct {
	Allow []string `yaml:"allow"` // networks or addresses of machines that may command others in the clear
}

// Default is what holds when nothing is said: nobody may.
func Default() Config { return Config{} }

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "shell", Settings: settings(),
		Rules: []detectors.Rule{{
			Name: rule, Note: "Shell_Interactive", Severity: detectors.High,
			Says:   "A machine's command shell is used in clear text over a bare connection, as reverse and bind shells are.",
			ATLAS:  []string{"AML.T0050", "AML.T0072"},
			ATTACK: []string{"T1059", "T1059.004", "T1095", "T1571"},
			Needs: "A TCP connection, datagrams or a WebSocket in clear text on any port, with a shell's greeting and " +
				"prompt, or a command and its output, in the first 4 KiB of each direction; or two simultaneous connections " +
				"between the same machines, one with commands and one with output, in the first 2 KiB of each; or a " +
				"command's output posted over HTTP. Not TLS, SSH, telnet, or a console that asks for a login.",
			FalsePositives: "A shell over netcat or socat that the machine's owner set up for debugging; exercises. Medium: " +
				"container consoles, and programs that post the output of id, uname -a or a list of users, as inventory and " +
				"crash reporters do. Low: a console between home machines whose login was not captured.",
			Story: detectors.Story{Group: detectors.GroupShell, Sure: true, Grave: true,
				Does: "had a command session with %", Other: "command host", Techniques: []string{"AML.T0072", "T1571"},
			},
		}, {
			Name: ruleEncrypted, Note: "Shell_Encrypted", Severity: detectors.Low,
			Says: "A home machine opened a TLS connection to a bare address and responds to input that seems to be " +
				"typed by a person.",
			ATLAS:  []string{"AML.T0072"},
			ATTACK: []string{"T1573", "T1571"},
			Needs: "A TLS session without a server name or ALPN to an address that no lookup returned, and its " +
				"first 24 records.",
			FalsePositives: "Agents that wait for commands in a private protocol over TLS.",
			Story: detectors.Story{Group: detectors.GroupHint,
				Does: "answers over TLS to what is typed at %", Other: "command host", Techniques: []string{"AML.T0072", "T1573"},
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{env: env, bus: bus, asked: bus.Names.Memo(), upgraded: detectors.Table[string, string]{Limit: maxUpgraded},
				polls: detectors.Table[place, int]{Limit: maxPolled}, named: detectors.Table[netip.Addr, bool]{Limit: maxPolled},
				halves: detectors.Table[parties, halves]{Limit: maxParties}}
			detectors.Configure(env, bus, "shell", Default(), func(c Config) { d.allow, _ = detectors.ParseNetworks(c.Allow) })
			detectors.On(bus, d.request)
			detectors.On(bus, d.session)
			detectors.On(bus, d.oneWay)
			detectors.On(bus, d.poll)
			detectors.On(bus, d.keyboard)
			detectors.On(bus, d.lookup)
		},
	}
}

type detector struct {
	env      *detectors.Env
	bus      *detectors.Bus
	allow    *detectors.Networks
	upgraded detectors.Table[string, string] // by flow: the path that was asked for
	polls    detectors.Table[place, int]
	halves   detectors.Table[parties, halves]
	asked    decoders.Memo                     // names
	named    detectors.Table[netip.Addr, bool] // addresses that somebody looked up
}

func (d *detector) lookup(t *dns.Transaction) {
	if d.asked.Has(t.NameID) {
		return // nearly all: its addresses are known
	}
	if t.Answered {
		d.asked.Add(t.NameID)
	}
	t.Addresses(func(a netip.Addr, _ time.Duration) bool {
		if d.named.Get(a) == nil {
			d.named.Store(a, true)
		}
		return true
	})
}

func (d *detector) request(t *http.Transaction) {
	if t.Flow != nil && t.Request != nil && t.Response != nil && t.Response.Status == switching {
		path, _, _ := strings.Cut(t.Request.Target, "?")
		d.upgraded.Store(t.Flow.UID, path)
	}
}

// switching is 101 Switching Protocols, RFC 9110 section 15.2.2.
const switching = 101

func (d *detector) session(s *shell.Session) {
	if s.Ended || s.Flow == nil {
		return
	}
	d.report(s, nil)
}

// report speaks of a session, whose commands came over a connection of their own if orders is not nil.
func (d *detector) report(s *shell.Session, orders *shell.OneWay) {
	victim, master := s.Flow.Src(s.Commanded), s.Flow.Dst(s.Commanded)
	if d.allow.Contains(master.Addr()) {
		return
	}
	f := &detectors.Finding{
		At: s.At, Rule: rule, Severity: detectors.High, Confidence: confidence(s), Outcome: detectors.Succeeded,
		Src: victim.Addr(), Dst: master.Addr(), Port: s.Flow.Resp.Port(), Flow: s.Flow,
	}
	switch {
	case d.env.Home.Contains(victim.Addr()):
	case d.env.Home.Contains(master.Addr()):
		f.Severity = detectors.Medium
	default:
		f.Severity = detectors.Low
	}
	f.Msg = sentence(s, victim, master)
	var seen []string
	for _, e := range s.Evidence {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: e.Field, Value: e.Value, Packet: s.Packet})
		seen = append(seen, fmt.Sprintf("%s %q", e.Field, e.Value))
	}
	if orders != nil {
		f.Msg += fmt.Sprintf("; its commands came over another connection, of %s with %s", orders.Flow.Orig, orders.Flow.Resp)
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "commands", Value: orders.Flow.UID, Packet: orders.Packet})
	}
	if s.Half {
		f.Severity = min(f.Severity, detectors.Medium)
		f.Confidence = min(f.Confidence, 75)
		f.Msg += "; a part of the conversation was seen"
	}
	// Who comes in between does not see who asked for a name and a password before. Terminal servers give out consoles
	// of a site's machines in clear text, and what is typed comes back; a shell on a socket does not send it back.
	if s.Echo && s.Flow.Mid && d.env.Home.Contains(victim.Addr()) && d.env.Home.Contains(master.Addr()) {
		f.Severity, f.Confidence = detectors.Low, min(f.Confidence, 50)
		f.Msg += "; it may be a console with a login, whose beginning was not captured"
	}
	// Consoles are given out by servers. Who calls out and is commanded then is no console.
	if path, ok := d.upgraded.Load(s.Flow.UID); ok && s.Flow.Dst(0) == victim {
		f.Severity = min(f.Severity, detectors.Medium)
		f.Msg += ", behind an upgrade of HTTP"
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "upgraded", Value: detectors.Clip(path, 160), Packet: s.Packet})
	} else if ok {
		f.Msg += ", over a WebSocket or another upgrade of HTTP"
	}
	f.Sub = strings.Join(seen, ", ")
	d.bus.Report(f)
}

// confidence: a greeting with a prompt, or a command whose answer nothing else gives, leaves little doubt; words that
// only fit together leave some.
func confidence(s *shell.Session) int {
	prompt, answer := false, false
	for _, e := range s.Evidence {
		switch e.Field {
		case "banner":
			return 97
		case "prompt":
			prompt = true
		case "answer":
			answer = true
		}
	}
	switch {
	case prompt && answer:
		return 97
	case s.User != "" || prompt:
		return 93
	}
	return 85
}

func sentence(s *shell.Session, victim, master netip.AddrPort) string {
	kind, as := "shell", ""
	if s.Windows {
		kind = "Windows shell"
	}
	if s.User != "" {
		as = " as " + s.User
	}
	if s.Flow.Src(0) == victim {
		return fmt.Sprintf("%s called %s and lets itself be commanded: a plain-text reverse %s%s", victim.Addr(), master, kind, as)
	}
	return fmt.Sprintf("%s is commanded by %s through a plain-text %s%s on its port %d", victim.Addr(), master.Addr(), kind, as, victim.Port())
}
