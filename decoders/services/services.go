// Package services names, for the service column of conn.log, the protocols that raytap does not decode.
//
// In: the streams and datagrams that no decoder wanted. Out: names, said
// through Context.Confirm; no log of their own. What carries files is also read by the Options.Follow of its name, which
// gets what is used here from the message on that made the name likely, to the end of the stream. A conversation of FTP also announces its data connections
// (*capture.Expected); what they carried is a *capture.Awaited, of which at most 1 MiB is read unless it comes from port 20
// (Expect).
//
// A protocol is one line in the tables streams or datagrams. The bytes decide, and they are believed when Zeek's
// analyzer of the same name would confirm itself, so that the column says the same: SSH when keys were agreed, SMTP
// at a command and a reply, SNMP at an answer. A port is asked only where Zeek goes by the port alone and the bytes
// are ambiguous: NTP, RADIUS, Modbus, IMAP, and a lone command line that SMTP, FTP or IRC could have sent.
//
// After STARTTLS and its relatives the stream is given back to be probed afresh, so that the column says smtp,ssl.
//
// It reads the beginning of a conversation, as far as its line of the table says, and not behind a gap where messages
// are counted rather than marked. It does not see what Zeek's analyzers would take back later because of an error
// deep in the conversation, nor protocols inside encrypted ones. LDAP, QUIC, Redis, PostgreSQL and syslog, which Zeek
// reads only when built with Spicy, have no line here.
package services

import (
	"errors"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

const (
	// A greeting and a negotiation fit into this many bytes of each direction; the longest is an SSH key exchange with
	// certificates.
	shortTalk = 16 << 10
	// FTP arranges data connections all along, and SMB opens pipes between files. What is only stepped over counts too.
	longTalk = 1 << 20
	// Bytes that may wait for their message's end or for the other side. A fragment of DCE/RPC has 64 KiB at most, and
	// the machine that holds them gives up at 128 KiB, loudly.
	maxWaiting = 96 << 10
)

// errDone detaches: there is nothing more to learn, or it was something else.
var errDone = errors.New("services: nothing more to learn")

// probe is a protocol over streams.
type probe struct {
	name string
	// first judges the beginning of one direction, never empty.
	first func(dir capture.Dir, b []byte) decoders.Verdict
	open  func() reader
	limit int  // bytes of a direction that are read
	alone bool // the mark is so plain that one direction decides, whatever the other says
}

// reader follows the conversation of one protocol.
type reader interface {
	// read is Decode, but may use more than there is: what is missing is stepped over when it comes.
	read(c *conversation, dir capture.Dir, b []byte) (used int, err error)
	// gap says that bytes are missing before the next ones, and asks whether the reader finds its place again.
	gap(dir capture.Dir) bool
	// end says that nothing more comes of either direction.
	end(c *conversation)
}

// streams is the table. No two lines want the same first bytes but for the length that a message begins with.
var streams = [...]probe{
	{"smb", firstSMB, func() reader { return &smb{} }, longTalk, true},                     // MS-CIFS, MS-SMB2 behind RFC 1002 framing
	{"krb_tcp", firstKerberosTCP, func() reader { return kerberosTCP{} }, shortTalk, true}, // RFC 4120, 7.2.2
	{"dce_rpc", firstDCERPC, func() reader { return &dceRPC{} }, longTalk, false},          // C706, chapter 12; MS-RPCE
	{"rdp", firstRDP, func() reader { return &rdp{} }, shortTalk, false},                   // MS-RDPBCGR, 2.2.1; T.123, T.125
	{"mqtt", firstMQTT, func() reader { return mqtt{} }, shortTalk, true},                  // MQTT 3.1.1 and 5.0, 3.1
	{"dnp3_tcp", firstDNP3, func() reader { return dnp3{} }, shortTalk, true},              // IEEE 1815, 9.2
	{"ssh", firstSSH, func() reader { return &ssh{} }, 8 * shortTalk, false},               // RFC 4253; SSH 1.5
	{"rfb", firstRFB, func() reader { return &rfb{} }, shortTalk, false},                   // RFC 6143, 7.1.1
	{"xmpp", firstXMPP, func() reader { return &xmpp{} }, shortTalk, false},                // RFC 6120, 4 and 5
	{"mysql", firstMySQL, func() reader { return &mysql{} }, shortTalk, false},             // MySQL protocol, HandshakeV10
	{"modbus", firstModbus, func() reader { return modbus{} }, shortTalk, false},           // Modbus over TCP/IP V1.0b, 3.1.3
	{"smtp, ftp, pop3, imap, irc", firstLine, func() reader { return newLines() }, longTalk, false},
}

// Options say what is done besides naming. The zero value only names.
type Options struct {
	// Follow has, by the name of a protocol over streams, what reads on in a conversation once it has that name. What stands
	// under Text reads lines of any kind from their beginning, until they have a name: then it is dropped without an End.
	Follow map[string]func(decoders.Context) decoders.Follower
}

// Text is the name in Options.Follow for lines that nobody knows.
const Text = "text"

// Spec registers the decoder.
func Spec(opt Options) decoders.Spec {
	return decoders.Spec{
		Name: "services", Stream: probeStream, Datagram: probeDatagram, Any: true,
		After: []decoders.After{{Name: "bare", Why: "a file may begin with a line"}, {Name: "shell", Why: "a prompt is a line"}},
		New: func(ctx decoders.Context) decoders.Decoder {
			return &decoder{c: conversation{ctx: ctx, follow: opt.Follow}}
		},
	}
}

func probeStream(orig, resp []byte, _ bool) decoders.Verdict {
	wait := false
	for i := range streams {
		switch streams[i].judge(orig, resp) {
		case decoders.Yes:
			if !wait {
				return decoders.Yes
			}
		case decoders.Maybe:
			wait = true
		}
	}
	if wait {
		return decoders.Maybe
	}
	return decoders.No
}

// judge wants nothing against the protocol from either direction, unless one is enough.
func (p *probe) judge(orig, resp []byte) decoders.Verdict {
	best := decoders.No
	for d, b := range [2][]byte{orig, resp} {
		if len(b) == 0 {
			continue
		}
		switch v := p.first(capture.Dir(d), b); {
		case v == decoders.No && !p.alone:
			return decoders.No
		case best == decoders.No, v == decoders.Yes:
			best = v
		}
	}
	return best
}

// conversation is what readers know of the flow.
type conversation struct {
	ctx      decoders.Context
	flow     *capture.Flow
	follow   map[string]func(decoders.Context) decoders.Follower
	follower decoders.Follower
	nameless bool // follower is that of Text
	named    bool // a name was said
}

func (c *conversation) say(name string) {
	c.named = true
	c.ctx.Confirm(name)
	if c.nameless {
		c.follower, c.nameless = nil, false
	}
	c.begin(name)
}

// begin lets a follower read on, whether or not the name is certain.
func (c *conversation) begin(name string) {
	if open := c.follow[name]; open != nil && (c.follower == nil || c.nameless) {
		c.follower, c.nameless = open(c.ctx), name == Text
	}
}

// id is the flow's identity, which is fixed by asking: by now a decoder is chosen, and the direction with it.
func (c *conversation) id() *capture.Flow {
	if c.flow == nil {
		c.flow = c.ctx.Flow()
	}
	return c.flow
}

// port is the responder's.
func (c *conversation) port() uint16 { return c.id().Resp.Port() }

func (c *conversation) datagrams() bool { return c.id().Proto == capture.ProtoUDP }

type decoder struct {
	c     conversation
	r     reader
	dgram *datagramProbe
	seen  int     // datagrams; bytes of a direction that was passed over
	other [2]bool // directions that begin like nothing in the table
	left  [2]int  // bytes of each direction that may still be read
	skip  [2]int  // bytes of a message that nobody wants
	ended [2]bool
	given [2]int // by direction: bytes that a follower has and nobody used
	named bool   // there is nothing more to learn, but a follower goes on
}

// Decode implements decoders.Decoder.
func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	used, err := len(b), error(nil)
	was := d.c.follower
	if !d.named {
		used, err = d.read(dir, b)
	}
	f := d.c.follower
	if f != was {
		d.given = [2]int{} // what another has read of the lines at hand is new to this one
	}
	if f == nil {
		return used, err
	}
	if err == errDone {
		d.named, used, err = true, len(b), nil
	}
	// It gets segments as they come, for where they begin says something behind a loss.
	end := len(b)
	if err != nil {
		end = used
	}
	if given := d.given[dir]; end > given {
		f.Data(dir, b[given:end])
	}
	d.given[dir] = len(b) - used
	if err == nil && d.named && f.Done() {
		err = errDone
	}
	if err != nil { // the end of this protocol, or of all that is worth reading
		for i := range d.ended {
			if !d.ended[i] {
				f.End(capture.Dir(i))
			}
		}
	}
	return used, err
}

// Doubtful implements decoders.Doubtful: lines are not known before they have a name, nor is what begins like nothing here.
func (d *decoder) Doubtful() bool {
	if d.c.named || d.dgram != nil {
		return false
	}
	l, ok := d.r.(*lines)
	return d.r == nil || ok && !l.sure()
}

// Unwanted implements decoders.Skipper: where there is no name to learn any more, what no follower reads.
func (d *decoder) Unwanted(dir capture.Dir) int64 {
	if !d.named || d.dgram != nil || d.c.follower == nil || d.given[dir] > 0 || !decoders.IsSated(d.c.follower, dir) {
		return 0
	}
	return capture.Unending
}

// Passed implements decoders.Skipper.
func (d *decoder) Passed(capture.Dir, int64) {}

// read is Decode for the name's sake.
func (d *decoder) read(dir capture.Dir, b []byte) (int, error) {
	if d.dgram != nil || d.r == nil && d.c.datagrams() {
		return len(b), d.datagram(dir, b)
	}
	if d.r == nil {
		p, v := choose(dir, b)
		switch v {
		case decoders.No:
			d.other[dir] = true
			if d.seen += len(b); d.other[dir.Peer()] || d.seen > shortTalk {
				return 0, errDone
			}
			return len(b), nil
		case decoders.Maybe:
			if len(b) > shortTalk {
				return 0, errDone
			}
			return 0, nil
		}
		d.r, d.left = p.open(), [2]int{p.limit, p.limit}
		if _, text := d.r.(*lines); text {
			d.c.begin(Text)
		}
	}
	if n := min(d.skip[dir], len(b)); n > 0 {
		d.skip[dir] -= n
		return n, d.spend(dir, n)
	}
	used, err := d.r.read(&d.c, dir, b)
	if err != nil {
		return min(used, len(b)), err
	}
	if used > len(b) {
		d.skip[dir], used = used-len(b), len(b)
	}
	if used == 0 && len(b) > min(d.left[dir], maxWaiting) {
		d.r.end(&d.c)
		return 0, errDone
	}
	return used, d.spend(dir, used)
}

func (d *decoder) spend(dir capture.Dir, n int) error {
	if d.left[dir] -= n; d.left[dir] < 0 {
		d.r.end(&d.c)
		return errDone
	}
	return nil
}

// choose finds the line of the table for the beginning of one direction.
func choose(dir capture.Dir, b []byte) (*probe, decoders.Verdict) {
	v := decoders.No
	for i := range streams {
		switch streams[i].first(dir, b) {
		case decoders.Yes:
			if v == decoders.No {
				return &streams[i], decoders.Yes
			}
		case decoders.Maybe:
			v = decoders.Maybe
		}
	}
	return nil, v
}

// Gap implements decoders.Decoder.
func (d *decoder) Gap(dir capture.Dir, n int64) bool {
	d.given[dir] = 0 // what was not used is forgotten
	if d.dgram != nil {
		return true
	}
	if d.r == nil {
		return false
	}
	f := d.c.follower
	if f != nil {
		f.Gap(dir, n)
	}
	if d.named {
		return true
	}
	if n <= int64(d.skip[dir]) {
		d.skip[dir] -= int(n)
		return true
	}
	d.skip[dir] = 0
	if d.r.gap(dir) {
		return true
	}
	d.named = f != nil
	return d.named
}

// End implements decoders.Decoder.
func (d *decoder) End(dir capture.Dir) {
	d.ended[dir] = true
	if d.ended[0] && d.ended[1] && d.r != nil && !d.named {
		d.r.end(&d.c)
	}
	if d.c.follower != nil {
		d.c.follower.End(dir)
	}
}

// plain is embedded by readers that cannot find their place behind a gap and have nothing to say at the end.
type plain struct{}

func (plain) gap(capture.Dir) bool { return false }
func (plain) end(*conversation)    {}
