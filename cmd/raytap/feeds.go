package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors/intel"
	"github.com/raytap/raytap/feeds"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/metrics"
	"github.com/raytap/raytap/sinks/terminal"
)

// feedKeeper keeps the indicators that are in force up with what servers give, beside the run, which never waits for it.
type feedKeeper struct {
	keeper *feeds.Keeper
	live   *intel.Live
	notice func(string)
	cache  string // stays where it is until the next start

	mu  sync.Mutex // one set is made at a time
	cfg config.Config
}

// newFeedKeeper asks nobody before start.
func newFeedKeeper(cfg *config.Config, live *intel.Live, notice func(string)) (*feedKeeper, error) {
	k := &feedKeeper{live: live, notice: notice, cache: cfg.CacheOfIntel(), cfg: *cfg}
	k.cfg.IntelCache = k.cache
	if hasServers(cfg) || cfg.IntelCache != "" {
		if err := makeCache(cfg); err != nil {
			return nil, err
		}
	}
	k.keeper = feeds.NewKeeper(feeds.KeeperOptions{Dir: k.cache, Check: config.CheckFeed, Changed: k.changed, Say: func(s string) { notice(terminal.Clean(s)) }})
	return k, nil
}

func hasServers(cfg *config.Config) bool {
	for i := range cfg.Intel {
		if cfg.Intel[i].Remote() {
			return true
		}
	}
	return false
}

// makeCache makes the folder of the cache, which is nobody else's.
func makeCache(cfg *config.Config) error {
	if cfg.IntelCache == "" {
		if err := cfg.Modes().Folder(cfg.Out); err != nil {
			return fmt.Errorf("raytap: cannot make the log directory: %w", err)
		}
	}
	dir := filepath.Clean(cfg.CacheOfIntel())
	if err := disk.Private().Within(filepath.Dir(dir), filepath.Base(dir)); err != nil {
		return fmt.Errorf("raytap: intel_cache: %w", err)
	}
	return nil
}

func (k *feedKeeper) start() { k.keeper.Configure(k.cfg.Intel) }

// changed makes a new set of what is in files and caches.
func (k *feedKeeper) changed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	set, _, err := k.cfg.LoadIntel()
	if err != nil {
		k.notice(strings.TrimPrefix(err.Error(), "raytap: ") + "; the indicators that were in force stay in force")
		return
	}
	k.live.Swap(set)
	k.notice(fmt.Sprintf("feeds have changed: %d indicators are in force", set.Len()))
}

// reload puts in force what a configuration that was read again names. With an error everything stays as it is.
func (k *feedKeeper) reload(next *config.Config) (*intel.Set, []*intel.Feed, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := *next
	c.IntelCache = k.cache
	set, read, err := c.LoadIntel()
	if err != nil {
		return nil, nil, err
	}
	k.cfg = c
	k.live.Swap(set)
	k.keeper.Configure(c.Intel)
	return set, read, nil
}

func (k *feedKeeper) status() (all []metrics.Feed) {
	for _, s := range k.keeper.Status() {
		all = append(all, metrics.Feed{Name: s.Name, At: s.At, Indicators: s.Indicators, Up: !s.Away})
	}
	return all
}

func (k *feedKeeper) close() { k.keeper.Close() }

// fetchMissing asks servers for what is not in the cache. What is there is taken as it is, however old, so that a second run
// says the same.
func fetchMissing(cfg *config.Config, offline bool, stderr *os.File) error {
	for i := range cfg.Intel {
		s := &cfg.Intel[i]
		if !s.Remote() {
			continue
		}
		c, err := feeds.Open(s, cfg.CacheOfIntel())
		if err == nil {
			c.Close()
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("raytap: cache of feed %s: %w", s.Title(), err)
		}
		if offline {
			return fmt.Errorf("raytap: feed %s: nothing of it is in %s, and --offline fetches none", s.Title(), cfg.CacheOfIntel())
		}
		if err := makeCache(cfg); err != nil {
			return err
		}
		if !cfg.Quiet {
			fmt.Fprintf(stderr, "raytap: feed %s is fetched\n", terminal.Clean(s.Title()))
		}
		if _, err := feeds.Fetch(context.Background(), s, cfg.CacheOfIntel(), config.CheckFeed, time.Now()); err != nil {
			return fmt.Errorf("raytap: feed %s: %w", s.Title(), err)
		}
	}
	return nil
}
