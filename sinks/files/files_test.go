//go:build unix

package files

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/sinks/disk"
)

// reader makes copies of everything for a store.
func reader(s *Store) *file.Reader {
	r := &file.Reader{}
	r.Open(file.NewCache(file.Options{HashLimit: 1 << 30, Copies: &file.Copies{Classes: file.All, Max: 1 << 30, New: s.Spool}}))
	return r
}

// copyOf is a copy of b.
func copyOf(s *Store, b []byte) *file.Copy {
	r := reader(s)
	for i := 0; i < len(b); i += 10_000 {
		r.Write(capture.At{}, b[i:min(i+10_000, len(b))])
	}
	return r.Close()[0].Copy
}

func open(t *testing.T, opt Options) *Store {
	t.Helper()
	if opt.Dir == "" {
		opt.Dir = filepath.Join(t.TempDir(), "files")
	}
	if opt.Waiting == 0 {
		opt.Waiting = 1 << 20
	}
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func nameOf(b []byte) string {
	sum := sha256.Sum256(b)
	name := hex.EncodeToString(sum[:])
	return name[:2] + "/" + name
}

// listed gives what is in a folder, but for the lock.
func listed(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != lockName {
			rel, _ := filepath.Rel(dir, path)
			all = append(all, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func content(n, seed int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%08d", seed)), n/8+1)[:n]
}

func TestKeep(t *testing.T) {
	s := open(t, Options{Wait: true})
	small, large := content(100, 1), content(500_000, 2)
	for range 2 {
		for _, b := range [][]byte{small, large} {
			name := s.Keep(copyOf(s, b), false)
			got, err := os.ReadFile(filepath.Join(s.opt.Dir, name))
			if err != nil || name != nameOf(b) || !bytes.Equal(got, b) {
				t.Errorf("%q, %d bytes, %v", name, len(got), err)
			}
		}
	}
	if name := s.Keep(copyOf(s, large[:1000]), true); name != nameOf(large[:1000])+Partial {
		t.Errorf("a part is kept as %q", name)
	}
	if n := s.Counts(); n != (file.Counts{Kept: 3, Bytes: 501_100, Again: 2, Partial: 1}) {
		t.Errorf("%+v", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if l := listed(t, s.opt.Dir); len(l) != 3 {
		t.Errorf("there are %v", l)
	}
	for _, name := range append(listed(t, s.opt.Dir), ".", filepath.Dir(nameOf(small))) {
		info, err := os.Stat(filepath.Join(s.opt.Dir, name))
		if want := os.FileMode(0o600 | 0o100*b2i(info.IsDir())); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func b2i(b bool) os.FileMode {
	if b {
		return 1
	}
	return 0
}

// What an earlier run kept is known, and what it left behind is cleared away; other files stay.
func TestAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "files")
	s := open(t, Options{Dir: dir, Wait: true})
	b := content(200_000, 1)
	s.Keep(copyOf(s, b), false)
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second process: %v", err)
	}
	s.Close()
	for _, name := range []string{tempName + "0123", "notes.txt", filepath.Dir(nameOf(b)) + "/README"} {
		if err := os.WriteFile(filepath.Join(dir, name), b[:10], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, Options{Dir: dir, Wait: true})
	s.Keep(copyOf(s, b), false)
	if n := s.Counts(); n.Kept != 0 || n.Again != 1 {
		t.Errorf("%+v", n)
	}
	if l := listed(t, dir); len(l) != 3 {
		t.Errorf("there are %v", l)
	}
	// One that somebody removed, or cut, is written again.
	os.Remove(filepath.Join(dir, nameOf(b)))
	s.Keep(copyOf(s, b), false)
	os.Truncate(filepath.Join(dir, nameOf(b)), 5)
	s.Keep(copyOf(s, b), false)
	if got, err := os.ReadFile(filepath.Join(dir, nameOf(b))); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Somebody who may write to the folder puts links where files will be.
func TestLinks(t *testing.T) {
	top := t.TempDir()
	victim := filepath.Join(top, "victim")
	outside := filepath.Join(top, "outside")
	os.WriteFile(victim, []byte("precious"), 0o600)
	os.Mkdir(outside, 0o700)
	untouched := func(says string) {
		t.Helper()
		got, err := os.ReadFile(victim)
		if l := listed(t, outside); err != nil || string(got) != "precious" || len(l) > 0 {
			t.Errorf("%s: %q, %v, outside %v", says, got, err, l)
		}
	}
	b := content(1000, 1)

	dir := filepath.Join(top, "a")
	s := open(t, Options{Dir: dir, Wait: true})
	os.Symlink(outside, filepath.Join(dir, nameOf(b)[:2]))
	if name := s.Keep(copyOf(s, b), false); name != "" {
		t.Errorf("kept through a link as %q", name)
	}
	if n := s.Counts(); n.Failed != 1 {
		t.Errorf("%+v", n)
	}
	untouched("a link in place of a folder")
	s.Close()

	dir = filepath.Join(top, "b")
	s = open(t, Options{Dir: dir, Wait: true})
	os.Mkdir(filepath.Join(dir, nameOf(b)[:2]), 0o700)
	os.Symlink(victim, filepath.Join(dir, nameOf(b)))
	name := s.Keep(copyOf(s, b), false)
	if info, err := os.Lstat(filepath.Join(dir, nameOf(b))); name == "" || err != nil || !info.Mode().IsRegular() {
		t.Errorf("a link in the file's place stays: %v", err)
	}
	untouched("a link in place of a file")
	s.Close()

	os.Symlink(outside, filepath.Join(top, "c"))
	if _, err := Open(Options{Dir: filepath.Join(top, "c")}); err == nil {
		t.Error("the folder may be a link")
	}
	untouched("a link in place of the folder")

	dir = filepath.Join(top, "d")
	os.Mkdir(dir, 0o700)
	os.Symlink(victim, filepath.Join(dir, lockName))
	if _, err := Open(Options{Dir: dir}); err == nil {
		t.Error("the lock may be a link")
	}
	untouched("a link in place of the lock")

	dir = filepath.Join(top, "e")
	os.Mkdir(dir, 0o700)
	os.Chmod(dir, 0o777)
	if _, err := Open(Options{Dir: dir}); err == nil {
		t.Error("everybody may write to the folder")
	}
}

// The oldest files make room.
func TestSize(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "files")
	s := open(t, Options{Dir: dir, Size: 10_000, Wait: true})
	for i := range 5 {
		s.Keep(copyOf(s, content(3000, i)), false)
	}
	if n := s.Counts(); n.Kept != 5 || n.Removed != 2 {
		t.Errorf("%+v", n)
	}
	for i := range 5 {
		if _, err := os.Stat(filepath.Join(dir, nameOf(content(3000, i)))); (err == nil) != (i >= 2) {
			t.Errorf("file %d: %v", i, err)
		}
	}
	if name := s.Keep(copyOf(s, content(10_001, 9)), false); name != "" {
		t.Errorf("%q is longer than all may be", name)
	}
	if n := s.Counts(); n.Full != 1 || n.Removed != 2 {
		t.Errorf("%+v", n)
	}
	s.Close()
	// The bound may be another the next time.
	for i := range 3 {
		at := time.Now().Add(time.Duration(i-10) * time.Minute)
		os.Chtimes(filepath.Join(dir, nameOf(content(3000, 4-i))), at, at)
	}
	open(t, Options{Dir: dir, Size: 4000, Wait: true})
	if l := listed(t, dir); len(l) != 1 || l[0] != nameOf(content(3000, 2)) {
		t.Errorf("there are %v", l)
	}
}

// A disk that is full is told of once, and files are kept again when it is not.
func TestFull(t *testing.T) {
	var says []string
	s := open(t, Options{Free: 1 << 60, Wait: true, Say: func(text string) { says = append(says, text) }})
	if _, ok := freeOf(s); !ok {
		t.Skip("it is not known here how full a disk is")
	}
	for i := range 3 {
		if name := s.Keep(copyOf(s, content(200_000, i)), false); name != "" {
			t.Errorf("kept as %q", name)
		}
	}
	s.opt.Free = 0 // nothing is under way
	if s.Keep(copyOf(s, content(200_000, 7)), false) == "" {
		t.Error("not kept")
	}
	s.Close()
	if n := s.Counts(); n.Full != 3 || n.Kept != 1 || len(says) != 2 {
		t.Errorf("%+v, %q", n, says)
	}
	if l := listed(t, s.opt.Dir); len(l) != 1 {
		t.Errorf("there are %v", l)
	}
}

// A sensor does not wait for a disk that stands still: what waits is bounded, and what is more is dropped.
func TestSlow(t *testing.T) {
	s := &Store{opt: Options{Dir: filepath.Join(t.TempDir(), "files"), Waiting: 1 << 20}, have: map[string]uint64{}, done: make(chan struct{})}
	s.room.L, s.work.L = &s.mu, &s.mu
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	kept := 0
	for i := range 100 {
		if s.Keep(copyOf(s, content(100_000, i)), false) != "" {
			kept++
		}
	}
	if n := s.Counts(); s.waiting > 1<<20 || kept == 0 || kept > 10 || n.Slow != uint64(100-kept) {
		t.Errorf("%d wait, %d are kept, %+v", s.waiting, kept, n)
	}
	go s.write() // it goes on
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := s.Counts(); n.Kept != uint64(kept) || len(listed(t, s.opt.Dir)) != kept {
		t.Errorf("%+v, of %d", n, kept)
	}
}

// Copies that nobody keeps leave nothing, whether they are dropped or forgotten.
func TestDropped(t *testing.T) {
	s := open(t, Options{Wait: true})
	copyOf(s, content(300_000, 1)).Drop()
	forgotten(s)
	for range 100 {
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
		if len(listed(t, s.opt.Dir)) == 0 {
			break
		}
	}
	if l := listed(t, s.opt.Dir); len(l) != 0 {
		t.Errorf("there are %v", l)
	}
	r := reader(s)
	r.Write(capture.At{}, content(300_000, 3)) // under way at the end
	s.Close()
	if l := listed(t, s.opt.Dir); len(l) != 0 {
		t.Errorf("there are %v", l)
	}
	runtime.KeepAlive(r)
}

//go:noinline
func forgotten(s *Store) { reader(s).Write(capture.At{}, content(300_000, 2)) }

func TestMany(t *testing.T) {
	s := open(t, Options{Waiting: 1 << 18, Wait: true})
	var wg sync.WaitGroup
	copies := make(chan *file.Copy)
	for w := range 4 {
		wg.Go(func() {
			for i := range 50 {
				copies <- copyOf(s, content(1000*(i+1)*(w%2+1), i))
			}
		})
	}
	go func() { wg.Wait(); close(copies) }()
	i := 0
	for c := range copies {
		if i++; i%5 == 0 {
			c.Drop()
		} else if s.Keep(c, false) == "" {
			t.Error("not kept")
		}
	}
	s.Close()
	if n := s.Counts(); n.Kept+n.Again != 160 || uint64(len(listed(t, s.opt.Dir))) != n.Kept {
		t.Errorf("%+v", n)
	}
}

func freeOf(s *Store) (uint64, bool) { return disk.Free(s.lock) }
