// Package dns decodes DNS and its relatives: mDNS, LLMNR and the NetBIOS name service.
//
// In: datagrams, or a stream of messages with a length before each (RFC 1035 section 4.2.2), on any port: a flow is
// taken when its first bytes are a DNS header, sane counts and a question that parses. Out: one Transaction for a
// query and its answer, for a query that nobody answered, or for an answer that nobody asked for. Query and answer
// are paired by id within a flow, first come first served, as Zeek does; messages to multicast addresses stand
// alone, since their answers come in other flows.
//
// A Transaction is written when its answer came, and when the flow ends for what is still waiting. A message that is
// broken in the middle gives what stood before the break, and a Weird by Zeek's name.
//
// The record types that make up most traffic (addresses, names, text) are read by hand, once and without copies; all
// others are decoded by github.com/miekg/dns.
//
// It does not see: DNS over TLS, HTTPS or QUIC; the authority section, and the additional section beyond its OPT
// record; any but the last of several questions in one message; a message on port 53 whose header or question is
// garbage from the flow's first datagram on. A retransmitted query is a query of its own: its row says that it was
// not answered.
package dns

import (
	"net/netip"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// Spec registers the decoder.
func Spec() decoders.Spec {
	return decoders.Spec{Name: "dns", Stream: probeStream, Datagram: probeDatagram, New: newDecoder}
}

// ServicePort reports whether a name service has this port: DNS, NetBIOS names, mDNS, LLMNR.
func ServicePort(proto uint8, port uint16) bool {
	return port == 53 || proto == capture.ProtoUDP && (port == 137 || port == 5353 || port == 5355)
}

// Forced takes every datagram for DNS, where something else than the bytes says that it is.
func Forced() decoders.Spec {
	return decoders.Spec{Name: "dns", New: newDecoder, Datagram: func(orig, resp []byte, _ bool) decoders.Verdict {
		if len(orig) >= headerLen && response(orig) && known(readHeader(orig).opcode()) {
			return decoders.Flipped
		}
		return decoders.Yes
	}}
}

// Transaction is one exchange: a query with its answer, or either alone.
type Transaction struct {
	capture.At               // of the first message: the query, or the answer if that came alone
	Reply      capture.At    // of the answer; zero if none was seen
	Flow       *capture.Flow // the originator is the client

	ID     uint16
	Opcode uint8

	// The question. Query is lower case and without the last dot; bytes stand as they were sent, unescaped, so that a
	// name may hold anything. Names of the NetBIOS name service are decoded. Sent is the same as sent, in its original
	// case (resolvers mix cases on purpose). The root is "".
	Query     string
	NameID    uint64 // stands for Query as long as the program runs; 0: look at Query
	Sent      string
	Type      uint16
	Class     uint16
	Questions int // how many there were; only the last is kept

	Asked     bool // a query was seen
	Answered  bool // an answer was seen
	Multicast bool // sent to a group: paired with nothing
	NetBIOS   bool // port 137
	Rejected  bool // Zeek's notion: the answer carries no record at all
	// From: Doubted if a datagram of it was, see Checked; OtherProtocol behind a message with more questions than any has.
	From capture.Provenance

	RCode  uint16 // with the upper bits of EDNS, if the answer has them
	AA, RA bool   // of the answer
	TC     bool   // of the query, as Zeek logs it
	RD     bool   // of the query
	Cut    bool   // TC of the answer: the client will ask again over TCP
	Z      uint8  // of the query: the three bits that RFC 1035 reserved; AD and CD since

	Answers []Answer      // at most answerLimit
	RTT     time.Duration // from query to answer; 0 if either is missing

	// What tells a tunnel from a lookup, beside the names: bytes of each message, bytes behind the end of either, and
	// what EDNS (RFC 6891) offered.
	QuerySize, ReplySize int
	Trailing             int
	EDNS                 bool   // the query has an OPT record
	UDPSize              uint16 // that it says it takes
	DNSSEC               bool   // it wants signatures (DO)

	asked   bool         // the question is the query's; an answer's is known to us, but not logged by Zeek
	checked *Transaction // of one that is doubted, what is not
	// reported counts the answers that Zeek's scripts look at. Without one of them it logs neither rtt nor AA nor RA.
	reported int
}

// Checked gives what of t was in datagrams with right checksums: t itself, its query or its answer alone, or nil.
func (t *Transaction) Checked() *Transaction {
	if t.From.Has(capture.Doubted) {
		return t.checked
	}
	return t
}

// Answer is one record of the answer section.
type Answer struct {
	Name  string // owner, as Query
	Type  uint16
	Class uint16
	TTL   uint32 // seconds
	Len   int    // bytes of data on the wire
	// Addr is the address of an A or AAAA record; an IPv4 address in IPv6 clothes is unwrapped.
	Addr netip.Addr
	// Data is the record as Zeek prints it ("TXT 5 hello", a name for CNAME, MX and their like), empty for addresses;
	// for types that Zeek does not print, the presentation format. At most textLimit bytes.
	Data string
	// Hints are the addresses of an HTTPS or SVCB record (RFC 9460 section 7.3), which clients connect to as they do
	// to those of A and AAAA.
	Hints []netip.Addr

	logged bool // belongs in Zeek's answers column
}

// String is the answer as Zeek prints it.
func (a *Answer) String() string {
	if a.Addr.IsValid() && a.Data == "" {
		return a.Addr.String()
	}
	return a.Data
}

// Outcome says what became of a question.
type Outcome uint8

// Outcomes.
const (
	Unanswered Outcome = iota // no answer was seen
	Resolved                  // at least one usable record
	Empty                     // no error, but nothing of what was asked for
	NXDomain                  // there is no such name
	Failed                    // any other error: refused, server failure
	Sinkholed                 // every address is one that leads nowhere: 0.0.0.0, ::, loopback
)

func (o Outcome) String() string {
	switch o {
	case Resolved:
		return "resolved"
	case Empty:
		return "empty"
	case NXDomain:
		return "no such name"
	case Failed:
		return "failed"
	case Sinkholed:
		return "sinkholed"
	}
	return "unanswered"
}

// Outcome says what became of the question.
func (t *Transaction) Outcome() Outcome {
	switch {
	case !t.Answered:
		return Unanswered
	case t.RCode == rcodeNXDomain:
		return NXDomain
	case t.RCode != 0:
		return Failed
	}
	addrs, dead, other := 0, 0, 0
	for i := range t.Answers {
		a := &t.Answers[i]
		switch {
		case a.Addr.IsValid():
			addrs++
			if a.Addr.IsUnspecified() || a.Addr.IsLoopback() {
				dead++
			}
		case a.Type == t.Type || t.Type == typeANY:
			other++
		}
	}
	switch {
	case addrs > 0 && addrs == dead && other == 0:
		return Sinkholed
	case addrs+other > 0:
		return Resolved
	}
	return Empty
}

// Addresses calls f with every address that the answer gives for the name that was asked for (aliases followed, which
// is what a client does with an answer) until f returns false.
func (t *Transaction) Addresses(f func(addr netip.Addr, ttl time.Duration) bool) {
	for i := range t.Answers {
		a := &t.Answers[i]
		ttl := time.Duration(a.TTL) * time.Second
		if a.Addr.IsValid() && !f(a.Addr, ttl) {
			return
		}
		for _, h := range a.Hints {
			if !f(h, ttl) {
				return
			}
		}
	}
}

// Log names the log.
func (t *Transaction) Log() string { return "dns" }

// logAnswers is how many elements Zeek writes of one column (Log::default_max_field_container_elements).
const logAnswers = 100

// Row writes Zeek's columns.
func (t *Transaction) Row(w capture.Fields) {
	var proto uint8
	if t.Flow != nil {
		proto = t.Flow.Proto
	}
	query, hasQuery := t.Query, t.asked
	if !hasQuery && t.reported > 0 {
		// Zeek takes no question from an answer, but the owner of its first record.
		query, hasQuery = "", true
		for i := range t.Answers {
			if t.Answers[i].logged {
				query = t.Answers[i].Name
				break
			}
		}
	}
	asked := t.asked
	w.Time("ts", t.Time, true)
	t.Flow.ID(w)
	w.Enum("proto", capture.ProtoName(proto), true)
	w.Count("trans_id", uint64(t.ID), true)
	w.Interval("rtt", t.RTT, t.RTT != 0 && t.reported > 0)
	w.String("query", query, hasQuery)
	w.Count("qclass", uint64(t.Class), asked)
	w.String("qclass_name", className(t.Class, asked), asked)
	w.Count("qtype", uint64(t.Type), asked)
	w.String("qtype_name", t.typeName(asked), asked)
	rcode := uint8(t.RCode & 15) // Zeek logs the header's part
	w.Count("rcode", uint64(rcode), t.Answered)
	w.String("rcode_name", rcodeName(rcode), t.Answered)
	w.Bool("AA", t.AA && t.reported > 0, true)
	w.Bool("TC", t.TC, true)
	w.Bool("RD", t.RD, true)
	w.Bool("RA", t.RA && t.reported > 0, true)
	w.Count("Z", uint64(t.Z), true)
	n := min(len(t.Answers), logAnswers)
	texts, ttls := make([]string, 0, n), make([]time.Duration, 0, n)
	for i := range t.Answers {
		if a := &t.Answers[i]; a.logged && len(texts) < logAnswers {
			texts = append(texts, a.String())
			ttls = append(ttls, time.Duration(a.TTL)*time.Second)
		}
	}
	w.Vector("answers", "string", texts, len(texts) > 0)
	w.Intervals("TTLs", ttls, len(ttls) > 0)
	w.Bool("rejected", t.Rejected, true)
	w.Count("opcode", uint64(t.Opcode), true)
	w.String("opcode_name", opcodeName(t.Opcode, t.NetBIOS), true)
}

func (t *Transaction) typeName(set bool) string {
	if !set {
		return ""
	}
	if t.NetBIOS && t.Type == typeSRV && t.Flow != nil && t.Flow.Resp.Port() == netbiosPort {
		return "NBSTAT" // RFC 1002 had the number first
	}
	return typeName(t.Type)
}
