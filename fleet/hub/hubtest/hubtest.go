// Package hubtest publishes rows as sensors do, for tests of hubs.
package hubtest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/raytap/raytap/fleet"
)

// Sensor publishes in batches: the next goes when all of the last are acknowledged, and one of which a message is not is sent again
// whole, with the same ids.
type Sensor struct {
	Name       string
	Generation uint64
	Conn       *nats.Conn
	js         jetstream.JetStream
	next       map[string]uint64
	// Again is how many batches were sent again.
	Again int
}

// Connect connects with credentials.
func Connect(c fleet.Credentials) (*Sensor, error) {
	nc, err := fleet.Connect(c, nats.ReconnectBufSize(-1))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(fleet.Window), jetstream.WithPublishAsyncTimeout(20*time.Second))
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &Sensor{Name: c.Sensor, Generation: uint64(time.Now().UnixMilli()), Conn: nc, js: js, next: map[string]uint64{}}, nil
}

// Send publishes rows of a log, and returns when all are acknowledged.
func (s *Sensor) Send(ctx context.Context, log string, rows ...[]byte) error {
	var all []*nats.Msg
	for _, b := range rows {
		p := fleet.Place{Generation: s.Generation, Offset: s.next[log]}
		s.next[log] += uint64(len(b)) + 1
		m, err := fleet.Row{Sensor: s.Name, Log: log, Place: p, Written: time.Now(), Body: b}.Encode()
		if err != nil {
			return err
		}
		all = append(all, m)
	}
	return s.Publish(ctx, all)
}

// Publish publishes messages until all are acknowledged.
func (s *Sensor) Publish(ctx context.Context, all []*nats.Msg) error {
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		var futures []jetstream.PubAckFuture
		var failed error
		for _, m := range all {
			f, err := s.js.PublishMsgAsync(&nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}, jetstream.WithRetryAttempts(0), jetstream.WithStallWait(2*time.Second))
			if err != nil {
				failed = err
				break
			}
			futures = append(futures, f)
		}
		for _, f := range futures {
			select {
			case <-f.Ok():
			case err := <-f.Err():
				failed = err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if failed == nil {
			return nil
		}
		s.Again++
		time.Sleep(wait)
	}
	return ctx.Err()
}

// Notice is a row of notice.log.
func Notice(id, rule, severity, src, dst string, at time.Time) []byte {
	b, _ := json.Marshal(map[string]any{
		"ts": float64(at.UnixMicro()) / 1e6, "note": "Raytap::Test", "msg": src + " did something to " + dst, "src": src, "dst": dst, "n": 1, "rule": rule,
		"severity": severity, "confidence": 90, "outcome": "succeeded", "finding_id": id, "revision": 1,
	})
	return b
}

// Conn is a row about as long as those of conn.log.
func Conn(i int, at time.Time) []byte {
	return fmt.Appendf(nil, `{"ts":%f,"uid":"C%017d","id.orig_h":"10.1.%d.%d","id.orig_p":%d,"id.resp_h":"10.20.0.10","id.resp_p":8265,"proto":"tcp","service":"http","duration":0.2,"orig_bytes":512,"resp_bytes":2048,"conn_state":"SF","history":"ShADadFf","orig_pkts":8,"resp_pkts":9,"community_id":"1:%s="}`,
		float64(at.UnixMicro())/1e6, i, i>>8&255, i&255, 1024+i%60000, strings.Repeat("a", 27))
}

// Status is the body of a status.
func Status(version string, at time.Time) []byte {
	b, _ := json.Marshal(fleet.Status{Time: float64(at.UnixMicro()) / 1e6, Version: version, Started: float64(at.Unix())})
	return b
}
