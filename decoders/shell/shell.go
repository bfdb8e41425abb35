// Package shell recognises a command session in plain text: a machine that lets its shell be used over a bare
// connection, as reverse and bind shells do.
//
// In: the first bytes of both directions of a stream that no other decoder wanted; then its lines. Out: a Session as
// soon as it is certain, with the one banner, prompt, command or answer of each kind that made it so, and the same
// again with the commands when the stream ends.
//
// Either side may be the one that is commanded, whoever opened the connection. Four things make it certain:
//
//   - a shell's complaint that it has no terminal, or Windows' greeting, with a prompt right behind it
//   - two prompts that name a shell, a user and machine, or a drive, with a usual command from the other side
//   - a command and an answer that belong together: id and uid=0(root) gid=0(root), a word and that word not found
//   - two bare prompts, two usual commands and a likely answer; or two likely answers
//
// A single direction can only show the first. A conversation about shells, a script or a log in transit has no
// commands from the other side, and stays without an event.
//
// It does not see: anything behind TLS, SSH or a web shell; telnet, which negotiates, and consoles that ask for a name
// and a password (a machine's owner uses those); prompts of databases, debuggers and network devices; a session whose
// first 4 KiB of either direction hold nothing of the above; sessions over datagrams.
package shell

import (
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

const (
	// headLimit is how much of each direction may pass before a session must be certain. The longest greeting known,
	// of a web server's reverse shell that runs uname, w and id first, has 1 KiB. It also bounds what a look at a
	// stream that comes byte by byte costs.
	headLimit = 4 << 10
	// maxCommands bounds the commands that a session keeps, and maxLine each of them: enough to read what was done.
	maxCommands = 32
	maxLine     = 160
)

// Session is a command session. It is emitted once when it is certain (Ended is false) and once when the stream is
// over, with what was commanded in between.
type Session struct {
	capture.At // of the packet that made it certain
	Flow       *capture.Flow
	Commanded  capture.Dir // the direction in which the shell's output flows: its source is the commanded machine
	Windows    bool
	User       string // whom the shell runs as, if prompt or answer told
	Evidence   []Evidence

	Ended    bool
	Last     capture.At // of the end
	Count    int        // command lines until then
	Commands []string   // the first of them
}

// Evidence is a line that speaks for a shell, bounded.
type Evidence struct {
	Field string // banner, prompt, command, answer
	Value string
}

// Spec registers the decoder. It belongs behind all that have a grammar and, since it waits with text that it does not
// know, before those that take any text: its probe refuses the beginnings of the usual text protocols at once.
func Spec() decoders.Spec {
	return decoders.Spec{Name: "shell", Stream: probe, New: func(ctx decoders.Context) decoders.Decoder {
		return &decoder{ctx: ctx}
	}}
}

func probe(orig, resp []byte, _ bool) decoders.Verdict {
	if foreign(orig) || foreign(resp) {
		return decoders.No
	}
	if _, ok := judge(orig, resp); ok {
		return decoders.Yes
	}
	if len(orig) >= headLimit || len(resp) >= headLimit {
		return decoders.No
	}
	return decoders.Maybe
}

// judge tries both directions as the commanded one.
func judge(orig, resp []byte) (Session, bool) {
	orig, resp = orig[:min(len(orig), headLimit)], resp[:min(len(resp), headLimit)]
	if s, ok := certain(orig, resp); ok {
		s.Commanded = capture.Orig
		return s, true
	}
	s, ok := certain(resp, orig)
	s.Commanded = capture.Resp
	return s, ok
}

type decoder struct {
	ctx   decoders.Context
	heads [2][]byte // until it is certain
	lines [2]liner
	cmds  [2][]string
	count [2]int
	s     Session
	sure  bool
	ended [2]bool
}

func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	if !d.sure {
		h := d.heads[dir]
		d.heads[dir] = append(h, b[:min(len(b), headLimit-len(h))]...)
	}
	if !d.sure || dir != d.s.Commanded {
		d.lines[dir].write(b, func(l []byte) { d.line(dir, l) })
	}
	if !d.sure {
		d.look()
	}
	return len(b), nil
}

// look announces the session when the heads suffice.
func (d *decoder) look() {
	s, ok := judge(d.heads[0], d.heads[1])
	if !ok {
		return
	}
	d.sure, d.heads = true, [2][]byte{}
	s.At, s.Flow = d.ctx.At(), d.ctx.Flow()
	d.s = s
	// Not confirmed: conn.log's service column says what Zeek's says, and Zeek has no name for this.
	first := s
	d.ctx.Emit(&first)
}

func (d *decoder) line(dir capture.Dir, l []byte) {
	if len(l) == 0 {
		return
	}
	d.count[dir]++
	if len(d.cmds[dir]) < maxCommands {
		d.cmds[dir] = append(d.cmds[dir], excerpt(string(l)))
	}
}

func (d *decoder) Gap(dir capture.Dir, _ int64) bool {
	d.lines[dir].drop()
	return true
}

func (d *decoder) End(dir capture.Dir) {
	d.ended[dir] = true
	if !d.sure || !d.ended[dir.Peer()] {
		return
	}
	last, by := d.s, d.s.Commanded.Peer()
	last.Ended, last.Last = true, d.ctx.At()
	last.Evidence = append([]Evidence(nil), d.s.Evidence...)
	last.Count, last.Commands = d.count[by], d.cmds[by]
	d.ctx.Emit(&last)
}

// liner cuts what a person or a program types into lines. Backspaces are applied; of a long line the beginning counts.
type liner struct {
	buf  []byte
	skip bool // the rest of a line whose beginning is lost
	esc  uint8
}

// Typed lines that are longer hold data; the beginning has the command.
const maxTyped = 512

func (l *liner) write(b []byte, emit func([]byte)) {
	for _, c := range b {
		switch {
		case c == '\n' || c == '\r':
			if !l.skip {
				emit(l.buf)
			}
			l.buf, l.skip, l.esc = l.buf[:0], false, 0
		case l.esc == 1 && c == '[':
			l.esc = 2
		case l.esc != 0:
			if c >= 0x40 {
				l.esc = 0 // the end of a key's sequence: an arrow, say
			}
		case c == 0x1b:
			l.esc = 1
		case c == 0x08 || c == 0x7f:
			l.buf = l.buf[:max(len(l.buf)-1, 0)]
		case c < 0x20 && c != '\t':
		case len(l.buf) < maxTyped:
			l.buf = append(l.buf, c)
		}
	}
}

func (l *liner) drop() { l.buf, l.skip, l.esc = l.buf[:0], true, 0 }
