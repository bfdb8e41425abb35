package zeek

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/logindex"
)

// Converter makes rows of the tab-separated form those of the JSON form: the same bytes that the JSON log of the same run
// has. What the tab-separated form does not keep is lost before: digits of a double beyond the sixth, the difference between
// a list that is empty and one with an empty text, and of columns that are structures in JSON what their texts leave open.
// Rows that are JSON already stay as they are.
//
// The zero value takes the lines of one file, from its first on. It belongs to one goroutine.
type Converter struct {
	log       string // #path
	separator string
	columns   []column
	cells     []string
	w         jsonRow
}

// column is one of a file in the tab-separated form.
type column struct {
	name, kind string // "evidence", "vector[string]"
	list       bool
	structure  structure // nil: it is none
}

// maxConverted bounds the columns of a file. Zeek's widest logs have sixty.
const maxConverted = 1024

var (
	errNoFields = errors.New("zeek: a row before its #fields and #types")
	errDamaged  = errors.New("zeek: a row that is damaged")
)

// Line takes a line without its end and returns the row as JSON; nil for a line of the header. An error is about this line
// alone. What is returned is valid until the next call.
func (c *Converter) Line(line []byte) ([]byte, error) {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	switch {
	case len(line) == 0:
		return nil, nil
	case line[0] == '{':
		if !json.Valid(line) {
			return nil, errDamaged
		}
		return line, nil
	case line[0] == '#':
		return nil, c.header(string(line))
	case len(c.columns) == 0 || c.columns[0].kind == "":
		return nil, errNoFields
	}
	if bytes.IndexByte(line, 0) >= 0 { // a hole that a power cut left
		return nil, errDamaged
	}
	c.cells = c.cells[:0]
	for cell := range strings.SplitSeq(string(line), c.separator) {
		c.cells = append(c.cells, cell)
	}
	if len(c.cells) != len(c.columns) {
		return nil, fmt.Errorf("zeek: a row with %d of %d columns", len(c.cells), len(c.columns))
	}
	c.w.b = c.w.b[:0]
	c.w.begin()
	for i := range c.columns {
		if c.cells[i] == "-" {
			continue
		}
		if err := c.cell(&c.columns[i], c.cells[i]); err != nil {
			return nil, fmt.Errorf("zeek: column %s: %w", c.columns[i].name, err)
		}
	}
	c.w.end()
	return c.w.b[:len(c.w.b)-1], nil
}

// header takes a line that begins with #.
func (c *Converter) header(line string) error {
	if c.separator == "" {
		c.separator = "\t"
	}
	if s, ok := strings.CutPrefix(line, "#separator "); ok {
		if c.separator = unescaped(s); c.separator == "" {
			c.separator = "\t"
		}
		return nil
	}
	key, rest, _ := strings.Cut(line, c.separator)
	switch key {
	case "#path":
		c.log = rest
	case "#fields":
		names := strings.Split(rest, c.separator)
		if len(names) > maxConverted {
			return errors.New("zeek: too many columns")
		}
		c.columns = nil
		for _, n := range names {
			if n == "" || strings.ContainsFunc(n, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r >= 0x7f }) {
				c.columns = nil
				return fmt.Errorf("zeek: %.40q is not the name of a column", n)
			}
			c.columns = append(c.columns, column{name: n, structure: structures[c.log+"."+n]})
		}
	case "#types":
		kinds := strings.Split(rest, c.separator)
		if len(kinds) != len(c.columns) {
			c.columns = nil
			return errors.New("zeek: #fields and #types differ")
		}
		for i, kind := range kinds {
			x := &c.columns[i]
			if inner, ok := strings.CutSuffix(kind, "]"); ok {
				_, kind, x.list = strings.Cut(inner, "[")
			}
			x.kind = kind
		}
	}
	return nil
}

// cell writes one column.
func (c *Converter) cell(x *column, text string) error {
	w := &c.w
	if !x.list {
		w.key(x.name, true)
		return w.value(x.kind, text)
	}
	all := c.list(x.name, text)
	w.key(x.name, true)
	w.b = append(w.b, '[')
	for i, s := range all {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		if x.structure == nil {
			if err := w.value(x.kind, s); err != nil {
				return err
			}
			continue
		}
		start := w.start
		w.b = append(w.b, '{')
		w.start = len(w.b)
		x.structure(w, unescaped(s), func(name string) string { return c.element(name, i) })
		w.b = append(w.b, '}')
		w.start = start
	}
	w.b = append(w.b, ']')
	return nil
}

// list takes the text of a set or vector apart; its elements are still escaped.
func (c *Converter) list(name, text string) []string {
	if text == empty {
		// One step without a connection is written as no steps are.
		if c.log == "incidents" && (name == "step_uids" || name == "step_findings") && len(c.listOf("packets")) == 1 {
			return []string{empty}
		}
		return nil
	}
	return strings.Split(text, ",")
}

// listOf is list of a column of the row at hand.
func (c *Converter) listOf(name string) []string {
	i := slices.IndexFunc(c.columns, func(x column) bool { return x.name == name })
	if i < 0 || !c.columns[i].list || c.cells[i] == "-" {
		return nil
	}
	return c.list(name, c.cells[i])
}

// element is the i-th of a list of the row at hand, or "".
func (c *Converter) element(name string, i int) string {
	if all := c.listOf(name); i < len(all) {
		return unescaped(all[i])
	}
	return ""
}

// value writes a single value of a kind.
func (w *jsonRow) value(kind, text string) error {
	switch kind {
	case "bool":
		switch text {
		case "T":
			w.b = append(w.b, "true"...)
		case "F":
			w.b = append(w.b, "false"...)
		default:
			return fmt.Errorf("%.40q is no bool", text)
		}
	case "count", "int", "port":
		if !isNumber(text, false) {
			return fmt.Errorf("%.40q is no number", text)
		}
		w.b = append(w.b, text...)
	case "time", "interval":
		if !isNumber(text, true) {
			return fmt.Errorf("%.40q is no time", text)
		}
		if strings.IndexByte(text, '.') < 0 {
			text += ".0"
		}
		for text[len(text)-1] == '0' && text[len(text)-2] != '.' {
			text = text[:len(text)-1]
		}
		w.b = append(w.b, text...)
	case "double":
		v, err := strconv.ParseFloat(text, 64)
		if err != nil && !math.IsInf(v, 0) {
			return fmt.Errorf("%.40q is no number", text)
		}
		w.b = appendNumber(w.b, v)
	default:
		w.b = appendQuoted(w.b, unescaped(text))
	}
	return nil
}

// isNumber reports whether text is a decimal number as JSON takes it, with a fraction if that may be.
func isNumber(text string, fraction bool) bool {
	text = strings.TrimPrefix(text, "-")
	whole, frac, dot := strings.Cut(text, ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	return digits(whole) && (len(whole) == 1 || whole[0] != '0') && (!dot || fraction && digits(frac))
}

// unescaped takes back what the text form does to a string.
func unescaped(s string) string {
	if s == empty {
		return ""
	}
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return string(logindex.AppendUnescaped(make([]byte, 0, len(s)), s))
}

// structure writes the members of a structure from the text that stands for it; beside gives what other lists of the row
// have at the same place.
type structure func(w *jsonRow, text string, beside func(column string) string)

// structures are the columns that hold structures in the JSON form.
var structures = map[string]structure{
	"notice.atlas":             namedTechnique,
	"notice.attack":            namedTechnique,
	"notice.evidence":          evidencePiece,
	"incidents.tactics":        namedTechnique,
	"incidents.techniques":     namedTechnique,
	"incidents.score_parts":    func(w *jsonRow, text string, _ func(string) string) { counted(w, text, "what", "points") },
	"incidents.others":         partyText,
	"incidents.steps":          stepText,
	"assets.ports":             portText,
	"assets.proxies":           proxyText,
	"assets.client_kinds":      func(w *jsonRow, text string, _ func(string) string) { counted(w, text, "kind", "n") },
	"stats.kept_back_by":       func(w *jsonRow, text string, _ func(string) string) { counted(w, text, "rule", "n") },
	"stats.unknown_ethertypes": etherType,
}

func namedTechnique(w *jsonRow, text string, _ func(string) string) { technique(w, text) }

// lastNumber takes a number off the end of a text that stands behind sep.
func lastNumber(text, sep string) (string, uint64, bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, 0, false
	}
	digits := text[i+len(sep):]
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return text, 0, false
	}
	return text[:i], n, true
}

// counted is "what 12".
func counted(w *jsonRow, text, what, n string) {
	text, count, _ := lastNumber(text, " ")
	w.String(what, text, true)
	w.Count(n, count, true)
}

// evidencePiece is "field=value @12".
func evidencePiece(w *jsonRow, text string, _ func(string) string) {
	field, value, _ := strings.Cut(text, "=")
	value, packet, ok := lastNumber(value, " @")
	w.String("field", field, true)
	w.String("value", value, true)
	w.Count("packet", packet, ok && packet != 0)
}

// etherType is "0x88e5=12".
func etherType(w *jsonRow, text string, _ func(string) string) {
	kind, n, _ := lastNumber(text, "=")
	w.String("type", kind, true)
	w.Count("n", n, true)
}

// partyText is "pool pool.example 198.51.100.44": a role, a name if there is one, an address if there is one.
func partyText(w *jsonRow, text string, _ func(string) string) {
	role, name := text, ""
	var addr netip.Addr
	if i := strings.LastIndexByte(role, ' '); i >= 0 {
		if a, err := netip.ParseAddr(role[i+1:]); err == nil {
			role, addr = role[:i], a
		}
	}
	// Roles are words; a name has a dot.
	if i := strings.LastIndexByte(role, ' '); i >= 0 && strings.IndexByte(role[i:], '.') >= 0 {
		role, name = role[:i], role[i+1:]
	}
	w.String("role", role, true)
	w.String("name", name, name != "")
	w.Addr("addr", addr, addr.IsValid())
}

// stepText is "2026-11-23T16:42:37.105505Z 203.0.113.66 ran a job, 3 times".
func stepText(w *jsonRow, text string, beside func(string) string) {
	when, rest, _ := strings.Cut(text, " ")
	at, err := time.Parse(time.RFC3339Nano, when)
	var who netip.Addr
	what, nobody := strings.CutPrefix(rest, netip.Addr{}.String()+" ")
	if !nobody {
		var addr string
		addr, what, _ = strings.Cut(rest, " ")
		who, _ = netip.ParseAddr(addr)
	}
	n := uint64(1)
	if s, ok := strings.CutSuffix(what, " times"); ok {
		if s, times, ok := lastNumber(s, ", "); ok && times > 1 {
			what, n = s, times
		}
	}
	packet, _ := strconv.ParseUint(beside("packets"), 10, 64)
	uid, finding := beside("step_uids"), beside("step_findings")
	w.Time("ts", capture.Time(at.UnixNano()), err == nil)
	w.Addr("actor", who, who.IsValid())
	w.String("what", what, true)
	w.Count("n", n, true)
	w.String("uid", uid, uid != "")
	w.String("finding_id", finding, finding != "")
	w.Count("packet", packet, packet != 0)
}

// portText is "10.0.0.1:8265 dashboard" or "10.0.0.1:10002-10009 worker (8)".
func portText(w *jsonRow, text string, _ func(string) string) {
	place, role, _ := strings.Cut(text, " ")
	n := uint64(1)
	if s, ok := strings.CutSuffix(role, ")"); ok {
		if s, workers, ok := lastNumber(s, " ("); ok {
			role, n = s, workers
		}
	}
	place, last, more := lastNumber(place, "-")
	addr, _ := netip.ParseAddrPort(place)
	w.Addr("addr", addr.Addr(), true)
	w.Port("port", addr.Port(), true)
	if !more {
		last = uint64(addr.Port())
	}
	w.Port("last", uint16(last), n > 1)
	w.String("role", role, true)
	w.Count("n", n, n > 1)
}

// proxyText is "10.0.0.1:80/ray nginx/1.24.0 (ray.example)".
func proxyText(w *jsonRow, text string, _ func(string) string) {
	host := ""
	if s, ok := strings.CutSuffix(text, ")"); ok {
		if i := strings.LastIndex(s, " ("); i >= 0 {
			text, host = s[:i], s[i+2:]
		}
	}
	place, server, _ := strings.Cut(text, " ")
	prefix := ""
	if i := strings.IndexByte(place, '/'); i >= 0 {
		place, prefix = place[:i], place[i:]
	}
	addr, _ := netip.ParseAddrPort(place)
	w.Addr("addr", addr.Addr(), true)
	w.Port("port", addr.Port(), true)
	w.String("prefix", prefix, prefix != "")
	w.String("server", server, server != "")
	w.String("host", host, host != "")
}
