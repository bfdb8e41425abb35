package shell

import (
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// OneWay is a connection over which one side alone sent text, that nothing else has a name for: one half of a shell that
// gets its commands over one connection and answers over another ("telnet A 1 | sh | telnet A 2"). It is emitted at the
// end.
type OneWay struct {
	capture.At // of the end
	Flow       *capture.Flow
	From       capture.Dir // who spoke
	Text       []byte      // its beginning, up to 2 KiB
}

const (
	// maxOneWay is how much of a text is kept.
	maxOneWay = 2 << 10
	// Lines of what counts as commands.
	maxOrders = 64
)

// Orders reports whether all lines of the text are usual commands.
func (o *OneWay) Orders() bool {
	n := 0
	text := clean(o.Text)
	if len(o.Text) >= maxOneWay {
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l == "" {
			continue
		}
		if n++; n > maxOrders || !usual(l) {
			return false
		}
	}
	return n > 0
}

// Together judges what came over two connections as if it had come over one: commands, and what may answer them. The
// session is that of the answers' flow.
func Together(orders, answers *OneWay) (*Session, bool) {
	s, ok := certain(answers.Text, orders.Text, false)
	if !ok {
		return nil, false
	}
	s.At, s.Flow, s.Commanded = answers.At, answers.Flow, answers.From
	return &s, true
}

// Text makes what reads along in a conversation of text that no decoder has a name for, as long as one side alone speaks.
func Text() func(decoders.Context) decoders.Follower {
	return func(ctx decoders.Context) decoders.Follower { return &follower{ctx: ctx} }
}

type follower struct {
	ctx   decoders.Context
	text  []byte
	from  capture.Dir
	ended [2]bool
	done  bool
}

// Data implements decoders.Follower.
func (f *follower) Data(dir capture.Dir, b []byte) {
	switch {
	case f.done:
		return
	case len(f.text) == 0:
		f.from = dir
	case dir != f.from: // a conversation
		f.text, f.done = nil, true
		return
	}
	f.text = append(f.text, b[:min(len(b), maxOneWay-len(f.text))]...)
}

// Gap implements decoders.Follower. What the other side said was lost, or what came first.
func (f *follower) Gap(dir capture.Dir, _ int64) {
	if len(f.text) == 0 || dir != f.from {
		f.text, f.done = nil, true
	}
}

// End implements decoders.Follower.
func (f *follower) End(dir capture.Dir) {
	f.ended[dir] = true
	if f.done || !f.ended[dir.Peer()] || len(f.text) == 0 {
		return
	}
	f.done = true
	f.ctx.Emit(&OneWay{At: f.ctx.At(), Flow: f.ctx.Flow(), From: f.from, Text: f.text})
}

// Done implements decoders.Follower.
func (f *follower) Done() bool { return f.done }

// Sated implements decoders.Sated: only the beginning is read.
func (f *follower) Sated(dir capture.Dir) bool {
	return f.done || dir == f.from && len(f.text) >= maxOneWay
}
