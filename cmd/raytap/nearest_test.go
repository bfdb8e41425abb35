package main

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"config", "filter", "format", "home", "i", "intel", "logs", "out", "quiet", "rotate-interval", "rotate-keep"}
	for name, want := range map[string]string{
		"homes": "home", "hmoe": "home", "hom": "home", "HOME": "home", "foramt": "format", "log": "logs", "qiet": "quiet",
		"rotate-interva": "rotate-interval", "rotate": "rotate-interval rotate-keep", "colour": "", "x": "", "": "", "zzzz": "",
		"ot": "out", strings.Repeat("home", 1000): "",
	} {
		if got := strings.Join(nearest(name, names), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
