package tls

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the logs of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "ssl",
		When: "When a TLS, DTLS or QUIC handshake completes or fails.",
		Row:  &Session{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the first message."}}, capture.FlowColumns(), []capture.Column{
			{Name: "version", Doc: "Version that the server chose: `TLSv12`, `TLSv13`, `DTLSv12`."},
			{Name: "cipher", Doc: "Cipher suite that the server chose, by its IANA name."},
			{Name: "curve", Doc: "Group of the key exchange: `x25519`."},
			{Name: "server_name", Doc: "Server name that the client requests (SNI). With `ech` it may be a public front name."},
			{Name: "resumed", Doc: "An earlier session was resumed, without certificates."},
			{Name: "last_alert", Doc: "Name of the last alert sent in clear text."},
			{Name: "next_protocol", Doc: "Application protocol that the server chose (ALPN); encrypted in TLS 1.3."},
			{Name: "established", Doc: "Both sides switched to encryption."},
			{Name: "ssl_history", Doc: "A letter for each message, upper case from the client, lower case from the server: C client hello, S server hello, X certificate, K server key exchange, I change cipher spec, L alert and so on."},
			{Name: "cert_chain_fps", Doc: "`fingerprint` in x509.log of each server certificate, the server's own first."},
			{Name: "client_cert_chain_fps", Doc: "The same for the client."},
			{Name: "sni_matches_cert", Doc: "Whether `server_name` is a name of the server's certificate. Unset if one of the two was not seen."},
			{Name: "ja3", Doc: "JA3 of the client hello: an MD5 of what the client offers, the same for the same software."},
			{Name: "ja3s", Doc: "JA3S of the server hello."},
			{Name: "ja4", Doc: "JA4 of the client hello: serves the same purpose and does not depend on the order of extensions."},
			{Name: "ech", Doc: "The client sent an encrypted client hello, or one that only looks like it (GREASE)."},
		}),
	}, {
		Name: "x509",
		When: "For each certificate in a handshake, once a day.",
		Row:  &Certificate{},
		Columns: []capture.Column{
			{Name: "ts", Doc: "Time of the message that contains it."},
			{Name: "fingerprint", Doc: "SHA-256 of the certificate in hexadecimal."},
			{Name: "certificate.version", Doc: "X.509 version, usually 3."},
			{Name: "certificate.serial", Doc: "Serial number in hexadecimal."},
			{Name: "certificate.subject", Doc: "Subject, as a distinguished name."},
			{Name: "certificate.issuer", Doc: "Issuer, as a distinguished name."},
			{Name: "certificate.not_valid_before", Doc: "Start of its validity."},
			{Name: "certificate.not_valid_after", Doc: "End of its validity."},
			{Name: "certificate.key_alg", Doc: "Algorithm of its key: `rsaEncryption`."},
			{Name: "certificate.sig_alg", Doc: "Algorithm of its signature: `sha256WithRSAEncryption`."},
			{Name: "certificate.key_type", Doc: "Kind of its key, unset for others.", Values: []string{"rsa", "dsa", "ecdsa"}},
			{Name: "certificate.key_length", Unit: "bits", Doc: "Length of its key."},
			{Name: "certificate.exponent", Doc: "Exponent of an RSA key, decimal."},
			{Name: "certificate.curve", Doc: "Curve of an elliptic key: `prime256v1`."},
			{Name: "san.dns", Doc: "Alternative names: host names."},
			{Name: "san.uri", Doc: "Alternative names: URIs."},
			{Name: "san.email", Doc: "Alternative names: email addresses."},
			{Name: "san.ip", Doc: "Alternative names: IP addresses."},
			{Name: "basic_constraints.ca", Doc: "It is a CA certificate."},
			{Name: "basic_constraints.path_len", Unit: "certificates", Doc: "Maximum number of intermediate certificates below it (path length)."},
			{Name: "host_cert", Doc: "It is the first of its chain: the host's own certificate."},
			{Name: "client_cert", Doc: "The client presented it."},
		},
	}}
}
