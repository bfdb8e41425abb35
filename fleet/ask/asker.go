package ask

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/search"
	"github.com/raytap/raytap/record"
	"github.com/raytap/raytap/sinks/logs"
)

const (
	// A sensor that has not said anything for so long does not answer. The first part comes before any work.
	answersWithin = 3 * time.Second
	// Between two parts: a search without results says nothing until its end.
	partWithin = 10 * time.Second
	// Sensors that are asked at once.
	atOnce = 256
)

// Asker asks sensors over the connection of a hub. The zero value but for Conn is ready.
type Asker struct {
	Conn *nats.Conn
	// Within is how long a sensor may take to say its first word; 0: three seconds.
	Within time.Duration
}

// Outcome is how the answer of a sensor ended.
type Outcome struct {
	Sensor string
	// Err is why there is no answer, or not all of one. ErrSilent: the sensor said nothing.
	Err    error
	Result search.Result // as the sensor says
	First  time.Duration // when the first row came; 0: none did
	Bad    uint64        // rows that were no rows, and are left out
}

// ErrSilent is that a sensor does not answer: it is away, or too old to.
var ErrSilent = errors.New("it does not answer")

// Search asks sensors for rows, all at once. Row takes each as it comes, from one goroutine at a time, with _path and
// _system_name in it; its error ends everything. The outcomes are in the order of the names.
func (a *Asker) Search(ctx context.Context, sensors []string, q *search.Query, lim search.Limits, row func(row []byte) error) ([]Outcome, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	request, err := json.Marshal(searchRequest{*q, lim})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	all := make([]Outcome, len(sensors))
	var mu sync.Mutex // of row and left
	left := lim.Rows
	if left == 0 {
		left = 1 << 62
	}
	full := errors.New("full")
	each(sensors, func(i int, name string) {
		o := &all[i]
		o.Sensor = name
		system, _ := json.Marshal(name)
		var out []byte
		d, err := a.ask(ctx, name, fleet.AskSearch, request, lim.Time, func(part []byte) error {
			for line := range bytes.Lines(part) {
				line = bytes.TrimSuffix(line, []byte{'\n'})
				parser := logs.Parser{Log: "unknown"}
				r, err := parser.Line(line)
				if err != nil || r == nil || line[0] != '{' {
					o.Bad++
					continue
				}
				out = r.AppendJSON(out[:0], `"_path":`+quoted(r.Log)+`,"_system_name":`+string(system))
				mu.Lock()
				if left == 0 {
					mu.Unlock()
					return full
				}
				left--
				if o.First == 0 {
					o.First = time.Since(began)
				}
				err = row(out)
				mu.Unlock()
				if err != nil {
					cancel(err)
					return err
				}
			}
			return nil
		})
		if d.Search != nil {
			o.Result = *d.Search
		}
		if errors.Is(err, full) {
			o.Result.Cut, err = fmt.Sprintf("cut at %d rows of all sensors", lim.Rows), nil
		}
		o.Err = err
	})
	if cause := context.Cause(ctx); cause != nil {
		return all, cause
	}
	return all, nil
}

func quoted(log string) string {
	if fleet.CheckLog(log) != nil {
		log = "unknown"
	}
	return `"` + log + `"`
}

// each calls fn for each name, many at once.
func each(names []string, fn func(i int, name string)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			fn(i, name)
		})
	}
	wg.Wait()
}

// ask sends a request, and calls part for each part of the answer in order. It returns what the last part says. Limit is how
// long the sensor may work; 0: as long as it goes on sending.
func (a *Asker) ask(ctx context.Context, sensor, verb string, request []byte, limit time.Duration, part func([]byte) error) (d done, err error) {
	if err := fleet.CheckSensor(sensor); err != nil {
		return d, err
	}
	inbox := a.Conn.NewInbox()
	sub, err := a.Conn.SubscribeSync(inbox)
	if err != nil {
		return d, fmt.Errorf("ask: %w", err)
	}
	defer func() {
		for { // a sensor that waits for a word need not
			m, err := sub.NextMsg(time.Millisecond)
			if err != nil {
				break
			}
			m.Respond([]byte(ackStop))
		}
		sub.Unsubscribe()
	}()
	// One part is on its way, the end, and what says that nobody is there.
	sub.SetPendingLimits(64, 64<<20)
	if err := a.Conn.PublishRequest(fleet.AskSubject(sensor, verb), inbox, request); err != nil {
		return d, fmt.Errorf("ask: %w", err)
	}
	within := a.Within
	if within == 0 {
		within = answersWithin
	}
	wait := within
	for n := 0; ; {
		next, cancel := context.WithTimeout(ctx, wait)
		m, err := sub.NextMsgWithContext(next)
		cancel()
		switch {
		case ctx.Err() != nil:
			return d, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded) && n == 0, errors.Is(err, nats.ErrNoResponders):
			return d, ErrSilent
		case errors.Is(err, context.DeadlineExceeded):
			return d, fmt.Errorf("it went silent after %d parts of its answer", n)
		case err != nil:
			return d, fmt.Errorf("ask: %w", err)
		}
		if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
			return d, ErrSilent
		}
		if _, end := m.Header[fleet.HeaderDone]; end {
			if err := decode(m.Data, &d); err != nil {
				return d, fmt.Errorf("its answer cannot be read: %w", err)
			}
			if d.Error != "" {
				return d, errors.New(d.Error)
			}
			return d, nil
		}
		if m.Header.Get(headerPart) != strconv.Itoa(n) {
			m.Respond([]byte(ackStop))
			return d, fmt.Errorf("part %d of its answer is missing", n)
		}
		n++
		if len(m.Data) > 0 {
			if err := part(m.Data); err != nil {
				m.Respond([]byte(ackStop))
				return d, err
			}
		}
		if err := m.Respond(nil); err != nil {
			return d, fmt.Errorf("ask: %w", err)
		}
		wait = max(limit, time.Minute) + partWithin
	}
}

// Packets fetches packets from a sensor into w, as pcapng. What was written is what the sensor sent, whole, if the error is nil.
func (a *Asker) Packets(ctx context.Context, sensor string, asked record.Asked, most uint64, w io.Writer) (PacketsResult, error) {
	request, err := json.Marshal(packetsRequest{asked, most})
	if err != nil {
		return PacketsResult{}, err
	}
	sum := sha256.New()
	count := &counter{w: io.MultiWriter(w, sum)}
	d, err := a.ask(ctx, sensor, fleet.AskPackets, request, 0, func(part []byte) error {
		if most > 0 && count.n+uint64(len(part)) > most+1<<20 {
			return errors.New("it sends more than was asked for")
		}
		_, err := count.Write(part)
		return err
	})
	switch {
	case err != nil:
		return PacketsResult{}, err
	case d.Packets == nil:
		return PacketsResult{}, errors.New("its answer has no end")
	case d.Packets.Bytes != count.n || d.Packets.SHA256 != hex.EncodeToString(sum.Sum(nil)):
		return *d.Packets, errors.New("what came is not what it sent: the checksum is another")
	}
	return *d.Packets, nil
}

// Told is what a sensor says of its settings.
type Told struct {
	Sensor  string
	Err     error
	Version string   // of raytap
	Accept  []string // sections
	Applied
}

// Settings sends settings to sensors, or with nil asks what they have.
func (a *Asker) Settings(ctx context.Context, sensors []string, b *Bundle) ([]Told, error) {
	var request []byte
	if b != nil {
		var err error
		if request, err = b.Encode(); err != nil {
			return nil, err
		}
	}
	all := make([]Told, len(sensors))
	each(sensors, func(i int, name string) {
		t := &all[i]
		t.Sensor = name
		d, err := a.ask(ctx, name, fleet.AskSettings, request, 0, func([]byte) error { return errors.New("it answers with what it was not asked for") })
		t.Err, t.Version, t.Accept = err, d.Version, d.Accept
		if d.Applied != nil {
			t.Applied = *d.Applied
		}
	})
	return all, ctx.Err()
}
