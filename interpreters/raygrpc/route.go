package raygrpc

import (
	"strings"

	"github.com/raytap/raytap/decoders/http2"
)

// Service is the part of Ray that is called.
type Service string

// Services.
const (
	Client  Service = "client" // Ray Client: 10001 and 23000 to 23999
	GCS     Service = "gcs"    // the global control service: 6379
	Raylet  Service = "raylet"
	Worker  Service = "worker"
	Objects Service = "objects" // the object manager
	Agent   Service = "agent"   // of the dashboard, on every node
	Serve   Service = "serve"
	Other   Service = "other"   // Ray's, but of no listed service
	Unknown Service = "unknown" // Ray's by its metadata, path unknown
)

// Class says what a call can do.
type Class string

// Classes, from the worst on.
const (
	Exec   Class = "exec"   // runs code of the caller's
	Write  Class = "write"  // changes or destroys
	Secret Class = "secret" // reads what may hold credentials or code
	State  Class = "state"  // reads the state of the cluster
	Info   Class = "info"   // says that it is there
)

func (c Class) rank() int {
	switch c {
	case Exec:
		return 4
	case Write:
		return 3
	case Secret:
		return 2
	case State:
		return 1
	}
	return 0
}

// services of the packages ray.rpc and below, by the last part of their name.
var services = map[string]Service{
	"RayletDriver": Client, "RayletDataStreamer": Client, "RayletLogStreamer": Client,

	"ActorInfoGcsService": GCS, "ControlPlanePubSubGcsService": GCS, "HeartbeatInfoGcsService": GCS,
	"InternalKVGcsService": GCS, "InternalPubSubGcsService": GCS, "JobInfoGcsService": GCS, "MonitorGcsService": GCS,
	"NodeInfoGcsService": GCS, "NodeResourceInfoGcsService": GCS, "ObjectInfoGcsService": GCS,
	"ObservabilityPubSubService": GCS, "PlacementGroupInfoGcsService": GCS, "RayEventExportGcsService": GCS,
	"RuntimeEnvGcsService": GCS, "StatsGcsService": GCS, "TaskInfoGcsService": GCS, "WorkerInfoGcsService": GCS,
	"AutoscalerStateService": GCS, "InstanceManagerService": GCS, "RaySyncer": GCS,

	"NodeManagerService": Raylet, "AgentManagerService": Raylet,
	"CoreWorkerService": Worker, "PublisherService": Worker, "SubscriberService": Worker,
	"ObjectManagerService": Objects,
	"ReporterService":      Agent, "LogService": Agent, "JobAgentService": Agent, "RuntimeEnvService": Agent,
	"EventAggregatorService": Agent, "ReportEventService": Agent,
}

// classes of methods that differ from what their names begin with.
var classes = map[string]Class{
	"RayletDataStreamer/Datapath": Exec, "RayletDriver/Init": Exec, "RayletDriver/Schedule": Exec, "RayletDriver/PutObject": Exec,
	"RayletDriver/KVPut": Write, "RayletDriver/KVDel": Write, "RayletDriver/KVGet": Secret, "RayletDriver/KVList": State,
	"RayletDriver/KVExists": State, "RayletDriver/Terminate": Write, "RayletDriver/ClusterInfo": Info,
	"RayletDriver/GetObject": Secret, "RayletDriver/WaitObject": State, "RayletDriver/PrepRuntimeEnv": Write,
	"RayletDriver/ListNamedActors": State, "RayletDriver/PinRuntimeEnvURI": State, "RayletLogStreamer/Logstream": State,

	"ActorInfoGcsService/RegisterActor": Exec, "ActorInfoGcsService/CreateActor": Exec,
	"InternalKVGcsService/InternalKVPut": Write, "InternalKVGcsService/InternalKVDel": Write,
	"InternalKVGcsService/InternalKVGet": State, "InternalKVGcsService/InternalKVMultiGet": State,
	"InternalKVGcsService/InternalKVKeys": State, "InternalKVGcsService/InternalKVExists": State,
	"NodeInfoGcsService/RegisterNode": Write, "NodeInfoGcsService/GetClusterId": Info, "NodeInfoGcsService/CheckAlive": Info,
	"HeartbeatInfoGcsService/CheckAlive": Info, "MonitorGcsService/GetRayVersion": Info,
	"JobInfoGcsService/GetAllJobInfo": Secret, "JobInfoGcsService/GetNextJobID": State,
	"ActorInfoGcsService/GetAllActorInfo": Secret, "TaskInfoGcsService/GetTaskEvents": Secret,
	"NodeManagerService/RequestWorkerLease": Exec, "CoreWorkerService/PushTask": Exec, "CoreWorkerService/RunOnUtilWorker": Exec,
	"ObjectManagerService/Push": Write, "ObjectManagerService/Pull": Secret, "ObjectManagerService/FreeObjects": Write,
	"ReporterService/CpuProfiling": Write, "ReporterService/MemoryProfiling": Write, "ReporterService/GpuProfiling": Write,
	"ReporterService/GetTraceback": Secret, "LogService/ListLogs": Secret, "LogService/StreamLog": Secret,
	"RuntimeEnvService/CreateRuntimeEnv": Exec, "RuntimeEnvService/GetOrCreateRuntimeEnv": Exec,
	"JobAgentService/InitializeJobEnv": Exec, "RaySyncer/StartSync": State,
	"RayServeAPIService/ListApplications": Info, "RayServeAPIService/Healthz": Info,
}

// route says what a call's full service name and method are.
func route(c *http2.Call) (Service, string, Class) {
	pkg, name, ok := cutLast(c.Service)
	if !ok || pkg != "ray" && !strings.HasPrefix(pkg, "ray.") {
		return "", "", ""
	}
	method := c.Method
	full := c.Path[min(len(pkg)+2, len(c.Path)):] // behind "/" and the package's name
	if len(full) != len(name)+1+len(method) || full[:len(name)] != name || full[len(name)+1:] != method {
		full = name + "/" + method
	}
	s, ok := services[name]
	if !ok {
		s = Other
		if pkg == "ray.serve" {
			s = Serve
		}
	}
	if c, ok := classes[full]; ok {
		return s, full, c
	}
	for _, p := range [...]string{"Get", "List", "Check", "Wait", "Poll", "Health", "Is", "Num", "Format", "Pubsub", "GcsSubscriber"} {
		if strings.HasPrefix(method, p) {
			return s, full, State
		}
	}
	return s, full, Write
}
