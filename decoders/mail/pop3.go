package mail

import (
	"bytes"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
)

type request uint8

const (
	short request = iota // one line answers it
	long                 // several
	fetch                // several, which are a message
	login                // by a mechanism: what the client says next are no commands
)

// pop3 follows the client's commands, which the server answers in order.
type pop3 struct {
	conversation
	pending []request
	inside  bool // an answer of several lines is being given
	waiting bool // for the end of a log-in
}

// POP3 makes what reads a conversation of POP3.
func POP3(files *file.Cache) func(decoders.Context) decoders.Follower {
	return func(ctx decoders.Context) decoders.Follower {
		return &pop3{conversation: conversation{ctx: ctx, source: "POP3", cache: files}}
	}
}

// Done implements decoders.Follower.
func (p *pop3) Done() bool { return false }

// Data implements decoders.Follower.
func (p *pop3) Data(dir capture.Dir, b []byte) {
	for len(b) > 0 {
		line, rest, whole, ok := p.line[dir].next(b)
		if !ok {
			return
		}
		b = rest
		inner := p.line[dir].inner
		p.line[dir].inner = !whole
		switch {
		case dir == capture.Resp && p.inside:
			p.answerLine(line, whole, inner)
		case !whole || inner:
		case dir == capture.Resp:
			p.answer(line)
		case !p.waiting:
			p.command(line)
		}
	}
}

func (p *pop3) command(l []byte) {
	w, arg := word(l)
	if len(w) == 0 || len(p.pending) >= maxPending {
		return
	}
	r := short
	switch string(bytes.ToUpper(w[:min(len(w), 8)])) {
	case "RETR", "TOP":
		r = fetch
	case "CAPA":
		r = long
	case "LIST", "UIDL":
		if len(arg) == 0 {
			r = long
		}
	case "AUTH":
		if r = login; len(arg) == 0 {
			r = long
		}
		p.waiting = r == login
	case "USER", "PASS", "APOP", "STAT", "DELE", "RSET", "NOOP", "LAST", "QUIT", "STLS", "XSENDER":
	default:
		return
	}
	p.pending = append(p.pending, r)
}

func (p *pop3) answer(l []byte) {
	w, _ := word(l)
	good := bytes.EqualFold(w, []byte("+OK"))
	if !good && !bytes.EqualFold(w, []byte("-ERR")) || len(p.pending) == 0 {
		return
	}
	r := p.pending[0]
	if p.waiting = false; good && (r == long || r == fetch) {
		if p.inside = true; r == fetch {
			p.begin(capture.Resp)
		}
		return
	}
	p.next()
}

func (p *pop3) next() { p.pending = p.pending[:copy(p.pending, p.pending[1:])] }

func (p *pop3) answerLine(l []byte, whole, inner bool) {
	if whole && !inner && len(l) == 1 && l[0] == '.' {
		p.inside = false
		p.finish(true)
		p.next()
		return
	}
	if p.mail != nil {
		p.mail.line(l, whole) // Zeek leaves a doubled dot doubled
	}
}

// Gap implements decoders.Follower. The end of an answer is found behind one of the server's, a lost command is not.
func (p *pop3) Gap(dir capture.Dir, n int64) {
	p.line[dir].lose()
	if dir == capture.Orig {
		return
	}
	if p.mail != nil {
		p.mail.gap(n)
	}
}

// End implements decoders.Follower.
func (p *pop3) End(dir capture.Dir) {
	if p.over(dir) {
		p.finish(false)
	}
}
