package services

import (
	"bytes"
	"net/netip"
	"strconv"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

const (
	// RFC 5321 and RFC 959 lines are far shorter; what is longer is not a command, and is stepped over.
	maxLine = 4 << 10
	// Zeek's FTP::max_command_length: a longer word is not a command.
	maxCommand = 100
)

// firstLine wants four characters of text, or a line.
func firstLine(_ capture.Dir, b []byte) decoders.Verdict {
	for i, c := range b[:min(len(b), 4)] {
		if c == '\n' && i > 0 {
			return decoders.Yes
		}
		if (c < 0x20 || c >= 0x7f) && c != '\r' && c != '\n' && c != '\t' {
			return decoders.No
		}
	}
	if len(b) < 4 {
		return decoders.Maybe
	}
	return decoders.Yes
}

// turn is what becomes of a conversation after a line.
type turn uint8

const (
	goOn   turn = iota
	await       // the client may go on in TLS, if the server agrees
	refuse      // it is not this protocol
	enough      // it is, and there is nothing more to learn
	toTLS       // it is, and TLS begins behind the line
)

// talk is a protocol of lines.
type talk interface {
	line(c *conversation, dir capture.Dir, l []byte) turn
	end(c *conversation)
}

// lines reads protocols of lines side by side until one of them remains: SMTP and FTP servers greet with the same
// words.
type lines struct {
	talks []talk
	ftp   *ftp
	count int     // bytes of both directions
	inner [2]bool // the next bytes are the rest of a line that was too long or that a gap cut
	wait  bool    // the server's answer decides what the client's next bytes are
}

func newLines() *lines {
	f := &ftp{}
	return &lines{talks: []talk{&smtp{}, f, &pop3{}, &imap{}, &irc{}}, ftp: f}
}

// sure says that it is one of them, if only because of its port.
func (r *lines) sure() bool {
	for _, t := range r.talks {
		switch t := t.(type) {
		case *smtp:
			if t.sure {
				return true
			}
		case *ftp:
			if t.sure {
				return true
			}
		}
	}
	return false
}

func (r *lines) read(c *conversation, dir capture.Dir, b []byte) (used int, err error) {
	if used, err = r.each(c, dir, b); err != nil {
		return used, err
	}
	// Of all these, only FTP has something to say later on.
	if r.count += used; r.count > 2*shortTalk && !r.ftp.sure {
		r.end(c)
		return used, errDone
	}
	return used, nil
}

func (r *lines) each(c *conversation, dir capture.Dir, b []byte) (used int, err error) {
	for {
		if r.wait && dir == capture.Orig {
			return used, nil
		}
		i := bytes.IndexByte(b[used:], '\n')
		if i < 0 {
			if len(b)-used > maxLine {
				r.inner[dir] = true
				used = len(b)
			}
			return used, nil
		}
		l := bytes.TrimRight(b[used:used+i], "\r")
		used += i + 1
		if r.inner[dir] || len(l) > maxLine {
			r.inner[dir] = false
			continue
		}
		r.wait = false
		live := r.talks[:0]
		for _, t := range r.talks {
			switch next := t.line(c, dir, l); next {
			case goOn, await:
				live = append(live, t)
				r.wait = r.wait || next == await
			case enough:
				return used, errDone
			case toTLS:
				return used, decoders.ErrSwitch
			}
		}
		if r.talks = live; len(live) == 0 {
			return used, errDone
		}
	}
}

func (r *lines) gap(dir capture.Dir) bool {
	r.inner[dir] = true
	return true
}

func (r *lines) end(c *conversation) {
	for _, t := range r.talks {
		t.end(c)
	}
}

// word splits the first word off a line, which may be indented.
func word(l []byte) (w, rest []byte) {
	l = bytes.TrimLeft(l, " \t")
	if i := bytes.IndexAny(l, " \t"); i >= 0 {
		return l[:i], bytes.TrimLeft(l[i:], " \t")
	}
	return l, nil
}

func is(w []byte, name string) bool {
	if len(w) != len(name) {
		return false
	}
	for i, c := range w {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}

func among(w []byte, names ...string) bool {
	for _, n := range names {
		if is(w, n) {
			return true
		}
	}
	return false
}

// reply reads a three-digit reply code. more is set when further lines belong to the reply.
func reply(l []byte) (code int, more, ok bool) {
	if len(l) < 3 {
		return 0, false, false
	}
	for _, c := range l[:3] {
		if c < '0' || c > '9' {
			return 0, false, false
		}
		code = code*10 + int(c-'0')
	}
	return code, len(l) > 3 && l[3] == '-', true
}

// smtp is RFC 5321. Zeek: a known command on ports 25 and 587, elsewhere EHLO or HELO behind a server's 220.
type smtp struct {
	heard    bool // the server said something
	greeted  bool // and that was 220
	hello    bool // the client greeted
	sure     bool
	startTLS bool
}

func (t *smtp) line(c *conversation, dir capture.Dir, l []byte) turn {
	if dir == capture.Resp {
		code, _, ok := reply(l)
		if !ok || code < 100 || code > 599 {
			return refuse
		}
		greeting := !t.heard
		if greeting {
			t.heard, t.greeted = true, code == 220
			t.sure = t.sure || t.hello && t.greeted
		}
		if t.sure {
			c.say("smtp")
		}
		if t.sure && t.startTLS && code == 220 && !greeting {
			return toTLS
		}
		if code >= 400 {
			t.startTLS = false
		}
		return goOn
	}
	w, _ := word(l)
	hello := among(w, "EHLO", "HELO")
	if !hello && !among(w, "MAIL", "RCPT", "DATA", "QUIT", "RSET", "VRFY", "EXPN", "HELP", "NOOP", "STARTTLS", "BDAT",
		"TURN", "SEND", "SOML", "SAML", "AUTH", "X-ANONYMOUSTLS") {
		return goOn
	}
	t.hello = t.hello || hello
	p := c.port()
	t.sure = t.sure || p == 25 || p == 587 || t.hello && t.greeted
	if t.sure {
		c.begin("smtp") // the server's side may not be captured
	}
	if t.sure && t.heard {
		c.say("smtp")
	}
	switch {
	case !t.sure && !t.hello:
	case among(w, "STARTTLS", "X-ANONYMOUSTLS"):
		t.startTLS = true
		return await
	case t.sure && t.heard && among(w, "RCPT", "DATA", "BDAT"):
		return enough // STARTTLS comes before the first mail, or not at all
	}
	return goOn
}

// end names the client whose server was not captured, or did not speak.
func (t *smtp) end(c *conversation) {
	if t.sure {
		c.say("smtp")
	}
}

// ftp is RFC 959, RFC 2428 and RFC 4217. Zeek: a command on ports 21 and 2811, elsewhere USER and, from the server,
// a greeting and the answer to a log-in.
type ftp struct {
	heard   bool
	greeted bool
	user    bool
	sure    bool
	said    bool
	authTLS bool
	passive bool
	multi   int // the code of a reply of several lines that is being given, or 0
}

func (t *ftp) line(c *conversation, dir capture.Dir, l []byte) turn {
	if len(l) == 0 {
		return goOn
	}
	if dir == capture.Resp {
		return t.reply(c, l)
	}
	w, arg := word(l)
	if len(w) < 3 || len(w) > maxCommand {
		return goOn
	}
	for _, b := range w {
		if b <= ' ' || b >= 0x7f {
			return goOn
		}
	}
	if p := c.port(); p == 21 || p == 2811 {
		t.sure = true
	}
	t.user = t.user || is(w, "USER")
	t.tell(c)
	switch {
	case is(w, "AUTH"):
		if t.authTLS = is(arg, "TLS"); t.authTLS {
			return await
		}
	case is(w, "PORT"):
		if a, ok := commaAddr(arg); ok {
			t.expect(c, c.id().Resp.Addr(), a)
		}
	case is(w, "EPRT"):
		if a, ok := extendedAddr(arg, netip.Addr{}); ok {
			t.expect(c, c.id().Resp.Addr(), a)
		}
	case among(w, "PASV", "EPSV"):
		t.passive = true
	}
	return goOn
}

func (t *ftp) reply(c *conversation, l []byte) turn {
	code, more, ok := reply(l)
	switch {
	case t.multi != 0:
		if !ok || code != t.multi || len(l) < 4 || l[3] != ' ' {
			return goOn
		}
		t.multi = 0
	case !ok || code < 100 || len(l) > 3 && l[3] != ' ' && l[3] != '-':
		return refuse
	case more:
		t.multi = code
	}
	if !t.heard {
		t.heard, t.greeted = true, code == 220 || code == 120
	}
	if t.greeted && t.user && (code == 230 || code == 331) {
		t.sure = true
	}
	t.tell(c)
	if more {
		return goOn
	}
	switch {
	case code == 234 && t.authTLS:
		return toTLS
	case code == 227 && t.passive:
		l = l[3:]
		if i := bytes.IndexByte(l, '('); i >= 0 {
			l = l[i+1:]
		} else if i := bytes.IndexAny(l, "0123456789"); i >= 0 {
			l = l[i:]
		}
		if a, ok := commaAddr(l); ok {
			t.expect(c, c.id().Orig.Addr(), a)
		}
	case code == 229 && t.passive:
		if i := bytes.IndexByte(l, '('); i >= 0 {
			if a, ok := extendedAddr(l[i+1:], c.id().Resp.Addr()); ok {
				t.expect(c, c.id().Orig.Addr(), a)
			}
		}
	}
	return goOn
}

func (t *ftp) tell(c *conversation) {
	if t.sure && t.heard && !t.said {
		t.said = true
		c.say("ftp")
	}
}

func (t *ftp) end(c *conversation) {
	if t.sure {
		c.say("ftp")
	}
}

func (t *ftp) expect(c *conversation, orig netip.Addr, resp netip.AddrPort) {
	if t.sure {
		c.ctx.Emit(&capture.Expected{At: c.ctx.At(), Flow: c.id(), Orig: orig, Resp: resp, Service: ftpData})
	}
}

// commaAddr reads h1,h2,h3,h4,p1,p2 (RFC 959, 4.1.2), whatever follows.
func commaAddr(b []byte) (netip.AddrPort, bool) {
	var n [6]byte
	for i := range n {
		j := 0
		for j < len(b) && j < 3 && b[j] >= '0' && b[j] <= '9' {
			j++
		}
		v, err := strconv.ParseUint(string(b[:j]), 10, 8)
		if err != nil {
			return netip.AddrPort{}, false
		}
		n[i] = byte(v)
		if b = b[j:]; i < 5 {
			if len(b) == 0 || b[0] != ',' {
				return netip.AddrPort{}, false
			}
			b = b[1:]
		}
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[:4])), uint16(n[4])<<8|uint16(n[5])), true
}

// extendedAddr reads |family|address|port| with any delimiter (RFC 2428, 2); same stands in for an address left out.
func extendedAddr(b []byte, same netip.Addr) (netip.AddrPort, bool) {
	if len(b) == 0 {
		return netip.AddrPort{}, false
	}
	f := bytes.SplitN(b, b[:1], 5)
	if len(f) < 5 {
		return netip.AddrPort{}, false
	}
	port, err := strconv.ParseUint(string(f[3]), 10, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	if len(f[2]) > 0 {
		if same, err = netip.ParseAddr(string(f[2])); err != nil {
			return netip.AddrPort{}, false
		}
		same = same.WithZone("")
	}
	return netip.AddrPortFrom(same, uint16(port)), same.IsValid()
}

// pop3 is RFC 1939 and RFC 2595. Zeek: +OK as a greeting and as the answer to USER, CAPA or STLS.
type pop3 struct {
	greeted  bool
	said     bool
	asked    bool // USER or CAPA
	login    bool
	startTLS bool
}

func (t *pop3) line(c *conversation, dir capture.Dir, l []byte) turn {
	if dir == capture.Orig {
		switch w, _ := word(l); {
		case among(w, "USER", "CAPA"):
			t.asked = true
			if t.greeted {
				c.begin("pop3")
			}
		case is(w, "STLS"):
			t.startTLS = true
			return await
		case among(w, "PASS", "APOP"):
			t.login = true
		}
		return goOn
	}
	ok := bytes.HasPrefix(l, []byte("+OK"))
	switch {
	case !t.greeted && !ok:
		return refuse
	case !t.greeted:
		t.greeted = true
	case ok && (t.asked || t.startTLS):
		t.said = true
		c.say("pop3")
		if t.startTLS {
			return toTLS
		}
		if t.login {
			return enough
		}
	case bytes.HasPrefix(l, []byte("-ERR")):
		t.startTLS = false
	}
	return goOn
}

func (t *pop3) end(*conversation) {}

// imap is RFC 3501. Zeek has it on port 143 only: an untagged OK, or CAPABILITY or STARTTLS of the client.
type imap struct {
	tag  string // of STARTTLS
	said bool
}

func (t *imap) line(c *conversation, dir capture.Dir, l []byte) turn {
	tag, rest := word(l)
	cmd, _ := word(rest)
	if !t.said {
		if !(dir == capture.Resp && is(tag, "*") && is(cmd, "OK") || dir == capture.Orig && among(cmd, "CAPABILITY", "STARTTLS")) {
			return goOn
		}
		if c.port() != 143 {
			return refuse
		}
		t.said = true
		c.say("imap")
	}
	switch {
	case dir == capture.Resp:
		if t.tag != "" && string(tag) == t.tag {
			if is(cmd, "OK") {
				return toTLS
			}
			t.tag = ""
		}
	case is(cmd, "STARTTLS"):
		t.tag = string(tag[:min(len(tag), maxCommand)])
		return await
	case among(cmd, "AUTHENTICATE", "LOGIN", "SELECT", "EXAMINE", "FETCH"):
		return enough
	}
	return goOn
}

func (t *imap) end(*conversation) {}

// irc is RFC 2812. Zeek: a line of the client on ports 6666 to 6669, elsewhere NICK and USER and a numeric reply.
type irc struct {
	nick, user, server, said bool
	startTLS                 bool
}

func (t *irc) line(c *conversation, dir capture.Dir, l []byte) turn {
	l = bytes.TrimLeft(l, " ")
	if len(l) < 3 {
		return goOn
	}
	prefixed := l[0] == ':'
	if prefixed {
		_, l = word(l)
	}
	w, _ := word(l)
	if dir == capture.Resp {
		code, _, ok := reply(w)
		if !ok || len(w) != 3 {
			return goOn
		}
		t.server = true
		t.tell(c)
		switch {
		case code == 670 && t.startTLS:
			return toTLS
		case code == 1 && t.said:
			return enough
		}
		return goOn
	}
	if !command(w) {
		return goOn
	}
	t.nick = t.nick || is(w, "NICK")
	t.user = t.user || is(w, "USER")
	if p := c.port(); p >= 6666 && p <= 6669 {
		t.nick, t.user, t.server = true, true, true
	}
	t.tell(c)
	if is(w, "STARTTLS") {
		t.startTLS = true
		return await
	}
	return goOn
}

func (t *irc) tell(c *conversation) {
	if t.nick && t.user && t.server && !t.said {
		t.said = true
		c.say("irc")
	}
}

func (t *irc) end(*conversation) {}

// command is letters (RFC 2812, 2.3.1; numbers are for replies).
func command(w []byte) bool {
	for _, b := range w {
		if b |= 0x20; b < 'a' || b > 'z' {
			return false
		}
	}
	return len(w) > 1
}
