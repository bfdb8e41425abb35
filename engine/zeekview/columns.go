package zeekview

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "tunnel",
		When: "When a tunnel, or a proxy for a pair of hosts, is first seen to carry a connection, and when it ends or has carried nothing new for an hour.",
		Row:  &tunnelRow{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of that."}}, capture.FlowColumns(), []capture.Column{
			{Name: "tunnel_type", Doc: "Kind of tunnel: `Tunnel::VXLAN`, `Tunnel::GRE`, `Tunnel::HTTP` and so on."},
			{Name: "action", Doc: "What happened to it.", Values: []string{"Tunnel::DISCOVER", "Tunnel::CLOSE", "Tunnel::EXPIRE"}},
		}),
	}}
}
