// Package stratum reads what miners and pools say to each other.
//
// In: a TCP stream or a nested one (inside CONNECT, SOCKS or WebSocket), on any port; and HTTP transactions, for the
// older getwork and getblocktemplate (FromHTTP). Out: *Start, once it is clear that this is mining and what came of
// it, again (Update) when more is known, and one *Session at the end of the flow, which is the row of stratum.log.
//
// Dialects: Bitcoin's stratum v1, CryptoNote (XMRig's login, xmr-stak, proxies without jsonrpc and agent), ETHPROXY,
// EthereumStratum 1.0.0 (NiceHash) and 2.0.0, Equihash (Zcash), KawPow/ProgPow, Kaspa, Grin, Beam, Dero, the browser
// miners' auth/job/submit, getwork, getblocktemplate and eth_getWork over HTTP. Beside them Duino-Coin's lines (duino.go),
// and any of them combined with a key of up to eight bytes (veil.go).
//
// All of the others are one JSON object after the other. They are recognised by method and shape of the arguments, or of the
// answer, from either side alone and from any point of the stream on; never by a port. Keys may come in any order,
// with escapes, in any case; objects may be split over segments or share one. What only shares a word with mining is
// not taken: a "login" without wallet, agent or work behind it, Electrum, Ethereum calls other than for work, other
// JSON-RPC, logs in JSON.
//
// It does not see mining inside TLS, nor Stratum V2, which is encrypted from its first byte. It cannot tell a rented or
// wanted miner from a planted one. When only the pool's side was captured, accepted shares are an estimate: an answer
// "true" after the first work counts as one.
//
// Passwords are never kept: evidence has **** in their place.
package stratum

import (
	"bytes"
	"slices"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// Dialect names what is spoken.
type Dialect string

// The dialects.
const (
	Bitcoin          Dialect = "bitcoin"
	CryptoNote       Dialect = "cryptonote"
	EthProxy         Dialect = "ethproxy"
	NiceHash         Dialect = "ethereumstratum1"
	EthereumStratum2 Dialect = "ethereumstratum2"
	Equihash         Dialect = "equihash"
	KawPow           Dialect = "kawpow"
	Kaspa            Dialect = "kaspa"
	Grin             Dialect = "grin"
	Beam             Dialect = "beam"
	Dero             Dialect = "dero"
	Coinhive         Dialect = "coinhive"
	GetWork          Dialect = "getwork"
	GetBlockTemplate Dialect = "getblocktemplate"
)

// Outcome is how far a miner got.
type Outcome string

// Outcomes, each further than the one before.
const (
	Tried    Outcome = "tried"    // no answer was seen
	Refused  Outcome = "refused"  // the pool said no
	Working  Outcome = "working"  // the pool took the login or sent work, or the miner sent a share, which needs work
	Accepted Outcome = "accepted" // a share was accepted
)

func (o Outcome) rank() int {
	return slices.Index([]Outcome{Tried, Refused, Working, Accepted}, o)
}

// Evidence is one line that was said.
type Evidence struct {
	Field  string // subscribe, login, job, share, accepted, rejected, refused, sign
	Line   string // its beginning, the password masked
	Packet uint64 // the packet that completed it
}

// Session is what one flow said about mining.
type Session struct {
	capture.At // of the first line
	Flow       *capture.Flow
	Last       capture.At // of the last line
	Dialect    Dialect
	Transport  string      // tcp, or http for FromHTTP
	Client     capture.Dir // the miner's direction
	Agent      string
	Login      string // as sent
	Worker     string
	Address    Address // the wallet in the login
	Password   bool    // there was one
	Algos      []string
	Pool       string // host:port as the miner addresses it, for dialects that say
	Jobs       uint64
	Submits    uint64 // shares sent
	Accepted   uint64
	Rejected   uint64
	Difficulty float64 // last that the pool set, 0 if none
	Target     string  // last, as sent
	Height     uint64  // last block height named
	Reason     string  // the pool's last error text
	Veil       string  // with what the bytes were combined, if they were
	Outcome    Outcome
	Mid        bool    // it began before the capture did
	Sides      [2]bool // directions that said anything
	Evidence   []Evidence
}

// Start says that mining was seen, as early as it can be told well: with the login and with the pool's reaction, or
// without one of them after a few lines or seconds. Update is set when it was said before and more is known now: a
// login, or that the miner got further.
type Start struct {
	Session Session // as it stands; not a log row
	Update  bool
}

// Log implements capture.Record.
func (s *Session) Log() string { return "stratum" }

// Row implements capture.Record.
func (s *Session) Row(f capture.Fields) {
	f.Time("ts", s.Time, s.Time != 0)
	s.Flow.ID(f)
	f.String("dialect", string(s.Dialect), s.Dialect != "")
	f.String("transport", s.Transport, s.Transport != "")
	f.String("client", s.Client.String(), s.Dialect != "")
	f.String("agent", s.Agent, s.Agent != "")
	f.String("login", s.Login, s.Login != "")
	f.String("worker", s.Worker, s.Worker != "")
	f.String("password", "****", s.Password)
	f.String("coin", s.Address.Coin, s.Address.Coin != "")
	f.String("wallet", s.Address.Wallet, s.Address.Wallet != "")
	f.Bool("wallet_checked", s.Address.Checked, s.Address.Wallet != "")
	f.Vector("algo", "string", s.Algos, len(s.Algos) > 0)
	f.String("pool", s.Pool, s.Pool != "")
	f.String("outcome", string(s.Outcome), s.Outcome != "")
	f.Count("jobs", s.Jobs, s.Dialect != "")
	f.Count("submits", s.Submits, s.Dialect != "")
	f.Count("accepted", s.Accepted, s.Dialect != "")
	f.Count("rejected", s.Rejected, s.Dialect != "")
	f.Double("difficulty", s.Difficulty, s.Difficulty != 0)
	f.String("target", s.Target, s.Target != "")
	f.Count("height", s.Height, s.Height != 0)
	f.String("reason", s.Reason, s.Reason != "")
	f.Interval("duration", s.Last.Time.Sub(s.Time), s.Dialect != "")
	f.Count("first_packet", s.Packet, s.Packet != 0)
	f.Bool("mid", s.Mid, s.Dialect != "")
	cid := ""
	if s.Flow != nil {
		cid = s.Flow.CommunityID()
	}
	f.String("community_id", cid, cid != "")
}

// clone copies a session so that an event owns its memory.
func (s *Session) clone() Session {
	c := *s
	c.Algos = slices.Clone(s.Algos)
	c.Evidence = slices.Clone(s.Evidence)
	return c
}

// Spec registers the decoder.
func Spec() decoders.Spec {
	return decoders.Spec{
		Name: "stratum", Stream: probe, New: func(ctx decoders.Context) decoders.Decoder { return newDecoder(ctx) },
		Again: decoders.Again{First: first(), Lines: true, Probe: probeAgain},
	}
}

// first is an object, whatever stands before its first key, or what skipNoise passes over.
func first() (list []string) {
	const blank = " \t\r\n"
	for _, c := range []byte("{[" + blank) {
		for _, d := range []byte(blank + "{[\"") {
			if c == '{' && (d == '{' || d == '[') || c != '{' && d == '"' {
				continue
			}
			list = append(list, string([]byte{c, d}))
		}
	}
	return append(list, "\xef\xbb")
}

// maxBlank bounds what stands before the object at a later beginning.
const maxBlank = 256

// probeAgain wants a sure line, a word of mining or an answer that only a pool gives, and another behind it or an answer
// to it: behind a beginning that was something else, a single line may be quoted.
func probeAgain(orig, resp []byte, _ bool) decoders.Verdict {
	o, r := weigh(orig), weigh(resp)
	switch {
	case o.foreign || r.foreign:
		return decoders.No
	case o.sure+r.sure == 0 || o.sure+r.sure == 1 && (o.lines == 0 || r.lines == 0):
		return decoders.Maybe
	case o.from == client, o.from != server && r.from == server:
		return decoders.Yes
	}
	return decoders.Flipped
}

// weight is what a direction says at a later beginning.
type weight struct {
	lines, sure int // messages, and those that only mining has
	from        side
	foreign     bool
}

func weigh(b []byte) (w weight) {
	if len(b) > maxBlank && skipNoise(b[:maxBlank], 0) == maxBlank {
		return weight{foreign: true}
	}
	for i := skipNoise(b, 0); i < len(b) && w.lines < probeObjects; i = skipNoise(b, i) {
		var f framer
		var m message
		if b[i] != '{' || !opens(b[i+1:]) {
			w.foreign = true
			return w
		}
		n, state := f.scan(b[i:])
		if state == partial {
			return w
		}
		if state == broken || !parse(b[i:i+n], &m, false) {
			w.foreign = true
			return w
		}
		i += n
		s := m.view()
		if s.act == actForeign {
			w.foreign = true
			return w
		}
		w.lines++
		if s.sure {
			w.sure++
			if w.from == anyone {
				w.from = s.from
			}
		}
	}
	return w
}

// opens reports whether b may be what follows the brace of an object: nothing, a key, or another brace. Of bulk little may look like
// a beginning.
func opens(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	switch {
	case len(b) == 0 || b[0] == '}':
		return true
	case b[0] != '"':
		return false
	case len(b) == 1:
		return true
	}
	// Control characters do not stand in strings (RFC 8259 section 7), and no character of UTF-8 begins with these bytes.
	return b[1] >= ' ' && (b[1] < 0x80 || b[1] >= 0xc2 && b[1] <= 0xf4)
}

const (
	// maxLine bounds one object. The longest known are Equihash shares (10 KiB) and Bitcoin work with a large coinbase.
	maxLine = 64 << 10
	// probeObjects bounds how many complete objects without a word of mining a probe reads before it says no. A miner's
	// first line is one; a server-side-only capture may begin with a few bare answers.
	probeObjects = 16
	// probePartial is the length from which on an object that is not complete is judged by what is there, so that
	// a capture that begins with a long share is recognised before the stream gives up probing.
	probePartial = 4 << 10
)

// probe looks for one sure line in either direction.
func probe(orig, resp []byte, mid bool) decoders.Verdict {
	o := look(orig, mid)
	if o == verdictNo {
		return decoders.No
	}
	r := look(resp, mid)
	switch {
	case r == verdictNo:
		return decoders.No
	case o == verdictClient, r == verdictServer:
		return decoders.Yes
	case o == verdictServer, r == verdictClient:
		return decoders.Flipped
	}
	return decoders.Maybe
}

type verdict uint8

const (
	verdictMaybe verdict = iota
	verdictNo
	verdictClient
	verdictServer
)

// look reads the beginning of one direction.
func look(b []byte, mid bool) verdict {
	i := skipNoise(b, 0)
	if i == len(b) {
		return verdictMaybe
	}
	if b[i] != '{' {
		if !mid || binary(b[i:]) {
			return verdictNo
		}
		if i = resync(b, i, false); i < 0 {
			return verdictMaybe
		}
	}
	for n := 0; n < probeObjects; n++ {
		if i = skipNoise(b, i); i == len(b) {
			return verdictMaybe
		}
		if b[i] != '{' {
			if !mid {
				return verdictNo
			}
			if i = resync(b, i, false); i < 0 {
				return verdictMaybe
			}
			continue
		}
		var f framer
		used, state := f.scan(b[i:])
		var m message
		ok := false
		switch state {
		case partial:
			used = len(b) - i
			if used < probePartial {
				return verdictMaybe
			}
			ok = parse(b[i:], &m, true)
		case whole:
			ok = parse(b[i:i+used], &m, false)
		}
		if !ok {
			if !mid {
				return verdictNo
			}
			i += used
			continue
		}
		i += used
		switch s := m.view(); {
		case s.act == actForeign && !mid:
			return verdictNo
		case s.sure && s.from == client:
			return verdictClient
		case s.sure && s.from == server:
			return verdictServer
		}
	}
	return verdictNo
}

// binary says that the first bytes are no text.
func binary(b []byte) bool {
	for _, c := range b[:min(len(b), 64)] {
		if c < 0x20 && c != '\t' && c != '\r' && c != '\n' && c != 0 || c >= 0x7f {
			return true
		}
	}
	return false
}

// skipNoise steps over what may stand between objects: white space, the zero byte of a TCP keep-alive, a byte order
// mark, the punctuation of a JSON-RPC batch.
func skipNoise(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ' ', '\t', '\r', '\n', 0, 0xef, 0xbb, 0xbf, '[', ']', ',':
			i++
		default:
			return i
		}
	}
	return i
}

// resync finds the beginning of the next object from inside another: behind a line's end, or where one object follows
// another without one, which inside an object never happens. closed says that the byte before b was a '}'.
func resync(b []byte, i int, closed bool) int {
	for ; i < len(b); i++ {
		switch b[i] {
		case '\n':
			return i + 1
		case '{':
			if closed {
				return i
			}
		}
		closed = b[i] == '}'
	}
	return -1
}
