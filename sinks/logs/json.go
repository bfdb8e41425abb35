package logs

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/raytap/raytap/sinks/zeek"
)

// leads are the columns that rows get on their way to others. Those of a row that has been there are replaced.
var leads = [...]string{"_path", "_system_name", "_write_ts"}

// AppendJSON appends the row as one JSON object without a newline, as the JSON form of its log has it: columns in the order
// of the file, those that are unset left out. Of a row in the JSON form that is the line as it was written. Structures are
// the texts that the tab-separated form has of them.
//
// The object begins with the members in lead, which are JSON without braces (`"_path":"conn"`); "" adds none.
func (r *Row) AppendJSON(b []byte, lead string) []byte {
	b = append(append(b, '{'), lead...)
	if r.object != nil {
		line := r.line
		if lead != "" && slices.ContainsFunc(leads[:], func(name string) bool { return r.object[name] != nil }) {
			rest := maps.Clone(r.object)
			for _, name := range leads {
				delete(rest, name)
			}
			line, _ = json.Marshal(rest) // of what was read as JSON
		}
		rest := bytes.TrimLeft(bytes.TrimPrefix(bytes.TrimLeft(line, " \t"), []byte("{")), " \t")
		if lead != "" && len(rest) > 0 && rest[0] != '}' {
			b = append(b, ',')
		}
		return append(b, rest...)
	}
	first := lead == ""
	for i, name := range r.columns.names {
		cell := r.cells[i]
		if cell == unset {
			continue
		}
		kind := r.columns.kind(i)
		if !r.columns.vector[i] && !numeric(kind, cell) && kind != "bool" && cell == empty {
			cell = ""
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(zeek.AppendQuoted(b, name), ':')
		if !r.columns.vector[i] {
			b = appendValue(b, kind, cell)
			continue
		}
		kind = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(kind, "set["), "vector["), "]")
		b = append(b, '[')
		if cell != empty {
			for j, e := range strings.Split(cell, ",") {
				if j > 0 {
					b = append(b, ',')
				}
				if e == empty {
					e = ""
				}
				b = appendValue(b, kind, e)
			}
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// numeric reports whether a cell is a number, and its column one of numbers.
func numeric(kind, cell string) bool {
	switch kind {
	case "time", "interval", "double", "count", "int", "port":
	default:
		return false
	}
	digits, point := 0, false
	for i := 0; i < len(cell); i++ {
		switch c := cell[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '-' && i == 0:
		case c == '.' && !point && digits > 0 && i < len(cell)-1:
			point = true
		default:
			return false
		}
	}
	whole := strings.TrimPrefix(cell, "-")
	return digits > 0 && (len(whole) == 1 || whole[0] != '0' || whole[1] == '.') // JSON knows no 007
}

func appendValue(b []byte, kind, cell string) []byte {
	switch {
	case numeric(kind, cell):
		switch kind {
		case "time", "interval": // six digits there, as few as needed here
			if i := strings.IndexByte(cell, '.'); i >= 0 {
				cell = strings.TrimRight(cell, "0")
				if cell[len(cell)-1] == '.' {
					cell += "0"
				}
			}
		case "double":
			if v, err := strconv.ParseFloat(cell, 64); err == nil {
				return zeek.AppendNumber(b, v)
			}
		}
		return append(b, cell...)
	case kind == "bool" && cell == "T":
		return append(b, "true"...)
	case kind == "bool" && cell == "F":
		return append(b, "false"...)
	}
	return zeek.AppendQuoted(b, unescape(cell))
}

// Each calls fn with each value that is set, as text, until fn returns false: the elements of sets and vectors one by one,
// and what is in structures under the name of the column.
func (r *Row) Each(fn func(name, value string) bool) {
	if r.object != nil {
		for name, v := range r.object {
			if !eachValue(name, v, fn) {
				return
			}
		}
		return
	}
	for i, name := range r.columns.names {
		cell := r.cells[i]
		if cell == unset || cell == empty {
			continue
		}
		if !r.columns.vector[i] {
			if !fn(name, unescape(cell)) {
				return
			}
			continue
		}
		for e := range strings.SplitSeq(cell, ",") {
			if e != empty && !fn(name, unescape(e)) {
				return
			}
		}
	}
}

func eachValue(name string, v any, fn func(name, value string) bool) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		for _, e := range v {
			if !eachValue(name, e, fn) {
				return false
			}
		}
		return true
	case map[string]any:
		for _, e := range v {
			if !eachValue(name, e, fn) {
				return false
			}
		}
		return true
	}
	return fn(name, text(v))
}
