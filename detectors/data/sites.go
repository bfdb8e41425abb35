package data

import (
	"bufio"
	_ "embed"
	"strings"
	"sync"
)

//go:embed sites.csv
var sitesCSV string

// Site is what a shared place on the Internet is for.
type Site string

// The classes of sites.csv.
const (
	Share    Site = "share"
	Paste    Site = "paste"
	Tunnel   Site = "tunnel"
	Code     Site = "code"
	Forge    Site = "forge"
	WhoAmI   Site = "whoami"
	Hub      Site = "hub"
	Store    Site = "store"
	Packages Site = "packages"
)

// Anybodys says that what lies there may be anybody's, put there without a name.
func (s Site) Anybodys() bool { return s == Share || s == Paste || s == Tunnel }

var sites = sync.OnceValue(func() map[string]Site {
	m := map[string]Site{}
	for sc := bufio.NewScanner(strings.NewReader(sitesCSV)); sc.Scan(); {
		if domain, class, ok := strings.Cut(sc.Text(), ","); ok && !strings.HasPrefix(domain, "#") {
			m[domain] = Site(class)
		}
	}
	return m
})

// SiteOf tells what the place of a host name is for; "" if it is no shared one. Case and a final dot do not matter.
func SiteOf(host string) Site {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if n := len(host); n == 0 || '0' <= host[n-1] && host[n-1] <= '9' {
		return "" // an address, as most hosts of a cluster are; no top-level domain that is listed ends so
	}
	for host != "" {
		if s, ok := sites()[host]; ok {
			return s
		}
		_, host, _ = strings.Cut(host, ".")
	}
	return ""
}
