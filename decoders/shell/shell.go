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
// A single direction can show the first, and half of a session (Session.Half): a terminal that repeats what is typed, or
// answers that one command alone gives. A conversation about shells, a script or a log in transit has no
// commands from the other side, and stays without an event.
//
// It does not see: anything behind TLS, SSH or a web shell; telnet, which negotiates, and consoles that ask for a name
// and a password (a machine's owner uses those); prompts of databases, debuggers and network devices; a session whose
// 4 KiB of either direction, from the beginning or from a command behind a long answer on, hold nothing of the above.
//
// A connection over which one side alone sent text is told of, too (OneWay): commands may come over one and be answered
// over another, and which belong together is for a detector to find, who asks Together.
//
// Datagrams are read as a stream. Jupyter's terminals say in JSON what a terminal says (terminal.go).
package shell

import (
	"bytes"
	"strings"
	"time"

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
	Half       bool   // one direction alone, or a part of it, was seen: it rests on answers without their commands, or on an echo
	Echo       bool   // what was typed came back behind the prompt, as a terminal does it
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
	after := []decoders.After{{Name: "bare", Why: "a script that is sent as a file reads like a session"}}
	return decoders.Spec{Name: "shell", Any: true, After: after, Stream: probe, Datagram: probeDatagram, New: func(ctx decoders.Context) decoders.Decoder {
		return &decoder{ctx: ctx}
	}}
}

// maxDatagram is the longest datagram that a session may begin with.
const maxDatagram = 1 << 10

// probeDatagram wants a shell's complaint, a prompt, a command or an answer in the first datagram of a flow.
func probeDatagram(orig, resp []byte, _ bool) decoders.Verdict {
	b := orig
	if len(b) == 0 {
		b = resp
	}
	if len(b) == 0 || len(b) > maxDatagram || foreign(b) {
		return decoders.No
	}
	line, _, whole := strings.Cut(clean(b), "\n")
	line = strings.TrimRight(line, "\r")
	n, kind := prompt(line)
	switch {
	case isBanner(line), kind != noPrompt && n == len(line), whole && usual(line), whole && telltale(line),
		strings.HasPrefix(line, "sh: 0: "), strings.HasPrefix(line, "bash: ") && !whole, strings.HasPrefix(line, "Microsoft Windows ["):
		return decoders.Yes
	}
	return decoders.No
}

func probe(orig, resp []byte, _ bool) decoders.Verdict {
	if foreign(orig) || foreign(resp) {
		return decoders.No
	}
	if _, ok := judge(orig, resp, false); ok {
		return decoders.Yes
	}
	switch {
	case half(orig) || half(resp):
		return decoders.Yes // the decoder waits for more, or for the end
	case len(orig) < headLimit && len(resp) < headLimit:
		return decoders.Maybe
	case asked(orig) || asked(resp):
		return decoders.Yes // a long answer to a command
	}
	return decoders.No
}

// asked says that a side's first line is a usual command, by itself.
func asked(b []byte) bool {
	line, _, whole := bytes.Cut(b[:min(len(b), maxTyped)], []byte("\n"))
	return whole && usual(strings.TrimSpace(string(line)))
}

// judge tries both directions as the commanded one.
func judge(orig, resp []byte, final bool) (Session, bool) {
	orig, resp = unwrapped(orig[:min(len(orig), headLimit)]), unwrapped(resp[:min(len(resp), headLimit)])
	if s, ok := certain(orig, resp, final); ok {
		s.Commanded = capture.Orig
		return s, true
	}
	s, ok := certain(resp, orig, final)
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
	last  capture.At
	dir   capture.Dir // of what came last
	looks int         // windows that were looked at
}

const (
	// Half of a session counts if it took somebody's time: a recording in transit comes at once.
	halfFor = time.Second
	// Windows of headLimit bytes that are looked at behind the first, each from a command on.
	maxLooks = 64
)

// Doubtful implements decoders.Doubtful.
func (d *decoder) Doubtful() bool { return !d.sure }

func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	more := false
	if !d.sure {
		d.last = d.ctx.At()
		// Behind a long answer the next command opens another window.
		if turn := d.dir != dir; turn && len(d.heads[dir.Peer()]) >= headLimit && d.looks < maxLooks {
			d.looks++
			d.heads = [2][]byte{d.heads[0][:0], d.heads[1][:0]}
		}
		d.dir = dir
		h := d.heads[dir]
		d.heads[dir] = append(h, b[:min(len(b), headLimit-len(h))]...)
		more = len(d.heads[dir]) > len(h)
	}
	if !d.sure || dir != d.s.Commanded {
		d.lines[dir].write(b, func(l []byte) { d.line(dir, l) })
	}
	if more {
		d.look(false)
	}
	return len(b), nil
}

// look announces the session when the heads suffice.
func (d *decoder) look(final bool) {
	s, ok := judge(d.heads[0], d.heads[1], final)
	if !ok {
		return
	}
	d.sure, d.heads = true, [2][]byte{}
	s.At, s.Flow = d.ctx.At(), d.ctx.Flow()
	if final {
		s.At = d.last
	}
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
	if !d.sure && d.ended[dir.Peer()] && (len(d.heads[0]) == 0) != (len(d.heads[1]) == 0) {
		from := capture.Orig
		if len(d.heads[0]) == 0 {
			from = capture.Resp
		}
		h := d.heads[from]
		d.ctx.Emit(&OneWay{At: d.ctx.At(), Flow: d.ctx.Flow(), From: from, Text: h[:min(len(h), maxOneWay)]})
	}
	if !d.sure && d.ended[dir.Peer()] && d.last.Time.Sub(d.ctx.Flow().Start) >= halfFor {
		d.look(true)
	}
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
