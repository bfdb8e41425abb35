package test

import (
	"os"
	"strings"
	"testing"

	"github.com/raytap/raytap/registry"
)

// TestConfigDocument holds the sections of detectors in raytap.yaml to what their folders have. With -update they are written.
func TestConfigDocument(t *testing.T) {
	const (
		name  = "config/raytap.yaml"
		begin = "# --- Detectors. Each section stands in settings.yaml of its folder below detectors. ---\n\n"
		end   = "# --- What is kept, and where what was found goes. ---\n"
	)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no room for the sections of detectors", name)
	}
	var sections strings.Builder
	for _, d := range registry.Detectors() {
		if d.Settings != nil {
			sections.WriteString(strings.TrimSpace(d.Settings.Doc) + "\n\n")
		}
	}
	want := head + begin + sections.String() + end + tail
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(b) {
		t.Errorf("%s is not what the detectors say: go test -run TestConfigDocument -update ./test", name)
	}
}
