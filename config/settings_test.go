package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/egress"
	"github.com/raytap/raytap/feeds"
	"github.com/raytap/raytap/registry"
)

// TestExampleFileIsComplete holds raytap.yaml to the program: it can be read, it names every key, and each has its
// default.
func TestExampleFileIsComplete(t *testing.T) {
	c, lines, err := LoadLines("raytap.yaml")
	if err != nil {
		t.Fatal(err)
	}
	def := Default()
	got := c.Settings()
	for i, s := range def.Settings() {
		if lines[s.Key] == 0 {
			t.Errorf("raytap.yaml lacks %s", s.Key)
		}
		if got[i].Text != s.Text {
			t.Errorf("raytap.yaml:%d: %s is %s, the default is %s", lines[s.Key], s.Key, got[i].Text, s.Text)
		}
	}
	maps.DeleteFunc(lines, func(key string, _ int) bool { return strings.Contains(key, "[") })
	if len(lines) != len(got) {
		t.Errorf("%d keys in the file, %d in the program", len(lines), len(got))
	}
}

// TestSettingsReadBack: what Settings prints is YAML for the same values, also for values that look like others.
func TestSettingsReadBack(t *testing.T) {
	for _, s := range []string{"x", "", "true", "12", "1e3", "null", "~", "a: b", "a #b", "- a", "[a]", `a"b\c`, " a", "é", "2026-11-23", "0x1f", "@a", "a,b", "*", "|", "tcp port 80 or (udp and not port 53)", "a\tb"} {
		c := Default()
		c.Syslog.CA, c.Intel, c.Rotate.Keep = s, feeds.Files("a", "b.c"), 90*time.Minute+30*time.Second
		if s != "" {
			c.Intel = append(c.Intel, feeds.Source{File: s})
		}
		var b strings.Builder
		section := ""
		for _, k := range c.Settings() {
			key := k.Key
			if head, rest, ok := strings.Cut(key, "."); ok {
				if key = "  " + rest; head != section {
					b.WriteString(head + ":\n")
					section = head
				}
			}
			b.WriteString(key + ": " + k.Text + "\n")
		}
		back := Default()
		if err := back.read([]byte(b.String()), nil); err != nil {
			t.Errorf("%q: %v\n%s", s, err, b.String())
			continue
		}
		want, got := c.Settings(), back.Settings()
		for i := range want {
			if want[i] != got[i] {
				t.Errorf("%q: %s became %s: %s", s, want[i].Key, want[i].Text, got[i].Text)
			}
		}
		if back.Syslog.CA != s {
			t.Errorf("%q was read back as %q", s, back.Syslog.CA)
		}
	}
}

func TestSet(t *testing.T) {
	c := Default()
	for _, s := range []struct {
		key    string
		values []string
	}{
		{"home", []string{"10.0.0.0/8", "192.0.2.1"}}, {"workers", []string{"1", "2"}}, {"quiet", []string{"true"}},
		{"egress.window", []string{"1h"}}, {"rotate.size", []string{"64MiB"}}, {"rotate.interval", []string{"0s"}},
		{"syslog.address", []string{"udp://[::1]:514"}}, {"metrics.listen", []string{":9477"}},
	} {
		if err := c.Set(s.key, s.values...); err != nil {
			t.Error(err)
		}
	}
	if len(c.Home) != 2 || c.Workers != 2 || !c.Quiet || detectors.In[egress.Config](c.Sections).Window != time.Hour || c.Rotate.Size != 64<<20 || c.Rotate.Interval != 0 || c.Syslog.Address == "" {
		t.Errorf("%+v", c)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	for _, s := range []struct{ key, value, want string }{
		{"nothing", "1", "unknown key nothing"}, {"egress", "1", "unknown key egress"},
		{"home", "x", "home: "}, {"workers", "many", "workers: "}, {"quiet", "perhaps", "quiet: "},
		{"rotate.interval", "1s", "rotate.interval: 1s is neither 0 nor"}, {"rotate.interval", "-1h", "is not a duration"},
		{"rotate.size", "1kB", "rotate.size: 1000 is neither 0 nor"}, {"rotate.compress", "rar", `"rar" is not one of none, gzip, zstd`},
		{"rotate.fsync", "always", "rotate.fsync: "}, {"rotate.reserve", "2GB", "rotate.reserve: "},
		{"syslog.address", "localhost:514", "syslog.address: "}, {"syslog.facility", "local8", "syslog.facility: "},
		{"syslog.severity", "all", "syslog.severity: unknown severity"}, {"syslog.message", "xml", "syslog.message: "},
		{"webhook.url", "example.com", "webhook.url: "}, {"webhook.severity", "", "webhook.severity: "},
		{"webhook.spool_files", "0", "webhook.spool_files: "}, {"webhook.spool_size", "1", "webhook.spool_size: "},
		{"metrics.listen", "9477", "metrics.listen: "}, {"metrics.quiet", "soon", "metrics.quiet: "},
	} {
		if err := c.Set(s.key, s.value); err == nil || !strings.Contains(err.Error(), s.want) {
			t.Errorf("%s %s: %v, want %s", s.key, s.value, err, s.want)
		}
	}
}

func TestLinesOfKeys(t *testing.T) {
	_, lines, err := LoadLines(configFile(t, "# c\nworkers: 3\n\negress:\n  window: 1h\n  allow:\n    - a.b\nhome: [10.0.0.0/8]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]int{"workers": 2, "egress.window": 5, "egress.allow": 6, "home": 8, "egress": 0, "quiet": 0} {
		if lines[key] != want {
			t.Errorf("%s is on line %d, want %d", key, lines[key], want)
		}
	}
}

// TestReloaded: what is said to take effect in a run that goes on does, and nothing else is adopted.
func TestReloaded(t *testing.T) {
	bus := detectors.NewBus(nil)
	for _, d := range registry.Detectors() {
		d.New(&detectors.Env{Home: &detectors.Networks{}}, bus)
	}
	a, b := Default(), Default()
	var sections []string
	for _, s := range a.Sections {
		sections = append(sections, s.Name)
	}
	if got := bus.Configured(); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(sections))) {
		t.Errorf("detectors take %q, the configuration has %q", got, sections)
	}
	b.Home, b.Workers = []string{"10.0.0.0/8"}, 3
	detectors.Change(&b.Sections, func(s *egress.Config) { s.Bytes = 1 })
	if now, later := a.Changes(&b); !slices.Equal(now, []string{"home", "egress"}) || !slices.Equal(later, []string{"workers"}) {
		t.Errorf("%q now, %q later", now, later)
	}
	got := a.Adopt(&b)
	b.Workers = a.Workers
	if !reflect.DeepEqual(*got, b) {
		t.Errorf("%+v, not %+v", got, b)
	}
}
