package main

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"time"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/feeds"
)

// rereadEvery is how often --watch-config looks. What has changed is taken when it was the same twice, since an editor may
// be in the middle of it: in a ConfigMap, which is replaced whole, a change is in force within twice this time.
const rereadEvery = 2 * time.Second

// most of a configuration is read; a longer one is refused anyway.
const maxLook = 1 << 20

// settled is what was seen last, and what of it is known.
type settled struct{ before, known string }

// news reports whether now is something else than what is known, and was so the last time.
func (s *settled) news(now string) bool {
	is := now == s.before && now != s.known
	if s.before = now; is {
		s.known = now
	}
	return is
}

// changes tells of each change of what look gives, on a goroutine, until done. What look gives at the call is known.
func changes(look func() string, done <-chan struct{}) <-chan struct{} {
	changed := make(chan struct{}, 1)
	s := settled{known: look()}
	go func() {
		tick := time.NewTicker(rereadEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if s.news(look()) {
				select {
				case changed <- struct{}{}:
				default: // the one before is not taken yet, and will find this, too
				}
			}
		}
	}()
	return changed
}

// lookAt gives a sum over a configuration's bytes, and over what the system says of files with indicators, which may be
// large: another file, size or time. That one cannot be read is a change, too.
func lookAt(configFile string, feeds []string) string {
	sum := sha256.New()
	if f, err := os.Open(configFile); err != nil {
		fmt.Fprintln(sum, err)
	} else {
		io.Copy(sum, io.LimitReader(f, maxLook))
		f.Close()
	}
	for _, name := range feeds {
		lookAtFile(sum, name)
	}
	return string(sum.Sum(nil))
}

func lookAtFile(sum hash.Hash, name string) {
	info, err := os.Stat(name)
	if err != nil {
		fmt.Fprintln(sum, name, err)
		return
	}
	fmt.Fprintln(sum, name, info.Size(), info.ModTime().UnixNano(), info.Mode())
	if !info.IsDir() {
		return
	}
	entries, err := os.ReadDir(name)
	fmt.Fprintln(sum, len(entries), err)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			fmt.Fprintln(sum, e.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
}

// filesOfIntel lists the files and folders that a configuration takes indicators from.
func filesOfIntel(cfg *config.Config) (names []string) {
	for _, s := range cfg.Intel {
		if s.File == "" {
			continue
		}
		if !strings.ContainsAny(s.File, "*?[") {
			names = append(names, s.File)
		}
		if l, err := feeds.List(s.File); err == nil && l.Folder { // also what is in folders below
			for _, g := range l.Groups {
				names = append(names, g.Files...)
			}
		}
	}
	return names
}
