package shell

import (
	"net/netip"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/shell"
)

const (
	// Pairs of machines whose one-sided connections are remembered, and how many texts of each pair: 2 KiB each.
	maxParties = 512
	maxAnswers = 4
)

// parties are who may be commanded, and who commands.
type parties struct{ victim, master netip.Addr }

// halves are the last connections by which one of the two alone said something.
type halves struct {
	orders  *shell.OneWay
	answers []*shell.OneWay
	said    capture.Time // when the last session of the two was told
}

// oneWay joins connections of one side alone: commands over one, and what answers them over another of the same time, as
// "telnet A 1 | sh | telnet A 2" makes them.
func (d *detector) oneWay(o *shell.OneWay) {
	if o.Flow == nil || o.Flow.Proto != capture.ProtoTCP {
		return
	}
	from, to := o.Flow.Src(o.From).Addr(), o.Flow.Dst(o.From).Addr()
	if !d.env.Home.Contains(from) && !d.env.Home.Contains(to) {
		return
	}
	if o.Orders() {
		if d.allow.Contains(from) {
			return
		}
		h := d.halves.Put(parties{victim: to, master: from})
		h.orders = o
		for _, a := range h.answers {
			if d.join(h, a) {
				return
			}
		}
		return
	}
	h := d.halves.Put(parties{victim: from, master: to})
	if h.orders != nil && d.join(h, o) {
		return
	}
	if len(h.answers) >= maxAnswers {
		h.answers = append(h.answers[:0], h.answers[1:]...)
	}
	h.answers = append(h.answers, o)
}

// join reports a session if an answer belongs to the commands.
func (d *detector) join(h *halves, answers *shell.OneWay) bool {
	c := h.orders
	if c.Flow.Start > answers.Time || answers.Flow.Start > c.Time || h.said > answers.Flow.Start && h.said > c.Flow.Start {
		return false
	}
	s, ok := shell.Together(c, answers)
	if !ok {
		return false
	}
	s.At = answers.At
	if c.Time > answers.Time {
		s.At = c.At
	}
	h.said = s.Time
	d.report(s, c)
	h.orders, h.answers = nil, nil
	return true
}
