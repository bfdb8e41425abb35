package http2

import (
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

const pushPath = "/ray.rpc.ObjectManagerService/Push"

// piece is that of an object, as far as anybody knows.
var piece = strings.Repeat("object ", 30000)

// push sends pieces of objects on a stream, of which much is read past: in one frame, in a padded one, and in two.
func push(c, s *peer, sid uint32) []decodertest.Step {
	m := message(piece)
	padded := "\xc8" + m + strings.Repeat("\x00", 200)
	return []decodertest.Step{
		decodertest.C(frame(frameHeaders, flagEndHeaders, sid, c.request(pushPath)) + frame(frameData, 0, sid, m)[:100000]),
		decodertest.S(windowUpd + ping),
		decodertest.C(frame(frameData, 0, sid, m)[100000:] + frame(frameData, flagPadded, sid, padded)),
		decodertest.C(frame(0x42, 0, 0, piece) + frame(frameData, 0, sid, m[:1000]) + frame(frameData, flagEndStream, sid, m[1000:])),
		decodertest.S(frame(frameHeaders, flagEndHeaders, sid, s.answer()) + frame(frameData, 0, sid, message("")) +
			frame(frameHeaders, flagEndHeaders|flagEndStream, sid, s.trailer(0))),
	}
}

func TestWhatNobodyKeepsIsUnwanted(t *testing.T) {
	spec := Spec(Options{Keep: func(*Call) int { return 512 }})
	c, s := newPeer(), newPeer()
	steps := append(begin(), push(c, s, 1)...)
	steps = append(steps, unary(c, s, 3, getPath, "\x0a\x01k", "\x0a\x00\x12\x01v")...)
	// A stream that is reset while a message of it is on its way: what is left of that is read past.
	cut := frame(frameHeaders, flagEndHeaders, 5, c.request(pushPath)) + frame(frameData, flagEndStream, 5, message(piece))
	steps = append(steps, decodertest.C(cut[:50000]), decodertest.S(frame(frameReset, 0, 5, "\x00\x00\x00\x08")), decodertest.C(cut[50000:]))
	steps = append(steps, unary(c, s, 7, getPath, "\x0a\x01l", "\x0a\x00")...)
	got := calls(decodertest.Run(t, spec, steps...))
	if len(got) != 4 {
		t.Fatalf("%d calls", len(got))
	}
	if x := got[0]; x.Path != pushPath || x.RequestCount != 3 || x.RequestBytes != uint64(3*(len(piece)+5)) || len(x.RequestMessages) != 3 || len(x.RequestMessages[2].Data) != 512 {
		t.Errorf("%d messages, %d bytes, %d kept", x.RequestCount, x.RequestBytes, len(x.RequestMessages))
	}
	if n := decodertest.CutAndPoison(t, spec, steps...); n < 10*int64(len(piece)) {
		t.Errorf("%d bytes were not wanted in 50 runs", n)
	}
}

// follower reads all.
type follower struct{}

func (follower) Message(bool, int, bool)       {}
func (follower) Data(capture.At, bool, []byte) {}
func (follower) Gap(capture.At, bool, int)     {}
func (follower) Close()                        {}

// TestWhatSomebodyReadsIsWanted: of messages that are kept to their ends or followed, of the body of a request that is no gRPC, and of
// headers nothing is passed over.
func TestWhatSomebodyReadsIsWanted(t *testing.T) {
	for _, x := range []struct {
		name  string
		opt   Options
		steps []decodertest.Step
	}{
		{"kept", Options{Keep: keepAll}, append(begin(), unary(newPeer(), newPeer(), 1, getPath, piece[:MaxMessage], "")...)},
		{"followed", Options{Keep: keepAll, Follow: func(decoders.Context, *Call) Follower { return follower{} }},
			append(begin(), unary(newPeer(), newPeer(), 1, pushPath, piece, "")...)},
		{"no gRPC", Options{Keep: keepAll}, append(begin(), decodertest.C(frame(frameHeaders, flagEndHeaders, 1,
			newPeer().block(":method: POST", ":path: /api/jobs/", ":scheme: http", "content-type: application/json"))+frame(frameData, flagEndStream, 1, piece)))},
	} {
		t.Run(x.name, func(t *testing.T) {
			if n := decodertest.CutAndPoison(t, Spec(x.opt), x.steps...); n > 0 {
				t.Errorf("%d bytes were not wanted", n)
			}
		})
	}
}

// TestMidStreamInsideTheLongestFrame picks a connection up at the beginning of a frame of 16 MiB, whose end comes, and one whose
// sender asked for longer frames than is usual.
func TestMidStreamInsideTheLongestFrame(t *testing.T) {
	c, s := newPeer(), newPeer()
	unary(c, s, 1, getPath, "", "")
	const longest = 1<<24 - 1
	rest := strings.Repeat("\x07\x01\x02\x03", longest/4)
	steps := append([]decodertest.Step{decodertest.S(ping + ping), decodertest.C(rest)}, unary(c, s, 903, getPath, "req", "resp")...)
	steps = append(steps, unary(c, s, 905, pushPath, rest[:len(rest)-5], "")...)
	steps = append(steps, unary(c, s, 907, getPath, "req", "resp")...)
	evs := decodertest.Run(t, fromMiddle(), steps...)
	got := calls(evs)
	if len(got) != 3 || got[0].StreamID != 903 || got[1].RequestBytes != uint64(len(rest)) || got[2].StreamID != 907 || len(weirds(evs)) > 0 {
		t.Fatalf("%d calls, %v", len(got), weirds(evs))
	}
}
