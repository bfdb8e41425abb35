package tls

import (
	"bytes"
	"slices"

	"github.com/raytap/raytap/capture"
)

// checked is the reading of what Zeek sees of a stream of which one side's checksums are wrong: the other side. It says
// nothing; Session.Checked has what it has read.
type checked struct {
	streamDecoder
	unread [2][]byte
	over   bool
	holed  bool // there is a hole behind what was read of a side: Zeek reads no further
}

// check gives the octets of b that are new to the reading of what is checked, if the packet at hand is, and begins that
// reading with what is known so far.
func (d *streamDecoder) check(dir capture.Dir, b []byte, doubted bool) {
	left := min(d.left[dir], len(b))
	if d.checked == nil {
		c := &checked{streamDecoder: *d}
		h := &c.hs
		h.doubter, h.silent = nil, true
		if h.s != nil {
			s := *h.s
			s.Server, s.Client = slices.Clip(s.Server), slices.Clip(s.Client)
			h.s = &s
		}
		h.history, h.told = slices.Clone(h.history), slices.Clip(h.told)
		h.buf = [2][]byte{bytes.Clone(h.buf[0]), bytes.Clone(h.buf[1])}
		c.unread[dir] = bytes.Clone(b[:left])
		d.checked, d.hs.checked = c, h
	}
	c := d.checked
	if doubted {
		c.holed = c.holed || d.some[dir]
		return
	}
	if c.over = c.over || c.holed; !c.over {
		all := append(c.unread[dir], b[left:]...)
		used, err := c.decode(dir, all)
		c.unread[dir], c.over = append(all[:0], all[used:]...), err != nil
	}
}
