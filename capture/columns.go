package capture

import "slices"

// LogSpec tells the readers of a log what it holds: docs/logs.md and the JSON Schema files are made of it.
type LogSpec struct {
	Name    string
	When    string   // a row is written
	Row     Record   // any: names, order and types are as it writes them
	Columns []Column // one for each that Row writes, in its order
}

// Column tells what a column holds. Its type is that of the method of Fields that writes it. Times are seconds since
// 1970 UTC and intervals are seconds, wherever they stand.
type Column struct {
	Name   string
	Doc    string   // sentences
	Unit   string   // of a count: bytes, packets
	Values []string // all that there are, where they are few; of a set or vector, for each of its elements
	Fields []Field  // of what Objects writes: those of each object, in its order
}

// Field tells what a field of an object holds, of a column that is a list of them in JSON.
type Field struct {
	Name     string
	Type     string // in the words of Zeek's header, as "count"
	Optional bool   // an object may be without it
	Doc      string // sentences
	Unit     string // as of a Column
}

// Techniques are the fields of tactics and techniques of MITRE.
func Techniques() []Field {
	return []Field{
		{Name: "id", Type: "string", Doc: "Its id: `AML.T0049`, `T1059.004`."},
		{Name: "name", Type: "string", Optional: true, Doc: "Its name, if it is known."},
	}
}

// FlowColumns are the columns that Flow.ID writes.
func FlowColumns() []Column {
	return append([]Column{{
		Name: "uid",
		Doc:  "Id of the connection, the same in all logs. Made of its addresses and of the time of its first packet, so that each run over the same traffic gives the same.",
	}}, EndpointColumns()...)
}

// EndpointColumns are the columns that Endpoints writes.
func EndpointColumns() []Column {
	return []Column{
		{Name: "id.orig_h", Doc: "Address of the originator: who opened the connection, or who seems to have where its beginning was not seen."},
		{Name: "id.orig_p", Doc: "Port of the originator; of ICMP the type."},
		{Name: "id.resp_h", Doc: "Address of the responder."},
		{Name: "id.resp_p", Doc: "Port of the responder; of ICMP the type of the answer, or else the code."},
	}
}

// Logs tells of the logs of this package.
func Logs() []LogSpec {
	return []LogSpec{{
		Name: "conn",
		When: "When a connection ends: closed, reset, silent for its timeout, or the end of the capture. UDP and ICMP have one for each pair of endpoints.",
		Row:  &Conn{},
		Columns: slices.Concat([]Column{{Name: "ts", Doc: "Time of the first packet."}}, FlowColumns(), []Column{
			{Name: "proto", Doc: "Transport.", Values: []string{"tcp", "udp", "icmp", "unknown_transport"}},
			{Name: "service", Doc: "What was spoken, by what the bytes are and never by the port: `http`, `ssl`, `dns`, `grpc`, `stratum` and others. Several are joined by commas, the outer first."},
			{Name: "duration", Doc: "From the first packet to the last that carried something or changed the state. Unset if only one side sent, once."},
			{Name: "orig_bytes", Unit: "bytes", Doc: "Payload that the originator sent; of TCP by sequence numbers, so that lost packets count."},
			{Name: "resp_bytes", Unit: "bytes", Doc: "The same of the responder."},
			{Name: "conn_state", Doc: "How it went: S0 no answer to the SYN; S1 open and not closed; SF opened and closed; REJ refused; S2, S3 only one side closed; RSTO, RSTR reset by originator or responder; RSTOS0, RSTRH reset before it was open; SH, SHR closed by the one side before the other said anything; OTH seen in the middle.",
				Values: []string{"S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"}},
			{Name: "local_orig", Doc: "Whether the originator is in the home networks."},
			{Name: "local_resp", Doc: "Whether the responder is."},
			{Name: "missed_bytes", Unit: "bytes", Doc: "Payload that was acknowledged and never seen: the capture lost it, or the content of a packet was cut off."},
			{Name: "history", Doc: "What happened, in order, a letter for each kind the first time; upper case of the originator, lower case of the responder. S SYN, H SYN with ACK, A ACK alone, D data, F FIN, R RST (S, H, F and R again with another sequence number), C bad checksum, G gap, T sent again, W window of zero (these four again at the 10th, 100th and so on), I FIN with RST, Q another contradiction of flags. ^ says that the direction was turned round, X that the rest was not looked at."},
			{Name: "orig_pkts", Unit: "packets", Doc: "Packets of the originator."},
			{Name: "orig_ip_bytes", Unit: "bytes", Doc: "Their length with the IP header, as the headers say it."},
			{Name: "resp_pkts", Unit: "packets", Doc: "Packets of the responder."},
			{Name: "resp_ip_bytes", Unit: "bytes", Doc: "Their length with the IP header."},
			{Name: "tunnel_parents", Doc: "The `uid` of each tunnel that it came in."},
			{Name: "ip_proto", Doc: "Number of the IP protocol: 6 TCP, 17 UDP, 1 ICMP."},
			{Name: "community_id", Doc: "Community ID, version 1, seed 0: a hash of protocol, addresses and ports by which other tools find the same connection."},
		}),
	}, {
		Name: "weird",
		When: "When the traffic does what it should not. The same of the same connection once in ten minutes, some once a day for each originator. [weirds.md](weirds.md) has the names.",
		Row:  &Weird{},
		Columns: slices.Concat([]Column{{Name: "ts", Doc: "Time of the packet."}}, FlowColumns(), []Column{
			{Name: "name", Doc: "What is odd."},
			{Name: "addl", Doc: "A detail, with credentials masked."},
			{Name: "notice", Doc: "Always F: a weird makes no notice by itself."},
			{Name: "peer", Doc: "Always `raytap`."},
			{Name: "source", Doc: "Who noticed it: a protocol in upper case, as `TCP`, `HTTP`, `IP`."},
		}),
	}, {
		Name: "capture_loss",
		When: "Of a sensor, once a minute.",
		Row:  &Loss{},
		Columns: []Column{
			{Name: "ts", Doc: "End of the span that it tells of."},
			{Name: "ts_delta", Doc: "Length of the span."},
			{Name: "peer", Doc: "Always `raytap`."},
			{Name: "gaps", Unit: "acknowledgements", Doc: "Those of `acks` for bytes that were never seen. What a mirror port drops shows here alone."},
			{Name: "acks", Unit: "acknowledgements", Doc: "Acknowledgements seen in open TCP connections."},
			{Name: "percent_lost", Unit: "percent", Doc: "`gaps` by `acks`: an estimate of what the sensor was not shown."},
		},
	}}
}
