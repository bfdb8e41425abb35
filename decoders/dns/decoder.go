package dns

import (
	"encoding/binary"
	"hash/maphash"
	"strconv"
	"sync"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

const (
	// Messages of one id, and ids, that wait in one flow for their counterpart; with more of either all of them are
	// written as unmatched, as Zeek does (max_pending_msgs, max_pending_query_ids): they will not be matched any more.
	pendingPerID = 50
	pendingIDs   = 50
	// Bytes that what waits may hold in one flow. A zone transfer is a stream of answers to one query, up to 64 KiB
	// each, which Zeek keeps by the fifty.
	pendingBytes = 256 << 10
)

type decoder struct {
	ctx       decoders.Context
	started   bool // the flow was looked at
	datagrams bool
	lookups   bool // datagrams from any port to one whose flows are DNS whatever is in them
	multicast bool
	netbios   bool // port 137 on either side
	toNetBIOS bool // the responder's port is 137
	confirmed bool
	limited   bool // weirdPending was told
	refuted   bool // there was a message that Zeek takes for something else, and listens no more

	queries, replies pending

	have  [2]int  // bytes that were offered of a message that is not whole
	total [2]int  // its length with its prefix; 0 if not known
	skip  [2]int  // bytes to drop: the rest of a message that lost some
	lost  [2]bool // the beginning of the next message is not known
	ended [2]bool
}

var spare = sync.Pool{New: func() any { return new(decoder) }}

func newDecoder(ctx decoders.Context) decoders.Decoder {
	d := spare.Get().(*decoder)
	d.ctx = ctx
	return d
}

// Release implements decoders.Releaser.
func (d *decoder) Release() {
	clear(d.queries.list)
	clear(d.replies.list)
	*d = decoder{queries: pending{list: d.queries.list[:0]}, replies: pending{list: d.replies.list[:0]}}
	spare.Put(d)
}

// Rest implements decoders.Rester: nothing waits, and nothing is remembered that another decoder would have to know. In
// other flows than look-ups the next datagram might be taken for something else, or for the beginning of a flow the
// other way.
func (d *decoder) Rest() bool {
	return d.lookups && d.confirmed && !d.limited && !d.refuted && len(d.queries.list)+len(d.replies.list) == 0
}

// Decode implements decoders.Decoder.
func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	if !d.started {
		d.start()
	}
	if d.datagrams {
		d.message(b)
		return len(b), nil
	}
	if n := min(d.skip[dir], len(b)); n > 0 {
		d.skip[dir] -= n
		return n, nil
	}
	if d.lost[dir] {
		switch probeMessage(b, true) {
		case decoders.No:
			return len(b), nil
		case decoders.Maybe:
			return 0, nil
		}
		d.lost[dir] = false
	}
	if len(b) < 2 {
		d.have[dir], d.total[dir] = len(b), 0
		return 0, nil
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		d.have[dir], d.total[dir] = len(b), n
		return 0, nil
	}
	d.have[dir], d.total[dir] = 0, 0
	d.message(b[2:n])
	return n, nil
}

// Gap implements decoders.Decoder. The length before each message tells where the next one begins, as long as the gap
// ends inside the message that it began in.
func (d *decoder) Gap(dir capture.Dir, n int64) bool {
	if d.datagrams {
		return true
	}
	if d.skip[dir] > 0 && n <= int64(d.skip[dir]) {
		d.skip[dir] -= int(n)
		return true
	}
	rest := d.total[dir] - d.have[dir]
	if d.skip[dir] == 0 && d.total[dir] > 0 && n <= int64(rest) {
		d.skip[dir] = rest - int(n)
	} else if !d.lost[dir] {
		d.ctx.Weird(weirdLost, "")
		d.skip[dir], d.lost[dir] = 0, true
	}
	d.have[dir], d.total[dir] = 0, 0
	return true
}

// End implements decoders.Decoder.
func (d *decoder) End(dir capture.Dir) {
	d.ended[dir] = true
	if d.ended[0] && d.ended[1] {
		d.write(&d.queries, nil)
		d.write(&d.replies, nil)
	}
}

// start looks at the flow, which is settled by the time of the first message.
func (d *decoder) start() {
	f := d.ctx.Flow()
	d.started = true
	d.datagrams = f.Proto == capture.ProtoUDP
	d.multicast = f.Resp.Addr().IsMulticast()
	d.lookups = d.datagrams && !d.multicast && ServicePort(f.Proto, f.Resp.Port()) && !ServicePort(f.Proto, f.Orig.Port())
	d.toNetBIOS = f.Resp.Port() == netbiosPort
	d.netbios = d.toNetBIOS || f.Orig.Port() == netbiosPort
}

// message reads one whole message, pairs it and writes what is complete.
func (d *decoder) message(b []byte) {
	m := message{d: d, b: b}
	if len(b) < headerLen {
		m.weird(weirdHeader, "")
		return
	}
	m.h = readHeader(b)
	op := m.h.opcode()
	if !known(op) {
		if !d.netbios {
			m.weird(weirdOpcode, strconv.Itoa(int(op)))
			d.ctx.Skip()
			return
		}
		// Releases, refreshes and their like: read for what is odd in them, not logged (nor does Zeek).
		m.tx = &Transaction{}
		if m.read() {
			d.confirm()
		}
		return
	}
	m.tx = d.session(&m)
	d.doubt(&m)
	if m.read() {
		d.confirm()
	}
	if m.h.response() {
		m.answered()
	}
	d.finish(&m)
}

// known says whether messages with an opcode are read as DNS is.
func known(op uint8) bool { return op == opQuery || op == opNotify || op == opUpdate }

// doubt notes what Zeek would have of the message's transaction, if it is doubted: the other message, or this one,
// read by itself.
func (d *decoder) doubt(m *message) {
	doubter, ok := d.ctx.(decoders.Doubter)
	doubted := ok && d.datagrams && doubter.Doubted()
	tx := m.tx
	waited := tx.Asked || tx.Answered
	switch {
	case doubted:
		if waited && !tx.From.Has(capture.Doubted) {
			other := *tx
			tx.checked = &other
		}
		tx.From |= capture.Doubted
	case tx.From.Has(capture.Doubted):
		alone := message{d: d, b: m.b, h: m.h, nsaid: weirdLimit, tx: d.begin(m.h.id)}
		alone.header()
		alone.read()
		tx.checked = alone.tx
	}
	m.header()
}

func (d *decoder) confirm() {
	if !d.confirmed {
		d.confirmed = true
		d.ctx.Confirm("dns")
	}
}

// session finds what the message completes, or begins something new.
func (d *decoder) session(m *message) *Transaction {
	if !d.multicast {
		other := &d.replies
		if m.h.response() {
			other = &d.queries
		}
		if tx := other.take(m.h.id); tx != nil {
			return tx
		}
	}
	return d.begin(m.h.id)
}

func (d *decoder) begin(id uint16) *Transaction {
	return &Transaction{
		At: d.ctx.At(), Flow: d.ctx.Flow(), ID: id, NetBIOS: d.netbios, Multicast: d.multicast, From: capture.OtherProtocol.When(d.refuted),
	}
}

// header notes what the message's header says.
func (m *message) header() {
	if m.h.response() {
		m.reply()
	} else {
		m.query()
	}
}

func (m *message) query() {
	tx := m.tx
	tx.Asked, tx.Opcode = true, m.h.opcode()
	tx.QuerySize = len(m.b)
	tx.Questions = 0 // an answer that came first may have left its own
}

func (m *message) reply() {
	tx := m.tx
	tx.Answered, tx.Opcode = true, m.h.opcode()
	tx.Reply = m.d.ctx.At()
	tx.ReplySize = len(m.b)
	tx.RCode = uint16(m.h.rcode())
	tx.AA, tx.RA, tx.Cut = m.h.aa(), m.h.ra(), m.h.tc()
	if tx.RCode != 0 && m.h.qd == 0 {
		tx.Rejected = true
	}
}

func (m *message) answered() {
	if m.tx.Asked {
		m.tx.RTT = m.tx.Reply.Time.Sub(m.tx.Time)
	}
}

// finish writes the transaction if it is complete and lets it wait otherwise.
func (d *decoder) finish(m *message) {
	tx := m.tx
	if tx.Asked && tx.Answered || d.multicast {
		d.emit(tx)
		return
	}
	q := &d.queries
	if m.h.response() {
		q = &d.replies
	}
	if full, only := q.crowded(tx); full {
		if !d.limited {
			d.limited = true
			d.ctx.Weird(weirdPending, "")
		}
		d.write(q, only)
	}
	q.put(tx)
}

// write emits what waits in q: all of it, or all with the id of only.
func (d *decoder) write(q *pending, only *Transaction) {
	kept := q.list[:0]
	for _, tx := range q.list {
		if only != nil && tx.ID != only.ID {
			kept = append(kept, tx)
			continue
		}
		q.bytes -= tx.size()
		d.emit(tx)
	}
	clear(q.list[len(kept):])
	q.list = kept
	if q.ids--; only == nil {
		q.ids = 0
	}
}

// pending is what waits, in the order it came.
type pending struct {
	list  []*Transaction
	ids   int // different ones
	bytes int
}

// size is about what a transaction holds.
func (t *Transaction) size() int {
	n := 384 + len(t.Query) + len(t.Sent)
	for i := range t.Answers {
		n += 128 + len(t.Answers[i].Name) + len(t.Answers[i].Data) + 24*len(t.Answers[i].Hints)
	}
	return n
}

// has says how many with an id wait.
func (p *pending) has(id uint16) (n int) {
	for _, tx := range p.list {
		if tx.ID == id {
			n++
		}
	}
	return n
}

// take removes the oldest with an id, or returns nil.
func (p *pending) take(id uint16) *Transaction {
	for i, tx := range p.list {
		if tx.ID == id {
			p.bytes -= tx.size()
			copy(p.list[i:], p.list[i+1:])
			p.list[len(p.list)-1] = nil
			p.list = p.list[:len(p.list)-1]
			if p.has(id) == 0 {
				p.ids--
			}
			return tx
		}
	}
	return nil
}

// crowded says whether something must go before tx can wait: all, or what has the id of only.
func (p *pending) crowded(tx *Transaction) (full bool, only *Transaction) {
	if p.bytes+tx.size() > pendingBytes {
		return true, nil
	}
	if len(p.list) <= min(pendingIDs, pendingPerID) {
		return false, nil
	}
	if n := p.has(tx.ID); n > 0 {
		return n > pendingPerID, tx
	}
	return p.ids > pendingIDs, nil
}

func (p *pending) put(tx *Transaction) {
	if p.has(tx.ID) == 0 {
		p.ids++
	}
	p.bytes += tx.size()
	p.list = append(p.list, tx)
}

// seed is the program's own, so that nobody can make a name that is taken for another.
var seed = maphash.MakeSeed()

func (d *decoder) emit(tx *Transaction) {
	if tx.Query != "" {
		tx.NameID = maphash.String(seed, tx.Query)
	}
	d.ctx.Emit(tx)
}
