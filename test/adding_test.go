package test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
)

// This is the example of docs/adding.md, whose blocks of code stand here word for word: a decoder of finger (RFC 1288)
// and a detector of those who answer it to outsiders.

// settingsDoc is settings.yaml of its folder.
const settingsDoc = `
# Who may ask for users.
finger:
  allow: []                 # networks or addresses that may ask
`

// maxQuery is the longest query that is read. RFC 1288 gives no bound; names of users and hosts fit.
const maxQuery = 512

// Query is a question about a user, or about all, and the beginning of its answer.
type Query struct {
	capture.At // of the packet that ended the query
	Flow       *capture.Flow
	User       string // as asked for, may be empty
	Verbose    bool   // /W
	Answer     uint64 // bytes
}

func fingerSpec() decoders.Spec {
	return decoders.Spec{Name: "finger", Stream: probeFinger, New: func(ctx decoders.Context) decoders.Decoder {
		return &finger{ctx: ctx}
	}}
}

// probeFinger wants what few text protocols have: one short line from the client, and nothing from the server before it.
func probeFinger(orig, resp []byte, mid bool) decoders.Verdict {
	line, _, whole := bytes.Cut(orig, []byte("\r\n"))
	if !whole {
		line = bytes.TrimSuffix(line, []byte("\r")) // a segment may end between the two
	}
	switch {
	case mid || len(resp) > 0 && !whole, len(line) > maxQuery, !fingerLine(line):
		return decoders.No
	case !whole:
		return decoders.Maybe
	case len(resp) == 0:
		return decoders.Maybe // a greeting may follow, and then it is another protocol
	}
	return decoders.Yes
}

// fingerLine says whether b could be a query, or the beginning of one: /W, a name, hosts behind @.
func fingerLine(b []byte) bool {
	if b = bytes.TrimPrefix(b, []byte("/W")); string(b) == "/" {
		return true
	}
	return len(bytes.Trim(b, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@ ")) == 0 && bytes.Count(b, []byte(" ")) < 2
}

type finger struct {
	ctx   decoders.Context
	query *Query // nil until the line was read
}

func (d *finger) Decode(dir capture.Dir, b []byte) (int, error) {
	if dir == capture.Resp {
		if d.query == nil {
			return 0, nil // offered again when the query was used
		}
		d.query.Answer += uint64(len(b))
		return len(b), nil
	}
	line, _, whole := bytes.Cut(b, []byte("\r\n"))
	if !whole || d.query != nil {
		return 0, nil
	}
	d.ctx.Confirm("finger")
	user, verbose := strings.CutPrefix(string(line), "/W") // string copies: b is borrowed
	d.query = &Query{At: d.ctx.At(), Flow: d.ctx.Flow(), User: strings.TrimSpace(user), Verbose: verbose}
	return len(line) + 2, nil
}

func (d *finger) Gap(dir capture.Dir, n int64) bool {
	if dir == capture.Resp && d.query != nil {
		d.query.Answer += uint64(n)
	}
	return d.query != nil
}

func (d *finger) End(dir capture.Dir) {
	if dir == capture.Resp && d.query != nil {
		d.ctx.Emit(d.query)
	}
}

// Log implements capture.Record.
func (q *Query) Log() string { return "finger" }

// Row implements capture.Record.
func (q *Query) Row(w capture.Fields) {
	w.Time("ts", q.Time, true)
	q.Flow.ID(w)
	w.String("user", q.User, true)
	w.Bool("verbose", q.Verbose, true)
	w.Count("answer_len", q.Answer, true)
}

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "finger", When: "When a finger server has answered.", Row: &Query{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the end of the query."}}, capture.FlowColumns(), []capture.Column{
			{Name: "user", Doc: "Who was asked for; empty: all."},
			{Name: "verbose", Doc: "Details were asked for."},
			{Name: "answer_len", Doc: "Bytes of the answer."},
		}),
	}}
}

// Config is the section `finger` of the configuration.
type Config struct {
	Allow []string `yaml:"allow"` // networks or addresses that may ask
}

func settings() *detectors.Settings {
	return detectors.Section("finger", func() Config { return Config{} }, settingsDoc, map[string]detectors.Key{
		"allow": {Nets: true},
	})
}

func fingerDetector() detectors.Spec {
	return detectors.Spec{
		Name: "finger", Settings: settings(),
		Rules: []detectors.Rule{{
			Name: "finger/exposed", Note: "Finger_Exposed", Severity: detectors.Low,
			Says:           "A machine inside told somebody outside about its users.",
			ATTACK:         []string{"T1592"},
			Needs:          "The connection in clear, both directions.",
			FalsePositives: "Machines that are meant to do so.",
			Story:          detectors.Story{Role: detectors.RoleBefore, Group: detectors.GroupLook, Does: "asked % about its users"},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			var allow *detectors.Networks
			detectors.Configure(env, bus, "finger", Config{}, func(c Config) { allow, _ = detectors.ParseNetworks(c.Allow) })
			detectors.On(bus, func(q *Query) {
				src, dst := q.Flow.Orig.Addr(), q.Flow.Resp.Addr()
				if q.Answer == 0 || env.Home.Contains(src) || !env.Home.Contains(dst) || allow.Contains(src) {
					return
				}
				bus.Report(&detectors.Finding{
					At: q.At, Rule: "finger/exposed", Severity: detectors.Low, Confidence: 90, Outcome: detectors.Succeeded,
					Msg: dst.String() + " told " + src.String() + ", outside the home networks, about its users",
					Src: src, Dst: dst, Port: q.Flow.Resp.Port(), Flow: q.Flow,
					Evidence: []detectors.Evidence{{Field: "query", Value: detectors.Clip(q.User, 100), Packet: q.Packet}},
				})
			})
		},
	}
}

func TestAddingADecoder(t *testing.T) {
	c, s := decodertest.C, decodertest.S
	for _, x := range []struct {
		says  string
		steps []decodertest.Step
		user  string
		sees  int
	}{
		{"a user", []decodertest.Step{c("root\r\n"), s("Login: root\r\n")}, "root", 1},
		{"all, at length", []decodertest.Step{c("/W\r\n"), s("x")}, "", 1},
		{"by way of another host", []decodertest.Step{c("a@b.example\r\n"), s("x")}, "a@b.example", 1},
		{"split", []decodertest.Step{c("ro"), c("ot\r"), c("\n"), s("x")}, "root", 1},
		{"mail, where the server speaks first", []decodertest.Step{s("220 mail\r\n"), c("QUIT\r\n")}, "", 0},
		{"HTTP", []decodertest.Step{c("GET / HTTP/1.1\r\n\r\n"), s("HTTP/1.1 200 OK\r\n\r\n")}, "", 0},
	} {
		got := decodertest.Run(t, fingerSpec(), x.steps...)
		if len(got) != x.sees {
			t.Errorf("%s: %d events", x.says, len(got))
		} else if x.sees == 1 && got[0].(*Query).User != x.user {
			t.Errorf("%s: %+v", x.says, got[0])
		}
		// Cut anywhere, with every buffer overwritten after its call, the events are the same.
		decodertest.CutAndPoison(t, fingerSpec(), x.steps...)
	}
}

func TestAddingADetector(t *testing.T) {
	for _, x := range []struct {
		says, src, dst string
		answer         uint64
		findings       int
	}{
		{"an outsider is told", "203.0.113.66", "10.0.0.5", 100, 1},
		{"near miss: nobody answered", "203.0.113.66", "10.0.0.5", 0, 0},
		{"near miss: a neighbour asks", "10.0.0.6", "10.0.0.5", 100, 0},
		{"near miss: we ask an outsider", "10.0.0.6", "203.0.113.66", 100, 0},
		{"near miss: who may ask", "198.51.100.7", "10.0.0.5", 100, 0},
	} {
		bench := detectortest.New(fingerDetector(), &detectors.Env{Settings: map[string]any{"finger": &Config{Allow: []string{"198.51.100.0/24"}}}})
		bench.Publish(&Query{User: "root", Answer: x.answer, Flow: detectortest.Flow(x.src, x.dst, 79)})
		if len(bench.Found) != x.findings {
			t.Errorf("%s: %d findings", x.says, len(bench.Found))
		}
	}
}

// TestAddingIsWhatTheGuideSays: every block of code of docs/adding.md stands in this file.
func TestAddingIsWhatTheGuideSays(t *testing.T) {
	guide, err := os.ReadFile("docs/adding.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("test/adding_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(guide), "```go\n")[1:]
	if len(blocks) < 4 {
		t.Fatalf("%d blocks of code", len(blocks))
	}
	for _, b := range blocks {
		b, _, _ = strings.Cut(b, "```")
		if !strings.Contains(string(code), b) {
			t.Errorf("not in adding_test.go:\n%s", b)
		}
	}
}
