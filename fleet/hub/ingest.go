package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/store"
)

// A Joiner joins what several sensors saw. Rows come in the order of the stream, the same at every hub and after every restart; what
// it makes must depend on nothing else. It belongs to one goroutine.
type Joiner interface {
	// Add takes a row of one of its logs, at the time when the stream took it.
	Add(r fleet.Row, seq uint64, at time.Time) error
	// Advance tells the time, which is that of the stream.
	Advance(at time.Time)
	Close() error
}

// Joining says how a hub joins.
type Joining struct {
	Logs    []string      // whose rows it takes
	Horizon time.Duration // how far back it must be fed after a restart
	// Replaces are those of notice, incidents and assets whose rows of sensors are not stored, because it makes them itself.
	Replaces []string
	// New makes one. emit takes rows as of the JSON logs notice, incidents and assets.
	New func(emit func(log string, row []byte)) (Joiner, error)
}

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
	keptSeq   uint64 // up to which places are in the store
	joiner    Joiner
	joins     map[string]bool
	joined    []joinedRow
	skipped   map[uint64]bool // messages that the joiner was not given, as far back as it is fed again
	gaps      uint64          // messages that the stream deleted before this hub had read them
	onChange  func()
	committed func()
}

type joinedRow struct {
	log string
	row []byte
}

// counts are what others may know of the machine: a copy.
type counts struct {
	applied uint64
	kept    uint64
	now     float64
	gaps    uint64
	sensors map[string]Sensor
}

// recall reads the state from the store.
func recall(o Options, db *store.Store) (*machine, error) {
	m := &machine{o: o, db: db, sensors: map[string]*Sensor{}, places: map[[2]string]*places{}, joins: map[string]bool{}}
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
	if m.joiner != nil {
		if m.joins[x.row.Log] && !m.skipped[x.seq] {
			_ = m.joiner.Add(x.row, x.seq, x.at) // what it refuses is skipped
		}
		m.joiner.Advance(x.at)
		m.joined = m.joined[:0] // the store has it
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
	keep := time.Since(m.kept) >= keepEvery
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
	return tx.Mark(m.applied, time.UnixMicro(int64(m.now*1e6)))
}

func (m *machine) counts() *counts {
	c := &counts{applied: m.applied, now: m.now, gaps: m.gaps, kept: m.keptSeq, sensors: make(map[string]Sensor, len(m.sensors))}
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
			s.LastSeen += now - m.now
			s.dirty = true
		}
		m.looked = now
	}
	m.now = max(m.now, now)
	var refused *fleet.Refused
	if errors.As(x.err, &refused) {
		name := x.row.Sensor
		if name == "" {
			name = "(unknown)"
		}
		m.sensor(name, now).refuse(refused.Reason, now)
	} else {
		var new bool
		changed, new, err = m.row(tx, x, now)
		if m.joins[x.row.Log] && !new {
			if err := tx.Skip(x.seq); err != nil {
				return changed, err
			}
		}
		if errors.As(err, &refused) {
			m.sensor(x.row.Sensor, now).refuse(refused.Reason, now)
		} else if err != nil {
			return changed, err
		}
	}
	if m.joiner != nil {
		m.joiner.Advance(x.at)
	}
	if len(m.joined) > 0 {
		if err := m.storeJoined(tx, x); err != nil {
			return changed, err
		}
		changed = true
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
			f, _, err := readFinding(body)
			if err != nil {
				return changed, fmt.Errorf("hub: a finding of its own: %w", err)
			}
			// What is stored names the sensor that it is about.
			c, err := tx.Finding(store.Source{Seq: x.seq, At: x.at, Sensor: n.Sensor}, f)
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
	switch r.Log {
	case fleet.LogStatus:
		err = s.status(r.Body, now)
	case "stats":
		err = s.stats(r.Body)
	case "notice":
		var f store.Finding
		if f, _, err = readFinding(r.Body); err == nil && !m.replaced(r.Log) {
			changed, err = tx.Finding(from, f)
		}
	case "incidents":
		var in store.Incident
		if in, err = readIncident(r.Body); err == nil && !m.replaced(r.Log) {
			changed, err = tx.Incident(from, in)
		}
	case "assets":
		var a store.Asset
		if a, changed, err = readAsset(r.Body); err == nil && !m.replaced(r.Log) {
			err = tx.Asset(from, a, changed)
		}
	}
	if err != nil {
		return changed, false, err
	}
	if m.joins[r.Log] {
		if err := m.joiner.Add(r, x.seq, x.at); err != nil {
			return changed, false, notRow(err.Error())
		}
	}
	s.row(r, now)
	return changed, true, nil
}

func (m *machine) replaced(log string) bool {
	return m.joiner != nil && slices.Contains(m.o.Joining.Replaces, log)
}

// storeJoined stores what the joiner made.
func (m *machine) storeJoined(tx *store.Tx, x *message) error {
	all := m.joined
	m.joined = nil
	for _, j := range all {
		from := store.Source{Seq: x.seq, At: x.at, Sensor: fleet.HubSensor}
		var err error
		switch j.log {
		case "notice":
			var f store.Finding
			if f, _, err = readFinding(j.row); err == nil {
				_, err = tx.Finding(from, f)
			}
		case "incidents":
			var in store.Incident
			if in, err = readIncident(j.row); err == nil {
				_, err = tx.Incident(from, in)
			}
		case "assets":
			var a store.Asset
			var c bool
			if a, c, err = readAsset(j.row); err == nil {
				err = tx.Asset(from, a, c)
			}
		}
		var refused *fleet.Refused
		if errors.As(err, &refused) { // a bug, or what a hostile sensor made of it
			m.sensor(fleet.HubSensor, m.now).refuse(refused.Reason, m.now)
		} else if err != nil {
			return err
		}
	}
	return nil
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
	return x, nil
}
