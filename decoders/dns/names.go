package dns

import (
	"strconv"

	mdns "github.com/miekg/dns"
)

// Record types that the code tells apart. Those of 32 and 33 mean something else to the NetBIOS name service.
const (
	typeA          = mdns.TypeA
	typeNS         = mdns.TypeNS
	typeCNAME      = mdns.TypeCNAME
	typeSOA        = mdns.TypeSOA
	typeWKS        = 11
	typePTR        = mdns.TypePTR
	typeHINFO      = mdns.TypeHINFO
	typeMX         = mdns.TypeMX
	typeTXT        = mdns.TypeTXT
	typeAAAA       = mdns.TypeAAAA
	typeLOC        = mdns.TypeLOC
	typeNBS        = 32
	typeSRV        = mdns.TypeSRV
	typeNAPTR      = mdns.TypeNAPTR
	typeA6         = 38
	typeOPT        = mdns.TypeOPT
	typeDS         = mdns.TypeDS
	typeSSHFP      = mdns.TypeSSHFP
	typeRRSIG      = mdns.TypeRRSIG
	typeNSEC       = mdns.TypeNSEC
	typeDNSKEY     = mdns.TypeDNSKEY
	typeNSEC3      = mdns.TypeNSEC3
	typeNSEC3PARAM = mdns.TypeNSEC3PARAM
	typeSVCB       = mdns.TypeSVCB
	typeHTTPS      = mdns.TypeHTTPS
	typeSPF        = mdns.TypeSPF
	typeTKEY       = mdns.TypeTKEY
	typeTSIG       = mdns.TypeTSIG
	typeANY        = mdns.TypeANY
	typeCAA        = mdns.TypeCAA
	typeBINDS      = 65534 // BIND's private record of a zone's signing state
)

const (
	classIN   = 1
	classNONE = 254
	classANY  = 255
	// mDNS uses the top bit of a class: wants a unicast answer, or flush the cache (RFC 6762 sections 5.4 and 10.2).
	classMDNS = 0x8000

	opQuery  = 0
	opNotify = 4
	opUpdate = 5 // to the NetBIOS name service: registration
	opNBLast = 8 // refresh

	rcodeNXDomain = 3
)

// typeName is the name of a record type as Zeek writes it, which is not always the registry's.
func typeName(t uint16) string {
	switch t {
	case typeWKS:
		return "WKS"
	case 22:
		return "NSAP"
	case typeA6:
		return "A6"
	case 40:
		return "SINK"
	case typeANY:
		return "*"
	case 65281:
		return "WINS"
	case 65282:
		return "WINS-R"
	case 65422:
		return "XPF"
	case 65521:
		return "INTEGRITY"
	case 0, 128, 258, 260, 261, 65535: // the library has names for these, Zeek has none
		return "query-" + strconv.Itoa(int(t))
	}
	if s := mdns.TypeToString[t]; s != "" {
		return s
	}
	return "query-" + strconv.Itoa(int(t))
}

func className(c uint16, set bool) string {
	switch {
	case !set:
		return ""
	case c == 1:
		return "C_INTERNET"
	case c == 2:
		return "C_CSNET"
	case c == 3:
		return "C_CHAOS"
	case c == 4:
		return "C_HESIOD"
	case c == classNONE:
		return "C_NONE"
	case c == classANY:
		return "C_ANY"
	}
	return "qclass-" + strconv.Itoa(int(c))
}

func rcodeName(r uint8) string {
	switch r {
	case 0:
		return "NOERROR"
	case 1:
		return "FORMERR"
	case 2:
		return "SERVFAIL"
	case rcodeNXDomain:
		return "NXDOMAIN"
	case 4:
		return "NOTIMP"
	case 5:
		return "REFUSED"
	case 6:
		return "YXDOMAIN"
	case 7:
		return "YXRRSET"
	case 8:
		return "NXRRSet"
	case 9:
		return "NOTAUTH"
	case 10:
		return "NOTZONE"
	}
	return "unassigned-" + strconv.Itoa(int(r))
}

func opcodeName(op uint8, netbios bool) string {
	if netbios {
		switch op {
		case opQuery:
			return "netbios-query"
		case opUpdate:
			return "netbios-registration"
		case 6:
			return "netbios-release"
		case 7:
			return "netbios-wack"
		case opNBLast:
			return "netbios-refresh"
		}
		return "netbios-opcode-" + strconv.Itoa(int(op))
	}
	switch op {
	case opQuery:
		return "query"
	case 1:
		return "iquery"
	case 2:
		return "server-status"
	case opNotify:
		return "notify"
	case opUpdate:
		return "dynamic-update"
	case 6:
		return "dso"
	}
	return "opcode-" + strconv.Itoa(int(op))
}
