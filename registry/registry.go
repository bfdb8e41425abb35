// Package registry lists what raytap is made of: the decoders and in which order they are asked, what reads their events as
// something more, and the detectors.
package registry

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/bare"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/http2"
	"github.com/raytap/raytap/decoders/mail"
	"github.com/raytap/raytap/decoders/proxy"
	"github.com/raytap/raytap/decoders/quic"
	"github.com/raytap/raytap/decoders/ray"
	"github.com/raytap/raytap/decoders/raygrpc"
	"github.com/raytap/raytap/decoders/rayredis"
	"github.com/raytap/raytap/decoders/relay"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/decoders/services"
	"github.com/raytap/raytap/decoders/shell"
	"github.com/raytap/raytap/decoders/smb"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/stratum"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/decoders/websocket"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/assets"
	"github.com/raytap/raytap/detectors/beacon"
	"github.com/raytap/raytap/detectors/campaign"
	"github.com/raytap/raytap/detectors/dnstunnel"
	"github.com/raytap/raytap/detectors/egress"
	"github.com/raytap/raytap/detectors/evasion"
	"github.com/raytap/raytap/detectors/flood"
	"github.com/raytap/raytap/detectors/intel"
	"github.com/raytap/raytap/detectors/jobsubmit"
	"github.com/raytap/raytap/detectors/mining"
	"github.com/raytap/raytap/detectors/model"
	"github.com/raytap/raytap/detectors/oast"
	"github.com/raytap/raytap/detectors/payload"
	"github.com/raytap/raytap/detectors/probe"
	"github.com/raytap/raytap/detectors/rayapi"
	grpc "github.com/raytap/raytap/detectors/raygrpc"
	"github.com/raytap/raytap/detectors/redis"
	"github.com/raytap/raytap/detectors/scan"
	leak "github.com/raytap/raytap/detectors/secrets"
	"github.com/raytap/raytap/detectors/sensor"
	interactive "github.com/raytap/raytap/detectors/shell"
	"github.com/raytap/raytap/detectors/spark"
	"github.com/raytap/raytap/detectors/tunnel"
)

// Decoders lists what looks for its protocol in the bytes of a flow, in the order in which they are asked: strict
// probes first. What is home says of which bodies more is kept. A list belongs to one goroutine.
func Decoders(home *detectors.Networks) []decoders.Spec { return DecodersFor(home, home, nil, nil) }

// DecodersFor lists them for a run that may shed bodies, and one that copies files; nil: it does not. balancers may name the clients that they speak
// for, to who is at home: at home, where everything else would be seen, that makes nobody an outsider's equal, while
// elsewhere a name could only hide who sends.
func DecodersFor(home, balancers *detectors.Networks, shed func(t *http.Transaction, resp bool) bool, copies *file.Copies) []decoders.Spec {
	files := file.NewCache(file.Options{HashLimit: HashLimit, Copies: copies})
	keep := keepBody(secretReader(home))
	if shed != nil {
		all := keep
		keep = func(t *http.Transaction, resp bool) int {
			if shed(t, resp) {
				return -1
			}
			return all(t, resp)
		}
	}
	// A decoder imports no other, so that what HTTP/1 and HTTP/2 share is put together here: a stream of HTTP/2 that is no
	// gRPC becomes the transaction that http makes of it, and what http leaves for h2c goes on in http2.
	one := http.Options{KeepBody: keep, Follow: ray.Follow, Files: files, Label: Labels(copies)}
	made := http.NewExchanges(one)
	two := http2.Options{Keep: keepMessages, HTTP: func(ctx decoders.Context) func() http2.Exchange {
		return exchangesOf(made.Connection(ctx))
	}}
	if copies != nil && copies.Classes&file.RayPackages != 0 {
		two.Follow = raygrpc.Packages(files)
	}
	one.Upgrade = func(ctx decoders.Context, c *http.Connection, first *http.Exchange) decoders.Decoder {
		return http2.Upgraded(ctx, two, exchangesOf(c), first)
	}
	return []decoders.Spec{
		proxy.Spec(proxy.Options{Trusts: func(from, to netip.Addr) bool { return balancers.Contains(from) && home.Contains(to) }}),
		http.Spec(one),
		http2.Spec(two),
		relay.Spec(),
		tls.Spec(files),
		tls.DatagramSpec(files),
		quic.Spec(),
		stratum.Spec(),
		stratum.DuinoSpec(),
		stratum.VeiledSpec(),
		dns.Spec(),
		socks.Spec(),
		rayredis.Spec(),
		websocket.Spec(),
		bare.Spec(files),
		shell.Spec(),
		services.Spec(services.Options{Follow: map[string]func(decoders.Context) decoders.Follower{
			"smb": smb.New(files), "smtp": both(mail.SMTP(files), secrets.Text()), "pop3": mail.POP3(files),
			services.Text: both(secrets.Text(), shell.Text()),
		}}),
		secrets.Spec(),
	}
}

// Labels gives what tells a package of Ray by the place that it is sent to, nil if none is wanted.
func Labels(copies *file.Copies) func(t *http.Transaction, resp bool) file.Class {
	if copies == nil || copies.Classes&file.RayPackages == 0 {
		return nil
	}
	return func(t *http.Transaction, resp bool) file.Class {
		if q := t.Request; !resp && q != nil && (q.Method == "PUT" || q.Method == "POST") && strings.Contains(q.Target, packagePlace) {
			return file.RayPackages
		}
		return 0
	}
}

// packagePlace is where a client of Ray's Job API uploads working_dir and py_modules (dashboard/modules/job/job_head.py).
const packagePlace = "/api/packages/"

// keepMessages says how much of the messages of a call is kept: what calls to Ray and of miners need.
func keepMessages(c *http2.Call) int {
	if c.Path == mining.KaspadPath {
		return mining.KaspadKeep
	}
	return raygrpc.Keep(c)
}

// both makes what lets two follow a conversation.
func both(one, two func(decoders.Context) decoders.Follower) func(decoders.Context) decoders.Follower {
	return func(ctx decoders.Context) decoders.Follower { return pair{one(ctx), two(ctx)} }
}

type pair struct{ one, two decoders.Follower }

func (p pair) Data(dir capture.Dir, b []byte) {
	if !p.one.Done() {
		p.one.Data(dir, b)
	}
	if !p.two.Done() {
		p.two.Data(dir, b)
	}
}

func (p pair) Gap(dir capture.Dir, n int64) {
	p.one.Gap(dir, n)
	p.two.Gap(dir, n)
}

func (p pair) End(dir capture.Dir) {
	p.one.End(dir)
	p.two.End(dir)
}

func (p pair) Done() bool { return p.one.Done() && p.two.Done() }

// exchangesOf makes the exchanges of a connection's streams.
func exchangesOf(c *http.Connection) func() http2.Exchange {
	return func() http2.Exchange { return c.Open() }
}

// Interpreters lists what reads an event as something more: an HTTP transaction as a call to Ray. Each returns the
// event it made of ev, or nil.
func Interpreters(home *detectors.Networks) []func(ev any) any {
	reader := secretReader(home)
	calls := newRouter()
	return []func(any) any{
		func(ev any) any {
			if t, ok := ev.(*http.Transaction); ok {
				return calls.interpret(t)
			}
			return nil
		},
		func(ev any) any {
			var c *http2.Call
			switch ev := ev.(type) {
			case *http2.Call:
				c = ev
			case *http2.Part: // of a call that lives on
				c = &ev.Call
			default:
				return nil
			}
			if r := raygrpc.Interpret(c); r != nil {
				return r
			}
			return nil
		},
		func(ev any) any {
			switch ev := ev.(type) {
			case *http2.Call:
				return returned(reader, ev)
			case *http2.Part:
				return returned(reader, &ev.Call)
			}
			return nil
		},
		func(ev any) any {
			if t, ok := ev.(*http.Transaction); ok {
				if s := stratum.FromHTTP(t); s != nil {
					return s
				}
			}
			return nil
		},
		func(ev any) any {
			if t, ok := ev.(*http.Transaction); ok {
				return reader.Interpret(t)
			}
			return nil
		},
	}
}

// returned reads what a call of Ray Client returned to somebody outside: the values of objects.
func returned(reader *secrets.Reader, c *http2.Call) any {
	if !c.GRPC || len(c.ResponseMessages) == 0 || !strings.HasPrefix(c.Service, "ray.rpc.Raylet") || !reader.Gives(c.Flow) {
		return nil
	}
	list := make([]secrets.Message, len(c.ResponseMessages))
	for i := range list {
		list[i] = secrets.Message{At: c.ResponseMessages[i].At, Data: c.ResponseMessages[i].Data}
	}
	if s := reader.Messages(c.At, c.Flow, "Ray Client", list); s != nil {
		return s
	}
	return nil
}

// HashLimit is the length beyond which files are not digested: model weights by the gigabyte, whose digests nobody has.
const HashLimit = 64 << 20

// jsonRPC is how much of a posted JSON-RPC call, and of its answer, says whether it is a miner's.
const jsonRPC = 8 << 10

// keepBody says how much of an HTTP body the interpreters want.
func keepBody(leaks *secrets.Reader) func(t *http.Transaction, resp bool) int {
	calls := newRouter()
	return func(t *http.Transaction, resp bool) int {
		n := max(calls.keepBody(t, resp), leaks.KeepBody(t, resp))
		if r := t.Request; r != nil && r.Method == "POST" {
			if b := bytes.TrimLeft(r.Body.Data, " \t\r\n"); !resp || len(b) > 0 && (b[0] == '{' || b[0] == '[') {
				n = max(n, jsonRPC)
			}
		}
		return n
	}
}

// secretReader reads what leaves the home networks.
func secretReader(home *detectors.Networks) *secrets.Reader {
	return secrets.NewReader(func(from, to netip.Addr) bool { return home.Contains(from) && !home.Contains(to) })
}

// Detectors lists what makes findings of events, in the order in which they see them. Those of more come before the one that
// makes incidents of what the others found.
func Detectors(more ...detectors.Spec) []detectors.Spec {
	all := []detectors.Spec{
		jobsubmit.Spec(),
		rayapi.Spec(),
		mining.Spec(),
		egress.Spec(),
		model.Spec(),
		payload.Spec(),
		grpc.Spec(),
		oast.Spec(),
		dnstunnel.Spec(),
		scan.Spec(),
		beacon.Spec(),
		interactive.Spec(),
		evasion.Spec(),
		tunnel.Spec(),
		redis.Spec(),
		spark.Spec(),
		flood.Spec(),
		probe.Spec(),
		sensor.Spec(),
		assets.Spec(),
		leak.Spec(),
		intel.Spec(),
	}
	return append(append(all, more...), campaign.Spec())
}

// Rules lists every rule of every detector, in the order of Detectors.
func Rules(more ...detectors.Spec) []detectors.Rule {
	var all []detectors.Rule
	for _, d := range Detectors(more...) {
		all = append(all, d.Rules...)
	}
	return all
}
