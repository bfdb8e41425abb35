package model

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `model` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("model", Default, settingsDoc, map[string]detectors.Key{
		"allow": {Nets: true},
		"bytes": {Least: 1, Most: detectors.Petabyte},
	})
}
