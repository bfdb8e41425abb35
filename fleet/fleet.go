// Package fleet has the words that sensors and hubs of a fleet share: names in subjects, the envelope of a row, what identifies a
// row, the file of credentials, and the connection.
//
// A sensor publishes the rows of its logs to NATS JetStream: subject raytap.SENSOR.LOG, stream RAYTAP. It answers requests on
// ask.SENSOR.VERB. The package links the client of NATS alone; the server and the store belong to the hub.
package fleet

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// Stream is the JetStream stream with the rows of all sensors.
	Stream = "RAYTAP"
	// Rows are the subjects of the stream: raytap.SENSOR.LOG.
	Rows = "raytap.*.*"
	// LogStatus is the log of Status: what a sensor sends of itself while it has nothing else to send. It is no file.
	LogStatus = "status"
	// HubSensor is the name under which hubs publish rows of their own. No sensor can be enrolled under it.
	HubSensor = "raytap-hub"

	// Duplicates is how long JetStream remembers message ids, in memory. The hub remembers places for ever.
	Duplicates = 30 * time.Second
	// Window is how many rows of one log the hub remembers one by one: a row whose place is before these is taken for a repetition.
	// A sensor publishes at most half as many before all of them are acknowledged, and does not go on while one is not.
	Window = 2048

	maxName = 128 // bytes of a sensor's name
	maxLog  = 64  // bytes of a log's name
)

// Headers of messages.
const (
	// HeaderDone ends the answer to a request. Its value is empty, or says why the answer is not whole.
	HeaderDone = "Done"
)

// CheckSensor reports what is wrong with a sensor's name: it has 1 to 128 characters of ASCII that are printed and are no blanks, as in
// sensor.name of the configuration.
func CheckSensor(name string) error {
	switch {
	case name == "":
		return errors.New("fleet: a sensor without a name; set sensor.name")
	case len(name) > maxName:
		return fmt.Errorf("fleet: the name of a sensor has %d bytes; at most %d", len(name), maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("fleet: %q is not a name of a sensor: letters, digits and signs of ASCII", name)
	}
	return nil
}

// CheckLog reports what is wrong with the name of a log: 1 to 64 lower-case letters, digits and underscores.
func CheckLog(log string) error {
	if log == "" || len(log) > maxLog || strings.ContainsFunc(log, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_')
	}) {
		return fmt.Errorf("fleet: %.80q is not the name of a log", log)
	}
	return nil
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// Token returns the name of a sensor as one token of a subject: letters, digits, '-' and '_' as they are, every other byte as '=' and
// two hexadecimal digits. Different names have different tokens. Names whose tokens are also fit for names of files and of queues.
func Token(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if c := name[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// Untoken returns the name whose Token it is, and whether it is one.
func Untoken(token string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		c := token[i]
		if c == '=' {
			if i+2 >= len(token) {
				return "", false
			}
			n, err := strconv.ParseUint(token[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			c, i = byte(n), i+2
		} else if !plain(c) {
			return "", false
		}
		b.WriteByte(c)
	}
	name := b.String()
	return name, Token(name) == token && CheckSensor(name) == nil
}

// Subject returns the subject of the rows of a log: raytap.SENSOR.LOG.
func Subject(sensor, log string) string { return "raytap." + Token(sensor) + "." + log }

// ParseSubject splits the subject of a row.
func ParseSubject(subject string) (sensor, log string, err error) {
	p := strings.Split(subject, ".")
	if len(p) != 3 || p[0] != "raytap" {
		return "", "", fmt.Errorf("fleet: %.80q is not the subject of a row", subject)
	}
	sensor, ok := Untoken(p[1])
	if !ok {
		return "", "", fmt.Errorf("fleet: %.80q names no sensor", subject)
	}
	return sensor, p[2], CheckLog(p[2])
}

// Verbs of requests to a sensor.
const (
	AskSearch   = "search"
	AskPackets  = "packets"
	AskSettings = "settings"
	AskStatus   = "status"
)

// AskSubject returns the subject of requests to a sensor: ask.SENSOR.VERB; for the verb "*" all of them.
func AskSubject(sensor, verb string) string { return "ask." + Token(sensor) + "." + verb }

// InboxPrefix returns what the inboxes of a sensor begin with. Its permissions name it.
func InboxPrefix(sensor string) string { return "_INBOX." + Token(sensor) }

// Place is where a row is among those of its sensor and log. Places grow: by offset within a file, by generation from file to file.
type Place struct {
	Generation uint64 // of the file: it grows with rotation
	Offset     uint64 // of the row in it, in bytes before compression
}

// Less reports whether p is before q.
func (p Place) Less(q Place) bool {
	return p.Generation < q.Generation || p.Generation == q.Generation && p.Offset < q.Offset
}

func (p Place) String() string {
	return strconv.FormatUint(p.Generation, 10) + "-" + strconv.FormatUint(p.Offset, 10)
}

// ParsePlace reads what String wrote, and nothing else.
func ParsePlace(s string) (Place, error) {
	g, o, ok := strings.Cut(s, "-")
	gen, err1 := strconv.ParseUint(g, 10, 64)
	off, err2 := strconv.ParseUint(o, 10, 64)
	p := Place{gen, off}
	if !ok || err1 != nil || err2 != nil || p.String() != s {
		return Place{}, fmt.Errorf("fleet: %.80q is not a place", s)
	}
	return p, nil
}

// MessageID returns what Nats-Msg-Id of a row is: SENSOR/LOG/PLACE, the sensor as a token.
func MessageID(sensor, log string, p Place) string {
	return Token(sensor) + "/" + log + "/" + p.String()
}

// ParseMessageID splits it.
func ParseMessageID(id string) (sensor, log string, p Place, err error) {
	bad := func() (string, string, Place, error) {
		return "", "", Place{}, fmt.Errorf("fleet: %.80q is not the id of a row", id)
	}
	s := strings.Split(id, "/")
	if len(s) != 3 {
		return bad()
	}
	sensor, ok := Untoken(s[0])
	if !ok || CheckLog(s[1]) != nil {
		return bad()
	}
	if p, err = ParsePlace(s[2]); err != nil {
		return bad()
	}
	return sensor, s[1], p, nil
}
