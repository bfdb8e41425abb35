package search

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/logindex"
	"github.com/raytap/raytap/sinks/logs"
)

// Query says which rows are looked for: those that have all that is named, of the logs and the time that are named. A row
// has a value if a column of it has, or an element of a set or vector.
type Query struct {
	Logs  []string     `json:"logs,omitempty"` // "conn"; none: all
	Since capture.Time `json:"since,omitempty"`
	Until capture.Time `json:"until,omitempty"` // 0: no bound
	// Hosts are addresses or networks, each of which the row must have.
	Hosts []netip.Prefix `json:"hosts,omitempty"`
	// UIDs and Communities are flows, by raytap's UID and by Community ID: of one of them the row must be.
	UIDs        []string `json:"uids,omitempty"`
	Communities []string `json:"communities,omitempty"`
	// Finding is the id of a finding or an incident: its rows, then those of the finding's flow.
	Finding string  `json:"finding,omitempty"`
	Fields  []Field `json:"fields,omitempty"`
}

// Field is a column with its value. A value may begin and end with a star, which stands for any text.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Bounds of a query: what is asked for by people is far below.
const (
	maxTerms = 64
	maxText  = 1024
)

// Check reports what is wrong with the query.
func (q *Query) Check() error {
	if n := len(q.Logs) + len(q.Hosts) + len(q.UIDs) + len(q.Communities) + len(q.Fields); n > maxTerms {
		return fmt.Errorf("search: %d terms; at most %d", n, maxTerms)
	}
	for _, text := range slices.Concat(q.Logs, q.UIDs, q.Communities) {
		if text == "" || len(text) > maxText {
			return errors.New("search: a name that is empty or too long")
		}
	}
	for _, f := range q.Fields {
		if f.Name == "" || f.Value == "" || len(f.Name) > maxText || len(f.Value) > maxText {
			return errors.New("search: a field is NAME=VALUE")
		}
	}
	for _, h := range q.Hosts {
		if !h.IsValid() {
			return errors.New("search: a host is an address or a network")
		}
	}
	if len(q.Finding) > maxText {
		return errors.New("search: the id of a finding is too long")
	}
	if q.Since < 0 || q.Until < 0 || q.Until != 0 && q.Until < q.Since {
		return errors.New("search: the end of the time is before its beginning")
	}
	return nil
}

// Empty reports whether the query names nothing but logs and times.
func (q *Query) Empty() bool {
	return len(q.Hosts)+len(q.UIDs)+len(q.Communities)+len(q.Fields) == 0 && q.Finding == ""
}

// ParseHost reads an address or a network.
func ParseHost(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network", s)
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// ParseField reads NAME=VALUE.
func ParseField(s string) (Field, error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" || value == "" {
		return Field{}, fmt.Errorf("%q is not NAME=VALUE", s)
	}
	return Field{name, value}, nil
}

// term is one thing that a row must have: one of its values, or an address of its network.
type term struct {
	column string // "": any
	values []string
	glob   string // with stars
	net    netip.Prefix
	tokens []uint64 // of which a block has one; nil: any block may
	needle [][]byte // of which the line has one; nil: any line may
}

// terms are those of a query without what Finding adds.
func (q *Query) terms() []term {
	var all []term
	exact := func(column string, values ...string) {
		t := term{column: column, values: values}
		indexed, found := true, true
		for _, v := range values {
			token, ok := logindex.Token(v)
			indexed = indexed && ok
			t.tokens = append(t.tokens, token)
			n := needle(v)
			found = found && n != nil
			t.needle = append(t.needle, n)
		}
		if !indexed {
			t.tokens = nil
		}
		if !found {
			t.needle = nil
		}
		all = append(all, t)
	}
	if len(q.UIDs) > 0 {
		exact("", q.UIDs...)
	}
	if len(q.Communities) > 0 {
		exact("", q.Communities...)
	}
	for _, f := range q.Fields {
		if !strings.HasPrefix(f.Value, "*") && !strings.HasSuffix(f.Value, "*") {
			exact(f.Name, f.Value)
			continue
		}
		t := term{column: f.Name, glob: f.Value}
		if n := needle(strings.Trim(f.Value, "*")); n != nil {
			t.needle = [][]byte{n}
		}
		all = append(all, t)
	}
	for _, h := range q.Hosts {
		t := term{net: h}
		if token, ok := logindex.NetToken(h); ok {
			t.tokens = []uint64{token}
		}
		if n := netNeedle(h); n != nil {
			t.needle = [][]byte{n}
		}
		all = append(all, t)
	}
	return all
}

// minNeedle is the shortest text that is looked for before rows are read: a shorter one is in every line.
const minNeedle = 3

// needle returns the longest part of a value that stands in a line as it is, whatever form the log is in; nil if there is none.
func needle(v string) []byte {
	if number(v) {
		return nil // 1.5 is 1.500000 in the other form
	}
	best, from := "", 0
	for i := 0; i <= len(v); i++ {
		if i < len(v) && literal(v[i]) {
			continue
		}
		if i-from > len(best) {
			best = v[from:i]
		}
		from = i + 1
	}
	if len(best) < minNeedle {
		return nil
	}
	return []byte(best)
}

func number(v string) bool {
	return v != "" && strings.Trim(v, "0123456789.") == "" && strings.Count(v, ".") == 1
}

// literal reports whether neither form of a log escapes a byte.
func literal(c byte) bool {
	switch c {
	case '"', '\\', '/', '<', '>', '&', '#', ',', '\'':
		return false
	}
	return c > ' ' && c < 0x7f
}

// netNeedle returns the text that every address of a network begins with; nil if that is too short, or of IPv6 not certain.
func netNeedle(p netip.Prefix) []byte {
	a := p.Addr()
	if !a.Is4() {
		if b := a.As16(); p.IsSingleIP() && (b[0]|b[1] != 0) {
			return []byte(a.String())
		}
		return nil
	}
	if p.IsSingleIP() {
		return []byte(a.String())
	}
	text := ""
	b := a.As4()
	for i := range p.Bits() / 8 {
		text += fmt.Sprintf("%d.", b[i])
	}
	if len(text) < minNeedle {
		return nil
	}
	return []byte(text)
}

// has reports whether a row has what the term says.
func (t *term) has(r *logs.Row) bool {
	found := false
	r.Each(func(name, value string) bool {
		found = (t.column == "" || t.column == name) && t.is(value)
		return !found
	})
	return found
}

func (t *term) is(value string) bool {
	switch {
	case t.net.IsValid():
		a, ok := address(value)
		return ok && t.net.Contains(a)
	case t.glob != "":
		return globbed(t.glob, value)
	}
	for _, v := range t.values {
		if v == value || len(v) != len(value) && t.column != "" && sameNumber(v, value) || value == "T" && v == "true" || value == "F" && v == "false" {
			return true
		}
	}
	return false
}

// sameNumber reports whether two texts are one number: 1.5 and 1.500000.
func sameNumber(a, b string) bool {
	trim := func(s string) string {
		if number(s) {
			s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
		}
		return s
	}
	return (number(a) || number(b)) && trim(a) == trim(b)
}

func globbed(glob, value string) bool {
	text, head := strings.CutPrefix(glob, "*")
	text, tail := strings.CutSuffix(text, "*")
	switch {
	case head && tail:
		return strings.Contains(value, text)
	case head:
		return strings.HasSuffix(value, text)
	}
	return strings.HasPrefix(value, text)
}

// address reads one, with or without a port.
func address(s string) (netip.Addr, bool) {
	if len(s) < 2 || len(s) > 53 || s[0] > 'f' && s[0] != '[' {
		return netip.Addr{}, false
	}
	dots, colons := 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			dots++
		case c == ':':
			colons++
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' || c == '[' || c == ']':
		default:
			return netip.Addr{}, false
		}
	}
	if dots != 3 && colons < 2 {
		return netip.Addr{}, false
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap(), true
	}
	p, err := netip.ParseAddrPort(s)
	return p.Addr().Unmap(), err == nil
}

// times reports whether a row of these times may be asked for.
func (q *Query) times(first, last capture.Time) bool {
	return last >= q.Since && (q.Until == 0 || first <= q.Until)
}

const forever = capture.Time(math.MaxInt64)
