package ask

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/fleet"
)

// Versions are the versions of a fleet's settings, in a bucket of JetStream's key-value store: all hubs have the same.
type Versions struct{ kv jetstream.KeyValue }

const (
	settingsBucket = "settings"
	settingsKey    = "fleet"
	// How many versions are kept, and for how many bytes there is room.
	keptVersions = 64
)

// ErrNoSettings is that no settings were set yet.
var ErrNoSettings = errors.New("ask: no settings were set yet")

// OpenVersions opens them, and makes the bucket if need be, on as many servers as the stream of rows.
func OpenVersions(ctx context.Context, nc *nats.Conn) (*Versions, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	kv, err := js.KeyValue(ctx, settingsBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		replicas := 1
		if s, err := js.Stream(ctx, fleet.Stream); err == nil {
			replicas = s.CachedInfo().Config.Replicas
		}
		kv, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: settingsBucket, Description: "settings of the fleet", History: keptVersions, Replicas: max(replicas, 1), MaxBytes: 80 << 20,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("ask: settings: %w", err)
	}
	return &Versions{kv}, nil
}

// Current returns the newest version.
func (v *Versions) Current(ctx context.Context) (*Bundle, error) {
	e, err := v.kv.Get(ctx, settingsKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, ErrNoSettings
	}
	if err != nil {
		return nil, fmt.Errorf("ask: settings: %w", err)
	}
	return DecodeBundle(e.Value())
}

// Set makes a new version of text and files, and returns it. The text is checked as a sensor does that accepts all.
func (v *Versions) Set(ctx context.Context, text string, intel []File, note string) (*Bundle, error) {
	c := config.Default()
	if _, err := c.Overlay([]byte(text), config.OverlaySections()); err != nil {
		return nil, err
	}
	for range 5 { // somebody else may set some at once
		b := &Bundle{Version: 1, At: time.Now().UTC().Truncate(time.Millisecond), Note: note, Text: text, Intel: intel}
		e, err := v.kv.Get(ctx, settingsKey)
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
		case err != nil:
			return nil, fmt.Errorf("ask: settings: %w", err)
		default:
			last, err := DecodeBundle(e.Value())
			if err != nil {
				return nil, err
			}
			b.Version = last.Version + 1
		}
		data, err := b.Encode()
		if err != nil {
			return nil, err
		}
		if e == nil {
			_, err = v.kv.Create(ctx, settingsKey, data)
		} else {
			_, err = v.kv.Update(ctx, settingsKey, data, e.Revision())
		}
		if err == nil {
			return b, nil
		}
		var api *jetstream.APIError
		if !errors.Is(err, jetstream.ErrKeyExists) && !(errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence) {
			return nil, fmt.Errorf("ask: settings: %w", err)
		}
	}
	return nil, errors.New("ask: settings are set by others all the time; try again")
}

// History returns the versions that are kept, the oldest first.
func (v *Versions) History(ctx context.Context) ([]*Bundle, error) {
	entries, err := v.kv.History(ctx, settingsKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, ErrNoSettings
	}
	if err != nil {
		return nil, fmt.Errorf("ask: settings: %w", err)
	}
	var all []*Bundle
	for _, e := range entries {
		b, err := DecodeBundle(e.Value())
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// Rollback makes a new version with what an earlier one had.
func (v *Versions) Rollback(ctx context.Context, version uint64) (*Bundle, error) {
	all, err := v.History(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(b *Bundle) bool { return b.Version == version })
	if i < 0 {
		return nil, fmt.Errorf("ask: version %d is not there; %d to %d are", version, all[0].Version, all[len(all)-1].Version)
	}
	return v.Set(ctx, all[i].Text, all[i].Intel, fmt.Sprintf("rollback to version %d", version))
}

// Pusher brings the newest version to sensors: a hub's part. Seen tells it what sensors run; it belongs to any goroutine.
type Pusher struct {
	Asker    *Asker
	Versions *Versions
	// Told is called with what a sensor says of a version that it was sent; from goroutines. nil: nobody.
	Told func(Told)

	mu    sync.Mutex
	asked map[string]attempt
	wake  chan seen
	once  sync.Once
}

// attempt is when a sensor was sent which version last, and whether it took it over.
type attempt struct {
	version uint64
	at      time.Time
	applied bool
}

// seen is a sensor, and the version that it runs.
type seen struct {
	sensor  string
	running uint64
}

const (
	// A sensor that refused a version, or does not accept any, is sent it again after so long: it may have changed.
	againAfter = 10 * time.Minute
	// Sensors that are told of at once; more are told of again soon.
	wakeups = 4096
)

func (p *Pusher) init() {
	p.once.Do(func() {
		p.asked = map[string]attempt{}
		p.wake = make(chan seen, wakeups)
	})
}

// Seen tells that a sensor is there, and runs a version: 0 for none.
func (p *Pusher) Seen(sensor string, running uint64) {
	p.init()
	select {
	case p.wake <- seen{sensor, running}:
	default: // it says so again soon
	}
}

// Run brings settings to sensors until ctx is done. Sensors are those that Seen tells of.
func (p *Pusher) Run(ctx context.Context) error {
	p.init()
	watch, err := p.Versions.kv.Watch(ctx, settingsKey)
	if err != nil {
		return fmt.Errorf("ask: settings: %w", err)
	}
	defer watch.Stop()
	var current *Bundle
	known := map[string]uint64{} // what sensors run
	send := func(sensors []string) {
		if current == nil {
			return
		}
		b := current
		var due []string
		p.mu.Lock()
		for _, s := range sensors {
			if known[s] == b.Version {
				continue
			}
			// One that took it over, and runs another one since, has lost it.
			if last := p.asked[s]; last.version != b.Version || last.applied || time.Since(last.at) > againAfter {
				p.asked[s] = attempt{version: b.Version, at: time.Now()}
				due = append(due, s)
			}
		}
		p.mu.Unlock()
		if len(due) == 0 {
			return
		}
		told, _ := p.Asker.Settings(ctx, due, b)
		for _, t := range told {
			p.mu.Lock()
			switch {
			case errors.Is(t.Err, ErrSilent) || ctx.Err() != nil: // with its next word
				delete(p.asked, t.Sensor)
			case t.Err == nil && t.Running == b.Version:
				known[t.Sensor] = b.Version
				p.asked[t.Sensor] = attempt{b.Version, time.Now(), true}
			}
			p.mu.Unlock()
			if p.Told != nil {
				p.Told(t)
			}
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-watch.Updates():
			if !ok {
				return errors.New("ask: settings: the watch ended")
			}
			if e == nil || e.Operation() != jetstream.KeyValuePut {
				continue
			}
			b, err := DecodeBundle(e.Value())
			if err != nil {
				continue // of a newer hub
			}
			current = b
			var all []string
			for s := range known {
				all = append(all, s)
			}
			slices.Sort(all)
			send(all)
		case s := <-p.wake:
			var all []string
			for more := true; more; {
				known[s.sensor] = s.running
				if !slices.Contains(all, s.sensor) {
					all = append(all, s.sensor)
				}
				if more = len(all) < atOnce; more {
					select {
					case s = <-p.wake:
					default:
						more = false
					}
				}
			}
			send(all)
		}
	}
}
