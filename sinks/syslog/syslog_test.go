package syslog

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

func finding(n int) *detectors.Finding {
	return &detectors.Finding{
		At:   capture.At{Time: 1700000000_123456789, Packet: 52},
		Rule: "jobsubmit/external", Severity: detectors.Critical, Confidence: 95, Outcome: detectors.Succeeded,
		Msg: fmt.Sprintf("203.0.113.66 submitted job %d", n), Src: netip.MustParseAddr("203.0.113.66"), Dst: netip.MustParseAddr("2001:db8::1"), Port: 8265,
		Flow: &capture.Flow{UID: "CabcDEF", Proto: capture.ProtoTCP,
			Orig: netip.MustParseAddrPort("203.0.113.66:40000"), Resp: netip.MustParseAddrPort("10.20.0.10:8265")},
		Evidence: []detectors.Evidence{{Field: "entrypoint", Value: "a\x00\x1b[31m\n\"]\\", Packet: 52}},
	}
}

var rules = []detectors.Rule{{Name: "jobsubmit/external", Note: "Job_Submit_External"}}

func parse(t *testing.T, b []byte) *rfc5424.SyslogMessage {
	t.Helper()
	m, err := rfc5424.NewParser().Parse(b)
	if err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	return m.(*rfc5424.SyslogMessage)
}

// octets reads one message with its count in front.
func octets(t *testing.T, r *bufio.Reader) []byte {
	t.Helper()
	var n int
	if _, err := fmt.Fscanf(r, "%d ", &n); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEnterprise: the structured data's name has the number that is given, and never that of documents.
func TestEnterprise(t *testing.T) {
	for n, want := range map[int]string{0: "[raytap@0 ", 61: "[raytap@61 "} {
		s, err := New(Options{Address: "udp://127.0.0.1:9", Host: "sensor1", Rules: rules, Enterprise: n})
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.message(finding(1), false)
		if err != nil || !strings.Contains(string(m), want) {
			t.Errorf("%d: %v: %s", n, err, m)
		}
		parse(t, m)
		s.Close()
	}
	if _, err := New(Options{Address: "udp://127.0.0.1:9", Enterprise: -1}); err == nil {
		t.Error("-1 is taken")
	}
}

func TestMessage(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s, err := New(Options{Address: "udp://" + server.LocalAddr().String(), Host: "sensor1", Rules: rules, Severity: detectors.Low})
	if err != nil {
		t.Fatal(err)
	}
	s.pid = "4711"
	quiet := finding(0)
	quiet.Severity = detectors.Info
	s.Event(quiet) // below what was asked for
	s.Event("of no interest")
	s.Event(finding(1))
	b := make([]byte, 1<<16)
	n, _, err := server.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	want := `<130>1 2023-11-14T22:13:20.123456Z sensor1 raytap 4711 jobsubmit/external [raytap@0 community_id="1:LvmFRF4AQoIlK+PcqFLJxDnd8/w=" confidence="95" ` +
		`dst="2001:db8::1" finding_id="Rt4COoZeF8MKRV1Tii" n="1" note="Raytap::Job_Submit_External" outcome="succeeded" port="8265" revision="1" rule="jobsubmit/external" ` +
		`severity="critical" src="203.0.113.66" uid="CabcDEF"] 203.0.113.66 submitted job 1`
	if got := string(b[:n]); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	parse(t, b[:n])
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if sent, dropped := s.Counts(); sent != 1 || dropped != 0 {
		t.Errorf("sent %d, dropped %d", sent, dropped)
	}
}

// TestHostileText: what an attacker chose stays inside its message.
func TestHostileText(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		s, err := New(Options{Address: "udp://127.0.0.1:9", JSON: asJSON, Host: "h"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		f := finding(1)
		f.Msg = "a\n<0>1 - forged \x1b[2J \xff \u202e é"
		f.Outcome = `x"] \ [evil@1 a="b` + "\n"
		b, err := s.message(f, false)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(b, "\n\x1b\x00") {
			t.Errorf("control characters in %q", b)
		}
		m := parse(t, b)
		if n := len(*m.StructuredData); n != 1 {
			t.Errorf("%d elements in %q", n, b)
		}
		if asJSON {
			var row map[string]any
			if err := json.Unmarshal([]byte(*m.Message), &row); err != nil || row["rule"] != "jobsubmit/external" || row["severity"] != "critical" {
				t.Errorf("%q: %v", *m.Message, err)
			}
		} else if *m.Message != `a\x0a<0>1 - forged \x1b[2J \xff \u{202e} é` {
			t.Errorf("text %q", *m.Message)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	server, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s, err := New(Options{Address: "unix://" + path, Facility: "auth"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Event(finding(1))
	b := make([]byte, 1<<16)
	n, _, err := server.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if m := parse(t, b[:n]); *m.Facility != 4 || *m.Severity != 2 {
		t.Errorf("%q", b[:n])
	}
}

// TestServerThatGoesAndComes: what waits in the meantime arrives when the server is back, in order.
func TestServerThatGoesAndComes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	said := make(chan string, 100)
	s, err := New(Options{Address: "tcp://" + addr, Say: func(m string) { said <- m }})
	if err != nil {
		t.Fatal(err)
	}
	s.Event(finding(1))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if m := parse(t, octets(t, bufio.NewReader(c))); *m.Message != "203.0.113.66 submitted job 1" {
		t.Errorf("%q", *m.Message)
	}
	l.Close()
	c.Close()
	// The first write after the end may still succeed; from when the sink knows, nothing is lost.
	last := 1
	for away := false; !away; time.Sleep(time.Millisecond) {
		last++
		s.Event(finding(last))
		select {
		case m := <-said:
			if away = strings.Contains(m, "cannot be reached"); !away {
				t.Errorf("said %q", m)
			}
		default:
		}
	}
	s.Event(finding(last + 1))
	s.Event(finding(last + 2))
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for n := 0; n < last+2; {
		var got int
		m := parse(t, octets(t, r))
		if _, err := fmt.Sscanf(*m.Message, "203.0.113.66 submitted job %d", &got); err != nil || n > 0 && got != n+1 {
			t.Fatalf("%q behind %d", *m.Message, n)
		}
		n = got
	}
	if m := <-said; !strings.Contains(m, "is back") {
		t.Errorf("said %q", m)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestNobodyThere: Event does not wait, the queue is bounded, and what does not fit is counted.
func TestNobodyThere(t *testing.T) {
	s, err := New(Options{Address: "unix://" + filepath.Join(t.TempDir(), "none")})
	if err != nil {
		t.Fatal(err)
	}
	const n = queueLen * 3
	for i := range n {
		s.Event(finding(i))
	}
	if _, dropped := s.Counts(); dropped < n-queueLen-1 {
		t.Errorf("%d dropped", dropped)
	}
	s.cancel() // instead of waiting for Close's grace
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), fmt.Sprint(n)) {
		t.Errorf("%v", err)
	}
	if sent, dropped := s.Counts(); sent != 0 || dropped != n {
		t.Errorf("sent %d, dropped %d", sent, dropped)
	}
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "log"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := New(Options{Address: "tls://" + l.Addr().String(), CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Event(finding(1))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	parse(t, octets(t, bufio.NewReader(c)))
	// A server that cannot be trusted gets nothing.
	said := make(chan string, 10)
	wary, err := New(Options{Address: "tls://" + l.Addr().String(), Say: func(m string) { said <- m }})
	if err != nil {
		t.Fatal(err)
	}
	defer wary.Close()
	wary.Event(finding(1))
	if c, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	if n, _ := c.Read(make([]byte, 1)); n > 0 {
		t.Error("a message went to a stranger")
	}
	c.Close()
	if m := <-said; !strings.Contains(m, "certificate") {
		t.Errorf("said %q", m)
	}
	wary.cancel()
}

func TestOptionsAreChecked(t *testing.T) {
	for _, a := range []string{"", "localhost:514", "http://h:1", "udp://h", "udp://:514", "tcp://h:1/x", "unix://h/x", "unix:", "tls://u@h:1", "udp://h:1?x", "://"} {
		if _, err := New(Options{Address: a}); err == nil {
			t.Errorf("%q was accepted", a)
		}
	}
	if _, err := New(Options{Address: "udp://[::1]:514", Facility: "local9"}); err == nil {
		t.Error("local9 was accepted")
	}
	if _, err := New(Options{Address: "tls://h:1", CA: os.DevNull}); err == nil {
		t.Error("a CA file without certificate was accepted")
	}
}

// TestUpdate: what becomes of a finding is told under its name, with its number.
func TestUpdate(t *testing.T) {
	s, err := New(Options{Address: "udp://127.0.0.1:9", Host: "h", Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := finding(1)
	again := *f
	again.Count, again.Revision, again.Name = 8000, 4, f.ID()
	b, err := s.message(&again, true)
	if err != nil {
		t.Fatal(err)
	}
	parse(t, b)
	for _, want := range []string{`finding_id="` + f.ID() + `"`, ` n="8000"`, ` revision="4"`, ` update="true"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	if b, err = s.message(f, false); err != nil || strings.Contains(string(b), "update=") {
		t.Errorf("%v: the first is an update: %s", err, b)
	}
}
