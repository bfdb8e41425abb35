package tls

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Protocol versions as they stand in hellos. DTLS counts downwards.
const (
	VersionSSL2   = 0x0002
	VersionSSL3   = 0x0300
	VersionTLS10  = 0x0301
	VersionTLS11  = 0x0302
	VersionTLS12  = 0x0303
	VersionTLS13  = 0x0304
	VersionDTLS10 = 0xFEFF
	VersionDTLS12 = 0xFEFD
	VersionDTLS13 = 0xFEFC
)

// isDraft13 tells the versions that drafts of TLS 1.3 used, by the arithmetic that Zeek does on them: 0x7F01 to 0x7F80
// and a few neighbours that no draft had.
func isDraft13(v uint16) bool { return v/0xFF == 0x7F }

// VersionName is Zeek's name of a version.
func VersionName(v uint16) string {
	switch v {
	case VersionSSL2:
		return "SSLv2"
	case VersionSSL3:
		return "SSLv3"
	case VersionTLS10:
		return "TLSv10"
	case VersionTLS11:
		return "TLSv11"
	case VersionTLS12:
		return "TLSv12"
	case VersionTLS13:
		return "TLSv13"
	case VersionDTLS10:
		return "DTLSv10"
	case VersionDTLS12:
		return "DTLSv12"
	case VersionDTLS13:
		return "DTLSv13"
	}
	if isDraft13(v) {
		return "TLSv13-draft" + strconv.Itoa(int(v)%0x7F)
	}
	return unknown(uint32(v))
}

func unknown(n uint32) string { return "unknown-" + strconv.FormatUint(uint64(n), 10) }

// isGREASE tells the values that RFC 8701 reserves to be ignored.
func isGREASE(v uint16) bool { return v&0x0F0F == 0x0A0A && v>>8 == v&0xFF }

func greaseName(v uint16) string { return fmt.Sprintf("grease_0x%04X", v) }

// CipherName is Zeek's name of a cipher suite, the registry's for all but the oldest.
func CipherName(id uint32) string {
	if i := sort.Search(len(ciphers), func(i int) bool { return ciphers[i].id >= id }); i < len(ciphers) && ciphers[i].id == id {
		return ciphers[i].name
	}
	if id <= 0xFFFF && isGREASE(uint16(id)) {
		return greaseName(uint16(id))
	}
	return unknown(id)
}

// lowGroups are the names of groups 1 to 41 of the TLS registry.
const lowGroups = "sect163k1 sect163r1 sect163r2 sect193r1 sect193r2 sect233k1 sect233r1 sect239k1 sect283k1 sect283r1 " +
	"sect409k1 sect409r1 sect571k1 sect571r1 secp160k1 secp160r1 secp160r2 secp192k1 secp192r1 secp224k1 secp224r1 " +
	"secp256k1 secp256r1 secp384r1 secp521r1 brainpoolP256r1 brainpoolP384r1 brainpoolP512r1 x25519 x448 " +
	"brainpoolP256r1tls13 brainpoolP384r1tls13 brainpoolP512r1tls13 GC256A GC256B GC256C GC256D GC512A GC512B GC512C curveSM2"

// GroupName is Zeek's name of an elliptic curve or other key exchange group.
func GroupName(v uint16) string {
	switch v {
	case 256:
		return "ffdhe2048"
	case 257:
		return "ffdhe3072"
	case 258:
		return "ffdhe4096"
	case 259:
		return "ffdhe6144"
	case 260:
		return "ffdhe8192"
	case 512:
		return "MLKEM512"
	case 513:
		return "MLKEM768"
	case 514:
		return "MLKEM1024"
	case 4587:
		return "SecP256r1MLKEM768"
	case 4588:
		return "X25519MLKEM768"
	case 4589:
		return "SecP384r1MLKEM1024"
	case 4590:
		return "curveSM2MLKEM768"
	case 16696:
		return "CECPQ2"
	case 25497:
		return "X25519Kyber768Draft00"
	case 25498:
		return "SecP256r1Kyber768Draft00"
	case 0xFF01:
		return "arbitrary_explicit_prime_curves"
	case 0xFF02:
		return "arbitrary_explicit_char2_curves"
	}
	rest := lowGroups
	for i := uint16(1); rest != ""; i++ {
		var name string
		name, rest, _ = strings.Cut(rest, " ")
		if i == v {
			return name
		}
	}
	if isGREASE(v) {
		return greaseName(v)
	}
	return unknown(uint32(v))
}

// AlertName is the name of an alert's description.
// It is whole because it is one table.
func AlertName(d uint8) string {
	switch d {
	case 0:
		return "close_notify"
	case 10:
		return "unexpected_message"
	case 20:
		return "bad_record_mac"
	case 21:
		return "decryption_failed"
	case 22:
		return "record_overflow"
	case 30:
		return "decompression_failure"
	case 40:
		return "handshake_failure"
	case 41:
		return "no_certificate"
	case 42:
		return "bad_certificate"
	case 43:
		return "unsupported_certificate"
	case 44:
		return "certificate_revoked"
	case 45:
		return "certificate_expired"
	case 46:
		return "certificate_unknown"
	case 47:
		return "illegal_parameter"
	case 48:
		return "unknown_ca"
	case 49:
		return "access_denied"
	case 50:
		return "decode_error"
	case 51:
		return "decrypt_error"
	case 60:
		return "export_restriction"
	case 70:
		return "protocol_version"
	case 71:
		return "insufficient_security"
	case 80:
		return "internal_error"
	case 86:
		return "inappropriate_fallback"
	case 90:
		return "user_canceled"
	case 100:
		return "no_renegotiation"
	case 110:
		return "unsupported_extension"
	case 111:
		return "certificate_unobtainable"
	case 112:
		return "unrecognized_name"
	case 113:
		return "bad_certificate_status_response"
	case 114:
		return "bad_certificate_hash_value"
	case 115:
		return "unknown_psk_identity"
	case 116:
		return "certificate_required"
	case 117:
		return "general_error"
	case 120:
		return "no_application_protocol"
	case 121:
		return "ech_required"
	}
	return unknown(uint32(d))
}
