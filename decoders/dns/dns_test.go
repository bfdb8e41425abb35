package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

// flow is a decoder's context of a flow of our choice; each datagram comes a millisecond after the one before.
type flow struct {
	capture.Flow
	at     capture.At
	events []any
	said   []string // events as they were when emitted
	named  []string
	rested bool // behind the last datagram
}

func newFlow(orig, resp string) *flow {
	return &flow{
		Flow: capture.Flow{UID: "Cx", Proto: capture.ProtoUDP, Orig: netip.MustParseAddrPort(orig), Resp: netip.MustParseAddrPort(resp)},
		at:   capture.At{Time: 1_700_000_000e9},
	}
}

func udp53() *flow { return newFlow("10.0.0.1:40000", "10.0.0.53:53") }

func (f *flow) context() decoders.Context { return ctx{f} }

type ctx struct{ f *flow }

func (c ctx) Flow() *capture.Flow   { return &c.f.Flow }
func (c ctx) At() capture.At        { return c.f.at }
func (c ctx) Refute(string)         {}
func (c ctx) Skip()                 {}
func (c ctx) Confirm(s string)      { c.f.named = append(c.f.named, s) }
func (c ctx) Nest() decoders.Nested { return nil }
func (c ctx) Emit(ev any) {
	c.f.events, c.f.said = append(c.f.events, ev), append(c.f.said, decodertest.Snapshot(ev))
}
func (c ctx) Weird(name, addl string) {
	c.Emit(&capture.Weird{Name: name, Addl: strings.Clone(addl)})
}

// run decodes datagrams, all in the originator's direction, which does not matter: an answer says that it is one. Where a
// decoder rests, another goes on.
func (f *flow) run(t testing.TB, datagrams ...[]byte) *flow {
	t.Helper()
	d := newDecoder(f.context())
	for _, b := range datagrams {
		f.at.Time, f.at.Packet = f.at.Time+1e6, f.at.Packet+1
		b = append([]byte(nil), b...)
		if _, err := d.Decode(capture.Orig, b); err != nil {
			t.Fatal(err)
		}
		for i := range b {
			b[i] = 0xAA
		}
		f.rested = d.(decoders.Rester).Rest()
		if f.rested {
			d.(decoders.Releaser).Release()
			d = newDecoder(f.context())
		}
	}
	d.End(capture.Orig)
	d.End(capture.Resp)
	for i, ev := range f.events {
		if now := decodertest.Snapshot(ev); now != f.said[i] && ev.(interface{ Log() string }).Log() == "dns" {
			t.Errorf("event %d changed after it was emitted\n  then %s\n  now  %s", i, f.said[i], now)
		}
	}
	return f
}

func (f *flow) transactions() (out []*Transaction) {
	for _, ev := range f.events {
		if tx, ok := ev.(*Transaction); ok {
			out = append(out, tx)
		}
	}
	return out
}

func (f *flow) weirds() (out []string) {
	for _, ev := range f.events {
		if w, ok := ev.(*capture.Weird); ok {
			out = append(out, strings.TrimSpace(w.Name+" "+w.Addl))
		}
	}
	return out
}

func (f *flow) one(t testing.TB) *Transaction {
	t.Helper()
	txs := f.transactions()
	if len(txs) != 1 {
		t.Fatalf("%d transactions, want 1: %v", len(txs), f.said)
	}
	return txs[0]
}

// ask and reply build messages with the library.
func ask(id uint16, name string, qtype uint16) *mdns.Msg {
	m := &mdns.Msg{MsgHdr: mdns.MsgHdr{Id: id, RecursionDesired: true}}
	m.Question = []mdns.Question{{Name: name, Qtype: qtype, Qclass: 1}}
	return m
}

func reply(q *mdns.Msg, records ...string) *mdns.Msg {
	m := new(mdns.Msg)
	m.SetReply(q)
	m.RecursionAvailable, m.Compress = true, true
	for _, s := range records {
		rr, err := mdns.NewRR(s)
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	return m
}

func pack(m *mdns.Msg) []byte {
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// columns collects a row.
type columns struct {
	names []string
	vals  map[string]string
}

func row(r capture.Record) *columns {
	c := &columns{vals: map[string]string{}}
	r.Row(c)
	return c
}

func (c *columns) put(name string, v any, set bool) {
	c.names = append(c.names, name)
	if set {
		c.vals[name] = fmt.Sprint(v)
	}
}

func (c *columns) Time(n string, v capture.Time, set bool)      { c.put(n, v.Seconds(), set) }
func (c *columns) Interval(n string, v time.Duration, set bool) { c.put(n, v, set) }
func (c *columns) String(n, v string, set bool)                 { c.put(n, v, set) }
func (c *columns) Enum(n, v string, set bool)                   { c.put(n, v, set) }
func (c *columns) Count(n string, v uint64, set bool)           { c.put(n, v, set) }
func (c *columns) Bool(n string, v, set bool)                   { c.put(n, v, set) }
func (c *columns) Addr(n string, v netip.Addr, set bool)        { c.put(n, v, set) }
func (c *columns) Port(n string, v uint16, set bool)            { c.put(n, v, set) }
func (c *columns) Double(n string, v float64, set bool)         { c.put(n, v, set) }
func (c *columns) Set(n, _ string, v []string, set bool)        { c.put(n, strings.Join(v, "|"), set) }
func (c *columns) Vector(n, _ string, v []string, set bool)     { c.put(n, strings.Join(v, "|"), set) }
func (c *columns) Intervals(n string, v []time.Duration, set bool) {
	c.put(n, v, set)
}

func (c *columns) want(t *testing.T, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got, ok := c.vals[k]; !ok && v != "-" || ok && got != v {
			t.Errorf("%s = %q, want %q", k, got, v)
		}
	}
}

func TestRowHasZeeksColumns(t *testing.T) {
	want := "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto trans_id rtt query qclass qclass_name qtype qtype_name rcode rcode_name AA TC RD RA Z answers TTLs rejected opcode opcode_name"
	if got := strings.Join(row(&Transaction{}).names, " "); got != want {
		t.Errorf("columns\n  %s\nwant\n  %s", got, want)
	}
}

func TestQueryAndAnswer(t *testing.T) {
	q := ask(7, "WWW.Example.org.", mdns.TypeA)
	q.SetEdns0(1232, true)
	f := udp53().run(t, pack(q), pack(reply(q, "www.example.org. 60 IN CNAME web.example.org.", "web.example.org. 30 IN A 192.0.2.1", "web.example.org. 30 IN A 192.0.2.2")))
	tx := f.one(t)
	if tx.Query != "www.example.org" || tx.Sent != "WWW.Example.org" {
		t.Errorf("query %q, sent %q", tx.Query, tx.Sent)
	}
	if !tx.EDNS || tx.UDPSize != 1232 || !tx.DNSSEC {
		t.Errorf("EDNS %v, size %d, DO %v", tx.EDNS, tx.UDPSize, tx.DNSSEC)
	}
	if tx.Packet != 1 || tx.Reply.Packet != 2 || tx.RTT != time.Millisecond {
		t.Errorf("packets %d and %d, rtt %v", tx.Packet, tx.Reply.Packet, tx.RTT)
	}
	if tx.Outcome() != Resolved {
		t.Errorf("outcome %v", tx.Outcome())
	}
	var addrs []string
	tx.Addresses(func(a netip.Addr, ttl time.Duration) bool {
		addrs = append(addrs, fmt.Sprint(a, " ", ttl))
		return true
	})
	if got := strings.Join(addrs, ", "); got != "192.0.2.1 30s, 192.0.2.2 30s" {
		t.Errorf("addresses %s", got)
	}
	if a := tx.Answers[1]; a.Name != "web.example.org" {
		t.Errorf("second answer's owner %q", a.Name)
	}
	row(tx).want(t, map[string]string{
		"proto": "udp", "trans_id": "7", "rtt": "1ms", "query": "www.example.org", "qclass": "1", "qclass_name": "C_INTERNET",
		"qtype": "1", "qtype_name": "A", "rcode": "0", "rcode_name": "NOERROR", "AA": "false", "TC": "false", "RD": "true", "RA": "true",
		"Z": "0", "answers": "web.example.org|192.0.2.1|192.0.2.2", "TTLs": "[1m0s 30s 30s]", "rejected": "false", "opcode": "0", "opcode_name": "query",
	})
	if got := strings.Join(f.named, " "); got != "dns" {
		t.Errorf("confirmed %q", got)
	}
}

// TestAnswersAsZeekPrintsThem: one record of each type, as text.
func TestAnswersAsZeekPrintsThem(t *testing.T) {
	const key = "AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3"
	for _, c := range []struct{ record, want string }{
		{"x. 1 IN A 192.0.2.1", "192.0.2.1"},
		{"x. 1 IN AAAA 2001:db8::1", "2001:db8::1"},
		{"x. 1 IN AAAA ::ffff:192.0.2.1", "192.0.2.1"},
		{"x. 1 IN NS NS.Example.org.", "ns.example.org"},
		{"x. 1 IN CNAME a.example.org.", "a.example.org"},
		{"x. 1 IN PTR host.example.org.", "host.example.org"},
		{"x. 1 IN MX 10 mx.example.org.", "mx.example.org"},
		{"x. 1 IN SRV 1 2 5060 sip.example.org.", "sip.example.org"},
		{"x. 1 IN SOA ns.example.org. root.example.org. 1 2 3 4 5", "ns.example.org"},
		{`x. 1 IN TXT "hello" "" "a\"b"`, `TXT 5 hello TXT 0  TXT 3 a"b`},
		{`x. 1 IN SPF "v=spf1 -all"`, "SPF 11 v=spf1 -all"},
		{`x. 1 IN NAPTR 100 50 "s" "SIP+D2U" "" _sip._udp.Example.org.`, "NAPTR 100 50 s SIP+D2U _sip._udp.Example.org"},
		{`x. 1 IN NAPTR 100 50 "u" "E2U" "!^.*$!sip:a@b!" .`, "NAPTR 100 50 u E2U !^.*$!sip:a@b!"},
		{"x. 1 IN DNSKEY 256 3 8 " + key, "DNSKEY 8"},
		{"x. 1 IN DS 12345 8 2 " + strings.Repeat("ab", 32), "DS 8 2"},
		{"x. 1 IN RRSIG A 8 2 3600 20260101000000 20250101000000 1 Example.org. " + key, "RRSIG 1 example.org"},
		{"x. 1 IN RRSIG A 8 0 3600 20260101000000 20250101000000 1 . " + key, "RRSIG 1 <Root>"},
		{"x. 1 IN NSEC b.example.org. A RRSIG", "NSEC x b.example.org"},
		{"x. 1 IN NSEC3 1 0 1 ab 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A", "NSEC3"},
		{"x. 1 IN NSEC3PARAM 1 0 1 ab", "NSEC3PARAM"},
		{"x. 1 IN SSHFP 1 1 198c34a92fc0b2ab1da52b688c2f191d2d960c09", "SSHFP: 198c34a92fc0b2ab1da52b688c2f191d2d960c09"},
		{"x. 1 IN LOC 51 30 12.748 N 00 07 39.611 W 0m 1m 200m 10m", "LOC:  18 36 19"},
		{"x. 1 IN TLSA 3 1 1 abcd", "<unknown type=52>"},
		{"x. 1 IN DNAME other.example.", "<unknown type=39>"},
		{`x. 1 IN TYPE65534 \# 5 0812340001`, "BIND9 signing signal"},
		// Zeek's scripts look away from these.
		{`x. 1 IN CAA 0 issue "ca.example.org"`, "-"},
		{`x. 1 IN HINFO "cpu" "os"`, "-"},
		{"x. 1 IN HTTPS 1 . alpn=h2", "-"},
	} {
		q := ask(1, "q.", mdns.TypeANY)
		tx := udp53().run(t, pack(q), pack(reply(q, c.record))).one(t)
		r := row(tx)
		r.want(t, map[string]string{"answers": c.want})
		if _, has := r.vals["rtt"]; has != (c.want != "-") {
			t.Errorf("%s: rtt %q", c.record, r.vals["rtt"])
		}
		if len(tx.Answers) != 1 {
			t.Errorf("%s: %d answers", c.record, len(tx.Answers))
		}
	}
}

func TestHintsAreAddresses(t *testing.T) {
	q := ask(1, "example.org.", mdns.TypeHTTPS)
	tx := udp53().run(t, pack(q), pack(reply(q, "example.org. 300 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1"))).one(t)
	if got := fmt.Sprint(tx.Answers[0].Hints); got != "[192.0.2.1 2001:db8::1]" {
		t.Errorf("hints %s", got)
	}
	if got := tx.Answers[0].Data; got != `HTTPS 1 . alpn="h2" ipv4hint="192.0.2.1" ipv6hint="2001:db8::1"` {
		t.Errorf("data %s", got)
	}
	if tx.Outcome() != Resolved {
		t.Errorf("outcome %v", tx.Outcome())
	}
}

func TestOutcomes(t *testing.T) {
	q := ask(1, "pool.example.org.", mdns.TypeA)
	rcode := func(r int) *mdns.Msg { m := reply(q); m.Rcode = r; return m }
	for _, c := range []struct {
		trap   string
		answer *mdns.Msg
		want   Outcome
	}{
		{"no answer", nil, Unanswered},
		{"address", reply(q, "pool.example.org. 1 IN A 192.0.2.1"), Resolved},
		{"no data", reply(q), Empty},
		{"alias that leads nowhere", reply(q, "pool.example.org. 1 IN CNAME x."), Empty},
		{"no such name", rcode(3), NXDomain},
		{"refused", rcode(5), Failed},
		{"zero", reply(q, "pool.example.org. 1 IN A 0.0.0.0"), Sinkholed},
		{"loopback", reply(q, "pool.example.org. 1 IN A 127.0.0.2"), Sinkholed},
		{"one of two dead", reply(q, "pool.example.org. 1 IN A 0.0.0.0", "pool.example.org. 1 IN A 192.0.2.1"), Resolved},
	} {
		in := [][]byte{pack(q)}
		if c.answer != nil {
			in = append(in, pack(c.answer))
		}
		if got := udp53().run(t, in...).one(t).Outcome(); got != c.want {
			t.Errorf("%s: %v, want %v", c.trap, got, c.want)
		}
	}
}

// TestPairing: what belongs together, by id and order of arrival.
func TestPairing(t *testing.T) {
	q1, q2 := ask(1, "one.", mdns.TypeA), ask(2, "two.", mdns.TypeA)
	same := ask(1, "other.", mdns.TypeA)
	a1, a2 := reply(q1, "one. 1 IN A 192.0.2.1"), reply(q2, "two. 1 IN A 192.0.2.2")
	for _, c := range []struct {
		trap string
		in   []*mdns.Msg
		want string // query, answers of each, in the order they are written
	}{
		{"in order", []*mdns.Msg{q1, a1, q2, a2}, "one 192.0.2.1; two 192.0.2.2"},
		{"crossed", []*mdns.Msg{q1, q2, a2, a1}, "two 192.0.2.2; one 192.0.2.1"},
		{"retransmitted query", []*mdns.Msg{q1, q1, a1}, "one 192.0.2.1; one -"},
		{"duplicated answer", []*mdns.Msg{q1, a1, a1}, "one 192.0.2.1; one 192.0.2.1"},
		{"answer first", []*mdns.Msg{a1, q1}, "one 192.0.2.1"},
		{"answer alone", []*mdns.Msg{a1}, "one 192.0.2.1"},
		{"two questions with one id", []*mdns.Msg{q1, same, a1}, "one 192.0.2.1; other -"},
		{"never answered", []*mdns.Msg{q1, q2}, "one -; two -"},
	} {
		var in [][]byte
		for _, m := range c.in {
			in = append(in, pack(m))
		}
		var got []string
		for _, tx := range udp53().run(t, in...).transactions() {
			r := row(tx)
			a := r.vals["answers"]
			if a == "" {
				a = "-"
			}
			got = append(got, r.vals["query"]+" "+a)
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: %s, want %s", c.trap, s, c.want)
		}
	}
}

// TestRest: a decoder is given up between look-ups, and where nothing would be forgotten with it.
func TestRest(t *testing.T) {
	q, other := pack(ask(1, "one.", mdns.TypeA)), pack(ask(2, "two.", mdns.TypeA))
	a := pack(reply(ask(1, "one.", mdns.TypeA), "one. 1 IN A 192.0.2.1"))
	many := append([]byte(nil), q...)
	many[4] = 1 // 257 questions: Zeek takes the flow for something else
	var crowd [][]byte
	for i := range pendingIDs + 2 {
		crowd = append(crowd, pack(ask(uint16(i+10), "x.", mdns.TypeA)))
	}
	for i := range pendingIDs + 2 {
		crowd = append(crowd, pack(reply(ask(uint16(i+10), "x.", mdns.TypeA))))
	}
	for _, c := range []struct {
		trap       string
		orig, resp string
		in         [][]byte
		want       bool
	}{
		{"answered", "10.0.0.1:40000", "10.0.0.53:53", [][]byte{q, a}, true},
		{"answered again", "10.0.0.1:40000", "10.0.0.53:53", [][]byte{q, a, q, a}, true},
		{"a name of the link", "10.0.0.1:40000", "10.0.0.2:5355", [][]byte{q, a}, true},
		{"not answered yet", "10.0.0.1:40000", "10.0.0.53:53", [][]byte{q}, false},
		{"another waits", "10.0.0.1:40000", "10.0.0.53:53", [][]byte{q, other, a}, false},
		{"an answer waits for its question", "10.0.0.1:40000", "10.0.0.53:53", [][]byte{a}, false},
		{"no DNS yet", "10.0.0.1:40000", "10.0.0.53:53", [][]byte{{1, 2, 3}}, false},
		{"it was told that too many waited", "10.0.0.1:40000", "10.0.0.53:53", crowd, false},
		{"Zeek listens no more", "10.0.0.1:40000", "10.0.0.53:53", [][]byte{q, a, many, q, a}, false},
		{"between servers", "10.0.0.1:53", "10.0.0.53:53", [][]byte{q, a}, false},
		{"to a group", "10.0.0.1:40000", "224.0.0.251:5353", [][]byte{q, a}, false},
		{"another port", "10.0.0.1:40000", "10.0.0.53:8053", [][]byte{q, a}, false},
	} {
		if f := newFlow(c.orig, c.resp).run(t, c.in...); f.rested != c.want {
			t.Errorf("%s: at rest: %v", c.trap, f.rested)
		}
	}
}

func TestAnswerAloneHasNoQuestionInTheLog(t *testing.T) {
	q := ask(1, "one.example.", mdns.TypeA)
	m := reply(q)
	m.Rcode = 3
	tx := udp53().run(t, pack(m)).one(t)
	row(tx).want(t, map[string]string{"query": "-", "qtype": "-", "rcode_name": "NXDOMAIN", "rtt": "-", "RD": "false", "rejected": "true"})
	if tx.Query != "one.example" || tx.Asked || !tx.Answered {
		t.Errorf("query %q, asked %v, answered %v", tx.Query, tx.Asked, tx.Answered)
	}
}

// TestQuestionHiddenBehindForwardPointer: there are resolvers that answer it, and their answer tells the name.
func TestQuestionHiddenBehindForwardPointer(t *testing.T) {
	query := "\x8e\x04\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00" +
		"\xc0\x12\x00\x01\x00\x01" + // points to the next question
		"\x04evil\x03net\x00\x00\x01\x00\x01"
	q := ask(0x8e04, "evil.net.", mdns.TypeA)
	if v := probeDatagram([]byte(query), nil, false); v != decoders.Yes {
		t.Errorf("probe says %d", v)
	}
	f := udp53().run(t, []byte(query), pack(reply(q, "evil.net. 1 IN A 192.0.2.1")))
	if got := fmt.Sprint(f.weirds()); got != "[DNS_label_forward_compress_offset]" {
		t.Errorf("weirds %s", got)
	}
	if tx := f.one(t); tx.Query != "evil.net" || tx.Outcome() != Resolved {
		t.Errorf("query %q, %v", tx.Query, tx.Outcome())
	}
}

func TestMulticastStandsAlone(t *testing.T) {
	q := ask(0, "printer.local.", mdns.TypePTR)
	a := reply(q, "printer.local. 120 IN PTR x.local.")
	a.Question = nil
	f := newFlow("10.0.0.1:5353", "224.0.0.251:5353").run(t, pack(q), pack(a), pack(q))
	if n := len(f.transactions()); n != 3 {
		t.Fatalf("%d transactions, want 3", n)
	}
	row(f.transactions()[1]).want(t, map[string]string{"query": "printer.local", "answers": "x.local", "rtt": "-", "qtype": "-"})
}

// nbns is a NetBIOS name service message with one question.
func nbns(flags, name string, qtype byte) []byte {
	return []byte("\x80\x01" + flags + "\x00\x01\x00\x00\x00\x00\x00\x00" + "\x20" + name + "\x00\x00" + string(qtype) + "\x00\x01")
}

func TestNetBIOS(t *testing.T) {
	const workgroup = "FHEPFCELEHFCEPFFFACACACACACACABL"
	f := newFlow("10.0.0.1:137", "10.0.0.255:137").run(t, nbns("\x01\x10", workgroup, 0x20))
	row(f.one(t)).want(t, map[string]string{"query": "WORKGROUP", "qtype_name": "NIMLOC", "opcode_name": "netbios-query", "Z": "1", "rcode": "-"})

	f = newFlow("10.0.0.1:137", "10.0.0.255:137").run(t, nbns("\x29\x10", workgroup, 0x20))
	row(f.one(t)).want(t, map[string]string{"query": "WORKGROUP", "opcode": "5", "opcode_name": "netbios-registration"})

	f = newFlow("10.0.0.1:137", "10.0.0.2:137").run(t, nbns("\x00\x00", "CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0x21))
	row(f.one(t)).want(t, map[string]string{"query": "*", "qtype_name": "NBSTAT"})

	// A release is no query; it is DNS all the same.
	f = newFlow("10.0.0.1:137", "10.0.0.255:137").run(t, nbns("\x30\x10", workgroup, 0x20))
	if len(f.events) != 0 || len(f.named) != 1 {
		t.Errorf("release: events %v, confirmed %v", f.said, f.named)
	}
}

func TestNetBIOSNames(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"fhepfcelehfcepfffacacacacacacabl", "WORKGROUP"},
		{"FHEPFCELEHFCEPFFFACACACACACACABL", "WORKGROUP"},
		{"abacfpfpenfdecfcepfhfdeffpfpacab", "\x01\x02__MSBROWSE__\x02"},
		{"fhcaepfcelehfcepfffacacacacacabl", "W ORKGROUP"},
		{"ebbleccacacacacacacacacacacacaca", "A"}, // ends at the escape character
		{"cacacacacacacacacacacacacacacaca", ""},
		{"efedejfpeeepenebejeosacacacacabm", ""}, // s is no letter of it
		{"fhepfc", ""},
	} {
		if got := string(netbiosName(nil, []byte(c.in))); got != c.want {
			t.Errorf("%s: %q, want %q", c.in, got, c.want)
		}
	}
}

// TestDynamicUpdate: an update's answer repeats what was asked for.
func TestDynamicUpdate(t *testing.T) {
	m := new(mdns.Msg)
	m.SetUpdate("example.org.")
	rr := func(s string) []mdns.RR { r, _ := mdns.NewRR(s); return []mdns.RR{r} }
	m.NameUsed(rr("a.example.org. 0 IN A 192.0.2.1"))
	m.RRsetNotUsed(rr("b.example.org. 0 IN MX 1 x."))
	m.Insert(rr("c.example.org. 60 IN A 192.0.2.3"))
	m.Insert(rr("c.example.org. 60 IN CNAME d.example.org."))
	m.RemoveRRset(rr("e.example.org. 0 IN A 192.0.2.1"))
	m.RemoveName(rr("f.example.org. 0 IN A 192.0.2.1"))
	m.Id = 9
	query := pack(m)
	m.Response = true
	tx := udp53().run(t, query, pack(m)).one(t)
	row(tx).want(t, map[string]string{
		"opcode_name": "dynamic-update", "qtype": "-",
		"answers": "pre: NameInUse a.example.org|pre: NoRRSet MX b.example.org|add: A c.example.org 192.0.2.3|add: d.example.org|del: RRSet A|del: RRSet * f.example.org",
	})
	if tx.Query != "example.org" {
		t.Errorf("zone %q", tx.Query)
	}
}

const header1 = "\x00\x07\x81\x80\x00\x00\x00\x01\x00\x00\x00\x00" // an answer with one record, no question

// TestBrokenMessages: what stood before the break is kept, and the weird has Zeek's name.
func TestBrokenMessages(t *testing.T) {
	good := "\x03foo\x00\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01" // foo A 192.0.2.1
	two := "\x00\x07\x81\x80\x00\x00\x00\x02\x00\x00\x00\x00" + good
	var chain strings.Builder // 30 pointers, each to the one before
	chain.WriteString("\x00\x07\x81\x80\x00\x00\x00\x01\x00\x00\x00\x00\x01a\x00")
	for i := range 30 {
		to := 12
		if i > 0 {
			to = 15 + 2*(i-1)
		}
		chain.WriteString(string([]byte{0xc0, byte(to)}))
	}
	for _, c := range []struct{ trap, in, answers, weirds string }{
		{"header cut", "\x00\x07\x81\x80", "none", "DNS_truncated_len_lt_hdr_len"},
		{"opcode", "\x00\x07\x08\x00\x00\x01\x00\x00\x00\x00\x00\x00", "none", "DNS_unknown_opcode 1"},
		{"26 questions", "\x00\x07\x01\x00\x00\x1a\x00\x00\x00\x00\x00\x00", "", "DNS_Conn_count_too_large 26 > 25"},
		{"question cut", "\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03foo\x00\x00", "", "DNS_truncated_quest_too_short"},
		{"name runs out", "\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03foo", "", "dns_invalid_name"},
		{"label runs out", "\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09foo", "", "DNS_label_len_gt_pkt"},
		{"label of 64", "\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x40" + strings.Repeat("x", 70), "", "DNS_label_too_long"},
		{"pointer to itself", header1 + "\xc0\x0c\x00\x01\x00\x01", "", "DNS_label_forward_compress_offset"},
		{"pointer cut", header1 + "\xc0", "", "dns_invalid_name"},
		{"second record cut", two + "\xc0\x0c\x00\x01", "192.0.2.1", "DNS_truncated_ans_too_short"},
		{"data cut", two + "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0", "192.0.2.1", "DNS_truncated_RR_rdlength_lt_len"},
		{"no data", two + "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x00zz", "192.0.2.1", "DNS_zero_rdlength"},
		{"address of three bytes", two + "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x03zzz", "192.0.2.1", "DNS_RR_bad_length"},
		{"name shorter than data", header1 + "\x00\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01a\x00z", "a", "DNS_RR_length_mismatch"},
		{"text beyond data", two + "\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x05\x01a\x09bc", "192.0.2.1|TXT 1 a", "DNS_TXT_char_str_past_rdlen"},
		{"MX without a name", two + "\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x01a", "192.0.2.1", "DNS_RR_bad_length"},
		{"broken key does not hide the next", "\x00\x07\x81\x80\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x30\x00\x01\x00\x00\x00\x3c\x00\x01a" + good, "192.0.2.1", "DNS_RR_bad_length"},
		{"ALPN beyond its value", header1 + "\x00\x00\x41\x00\x01\x00\x00\x00\x3c\x00\x0a\x00\x01\x00\x00\x01\x00\x03\x09h2", "", "DNS_SVCB_alpn_length_invalid"},
	} {
		f := udp53().run(t, []byte(c.in))
		if got := strings.Join(f.weirds(), ", "); got != c.weirds {
			t.Errorf("%s: weirds %q, want %q", c.trap, got, c.weirds)
		}
		if c.answers == "none" {
			if n := len(f.transactions()); n != 0 {
				t.Errorf("%s: %d transactions", c.trap, n)
			}
			continue
		}
		if got := row(f.one(t)).vals["answers"]; got != c.answers {
			t.Errorf("%s: answers %q, want %q", c.trap, got, c.answers)
		}
	}

	var n name
	if _, odd, ok := n.read([]byte(chain.String()), chain.Len()-2, false); !ok || odd != weirdChain {
		t.Errorf("chain of pointers: %q, %v", odd, ok)
	}
	long := strings.Repeat("\x3f"+strings.Repeat("x", 63), 9)
	if _, odd, ok := n.read([]byte(long+"\x00"), 0, false); ok || odd != weirdLabelRoom {
		t.Errorf("name of over 512: %q, %v", odd, ok)
	}
	if _, odd, ok := n.read([]byte(long[:64*4]+"\x00"), 0, false); !ok || odd != weirdNameLong || n.n != 255 {
		t.Errorf("name of 256: %q, %v, %d bytes", odd, ok, n.n)
	}
}

func TestAnswerLimit(t *testing.T) {
	b := []byte("\x00\x07\x81\x80\x00\x00\x10\x00\x00\x00\x00\x00")
	for range 0x1000 {
		b = append(b, "\x00\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01"...)
	}
	f := udp53().run(t, b)
	if tx := f.one(t); len(tx.Answers) != answerLimit {
		t.Errorf("%d answers", len(tx.Answers))
	}
	if got := fmt.Sprint(f.weirds()); got != "[DNS_answer_limit]" {
		t.Errorf("weirds %s", got)
	}
	if got := strings.Count(row(f.one(t)).vals["answers"], "|"); got != logAnswers-1 {
		t.Errorf("%d answers in the log", got+1)
	}
}

func TestTextLimit(t *testing.T) {
	b := []byte("\x00\x07\x81\x80\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x10\x00\x01\x00\x00\x00\x3c")
	b = append(b, 256*100>>8, 0)
	for range 100 {
		b = append(append(b, 255), strings.Repeat("x", 255)...)
	}
	if tx := udp53().run(t, b).one(t); len(tx.Answers[0].Data) != textLimit || tx.Answers[0].Len != 25600 {
		t.Errorf("%d bytes of text from %d", len(tx.Answers[0].Data), tx.Answers[0].Len)
	}
}

func TestPendingLimits(t *testing.T) {
	check := func(trap string, f *flow, total int) {
		t.Helper()
		if n := len(f.transactions()); n != total {
			t.Errorf("%s: %d transactions of %d", trap, n, total)
		}
		if got := fmt.Sprint(f.weirds()); got != "[DNS_pending_limit]" {
			t.Errorf("%s: weirds %s", trap, got)
		}
	}
	var ids, same, big [][]byte
	for i := range 1000 {
		ids = append(ids, pack(ask(uint16(i), "x.", 1)))
		same = append(same, pack(ask(1, "x.", 1)))
	}
	check("many ids", udp53().run(t, ids...), 1000)
	check("one id", udp53().run(t, same...), 1000)
	text := `x. 1 IN TXT "` + strings.Repeat(`" "`, 2000) + `"`
	for range 100 {
		big = append(big, pack(reply(ask(1, "x.", 16), text)))
	}
	check("big answers", udp53().run(t, big...), 100)

	d := newDecoder(udp53().context()).(*decoder)
	for i, b := range append(ids, same...) {
		if _, err := d.Decode(0, b); err != nil {
			t.Fatal(err)
		}
		if n := len(d.queries.list); n > pendingIDs*pendingPerID || d.queries.bytes > pendingBytes {
			t.Fatalf("after %d: %d wait with %d bytes", i, n, d.queries.bytes)
		}
		want := map[uint16]bool{}
		size := 0
		for _, tx := range d.queries.list {
			want[tx.ID] = true
			size += tx.size()
		}
		if len(want) != d.queries.ids || size != d.queries.bytes {
			t.Fatalf("after %d: counted %d ids, %d bytes; have %d, %d", i, d.queries.ids, d.queries.bytes, len(want), size)
		}
	}
}

func framed(msgs ...[]byte) string {
	var b strings.Builder
	for _, m := range msgs {
		b.WriteString(string([]byte{byte(len(m) >> 8), byte(len(m))}))
		b.Write(m)
	}
	return b.String()
}

func transactions(events []any) string {
	var out []string
	for _, ev := range events {
		switch ev := ev.(type) {
		case *Transaction:
			out = append(out, fmt.Sprintf("%s %v", ev.Query, ev.Outcome()))
		case *capture.Weird:
			out = append(out, ev.Name)
		}
	}
	return strings.Join(out, ", ")
}

func TestStreamCutAnywhere(t *testing.T) {
	q1, q2 := ask(1, "One.example.", mdns.TypeA), ask(2, "two.example.", mdns.TypeTXT)
	a1 := reply(q1, "one.example. 1 IN CNAME x.example.", "x.example. 1 IN A 192.0.2.1")
	a2 := reply(q2, `two.example. 1 IN TXT "hello"`)
	steps := []decodertest.Step{decodertest.C(framed(pack(q1), pack(q2))), decodertest.S(framed(pack(a2), pack(a1)))}
	if got := transactions(decodertest.Run(t, Spec(), steps...)); got != "two.example resolved, one.example resolved" {
		t.Errorf("got %s", got)
	}
	decodertest.CutAndPoison(t, Spec(), steps...)
}

func TestStreamGaps(t *testing.T) {
	q1, q2, q3 := pack(ask(1, "one.", 1)), pack(ask(2, "two.", 1)), pack(ask(3, "three.", 1))
	gap := func(n int) decodertest.Step { return decodertest.Step{Gap: int64(n)} }
	s := framed(q1, q2, q3)
	l1, l2 := len(framed(q1)), len(framed(q2))
	for _, c := range []struct {
		trap  string
		steps []decodertest.Step
		want  string
	}{
		{"inside a message", []decodertest.Step{decodertest.C(s[:l1+10]), gap(5), decodertest.C(s[l1+15:])}, "one unanswered, three unanswered"},
		{"to the end of a message", []decodertest.Step{decodertest.C(s[:l1+10]), gap(l2 - 10), decodertest.C(s[l1+l2:])}, "one unanswered, three unanswered"},
		{"two in one message", []decodertest.Step{decodertest.C(s[:l1+4]), gap(2), decodertest.C(s[l1+6 : l1+8]), gap(2), decodertest.C(s[l1+10:])}, "one unanswered, three unanswered"},
		{"beyond it, then in step", []decodertest.Step{decodertest.C(s[:l1+10]), gap(l2), decodertest.C("garbage in the middle"), decodertest.C(s[l1+l2:])}, "DNS_stream_lost, one unanswered, three unanswered"},
		{"beyond it, then in pieces", []decodertest.Step{decodertest.C(s[:l1+10]), gap(l2), decodertest.C("garbage in the middle"), decodertest.C(s[l1+l2 : l1+l2+5]), decodertest.C(s[l1+l2+5:])}, "DNS_stream_lost, one unanswered, three unanswered"},
		{"beyond it, and garbage in pieces", []decodertest.Step{decodertest.C(s[:l1+10]), gap(l2), decodertest.C("\x00\xff"), decodertest.C("garbage in the middle"), decodertest.C(s[l1+l2:])}, "DNS_stream_lost, one unanswered, three unanswered"},
		{"between messages", []decodertest.Step{decodertest.C(s[:l1]), gap(l2), decodertest.C(s[l1+l2:])}, "DNS_stream_lost, one unanswered, three unanswered"},
	} {
		if got := transactions(decodertest.Run(t, Spec(), c.steps...)); got != c.want {
			t.Errorf("%s: %s, want %s", c.trap, got, c.want)
		}
	}
}

// TestManyQuestionsAreNoDNS: Zeek stops there, and its log with it; what comes behind is read all the same.
func TestManyQuestionsAreNoDNS(t *testing.T) {
	junk := []byte("\x00\x01\x01\x00\x00\x1a\x00\x00\x00\x00\x00\x00")
	q := []byte("\x00\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01")
	var logged, kept int
	for _, ev := range udp53().run(t, junk, q).events {
		if tx, ok := ev.(*Transaction); ok && tx.From.Has(capture.OtherProtocol) {
			kept++
		} else if ok {
			logged++
		}
	}
	if logged != 1 || kept != 1 {
		t.Errorf("%d logged, %d kept from the log", logged, kept)
	}
	if v := Forced().Datagram(junk, nil, false); v != decoders.Yes {
		t.Errorf("on a name service's port: %d", v)
	}
	if probeDatagram(junk, nil, false) != decoders.No {
		t.Error("taken on any port")
	}
}

func TestServerFirst(t *testing.T) {
	q := ask(1, "one.", mdns.TypeA)
	events := decodertest.Run(t, Spec(), decodertest.C(framed(pack(reply(q, "one. 1 IN A 192.0.2.1")))))
	if tx := events[0].(*Transaction); tx.Flow.Resp.String() != "10.0.0.1:40000" {
		t.Errorf("answers come from %v", tx.Flow.Resp)
	}
}

func TestProbes(t *testing.T) {
	q := ask(1, "www.example.org.", mdns.TypeA)
	query, answer := pack(q), pack(reply(q, "www.example.org. 1 IN A 192.0.2.1"))
	announce := reply(q, "x.local. 1 IN A 192.0.2.1")
	announce.Question, announce.Id, announce.Authoritative = nil, 0, true
	odd := append([]byte(nil), query...)
	odd[len(odd)-2] = 0x66
	for _, c := range []struct {
		trap       string
		orig, resp string
		want       decoders.Verdict
	}{
		{"query", string(query), "", decoders.Yes},
		{"answer from the responder", "", string(answer), decoders.Yes},
		{"answer from the originator", string(answer), "", decoders.Flipped},
		{"mDNS announcement", string(pack(announce)), "", decoders.Flipped}, // a group is never turned round: capture.Host
		{"NetBIOS release", string(nbns("\x30\x10", "FHEPFCELEHFCEPFFFACACACACACACABL", 0x20)), "", decoders.Yes},
		{"release of no NetBIOS name", "\x80\x01\x30\x10\x00\x01\x00\x00\x00\x00\x00\x00\x03foo\x00\x00\x20\x00\x01", "", decoders.No},
		{"odd class, nothing else", string(odd), "", decoders.Yes},
		{"odd class and more", string(odd) + "z", "", decoders.No},
		{"NTP", "\x23\x00\x06\xec" + strings.Repeat("\x00", 36) + "\xe8\x00\x00\x00\x00\x00\x00\x00", "", decoders.No},
		{"zeros", strings.Repeat("\x00", 64), "", decoders.No},
		{"text", "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "", decoders.No},
		{"SNMP", "\x30\x26\x02\x01\x00\x04\x06public\xa0\x19\x02\x04\x1a\x2b\x3c\x4d\x02\x01\x00\x02\x01\x00\x30\x0b\x30\x09\x06\x05\x2b\x06\x01\x02\x01\x05\x00", "", decoders.No},
		{"STUN", "\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl", "", decoders.No},
		{"short", "\x00\x01\x01\x00\x00\x01", "", decoders.No},
	} {
		if got := probeDatagram([]byte(c.orig), []byte(c.resp), false); got != c.want {
			t.Errorf("datagram, %s: %d, want %d", c.trap, got, c.want)
		}
	}
	fq, fa := framed(query), framed(answer)
	for _, c := range []struct {
		trap       string
		orig, resp string
		mid        bool
		want       decoders.Verdict
	}{
		{"query", fq, "", false, decoders.Yes},
		{"query and answer", fq, fa, false, decoders.Yes},
		{"answer only", "", fa, true, decoders.Yes},
		{"answer from the originator", fa, "", true, decoders.Flipped},
		{"query from the responder", "", fq, true, decoders.Flipped},
		{"middle of something, then an answer", "z\x00\xff\xffmiddle", fa, true, decoders.Yes},
		{"something else, then an answer", "z\x00\xff\xffmiddle", fa, false, decoders.No},
		{"one byte", fq[:1], "", false, decoders.Maybe},
		{"half a header", fq[:8], "", false, decoders.Maybe},
		{"half a question", fq[:20], "", false, decoders.Maybe},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", "", false, decoders.No},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("r", 32), "", false, decoders.No},
		{"SSH", "SSH-2.0-OpenSSH_9.6\r\n", "", false, decoders.No},
		{"JSON", `{"id":1,"jsonrpc":"2.0","method":"login"}`, "", false, decoders.No},
		{"SOCKS5 request", "\x05\x01\x00\x05\x01\x00\x03\x0bexample.org\x01\xbb", "", false, decoders.No},
		{"length too small", "\x00\x05abcdefghijklmnop", "", false, decoders.No},
	} {
		if got := probeStream([]byte(c.orig), []byte(c.resp), c.mid); got != c.want {
			t.Errorf("stream, %s: %d, want %d", c.trap, got, c.want)
		}
	}
}

// quiet is a context that keeps nothing.
type quiet struct{ flow *capture.Flow }

func (q quiet) Flow() *capture.Flow   { return q.flow }
func (q quiet) At() capture.At        { return capture.At{Time: 1} }
func (q quiet) Refute(string)         {}
func (q quiet) Skip()                 {}
func (q quiet) Confirm(string)        {}
func (q quiet) Nest() decoders.Nested { return nil }
func (q quiet) Emit(any)              {}
func (q quiet) Weird(string, string)  {}

func pair() (query, answer []byte, d decoders.Decoder) {
	q := ask(1, "www.example.org.", mdns.TypeA)
	q.SetEdns0(1232, false)
	return pack(q), pack(reply(q, "www.example.org. 60 IN A 192.0.2.1")), newDecoder(quiet{&udp53().Flow})
}

// TestAllocations: the transaction, its name and its answers, and nothing else.
func TestAllocations(t *testing.T) {
	query, answer, d := pair()
	got := testing.AllocsPerRun(200, func() {
		_, _ = d.Decode(capture.Orig, query)
		_, _ = d.Decode(capture.Resp, answer)
	})
	if got > 3 {
		t.Errorf("%v allocations for a query and its answer, want 3", got)
	}
}

func BenchmarkPair(b *testing.B) {
	query, answer, d := pair()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = d.Decode(capture.Orig, query)
		_, _ = d.Decode(capture.Resp, answer)
	}
}

func BenchmarkProbe(b *testing.B) {
	query, _, _ := pair()
	b.ReportAllocs()
	for b.Loop() {
		probeDatagram(query, nil, false)
	}
}

func BenchmarkRow(b *testing.B) {
	q := ask(1, "www.example.org.", mdns.TypeA)
	tx := udp53().run(b, pack(q), pack(reply(q, "www.example.org. 60 IN A 192.0.2.1"))).one(b)
	b.ReportAllocs()
	for b.Loop() {
		tx.Row(drop{})
	}
}

type drop struct{}

func (drop) Time(string, capture.Time, bool)         {}
func (drop) Interval(string, time.Duration, bool)    {}
func (drop) String(string, string, bool)             {}
func (drop) Enum(string, string, bool)               {}
func (drop) Count(string, uint64, bool)              {}
func (drop) Bool(string, bool, bool)                 {}
func (drop) Addr(string, netip.Addr, bool)           {}
func (drop) Port(string, uint16, bool)               {}
func (drop) Double(string, float64, bool)            {}
func (drop) Set(string, string, []string, bool)      {}
func (drop) Vector(string, string, []string, bool)   {}
func (drop) Intervals(string, []time.Duration, bool) {}

// doubtful is a context whose packets have wrong checksums while doubt is set.
type doubtful struct {
	ctx
	doubt *bool
}

func (d doubtful) Doubted() bool { return *d.doubt }

// TestCheckedHalf: a query or an answer with a wrong checksum is read, and what Zeek would have without it is kept.
func TestCheckedHalf(t *testing.T) {
	q := ask(7, "one.example.", mdns.TypeA)
	a := reply(q, "one.example. 60 IN A 192.0.2.1")
	for _, tt := range []struct {
		query, answer bool // doubted
		replyFirst    bool
		want          string
	}{
		{false, false, false, "asked answered rtt"},
		{true, false, false, "answered"},
		{false, true, false, "asked"},
		{true, true, false, "nothing"},
		{true, false, true, "answered"},
		{false, true, true, "asked"},
	} {
		f, doubt := udp53(), false
		d := newDecoder(doubtful{ctx{f}, &doubt})
		send := func(m *mdns.Msg, doubted bool) {
			f.at.Time += 1e6
			doubt = doubted
			if _, err := d.Decode(capture.Orig, pack(m)); err != nil {
				t.Fatal(err)
			}
		}
		if tt.replyFirst {
			send(a, tt.answer)
		}
		send(q, tt.query)
		if !tt.replyFirst {
			send(a, tt.answer)
		}
		d.End(capture.Orig)
		d.End(capture.Resp)
		tx := f.one(t)
		if !tx.Asked || !tx.Answered || len(tx.Answers) != 1 || tx.Query != "one.example" {
			t.Errorf("%+v: not read whole: %+v", tt, tx)
		}
		got := "nothing"
		if c := tx.Checked(); c != nil {
			var said []string
			if c.Asked && c.asked {
				said = append(said, "asked")
			}
			if c.Answered && len(c.Answers) == 1 {
				said = append(said, "answered")
			}
			if c.RTT > 0 {
				said = append(said, "rtt")
			}
			got = strings.Join(said, " ")
		}
		if got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}
