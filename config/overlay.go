package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Sections of settings that a sensor may take over from a hub.
const (
	OverlayHome      = "home"      // the home networks
	OverlayAllow     = "allow"     // the allow lists of all detectors, and rules.suppress
	OverlayDetectors = "detectors" // all else of the detectors, and of rules
	OverlayIntel     = "intel"     // indicators, which come as files and are in no text
)

// OverlaySections lists them.
func OverlaySections() []string {
	return []string{OverlayIntel, OverlayAllow, OverlayHome, OverlayDetectors}
}

// overlaid are the sections of the configuration of which a hub may set keys. Of what a run can exchange while it goes on
// these are what findings are made by: not where they go, and not what the sensor is called.
var overlaid = [...]string{
	"rules", "campaign", "egress", "model", "payload", "secrets", "beacon", "dns_tunnel", "oast", "scan", "shell", "tunnel", "flood",
}

// overlaySection returns the section that a key is of; "" if no hub may set it.
func overlaySection(key string) string {
	top, rest, nested := strings.Cut(key, ".")
	switch {
	case key == "home":
		return OverlayHome
	case !nested || !slices.Contains(overlaid[:], top):
		return ""
	case rest == "allow" || key == "rules.suppress":
		return OverlayAllow
	}
	return OverlayDetectors
}

// Overlay sets what a text in the form of a configuration file has of the sections in accept; their keys replace those of c.
// It returns the sections of which the text has keys that are not accepted. A text that has other keys, or values that make
// no sense, is an error, and changes nothing.
func (c *Config) Overlay(text []byte, accept []string) (ignored []string, err error) {
	if len(text) > maxConfigFile {
		return nil, fmt.Errorf("raytap: settings: over %d bytes", maxConfigFile)
	}
	set, lines := Default(), map[string]int{}
	if err := set.read(text, lines); err != nil {
		var all mistakes
		for _, e := range all.and(err) {
			all = append(all, fmt.Errorf("raytap: settings:%w", e))
		}
		return nil, all.err()
	}
	next := *c
	next.Sections = c.Sections.Clone()
	values := map[string]reflect.Value{}
	eachKey(reflect.ValueOf(&set).Elem(), "", func(key string, v reflect.Value) { values[key] = v })
	var wrong []error
	for key, line := range lines {
		if strings.Contains(key, "[") {
			continue
		}
		switch section := overlaySection(key); {
		case section == "":
			wrong = append(wrong, fmt.Errorf("raytap: settings:%d: %s: not a key that comes from a hub", line, key))
		case !slices.Contains(accept, section):
			if !slices.Contains(ignored, section) {
				ignored = append(ignored, section)
			}
			delete(values, key)
		}
	}
	if wrong != nil {
		slices.SortFunc(wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return nil, errors.Join(wrong...)
	}
	eachKey(reflect.ValueOf(&next).Elem(), "", func(key string, v reflect.Value) {
		if from, ok := values[key]; ok && lines[key] > 0 {
			v.Set(from)
		}
	})
	if err := next.Check(); err != nil {
		return nil, err
	}
	*c = next
	slices.Sort(ignored)
	return ignored, nil
}
