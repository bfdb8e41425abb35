package beacon

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors/data"
)

// believed says whether a place goes by a name that nothing speaks against: somebody was seen to look up its address, or
// nobody was seen to look up any; and neither that name nor the one that is asked for is ill.
func (d *detector) believed(addr netip.Addr, name string) bool {
	if name == "" || ill(name) {
		return false
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return false
	}
	if d.names.Len() == 0 {
		return strings.IndexByte(name, '.') >= 0
	}
	looked := d.names.Get(addr)
	return looked != nil && !ill(*looked)
}

// ill says whether a name is one that anybody can have without being asked who he is, by the hour: below a tunnel, file
// drop, paste site or host of raw files, or below a top-level domain that costs nothing.
func ill(name string) bool {
	name = strings.TrimSuffix(name, ".")
	site := data.SiteOf(name)
	if site.Anybodys() || site == data.Code {
		return true
	}
	return slices.Contains(cheap[:], name[strings.LastIndexByte(name, '.')+1:])
}

// cheap are top-level domains whose names were mostly registered for abuse, in the reports of Spamhaus (most abused
// top-level domains, 2023 to 2025) and Interisle (Cybercrime Supply Chain 2024).
var cheap = [...]string{
	"autos", "beauty", "bond", "buzz", "cf", "cfd", "click", "cyou", "fun", "ga", "gq", "hair", "icu", "lol", "mom", "monster", "pw", "quest",
	"rest", "sbs", "skin", "su", "tk", "top", "xin", "zip",
}

// disguised says whether a client calls itself a browser and sends nothing of what browsers send beside that, or says
// nothing of itself.
func disguised(r *http.Request) bool {
	ua := r.Header.Get("User-Agent")
	if ua == "" {
		return true
	}
	// crawlers and probes name themselves in a comment with the address of a page
	return strings.HasPrefix(ua, "Mozilla/") && !r.Header.Has("Accept-Language") && !r.Header.Has("Sec-Fetch-Mode") && !strings.Contains(ua, "+http")
}

// spokenBy says whether a flow spoke a protocol that has a log of its own and in which programs talk by the clock.
func spokenBy(services []string) bool {
	return slices.ContainsFunc(services, func(s string) bool {
		switch s {
		case "ssh", "smtp", "redis", "ftp", "mqtt", "nats", "memcached", "ldap", "krb_tcp", "smb", "rdp", "mysql", "postgresql", "pop3", "imap", "ntp", "snmp":
			return true
		}
		return false
	})
}

// unread says whether bytes of a flow were not captured.
func unread(c *capture.Conn) bool { return c.Missed > 0 }

// usualPort says whether a port belongs to a service that programs call under a name: the web's, mail's, SSH's, those of
// brokers and databases.
func usualPort(p uint16) bool {
	switch p {
	case 22, 25, 443, 465, 587, 853, 993, 995, 3306, 4222, 4317, 4318, 5432, 5671, 6379, 6443, 8443, 8883, 9092, 9093:
		return true
	}
	return false
}
