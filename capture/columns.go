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
		{Name: "id", Type: "string", Doc: "Its ID: `AML.T0049`, `T1059.004`."},
		{Name: "name", Type: "string", Optional: true, Doc: "Its name, if it is known."},
	}
}

// FlowColumns are the columns that Flow.ID writes.
func FlowColumns() []Column {
	return append([]Column{{
		Name: "uid",
		Doc:  "ID of the connection, the same in all logs. Derived from its addresses and the time of its first packet, so that every run over the same traffic yields the same ID.",
	}}, EndpointColumns()...)
}

// EndpointColumns are the columns that Endpoints writes.
func EndpointColumns() []Column {
	return []Column{
		{Name: "id.orig_h", Doc: "Address of the originator: the side that opened the connection, or seems to have opened it if the beginning was not seen."},
		{Name: "id.orig_p", Doc: "Port of the originator; for ICMP the type."},
		{Name: "id.resp_h", Doc: "Address of the responder."},
		{Name: "id.resp_p", Doc: "Port of the responder; for ICMP the type of the reply, or else the code."},
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
			{Name: "service", Doc: "Protocol, identified by its bytes and never by the port: `http`, `ssl`, `dns`, `grpc`, `stratum` and others. Several are separated by commas, the outer first."},
			{Name: "duration", Doc: "Time from the first packet to the last that carried data or changed the state. Unset if only one packet was seen."},
			{Name: "orig_bytes", Unit: "bytes", Doc: "Payload bytes that the originator sent; for TCP computed from sequence numbers, so that lost packets count."},
			{Name: "resp_bytes", Unit: "bytes", Doc: "The same for the responder."},
			{Name: "conn_state", Doc: "State of the connection: S0 no response to the SYN; S1 open, not closed; SF opened and closed; REJ refused; S2, S3 closed by one side only; RSTO, RSTR reset by originator or responder; RSTOS0, RSTRH reset before it was open; SH, SHR closed by one side before the other sent anything; OTH midstream traffic.",
				Values: []string{"S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"}},
			{Name: "local_orig", Doc: "Whether the originator is in the home networks."},
			{Name: "local_resp", Doc: "Whether the responder is."},
			{Name: "missed_bytes", Unit: "bytes", Doc: "Payload bytes that were acknowledged but never seen: the capture lost them, or a packet was truncated."},
			{Name: "history", Doc: "Events in order, one letter for the first of each kind; upper case from the originator, lower case from the responder. S SYN, H SYN with ACK, A pure ACK, D data, F FIN, R RST (S, H, F and R again if the sequence number differs), C bad checksum, G gap, T retransmission, W zero window (these four again at the 10th, 100th and so on), I FIN with RST, Q another contradiction of flags. ^ means that the direction was flipped, X that the rest was not examined."},
			{Name: "orig_pkts", Unit: "packets", Doc: "Packets of the originator."},
			{Name: "orig_ip_bytes", Unit: "bytes", Doc: "Their length with IP headers, by the length in the header."},
			{Name: "resp_pkts", Unit: "packets", Doc: "Packets of the responder."},
			{Name: "resp_ip_bytes", Unit: "bytes", Doc: "Their length with IP headers."},
			{Name: "tunnel_parents", Doc: "The `uid` of each tunnel that carried it."},
			{Name: "ip_proto", Doc: "Number of the IP protocol: 6 TCP, 17 UDP, 1 ICMP."},
			{Name: "community_id", Doc: "Community ID, version 1, seed 0: a hash of protocol, addresses and ports that identifies the same connection in other tools."},
		}),
	}, {
		Name: "weird",
		When: "For an anomaly in the traffic. Repetitions in the same connection are reported once in ten minutes, some once a day for each originator. [weirds.md](weirds.md) has the names.",
		Row:  &Weird{},
		Columns: slices.Concat([]Column{{Name: "ts", Doc: "Time of the packet."}}, FlowColumns(), []Column{
			{Name: "name", Doc: "Name of the anomaly."},
			{Name: "addl", Doc: "A detail, with credentials masked."},
			{Name: "notice", Doc: "Always F: a weird does not raise a notice by itself."},
			{Name: "peer", Doc: "Always `raytap`."},
			{Name: "source", Doc: "What reported it: a protocol in upper case, such as `TCP`, `HTTP`, `IP`."},
		}),
	}, {
		Name: "capture_loss",
		When: "From a sensor, once a minute.",
		Row:  &Loss{},
		Columns: []Column{
			{Name: "ts", Doc: "End of the interval that the row covers."},
			{Name: "ts_delta", Doc: "Length of the interval."},
			{Name: "peer", Doc: "Always `raytap`."},
			{Name: "gaps", Unit: "acknowledgements", Doc: "Acknowledgements among `acks` for bytes that were never seen. Only this column shows what a mirror port drops."},
			{Name: "acks", Unit: "acknowledgements", Doc: "Acknowledgements seen in open TCP connections."},
			{Name: "percent_lost", Unit: "percent", Doc: "`gaps` divided by `acks`: an estimate of the share that did not reach the sensor."},
		},
	}}
}
