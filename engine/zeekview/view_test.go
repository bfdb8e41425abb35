package zeekview

import (
	"net/netip"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/tls"
)

func from(doubted, begun bool) capture.Provenance {
	return capture.Doubted.When(doubted) | capture.HandshakeSeen.When(begun)
}

// TestLoggedHalf: of an exchange with one side in doubt, http.log has the other, if Zeek sees the connection begin.
func TestLoggedHalf(t *testing.T) {
	flow := &capture.Flow{Proto: capture.ProtoTCP}
	for _, tt := range []struct {
		query, answer, aside, begun bool
		want                        string
	}{
		{false, false, false, false, "query answer"},
		{false, false, true, true, "query answer"},
		{true, false, true, true, "answer at 2"},
		{false, true, true, true, "query"},
		{true, true, true, true, "nothing"},
		{true, false, true, false, "nothing"},
		{false, false, true, false, "nothing"},
	} {
		whole := &http.Transaction{
			At: capture.At{Time: 1}, Flow: flow, Request: &http.Request{From: capture.Doubted.When(tt.query)},
			Response: &http.Response{At: capture.At{Time: 2}, From: capture.Doubted.When(tt.answer)},
		}
		got := "nothing"
		if tx, ok := row(whole, from(tt.aside, tt.begun)).(*http.Transaction); ok {
			switch {
			case tx.Request != nil && tx.Response != nil:
				got = "query answer"
			case tx.Request != nil:
				got = "query"
			case tx.Time == 2:
				got = "answer at 2"
			}
		}
		if got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
		if whole.Request == nil || whole.Response == nil {
			t.Errorf("%+v: detectors lose a half", tt)
		}
	}
}

// TestLoggedHandshake: the same of a handshake, which knows itself what of it was checked.
func TestLoggedHandshake(t *testing.T) {
	flow := &capture.Flow{Proto: capture.ProtoTCP}
	for _, tt := range []struct{ doubted, aside, begun, want bool }{
		{false, false, false, true}, {false, true, true, true}, {false, true, false, false}, {true, true, true, false},
	} {
		if got := row(&tls.Session{Flow: flow, From: capture.Doubted.When(tt.doubted)}, from(tt.aside, tt.begun)); (got != nil) != tt.want {
			t.Errorf("session, %+v: %v", tt, got)
		}
		if got := row(&tls.Certificate{Flow: flow, From: capture.Doubted.When(tt.doubted)}, from(tt.aside, tt.begun)); (got != nil) != tt.want {
			t.Errorf("certificate, %+v: %v", tt, got)
		}
	}
}

// TestLoggedBody: a body that began in a packet with a wrong checksum, or with a loss, is none for Zeek, nor is its file.
func TestLoggedBody(t *testing.T) {
	flow := &capture.Flow{Proto: capture.ProtoTCP}
	whole := &http.Transaction{Flow: flow, Request: &http.Request{}, Response: &http.Response{Body: http.Body{Len: 9, From: capture.AfterGap}}}
	if tx, ok := row(whole, from(true, true)).(*http.Transaction); !ok || tx.Request != whole.Request || tx.Response == nil || tx.Response.Body.Len != 0 || whole.Response.Body.Len != 9 {
		t.Errorf("%+v", tx)
	}
	for _, tt := range []struct{ checked, aside, begun, want bool }{
		{false, false, false, true}, {true, true, true, true}, {true, true, false, false}, {false, true, true, false},
	} {
		if got := row(&file.File{Flow: flow, Source: "HTTP", From: capture.Doubted.When(!tt.checked)}, from(tt.aside, tt.begun)); (got != nil) != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// columns remembers counts.
type columns struct {
	capture.Fields
	counts map[string]uint64
}

func (c columns) Count(name string, n uint64, _ bool)  { c.counts[name] = n }
func (columns) Time(string, capture.Time, bool)        {}
func (columns) String(string, string, bool)            {}
func (columns) Enum(string, string, bool)              {}
func (columns) Addr(string, netip.Addr, bool)          {}
func (columns) Port(string, uint16, bool)              {}
func (columns) Set(string, string, []string, bool)     {}
func (columns) Vector(_, _ string, _ []string, _ bool) {}

// TestLate: what is left of a request whose transaction was written is a row with nothing but its length, unless Zeek does not
// read the flow.
func TestLate(t *testing.T) {
	late := &http.Late{Flow: &capture.Flow{Proto: capture.ProtoTCP}, Depth: 2, Len: 9}
	v := New(Options{}, nil)
	r := v.Row(late, 0)
	if r == nil || r.Log() != "http" {
		t.Fatalf("%v", r)
	}
	c := columns{counts: map[string]uint64{}}
	r.Row(c)
	if c.counts["trans_depth"] != 2 || c.counts["request_body_len"] != 9 || c.counts["response_body_len"] != 0 {
		t.Errorf("%v", c.counts)
	}
	if v.Row(late, capture.Doubted|capture.HandshakeSeen) != nil || v.Row(&http.Late{Flow: &capture.Flow{Mid: true}}, 0) != nil {
		t.Error("a row of what Zeek does not read")
	}
}
