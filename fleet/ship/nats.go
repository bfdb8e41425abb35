package ship

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/raytap/raytap/fleet"
)

// NATS is the kind of a transport to a hub, or to a NATS JetStream of one's own.
const NATS = "nats"

// How long an acknowledgement may take: a cluster that elects a leader takes seconds.
const ackTimeout = 20 * time.Second

// natsTransport publishes rows to JetStream. A row has arrived when the stream has acknowledged it.
type natsTransport struct {
	sensor string
	nc     *nats.Conn
	js     jetstream.JetStream
	beats  uint64
	began  time.Time
	back   chan struct{} // a word when there is a connection again

	mu  sync.Mutex
	why error // what the server said last, until it acknowledges something
}

// NewNATS makes a transport that connects with credentials, for ever: without a server it waits for one.
func NewNATS(c fleet.Credentials, sensor string) (Transport, error) {
	t := &natsTransport{sensor: sensor, began: time.Now(), back: make(chan struct{}, 1)}
	if c.Sensor != "" && c.Sensor != sensor {
		return nil, fmt.Errorf("ship: the credentials are of sensor %s, and this one is %s: set sensor.name, or enroll it", c.Sensor, sensor)
	}
	c.Sensor = sensor
	told := func(_ *nats.Conn, err error) {
		if err != nil {
			t.mu.Lock()
			t.why = err
			t.mu.Unlock()
		}
	}
	here := func(*nats.Conn) {
		select {
		case t.back <- struct{}{}:
		default:
		}
	}
	var err error
	t.nc, err = fleet.Connect(c,
		nats.ReconnectBufSize(-1), // what cannot be sent stays in the files
		nats.ErrorHandler(func(nc *nats.Conn, _ *nats.Subscription, err error) { told(nc, err) }),
		nats.DisconnectErrHandler(told),
		nats.ReconnectErrHandler(told),
		nats.ConnectHandler(here),
		nats.ReconnectHandler(here),
	)
	if err != nil {
		return nil, err
	}
	if t.js, err = jetstream.New(t.nc, jetstream.WithPublishAsyncMaxPending(2*maxRows), jetstream.WithPublishAsyncTimeout(ackTimeout)); err != nil {
		t.nc.Close()
		return nil, fmt.Errorf("ship: %w", err)
	}
	return t, nil
}

func (t *natsTransport) Kind() string { return NATS }

// Back has a word when the connection is there again.
func (t *natsTransport) Back() <-chan struct{} { return t.back }

// Conn is the connection, for answers to requests.
func (t *natsTransport) Conn() *nats.Conn { return t.nc }

func (t *natsTransport) connected() error {
	if t.nc.IsConnected() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.why != nil {
		return fmt.Errorf("ship: not connected: %w", t.why)
	}
	if err := t.nc.LastError(); err != nil {
		return fmt.Errorf("ship: not connected: %w", err)
	}
	return errors.New("ship: not connected")
}

func (t *natsTransport) Send(ctx context.Context, rows []Row, _ func(string) error) (res Result, err error) {
	if err := t.connected(); err != nil {
		return res, err
	}
	most := int(t.nc.MaxPayload()) - 1024 // headers count
	reconnects := t.nc.Stats().Reconnects
	acks := make([]jetstream.PubAckFuture, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		if len(r.Data) > most {
			res.Refused++
			res.Why = fmt.Sprintf("a row of %s.log has %d bytes, and the server takes %d", r.Log, len(r.Data), most)
			continue
		}
		m := nats.NewMsg(fleet.Subject(t.sensor, r.Log))
		m.Data = r.Data
		m.Header.Set(nats.MsgIdHdr, fleet.MessageID(t.sensor, r.Log, r.Place))
		if t.nc.Stats().Reconnects != reconnects { // those before it may be lost, and this one would come first
			return Result{}, errors.New("ship: the connection was interrupted")
		}
		// Tries of its own would come out of order, too.
		ack, err := t.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
		if err != nil {
			return res, fmt.Errorf("ship: %w", err)
		}
		acks = append(acks, ack)
	}
	var failed error
	for _, ack := range acks {
		select {
		case <-ctx.Done():
			return res, ctx.Err()
		case a := <-ack.Ok():
			if a.Duplicate {
				res.Repeated++
			}
		case err := <-ack.Err():
			if why, ok := refusedForGood(err); ok {
				res.Refused++
				res.Why = why
			} else if failed == nil {
				failed = err
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if failed != nil {
		if t.why != nil {
			failed = fmt.Errorf("%w (%w)", failed, t.why)
		}
		return Result{}, fmt.Errorf("ship: %w", failed)
	}
	t.why = nil
	return res, nil
}

// Codes of JetStream's errors about one message, which it has whenever that comes (errors.json of nats-server).
const (
	codeMaxBytes    = 10054 // message size exceeds maximum allowed
	codeHeaderBytes = 10097 // header size exceeds maximum allowed of 64k
)

func refusedForGood(err error) (string, bool) {
	var e *jetstream.APIError
	if errors.As(err, &e) && (e.ErrorCode == codeMaxBytes || e.ErrorCode == codeHeaderBytes) {
		return e.Description, true
	}
	return "", errors.Is(err, nats.ErrMaxPayload)
}

// Arrived is not asked of JetStream: it drops what comes again.
func (t *natsTransport) Arrived(context.Context, string) (bool, error) { return false, nil }

func (t *natsTransport) Beat(st fleet.Status) {
	if !t.nc.IsConnected() {
		return
	}
	body, err := json.Marshal(st)
	if err != nil {
		return
	}
	t.beats++
	row := fleet.Row{Sensor: t.sensor, Log: fleet.LogStatus, Place: fleet.Place{Generation: uint64(t.began.UnixNano()), Offset: t.beats}, Written: time.Now(), Body: body}
	if m, err := row.Encode(); err == nil {
		t.nc.PublishMsg(m)
	}
}

func (t *natsTransport) Close() { t.nc.Close() }
