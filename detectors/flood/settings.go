package flood

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `flood` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("flood", Default, settingsDoc, map[string]detectors.Key{
		"connections": {Least: 1, Most: 1e9},
		"datagrams":   {Least: 1, Most: 1e12},
		"allow":       {Nets: true},
	})
}
