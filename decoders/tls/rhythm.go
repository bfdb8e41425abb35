package tls

import (
	"time"

	"github.com/raytap/raytap/capture"
)

// Rhythm is what a session's encrypted records look like from outside: whose, how long, when. It is told of sessions
// whose client offered no application protocol, after the first rhythmRecords records of application data or at the
// end of the flow, and, where something is rare in it, once more after longRecords or at the end: then Again is set. Browsers and most clients offer one; programs that speak lines of their own over TLS do not.
type Rhythm struct {
	capture.At // of the first of the records
	Last       capture.At
	Session    *Session
	Records    []Record // from the first
	Again      bool
}

// Record is one record of application data.
type Record struct {
	FromClient bool
	Len        int           // octets of ciphertext, without the record's header; the text is 16 to 40 shorter
	After      time.Duration // since the first
}

const (
	// As many records tell a conversation of requests and answers; a miner has had them within minutes.
	rhythmRecords = 24
	// A miner that seldom finds a share has sent three of them by then.
	longRecords = 128
	// Fewer tell nothing.
	minRhythm = 8
	// A longer record belongs to a transfer, which has no rhythm that is of interest. It ends the watch at once, so that
	// bulk costs nothing.
	maxRhythmRecord = 2 << 10
)

// rhythm watches a session that is established.
type rhythm struct {
	on   bool
	at   capture.At
	last capture.At
	list []Record
	told bool
}

// watch begins, if the session is of a kind to be watched.
func (d *streamDecoder) watch() bool {
	s := d.hs.s
	d.rhythm.on = s.Hello && s.Answered && len(s.Offered) == 0 && d.layer != VersionSSL2
	return d.rhythm.on
}

// note takes the header of a record, and says whether the watch goes on.
func (d *streamDecoder) note(dir capture.Dir, typ byte, n int) bool {
	r := &d.rhythm
	if typ != typeApplicationData {
		return true
	}
	if n > maxRhythmRecord {
		r.list = nil
		return false
	}
	r.last = d.hs.ctx.At()
	if len(r.list) == 0 {
		r.at, r.list = r.last, make([]Record, 0, rhythmRecords)
	}
	r.list = append(r.list, Record{d.hs.client(dir), n, r.last.Time.Sub(r.at.Time)})
	if len(r.list) == rhythmRecords {
		d.emit()
	}
	return len(r.list) < longRecords
}

// tell emits what was noted.
func (d *streamDecoder) tell() {
	r := &d.rhythm
	if r.on && len(r.list) >= minRhythm && len(r.list) != rhythmRecords {
		d.emit()
	}
	*r = rhythm{}
}

func (d *streamDecoder) emit() {
	r := &d.rhythm
	// The list grows behind what was told; what was told is not written again.
	d.hs.ctx.Emit(&Rhythm{At: r.at, Last: r.last, Session: d.hs.s, Records: r.list[:len(r.list):len(r.list)], Again: r.told})
	r.told = true
}
