package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/raytap/raytap/detectors/intel"
	"github.com/raytap/raytap/engine"
)

// LoadIntel reads the built-in indicators and the feeds in files, and says what it made of each file. What is wrong
// with single indicators is in the feeds; an error means that a file could not be read to its end, and no set comes
// of it, so that a set that is in use stays.
func LoadIntel(files []string) (*intel.Set, []*intel.Feed, error) {
	b := intel.NewBuilder()
	now := time.Now()
	if err := b.LoadBuiltIn(now); err != nil {
		return nil, nil, fmt.Errorf("raytap: %w", err)
	}
	feeds, err := loadFeeds(b, files, now)
	if err != nil {
		return nil, feeds, err
	}
	return b.Build(), feeds, nil
}

func loadFeeds(b *intel.Builder, files []string, now time.Time) (feeds []*intel.Feed, err error) {
	var errs []error
	for _, name := range files {
		f, err := loadFeed(b, name, now)
		if err != nil {
			errs = append(errs, fmt.Errorf("raytap: %s: %w", name, err))
		}
		if f != nil {
			feeds = append(feeds, f)
		}
	}
	return feeds, errors.Join(errs...)
}

func loadFeed(b *intel.Builder, name string, now time.Time) (*intel.Feed, error) {
	r, err := os.Open(name)
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return nil, err
	}
	defer r.Close()
	return b.Load(filepath.Base(name), r, now)
}

// Engine gives the settings of a run, with the indicators that Intel names if none are set.
func (c *Config) Engine() (engine.Config, error) {
	e := c.Config
	if e.Indicators == nil {
		set, _, err := LoadIntel(c.Intel)
		if err != nil {
			return e, err
		}
		e.Indicators = intel.NewLive(set)
	}
	return e, nil
}

// CheckIntel reads feeds alone, without the built-in indicators.
func CheckIntel(files []string) (*intel.Set, []*intel.Feed, error) {
	b := intel.NewBuilder()
	feeds, err := loadFeeds(b, files, time.Now())
	return b.Build(), feeds, err
}
