package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/raytap/raytap/detectors/intel"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/feeds"
)

// LoadIntel reads the built-in indicators and the feeds in files, folders and patterns of files, and says what it made of
// each. What is wrong with single indicators is in the feeds; an error means that a file could not be read to its end, and
// no set comes of it, so that a set that is in use stays.
func LoadIntel(files []string) (*intel.Set, []*intel.Feed, error) {
	return loadIntel(feeds.Files(files...), "")
}

// LoadIntel is the function of that name for all that is configured. Of servers it reads what is in the cache, and asks
// none: feeds.Fetch and feeds.Keeper do. One of which nothing is there is in the list as a feed without a format.
func (c *Config) LoadIntel() (*intel.Set, []*intel.Feed, error) {
	return loadIntel(c.Intel, c.CacheOfIntel())
}

// CacheOfIntel is the folder that holds what servers have given.
func (c *Config) CacheOfIntel() string {
	if c.IntelCache != "" {
		return c.IntelCache
	}
	return filepath.Join(c.Out, "intel-cache")
}

// CheckFeed says how many indicators a feed has; it is a feeds.Check.
func CheckFeed(name string, r io.Reader) (int, error) {
	f, err := intel.NewBuilder().Load(name, r, time.Now())
	return f.Indicators(), err
}

func loadIntel(sources []feeds.Source, cache string) (*intel.Set, []*intel.Feed, error) {
	b := intel.NewBuilder()
	now := time.Now()
	if err := b.LoadBuiltIn(now); err != nil {
		return nil, nil, fmt.Errorf("raytap: %w", err)
	}
	all, err := loadFeeds(b, sources, cache, now)
	if err != nil {
		return nil, all, err
	}
	return b.Build(), all, nil
}

func loadFeeds(b *intel.Builder, sources []feeds.Source, cache string, now time.Time) (all []*intel.Feed, err error) {
	var errs []error
	seen := map[string]bool{} // a file that two names stand for is one source
	for i := range sources {
		s := &sources[i]
		if s.Remote() {
			f, err := loadCached(b, s, cache, now)
			if err != nil {
				errs = append(errs, fmt.Errorf("raytap: cache of feed %s: %w", s.Title(), err))
			}
			all = append(all, f)
			continue
		}
		found, err := loadName(b, s.File, now, seen)
		if err != nil {
			errs = append(errs, fmt.Errorf("raytap: %s: %w", s.File, err))
		}
		all = append(all, found...)
	}
	return all, errors.Join(errs...)
}

// loadCached reads what is in the cache of a server.
func loadCached(b *intel.Builder, s *feeds.Source, cache string, now time.Time) (*intel.Feed, error) {
	c, err := feeds.Open(s, cache)
	if errors.Is(err, fs.ErrNotExist) {
		return &intel.Feed{Name: s.Title(), Remote: true}, nil
	}
	if err != nil {
		return &intel.Feed{Name: s.Title(), Remote: true}, err
	}
	defer c.Close()
	f, err := b.Load(s.Title(), c, now)
	f.Remote, f.At = true, c.At
	return f, err
}

// loadName reads what one name stands for.
func loadName(b *intel.Builder, name string, now time.Time, seen map[string]bool) (all []*intel.Feed, err error) {
	list, err := feeds.List(name)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, g := range list.Groups {
		l := b.Begin(g.Name, now)
		for _, file := range g.Files {
			if abs, err := filepath.Abs(file); err == nil {
				if seen[abs] {
					continue
				}
				seen[abs] = true
			}
			err := loadFile(l, file)
			if err != nil && (list.Folder || g.MISP) {
				err = fmt.Errorf("%s: %w", strings.TrimPrefix(strings.TrimPrefix(file, name), string(filepath.Separator)), err)
			}
			errs = append(errs, err)
			l.Feed().Files++
		}
		if f := l.Feed(); f.Files > 0 {
			all = append(all, f)
		}
	}
	if list.Folder {
		all = append(all, &intel.Feed{Name: name, Folder: true, Files: count(list), Left: list.Left})
	}
	return all, errors.Join(errs...)
}

func count(l *feeds.Listing) (n int) {
	for _, g := range l.Groups {
		n += len(g.Files)
	}
	return n
}

func loadFile(l *intel.Loader, name string) error {
	r, err := os.Open(name)
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return err
	}
	defer r.Close()
	return l.Read(r)
}

// Engine gives the settings of a run, with the indicators that Intel names if none are set.
func (c *Config) Engine() (engine.Config, error) {
	e := c.Config
	if e.Indicators == nil {
		set, _, err := c.LoadIntel()
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
	all, err := loadFeeds(b, feeds.Files(files...), "", time.Now())
	return b.Build(), all, err
}
