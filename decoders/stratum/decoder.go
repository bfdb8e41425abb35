package stratum

import (
	"errors"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

var errForeign = errors.New("stratum: 64 KiB without a message")

const (
	// maxPending bounds requests that wait for an answer, by direction of time: the oldest is forgotten. A miner has one
	// or two under way; a proxy that multiplexes many workers over one connection has tens.
	maxPending = 64
	// maxText bounds every text that a session keeps. A login with an integrated address, a worker and a mail has 180.
	maxText = 256
	// maxExcerpt bounds a line of evidence: XMRig's login up to its agent.
	maxExcerpt = 300
	// maxAlgos bounds the algorithms kept. XMRig offers about 30 in its login.
	maxAlgos = 32
	// maxEvidence bounds the lines of evidence; one for each thing that can be said.
	maxEvidence = 8
	// A session that still waits for a login or an answer is announced after this many lines or this much time.
	startLines = 8
	startAfter = 5 * time.Second
	// maxJunk is how much may come without a message before the flow is left alone.
	maxJunk = maxLine
)

// seed is the program's own, so that nobody can make an id that is taken for another. Hashes are compared and never told, so that
// what is said is the same with any.
var seed = maphash.MakeSeed()

type pending struct {
	id  uint64 // hash of the id as sent
	act act
}

type decoder struct {
	ctx  decoders.Context
	s    Session
	half [2]struct {
		framer framer
		resync bool // inside something that was not read from its beginning
		closed bool // while resync: the last byte dropped was a '}'
	}
	wait     [maxPending]pending // oldest first
	waiting  int
	ended    [2]bool
	sure     bool
	known    bool // which direction the miner is
	hello    bool // subscribe or login was seen
	offered  bool // Algos are what the miner offers, not what it was given
	begun    bool
	told     bool // Start was emitted
	toldAs   Outcome
	toldName bool
	over     bool
	lines    int
	junk     int
	seen     uint16 // evidence kept, by act
	weird    uint8  // weirds said
}

const (
	weirdLong = 1 << iota
	weirdJSON
	weirdRepeat
)

func newDecoder(ctx decoders.Context) *decoder {
	d := &decoder{ctx: ctx}
	d.s.Transport = "tcp"
	d.s.Outcome = Tried
	return d
}

// Decode implements decoders.Decoder.
func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	h := &d.half[dir]
	i := 0
	for {
		if h.resync {
			from := i
			if i = resync(b, i, h.closed); i < 0 {
				h.closed = b[len(b)-1] == '}'
				return len(b), d.waste(len(b) - from)
			}
			h.resync = false
			if err := d.waste(i - from); err != nil {
				return i, err
			}
		}
		from := i
		if i = skipNoise(b, i); i-from > 1 {
			if err := d.waste(i - from); err != nil {
				return i, err
			}
		}
		if i == len(b) {
			return i, nil
		}
		if b[i] != '{' {
			d.s.Mid = d.s.Mid || !d.begun
			h.resync, h.closed = true, false
			continue
		}
		n, state := h.framer.scan(b[i:])
		if n > maxLine {
			d.say(weirdLong, "stratum_line_too_long")
		}
		switch state {
		case partial:
			if len(b)-i < maxLine {
				return i, nil
			}
			d.say(weirdLong, "stratum_line_too_long")
			h.framer = framer{}
			h.resync, h.closed = true, false
			return len(b), d.waste(len(b) - i)
		case whole:
			if n <= maxLine && d.line(dir, b[i:i+n]) {
				d.junk = 0
			} else if err := d.waste(n); err != nil {
				return i + n, err
			}
			i += n
		case broken:
			d.say(weirdJSON, "stratum_bad_json")
			i += n
			// Behind a line's end the next object may begin at once; a nesting too deep leaves us inside.
			h.resync, h.closed = b[i-1] != '\n', false
			if err := d.waste(n); err != nil {
				return i, err
			}
		}
		if i == len(b) {
			return i, nil
		}
	}
}

// waste counts bytes that were no message.
func (d *decoder) waste(n int) error {
	if d.junk += n; d.junk > maxJunk {
		d.finish()
		return errForeign
	}
	return nil
}

func (d *decoder) say(bit uint8, name string) {
	if d.weird&bit == 0 {
		d.weird |= bit
		d.ctx.Weird(name, "")
	}
}

// Gap implements decoders.Decoder.
func (d *decoder) Gap(dir capture.Dir, _ int64) bool {
	h := &d.half[dir]
	h.framer = framer{}
	h.resync, h.closed = true, false
	return true
}

// End implements decoders.Decoder.
func (d *decoder) End(dir capture.Dir) {
	d.ended[dir] = true
	if d.ended[0] && d.ended[1] {
		d.finish()
	}
}

func (d *decoder) finish() {
	if d.over || !d.sure {
		return
	}
	d.over = true
	if !d.told {
		d.start(false)
	}
	d.settle()
	s := d.s.clone()
	d.ctx.Emit(&s)
}

// settle fills what is only clear from the whole.
func (d *decoder) settle() {
	d.s.Flow = d.ctx.Flow()
	// Dero's miners say who they are in the WebSocket's path, not here.
	d.s.Mid = d.s.Mid || d.s.Sides[d.s.Client] && !d.hello && d.s.Dialect != Dero
	if len(d.s.Algos) == 0 || d.offered {
		switch d.s.Dialect {
		case Kaspa:
			d.s.Algos = []string{"kheavyhash"}
		case KawPow:
			d.s.Algos = []string{"kawpow"}
		case Equihash:
			d.s.Algos = []string{"equihash"}
		}
	}
}

// start announces the session.
func (d *decoder) start(update bool) {
	d.settle()
	d.told, d.toldAs, d.toldName = true, d.s.Outcome, d.s.Login != ""
	d.ctx.Emit(&Start{Session: d.s.clone(), Update: update})
}

// announce decides whether now is the time.
func (d *decoder) announce() {
	switch {
	case !d.sure:
	case !d.told:
		complete := d.s.Login != "" && d.s.Outcome != Tried
		if complete || d.lines >= startLines || d.s.Last.Time.Sub(d.s.Time) >= startAfter {
			d.start(false)
		}
	case !d.toldName && d.s.Login != "", d.s.Outcome.rank() > d.toldAs.rank():
		d.start(true)
	}
}

// line takes one object and says whether it was a message.
func (d *decoder) line(dir capture.Dir, b []byte) bool {
	var m message
	if !parse(b, &m, false) {
		d.say(weirdJSON, "stratum_bad_json")
		return false
	}
	if m.repeats {
		// Parsers differ in which of two equal keys they take.
		d.say(weirdRepeat, "stratum_repeated_key")
	}
	v := m.view()
	if v.act == actForeign {
		return false
	}
	at := d.ctx.At()
	if !d.begun {
		d.begun = true
		d.s.At = at
	}
	if d.lines++; d.lines < 0 {
		d.lines = startLines
	}
	d.s.Last = at
	d.s.Sides[dir] = true
	if v.from != anyone && !d.known {
		// A bare answer is the weakest of signs; anything else settles the direction.
		d.known = v.sure
		d.s.Client = dir
		if v.from == server {
			d.s.Client = dir.Peer()
		}
	}
	if v.sure && !d.sure {
		d.sure = true
		d.ctx.Confirm("stratum")
	}
	if v.dialect != "" {
		d.s.Dialect = refine(d.s.Dialect, v.dialect)
	}
	d.take(dir, &m, v)
	d.announce()
	return true
}

// refine keeps the more telling of two dialects. Bitcoin's words are shared by its children, and Kaspa speaks any of
// them; CryptoNote's by the browser's.
func refine(have, now Dialect) Dialect {
	rank := func(d Dialect) int {
		switch d {
		case "":
			return 0
		case Bitcoin, CryptoNote:
			return 1
		case NiceHash:
			return 2
		case Kaspa:
			return 4
		}
		return 3
	}
	if rank(now) > rank(have) {
		return now
	}
	return have
}

// take puts a message into the session.
func (d *decoder) take(dir capture.Dir, m *message, v sight) {
	b := m.b
	s := &d.s
	var asked act
	if v.act == actAnswer && d.known && dir == s.Client {
		return // the miner's answer to client.get_version
	}
	if v.from == server && m.id.some() && (m.method.kind == absent || m.result.kind != absent || m.err.kind != absent) {
		asked = d.answered(m)
	}
	switch v.act {
	case actSubscribe:
		d.hello = true
		d.ask(m, v.act)
		d.subscribe(m)
		d.keep(v.act, "subscribe", m)
	case actLogin:
		d.hello = true
		d.ask(m, v.act)
		d.login(m)
		d.keep(v.act, "login", m)
	case actGetWork:
		d.hello = true
		d.ask(m, v.act)
		d.keepSure(v, m)
	case actTalk:
		d.hello = d.hello || v.dialect == Bitcoin // configure and the like come first; hash rates and keep-alives later
		d.keepSure(v, m)
	case actSubmit:
		s.Submits++
		d.reach(Working)
		d.ask(m, v.act)
		if s.Login == "" {
			switch v.dialect {
			case Bitcoin, Equihash, KawPow, Kaspa, NiceHash:
				it := elementsOf(b, m.params)
				if it.next() {
					d.setLogin(b, it.val)
				}
			}
		}
		d.keep(v.act, "share", m)
	case actJob, actLoginOK:
		s.Jobs++
		d.reach(Working)
		d.job(m, v)
		d.keep(actJob, "job", m)
	case actDifficulty:
		from := m.params
		if it := elementsOf(b, m.params); it.next() {
			from = it.val
		}
		d.difficulty(b, from)
		d.keepSure(v, m)
	case actTarget:
		if it := elementsOf(b, m.params); it.next() {
			d.target(b, it.val)
		} else if t, ok := m.member(m.params, "target"); ok {
			d.target(b, t)
		}
		d.keepSure(v, m)
	case actServerTalk:
		d.keepSure(v, m)
	case actCount:
		d.accept(m)
	case actAnswer:
		d.answer(m, v, asked)
	}
}

// reach notes that the miner got at least this far.
func (d *decoder) reach(o Outcome) {
	if o.rank() > d.s.Outcome.rank() {
		d.s.Outcome = o
	}
}

func (d *decoder) accept(m *message) {
	d.s.Accepted++
	d.reach(Accepted)
	d.keep(actAnswer, "accepted", m)
}

// answer takes a result or an error.
func (d *decoder) answer(m *message, v sight, asked act) {
	alone := !d.s.Sides[d.s.Client] // only the pool's side was captured, so far
	refused := m.refuses()
	if refused {
		if text := d.reason(m); text != "" {
			d.s.Reason = text
		}
	}
	switch {
	case asked == actSubmit && refused, asked == actNone && alone && refused && d.s.Jobs > 0:
		d.s.Rejected++
		d.keep(actCount, "rejected", m)
	case asked == actSubmit:
		d.accept(m)
	case (asked == actLogin || asked == actGetWork) && refused:
		if d.s.Outcome == Tried {
			d.s.Outcome = Refused
		}
		d.keep(actForeign, "refused", m)
	case asked == actLogin:
		d.reach(Working)
	case asked == actSubscribe || asked == actGetWork || v.sure:
		d.keepSure(v, m)
	case refused:
	case m.status().kind == text && (alone || !d.hello):
		// {"status":"OK"} without work answers a share and nothing else.
		if s := m.status().raw(m.b); len(s) == 2 && (s[0]|0x20) == 'o' && (s[1]|0x20) == 'k' {
			d.accept(m)
		}
	case m.result.kind == yes && alone && d.s.Jobs > 0:
		d.accept(m)
	}
}

// refuses reports whether a message is an error or a no.
func (m *message) refuses() bool {
	if m.err.kind == number && string(m.err.raw(m.b)) == "0" {
		return false
	}
	return m.err.some() && m.err.kind != no || m.result.kind == no
}

// status is the member of that name of a result.
func (m *message) status() value {
	if m.result.kind != object {
		return value{}
	}
	v, _ := m.member(m.result, "status")
	return v
}

// reason is the pool's error text: a string, {"message":...}, or [code, "text", ...].
func (d *decoder) reason(m *message) string {
	v := m.err
	switch v.kind {
	case object:
		v, _ = m.member(v, "message")
	case array:
		for it := elementsOf(m.b, m.err); it.next(); {
			if it.val.kind == text {
				v = it.val
				break
			}
		}
	}
	return d.text(m.b, v, d.s.Reason)
}

// text makes an owned, bounded, printable string of a value, or returns have if it says the same.
func (d *decoder) text(b []byte, v value, have string) string {
	if v.kind != text {
		return ""
	}
	var buf [maxText]byte
	s := decoded(b, v, buf[:])
	if string(s) == have {
		return have
	}
	return clean(s[:min(len(s), maxText)])
}

// clean makes text fit for logs: valid UTF-8 without control characters.
func clean(s []byte) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == 0xfffd {
			return '.'
		}
		return r
	}, string(s))
}

// ask remembers a request.
func (d *decoder) ask(m *message, a act) {
	if !m.id.some() {
		return
	}
	if d.waiting == maxPending {
		copy(d.wait[:], d.wait[1:])
		d.waiting--
	}
	d.wait[d.waiting] = pending{maphash.Bytes(seed, m.id.raw(m.b)), a}
	d.waiting++
}

// answered finds the oldest request with this id: ETHPROXY miners use one id for all shares.
func (d *decoder) answered(m *message) act {
	h := maphash.Bytes(seed, m.id.raw(m.b))
	for i := range d.waiting {
		if d.wait[i].id == h {
			a := d.wait[i].act
			copy(d.wait[i:d.waiting], d.wait[i+1:d.waiting])
			d.waiting--
			return a
		}
	}
	return actNone
}

func (d *decoder) subscribe(m *message) {
	b := m.b
	if m.params.kind == object { // mining.hello
		var host, port value
		it := membersOf(b, m.params)
		var buf [maxName]byte
		for it.next() {
			switch string(name(b, it.key, &buf)) {
			case "agent":
				d.setAgent(b, it.val)
			case "host":
				host = it.val
			case "port":
				port = it.val
			}
		}
		d.pool(b, host, port, 16)
		return
	}
	var a [4]value
	it := elementsOf(b, m.params)
	for n := 0; n < len(a) && it.next(); n++ {
		a[n] = it.val
	}
	d.setAgent(b, a[0])
	if a[3].kind != absent { // Equihash and KawPow miners name the host they called
		d.pool(b, a[2], a[3], 10)
	}
}

// pool notes the host that the miner says it called. base is that of a port in a string.
func (d *decoder) pool(b []byte, host, port value, base int) {
	h := d.text(b, host, "")
	if h == "" || strings.ContainsAny(h, " /") && !strings.Contains(h, "://") {
		return
	}
	if i := strings.Index(h, "://"); i >= 0 {
		h = h[i+3:]
	}
	p := d.text(b, port, "")
	if port.kind == number {
		p, base = string(port.raw(b)), 10
	}
	if n, err := strconv.ParseUint(p, base, 16); err == nil && n > 0 && !strings.Contains(h, ":") {
		h += ":" + strconv.FormatUint(n, 10)
	}
	d.s.Pool = h
}

func (d *decoder) setAgent(b []byte, v value) {
	if s := d.text(b, v, d.s.Agent); s != "" {
		d.s.Agent = s
	}
}

func (d *decoder) login(m *message) {
	b := m.b
	s := &d.s
	if m.params.kind == array { // authorize, eth_submitLogin
		it := elementsOf(b, m.params)
		if it.next() {
			d.setLogin(b, it.val)
		}
		if it.next() && it.val.some() {
			s.Password = true
		}
		if w := d.text(b, m.worker, s.Worker); w != "" && w != "eth1.0" { // ethminer's constant says nothing
			s.Worker = w
		}
		return
	}
	from := m.params
	if m.flat || from.kind == absent {
		from = m.top()
	}
	var buf [maxName]byte
	it := membersOf(b, from)
	for it.next() {
		switch string(name(b, it.key, &buf)) {
		case "login", "site_key", "api_key":
			d.setLogin(b, it.val)
		case "pass", "password":
			s.Password = s.Password || it.val.some()
		case "agent":
			d.setAgent(b, it.val)
		case "rigid", "user":
			if w := d.text(b, it.val, s.Worker); w != "" {
				s.Worker = w
			}
		case "pool":
			if p := d.text(b, it.val, s.Pool); p != "" {
				s.Pool = p
			}
		case "algo":
			if len(s.Algos) == 0 || d.offered {
				s.Algos, d.offered = s.Algos[:0], true
				for a := elementsOf(b, it.val); a.next() && len(s.Algos) < maxAlgos; {
					if t := d.text(b, a.val, ""); t != "" {
						s.Algos = append(s.Algos, t)
					}
				}
			}
		}
	}
}

func (d *decoder) setLogin(b []byte, v value) {
	l := d.text(b, v, d.s.Login)
	if l == "" || l == d.s.Login {
		return
	}
	d.s.Login = l
	d.s.Address = Wallet(l)
	rest := l
	if i := strings.IndexByte(l, ':'); i >= 0 {
		rest = l[i+1:]
	}
	if _, w := splitLogin(rest); w != "" && !strings.Contains(w, "@") {
		d.s.Worker = w
	}
}

// job reads what work says about itself.
func (d *decoder) job(m *message, v sight) {
	b := m.b
	from := m.params
	switch {
	case m.flat:
		from = m.top()
	case v.act == actLoginOK:
		from, _ = m.member(m.result, "job")
	case m.result.kind == object:
		from = m.result
	case m.result.kind == array: // ETHPROXY: header, seed, target
		n := 0
		for it := elementsOf(b, m.result); it.next(); n++ {
			if n == 2 {
				d.target(b, it.val)
			}
		}
		return
	case from.kind == array:
		if v.dialect == KawPow {
			n := 0
			for it := elementsOf(b, from); it.next(); n++ {
				switch n {
				case 3:
					d.target(b, it.val)
				case 5:
					d.height(b, it.val)
				}
			}
		}
		return
	}
	var buf [maxName]byte
	it := membersOf(b, from)
	for it.next() {
		switch string(name(b, it.key, &buf)) {
		case "algo":
			d.algo(b, it.val)
		case "height":
			d.height(b, it.val)
		case "target":
			d.target(b, it.val)
		case "difficulty":
			d.difficulty(b, it.val)
		}
	}
}

// algo adds an algorithm that the pool named; the first replaces what the miner only offered.
func (d *decoder) algo(b []byte, v value) {
	if v.kind != text || v.end == v.start {
		return
	}
	if d.offered {
		d.s.Algos, d.offered = nil, false
	}
	for _, a := range d.s.Algos {
		if a == string(v.raw(b)) {
			return
		}
	}
	if len(d.s.Algos) < maxAlgos {
		if a := d.text(b, v, ""); !slices.Contains(d.s.Algos, a) {
			d.s.Algos = append(d.s.Algos, a)
		}
	}
}

func (d *decoder) target(b []byte, v value) {
	if t := d.text(b, v, d.s.Target); t != "" {
		d.s.Target = t
	}
}

func (d *decoder) height(b []byte, v value) {
	if v.kind != number || v.end-v.start > 18 {
		return
	}
	n := uint64(0)
	for _, c := range v.raw(b) {
		if c < '0' || c > '9' {
			return
		}
		n = n*10 + uint64(c-'0')
	}
	d.s.Height = n
}

func (d *decoder) difficulty(b []byte, v value) {
	if v.kind != number || v.end-v.start > 32 {
		return
	}
	if f, err := strconv.ParseFloat(string(v.raw(b)), 64); err == nil {
		d.s.Difficulty = f
	}
}

// keepSure keeps a line as evidence if nothing better was kept yet and it is sure by itself.
func (d *decoder) keepSure(v sight, m *message) {
	if v.sure && len(d.s.Evidence) == 0 {
		d.keep(actNone, "sign", m)
	}
}

// keep keeps the first line of its kind as evidence.
func (d *decoder) keep(a act, field string, m *message) {
	if d.seen&(1<<a) != 0 || len(d.s.Evidence) >= maxEvidence {
		return
	}
	d.seen |= 1 << a
	d.s.Evidence = append(d.s.Evidence, Evidence{Field: field, Line: excerpt(m), Packet: d.ctx.At().Packet})
}

// excerpt is the beginning of a line with its passwords masked.
func excerpt(m *message) string {
	b := m.b
	var cut [8]value // more passwords than that and the line is not shown
	n := 0
	mask := func(v value) {
		if v.some() {
			if n < len(cut) {
				cut[n] = v
			}
			n++
		}
	}
	var buf [maxName]byte
	for _, from := range [2]value{m.top(), m.params} {
		for it := membersOf(b, from); it.next(); {
			switch string(name(b, it.key, &buf)) {
			case "pass", "password":
				mask(it.val)
			}
		}
	}
	if method := name(b, m.method, &buf); m.params.kind == array {
		switch string(method) {
		case "mining.authorize", "mining.auth", "eth_submitlogin", "eth_login":
			i := 0
			for it := elementsOf(b, m.params); it.next(); i++ {
				if i > 0 {
					mask(it.val)
				}
			}
		}
	}
	if n > len(cut) {
		return "****"
	}
	slices.SortFunc(cut[:n], func(x, y value) int { return x.start - y.start })
	var out strings.Builder
	from := 0
	for _, v := range cut[:n] {
		if v.start < from || out.Len() > maxExcerpt {
			continue
		}
		out.Write(b[from:v.start])
		out.WriteString("****")
		from = v.end
	}
	if out.Len() < maxExcerpt {
		out.Write(b[from:min(len(b), from+maxExcerpt)])
	}
	s := clean([]byte(out.String()))
	if len(s) > maxExcerpt {
		s = strings.ToValidUTF8(s[:maxExcerpt], "") + "…"
	}
	return s
}
