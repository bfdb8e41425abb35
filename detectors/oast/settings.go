package oast

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `oast` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("oast", Default, settingsDoc, map[string]detectors.Key{
		"allow":   {Nets: true},
		"domains": {Domains: true},
	})
}
