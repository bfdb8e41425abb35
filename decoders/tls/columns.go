package tls

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the logs of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "ssl",
		When: "When a handshake of TLS, DTLS or QUIC is through, or breaks off.",
		Row:  &Session{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the first message."}}, capture.FlowColumns(), []capture.Column{
			{Name: "version", Doc: "Version that the server chose: `TLSv12`, `TLSv13`, `DTLSv12`."},
			{Name: "cipher", Doc: "Cipher suite that the server chose, by its name at IANA."},
			{Name: "curve", Doc: "Group of the key exchange: `x25519`."},
			{Name: "server_name", Doc: "Server that the client asks for (SNI). With `ech` it may be a front."},
			{Name: "resumed", Doc: "An earlier session goes on, without certificates."},
			{Name: "last_alert", Doc: "Last alert that was sent in clear, by its name."},
			{Name: "next_protocol", Doc: "Protocol that the server chose (ALPN); encrypted in TLS 1.3."},
			{Name: "established", Doc: "Both sides went over to encryption."},
			{Name: "ssl_history", Doc: "A letter for each message, upper case of the client, lower case of the server: C client hello, S server hello, X certificate, K server key exchange, I change of cipher, L alert and so on."},
			{Name: "cert_chain_fps", Doc: "`fingerprint` in x509.log of each certificate of the server, its own first."},
			{Name: "client_cert_chain_fps", Doc: "The same of the client."},
			{Name: "sni_matches_cert", Doc: "Whether `server_name` is a name of the server's certificate. Unset if one of the two was not seen."},
			{Name: "ja3", Doc: "JA3 of the client's hello: an MD5 of what the client offers, the same for the same software."},
			{Name: "ja3s", Doc: "JA3S of the server's hello."},
			{Name: "ja4", Doc: "JA4 of the client's hello: the same purpose, and it does not depend on the order of extensions."},
			{Name: "ech", Doc: "The client sent an encrypted hello, or pretended to."},
		}),
	}, {
		Name: "x509",
		When: "For each certificate that a handshake shows, once in a day.",
		Row:  &Certificate{},
		Columns: []capture.Column{
			{Name: "ts", Doc: "Time of the message that it stands in."},
			{Name: "fingerprint", Doc: "SHA-256 of the certificate in hexadecimal."},
			{Name: "certificate.version", Doc: "Version of X.509, most of the time 3."},
			{Name: "certificate.serial", Doc: "Serial number in hexadecimal."},
			{Name: "certificate.subject", Doc: "Whose it is, as a distinguished name."},
			{Name: "certificate.issuer", Doc: "Who signed it."},
			{Name: "certificate.not_valid_before", Doc: "When it begins to be valid."},
			{Name: "certificate.not_valid_after", Doc: "When it ends to be valid."},
			{Name: "certificate.key_alg", Doc: "Algorithm of its key: `rsaEncryption`."},
			{Name: "certificate.sig_alg", Doc: "Algorithm of its signature: `sha256WithRSAEncryption`."},
			{Name: "certificate.key_type", Doc: "Kind of its key, unset for others.", Values: []string{"rsa", "dsa", "ecdsa"}},
			{Name: "certificate.key_length", Unit: "bits", Doc: "Length of its key."},
			{Name: "certificate.exponent", Doc: "Exponent of an RSA key, decimal."},
			{Name: "certificate.curve", Doc: "Curve of an elliptic key: `prime256v1`."},
			{Name: "san.dns", Doc: "Alternative names: names of hosts."},
			{Name: "san.uri", Doc: "Alternative names: URIs."},
			{Name: "san.email", Doc: "Alternative names: addresses of mail."},
			{Name: "san.ip", Doc: "Alternative names: addresses."},
			{Name: "basic_constraints.ca", Doc: "It may sign others."},
			{Name: "basic_constraints.path_len", Unit: "certificates", Doc: "How many that sign may stand between it and the last."},
			{Name: "host_cert", Doc: "It is the first of its chain: that of the host itself."},
			{Name: "client_cert", Doc: "The client showed it."},
		},
	}}
}
