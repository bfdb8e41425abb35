package dns

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "dns",
		When: "For each query with its response, and for each unmatched one. Includes multicast DNS, LLMNR and the NetBIOS name service.",
		Row:  &Transaction{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the query, or of the response if there is no query."}}, capture.FlowColumns(), []capture.Column{
			{Name: "proto", Doc: "Transport.", Values: []string{"tcp", "udp"}},
			{Name: "trans_id", Doc: "The message's 16-bit ID."},
			{Name: "rtt", Doc: "Time from the query to the response."},
			{Name: "query", Doc: "Name in the question, as sent; bytes that are not text are escaped."},
			{Name: "qclass", Doc: "Class as a number: 1 is Internet."},
			{Name: "qclass_name", Doc: "Class as a name, `C_INTERNET`."},
			{Name: "qtype", Doc: "Type as a number: 1 is an IPv4 address."},
			{Name: "qtype_name", Doc: "Type as a name, `A`, `TXT`."},
			{Name: "rcode", Doc: "Response code as a number, from the header's four bits: 0 no error, 3 no such name. Unset without a response."},
			{Name: "rcode_name", Doc: "Response code as a name, `NOERROR`, `NXDOMAIN`."},
			{Name: "AA", Doc: "The response is authoritative."},
			{Name: "TC", Doc: "The message was truncated."},
			{Name: "RD", Doc: "The question asks for recursion."},
			{Name: "RA", Doc: "The server offers recursion."},
			{Name: "Z", Doc: "The three bits Z, AD and CD of the header, as a number."},
			{Name: "answers", Doc: "Contents of the answer section, in order, as text: addresses, names, strings. At most the first 100; the rest is read but not logged."},
			{Name: "TTLs", Doc: "TTL of each entry of `answers`."},
			{Name: "rejected", Doc: "The response contains no records."},
			{Name: "opcode", Doc: "Kind of message as a number: 0 is a query."},
			{Name: "opcode_name", Doc: "Kind of message as a name, `query`."},
		}),
	}}
}
