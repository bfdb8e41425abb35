package tunnel

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `tunnel` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("tunnel", Default, settingsDoc, map[string]detectors.Key{
		"allow":   {Nets: true, Names: true}, // services have names of their own
		"job_for": {Least: detectors.Second, Most: detectors.Month},
	})
}
