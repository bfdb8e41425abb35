package decoders_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

// line is a decoder of lines that begin with its magic; "switch" ends it in good order, "bad" in bad.
type line struct {
	ctx  decoders.Context
	name string
	wait bool // leave the originator's lines until the responder has spoken
	ok   bool
}

type said struct{ What string }

func (l *line) Decode(dir capture.Dir, b []byte) (int, error) {
	if l.wait && dir == capture.Orig && !l.ok {
		return 0, nil
	}
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return 0, nil
	}
	s := string(b[:i])
	l.ok = l.ok || dir == capture.Resp
	l.ctx.Emit(&said{fmt.Sprintf("%s %s %s", l.name, dir, s)})
	switch s {
	case "switch":
		return i + 1, decoders.ErrSwitch
	case "bad":
		return 0, fmt.Errorf("line: bad")
	case "nest":
		n := l.ctx.Nest()
		n.Data(dir, []byte("bin\x00"))
		n.End(dir)
	}
	return i + 1, nil
}

func (l *line) Gap(dir capture.Dir, n int64) bool {
	l.ctx.Emit(&said{fmt.Sprintf("%s %s gap %d", l.name, dir, n)})
	return true
}

func (l *line) End(dir capture.Dir) { l.ctx.Emit(&said{fmt.Sprintf("%s %s end", l.name, dir)}) }

func spec(name, magic string, wait bool) decoders.Spec {
	starts := func(b []byte) decoders.Verdict {
		switch {
		case len(b) == 0 || len(b) < len(magic) && strings.HasPrefix(magic, string(b)):
			return decoders.Maybe
		case bytes.HasPrefix(b, []byte(magic)):
			return decoders.Yes
		}
		return decoders.No
	}
	return decoders.Spec{
		Name: name,
		Stream: func(o, r []byte, mid bool) decoders.Verdict {
			if v := starts(o); v != decoders.No && len(o) > 0 {
				return v
			}
			if len(r) > 0 && starts(r) == decoders.Yes && len(o) == 0 {
				return decoders.Flipped
			}
			if len(o) == 0 {
				return starts(r)
			}
			return decoders.No
		},
		New: func(ctx decoders.Context) decoders.Decoder { return &line{ctx: ctx, name: name, wait: wait} },
	}
}

// asker is a decoder of datagrams that is at rest behind each with a dot.
type asker struct {
	line
	rests    bool
	released *int
}

func (a *asker) Decode(_ capture.Dir, b []byte) (int, error) {
	a.rests = b[len(b)-1] == '.'
	return len(b), nil
}
func (a *asker) Rest() bool { return a.rests }
func (a *asker) Release()   { *a.released++ }

// fixed is a flow whose identity an event has carried.
type fixed struct{}

func (fixed) Flow() *capture.Flow { return &capture.Flow{} }
func (fixed) At() capture.At      { return capture.At{} }
func (fixed) Emit(any)            {}
func (fixed) Service(string)      {}
func (fixed) Refute(string)       {}
func (fixed) Skip()               {}
func (fixed) Flip() bool          { return false }

// TestRest: a Mux is at rest when its decoder is, and lets it go; one that stands between the two sides of the flow, which
// the next would have to find out anew, is not.
func TestRest(t *testing.T) {
	for _, c := range []struct {
		trap     string
		verdict  decoders.Verdict
		said     string
		want     bool
		released int
	}{
		{"at rest", decoders.Yes, "a.", true, 1},
		{"not yet", decoders.Yes, "a", false, 0},
		{"not known yet", decoders.Maybe, "a.", false, 0},
		{"the other way", decoders.Flipped, "a.", false, 0},
	} {
		released := 0
		m := decoders.NewMux(fixed{}, []decoders.Spec{{
			Name: "asker", Datagram: func(_, _ []byte, _ bool) decoders.Verdict { return c.verdict },
			New: func(decoders.Context) decoders.Decoder { return &asker{released: &released} },
		}}, false)
		m.Datagram(capture.Orig, []byte(c.said))
		if got := m.Rest(); got != c.want || released != c.released {
			t.Errorf("%s: at rest: %v, %d released", c.trap, got, released)
		}
	}
}

func TestMux(t *testing.T) {
	c, s := decodertest.C, decodertest.S
	both := []decoders.Spec{spec("one", "one", false), spec("two", "two", false), spec("bin", "bin", false)}
	// holes are as many losses, each behind bytes that are the beginning of something.
	holes := func(n int, more ...decodertest.Step) (steps []decodertest.Step) {
		for range n {
			steps = append(steps, c("o"), decodertest.Step{Dir: capture.Orig, Gap: 5})
		}
		return append(steps, more...)
	}
	tests := []struct {
		name  string
		specs []decoders.Spec
		steps []decodertest.Step
		want  string
	}{
		{"gaps while probing, as many as are forgiven", both, holes(255, c("two\n")), "two orig two|two orig end|two resp end"},
		{"gaps while probing, one more", both, holes(256, c("two\n")), ""},
		{"chosen by bytes", both, []decodertest.Step{c("two\n"), s("x\n")}, "two orig two|two resp x|two orig end|two resp end"},
		{"split in the magic", both, []decodertest.Step{c("t"), c("w"), c("o\n")}, "two orig two|two orig end|two resp end"},
		{"nobody wants it", both, []decodertest.Step{c("three\n"), s("x\n")}, ""},
		{"the server spoke first and began it", both, []decodertest.Step{s("one\n"), c("x\n")}, "one orig one|one resp x|one resp end|one orig end"},
		{"switch: the rest is probed afresh", both, []decodertest.Step{c("one\nswitch\ntwo\n"), s("y\n")}, "one orig one|one orig switch|two orig two|two resp y|two orig end|two resp end"},
		{"error detaches without an end", both, []decodertest.Step{c("one\nbad\none\n")}, "one orig one|one orig bad"},
		{"bytes are left until the answer", []decoders.Spec{spec("w", "w", true)}, []decodertest.Step{c("w1\nw2\n"), s("ok\n"), c("w3\n")}, "w resp ok|w orig w1|w orig w2|w orig w3|w orig end|w resp end"},
		{"gap while decoding", both, []decodertest.Step{c("one\nhal"), {Dir: capture.Orig, Gap: 5}, c("x\n")}, "one orig one|one orig gap 5|one orig x|one orig end|one resp end"},
		{"gap while probing starts the probe again", both, []decodertest.Step{c("o"), {Dir: capture.Orig, Gap: 5}, c("two\n")}, "two orig two|two orig end|two resp end"},
		{"a line longer than any hold", []decoders.Spec{spec("one", "one", false)}, []decodertest.Step{c("one"), c(strings.Repeat("x", 300<<10))}, "weird decoder_hold_limit|one orig end|one resp end"},
		{"long data behind a partial line is offered in pieces", []decoders.Spec{spec("one", "one", false)},
			[]decodertest.Step{c("one"), c("\n" + strings.Repeat("y\n", 100<<10))}, "one orig one|" + strings.Repeat("one orig y|", 100<<10) + "one orig end|one resp end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, ev := range decodertest.RunAll(t, tt.specs, tt.steps...) {
				switch ev := ev.(type) {
				case *said:
					got = append(got, ev.What)
				case *capture.Weird:
					got = append(got, "weird "+ev.Name)
				}
			}
			if g := strings.Join(got, "|"); g != tt.want {
				t.Errorf("got  %.300s\nwant %.300s", g, tt.want)
			}
			if len(tt.want) < 1000 && !strings.Contains(tt.name, "hold") {
				decodertest.CutAndPoisonAll(t, tt.specs, tt.steps...)
			}
		})
	}
}
