// Package inventory keeps the inventory of assets from one run to the next, and prints it.
//
// In: rows of the inventory (*assets.Row) as the run says them. Out: a snapshot file that is whole at any moment, what
// it held at the start (Known, for Config.Assets.Known), and the inventory as a table for people or as JSON.
//
//	store, err := inventory.Open("/var/lib/raytap/assets.json")
//	cfg.Assets.Known, cfg.Assets.Refresh = store.Known(), time.Hour
//	stats, err := engine.Run(ctx, cfg, src, logs, store)
//	err = store.Close()
//
// The snapshot is written beside the file, synced and renamed over it, so a crash leaves the old one or the new one and
// costs at most what was learned since. A database was weighed: an ordinary cluster takes 2 KB, a thousand are written in
// 30 ms, and twice a minute is enough; there is nothing to look up. Nobody waits for the disk but Close. Other processes
// must not write to the file.
//
// It does not see counters of assets between two rows, and it forgets what was seen longest ago beyond assets.MaxAssets.
package inventory

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/assets"
)

const (
	// How often the snapshot is written while there is news. A crash loses as much, and the traffic will tell it again.
	saveEvery = 30 * time.Second
	// All lists of all assets full come to less.
	maxFile = 256 << 20
	format  = 1
)

// snapshot is the file.
type snapshot struct {
	Format int             `json:"format"`
	Assets []*assets.Asset `json:"assets"`
}

// Store is a sink for the rows of the inventory. It belongs to one goroutine.
type Store struct {
	path  string
	all   map[string]*assets.Asset
	rows  map[string]*assets.Row // of this run
	dirty bool
	saved time.Time
	wrote chan error // what came of a snapshot that is being written; nil: none is
	err   error      // of the last one that was
}

// Load reads the snapshot at path, which another process may be writing, to look at: nothing is kept.
func Load(path string) (*Store, error) {
	s, err := read(path)
	if err == nil && s.saved.IsZero() {
		err = fmt.Errorf("inventory: there is no %s", path)
	}
	if err != nil {
		return nil, err
	}
	s.path = ""
	return s, nil
}

// Open reads the snapshot at path, if there is one. With an empty path nothing is read or kept.
func Open(path string) (*Store, error) {
	s, err := read(path)
	if err != nil || path == "" {
		return s, err
	}
	s.saved = time.Now()
	return s, s.probe()
}

// read makes a store of a snapshot; saved is when that was written, or zero if there is none.
func read(path string) (*Store, error) {
	s := &Store{path: path, all: map[string]*assets.Asset{}, rows: map[string]*assets.Row{}}
	if path == "" {
		return s, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	} else if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("inventory: %s: over %d bytes", path, maxFile)
	}
	var in snapshot
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("inventory: %s is not an inventory, or is damaged; move it away to start over: %w", path, err)
	}
	if in.Format != format {
		return nil, fmt.Errorf("inventory: %s has format %d, and this program knows %d", path, in.Format, format)
	}
	for _, a := range in.Assets {
		if a != nil && a.Key != "" && a.Kind != "" {
			s.all[a.Key] = a
		}
	}
	s.saved = time.Now()
	return s, nil
}

// probe says at once when the directory cannot be written to, and not after an hour.
func (s *Store) probe() error {
	f, err := os.CreateTemp(filepath.Dir(s.path), "."+filepath.Base(s.path)+"-*")
	if err != nil {
		return fmt.Errorf("inventory: cannot be kept: %w", err)
	}
	f.Close()
	return os.Remove(f.Name())
}

// Known gives what is known, in the order of keys.
func (s *Store) Known() []*assets.Asset {
	list := make([]*assets.Asset, 0, len(s.all))
	for _, a := range s.all {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *assets.Asset) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// Rows gives each asset, the worst grade first: as its last row in this run says, or, of what only earlier runs saw, by
// what is home.
func (s *Store) Rows(home *detectors.Networks) []*assets.Row {
	list := make([]*assets.Row, 0, len(s.all))
	var before []*assets.Asset
	for _, a := range s.Known() {
		if r := s.rows[a.Key]; r != nil {
			list = append(list, r)
		} else {
			before = append(before, a)
		}
	}
	list = append(list, assets.Judge(before, home)...)
	slices.SortFunc(list, func(a, b *assets.Row) int {
		return cmp.Or(cmp.Compare(b.Grade, a.Grade), cmp.Compare(a.Asset.Key, b.Asset.Key))
	})
	return list
}

// Event takes rows of the inventory. Every now and then, while there is news, it has a snapshot written; an error of that
// is Close's, if it lasts.
func (s *Store) Event(ev any) {
	if r, ok := ev.(*assets.Row); ok && r.Asset != nil {
		for _, was := range r.Was {
			delete(s.all, was)
			delete(s.rows, was)
		}
		s.all[r.Asset.Key], s.rows[r.Asset.Key] = r.Asset, r
		s.forget()
		s.dirty = true
	}
	if s.dirty && s.path != "" && time.Since(s.saved) >= saveEvery && !s.writing() {
		s.save()
	}
}

// forget drops what was seen longest ago, a tenth at once, when there is too much.
func (s *Store) forget() {
	if len(s.all) <= assets.MaxAssets {
		return
	}
	list := s.Known()
	slices.SortStableFunc(list, func(a, b *assets.Asset) int { return cmp.Compare(a.Last, b.Last) })
	for _, a := range list[:len(list)-assets.MaxAssets+assets.MaxAssets/10] {
		delete(s.all, a.Key)
		delete(s.rows, a.Key)
	}
}

// save begins to write a snapshot of what is known now.
func (s *Store) save() {
	s.saved, s.dirty = time.Now(), false
	b, err := json.Marshal(snapshot{format, s.Known()})
	wrote := make(chan error, 1)
	s.wrote = wrote
	go func() {
		if err == nil {
			err = write(s.path, b)
		}
		wrote <- err
	}()
}

// writing says whether a snapshot is still being written, and takes down what came of one that is not any more.
func (s *Store) writing() bool {
	select {
	case err := <-s.wrote:
		s.done(err)
	default:
	}
	return s.wrote != nil
}

func (s *Store) done(err error) {
	s.wrote, s.err = nil, err
	s.dirty = s.dirty || err != nil
}

// write makes a snapshot of b: beside the old one, and then over it.
func write(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("inventory: cannot save: %w", err)
		}
	}()
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	// The new name must be on the disk, too.
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Err is why a snapshot could not be written when that was last tried; nil: it was.
func (s *Store) Err() error {
	s.writing()
	return s.err
}

// Close saves what is not saved yet.
func (s *Store) Close() error {
	if s.wrote != nil {
		s.done(<-s.wrote)
	}
	if s.dirty && s.path != "" {
		s.save()
		s.done(<-s.wrote)
	}
	return s.err
}
