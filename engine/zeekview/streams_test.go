package zeekview

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
)

// heard is a flow to a port of HTTP that remembers rows and weirds.
type heard struct {
	flow capture.Flow
	said []string
}

func newHeard() *heard {
	return &heard{flow: capture.Flow{Proto: capture.ProtoTCP, Orig: netip.MustParseAddrPort("10.0.0.1:40000"), Resp: netip.MustParseAddrPort("192.0.2.2:80")}}
}

func (h *heard) Flow() *capture.Flow        { return &h.flow }
func (h *heard) At() capture.At             { return capture.At{Time: 1, Packet: 1} }
func (h *heard) Service(string)             {}
func (h *heard) Refute(string)              {}
func (h *heard) Skip()                      {}
func (h *heard) Flip() bool                 { return false }
func (h *heard) Doubted() bool              { return false }
func (h *heard) Ports() (orig, resp uint16) { return h.flow.Orig.Port(), h.flow.Resp.Port() }

func (h *heard) Emit(ev any) {
	switch ev := ev.(type) {
	case *http.Transaction:
		status := 0
		if ev.Response != nil {
			status = ev.Response.Status
		}
		h.said = append(h.said, fmt.Sprintf("%d:%d", ev.Depth, status))
	case *capture.Weird:
		h.said = append(h.said, ev.Name)
	}
}

// twiceRead opens h with nothing else that decodes.
func twiceRead(t *testing.T, h *heard) capture.Stream {
	t.Helper()
	_, stream := NewStreams(nil, http.Spec(http.Options{}), Options{}).Open(h, false)
	if stream == nil {
		t.Fatal("a port of HTTP is not read twice")
	}
	return stream
}

// TestTwice: what goes to a web port and begins with something else is worth what it is worth to Zeek, no more.
func TestTwice(t *testing.T) {
	const bad, cr = "bad_HTTP_request", "line_terminated_with_single_CR"
	c, s := capture.Orig, capture.Resp
	type step struct {
		dir  capture.Dir
		data string
		gap  int64
	}
	for name, tt := range map[string]struct {
		steps []step
		want  string
	}{
		"answered in HTTP":       {[]step{{c, "\x16\x03\x01hello\n", 0}, {s, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", 0}}, bad + " 1:400"},
		"a line by a lone CR":    {[]step{{c, "\x16\x03\x01\rhello", 0}}, bad + " " + cr},
		"a lone CR later":        {[]step{{c, "{}\n", 0}, {c, "a\rb", 0}}, bad + " " + cr},
		"a line in pieces":       {[]step{{c, "\x16\x03", 0}, {s, "\x16\x03", 0}, {c, "\x01\n", 0}}, bad},
		"no line":                {[]step{{c, "\x16\x03\x01hello", 0}, {s, "\x16\x03", 0}}, ""},
		"a loss before its end":  {[]step{{c, "\x16\x03\x01", 0}, {c, "", 9}, {c, "x\ny\rz", 0}}, ""},
		"the server spoke first": {[]step{{s, "SSH-2.0-x\r\n", 0}, {c, "SSH-2.0-y\r\n", 0}}, ""},
		"HTTP":                   {[]step{{c, "GET / HTTP/1.1\r\n\r\n", 0}, {s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0}}, ""},
		"a version at its end":   {[]step{{c, "\xdd GET / HTTP/1.1\r\n", 0}}, "bad_HTTP_request_with_version"},
	} {
		h := newHeard()
		stream := twiceRead(t, h)
		for _, x := range tt.steps {
			if stream.Data(x.dir, []byte(x.data)); x.gap > 0 {
				stream.Gap(x.dir, x.gap)
			}
		}
		stream.Finish()
		if got := strings.Join(h.said, " "); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if !stream.Idle() {
			t.Errorf("%s: not idle at the end", name)
		}
	}
}

// TestTwiceEnds: what never becomes HTTP is not read for ever.
func TestTwiceEnds(t *testing.T) {
	h := newHeard()
	stream := twiceRead(t, h)
	junk := []byte(strings.Repeat("\x17\x03\x03", 1024))
	for range 1 << 20 / len(junk) {
		stream.Data(capture.Orig, junk)
		stream.Data(capture.Resp, junk)
	}
	if !stream.Idle() {
		t.Error("still listening")
	}
}
