package payload

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `payload` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("payload", Default, settingsDoc, map[string]detectors.Key{
		"allow":   {Nets: true},
		"job_for": {Least: detectors.Second, Most: detectors.Month},
	})
}
