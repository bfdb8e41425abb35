package report

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
)

// Kinds of indicators.
const (
	KindIPv4   = "ipv4"
	KindIPv6   = "ipv6"
	KindDomain = "domain"
	KindURL    = "url"
	KindWallet = "wallet"
)

// Indicator is a value to look for elsewhere.
type Indicator struct {
	Kind, Value string
	Role        string // what it was in the story
	First       capture.Time
	Severity    detectors.Severity // of the worst finding that it comes from
	Confidence  int                // of that finding
	Findings    []string           // their ids, bounded
	Techniques  []Technique        // of them
	Outcome     string             // of the worst
}

const (
	// Findings below this severity make no indicators: what they name may well be somebody harmless.
	indicatorsFrom = detectors.Medium
	maxIndicators  = 2000
	// Names and addresses that findings mention, remembered to find them again in other logs.
	maxKnown = 4096
)

var (
	urlText = regexp.MustCompile(`(?i)\bhttps?://[^\s'"<>|;)(\\{}^` + "`" + `]+`)
	// Dots with labels on both sides: an address, a host's name, or a file's.
	dotted = regexp.MustCompile(`[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+`)
	// A name as DNS has it, with a top level of letters.
	domainName = regexp.MustCompile(`^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+(?:[a-z]{2,24}|xn--[a-z0-9-]{2,59})$`)
)

// Addresses of all coins, some with a prefix.
var walletText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:]{15,127}$`)

// Evidence that holds what the other side chose to say of itself or of the world, and not where it lives.
var talk = map[string]bool{"answer": true, "user_agent": true, "banner": true, "prompt": true}

// Evidence that holds the name of a host.
var nameFields = map[string]bool{"query": true, "host": true, "target": true, "connect": true, "server name": true, "planted in a job": true}

func urlHost(u string) string {
	_, rest, _ := strings.Cut(u, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return http.HostOf(rest)
}

// urls lists those in a text, without the punctuation that follows them in a sentence. One that was cut is none.
func urls(s string) []string {
	all := urlText.FindAllString(detectors.Whole(s), -1)
	for i, u := range all {
		all[i] = strings.TrimRight(u, ".,:!?&]")
	}
	return all
}

// unmasked gives what can be looked for of a URL in which something was masked: it has neither user nor query.
func unmasked(u string) string {
	if !strings.Contains(u, "***") {
		return u
	}
	scheme, rest, _ := strings.Cut(u, "://")
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	host, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	host = host[strings.LastIndexByte(host, '@')+1:]
	path, _, _ = strings.Cut(path, "***")
	return scheme + "://" + host + path
}

// knowledge is what findings name: hosts and names.
type knowledge struct{ names map[string]bool }

func (k *knowledge) host(name string) bool { return name != "" && k.names[name] }

func (k *knowledge) put(name string) {
	if name != "" && len(k.names) < maxKnown {
		k.names[name] = true
	}
}

// learn collects the names of the evidence. The commands of a job name hosts without a scheme, too (a pool and its
// port), so every dotted name in them counts; what is only a file's name is never resolved or called.
func (k *knowledge) learn(r *Report) {
	k.names = map[string]bool{}
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Severity < indicatorsFrom {
			continue
		}
		for _, e := range f.Evidence {
			if talk[e.Field] {
				continue
			}
			for _, u := range urls(e.Value) {
				k.put(urlHost(u))
			}
			for _, n := range dotted.FindAllString(detectors.Whole(e.Value), -1) {
				k.put(strings.ToLower(n))
			}
		}
	}
	// The cluster itself is named in every request that it got.
	for n := range k.names {
		if a, err := netip.ParseAddr(n); err == nil && r.inside(a) {
			delete(k.names, n)
		}
	}
}

// Indicators lists what to look for, the worst first.
func (r *Report) Indicators() []Indicator {
	l := indicatorList{r: r, index: map[string]int{}}
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Severity < indicatorsFrom {
			continue
		}
		l.addr(f.Src, f)
		l.addr(f.Dst, f)
		for _, a := range [...]netip.Addr{f.Src, f.Dst} {
			if h := r.hosts[a]; h != nil && !r.inside(a) && h.name != "" {
				l.name(h.name, h.role.String(), f)
			}
		}
		for _, e := range f.Evidence {
			if talk[e.Field] {
				continue
			}
			l.urls(e.Value, f)
			if nameFields[e.Field] {
				l.name(e.Value, pick(strings.HasPrefix(f.Rule, "mining/"), rolePool.String(), ""), f)
			}
		}
		if m := r.miners[f.UID]; m != nil && walletText.MatchString(m.wallet) && strings.HasPrefix(f.Rule, "mining/") {
			l.put(KindWallet, m.wallet, pick(m.coin != "", m.coin+" wallet", "wallet"), f)
		}
	}
	slices.SortStableFunc(l.all, func(a, b Indicator) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.First, b.First), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value))
	})
	return l.all
}

// indicatorList collects indicators, each once.
type indicatorList struct {
	r     *Report
	index map[string]int // by kind and value
	all   []Indicator
}

// put adds an indicator of the finding f, or adds the finding to it.
func (l *indicatorList) put(kind, value, role string, f *Finding) {
	i, ok := l.index[kind+" "+value]
	if !ok {
		if len(l.all) >= maxIndicators {
			return
		}
		i = len(l.all)
		l.index[kind+" "+value] = i
		l.all = append(l.all, Indicator{Kind: kind, Value: value, Role: role, First: f.Time, Severity: f.Severity, Confidence: f.Confidence, Outcome: f.Outcome})
	}
	x := &l.all[i]
	x.First = min(x.First, f.Time)
	if f.Severity > x.Severity || f.Severity == x.Severity && f.Confidence > x.Confidence {
		x.Severity, x.Confidence, x.Outcome = f.Severity, f.Confidence, f.Outcome
	}
	if f.ID != "" {
		x.Findings, _ = add(x.Findings, f.ID)
	}
	for _, t := range slices.Concat(f.ATTACK, f.ATLAS) {
		x.Techniques, _ = add(x.Techniques, t)
	}
}

func (l *indicatorList) addr(a netip.Addr, f *Finding) {
	if !a.IsValid() || l.r.inside(a) || detectors.Special(a) {
		return
	}
	as := ""
	if h := l.r.hosts[a]; h != nil {
		as = h.role.String()
	}
	l.put(pick(a.Unmap().Is4(), KindIPv4, KindIPv6), a.Unmap().String(), as, f)
}

// name adds a name of a host, which may be an address.
func (l *indicatorList) name(n, as string, f *Finding) {
	n = http.HostOf(n)
	if a, err := netip.ParseAddr(n); err == nil {
		l.addr(a, f)
	} else if len(n) <= 253 && domainName.MatchString(n) {
		l.put(KindDomain, n, as, f)
	}
}

// urls adds the URLs in a text that lead outside.
func (l *indicatorList) urls(text string, f *Finding) {
	for _, u := range urls(text) {
		name := urlHost(u)
		a, err := netip.ParseAddr(name)
		if err == nil && (l.r.inside(a) || detectors.Special(a)) || err != nil && !domainName.MatchString(name) {
			continue
		}
		l.put(KindURL, unmasked(u), "named in a request", f)
		if err == nil {
			l.addr(a, f)
		}
	}
}

// Defang makes a value harmless to click: hxxp and dots in brackets.
func (i *Indicator) Defang() string {
	switch i.Kind {
	case KindIPv4, KindDomain:
		return brackets(i.Value)
	case KindIPv6:
		return strings.Replace(i.Value, ":", "[:]", 1)
	case KindURL:
		return defangURL(i.Value)
	}
	return i.Value
}

func brackets(s string) string { return strings.ReplaceAll(s, ".", "[.]") }

func defangURL(u string) string {
	scheme, rest, _ := strings.Cut(u, "://")
	host, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	return strings.Replace(strings.Replace(scheme, "http", "hxxp", 1), "HTTP", "HXXP", 1) + "://" + brackets(host) + path
}

// defanger makes sentences harmless: URLs, addresses outside, and names that are indicators.
type defanger struct {
	r     *Report
	names map[string]bool
}

func (r *Report) defanger(list []Indicator) *defanger {
	d := &defanger{r, map[string]bool{}}
	for _, i := range list {
		switch i.Kind {
		case KindDomain:
			d.names[i.Value] = true
		case KindURL:
			d.names[urlHost(i.Value)] = true
		}
	}
	return d
}

func (d *defanger) text(s string) string {
	s = urlText.ReplaceAllStringFunc(s, func(u string) string {
		if a, err := netip.ParseAddr(urlHost(u)); err == nil && d.r.inside(a) {
			return u
		}
		return defangURL(u)
	})
	return dotted.ReplaceAllStringFunc(s, func(n string) string {
		a, err := netip.ParseAddr(n)
		if err == nil && !d.r.inside(a) || err != nil && d.names[strings.ToLower(n)] {
			return brackets(n)
		}
		return n
	})
}
