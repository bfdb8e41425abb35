package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/sinks/webhook"
)

// TestGuidesConfigurations: every configuration that the guide shows for outputs and feeds is read, and the template that it
// shows makes what may be sent.
func TestGuidesConfigurations(t *testing.T) {
	b, err := os.ReadFile("docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	_, all, _ := strings.Cut(string(b), "\n## Where findings go\n")
	all, _, _ = strings.Cut(all, "\n## When something was found\n")
	n := 0
	for {
		_, rest, ok := strings.Cut(all, "\n```yaml\n")
		if !ok {
			break
		}
		var text string
		if text, all, ok = strings.Cut(rest, "```"); !ok {
			t.Fatal("a block without an end")
		}
		n++
		if _, err := config.Load(configFile(t, text)); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
	if want := len(webhook.Templates()) + 2; n < want {
		t.Errorf("%d blocks, not %d", n, want)
	}
	_, line, _ := strings.Cut(string(b), "    {\"alert\": ")
	line, _, _ = strings.Cut(line, "\n")
	name := filepath.Join(t.TempDir(), "own.tmpl")
	if err := os.WriteFile(name, []byte(`{"alert": `+line), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := webhook.LoadTemplate(name); err != nil {
		t.Error(err)
	}
}
