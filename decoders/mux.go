package decoders

import (
	"bytes"
	"errors"
	"math"
	"math/bits"
	"net/netip"
	"strings"
	"sync"

	"github.com/raytap/raytap/capture"
)

// Host is the flow that a Mux works for.
type Host interface {
	// Flow is the flow's identity; asking for it fixes it (see Flip).
	Flow() *capture.Flow
	At() capture.At
	Emit(ev any)
	// Service adds a name to the service column of the flow's conn.log row.
	Service(name string)
	// Refute removes a name from it.
	Refute(name string)
	// Skip marks the history of that row.
	Skip()
	// Flip exchanges originator and responder, as long as no event has carried the flow's identity; false if one has.
	Flip() bool
}

const (
	// A probe that cannot say after this many bytes of one direction never will: the longest beginning that any
	// protocol here needs is an HTTP request line, and servers cut those at 8 KiB.
	probeLimit = 8 << 10
	// Bytes a decoder may leave unused in one direction. The largest unit that must be whole is an HTTP head or a
	// stratum line, both bounded at 64 KiB by their decoders; twice that leaves room for what came with it.
	holdLimit = 128 << 10
	// Datagrams that are probed before the flow is left alone. DNS answers its first; eight forgive a few
	// lost or foreign ones.
	probeDatagrams = 8
	// Losses behind each of which a stream that nobody knows is probed anew. A capture that cuts all packets short has one
	// in each, and a bulk flow in it would be probed for ever, in twice the time of all else that is done to a packet.
	probeGaps = 256
	// Bytes that probes are offered again and again as more comes behind them: as much as eight hundred come in one by one.
	// From then on it takes an eighth more for another look, or bytes in tiny segments would cost their square.
	offerLimit = 256 << 10
	// A side that has sent no more than this since its peer spoke has sent nothing: a keep-alive probe has one byte, of
	// the last message. See Again.
	keepAlive = 16
	// In a flow that was picked up in the middle, the peer's side may not be captured at all. Then a transfer is told from
	// messages by its length.
	oneSided = 32 << 10
	// Bytes whose lines are looked at for a later beginning, see Again.Lines. Later ones are found where segments begin.
	lineLimit = 32 << 10
	// Lines that may be one, of all those in a flow, and bytes of each that say whether it is: two lines of a miner fit.
	lineTries = 256
	lineLook  = 2 << 10
	// Later beginnings of the kind that has Lines that were none; from then on one in eight is looked at: conversations in
	// JSON have one in each segment, and miners do not stop talking.
	refuseFreely = 64
	refuseEvery  = 8
	// Headers one behind the other that name for whom the originator speaks. Two balancers in a row are the most in sight.
	viaLimit = 8
	// Streams within streams: WebSocket in CONNECT in SOCKS is three.
	nestLimit = 4
)

type muxState uint8

const (
	probing muxState = iota
	decoding
	idle // nothing here for us, or it ended
)

// Mux finds the decoder of a stream or of datagrams and feeds it. The zero value is not ready: NewMux.
//
// A stream is never given up: what began as nothing known, what a loss made unreadable, and what a decoder left is
// looked at again where segments begin, by the Again of the specs. A protocol that was certain is looked for alone then:
// mail that quotes a request is mail.
type Mux struct {
	// What a segment of bulk traffic needs is in one line of the cache.
	host     Host
	set      *Set
	more     *more     // mostly nil
	ran      [2]uint32 // bytes that a side has sent since its peer did, while nobody was sure of them
	seen     uint32    // all of those
	offered  uint32    // bytes that probes were asked about
	next     uint32    // while probing: ask again from so many bytes on, once offered is above its limit
	gaps     uint16    // while probing
	refused  uint16
	only     uint8 // while idle: the spec whose later beginnings are looked for, from 1 on; 0: none; anyAgain: all
	state    muxState
	swapped  bool // the originator is the server and the host would not flip
	weak     bool // the decoder in charge is one that may be Doubtful
	later    bool // and was begun at a later beginning
	named    bool // and has confirmed a name
	picked   bool // the flow was picked up mid-stream
	prefaced bool // a header said for whom the originator speaks, or that it speaks for itself

	dec       Decoder
	spec      *Spec
	held      [2][]byte // while probing, the beginnings; while decoding, what was not used
	out       uint64    // specs that said No, by index
	depth     uint8
	datagrams uint8
	mid       bool // the next bytes may start inside a message
	turned    bool // the other direction is being offered in between
	reread    bool // a decoder that was not sure has left: what it read is looked at again
	ended     [2]bool
	over      bool // Finish was called
}

// anyAgain stands in Mux.only for all specs with an Again.
const anyAgain = 255

// more is what most streams never need.
type more struct {
	late *late         // what may be a later beginning; mostly nil
	flow *capture.Flow // if it is not the host's, as it was asked for last
	via  []via
	left uint64 // specs whose later beginnings somebody else looks for
}

// late is a stream from what may be a later beginning on.
type late struct {
	held [2][]byte
	seek uint64 // specs that did not say No
	next uint32
	turn bool
}

// via is what a header said.
type via struct {
	capture.Via
	swapped bool // as the Mux was
}

// spare are those at rest.
var spare = sync.Pool{New: func() any { return new(Mux) }}

// NewMux makes a Mux over specs (at most 64) for one flow. mid says that the flow was picked up mid-stream.
func NewMux(host Host, specs []Spec, mid bool) *Mux { return NewSet(specs).Mux(host, mid) }

// Mux makes a Mux for one flow. mid says that the flow was picked up mid-stream.
func (s *Set) Mux(host Host, mid bool) *Mux {
	m := spare.Get().(*Mux)
	m.host, m.set, m.mid, m.picked = host, s, mid, mid
	return m
}

// Idle says that nobody wants the bytes of this stream: they need not be put in order any more, but Watch is to be asked.
func (m *Mux) Idle() bool { return m.state == idle && m.late() == nil }

func (m *Mux) late() *late {
	if m.more == nil {
		return nil
	}
	return m.more.late
}

// wait notes what may be a later beginning, or with nil that nothing is.
func (m *Mux) wait(l *late) {
	if l != nil {
		m.extra().late = l
	} else if m.more != nil {
		m.more.late = nil
	}
}

func (m *Mux) extra() *more {
	if m.more == nil {
		m.more = &more{}
	}
	return m.more
}

// anew says that the flow's identity is another than it was.
func (m *Mux) anew() {
	if m.more != nil {
		m.more.flow = nil
	}
}

// Watch implements capture.Stream.
func (m *Mux) Watch(dir capture.Dir, b []byte) bool {
	if m.state != idle || m.only == 0 || len(b) == 0 {
		return false
	}
	if m.swapped {
		dir = dir.Peer()
	}
	if m.seen >= lineLimit && !m.set.begins(b) {
		// This is nearly all there is to bulk traffic.
		if m.ran[dir&1^1] = 0; m.ran[dir&1] < oneSided {
			m.ran[dir&1] += uint32(len(b))
		}
		return false
	}
	if seek := m.sought(b); seek != 0 && m.plausible(seek, dir, b) {
		return true
	}
	for i := m.nextLine(b, 0); i > 0; i = m.nextLine(b, i) {
		if m.plausible(m.looked()&m.set.lines, dir, b[i:min(len(b), i+lineLook)]) {
			return true
		}
	}
	m.count(dir, len(b))
	return false
}

// Leave says whether somebody else looks for later beginnings of the spec of this name.
func (m *Mux) Leave(name string, leave bool) {
	for i := range m.set.specs {
		if m.set.again&(1<<i) != 0 && m.set.specs[i].Name == name {
			x := m.extra()
			if x.left &^= 1 << i; leave {
				x.left |= 1 << i
			}
		}
	}
}

// Prefaced says that the stream began with a header for whom the originator speaks.
func (m *Mux) Prefaced() bool { return m.prefaced }

// Decoder names the Spec that is in charge, "" if none is.
func (m *Mux) Decoder() string {
	if m.spec == nil {
		return ""
	}
	return m.spec.Name
}

// Known reports whether a decoder is in charge whose bytes are nothing else's: see Spec.Any.
func (m *Mux) Known() bool { return m.spec != nil && !m.spec.Any }

// Data takes the next bytes of a direction, borrowed.
func (m *Mux) Data(dir capture.Dir, b []byte) {
	if len(b) == 0 {
		return
	}
	if m.swapped {
		dir = dir.Peer()
	}
	if m.state == decoding && !m.doubted() {
		m.feed(dir, b)
		if m.reread {
			m.reread = false
			m.behind(dir, b, true)
		}
		return
	}
	m.unsure(dir, b)
}

// doubted says that another protocol may take the stream from the decoder in charge.
func (m *Mux) doubted() bool { return m.weak && !m.named && m.dec.(Doubtful).Doubtful() }

// unsure takes bytes of which no decoder is sure.
func (m *Mux) unsure(dir capture.Dir, b []byte) {
	m.reread = false
	was, begun := m.state, false
	if was != probing && m.again(dir, b) {
		return
	}
	switch {
	case was == idle:
	case was == probing && len(m.held[0]) == 0 && len(m.held[1]) == 0:
		// The first bytes mostly decide, and all of them are of use: they need not be kept to be offered.
		var said [2][]byte
		said[dir] = b
		m.worth(len(b), &m.next)
		switch s, flip, waiting := m.ask(said[0], said[1]); {
		case s != nil:
			m.begin(s, flip, dir, b)
			begun = true
		case !waiting || len(b) >= probeLimit:
			m.detach()
		default:
			m.held[dir] = append(m.held[dir], b...)
		}
	case was == probing:
		room := probeLimit + holdLimit - len(m.held[dir])
		m.held[dir] = append(m.held[dir], b[:min(len(b), room)]...)
		begun = m.probe()
	default:
		m.feed(dir, b)
	}
	if begun && m.state != decoding && !m.reread {
		return // what has just been read is not read again
	}
	if m.state == decoding && !m.doubted() {
		return
	}
	m.behind(dir, b, was == probing || m.reread)
}

// behind looks for later beginnings in what has been offered to decoders and probes and left them unsure: in its lines,
// and with first where it begins.
func (m *Mux) behind(dir capture.Dir, b []byte, first bool) {
	if first && m.again(dir, b) {
		return
	}
	for i := 0; m.late() == nil; {
		if i = m.nextLine(b, i); i == 0 {
			break
		}
		if seek := m.looked() & m.set.lines; m.plausible(seek, dir, b[i:min(len(b), i+lineLook)]) && m.look(seek, dir, b[i:]) {
			return
		}
	}
	m.count(dir, len(b))
}

// begin puts s in charge, whose first bytes are b.
func (m *Mux) begin(s *Spec, flip bool, dir capture.Dir, b []byte) {
	m.turn(flip)
	if flip {
		dir = dir.Peer()
	}
	m.charge(s)
	m.feed(dir, b)
	m.tellEnded()
}

func (m *Mux) charge(s *Spec) {
	m.spec, m.state, m.named = s, decoding, false
	m.dec = s.New(m)
	_, m.weak = m.dec.(Doubtful)
}

// looked gives the specs whose later beginnings are looked for as things stand.
func (m *Mux) looked() uint64 {
	seek := m.set.again
	if m.more != nil {
		seek &^= m.more.left
	}
	switch {
	case m.state == probing:
		seek &= m.out // the others have not said No to what is held
	case m.state == idle && m.only != anyAgain:
		seek &= 1 << m.only >> 1
	}
	return seek
}

// sought gives those that may begin with b.
func (m *Mux) sought(b []byte) uint64 {
	if m.set.first == nil || !m.set.begins(b) {
		return 0
	}
	seek := m.looked() & m.set.first[b[0]]
	if seek != 0 && seek&^m.set.lines == 0 && m.refused >= refuseFreely && m.refused%refuseEvery != 0 {
		m.refuse(seek)
		return 0
	}
	return seek
}

// nextLine gives the next line in b behind i that may be a later beginning, 0 if there is none.
func (m *Mux) nextLine(b []byte, i int) int {
	seek := m.looked() & m.set.lines
	if m.seen >= lineLimit || m.refused >= lineTries || seek == 0 {
		return 0
	}
	for {
		n := bytes.IndexByte(b[i:], '\n') + 1
		if i += n; n == 0 {
			return 0
		}
		for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r') {
			i++
		}
		if i == len(b) {
			return 0
		}
		if b[i] != '\n' && m.set.first[b[i]]&seek != 0 {
			return i
		}
	}
}

// count notes bytes of which nobody was sure.
func (m *Mux) count(dir capture.Dir, n int) {
	// Whether it is much is all that counts.
	if m.ran[dir.Peer()] = 0; m.ran[dir] < oneSided {
		m.ran[dir] += uint32(n)
	}
	if m.seen < oneSided {
		m.seen += uint32(n)
	}
}

// due says whether it is dir's turn to speak.
func (m *Mux) due(dir capture.Dir) bool {
	n := m.ran[dir]
	return n <= keepAlive || m.picked && n == m.seen && n < oneSided
}

// plausible says whether b may be a later beginning.
func (m *Mux) plausible(seek uint64, dir capture.Dir, b []byte) bool {
	var said [2][]byte
	said[dir] = b
	s, _, maybe := m.judge(seek, said[0], said[1], m.due(dir), false)
	if s == nil && maybe == 0 {
		m.refuse(seek)
	}
	return s != nil || maybe != 0 && len(b) < probeLimit
}

// refuse counts a later beginning that was none.
func (m *Mux) refuse(seek uint64) {
	if seek&m.set.lines != 0 && m.refused < math.MaxUint16 {
		m.refused++
	} else if seek&m.set.lines != 0 {
		m.refused = lineTries // which keeps its remainder
	}
}

// judge asks the specs in seek about a later beginning, in order; the first Yes wins, but only when none before it says
// Maybe. With last there is no more to come, and Maybe is No.
func (m *Mux) judge(seek uint64, o, r []byte, turn, last bool) (s *Spec, flip bool, maybe uint64) {
	for ; seek != 0; seek &= seek - 1 {
		i := bits.TrailingZeros64(seek)
		s := &m.set.specs[i]
		v := s.Again.Probe(o, r, turn)
		switch {
		case v == No || v == Maybe && last:
		case v == Maybe || maybe != 0:
			maybe |= 1 << i
		default:
			return s, v == Flipped, 0
		}
	}
	return nil, false, maybe
}

// again looks for a later beginning in b and what waits for b; it says whether a decoder has begun with it.
func (m *Mux) again(dir capture.Dir, b []byte) bool {
	if l := m.late(); l != nil {
		if len(l.held[dir])+len(b) > probeLimit {
			m.wait(nil)
			m.refuse(m.set.lines)
		} else {
			l.held[dir] = append(l.held[dir], b...)
			if n := len(l.held[0]) + len(l.held[1]); !m.worth(n, &l.next) {
				return false
			}
			s, flip, maybe := m.judge(l.seek&m.looked(), l.held[0], l.held[1], l.turn, false)
			if s != nil {
				m.resume(s, flip)
				return true
			}
			if l.seek = maybe; maybe != 0 {
				return false
			}
			m.wait(nil)
		}
	}
	if seek := m.sought(b); seek != 0 {
		return m.look(seek, dir, b)
	}
	return false
}

// look judges b, the first bytes of what may be a later beginning, and keeps them if that cannot be told yet.
func (m *Mux) look(seek uint64, dir capture.Dir, b []byte) bool {
	var said [2][]byte
	said[dir] = b
	turn := m.due(dir)
	s, flip, maybe := m.judge(seek, said[0], said[1], turn, false)
	switch {
	case s != nil:
		m.leave()
		m.begin(s, flip, dir, b)
		return true
	case maybe != 0 && len(b) < probeLimit:
		l := &late{seek: maybe, turn: turn}
		l.held[dir] = append([]byte(nil), b...)
		m.wait(l)
	default:
		m.refuse(seek)
	}
	return false
}

// resume puts s in charge of what waited.
func (m *Mux) resume(s *Spec, flip bool) {
	held := m.more.late.held
	m.leave()
	m.held = held
	m.start(s, flip)
}

// leave makes room for a decoder that begins at a later beginning.
func (m *Mux) leave() {
	if m.state == decoding {
		m.quit()
		m.release()
	}
	m.wait(nil)
	m.held, m.state, m.later, m.mid = [2][]byte{}, probing, true, true
	m.anew()
}

// worth says whether probes are to be asked about n bytes, and counts them if so.
func (m *Mux) worth(n int, next *uint32) bool {
	if m.offered > offerLimit && uint32(n) < *next {
		return false
	}
	m.offered += min(uint32(n), math.MaxUint32-m.offered)
	*next = uint32(n + n/8)
	return true
}

// feed gives the decoder the next bytes of a direction.
func (m *Mux) feed(dir capture.Dir, b []byte) {
	if len(m.held[dir]) == 0 {
		rest := m.decode(dir, b)
		if m.state == decoding && len(rest) == len(b) {
			if rest = m.hold(dir, rest); len(rest) > 0 {
				m.hold(dir, rest) // says that it is full
			}
			return // no progress: the other direction has nothing to gain
		}
		b = rest
	}
	for len(b) > 0 && m.state != idle {
		b = m.hold(dir, b)
		if m.state != decoding {
			break
		}
		m.offer(dir)
	}
	m.pump(dir.Peer())
}

// pump offers held bytes to the decoder, one direction after the other, until neither gets further.
func (m *Mux) pump(dir capture.Dir) {
	for idleTurns := 0; idleTurns < 2; dir = dir.Peer() {
		if m.state == probing {
			m.probe()
			return
		}
		if m.state == decoding && m.offer(dir) {
			idleTurns = 0
			continue
		}
		idleTurns++
	}
}

// offer offers what is held of dir and says whether any of it was used.
func (m *Mux) offer(dir capture.Dir) bool {
	held := m.held[dir]
	if len(held) == 0 {
		return false
	}
	rest := m.decode(dir, held)
	if m.state == idle {
		return false
	}
	used := len(held) - len(rest)
	if used > 0 {
		m.held[dir] = held[:copy(held, rest)]
	}
	if len(m.held[dir]) == 0 && cap(held) > 4<<10 {
		m.held[dir] = nil // a long hold is rare; do not keep its buffer for the life of the flow
	}
	return used > 0 || m.state != decoding
}

// hold keeps as much of b as there is room for behind what is held already, and returns the rest. A decoder that has
// no use for a full hold is not one for these bytes.
func (m *Mux) hold(dir capture.Dir, b []byte) []byte {
	n := min(len(b), holdLimit-len(m.held[dir]))
	if n == 0 {
		m.Weird("decoder_hold_limit", "")
		if m.state == decoding {
			m.quit()
		}
		m.detach()
		return nil // what comes next is looked at where it begins
	}
	m.held[dir] = append(m.held[dir], b[:n]...)
	return b[n:]
}

// quit tells the decoder of the end of what has not ended yet.
func (m *Mux) quit() {
	for d := range m.ended {
		if !m.ended[d] && m.state == decoding {
			m.dec.End(capture.Dir(d))
		}
	}
}

// decode calls the decoder until it takes no more of b, and returns what is left. It may change the state.
func (m *Mux) decode(dir capture.Dir, b []byte) []byte {
	for len(b) > 0 && m.state == decoding {
		used, err := m.dec.Decode(dir, b)
		if used < 0 || used > len(b) {
			panic("decoders: " + m.spec.Name + " used more than it was offered")
		}
		b = b[used:]
		switch {
		case errors.Is(err, ErrSwitch):
			m.dec, m.spec, m.out, m.mid, m.named = nil, nil, 0, false, false
			m.state, m.weak, m.next = probing, false, 0
			m.wait(nil)
			if m.ended[0] && m.ended[1] {
				m.detach()
			}
			return b
		case err != nil:
			for i := range m.set.specs {
				if m.spec == &m.set.specs[i] && m.spec.Again.Once {
					m.extra().left |= 1 << i
				}
			}
			m.detach()
			return nil
		case used == 0:
			return b
		}
		if peer := dir.Peer(); len(m.held[peer]) > 0 && !m.turned {
			// What this direction said may be what the other waited for, before this one goes on.
			m.turned = true
			m.offer(peer)
			m.turned = false
		}
	}
	return b
}

// detach ends what is under way. The stream is not given up: see Again.
func (m *Mux) detach() {
	m.only = anyAgain
	m.reread = m.weak && m.state == decoding && m.dec.(Doubtful).Doubtful()
	if m.named && !m.reread {
		m.only = 0
		for i := range m.set.specs {
			if m.spec == &m.set.specs[i] {
				m.only = uint8(i + 1)
			}
		}
	}
	if m.ended[0] && m.ended[1] || m.set.first == nil {
		m.only = 0
		m.wait(nil)
	}
	if m.state == decoding {
		m.ran = [2]uint32{}
	}
	m.release()
	m.held, m.state = [2][]byte{}, idle // what may be a later beginning still may
}

func (m *Mux) release() {
	if r, ok := m.dec.(Releaser); ok {
		r.Release()
	}
	m.dec, m.spec, m.weak = nil, nil, false
}

// probe asks the specs about what is held, and says whether one has begun with it.
func (m *Mux) probe() (begun bool) {
	o, r := m.held[0], m.held[1]
	if len(o) == 0 && len(r) == 0 {
		return false
	}
	full := len(o) >= probeLimit || len(r) >= probeLimit
	if !m.worth(len(o)+len(r), &m.next) && !full && !(m.ended[0] && m.ended[1]) {
		return false
	}
	s, flip, waiting := m.ask(o, r)
	switch {
	case s != nil:
		m.start(s, flip)
	case !waiting || full:
		m.detach()
	}
	return s != nil
}

// ask asks the specs that have not said No, in order; the first Yes wins, but only when no spec before it still says
// Maybe.
func (m *Mux) ask(o, r []byte) (_ *Spec, flip, waiting bool) {
	for i := range m.set.specs {
		if m.out&(1<<i) != 0 {
			continue
		}
		s := &m.set.specs[i]
		v := No
		if s.Stream != nil {
			v = s.Stream(o, r, m.mid)
		}
		switch {
		case v == No:
			m.out |= 1 << i
		case v == Maybe:
			waiting = !m.ended[0] || !m.ended[1]
		case !waiting:
			return s, v == Flipped, false
		}
	}
	return nil, false, waiting
}

// start puts s in charge and hands it what is held.
func (m *Mux) start(s *Spec, flip bool) {
	m.turn(flip)
	m.charge(s)
	first := capture.Orig
	if len(m.held[first]) == 0 {
		first = capture.Resp
	}
	m.pump(first)
	m.tellEnded()
}

// tellEnded tells a decoder that has begun of directions that had ended before.
func (m *Mux) tellEnded() {
	for d := range m.ended {
		if m.ended[d] && m.state == decoding {
			m.dec.End(capture.Dir(d))
		}
	}
}

func (m *Mux) turn(flip bool) {
	if !flip {
		return
	}
	m.held[0], m.held[1] = m.held[1], m.held[0]
	m.ended[0], m.ended[1] = m.ended[1], m.ended[0]
	m.ran[0], m.ran[1] = m.ran[1], m.ran[0]
	if m.depth > 0 || m.later || !m.host.Flip() {
		m.swapped = !m.swapped
	}
	m.anew()
}

// Datagram takes one datagram, borrowed.
func (m *Mux) Datagram(dir capture.Dir, b []byte) {
	if m.state == idle || len(b) == 0 {
		return
	}
	if m.state == probing {
		var o, r []byte
		if dir == capture.Orig {
			o = b
		} else {
			r = b
		}
		for i := range m.set.specs {
			s := &m.set.specs[i]
			if s.Datagram == nil {
				continue
			}
			if v := s.Datagram(o, r, m.mid); v == Yes || v == Flipped {
				m.turn(v == Flipped)
				m.charge(s)
				if v == Flipped && !m.swapped {
					dir = dir.Peer()
				}
				break
			}
		}
		if m.state == probing {
			if m.datagrams++; m.datagrams >= probeDatagrams {
				m.detach()
			}
			return
		}
	}
	if m.swapped {
		dir = dir.Peer()
	}
	if _, err := m.dec.Decode(dir, b); err != nil {
		m.detach()
	}
}

// Rest implements capture.Rester. The Mux is not to be used any more then.
func (m *Mux) Rest() bool {
	r, ok := m.dec.(Rester)
	if !ok || m.swapped || !r.Rest() {
		return false
	}
	m.detach()
	*m = Mux{}
	spare.Put(m)
	return true
}

// Gap says that n bytes of dir are missing at this point.
func (m *Mux) Gap(dir capture.Dir, n int64) {
	m.wait(nil)
	if m.state == idle || n <= 0 {
		return
	}
	if m.swapped {
		dir = dir.Peer()
	}
	if m.state == probing {
		// Whatever began here cannot be told any more; what comes next may be the middle of something.
		m.mid, m.out, m.next = true, 0, 0
		m.held[dir] = m.held[dir][:0]
		if m.gaps++; m.gaps >= probeGaps {
			m.detach()
		}
		return
	}
	m.held[dir] = nil
	if !m.dec.Gap(dir, n) {
		m.detach()
		return
	}
	m.pump(dir.Peer())
}

// End says that dir sends no more.
func (m *Mux) End(dir capture.Dir) {
	if m.swapped {
		dir = dir.Peer()
	}
	if m.ended[dir] {
		return
	}
	m.ended[dir] = true
	if m.state == decoding {
		m.dec.End(dir)
		if m.state == decoding {
			m.pump(dir.Peer())
		}
	}
	if m.ended[0] && m.ended[1] {
		// With no more to come, Maybe is No.
		if l := m.late(); l != nil {
			if s, flip, _ := m.judge(l.seek, l.held[0], l.held[1], l.turn, true); s != nil {
				m.resume(s, flip)
			}
		}
		if m.state == probing {
			m.probe()
		}
		m.detach()
	}
}

// Finish ends both directions, the originator's first.
func (m *Mux) Finish() {
	m.over = true
	m.End(capture.Orig)
	m.End(capture.Resp)
}

// Flow implements Context.
func (m *Mux) Flow() *capture.Flow {
	f := m.host.Flow()
	if !m.swapped && !m.later && !m.prefaced {
		return f
	}
	x := m.extra()
	if x.flow == nil {
		c := *f
		if m.swapped {
			c.Orig, c.Resp = f.Resp, f.Orig
		}
		// What was found later is as good as what was picked up in the middle, to detectors and to the logs.
		c.Mid = c.Mid || m.later
		x.flow = &c
		for _, v := range x.via {
			if v.swapped == m.swapped {
				x.flow = x.flow.For(v.Via)
			}
		}
	}
	return x.flow
}

// Later implements Later.
func (m *Mux) Later() bool { return m.later }

// For implements Speaker. A client that is not valid says that there is none.
func (m *Mux) For(client netip.AddrPort, believed bool) {
	m.prefaced = true
	if x := m.extra(); client.IsValid() && len(x.via) < viaLimit {
		v := capture.Via{Client: client, Packet: m.host.At().Packet, Believed: believed}
		x.via, x.flow = append(x.via, via{v, m.swapped}), nil
	}
}

// At implements Context.
func (m *Mux) At() capture.At { return m.host.At() }

// Emit implements Context.
func (m *Mux) Emit(ev any) { m.host.Emit(ev) }

// Weird implements Context.
func (m *Mux) Weird(name, addl string) {
	from := ""
	if m.spec != nil {
		from = source(name, m.spec.Name)
	}
	m.host.Emit(&capture.Weird{At: m.host.At(), Flow: m.Flow(), Name: name, Addl: strings.Clone(addl), From: from})
}

// source is what Zeek names as the source of a weird: mostly the protocol, but its scripts have none, and it reads lines
// and inflates elsewhere.
func source(name, spec string) string {
	switch name {
	case "unknown_HTTP_method", "HTTP_response_before_request":
		return ""
	case "line_terminated_with_single_CR":
		return "CONTENTLINE"
	case "inflate_failed":
		return "ZIP"
	}
	return strings.ToUpper(spec)
}

// Confirm implements Context.
func (m *Mux) Confirm(service string) {
	m.named = true
	if !m.later || m.set.Admits == nil || m.set.Admits(service) {
		m.host.Service(service)
	}
}

// Refute implements Context.
func (m *Mux) Refute(service string) {
	m.named = false
	m.host.Refute(service)
}

// Closed implements Ender.
func (m *Mux) Closed() bool { return !m.over }

// Doubted implements Doubter.
func (m *Mux) Doubted() bool {
	h, ok := m.host.(Doubter)
	return ok && h.Doubted()
}

// Spend implements capture.Worker.
func (m *Mux) Spend(units int) bool {
	h, ok := m.host.(capture.Worker)
	return !ok || h.Spend(units)
}

// Room implements capture.Worker. Of a host without budgets it is nil.
func (m *Mux) Room() *capture.Room {
	if h, ok := m.host.(capture.Worker); ok {
		return h.Room()
	}
	return nil
}

// Skip implements Context.
func (m *Mux) Skip() { m.host.Skip() }

// Nest implements Context.
func (m *Mux) Nest() Nested {
	if m.depth >= nestLimit {
		m.Weird("decoder_nest_limit", "")
		return &Mux{state: idle, set: &Set{}}
	}
	return &Mux{host: nest{m}, set: m.set, depth: m.depth + 1}
}

// nest is the Host of a stream within a stream.
type nest struct{ outer *Mux }

func (n nest) Flow() *capture.Flow { return n.outer.Flow() }
func (n nest) At() capture.At      { return n.outer.At() }
func (n nest) Emit(ev any)         { n.outer.Emit(ev) }
func (n nest) Service(name string) { n.outer.Confirm(name) }
func (n nest) Refute(name string)  { n.outer.Refute(name) }
func (n nest) Skip()               { n.outer.Skip() }
func (n nest) Flip() bool          { return false }

func (n nest) Spend(units int) bool { return n.outer.Spend(units) }
func (n nest) Room() *capture.Room  { return n.outer.Room() }
