// Package ask has what hubs ask sensors, and what sensors answer: rows of their logs, packets that they recorded, and
// settings that they take over.
//
// In, at a sensor: requests on ask.SENSOR.VERB, from the connection that it publishes on. Out: answers in parts, each of which
// the asker acknowledges before the next is sent, so that a slow asker slows its answer and nothing else, and an answer that
// nobody waits for ends. The last part has the header Done.
//
// In, at a hub: a query, and the names of sensors. Out: their rows as they come, and of each sensor how it ended: whole, cut,
// refused, or not at all.
//
// Requests are bounded in number, size and cost at the sensor, whatever the asker says; no path comes from a request. An
// answer is checked at the asker as what comes from the network is. It does not see who asks: permissions of NATS leave
// that to hubs.
package ask

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/raytap/raytap/fleet/search"
	"github.com/raytap/raytap/record"
)

const (
	// The largest request: settings with their indicators have most of it.
	maxRequest = 1<<20 - 4096
	// A part of an answer is sent when it has so many bytes, or after so long.
	partBytes = 256 << 10
	partEvery = 200 * time.Millisecond
	// The longest row that an answer has.
	maxPart = 1<<20 - 8192
	// An asker has so long to acknowledge a part.
	ackWithin = 15 * time.Second
	// What a part's acknowledgement says if no more is wanted.
	ackStop = "stop"

	// headerPart is the number of a part, from 0 on. The first is empty, and says that the sensor is there.
	headerPart = "Part"
)

// searchRequest asks for rows.
type searchRequest struct {
	Query  search.Query  `json:"query"`
	Limits search.Limits `json:"limits"`
}

// packetsRequest asks for packets.
type packetsRequest struct {
	Asked record.Asked `json:"asked"`
	Bytes uint64       `json:"bytes"` // at most; 0: what the sensor gives
}

// done is the body of the last part.
type done struct {
	Error   string         `json:"error,omitempty"` // why there is no answer
	Search  *search.Result `json:"search,omitempty"`
	Packets *PacketsResult `json:"packets,omitempty"`
	Applied *Applied       `json:"applied,omitempty"`
	Version string         `json:"version,omitempty"` // of raytap
	Accept  []string       `json:"accept,omitempty"`
}

// PacketsResult says what a sensor has sent.
type PacketsResult struct {
	Bytes   uint64   `json:"bytes"`
	SHA256  string   `json:"sha256"`
	Packets uint64   `json:"packets,omitempty"` // 0: of a file that was saved as evidence they are not counted
	Saved   bool     `json:"saved,omitempty"`   // it is the file that was saved as evidence
	Cut     string   `json:"cut,omitempty"`
	Told    []string `json:"told,omitempty"`
}

// within returns the smaller of what is asked for and what is allowed; 0 is no bound.
func within[T int | uint64 | time.Duration](asked, allowed T) T {
	if asked <= 0 || allowed > 0 && asked > allowed {
		return allowed
	}
	return asked
}

// decode reads a request or the end of an answer.
func decode(b []byte, to any) error {
	if len(b) > maxRequest {
		return errors.New("ask: it is too long")
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("ask: it cannot be read: %w", err)
	}
	return nil
}
