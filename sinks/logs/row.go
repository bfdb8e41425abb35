// Package logs reads back the logs that package zeek writes.
//
// In: folders of logs, in either form (tab-separated with Zeek's header, or JSON lines), plain or compressed with gzip or
// zstd: of a run, or of a sensor, whose running files, days and rotated files are one. Out: rows, whose columns are asked
// for by name; or, for a file that still grows, its rows as they come.
//
// A row that is damaged (cut by a crash, too long, no JSON) is counted and left out. What else was not read (a file that is
// damaged, compressed in another way, not to be opened, a link) is said in a sentence: who finds nothing must be able to
// tell whether there is nothing. Zeek's own logs can be read as well: nothing here knows which columns a log has.
//
// It does not see a byte that the writer could not write: in the JSON form \xHH of text and an escaped byte look the
// same, as in Zeek's.
package logs

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/logindex"
)

// Row is one row. Its methods give the zero value for a column that is unset, missing or of another kind.
type Row struct {
	Log     string // "conn"
	Dir     string // the folder that it was read of, if it was by Folder
	columns *columns
	cells   []string       // as they stand in the text form
	object  map[string]any // JSON form
	line    []byte         // of which object was read
}

// columns is the header of a file in the text form.
type columns struct {
	names  []string
	index  map[string]int
	vector []bool
	kinds  []string // "addr", "set[string]"; of files without a line for that, none
}

// kind is that of a column; "" if the file does not say.
func (c *columns) kind(i int) string {
	if i < len(c.kinds) {
		return c.kinds[i]
	}
	return ""
}

const (
	unset = "-"
	empty = "(empty)"
)

// Names lists the columns: of the text form all, in order; of JSON those that are set, in no order.
func (r *Row) Names() []string {
	if r.columns != nil {
		return r.columns.names
	}
	names := make([]string, 0, len(r.object))
	for n := range r.object {
		names = append(names, n)
	}
	return names
}

func (r *Row) cell(name string) (string, bool) {
	if r.columns == nil {
		return "", false
	}
	i, ok := r.columns.index[name]
	if !ok || r.cells[i] == unset {
		return "", false
	}
	return r.cells[i], true
}

// Has says whether a column is set.
func (r *Row) Has(name string) bool {
	if r.object != nil {
		return r.object[name] != nil
	}
	_, ok := r.cell(name)
	return ok
}

// Get gives a column as text; the elements of a set or vector are joined by ", ".
func (r *Row) Get(name string) string {
	if r.object != nil {
		return text(r.object[name])
	}
	s, ok := r.cell(name)
	if !ok || s == empty {
		return ""
	}
	if r.columns.vector[r.columns.index[name]] {
		return strings.Join(r.List(name), ", ")
	}
	return unescape(s)
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "T"
		}
		return "F"
	case []any:
		all := make([]string, len(v))
		for i, e := range v {
			all[i] = text(e)
		}
		return strings.Join(all, ", ")
	case map[string]any:
		return object(v).String()
	}
	return ""
}

// IsList says whether a column is a set or a vector.
func (r *Row) IsList(name string) bool {
	if r.object != nil {
		_, ok := r.object[name].([]any)
		return ok
	}
	i, ok := r.columns.index[name]
	return ok && r.columns.vector[i]
}

// List gives the elements of a set or vector; structures as the texts that the tab-separated form has for them.
func (r *Row) List(name string) []string {
	if r.object != nil {
		v, _ := r.object[name].([]any)
		all := make([]string, len(v))
		for i, e := range v {
			all[i] = text(e)
		}
		return all
	}
	s, ok := r.cell(name)
	if !ok || s == empty || !r.IsList(name) {
		return nil
	}
	all := strings.Split(s, ",")
	for i, e := range all {
		if e == empty {
			e = ""
		}
		all[i] = unescape(e)
	}
	return all
}

// Time gives a column of kind time.
func (r *Row) Time(name string) capture.Time {
	t, _ := ParseTime(r.Get(name))
	return t
}

// Uint gives a column of kind count or port.
func (r *Row) Uint(name string) uint64 {
	n, _ := strconv.ParseUint(r.Get(name), 10, 64)
	return n
}

// Addr gives a column of kind addr.
func (r *Row) Addr(name string) netip.Addr {
	a, _ := netip.ParseAddr(r.Get(name))
	return a
}

// Bool gives a column of kind bool.
func (r *Row) Bool(name string) bool { return r.Get(name) == "T" }

// Before the year 2262, as the nanoseconds of capture.Time are.
const maxSeconds = 1<<63/1000000000 - 1

// ParseTime reads seconds with a fraction, exactly. Of the ISO form of Zeek's JSON it knows nothing.
func ParseTime(s string) (capture.Time, bool) {
	whole, frac, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec > maxSeconds || sec < -maxSeconds {
		return 0, false
	}
	if len(frac) > 9 {
		frac = frac[:9]
	}
	ns := int64(0)
	if frac != "" {
		u, err := strconv.ParseUint(frac, 10, 32)
		if err != nil {
			return 0, false
		}
		for ns = int64(u); len(frac) < 9; frac += "0" {
			ns *= 10
		}
	}
	if strings.HasPrefix(whole, "-") {
		ns = -ns
	}
	return capture.Time(sec*1e9 + ns), true
}

// unescape takes back what the text form does to a string: \xHH and \\.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return string(logindex.AppendUnescaped(make([]byte, 0, len(s)), s))
}
