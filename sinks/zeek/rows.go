package zeek

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// rows formats rows for a sink on another goroutine than the sink's own. They are the bytes that Event writes: what stands in
// a row does not depend on those before it.
type rows struct {
	opt   *Options
	json  bool
	flows flowTexts
	logs  [len(ours)]rowLog
	last  int
}

type rowLog struct {
	row  row
	text *text
}

// Format implements capture.RowFormatter. A log's number is its place in ours.
func (s *rows) Format(b []byte, r capture.Record) (text []byte, log int) {
	name := r.Log()
	if ours[s.last] != name {
		i := slices.Index(ours[:], name)
		if i < 0 || !s.opt.wants(name) {
			return b, -1
		}
		if s.last = i; s.logs[i].row == nil {
			l := &s.logs[i]
			l.row, l.text = newRow(name, s.json, &s.flows, s.opt.masks(name))
		}
	}
	l := &s.logs[s.last]
	l.text.b = b
	l.row.begin()
	r.Row(l.row)
	l.row.end()
	b, l.text.b = l.text.b, nil
	return b, s.last
}
