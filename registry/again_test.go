package registry

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/decoders/shell"
	"github.com/raytap/raytap/decoders/stratum"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
)

func registry(t testing.TB) []decoders.Spec {
	home, err := detectors.ParseNetworks(detectors.DefaultHome)
	if err != nil {
		t.Fatal(err)
	}
	return Decoders(home)
}

const (
	aRequest = "POST /api/jobs/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
	anAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
	aMiner   = `{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"x","pass":"x","agent":"XMRig/6.21.0"}}` + "\n"
	aPool    = `{"id":1,"jsonrpc":"2.0","error":null,"result":{"id":"1","job":{"blob":"` + hex64 + hex64 + hex64 + `","job_id":"j","target":"b88d0600"},"status":"OK"}}` + "\n"
	aShare   = `{"id":2,"jsonrpc":"2.0","method":"submit","params":{"id":"1","job_id":"j","nonce":"deadbeef","result":"` + hex64 + `"}}` + "\n"
	anOK     = `{"id":2,"jsonrpc":"2.0","error":null,"result":{"status":"OK"}}` + "\n"
	hex64    = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	anEnv    = "SHELL=/bin/bash\nHOME=/root\nPWD=/srv\nPATH=/usr/bin:/bin\nLANG=C\nUSER=root\n"
)

func hello() string {
	return "\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03" + strings.Repeat("r", 32) + "\x00\x00\x02\x13\x01\x01\x00"
}

// kinds names what was said, in order.
func kinds(evs []any) string {
	var got []string
	for _, ev := range evs {
		switch ev := ev.(type) {
		case *http.Transaction:
			k := "http"
			if ev.Request == nil {
				k += "-answer"
			} else if ev.Response == nil {
				k += "-request"
			}
			got = append(got, k)
		case *stratum.Session:
			got = append(got, "stratum")
		case *tls.Session:
			got = append(got, "tls")
		case *secrets.Seen:
			got = append(got, "secrets")
		case *shell.Session:
			got = append(got, "shell")
		}
	}
	return strings.Join(got, " ")
}

// TestLaterBeginnings: with the whole registry asked, what comes later is found behind whatever came before.
func TestLaterBeginnings(t *testing.T) {
	c, s := decodertest.C, decodertest.S
	junk := func(n int) string {
		r := rand.New(rand.NewPCG(uint64(n), 3))
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(0x80 + r.IntN(0x40)) // like no line of anything
		}
		return string(b)
	}
	prose := strings.Repeat("What nobody reads is read all the same. ", 50) + "\n"
	for _, tt := range []struct {
		name  string
		steps []decodertest.Step
		want  string
	}{
		{"HTTP behind a keep-alive's byte", []decodertest.Step{c("\x00"), c(aRequest), s(anAnswer), c(aRequest), s(anAnswer)}, "http http"},
		{"HTTP behind the server's", []decodertest.Step{s("\x00"), c(aRequest), s(anAnswer)}, "http"},
		{"HTTP behind the end of a body", []decodertest.Step{c(junk(20000)), s("{}"), c(aRequest), s(anAnswer)}, "http"},
		{"HTTP behind the end of an answer", []decodertest.Step{s(junk(20000)), c(aRequest), s(anAnswer)}, "http"},
		{"HTTP behind a line", []decodertest.Step{c("hello there\n"), s("what?\n"), c(aRequest), s(anAnswer)}, "http"},
		{"HTTP behind much text", []decodertest.Step{c(strings.Repeat(prose, 20)), s("ok\n"), c(aRequest), s(anAnswer)}, "http"},
		{"HTTP behind an environment", []decodertest.Step{c(anEnv + prose + prose + prose), s("ok\n"), c(aRequest), s(anAnswer)}, "http"}, // what came before has no secret in it
		{"HTTP behind a loss", []decodertest.Step{c("\x80"), {Dir: capture.Orig, Gap: 1000}, c(junk(3000)), s(anAnswer), c(aRequest), s(anAnswer)}, "http-answer http"},
		{"stratum behind lines", []decodertest.Step{c("HELO pool\n" + aMiner), s("\n\n" + aPool)}, "stratum"},
		{"stratum behind blanks", []decodertest.Step{c(strings.Repeat("\n", 9000)), c(aMiner), s(aPool), c(aShare), s(anOK)}, "stratum"},
		{"stratum behind binary", []decodertest.Step{c(junk(9000)), c(aMiner), s(aPool)}, "stratum"},
		{"TLS behind a line", []decodertest.Step{c("upgrade!\n"), s("go\n"), c(hello())}, "tls"},
		{"HTTP for a balancer", []decodertest.Step{c("PROXY TCP4 192.0.2.1 10.0.0.2 1 2\r\n" + aRequest), s(anAnswer)}, "http"},
		{"TLS for a balancer", []decodertest.Step{c("PROXY UNKNOWN\r\n" + hello())}, "tls"},

		// What is quoted, stored or transferred is none.
		{"a request in a segment of binary", []decodertest.Step{c(junk(1000) + "POST / HTTP/1.1\r\nHost: a\r\n\r\n" + junk(1000)), s(junk(100))}, ""},
		{"a request in a transfer", []decodertest.Step{s(prose), s(aRequest), s(prose)}, ""},
		{"lines of a log", []decodertest.Step{s("ready\n"), c("1.2.3.4 - - \"POST /api/jobs/ HTTP/1.1\" 200\n"), s("ok\n"), c("GET /x HTTP/1.1 is what it said\n")}, ""},
		{"mail", []decodertest.Step{s("220 m\r\n"), c("EHLO me\r\n"), s("250 m\r\n"), c("MAIL FROM:<a@b>\r\n"), s("250 ok\r\n"), c("RCPT TO:<b@c>\r\n"), s("250 ok\r\n"), c("DATA\r\n"), s("354 go\r\n"), c(aRequest), c("\r\n.\r\n")}, ""},
		{"a shell", []decodertest.Step{s("bash: no job control in this shell\nroot@gpu-3:/srv# "), c("cat request\n"), s(aRequest), s("root@gpu-3:/srv# ")}, "shell shell"},
		{"one line of mining, quoted", []decodertest.Step{c("this is what it says:\n" + aMiner), s("thanks\n")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := kinds(decodertest.RunAll(t, registry(t), tt.steps...)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestCutsChangeNothing: where messages are cut does not change what is found, as long as each begins a segment.
func TestCutsChangeNothing(t *testing.T) {
	c, s := decodertest.C, decodertest.S
	for name, steps := range map[string][]decodertest.Step{
		"HTTP":    {c("\x01\x02 hello\n"), s("\x03\n"), c(aRequest), s(anAnswer), c(aRequest), s(anAnswer)},
		"stratum": {c("\x01hello\n"), c(aMiner), s(aPool), c(aShare), s(anOK)},
		"TLS":     {c("\x01hello\n"), s("\x03\n"), c(hello())},
		"proxied": {c("PROXY TCP4 192.0.2.1 10.0.0.2 1 2\r\n" + aRequest), s(anAnswer)},
	} {
		want := kinds(decodertest.RunAll(t, registry(t), steps...))
		if want == "" {
			t.Errorf("%s: nothing", name)
		}
		for seed := range uint64(200) {
			r := rand.New(rand.NewPCG(seed, 1))
			var cut []decodertest.Step
			for _, st := range steps {
				for b := st.Data; len(b) > 0; {
					n := 1 + r.IntN(min(len(b), 1<<r.IntN(10)))
					cut = append(cut, decodertest.Step{Dir: st.Dir, Data: b[:n]})
					b = b[n:]
				}
			}
			if got := kinds(decodertest.RunAll(t, registry(t), cut...)); got != want {
				t.Fatalf("%s, seed %d: %q, want %q", name, seed, got, want)
			}
		}
	}
}

// counted wraps the probes of a registry to count the bytes that they are offered.
func counted(specs []decoders.Spec, n *int) []decoders.Spec {
	specs = slices.Clone(specs)
	for i := range specs {
		if p := specs[i].Stream; p != nil {
			specs[i].Stream = func(o, r []byte, mid bool) decoders.Verdict { *n += len(o) + len(r); return p(o, r, mid) }
		}
		if p := specs[i].Again.Probe; p != nil {
			specs[i].Again.Probe = func(o, r []byte, turn bool) decoders.Verdict { *n += len(o) + len(r); return p(o, r, turn) }
		}
	}
	return specs
}

// TestProbesAreOfferedLittle: whatever comes, and in whatever pieces, each byte is offered to probes a bounded number of
// times: on top of what a flow has free, no more than a few times for each decoder that looks for beginnings.
func TestProbesAreOfferedLittle(t *testing.T) {
	const size = 256 << 10
	specs := registry(t)
	free := 2 * 256 << 10 * len(specs) // what is asked freely, for all specs
	for name, unit := range map[string]string{
		"objects without end":   "{",
		"objects in lines":      "{\n",
		"foreign objects":       `{"a":1}` + "\n",
		"answers of anything":   `{"id":1,"result":true}` + "\n",
		"methods":               "G",
		"a request without end": "GET /",
		"requests":              "GET / HTTP/1.1\r\nA: b\r\n",
		"lines":                 "\n",
		"blanks":                " ",
		"zeros":                 "\x00",
		"frames":                "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x01",
		"records":               "\x16\x03\x01\x40\x00\x01",
		"commands":              "*1\r\n$4\r\nPING\r\n",
		"headers of a balancer": "PROXY UNKNOWN\r\n",
		"headers, version 2":    "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
		"letters":               "x",
		"prompts":               "$ id\n",
	} {
		for _, piece := range []int{1, 7, 1460, 64 << 10} {
			n := 0
			m := decoders.NewMux(&quietHost{capture.Flow{UID: "CTestTestTestTest01", Proto: capture.ProtoTCP}}, counted(specs, &n), false)
			text := []byte(strings.Repeat(unit, size/len(unit)))
			for b := text; len(b) > 0; {
				k := min(piece, len(b))
				for d := range capture.Dir(2) {
					if !m.Idle() || m.Watch(d, b[:k]) {
						m.Data(d, b[:k])
					}
				}
				b = b[k:]
			}
			m.Finish()
			if most := free + 40*2*len(text); n > most {
				t.Errorf("%s in pieces of %d: %d bytes were offered for %d, more than %d", name, piece, n, 2*len(text), most)
			}
		}
	}
}

// FuzzMux feeds all decoders what looks like many beginnings. The first bytes of the input say how it is cut.
func FuzzMux(f *testing.F) {
	for _, seed := range []string{
		"\x00" + aRequest + anAnswer, "hello\n" + aMiner + aPool, "PROXY UNKNOWN\r\n" + hello(), anEnv + aRequest,
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c0123456789abPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "*1\r\n$4\r\nPING\r\n+OK\r\n" + aRequest,
	} {
		f.Add([]byte(seed), uint64(len(seed)))
	}
	specs := registry(f)
	f.Fuzz(func(t *testing.T, b []byte, how uint64) {
		r := rand.New(rand.NewPCG(how, 1))
		m := decoders.NewMux(&quietHost{capture.Flow{UID: fmt.Sprintf("CTestTestTest%06d", how%1e6), Proto: capture.ProtoTCP}}, specs, how&1 == 0)
		for len(b) > 0 {
			n, d := 1+r.IntN(min(len(b), 200)), capture.Dir(r.IntN(2))
			piece := slices.Clone(b[:n])
			if !m.Idle() || m.Watch(d, piece) {
				m.Data(d, piece)
			}
			clear(piece)
			if b = b[n:]; r.IntN(20) == 0 {
				m.Gap(d, int64(r.IntN(3000)))
			}
			if r.IntN(100) == 0 {
				m.End(d)
			}
		}
		m.Finish()
		if !m.Idle() {
			t.Error("goes on behind the end")
		}
	})
}
