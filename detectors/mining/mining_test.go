package mining

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/stratum"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/detectors/detectortest"
)

type bench struct {
	bus *detectors.Bus
	out []*detectors.Finding
}

func setup(t *testing.T) *bench {
	t.Helper()
	home := detectortest.Home()
	b := &bench{}
	b.bus = detectors.NewBus(func(f *detectors.Finding) { b.out = append(b.out, f) })
	Spec().New(&detectors.Env{Home: home}, b.bus)
	return b
}

// take returns what was found since the last call, one line each.
func (b *bench) take() []string {
	b.bus.End(capture.At{}) // what is held until something follows
	var out []string
	for _, f := range b.out {
		out = append(out, fmt.Sprintf("%s %s %s %s>%s: %s", f.Rule, f.Severity, f.Outcome, f.Src, f.Dst, f.Msg))
	}
	b.out = nil
	return out
}

func (b *bench) want(t *testing.T, want ...string) {
	t.Helper()
	got := b.take()
	if len(got) != len(want) {
		t.Fatalf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("found %s\n want %s", got[i], want[i])
		}
	}
}

func flow(orig, resp string) *capture.Flow {
	return &capture.Flow{UID: "C" + orig + resp, Proto: capture.ProtoTCP, Orig: netip.MustParseAddrPort(orig), Resp: netip.MustParseAddrPort(resp)}
}

const wallet = "45MinZ6ECgTgxn8gbm5gAsK9ATrEN6N95hbH3g4r5N4bKwH8QxuFygw3G7VwHwAusR9L35E4YjWYdTJaWDjbMGDCKYNz5X1"

func xmrig(orig, resp string, o stratum.Outcome) stratum.Session {
	return stratum.Session{
		At: capture.At{Time: 1e9, Packet: 7}, Last: capture.At{Time: 2e9, Packet: 9}, Flow: flow(orig, resp), Transport: "tcp",
		Dialect: stratum.CryptoNote, Agent: "XMRig/6.26.0 (Linux x86_64) libuv/1.51.0", Login: wallet, Address: stratum.Wallet(wallet),
		Sides: [2]bool{true, true}, Outcome: o,
		Evidence: []stratum.Evidence{{Field: "login", Line: `{"method":"login"}`, Packet: 7}},
	}
}

func TestOneFindingForASession(t *testing.T) {
	b := setup(t)
	s := xmrig("10.20.0.11:40000", "198.51.100.44:3333", stratum.Working)
	s.Jobs = 1
	b.bus.Publish(&stratum.Start{Session: s})
	b.want(t, "mining/stratum high succeeded 10.20.0.11>198.51.100.44: 10.20.0.11 mines for pool 198.51.100.44:3333 (XMRig/6.26.0, XMR wallet 45MinZ6E…Nz5X1)")
	s.Outcome, s.Submits, s.Accepted = stratum.Accepted, 12, 11
	b.bus.Publish(&stratum.Start{Session: s, Update: true})
	b.bus.Publish(&s)
	b.want(t)
}

func TestOutcomeDecidesSeverity(t *testing.T) {
	tests := []struct {
		orig string
		out  stratum.Outcome
		want string
	}{
		{"10.20.0.11:4", stratum.Accepted, "high succeeded"},
		{"10.20.0.11:4", stratum.Working, "high succeeded"},
		{"10.20.0.11:4", stratum.Refused, "medium attempted"},
		{"10.20.0.11:4", stratum.Tried, "medium unknown"},
		{"192.0.2.9:4", stratum.Accepted, "high succeeded"},
		{"192.0.2.9:4", stratum.Working, "medium succeeded"},
		{"192.0.2.9:4", stratum.Refused, "low attempted"},
	}
	for _, tt := range tests {
		b := setup(t)
		s := xmrig(tt.orig, "198.51.100.44:3333", tt.out)
		b.bus.Publish(&s)
		if got := b.take(); len(got) != 1 || !strings.HasPrefix(got[0], "mining/stratum "+tt.want+" ") {
			t.Errorf("%s %s: %v", tt.orig, tt.out, got)
		}
	}
}

func TestWorseIsSaidAgain(t *testing.T) {
	b := setup(t)
	s := xmrig("10.20.0.11:4", "198.51.100.44:3333", stratum.Refused)
	b.bus.Publish(&stratum.Start{Session: s})
	b.want(t, "mining/stratum medium attempted 10.20.0.11>198.51.100.44: 10.20.0.11 tried to mine and was refused by pool 198.51.100.44:3333 (XMRig/6.26.0, XMR wallet 45MinZ6E…Nz5X1)")
	s.Outcome, s.Submits, s.Accepted = stratum.Accepted, 1, 1
	b.bus.Publish(&stratum.Start{Session: s, Update: true})
	b.want(t, "mining/stratum high succeeded 10.20.0.11>198.51.100.44: 10.20.0.11 mines for pool 198.51.100.44:3333 (XMRig/6.26.0, XMR wallet 45MinZ6E…Nz5X1, 1 share, 1 accepted)")
}

func TestLongSessionIsSummedUp(t *testing.T) {
	b := setup(t)
	s := xmrig("10.20.0.11:4", "198.51.100.44:3333", stratum.Working)
	b.bus.Publish(&stratum.Start{Session: s})
	b.take()
	s.Last.Time = s.Time.Add(3*time.Hour + 12*time.Minute)
	s.Outcome, s.Submits, s.Accepted = stratum.Accepted, 1200, 1190
	b.bus.Publish(&s)
	b.want(t, "mining/stratum high succeeded 10.20.0.11>198.51.100.44: 10.20.0.11 mined for 3h12m0s at pool 198.51.100.44:3333 (XMRig/6.26.0, XMR wallet 45MinZ6E…Nz5X1, 1200 shares, 1190 accepted)")
}

// The miner is the source, also where the pool opened the connection.
func TestMinerIsResponder(t *testing.T) {
	b := setup(t)
	s := xmrig("198.51.100.44:3333", "10.20.0.11:40000", stratum.Working)
	s.Client = capture.Resp
	b.bus.Publish(&s)
	b.want(t, "mining/stratum high succeeded 10.20.0.11>198.51.100.44: 10.20.0.11 mines for pool 198.51.100.44:3333 (XMRig/6.26.0, XMR wallet 45MinZ6E…Nz5X1)")
}

func question(src, name string) *dns.Transaction {
	f := flow(src+":50000", "10.20.0.53:53")
	f.Proto = capture.ProtoUDP
	return &dns.Transaction{At: capture.At{Time: 1e9, Packet: 3}, Flow: f, Query: name, Type: typeA, Asked: true}
}

func answer(name string, addrs ...string) *dns.Transaction {
	t := question("10.20.0.11", name)
	t.Answered, t.Reply = true, capture.At{Time: 2e9, Packet: 4}
	for _, a := range addrs {
		t.Answers = append(t.Answers, dns.Answer{Name: name, Type: typeA, TTL: 60, Addr: netip.MustParseAddr(a)})
	}
	return t
}

func TestLookups(t *testing.T) {
	with := func(l *dns.Transaction, f func(*dns.Transaction)) *dns.Transaction { f(l); return l }
	const says = " 10.20.0.11>10.20.0.53: 10.20.0.11 looks up mining pool "
	tests := []struct {
		name string
		l    *dns.Transaction
		want string // "" for silence
	}{
		{"answered", answer("pool.supportxmr.com", "198.51.100.44"), "medium succeeded" + says + "pool.supportxmr.com, which is 198.51.100.44"},
		{"donation", answer("donate.v2.xmrig.com", "198.51.100.44"), "medium succeeded" + says + "donate.v2.xmrig.com, which is 198.51.100.44"},
		{"no answer seen", question("10.20.0.11", "pool.supportxmr.com"), "medium unknown" + says + "pool.supportxmr.com, no answer seen"},
		{"sinkhole", answer("pool.supportxmr.com", "0.0.0.0"), "low attempted" + says + "pool.supportxmr.com, blocked with 0.0.0.0"},
		{"sinkhole, loopback", answer("pool.supportxmr.com", "127.0.0.1"), "low attempted" + says + "pool.supportxmr.com, blocked with 127.0.0.1"},
		{"nxdomain", with(answer("pool.supportxmr.com"), func(l *dns.Transaction) { l.RCode = rcodeAbsent }), "low attempted" + says + "pool.supportxmr.com, blocked or gone: NXDOMAIN"},
		{"no IPv6 beside an IPv4 address", with(answer("pool.supportxmr.com"), func(l *dns.Transaction) { l.Type = 28 }), ""},
		{"refused", with(answer("pool.supportxmr.com"), func(l *dns.Transaction) { l.RCode = 5 }), "low attempted" + says + "pool.supportxmr.com, refused or failed: REFUSED"},
		{"alias", with(answer("a.example.org", "198.51.100.44"), func(l *dns.Transaction) { l.Answers[0].Name = "pool.supportxmr.com" }), "medium succeeded" + says + "a.example.org, another name for pool.supportxmr.com, which is 198.51.100.44"},
		{"alias without address", with(answer("a.example.org"), func(l *dns.Transaction) {
			l.Answers = []dns.Answer{{Name: "a.example.org", Type: typeCNAME, Data: "pool.supportxmr.com"}}
		}), "low attempted" + says + "a.example.org, another name for pool.supportxmr.com, without an answer"},
		{"doubtful", answer("www.emercoin.com", "198.51.100.44"), "low succeeded" + says + "www.emercoin.com, which is 198.51.100.44"},
		{"bytes that are no text", answer("\x1b[2J.supportxmr.com", "198.51.100.44"), "medium succeeded" + says + ".[2J.supportxmr.com, which is 198.51.100.44"},
		{"other name", answer("notsupportxmr.com", "198.51.100.44"), ""},
		{"search list", answer("pool.supportxmr.com.corp.example", "198.51.100.44"), ""},
	}
	for _, tt := range tests {
		b := setup(t)
		b.bus.Publish(tt.l)
		if tt.want != "" {
			tt.want = "mining/pool " + tt.want
		}
		if got := strings.Join(b.take(), "\n"); got != tt.want {
			t.Errorf("%s: found %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

// TestPagesOfAPool: what follows a look-up says what it was for.
func TestPagesOfAPool(t *testing.T) {
	tlsTo := func(name string, offered ...string) any {
		return &tls.Session{At: capture.At{Time: 2e9, Packet: 9}, Flow: flow("10.20.0.11:4000", "198.51.100.44:443"), ServerName: name, Offered: offered, Answered: true}
	}
	bytes := func(port string) any {
		return &capture.Progress{At: capture.At{Time: 3e9, Packet: 12}, Flow: flow("10.20.0.11:4001", "198.51.100.44:"+port), Bytes: [2]uint64{200, 300}}
	}
	for _, tt := range []struct {
		name string
		evs  []any
		want []string // rule and severity
	}{
		{"the pages' own name", []any{answer("www.f2pool.com", "198.51.100.44"), bytes("443")}, []string{"mining/pool low"}},
		{"its interface for programs", []any{answer("api2.nicehash.com", "198.51.100.44")}, []string{"mining/pool low"}},
		{"the domain itself", []any{answer("supportxmr.com", "198.51.100.44"), bytes("443")}, []string{"mining/pool low"}},
		{"a browser, under the name for miners", []any{answer("xmr.2miners.com", "198.51.100.44"), tlsTo("xmr.2miners.com", "h2", "http/1.1")}, []string{"mining/pool low"}},
		{"the domain itself, at a miner's port", []any{answer("supportxmr.com", "198.51.100.44"), bytes("3333")}, []string{"mining/pool low", "mining/pool medium"}},
		{"a miner over TLS", []any{answer("xmr.2miners.com", "198.51.100.44"), tlsTo("xmr.2miners.com")}, []string{"mining/pool medium", "mining/pool medium"}},
		{"nothing follows", []any{answer("pool.supportxmr.com", "198.51.100.44")}, []string{"mining/pool medium"}},
	} {
		b := setup(t)
		for _, ev := range tt.evs {
			switch ev := ev.(type) {
			case *dns.Transaction:
				b.bus.Publish(ev)
			case *tls.Session:
				b.bus.Publish(ev)
			case *capture.Progress:
				b.bus.Publish(ev)
			}
		}
		got := b.take()
		ok := len(got) == len(tt.want)
		for i := range got {
			ok = ok && strings.HasPrefix(got[i], tt.want[i])
		}
		if !ok {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestWordsAloneAreNoMining: a login in JSON that nobody answers with work, without wallet and miner.
func TestWordsAloneAreNoMining(t *testing.T) {
	b := setup(t)
	s := xmrig("10.20.0.11:4", "198.51.100.44:7000", stratum.Tried)
	s.Login, s.Agent, s.Address = "alice", "", stratum.Address{}
	b.bus.Publish(&s)
	if got := b.take(); len(got) != 1 || !strings.HasPrefix(got[0], "mining/stratum low ") {
		t.Errorf("%v", got)
	}
}

func TestResolverAsksForOthers(t *testing.T) {
	b := setup(t)
	b.bus.Publish(answer("example.org"))
	b.take()
	b.bus.Publish(question("10.20.0.53", "pool.supportxmr.com"))
	if got := b.take(); len(got) != 1 || !strings.HasPrefix(got[0], "mining/pool low ") {
		t.Errorf("%v", got)
	}
}

func TestPoolIsNamedByItsLookup(t *testing.T) {
	b := setup(t)
	b.bus.Publish(answer("pool.supportxmr.com", "198.51.100.44"))
	b.take()
	s := xmrig("10.20.0.11:40000", "198.51.100.44:3333", stratum.Working)
	b.bus.Publish(&s)
	b.want(t, "mining/stratum high succeeded 10.20.0.11>198.51.100.44: 10.20.0.11 mines for pool pool.supportxmr.com (198.51.100.44:3333) (XMRig/6.26.0, XMR wallet 45MinZ6E…Nz5X1)")
}

func TestProxies(t *testing.T) {
	b := setup(t)
	s := xmrig("10.20.0.11:40000", "10.20.0.30:1080", stratum.Working)
	b.bus.Publish(&socks.Request{At: capture.At{Packet: 2}, Flow: s.Flow, Version: 5, Command: socks.Connect, Host: socks.Address{Name: "pool.supportxmr.com"}, Port: 443, OK: true, Replied: true, Status: "succeeded"})
	b.bus.Publish(&s)
	b.want(t,
		"mining/pool medium succeeded 10.20.0.11>10.20.0.30: 10.20.0.11 asks proxy 10.20.0.30:1080 for mining pool pool.supportxmr.com",
		"mining/stratum high succeeded 10.20.0.11>10.20.0.30: 10.20.0.11 mines for pool pool.supportxmr.com:443 behind proxy 10.20.0.30:1080 (XMRig/6.26.0, XMR wallet 45MinZ6E…Nz5X1)")
	connect := func(status int) *http.Transaction {
		return &http.Transaction{Flow: flow("10.20.0.12:4", "10.20.0.30:3128"),
			Request:  &http.Request{Method: "CONNECT", Target: "POOL.supportxmr.com:443", Header: http.Header{{Name: "Host", Value: "pool.supportxmr.com"}}},
			Response: &http.Response{Status: status}}
	}
	b.bus.Publish(connect(200))
	b.bus.Publish(connect(403))
	b.want(t,
		"mining/pool medium succeeded 10.20.0.12>10.20.0.30: 10.20.0.12 asks proxy 10.20.0.30:3128 for mining pool POOL.supportxmr.com:443",
		"mining/pool low attempted 10.20.0.12>10.20.0.30: 10.20.0.12 asks proxy 10.20.0.30:3128 for mining pool POOL.supportxmr.com:443")
}

// The whole way: a miner behind SOCKS, from bytes to sentences.
func TestStratumInsideSOCKS(t *testing.T) {
	b := setup(t)
	c, s := decodertest.C, decodertest.S
	for _, ev := range decodertest.RunAll(t, []decoders.Spec{stratum.Spec(), socks.Spec()},
		c("\x05\x01\x00"), s("\x05\x00"),
		c("\x05\x01\x00\x03\x13pool.supportxmr.com\x01\xbb"), s("\x05\x00\x00\x01\x0a\x14\x00\x1e\x9c\x40"),
		c(`{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"`+wallet+`","pass":"x","agent":"XMRig/6.26.0"}}`+"\n"),
		s(`{"id":1,"jsonrpc":"2.0","error":null,"result":{"id":"1","job":{"blob":"`+strings.Repeat("10", 76)+`","job_id":"1","target":"b88d0600"},"status":"OK"}}`+"\n"),
	) {
		b.bus.Publish(ev)
	}
	b.want(t,
		"mining/pool medium succeeded 10.0.0.1>10.0.0.2: 10.0.0.1 asks proxy 10.0.0.2:8265 for mining pool pool.supportxmr.com",
		"mining/stratum high succeeded 10.0.0.1>10.0.0.2: 10.0.0.1 mines for pool pool.supportxmr.com:443 behind proxy 10.0.0.2:8265 (XMRig/6.26.0, XMR wallet 45MinZ6E…Nz5X1)")
}

func TestHTTPHosts(t *testing.T) {
	get := func(host, agent string) *http.Transaction {
		return &http.Transaction{Flow: flow("10.20.0.12:4", "198.51.100.9:80"),
			Request:  &http.Request{Method: "GET", Target: "/", Header: http.Header{{Name: "Host", Value: host}, {Name: "User-Agent", Value: agent}}},
			Response: &http.Response{Status: 200}}
	}
	b := setup(t)
	b.bus.Publish(get("supportxmr.com:8080", "curl/8"))
	b.bus.Publish(get("supportxmr.com", "Mozilla/5.0"))
	b.bus.Publish(get("example.org", "curl/8"))
	link := get("example.org", "curl/8")
	link.Request.Target = "/to?url=http://supportxmr.com/" // a link, and no proxy's target
	b.bus.Publish(link)
	b.bus.Publish(get("[2001:db8::1]:80", "curl/8"))
	b.bus.Publish(&http.Transaction{})
	b.want(t,
		"mining/pool medium succeeded 10.20.0.12>198.51.100.9: 10.20.0.12 calls mining pool supportxmr.com",
		"mining/pool low succeeded 10.20.0.12>198.51.100.9: 10.20.0.12 browses the pages of mining pool supportxmr.com")
}

func TestAddressAloneIsAHint(t *testing.T) {
	b := setup(t)
	p := &capture.Progress{Flow: flow("10.20.0.12:4", "107.191.47.239:3333"), Bytes: [2]uint64{10, 10}}
	b.bus.Publish(p)
	b.bus.Publish(p)
	b.bus.Publish(&capture.Progress{Flow: flow("10.20.0.12:4", "107.191.47.239:80"), Bytes: [2]uint64{10, 10}})
	b.bus.Publish(&capture.Progress{Flow: flow("107.191.47.239:3333", "10.20.0.12:4"), Bytes: [2]uint64{10, 10}})
	b.want(t, "mining/pool low observed 10.20.0.12>107.191.47.239: 10.20.0.12 sends data to 107.191.47.239:3333, an address that was once listed as a mining pool")
}

func TestUnansweredHTTPCallIsLow(t *testing.T) {
	b := setup(t)
	s := xmrig("10.20.0.11:4", "192.0.2.80:80", stratum.Tried)
	s.Transport, s.Dialect = "http", stratum.EthProxy
	b.bus.Publish(&s)
	if got := b.take(); len(got) != 1 || !strings.HasPrefix(got[0], "mining/stratum low ") {
		t.Errorf("%v", got)
	}
}

func TestRulesNameKnownTechniques(t *testing.T) {
	for _, r := range Spec().Rules {
		for _, id := range append(append([]string(nil), r.ATLAS...), r.ATTACK...) {
			if _, _, ok := data.Technique(id); !ok {
				t.Errorf("%s: %s is not in the data file", r.Name, id)
			}
		}
	}
}
