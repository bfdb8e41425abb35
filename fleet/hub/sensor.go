package hub

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/fleet"
)

// Rules of what a hub finds of the sensors themselves. Those that a sensor finds of itself (sensor/loss, sensor/standstill) come as
// findings like any other.
const (
	RuleSilent  = "sensor/silent"
	RuleVersion = "sensor/version"
	RuleClock   = "sensor/clock"
	RuleUnsent  = "sensor/unsent"
	RuleRefused = "sensor/refused"
)

// health bounds these rules.
type health struct {
	silent  time.Duration // without a message
	skew    time.Duration // of the clock, with each of the last skewSamples messages
	version time.Duration // for which a sensor has another version than most
}

const (
	skewSamples = 3
	refusedFor  = 3600 // seconds after the last one for which the finding stays open
)

// Sensor is what a hub knows of one.
type Sensor struct {
	Name        string            `json:"name"`
	FirstSeen   float64           `json:"first_seen"`           // first message, by the clock of the stream; Unix time
	LastSeen    float64           `json:"last_seen"`            // last one
	Excused     float64           `json:"excused,omitzero"`     // seconds since then in which nobody could publish
	LastRow     float64           `json:"last_row,omitzero"`    // last row of a log
	LastPacket  float64           `json:"last_packet,omitzero"` // by the clock of the sensor
	Version     string            `json:"version,omitempty"`
	Started     float64           `json:"started,omitzero"`
	Skew        float64           `json:"clock_skew"`            // of its clock against the stream's in seconds; positive: it is late
	Skews       []float64         `json:"clock_skews,omitempty"` // the last ones
	Frames      uint64            `json:"frames"`                // that it read, since it is known
	Dropped     uint64            `json:"dropped"`               // by the kernel
	Loss        float64           `json:"loss"`                  // percent of the last interval of stats.log
	Behind      float64           `json:"behind"`                // seconds
	LostFiles   uint64            `json:"lost_files"`
	LostBytes   uint64            `json:"lost_bytes"`
	Settings    uint64            `json:"settings,omitzero"`
	Rows        uint64            `json:"rows"` // that were taken
	Bytes       uint64            `json:"bytes"`
	Repeated    uint64            `json:"repeated"`          // that were there already
	Refused     map[string]uint64 `json:"refused,omitempty"` // by reason
	LastRefused float64           `json:"last_refused,omitzero"`
	LastWhy     string            `json:"last_refused_why,omitempty"` // which row the last one was, and why
	Logs        map[string]uint64 `json:"logs,omitempty"`             // rows by log
	Other       float64           `json:"other_version_since,omitzero"`
	Open        map[string]*open  `json:"open,omitempty"` // findings of the hub about it that are open, by rule

	dirty bool
}

// open is a finding of the hub that is not closed.
type open struct {
	ID       string  `json:"id"`
	Since    float64 `json:"since"`
	Revision int     `json:"revision"`
	Text     string  `json:"text"`
}

func (s *Sensor) refused() (n uint64) {
	for _, k := range s.Refused {
		n += k
	}
	return n
}

func newSensor(name string, now float64) *Sensor {
	return &Sensor{Name: name, FirstSeen: now, LastSeen: now}
}

// hear notes a message of the sensor.
func (s *Sensor) hear(now float64) { s.LastSeen, s.Excused, s.dirty = max(s.LastSeen, now), 0, true }

// silence is for how many seconds nothing was heard of it that could have been.
func (s *Sensor) silence(now float64) float64 { return now - s.LastSeen - s.Excused }

func (s *Sensor) refuse(log string, r *fleet.Refused, now float64) {
	s.LastRefused, s.LastWhy = now, log+": "+r.Text
	if s.Refused == nil {
		s.Refused = map[string]uint64{}
	}
	s.Refused[string(r.Reason)]++
	s.dirty = true
}

// maxLogs bounds the logs that are counted one by one.
const maxLogs = 100

func (s *Sensor) row(r fleet.Row, now float64) {
	s.Rows++
	s.Bytes += uint64(len(r.Body))
	if r.Log != fleet.LogStatus {
		s.LastRow = now
	}
	if s.Logs == nil {
		s.Logs = map[string]uint64{}
	}
	if _, known := s.Logs[r.Log]; known || len(s.Logs) < maxLogs {
		s.Logs[r.Log]++
	} else {
		s.Logs["(others)"]++
	}
	s.dirty = true
}

// status takes what a sensor says of itself.
func (s *Sensor) status(body []byte, now float64) error {
	var x fleet.Status
	if err := json.Unmarshal(body, &x); err != nil || !(x.Time >= 0 && x.Time < farTime) || len(x.Version) > 64 || x.Behind < 0 {
		return &fleet.Refused{Reason: fleet.RefusedRow, Text: "not a status"}
	}
	s.Version, s.Started, s.Behind, s.Settings = x.Version, x.Started, x.Behind, x.Settings
	s.LostFiles, s.LostBytes = x.LostFiles, x.LostBytes
	if x.Packet > 0 {
		s.LastPacket = x.Packet
	}
	s.Skew = now - x.Time
	if s.Skews = append(s.Skews, s.Skew); len(s.Skews) > skewSamples {
		s.Skews = slices.Delete(s.Skews, 0, 1)
	}
	return nil
}

// stats takes a row of stats.log.
func (s *Sensor) stats(body []byte) error {
	var x struct {
		TS      float64 `json:"ts"`
		Packets uint64  `json:"pkts_proc"`
		Dropped uint64  `json:"dropped_by_kernel"`
	}
	if err := json.Unmarshal(body, &x); err != nil || !plausible(x.TS) {
		return &fleet.Refused{Reason: fleet.RefusedRow, Text: "not a row of stats"}
	}
	s.Frames += x.Packets
	s.Dropped += x.Dropped
	s.Loss = 0
	if n := x.Packets + x.Dropped; n > 0 {
		s.Loss = 100 * float64(x.Dropped) / float64(n)
	}
	if x.Packets > 0 && x.TS > s.LastPacket {
		s.LastPacket = x.TS
	}
	return nil
}

// plausible reports whether a time is one of a row: after 2000 and before 2200, as of fleet.ParseTime.
func plausible(ts float64) bool { return ts > 946684800 && ts < farTime }

const farTime = 7258118400

// notice is a row of the hub's own, shaped as those of notice.log.
type notice struct {
	TS         float64    `json:"ts"`
	Note       string     `json:"note"`
	Msg        string     `json:"msg"`
	Sub        string     `json:"sub,omitempty"`
	Peer       string     `json:"peer_descr"`
	N          int        `json:"n"`
	Rule       string     `json:"rule"`
	Severity   string     `json:"severity"`
	Confidence int        `json:"confidence"`
	Outcome    string     `json:"outcome"`
	Evidence   []evidence `json:"evidence"`
	FindingID  string     `json:"finding_id"`
	Revision   int        `json:"revision"`
	Update     bool       `json:"update,omitempty"`
	State      string     `json:"state"`
	Sensor     string     `json:"sensor"` // which it is about
}

type evidence struct {
	Field string `json:"field"`
	Value string `json:"value"`
}

// check compares each sensor with what is expected at the time, and returns what began and what ended since the last time.
// It depends on nothing but the rows so far and now, which comes from the stream: all hubs find the same.
func (h health) check(all map[string]*Sensor, now float64) []notice {
	var said []notice
	majority := h.majority(all, now)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name == fleet.HubSensor {
			continue
		}
		s := all[name]
		silent := s.silence(now)
		said = s.judge(said, now, RuleSilent, "high", silent > h.silent.Seconds(),
			fmt.Sprintf("sensor %s was last heard of at %s", name, clock(s.LastSeen)),
			fmt.Sprintf("sensor %s is heard again", name), "nothing has come from it, not even that it works: it, its machine or the network between is down, or was stopped",
			evidence{"last_seen", clock(s.LastSeen)})
		if silent > h.silent.Seconds() {
			continue // the rest is of a sensor that lives
		}
		late := len(s.Skews) == skewSamples && !slices.ContainsFunc(s.Skews, func(x float64) bool { return max(x, -x) < h.skew.Seconds() })
		right := len(s.Skews) > 0 && max(s.Skew, -s.Skew) < h.skew.Seconds()
		if late || right {
			which := "late"
			if s.Skew < 0 {
				which = "early"
			}
			said = s.judge(said, now, RuleClock, "medium", late,
				fmt.Sprintf("the clock of sensor %s is %s %s", name, seconds(max(s.Skew, -s.Skew)), which),
				fmt.Sprintf("the clock of sensor %s is right again", name), "what it saw is not joined rightly with what others saw",
				evidence{"clock_skew", fmt.Sprintf("%.1f s", s.Skew)})
		}
		other := majority != "" && s.Version != "" && s.Version != majority
		switch {
		case !other && s.Other != 0:
			s.Other, s.dirty = 0, true
		case other && s.Other == 0:
			s.Other, s.dirty = now, true
		}
		said = s.judge(said, now, RuleVersion, "low", other && now-s.Other >= h.version.Seconds(),
			fmt.Sprintf("sensor %s runs version %s, most others %s", name, s.Version, majority),
			fmt.Sprintf("sensor %s runs the version of most others", name), "", evidence{"version", s.Version})
		said = s.judge(said, now, RuleUnsent, "high", s.LostFiles > 0,
			fmt.Sprintf("sensor %s deleted rows before they were sent: %d files of logs, %d bytes on disk", name, s.LostFiles, s.LostBytes),
			fmt.Sprintf("sensor %s has begun again and lost no rows since", name), "its folder is too small for as long as the hub was away",
			evidence{"lost_files", fmt.Sprint(s.LostFiles)})
		said = s.judge(said, now, RuleRefused, "medium", s.LastRefused > 0 && now-s.LastRefused < refusedFor,
			fmt.Sprintf("rows of sensor %s were refused", name), fmt.Sprintf("no row of sensor %s was refused for an hour", name), "they are not as a sensor writes them: it is of another version, or its credentials are in other hands",
			evidence{"reasons", strings.Join(slices.Sorted(maps.Keys(s.Refused)), ", ")})
	}
	return said
}

// majority returns the version that more than half of the sensors that live have; "" without one, or of fewer than three.
func (h health) majority(all map[string]*Sensor, now float64) string {
	count, total := map[string]int{}, 0
	for name, s := range all {
		if name != fleet.HubSensor && s.Version != "" && s.silence(now) <= h.silent.Seconds() {
			count[s.Version]++
			total++
		}
	}
	for v, n := range count {
		if total >= 3 && 2*n > total {
			return v
		}
	}
	return ""
}

// judge opens or closes the finding of a rule.
func (s *Sensor) judge(said []notice, now float64, rule, severity string, is bool, text, after, sub string, e evidence) []notice {
	o := s.Open[rule]
	if is == (o != nil) {
		return said
	}
	n := notice{
		TS: now, Note: noteName(rule), Peer: fleet.HubSensor, N: 1, Rule: rule, Severity: severity, Confidence: 100, Outcome: "succeeded",
		Evidence: []evidence{e}, State: "open", Sensor: s.Name,
	}
	s.dirty = true
	if is {
		o = &open{ID: findingID(rule, s.Name, now), Since: now, Revision: 1, Text: text}
		if s.Open == nil {
			s.Open = map[string]*open{}
		}
		s.Open[rule] = o
		n.Msg, n.Sub, n.FindingID, n.Revision = text, sub, o.ID, 1
		return append(said, n)
	}
	delete(s.Open, rule)
	n.Msg, n.Sub = after, "open for "+seconds(now-o.Since)
	n.FindingID, n.Revision, n.Update, n.State = o.ID, o.Revision+1, true, "closed"
	return append(said, n)
}

// noteName is the rule as Zeek's note: Raytap::Sensor_Silent.
func noteName(rule string) string {
	var b strings.Builder
	b.WriteString("Raytap::")
	for i, w := range strings.FieldsFunc(rule, func(r rune) bool { return r == '/' || r == '_' }) {
		if i > 0 {
			b.WriteByte('_')
		}
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

// findingID is one as sensors make: R and 17 digits to the base of 62.
func findingID(rule, sensor string, since float64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%.6f", rule, sensor, since))
	return "R" + fmt.Sprintf("%022s", new(big.Int).SetBytes(sum[:16]).Text(62))[:17]
}

func clock(ts float64) string {
	return time.UnixMicro(int64(ts * 1e6)).UTC().Format("2006-01-02 15:04:05Z")
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}
