package secrets

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/http"
)

// random is text of the alphabet as a key would have it, the same each time.
func random(alphabet string, n int) string {
	x, b := uint32(2463534242), make([]byte, n)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = alphabet[int(x>>8)%len(alphabet)]
	}
	return string(b)
}

const (
	alnum   = base62
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	hexa    = "0123456789abcdef"
)

// githubToken has a right checksum.
func githubToken(prefix string) string {
	v := random(alnum, 30)
	n := crc32.ChecksumIEEE([]byte(v))
	sum := make([]byte, 6)
	for i := 5; i >= 0; i-- {
		sum[i] = base62[n%62]
		n /= 62
	}
	return prefix + v + string(sum)
}

func token(claims string) string {
	e := base64.RawURLEncoding.EncodeToString
	return e([]byte(`{"alg":"RS256","kid":"x"}`)) + "." + e([]byte(claims)) + "." + random(alnum, 86)
}

var awsSecret = random(alnum, 20) + "/" + random(alnum, 18) + "+"

var reader = NewReader(func(from, to netip.Addr) bool { return from.IsPrivate() && !to.IsPrivate() })

func interpret(t *http.Transaction) any { return reader.Interpret(t) }

func post(ct, body string) *http.Transaction {
	return &http.Transaction{At: capture.At{Time: 1, Packet: 1},
		Flow:    &capture.Flow{Orig: netip.MustParseAddrPort("10.0.0.1:4000"), Resp: netip.MustParseAddrPort("198.51.100.7:80")},
		Request: &http.Request{Method: "POST", Target: "/", Header: http.Header{{Name: "Content-Type", Value: ct}}, Body: http.Body{Data: []byte(body)}}}
}

func matches(t *testing.T, x any) []Match {
	t.Helper()
	switch x := x.(type) {
	case nil:
		return nil
	case *Seen:
		return x.Matches
	default:
		t.Fatalf("%T", x)
		return nil
	}
}

func TestShapes(t *testing.T) {
	dburl := "postgres://app:" + random(alnum, 14) + "@db.corp.example.net:5432/x"
	der := "MIIEvQIBADANBgkq" + random(alnum, 300)
	for want, text := range map[string]string{
		"aws-key-id":          "AKIA" + random("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
		"aws-secret-key":      "aws_secret_access_key = " + awsSecret + "\n",
		"gcp-api-key":         "AIza" + random(alnum, 35),
		"gcp-oauth-token":     "ya29." + random(alnum, 180),
		"gcp-service-account": `{"type": "service_account", "private_key_id": "` + random(hexa, 40) + `"}`,
		"azure-storage-key":   "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=" + random(alnum, 86) + "==;",
		"azure-client-secret": random(alnum, 3) + "8Q~" + random(alnum, 34),
		"openai-key":          "sk-proj-" + random(alnum, 74) + "T3BlbkFJ" + random(alnum, 74),
		"anthropic-key":       "sk-ant-api03-" + random(alnum, 93) + "AA",
		"openrouter-key":      "sk-or-v1-" + random(hexa, 64),
		"llm-key":             "sk-" + random(hexa, 32),
		"huggingface-token":   "hf_" + random(letters, 34),
		"github-token":        githubToken("ghp_"),
		"github-fine-token":   "github_pat_" + random(alnum, 22) + "_" + random(alnum, 59),
		"gitlab-token":        "glpat-" + random(alnum, 20),
		"npm-token":           githubToken("npm_"),
		"slack-token":         "xoxb-" + random("0123456789", 12) + "-" + random("123456789", 12) + "-" + random(alnum, 24),
		"slack-webhook":       "https://hooks.slack.com/services/T" + random("ABCDEFGH123", 9) + "/B" + random("ABCDEFGH123", 9) + "/" + random(alnum, 24),
		"stripe-key":          "sk_live_" + random(alnum, 24),
		"sendgrid-key":        "SG." + random(alnum, 22) + "." + random(alnum, 43),
		"docker-config":       `{"auths":{"registry.example":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("robot:"+random(alnum, 12))) + `"}}}`,
		"private-key":         "-----BEGIN RSA PRIVATE KEY-----\n" + der[:64] + "\n" + der[64:128] + "\n",
		"kubeconfig-key":      "    client-key-data: LS0tLS1CRUdJ" + random(alnum, 400),
		"kubernetes-token":    token(`{"iss":"kubernetes/serviceaccount","kubernetes.io/serviceaccount/namespace":"ray"}`),
		"jwt":                 token(`{"sub":"alice","exp":1}`),
		"database-url":        "DATABASE_URL=" + dburl,
		"netrc":               "machine git.example.net login bob password " + random(alnum, 12),
		"password-hash":       "root:$6$" + random(alnum, 8) + "$" + random(alnum, 86) + ":19000:0:99999:7:::\n",
		"environment":         "SHELL=/bin/bash\nHOME=/root\nPWD=/srv\nPATH=/usr/bin:/bin\nLANG=C\n",
		"named-secret":        "WEBHOOK_SIGNING_SECRET=" + random(alnum, 24),
	} {
		t.Run(want, func(t *testing.T) {
			found := false
			ms := matches(t, interpret(post("text/plain", text)))
			for _, m := range ms {
				found = found || m.Rule.ID == want && !m.Example
			}
			if !found {
				t.Fatalf("%q: %+v", text, ms)
			}
			// No value is in what is said, whole or in half.
			said := fmt.Sprintf("%+v", ms)
			for i := 0; i+16 < len(text); i++ {
				if piece := text[i : i+16]; !strings.ContainsAny(piece, " =:\"-_.$/{}\n") && strings.Contains(said, piece) {
					t.Errorf("%q is in %s", piece, said)
				}
			}
		})
	}
}

// TestNotASecret: what looks like one and is everywhere.
func TestNotASecret(t *testing.T) {
	for name, text := range map[string]string{
		"uuid":                        `{"id":"3f2b8c1e-9a44-4f1b-8d2e-7c5a1b0f9e6d","token_type":"bearer"}`,
		"commit":                      "commit 5f2c9a1b3d4e6f708192a3b4c5d6e7f8091a2b3c\nAuthor: x\n",
		"package index":               `<a href="x-1.0.tar.gz#sha256=` + random(hexa, 64) + `">x</a> sha512-` + random(alnum, 86) + "==",
		"words with sk- inside":       "the task-" + random("abcdefgh", 40) + " risk-" + random(alnum, 48),
		"wrong checksum":              "ghp_" + random(alnum, 36),
		"public key":                  "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n",
		"a certificate":               "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n",
		"code that names a key":       "if strings.Contains(s, \"-----BEGIN RSA PRIVATE KEY-----\") { return \"aws_secret_access_key\" }",
		"script":                      "const api_key=e.config.apiKey,session_token=getToken();var PATH=\"/\";function sk(){}",
		"a script sets its path":      "#!/bin/sh\nexport PATH=/usr/bin:$PATH\nHOME=/root\n",
		"url without password":        "postgres://db.example.net:5432/x mysql://user@host/db",
		"url with a variable":         "postgres://app:${DB_PASSWORD}@localhost/x",
		"login form":                  "user=alice&password=hunter2&csrf_token=" + random(hexa, 32),
		"JSON-RPC session":            `{"jsonrpc":"2.0","auth":"` + random(hexa, 32) + `"}`,
		"number":                      "BUILD_KEY=2026112401234567",
		"three parts that are no JWT": "eyJhbGciOi.eyJhbGciOi." + random(alnum, 40),
	} {
		if ms := matches(t, interpret(post("text/plain", text))); len(ms) > 0 {
			t.Errorf("%s: %+v", name, ms)
		}
	}
}

// A vector that GitHub's own tools accept.
func TestChecksumOfGitHub(t *testing.T) {
	if !crc62([]byte("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")) || crc62([]byte("ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18")) {
		t.Error("the checksum of a known token is not that")
	}
}

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func TestWrapped(t *testing.T) {
	key := githubToken("ghs_")
	text := "PATH=/bin\nGITHUB_TOKEN=" + key + "\nAWS_SECRET_ACCESS_KEY=" + awsSecret + "\n" + strings.Repeat("X=1\n", 20)
	b64 := base64.StdEncoding.EncodeToString
	wrapped := b64([]byte(text))
	for form, body := range map[string]string{
		"":                text,
		"percent":         "data=" + url.QueryEscape(text),
		"base64":          "d=" + wrapped[:76] + "\n" + wrapped[76:],
		"gzip":            gz(text),
		"base64 and gzip": b64([]byte(gz(text))),
		"json":            `{"logs":"\u0041WS_SECRET_ACCESS_KEY=\"` + strings.ReplaceAll(awsSecret, "/", `\/`) + `\"\nGITHUB_TOKEN=` + key + `\n"}`,
	} {
		got := map[string]string{}
		for _, m := range matches(t, interpret(post("application/x-www-form-urlencoded", body))) {
			got[m.Rule.ID] = m.Form + "|" + m.Name
		}
		if _, ok := got["github-token"]; !ok || !strings.HasSuffix(got["github-token"], "|GITHUB_TOKEN") {
			t.Errorf("%s: %v", form, got)
		}
		if s := got["aws-secret-key"]; s != form+"|AWS_SECRET_ACCESS_KEY" {
			t.Errorf("%s: %v", form, got)
		}
	}
}

// TestRunTogether: curl -d @- takes the line ends out.
func TestRunTogether(t *testing.T) {
	body := "HOME=/rootPWD=/USER=rootPATH=/binAWS_SECRET_ACCESS_KEY=" + awsSecret + "HF_TOKEN=hf_" + random(letters, 34)
	ids := ""
	for _, m := range matches(t, interpret(post("application/x-www-form-urlencoded", body))) {
		ids += " " + m.Rule.ID
	}
	if ids != " environment aws-secret-key huggingface-token" {
		t.Error(ids)
	}
}

func TestPlaces(t *testing.T) {
	key := githubToken("gho_")
	x := post("", "")
	x.Request.Target = "/collect?k=" + key
	x.Request.Header = append(x.Request.Header, http.Field{Name: "Authorization", Value: "Bearer hf_" + random(letters, 34)},
		http.Field{Name: "Cookie", Value: "s=" + token(`{"a":1}`)}, http.Field{Name: "X-Note", Value: "sk_live_" + random(alnum, 24)})
	got := fmt.Sprint()
	for _, m := range matches(t, interpret(x)) {
		got += fmt.Sprintf("%s %s %v;", m.Rule.ID, m.Where, m.Auth)
	}
	if got != "github-token target false;huggingface-token header Authorization true;stripe-key header X-Note false;" {
		t.Error(got)
	}
	x = post("", "")
	x.Request.Target = "/b/o?X-Amz-Credential=AKIA" + random("ABCDEFGH234567", 16) + "%2F20260101%2Fus-east-1&X-Amz-Signature=" + random(hexa, 64)
	if ms := matches(t, interpret(x)); len(ms) > 0 {
		t.Errorf("presigned: %+v", ms)
	}
}

func TestKeepBody(t *testing.T) {
	flow := func(a, b string) *capture.Flow {
		return &capture.Flow{Orig: netip.MustParseAddrPort(a), Resp: netip.MustParseAddrPort(b)}
	}
	for _, tt := range []struct {
		name, ct string
		flow     *capture.Flow
		resp     bool
		want     int
	}{
		{"a form", "application/x-www-form-urlencoded", flow("10.0.0.1:1", "8.8.8.8:80"), false, maxSent},
		{"unknown", "", flow("10.0.0.1:1", "8.8.8.8:80"), false, maxSent},
		{"a picture", "image/png", flow("10.0.0.1:1", "8.8.8.8:80"), false, 0},
		{"the web's answer to a machine at home", "application/json", flow("10.0.0.1:1", "8.8.8.8:80"), true, 0},
		{"an answer to an outsider", "application/json", flow("8.8.8.8:1", "10.0.0.1:80"), true, maxAnswered},
		{"an answer at home", "application/json", flow("10.0.0.2:1", "10.0.0.1:80"), true, 0},
		{"a form from outside", "application/x-www-form-urlencoded", flow("8.8.8.8:1", "10.0.0.1:80"), false, 0},
		{"a page to an outsider", "text/html", flow("8.8.8.8:1", "10.0.0.1:80"), true, 0},
	} {
		x := &http.Transaction{Flow: tt.flow, Request: &http.Request{}}
		h := http.Header{{Name: "Content-Type", Value: tt.ct}}
		if tt.resp {
			x.Response = &http.Response{Status: 200, Header: h}
		} else {
			x.Request.Header = h
		}
		if n := reader.KeepBody(x, tt.resp); n != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, n, tt.want)
		}
	}
}

var c, s = decodertest.C, decodertest.S

func TestBareStream(t *testing.T) {
	env := "SHELL=/bin/bash\nHOME=/root\nPWD=/srv\nPATH=/usr/bin:/bin\nLANG=C\nGITHUB_TOKEN=" + githubToken("ghp_") + "\n"
	decodertest.CutAndPoison(t, Spec(), c(env[:40]), c(env[40:]), s("thanks\n"))
	evs := decodertest.Run(t, Spec(), s("go\n"), c(env))
	if len(evs) != 1 {
		t.Fatalf("%d events", len(evs))
	}
	ids := ""
	for _, m := range evs[0].(*Seen).Matches {
		ids += fmt.Sprintf(" %s/%d", m.Rule.ID, m.Dir)
	}
	if ids != " environment/0 github-token/0" {
		t.Error(ids)
	}
	for name, text := range map[string]string{
		"chat":   "hello\nhow are you\n",
		"binary": "\x01\x02\x03" + env,
		"late":   strings.Repeat("nothing here\n", 1000) + env,
	} {
		if evs := decodertest.Run(t, Spec(), c(text)); len(evs) != 0 {
			t.Errorf("%s: %v", name, evs)
		}
	}
	// What is endless is read to the bound.
	if evs := decodertest.Run(t, Spec(), c(env+strings.Repeat("filler\n", 30000))); len(evs) != 1 {
		t.Errorf("long: %d events", len(evs))
	}
}

// TestText: what reads along with lines that nobody knows says what the bare stream's decoder does, wherever the bytes are
// cut.
func TestText(t *testing.T) {
	spec := decodertest.Following(Text())
	env := "SHELL=/bin/bash\nHOME=/root\nPWD=/srv\nPATH=/usr/bin:/bin\nLANG=C\nGITHUB_TOKEN=" + githubToken("ghp_") + "\n"
	for _, tt := range []struct {
		name  string
		steps []decodertest.Step
		want  int
	}{
		{"an environment", []decodertest.Step{s("go\n"), c(env)}, 1},
		{"behind a few lines", []decodertest.Step{c("hello\n" + env)}, 1},
		{"endless", []decodertest.Step{c(env + strings.Repeat("filler\n", 30000))}, 1},
		{"on both sides", []decodertest.Step{c(env), s(env)}, 1},
		{"chat", []decodertest.Step{c("hello\n"), s("how are you\n")}, 0},
		{"behind 4 KiB of something else", []decodertest.Step{c(strings.Repeat("nothing here\n", 1000) + env)}, 0},
		{"a name without a shape", []decodertest.Step{c("password = hunter2hunter2\n")}, 0},
		{"binary", []decodertest.Step{c("\x01\x02\x03" + env)}, 0},
	} {
		if evs := decodertest.Run(t, spec, tt.steps...); len(evs) != tt.want {
			t.Errorf("%s: %d events", tt.name, len(evs))
		}
		decodertest.CutAndPoison(t, spec, tt.steps...)
	}
}

// TestBase64ToTheEnd: no byte is lost for any length, padded or not, in either alphabet, with line ends.
func TestBase64ToTheEnd(t *testing.T) {
	for n := range 6 {
		plain := strings.Repeat("some text?>", 12) + "abcdef"[:n]
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			text := e.EncodeToString([]byte(plain))
			for _, in := range []string{text, text + "\n", text[:76] + "\r\n" + text[76:] + "\r\n", "data=" + text} {
				if got := string(unbase64([]byte(in))); got != plain {
					t.Errorf("%d bytes more, %q: %q", n, in[len(in)-8:], got)
				}
			}
		}
	}
	text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", 90)))
	if got := string(unbase64([]byte(text[:len(text)-3]))); got != strings.Repeat("x", 87) {
		t.Errorf("cut behind six bits: %q", got)
	}
}

// TestManyCandidates: a body full of keywords costs what the bound says, and says so.
func TestManyCandidates(t *testing.T) {
	x := interpret(post("text/plain", strings.Repeat("AKIA ", 10000)))
	if w, ok := x.(*capture.Weird); !ok || w.Name != "secrets_scan_limit" {
		t.Errorf("%T", x)
	}
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "K=sk_live_%s%04d\n", random(alnum, 20), i)
	}
	if x := interpret(post("text/plain", b.String())).(*Seen); len(x.Matches) != maxMatches || x.More != 100-maxMatches {
		t.Errorf("%d matches, %d more", len(x.Matches), x.More)
	}
}

func TestQuietAllocatesLittle(t *testing.T) {
	x := post("application/json", `{"entrypoint":"python train.py","runtime_env":{"working_dir":"gcs://_ray_pkg_0011.zip"}}`)
	if n := testing.AllocsPerRun(100, func() { interpret(x) }); n > 4 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzSecrets(f *testing.F) {
	f.Add([]byte("AWS_SECRET_ACCESS_KEY=" + awsSecret + "\nGITHUB_TOKEN=" + githubToken("ghp_")))
	f.Add([]byte(gz("PATH=/bin\nHOME=/root\nPWD=/\nUSER=x\n")))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMIIE" + token(`{"iss":"kubernetes.io"}`)))
	f.Add([]byte("%41%4b\\u0041 postgres://a:b@c :$6$a$b:1: machine x login y password z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		decodertest.Run(t, Spec(), c(string(b)), s(string(b)))
		x, _ := interpret(post("", string(b))).(*Seen)
		if x == nil {
			return
		}
		for _, m := range x.Matches {
			if len(m.Prefix) > maxPrefix || len(m.Name) > maxName || m.Length <= 0 {
				t.Errorf("%+v", m)
			}
		}
	})
}

// BenchmarkScan reports what a second gets through, on bodies that have keywords but no secret.
func BenchmarkScan(b *testing.B) {
	for _, bb := range []struct{ name, text string }{
		{"json", strings.Repeat(`{"id":"3f2b8c1e-9a44-4f1b","status":"RUNNING","entrypoint":"python train.py --token x","metadata":{"job_key":"a"}},`, 500)},
		{"prose", strings.Repeat("The quick brown fox jumps over the lazy dog, and its password is none of your business.\n", 700)},
		{"hex", random(hexa, 64<<10)},
		{"hostile: environments", strings.Repeat("\nPATH=/", 32<<10)},
		{"hostile: web tokens", strings.Repeat("eyJaaaaaaaaaaaaaaaa", 12<<10)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			text := []byte(bb.text)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				s := scan{scanner: builtin()}
				s.text(text, Match{})
			}
		})
		b.Run(bb.name+" with forms", func(b *testing.B) {
			x := post("text/plain", bb.text)
			b.SetBytes(int64(len(bb.text)))
			for b.Loop() {
				interpret(x)
			}
		})
	}
}

func TestUnpickle(t *testing.T) {
	p := "\x80\x05\x95\x00\x01\x00\x00\x00\x00\x00\x00}\x94(\x8c\x04PATH\x94\x8c\x08/usr/bin\x94\x8c\x04HOME\x94\x8c\x05/root\x94u."
	if got := string(unpickle([]byte(p))); !strings.Contains(got, "PATH=/usr/bin\n") || !strings.Contains(got, "\nHOME=/root\n") {
		t.Errorf("%q", got)
	}
	if got := unpickle([]byte("\x80\x04\x8c\x05posix\x94\x8c\x06system\x94.")); got != nil {
		t.Errorf("%q", got)
	}
}
