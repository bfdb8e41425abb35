package capture

import (
	"net/netip"
	"time"
)

// Record is an event that is also a log row. Log names the stream ("conn", "http"); Row writes the columns, always
// the same names in the same order whatever is set, so that a row of the zero value tells the schema.
type Record interface {
	Log() string
	Row(f Fields)
}

// Fields takes the columns of one row. Every method gets the column's name, its value and whether it is set; an
// unset column is written as each format writes it ("-" in Zeek's text form, left out in JSON). Implementations
// must not keep slices.
type Fields interface {
	Time(name string, v Time, set bool)
	Interval(name string, v time.Duration, set bool)
	String(name, v string, set bool)
	Enum(name, v string, set bool)
	Count(name string, v uint64, set bool)
	Bool(name string, v, set bool)
	Addr(name string, v netip.Addr, set bool)
	Port(name string, v uint16, set bool)
	Double(name string, v float64, set bool)
	// Set and Vector are Zeek's set[kind] and vector[kind] for the kinds "string", "enum", "addr" and "count".
	Set(name, kind string, v []string, set bool)
	Vector(name, kind string, v []string, set bool)
	Intervals(name string, v []time.Duration, set bool)
}

// RowFormatter formats the rows of a sink away from their order, on another goroutine.
type RowFormatter interface {
	// Format appends r to b as it is to be written, and gives the number of its log. With log < 0 nothing was appended: the
	// sink wants r itself.
	Format(b []byte, r Record) (text []byte, log int)
}

// ObjectFields is a Fields that can hold structures, as rows of JSON do.
type ObjectFields interface {
	Fields
	// Objects writes a list of n objects; field writes those of the i-th.
	Objects(name string, n int, field func(w Fields, i int), set bool)
}

// Objects writes a list of structures: field writes those of the i-th. Where there are no structures it is a vector of texts,
// one for each.
func Objects(w Fields, name string, texts []string, field func(w Fields, i int), set bool) {
	if x, ok := w.(ObjectFields); ok {
		x.Objects(name, len(texts), field, set)
		return
	}
	w.Vector(name, "string", texts, set)
}

// ID writes the columns that begin most rows after ts: uid and the four of id.
func (f *Flow) ID(w Fields) {
	if f == nil {
		f = &Flow{}
	}
	f = f.Wire()
	if x, ok := w.(FlowFields); ok {
		x.Flow(f)
		return
	}
	f.Columns(w)
}

// Columns writes what ID writes, column by column.
func (f *Flow) Columns(w Fields) {
	w.String("uid", f.UID, f.UID != "")
	Endpoints(w, f.Orig, f.Resp)
}

// FlowFields is a Fields that has its own way to write the columns of a flow, which come again with each of its rows.
type FlowFields interface {
	Fields
	Flow(f *Flow)
}

// Endpoints writes id.orig_h, id.orig_p, id.resp_h and id.resp_p.
func Endpoints(w Fields, orig, resp netip.AddrPort) {
	w.Addr("id.orig_h", orig.Addr(), orig.IsValid())
	w.Port("id.orig_p", orig.Port(), orig.IsValid())
	w.Addr("id.resp_h", resp.Addr(), resp.IsValid())
	w.Port("id.resp_p", resp.Port(), resp.IsValid())
}
