package oast

import (
	"strings"

	"github.com/raytap/raytap/detectors/data"
)

type grade string

const (
	gradeOAST   grade = "oast"
	gradeBin    grade = "bin"
	gradeCanary grade = "canary"
)

type service struct {
	domain string
	grade  grade
	length int
}

// services is the list, ready for look-ups.
type services map[string]service

func load() services {
	m := services{}
	for _, c := range data.LoadCallbacks() {
		m[c.Domain] = service{c.Domain, grade(c.Grade), c.Length}
	}
	return m
}

// find gives the service that a name is of, and the label next to its domain: "" for the bare domain.
func (m services) find(name string) (s service, label string, ok bool) {
	if len(name) > maxName {
		return s, "", false
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for below, rest := "", name; ; {
		if s, ok = m[rest]; ok {
			return s, below[strings.LastIndexByte(below, '.')+1:], true
		}
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			return s, "", false
		}
		rest = rest[i+1:]
		below = name[:len(name)-len(rest)-1]
	}
}

// maxName is what DNS allows a name (RFC 1035 section 2.3.4).
const maxName = 255

// siteLabels are what the services' own pages and interfaces have below their domains.
const siteLabels = " www app api docs blog polling public status mail ns ns1 ns2 mx admin static cdn "

// whose says whether the label is somebody's own rather than a page of the service, and whether it looks drawn at
// random.
func (s service) whose(label string) (own, random bool) {
	if label == "" || strings.Contains(siteLabels, " "+label+" ") {
		return false, false
	}
	digits, letters := false, false
	for i := range len(label) {
		switch c := label[i]; {
		case c >= '0' && c <= '9':
			digits = true
		case c >= 'a' && c <= 'z':
			letters = true
		case c == '-':
		default:
			return true, false
		}
	}
	// Of the long ones each has digits but for one in a thousand; the short services draw from so little that a word
	// cannot be told from a draw.
	return true, len(label) >= s.length && (s.length < shortLabel || digits && letters)
}

const shortLabel = 12

// names calls f with what in a text has the form of a host name and belongs to a service, until f returns false.
func (m services) names(text string, f func(name string, s service, label string) bool) {
	start := -1
	for i := 0; i <= len(text); i++ {
		if i < len(text) && hostByte(text[i]) {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			name := strings.Trim(text[start:i], ".-")
			start = -1
			if strings.IndexByte(name, '.') > 0 {
				if s, label, ok := m.find(name); ok && !f(name, s, label) {
					return
				}
			}
		}
	}
}

func hostByte(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.'
}
