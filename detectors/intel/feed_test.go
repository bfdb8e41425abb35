package intel

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors/data"
)

var today = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func at(t time.Time) capture.Time { return capture.Time(t.UnixNano()) }

func load(t testing.TB, feeds ...string) (*Set, []*Feed) {
	t.Helper()
	b := NewBuilder()
	var all []*Feed
	for i, text := range feeds {
		f, err := b.Load(fmt.Sprintf("feed%d", i), strings.NewReader(text), today)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return b.Build(), all
}

// added lists what a feed gave, and skipped why the rest was not.
func added(f *Feed) string {
	var s []string
	for k, n := range f.Added {
		if n > 0 {
			s = append(s, fmt.Sprintf("%s %d", Kind(k), n))
		}
	}
	return strings.Join(s, ", ")
}

func skipped(f *Feed) string {
	var s []string
	for _, x := range f.Skipped {
		s = append(s, fmt.Sprintf("%d %s @%d", x.Count, x.Reason, x.Examples[0].Line))
	}
	slices.Sort(s)
	return strings.Join(s, ", ")
}

const zeekFeed = `#fields	indicator	indicator_type	meta.source	meta.desc	meta.url
18.228.3.224	Intel::ADDR	oligo	ShadowRay 2.0 C2	https://example
45.95.168.0/24	Intel::SUBNET	oligo	-	-
evil.example.com	Intel::DOMAIN	pools	mining pool	-
bad.example.net/x.sh	Intel::URL	pools	-	-
00000000000000000000000000000001	Intel::FILE_HASH	pools	-	-
bob@example.com	Intel::EMAIL	pools	-	-
libredtail-http	Intel::SOFTWARE	pools	-	-
`

const threatFox = `################################################################
# ThreatFox IOCs: recent                                       #
# Terms Of Use: https://threatfox.abuse.ch/faq/#tos            #
################################################################
#
# "first_seen_utc","ioc_id","ioc_value","ioc_type","threat_type","fk_malware","malware_alias","malware_printable","last_seen_utc","confidence_level","is_compromised","reference","tags","anonymous","reporter"
"2026-07-04 21:46:30", "1844853", "64.227.143.36:5555", "ip:port", "botnet_cc", "win.cobalt_strike", "Agentemis", "Cobalt Strike", "", "75", "False", "None", "a,b", "0", "x"
"2026-07-04 21:46:31", "1844854", "http://bad.example.net/a,b.php", "url", "payload_delivery", "x", "", "Lumma", "2026-08-01 00:00:00", "100", "False", "None", "None", "0", "x"
"2026-07-04 21:46:32", "1844855", "d41d8cd98f00b204e9800998ecf8427e", "md5_hash", "payload", "x", "", "X", "", "50", "False", "None", "None", "0", "x"
# Number of entries: 3
`

const urlHaus = `# URLhaus Database Dump (CSV - recent URLs only)
# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter
"3141","2026-11-01 10:00:00","http://203.0.113.9:8000/bins/arm7","online","2026-11-02 00:00:00","malware_download","elf,mozi","https://urlhaus.abuse.ch/url/3141/","x"
"3142","2026-11-01 10:00:01","https://raw.githubusercontent.com/u/r/main/x.sh","offline","","malware_download","sh","https://urlhaus.abuse.ch/url/3142/","x"
`

const feodo = `# Feodo Tracker
"first_seen_utc","dst_ip","dst_port","c2_status","last_online","malware"
"2025-01-22 07:02:55","203.0.113.20","443","online","2026-11-24","QakBot"
"2025-01-22 07:02:55","203.0.113.21","443","offline","2026-01-24","QakBot"
`

const mispCSV = `uuid,event_id,category,type,value,comment,to_ids,date,object_relation,attribute_tag,object_uuid,object_name,object_meta_category
"a",1,"Network activity","ip-dst|port","18.228.3.224|48331","C2",1,1763424000,"","","","",""
"b",1,"Network activity","domain|ip","c2.example.org|203.0.113.30","",1,1763424000,"","","","",""
"c",1,"Payload","filename|sha256","x.sh|e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","",1,1763424000,"","","","",""
"d",1,"Network activity","domain","seen.example.org","",0,1763424000,"","","","",""
`

const mispJSON = `{"response":[{"Event":{"uuid":"u","info":"ShadowRay 2.0","Tag":[{"name":"tlp:white","url":"https://tag.example.org"}],
"Galaxy":[{"type":"threat-actor","GalaxyCluster":[{"type":"x","value":"not.an-indicator.example.org"}]}],
"Attribute":[{"type":"ip-dst|port","category":"Network activity","value":"18.228.3.224|48331","to_ids":true,"timestamp":"1763424000"},
 {"type":"domain","category":"Network activity","value":"watch.example.org","to_ids":false},
 {"type":"link","category":"External analysis","value":"https://report.example.org/","to_ids":true}],
"Object":[{"name":"file","Attribute":[{"type":"sha1","category":"Payload","value":"DA39A3EE5E6B4B0D3255BFEF95601890AFD80709","to_ids":true}]}]}}]}`

const stixFeed = `{"type":"bundle","id":"bundle--1","objects":[
{"type":"identity","id":"identity--1","name":"x"},
{"type":"indicator","spec_version":"2.1","id":"indicator--1","created":"2025-11-18T00:00:00.000Z","modified":"2025-11-18T00:00:00.000Z","name":"C2",
 "external_references":[{"source_name":"r","url":"https://report.example.org/x"}],"indicator_types":["malicious-activity"],
 "pattern":"[ipv4-addr:value = '18.228.3.224'] OR [domain-name:value = 'masscan.cloud']","pattern_type":"stix","valid_from":"2025-11-18T00:00:00Z","confidence":70},
{"type":"indicator","spec_version":"2.1","id":"indicator--2","pattern":"[url:value IN ('http://a.example.org/x','http://b.example.org/y') OR file:hashes.'SHA-256' = 'E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855']","pattern_type":"stix","valid_from":"2025-11-18T00:00:00Z","valid_until":"2026-01-01T00:00:00Z"},
{"type":"indicator","spec_version":"2.1","id":"indicator--3","pattern":"[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '203.0.113.5' AND network-traffic:dst_port = 4444]","pattern_type":"stix"},
{"type":"indicator","spec_version":"2.1","id":"indicator--4","pattern":"[ipv4-addr:value = '203.0.113.8'] FOLLOWEDBY [ipv4-addr:value = '203.0.113.6']","pattern_type":"stix"},
{"type":"indicator","spec_version":"2.1","id":"indicator--5","pattern":"[ipv4-addr:value = '203.0.113.7']","pattern_type":"stix","revoked":true},
{"type":"indicator","spec_version":"2.1","id":"indicator--6","pattern":"alert tcp any any","pattern_type":"snort"}]}`

const plainList = `# a list
; and another comment
// and this
18.228.3.224
203.0.113.0/24   # a network
18.228.3.224:3876
hxxps://bad[.]example[.]net/run.sh
EVIL.Example.ORG.
*.wild.example.org
bücher.example.org
0.0.0.0 hosts.example.org
127.0.0.1 localhost
||ads.example.org^
192.0.2.7,1,127
/ep9TS2/is.sh
[2001:db8::7]:8080
2001:db8::/32
45MinZ6ECgTgxn8gbm5gAsK9ATrEN6N95hbH3g4r5N4bKwH8QxuFygw3G7VwHwAusR9L35E4YjWYdTJaWDjbMGDCKYNz5X1
t13d1516h2_8daaf6152771_e5627efa2ab1
10.0.0.1
169.254.169.254
0.0.0.0/0
co.uk
printer.local
no such thing at all
raw.githubusercontent.com
1.1.1.1
`

func TestFeeds(t *testing.T) {
	for _, tt := range []struct {
		name, text, format, added, skipped string
	}{
		{"Zeek", zeekFeed, "zeek intel", "ip 1, network 1, domain 1, url 1, file hash 1, user agent 1", "1 a type that is not seen on the wire (email) @7"},
		{"ThreatFox", threatFox, "csv (ThreatFox)", "ip:port 1, url 1, file hash 1", ""},
		{"URLhaus", urlHaus, "csv", "url 2", ""},
		{"Feodo", feodo, "csv", "ip:port 1", "1 offline @4"},
		{"MISP CSV", mispCSV, "csv", "ip 1, ip:port 1, domain 1, file hash 1", "1 not meant for detection (to_ids) @5"},
		{"MISP JSON", mispJSON, "misp", "ip:port 1, file hash 1", "1 a type that is not seen on the wire (link) @3, 1 not meant for detection (to_ids) @2"},
		{"STIX", stixFeed, "stix 2.1", "ip 1, ip:port 1, domain 1, url 2, file hash 1",
			"1 a pattern in another language (snort) @6, 1 a pattern that combines observations @4, 1 revoked @5"},
		{"list", plainList, "list", "ip 3, network 2, ip:port 2, domain 6, url 1, path 1, ja4 1, wallet 1",
			"1 a local name @24, 1 a network too broad @22, 1 a suffix under which names are registered @23, 1 not recognised @25, 2 a private or reserved address @20"},
		{"plain CSV", "indicator,type,source,campaign\n18.228.3.224,ip,\"a, b\",X\nx.example.org,domain,s,Y\n", "csv", "ip 1, domain 1", ""},
		{"ThreatFox JSON", `{"7":[{"ioc_value":"203.0.113.4:80","ioc_type":"ip:port","malware_printable":"X","confidence_level":50}]}`, "json (ThreatFox)", "ip:port 1", ""},
		{"JSON list", `["203.0.113.4","x.example.org"]`, "json", "ip 1, domain 1", ""},
		{"dataset", `[{"domain":".evil.example.org"}]`, "json", "domain 1", ""},
		{"SSLBL, addresses", "# SSLBL Botnet C2 IP Blacklist\n# Firstseen,DstIP,DstPort\n2026-11-01 10:00:00,203.0.113.40,8443\n", "csv", "ip:port 1", ""},
		{"SSLBL, certificates", "# Listingdate,SHA1,Listingreason\n2026-11-01 10:00:00,da39a3ee5e6b4b0d3255bfef95601890afd80709,X C&C\n", "csv", "",
			"1 a certificate by SHA-1, which is not computed @2"},
		{"SSLBL, fingerprints", "# ja3_md5,Firstseen,Lastseen,Listingreason\nc216e752cae6f8755fd27f561d031636,2020-01-01 00:00:00,2021-01-01 00:00:00,X\n", "csv", "ja3 1", ""},
		{"OTX", "Indicator type,Indicator,Description\nIPv4,203.0.113.41,\nFileHash-SHA256,E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855,\nCVE,CVE-2023-48022,\n", "csv",
			"ip 1, file hash 1", "1 a type that is not seen on the wire (cve) @4"},
		{"nothing", "", "list", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, fs := load(t, tt.text)
			f := fs[0]
			if f.Format != tt.format || added(f) != tt.added || skipped(f) != tt.skipped {
				t.Errorf("%s: %s\nskipped %s\nwant %s: %s\nskipped %s", f.Format, added(f), skipped(f), tt.format, tt.added, tt.skipped)
			}
		})
	}
}

// TestIndicatorsAreFound: each in the form in which the wire has it.
func TestIndicatorsAreFound(t *testing.T) {
	s, fs := load(t, plainList, stixFeed, zeekFeed, urlHaus, threatFox)
	now := at(today)
	addr := func(a string) string {
		h, ok := s.Addr(netip.MustParseAddrPort(a), now)
		return fmt.Sprint(ok, " ", h.Kind, " ", h.Indicator)
	}
	name := func(n string) string {
		h, ok := s.Name(n, 443, now)
		return fmt.Sprint(ok, " ", h.Kind, " ", h.Indicator)
	}
	url := func(host string, port uint16, target string) string {
		h, ok := s.URL(host, port, target, now)
		return fmt.Sprint(ok, " ", h.Kind, " ", h.Indicator)
	}
	no := "false ip "
	for _, tt := range []struct{ got, want string }{
		{addr("18.228.3.224:3876"), "true ip:port 18.228.3.224:3876"},
		{addr("18.228.3.224:80"), "true ip 18.228.3.224"},
		{addr("[::ffff:18.228.3.224]:80"), "true ip 18.228.3.224"},
		{addr("203.0.113.77:1"), "true network 203.0.113.0/24"},
		{addr("203.0.114.77:1"), no},
		{addr("[2001:db8::7]:8080"), "true ip:port [2001:db8::7]:8080"},
		{addr("[2001:db8:5::1]:1"), "true network 2001:db8::/32"},
		{addr("10.0.0.1:1"), no},
		{name("evil.example.org"), "true domain evil.example.org"},
		{name("A.B.Evil.Example.Org."), "true domain evil.example.org"},
		{name("notevil.example.org"), no}, // a border of a label is asked for
		{name("evil.example.org.example.net"), no},
		{name("wild.example.org"), "true domain wild.example.org"},
		{name("xn--bcher-kva.example.org"), "true domain xn--bcher-kva.example.org"},
		{name("hosts.example.org"), "true domain hosts.example.org"},
		{name("x.masscan.cloud"), "true domain masscan.cloud"},
		{name("com"), no},
		{name(""), no},
		{name(strings.Repeat("a.", 100) + "evil.example.org"), "true domain evil.example.org"},
		{url("bad.example.net", 443, "/run.sh"), "true url bad.example.net/run.sh"},
		{url("BAD.example.net.", 80, "/run.sh?x=1"), "true url bad.example.net/run.sh"},
		{url("bad.example.net", 80, "/run.sh.bak"), no},
		{url("bad.example.net", 8080, "/run.sh"), no},
		{url("203.0.113.9", 8000, "/bins/arm7"), "true url 203.0.113.9:8000/bins/arm7"},
		{url("bad.example.net", 80, "/a,b.php"), "true url bad.example.net/a,b.php"},
		{url("any.example", 80, "/EP9ts2/is.sh"), "true path /ep9ts2/is.sh"},
		{url("any.example", 80, "/x/ep9ts2/is.sh"), no},
		{url("", 0, ""), no},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
	if h, ok := s.Text(Hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", now); !ok || !h.Expired {
		t.Errorf("%+v", h)
	}
	if h, _ := s.Name("raw.githubusercontent.com", 443, now); h.Shared != "GitHub" {
		t.Errorf("%+v", h)
	}
	if h, _ := s.Addr(netip.MustParseAddrPort("1.1.1.1:53"), now); h.Shared == "" {
		t.Errorf("%+v", h)
	}
	// Three feeds have it: each is named, and it weighs more.
	if h, _ := s.Addr(netip.MustParseAddrPort("18.228.3.224:80"), at(time.Date(2025, 11, 18, 0, 0, 0, 0, time.UTC))); len(h.Sources) != 3 || h.Confidence != 80 {
		t.Errorf("%+v", h)
	}
	if s.Merged != 2 || fs[0].NShared != 2 || fs[1].Ended != 3 {
		t.Errorf("merged %d, shared %d, ended %d", s.Merged, fs[0].NShared, fs[1].Ended)
	}
}

func TestAge(t *testing.T) {
	s, _ := load(t, "indicator,type,last_seen,confidence\n203.0.113.1,ip,2026-01-01,80\nx.example.org,domain,2026-01-01,80\nd41d8cd98f00b204e9800998ecf8427e,md5,2026-01-01,80\n")
	for _, tt := range []struct {
		days             int
		ip, domain, hash int
	}{{-30, 80, 80, 80}, {0, 80, 80, 80}, {180, 40, 63, 80}, {540, 32, 40, 80}, {3000, 32, 32, 80}} {
		now := at(time.Date(2026, 1, 1, 5, 0, 0, 0, time.UTC).AddDate(0, 0, tt.days))
		a, _ := s.Addr(netip.MustParseAddrPort("203.0.113.1:1"), now)
		n, _ := s.Name("x.example.org", 0, now)
		h, _ := s.Text(Hash, "d41d8cd98f00b204e9800998ecf8427e", now)
		if a.Confidence != tt.ip || n.Confidence != tt.domain || h.Confidence != tt.hash {
			t.Errorf("after %d days: %d %d %d", tt.days, a.Confidence, n.Confidence, h.Confidence)
		}
	}
}

func TestWildcardOfTheSuffixListIsNoSharedService(t *testing.T) {
	s, _ := load(t, "tdtqy-oyaaa-aaaae-af2dq-cai.raw.icp0.io\nduckdns.org\nevil.duckdns.org\n")
	for name, shared := range map[string]bool{"tdtqy-oyaaa-aaaae-af2dq-cai.raw.icp0.io": false, "other.duckdns.org": true, "evil.duckdns.org": false} {
		if h, ok := s.Name(name, 0, 0); !ok || (h.Shared != "") != shared {
			t.Errorf("%s: %v %+v", name, ok, h)
		}
	}
}

func TestGzip(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(zeekFeed))
	w.Close()
	if _, f := load(t, b.String()); f[0].Indicators() != 6 {
		t.Errorf("%+v", f[0])
	}
}

// TestBuiltIn: everything in the embedded file is understood.
func TestBuiltIn(t *testing.T) {
	csv, version := data.Indicators()
	s, f := load(t, csv)
	if len(f[0].Skipped) > 0 || f[0].Indicators() < 140 || version == "" || s.Merged != 0 {
		t.Errorf("version %q, %d merged: %+v", version, s.Merged, f[0])
	}
	now := at(today)
	for _, n := range []string{"pool.supportxmr.com", "x.oast.fun", "ip-api.com"} {
		if h, ok := s.Name(n, 0, now); !ok || h.Shared == "" {
			t.Errorf("%s is a service that many use: %+v", n, h)
		}
	}
	if h, ok := s.URL("raw.githubusercontent.com", 443, "/thisisforwork440-ops/ironrock/refs/heads/main/run.sh", now); !ok || h.Shared != "" {
		t.Errorf("%+v", h)
	}
	if h, ok := s.URL("gitlab.com", 443, "/ironern440-group/x/-/raw/main/y.sh", now); !ok || h.Kind != URLPrefix {
		t.Errorf("%+v", h)
	}
	if h, ok := s.URL("gitlab.com", 443, "/ironern440-groupie", now); ok {
		t.Errorf("%+v", h)
	}
	for _, ok := range []string{"gitlab.com", "github.com", "raw.githubusercontent.com"} {
		if h, found := s.Name(ok, 443, now); found {
			t.Errorf("%s: %+v", ok, h)
		}
	}
}

func TestPatterns(t *testing.T) {
	for in, want := range map[string]string{
		`[ipv4-addr:value = '1.2.3.4']`:                                                 "[{ip 1.2.3.4}]",
		`[ domain-name:value='a.b' OR domain-name:value = 'c\'d' ]`:                     "[{domain a.b} {domain c'd}]",
		`[file:hashes."SHA-256" = 'x'] OR [file:hashes.MD5 = 'y']`:                      "[{sha256 x} {md5 y}]",
		`[network-traffic:dst_port = 80 AND network-traffic:dst_ref.value = '1.2.3.4']`: "[{ip:port 1.2.3.4:80}]",
		`[network-traffic:dst_port = 80]`:                                               errWhole.Error(),
		`[ipv4-addr:value = '1.2.3.4' AND domain-name:value = 'a.b']`:                   errPattern.Error(),
		`[ipv4-addr:value = '1.2.3.4'] AND [domain-name:value = 'a.b']`:                 errCombined.Error(),
		`[ipv4-addr:value = '1.2.3.4'] WITHIN 5 SECONDS`:                                errCombined.Error(),
		`[ipv4-addr:value != '1.2.3.4']`:                                                errPattern.Error(),
		`[ipv4-addr:value NOT = '1.2.3.4']`:                                             errPattern.Error(),
		`[domain-name:value LIKE '%.evil']`:                                             errPattern.Error(),
		`[process:name = 'x']`:                                                          errWhole.Error(),
		`[process:name = 'x' AND ipv4-addr:value = '1.2.3.4']`:                          errPattern.Error(),
		`([ipv4-addr:value = '1.2.3.4'])`:                                               errPattern.Error(),
		`[ipv4-addr:value = '1.2.3.4`:                                                   errPattern.Error(),
		``:                                                                              errPattern.Error(),
	} {
		terms, err := parsePattern(in)
		got := fmt.Sprint(terms)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestLive(t *testing.T) {
	one, _ := load(t, "203.0.113.1\n")
	two, _ := load(t, "203.0.113.2\n")
	l := NewLive(one)
	old := l.Set()
	l.Swap(two)
	a := netip.MustParseAddrPort("203.0.113.1:1")
	if _, ok := l.Set().Addr(a, 0); ok {
		t.Error("the old set is still there")
	}
	if _, ok := old.Addr(a, 0); !ok {
		t.Error("who held the old set lost it")
	}
	var none *Set
	if _, ok := none.Addr(a, 0); ok {
		t.Error("nothing has an indicator")
	}
}

func fuzz(f *testing.F, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		bl := NewBuilder()
		feed, _ := bl.Load("x", bytes.NewReader(b), today)
		s := bl.Build()
		if s.Len() > feed.Indicators() || s.Memory() < 0 {
			t.Errorf("%d of %+v", s.Len(), feed)
		}
		s.Addr(netip.MustParseAddrPort("203.0.113.1:1"), 0)
		s.Name(string(b), 1, 0)
		s.URL(string(b), 1, "/"+string(b), 0)
	})
}

func FuzzZeek(f *testing.F) { fuzz(f, zeekFeed) }
func FuzzCSV(f *testing.F)  { fuzz(f, threatFox, urlHaus, feodo, mispCSV) }
func FuzzJSON(f *testing.F) { fuzz(f, mispJSON, stixFeed) }
func FuzzList(f *testing.F) { fuzz(f, plainList) }
func FuzzPattern(f *testing.F) {
	f.Add(`[url:value IN ('a','b') OR file:hashes.'SHA-256' = 'c'] OR [network-traffic:dst_ref.value = '1' AND network-traffic:dst_port = 4]`)
	f.Fuzz(func(t *testing.T, s string) {
		if terms, err := parsePattern(s); err == nil && len(terms) == 0 {
			t.Error("nothing, and no reason")
		}
	})
}

// BenchmarkLookup measures what a flow, a name and a request cost against five million indicators, and what one takes
// in memory.
func BenchmarkLookup(b *testing.B) {
	const n = 5_000_000
	bl := NewBuilder()
	l := &loader{b: bl, f: &Feed{Name: "x"}, named: map[string]uint16{}}
	for i := range uint32(n) {
		r := record{confidence: int(i % 100), seen: 20000 + int(i%500), desc: fmt.Sprint("family ", i%3000)}
		x := i * 2654435761
		switch i % 4 {
		case 0:
			l.put(&r, IP, hashAddr(IP, netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)}), 0), "")
		case 1:
			l.put(&r, Domain, hashText(Domain, fmt.Sprintf("h%d.example.org", x)), "")
		case 2:
			l.put(&r, Hash, hashText(Hash, fmt.Sprintf("%064x", x)), "")
		case 3:
			l.put(&r, URL, hashText(URL, fmt.Sprintf("h%d.example.org/x", x)), "")
		}
	}
	for bits := uint8(16); bits < 32; bits += 2 {
		bl.lengths[0][bits] = true
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, 0}), int(bits)).Masked()
		l.put(&record{confidence: 50}, Network, hashAddr(Network, p.Addr(), uint16(bits)), "")
	}
	s := bl.Build()
	perIndicator := float64(s.Memory()) / float64(s.Len())
	x := uint32(1)
	b.Run("flow", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x = x*1664525 + 1013904223
			s.Addr(netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)}), 443), 0)
		}
		b.ReportMetric(perIndicator, "bytes/indicator")
	})
	b.Run("name", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Name("cdn-17.edge.eu-west-1.example.net", 443, 0)
		}
	})
	b.Run("request", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.URL("cdn-17.edge.eu-west-1.example.net", 80, "/a/b/c/d.js?x=1", 0)
		}
	})
}
