// Package mail reads the files that mail carries: the parts of messages that go over SMTP and POP3.
//
// In: conversations of SMTP (RFC 5321, RFC 3030) and POP3 (RFC 1939) that package services has recognised (SMTP and
// POP3 make a decoders.Follower). Out: *file.File for each part of a message (RFC 2045, RFC 2046) that holds something:
// bodies, alternatives, attachments and the parts of messages within messages; base64 and quoted-printable are removed.
//
// A part is what Zeek takes for one, so that files.log says the same: File.Depth counts the parts of all messages of a
// conversation, those around other parts too; lines end in CR LF; the line end before a boundary is no content. The name
// is that of Content-Disposition or Content-Type, as it is there: encoded words (RFC 2047) stay encoded.
//
// It does not see IMAP, nor anything behind STARTTLS, nor what is packed into TNEF, PGP or S/MIME.
package mail

import (
	"bytes"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
)

const (
	// A line that is longer is read in pieces; RFC 5322 allows 998 bytes, base64 in one line is seen.
	maxLine = 16 << 10
	// Commands that wait for their replies. Clients that pipeline send as many as there are recipients, a hundred.
	maxPending = 1000
)

// conversation is what SMTP and POP3 have in common.
type conversation struct {
	ctx    decoders.Context
	source string
	cache  *file.Cache
	line   [2]liner
	parts  int // begun so far
	mail   *message
	cut    bool // what ends now does so without its end
	ended  [2]bool
}

// liner puts lines together.
type liner struct {
	held  []byte
	inner bool // what is held continues a line that was too long
}

// next cuts the next line off b. The line is valid until the next call; its end is removed; whole says that it has
// one. ok is false if there is none yet.
func (l *liner) next(b []byte) (line, rest []byte, whole, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if len(l.held)+len(b) <= maxLine {
			l.held = append(l.held, b...)
			return nil, nil, false, false
		}
		n := maxLine - len(l.held)
		line, rest = append(l.held, b[:n]...), b[n:]
		if line[len(line)-1] == '\r' { // perhaps of the line's end
			l.held = append(l.held[:0], '\r')
			return line[:len(line)-1], rest, false, true
		}
		l.held = l.held[:0]
		return line, rest, false, true
	}
	line, rest = b[:i], b[i+1:]
	if len(l.held) > 0 {
		line = append(l.held, line...)
		l.held = l.held[:0]
	}
	return bytes.TrimRight(line, "\r"), rest, true, true
}

// lose forgets the line that was begun, and the rest of it.
func (l *liner) lose() { *l = liner{held: l.held[:0], inner: true} }

// begin begins a message.
func (c *conversation) begin(sender capture.Dir) {
	if c.mail == nil {
		c.mail = newMessage(c, sender)
	}
}

// finish ends the message, if there is one. whole says that its end was seen.
func (c *conversation) finish(whole bool) {
	if c.mail != nil {
		c.cut = !whole
		c.mail.end()
		c.mail, c.cut = nil, false
	}
}

// over says whether dir, which has ended now, was the last.
func (c *conversation) over(dir capture.Dir) bool {
	c.ended[dir] = true
	return c.ended[0] && c.ended[1]
}

// emit says what a part was.
func (c *conversation) emit(list []*file.File, sender capture.Dir, depth int, name string, named bool) {
	if list == nil {
		return
	}
	f := list[0]
	f.Flow = c.ctx.Flow()
	f.ID, f.Source, f.Sender = file.NewID(f.Flow, uint32(depth), 'm'), c.source, sender
	f.Name, f.HasName, f.Unfinished = name, named, c.cut
	f.TimedOut = file.Stale(f.Time, f.Last, c.ctx.At().Time)
	if c.source == "SMTP" {
		f.Depth = depth
	}
	c.ctx.Emit(f)
}

// word splits the first word off a line.
func word(l []byte) (w, rest []byte) {
	l = bytes.TrimLeft(l, " \t")
	if i := bytes.IndexAny(l, " \t"); i >= 0 {
		return l[:i], bytes.Trim(l[i:], " \t")
	}
	return l, nil
}
