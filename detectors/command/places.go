package command

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

// Kind is what a place on the network is, for somebody who runs what lies there.
type Kind uint8

// The kinds, in no order.
const (
	Unclear  Kind = iota // a variable
	Inside               // at home, or a name that only a site has
	Own                  // a name as sites give them to what is theirs: dl.corp.example.com
	Vendor               // its maker tells people to run it
	Hosted               // an archive or release at a host of code or models
	Store                // somebody's bucket
	Named                // a name, over TLS
	Clear                // a name, without TLS
	Raw                  // a file in somebody's repository
	Anybodys             // anybody may have left it there
	Bare                 // an address outside
	Hostile              // named in reports
)

// Place is where something is fetched from or sent to.
type Place struct {
	URL  string
	Host string
	Port string
	Path string
	Kind Kind
	TLS  bool
	Odd  bool // an address written so that nobody reads it
}

// Place judges a URL, with or without scheme.
func (j *Judge) Place(u string) *Place {
	u = clipURL(u)
	p := &Place{URL: u}
	rest := u
	scheme := ""
	if i := strings.Index(rest, "://"); i >= 0 && i < 16 {
		scheme, rest = strings.ToLower(rest[:i]), rest[i+3:]
	}
	scheme = strings.TrimPrefix(scheme, "git+")
	p.TLS = scheme == "https" || scheme == "ssh" || scheme == "wss"
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest, p.Path = rest[:i], rest[i:]
	}
	p.Path, _, _ = strings.Cut(p.Path, "?")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	p.Host, p.Port = splitPort(rest)
	p.Host = strings.ToLower(strings.TrimSuffix(p.Host, "."))
	p.Kind = j.kind(p, scheme)
	return p
}

func clipURL(u string) string {
	if len(u) > 2048 {
		return u[:2048]
	}
	return u
}

func splitPort(h string) (host, port string) {
	if strings.HasPrefix(h, "[") {
		if i := strings.IndexByte(h, ']'); i > 0 {
			return h[1:i], strings.TrimPrefix(h[i+1:], ":")
		}
	}
	if i := strings.LastIndexByte(h, ':'); i >= 0 && strings.Count(h, ":") == 1 {
		return h[:i], h[i+1:]
	}
	return h, ""
}

func (j *Judge) kind(p *Place, scheme string) Kind {
	h := p.Host
	if h == "" {
		return Unclear
	}
	if i := strings.Index(h, hole); i >= 0 {
		return j.partly(h, i)
	}
	if a, odd, ok := parseAddr(h); ok {
		p.Odd = odd
		if j.home.Contains(a) || detectors.Special(a) {
			return Inside
		}
		return Bare
	}
	if j.inside != nil && j.inside(h) {
		return Inside
	}
	switch j.lists.Source(h, p.Path) {
	case data.Hostile:
		return Hostile
	case data.Vendor:
		if p.TLS || scheme == "" && p.Port == "" {
			return Vendor
		}
	}
	if data.Private(h) {
		return Inside
	}
	if ownName(h) {
		return Own
	}
	switch data.SiteOf(h) {
	case data.Code:
		return Raw
	case data.Forge:
		if strings.Contains(p.Path, "/raw/") {
			return Raw
		}
		return Hosted
	case data.Packages:
		return Vendor
	case data.Hub:
		return Hosted
	case data.Share, data.Paste, data.Tunnel:
		return Anybodys
	case data.Store:
		if p.TLS || scheme == "s3" || scheme == "gs" {
			return Store
		}
		return Clear
	}
	if p.TLS {
		return Named
	}
	return Clear
}

// partly judges a host that is known up to a place.
func (j *Judge) partly(h string, at int) Kind {
	// The end of a name says whose it is: $HOST.internal.
	if tail := h[strings.LastIndex(h, hole)+1:]; strings.HasPrefix(tail, ".") && data.Private("x"+tail) {
		return Inside
	}
	parts := strings.Split(h[:at], ".")
	var b [4]byte
	for i, s := range parts[:len(parts)-1] {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil || i > 2 {
			return Unclear
		}
		b[i] = byte(n)
	}
	if len(parts) < 2 {
		return Unclear
	}
	if a := netip.AddrFrom4(b); j.home.Contains(a) || len(parts) == 2 && (b[0] == 172 || b[0] == 192 || b[0] == 100) {
		return Inside
	}
	return Bare
}

// ownName says that a name has a label that sites give to what only they reach. Anybody may have one: it says less than a
// look-up does.
func ownName(h string) bool {
	labels := strings.Split(h, ".")
	for _, l := range labels[:max(len(labels)-2, 0)] {
		switch l {
		case "corp", "internal", "intranet", "intra", "lan", "priv", "private", "int":
			return true
		}
	}
	return false
}

// parseAddr reads an address in any of the forms that inet_aton(3) takes: 198.51.100.7, 0xc6336407, 3325256711,
// 0306.063.0144.07, 198.3367943. odd: not the usual one.
func parseAddr(h string) (a netip.Addr, odd, ok bool) {
	if a, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil {
		return a.Unmap(), false, true
	}
	parts := strings.Split(h, ".")
	if len(parts) > 4 {
		return a, false, false
	}
	var n uint64
	for i, s := range parts {
		if s == "" || s[0] < '0' || s[0] > '9' || strings.Contains(s, "_") {
			return a, false, false
		}
		x, err := strconv.ParseUint(s, 0, 32)
		if err != nil {
			return a, false, false
		}
		if i == len(parts)-1 {
			if x >= 1<<(8*(5-len(parts))) {
				return a, false, false
			}
			n |= x
		} else if x > 255 {
			return a, false, false
		} else {
			n |= x << (8 * (3 - i))
		}
	}
	if len(parts) == 1 && n < 1<<24 {
		return a, false, false // a number
	}
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), true, true
}

// isURL says whether a word is a URL of a kind that programs fetch.
func isURL(s string) bool {
	i := strings.Index(s, "://")
	if i < 2 || i > 10 {
		return false
	}
	switch strings.ToLower(s[:i]) {
	case "http", "https", "ftp", "ftps", "sftp", "tftp", "gopher", "telnet", "dict", "ws", "wss":
		return true
	}
	return false
}

// piped rates a script that is run as it comes.
func (p *Place) piped() int {
	switch p.Kind {
	case Inside, Vendor:
		return 10
	case Unclear, Store, Own:
		return 40
	case Hosted:
		return 45
	case Named, Raw:
		return 55
	case Clear, Anybodys:
		return 85
	}
	return 90
}

// kept rates a file that is fetched first and run by a later command.
func (p *Place) kept(script, packed bool) int {
	switch p.Kind {
	case Inside, Vendor:
		return 5
	case Unclear, Own:
		return 15
	case Hosted, Store:
		if script || packed {
			return 10
		}
		return 25
	case Named, Raw:
		if script || packed {
			return 25
		}
		return 45
	case Clear:
		if packed {
			return 30
		}
		if script {
			return 40
		}
		return 65
	case Anybodys:
		if script && !packed {
			return 60
		}
		return 80
	}
	if packed {
		return 75
	}
	return 85
}

// outside says that what goes there leaves the site.
func (p *Place) outside() bool {
	return p != nil && p.Kind != Inside && p.Kind != Own && p.Kind != Unclear
}

// callback says whether a host belongs to a service that tells of callbacks.
func (j *Judge) callback(host string) (grade string) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if len(host) > 255 {
		return ""
	}
	for rest := host; rest != ""; {
		if g, ok := j.callbacks[rest]; ok {
			return g
		}
		_, rest, _ = strings.Cut(rest, ".")
	}
	return ""
}
