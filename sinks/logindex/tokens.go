package logindex

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// A token is the hash of a value: of what fills a cell, or is an element of a set or vector. Numbers are none: there are as
// many as rows, and hardly anybody asks for one.

// What values are tokens, by their length in bytes.
const minValue, maxValue = 3, 256

// Token returns the token of a value, and reports whether it has one.
func Token(value string) (uint64, bool) {
	if !indexed([]byte(value)) {
		return 0, false
	}
	return xxhash.Sum64String(value), true
}

// netBits are the networks that addresses are found by as well, longest first.
var netBits = map[bool][2]int{true: {24, 16}, false: {64, 48}}

// NetToken returns the token of the smallest indexed network that p is in, and reports whether there is one: an address, or
// a network of at least 16 bits, of IPv6 48.
func NetToken(p netip.Prefix) (uint64, bool) {
	if p.IsSingleIP() {
		return Token(p.Addr().String())
	}
	for _, bits := range netBits[p.Addr().Is4()] {
		if p.Bits() >= bits {
			n, err := p.Addr().Prefix(bits)
			return netToken(n), err == nil
		}
	}
	return 0, false
}

func netToken(n netip.Prefix) uint64 {
	var text [64]byte
	return xxhash.Sum64(n.AppendTo(append(text[:0], "net "...)))
}

// indexed reports whether a value is a token: no number, no time, neither short nor very long.
func indexed(v []byte) bool {
	if len(v) < minValue || len(v) > maxValue {
		return false
	}
	dots := 0
	for i, c := range v {
		switch {
		case c == '.':
			if dots++; dots > 1 {
				return true
			}
		case c >= '0' && c <= '9', c == '-' && i == 0:
		default:
			return true
		}
	}
	return false
}

// address reads one, if v may be one.
func address(v []byte) (netip.Addr, bool) {
	if len(v) < 2 || len(v) > 45 {
		return netip.Addr{}, false
	}
	dots, colons := 0, 0
	for _, c := range v {
		switch {
		case c == '.':
			dots++
		case c == ':':
			colons++
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
		default:
			return netip.Addr{}, false
		}
	}
	if dots != 3 && colons < 2 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(string(v))
	return a, err == nil
}

// tokens collects those of a block.
type tokens struct {
	all  []uint64
	nets map[netip.Prefix]bool
	buf  []byte
}

func (t *tokens) reset() {
	t.all = t.all[:0]
	clear(t.nets)
}

func (t *tokens) value(v []byte) {
	if !indexed(v) {
		return
	}
	t.all = append(t.all, xxhash.Sum64(v))
	if v[0] > 'f' {
		return
	}
	a, ok := address(v)
	if !ok {
		// A server's name with its port, as HTTP has it.
		if i := bytes.LastIndexByte(v, ':'); i > 0 {
			if p, err := netip.ParseAddrPort(string(v)); err == nil {
				a, ok = p.Addr(), true
			}
		}
	}
	if !ok {
		return
	}
	if text := a.String(); text != string(v) {
		t.all = append(t.all, xxhash.Sum64String(text))
	}
	for _, bits := range netBits[a.Is4()] {
		n, err := a.WithZone("").Prefix(bits)
		if err != nil || t.nets[n] {
			continue
		}
		if len(t.nets) > 1<<14 {
			clear(t.nets) // they are found again, and then twice in all
		}
		t.nets[n] = true
		t.all = append(t.all, netToken(n))
	}
}

// cell takes a cell of the text form, as it stands there.
func (t *tokens) cell(v []byte) {
	if bytes.IndexByte(v, '\\') >= 0 {
		t.buf = AppendUnescaped(t.buf[:0], v)
		t.value(t.buf)
	} else {
		t.value(v)
	}
	if bytes.IndexByte(v, ',') < 0 {
		return
	}
	for len(v) > 0 { // it may be a set
		e, rest, _ := bytes.Cut(v, []byte{','})
		if v = rest; bytes.IndexByte(e, '\\') >= 0 {
			t.buf = AppendUnescaped(t.buf[:0], e)
			e = t.buf
		}
		t.value(e)
	}
}

// AppendUnescaped appends s to what it is given without what the tab-separated form does to a string: \xHH and \\.
func AppendUnescaped[T ~string | ~[]byte](to []byte, s T) []byte {
	for len(s) > 0 {
		if s[0] != '\\' {
			to, s = append(to, s[0]), s[1:]
			continue
		}
		if len(s) >= 4 && s[1] == 'x' {
			if n, err := strconv.ParseUint(string(s[2:4]), 16, 8); err == nil {
				to, s = append(to, byte(n)), s[4:]
				continue
			}
		}
		if len(s) >= 2 && s[1] == '\\' {
			to, s = append(to, '\\'), s[2:]
			continue
		}
		to, s = append(to, s[0]), s[1:]
	}
	return to
}

// object takes the strings of a line of JSON that are values; keys are none.
func (t *tokens) object(line []byte) {
	for {
		i := bytes.IndexByte(line, '"')
		if i < 0 {
			return
		}
		line = line[i+1:]
		end, escaped := 0, false
		for end < len(line) && line[end] != '"' {
			if line[end] == '\\' {
				escaped = true
				end++
			}
			end++
		}
		if end >= len(line) {
			return
		}
		v := line[:end]
		if line = line[end+1:]; len(line) > 0 && line[0] == ':' {
			continue
		}
		if escaped {
			var s string
			if json.Unmarshal(slices.Concat([]byte{'"'}, v, []byte{'"'}), &s) != nil {
				continue
			}
			v = []byte(s)
		}
		t.value(v)
	}
}
