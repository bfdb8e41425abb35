package main

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/metrics"
	"github.com/raytap/raytap/sinks/syslog"
	"github.com/raytap/raytap/sinks/webhook"
	"github.com/raytap/raytap/sinks/zeek"
)

// tickEvery is how often logs are written and figures brought.
const tickEvery = time.Second

// outputs are where what a sensor says goes: logs, and if asked for syslog, a webhook and metrics. It is one sink for
// the engine; what it is made of does not block it.
type outputs struct {
	logs    *zeek.Live
	syslog  *syslog.Sink
	webhook *webhook.Sink
	metrics *metrics.Metrics
	server  *metrics.Server
	reopen  atomic.Bool
	failing atomic.Pointer[string] // why logs cannot be written
	record  func() error           // why nothing can be recorded; nil: nothing is to be
	next    time.Time

	published *publisher // nil: nothing is
}

// health says what only the source knows. Its functions are called from other goroutines; each may be nil.
type health struct {
	up         func() bool                // a link is up
	interfaces func() []metrics.Interface // what each delivered and dropped
	feeds      func() []metrics.Feed      // what servers of indicators have given
	recorder   func() error               // why nothing can be recorded
}

// openOutputs makes what cfg asks for. say is told in a sentence what happens to it, from any goroutine.
func openOutputs(cfg *config.Config, h health, say func(string), now time.Time) (o *outputs, err error) {
	o = &outputs{record: h.recorder}
	defer func() {
		if err != nil {
			o.close(now)
		}
	}()
	rules := registry.Rules()
	r := &cfg.Rotate
	o.logs, err = zeek.NewLive(cfg.Out, zeek.LiveOptions{
		Options:  zeek.Options{Format: cfg.Format, Rules: rules, Logs: cfg.WrittenLogs(), Mask: cfg.MaskLogs, Modes: cfg.Modes(), Peer: cfg.Peer()},
		Interval: r.Interval, Size: r.Size, Compress: r.Compress, Names: r.Names, Keep: r.Keep, KeepFindings: r.KeepFindings, KeepSize: r.KeepSize, Fsync: r.Fsync, Reserve: r.Reserve, Index: r.Index, Say: say,
	}, now)
	if err != nil {
		return o, err
	}
	if cfg.Syslog.Address != "" {
		opt := cfg.Syslog.Options()
		opt.Version, opt.Host, opt.Rules, opt.Say = buildVersion(), cfg.Peer(), rules, say
		if o.syslog, err = syslog.New(opt); err != nil {
			return o, err
		}
	}
	if cfg.Webhook.URL != "" {
		opt := cfg.Webhook.Options()
		opt.Peer, opt.Spool, opt.Rules, opt.Say = cfg.Peer(), spoolOf(cfg), rules, say
		if o.webhook, err = webhook.New(opt); err != nil {
			return o, err
		}
	}
	if c := &cfg.Metrics; c.Listen != "" {
		o.metrics = metrics.New(metrics.Options{Version: buildVersion(), Rules: rules, Quiet: c.Quiet, TokenFile: c.TokenFile, Up: h.up, Ready: o.ready, Interfaces: h.interfaces, Feeds: h.feeds})
		if o.server, err = o.metrics.Listen(c.Listen); err != nil {
			return o, err
		}
		if host, _, _ := net.SplitHostPort(c.Listen); c.TokenFile == "" && !isLoopback(host) {
			say("metrics are at " + c.Listen + " for everybody who gets there; metrics.token_file asks for a token")
		}
	}
	return o, nil
}

// spoolOf is the folder for what waits for the webhook.
func spoolOf(cfg *config.Config) string {
	if cfg.Webhook.Spool != "" {
		return cfg.Webhook.Spool
	}
	return filepath.Join(cfg.Out, "webhook-spool")
}

// isLoopback reports whether only this machine gets to host.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// ready says whether logs and packets can be written.
func (o *outputs) ready() error {
	if why := o.failing.Load(); why != nil {
		return errors.New(*why)
	}
	if o.record != nil {
		return o.record()
	}
	return nil
}

// Event implements engine.Sink.
func (o *outputs) Event(ev any) {
	o.logs.Event(ev)
	switch ev.(type) {
	case *detectors.Finding, *detectors.Update:
	default:
		return
	}
	if o.syslog != nil {
		o.syslog.Event(ev)
	}
	if o.webhook != nil {
		o.webhook.Event(ev)
	}
	if o.metrics != nil {
		o.metrics.Event(ev)
	}
}

// Rows and Formatted implement engine.Formatter: logs alone take rows.
func (o *outputs) Rows() capture.RowFormatter { return o.logs.Rows() }

// Formatted: see Rows.
func (o *outputs) Formatted(r capture.Record, log int, text []byte) { o.logs.Formatted(r, log, text) }

// Flush has rows that are held written before the next tick.
func (o *outputs) Flush() { o.logs.Flush() }

// Lost says how many rows of logs could not be written.
func (o *outputs) Lost() uint64 { return o.logs.Lost() }

// tick is to be called on the engine's goroutine (Config.Progress) a few times in a second, also while no packet comes.
func (o *outputs) tick(now time.Time, s *engine.Stats) {
	if o.reopen.Swap(false) {
		o.logs.Reopen()
	}
	// A clock that was set back does not stop the ticks.
	if wait := o.next.Sub(now); wait > 0 && wait <= tickEvery {
		return
	}
	o.next = now.Add(tickEvery)
	o.published.told(now, s, o.logs.Event)
	o.logs.Tick(now)
	if err := o.logs.Failing(); err != nil {
		why := strings.TrimPrefix(err.Error(), "zeek: ")
		o.failing.Store(&why)
	} else {
		o.failing.Store(nil)
	}
	if o.metrics != nil {
		o.metrics.Update(o.values(s))
	}
}

// reopenLogs has the next tick open the log files by their names again. It may be called from any goroutine.
func (o *outputs) reopenLogs() { o.reopen.Store(true) }

func (o *outputs) values(s *engine.Stats) metrics.Values {
	v := metrics.Values{
		Packets: s.Packets, Bytes: s.Bytes, Filtered: s.Filtered, Flows: s.Flow.Flows, ActiveFlows: uint64(s.ActiveFlows),
		Weirds: s.Weirds, Panics: s.Panics, KeptBack: s.KeptBackBy,
	}
	if s.Last != capture.Time(0) {
		v.LastPacket = s.Last.Std()
	}
	for _, l := range s.Losses() {
		v.Losses = append(v.Losses, metrics.Loss{Cause: l.Name, Unit: l.Unit, N: l.N})
	}
	for _, n := range s.Notes() {
		v.Notes = append(v.Notes, metrics.Note{What: n.Name, Unit: n.Unit, N: n.N})
	}
	if o.record != nil {
		for _, n := range s.Recorded() {
			v.Notes = append(v.Notes, metrics.Note{What: n.Name, Unit: n.Unit, N: n.N})
		}
	}
	for _, c := range o.logs.Counts() {
		v.Logs = append(v.Logs, metrics.Log{Name: c.Log, Rows: c.Rows, Lost: c.Lost})
	}
	if o.syslog != nil {
		sent, dropped := o.syslog.Counts()
		v.Outputs = append(v.Outputs, metrics.Output{Name: "syslog", Sent: sent, Dropped: dropped})
	}
	if o.webhook != nil {
		c := o.webhook.Counts()
		v.Outputs = append(v.Outputs, metrics.Output{Name: "webhook", Sent: c.Sent, Dropped: c.Dropped + c.Rejected, Waiting: c.Waiting})
	}
	v.Published = o.published.figures()
	return v
}

// close writes and sends what is held, for a few seconds at most, and ends everything.
func (o *outputs) close(now time.Time) error {
	var errs []error
	if o.logs != nil {
		errs = append(errs, o.logs.Close(now))
	}
	if o.syslog != nil {
		errs = append(errs, o.syslog.Close())
	}
	if o.webhook != nil {
		errs = append(errs, o.webhook.Close())
	}
	if o.server != nil {
		errs = append(errs, o.server.Close())
	}
	return errors.Join(errs...)
}
