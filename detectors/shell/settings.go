package shell

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `shell` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("shell", Default, settingsDoc, map[string]detectors.Key{
		"allow": {Nets: true},
	})
}
