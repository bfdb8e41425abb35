// Package hub takes the rows of many sensors out of NATS JetStream, keeps what they found in a store, joins it, watches the sensors
// themselves, and writes one log of all. It embeds the server of NATS, or uses one of its user's.
//
// A hub is a state machine over the stream: it applies every message in order, and what it stores depends on nothing else, not on
// its own clock either. Several hubs at one stream have the same findings and incidents under the same names; one of them, which has
// the lease, speaks. The store says how far the stream was applied, in the transaction that stored what came of it.
package hub

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/join"
	"github.com/raytap/raytap/fleet/store"
	"github.com/raytap/raytap/sinks/disk"
)

// Options of a hub. Data is all that must be set.
type Options struct {
	Data    string // folder: keys, store, stream
	Version string

	// The embedded server, unless NATS is set.
	Listen         string   // HOST:PORT; default 127.0.0.1:4222. Off loopback it has TLS
	URLs           []string // that sensors are told to connect to; default: made of Listen
	CertFile       string   // the server's certificate and key in PEM; default: of the hub's own CA
	KeyFile        string
	CAFile         string // what sensors check that certificate against; "": what their system trusts
	MaxConnections int    // default 4096

	// A NATS of the user's: its URLs, and the file of credentials of a user with all rights in an account with JetStream.
	NATS     []string
	Creds    string
	NATSCA   string // certificates that its servers are checked against; "": the system's
	Replicas int    // of the stream: default 1, with three or more servers 3

	StreamSize int64         // bytes; default 4 GiB. When it is full sensors wait
	StreamKeep time.Duration // for which rows stay in the stream after they were applied, for hubs that come later; default 1h

	Keep     time.Duration // of the store; default 90 days
	MaxStore int64         // bytes; default 10 GiB

	Log     string        // folder of the log; "": none
	LogKeep time.Duration // default 30 days

	// Tell, if set, is told what hubs say themselves: findings that were joined, with what becomes of incidents, and those about
	// sensors; with TellAll also what a sensor found alone. By one goroutine, while this hub has the lease. When Told returns, what was
	// told before is safe; nil: it is at once.
	Tell    func(Telling)
	Told    func()
	TellAll bool

	Metrics      string // HOST:PORT; "": none
	MetricsToken string // file

	Silent time.Duration // default 3m
	Skew   time.Duration // default 10s
	Other  time.Duration // for how long a sensor may have another version than most; default 10m

	Joining *join.Config // nil: notices, incidents and assets are stored as they come. Its functions are the hub's

	keepEvery time.Duration // between times that what can be read again is kept; default 30 s

	// Say is told what a person should know, in a sentence; from any goroutine. Sentences may have what others sent.
	Say func(string)
	// Extra is called with the connection when the hub works, for parts that answer or ask beside it; what it returns ends them.
	Extra func(ctx context.Context, nc *nats.Conn) (end func(), err error)
}

func (o *Options) defaults() error {
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:4222")
	o.MaxConnections = cmp.Or(o.MaxConnections, 4096)
	o.StreamSize = cmp.Or(o.StreamSize, 4<<30)
	o.StreamKeep = cmp.Or(o.StreamKeep, time.Hour)
	o.Keep = cmp.Or(o.Keep, 90*24*time.Hour)
	o.MaxStore = cmp.Or(o.MaxStore, 10<<30)
	o.LogKeep = cmp.Or(o.LogKeep, 30*24*time.Hour)
	o.Silent = cmp.Or(o.Silent, 3*time.Minute)
	o.Skew = cmp.Or(o.Skew, 10*time.Second)
	o.Other = cmp.Or(o.Other, 10*time.Minute)
	o.keepEvery = cmp.Or(o.keepEvery, keepEvery)
	if o.Replicas == 0 {
		o.Replicas = 1
		if len(o.NATS) >= 3 {
			o.Replicas = 3
		}
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	switch {
	case o.Data == "":
		return errors.New("hub: no folder: set --data")
	case len(o.NATS) > 0 && o.Creds == "":
		return errors.New("hub: --nats takes --creds, the file of a user with all rights in an account with JetStream")
	case (o.CertFile == "") != (o.KeyFile == ""):
		return errors.New("hub: a certificate and its key are two files: set both")
	case o.Silent < 3*fleet.StatusEvery:
		return fmt.Errorf("hub: %s is too short for silence: sensors send every %s", o.Silent, fleet.StatusEvery)
	}
	return nil
}

func (o *Options) health() health { return health{silent: o.Silent, skew: o.Skew, version: o.Other} }

// Hub is one that runs.
type Hub struct {
	o     Options
	id    string
	lock  *os.File
	keys  *keys
	node  *node // nil: a NATS of the user's
	nc    *nats.Conn
	js    jetstream.JetStream
	state jetstream.KeyValue
	lease *lease
	db    *store.Store
	logs  *logFiles
	news  chan struct{} // the history has more

	applied atomic.Uint64
	counts  atomic.Pointer[counts]
	grumble limiter  // of what speak says
	failing lastText // why rows are not applied; "": they are

	cancel context.CancelFunc
	done   sync.WaitGroup
	ends   []func()
}

// Start starts a hub; it works when Start returns.
func Start(o Options) (h *Hub, err error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	h = &Hub{o: o, news: make(chan struct{}, 1), cancel: cancel}
	defer func() {
		if err != nil {
			h.Close()
		}
	}()
	if err := private().Folder(o.Data); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	if h.lock, err = private().Open(filepath.Join(o.Data, lockFile), os.O_RDWR|os.O_CREATE); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	if err := disk.Lock(h.lock); err != nil {
		return nil, fmt.Errorf("hub: another hub works in %s", o.Data)
	}
	s, err := readSettings(o.Data)
	if err != nil {
		return nil, err
	}
	s.ID = cmp.Or(s.ID, nuid.Next())
	h.id = s.ID
	external := len(o.NATS) > 0
	if h.keys, err = openKeys(o.Data, external); err != nil {
		return nil, err
	}
	if h.db, err = store.Open(filepath.Join(o.Data, storeFile)); err != nil {
		return nil, err
	}
	tc, err := h.connect(&s)
	if err != nil {
		return nil, err
	}
	if err := writeSettings(o.Data, s); err != nil {
		return nil, err
	}
	if h.js, err = jetstream.New(h.nc); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	if err := h.prepare(ctx); err != nil {
		return nil, err
	}
	if o.Log != "" {
		if h.logs, err = openLogs(o.Log, o.LogKeep); err != nil {
			return nil, err
		}
	}
	if _, err := h.nc.Subscribe(controlSubject(h.id), h.control); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	if o.Metrics != "" {
		end, err := h.serveMetrics(o.Metrics, o.MetricsToken, tc)
		if err != nil {
			return nil, err
		}
		h.ends = append(h.ends, end)
	}
	for _, f := range []func(context.Context){h.lease.run, h.ingest, h.speak, h.tick, h.trimStream, h.trimStore, h.watchServer} {
		h.done.Go(func() { f(ctx) })
	}
	if o.Extra != nil {
		end, err := o.Extra(ctx, h.nc)
		if err != nil {
			return nil, err
		}
		h.ends = append(h.ends, end)
	}
	return h, nil
}

// connect starts the embedded server, or connects to the user's. It returns what a listener of the hub has for TLS.
func (h *Hub) connect(s *Settings) (*tls.Config, error) {
	o := h.o
	host, _, err := splitListen(o.Listen)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, u := range o.URLs {
		if c, err := hostOf(u); err != nil {
			return nil, err
		} else {
			names = append(names, c)
		}
	}
	authority, err := openAuthority(h.keys, hostNames(host, names))
	if err != nil {
		return nil, err
	}
	tc := authority.config(o.CertFile, o.KeyFile)
	if err := h.trust(); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	if s.External = len(o.NATS) > 0; s.External {
		err = h.connectExternal(s)
	} else {
		err = h.startServer(s, host, tc)
	}
	if err != nil {
		return nil, err
	}
	return tc, nil
}

// trust stores what commands and sensors check a certificate of the user's against; the hub's own needs none of that.
func (h *Hub) trust() error {
	const name = "trust.pem"
	if h.o.CertFile == "" {
		if err := os.Remove(h.keys.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	var ca []byte
	if h.o.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(h.o.CAFile); err != nil {
			return err
		}
	}
	return h.keys.put(name, ca)
}

// natsOptions are the options of the hub's connection, which says when NATS goes away and comes back.
func (h *Hub) natsOptions() []nats.Option {
	say := h.o.Say
	return []nats.Option{
		nats.Name("raytap hub " + h.id),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				say("NATS is away: " + err.Error())
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { say("NATS is back") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { say("NATS: " + err.Error()) }),
		nats.ReconnectBufSize(-1),
	}
}

// connectExternal connects to the user's NATS, and waits until it answers.
func (h *Hub) connectExternal(s *Settings) error {
	o := h.o
	c, err := fleet.ReadCredentials(o.Creds)
	if err != nil {
		return err
	}
	c.URLs = o.NATS
	if o.NATSCA != "" {
		if c.CA, err = os.ReadFile(o.NATSCA); err != nil {
			return fmt.Errorf("hub: %w", err)
		}
	}
	b, err := c.Bytes() // commands connect with it
	if err != nil {
		return err
	}
	if err := h.keys.put(hubCreds, b); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	s.Local, s.URLs = o.NATS, o.NATS
	if len(o.URLs) > 0 {
		s.URLs = o.URLs
	}
	if h.nc, err = fleet.Connect(c, h.natsOptions()...); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); !h.nc.IsConnected(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("hub: no connection to %s: %w", strings.Join(o.NATS, ", "), cmp.Or(h.nc.LastError(), errors.New("no answer")))
		}
	}
	return nil
}

// startServer starts the embedded server, and connects to it within the process. Without TLS it listens on loopback alone.
func (h *Hub) startServer(s *Settings, host string, tc *tls.Config) error {
	o := h.o
	if s.TLS = !fleet.Loopback(host) || o.CertFile != ""; !s.TLS {
		tc = nil
	}
	so, err := serverOptions(o, h.keys, tc)
	if err != nil {
		return err
	}
	if h.node, err = startNode(so, o.Say); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(h.node.addr())
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	scheme := "nats://"
	if s.TLS {
		scheme = "tls://"
	}
	s.Local = []string{scheme + net.JoinHostPort("127.0.0.1", port)}
	s.URLs = o.URLs
	if len(s.URLs) == 0 {
		name := host
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			if name, err = os.Hostname(); err != nil {
				return fmt.Errorf("hub: %w", err)
			}
		}
		s.URLs = []string{scheme + net.JoinHostPort(name, port)}
	}
	c, err := h.keys.hubCredentials()
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	c.URLs = []string{"nats://127.0.0.1:" + port} // within the process
	h.nc, err = fleet.Connect(c, append(h.natsOptions(), nats.InProcessServer(h.node))...)
	return err
}

// prepare makes the stream and the buckets, or brings them to what is set.
func (h *Hub) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	want := jetstream.StreamConfig{
		Name: fleet.Stream, Description: "rows of raytap sensors", Subjects: []string{fleet.Rows}, Storage: jetstream.FileStorage,
		Replicas: h.o.Replicas, MaxBytes: h.o.StreamSize, Discard: jetstream.DiscardNew, Duplicates: fleet.Duplicates,
		MaxMsgSize: maxPayload, Retention: jetstream.LimitsPolicy,
	}
	for { // servers of a cluster that starts have no leader yet
		_, err := h.js.CreateOrUpdateStream(ctx, want)
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("hub: stream %s: %w", fleet.Stream, err)
		case <-time.After(500 * time.Millisecond):
		}
	}
	kv, err := h.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: leaseBucket, TTL: leaseLife, Replicas: h.o.Replicas, MaxBytes: 1 << 20})
	if err != nil {
		return fmt.Errorf("hub: %s: %w", leaseBucket, err)
	}
	h.lease = &lease{id: h.id, kv: kv, said: h.o.Say, took: make(chan struct{}, 1)}
	h.state, err = h.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: stateBucket, Replicas: h.o.Replicas, MaxBytes: 16 << 20})
	if err != nil {
		return fmt.Errorf("hub: %s: %w", stateBucket, err)
	}
	return nil
}

// URLs returns where sensors connect.
func (h *Hub) URLs() ([]string, error) {
	s, err := readSettings(h.o.Data)
	return s.URLs, err
}

// Speaks reports whether this hub has the lease.
func (h *Hub) Speaks() bool { return h.lease.has() }

// Applied returns the message of the stream up to which it was applied.
func (h *Hub) Applied() uint64 { return h.applied.Load() }

// Store returns the store, to be read.
func (h *Hub) Store() *store.Store { return h.db }

// Close ends the hub. What was applied is stored.
func (h *Hub) Close() error {
	h.cancel()
	for i := len(h.ends) - 1; i >= 0; i-- {
		h.ends[i]()
	}
	h.done.Wait()
	var err error
	if h.nc != nil {
		h.nc.Close()
	}
	if h.node != nil {
		h.node.stop()
	}
	if h.logs != nil {
		err = errors.Join(err, h.logs.close())
	}
	if h.db != nil {
		err = errors.Join(err, h.db.Close())
	}
	if h.lock != nil {
		err = errors.Join(err, h.lock.Close())
	}
	return err
}

func (h *Hub) healthy() error {
	if s := h.failing.get(); s != "" {
		return errors.New(s)
	}
	if !h.nc.IsConnected() {
		return errors.New("no connection to NATS")
	}
	return nil
}

// pause waits, or until ctx ends, and reports whether it did not.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// ingest applies the stream for as long as the hub runs. After any error it begins again at what is stored.
func (h *Hub) ingest(ctx context.Context) {
	wait := 100 * time.Millisecond
	for ctx.Err() == nil {
		from := h.applied.Load()
		err := h.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if h.applied.Load() > from {
			wait = 100 * time.Millisecond
		}
		if s := err.Error(); s != h.failing.get() {
			h.o.Say("rows are not applied: " + s)
			h.failing.set(s)
		}
		if !pause(ctx, wait) {
			return
		}
		wait = min(2*wait, 5*time.Second)
	}
}

func (h *Hub) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m, err := recall(h.o, h.db)
	if err != nil {
		return err
	}
	if err := h.sameStream(ctx, m); err != nil {
		return err
	}
	from := m.keptSeq
	if h.o.Joining != nil {
		if m.joining, err = newJoining(*h.o.Joining); err != nil {
			return err
		}
		if err := m.joining.names.load(h.db); err != nil {
			return err
		}
		v, err := h.db.Meta("resume")
		if err != nil {
			return err
		}
		if v != "" {
			if m.resume, err = strconv.ParseUint(v, 10, 64); err != nil {
				return fmt.Errorf("hub: %w", err)
			}
		}
		from = min(from, max(m.resume, 1)-1)
		if m.skipped, err = h.db.Skipped(from); err != nil {
			return err
		}
	}
	h.applied.Store(m.applied)
	h.counts.Store(m.counts())
	m.onChange = func() {
		select {
		case h.news <- struct{}{}:
		default:
		}
	}
	last := time.Now()
	m.committed = func() {
		h.applied.Store(m.applied)
		if now := time.Now(); now.Sub(last) > time.Second {
			h.counts.Store(m.counts())
			last = now
		}
		if h.failing.get() != "" {
			h.failing.set("")
			h.o.Say("rows are applied again")
		}
	}
	in := make(chan batch, 1)
	go follow(ctx, h.js, from, in)
	applied := m.applied
	watch := time.NewTicker(standsFor)
	defer watch.Stop()
	came := true
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watch.C:
			if !came && h.behind(ctx, m.applied) {
				return fmt.Errorf("hub: nothing came of the stream for %s", standsFor)
			}
			came = false
		case b := <-in:
			came = true
			if b.err != nil {
				return b.err
			}
			for len(b.all) > 0 && b.all[0].seq <= applied {
				m.remember(b.all[0])
				b.all = b.all[1:]
			}
			if len(b.all) == 0 {
				continue
			}
			if err := m.apply(ctx, b); err != nil {
				return err
			}
		}
	}
}

// standsFor is how long the stream may bring nothing although it has more, before the hub asks for it again.
const standsFor = 30 * time.Second

// behind reports whether the stream has messages after one.
func (h *Hub) behind(ctx context.Context, seq uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s, err := h.js.Stream(ctx, fleet.Stream)
	return err == nil && s.CachedInfo().State.LastSeq > seq
}

// sameStream compares the store with the stream. One that was deleted, or lost its end to a power failure, counts from lower
// sequences: what the store says of higher ones is of messages that are gone.
func (h *Hub) sameStream(ctx context.Context, m *machine) error {
	call, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s, err := h.js.Stream(call, fleet.Stream)
	if err != nil {
		return fmt.Errorf("hub: stream: %w", err)
	}
	info := s.CachedInfo()
	created := info.Created.UTC().Format(time.RFC3339Nano)
	was, err := h.db.Meta("stream")
	if err != nil {
		return err
	}
	to := m.applied
	if was != "" && was != created {
		h.o.Say("the stream is another one than before: it is read from its beginning")
		to = 0
	} else if info.State.LastSeq < m.applied {
		h.o.Say(fmt.Sprintf("the stream has lost its end: %d messages that were applied", m.applied-info.State.LastSeq))
		to = info.State.LastSeq
	}
	if was == created && to == m.applied {
		return nil
	}
	tx, err := h.db.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	m.applied, m.keptSeq = to, min(m.keptSeq, to)
	if err := errors.Join(tx.SetMeta("stream", created), tx.Applied(to), tx.SetMeta("places", fmt.Sprint(m.keptSeq)), tx.Rewind(to)); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if n, err := number(call, h.state, spokenKey); err != nil {
		return err
	} else if n > to {
		return putNumber(call, h.state, spokenKey, to)
	}
	return nil
}

// speak passes on what is new in the history while this hub has the lease.
func (h *Hub) speak(ctx context.Context) {
	var spoken uint64
	known := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.news:
		case <-h.lease.took:
			known = false
		case <-time.After(leaseLook):
		}
		if !h.lease.has() {
			known = false
			continue
		}
		if err := h.pass(ctx, &spoken, &known); err != nil && ctx.Err() == nil {
			known = false
			if ok, _ := h.grumble.allow(time.Now()); ok {
				h.o.Say("the log is not written: " + err.Error())
			}
			pause(ctx, time.Second)
		}
	}
}

func (h *Hub) pass(ctx context.Context, spoken *uint64, known *bool) error {
	if !*known {
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		n, err := number(call, h.state, spokenKey)
		if err != nil {
			return err
		}
		*spoken, *known = n, true
	}
	for h.lease.has() {
		all, err := h.db.Changes(*spoken, 1000)
		if err != nil || len(all) == 0 {
			return err
		}
		if all, err = h.tell(all); err != nil {
			return err
		}
		if h.logs != nil {
			if err := h.logs.write(all); err != nil {
				return err
			}
		}
		n := all[len(all)-1].Seq
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		err = putNumber(call, h.state, spokenKey, n)
		cancel()
		if err != nil {
			return err
		}
		*spoken = n
	}
	return nil
}

// tick publishes a message of the hub's own every few seconds, so that the time of the stream goes on when no sensor is heard.
func (h *Hub) tick(ctx context.Context) {
	generation, n := uint64(time.Now().UnixNano()), uint64(0)
	for pause(ctx, 10*time.Second) {
		if !h.lease.has() {
			continue
		}
		n++
		now := time.Now()
		body, err := json.Marshal(fleet.Status{Time: float64(now.UnixMicro()) / 1e6, Version: h.o.Version})
		if err != nil {
			continue
		}
		m, err := fleet.Row{Sensor: fleet.HubSensor, Log: fleet.LogStatus, Place: fleet.Place{Generation: generation, Offset: n}, Written: now, Body: body}.Encode()
		if err == nil {
			err = h.nc.PublishMsg(m)
		}
		if err != nil && ctx.Err() == nil {
			h.o.Say("tick: " + err.Error())
		}
		if err := putNumber(ctx, h.state, "hub."+h.id, h.kept()); err != nil && ctx.Err() == nil {
			h.o.Say(err.Error())
		}
	}
}

// kept is the message up to which this hub needs the stream no more.
func (h *Hub) kept() uint64 {
	c := h.counts.Load()
	if c == nil {
		return 0
	}
	return c.kept
}

// trimStream deletes messages that all hubs have applied: those older than StreamKeep, and when the stream is filling, all of them.
// What the joiner must be fed again stays until the stream is nearly full. Of what was not applied nothing is deleted: a stream that
// is full refuses rows, and sensors keep them.
func (h *Hub) trimStream(ctx context.Context) {
	for pause(ctx, 15*time.Second) {
		if !h.lease.has() {
			continue
		}
		if err := h.trimOnce(ctx); err != nil && ctx.Err() == nil {
			h.o.Say("the stream is not trimmed: " + err.Error())
		}
	}
}

func (h *Hub) trimOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s, err := h.js.Stream(ctx, fleet.Stream)
	if err != nil {
		return err
	}
	applied := h.kept()
	keys, err := h.state.ListKeys(ctx)
	if err != nil {
		return err
	}
	for key := range keys.Keys() {
		if !strings.HasPrefix(key, "hub.") || key == "hub."+h.id {
			continue
		}
		e, err := h.state.Get(ctx, key)
		if err != nil {
			return err
		}
		if time.Since(e.Created()) > 24*time.Hour { // it will be told that it missed something
			continue
		}
		n, err := number(ctx, h.state, key)
		if err != nil {
			return err
		}
		applied = min(applied, n)
	}
	st := s.CachedInfo().State
	old, err := h.db.MarkBefore(time.Now().Add(-h.o.StreamKeep))
	if err != nil {
		return err
	}
	to := min(old, applied)
	if int64(st.Bytes) > h.o.StreamSize/2 {
		to = applied
	}
	if to == 0 || to < st.FirstSeq {
		return nil
	}
	if h.o.Joining == nil || int64(st.Bytes) > h.o.StreamSize/4*3 {
		return s.Purge(ctx, jetstream.WithPurgeSequence(to+1))
	}
	// Log by log, but for what is fed to the joiner again.
	if c := h.counts.Load(); c != nil && c.resume > 1 {
		if err := s.Purge(ctx, jetstream.WithPurgeSequence(min(c.resume, to+1))); err != nil {
			return err
		}
	}
	fed := map[string]bool{logObservations: true, fleet.LogStatus: true}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(fleet.Rows))
	if err != nil {
		return err
	}
	logs := map[string]bool{}
	for subject := range info.State.Subjects {
		if _, log, err := fleet.ParseSubject(subject); err == nil && !fed[log] {
			logs[log] = true
		}
	}
	for log := range logs {
		if err := s.Purge(ctx, jetstream.WithPurgeSubject("raytap.*."+log), jetstream.WithPurgeSequence(to+1)); err != nil {
			return err
		}
	}
	return nil
}

// trimStore bounds the store by age and size.
func (h *Hub) trimStore(ctx context.Context) {
	for pause(ctx, time.Minute) {
		if _, err := h.db.Trim(ctx, time.Now(), h.o.Keep, h.o.MaxStore); err != nil && ctx.Err() == nil {
			h.o.Say("the store is not trimmed: " + err.Error())
		}
	}
}

// roomToStart is what must be free on the disk for the server to be started again after a full one.
const roomToStart = 64 << 20

// watchServer starts the embedded server again after its disk was full: a stream that could not be written stops, or all of JetStream.
func (h *Hub) watchServer(ctx context.Context) {
	if h.node == nil {
		return
	}
	told := false
	for pause(ctx, time.Second) {
		if h.node.works() {
			told = false
			continue
		}
		if !told {
			h.o.Say("nats-server cannot write, most likely because the disk is full: sensors keep their rows until there is room")
			told = true
		}
		if !hasRoom(h.o.Data, roomToStart) {
			continue
		}
		if !pause(ctx, time.Second) { // there may be room for a moment alone
			return
		}
		if err := h.node.restart(); err != nil {
			h.o.Say(err.Error())
			continue
		}
		h.o.Say("nats-server works again")
	}
}

// controlSubject is where a hub takes words of its commands.
func controlSubject(id string) string { return "raytaphub." + id + ".control" }

// control puts changed keys in force.
func (h *Hub) control(m *nats.Msg) {
	answer := "ok"
	if h.node == nil {
		answer = "the server is not the hub's"
	} else if token, err := os.ReadFile(h.keys.path(accountJWT)); err != nil {
		answer = err.Error()
	} else if err := h.node.reload(strings.TrimSpace(string(token))); err != nil {
		answer = err.Error()
	}
	_ = m.Respond([]byte(answer))
}

// hostOf returns the host of a URL that sensors are told.
func hostOf(u string) (string, error) {
	x, err := url.Parse(u)
	if err != nil || x.Hostname() == "" || x.Port() == "" || x.Scheme != "tls" && !(x.Scheme == "nats" && fleet.Loopback(x.Hostname())) {
		return "", fmt.Errorf("hub: %q is not a URL for sensors, such as tls://HOST:4222", u)
	}
	return x.Hostname(), nil
}
