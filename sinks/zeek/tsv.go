package zeek

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/raytap/raytap/capture"
)

// tsvRow writes tab-separated text.
type tsvRow struct {
	text
	second int64    // of the last time
	digits [20]byte // and how it is written
	n      int
	flows  *flowTexts
	hash   bool // # stays as it is
}

// flowTexts are those of the flows that were written last, of all logs of a sink.
type flowTexts [1 << 10]flowText

// flowText is how the columns of a flow are written: they are a third of what a row costs, and come again with its others.
type flowText struct {
	flow *capture.Flow
	text []byte
}

// Flow implements capture.FlowFields.
func (w *tsvRow) Flow(f *capture.Flow) {
	if len(f.UID) < 2 || len(w.b) == w.start {
		f.Columns(w)
		return
	}
	n := len(f.UID)
	x := &w.flows[(uint(f.UID[n-1])^uint(f.UID[n-2])<<4)%uint(len(w.flows))]
	if x.flow != f {
		from := len(w.b)
		f.Columns(w)
		x.flow, x.text = f, append(x.text[:0], w.b[from:]...)
		return
	}
	w.b = append(w.b, x.text...)
}

func (w *tsvRow) begin() { w.start = len(w.b) }
func (w *tsvRow) end()   { w.b = append(w.b, '\n') }

// field goes to the next column; without a value it is written here, and false returned.
func (w *tsvRow) field(set bool) bool {
	if len(w.b) > w.start {
		w.b = append(w.b, '\t')
	}
	if !set {
		w.b = append(w.b, '-')
	}
	return set
}

func (w *tsvRow) Time(_ string, v capture.Time, set bool) {
	if !w.field(set) {
		return
	}
	us := v.Micros()
	if us < 0 {
		w.b = appendFixed(w.b, us)
		return
	}
	if s := us / 1e6; s != w.second || w.n == 0 { // most rows are of one second
		w.second, w.n = s, len(strconv.AppendInt(w.digits[:0], s, 10))
	}
	w.b = appendMicros(append(w.b, w.digits[:w.n]...), uint32(us%1e6))
}

func (w *tsvRow) Interval(_ string, v time.Duration, set bool) {
	if w.field(set) {
		w.b = appendFixed(w.b, rounded(v))
	}
}

func (w *tsvRow) String(name, v string, set bool) {
	if w.field(set) {
		if w.mask != maskNothing {
			v = w.shown(name, v)
		}
		w.put(v, false)
	}
}

// put appends one text.
func (w *tsvRow) put(v string, inSet bool) {
	from := len(w.b)
	w.b = appendText(w.b, v, inSet)
	if !w.hash && strings.IndexByte(v, '#') >= 0 {
		w.b = append(w.b[:from], bytes.ReplaceAll(w.b[from:], []byte{'#'}, []byte(`\x23`))...)
	}
}

func (w *tsvRow) Enum(_, v string, set bool) { w.String("", v, set) }

func (w *tsvRow) Count(_ string, v uint64, set bool) {
	if w.field(set) {
		w.b = strconv.AppendUint(w.b, v, 10)
	}
}

func (w *tsvRow) Bool(_ string, v, set bool) {
	if w.field(set) {
		c := byte('F')
		if v {
			c = 'T'
		}
		w.b = append(w.b, c)
	}
}

func (w *tsvRow) Addr(_ string, v netip.Addr, set bool) {
	if w.field(set && v.IsValid()) {
		w.b = appendAddr(w.b, v)
	}
}

func (w *tsvRow) Port(_ string, v uint16, set bool) { w.Count("", uint64(v), set) }

func (w *tsvRow) Double(_ string, v float64, set bool) {
	if w.field(set) {
		w.b = appendDouble(w.b, v)
	}
}

func (w *tsvRow) Set(_, _ string, v []string, set bool) {
	if !w.field(set) {
		return
	}
	if len(v) == 0 {
		w.b = append(w.b, empty...)
	}
	if w.mask != maskNothing {
		v = w.shownAll(v)
	}
	for i, s := range v {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.put(s, true)
	}
}

func (w *tsvRow) Vector(name, kind string, v []string, set bool) { w.Set(name, kind, v, set) }

func (w *tsvRow) Intervals(_ string, v []time.Duration, set bool) {
	if !w.field(set) {
		return
	}
	if len(v) == 0 {
		w.b = append(w.b, empty...)
	}
	for i, d := range v {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = appendFixed(w.b, rounded(d))
	}
}

const (
	empty = "(empty)"
	hex   = "0123456789abcdef"
)

func appendHex(b []byte, c byte) []byte {
	return append(b, '\\', 'x', hex[c>>4], hex[c&15])
}

// appendText writes a string. What would read as unset or empty has its first byte escaped. A tab, a backslash and,
// within sets and vectors, a comma are escaped for themselves; between those, text that is valid and printable
// stays, and in any other every byte outside printable ASCII is escaped.
func appendText(b []byte, s string, inSet bool) []byte {
	switch {
	case s == "":
		return append(b, empty...)
	case s == "-", s == empty:
		return append(appendHex(b, s[0]), s[1:]...)
	}
	if !plain(s) || inSet && strings.IndexByte(s, ',') >= 0 {
		return appendEscaped(b, s, inSet)
	}
	return append(b, s...)
}

// plain says whether s is printable ASCII without a backslash, eight bytes at a time: a row of files.log has 200 of them.
func plain(s string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	bad := uint64(0)
	for ; len(s) >= 8; s = s[8:] {
		v := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		slash, del := v^('\\'*ones), v^(0x7f*ones)
		// The top bit of a byte: not ASCII; below 0x20; a backslash; DEL. A borrow spoils only bytes above one that is bad.
		bad |= v | (v - 0x20*ones) | (slash - ones) | (del - ones)
	}
	if bad&tops != 0 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

func appendEscaped(b []byte, s string, inSet bool) []byte {
	for len(s) > 0 {
		n := 0
		for n < len(s) && s[n] != '\t' && s[n] != '\\' && !(inSet && s[n] == ',') {
			n++
		}
		part := s[:n]
		if printable(part, false) {
			b = append(b, part...)
		} else {
			for i := 0; i < len(part); i++ {
				if c := part[i]; c < 0x20 || c >= 0x7f {
					b = appendHex(b, c)
				} else {
					b = append(b, c)
				}
			}
		}
		if n == len(s) {
			break
		}
		if s[n] == '\\' {
			b = append(b, `\\`...)
		} else {
			b = appendHex(b, s[n])
		}
		s = s[n+1:]
	}
	return b
}

// printable says whether s is valid UTF-8 of which Zeek shows every character: not the control characters (those
// that JSON has a letter for excepted, if letters), not the private use area and not the specials at U+FFF0.
func printable(s string, letters bool) bool {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if (c < 0x20 || c == 0x7f) && !(letters && jsonLetter(c) != 0) {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r < 0xa0 || r >= 0xe000 && r <= 0xf8ff || r >= 0xfff0 && r <= 0xffff { // RuneError is U+FFFD
			return false
		}
		i += n
	}
	return true
}

// appendFixed writes microseconds as seconds with six digits.
func appendFixed(b []byte, us int64) []byte {
	u := uint64(us)
	if us < 0 {
		b = append(b, '-')
		u = -u
	}
	return appendMicros(strconv.AppendUint(b, u/1e6, 10), uint32(u%1e6))
}

// appendMicros writes the fraction of a second.
func appendMicros(b []byte, f uint32) []byte {
	return append(b, '.', digit(f/1e5), digit(f/1e4), digit(f/1e3), digit(f/100), digit(f/10), digit(f))
}

func digit(n uint32) byte { return '0' + byte(n%10) }

// appendDouble writes a double with at most six digits behind the point, and with one when it is whole.
func appendDouble(b []byte, v float64) []byte {
	b = strconv.AppendFloat(b, v, 'f', 6, 64)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return b
	}
	b = bytes.TrimSuffix(bytes.TrimRight(b, "0"), []byte{'.'})
	if v == math.Trunc(v) {
		b = append(b, ".0"...)
	}
	return b
}

// appendAddr writes an address as the C library's inet_ntop does, which differs from Go where an IPv4 address is
// embedded in the last four bytes.
func appendAddr(b []byte, a netip.Addr) []byte {
	a = a.Unmap()
	if a.Is6() {
		x := a.As16()
		if binary.BigEndian.Uint64(x[:]) == 0 {
			v4 := netip.AddrFrom4([4]byte(x[12:]))
			switch mid := binary.BigEndian.Uint32(x[8:]); {
			case mid == 0 && x[12]|x[13] != 0:
				return v4.AppendTo(append(b, "::"...))
			case mid == 0xffff0000:
				return v4.AppendTo(append(b, "::ffff:0:"...))
			}
		}
	}
	return a.WithZone("").AppendTo(b)
}

// schema takes down the names and types of a row's columns, and the row's time.
type schema struct {
	names, types []byte
	ts           capture.Time
}

func (s *schema) add(name, kind string) {
	s.names = append(append(s.names, '\t'), name...)
	s.types = append(append(s.types, '\t'), kind...)
}

func (s *schema) Time(name string, v capture.Time, set bool) {
	if len(s.names) == 0 && set {
		s.ts = v
	}
	s.add(name, "time")
}
func (s *schema) Interval(name string, _ time.Duration, _ bool) { s.add(name, "interval") }
func (s *schema) String(name, _ string, _ bool)                 { s.add(name, "string") }
func (s *schema) Enum(name, _ string, _ bool)                   { s.add(name, "enum") }
func (s *schema) Count(name string, _ uint64, _ bool)           { s.add(name, "count") }
func (s *schema) Bool(name string, _, _ bool)                   { s.add(name, "bool") }
func (s *schema) Addr(name string, _ netip.Addr, _ bool)        { s.add(name, "addr") }
func (s *schema) Port(name string, _ uint16, _ bool)            { s.add(name, "port") }
func (s *schema) Double(name string, _ float64, _ bool)         { s.add(name, "double") }
func (s *schema) Set(name, kind string, _ []string, _ bool)     { s.add(name, "set["+kind+"]") }
func (s *schema) Vector(name, kind string, _ []string, _ bool)  { s.add(name, "vector["+kind+"]") }
func (s *schema) Intervals(name string, _ []time.Duration, _ bool) {
	s.add(name, "vector[interval]")
}

// header appends the lines above the first row; #open is that row's time.
func header(b []byte, name string, first capture.Record) []byte {
	var s schema
	first.Row(&s)
	return s.header(b, name, s.ts)
}

func (s *schema) header(b []byte, name string, open capture.Time) []byte {
	b = append(b, "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t"...)
	b = append(b, name...)
	b = append(b, "\n#open\t"...)
	b = stamp(b, open)
	b = append(b, "\n#fields"...)
	b = append(b, s.names...)
	b = append(b, "\n#types"...)
	b = append(b, s.types...)
	return append(b, '\n')
}
