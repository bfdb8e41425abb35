package main

import (
	"errors"
	"path/filepath"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/fleet/hub"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/syslog"
	"github.com/raytap/raytap/sinks/webhook"
)

// tellers are whom a hub tells of findings: what a sensor has for the same.
type tellers struct {
	webhook *webhook.Sink
	syslog  *syslog.Sink
	at      hub.Telling // at hand
}

// openTellers makes what a configuration names, and has the hub call it.
func openTellers(o *hub.Options, cfg *config.Config) (t *tellers, err error) {
	t = &tellers{}
	if cfg.Webhook.URL == "" && cfg.Syslog.Address == "" {
		return t, nil
	}
	row := func(_ *detectors.Finding, update bool) []byte { return t.at.JSON(update) }
	rules := registry.Rules(cfg.Detectors...)
	if cfg.Webhook.URL != "" {
		opt := cfg.Webhook.Options()
		if opt.Spool == "" {
			if err := disk.Private().Folder(o.Data); err != nil {
				return nil, err
			}
			opt.Spool = filepath.Join(o.Data, "webhook-spool")
		}
		opt.Rules, opt.Say, opt.Row = rules, o.Say, row
		if t.webhook, err = webhook.New(opt); err != nil {
			return nil, err
		}
	}
	if cfg.Syslog.Address != "" {
		opt := cfg.Syslog.Options()
		opt.Version, opt.Host, opt.Rules, opt.Say, opt.Row = o.Version, cfg.Peer(), rules, o.Say, row
		opt.Sensors = func(*detectors.Finding) []string { return t.at.Sensors }
		if t.syslog, err = syslog.New(opt); err != nil {
			return nil, errors.Join(err, t.close())
		}
	}
	o.Tell, o.Told = t.tell, t.told
	return t, nil
}

func (t *tellers) tell(x hub.Telling) {
	t.at = x
	if t.webhook != nil {
		t.webhook.Event(x.Event)
	}
	if t.syslog != nil {
		t.syslog.Event(x.Event)
	}
}

// told waits until findings are on the disk: the webhook's server may be away when this hub ends. Syslog has no such thing.
func (t *tellers) told() {
	if t.webhook != nil {
		t.webhook.Sync()
	}
}

func (t *tellers) close() (err error) {
	if t.webhook != nil {
		err = t.webhook.Close()
	}
	if t.syslog != nil {
		err = errors.Join(err, t.syslog.Close())
	}
	return err
}
