package tls

import (
	"time"

	"github.com/raytap/raytap/capture"
)

// Transport is what carried a handshake.
type Transport uint8

// Transports.
const (
	TCP  Transport = iota // records in a stream, whatever carries that
	DTLS                  // records in datagrams
	QUIC                  // CRYPTO frames
)

func (t Transport) String() string { return [...]string{"tcp", "dtls", "quic"}[min(t, QUIC)] }

// letter begins a JA4.
func (t Transport) letter() byte { return "tdq"[min(t, QUIC)] }

// Session is one TLS, DTLS or QUIC handshake and a row of ssl.log. It is emitted when both sides encrypt (Established),
// or else when the handshake breaks off: an error, a lost segment, the end of the flow. A QUIC session is emitted when
// the server's hello was read, since all that follows is encrypted with keys that are not known.
type Session struct {
	capture.At // of the first message
	Flow       *capture.Flow
	Transport  Transport

	Hello       bool   // a ClientHello was seen (of TLS, not of SSLv2)
	Answered    bool   // a ServerHello was seen
	Version     uint16 // chosen by the server: a Version constant, a draft's or a stranger's number
	Cipher      uint32 // chosen; three bytes for SSLv2
	Curve       uint16 // group of the key exchange, if HasCurve
	HasCurve    bool
	ServerName  string   // SNI, as sent
	Offered     []string // ALPN of the client, at most 16
	NextProto   string   // ALPN of the server; TLS 1.3 encrypts it
	Resumed     bool
	Established bool
	Alerted     bool
	LastAlert   uint8
	// History has a letter for each message, upper case for the client's: C client hello, S server hello, X certificate,
	// K server key exchange, I change cipher spec, L alert and so on, as in Zeek.
	History string
	ECH     bool // the client sent an encrypted (or made up, RFC 9849 section 6.2) inner hello: ServerName may be a front

	// Certificates as sent, the end entity's first, those that parse; Certified says that any were sent.
	Certified   bool
	Server      []*X509
	Client      []*X509
	NameMatches bool // ServerName is one of the names of the server's certificate
	NameChecked bool // there was a name and a certificate to compare

	JA3, JA3S, JA4 string // "" if the hello was not seen

	From    capture.Provenance // Doubted if a part of it was: see Checked
	checked *Session
}

// Checked gives what of s came in packets with right checksums: s itself, what one side said, or nil.
func (s *Session) Checked() *Session {
	if s.From.Has(capture.Doubted) {
		return s.checked
	}
	return s
}

// Log implements capture.Record.
func (s *Session) Log() string { return "ssl" }

// Row implements capture.Record: Zeek's columns, then ours.
func (s *Session) Row(f capture.Fields) {
	f.Time("ts", s.Time, true)
	s.Flow.ID(f)
	f.String("version", VersionName(s.Version), s.Version != 0)
	f.String("cipher", CipherName(s.Cipher), s.Answered)
	f.String("curve", GroupName(s.Curve), s.HasCurve)
	f.String("server_name", s.ServerName, s.ServerName != "")
	f.Bool("resumed", s.Resumed, true)
	f.String("last_alert", AlertName(s.LastAlert), s.Alerted)
	f.String("next_protocol", s.NextProto, s.NextProto != "")
	f.Bool("established", s.Established, true)
	f.String("ssl_history", s.History, true)
	f.Vector("cert_chain_fps", "string", fingerprints(s.Server), s.Certified)
	f.Vector("client_cert_chain_fps", "string", fingerprints(s.Client), s.Certified)
	f.Bool("sni_matches_cert", s.NameMatches, s.NameChecked)
	f.String("ja3", s.JA3, s.JA3 != "")
	f.String("ja3s", s.JA3S, s.JA3S != "")
	f.String("ja4", s.JA4, s.JA4 != "")
	f.Bool("ech", s.ECH, s.Hello)
}

func fingerprints(chain []*X509) []string {
	out := make([]string, len(chain))
	for i, c := range chain {
		out[i] = c.Fingerprint
	}
	return out
}

// Certificate is one certificate that was sent in a handshake and a row of x509.log. One is emitted each time; who
// writes a log with a row a day for a certificate leaves out the others.
type Certificate struct {
	capture.At
	Flow *capture.Flow
	*X509
	Host       bool // the first of its chain
	FromClient bool
	From       capture.Provenance
}

// X509 is what a certificate says. Values are shared between events and immutable.
type X509 struct {
	Fingerprint string // SHA-256, hexadecimal
	Version     int
	Serial      string // hexadecimal as OpenSSL prints it
	Subject     string // RFC 2253, last name part first
	Issuer      string
	CommonName  string    // the last one of the subject
	NotBefore   time.Time // zero if it cannot be read
	NotAfter    time.Time
	KeyAlg      string
	SigAlg      string
	KeyType     string // rsa, dsa, ecdsa; "" for others and for keys that cannot be read
	KeyBits     int
	Exponent    string // of an RSA key, decimal
	Curve       string
	HasNames    bool // there is a subjectAltName
	DNS         []string
	URI         []string
	Email       []string
	IP          []string
	Constrained bool // there are basicConstraints
	CA          bool
	PathLen     int // -1 if there is none
}

// Log implements capture.Record.
func (c *Certificate) Log() string { return "x509" }

// Row implements capture.Record.
func (c *Certificate) Row(f capture.Fields) {
	x := c.X509
	if x == nil {
		x = &X509{PathLen: -1}
	}
	f.Time("ts", c.Time, true)
	f.String("fingerprint", x.Fingerprint, true)
	f.Count("certificate.version", uint64(max(x.Version, 0)), true)
	f.String("certificate.serial", x.Serial, true)
	f.String("certificate.subject", x.Subject, true)
	f.String("certificate.issuer", x.Issuer, true)
	f.Time("certificate.not_valid_before", clampTime(x.NotBefore), true)
	f.Time("certificate.not_valid_after", clampTime(x.NotAfter), true)
	f.String("certificate.key_alg", x.KeyAlg, true)
	f.String("certificate.sig_alg", x.SigAlg, true)
	f.String("certificate.key_type", x.KeyType, x.KeyType != "")
	f.Count("certificate.key_length", uint64(max(x.KeyBits, 0)), x.KeyBits > 0)
	f.String("certificate.exponent", x.Exponent, x.Exponent != "")
	f.String("certificate.curve", x.Curve, x.Curve != "")
	f.Vector("san.dns", "string", x.DNS, len(x.DNS) > 0)
	f.Vector("san.uri", "string", x.URI, len(x.URI) > 0)
	f.Vector("san.email", "string", x.Email, len(x.Email) > 0)
	f.Vector("san.ip", "addr", x.IP, len(x.IP) > 0)
	f.Bool("basic_constraints.ca", x.CA, x.Constrained)
	f.Count("basic_constraints.path_len", uint64(max(x.PathLen, 0)), x.Constrained && x.PathLen >= 0)
	f.Bool("host_cert", c.Host, true)
	f.Bool("client_cert", c.FromClient, true)
}

// clampTime fits a date into nanoseconds since 1970, which end in 2262: certificates that are to last for ever
// (99991231235959Z, RFC 5280 section 4.1.2.5) come out as lasting until then.
func clampTime(t time.Time) capture.Time {
	const limit = (1<<63 - 1) / int64(time.Second)
	if t.IsZero() {
		return 0
	}
	return capture.Time(max(-limit, min(limit, t.Unix())) * int64(time.Second))
}
