package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/store"
)

const (
	maxBatch      = 2000
	maxBatchBytes = 8 << 20
	gather        = 50 * time.Millisecond // how long a batch waits for more
	maxSensors    = 20000                 // more names than that are counted under one
	checkEvery    = 5.0                   // seconds of the stream's time between looks at the sensors
	keepEvery     = 30 * time.Second
	// A pause of the whole stream longer than this was not the sensors'.
	maxPause = 45.0
)

// message is one of the stream, read and checked.
type message struct {
	seq     uint64
	at      time.Time
	subject string
	row     fleet.Row
	err     error
	stray   bool // an acknowledgement of JetStream that a sensor had sent to another's subject
}

// batch is consecutive messages of the stream.
type batch struct {
	all   []message
	bytes int
	err   error // the stream is gone; nothing follows
}

// machine is the hub's state as a function of the stream: applying the same messages in the same order gives the same state and the
// same changes in every hub. What is committed and what is in memory is the same between batches.
type machine struct {
	o       Options
	db      *store.Store
	sensors map[string]*Sensor
	places  map[[2]string]*places
	last    [2]string // key and value of the map's last lookup: rows come in runs
	lastIs  *places

	applied   uint64
	now       float64 // of the stream
	looked    float64 // when the sensors were last looked at
	kept      time.Time
	keptSeq   uint64          // up to which places are in the store
	resume    uint64          // from which the joiner must be fed again
	joining   *joining        // nil: rows are stored as they come
	skipped   map[uint64]bool // messages that the joiner was not given, as far back as it is fed again
	gaps      uint64          // messages that the stream deleted before this hub had read them
	onChange  func()
	committed func()
}

// counts are what others may know of the machine: a copy.
type counts struct {
	applied uint64
	kept    uint64 // no message up to it is needed any more, but for joining
	resume  uint64 // nor for joining
	now     float64
	gaps    uint64
	sensors map[string]Sensor
}

// recall reads the state from the store.
func recall(o Options, db *store.Store) (*machine, error) {
	m := &machine{o: o, db: db, sensors: map[string]*Sensor{}, places: map[[2]string]*places{}}
	var err error
	if m.applied, err = db.Applied(); err != nil {
		return nil, err
	}
	bodies, err := db.Sensors()
	if err != nil {
		return nil, err
	}
	for name, b := range bodies {
		s := &Sensor{}
		if err := json.Unmarshal(b, s); err != nil {
			return nil, fmt.Errorf("hub: sensor %s: %w", name, err)
		}
		m.sensors[name] = s
		m.now = max(m.now, s.LastSeen)
	}
	var failed error
	if err := db.Places(func(sensor, log string, b []byte) {
		p := &places{}
		if err := p.UnmarshalBinary(b); err != nil {
			failed = err
		}
		m.places[[2]string{sensor, log}] = p
	}); err != nil {
		return nil, err
	}
	kept, err := db.Meta("places")
	if err != nil {
		return nil, err
	}
	if kept != "" {
		if _, err := fmt.Sscan(kept, &m.keptSeq); err != nil {
			return nil, fmt.Errorf("hub: %w", err)
		}
	}
	if s, err := db.Meta("looked"); err != nil {
		return nil, err
	} else if s != "" {
		fmt.Sscan(s, &m.looked, &m.now)
	}
	m.kept = time.Now()
	return m, failed
}

func (m *machine) place(sensor, log string) *places {
	k := [2]string{sensor, log}
	if m.lastIs != nil && m.last == k {
		return m.lastIs
	}
	p := m.places[k]
	if p == nil {
		p = &places{}
		m.places[k] = p
	}
	m.last, m.lastIs = k, p
	return p
}

func (m *machine) sensor(name string, now float64) *Sensor {
	s := m.sensors[name]
	if s == nil {
		if len(m.sensors) >= maxSensors && name != "(others)" {
			return m.sensor("(others)", now)
		}
		s = newSensor(name, now)
		s.dirty = true
		m.sensors[name] = s
	}
	return s
}

// remember applies a message that the store has already to what the store has not: places after the last that it keeps, and the
// joiner's memory.
func (m *machine) remember(x message) {
	if x.err != nil {
		return
	}
	if x.seq > m.keptSeq {
		m.place(x.row.Sensor, x.row.Log).add(x.row.Place)
	}
	if m.joining != nil {
		if !m.skipped[x.seq] {
			_ = m.joining.add(&x) // it was counted then
		}
		m.joining.advance(x.at)
		m.joining.names.hear(m.joining.take()) // the store has it
	}
}

// apply changes state and store by a batch. After an error the machine is of no more use: recall another.
func (m *machine) apply(ctx context.Context, b batch) error {
	tx, err := m.db.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	changed := false
	for i := range b.all {
		x := &b.all[i]
		if x.seq <= m.applied {
			continue
		}
		if m.applied != 0 && x.seq != m.applied+1 {
			m.gaps += x.seq - m.applied - 1
		}
		c, err := m.one(tx, x)
		if err != nil {
			return err
		}
		changed = changed || c
		m.applied = x.seq
	}
	for _, s := range m.sensors {
		if s.dirty {
			if err := tx.Sensor(s.Name, s); err != nil {
				return err
			}
		}
	}
	if err := tx.Applied(m.applied); err != nil {
		return err
	}
	if err := tx.SetMeta("looked", fmt.Sprintf("%f %f", m.looked, m.now)); err != nil {
		return err
	}
	keep := time.Since(m.kept) >= m.o.keepEvery
	if keep {
		if err := m.keep(tx); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	for _, s := range m.sensors {
		s.dirty = false
	}
	if keep {
		for _, p := range m.places {
			p.dirty = false
		}
		m.kept, m.keptSeq = time.Now(), m.applied
	}
	if m.committed != nil {
		m.committed()
	}
	if changed && m.onChange != nil {
		m.onChange()
	}
	return nil
}

// keep writes the places. Between two times the stream has them.
func (m *machine) keep(tx *store.Tx) error {
	for k, p := range m.places {
		if !p.dirty {
			continue
		}
		b, err := p.MarshalBinary()
		if err != nil {
			return err
		}
		if err := tx.Places(k[0], k[1], b); err != nil {
			return err
		}
	}
	if err := tx.SetMeta("places", fmt.Sprint(m.applied)); err != nil {
		return err
	}
	if m.joining != nil {
		m.resume = m.joining.j.Resume()
		if err := tx.SetMeta("resume", fmt.Sprint(m.resume)); err != nil {
			return err
		}
	}
	return tx.Mark(m.applied, time.UnixMicro(int64(m.now*1e6)))
}

func (m *machine) counts() *counts {
	c := &counts{applied: m.applied, now: m.now, gaps: m.gaps, kept: m.keptSeq, resume: m.resume, sensors: make(map[string]Sensor, len(m.sensors))}
	for name, s := range m.sensors {
		x := *s
		x.Refused, x.Logs, x.Open, x.Skews = maps.Clone(s.Refused), nil, maps.Clone(s.Open), nil
		c.sensors[name] = x
	}
	return c
}

// one applies a message. It reports whether the history has more than before.
func (m *machine) one(tx *store.Tx, x *message) (changed bool, err error) {
	now := float64(x.at.UnixMicro()) / 1e6
	if m.now != 0 && now-m.now > maxPause {
		// Not even hubs could publish, or none ran: nobody is silent for that.
		for _, s := range m.sensors {
			s.Excused += now - m.now
			s.dirty = true
		}
		m.looked = now
	}
	m.now = max(m.now, now)
	var refused *fleet.Refused
	if errors.As(x.err, &refused) {
		name := x.row.Sensor
		if name == "" || x.stray {
			name = "(unknown)"
		}
		m.sensor(name, now).refuse(x.row.Log, refused, now)
	} else {
		var new bool
		changed, new, err = m.row(tx, x, now)
		if m.joining != nil && x.row.Log == logObservations && !new {
			if err := tx.Skip(x.seq); err != nil {
				return changed, err
			}
		}
		if errors.As(err, &refused) {
			m.sensor(x.row.Sensor, now).refuse(x.row.Log, refused, now)
		} else if err != nil {
			return changed, err
		}
	}
	if m.joining != nil {
		m.joining.advance(x.at)
		all := m.joining.take()
		if err := m.joining.names.rename(tx, all); err != nil {
			return changed, err
		}
		for _, said := range all {
			c, err := m.storeJoined(tx, x, said)
			if errors.As(err, &refused) { // a bug, or what a hostile sensor made of it
				m.sensor(fleet.HubSensor, now).refuse(said.log, refused, now)
			} else if err != nil {
				return changed, err
			}
			changed = changed || c
		}
	}
	if m.looked == 0 {
		m.looked = now
	}
	if now-m.looked >= checkEvery {
		m.looked = now
		for _, n := range m.o.health().check(m.sensors, now) {
			body, err := json.Marshal(n)
			if err != nil {
				return changed, err
			}
			f, err := readFinding(body)
			if err != nil {
				return changed, fmt.Errorf("hub: a finding of its own: %w", err)
			}
			// What is stored names the sensor that it is about.
			c, err := tx.Finding(store.Source{Seq: x.seq, At: x.at, Sensor: n.Sensor, By: fleet.HubSensor}, f)
			if err != nil {
				return changed, err
			}
			changed = changed || c
		}
	}
	return changed, nil
}

// row applies the row of a message. It is not new if it came before, or is refused.
func (m *machine) row(tx *store.Tx, x *message, now float64) (changed, new bool, err error) {
	r := x.row
	s := m.sensor(r.Sensor, now)
	s.hear(now)
	if !m.place(r.Sensor, r.Log).add(r.Place) {
		s.Repeated++
		return false, false, nil
	}
	from := store.Source{Seq: x.seq, At: x.at, Sensor: r.Sensor}
	part := m.joining != nil && s.Logs[logObservations] > 0
	switch r.Log {
	case fleet.LogStatus:
		err = s.status(r.Body, now)
	case "stats":
		err = s.stats(r.Body)
	case "notice":
		var f store.Finding
		if f, err = readFinding(r.Body); err == nil && part {
			err = tx.Local(from, f)
		} else if err == nil {
			changed, err = tx.Finding(from, f)
		}
	case "incidents":
		var in store.Incident
		if in, err = readIncident(r.Body); err == nil && !part {
			changed, err = tx.Incident(from, in)
		}
	case "assets":
		var a store.Asset
		if a, changed, err = readAsset(r.Body); err == nil {
			changed = changed && !part // of the whole there is another row
			err = tx.Asset(from, a, changed)
		}
	}
	if err != nil {
		return changed, false, err
	}
	if m.joining != nil {
		if err := m.joining.add(x); err != nil {
			return changed, false, notRow(err.Error())
		}
	}
	s.row(r, now)
	return changed, true, nil
}

// follow reads the stream after a sequence, in order and without gaps, checks the messages and hands them over in batches. It ends
// with ctx, or after a batch with an error.
func follow(ctx context.Context, js jetstream.JetStream, after uint64, out chan<- batch) {
	send := func(b batch) bool {
		select {
		case out <- b:
			return true
		case <-ctx.Done():
			return false
		}
	}
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1, MaxResetAttempts: -1}
	cons, err := js.OrderedConsumer(ctx, fleet.Stream, cfg)
	if err != nil {
		send(batch{err: err})
		return
	}
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(2*maxBatch, 16<<20))
	if err != nil {
		send(batch{err: err})
		return
	}
	defer it.Stop()
	in := make(chan jetstream.Msg, 64)
	failed := make(chan error, 1)
	go func() {
		defer close(in)
		for {
			msg, err := it.Next()
			if err != nil {
				if errors.Is(err, jetstream.ErrNoHeartbeat) { // it asks again by itself
					continue
				}
				failed <- err
				return
			}
			select {
			case in <- msg:
			case <-ctx.Done():
				return
			}
		}
	}()
	wait := time.NewTimer(0)
	for {
		var b batch
		var msg jetstream.Msg
		var ok bool
		select {
		case msg, ok = <-in:
		case <-ctx.Done():
			return
		}
		wait.Reset(gather)
		for ok {
			x, err := read(msg)
			if err != nil {
				send(batch{err: err})
				return
			}
			b.all, b.bytes = append(b.all, x), b.bytes+len(x.row.Body)+200
			if len(b.all) >= maxBatch || b.bytes >= maxBatchBytes {
				break
			}
			select {
			case msg, ok = <-in:
				continue
			case <-wait.C:
			}
			break
		}
		if len(b.all) > 0 && !send(b) {
			return
		}
		if !ok {
			err := errors.New("the stream ended")
			select {
			case err = <-failed:
			default:
			}
			send(batch{err: err})
			return
		}
	}
}

func read(msg jetstream.Msg) (message, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return message{}, fmt.Errorf("hub: %w", err)
	}
	x := message{seq: meta.Sequence.Stream, at: meta.Timestamp.UTC(), subject: msg.Subject()}
	x.row, x.err = fleet.Decode(&nats.Msg{Subject: msg.Subject(), Header: nats.Header(msg.Headers()), Data: msg.Data()})
	x.stray = x.err != nil && len(msg.Headers()) == 0 && bytes.HasPrefix(msg.Data(), []byte(`{"stream":"`+fleet.Stream+`"`))
	return x, nil
}
