package services

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// host is a flow to a given port that remembers what it was called.
type host struct {
	flow     capture.Flow
	services []string
	events   []any
}

func newHost(proto uint8, port uint16) *host {
	return &host{flow: capture.Flow{
		UID: "CTestTestTestTest01", Start: 1_700_000_000e9, Proto: proto,
		Orig: netip.MustParseAddrPort("10.0.0.1:40000"), Resp: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), port),
	}}
}

func (h *host) Flow() *capture.Flow { return &h.flow }
func (h *host) At() capture.At      { return capture.At{Time: h.flow.Start + 1e9, Packet: 1} }
func (h *host) Emit(ev any)         { h.events = append(h.events, ev) }
func (h *host) Refute(string)       {}
func (h *host) Skip()               {}
func (h *host) Flip() bool          { return false }
func (h *host) Service(s string) {
	if !slices.Contains(h.services, s) {
		h.services = append(h.services, s)
	}
}

// step is what one side sends; a gap before it if it is marked so.
type step struct {
	dir  capture.Dir
	data string
	gap  int64
}

func c(s string) step { return step{dir: capture.Orig, data: s} }
func s(x string) step { return step{dir: capture.Resp, data: x} }

// tls stands in for the decoder of what follows STARTTLS: a record of TLS is enough for it.
func tls() decoders.Spec {
	return decoders.Spec{
		Name: "ssl",
		Stream: func(orig, resp []byte, _ bool) decoders.Verdict {
			if len(orig) == 0 {
				orig = resp
			}
			return begins(orig, "\x16\x03")
		},
		New: func(ctx decoders.Context) decoders.Decoder {
			ctx.Confirm("ssl")
			return silent{}
		},
	}
}

type silent struct{}

func (silent) Decode(_ capture.Dir, b []byte) (int, error) { return len(b), nil }
func (silent) Gap(capture.Dir, int64) bool                 { return true }
func (silent) End(capture.Dir)                             {}

// talkTo feeds the steps to the engine's machine and returns the names and the events. Buffers are overwritten after
// use; with a random source the steps are cut.
func talkTo(port uint16, cut *rand.Rand, steps ...step) (names string, events []any) {
	h := newHost(capture.ProtoTCP, port)
	m := decoders.NewMux(h, []decoders.Spec{tls(), Spec(Options{})}, false)
	for _, st := range steps {
		if st.gap > 0 {
			m.Gap(st.dir, st.gap)
		}
		for b := []byte(st.data); len(b) > 0; {
			n := len(b)
			if cut != nil {
				n = 1 + cut.IntN(min(n, 1<<cut.IntN(10)))
			}
			piece := slices.Clone(b[:n])
			m.Data(st.dir, piece)
			for i := range piece {
				piece[i] = 0xaa
			}
			b = b[n:]
		}
	}
	m.Finish()
	slices.Sort(h.services)
	return strings.Join(h.services, ","), h.events
}

func be16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }
func be32(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
func le16(n int) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(n))) }
func le32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }

// der is an ASN.1 element.
func der(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	if len(body) < 0x80 {
		return string([]byte{tag, byte(len(body))}) + body
	}
	return string([]byte{tag, 0x82}) + be16(len(body)) + body
}

// framed has a NetBIOS session header or the length of Kerberos before it.
func framed(m string) string { return be32(len(m)) + m }

// smb2 is a message of SMB 2 with a body.
func smb2(cmd int, answer bool, body string) string {
	flags := 0
	if answer {
		flags = 1
	}
	return framed("\xfeSMB" + le16(64) + le16(0) + le32(0) + le16(cmd) + le16(1) + le32(flags) + strings.Repeat("\x00", 44) + body)
}

// setup2 is an SMB 2 session setup with a token.
func setup2(answer bool, token string) string {
	if answer {
		return smb2(1, true, le16(9)+le16(0)+le16(64+8)+le16(len(token))+token)
	}
	return smb2(1, false, le16(25)+"\x00\x01"+le32(1)+le32(0)+le16(64+24)+le16(len(token))+strings.Repeat("\x00", 8)+token)
}

// smb1 is a message of SMB 1.
func smb1(cmd byte, answer bool, words, data string) string {
	flags := "\x08"
	if answer {
		flags = "\x88"
	}
	return framed("\xffSMB" + string([]byte{cmd}) + le32(0) + flags + le16(0xc801) + strings.Repeat("\x00", 20) +
		string([]byte{byte(len(words) / 2)}) + words + le16(len(data)) + data)
}

// pdu is a DCE/RPC fragment, little-endian, with an authentication trailer if there is a token.
func pdu(kind byte, auth byte, token, body string) string {
	trailer := ""
	if token != "" {
		trailer = string([]byte{auth, 2, 0, 0}) + le32(0) + token
	}
	return "\x05\x00" + string([]byte{kind}) + "\x03\x10\x00\x00\x00" + le16(16+len(body)+len(trailer)) + le16(len(token)) + le32(1) +
		body + trailer
}

const (
	ntlmToken = "NTLMSSP\x00\x01\x00\x00\x00\x07\x82\x08\xa2\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	spnegoOID = "\x06\x06\x2b\x06\x01\x05\x05\x02"
	kerbOID   = "\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"
)

var (
	asREQ = der(0x6a, der(0x30, "\xa1\x03\x02\x01\x05", "\xa2\x03\x02\x01\x0a", der(0xa4, der(0x30, strings.Repeat("x", 150)))))
	apREQ = der(0x6e, der(0x30, "\xa0\x03\x02\x01\x05", "\xa1\x03\x02\x01\x0e", der(0xa2, "\x03\x05\x00\x00\x00\x00\x00")))

	spnegoNTLM = der(0x60, spnegoOID, der(0xa0, der(0x30, der(0xa0, der(0x30, kerbOID)), der(0xa2, der(0x04, ntlmToken)))))
	spnegoKerb = der(0x60, spnegoOID, der(0xa0, der(0x30, der(0xa0, der(0x30, kerbOID)), der(0xa2, der(0x04, der(0x60, kerbOID, "\x01\x00", apREQ))))))
	spnegoBare = der(0x60, spnegoOID, der(0xa0, der(0x30, der(0xa0, der(0x30, kerbOID)), der(0xa2, der(0x04, apREQ)))))
	spnegoResp = der(0xa1, der(0x30, der(0xa0, "\x0a\x01\x01"), der(0xa2, der(0x04, ntlmToken))))
	spnegoHint = der(0x60, spnegoOID, der(0xa0, der(0x30, der(0xa0, der(0x30, kerbOID)))))

	bind = pdu(11, 0, "", strings.Repeat("\x00", 56))

	// link is a DNP3 header with its sum.
	link = func() string {
		h := "\x05\x64\x05\xc0\x01\x00\x00\x04"
		return h + le16(int(dnp3Sum([]byte(h))))
	}()

	clientHello = "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
	serverHello = "\x16\x03\x03\x00\x05\x02\x00\x00\x01\x00"

	mysqlHello = func() string {
		b := "\x0a8.0.36\x00" + le32(7) + "abcdefgh\x00" + le16(0xffff) + "\xff" + le16(2) + le16(0xdfff) + "\x15" + strings.Repeat("\x00", 10) + "ijklmnopqrst\x00caching_sha2_password\x00"
		return string([]byte{byte(len(b)), 0, 0, 0}) + b
	}()
	rdpAsk    = "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x00\x00\x00\x00"
	rdpAnswer = "\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x00\x08\x00\x00\x00\x00\x00"
	rdpTLS    = "\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x00\x08\x00\x01\x00\x00\x00"
	rdpMCS    = "\x03\x00\x00\x40\x02\xf0\x80\x7f\x65" + strings.Repeat("\x00", 30) + "Duca" + strings.Repeat("\x00", 21)
	sshPacket = func(kind byte) string { return be32(12) + "\x0a" + string([]byte{kind}) + strings.Repeat("\x00", 10) }
)

// mysqlLogin is a handshake response with capability flags.
func mysqlLogin(flags int) string {
	b := le32(flags) + le32(1<<24) + "\x21" + strings.Repeat("\x00", 23)
	if flags&0x800 == 0 {
		b += "root\x00\x00"
	}
	return string([]byte{byte(len(b)), 0, 0, 1}) + b
}

// TestStreams has, for each line of the table, what it names and the near misses that it must not name.
func TestStreams(t *testing.T) {
	for _, tc := range []struct {
		name  string
		port  uint16
		want  string
		steps []step
	}{
		{"SSH, keys agreed", 2222, "ssh", []step{s("SSH-2.0-OpenSSH_9.7\r\n"), c("SSH-2.0-Go\r\n" + sshPacket(20)), s(sshPacket(20) + sshPacket(31) + sshPacket(21))}},
		{"SSH, hung up before keys", 22, "", []step{s("SSH-2.0-OpenSSH_9.7\r\n"), c("SSH-2.0-Go\r\n" + sshPacket(20)), s(sshPacket(20))}},
		{"SSH, only the server", 22, "", []step{s("SSH-2.0-OpenSSH_9.7\r\n" + sshPacket(21))}},
		{"SSH 1 session key", 22, "ssh", []step{s("SSH-1.5-old\n" + be32(9) + strings.Repeat("\x00", 7) + "\x02" + strings.Repeat("\x00", 8)), c("SSH-1.5-old\n" + be32(9) + strings.Repeat("\x00", 7) + "\x03" + strings.Repeat("\x00", 8))}},
		{"SSH of no version", 22, "", []step{s("SSH-9.0-x\r\n"), c("SSH-9.0-x\r\n" + sshPacket(21))}},

		{"RFB", 5901, "rfb", []step{s("RFB 003.008\n"), c("RFB 003.008\n"), s("\x01\x01")}},
		{"RFB, the client answers something else", 5900, "", []step{s("RFB 003.008\n"), c("GET / HTTP/1.0\r\n")}},
		{"RFB, no client", 5900, "", []step{s("RFB 003.008\n")}},

		{"SMB 2 negotiation", 445, "gssapi,smb", []step{c(smb2(0, false, strings.Repeat("\x00", 36))), s(smb2(0, true, strings.Repeat("\x00", 56)+le16(128)+le16(len(spnegoHint))+le32(0)+spnegoHint))}},
		{"SMB 2 log-on with NTLM in SPNEGO", 445, "gssapi,ntlm,smb", []step{c(setup2(false, spnegoNTLM)), s(setup2(true, spnegoResp))}},
		{"SMB 2 log-on with NTLM alone", 445, "ntlm,smb", []step{c(setup2(false, ntlmToken))}},
		{"SMB 2 log-on with Kerberos", 445, "gssapi,krb,smb", []step{c(setup2(false, spnegoKerb))}},
		{"SMB 1 log-on", 139, "gssapi,ntlm,smb", []step{
			c("\x81\x00\x00\x44\x20" + strings.Repeat("A", 67)), s("\x82\x00\x00\x00"),
			c(smb1(0x73, false, strings.Repeat("\x00", 14)+le16(len(spnegoNTLM))+strings.Repeat("\x00", 8), spnegoNTLM)),
		}},
		{"SMB 2 pipe", 445, "dce_rpc,smb", []step{c(smb2(9, false, le16(49)+le16(64+48)+le32(len(bind))+strings.Repeat("\x00", 40)+bind))}},
		{"SMB 2 file that begins like a call", 445, "smb", []step{c(smb2(9, false, le16(49)+le16(64+48)+le32(24)+strings.Repeat("\x00", 40)+pdu(0, 0, "", "12345678")))}},
		{"SMB 1 write into a pipe", 445, "dce_rpc,smb", []step{c(smb1(0x2f, false, strings.Repeat("\x00", 20)+le16(len(bind))+le16(32+1+24+2), bind))}},
		{"SMB 3 encrypted, picked up late", 445, "smb", []step{c(framed("\xfdSMB" + strings.Repeat("\x5a", 60)))}},
		{"SMB token that promises more than there is", 445, "smb", []step{c(smb2(1, false, le16(25)+"\x00\x01"+le32(1)+le32(0)+le16(0xffff)+le16(0xffff)+strings.Repeat("\x00", 8)))}},
		{"SMB of another letter", 445, "", []step{c(framed("\xfeSMC" + strings.Repeat("\x00", 64)))}},

		{"DCE/RPC", 135, "dce_rpc", []step{c(bind), s(pdu(12, 0, "", strings.Repeat("\x00", 44)))}},
		{"DCE/RPC, NTLM", 49155, "dce_rpc,ntlm", []step{c(pdu(11, 10, ntlmToken, strings.Repeat("\x00", 56)))}},
		{"DCE/RPC, Kerberos in SPNEGO", 49155, "dce_rpc,gssapi,krb", []step{c(pdu(11, 9, spnegoBare, strings.Repeat("\x00", 56)))}},
		{"DCE/RPC, not a whole fragment", 135, "", []step{c(bind[:40])}},
		{"DCE/RPC of minor version 2", 135, "", []step{c("\x05\x02" + bind[2:])}},
		{"DCE/RPC, authentication longer than the fragment", 135, "dce_rpc", []step{c(bind[:10] + "\xff\xff" + bind[12:])}},

		{"Kerberos", 8888, "krb_tcp", []step{c(framed(asREQ))}},
		{"Kerberos of version 4", 88, "", []step{c(framed(strings.Replace(asREQ, "\xa1\x03\x02\x01\x05", "\xa1\x03\x02\x01\x04", 1)))}},
		{"Kerberos with a type that is not the tag's", 88, "", []step{c(framed(strings.Replace(asREQ, "\xa2\x03\x02\x01\x0a", "\xa2\x03\x02\x01\x0b", 1)))}},

		{"MQTT 3.1", 1884, "mqtt", []step{c("\x10\x25\x00\x06MQIsdp\x03\x02" + strings.Repeat("\x00", 27)), s("\x20\x02\x00\x00")}},
		{"MQTT 5 with a long head", 1883, "mqtt", []step{c("\x10\x9a\x02\x00\x04MQTT\x05" + strings.Repeat("\x00", 200))}},
		{"MQTT, length of five bytes", 1883, "", []step{c("\x10\xff\xff\xff\xff\x00\x00\x04MQTT")}},
		{"MQTT of another name", 1883, "", []step{c("\x10\x0c\x00\x04MQTX\x04\x02\x00\x3c\x00\x00")}},

		{"DNP3", 20001, "dnp3_tcp", []step{c(link)}},
		{"DNP3 behind a loss, from the server", 20000, "dnp3_tcp", []step{s(link), c("\x05\x05\x11\xc4\x04\x00\x03\x00")}},
		{"DNP3 with a wrong sum", 20000, "", []step{c(link[:9] + "\x00")}},

		{"Modbus", 502, "modbus", []step{c("\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x0a")}},
		{"Modbus on another port", 503, "", []step{c("\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x0a")}},
		{"Modbus of another protocol number", 502, "", []step{c("\x00\x01\x00\x01\x00\x06\x01\x03\x00\x00\x00\x0a")}},
		{"Modbus that is not there as a whole", 502, "", []step{c("\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00")}},

		{"MySQL", 3307, "mysql", []step{s(mysqlHello), c(mysqlLogin(0xa685)), s("\x07\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00")}},
		{"MySQL with TLS", 3306, "mysql,ssl", []step{s(mysqlHello), c(mysqlLogin(0xae85)), c(clientHello), s(serverHello)}},
		{"MySQL, nobody logs on", 3306, "", []step{s(mysqlHello)}},
		{"MySQL, not a version", 3306, "", []step{s("\x4a\x00\x00\x00\x0a\x01\x02\x03" + strings.Repeat("\x00", 70)), c(mysqlLogin(0xa685))}},

		{"RDP", 3390, "rdp", []step{c(rdpAsk), s(rdpAnswer), c(rdpMCS)}},
		{"RDP in TLS", 3389, "ssl", []step{c(rdpAsk), s(rdpTLS), c(clientHello), s(serverHello)}},
		{"X.224 that is not RDP", 102, "", []step{c(rdpAsk), s(rdpAnswer), c("\x03\x00\x00\x19\x02\xf0\x80\x32\x01\x00\x00\x04\x00\x00\x08\x00\x00\xf0\x00\x00\x01\x00\x01\x01\xe0")}},

		{"XMPP", 5280, "xmpp", []step{c("<?xml version='1.0'?><stream:stream to='x' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")}},
		{"XMPP with TLS", 5222, "ssl,xmpp", []step{
			c("<stream:stream to='x' xmlns='jabber:client'>"), s("<stream:stream from='x' xmlns='jabber:client'><stream:features><starttls/></stream:features>"),
			c("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), s("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), c(clientHello), s(serverHello),
		}},
		{"XML that is not XMPP", 5222, "", []step{c("<?xml version='1.0'?><policy-file-request/>\x00")}},

		{"SMTP", 2525, "smtp", []step{s("220 mail.example ESMTP\r\n"), c("EHLO me\r\n"), s("250 hello\r\n")}},
		{"SMTP whose client hangs up on port 25", 25, "smtp", []step{c("QUIT\r\n")}},
		{"SMTP, a command that is none", 25, "", []step{s("220 mail.example\r\n"), c("XYZZY\r\n")}},
		{"SMTP with TLS", 587, "smtp,ssl", []step{s("220 m\r\n"), c("EHLO me\r\n"), s("250-m\r\n250 STARTTLS\r\n"), c("STARTTLS\r\n"), s("220 go\r\n"), c(clientHello), s(serverHello)}},
		{"SMTP, TLS refused", 587, "smtp", []step{s("220 m\r\n"), c("EHLO me\r\n"), s("250 m\r\n"), c("STARTTLS\r\n"), s("454 no\r\n"), c("MAIL FROM:<a@b>\r\n"), s("250 ok\r\n")}},
		{"a greeting that SMTP and FTP share, and no more", 2121, "", []step{s("220 ready\r\n")}},

		{"FTP", 2121, "ftp", []step{s("220 ready\r\n"), c("USER x\r\n"), s("331 and the password?\r\n")}},
		{"FTP greeting without a log-in", 2121, "", []step{s("220 ready\r\n"), c("FEAT\r\n"), s("211 end\r\n")}},
		{"FTP on its port", 21, "ftp", []step{s("220-first\r\nand more\r\n220 last\r\n"), c("FEAT\r\n"), s("211 end\r\n")}},
		{"FTP port where the server speaks SSH", 21, "", []step{s("Hello\r\n"), c("HELP\r\n")}},
		{"FTP with TLS", 21, "ftp,ssl", []step{s("220 ready\r\n"), c("AUTH TLS\r\n"), s("234 go\r\n"), c(clientHello), s(serverHello)}},

		{"POP3", 1110, "pop3", []step{s("+OK ready\r\n"), c("USER x\r\n"), s("+OK\r\n")}},
		{"POP3 that refuses the user", 110, "", []step{s("+OK ready\r\n"), c("USER x\r\n"), s("-ERR\r\n")}},
		{"POP3 with TLS", 110, "pop3,ssl", []step{s("+OK ready\r\n"), c("STLS\r\n"), s("+OK go\r\n"), c(clientHello), s(serverHello)}},
		{"Redis, which says +OK too", 6379, "", []step{c("*1\r\n$7\r\nFLUSHDB\r\n"), s("+OK\r\n"), c("*1\r\n$4\r\nPING\r\n"), s("+PONG\r\n")}},

		{"IMAP", 143, "imap", []step{s("* OK ready\r\n"), c("a LOGIN x y\r\n")}},
		{"IMAP on another port", 1143, "", []step{s("* OK ready\r\n"), c("a LOGIN x y\r\n")}},
		{"IMAP with TLS", 143, "imap,ssl", []step{s("* OK ready\r\n"), c("a1 STARTTLS\r\n"), s("a1 OK go\r\n"), c(clientHello), s(serverHello)}},

		{"IRC", 7000, "irc", []step{c("NICK a\r\nUSER a 0 * :a\r\n"), s(":irc.example 001 a :welcome\r\n")}},
		{"IRC without a reply", 7000, "", []step{c("NICK a\r\nUSER a 0 * :a\r\n"), s("who are you?\r\n")}},
		{"IRC on its port", 6667, "irc", []step{c("CAP LS\r\n")}},
		{"IRC port, a number from the client", 6667, "", []step{c("353 \n")}},
		{"IRC with TLS", 6667, "irc,ssl", []step{c("STARTTLS\r\n"), s(":irc.example 670 * :go\r\n"), c(clientHello), s(serverHello)}},

		{"lines of nothing", 4444, "", []step{c("hello\r\n"), s("hello yourself\r\n")}},
		{"bytes of nothing", 4444, "", []step{c("\x80\x81\x82\x83\x84"), s("\x90\x91\x92\x93")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, _ := talkTo(tc.port, nil, tc.steps...); got != tc.want {
				t.Fatalf("called %q, want %q", got, tc.want)
			}
			for seed := range uint64(30) {
				if got, _ := talkTo(tc.port, rand.New(rand.NewPCG(seed, 1)), tc.steps...); got != tc.want {
					t.Fatalf("cut with seed %d: called %q, want %q", seed, got, tc.want)
				}
			}
		})
	}
}

// TestLateStart is the flow whose other decoders could not decide: all that the client said comes first.
func TestLateStart(t *testing.T) {
	for _, tc := range []struct {
		port           uint16
		want           string
		client, server string
	}{
		{2525, "smtp,ssl", "EHLO me\r\nSTARTTLS\r\n" + clientHello, "220 m\r\n250 STARTTLS\r\n220 go\r\n" + serverHello},
		{2121, "ftp", "USER x\r\nPASS y\r\n", "220 ready\r\n331 and?\r\n230 in\r\n"},
		{110, "pop3", "USER x\r\nPASS y\r\nSTAT\r\n", "+OK ready\r\n+OK\r\n+OK\r\n+OK 2 320\r\n"},
	} {
		h := newHost(capture.ProtoTCP, tc.port)
		// Waits for both sides to have spoken, as a decoder does that could not say no before.
		undecided := decoders.Spec{Name: "undecided", Stream: func(orig, resp []byte, _ bool) decoders.Verdict {
			if len(orig) < len(tc.client) && len(resp) > 0 && resp[0] != 0x16 && len(h.services) == 0 {
				return decoders.Maybe
			}
			return decoders.No
		}}
		m := decoders.NewMux(h, []decoders.Spec{undecided, tls(), Spec(Options{})}, false)
		m.Data(capture.Resp, []byte(tc.server))
		m.Data(capture.Orig, []byte(tc.client))
		m.Finish()
		slices.Sort(h.services)
		if got := strings.Join(h.services, ","); got != tc.want {
			t.Errorf("port %d: called %q, want %q", tc.port, got, tc.want)
		}
	}
}

// TestLineBehindGap: a control connection finds its place at the next line, a counted one does not.
func TestLineBehindGap(t *testing.T) {
	if got, _ := talkTo(21, nil, s("220 ready\r\n"), step{data: "rest of a line\r\nFEAT\r\n", gap: 100}); got != "ftp" {
		t.Errorf("called %q", got)
	}
	got, _ := talkTo(445, nil, c(smb2(0, false, strings.Repeat("\x00", 36))), step{data: setup2(false, ntlmToken), gap: 7})
	if got != "smb" {
		t.Errorf("called %q behind a gap", got)
	}
	// A gap inside a message that is stepped over does no harm.
	big := smb2(9, false, le16(49)+le16(64+48)+le32(9000)+strings.Repeat("x", 9040))
	got, _ = talkTo(445, nil, c(big[:5000]), step{data: big[8000:] + setup2(false, ntlmToken), gap: 3000})
	if got != "ntlm,smb" {
		t.Errorf("called %q behind a gap in a file", got)
	}
}

// TestBulkIsLeftAlone: who transfers files is not read for ever.
func TestBulkIsLeftAlone(t *testing.T) {
	h := newHost(capture.ProtoTCP, 445)
	m := decoders.NewMux(h, []decoders.Spec{Spec(Options{})}, false)
	one := []byte(smb2(9, false, le16(49)+le16(64+48)+le32(60000)+strings.Repeat("x", 60040)))
	for i := 0; !m.Idle(); i++ {
		if i*len(one) > 2*longTalk {
			t.Fatal("still reading")
		}
		m.Data(capture.Orig, one)
	}
	if !slices.Equal(h.services, []string{"smb"}) {
		t.Error(h.services)
	}
}

// TestEndlessLine: what never ends its line is not held.
func TestEndlessLine(t *testing.T) {
	h := newHost(capture.ProtoTCP, 21)
	m := decoders.NewMux(h, []decoders.Spec{Spec(Options{})}, false)
	for range 200 {
		m.Data(capture.Orig, []byte(strings.Repeat("A", 10_000)))
	}
	if !m.Idle() || len(h.services)+len(h.events) > 0 {
		t.Error(m.Idle(), h.services, h.events)
	}
}

// TestForeignLinesAreLeftAlone: a protocol of lines that is none of ours is not read for long.
func TestForeignLinesAreLeftAlone(t *testing.T) {
	h := newHost(capture.ProtoTCP, 7777)
	m := decoders.NewMux(h, []decoders.Spec{Spec(Options{})}, false)
	n := 0
	for ; !m.Idle() && n < longTalk; n += 100 {
		m.Data(capture.Orig, []byte(strings.Repeat("set a b c", 11)+"\n"))
	}
	if n > 3*shortTalk || len(h.services) > 0 {
		t.Error(n, h.services)
	}
}

// TestWaitingIsBounded: a client that asks for TLS and gets no answer that was captured, an SSH client without a
// server. The machine must not have to stop them.
func TestWaitingIsBounded(t *testing.T) {
	for _, first := range []string{"EHLO me\r\nSTARTTLS\r\n", "SSH-2.0-Go\r\n"} {
		h := newHost(capture.ProtoTCP, 25)
		m := decoders.NewMux(h, []decoders.Spec{Spec(Options{})}, false)
		m.Data(capture.Orig, []byte(first))
		for range 300 {
			m.Data(capture.Orig, []byte(strings.Repeat("\x16\x03\x01\x02", 250)))
		}
		if !m.Idle() || len(h.events) > 0 {
			t.Errorf("%q: idle %v, events %v", first, m.Idle(), h.events)
		}
	}
}

func TestDataConnections(t *testing.T) {
	v6 := "2001:db8::7"
	for _, tc := range []struct {
		name  string
		steps []step
		orig  string
		resp  string // "": nothing is arranged
	}{
		{"PORT", []step{c("PORT 10,0,0,1,4,210\r\n")}, "10.0.0.2", "10.0.0.1:1234"},
		{"PORT over three digits", []step{c("PORT 10,0,0,1,4,2100\r\n")}, "10.0.0.2", "10.0.0.1:1234"},
		{"PORT of five numbers", []step{c("PORT 10,0,0,1,4\r\n")}, "", ""},
		{"PORT with a number too large", []step{c("PORT 10,0,0,256,4,210\r\n")}, "", ""},
		{"EPRT", []step{c("EPRT |2|" + v6 + "|1234|\r\n")}, "10.0.0.2", "[" + v6 + "]:1234"},
		{"EPRT without an end", []step{c("EPRT |2|" + v6 + "|1234\r\n")}, "", ""},
		{"PASV", []step{c("PASV\r\n"), s("227 Entering (192,0,2,9,4,210).\r\n")}, "10.0.0.1", "192.0.2.9:1234"},
		{"PASV without brackets", []step{c("PASV\r\n"), s("227 Entering 192,0,2,9,4,210\r\n")}, "10.0.0.1", "192.0.2.9:1234"},
		{"227 that nobody asked for", []step{c("NOOP\r\n"), s("227 Entering (192,0,2,9,4,210).\r\n")}, "", ""},
		{"227 and nothing else", []step{c("PASV\r\n"), s("227\r\n")}, "", ""},
		{"EPSV", []step{c("EPSV\r\n"), s("229 Extended (|||1234|)\r\n")}, "10.0.0.1", "10.0.0.2:1234"},
		{"EPSV, port too large", []step{c("EPSV\r\n"), s("229 Extended (|||70000|)\r\n")}, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range uint64(10) {
				_, got := talkTo(21, rand.New(rand.NewPCG(seed, 2)), append([]step{s("220 ready\r\n")}, tc.steps...)...)
				if tc.resp == "" {
					if len(got) != 0 {
						t.Fatalf("arranged %+v", got[0])
					}
					continue
				}
				if len(got) != 1 {
					t.Fatalf("%d events", len(got))
				}
				e := got[0].(*capture.Expected)
				if e.Orig.String() != tc.orig || e.Resp.String() != tc.resp || e.Service != "ftp-data" {
					t.Fatalf("arranged %s to %s as %s", e.Orig, e.Resp, e.Service)
				}
			}
		})
	}
}

func TestDatagrams(t *testing.T) {
	dhcp := "\x01\x01\x06\x00" + strings.Repeat("\x00", 232) + "\x63\x82\x53\x63\x35\x01\x01\xff"
	ntp := "\x23" + strings.Repeat("\x00", 47)
	get := der(0x30, "\x02\x01\x01", der(0x04, "public"), der(0xa0, "\x02\x01\x01\x02\x01\x00\x02\x01\x00"))
	v3 := der(0x30, "\x02\x01\x03", der(0x30, "\x02\x01\x01", "\x02\x02\x05\xdc", "\x04\x01\x04", "\x02\x01\x03"), der(0x04, ""))
	invite, ok := "INVITE sip:a@b SIP/2.0\r\nVia: x\r\n\r\n", "SIP/2.0 200 OK\r\n\r\n"
	radius := "\x01\x07" + be16(26) + strings.Repeat("\x11", 16) + "\x01\x06user"
	syn := "\xff\xff\xff\xff\x00\x40\x10\x01" + strings.Repeat("\x00", 1224)
	for _, tc := range []struct {
		name  string
		port  uint16
		want  string
		steps []step
	}{
		{"DHCP", 67, "dhcp", []step{c(dhcp)}},
		{"BOOTP, which has no cookie", 67, "", []step{c(strings.Replace(dhcp, "\x63\x82\x53\x63", "\x00\x00\x00\x00", 1))}},
		{"DHCP without the end of its head", 67, "", []step{c(dhcp[:239])}},
		{"NTP", 123, "ntp", []step{c(ntp)}},
		{"NTP on another port", 124, "", []step{c(ntp)}},
		{"NTP of version 0", 123, "", []step{c("\x03" + ntp[1:])}},
		{"NTP of 47 bytes", 123, "", []step{c(ntp[:47])}},
		{"NTP control", 123, "ntp", []step{c("\x16\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")}},
		{"NTP control that promises more than there is", 123, "", []step{c("\x16\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x09")}},
		{"NTP monlist", 123, "ntp", []step{c("\x17\x00\x03\x2a\x00\x00\x00\x00")}},
		{"SNMP", 1161, "snmp", []step{c(get), s(strings.Replace(get, "\xa0", "\xa2", 1))}},
		{"SNMP 3", 161, "snmp", []step{c(v3), s(v3)}},
		{"SNMP that nobody answers", 161, "", []step{c(get), c(get)}},
		{"SNMP of version 2", 161, "", []step{c(strings.Replace(get, "\x02\x01\x01\x04", "\x02\x01\x02\x04", 1)), s(strings.Replace(get, "\x02\x01\x01\x04", "\x02\x01\x02\x04", 1))}},
		{"LDAP, which is a sequence with a number too", 389, "", []step{c(der(0x30, "\x02\x01\x01", der(0x63, "x"))), s(der(0x30, "\x02\x01\x01", der(0x64, "x")))}},
		{"SIP", 5070, "sip", []step{c(invite), s(ok)}},
		{"SIP that nobody answers", 5060, "", []step{c(invite)}},
		{"SSDP, which looks like HTTP", 1900, "", []step{c("M-SEARCH * HTTP/1.1\r\n\r\n")}},
		{"Kerberos", 89, "krb", []step{c(asREQ)}},
		{"RADIUS", 1812, "radius", []step{c(radius)}},
		{"RADIUS with attributes that overrun", 1812, "", []step{c(radius[:21] + "\x07user")}},
		{"RADIUS attribute of length 1", 1812, "", []step{c(radius[:21] + "\x01user")}},
		{"RADIUS on another port", 1813, "", []step{c(radius)}},
		{"RDP over UDP", 3389, "rdpeudp", []step{c(syn), s("\x00\x00\x00\x01\x00\x40\x10\x05" + strings.Repeat("\x00", 100))}},
		{"RDP over UDP that nobody answers", 3389, "", []step{c(syn), c(syn)}},
		{"DNP3", 20000, "dnp3_udp", []step{c(link)}},
		{"nothing", 53, "", []step{c("\x00\x00\x00"), s("\xff")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHost(capture.ProtoUDP, tc.port)
			m := decoders.NewMux(h, []decoders.Spec{Spec(Options{})}, false)
			for _, st := range tc.steps {
				m.Datagram(st.dir, []byte(st.data))
			}
			m.Finish()
			if got := strings.Join(h.services, ","); got != tc.want {
				t.Errorf("called %q, want %q", got, tc.want)
			}
		})
	}
}

// TestUnknownTrafficAllocatesNothing: most streams and datagrams are of no protocol that is known here.
func TestUnknownTrafficAllocatesNothing(t *testing.T) {
	b := []byte("\x80\x01\x02\x03 this is not a protocol that anybody has heard of")
	n := testing.AllocsPerRun(100, func() {
		if probeStream(b, b, false) != decoders.No || probeDatagram(b, nil, false) != decoders.No {
			t.Error("known?")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkUnknown(b *testing.B) {
	x := []byte("\x80\x01\x02\x03 this is not a protocol that anybody has heard of")
	for b.Loop() {
		probeStream(x, x, false)
		probeDatagram(x, nil, false)
	}
}

// FuzzStreams checks that no bytes make a reader stumble, that names are those of the table, and that the decoder
// lets go.
func FuzzStreams(f *testing.F) {
	f.Add(uint16(445), []byte(setup2(false, spnegoKerb)+smb2(9, false, le16(49)+le16(64+48)+le32(len(bind))+strings.Repeat("\x00", 40)+bind)), []byte(setup2(true, spnegoResp)))
	f.Add(uint16(139), []byte(smb1(0x73, false, strings.Repeat("\x00", 14)+le16(len(spnegoNTLM))+strings.Repeat("\x00", 8), spnegoNTLM)), []byte(smb1(0x2e, true, strings.Repeat("\x00", 24), bind)))
	f.Add(uint16(135), []byte(pdu(11, 9, spnegoBare, "x")), []byte(pdu(12, 10, ntlmToken, "y")))
	f.Add(uint16(88), []byte(framed(asREQ)), []byte(framed(apREQ)))
	f.Add(uint16(3306), []byte(mysqlLogin(0xae85)), []byte(mysqlHello))
	f.Add(uint16(3389), []byte(rdpAsk+rdpMCS), []byte(rdpAnswer))
	f.Add(uint16(22), []byte("SSH-2.0-a\r\n"+sshPacket(20)), []byte("SSH-2.0-b\r\n"+sshPacket(21)))
	f.Add(uint16(5222), []byte("<stream:stream xmlns='jabber:client'><starttls/>"), []byte("<proceed/>"))
	f.Add(uint16(1883), []byte("\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"), []byte("\x20\x02\x00\x00"))
	f.Add(uint16(21), []byte("USER x\r\nPASV\r\nEPRT |2|::1|7|\r\nAUTH TLS\r\n"), []byte("220 a\r\n331 b\r\n227 (1,2,3,4,5,6)\r\n234 c\r\n"))
	f.Add(uint16(143), []byte("a STARTTLS\r\n"), []byte("* OK\r\na OK\r\n"))
	f.Add(uint16(6667), []byte("NICK a\nUSER a\nSTARTTLS\n"), []byte(":a 670 b\n"))
	f.Fuzz(func(t *testing.T, port uint16, orig, resp []byte) {
		whole, _ := talkTo(port, nil, s(string(resp)), c(string(orig)))
		talkTo(port, rand.New(rand.NewPCG(uint64(len(orig)), 3)), c(string(orig)), s(string(resp)))
		for _, n := range strings.Split(whole, ",") {
			if n != "" && !slices.Contains(known, n) {
				t.Fatalf("called %q", n)
			}
		}
	})
}

var known = strings.Split("smb,ntlm,gssapi,krb,dce_rpc,krb_tcp,rdp,mqtt,dnp3_tcp,ssh,rfb,xmpp,mysql,modbus,smtp,ftp,pop3,imap,irc,ssl", ",")

func FuzzDatagrams(f *testing.F) {
	f.Add([]byte(asREQ))
	f.Add([]byte(der(0x30, "\x02\x01\x03", der(0x30, "\x02\x01\x01", "\x02\x02\x05\xdc", "\x04\x01\x04", "\x02\x01\x03"))))
	f.Add([]byte("\x01\x07" + be16(26) + strings.Repeat("\x11", 16) + "\x01\x06user"))
	f.Add([]byte("\x16\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("SIP/2.0 200 OK\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := newHost(capture.ProtoUDP, 123)
		m := decoders.NewMux(h, []decoders.Spec{Spec(Options{})}, false)
		m.Datagram(capture.Orig, b)
		m.Datagram(capture.Resp, b)
		if len(h.services) > 1 {
			t.Fatal(h.services)
		}
	})
}

// listener is a follower that writes down what it is given.
type listener struct {
	heard [2]string
	parts [2][]int // lengths
	gaps  int64
	ended int
	done  bool
}

func (l *listener) Data(dir capture.Dir, b []byte) {
	l.heard[dir] += string(b)
	l.parts[dir] = append(l.parts[dir], len(b))
}
func (l *listener) Gap(_ capture.Dir, n int64) { l.gaps += n }
func (l *listener) End(capture.Dir)            { l.ended++ }
func (l *listener) Done() bool                 { return l.done }

// TestFollower: what reads on gets each byte once, beyond what is needed for the name, and nothing of another protocol.
func TestFollower(t *testing.T) {
	open := func(cut *rand.Rand, steps ...step) (*listener, *host, *decoders.Mux) {
		var l *listener
		h := newHost(capture.ProtoTCP, 25)
		follow := func(decoders.Context) decoders.Follower { l = &listener{}; return l }
		m := decoders.NewMux(h, []decoders.Spec{tls(), Spec(Options{Follow: map[string]func(decoders.Context) decoders.Follower{"smtp": follow, "smb": follow}})}, false)
		for _, st := range steps {
			if st.gap > 0 {
				m.Gap(st.dir, st.gap)
			}
			for b := []byte(st.data); len(b) > 0; {
				n := len(b)
				if cut != nil {
					n = 1 + cut.IntN(n)
				}
				m.Data(st.dir, b[:n])
				b = b[n:]
			}
		}
		return l, h, m
	}
	mailing := []step{s("220 m\r\n"), c("EHLO me\r\n"), s("250 m\r\n"), c("MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\n"), s("250 a\r\n250 b\r\n354 go\r\n"), c(strings.Repeat("text\r\n", 100_000) + ".\r\n")}
	all := [2]string{}
	for _, st := range mailing[1:] {
		all[st.dir] += st.data
	}
	for seed := range uint64(20) {
		var cut *rand.Rand
		if seed > 0 {
			cut = rand.New(rand.NewPCG(seed, 2))
		}
		l, _, m := open(cut, mailing...)
		if l == nil || l.heard[0] != all[0] || l.heard[1] != all[1] || m.Idle() {
			t.Fatalf("seed %d: %+v", seed, l != nil)
		}
		m.Finish()
		if l.ended != 2 {
			t.Errorf("seed %d: ended %d times", seed, l.ended)
		}
	}
	l, h, m := open(nil, s("220 m\r\n"), c("EHLO me\r\n"), s("250-m\r\n250 STARTTLS\r\n"), c("STARTTLS\r\n"), s("220 go\r\n"), c(clientHello), s(serverHello))
	m.Finish()
	if l.heard[0] != "EHLO me\r\nSTARTTLS\r\n" || strings.Contains(l.heard[1], "\x16") || l.ended != 2 || !slices.Contains(h.services, "ssl") {
		t.Errorf("TLS: %q, ended %d times, %v", l.heard, l.ended, h.services)
	}
	// A loss ends the naming of counted messages, not the reading.
	l, _, m = open(nil, c(smb2(0, false, strings.Repeat("\x00", 36))), step{data: "more", gap: 100})
	if l.gaps != 100 || !strings.HasSuffix(l.heard[0], "more") || m.Idle() {
		t.Errorf("loss: %+v, idle %v", l, m.Idle())
	}
	// Segments come as they are, wherever messages begin.
	one := smb2(0, false, strings.Repeat("\x00", 36))
	l, _, _ = open(nil, c(one), c(one+one[:20]), c(one[20:]+one[:3]), step{data: one[3:], gap: 1})
	if n := len(one); !slices.Equal(l.parts[0], []int{n, n + 20, n - 20 + 3, n - 3}) {
		t.Errorf("parts of %v bytes", l.parts[0])
	}
	l, _, m = open(nil, c(one), step{data: "more", gap: 100})
	l.done = true
	m.Data(capture.Orig, []byte("x"))
	if !m.Idle() || l.ended != 2 {
		t.Errorf("reads on when nobody wants it, or does not say that it ends: %d", l.ended)
	}
	if l, _, _ = open(nil, s("220 ready\r\n"), c("USER x\r\n")); l != nil {
		t.Error("a follower for FTP")
	}
}

// TestTextFollower: lines are read along from their first byte as long as they have no name, and what reads them is let
// go, without an End, by the first name.
func TestTextFollower(t *testing.T) {
	open := func(port uint16, steps ...step) (text, mail *listener) {
		h := newHost(capture.ProtoTCP, port)
		m := decoders.NewMux(h, []decoders.Spec{Spec(Options{Follow: map[string]func(decoders.Context) decoders.Follower{
			Text:   func(decoders.Context) decoders.Follower { text = &listener{}; return text },
			"smtp": func(decoders.Context) decoders.Follower { mail = &listener{}; return mail },
		}})}, false)
		for _, st := range steps {
			m.Data(st.dir, []byte(st.data))
		}
		m.Finish()
		return text, mail
	}
	text, _ := open(9001, c("PATH=/bin\nHO"), c("ME=/root\n"), s("ok\n"), c("-ERR\n"))
	if text == nil || text.heard != [2]string{"PATH=/bin\nHOME=/root\n-ERR\n", "ok\n"} || text.ended != 2 {
		t.Errorf("bare lines: %+v", text)
	}
	for name, steps := range map[string][]step{
		"smtp": {s("220 m\r\n"), c("EHLO me\r\nMAIL FROM"), s("250 m\r\n"), c(":<a@b>\r\n")},
		"ftp":  {s("220 f\r\n"), c("USER x\r\n"), s("331 go\r\n"), c("PASS y\r\n")},
		"pop3": {s("+OK\r\n"), c("USER x\r\n"), s("+OK\r\n"), c("PASS y\r\n"), s("+OK\r\n")},
	} {
		text, mail := open(9001, steps...)
		if text == nil || text.ended != 0 || strings.Contains(text.heard[0], "PASS") {
			t.Errorf("%s: %+v", name, text)
		}
		if name == "smtp" && (mail == nil || mail.heard[0] != "EHLO me\r\nMAIL FROM:<a@b>\r\n") {
			t.Errorf("%s: %+v", name, mail)
		}
	}
}
