// Package raygrpc judges what is asked of Ray over gRPC: of Ray Client, the GCS, raylets, workers and agents.
//
// In: *raygrpc.Call, and *rayredis.Call of the GCS of Ray before 1.11; *http2.Call for who was connected to whom before; *ray.Call for refused tokens and for jobs that
// a worm hands on. Out: findings of eight rules.
//
//	rayclient/external  somebody outside the home networks uses Ray Client, which runs the code that it is sent
//	rayclient/dropper   a pickle calls what no pickler writes, or a function's code runs a command that fetches code
//	gcs/external        somebody outside talks to the GCS
//	gcs/stranger        a home machine that is no node and no driver changes the GCS or reads code and secrets from it
//	raynode/foreign     a node joins from outside, or from another network than the cluster's
//	rayagent/direct     somebody who is no part of the cluster talks to a raylet, a worker or an agent
//	raytoken/guessing   one source tries many tokens
//	ray/worm            a machine that runs Ray hands jobs or code to several others
//
// Who is a part of a cluster is learned: from nodes that register, jobs that are added, methods that only nodes use,
// servers that answer, and connections that began before the capture. What a home machine without a part does is held
// for a while, since the proof may come behind it.
//
// It does not see Ray over TLS. A home machine that plays a node's part first is not told from one. Machines inside are
// never accused of what passes between the nodes of a cluster on behalf of somebody outside.
package raygrpc

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http2"
	"github.com/raytap/raytap/decoders/rayredis"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/command"
	"github.com/raytap/raytap/detectors/rayfinding"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/interpreters/raygrpc"
)

const (
	maxMembers = 8192 // machines of clusters; Ray's own limit is 2,000 nodes
	maxPairs   = 8192 // connections that were there before
	maxHosts   = 4096
	maxGuess   = 4096 // pairs whose tokens were refused
	maxTokens  = 32   // different tokens kept of a pair
	maxTargets = 32   // servers kept of a source
	maxHeld    = 256  // calls of strangers that wait

	// Proof that a machine is a node comes with its next heartbeat or health check: every one to three seconds.
	holdFor = 10 * time.Second
	// A client with an old token tries the same one again and again; a guesser does not.
	guesses     = 5
	guessWindow = 10 * time.Minute
	// A worm hands itself on within seconds of its first word to a cluster. Who came with the same token for as long as
	// this, and was let in, is somebody with an account there.
	history = 10 * time.Minute
	// Handing work to one or two foreign Rays is a user with several clusters.
	wormTargets = 3
	wormWindow  = time.Hour

	maxEvidence = 400

	// outsideScore is how little a command from outside must score to be called a dropper's.
	outsideScore = 40
)

// Spec is the detector.
func Spec() detectors.Spec {
	return detectors.Spec{Name: "raygrpc", Rules: rules, New: newDetector}
}

var rules = []detectors.Rule{
	{
		Name: "rayclient/external", Note: "Ray_Client_External", Severity: detectors.Critical,
		Says:   "A host outside the home networks used Ray Client, which loads and runs any pickle it receives.",
		ATLAS:  []string{"AML.T0049", "AML.T0050", "AML.T0132"},
		ATTACK: []string{"T1190", "T1059.006"},
		Needs: "gRPC in clear text to the Ray Client port (10001, 23000 to 23999, or any other), from the beginning " +
			"of the connection.",
		FalsePositives: "Users who work over the Internet on purpose; home networks missing from the configuration.",
		Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry,
			Does: "used Ray Client of %", Techniques: []string{"AML.T0049", "AML.T0132", "T1190"},
		},
	},
	{
		Name: "rayclient/dropper", Note: "Ray_Client_Dropper", Severity: detectors.Critical,
		Says: "A pickle sent to Ray runs a command when it is loaded, or contains a function that fetches and runs " +
			"code, opens a shell or mines.",
		ATLAS:  []string{"AML.T0050", "AML.T0049"},
		ATTACK: []string{"T1059.006", "T1059.004", "T1105"},
		Needs:  "gRPC in clear text to Ray Client or the GCS; the beginning of the pickle.",
		FalsePositives: "Functions that run a script from a name without TLS, or from one of your own public addresses that " +
			"is not in the home networks; security tests. A constant that begins like a command is taken for one, whether or " +
			"not the function runs it.",
		Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry, Runs: true,
			Does: "ran a command through Ray Client on %", Techniques: []string{"AML.T0049", "AML.T0050", "T1190", "T1059.006"},
		},
	},
	{
		Name: "gcs/external", Note: "Ray_GCS_External", Severity: detectors.Critical,
		Says:           "A host outside the home networks talked to the GCS, which holds the cluster's state, code and jobs.",
		ATLAS:          []string{"AML.T0049", "AML.T0132"},
		ATTACK:         []string{"T1190", "T1082"},
		Needs:          "gRPC in clear text to the GCS port (6379).",
		FalsePositives: "Cloud nodes whose addresses are not in the home networks.",
		Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry,
			Does: "used the control store of %", Techniques: []string{"AML.T0049", "T1190"},
		},
	},
	{
		Name: "gcs/stranger", Note: "Ray_GCS_Stranger", Severity: detectors.Medium,
		Says:           "A home machine that never registered as a node or driver changed the GCS, or read code or secrets from it.",
		ATLAS:          []string{"AML.T0049", "AML.T0122"},
		ATTACK:         []string{"T1210", "T1552"},
		Needs:          "gRPC in clear text to the GCS, and some seconds of the cluster's own traffic.",
		FalsePositives: "Administrators' scripts that use GcsClient; drivers whose registration was not captured.",
		Story: detectors.Story{Role: detectors.RoleBefore, Group: detectors.GroupLook,
			Does: "used the control store of %", Techniques: []string{"AML.T0075", "T1613"},
		},
	},
	{
		Name: "raynode/foreign", Note: "Ray_Node_Foreign", Severity: detectors.Critical,
		Says: "A machine outside, or in a network other than the cluster's, registered as a node: it receives " +
			"tasks, objects and code.",
		ATLAS:          []string{"AML.T0049", "AML.T0122"},
		ATTACK:         []string{"T1190", "T1210"},
		Needs:          "The registration with the GCS in clear text.",
		FalsePositives: "Clusters spread over several networks or clouds, or whose pods use several distant address ranges.",
		Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry, Peer: true,
			Does: "joined a node to %", Techniques: []string{"AML.T0049", "T1190"},
		},
	},
	{
		Name: "rayagent/direct", Note: "Ray_Agent_Direct", Severity: detectors.High,
		Says: "A machine that is not part of the cluster talked to a raylet, a worker or an agent, which accept " +
			"commands from anyone.",
		ATLAS:          []string{"AML.T0049", "AML.T0122"},
		ATTACK:         []string{"T1210", "T1059.006"},
		Needs:          "gRPC, or HTTP to the runtime environment agent, in clear text.",
		FalsePositives: "Nodes whose registration was not captured and that have sent nothing since.",
		Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry,
			Does: "called the agent of %", Techniques: []string{"AML.T0049", "T1190"},
		},
	},
	{
		Name: "raytoken/guessing", Note: "Ray_Token_Guessing", Severity: detectors.High,
		Says:           "One source tried many different tokens on a Ray cluster.",
		ATLAS:          []string{"AML.T0049"},
		ATTACK:         []string{"T1110"},
		Needs:          "Refusals over gRPC or HTTP in clear text.",
		FalsePositives: "A proxy in front of many users whose tokens were changed at once.",
		Story: detectors.Story{Role: detectors.RoleBefore, Group: detectors.GroupLook,
			Does: "guessed tokens of %", Techniques: []string{"T1110"},
		},
	},
	{
		Name: "ray/worm", Note: "Ray_Worm", Severity: detectors.Critical,
		Says: "A machine that runs Ray submitted jobs or code to several other Ray clusters, as the ShadowRay worm " +
			"does.",
		ATLAS:          []string{"AML.T0122", "AML.T0049"},
		ATTACK:         []string{"T1210", "T1570"},
		Needs:          "Jobs over HTTP or code over Ray Client in clear text.",
		FalsePositives: "A scheduler on a Ray node that serves several clusters, without a token or within its first minutes.",
		Story: detectors.Story{Group: detectors.GroupSpread, Sure: true, Grave: true,
			Does: "turned client to many Rays, % among them", Other: "further target", Techniques: []string{"AML.T0122", "T1210", "T1570"},
		},
	},
}

type pair struct{ a, b netip.Addr }

// member is what makes a machine a part of a cluster.
type member struct {
	at  capture.At
	why string
}

// took is code that a machine was given.
type took struct {
	at   capture.At
	from netip.Addr
}

// tries are tokens that were refused.
type tries struct {
	first  capture.Time
	tokens []string
	said   bool
}

// login is a token that was taken, and since when.
type login struct {
	first capture.Time
	hash  string
}

// spread is where a machine handed work to.
type spread struct {
	first   capture.Time
	targets []netip.Addr
	packets []uint64
	said    bool
}

type held struct {
	c    *raygrpc.Call
	at   capture.Time // when it was heard
	rule string
}

type detector struct {
	env     *detectors.Env
	bus     *detectors.Bus
	judge   *command.Judge
	names   *command.Names
	members detectors.Table[netip.Addr, member]
	before  detectors.Table[pair, struct{}]
	rays    detectors.Table[netip.Addr, struct{}]
	took    detectors.Table[netip.Addr, took]
	tries   detectors.Table[pair, tries]
	logins  detectors.Table[pair, login]
	spread  detectors.Table[netip.Addr, spread]
	wait    []held
	now     capture.Time
}

func newDetector(env *detectors.Env, bus *detectors.Bus) {
	d := &detector{env: env, bus: bus}
	d.members.Limit, d.before.Limit, d.rays.Limit = maxMembers, maxPairs, maxHosts
	d.took.Limit, d.tries.Limit, d.logins.Limit, d.spread.Limit = maxHosts, maxGuess, maxGuess, maxHosts
	d.names = command.NamesOf(env, bus)
	d.judge = command.New(env.Home, d.names.Inside)
	detectors.On(bus, d.connected)
	detectors.On(bus, d.call)
	detectors.On(bus, d.http)
	detectors.On(bus, d.redis)
	detectors.On(bus, func(p *capture.Progress) { d.clock(p.Time) })
	detectors.On(bus, d.ended)
}

func (d *detector) clock(now capture.Time) {
	d.now = max(d.now, now)
	for len(d.wait) > 0 && d.now.Sub(d.wait[0].at) > holdFor {
		h := d.wait[0]
		d.wait = d.wait[1:]
		d.stranger(h.c, h.rule)
	}
}

// ended lets go what waits in a flow that is over.
func (d *detector) ended(c *capture.Conn) {
	d.clock(c.Time)
	for i := 0; i < len(d.wait); i++ {
		if h := d.wait[i]; c.Flow != nil && h.c.Flow.UID == c.Flow.UID {
			d.wait = append(d.wait[:i:i], d.wait[i+1:]...)
			d.stranger(h.c, h.rule)
			i--
		}
	}
}

// ends gives the two machines of a flow; false if they are not two.
func ends(f *capture.Flow) (src, dst netip.Addr, ok bool) {
	if f == nil {
		return src, dst, false
	}
	src, dst = f.Orig.Addr().Unmap(), f.Resp.Addr().Unmap()
	return src, dst, !detectors.Special(src) && !detectors.Special(dst)
}

// connected notes who had a connection when the capture began.
func (d *detector) connected(c *http2.Call) {
	d.clock(c.Time)
	src, dst, ok := ends(c.Flow)
	if ok && c.Mid && d.env.Home.Contains(src) && d.env.Home.Contains(dst) {
		d.before.Put(pair{src, dst})
		d.before.Put(pair{dst, src})
	}
}

func (d *detector) isMember(a netip.Addr) bool { return d.members.Get(a) != nil }

func (d *detector) join(a netip.Addr, at capture.At, why string) {
	if !a.IsValid() || !d.env.Home.Contains(a) {
		return
	}
	if m := d.members.Put(a); m.why == "" {
		*m = member{at, why}
	}
}

// nodeMethods are what raylets, workers and agents call, and clients and tools do not.
var nodeMethods = map[string]bool{
	"WorkerInfoGcsService/AddWorkerInfo": true, "WorkerInfoGcsService/ReportWorkerFailure": true,
	"TaskInfoGcsService/AddTaskEventData": true, "HeartbeatInfoGcsService/ReportHeartbeat": true,
	"NodeResourceInfoGcsService/ReportResourceUsage": true, "ObservabilityPubSubService/GcsPublish": true,
	"AgentManagerService/RegisterAgent": true, "RayEventExportGcsService/AddEvents": true,
	"AutoscalerStateService/ReportAutoscalingState": true, "InternalPubSubGcsService/GcsPublish": true,
}

// learn takes what a call proves of its two machines.
func (d *detector) learn(c *raygrpc.Call, src, dst netip.Addr) {
	good := c.Outcome == raygrpc.Executed || c.Outcome == raygrpc.Answered
	mid := c.GRPC != nil && c.GRPC.Mid
	if good && c.Service != raygrpc.Unknown {
		d.rays.Put(dst)
		if d.env.Home.Contains(dst) {
			if m := d.members.Put(dst); m.why == "" {
				*m = member{c.At, "answers as " + string(c.Service)}
			}
		}
	}
	switch {
	case !d.env.Home.Contains(src) || !d.env.Home.Contains(dst):
	case c.Method == "NodeInfoGcsService/RegisterNode" && good:
		d.join(src, c.At, "registered as a node")
		d.join(c.Node, c.At, "registered as a node")
	case c.Method == "JobInfoGcsService/AddJob" && good:
		d.join(src, c.At, "added a job")
		d.join(c.Driver, c.At, "is the driver of a job")
	case nodeMethods[c.Method] && good:
		d.join(src, c.At, "does a node's work")
	case mid && c.Service != raygrpc.Client:
		d.join(src, c.At, "was connected before")
	}
}

func (d *detector) call(c *raygrpc.Call) {
	src, dst, ok := ends(c.Flow)
	if !ok {
		return
	}
	d.clock(c.Time)
	d.token(c.At, c.Flow, c.TokenHash, c.Outcome == raygrpc.NoToken, c.Outcome == raygrpc.Executed || c.Outcome == raygrpc.Answered)
	home, outside := d.env.Home.Contains(src), !d.env.Inside(src)
	if c.Method == "NodeInfoGcsService/RegisterNode" && d.foreign(c, src, dst, !home) {
		return
	}
	d.learn(c, src, dst)
	d.dropper(c, src, dst, outside)
	if c.Service == raygrpc.Client && c.Class == raygrpc.Exec && c.Outcome != raygrpc.Rejected {
		d.hand(c.At, c.Flow, "code over Ray Client")
	}
	if c.Class == raygrpc.Exec && (c.Outcome == raygrpc.Executed || c.Outcome == raygrpc.Unseen) && (outside || !d.isMember(src)) {
		*d.took.Put(dst) = took{c.At, src}
	}
	switch {
	case c.Service == raygrpc.Client:
		if outside {
			d.client(c)
		}
	case c.Service == raygrpc.Serve || c.Service == raygrpc.Other:
	case outside:
		d.external(c)
	case src == dst || !home: // a user outside is no member, and needs not be one
	case c.Class == raygrpc.Exec || c.Class == raygrpc.Write || c.Class == raygrpc.Secret:
		rule := "rayagent/direct"
		if c.Service == raygrpc.GCS {
			rule = "gcs/stranger"
		}
		if c.Service != raygrpc.Unknown && !c.Inferred {
			d.hold(c, rule)
		}
	}
}

// rate picks a severity by outcome.
func rate(o raygrpc.Outcome, done, unseen, tried detectors.Severity) (detectors.Severity, detectors.Outcome) {
	switch o {
	case raygrpc.Executed, raygrpc.Answered:
		return done, detectors.Succeeded
	case raygrpc.Unseen:
		return unseen, detectors.Unknown
	}
	return tried, detectors.Attempted
}

// client is somebody outside at Ray Client.
func (d *detector) client(c *raygrpc.Call) {
	sev, out := detectors.Medium, detectors.Observed
	session := c.Method == "RayletDataStreamer/Datapath" && len(c.Operations) == 1 && c.Operations[0] == "init" || c.Method == "RayletDriver/Init"
	switch {
	case session:
		sev, out = rate(c.Outcome, detectors.High, detectors.High, detectors.Medium)
	case c.Class == raygrpc.Exec:
		sev, out = rate(c.Outcome, detectors.Critical, detectors.High, detectors.Medium)
	case c.Class == raygrpc.Write || c.Class == raygrpc.Secret:
		sev, out = rate(c.Outcome, detectors.High, detectors.Medium, detectors.Medium)
	default:
		sev, out = rate(c.Outcome, detectors.Medium, detectors.Low, detectors.Low)
	}
	conf := 95
	if c.Auth == "bearer" && out == detectors.Succeeded {
		sev, conf = sev-1, 70 // whoever it is was given the token, or stole it
	}
	src := c.Flow.Orig.Addr().Unmap()
	var msg string
	switch {
	case session:
		msg = fmt.Sprintf("%s %s a Ray Client session on %s", src, tell(out, "opened", "tried to open"), rayfinding.HostPort(c.Flow))
	case c.Class == raygrpc.Exec && c.Function != "":
		msg = fmt.Sprintf("%s %s the function %s on the Ray cluster at %s", src, tell(out, "ran", "tried to run"), detectors.Clip(c.Function, 80), rayfinding.HostPort(c.Flow))
	case c.Class == raygrpc.Exec:
		msg = fmt.Sprintf("%s %s code to the Ray cluster at %s over Ray Client", src, tell(out, "sent", "tried to send"), rayfinding.HostPort(c.Flow))
	default:
		msg = fmt.Sprintf("%s %s on the Ray Client server at %s", src, tell(out, "called "+c.Method, "tried to call "+c.Method), rayfinding.HostPort(c.Flow))
	}
	d.report(c, "rayclient/external", sev, conf, out, msg+rayfinding.RefusedRPC(c), "")
}

// external is somebody outside at the GCS or behind it.
func (d *detector) external(c *raygrpc.Call) {
	rule, where := "gcs/external", "the GCS at "
	if c.Service != raygrpc.GCS && c.Service != raygrpc.Unknown {
		rule, where = "rayagent/direct", "the "+what(c.Service)+" at "
	}
	var sev detectors.Severity
	var out detectors.Outcome
	switch c.Class {
	case raygrpc.Exec:
		sev, out = rate(c.Outcome, detectors.Critical, detectors.High, detectors.Medium)
	case raygrpc.Write, raygrpc.Secret:
		sev, out = rate(c.Outcome, detectors.High, detectors.High, detectors.Medium)
	case raygrpc.State:
		sev, out = rate(c.Outcome, detectors.Medium, detectors.Low, detectors.Low)
	default:
		sev, out = rate(c.Outcome, detectors.Low, detectors.Low, detectors.Low)
	}
	conf := 95
	if c.Auth == "bearer" && out == detectors.Succeeded && sev > detectors.Info {
		sev, conf = sev-1, 70
	}
	if c.Inferred {
		conf = 60
	}
	done, try := verb(c)
	msg := fmt.Sprintf("%s %s on %s%s%s", c.Flow.Orig.Addr().Unmap(), tell(out, done, try), where, rayfinding.HostPort(c.Flow), rayfinding.RefusedRPC(c))
	d.report(c, rule, sev, conf, out, msg, "")
}

// redis is a command to the GCS of an old Ray. What comes between the machines of a home network is left to its owner:
// every driver writes there.
func (d *detector) redis(c *rayredis.Call) {
	src, dst, ok := ends(c.Flow)
	if !ok {
		return
	}
	d.clock(c.Time)
	good := c.Outcome == rayredis.Executed || c.Outcome == rayredis.Answered
	if good {
		d.rays.Put(dst)
		d.join(dst, c.At, "answers as GCS")
	}
	if d.env.Inside(src) {
		return
	}
	out, done, unseen, tried := raygrpc.Outcome(c.Outcome), detectors.Low, detectors.Low, detectors.Low
	switch c.Class {
	case rayredis.Exec:
		done, unseen, tried = detectors.Critical, detectors.High, detectors.Medium
	case rayredis.Write:
		done, unseen, tried = detectors.High, detectors.High, detectors.Medium
	case rayredis.State:
		done = detectors.Medium
	}
	if c.Command == "AUTH" && c.Auth == "default" {
		done = detectors.High // the password in Ray's source was taken: all of it is theirs
	}
	sev, outcome := rate(out, done, unseen, tried)
	command := detectors.Clip(strings.TrimSpace(c.Command+" "+c.Key), maxEvidence)
	does := tell(outcome, "ran "+command+" on", "tried to run "+command+" on")
	if c.Command == "AUTH" && c.Auth == "default" {
		does = tell(outcome, "logged in, with the password that is in Ray's source, to", "tried the password that is in Ray's source on")
	}
	msg := fmt.Sprintf("%s %s the GCS at %s, the Redis of a Ray before 1.11", src, does, rayfinding.HostPort(c.Flow))
	d.bus.Report(&detectors.Finding{
		At: c.At, Rule: "gcs/external", Severity: sev, Confidence: 95, Outcome: outcome, Msg: msg,
		Src: src, Dst: dst, Port: c.Flow.Resp.Port(), Flow: c.Flow, Count: 1,
		Evidence: []detectors.Evidence{{Field: "command", Value: command, Packet: c.Packet}},
	})
}

// hold keeps what a home machine did until it is clear whether it is a part of the cluster.
func (d *detector) hold(c *raygrpc.Call, rule string) {
	if d.known(c) {
		return
	}
	if len(d.wait) >= maxHeld {
		h := d.wait[0]
		d.wait = d.wait[1:]
		d.stranger(h.c, h.rule)
	}
	d.wait = append(d.wait, held{c, max(d.now, c.Time), rule})
}

func (d *detector) known(c *raygrpc.Call) bool {
	src, dst, _ := ends(c.Flow)
	return d.isMember(src) || d.before.Get(pair{src, dst}) != nil
}

// stranger judges a home machine that showed no part in the cluster.
func (d *detector) stranger(c *raygrpc.Call, rule string) {
	if src, dst, _ := ends(c.Flow); d.known(c) || c.Auth == "bearer" && d.trusted(src, dst, c.Time) {
		return
	}
	sev, out := rate(c.Outcome, detectors.Medium, detectors.Low, detectors.Low)
	if rule == "rayagent/direct" && c.Class == raygrpc.Exec {
		sev, out = rate(c.Outcome, detectors.High, detectors.Medium, detectors.Low)
	}
	where := "the GCS at "
	if c.Service != raygrpc.GCS {
		where = "the " + what(c.Service) + " at "
	}
	done, try := verb(c)
	msg := fmt.Sprintf("%s, which is no node and no driver of the cluster, %s on %s%s%s", c.Flow.Orig.Addr().Unmap(), tell(out, done, try), where, rayfinding.HostPort(c.Flow), rayfinding.RefusedRPC(c))
	conf := 70
	if c.Auth == "bearer" {
		conf = 40
	}
	d.report(c, rule, sev, conf, out, msg, "")
}

// foreign judges a node that registers. It says whether it spoke.
func (d *detector) foreign(c *raygrpc.Call, src, dst netip.Addr, outside bool) bool {
	name := "a node"
	if c.Node.IsValid() && c.Node != src {
		name = "the node " + c.Node.String()
	}
	if c.Host != "" {
		name += " (" + detectors.Clip(c.Host, 60) + ")"
	}
	if outside || c.Node.IsValid() && !d.env.Home.Contains(c.Node) {
		sev, out := rate(c.Outcome, detectors.Critical, detectors.High, detectors.Medium)
		msg := fmt.Sprintf("%s, outside the home networks, %s %s at the GCS at %s%s", src, tell(out, "registered", "tried to register"), name, rayfinding.HostPort(c.Flow), rayfinding.RefusedRPC(c))
		if !outside {
			msg = fmt.Sprintf("%s %s %s, whose address is outside the home networks, at the GCS at %s%s", src, tell(out, "registered", "tried to register"), name, rayfinding.HostPort(c.Flow), rayfinding.RefusedRPC(c))
		}
		d.report(c, "raynode/foreign", sev, 90, out, msg, "")
		return true
	}
	if near(src, dst) || d.isMember(src) {
		return false
	}
	sev, out := rate(c.Outcome, detectors.Medium, detectors.Medium, detectors.Low)
	msg := fmt.Sprintf("%s, in another network than the cluster, %s %s at the GCS at %s%s", src, tell(out, "registered", "tried to register"), name, rayfinding.HostPort(c.Flow), rayfinding.RefusedRPC(c))
	f := d.finding(c, "raynode/foreign", sev, 50, out, msg, "")
	f.Key = "raynode/foreign|" + dst.String() + "|" + network(src).String() // once for a network
	d.say(c, f)
	d.learn(c, src, dst)
	return true
}

// shared is the address space of RFC 6598, of which clouds give pods theirs.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// near says that two machines are in one network of the size that clusters have: pods of OpenShift are in 10.128.0.0/14
// and those of GKE in a /14, where nothing else was said; those of EKS may be anywhere in 100.64.0.0/10 (its documentation
// of custom networking). IPv6 has a /48 for a site.
func near(a, b netip.Addr) bool { return a.Is6() == b.Is6() && network(a).Contains(b) }

// network is that of one machine.
func network(a netip.Addr) netip.Prefix {
	bits := 14
	switch {
	case a.Is6():
		bits = 48
	case shared.Contains(a):
		bits = shared.Bits()
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// commands judges the texts of a call that may be commands, and gives the worst with its report. Constants of code are
// documentation and messages, too: what does not begin as a command does is none.
func (d *detector) commands(c *raygrpc.Call) (best string, r *command.Report) {
	r = d.judge.Begin()
	for i, s := range append(c.Commands, c.Entrypoint) {
		t := strings.TrimLeft(s, " \t\n;&|")
		if t == "" || i < len(c.Commands) && !d.judge.Runs(t) {
			continue
		}
		x := d.judge.Metered(c.At.Time, c.Flow.Orig.Addr().Unmap())
		x.Code("command", t)
		d.bus.LookWork += uint64(x.Work())
		if x.Short {
			d.bus.LooksCut++
		}
		if x.Score() > r.Score() {
			best, r = s, x
		}
	}
	return best, r
}

// dropper judges the pickles of a call.
func (d *detector) dropper(c *raygrpc.Call, src, dst netip.Addr, outside bool) {
	if c.Service != raygrpc.Client && !outside && d.isMember(src) {
		return // from node to node: somebody else's function on its way
	}
	var field, value, says string
	var conf int
	runs := len(c.Uses) > 0 || len(c.Globals) > 0
	best, report := d.commands(c)
	score := report.Score()
	lowest := command.Suspicious
	if outside {
		lowest = outsideScore
	}
	if score < lowest {
		best = ""
	}
	switch {
	case len(c.Calls) > 0:
		field, value, conf = "pickle calls", strings.Join(c.Calls, ", "), 95
		says = "calls " + detectors.Clip(c.Calls[0], 60) + " while it is loaded"
		if len(c.Commands) > 0 {
			says += ": " + detectors.Clip(c.Commands[0], 160)
		}
	case best != "" && (runs || c.Entrypoint == best):
		field, value, conf = "command", best, 85
		says = "runs " + detectors.Clip(best, 160)
	case best != "" && outside:
		field, value, conf = "command", best, 60
		says = "holds the command " + detectors.Clip(best, 160)
	case outside && len(c.Globals) > 0:
		field, value, conf = "pickle names", strings.Join(c.Globals, ", "), 70
		says = "refers to " + detectors.Clip(c.Globals[0], 60)
	default:
		return
	}
	done, unseen, tried := detectors.High, detectors.High, detectors.Medium
	if outside {
		done = detectors.Critical
	}
	if conf == 60 || conf == 70 {
		done, unseen = detectors.High, detectors.Medium
	}
	if best != "" && len(c.Calls) == 0 && !outside && score < command.Certain {
		done, unseen, tried = detectors.Medium, detectors.Medium, detectors.Low
	}
	sev, out := rate(c.Outcome, done, unseen, tried)
	what := "A pickle"
	if c.Function != "" {
		what = "The function " + detectors.Clip(c.Function, 60)
	}
	if c.Entrypoint == best && best != "" {
		what = "A job"
	}
	msg := fmt.Sprintf("%s that %s sent to the Ray cluster at %s %s%s", what, src, rayfinding.HostPort(c.Flow), says, rayfinding.RefusedRPC(c))
	f := d.finding(c, "rayclient/dropper", sev, conf, out, msg, "")
	f.Evidence = evidence(c)[:1]
	at := packet(c)
	f.Evidence = append(f.Evidence, detectors.Evidence{Field: field, Value: detectors.Clip(value, maxEvidence), Packet: at})
	if len(c.Uses) > 0 && field != "pickle calls" {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "code uses", Value: detectors.Clip(strings.Join(c.Uses, ", "), maxEvidence), Packet: at})
	}
	if best != "" && field == "command" {
		f.Sub = "the command " + report.Best().Says
	}
	d.bus.Report(f)
}

// http reads Ray's HTTP interfaces for tokens, worms and the agent.
func (d *detector) http(c *ray.Call) {
	src, dst, ok := ends(c.Flow)
	if !ok {
		return
	}
	d.clock(c.Time)
	d.token(c.At, c.Flow, c.TokenHash, c.Outcome == ray.BlockedToken, c.Outcome == ray.Executed || c.Outcome == ray.Answered)
	good := c.Outcome == ray.Executed || c.Outcome == ray.Answered
	if c.Confirmed && good {
		d.rays.Put(dst)
		if d.env.Home.Contains(dst) && c.Service != ray.Serve && !c.Proxied {
			d.join(dst, c.At, "answers as Ray")
		}
	}
	internal := c.Client == ray.Internal && d.env.Home.Contains(src) && d.env.Home.Contains(dst)
	if !c.Job || internal || c.Proxied {
		return
	}
	if c.Outcome == ray.Executed || c.Outcome == ray.Unknown {
		d.hand(c.At, c.Flow, "jobs")
		if !d.isMember(src) || !d.env.Home.Contains(src) {
			*d.took.Put(dst) = took{c.At, src}
		}
	}
}

// hand notes that a machine handed work to another.
func (d *detector) hand(at capture.At, flow *capture.Flow, how string) {
	src, dst, _ := ends(flow)
	if !d.env.Home.Contains(src) || src == dst {
		return
	}
	given := d.took.Get(src)
	if given == nil && d.rays.Get(src) == nil {
		return // no Ray of its own: a user
	}
	if given == nil && d.isMember(dst) {
		return // from node to node
	}
	if given == nil && d.trusted(src, dst, at.Time) {
		return // a driver of several clusters
	}
	s := d.spread.Put(src)
	if s.first == 0 || at.Time.Sub(s.first) > wormWindow {
		*s = spread{first: at.Time}
	}
	for _, t := range s.targets {
		if t == dst {
			return
		}
	}
	if len(s.targets) >= maxTargets {
		return
	}
	s.targets, s.packets = append(s.targets, dst), append(s.packets, at.Packet)
	if s.said || len(s.targets) < wormTargets {
		return
	}
	s.said = true
	sev, conf, sub := detectors.High, 75, ""
	if given != nil {
		sev, conf = detectors.Critical, 95
		sub = fmt.Sprintf("%s was given code itself by %s in packet %d", src, given.from, given.at.Packet)
	}
	msg := fmt.Sprintf("%s, which runs Ray, handed %s to %d other Rays within %s", src, how, len(s.targets), span(at.Time.Sub(s.first)))
	f := &detectors.Finding{
		At: at, Rule: "ray/worm", Severity: sev, Confidence: conf, Outcome: detectors.Observed, Msg: msg, Sub: sub,
		Src: src, Dst: dst, Port: flow.Resp.Port(), Flow: flow, Count: 1, Key: "ray/worm|" + src.String(),
	}
	for i, t := range s.targets {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "target", Value: t.String(), Packet: s.packets[i]})
	}
	if given != nil {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "given by", Value: given.from.String(), Packet: given.at.Packet})
	}
	d.bus.Report(f)
}

func span(t time.Duration) string {
	if t < time.Minute {
		return "a minute"
	}
	return fmt.Sprintf("%d minutes", int(t/time.Minute)+1)
}

// trusted says that a source has come to a cluster with one token for a while.
func (d *detector) trusted(src, dst netip.Addr, at capture.Time) bool {
	l := d.logins.Get(pair{src, dst})
	return l != nil && at.Sub(l.first) >= history
}

// token follows the tokens that a source tries.
func (d *detector) token(at capture.At, flow *capture.Flow, hash string, refused, taken bool) {
	src, dst, _ := ends(flow)
	if hash == "" || !refused && !taken {
		return
	}
	key := pair{src, dst}
	if taken {
		if l := d.logins.Put(key); l.hash != hash {
			*l = login{at.Time, hash}
		}
		t := d.tries.Get(key)
		if t == nil || !t.said || at.Time.Sub(t.first) > guessWindow {
			return
		}
		for _, h := range t.tokens {
			if h == hash {
				return
			}
		}
		msg := fmt.Sprintf("%s found a token of the Ray cluster at %s after %d wrong ones", src, rayfinding.HostPort(flow), len(t.tokens))
		d.guess(at, flow, detectors.High, 85, detectors.Succeeded, msg, t, hash)
		*t = tries{}
		return
	}
	t := d.tries.Put(key)
	if t.first == 0 || at.Time.Sub(t.first) > guessWindow {
		*t = tries{first: at.Time}
	}
	for _, h := range t.tokens {
		if h == hash {
			return
		}
	}
	if len(t.tokens) < maxTokens {
		t.tokens = append(t.tokens, hash)
	}
	if t.said || len(t.tokens) < guesses {
		return
	}
	t.said = true
	msg := fmt.Sprintf("%s tried %d different tokens on the Ray cluster at %s", src, len(t.tokens), rayfinding.HostPort(flow))
	d.guess(at, flow, detectors.Medium, 80, detectors.Attempted, msg, t, hash)
}

func (d *detector) guess(at capture.At, flow *capture.Flow, sev detectors.Severity, conf int, out detectors.Outcome, msg string, t *tries, last string) {
	src, dst, _ := ends(flow)
	f := &detectors.Finding{
		At: at, Rule: "raytoken/guessing", Severity: sev, Confidence: conf, Outcome: out, Msg: msg,
		Src: src, Dst: dst, Port: flow.Resp.Port(), Flow: flow, Count: 1,
	}
	f.Evidence = append(f.Evidence, detectors.Evidence{Field: "last token, hashed", Value: last, Packet: at.Packet})
	f.Evidence = append(f.Evidence, detectors.Evidence{Field: "refused tokens, hashed", Value: detectors.Clip(strings.Join(t.tokens, " "), maxEvidence), Packet: at.Packet})
	d.bus.Report(f)
}

// packet is where the request that a call rests on was complete.
func packet(c *raygrpc.Call) uint64 {
	if c.GRPC != nil && len(c.GRPC.RequestMessages) > 0 {
		return c.GRPC.RequestMessages[0].Packet
	}
	return c.Packet
}

// report says a finding about a call, and has its evidence written where it stands alone.
func (d *detector) report(c *raygrpc.Call, rule string, sev detectors.Severity, conf int, out detectors.Outcome, msg, sub string) {
	d.say(c, d.finding(c, rule, sev, conf, out, msg, sub))
}

func (d *detector) say(c *raygrpc.Call, f *detectors.Finding) {
	d.bus.Draft(detectors.Draft{Finding: f, Write: func(f *detectors.Finding) { f.Evidence = evidence(c) }})
}

func (d *detector) finding(c *raygrpc.Call, rule string, sev detectors.Severity, conf int, out detectors.Outcome, msg, sub string) *detectors.Finding {
	return &detectors.Finding{
		At: c.At, Rule: rule, Severity: sev, Confidence: conf, Outcome: out, Msg: msg, Sub: sub,
		Src: c.Flow.Orig.Addr().Unmap(), Dst: c.Flow.Resp.Addr().Unmap(), Port: c.Flow.Resp.Port(), Flow: c.Flow, Count: 1,
	}
}

// evidence is what a finding about a call rests on: what was called, first.
func evidence(c *raygrpc.Call) (list []detectors.Evidence) {
	at := packet(c)
	add := func(field, value string, at uint64) {
		if value != "" && at != 0 {
			list = append(list, detectors.Evidence{Field: field, Value: detectors.Clip(value, maxEvidence), Packet: at})
		}
	}
	method := c.Method
	if method == "" {
		method = "unknown method"
	}
	if len(c.Operations) > 0 {
		method += " (" + strings.Join(c.Operations, ", ") + ")"
	}
	add("call", method, max(c.Packet, 1))
	if c.Key != "" || c.Namespace != "" {
		add("key", strings.TrimPrefix(c.Namespace+"/"+c.Key, "/"), at)
	}
	add("function", c.Function, at)
	add("code uses", strings.Join(c.Uses, ", "), at)
	if len(c.Commands) > 0 {
		add("command", c.Commands[0], at)
	}
	add("entrypoint", c.Entrypoint, at)
	if len(c.URIs) > 0 {
		add("runtime_env", c.URIs[0], at)
	}
	if c.GRPC != nil {
		add("user_agent", c.GRPC.UserAgent, c.Packet)
		if len(c.GRPC.ResponseMessages) > 0 && c.Status != "" {
			add("answer", c.Status, c.GRPC.ResponseMessages[0].Packet)
		}
	}
	return list
}

func what(s raygrpc.Service) string {
	switch s {
	case raygrpc.Raylet:
		return "raylet"
	case raygrpc.Worker:
		return "Ray worker"
	case raygrpc.Objects:
		return "object manager"
	case raygrpc.Agent:
		return "Ray agent"
	}
	return "Ray server"
}

// verb says what a call did, and what it tried.
func verb(c *raygrpc.Call) (done, try string) {
	key := detectors.Clip(strings.TrimPrefix(c.Namespace+"/"+c.Key, "/"), 80)
	_, m, _ := strings.Cut(c.Method, "/")
	switch {
	case m == "InternalKVPut" && c.Class == raygrpc.Exec:
		return "wrote the key " + key + ", from which workers load code,", "tried to write the key " + key + ", from which workers load code,"
	case m == "InternalKVPut":
		return "wrote the key " + key, "tried to write the key " + key
	case m == "InternalKVDel":
		return "deleted the key " + key, "tried to delete the key " + key
	case m == "InternalKVKeys":
		return fmt.Sprintf("listed %d keys", c.Keys), "tried to list the keys"
	case m == "InternalKVGet" || m == "InternalKVMultiGet":
		return "read the key " + key, "tried to read the key " + key
	case m == "RegisterActor" || m == "CreateActor":
		return "created the actor " + detectors.Clip(c.Function, 80), "tried to create the actor " + detectors.Clip(c.Function, 80)
	case m == "PushTask":
		return "ran the task " + detectors.Clip(c.Function, 80), "tried to run the task " + detectors.Clip(c.Function, 80)
	case m == "AddJob":
		return "added a job", "tried to add a job"
	case m == "":
		return "called an unknown method", "tried to call an unknown method"
	}
	return "called " + c.Method, "tried to call " + c.Method
}

func tell(o detectors.Outcome, done, try string) string {
	if o == detectors.Succeeded || o == detectors.Observed {
		return done
	}
	return try
}
