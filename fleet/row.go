package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	if r.Written, err = ParseTime(e.written); err != nil {
		return r, refuse(RefusedEnvelope, "_write_ts is %.80q", e.written)
	}
	return r, nil
}

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
		return time.Time{}, fmt.Errorf("fleet: %.80q is not a time of now", s)
	}
	return t.UTC(), nil
}

type envelope struct{ path, system, written string }

// checkObject walks a body once.
func checkObject(b []byte) (envelope, error) {
	var e envelope
	if !utf8.Valid(b) {
		return e, refuse(RefusedJSON, "not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	w := walk{dec: dec}
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return e, refuse(RefusedJSON, "not an object")
	}
	if err := w.object(&e, 1); err != nil {
		var r *Refused
		if errors.As(err, &r) {
			return e, err
		}
		return e, refuse(RefusedJSON, "not JSON")
	}
	if _, err := dec.Token(); err != io.EOF {
		return e, refuse(RefusedJSON, "something stands after the object")
	}
	if e.path == "" || e.system == "" || e.written == "" {
		return e, refuse(RefusedEnvelope, "_path, _system_name or _write_ts is missing")
	}
	return e, nil
}

type walk struct {
	dec    *json.Decoder
	values int
}

func (w *walk) object(e *envelope, depth int) error {
	seen := map[string]bool{}
	for w.dec.More() {
		t, err := w.dec.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if seen[key] {
			return refuse(RefusedJSON, "a key twice")
		}
		seen[key] = true
		if err := checkString(key); err != nil {
			return err
		}
		into := (*string)(nil)
		if e != nil {
			switch key {
			case "_path":
				into = &e.path
			case "_system_name":
				into = &e.system
			case "_write_ts":
				into = &e.written
			}
		}
		if err := w.value(into, depth); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

// value reads one; into is where a value of the envelope goes.
func (w *walk) value(into *string, depth int) error {
	if w.values++; w.values > maxValues {
		return refuse(RefusedJSON, "more than %d values", maxValues)
	}
	t, err := w.dec.Token()
	if err != nil {
		return err
	}
	switch v := t.(type) {
	case string:
		if into != nil {
			*into = v
		}
		return checkString(v)
	case json.Number:
		if into != nil {
			*into = v.String()
		}
		return nil
	case json.Delim:
		if depth++; depth > maxDepth {
			return refuse(RefusedJSON, "deeper than %d", maxDepth)
		}
		if v == '{' {
			return w.object(nil, depth)
		}
		for w.dec.More() {
			if err := w.value(nil, depth); err != nil {
				return err
			}
		}
		_, err := w.dec.Token()
		return err
	}
	return nil
}

// checkString refuses control characters: C0, DEL and C1, but for those that JSON has a short escape for, which are in texts of
// several lines.
func checkString(s string) error {
	for _, r := range s {
		if r < ' ' && !(r >= '\b' && r <= '\r' && r != '\v') || r >= 0x7f && r < 0xa0 {
			return refuse(RefusedCharacter, "U+%04X in a string", r)
		}
	}
	return nil
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
