package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSensorFollowsAConfigMap: as Kubernetes exchanges one, without a signal, and within what Landlock leaves to read. A
// configuration with a mistake changes nothing, and is told of once.
func TestSensorFollowsAConfigMap(t *testing.T) {
	isolated(t)
	dir, n := t.TempDir(), 0
	etc := filepath.Join(dir, "etc")
	exchange := func(text string) {
		t.Helper()
		n++
		version := fmt.Sprintf("..%d", n)
		if err := os.MkdirAll(filepath.Join(etc, version), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(etc, version, "raytap.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		os.Symlink(version, filepath.Join(etc, "tmp"))
		if err := os.Rename(filepath.Join(etc, "tmp"), filepath.Join(etc, "..data")); err != nil {
			t.Fatal(err)
		}
		if n > 1 {
			os.RemoveAll(filepath.Join(etc, fmt.Sprintf("..%d", n-1)))
		}
	}
	exchange("home: [10.0.0.0/8]\n")
	if err := os.Symlink("..data/raytap.yaml", filepath.Join(etc, "raytap.yaml")); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, []string{nameVariable + "=node-7"}, "-i", "v1", "--config", "etc/raytap.yaml", "--watch-config")
	exchange("home: [10.20.0.0/16]\n")
	s.wait(s.errs, "the configuration was read again: new home")
	exchange("home: [10.20.0.0/33]\n")
	s.wait(s.errs, "10.20.0.0/33")
	s.wait(s.errs, "the configuration that was in force stays in force")
	exchange("home: [10.20.0.0/16]\negress: {bytes: 5MB}\n")
	s.wait(s.errs, "the configuration was read again: new egress")
	w := newWire(t)
	for _, f := range job(t) {
		w.send(f)
	}
	s.wait(s.out, "ran a job on the Ray cluster")
	all := s.stop()
	if strings.Count(all, "stays in force") != 1 || strings.Count(all, "read again") != 2 {
		t.Error(all)
	}
	if r := archived(t, dir, "notice"); !strings.Contains(strings.Join(r, ""), `"peer_descr":"node-7"`) {
		t.Error(r)
	}
}

func TestWatchConfigNeedsOne(t *testing.T) {
	invoke(t, t.TempDir(), nil, "sensor", "-i", "lo", "--watch-config").expect(t, 2, "", "--watch-config goes with --config")
}
