package mail

import (
	"bytes"
	"strconv"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
)

type command uint8

const (
	other command = iota
	data
	auth
	answer // of a client that authenticates
)

// smtp follows the client's commands as far as they say what its next lines are. A client may send on before it is
// answered, so DATA is believed at once, and what followed is dropped if the server refuses.
type smtp struct {
	conversation
	pending []command // without a reply
	more    bool      // the reply has further lines
	inData  bool
	inAuth  bool
	lost    bool  // behind a loss nobody knows whether a line is a command, until the server replies
	chunk   int64 // bytes of BDAT to come
	last    bool  // the message ends with them
	body    liner // the lines of chunks
}

// SMTP makes what reads a conversation of SMTP.
func SMTP(files *file.Cache) func(decoders.Context) decoders.Follower {
	return func(ctx decoders.Context) decoders.Follower {
		return &smtp{conversation: conversation{ctx: ctx, source: "SMTP", cache: files}}
	}
}

// Done implements decoders.Follower.
func (s *smtp) Done() bool { return false }

// Data implements decoders.Follower.
func (s *smtp) Data(dir capture.Dir, b []byte) {
	for len(b) > 0 {
		if dir == capture.Orig && s.chunk > 0 {
			n := int(min(s.chunk, int64(len(b))))
			s.chunk -= int64(n)
			s.chunked(b[:n])
			b = b[n:]
			continue
		}
		line, rest, whole, ok := s.line[dir].next(b)
		if !ok {
			return
		}
		b = rest
		inner := s.line[dir].inner
		s.line[dir].inner = !whole
		switch {
		case dir == capture.Resp:
			if whole && !inner {
				s.reply(line)
			}
		case s.inData:
			s.dataLine(line, whole, inner)
		case whole && !inner && !s.lost:
			s.command(line)
		}
	}
}

func (s *smtp) dataLine(l []byte, whole, inner bool) {
	if !inner && len(l) > 0 && l[0] == '.' {
		if whole && len(l) == 1 {
			s.inData = false
			s.finish(true)
			s.push(other)
			return
		}
		l = l[1:]
	}
	s.mail.line(l, whole)
}

// chunked takes bytes of BDAT.
func (s *smtp) chunked(b []byte) {
	for len(b) > 0 {
		line, rest, whole, ok := s.body.next(b)
		if !ok {
			break
		}
		b = rest
		s.mail.line(line, whole)
	}
	if s.chunk == 0 && s.last {
		s.endChunks()
	}
}

func (s *smtp) endChunks() {
	if len(s.body.held) > 0 {
		s.mail.line(s.body.held, false)
	}
	s.body = liner{}
	s.finish(true)
}

func (s *smtp) push(c command) {
	if len(s.pending) >= maxPending {
		s.pending = s.pending[:0] // no server replies to these
	}
	s.pending = append(s.pending, c)
}

func (s *smtp) command(l []byte) {
	if s.inAuth {
		s.push(answer)
		return
	}
	w, arg := word(l)
	switch string(bytes.ToUpper(w[:min(len(w), 16)])) {
	case "DATA":
		s.push(data)
		s.inData = true
		s.begin(capture.Orig)
	case "BDAT":
		size, arg := word(arg)
		n, err := strconv.ParseInt(string(size[:min(len(size), 20)]), 10, 64)
		if err != nil || n < 0 {
			return
		}
		s.push(other)
		s.begin(capture.Orig)
		s.chunk, s.last = n, bytes.EqualFold(arg, []byte("LAST"))
		if n == 0 && s.last {
			s.endChunks()
		}
	case "AUTH":
		s.push(auth)
	case "EHLO", "HELO", "MAIL", "RCPT", "QUIT", "RSET", "VRFY", "EXPN", "HELP", "NOOP", "STARTTLS", "TURN", "SEND", "SOML", "SAML", "X-ANONYMOUSTLS":
		s.push(other)
	}
}

func (s *smtp) reply(l []byte) {
	if len(l) < 3 || l[0] < '1' || l[0] > '5' || l[1] < '0' || l[1] > '9' || l[2] < '0' || l[2] > '9' {
		return
	}
	first := !s.more
	if s.more = len(l) > 3 && l[3] == '-'; !first {
		return
	}
	s.lost = false
	if len(s.pending) == 0 {
		return
	}
	c := s.pending[0]
	s.pending = s.pending[:copy(s.pending, s.pending[1:])]
	switch c {
	case data:
		if l[0] >= '4' && s.inData {
			s.inData = false
			s.finish(false)
		}
	case auth, answer:
		s.inAuth = string(l[:3]) == "334"
	}
}

// Gap implements decoders.Follower.
func (s *smtp) Gap(dir capture.Dir, n int64) {
	if s.mail != nil && dir == capture.Orig {
		s.mail.gap(n)
	}
	s.finish(false)
	s.inData, s.inAuth, s.chunk, s.more, s.lost = false, false, 0, false, true
	s.pending, s.body = s.pending[:0], liner{}
	s.line[dir].lose()
}

// End implements decoders.Follower.
func (s *smtp) End(dir capture.Dir) {
	if s.over(dir) {
		s.finish(false)
	}
}
