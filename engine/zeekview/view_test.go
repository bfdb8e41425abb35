package zeekview

import (
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/tls"
)

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
			At: capture.At{Time: 1}, Flow: flow, Request: &http.Request{Doubted: tt.query},
			Response: &http.Response{At: capture.At{Time: 2}, Doubted: tt.answer},
		}
		got := "nothing"
		if tx, ok := row(whole, Provenance{tt.aside, tt.begun}).(*http.Transaction); ok {
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
		if got := row(&tls.Session{Flow: flow, Doubted: tt.doubted}, Provenance{tt.aside, tt.begun}); (got != nil) != tt.want {
			t.Errorf("session, %+v: %v", tt, got)
		}
		if got := row(&tls.Certificate{Flow: flow, Doubted: tt.doubted}, Provenance{tt.aside, tt.begun}); (got != nil) != tt.want {
			t.Errorf("certificate, %+v: %v", tt, got)
		}
	}
}

// TestLoggedBody: a body that began in a packet with a wrong checksum, or with a loss, is none for Zeek, nor is its file.
func TestLoggedBody(t *testing.T) {
	flow := &capture.Flow{Proto: capture.ProtoTCP}
	whole := &http.Transaction{Flow: flow, Request: &http.Request{}, Response: &http.Response{Body: http.Body{Len: 9, Unseen: true}}}
	if tx, ok := row(whole, Provenance{true, true}).(*http.Transaction); !ok || tx.Request != whole.Request || tx.Response == nil || tx.Response.Body.Len != 0 || whole.Response.Body.Len != 9 {
		t.Errorf("%+v", tx)
	}
	for _, tt := range []struct{ checked, aside, begun, want bool }{
		{false, false, false, true}, {true, true, true, true}, {true, true, false, false}, {false, true, true, false},
	} {
		if got := row(&file.File{Flow: flow, Checked: tt.checked}, Provenance{tt.aside, tt.begun}); (got != nil) != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}
