package intel

import (
	"errors"
	"strings"
)

// Reasons why a pattern is left out.
var (
	errPattern  = errors.New("a pattern that is not understood")
	errCombined = errors.New("a pattern that combines observations")
	errWhole    = errors.New("a pattern that cannot be matched on the wire")
)

// term is one comparison of a pattern that holds by itself.
type term struct{ typ, value string }

// paths are what object paths of STIX are, lower case and without quotes.
var paths = map[string]string{
	"ipv4-addr:value": "ip", "ipv6-addr:value": "ip", "domain-name:value": "domain", "url:value": "url",
	"file:hashes.md5": "md5", "file:hashes.sha-1": "sha1", "file:hashes.sha1": "sha1", "file:hashes.sha-256": "sha256", "file:hashes.sha256": "sha256",
	"artifact:hashes.sha-256": "sha256", "x509-certificate:hashes.sha-1": "cert_hash", "x509-certificate:hashes.sha-256": "cert_hash", "network-traffic:dst_ref.value": "ip", "network-traffic:dst_port": "port",
	"network-traffic:extensions.http-request-ext.request_header.user-agent": "user-agent",
}

// beside are paths that say nothing by themselves when they stand beside an address.
func beside(path string) bool {
	return path == "network-traffic:dst_ref.type" || strings.HasPrefix(path, "network-traffic:protocols")
}

// maxTerms bounds what one pattern gives.
const maxTerms = 1024

// parsePattern reads the patterns that name things to look for: observations joined by OR, each of comparisons by = or
// IN joined by OR, or an address AND its port. Everything else is refused whole, since half of a pattern says what
// nobody meant.
func parsePattern(s string) ([]term, error) {
	p := &pattern{s: s}
	var all []term
	for {
		if !p.take("[") {
			return nil, errPattern
		}
		terms, err := p.observation()
		if err != nil {
			return nil, err
		}
		if all = append(all, terms...); len(all) > maxTerms {
			return nil, errPattern
		}
		p.space()
		switch {
		case p.at == len(p.s):
			return all, nil
		case p.word("OR"):
		default:
			return nil, errCombined
		}
	}
}

type pattern struct {
	s  string
	at int
}

func (p *pattern) space() {
	for p.at < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.at]) >= 0 {
		p.at++
	}
}

func (p *pattern) take(t string) bool {
	p.space()
	if !strings.HasPrefix(p.s[p.at:], t) {
		return false
	}
	p.at += len(t)
	return true
}

// word takes a keyword, which ends where no letter follows.
func (p *pattern) word(w string) bool {
	p.space()
	rest := p.s[p.at:]
	if len(rest) < len(w) || !strings.EqualFold(rest[:len(w)], w) || len(rest) > len(w) && rest[len(w)]|0x20 >= 'a' && rest[len(w)]|0x20 <= 'z' {
		return false
	}
	p.at += len(w)
	return true
}

// observation reads up to the closing bracket.
func (p *pattern) observation() ([]term, error) {
	var terms []term
	ands, ors, foreign := 0, 0, false
	for {
		path := p.path()
		if path == "" {
			return nil, errPattern
		}
		var values []string
		switch {
		case p.word("NOT"):
			return nil, errPattern
		case p.take("="):
			v, ok := p.literal()
			if !ok {
				return nil, errPattern
			}
			values = []string{v}
		case p.word("IN"):
			if !p.take("(") {
				return nil, errPattern
			}
			for {
				v, ok := p.literal()
				if !ok || len(values) > maxTerms {
					return nil, errPattern
				}
				values = append(values, v)
				if !p.take(",") {
					break
				}
			}
			if !p.take(")") {
				return nil, errPattern
			}
		default:
			return nil, errPattern // >, LIKE, MATCHES, ISSUBSET ...
		}
		if typ, ok := paths[path]; ok {
			for _, v := range values {
				terms = append(terms, term{typ, v})
			}
		} else if !beside(path) {
			foreign = true
		}
		switch {
		case p.word("AND"):
			ands++
		case p.word("OR"):
			ors++
		case p.take("]"):
			return combine(terms, ands, ors, foreign)
		default:
			return nil, errPattern
		}
	}
}

// combine makes of an observation's comparisons what can be looked for.
func combine(terms []term, ands, ors int, foreign bool) ([]term, error) {
	ports := 0
	for _, t := range terms {
		if t.typ == "port" {
			ports++
		}
	}
	switch {
	case len(terms) == 0:
		return nil, errWhole
	case ands == 0:
		var out []term
		for _, t := range terms {
			if t.typ != "port" {
				out = append(out, t)
			}
		}
		if len(out) == 0 {
			return nil, errWhole
		}
		return out, nil
	case ors > 0 || foreign:
		return nil, errPattern
	case len(terms) == 1 && ports == 0:
		return terms, nil
	case len(terms) == 2 && ports == 1:
		a, port := terms[0], terms[1]
		if a.typ == "port" {
			a, port = port, a
		}
		if a.typ == "ip" {
			return []term{{"ip:port", netipJoin(a.value, port.value)}}, nil
		}
	}
	return nil, errPattern
}

// path reads an object path and folds it.
func (p *pattern) path() string {
	p.space()
	from, quoted := p.at, false
	for p.at < len(p.s) {
		c := p.s[p.at]
		if c == '\'' {
			quoted = !quoted
		} else if !quoted && strings.IndexByte(" \t\r\n=()[]<>!,", c) >= 0 && (c != '[' || !strings.HasPrefix(p.s[p.at:], "[*]")) {
			break
		}
		p.at++
	}
	return strings.ToLower(strings.NewReplacer("'", "", `"`, "").Replace(p.s[from:p.at]))
}

// literal reads a string or a number.
func (p *pattern) literal() (string, bool) {
	p.space()
	if p.at == len(p.s) {
		return "", false
	}
	if p.s[p.at] != '\'' {
		from := p.at
		for p.at < len(p.s) && p.s[p.at] >= '0' && p.s[p.at] <= '9' {
			p.at++
		}
		return p.s[from:p.at], p.at > from
	}
	var b strings.Builder
	for p.at++; p.at < len(p.s); p.at++ {
		switch c := p.s[p.at]; {
		case c == '\\' && p.at+1 < len(p.s):
			p.at++
			b.WriteByte(p.s[p.at])
		case c == '\'':
			p.at++
			return b.String(), true
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
