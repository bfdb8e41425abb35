package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/ask"
	"github.com/raytap/raytap/fleet/ship"
	"github.com/raytap/raytap/sinks/metrics"
	"github.com/raytap/raytap/sinks/terminal"
)

// publishAtEnd is how long a sensor that ends goes on to send what its logs have by then. What is left is sent when it is
// started again.
const publishAtEnd = 3 * time.Second

// publisher sends the rows of a sensor's logs to where the configuration says. Its methods take a nil one for none, and may
// be called from any goroutine.
type publisher struct {
	say    func(string)
	packet atomic.Int64 // time of the last packet
	on     atomic.Bool  // something is published

	hub    *hubSettings // nil: none is answered
	cfg    *config.Config
	answer *ask.Answerer

	mu    sync.Mutex
	ships []shipping
	last  []metrics.Published  // of the engine's goroutine
	lost  map[string]ship.Lost // that was told, by kind
}

type shipping struct {
	kind string
	*ship.Shipper
	conn *nats.Conn // nil: it is another kind
}

// openPublisher looks at what there is to be sent, before the sensor deletes what is too old. It sends nothing before start.
// Hubs that it publishes to are answered with what hub has in force.
func openPublisher(cfg *config.Config, hub *hubSettings, say func(string)) (*publisher, error) {
	p := &publisher{hub: hub, cfg: cfg, say: func(text string) { say(terminal.Clean(text)) }, lost: map[string]ship.Lost{}}
	if !cfg.Publish.On() {
		return p, nil
	}
	if err := cfg.Modes().Folder(cfg.Out); err != nil {
		return nil, fmt.Errorf("raytap: cannot make the log directory: %w", err)
	}
	err := p.connect()
	for _, s := range p.ships {
		p.lost[s.kind] = s.Status().Lost
	}
	return p, err
}

// connect makes the shippers that the configuration in force names.
func (p *publisher) connect() error {
	transports, err := openTransports(p.cfg)
	if err == nil {
		p.ships, err = p.open(p.cfg, transports, true)
	}
	return err
}

// openTransports connects to what a configuration names. Servers need not answer.
func openTransports(cfg *config.Config) (all []ship.Transport, err error) {
	defer func() {
		if err != nil {
			for _, t := range all {
				t.Close()
			}
			all = nil
		}
	}()
	p := &cfg.Publish
	if p.Creds != "" {
		c, err := fleet.ReadCredentials(credentialsOf(p.Creds, cfg.Peer()))
		if err != nil {
			return all, fmt.Errorf("raytap: publish.creds: %w", err)
		}
		if len(p.NATS) > 0 {
			c.URLs = p.NATS
		}
		t, err := ship.NewNATS(c, cfg.Peer())
		if err != nil {
			return all, fmt.Errorf("raytap: publish: %w", err)
		}
		all = append(all, t)
	}
	if len(p.Kafka) > 0 {
		t, err := ship.NewKafka(p.KafkaOptions(), cfg.Peer())
		if err != nil {
			return all, fmt.Errorf("raytap: publish: %w", err)
		}
		all = append(all, t)
	}
	return all, nil
}

// credentialsOf is the file of a sensor's credentials. In a folder that has those of several, as a Secret of Kubernetes that
// all nodes share, it is the one of its name.
func credentialsOf(path, sensor string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return filepath.Join(path, fleet.Token(sensor)+".creds")
	}
	return path
}

// open makes a shipper for each transport, which it closes if that fails.
func (p *publisher) open(cfg *config.Config, transports []ship.Transport, follow bool) (all []shipping, err error) {
	p.on.Store(len(transports) > 0)
	for i, t := range transports {
		s, err := ship.Open(ship.Options{
			Dir: cfg.Out, Sensor: cfg.Peer(), Logs: cfg.Publish.Logs, Transport: t, Modes: cfg.Modes(), Follow: follow, Say: p.say, Beat: p.beat,
		})
		if err != nil {
			for _, t := range transports[i:] {
				t.Close()
			}
			for _, s := range all {
				s.Close(0)
			}
			return nil, fmt.Errorf("raytap: publish: %w", err)
		}
		sh := shipping{kind: t.Kind(), Shipper: s}
		if c, ok := t.(interface{ Conn() *nats.Conn }); ok {
			sh.conn = c.Conn()
		}
		all = append(all, sh)
	}
	return all, nil
}

// holds is how much memory it takes: see paceMemory.
func (p *publisher) holds() uint64 {
	if p.on.Load() {
		return publishHolds
	}
	return 0
}

func (p *publisher) beat(st *fleet.Status) {
	st.Version = buildVersion()
	if p.hub != nil {
		st.Settings = p.hub.running()
	}
	if at := p.packet.Load(); at != 0 {
		st.Packet = float64(at/1000) / 1e6
	}
}

// start begins to send.
func (p *publisher) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin()
}

// begin begins to send, and to answer.
func (p *publisher) begin() {
	for _, s := range p.ships {
		s.Start()
		if s.conn == nil || p.hub == nil {
			continue
		}
		var err error
		if p.answer, err = answerHub(s.conn, p.cfg, p.hub); err != nil {
			p.say(strings.TrimPrefix(err.Error(), "ask: "))
		}
	}
}

// stopAnswers ends them.
func (p *publisher) stopAnswers() {
	if p.answer != nil {
		p.answer.Close()
		p.answer = nil
	}
}

// reload publishes as a configuration says that was read again; same says that it says the same of publishing. With an error
// it goes on as before.
func (p *publisher) reload(cfg *config.Config, same bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if same {
		return nil
	}
	if !cfg.Publish.On() && len(p.ships) == 0 {
		return nil
	}
	transports, err := openTransports(cfg)
	if err != nil {
		return err
	}
	p.stopAnswers()
	for _, s := range p.ships { // what is on its way is sent again, under the same ids
		s.Close(0)
	}
	if p.ships, err = p.open(cfg, transports, true); err == nil {
		p.cfg = cfg
	} else { // each log has one publisher, so the old ones are closed by now
		err = errors.Join(err, p.connect())
	}
	p.begin()
	return err
}

// told is called by the engine each second. event takes a row of weird.log for files that were deleted before they were sent.
func (p *publisher) told(now time.Time, s *engine.Stats, event func(any)) {
	if p == nil {
		return
	}
	p.packet.Store(int64(s.Last))
	if !p.mu.TryLock() { // it is being replaced, and packets do not wait for that
		return
	}
	defer p.mu.Unlock()
	for _, sh := range p.ships {
		lost, was := sh.Status().Lost, p.lost[sh.kind]
		if lost.Files > was.Files {
			event(&capture.Weird{
				At: capture.At{Time: capture.Time(now.UnixNano())}, Name: "publish_lost_file",
				Addl: fmt.Sprintf("%s: %d files with %d bytes were deleted before they were published", sh.kind, lost.Files-was.Files, lost.Bytes-was.Bytes),
			})
		}
		p.lost[sh.kind] = lost
	}
}

// figures are those for Prometheus.
func (p *publisher) figures() (all []metrics.Published) {
	if p == nil {
		return nil
	}
	if !p.mu.TryLock() {
		return p.last
	}
	defer p.mu.Unlock()
	defer func() { p.last = all }()
	for _, s := range p.ships {
		st := s.Status()
		all = append(all, metrics.Published{
			To: s.kind, Sent: st.Sent, Refused: st.Refused, Repeated: st.Repeated, LostFiles: st.Lost.Files, Waiting: st.Waiting, Behind: st.Behind, Up: st.Error == "",
		})
	}
	return all
}

// close sends what the logs have by now, for as long as that, and ends.
func (p *publisher) close(wait time.Duration) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopAnswers()
	var errs []error
	for _, s := range p.ships {
		if err := s.Close(wait); err != nil {
			errs = append(errs, err)
		}
	}
	p.ships = nil
	return errors.Join(errs...)
}
