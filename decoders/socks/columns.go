package socks

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "socks",
		When: "When a SOCKS proxy has answered a request, or the connection ends before it does.",
		Row:  &Request{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the request, or of the login before it."}}, capture.FlowColumns(), []capture.Column{
			{Name: "version", Doc: "4 or 5."},
			{Name: "user", Doc: "User that logs in."},
			{Name: "password", Doc: "Never set, because it is a password."},
			{Name: "status", Doc: "The proxy's reply: `succeeded`, `general SOCKS server failure` and so on."},
			{Name: "request.host", Doc: "Address that the client wants to reach, if it gives one."},
			{Name: "request.name", Doc: "Name that the client wants to reach, if it gives one."},
			{Name: "request_p", Doc: "Port that the client wants to reach."},
			{Name: "bound.host", Doc: "Address that the proxy reaches it from."},
			{Name: "bound.name", Doc: "The same as a name, if the proxy sends one."},
			{Name: "bound_p", Doc: "Port that the proxy reaches it from."},
		}),
	}}
}
