package websocket

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

// frame builds a frame; first is the byte with FIN, the reserved bits and the opcode. Clients mask.
func frame(dir capture.Dir, first byte, payload string) decodertest.Step {
	b := []byte{first}
	mask := byte(0x80)
	if dir == capture.Resp {
		mask = 0
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if dir == capture.Orig {
		key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
		b = append(b, key[:]...)
		for i := range len(payload) {
			b = append(b, payload[i]^key[i&3])
		}
	} else {
		b = append(b, payload...)
	}
	return decodertest.Step{Dir: dir, Data: b}
}

func c(first byte, payload string) decodertest.Step { return frame(capture.Orig, first, payload) }
func s(first byte, payload string) decodertest.Step { return frame(capture.Resp, first, payload) }

// lines stands for what is found inside: it takes everything that does not look like frames and says it at the end.
func lines() decoders.Spec {
	return decoders.Spec{
		Name: "lines",
		Stream: func(o, r []byte, _ bool) decoders.Verdict {
			if probe(o, r, false) != decoders.No {
				return decoders.No
			}
			return decoders.Yes
		},
		New: func(ctx decoders.Context) decoders.Decoder { return &said{ctx: ctx} },
	}
}

type inside struct {
	Dir  capture.Dir
	Data string
}

type said struct {
	ctx decoders.Context
	got [2]string
}

func (d *said) Decode(dir capture.Dir, b []byte) (int, error) {
	d.got[dir] += string(b)
	return len(b), nil
}

func (d *said) Gap(dir capture.Dir, n int64) bool {
	d.got[dir] += fmt.Sprintf("<%d>", n)
	return true
}

func (d *said) End(dir capture.Dir) { d.ctx.Emit(&inside{dir, d.got[dir]}) }

// deflater makes the messages of a permessage-deflate context.
type deflater struct {
	b bytes.Buffer
	w *flate.Writer
}

func (d *deflater) message(t testing.TB, text string) string {
	t.Helper()
	if d.w == nil {
		d.w, _ = flate.NewWriter(&d.b, 6)
	}
	d.b.Reset()
	if _, err := d.w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := d.w.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(d.b.String(), "\x00\x00\xff\xff")
}

func TestMessages(t *testing.T) {
	const login = `{"id":1,"method":"login","params":{"login":"x"}}`
	long := strings.Repeat("0123456789", 7_000)
	var z deflater
	z1, z2 := z.message(t, login), z.message(t, login) // the second refers to the first
	tests := []struct {
		name       string
		steps      []decodertest.Step
		orig, resp string
		weirds     string
	}{
		{"Text", []decodertest.Step{c(0x81, login), s(0x81, "{}ok")}, login + "\n", "{}ok\n", ""},
		{"TextThatEndsInALineFeed", []decodertest.Step{c(0x81, login+"\n"), c(0x81, "more")}, login + "\nmore\n", "", ""},
		{"Fragments", []decodertest.Step{c(0x01, "hell"), c(0x00, "o "), c(0x80, "you")}, "hello you\n", "", ""},
		{"ControlBetweenFragments", []decodertest.Step{c(0x01, "hell"), c(0x89, "ping"), c(0x80, "o")}, "hello\n", "", ""},
		{"Length16", []decodertest.Step{c(0x81, long[:300])}, long[:300] + "\n", "", ""},
		{"Length64", []decodertest.Step{c(0x81, "text"), c(0x81, long)}, "text\n" + long + "\n", "", ""},
		{"Binary", []decodertest.Step{c(0x82, "\x01\x02\x03"), s(0x82, "\x04\x05"), s(0x82, "\x06")}, "\x01\x02\x03", "\x04\x05\x06", ""},
		{"DeflatedWithContext", []decodertest.Step{c(0xc1, z1), c(0xc1, z2)}, login + "\n" + login + "\n", "", ""},
		{"DeflatedInFragments", []decodertest.Step{c(0x81, "first"), c(0x41, z1[:9]), c(0x80, z1[9:])}, "first\n" + login + "\n", "", ""},
		{"EmptyMessage", []decodertest.Step{c(0x81, "text"), c(0x81, ""), c(0x81, "more")}, "text\nmore\n", "", ""},
		{"NotDeflated", []decodertest.Step{c(0x81, "text"), c(0xc1, "\xff\xff\xff\xff"), c(0x81, "more")}, "text\n<1>more\n", "", "websocket_inflate_failed"},
		{"ReservedBit", []decodertest.Step{c(0x81, "text"), c(0xa1, "x"), c(0x81, "more")}, "text\n", "", "websocket_bad_frame"},
		{"ContinuationOfNothing", []decodertest.Step{c(0x81, "text"), c(0x80, "x")}, "text\n", "", "websocket_bad_frame"},
		{"GapInPayload", []decodertest.Step{{Dir: capture.Orig, Data: c(0x81, "0123456789").Data[:6+4]}, {Dir: capture.Orig, Gap: 3},
			{Dir: capture.Orig, Data: c(0x81, "0123456789").Data[6+7:]}, c(0x81, "more")}, "0123<3>789\nmore\n", "", ""},
		{"GapHidesAHeader", []decodertest.Step{c(0x81, "text"), {Dir: capture.Orig, Gap: 3}, c(0x81, "more"), s(0x81, "answer")}, "text\n", "answer\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			specs := []decoders.Spec{Spec(), lines()}
			var got [2]string
			var weirds []string
			for _, ev := range decodertest.RunAll(t, specs, tt.steps...) {
				switch ev := ev.(type) {
				case *inside:
					got[ev.Dir] += ev.Data
				case *capture.Weird:
					weirds = append(weirds, ev.Name)
				}
			}
			if got[0] != tt.orig || got[1] != tt.resp {
				t.Errorf("inside: %.200q, want %.200q, %.200q", got, tt.orig, tt.resp)
			}
			if w := strings.Join(weirds, " "); w != tt.weirds {
				t.Errorf("weirds %q, want %q", w, tt.weirds)
			}
			decodertest.CutAndPoisonAll(t, specs, tt.steps...)
		})
	}
}

func TestBombIsBounded(t *testing.T) {
	var z deflater
	got := 0
	for _, ev := range decodertest.RunAll(t, []decoders.Spec{Spec(), lines()}, c(0x81, "text"), c(0xc1, z.message(t, strings.Repeat("a", 32<<20))), c(0x81, "more")) {
		if ev, ok := ev.(*inside); ok {
			got += len(ev.Data)
		}
	}
	if got == 0 || got > maxInflated+64<<10 {
		t.Errorf("%d bytes came out", got)
	}
}

func TestConfirm(t *testing.T) {
	if got := decodertest.Services(t, Spec(), c(0x81, "text")); len(got) != 1 || got[0] != "websocket" {
		t.Errorf("services %v", got)
	}
}

func TestProbe(t *testing.T) {
	str := func(s decodertest.Step) string { return string(s.Data) }
	var z deflater
	packed := z.message(t, "some text of a message")
	for _, tt := range []struct {
		name, orig, resp string
		mid              bool
		want             decoders.Verdict
	}{
		{"Text", str(c(0x81, "hello")), "", false, decoders.Yes},
		{"ServerFirst", "", str(s(0x81, "hello")), false, decoders.Yes},
		{"Both", str(c(0x81, "hello")), str(s(0x81, "hello")), true, decoders.Yes},
		{"Flipped", str(s(0x81, "hello")), str(c(0x81, "hello")), false, decoders.Flipped},
		{"HeaderOnly", str(c(0x81, "hello"))[:6], "", false, decoders.Maybe},
		{"Deflated", str(c(0xc1, packed)), "", false, decoders.Yes},
		{"NotDeflated", str(c(0xc1, "\xff\xff\xff\xff")), "", false, decoders.No},
		{"TextThatIsNone", str(c(0x81, "\x00\x01\x02\x03")), "", false, decoders.No},
		{"UnmaskedClient", str(s(0x81, "hello")), str(s(0x81, "hello")), false, decoders.No},
		{"CloseCode", str(c(0x88, "\x03\xe8bye")), "", false, decoders.Yes},
		{"BadCloseCode", str(c(0x88, "\x00\x01bye")), "", false, decoders.No},
		{"LongPing", str(c(0x89, strings.Repeat("x", 126))), "", false, decoders.No},
		{"FollowedByJunk", str(c(0x81, "hello")) + "\x00\x00\x00", "", false, decoders.No},
		{"LengthNotShortest", "\x81\xfe\x00\x05abcdhello", "", false, decoders.No},
		{"HTTP", "GET / HTTP/1.1\r\n", "", false, decoders.No},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00", "", false, decoders.No},
		{"Stratum", `{"id":1,"method":"mining.subscribe"}`, "", false, decoders.No},
		{"SSH", "SSH-2.0-x\r\n", "SSH-2.0-y\r\n", false, decoders.No},
		{"AT", "AT+CGMI\r\n", "", false, decoders.No},
		{"DNSOverTCP", "\x00\x1d\xab\xcd\x01\x00\x00\x01", "", false, decoders.No},
		{"ServerBinaryAlone", "", "\x82\x02xx", false, decoders.Maybe},
	} {
		if got := probe([]byte(tt.orig), []byte(tt.resp), tt.mid); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func FuzzStream(f *testing.F) {
	var z deflater
	f.Add(c(0x81, "hello").Data, s(0x81, "hello").Data, uint16(0))
	f.Add(append(c(0x01, "hel").Data, c(0x80, "lo").Data...), s(0x88, "\x03\xe8").Data, uint16(5))
	f.Add(c(0xc1, z.message(f, "some text")).Data, []byte{}, uint16(9))
	f.Fuzz(func(t *testing.T, orig, resp []byte, gap uint16) {
		specs := []decoders.Spec{Spec(), lines()}
		steps := []decodertest.Step{c(0x81, "hello"), {Dir: capture.Orig, Data: orig}, {Dir: capture.Resp, Data: resp}}
		if len(orig)+len(resp) < 400 {
			decodertest.CutAndPoisonAll(t, specs, steps...)
		}
		cut := int(gap) % (len(orig) + 1)
		decodertest.RunAll(t, specs, decodertest.Step{Dir: capture.Orig, Data: orig[:cut]}, decodertest.Step{Dir: capture.Orig, Gap: int64(gap)},
			decodertest.Step{Dir: capture.Orig, Data: orig[cut:]}, decodertest.Step{Dir: capture.Resp, Data: resp})
	})
}

// flow is a host that forgets.
type flow struct{ f capture.Flow }

func (q *flow) Flow() *capture.Flow { return &q.f }
func (q *flow) At() capture.At      { return capture.At{} }
func (q *flow) Emit(any)            {}
func (q *flow) Service(string)      {}
func (q *flow) Refute(string)       {}
func (q *flow) Skip()               {}
func (q *flow) Flip() bool          { return false }

func TestMessageAllocations(t *testing.T) {
	m := decoders.NewMux(&flow{}, []decoders.Spec{Spec()}, false)
	msg := c(0x81, "a line of some protocol").Data
	m.Data(capture.Orig, msg)
	if n := testing.AllocsPerRun(1000, func() { m.Data(capture.Orig, msg) }); n > 0 {
		t.Errorf("%v allocations for a message, want none", n)
	}
}
