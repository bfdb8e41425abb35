package syslog

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/zeek"
)

// parseCEF reads a message by the rules of the format: a bar of the head with a backslash before it is none, a key is a word
// with an unescaped sign of equality behind it, and a value ends where the next key begins.
func parseCEF(t *testing.T, s string) (head []string, ext map[string]string) {
	t.Helper()
	if strings.ContainsAny(s, "\r\n\x00\x1b") {
		t.Errorf("%q has lines or control characters", s)
	}
	s, ok := strings.CutPrefix(s, "CEF:")
	if !ok {
		t.Fatalf("%q", s)
	}
	var field []byte
	for len(head) < 7 {
		if s == "" {
			t.Fatalf("the head ends early: %q", head)
		}
		c := s[0]
		s = s[1:]
		switch {
		case c == '|':
			head, field = append(head, string(field)), nil
		case c == '\\' && (s[0] == '|' || s[0] == '\\'):
			field, s = append(field, s[0]), s[1:]
		case c == '\\':
			t.Fatalf("a backslash before %q", s[0])
		default:
			field = append(field, c)
		}
	}
	ext = map[string]string{}
	key, value, word := "", []byte(nil), 0
	end := func() {
		if key == "" {
			return
		}
		if _, twice := ext[key]; twice {
			t.Errorf("%s twice", key)
		}
		ext[key] = string(value)
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\':
			if i++; i == len(s) || s[i] != '=' && s[i] != '\\' && s[i] != 'n' && s[i] != 'r' {
				t.Fatalf("a backslash alone in %q", s)
			}
			value = append(value, s[i])
		case '=':
			next := string(value[word:])
			if next == "" || strings.ContainsFunc(next, func(r rune) bool { return r < '0' || r > 'z' || r > '9' && r < 'A' || r > 'Z' && r < 'a' }) {
				t.Fatalf("%q is no key in %q", next, s)
			}
			value = bytes.TrimSuffix(value[:word], []byte(" "))
			end()
			key, value, word = next, nil, 0
		case ' ':
			value = append(value, c)
			word = len(value)
		default:
			value = append(value, c)
		}
	}
	end()
	return head, ext
}

// cefTypes are the keys that are in use, of ArcSight's dictionary, with the lengths it gives; 0: a number.
var cefTypes = map[string]int{
	"rt": 0, "deviceExternalId": 255, "dvchost": 100, "externalId": 40, "cat": 1023, "src": 15, "dst": 15, "c6a2": 45, "c6a3": 45, "c6a2Label": 1023, "c6a3Label": 1023,
	"spt": 0, "dpt": 0, "proto": 31, "act": 63, "outcome": 63, "cnt": 0, "cn1": 0, "cn1Label": 1023, "cs1": 4000, "cs1Label": 1023, "cs2": 4000, "cs2Label": 1023,
	"cs3": 4000, "cs3Label": 1023, "cs4": 4000, "cs4Label": 1023, "cs5": 4000, "cs5Label": 1023, "msg": 1023,
}

func TestCEF(t *testing.T) {
	const nasty = "a|b=c \\ d\\=e\nact=blocked src=1.2.3.4 \r\n\x1b[31m CEF:0|x|\u202e \xff ]"
	whole := &detectors.Finding{
		At: capture.At{Time: 1763916157_010_000_000}, Rule: "jobsubmit/external", Severity: detectors.Critical, Confidence: 95, Outcome: detectors.Succeeded, Count: 3,
		Msg: "203.0.113.66 ran " + nasty, Src: netip.MustParseAddr("203.0.113.66"), Dst: netip.MustParseAddr("10.20.0.10"), Port: 8265, Incident: "I12345678901234567",
		Flow:     &capture.Flow{UID: "CM1bz9rnVNPpvIbUSf", Proto: capture.ProtoTCP, Orig: netip.MustParseAddrPort("203.0.113.66:40000"), Resp: netip.MustParseAddrPort("10.20.0.10:8265")},
		Evidence: []detectors.Evidence{{Field: "entrypoint", Value: nasty}, {Field: "x", Value: strings.Repeat("ü=\\", 3000)}},
	}
	six := &detectors.Finding{Rule: "scan/hosts", Severity: detectors.Info, Src: netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("fe80::1%eth0"), Msg: strings.Repeat("ü|", 2000)}
	bare := &detectors.Finding{Rule: "x|y\\", Severity: detectors.Medium}
	for name, f := range map[string]*detectors.Finding{"whole": whole, "six": six, "bare": bare} {
		s := &Sink{opt: Options{Host: "node|17=x", CEF: true, Version: "1.2|3", Facility: "local0"}, element: "raytap@0", pid: "7", network: "udp", facility: 16,
			findings: zeek.NewFindings([]detectors.Rule{{Name: "jobsubmit/external", Note: "Job_Submit_External"}})}
		b, err := s.message(f, name == "bare")
		if err != nil {
			t.Fatal(err)
		}
		m, err := rfc5424.NewParser().Parse(b)
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, b)
		}
		x := m.(*rfc5424.SyslogMessage)
		if x.StructuredData != nil || *x.Appname != "raytap" {
			t.Errorf("%s: %s", name, b)
		}
		head, ext := parseCEF(t, *x.Message)
		if head[0] != "0" || head[1] != "raytap" || head[2] != "raytap" || head[3] != "1.2|3" || head[4] != f.Rule || head[5] == "" {
			t.Errorf("%s: %q", name, head)
		}
		if n, err := strconv.Atoi(head[6]); err != nil || n < 0 || n > 10 {
			t.Errorf("%s: severity %q", name, head[6])
		}
		for k, v := range ext {
			most, ok := cefTypes[k]
			if _, err := strconv.ParseInt(v, 10, 64); !ok || most > 0 && len(v) > most || most == 0 && err != nil || v == "" {
				t.Errorf("%s: %s=%.100q", name, k, v)
			}
			if label, ok := strings.CutSuffix(k, "Label"); ok && ext[label] == "" {
				t.Errorf("%s: %s labels nothing", name, k)
			}
		}
		if ext["deviceExternalId"] != "node|17=x" || ext["externalId"] != f.ID() || ext["act"] != map[bool]string{false: "alert", true: "update"}[name == "bare"] {
			t.Errorf("%s: %v", name, ext)
		}
		switch name {
		case "whole":
			want := map[string]string{"src": "203.0.113.66", "dst": "10.20.0.10", "spt": "40000", "dpt": "8265", "proto": "TCP", "cs1": "jobsubmit/external", "cs2": "I12345678901234567",
				"cs3": "CM1bz9rnVNPpvIbUSf", "cn1": "95", "cnt": "3", "outcome": "succeeded", "cat": "Raytap::Job_Submit_External", "rt": strconv.FormatInt(time.Unix(1763916157, 1e7).UnixMilli(), 10)}
			for k, v := range want {
				if ext[k] != v {
					t.Errorf("%s is %q, not %q", k, ext[k], v)
				}
			}
			if head[6] != "10" || !strings.Contains(ext["msg"], "a|b=c ") || !strings.Contains(ext["msg"], "src=1.2.3.4") {
				t.Errorf("%q %q", head, ext["msg"])
			}
		case "six":
			if ext["src"] != "" || ext["c6a2"] != "2001:db8::1" || ext["c6a3"] != "fe80::1" || head[6] != "1" {
				t.Errorf("%v", ext)
			}
		}
	}
}
