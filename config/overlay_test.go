package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/egress"
)

// TestOverlaidIsReloadable: what a hub sets is in force at once.
func TestOverlaidIsReloadable(t *testing.T) {
	c := Default()
	for _, section := range overlaid {
		if !c.reloadable(section) {
			t.Errorf("%s is not reloaded", section)
		}
	}
}

func section(c *Config) egress.Config { return detectors.In[egress.Config](c.Sections) }

// TestOverlay: what a hub may set replaces what is there, key by key; what is not accepted stays, and what no hub may set, or is
// wrong, changes nothing.
func TestOverlay(t *testing.T) {
	const text = "home: [10.9.0.0/16]\negress:\n  bytes: 7MB\n  allow: [example.org]\nrules:\n  off: [rayapi/recon]\n  suppress: [{rule: probe, src: [10.0.0.1]}]\n"
	c := Default()
	detectors.Change(&c.Sections, func(s *egress.Config) { s.Window *= 2 })
	window := section(&c).Window
	ignored, err := c.Overlay([]byte(text), OverlaySections())
	if err != nil || ignored != nil || !slices.Equal(c.Home, []string{"10.9.0.0/16"}) || section(&c).Bytes != 7e6 || section(&c).Window != window ||
		!slices.Equal(section(&c).Allow, []string{"example.org"}) || !slices.Equal(c.Rules.Off, []string{"rayapi/recon"}) || len(c.Rules.Suppress) != 1 {
		t.Errorf("%v, %v: %+v", ignored, err, c)
	}
	c = Default()
	ignored, err = c.Overlay([]byte(text), []string{OverlayAllow})
	want := Default()
	want.Rules.Suppress = c.Rules.Suppress
	detectors.Change(&want.Sections, func(s *egress.Config) { s.Allow = []string{"example.org"} })
	if err != nil || !slices.Equal(ignored, []string{"detectors", "home"}) || len(section(&c).Allow) != 1 || !reflect.DeepEqual(c, want) {
		t.Errorf("allow alone: %v, %v", ignored, err)
	}
	for text, says := range map[string]string{
		"out: /tmp\n":                            "settings:1: out: not a key that comes from a hub",
		"sensor:\n  name: x\n":                   "sensor.name: not a key",
		"intel: [/etc/passwd]\n":                 "intel: not a key",
		"webhook:\n  url: http://x\n":            "webhook.url: not a key",
		"home: [nonsense]\n":                     "nonsense",
		"egress:\n  window: 1ms\n":               "egress.window",
		"home: [10.0.0.0/8]\nhomes: [1.2.3.4]\n": "settings:2: homes: unknown key",
		"scan:\n  detect: 0.1\n  scanner: 0.9\n": "scan",
		"\x00":                                   "",
	} {
		c := Default()
		_, err := c.Overlay([]byte(text), OverlaySections())
		if err == nil || !strings.Contains(err.Error(), says) || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
