package assets

import "github.com/raytap/raytap/capture"

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "assets",
		When: "When a Ray cluster or another AI server is first seen, when what it is or who reaches it changes, and at the end of a run.",
		Row:  &Row{},
		Columns: []capture.Column{
			{Name: "ts", Doc: "Time of the reported event."},
			{Name: "asset", Doc: "ID of the asset: its kind and the address at which it was first seen. It never changes."},
			{Name: "kind", Doc: "Product: `ray`, or another such as `ollama` or `jupyter`."},
			{Name: "change", Doc: "Reason for the row: never seen before, in this run or an earlier one; changed; still there.", Values: []string{New, Changed, Seen}},
			{Name: "local", Doc: "Whether it is in the home networks."},
			{Name: "grade", Doc: "Observed exposure: A requires a token, inside only, over TLS; B as A, in clear text; C open to all machines inside, or requires a token and is reachable from outside; D open inside, in a version with known vulnerabilities; E reachable from outside, with something open; F answered outsiders without requiring a token; ? unknown whether a token is required; - not in the home networks.",
				Values: []string{GradeA, GradeB, GradeC, GradeD, GradeE, GradeF, GradeUnknown, GradeNone}},
			{Name: "reason", Doc: "Reasons for the grade."},
			{Name: "version", Doc: "Version of the software."},
			{Name: "commit", Doc: "Commit of the build."},
			{Name: "python", Doc: "Version of Python on the server."},
			{Name: "session_name", Doc: "Session of the Ray cluster, the most recent."},
			{Name: "cluster_id", Doc: "ID of the Ray cluster, the most recent: each start of the cluster creates a new one."},
			{Name: "heads", Doc: "Addresses of head nodes; for other products, of servers."},
			{Name: "workers", Doc: "Addresses of the other nodes."},
			{Name: "peers", Doc: "Addresses that were connected to the cluster when the capture began, and may be nodes."},
			{Name: "ports", Doc: "Listening services: `10.20.0.10:6379 gcs`. Workers of one machine form one range.", Fields: []capture.Field{
				{Name: "addr", Type: "addr", Doc: "Address of the machine."},
				{Name: "port", Type: "port", Doc: "Port, or the first port of a range."},
				{Name: "last", Type: "port", Optional: true, Doc: "Last port of a range."},
				{Name: "role", Type: "string", Doc: "Service that listens there: `gcs`, `dashboard`."},
				{Name: "n", Type: "count", Unit: "ports", Optional: true, Doc: "Number of ports of a range that were seen."},
			}},
			{Name: "auth", Doc: "Whether it requires a token: none, at all services, or at some.", Values: []string{"none", "token", "mixed"}},
			{Name: "tls", Doc: "Whether its traffic is encrypted.", Values: []string{"yes", "no", "mixed"}},
			{Name: "proxies", Doc: "Proxies in front of it: `10.20.0.30:80/ray nginx/1.22.1 (ray.example.org)`, that is address, path, software and the name that clients use.", Fields: []capture.Field{
				{Name: "addr", Type: "addr", Doc: "Its address."},
				{Name: "port", Type: "port", Doc: "Its port."},
				{Name: "prefix", Type: "string", Optional: true, Doc: "Path under which the proxy serves it."},
				{Name: "server", Type: "string", Optional: true, Doc: "Its software."},
				{Name: "host", Type: "string", Optional: true, Doc: "Name that clients use."},
			}},
			{Name: "clients_inside", Unit: "addresses", Doc: "Clients in the home networks."},
			{Name: "clients_outside", Unit: "addresses", Doc: "Clients elsewhere."},
			{Name: "client_kinds", Doc: "Kinds of clients with their number of calls, the busiest first: `sdk 5`.", Fields: []capture.Field{
				{Name: "kind", Type: "string", Doc: "Kind of client."},
				{Name: "n", Type: "count", Unit: "calls", Doc: "Its calls."},
			}},
			{Name: "outsiders", Doc: "Addresses of clients elsewhere, at most 16."},
			{Name: "cves", Doc: "Known vulnerabilities of the version."},
			{Name: "first_seen", Doc: "Time it was first seen."},
			{Name: "last_seen", Doc: "Time it was last seen."},
			{Name: "was", Doc: "Other IDs that earlier rows used before the assets were merged."},
		},
	}}
}
