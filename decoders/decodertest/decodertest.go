// Package decodertest feeds decoders in tests the way the engine does, and the way an attacker does: cut at random
// places, with the buffers overwritten after every call.
package decodertest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// Step is one thing that happens to a flow. Without Data, Gap and End it is nothing.
type Step struct {
	Dir  capture.Dir
	Data []byte
	Gap  int64
	End  bool
}

// C and S are shorthands: bytes of the client and of the server.
func C(s string) Step { return Step{Dir: capture.Orig, Data: []byte(s)} }

// S is what the server sends.
func S(s string) Step { return Step{Dir: capture.Resp, Data: []byte(s)} }

// host is a flow that remembers what was emitted.
type host struct {
	flow     *capture.Flow
	at       capture.At
	events   []any
	asSaid   []string // each event as it was when emitted
	services []string
	flips    bool
	passed   int64 // bytes that were not given to the Mux
}

func newHost(flips bool) *host {
	return &host{flips: flips, flow: &capture.Flow{
		UID: "CTestTestTestTest01", Start: 1_700_000_000e9, Proto: capture.ProtoTCP,
		Orig: netip.MustParseAddrPort("10.0.0.1:40000"), Resp: netip.MustParseAddrPort("10.0.0.2:8265"),
	}}
}

func (h *host) Flow() *capture.Flow { return h.flow }
func (h *host) At() capture.At      { return h.at }
func (h *host) Service(s string)    { h.services = append(h.services, s) }
func (h *host) Skip()               {}
func (h *host) Refute(s string) {
	h.services = slices.DeleteFunc(h.services, func(x string) bool { return x == s })
}
func (h *host) Flip() bool {
	if len(h.events) > 0 || !h.flips {
		return false
	}
	h.flow.Orig, h.flow.Resp = h.flow.Resp, h.flow.Orig
	return true
}

func (h *host) Emit(ev any) {
	h.events = append(h.events, ev)
	h.asSaid = append(h.asSaid, Snapshot(ev))
}

// Snapshot renders an event completely, so that two can be compared.
func Snapshot(ev any) string {
	b, err := json.Marshal(ev)
	if err != nil {
		return fmt.Sprintf("%T %+v", ev, ev)
	}
	return fmt.Sprintf("%T %s", ev, b)
}

// Run feeds the steps to a Mux over specs as one stream, each step one packet a millisecond after the one before,
// ends both directions and returns what was emitted.
func Run(t testing.TB, spec decoders.Spec, steps ...Step) []any {
	t.Helper()
	return RunAll(t, []decoders.Spec{spec}, steps...)
}

// RunAll is Run with several decoders to choose from.
func RunAll(t testing.TB, specs []decoders.Spec, steps ...Step) []any {
	t.Helper()
	h := stream(specs, steps, nil)
	check(t, h)
	return h.events
}

// Services returns what the decoder confirmed and did not refute.
func Services(t testing.TB, spec decoders.Spec, steps ...Step) []string {
	t.Helper()
	return stream([]decoders.Spec{spec}, steps, nil).services
}

// stream runs the steps; with a random source the data is cut, every buffer overwritten after use, and now and then what the Mux says
// it does not want is not given to it.
func stream(specs []decoders.Spec, steps []Step, cut *rand.Rand) *host {
	h := newHost(false)
	m := decoders.NewMux(h, specs, false)
	for i, s := range steps {
		h.at = capture.At{Time: h.flow.Start + capture.Time(i)*1e6, Packet: uint64(i + 1)}
		b := s.Data
		for len(b) > 0 {
			n := len(b)
			if cut != nil && cut.IntN(4) == 0 {
				if k, watch := m.Unwanted(s.Dir); k > 0 && !watch {
					k = min(k, int64(len(b)))
					k -= cut.Int64N(k)
					var passed [2]uint64
					passed[s.Dir] = uint64(k)
					m.Passed(passed, passed)
					h.passed += k
					b = b[k:]
					continue
				}
			}
			if cut != nil {
				n = 1 + cut.IntN(min(len(b), 1<<cut.IntN(12)))
			}
			piece := append([]byte(nil), b[:n]...)
			m.Data(s.Dir, piece)
			for j := range piece {
				piece[j] = 0xAA
			}
			b = b[n:]
		}
		if s.Gap > 0 {
			m.Gap(s.Dir, s.Gap)
		}
		if s.End {
			m.End(s.Dir)
		}
	}
	m.Finish()
	return h
}

// RunDatagrams feeds each step's data as one datagram.
func RunDatagrams(t testing.TB, spec decoders.Spec, steps ...Step) []any {
	t.Helper()
	h := newHost(true)
	h.flow.Proto = capture.ProtoUDP
	m := decoders.NewMux(h, []decoders.Spec{spec}, false)
	for i, s := range steps {
		h.at = capture.At{Time: h.flow.Start + capture.Time(i)*1e6, Packet: uint64(i + 1)}
		piece := append([]byte(nil), s.Data...)
		m.Datagram(s.Dir, piece)
		for j := range piece {
			piece[j] = 0xAA
		}
	}
	m.Finish()
	check(t, h)
	return h.events
}

func check(t testing.TB, h *host) {
	t.Helper()
	for i, ev := range h.events {
		if now := Snapshot(ev); now != h.asSaid[i] {
			t.Errorf("event %d changed after it was emitted: it aliases borrowed bytes\n  then %s\n  now  %s", i, h.asSaid[i], now)
		}
	}
}

// CutAndPoison runs the steps whole and then many times cut at random places, without some of the bytes that nobody wants, and wants the
// same events each time, with none of them aliasing its input. Which of two directions is called weird first may change. It returns how
// many bytes were not wanted, and not given to the decoder.
func CutAndPoison(t testing.TB, spec decoders.Spec, steps ...Step) (passed int64) {
	t.Helper()
	return CutAndPoisonAll(t, []decoders.Spec{spec}, steps...)
}

// CutAndPoisonAll is CutAndPoison with several decoders to choose from.
func CutAndPoisonAll(t testing.TB, specs []decoders.Spec, steps ...Step) (passed int64) {
	t.Helper()
	want := stream(specs, steps, nil)
	check(t, want)
	whole := inOrder(want)
	for seed := range uint64(50) {
		got := stream(specs, steps, rand.New(rand.NewPCG(seed, 1)))
		check(t, got)
		passed += got.passed
		pieces := inOrder(got)
		for i := range max(len(whole), len(pieces)) {
			w, g := "(none)", "(none)"
			if i < len(whole) {
				w = whole[i]
			}
			if i < len(pieces) {
				g = pieces[i]
			}
			if w != g {
				t.Fatalf("seed %d: event %d depends on where the bytes were cut\n  whole %s\n  cut   %s", seed, i, w, g)
			}
		}
	}
	return passed
}

// inOrder gives the events as they were said, but weirds in a row by their text.
func inOrder(h *host) []string {
	said := slices.Clone(h.asSaid)
	isWeird := func(i int) bool { _, ok := h.events[i].(*capture.Weird); return ok }
	for i := 0; i < len(said); i++ {
		from := i
		for i < len(said) && isWeird(i) {
			i++
		}
		slices.Sort(said[from:i])
	}
	return said
}

// Following makes a Spec of what reads on in conversations that another decoder recognises: it is given all bytes.
func Following(open func(decoders.Context) decoders.Follower) decoders.Spec {
	return decoders.Spec{
		Name:   "following",
		Stream: func(_, _ []byte, _ bool) decoders.Verdict { return decoders.Yes },
		New:    func(ctx decoders.Context) decoders.Decoder { return following{open(ctx)} },
	}
}

type following struct{ f decoders.Follower }

func (d following) Decode(dir capture.Dir, b []byte) (int, error) {
	d.f.Data(dir, b)
	return len(b), nil
}
func (d following) Gap(dir capture.Dir, n int64) bool { d.f.Gap(dir, n); return true }
func (d following) End(dir capture.Dir)               { d.f.End(dir) }
