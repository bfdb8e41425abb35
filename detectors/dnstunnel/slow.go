package dnstunnel

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/detectors"
)

// A tunnel that waits sends few bytes: each question asks for orders under a name of its own, so that no cache answers,
// and each is answered. What is looked up for its own sake under many names (reputation, hashes of files) is mostly
// unknown to whoever is asked.
const (
	maxSlow = 4096
	// So many names, none of them asked much more often than once, most of them answered with a record of a rare type.
	slowNames    = 40
	slowRepeats  = 1.3
	slowAnswered = 0.8
	// From the first to the last: a page that loads takes less.
	slowSpan = 5 * time.Minute
	// What was begun longer ago is begun again.
	slowWindow = 24 * time.Hour
	// The label that differs.
	slowLabel = 8
)

// slow is what one client asked below one domain for orders, as it seems.
type slow struct {
	since    capture.Time
	last     capture.Time
	names    map[uint64]struct{}
	queries  int
	answered int
	coded    int // names whose first label is hexadecimal or looks like base32
	bytes    int
	example  string
	said     bool
}

type slowKey struct {
	client netip.Addr
	domain string
}

// idle follows questions of rare types.
func (d *detector) idle(t *dns.Transaction, client netip.Addr, sub, domain string) {
	if domain == noDomain || !t.Answered || strings.HasPrefix(sub, "_") || strings.Contains(sub, "._") {
		return
	}
	k := slowKey{client, domain}
	s := d.slows.Get(k)
	if s == nil {
		k.domain = strings.Clone(domain)
		s = d.slows.Put(k)
	}
	if s.names == nil || t.Time.Sub(s.since) > slowWindow {
		*s = slow{since: t.Time, names: map[uint64]struct{}{}}
	}
	s.queries++
	s.last = t.Time
	if t.RCode == 0 && (len(t.Answers) > 0 || t.ReplySize > t.QuerySize+slowLabel) { // tunnels write records that nobody else would
		s.answered++
	}
	h := maphash.String(d.seed, sub)
	if _, ok := s.names[h]; !ok && len(s.names) < maxNames {
		s.names[h] = struct{}{}
		label, _, _ := strings.Cut(sub, ".")
		s.bytes += len(label)
		if codedLabel(label) {
			s.coded++
		}
		s.example = t.Query
	}
	n := len(s.names)
	if s.said || n < slowNames || s.last.Sub(s.since) < slowSpan || float64(s.coded) < 0.9*float64(n) ||
		n < maxNames && float64(s.queries) > slowRepeats*float64(n) || float64(s.answered) < slowAnswered*float64(s.queries) {
		return
	}
	s.said = true
	d.bus.Report(&detectors.Finding{
		At: t.At, Rule: rule, Severity: detectors.Medium, Confidence: 70, Outcome: detectors.Observed,
		Src: client, Dst: t.Flow.Resp.Addr(), Port: t.Flow.Resp.Port(), Flow: t.Flow,
		Evidence: []detectors.Evidence{{Field: "query", Value: detectors.Clip(s.example, 160), Packet: t.Packet}},
		Msg: fmt.Sprintf("%s asked for %d names below %s in %s, each once, for records that hold text, and was answered: it seems to wait for orders",
			client, n, domain, detectors.Span(s.last.Sub(s.since))),
		Key: rule + "|" + client.String() + "|" + domain + "|slow",
	})
}

// codedLabel says that a label is no word: hexadecimal, or letters and digits mixed through.
func codedLabel(l string) bool {
	if len(l) < slowLabel {
		return false
	}
	hex, digits, turns, was := true, 0, 0, false
	for i := range len(l) {
		c := l[i]
		digit := c >= '0' && c <= '9'
		if digit {
			digits++
		} else if c < 'a' || c > 'f' {
			hex = false
		}
		if c == '-' || c == '_' || c == '.' {
			return false
		}
		if i > 0 && digit != was {
			turns++
		}
		was = digit
	}
	return hex && digits > 0 || digits >= 2 && turns >= 3
}
