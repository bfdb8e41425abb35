// Package socks reads the negotiation of SOCKS 4, 4a and 5 (RFC 1928, RFC 1929).
//
// In: a TCP stream or a nested one, on any port. Out: one *Request per stream, which is the row of socks.log in
// Zeek's columns, as soon as the proxy has answered or said no, or at the end of the flow. After a success the decoder
// ends with decoders.ErrSwitch, so that what runs through the proxy is decoded as if there were none.
//
// With one direction missing it reads what there is: the request without its answer, the answer without its request.
//
// It does not see behind GSSAPI (method 1), nor the datagrams of UDP ASSOCIATE. Passwords are never kept.
package socks

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

var (
	errForm   = errors.New("socks: not the form of a negotiation")
	errSealed = errors.New("socks: behind an authentication method that encapsulates")
)

// Request is what a client asked of a proxy.
type Request struct {
	capture.At               // of the request, or of the log-in before it
	Flow       *capture.Flow // the originator is the client
	Version    int           // 4 or 5
	Command    Command
	User       string // "" if none
	Host       Address
	Port       uint16
	Replied    bool
	Status     string // Zeek's words: succeeded, general SOCKS server failure, ...; "" without an answer
	OK         bool   // the proxy did it
	Bound      Address
	BoundPort  uint16
}

// Address is an address or a name.
type Address struct {
	Addr netip.Addr
	Name string // bounded by its length byte; SOCKS 4a: by maxName
}

func (a Address) String() string {
	if a.Name != "" || !a.Addr.IsValid() {
		return a.Name
	}
	return a.Addr.String()
}

// Command is what is asked for.
type Command uint8

// Commands.
const (
	Connect   Command = 1
	Bind      Command = 2
	Associate Command = 3
)

func (c Command) String() string {
	switch c {
	case Connect:
		return "connect"
	case Bind:
		return "bind"
	case Associate:
		return "udp associate"
	}
	return ""
}

// Log implements capture.Record.
func (r *Request) Log() string { return "socks" }

// Row implements capture.Record. The column password is Zeek's and always empty.
func (r *Request) Row(f capture.Fields) {
	f.Time("ts", r.Time, r.Time != 0)
	r.Flow.ID(f)
	f.Count("version", uint64(r.Version), r.Version != 0)
	f.String("user", r.User, r.User != "")
	f.String("password", "", false)
	f.String("status", r.Status, r.Status != "")
	f.Addr("request.host", r.Host.Addr, r.Host.Addr.IsValid())
	f.String("request.name", r.Host.Name, r.Host.Name != "")
	f.Port("request_p", r.Port, r.Command != 0)
	f.Addr("bound.host", r.Bound.Addr, r.Bound.Addr.IsValid())
	f.String("bound.name", r.Bound.Name, r.Bound.Name != "")
	f.Port("bound_p", r.BoundPort, r.Replied)
}

// Spec registers the decoder.
func Spec() decoders.Spec {
	return decoders.Spec{Name: "socks", Stream: probe, New: func(ctx decoders.Context) decoders.Decoder { return &decoder{ctx: ctx} }}
}

const (
	// maxName bounds the user id and the host name of SOCKS 4a, which end with a zero byte: a name has at most 255.
	maxName = 256
	// maxMethods bounds the methods of a greeting when probing. Nine are assigned, private ones begin at 0x80; clients
	// offer one to four.
	maxMethods = 16
	// lonelyPackets of data behind a request, and not a byte from the server since the beginning, mean that the other
	// direction was not captured. Clients that do not wait for the answer send one or two.
	lonelyPackets = 3
)

func probe(orig, resp []byte, mid bool) decoders.Verdict {
	if len(orig) == 0 {
		return probeReply(resp, mid)
	}
	switch orig[0] {
	case 5:
		return probe5(orig, resp)
	case 4:
		return probe4(orig, resp, mid)
	}
	return decoders.No
}

// probe5 wants a greeting with known methods and a server that chooses one of them, or a request right behind.
func probe5(orig, resp []byte) decoders.Verdict {
	if len(orig) < 2 {
		return decoders.Maybe
	}
	n := int(orig[1])
	if n == 0 || n > maxMethods {
		return decoders.No
	}
	methods := orig[2:min(len(orig), 2+n)]
	for _, m := range methods {
		if m > 9 && m < 0x80 || m == 0xff {
			return decoders.No
		}
	}
	if len(resp) > 0 && resp[0] != 5 {
		return decoders.No
	}
	if len(methods) < n {
		return decoders.Maybe
	}
	if len(resp) >= 2 {
		if resp[1] == 0xff || bytes.IndexByte(methods, resp[1]) >= 0 {
			return decoders.Yes
		}
		return decoders.No
	}
	rest := orig[2+n:]
	if len(rest) == 0 {
		return decoders.Maybe
	}
	if rest[0] == 1 { // log-in sent along
		switch _, _, state := readAuth(rest); state {
		case bad:
			return decoders.No
		case more:
			return decoders.Maybe
		}
		return decoders.Yes
	}
	switch _, _, state := readAddressed(rest, 1, 3); state {
	case bad:
		return decoders.No
	case more:
		return decoders.Maybe
	}
	return decoders.Yes
}

// probe4 wants a request and an answer, or, where there is no other side, data behind a request.
func probe4(orig, resp []byte, mid bool) decoders.Verdict {
	r := Request{}
	n, state := read4(orig, &r)
	if state == bad || len(resp) > 0 && resp[0] != 0 || len(resp) > 1 && (resp[1] < 90 || resp[1] > 93) {
		return decoders.No
	}
	switch {
	case state == more:
		return decoders.Maybe
	case len(resp) >= 2:
		return decoders.Yes
	case len(orig) > n && !mid:
		return decoders.Yes
	}
	return decoders.Maybe
}

// probeReply knows SOCKS 5 by the server's two answers alone.
func probeReply(resp []byte, mid bool) decoders.Verdict {
	if mid || len(resp) == 0 || resp[0] != 5 || len(resp) > 1 && resp[1] != 0 {
		if len(resp) == 0 {
			return decoders.Maybe
		}
		return decoders.No
	}
	if len(resp) < 3 {
		return decoders.Maybe
	}
	switch _, _, state := readAddressed(resp[2:], 0, 8); state {
	case bad:
		return decoders.No
	case more:
		return decoders.Maybe
	}
	return decoders.Yes
}

// state is what became of a reading.
type state uint8

const (
	good state = iota
	more
	bad
)

// readAddressed reads what SOCKS 5 requests and replies have in common: version, a code of lo to hi, a zero,
// address, port (RFC 1928, 4 and 6). It returns the bytes used.
func readAddressed(b []byte, lo, hi byte) (at addressed, used int, s state) {
	if b[0] != 5 || len(b) > 1 && (b[1] < lo || b[1] > hi) || len(b) > 2 && b[2] != 0 {
		return at, 0, bad
	}
	if len(b) < 5 {
		if len(b) == 4 && b[3] != 1 && b[3] != 3 && b[3] != 4 {
			return at, 0, bad
		}
		return at, 0, more
	}
	at.code = b[1]
	size := 0
	from := 4
	switch b[3] {
	case 1:
		size = 4
	case 3:
		size = int(b[4])
		from = 5
	case 4:
		size = 16
	default:
		return at, 0, bad
	}
	if len(b) < from+size+2 {
		return at, 0, more
	}
	raw := b[from : from+size]
	if b[3] == 3 {
		at.host.Name = printable(raw)
	} else {
		at.host.Addr, _ = netip.AddrFromSlice(raw)
	}
	used = from + size + 2
	at.port = uint16(b[used-2])<<8 | uint16(b[used-1])
	return at, used, good
}

type addressed struct {
	code byte
	host Address
	port uint16
}

// readAuth reads RFC 1929's user and password; the password is stepped over.
func readAuth(b []byte) (user string, used int, s state) {
	if b[0] != 1 {
		return "", 0, bad
	}
	if len(b) < 2 {
		return "", 0, more
	}
	n := 2 + int(b[1])
	if len(b) < n+1 {
		return "", 0, more
	}
	used = n + 1 + int(b[n])
	if len(b) < used {
		return "", 0, more
	}
	return printable(b[2:n]), used, good
}

// read4 reads a SOCKS 4 or 4a request.
func read4(b []byte, r *Request) (used int, s state) {
	if b[0] != 4 || len(b) > 1 && b[1] != 1 && b[1] != 2 {
		return 0, bad
	}
	if len(b) < 9 {
		return 0, more
	}
	port := uint16(b[2])<<8 | uint16(b[3])
	a := netip.AddrFrom4([4]byte(b[4:8]))
	v4a := b[4] == 0 && b[5] == 0 && b[6] == 0 && b[7] != 0
	if port == 0 && b[1] == 1 || a.IsUnspecified() && b[1] == 1 {
		return 0, bad
	}
	user, used, s := zeroed(b, 8)
	if s != good {
		return 0, s
	}
	host := Address{Addr: a}
	if v4a {
		nm, n, s := zeroed(b, used)
		if s != good {
			return 0, s
		}
		if len(nm) == 0 {
			return 0, bad
		}
		used = n
		host = Address{Name: printable(nm)}
	}
	r.Version, r.Command, r.Host, r.Port, r.User = 4, Command(b[1]), host, port, printable(user)
	return used, good
}

// zeroed reads a printable string that ends with a zero byte.
func zeroed(b []byte, from int) (s []byte, next int, st state) {
	i := bytes.IndexByte(b[from:min(len(b), from+maxName)], 0)
	str := b[from:min(len(b), from+maxName)]
	if i >= 0 {
		str = str[:i]
	}
	for _, c := range str {
		if c < 0x20 || c >= 0x7f {
			return nil, 0, bad
		}
	}
	if i < 0 {
		if len(str) == maxName {
			return nil, 0, bad
		}
		return nil, 0, more
	}
	return str, from + i + 1, good
}

// printable makes dots of control characters and of what is no UTF-8.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == 0xfffd {
			return '.'
		}
		return r
	}, string(b))
}

type step uint8

// Each direction is read on its own: what comes next follows from its own bytes, so that a client that does not wait
// for answers and a missing direction need no case of their own.
const (
	hello   step = iota // client: greeting, or a SOCKS 4 request; server: choice of a method, or a SOCKS 4 reply
	login               // client: log-in or request; server: answer to the log-in
	asking              // client: request; server: reply
	waiting             // client: its data, which the reply decides upon
	passing             // nothing more to read: refused, or UDP ASSOCIATE
)

type decoder struct {
	ctx    decoders.Context
	r      Request
	step   [2]step
	heard  [2]bool
	ended  [2]bool
	begun  bool
	told   bool
	bound  bool   // BIND: the first of two replies was read
	lonely int    // packets with data behind a request that nobody answered
	last   uint64 // the last of them
}

// Decode implements decoders.Decoder.
func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	d.heard[dir] = true
	switch {
	case d.step[capture.Resp] == passing:
		return len(b), nil
	case dir == capture.Resp:
		return d.server(b)
	}
	return d.client(b)
}

func (d *decoder) begin() {
	if !d.begun {
		d.begun = true
		d.r.At = d.ctx.At()
	}
}

func (d *decoder) client(b []byte) (int, error) {
	step := &d.step[capture.Orig]
	switch *step {
	case hello:
		if b[0] == 4 {
			n, s := read4(b, &d.r)
			if s == good {
				d.begin()
				*step = waiting
			}
			return take(n, s)
		}
		if b[0] != 5 {
			return 0, errForm
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return 0, nil
		}
		d.r.Version = 5
		*step = login
		return 2 + int(b[1]), nil
	case login:
		if b[0] == 1 {
			user, n, s := readAuth(b)
			if s == good {
				d.begin()
				d.r.User = user
				*step = asking
			}
			return take(n, s)
		}
		fallthrough
	case asking:
		at, n, s := readAddressed(b, 1, 3)
		if s == good {
			d.begin()
			d.r.Command, d.r.Host, d.r.Port = Command(at.code), at.host, at.port
			*step = waiting
		}
		return take(n, s)
	}
	if d.heard[capture.Resp] {
		return 0, nil
	}
	if p := d.ctx.At().Packet; d.lonely == 0 || p != d.last {
		d.lonely, d.last = d.lonely+1, p
	}
	if d.lonely < lonelyPackets {
		return 0, nil
	}
	d.tell()
	return 0, decoders.ErrSwitch
}

// take turns a reading into Decode's answer.
func take(n int, s state) (int, error) {
	if s == bad {
		return 0, errForm
	}
	return n, nil
}

func (d *decoder) server(b []byte) (int, error) {
	step := &d.step[capture.Resp]
	if d.heard[capture.Orig] && (*step == asking || b[0] == 0) && d.step[capture.Orig] != waiting {
		return 0, nil // the request is still under way
	}
	switch *step {
	case hello:
		if b[0] == 0 && d.r.Version != 5 {
			d.r.Version = 4
			return d.reply(b)
		}
		if b[0] != 5 {
			return 0, errForm
		}
		if len(b) < 2 {
			return 0, nil
		}
		d.r.Version = 5
		switch b[1] {
		case 0:
			*step = asking
		case 2:
			*step = login
		case 0xff:
			d.refused("no acceptable methods")
		case 1:
			return 0, errSealed
		default:
			d.ctx.Weird("socks5_unsupported_authentication_method", strconv.Itoa(int(b[1])))
			return 0, errSealed
		}
		return 2, nil
	case login:
		if b[0] != 1 {
			return 0, errForm
		}
		if len(b) < 2 {
			return 0, nil
		}
		*step = asking
		if b[1] != 0 {
			d.refused(status(5, b[1]))
		}
		return 2, nil
	}
	return d.reply(b)
}

// refused ends the negotiation before there was a reply.
func (d *decoder) refused(why string) {
	d.step[capture.Resp] = passing
	d.begin()
	d.r.Status = why
	d.ctx.Confirm("socks")
	d.tell()
}

func (d *decoder) reply(b []byte) (int, error) {
	var n int
	var code byte
	if d.r.Version == 4 {
		if b[0] != 0 || len(b) > 1 && (b[1] < 90 || b[1] > 93) {
			return 0, errForm
		}
		if len(b) < 8 {
			return 0, nil
		}
		n, code = 8, b[1]
		d.r.BoundPort = uint16(b[2])<<8 | uint16(b[3])
		d.r.Bound = Address{Addr: netip.AddrFrom4([4]byte(b[4:8]))}
		d.r.OK = code == 90
	} else {
		at, used, s := readAddressed(b, 0, 255)
		if s != good {
			return take(used, s)
		}
		n, code = used, at.code
		d.r.Bound, d.r.BoundPort = at.host, at.port
		d.r.OK = code == 0
	}
	d.begin()
	d.r.Replied, d.r.Status = true, status(d.r.Version, code)
	d.ctx.Confirm("socks")
	d.tell()
	switch {
	case !d.r.OK, d.r.Command == Associate:
		d.step[capture.Resp] = passing
		return n, nil
	case d.r.Command == Bind && !d.bound:
		d.bound = true
		d.step[capture.Resp] = asking
		return n, nil
	}
	return n, decoders.ErrSwitch
}

// status gives Zeek's words for a code.
func status(version int, code byte) string {
	words := []string{"succeeded", "general SOCKS server failure", "connection not allowed by ruleset",
		"Network unreachable", "Host unreachable", "Connection refused", "TTL expired", "Command not supported",
		"Address type not supported"}
	i := int(code)
	if version == 4 {
		words = []string{"succeeded", "general SOCKS server failure", "request failed because client is not running identd",
			"request failed because client's identd could not confirm the user ID string in the request"}
		i -= 90
	}
	if i < 0 || i >= len(words) {
		return "unknown-" + strconv.Itoa(int(code))
	}
	return words[i]
}

func (d *decoder) tell() {
	if d.told || !d.begun {
		return
	}
	d.told = true
	r := d.r
	r.Flow = d.ctx.Flow()
	d.ctx.Emit(&r)
}

// Gap implements decoders.Decoder. A negotiation has a few bytes; with some of them missing it cannot be read.
func (d *decoder) Gap(capture.Dir, int64) bool {
	if d.step[capture.Resp] == passing {
		return true
	}
	d.tell()
	return false
}

// End implements decoders.Decoder.
func (d *decoder) End(dir capture.Dir) {
	d.ended[dir] = true
	if d.ended[0] && d.ended[1] {
		d.tell()
	}
}
