package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors/intel"
	"github.com/raytap/raytap/feeds"
	"github.com/raytap/raytap/fleet/ask"
	"github.com/raytap/raytap/fleet/search"
)

// hubFolder has the settings that a hub sent, below the folder of the logs.
const hubFolder = "fleet"

// hubSettings puts what a hub sent over a sensor's own configuration, each time that this is read.
type hubSettings struct {
	accepted *ask.Accepted // nil: none are accepted
	sections []string
	requests chan hubRequest
	done     chan struct{} // closed when the run is over

	mu      sync.Mutex
	bundle  *ask.Bundle // nil: the sensor's own configuration alone
	intel   []string
	ignored []string
}

// hubRequest is a version that is to be put in force, by the goroutine that reloads.
type hubRequest struct {
	bundle *ask.Bundle
	intel  []string
	answer chan<- error
}

func newHubSettings() *hubSettings {
	return &hubSettings{requests: make(chan hubRequest), done: make(chan struct{})}
}

// over puts it over a configuration.
func (h *hubSettings) over(cfg *config.Config) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bundle == nil {
		return nil
	}
	c := *cfg
	ignored, err := c.Overlay([]byte(h.bundle.Text), h.sections)
	if err != nil {
		return fmt.Errorf("version %d of the hub's settings: %w", h.bundle.Version, err)
	}
	if len(h.intel) > 0 {
		if slices.Contains(h.sections, config.OverlayIntel) {
			c.Intel = append(append([]feeds.Source(nil), c.Intel...), feeds.Files(h.intel...)...)
		} else {
			ignored = append(ignored, config.OverlayIntel)
		}
	}
	h.ignored = ignored
	*cfg = c
	return nil
}

func (h *hubSettings) set(b *ask.Bundle, intel []string) (before *ask.Bundle, files []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, files = h.bundle, h.intel
	h.bundle, h.intel = b, intel
	return before, files
}

// has reports whether settings of a hub are in force.
func (h *hubSettings) has() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bundle != nil
}

// running is the version that is in force; 0: none.
func (h *hubSettings) running() uint64 {
	if h.accepted == nil {
		return 0
	}
	return h.accepted.Applied().Running
}

// begin takes up what was in force when the sensor ended, and returns the configuration to begin with, whose indicators are
// in place.
func (h *hubSettings) begin(cfg *config.Config, load func() (*config.Config, error), live *intel.Live, notice func(string)) (*config.Config, error) {
	if len(cfg.Publish.Accept) == 0 {
		return cfg, nil
	}
	h.sections = cfg.Publish.Accept
	var err error
	if h.accepted, err = ask.OpenAccepted(filepath.Join(cfg.Out, hubFolder), cfg.Publish.Accept); err != nil {
		return nil, err
	}
	h.accepted.Apply = h.apply
	b, files := h.accepted.Current()
	if b == nil {
		return cfg, nil
	}
	h.set(b, files)
	next, err := load()
	var set *intel.Set
	if err == nil {
		set, _, err = next.LoadIntel()
	}
	if err != nil {
		h.set(nil, nil)
		h.accepted.Began(nil, err)
		notice(fmt.Sprintf("version %d of the hub's settings, which was in force, is refused: %v", b.Version, strings.TrimPrefix(err.Error(), "raytap: ")))
		return cfg, nil
	}
	live.Swap(set)
	h.accepted.Began(h.ignored, nil)
	notice(fmt.Sprintf("version %d of the hub's settings is in force", b.Version))
	return next, nil
}

// apply has the goroutine that reloads put a version in force.
func (h *hubSettings) apply(b *ask.Bundle, files []string) (ignored []string, err error) {
	answer := make(chan error, 1)
	select {
	case h.requests <- hubRequest{b, files, answer}:
	case <-h.done:
		return nil, errors.New("the sensor ends")
	}
	select {
	case err = <-answer:
	case <-h.done:
		err = errors.New("the sensor ends")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ignored, err
}

// answerHub answers what hubs ask over the sensor's connection; nil: the configuration says that it does not.
func answerHub(nc *nats.Conn, cfg *config.Config, h *hubSettings) (*ask.Answerer, error) {
	a := &cfg.Answer
	if a.Concurrent == 0 {
		return nil, nil
	}
	opt := ask.Options{
		Sensor: cfg.Peer(), Version: buildVersion(), Application: "raytap " + buildVersion(), Logs: []string{cfg.Out}, Concurrent: a.Concurrent,
		Limits: search.Limits{Time: a.Time, Rows: a.Rows, Bytes: a.Bytes, Share: a.CPU}, Settings: h.accepted,
	}
	if cfg.Record.Folder != "" {
		opt.Record, opt.Evidence = cfg.Record.Folder, cfg.Evidence.Folder
	}
	return ask.Answer(nc, opt)
}
