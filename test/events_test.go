package test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestArchitectureListsSubscribers: the list of events in docs/architecture.md names the detectors that subscribe to each.
func TestArchitectureListsSubscribers(t *testing.T) {
	on := regexp.MustCompile(`detectors\.On\(bus, (?:func\(\w+ \*([\w.]+)\)|([\w.]+))`)
	want := map[string][]string{}
	folders, err := filepath.Glob("detectors/*")
	if err != nil || len(folders) == 0 {
		t.Fatal(folders, err)
	}
	for _, folder := range folders {
		var code strings.Builder
		files, _ := filepath.Glob(filepath.Join(folder, "*.go"))
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && !strings.HasSuffix(f, "_test.go") {
				code.Write(b)
			}
		}
		name := filepath.Base(folder)
		if name == "command" { // used by detectors, and none itself
			continue
		}
		for _, m := range on.FindAllStringSubmatch(code.String(), -1) {
			topic := m[1]
			if strings.HasSuffix(m[2], ".Lookup") { // data.Claims
				topic = "dns.Transaction"
			} else if topic == "" {
				_, method, _ := strings.Cut(m[2], ".")
				f := regexp.MustCompile(`func \(\w+ \*?\w+\) ` + method + `\(\w+ \*([\w.]+)\)`).FindStringSubmatch(code.String())
				if f == nil {
					t.Errorf("%s: no method %s", folder, method)
					continue
				}
				topic = f[1]
			}
			if !slices.Contains(want[topic], name) {
				want[topic] = append(want[topic], name)
			}
		}
	}
	b, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, events, _ := strings.Cut(string(b), "\n## Events\n")
	got := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+\\.\\w+)` \\|.*\\| ([^|]*) \\|$").FindAllStringSubmatch(events, -1) {
		got[m[1]] = m[2]
	}
	for topic, who := range want {
		if all := strings.Join(who, ", "); got[topic] != all {
			t.Errorf("docs/architecture.md: subscribers of %s are %q, want %q", topic, got[topic], all)
		}
	}
	for topic, who := range got {
		if who != "none" && want[topic] == nil {
			t.Errorf("docs/architecture.md: nobody subscribes to %s", topic)
		}
	}
}
