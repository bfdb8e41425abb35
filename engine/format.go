package engine

import (
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
)

// Formatter is a Sink whose rows are formatted by the workers, in parallel, and only put in order by the collector. A run
// takes one such sink, the first; of others, rows come by Event.
type Formatter interface {
	Sink
	// Rows makes what formats rows. Each belongs to one goroutine.
	Rows() capture.RowFormatter
	// Formatted takes a row in its place in the order, with the text that one of the formatters made of it, instead of
	// Event(r). The text is valid during the call.
	Formatted(r capture.Record, log int, text []byte)
}

// maxFormatted bounds the formatted rows of a batch. What is beyond is formatted by the collector.
const maxFormatted = 1 << 30

// row decides what the logs show of an event, and formats it, where this takes nothing but the event.
func (w *worker) row(x *event) {
	switch ev := x.ev.(type) {
	case *file.File:
		w.e.placed(ev)
		if w.e.collect.kept != nil || ev.Unnamed {
			return // the row waits for the name of the copy, or for other pieces
		}
	case *capture.Awaited:
		return // an event or nothing, which the collector knows
	}
	var alone bool
	if x.row, alone = w.view.Alone(x.ev, x.from); !alone {
		return
	}
	if x.decided = true; x.over {
		x.row = nil
	}
	text := w.batch.text[w.id]
	if x.row == nil || w.rows == nil || len(text) >= maxFormatted {
		return
	}
	from := len(text)
	text, log := w.rows.Format(text, x.row)
	if log < 0 {
		return
	}
	w.batch.text[w.id] = text
	x.worker, x.log, x.begin, x.end = uint8(w.id), uint8(log), uint32(from), uint32(len(text))
}

// placed says whether the sender of a file is in the local networks.
func (e *engine) placed(f *file.File) {
	if f.Flow != nil {
		f.Local = e.local.Contains(f.Flow.Src(f.Sender).Addr())
	}
}
