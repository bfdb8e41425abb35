// Package registry lists what raytap is made of: the decoders and in which order they are asked, what reads their events as
// something more, and the detectors.
package registry

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

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
	"github.com/raytap/raytap/interpreters"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/interpreters/raygrpc"
)

// Options of a Kit. The zero value has no home, sheds nothing and copies nothing.
type Options struct {
	// Home says of which bodies more is kept: of what leaves it.
	Home *detectors.Networks
	// Balancers may name the clients that they speak for, to who is at home: at home, where everything else would be seen, that
	// makes nobody an outsider's equal, while elsewhere a name could only hide who sends. Nil: Home.
	Balancers *detectors.Networks
	// Shed reports whether a body is left out, under overload; nil: none is.
	Shed func(t *http.Transaction, resp bool) bool
	// Copies says which files are copied; nil: none are.
	Copies *file.Copies
}

// Kit is what one worker reads flows with. It belongs to one goroutine.
type Kit struct {
	// Decoders look for their protocol in the bytes of a flow, in the order in which they are asked.
	Decoders []decoders.Spec
	// HTTP is the one of them that reads HTTP.
	HTTP decoders.Spec
	// Interpreters read what decoders emit as something more.
	Interpreters *interpreters.Set
	// Files remembers the digests of small files.
	Files *file.Cache
}

// Decoders lists the decoders of a Kit that has only a home.
func Decoders(home *detectors.Networks) []decoders.Spec { return NewKit(Options{Home: home}).Decoders }

// NewKit makes the Kit of one worker.
func NewKit(opt Options) *Kit {
	if opt.Balancers == nil {
		opt.Balancers = opt.Home
	}
	home, balancers, copies := opt.Home, opt.Balancers, opt.Copies
	k := &Kit{Interpreters: interpreters.NewSet(Interpreters(home)...), Files: file.NewCache(file.Options{HashLimit: HashLimit, Copies: copies})}
	files, keep := k.Files, k.Interpreters.KeepBody
	if opt.Shed != nil {
		keep = func(t *http.Transaction, resp bool) int {
			if opt.Shed(t, resp) {
				return -1
			}
			return k.Interpreters.KeepBody(t, resp)
		}
	}
	// A decoder imports no other, so that what HTTP/1 and HTTP/2 share is put together here: a stream of HTTP/2 that is no
	// gRPC becomes the transaction that http makes of it, and what http leaves for h2c goes on in http2.
	one := http.Options{KeepBody: keep, Follow: ray.Follow, Files: files, Label: Labels(copies)}
	made := http.NewExchanges(one)
	two := http2.Options{Keep: k.Interpreters.KeepMessages, HTTP: func(ctx decoders.Context) func() http2.Exchange {
		return exchangesOf(made.Connection(ctx))
	}}
	if copies != nil && copies.Classes&file.RayPackages != 0 {
		two.Follow = raygrpc.Packages(files)
	}
	one.Upgrade = func(ctx decoders.Context, c *http.Connection, first *http.Exchange) decoders.Decoder {
		return http2.Upgraded(ctx, two, exchangesOf(c), first)
	}
	k.HTTP = http.Spec(one)
	var err error
	k.Decoders, err = decoders.Order([]decoders.Spec{
		proxy.Spec(proxy.Options{Trusts: func(from, to netip.Addr) bool { return balancers.Contains(from) && home.Contains(to) }}),
		k.HTTP,
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
	})
	if err != nil {
		panic(err) // what the list declares; every test comes by here
	}
	return k
}

// Expects lists what reads connections that others announce.
func Expects(files *file.Cache) []decoders.Expect {
	return []decoders.Expect{services.Expect(files)}
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

func (p pair) Sated(dir capture.Dir) bool {
	return decoders.IsSated(p.one, dir) && decoders.IsSated(p.two, dir)
}

// exchangesOf makes the exchanges of a connection's streams.
func exchangesOf(c *http.Connection) func() http2.Exchange {
	return func() http2.Exchange { return c.Open() }
}

// HashLimit is the length beyond which files are not digested: model weights by the gigabyte, whose digests nobody has.
const HashLimit = 64 << 20

// Interpreters lists what reads an event as something more, for one worker.
func Interpreters(home *detectors.Networks) []interpreters.Interpreter {
	products := newRouter()
	leaks := secrets.NewReader(func(from, to netip.Addr) bool { return home.Contains(from) && !home.Contains(to) })
	return []interpreters.Interpreter{
		{Name: "ray and its like", HTTP: products.interpret, KeepBody: products.keepBody},
		{Name: "ray over gRPC", Call: interpreters.Made(raygrpc.Interpret), KeepMessages: raygrpc.Keep},
		{Name: "what Ray Client returned", Call: func(c *http2.Call) any { return returned(leaks, c) }},
		{Name: "mining", HTTP: interpreters.Made(stratum.FromHTTP), KeepBody: stratum.KeepBody, KeepMessages: mining.Keep},
		{Name: "secrets", HTTP: leaks.Interpret, KeepBody: leaks.KeepBody},
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
	for _, d := range more {
		d.Late = true // it may share whatever it likes with whoever brought it
		all = append(all, d)
	}
	return append(all, campaign.Spec())
}

// Lanes is how many groups of detectors there are that may run beside each other.
const Lanes = 3

// lanes deals the detectors that take most of the time, so that each lane takes about as long with short connections and many
// look-ups (raytap replay --stages). Those that share command.Names stay together in the last, as does what is not named.
var lanes = map[string]int{
	"egress": 0, "probe": 0, "shell": 0, "assets": 0, "dns_tunnel": 0,
	"scan": 1, "intel": 1, "beacon": 1, "evasion": 1, "flood": 1,
}

// Lane is the lane of a detector that is not Late.
func Lane(d *detectors.Spec) int {
	if n, ok := lanes[d.Name]; ok {
		return n
	}
	return Lanes - 1
}

// Rules lists every rule of every detector, in the order of Detectors. Who asks must not change it.
func Rules(more ...detectors.Spec) []detectors.Rule {
	if len(more) == 0 {
		return ownRules()
	}
	return rulesOf(Detectors(more...))
}

// ownRules are made once: who checks a configuration asks for each pattern in it.
var ownRules = sync.OnceValue(func() []detectors.Rule { return slices.Clip(rulesOf(Detectors())) })

func rulesOf(specs []detectors.Spec) (all []detectors.Rule) {
	for i := range specs {
		all = append(all, specs[i].Rules...)
	}
	return all
}
