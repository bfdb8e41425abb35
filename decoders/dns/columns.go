package dns

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "dns",
		When: "For each question with its answer, and for each of the two that stays alone. Multicast DNS, LLMNR and NetBIOS name service too.",
		Row:  &Transaction{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the question, or of the answer where there is none."}}, capture.FlowColumns(), []capture.Column{
			{Name: "proto", Doc: "Transport.", Values: []string{"tcp", "udp"}},
			{Name: "trans_id", Doc: "The 16-bit id of the message."},
			{Name: "rtt", Doc: "From the question to the answer."},
			{Name: "query", Doc: "The name that is asked for, as sent; bytes that are no text are escaped."},
			{Name: "qclass", Doc: "Class as a number: 1 is the Internet's."},
			{Name: "qclass_name", Doc: "Class as a name, `C_INTERNET`."},
			{Name: "qtype", Doc: "Type as a number: 1 is an address of IPv4."},
			{Name: "qtype_name", Doc: "Type as a name, `A`, `TXT`."},
			{Name: "rcode", Doc: "Result as a number, the four bits of the header: 0 no error, 3 no such name. Unset without an answer."},
			{Name: "rcode_name", Doc: "Result as a name, `NOERROR`, `NXDOMAIN`."},
			{Name: "AA", Doc: "The answer is authoritative."},
			{Name: "TC", Doc: "The message was cut short."},
			{Name: "RD", Doc: "The question asks for recursion."},
			{Name: "RA", Doc: "The server offers recursion."},
			{Name: "Z", Doc: "The three bits that were reserved, of which the AD and CD flags are two, as a number."},
			{Name: "answers", Doc: "What the answer section says, in order, as text: addresses, names, strings. At most the first 100; more is read and not logged."},
			{Name: "TTLs", Doc: "How long each of `answers` may be kept."},
			{Name: "rejected", Doc: "The answer carries no record at all."},
			{Name: "opcode", Doc: "Kind of message as a number: 0 is a query."},
			{Name: "opcode_name", Doc: "Kind of message as a name, `query`."},
		}),
	}}
}
