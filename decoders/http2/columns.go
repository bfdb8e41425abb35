package http2

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "grpc",
		When: "When a gRPC call ends, or its connection does.",
		Row:  &Call{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the packet that completed the request's header, or with which the call was first seen."}}, capture.FlowColumns(), []capture.Column{
			{Name: "service", Doc: "Service with its package: `ray.rpc.InternalKVGcsService`. Unset if the path was sent before the capture began."},
			{Name: "method", Doc: "Method: `InternalKVPut`."},
			{Name: "authority", Doc: "Host and port that the client addresses."},
			{Name: "user_agent", Doc: "Library of the client."},
			{Name: "grpc_status", Doc: "Status with which the server ended the call: 0 is success. Unset if it was not seen."},
			{Name: "grpc_message", Doc: "The server's status message."},
			{Name: "request_msgs", Unit: "messages", Doc: "Complete messages of the client."},
			{Name: "request_bytes", Unit: "bytes", Doc: "Bytes the client sent in them, as on the wire, without padding."},
			{Name: "response_msgs", Unit: "messages", Doc: "Complete messages of the server."},
			{Name: "response_bytes", Unit: "bytes", Doc: "Bytes the server sent in them."},
			{Name: "mid", Doc: "The connection began before the capture, or part of the request's header was lost: unset columns may have had values."},
		}),
	}}
}
