package assets

import "github.com/raytap/raytap/capture"

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "assets",
		When: "When a Ray cluster or another AI server is first seen, when what it is or who reaches it changes, and at the end of a run.",
		Row:  &Row{},
		Columns: []capture.Column{
			{Name: "ts", Doc: "Time of what the row tells of."},
			{Name: "asset", Doc: "Id of the asset: its kind and the address at which it was first seen. It stays, whatever the asset becomes."},
			{Name: "kind", Doc: "What it is: `ray`, or the product, as `ollama` or `jupyter`."},
			{Name: "change", Doc: "Why there is a row: never seen before, in this run or one before it; changed; still there.", Values: []string{New, Changed, Seen}},
			{Name: "local", Doc: "Whether it is in the home networks."},
			{Name: "grade", Doc: "Exposure as it was seen: A asks for a token, inside only, over TLS; B the same in clear; C open to everybody inside, or asks for a token and outsiders see it; D open inside, of a version with holes; E outsiders reach it and something about it is open; F answered outsiders without asking for a token; ? nothing tells whether a token is asked for; - not at home.",
				Values: []string{GradeA, GradeB, GradeC, GradeD, GradeE, GradeF, GradeUnknown, GradeNone}},
			{Name: "reason", Doc: "Why it has this grade, in words."},
			{Name: "version", Doc: "Version of the software."},
			{Name: "commit", Doc: "Commit that it was built from."},
			{Name: "python", Doc: "Version of Python on the server."},
			{Name: "session_name", Doc: "Session of a Ray cluster, the newest."},
			{Name: "cluster_id", Doc: "Id of a Ray cluster, the newest: there is a new one with each of its starts."},
			{Name: "heads", Doc: "Addresses of head nodes; of another product, of its servers."},
			{Name: "workers", Doc: "Addresses of the other nodes."},
			{Name: "peers", Doc: "Addresses that were connected to the cluster when the capture began, and may be nodes."},
			{Name: "ports", Doc: "What listens where: `10.20.0.10:6379 gcs`. Workers of one machine are one range.", Fields: []capture.Field{
				{Name: "addr", Type: "addr", Doc: "Address of the machine."},
				{Name: "port", Type: "port", Doc: "Port, of a range the first."},
				{Name: "last", Type: "port", Optional: true, Doc: "Last port of a range."},
				{Name: "role", Type: "string", Doc: "What listens there: `gcs`, `dashboard`."},
				{Name: "n", Type: "count", Unit: "ports", Optional: true, Doc: "How many of a range were seen."},
			}},
			{Name: "auth", Doc: "Whether it asks for a token: for none, for one, at some of its services.", Values: []string{"none", "token", "mixed"}},
			{Name: "tls", Doc: "Whether what it speaks is encrypted.", Values: []string{"yes", "no", "mixed"}},
			{Name: "proxies", Doc: "What stands in front of it: `10.20.0.30:80/ray nginx/1.22.1 (ray.example.org)`, which is address, path, software and the name that clients use.", Fields: []capture.Field{
				{Name: "addr", Type: "addr", Doc: "Its address."},
				{Name: "port", Type: "port", Doc: "Its port."},
				{Name: "prefix", Type: "string", Optional: true, Doc: "Path under which it has the server."},
				{Name: "server", Type: "string", Optional: true, Doc: "Its software."},
				{Name: "host", Type: "string", Optional: true, Doc: "Name that clients use."},
			}},
			{Name: "clients_inside", Unit: "addresses", Doc: "Clients in the home networks."},
			{Name: "clients_outside", Unit: "addresses", Doc: "Clients elsewhere."},
			{Name: "client_kinds", Doc: "Kinds of clients with their calls, the busiest first: `sdk 5`.", Fields: []capture.Field{
				{Name: "kind", Type: "string", Doc: "Kind of client."},
				{Name: "n", Type: "count", Unit: "calls", Doc: "Its calls."},
			}},
			{Name: "outsiders", Doc: "Addresses of clients elsewhere, at most 16."},
			{Name: "cves", Doc: "Known vulnerabilities of the version."},
			{Name: "first_seen", Doc: "When it was first seen."},
			{Name: "last_seen", Doc: "When it was last seen."},
			{Name: "was", Doc: "Other ids that rows before this one had for it, before they turned out to be one."},
		},
	}}
}
