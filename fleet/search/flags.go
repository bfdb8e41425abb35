package search

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/logs"
	"github.com/raytap/raytap/sinks/terminal"
)

// Flags are those of a command that searches.
type Flags struct {
	Query   Query
	Limits  Limits
	Columns []string // print these alone; none: rows as JSON
	Sort    bool     // by time
}

// What a search of a person is bounded by if nothing else is said.
const (
	defaultRows = 1000
	defaultTime = time.Minute
)

// AddFlags adds them to a set.
func AddFlags(f *flag.FlagSet) *Flags {
	x := &Flags{Limits: Limits{Rows: defaultRows, Time: defaultTime}}
	names := func(to *[]string) func(string) error {
		return func(s string) error {
			for _, n := range strings.Split(s, ",") {
				if n = strings.TrimSpace(n); n != "" {
					*to = append(*to, n)
				}
			}
			return nil
		}
	}
	at := func(to *capture.Time) func(string) error {
		return func(s string) (err error) {
			*to, err = ParseTime(s, time.Now())
			return err
		}
	}
	f.Func("host", "only rows with `ADDR` in any column; NET/BITS is a network; of several, rows with all of them", func(s string) error {
		for _, h := range strings.Split(s, ",") {
			p, err := ParseHost(strings.TrimSpace(h))
			if err != nil {
				return err
			}
			x.Query.Hosts = append(x.Query.Hosts, p)
		}
		return nil
	})
	f.Func("from", "only what was since `TIME`: 2026-11-29T22:00, 22:00 (today), in UTC or with a zone, or an age: 90m, 24h, 7d", at(&x.Query.Since))
	f.Func("to", "only what was until `TIME`, in the same forms", at(&x.Query.Until))
	f.Func("log", "only these logs, `NAMES`, such as conn,dns; may be repeated (default: all)", names(&x.Query.Logs))
	f.Func("uid", "only rows of the flow `UID`, raytap's and Zeek's; of several, rows of any", names(&x.Query.UIDs))
	f.Func("community-id", "only rows of flows with the Community ID `CID`; of several, rows of any", names(&x.Query.Communities))
	f.StringVar(&x.Query.Finding, "finding", "", "rows of the finding or incident `ID`, then those of the finding's flow")
	f.Func("field", "only rows whose column has this value, `NAME=VALUE`; a star at the beginning or end of VALUE stands for any text; may be repeated, and all must hold", func(s string) error {
		field, err := ParseField(s)
		x.Query.Fields = append(x.Query.Fields, field)
		return err
	})
	f.Uint64Var(&x.Limits.Rows, "n", defaultRows, fmt.Sprintf("stop after `N` rows (default %d; 0: never)", defaultRows))
	f.DurationVar(&x.Limits.Time, "max-time", defaultTime, fmt.Sprintf("stop after `TIME` (default %v; 0s: never)", defaultTime))
	f.Func("columns", "print only these columns, `NAMES`, separated by tabs (default: rows as JSON, an object a line)", names(&x.Columns))
	f.BoolVar(&x.Sort, "sort", false, "print rows in the order of their times, when all have been found")
	return x
}

// Check reports what is wrong with the flags.
func (x *Flags) Check() error {
	if x.Query.Empty() && x.Query.Since == 0 && x.Query.Until == 0 {
		return fmt.Errorf("nothing to look for: --host, --uid, --community-id, --finding, --field, --from or --to is needed")
	}
	err := x.Query.Check()
	if err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "search: "))
	}
	return nil
}

// Printer prints rows as flags say. What is in rows comes from the network: it is made harmless for a terminal.
type Printer struct {
	out  io.Writer
	x    *Flags
	held []held
	size int
	buf  []byte
}

type held struct {
	ts  capture.Time
	row []byte
}

// maxHeld bounds rows that wait to be put in order.
const maxHeld = 256 << 20

// NewPrinter makes one.
func NewPrinter(out io.Writer, x *Flags) *Printer { return &Printer{out: out, x: x} }

// Row takes a row: an object of JSON.
func (p *Printer) Row(row []byte) error {
	if !p.x.Sort {
		return p.print(row)
	}
	if p.size += len(row); p.size > maxHeld {
		return fmt.Errorf("search: more than %d MiB of rows cannot be sorted; --from and --to make it less", maxHeld>>20)
	}
	var r struct {
		TS json.Number `json:"ts"`
	}
	json.Unmarshal(row, &r) // without a time it is first
	ts, _ := logs.ParseTime(r.TS.String())
	p.held = append(p.held, held{ts, bytes.Clone(row)})
	return nil
}

// Close prints what was held.
func (p *Printer) Close() error {
	slices.SortStableFunc(p.held, func(a, b held) int { return cmp.Compare(a.ts, b.ts) })
	for _, h := range p.held {
		if err := p.print(h.row); err != nil {
			return err
		}
	}
	p.held = nil
	return nil
}

func (p *Printer) print(row []byte) error {
	if len(p.x.Columns) == 0 {
		p.buf = append(p.buf[:0], terminal.JSON(bytes.ReplaceAll(row, []byte{'\n'}, []byte{' '}))...)
	} else {
		parser := logs.Parser{}
		r, err := parser.Line(row)
		if err != nil || r == nil {
			return nil // it was checked where it was found
		}
		p.buf = p.buf[:0]
		for i, c := range p.x.Columns {
			if i > 0 {
				p.buf = append(p.buf, '\t')
			}
			v := "-"
			switch {
			case c == "_path":
				v = r.Log
			case r.Has(c):
				v = terminal.CleanAll(r.Get(c))
			}
			p.buf = append(p.buf, v...)
		}
	}
	p.buf = append(p.buf, '\n')
	_, err := p.out.Write(p.buf)
	return err
}
