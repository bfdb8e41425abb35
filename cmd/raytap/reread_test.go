package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestChangesAreSettled: what changes while it is looked at is told once, when it stays; what is as it was is not told.
func TestChangesAreSettled(t *testing.T) {
	s := settled{known: "a"}
	for i, step := range []struct {
		now  string
		news bool
	}{{"a", false}, {"b", false}, {"c", false}, {"c", true}, {"c", false}, {"b", false}, {"c", false}, {"c", false}, {"a", false}, {"a", true}} {
		if got := s.news(step.now); got != step.news {
			t.Errorf("look %d, %s: %v", i, step.now, got)
		}
	}
}

// TestLookAt: a ConfigMap is a link to a link, which is exchanged; indicators are told by what the system says of them.
func TestLookAt(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		tmp := filepath.Join(dir, "tmp")
		if err := os.Symlink(to, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write("..1/raytap.yaml", "home: [10.0.0.0/8]\n")
	write("..2/raytap.yaml", "home: [10.0.0.0/9]\n")
	write("..3/raytap.yaml", "home: [10.0.0.0/9]\n")
	write("feeds/a.txt", "x\n")
	link("..1", "..data")
	link("..data/raytap.yaml", "raytap.yaml")
	configFile, feeds := filepath.Join(dir, "raytap.yaml"), []string{filepath.Join(dir, "feeds")}
	last := lookAt(configFile, feeds)
	look := func(changes bool, why string) {
		t.Helper()
		now := lookAt(configFile, feeds)
		if (now != last) != changes {
			t.Errorf("%s: a change: %v", why, now != last)
		}
		last = now
	}
	look(false, "nothing")
	link("..2", "..data")
	look(true, "another configuration")
	link("..3", "..data")
	look(false, "the same bytes in another file")
	write("feeds/b.txt", "y\n")
	look(true, "a further feed")
	write("feeds/b.txt", "yz\n")
	look(true, "a longer feed")
	link("..4", "..data")
	look(true, "the configuration is gone")
	look(false, "and still is")
}
