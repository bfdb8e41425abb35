// Package observe writes down what a sensor's detectors saw, so that a hub can show it to detectors of its own together with what other
// sensors saw, and reads it again.
//
// In, of a sensor: every event that its detectors receive, in order (Tap is an engine.Observer). Out: rows of observations.log, each a
// pack of events. A pack has the events as the Go structures that they are, field by field with names (see codec.go), compressed. What
// no detector of a hub reads is left out, and so are the values of credentials in HTTP fields. In, of a hub: these rows; out: the events
// (Read).
//
// What it costs is bounded. Of one text or body 64 KiB are written. Beyond Config.Rate bytes a second, taken before compression, and a
// store of Config.Burst, bodies are left out first, then what is told of flows that go on, then all else but findings; each is counted in
// the next row, so that a hub knows that it does not see all. A connection costs about 60 bytes in the log, an HTTP transaction about
// 200, if it brings no body that a detector wants.
//
// It does not see: file hashes and certificates, which only the detector of indicators reads, and that stays with the sensor.
package observe

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"time"

	kflate "github.com/klauspost/compress/flate"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
)

// Log is the name of the log.
const Log = "observations"

const (
	// A pack is closed when it has so much, or its first event is so old.
	packSize  = 96 << 10
	packEvery = capture.Time(time.Second)
	// An empty one says that nothing was seen.
	idleEvery = capture.Time(5 * time.Second)
	// What a reader takes: a pack, and the memory of what is in it. A pack may end with the largest events there are.
	maxPack   = 4 << 20
	maxRoom   = 64 << 20
	maxEvents = 1 << 16
	// A row must stay below what a message takes; an event that makes it larger goes into a pack of its own, and if that is too large it
	// is left out.
	maxData = 700 << 10
)

// Config bounds what is written.
type Config struct {
	Rate  int // bytes a second of packet time before compression; 0: DefaultRate
	Burst int // bytes; 0: DefaultBurst
}

// What holds when nothing is said: a busy node with 300 connections and 300 HTTP transactions a second stays below the rate. Compressed it
// is a fifth of it.
const (
	DefaultRate  = 256 << 10
	DefaultBurst = 32 << 20
)

// Lost counts what a pack, and what came before it, does not have.
type Lost struct {
	Cut    uint64 // texts that were cut off
	Bodies uint64 // that were left out
	Events uint64 // that were left out
}

// Pack is a row of observations.log.
type Pack struct {
	Time   capture.Time // nothing that happened before this comes in a later pack
	Run    string       // names the run of the sensor: its numbers begin anew with each
	Number uint64       // of the pack in the run, from 1, without a gap
	Count  int          // of events
	Last   bool         // the run is over
	Lost   Lost         // since the run began
	Data   []byte       // compressed
}

// Log implements capture.Record.
func (*Pack) Log() string { return Log }

// Row implements capture.Record.
func (p *Pack) Row(w capture.Fields) {
	w.Time("ts", p.Time, true)
	w.String("run", p.Run, true)
	w.Count("number", p.Number, true)
	w.Count("events", uint64(p.Count), true)
	w.Bool("last", p.Last, true)
	w.Count("texts_cut", p.Lost.Cut, true)
	w.Count("bodies_left_out", p.Lost.Bodies, true)
	w.Count("events_left_out", p.Lost.Events, true)
	w.String("data", base64.StdEncoding.EncodeToString(p.Data), true)
}

// Logs tells of the log.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: Log,
		When: "Of a sensor that publishes to a hub: at least once a second of traffic, with what detectors saw in it. A hub joins several sensors by it; it is not made for people.",
		Row:  &Pack{},
		Columns: []capture.Column{
			{Name: "ts", Doc: "Time of the packet up to which it tells: nothing from before comes in a later row."},
			{Name: "run", Doc: "Name of the run of the sensor, new with each start."},
			{Name: "number", Doc: "Number of the row in the run, from 1 without a gap."},
			{Name: "events", Unit: "events", Doc: "How many it has."},
			{Name: "last", Doc: "The run is over."},
			{Name: "texts_cut", Unit: "texts", Doc: "Texts and bodies that were cut off after 64 KiB, since the run began."},
			{Name: "bodies_left_out", Unit: "bodies", Doc: "Bodies that were left out because there was too much to tell, since the run began."},
			{Name: "events_left_out", Unit: "events", Doc: "Events that were left out because there was too much to tell, since the run began."},
			{Name: "data", Doc: "The events, compressed (DEFLATE) and in base64. The form is raytap's own."},
		},
	}}
}

// Tap writes down what detectors see. It is an engine.Observer and belongs to one goroutine.
type Tap struct {
	rate, burst float64
	say         func(capture.Record)
	run         string
	number      uint64
	e           encoder
	count       int
	first       capture.Time // of the pack
	now         capture.Time
	end         bool
	lost        Lost

	store   float64 // bytes that may be written yet
	granted capture.Time
	out     bytes.Buffer
}

// New makes a tap for a run with a name that no other run of the sensor has.
func New(run string, cfg Config) *Tap {
	t := &Tap{rate: float64(cfg.Rate), burst: float64(cfg.Burst), run: run, e: encoder{names: map[string]uint64{}, refs: map[any]uint64{}}}
	if cfg.Rate <= 0 {
		t.rate = DefaultRate
	}
	if cfg.Burst <= 0 {
		t.burst = DefaultBurst
	}
	t.store = t.burst
	return t
}

// Begin implements engine.Observer.
func (t *Tap) Begin(say func(capture.Record)) { t.say = say }

// Place implements engine.Observer.
func (t *Tap) Place(at capture.Time, end bool) {
	if at > t.now {
		t.now = at
		if t.count > 0 && t.now-t.first >= packEvery {
			t.flush(false)
		}
	}
	t.end = end
}

// Clock implements engine.Observer: a sensor that sees nothing says so too, or a hub would wait for it.
func (t *Tap) Clock(at capture.Time) {
	t.now = max(t.now, at)
	wait := packEvery
	if t.count == 0 {
		wait = idleEvery
	}
	switch {
	case t.first == 0:
		t.first = t.now
	case t.now-t.first >= wait:
		t.flush(false)
	}
}

// End implements engine.Observer.
func (t *Tap) End() { t.flush(true) }

// Event implements engine.Observer.
func (t *Tap) Event(ev any, reading uint8) {
	k, ok := kinds[reflect.TypeOf(ev)]
	if !ok {
		return
	}
	f, isFinding := ev.(*detectors.Finding)
	if isFinding {
		if f.Rule == detectors.ChainRule {
			return
		}
		c := *f
		c.Evidence = append([]detectors.Evidence(nil), f.Evidence...)
		c.Name = f.ID()
		c.Mask()
		ev = &c
	}
	if t.now > t.granted {
		if t.granted != 0 {
			t.store = min(t.store+t.rate*float64(t.now-t.granted)/1e9, t.burst)
		}
		t.granted = t.now
	}
	if t.store <= 0 && !isFinding {
		t.lost.Events++
		return
	}
	if t.store < t.burst/4 {
		switch x := ev.(type) {
		case *capture.Progress:
			t.lost.Events++
			return
		case *http.Transaction:
			if t.bodies(x) {
				ev = without(x)
			}
		}
	}
	before := len(t.e.b)
	if t.count == 0 {
		t.first = t.now
	}
	t.write(k, ev, reading)
	if len(t.e.b) > packSize && before > 0 {
		t.flush(false)
		return
	}
	t.store -= float64(len(t.e.b) - before)
}

// bodies counts those of a transaction that are left out, and reports whether there are any.
func (t *Tap) bodies(x *http.Transaction) bool {
	n := uint64(0)
	if x.Request != nil && len(x.Request.Body.Data) > 0 {
		n++
	}
	if x.Response != nil && len(x.Response.Body.Data) > 0 {
		n++
	}
	t.lost.Bodies += n
	return n > 0
}

// without is a transaction without what was kept of its bodies.
func without(x *http.Transaction) *http.Transaction {
	c := *x
	if x.Request != nil {
		q := *x.Request
		q.Body.Data = nil
		c.Request = &q
	}
	if x.Response != nil {
		r := *x.Response
		r.Body.Data = nil
		c.Response = &r
	}
	return &c
}

// An event in a pack: its kind as a field, and before it the time of its packet, since the one before; whether it came with the end of
// the run; and its reading.
const (
	fieldAfter   = "after"
	fieldEnd     = "end"
	fieldReading = "reading"
)

func (t *Tap) write(k kind, ev any, reading uint8) {
	e := &t.e
	before := e.cut
	if d := t.now - t.first; d > 0 {
		e.tag(fieldAfter, wireInt)
		e.b = binary.AppendUvarint(e.b, uint64(d))
	}
	if t.end {
		e.tag(fieldEnd, wireInt)
		e.b = append(e.b, 1)
	}
	if reading > 0 {
		e.tag(fieldReading, wireInt)
		e.b = append(e.b, reading)
	}
	e.tag(k.name, k.plan.wire)
	e.value(k.plan, reflect.ValueOf(ev), 0)
	t.lost.Cut += e.cut - before
	t.count++
}

// flush says the pack at hand, also if it is empty.
func (t *Tap) flush(last bool) {
	t.out.Reset()
	var head [2 * binary.MaxVarintLen64]byte
	n := binary.PutVarint(head[:], int64(t.first))
	// Without a state between packs: that of a compressor is a megabyte, and compresses packs of this size no better.
	_ = kflate.StatelessDeflate(&t.out, head[:n], false, nil) // a buffer takes everything
	_ = kflate.StatelessDeflate(&t.out, t.e.b, true, nil)
	t.number++
	p := &Pack{Time: t.now, Run: t.run, Number: t.number, Count: t.count, Last: last, Data: append([]byte(nil), t.out.Bytes()...)}
	if base64.StdEncoding.EncodedLen(len(p.Data)) > maxData || len(t.e.b) > maxPack-16 {
		t.lost.Events += uint64(t.count)
		p.Count, p.Data = 0, nil
	}
	p.Lost = t.lost
	t.e.reset()
	t.count, t.first = 0, t.now
	t.say(p)
}

// Event is one event as a reader gets it.
type Event struct {
	Time    capture.Time // of the packet, or the step of the clock, that made it complete
	End     bool         // it came because the run ended
	Reading uint8        // see capture.Aside
	Flow    *capture.Flow
	Event   any
	Kind    string
	Sum     uint64 // equal for equal events of a flow, whatever their times, ordinals and UIDs
}

var (
	errRow  = errors.New("observe: not a row of observations.log")
	errHalf = errors.New("observe: an event without what it is about")
)

// ParseRow reads a row as it stands in JSON.
func ParseRow(row []byte) (*Pack, error) {
	var r struct {
		TS     json.Number `json:"ts"`
		Run    string      `json:"run"`
		Number uint64      `json:"number"`
		Events int         `json:"events"`
		Last   bool        `json:"last"`
		Cut    uint64      `json:"texts_cut"`
		Bodies uint64      `json:"bodies_left_out"`
		Lost   uint64      `json:"events_left_out"`
		Data   []byte      `json:"data"`
	}
	if err := json.Unmarshal(row, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errRow, err)
	}
	ts, err := strconv.ParseFloat(string(r.TS), 64)
	if err != nil || math.Abs(ts) > 1e11 || len(r.Run) > 64 || r.Number == 0 {
		return nil, errRow
	}
	return &Pack{Time: capture.Time(ts * 1e9), Run: r.Run, Number: r.Number, Count: r.Events, Last: r.Last, Lost: Lost{r.Cut, r.Bodies, r.Lost}, Data: r.Data}, nil
}

// Read unpacks the events of a pack; see Reader.
func (p *Pack) Read(shift time.Duration) ([]Event, error) { return new(Reader).Read(p, shift) }

// Reader unpacks packs. It keeps what it needs for the next one; it belongs to one goroutine, and the zero value is ready.
type Reader struct {
	in  bytes.Reader
	zip io.ReadCloser
	buf bytes.Buffer
}

// Read unpacks the events of a pack, in their order, with shift added to all their times. What it gets may be anything: it returns the
// events up to the first that cannot be read, with the error.
func (r *Reader) Read(p *Pack, shift time.Duration) ([]Event, error) {
	if p.Count == 0 && len(p.Data) == 0 {
		return nil, nil
	}
	r.in.Reset(p.Data)
	if r.zip == nil {
		r.zip = flate.NewReader(&r.in)
	} else if err := r.zip.(flate.Resetter).Reset(&r.in, nil); err != nil {
		return nil, fmt.Errorf("%w: %w", errRow, err)
	}
	r.buf.Reset()
	if _, err := r.buf.ReadFrom(io.LimitReader(r.zip, maxPack+1)); err != nil {
		return nil, fmt.Errorf("%w: %w", errRow, err)
	}
	b := r.buf.Bytes() // every value is copied out of it
	if len(b) > maxPack {
		return nil, errMany
	}
	first, n := binary.Varint(b)
	if n <= 0 {
		return nil, errShort
	}
	first += int64(shift)
	d := decoder{b: b[n:], room: maxRoom, shift: int64(shift)}
	var all []Event
	var bad error
	x := Event{Time: capture.Time(first)}
	for len(d.b) > 0 {
		name, wire, err := d.tag()
		if err != nil {
			return all, err
		}
		switch k, ok := byName[name]; {
		case ok && k.plan.wire == wire:
			v := reflect.New(k.plan.typ).Elem()
			if err := d.value(k.plan, v, 0); err != nil {
				return all, err
			}
			x.Event, x.Kind = v.Interface(), name
			if v.IsNil() || !whole(x.Event) {
				bad = errHalf
				x = Event{Time: capture.Time(first)}
				continue
			}
			x.Flow = flowOf(x.Event)
			x.Sum = sum(k.plan, v)
			if all = append(all, x); len(all) > maxEvents {
				return all, errMany
			}
			x = Event{Time: capture.Time(first)}
		case wire == wireInt:
			n, err := d.uint()
			if err != nil {
				return all, err
			}
			switch name {
			case fieldAfter:
				x.Time += capture.Time(min(n, math.MaxInt64/4))
			case fieldEnd:
				x.End = n != 0
			case fieldReading:
				x.Reading = uint8(min(n, 3))
			}
		default:
			if err := d.skip(wire, 0); err != nil {
				return all, err
			}
			x = Event{Time: capture.Time(first)}
		}
	}
	return all, bad
}
