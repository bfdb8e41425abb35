package tls

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
)

const (
	// maxMessage bounds a handshake message that is read; a longer one is passed over. Chains of certificates are the
	// longest; servers send up to 20 KiB, and 64 KiB is where most clients stop reading.
	maxMessage = 64 << 10
	// maxChain bounds the certificates that a session keeps, by side. OpenSSL verifies chains of 100, real ones have
	// five; devices exist that send their whole store.
	maxChain = 100
	// maxHistory bounds the history. Zeek has the same number.
	maxHistory = 100
)

var (
	errDone      = errors.New("tls: nothing more to learn")
	errMalformed = errors.New("tls: malformed handshake message")
	errTooLong   = errors.New("tls: handshake message over 64 KiB")
	errUnknown   = errors.New("tls: unknown handshake message")
	errVersion   = errors.New("tls: no version of TLS")
)

// Handshake message types (RFC 8446 section 4, RFC 5246 section 7.4).
const (
	msgHelloRequest       = 0
	msgClientHello        = 1
	msgServerHello        = 2
	msgHelloVerifyRequest = 3
	msgNewSessionTicket   = 4
	msgCertificate        = 11
	msgServerKeyExchange  = 12
	msgCertificateRequest = 13
	msgServerHelloDone    = 14
	msgCertificateVerify  = 15
	msgClientKeyExchange  = 16
	msgFinished           = 20
	msgCertificateURL     = 21
	msgCertificateStatus  = 22
)

// letters of the history by message type, as the client's.
const letters = "HCSVT" + "......" + "XKRNYG" + "..." + "FWU"

// Handshake turns handshake messages, whatever carried them, into a Session. The zero value is not ready: NewHandshake.
type Handshake struct {
	ctx       decoders.Context
	certs     *store
	files     *file.Cache // nil: nobody wants files
	stapled   uint32      // answers about revocation so far
	s         *Session
	transport Transport
	history   []byte
	buf       [2][]byte // by direction: a message that came in pieces
	skip      [2]int    // octets still to come of a message that is too long to be read
	skipped   [2]uint8  // its type
	sessionID string    // of the client, padded to 32 bytes; "" if none worth comparing
	done      bool      // the session was emitted
	flipped   bool      // the originator is the server
	offeredT  bool      // the client offers a ticket and no session id
	offeredP  bool      // the client offers a pre-shared key
	keyed     bool      // the client has sent its key exchange
	confirmed bool
	sent      [2]int   // certificates by side, server first, those that were not kept too
	told      []string // weirds that were said: each once a handshake, lest one that repeats itself fills the log
	doubter   decoders.Doubter
	checked   *Handshake // what is read of it in packets with right checksums, if there are others
	silent    bool       // nothing is emitted
}

// NewHandshake starts one that emits into ctx.
func NewHandshake(ctx decoders.Context, t Transport) *Handshake {
	return &Handshake{ctx: ctx, certs: new(store), transport: t}
}

// begin opens the session at the first thing that belongs to it.
func (h *Handshake) begin() {
	if h.s == nil {
		h.s = &Session{At: h.ctx.At(), Transport: h.transport}
	}
}

// Finish emits the session, if there is one and it was not emitted.
func (h *Handshake) Finish() {
	if h.done || h.s == nil {
		h.done = true
		return
	}
	h.done = true
	s := h.s
	s.Flow = h.ctx.Flow()
	s.History = string(h.history)
	if len(s.Server) > 0 && s.ServerName != "" {
		s.NameChecked = true
		s.NameMatches = s.Server[0].Matches(s.ServerName)
	}
	h.buf = [2][]byte{}
	if c := h.checked; c != nil {
		c.Finish()
		s.From, s.checked = s.From|capture.Doubted, c.s
	}
	h.emit(s)
}

func (h *Handshake) emit(ev any) {
	if !h.silent {
		h.ctx.Emit(ev)
	}
}

// Established says that both sides encrypt, and emits.
func (h *Handshake) established() {
	h.begin()
	h.s.Established = true
	h.Finish()
}

func (h *Handshake) weird(name, addl string) {
	if !h.silent && !slices.Contains(h.told, name) {
		h.told = append(h.told, name)
		h.ctx.Weird(name, addl)
	}
}

// Settled says that the ServerHello was read, a HelloRetryRequest does not count: in TLS 1.3 all that follows is
// encrypted.
func (h *Handshake) Settled() bool { return h.done || h.s != nil && h.s.JA3S != "" }

// modern says that the server chose TLS 1.3, one of its drafts, or a number that only those who changed a draft use.
func (h *Handshake) modern() bool { return h.s != nil && h.s.Version > VersionTLS12 }

// client says whether dir is the client's.
func (h *Handshake) client(dir capture.Dir) bool { return (dir == capture.Orig) != h.flipped }

// mark adds to the history.
func (h *Handshake) mark(client bool, c byte) {
	h.begin()
	if len(h.history) >= maxHistory {
		return
	}
	if !client {
		c += 'a' - 'A'
	}
	h.history = append(h.history, c)
	if len(h.history) == maxHistory {
		h.weird("SSL_max_ssl_history_length_reached", "")
	}
}

// direct notes who the client is, by a message that only one side sends. Who it is may be the other way round than
// who opened the flow: active FTP, peers that found each other by STUN.
func (h *Handshake) direct(dir capture.Dir, byClient bool) {
	if h.client(dir) == byClient {
		return
	}
	if h.flipped {
		h.weird("SSL_unclear_connection_direction", "")
	}
	h.flipped = !h.flipped
	h.begin()
	if len(h.history) < maxHistory {
		h.history = append(h.history, '^')
	}
}

// Data takes the next bytes of the handshake messages of a direction, borrowed. Any error is final: the session has
// been emitted.
func (h *Handshake) Data(dir capture.Dir, b []byte) error {
	if h.done {
		return errDone
	}
	h.begin()
	if p := h.buf[dir]; len(p) > 0 {
		p = append(p, b...)
		used, err := h.messages(dir, p)
		if err != nil {
			return h.fail(err)
		}
		switch rest := p[used:]; {
		case len(rest) == 0:
			h.buf[dir] = nil // the next piece is seldom the beginning of another
		case used > 0:
			h.buf[dir] = append([]byte(nil), rest...)
		default:
			h.buf[dir] = p
		}
		return nil
	}
	used, err := h.messages(dir, b)
	if err != nil {
		return h.fail(err)
	}
	if used < len(b) {
		h.buf[dir] = append([]byte(nil), b[used:]...)
	}
	return nil
}

func (h *Handshake) fail(err error) error {
	h.Finish()
	return err
}

// messages reads the messages that are complete, and passes over those that are too long.
func (h *Handshake) messages(dir capture.Dir, b []byte) (used int, err error) {
	for {
		if h.skip[dir] > 0 {
			n := min(h.skip[dir], len(b)-used)
			used += n
			if h.skip[dir] -= n; h.skip[dir] > 0 {
				return used, nil
			}
			if err := h.note(dir, h.skipped[dir]); err != nil {
				return used, err
			}
		}
		m := b[used:]
		if len(m) < 4 {
			return used, nil
		}
		n := int(m[1])<<16 | int(m[2])<<8 | int(m[3])
		if n > maxMessage {
			h.weird("tls_handshake_message_too_long", strconv.Itoa(n))
			h.skip[dir], h.skipped[dir] = n, m[0]
			used += 4
			continue
		}
		if len(m) < 4+n {
			return used, nil
		}
		if err := h.message(dir, m[0], m[4:4+n]); err != nil {
			return used, err
		}
		used += 4 + n
	}
}

// note puts a message into the history that was not read.
func (h *Handshake) note(dir capture.Dir, typ uint8) error {
	letter := letterOf(typ)
	if letter == '.' {
		return errUnknown
	}
	h.mark(h.client(dir), letter)
	return nil
}

func letterOf(typ uint8) byte {
	if int(typ) < len(letters) {
		return letters[typ]
	}
	return '.'
}

// message reads one message.
func (h *Handshake) message(dir capture.Dir, typ uint8, body []byte) error {
	h.begin()
	var err error
	letter := letterOf(typ)
	if letter == '.' {
		return errUnknown
	}
	switch typ {
	case msgHelloRequest:
		h.direct(dir, false)
	case msgClientHello:
		h.direct(dir, true)
		err = h.clientHello(body)
	case msgServerHello:
		h.direct(dir, false)
		var retry bool
		if retry, err = h.serverHello(body); retry {
			letter = 'J'
		}
	case msgCertificate:
		err = h.certificates(h.client(dir), body)
	case msgServerKeyExchange:
		err = h.serverKeyExchange(body)
	case msgCertificateStatus:
		h.certificateStatus(dir, body)
	case msgClientKeyExchange:
		h.keyed = h.keyed || h.client(dir)
	}
	if err == errMalformed {
		return err
	}
	h.mark(h.client(dir), letter)
	return err
}

func (h *Handshake) clientHello(body []byte) error {
	var hello clientHello
	ok := hello.parse(body)
	s := h.s
	for _, t := range hello.oddNames {
		h.weird("ssl_ext_unknown_server_name_type", strconv.Itoa(int(t)))
	}
	if len(hello.names) > 0 {
		s.ServerName = hello.names[0]
		if len(s.ServerName) > maxServerName {
			s.ServerName = s.ServerName[:maxServerName]
			h.weird("tls_server_name_too_long", "")
		}
	}
	if len(hello.names) > 1 {
		h.weird("SSL_many_server_names", strconv.Itoa(len(hello.names)))
	}
	h.offeredT = h.offeredT || hello.ticket
	h.offeredP = h.offeredP || hello.psk
	if !ok {
		return errMalformed
	}
	if id := padID(hello.sessionID); id != "" {
		h.sessionID, h.offeredT = id, false
	}
	if !s.Hello { // a second one answers a HelloRetryRequest and says less of the client
		s.Hello = true
		s.Offered = hello.offered
		s.JA3, s.JA4 = hello.ja3(), hello.ja4(h.transport)
	}
	s.ECH = s.ECH || hello.ech
	if !versionOK(hello.version) {
		return errVersion
	}
	h.confirm()
	return nil
}

func (h *Handshake) confirm() {
	if h.confirmed {
		return
	}
	h.confirmed = true
	if h.silent {
		return
	}
	if h.transport == DTLS {
		h.ctx.Confirm("dtls")
	} else {
		h.ctx.Confirm("ssl")
	}
}

// padID makes session ids comparable as Zeek compares them: padded to 32 bytes, none if that is all zeros or longer.
func padID(id []byte) string {
	if len(id) > 32 {
		return ""
	}
	var p [32]byte
	copy(p[:], id)
	if p == [32]byte{} {
		return ""
	}
	return string(p[:])
}

func versionOK(v uint16) bool {
	switch v {
	case VersionSSL2, VersionSSL3, VersionTLS10, VersionTLS11, VersionTLS12, VersionTLS13,
		VersionDTLS10, VersionDTLS12, VersionDTLS13:
		return true
	}
	return v>>8 == 0x7F
}

func (h *Handshake) serverHello(body []byte) (retry bool, err error) {
	var hello serverHello
	ok := hello.parse(body)
	s := h.s
	if hello.selected != 0 {
		s.Version = hello.selected // RFC 8446 section 4.2.1: this counts, legacy_version does not
	}
	if hello.hasGroup {
		s.Curve, s.HasCurve = hello.group, true
	}
	if len(hello.chosen) > 0 {
		s.NextProto = hello.chosen[0]
	}
	if hello.psk && h.offeredP {
		s.Resumed = true
	}
	if !ok {
		return false, errMalformed
	}
	if s.Version == 0 {
		s.Version = hello.version
	}
	s.Cipher, s.Answered = uint32(hello.cipher), true
	if id := padID(hello.sessionID); id != "" && id == h.sessionID && !isDraft13(s.Version) && s.Version != VersionTLS13 {
		s.Resumed = true
	}
	if !hello.retry {
		s.JA3S = hello.ja3s()
	}
	if !versionOK(hello.version) {
		return hello.retry, errVersion
	}
	return hello.retry, nil
}

// certificates reads a Certificate message of TLS 1.2 and before (RFC 5246 section 7.4.2); that of TLS 1.3 is
// encrypted.
func (h *Handshake) certificates(client bool, body []byte) error {
	r := reader{b: body}
	list := reader{b: r.take(r.u24())}
	if r.bad {
		return errMalformed
	}
	for i := 0; len(list.b) > 0; i++ {
		der := list.take(list.u24())
		if list.bad {
			return errMalformed
		}
		if len(der) == 0 {
			h.weird("zero_length_certificate", "")
			continue
		}
		h.certificate(client, i == 0, der)
	}
	return nil
}

func (h *Handshake) certificate(client, host bool, der []byte) {
	h.s.Certified = true
	chain, sent := &h.s.Server, &h.sent[0]
	if client {
		chain, sent = &h.s.Client, &h.sent[1]
	}
	if *sent++; *sent > maxChain {
		h.weird("tls_certificate_chain_too_long", "")
		return
	}
	x := h.certs.get(der)
	if x == nil {
		h.weird("x509_cert_parse_error", "")
		return
	}
	*chain = append(*chain, x)
	if !h.silent {
		h.ctx.Emit(&Certificate{
			At: h.ctx.At(), Flow: h.ctx.Flow(), X509: x, Host: host, FromClient: client,
			From: capture.Doubted.When(h.checked != nil && h.doubter.Doubted()),
		})
	}
}

// certificateStatus takes the answer of an OCSP responder (RFC 6066 section 8), which is a file, as in Zeek.
func (h *Handshake) certificateStatus(dir capture.Dir, body []byte) {
	const ocsp = 1
	r := reader{b: body}
	if r.u8() != ocsp || h.files == nil {
		return
	}
	der := r.take(r.u24())
	if r.bad || len(der) == 0 || h.silent {
		return
	}
	var in file.Reader
	in.Open(h.files)
	in.Whole(h.ctx.At(), der)
	for _, f := range in.Close() {
		f.Flow, f.Source, f.Sender = h.ctx.Flow(), "SSL", dir
		f.ID = file.NewID(f.Flow, h.stapled, byte(dir))
		f.MIME = "application/ocsp-response"
		h.stapled++
		h.ctx.Emit(f)
	}
}

// serverKeyExchange takes the curve out of an ephemeral key exchange (RFC 8422 section 5.4). What is behind it is
// walked over to see that it is one.
func (h *Handshake) serverKeyExchange(body []byte) error {
	name := CipherName(h.s.Cipher)
	r := reader{b: body}
	signed := false
	switch {
	case !h.s.Answered:
		return nil
	case strings.HasPrefix(name, "TLS_ECDHE_"), strings.HasPrefix(name, "TLS_ECDH_ANON_"):
		if strings.HasPrefix(name, "TLS_ECDHE_PSK_") {
			r.vec16() // RFC 5489: a hint comes first
		}
		if r.u8() != 3 { // explicit parameters
			break
		}
		curve := r.u16()
		r.vec8()
		if r.bad {
			return errMalformed
		}
		h.s.Curve, h.s.HasCurve = curve, true
		signed = strings.HasPrefix(name, "TLS_ECDHE_RSA") || strings.HasPrefix(name, "TLS_ECDHE_ECDSA")
	case strings.HasPrefix(name, "TLS_DHE_RSA"), strings.HasPrefix(name, "TLS_DHE_DSS"):
		r.vec16()
		r.vec16()
		r.vec16()
		signed = true
	}
	if signed {
		if v := h.s.Version; v > VersionTLS11 && v != VersionDTLS10 {
			r.u16()
		}
		r.vec16()
	}
	if r.bad {
		return errMalformed
	}
	return nil
}

// changeCipherSpec is told by the record layer.
func (h *Handshake) changeCipherSpec(dir capture.Dir) {
	client := h.client(dir)
	h.mark(client, 'I')
	if client && h.offeredT && !h.keyed {
		h.s.Resumed = true
	}
}

// alert is told by the record layer, for alerts in the clear.
func (h *Handshake) alert(dir capture.Dir, desc uint8) {
	h.mark(h.client(dir), 'L')
	h.s.Alerted, h.s.LastAlert = true, desc
}
