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

// again adds to a spec that its magic is looked for at later beginnings.
func again(s decoders.Spec, magic string, lines bool) decoders.Spec {
	s.Again = decoders.Again{First: []string{magic[:2]}, Lines: lines, Probe: func(o, r []byte, turn bool) decoders.Verdict {
		for d, b := range [2][]byte{o, r} {
			switch {
			case len(b) == 0:
			case strings.HasPrefix(magic, string(b[:min(len(b), len(magic))])) && len(b) < len(magic):
				return decoders.Maybe
			case !bytes.HasPrefix(b, []byte(magic)):
			case !turn && len(o) > 0 && len(r) > 0 && string(r[:1]) == "+":
				return decoders.Yes
			case !turn:
				return decoders.Maybe
			default:
				return [2]decoders.Verdict{decoders.Yes, decoders.Flipped}[d]
			}
		}
		return decoders.No
	}}
	return s
}

// text takes any letter, and is not sure before it has seen a line "named".
type text struct {
	line
	sure bool
}

func (x *text) Decode(dir capture.Dir, b []byte) (int, error) {
	n, err := x.line.Decode(dir, b)
	if n > 0 && string(b[:n]) == "named\n" {
		x.sure = true
		x.ctx.Confirm("text")
	}
	return n, err
}
func (x *text) Doubtful() bool { return !x.sure }

func texts() decoders.Spec {
	return decoders.Spec{Name: "text", Stream: func(o, r []byte, _ bool) decoders.Verdict {
		for _, b := range [2][]byte{o, r} {
			if len(b) > 0 && b[0] < 'a' {
				return decoders.No
			}
		}
		return decoders.Yes
	}, New: func(ctx decoders.Context) decoders.Decoder { return &text{line: line{ctx: ctx, name: "text"}} }}
}

// TestAgain: what is found at later beginnings, and what is not.
func TestAgain(t *testing.T) {
	c, s := decodertest.C, decodertest.S
	one, two := again(spec("one", "one", false), "one", false), again(spec("two", "two", false), "two", true)
	both := []decoders.Spec{one, two}
	all := append(both[:2:2], texts())
	ends := func(n string) string { return "|" + n + " orig end|" + n + " resp end" }
	long := "0123456789abcdef!\n"
	for _, tt := range []struct {
		name  string
		specs []decoders.Spec
		steps []decodertest.Step
		want  string
	}{
		{"behind a stray byte", both, []decodertest.Step{c("\x00"), c("one\n"), s("y\n")}, "one orig one|one resp y" + ends("one")},
		{"behind the other side's", both, []decodertest.Step{s("\x00"), c("one\n"), s("y\n")}, "one orig one|one resp y" + ends("one")},
		{"behind much, when the peer has spoken", both, []decodertest.Step{c(long), s("!\n"), c("one\n")}, "one orig one" + ends("one")},
		{"inside a transfer", both, []decodertest.Step{c(long), c("one\n"), c("x\n")}, ""},
		{"inside a transfer, but it is answered", both, []decodertest.Step{c(long), c("one\n"), s("+\n"), c("x\n")}, "one orig one|one resp +|one orig x" + ends("one")},
		{"from the other side", both, []decodertest.Step{c("!\n"), s("one\n"), c("x\n")}, "one orig one|one resp x|one resp end|one orig end"},
		{"within a segment", both, []decodertest.Step{c("!\none\n")}, ""},
		{"at a line within a segment", both, []decodertest.Step{c("!\ntwo\nx\n")}, "two orig two|two orig x" + ends("two")},
		{"at a line, split", both, []decodertest.Step{c("!\n!\nt"), c("wo\n")}, "two orig two" + ends("two")},
		{"not in the middle of a line", both, []decodertest.Step{c("! two\n")}, ""},
		{"behind a decoder's error", both, []decodertest.Step{c("one\nbad\n"), s("z\n"), c("two\n")}, "one orig one|one orig bad|two orig two" + ends("two")},
		{"what is read is not read again", both, []decodertest.Step{c("one\nbad\ntwo\n")}, "one orig one|one orig bad"},
		{"behind a hold that was full", both, []decodertest.Step{c("one\n"), c(strings.Repeat("x", 200<<10)), s("z\n"), c("two\n")},
			"one orig one|weird decoder_hold_limit" + ends("one") + "|two orig two" + ends("two")},
		{"behind many losses", both, append(make([]decodertest.Step, 0, 600), holes2(300, s("!\n"), c("two\n"))...), "two orig two" + ends("two")},
		{"text that has no name gives way", all, []decodertest.Step{c("hello\n"), c("one\n"), s("y\n")}, "text orig hello" + ends("text") + "|one orig one|one resp y" + ends("one")},
		{"text that has one does not", all, []decodertest.Step{c("hello\n"), c("named\n"), c("one\n")}, "text orig hello|text orig named|text orig one" + ends("text")},
		{"nor when it is left", all, []decodertest.Step{c("named\n"), c("bad\n"), s("!\n"), c("one\n")}, "text orig named|text orig bad"},
		{"an end decides", both, []decodertest.Step{c(long), c("one\n"), s("+"), c("x\n")}, "one orig one|one orig x" + ends("one")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := heard(decodertest.RunAll(t, tt.specs, tt.steps...)); got != tt.want {
				t.Errorf("got  %.300s\nwant %.300s", got, tt.want)
			}
			switch tt.name {
			case "within a segment", "not in the middle of a line", "what is read is not read again":
				// Where segments begin is the rule.
			case "behind a hold that was full":
			default:
				decodertest.CutAndPoisonAll(t, tt.specs, tt.steps...)
			}
		})
	}
}

// holes2 are n losses with something behind each.
func holes2(n int, more ...decodertest.Step) (steps []decodertest.Step) {
	for range n {
		steps = append(steps, decodertest.C("!"), decodertest.Step{Dir: capture.Orig, Gap: 5})
	}
	return append(steps, more...)
}

func heard(evs []any) string {
	var got []string
	for _, ev := range evs {
		switch ev := ev.(type) {
		case *said:
			got = append(got, ev.What)
		case *capture.Weird:
			got = append(got, "weird "+ev.Name)
		}
	}
	return strings.Join(got, "|")
}

// TestWatch: an idle Mux wants what may be a beginning, and nothing else, and what it is only shown costs no allocation.
func TestWatch(t *testing.T) {
	m := decoders.NewMux(fixed{}, []decoders.Spec{again(spec("one", "one", false), "one", false)}, false)
	m.Data(capture.Orig, []byte("!\n"))
	if !m.Idle() || m.Watch(capture.Orig, []byte("two\n")) || m.Watch(capture.Orig, []byte("x one\n")) || !m.Watch(capture.Orig, []byte("on")) {
		t.Error("what is wanted")
	}
	bulk := bytes.Repeat([]byte("\x01one\n"), 250)
	if n := testing.AllocsPerRun(100, func() { m.Watch(capture.Orig, bulk) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if m.Watch(capture.Orig, []byte("o")); !m.Watch(capture.Orig, []byte("on")) {
		t.Error("the beginning of a beginning")
	}
	m.Data(capture.Resp, []byte("!"))
	m.Data(capture.Orig, []byte("on"))
	if m.Idle() {
		t.Error("does not wait for the rest")
	}
	m.Data(capture.Orig, []byte("!"))
	if !m.Idle() {
		t.Error("waits when it was none")
	}
	m.Finish()
	if !m.Idle() || m.Watch(capture.Orig, []byte("one\n")) {
		t.Error("wants more when all is over")
	}
}

// BenchmarkWatch is what a segment of bulk traffic costs that nobody wants.
func BenchmarkWatch(b *testing.B) {
	m := decoders.NewMux(fixed{}, []decoders.Spec{again(spec("one", "one", false), "one", true)}, false)
	bulk := bytes.Repeat([]byte("\x01one\n"), 250)
	for range 40 {
		m.Data(capture.Orig, bulk)
	}
	b.Run("shown", func(b *testing.B) {
		for b.Loop() {
			m.Watch(capture.Orig, bulk)
		}
	})
	b.Run("idle", func(b *testing.B) {
		for b.Loop() {
			m.Idle()
		}
	})
}
