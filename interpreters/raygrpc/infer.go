package raygrpc

import (
	"bytes"
	"strings"

	"github.com/raytap/raytap/decoders/chars"
	"github.com/raytap/raytap/decoders/http2"
)

// infer names a call whose path was said before the capture began, by its metadata, which Ray does not put into the
// table, and by the shapes of its messages. It names only what nothing else looks like.
func (r *Call) infer() {
	c := r.GRPC
	client := chars.IsHex(c.Meta("client_id"), 32)
	if client && c.Meta("reconnecting") != "" || dataRequests(c.RequestMessages) {
		r.inferred(Client, "RayletDataStreamer/Datapath", Exec)
		return
	}
	if len(c.RequestMessages) > 0 {
		if r.inferRequest(&c.RequestMessages[0], client) {
			return
		}
		if r.reported(bytesAt(c.RequestMessages[0].Data, 1)) {
			r.inferred(GCS, "GcsPublish", Write) // of one service up to 2.55 and of another one since
			return
		}
		if c.RequestMessages[0].Len == 0 && len(c.ResponseMessages) > 0 {
			// The GCS asks every raylet each second what it has left.
			if b := bytesAt(c.ResponseMessages[0].Data, 1); len(bytesAt(b, 1)) == 28 && resource(bytesAt(b, 2, 1)) {
				r.inferred(Raylet, "NodeManagerService/GetResourceLoad", State)
				r.NodeID = id(bytesAt(b, 1), 28)
				return
			}
		}
	}
	if client {
		r.inferred(Client, "", State)
		return
	}
	if chars.IsHex(c.Meta("ray_cluster_id"), 56) {
		r.inferred(Unknown, "", State)
		if c.Flow != nil && c.Flow.Resp.Port() == 6379 {
			r.Service = GCS
		}
	}
}

func (r *Call) inferred(s Service, method string, class Class) {
	r.Service, r.Method, r.Class, r.Inferred = s, method, class, true
}

// inferRequest names the call by its first message, and reports whether it could. client says that it is of a Ray Client.
func (r *Call) inferRequest(m *http2.Message, client bool) bool {
	b := m.Data
	s, ok := shapeOf(b, m.Cut)
	if !ok || s.fields == 0 {
		return false
	}
	switch {
	case s.only(bits(3), bits(1, 2, 4)) && s.data&bits(1, 2) == bits(1, 2) && knownKey(bytesAt(b, 4), bytesAt(b, 1)):
		if client {
			r.inferred(Client, "RayletDriver/KVPut", Write)
		} else {
			r.inferred(GCS, "InternalKVGcsService/InternalKVPut", Write)
		}
	case s.only(0, bits(1, 2)) && s.data&bits(1) != 0 && knownKey(bytesAt(b, 2), bytesAt(b, 1)):
		if client {
			r.inferred(Client, "RayletDriver/KVGet", State)
		} else {
			r.inferred(GCS, "InternalKVGcsService/InternalKVGet", State)
		}
	case s.num == 0 && s.data == bits(1) && len(bytesAt(b, 1, 1)) == 28 && addr(bytesAt(b, 1, 2)).IsValid() && numAt(b, 1, 5) > 0:
		r.inferred(GCS, "NodeInfoGcsService/RegisterNode", Write)
	case s.num == 0 && s.data == bits(1) && len(bytesAt(b, 1, 1)) == 4 && addr(bytesAt(b, 1, 4)).IsValid():
		r.inferred(GCS, "JobInfoGcsService/AddJob", Write)
	case s.data&bits(1, 2) == bits(1, 2) && len(bytesAt(b, 1)) == 28 && isTask(bytesAt(b, 2)):
		r.inferred(Worker, "CoreWorkerService/PushTask", Exec)
	case s.data&bits(1) != 0 && isTask(bytesAt(b, 1)):
		// A lease, or an actor that is registered: both begin with a TaskSpec. The lease is the commoner.
		r.inferred(Raylet, "NodeManagerService/RequestWorkerLease", Exec)
	default:
		return false
	}
	return true
}

// dataRequests says that messages are those of a Ray client: numbered, with one operation each, and at least one of
// them unmistakable.
func dataRequests(msgs []http2.Message) bool {
	sure := false
	for i := range msgs {
		s, ok := shapeOf(msgs[i].Data, msgs[i].Cut)
		if !ok || s.fields == 0 || s.fields > 2 || !s.only(bits(1), bits(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)) || s.data == 0 || s.data&(s.data-1) != 0 {
			return false
		}
		b := msgs[i].Data
		switch {
		case isPickle(bytesAt(b, 6, 1)) && bytes.Contains(bytesAt(b, 6, 1), []byte("ray.job_config")),
			chars.IsHex(string(bytesAt(b, 10, 6)), 32),
			isPickle(bytesAt(b, 3, 1)) && s.num != 0,
			chars.IsHex(string(bytesAt(b, 11, 1)), 32):
			sure = true
		}
	}
	return sure
}

// resource says that a name is one of the resources that every node has.
func resource(name []byte) bool {
	switch string(name) {
	case "CPU", "memory", "object_store_memory":
		return true
	}
	return bytes.HasPrefix(name, []byte("node:"))
}

// isTask says that b is a TaskSpec: a function of Python, a job of four bytes and a task of 24.
func isTask(b []byte) bool {
	return len(bytesAt(b, 5)) == 4 && len(bytesAt(b, 6)) == 24
}

// knownKey says that a key or namespace of the internal KV is Ray's own.
func knownKey(ns, key []byte) bool {
	switch string(ns) {
	case "fun", "job", "session", "cluster", "dashboard", "tracing", "usage_stats", "serve", "workflow", "collective", "__autoscaler", "healthcheck", "metrics", "package":
		return len(key) > 0
	}
	if len(ns) > 0 && len(ns) != 4 {
		return false
	}
	for _, p := range [...]string{"RemoteFunction:", "ActorClass:", "gcs://_ray_pkg_", "_ray_internal_", "__autoscaling_", "__autoscaler", "usage_stats", "ray-serve-", "CLUSTER_METADATA", "head_node_id"} {
		if strings.HasPrefix(string(key[:min(len(key), 32)]), p) {
			return true
		}
	}
	return false
}
