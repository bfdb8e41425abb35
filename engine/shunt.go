package engine

import (
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/record"
)

// shunting gives what a worker's flows are shunted by: see capture.Shunt. Segments of a flow that nobody knows are delivered
// where a decoder of set may begin.
func (e *engine) shunting(id int, set *decoders.Set, judge *record.Judge) (c capture.ShuntConfig) {
	src, ok := e.src.(capture.Shunter)
	if id == 0 && ok {
		if e.shunt = src.Shunt(); e.shunt != nil {
			e.outers = capture.NewOuters()
		}
	}
	if e.shunt == nil {
		return c
	}
	if id == 0 {
		var b capture.Beginnings
		set.Beginnings(&b)
		arrangements(&b)
		if b.Full() || e.shunt.Begin(&b) != nil {
			e.shunt = nil
			return c
		}
	}
	c = capture.ShuntConfig{After: capture.ShuntAfter, Least: capture.ShuntLeast, Tail: capture.ShuntTail}
	if e.cfg.Shunting != nil {
		c = *e.cfg.Shunting
	}
	c.Shunt, c.Outers = e.shunt, e.outers
	if judge != nil {
		c.Keeps = judge.Keeps
	}
	return c
}

// arrangements adds what FTP arranges its data connections by, which the reader looks for in every packet: see
// services.Arranges.
func arrangements(b *capture.Beginnings) {
	is := func(set string) func(byte) bool { return func(c byte) bool { return strings.IndexByte(set, c) >= 0 } }
	b.Add('2', '2', is("79"), is(" "))
	for _, w := range []string{"PORT", "EPRT", "PASV", "EPSV"} {
		low := strings.ToLower(w)
		for _, p := range []byte{w[0], low[0]} {
			for _, q := range []byte{w[1], low[1]} {
				b.Add(p, q, is(w[2:3]+low[2:3]), is(w[3:]+low[3:]))
			}
		}
	}
}
