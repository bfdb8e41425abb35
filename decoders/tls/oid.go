package tls

import "strconv"

// Object identifiers as the contents of their DER.
const (
	oidCommonName       = "\x55\x04\x03"
	oidSubjectAltName   = "\x55\x1D\x11"
	oidBasicConstraints = "\x55\x1D\x13"
)

// dotted prints an object identifier in numbers.
func dotted(b []byte) string {
	// The arcs of real ones fit 64 bits; a longer one is printed as far as it does.
	const maxLen = 64
	var out []byte
	var v uint64
	first := true
	for _, c := range b[:min(len(b), maxLen)] {
		if v >= 1<<57 {
			break
		}
		v = v<<7 | uint64(c&0x7F)
		if c&0x80 != 0 {
			continue
		}
		if first {
			top := min(v/40, 2)
			out = strconv.AppendUint(out, top, 10)
			v -= top * 40
			first = false
		}
		out = strconv.AppendUint(append(out, '.'), v, 10)
		v = 0
	}
	return string(out)
}

// attributeName is OpenSSL's short name of a name attribute, "" if it has none.
// It is whole because it is one table.
func attributeName(oid []byte) string {
	switch string(oid) {
	case oidCommonName:
		return "CN"
	case "\x55\x04\x04":
		return "SN"
	case "\x55\x04\x05":
		return "serialNumber"
	case "\x55\x04\x06":
		return "C"
	case "\x55\x04\x07":
		return "L"
	case "\x55\x04\x08":
		return "ST"
	case "\x55\x04\x09":
		return "street"
	case "\x55\x04\x0A":
		return "O"
	case "\x55\x04\x0B":
		return "OU"
	case "\x55\x04\x0C":
		return "title"
	case "\x55\x04\x0D":
		return "description"
	case "\x55\x04\x0E":
		return "searchGuide"
	case "\x55\x04\x0F":
		return "businessCategory"
	case "\x55\x04\x10":
		return "postalAddress"
	case "\x55\x04\x11":
		return "postalCode"
	case "\x55\x04\x12":
		return "postOfficeBox"
	case "\x55\x04\x13":
		return "physicalDeliveryOfficeName"
	case "\x55\x04\x14":
		return "telephoneNumber"
	case "\x55\x04\x29":
		return "name"
	case "\x55\x04\x2A":
		return "GN"
	case "\x55\x04\x2B":
		return "initials"
	case "\x55\x04\x2C":
		return "generationQualifier"
	case "\x55\x04\x2D":
		return "x500UniqueIdentifier"
	case "\x55\x04\x2E":
		return "dnQualifier"
	case "\x55\x04\x33":
		return "houseIdentifier"
	case "\x55\x04\x41":
		return "pseudonym"
	case "\x55\x04\x48":
		return "role"
	case "\x55\x04\x61":
		return "organizationIdentifier"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x09\x01":
		return "emailAddress"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x09\x02":
		return "unstructuredName"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x09\x07":
		return "challengePassword"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x09\x08":
		return "unstructuredAddress"
	case "\x09\x92\x26\x89\x93\xF2\x2C\x64\x01\x01":
		return "UID"
	case "\x09\x92\x26\x89\x93\xF2\x2C\x64\x01\x03":
		return "mail"
	case "\x09\x92\x26\x89\x93\xF2\x2C\x64\x01\x19":
		return "DC"
	case "\x2B\x06\x01\x04\x01\x82\x37\x3C\x02\x01\x01":
		return "jurisdictionL"
	case "\x2B\x06\x01\x04\x01\x82\x37\x3C\x02\x01\x02":
		return "jurisdictionST"
	case "\x2B\x06\x01\x04\x01\x82\x37\x3C\x02\x01\x03":
		return "jurisdictionC"
	}
	return ""
}

// algorithmName is OpenSSL's long name of a key or signature algorithm, "" if it has none.
// It is whole because it is one table.
func algorithmName(oid []byte) string {
	switch string(oid) {
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x01":
		return "rsaEncryption"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x02":
		return "md2WithRSAEncryption"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x03":
		return "md4WithRSAEncryption"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x04":
		return "md5WithRSAEncryption"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x05":
		return "sha1WithRSAEncryption"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x0A":
		return "rsassaPss"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x0B":
		return "sha256WithRSAEncryption"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x0C":
		return "sha384WithRSAEncryption"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x0D":
		return "sha512WithRSAEncryption"
	case "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x0E":
		return "sha224WithRSAEncryption"
	case "\x2A\x86\x48\xCE\x38\x04\x01":
		return "dsaEncryption"
	case "\x2A\x86\x48\xCE\x38\x04\x03":
		return "dsaWithSHA1"
	case "\x60\x86\x48\x01\x65\x03\x04\x03\x01":
		return "dsa_with_SHA224"
	case "\x60\x86\x48\x01\x65\x03\x04\x03\x02":
		return "dsa_with_SHA256"
	case "\x2A\x86\x48\xCE\x3D\x02\x01":
		return "id-ecPublicKey"
	case "\x2A\x86\x48\xCE\x3D\x04\x01":
		return "ecdsa-with-SHA1"
	case "\x2A\x86\x48\xCE\x3D\x04\x03\x01":
		return "ecdsa-with-SHA224"
	case "\x2A\x86\x48\xCE\x3D\x04\x03\x02":
		return "ecdsa-with-SHA256"
	case "\x2A\x86\x48\xCE\x3D\x04\x03\x03":
		return "ecdsa-with-SHA384"
	case "\x2A\x86\x48\xCE\x3D\x04\x03\x04":
		return "ecdsa-with-SHA512"
	case "\x2B\x65\x6E":
		return "X25519"
	case "\x2B\x65\x6F":
		return "X448"
	case "\x2B\x65\x70":
		return "ED25519"
	case "\x2B\x65\x71":
		return "ED448"
	case "\x2B\x0E\x03\x02\x03":
		return "md5WithRSA"
	case "\x2B\x0E\x03\x02\x1D":
		return "sha1WithRSA"
	case "\x2A\x81\x1C\xCF\x55\x01\x83\x75":
		return "SM2-with-SM3"
	case "\x60\x86\x48\x01\x65\x03\x04\x03\x11":
		return "ML-DSA-44"
	case "\x60\x86\x48\x01\x65\x03\x04\x03\x12":
		return "ML-DSA-65"
	case "\x60\x86\x48\x01\x65\x03\x04\x03\x13":
		return "ML-DSA-87"
	}
	return ""
}

// curveName is OpenSSL's short name of a named curve and the bits of its order.
func curveName(oid []byte) (string, int) {
	switch string(oid) {
	case "\x2A\x86\x48\xCE\x3D\x03\x01\x01":
		return "prime192v1", 192
	case "\x2A\x86\x48\xCE\x3D\x03\x01\x07":
		return "prime256v1", 256
	case "\x2B\x81\x04\x00\x21":
		return "secp224r1", 224
	case "\x2B\x81\x04\x00\x22":
		return "secp384r1", 384
	case "\x2B\x81\x04\x00\x23":
		return "secp521r1", 521
	case "\x2B\x81\x04\x00\x0A":
		return "secp256k1", 256
	case "\x2B\x24\x03\x03\x02\x08\x01\x01\x07":
		return "brainpoolP256r1", 256
	case "\x2B\x24\x03\x03\x02\x08\x01\x01\x0B":
		return "brainpoolP384r1", 384
	case "\x2B\x24\x03\x03\x02\x08\x01\x01\x0D":
		return "brainpoolP512r1", 512
	case "\x2A\x81\x1C\xCF\x55\x01\x82\x2D":
		return "SM2", 256
	}
	return "", 0
}
