package zeek

import (
	"math"
	"net/netip"
	"strconv"
	"time"

	"github.com/raytap/raytap/capture"
)

// jsonRow writes one object a line; what is unset is left out.
type jsonRow struct{ text }

func (w *jsonRow) begin() {
	w.b = append(w.b, '{')
	w.start = len(w.b)
}

func (w *jsonRow) end() { w.b = append(w.b, '}', '\n') }

// key begins a field. Column names are ours and need no escaping.
func (w *jsonRow) key(name string, set bool) bool {
	if !set {
		return false
	}
	if len(w.b) > w.start {
		w.b = append(w.b, ',')
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, name...)
	w.b = append(w.b, '"', ':')
	return true
}

func (w *jsonRow) Time(name string, v capture.Time, set bool) {
	if w.key(name, set) {
		w.b = appendTrimmed(w.b, v.Micros())
	}
}

func (w *jsonRow) Interval(name string, v time.Duration, set bool) {
	if w.key(name, set) {
		w.b = appendTrimmed(w.b, rounded(v))
	}
}

func (w *jsonRow) String(name, v string, set bool) {
	if w.key(name, set) {
		if w.mask != maskNothing || w.clean {
			v = w.shown(name, v)
		}
		w.b = appendQuoted(w.b, v)
	}
}

func (w *jsonRow) Enum(name, v string, set bool) { w.String(name, v, set) }

func (w *jsonRow) Count(name string, v uint64, set bool) {
	if w.key(name, set) {
		w.b = strconv.AppendUint(w.b, v, 10)
	}
}

func (w *jsonRow) Bool(name string, v, set bool) {
	if w.key(name, set) {
		w.b = strconv.AppendBool(w.b, v)
	}
}

func (w *jsonRow) Addr(name string, v netip.Addr, set bool) {
	if w.key(name, set && v.IsValid()) {
		w.b = append(w.b, '"')
		w.b = append(appendAddr(w.b, v), '"')
	}
}

func (w *jsonRow) Port(name string, v uint16, set bool) { w.Count(name, uint64(v), set) }

func (w *jsonRow) Double(name string, v float64, set bool) {
	if w.key(name, set) {
		w.b = appendNumber(w.b, v)
	}
}

// Objects implements capture.ObjectFields.
func (w *jsonRow) Objects(name string, n int, field func(capture.Fields, int), set bool) {
	if !w.key(name, set) {
		return
	}
	start := w.start
	w.b = append(w.b, '[')
	for i := range n {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = append(w.b, '{')
		w.start = len(w.b)
		field(w, i)
		w.b = append(w.b, '}')
	}
	w.b = append(w.b, ']')
	w.start = start
}

func (w *jsonRow) Set(name, kind string, v []string, set bool) {
	if !w.key(name, set) {
		return
	}
	if w.mask != maskNothing || w.clean {
		v = w.shownAll(v)
	}
	w.b = append(w.b, '[')
	for i, s := range v {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		if kind == "count" {
			w.b = append(w.b, s...)
		} else {
			w.b = appendQuoted(w.b, s)
		}
	}
	w.b = append(w.b, ']')
}

func (w *jsonRow) Vector(name, kind string, v []string, set bool) { w.Set(name, kind, v, set) }

func (w *jsonRow) Intervals(name string, v []time.Duration, set bool) {
	if !w.key(name, set) {
		return
	}
	w.b = append(w.b, '[')
	for i, d := range v {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = appendTrimmed(w.b, rounded(d))
	}
	w.b = append(w.b, ']')
}

// appendTrimmed writes microseconds as seconds, as Zeek prints the double nearest to it: the shortest digits that
// tell it apart, at least one behind the point. Those are the six digits without trailing zeros for every time
// before the year 2242, when doubles become coarser than two microseconds.
func appendTrimmed(b []byte, us int64) []byte {
	b = appendFixed(b, us)
	for b[len(b)-1] == '0' && b[len(b)-2] != '.' {
		b = b[:len(b)-1]
	}
	return b
}

// AppendQuoted appends s as a string of the JSON form.
func AppendQuoted(b []byte, s string) []byte { return appendQuoted(b, s) }

// AppendNumber appends v as a number of the JSON form.
func AppendNumber(b []byte, v float64) []byte { return appendNumber(b, v) }

// jsonLetter is the letter of JSON's short escape for c, or 0.
func jsonLetter(c byte) byte {
	switch c {
	case '\b':
		return 'b'
	case '\t':
		return 't'
	case '\n':
		return 'n'
	case '\f':
		return 'f'
	case '\r':
		return 'r'
	}
	return 0
}

// appendQuoted writes a string. If all of it is valid and printable it stays; otherwise every byte outside
// printable ASCII becomes the text \xHH, as in the tab-separated form, but a backslash of the string is not doubled:
// Zeek does not, so the two cannot be told apart.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '\\' || c == '"' {
			b = appendQuotedSlow(b, s)
			return append(b, '"')
		}
	}
	b = append(b, s...)
	return append(b, '"')
}

func appendQuotedSlow(b []byte, s string) []byte {
	ok := printable(s, true)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case jsonLetter(c) != 0:
			b = append(b, '\\', jsonLetter(c))
		case !ok && (c < 0x20 || c >= 0x7f):
			b = appendHex(append(b, '\\'), c)
		default:
			b = append(b, c)
		}
	}
	return b
}

// appendNumber writes a double with the shortest digits that tell it apart, in scientific notation only below 1e-6
// and from 1e21 on, and always as what cannot be taken for an integer. JSON has no NaN and no infinities: null.
func appendNumber(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "null"...)
	}
	a := math.Abs(v)
	if a != 0 && (a < 1e-6 || a >= 1e21) {
		n := len(b)
		b = strconv.AppendFloat(b, v, 'e', -1, 64)
		// Go writes 1e-07 and 1e+22, Zeek 1e-7 and 1e22.
		for i := n; i < len(b); i++ {
			if b[i] != 'e' {
				continue
			}
			i++
			if b[i] == '-' {
				i++
			}
			j := i
			for j < len(b)-1 && (b[j] == '+' || b[j] == '0') {
				j++
			}
			return append(b[:i], b[j:]...)
		}
		return b
	}
	n := len(b)
	b = strconv.AppendFloat(b, v, 'f', -1, 64)
	for _, c := range b[n:] {
		if c == '.' {
			return b
		}
	}
	return append(b, ".0"...)
}
