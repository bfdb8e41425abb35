package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// Bounds of a row. What is beyond them is refused at both ends.
const (
	// MaxRow is the length of a row with its envelope. NATS takes messages of 1 MiB, headers included.
	MaxRow = 1<<20 - 4096
	// maxDepth and maxValues bound what reading a row costs.
	maxDepth  = 16
	maxValues = 65536
)

// A Reason says in a word why a row was refused. Counters have it as their label.
type Reason string

// Why a row is refused.
const (
	RefusedSubject   Reason = "subject"    // not raytap.SENSOR.LOG
	RefusedID        Reason = "message_id" // no Nats-Msg-Id, or not of this sensor and log
	RefusedSize      Reason = "size"
	RefusedJSON      Reason = "json"     // not one JSON object in UTF-8, too deep, too many values, or a key twice
	RefusedEnvelope  Reason = "envelope" // _path, _system_name or _write_ts are missing or of another kind
	RefusedSensor    Reason = "sensor"   // _system_name is another than in the subject
	RefusedLog       Reason = "log"      // _path is another than in the subject
	RefusedCharacter Reason = "control"  // a control character in a string
	RefusedRow       Reason = "row"      // not as rows of its log are
)

// Refused is the error about a row that is refused.
type Refused struct {
	Reason Reason
	Text   string
}

func (r *Refused) Error() string { return "fleet: row refused (" + string(r.Reason) + "): " + r.Text }

func refuse(r Reason, format string, args ...any) error {
	return &Refused{r, fmt.Sprintf(format, args...)}
}

// Row is a row of a sensor's log.
type Row struct {
	Sensor  string
	Log     string
	Place   Place
	Written time.Time // when it was written, by the clock of the sensor
	// Body is the row as in the sensor's JSON log, one object. Decode leaves the envelope in it.
	Body []byte
}

// Encode returns the message of a row: the object of Body with _path, _system_name and _write_ts in front. What Body has of these is
// an error, as is what Decode would refuse for its size; other checks are left to the hub.
func (r Row) Encode() (*nats.Msg, error) {
	if err := CheckSensor(r.Sensor); err != nil {
		return nil, err
	}
	if err := CheckLog(r.Log); err != nil {
		return nil, err
	}
	body := bytes.TrimSpace(r.Body)
	if len(body) < 2 || body[0] != '{' || body[len(body)-1] != '}' {
		return nil, refuse(RefusedJSON, "not an object")
	}
	b := AppendEnvelope(make([]byte, 0, len(body)+200), r.Sensor, r.Log, r.Written)
	if rest := bytes.TrimSpace(body[1:]); rest[0] != '}' {
		b = append(b, ',')
	}
	b = append(b, body[1:]...)
	if len(b) > MaxRow {
		return nil, refuse(RefusedSize, "%d bytes", len(b))
	}
	m := nats.NewMsg(Subject(r.Sensor, r.Log))
	m.Header.Set(nats.MsgIdHdr, MessageID(r.Sensor, r.Log, r.Place))
	m.Data = b
	return m, nil
}

// AppendEnvelope appends the beginning of a row's object: a brace and the three members of the envelope. _write_ts is as in rows that
// Zeek streams: RFC 3339 with microseconds, UTC.
func AppendEnvelope(b []byte, sensor, log string, written time.Time) []byte {
	b = append(b, `{"_path":"`...)
	b = append(b, log...)
	b = append(b, `","_system_name":`...)
	name, _ := json.Marshal(sensor) // a string cannot fail
	b = append(b, name...)
	b = append(b, `,"_write_ts":"`...)
	b = written.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	return append(b, '"')
}

// Decode reads the message of a row, and refuses with a *Refused what is not as Encode writes it: the sensor and the log of subject,
// message id and envelope must be the same, and the body one JSON object within the bounds. Strings may have markup, since what
// attackers send has; who prints them escapes them. They have no control characters: a sensor writes these as \x1b.
func Decode(m *nats.Msg) (Row, error) {
	sensor, log, err := ParseSubject(m.Subject)
	if err != nil {
		return Row{}, refuse(RefusedSubject, "%.80q", m.Subject)
	}
	r := Row{Sensor: sensor, Log: log, Body: m.Data}
	s, l, place, err := ParseMessageID(m.Header.Get(nats.MsgIdHdr))
	if err != nil || s != sensor || l != log {
		return r, refuse(RefusedID, "%.80q", m.Header.Get(nats.MsgIdHdr))
	}
	r.Place = place
	if len(m.Data) > MaxRow {
		return r, refuse(RefusedSize, "%d bytes", len(m.Data))
	}
	e, err := checkObject(m.Data)
	if err != nil {
		return r, err
	}
	switch {
	case e.path != log:
		return r, refuse(RefusedLog, "_path is %.80q", e.path)
	case e.system != sensor:
		return r, refuse(RefusedSensor, "_system_name is %.80q", e.system)
	}
	r.Written, err = ParseTime(e.written)
	if log == LogStatus && errors.Is(err, errOtherTime) { // which tells of a clock that is wrong: it was not set yet after a start
		err = nil
	}
	if err != nil {
		return r, refuse(RefusedEnvelope, "_write_ts is %.80q", e.written)
	}
	return r, nil
}

var errOtherTime = errors.New("fleet: not a time of now")

// ParseTime reads _write_ts: RFC 3339, or seconds of Unix time with a fraction. It refuses times outside the years 2000 to 2200.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		f, ferr := strconv.ParseFloat(s, 64)
		if ferr != nil || !(f > 0 && f < 1e11) {
			return time.Time{}, fmt.Errorf("fleet: %.80q is not a time", s)
		}
		t = time.UnixMicro(int64(f * 1e6))
	}
	if y := t.Year(); y < 2000 || y > 2200 {
		return time.Time{}, fmt.Errorf("%w: %.80q", errOtherTime, s)
	}
	return t.UTC(), nil
}

type envelope struct{ path, system, written string }

// checkObject reads the envelope out of a body, and refuses what is not as Decode says.
func checkObject(b []byte) (envelope, error) {
	var e envelope
	if !utf8.Valid(b) {
		return e, refuse(RefusedJSON, "not UTF-8")
	}
	// What is too deep is found before encoding/json, which has a bound of its own that is far higher.
	w := walk{b: b}
	if w.deep() {
		return e, refuse(RefusedJSON, "deeper than %d", maxDepth)
	}
	if !json.Valid(b) {
		return e, refuse(RefusedJSON, "not one JSON value")
	}
	if w.space(); b[w.i] != '{' {
		return e, refuse(RefusedJSON, "not an object")
	}
	if err := w.object(&e); err != nil {
		return e, err
	}
	if e.path == "" || e.system == "" || e.written == "" {
		return e, refuse(RefusedEnvelope, "_path, _system_name or _write_ts is missing")
	}
	return e, nil
}

// walk goes through a body. But for deep, it is known to be JSON.
type walk struct {
	b      []byte
	i      int
	values int
}

// deep reports whether arrays and objects are within each other more than maxDepth times.
func (w *walk) deep() bool {
	depth, in := 0, false
	for i := 0; i < len(w.b); i++ {
		switch c := w.b[i]; {
		case in && c == '\\':
			i++
		case c == '"':
			in = !in
		case in:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

func (w *walk) space() {
	for w.i < len(w.b) && w.b[w.i] <= ' ' {
		w.i++
	}
}

// object goes through one; e is where the members of the envelope go. A key that comes twice is refused: programs differ in which of
// the two they take.
func (w *walk) object(e *envelope) error {
	var few [64][]byte // of most rows all keys
	keys, seen := few[:0], map[string]bool(nil)
	w.i++
	for {
		w.space()
		switch w.b[w.i] {
		case '}':
			w.i++
			return nil
		case ',':
			w.i++
			w.space()
		}
		key, err := w.text()
		if err != nil {
			return err
		}
		switch {
		case seen == nil && len(keys) < cap(few[:]):
			for _, k := range keys {
				if bytes.Equal(k, key) {
					return refuse(RefusedJSON, "a key twice")
				}
			}
			keys = append(keys, key)
		default:
			if seen == nil {
				seen = map[string]bool{}
				for _, k := range keys {
					seen[string(k)] = true
				}
			}
			if seen[string(key)] {
				return refuse(RefusedJSON, "a key twice")
			}
			seen[string(key)] = true
		}
		w.space()
		w.i++ // the colon
		w.space()
		into := (*string)(nil)
		if e != nil {
			switch string(key) {
			case "_path":
				into = &e.path
			case "_system_name":
				into = &e.system
			case "_write_ts":
				into = &e.written
			}
		}
		if err := w.value(into); err != nil {
			return err
		}
	}
}

// value goes through one; into is where one of the envelope goes, a string or a number.
func (w *walk) value(into *string) error {
	if w.values++; w.values > maxValues {
		return refuse(RefusedJSON, "more than %d values", maxValues)
	}
	switch w.b[w.i] {
	case '"':
		s, err := w.text()
		if into != nil {
			*into = string(s)
		}
		return err
	case '{':
		return w.object(nil)
	case '[':
		w.i++
		for {
			w.space()
			switch w.b[w.i] {
			case ']':
				w.i++
				return nil
			case ',':
				w.i++
				w.space()
			}
			if err := w.value(nil); err != nil {
				return err
			}
		}
	}
	from := w.i
	for w.i < len(w.b) && w.b[w.i] > ' ' && w.b[w.i] != ',' && w.b[w.i] != '}' && w.b[w.i] != ']' {
		w.i++
	}
	if c := w.b[from]; into != nil && c != 't' && c != 'f' && c != 'n' {
		*into = string(w.b[from:w.i])
	}
	return nil
}

// text goes through a string and returns what it says. It refuses control characters: C0, DEL and C1, but for those that JSON has a
// short escape for, which are in texts of several lines.
func (w *walk) text() ([]byte, error) {
	w.i++
	from, plain := w.i, true
	for ; w.b[w.i] != '"'; w.i++ {
		switch c := w.b[w.i]; {
		case c == '\\':
			plain = false
			w.i++
		case c == 0x7f:
			return nil, refuse(RefusedCharacter, "U+007F in a string")
		case c == 0xc2 && w.b[w.i+1] < 0xa0:
			return nil, refuse(RefusedCharacter, "U+%04X in a string", w.b[w.i+1])
		}
	}
	raw := w.b[from:w.i]
	w.i++
	if plain {
		return raw, nil
	}
	var s string
	if err := json.Unmarshal(w.b[from-1:w.i], &s); err != nil {
		return nil, refuse(RefusedJSON, "not JSON")
	}
	for _, r := range s {
		if r < ' ' && !(r >= '\b' && r <= '\r' && r != '\v') || r >= 0x7f && r < 0xa0 {
			return nil, refuse(RefusedCharacter, "U+%04X in a string", r)
		}
	}
	return []byte(s), nil
}

// Status is the body of a row of LogStatus, beside the envelope: a sensor sends it every StatusEvery, directly and not
// through its files, so that it says what is now. Its place is (start of the program in Unix nanoseconds, number of the message).
type Status struct {
	Time    float64 `json:"ts"` // Unix time in seconds, by the clock of the sensor when it was sent
	Version string  `json:"version"`
	Started float64 `json:"started"` // Unix time when the program started
	Behind  float64 `json:"behind"`  // seconds since the oldest row that was not sent was written; 0: all are sent
	// Files of logs that were deleted before they were sent, and what they held on disk, since the beginning.
	LostFiles uint64  `json:"lost_files"`
	LostBytes uint64  `json:"lost_bytes"`
	Packet    float64 `json:"packet,omitzero"` // time of the last packet
	// Settings is the version of the settings in force that came from a hub; 0: none did.
	Settings uint64 `json:"settings,omitzero"`
}

// StatusEvery is how often a sensor sends Status. Three that are missing make it silent.
const StatusEvery = 20 * time.Second
