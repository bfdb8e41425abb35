package http2

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

// frame makes one frame.
func frame(kind, flags byte, sid uint32, body string) string {
	h := []byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body)), kind, flags, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(h[5:], sid)
	return string(h) + body
}

// message makes one gRPC message.
func message(s string) string {
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(s)))) + s
}

// peer is one side with its table.
type peer struct {
	enc *hpack.Encoder
	buf bytes.Buffer
}

func newPeer() *peer {
	p := &peer{}
	p.enc = hpack.NewEncoder(&p.buf)
	return p
}

// block encodes fields, "name: value" each.
func (p *peer) block(fields ...string) string {
	p.buf.Reset()
	for _, f := range fields {
		i := strings.Index(f[1:], ": ") + 1
		if err := p.enc.WriteField(hpack.HeaderField{Name: f[:i], Value: f[i+2:]}); err != nil {
			panic(err)
		}
	}
	return p.buf.String()
}

func (p *peer) request(path string, more ...string) string {
	return p.block(append([]string{":path: " + path, ":authority: 10.20.0.10:6379", ":method: POST", ":scheme: http",
		"content-type: application/grpc", "te: trailers", "user-agent: grpc-c++/1.58.0"}, more...)...)
}

func (p *peer) answer() string { return p.block(":status: 200", "content-type: application/grpc") }

func (p *peer) trailer(status int, more ...string) string {
	return p.block(append([]string{fmt.Sprintf("grpc-status: %d", status)}, more...)...)
}

const (
	settings  = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x40\x00\x00" // MAX_FRAME_SIZE 4 MiB, as gRPC has it
	ack       = "\x00\x00\x00\x04\x01\x00\x00\x00\x00"
	ping      = "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"
	windowUpd = "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x05"
	getPath   = "/ray.rpc.InternalKVGcsService/InternalKVGet"
)

func keepAll(*Call) int { return MaxMessage }

func spec() decoders.Spec { return Spec(Options{Keep: keepAll}) }

// fromMiddle drops the probe: a flow that was picked up mid-stream is probed as such by the engine, and the test
// machine always begins at the beginning.
func fromMiddle() decoders.Spec {
	s := spec()
	s.Stream = func(o, r []byte, _ bool) decoders.Verdict { return probe(o, r, true) }
	return s
}

func calls(evs []any) (out []*Call) {
	for _, e := range evs {
		if c, ok := e.(*Call); ok {
			out = append(out, c)
		}
	}
	return out
}

func parts(evs []any) (out []*Part) {
	for _, e := range evs {
		if c, ok := e.(*Part); ok {
			out = append(out, c)
		}
	}
	return out
}

func weirds(evs []any) (out []string) {
	for _, e := range evs {
		if w, ok := e.(*capture.Weird); ok {
			out = append(out, w.Name)
		}
	}
	return out
}

// unary is one call on stream sid.
func unary(c, s *peer, sid uint32, path, req, resp string) []decodertest.Step {
	return []decodertest.Step{
		decodertest.C(frame(frameHeaders, flagEndHeaders, sid, c.request(path)) + windowUpd + frame(frameData, flagEndStream, sid, message(req))),
		decodertest.S(frame(frameHeaders, flagEndHeaders, sid, s.answer()) + frame(frameData, 0, sid, message(resp)) +
			frame(frameHeaders, flagEndHeaders|flagEndStream, sid, s.trailer(0))),
	}
}

func begin() []decodertest.Step {
	return []decodertest.Step{decodertest.C(preface + settings), decodertest.S(settings + ack), decodertest.C(ack)}
}

func TestUnaryCallFromThePreface(t *testing.T) {
	c, s := newPeer(), newPeer()
	steps := append(begin(), unary(c, s, 1, getPath, "\x0a\x01k", "\x0a\x00\x12\x01v")...)
	steps = append(steps, unary(c, s, 3, getPath, "\x0a\x01l", "\x0a\x00")...)
	evs := decodertest.Run(t, spec(), steps...)
	got := calls(evs)
	if len(got) != 2 || len(evs) != 2 {
		t.Fatalf("%d calls in %d events", len(got), len(evs))
	}
	x := got[1] // its header comes from the table
	if x.Service != "ray.rpc.InternalKVGcsService" || x.Method != "InternalKVGet" || x.Authority != "10.20.0.10:6379" ||
		x.UserAgent != "grpc-c++/1.58.0" || x.StreamID != 3 || x.HTTPStatus != 200 || x.GRPCStatus != 0 || x.Mid || x.Unknown != 0 || !x.Done || !x.GRPC {
		t.Errorf("%+v", x)
	}
	if len(x.RequestMessages) != 1 || string(x.RequestMessages[0].Data) != "\x0a\x01l" || x.RequestMessages[0].Packet != 6 ||
		len(x.ResponseMessages) != 1 || string(x.ResponseMessages[0].Data) != "\x0a\x00" || x.ResponseMessages[0].Packet != 7 {
		t.Errorf("messages %+v %+v", x.RequestMessages, x.ResponseMessages)
	}
	if x.RequestBytes != 8 || x.ResponseBytes != 7 || x.RequestCount != 1 || x.ResponseCount != 1 {
		t.Errorf("counts %+v", x)
	}
	if sv := decodertest.Services(t, spec(), steps...); !reflect.DeepEqual(sv, []string{"http2", "grpc"}) {
		t.Errorf("services %v", sv)
	}
	decodertest.CutAndPoison(t, spec(), steps...)
}

// A Datapath lives as long as its client: what it says must not wait for its end.
func TestConversationIsToldWhileItLives(t *testing.T) {
	c, s := newPeer(), newPeer()
	steps := append(begin(),
		decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.request("/ray.rpc.RayletDataStreamer/Datapath"))),
		decodertest.C(frame(frameData, 0, 1, message("init"))),
		decodertest.S(frame(frameHeaders, flagEndHeaders, 1, s.answer())+frame(frameData, 0, 1, message("ok"))),
		decodertest.C(frame(frameData, 0, 1, message("put")+message("ta"))), // the second is not complete with its frame
		decodertest.S(frame(frameData, 0, 1, message("stored"))),
	)
	evs := decodertest.Run(t, spec(), steps...)
	p := parts(evs)
	if len(p) != 2 || !p[0].Call.Live {
		t.Fatalf("%d parts: %v", len(p), evs)
	}
	if m := p[0].Call; len(m.RequestMessages) != 1 || string(m.RequestMessages[0].Data) != "init" || string(m.ResponseMessages[0].Data) != "ok" {
		t.Errorf("first part %+v", m)
	}
	if m := p[1].Call; len(m.RequestMessages) != 2 || string(m.RequestMessages[0].Data) != "put" || m.RequestCount != 3 || m.RequestMessages[0].Packet != 7 {
		t.Errorf("second part %+v", m)
	}
	end := calls(evs)
	if len(end) != 1 || len(end[0].RequestMessages) != 0 || end[0].RequestCount != 3 || end[0].Done || end[0].Live {
		t.Errorf("end %+v", end)
	}
	decodertest.CutAndPoison(t, spec(), steps...)
}

func TestRequestWithoutAnswerIsToldAfterAWhile(t *testing.T) {
	c, s := newPeer(), newPeer()
	steps := append(begin(), decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.request("/ray.rpc.CoreWorkerService/PushTask"))+
		frame(frameData, flagEndStream, 1, message("task"))))
	for range 2100 { // a millisecond each
		steps = append(steps, decodertest.C(ping))
	}
	steps = append(steps, decodertest.S(frame(frameHeaders, flagEndHeaders|flagEndStream, 1, s.trailer(0))))
	evs := decodertest.Run(t, spec(), steps...)
	if p := parts(evs); len(p) != 1 || string(p[0].Call.RequestMessages[0].Data) != "task" {
		t.Fatalf("parts %+v", p)
	}
	if e := calls(evs); len(e) != 1 || e[0].GRPCStatus != 0 || len(e[0].RequestMessages) != 0 {
		t.Errorf("end %+v", e)
	}
}

func TestMessageSplitOverFramesAndFramesOverSegments(t *testing.T) {
	c, s := newPeer(), newPeer()
	long := strings.Repeat("x", 70_000) // over MaxMessage
	whole := message(long) + message("tail")
	var data string
	for i := 0; i < len(whole); i += 999 {
		data += frame(frameData, 0, 1, whole[i:min(i+999, len(whole))])
	}
	steps := append(begin(),
		decodertest.C(frame(frameHeaders, 0, 1, "")+frame(frameContinuation, 0, 1, "")+frame(frameContinuation, flagEndHeaders, 1, c.request(getPath))),
		decodertest.C(data+frame(frameData, flagEndStream|flagPadded, 1, "\x03"+message("padded")+"\x00\x00\x00")),
		decodertest.S(frame(frameHeaders, flagEndHeaders|flagEndStream|flagPriority|flagPadded, 1, "\x01\x00\x00\x00\x00\x10"+s.block(":status: 200", "grpc-status: 5", "grpc-message: not%20found")+"\x00")),
	)
	got := calls(decodertest.Run(t, spec(), steps...))
	if len(got) != 1 || len(got[0].RequestMessages) != 3 {
		t.Fatalf("%+v", got)
	}
	m := got[0].RequestMessages
	if m[0].Len != 70_000 || len(m[0].Data) != MaxMessage || !m[0].Cut || string(m[1].Data) != "tail" || m[1].Cut || string(m[2].Data) != "padded" {
		t.Errorf("%d %d %v %q %q", m[0].Len, len(m[0].Data), m[0].Cut, m[1].Data, m[2].Data)
	}
	if got[0].GRPCStatus != 5 || got[0].GRPCMessage != "not found" {
		t.Errorf("status %d %q", got[0].GRPCStatus, got[0].GRPCMessage)
	}
	decodertest.CutAndPoison(t, spec(), steps...)
}

func TestCompressedMessageIsInflatedWithinBounds(t *testing.T) {
	zip := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		m := []byte(message(b.String()))
		m[0] = 1
		return string(m)
	}
	c := newPeer()
	broken := []byte(message("not gzip"))
	broken[0] = 1
	steps := append(begin(), decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.request(getPath, "grpc-encoding: gzip"))+
		frame(frameData, flagEndStream, 1, zip("hello")+zip(strings.Repeat("bomb", 1<<20))+string(broken))))
	got := calls(decodertest.Run(t, spec(), steps...))
	if len(got) != 1 || len(got[0].RequestMessages) != 3 {
		t.Fatalf("%+v", got)
	}
	m := got[0].RequestMessages
	if string(m[0].Data) != "hello" || !m[0].Compressed || m[0].Undecoded || m[0].Cut {
		t.Errorf("%+v", m[0])
	}
	if len(m[1].Data) != MaxMessage || !m[1].Cut {
		t.Errorf("bomb: %d bytes kept", len(m[1].Data))
	}
	if string(m[2].Data) != "not gzip" || !m[2].Undecoded {
		t.Errorf("%+v", m[2])
	}
}

// Without the beginning, an index that was used before means nothing; one that was inserted since means what was
// inserted, and its place moves with each insertion.
func TestMidStreamHeadersAreNeverInvented(t *testing.T) {
	c, s := newPeer(), newPeer()
	lost := unary(c, s, 1, "/ray.rpc.NodeManagerService/GetResourceLoad", "", "load")
	_ = lost // fills the tables
	steps := unary(c, s, 903, "/ray.rpc.NodeManagerService/GetResourceLoad", "", "load")
	steps = append(steps, unary(c, s, 905, getPath, "\x0a\x01k", "v")...)
	steps = append(steps, unary(c, s, 907, getPath, "\x0a\x01k", "v")...)
	got := calls(decodertest.Run(t, fromMiddle(), steps...))
	if len(got) != 3 {
		t.Fatalf("%d calls", len(got))
	}
	if x := got[0]; x.Path != "" || x.UserAgent != "" || x.Authority != "" || x.Unknown == 0 || !x.Mid || x.Verb != "POST" || x.HTTPStatus != 200 || x.GRPCStatus != -1 || !x.GRPC {
		t.Errorf("before: %+v", x)
	}
	for _, x := range got[1:] {
		if x.Path != getPath || x.UserAgent != "" || x.Unknown == 0 || !x.Mid {
			t.Errorf("since: %+v", x)
		}
	}
	if m := got[2].ResponseMessages; len(m) != 1 || string(m[0].Data) != "v" {
		t.Errorf("messages without a content type: %+v", m)
	}
	decodertest.CutAndPoison(t, fromMiddle(), steps...)
}

func TestMidStreamBeginsInsideAFrame(t *testing.T) {
	c, s := newPeer(), newPeer()
	unary(c, s, 1, getPath, "", "")
	rest := "the end of a message that began before\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02"
	steps := append([]decodertest.Step{decodertest.C(rest), decodertest.S(ping), decodertest.C(rest + windowUpd + ping)}, unary(c, s, 903, getPath, "req", "resp")...)
	got := calls(decodertest.Run(t, fromMiddle(), steps...))
	if len(got) != 1 || got[0].StreamID != 903 || len(got[0].RequestMessages) != 1 {
		t.Fatalf("%+v", got)
	}
	decodertest.CutAndPoison(t, fromMiddle(), steps...)
}

// The flow's originator is the server: the first packet of the capture was its.
func TestMidStreamRolesAreTurned(t *testing.T) {
	c, s := newPeer(), newPeer()
	unary(c, s, 1, getPath, "", "")
	steps := unary(c, s, 903, getPath, "req", "resp")
	for i := range steps {
		steps[i].Dir = steps[i].Dir.Peer()
	}
	for name, st := range map[string][]decodertest.Step{
		"told by the probe": steps,
		"told later":        append([]decodertest.Step{{Dir: capture.Resp, Data: []byte(strings.Repeat(ping, 64))}}, steps...),
	} {
		got := calls(decodertest.Run(t, fromMiddle(), st...))
		if len(got) != 1 || string(got[0].RequestMessages[0].Data) != "req" || got[0].Flow.Resp.Port() != 40000 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestLossInsideOneFrameIsSteppedOver(t *testing.T) {
	c, s := newPeer(), newPeer()
	body := message(strings.Repeat("a", 100))
	steps := append(begin(),
		decodertest.C(frame(frameHeaders, flagEndHeaders, 1, c.request(getPath))+frame(frameData, 0, 1, body)[:9+50]),
		decodertest.Step{Dir: capture.Orig, Gap: 30},
		decodertest.C(body[80:]+frame(frameData, flagEndStream, 1, message("next"))),
	)
	steps = append(steps, unary(c, s, 3, getPath, "after", "")...)
	evs := decodertest.Run(t, spec(), steps...)
	got := calls(evs)
	if len(got) != 2 || len(weirds(evs)) != 0 {
		t.Fatalf("%v %v", got, weirds(evs))
	}
	x := got[0] // the other call is answered, this one ends with the flow
	y := got[1]
	if x.StreamID == 1 {
		x, y = y, x
	}
	if x.Path != getPath || x.Unknown != 0 { // the table is whole
		t.Errorf("%+v", x)
	}
	if m := y.RequestMessages; len(m) != 2 || !m[0].Cut || m[0].Len != 100 || string(m[0].Data) != strings.Repeat("a", 45) || string(m[1].Data) != "next" {
		t.Errorf("%+v", m)
	}
}

func TestLossOfFramesForgetsTheTable(t *testing.T) {
	c, s := newPeer(), newPeer()
	steps := append(begin(), unary(c, s, 1, getPath, "a", "b")...)
	hidden := frame(frameHeaders, flagEndHeaders, 3, c.request("/ray.rpc.JobInfoGcsService/AddJob"))
	steps = append(steps, decodertest.Step{Dir: capture.Orig, Gap: int64(len(hidden))})
	steps = append(steps, decodertest.C(ping))
	steps = append(steps, unary(c, s, 5, getPath, "c", "d")...) // its path is an index into the table
	evs := decodertest.Run(t, spec(), steps...)
	got := calls(evs)
	if len(got) != 2 {
		t.Fatalf("%v", evs)
	}
	if x := got[1]; x.Path != "" || x.Unknown == 0 || !x.Mid || string(x.RequestMessages[0].Data) != "c" {
		t.Errorf("%+v", x)
	}
	if w := weirds(evs); !reflect.DeepEqual(w, []string{"http2_lost_frames"}) {
		t.Errorf("weirds %v", w)
	}
}

func TestOtherProtocolsAreRefused(t *testing.T) {
	zero := strings.Repeat("\x00", 5000)
	for name, c := range map[string]struct{ orig, resp string }{
		"http/1":   {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"},
		"tls":      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("r", 500), ""},
		"smb":      {"\x00\x00\x00\x9b\xff\x53\x4d\x42\x72" + zero, "\x00\x00\x00\x9b\xff\x53\x4d\x42\x72" + zero},
		"zeros":    {zero, zero},
		"preface+": {"PRI * HTTP/2.1\r\n\r\n", ""},
	} {
		for _, mid := range []bool{false, true} {
			if v := probe([]byte(c.orig), []byte(c.resp), mid); v == decoders.Yes || v == decoders.Flipped || !mid && v != decoders.No {
				t.Errorf("%s, mid %v: %v", name, mid, v)
			}
		}
	}
	for name, c := range map[string]struct{ orig, resp string }{
		"stratum":         {`{"id":1,"method":"mining.submit"}` + "\n", ""},
		"stratum's pool":  {"", `{"id":null,"method":"mining.notify"}` + "\n"},
		"tls":             {"\x17\x03\x03\x00\x20" + strings.Repeat("r", 32), ""},
		"anything, after": {strings.Repeat("x", probeEnough), ""},
		"smb":             {"\x00\x00\x00\x9b\xfeSMB\x40\x00", ""},
	} {
		if v := probe([]byte(c.orig), []byte(c.resp), true); v != decoders.No {
			t.Errorf("%s in the middle keeps others waiting: %v", name, v)
		}
	}
	if v := probe([]byte("\x00\x00\x00\x00\xfe\x00\x00\x00\x00"), nil, true); v != decoders.Maybe {
		t.Errorf("a frame whose length and type could be SMB's: %v", v)
	}
	// A server that answers the preface with HTTP/1.
	evs := decodertest.Run(t, spec(), decodertest.C(preface+settings), decodertest.S("HTTP/1.1 400 Bad Request\r\n\r\n"), decodertest.S(strings.Repeat("x", 100)))
	if len(evs) != 0 {
		t.Errorf("%v", evs)
	}
}

func TestAbuseIsWeirdOnce(t *testing.T) {
	open := func(c *peer) string { return frame(frameHeaders, flagEndHeaders, 1, c.request(getPath)) }
	for _, x := range []struct {
		name string
		want string
		make func(c *peer) string
	}{
		{"continuation flood", "http2_continuation_flood", func(*peer) string {
			return frame(frameHeaders, 0, 1, "") + strings.Repeat(frame(frameContinuation, 0, 1, "\x82"), 100)
		}},
		{"block too large", "http2_header_block_too_large", func(*peer) string {
			return frame(frameHeaders, 0, 1, "") + strings.Repeat(frame(frameContinuation, 0, 1, strings.Repeat("\x82", 16000)), 5)
		}},
		{"header frame too large", "http2_frame_too_large", func(*peer) string {
			return frame(frameHeaders, flagEndHeaders, 1, strings.Repeat("\x82", maxBlock+1))
		}},
		{"empty frames", "http2_empty_frames", func(c *peer) string {
			return open(c) + strings.Repeat(frame(frameData, 0, 1, ""), maxEmpty+1)
		}},
		{"settings flood", "http2_settings_flood", func(*peer) string { return strings.Repeat(settings, maxSettings+1) }},
		{"ping flood", "http2_ping_flood", func(*peer) string { return strings.Repeat(ping, maxPings+1) }},
		{"rapid reset", "http2_rapid_reset", func(c *peer) string {
			var b strings.Builder
			for i := range uint32(maxResets + 1) {
				b.WriteString(frame(frameHeaders, flagEndHeaders, 2*i+1, c.request(getPath)) + frame(frameReset, 0, 2*i+1, "\x00\x00\x00\x08"))
			}
			return b.String()
		}},
		{"unknown index", "http2_bad_hpack", func(*peer) string { return frame(frameHeaders, flagEndHeaders, 1, "\xff\x20") }},
		{"index zero", "http2_bad_hpack", func(*peer) string { return frame(frameHeaders, flagEndHeaders, 1, "\x80") }},
		{"truncated string", "http2_bad_hpack", func(*peer) string { return frame(frameHeaders, flagEndHeaders, 1, "\x40\x05ab") }},
		{"bad Huffman", "http2_bad_hpack", func(*peer) string { return frame(frameHeaders, flagEndHeaders, 1, "\x44\x84\xff\xff\xff\xff") }},
		{"many fields", "http2_header_list_truncated", func(*peer) string {
			return frame(frameHeaders, flagEndHeaders, 1, strings.Repeat("\x82", maxFields+1))
		}},
		{"interleaved block", "http2_bad_frame", func(*peer) string { return frame(frameHeaders, 0, 1, "\x82") + ping }},
		{"wrong length", "http2_bad_frame", func(*peer) string { return settings + frame(framePing, 0, 0, "123") }},
		{"padding over the end", "http2_bad_frame", func(*peer) string { return frame(frameData, flagPadded, 1, "\x09ab") }},
		{"unknown type", "http2_unknown_frame", func(*peer) string { return frame(0x20, 0, 0, "abc") }},
		{"reserved bit", "http2_reserved_bit", func(*peer) string { return frame(framePing, 0, 1<<31, "12345678") }},
		{"many streams", "http2_message_budget", func(c *peer) string {
			var b strings.Builder
			for i := range uint32(maxKept/streamSize + 1) {
				b.WriteString(frame(frameHeaders, flagEndHeaders, 2*i+1, c.request(getPath)))
			}
			return b.String()
		}},
		{"many large messages", "http2_message_budget", func(c *peer) string {
			var b strings.Builder
			for i := range uint32(maxKept/MaxMessage + 1) {
				m := message(strings.Repeat("m", MaxMessage))
				b.WriteString(frame(frameHeaders, flagEndHeaders, 2*i+1, c.request(getPath)) + frame(frameData, 0, 2*i+1, m[:len(m)-1]))
			}
			return b.String()
		}},
	} {
		evs := decodertest.Run(t, spec(), decodertest.C(preface+settings), decodertest.S(settings), decodertest.C(x.make(newPeer())))
		n := 0
		for _, w := range weirds(evs) {
			if w == x.want {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s: %v", x.name, weirds(evs))
		}
	}
}

// What follows an abuse is still read.
func TestCallBehindATooLargeBlock(t *testing.T) {
	c, s := newPeer(), newPeer()
	steps := append(begin(), decodertest.C(frame(frameHeaders, 0, 1, "")+strings.Repeat(frame(frameContinuation, 0, 1, strings.Repeat("\x82", 16000)), 5)+frame(frameContinuation, flagEndHeaders, 1, "\x82")))
	steps = append(steps, unary(c, s, 3, getPath, "a", "b")...)
	var found bool
	for _, x := range calls(decodertest.Run(t, spec(), steps...)) {
		found = found || x.StreamID == 3 && x.Path == getPath
	}
	if !found {
		t.Error("the next call was not read")
	}
}

// What one connection may hold on to, whatever it sends.
func TestMemoryOfAConnectionIsBounded(t *testing.T) {
	ctx := &sink{}
	d := newDecoder(ctx, Options{Keep: keepAll})
	feed := func(dir capture.Dir, s string) {
		b := []byte(s)
		for len(b) > 0 {
			n, err := d.Decode(dir, b)
			if err != nil || n == 0 {
				t.Fatalf("%d used, %v", n, err)
			}
			b = b[n:]
		}
	}
	feed(capture.Orig, preface+settings)
	feed(capture.Resp, settings)
	c := newPeer()
	c.enc.SetMaxDynamicTableSizeLimit(1 << 30)
	c.enc.SetMaxDynamicTableSize(1 << 30)
	worst := 0
	for i := range uint32(600) {
		sid := 2*i + 1
		feed(capture.Orig, frame(frameHeaders, flagEndHeaders, sid, c.request(getPath, fmt.Sprintf("x-%d: %s", i, strings.Repeat("v", 9000)))))
		feed(capture.Orig, frame(frameData, 0, sid, message(strings.Repeat("m", 60_000))+message("m")[:6]))
		held := 0
		for s := d.first; s != nil; s = s.next {
			held += s.call.size()
			for w := range s.side {
				held += len(s.side[w].cur.Data)
				for _, m := range s.side[w].msgs {
					held += len(m.Data)
				}
			}
		}
		if held != d.kept || d.held() > maxKept {
			t.Fatalf("stream %d: %d bytes are held, %d counted", sid, held, d.kept)
		}
		for j := range d.half {
			if n := d.half[j].table.size; n > maxTable {
				t.Fatalf("a table of %d bytes", n)
			}
		}
		worst = max(worst, held)
	}
	if worst > maxKept || worst < maxKept/2 {
		t.Errorf("%d bytes were held at most; the test should come near the bound of %d, and not over it", worst, maxKept)
	}
	if d.flush(); d.kept != 0 || len(d.streams) != 0 {
		t.Errorf("%d bytes and %d streams are left", d.kept, len(d.streams))
	}
}

// TestManyCallsUnderWay has as many calls wait for their answers as somebody makes who calls an actor of Ray in a loop: what each said
// and what it was answered is told of, though not all of it can be kept.
func TestManyCallsUnderWay(t *testing.T) {
	const n = 1400 // with the arguments of as many this is more than is kept
	c, s := newPeer(), newPeer()
	var asked, answers strings.Builder
	for i := range uint32(n) {
		sid := 2*i + 1
		u := unary(c, s, sid, "/ray.rpc.CoreWorkerService/PushTask", fmt.Sprintf("%d %s", sid, strings.Repeat("argument", int(i%300))), "done")
		asked.Write(u[0].Data)
		answers.Write(u[1].Data)
	}
	evs := decodertest.Run(t, spec(), append(begin(), decodertest.C(asked.String()), decodertest.S(answers.String()))...)
	said := map[uint32]int{}
	for _, p := range parts(evs) {
		said[p.Call.StreamID] += len(p.Call.RequestMessages)
	}
	got := calls(evs)
	for _, x := range got {
		if said[x.StreamID] += len(x.RequestMessages); said[x.StreamID] != 1 || !x.Done || x.GRPCStatus != 0 || x.ResponseCount != 1 || x.RequestCount != 1 {
			t.Fatalf("%+v, its request was told %d times", x, said[x.StreamID])
		}
	}
	if len(got) != n || len(parts(evs)) == 0 || len(weirds(evs)) > 0 {
		t.Errorf("%d calls, %d parts, %v", len(got), len(parts(evs)), weirds(evs))
	}
}

// TestCallsShareRoom: calls that many connections have under way get no more memory than there is for all of them. Those of the
// connection that was served the longest ago are dropped, which is said, and the next call of it is read.
func TestCallsShareRoom(t *testing.T) {
	room := &capture.Room{}
	type conn struct {
		*decoder
		ctx *tenant
		c   *peer
	}
	var conns []conn
	feed := func(x conn, s string) {
		if n, err := x.Decode(capture.Orig, []byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	most := 0
	for range 5 {
		ctx := &tenant{room: room}
		x := conn{newDecoder(ctx, Options{Keep: keepAll}), ctx, newPeer()}
		conns = append(conns, x)
		feed(x, preface+settings)
		for i := range uint32(40) {
			feed(x, frame(frameHeaders, flagEndHeaders, 2*i+1, x.c.request(getPath))+frame(frameData, 0, 2*i+1, message(strings.Repeat("m", MaxMessage))[:MaxMessage/2]))
		}
		most = max(most, room.Used())
		held := 0
		for _, x := range conns {
			held += x.held()
		}
		if held > room.Used()+len(conns)*4<<10 {
			t.Fatalf("%d bytes are held, %d counted", held, room.Used())
		}
	}
	first := conns[0]
	if most > 4<<20 || first.held() != 0 || first.ctx.weirds != nil {
		t.Fatalf("%d bytes at most, %d of the first, %v", most, first.held(), first.ctx.weirds)
	}
	feed(first, frame(frameHeaders, flagEndHeaders, 201, first.c.request(getPath))+frame(frameData, flagEndStream, 201, message("m")))
	if s := first.streams[201]; s == nil || s.call.Path != getPath || len(s.side[asker].msgs) != 1 || fmt.Sprint(first.ctx.weirds) != "[http2_message_budget]" {
		t.Errorf("the next call was not read, or it was not said that others were dropped: %v", first.ctx.weirds)
	}
	conns[4].Release()
	for _, x := range conns[:4] {
		x.End(capture.Orig)
		x.End(capture.Resp)
	}
	if room.Used() != 0 {
		t.Errorf("%d bytes are left", room.Used())
	}
}

// tenant is a sink that shares room with others.
type tenant struct {
	sink
	room   *capture.Room
	weirds []string
}

func (t *tenant) Room() *capture.Room  { return t.room }
func (t *tenant) Spend(int) bool       { return true }
func (t *tenant) Weird(name, _ string) { t.weirds = append(t.weirds, name) }

// sink is a Context that forgets.
type sink struct {
	at   capture.At
	flow capture.Flow
	n    int
}

func (s *sink) Flow() *capture.Flow   { return &s.flow }
func (s *sink) At() capture.At        { return s.at }
func (s *sink) Emit(any)              { s.n++ }
func (s *sink) Weird(string, string)  {}
func (s *sink) Refute(string)         {}
func (s *sink) Skip()                 {}
func (s *sink) Confirm(string)        {}
func (s *sink) Nest() decoders.Nested { return nil }

func TestAllocationsOfAUnaryCall(t *testing.T) {
	ctx := &sink{}
	d := newDecoder(ctx, Options{Keep: keepAll})
	c, s := newPeer(), newPeer()
	must := func(dir capture.Dir, b []byte) {
		if n, err := d.Decode(dir, b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	}
	must(capture.Orig, []byte(preface+settings))
	must(capture.Resp, []byte(settings))
	var pieces [][2][]byte
	for sid := uint32(1); sid < 2400; sid += 2 {
		u := unary(c, s, sid, getPath, "key", "value")
		pieces = append(pieces, [2][]byte{u[0].Data, u[1].Data})
	}
	i := 0
	got := testing.AllocsPerRun(1000, func() {
		must(capture.Orig, pieces[i][0])
		must(capture.Resp, pieces[i][1])
		i++
	})
	// The stream, its two lists and texts of messages, and the event.
	if got > 8 {
		t.Errorf("%v allocations for a call", got)
	}
	if ctx.n < 1000 {
		t.Errorf("%d calls", ctx.n)
	}
}

func FuzzDecode(f *testing.F) {
	c, s := newPeer(), newPeer()
	for _, mid := range []bool{false, true} {
		u := unary(c, s, 1, getPath, "key", "value")
		f.Add([]byte(preface+settings+string(u[0].Data)), []byte(settings+string(u[1].Data)), uint16(7), mid)
		f.Add([]byte(ping+string(u[0].Data)), []byte(windowUpd+string(u[1].Data)), uint16(100), mid)
	}
	f.Fuzz(func(t *testing.T, a, b []byte, cut uint16, mid bool) {
		ctx := &sink{}
		sp := spec()
		if mid {
			sp = fromMiddle()
		}
		sp.Stream(a, b, mid)
		d := sp.New(ctx).(*decoder)
		for dir, data := range [][]byte{a, b} {
			var held []byte
			for i := 0; i < len(data); i += int(cut) + 1 {
				held = append(held, data[i:min(i+int(cut)+1, len(data))]...)
				for len(held) > 0 {
					n, err := d.Decode(capture.Dir(dir), held)
					if n < 0 || n > len(held) {
						t.Fatal("used more than there is")
					}
					if held = held[n:]; err != nil {
						return
					}
					if n == 0 {
						break
					}
				}
				if d.kept < 0 || d.held() > maxKept {
					t.Fatalf("%d bytes kept, %d streams", d.kept, len(d.streams))
				}
				ctx.at.Time += 1e9
				if cut%5 == 4 {
					d.Gap(capture.Dir(dir), 3)
					held = nil
				}
			}
		}
		d.End(capture.Orig)
		d.End(capture.Resp)
		if d.kept != 0 || len(d.streams) != 0 {
			t.Fatalf("%d bytes, %d streams left", d.kept, len(d.streams))
		}
	})
}

// BenchmarkLost is the search for frames in noise, which a connection is that was picked up inside a long frame.
func BenchmarkLost(b *testing.B) {
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(i * i >> 7)
	}
	d := spec().New(&sink{}).(*decoder)
	h := &d.half[0]
	h.state = isLost
	b.SetBytes(int64(len(noise)))
	for b.Loop() {
		h.wasted = 0
		if _, err := d.resync(capture.Orig, h, noise); err != nil {
			b.Fatal(err)
		}
	}
}
