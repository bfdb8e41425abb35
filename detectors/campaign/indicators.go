package campaign

import (
	_ "embed"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

const (
	// Hosts that one job is taken to name. Droppers name one to five; a list of targets may name hundreds.
	maxIndicators = 64
	// Text of a job that is read, encodings in it included, and how deep they go.
	maxText   = 64 << 10
	maxBudget = 256 << 10
	maxDepth  = 3
	// Longest name, RFC 1035.
	maxName = 253
)

// indicator is a host that a text names.
type indicator struct {
	name string     // lower case, "" for an address
	addr netip.Addr // invalid for a name
	url  bool       // it stands in a URL
}

//go:embed shared.txt
var sharedTxt string

// sharedHosts reads the list of services that everybody uses.
func sharedHosts() map[string]bool {
	m := map[string]bool{}
	for line := range strings.Lines(sharedTxt) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			m[line] = true
		}
	}
	return m
}

// shared says whether a name is that of a service that everybody uses, or one below it.
func shared(m map[string]bool, name string) bool {
	for {
		if m[name] {
			return true
		}
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return false
		}
		name = rest
	}
}

// collector takes hosts out of texts.
type collector struct {
	all    []indicator
	seen   map[indicator]bool
	budget int
}

// text looks for hosts in a command or a piece of code, and in what it hides in encodings and shell quoting.
func (c *collector) text(s string, depth int) {
	s = detectors.Whole(s)
	s = s[:min(len(s), maxText)]
	if c.budget -= len(s); s == "" || c.budget < 0 {
		return
	}
	plain := detectors.PlainShell(s)
	c.hosts(plain)
	if plain != s {
		c.hosts(s)
	}
	if depth >= maxDepth {
		return
	}
	for _, t := range []string{s, plain} {
		detectors.Hidden(t, c.budget, func(t string) bool {
			c.text(t, depth+1)
			return c.budget > 0
		})
		if plain == s {
			break
		}
	}
}

func (c *collector) add(i indicator) {
	if c.seen == nil {
		c.seen = map[indicator]bool{}
	}
	k := i
	k.url = false
	if len(c.all) < maxIndicators && !c.seen[k] {
		c.seen[k] = true
		c.all = append(c.all, i)
	}
}

// hosts takes the URLs first, then addresses, then what looks like a name: it is compared as a whole, so that a file's
// name that looks like a host's does no harm.
func (c *collector) hosts(s string) {
	for at := 0; ; {
		i := strings.Index(s[at:], "://")
		if i < 0 {
			break
		}
		at += i + 3
		end := at
		for end < len(s) && !strings.ContainsRune(" \t\r\n'\"`|;<>()\\/?#,{}", rune(s[end])) {
			end++
		}
		if h := http.HostOf(s[at:end]); h != "" {
			if a, ok := address(h); ok {
				c.add(indicator{addr: a, url: true})
			} else if domain(h) {
				c.add(indicator{name: h, url: true})
			}
		}
	}
	var names [maxIndicators]string
	n := 0
	for i := 0; i < len(s); {
		if !hostChar[s[i]] {
			i++
			continue
		}
		j, dotted, letters := i, false, false
		for j < len(s) && hostChar[s[j]] {
			dotted = dotted || s[j] == '.'
			letters = letters || s[j] > '9'
			j++
		}
		w := s[i:j]
		i = j
		if !dotted {
			continue // neither is one
		}
		w = strings.Trim(w, ".-")
		if !letters {
			if a, err := netip.ParseAddr(w); err == nil {
				c.add(indicator{addr: a.Unmap()})
			}
		} else if w = strings.ToLower(w); n < len(names) && domain(w) && !slices.Contains(names[:n], w) {
			names[n] = w
			n++
		}
	}
	for _, w := range names[:n] {
		c.add(indicator{name: w})
	}
}

// hostChar has the characters of names and of IPv4 addresses.
var hostChar = func() (t [256]bool) {
	for _, b := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_" {
		t[b] = true
	}
	return t
}()

// address reads an IP address as inet_aton does, which is how curl and wget do: 198.51.100.77, 3325256781, 0xc633644d,
// 0306.063.0144.0115.
func address(h string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.Unmap().WithZone(""), true
	}
	parts := strings.Split(h, ".")
	if h == "" || len(h) > 50 || len(parts) > 4 {
		return netip.Addr{}, false
	}
	var v uint64
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 0, 32)
		last := i == len(parts)-1
		if err != nil || strings.Contains(p, "_") || !last && n > 255 || last && n >= 1<<(8*(5-len(parts))) {
			return netip.Addr{}, false
		}
		if last {
			v = v<<(8*(5-len(parts))) | n
		} else {
			v = v<<8 | n
		}
	}
	if len(parts) == 1 && v < 1<<24 {
		return netip.Addr{}, false // a port or a number
	}
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), true
}

// domain says that s, in lower case, could be a name on the Internet.
func domain(s string) bool {
	if len(s) > maxName || strings.Contains(s, "..") {
		return false
	}
	i := strings.LastIndexByte(s, '.')
	if i < 1 || len(s)-i < 3 {
		return false
	}
	tld := s[i+1:]
	if strings.HasPrefix(tld, "xn--") {
		return true
	}
	for j := range len(tld) {
		if tld[j] < 'a' || tld[j] > 'z' {
			return false
		}
	}
	return !data.Private(s) || s == "metadata.google.internal"
}
