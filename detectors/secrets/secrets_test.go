package secrets

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/ray"
)

const (
	node    = "10.20.0.10"
	peer    = "10.20.0.11"
	outside = "198.51.100.77"
	key     = "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"
	secret  = "q8Zr1Xv0/2bNmKjHgFdSaPoIuYtReWq5+9LkMnB7"
)

type message struct {
	src, dst, target, host, ct, body string
	header                           http.Header
	answer                           string // of the server
	silent                           bool   // no answer
}

func (m message) tx() *http.Transaction {
	t := &http.Transaction{At: capture.At{Time: 1e18, Packet: 7},
		Flow: &capture.Flow{UID: "C1", Orig: netip.AddrPortFrom(netip.MustParseAddr(m.src), 4000), Resp: netip.AddrPortFrom(netip.MustParseAddr(m.dst), 8080)},
		Request: &http.Request{Method: "POST", Target: "/" + m.target, Body: http.Body{Data: []byte(m.body)},
			Header: append(http.Header{{Name: "Host", Value: m.host}, {Name: "Content-Type", Value: m.ct}}, m.header...)},
	}
	if !m.silent {
		t.Response = &http.Response{At: capture.At{Time: 1e18 + 1e6, Packet: 9}, Status: 200, Header: http.Header{{Name: "Content-Type", Value: "application/json"}},
			Body: http.Body{Data: []byte(m.answer)}}
	}
	return t
}

func judge(t *testing.T, cfg Config, m message, before ...any) *detectors.Finding {
	t.Helper()
	bus := detectortest.New(Spec(), &detectors.Env{Settings: map[string]any{"secrets": &cfg}})
	for _, ev := range before {
		bus.Publish(ev)
	}
	if ev := secrets.NewReader(nil).Interpret(m.tx()); ev != nil {
		bus.Publish(ev)
	}
	switch len(bus.Found) {
	case 0:
		return nil
	case 1:
		return bus.Found[0]
	}
	t.Fatalf("%d findings", len(bus.Found))
	return nil
}

const environment = "HOME=/root\nPWD=/\nUSER=root\nPATH=/usr/bin\nSHELL=/bin/sh\n"

// What pages and manuals show.
const made = "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\nAWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"

func TestLeak(t *testing.T) {
	for _, tt := range []struct {
		name     string
		m        message
		severity string // "" for silence
		words    string
	}{
		{"a token posted outside", message{src: node, dst: outside, body: "t=" + key}, "high", node + " sent a Hugging Face token to 198.51.100.77:8080 in clear text"},
		{"the same, without an answer", message{src: node, dst: outside, body: "t=" + key, silent: true}, "high", ""},
		{"in the query", message{src: node, dst: outside, target: "?t=" + key}, "high", ""},
		{"a key with its name", message{src: node, dst: outside, body: "aws_secret_access_key=" + secret}, "high", "AWS secret key"},
		{"job logs read from outside", message{src: outside, dst: node, answer: `{"logs":"` + strings.ReplaceAll(environment, "\n", `\n`) + `AWS_SECRET_ACCESS_KEY=` + secret + `\n"}`},
			"high", node + " gave an AWS secret key and the environment of a process away to " + outside},
		{"an environment and nothing in it", message{src: node, dst: outside, body: environment}, "low", ""},
		{"an answer that repeats what the client sent", message{src: outside, dst: node, body: `{"key":"` + key + `"}`, answer: `{"echo":{"key":"` + key + `"}}`}, "", ""},
		{"an answer with another of the same kind", message{src: outside, dst: node, body: "t=" + key[:len(key)-4] + "aBcD", answer: `{"token":"` + key + `"}`}, "high", "Hugging Face"},
		{"a key of a documentation", message{src: node, dst: outside, body: "see STRIPE_KEY=sk_test_4eC39HqLyjWDarjtT1zdp7dc and eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"}, "low", ""},
		{"an environment with a named secret", message{src: node, dst: outside, body: environment + "DB_PASSWORD=Tr0ub4dor3xYz9\n"}, "high", "the environment of a process"},
		{"made up, but a whole list of them", message{src: node, dst: outside, body: made + "OPENAI_API_KEY=sk-proj-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGh\n"}, "high", "a list of settings"},
		{"the same, and nobody answers", message{src: node, dst: outside, silent: true, body: made + "OPENAI_API_KEY=sk-proj-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGh\n"}, "medium", ""},
		{"an example of one provider", message{src: node, dst: outside, body: made}, "low", ""},
		{"a question about one key", message{src: node, dst: outside, body: "why is OPENAI_API_KEY=sk-proj-your-key-here-xxxxxxxxxxxxxxxxxxxxxxxxxxxx refused"}, "low", ""},
		{"a page with its key", message{src: node, dst: outside, target: "youtubei/v1/log_event?alt=json&key=AIzaSyBq7Zr1Xv0t2bNmKjHgFdSaPoIuYtReWq5", host: "www.youtube.com"}, "low", "to authenticate a request"},
		{"the same to somebody else", message{src: node, dst: outside, target: "v1/log_event?alt=json&key=AIzaSyBq7Zr1Xv0t2bNmKjHgFdSaPoIuYtReWq5", host: "cdn.example"}, "medium", "Google API key"},
		{"authentication", message{src: node, dst: outside, host: "gateway.example", header: http.Header{{Name: "Authorization", Value: "Bearer " + key}}}, "low", "to authenticate a request"},
		{"to its provider", message{src: node, dst: outside, host: "api.huggingface.co:80", body: "t=" + key}, "low", ""},
		{"to a name that only ends like the provider's", message{src: node, dst: outside, host: "evilhuggingface.co", body: "t=" + key}, "high", ""},
		{"between two at home", message{src: node, dst: peer, body: environment + key}, "", ""},
		{"from outside", message{src: outside, dst: node, body: environment + key}, "", ""},
		{"between two outside", message{src: outside, dst: "192.0.2.1", body: key}, "", ""},
		{"a commit and a UUID", message{src: node, dst: outside, body: "5f2c9a1b3d4e6f708192a3b4c5d6e7f8091a2b3c 3f2b8c1e-9a44-4f1b-8d2e-7c5a1b0f9e6d"}, "", ""},
		{"a login form", message{src: node, dst: outside, body: "user=alice&password=hunter2hunter2&api_key=none"}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := judge(t, Config{}, tt.m)
			if f == nil {
				if tt.severity != "" {
					t.Fatal("silent")
				}
				return
			}
			if f.Severity.String() != tt.severity || !strings.Contains(f.Msg, tt.words) {
				t.Errorf("%s %q, want %s %q", f.Severity, f.Msg, tt.severity, tt.words)
			}
			if f.Src.String() != node || f.Packet == 0 || len(f.Evidence) == 0 {
				t.Errorf("%+v", f)
			}
			text := f.Msg + f.Sub
			for _, e := range f.Evidence {
				text += e.Field + e.Value
			}
			for _, s := range []string{key[3:], secret, "Tr0ub4dor3xYz9", "wJalr", "AbCdEf", "IOSFODNN"} {
				if strings.Contains(text, s) {
					t.Errorf("%q is in %q", s, text)
				}
			}
		})
	}
}

// TestEnvironmentAfterAJob: what a log may have is what a job from outside was given for.
func TestEnvironmentAfterAJob(t *testing.T) {
	job := &ray.Call{At: capture.At{Time: 1e18 - 60e9, Packet: 1}, Job: true, Outcome: ray.Executed,
		Flow: &capture.Flow{Orig: netip.MustParseAddrPort("203.0.113.66:40000"), Resp: netip.MustParseAddrPort(node + ":8265")}}
	m := message{src: node, dst: outside, body: environment}
	if f := judge(t, Config{}, m, job); f == nil || f.Severity != detectors.Medium {
		t.Errorf("%+v", f)
	}
	old := *job
	old.Time -= capture.Time(2 * 3600e9)
	if f := judge(t, Config{}, m, &old); f == nil || f.Severity != detectors.Low {
		t.Errorf("%+v", f)
	}
}

// TestOnePlaceIsOneFinding: fifty clients that authenticate to one gateway are one line, two that lose a key are two.
func TestOnePlaceIsOneFinding(t *testing.T) {
	home := detectortest.Home()
	for _, tt := range []struct {
		m    message
		want int
	}{
		{message{dst: outside, host: "gateway.example", header: http.Header{{Name: "Authorization", Value: "Bearer " + key}}}, 1},
		{message{dst: outside, body: "t=" + key}, 50},
	} {
		n := 0
		bus := detectors.NewBus(detectors.NewSuppressor(func(*detectors.Finding) { n++ }).Report)
		Spec().New(&detectors.Env{Home: home}, bus)
		for i := range 50 {
			tt.m.src = fmt.Sprintf("10.20.1.%d", i+1)
			bus.Publish(secrets.NewReader(nil).Interpret(tt.m.tx()))
		}
		if n != tt.want {
			t.Errorf("%d findings, want %d", n, tt.want)
		}
	}
}

func TestAllowed(t *testing.T) {
	m := message{src: node, dst: outside, host: "store.corp.example", body: "t=" + key}
	for _, a := range []string{outside, "198.51.100.0/24", "corp.example"} {
		if f := judge(t, Config{Allow: []string{a}}, m); f != nil {
			t.Errorf("%s: %s", a, f.Msg)
		}
	}
	if judge(t, Config{Allow: []string{"orp.example", "192.0.2.0/24"}}, m) == nil {
		t.Error("allowed by a part of a label")
	}
	if c := (Config{Allow: []string{"."}}); settings().Check(&c) == nil {
		t.Error("everything may be allowed")
	}
}

// TestClaimedOwner: a provider's name in a request, or one that is allowed, is worth what look-ups say of it.
func TestClaimedOwner(t *testing.T) {
	lookup := func(name, addr string) any {
		return &dns.Transaction{At: capture.At{Time: 9e17}, Query: name, NameID: uint64(len(name)), Asked: true, Answered: true,
			Flow:    &capture.Flow{Orig: netip.MustParseAddrPort(node + ":5353"), Resp: netip.MustParseAddrPort("10.20.0.53:53")},
			Answers: []dns.Answer{{Name: name, Type: 1, Addr: netip.MustParseAddr(addr)}}}
	}
	m := message{src: node, dst: outside, host: "huggingface.co", body: "t=" + key}
	cfg := Config{Allow: []string{"corp.example"}}
	for _, tc := range []struct {
		name, host string
		before     []any
		want       detectors.Severity // Info: no finding
	}{
		{"no look-ups are seen", "huggingface.co", nil, detectors.Low},
		{"of the one that is called", "huggingface.co", []any{lookup("cdn.huggingface.co", outside)}, detectors.Low},
		{"of another", "huggingface.co", []any{lookup("huggingface.co", "203.0.113.9")}, detectors.High},
		{"of a name that is nobody's", "huggingface.co", []any{lookup("www.example.org", "203.0.113.9")}, detectors.Low},
		{"allowed", "store.corp.example", []any{lookup("store.corp.example", outside)}, detectors.Info},
		{"allowed, but another", "store.corp.example", []any{lookup("store.corp.example", "203.0.113.9")}, detectors.High},
	} {
		m.host = tc.host
		got := detectors.Info
		if f := judge(t, cfg, m, tc.before...); f != nil {
			got = f.Severity
		}
		if got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}
