package dnstunnel

import (
	"hash/maphash"
	"math"
	"strings"

	"github.com/raytap/raytap/decoders/dns"
)

const (
	// maxWords bounds the words of a pair's names that are told apart. Encoders make words that do not come again; a
	// word that does comes every few names.
	maxWords = 32
	// A word that an eighth of the names have, and at least two others, is no data: an encoder that had as few words
	// would move three bits with each.
	commonShare = 8
	commonLeast = 2
	// Nine names in ten must look alike to be excused.
	excuseShare = 0.9
	// A domain is the site's own when this many of its long names were answered with addresses at home and four times as
	// many as with others.
	ownNames = 10
	// Digests are asked for as messages and files come in; who sends a file asks as fast as he is answered. A second.
	maxRate = 10
)

// wordSeed is the program's own, so that nobody can make words that are taken for common ones.
var wordSeed = maphash.MakeSeed()

// words are those of a pair's names, by hash, with how many names had them.
type words struct {
	hash [maxWords]uint64
	n    [maxWords]uint32
	next int // of the ring of those that were seen once
}

// common counts a word and says whether it is one that many of the names have, of which there are names so far.
func (w *words) common(word string, names int) bool {
	h := maphash.String(wordSeed, word) | 1
	for i := range w.hash {
		if w.hash[i] == h {
			w.n[i]++
			return w.n[i] > max(commonLeast, uint32(names/commonShare))
		}
		if w.hash[i] == 0 {
			w.hash[i], w.n[i] = h, 1
			return false
		}
	}
	for range maxWords {
		if w.next = (w.next + 1) % maxWords; w.n[w.next] == 1 {
			w.hash[w.next] = h
			return false
		}
	}
	return false
}

// looks counts names by what they look like.
type looks struct {
	digests int // one digest of the first one's length, and nothing else that is not common
	length  int // of that
	hex     bool
	service int // with a label of RFC 8552
	inside  int // answered with addresses at home alone
}

// verdict says whether an answer is one that those give who are asked about a digest: that there is none, 127.0.0.0/8
// (RFC 5782), an address at home, or records that are no addresses.
func (d *detector) verdict(t *dns.Transaction) bool {
	if len(t.Answers) == 0 {
		return t.RCode == rcodeAbsent
	}
	for i := range t.Answers {
		if a := t.Answers[i].Addr; a.IsValid() && !a.IsLoopback() && !d.env.Home.Contains(a) {
			return false
		}
	}
	return true
}

// take adds a name that was not seen before, which was answered with a verdict or not.
func (p *pair) take(sub string, verdict bool) {
	length, hex, rest := 0, false, 0 // of a digest, and what is neither that nor common
	service, placed := false, false
	for l := range strings.SplitSeq(sub, ".") {
		if len(l) > 1 && l[0] == '_' && !service {
			service = underscored(l)
		}
		if n, h := digest(l); n > 0 && length == 0 {
			if !p.words.common(l, p.unique) {
				length, hex = n, h
				p.add(l)
			}
			continue
		}
		dashed := address(l)
		placed = placed || dashed
		for l != "" {
			i := strings.IndexAny(l, "-_")
			word := l
			if i < 0 {
				l = ""
			} else {
				word, l = l[:i], l[i+1:]
			}
			if word == "" || p.words.common(word, p.unique) {
				continue
			}
			p.add(word)
			if !dashed {
				rest += len(word)
			}
		}
	}
	if p.looks.digests == 0 {
		p.looks.length, p.looks.hex = length, hex
	}
	// Of the first names it is not known yet what they have in common.
	if (verdict || placed) && length > 0 && length == p.looks.length && hex == p.looks.hex && (rest == 0 || p.unique <= commonLeast) {
		p.looks.digests++
	}
	if service {
		p.looks.service++
	}
}

func (p *pair) add(word string) {
	p.bytes += uint64(len(word))
	for i := range len(word) {
		p.chars[word[i]&127]++
	}
}

// digest says how many characters of a digest or GUID a label is, 0 if it is none, and whether they are hexadecimal:
// MD5, SHA-1 and the 28 octets of SHA-256 that RFC 7929 and 8162 have, in hexadecimal; 16, 20 and 32 octets in base32.
// An underscore may stand before it, as certificate authorities want it.
func digest(l string) (n int, hex bool) {
	if len(l) > 0 && l[0] == '_' {
		l = l[1:]
	}
	guid := len(l) == 36
	switch len(l) {
	case 26, 32, 36, 40, 52, 56:
	default:
		return 0, false
	}
	letters, hexes := 0, 0
	for i := range len(l) {
		c := l[i]
		switch {
		case guid && (i == 8 || i == 13 || i == 18 || i == 23):
			if c != '-' {
				return 0, false
			}
		case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'f':
			hexes, letters = hexes+1, letters+1
		case c|0x20 >= 'g' && c|0x20 <= 'z':
			letters++
		default:
			return 0, false
		}
	}
	switch {
	case hexes == letters && (guid || letters == 32 || letters == 40 || letters == 56):
		return letters, true
	case !guid && (letters == 26 || letters == 32 || letters == 52):
		return letters, false
	}
	return 0, false
}

// address says whether a label is an IPv4 address with hyphens, as names that are made for addresses have it.
func address(l string) bool {
	parts := 0
	for w := range strings.SplitSeq(l, "-") {
		switch {
		case len(w) >= 1 && len(w) <= 3 && strings.Trim(w, "0123456789") == "":
			parts++
		case parts > 0 && parts < 4:
			return false
		}
	}
	return parts == 4
}

// services are the labels of RFC 8552 and its registry, and Active Directory's, below which names are asked for that
// nobody chooses.
var services = map[string]bool{
	"_acme-challenge": true, "_dmarc": true, "_domainkey": true, "_dta": true, "_mta-sts": true, "_msdcs": true, "_openpgpkey": true,
	"_sites": true, "_smimecert": true, "_smtp-tls": true, "_spf": true, "_tcp": true, "_tls": true, "_udp": true, "_validation-contactemail": true,
}

// underscored says whether a label is one of services; certificate authorities put an account into theirs.
func underscored(l string) bool {
	return services[l] || services[strings.ToLower(l)] || len(l) < 40 && strings.HasPrefix(l, "_acme-challenge_")
}

// placed notes where the addresses in an answer are.
func (d *detector) placed(t *dns.Transaction, domain string, p *pair) {
	in, out := 0, 0
	for i := range t.Answers {
		if a := t.Answers[i].Addr; a.IsValid() {
			if d.env.Home.Contains(a) && !a.IsLoopback() {
				in++
			} else {
				out++
			}
		}
	}
	if in+out == 0 {
		return
	}
	z := d.zones.Put(domain)
	if out > 0 {
		z.outside++
		return
	}
	z.inside++
	p.looks.inside++
}

// excuse says what a pair's names look like other than data, "" if nothing or if nothing excuses them.
func (d *detector) excuse(t *dns.Transaction, k pairKey, p *pair, mean, entropy float64) string {
	if at, ok := d.jobs.Load(k.client); ok && t.Time.Sub(at) <= jobFor {
		return ""
	}
	most := func(n int) bool { return float64(n) >= excuseShare*float64(p.unique) }
	switch {
	case most(p.looks.digests) && random(entropy, p.looks.hex) && float64(p.unique) <= maxRate*max(t.Time.Sub(p.since).Seconds(), 1):
		return "each is a digest or identifier of one length"
	case most(p.looks.service) && mean <= maxService:
		return "they are names of services, keys and validations"
	case most(p.looks.inside):
		return "they have addresses at home"
	}
	if z := d.zones.Peek(k.domain); z != nil && z.inside >= ownNames && z.inside >= 4*z.outside {
		return "the domain is the site's own"
	}
	return ""
}

// maxService is the longest that what differs in such names is on the mean. Selectors of keys have 32 characters at most
// in practice, encoders use the room that there is.
const maxService = 40

// random says whether characters are spread as those of digests are. What was text before it was encoded is not: its
// octets begin with few of the sixteen digits.
func random(entropy float64, hex bool) bool {
	if hex {
		return entropy >= 0.97*math.Log2(16)
	}
	return entropy >= 0.96*math.Log2(32)
}
