package secrets

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `secrets` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("secrets", Default, settingsDoc, map[string]detectors.Key{
		"allow": {Nets: true, Domains: true},
	})
}
