package intel

import (
	"errors"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/raytap/raytap/detectors/data"
)

// maxValue bounds a value; the longest URLs of feeds have 2 KiB.
const maxValue = 4 << 10

func exp2(x float64) float64 { return math.Exp2(x) }

func joinPort(host string, port uint16) string { return host + ":" + strconv.Itoa(int(port)) }

// Reasons why a value is no indicator.
var (
	errEmpty    = errors.New("empty")
	errLong     = errors.New("too long")
	errKind     = errors.New("not recognised")
	errName     = errors.New("not a host name")
	errSuffix   = errors.New("a suffix under which names are registered")
	errReserved = errors.New("a private or reserved address")
	errLocal    = errors.New("a local name")
	errBroad    = errors.New("a network too broad")
	errCommon   = errors.New("a file name that is too common")
	errSHA1     = errors.New("a certificate by SHA-1, which is not computed")
	errWire     = errors.New("a type that is not seen on the wire")
)

var fangs = strings.NewReplacer("[.]", ".", "(.)", ".", "{.}", ".", "[dot]", ".", "(dot)", ".", "[DOT]", ".", "[:]", ":", "[://]", "://", "[/]", "/",
	"\\.", ".", "[@]", "@", "\u200b", "", "\ufeff", "", "\u3002", ".", "\uff0e", ".")

// refang takes back what reports do to indicators so that nobody clicks on them.
func refang(s string) string {
	s = strings.Trim(strings.TrimSpace(s), "\"'`<>")
	if strings.ContainsAny(s, "[({\\\u200b\ufeff\u3002\uff0e") {
		s = fangs.Replace(s)
	}
	if len(s) > 4 && (s[0]|0x20) == 'h' && strings.EqualFold(s[1:3], "xx") && (s[3]|0x20) == 'p' {
		s = "http" + s[4:]
	}
	return strings.TrimSpace(s)
}

// domainOf folds a host name: case, the dot at its end, international names. A leading *. or . means what it means
// without.
func domainOf(s string) (string, error) {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "*."), ".")
	s = strings.TrimSuffix(s, ".")
	ascii := true
	for i := range len(s) {
		ascii = ascii && s[i] < 0x80
	}
	if !ascii {
		var err error
		if s, err = idna.Lookup.ToASCII(s); err != nil {
			return "", errName
		}
	}
	s = strings.ToLower(s)
	if len(s) == 0 || len(s) > 253 || !strings.Contains(s, ".") {
		return "", errName
	}
	last := ""
	for l := range strings.SplitSeq(s, ".") {
		if len(l) == 0 || len(l) > 63 {
			return "", errName
		}
		for _, c := range []byte(l) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return "", errName
			}
		}
		last = l
	}
	if last[0] >= '0' && last[0] <= '9' {
		return "", errName
	}
	if data.Private(s) {
		return "", errLocal
	}
	if suffix, icann := publicsuffix.PublicSuffix(s); suffix == s && icann {
		return "", errSuffix
	}
	return s, nil
}

// reserved are networks of which no address can be somebody on the Internet. Those for documentation are not among
// them: they lead nowhere either way, and exercises use them.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("::/8"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/9"), netip.MustParsePrefix("ff00::/8"),
}

const (
	// A network of more addresses than a /8 or a /19 is no indicator but a mistake, or a country.
	broad4 = 8
	broad6 = 19
)

func addrOf(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return a, errKind
	}
	a = a.Unmap().WithZone("")
	for _, p := range reserved {
		if p.Contains(a) {
			return a, errReserved
		}
	}
	return a, nil
}

func prefixOf(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, errKind
	}
	a := p.Addr()
	if a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	p = p.Masked()
	if p.Addr().Is4() && p.Bits() < broad4 || p.Addr().Is6() && p.Bits() < broad6 {
		return p, errBroad
	}
	for _, r := range reserved {
		if r.Contains(p.Addr()) {
			return p, errReserved
		}
	}
	return p, nil
}

// urlOf folds a URL to host[:port]/path?query: what a request shows of it. A port that is its scheme's is left out.
func urlOf(s string) (string, error) {
	if i := strings.Index(s, "://"); i >= 0 {
		s = s[i+3:]
	}
	s, _, _ = strings.Cut(s, "#")
	i := strings.IndexAny(s, "/?")
	if i < 0 {
		i = len(s)
	}
	host, rest := s[:i], s[i:]
	if j := strings.LastIndexByte(host, '@'); j >= 0 {
		host = host[j+1:]
	}
	port := ""
	if j := strings.LastIndexByte(host, ':'); j >= 0 && !strings.HasSuffix(host, "]") {
		host, port = host[:j], host[j:]
		if n, err := strconv.ParseUint(port[1:], 10, 16); err != nil || n == 0 {
			return "", errKind
		}
	}
	if port == ":80" || port == ":443" {
		port = ""
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		if _, err := addrOf(host); err != nil {
			return "", err
		}
		host = a.Unmap().String()
	} else if host, err = domainOf(host); err != nil && err != errSuffix {
		return "", err
	} else if err == errSuffix {
		return "", errName
	}
	if rest == "" || rest[0] == '?' {
		rest = "/" + rest
	}
	return host + port + rest, nil
}

// isHex reports whether s is hexadecimal digits alone, of either case and any number, unlike chars.IsHex: feeds write digests as
// they like.
func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return len(s) > 0
}

// isJA4 knows the shape t13d1516h2_8daaf6152771_e5627efa2ab1.
func isJA4(s string) bool {
	return len(s) == 36 && s[10] == '_' && s[23] == '_' && strings.IndexByte("tqd", s[0]) >= 0 && strings.IndexByte("di", s[3]) >= 0 &&
		isHex(s[11:23]) && isHex(s[24:])
}

// isWallet knows Monero's addresses; others look like many things.
func isWallet(s string) bool {
	if len(s) != 95 && len(s) != 106 || s[0] != '4' && s[0] != '8' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c == '0' || c == 'O' || c == 'I' || c == 'l' || c < '0' || c > 'z' || c > '9' && c < 'A' || c > 'Z' && c < 'a' {
			return false
		}
	}
	return true
}

// sharing is what too many use to be an indicator.
type sharing struct {
	names map[string]string
	nets  map[netip.Prefix]string
	bits  [2][]int
}

func loadShared() sharing {
	s := sharing{names: map[string]string{}, nets: map[netip.Prefix]string{}}
	have := [2]map[int]bool{{}, {}}
	data.Shared(func(what, whose string) {
		p, err := netip.ParsePrefix(what)
		if err != nil {
			s.names[what] = whose
			return
		}
		s.nets[p] = whose
		v6 := 0
		if p.Addr().Is6() {
			v6 = 1
		}
		if !have[v6][p.Bits()] {
			have[v6][p.Bits()] = true
			s.bits[v6] = append(s.bits[v6], p.Bits())
		}
	})
	return s
}

// name says whose a name is that stands for itself; names below it are their owners'.
func (s *sharing) name(d string) string {
	if whose := s.names[d]; whose != "" {
		return whose
	}
	if isSuffix(d) {
		// Where the list has a wildcard, every name of that depth looks like a suffix and is somebody's own.
		if _, rest, _ := strings.Cut(d, "."); !isSuffix("any-other-label." + rest) {
			return "names below it"
		}
	}
	return ""
}

// isSuffix says that people register names below d with its owner, who is no registry.
func isSuffix(d string) bool {
	suffix, icann := publicsuffix.PublicSuffix(d)
	return suffix == d && !icann && strings.Contains(d, ".")
}

func (s *sharing) addr(a netip.Addr) string {
	v6 := 0
	if !a.Is4() {
		v6 = 1
	}
	for _, bits := range s.bits[v6] {
		if p, err := a.Prefix(bits); err == nil {
			if whose := s.nets[p]; whose != "" {
				return whose
			}
		}
	}
	return ""
}
